/* SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320); reference: protocol/requests-broker.md sections 2.1, 2.2.
 * SEND_REPLY_MESSAGE (324, 325; section 2.4): pushed to the client that asked, then stored like a message.
 *
 * send_begin() checks what needs no writing; a topic or group that must be made first is made by a reader thread, so that the
 * loop never waits for a metadata row. send_store() builds the records: heads and tails in one block, bodies stay in the
 * frame. They join the loop's turn, and send_committed() answers. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/groups.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/locks.h"
#include "daemons/broker/message.h"
#include "daemons/broker/push_reply.h"
#include "daemons/broker/recall.h"
#include "daemons/broker/register.h"
#include "daemons/broker/reply.h"
#include "daemons/broker/retry.h"
#include "daemons/broker/stats.h"
#include "daemons/broker/topics.h"
#include "libmq/wire/fields.h"
#include "libmq/wire/record.h"

enum {
	/* Bytes that the records of a batch may have beyond maxMessageSize (MessageExtEncoder). */
	SEND_RECORD_ALLOWANCE = 64 << 10,
};

#define SEND_LIST(X, NAME)                                                   \
	X(slice, group, NAME("producerGroup", "a"), REQUIRED)                \
	X(slice, topic, NAME("topic", "b"), REQUIRED)                        \
	X(slice, default_topic, NAME("defaultTopic", "c"), REQUIRED)         \
	X(i32, default_queues, NAME("defaultTopicQueueNums", "d"), REQUIRED) \
	X(i32, queue_id, NAME("queueId", "e"), REQUIRED)                     \
	X(i32, sys_flag, NAME("sysFlag", "f"), REQUIRED)                     \
	X(i64, born_at_ms, NAME("bornTimestamp", "g"), REQUIRED)             \
	X(i32, flag, NAME("flag", "h"), REQUIRED)                            \
	X(slice, properties, NAME("properties", "i"), OPTIONAL)              \
	X(i32, reconsume_times, NAME("reconsumeTimes", "j"), OPTIONAL)       \
	X(i32, max_times, NAME("maxReconsumeTimes", "l"), OPTIONAL)          \
	X(bool, is_batch, NAME("batch", "m"), OPTIONAL)
#define SEND_LONG_NAME(v1, v2)  v1
#define SEND_SHORT_NAME(v1, v2) v2
#define SEND_FIELDS(X)          SEND_LIST(X, SEND_LONG_NAME)
#define SEND_V2_FIELDS(X)       SEND_LIST(X, SEND_SHORT_NAME)
MQ_HEADER(send, SEND_FIELDS)
MQ_HEADER(send_v2, SEND_V2_FIELDS)

union send_any_header {
	struct send_header h;
	struct send_v2_header v2; /* the same members */
};

struct send {
	struct broker_op op;
	struct mq_request *req;
	struct broker *broker;
	struct send_header h;
	struct topic topic;
	int made;                   /* of send_make(): 0 or negative errno */
	bool is_new_topic;          /* made for this message */
	bool is_dead;               /* sent to %RETRY%group once too often: goes to %DLQ%group */
	bool is_reply;
	char *fault;                /* owned; why a reply did not reach the client, NULL: it did */
	struct message_marks marks; /* of h.properties */
	struct delay delay;
	char own_uniq_key[MQ_MESSAGE_ID_MAX];
	struct store_record *records; /* owned: the block with records, heads and tails */
	size_t n_block;               /* bytes of it */
	unsigned n_messages;
	int64_t began_ns;
};

static void send_drop_block(struct send *s)
{
	if (s->records)
		mq_conn_release(s->req->conn, s->n_block);
	free(s->records);
	s->records = NULL;
}

static void send_free(struct send *s)
{
	send_drop_block(s);
	free(s->fault);
	free(s);
}

/* Of a message that is tried again: the group. p NULL: it is none. */
static struct mq_slice send_retry_group(const struct send *s)
{
	struct mq_slice prefix = MQ_SLICE(MESSAGE_RETRY_PREFIX);

	if (!mq_slice_starts(s->h.topic, prefix))
		return (struct mq_slice){};
	return (struct mq_slice){ s->h.topic.p + prefix.n, s->h.topic.n - prefix.n };
}

