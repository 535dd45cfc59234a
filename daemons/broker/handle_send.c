/* SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320); reference: protocol/requests-broker.md sections 2.1, 2.2.
 * SEND_REPLY_MESSAGE (324, 325; section 2.4): pushed to the client that asked, then stored like a message.
 *
 * send_begin() checks what needs no writing; a topic or group that must be made first is made by the thread for changes, so that the
 * loop never waits for a metadata row. send.h says where a message goes from here. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemons/broker/groups.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/locks.h"
#include "daemons/broker/push_reply.h"
#include "daemons/broker/reply.h"
#include "daemons/broker/send.h"

#define SEND_V2_FIELDS(X) SEND_LIST(X, SEND_SHORT_NAME, OPTIONAL)
MQ_HEADER(send_v2, SEND_V2_FIELDS)

union send_any_header {
	struct send_header h;
	struct send_v2_header v2; /* the same members */
};

void send_free(struct send *s)
{
	send_drop_block(s);
	free(s->fault);
	free(s);
}

struct mq_slice send_retry_group(const struct send *s)
{
	struct mq_slice prefix = MQ_SLICE(RETRY_PREFIX);

	if (!mq_slice_starts(s->h.topic, prefix))
		return (struct mq_slice){};
	return (struct mq_slice){ s->h.topic.p + prefix.n, s->h.topic.n - prefix.n };
}

struct mq_slice send_dead_topic(const struct send *s, char ret[RETRY_TOPIC_BUFFER])
{
	return retry_topic(RETRY_DEAD_PREFIX, send_retry_group(s), ret);
}

