#include "daemons/broker/pop_order.h"

#include <errno.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

#include "libmq/base/bytes.h"
#include "storage/store.h"

enum {
	NAME_PART_MAX = 255,
	KEEP_MS = 24 * 3600000, /* upstream, too, forgets what nobody pops for a day */
	MESSAGE_SIZE = 21,	/* bytes in a row */
	ROW_HEAD_SIZE = 25,
};

/* ---- One state ---- */

static bool order_is_attempt(const struct pop_order *o, struct mq_slice attempt)
{
	return o->n_attempt > 0 && mq_slice_equal((struct mq_slice){ o->attempt, o->n_attempt }, attempt);
}

bool pop_order_blocks(const struct pop_order *o, struct mq_slice attempt, int64_t invisible_ms, int64_t now_ms, int64_t *ret_free_ms)
{
	int64_t after_ms = o->invisible_ms > 0 ? o->invisible_ms : invisible_ms, free_ms = INT64_MIN;

	if (order_is_attempt(o, attempt))
		return false;
	for (unsigned i = 0; i < o->n; i++) {
		const struct pop_order_message *m = &o->messages[i];
		int64_t at_ms = m->visible_at_ms;

		if (at_ms < 0 && __builtin_add_overflow(o->pop_at_ms, after_ms, &at_ms))
			at_ms = INT64_MAX;
		if (!m->is_acked && at_ms > free_ms)
			free_ms = at_ms;
	}
	if (free_ms <= now_ms)
		return false;
	*ret_free_ms = free_ms;
	return true;
}

static const struct pop_order_message *order_find(const struct pop_order *o, int64_t offset)
{
	for (unsigned i = 0; i < o->n; i++)
		if (o->messages[i].offset == offset)
			return &o->messages[i];
	return NULL;
}

void pop_order_popped(struct pop_order *ret, const struct pop_order *old, struct mq_slice attempt, int64_t pop_at_ms,
		      int64_t invisible_ms, const int64_t *offsets, unsigned n)
{
	bool is_repeated = old && order_is_attempt(old, attempt);

	*ret = (struct pop_order){ .pop_at_ms = pop_at_ms, .invisible_ms = invisible_ms, .written_at_ms = pop_at_ms, .n = n };
	if (attempt.n > 0 && attempt.n <= POP_ORDER_ATTEMPT) {
		ret->n_attempt = attempt.n;
		memcpy(ret->attempt, attempt.p, attempt.n);
	}
	for (unsigned i = 0; i < n; i++) {
		const struct pop_order_message *before = old ? order_find(old, offsets[i]) : NULL;
		int32_t n_consumed = before ? before->n_consumed : 0;

		/* An attempt that is repeated got no answer: it does not count. */
		if (before && !is_repeated && n_consumed < INT32_MAX)
			n_consumed++;
		ret->messages[i] =
			(struct pop_order_message){ .offset = offsets[i], .visible_at_ms = -1, .n_consumed = n_consumed };
	}
}

void pop_order_write_counts(const struct pop_order *o, int mark, int32_t queue_id, struct evbuffer *out)
{
	int32_t least = INT32_MAX;

	for (unsigned i = 0; i < o->n; i++) {
		const struct pop_order_message *m = &o->messages[i];

		if (m->n_consumed < least)
			least = m->n_consumed;
		if (m->n_consumed > 0)
			evbuffer_add_printf(out, "%s%d qo%" PRIi32 "%%%" PRIi64 " %" PRIi32, evbuffer_get_length(out) > 0 ? ";" : "", mark,
					    queue_id, m->offset, m->n_consumed);
	}
	evbuffer_add_printf(out, "%s%d %" PRIi32 " %" PRIi32, evbuffer_get_length(out) > 0 ? ";" : "", mark, queue_id, least);
}

int64_t pop_order_ack(struct pop_order *o, int64_t offset, int64_t pop_at_ms)
{
	struct pop_order_message *m;

	if (o->n == 0)
		return POP_ORDER_UNKNOWN;
	if (o->pop_at_ms != pop_at_ms)
		return POP_ORDER_LATE;
	m = (struct pop_order_message *)order_find(o, offset);
	if (!m)
		return POP_ORDER_UNKNOWN;
	m->is_acked = true;
	for (unsigned i = 0; i < o->n; i++)
		if (!o->messages[i].is_acked)
			return o->messages[i].offset;
	return o->messages[o->n - 1].offset + 1;
}

