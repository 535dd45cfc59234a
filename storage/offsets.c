/* Committed consumer offsets: in memory, rows behind it. A change is written by the keeper within a second, or in the batch of the
 * op that brings it. Rows are only written and deleted under the append lock, so that disk follows memory in order. */
#include <errno.h>
#include <stdlib.h>

#include "storage/internal.h"

enum { OFFSET_KEY_MAX = 2 * NAME_MAX_BYTES + 2 + 4 };

/* 0: a name is too long or holds a zero byte. */
static size_t offset_key(char ret[OFFSET_KEY_MAX], struct mq_slice group, struct mq_slice topic, int32_t queue_id)
{
	char *p = ret;

	if (group.n > NAME_MAX_BYTES || topic.n > NAME_MAX_BYTES || (group.n > 0 && memchr(group.p, 0, group.n)) ||
	    (topic.n > 0 && memchr(topic.p, 0, topic.n)))
		return 0;
	p = mq_put8(mq_put_bytes(p, group.p, group.n), 0);
	p = mq_put8(mq_put_bytes(p, topic.p, topic.n), 0);
	return (size_t)(mq_put32(p, (uint32_t)queue_id) - ret);
}

static struct mq_slice row_group(const struct offset_row *row)
{
	return (struct mq_slice){ row->key, row->n_group };
}

static struct mq_slice row_topic(const struct offset_row *row)
{
	return (struct mq_slice){ row->key + row->n_group + 1, row->n_topic };
}

static int32_t row_queue_id(const struct offset_row *row)
{
	return (int32_t)mq_get32(row->key + row->n_key - 4);
}

static bool row_matches(const struct offset_row *row, struct mq_slice group, struct mq_slice topic)
{
	return (group.n == 0 || mq_slice_equal(row_group(row), group)) && (topic.n == 0 || mq_slice_equal(row_topic(row), topic));
}

/* offsets_lock held. */
static struct offset_row *offset_row(struct store *s, const char *key, size_t n_key, size_t n_group)
{
	struct offset_row *row;

	HASH_FIND(hh, s->offsets, key, (unsigned)n_key, row);
	if (row)
		return row;
	row = calloc(1, sizeof *row + n_key);
	if (!row)
		return NULL;
	row->n_key = n_key;
	row->n_group = n_group;
	row->n_topic = n_key - n_group - 6;
	memcpy(row->key, key, n_key);
	HASH_ADD_KEYPTR(hh, s->offsets, row->key, (unsigned)n_key, row);
	return row;
}

/* offsets_lock held. */
static void offset_row_mark(struct store *s, struct offset_row *row)
{
	if (row->is_dirty)
		return;
	row->is_dirty = true;
	TAILQ_INSERT_TAIL(&s->dirty_offsets, row, dirty);
}

static void offset_row_delete(struct store *s, struct offset_row *row)
{
	if (row->is_dirty)
		TAILQ_REMOVE(&s->dirty_offsets, row, dirty);
	HASH_DELETE(hh, s->offsets, row);
	free(row);
}

static _Atomic uint64_t last_order;

uint64_t offsets_order(void)
{
	return atomic_fetch_add_explicit(&last_order, 1, memory_order_relaxed) + 1;
}

/* The locks of whoever knows the topics order this with the deletion. */
uint64_t store_offset_since(void)
{
	return atomic_load_explicit(&last_order, memory_order_relaxed);
}

static uint64_t deletion_hash(struct mq_slice topic)
{
	return index_hash(topic, (struct mq_slice){});
}

/* offsets_lock held. When more were deleted since than are kept, it is taken for one of them. */
static bool topic_is_gone(const struct store *s, struct mq_slice topic, uint64_t since)
{
	uint64_t hash;

	if (s->deletions[s->last_deletion].order <= since)
		return false;
	hash = deletion_hash(topic);
	for (unsigned i = 0; i < DELETIONS_KEPT; i++) {
		const struct deletion *d = &s->deletions[(s->last_deletion + DELETIONS_KEPT - i) % DELETIONS_KEPT];

		if (d->order <= since)
			return false;
		if (d->hash == hash)
			return true;
	}
	return true;
}

int store_offset_get(struct store *s, struct mq_slice group, struct mq_slice topic, int32_t queue_id, int64_t *ret)
{
	char key[OFFSET_KEY_MAX];
	size_t n = offset_key(key, group, topic, queue_id);
	struct offset_row *row;
	LOCKED(&s->offsets_lock);

	HASH_FIND(hh, s->offsets, key, (unsigned)n, row);
	if (n == 0 || !row)
		return STORE_NONE;
	*ret = row->offset;
	return 0;
}

