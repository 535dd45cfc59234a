/* ACK_MESSAGE (200051), CHANGE_MESSAGE_INVISIBLETIME (200053), BATCH_ACK_MESSAGE (200151); reference: protocol/requests-broker.md
 * section 7.
 *
 * A receipt says where a message is and when its time is over, and that is what names its row of `due`. To acknowledge is to delete
 * the row, whether or not it is there still: who is too late gets the same answer, and the message again. To change the time is to
 * move the row; one that is gone stays gone, since its message was acknowledged or is in the retry topic already.
 *
 * What was popped in order has no rows but a state for its queue (pop_order.h), which changes under the queue's lock. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/pop_await.h"
#include "daemons/broker/pop_batch.h"
#include "daemons/broker/pop_check.h"
#include "daemons/broker/pop_inflight.h"
#include "daemons/broker/pop_order.h"
#include "daemons/broker/pop_take.h"
#include "daemons/broker/pulled.h"
#include "daemons/broker/reply.h"
#include "daemons/broker/topics.h"

/* ---- One queue's order ---- */

/* What is to change. */
struct order_change {
	struct broker *broker;
	struct mq_conn *conn;
	struct mq_slice group, topic;
	int32_t queue_id;
	unsigned slot;
	uint64_t since; /* of the topic; for its offsets */
	/* With the lock held: changes *o (NULL: there is none) and *offset, which is the committed one, or -1. True: o or offset are to
	 * be stored. */
	bool (*apply)(struct order_change *c, struct pop_order *o, int64_t *offset);
	/* Exactly once, without the lock, possibly within order_change_run(). r < 0: the store failed. */
	void (*done)(struct order_change *c, int r);
	void *user;

	struct broker_op op;
	struct pop_await await;
	bool had_before;
	struct pop_order before, next;
	struct store_offset_put put;
	struct store_meta_put row;
	char name_text[POP_ORDER_NAME_MAX], row_text[POP_ORDER_ROW_MAX];
};

static void order_change_end(struct order_change *c, int r)
{
	pop_locks_release(c->broker->pop_locks, c->slot);
	/* Who waits may find something, or a new time to wait for. */
	pop_polls_wake(c->broker->pop_polls, c->group, c->topic, c->queue_id);
	c->done(c, r);
}

static void order_change_stored(struct broker_op *op)
{
	struct order_change *c = (struct order_change *)((char *)op - offsetof(struct order_change, op));

	bool is_gone = op->op.result == -ENOENT; /* the topic, and with it what could be changed */

	if (op->op.result < 0 && c->had_before)
		(void)pop_orders_set(c->broker->pop_orders, c->topic, c->group, c->queue_id, is_gone ? NULL : &c->before);
	order_change_end(c, is_gone ? 0 : op->op.result);
}

static void order_change_store(struct order_change *c, int64_t offset)
{
	struct store_op *op = &c->op.op;

	store_op_init(op);
	op->no_wait = true;
	c->op.done = order_change_stored;
	/* A reset goes before what is acknowledged. */
	if (offset >= 0 && pulled_get(c->broker->resets, c->group, c->topic, c->queue_id) < 0) {
		c->put = (struct store_offset_put){ .group = c->group, .topic = c->topic, .queue_id = c->queue_id, .offset = offset, .since = c->since };
		op->offset_puts = &c->put;
		op->n_offset_puts = 1;
	}
	if (c->had_before) {
		c->row = (struct store_meta_put){
			.kind = POP_ORDER_KIND,
			.name = { c->name_text, pop_order_name(c->topic, c->group, c->queue_id, c->name_text) },
			.value = { c->row_text, pop_order_encode(&c->next, c->row_text) },
		};
		(void)pop_orders_set(c->broker->pop_orders, c->topic, c->group, c->queue_id, &c->next); /* is there: no memory */
		op->meta_puts = &c->row;
		op->n_meta_puts = 1;
	}
	broker_append(broker_loop_of(c->broker, c->conn), &c->op);
}

static void order_change_locked(struct order_change *c)
{
	struct topic topic;
	int64_t offset = -1;

	if (topics_get(c->broker->topics, c->topic, &topic) < 0) {
		order_change_end(c, 0);
		return;
	}
	c->since = topic.since;
	(void)store_offset_get(c->broker->store, c->group, c->topic, c->queue_id, &offset); /* none: -1 */
	c->had_before = pop_orders_get(c->broker->pop_orders, c->topic, c->group, c->queue_id, &c->before);
	c->next = c->before;
	if (c->apply(c, c->had_before ? &c->next : NULL, &offset))
		order_change_store(c, offset);
	else
		order_change_end(c, 0);
}

