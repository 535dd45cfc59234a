/* schedule.c on a real store, with a clock that the test steers. Only the pause between two looks at the clock is real. */
#include "schedule_test.h"

#include <pthread.h>
#include <sys/mman.h>

#include "storage/internal.h"

static int setup(void **state)
{
	fixture_setup(state);
	schedule_begin(*state);
	return 0;
}

static int stderr_ = -1; /* while a test reads what is logged: standard error as it was */

/* Failures are told there. */
static void restore_stderr(void)
{
	if (stderr_ < 0)
		return;
	dup2(stderr_, STDERR_FILENO);
	close(stderr_);
	stderr_ = -1;
}

static int teardown(void **state)
{
	restore_stderr();
	return schedule_teardown(state);
}

#define SCHEDULED(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- Sending ---- */

/* Stores a message as send_store.c does; returns its locator. */
static int64_t put(struct fixture *f, const char *topic, const char *properties, const char *body)
{
	static char text[MQ_PROPERTIES_MAX], tail[MQ_RECORD_TAIL_MAX];
	char head[MQ_RECORD_HEAD_MAX];
	struct broker *b = &f->broker;
	struct mq_host host = { .addr = { 127, 0, 0, 1 }, .n_addr = 4, .port = 1 };
	struct mq_record rec = { .topic = mq_slice_of(topic), .queue_id = 3, .body = mq_slice_of(body), .born_host = host, .store_host = host };
	struct message_additions more = {};
	struct message_marks marks;
	struct store_record record;
	struct store_op op;
	struct delay delay;

	message_marks_read(&marks, mq_slice_of(properties));
	assert_int_equal(delay_read(b, &marks, mq_wall_ms(b->clock), &delay), 0);
	assert_int_not_equal(delay.kind, DELAY_NONE);
	delay_redirect(&delay, &rec, &more);
	rec.properties = (struct mq_slice){ text, message_properties_encode(&b->config, mq_slice_of(properties), &more, text) };
	message_record_encode(&rec, &marks, head, tail, &record);
	assert_int_equal(store_queue_open(b->store, rec.topic, rec.queue_id, &record.queue), 0);
	delay_arm(&delay, &record);
	store_op_init(&op);
	op.records = &record;
	op.n_records = 1;
	assert_int_equal(commit(f, &op), 0);
	schedule_note(b->schedule, record.due_at_ms);
	return record.locator;
}

/* ---- Looking ---- */

static int64_t delivered(struct fixture *f, const char *topic)
{
	return stored(f, topic, 3);
}

static void await_delivered(struct fixture *f, const char *topic, int64_t n)
{
	await_stored(f, topic, 3, n);
}

struct seen {
	unsigned n;
	char bodies[1200][8];
	int64_t store_at_ms;
	char properties[1000];
};

static enum store_verdict seen_on_record(void *user, int64_t offset, int64_t tag_hash, struct mq_slice record)
{
	struct seen *s = user;
	struct mq_record r;

	assert_true(mq_record_decode(record, &r) > 0);
	snprintf(s->bodies[s->n++], sizeof s->bodies[0], "%.*s", MQ_FMT(r.body));
	snprintf(s->properties, sizeof s->properties, "%.*s", MQ_FMT(r.properties));
	s->store_at_ms = r.store_at_ms;
	return STORE_GO_ON;
}

static void read_all(struct fixture *f, const char *topic, struct seen *ret)
{
	struct store_queue *q = store_queue_find(f->broker.store, mq_slice_of(topic), 3);
	int64_t next;

	memset(ret, 0, sizeof *ret);
	assert_non_null(q);
	assert_int_equal(store_scan(f->broker.store, q, 0, STORE_DISK, seen_on_record, ret, &next), 0);
}

/* ---- Tests ---- */

static void a_message_comes_when_its_time_has_come(void **state)
{
	struct fixture *f = *state;
	static struct seen seen;

	put(f, "T", "DELAY\0011\2", "x");
	put(f, "T", "TIMER_DELAY_MS\0014000\2", "y");
	await_look(f);
	assert_int_equal(delivered(f, "T"), 0);
	fixture_advance(f, 3999);
	await_look(f);
	assert_int_equal(delivered(f, "T"), 0);
	fixture_advance(f, 1);
	await_delivered(f, "T", 1);
	fixture_advance(f, 1000);
	await_delivered(f, "T", 2);
	read_all(f, "T", &seen);
	assert_string_equal(seen.bodies[0], "y");
	assert_string_equal(seen.bodies[1], "x");
}

