#include <signal.h>
#include <sys/wait.h>

#include "store_test.h"

static void first_message_gets_offset_zero_and_a_locator(void **state)
{
	struct fixture *f = *state;
	int64_t locator;

	assert_int_equal(append_spec(f, &(struct message_spec){ .topic = "T", .queue_id = 3, .body = "hello", .tag_hash = -5 }, &locator), 0);
	assert_true(locator > 0);
	assert_int_equal(locator_offset(locator), 0);

	struct seen s = scan(f, "T", 3, 0);
	assert_int_equal(s.n, 1);
	assert_string_equal(s.body, "hello");
	assert_int_equal(s.tag_hash, -5);
	assert_int_equal(s.locator, locator);
	assert_int_equal(s.store_at_ms, atomic_load(&f->now_ms));
	assert_int_equal(store_queue_max(queue_of(f, "T", 3)), 1);
	assert_int_equal(atomic_load(&f->n_appends), 1);
	assert_int_equal(atomic_load(&f->last_max), 1);
}

static void records_of_one_op_get_consecutive_offsets(void **state)
{
	struct fixture *f = *state;
	struct store_queue *q = queue_of(f, "T", 0);
	struct message m[5];
	struct store_record records[5];
	struct store_op op;

	append(f, "T", 0, "before");
	for (int i = 0; i < 5; i++) {
		message_init(&m[i], q, &(struct message_spec){ .topic = "T", .body = "x" });
		records[i] = m[i].record;
	}
	store_op_init(&op);
	op.records = records;
	op.n_records = 5;
	commit_and_wait(f->store, &op, 1);
	assert_int_equal(op.result, 0);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(records[i].queue_offset, 1 + i);
		message_done(&m[i]);
	}
	/* one queue grew, once */
	assert_int_equal(atomic_load(&f->n_appends), 2);
	assert_int_equal(atomic_load(&f->last_max), 6);
}

static void store_time_never_goes_back_within_a_queue(void **state)
{
	struct fixture *f = *state;
	int64_t first = atomic_load(&f->now_ms);

	append(f, "T", 0, "a");
	atomic_store(&f->now_ms, first - 5000);
	append(f, "T", 0, "b");
	assert_int_equal(scan(f, "T", 0, 1).store_at_ms, first);
	fixture_reopen(f);
	append(f, "T", 0, "c");
	assert_int_equal(scan(f, "T", 0, 2).store_at_ms, first);
}

static void refused_op_takes_no_other_along(void **state)
{
	struct fixture *f = *state;
	struct message m[2];
	struct store_op ops[2];

	for (int i = 0; i < 2; i++) {
		message_init(&m[i], queue_of(f, "T", 0), &(struct message_spec){ .topic = "T", .body = "x" });
		store_op_init(&ops[i]);
		ops[i].records = &m[i].record;
		ops[i].n_records = 1;
	}
	ops[0].take_half = locator_make(77, 3);
	commit_and_wait(f->store, ops, 2);
	assert_int_equal(ops[0].result, -ENOENT);
	assert_int_equal(ops[1].result, 0);
	assert_int_equal(m[1].record.queue_offset, 0);
	for (int i = 0; i < 2; i++)
		message_done(&m[i]);
}

static void half_message_is_taken_once(void **state)
{
	struct fixture *f = *state;
	struct store_op ops[2];
	struct message m;
	int64_t locator;

	assert_int_equal(append_spec(f, &(struct message_spec){ .topic = "HALF", .body = "h", .is_half = true }, &locator), 0);
	/* twice in one batch; without a family for its queue the first would wait and the second be first */
	append(f, "T", 0, "has a family now");
	message_init(&m, queue_of(f, "T", 0), &(struct message_spec){ .topic = "T", .body = "x" });
	for (int i = 0; i < 2; i++) {
		store_op_init(&ops[i]);
		ops[i].take_half = locator;
	}
	ops[0].records = &m.record;
	ops[0].n_records = 1;
	commit_and_wait(f->store, ops, 2);
	assert_int_equal(ops[0].result, 0);
	assert_int_equal(ops[1].result, -ENOENT);
	message_done(&m);

	/* and in a later one, also after a restart */
	fixture_reopen(f);
	store_op_init(&ops[0]);
	ops[0].take_half = locator;
	commit_and_wait(f->store, ops, 1);
	assert_int_equal(ops[0].result, -ENOENT);
}

