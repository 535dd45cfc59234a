/* Queues: in memory by name and by number, on disk a row each that names their family. Only this file and families.c know whether
 * a queue has a family of its own. */
#include <errno.h>
#include <stdlib.h>

#include "libmq/wire/record.h"
#include "storage/internal.h"

enum { QUEUE_KEY_MAX = 4 + NAME_MAX_BYTES };

static size_t queue_key(char ret[QUEUE_KEY_MAX], struct mq_slice topic, int32_t queue_id)
{
	return (size_t)(mq_put_bytes(mq_put32(ret, (uint32_t)queue_id), topic.p, topic.n) - ret);
}

/* queues_lock held. */
static struct store_queue *queue_lookup(struct store *s, const char *key, size_t n_key)
{
	struct store_queue *q;

	HASH_FIND(by_name, s->by_name, key, (unsigned)n_key, q);
	return q;
}

static bool queue_keeps_due(const struct store *s, struct mq_slice topic)
{
	for (const char *const *t = s->cfg.due_topics; t && *t; t++)
		if (mq_slice_is(topic, *t))
			return true;
	return false;
}

/* queues_lock held for writing, or nobody else knows the store yet. */
static struct store_queue *queue_add(struct store *s, const char *key, size_t n_key)
{
	struct store_queue *q = calloc(1, sizeof *q + n_key);

	if (!q)
		return NULL;
	q->store = s;
	q->queue_id = (int32_t)mq_get32(key);
	q->n_key = n_key;
	memcpy(q->key, key, n_key);
	q->keeps_due = queue_keeps_due(s, store_queue_topic(q));
	atomic_init(&q->first_at_ms, -1);
	HASH_ADD_KEYPTR(by_name, s->by_name, q->key, (unsigned)n_key, q);
	SLIST_INSERT_HEAD(&s->all, q, link);
	return q;
}

int store_queue_open(struct store *s, struct mq_slice topic, int32_t queue_id, struct store_queue **ret)
{
	char key[QUEUE_KEY_MAX];
	struct store_queue *q;
	size_t n;

	if (topic.n == 0 || topic.n > NAME_MAX_BYTES)
		return -EINVAL;
	q = store_queue_find(s, topic, queue_id);
	if (!q) {
		n = queue_key(key, topic, queue_id);
		pthread_rwlock_wrlock(&s->queues_lock);
		q = queue_lookup(s, key, n);
		if (!q)
			q = queue_add(s, key, n);
		pthread_rwlock_unlock(&s->queues_lock);
	}
	if (!q)
		return -ENOMEM;
	*ret = q;
	return 0;
}

struct store_queue *store_queue_find(struct store *s, struct mq_slice topic, int32_t queue_id)
{
	char key[QUEUE_KEY_MAX];
	struct store_queue *q;
	size_t n;

	if (topic.n > NAME_MAX_BYTES)
		return NULL;
	n = queue_key(key, topic, queue_id);
	pthread_rwlock_rdlock(&s->queues_lock);
	q = queue_lookup(s, key, n);
	pthread_rwlock_unlock(&s->queues_lock);
	return q;
}

struct store_queue *queue_by_number(struct store *s, uint32_t number)
{
	struct store_queue *q;

	pthread_rwlock_rdlock(&s->queues_lock);
	HASH_FIND(by_number, s->by_number, &number, sizeof number, q);
	pthread_rwlock_unlock(&s->queues_lock);
	return q;
}

int64_t store_queue_min(const struct store_queue *q)
{
	return atomic_load(&q->min);
}

int64_t store_queue_max(const struct store_queue *q)
{
	return atomic_load(&q->max);
}

struct mq_slice store_queue_topic(const struct store_queue *q)
{
	return (struct mq_slice){ q->key + 4, q->n_key - 4 };
}

int32_t store_queue_id(const struct store_queue *q)
{
	return q->queue_id;
}

/* Below the published maximum the number is known to this thread. */
int64_t store_queue_locator(const struct store_queue *q, int64_t offset)
{
	return locator_make(q->number, offset);
}

void store_queue_set_data(struct store_queue *q, void *data)
{
	atomic_store(&q->data, data);
}

void *store_queue_data(const struct store_queue *q)
{
	return atomic_load(&q->data);
}

/* ---- rows ---- */

int queue_row_decode(struct mq_slice value, struct queue_row *ret)
{
	if (value.n <= QUEUE_ROW_SIZE || (uint8_t)value.p[8] > FAMILY_SHARED)
		return -EBADMSG;
	*ret = (struct queue_row){
		.min = (int64_t)mq_get64(value.p),
		.kind = (enum family_kind)value.p[8],
		.family = mq_get32(value.p + 9),
		.queue_id = (int32_t)mq_get32(value.p + QUEUE_ROW_SIZE - 4),
		.topic = { value.p + QUEUE_ROW_SIZE, value.n - QUEUE_ROW_SIZE },
	};
	return ret->min < 0 || ret->topic.n > NAME_MAX_BYTES ? -EBADMSG : 0;
}

