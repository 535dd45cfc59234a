/* Column families: made ahead, shared beyond the limit, given back by queues that hold nothing. */
#include "store_test.h"

enum { N_QUEUES = 40 };

static unsigned n_own(struct fixture *f)
{
	unsigned n = 0;

	pthread_rwlock_rdlock(&f->store->queues_lock);
	for (struct store_queue *q = f->store->by_number; q; q = q->by_number.next)
		n += q->family && !q->family->is_shared;
	pthread_rwlock_unlock(&f->store->queues_lock);
	return n;
}

static uint64_t n_families(struct fixture *f)
{
	struct store_stats stats;

	store_stats(f->store, &stats);
	return stats.n_families;
}

static unsigned n_spares(struct fixture *f)
{
	LOCKED(&f->store->spares_lock);

	return f->store->n_spares;
}

static void append_to_each(struct fixture *f, const char *topic, int64_t expected)
{
	char body[32];

	for (int i = 0; i < N_QUEUES; i++) {
		snprintf(body, sizeof body, "%d/%d", i, (int)expected);
		assert_int_equal(append(f, topic, i, body), expected);
	}
}

static void assert_each(struct fixture *f, const char *topic, unsigned n)
{
	for (int i = 0; i < N_QUEUES; i++) {
		struct seen s = scan(f, topic, i, 0);
		char body[32];

		snprintf(body, sizeof body, "%d/%u", i, n - 1);
		assert_int_equal(s.n, n);
		assert_true(s.is_dense);
		assert_string_equal(s.body, body);
	}
}

static void queues_beyond_the_limit_share(void **state)
{
	struct fixture *f = *state;

	f->cfg.max_families = 3;
	fixture_open(f);
	append_to_each(f, "T", 0);
	append_to_each(f, "T", 1);
	assert_int_equal(n_own(f), 3);
	assert_in_range(n_families(f), 4, 3 + SHARED_FAMILIES);
	assert_each(f, "T", 2);
	fixture_reopen(f);
	assert_int_equal(n_own(f), 3);
	assert_each(f, "T", 2);
	append_to_each(f, "T", 2);
	append_to_each(f, "U", 0);
	assert_each(f, "T", 3);
	assert_each(f, "U", 1);
	assert_int_equal(n_own(f), 3);
}

/* More new queues in one turn than there are spares: what waits for a family keeps its place. */
static void ops_that_wait_for_families_keep_their_order(void **state)
{
	enum { PER_QUEUE = 3 };
	static struct message m[N_QUEUES * PER_QUEUE];
	static struct store_op ops[N_QUEUES * PER_QUEUE];
	struct fixture *f = *state;
	struct store_record both[2];
	struct message other;
	char body[32];

	for (int i = 0; i < N_QUEUES * PER_QUEUE; i++) {
		snprintf(body, sizeof body, "%d/%d", i % N_QUEUES, i / N_QUEUES);
		message_init(&m[i], queue_of(f, "T", i % N_QUEUES),
			     &(struct message_spec){ .topic = "T", .queue_id = i % N_QUEUES, .body = body });
		store_op_init(&ops[i]);
		ops[i].records = &m[i].record;
		ops[i].n_records = 1;
	}
	/* An op over a queue that has a family by then and one that has to wait: the next op on the first one waits behind it. */
	message_init(&other, queue_of(f, "T", N_QUEUES), &(struct message_spec){ .topic = "T", .queue_id = N_QUEUES, .body = "x" });
	both[0] = m[N_QUEUES].record;
	both[1] = other.record;
	ops[N_QUEUES].records = both;
	ops[N_QUEUES].n_records = 2;

	commit_and_wait(f->store, ops, N_QUEUES * PER_QUEUE);
	for (int i = 0; i < N_QUEUES * PER_QUEUE; i++) {
		assert_int_equal(ops[i].result, 0);
		message_done(&m[i]);
	}
	message_done(&other);
	assert_each(f, "T", PER_QUEUE);
	assert_int_equal(scan(f, "T", N_QUEUES, 0).n, 1);
}

