/* Topic administration (17, 21, 202, 215, 351). */
#include "tests/wire/messages.h"

#include <event2/buffer.h>

static int start_daemon(void **state)
{
	static const char *const sets[] = { "brokerName=broker-a", "fastListenPort=-1", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

static void update_request(struct mq_command *cmd, const char *topic, const char *queues, const char *perm,
			   const char *attributes)
{
	harness_request(cmd, MQ_UPDATE_AND_CREATE_TOPIC, "topic", topic, "defaultTopic", "TBW102", "readQueueNums",
			queues, "writeQueueNums", queues, "perm", perm, "topicFilterType", "SINGLE_TAG", "topicSysFlag",
			"0", "order", "false", "attributes", attributes, "force", "false", NULL);
}

static const struct mq_command *update(struct harness_peer *p, const char *topic, const char *queues, const char *perm,
				       const char *attributes)
{
	struct mq_command cmd;

	update_request(&cmd, topic, queues, perm, attributes);
	return harness_call(p, &cmd);
}

static void a_topic_is_created_shown_changed_and_deleted(void **state)
{
	struct harness_peer *p = *state;

	harness_assert_answer(update(p, "Golden", "4", "6", "+message.type=FIFO"), MQ_SUCCESS, NULL);
	assert_string_equal(harness_body(harness_ask(p, MQ_GET_TOPIC_CONFIG, "topic", "Golden", "lo", "true", NULL)),
			    "{\"attributes\":{\"message.type\":\"FIFO\"},\"order\":false,\"perm\":6,\"readQueueNums\":"
			    "4,\"topicFilterType\":"
			    "\"SINGLE_TAG\",\"topicName\":\"Golden\",\"topicSysFlag\":0,\"writeQueueNums\":4}");
	harness_assert_answer(update(p, "Golden", "2", "4", "-message.type"), MQ_SUCCESS, NULL);
	assert_string_equal(harness_body(harness_ask(p, MQ_GET_TOPIC_CONFIG, "topic", "Golden", NULL)),
			    "{\"attributes\":{},\"order\":false,\"perm\":4,\"readQueueNums\":2,\"topicFilterType\":"
			    "\"SINGLE_TAG\",\"topicName\":"
			    "\"Golden\",\"topicSysFlag\":0,\"writeQueueNums\":2}");
	harness_assert_answer(harness_ask(p, MQ_DELETE_TOPIC_IN_BROKER, "topic", "Golden", NULL), MQ_SUCCESS, NULL);
	harness_assert_answer(harness_ask(p, MQ_GET_TOPIC_CONFIG, "topic", "Golden", NULL), MQ_TOPIC_NOT_EXIST,
			      "No topic in this broker. topic: Golden");
	harness_assert_answer(harness_ask(p, MQ_DELETE_TOPIC_IN_BROKER, "topic", "Golden", NULL), MQ_SUCCESS, NULL);
}

static void refusals_have_apaches_codes_and_texts(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	harness_assert_answer(update(p, "", "4", "6", ""), MQ_INVALID_PARAMETER, "The specified topic is blank.");
	harness_assert_answer(update(p, "a.b", "4", "6", ""), MQ_INVALID_PARAMETER,
			      "The specified topic: a.b, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$");
	harness_assert_answer(update(p, "TBW102", "4", "6", ""), MQ_INVALID_PARAMETER,
			      "The topic[TBW102] is conflict with system topic.");
	harness_assert_answer(update(p, "broker-a", "4", "6", ""), MQ_INVALID_PARAMETER,
			      "The topic[broker-a] is conflict with system topic.");
	harness_assert_answer(update(p, "T", "-1", "6", ""), MQ_INVALID_PARAMETER,
			      "readQueueNums and writeQueueNums must be from 0 to 65535");
	harness_assert_answer(update(p, "T", "4", "9", ""), MQ_INVALID_PARAMETER,
			      "perm 9 is not valid: 2 write, 4 read, 6 both");
	harness_assert_answer(update(p, "T", "4", "6", "+message.type=MIXED"), MQ_INVALID_PARAMETER,
			      "MIXED message type is not supported.");
	harness_assert_answer(update(p, "T", "4", "6", "+foo=1"), MQ_SYSTEM_ERROR, "unsupported key: foo");
	harness_assert_answer(update(p, "T", "many", "6", ""), MQ_SYSTEM_ERROR,
			      "the custom field <readQueueNums> is not valid: many");
	update_request(&cmd, "T", "4", "6", "");
	set_field(&cmd, "topicFilterType", "NO_TAG");
	harness_assert_answer(harness_call(p, &cmd), MQ_SYSTEM_ERROR, "topicFilterType = [NO_TAG] value invalid");
	harness_assert_answer(harness_ask(p, MQ_UPDATE_AND_CREATE_TOPIC, "topic", "T", NULL), MQ_SYSTEM_ERROR,
			      "the custom field <defaultTopic> is null");
	harness_assert_answer(harness_ask(p, MQ_DELETE_TOPIC_IN_BROKER, "topic", "", NULL), MQ_INVALID_PARAMETER,
			      "The specified topic is blank.");
	harness_assert_answer(harness_ask(p, MQ_DELETE_TOPIC_IN_BROKER, "topic", "SCHEDULE_TOPIC_XXXX", NULL),
			      MQ_INVALID_PARAMETER, "The topic[SCHEDULE_TOPIC_XXXX] is conflict with system topic.");
	harness_assert_answer(harness_ask(p, MQ_GET_TOPIC_STATS_INFO, "topic", "T", NULL), MQ_TOPIC_NOT_EXIST,
			      "topic[T] not exist");
}

static void statistics_show_offsets_of_all_queues(void **state)
{
	struct harness_peer *p = *state;
	char expected[512];
	const char *body, *at;

	harness_assert_answer(update(p, "Stats", "2", "6", ""), MQ_SUCCESS, NULL);
	send_ok(p, "Stats", "1", "", "one");
	send_ok(p, "Stats", "1", "", "two");
	body = harness_body(harness_ask(p, MQ_GET_TOPIC_STATS_INFO, "topic", "Stats", NULL));
	at = strstr(body, "\"queueId\":1,\"topic\":\"Stats\"}:{\"lastUpdateTimestamp\":");
	assert_non_null(at);
	at = strstr(at, "lastUpdateTimestamp\":") + strlen("lastUpdateTimestamp\":");
	assert_true(strtoll(at, NULL, 10) > 1600000000000);
	snprintf(expected, sizeof expected,
		 "{\"offsetTable\":{{\"brokerName\":\"broker-a\",\"queueId\":0,\"topic\":\"Stats\"}:{"
		 "\"lastUpdateTimestamp\":0,\"maxOffset\":0,"
		 "\"minOffset\":0},{\"brokerName\":\"broker-a\",\"queueId\":1,\"topic\":\"Stats\"}:{"
		 "\"lastUpdateTimestamp\":%lld,\"maxOffset\":2,"
		 "\"minOffset\":0}},\"topicPutTps\":0.0}",
		 strtoll(at, NULL, 10));
	assert_string_equal(body, expected);
}

static void a_topic_made_again_starts_empty(void **state)
{
	struct harness_peer *p = *state;

	harness_assert_answer(update(p, "Again", "1", "6", ""), MQ_SUCCESS, NULL);
	send_ok(p, "Again", "0", "", "old");
	harness_assert_answer(harness_ask(p, MQ_UPDATE_CONSUMER_OFFSET, "consumerGroup", "TOOLS_CONSUMER", "topic",
					  "Again", "queueId", "0", "commitOffset", "1", NULL),
			      MQ_SUCCESS, NULL);
	harness_assert_answer(harness_ask(p, MQ_DELETE_TOPIC_IN_BROKER, "topic", "Again", NULL), MQ_SUCCESS, NULL);
	harness_assert_answer(update(p, "Again", "1", "6", ""), MQ_SUCCESS, NULL);
	assert_non_null(strstr(harness_body(harness_ask(p, MQ_GET_TOPIC_STATS_INFO, "topic", "Again", NULL)),
			       "\"maxOffset\":0"));
	assert_string_equal(harness_body(harness_ask(p, MQ_QUERY_TOPIC_CONSUME_BY_WHO, "topic", "Again", NULL)),
			    "{\"groupList\":[]}");
	send_ok(p, "Again", "0", "", "new");
	assert_string_equal(harness_field(pull(p, "Again", "0", "0"), "maxOffset"), "1");
}

/* Fills in the i-th request of those that one write holds. */
typedef void (*fill_fn)(struct mq_command *cmd, const char *topic, int i);

/* Sends n requests in one write, so that one read may get them, and returns the opaque of the first answer. */
static int32_t send_at_once(struct harness_peer *p, fill_fn fill, const char *topic, int n)
{
	struct evbuffer *out = evbuffer_new();
	int32_t first = p->opaque + 1;
	struct mq_command cmd;

	assert_non_null(out);
	for (int i = 0; i < n; i++) {
		fill(&cmd, topic, i);
		cmd.opaque = ++p->opaque;
		assert_int_equal(mq_command_encode(&cmd, NULL, out), 0);
	}
	assert_true(harness_send_raw(p, evbuffer_pullup(out, -1), evbuffer_get_length(out)));
	evbuffer_free(out);
	return first;
}

static void delete_then_commits(struct mq_command *cmd, const char *topic, int i)
{
	if (i == 0)
		harness_request(cmd, MQ_DELETE_TOPIC_IN_BROKER, "topic", topic, NULL);
	else
		harness_request(cmd, MQ_UPDATE_CONSUMER_OFFSET, "consumerGroup", "racer", "topic", topic, "queueId", "0",
				"commitOffset", "7", NULL);
}

/* The commits find the topic, and are written when it is gone. */
static void race_commits_against_delete(struct harness_peer *p, const char *topic)
{
	enum { N = 200 };
	int32_t first = send_at_once(p, delete_then_commits, topic, N);

	for (int i = 0; i < N; i++) {
		const struct mq_command *answer = harness_answer(p, first + i);

		if (i == 0 || answer->code != MQ_TOPIC_NOT_EXIST)
			assert_int_equal(answer->code, MQ_SUCCESS);
	}
}

static void what_is_committed_while_its_topic_goes_is_no_beginning_for_the_next(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	char topic[16];

	harness_assert_answer(ask_with_body(p, MQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, "{\"groupName\":\"racer\"}"), MQ_SUCCESS, NULL);
	for (int i = 0; i < 50; i++) {
		snprintf(topic, sizeof topic, "Commits%d", i);
		send_ok(p, topic, "0", "", "x");
		race_commits_against_delete(p, topic);
		answer = harness_ask(p, MQ_QUERY_CONSUMER_OFFSET, "consumerGroup", "racer", "topic", topic, "queueId", "0",
				     "setZeroIfNotFound", "false", NULL);
		if (answer->code != MQ_QUERY_NOT_FOUND)
			fail_msg("%s has offset %s", topic, harness_field(answer, "offset"));
	}
}

static void send_then_delete(struct mq_command *cmd, const char *topic, int i)
{
	if (i == 0)
		send_request(cmd, topic, "0", "", MQ_SLICE("of the topic that was deleted"));
	else if (i == 1)
		harness_request(cmd, MQ_DELETE_TOPIC_IN_BROKER, "topic", topic, NULL);
	else
		harness_request(cmd, MQ_GET_MAX_OFFSET, "topic", "Base", "queueId", "0", NULL);
}

/* One reader makes the topic for the send, then deletes it, both before the loop is through with what came in the same read. So the send
 * has seen its topic and opens its queue when there is none any more; should the reader be slow, it is deleted with the message. */
static void race_send_against_delete(struct harness_peer *p, const char *topic)
{
	enum { N = 1000 };
	int32_t first = send_at_once(p, send_then_delete, topic, N);

	for (int i = 0; i < N; i++) {
		const struct mq_command *answer = harness_answer(p, first + i);

		if (i == 0 && answer->code == MQ_TOPIC_NOT_EXIST)
			continue;
		assert_int_equal(answer->code, MQ_SUCCESS);
	}
}

static void what_is_sent_while_its_topic_goes_never_comes_to_light(void **state)
{
	static const char *const sets[] = { "storeReaders=1", NULL };
	struct harness_daemon *own = harness_start(HARNESS_BROKER, sets);
	struct harness_peer *p = harness_connect(own);
	char topic[16];

	for (int i = 0; i < 20; i++) {
		snprintf(topic, sizeof topic, "Race%d", i);
		race_send_against_delete(p, topic);
		send_ok(p, topic, "1", "", "of the new one");
		assert_string_equal(harness_field(harness_ask(p, MQ_GET_MAX_OFFSET, "topic", topic, "queueId", "0", NULL), "offset"), "0");
	}
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

static void page_name(struct harness_peer *p, const char *seq, const char *version, char ret[64])
{
	const char *body = harness_body(harness_ask(p, MQ_GET_ALL_TOPIC_CONFIG, "topicSeq", seq, "dataVersion", version,
						    "maxTopicNum", "1", NULL));
	const char *name = strstr(body, "\"topicName\":\"");

	assert_non_null(name);
	assert_null(strstr(name + 1, "\"topicName\""));
	assert_int_equal(sscanf(name + 13, "%63[^\"]", ret), 1);
}

static void the_table_comes_whole_or_in_pages(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	char version[128], first[64], second[64], again[64];
	const char *body, *end;

	answer = harness_ask(p, MQ_GET_ALL_TOPIC_CONFIG, NULL);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	body = harness_body(answer);
	assert_non_null(strstr(body, "\"TBW102\":{\"attributes\":{},\"order\":false,\"perm\":7,\"readQueueNums\":8,"));
	assert_int_equal(strncmp(body, "{\"dataVersion\":", 15), 0);
	assert_non_null(strstr(body, ",\"topicQueueMappingDetailMap\":{},\"topicQueueMappingInfoMap\":{}}"));
	assert_true(atoi(harness_field(answer, "totalTopicNum")) >= 15);
	end = strchr(body, '}') + 1;
	snprintf(version, sizeof version, "%.*s", (int)(end - body - 15), body + 15);

	/* The first name, the second, and the first again when the page is one of another version. */
	page_name(p, "0", version, first);
	page_name(p, "1", version, second);
	page_name(p, "1", "{}", again);
	assert_true(strcmp(first, second) < 0);
	assert_string_equal(first, again);
}

static void topics_survive_a_kill(void **state)
{
	struct harness_daemon *d = harness_start(
		HARNESS_BROKER, (const char *const[]){ "brokerName=broker-a", "fastListenPort=-1", NULL });
	struct harness_peer *p = harness_connect(d);

	harness_assert_answer(update(p, "Kept", "3", "6", "+message.type=DELAY"), MQ_SUCCESS, NULL);
	harness_close(p);
	harness_kill(d);
	harness_restart(d);
	p = harness_connect(d);
	assert_non_null(
		strstr(harness_body(harness_ask(p, MQ_GET_TOPIC_CONFIG, "topic", "Kept", NULL)),
		       "{\"attributes\":{\"message.type\":\"DELAY\"},\"order\":false,\"perm\":6,\"readQueueNums\":3,"));
	harness_close(p);
	harness_stop(d);
	harness_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_committed_while_its_topic_goes_is_no_beginning_for_the_next),
		TEST(a_topic_is_created_shown_changed_and_deleted),
		TEST(refusals_have_apaches_codes_and_texts),
		TEST(statistics_show_offsets_of_all_queues),
		TEST(a_topic_made_again_starts_empty),
		cmocka_unit_test(what_is_sent_while_its_topic_goes_never_comes_to_light),
		TEST(the_table_comes_whole_or_in_pages),
		TEST(topics_survive_a_kill),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
