/* loops.c on a real store whose disk the test stops and lets go on. The test's thread turns the loop itself. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <pthread.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/hold.h"
#include "libmq/wire/record.h"

enum { DEADLINE_MS = 10000 };

struct fixture {
	char dir[64];
	struct broker broker;
	struct broker_loop *loop;
	struct store_queue *queue;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_stopped; /* the disk does not come back from a sync */
};

static int fixture_before_sync(void *user)
{
	struct fixture *f = user;

	pthread_mutex_lock(&f->lock);
	while (f->is_stopped)
		pthread_cond_wait(&f->changed, &f->lock);
	pthread_mutex_unlock(&f->lock);
	return 0;
}

static void fixture_stop_disk(struct fixture *f, bool is_stopped)
{
	pthread_mutex_lock(&f->lock);
	f->is_stopped = is_stopped;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

/* A test that failed leaves the next ones a disk that works. */
static int let_disk_go_on(void **state)
{
	fixture_stop_disk(*state, false);
	return 0;
}

static int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct mq_loop_config loop;
	struct store_config cfg;
	struct mq_error err = {};

	assert_non_null(f);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	strcpy(f->dir, "/tmp/mqloops.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	store_config_init(&cfg);
	cfg.path = f->dir;
	cfg.min_free_bytes = 0;
	cfg.sync_flush = true;
	cfg.hooks = (struct store_hooks){ .before_sync = fixture_before_sync, .user = f };
	if (store_open(&f->broker.store, &cfg, &err) < 0)
		fail_msg("store_open: %s", err.text);
	assert_int_equal(store_queue_open(f->broker.store, MQ_SLICE("T"), 0, &f->queue), 0);

	f->broker.clock = &mq_clock_system;
	f->broker.config.frameMaxLength = 1 << 20;
	f->broker.config.syncFlushTimeout = 5000;
	f->broker.holds = calloc(1, sizeof *f->broker.holds);
	assert_non_null(f->broker.holds);
	mq_loop_config_init(&loop);
	assert_int_equal(mq_loop_new(&f->broker.main_loop, &loop, &err), 0);
	assert_int_equal(broker_loop_new(&f->loop, &f->broker, 0, &err), 0);
	*state = f;
	return 0;
}

static int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	broker_loop_free(f->loop);
	mq_loop_free(f->broker.main_loop);
	store_close(f->broker.store);
	free(f->broker.holds);
	snprintf(command, sizeof command, "rm -rf %s", f->dir);
	(void)!system(command);
	free(f);
	return 0;
}

struct message {
	struct broker_op op;
	struct store_record record;
	char head[MQ_RECORD_HEAD_MAX], tail[64];
	int n_done;
	struct fixture *fixture;
	struct message *next; /* appended by the completion */
};

static void message_append(struct fixture *f, struct message *m, struct mq_slice body);

static void message_done(struct broker_op *op)
{
	struct message *m = (struct message *)op;

	m->n_done++;
	assert_int_equal(op->op.result, 0);
	assert_true(mq_loop_is_current(broker_loop_mq(m->fixture->loop)));
	if (m->next)
		message_append(m->fixture, m->next, MQ_SLICE("x"));
}

static void message_append(struct fixture *f, struct message *m, struct mq_slice body)
{
	struct mq_record rec = {
		.born_host = { .n_addr = 4 }, .store_host = { .n_addr = 4 }, .body = body, .topic = MQ_SLICE("T"),
	};

	m->fixture = f;
	m->record = (struct store_record){ .queue = f->queue, .head = m->head, .body = rec.body };
	m->record.n_head = mq_record_encode_head(&rec, m->head);
	m->record.tail = (struct mq_slice){ m->tail, mq_record_encode_tail(&rec, m->tail) };
	store_op_init(&m->op.op);
	m->op.op.records = &m->record;
	m->op.op.n_records = 1;
	m->op.done = message_done;
	broker_append(f->loop, &m->op);
}

static void turn(struct fixture *f)
{
	assert_int_equal(mq_loop_turn(broker_loop_mq(f->loop), 0), 0);
}

static void turn_until_done(struct fixture *f, const struct message *m)
{
	int64_t until_ms = mq_mono_ms(&mq_clock_system) + DEADLINE_MS;

	while (m->n_done == 0) {
		assert_true(mq_mono_ms(&mq_clock_system) < until_ms);
		assert_int_equal(mq_loop_turn(broker_loop_mq(f->loop), 10), 0);
	}
}

