/* CONSUMER_SEND_MSG_BACK (36); reference: protocol/requests-broker.md section 2.3, behaviour.md
 * section 6.
 *
 * back_prepare() finds the group, its topics and the message: on the loop when all of it is in
 * memory, else on a reader thread; and on that for changes as soon as something is to be made. back_found() stores the
 * message anew, back_committed() answers. The rules are in retry.c.
 *
 * The message as it was delivered stays where it is; the consumer's offset passes it once this is
 * answered. So it comes again when the answer is lost, and it is never lost: the answer waits for
 * the disk as any send's does, though the copy says WAIT=false. A disk that takes longer than
 * syncFlushTimeout does not make it a failure: upstream waits for none, and a client that is
 * refused sends a copy of its own. The offset that passes the message is behind it in the log. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/delay.h"
#include "daemons/broker/groups.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/message.h"
#include "daemons/broker/reply.h"
#include "daemons/broker/retry.h"
#include "daemons/broker/stats.h"
#include "daemons/broker/topics.h"

#define BACK_FIELDS(X)                        \
	X(i64, locator, "offset", REQUIRED)   \
	X(slice, group, "group", REQUIRED)    \
	X(i32, level, "delayLevel", REQUIRED) \
	X(i32, max_times, "maxReconsumeTimes", OPTIONAL)
MQ_HEADER(back, BACK_FIELDS)

enum { BACK_REMARK_MAX = 512 };

struct back {
	struct broker_op op;
	struct mq_request *req;
	struct broker *broker;
	struct back_header h;
	int64_t began_ns;

	bool may_change;	      /* it is on the thread for changes */

	/* of back_prepare(): */
	bool wants_change;	      /* a group or a topic is to be made */
	int result;		      /* 0, STORE_WOULD_BLOCK, a negative errno, or BACK_ANSWERED */
	int code;		      /* the answer, when result is BACK_ANSWERED */
	char remark[BACK_REMARK_MAX]; /* "": none */
	struct group group;
	char *message; /* owned; as stored */
	size_t n_message;
	struct mq_record rec; /* message, decoded */
	struct retry_fate fate;
	char topic_name[RETRY_TOPIC_BUFFER];
	struct mq_slice topic; /* where it goes; in topic_name */
	unsigned n_deletions;  /* of topics, when it was looked at */

	struct store_record record;
	char head[MQ_RECORD_HEAD_MAX];
	char *tail;	  /* owned */
	size_t n_charged; /* bytes of message and tail */
};

enum { BACK_ANSWERED = 2 };

static int back_refuse(struct back *b, int code, const char *fmt, ...) _printf_(3, 4);

/* Notes the answer; any thread. */
static int back_refuse(struct back *b, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(b->remark, sizeof b->remark, fmt, ap);
	va_end(ap);
	b->code = code;
	return BACK_ANSWERED;
}

static void back_answer(struct back *b, int r)
{
	struct mq_request *req = b->req;

	/* Before the answer, which may be the last that holds the connection. */
	mq_conn_release(req->conn, b->n_charged);
	if (r == BACK_ANSWERED)
		mq_reply_code(req, b->code, b->remark[0] ? "%s" : NULL, b->remark);
	else if (r < 0)
		broker_reply_store(req, r);
	else
		mq_reply_ok(req);
	b->req = NULL;
}

/* Answers what came of it, unless that was done, and ends. Loop thread, as is all that follows back_prepare(). */
static int back_end(struct back *b, int r)
{
	if (b->req)
		back_answer(b, r);
	free(b->message);
	free(b->tail);
	free(b);
	return 0;
}

/* ---- Finding ---- */

/* Making something is a row in the store, which is for the thread for changes only. */
static int back_wants_change(struct back *b)
{
	b->wants_change = true;
	return STORE_WOULD_BLOCK;
}

/* A configuration or STORE_WOULD_BLOCK. */
static int back_find_group(struct back *b)
{
	int r = groups_find(b->broker->groups, b->h.group, &b->group);

	if (r == -ENOENT && !b->may_change)
		return back_wants_change(b);
	if (r == -ENOENT)
		r = groups_get(b->broker->groups, b->h.group, &b->group);
	if (r == -ENOENT)
		return back_refuse(b, MQ_SUBSCRIPTION_GROUP_NOT_EXIST,
				   "subscription group not exist, %.*s " BROKER_FAQ,
				   MQ_FMT(b->h.group));
	return r;
}

