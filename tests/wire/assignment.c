/* Queues that the broker assigns, and how groups read topics (400 to 402). */
#include "tests/wire/messages.h"

static int start_daemon(void **state)
{
	static const char *const sets[] = { "fastListenPort=-1", "brokerName=broker-a", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

#define SETTING(topic, group, mode, share) \
	"{\"consumerGroup\":\"" group "\",\"mode\":\"" mode "\",\"popShareQueueNum\":" #share ",\"topic\":\"" topic "\"}"
#define QUERY(topic, group, client, model)                                                                      \
	"{\"clientId\":\"" client "\",\"consumerGroup\":\"" group "\",\"messageModel\":\"" model                \
	"\",\"strategyName\":\"AVG\",\"topic\":\"" topic "\"}"
#define GOT(topic, id, mode) \
	"{\"messageQueue\":{\"brokerName\":\"broker-a\",\"queueId\":" #id ",\"topic\":\"" topic "\"},\"mode\":\"" mode "\"}"
#define LIST(...) "{\"messageQueueAssignments\":[" __VA_ARGS__ "]}"
#define BEAT(client, group)                                                                                     \
	"{\"clientID\":\"" client "\",\"consumerDataSet\":[{\"consumeType\":\"CONSUME_PASSIVELY\",\"groupName\":\"" \
	group "\",\"messageModel\":\"CLUSTERING\",\"subscriptionDataSet\":[]}]}"

static void make_topic(struct harness_peer *p, const char *name, const char *queues)
{
	harness_assert_answer(harness_ask(p, MQ_UPDATE_AND_CREATE_TOPIC, "topic", name, "defaultTopic", "TBW102", "readQueueNums",
					  queues, "writeQueueNums", queues, "perm", "6", "topicFilterType", "SINGLE_TAG",
					  "topicSysFlag", "0", "order", "false", NULL),
			      MQ_SUCCESS, NULL);
}

static void assert_assigned(struct harness_peer *p, const char *query, const char *body)
{
	const struct mq_command *answer = ask_with_body(p, MQ_QUERY_ASSIGNMENT, query);

	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_false(answer->has_fields);
	assert_string_equal(harness_body(answer), body);
}

static void members_share_the_queues_in_the_way_of_their_group(void **state)
{
	struct harness_peer *a = *state, *b = harness_connect_tcp(daemon_);

	make_topic(a, "T", "4");
	/* Nobody said that it is there: no decision. */
	assert_assigned(a, QUERY("T", "g", "c1", "CLUSTERING"), "{}");
	/* Their order is that of their names, not that of their coming. */
	harness_assert_answer(ask_with_body(b, MQ_HEART_BEAT, BEAT("c2", "g")), MQ_SUCCESS, NULL);
	harness_assert_answer(ask_with_body(a, MQ_HEART_BEAT, BEAT("c1", "g")), MQ_SUCCESS, NULL);
	assert_assigned(a, QUERY("T", "g", "c1", "CLUSTERING"), LIST(GOT("T", 0, "PULL") "," GOT("T", 1, "PULL")));
	assert_assigned(b, QUERY("T", "g", "c2", "CLUSTERING"), LIST(GOT("T", 2, "PULL") "," GOT("T", 3, "PULL")));
	assert_assigned(b, QUERY("T", "g", "c3", "CLUSTERING"), LIST());
	assert_assigned(a, QUERY("T", "h", "c1", "BROADCASTING"),
			LIST(GOT("T", 0, "PULL") "," GOT("T", 1, "PULL") "," GOT("T", 2, "PULL") "," GOT("T", 3, "PULL")));
	assert_assigned(a, QUERY("NoSuchTopic", "g", "c1", "CLUSTERING"), "{}");

	harness_assert_answer(ask_with_body(a, MQ_SET_MESSAGE_REQUEST_MODE, SETTING("T", "g", "POP", 8)), MQ_SUCCESS, NULL);
	assert_assigned(a, QUERY("T", "g", "c1", "CLUSTERING"), LIST(GOT("T", -1, "POP")));
	harness_assert_answer(ask_with_body(a, MQ_SET_MESSAGE_REQUEST_MODE, SETTING("T", "g", "PULL", 0)), MQ_SUCCESS, NULL);
	assert_assigned(b, QUERY("T", "g", "c2", "CLUSTERING"), LIST(GOT("T", 2, "PULL") "," GOT("T", 3, "PULL")));
	harness_close(b);
}

static void a_setting_survives_a_crash(void **state)
{
	static const char all[] = "{\"messageRequestModeMap\":{"
				  "\"U\":{\"g1\":" SETTING("U", "g1", "POP", 3) ",\"g2\":" SETTING("U", "g2", "PULL", 0) "},"
				  "\"V\":{\"g1\":" SETTING("V", "g1", "POP", -1) "}}}";
	static const char *const sets[] = { "fastListenPort=-1", "brokerName=broker-a", NULL };
	struct harness_daemon *d = harness_start(HARNESS_BROKER, sets);
	struct harness_peer *p = harness_connect_tcp(d);

	assert_string_equal(harness_body(ask_with_body(p, MQ_GET_ALL_MESSAGE_REQUEST_MODE, NULL)), "{\"messageRequestModeMap\":{}}");
	make_topic(p, "U", "2");
	make_topic(p, "V", "2");
	harness_assert_answer(ask_with_body(p, MQ_SET_MESSAGE_REQUEST_MODE, SETTING("V", "g1", "POP", -1)), MQ_SUCCESS, NULL);
	harness_assert_answer(ask_with_body(p, MQ_SET_MESSAGE_REQUEST_MODE, SETTING("U", "g2", "PULL", 0)), MQ_SUCCESS, NULL);
	harness_assert_answer(ask_with_body(p, MQ_SET_MESSAGE_REQUEST_MODE, SETTING("U", "g1", "PULL", 1)), MQ_SUCCESS, NULL);
	harness_assert_answer(ask_with_body(p, MQ_SET_MESSAGE_REQUEST_MODE, SETTING("U", "g1", "POP", 3)), MQ_SUCCESS, NULL);
	assert_string_equal(harness_body(ask_with_body(p, MQ_GET_ALL_MESSAGE_REQUEST_MODE, NULL)), all);

	harness_close(p);
	harness_kill(d);
	harness_restart(d);
	p = harness_connect_tcp(d);
	assert_string_equal(harness_body(ask_with_body(p, MQ_GET_ALL_MESSAGE_REQUEST_MODE, NULL)), all);
	harness_close(p);
	harness_free(d);
}

/* Two brokers, one NameServer: the members share the queues of both. */
static void the_queues_of_all_brokers_are_shared(void **state)
{
	struct harness_daemon *n = harness_start(HARNESS_NAMESRV, NULL), *d[2];
	struct harness_peer *p[2];
	struct mq_command cmd;
	char namesrv[96];

	snprintf(namesrv, sizeof namesrv, "namesrvAddr=%s", n->address);
	for (unsigned i = 0; i < 2; i++) {
		const char *const sets[] = { "fastListenPort=-1", i ? "brokerName=broker-b" : "brokerName=broker-a",
					     "defaultMessageRequestMode=POP", namesrv, NULL };

		d[i] = harness_start(HARNESS_BROKER, sets);
		p[i] = harness_connect_tcp(d[i]);
		make_topic(p[i], "W", "2");
		make_topic(p[i], "%RETRY%g", "1");
		harness_assert_answer(ask_with_body(p[i], MQ_HEART_BEAT, BEAT("c1", "g")), MQ_SUCCESS, NULL);
	}
	for (unsigned i = 0; i < 2; i++) {
		assert_assigned(p[i], QUERY("W", "g", "c1", "CLUSTERING"),
				LIST(GOT("W", -1, "POP") ",{\"messageQueue\":{\"brokerName\":\"broker-b\",\"queueId\":-1,"
							 "\"topic\":\"W\"},\"mode\":\"POP\"}"));
		/* Retry topics are pulled. */
		assert_assigned(p[i], QUERY("%RETRY%g", "g", "c1", "CLUSTERING"),
				LIST(GOT("%RETRY%g", 0, "PULL") ",{\"messageQueue\":{\"brokerName\":\"broker-b\",\"queueId\":0,"
								"\"topic\":\"%RETRY%g\"},\"mode\":\"PULL\"}"));
		assert_assigned(p[i], QUERY("NoSuchTopic", "g", "c1", "CLUSTERING"), "{}");
	}
	/* The NameServer gone, what it said still holds. */
	harness_stop(n);
	assert_assigned(p[1], QUERY("W", "h", "c1", "BROADCASTING"),
			LIST(GOT("W", 0, "POP") "," GOT("W", 1, "POP") ","
			     "{\"messageQueue\":{\"brokerName\":\"broker-b\",\"queueId\":0,\"topic\":\"W\"},\"mode\":\"POP\"},"
			     "{\"messageQueue\":{\"brokerName\":\"broker-b\",\"queueId\":1,\"topic\":\"W\"},\"mode\":\"POP\"}"));
	/* And somebody who waits for an answer that does not come is let go when the broker stops. */
	harness_request(&cmd, MQ_QUERY_ASSIGNMENT, NULL);
	cmd.body = mq_slice_of(QUERY("Another", "h", "c1", "BROADCASTING"));
	harness_send(p[1], &cmd);
	for (unsigned i = 0; i < 2; i++) {
		harness_stop(d[i]);
		harness_close(p[i]);
		harness_free(d[i]);
	}
	harness_free(n);
}

static void refusals_are_apaches(void **state)
{
	struct harness_peer *p = *state;

	make_topic(p, "R", "1");
	harness_assert_answer(ask_with_body(p, MQ_SET_MESSAGE_REQUEST_MODE, SETTING("%RETRY%g", "g", "POP", 0)), MQ_NO_PERMISSION,
			      "retry topic is not allowed to set mode");
	harness_assert_answer(ask_with_body(p, MQ_SET_MESSAGE_REQUEST_MODE, SETTING("NoSuchTopic", "g", "POP", 0)), MQ_TOPIC_NOT_EXIST,
			      "topic[NoSuchTopic] not exist");
	harness_assert_answer(ask_with_body(p, MQ_SET_MESSAGE_REQUEST_MODE, SETTING("R", "bad name", "POP", 0)),
			      MQ_SUBSCRIPTION_GROUP_NOT_EXIST, "subscription group does not exist");
	harness_assert_answer(ask_with_body(p, MQ_SET_MESSAGE_REQUEST_MODE, SETTING("R", "g", "POP", 99999999999)), MQ_SYSTEM_ERROR,
			      "popShareQueueNum is out of range");
	harness_assert_answer(ask_with_body(p, MQ_SET_MESSAGE_REQUEST_MODE, NULL), MQ_SYSTEM_ERROR, "the request has no body");
	harness_assert_answer(ask_with_body(p, MQ_QUERY_ASSIGNMENT, NULL), MQ_SYSTEM_ERROR, "the request has no body");
	harness_assert_answer(ask_with_body(p, MQ_QUERY_ASSIGNMENT, "{\"topic\":\"R\"}"), MQ_SYSTEM_ERROR, "the body names no consumerGroup");
	harness_assert_answer(ask_with_body(p, MQ_QUERY_ASSIGNMENT, QUERY("R", "g", "c", "SOME")), MQ_SYSTEM_ERROR,
			      "the body names no messageModel");
	assert_int_equal(ask_with_body(p, MQ_QUERY_ASSIGNMENT, "{")->code, MQ_SYSTEM_ERROR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(members_share_the_queues_in_the_way_of_their_group),
		TEST(a_setting_survives_a_crash),
		TEST(the_queues_of_all_brokers_are_shared),
		TEST(refusals_are_apaches),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