int store_offset_set(struct store *s, struct mq_slice group, struct mq_slice topic, int32_t queue_id, int64_t offset, uint64_t since)
{
	char key[OFFSET_KEY_MAX];
	size_t n = offset_key(key, group, topic, queue_id);
	struct offset_row *row;

	if (n == 0)
		return -EINVAL;
	LOCKED(&s->offsets_lock);
	if (topic_is_gone(s, topic, since))
		return -ENOENT;
	row = offset_row(s, key, n, group.n);
	if (!row)
		return -ENOMEM;
	row->offset = offset;
	row->order = offsets_order();
	offset_row_mark(s, row);
	return 0;
}

void store_offset_each(struct store *s, struct mq_slice group, struct mq_slice topic,
		       void (*each)(void *user, struct mq_slice group, struct mq_slice topic, int32_t queue_id, int64_t offset),
		       void *user)
{
	struct offset_row *row, *next;
	LOCKED(&s->offsets_lock);

	HASH_ITER(hh, s->offsets, row, next)
		if (row_matches(row, group, topic))
			each(user, row_group(row), row_topic(row), row_queue_id(row), row->offset);
}

/* ---- to the disk ---- */

static void offset_row_stage(rocksdb_writebatch_t *batch, struct store *s, const struct offset_row *row)
{
	char value[8];

	mq_put64(value, (uint64_t)row->offset);
	rocksdb_writebatch_put_cf(batch, s->cf[CF_OFFSETS], row->key, row->n_key, value, sizeof value);
}

/* Append lock held. */
static int offsets_flush_locked(struct store *s)
{
	struct offset_row *row, *next;
	int r;

	pthread_mutex_lock(&s->offsets_lock);
	TAILQ_FOREACH(row, &s->dirty_offsets, dirty) {
		offset_row_stage(s->batch, s, row);
		row->is_dirty = false;
	}
	TAILQ_INIT(&s->dirty_offsets);
	pthread_mutex_unlock(&s->offsets_lock);

	if (rocksdb_writebatch_count(s->batch) == 0)
		return 0;
	r = store_write_locked(s, s->batch);
	rocksdb_writebatch_clear(s->batch);
	if (r == -ENOSPC) {
		LOCKED(&s->offsets_lock);

		/* Some of these have changed again and some were clean, which does no harm. */
		HASH_ITER(hh, s->offsets, row, next)
			offset_row_mark(s, row);
	}
	return r;
}

int offsets_flush(struct store *s)
{
	bool is_clean;
	int r;

	pthread_mutex_lock(&s->offsets_lock);
	is_clean = TAILQ_EMPTY(&s->dirty_offsets);
	pthread_mutex_unlock(&s->offsets_lock);
	if (is_clean)
		return 0;
	if (space_is_critical(s))
		return -ENOSPC;
	append_lock(s);
	r = offsets_flush_locked(s);
	append_unlock(s);
	return r;
}

/* What came later may be on the disk already: the op must not undo it there. */
void offsets_stage(rocksdb_writebatch_t *batch, struct store *s, const struct store_offset_put *put, uint64_t order)
{
	char key[OFFSET_KEY_MAX], value[8];
	size_t n = offset_key(key, put->group, put->topic, put->queue_id);
	int64_t offset = put->offset;
	struct offset_row *row;

	pthread_mutex_lock(&s->offsets_lock);
	HASH_FIND(hh, s->offsets, key, (unsigned)n, row);
	if (row && row->order > order)
		offset = row->offset;
	pthread_mutex_unlock(&s->offsets_lock);
	mq_put64(value, (uint64_t)offset);
	rocksdb_writebatch_put_cf(batch, s->cf[CF_OFFSETS], key, n, value, sizeof value);
}

bool offset_put_is_valid(const struct store_offset_put *put)
{
	char key[OFFSET_KEY_MAX];

	return offset_key(key, put->group, put->topic, put->queue_id) > 0;
}

bool offset_put_is_late(struct store *s, const struct store_offset_put *put)
{
	LOCKED(&s->offsets_lock);

	return topic_is_gone(s, put->topic, put->since);
}

