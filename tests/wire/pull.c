/* PULL_MESSAGE (11), LITE_PULL_MESSAGE (361): result codes, stop rules, filtering, permissions, long polling. */
#include <netinet/in.h>

#include "tests/wire/messages.h"

static int start_daemon(void **state)
{
	static const char *const sets[] = { "maxTransferCountOnMessageInMemory=40", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

static void fill(struct harness_peer *p, const char *topic, unsigned n, const char *properties)
{
	struct mq_command cmd;
	int32_t last = 0;

	for (unsigned i = 0; i < n; i++) {
		send_request(&cmd, topic, "0", properties, MQ_SLICE("some body"));
		last = harness_send(p, &cmd);
		if (i == 0) /* makes the topic */
			harness_assert_answer(harness_answer(p, last), MQ_SUCCESS, NULL);
	}
	if (n > 1)
		harness_assert_answer(harness_answer(p, last), MQ_SUCCESS, NULL);
}

static void make_topic(struct harness_peer *p, const char *topic, const char *queues, const char *perm)
{
	harness_assert_answer(harness_ask(p, MQ_UPDATE_AND_CREATE_TOPIC, "topic", topic, "defaultTopic", "TBW102", "readQueueNums", queues,
					  "writeQueueNums", "4", "perm", perm, "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order",
					  "false", NULL),
			      MQ_SUCCESS, NULL);
}

/* ---- What the codes say (behaviour.md section 10) ---- */

static void what_is_there_is_found(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_record r[5];

	fill(p, "Found", 5, "");
	answer = pull(p, "Found", "0", "2");
	assert_pull(answer, MQ_SUCCESS, "FOUND", "5", "0", "5");
	assert_int_equal(records_of(answer, r, 5), 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(r[i].queue_offset, 2 + i);
}

static void at_the_end_there_is_nothing_yet(void **state)
{
	struct harness_peer *p = *state;

	fill(p, "End", 2, "");
	assert_pull(pull(p, "End", "0", "2"), MQ_PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", "2", "0", "2");
}

static void beyond_the_end_the_offset_is_corrected(void **state)
{
	struct harness_peer *p = *state;

	fill(p, "Beyond", 2, "");
	assert_pull(pull(p, "Beyond", "0", "100000"), MQ_PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY", "2", "0", "2");
	assert_pull(pull(p, "Beyond", "0", "-1"), MQ_PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", "0", "0", "2");
}

static void an_empty_queue_has_its_own_answers(void **state)
{
	struct harness_peer *p = *state;

	make_topic(p, "Empty", "4", "6");
	assert_pull(pull(p, "Empty", "1", "0"), MQ_PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE", "0", "0", "0");
	assert_pull(pull(p, "Empty", "1", "7"), MQ_PULL_OFFSET_MOVED, "NO_MESSAGE_IN_QUEUE", "0", "0", "0");
}

static void what_does_not_match_is_skipped_and_counted(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	struct mq_record r[6];

	for (int i = 0; i < 3; i++) {
		send_ok(p, "Tags", "0", "TAGS\1TagA\2", "a");
		send_ok(p, "Tags", "0", "TAGS\1TagB\2", "b");
	}
	pull_request(&cmd, "Tags", "0", "0", "4", "TagNone");
	assert_pull(harness_call(p, &cmd), MQ_PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", "6", "0", "6");

	pull_request(&cmd, "Tags", "0", "0", "4", "TagB");
	assert_pull(harness_call(p, &cmd), MQ_SUCCESS, "FOUND", "6", "0", "6");
	assert_int_equal(records_of(&p->answer->cmd, r, 6), 3);
	assert_int_equal(r[2].queue_offset, 5);
	assert_slice(r[2].body, "b");

	pull_request(&cmd, "Tags", "0", "0", "4", "TagB || TagA");
	assert_int_equal(records_of(harness_call(p, &cmd), r, 6), 6);
}

static void filtering_looks_at_a_bounded_number_of_messages(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	fill(p, "Bounded", 5000, "TAGS\1TagA\2");
	pull_request(&cmd, "Bounded", "0", "0", "4", "TagB");
	assert_pull(harness_call(p, &cmd), MQ_PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", "800", "0", "5000");
	set_field(&cmd, "maxMsgNums", "900");
	assert_pull(harness_call(p, &cmd), MQ_PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", "900", "0", "5000");
	set_field(&cmd, "maxMsgNums", "2147483647");
	assert_pull(harness_call(p, &cmd), MQ_PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", "4000", "0", "5000");
}

/* ---- How much one pull brings ---- */

static unsigned count_of(struct harness_peer *p, const char *topic, const char *max, const char *max_bytes)
{
	static struct mq_record r[128];
	struct mq_command cmd;

	pull_request(&cmd, topic, "0", "0", "4", "*");
	set_field(&cmd, "maxMsgNums", max);
	if (max_bytes)
		mq_command_add(&cmd, "maxMsgBytes", mq_slice_of(max_bytes));
	return records_of(harness_call(p, &cmd), r, 128);
}

static void a_pull_brings_no_more_than_asked_for(void **state)
{
	struct harness_peer *p = *state;

	fill(p, "Limits", 100, "");
	assert_int_equal(count_of(p, "Limits", "7", NULL), 7);
	assert_int_equal(count_of(p, "Limits", "0", NULL), 1);
	assert_int_equal(count_of(p, "Limits", "1000", NULL), 40); /* maxTransferCountOnMessageInMemory */
	assert_int_equal(count_of(p, "Limits", "32", "1"), 1);     /* the first always comes */
	assert_in_range(count_of(p, "Limits", "32", "1000"), 2, 10);
}

static void a_pull_brings_so_many_bytes(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	char *body = calloc(1, 100000);

	for (int i = 0; i < 5; i++) {
		send_request(&cmd, "Bytes", "0", "", (struct mq_slice){ body, 100000 });
		harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	}
	assert_int_equal(count_of(p, "Bytes", "32", NULL), 2); /* maxTransferBytesOnMessageInMemory: 262,144 */
	free(body);
}

/* ---- Failures, in the documented order ---- */

static const struct mq_command *assert_refused(const struct mq_command *answer, int code, const char *remark)
{
	harness_assert_answer(answer, code, remark);
	assert_true(answer->has_fields); /* {} */
	return answer;
}

static void refused_pulls_say_why(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_command cmd;

	make_topic(p, "WriteOnly", "4", "2");
	make_topic(p, "TwoQueues", "2", "6");

	assert_refused(pull(p, "Nowhere", "0", "0"), MQ_TOPIC_NOT_EXIST, "topic[Nowhere] not exist, apply first please! " FAQ);
	answer = assert_refused(pull(p, "WriteOnly", "0", "0"), MQ_NO_PERMISSION, "the topic[WriteOnly] pulling message is forbidden");
	assert_string_equal(harness_field(answer, "forbiddenType"), "3");

	answer = pull(p, "TwoQueues", "2", "0");
	assert_int_equal(answer->code, MQ_INVALID_PARAMETER);
	assert_true(mq_slice_starts(answer->remark, MQ_SLICE("queueId[2] is illegal, topic:[TwoQueues] topicConfig.readQueueNums:[2] "
							     "consumer:[/127.0.0.1:")));
	assert_int_equal(pull(p, "TwoQueues", "-1", "0")->code, MQ_INVALID_PARAMETER);
	assert_int_equal(pull(p, "TwoQueues", "1", "0")->code, MQ_PULL_NOT_FOUND);

	pull_request(&cmd, "TwoQueues", "0", "0", "4", "||");
	assert_refused(harness_call(p, &cmd), MQ_SUBSCRIPTION_PARSE_FAILED, "parse the consumer's subscription failed");
	pull_request(&cmd, "TwoQueues", "0", "0", "0", "*");
	set_field(&cmd, "consumerGroup", "offline");
	assert_refused(harness_call(p, &cmd), MQ_SUBSCRIPTION_NOT_EXIST, "the consumer's group info not exist" FAQ);
	pull_request(&cmd, "TwoQueues", "0", "0", "4", "a > 1");
	set_field(&cmd, "expressionType", "SQL92");
	assert_refused(harness_call(p, &cmd), MQ_SYSTEM_ERROR, "The broker does not support consumer to filter message by SQL92");
	pull_request(&cmd, "TwoQueues", "0", "0", "4", "*");
	set_field(&cmd, "consumerGroup", "bad/group");
	assert_refused(harness_call(p, &cmd), MQ_SUBSCRIPTION_GROUP_NOT_EXIST, "subscription group [bad/group] does not exist, " FAQ);
	drop_field(&cmd, "queueOffset");
	harness_assert_answer(harness_call(p, &cmd), MQ_SYSTEM_ERROR, "the custom field <queueOffset> is null");
}

/* As upstream since 5.5. What is missing is not committed either. */
static void what_a_pull_needs_not_may_be_missing(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	send_ok(p, "Short", "0", "", "x");
	pull_request(&cmd, "Short", "0", "0", "5", "*");
	set_field(&cmd, "commitOffset", "7");
	assert_int_equal(harness_call(p, &cmd)->code, MQ_SUCCESS);
	drop_field(&cmd, "commitOffset");
	drop_field(&cmd, "suspendTimeoutMillis");
	drop_field(&cmd, "subVersion");
	assert_int_equal(harness_call(p, &cmd)->code, MQ_SUCCESS);
	assert_string_equal(harness_field(harness_ask(p, MQ_QUERY_CONSUMER_OFFSET, "consumerGroup", "cg", "topic", "Short", "queueId", "0",
						      NULL),
					  "offset"),
			    "7");
}

static void a_group_that_may_not_consume_is_refused(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_command cmd;

	fill(p, "NoConsume", 1, "");
	harness_assert_answer(ask_with_body(p, MQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
						    "{\"groupName\":\"stopped\",\"consumeEnable\":false,\"consumeBroadcastEnable\":true}"),
			      MQ_SUCCESS, NULL);
	pull_request(&cmd, "NoConsume", "0", "0", "4", "*");
	set_field(&cmd, "consumerGroup", "stopped");
	answer = assert_refused(harness_call(p, &cmd), MQ_NO_PERMISSION, "subscription group no permission, stopped");
	assert_string_equal(harness_field(answer, "forbiddenType"), "2");
}

static void heartbeat(struct harness_peer *p, const char *group, const char *topic, const char *sub, const char *codes, const char *version)
{
	struct mq_command cmd;
	char body[1000];

	snprintf(body, sizeof body,
		 "{\"clientID\":\"c-%s\",\"consumerDataSet\":[{\"consumeFromWhere\":\"CONSUME_FROM_LAST_OFFSET\",\"consumeType\":"
		 "\"CONSUME_PASSIVELY\",\"groupName\":\"%s\",\"messageModel\":\"CLUSTERING\",\"subscriptionDataSet\":[{\"classFilterMode\":"
		 "false,\"codeSet\":[%s],\"expressionType\":\"TAG\",\"subString\":\"%s\",\"subVersion\":%s,\"tagsSet\":[],\"topic\":\"%s\"}],"
		 "\"unitMode\":false}],\"heartbeatFingerprint\":0,\"producerDataSet\":[],\"withoutSub\":false}",
		 group, group, codes, sub, version, topic);
	harness_request(&cmd, MQ_HEART_BEAT, NULL);
	cmd.body = mq_slice_of(body);
	assert_int_equal(harness_call(p, &cmd)->code, MQ_SUCCESS);
}

static void without_a_subscription_of_its_own_the_heartbeats_counts(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	struct mq_record r[2];

	send_ok(p, "Beat", "0", "TAGS\1TagA\2", "a");
	send_ok(p, "Beat", "0", "TAGS\1TagB\2", "b");
	heartbeat(p, "beating", "Beat", "TagB", "2598920", "77");

	harness_request(&cmd, MQ_PULL_MESSAGE, "consumerGroup", "beating", "topic", "Beat", "queueId", "0", "queueOffset", "0", "maxMsgNums",
			"32", "sysFlag", "2", "commitOffset", "0", "suspendTimeoutMillis", "15000", "subVersion", "77", "maxMsgBytes",
			"262144", "expressionType", "TAG", NULL);
	assert_pull(harness_call(p, &cmd), MQ_SUCCESS, "FOUND", "2", "0", "2");
	assert_int_equal(records_of(&p->answer->cmd, r, 2), 1);
	assert_slice(r[0].body, "b");

	set_field(&cmd, "subVersion", "78");
	assert_refused(harness_call(p, &cmd), MQ_SUBSCRIPTION_NOT_LATEST, "the consumer's subscription not latest");
	set_field(&cmd, "topic", "Tags2");
	make_topic(p, "Tags2", "4", "6");
	assert_refused(harness_call(p, &cmd), MQ_SUBSCRIPTION_NOT_EXIST, "the consumer's subscription not exist" FAQ);
}

static void broadcasting_is_refused_to_those_who_broadcast(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_command cmd;
	char body[600];

	make_topic(p, "Cast", "4", "6");
	harness_assert_answer(ask_with_body(p, MQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
						    "{\"groupName\":\"casting\",\"consumeEnable\":true,\"consumeBroadcastEnable\":false}"),
			      MQ_SUCCESS, NULL);
	pull_request(&cmd, "Cast", "0", "0", "0", "*");
	set_field(&cmd, "consumerGroup", "casting");

	heartbeat(p, "casting", "SomethingElse", "*", "", "1");
	assert_refused(harness_call(p, &cmd), MQ_SUBSCRIPTION_NOT_EXIST, "the consumer's subscription not exist" FAQ);
	heartbeat(p, "casting", "Cast", "*", "", "1");
	assert_int_equal(harness_call(p, &cmd)->code, MQ_PULL_NOT_FOUND);

	snprintf(body, sizeof body,
		 "{\"clientID\":\"c-casting\",\"consumerDataSet\":[{\"consumeType\":\"CONSUME_PASSIVELY\",\"groupName\":\"casting\","
		 "\"messageModel\":\"BROADCASTING\",\"subscriptionDataSet\":[{\"expressionType\":\"TAG\",\"subString\":\"*\","
		 "\"subVersion\":2,\"topic\":\"Cast\"}]}],\"producerDataSet\":[]}");
	harness_request(&cmd, MQ_HEART_BEAT, NULL);
	cmd.body = mq_slice_of(body);
	assert_int_equal(harness_call(p, &cmd)->code, MQ_SUCCESS);
	pull_request(&cmd, "Cast", "0", "0", "0", "*");
	set_field(&cmd, "consumerGroup", "casting");
	answer = assert_refused(harness_call(p, &cmd), MQ_NO_PERMISSION, "the consumer group[casting] can not consume by broadcast way");
	assert_string_equal(harness_field(answer, "forbiddenType"), "4");
}

static void lite_pulls_are_pulls(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	struct mq_record r;

	fill(p, "Lite", 1, "");
	pull_request(&cmd, "Lite", "0", "0", "22", "*");
	cmd.code = MQ_LITE_PULL_MESSAGE;
	assert_int_equal(records_of(harness_call(p, &cmd), &r, 1), 1);
}

static void the_fast_port_serves_all_but_pulls(void **state)
{
	struct harness_peer *p;
	struct mq_command cmd;

	p = harness_connect_fast(daemon_);
	send_ok(p, "Fast", "0", "", "x");
	pull_request(&cmd, "Fast", "0", "0", "4", "*");
	harness_assert_answer(harness_call(p, &cmd), MQ_REQUEST_CODE_NOT_SUPPORTED, " request type 11 not supported");
	cmd.code = MQ_LITE_PULL_MESSAGE;
	harness_assert_answer(harness_call(p, &cmd), MQ_REQUEST_CODE_NOT_SUPPORTED, " request type 361 not supported");
	assert_string_equal(harness_field(harness_ask(p, MQ_GET_MAX_OFFSET, "topic", "Fast", "queueId", "0", NULL), "offset"), "1");
	harness_close(p);
}

static void a_pull_may_commit(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	fill(p, "Commits", 3, "");
	pull_request(&cmd, "Commits", "0", "2", "5", "*");
	set_field(&cmd, "commitOffset", "2");
	assert_int_equal(harness_call(p, &cmd)->code, MQ_SUCCESS);
	assert_string_equal(harness_field(harness_ask(p, MQ_QUERY_CONSUMER_OFFSET, "consumerGroup", "cg", "topic", "Commits", "queueId", "0",
						      NULL),
					  "offset"),
			    "2");
	set_field(&cmd, "sysFlag", "4");
	set_field(&cmd, "commitOffset", "1"); /* not marked as valid */
	assert_int_equal(harness_call(p, &cmd)->code, MQ_SUCCESS);
	assert_string_equal(harness_field(harness_ask(p, MQ_QUERY_CONSUMER_OFFSET, "consumerGroup", "cg", "topic", "Commits", "queueId", "0",
						      NULL),
					  "offset"),
			    "2");
}

/* ---- What expired ---- */

static void expire(struct harness_peer *p, const char *topic, const char *min)
{
	int64_t deadline_ms = milliseconds() + HARNESS_DEADLINE_MS;

	do {
		assert_true(milliseconds() < deadline_ms);
		harness_assert_answer(harness_ask(p, MQ_DELETE_EXPIRED_COMMITLOG, NULL), MQ_SUCCESS, NULL);
	} while (strcmp(harness_field(harness_ask(p, MQ_GET_MIN_OFFSET, "topic", topic, "queueId", "0", NULL), "offset"), min) != 0);
}

static void what_expired_is_below_the_minimum_for_good(void **state)
{
	static const char *const sets[] = { "fileReservedTime=1s", NULL };
	struct harness_daemon *own = harness_start(HARNESS_BROKER, sets);
	struct harness_peer *p = harness_connect(own);

	fill(p, "Expired", 3, "");
	expire(p, "Expired", "3");
	assert_pull(pull(p, "Expired", "0", "0"), MQ_PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", "3", "3", "3");
	assert_pull(pull(p, "Expired", "0", "3"), MQ_PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", "3", "3", "3");
	/* A group that begins is not told to begin at 0. */
	harness_assert_answer(harness_ask(p, MQ_QUERY_CONSUMER_OFFSET, "consumerGroup", "cg", "topic", "Expired", "queueId", "0", NULL),
			      MQ_QUERY_NOT_FOUND, "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first");
	harness_kill(own);
	harness_close(p);
	harness_restart(own);
	p = harness_connect(own);
	send_ok(p, "Expired", "0", "", "x");
	assert_string_equal(harness_field(&p->answer->cmd, "queueOffset"), "3");
	assert_pull(pull(p, "Expired", "0", "2"), MQ_PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", "3", "3", "4");
	assert_pull(pull(p, "Expired", "0", "3"), MQ_SUCCESS, "FOUND", "4", "3", "4");
	assert_pull(pull(p, "Expired", "0", "5"), MQ_PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY", "4", "3", "4");
	harness_assert_answer(harness_ask(p, MQ_CLEAN_EXPIRED_CONSUMEQUEUE, NULL), MQ_SUCCESS, NULL);
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

/* ---- Long polling (behaviour.md section 11) ---- */

/* Returns when the broker has seen it. */
static int32_t wait_for_message(struct harness_peer *p, const char *topic, const char *offset, const char *expression, const char *ms)
{
	struct mq_command cmd;
	int32_t opaque;

	pull_request(&cmd, topic, "0", offset, "6", expression);
	set_field(&cmd, "suspendTimeoutMillis", ms);
	opaque = harness_send(p, &cmd);
	harness_ask(p, MQ_GET_MAX_OFFSET, "topic", topic, "queueId", "0", NULL);
	return opaque;
}

static void a_held_pull_is_answered_by_the_message(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	const struct mq_command *answer;
	struct mq_record r;
	int32_t opaque;

	fill(p, "Held", 2, "");
	for (int i = 2; i < 30; i++) { /* on either loop */
		char offset[16], next[16];

		snprintf(offset, sizeof offset, "%d", i);
		snprintf(next, sizeof next, "%d", i + 1);
		opaque = wait_for_message(p, "Held", offset, "*", "60000");
		send_ok(other, "Held", "0", "", "wakes the waiting pull");
		answer = harness_answer(p, opaque);
		assert_pull(answer, MQ_SUCCESS, "FOUND", next, "0", next);
		assert_int_equal(records_of(answer, &r, 1), 1);
	}
	harness_close(other);
}

static void the_first_message_of_a_queue_wakes_too(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	int32_t opaque;

	make_topic(p, "First", "4", "6");
	opaque = wait_for_message(p, "First", "0", "*", "60000");
	send_ok(other, "First", "0", "", "x");
	assert_pull(harness_answer(p, opaque), MQ_SUCCESS, "FOUND", "1", "0", "1");
	harness_close(other);
}

static void many_held_pulls_of_one_connection_are_answered(void **state)
{
	enum { N = 300 };
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	int32_t opaques[N];

	fill(p, "Crowd", 1, "");
	for (int i = 0; i < N; i++)
		opaques[i] = wait_for_message(p, "Crowd", "1", "*", "60000");
	send_ok(other, "Crowd", "0", "", "x");
	for (int i = 0; i < N; i++)
		assert_int_equal(harness_answer(p, opaques[i])->code, MQ_SUCCESS);
	harness_close(other);
}

static void a_held_pull_ends_with_its_time(void **state)
{
	struct harness_peer *p = *state;
	int64_t began_ms = milliseconds();
	int32_t opaque;

	fill(p, "Expires", 1, "");
	opaque = wait_for_message(p, "Expires", "1", "*", "300");
	assert_pull(harness_answer(p, opaque), MQ_PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", "1", "0", "1");
	assert_true(milliseconds() - began_ms >= 290);
}

/* What an administrator did meanwhile holds for pulls that wait, too. */
static void a_held_pull_is_refused_when_it_may_no_longer_read(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	const struct mq_command *answer;
	int32_t opaque;

	make_topic(other, "Shut", "1", "6");
	send_ok(other, "Shut", "0", "", "x");
	opaque = wait_for_message(p, "Shut", "1", "*", "60000");
	make_topic(other, "Shut", "1", "2");
	send_ok(other, "Shut", "0", "", "x");
	answer = harness_answer(p, opaque);
	harness_assert_answer(answer, MQ_NO_PERMISSION, "the topic[Shut] pulling message is forbidden");
	assert_string_equal(harness_field(answer, "forbiddenType"), "3");

	make_topic(other, "Gone", "1", "6");
	send_ok(other, "Gone", "0", "", "x");
	opaque = wait_for_message(p, "Gone", "1", "*", "60000");
	harness_assert_answer(harness_ask(other, MQ_DELETE_TOPIC_IN_BROKER, "topic", "Gone", NULL), MQ_SUCCESS, NULL);
	harness_assert_answer(harness_answer(p, opaque), MQ_TOPIC_NOT_EXIST, "topic[Gone] not exist, apply first please! " FAQ);
	harness_close(other);
}

/* The queue that it waits for is not the one that grows. */
static void a_held_pull_sees_that_its_topic_is_another(void **state)
{
	static const char *const topics[] = { "RemadeEmpty", "Remade" }, *const offsets[] = { "0", "3" };
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);

	for (int i = 0; i < 2; i++) {
		int32_t opaque;
		int code;

		make_topic(other, topics[i], "1", "6");
		for (int n = 0; i == 1 && n < 3; n++)
			send_ok(other, topics[i], "0", "", "x");
		opaque = wait_for_message(p, topics[i], offsets[i], "*", "60000");
		harness_assert_answer(harness_ask(other, MQ_DELETE_TOPIC_IN_BROKER, "topic", topics[i], NULL), MQ_SUCCESS, NULL);
		make_topic(other, topics[i], "1", "6");
		send_ok(other, topics[i], "0", "", "y");
		/* It looked when the topic was gone, or later, when offset 3 is beyond what there is. */
		code = harness_answer(p, opaque)->code;
		assert_true(code == MQ_TOPIC_NOT_EXIST || code == (i == 0 ? MQ_SUCCESS : MQ_PULL_OFFSET_MOVED));
		assert_pull(pull(p, topics[i], "0", "0"), MQ_SUCCESS, "FOUND", "1", "0", "1");
	}
	harness_close(other);
}

static void a_message_that_does_not_match_lets_the_pull_wait_on(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	struct mq_record r;
	int32_t opaque;

	send_ok(other, "Picky", "0", "TAGS\1TagA\2", "0");
	opaque = wait_for_message(p, "Picky", "1", "TagB", "60000");
	send_ok(other, "Picky", "0", "TAGS\1TagA\2", "1");
	send_ok(other, "Picky", "0", "TAGS\1TagA\2", "2");
	send_ok(other, "Picky", "0", "TAGS\1TagB\2", "3");
	assert_pull(harness_answer(p, opaque), MQ_SUCCESS, "FOUND", "4", "0", "4");
	assert_int_equal(records_of(&p->answer->cmd, &r, 1), 1);
	assert_slice(r.body, "3");
	harness_close(other);
}

static void a_pull_that_only_skipped_moves_on_in_the_end(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmds[3];

	send_ok(p, "Skips", "0", "TAGS\1TagA\2", "0");
	pull_request(&cmds[0], "Skips", "0", "1", "6", "TagB");
	set_field(&cmds[0], "suspendTimeoutMillis", "1000");
	for (int i = 1; i < 3; i++)
		send_request(&cmds[i], "Skips", "0", "TAGS\1TagA\2", MQ_SLICE("skipped"));
	harness_send_all(p, cmds, N_ELEMENTS(cmds)); /* they come while it waits */
	assert_pull(harness_answer(p, cmds[0].opaque), MQ_PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", "3", "0", "3");
}

static void a_closed_connection_takes_its_held_pulls_along(void **state)
{
	struct harness_peer *p = *state, *gone = harness_connect_tcp(daemon_);

	fill(p, "Gone", 1, "");
	for (int i = 0; i < 50; i++)
		wait_for_message(gone, "Gone", "1", "*", "60000");
	harness_close(gone);
	for (int i = 0; i < 10; i++)
		send_ok(p, "Gone", "0", "", "x");
}

static void a_stopping_broker_answers_what_it_holds(void **state)
{
	struct harness_daemon *own = harness_start(HARNESS_BROKER, NULL);
	struct harness_peer *p = harness_connect(own);
	int32_t opaque;

	send_ok(p, "Stops", "0", "", "x");
	opaque = wait_for_message(p, "Stops", "1", "*", "60000"); /* longer than this test waits for anything */
	kill(own->pid, SIGTERM);
	assert_pull(harness_answer(p, opaque), MQ_PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", "1", "0", "1");
	harness_wait_closed(p);
	harness_close(p);
	assert_int_equal(harness_wait(own), 0);
	harness_free(own);
}

static void old_messages_come_from_the_disk(void **state)
{
	static const char *const sets[] = { "storeMemoryBytes=16M", NULL };
	struct harness_daemon *own = harness_start(HARNESS_BROKER, sets);
	struct harness_peer *p = harness_connect(own);
	struct mq_record r[32];
	unsigned n = 0;

	for (int i = 0; i < 100; i++)
		send_ok(p, "Old", "0", "", "x");
	harness_close(p);
	harness_stop(own);
	harness_restart(own);
	p = harness_connect(own);
	while (n < 100) {
		char offset[16];
		unsigned got;

		snprintf(offset, sizeof offset, "%u", n);
		got = records_of(pull(p, "Old", "0", offset), r, 32);
		assert_in_range(got, 1, 32);
		assert_int_equal(r[0].queue_offset, n);
		n += got;
	}
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

/* ---- Backlogs, which readers read ahead ---- */

enum { BACKLOG = 8000 };

/* Every third message has TagA, the others TagB; the body begins with the offset. */
static void fill_backlog(struct harness_peer *p, const char *topic, unsigned from, unsigned n)
{
	char body[1000];
	int32_t last = 0;

	for (unsigned i = from; i < from + n; i++) {
		struct mq_command cmd;

		memset(body, 'x', sizeof body);
		snprintf(body, sizeof body, "%u ", i);
		send_request(&cmd, topic, "0", i % 3 == 0 ? "TAGS\1TagA\2" : "TAGS\1TagB\2", (struct mq_slice){ body, sizeof body });
		last = harness_send(p, &cmd);
		if (i == 0 || i % 500 == 0) /* makes the topic; and not more than the broker takes at once */
			harness_assert_answer(harness_answer(p, last), MQ_SUCCESS, NULL);
	}
	if ((from + n - 1) % 500 != 0)
		harness_assert_answer(harness_answer(p, last), MQ_SUCCESS, NULL);
}

/* A broker that has written most of the topic "Backlog" to its disk and has nothing of it in memory. */
static struct harness_daemon *start_backlog(struct harness_peer **ret)
{
	static const char *const sets[] = { "storeMemoryBytes=16M", NULL };
	struct harness_daemon *d = harness_start(HARNESS_BROKER, sets);
	struct harness_peer *p = harness_connect(d);

	fill_backlog(p, "Backlog", 0, BACKLOG);
	harness_close(p);
	harness_stop(d);
	harness_restart(d);
	*ret = harness_connect(d);
	return d;
}

static void stop_backlog(struct harness_daemon *d, struct harness_peer *p)
{
	harness_close(p);
	harness_stop(d);
	harness_free(d);
}

static bool backlog_matches(unsigned offset, const char *expression)
{
	return expression[0] == '*' || (expression[3] == 'A') == (offset % 3 == 0);
}

/* One pull; what it says it has gone through is there, all that matches and nothing else. Returns how many came. */
static unsigned pull_backlog(struct harness_peer *p, unsigned *offset, const char *expression)
{
	struct mq_record r[32];
	struct mq_command cmd;
	char text[16];
	unsigned n, i = 0, next;

	snprintf(text, sizeof text, "%u", *offset);
	pull_request(&cmd, "Backlog", "0", text, "4", expression);
	n = records_of(harness_call(p, &cmd), r, 32);
	assert_int_equal(p->answer->cmd.code, n > 0 ? MQ_SUCCESS : MQ_PULL_RETRY_IMMEDIATELY);
	next = (unsigned)atoi(harness_field(&p->answer->cmd, "nextBeginOffset"));
	assert_true(next > *offset);
	for (; *offset < next; ++*offset) {
		if (!backlog_matches(*offset, expression))
			continue;
		assert_true(i < n);
		assert_int_equal(r[i].queue_offset, *offset);
		assert_int_equal(atoi(r[i].body.p), *offset);
		i++;
	}
	assert_int_equal(i, n);
	return n;
}

/* A block of the disk has 14 of these messages, and what comes from the disk itself comes by eight. */
static void a_backlog_comes_in_full_answers_while_it_grows(void **state)
{
	struct harness_peer *p;
	struct harness_daemon *own = start_backlog(&p);
	unsigned offset = 0, end = BACKLOG, n_full = 0;

	while (offset < end) {
		n_full += pull_backlog(p, &offset, "*") == 32;
		if (end < BACKLOG + 1000) {
			fill_backlog(p, "Backlog", end, 10);
			end += 10;
		}
	}
	assert_true(n_full > BACKLOG / 32 / 2);
	assert_int_equal(offset, BACKLOG + 1000);
	stop_backlog(own, p);
}

static void what_was_read_ahead_is_filtered_as_each_pull_says(void **state)
{
	static const char *const expressions[] = { "TagA", "*", "TagB", "TagA", "TagNone", "TagB" };
	struct harness_peer *p;
	struct harness_daemon *own = start_backlog(&p);
	unsigned offset = 0, round = 0;

	while (offset < BACKLOG) {
		const char *expression = expressions[round++ % N_ELEMENTS(expressions)];

		if (strcmp(expression, "TagNone") != 0)
			pull_backlog(p, &offset, expression);
	}
	stop_backlog(own, p);
}

static void of_a_topic_made_again_nothing_was_read_ahead(void **state)
{
	struct harness_peer *p;
	struct harness_daemon *own = start_backlog(&p);
	unsigned offset = 0;
	struct mq_record r[32];
	char text[16];

	while (offset < 1000)
		pull_backlog(p, &offset, "*");
	snprintf(text, sizeof text, "%u", offset);
	harness_assert_answer(harness_ask(p, MQ_DELETE_TOPIC_IN_BROKER, "topic", "Backlog", NULL), MQ_SUCCESS, NULL);
	assert_int_equal(pull(p, "Backlog", "0", text)->code, MQ_TOPIC_NOT_EXIST);
	send_ok(p, "Backlog", "0", "", "new");
	assert_pull(pull(p, "Backlog", "0", text), MQ_PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY", "1", "0", "1");
	assert_int_equal(records_of(pull(p, "Backlog", "0", "0"), r, 32), 1);
	assert_slice(r[0].body, "new");

	/* Up to the same offset, while what was there before may still be in memory. */
	fill_backlog(p, "Backlog", 1, 1500);
	offset = 1;
	while (offset < 1501)
		pull_backlog(p, &offset, "TagB");
	stop_backlog(own, p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_there_is_found),
		TEST(at_the_end_there_is_nothing_yet),
		TEST(beyond_the_end_the_offset_is_corrected),
		TEST(an_empty_queue_has_its_own_answers),
		TEST(what_does_not_match_is_skipped_and_counted),
		TEST(filtering_looks_at_a_bounded_number_of_messages),
		TEST(a_pull_brings_no_more_than_asked_for),
		TEST(a_pull_brings_so_many_bytes),
		TEST(refused_pulls_say_why),
		TEST(what_a_pull_needs_not_may_be_missing),
		TEST(a_group_that_may_not_consume_is_refused),
		TEST(without_a_subscription_of_its_own_the_heartbeats_counts),
		TEST(broadcasting_is_refused_to_those_who_broadcast),
		TEST(lite_pulls_are_pulls),
		TEST(the_fast_port_serves_all_but_pulls),
		TEST(a_pull_may_commit),
		TEST(a_held_pull_is_answered_by_the_message),
		TEST(the_first_message_of_a_queue_wakes_too),
		TEST(many_held_pulls_of_one_connection_are_answered),
		TEST(a_held_pull_ends_with_its_time),
		TEST(a_held_pull_is_refused_when_it_may_no_longer_read),
		TEST(a_held_pull_sees_that_its_topic_is_another),
		TEST(a_message_that_does_not_match_lets_the_pull_wait_on),
		TEST(a_pull_that_only_skipped_moves_on_in_the_end),
		TEST(a_closed_connection_takes_its_held_pulls_along),
		cmocka_unit_test(what_expired_is_below_the_minimum_for_good),
		cmocka_unit_test(a_stopping_broker_answers_what_it_holds),
		cmocka_unit_test(old_messages_come_from_the_disk),
		cmocka_unit_test(a_backlog_comes_in_full_answers_while_it_grows),
		cmocka_unit_test(what_was_read_ahead_is_filtered_as_each_pull_says),
		cmocka_unit_test(of_a_topic_made_again_nothing_was_read_ahead),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
