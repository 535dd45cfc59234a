/* What was popped comes again when its time is over: schedule.c and pop_revive.c on a real store, with a clock that the test steers. */
#include "schedule_test.h"

static void make_topic(struct fixture *f, const char *name)
{
	assert_int_equal(topics_create_retry(f->broker.topics, mq_slice_of(name), 1, false), 0);
}

static int setup(void **state)
{
	struct group group;

	fixture_setup(state);
	make_topic(*state, "T");
	assert_int_equal(groups_get(((struct fixture *)*state)->broker.groups, MQ_SLICE("g"), &group), 0);
	schedule_begin(*state);
	return 0;
}

#define REVIVED(name) cmocka_unit_test_setup_teardown(name, setup, schedule_teardown)

/* ---- Popping ---- */

/* Stores a message; returns its locator. */
static int64_t put(struct fixture *f, const char *topic, const char *properties, int32_t times)
{
	static char tail[MQ_RECORD_TAIL_MAX];
	struct mq_host host = { .addr = { 10, 0, 0, 1 }, .n_addr = 4, .port = 1 };
	struct mq_record rec = {
		.topic = mq_slice_of(topic), .body = MQ_SLICE("body"), .properties = mq_slice_of(properties), .born_host = host,
		.store_host = host, .born_at_ms = 77, .reconsume_times = times,
	};
	char head[MQ_RECORD_HEAD_MAX];
	struct message_marks marks;
	struct store_record record;
	struct store_op op;

	message_marks_read(&marks, rec.properties);
	message_record_encode(&rec, &marks, head, tail, &record);
	assert_int_equal(store_queue_open(f->broker.store, rec.topic, 0, &record.queue), 0);
	store_op_init(&op);
	op.records = &record;
	op.n_records = 1;
	assert_int_equal(commit(f, &op), 0);
	return record.locator;
}

/* As a pop notes it, now, for 1000 ms. */
static struct store_due pop(struct fixture *f, int64_t locator, bool is_suspended)
{
	int64_t now_ms = atomic_load(&f->now_ms);
	struct store_due due = {
		.at_ms = now_ms + 1000, .kind = STORE_DUE_POP, .locator = locator, .group = MQ_SLICE("g"), .pop_at_ms = now_ms,
		.is_suspended = is_suspended,
	};
	struct store_op op;

	store_op_init(&op);
	op.due_puts = &due;
	op.n_due_puts = 1;
	assert_int_equal(commit(f, &op), 0);
	schedule_note(f->broker.schedule, due.at_ms);
	return due;
}

/* ---- Looking ---- */

static int64_t revived(struct fixture *f, const char *topic)
{
	return stored(f, topic, 0);
}

static void await_revived(struct fixture *f, const char *topic, int64_t n)
{
	await_stored(f, topic, 0, n);
}

struct seen {
	char bytes[1000];
	struct mq_record r;
};

static enum store_verdict seen_on_record(void *user, int64_t offset, int64_t tag_hash, struct mq_slice record)
{
	struct seen *s = user;

	assert_true(record.n <= sizeof s->bytes);
	memcpy(s->bytes, record.p, record.n);
	assert_true(mq_record_decode((struct mq_slice){ s->bytes, record.n }, &s->r) > 0);
	assert_int_equal(tag_hash, mq_java_hash(mq_properties_get(s->r.properties, MQ_PROPERTY_TAGS)));
	return STORE_STOP;
}

static void read_first(struct fixture *f, const char *topic, struct seen *ret)
{
	int64_t next;

	assert_int_equal(store_scan(f->broker.store, store_queue_find(f->broker.store, mq_slice_of(topic), 0), 0, STORE_DISK,
				    seen_on_record, ret, &next),
			 0);
}

static enum store_verdict count_row(void *user, const struct store_due *due)
{
	++*(unsigned *)user;
	return STORE_GO_ON;
}

static unsigned rows_left(struct fixture *f)
{
	unsigned n = 0;
	int64_t next_ms;

	schedule_stop(f->broker.schedule); /* one thread at a time scans */
	assert_int_equal(store_due_scan(f->broker.store, NULL, INT64_MAX - 1, INT64_MAX, 100, count_row, &n, &next_ms), 0);
	return n;
}

/* ---- Tests ---- */

static void it_comes_again_when_its_time_is_over_and_not_before(void **state)
{
	struct fixture *f = *state;
	struct seen s;
	int64_t offset;

	pop(f, put(f, "T", "TAGS\1a\2KEYS\1k\2", 0), false);
	fixture_advance(f, 999);
	await_look(f);
	assert_int_equal(revived(f, "%RETRY%g_T"), 0);
	fixture_advance(f, 1);
	await_revived(f, "%RETRY%g_T", 1);
	read_first(f, "%RETRY%g_T", &s);
	assert_int_equal(s.r.reconsume_times, 1);
	assert_int_equal(s.r.born_at_ms, 77);
	assert_true(mq_slice_is(s.r.body, "body"));
	assert_true(mq_slice_is(s.r.topic, "%RETRY%g_T"));
	assert_true(mq_slice_is(mq_properties_get(s.r.properties, "1ST_POP_TIME"), "1795000000000"));
	assert_true(mq_slice_is(mq_properties_get(s.r.properties, "ORIGIN_GROUP"), "g"));
	assert_true(mq_slice_is(mq_properties_get(s.r.properties, "KEYS"), "k"));
	/* The group begins there at the beginning, wherever it wants to begin otherwise. */
	assert_int_equal(store_offset_get(f->broker.store, MQ_SLICE("g"), MQ_SLICE("%RETRY%g_T"), 0, &offset), 0);
	assert_int_equal(offset, 0);
	assert_int_equal(rows_left(f), 0);
}

