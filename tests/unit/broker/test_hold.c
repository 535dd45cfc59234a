/* hold.c against a real store: the race between committers and pullers is the point, so nothing of it is simulated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "daemons/broker/hold.h"
#include "libmq/wire/record.h"

enum {
	N_LOOPS = 2,
	N_QUEUES = 2,
	N_WAITERS = N_QUEUES, /* per loop, one in each: a neighbour would keep the loop marked as waiting */
	N_COMMITTERS = N_QUEUES, /* each has one queue, so that it does not wait longer than until its message was seen */
	N_COMMITS = 8000,     /* per committer; each adds one message to its queue */
	DEADLINE_MS = 20000,  /* for everything that is waited for; far more than it takes */
	FAR_MS = 3600000,
};

/* ---- A store in a directory of its own ---- */

struct fixture {
	char dir[64];
	struct store *store;
	struct hold_table table;
	struct store_queue *queues[N_QUEUES];
};

static void fixture_on_append(void *user, struct store_queue *queue, int64_t new_max)
{
	struct fixture *f = user;

	hold_notify(&f->table, queue);
}

static int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct store_config cfg;
	struct mq_error err = {};

	assert_non_null(f);
	strcpy(f->dir, "/tmp/mqhold.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	store_config_init(&cfg);
	cfg.path = f->dir;
	cfg.min_free_bytes = 0;
	cfg.on_append = fixture_on_append;
	cfg.user = f;
	if (store_open(&f->store, &cfg, &err) < 0)
		fail_msg("store_open: %s", err.text);
	for (int i = 0; i < N_QUEUES; i++)
		assert_int_equal(store_queue_open(f->store, MQ_SLICE("T"), i, &f->queues[i]), 0);
	*state = f;
	return 0;
}

static int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	store_close(f->store);
	snprintf(command, sizeof command, "rm -rf %s", f->dir);
	(void)!system(command);
	free(f);
	return 0;
}

/* ---- Commits ---- */

struct commit {
	struct store_turn turn;
	struct store_op op;
	struct store_record record;
	char head[MQ_RECORD_HEAD_MAX], tail[64];
	_Atomic bool is_done;
};

static void commit_done(struct store_turn *turn)
{
	struct commit *c = turn->user;

	atomic_store(&c->is_done, true);
}

static void wait_until(const _Atomic bool *flag)
{
	static const struct timespec moment = { 0, 50000 };
	int64_t until_ms = mq_mono_ms(&mq_clock_system) + DEADLINE_MS;

	while (!atomic_load(flag)) {
		assert_true(mq_mono_ms(&mq_clock_system) < until_ms);
		nanosleep(&moment, NULL);
	}
}

static void commit_one(struct fixture *f, struct store_queue *queue)
{
	struct mq_record rec = {
		.queue_id = store_queue_id(queue), .born_host = { .n_addr = 4 }, .store_host = { .n_addr = 4 },
		.body = MQ_SLICE("x"), .topic = MQ_SLICE("T"),
	};
	struct commit c = {};

	c.record = (struct store_record){ .queue = queue, .head = c.head, .body = rec.body };
	c.record.n_head = mq_record_encode_head(&rec, c.head);
	c.record.tail = (struct mq_slice){ c.tail, mq_record_encode_tail(&rec, c.tail) };
	store_turn_init(&c.turn, commit_done, &c);
	store_op_init(&c.op);
	c.op.records = &c.record;
	c.op.n_records = 1;
	store_turn_add(&c.turn, &c.op);
	store_commit(f->store, &c.turn);
	wait_until(&c.is_done);
	assert_int_equal(c.op.result, 0);
}

/* ---- One loop, steered by the test ---- */

struct steered {
	struct mq_clock clock;
	int64_t mono_ms;
	struct mq_loop *loop;
	struct hold *hold;
};

static int64_t steered_wall_ms(void *user)
{
	return 1700000000000;
}

static int64_t steered_mono_ns(void *user)
{
	return ((struct steered *)user)->mono_ms * 1000000;
}

static void steered_init(struct steered *s, struct fixture *f)
{
	struct mq_loop_config cfg;
	struct mq_error err;

	*s = (struct steered){ .clock = { steered_wall_ms, steered_mono_ns, s }, .mono_ms = 123456 };
	mq_loop_config_init(&cfg);
	cfg.name = "test";
	cfg.clock = &s->clock;
	assert_int_equal(mq_loop_new(&s->loop, &cfg, &err), 0);
	assert_int_equal(hold_new(&s->hold, &f->table, 0, s->loop), 0);
}

