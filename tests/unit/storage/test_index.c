/* Messages found by key. */
#include "store_test.h"

enum { HOUR_MS = 3600 * 1000 };

struct found {
	unsigned n, stop_after;
	char bodies[200]; /* joined by blanks */
};

static enum store_verdict found_on_record(void *user, int64_t offset, int64_t tag_hash, struct mq_slice record)
{
	struct found *found = user;
	struct mq_record r;
	size_t used = strlen(found->bodies);

	assert_true(mq_record_decode(record, &r) > 0);
	snprintf(found->bodies + used, sizeof found->bodies - used, "%s%.*s", used ? " " : "", MQ_FMT(r.body));
	return ++found->n == found->stop_after ? STORE_STOP : STORE_GO_ON;
}

static struct found query(struct fixture *f, const char *topic, const char *key, unsigned max, int64_t begin_ms, int64_t end_ms)
{
	struct found found = {};
	int n = store_query(f->store, mq_slice_of(topic), mq_slice_of(key), max, begin_ms, end_ms, found_on_record, &found);

	assert_int_equal(n, found.n);
	return found;
}

static void append_key(struct fixture *f, const char *topic, const char *keys, const char *body)
{
	assert_true(append_spec(f, &(struct message_spec){ .topic = topic, .keys = keys, .body = body }, NULL) >= 0);
}

static void each_key_and_the_unique_key_find_the_message(void **state)
{
	struct fixture *f = *state;

	append_key(f, "T", "  red green  red ", "a");
	append_key(f, "U", "red", "other topic");
	append_spec(f, &(struct message_spec){ .topic = "T", .queue_id = 1, .keys = "green", .uniq_key = "0A01", .body = "b" }, NULL);
	for (int is_reopened = 0; is_reopened < 2; is_reopened++) {
		assert_string_equal(query(f, "T", "red", 10, 0, INT64_MAX).bodies, "a");
		assert_int_equal(query(f, "T", "green", 10, 0, INT64_MAX).n, 2);
		assert_string_equal(query(f, "T", "0A01", 10, 0, INT64_MAX).bodies, "b");
		assert_int_equal(query(f, "T", "gree", 10, 0, INT64_MAX).n, 0);
		assert_int_equal(query(f, "T", "", 10, 0, INT64_MAX).n, 0);
		assert_int_equal(query(f, "V", "red", 10, 0, INT64_MAX).n, 0);
		fixture_reopen(f);
	}
}

static void the_newest_are_handed_out_in_ascending_order(void **state)
{
	struct fixture *f = *state;
	int64_t base = atomic_load(&f->now_ms);
	char body[8];

	/* twelve messages over four hours, with hours between that have none, and keys of others between */
	for (int i = 0; i < 12; i++) {
		atomic_store(&f->now_ms, base + i / 3 * 5 * HOUR_MS + i % 3 * 10);
		snprintf(body, sizeof body, "%d", i);
		append_key(f, "T", "key", body);
		append_key(f, "T", "another", "x");
	}
	assert_string_equal(query(f, "T", "key", 100, 0, INT64_MAX).bodies, "0 1 2 3 4 5 6 7 8 9 10 11");
	assert_string_equal(query(f, "T", "key", 4, 0, INT64_MAX).bodies, "8 9 10 11");
	assert_string_equal(query(f, "T", "key", 4, 0, base + 10 * HOUR_MS).bodies, "3 4 5 6");
	assert_int_equal(query(f, "T", "key", 0, 0, INT64_MAX).n, 0);
	/* both ends of the range belong to it */
	assert_string_equal(query(f, "T", "key", 100, base + 10, base + 5 * HOUR_MS).bodies, "1 2 3");
	assert_string_equal(query(f, "T", "key", 100, base + 20, base + 20).bodies, "2");
	assert_int_equal(query(f, "T", "key", 100, base + 21, base + 5 * HOUR_MS - 1).n, 0);
	assert_int_equal(query(f, "T", "key", 100, 10, 9).n, 0);

	struct found stopped = { .stop_after = 2 };
	assert_int_equal(store_query(f->store, MQ_SLICE("T"), MQ_SLICE("key"), 100, 0, INT64_MAX, found_on_record, &stopped), 2);
	assert_string_equal(stopped.bodies, "0 1");
}

/* Their rows lie side by side. */
static void unique_ids_that_follow_each_other_are_told_apart(void **state)
{
	struct fixture *f = *state;
	char id[40], body[8];

	for (int i = 0; i < 200; i++) {
		snprintf(id, sizeof id, "7F00000100EC18B4AAC24F5B7C%02X%04X", i / 50, i % 50);
		snprintf(body, sizeof body, "%d", i);
		append_spec(f, &(struct message_spec){ .topic = i % 2 ? "T" : "U", .uniq_key = id, .body = body }, NULL);
	}
	for (int i = 0; i < 200; i++) {
		snprintf(id, sizeof id, "7F00000100EC18B4AAC24F5B7C%02X%04X", i / 50, i % 50);
		snprintf(body, sizeof body, "%d", i);
		assert_string_equal(query(f, i % 2 ? "T" : "U", id, 10, 0, INT64_MAX).bodies, body);
		assert_int_equal(query(f, i % 2 ? "U" : "T", id, 10, 0, INT64_MAX).n, 0);
	}
}

static void append_keys(struct fixture *f)
{
	append_key(f, "T", "k1 k2", "a");
}

static void index_and_message_survive_a_kill_together(void **state)
{
	struct fixture *f = *state;

	fixture_kill_after(f, append_keys);
	fixture_open(f);
	assert_string_equal(query(f, "T", "k2", 10, 0, INT64_MAX).bodies, "a");
}

static void keys_are_hashed_as_the_format_says(void **state)
{
	/* On disk: these values may never change. */
	assert_int_equal(index_hash(MQ_SLICE("TopicTest"), MQ_SLICE("key-1")), 0x60c4719b94f5a08full);
	assert_int_equal(index_hash(MQ_SLICE(""), MQ_SLICE("")), 0xb9034ad37056f5fbull);
	assert_int_equal(index_hash(MQ_SLICE("TopicTest"), MQ_SLICE("7F00000100EC18B4AAC24F5B7C3A0001")), 0x476ce95b7c3a0001ull);
	/* too short, or not ending in such digits: mixed as a whole */
	assert_int_equal(index_hash(MQ_SLICE("TopicTest"), MQ_SLICE("F00000100EC18B4AAC24F5B7C3A0001")), 0x534075a14c8cb5e6ull);
	assert_int_equal(index_hash(MQ_SLICE("TopicTest"), MQ_SLICE("7f00000100ec18b4aac24f5b7c3a0001")), 0x50c178da9b7b141bull);
	assert_int_not_equal(index_hash(MQ_SLICE("a"), MQ_SLICE("bc")), index_hash(MQ_SLICE("ab"), MQ_SLICE("c")));
	assert_int_equal(index_hour(HOUR_MS - 1), 0);
	assert_int_equal(index_hour(HOUR_MS), 1);
	assert_int_equal(index_hour(-5), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_key_and_the_unique_key_find_the_message),
		TEST(the_newest_are_handed_out_in_ascending_order),
		TEST(unique_ids_that_follow_each_other_are_told_apart),
		TEST_CLOSED(index_and_message_survive_a_kill_together),
		cmocka_unit_test(keys_are_hashed_as_the_format_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