static void checks_of_a_half_message_are_noted_until_it_is_taken(void **state)
{
	struct fixture *f = *state;
	struct store_half pending[3];
	struct store_op ops[2];
	int64_t locators[3];

	for (int i = 0; i < 3; i++)
		assert_int_equal(append_spec(f, &(struct message_spec){ .topic = "HALF", .body = "h", .is_half = true }, &locators[i]), i);
	for (int i = 0; i < 2; i++)
		store_op_init(&ops[i]);
	ops[0].note_half = (struct store_half){ locators[1], 7 };
	ops[1].take_half = locators[0];
	commit_and_wait(f->store, ops, 2);
	assert_int_equal(ops[0].result, 0);
	assert_int_equal(ops[1].result, 0);

	fixture_reopen(f);
	assert_int_equal(store_half_scan(f->store, 0, pending, 3), 2);
	assert_int_equal(pending[0].locator, locators[1]);
	assert_int_equal(pending[0].n_checks, 7);
	assert_int_equal(pending[1].locator, locators[2]);
	assert_int_equal(pending[1].n_checks, 0);
	assert_int_equal(store_half_scan(f->store, locators[2], pending, 3), 1);
	assert_int_equal(pending[0].locator, locators[2]);
	assert_int_equal(store_half_scan(f->store, 0, pending, 1), 1);

	/* taken in the same batch, and before: nothing comes back */
	for (int i = 0; i < 2; i++)
		store_op_init(&ops[i]);
	ops[0].take_half = locators[1];
	ops[1].note_half = (struct store_half){ locators[1], 8 };
	commit_and_wait(f->store, ops, 2);
	assert_int_equal(ops[0].result, 0);
	assert_int_equal(ops[1].result, -ENOENT);
	ops[1].note_half.locator = locators[0];
	commit_and_wait(f->store, &ops[1], 1);
	assert_int_equal(ops[1].result, -ENOENT);
	assert_int_equal(store_half_scan(f->store, 0, pending, 3), 1);
}

static void a_half_row_that_cannot_be_read_is_told_once_and_passed_over(void **state)
{
	struct fixture *f = *state;
	struct store_half pending[3];
	struct mq_slice empty = MQ_SLICE(""), odd = MQ_SLICE("odd");
	int64_t locators[2];
	char key[8];

	*damages() = (struct damages){};
	f->cfg.on_damage = damages_on_damage;
	fixture_open(f);
	for (int i = 0; i < 2; i++)
		append_spec(f, &(struct message_spec){ .topic = "HALF", .body = "h", .is_half = true }, &locators[i]);
	raw(f, CF_HALF, MQ_SLICE("\0"), &empty);
	mq_put64(key, (uint64_t)locators[0]);
	raw(f, CF_HALF, (struct mq_slice){ key, 8 }, &odd);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(store_half_scan(f->store, 0, pending, 3), 1);
		assert_int_equal(pending[0].locator, locators[1]);
	}
	assert_int_equal(damages()->n, 1);
	assert_string_equal(damages()->last, "half: a row is damaged: 3 bytes of value, key 0x0000010000000000");
	fixture_close(f);
}

static void empty_turn_is_done_at_once(void **state)
{
	struct fixture *f = *state;

	commit_and_wait(f->store, NULL, 0);
}

/* ---- many threads ---- */

enum { THREADS = 4, TURNS = 50, OPS = 10 };

struct committer {
	struct fixture *f;
	int id;
	int n_failed;
};