/* Names b->topic, which may be made with so many queues. */
static int back_find_topic(struct back *b, const char *prefix, int32_t queues, struct topic *ret)
{
	struct topics *topics = b->broker->topics;
	int r;

	b->topic = retry_topic(prefix, b->h.group, b->topic_name);
	if (b->topic.n == 0)
		return back_refuse(b, MQ_SYSTEM_ERROR, "MESSAGE_ILLEGAL");
	r = topics_get(topics, b->topic, ret);
	if (r == -ENOENT && !b->may_change)
		return back_wants_change(b);
	if (r == -ENOENT)
		r = topics_create_retry(topics, b->topic, queues, false);
	if (r == 0)
		r = topics_get(topics, b->topic, ret);
	if (r == -ENOENT)
		return back_refuse(b, MQ_SYSTEM_ERROR, "topic[%.*s] not exist", MQ_FMT(b->topic));
	return r;
}

static enum store_verdict back_on_record(void *user, int64_t queue_offset, int64_t tag_hash,
					 struct mq_slice record)
{
	struct back *b = user;

	b->message = malloc(record.n);
	if (b->message) {
		memcpy(b->message, record.p, record.n);
		b->n_message = record.n;
	}
	return STORE_STOP;
}

static int back_find_message(struct back *b, enum store_tier tier)
{
	int r;

	if (b->message) /* found before a topic was missing */
		return 0;
	r = b->h.locator < 0 ? -ENOENT
			     : store_get(b->broker->store, b->h.locator, tier, back_on_record, b);
	if (r == 0 && !b->message)
		return -ENOMEM;
	if (r == 0 && mq_record_decode((struct mq_slice){ b->message, b->n_message }, &b->rec) < 0)
		return -EBADMSG;
	if (r == -ENOENT)
		return back_refuse(b, MQ_SYSTEM_ERROR, "look message by offset failed, %" PRIi64,
				   b->h.locator);
	return r;
}

/* In upstream's order. */
static int back_prepare(struct back *b, enum store_tier tier)
{
	const struct broker_config *config = &b->broker->config;
	struct topic topic = {};
	int r;

	r = back_find_group(b);
	if (r != 0)
		return r;
	if (!(config_get(config, brokerPermission) & PERM_WRITE))
		return back_refuse(b, MQ_NO_PERMISSION,
				   "the broker[%s] sending message is forbidden",
				   config->brokerIP1);
	if (b->group.retry_queues <= 0)
		return back_refuse(b, MQ_SUCCESS, "%s", ""); /* the group wants nothing again */
	r = back_find_topic(b, RETRY_PREFIX, b->group.retry_queues, &topic);
	b->n_deletions = topic.n_deletions;
	if (r != 0)
		return r;
	if (!(topic.perm & PERM_WRITE))
		return back_refuse(b, MQ_NO_PERMISSION,
				   "the topic[%.*s] sending message is forbidden",
				   MQ_FMT(b->topic));
	r = back_find_message(b, tier);
	if (r != 0)
		return r;
	b->fate = retry_fate_sent_back(
	    b->rec.reconsume_times, b->h.level,
	    retry_limit(b->group.retry_max_times, b->h.max_times, b->req->cmd.version));
	if (b->fate.is_dead)
		r = back_find_topic(b, RETRY_DEAD_PREFIX, RETRY_DEAD_QUEUES, &topic);
	return r;
}

/* ---- Moving ---- */

static void back_late(struct broker_op *op)
{
	back_answer((struct back *)((char *)op - offsetof(struct back, op)), 0);
}

/* Deleted meanwhile. */
static int back_refuse_topic(struct back *b)
{
	return back_refuse(b, MQ_SYSTEM_ERROR, "topic[%.*s] not exist", MQ_FMT(b->topic));
}

static void back_committed(struct broker_op *op)
{
	struct back *b = (struct back *)((char *)op - offsetof(struct back, op));
	struct stats *stats = b->broker->stats;
	int r = op->op.result;

	if (r == 0)
		stats_put(stats, 1, b->record.n_head + b->record.body.n + b->record.tail.n,
			  (mq_mono_ns(b->broker->clock) - b->began_ns) / 1000);
	else
		stats_put_failed(stats);
	back_end(b, r == -ENOENT ? back_refuse_topic(b) : r);
}