static void steered_done(struct steered *s)
{
	hold_free(s->hold);
	mq_loop_free(s->loop);
}

static void steered_advance(struct steered *s, int64_t ms)
{
	s->mono_ms += ms;
	for (int i = 0; i < 3; i++)
		assert_int_equal(mq_loop_turn(s->loop, 0), 0);
}

struct waiter {
	struct hold_entry entry;
	int n_woken;
	enum hold_reason reason;
};

static void waiter_wake(struct hold_entry *e, enum hold_reason reason)
{
	struct waiter *w = (struct waiter *)e;

	w->n_woken++;
	w->reason = reason;
}

static struct waiter waiter(struct steered *s, struct store_queue *queue, int64_t offset, int64_t wait_ms)
{
	return (struct waiter){
		.entry = { .queue = queue, .owner = queue, .offset = offset, .deadline_ms = s->mono_ms + wait_ms, .wake = waiter_wake },
	};
}

static void who_is_behind_already_is_not_parked(void **state)
{
	struct fixture *f = *state;
	struct steered s;
	struct waiter w;

	steered_init(&s, f);
	commit_one(f, f->queues[0]);
	w = waiter(&s, f->queues[0], store_queue_max(f->queues[0]) - 1, FAR_MS);
	assert_false(hold_park(s.hold, &w.entry));
	assert_int_equal(hold_count(s.hold), 0);
	assert_int_equal(w.n_woken, 0);
	steered_done(&s);
}

static void a_message_wakes_the_queue_it_is_in_and_no_other(void **state)
{
	struct fixture *f = *state;
	struct steered s;
	struct waiter here, there;

	steered_init(&s, f);
	here = waiter(&s, f->queues[0], store_queue_max(f->queues[0]), FAR_MS);
	there = waiter(&s, f->queues[1], store_queue_max(f->queues[1]), FAR_MS);
	assert_true(hold_park(s.hold, &here.entry));
	assert_true(hold_park(s.hold, &there.entry));
	commit_one(f, f->queues[0]);
	steered_advance(&s, 0);
	assert_int_equal(here.n_woken, 1);
	assert_int_equal(here.reason, HOLD_GREW);
	assert_int_equal(there.n_woken, 0);
	assert_int_equal(hold_count(s.hold), 1);
	hold_wake_all(s.hold);
	assert_int_equal(there.reason, HOLD_STOPPED);
	steered_done(&s);
}

static void who_waits_for_no_queue_is_woken_by_his_time_or_let_go(void **state)
{
	struct fixture *f = *state;
	struct steered s;
	struct waiter timed, let_go, stopped, closed;

	steered_init(&s, f);
	timed = waiter(&s, NULL, 0, 1000);
	let_go = waiter(&s, NULL, 0, 1000);
	stopped = waiter(&s, NULL, 0, FAR_MS);
	closed = waiter(&s, NULL, 0, FAR_MS);
	closed.entry.owner = &closed;
	assert_true(hold_park(s.hold, &timed.entry));
	assert_true(hold_park(s.hold, &let_go.entry));
	assert_true(hold_park(s.hold, &stopped.entry));
	assert_true(hold_park(s.hold, &closed.entry));
	hold_unpark(s.hold, &let_go.entry);
	commit_one(f, f->queues[0]);
	steered_advance(&s, 900);
	assert_int_equal(timed.n_woken, 0);
	steered_advance(&s, 300);
	assert_int_equal(timed.n_woken, 1);
	assert_int_equal(timed.reason, HOLD_EXPIRED);
	assert_int_equal(let_go.n_woken, 0);
	hold_closed(s.hold, &closed);
	assert_int_equal(closed.reason, HOLD_CLOSED);
	assert_int_equal(stopped.n_woken, 0);
	hold_wake_all(s.hold);
	assert_int_equal(stopped.reason, HOLD_STOPPED);
	assert_int_equal(hold_count(s.hold), 0);
	steered_done(&s);
}

