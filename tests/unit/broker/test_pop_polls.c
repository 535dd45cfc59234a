/* pop_polls.c and pop_locks.c: who waits is woken, one after the other, and nobody is forgotten. With a real store and threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "daemons/broker/pop_locks.h"
#include "daemons/broker/pop_polls.h"
#include "libmq/wire/record.h"

enum {
	DEADLINE_MS = 20000, /* for everything that is waited for; far more than it takes */
	N_COMMITS = 4000,
	N_POPPERS = 3,
	N_TAKES = 20000,
};

struct fixture {
	char dir[64];
	struct store *store;
	struct pop_polls *polls;
	struct mq_loop *loop;
};

static void fixture_on_append(void *user, struct store_queue *queue, int64_t new_max)
{
	pop_polls_grew(((struct fixture *)user)->polls, queue);
}

static int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct mq_loop_config loop_cfg;
	struct store_config cfg;
	struct mq_error err = {};

	assert_non_null(f);
	strcpy(f->dir, "/tmp/mqpolls.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(pop_polls_new(&f->polls), 0);
	store_config_init(&cfg);
	cfg.path = f->dir;
	cfg.min_free_bytes = 0;
	cfg.on_append = fixture_on_append;
	cfg.user = f;
	if (store_open(&f->store, &cfg, &err) < 0)
		fail_msg("store_open: %s", err.text);
	mq_loop_config_init(&loop_cfg);
	loop_cfg.name = "test";
	if (mq_loop_new(&f->loop, &loop_cfg, &err) < 0)
		fail_msg("mq_loop_new: %s", err.text);
	*state = f;
	return 0;
}

static int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	mq_loop_free(f->loop);
	store_close(f->store);
	pop_polls_free(f->polls);
	snprintf(command, sizeof command, "rm -rf %s", f->dir);
	(void)!system(command);
	free(f);
	return 0;
}

#define POLLS(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

/* ---- Commits ---- */

struct commit {
	struct store_turn turn;
	struct store_op op;
	struct store_record record;
	char head[MQ_RECORD_HEAD_MAX], tail[300];
	_Atomic bool is_done;
};

static void commit_done(struct store_turn *turn)
{
	atomic_store(&((struct commit *)turn->user)->is_done, true);
}

static void commit_one(struct fixture *f, const char *topic, int32_t queue_id)
{
	struct mq_record rec = {
		.queue_id = queue_id, .born_host = { .n_addr = 4 }, .store_host = { .n_addr = 4 }, .body = MQ_SLICE("x"),
		.topic = mq_slice_of(topic),
	};
	int64_t until_ms = mq_mono_ms(&mq_clock_system) + DEADLINE_MS;
	struct commit c = {};

	c.record = (struct store_record){ .head = c.head, .body = rec.body };
	assert_int_equal(store_queue_open(f->store, rec.topic, queue_id, &c.record.queue), 0);
	c.record.n_head = mq_record_encode_head(&rec, c.head);
	c.record.tail = (struct mq_slice){ c.tail, mq_record_encode_tail(&rec, c.tail) };
	store_turn_init(&c.turn, commit_done, &c);
	store_op_init(&c.op);
	c.op.records = &c.record;
	c.op.n_records = 1;
	store_turn_add(&c.turn, &c.op);
	store_commit(f->store, &c.turn);
	while (!atomic_load(&c.is_done)) {
		assert_true(mq_mono_ms(&mq_clock_system) < until_ms);
		sched_yield();
	}
	assert_int_equal(c.op.result, 0);
}

/* ---- Waiting ---- */

struct waiter {
	struct pop_poll poll;
	unsigned n_woken;
};

static void waiter_woken(struct mq_post *post)
{
	((struct waiter *)((char *)post - offsetof(struct waiter, poll.post)))->n_woken++;
}

