/* INVOKE_BROKER_TO_RESET_OFFSET (222); reference: protocol/requests-broker.md section 5.3.
 *
 * useServerSideResetOffset=true: the new offsets are stored and noted in broker.resets. From then
 * on commits of clients change nothing, until the group's next pull of the queue: it is answered
 * with OFFSET_RESET and takes the note away. false, as brokers before 5.1: the members of the group
 * are told (RESET_CONSUMER_CLIENT_OFFSET, 220) and commit by themselves. */
#include <errno.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/clients.h"
#include "daemons/broker/groups.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/pulled.h"
#include "daemons/broker/reply.h"
#include "daemons/broker/topics.h"
#include "libmq/wire/body_lock.h"

#define RESET_FIELDS(X)                       \
	X(slice, topic, "topic", REQUIRED)    \
	X(slice, group, "group", REQUIRED)    \
	X(i64, at_ms, "timestamp", REQUIRED)  \
	X(bool, force, "isForce", REQUIRED)   \
	X(i32, queue_id, "queueId", OPTIONAL) \
	X(i64, offset, "offset", OPTIONAL)
MQ_HEADER(reset, RESET_FIELDS)

/* Lives until its answer. */
struct reset {
	struct broker_op op;
	struct mq_request *req;
	struct broker *broker;
	struct reset_header h;
	int r;
	unsigned n;
	struct store_offset_put puts[]; /* one per queue */
};

/* ---- Offsets by time: reads the disk ---- */

static int reset_search(struct reset *s, int32_t queue_id, int64_t *ret)
{
	struct store_queue *q = store_queue_find(s->broker->store, s->h.topic, queue_id);

	*ret = 0;
	if (!q)
		return 0;
	if (s->h.at_ms >= 0)
		return store_search_time(s->broker->store, q, s->h.at_ms, STORE_LOWER, ret);
	*ret = store_queue_max(q);
	return 0;
}

static void reset_work(void *arg)
{
	struct reset *s = arg;

	for (unsigned i = 0; i < s->n && s->r == 0; i++)
		s->r = reset_search(s, s->puts[i].queue_id, &s->puts[i].offset);
}

/* ---- Answers ---- */

static void reset_write_table(const struct reset *s, struct mq_json_writer *w)
{
	mq_json_key(w, "offsetTable");
	mq_json_open_object(w);
	for (unsigned i = 0; i < s->n; i++) {
		struct mq_queue_name name = { mq_slice_of(s->broker->config.brokerName), s->h.topic,
					      s->puts[i].queue_id };

		mq_queue_name_write(w, &name);
		mq_json_key_done(w);
		mq_json_i64_value(w, s->puts[i].offset);
	}
	mq_json_close_object(w);
}

/* MessageQueueForC: C++ clients do not read objects as keys. */
static void reset_write_list(const struct reset *s, struct mq_json_writer *w)
{
	mq_json_key(w, "offsetTable");
	mq_json_open_array(w);
	for (unsigned i = 0; i < s->n; i++) {
		mq_json_open_object(w);
		mq_json_member_string(w, "brokerName", mq_slice_of(s->broker->config.brokerName));
		mq_json_member_i64(w, "offset", s->puts[i].offset);
		mq_json_member_i64(w, "queueId", s->puts[i].queue_id);
		mq_json_member_string(w, "topic", s->h.topic);
		mq_json_close_object(w);
	}
	mq_json_close_array(w);
}

static int reset_body(const struct reset *s, bool is_list, struct evbuffer *out)
{
	struct mq_json_writer w;

	mq_json_begin(&w, out);
	mq_json_open_object(&w);
	if (is_list)
		reset_write_list(s, &w);
	else
		reset_write_table(s, &w);
	mq_json_close_object(&w);
	return mq_json_end(&w);
}

static void reset_answer(struct reset *s)
{
	struct evbuffer *body = evbuffer_new();
	int r = body ? reset_body(s, false, body) : -ENOMEM;

	if (r < 0) {
		mq_reply_code(s->req, MQ_SYSTEM_ERROR, "out of memory");
		if (body)
			evbuffer_free(body);
	} else {
		(void)reply_body(s->req, body, 0);
	}
	s->req = NULL;
}

/* ---- In the broker ---- */