static int send_refuse(struct send *s, int code, const char *fmt, ...) _printf_(3, 4);
static int send_refuse(struct send *s, int code, const char *fmt, ...)
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

static int send_refuse_size(struct send *s)
{
	return send_refuse(s, MQ_MESSAGE_ILLEGAL,
			   "the message is illegal, maybe msg body or properties length not matched. "
			   "msg body length limit %" PRIi64 "B, msg properties length limit 32KB.",
			   config_get(&s->broker->config, maxMessageSize));
}

/* ---- Storing ---- */

/* Upper limits for the block that holds everything but the bodies. */
struct send_sizes {
	unsigned n;
	size_t tails, records;
};

static void send_sizes_add(struct send_sizes *sizes, const struct send *s, struct mq_slice topic,
			   struct mq_slice properties, size_t n_body, const struct message_additions *more)
{
	size_t tail =
		message_tail_bound(topic, message_properties_bound(&s->broker->config, properties, more));

	sizes->n++;
	sizes->tails += tail;
	sizes->records += MQ_RECORD_HEAD_MAX + n_body + tail;
}

static char *send_heads(const struct send *s)
{
	return (char *)(s->records + s->n_messages);
}

static char *send_tails(const struct send *s)
{
	return send_heads(s) + (size_t)s->n_messages * MQ_RECORD_HEAD_MAX;
}

static int send_take_block(struct send *s, const struct send_sizes *sizes)
{
	size_t n = sizes->n * (sizeof *s->records + MQ_RECORD_HEAD_MAX) + sizes->tails;

	s->records = malloc(n);
	if (!s->records)
		return -ENOMEM;
	s->n_messages = sizes->n;
	s->n_block = n;
	mq_conn_charge(s->req->conn, n);
	return 0;
}

static struct mq_record send_record(const struct send *s)
{
	const struct send_header *h = &s->h;

	return (struct mq_record){
		.queue_id = h->queue_id,
		.flag = h->flag,
		.sys_flag = h->sys_flag | (s->topic.is_multi_tag ? MQ_SYS_MULTI_TAGS : 0),
		.born_at_ms = h->born_at_ms,
		.born_host = mq_conn_peer(s->req->conn)->host,
		.store_host = s->broker->store_host,
		.reconsume_times = h->reconsume_times,
		.topic = h->topic,
	};
}

/* Puts message number i into the block and returns the bytes of its tail. */
static size_t send_put(struct send *s, unsigned i, struct mq_record *rec, const struct message_marks *marks,
		       char *tail)
{
	rec->body_crc = mq_body_crc(rec->body);
	return message_record_encode(rec, marks, send_heads(s) + (size_t)i * MQ_RECORD_HEAD_MAX, tail,
				     &s->records[i]);
}

/* Shorter than the name of the retry topic, so it always fits. */
static struct mq_slice send_dead_topic(const struct send *s, char ret[RETRY_TOPIC_BUFFER])
{
	return retry_topic(RETRY_DEAD_PREFIX, send_retry_group(s), ret);
}

static int send_put_one(struct send *s)
{
	char dead_topic[RETRY_TOPIC_BUFFER];
	struct message_additions more = {};
	struct mq_record rec = send_record(s);
	struct send_sizes sizes = {};
	char text[MQ_PROPERTIES_MAX];
	size_t n;
	int r;

	rec.body = s->req->cmd.body;
	if (!s->marks.uniq_key.p) {
		mq_unique_id(&s->broker->store_host, s->req->received_at_ms, s->own_uniq_key);
		more.uniq_key = s->marks.uniq_key = mq_slice_of(s->own_uniq_key);
	}
	if (s->marks.is_prepared) {
		more.real_topic = rec.topic;
		more.real_queue_id = rec.queue_id;
		more.transaction_id = s->marks.uniq_key;
		rec.topic = MQ_SLICE(MESSAGE_HALF_TOPIC);
		rec.queue_id = 0;
		rec.sys_flag &= ~MQ_SYS_TRANSACTION;
	}
	if (s->is_dead) {
		rec.topic = send_dead_topic(s, dead_topic);
		rec.queue_id = 0;
		more.is_dead = true;
	}
	if (s->delay.kind != DELAY_NONE)
		delay_redirect(&s->delay, &rec, &more);
	send_sizes_add(&sizes, s, rec.topic, s->h.properties, rec.body.n, &more);
	r = send_take_block(s, &sizes);
	if (r < 0)
		return r;
	n = message_properties_encode(&s->broker->config, s->h.properties, &more, text);
	if (n == 0)
		return -EMSGSIZE;
	rec.properties = (struct mq_slice){ text, n };
	send_put(s, 0, &rec, &s->marks, send_tails(s));
	s->records[0].is_half = s->marks.is_prepared;
	if (s->delay.kind != DELAY_NONE)
		delay_arm(&s->delay, &s->records[0]);
	return store_queue_open(s->broker->store, rec.topic, rec.queue_id, &s->records[0].queue);
}