static void *committer_main(void *user)
{
	struct committer *c = user;

	for (int i = 0; i < TURNS; i++) {
		struct message m[OPS];
		struct store_op ops[OPS];
		char body[32];

		for (int j = 0; j < OPS; j++) {
			snprintf(body, sizeof body, "%d/%d", c->id, i * OPS + j);
			message_init(&m[j], queue_of(c->f, "T", j % 2), &(struct message_spec){ .topic = "T", .queue_id = j % 2, .body = body });
			store_op_init(&ops[j]);
			ops[j].records = &m[j].record;
			ops[j].n_records = 1;
		}
		commit_and_wait(c->f->store, ops, OPS);
		for (int j = 0; j < OPS; j++) {
			c->n_failed += ops[j].result < 0;
			message_done(&m[j]);
		}
	}
	return NULL;
}

static enum store_verdict in_order_on_record(void *user, int64_t offset, int64_t tag_hash, struct mq_slice record)
{
	int (*last)[THREADS] = user, id, n;
	struct mq_record r;

	assert_true(mq_record_decode(record, &r) > 0);
	char body[32];
	snprintf(body, sizeof body, "%.*s", MQ_FMT(r.body));
	assert_int_equal(sscanf(body, "%d/%d", &id, &n), 2);
	assert_true(n > (*last)[id]);
	(*last)[id] = n;
	return STORE_GO_ON;
}

