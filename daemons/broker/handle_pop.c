/* POP_MESSAGE (200050); reference: protocol/requests-broker.md section 7.
 *
 *   handle_pop_message ─> pop_check ─> pop_run ─> pop_take from memory ─> pop_store ─> pop_stored: the answer
 *                                       ^  ^          ├─> on a reader ─────^
 *                                       │  └──────────┼─> a queue's lock
 *                                       └─ a message <┴─> pop_polls, hold
 *
 * What is given out is with the group until it is acknowledged or its time is over: a row of `due` for each message (schedule.c,
 * pop_revive.c), in the batch of the offset that the group commits with it. So a crash neither loses a message nor, as long as its
 * time lasts, gives it out twice. The answer follows the batch. It does not wait for the disk: if power fails before, row and offset
 * are undone together. */
#include <errno.h>
#include <event2/buffer.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemons/broker/ahead.h"
#include "daemons/broker/broker.h"
#include "daemons/broker/filter_sql.h"
#include "daemons/broker/filter_tag.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/pop_await.h"
#include "daemons/broker/pop_check.h"
#include "daemons/broker/pop_inflight.h"
#include "daemons/broker/pop_order.h"
#include "daemons/broker/pop_take.h"
#include "daemons/broker/reply.h"
#include "daemons/broker/stats.h"

enum {
	LATE_MS = 500, /* so much after its time a pop is refused */
	EARLY_MS = 50, /* so much before its time it is answered (PopRequest.isTimeout) */
};

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

static void pop_free(struct pop *p)
{
	if (p->run) {
		pop_take_done(&p->run->take);
		free(p->run->changes);
		free(p->run);
	}
	filter_sql_unref(p->sub.sql);
	free(p);
}

/* ---- Answers ---- */

static void pop_begin_answer(struct pop *p, struct mq_command *answer, int code, const char *remark, const struct pop_take *t)
{
	mq_request_answer(p->req, answer, code);
	answer->remark = mq_slice_of(remark);
	/* Java's header has plain numbers: they are in every answer. */
	mq_command_add_i64(answer, "popTime", t ? t->pop_at_ms : 0);
	mq_command_add_i64(answer, "invisibleTime", t ? p->h.invisible_ms : 0);
	mq_command_add_i64(answer, "reviveQid", t ? t->revive_queue : 0);
	mq_command_add_i64(answer, "restNum", t ? t->rest : 0);
}

static void pop_refused(struct pop_check *c, int code, const char *remark)
{
	struct pop *p = (struct pop *)((char *)c - offsetof(struct pop, check));
	struct mq_request *req = p->req;
	struct mq_command answer;

	pop_begin_answer(p, &answer, code, remark, NULL);
	mq_reply(req, &answer, NULL);
	pop_free(p);
}

static void pop_fail(struct pop *p, int r)
{
	struct mq_request *req = p->req;

	pop_free(p);
	broker_reply_store(req, r);
}

static void pop_failed(struct pop_check *c, int r)
{
	pop_fail((struct pop *)((char *)c - offsetof(struct pop, check)), r);
}

/* Also an empty one is there. */
static struct mq_slice pop_text(struct evbuffer *b)
{
	size_t n = evbuffer_get_length(b);

	return n > 0 ? (struct mq_slice){ (const char *)evbuffer_pullup(b, -1), n } : MQ_SLICE("");
}

static void pop_write_counts(const struct pop_run *run, struct evbuffer *out)
{
	for (unsigned i = 0; run->changes && i < run->take.n_targets; i++)
		pop_order_write_counts(&run->changes[i].next, (int)run->take.targets[i].mark, store_queue_id(run->take.targets[i].queue),
				       out);
}

/* The texts must live until the answer was encoded. */
struct pop_texts {
	struct evbuffer *start_offsets, *offsets, *counts; /* owned */
};

static bool pop_texts_make(struct pop_texts *texts, const struct pop_run *run)
{
	*texts = (struct pop_texts){ evbuffer_new(), evbuffer_new(), evbuffer_new() };
	if (!texts->start_offsets || !texts->offsets || !texts->counts)
		return false;
	pop_take_write(&run->take, texts->start_offsets, texts->offsets);
	pop_write_counts(run, texts->counts);
	return true;
}