/* As upstream stores it: the sender's properties, MSG_REGION and TRACE_ON. The sysFlag is kept, too: upstream stores 0, and who
 * reads a compressed reply from the topic cannot tell. */
static int send_put_reply(struct send *s)
{
	const struct broker_config *config = &s->broker->config;
	_cleanup_(freep) char *text = malloc(push_reply_properties_bound(config, s->h.properties));
	struct mq_record rec = send_record(s);
	struct send_sizes sizes = {};
	int r;

	if (!text)
		return -ENOMEM;
	rec.body = s->req->cmd.body;
	rec.sys_flag &= ~MQ_SYS_TRANSACTION;
	rec.properties = (struct mq_slice){ text, push_reply_properties(config, s->h.properties, -1, text) };
	if (rec.body.n == 0 || rec.body.n > (size_t)config_get(config, maxMessageSize) ||
	    rec.properties.n > MQ_PROPERTIES_MAX)
		return -EMSGSIZE;
	message_marks_read(&s->marks, s->h.properties);
	send_sizes_add(&sizes, s, rec.topic, rec.properties, rec.body.n, &(struct message_additions){});
	r = send_take_block(s, &sizes);
	if (r < 0)
		return r;
	send_put(s, 0, &rec, &s->marks, send_tails(s));
	return store_queue_open(s->broker->store, rec.topic, rec.queue_id, &s->records[0].queue);
}

/* Walks the batch once to know how much it needs. -EBADMSG: not a batch; -EMSGSIZE: an entry or all of it is too large. */
static int send_measure_batch(const struct send *s, struct send_sizes *ret)
{
	const size_t max_body = (size_t)config_get(&s->broker->config, maxMessageSize);
	struct mq_slice rest = s->req->cmd.body;
	struct mq_batch_entry e;
	int n;

	while ((n = mq_batch_next(rest, &e)) > 0) {
		send_sizes_add(ret, s, s->h.topic, e.properties, e.body.n, &(struct message_additions){});
		if (e.body.n > max_body || ret->records > max_body + SEND_RECORD_ALLOWANCE)
			return -EMSGSIZE;
		rest = (struct mq_slice){ rest.p + n, rest.n - (size_t)n };
	}
	return n < 0 ? n : ret->n == 0 ? -EBADMSG : 0;
}

static int send_put_batch(struct send *s)
{
	struct mq_record rec = send_record(s);
	struct mq_slice rest = s->req->cmd.body;
	struct send_sizes sizes = {};
	struct store_queue *queue;
	struct mq_batch_entry e;
	char *tail;
	int r;

	r = send_measure_batch(s, &sizes);
	if (r == 0)
		r = store_queue_open(s->broker->store, rec.topic, rec.queue_id, &queue);
	if (r == 0)
		r = send_take_block(s, &sizes);
	if (r < 0)
		return r;
	tail = send_tails(s);
	for (unsigned i = 0; i < s->n_messages; i++) {
		struct message_marks marks;
		int n = mq_batch_next(rest, &e);

		message_marks_read(&marks, e.properties);
		rec.flag = e.flag;
		rec.body = e.body;
		/* As they came: MessageExtEncoder of 5.5 adds nothing to the properties of a batch. */
		rec.properties = e.properties;
		tail += send_put(s, i, &rec, &marks, tail);
		s->records[i].queue = queue;
		rest = (struct mq_slice){ rest.p + n, rest.n - (size_t)n };
	}
	return 0;
}

