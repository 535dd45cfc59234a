/* One pop (POP_MESSAGE): what the files it passes through know of each other.
 *
 *   handle_pop_message ─> checks ─> pop_run ─> pop_take from memory ─> pop_store ─> pop_stored ─> pop_answer
 *                                    ^  ^          ├─> on a reader ─────^
 *                                    │  └──────────┼─> a queue's lock
 *                                    └─ a message <┴─> pop_polls, hold
 *
 * What is given out is with the group until it is acknowledged or its time is over: a row of `due` for each message (schedule.c,
 * pop_revive.c), in the batch of the offset that the group commits with it. So a crash neither loses a message nor, as long as its
 * time lasts, gives it out twice. The answer follows the batch. It does not wait for the disk: if power fails before, row and offset
 * are undone together.
 *
 * A pop belongs to the loop of its connection, and to a reader thread while that looks at the disk for it. */
#pragma once

#include "daemons/broker/ahead.h"
#include "daemons/broker/broker.h"
#include "daemons/broker/pop_await.h"
#include "daemons/broker/pop_check.h"
#include "daemons/broker/pop_order.h"
#include "daemons/broker/pop_take.h"
#include "libmq/wire/fields.h"

#define POP_FIELDS(X)                                         \
	X(slice, group, "consumerGroup", REQUIRED)            \
	X(slice, topic, "topic", REQUIRED)                    \
	X(i32, queue_id, "queueId", OPTIONAL)                 \
	X(i32, max_messages, "maxMsgNums", OPTIONAL)          \
	X(i64, invisible_ms, "invisibleTime", OPTIONAL)       \
	X(i64, poll_ms, "pollTime", OPTIONAL)                 \
	X(i64, born_at_ms, "bornTime", OPTIONAL)              \
	X(i32, init_mode, "initMode", OPTIONAL)               \
	X(slice, expression_type, "expType", OPTIONAL)        \
	X(slice, expression, "exp", OPTIONAL)                 \
	X(bool, is_order, "order", OPTIONAL)                  \
	X(slice, attempt, "attemptId", OPTIONAL)
MQ_HEADER(pop, POP_FIELDS)

/* One look, and what comes of it. */
struct pop_run {
	struct broker_op op;
	struct pop_take take;
	struct store_offset_put puts[POP_MESSAGES_MAX];
	struct store_due dues[POP_MESSAGES_MAX];
	struct pop_order_change *changes; /* owned; one per target, when order is asked for */
	struct store_meta_put rows[POP_MESSAGES_MAX];
};

/* The state of a queue's order, as it becomes and as it was. */
struct pop_order_change {
	struct pop_order next, before;
	bool had_before;
	char name[POP_ORDER_NAME_MAX], row[POP_ORDER_ROW_MAX];
};

struct pop {
	struct pop_check check;
	struct mq_request *req;
	struct broker *broker;
	struct pop_header h;
	struct subscription sub;
	struct pop_ask ask;
	struct pop_run *run;     /* owned; between two waits */
	uint64_t seen;           /* of pop_polls, before the look */
	int64_t deadline_ms;     /* monotonic */
	bool may_wait;
	struct pop_await await;
	struct ahead_wait ahead; /* its post also to go on later */
	bool has_fetched; /* waited for what is read ahead; a second time it reads by itself */
};

/* ---- handle_pop.c ---- */

void pop_free(struct pop *p);

/* ---- pop_run.c ---- */

/* Looks, and stores, waits, or sends a reader to the disk. */
void pop_run(struct pop *p);
/* pop_await.resume of a pop */
void pop_resumed(struct pop_await *w, enum hold_reason reason);

/* ---- pop_store.c ---- */

/* What was found is with the group from now on; then answers. */
void pop_store(struct pop *p);

/* ---- pop_answer.c; all of them free the pop ---- */

/* What was found, or MQ_POLLING_TIMEOUT or MQ_POLLING_FULL: nothing. */
void pop_answer(struct pop *p, int code);
/* pop_check.refused */
void pop_refused(struct pop_check *c, int code, const char *remark);
/* The store failed, 0 > r. */
void pop_fail(struct pop *p, int r);