static struct pop_wish wish_of(const char *group, const char *topic, int32_t queue_id)
{
	return (struct pop_wish){ POP_POLL_MESSAGE, mq_slice_of(group), mq_slice_of(topic), queue_id };
}

static int park(struct fixture *f, struct waiter *w, struct pop_wish wish)
{
	w->poll.loop = f->loop;
	w->poll.post.run = waiter_woken;
	return pop_polls_park(f->polls, &w->poll, &wish, pop_polls_seen(f->polls, &wish), 1024, 1024);
}

/* Runs what was posted. */
static void turn(struct fixture *f)
{
	assert_int_equal(mq_loop_turn(f->loop, 0), 0);
}

static void a_message_wakes_the_first_of_each_key(void **state)
{
	struct fixture *f = *state;
	struct waiter all[2] = {}, one = {}, elsewhere = {}, other_group = {}, other_topic = {};

	assert_int_equal(park(f, &all[0], wish_of("g", "T", -1)), 0);
	assert_int_equal(park(f, &all[1], wish_of("g", "T", -1)), 0);
	assert_int_equal(park(f, &one, wish_of("g", "T", 1)), 0);
	assert_int_equal(park(f, &elsewhere, wish_of("g", "T", 0)), 0);
	assert_int_equal(park(f, &other_group, wish_of("h", "T", -1)), 0);
	assert_int_equal(park(f, &other_topic, wish_of("g", "U", -1)), 0);
	assert_int_equal(pop_polls_count(f->polls, MQ_SLICE("g"), MQ_SLICE("T"), -1), 2);
	commit_one(f, "T", 1);
	turn(f);
	assert_int_equal(all[0].n_woken, 1);
	assert_int_equal(all[1].n_woken, 0);
	assert_int_equal(one.n_woken, 1);
	assert_int_equal(elsewhere.n_woken, 0);
	assert_int_equal(other_group.n_woken, 1);
	assert_int_equal(other_topic.n_woken, 0);
	assert_int_equal(pop_polls_count(f->polls, MQ_SLICE("g"), MQ_SLICE("T"), -1), 1);
	/* What is left over goes to the next. */
	pop_polls_wake(f->polls, MQ_SLICE("g"), MQ_SLICE("T"), 0);
	turn(f);
	assert_int_equal(all[1].n_woken, 1);
	assert_int_equal(elsewhere.n_woken, 1);
	assert_false(pop_polls_unpark(f->polls, &elsewhere.poll));
	assert_true(pop_polls_unpark(f->polls, &other_topic.poll));
}

static void what_comes_again_wakes_whoever_waits_for_the_topic(void **state)
{
	static const char *const topics[] = { "%RETRY%g_T", "%RETRY%g+T" };
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		struct waiter w = {}, other = {};

		assert_int_equal(park(f, &w, wish_of("g", "T", 3)), 0);
		assert_int_equal(park(f, &other, wish_of("h", "T", 3)), 0);
		commit_one(f, topics[i], 0);
		turn(f);
		assert_int_equal(w.n_woken, 1);
		assert_int_equal(other.n_woken, 0);
		assert_true(pop_polls_unpark(f->polls, &other.poll));
	}
}

static void who_looked_before_a_message_came_looks_again(void **state)
{
	struct pop_wish wish = wish_of("g", "T", -1);
	struct fixture *f = *state;
	struct waiter w = {};
	uint64_t seen = pop_polls_seen(f->polls, &wish);

	commit_one(f, "T", 0);
	w.poll.loop = f->loop;
	assert_int_equal(pop_polls_park(f->polls, &w.poll, &wish, seen, 1024, 1024), POP_POLLS_AGAIN);
	assert_int_equal(pop_polls_count(f->polls, wish.group, wish.topic, -1), 0);
	seen = pop_polls_seen(f->polls, &wish);
	commit_one(f, "%RETRY%g_T", 0);
	assert_int_equal(pop_polls_park(f->polls, &w.poll, &wish, seen, 1024, 1024), POP_POLLS_AGAIN);
}

