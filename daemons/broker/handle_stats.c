/* Offsets of topics and groups (AdminBrokerProcessor; requests-broker.md 5.1 and 5.3). Store times may have to be read
 * from the disk, so the answers are made on a reader. */
#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/clients.h"
#include "daemons/broker/filter_sql.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/names.h"
#include "daemons/broker/pulled.h"
#include "daemons/broker/reply.h"
#include "daemons/broker/topics.h"
#include "libmq/wire/body_stats.h"
#include "libmq/wire/codes.h"

/* The request waits; its frame, which the slices point into, waits with it. */
struct stats_job {
	struct mq_request *req;
	struct mq_slice topic;  /* 202 */
	int32_t n_queues;
	struct mq_slice group;  /* 208 */
	struct names topics;
	struct evbuffer *out;   /* owned */
	int r;
};

static struct stats_job *stats_job_free(struct stats_job *job)
{
	if (!job)
		return NULL;
	names_done(&job->topics);
	if (job->out)
		evbuffer_free(job->out);
	free(job);
	return NULL;
}

static struct stats_job *stats_job_new(struct mq_request *req)
{
	struct stats_job *job = calloc(1, sizeof *job);

	if (!job)
		return NULL;
	job->req = req;
	job->out = evbuffer_new();
	return job->out ? job : stats_job_free(job);
}

static void stats_job_done(void *arg)
{
	struct stats_job *job = arg;

	if (job->r < 0)
		(void)mq_reply_code(job->req, MQ_SYSTEM_ERROR, "%s", strerror(-job->r));
	else
		(void)reply_body(job->req, TAKE(job->out), 0);
	stats_job_free(job);
}

/* Takes over the job. */
static int stats_job_start(struct stats_job *job, void (*work)(void *arg))
{
	int r = job->topics.error;

	if (r == 0)
		r = broker_offload(job->req->server, job->req->conn, work, stats_job_done, job);
	if (r == 0)
		return MQ_REQUEST_PENDING;
	stats_job_free(job);
	return r;
}

/* ---- 202 ---- */

static struct mq_topic_offset topic_stats_of(struct broker *b, struct mq_slice topic, int32_t queue_id)
{
	struct store_queue *q = store_queue_find(b->store, topic, queue_id);
	struct mq_topic_offset o = {};
	int64_t at_ms;

	if (!q)
		return o;
	o.min = store_queue_min(q);
	o.max = store_queue_max(q);
	if (o.max > 0) {
		at_ms = store_time_at(b->store, q, o.max - 1);
		o.last_update_ms = at_ms > 0 ? at_ms : 0;
	}
	return o;
}

static void topic_stats_work(void *arg)
{
	struct stats_job *job = arg;
	struct broker *b = job->req->server;
	struct mq_json_writer w;

	mq_json_begin(&w, job->out);
	mq_json_open_object(&w);
	mq_json_key(&w, "offsetTable");
	mq_json_open_object(&w);
	for (int32_t i = 0; i < job->n_queues; i++) {
		struct mq_queue_name name = { .broker = mq_slice_of(b->config.brokerName), .topic = job->topic, .id = i };
		struct mq_topic_offset o = topic_stats_of(b, job->topic, i);

		mq_topic_offset_write(&w, &name, &o);
	}
	mq_json_close_object(&w);
	mq_json_member_double(&w, "topicPutTps", 0.0);
	mq_json_close_object(&w);
	job->r = mq_json_end(&w);
}

#define TOPIC_FIELDS(X) X(slice, topic, "topic", REQUIRED)
MQ_HEADER(topic, TOPIC_FIELDS)