static void send_committed(struct broker_op *op);
static void send_late(struct broker_op *op);

static int send_append(struct send *s)
{
	store_op_init(&s->op.op);
	s->op.op.records = s->records;
	s->op.op.n_records = s->n_messages;
	s->op.op.no_wait = !s->marks.wants_wait;
	s->op.done = send_committed;
	s->op.late = s->is_reply ? NULL : send_late;
	broker_append(broker_loop_of(s->broker, s->req->conn), &s->op);
	return MQ_REQUEST_PENDING;
}

static int send_store(struct send *s)
{
	int r = s->h.is_batch ? send_put_batch(s) : send_put_one(s);

	if (r == -EMSGSIZE || r == -EBADMSG)
		return send_refuse_size(s);
	if (r < 0) {
		send_free(s);
		return r;
	}
	return send_append(s);
}

/* "id,id,...", in the order of the messages. NULL: out of memory. */
static char *send_message_ids(const struct send *s)
{
	char *text = malloc((size_t)s->n_messages * MQ_MESSAGE_ID_MAX), *p = text;

	for (unsigned i = 0; text && i < s->n_messages; i++) {
		mq_message_id_encode(&s->broker->store_host, s->records[i].locator, p);
		p += strlen(p);
		if (i + 1 < s->n_messages)
			*p++ = ',';
	}
	return text;
}

/* What became of the push, and where the reply was stored, if it was (handlePushReplyResult). */
static int send_answer_reply(struct send *s, bool is_stored)
{
	char id[MQ_MESSAGE_ID_MAX] = "0";
	struct mq_command answer;

	mq_request_answer(s->req, &answer, s->fault ? MQ_SYSTEM_ERROR : MQ_SUCCESS);
	if (s->fault)
		answer.remark = mq_slice_of(s->fault);
	if (is_stored)
		mq_message_id_encode(&s->broker->store_host, s->records[0].locator, id);
	if (is_stored || !s->fault) {
		mq_command_add(&answer, "msgId", mq_slice_of(id));
		mq_command_add_i64(&answer, "queueId", s->h.queue_id);
		mq_command_add_i64(&answer, "queueOffset", is_stored ? s->records[0].queue_offset : 0);
	}
	return mq_reply(s->req, &answer, NULL);
}

static int send_answer(struct send *s, int code)
{
	_cleanup_(freep) char *ids = NULL;
	char id[MQ_MESSAGE_ID_MAX], handle[RECALL_HANDLE_MAX];
	struct mq_command answer;
	/* Upstream keeps such a batch as one record. Here each message has its own; the producer is told the same. */
	bool is_inner_batch = s->h.is_batch && s->topic.is_batch_queue && s->marks.uniq_key.p;

	mq_request_answer(s->req, &answer, code);
	if (s->n_messages == 1 || is_inner_batch) {
		mq_message_id_encode(&s->broker->store_host, s->records[0].locator, id);
	} else {
		ids = send_message_ids(s);
		if (!ids)
			return mq_reply_code(s->req, MQ_SYSTEM_ERROR,
					     "stored, but out of memory for the answer");
	}
	mq_command_add(&answer, "msgId", mq_slice_of(ids ? ids : id));
	mq_command_add_i64(&answer, "queueId", s->h.queue_id);
	mq_command_add_i64(&answer, "queueOffset", s->records[0].queue_offset);
	if (s->marks.uniq_key.p)
		mq_command_add(&answer, "transactionId", s->marks.uniq_key);
	if (is_inner_batch)
		mq_command_add(&answer, "batchUniqId", s->marks.uniq_key);
	/* As upstream: a millisecond into the slot that was rounded to, and none for what is tried again. */
	if (s->delay.kind == DELAY_TIMER && !send_retry_group(s).p &&
	    recall_encode(s->h.topic, mq_slice_of(s->broker->config.brokerName), s->delay.out_ms + 1, s->marks.uniq_key, handle) > 0)
		mq_command_add(&answer, "recallHandle", mq_slice_of(handle));
	return mq_reply(s->req, &answer, NULL);
}

