/* Topic administration (AdminBrokerProcessor; requests-broker.md 5.1). */
#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/change.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/names.h"
#include "daemons/broker/pop_inflight.h"
#include "daemons/broker/pop_names.h"
#include "daemons/broker/pop_order.h"
#include "daemons/broker/pulled.h"
#include "daemons/broker/register.h"
#include "daemons/broker/reply.h"
#include "daemons/broker/topics.h"
#include "libmq/wire/codes.h"

enum {
	TOPIC_PAGE_MAX = 2000,    /* splitMetadataSize */
};

#define TOPIC_FIELDS(X) X(slice, topic, "topic", REQUIRED)
MQ_HEADER(topic, TOPIC_FIELDS)

/* ---- 17 ---- */

#define UPDATE_TOPIC_FIELDS(X)                                  \
	X(slice, topic,         "topic",           REQUIRED)    \
	X(slice, default_topic, "defaultTopic",    REQUIRED)    \
	X(i32,   read_queues,   "readQueueNums",   REQUIRED)    \
	X(i32,   write_queues,  "writeQueueNums",  REQUIRED)    \
	X(i32,   perm,          "perm",            REQUIRED)    \
	X(slice, filter_type,   "topicFilterType", REQUIRED)    \
	X(i32,   sys_flag,      "topicSysFlag",    OPTIONAL)    \
	X(bool,  is_order,      "order",           OPTIONAL)    \
	X(slice, attributes,    "attributes",      OPTIONAL)
MQ_HEADER(update_topic, UPDATE_TOPIC_FIELDS)

static int update_topic_check(struct broker *b, const struct update_topic_header *h, struct mq_error *err)
{
	int r = topics_check_name(h->topic, false, err);

	if (r < 0)
		return r;
	if (config_get(&b->config, validateSystemTopicWhenUpdateTopic) && topics_is_system(b->topics, h->topic))
		return mq_error_set(err, -EINVAL, "The topic[%.*s] is conflict with system topic.", MQ_FMT(h->topic));
	if (h->read_queues < 0 || h->read_queues > TOPIC_QUEUES_MAX || h->write_queues < 0 ||
	    h->write_queues > TOPIC_QUEUES_MAX)
		return mq_error_set(err, -EINVAL, "readQueueNums and writeQueueNums must be from 0 to %d",
				    TOPIC_QUEUES_MAX);
	if (h->perm < 0 || h->perm >= PERM_PRIORITY)
		return mq_error_set(err, -EINVAL, "perm %d is not valid: 2 write, 4 read, 6 both", h->perm);
	if (!config_get(&b->config, enableMixedMessageType) && h->attributes.n > 0 &&
	    memmem(h->attributes.p, h->attributes.n, "+message.type=MIXED", 19))
		return mq_error_set(err, -EINVAL, "MIXED message type is not supported.");
	return 0;
}

static void update_topic_settled(void *arg)
{
	(void)mq_reply_ok(arg);
}

/* Upstream answers when the NameServers have been told, so that the route can be asked for next. */
static int update_topic_settle(struct mq_request *req)
{
	struct broker *b = req->server;
	int r = registrar_settle(b->registrar, mq_conn_loop(req->conn), update_topic_settled, req);

	return r < 0 ? r : MQ_REQUEST_PENDING;
}

static int update_topic_make(struct mq_request *req, struct mq_error *err)
{
	struct broker *b = req->server;
	struct update_topic_header h = {};
	int r = update_topic_header_decode(&h, &req->cmd, err);

	if (r < 0)
		return r;
	return topics_update(b->topics, h.topic,
			     &(struct topic){ .read_queues = h.read_queues,
					      .write_queues = h.write_queues,
					      .perm = h.perm,
					      .sys_flag = h.sys_flag,
					      .is_order = h.is_order,
					      .is_multi_tag = mq_slice_is(h.filter_type, "MULTI_TAG") },
			     h.attributes, err);
}

static int update_topic_made(struct mq_request *req, int r, const struct mq_error *err)
{
	if (r == -EINVAL)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err->text);
	return r < 0 ? r : update_topic_settle(req);
}

int handle_update_and_create_topic(struct mq_request *req)
{
	struct broker *b = req->server;
	struct update_topic_header h = {};
	struct mq_error err = {};

	if (update_topic_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	if (!mq_slice_is(h.filter_type, "SINGLE_TAG") && !mq_slice_is(h.filter_type, "MULTI_TAG"))
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "topicFilterType = [%.*s] value invalid",
				     MQ_FMT(h.filter_type));
	if (update_topic_check(b, &h, &err) < 0)
		return mq_reply_code(req, MQ_INVALID_PARAMETER, "%s", err.text);
	return broker_change(req, update_topic_make, update_topic_made);
}

/* ---- 21 ---- */

#define ALL_TOPICS_FIELDS(X)                                    \
	X(i32,   first,   "topicSeq",    OPTIONAL)              \
	X(slice, version, "dataVersion", OPTIONAL)              \
	X(i32,   max,     "maxTopicNum", OPTIONAL)
MQ_HEADER(all_topics, ALL_TOPICS_FIELDS)

