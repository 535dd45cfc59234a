#include "daemons/broker/pop_take.h"

#include <errno.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "daemons/broker/ahead.h"
#include "daemons/broker/broker.h"
#include "daemons/broker/filter_sql.h"
#include "daemons/broker/filter_tag.h"
#include "daemons/broker/pop_inflight.h"
#include "daemons/broker/pop_locks.h"
#include "daemons/broker/pop_order.h"
#include "daemons/broker/pulled.h"
#include "daemons/broker/topics.h"
#include "libmq/base/bytes.h"
#include "libmq/wire/message_properties.h"
#include "libmq/wire/record.h"

enum {
	SCAN_MAX = 800,		      /* messages that a filter looks at in one queue, as for pulls */
	HEADER_ALLOWANCE = 64 << 10,  /* bytes of a frame that are kept free for the header */
	REVIVE_QUEUES = 8,	      /* reviveQueueNum: only a number for the client to bring back */
	PEEK_RETRY_PROBABILITY = 20,  /* per cent */
	ANY_LOOKS = 32,		      /* messages whose tags a notification is filtered by, as upstream */
};

int64_t pop_due_ms(int64_t pop_at_ms, int64_t invisible_ms)
{
	int64_t at_ms;

	if (__builtin_add_overflow(pop_at_ms, invisible_ms, &at_ms))
		return INT64_MAX;
	return at_ms < 0 ? 0 : at_ms;
}

/* Not the same for all loops, and no lock: whose turn it is does not have to be secret. */
static unsigned take_random(unsigned n)
{
	static _Thread_local uint64_t state;

	if (state == 0)
		state = (uint64_t)(uintptr_t)&state * 0x9e3779b97f4a7c15u | 1;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)(state >> 33) % n;
}

/* ---- Messages ---- */

static bool take_wants(struct pop_take *t, int64_t tag_hash, struct mq_slice record)
{
	const struct subscription *sub = t->ask->sub;

	if (!sub || sub->matches_all)
		return true;
	if (!sub->sql)
		return filter_tag_matches(sub, tag_hash);
	return filter_sql_matches(sub->sql, record, &t->n_steps);
}

/* isTheBatchFull(), as for pulls: the first message of all always fits. */
static bool take_is_full(const struct pop_take *t, size_t size)
{
	const struct broker_config *config = &t->ask->broker->config;
	bool is_memory = t->tier == STORE_MEMORY;
	int64_t max_bytes = is_memory ? config_get(config, maxTransferBytesOnMessageInMemory)
				      : config_get(config, maxTransferBytesOnMessageInDisk);
	int64_t max_count = is_memory ? config_get(config, maxTransferCountOnMessageInMemory)
				      : config_get(config, maxTransferCountOnMessageInDisk);

	if ((int64_t)t->n_messages >= t->ask->max_messages)
		return true;
	if (t->n_messages == 0)
		return false;
	if (t->n_bytes + (int64_t)size > config->frameMaxLength - HEADER_ALLOWANCE)
		return true;
	return t->at->n > 0 && (t->at->n >= max_count || t->n_queue_bytes + (int64_t)size > max_bytes);
}

/* A message that comes again goes out under its topic's name, with the receipt that names the retry topic. */
static bool take_copy_retried(struct pop_take *t, struct mq_slice record)
{
	const struct pop_ask *ask = t->ask;
	char properties[MQ_PROPERTIES_MAX], tail[MQ_RECORD_TAIL_MAX], head[MQ_RECORD_HEAD_MAX], receipt[POP_HANDLE_MAX];
	struct pop_handle handle = {
		.start_offset = t->at->from,
		.pop_at_ms = t->pop_at_ms,
		.invisible_ms = ask->invisible_ms,
		.revive_queue = t->revive_queue,
		.mark = t->at->mark,
		.broker = mq_slice_of(ask->broker->config.brokerName),
	};
	struct mq_properties_out out;
	struct mq_record rec;
	size_t n_head, n_tail;

	if (mq_record_decode(record, &rec) < 0)
		return false;
	handle.queue_id = rec.queue_id;
	handle.offset = rec.queue_offset;
	mq_properties_begin(&out, properties, sizeof properties, rec.properties, NULL);
	if (!mq_properties_get(rec.properties, MQ_PROPERTY_POP_CK).p)
		mq_properties_add(&out, MQ_PROPERTY_POP_CK, (struct mq_slice){ receipt, pop_handle_encode(&handle, receipt) });
	rec.properties = mq_properties_end(&out, rec.properties);
	rec.topic = ask->topic;
	n_head = mq_record_encode_head(&rec, head);
	n_tail = mq_record_encode_tail(&rec, tail);
	return evbuffer_add(t->body, head, n_head) == 0 && evbuffer_add(t->body, rec.body.p, rec.body.n) == 0 &&
	       evbuffer_add(t->body, tail, n_tail) == 0;
}