static void a_wait_for_a_later_message_goes_on(void **state)
{
	struct fixture *f = *state;
	struct steered s;
	struct waiter w;

	steered_init(&s, f);
	w = waiter(&s, f->queues[0], store_queue_max(f->queues[0]) + 1, FAR_MS);
	assert_true(hold_park(s.hold, &w.entry));
	commit_one(f, f->queues[0]);
	steered_advance(&s, 0);
	assert_int_equal(w.n_woken, 0);
	commit_one(f, f->queues[0]);
	steered_advance(&s, 0);
	assert_int_equal(w.n_woken, 1);
	steered_done(&s);
}

static void deadlines_are_kept_within_a_tick(void **state)
{
	static const int64_t waits_ms[] = { 0, 250, 5000, 60000, 130000 }; /* the last two are longer than a turn of the wheel */
	struct fixture *f = *state;
	struct waiter w[N_ELEMENTS(waits_ms)];
	struct steered s;

	steered_init(&s, f);
	for (size_t i = 0; i < N_ELEMENTS(waits_ms); i++) {
		w[i] = waiter(&s, f->queues[1], store_queue_max(f->queues[1]), waits_ms[i]);
		assert_true(hold_park(s.hold, &w[i].entry));
	}
	for (int64_t at = 0; at <= 131000; at += 50) {
		for (size_t i = 0; i < N_ELEMENTS(waits_ms); i++) {
			if (at < waits_ms[i])
				assert_int_equal(w[i].n_woken, 0);
			if (at >= waits_ms[i] + 250) {
				assert_int_equal(w[i].n_woken, 1);
				assert_int_equal(w[i].reason, HOLD_EXPIRED);
			}
		}
		steered_advance(&s, 50);
	}
	assert_int_equal(hold_count(s.hold), 0);
	steered_done(&s);
}

static void after_a_long_stall_everything_due_is_found(void **state)
{
	struct fixture *f = *state;
	struct waiter w[3];
	struct steered s;

	steered_init(&s, f);
	for (int i = 0; i < 3; i++) {
		w[i] = waiter(&s, f->queues[1], store_queue_max(f->queues[1]), 1000 + 20000 * i);
		assert_true(hold_park(s.hold, &w[i].entry));
	}
	steered_advance(&s, 10 * 60000);
	for (int i = 0; i < 3; i++)
		assert_int_equal(w[i].n_woken, 1);
	steered_done(&s);
}

static void a_closed_connection_takes_only_its_own_along(void **state)
{
	struct fixture *f = *state;
	struct waiter mine, other;
	struct steered s;

	steered_init(&s, f);
	mine = waiter(&s, f->queues[1], store_queue_max(f->queues[1]), FAR_MS);
	other = mine;
	mine.entry.owner = &mine;
	other.entry.owner = &other;
	assert_true(hold_park(s.hold, &mine.entry));
	assert_true(hold_park(s.hold, &other.entry));
	hold_closed(s.hold, &mine);
	assert_int_equal(mine.n_woken, 1);
	assert_int_equal(mine.reason, HOLD_CLOSED);
	assert_int_equal(other.n_woken, 0);
	hold_wake_all(s.hold);
	steered_done(&s);
}

/* ---- The race: each message comes while the waiters that saw the one before are parking again. A wake-up that is lost leaves
 * its waiter behind, and the committer in vain. ---- */

struct racer {
	struct hold_entry entry;
	struct race_loop *loop;
	_Atomic int64_t seen; /* the maximum that it was woken for */
	uint32_t random;
};

struct race_loop {
	struct fixture *fixture;
	struct mq_loop *loop;
	struct hold *hold;
	pthread_t thread;
	struct mq_post begin;
	struct racer racers[N_WAITERS];
};

/* As long as a commit takes or shorter, differently each time: so parking meets the commit at its every point. */
static void racer_dawdle(struct racer *r)
{
	r->random = r->random * 1103515245 + 12345;
	for (unsigned i = r->random >> 16 & 0x7fff; i > 0; i--)
		__asm__ volatile("");
}

static void racer_look(struct racer *r)
{
	do {
		r->entry.offset = store_queue_max(r->entry.queue);
		atomic_store(&r->seen, r->entry.offset);
		racer_dawdle(r);
	} while (!hold_park(r->loop->hold, &r->entry));
}

static void racer_wake(struct hold_entry *e, enum hold_reason reason)
{
	if (reason == HOLD_GREW)
		racer_look((struct racer *)e);
}

