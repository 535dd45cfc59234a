/* Rows of the family `meta`: the store's own, and those that the broker keeps there. */
#include <errno.h>

#include "storage/internal.h"

size_t meta_key(char ret[META_KEY_MAX], const char *kind, struct mq_slice name)
{
	size_t n_kind = strlen(kind);

	if (n_kind == 0 || n_kind > 31 || name.n > NAME_MAX_BYTES)
		return 0;
	return (size_t)(mq_put_bytes(mq_put8(mq_put_bytes(ret, kind, n_kind), 0), name.p, name.n) - ret);
}

void meta_stage(rocksdb_writebatch_t *batch, struct store *s, const char *kind, struct mq_slice name, struct mq_slice value)
{
	char key[META_KEY_MAX];
	size_t n = meta_key(key, kind, name);

	if (value.p)
		rocksdb_writebatch_put_cf(batch, s->cf[CF_META], key, n, value.p, value.n);
	else
		rocksdb_writebatch_delete_cf(batch, s->cf[CF_META], key, n);
}

int meta_get_fixed(struct store *s, const char *kind, struct mq_slice name, char *ret, size_t size)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	_cleanup_(pinnedp) rocksdb_pinnableslice_t *row = NULL;
	char key[META_KEY_MAX];
	struct mq_slice value;

	row = rocksdb_get_pinned_cf(s->db, s->read_options[STORE_DISK], s->cf[CF_META], key, meta_key(key, kind, name), &text);
	if (text)
		return -EIO;
	if (!row)
		return STORE_NONE;
	value.p = rocksdb_pinnableslice_value(row, &value.n);
	if (value.n != size)
		return -EBADMSG;
	memcpy(ret, value.p, size);
	return 0;
}

void counters_stage(rocksdb_writebatch_t *batch, struct store *s)
{
	char row[COUNTERS_ROW_SIZE];

	mq_put64(mq_put64(mq_put64(row, s->counters.messages), s->counters.bytes), s->counters.bytes_dropped);
	meta_stage(batch, s, META_STORE, MQ_SLICE("counters"), (struct mq_slice){ row, sizeof row });
}

int store_meta_put(struct store *s, const char *kind, struct mq_slice name, struct mq_slice value)
{
	_cleanup_(writebatchp) rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
	char key[META_KEY_MAX];
	size_t n = meta_key(key, kind, name);

	if (n == 0)
		return -EINVAL;
	rocksdb_writebatch_put_cf(batch, s->cf[CF_META], key, n, value.p ? value.p : "", value.n);
	return store_write(s, batch);
}

int store_meta_delete(struct store *s, const char *kind, struct mq_slice name)
{
	_cleanup_(writebatchp) rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
	char key[META_KEY_MAX];
	size_t n = meta_key(key, kind, name);

	if (n == 0)
		return -EINVAL;
	rocksdb_writebatch_delete_cf(batch, s->cf[CF_META], key, n);
	return store_write(s, batch);
}

int store_meta_each(struct store *s, const char *kind, int (*each)(void *user, struct mq_slice name, struct mq_slice value),
		    void *user)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it =
		rocksdb_create_iterator_cf(s->db, s->read_options[STORE_DISK], s->cf[CF_META]);
	char key[META_KEY_MAX];
	struct mq_slice prefix = { key, meta_key(key, kind, (struct mq_slice){}) };
	int r;

	if (prefix.n == 0)
		return -EINVAL;
	for (rocksdb_iter_seek(it, prefix.p, prefix.n); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		struct mq_slice name = iterator_key(it);

		if (!mq_slice_starts(name, prefix))
			break;
		name.p += prefix.n;
		name.n -= prefix.n;
		r = each(user, name, iterator_value(it));
		if (r < 0)
			return r;
	}
	return read_status(it);
}
