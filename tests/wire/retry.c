/* Messages that come back: CONSUMER_SEND_MSG_BACK (36), and sends to %RETRY% topics. */
#include "tests/wire/messages.h"

static int start_daemon(void **state)
{
	static const char *const sets[] = { "brokerName=broker-a", "fastListenPort=-1", "messageDelayLevel=1s 2s 1s 1s 1s", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

static const char properties[] = "KEYS\1k1\2TAGS\1TagA\2UNIQ_KEY\1U1\2WAIT\1true\2color\1blue\2";

/* Sends one message and returns its physical offset, as text. */
static const char *send_one(struct harness_peer *p, const char *topic, const char *body)
{
	const struct mq_command *answer = send_message(p, topic, "0", properties, body);

	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	return sent_locator(answer);
}

static const struct mq_command *send_back(struct harness_peer *p, const char *group, const char *locator, const char *level,
					  const char *max_times)
{
	if (!max_times)
		return harness_ask(p, MQ_CONSUMER_SEND_MSG_BACK, "offset", locator, "group", group, "delayLevel", level, "originMsgId",
				   "X", "originTopic", "T", "unitMode", "false", NULL);
	return harness_ask(p, MQ_CONSUMER_SEND_MSG_BACK, "offset", locator, "group", group, "delayLevel", level, "originMsgId", "X",
			   "originTopic", "T", "unitMode", "false", "maxReconsumeTimes", max_times, NULL);
}

static void make_group(struct harness_peer *p, const char *json)
{

	harness_assert_answer(ask_with_body(p, MQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, json), MQ_SUCCESS, NULL);
}

static void assert_topic(struct harness_peer *p, const char *topic, const char *queues)
{
	char text[256];

	snprintf(text, sizeof text,
		 "{\"attributes\":{},\"order\":false,\"perm\":6,\"readQueueNums\":%s,\"topicFilterType\":\"SINGLE_TAG\",\"topicName\":\"%s\","
		 "\"topicSysFlag\":0,\"writeQueueNums\":%s}",
		 queues, topic, queues);
	assert_string_equal(harness_body(harness_ask(p, MQ_GET_TOPIC_CONFIG, "topic", topic, NULL)), text);
}

static const char *max_offset(struct harness_peer *p, const char *topic, const char *queue)
{
	return harness_field(harness_ask(p, MQ_GET_MAX_OFFSET, "topic", topic, "queueId", queue, NULL), "offset");
}

/* The records of a queue from `offset` on, once one is there. */
static unsigned wait_for(struct harness_peer *p, const char *topic, const char *queue, const char *offset, struct mq_record *ret,
			 unsigned max)
{
	struct mq_command cmd;

	pull_request(&cmd, topic, queue, offset, "6", "*");
	return records_of(harness_call(p, &cmd), ret, max);
}

static const char *locator_of(const struct mq_record *r)
{
	static char text[24];

	snprintf(text, sizeof text, "%" PRIi64, r->physical_offset);
	return text;
}

/* ---- dead letters ---- */

static void who_gives_up_gets_a_dead_letter_at_once(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_record first, r;
	char locator[24], id[MQ_MESSAGE_ID_MAX];

	snprintf(locator, sizeof locator, "%s", send_one(p, "BackDead", "hopeless"));
	assert_int_equal(records_of(pull(p, "BackDead", "0", "0"), &first, 1), 1);
	mq_message_id_encode(&first.store_host, first.physical_offset, id);

	answer = send_back(p, "dead", locator, "-1", NULL);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_int_equal(answer->n_fields, 0);
	assert_int_equal(answer->body.n, 0);
	assert_topic(p, "%RETRY%dead", "1");
	assert_topic(p, "%DLQ%dead", "1");
	assert_pull(pull(p, "%DLQ%dead", "0", "0"), MQ_SUCCESS, "FOUND", "1", "0", "1");
	assert_int_equal(records_of(&p->answer->cmd, &r, 1), 1);
	assert_slice(r.body, "hopeless");
	assert_slice(r.topic, "%DLQ%dead");
	assert_int_equal(r.reconsume_times, 1);
	assert_int_equal(r.born_at_ms, 1795472583777);
	assert_int_equal(r.queue_id, 0);
	assert_property(r.properties, "RETRY_TOPIC", "BackDead");
	assert_property(r.properties, "ORIGIN_MESSAGE_ID", id);
	assert_property(r.properties, "DELAY", "0");
	assert_property(r.properties, "WAIT", "false");
	assert_property(r.properties, "REAL_TOPIC", NULL);
	assert_property(r.properties, "KEYS", "k1");
	assert_property(r.properties, "TAGS", "TagA");
	assert_property(r.properties, "UNIQ_KEY", "U1");
	assert_property(r.properties, "color", "blue");
	assert_string_equal(max_offset(p, "%RETRY%dead", "0"), "0");
}

static void dead_letters_are_found_by_tag_and_key(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	struct mq_record r;

	harness_assert_answer(send_back(p, "deadkey", send_one(p, "BackKey", "x"), "-1", NULL), MQ_SUCCESS, NULL);
	pull_request(&cmd, "%DLQ%deadkey", "0", "0", "4", "TagA");
	assert_int_equal(records_of(harness_call(p, &cmd), &r, 1), 1);
	assert_int_equal(records_of(harness_ask(p, MQ_QUERY_MESSAGE, "topic", "%DLQ%deadkey", "key", "k1", "maxNum", "32",
						"beginTimestamp", "0", "endTimestamp", FOREVER, NULL),
				    &r, 1),
			 1);
}

/* Several in one turn of the broker, each by its own key. */
static void each_of_many_dead_letters_is_found_by_its_key(void **state)
{
	enum { N = 16 };
	struct harness_peer *p = *state;
	char locators[N][24], text[64];
	int32_t opaques[N];
	struct mq_command cmd;
	struct mq_record r[2];

	for (int i = 0; i < N; i++) {
		snprintf(text, sizeof text, "KEYS\1many-%d\2UNIQ_KEY\1M%d\2", i, i);
		harness_assert_answer(send_message(p, "BackMany", "0", text, "x"), MQ_SUCCESS, NULL);
		snprintf(locators[i], sizeof locators[i], "%s", sent_locator(&p->answer->cmd));
	}
	for (int i = 0; i < N; i++) {
		harness_request(&cmd, MQ_CONSUMER_SEND_MSG_BACK, "offset", locators[i], "group", "many", "delayLevel", "-1", NULL);
		opaques[i] = harness_send(p, &cmd);
	}
	for (int i = 0; i < N; i++)
		harness_assert_answer(harness_answer(p, opaques[i]), MQ_SUCCESS, NULL);
	for (int i = 0; i < N; i++) {
		snprintf(text, sizeof text, "many-%d", i);
		assert_int_equal(records_of(harness_ask(p, MQ_QUERY_MESSAGE, "topic", "%DLQ%many", "key", text, "maxNum", "32", "beginTimestamp",
							"0", "endTimestamp", FOREVER, NULL),
					    r, 2),
				 1);
	}
}

static void the_limit_is_the_requests_or_the_groups(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	make_group(p, "{\"groupName\":\"limit\",\"retryMaxTimes\":0,\"retryQueueNums\":1}");
	harness_assert_answer(send_back(p, "limit", send_one(p, "BackLimit", "group"), "0", NULL), MQ_SUCCESS, NULL);
	assert_string_equal(max_offset(p, "%DLQ%limit", "0"), "1");
	harness_assert_answer(send_back(p, "limit", send_one(p, "BackLimit", "request"), "0", "1"), MQ_SUCCESS, NULL);
	assert_string_equal(max_offset(p, "%DLQ%limit", "0"), "1");
	/* A client so old that its field means nothing. */
	harness_request(&cmd, MQ_CONSUMER_SEND_MSG_BACK, "offset", send_one(p, "BackLimit", "old"), "group", "limit", "delayLevel",
			"0", "maxReconsumeTimes", "1", NULL);
	cmd.version = 120;
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	assert_string_equal(max_offset(p, "%DLQ%limit", "0"), "2");
}

/* ---- again ---- */

static void what_comes_back_comes_again_later(void **state)
{
	struct harness_peer *p = *state;
	struct mq_record first, r;
	char id[MQ_MESSAGE_ID_MAX];

	send_one(p, "BackAgain", "again");
	assert_int_equal(records_of(pull(p, "BackAgain", "0", "0"), &first, 1), 1);
	mq_message_id_encode(&first.store_host, first.physical_offset, id);
	harness_assert_answer(send_back(p, "again", locator_of(&first), "0", "16"), MQ_SUCCESS, NULL);
	assert_topic(p, "%RETRY%again", "1");
	assert_string_equal(max_offset(p, "%RETRY%again", "0"), "0");

	assert_int_equal(wait_for(p, "%RETRY%again", "0", "0", &r, 1), 1);
	assert_slice(r.body, "again");
	assert_int_equal(r.reconsume_times, 1);
	assert_int_equal(r.born_at_ms, 1795472583777);
	assert_property(r.properties, "RETRY_TOPIC", "BackAgain");
	assert_property(r.properties, "ORIGIN_MESSAGE_ID", id);
	assert_property(r.properties, "DELAY", "3");
	assert_property(r.properties, "REAL_TOPIC", "%RETRY%again");
	assert_property(r.properties, "REAL_QID", "0");
	assert_property(r.properties, "WAIT", "false");
	assert_property(r.properties, "TAGS", "TagA");

	/* Once more, one step up; the origin stays. */
	harness_assert_answer(send_back(p, "again", locator_of(&r), "0", "16"), MQ_SUCCESS, NULL);
	assert_int_equal(wait_for(p, "%RETRY%again", "0", "1", &r, 1), 1);
	assert_int_equal(r.reconsume_times, 2);
	assert_property(r.properties, "RETRY_TOPIC", "BackAgain");
	assert_property(r.properties, "ORIGIN_MESSAGE_ID", id);
	assert_property(r.properties, "DELAY", "4");

	/* And that was all. */
	harness_assert_answer(send_back(p, "again", locator_of(&r), "0", "2"), MQ_SUCCESS, NULL);
	assert_int_equal(records_of(pull(p, "%DLQ%again", "0", "0"), &r, 1), 1);
	assert_int_equal(r.reconsume_times, 3);
	assert_property(r.properties, "ORIGIN_MESSAGE_ID", id);
}

static void a_level_beyond_the_last_is_the_last(void **state)
{
	struct harness_peer *p = *state;
	struct mq_record r;

	harness_assert_answer(send_back(p, "beyond", send_one(p, "BackBeyond", "x"), "99", NULL), MQ_SUCCESS, NULL);
	assert_int_equal(wait_for(p, "%RETRY%beyond", "0", "0", &r, 1), 1);
	assert_property(r.properties, "DELAY", "5");
}

static void retries_spread_over_the_groups_queues(void **state)
{
	struct harness_peer *p = *state;
	struct mq_record r;

	make_group(p, "{\"groupName\":\"spread\",\"retryMaxTimes\":16,\"retryQueueNums\":3}");
	for (int i = 0; i < 3; i++)
		harness_assert_answer(send_back(p, "spread", send_one(p, "BackSpread", "x"), "1", NULL), MQ_SUCCESS, NULL);
	assert_topic(p, "%RETRY%spread", "3");
	for (int i = 0; i < 3; i++) {
		const char queue[] = { (char)('0' + i), '\0' };

		assert_int_equal(wait_for(p, "%RETRY%spread", queue, "0", &r, 1), 1);
		assert_int_equal(r.queue_id, i);
		assert_property(r.properties, "REAL_QID", queue);
	}
}

static void a_group_without_retry_queues_wants_nothing_again(void **state)
{
	struct harness_peer *p = *state;

	make_group(p, "{\"groupName\":\"drop\",\"retryMaxTimes\":16,\"retryQueueNums\":0}");
	harness_assert_answer(send_back(p, "drop", send_one(p, "BackDrop", "x"), "-1", NULL), MQ_SUCCESS, NULL);
	assert_int_equal(harness_ask(p, MQ_GET_TOPIC_CONFIG, "topic", "%DLQ%drop", NULL)->code, MQ_TOPIC_NOT_EXIST);
}

/* ---- refusals ---- */

static void what_is_not_there_cannot_come_back(void **state)
{
	struct harness_peer *p = *state;

	harness_assert_answer(send_back(p, "none", "4398046511104000", "0", NULL), MQ_SYSTEM_ERROR,
			      "look message by offset failed, 4398046511104000");
	harness_assert_answer(send_back(p, "none", "-1", "0", NULL), MQ_SYSTEM_ERROR, "look message by offset failed, -1");
	assert_int_equal(send_back(p, "bad group", send_one(p, "BackNone", "x"), "0", NULL)->code, MQ_SUBSCRIPTION_GROUP_NOT_EXIST);
	harness_assert_answer(&p->answer->cmd, MQ_SUBSCRIPTION_GROUP_NOT_EXIST, "subscription group not exist, bad group " FAQ);
	harness_assert_answer(harness_ask(p, MQ_CONSUMER_SEND_MSG_BACK, "group", "none", "delayLevel", "0", NULL), MQ_SYSTEM_ERROR,
			      "the custom field <offset> is null");
	harness_assert_answer(harness_ask(p, MQ_CONSUMER_SEND_MSG_BACK, "offset", "0", "group", "none", NULL), MQ_SYSTEM_ERROR,
			      "the custom field <delayLevel> is null");
}

static void a_retry_topic_that_takes_nothing_refuses(void **state)
{
	struct harness_peer *p = *state;

	harness_assert_answer(harness_ask(p, MQ_UPDATE_AND_CREATE_TOPIC, "topic", "%RETRY%closed", "defaultTopic", "TBW102",
					  "readQueueNums", "1", "writeQueueNums", "1", "perm", "4", "topicFilterType", "SINGLE_TAG",
					  "topicSysFlag", "0", "order", "false", NULL),
			      MQ_SUCCESS, NULL);
	harness_assert_answer(send_back(p, "closed", send_one(p, "BackClosed", "x"), "0", NULL), MQ_NO_PERMISSION,
			      "the topic[%RETRY%closed] sending message is forbidden");
}

static void a_broker_may_take_nothing_and_make_no_groups(void **state)
{
	static const char *const sets[] = { "brokerPermission=4", "autoCreateSubscriptionGroup=false", NULL };
	struct harness_daemon *own = harness_start(HARNESS_BROKER, sets);
	struct harness_peer *p = harness_connect(own);

	harness_assert_answer(send_back(p, "unknown", "0", "0", NULL), MQ_SUBSCRIPTION_GROUP_NOT_EXIST,
			      "subscription group not exist, unknown " FAQ);
	harness_assert_answer(send_back(p, "TOOLS_CONSUMER", "0", "0", NULL), MQ_NO_PERMISSION,
			      "the broker[127.0.0.1] sending message is forbidden");
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

/* ---- sends to the retry topic ---- */

static const struct mq_command *send_again(struct harness_peer *p, const char *group, const char *times, const char *max_times)
{
	struct mq_command cmd;
	char topic[64];

	snprintf(topic, sizeof topic, "%%RETRY%%%s", group);
	harness_request(&cmd, MQ_SEND_MESSAGE_V2, "a", "CLIENT_INNER_PRODUCER", "b", topic, "c", "TBW102", "d", "1", "e", "0", "f", "0",
			"g", "1795472583777", "h", "0", "i",
			"RETRY_TOPIC\1T\2DELAY\0011\2UNIQ_KEY\1U1\2TRAN_MSG\1true\2RECONSUME_TIME\0011\2", "j", times, "k", "false", "l",
			max_times, "m", "false", NULL);
	if (!max_times[0])
		drop_field(&cmd, "l");
	cmd.body = mq_slice_of("again");
	return harness_call(p, &cmd);
}

static void what_is_sent_again_too_often_is_dead(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_record r;

	/* Twice of two is not too often: it waits. */
	harness_assert_answer(send_again(p, "direct", "2", "2"), MQ_SUCCESS, NULL);
	answer = send_again(p, "direct", "3", "2");
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(answer, "queueId"), "0");
	assert_string_equal(harness_field(answer, "queueOffset"), "0");
	assert_topic(p, "%DLQ%direct", "1");
	assert_int_equal(records_of(pull(p, "%DLQ%direct", "0", "0"), &r, 1), 1);
	assert_slice(r.body, "again");
	assert_slice(r.topic, "%DLQ%direct");
	assert_int_equal(r.reconsume_times, 3);
	assert_property(r.properties, "DELAY", "-1");
	assert_property(r.properties, "RETRY_TOPIC", "T");
	assert_property(r.properties, "RECONSUME_TIME", "1");
	assert_int_equal(wait_for(p, "%RETRY%direct", "0", "0", &r, 1), 1);
	assert_int_equal(r.reconsume_times, 2);
	assert_property(r.properties, "DELAY", "1");

	/* The group's own limit. */
	make_group(p, "{\"groupName\":\"direct-none\",\"retryMaxTimes\":0,\"retryQueueNums\":1}");
	harness_assert_answer(send_again(p, "direct-none", "1", ""), MQ_SUCCESS, NULL);
	assert_string_equal(max_offset(p, "%DLQ%direct-none", "0"), "1");
}

static void what_a_group_with_locks_sends_again_is_dead(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	harness_request(&cmd, MQ_LOCK_BATCH_MQ, NULL);
	cmd.body = MQ_SLICE("{\"clientId\":\"c\",\"consumerGroup\":\"locked\",\"mqSet\":[{\"brokerName\":\"broker-a\",\"queueId\":0,"
			    "\"topic\":\"T\"}]}");
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	harness_assert_answer(send_again(p, "locked", "1", "16"), MQ_SUCCESS, NULL);
	assert_string_equal(max_offset(p, "%DLQ%locked", "0"), "1");
}

/* ---- crashes ---- */

static void what_was_sent_back_survives_a_kill(void **state)
{
	static const char *const sets[] = { "brokerName=broker-a", "fastListenPort=-1", "messageDelayLevel=1s 1s 1s", NULL };
	struct harness_daemon *own = harness_start(HARNESS_BROKER, sets);
	struct harness_peer *p = harness_connect(own);
	struct mq_record r[2];

	harness_assert_answer(send_back(p, "kept", send_one(p, "BackKept", "again"), "0", NULL), MQ_SUCCESS, NULL);
	harness_assert_answer(send_back(p, "kept", send_one(p, "BackKept", "dead"), "-1", NULL), MQ_SUCCESS, NULL);
	harness_close(p);
	harness_kill(own);
	harness_restart(own);
	p = harness_connect(own);
	assert_int_equal(wait_for(p, "%RETRY%kept", "0", "0", r, 2), 1);
	assert_slice(r[0].body, "again");
	harness_close(p);
	harness_kill(own);
	harness_restart(own);
	p = harness_connect(own);
	assert_int_equal(records_of(pull(p, "%RETRY%kept", "0", "0"), r, 2), 1);
	assert_int_equal(records_of(pull(p, "%DLQ%kept", "0", "0"), r, 2), 1);
	assert_slice(r[0].body, "dead");
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_gives_up_gets_a_dead_letter_at_once),
		TEST(dead_letters_are_found_by_tag_and_key),
		TEST(each_of_many_dead_letters_is_found_by_its_key),
		TEST(the_limit_is_the_requests_or_the_groups),
		TEST(what_comes_back_comes_again_later),
		TEST(a_level_beyond_the_last_is_the_last),
		TEST(retries_spread_over_the_groups_queues),
		TEST(a_group_without_retry_queues_wants_nothing_again),
		TEST(what_is_not_there_cannot_come_back),
		TEST(a_retry_topic_that_takes_nothing_refuses),
		cmocka_unit_test(a_broker_may_take_nothing_and_make_no_groups),
		TEST(what_is_sent_again_too_often_is_dead),
		TEST(what_a_group_with_locks_sends_again_is_dead),
		cmocka_unit_test(what_was_sent_back_survives_a_kill),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