static void only_so_many_wait(void **state)
{
	struct pop_wish wish = wish_of("g", "T", -1), other = wish_of("h", "T", -1);
	struct fixture *f = *state;
	struct waiter w[4] = {};

	for (int i = 0; i < 4; i++)
		w[i].poll.loop = f->loop;
	assert_int_equal(pop_polls_park(f->polls, &w[0].poll, &wish, pop_polls_seen(f->polls, &wish), 1, 3), 0);
	assert_int_equal(pop_polls_park(f->polls, &w[1].poll, &wish, pop_polls_seen(f->polls, &wish), 1, 3), 0);
	/* As upstream, that is one more than the number says. */
	assert_int_equal(pop_polls_park(f->polls, &w[2].poll, &wish, pop_polls_seen(f->polls, &wish), 1, 3), POP_POLLS_FULL);
	assert_int_equal(pop_polls_park(f->polls, &w[2].poll, &other, pop_polls_seen(f->polls, &other), 1, 3), 0);
	assert_int_equal(pop_polls_park(f->polls, &w[3].poll, &other, pop_polls_seen(f->polls, &other), 1, 3), POP_POLLS_FULL);
	for (int i = 0; i < 3; i++)
		assert_true(pop_polls_unpark(f->polls, &w[i].poll));
}

/* ---- The race ---- */

struct popper {
	struct fixture *f;
	struct pop_poll poll;
	_Atomic int64_t *taken;
	struct store_queue *queue;
	bool is_parked;
};

static void popper_look(struct popper *p)
{
	struct pop_wish wish = wish_of("g", "T", -1);
	int r;

	do {
		uint64_t seen = pop_polls_seen(p->f->polls, &wish);
		int64_t taken = atomic_load(p->taken);

		if (taken < store_queue_max(p->queue)) {
			/* Takes one; what is left is for the next, or for itself. */
			if (atomic_compare_exchange_strong(p->taken, &taken, taken + 1) && taken + 1 < store_queue_max(p->queue))
				pop_polls_wake(p->f->polls, wish.group, wish.topic, -1);
			r = POP_POLLS_AGAIN;
			continue;
		}
		r = pop_polls_park(p->f->polls, &p->poll, &wish, seen, 1024, 1024);
	} while (r == POP_POLLS_AGAIN);
	assert_int_equal(r, 0);
}

static void popper_woken(struct mq_post *post)
{
	popper_look((struct popper *)((char *)post - offsetof(struct popper, poll.post)));
}

static void *commit_many(void *user)
{
	for (int i = 0; i < N_COMMITS; i++)
		commit_one(user, "T", 0);
	return NULL;
}

static void no_message_is_missed(void **state)
{
	int64_t until_ms = mq_mono_ms(&mq_clock_system) + DEADLINE_MS;
	struct popper poppers[N_POPPERS];
	_Atomic int64_t taken = 0;
	struct fixture *f = *state;
	pthread_t committer;

	for (int i = 0; i < N_POPPERS; i++) {
		poppers[i] = (struct popper){ .f = f, .taken = &taken };
		poppers[i].poll.loop = f->loop;
		poppers[i].poll.post.run = popper_woken;
		assert_int_equal(store_queue_open(f->store, MQ_SLICE("T"), 0, &poppers[i].queue), 0);
		popper_look(&poppers[i]);
	}
	assert_int_equal(pthread_create(&committer, NULL, commit_many, f), 0);
	while (atomic_load(&taken) < N_COMMITS) {
		assert_true(mq_mono_ms(&mq_clock_system) < until_ms);
		assert_int_equal(mq_loop_turn(f->loop, 100), 0);
	}
	pthread_join(committer, NULL);
	turn(f);
	for (int i = 0; i < N_POPPERS; i++)
		assert_true(pop_polls_unpark(f->polls, &poppers[i].poll));
}