static void reset_forget(struct reset *s)
{
	int64_t offset;

	for (unsigned i = 0; i < s->n; i++)
		(void)pulled_take(s->broker->resets, s->h.group, s->h.topic, s->puts[i].queue_id,
				  &offset);
}

static int reset_refuse_topic(struct mq_request *req, struct mq_slice topic)
{
	return mq_reply_code(req, MQ_TOPIC_NOT_EXIST, "Topic %.*s does not exist", MQ_FMT(topic));
}

static void reset_committed(struct broker_op *op)
{
	struct reset *s = (struct reset *)((char *)op - offsetof(struct reset, op));

	if (op->op.result < 0)
		reset_forget(s);
	if (s->req && op->op.result == -ENOENT)
		reset_refuse_topic(s->req, s->h.topic);
	else if (s->req && op->op.result < 0)
		broker_reply_store(s->req, op->op.result);
	else if (s->req)
		reset_answer(s);
	free(s);
}

/* It counts from now on, and upstream's answer never waits for the disk. */
static void reset_late(struct broker_op *op)
{
	reset_answer((struct reset *)((char *)op - offsetof(struct reset, op)));
}

/* Noted before they are stored: a commit of a client must not come between. */
static void reset_store(struct reset *s)
{
	for (unsigned i = 0; i < s->n; i++)
		if (!pulled_set(s->broker->resets, s->h.group, s->h.topic, s->puts[i].queue_id,
				s->puts[i].offset)) {
			reset_forget(s);
			mq_reply_code(s->req, MQ_SYSTEM_BUSY,
				      "too many resets wait for their consumers");
			free(s);
			return;
		}
	pulled_forget(s->broker->pulled, s->h.group, s->h.topic);
	store_op_init(&s->op.op);
	s->op.op.offset_puts = s->puts;
	s->op.op.n_offset_puts = s->n;
	s->op.done = reset_committed;
	s->op.late = reset_late;
	broker_append(broker_loop_of(s->broker, s->req->conn), &s->op);
}

/* ---- By the members of the group ---- */

static int reset_push(struct reset *s, struct mq_conn **members, unsigned n_members)
{
	bool is_list = s->req->cmd.language == MQ_CPP;
	struct evbuffer *body = evbuffer_new();
	struct mq_command cmd;
	int r;

	if (!body)
		return -ENOMEM;
	r = reset_body(s, is_list, body);
	mq_command_request(&cmd, MQ_RESET_CONSUMER_CLIENT_OFFSET);
	cmd.flag = MQ_FLAG_ONEWAY;
	mq_command_add(&cmd, "topic", s->h.topic);
	mq_command_add(&cmd, "group", s->h.group);
	mq_command_add_i64(&cmd, "timestamp", s->h.at_ms);
	mq_command_add_bool(&cmd, "isForce", false);
	mq_command_add_i64(&cmd, "queueId", -1);
	mq_command_add_i64(&cmd, "offset", -1);
	cmd.body =
	    (struct mq_slice){ (const char *)evbuffer_pullup(body, -1), evbuffer_get_length(body) };
	for (unsigned i = 0; i < n_members && r == 0; i++)
		r = mq_conn_post(members[i], &cmd);
	evbuffer_free(body);
	return r;
}

/* A reset does not skip what the group has not consumed, unless it is forced. False: the group has
 * never been at a queue. */
static bool reset_limit(struct reset *s)
{
	int64_t committed;

	for (unsigned i = 0; i < s->n; i++) {
		if (store_offset_get(s->broker->store, s->h.group, s->h.topic, s->puts[i].queue_id,
				     &committed) != 0)
			return false;
		if (!s->h.force && s->puts[i].offset > committed)
			s->puts[i].offset = committed;
	}
	return true;
}

static void reset_tell(struct reset *s)
{
	struct mq_conn **members = NULL;
	unsigned n_members = 0;
	int r;

	if (!reset_limit(s)) {
		mq_reply_code(s->req, MQ_SYSTEM_ERROR, "THe consumer group <%.*s> not exist",
			      MQ_FMT(s->h.group));
		free(s);
		return;
	}
	r = clients_consumers(s->broker->clients, s->h.group, &members, &n_members);
	if (r == 0)
		r = reset_push(s, members, n_members);
	for (unsigned i = 0; i < n_members; i++)
		mq_conn_unref(members[i]);
	free(members);
	if (r == 0)
		reset_answer(s);
	else if (r == -ENOENT)
		mq_reply_code(s->req, MQ_CONSUMER_NOT_ONLINE,
			      "Consumer not online, so can not reset offset, Group: %.*s Topic: "
			      "%.*s Timestamp: %" PRIi64,
			      MQ_FMT(s->h.group), MQ_FMT(s->h.topic), s->h.at_ms);
	else
		broker_reply_store(s->req, r);
	free(s);
}