static void pop_texts_done(struct pop_texts *texts)
{
	if (texts->start_offsets)
		evbuffer_free(texts->start_offsets);
	if (texts->offsets)
		evbuffer_free(texts->offsets);
	if (texts->counts)
		evbuffer_free(texts->counts);
}

static void pop_answer(struct pop *p, int code)
{
	struct pop_take *t = &p->run->take;
	struct mq_request *req = p->req;
	struct evbuffer *body = TAKE(t->body);
	bool is_found = code == MQ_SUCCESS;
	struct mq_command answer;
	struct pop_texts texts;

	if (is_found)
		stats_get(p->broker->stats, t->n_messages, (uint64_t)t->n_bytes);
	else
		stats_get_missed(p->broker->stats);
	if (pop_texts_make(&texts, p->run)) {
		pop_begin_answer(p, &answer, code, is_found ? "FOUND" : "NO_MESSAGE_IN_QUEUE", t);
		mq_command_add(&answer, "startOffsetInfo", pop_text(texts.start_offsets));
		mq_command_add(&answer, "msgOffsetInfo", pop_text(texts.offsets));
		if (p->h.is_order)
			mq_command_add(&answer, "orderCountInfo", pop_text(texts.counts));
	} else {
		mq_request_answer(req, &answer, MQ_SYSTEM_ERROR);
		answer.remark = MQ_SLICE("out of memory");
	}
	/* Names borrow from the request, and the next one finds the locks open. */
	pop_take_done(t);
	/* Who gives up on a queue that is taken was woken for it, maybe. */
	if (is_found ? t->rest > 0 : t->was_busy)
		pop_polls_wake(p->broker->pop_polls, p->h.group, p->h.topic, p->h.queue_id);
	mq_reply(req, &answer, answer.code == code ? body : NULL);
	pop_texts_done(&texts);
	if (body)
		evbuffer_free(body);
	pop_free(p);
}

/* ---- Waiting ---- */

static void pop_run(struct pop *p);

static struct pop_wish pop_wish(const struct pop *p)
{
	return (struct pop_wish){
		.kind = POP_POLL_MESSAGE, .group = p->h.group, .topic = p->h.topic, .queue_id = p->h.queue_id
	};
}

static bool pop_can_go_on(const struct pop *p)
{
	return !atomic_load(&p->broker->is_stopping) && mq_conn_is_open(p->req->conn);
}

static void pop_resumed(struct pop_await *w, enum hold_reason reason)
{
	struct pop *p = (struct pop *)((char *)w - offsetof(struct pop, await));

	if (!mq_conn_is_open(p->req->conn)) {
		/* The message that woke it is for the next. */
		if (!w->is_for_lock)
			pop_polls_wake(p->broker->pop_polls, p->h.group, p->h.topic, p->h.queue_id);
		mq_reply_none(p->req);
		pop_free(p);
		return;
	}
	p->has_fetched = false;
	if (reason == HOLD_STOPPED || mq_loop_mono_ms(mq_conn_loop(p->req->conn)) >= p->deadline_ms)
		p->may_wait = false;
	pop_run(p);
}

static void pop_end_run(struct pop *p)
{
	pop_take_done(&p->run->take);
	free(p->run->changes);
	free(p->run);
	p->run = NULL;
}

/* Somebody else pops from the queue. False: not any more. */
static bool pop_wait_for_lock(struct pop *p)
{
	p->req = mq_request_park(p->req);
	if (!pop_await_lock(&p->await, p->broker, p->req->conn, p->run->take.busy_slot))
		return false;
	pop_end_run(p);
	return true;
}

/* Nothing was found: until a message comes, its time is over, or the first queue that is blocked by its order is free. False: look
 * again. */