/* A page of another version of the table would not fit the pages that the peer already has: it begins anew. */
static unsigned all_topics_first(struct broker *b, const struct all_topics_header *h)
{
	struct mq_data_version v;
	char text[MQ_DATA_VERSION_TEXT];

	topics_version(b->topics, &v);
	return h->first > 0 && mq_slice_equal(h->version, mq_data_version_text(&v, text)) ? (unsigned)h->first : 0;
}

int handle_get_all_topic_config(struct mq_request *req)
{
	struct broker *b = req->server;
	struct all_topics_header h = { .first = -1 };
	struct topics_range range = {};
	struct mq_command answer;
	struct mq_error err = {};
	struct evbuffer *body;
	int n;

	if (all_topics_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	if (h.first >= 0) {
		range.first = all_topics_first(b, &h);
		range.max = h.max > 0 && h.max < TOPIC_PAGE_MAX ? (unsigned)h.max : TOPIC_PAGE_MAX;
	}
	body = evbuffer_new();
	if (!body)
		return -ENOMEM;
	n = topics_encode_table(b->topics, &range, body);
	if (n >= 0) {
		mq_request_answer(req, &answer, MQ_SUCCESS);
		mq_command_add_i64(&answer, "totalTopicNum", n);
		n = mq_reply(req, &answer, body);
	}
	evbuffer_free(body);
	return n;
}

/* ---- 351 ---- */

int handle_get_topic_config(struct mq_request *req)
{
	struct broker *b = req->server;
	struct topic_header h = {};
	struct mq_error err = {};
	struct evbuffer *body;
	int r;

	if (topic_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	body = evbuffer_new();
	if (!body)
		return -ENOMEM;
	r = topics_encode(b->topics, h.topic, body);
	if (r != -ENOENT)
		return reply_body(req, body, r);
	evbuffer_free(body);
	return mq_reply_code(req, MQ_TOPIC_NOT_EXIST, "No topic in this broker. topic: %.*s", MQ_FMT(h.topic));
}

/* ---- 215 ---- */

/* The request waits; its frame, which the topic points into, waits with it. */
struct delete_job {
	struct mq_request *req;
	struct mq_slice topic;
	int r;
};

static int delete_one(struct broker *b, struct mq_slice topic)
{
	int r = topics_delete(b->topics, topic);

	pulled_forget(b->pulled, (struct mq_slice){}, topic);
	pulled_forget(b->resets, (struct mq_slice){}, topic);
	pop_orders_forget(b->pop_orders, topic, (struct mq_slice){});
	pop_inflight_forget(b->pop_inflight, topic, (struct mq_slice){});
	if (r == 0)
		broker_topic_gone(b, topic);
	return r;
}

static void delete_on_offset(void *user, struct mq_slice group, struct mq_slice topic, int32_t queue_id, int64_t offset)
{
	names_add(user, group);
}

/* What groups popped and did not acknowledge must not come from a topic of the same name that is made later. */
static int delete_retry_topics(struct broker *b, struct mq_slice topic)
{
	static const enum pop_mark marks[] = { POP_RETRY_V2, POP_RETRY_V1 };
	_cleanup_(names_done) struct names groups = {};
	struct topic config;
	int r;

	store_offset_each(b->store, (struct mq_slice){}, topic, delete_on_offset, &groups);
	r = groups.error;
	for (unsigned i = 0; r == 0 && i < groups.n * N_ELEMENTS(marks); i++) {
		struct pop_name name;

		pop_topic(&name, marks[i % N_ELEMENTS(marks)], topic, names_at(&groups, i / N_ELEMENTS(marks)));
		if (name.n > 0 && topics_get(b->topics, pop_name_slice(&name), &config) == 0)
			r = delete_one(b, pop_name_slice(&name));
	}
	return r;
}

static void delete_work(void *arg)
{
	struct delete_job *job = arg;
	struct broker *b = job->req->server;

	/* The groups are known as long as the topic's offsets are there. */
	job->r = config_get(&b->config, clearRetryTopicWhenDeleteTopic) ? delete_retry_topics(b, job->topic) : 0;
	if (job->r == 0)
		job->r = delete_one(b, job->topic);
}

static void delete_done(void *arg)
{
	struct delete_job *job = arg;

	if (job->r < 0)
		(void)mq_reply_code(job->req, MQ_SYSTEM_ERROR, "cannot delete the topic: %s", strerror(-job->r));
	else
		(void)mq_reply_ok(job->req);
	free(job);
}

int handle_delete_topic_in_broker(struct mq_request *req)
{
	struct broker *b = req->server;
	struct topic_header h = {};
	struct mq_error err = {};
	struct delete_job *job;
	int r;

	if (topic_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	if (h.topic.n == 0)
		return mq_reply_code(req, MQ_INVALID_PARAMETER, "The specified topic is blank.");
	if (config_get(&b->config, validateSystemTopicWhenUpdateTopic) && topics_is_system(b->topics, h.topic))
		return mq_reply_code(req, MQ_INVALID_PARAMETER, "The topic[%.*s] is conflict with system topic.",
				     MQ_FMT(h.topic));
	job = calloc(1, sizeof *job);
	if (!job)
		return -ENOMEM;
	*job = (struct delete_job){ .req = req, .topic = h.topic };
	r = broker_offload_change(b, req->conn, delete_work, delete_done, job);
	if (r == 0)
		return MQ_REQUEST_PENDING;
	free(job);
	return r;
}
