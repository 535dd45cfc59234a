/* INVOKE_BROKER_TO_RESET_OFFSET (222) and what it does to pulls and commits; RESET_CONSUMER_CLIENT_OFFSET (220). */
#include "tests/wire/messages.h"

static int start_daemon(void **state)
{
	static const char *const sets[] = { "ioThreads=2", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

/* Ten messages in queue 0, of which the group "cg" has consumed five. */
static void prepare(struct harness_peer *p, const char *topic)
{
	for (int i = 0; i < 10; i++)
		send_ok(p, topic, "0", "", "x");
	pull(p, topic, "0", "0"); /* makes the group */
	harness_assert_answer(harness_ask(p, MQ_UPDATE_CONSUMER_OFFSET, "consumerGroup", "cg", "topic", topic, "queueId", "0",
					  "commitOffset", "5", NULL),
			      MQ_SUCCESS, NULL);
}

static void reset_request(struct mq_command *cmd, const char *topic, const char *queue, const char *time, const char *offset)
{
	harness_request(cmd, MQ_INVOKE_BROKER_TO_RESET_OFFSET, "topic", topic, "group", "cg", "timestamp", time, "isForce", "true",
			"queueId", queue, "offset", offset, NULL);
}

static const struct mq_command *reset(struct harness_peer *p, const char *topic, const char *queue, const char *time, const char *offset)
{
	struct mq_command cmd;

	reset_request(&cmd, topic, queue, time, offset);
	return harness_call(p, &cmd);
}

static const struct mq_command *commit(struct harness_peer *p, const char *topic, const char *offset)
{
	return harness_ask(p, MQ_UPDATE_CONSUMER_OFFSET, "consumerGroup", "cg", "topic", topic, "queueId", "0", "commitOffset", offset,
			   NULL);
}

static const char *committed(struct harness_peer *p, const char *topic)
{
	return harness_field(harness_ask(p, MQ_QUERY_CONSUMER_OFFSET, "consumerGroup", "cg", "topic", topic, "queueId", "0", NULL),
			     "offset");
}

static void a_reset_by_time_goes_to_every_queue(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	const char *body;

	prepare(p, "RsTime");
	answer = reset(p, "RsTime", "-1", "0", "-1");
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	body = harness_body(answer);
	assert_non_null(strstr(body, "{\"offsetTable\":{{\"brokerName\":"));
	for (int i = 0; i < 4; i++) {
		char queue[64];

		snprintf(queue, sizeof queue, "\"queueId\":%d,\"topic\":\"RsTime\"}:0", i);
		assert_non_null(strstr(body, queue));
	}
	assert_string_equal(committed(p, "RsTime"), "0");
	answer = reset(p, "RsTime", "-1", "-1", "-1"); /* to the end */
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_non_null(strstr(harness_body(answer), "\"queueId\":0,\"topic\":\"RsTime\"}:10"));
	assert_string_equal(committed(p, "RsTime"), "10");
}

/* A consumer that goes on as before must neither undo the reset nor miss it. */
static void commits_wait_for_the_pull_that_is_told(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	prepare(p, "RsPull");
	harness_assert_answer(reset(p, "RsPull", "0", "0", "2"), MQ_SUCCESS, NULL);
	harness_assert_answer(commit(p, "RsPull", "7"), MQ_SUCCESS, "Offset has been previously reset");
	assert_string_equal(committed(p, "RsPull"), "2");
	pull_request(&cmd, "RsPull", "0", "7", "5", "*"); /* with a commit */
	set_field(&cmd, "commitOffset", "7");
	assert_pull(harness_call(p, &cmd), MQ_PULL_OFFSET_MOVED, "OFFSET_RESET", "2", "0", "10");
	assert_string_equal(committed(p, "RsPull"), "2");
	assert_pull(pull(p, "RsPull", "0", "2"), MQ_SUCCESS, "FOUND", "10", "0", "10");
	harness_assert_answer(commit(p, "RsPull", "7"), MQ_SUCCESS, NULL);
	assert_string_equal(committed(p, "RsPull"), "7");
}

/* Upstream, too, looks when something wakes the pull. */
static void a_pull_that_waits_is_told_when_it_wakes(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	struct mq_command cmd;
	int32_t opaque;

	prepare(p, "RsWait");
	pull_request(&cmd, "RsWait", "0", "10", "6", "*");
	set_field(&cmd, "suspendTimeoutMillis", "60000");
	opaque = harness_send(other, &cmd);
	harness_ask(other, MQ_GET_MAX_OFFSET, "topic", "RsWait", "queueId", "0", NULL);
	harness_assert_answer(reset(p, "RsWait", "0", "0", "4"), MQ_SUCCESS, NULL);
	send_ok(p, "RsWait", "0", "", "x");
	assert_pull(harness_answer(other, opaque), MQ_PULL_OFFSET_MOVED, "OFFSET_RESET", "4", "0", "11");
	harness_close(other);
}

static void what_cannot_be_reset_is_named(void **state)
{
	struct harness_peer *p = *state;

	prepare(p, "RsBad");
	harness_assert_answer(reset(p, "RsNone", "-1", "0", "-1"), MQ_TOPIC_NOT_EXIST, "Topic RsNone does not exist");
	harness_assert_answer(harness_ask(p, MQ_INVOKE_BROKER_TO_RESET_OFFSET, "topic", "RsBad", "group", "nobody", "timestamp", "0",
					  "isForce", "true", NULL),
			      MQ_SUBSCRIPTION_GROUP_NOT_EXIST, "Group nobody does not exist");
	harness_assert_answer(reset(p, "RsBad", "0", "0", "12"), MQ_SYSTEM_ERROR, "Target offset 12 not in consume queue range [0-10]");
	harness_assert_answer(reset(p, "RsBad", "0", "0", "11"), MQ_SUCCESS, NULL);
	assert_pull(pull(p, "RsBad", "0", "5"), MQ_PULL_OFFSET_MOVED, "OFFSET_RESET", "11", "0", "10");
}

static void a_reset_survives_a_kill_and_goes_with_its_topic(void **state)
{
	struct harness_daemon *own = harness_start(HARNESS_BROKER, NULL);
	struct harness_peer *p = harness_connect(own);

	prepare(p, "RsKept");
	harness_assert_answer(reset(p, "RsKept", "0", "0", "3"), MQ_SUCCESS, NULL);
	harness_kill(own);
	harness_close(p);
	harness_restart(own);
	p = harness_connect(own);
	assert_string_equal(committed(p, "RsKept"), "3");
	harness_assert_answer(reset(p, "RsKept", "0", "0", "4"), MQ_SUCCESS, NULL);
	harness_assert_answer(harness_ask(p, MQ_DELETE_TOPIC_IN_BROKER, "topic", "RsKept", NULL), MQ_SUCCESS, NULL);
	send_ok(p, "RsKept", "0", "", "new");
	assert_pull(pull(p, "RsKept", "0", "0"), MQ_SUCCESS, "FOUND", "1", "0", "1");
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

static void beat(struct harness_peer *p)
{
	struct mq_command cmd;

	harness_request(&cmd, MQ_HEART_BEAT, NULL);
	cmd.body = MQ_SLICE("{\"clientID\":\"c\",\"consumerDataSet\":[{\"consumeFromWhere\":\"CONSUME_FROM_FIRST_OFFSET\",\"consumeType\":"
			    "\"CONSUME_PASSIVELY\",\"groupName\":\"cg\",\"messageModel\":\"CLUSTERING\",\"subscriptionDataSet\":[],"
			    "\"unitMode\":false}],\"heartbeatFingerprint\":0,\"producerDataSet\":[],\"withoutSub\":false}");
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
}

/* useServerSideResetOffset=false: as brokers before 5.1. */
static void members_are_told_when_the_broker_does_not_reset(void **state)
{
	static const char *const sets[] = { "useServerSideResetOffset=false", "brokerName=b", NULL };
	struct harness_daemon *own = harness_start(HARNESS_BROKER, sets);
	struct harness_peer *p = harness_connect(own), *member;
	struct harness_frame *f;
	struct mq_command cmd;

	harness_ask(p, MQ_UPDATE_AND_CREATE_TOPIC, "topic", "RsTold", "defaultTopic", "TBW102", "readQueueNums", "1", "writeQueueNums", "1",
		    "perm", "6", "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", "false", NULL);
	harness_assert_answer(reset(p, "RsTold", "-1", "0", "-1"), MQ_SYSTEM_ERROR, "THe consumer group <cg> not exist");
	prepare(p, "RsTold");
	harness_assert_answer(reset(p, "RsTold", "-1", "0", "-1"), MQ_CONSUMER_NOT_ONLINE,
			      "Consumer not online, so can not reset offset, Group: cg Topic: RsTold Timestamp: 0");
	member = harness_connect_tcp(own);
	beat(member);
	harness_assert_answer(reset(p, "RsTold", "-1", "0", "-1"), MQ_SUCCESS, NULL);
	assert_string_equal(harness_body(&p->answer->cmd),
			    "{\"offsetTable\":{{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"RsTold\"}:0}}");
	f = harness_receive(member, MQ_RESET_CONSUMER_CLIENT_OFFSET);
	assert_int_equal(f->cmd.flag, MQ_FLAG_ONEWAY);
	assert_string_equal(harness_field(&f->cmd, "topic"), "RsTold");
	assert_string_equal(harness_field(&f->cmd, "group"), "cg");
	assert_string_equal(harness_field(&f->cmd, "timestamp"), "0");
	assert_slice(f->cmd.body, "{\"offsetTable\":{{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"RsTold\"}:0}}");
	harness_frame_free(f);
	assert_string_equal(committed(p, "RsTold"), "5"); /* that is left to them */

	harness_assert_answer(reset(p, "RsTold", "-1", "-1", "-1"), MQ_SUCCESS, NULL); /* forced */
	assert_string_equal(harness_body(&p->answer->cmd),
			    "{\"offsetTable\":{{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"RsTold\"}:10}}");
	harness_frame_free(harness_receive(member, MQ_RESET_CONSUMER_CLIENT_OFFSET));

	/* Not forced, it skips nothing; to C++ clients it is a list. */
	reset_request(&cmd, "RsTold", "-1", "-1", "-1");
	set_field(&cmd, "isForce", "false");
	cmd.language = MQ_CPP;
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	f = harness_receive(member, MQ_RESET_CONSUMER_CLIENT_OFFSET);
	assert_slice(f->cmd.body, "{\"offsetTable\":[{\"brokerName\":\"b\",\"offset\":5,\"queueId\":0,\"topic\":\"RsTold\"}]}");
	harness_frame_free(f);
	harness_assert_answer(reset(p, "RsNone", "-1", "0", "-1"), MQ_TOPIC_NOT_EXIST,
			      "[reset-offset] reset offset failed, no topic in this broker. topic=RsNone");
	harness_close(member);
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_reset_by_time_goes_to_every_queue),
		TEST(commits_wait_for_the_pull_that_is_told),
		TEST(a_pull_that_waits_is_told_when_it_wakes),
		TEST(what_cannot_be_reset_is_named),
		cmocka_unit_test(a_reset_survives_a_kill_and_goes_with_its_topic),
		cmocka_unit_test(members_are_told_when_the_broker_does_not_reset),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