static bool pop_wait(struct pop *p)
{
	int64_t free_at_ms = p->run->take.free_at_ms, until_ms = p->deadline_ms, free_ms;
	struct pop_wish wish = pop_wish(p);
	int r;

	if (!p->may_wait || !pop_can_go_on(p)) {
		pop_answer(p, MQ_POLLING_TIMEOUT);
		return true;
	}
	free_ms = free_at_ms < INT64_MAX ? pop_await_until(p->broker, p->req->conn, free_at_ms) : INT64_MAX;
	if (free_ms < until_ms)
		until_ms = free_ms;
	p->req = mq_request_park(p->req);
	r = pop_await_message(&p->await, p->broker, p->req->conn, &wish, p->seen, until_ms);
	if (r == POP_POLLS_AGAIN)
		return false;
	if (r == POP_POLLS_FULL)
		pop_answer(p, MQ_POLLING_FULL);
	else if (r < 0)
		pop_fail(p, r);
	else
		pop_end_run(p);
	return true;
}

/* ---- Storing ---- */

static void pop_undo_order(struct pop *p)
{
	struct pop_run *run = p->run;

	for (unsigned i = 0; run->changes && i < run->take.n_targets; i++) {
		const struct pop_target *target = &run->take.targets[i];

		(void)pop_orders_set(p->broker->pop_orders, store_queue_topic(target->queue), p->h.group, store_queue_id(target->queue),
				     run->changes[i].had_before ? &run->changes[i].before : NULL);
	}
}

static void pop_stored(struct broker_op *op)
{
	struct pop_run *run = (struct pop_run *)((char *)op - offsetof(struct pop_run, op));
	struct pop *p = op->op.user;

	if (op->op.result < 0) {
		pop_undo_order(p);
		pop_fail(p, run->op.op.result);
		return;
	}
	for (unsigned i = 0; i < run->take.n_targets; i++) {
		const struct pop_target *target = &run->take.targets[i];

		pop_inflight_add(p->broker->pop_inflight,
				 &(struct pop_inflight_key){ store_queue_topic(target->queue), p->h.group, store_queue_id(target->queue) },
				 target->n);
	}
	pop_answer(p, MQ_SUCCESS);
}

/* In order nothing is committed before it is acknowledged; that a queue's messages are with the group is its state. */
static int pop_change_order(struct pop *p, unsigned i, struct store_offset_put *put)
{
	struct pop_run *run = p->run;
	const struct pop_target *target = &run->take.targets[i];
	struct pop_order_change *c = &run->changes[i];

	put->offset = target->from;
	c->had_before = pop_orders_get(p->broker->pop_orders, put->topic, put->group, put->queue_id, &c->before);
	pop_order_popped(&c->next, c->had_before ? &c->before : NULL, p->h.attempt, run->take.pop_at_ms, p->h.invisible_ms,
			 run->take.offsets + target->first, target->n);
	run->rows[i] = (struct store_meta_put){
		.kind = POP_ORDER_KIND,
		.name = { c->name, pop_order_name(put->topic, put->group, put->queue_id, c->name) },
		.value = { c->row, pop_order_encode(&c->next, c->row) },
	};
	return pop_orders_set(p->broker->pop_orders, put->topic, put->group, put->queue_id, &c->next);
}

static void pop_make_dues(struct pop *p, const struct pop_target *target)
{
	struct pop_run *run = p->run;
	const struct pop_take *t = &run->take;

	for (unsigned i = target->first; i < target->first + target->n; i++)
		run->dues[run->op.op.n_due_puts++] = (struct store_due){
			.at_ms = pop_due_ms(t->pop_at_ms, p->h.invisible_ms),
			.kind = STORE_DUE_POP,
			.locator = store_queue_locator(target->queue, t->offsets[i]),
			.group = p->h.group,
			.pop_at_ms = t->pop_at_ms,
		};
}

