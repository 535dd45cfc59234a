/* PEEK_MESSAGE (200052), NOTIFICATION (200054), POLLING_INFO (200055): looking at what a pop would find; reference:
 * protocol/requests-broker.md section 7. */
#include <errno.h>
#include <event2/buffer.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/filter_sql.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/pop_await.h"
#include "daemons/broker/pop_check.h"
#include "daemons/broker/pop_take.h"
#include "daemons/broker/reply.h"
#include "daemons/broker/stats.h"

enum { EARLY_MS = 50 }; /* so much before its time a notification is answered (PopRequest.isTimeout) */

/* Fills in what all three ask of pop_check, whose callbacks are there. */
static int look_check(struct pop_check *c, struct mq_request *req, struct mq_slice group, struct mq_slice topic, int32_t queue_id)
{
	c->req = req;
	c->broker = req->server;
	c->group = group;
	c->topic_name = topic;
	c->queue_id = queue_id;
	c->verb = "peeking";
	pop_check_run(c);
	return MQ_REQUEST_PENDING;
}

/* ---- PEEK_MESSAGE ---- */

#define PEEK_FIELDS(X)                             \
	X(slice, group, "consumerGroup", REQUIRED) \
	X(slice, topic, "topic", REQUIRED)         \
	X(i32, queue_id, "queueId", OPTIONAL)      \
	X(i32, max_messages, "maxMsgNums", OPTIONAL)
MQ_HEADER(peek, PEEK_FIELDS)

struct peek {
	struct pop_check check;
	struct peek_header h;
	struct pop_ask ask;
	struct pop_take take;
};

static void peek_reply(struct peek *k, int code, const char *remark)
{
	struct mq_command answer;

	mq_request_answer(k->check.req, &answer, code);
	answer.remark = mq_slice_of(remark);
	mq_command_add_i64(&answer, "popTime", 0);
	mq_command_add_i64(&answer, "invisibleTime", 0);
	mq_command_add_i64(&answer, "reviveQid", 0);
	mq_command_add_i64(&answer, "restNum", k->take.rest);
	mq_reply(k->check.req, &answer, k->take.body);
	if (k->take.ask)
		pop_take_done(&k->take);
	free(k);
}

static void peek_refused(struct pop_check *c, int code, const char *remark)
{
	peek_reply((struct peek *)((char *)c - offsetof(struct peek, check)), code, remark);
}

static void peek_failed(struct pop_check *c, int r)
{
	struct peek *k = (struct peek *)((char *)c - offsetof(struct peek, check));
	struct mq_request *req = c->req;

	if (k->take.ask)
		pop_take_done(&k->take);
	free(k);
	broker_reply_store(req, r);
}

static void peek_work(void *arg)
{
	struct peek *k = arg;

	pop_take_run(&k->take, &k->ask, STORE_DISK);
}

