/* POP_MESSAGE (200050), ACK_MESSAGE (200051), BATCH_ACK_MESSAGE (200151), CHANGE_MESSAGE_INVISIBLETIME (200053), PEEK_MESSAGE (200052),
 * NOTIFICATION (200054), POLLING_INFO (200055). */
#include "tests/wire/messages.h"

/* A poll that nobody wakes lasts longer than this test waits for any answer: it looks once more at its end, and would find what it
 * missed. */
#define FAR "90000"

static int start_daemon(void **state)
{
	static const char *const sets[] = { "brokerName=broker-a", "ioThreads=2", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

static int start_small_daemon(void **state)
{
	static const char *const sets[] = { "brokerName=broker-a", "popPollingSize=0", "enableRetryTopicV2=true", "brokerIP1=127.0.0.1", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

static int start_forbidding_daemon(void **state)
{
	static const char *const sets[] = { "brokerPermission=2", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

static int start_timeless_daemon(void **state)
{
	static const char *const sets[] = { "timerWheelEnable=false", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

/* ---- Requests ---- */

struct popping {
	const char *topic, *group, *queue, *max, *invisible, *poll, *init, *type, *expression, *order, *attempt;
};

static void pop_request(struct mq_command *cmd, const struct popping *p)
{
	static char born[24];

	snprintf(born, sizeof born, "%" PRIi64, mq_wall_ms(&mq_clock_system));
	harness_request(cmd, MQ_POP_MESSAGE, "consumerGroup", p->group ? p->group : "pg", "topic", p->topic, "queueId",
			p->queue ? p->queue : "-1", "maxMsgNums", p->max ? p->max : "32", "invisibleTime",
			p->invisible ? p->invisible : "60000", "pollTime", p->poll ? p->poll : "0", "bornTime", born, "initMode",
			p->init ? p->init : "0", "expType", p->type ? p->type : "TAG", "exp", p->expression ? p->expression : "*", "order",
			p->order ? p->order : "false", NULL);
	if (p->attempt)
		mq_command_add(cmd, "attemptId", mq_slice_of(p->attempt));
}

static const struct mq_command *pop(struct harness_peer *p, const struct popping *popping)
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

static struct popped popped_of(const struct mq_command *answer)
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

static void popped_done(struct popped *r)
{
	free(r->body);
	r->body = NULL;
}

static void assert_nothing(const struct mq_command *answer)
{
	harness_assert_answer(answer, MQ_POLLING_TIMEOUT, "NO_MESSAGE_IN_QUEUE");
	assert_string_equal(harness_field(answer, "msgOffsetInfo"), "");
	assert_int_equal(answer->body.n, 0);
}

/* The receipt of a message of a topic that is no retry topic; start is its queue's of the pop. */
static const char *receipt(const struct popped *r, int64_t start, int32_t queue, int64_t offset)
{
	static char text[160];

	snprintf(text, sizeof text, "%" PRIi64 " %s %s %s 0 broker-a %d %" PRIi64, start, r->pop_time, r->invisible, r->revive, queue, offset);
	return text;
}

static const struct mq_command *ack(struct harness_peer *p, const char *topic, const char *queue, const char *offset, const char *receipt)
{
	return harness_ask(p, MQ_ACK_MESSAGE, "consumerGroup", "pg", "topic", topic, "queueId", queue, "offset", offset, "extraInfo",
			   receipt, NULL);
}

static const struct mq_command *change(struct harness_peer *p, const char *topic, const char *offset, const char *receipt,
				       const char *invisible)
{
	return harness_ask(p, MQ_CHANGE_MESSAGE_INVISIBLETIME, "consumerGroup", "pg", "topic", topic, "queueId", "0", "offset", offset,
			   "extraInfo", receipt, "invisibleTime", invisible, "suspend", "false", NULL);
}

static const char *max_offset(struct harness_peer *p, const char *topic, const char *queue)
{
	return harness_field(harness_ask(p, MQ_GET_MAX_OFFSET, "topic", topic, "queueId", queue, NULL), "offset");
}

static const char *committed(struct harness_peer *p, const char *topic, const char *queue)
{
	return harness_field(harness_ask(p, MQ_QUERY_CONSUMER_OFFSET, "consumerGroup", "pg", "topic", topic, "queueId", queue,
					 "setZeroIfNotFound", "false", NULL),
			     "offset");
}

/* ---- Popping ---- */

static void a_pop_takes_from_all_queues_and_says_where_from(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;

	send_ok(p, "PopAll", "0", "TAGS\1a\2", "zero");
	send_ok(p, "PopAll", "3", "TAGS\1a\2", "three");
	send_ok(p, "PopAll", "3", "TAGS\1a\2", "three too");
	r = popped_of(POP(p, .topic = "PopAll"));
	assert_int_equal(r.n, 3);
	assert_string_equal(r.rest, "0");
	assert_string_equal(r.invisible, "60000");
	assert_true(atoi(r.revive) < 8);
	if (r.records[0].queue_id == 0) {
		assert_string_equal(r.starts, "0 0 0;0 3 0");
		assert_string_equal(r.offsets, "0 0 0;0 3 0,1");
	} else {
		assert_string_equal(r.starts, "0 3 0;0 0 0");
		assert_string_equal(r.offsets, "0 3 0,1;0 0 0");
	}
	/* As they were sent: clients make the receipt. */
	assert_property(r.records[0].properties, "POP_CK", NULL);
	assert_slice(r.records[0].topic, "PopAll");
	assert_string_equal(committed(p, "PopAll", "3"), "2");
	/* They are with the group. */
	assert_nothing(POP(p, .topic = "PopAll"));
	popped_done(&r);
	/* Not with another. */
	r = popped_of(POP(p, .topic = "PopAll", .group = "other"));
	assert_int_equal(r.n, 3);
	popped_done(&r);
}

static void a_pop_of_one_queue_takes_what_was_asked_for(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;

	for (int i = 0; i < 5; i++)
		send_ok(p, "PopOne", "1", "", "x");
	send_ok(p, "PopOne", "0", "", "not this");
	r = popped_of(POP(p, .topic = "PopOne", .queue = "1", .max = "2"));
	assert_string_equal(r.offsets, "0 1 0,1");
	assert_string_equal(r.rest, "3");
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopOne", .queue = "1"));
	assert_string_equal(r.starts, "0 1 2");
	assert_string_equal(r.offsets, "0 1 2,3,4");
	popped_done(&r);
}

static void a_filter_goes_on_behind_what_it_does_not_want(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;

	send_ok(p, "PopTag", "0", "TAGS\1no\2", "a");
	send_ok(p, "PopTag", "0", "TAGS\1yes\2", "b");
	send_ok(p, "PopTag", "0", "TAGS\1no\2", "c");
	r = popped_of(POP(p, .topic = "PopTag", .queue = "0", .expression = "yes||maybe"));
	assert_string_equal(r.starts, "0 0 0");
	assert_string_equal(r.offsets, "0 0 1");
	assert_string_equal(committed(p, "PopTag", "0"), "3");
	popped_done(&r);
	send_ok(p, "PopTag", "0", "TAGS\1no\2", "d");
	assert_nothing(POP(p, .topic = "PopTag", .queue = "0", .expression = "yes"));
	assert_string_equal(committed(p, "PopTag", "0"), "4");
}

static void what_a_filter_wants_is_found_behind_much_that_it_does_not(void **state)
{
	enum { N = 2000 }; /* more than two looks */
	struct harness_peer *p = *state;
	struct mq_command cmd;
	struct popped r;

	send_request(&cmd, "PopFar", "0", "TAGS\1no\2", MQ_SLICE("x"));
	for (int i = 0; i < N; i++)
		harness_send(p, &cmd);
	for (int i = 0; i < N; i++)
		harness_assert_answer(harness_answer(p, p->opaque - N + 1 + i), MQ_SUCCESS, NULL);
	send_ok(p, "PopFar", "0", "TAGS\1yes\2", "far");
	r = popped_of(POP(p, .topic = "PopFar", .queue = "0", .expression = "yes", .poll = FAR));
	assert_int_equal(r.n, 1);
	assert_slice(r.records[0].body, "far");
	popped_done(&r);
}

static void sql92_filters_by_properties(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;

	send_ok(p, "PopSql", "0", "n\0011\2", "a");
	send_ok(p, "PopSql", "0", "n\0017\2", "b");
	r = popped_of(POP(p, .topic = "PopSql", .queue = "0", .type = "SQL92", .expression = "n > 5"));
	assert_string_equal(r.offsets, "0 0 1");
	popped_done(&r);
	harness_assert_answer(POP(p, .topic = "PopSql", .type = "SQL92", .expression = "n > > 5"), MQ_SUBSCRIPTION_PARSE_FAILED,
			      "parse the consumer's subscription failed");
	harness_assert_answer(POP(p, .topic = "PopSql", .type = "XPATH", .expression = "n"), MQ_SUBSCRIPTION_PARSE_FAILED,
			      "parse the consumer's subscription failed");
}

static void a_new_group_begins_where_it_wants(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;

	for (int i = 0; i < 3; i++)
		send_ok(p, "PopInit", "0", "", "x");
	/* Nothing of the queue is gone yet: also who wants the end gets all of it, as with Apache's broker. */
	r = popped_of(POP(p, .topic = "PopInit", .queue = "0", .init = "1"));
	assert_string_equal(r.offsets, "0 0 0,1,2");
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopInit", .queue = "0", .group = "min"));
	assert_string_equal(r.offsets, "0 0 0,1,2");
	popped_done(&r);
}

static void assert_refused(const struct mq_command *answer, int code, const char *remark)
{
	harness_assert_answer(answer, code, remark);
	assert_string_equal(harness_field(answer, "popTime"), "0");
	assert_string_equal(harness_field(answer, "restNum"), "0");
}

static void what_cannot_be_popped_is_refused(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	char remark[256];

	send_ok(p, "PopBad", "0", "", "x");
	assert_refused(POP(p, .topic = "PopNone"), MQ_TOPIC_NOT_EXIST, "topic[PopNone] not exist, apply first please! " FAQ);
	assert_refused(POP(p, .topic = "PopBad", .max = "33"), MQ_INVALID_PARAMETER,
		       "the broker[127.0.0.1] pop message's num is greater than 32");
	harness_call(p, (pop_request(&cmd, &(struct popping){ .topic = "PopBad", .queue = "4" }), &cmd));
	assert_int_equal(p->answer->cmd.code, MQ_INVALID_PARAMETER);
	snprintf(remark, sizeof remark, "%.*s", MQ_FMT(p->answer->cmd.remark));
	assert_non_null(strstr(remark, "queueId[4] is illegal, topic:[PopBad] topicConfig.readQueueNums:[4] consumer:[/127.0.0.1:"));

	pop_request(&cmd, &(struct popping){ .topic = "PopBad", .poll = "1000" });
	set_field(&cmd, "bornTime", "1000");
	assert_refused(harness_call(p, &cmd), MQ_POLLING_TIMEOUT, "the broker[127.0.0.1] pop message is timeout too much");

	pop_request(&cmd, &(struct popping){ .topic = "PopBad" });
	drop_field(&cmd, "consumerGroup");
	harness_assert_answer(harness_call(p, &cmd), MQ_SYSTEM_ERROR, "the custom field <consumerGroup> is null");
}

/* As upstream since 5.5: a number that is missing is 0. */
static void numbers_that_are_missing_are_zero(void **state)
{
	static const char *const numbers[] = { "invisibleTime", "pollTime", "initMode", "bornTime", "queueId", "maxMsgNums" };
	struct harness_peer *p = *state;
	struct mq_command cmd;

	for (unsigned i = 0; i < N_ELEMENTS(numbers); i++) {
		send_ok(p, "PopShort", "0", "", "x");
		pop_request(&cmd, &(struct popping){ .topic = "PopShort", .queue = "0", .poll = "0" });
		drop_field(&cmd, numbers[i]);
		if (strcmp(numbers[i], "maxMsgNums") == 0)
			assert_nothing(harness_call(p, &cmd));
		else
			harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, "FOUND");
	}
	harness_assert_answer(harness_ask(p, MQ_PEEK_MESSAGE, "consumerGroup", "short", "topic", "PopShort", "maxMsgNums", "1", NULL),
			      MQ_SUCCESS, "FOUND");
	harness_assert_answer(harness_ask(p, MQ_PEEK_MESSAGE, "consumerGroup", "short", "topic", "PopShort", NULL), MQ_PULL_NOT_FOUND,
			      "NO_MESSAGE_IN_QUEUE");
	harness_assert_answer(harness_ask(p, MQ_POLLING_INFO, "consumerGroup", "short", "topic", "PopShort", NULL), MQ_SUCCESS,
			      "not set any response code");
	harness_assert_answer(harness_ask(p, MQ_NOTIFICATION, "consumerGroup", "short", "topic", "PopShort", NULL), MQ_SUCCESS,
			      "not set any response code");
	assert_string_equal(harness_field(&p->answer->cmd, "hasMsg"), "true");
}

static void who_may_not_is_told(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	harness_assert_answer(harness_ask(p, MQ_UPDATE_AND_CREATE_TOPIC, "topic", "PopDumb", "defaultTopic", "TBW102", "readQueueNums", "1",
					  "writeQueueNums", "1", "perm", "2", "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order",
					  "false", NULL),
			      MQ_SUCCESS, NULL);
	assert_refused(POP(p, .topic = "PopDumb"), MQ_NO_PERMISSION, "the topic[PopDumb] peeking message is forbidden");
	send_ok(p, "PopOff", "0", "", "x");
	harness_request(&cmd, MQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, NULL);
	cmd.body = MQ_SLICE("{\"groupName\":\"off\",\"consumeEnable\":false}");
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	assert_refused(POP(p, .topic = "PopOff", .group = "off"), MQ_NO_PERMISSION, "subscription group no permission, off");
	/* The others ask in the same order, in their own words. */
	harness_assert_answer(harness_ask(p, MQ_PEEK_MESSAGE, "consumerGroup", "off", "topic", "PopOff", "queueId", "-1", "maxMsgNums", "8",
					  NULL),
			      MQ_NO_PERMISSION, "subscription group no permission, off");
	harness_assert_answer(harness_ask(p, MQ_POLLING_INFO, "consumerGroup", "pg", "topic", "PopDumb", "queueId", "-1", NULL),
			      MQ_NO_PERMISSION, "the topic[PopDumb] peeking message is forbidden");
	assert_string_equal(harness_field(&p->answer->cmd, "pollingNum"), "0");
	harness_assert_answer(harness_ask(p, MQ_NOTIFICATION, "consumerGroup", "off", "topic", "PopOff", "queueId", "-1", "pollTime", "0",
					  NULL),
			      MQ_NO_PERMISSION, "subscription group no permission, off");
	assert_string_equal(harness_field(&p->answer->cmd, "hasMsg"), "false");
	assert_refused(POP(p, .topic = "PopOff", .group = ""), MQ_INVALID_PARAMETER,
		       "the names of group and topic are too long, or empty, for a retry topic");
}

static void a_broker_that_forbids_pops_says_so(void **state)
{
	struct harness_peer *p = *state;

	assert_refused(POP(p, .topic = "Any"), MQ_NO_PERMISSION, "the broker[127.0.0.1] pop message is forbidden");
	harness_assert_answer(harness_ask(p, MQ_PEEK_MESSAGE, "consumerGroup", "pg", "topic", "Any", "queueId", "-1", "maxMsgNums", "8",
					  NULL),
			      MQ_NO_PERMISSION, "the broker[127.0.0.1] peeking message is forbidden");
	harness_assert_answer(harness_ask(p, MQ_NOTIFICATION, "consumerGroup", "pg", "topic", "Any", "queueId", "-1", "pollTime", "0", NULL),
			      MQ_NO_PERMISSION, "the broker[127.0.0.1] peeking message is forbidden");
}

static void without_timers_there_are_no_pops(void **state)
{
	struct harness_peer *p = *state;

	assert_refused(POP(p, .topic = "Any"), MQ_SYSTEM_ERROR,
		       "the broker[127.0.0.1] pop message is forbidden because timerWheelEnable is false");
}

static void the_fast_port_takes_acknowledgements_only(void **state)
{
	struct harness_peer *p = harness_connect_fast(daemon_);

	assert_int_equal(POP(p, .topic = "Any")->code, MQ_REQUEST_CODE_NOT_SUPPORTED);
	harness_assert_answer(ack(p, "FastNone", "0", "0", "0 1 2 0 0 broker-a 0 0"), MQ_TOPIC_NOT_EXIST,
			      "topic[FastNone] not exist, apply first please! " FAQ);
	harness_close(p);
}

/* ---- Acknowledging ---- */

static void what_is_acknowledged_does_not_come_again(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;
	char text[160];

	send_ok(p, "PopAck", "0", "", "a");
	send_ok(p, "PopAck", "0", "", "b");
	r = popped_of(POP(p, .topic = "PopAck", .queue = "0"));
	harness_assert_answer(ack(p, "PopAck", "0", "0", receipt(&r, 0, 0, 0)), MQ_SUCCESS, NULL);
	assert_int_equal(p->answer->cmd.has_fields, false);
	/* The other one does, when its time is over: the long poll sees it. */
	harness_assert_answer(change(p, "PopAck", "0", receipt(&r, 0, 0, 0), "1"), MQ_SUCCESS, "not set any response code");
	harness_assert_answer(change(p, "PopAck", "1", receipt(&r, 0, 0, 1), "1"), MQ_SUCCESS, "not set any response code");
	snprintf(text, sizeof text, "%s", receipt(&r, 0, 0, 0));
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopAck", .queue = "0", .poll = FAR));
	assert_int_equal(r.n, 1);
	assert_slice(r.records[0].body, "b");
	popped_done(&r);
	/* Late, or twice: nobody minds. */
	harness_assert_answer(ack(p, "PopAck", "0", "0", text), MQ_SUCCESS, NULL);
}

static void what_comes_again_is_counted_and_names_its_topic(void **state)
{
	struct harness_peer *p = *state;
	struct popped first, r;
	char expected[160], receipt_text[160];
	struct mq_slice got;

	send_ok(p, "PopAgain", "2", "TAGS\1t\2KEYS\1k\2", "again");
	first = popped_of(POP(p, .topic = "PopAgain", .queue = "2", .invisible = "100", .expression = "t"));
	for (int i = 1; i <= 2; i++) {
		r = popped_of(POP(p, .topic = "PopAgain", .queue = "2", .invisible = "100", .poll = FAR, .expression = "t"));
		assert_int_equal(r.n, 1);
		assert_slice(r.records[0].body, "again");
		assert_slice(r.records[0].topic, "PopAgain");
		assert_int_equal(r.records[0].reconsume_times, i);
		assert_int_equal(r.records[0].queue_id, 0);
		assert_int_equal(r.records[0].born_at_ms, first.records[0].born_at_ms);
		assert_property(r.records[0].properties, "1ST_POP_TIME", first.pop_time);
		assert_property(r.records[0].properties, "ORIGIN_GROUP", "pg");
		assert_property(r.records[0].properties, "KEYS", "k");
		snprintf(expected, sizeof expected, "1 0 %d", i - 1);
		assert_string_equal(r.offsets, expected);
		assert_string_equal(r.starts, expected);
		snprintf(expected, sizeof expected, "%d %s 100 %s 1 broker-a 0 %d", i - 1, r.pop_time, r.revive, i - 1);
		assert_property(r.records[0].properties, "POP_CK", expected);
		popped_done(&r);
	}
	popped_done(&first);
	assert_string_equal(max_offset(p, "%RETRY%pg_PopAgain", "0"), "2");
	/* Acknowledged under its retry topic, by the receipt that it carries. */
	r = popped_of(POP(p, .topic = "PopAgain", .poll = FAR));
	got = mq_properties_get(r.records[0].properties, "POP_CK");
	snprintf(receipt_text, sizeof receipt_text, "%.*s", MQ_FMT(got));
	harness_assert_answer(ack(p, "%RETRY%pg_PopAgain", "0", "2", receipt_text), MQ_SUCCESS, NULL);
	popped_done(&r);
	assert_nothing(POP(p, .topic = "PopAgain"));
	assert_string_equal(max_offset(p, "%RETRY%pg_PopAgain", "0"), "3");
}

static void a_receipt_that_is_none_is_refused(void **state)
{
	struct harness_peer *p = *state;
	char remark[256];

	send_ok(p, "AckBad", "0", "", "x");
	harness_assert_answer(ack(p, "AckNone", "0", "0", "0 1 2 0 0 broker-a 0 0"), MQ_TOPIC_NOT_EXIST,
			      "topic[AckNone] not exist, apply first please! " FAQ);
	assert_int_equal(ack(p, "AckBad", "4", "0", "0 1 2 0 0 broker-a 4 0")->code, MQ_MESSAGE_ILLEGAL);
	snprintf(remark, sizeof remark, "%.*s", MQ_FMT(p->answer->cmd.remark));
	assert_non_null(strstr(remark, "queueId[4] is illegal, topic:[AckBad] topicConfig.readQueueNums:[4] consumer:[/127.0.0.1:"));
	harness_assert_answer(ack(p, "AckBad", "0", "2", "0 1 2 0 0 broker-a 0 2"), MQ_NO_MESSAGE,
			      "offset is illegal, key:AckBad@0, commit:2, store:0~1");
	harness_assert_answer(ack(p, "AckBad", "0", "1", "0 1 2 0 0 broker-a 0 1"), MQ_SUCCESS, NULL);
	assert_int_equal(ack(p, "AckBad", "0", "0", "0 1 two 0 0 broker-a 0 0")->code, MQ_SYSTEM_ERROR);
	assert_int_equal(change(p, "AckBad", "0", "0 1", "1000")->code, MQ_SYSTEM_ERROR);
	harness_assert_answer(change(p, "AckBad", "1", "0 1 2 0 0 broker-a 0 1", "1000"), MQ_NO_MESSAGE, "not set any response code");
	harness_assert_answer(change(p, "AckNone", "0", "0 1 2 0 0 broker-a 0 0", "1000"), MQ_TOPIC_NOT_EXIST,
			      "topic[AckNone] not exist, apply first please! " FAQ);
}

static void a_batch_is_acknowledged_by_its_bits(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	struct popped r;
	char body[512], offset[8];

	for (int i = 0; i < 4; i++)
		send_ok(p, "PopBatch", "0", "", i == 2 ? "left" : "done");
	r = popped_of(POP(p, .topic = "PopBatch", .queue = "0"));
	/* Bits 0, 1, 3, and one behind the end. */
	snprintf(body, sizeof body,
		 "{\"acks\":[{\"b\":\"Gw==\",\"c\":\"pg\",\"it\":60000,\"pt\":%s,\"q\":0,\"r\":\"0\",\"rq\":%s,\"so\":0,\"t\":\"PopBatch\"},"
		 "{\"b\":\"AQ==\",\"c\":\"pg\",\"it\":60000,\"pt\":%s,\"q\":0,\"r\":\"0\",\"rq\":0,\"so\":0,\"t\":\"PopNowhere\"}],"
		 "\"brokerName\":\"broker-a\"}",
		 r.pop_time, r.revive, r.pop_time);
	harness_request(&cmd, MQ_BATCH_ACK_MESSAGE, NULL);
	cmd.body = mq_slice_of(body);
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	/* What was acknowledged cannot be moved any more, the other one can. */
	for (int i = 0; i < 4; i++) {
		snprintf(offset, sizeof offset, "%d", i);
		harness_assert_answer(change(p, "PopBatch", offset, receipt(&r, 0, 0, i), "1"), MQ_SUCCESS, "not set any response code");
	}
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopBatch", .poll = FAR));
	assert_int_equal(r.n, 1);
	assert_slice(r.records[0].body, "left");
	popped_done(&r);

	harness_request(&cmd, MQ_BATCH_ACK_MESSAGE, NULL);
	harness_assert_answer(harness_call(p, &cmd), MQ_NO_MESSAGE, NULL);
	cmd.body = MQ_SLICE("{\"acks\":[],\"brokerName\":\"broker-a\"}");
	harness_assert_answer(harness_call(p, &cmd), MQ_NO_MESSAGE, NULL);
	cmd.body = MQ_SLICE("{\"acks\":[{\"b\":\"AQ==\",\"c\":\"pg\",\"r\":\"3\",\"t\":\"PopBatch\"}]}");
	harness_assert_answer(harness_call(p, &cmd), MQ_SYSTEM_ERROR, "getRetry fail, format is wrong");
	cmd.body = MQ_SLICE("{\"acks\":");
	assert_int_equal(harness_call(p, &cmd)->code, MQ_SYSTEM_ERROR);
}

static void the_invisible_time_can_be_changed(void **state)
{
	struct harness_peer *p = *state;
	char text[160], moved[160];
	struct popped r;

	send_ok(p, "PopChange", "0", "", "x");
	r = popped_of(POP(p, .topic = "PopChange", .queue = "0"));
	snprintf(text, sizeof text, "%s", receipt(&r, 0, 0, 0));
	harness_assert_answer(change(p, "PopChange", "0", text, "100"), MQ_SUCCESS, "not set any response code");
	assert_string_equal(harness_field(&p->answer->cmd, "invisibleTime"), "100");
	assert_string_equal(harness_field(&p->answer->cmd, "reviveQid"), r.revive);
	snprintf(moved, sizeof moved, "0 %s 100 %s 0 broker-a 0 0", harness_field(&p->answer->cmd, "popTime"), r.revive);
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopChange", .queue = "0", .poll = FAR));
	assert_int_equal(r.n, 1);
	assert_int_equal(r.records[0].reconsume_times, 1);
	popped_done(&r);
	/* What is gone stays gone, with the same answer. */
	harness_assert_answer(change(p, "PopChange", "0", text, "1"), MQ_SUCCESS, "not set any response code");
	harness_assert_answer(change(p, "PopChange", "0", moved, "1"), MQ_SUCCESS, "not set any response code");
	/* One that is due behind what these would have made. */
	send_ok(p, "PopChange", "1", "", "y");
	r = popped_of(POP(p, .topic = "PopChange", .queue = "1", .invisible = "10"));
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopChange", .poll = FAR));
	assert_int_equal(r.n, 1);
	assert_slice(r.records[0].body, "y");
	popped_done(&r);
	assert_string_equal(max_offset(p, "%RETRY%pg_PopChange", "0"), "2");
}

static void what_the_group_puts_off_does_not_count(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;

	send_ok(p, "PopSuspend", "0", "", "x");
	r = popped_of(POP(p, .topic = "PopSuspend", .queue = "0"));
	harness_assert_answer(harness_ask(p, MQ_CHANGE_MESSAGE_INVISIBLETIME, "consumerGroup", "pg", "topic", "PopSuspend", "queueId", "0",
					  "offset", "0", "extraInfo", receipt(&r, 0, 0, 0), "invisibleTime", "100", "suspend", "true",
					  NULL),
			      MQ_SUCCESS, "not set any response code");
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopSuspend", .poll = FAR));
	assert_int_equal(r.records[0].reconsume_times, 0);
	popped_done(&r);
}

/* ---- Waiting ---- */

static void a_pop_waits_for_a_message(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	const struct mq_command *info;
	struct mq_command cmd;
	int32_t opaque;
	struct popped r;

	send_ok(p, "PopWait", "0", "", "first");
	r = popped_of(POP(p, .topic = "PopWait"));
	popped_done(&r);
	pop_request(&cmd, &(struct popping){ .topic = "PopWait", .poll = FAR });
	opaque = harness_send(p, &cmd);
	do {
		info = harness_ask(other, MQ_POLLING_INFO, "consumerGroup", "pg", "topic", "PopWait", "queueId", "-1", NULL);
		harness_assert_answer(info, MQ_SUCCESS, "not set any response code");
	} while (strcmp(harness_field(info, "pollingNum"), "1") != 0);
	send_ok(other, "PopWait", "2", "", "second");
	r = popped_of(harness_answer(p, opaque));
	assert_int_equal(r.n, 1);
	assert_slice(r.records[0].body, "second");
	popped_done(&r);
	assert_string_equal(harness_field(harness_ask(other, MQ_POLLING_INFO, "consumerGroup", "pg", "topic", "PopWait", "queueId", "-1",
						      NULL),
					  "pollingNum"),
			    "0");
	harness_close(other);
}

/* So many messages for queue 1 in one piece: one wake-up. */
static void send_batch(struct harness_peer *p, const char *topic, int n)
{
	struct mq_command cmd;
	char body[1024], *end = body;

	for (int i = 0; i < n; i++) {
		end = mq_put32(mq_put32(mq_put32(mq_put32(mq_put32(end, 23), 0), 0), 0), 1);
		end = mq_put16(mq_put8(end, 'x'), 0);
	}
	send_request(&cmd, topic, "1", "", (struct mq_slice){ body, (size_t)(end - body) });
	cmd.code = MQ_SEND_BATCH_MESSAGE;
	set_field(&cmd, "m", "true");
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
}

static void many_that_wait_share_what_comes(void **state)
{
	enum { N = 8 };
	struct harness_peer *p = *state, *peers[N];
	int32_t opaques[N];
	struct mq_command cmd;
	unsigned n = 0;

	send_ok(p, "PopShare", "0", "", "makes it");
	POP(p, .topic = "PopShare");
	for (int i = 0; i < N; i++) {
		peers[i] = harness_connect_tcp(daemon_);
		pop_request(&cmd, &(struct popping){ .topic = "PopShare", .max = "1", .poll = FAR });
		opaques[i] = harness_send(peers[i], &cmd);
	}
	send_batch(p, "PopShare", N);
	for (int i = 0; i < N; i++) {
		struct popped r = popped_of(harness_answer(peers[i], opaques[i]));

		n += r.n;
		popped_done(&r);
		harness_close(peers[i]);
	}
	assert_int_equal(n, N);
	assert_nothing(POP(p, .topic = "PopShare"));
}

static void a_pop_that_found_nothing_says_so_in_time(void **state)
{
	struct harness_peer *p = *state;

	send_ok(p, "PopEmpty", "0", "TAGS\1no\2", "x");
	assert_nothing(POP(p, .topic = "PopEmpty", .expression = "yes", .poll = "300"));
	assert_string_equal(harness_field(&p->answer->cmd, "startOffsetInfo"), "");
	assert_string_equal(harness_field(&p->answer->cmd, "restNum"), "0");
}

static const struct mq_command *notification(struct harness_peer *p, const char *topic, const char *poll)
{
	char born[24];

	snprintf(born, sizeof born, "%" PRIi64, mq_wall_ms(&mq_clock_system));
	return harness_ask(p, MQ_NOTIFICATION, "consumerGroup", "pg", "topic", topic, "queueId", "-1", "pollTime", poll, "bornTime", born,
			   NULL);
}

static void assert_notified(const struct mq_command *answer, const char *has_message, const char *is_full)
{
	harness_assert_answer(answer, MQ_SUCCESS, "not set any response code");
	assert_string_equal(harness_field(answer, "hasMsg"), has_message);
	assert_string_equal(harness_field(answer, "pollingFull"), is_full);
}

static void a_notification_says_whether_there_is_something(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	struct mq_command cmd;
	struct popped r;
	int32_t opaque;

	harness_assert_answer(notification(p, "NotifyNone", "0"), MQ_TOPIC_NOT_EXIST,
			      "topic[NotifyNone] not exist, apply first please! " FAQ);
	send_ok(p, "Notify", "1", "", "x");
	assert_notified(notification(p, "Notify", "0"), "true", "false");
	assert_notified(notification(p, "Notify", FAR), "true", "false"); /* it takes nothing */
	r = popped_of(POP(p, .topic = "Notify"));
	assert_notified(notification(p, "Notify", "100"), "false", "false");
	harness_assert_answer(harness_ask(p, MQ_CHANGE_MESSAGE_INVISIBLETIME, "consumerGroup", "pg", "topic", "Notify", "queueId", "1",
					  "offset", "0", "extraInfo", receipt(&r, 0, 1, 0), "invisibleTime", "1", NULL),
			      MQ_SUCCESS, "not set any response code");
	popped_done(&r);
	/* What comes again is something, too. */
	assert_notified(notification(p, "Notify", FAR), "true", "false");
	harness_assert_answer(POP(p, .topic = "Notify"), MQ_SUCCESS, "FOUND");
	harness_request(&cmd, MQ_NOTIFICATION, "consumerGroup", "pg", "topic", "Notify", "queueId", "-1", "pollTime", FAR, NULL);
	opaque = harness_send(p, &cmd);
	send_ok(other, "Notify", "0", "", "y");
	assert_notified(harness_answer(p, opaque), "true", "false");
	harness_close(other);
}

/* Its group is made on a reader first, and by then it may be gone. */
static void who_is_gone_before_it_waits_takes_nobodys_place(void **state)
{
	static const struct linger reset = { .l_onoff = 1 };
	struct harness_peer *p = *state;

	send_ok(p, "Gone", "0", "", "x");
	for (int i = 0; i < 40; i++) {
		struct harness_peer *other = harness_connect_tcp(daemon_);
		int64_t until_ms = mq_mono_ms(&mq_clock_system) + HARNESS_DEADLINE_MS;
		const struct mq_command *answer;
		struct mq_command cmd;
		char group[16];

		snprintf(group, sizeof group, "gone%d", i);
		harness_request(&cmd, MQ_NOTIFICATION, "consumerGroup", group, "topic", "Gone", "queueId", "3", "pollTime", FAR, NULL);
		assert_int_equal(setsockopt(other->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
		harness_send(other, &cmd);
		harness_close(other);
		do {
			assert_true(mq_mono_ms(&mq_clock_system) < until_ms);
			answer = harness_ask(p, MQ_NOTIFICATION, "consumerGroup", group, "topic", "Gone", "queueId", "3", "pollTime", "60",
					     NULL);
			harness_assert_answer(answer, MQ_SUCCESS, "not set any response code");
		} while (strcmp(harness_field(answer, "pollingFull"), "true") == 0);
	}
}

static void a_notification_may_be_of_any_time(void **state)
{
	struct harness_peer *p = *state;

	send_ok(p, "Born", "0", "", "x");
	assert_notified(harness_ask(p, MQ_NOTIFICATION, "consumerGroup", "pg", "topic", "Born", "queueId", "3", "pollTime", "100",
				    "bornTime", "-9223372036854775808", NULL),
			"false", "false");
	assert_notified(harness_ask(p, MQ_NOTIFICATION, "consumerGroup", "pg", "topic", "Born", "queueId", "3", "pollTime",
				    "-9223372036854775808", "bornTime", "-9223372036854775808", NULL),
			"false", "false");
	assert_notified(harness_ask(p, MQ_NOTIFICATION, "consumerGroup", "pg", "topic", "Born", "queueId", "0", "pollTime",
				    "9223372036854775807", "bornTime", "9223372036854775807", NULL),
			"true", "false");
}

static void a_peek_takes_nothing(void **state)
{
	struct harness_peer *p = *state;

	for (int i = 0; i < 2; i++) {
		struct mq_record records[8];
		const struct mq_command *answer;

		if (i == 0) {
			send_ok(p, "Peek", "0", "", "x");
			send_ok(p, "Peek", "1", "", "y");
		}
		answer = harness_ask(p, MQ_PEEK_MESSAGE, "consumerGroup", "pg", "topic", "Peek", "queueId", "-1", "maxMsgNums", "8", NULL);
		harness_assert_answer(answer, MQ_SUCCESS, "FOUND");
		assert_int_equal(records_of(answer, records, 8), 2);
		assert_string_equal(harness_field(answer, "restNum"), "2");
		assert_string_equal(harness_field(answer, "popTime"), "0");
	}
	harness_assert_answer(POP(p, .topic = "Peek"), MQ_SUCCESS, "FOUND");
	harness_assert_answer(harness_ask(p, MQ_PEEK_MESSAGE, "consumerGroup", "pg", "topic", "Peek", "queueId", "-1", "maxMsgNums", "8",
					  NULL),
			      MQ_PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE");
}

/* ---- In order ---- */

static void in_order_the_next_comes_after_the_acknowledgement(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;
	char text[160];

	for (int i = 0; i < 4; i++)
		send_ok(p, "PopOrder", "0", "", "x");
	r = popped_of(POP(p, .topic = "PopOrder", .queue = "0", .max = "2", .order = "true"));
	assert_string_equal(r.revive, "999");
	assert_string_equal(r.offsets, "0 0 0,1");
	assert_string_equal(r.counts, "0 0 0");
	assert_string_equal(committed(p, "PopOrder", "0"), "0");
	assert_nothing(POP(p, .topic = "PopOrder", .queue = "0", .order = "true"));
	assert_string_equal(harness_field(&p->answer->cmd, "restNum"), "0");

	harness_assert_answer(ack(p, "PopOrder", "0", "1", receipt(&r, 0, 0, 1)), MQ_SUCCESS, NULL);
	assert_string_equal(committed(p, "PopOrder", "0"), "0");
	assert_nothing(POP(p, .topic = "PopOrder", .queue = "0", .order = "true"));
	harness_assert_answer(ack(p, "PopOrder", "0", "0", receipt(&r, 0, 0, 0)), MQ_SUCCESS, NULL);
	assert_string_equal(committed(p, "PopOrder", "0"), "2");
	snprintf(text, sizeof text, "%s", receipt(&r, 0, 0, 3));
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopOrder", .queue = "0", .order = "true"));
	assert_string_equal(r.offsets, "0 0 2,3");
	/* An old receipt changes nothing, one of a message that was not given out is refused. */
	harness_assert_answer(ack(p, "PopOrder", "0", "3", text), MQ_SUCCESS, NULL);
	assert_string_equal(committed(p, "PopOrder", "0"), "2");
	assert_int_equal(ack(p, "PopOrder", "0", "4", receipt(&r, 2, 0, 4))->code, MQ_MESSAGE_ILLEGAL);
	popped_done(&r);
}

static void an_attempt_gets_its_messages_again(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;

	send_ok(p, "PopAttempt", "0", "", "x");
	r = popped_of(POP(p, .topic = "PopAttempt", .queue = "0", .order = "true", .attempt = "a-1"));
	popped_done(&r);
	assert_nothing(POP(p, .topic = "PopAttempt", .queue = "0", .order = "true", .attempt = "a-2"));
	r = popped_of(POP(p, .topic = "PopAttempt", .queue = "0", .order = "true", .attempt = "a-1"));
	assert_string_equal(r.offsets, "0 0 0");
	assert_string_equal(r.counts, "0 0 0");
	popped_done(&r);
}

static void in_order_what_is_not_acknowledged_blocks_until_its_time(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;
	int64_t before_ms;

	for (int i = 0; i < 2; i++)
		send_ok(p, "PopBlock", "0", "", "x");
	r = popped_of(POP(p, .topic = "PopBlock", .queue = "0", .order = "true", .max = "1", .invisible = "1000"));
	before_ms = strtoll(r.pop_time, NULL, 10);
	popped_done(&r);
	/* The poll hears of the end of the block. */
	r = popped_of(POP(p, .topic = "PopBlock", .queue = "0", .order = "true", .poll = FAR));
	assert_true(strtoll(r.pop_time, NULL, 10) >= before_ms + 1000);
	assert_string_equal(r.offsets, "0 0 0,1");
	assert_string_equal(r.counts, "0 qo0%0 1;0 0 0");
	/* Put off by its consumer: later, and then sooner. */
	harness_assert_answer(change(p, "PopBlock", "0", receipt(&r, 0, 0, 0), "300000"), MQ_SUCCESS, "not set any response code");
	assert_string_equal(harness_field(&p->answer->cmd, "popTime"), r.pop_time);
	harness_assert_answer(ack(p, "PopBlock", "0", "1", receipt(&r, 0, 0, 1)), MQ_SUCCESS, NULL);
	harness_assert_answer(change(p, "PopBlock", "0", receipt(&r, 0, 0, 0), "200"), MQ_SUCCESS, "not set any response code");
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopBlock", .queue = "0", .order = "true", .poll = FAR));
	assert_string_equal(r.offsets, "0 0 0,1");
	assert_string_equal(r.counts, "0 qo0%0 2;0 qo0%1 1;0 0 1");
	popped_done(&r);
}

static void an_acknowledgement_wakes_who_waits_for_the_next(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	struct mq_command cmd;
	struct popped first, r;
	int32_t opaque;

	send_ok(p, "PopNext", "0", "", "a");
	send_ok(p, "PopNext", "0", "", "b");
	first = popped_of(POP(p, .topic = "PopNext", .queue = "0", .order = "true", .max = "1"));
	pop_request(&cmd, &(struct popping){ .topic = "PopNext", .queue = "0", .order = "true", .poll = FAR });
	opaque = harness_send(p, &cmd);
	while (strcmp(harness_field(harness_ask(other, MQ_POLLING_INFO, "consumerGroup", "pg", "topic", "PopNext", "queueId", "0", NULL),
				    "pollingNum"),
		      "1") != 0)
		;
	harness_assert_answer(ack(other, "PopNext", "0", "0", receipt(&first, 0, 0, 0)), MQ_SUCCESS, NULL);
	r = popped_of(harness_answer(p, opaque));
	assert_string_equal(r.offsets, "0 0 1");
	popped_done(&first);
	popped_done(&r);
	harness_close(other);
}

/* ---- Restarts, resets ---- */

static void a_restart_keeps_what_is_with_the_group(void **state)
{
	struct harness_peer *p = *state;
	struct popped r, ordered;
	char text[160];

	send_ok(p, "PopKill", "0", "", "later");
	send_ok(p, "PopKill", "0", "", "never");
	send_ok(p, "PopKillOrder", "0", "", "x");
	r = popped_of(POP(p, .topic = "PopKill", .queue = "0"));
	snprintf(text, sizeof text, "%s", receipt(&r, 0, 0, 1));
	harness_assert_answer(ack(p, "PopKill", "0", "1", text), MQ_SUCCESS, NULL);
	ordered = popped_of(POP(p, .topic = "PopKillOrder", .queue = "0", .order = "true", .attempt = "a"));
	harness_close(p);
	harness_kill(daemon_);
	harness_restart(daemon_);
	*state = p = harness_connect_tcp(daemon_);
	assert_nothing(POP(p, .topic = "PopKill", .queue = "0"));
	assert_nothing(POP(p, .topic = "PopKillOrder", .queue = "0", .order = "true"));
	harness_assert_answer(ack(p, "PopKillOrder", "0", "0", receipt(&ordered, 0, 0, 0)), MQ_SUCCESS, NULL);
	assert_string_equal(committed(p, "PopKillOrder", "0"), "1");
	popped_done(&ordered);
	/* What waits is there with the time that its receipt says, or it could not be moved. */
	harness_assert_answer(change(p, "PopKill", "1", text, "1"), MQ_SUCCESS, "not set any response code");
	harness_assert_answer(change(p, "PopKill", "0", receipt(&r, 0, 0, 0), "1"), MQ_SUCCESS, "not set any response code");
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopKill", .queue = "0", .poll = FAR));
	assert_int_equal(r.n, 1);
	assert_slice(r.records[0].body, "later");
	popped_done(&r);
}

static void a_backlog_is_popped_from_the_disk_once_and_in_order(void **state)
{
	enum { N = 200 };
	struct harness_peer *p = *state;
	char body[1000] = {}, expected[sizeof body];
	int n = 0;

	memset(body, 'x', sizeof body - 1);
	for (int i = 0; i < N; i++) {
		snprintf(body, 8, "%07d", i);
		body[7] = 'x';
		send_ok(p, "PopBacklog", "0", "", body);
	}
	harness_close(p);
	harness_stop(daemon_);
	harness_restart(daemon_); /* nothing is in memory */
	*state = p = harness_connect_tcp(daemon_);
	while (n < N) {
		struct popped r = popped_of(POP(p, .topic = "PopBacklog", .poll = FAR));

		for (unsigned i = 0; i < r.n; i++) {
			snprintf(expected, sizeof expected, "%07d", n++);
			assert_memory_equal(r.records[i].body.p, expected, 7);
			assert_int_equal(r.records[i].body.n, sizeof body - 1);
		}
		popped_done(&r);
	}
	assert_nothing(POP(p, .topic = "PopBacklog"));
}

static void a_reset_is_where_the_next_pop_begins(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;

	for (int i = 0; i < 3; i++)
		send_ok(p, "PopReset", "0", "", "x");
	r = popped_of(POP(p, .topic = "PopReset", .queue = "0", .order = "true"));
	harness_assert_answer(harness_ask(p, MQ_INVOKE_BROKER_TO_RESET_OFFSET, "topic", "PopReset", "group", "pg", "timestamp", "-1",
					  "isForce", "true", "queueId", "0", "offset", "1", NULL),
			      MQ_SUCCESS, NULL);
	/* What is acknowledged meanwhile does not undo it. */
	harness_assert_answer(ack(p, "PopReset", "0", "0", receipt(&r, 0, 0, 0)), MQ_SUCCESS, NULL);
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopReset", .queue = "0", .order = "true"));
	assert_string_equal(r.starts, "0 0 1");
	assert_string_equal(r.offsets, "0 0 1,2");
	popped_done(&r);
}

/* ---- Another configuration ---- */

static void who_waits_too_many_is_told(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	struct mq_command cmd;

	send_ok(p, "PopFull", "0", "", "x");
	POP(p, .topic = "PopFull");
	pop_request(&cmd, &(struct popping){ .topic = "PopFull", .poll = FAR });
	harness_send(other, &cmd);
	while (strcmp(harness_field(harness_ask(p, MQ_POLLING_INFO, "consumerGroup", "pg", "topic", "PopFull", "queueId", "-1", NULL),
				    "pollingNum"),
		      "1") != 0)
		;
	harness_assert_answer(POP(p, .topic = "PopFull", .poll = FAR), MQ_POLLING_FULL, "NO_MESSAGE_IN_QUEUE");
	/* Who goes away makes room, also while its answer is due. */
	harness_close(other);
	while (strcmp(harness_field(harness_ask(p, MQ_POLLING_INFO, "consumerGroup", "pg", "topic", "PopFull", "queueId", "-1", NULL),
				    "pollingNum"),
		      "0") != 0)
		;
	harness_send(p, &cmd);
	send_ok(p, "PopFull", "0", "", "y");
}

static void the_second_retry_topic_has_a_name_of_its_own(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;
	char expected[160];

	send_ok(p, "PopV2", "0", "", "x");
	r = popped_of(POP(p, .topic = "PopV2", .queue = "0", .invisible = "100"));
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopV2", .poll = FAR));
	assert_int_equal(r.n, 1);
	assert_string_equal(r.offsets, "2 0 0");
	snprintf(expected, sizeof expected, "0 %s 60000 %s 2 broker-a 0 0", r.pop_time, r.revive);
	assert_property(r.records[0].properties, "POP_CK", expected);
	assert_string_equal(max_offset(p, "%RETRY%pg+PopV2", "0"), "1");
	popped_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_pop_takes_from_all_queues_and_says_where_from),
		TEST(a_pop_of_one_queue_takes_what_was_asked_for),
		TEST(a_filter_goes_on_behind_what_it_does_not_want),
		TEST(what_a_filter_wants_is_found_behind_much_that_it_does_not),
		TEST(sql92_filters_by_properties),
		TEST(a_new_group_begins_where_it_wants),
		TEST(what_cannot_be_popped_is_refused),
		TEST(who_may_not_is_told),
		TEST(the_fast_port_takes_acknowledgements_only),
		TEST(numbers_that_are_missing_are_zero),
		TEST(what_is_acknowledged_does_not_come_again),
		TEST(what_comes_again_is_counted_and_names_its_topic),
		TEST(a_receipt_that_is_none_is_refused),
		TEST(a_batch_is_acknowledged_by_its_bits),
		TEST(the_invisible_time_can_be_changed),
		TEST(what_the_group_puts_off_does_not_count),
		TEST(a_pop_waits_for_a_message),
		TEST(many_that_wait_share_what_comes),
		TEST(a_pop_that_found_nothing_says_so_in_time),
		TEST(a_notification_says_whether_there_is_something),
		TEST(a_notification_may_be_of_any_time),
		TEST(a_peek_takes_nothing),
		TEST(in_order_the_next_comes_after_the_acknowledgement),
		TEST(an_attempt_gets_its_messages_again),
		TEST(in_order_what_is_not_acknowledged_blocks_until_its_time),
		TEST(an_acknowledgement_wakes_who_waits_for_the_next),
		TEST(a_restart_keeps_what_is_with_the_group),
		TEST(a_backlog_is_popped_from_the_disk_once_and_in_order),
		TEST(a_reset_is_where_the_next_pop_begins),
	};
	const struct CMUnitTest small[] = {
		TEST(who_waits_too_many_is_told),
		TEST(who_is_gone_before_it_waits_takes_nobodys_place),
		TEST(the_second_retry_topic_has_a_name_of_its_own),
	};
	const struct CMUnitTest forbidden[] = { TEST(a_broker_that_forbids_pops_says_so) };
	const struct CMUnitTest timeless[] = { TEST(without_timers_there_are_no_pops) };
	int failed = cmocka_run_group_tests_name("pop", tests, start_daemon, stop_daemon);

	failed += cmocka_run_group_tests_name("pop, forbidden", forbidden, start_forbidding_daemon, stop_daemon);
	failed += cmocka_run_group_tests_name("pop, no timers", timeless, start_timeless_daemon, stop_daemon);
	return failed + cmocka_run_group_tests_name("pop, small", small, start_small_daemon, stop_daemon);
}
