/* Queues by name and number, their bounds, search by time, and topics that are deleted. */
#include "store_test.h"

static void queue_has_name_and_data_and_is_found_again(void **state)
{
	struct fixture *f = *state;
	struct store_queue *q, *again;
	int data;

	assert_null(store_queue_find(f->store, MQ_SLICE("T"), 7));
	assert_int_equal(store_queue_open(f->store, MQ_SLICE("T"), 7, &q), 0);
	assert_int_equal(store_queue_open(f->store, MQ_SLICE("T"), 7, &again), 0);
	assert_ptr_equal(q, again);
	assert_ptr_equal(store_queue_find(f->store, MQ_SLICE("T"), 7), q);
	assert_null(store_queue_find(f->store, MQ_SLICE("T"), 8));
	assert_null(store_queue_find(f->store, MQ_SLICE("t"), 7));
	assert_true(mq_slice_is(store_queue_topic(q), "T"));
	assert_int_equal(store_queue_id(q), 7);
	assert_null(store_queue_data(q));
	store_queue_set_data(q, &data);
	assert_ptr_equal(store_queue_data(q), &data);
	assert_int_equal(store_queue_open(f->store, MQ_SLICE(""), 0, &q), -EINVAL);

	/* it reaches the disk with its first record */
	fixture_reopen(f);
	assert_null(store_queue_find(f->store, MQ_SLICE("T"), 7));
}

static void append_some(struct fixture *f)
{
	for (int i = 0; i < 7; i++)
		append(f, "T", i % 2, "x");
	append(f, "U", 0, "y");
}

static void assert_some(struct fixture *f)
{
	assert_int_equal(store_queue_max(queue_of(f, "T", 0)), 4);
	assert_int_equal(store_queue_max(queue_of(f, "T", 1)), 3);
	assert_int_equal(store_queue_max(queue_of(f, "U", 0)), 1);
	assert_int_equal(store_queue_min(queue_of(f, "T", 0)), 0);
	assert_string_equal(scan(f, "U", 0, 0).body, "y");
	assert_int_equal(scan(f, "T", 0, 0).n, 4);
	assert_int_equal(scan(f, "T", 1, 1).n, 2);
	assert_int_equal(append(f, "T", 1, "z"), 3);
	assert_int_equal(append(f, "V", 0, "new"), 0);
	assert_string_equal(scan(f, "U", 0, 0).body, "y");
}

static void queues_are_the_same_after_close(void **state)
{
	struct fixture *f = *state;

	append_some(f);
	fixture_reopen(f);
	assert_some(f);
}

static void queues_are_the_same_after_kill(void **state)
{
	struct fixture *f = *state;

	fixture_kill_after(f, append_some);
	fixture_open(f);
	assert_some(f);
}

static void scan_goes_on_where_it_stopped(void **state)
{
	struct fixture *f = *state;
	struct seen s = { .stop_after = 2 };
	int64_t next;

	for (int i = 0; i < 5; i++)
		append(f, "T", 0, "x");
	assert_int_equal(store_scan(f->store, queue_of(f, "T", 0), 1, STORE_MEMORY, seen_on_record, &s, &next), 0);
	assert_int_equal(s.n, 2);
	assert_int_equal(s.first, 1);
	assert_int_equal(next, 3);
	s = (struct seen){};
	assert_int_equal(store_scan(f->store, queue_of(f, "T", 0), 5, STORE_MEMORY, seen_on_record, &s, &next), 0);
	assert_int_equal(s.n, 0);
	assert_int_equal(next, 5);
}

static void record_is_found_by_locator_only_where_one_is(void **state)
{
	struct fixture *f = *state;
	struct seen s = {};
	int64_t locator;

	append(f, "T", 0, "first");
	append_spec(f, &(struct message_spec){ .topic = "T", .body = "second", .tag_hash = 9 }, &locator);
	assert_int_equal(store_get(f->store, locator, STORE_MEMORY, seen_on_record, &s), 0);
	assert_string_equal(s.body, "second");
	assert_int_equal(s.tag_hash, 9);
	assert_int_equal(store_get(f->store, locator + 1, STORE_MEMORY, seen_on_record, &s), -ENOENT);
	assert_int_equal(store_get(f->store, -1, STORE_MEMORY, seen_on_record, &s), -ENOENT);
	assert_int_equal(store_get(f->store, 0, STORE_MEMORY, seen_on_record, &s), -ENOENT);
	assert_int_equal(store_get(f->store, locator_make(locator_queue(locator) + 1, 0), STORE_MEMORY, seen_on_record, &s), -ENOENT);
	assert_int_equal(store_time_at(f->store, queue_of(f, "T", 0), 1), atomic_load(&f->now_ms));
	assert_int_equal(store_time_at(f->store, queue_of(f, "T", 0), 2), -1);
	assert_int_equal(store_time_at(f->store, queue_of(f, "T", 1), 0), -1);
}

/* ---- search by time ---- */

static int64_t search(struct fixture *f, int64_t at_ms, enum store_boundary b)
{
	int64_t offset = -1;

	assert_int_equal(store_search_time(f->store, queue_of(f, "T", 0), at_ms, b, &offset), 0);
	return offset;
}