static void pop_store(struct pop *p)
{
	struct pop_run *run = p->run;
	struct store_op *op = &run->op.op;

	if (p->h.is_order && !(run->changes = calloc(run->take.n_targets, sizeof *run->changes))) {
		pop_fail(p, -ENOMEM);
		return;
	}
	store_op_init(op);
	op->due_puts = run->dues;
	op->offset_puts = run->puts;
	op->meta_puts = run->rows;
	op->no_wait = true;
	op->user = p;
	run->op.done = pop_stored;
	for (unsigned i = 0; i < run->take.n_targets; i++) {
		const struct pop_target *target = &run->take.targets[i];
		struct store_offset_put *put = &run->puts[op->n_offset_puts++];

		*put = (struct store_offset_put){
			.group = p->h.group,
			.topic = store_queue_topic(target->queue),
			.queue_id = store_queue_id(target->queue),
			.offset = target->next,
		};
		if (!p->h.is_order) {
			pop_make_dues(p, target);
		} else if (pop_change_order(p, i, put) < 0) {
			pop_undo_order(p);
			pop_fail(p, -ENOMEM);
			return;
		} else {
			op->n_meta_puts++;
		}
	}
	broker_append(broker_loop_of(p->broker, p->req->conn), &run->op);
}

/* ---- Looking ---- */

static void pop_posted(struct mq_post *post)
{
	struct pop *p = (struct pop *)((char *)post - offsetof(struct pop, ahead.post));

	if (mq_loop_mono_ms(mq_conn_loop(p->req->conn)) >= p->deadline_ms)
		p->may_wait = false;
	if (mq_conn_is_open(p->req->conn)) {
		pop_run(p);
		return;
	}
	mq_reply_none(p->req);
	pop_free(p);
}

/* Much was looked at and nothing wanted: others have their turn first. */
static void pop_go_on_later(struct pop *p)
{
	p->ahead.post.run = pop_posted;
	mq_loop_post(mq_conn_loop(p->req->conn), &p->ahead.post);
}

/* After a look. False: look again. */
static bool pop_settle(struct pop *p)
{
	const struct pop_take *t = &p->run->take;

	if (t->n_messages > 0 && t->result != -ENOMEM)
		pop_store(p);
	else if (t->result < 0)
		pop_fail(p, t->result);
	else if (t->was_cut && p->may_wait && pop_can_go_on(p))
		pop_go_on_later(p);
	else if (t->was_busy && p->may_wait && pop_can_go_on(p))
		return pop_wait_for_lock(p);
	else
		return pop_wait(p);
	return true;
}

static void pop_read_disk(void *arg)
{
	struct pop *p = arg;

	/* Who went away must not keep the readers from others. */
	if (mq_conn_is_open(p->req->conn))
		pop_take_run(&p->run->take, &p->ask, STORE_DISK);
	else
		p->run->take.result = -ENOTCONN;
}

static void pop_read_done(void *arg)
{
	struct pop *p = arg;

	if (!pop_settle(p))
		pop_run(p);
}

/* A group that goes through a backlog: a reader fetches what this pop and those after it want. */
static bool pop_fetch(struct pop *p)
{
	const struct pop_take *t = &p->run->take;

	if (p->has_fetched || store_queue_max(t->cold) - t->cold_from <= POP_MESSAGES_MAX)
		return false;
	p->has_fetched = true;
	p->ahead.loop = mq_conn_loop(p->req->conn);
	p->ahead.post.run = pop_posted;
	return ahead_fetch(p->broker->ahead, t->cold, t->cold_from, &p->ahead, mq_mono_ms(p->broker->clock));
}

static void pop_run(struct pop *p)
{
	struct pop_wish wish = pop_wish(p);
	int r;

	if (!p->run)
		p->run = calloc(1, sizeof *p->run);
	if (!p->run) {
		pop_fail(p, -ENOMEM);
		return;
	}
	p->run->take.ask = &p->ask;
	do {
		p->seen = pop_polls_seen(p->broker->pop_polls, &wish);
		pop_take_run(&p->run->take, &p->ask, STORE_MEMORY);
		if (p->run->take.cold && p->run->take.n_messages == 0 && p->run->take.result == 0) {
			if (pop_fetch(p))
				return;
			r = broker_offload(p->broker, p->req->conn, pop_read_disk, pop_read_done, p);
			if (r < 0)
				pop_fail(p, r);
			return;
		}
	} while (!pop_settle(p));
}

