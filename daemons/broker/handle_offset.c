/* Offsets; reference: protocol/requests-broker.md section 3.2, behaviour.md sections 12 and 13.
 * QUERY_CONSUMER_OFFSET (14), UPDATE_CONSUMER_OFFSET (15), SEARCH_OFFSET_BY_TIMESTAMP (29), GET_MAX_OFFSET (30),
 * GET_MIN_OFFSET (31), GET_EARLIEST_MSG_STORETIME (32). */
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/groups.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/pulled.h"
#include "daemons/broker/topics.h"

static int reply_i64(struct mq_request *req, const char *name, int64_t value)
{
	struct mq_command answer;

	mq_request_answer(req, &answer, MQ_SUCCESS);
	mq_command_add_i64(&answer, name, value);
	return mq_reply(req, &answer, NULL);
}

/* Java answers these with extFields {} even when there is nothing to say. */
static int reply_not_found(struct mq_request *req, const char *remark)
{
	struct mq_command answer;

	mq_request_answer(req, &answer, MQ_QUERY_NOT_FOUND);
	answer.has_fields = true;
	answer.remark = mq_slice_of(remark);
	return mq_reply(req, &answer, NULL);
}

#define QUERY_OFFSET_FIELDS(X)                     \
	X(slice, group, "consumerGroup", REQUIRED) \
	X(slice, topic, "topic", REQUIRED)         \
	X(i32, queue_id, "queueId", REQUIRED)      \
	X(bool, zero_if_not_found, "setZeroIfNotFound", OPTIONAL)
MQ_HEADER(query_offset, QUERY_OFFSET_FIELDS)

/* Does a new group start at the beginning? Upstream: minOffset <= 0, at least one message, and offset 0 still in memory. The
 * last has no counterpart here (behaviour.md section 12), so the first two decide. */
static bool is_young(const struct store_queue *q)
{
	return q && store_queue_min(q) <= 0 && store_queue_max(q) > 0;
}