static void search_by_time_finds_both_boundaries(void **state)
{
	static const int times[] = { 100, 200, 200, 200, 300, 400 };
	struct fixture *f = *state;
	int64_t base = atomic_load(&f->now_ms);

	assert_int_equal(search(f, base, STORE_LOWER), 0);
	assert_int_equal(search(f, base, STORE_UPPER), 0);
	for (size_t i = 0; i < N_ELEMENTS(times); i++) {
		atomic_store(&f->now_ms, base + times[i]);
		append(f, "T", 0, "x");
	}
	for (int is_reopened = 0; is_reopened < 2; is_reopened++) {
		assert_int_equal(search(f, base + 99, STORE_LOWER), 0);
		assert_int_equal(search(f, base + 100, STORE_LOWER), 0);
		assert_int_equal(search(f, base + 101, STORE_LOWER), 1);
		assert_int_equal(search(f, base + 200, STORE_LOWER), 1);
		assert_int_equal(search(f, base + 201, STORE_LOWER), 4);
		assert_int_equal(search(f, base + 400, STORE_LOWER), 5);
		assert_int_equal(search(f, base + 401, STORE_LOWER), 6);
		assert_int_equal(search(f, base + 99, STORE_UPPER), 0);
		assert_int_equal(search(f, base + 100, STORE_UPPER), 0);
		assert_int_equal(search(f, base + 199, STORE_UPPER), 0);
		assert_int_equal(search(f, base + 200, STORE_UPPER), 3);
		assert_int_equal(search(f, base + 399, STORE_UPPER), 4);
		assert_int_equal(search(f, base + 9999, STORE_UPPER), 5);
		fixture_reopen(f);
	}
}

/* ---- deleted topics ---- */

static void assert_gone(struct fixture *f, int64_t old_locator)
{
	struct seen s = {};

	assert_int_equal(store_get(f->store, old_locator, STORE_DISK, seen_on_record, &s), -ENOENT);
	assert_int_equal(store_query(f->store, MQ_SLICE("T"), MQ_SLICE("old"), 10, 0, INT64_MAX, seen_on_record, &s), 0);
	assert_int_equal(s.n, 0);
}

static void a_topic_made_again_shows_no_old_message(void **state)
{
	struct fixture *f = *state;
	const struct message_spec old = { .topic = "T", .body = "old", .keys = "old" };
	int64_t locator, new_locator, offset;
	struct store_queue *deleted;
	struct message m;
	struct store_op op;

	for (int i = 0; i < 3; i++)
		append_spec(f, &old, &locator);
	append(f, "T", 5, "old");
	append(f, "TT", 0, "stays");
	flush_queue(f, "T", 0);
	append_spec(f, &old, NULL);
	deleted = queue_of(f, "T", 0);
	assert_int_equal(store_offset_set(f->store, MQ_SLICE("G"), MQ_SLICE("T"), 0, 2, store_offset_since()), 0);
	assert_int_equal(store_offset_set(f->store, MQ_SLICE("G"), MQ_SLICE("TT"), 0, 1, store_offset_since()), 0);
	assert_int_equal(store_topic_delete(f->store, MQ_SLICE("T"), NULL, 0), 0);

	assert_null(store_queue_find(f->store, MQ_SLICE("T"), 0));
	assert_int_equal(store_queue_max(deleted), 0);
	assert_int_equal(store_offset_get(f->store, MQ_SLICE("G"), MQ_SLICE("T"), 0, &offset), STORE_NONE);
	assert_int_equal(store_offset_get(f->store, MQ_SLICE("G"), MQ_SLICE("TT"), 0, &offset), 0);
	assert_gone(f, locator);
	/* who still has the queue in hand cannot write to it */
	message_init(&m, deleted, &old);
	store_op_init(&op);
	op.records = &m.record;
	op.n_records = 1;
	assert_int_equal(commit_op(f, &op), -ENOENT);
	message_done(&m);

	fixture_reopen(f);
	assert_null(store_queue_find(f->store, MQ_SLICE("T"), 0));
	assert_int_equal(append_spec(f, &(struct message_spec){ .topic = "T", .body = "new" }, &new_locator), 0);
	assert_int_not_equal(locator_queue(new_locator), locator_queue(locator));
	for (int is_reopened = 0; is_reopened < 2; is_reopened++) {
		struct seen s = scan(f, "T", 0, 0);

		assert_int_equal(s.n, 1);
		assert_string_equal(s.body, "new");
		assert_int_equal(scan(f, "T", 5, 0).n, 0);
		assert_string_equal(scan(f, "TT", 0, 0).body, "stays");
		assert_gone(f, locator);
		fixture_reopen(f);
	}
}

static void a_shared_topic_made_again_shows_no_old_message(void **state)
{
	struct fixture *f = *state;

	f->cfg.max_families = 0;
	fixture_open(f);
	a_topic_made_again_shows_no_old_message(state);
}

static void delete_topic(struct fixture *f)
{
	append_some(f);
	assert_int_equal(store_topic_delete(f->store, MQ_SLICE("T"), NULL, 0), 0);
}

static void a_deleted_topic_stays_deleted_after_kill(void **state)
{
	struct fixture *f = *state;

	fixture_kill_after(f, delete_topic);
	fixture_open(f);
	assert_null(store_queue_find(f->store, MQ_SLICE("T"), 0));
	assert_string_equal(scan(f, "U", 0, 0).body, "y");
	assert_int_equal(append(f, "T", 0, "new"), 0);
	assert_string_equal(scan(f, "T", 0, 0).body, "new");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(queue_has_name_and_data_and_is_found_again),
		TEST(queues_are_the_same_after_close),
		TEST_CLOSED(queues_are_the_same_after_kill),
		TEST(scan_goes_on_where_it_stopped),
		TEST(record_is_found_by_locator_only_where_one_is),
		TEST(search_by_time_finds_both_boundaries),
		TEST(a_topic_made_again_shows_no_old_message),
		TEST_CLOSED(a_shared_topic_made_again_shows_no_old_message),
		TEST_CLOSED(a_deleted_topic_stays_deleted_after_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
