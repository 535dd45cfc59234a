/* ahead.c on a real store. The test's thread turns the loop that waits. */
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemons/broker/ahead.h"
#include "libmq/base/bytes.h"
#include "libmq/wire/record.h"

enum {
	DEADLINE_MS = 10000,
	HOUR_MS = 3600000,
	BODY = 1000,        /* bytes: some 230 records a stretch */
	MEMORY = 2 << 20,   /* of all stretches: the first ones are the longest there are */
	N_BATCH = 100,
	N_READERS = 2,
};

struct fixture {
	char dir[64];
	_Atomic int64_t now_ms;
	struct mq_clock clock;
	struct broker broker;
	struct mq_loop *loop;
	struct store_queue *queue;
	_Atomic bool is_done; /* of the last commit */
	unsigned n_woken;
};

static int64_t fixture_wall(void *user)
{
	return atomic_load(&((struct fixture *)user)->now_ms);
}

static int64_t fixture_mono(void *user)
{
	return atomic_load(&((struct fixture *)user)->now_ms) * 1000000;
}

static struct store_queue *queue_of(struct fixture *f, const char *topic)
{
	struct store_queue *q;

	assert_int_equal(store_queue_open(f->broker.store, mq_slice_of(topic), 0, &q), 0);
	return q;
}

static int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct mq_loop_config loop;
	struct mq_error err = {};
	struct store_config cfg;

	assert_non_null(f);
	strcpy(f->dir, "/tmp/mqahead.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	atomic_store(&f->now_ms, 1795000000000);
	f->clock = (struct mq_clock){ fixture_wall, fixture_mono, f };
	store_config_init(&cfg);
	cfg.path = f->dir;
	cfg.clock = &f->clock;
	cfg.min_free_bytes = 0;
	cfg.n_readers = N_READERS;
	cfg.max_families = 0; /* queues in shared families are trimmed message by message */
	cfg.retention_ms = HOUR_MS;
	cfg.delete_hours = UINT32_MAX;
	if (store_open(&f->broker.store, &cfg, &err) < 0)
		fail_msg("store_open: %s", err.text);
	mq_loop_config_init(&loop);
	assert_int_equal(mq_loop_new(&f->loop, &loop, &err), 0);
	assert_int_equal(ahead_new(&f->broker.ahead, &f->broker, MEMORY), 0);
	f->queue = queue_of(f, "T");
	*state = f;
	return 0;
}