int handle_get_topic_stats_info(struct mq_request *req)
{
	struct broker *b = req->server;
	struct topic_header h = {};
	struct mq_error err = {};
	struct stats_job *job;
	struct topic topic;

	if (topic_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	if (topics_get(b->topics, h.topic, &topic) < 0)
		return mq_reply_code(req, MQ_TOPIC_NOT_EXIST, "topic[%.*s] not exist", MQ_FMT(h.topic));
	job = stats_job_new(req);
	if (!job)
		return -ENOMEM;
	job->topic = h.topic;
	job->n_queues = topic.read_queues > topic.write_queues ? topic.read_queues : topic.write_queues;
	return stats_job_start(job, topic_stats_work);
}

/* ---- 208 ---- */

#define CONSUME_STATS_FIELDS(X)                                 \
	X(slice, group,  "consumerGroup", REQUIRED)             \
	X(slice, topic,  "topic",         OPTIONAL)             \
	X(slice, topics, "topicList",     OPTIONAL)
MQ_HEADER(consume_stats, CONSUME_STATS_FIELDS)

static void consume_stats_topic_of_offset(void *user, struct mq_slice group, struct mq_slice topic, int32_t queue_id,
					  int64_t offset)
{
	names_add(user, topic);
}

/* The given list; else the one topic; else all that the group has offsets for. An empty topic counts as absent: mqadmin
 * sends it. */
static void consume_stats_pick(struct broker *b, const struct consume_stats_header *h, struct names *topics)
{
	struct mq_slice rest = h->topics;

	while (rest.n > 0) {
		const char *end = memchr(rest.p, ';', rest.n);
		size_t n = end ? (size_t)(end - rest.p) : rest.n;

		if (n > 0)
			names_add(topics, (struct mq_slice){ rest.p, n });
		rest = (struct mq_slice){ rest.p + n, rest.n - n };
		if (rest.n > 0)
			rest = (struct mq_slice){ rest.p + 1, rest.n - 1 };
	}
	if (topics->n > 0)
		return;
	if (h->topic.n > 0)
		names_add(topics, h->topic);
	else if (h->group.n > 0)
		store_offset_each(b->store, h->group, (struct mq_slice){}, consume_stats_topic_of_offset, topics);
}

static struct mq_consume_offset consume_stats_of(struct broker *b, struct mq_slice group, struct mq_slice topic,
						 int32_t queue_id)
{
	struct store_queue *q = store_queue_find(b->store, topic, queue_id);
	struct mq_consume_offset o = {};
	int64_t at_ms;

	o.broker_offset = q ? store_queue_max(q) : 0;
	if (store_offset_get(b->store, group, topic, queue_id, &o.consumer_offset) != 0 || o.consumer_offset < 0)
		o.consumer_offset = 0;
	o.pull_offset = pulled_get(b->pulled, group, topic, queue_id);
	if (o.pull_offset < o.consumer_offset)
		o.pull_offset = o.consumer_offset;
	if (q && o.consumer_offset > 0) {
		at_ms = store_time_at(b->store, q, o.consumer_offset - 1);
		o.last_ms = at_ms > 0 ? at_ms : 0;
	}
	return o;
}

static void consume_stats_write_topic(const struct stats_job *job, struct mq_json_writer *w, struct mq_slice topic)
{
	struct broker *b = job->req->server;
	struct subscription subscription = {};
	enum subscription_state state;
	struct topic config;

	if (topics_get(b->topics, topic, &config) < 0)
		return;
	/* A group that is online, but not subscribed to it any more, has stopped consuming it: old offsets do not
	 * count. */
	state = clients_subscription(b->clients, job->group, topic, &subscription);
	filter_sql_unref(subscription.sql);
	if (state == SUBSCRIPTION_NONE)
		return;
	for (int32_t i = 0; i < config.read_queues; i++) {
		struct mq_queue_name name = { .broker = mq_slice_of(b->config.brokerName), .topic = topic, .id = i };
		struct mq_consume_offset o = consume_stats_of(b, job->group, topic, i);

		mq_consume_offset_write(w, &name, &o);
	}
}

static void consume_stats_work(void *arg)
{
	struct stats_job *job = arg;
	struct mq_json_writer w;

	mq_json_begin(&w, job->out);
	mq_json_open_object(&w);
	mq_json_member_double(&w, "consumeTps", 0.0);
	mq_json_key(&w, "offsetTable");
	mq_json_open_object(&w);
	for (unsigned i = 0; i < job->topics.n; i++)
		consume_stats_write_topic(job, &w, names_at(&job->topics, i));
	mq_json_close_object(&w);
	mq_json_close_object(&w);
	job->r = mq_json_end(&w);
}

int handle_get_consume_stats(struct mq_request *req)
{
	struct broker *b = req->server;
	struct consume_stats_header h = {};
	struct mq_error err = {};
	struct stats_job *job;

	if (consume_stats_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	job = stats_job_new(req);
	if (!job)
		return -ENOMEM;
	job->group = h.group;
	consume_stats_pick(b, &h, &job->topics);
	return stats_job_start(job, consume_stats_work);
}