/* ---- Locks ---- */

static void one_has_a_lock_and_the_next_is_told(void **state)
{
	struct fixture *f = *state;
	uint64_t hash = pop_locks_hash(MQ_SLICE("g"), MQ_SLICE("T"));
	unsigned slot = pop_locks_slot(hash, 0);
	struct waiter_lock {
		struct pop_lock_wait wait;
	} w = { .wait = { .loop = f->loop, .post = { .run = waiter_woken } } };
	struct pop_locks *l;

	assert_int_not_equal(slot, pop_locks_slot(hash, 1));
	assert_int_not_equal(hash, pop_locks_hash(MQ_SLICE("gT"), (struct mq_slice){}));
	assert_int_equal(pop_locks_new(&l), 0);
	assert_true(pop_locks_try(l, slot));
	assert_false(pop_locks_try(l, slot));
	assert_true(pop_locks_wait(l, slot, &w.wait));
	assert_true(pop_locks_unwait(l, &w.wait));
	assert_false(pop_locks_unwait(l, &w.wait));
	pop_locks_release(l, slot);
	assert_false(pop_locks_wait(l, slot, &w.wait));
	assert_true(pop_locks_try(l, slot));
	pop_locks_release(l, slot);
	pop_locks_free(l);
}

struct taker {
	struct pop_lock_wait wait;
	struct mq_loop *loop; /* owned; its thread's */
	struct pop_locks *locks;
	int *counter; /* under the lock */
	unsigned n, slot;
	pthread_t thread;
};

static void taker_take(struct taker *t)
{
	while (t->n < N_TAKES) {
		if (!pop_locks_try(t->locks, t->slot)) {
			if (pop_locks_wait(t->locks, t->slot, &t->wait))
				return;
			continue;
		}
		++*t->counter;
		t->n++;
		if (t->n % 64 == 0)
			sched_yield(); /* so that others find it taken */
		pop_locks_release(t->locks, t->slot);
	}
	mq_loop_stop(t->loop);
}

static void taker_told(struct mq_post *post)
{
	taker_take((struct taker *)((char *)post - offsetof(struct taker, wait.post)));
}

static void *taker_run(void *user)
{
	struct taker *t = user;

	taker_take(t);
	return mq_loop_run(t->loop) == 0 ? t : NULL;
}

static void nobody_waits_for_a_free_lock(void **state)
{
	struct mq_loop_config cfg;
	struct taker takers[3];
	struct pop_locks *l;
	struct mq_error err;
	int counter = 0;

	assert_int_equal(pop_locks_new(&l), 0);
	mq_loop_config_init(&cfg);
	cfg.name = "taker";
	for (int i = 0; i < 3; i++) {
		takers[i] = (struct taker){ .locks = l, .counter = &counter, .slot = 7 };
		assert_int_equal(mq_loop_new(&takers[i].loop, &cfg, &err), 0);
		takers[i].wait.loop = takers[i].loop;
		takers[i].wait.post.run = taker_told;
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&takers[i].thread, NULL, taker_run, &takers[i]), 0);
	for (int i = 0; i < 3; i++) {
		void *ret;

		pthread_join(takers[i].thread, &ret);
		assert_ptr_equal(ret, &takers[i]);
		mq_loop_free(takers[i].loop);
	}
	assert_int_equal(counter, 3 * N_TAKES);
	pop_locks_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		POLLS(a_message_wakes_the_first_of_each_key),
		POLLS(what_comes_again_wakes_whoever_waits_for_the_topic),
		POLLS(who_looked_before_a_message_came_looks_again),
		POLLS(only_so_many_wait),
		POLLS(no_message_is_missed),
		POLLS(one_has_a_lock_and_the_next_is_told),
		cmocka_unit_test(nobody_waits_for_a_free_lock),
	};

	return cmocka_run_group_tests_name("pop polls", tests, NULL, NULL);
}