static void a_clock_set_forward_delivers(void **state)
{
	struct fixture *f = *state;

	put(f, "T", "DELAY\0012\2", "x");
	await_look(f);
	fixture_advance(f, 7200000); /* nobody tells the schedule */
	await_delivered(f, "T", 1);
}

static void a_clock_set_back_delivers_nothing_early_and_loses_nothing(void **state)
{
	struct fixture *f = *state;

	put(f, "T", "DELAY\0011\2", "before");
	fixture_advance(f, -3600000);
	put(f, "T", "DELAY\0011\2", "after");
	await_look(f);
	assert_int_equal(delivered(f, "T"), 0);
	fixture_advance(f, 4999);
	await_look(f);
	assert_int_equal(delivered(f, "T"), 0);
	fixture_advance(f, 1);
	await_delivered(f, "T", 1); /* the delay of the second is over, the time of the first is not there */
	fixture_advance(f, 3599999);
	await_look(f);
	assert_int_equal(delivered(f, "T"), 1);
	fixture_advance(f, 1);
	await_delivered(f, "T", 2);
}

static void many_at_the_same_time_come_once_and_in_order(void **state)
{
	enum { N = 1000 }; /* more than a turn */
	static struct seen seen;
	struct fixture *f = *state;
	char body[8];

	for (int i = 0; i < N; i++) {
		snprintf(body, sizeof body, "%d", i);
		put(f, "T", "DELAY\0011\2", body);
	}
	fixture_advance(f, 5000);
	await_delivered(f, "T", N);
	await_look(f);
	read_all(f, "T", &seen);
	assert_int_equal(seen.n, N);
	for (int i = 0; i < N; i++)
		assert_int_equal(atoi(seen.bodies[i]), i);
}

static void what_became_due_while_stopped_comes_at_the_start(void **state)
{
	struct fixture *f = *state;

	put(f, "T", "DELAY\0011\2", "x");
	schedule_stop(f->broker.schedule);
	fixture_advance(f, 100000);
	assert_int_equal(delivered(f, "T"), 0);
	f->broker.schedule = schedule_free(f->broker.schedule);
	fixture_close(f);
	fixture_open(f);
	schedule_begin(f);
	await_delivered(f, "T", 1);
}

/* Waits until so much of the level is noted as delivered; returns the end. */
static int64_t await_passed(struct fixture *f, int32_t level, int64_t n)
{
	struct timespec pause = { .tv_nsec = 1000000 };
	int64_t passed, max;

	for (int left = 10000; left > 0; left--) {
		if (schedule_level(f->broker.schedule, level, &passed, &max) && passed == n)
			return max;
		nanosleep(&pause, NULL);
	}
	fail_msg("level %d is not noted as delivered up to %d", (int)level, (int)n);
	return -1;
}

static void how_far_a_level_is_delivered_is_known_after_a_restart_too(void **state)
{
	struct fixture *f = *state;
	int64_t passed, max;

	assert_false(schedule_level(f->broker.schedule, 1, &passed, &max));
	put(f, "T", "DELAY\0011\2", "x");
	put(f, "T", "DELAY\0012\2", "y");
	assert_int_equal(await_passed(f, 1, 0), 1);
	fixture_advance(f, 6000);
	put(f, "T", "DELAY\0011\2", "z");
	assert_int_equal(await_passed(f, 1, 1), 2);
	assert_int_equal(await_passed(f, 2, 0), 1);
	schedule_stop(f->broker.schedule);
	f->broker.schedule = schedule_free(f->broker.schedule);
	fixture_close(f);
	fixture_open(f);
	schedule_begin(f);
	assert_int_equal(await_passed(f, 1, 1), 2);
	assert_int_equal(await_passed(f, 2, 0), 1);
}

static void times_of_a_timer_are_shown_as_apaches_broker_does(void **state)
{
	struct fixture *f = *state; /* the clock stands at 1795000000000 */
	static struct seen seen;

	fixture_advance(f, 1234);
	put(f, "T", "TIMER_DELAY_MS\0013000\2", "x");
	fixture_advance(f, 3500);
	await_delivered(f, "T", 1);
	read_all(f, "T", &seen);
	assert_non_null(strstr(seen.properties, "TIMER_DELAY_MS\0013000\2"));
	assert_non_null(strstr(seen.properties, "TIMER_OUT_MS\0011795000004000\2"));
	assert_non_null(strstr(seen.properties, "TIMER_ENQUEUE_MS\0011795000001000\2"));
	assert_non_null(strstr(seen.properties, "TIMER_DEQUEUE_MS\0011795000004734\2"));
	assert_non_null(strstr(seen.properties, "REAL_TOPIC\1T\2"));
	assert_non_null(strstr(seen.properties, "REAL_QID\0013\2"));
	assert_int_equal(seen.store_at_ms, 1795000004734);
}