bool pop_order_put_off(struct pop_order *o, int64_t offset, int64_t pop_at_ms, int64_t visible_at_ms)
{
	struct pop_order_message *m = (struct pop_order_message *)order_find(o, offset);

	if (o->pop_at_ms != pop_at_ms)
		return false;
	if (m)
		m->visible_at_ms = visible_at_ms < 0 ? 0 : visible_at_ms;
	return m;
}

/* ---- Rows ---- */

size_t pop_order_encode(const struct pop_order *o, char ret[POP_ORDER_ROW_MAX])
{
	char *p = mq_put64(mq_put64(mq_put64(ret, (uint64_t)o->pop_at_ms), (uint64_t)o->invisible_ms), (uint64_t)o->written_at_ms);

	p = mq_put8(p, (uint8_t)o->n);
	for (unsigned i = 0; i < o->n; i++) {
		const struct pop_order_message *m = &o->messages[i];

		p = mq_put64(mq_put64(p, (uint64_t)m->offset), (uint64_t)m->visible_at_ms);
		p = mq_put8(mq_put32(p, (uint32_t)m->n_consumed), m->is_acked);
	}
	return (size_t)(mq_put_bytes(p, o->attempt, o->n_attempt) - ret);
}

int pop_order_decode(struct mq_slice row, struct pop_order *ret)
{
	struct pop_order o = {};
	const char *p = row.p;

	if (row.n < ROW_HEAD_SIZE)
		return -EBADMSG;
	o.pop_at_ms = (int64_t)mq_get64(p);
	o.invisible_ms = (int64_t)mq_get64(p + 8);
	o.written_at_ms = (int64_t)mq_get64(p + 16);
	o.n = (uint8_t)p[24];
	if (o.n > POP_ORDER_MESSAGES || row.n < ROW_HEAD_SIZE + o.n * MESSAGE_SIZE)
		return -EBADMSG;
	p += ROW_HEAD_SIZE;
	for (unsigned i = 0; i < o.n; i++, p += MESSAGE_SIZE) {
		o.messages[i] = (struct pop_order_message){
			.offset = (int64_t)mq_get64(p),
			.visible_at_ms = (int64_t)mq_get64(p + 8),
			.n_consumed = (int32_t)mq_get32(p + 16),
			.is_acked = p[20],
		};
		if (o.messages[i].offset < 0 || (i > 0 && o.messages[i].offset <= o.messages[i - 1].offset))
			return -EBADMSG;
	}
	o.n_attempt = row.n - ROW_HEAD_SIZE - o.n * MESSAGE_SIZE;
	if (o.n_attempt > POP_ORDER_ATTEMPT)
		return -EBADMSG;
	memcpy(o.attempt, p, o.n_attempt);
	*ret = o;
	return 0;
}

size_t pop_order_name(struct mq_slice topic, struct mq_slice group, int32_t queue_id, char ret[POP_ORDER_NAME_MAX])
{
	char *p = ret;

	if (topic.n > NAME_PART_MAX || group.n > NAME_PART_MAX)
		return 0;
	p = mq_put8(mq_put_bytes(p, topic.p, topic.n), 0);
	p = mq_put8(mq_put_bytes(p, group.p, group.n), 0);
	return (size_t)(mq_put32(p, (uint32_t)queue_id) - ret);
}

int pop_order_name_parse(struct mq_slice name, struct mq_slice *ret_topic, struct mq_slice *ret_group, int32_t *ret_queue_id)
{
	const char *end_topic = name.n >= 6 ? memchr(name.p, 0, name.n - 5) : NULL;
	const char *end_group = name.p + name.n - 5;

	if (!end_topic || *end_group)
		return -EBADMSG;
	*ret_topic = (struct mq_slice){ name.p, (size_t)(end_topic - name.p) };
	*ret_group = (struct mq_slice){ end_topic + 1, (size_t)(end_group - end_topic - 1) };
	*ret_queue_id = (int32_t)mq_get32(end_group + 1);
	return ret_topic->n > NAME_PART_MAX || ret_group->n > NAME_PART_MAX ? -EBADMSG : 0;
}

/* ---- All of them ---- */

struct order_row {
	UT_hash_handle hh;
	struct pop_order order;
	size_t n_name;
	char name[]; /* pop_order_name() */
};

struct pop_orders {
	struct store *store;    /* borrowed */
	pthread_mutex_t lock;   /* protects the next */
	struct order_row *rows; /* owned */
};

/* Lock held. */
static struct order_row *orders_row(struct pop_orders *p, const char *name, size_t n, bool may_add)
{
	struct order_row *row;