int handle_query_consumer_offset(struct mq_request *req)
{
	struct query_offset_header h = { .zero_if_not_found = true };
	struct broker *b = req->server;
	struct mq_error err;
	int64_t offset;
	int r;

	if (query_offset_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	r = store_offset_get(b->store, h.group, h.topic, h.queue_id, &offset);
	if (r < 0)
		return r;
	if (r == 0 && offset >= 0)
		return reply_i64(req, "offset", offset);
	if (!h.zero_if_not_found)
		return reply_not_found(req, "Not found, do not set to zero, maybe this group boot first");
	if (!is_young(store_queue_find(b->store, h.topic, h.queue_id)))
		return reply_not_found(req,
				       "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first");
	return reply_i64(req, "offset", 0);
}

#define UPDATE_OFFSET_FIELDS(X)                    \
	X(slice, group, "consumerGroup", REQUIRED) \
	X(slice, topic, "topic", REQUIRED)         \
	X(i32, queue_id, "queueId", REQUIRED)      \
	X(i64, offset, "commitOffset", REQUIRED)
MQ_HEADER(update_offset, UPDATE_OFFSET_FIELDS)

struct update {
	struct broker_op op;
	struct mq_request *req;
	struct store_offset_put put; /* slices into the request's frame */
};

static void update_committed(struct broker_op *op);
static void update_late(struct broker_op *op);

static int update_refuse_topic(struct mq_request *req, struct mq_slice topic)
{
	return mq_reply_code(req, MQ_TOPIC_NOT_EXIST, "Topic %.*s not exist!", MQ_FMT(topic));
}

/* Who waits for the answer may rely on the offset: it goes the way of messages. */
static int update_durably(struct mq_request *req, const struct update_offset_header *h, uint64_t since)
{
	struct broker *b = req->server;
	struct update *u = calloc(1, sizeof *u);

	if (!u)
		return -ENOMEM;
	u->req = req;
	u->put = (struct store_offset_put){
		.group = h->group, .topic = h->topic, .queue_id = h->queue_id, .offset = h->offset, .since = since
	};
	store_op_init(&u->op.op);
	u->op.op.offset_puts = &u->put;
	u->op.op.n_offset_puts = 1;
	u->op.done = update_committed;
	u->op.late = update_late;
	broker_append(broker_loop_of(b, req->conn), &u->op);
	return MQ_REQUEST_PENDING;
}

/* Upstream's answer never waits: its offsets go to the disk every few seconds. */
static void update_late(struct broker_op *op)
{
	struct update *u = (struct update *)((char *)op - offsetof(struct update, op));

	mq_reply_ok(u->req);
	u->req = NULL;
}

static void update_committed(struct broker_op *op)
{
	struct update *u = (struct update *)((char *)op - offsetof(struct update, op));
	struct mq_request *req = u->req; /* NULL: answered by update_late() */
	struct mq_slice topic = u->put.topic;
	int r = op->op.result;

	free(u);
	if (!req)
		return;
	if (r == -ENOENT)
		update_refuse_topic(req, topic);
	else if (r < 0)
		broker_reply_store(req, r);
	else
		mq_reply_ok(req);
}

int handle_update_consumer_offset(struct mq_request *req)
{
	struct update_offset_header h = {};
	struct broker *b = req->server;
	struct group group;
	struct topic topic;
	struct mq_error err;
	int r;

	if (update_offset_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	if (groups_find(b->groups, h.group, &group) < 0)
		return mq_reply_code(req, MQ_SUBSCRIPTION_GROUP_NOT_EXIST, "Group %.*s not exist!",
				     MQ_FMT(h.group));
	if (topics_get(b->topics, h.topic, &topic) < 0)
		return update_refuse_topic(req, h.topic);
	if (h.queue_id < 0)
		return mq_reply_code(req, MQ_INVALID_PARAMETER, "queueId[%d] is illegal", h.queue_id);
	if (pulled_get(b->resets, h.group, h.topic, h.queue_id) >= 0)
		return mq_reply_code(req, MQ_SUCCESS, "Offset has been previously reset");
	if (!mq_request_is_oneway(req))
		return update_durably(req, &h, topic.since);
	r = store_offset_set(b->store, h.group, h.topic, h.queue_id, h.offset, topic.since);
	return r < 0 && r != -ENOENT ? r : mq_reply_ok(req); /* nobody hears it */
}

/* ---- Offsets of a queue ---- */

#define QUEUE_FIELDS(X)                    \
	X(slice, topic, "topic", REQUIRED) \
	X(i32, queue_id, "queueId", REQUIRED)
MQ_HEADER(queue, QUEUE_FIELDS)

int handle_get_max_offset(struct mq_request *req)
{
	struct queue_header h = {};
	struct broker *b = req->server;
	struct mq_error err;
	struct store_queue *q;

	if (queue_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	q = store_queue_find(b->store, h.topic, h.queue_id);
	return reply_i64(req, "offset", q ? store_queue_max(q) : 0);
}

int handle_get_min_offset(struct mq_request *req)
{
	struct queue_header h = {};
	struct broker *b = req->server;
	struct mq_error err;
	struct store_queue *q;
	struct topic topic;

	if (queue_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	q = store_queue_find(b->store, h.topic, h.queue_id);
	if (q && store_queue_max(q) > 0)
		return reply_i64(req, "offset", store_queue_min(q));
	/* As upstream: a BatchConsumeQueue does not know before its first message. */
	return reply_i64(req, "offset", topics_get(b->topics, h.topic, &topic) == 0 && topic.is_batch_queue ? -1 : 0);
}

#define SEARCH_FIELDS(X)                     \
	QUEUE_FIELDS(X)                      \
	X(i64, at_ms, "timestamp", REQUIRED) \
	X(slice, boundary, "boundaryType", OPTIONAL)
MQ_HEADER(search, SEARCH_FIELDS)

/* 29 and 32 read records, maybe from the disk: on a reader. */
struct look {
	struct mq_request *req;
	struct broker *broker;
	struct store_queue *queue;
	enum store_boundary boundary;
	int64_t at_ms, result;
	int r;
};

static int look_start(struct mq_request *req, struct store_queue *q, const struct search_header *h,
		      void (*work)(void *arg), void (*done)(void *arg))
{
	struct look *l = calloc(1, sizeof *l);
	int r;

	if (!l)
		return -ENOMEM;
	l->req = req;
	l->broker = req->server;
	l->queue = q;
	l->at_ms = h->at_ms;
	l->boundary =
		h->boundary.n == 5 && strncasecmp(h->boundary.p, "upper", 5) == 0 ? STORE_UPPER : STORE_LOWER;
	r = broker_offload(l->broker, req->conn, work, done, l);
	if (r < 0) {
		free(l);
		return r;
	}
	return MQ_REQUEST_PENDING;
}

static void look_answer(struct look *l, const char *name)
{
	struct mq_request *req = l->req;
	int64_t result = l->result;
	int r = l->r;

	free(l);
	if (r < 0)
		broker_reply_store(req, r);
	else
		reply_i64(req, name, result);
}

static void search_work(void *arg)
{
	struct look *l = arg;

	l->r = store_search_time(l->broker->store, l->queue, l->at_ms, l->boundary, &l->result);
}

static void search_done(void *arg)
{
	look_answer(arg, "offset");
}

int handle_search_offset_by_timestamp(struct mq_request *req)
{
	struct search_header h = {};
	struct broker *b = req->server;
	struct mq_error err;
	struct store_queue *q;

	if (search_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	q = store_queue_find(b->store, h.topic, h.queue_id);
	if (!q)
		return reply_i64(req, "offset", 0);
	return look_start(req, q, &h, search_work, search_done);
}

static void earliest_work(void *arg)
{
	struct look *l = arg;

	l->result = store_time_at(l->broker->store, l->queue, store_queue_min(l->queue));
}

static void earliest_done(void *arg)
{
	look_answer(arg, "timestamp");
}

int handle_get_earliest_msg_storetime(struct mq_request *req)
{
	struct queue_header h = {};
	struct broker *b = req->server;
	struct mq_error err;
	struct store_queue *q;

	if (queue_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	q = store_queue_find(b->store, h.topic, h.queue_id);
	if (!q)
		return reply_i64(req, "timestamp", -1);
	return look_start(req, q, &(struct search_header){}, earliest_work, earliest_done);
}
