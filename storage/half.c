/* Prepared transactions: the rows of the `half` family. A row is written in the batch of its half message and deleted in the batch of
 * what ends it; how often the producer was asked is its value. */
#include <errno.h>

#include "storage/internal.h"

enum { HALF_KEY_SIZE = 8, HALF_VALUE_SIZE = 4 };

void half_put(rocksdb_writebatch_t *batch, struct store *s, int64_t locator, uint32_t n_checks)
{
	char key[HALF_KEY_SIZE], value[HALF_VALUE_SIZE];

	mq_put64(key, (uint64_t)locator);
	mq_put32(value, n_checks);
	rocksdb_writebatch_put_cf(batch, s->cf[CF_HALF], key, sizeof key, value, n_checks > 0 ? sizeof value : 0);
}

void half_delete(rocksdb_writebatch_t *batch, struct store *s, int64_t locator)
{
	char key[HALF_KEY_SIZE];

	mq_put64(key, (uint64_t)locator);
	rocksdb_writebatch_delete_cf(batch, s->cf[CF_HALF], key, sizeof key);
}

int half_check(struct store *s, int64_t locator)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	_cleanup_(pinnedp) rocksdb_pinnableslice_t *row = NULL;
	char key[HALF_KEY_SIZE];

	mq_put64(key, (uint64_t)locator);
	row = rocksdb_get_pinned_cf(s->db, s->read_options[STORE_DISK], s->cf[CF_HALF], key, sizeof key, &text);
	return text ? -EIO : row ? 0 : -ENOENT;
}

int half_parse(struct mq_slice key, struct mq_slice value, struct store_half *ret)
{
	if (key.n != HALF_KEY_SIZE || (value.n != 0 && value.n != HALF_VALUE_SIZE))
		return -EBADMSG;
	ret->locator = (int64_t)mq_get64(key.p);
	ret->n_checks = value.n == 0 ? 0 : mq_get32(value.p);
	return 0;
}

int store_half_scan(struct store *s, int64_t from, struct store_half *ret, unsigned max)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it = NULL;
	char key[HALF_KEY_SIZE];
	unsigned n = 0;
	int r;

	mq_put64(key, (uint64_t)from);
	it = rocksdb_create_iterator_cf(s->db, s->read_options[STORE_DISK], s->cf[CF_HALF]);
	for (rocksdb_iter_seek(it, key, sizeof key); n < max && rocksdb_iter_valid(it); rocksdb_iter_next(it))
		if (half_parse(iterator_key(it), iterator_value(it), &ret[n]) == 0)
			n++;
		else
			damage_note(s, CF_HALF, iterator_key(it), iterator_value(it));
	r = read_status(it);
	return r < 0 ? r : (int)n;
}
