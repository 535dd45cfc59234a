/* RECALL_MESSAGE (370); reference: protocol/requests-broker.md section 2.6. As upstream, a message
 * that recalls another is stored like any timer message and waits where the other waits; it is due
 * just before, and schedule_take.c then lets the other one go. Whether there is another is not known
 * when the answer is sent. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/message.h"
#include "daemons/broker/recall.h"
#include "daemons/broker/reply.h"
#include "daemons/broker/stats.h"
#include "daemons/broker/topics.h"
#include "libmq/wire/fields.h"
#include "libmq/wire/message_properties.h"

#define RECALL_FIELDS(X)                           \
	X(slice, group, "producerGroup", OPTIONAL) \
	X(slice, topic, "topic", REQUIRED)         \
	X(slice, handle, "recallHandle", REQUIRED)
MQ_HEADER(recall_request, RECALL_FIELDS)

enum { RECALL_PROPERTIES_MAX = 4096 }; /* bytes: topic and unique id twice, group, names */

struct recall_op {
	struct broker_op op;
	struct mq_request *req;
	struct broker *broker;
	struct recall recall;
	struct delay delay;
	struct store_record record;
	int64_t began_ns;
	char head[MQ_RECORD_HEAD_MAX], properties[RECALL_PROPERTIES_MAX],
	    tail[RECALL_PROPERTIES_MAX + 64];
};

/* Also when the disk is late, as upstream. */
static void recall_stored(struct broker_op *op)
{
	struct recall_op *o = (struct recall_op *)((char *)op - offsetof(struct recall_op, op));
	struct mq_command answer;

	mq_request_answer(o->req, &answer, MQ_SUCCESS);
	mq_command_add(&answer, "msgId", o->recall.uniq_key);
	mq_reply(o->req, &answer, NULL);
	o->req = NULL;
}

static void recall_committed(struct broker_op *op)
{
	struct recall_op *o = (struct recall_op *)((char *)op - offsetof(struct recall_op, op));
	const struct store_record *r = &o->record;

	if (op->op.result == 0)
		stats_put(o->broker->stats, 1, r->n_head + r->body.n + r->tail.n,
			  (mq_mono_ns(o->broker->clock) - o->began_ns) / 1000);
	if (o->req && op->op.result < 0)
		mq_reply_code(o->req, MQ_SYSTEM_ERROR, "recall failed, execute error");
	else if (o->req)
		recall_stored(op);
	free(o);
}

/* The properties that upstream gives it, and where it waits. 0: they do not fit. */
static size_t recall_properties(struct recall_op *o, struct mq_slice group)
{
	const struct recall *recall = &o->recall;
	char out[24], now[24], target[RECALL_HANDLE_MAX];
	const struct {
		const char *name;
		struct mq_slice value;
	} all[] = {
		{ MQ_PROPERTY_TAGS, MQ_SLICE("_RECALL_TAG_") },
		{ MQ_PROPERTY_TIMER_DEL_UNIQKEY,
		  { target, (size_t)snprintf(target, sizeof target, "%.*s+%.*s",
					     MQ_FMT(recall->topic), MQ_FMT(recall->uniq_key)) } },
		{ MQ_PROPERTY_UNIQ_KEY, recall->uniq_key },
		{ MQ_PROPERTY_TIMER_DELIVER_MS, recall->time },
		{ "BORN_TIMESTAMP",
		  { now, (size_t)snprintf(now, sizeof now, "%" PRIi64, o->req->received_at_ms) } },
		{ MQ_PROPERTY_PGROUP, group },
		{ MQ_PROPERTY_TIMER_OUT_MS,
		  { out, (size_t)snprintf(out, sizeof out, "%" PRIi64, o->delay.out_ms) } },
		{ MQ_PROPERTY_REAL_TOPIC, recall->topic },
		{ MQ_PROPERTY_REAL_QID, MQ_SLICE("0") },
	};
	size_t n = 0;

	for (unsigned i = 0; i < N_ELEMENTS(all); i++) {
		if (all[i].value.n == 0)
			continue;
		n = mq_properties_append(o->properties, n, sizeof o->properties, all[i].name,
					 all[i].value);
		if (n == 0)
			return 0;
	}
	return n;
}