void queue_row_put(rocksdb_writebatch_t *batch, struct store *s, const struct store_queue *q, int64_t min)
{
	char name[4], row[QUEUE_ROW_SIZE + NAME_MAX_BYTES], *p = row;
	const struct store_family *f = q->family;

	p = mq_put64(p, (uint64_t)min);
	p = mq_put8(p, !f ? FAMILY_NONE : f->is_shared ? FAMILY_SHARED : FAMILY_OWN);
	p = mq_put32(p, f ? f->number : 0);
	p = mq_put_bytes(p, q->key, q->n_key);
	mq_put32(name, q->number);
	meta_stage(batch, s, META_QUEUE, (struct mq_slice){ name, sizeof name }, (struct mq_slice){ row, (size_t)(p - row) });
}

void queue_row_delete(rocksdb_writebatch_t *batch, struct store *s, const struct store_queue *q)
{
	char name[4], key[META_KEY_MAX];

	mq_put32(name, q->number);
	rocksdb_writebatch_delete_cf(batch, s->cf[CF_META], key, meta_key(key, META_QUEUE, (struct mq_slice){ name, sizeof name }));
}

/* ---- families ---- */

bool queue_assign(struct store *s, struct store_queue *q)
{
	uint32_t hash = (uint32_t)index_hash((struct mq_slice){ q->key, q->n_key }, (struct mq_slice){});
	struct store_family *f = family_take(s, hash);

	if (!f)
		return false;
	pthread_rwlock_wrlock(&s->queues_lock);
	if (q->number == 0) {
		q->number = s->next_number++;
		HASH_ADD(by_number, s->by_number, number, sizeof q->number, q);
	}
	q->family = f;
	pthread_rwlock_unlock(&s->queues_lock);
	q->has_row = false;
	return true;
}

void queue_release_family(struct store *s, struct store_queue *q)
{
	struct store_family *f;

	pthread_rwlock_wrlock(&s->queues_lock);
	f = TAKE(q->family);
	pthread_rwlock_unlock(&s->queues_lock);
	q->has_row = false;
	if (f && !f->is_shared)
		family_bury(s, f);
}

/* ---- loading ---- */