static void a_turn_is_committed_at_its_end(void **state)
{
	struct fixture *f = *state;
	struct message m[3] = {};

	for (int i = 0; i < 3; i++)
		message_append(f, &m[i], MQ_SLICE("x"));
	assert_int_equal(store_queue_max(f->queue), 0);
	turn_until_done(f, &m[2]);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(m[i].n_done, 1);
		assert_int_equal(m[i].record.queue_offset, i);
	}

	/* Counted down by the thread that posted, perhaps only after what it posted has run. */
	int64_t until_ms = mq_mono_ms(&mq_clock_system) + DEADLINE_MS;

	while (atomic_load(&f->broker.n_posts_due) > 0)
		assert_true(mq_mono_ms(&mq_clock_system) < until_ms);
}

static void a_loop_goes_on_while_the_disk_stands_still(void **state)
{
	struct fixture *f = *state;
	struct message m[8] = {};
	int64_t first = store_queue_max(f->queue);

	fixture_stop_disk(f, true);
	for (int i = 0; i < 8; i++) {
		message_append(f, &m[i], MQ_SLICE("x"));
		turn(f);
	}
	for (int i = 0; i < 8; i++)
		assert_int_equal(m[i].n_done, 0);
	fixture_stop_disk(f, false);
	turn_until_done(f, &m[7]);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(m[i].n_done, 1);
		assert_int_equal(m[i].record.queue_offset, first + i);
	}
}

static void a_completion_may_append(void **state)
{
	struct fixture *f = *state;
	struct message m[4] = {};

	for (int i = 0; i < 3; i++)
		m[i].next = &m[i + 1];
	message_append(f, &m[0], MQ_SLICE("x"));
	turn_until_done(f, &m[3]);
	assert_int_equal(m[3].record.queue_offset, m[0].record.queue_offset + 3);
}

/* The same MiB as body of every message: the store copies it into its batch, the loop counts it until the disk has it. */
static void too_much_under_way_is_said_until_it_is_done(void **state)
{
	enum { N = 130, MIB = 1 << 20 };
	struct fixture *f = *state;
	struct message *m = calloc(N, sizeof *m);
	char *body = calloc(1, MIB);

	assert_non_null(m);
	assert_non_null(body);
	for (int i = 0; i < N; i++) {
		assert_int_equal(broker_is_busy(f->loop), i >= 128);
		message_append(f, &m[i], (struct mq_slice){ body, MIB });
	}
	assert_true(broker_is_busy(f->loop));
	fixture_stop_disk(f, true);
	turn(f);
	assert_true(broker_is_busy(f->loop)); /* written, but the disk does not have it */
	fixture_stop_disk(f, false);
	turn_until_done(f, &m[N - 1]);
	assert_false(broker_is_busy(f->loop));
	free(body);
	free(m);
}

/* ---- Turns that take long; the clock is the test's ---- */

static _Atomic int64_t now_ms_ = 1000;

static int64_t steered_mono(void *user)
{
	return now_ms_ * 1000000;
}

static int64_t steered_wall(void *user)
{
	return 1795000000000 + now_ms_;
}

static const struct mq_clock steered_ = { steered_wall, steered_mono, NULL };

struct slow_message {
	struct message m;
	int n_late, result;
	int64_t late_offset;
};

static void slow_done(struct broker_op *op)
{
	struct slow_message *s = (struct slow_message *)op;

	s->m.n_done++;
	s->result = op->op.result;
}

static void slow_late(struct broker_op *op)
{
	struct slow_message *s = (struct slow_message *)op;

	s->n_late++;
	s->late_offset = s->m.record.queue_offset;
	assert_int_equal(s->m.n_done, 0);
}

static void slow_append(struct fixture *f, struct slow_message *s)
{
	message_append(f, &s->m, MQ_SLICE("x"));
	s->m.op.done = slow_done;
	s->m.op.late = slow_late;
}

/* Another loop on the same store, with a clock that the test steers. */
static int slow_setup(void **state)
{
	struct fixture *f = *state;
	struct mq_error err = {};

	broker_loop_free(f->loop);
	f->broker.clock = &steered_;
	f->broker.config.syncFlushTimeout = 5000;
	assert_int_equal(broker_loop_new(&f->loop, &f->broker, 0, &err), 0);
	return 0;
}

static int slow_teardown(void **state)
{
	struct fixture *f = *state;
	struct mq_error err = {};

	let_disk_go_on(state);
	broker_loop_free(f->loop);
	f->broker.clock = &mq_clock_system;
	assert_int_equal(broker_loop_new(&f->loop, &f->broker, 0, &err), 0);
	return 0;
}