static bool take_copy(struct pop_take *t, struct mq_slice record)
{
	bool is_renamed = !t->ask->is_peek && t->at->mark != POP_NORMAL &&
			  !config_get(&t->ask->broker->config, popResponseReturnActualRetryTopic);

	if (!t->body)
		t->body = evbuffer_new();
	if (!t->body)
		return false;
	return is_renamed ? take_copy_retried(t, record) : evbuffer_add(t->body, record.p, record.n) == 0;
}

static enum store_verdict take_on_record(void *user, int64_t offset, int64_t tag_hash, struct mq_slice record)
{
	struct pop_take *t = user;

	bool is_cut = t->n_scanned >= SCAN_MAX || t->n_steps > FILTER_SQL_SCAN_STEPS;

	if (is_cut || take_is_full(t, record.n)) {
		t->is_full = true;
		t->was_cut |= is_cut;
		return STORE_STOP;
	}
	t->n_scanned++;
	if (take_wants(t, tag_hash, record)) {
		if (!take_copy(t, record)) {
			t->result = -ENOMEM; /* and the group does not go past it */
			return STORE_STOP;
		}
		t->offsets[t->n_messages++] = offset;
		t->at->n++;
		t->n_bytes += (int64_t)record.n;
		t->n_queue_bytes += (int64_t)record.n;
	}
	t->at->next = offset + 1;
	return STORE_GO_ON;
}

/* ---- One queue ---- */

/* Where a group that was never here begins (PopMessageProcessor.getInitOffset). */
static int64_t take_first_offset(const struct pop_ask *ask, enum pop_mark mark, const struct store_queue *q)
{
	int64_t min = q ? store_queue_min(q) : 0, max = q ? store_queue_max(q) : 0;

	if (!ask->from_max || mark != POP_NORMAL)
		return min;
	/* All of it is there still: nothing is skipped. Else the last message, so that there is something to commit. */
	return min <= 0 || max <= 0 ? 0 : max - 1;
}

/* A commit that nobody waits for. Not over a reset. */
static void take_commit(const struct pop_take *t, struct mq_slice topic, int32_t queue_id, int64_t offset)
{
	struct broker *b = t->ask->broker;

	if (pulled_get(b->resets, t->ask->group, topic, queue_id) < 0 &&
	    store_offset_set(b->store, t->ask->group, topic, queue_id, offset, t->since) < 0)
		return; /* no memory, or no topic any more: the next pop finds the same, and tries again */
}

/* The queue's lock is held. */
static int64_t take_begin(const struct pop_take *t, struct mq_slice topic, enum pop_mark mark, int32_t queue_id, const struct store_queue *q)
{
	const struct pop_ask *ask = t->ask;
	struct broker *b = ask->broker;
	int64_t offset;

	if (pulled_take(b->resets, ask->group, topic, queue_id, &offset)) {
		pop_inflight_clear(b->pop_inflight, &(struct pop_inflight_key){ topic, ask->group, queue_id });
		(void)pop_orders_set(b->pop_orders, topic, ask->group, queue_id, NULL);
		take_commit(t, topic, queue_id, offset);
		return offset;
	}
	if (store_offset_get(b->store, ask->group, topic, queue_id, &offset) == 0)
		return offset;
	offset = take_first_offset(ask, mark, q);
	take_commit(t, topic, queue_id, offset);
	return offset;
}

/* Without changing anything. */
static int64_t take_peek_offset(const struct pop_ask *ask, struct mq_slice topic, enum pop_mark mark, int32_t queue_id,
				const struct store_queue *q)
{
	int64_t offset;

	if (store_offset_get(ask->broker->store, ask->group, topic, queue_id, &offset) == 0)
		return offset;
	return ask->is_peek ? (q ? store_queue_min(q) : 0) : take_first_offset(ask, mark, q);
}

static int64_t take_max(const struct store_queue *q)
{
	return q ? store_queue_max(q) : 0;
}

