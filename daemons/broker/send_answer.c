/* The answer to a send, when its records are stored, or not. */
#include <errno.h>
#include <stdlib.h>

#include "daemons/broker/recall.h"
#include "daemons/broker/register.h"
#include "daemons/broker/send.h"
#include "daemons/broker/stats.h"
#include "libmq/wire/record.h"

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

int send_answer_reply(struct send *s, bool is_stored)
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
 * copy, so the answer tells where this one is; that it was answered, send_committed() sees by the request. Who did not want to wait only
 * came with others that do. */
void send_late(struct broker_op *op)
{
	struct send *s = (struct send *)((char *)op - offsetof(struct send, op));

	mq_conn_release(s->req->conn, s->n_block);
	send_answer(s, s->marks.wants_wait ? MQ_FLUSH_DISK_TIMEOUT : MQ_SUCCESS);
	s->req = NULL;
}

void send_committed(struct broker_op *op)
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