/* Properties as long as the wire allows: there is no room for two times more. */
static void a_message_without_room_for_the_times_comes_without_them(void **state)
{
	static char properties[MQ_PROPERTIES_MAX];
	struct fixture *f = *state;
	static struct seen seen;
	int n = snprintf(properties, sizeof properties, "TIMER_DELAY_MS\0013000\2p\1");

	memset(properties + n, 'x', (size_t)(32650 - n));
	put(f, "T", properties, "x");
	fixture_advance(f, 3000);
	await_delivered(f, "T", 1);
	read_all(f, "T", &seen);
	assert_string_equal(seen.bodies[0], "x");
}

static void a_recalled_message_does_not_come(void **state)
{
	struct fixture *f = *state;
	static struct seen seen;

	put(f, "T", "TIMER_DELAY_MS\0013000\2UNIQ_KEY\1A\2", "recalled");
	put(f, "T", "TIMER_DELAY_MS\0013000\2UNIQ_KEY\1B\2", "other");
	put(f, "T", "TIMER_DELAY_MS\0015000\2UNIQ_KEY\1A\2", "later");
	put(f, "U", "TIMER_DELAY_MS\0013000\2UNIQ_KEY\1A\2", "topic");
	put(f, "T", "TIMER_DELAY_MS\0013000\2TIMER_DEL_UNIQKEY\1T+A\2UNIQ_KEY\1A\2", "0");
	put(f, "T", "TIMER_DELAY_MS\0013000\2TIMER_DEL_UNIQKEY\1nonsense\2", "0");
	fixture_advance(f, 10000);
	await_delivered(f, "T", 2);
	await_delivered(f, "U", 1);
	await_look(f);
	read_all(f, "T", &seen);
	assert_int_equal(seen.n, 2);
	assert_string_equal(seen.bodies[0], "other");
	assert_string_equal(seen.bodies[1], "later");
}

/* Who recalls again and again, all of them under the id of the message. */
static void a_message_that_is_recalled_many_times_does_not_come(void **state)
{
	struct fixture *f = *state;

	put(f, "T", "TIMER_DELAY_MS\0013000\2UNIQ_KEY\1A\2", "recalled");
	for (int i = 0; i < 1100; i++)
		put(f, "T", "TIMER_DELAY_MS\0013000\2TIMER_DEL_UNIQKEY\1T+A\2UNIQ_KEY\1A\2", "0");
	put(f, "U", "TIMER_DELAY_MS\0015000\2", "later");
	fixture_advance(f, 10000);
	await_delivered(f, "U", 1);
	assert_int_equal(delivered(f, "T"), 0);
}

static void a_row_without_a_record_holds_up_nobody(void **state)
{
	struct fixture *f = *state;

	put(f, "T", "DELAY\0011\2", "gone");
	assert_int_equal(store_topic_delete(f->broker.store, MQ_SLICE(DELAY_LEVEL_TOPIC), NULL, 0), 0);
	fixture_advance(f, 1);
	put(f, "T", "DELAY\0011\2", "x");
	fixture_advance(f, 5000);
	await_delivered(f, "T", 1);
}

/* ---- Damage ---- */

/* Swaps what is stored under the locators with `values`. */
static void swap_records(struct fixture *f, const int64_t *locators, char (*values)[300], size_t *sizes, unsigned n)
{
	struct store *s = f->broker.store;

	for (unsigned i = 0; i < n; i++) {
		_cleanup_(rocksdb_textp) char *text = NULL;
		rocksdb_column_family_handle_t *cf = queue_by_number(s, locator_queue(locators[i]))->family->cf;
		char key[RECORD_KEY_SIZE], *old;
		size_t n_old;

		record_key(key, locator_queue(locators[i]), locator_offset(locators[i]));
		old = rocksdb_get_cf(s->db, s->read_options[STORE_DISK], cf, key, sizeof key, &n_old, &text);
		assert_non_null(old);
		assert_true(n_old <= sizeof values[i]);
		rocksdb_put_cf(s->db, s->write_options, cf, key, sizeof key, values[i], sizes[i], &text);
		assert_null(text);
		memcpy(values[i], old, n_old);
		sizes[i] = n_old;
		rocksdb_free(old);
	}
}

static void a_damaged_row_holds_up_nobody(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->broker.store;
	_cleanup_(rocksdb_textp) char *text = NULL;
	char key[DUE_KEY_MIN] = {};

	mq_put64(key, (uint64_t)atomic_load(&f->now_ms)); /* of no kind */
	rocksdb_put_cf(s->db, s->write_options, s->cf[CF_DUE], key, sizeof key, "", 0, &text);
	assert_null(text);
	put(f, "T", "DELAY\0011\2", "behind");
	fixture_advance(f, 5000);
	await_delivered(f, "T", 1);
}