static void spares_are_made_ahead_and_found_again(void **state)
{
	struct fixture *f = *state;

	AWAIT(n_spares(f) == SPARES_FULL);
	append(f, "T", 0, "x");
	AWAIT(n_spares(f) == SPARES_FULL);
	fixture_reopen(f);
	assert_int_equal(n_spares(f), SPARES_FULL);
	AWAIT(store_keeper_progress(f->store) >= 2);
	assert_int_equal(n_families(f), SPARES_FULL + 1);
}

static void a_deleted_topic_gives_its_families_back(void **state)
{
	struct fixture *f = *state;

	f->cfg.max_families = 2;
	fixture_open(f);
	AWAIT(n_families(f) == 2);
	append(f, "T", 0, "x");
	append(f, "T", 1, "x");
	append(f, "U", 0, "x");
	assert_int_equal(n_own(f), 2);
	assert_int_equal(store_topic_delete(f->store, MQ_SLICE("T"), NULL, 0), 0);
	/* dropped, and made anew as spares */
	AWAIT(n_spares(f) == 2);
	append(f, "V", 0, "x");
	append(f, "V", 1, "x");
	assert_int_equal(n_own(f), 2);
	fixture_reopen(f);
	assert_int_equal(scan(f, "V", 1, 0).n, 1);
	assert_int_equal(scan(f, "U", 0, 0).n, 1);
}

static void an_idle_queue_gives_its_family_back_and_gets_another(void **state)
{
	struct fixture *f = *state;
	struct mq_error err;

	f->cfg.delete_hours = UINT32_MAX;
	f->cfg.retention_ms = 60000;
	f->cfg.max_families = 1;
	fixture_open(f);
	AWAIT(n_families(f) == 1);
	append(f, "T", 0, "old");
	append(f, "T", 0, "old");
	append(f, "S", 0, "old, shared");
	assert_int_equal(n_own(f), 1);
	atomic_fetch_add(&f->now_ms, 60001);
	assert_true(store_retain(f->store, &err) >= 0); /* 0: the keeper was first */
	assert_int_equal(n_own(f), 0);
	assert_int_equal(store_queue_min(queue_of(f, "T", 0)), 2);
	assert_int_equal(store_queue_max(queue_of(f, "T", 0)), 2);
	assert_int_equal(store_queue_min(queue_of(f, "S", 0)), 1);
	AWAIT(n_spares(f) == 1);

	/* its numbers go on, also over a restart while it holds nothing */
	fixture_reopen(f);
	assert_int_equal(store_queue_max(queue_of(f, "T", 0)), 2);
	assert_int_equal(append(f, "T", 0, "new"), 2);
	assert_int_equal(append(f, "S", 0, "new"), 1);
	assert_int_equal(n_own(f), 1);
	fixture_reopen(f);
	struct seen s = scan(f, "T", 0, 0);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.first, 2);
	assert_string_equal(s.body, "new");
	assert_int_equal(scan(f, "S", 0, 0).first, 1);
}

static void closing_waits_for_ops_that_wait_for_families(void **state)
{
	static struct message m[N_QUEUES];
	static struct store_op ops[N_QUEUES];
	struct fixture *f = *state;
	struct waiter w = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
	struct store_turn turn;

	store_turn_init(&turn, waiter_on_done, &w);
	for (int i = 0; i < N_QUEUES; i++) {
		message_init(&m[i], queue_of(f, "T", i), &(struct message_spec){ .topic = "T", .queue_id = i, .body = "x" });
		store_op_init(&ops[i]);
		ops[i].records = &m[i].record;
		ops[i].n_records = 1;
		store_turn_add(&turn, &ops[i]);
	}
	store_commit(f->store, &turn);
	fixture_close(f);
	assert_true(w.is_done);
	for (int i = 0; i < N_QUEUES; i++) {
		assert_int_equal(ops[i].result, 0);
		message_done(&m[i]);
	}
	fixture_open(f);
	assert_int_equal(scan(f, "T", N_QUEUES - 1, 0).n, 1);
}