	HASH_FIND(hh, p->rows, name, (unsigned)n, row);
	if (row || !may_add)
		return row;
	row = calloc(1, sizeof *row + n);
	if (!row)
		return NULL;
	row->n_name = n;
	memcpy(row->name, name, n);
	HASH_ADD_KEYPTR(hh, p->rows, row->name, (unsigned)n, row);
	return row;
}

static void orders_drop(struct pop_orders *p, struct order_row *row)
{
	HASH_DEL(p->rows, row);
	free(row);
}

struct loading {
	struct pop_orders *orders;
	int64_t now_ms;
};

static int orders_load_row(void *user, struct mq_slice name, struct mq_slice value)
{
	const struct loading *loading = user;
	struct mq_slice topic, group;
	struct order_row *row;
	struct pop_order o;
	int32_t queue_id;

	if (pop_order_name_parse(name, &topic, &group, &queue_id) < 0 || pop_order_decode(value, &o) < 0)
		return -EBADMSG;
	if (loading->now_ms - o.written_at_ms > KEEP_MS)
		return 0;
	row = orders_row(loading->orders, name.p, name.n, true);
	if (!row)
		return -ENOMEM;
	row->order = o;
	return 0;
}

int pop_orders_new(struct pop_orders **ret, struct store *store, int64_t now_ms, struct mq_error *err)
{
	struct pop_orders *p = calloc(1, sizeof *p);
	struct loading loading = { p, now_ms };
	int r;

	if (!p)
		return mq_error_set(err, -ENOMEM, "out of memory");
	pthread_mutex_init(&p->lock, NULL);
	p->store = store;
	r = store_meta_each(store, POP_ORDER_KIND, orders_load_row, &loading);
	if (r < 0) {
		pop_orders_free(p);
		return mq_error_set(err, r, "cannot load what was popped in order: %s", strerror(-r));
	}
	*ret = p;
	return 0;
}

struct pop_orders *pop_orders_free(struct pop_orders *p)
{
	struct order_row *row, *next;

	if (!p)
		return NULL;
	HASH_ITER(hh, p->rows, row, next)
		orders_drop(p, row);
	pthread_mutex_destroy(&p->lock);
	free(p);
	return NULL;
}

bool pop_orders_get(struct pop_orders *p, struct mq_slice topic, struct mq_slice group, int32_t queue_id, struct pop_order *ret)
{
	char name[POP_ORDER_NAME_MAX];
	size_t n = pop_order_name(topic, group, queue_id, name);
	struct order_row *row;

	pthread_mutex_lock(&p->lock);
	row = orders_row(p, name, n, false);
	if (row)
		*ret = row->order;
	pthread_mutex_unlock(&p->lock);
	return row;
}

int pop_orders_set(struct pop_orders *p, struct mq_slice topic, struct mq_slice group, int32_t queue_id, const struct pop_order *o)
{
	char name[POP_ORDER_NAME_MAX];
	size_t n = pop_order_name(topic, group, queue_id, name);
	struct order_row *row;

	pthread_mutex_lock(&p->lock);
	row = orders_row(p, name, n, o);
	if (row && o)
		row->order = *o;
	else if (row)
		orders_drop(p, row);
	pthread_mutex_unlock(&p->lock);
	return o && !row ? -ENOMEM : 0;
}

static bool row_matches(const struct order_row *row, struct mq_slice topic, struct mq_slice group)
{
	struct mq_slice own_topic, own_group;
	int32_t queue_id;

	return pop_order_name_parse((struct mq_slice){ row->name, row->n_name }, &own_topic, &own_group, &queue_id) == 0 &&
	       (topic.n == 0 || mq_slice_equal(own_topic, topic)) && (group.n == 0 || mq_slice_equal(own_group, group));
}

/* A row that cannot be deleted is forgotten after a day. */
void pop_orders_forget(struct pop_orders *p, struct mq_slice topic, struct mq_slice group)
{
	struct order_row *row, *next, *gone = NULL;
	int r = 0;

	pthread_mutex_lock(&p->lock);
	HASH_ITER(hh, p->rows, row, next) {
		if (!row_matches(row, topic, group))
			continue;
		HASH_DEL(p->rows, row);
		HASH_ADD_KEYPTR(hh, gone, row->name, (unsigned)row->n_name, row);
	}
	pthread_mutex_unlock(&p->lock);
	HASH_ITER(hh, gone, row, next) {
		if (r == 0)
			r = store_meta_delete(p->store, POP_ORDER_KIND, (struct mq_slice){ row->name, row->n_name });
		HASH_DEL(gone, row);
		free(row);
	}
}