static int recall_store(struct recall_op *o, struct mq_slice group)
{
	const struct broker *b = o->broker;
	struct mq_record rec = {
		.born_at_ms = o->req->received_at_ms,
		.born_host = mq_conn_peer(o->req->conn)->host,
		.store_host = b->store_host,
		.body = MQ_SLICE("0"),
		.topic = MQ_SLICE(DELAY_TIMER_TOPIC),
	};
	struct message_marks marks;
	size_t n = recall_properties(o, group);

	if (n == 0)
		return -EMSGSIZE;
	rec.properties = (struct mq_slice){ o->properties, n };
	rec.body_crc = mq_body_crc(rec.body);
	message_marks_read(&marks, rec.properties);
	message_record_encode(&rec, &marks, o->head, o->tail, &o->record);
	delay_arm(&o->delay, &o->record);
	return store_queue_open(b->store, rec.topic, 0, &o->record.queue);
}

/* When it goes: a millisecond into its slot, as handles say, so that it is rounded to where the
 * message is. False: not in time. */
static bool recall_delay(const struct broker *b, const struct recall *recall, int64_t now_ms,
			 struct delay *ret)
{
	struct message_marks marks = { .timer_deliver_ms = recall->time,
				       .timer_del_uniq_key = recall->uniq_key };
	int64_t at_ms;

	return mq_parse_i64(recall->time, &at_ms) == 0 && at_ms > now_ms &&
	       at_ms - now_ms < b->config.timerMaxDelaySec &&
	       (!b->config.timerWheelEnable || delay_read(b, &marks, now_ms, ret) == 0);
}

static int recall_refuse(struct recall_op *o, int code, const char *remark)
{
	struct mq_request *req = o->req;

	free(o);
	return mq_reply_code(req, code, "%s", remark);
}

static int recall_begin(struct recall_op *o, const struct recall_request_header *h)
{
	struct broker *b = o->broker;

	if (recall_decode(h->handle, &o->recall) < 0)
		return recall_refuse(o, MQ_ILLEGAL_OPERATION, "recall handle is invalid");
	if (!mq_slice_equal(o->recall.topic, h->topic))
		return recall_refuse(o, MQ_ILLEGAL_OPERATION, "recall failed, topic not match");
	if (!mq_slice_is(o->recall.broker, b->config.brokerName))
		return recall_refuse(o, MQ_ILLEGAL_OPERATION,
				     "recall failed, broker service not available");
	if (!recall_delay(b, &o->recall, mq_wall_ms(b->clock), &o->delay))
		return recall_refuse(o, MQ_ILLEGAL_OPERATION, "recall failed, timestamp invalid");
	if (!b->config.timerWheelEnable || recall_store(o, h->group) < 0)
		return recall_refuse(o, MQ_SYSTEM_ERROR, "recall failed, execute error");

	store_op_init(&o->op.op);
	o->op.op.records = &o->record;
	o->op.op.n_records = 1;
	o->op.done = recall_committed;
	o->op.late = recall_stored;
	broker_append(broker_loop_of(b, o->req->conn), &o->op);
	return MQ_REQUEST_PENDING;
}

int handle_recall_message(struct mq_request *req)
{
	struct broker *b = req->server;
	struct recall_request_header h = {};
	struct mq_error err;
	struct recall_op *o;
	struct topic topic;

	if (recall_request_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	if (!b->config.recallMessageEnable)
		return mq_reply_code(req, MQ_NO_PERMISSION,
				     "recall failed, operation is forbidden");
	if (topics_get(b->topics, h.topic, &topic) < 0)
		return mq_reply_code(req, MQ_TOPIC_NOT_EXIST,
				     "recall failed, the topic[%.*s] not exist", MQ_FMT(h.topic));
	if (reply_if_busy(req))
		return 0;
	o = calloc(1, sizeof *o);
	if (!o)
		return -ENOMEM;
	o->req = req;
	o->broker = b;
	o->began_ns = mq_mono_ns(b->clock);
	return recall_begin(o, &h);
}