/* ---- an op that asks while the keeper is at it ---- */

struct restless {
	pthread_t thread;
	struct store *store;
	_Atomic bool stops;
};

/* What the keeper does for ops, without a pause: whatever comes finds it somewhere in the middle. */
static void *restless_main(void *user)
{
	struct restless *r = user;

	while (!atomic_load(&r->stops))
		if (families_make(r->store))
			append_retry(r->store);
	return NULL;
}

static void flag_on_done(struct store_turn *turn)
{
	atomic_store((_Atomic bool *)turn->user, true);
}

static void whoever_asks_for_a_shared_family_gets_it(void **state)
{
	enum { STORES = 8 };
	struct fixture *f = *state;
	char command[100];

	f->cfg.max_families = 0;
	snprintf(command, sizeof command, "rm -rf %s/*", f->dir);
	for (int i = 0; i < STORES; i++) {
		struct restless r = {};
		bool is_forgotten = false;

		fixture_open(f);
		keeper_stop(f->store);
		r.store = f->store;
		assert_int_equal(pthread_create(&r.thread, NULL, restless_main, &r), 0);
		for (int id = 0; id < N_QUEUES && !is_forgotten; id++) {
			_Atomic bool is_done = false;
			struct store_turn turn;
			struct store_op op;
			struct message m;

			message_init(&m, queue_of(f, "T", id), &(struct message_spec){ .topic = "T", .queue_id = id, .body = "x" });
			store_op_init(&op);
			op.records = &m.record;
			op.n_records = 1;
			store_turn_init(&turn, flag_on_done, (void *)&is_done);
			store_turn_add(&turn, &op);
			store_commit(f->store, &turn);
			for (int left = 10000; !atomic_load(&is_done) && left > 0; left--)
				nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
			is_forgotten = !atomic_load(&is_done);
			while (!atomic_load(&is_done))
				append_retry(f->store); /* before its turn goes with this block */
			message_done(&m);
		}
		atomic_store(&r.stops, true);
		pthread_join(r.thread, NULL);
		assert_false(is_forgotten);
		fixture_close(f);
		assert_int_equal(system(command), 0);
	}
}

static int n_files(struct fixture *f, const char *level)
{
	_cleanup_(rocksdb_textp) char *text =
		rocksdb_property_value_cf(f->store->db, queue_of(f, "T", 0)->family->cf, level);

	return text ? atoi(text) : -1;
}

/* Every flush of a shared family overlaps all others. They are merged eight at a time, not with each that comes. */
static void files_of_shared_families_are_merged_by_eights(void **state)
{
	enum { FILES = 8 };
	struct fixture *f = *state;

	f->cfg.max_families = 0;
	fixture_open(f);
	for (int i = 0; i < FILES; i++) {
		_cleanup_(rocksdb_textp) char *text = NULL;
		rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();

		append_to_each(f, "T", i);
		if (i == FILES - 1)
			assert_int_equal(n_files(f, "rocksdb.num-files-at-level0"), FILES - 1);
		rocksdb_flush_cf(f->store->db, options, queue_of(f, "T", 0)->family->cf, &text);
		rocksdb_flushoptions_destroy(options);
		assert_null(text);
	}
	AWAIT(n_files(f, "rocksdb.num-files-at-level0") == 0);
	assert_each(f, "T", FILES);
	fixture_reopen(f);
	assert_each(f, "T", FILES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_CLOSED(queues_beyond_the_limit_share),
		TEST(ops_that_wait_for_families_keep_their_order),
		TEST(spares_are_made_ahead_and_found_again),
		TEST_CLOSED(a_deleted_topic_gives_its_families_back),
		TEST_CLOSED(an_idle_queue_gives_its_family_back_and_gets_another),
		TEST(closing_waits_for_ops_that_wait_for_families),
		TEST_CLOSED(whoever_asks_for_a_shared_family_gets_it),
		TEST_CLOSED(files_of_shared_families_are_merged_by_eights),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