static enum store_verdict count_row(void *user, const struct store_due *due)
{
	++*(int *)user;
	return STORE_GO_ON;
}

static int count_due(struct fixture *f)
{
	int64_t next_ms;
	int n = 0;

	assert_int_equal(store_due_scan(f->broker.store, NULL, INT64_MAX - 1, INT64_MAX, 10000, count_row, &n, &next_ms), 0);
	return n;
}

static void what_cannot_be_read_holds_up_nobody_and_stays(void **state)
{
	enum { N = 600 }; /* more than two turns */
	static char values[N][300], line[1000];
	static int64_t locators[N];
	static size_t sizes[N];
	struct fixture *f = *state;
	int log_fd = memfd_create("log", MFD_CLOEXEC);

	/* Half of them have no place for a record, half have a record that cannot be taken apart. */
	for (int i = 0; i < N; i++) {
		locators[i] = put(f, "T", "DELAY\0011\2", "x");
		sizes[i] = i % 2 ? 1 : sizeof values[i];
	}
	stderr_ = dup(STDERR_FILENO);
	dup2(log_fd, STDERR_FILENO);
	swap_records(f, locators, values, sizes, N);
	fixture_advance(f, 10);
	put(f, "U", "DELAY\0011\2", "behind");
	fixture_advance(f, 5000);
	await_delivered(f, "U", 1);
	put(f, "U", "DELAY\0011\2", "later");
	put(f, "U", "DELAY\0012\2", "much later");
	fixture_advance(f, 5000);
	await_delivered(f, "U", 2);
	await_look(f);
	restore_stderr();
	assert_int_equal(delivered(f, "T"), 0);
	schedule_stop(f->broker.schedule); /* one thread at a time scans */
	assert_int_equal(count_due(f), N + 1);
	assert_true(pread(log_fd, line, sizeof line - 1, 0) > 0);
	close(log_fd);
	assert_non_null(strstr(line, "cannot be read and has to wait (due at 1795000005000, locator "));
	assert_non_null(strstr(line, "its record is damaged. Others go on, and it is tried again; mq-store check of the stopped broker tells"));
	assert_ptr_equal(strchr(line, '\n'), strrchr(line, '\n')); /* one line for all */

	f->broker.schedule = schedule_free(f->broker.schedule);
	schedule_begin(f);
	await_look(f);
	swap_records(f, locators, values, sizes, N);
	fixture_advance(f, 10000);
	await_delivered(f, "T", N);
	await_look(f);
	assert_int_equal(delivered(f, "U"), 2);
}

/* ---- Levels ---- */

static void levels_are_read_as_configured(void **state)
{
	struct mq_error err = {};
	struct delay_levels l;

	assert_int_equal(delay_levels_parse(&l, "1s 2m 3h 4d", &err), 0);
	assert_int_equal(l.n, 4);
	assert_int_equal(l.after_ms[0], 1000);
	assert_int_equal(l.after_ms[1], 120000);
	assert_int_equal(l.after_ms[2], 10800000);
	assert_int_equal(l.after_ms[3], 345600000);
	for (unsigned i = 0; i < 8; i++) {
		static const char *const wrong[] = { "", " 1s", "1", "1x", "s", "1s,2s", "1s 99999999999999999999s", "-1s" };

		if (delay_levels_parse(&l, wrong[i], &err) != -EINVAL)
			fail_msg("taken for levels: %s", wrong[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCHEDULED(a_message_comes_when_its_time_has_come),
		SCHEDULED(a_clock_set_forward_delivers),
		SCHEDULED(a_clock_set_back_delivers_nothing_early_and_loses_nothing),
		SCHEDULED(many_at_the_same_time_come_once_and_in_order),
		SCHEDULED(what_became_due_while_stopped_comes_at_the_start),
		SCHEDULED(how_far_a_level_is_delivered_is_known_after_a_restart_too),
		SCHEDULED(times_of_a_timer_are_shown_as_apaches_broker_does),
		SCHEDULED(a_message_without_room_for_the_times_comes_without_them),
		SCHEDULED(a_recalled_message_does_not_come),
		SCHEDULED(a_message_that_is_recalled_many_times_does_not_come),
		SCHEDULED(a_row_without_a_record_holds_up_nobody),
		SCHEDULED(a_damaged_row_holds_up_nobody),
		SCHEDULED(what_cannot_be_read_holds_up_nobody_and_stays),
		cmocka_unit_test(levels_are_read_as_configured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