static struct store_family *queues_find_family(struct store_family *const *families, size_t n, const struct queue_row *row)
{
	for (size_t low = 0, high = n; low < high;) {
		size_t middle = (low + high) / 2;
		struct store_family *f = families[middle];
		bool is_shared = row->kind == FAMILY_SHARED;

		if (f->is_shared == is_shared && f->number == row->family)
			return f;
		if (f->is_shared < is_shared || (f->is_shared == is_shared && f->number < row->family))
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* The last record says where the queue ends and when it was last written. */
static int queue_load_end(struct store *s, struct store_queue *q, int64_t min, struct mq_error *err)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it = read_iterator(s, q, s->read_options[STORE_DISK]);
	int64_t max = min;
	char last[RECORD_KEY_SIZE];

	if (it) {
		record_key(last, q->number, INT64_MAX);
		rocksdb_iter_seek_for_prev(it, last, sizeof last);
		if (rocksdb_iter_valid(it)) {
			struct mq_slice key = iterator_key(it), value = iterator_value(it);

			if (key.n == RECORD_KEY_SIZE && mq_get32(key.p) == q->number && (int64_t)mq_get64(key.p + 4) >= min) {
				if (value.n < RECORD_VALUE_PREFIX + RECORD_SIZE_MIN)
					return mq_error_set(err, -EBADMSG, "%s: the last record of queue %u is damaged", s->cfg.path,
							    q->number);
				max = (int64_t)mq_get64(key.p + 4) + 1;
				value.p += RECORD_VALUE_PREFIX;
				value.n -= RECORD_VALUE_PREFIX;
				q->last_at_ms = mq_record_store_at_ms(value);
			}
		}
		if (read_status(it) != 0)
			return mq_error_set(err, -EIO, "%s: cannot read the end of queue %u", s->cfg.path, q->number);
	}
	q->next_offset = max;
	atomic_store(&q->min, min);
	atomic_store(&q->written, max);
	atomic_store(&q->max, max);
	return 0;
}

struct loading {
	struct store *s;
	struct store_family *const *families;
	size_t n_families;
	struct mq_error *err;
};

static int queues_load_row(void *user, struct mq_slice name, struct mq_slice value)
{
	struct loading *l = user;
	struct store *s = l->s;
	struct queue_row row;
	struct store_queue *q;

	if (name.n != 4 || queue_row_decode(value, &row) < 0)
		return mq_error_set(l->err, -EBADMSG, "%s: a queue's row is damaged", s->cfg.path);
	/* The row ends with the key in memory: queue id and topic. */
	q = queue_add(s, value.p + QUEUE_ROW_SIZE - 4, value.n - QUEUE_ROW_SIZE + 4);
	if (!q)
		return mq_error_set(l->err, -ENOMEM, "no memory for the queues");
	q->number = mq_get32(name.p);
	HASH_ADD(by_number, s->by_number, number, sizeof q->number, q);
	if (q->number >= s->next_number)
		s->next_number = q->number + 1;
	q->has_row = true;
	if (row.kind != FAMILY_NONE) {
		q->family = queues_find_family(l->families, l->n_families, &row);
		if (!q->family)
			return mq_error_set(l->err, -EUCLEAN, "%s: the family of queue %u (topic %.*s) is missing", s->cfg.path,
					    q->number, MQ_FMT(row.topic));
		if (q->family->is_referenced && !q->family->is_shared) {
			q->family = NULL;
			return mq_error_set(l->err, -EUCLEAN, "%s: queue %u (topic %.*s) claims the family of another queue",
					    s->cfg.path, q->number, MQ_FMT(row.topic));
		}
		q->family->is_referenced = true;
	}
	return queue_load_end(s, q, row.min, l->err);
}

int queues_load(struct store *s, struct store_family *const *families, size_t n, struct mq_error *err)
{
	struct loading l = { s, families, n, err };
	int r = store_meta_each(s, META_QUEUE, queues_load_row, &l);

	if (r == -EIO && err && err->code != -EIO)
		mq_error_set(err, -EIO, "%s: cannot read the queues' rows", s->cfg.path);
	return r;
}

void queues_free(struct store *s)
{
	struct store_queue *q;

	HASH_CLEAR(by_name, s->by_name);
	HASH_CLEAR(by_number, s->by_number);
	while ((q = SLIST_FIRST(&s->all))) {
		SLIST_REMOVE_HEAD(&s->all, link);
		if (q->family && !q->family->is_shared)
			family_free(q->family);
		free(q);
	}
}

/* ---- deleting a topic ---- */

/* queues_lock held for writing. A family of its own goes to `dead`. */
static void queue_detach(struct store *s, struct store_queue *q, struct store_family_list *dead)
{
	struct store_family *f = TAKE(q->family);

	if (f && !f->is_shared)
		STAILQ_INSERT_TAIL(dead, f, link);
	HASH_DELETE(by_name, s->by_name, q);
	if (q->number > 0)
		HASH_DELETE(by_number, s->by_number, q);
	q->is_deleted = true;
	atomic_store(&q->min, 0);
	atomic_store(&q->written, 0);
	atomic_store(&q->max, 0);
}

/* Append lock held. */
static int topic_delete_locked(struct store *s, struct mq_slice topic, const struct store_meta_put *puts, unsigned n_puts)
{
	struct store_family_list dead = STAILQ_HEAD_INITIALIZER(dead);
	struct store_family *f;
	struct store_queue *q;
	int r;

	/* Only who holds the append lock changes families and rows, so that two passes see the same. */
	pthread_rwlock_rdlock(&s->queues_lock);
	SLIST_FOREACH(q, &s->all, link) {
		char first[RECORD_KEY_SIZE], behind[RECORD_KEY_SIZE];

		if (q->is_deleted || q->number == 0 || !mq_slice_equal(store_queue_topic(q), topic))
			continue;
		queue_row_delete(s->batch, s, q);
		if (!q->family || !q->family->is_shared)
			continue;
		record_key(first, q->number, 0);
		record_key(behind, q->number + 1, 0);
		rocksdb_writebatch_delete_range_cf(s->batch, q->family->cf, first, sizeof first, behind, sizeof behind);
	}
	pthread_rwlock_unlock(&s->queues_lock);

	offsets_stage_delete(s->batch, s, (struct mq_slice){}, topic);
	for (unsigned i = 0; i < n_puts; i++)
		meta_stage(s->batch, s, puts[i].kind, puts[i].name, puts[i].value);
	r = store_write_locked(s, s->batch);
	rocksdb_writebatch_clear(s->batch);
	if (r < 0)
		return r;
	offsets_forget_topic(s, topic);

	pthread_rwlock_wrlock(&s->queues_lock);
	SLIST_FOREACH(q, &s->all, link)
		if (!q->is_deleted && mq_slice_equal(store_queue_topic(q), topic))
			queue_detach(s, q, &dead);
	pthread_rwlock_unlock(&s->queues_lock);
	while ((f = STAILQ_FIRST(&dead))) {
		STAILQ_REMOVE_HEAD(&dead, link);
		family_bury(s, f);
	}
	return 0;
}

int store_topic_delete(struct store *s, struct mq_slice topic, const struct store_meta_put *puts, unsigned n_puts)
{
	char key[META_KEY_MAX];
	int r;

	if (topic.n == 0)
		return -EINVAL;
	for (unsigned i = 0; i < n_puts; i++)
		if (meta_key(key, puts[i].kind, puts[i].name) == 0)
			return -EINVAL;
	if (space_is_critical(s))
		return -ENOSPC;
	append_lock(s);
	r = topic_delete_locked(s, topic, puts, n_puts);
	append_unlock(s);
	if (r == 0 && s->cfg.sync_flush)
		r = store_sync(s);
	keeper_wake(s); /* drops the families */
	return r;
}