static void turns_of_many_threads_combine_into_dense_offsets(void **state)
{
	struct fixture *f = *state;
	struct committer c[THREADS];
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++) {
		c[i] = (struct committer){ .f = f, .id = i };
		assert_int_equal(pthread_create(&threads[i], NULL, committer_main, &c[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(c[i].n_failed, 0);
	}
	for (int q = 0; q < 2; q++) {
		struct seen s = scan(f, "T", q, 0);
		int last[THREADS] = { -1, -1, -1, -1 };
		int64_t next;

		assert_int_equal(s.n, THREADS * TURNS * OPS / 2);
		assert_true(s.is_dense);
		assert_int_equal(store_scan(f->store, queue_of(f, "T", q), 0, STORE_DISK, in_order_on_record, &last, &next), 0);
	}
}

static void turns_of_many_threads_wait_for_one_sync(void **state)
{
	struct fixture *f = *state;

	struct waiter waiters[TURNS];
	struct store_turn turns[TURNS];
	struct store_op ops[TURNS];
	struct message m[TURNS];
	struct store_stats stats;
	uint64_t n_syncs;

	f->cfg.sync_flush = true;
	fixture_open(f);
	turns_of_many_threads_combine_into_dense_offsets(state);
	store_stats(f->store, &stats);
	assert_int_equal(stats.messages_put, THREADS * TURNS * OPS);
	assert_int_equal(stats.sequence, stats.durable_sequence);

	/* While a sync stands others come: the next one is for all of them. */
	n_syncs = atomic_load(&f->n_syncs);
	atomic_store(&f->sync_stands, true);
	for (int i = 0; i < TURNS; i++) {
		message_init(&m[i], queue_of(f, "T", 0), &(struct message_spec){ .topic = "T", .body = "x" });
		store_op_init(&ops[i]);
		ops[i].records = &m[i].record;
		ops[i].n_records = 1;
		waiter_init(&waiters[i], &turns[i]);
		store_turn_add(&turns[i], &ops[i]);
		store_commit(f->store, &turns[i]);
		if (i == 0)
			AWAIT(atomic_load(&f->n_syncs) == n_syncs + 1);
	}
	atomic_store(&f->sync_stands, false);
	for (int i = 0; i < TURNS; i++) {
		waiter_wait(&waiters[i]);
		assert_int_equal(ops[i].result, 0);
		message_done(&m[i]);
	}
	assert_in_range(atomic_load(&f->n_syncs) - n_syncs, 2, 3); /* the keeper may have taken the last one along, late */
}

/* ---- restarts ---- */

static void everything_is_there_after_a_restart(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 10; i++)
		append(f, "T", i % 2, "x");
	fixture_reopen(f);
	assert_int_equal(scan(f, "T", 0, 0).n, 5);
	assert_int_equal(scan(f, "T", 1, 0).n, 5);
	assert_int_equal(append(f, "T", 0, "y"), 5);
	struct store_stats stats;
	store_stats(f->store, &stats);
	assert_int_equal(stats.messages_put, 11);
	assert_int_equal(stats.n_queues, 2);
}

static void everything_acknowledged_is_there_after_kill(void **state)
{
	struct fixture *f = *state;
	int pipes[2];
	int64_t last = -1, offset;
	pid_t child;

	assert_int_equal(pipe(pipes), 0);
	child = fork();
	if (child == 0) {
		fixture_open(f);
		for (;;) {
			offset = append(f, "T", 0, "x");
			if (offset < 0 || write(pipes[1], &offset, sizeof offset) != sizeof offset)
				_exit(1);
		}
	}
	close(pipes[1]);
	while (read(pipes[0], &offset, sizeof offset) == sizeof offset) {
		last = offset;
		if (offset == 300)
			kill(child, SIGKILL);
	}
	close(pipes[0]);
	waitpid(child, NULL, 0);
	fixture_open(f);
	struct seen s = scan(f, "T", 0, 0);
	assert_true(s.n > last);
	assert_true(last >= 300);
	assert_true(s.is_dense);
	assert_int_equal(s.first, 0);
}

/* ---- failures ---- */

static void failing_sync_fails_who_waits_and_everybody_after(void **state)
{
	struct fixture *f = *state;
	uint64_t sequence;
	char why[200];

	f->cfg.sync_flush = true;
	fixture_open(f);
	assert_int_equal(append(f, "T", 0, "good"), 0);
	atomic_store(&f->sync_error, -EIO);
	assert_int_equal(append(f, "T", 0, "bad"), -EIO);
	assert_int_equal(store_state(f->store), STORE_FAILED);
	assert_int_equal(atomic_load(&f->n_states), 1);
	store_state_reason(f->store, why, sizeof why);
	assert_non_null(strstr(why, f->dir));

	atomic_store(&f->sync_error, 0);
	sequence = rocksdb_get_latest_sequence_number(f->store->db);
	assert_int_equal(append(f, "T", 0, "later"), -EIO);
	assert_int_equal(append(f, "new topic", 0, "later"), -EIO);
	assert_int_equal(store_meta_put(f->store, "topic", MQ_SLICE("T"), MQ_SLICE("x")), -EIO);
	assert_int_equal(store_topic_delete(f->store, MQ_SLICE("T"), NULL, 0), -EIO);
	assert_int_equal(store_offset_set(f->store, MQ_SLICE("G"), MQ_SLICE("T"), 0, 1, store_offset_since()), 0);
	assert_int_equal(offsets_flush(f->store), -EIO);
	assert_int_equal(store_sync(f->store), -EIO);
	assert_int_equal(rocksdb_get_latest_sequence_number(f->store->db), sequence);
	/* reads go on, of what the disk has */
	assert_string_equal(scan(f, "T", 0, 0).body, "good");
}

static void append_without_waiting(struct fixture *f)
{
	struct message m;
	struct store_op op;

	message_init(&m, queue_of(f, "T", 0), &(struct message_spec){ .topic = "T", .body = "x" });
	store_op_init(&op);
	op.records = &m.record;
	op.n_records = 1;
	op.no_wait = true;
	commit_and_wait(f->store, &op, 1);
	assert_int_equal(op.result, 0);
	message_done(&m);
}

static enum store_verdict ignore_on_record(void *user, int64_t offset, int64_t tag_hash, struct mq_slice record)
{
	return STORE_STOP;
}

static void nobody_gets_what_the_disk_does_not_have(void **state)
{
	struct fixture *f = *state;
	struct store_queue *q;
	uint64_t n_syncs;

	f->cfg.sync_flush = true;
	f->cfg.flush_interval_ms = 1000;
	fixture_open(f);
	assert_int_equal(append(f, "T", 0, "x"), 0);
	q = queue_of(f, "T", 0);
	assert_int_equal(store_queue_max(q), 1); /* before the send was done */
	assert_int_equal(atomic_load(&f->n_appends), 1);

	n_syncs = atomic_load(&f->n_syncs);
	atomic_store(&f->sync_stands, true);
	append_without_waiting(f);
	AWAIT(atomic_load(&f->n_syncs) > n_syncs);
	append_without_waiting(f); /* not covered by the sync under way */
	assert_int_equal(store_queue_max(q), 1);
	assert_int_equal(scan(f, "T", 0, 0).n, 1);
	assert_int_equal(atomic_load(&f->n_appends), 1);
	assert_int_equal(store_get(f->store, store_queue_locator(q, 2), STORE_DISK, ignore_on_record, NULL), 0);
	assert_int_equal(store_get(f->store, store_queue_locator(q, 3), STORE_DISK, ignore_on_record, NULL), -ENOENT);

	atomic_store(&f->sync_stands, false);
	AWAIT(atomic_load(&f->last_max) == 3);
	assert_int_equal(store_queue_max(q), 3);
	assert_int_equal(scan(f, "T", 0, 0).n, 3);
}

static void failing_write_fails_for_good(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(append(f, "T", 0, "good"), 0);
	atomic_store(&f->write_error, -EIO);
	assert_int_equal(append(f, "T", 0, "bad"), -EIO);
	assert_int_equal(store_state(f->store), STORE_FAILED);
	atomic_store(&f->write_error, 0);
	assert_int_equal(append(f, "T", 0, "later"), -EIO);
	struct seen s = scan(f, "T", 0, 0);
	assert_int_equal(s.n, 1);
	assert_string_equal(s.body, "good");

	fixture_reopen(f);
	assert_int_equal(append(f, "T", 0, "again"), 1);
}

static void who_does_not_wait_is_not_held_by_the_disk(void **state)
{
	struct fixture *f = *state;

	f->cfg.sync_flush = true;
	f->cfg.flush_interval_ms = 1000;
	fixture_open(f);
	append(f, "T", 0, "x");
	atomic_store(&f->sync_error, -EIO);
	append_without_waiting(f);
}

static void overrides_are_in_effect_where_they_were_built(void **state)
{
	struct fixture *f = *state;
	struct store_stats stats;

	append(f, "T", 0, "x");
	store_stats(f->store, &stats);
#ifdef STORE_OVERRIDES
	assert_true(stats.has_cheap_families);
	assert_true(stats.has_fast_crc || !__builtin_cpu_supports("pclmul"));
#else
	assert_false(stats.has_cheap_families);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(first_message_gets_offset_zero_and_a_locator),
		TEST(records_of_one_op_get_consecutive_offsets),
		TEST(store_time_never_goes_back_within_a_queue),
		TEST(refused_op_takes_no_other_along),
		TEST(half_message_is_taken_once),
		TEST(checks_of_a_half_message_are_noted_until_it_is_taken),
		TEST_CLOSED(a_half_row_that_cannot_be_read_is_told_once_and_passed_over),
		TEST(empty_turn_is_done_at_once),
		TEST_CLOSED(everything_acknowledged_is_there_after_kill),
		TEST(turns_of_many_threads_combine_into_dense_offsets),
		TEST_CLOSED(turns_of_many_threads_wait_for_one_sync),
		TEST(everything_is_there_after_a_restart),
		TEST_CLOSED(failing_sync_fails_who_waits_and_everybody_after),
		TEST_CLOSED(nobody_gets_what_the_disk_does_not_have),
		TEST(failing_write_fails_for_good),
		TEST_CLOSED(who_does_not_wait_is_not_held_by_the_disk),
		TEST(overrides_are_in_effect_where_they_were_built),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
