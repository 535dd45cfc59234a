/* QUERY_CONSUMER_OFFSET (14), UPDATE_CONSUMER_OFFSET (15), SEARCH_OFFSET_BY_TIMESTAMP (29), GET_MAX_OFFSET (30),
 * GET_MIN_OFFSET (31), GET_EARLIEST_MSG_STORETIME (32). */
#include "libmq/base/bytes.h"
#include "tests/wire/messages.h"

static int start_daemon(void **state)
{
	daemon_ = harness_start(HARNESS_BROKER, NULL);
	return 0;
}

static const char *ask_offset(struct harness_peer *p, int code, const char *topic, const char *queue)
{
	const struct mq_command *answer = harness_ask(p, code, "topic", topic, "queueId", queue, NULL);

	assert_int_equal(answer->code, MQ_SUCCESS);
	return harness_field(answer, "offset");
}

static const struct mq_command *query(struct harness_peer *p, const char *group, const char *topic, const char *queue)
{
	return harness_ask(p, MQ_QUERY_CONSUMER_OFFSET, "consumerGroup", group, "topic", topic, "queueId", queue, NULL);
}

static const struct mq_command *update(struct harness_peer *p, const char *group, const char *topic, const char *queue, const char *offset)
{
	return harness_ask(p, MQ_UPDATE_CONSUMER_OFFSET, "consumerGroup", group, "topic", topic, "queueId", queue, "commitOffset", offset, NULL);
}

static void make_group(struct harness_peer *p, const char *topic)
{
	pull(p, topic, "0", "0"); /* the first pull makes the group "cg" */
}

static void assert_not_found(const struct mq_command *answer, const char *remark)
{
	harness_assert_answer(answer, MQ_QUERY_NOT_FOUND, remark);
	assert_true(answer->has_fields);
	assert_int_equal(answer->n_fields, 0);
}

static void maximum_and_minimum_are_the_queues(void **state)
{
	struct harness_peer *p = *state;

	send_ok(p, "Range", "1", "", "x");
	send_ok(p, "Range", "1", "", "x");
	assert_string_equal(ask_offset(p, MQ_GET_MAX_OFFSET, "Range", "1"), "2");
	assert_string_equal(ask_offset(p, MQ_GET_MIN_OFFSET, "Range", "1"), "0");
	assert_string_equal(ask_offset(p, MQ_GET_MAX_OFFSET, "Range", "0"), "0");
	assert_string_equal(ask_offset(p, MQ_GET_MAX_OFFSET, "NoSuchTopic", "0"), "0");
	assert_string_equal(ask_offset(p, MQ_GET_MIN_OFFSET, "NoSuchTopic", "7"), "0");
}

static void times_find_offsets(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	char at[24];

	send_ok(p, "Times", "0", "", "x");
	send_ok(p, "Times", "0", "", "x");
	answer = harness_ask(p, MQ_GET_EARLIEST_MSG_STORETIME, "topic", "Times", "queueId", "0", NULL);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	snprintf(at, sizeof at, "%s", harness_field(answer, "timestamp"));
	assert_true(atoll(at) > 1700000000000);

#define SEARCH(time, boundary) \
	harness_field(harness_ask(p, MQ_SEARCH_OFFSET_BY_TIMESTAMP, "topic", "Times", "queueId", "0", "timestamp", time, "boundaryType", boundary, NULL), "offset")
	assert_string_equal(SEARCH("0", "LOWER"), "0");
	assert_string_equal(SEARCH(at, "LOWER"), "0");
	assert_string_equal(SEARCH("9000000000000", "LOWER"), "2");
	assert_string_equal(SEARCH("9000000000000", "UPPER"), "1");
	assert_string_equal(SEARCH("0", "upper"), "0");

	answer = harness_ask(p, MQ_SEARCH_OFFSET_BY_TIMESTAMP, "topic", "NoSuchTopic", "queueId", "0", "timestamp", "0", NULL);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(answer, "offset"), "0");
	answer = harness_ask(p, MQ_GET_EARLIEST_MSG_STORETIME, "topic", "NoSuchTopic", "queueId", "0", NULL);
	assert_string_equal(harness_field(answer, "timestamp"), "-1");
	answer = harness_ask(p, MQ_GET_EARLIEST_MSG_STORETIME, "topic", "Times", "queueId", "1", NULL);
	assert_string_equal(harness_field(answer, "timestamp"), "-1");
}

static void a_new_group_begins_at_0_of_a_young_topic_only(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;

	send_ok(p, "Young", "0", "", "x");
	answer = query(p, "newcomer", "Young", "0");
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(answer, "offset"), "0");
	assert_not_found(query(p, "newcomer", "Young", "1"), "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first");
	assert_not_found(query(p, "newcomer", "NoSuchTopic", "0"), "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first");
	answer = harness_ask(p, MQ_QUERY_CONSUMER_OFFSET, "consumerGroup", "newcomer", "topic", "Young", "queueId", "0",
			     "setZeroIfNotFound", "false", NULL);
	assert_not_found(answer, "Not found, do not set to zero, maybe this group boot first");
}