static bool take_is_blocked(const struct pop_ask *ask, struct mq_slice topic, int32_t queue_id, int64_t now_ms, int64_t *free_at_ms)
{
	struct pop_order order;
	int64_t free_ms;

	if (!ask->is_order || !pop_orders_get(ask->broker->pop_orders, topic, ask->group, queue_id, &order) ||
	    !pop_order_blocks(&order, ask->attempt, ask->invisible_ms, now_ms, &free_ms))
		return false;
	if (free_ms < *free_at_ms)
		*free_at_ms = free_ms;
	return true;
}

/* What was read ahead, if anything. */
static void take_scan_ahead(struct pop_take *t, struct store_queue *q)
{
	struct ahead *a = t->ask->broker->ahead;
	int64_t now_ms = mq_mono_ms(t->ask->broker->clock);
	struct stretch *s;

	while (!t->is_full && t->result == 0 && (s = ahead_find(a, q, t->at->next, now_ms))) {
		stretch_scan(s, t->at->next, take_on_record, t);
		ahead_passed(a, s, t->at->next, now_ms);
		stretch_unref(s);
	}
}

/* Reads from `offset` on; true when something was found. */
static bool take_scan(struct pop_take *t, struct store_queue *q, enum pop_mark mark, unsigned slot, int64_t offset, int64_t *ret_next)
{
	struct pop_target *at = &t->targets[t->n_targets];
	int64_t next = offset;
	int r = 0;

	*at = (struct pop_target){ .queue = q, .mark = mark, .slot = slot, .since = t->since, .from = offset, .next = offset, .first = t->n_messages };
	t->at = at;
	t->n_scanned = t->n_queue_bytes = 0;
	t->is_full = false;
	if (!t->ask->is_peek && offset < store_queue_max(q))
		take_scan_ahead(t, q);
	if (at->n == 0 && !t->is_full && t->result == 0)
		r = store_scan(t->ask->broker->store, q, at->next, t->tier, take_on_record, t, &next);
	/* What retention took away meanwhile is skipped, too. */
	if (r == 0 && t->result == 0 && !t->is_full && next > at->next)
		at->next = next;
	if (r == STORE_WOULD_BLOCK && at->n == 0 && !t->cold) {
		t->cold = q;
		t->cold_from = at->next;
	}
	if (r < 0 && at->n == 0)
		t->result = r;
	*ret_next = at->next;
	if (at->n == 0)
		return false;
	t->n_targets++;
	return true;
}

/* The offset in the range of the queue; where it was not, the group goes on at its border. */
static int64_t take_correct(const struct pop_take *t, struct mq_slice topic, int32_t queue_id, const struct store_queue *q, int64_t offset)
{
	int64_t min = store_queue_min(q), max = store_queue_max(q), right = offset < min ? min : offset > max ? max : offset;

	if (right != offset && !t->ask->is_peek)
		take_commit(t, topic, queue_id, right);
	return right;
}

static void take_from(struct pop_take *t, struct mq_slice topic, uint64_t hash, enum pop_mark mark, int32_t queue_id)
{
	const struct pop_ask *ask = t->ask;
	struct broker *b = ask->broker;
	struct store_queue *q = store_queue_find(b->store, topic, queue_id);
	unsigned slot = pop_locks_slot(hash, queue_id);
	int64_t offset = take_peek_offset(ask, topic, mark, queue_id, q), next;
	const struct pop_inflight_key inflight = { topic, ask->group, queue_id };

	if (ask->is_peek) {
		t->rest += take_max(q) - offset;
		if (q && (int64_t)t->n_messages < ask->max_messages)
			(void)take_scan(t, q, mark, slot, take_correct(t, topic, queue_id, q, offset), &next);
		return;
	}
	if (!pop_locks_try(b->pop_locks, slot)) {
		t->was_busy = true;
		t->busy_slot = slot;
		if (!ask->is_order)
			t->rest += take_max(q) - offset;
		return;
	}
	if (pop_inflight_is_full(b->pop_inflight, &inflight)) {
		t->rest += take_max(q) - offset;
		pop_locks_release(b->pop_locks, slot);
		return;
	}
	offset = take_begin(t, topic, mark, queue_id, q);
	/* What is blocked does not count as rest: nobody has to come for it before its time. */
	if (!take_is_blocked(ask, topic, queue_id, t->pop_at_ms, &t->free_at_ms)) {
		next = offset;
		if (ask->is_order)
			pop_inflight_clear(b->pop_inflight, &inflight);
		if (q && (int64_t)t->n_messages < ask->max_messages) {
			offset = take_correct(t, topic, queue_id, q, offset);
			if (take_scan(t, q, mark, slot, offset, &next)) {
				t->rest += take_max(q) - next;
				return; /* with the lock */
			}
			if (next > offset)
				take_commit(t, topic, queue_id, next);
		}
		t->rest += take_max(q) - next;
	}
	pop_locks_release(b->pop_locks, slot);
}