static void order_change_run(struct order_change *c);

static void order_change_resumed(struct pop_await *w, enum hold_reason reason)
{
	struct order_change *c = (struct order_change *)((char *)w - offsetof(struct order_change, await));

	if (reason == HOLD_GREW)
		order_change_run(c);
	else
		c->done(c, -ECANCELED);
}

static void order_change_run(struct order_change *c)
{
	c->await.resume = order_change_resumed;
	c->slot = pop_locks_slot(pop_locks_hash(c->group, c->topic), c->queue_id);
	while (!pop_locks_try(c->broker->pop_locks, c->slot))
		if (pop_await_lock(&c->await, c->broker, c->conn, c->slot))
			return;
	order_change_locked(c);
}

/* ---- Acknowledging ---- */

struct ack {
	struct broker_op op;
	struct mq_request *req;
	struct broker *broker;
	struct pop_batch batch;         /* of a batch */
	struct pop_batch_entry one;     /* of one message */
	struct store_due *rows;         /* to delete; owned unless it is one_row */
	struct store_due one_row;
	const struct pop_batch_entry *entries, *ordered; /* ordered: the next to look at for order */
	unsigned n_entries, n_rows;
	struct order_change *change;    /* owned; of the entry that is being looked at */
	bool is_applying, is_applied;   /* it is within order_change_run(); it is done */
	int applied;                    /* 0, or why the store refused */
	int code;
	char remark[512]; /* "": none */
};

static void ack_end(struct ack *a, int r)
{
	struct mq_request *req = a->req;

	if (r < 0)
		broker_reply_store(req, r);
	else
		mq_reply_code(req, a->code, a->remark[0] ? "%s" : NULL, a->remark);
	pop_batch_done(&a->batch);
	if (a->rows != &a->one_row)
		free(a->rows);
	free(a->change);
	free(a);
}

static bool ack_is_ordered(const struct pop_batch_entry *e)
{
	return e->revive_queue == POP_ORDER_REVIVE_QUEUE;
}

/* Of the queue's records, those that can be acknowledged. */
static struct store_queue *ack_queue(const struct ack *a, const struct pop_batch_entry *e)
{
	return store_queue_find(a->broker->store, pop_name_slice(&e->topic), e->queue_id);
}

static void ack_uncount(const struct ack *a, const struct pop_batch_entry *e, unsigned n)
{
	pop_inflight_take(a->broker->pop_inflight, &(struct pop_inflight_key){ pop_name_slice(&e->topic), e->group, e->queue_id }, n,
			  e->pop_at_ms);
}

static bool ack_apply(struct order_change *c, struct pop_order *o, int64_t *offset)
{
	struct ack *a = c->user;
	const struct pop_batch_entry *e = a->ordered;
	struct store_queue *q = ack_queue(a, e);
	int64_t committed = *offset, next;
	bool has_changed = false;

	for (int64_t at = pop_batch_next(e, 0); at >= 0; at = pop_batch_next(e, at + 1)) {
		if (at < committed || (q && (at < store_queue_min(q) || at > store_queue_max(q))))
			continue;
		next = o ? pop_order_ack(o, at, e->pop_at_ms) : at + 1;
		if (next == POP_ORDER_UNKNOWN) {
			a->code = MQ_MESSAGE_ILLEGAL;
			snprintf(a->remark, sizeof a->remark,
				 "offset is illegal, key:%.*s@%.*s@%" PRIi32 ", old:%" PRIi64 ", commit:%" PRIi64 ", next:%d, /%s",
				 MQ_FMT(c->topic), MQ_FMT(c->group), c->queue_id, committed, at, POP_ORDER_UNKNOWN,
				 mq_conn_peer(a->req->conn)->text);
		} else if (next >= 0) {
			*offset = next;
			has_changed = true;
			ack_uncount(a, e, 1);
		}
	}
	return has_changed;
}

static void ack_next_ordered(struct ack *a);

static void ack_applied(struct order_change *c, int r)
{
	struct ack *a = c->user;

	a->applied = r;
	a->is_applied = true;
	if (!a->is_applying)
		ack_next_ordered(a);
}

