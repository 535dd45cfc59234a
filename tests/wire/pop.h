/* What the tests of popping share. */
#pragma once

#include "tests/wire/messages.h"

/* A poll that nobody wakes lasts longer than this test waits for any answer: it looks once more at its end, and would find what it
 * missed. */
#define FAR "90000"

static inline int start_daemon(void **state)
{
	static const char *const sets[] = { "brokerName=broker-a", "ioThreads=2", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

/* ---- Requests ---- */

struct popping {
	const char *topic, *group, *queue, *max, *invisible, *poll, *init, *type, *expression, *order, *attempt;
};

static inline void pop_request(struct mq_command *cmd, const struct popping *p)
{
	static char born[24];

	snprintf(born, sizeof born, "%" PRIi64, mq_wall_ms(&mq_clock_system));
	harness_request(cmd, MQ_POP_MESSAGE, "consumerGroup", p->group ? p->group : "pg", "topic", p->topic, "queueId",
			p->queue ? p->queue : "-1", "maxMsgNums", p->max ? p->max : "32", "invisibleTime",
			p->invisible ? p->invisible : "60000", "pollTime", p->poll ? p->poll : "0", "bornTime", p->poll ? born : born_late(), "initMode",
			p->init ? p->init : "0", "expType", p->type ? p->type : "TAG", "exp", p->expression ? p->expression : "*", "order",
			p->order ? p->order : "false", NULL);
	if (p->attempt)
		mq_command_add(cmd, "attemptId", mq_slice_of(p->attempt));
}

static inline const struct mq_command *pop(struct harness_peer *p, const struct popping *popping)
{
	struct mq_command cmd;

	pop_request(&cmd, popping);
	return harness_call(p, &cmd);
}
#define POP(p, ...) pop(p, &(struct popping){ __VA_ARGS__ })

/* A pop's answer: what its messages and texts say, kept beyond the next call. */
struct popped {
	unsigned n;
	struct mq_record records[32];
	char *body; /* owned; the records point into it */
	char pop_time[24], invisible[24], revive[24], rest[24], starts[256], offsets[256], counts[512];
};

static inline struct popped popped_of(const struct mq_command *answer)
{
	struct popped r = {};
	struct mq_command copy = *answer;

	harness_assert_answer(answer, MQ_SUCCESS, "FOUND");
	r.body = malloc(answer->body.n);
	memcpy(r.body, answer->body.p, answer->body.n);
	copy.body.p = r.body;
	r.n = records_of(&copy, r.records, 32);
	snprintf(r.pop_time, sizeof r.pop_time, "%s", harness_field(answer, "popTime"));
	snprintf(r.invisible, sizeof r.invisible, "%s", harness_field(answer, "invisibleTime"));
	snprintf(r.revive, sizeof r.revive, "%s", harness_field(answer, "reviveQid"));
	snprintf(r.rest, sizeof r.rest, "%s", harness_field(answer, "restNum"));
	snprintf(r.starts, sizeof r.starts, "%s", harness_field(answer, "startOffsetInfo"));
	snprintf(r.offsets, sizeof r.offsets, "%s", harness_field(answer, "msgOffsetInfo"));
	snprintf(r.counts, sizeof r.counts, "%s", harness_field(answer, "orderCountInfo"));
	return r;
}

static inline void popped_done(struct popped *r)
{
	free(r->body);
	r->body = NULL;
}

static inline void assert_nothing(const struct mq_command *answer)
{
	harness_assert_answer(answer, MQ_POLLING_TIMEOUT, "NO_MESSAGE_IN_QUEUE");
	assert_string_equal(harness_field(answer, "msgOffsetInfo"), "");
	assert_int_equal(answer->body.n, 0);
}

/* The receipt of a message of a topic that is no retry topic; start is its queue's of the pop. */
static inline const char *receipt(const struct popped *r, int64_t start, int32_t queue, int64_t offset)
{
	static char text[160];

	snprintf(text, sizeof text, "%" PRIi64 " %s %s %s 0 broker-a %d %" PRIi64, start, r->pop_time, r->invisible, r->revive, queue, offset);
	return text;
}

static inline const struct mq_command *ack(struct harness_peer *p, const char *topic, const char *queue, const char *offset,
					   const char *receipt)
{
	return harness_ask(p, MQ_ACK_MESSAGE, "consumerGroup", "pg", "topic", topic, "queueId", queue, "offset", offset, "extraInfo",
			   receipt, NULL);
}

static inline const struct mq_command *change(struct harness_peer *p, const char *topic, const char *offset, const char *receipt,
					      const char *invisible)
{
	return harness_ask(p, MQ_CHANGE_MESSAGE_INVISIBLETIME, "consumerGroup", "pg", "topic", topic, "queueId", "0", "offset", offset,
			   "extraInfo", receipt, "invisibleTime", invisible, "suspend", "false", NULL);
}

static inline const char *max_offset(struct harness_peer *p, const char *topic, const char *queue)
{
	return harness_field(harness_ask(p, MQ_GET_MAX_OFFSET, "topic", topic, "queueId", queue, NULL), "offset");
}

static inline const char *committed(struct harness_peer *p, const char *topic, const char *queue)
{
	return harness_field(harness_ask(p, MQ_QUERY_CONSUMER_OFFSET, "consumerGroup", "pg", "topic", topic, "queueId", queue,
					 "setZeroIfNotFound", "false", NULL),
			     "offset");
}