/* ---- All of them ---- */

static void take_from_topic(struct pop_take *t, struct mq_slice topic, enum pop_mark mark, int32_t n_queues, unsigned random)
{
	bool is_descending = !t->ask->is_peek && config_get(&t->ask->broker->config, priorityOrderAsc);
	uint64_t hash = pop_locks_hash(t->ask->group, topic);

	for (int32_t i = 0; i < n_queues; i++) {
		unsigned turn = (unsigned)(is_descending ? n_queues - 1 - i : i);

		take_from(t, topic, hash, mark, (int32_t)((random + turn) % (unsigned)n_queues));
	}
}

static void take_from_retry_topic(struct pop_take *t, enum pop_mark mark, unsigned random)
{
	const struct pop_ask *ask = t->ask;
	struct pop_name name;
	struct topic topic;

	pop_topic(&name, mark, ask->topic, ask->group);
	if (name.n > 0 && topics_get(ask->broker->topics, pop_name_slice(&name), &topic) == 0) {
		t->since = topic.since;
		take_from_topic(t, pop_name_slice(&name), mark, topic.read_queues, random);
		t->since = ask->since;
	}
}

/* An answer's texts have room for one retry topic only, as upstream's clients read them: the other one's turn is when this one has
 * nothing. (Upstream looks at one of them, whichever chance says, and a pop that waits may then not see what woke it.) */
static void take_from_retry(struct pop_take *t, unsigned random)
{
	const struct pop_ask *ask = t->ask;
	const struct broker_config *config = &ask->broker->config;
	bool is_v1_too = !ask->is_peek && config_get(config, retrieveMessageFromPopRetryTopicV1);
	enum pop_mark first = is_v1_too && random % 2 == 0 ? POP_RETRY_V1 : POP_RETRY_V2;
	unsigned n_messages = t->n_messages;

	if (!config_get(config, enableRetryTopicV2)) {
		take_from_retry_topic(t, POP_RETRY_V1, random);
		return;
	}
	take_from_retry_topic(t, first, random);
	if (is_v1_too && t->n_messages == n_messages)
		take_from_retry_topic(t, first == POP_RETRY_V1 ? POP_RETRY_V2 : POP_RETRY_V1, random);
}

void pop_take_run(struct pop_take *t, const struct pop_ask *ask, enum store_tier tier)
{
	static _Atomic uint32_t n_pops;
	const struct broker_config *config = &ask->broker->config;
	unsigned random = take_random(100);
	bool is_by_priority = random < (unsigned)ask->priority_factor;
	int64_t probability = ask->is_peek     ? PEEK_RETRY_PROBABILITY
			      : is_by_priority ? config_get(config, popFromRetryProbabilityForPriority)
					       : config_get(config, popFromRetryProbability);
	bool is_retry_first = random < probability;

	*t = (struct pop_take){ .ask = ask,
				.pop_at_ms = mq_wall_ms(ask->broker->clock),
				.free_at_ms = INT64_MAX,
				.tier = tier,
				.since = ask->since };
	t->revive_queue = ask->is_order ? POP_ORDER_REVIVE_QUEUE
					: (int32_t)(atomic_fetch_add_explicit(&n_pops, 1, memory_order_relaxed) % REVIVE_QUEUES);
	if (is_by_priority)
		random = 0;
	if (is_retry_first && !ask->is_order)
		take_from_retry(t, random);
	if (ask->queue_id < 0)
		take_from_topic(t, ask->topic, POP_NORMAL, ask->read_queues, random);
	else
		take_from(t, ask->topic, pop_locks_hash(ask->group, ask->topic), POP_NORMAL, ask->queue_id);
	if (!is_retry_first && !ask->is_order && (int64_t)t->n_messages < ask->max_messages)
		take_from_retry(t, random);
}

void pop_take_done(struct pop_take *t)
{
	for (unsigned i = 0; !t->ask->is_peek && i < t->n_targets; i++)
		pop_locks_release(t->ask->broker->pop_locks, t->targets[i].slot);
	t->n_targets = 0;
	if (t->body)
		evbuffer_free(t->body);
	t->body = NULL;
}