static void ack_apply_one(struct ack *a)
{
	*a->change = (struct order_change){
		.broker = a->broker,
		.conn = a->req->conn,
		.group = a->ordered->group,
		.topic = pop_name_slice(&a->ordered->topic),
		.queue_id = a->ordered->queue_id,
		.apply = ack_apply,
		.done = ack_applied,
		.user = a,
	};
	a->is_applied = false;
	a->is_applying = true;
	order_change_run(a->change);
	a->is_applying = false;
}

/* One after the other; goes on here when the one before was not done at once. */
static void ack_next_ordered(struct ack *a)
{
	const struct pop_batch_entry *end = a->entries + a->n_entries;

	while (a->applied == 0 && a->ordered < end) {
		if (ack_is_ordered(a->ordered) && !a->is_applied) {
			if (!a->change && !(a->change = calloc(1, sizeof *a->change))) {
				a->applied = -ENOMEM;
				break;
			}
			ack_apply_one(a);
			if (!a->is_applied)
				return;
		}
		a->is_applied = false;
		a->ordered++;
	}
	ack_end(a, a->applied);
}

static void ack_deleted(struct broker_op *op)
{
	struct ack *a = (struct ack *)((char *)op - offsetof(struct ack, op));

	if (op->op.result < 0)
		ack_end(a, op->op.result);
	else
		ack_next_ordered(a);
}

/* The rows of what was not popped in order. */
static void ack_collect(struct ack *a)
{
	for (unsigned i = 0; i < a->n_entries; i++) {
		const struct pop_batch_entry *e = &a->entries[i];
		struct store_queue *q = ack_is_ordered(e) ? NULL : ack_queue(a, e);
		unsigned n_before = a->n_rows;

		for (int64_t at = q ? pop_batch_next(e, store_queue_min(q)) : -1; at >= 0; at = pop_batch_next(e, at + 1)) {
			if (at >= store_queue_max(q))
				break;
			a->rows[a->n_rows++] = (struct store_due){
				.at_ms = pop_due_ms(e->pop_at_ms, e->invisible_ms),
				.kind = STORE_DUE_POP,
				.locator = store_queue_locator(q, at),
				.group = e->group,
			};
		}
		if (a->n_rows > n_before)
			ack_uncount(a, e, a->n_rows - n_before);
	}
}

static void ack_run(struct ack *a)
{
	ack_collect(a);
	a->ordered = a->entries;
	if (a->n_rows == 0) {
		ack_next_ordered(a);
		return;
	}
	store_op_init(&a->op.op);
	a->op.op.due_deletes = a->rows;
	a->op.op.n_due_deletes = a->n_rows;
	a->op.op.no_wait = true; /* if power fails before, the message comes again */
	a->op.done = ack_deleted;
	broker_append(broker_loop_of(a->broker, a->req->conn), &a->op);
}

/* ---- The queue that a receipt is about ---- */

struct receipt_asked {
	struct mq_slice group, topic, receipt;
	int32_t queue_id;
	int64_t offset;
	bool is_end_allowed; /* the offset behind the last message, too */
	struct store_queue *queue; /* where it is: set when it is there */
};

/* 0, or the code of a refusal; remark "" for none. */
static int receipt_check(struct mq_request *req, struct receipt_asked *asked, struct pop_handle *ret, char *remark, size_t size)
{
	struct broker *b = req->server;
	struct store_queue *q;
	struct topic topic;
	int64_t min, max;

	remark[0] = '\0';
	if (topics_get(b->topics, asked->topic, &topic) < 0) {
		snprintf(remark, size, "topic[%.*s] not exist, apply first please! " BROKER_FAQ, MQ_FMT(asked->topic));
		return MQ_TOPIC_NOT_EXIST;
	}
	if (asked->queue_id >= topic.read_queues || asked->queue_id < 0) {
		snprintf(remark, size, "queueId[%d] is illegal, topic:[%.*s] topicConfig.readQueueNums:[%d] consumer:[/%s]",
			 asked->queue_id, MQ_FMT(asked->topic), topic.read_queues, mq_conn_peer(req->conn)->text);
		return MQ_MESSAGE_ILLEGAL;
	}
	q = asked->queue = store_queue_find(b->store, asked->topic, asked->queue_id);
	min = q ? store_queue_min(q) : 0;
	max = q ? store_queue_max(q) : 0;
	if (asked->offset < min || asked->offset > max || (asked->offset == max && !asked->is_end_allowed)) {
		if (asked->is_end_allowed)
			snprintf(remark, size, "offset is illegal, key:%.*s@%d, commit:%" PRIi64 ", store:%" PRIi64 "~%" PRIi64,
				 MQ_FMT(asked->topic), asked->queue_id, asked->offset, min, max);
		return MQ_NO_MESSAGE;
	}
	if (pop_handle_decode(asked->receipt, ret) < 0) {
		snprintf(remark, size, "extraInfo is not a receipt of a message: %.*s", (int)(asked->receipt.n > 64 ? 64 : asked->receipt.n),
			 asked->receipt.p ? asked->receipt.p : "");
		return MQ_SYSTEM_ERROR;
	}
	return MQ_SUCCESS;
}

