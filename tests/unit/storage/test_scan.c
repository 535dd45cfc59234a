/* Scans over records that are partly in memory and partly in files that are not. */
#include "store_test.h"

enum { PER_FILE = 300, N_FILES = 4 };

static void fill(struct fixture *f)
{
	for (int file = 0; file <= N_FILES; file++) {
		for (int i = 0; i < PER_FILE; i++)
			append_spec(f, &(struct message_spec){ .topic = "T", .body_size = 512 }, NULL);
		if (file < N_FILES)
			flush_queue(f, "T", 0);
	}
}

/* As a pull does: from memory, and from the disk where memory does not suffice. Files are entered at every possible alignment. */
static void no_scan_passes_over_records_of_a_file_that_is_not_in_memory(void **state)
{
	enum { MAX = PER_FILE * (N_FILES + 1) };
	struct fixture *f = *state;
	struct store_queue *q;
	unsigned n_blocked = 0;

	fill(f);
	for (unsigned step = 7; step < 60; step += 11) {
		fixture_reopen(f);
		q = queue_of(f, "T", 0);
		assert_int_equal(store_queue_max(q), MAX);
		for (int64_t from = 0; from < MAX;) {
			struct seen memory = { .stop_after = step }, disk = { .stop_after = step };
			int64_t next;
			int r = store_scan(f->store, q, from, STORE_MEMORY, seen_on_record, &memory, &next);

			if (memory.n > 0) {
				assert_int_equal(memory.first, from);
				assert_true(memory.is_dense);
			}
			assert_int_equal(next, from + memory.n);
			if (r == STORE_WOULD_BLOCK) {
				n_blocked++;
				from = next;
				r = store_scan(f->store, q, from, STORE_DISK, seen_on_record, &disk, &next);
				assert_true(disk.n > 0 && disk.is_dense);
				assert_int_equal(disk.first, from);
			}
			assert_int_equal(r, 0);
			from = next;
		}
	}
	assert_true(n_blocked > 0);
}

struct counting_job {
	struct store_job job;
	_Atomic int *n_run;
};

static void count_on_run(struct store_job *job)
{
	atomic_fetch_add(((struct counting_job *)job)->n_run, 1);
}

static void jobs_are_run_by_readers_and_all_before_the_end(void **state)
{
	enum { N_JOBS = 50 };
	struct fixture *f = *state;
	struct counting_job jobs[N_JOBS];
	_Atomic int n_run = 0;

	for (int i = 0; i < N_JOBS; i++) {
		jobs[i] = (struct counting_job){ .job.run = count_on_run, .n_run = &n_run };
		store_submit(f->store, &jobs[i].job);
		if (i == 0)
			AWAIT(atomic_load(&n_run) == 1);
	}
	fixture_close(f);
	assert_int_equal(atomic_load(&n_run), N_JOBS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(no_scan_passes_over_records_of_a_file_that_is_not_in_memory),
		TEST(jobs_are_run_by_readers_and_all_before_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