static void race_begin(struct mq_post *post)
{
	struct race_loop *l = (struct race_loop *)((char *)post - offsetof(struct race_loop, begin));

	for (int i = 0; i < N_WAITERS; i++)
		racer_look(&l->racers[i]);
}

static void *race_run(void *user)
{
	struct race_loop *l = user;

	return mq_loop_run(l->loop) < 0 ? user : NULL;
}

static void race_loop_init(struct race_loop *l, struct fixture *f, unsigned index)
{
	struct mq_loop_config cfg;
	struct mq_error err;

	l->fixture = f;
	l->begin.run = race_begin;
	mq_loop_config_init(&cfg);
	cfg.name = "race";
	assert_int_equal(mq_loop_new(&l->loop, &cfg, &err), 0);
	assert_int_equal(hold_new(&l->hold, &f->table, index, l->loop), 0);
	for (int i = 0; i < N_WAITERS; i++) {
		l->racers[i].loop = l;
		l->racers[i].random = index * N_WAITERS + (uint32_t)i;
		l->racers[i].entry = (struct hold_entry){
			.queue = f->queues[i % N_QUEUES], .owner = l, .wake = racer_wake,
			.deadline_ms = mq_mono_ms(&mq_clock_system) + FAR_MS,
		};
	}
}

struct committer {
	struct fixture *fixture;
	struct race_loop *loops;
	pthread_t thread;
	struct store_queue *queue;
	_Atomic bool has_lost;
};

static bool race_has_seen(struct race_loop *loops, const struct store_queue *q)
{
	for (int i = 0; i < N_LOOPS; i++)
		for (int j = 0; j < N_WAITERS; j++)
			if (loops[i].racers[j].entry.queue == q && atomic_load(&loops[i].racers[j].seen) < store_queue_max(q))
				return false;
	return true;
}

static void *race_commit(void *user)
{
	struct committer *c = user;

	for (int i = 0; i < N_COMMITS; i++) {
		int64_t until_ms = mq_mono_ms(&mq_clock_system) + DEADLINE_MS;

		commit_one(c->fixture, c->queue);
		while (!race_has_seen(c->loops, c->queue)) {
			if (mq_mono_ms(&mq_clock_system) > until_ms) {
				atomic_store(&c->has_lost, true);
				return NULL;
			}
			sched_yield();
		}
	}
	return NULL;
}

static void no_wake_up_is_lost(void **state)
{
	static struct race_loop loops[N_LOOPS];
	static struct committer committers[N_COMMITTERS];
	struct fixture *f = *state;
	void *failed;

	for (unsigned i = 0; i < N_LOOPS; i++)
		race_loop_init(&loops[i], f, i);
	for (int i = 0; i < N_LOOPS; i++) {
		assert_int_equal(pthread_create(&loops[i].thread, NULL, race_run, &loops[i]), 0);
		mq_loop_post(loops[i].loop, &loops[i].begin);
	}
	for (int i = 0; i < N_COMMITTERS; i++) {
		committers[i] = (struct committer){ .fixture = f, .loops = loops, .queue = f->queues[i] };
		assert_int_equal(pthread_create(&committers[i].thread, NULL, race_commit, &committers[i]), 0);
	}
	for (int i = 0; i < N_COMMITTERS; i++)
		pthread_join(committers[i].thread, NULL);
	for (int i = 0; i < N_COMMITTERS; i++)
		assert_false(atomic_load(&committers[i].has_lost));

	for (int i = 0; i < N_LOOPS; i++) {
		mq_loop_stop(loops[i].loop);
		pthread_join(loops[i].thread, &failed);
		assert_null(failed);
		assert_int_equal(hold_count(loops[i].hold), N_WAITERS);
		hold_wake_all(loops[i].hold);
		hold_free(loops[i].hold);
		mq_loop_free(loops[i].loop);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_behind_already_is_not_parked),
		cmocka_unit_test(a_message_wakes_the_queue_it_is_in_and_no_other),
		cmocka_unit_test(who_waits_for_no_queue_is_woken_by_his_time_or_let_go),
		cmocka_unit_test(a_wait_for_a_later_message_goes_on),
		cmocka_unit_test(deadlines_are_kept_within_a_tick),
		cmocka_unit_test(after_a_long_stall_everything_due_is_found),
		cmocka_unit_test(a_closed_connection_takes_only_its_own_along),
		cmocka_unit_test(no_wake_up_is_lost),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