#define ACK_FIELDS(X)                              \
	X(slice, group, "consumerGroup", REQUIRED) \
	X(slice, topic, "topic", REQUIRED)         \
	X(i32, queue_id, "queueId", REQUIRED)      \
	X(slice, receipt, "extraInfo", REQUIRED)   \
	X(i64, offset, "offset", REQUIRED)
MQ_HEADER(ack, ACK_FIELDS)

int handle_ack_message(struct mq_request *req)
{
	static const char one_bit[] = { 1 };
	struct ack_header h = {};
	struct pop_handle handle;
	struct receipt_asked asked;
	struct mq_error err;
	char remark[512];
	struct ack *a;
	int code;

	if (ack_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	asked = (struct receipt_asked){ h.group, h.topic, h.receipt, h.queue_id, h.offset, true };
	code = receipt_check(req, &asked, &handle, remark, sizeof remark);
	if (code != MQ_SUCCESS)
		return mq_reply_code(req, code, remark[0] ? "%s" : NULL, remark);
	if (h.group.n == 0 || h.group.n > POP_NAME_MAX)
		return mq_reply_ok(req); /* nobody's: nothing was ever popped */
	a = calloc(1, sizeof *a);
	if (!a)
		return -ENOMEM;
	a->req = req;
	a->broker = req->server;
	a->one = (struct pop_batch_entry){
		.group = h.group,
		.queue_id = h.queue_id,
		.revive_queue = handle.revive_queue,
		.start_offset = h.offset,
		.pop_at_ms = handle.pop_at_ms,
		.invisible_ms = handle.invisible_ms,
		.bits = { one_bit, sizeof one_bit },
	};
	pop_topic(&a->one.topic, POP_NORMAL, h.topic, h.group);
	a->entries = &a->one;
	a->n_entries = 1;
	a->rows = &a->one_row;
	ack_run(a);
	return MQ_REQUEST_PENDING;
}

int handle_batch_ack_message(struct mq_request *req)
{
	struct mq_error err = {};
	struct ack *a;
	unsigned n = 0;
	int r;

	if (req->cmd.body.n == 0)
		return mq_reply_code(req, MQ_NO_MESSAGE, NULL);
	a = calloc(1, sizeof *a);
	if (!a)
		return -ENOMEM;
	a->req = req;
	a->broker = req->server;
	r = pop_batch_parse(&a->batch, req->cmd.body, &err);
	if (r == 0 && a->batch.n > 0) {
		for (unsigned i = 0; i < a->batch.n; i++)
			n += pop_batch_count(&a->batch.entries[i]);
		a->rows = calloc(n > 0 ? n : 1, sizeof *a->rows);
		r = a->rows ? 0 : mq_error_set(&err, -ENOMEM, "out of memory");
	}
	if (r < 0 || a->batch.n == 0) {
		pop_batch_done(&a->batch);
		free(a);
		return r < 0 ? mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text) : mq_reply_code(req, MQ_NO_MESSAGE, NULL);
	}
	a->entries = a->batch.entries;
	a->n_entries = a->batch.n;
	ack_run(a);
	return MQ_REQUEST_PENDING;
}

/* ---- Changing the time ---- */

#define CHANGE_FIELDS(X)                                \
	X(slice, group, "consumerGroup", REQUIRED)      \
	X(slice, topic, "topic", REQUIRED)              \
	X(i32, queue_id, "queueId", REQUIRED)           \
	X(slice, receipt, "extraInfo", REQUIRED)        \
	X(i64, offset, "offset", REQUIRED)              \
	X(i64, invisible_ms, "invisibleTime", REQUIRED) \
	X(bool, is_suspended, "suspend", OPTIONAL)
MQ_HEADER(change, CHANGE_FIELDS)