int offsets_commit(struct store *s, const struct store_offset_put *put, uint64_t order)
{
	char key[OFFSET_KEY_MAX];
	size_t n = offset_key(key, put->group, put->topic, put->queue_id);
	struct offset_row *row;
	LOCKED(&s->offsets_lock);

	row = offset_row(s, key, n, put->group.n);
	if (!row)
		return -ENOMEM;
	if (row->order > order)
		return 0;
	row->offset = put->offset;
	row->order = order;
	return 0;
}

void offsets_stage_delete(rocksdb_writebatch_t *batch, struct store *s, struct mq_slice group, struct mq_slice topic)
{
	struct offset_row *row, *next;
	LOCKED(&s->offsets_lock);

	HASH_ITER(hh, s->offsets, row, next)
		if (row_matches(row, group, topic))
			rocksdb_writebatch_delete_cf(batch, s->cf[CF_OFFSETS], row->key, row->n_key);
}

/* offsets_lock held. */
static void offset_rows_delete(struct store *s, struct mq_slice group, struct mq_slice topic)
{
	struct offset_row *row, *next;

	HASH_ITER(hh, s->offsets, row, next)
		if (row_matches(row, group, topic))
			offset_row_delete(s, row);
}

void offsets_forget(struct store *s, struct mq_slice group, struct mq_slice topic)
{
	LOCKED(&s->offsets_lock);

	offset_rows_delete(s, group, topic);
}

void offsets_forget_topic(struct store *s, struct mq_slice topic)
{
	LOCKED(&s->offsets_lock);

	offset_rows_delete(s, (struct mq_slice){}, topic);
	s->last_deletion = (s->last_deletion + 1) % DELETIONS_KEPT;
	s->deletions[s->last_deletion] = (struct deletion){ offsets_order(), deletion_hash(topic) };
}

int store_offset_delete(struct store *s, struct mq_slice group, struct mq_slice topic)
{
	int r = 0;

	if (space_is_critical(s))
		return -ENOSPC;
	append_lock(s);
	offsets_stage_delete(s->batch, s, group, topic);
	if (rocksdb_writebatch_count(s->batch) > 0) {
		r = store_write_locked(s, s->batch);
		rocksdb_writebatch_clear(s->batch);
	}
	if (r == 0)
		offsets_forget(s, group, topic);
	append_unlock(s);
	if (r == 0 && s->cfg.sync_flush)
		r = store_sync(s);
	return r;
}

/* ---- from the disk ---- */

int offset_key_parse(struct mq_slice key, struct mq_slice *ret_group, struct mq_slice *ret_topic, int32_t *ret_queue_id)
{
	const char *end_group = key.n > 6 ? memchr(key.p, 0, key.n - 5) : NULL;
	const char *end_topic = key.p + key.n - 5;

	if (!end_group || *end_topic || memchr(end_group + 1, 0, (size_t)(end_topic - end_group - 1)))
		return -EBADMSG;
	*ret_group = (struct mq_slice){ key.p, (size_t)(end_group - key.p) };
	*ret_topic = (struct mq_slice){ end_group + 1, (size_t)(end_topic - end_group - 1) };
	*ret_queue_id = (int32_t)mq_get32(end_topic + 1);
	return ret_group->n > NAME_MAX_BYTES || ret_topic->n > NAME_MAX_BYTES ? -EBADMSG : 0;
}

int offsets_load(struct store *s, struct mq_error *err)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it =
		rocksdb_create_iterator_cf(s->db, s->read_options[STORE_DISK], s->cf[CF_OFFSETS]);

	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		struct mq_slice key = iterator_key(it), value = iterator_value(it), group, topic;
		struct offset_row *row;
		int32_t queue_id;

		if (value.n != 8 || offset_key_parse(key, &group, &topic, &queue_id) < 0)
			return mq_error_set(err, -EBADMSG, "%s: a consumer offset's row is damaged", s->cfg.path);
		row = offset_row(s, key.p, key.n, group.n);
		if (!row)
			return mq_error_set(err, -ENOMEM, "no memory for the consumer offsets");
		row->offset = (int64_t)mq_get64(value.p);
	}
	return read_status(it) ? mq_error_set(err, -EIO, "%s: cannot read the consumer offsets", s->cfg.path) : 0;
}

void offsets_free(struct store *s)
{
	struct offset_row *row, *next;

	HASH_ITER(hh, s->offsets, row, next)
		offset_row_delete(s, row);
}