static int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	ahead_free(f->broker.ahead);
	mq_loop_free(f->loop);
	store_close(f->broker.store);
	snprintf(command, sizeof command, "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static void turn_until(struct fixture *f, const unsigned *n, unsigned wanted)
{
	int64_t until_ms = mq_mono_ms(&mq_clock_system) + DEADLINE_MS;

	while (*n < wanted) {
		assert_true(mq_mono_ms(&mq_clock_system) < until_ms);
		assert_int_equal(mq_loop_turn(f->loop, 10), 0);
	}
}

/* ---- Messages: the body's first eight bytes and the tag are the offset ---- */

static void append_done(struct store_turn *turn)
{
	atomic_store((_Atomic bool *)turn->user, true);
}

static void append_batch(struct fixture *f, struct store_queue *q, unsigned n)
{
	static struct store_record records[N_BATCH];
	static char heads[N_BATCH][MQ_RECORD_HEAD_MAX], tails[N_BATCH][64], bodies[N_BATCH][BODY];
	int64_t until_ms = mq_mono_ms(&mq_clock_system) + DEADLINE_MS, first = store_queue_max(q);
	struct store_turn turn;
	struct store_op op;

	for (unsigned i = 0; i < n; i++) {
		struct mq_record r = { .born_host = { .n_addr = 4 }, .store_host = { .n_addr = 4 }, .topic = store_queue_topic(q) };

		mq_put64(bodies[i], (uint64_t)first + i);
		r.body = (struct mq_slice){ bodies[i], BODY };
		records[i] = (struct store_record){ .queue = q, .head = heads[i], .body = r.body, .tag_hash = first + i };
		records[i].n_head = mq_record_encode_head(&r, heads[i]);
		records[i].tail = (struct mq_slice){ tails[i], mq_record_encode_tail(&r, tails[i]) };
	}
	atomic_store(&f->is_done, false);
	store_turn_init(&turn, append_done, &f->is_done);
	store_op_init(&op);
	op.records = records;
	op.n_records = n;
	store_turn_add(&turn, &op);
	store_commit(f->broker.store, &turn);
	while (!atomic_load(&f->is_done)) {
		assert_true(mq_mono_ms(&mq_clock_system) < until_ms);
		usleep(100);
	}
	assert_int_equal(op.result, 0);
}

static void append(struct fixture *f, struct store_queue *q, unsigned n)
{
	for (; n > N_BATCH; n -= N_BATCH)
		append_batch(f, q, N_BATCH);
	append_batch(f, q, n);
}

/* ---- Waiting and looking ---- */

struct waiting {
	struct ahead_wait wait;
	struct fixture *f;
};

static void waiting_on_post(struct mq_post *post)
{
	((struct waiting *)((char *)post - offsetof(struct waiting, wait.post)))->f->n_woken++;
}

static void waiting_init(struct waiting *w, struct fixture *f)
{
	*w = (struct waiting){ .wait = { .loop = f->loop, .post.run = waiting_on_post }, .f = f };
}

static int64_t now(struct fixture *f)
{
	return mq_mono_ms(&f->clock);
}

static bool fetch(struct fixture *f, struct store_queue *q, int64_t from)
{
	struct waiting w;

	waiting_init(&w, f);
	if (!ahead_fetch(f->broker.ahead, q, from, &w.wait, now(f)))
		return false;
	turn_until(f, &f->n_woken, f->n_woken + 1);
	return true;
}

struct look {
	int64_t first, next;
	unsigned n, stop_after;
	const char *end;
};

static enum store_verdict look_on_record(void *user, int64_t offset, int64_t tag_hash, struct mq_slice record)
{
	struct look *l = user;
	struct mq_record r;

	assert_int_equal(mq_record_decode(record, &r), record.n);
	assert_int_equal(r.queue_offset, offset);
	assert_int_equal(mq_get64(r.body.p), offset);
	assert_int_equal(tag_hash, offset);
	if (l->n == 0)
		l->first = offset;
	else
		assert_ptr_equal(record.p, l->end); /* neighbours, which are sent as one piece */
	l->end = record.p + record.n;
	l->n++;
	return l->n == l->stop_after ? STORE_STOP : STORE_GO_ON;
}

/* What is found from this offset on; n == 0: nothing. */
static struct look look(struct fixture *f, struct store_queue *q, int64_t from, unsigned stop_after)
{
	struct stretch *s = ahead_find(f->broker.ahead, q, from, now(f));
	struct look l = { .stop_after = stop_after };

	if (s)
		l.next = stretch_scan(s, from, look_on_record, &l);
	stretch_unref(s);
	return l;
}

static void wait_for_jobs(struct fixture *f)
{
	int64_t until_ms = mq_mono_ms(&mq_clock_system) + DEADLINE_MS;

	while (atomic_load(&f->broker.n_posts_due) > 0) {
		assert_true(mq_mono_ms(&mq_clock_system) < until_ms);
		usleep(100);
	}
}

/* ---- Tests ---- */

static void what_was_fetched_is_found_from_any_of_its_offsets(void **state)
{
	struct fixture *f = *state;
	struct look l;

	append(f, f->queue, 1000);
	assert_int_equal(look(f, f->queue, 100, 0).n, 0);
	assert_true(fetch(f, f->queue, 100));

	l = look(f, f->queue, 100, 0);
	assert_in_range(l.n, 200, 300); /* 256 KiB */
	assert_int_equal(l.first, 100);
	assert_int_equal(l.next, 100 + l.n);
	assert_int_equal(look(f, f->queue, 99, 0).n, 0);
	assert_int_equal(look(f, f->queue, l.next, 0).n, 0);
	assert_int_equal(look(f, f->queue, l.next - 1, 0).n, 1);

	l = look(f, f->queue, 110, 5);
	assert_int_equal(l.first, 110);
	assert_int_equal(l.next, 115);
}

static void it_ends_where_the_queue_ends_and_stays_so(void **state)
{
	struct fixture *f = *state;
	struct look l;

	append(f, f->queue, 10);
	assert_true(fetch(f, f->queue, 4));
	append(f, f->queue, 10);
	l = look(f, f->queue, 4, 0);
	assert_int_equal(l.n, 6);
	assert_int_equal(look(f, f->queue, 10, 0).n, 0);
	assert_true(fetch(f, f->queue, 10));
	assert_int_equal(look(f, f->queue, 10, 0).n, 10);
}

/* Keeps a reader busy until the test lets it go. */
struct gate {
	struct store_job job;
	sem_t *opened, *ended;
};

static void gate_run(struct store_job *job)
{
	struct gate *g = (struct gate *)((char *)job - offsetof(struct gate, job));

	while (sem_wait(g->opened) < 0)
		;
	sem_post(g->ended);
}

static void who_asks_for_the_same_waits_for_the_same(void **state)
{
	struct fixture *f = *state;
	struct gate gates[N_READERS];
	struct waiting w[3];
	sem_t opened, ended;
	unsigned n_coming = 0;
	size_t bytes;

	append(f, f->queue, 1000);
	sem_init(&opened, 0, 0);
	sem_init(&ended, 0, 0);
	for (unsigned i = 0; i < N_READERS; i++) {
		gates[i] = (struct gate){ .job.run = gate_run, .opened = &opened, .ended = &ended };
		store_submit(f->broker.store, &gates[i].job);
	}
	for (unsigned i = 0; i < N_ELEMENTS(w); i++) {
		waiting_init(&w[i], f);
		n_coming += ahead_fetch(f->broker.ahead, f->queue, 0, &w[i].wait, now(f));
	}
	bytes = ahead_bytes(f->broker.ahead);
	for (unsigned i = 0; i < N_READERS; i++)
		sem_post(&opened);
	for (unsigned i = 0; i < N_READERS; i++)
		while (sem_wait(&ended) < 0)
			;
	sem_destroy(&opened);
	sem_destroy(&ended);
	turn_until(f, &f->n_woken, n_coming);
	assert_int_equal(n_coming, N_ELEMENTS(w));
	assert_int_equal(bytes, MEMORY / 8);

	assert_false(fetch(f, f->queue, 0)); /* it is there */
	assert_false(fetch(f, f->queue, 1));
	assert_int_equal(ahead_bytes(f->broker.ahead), MEMORY / 8);
}

static void what_follows_is_fetched_and_what_is_passed_goes(void **state)
{
	struct fixture *f = *state;
	struct ahead *a = f->broker.ahead;
	struct stretch *s;
	struct look l;

	append(f, f->queue, 1000);
	assert_true(fetch(f, f->queue, 0));
	l = look(f, f->queue, 0, 0);
	s = ahead_find(a, f->queue, 0, now(f));
	ahead_passed(a, s, 32, now(f));
	wait_for_jobs(f);
	assert_true(look(f, f->queue, l.next, 0).n > 0);
	assert_true(look(f, f->queue, 32, 0).n > 0);

	ahead_passed(a, s, l.next, now(f));
	assert_int_equal(look(f, f->queue, 32, 0).n, 0);
	l = (struct look){};
	assert_true(stretch_scan(s, 0, look_on_record, &l) > 32); /* who has it may go on */
	stretch_unref(s);
}

static void near_the_end_nothing_is_fetched(void **state)
{
	struct fixture *f = *state;
	struct stretch *s;
	struct look l;

	append(f, f->queue, 300);
	assert_true(fetch(f, f->queue, 0));
	l = look(f, f->queue, 0, 0);
	assert_in_range(l.next, 300 - 64, 299);
	s = ahead_find(f->broker.ahead, f->queue, 0, now(f));
	ahead_passed(f->broker.ahead, s, 32, now(f));
	wait_for_jobs(f);
	assert_int_equal(look(f, f->queue, l.next, 0).n, 0);
	stretch_unref(s);
}

static void many_readers_get_shorter_ones_within_the_bound(void **state)
{
	struct fixture *f = *state;
	size_t before = 0, last = 0, now_bytes;
	unsigned n = 0;
	char topic[16];

	for (; n < 200; n++) {
		struct store_queue *q;

		snprintf(topic, sizeof topic, "T%u", n);
		q = queue_of(f, topic);
		append(f, q, 10);
		if (!fetch(f, q, 0))
			break;
		now_bytes = ahead_bytes(f->broker.ahead);
		assert_true(last == 0 || now_bytes - before <= last);
		last = now_bytes - before;
		before = now_bytes;
	}
	assert_in_range(n, 15, 60);
	assert_in_range(before, MEMORY / 2, MEMORY);
	assert_true(last < 64 << 10);

	/* Those that nobody reads any more give way, and go in the end. */
	atomic_fetch_add(&f->now_ms, 2000);
	assert_true(fetch(f, queue_of(f, topic), 0));
	assert_in_range(ahead_bytes(f->broker.ahead), 1, 256 << 10);
	ahead_expire(f->broker.ahead, now(f));
	assert_true(ahead_bytes(f->broker.ahead) > 0);
	atomic_fetch_add(&f->now_ms, 6000);
	ahead_expire(f->broker.ahead, now(f));
	assert_int_equal(ahead_bytes(f->broker.ahead), 0);
}

static void memory_counts_as_long_as_somebody_reads(void **state)
{
	struct fixture *f = *state;
	struct stretch *s;
	size_t held;

	append(f, f->queue, 10);
	assert_true(fetch(f, f->queue, 0));
	s = ahead_find(f->broker.ahead, f->queue, 0, now(f));
	held = ahead_bytes(f->broker.ahead);
	ahead_passed(f->broker.ahead, s, 10, now(f));
	assert_int_equal(ahead_bytes(f->broker.ahead), held);
	stretch_unref(s);
	assert_int_equal(ahead_bytes(f->broker.ahead), 0);
}

static void what_retention_took_is_not_fetched(void **state)
{
	struct fixture *f = *state;
	struct mq_error err;
	struct look l;

	append(f, f->queue, 20);
	atomic_fetch_add(&f->now_ms, 2 * HOUR_MS);
	append(f, f->queue, 20);
	assert_true(store_retain(f->broker.store, &err) >= 0); /* 0: the keeper was first */
	assert_int_equal(store_queue_min(f->queue), 20);

	assert_true(fetch(f, f->queue, 5));
	assert_int_equal(look(f, f->queue, 5, 0).n, 0);
	l = look(f, f->queue, 20, 0);
	assert_int_equal(l.first, 20);
	assert_int_equal(l.n, 20);
}

static void a_topic_made_again_shows_nothing_old(void **state)
{
	struct fixture *f = *state;
	struct store_queue *again;

	append(f, f->queue, 100);
	assert_true(fetch(f, f->queue, 10));
	assert_int_equal(store_topic_delete(f->broker.store, MQ_SLICE("T"), NULL, 0), 0);
	again = queue_of(f, "T");
	append(f, again, 50);
	assert_int_equal(look(f, again, 10, 0).n, 0);
	/* Who still has the old queue gets no more of it. */
	assert_true(fetch(f, f->queue, 0));
	assert_int_equal(look(f, f->queue, 0, 0).n, 0);
}

static void without_memory_nothing_is_fetched(void **state)
{
	struct fixture *f = *state;
	struct ahead *small;

	append(f, f->queue, 10);
	assert_int_equal(ahead_new(&small, &f->broker, 8 * (32 << 10) - 1), 0);
	assert_false(ahead_fetch(small, f->queue, 0, NULL, now(f)));
	assert_int_equal(ahead_bytes(small), 0);
	ahead_free(small);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_was_fetched_is_found_from_any_of_its_offsets),
		TEST(it_ends_where_the_queue_ends_and_stays_so),
		TEST(who_asks_for_the_same_waits_for_the_same),
		TEST(what_follows_is_fetched_and_what_is_passed_goes),
		TEST(near_the_end_nothing_is_fetched),
		TEST(many_readers_get_shorter_ones_within_the_bound),
		TEST(memory_counts_as_long_as_somebody_reads),
		TEST(what_retention_took_is_not_fetched),
		TEST(a_topic_made_again_shows_nothing_old),
		TEST(without_memory_nothing_is_fetched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