static void what_is_acknowledged_does_not(void **state)
{
	struct fixture *f = *state;
	struct store_due due = pop(f, put(f, "T", "", 0), false);
	struct store_op op;

	pop(f, put(f, "T", "", 0), false); /* comes behind it */
	store_op_init(&op);
	op.due_deletes = &due;
	op.n_due_deletes = 1;
	assert_int_equal(commit(f, &op), 0);
	assert_int_equal(commit(f, &op), 0); /* again: nobody minds */
	fixture_advance(f, 1000);
	await_revived(f, "%RETRY%g_T", 1);
	await_look(f);
	assert_int_equal(revived(f, "%RETRY%g_T"), 1);
}

static void it_goes_back_to_the_retry_topic_that_it_came_from(void **state)
{
	struct fixture *f = *state;
	struct seen s;

	make_topic(f, "%RETRY%g+T");
	pop(f, put(f, "%RETRY%g+T", "1ST_POP_TIME\0015\2ORIGIN_GROUP\1g\2", 3), false);
	fixture_advance(f, 1000);
	await_revived(f, "%RETRY%g+T", 2);
	assert_int_equal(revived(f, "%RETRY%g_T"), 0);
	f->broker.config.enableRetryTopicV2 = true;
	pop(f, put(f, "T", "", 0), false);
	fixture_advance(f, 1000);
	await_revived(f, "%RETRY%g+T", 3);
	read_first(f, "%RETRY%g+T", &s);
	assert_int_equal(s.r.reconsume_times, 3);
	assert_true(mq_slice_is(mq_properties_get(s.r.properties, "1ST_POP_TIME"), "5"));
}

static void what_was_put_off_by_the_group_is_not_counted(void **state)
{
	struct fixture *f = *state;
	struct seen s;

	pop(f, put(f, "T", "", 2), true);
	fixture_advance(f, 1000);
	await_revived(f, "%RETRY%g_T", 1);
	read_first(f, "%RETRY%g_T", &s);
	assert_int_equal(s.r.reconsume_times, 2);
}

/* Each of these once, and silently: nothing comes, and the row is gone. */
static void assert_nothing_comes(struct fixture *f)
{
	fixture_advance(f, 1000);
	await_look(f);
	assert_int_equal(revived(f, "%RETRY%g_T"), 0);
	assert_int_equal(rows_left(f), 0);
}

static void nothing_comes_of_a_deleted_topic(void **state)
{
	struct fixture *f = *state;

	pop(f, put(f, "T", "", 0), false);
	assert_int_equal(topics_delete(f->broker.topics, MQ_SLICE("T")), 0);
	make_topic(f, "T"); /* one of the same name is another */
	put(f, "T", "", 0);
	assert_nothing_comes(f);
}

static void nothing_comes_for_a_deleted_group(void **state)
{
	struct fixture *f = *state;

	pop(f, put(f, "T", "", 0), false);
	assert_int_equal(groups_delete(f->broker.groups, MQ_SLICE("g")), 0);
	assert_nothing_comes(f);
}

static void properties_that_leave_no_room_stay_as_they_are(void **state)
{
	static char properties[MQ_PROPERTIES_MAX + 1];
	struct fixture *f = *state;

	memset(properties, 'x', MQ_PROPERTIES_MAX);
	properties[1] = 1;
	pop(f, put(f, "T", properties, 0), false);
	fixture_advance(f, 1000);
	await_revived(f, "%RETRY%g_T", 1);
}

static void what_became_due_while_stopped_comes_at_the_start(void **state)
{
	struct fixture *f = *state;

	pop(f, put(f, "T", "", 0), false);
	schedule_stop(f->broker.schedule);
	f->broker.schedule = schedule_free(f->broker.schedule);
	fixture_close(f);
	fixture_advance(f, 500);
	fixture_open(f);
	schedule_begin(f);
	await_look(f);
	assert_int_equal(revived(f, "%RETRY%g_T"), 0); /* the time that was left is left */
	fixture_advance(f, 500);
	await_revived(f, "%RETRY%g_T", 1);
}

static void many_come_in_turns(void **state)
{
	enum { N = 600 }; /* more than two turns */
	struct fixture *f = *state;
	int64_t locator = put(f, "T", "", 0);

	pop(f, locator, false);
	for (int i = 1; i < N; i++)
		pop(f, put(f, "T", "", 0), false);
	fixture_advance(f, 1000);
	await_revived(f, "%RETRY%g_T", N);
	assert_int_equal(rows_left(f), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		REVIVED(it_comes_again_when_its_time_is_over_and_not_before),
		REVIVED(what_is_acknowledged_does_not),
		REVIVED(it_goes_back_to_the_retry_topic_that_it_came_from),
		REVIVED(what_was_put_off_by_the_group_is_not_counted),
		REVIVED(nothing_comes_of_a_deleted_topic),
		REVIVED(nothing_comes_for_a_deleted_group),
		REVIVED(properties_that_leave_no_room_stay_as_they_are),
		REVIVED(what_became_due_while_stopped_comes_at_the_start),
		REVIVED(many_come_in_turns),
	};

	return cmocka_run_group_tests_name("pop revive", tests, NULL, NULL);
}
