/* QUERY_MESSAGE (12), VIEW_MESSAGE_BY_ID (33); reference: protocol/requests-broker.md section 3.3, behaviour.md section 15.
 * Both may read the disk anywhere, so a reader thread does it and fills the body. */
#include <errno.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/handlers.h"
#include "libmq/wire/record.h"

enum { QUERY_HEADER_ALLOWANCE = 64 << 10 }; /* bytes of a frame that are kept free for the header */

#define QUERY_FIELDS(X)                              \
	X(slice, topic, "topic", REQUIRED)           \
	X(slice, key, "key", REQUIRED)               \
	X(i32, max, "maxNum", REQUIRED)              \
	X(i64, begin_ms, "beginTimestamp", REQUIRED) \
	X(i64, end_ms, "endTimestamp", REQUIRED)     \
	X(bool, is_unique, "_UNIQUE_KEY_QUERY", OPTIONAL)
MQ_HEADER(query, QUERY_FIELDS)

#define VIEW_FIELDS(X) X(i64, locator, "offset", REQUIRED)
MQ_HEADER(view, VIEW_FIELDS)

struct query {
	struct mq_request *req;
	struct broker *broker;
	struct query_header h;
	int64_t locator;
	struct evbuffer *body; /* owned */
	size_t max_bytes;      /* what fits into one frame */
	int64_t last_at_ms, last_locator;
	int r;           /* how the store ended it, or -ENOMEM */
	bool has_failed; /* out of memory on the way */
};

static void query_free(struct query *q)
{
	if (q->body)
		evbuffer_free(q->body);
	free(q);
}

static enum store_verdict query_on_record(void *user, int64_t queue_offset, int64_t tag_hash,
					  struct mq_slice record)
{
	struct query *q = user;

	if (evbuffer_get_length(q->body) + record.n > q->max_bytes)
		return STORE_STOP;
	if (evbuffer_add(q->body, record.p, record.n) < 0) {
		q->has_failed = true;
		return STORE_STOP;
	}
	q->last_at_ms = mq_record_store_at_ms(record);
	q->last_locator = mq_record_physical_offset(record);
	return STORE_GO_ON;
}

static int query_start(struct mq_request *req, const struct query_header *h, int64_t locator,
		       void (*work)(void *arg), void (*done)(void *arg))
{
	struct query *q = calloc(1, sizeof *q);
	int r;

	if (!q)
		return -ENOMEM;
	q->req = req;
	q->broker = req->server;
	q->locator = locator;
	if (h)
		q->h = *h;
	q->max_bytes = (size_t)q->broker->config.frameMaxLength - QUERY_HEADER_ALLOWANCE;
	q->body = evbuffer_new();
	r = q->body ? broker_offload(q->broker, req->conn, work, done, q) : -ENOMEM;
	if (r < 0) {
		query_free(q);
		return r;
	}
	return MQ_REQUEST_PENDING;
}

/* Who asked for a lot and went away must not keep the readers from others. */
static bool query_is_pointless(struct query *q)
{
	q->r = mq_conn_is_open(q->req->conn) ? 0 : -ENOTCONN;
	return q->r < 0;
}

static void query_work(void *arg)
{
	struct query *q = arg;

	if (query_is_pointless(q))
		return;
	q->r = store_query(q->broker->store, q->h.topic, q->h.key, (unsigned)q->h.max, q->h.begin_ms,
			   q->h.end_ms, query_on_record, q);
}

static void query_done(void *arg)
{
	struct query *q = arg;
	struct mq_command answer;

	if (q->r < 0 || q->has_failed) {
		broker_reply_store(q->req, q->has_failed ? -ENOMEM : q->r);
		query_free(q);
		return;
	}
	mq_request_answer(q->req, &answer,
			  evbuffer_get_length(q->body) > 0 ? MQ_SUCCESS : MQ_QUERY_NOT_FOUND);
	if (answer.code != MQ_SUCCESS)
		answer.remark = MQ_SLICE("can not find message, maybe time range not correct");
	mq_command_add_i64(&answer, "indexLastUpdateTimestamp", q->last_at_ms);
	mq_command_add_i64(&answer, "indexLastUpdatePhyoffset", q->last_locator);
	mq_reply(q->req, &answer, q->body);
	query_free(q);
}

int handle_query_message(struct mq_request *req)
{
	struct query_header h = {};
	struct broker *b = req->server;
	struct mq_error err;

	if (query_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	if (h.is_unique)
		h.max = (int32_t)config_get(&b->config, defaultQueryMaxNum);
	if (h.max > config_get(&b->config, maxMsgsNumBatch))
		h.max = (int32_t)config_get(&b->config, maxMsgsNumBatch);
	if (h.max < 0)
		h.max = 0;
	return query_start(req, &h, 0, query_work, query_done);
}

static void view_work(void *arg)
{
	struct query *q = arg;

	if (query_is_pointless(q))
		return;
	q->r = store_get(q->broker->store, q->locator, STORE_DISK, query_on_record, q);
}

static void view_done(void *arg)
{
	struct query *q = arg;
	struct mq_command answer;

	if (q->has_failed || (q->r < 0 && q->r != -ENOENT)) {
		broker_reply_store(q->req, q->has_failed ? -ENOMEM : q->r);
	} else if (q->r == -ENOENT || evbuffer_get_length(q->body) == 0) {
		mq_reply_code(q->req, MQ_SYSTEM_ERROR, "can not find message by the offset, %" PRIi64,
			      q->locator);
	} else {
		mq_request_answer(q->req, &answer, MQ_SUCCESS);
		mq_reply(q->req, &answer, q->body);
	}
	query_free(q);
}

int handle_view_message_by_id(struct mq_request *req)
{
	struct view_header h = {};
	struct mq_error err;

	if (view_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	return query_start(req, NULL, h.locator, view_work, view_done);
}