static void peek_settle(void *arg)
{
	struct peek *k = arg;
	struct stats *stats = k->ask.broker->stats;

	if (k->take.result < 0 && (k->take.n_messages == 0 || k->take.result == -ENOMEM)) {
		peek_failed(&k->check, k->take.result);
	} else if (k->take.n_messages > 0) {
		stats_get(stats, k->take.n_messages, (uint64_t)k->take.n_bytes);
		peek_reply(k, MQ_SUCCESS, "FOUND");
	} else {
		stats_get_missed(stats);
		peek_reply(k, MQ_PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE");
	}
}

static void peek_passed(struct pop_check *c)
{
	struct peek *k = (struct peek *)((char *)c - offsetof(struct peek, check));
	int r;

	k->ask = (struct pop_ask){
		.broker = c->broker,
		.group = k->h.group,
		.topic = k->h.topic,
		.queue_id = k->h.queue_id,
		.read_queues = c->topic.read_queues,
		.max_messages = k->h.max_messages < POP_MESSAGES_MAX ? k->h.max_messages : POP_MESSAGES_MAX,
		.is_peek = true,
	};
	pop_take_run(&k->take, &k->ask, STORE_MEMORY);
	if (k->take.n_messages > 0 || !k->take.cold) {
		peek_settle(k);
		return;
	}
	r = broker_offload(c->broker, c->req->conn, peek_work, peek_settle, k);
	if (r < 0)
		peek_failed(c, r);
}

int handle_peek_message(struct mq_request *req)
{
	struct peek_header h = {};
	struct mq_error err;
	struct peek *k;

	if (peek_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	k = calloc(1, sizeof *k);
	if (!k)
		return -ENOMEM;
	k->h = h;
	k->check = (struct pop_check){ .passed = peek_passed, .refused = peek_refused, .failed = peek_failed };
	return look_check(&k->check, req, h.group, h.topic, h.queue_id);
}

/* ---- NOTIFICATION ---- */

#define NOTIFICATION_FIELDS(X)                        \
	X(slice, group, "consumerGroup", REQUIRED)    \
	X(slice, topic, "topic", REQUIRED)            \
	X(i32, queue_id, "queueId", OPTIONAL)         \
	X(i64, poll_ms, "pollTime", OPTIONAL)         \
	X(i64, born_at_ms, "bornTime", OPTIONAL)      \
	X(bool, is_order, "order", OPTIONAL)          \
	X(slice, attempt, "attemptId", OPTIONAL)      \
	X(slice, expression, "exp", OPTIONAL)         \
	X(slice, expression_type, "expType", OPTIONAL)
MQ_HEADER(notification, NOTIFICATION_FIELDS)

struct notification {
	struct pop_check check;
	struct notification_header h;
	struct subscription sub;
	bool has_looked; /* and found nothing: from now on SQL counts */
	struct pop_ask ask;
	uint64_t seen;
	int64_t deadline_ms; /* monotonic */
	bool may_wait;
	struct pop_await await;
};

static void notification_free(struct notification *n)
{
	filter_sql_unref(n->sub.sql);
	free(n);
}

static void notification_reply(struct notification *n, int code, const char *remark, bool has_message, bool is_full)
{
	struct mq_command answer;

	mq_request_answer(n->check.req, &answer, code);
	answer.remark = mq_slice_of(remark);
	mq_command_add_bool(&answer, "hasMsg", has_message);
	mq_command_add_bool(&answer, "pollingFull", is_full);
	mq_reply(n->check.req, &answer, NULL);
	notification_free(n);
}

static void notification_refused(struct pop_check *c, int code, const char *remark)
{
	notification_reply((struct notification *)((char *)c - offsetof(struct notification, check)), code, remark, false, false);
}

static void notification_failed(struct pop_check *c, int r)
{
	struct mq_request *req = c->req;

	notification_free((struct notification *)((char *)c - offsetof(struct notification, check)));
	broker_reply_store(req, r);
}

static void notification_run(struct notification *n);

static void notification_resumed(struct pop_await *w, enum hold_reason reason)
{
	struct notification *n = (struct notification *)((char *)w - offsetof(struct notification, await));

	if (!mq_conn_is_open(n->check.req->conn)) {
		/* The message that woke it is for the next. */
		pop_polls_wake(n->ask.broker->pop_polls, n->h.group, n->h.topic, n->h.queue_id);
		mq_reply_none(n->check.req);
		notification_free(n);
		return;
	}
	if (reason == HOLD_STOPPED || mq_loop_mono_ms(mq_conn_loop(n->check.req->conn)) >= n->deadline_ms)
		n->may_wait = n->has_looked = false;
	notification_run(n);
}

static int notification_wait(struct notification *n, int64_t free_at_ms)
{
	struct broker *b = n->ask.broker;
	const struct pop_wish wish = {
		.kind = POP_POLL_NOTIFICATION, .group = n->h.group, .topic = n->h.topic, .queue_id = n->h.queue_id
	};
	int64_t free_ms = free_at_ms < INT64_MAX ? pop_await_until(b, n->check.req->conn, free_at_ms) : INT64_MAX;

	n->check.req = mq_request_park(n->check.req);
	return pop_await_message(&n->await, b, n->check.req->conn, &wish, n->seen, free_ms < n->deadline_ms ? free_ms : n->deadline_ms);
}

static void notification_run(struct notification *n)
{
	struct broker *b = n->ask.broker;
	const struct pop_wish wish = { .group = n->h.group, .topic = n->h.topic };
	int64_t free_at_ms;
	int r;

	do {
		n->seen = pop_polls_seen(b->pop_polls, &wish);
		n->sub.matches_all = n->sub.sql ? !n->has_looked : n->sub.matches_all;
		if (pop_take_any(&n->ask, &free_at_ms)) {
			notification_reply(n, MQ_SUCCESS, POP_NO_REMARK, true, false);
			return;
		}
		/* A connection that closed while its group was made wakes nobody any more. */
		if (!n->may_wait || atomic_load(&b->is_stopping) || !mq_conn_is_open(n->check.req->conn)) {
			notification_reply(n, MQ_SUCCESS, POP_NO_REMARK, false, false);
			return;
		}
		n->has_looked = true;
		r = notification_wait(n, free_at_ms);
	} while (r == POP_POLLS_AGAIN);
	if (r == POP_POLLS_FULL)
		notification_reply(n, MQ_SUCCESS, POP_NO_REMARK, false, true);
	else if (r < 0)
		notification_failed(&n->check, r);
}

/* What tags are asked for is heeded. Of SQL, as upstream has it, what wakes one that waits; what was there before, or is there when its time
 * is over, is worth coming for whatever it is. */
static int notification_check_subscription(struct notification *n)
{
	struct pop_check *c = &n->check;

	n->sub.is_tag = n->sub.matches_all = true;
	if (!config_get(&c->broker->config, useMessageFilterForNotification) || n->h.expression.n == 0 || n->h.expression_type.n == 0)
		return 0;
	n->sub = (struct subscription){};
	return pop_check_subscription(c, n->h.expression_type, n->h.expression, &n->sub);
}

static void notification_passed(struct pop_check *c)
{
	struct notification *n = (struct notification *)((char *)c - offsetof(struct notification, check));
	int64_t until_ms;

	if (notification_check_subscription(n) != 0) {
		notification_refused(c, c->code, c->remark);
		return;
	}
	n->may_wait = n->h.poll_ms > EARLY_MS;
	if (!n->may_wait || __builtin_add_overflow(n->h.born_at_ms, n->h.poll_ms - EARLY_MS, &until_ms))
		until_ms = INT64_MAX;
	n->may_wait &= until_ms > mq_wall_ms(c->broker->clock);
	n->deadline_ms = pop_await_until(c->broker, n->check.req->conn, until_ms);
	n->await.resume = notification_resumed;
	n->ask = (struct pop_ask){
		.broker = c->broker,
		.sub = &n->sub,
		.group = n->h.group,
		.topic = n->h.topic,
		.attempt = n->h.attempt,
		.queue_id = n->h.queue_id,
		.read_queues = c->topic.read_queues,
		.is_order = n->h.is_order,
		.is_peek = true,
	};
	notification_run(n);
}

int handle_notification(struct mq_request *req)
{
	struct broker *b = req->server;
	struct notification_header h = {};
	struct notification *n;
	struct mq_error err;

	if (notification_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	n = calloc(1, sizeof *n);
	if (!n)
		return -ENOMEM;
	if (h.born_at_ms == 0)
		h.born_at_ms = mq_wall_ms(b->clock);
	n->h = h;
	n->check = (struct pop_check){ .passed = notification_passed, .refused = notification_refused, .failed = notification_failed };
	return look_check(&n->check, req, h.group, h.topic, h.queue_id);
}

/* ---- POLLING_INFO ---- */

#define POLLING_INFO_FIELDS(X)                     \
	X(slice, group, "consumerGroup", REQUIRED) \
	X(slice, topic, "topic", REQUIRED)         \
	X(i32, queue_id, "queueId", OPTIONAL)
MQ_HEADER(polling_info, POLLING_INFO_FIELDS)

static void polling_info_reply(struct pop_check *c, int code, const char *remark, unsigned n)
{
	struct mq_command answer;

	mq_request_answer(c->req, &answer, code);
	answer.remark = mq_slice_of(remark);
	mq_command_add_i64(&answer, "pollingNum", n);
	mq_reply(c->req, &answer, NULL);
	free(c);
}

static void polling_info_refused(struct pop_check *c, int code, const char *remark)
{
	polling_info_reply(c, code, remark, 0);
}

static void polling_info_passed(struct pop_check *c)
{
	polling_info_reply(c, MQ_SUCCESS, POP_NO_REMARK,
			   pop_polls_count(c->broker->pop_polls, c->group, c->topic_name, c->queue_id));
}

static void polling_info_failed(struct pop_check *c, int r)
{
	struct mq_request *req = c->req;

	free(c);
	broker_reply_store(req, r);
}

int handle_polling_info(struct mq_request *req)
{
	struct polling_info_header h = {};
	struct pop_check *c;
	struct mq_error err;

	if (polling_info_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	*c = (struct pop_check){ .passed = polling_info_passed, .refused = polling_info_refused, .failed = polling_info_failed };
	return look_check(c, req, h.group, h.topic, h.queue_id);
}
