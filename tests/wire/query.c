/* QUERY_MESSAGE (12), VIEW_MESSAGE_BY_ID (33). */
#include "tests/wire/messages.h"

static int start_daemon(void **state)
{
	daemon_ = harness_start(HARNESS_BROKER, NULL);
	return 0;
}

static const struct mq_command *query(struct harness_peer *p, const char *topic, const char *key, const char *max, const char *begin,
				      const char *end)
{
	return harness_ask(p, MQ_QUERY_MESSAGE, "topic", topic, "key", key, "maxNum", max, "beginTimestamp", begin, "endTimestamp", end,
			   "_UNIQUE_KEY_QUERY", "false", "indexType", "K", NULL);
}

static void assert_none(const struct mq_command *answer)
{
	harness_assert_answer(answer, MQ_QUERY_NOT_FOUND, "can not find message, maybe time range not correct");
	assert_string_equal(harness_field(answer, "indexLastUpdateTimestamp"), "0");
	assert_string_equal(harness_field(answer, "indexLastUpdatePhyoffset"), "0");
}

static void each_key_finds_its_messages(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_record r[3];

	send_ok(p, "Keys", "3", "KEYS\1key1 key2\2", "first");
	send_ok(p, "Keys", "1", "KEYS\1key2\2", "second");
	send_ok(p, "Other", "1", "KEYS\1key2\2", "elsewhere");
	answer = query(p, "Keys", "key1", "32", "0", FOREVER);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_int_equal(records_of(answer, r, 3), 1);
	assert_slice(r[0].body, "first");
	assert_true(atoll(harness_field(answer, "indexLastUpdateTimestamp")) >= r[0].store_at_ms);
	answer = query(p, "Keys", "key2", "32", "0", FOREVER);
	assert_int_equal(records_of(answer, r, 3), 2);
	assert_slice(r[1].body, "second");
	assert_none(query(p, "Keys", "key", "32", "0", FOREVER));
	assert_none(query(p, "Keys", "key1 key2", "32", "0", FOREVER));
	assert_none(query(p, "NoSuchTopic", "key1", "32", "0", FOREVER));
}

static void times_limit_the_search(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_record r;
	char before[24], at[24];

	send_ok(p, "Timed", "0", "KEYS\1k\2", "x");
	answer = query(p, "Timed", "k", "32", "0", FOREVER);
	assert_int_equal(records_of(answer, &r, 1), 1);
	snprintf(at, sizeof at, "%" PRIi64, r.store_at_ms);
	snprintf(before, sizeof before, "%" PRIi64, r.store_at_ms - 60000);
	assert_int_equal(records_of(query(p, "Timed", "k", "32", at, at), &r, 1), 1);
	assert_none(query(p, "Timed", "k", "32", "0", before));
	assert_none(query(p, "Timed", "k", "32", "9000000000000", FOREVER));
	assert_none(query(p, "Timed", "k", "32", FOREVER, "0"));
}

static void at_most_so_many_come(void **state)
{
	struct harness_peer *p = *state;
	struct mq_record r[100];

	for (int i = 0; i < 80; i++)
		send_ok(p, "ManyKeys", "0", "KEYS\1k\2", "x");
	assert_int_equal(records_of(query(p, "ManyKeys", "k", "5", "0", FOREVER), r, 100), 5);
	assert_int_equal(records_of(query(p, "ManyKeys", "k", "1000", "0", FOREVER), r, 100), 64); /* maxMsgsNumBatch */
	assert_none(query(p, "ManyKeys", "k", "-1", "0", FOREVER));
}

static void the_unique_id_is_a_key(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_record r;

	send_ok(p, "Unique", "0", "UNIQ_KEY\1" "0A0000016623\2", "mine");
	send_ok(p, "Unique", "0", "UNIQ_KEY\1" "0A0000016624\2", "other");
	answer = harness_ask(p, MQ_QUERY_MESSAGE, "topic", "Unique", "key", "0A0000016623", "maxNum", "32", "beginTimestamp", "0",
			     "endTimestamp", FOREVER, "_UNIQUE_KEY_QUERY", "true", "indexType", "U", NULL);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_int_equal(records_of(answer, &r, 1), 1);
	assert_slice(r.body, "mine");
}

static void a_message_is_viewed_by_its_id(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_record r;
	char locator[24];

	snprintf(locator, sizeof locator, "%s", sent_locator(send_message(p, "View", "2", "", "look at me")));
	answer = harness_ask(p, MQ_VIEW_MESSAGE_BY_ID, "offset", locator, "topic", "View", NULL);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_int_equal(records_of(answer, &r, 1), 1);
	assert_slice(r.body, "look at me");
	assert_slice(r.topic, "View");
}

static void an_id_that_names_nothing_is_refused(void **state)
{
	struct harness_peer *p = *state;
	static const char *const offsets[] = { "123456789012345", "-1", "0", FOREVER, "-9223372036854775808" };

	for (size_t i = 0; i < N_ELEMENTS(offsets); i++) {
		char remark[100];

		snprintf(remark, sizeof remark, "can not find message by the offset, %s", offsets[i]);
		harness_assert_answer(harness_ask(p, MQ_VIEW_MESSAGE_BY_ID, "offset", offsets[i], NULL), MQ_SYSTEM_ERROR, remark);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_key_finds_its_messages),
		TEST(times_limit_the_search),
		TEST(at_most_so_many_come),
		TEST(the_unique_id_is_a_key),
		TEST(a_message_is_viewed_by_its_id),
		TEST(an_id_that_names_nothing_is_refused),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