static void a_committed_offset_comes_back(void **state)
{
	struct harness_peer *p = *state;

	send_ok(p, "Commit", "0", "", "x");
	make_group(p, "Commit");
	harness_assert_answer(update(p, "cg", "Commit", "0", "17"), MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(query(p, "cg", "Commit", "0"), "offset"), "17");
	harness_assert_answer(update(p, "cg", "Commit", "0", "3"), MQ_SUCCESS, NULL); /* backwards, too */
	assert_string_equal(harness_field(query(p, "cg", "Commit", "0"), "offset"), "3");
	assert_string_equal(harness_field(query(p, "newcomer", "Commit", "0"), "offset"), "0");
}

static void a_one_way_commit_counts_at_once(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	send_ok(p, "OneWayCommit", "0", "", "x");
	make_group(p, "OneWayCommit");
	harness_request(&cmd, MQ_UPDATE_CONSUMER_OFFSET, "consumerGroup", "cg", "topic", "OneWayCommit", "queueId", "0", "commitOffset", "1", NULL);
	cmd.flag = MQ_FLAG_ONEWAY;
	harness_send(p, &cmd);
	assert_string_equal(harness_field(query(p, "cg", "OneWayCommit", "0"), "offset"), "1");
}

static size_t put_commit(char *ret, int opaque, int flag, int offset)
{
	char *json = ret + 8;
	size_t n = (size_t)sprintf(json,
				   "{\"code\":%d,\"flag\":%d,\"language\":\"JAVA\",\"opaque\":%d,\"version\":479,\"extFields\":{\"consumerGroup\":\"cg\","
				   "\"topic\":\"Order\",\"queueId\":\"0\",\"commitOffset\":\"%d\"}}",
				   MQ_UPDATE_CONSUMER_OFFSET, flag, opaque, offset);

	mq_put32(mq_put32(ret, (uint32_t)n + 4), (uint32_t)n);
	return n + 8;
}

/* Both come in one read, so that the first still waits for the end of the round when the second is looked at. */
static void the_last_commit_wins_whether_it_waits_or_not(void **state)
{
	enum { FIRST = 900001 };
	struct harness_peer *p = *state;
	char bytes[1024];
	size_t n;

	send_ok(p, "Order", "0", "", "x");
	make_group(p, "Order");
	n = put_commit(bytes, FIRST, 0, 10);
	n += put_commit(bytes + n, FIRST + 1, MQ_FLAG_ONEWAY, 20);
	assert_true(harness_send_raw(p, bytes, n));
	harness_assert_answer(harness_answer(p, FIRST), MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(query(p, "cg", "Order", "0"), "offset"), "20");
}

static void commits_of_the_unknown_are_refused(void **state)
{
	struct harness_peer *p = *state;

	send_ok(p, "Known", "0", "", "x");
	make_group(p, "Known");
	harness_assert_answer(update(p, "stranger", "Known", "0", "1"), MQ_SUBSCRIPTION_GROUP_NOT_EXIST, "Group stranger not exist!");
	harness_assert_answer(update(p, "cg", "NoSuchTopic", "0", "1"), MQ_TOPIC_NOT_EXIST, "Topic NoSuchTopic not exist!");
	harness_assert_answer(harness_ask(p, MQ_UPDATE_CONSUMER_OFFSET, "consumerGroup", "cg", "topic", "Known", "commitOffset", "1", NULL),
			      MQ_SYSTEM_ERROR, "the custom field <queueId> is null");
}

static void an_acknowledged_commit_survives_a_kill(void **state)
{
	struct harness_daemon *own = harness_start(HARNESS_BROKER, NULL);
	struct harness_peer *p = harness_connect(own);

	send_ok(p, "Durable", "0", "", "x");
	make_group(p, "Durable");
	harness_assert_answer(update(p, "cg", "Durable", "0", "1"), MQ_SUCCESS, NULL);
	harness_kill(own);
	harness_close(p);
	harness_restart(own);
	p = harness_connect(own);
	assert_string_equal(harness_field(query(p, "cg", "Durable", "0"), "offset"), "1");
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(maximum_and_minimum_are_the_queues),
		TEST(times_find_offsets),
		TEST(a_new_group_begins_at_0_of_a_young_topic_only),
		TEST(a_committed_offset_comes_back),
		TEST(a_one_way_commit_counts_at_once),
		TEST(the_last_commit_wins_whether_it_waits_or_not),
		TEST(commits_of_the_unknown_are_refused),
		cmocka_unit_test(an_acknowledged_commit_survives_a_kill),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