void pop_take_write(const struct pop_take *t, struct evbuffer *start_offsets, struct evbuffer *offsets)
{
	for (unsigned i = 0; i < t->n_targets; i++) {
		const struct pop_target *target = &t->targets[i];
		const char *separator = i > 0 ? ";" : "";
		int32_t queue_id = store_queue_id(target->queue);

		evbuffer_add_printf(start_offsets, "%s%d %" PRIi32 " %" PRIi64, separator, (int)target->mark, queue_id, target->from);
		evbuffer_add_printf(offsets, "%s%d %" PRIi32 " ", separator, (int)target->mark, queue_id);
		for (unsigned j = 0; j < target->n; j++)
			evbuffer_add_printf(offsets, "%s%" PRIi64, j > 0 ? "," : "", t->offsets[target->first + j]);
	}
}

/* ---- Only whether ---- */

struct any_look {
	const struct subscription *sub;
	unsigned n, n_steps;
	bool has_found;
};

static enum store_verdict any_on_record(void *user, int64_t offset, int64_t tag_hash, struct mq_slice record)
{
	struct any_look *look = user;

	/* What would take long is for a pop to find out. */
	look->has_found = look->n_steps > FILTER_SQL_SCAN_STEPS ||
			  (look->sub->sql ? filter_sql_matches(look->sub->sql, record, &look->n_steps) : filter_tag_matches(look->sub, tag_hash));
	return look->has_found || (!look->sub->sql && ++look->n == ANY_LOOKS) ? STORE_STOP : STORE_GO_ON;
}

/* Of a few messages, whether one is wanted. More than that, and what is not in memory, are worth a pop. */
static bool any_wanted(const struct pop_ask *ask, struct store_queue *q, enum pop_mark mark, int64_t offset)
{
	struct any_look look = { .sub = ask->sub };
	int64_t min = store_queue_min(q), next;

	if (offset < min)
		offset = min;
	if (mark != POP_NORMAL || !ask->sub || ask->sub->matches_all ||
	    take_max(q) - offset >= config_get(&ask->broker->config, maxMessageFilterNumForNotification))
		return true;
	return store_scan(ask->broker->store, q, offset, STORE_MEMORY, any_on_record, &look, &next) != 0 || look.has_found;
}

static bool any_in(const struct pop_ask *ask, struct mq_slice topic, enum pop_mark mark, int32_t queue_id, int64_t *free_at_ms)
{
	struct store_queue *q = store_queue_find(ask->broker->store, topic, queue_id);
	int64_t offset;

	if (!q || take_is_blocked(ask, topic, queue_id, mq_wall_ms(ask->broker->clock), free_at_ms))
		return false;
	offset = take_peek_offset(ask, topic, mark, queue_id, q);
	return take_max(q) > offset && any_wanted(ask, q, mark, offset);
}

static bool any_in_topic(const struct pop_ask *ask, struct mq_slice topic, enum pop_mark mark, int32_t n_queues, int64_t *free_at_ms)
{
	for (int32_t i = 0; i < n_queues; i++)
		if (any_in(ask, topic, mark, i, free_at_ms))
			return true;
	return false;
}

static bool any_in_retry(const struct pop_ask *ask, enum pop_mark mark, int64_t *free_at_ms)
{
	struct pop_name name;
	struct topic topic;

	pop_topic(&name, mark, ask->topic, ask->group);
	return name.n > 0 && topics_get(ask->broker->topics, pop_name_slice(&name), &topic) == 0 &&
	       any_in_topic(ask, pop_name_slice(&name), mark, topic.read_queues, free_at_ms);
}

bool pop_take_any(const struct pop_ask *ask, int64_t *ret_free_at_ms)
{
	const struct broker_config *config = &ask->broker->config;
	bool is_v2 = config_get(config, enableRetryTopicV2);

	*ret_free_at_ms = INT64_MAX;
	if (ask->queue_id < 0 ? any_in_topic(ask, ask->topic, POP_NORMAL, ask->read_queues, ret_free_at_ms)
			      : any_in(ask, ask->topic, POP_NORMAL, ask->queue_id, ret_free_at_ms))
		return true;
	if (any_in_retry(ask, is_v2 ? POP_RETRY_V2 : POP_RETRY_V1, ret_free_at_ms))
		return true;
	return is_v2 && config_get(config, retrieveMessageFromPopRetryTopicV1) && any_in_retry(ask, POP_RETRY_V1, ret_free_at_ms);
}