static void send_answered(void *arg)
{
	struct send *s = arg;

	if (s->is_reply)
		send_answer_reply(s, true);
	else
		send_answer(s, MQ_SUCCESS);
	free(s->records);
	free(s->fault);
	free(s);
}

static void send_count(const struct send *s)
{
	struct broker *b = s->broker;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < s->n_messages; i++)
		bytes += s->records[i].n_head + s->records[i].body.n + s->records[i].tail.n;
	stats_put(b->stats, s->n_messages, bytes, (mq_mono_ns(b->clock) - s->began_ns) / 1000);
}

/* Stored and on its way to consumers, but the disk does not have it after syncFlushTimeout. Whoever sends again risks a second
 * copy, so the answer tells where this one is; that it was answered, send_committed() sees by the request. */
static void send_late(struct broker_op *op)
{
	struct send *s = (struct send *)((char *)op - offsetof(struct send, op));

	mq_conn_release(s->req->conn, s->n_block);
	send_answer(s, MQ_FLUSH_DISK_TIMEOUT);
	s->req = NULL;
}

static void send_committed(struct broker_op *op)
{
	struct send *s = (struct send *)((char *)op - offsetof(struct send, op));
	struct broker *b = s->broker;
	struct mq_request *req = s->req;
	int r = op->op.result;

	if (!req) { /* answered by send_late() */
		if (r == 0)
			send_count(s);
		free(s->records);
		free(s);
		return;
	}
	/* Before the answer, which may be the last that holds the connection. */
	mq_conn_release(req->conn, s->n_block);
	if (r == 0) {
		send_count(s);
		/* As upstream: who made a topic by sending to it may ask a NameServer for its route next. */
		if (!s->is_new_topic || mq_request_is_oneway(req) ||
		    registrar_settle(b->registrar, mq_conn_loop(req->conn), send_answered, s) < 0)
			send_answered(s);
		return;
	}
	stats_put_failed(b->stats);
	if (s->is_reply)
		send_answer_reply(s, false);
	else if (r == -ENOENT) /* deleted while the message was on its way */
		mq_reply_code(req, MQ_TOPIC_NOT_EXIST, "topic[%.*s] not exist, apply first please!" BROKER_FAQ,
			      MQ_FMT(s->h.topic));
	else
		broker_reply_store(req, r);
	free(s->records);
	free(s->fault);
	free(s);
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
	if (config_get(&s->broker->config, storeReplyMessageEnable) && send_put_reply(s) == 0) {
		send_append(s);
		return;
	}
	send_drop_block(s);
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

static int send_check_message(struct send *s)
{
	const struct broker_config *config = &s->broker->config;
	struct mq_slice body = s->req->cmd.body;
	bool is_retry = mq_slice_starts(s->h.topic, MQ_SLICE(MESSAGE_RETRY_PREFIX));

	message_marks_read(&s->marks, s->h.properties);
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

/* On a reader thread: each change is a row in the store. */
static void send_make(void *arg)
{
	struct send *s = arg;
	struct mq_slice group = send_retry_group(s);
	struct group config;

	s->made = topics_get(s->broker->topics, s->h.topic, &s->topic);
	if (s->made == -ENOENT) {
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
		r = send_refuse(s, MQ_TOPIC_NOT_EXIST,
				"topic[%.*s] not exist, apply first please!" BROKER_FAQ, MQ_FMT(s->h.topic));
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
	r = broker_offload(b, req->conn, send_make, send_made, s);
	if (r < 0) {
		send_free(s);
		return r;
	}
	return MQ_REQUEST_PENDING;
}

int handle_send_message(struct mq_request *req)
{
	struct send_header h = { .max_times = RETRY_TIMES_ABSENT };
	struct mq_error err;

	if (send_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	return send_begin(req, &h);
}

int handle_send_message_v2(struct mq_request *req)
{
	union send_any_header any = { .h.max_times = RETRY_TIMES_ABSENT };
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
