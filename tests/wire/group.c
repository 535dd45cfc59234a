/* Consumer groups and their progress (200, 201, 207, 208, 300, 352). */
#include "tests/wire/messages.h"

static int start_daemon(void **state)
{
	static const char *const sets[] = { "brokerName=broker-a", "fastListenPort=-1", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

#define GROUP_TAIL                                                                                                   \
	"\"groupRetryPolicy\":{\"type\":\"CUSTOMIZED\"},\"groupSysFlag\":0,\"notifyConsumerIdsChangedEnable\":true," \
	"\"retryMaxTimes\":16,"                                                                                      \
	"\"retryQueueNums\":1,\"whichBrokerWhenConsumeSlowly\":1}"

static const struct mq_command *update(struct harness_peer *p, const char *body)
{
	return ask_with_body(p, MQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, body);
}

static void commit(struct harness_peer *p, const char *group, const char *topic, const char *queue, const char *offset)
{
	harness_assert_answer(harness_ask(p, MQ_UPDATE_CONSUMER_OFFSET, "consumerGroup", group, "topic", topic,
					  "queueId", queue, "commitOffset", offset, NULL),
			      MQ_SUCCESS, NULL);
}

static void a_group_is_created_shown_and_deleted(void **state)
{
	static const char golden[] =
		"{\"attributes\":{},\"brokerId\":0,\"consumeBroadcastEnable\":false,\"consumeEnable\":true,"
		"\"consumeFromMinEnable\":false,\"consumeMessageOrderly\":false,\"consumeTimeoutMinute\":15,"
		"\"groupName\":"
		"\"golden_group\"," GROUP_TAIL;
	struct harness_peer *p = *state;

	harness_assert_answer(update(p, golden), MQ_SUCCESS, NULL);
	assert_string_equal(
		harness_body(harness_ask(p, MQ_GET_SUBSCRIPTIONGROUP_CONFIG, "group", "golden_group", NULL)), golden);
	harness_assert_answer(
		harness_ask(p, MQ_DELETE_SUBSCRIPTIONGROUP, "groupName", "golden_group", "cleanOffset", "false", NULL),
		MQ_SUCCESS, NULL);
	harness_assert_answer(harness_ask(p, MQ_DELETE_SUBSCRIPTIONGROUP, "groupName", "golden_group", NULL),
			      MQ_SUCCESS, NULL);
	/* Asking for an unknown group makes it. */
	assert_string_equal(
		harness_body(harness_ask(p, MQ_GET_SUBSCRIPTIONGROUP_CONFIG, "group", "golden_group", NULL)),
		"{\"attributes\":{},\"brokerId\":0,\"consumeBroadcastEnable\":true,\"consumeEnable\":true,"
		"\"consumeFromMinEnable\":"
		"true,\"consumeMessageOrderly\":false,\"consumeTimeoutMinute\":15,\"groupName\":\"golden_"
		"group\"," GROUP_TAIL);
}

static void refusals_have_apaches_codes_and_texts(void **state)
{
	struct harness_peer *p = *state;

	harness_assert_answer(update(p, NULL), MQ_SYSTEM_ERROR, "the request has no body");
	harness_assert_answer(update(p, "{}"), MQ_INVALID_PARAMETER, "The specified group is blank.");
	harness_assert_answer(update(p, "{\"groupName\":\"a.b\"}"), MQ_INVALID_PARAMETER,
			      "The specified group: a.b, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$");
	assert_int_equal(update(p, "{")->code, MQ_SYSTEM_ERROR);
	harness_assert_answer(harness_ask(p, MQ_GET_SUBSCRIPTIONGROUP_CONFIG, "group", "a.b", NULL),
			      MQ_SUBSCRIPTION_GROUP_NOT_EXIST, "No group in this broker");
	harness_assert_answer(harness_ask(p, MQ_DELETE_SUBSCRIPTIONGROUP, "groupName", "", "cleanOffset", "true", NULL),
			      MQ_INVALID_PARAMETER, "The specified group is blank.");
	harness_assert_answer(harness_ask(p, MQ_DELETE_SUBSCRIPTIONGROUP, NULL), MQ_SYSTEM_ERROR,
			      "the custom field <groupName> is null");
}

static void the_table_comes_whole_or_in_pages(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	const char *body;

	answer = harness_ask(p, MQ_GET_ALL_SUBSCRIPTIONGROUP_CONFIG, NULL);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_true(atoi(harness_field(answer, "totalGroupNum")) >= 8);
	body = harness_body(answer);
	assert_int_equal(strncmp(body, "{\"dataVersion\":{\"counter\":", 26), 0);
	assert_non_null(strstr(body, "},\"forbiddenTable\":{},\"subscriptionGroupTable\":{"));
	assert_non_null(
		strstr(body, "\"TOOLS_CONSUMER\":{\"attributes\":{},\"brokerId\":0,\"consumeBroadcastEnable\":true,"));
	answer = harness_ask(p, MQ_GET_ALL_SUBSCRIPTIONGROUP_CONFIG, "groupSeq", "0", "dataVersion", "", "maxGroupNum",
			     "1", NULL);
	body = harness_body(answer);
	assert_non_null(strstr(body, "CID_ONS-HTTP-PROXY"));
	assert_null(strstr(body, "TOOLS_CONSUMER"));
}

static void progress_shows_what_is_committed(void **state)
{
	struct harness_peer *p = *state;
	const char *body;

	for (int i = 0; i < 3; i++)
		send_ok(p, "Lag", "0", "", "x");
	commit(p, "TOOLS_CONSUMER", "Lag", "0", "2");
	body = harness_body(
		harness_ask(p, MQ_GET_CONSUME_STATS, "consumerGroup", "TOOLS_CONSUMER", "topic", "Lag", NULL));
	assert_int_equal(strncmp(body,
				 "{\"consumeTps\":0.0,\"offsetTable\":{{\"brokerName\":\"broker-a\",\"queueId\":0,"
				 "\"topic\":\"Lag\"}:"
				 "{\"brokerOffset\":3,\"consumerOffset\":2,\"lastTimestamp\":1",
				 139),
			 0);
	assert_non_null(strstr(body, "\"queueId\":3,\"topic\":\"Lag\"}:{\"brokerOffset\":0,\"consumerOffset\":0,"
				     "\"lastTimestamp\":0,\"pullOffset\":0}}}"));
	assert_non_null(strstr(harness_body(harness_ask(p, MQ_GET_CONSUME_STATS, "consumerGroup", "TOOLS_CONSUMER",
							"topic", "", NULL)),
			       "\"Lag\""));
	assert_non_null(strstr(harness_body(harness_ask(p, MQ_GET_CONSUME_STATS, "consumerGroup", "TOOLS_CONSUMER",
							"topicList", "Nope;Lag;", NULL)),
			       "\"Lag\""));
	assert_string_equal(harness_body(harness_ask(p, MQ_GET_CONSUME_STATS, "consumerGroup", "unknown", NULL)),
			    "{\"consumeTps\":0.0,\"offsetTable\":{}}");
}

static void a_group_that_is_online_counts_what_it_subscribes_to(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	const char *body;

	send_ok(p, "OldTopic", "0", "", "x");
	send_ok(p, "NewTopic", "0", "", "x");
	harness_request(&cmd, MQ_HEART_BEAT, NULL);
	cmd.body = MQ_SLICE("{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"moved\",\"subscriptionDataSet\":"
			    "[{\"topic\":\"NewTopic\",\"subString\":\"*\"}]}]}");
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	commit(p, "moved", "OldTopic", "0", "1");
	commit(p, "moved", "NewTopic", "0", "1");
	body = harness_body(harness_ask(p, MQ_GET_CONSUME_STATS, "consumerGroup", "moved", NULL));
	assert_non_null(strstr(body, "\"NewTopic\""));
	assert_null(strstr(body, "\"OldTopic\""));
}

static void consumers_of_a_topic_are_the_online_and_those_with_offsets(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	send_ok(p, "Who", "0", "", "x");
	harness_request(&cmd, MQ_HEART_BEAT, NULL);
	cmd.body = MQ_SLICE("{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"online\","
			    "\"subscriptionDataSet\":[{\"topic\":\"Who\",\"subString\":\"*\"}]}]}");
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	commit(p, "online", "Who", "0", "1");
	commit(p, "SELF_TEST_C_GROUP", "Who", "0", "1");
	assert_string_equal(harness_body(harness_ask(p, MQ_QUERY_TOPIC_CONSUME_BY_WHO, "topic", "Who", NULL)),
			    "{\"groupList\":[\"online\",\"SELF_TEST_C_GROUP\"]}");
	harness_assert_answer(harness_ask(p, MQ_DELETE_SUBSCRIPTIONGROUP, "groupName", "SELF_TEST_C_GROUP",
					  "removeOffset", "true", NULL),
			      MQ_SUCCESS, NULL);
	assert_string_equal(harness_body(harness_ask(p, MQ_QUERY_TOPIC_CONSUME_BY_WHO, "topic", "Who", NULL)),
			    "{\"groupList\":[\"online\"]}");
	assert_string_equal(harness_body(harness_ask(p, MQ_QUERY_TOPIC_CONSUME_BY_WHO, "topic", "", NULL)),
			    "{\"groupList\":[]}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_group_is_created_shown_and_deleted),
		TEST(refusals_have_apaches_codes_and_texts),
		TEST(the_table_comes_whole_or_in_pages),
		TEST(progress_shows_what_is_committed),
		TEST(a_group_that_is_online_counts_what_it_subscribes_to),
		TEST(consumers_of_a_topic_are_the_online_and_those_with_offsets),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