int send_refuse(struct send *s, int code, const char *fmt, ...)
{
	struct mq_request *req = s->req;
	char remark[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(remark, sizeof remark, fmt, ap);
	va_end(ap);
	send_free(s);
	return mq_reply_code(req, code, "%s", remark);
}

int send_refuse_size(struct send *s)
{
	return send_refuse(s, MQ_MESSAGE_ILLEGAL,
			   "the message is illegal, maybe msg body or properties length not matched. "
			   "msg body length limit %" PRIi64 "B, msg properties length limit 32KB.",
			   config_get(&s->broker->config, maxMessageSize));
}

int send_refuse_topic(struct send *s)
{
	return send_refuse(s, MQ_TOPIC_NOT_EXIST, "topic[%.*s] not exist, apply first please!" BROKER_FAQ, MQ_FMT(s->h.topic));
}

/* ---- Replies ---- */

static void send_pushed(void *user, const char *fault)
{
	struct send *s = user;

	if (!mq_loop_is_current(mq_conn_loop(s->req->conn))) { /* the loop is about to be freed */
		mq_reply_none(s->req);
		free(s);
		return;
	}
	if (fault) {
		s->fault = strdup(fault);
		if (!s->fault) {
			send_refuse(s, MQ_SYSTEM_ERROR, "out of memory");
			return;
		}
	}
	if (config_get(&s->broker->config, storeReplyMessageEnable) && send_store_reply(s) >= 0)
		return;
	send_answer_reply(s, false);
	send_free(s);
}

static int send_push_reply(struct send *s)
{
	int r = push_reply(s->broker, s->req, s->h.properties, send_pushed, s);

	if (r < 0)
		send_free(s);
	return r < 0 ? r : MQ_REQUEST_PENDING;
}

/* ---- Checking; the order is upstream's ---- */

static bool send_has_level(const struct send *s)
{
	int32_t level;

	return s->marks.delay_level.p && mq_parse_i32(s->marks.delay_level, &level) == 0 && level > 0;
}

static int send_check_delay(struct send *s)
{
	int r = delay_read(s->broker, &s->marks, mq_wall_ms(s->broker->clock), &s->delay);

	if (r == -EBADMSG)
		return send_refuse(s, MQ_SYSTEM_ERROR, "java.lang.NumberFormatException: For input string: \"%.*s\"",
				   MQ_FMT(s->marks.delay_level));
	if (r == -EINVAL)
		return send_refuse(s, MQ_MESSAGE_ILLEGAL,
				   "timer message illegal, the delay time should not be bigger than the max delay %" PRIi64
				   "ms; or if set del msg, the delay time should be bigger than the current time",
				   s->broker->config.timerMaxDelaySec);
	if (r < 0)
		return send_refuse(s, MQ_SYSTEM_ERROR,
				   "accurate timer message is not enabled, timerWheelEnable is false");
	/* Half messages and batches wait for nothing: delivering what asks for it now would be wrong. */
	if (s->delay.kind != DELAY_NONE && (s->marks.is_prepared || s->h.is_batch))
		return send_refuse(s, MQ_MESSAGE_ILLEGAL, "a %s cannot be delayed",
				   s->marks.is_prepared ? "transactional message" : "batch");
	return send_store(s);
}

/* Of the kinds of messages (TopicMessageType.parseFromMessageProperty) only the one that is nothing else has a priority. */
bool send_is_by_priority(const struct send *s)
{
	const struct message_marks *m = &s->marks;

	return s->priority >= 0 && !m->is_transactional && !m->delay_level.p && !m->timer_deliver_ms.p && !m->timer_delay_sec.p &&
	       !m->timer_delay_ms.p && !m->sharding_key.p;
}

/* A priority is the number of a queue, whatever the topic's type; the last one has all those beyond. */
static void send_apply_priority(struct send *s)
{
	s->priority = -1;
	if (s->h.is_batch || !s->marks.priority.p || mq_parse_i32(s->marks.priority, &s->priority) < 0)
		return;
	if (send_is_by_priority(s))
		s->h.queue_id = s->priority < s->topic.write_queues ? s->priority
				: s->topic.write_queues > 0	    ? s->topic.write_queues - 1
								    : 0;
}

static int send_check_message(struct send *s)
{
	const struct broker_config *config = &s->broker->config;
	struct mq_slice body = s->req->cmd.body;
	bool is_retry = mq_slice_starts(s->h.topic, MQ_SLICE(RETRY_PREFIX));

	message_marks_read(&s->marks, s->h.properties);
	send_apply_priority(s);
	/* One that is tried again later was committed long ago. */
	s->marks.is_prepared &= !s->h.is_batch && !s->is_dead && !(s->h.reconsume_times > 0 && send_has_level(s));
	if (s->marks.is_prepared && config_get(config, rejectTransactionMessage))
		return send_refuse(s, MQ_NO_PERMISSION,
				   "the broker[%s] sending transaction message is forbidden",
				   config->brokerIP1);
	if (s->h.is_batch && s->h.topic.n > MQ_TOPIC_V1_MAX)
		return send_refuse(s, MQ_MESSAGE_ILLEGAL, "message topic length too long %zu", s->h.topic.n);
	if (s->h.is_batch && is_retry)
		return send_refuse(s, MQ_MESSAGE_ILLEGAL, "batch request does not support retry group %.*s",
				   MQ_FMT(s->h.topic));
	if (s->h.topic.n > MQ_TOPIC_V1_MAX && !is_retry) /* HookUtils.checkBeforePutMessage */
		return send_refuse_size(s);
	if (body.n == 0 || body.n > (size_t)config_get(config, maxMessageSize) ||
	    s->h.properties.n > MQ_PROPERTIES_MAX || (s->h.is_batch && (s->h.sys_flag & MQ_SYS_TRANSACTION)))
		return send_refuse_size(s);
	return s->is_dead ? send_store(s) : send_check_delay(s);
}

static int send_check_queue(struct send *s)
{
	const struct topic *t = &s->topic;
	int32_t n_queues = t->read_queues > t->write_queues ? t->read_queues : t->write_queues;
	static _Atomic unsigned next_queue;

	if (s->h.queue_id >= n_queues)
		return send_refuse(
			s, MQ_INVALID_PARAMETER,
			"request queueId[%d] is illegal, TopicConfig [topicName=%.*s, readQueueNums=%d, "
			"writeQueueNums=%d, perm=%c%c%c, topicFilterType=%s, topicSysFlag=%d, order=%s, "
			"attributes={}] Producer: %s",
			s->h.queue_id, MQ_FMT(s->h.topic), t->read_queues, t->write_queues,
			t->perm & PERM_READ ? 'R' : '-', t->perm & PERM_WRITE ? 'W' : '-',
			t->perm & PERM_INHERIT ? 'X' : '-', t->is_multi_tag ? "MULTI_TAG" : "SINGLE_TAG",
			t->sys_flag, t->is_order ? "true" : "false", mq_conn_peer(s->req->conn)->text);
	if (s->h.queue_id < 0) {
		unsigned n = t->write_queues > 0 ? (unsigned)t->write_queues : 1;

		s->h.queue_id =
			(int32_t)(atomic_fetch_add_explicit(&next_queue, 1, memory_order_relaxed) % n);
	}
	return s->is_reply ? send_push_reply(s) : send_check_message(s);
}

/* ---- Making what is missing ---- */

/* What a topic cannot be made without, or NULL. */
static const char *send_lacks(const struct send_header *h)
{
	return h->default_queues == SEND_QUEUES_ABSENT ? "defaultTopicQueueNums" : !h->default_topic.p ? "defaultTopic" : NULL;
}

/* Decides about a message to %RETRY%group, and sees to the topic of the group's dead letters. -ENOENT: it is not there and may
 * not be made here. */
static int send_divert(struct send *s, const struct group *group, bool may_make)
{
	int32_t limit = retry_limit(group->retry_max_times, s->h.max_times, s->req->cmd.version);
	char name[RETRY_TOPIC_BUFFER];
	struct topic topic;
	struct mq_slice dead;
	int r;

	s->is_dead = retry_is_dead(s->h.reconsume_times, limit,
				   locks_has_group(s->broker->locks, send_retry_group(s)));
	if (!s->is_dead)
		return 0;
	dead = send_dead_topic(s, name);
	r = topics_get(s->broker->topics, dead, &topic);
	if (r == -ENOENT && may_make)
		r = topics_create_retry(s->broker->topics, dead, RETRY_DEAD_QUEUES, false);
	return r;
}

/* On the thread for changes: each is a row in the store. */
static void send_make(void *arg)
{
	struct send *s = arg;
	struct mq_slice group = send_retry_group(s);
	struct group config;

	s->made = topics_get(s->broker->topics, s->h.topic, &s->topic);
	if (s->made == -ENOENT && !send_lacks(&s->h)) {
		s->made = topics_create_on_send(s->broker->topics, s->h.topic, s->h.default_topic,
						s->h.default_queues, &s->topic);
		s->is_new_topic = s->made == 0;
	}
	if (s->made == -ENOENT)
		return;
	if (s->made == 0 && group.p)
		s->made = groups_get(s->broker->groups, group, &config) == -ENOENT ?
				  -ESRCH :
				  send_divert(s, &config, true);
}

static void send_made(void *arg)
{
	struct send *s = arg;
	struct mq_request *req = s->req;
	struct mq_slice group = send_retry_group(s);
	int r = s->made;

	if (r == 0)
		r = send_check_queue(s);
	else if (r == -ENOENT)
		r = send_refuse_topic(s);
	else if (r == -ESRCH)
		r = send_refuse(s, MQ_SUBSCRIPTION_GROUP_NOT_EXIST,
				"subscription group not exist, %.*s " BROKER_FAQ, MQ_FMT(group));
	else
		send_free(s);
	if (r < 0)
		broker_reply_store(req, r);
}

static int send_begin(struct mq_request *req, const struct send_header *h)
{
	struct broker *b = req->server;
	struct topic topic = {};
	struct mq_error err;
	struct group group;
	int r = topics_get(b->topics, h->topic, &topic);

	if (reply_if_busy(req))
		return 0;
	if (r == 0 && topic.is_order && !(config_get(&b->config, brokerPermission) & PERM_WRITE))
		return mq_reply_code(req, MQ_NO_PERMISSION, "the broker[%s] sending message is forbidden",
				     b->config.brokerIP1);
	if (topics_check_name(h->topic, false, &err) < 0)
		return mq_reply_code(req, MQ_INVALID_PARAMETER, "%s", err.text);
	if (topics_forbids_send(h->topic))
		return mq_reply_code(req, MQ_NO_PERMISSION, "Sending message to topic[%.*s] is forbidden.",
				     MQ_FMT(h->topic));
	if (r == -ENOENT && send_lacks(h))
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "the custom field <%s> is null", send_lacks(h));

	struct send *s = calloc(1, sizeof *s);

	if (!s)
		return -ENOMEM;
	s->req = req;
	s->broker = b;
	s->h = *h;
	s->topic = topic;
	s->is_reply = req->cmd.code == MQ_SEND_REPLY_MESSAGE || req->cmd.code == MQ_SEND_REPLY_MESSAGE_V2;
	s->began_ns = mq_mono_ns(b->clock);

	struct mq_slice retry_group = send_retry_group(s);

	if (r == 0 && (!retry_group.p || (groups_find(b->groups, retry_group, &group) == 0 &&
					  send_divert(s, &group, false) == 0)))
		return send_check_queue(s);
	r = broker_offload_change(b, req->conn, send_make, send_made, s);
	if (r < 0) {
		send_free(s);
		return r;
	}
	return MQ_REQUEST_PENDING;
}

int handle_send_message(struct mq_request *req)
{
	struct send_header h = SEND_ABSENT;
	struct mq_error err;

	if (send_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	return send_begin(req, &h);
}

int handle_send_message_v2(struct mq_request *req)
{
	union send_any_header any = { .h = SEND_ABSENT };
	struct mq_error err;

	if (send_v2_header_decode(&any.v2, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	return send_begin(req, &any.h);
}

/* Whether it is a batch is said by the field `m`, not by the code: clients set both. */
int handle_send_batch_message(struct mq_request *req)
{
	return handle_send_message_v2(req);
}
