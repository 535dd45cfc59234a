/* Popping in order: what of a queue is with a group, so that nothing behind it is given out before it is acknowledged or its time is
 * over (ConsumerOrderInfoManager, in 5.5 QueueLevelConsumerManager). One state for each group and queue, in memory and as a row that
 * is written in the batch of what changed it. Who changes a state holds the queue's lock (pop_locks.h). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

struct evbuffer;
struct store;
struct pop_orders;

#define POP_ORDER_KIND "poporder" /* of metadata rows, keys.h */

enum {
	POP_ORDER_MESSAGES = 32,   /* of one pop */
	POP_ORDER_ATTEMPT = 128,   /* bytes of an attempt id; a longer one counts as none */
	POP_ORDER_ROW_MAX = 25 + POP_ORDER_MESSAGES * 21 + POP_ORDER_ATTEMPT,
	POP_ORDER_NAME_MAX = 2 * 256 + 4, /* bytes of a row's name */
};

struct pop_order_message {
	int64_t offset;
	int64_t visible_at_ms; /* its own, -1: when the pop's time is over */
	int32_t n_consumed;    /* before */
	bool is_acked;
};

struct pop_order {
	int64_t pop_at_ms, invisible_ms, written_at_ms;
	unsigned n;
	struct pop_order_message messages[POP_ORDER_MESSAGES];
	size_t n_attempt; /* 0: no attempt id */
	char attempt[POP_ORDER_ATTEMPT];
};

/* ---- One state, no lock ---- */

/* Whether something of it is still with the group, and until when at most. Not for who repeats its attempt. `invisible_ms` of
 * the one who asks counts when the state has none. */
bool pop_order_blocks(const struct pop_order *o, struct mq_slice attempt, int64_t invisible_ms, int64_t now_ms, int64_t *ret_free_ms);
/* The state after a pop, `old` the one before or NULL. At most POP_ORDER_MESSAGES offsets, ascending. */
void pop_order_popped(struct pop_order *ret, const struct pop_order *old, struct mq_slice attempt, int64_t pop_at_ms,
		      int64_t invisible_ms, const int64_t *offsets, unsigned n);
/* orderCountInfo: who was consumed before, and of the whole queue the least, for older clients. Appends to `out`. */
void pop_order_write_counts(const struct pop_order *o, int mark, int32_t queue_id, struct evbuffer *out);

enum { POP_ORDER_UNKNOWN = -1, POP_ORDER_LATE = -2 };
/* Acknowledges a message. Returns the offset that the group commits; POP_ORDER_UNKNOWN: it is not with the group; POP_ORDER_LATE:
 * it was popped again since. */
int64_t pop_order_ack(struct pop_order *o, int64_t offset, int64_t pop_at_ms);
/* Sets when it is visible again. False: popped again since. */
bool pop_order_put_off(struct pop_order *o, int64_t offset, int64_t pop_at_ms, int64_t visible_at_ms);

size_t pop_order_encode(const struct pop_order *o, char ret[POP_ORDER_ROW_MAX]);
int pop_order_decode(struct mq_slice row, struct pop_order *ret) _must_check_; /* -EBADMSG */
/* Name of the row. 0: a name is too long. */
size_t pop_order_name(struct mq_slice topic, struct mq_slice group, int32_t queue_id, char ret[POP_ORDER_NAME_MAX]);
int pop_order_name_parse(struct mq_slice name, struct mq_slice *ret_topic, struct mq_slice *ret_group, int32_t *ret_queue_id) _must_check_;

/* ---- All of them, any thread ---- */

/* Loads the rows. -ENOMEM, errors of the store. */
int pop_orders_new(struct pop_orders **ret, struct store *store, int64_t now_ms, struct mq_error *err) _must_check_;
struct pop_orders *pop_orders_free(struct pop_orders *p);
/* False: there is none. */
bool pop_orders_get(struct pop_orders *p, struct mq_slice topic, struct mq_slice group, int32_t queue_id, struct pop_order *ret);
/* In memory; NULL forgets it. -ENOMEM. */
int pop_orders_set(struct pop_orders *p, struct mq_slice topic, struct mq_slice group, int32_t queue_id, const struct pop_order *o);
/* The topic or the group is gone: its states, and their rows. Empty: any. */
void pop_orders_forget(struct pop_orders *p, struct mq_slice topic, struct mq_slice group);