static void reset_searched(void *arg)
{
	struct reset *s = arg;

	if (s->r < 0) {
		broker_reply_store(s->req, s->r);
		free(s);
	} else if (config_get(&s->broker->config, useServerSideResetOffset)) {
		reset_store(s);
	} else {
		reset_tell(s);
	}
}

/* ---- The request ---- */

static struct reset *reset_new(struct mq_request *req, const struct reset_header *h, uint64_t since, int32_t first, unsigned n)
{
	struct reset *s = calloc(1, sizeof *s + n * sizeof s->puts[0]);

	if (!s)
		return NULL;
	s->req = req;
	s->broker = req->server;
	s->h = *h;
	s->n = n;
	for (unsigned i = 0; i < n; i++)
		s->puts[i] = (struct store_offset_put){ .group = h->group,
							.topic = h->topic,
							.queue_id = first + (int32_t)i,
							.since = since };
	return s;
}

static int reset_start(struct mq_request *req, const struct reset_header *h, uint64_t since, int32_t first, unsigned n)
{
	struct reset *s = reset_new(req, h, since, first, n);
	int r = s ? broker_offload(s->broker, req->conn, reset_work, reset_searched, s) : -ENOMEM;

	if (r < 0)
		free(s);
	return r < 0 ? r : MQ_REQUEST_PENDING;
}

/* To an offset instead of a time. */
static int reset_to_offset(struct mq_request *req, const struct reset_header *h, uint64_t since)
{
	struct broker *b = req->server;
	struct store_queue *q = store_queue_find(b->store, h->topic, h->queue_id);
	int64_t min = q ? store_queue_min(q) : 0, max = q ? store_queue_max(q) : 0;
	struct reset *s;

	if (h->offset < min ||
	    h->offset > max + 1) /* one too many, as upstream: the next pull corrects it */
		return mq_reply_code(req, MQ_SYSTEM_ERROR,
				     "Target offset %" PRIi64
				     " not in consume queue range [%" PRIi64 "-%" PRIi64 "]",
				     h->offset, min, max);
	s = reset_new(req, h, since, h->queue_id, 1);
	if (!s)
		return -ENOMEM;
	s->puts[0].offset = h->offset;
	reset_store(s);
	return MQ_REQUEST_PENDING;
}

static int reset_in_broker(struct mq_request *req, const struct reset_header *h,
			   const struct topic *topic)
{
	struct broker *b = req->server;
	struct group group;

	if (!topic)
		return reset_refuse_topic(req, h->topic);
	if (groups_find(b->groups, h->group, &group) < 0)
		return mq_reply_code(req, MQ_SUBSCRIPTION_GROUP_NOT_EXIST,
				     "Group %.*s does not exist", MQ_FMT(h->group));
	if (h->queue_id >= 0 && h->offset != -1)
		return reset_to_offset(req, h, topic->since);
	if (h->queue_id >= 0)
		return reset_start(req, h, topic->since, h->queue_id, 1);
	if (topic->read_queues <= 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "No queues to reset.");
	return reset_start(req, h, topic->since, 0, (unsigned)topic->read_queues);
}

int handle_invoke_broker_to_reset_offset(struct mq_request *req)
{
	struct reset_header h = { .queue_id = -1, .offset = -1 };
	struct broker *b = req->server;
	struct topic topic;
	struct mq_error err;
	bool is_known;

	if (reset_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	is_known = topics_get(b->topics, h.topic, &topic) == 0;
	if (config_get(&b->config, useServerSideResetOffset))
		return reset_in_broker(req, &h, is_known ? &topic : NULL);
	if (!is_known)
		return mq_reply_code(
		    req, MQ_TOPIC_NOT_EXIST,
		    "[reset-offset] reset offset failed, no topic in this broker. topic=%.*s",
		    MQ_FMT(h.topic));
	return reset_start(req, &h, topic.since, 0, topic.write_queues > 0 ? (unsigned)topic.write_queues : 0);
}