/* The queues of the retry topic take turns. */
static int32_t back_queue(const struct back *b)
{
	static _Atomic unsigned next;
	unsigned n = b->fate.is_dead ? RETRY_DEAD_QUEUES : (unsigned)b->group.retry_queues;

	return (int32_t)(atomic_fetch_add_explicit(&next, 1, memory_order_relaxed) % n);
}

/* The message as it is stored anew. */
static int back_encode(struct back *b)
{
	struct delay delay = delay_of_level(b->broker, b->fate.level);
	struct message_additions redirected = {}; /* retry_properties() says the same */
	struct mq_record rec = b->rec;
	char properties[MQ_PROPERTIES_MAX];
	struct message_marks marks;
	size_t n;

	if (delay.kind != DELAY_NONE)
		b->fate.level = delay.level;
	rec.topic = b->topic;
	rec.queue_id = back_queue(b);
	n = retry_properties(&b->rec, b->fate, rec.topic, rec.queue_id, properties);
	if (n == 0)
		return back_refuse(b, MQ_SYSTEM_ERROR, "PROPERTIES_SIZE_EXCEEDED");
	rec.properties = (struct mq_slice){ properties, n };
	rec.store_host = b->broker->store_host;
	rec.prepared_offset = 0;
	rec.reconsume_times += rec.reconsume_times < INT32_MAX;
	if (delay.kind != DELAY_NONE)
		delay_redirect(&delay, &rec, &redirected);

	b->tail = malloc(message_tail_bound(rec.topic, n));
	if (!b->tail)
		return -ENOMEM;
	b->n_charged = b->n_message + message_tail_bound(rec.topic, n);
	mq_conn_charge(b->req->conn, b->n_charged);
	/* Tags and keys stay what they were, and the store reads them at the turn's end: those of `properties` would be gone. */
	message_marks_read(&marks, b->rec.properties);
	message_record_encode(&rec, &marks, b->head, b->tail, &b->record);
	if (delay.kind != DELAY_NONE)
		delay_arm(&delay, &b->record);
	return topics_open_queue(b->broker->topics, b->n_deletions, rec.topic, rec.queue_id, &b->record.queue);
}

static int back_found(struct back *b)
{
	int r = b->result;

	if (r == 0)
		r = back_encode(b);
	if (r == -ENOENT)
		r = back_refuse_topic(b);
	if (r != 0)
		return back_end(b, r);
	store_op_init(&b->op.op);
	b->op.op.records = &b->record;
	b->op.op.n_records = 1;
	b->op.done = back_committed;
	b->op.late = back_late;
	broker_append(broker_loop_of(b->broker, b->req->conn), &b->op);
	return MQ_REQUEST_PENDING;
}

static void back_work(void *arg)
{
	struct back *b = arg;

	b->result = back_prepare(b, STORE_DISK);
}

static int back_offload(struct back *b);

static void back_worked(void *arg)
{
	struct back *b = arg;

	if (b->result == STORE_WOULD_BLOCK)
		back_offload(b);
	else
		back_found(b);
}

/* To the thread that it takes. */
static int back_offload(struct back *b)
{
	struct mq_conn *conn = b->req->conn;
	int r;

	b->may_change = b->wants_change;
	r = b->may_change ? broker_offload_change(b->broker, conn, back_work, back_worked, b)
			  : broker_offload(b->broker, conn, back_work, back_worked, b);
	return r < 0 ? back_end(b, r) : MQ_REQUEST_PENDING;
}

int handle_consumer_send_msg_back(struct mq_request *req)
{
	struct broker *broker = req->server;
	struct back_header h = { .max_times = RETRY_TIMES_ABSENT };
	struct mq_error err;
	struct back *b;

	if (back_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	if (reply_if_busy(req))
		return 0;
	b = calloc(1, sizeof *b);
	if (!b)
		return -ENOMEM;
	b->req = req;
	b->broker = broker;
	b->h = h;
	b->began_ns = mq_mono_ns(broker->clock);
	b->result = back_prepare(b, STORE_MEMORY);
	if (b->result != STORE_WOULD_BLOCK)
		return back_found(b);
	return back_offload(b);
}