struct change {
	struct broker_op op;
	struct mq_request *req;
	struct broker *broker;
	struct change_header h;
	struct pop_handle handle;
	int64_t now_ms;
	struct store_queue *queue;
	struct store_due row;
	struct order_change order; /* of what was popped in order */
	bool is_past;              /* the group is beyond it */
};

static int change_reply(struct mq_request *req, int code, const char *remark, int64_t pop_at_ms, int64_t invisible_ms, int32_t revive_queue)
{
	struct mq_command answer;

	mq_request_answer(req, &answer, code);
	answer.remark = mq_slice_of(remark[0] ? remark : POP_NO_REMARK);
	mq_command_add_i64(&answer, "popTime", pop_at_ms);
	mq_command_add_i64(&answer, "invisibleTime", invisible_ms);
	mq_command_add_i64(&answer, "reviveQid", revive_queue);
	return mq_reply(req, &answer, NULL);
}

static void change_stored(struct broker_op *op)
{
	struct change *c = (struct change *)((char *)op - offsetof(struct change, op));
	int r = op->op.result;

	if (r < 0 && r != -ENOENT)
		broker_reply_store(c->req, r);
	else
		change_reply(c->req, MQ_SUCCESS, "", c->now_ms, c->h.invisible_ms, c->handle.revive_queue);
	free(c);
}

static void change_move_row(struct change *c)
{
	struct store_queue *q = c->queue;
	struct store_op *op = &c->op.op;

	store_op_init(op);
	c->row = (struct store_due){
		.at_ms = pop_due_ms(c->now_ms, c->h.invisible_ms),
		.kind = STORE_DUE_POP,
		.locator = store_queue_locator(q, c->h.offset),
		.group = c->h.group,
		.pop_at_ms = c->now_ms,
		.is_suspended = c->h.is_suspended,
	};
	op->take_due = c->row;
	op->take_due.at_ms = pop_due_ms(c->handle.pop_at_ms, c->handle.invisible_ms);
	op->due_puts = &c->row;
	op->n_due_puts = 1;
	op->no_wait = true;
	c->op.done = change_stored;
	broker_append(broker_loop_of(c->broker, c->req->conn), &c->op);
}

static bool change_apply(struct order_change *oc, struct pop_order *o, int64_t *offset)
{
	struct change *c = oc->user;

	c->is_past = c->h.offset < *offset;
	*offset = -1; /* stays as it is */
	return !c->is_past && o &&
	       pop_order_put_off(o, c->h.offset, c->handle.pop_at_ms, pop_due_ms(c->now_ms, c->h.invisible_ms));
}

static void change_applied(struct order_change *oc, int r)
{
	struct change *c = oc->user;

	if (r < 0)
		broker_reply_store(c->req, r);
	else if (c->is_past)
		change_reply(c->req, MQ_SUCCESS, "", 0, 0, 0);
	else
		change_reply(c->req, MQ_SUCCESS, "", c->handle.pop_at_ms,
			     pop_due_ms(c->now_ms, c->h.invisible_ms) - c->handle.pop_at_ms, c->handle.revive_queue);
	free(c);
}

int handle_change_message_invisibletime(struct mq_request *req)
{
	struct change_header h = {};
	struct pop_handle handle;
	struct receipt_asked asked;
	struct mq_error err;
	char remark[512];
	struct change *c;
	int code;

	if (change_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	asked = (struct receipt_asked){ h.group, h.topic, h.receipt, h.queue_id, h.offset, false };
	code = receipt_check(req, &asked, &handle, remark, sizeof remark);
	if (code == MQ_SUCCESS && (h.group.n == 0 || h.group.n > POP_NAME_MAX))
		code = MQ_NO_MESSAGE; /* nobody's */
	if (code != MQ_SUCCESS)
		return change_reply(req, code, remark, 0, 0, 0);
	c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	c->req = req;
	c->broker = req->server;
	c->h = h;
	c->handle = handle;
	c->queue = asked.queue;
	c->now_ms = mq_wall_ms(c->broker->clock);
	if (handle.revive_queue != POP_ORDER_REVIVE_QUEUE) {
		change_move_row(c);
		return MQ_REQUEST_PENDING;
	}
	c->order = (struct order_change){
		.broker = c->broker,
		.conn = req->conn,
		.group = h.group,
		.topic = h.topic,
		.queue_id = h.queue_id,
		.apply = change_apply,
		.done = change_applied,
		.user = c,
	};
	order_change_run(&c->order);
	return MQ_REQUEST_PENDING;
}
