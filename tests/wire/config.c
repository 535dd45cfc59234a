/* Configuration and runtime information (26, 28), and registration with NameServers (103, 104). */
#include "tests/wire/messages.h"

enum {
	FIRST_ROUND_MS = 10000, /* after the start */
	ROUND_MS = 30000,       /* between the others: longer than HARNESS_DEADLINE_MS */
};

static int start_daemon(void **state)
{
	static const char *const sets[] = { "brokerName=broker-a", "fastListenPort=-1", "fileReservedTime=48h", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

static void the_configuration_is_shown_in_rocketmqs_units(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer = harness_ask(p, MQ_GET_BROKER_CONFIG, NULL);
	const char *body;

	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_int_equal(
		strncmp(harness_field(answer, "version"), "{\"counter\":0,\"stateVersion\":0,\"timestamp\":1", 43), 0);
	body = harness_body(answer);
	assert_non_null(strstr(body, "\nbrokerName=broker-a\n"));
	assert_non_null(strstr(body, "\nbrokerClusterName=DefaultCluster\n"));
	assert_non_null(strstr(body, "\nfileReservedTime=48\n"));
	assert_non_null(strstr(body, "\nmaxMessageSize=4194304\n"));
	assert_non_null(strstr(body, "\nbrokerRole=ASYNC_MASTER\n"));
	assert_non_null(strstr(body, "\nserverChannelMaxIdleTimeSeconds=120\n"));
}

static void runtime_information_counts_messages(void **state)
{
	struct harness_peer *p = *state;
	const char *body;

	send_ok(p, "Counted", "0", "", "one");
	body = harness_body(harness_ask(p, MQ_GET_BROKER_RUNTIME_INFO, NULL));
	assert_int_equal(strncmp(body, "{\"table\":{", 10), 0);
	assert_non_null(strstr(body, "\"msgPutTotalTodayNow\":\"1\""));
	assert_non_null(strstr(body, "\"brokerVersionDesc\":\"V5_5_0\""));
	assert_non_null(strstr(body, "\"brokerVersion\":\"513\""));
	assert_non_null(strstr(body, "\"commitLogDirCapacity\":\"Total : "));
}

/* ---- Registration ---- */

/* Asks the NameServer until its answer has this code; what it says comes and goes with the broker's registration. */
static const struct mq_command *await_route(struct harness_peer *p, const char *topic, int code)
{
	int64_t until_ms = milliseconds() + HARNESS_DEADLINE_MS;
	const struct mq_command *answer;

	do {
		struct timespec pause = { .tv_nsec = 5000000 };

		assert_true(milliseconds() < until_ms);
		nanosleep(&pause, NULL);
		answer = harness_ask(p, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", topic, NULL);
	} while (answer->code != code);
	return answer;
}

static struct harness_daemon *broker_of(const struct harness_daemon *first, const struct harness_daemon *second)
{
	const char *sets[] = { NULL, "brokerName=broker-r", "fastListenPort=-1", "brokerPermission=4", NULL };
	struct harness_daemon *broker;
	char *names;

	assert_true(asprintf(&names, "namesrvAddr=%s;%s", first->address, second->address) > 0);
	sets[0] = names;
	broker = harness_start(HARNESS_BROKER, sets);
	free(names);
	return broker;
}

static void every_nameserver_learns_of_topics_and_of_the_end(void **state)
{
	struct harness_daemon *first = harness_start(HARNESS_NAMESRV, NULL),
			      *second = harness_start(HARNESS_NAMESRV, NULL);
	int64_t round_ms = milliseconds() + FIRST_ROUND_MS; /* or later */
	struct harness_daemon *broker = broker_of(first, second);
	struct harness_peer *one = harness_connect(first), *two = harness_connect(second), *p = harness_connect(broker);
	char expected[256];
	bool is_before_round;

	await_route(one, "TBW102", MQ_SUCCESS);
	await_route(two, "TBW102", MQ_SUCCESS);

	/* A new topic is told at once, not with the next round. brokerPermission takes the right to write from what is
	 * shown. */
	send_ok(p, "Fresh", "0", "", "x");
	snprintf(expected, sizeof expected, "\"brokerAddrs\":{\"0\":\"%s\"},\"brokerName\":\"broker-r\"",
		 broker->address);
	assert_non_null(strstr(harness_body(await_route(one, "Fresh", MQ_SUCCESS)), expected));
	assert_non_null(strstr(harness_body(await_route(two, "Fresh", MQ_SUCCESS)),
			       "\"queueDatas\":[{\"brokerName\":\"broker-r\",\"perm\":4,\"readQueueNums\":4,"));

	/* Who creates a topic need not wait for its route. */
	harness_assert_answer(harness_ask(p, MQ_UPDATE_AND_CREATE_TOPIC, "topic", "Made", "defaultTopic", "TBW102",
					  "readQueueNums", "1", "writeQueueNums", "1", "perm", "6", "topicFilterType",
					  "SINGLE_TAG", NULL),
			      MQ_SUCCESS, NULL);
	assert_int_equal(harness_ask(one, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Made", NULL)->code, MQ_SUCCESS);
	assert_int_equal(harness_ask(two, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Made", NULL)->code, MQ_SUCCESS);

	/* A NameServer that comes back gets everything at once. If that took until the next round, which may have told it, the machine is slow:
	 * once more before the one behind it, which is further away than this waits for a route. */
	do {
		harness_close(two);
		harness_kill(second);
		harness_restart(second);
		two = harness_connect(second);
		await_route(two, "Fresh", MQ_SUCCESS);
		is_before_round = milliseconds() < round_ms;
		round_ms += ROUND_MS;
	} while (!is_before_round);

	/* One that hangs holds up nobody for long. */
	assert_int_equal(kill(second->pid, SIGSTOP), 0);
	harness_assert_answer(harness_ask(p, MQ_UPDATE_AND_CREATE_TOPIC, "topic", "Slow", "defaultTopic", "TBW102",
					  "readQueueNums", "1", "writeQueueNums", "1", "perm", "6", "topicFilterType",
					  "SINGLE_TAG", NULL),
			      MQ_SUCCESS, NULL);
	assert_int_equal(harness_ask(one, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Slow", NULL)->code, MQ_SUCCESS);
	assert_int_equal(kill(second->pid, SIGCONT), 0);

	harness_close(p);
	harness_stop(broker);
	harness_assert_answer(harness_ask(one, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Fresh", NULL), MQ_TOPIC_NOT_EXIST,
			      "No topic route info in name server for the topic: Fresh" FAQ);
	harness_free(broker);
	harness_close(one);
	harness_close(two);
	harness_stop(first);
	harness_stop(second);
	harness_free(first);
	harness_free(second);
}

static void an_order_configuration_marks_the_topic(void **state)
{
	struct harness_daemon *first = harness_start(HARNESS_NAMESRV, NULL),
			      *second = harness_start(HARNESS_NAMESRV, NULL);
	struct harness_peer *one = harness_connect(first);
	struct harness_daemon *broker;
	struct harness_peer *p;

	harness_assert_answer(harness_ask(one, MQ_PUT_KV_CONFIG, "namespace", "ORDER_TOPIC_CONFIG", "key", "TBW102",
					  "value", "broker-r:8", NULL),
			      MQ_SUCCESS, NULL);
	broker = broker_of(first, second);
	p = harness_connect(broker);
	await_route(one, "TBW102", MQ_SUCCESS);
	/* Its first registration was answered with the configuration. */
	for (int64_t until_ms = milliseconds() + HARNESS_DEADLINE_MS;;) {
		if (strstr(harness_body(harness_ask(p, MQ_GET_TOPIC_CONFIG, "topic", "TBW102", NULL)), "\"order\":true"))
			break;
		assert_true(milliseconds() < until_ms);
	}
	harness_close(p);
	harness_stop(broker);
	harness_free(broker);
	harness_close(one);
	harness_stop(first);
	harness_stop(second);
	harness_free(first);
	harness_free(second);
}

static void a_reloaded_permission_reaches_the_routes(void **state)
{
	struct harness_daemon *first = harness_start(HARNESS_NAMESRV, NULL), *broker;
	const char *sets[] = { NULL, "brokerName=broker-r", NULL };
	struct harness_peer *one = harness_connect(first);
	int64_t until_ms = milliseconds() + HARNESS_DEADLINE_MS;
	char *names;
	FILE *f;

	assert_true(asprintf(&names, "namesrvAddr=%s", first->address) > 0);
	sets[0] = names;
	broker = harness_start(HARNESS_BROKER, sets);
	free(names);
	assert_non_null(strstr(harness_body(await_route(one, "BenchmarkTest", MQ_SUCCESS)), "\"perm\":6"));

	f = fopen(broker->config, "w");
	assert_non_null(f);
	fputs("brokerPermission=4\n", f);
	fclose(f);
	assert_int_equal(kill(broker->pid, SIGHUP), 0);
	while (!strstr(harness_body(await_route(one, "BenchmarkTest", MQ_SUCCESS)), "\"perm\":4"))
		assert_true(milliseconds() < until_ms);

	harness_close(one);
	harness_stop(broker);
	harness_free(broker);
	harness_stop(first);
	harness_free(first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_configuration_is_shown_in_rocketmqs_units),
		TEST(runtime_information_counts_messages),
		cmocka_unit_test(every_nameserver_learns_of_topics_and_of_the_end),
		cmocka_unit_test(an_order_configuration_marks_the_topic),
		cmocka_unit_test(a_reloaded_permission_reaches_the_routes),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