/* ---- Checking ---- */

static void pop_passed(struct pop_check *c)
{
	struct pop *p = (struct pop *)((char *)c - offsetof(struct pop, check));
	int64_t until_ms;

	if (pop_check_subscription(c, p->h.expression_type, p->h.expression, &p->sub) != 0) {
		pop_refused(c, c->code, c->remark);
		return;
	}
	p->may_wait = p->h.poll_ms > EARLY_MS;
	if (!p->may_wait || __builtin_add_overflow(p->h.born_at_ms, p->h.poll_ms - EARLY_MS, &until_ms))
		until_ms = INT64_MAX;
	p->may_wait &= until_ms > mq_wall_ms(p->broker->clock);
	p->deadline_ms = pop_await_until(p->broker, p->req->conn, until_ms);
	p->await.resume = pop_resumed;
	p->ask = (struct pop_ask){
		.broker = p->broker,
		.sub = &p->sub,
		.group = p->h.group,
		.topic = p->h.topic,
		.attempt = p->h.attempt,
		.queue_id = p->h.queue_id,
		.read_queues = c->topic.read_queues,
		.max_messages = p->h.max_messages,
		.priority_factor = c->topic.is_priority && !p->h.is_order ? c->found.priority_factor : 0,
		.invisible_ms = p->h.invisible_ms,
		.from_max = p->h.init_mode != 0,
		.is_order = p->h.is_order,
	};
	pop_run(p);
}

static bool pop_is_late(const struct pop *p)
{
	int64_t until_ms;

	return !__builtin_add_overflow(p->h.born_at_ms, p->h.poll_ms, &until_ms) &&
	       mq_wall_ms(p->broker->clock) - LATE_MS > until_ms;
}

static int pop_check_times(struct pop_check *c)
{
	struct pop *p = (struct pop *)((char *)c - offsetof(struct pop, check));
	const struct broker_config *config = &p->broker->config;

	if (pop_is_late(p))
		return pop_check_note(c, MQ_POLLING_TIMEOUT, "the broker[%s] pop message is timeout too much", config->brokerIP1);
	return 0;
}

static int pop_check_number(struct pop_check *c)
{
	struct pop *p = (struct pop *)((char *)c - offsetof(struct pop, check));
	const struct broker_config *config = &p->broker->config;
	struct pop_name name;

	if (p->h.max_messages > POP_MESSAGES_MAX)
		return pop_check_note(c, MQ_INVALID_PARAMETER, "the broker[%s] pop message's num is greater than %d", config->brokerIP1,
				      POP_MESSAGES_MAX);
	if (!config_get(config, timerWheelEnable))
		return pop_check_note(c, MQ_SYSTEM_ERROR, "the broker[%s] pop message is forbidden because timerWheelEnable is false",
				      config->brokerIP1);
	/* Ours: what is not acknowledged would have nowhere to come again. */
	pop_topic(&name, pop_mark_of(p->h.topic) == POP_NORMAL ? POP_RETRY_V1 : POP_NORMAL, p->h.topic, p->h.group);
	if (name.n == 0 || p->h.group.n == 0)
		return pop_check_note(c, MQ_INVALID_PARAMETER, "the names of group and topic are too long, or empty, for a retry topic");
	return 0;
}

int handle_pop_message(struct mq_request *req)
{
	struct broker *b = req->server;
	struct pop_header h = {};
	struct mq_error err;
	struct pop *p;

	if (pop_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	if (h.born_at_ms == 0)
		h.born_at_ms = mq_wall_ms(b->clock);
	p->req = req;
	p->broker = b;
	p->h = h;
	p->check = (struct pop_check){
		.req = req,
		.broker = b,
		.group = h.group,
		.topic_name = h.topic,
		.queue_id = h.queue_id,
		.verb = "pop",
		.before_broker = pop_check_times,
		.before_topic = pop_check_number,
		.passed = pop_passed,
		.refused = pop_refused,
		.failed = pop_failed,
	};
	pop_check_run(&p->check);
	return MQ_REQUEST_PENDING;
}