static void what_the_disk_does_not_have_in_time_is_told_once(void **state)
{
	struct fixture *f = *state;
	struct slow_message s[2] = {};

	fixture_stop_disk(f, true);
	slow_append(f, &s[0]);
	slow_append(f, &s[1]);
	s[1].m.op.late = NULL; /* this one wants to wait */
	turn(f);
	now_ms_ += 4999;
	turn(f);
	assert_int_equal(s[0].n_late, 0);
	now_ms_ += 1;
	turn(f);
	assert_int_equal(s[0].n_late, 1);
	assert_int_equal(s[0].late_offset + 1, s[1].m.record.queue_offset); /* its place is known */
	now_ms_ += 60000;
	turn(f);
	assert_int_equal(s[0].n_late, 1);
	assert_int_equal(s[0].m.n_done, 0);
	fixture_stop_disk(f, false);
	turn_until_done(f, &s[1].m);
	assert_int_equal(s[0].m.n_done, 1);
	assert_int_equal(s[0].result, 0);
	assert_int_equal(s[1].n_late, 0);
}

/* All turns are under way; what gathers behind them is written all the same when it has waited long enough. */
static void what_gathers_too_long_is_written_and_told_so(void **state)
{
	struct fixture *f = *state;
	struct slow_message under_way[2] = {}, late = {}, patient = {}, fresh = {};

	fixture_stop_disk(f, true);
	for (int i = 0; i < 2; i++) {
		slow_append(f, &under_way[i]);
		turn(f);
	}
	slow_append(f, &late);
	slow_append(f, &patient);
	patient.m.op.late = NULL;
	turn(f);
	assert_int_equal(store_get(f->broker.store, store_queue_locator(f->queue, under_way[1].m.record.queue_offset + 1), STORE_DISK, NULL, NULL),
			 -ENOENT); /* not written yet */
	now_ms_ += 4999;
	turn(f);
	assert_int_equal(under_way[0].n_late + late.n_late, 0);
	now_ms_ += 1;
	turn(f);
	assert_int_equal(under_way[0].n_late + under_way[1].n_late, 2);
	assert_int_equal(late.n_late, 1);
	assert_int_equal(late.late_offset, under_way[1].m.record.queue_offset + 1);
	slow_append(f, &fresh);
	turn(f);
	now_ms_ += 4999;
	turn(f);
	assert_int_equal(fresh.n_late, 0);
	fixture_stop_disk(f, false);
	turn_until_done(f, &fresh.m);
	turn_until_done(f, &patient.m);
	assert_int_equal(late.m.n_done, 1);
	assert_int_equal(late.result + patient.result + fresh.result, 0);
	assert_int_equal(fresh.n_late, 0);
}

/* When everything under way has been told already, too; and in the end nothing more is taken. */
static void what_comes_to_a_disk_that_stands_still_is_told_until_it_is_too_much(void **state)
{
	enum { N = 20 };
	struct fixture *f = *state;
	struct slow_message s[N] = {};
	int64_t max = store_queue_max(f->queue);
	int n_late = 0, n_given_up = 0;

	fixture_stop_disk(f, true);
	for (int i = 0; i < N; i++) {
		slow_append(f, &s[i]);
		turn(f);
		now_ms_ += 5000;
		turn(f);
		n_late += s[i].n_late;
		n_given_up += s[i].result == -EBUSY;
		assert_int_equal(s[i].n_late + s[i].m.n_done, 1); /* one answer for each, in time */
	}
	assert_int_equal(n_late, 15);
	assert_int_equal(n_given_up, 5);
	assert_int_equal(s[N - 1].result, -EBUSY);
	fixture_stop_disk(f, false);
	turn_until_done(f, &s[14].m);
	assert_int_equal(store_queue_max(f->queue), max + 15); /* not what was given up */

	struct slow_message after = {};

	slow_append(f, &after);
	turn_until_done(f, &after.m);
	assert_int_equal(after.result, 0);
	assert_int_equal(after.n_late, 0);
}

static void nothing_is_late_on_a_disk_that_keeps_up(void **state)
{
	struct fixture *f = *state;
	struct slow_message s[3] = {};

	for (int i = 0; i < 3; i++) {
		slow_append(f, &s[i]);
		turn_until_done(f, &s[i].m);
		now_ms_ += 4000;
	}
	for (int i = 0; i < 3; i++) {
		assert_int_equal(s[i].n_late, 0);
		assert_int_equal(s[i].result, 0);
	}
}

#define SLOW_TEST(name) cmocka_unit_test_setup_teardown(name, slow_setup, slow_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_turn_is_committed_at_its_end, let_disk_go_on),
		cmocka_unit_test_teardown(a_loop_goes_on_while_the_disk_stands_still, let_disk_go_on),
		cmocka_unit_test_teardown(a_completion_may_append, let_disk_go_on),
		cmocka_unit_test_teardown(too_much_under_way_is_said_until_it_is_done, let_disk_go_on),
		SLOW_TEST(what_the_disk_does_not_have_in_time_is_told_once),
		SLOW_TEST(what_gathers_too_long_is_written_and_told_so),
		SLOW_TEST(what_comes_to_a_disk_that_stands_still_is_told_until_it_is_too_much),
		SLOW_TEST(nothing_is_late_on_a_disk_that_keeps_up),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
