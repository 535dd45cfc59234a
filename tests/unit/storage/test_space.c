/* A disk that fills up, by the hook that says how much is free. */
#include <limits.h>
#include <sys/syscall.h>

#include "store_test.h"

enum { MIB = 1 << 20 };

/* No space for tables, or for the manifest, nor for what RocksDB may want to say about it in a file of its own; logs go on. NULL: space
 * for all. */
static const char *_Atomic refused_name;

static bool is_refused(int fd, const char *name)
{
	char link[64], path[PATH_MAX] = "";

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	return readlink(link, path, sizeof path - 1) > 0 && strstr(path, name);
}

/* In place of the C library's, for RocksDB. */
ssize_t write(int fd, const void *bytes, size_t n)
{
	const char *name = atomic_load(&refused_name);

	if (name && (is_refused(fd, name) || is_refused(fd, "/db/LOG"))) {
		errno = ENOSPC;
		return -1;
	}
	return syscall(SYS_write, fd, bytes, n);
}

static void set_free(struct fixture *f, uint64_t bytes)
{
	atomic_store(&f->free_bytes, bytes);
}

static off_t ballast_size(struct fixture *f)
{
	char path[100];
	struct stat st;

	snprintf(path, sizeof path, "%s/ballast", f->dir);
	return stat(path, &st) < 0 ? -1 : st.st_size;
}

static void a_full_disk_refuses_and_resumes_by_itself(void **state)
{
	struct fixture *f = *state;
	char why[400];

	f->cfg.min_free_bytes = 8 * MIB;
	fixture_open(f);
	assert_int_equal(append(f, "T", 0, "a"), 0);
	set_free(f, 7 * MIB);
	AWAIT(store_state(f->store) == STORE_NO_SPACE);
	assert_int_equal(append(f, "T", 0, "refused"), -ENOSPC);
	assert_int_equal(append(f, "new topic", 0, "refused"), -ENOSPC);
	store_state_reason(f->store, why, sizeof why);
	assert_non_null(strstr(why, f->dir));
	assert_non_null(strstr(why, "7 MiB"));
	assert_non_null(strstr(why, "storeMinFreeBytes"));
	AWAIT(atomic_load(&f->n_states) == 1); /* told after it is so */
	/* reads go on, small rows too */
	assert_string_equal(scan(f, "T", 0, 0).body, "a");
	assert_int_equal(store_meta_put(f->store, "topic", MQ_SLICE("T"), MQ_SLICE("x")), 0);

	/* a little more than the guard is wanted, so that the state does not flap */
	atomic_store(&f->total_bytes, 16 * MIB);
	set_free(f, 8 * MIB + 1);
	space_check(f->store);
	assert_int_equal(store_state(f->store), STORE_NO_SPACE);
	set_free(f, 100 * (uint64_t)MIB);
	atomic_store(&f->total_bytes, 200 * (uint64_t)MIB);
	AWAIT(store_state(f->store) == STORE_WRITABLE);
	assert_int_equal(append(f, "T", 0, "b"), 1);
	assert_int_equal(append(f, "new topic", 0, "b"), 0);
	AWAIT(atomic_load(&f->n_states) == 2);
	store_state_reason(f->store, why, sizeof why);
	assert_string_equal(why, "");
}

static unsigned n_own(struct fixture *f)
{
	LOCKED(&f->store->spares_lock);

	return f->store->n_own;
}

/* One that is counted in n_own may still be in the making. */
static unsigned n_spares(struct fixture *f)
{
	LOCKED(&f->store->spares_lock);

	return f->store->n_spares;
}

/* Once there is space again. A refusal that was on its way when it came may be told once more. */
static int64_t append_in_the_end(struct fixture *f, int32_t queue_id)
{
	int64_t r;

	AWAIT((r = append(f, "T", queue_id, "after")) != -ENOSPC);
	return r;
}

/* What is in memory goes to a table in the background. That fails: RocksDB refuses writes until it has tried again, every five seconds. */
static void fail_flush(struct fixture *f)
{
	rocksdb_flushoptions_t *o = rocksdb_flushoptions_create();
	char *text = NULL;

	atomic_store(&refused_name, ".sst");
	rocksdb_flush_cf(f->store->db, o, queue_of(f, "T", 0)->family->cf, &text);
	rocksdb_flushoptions_destroy(o);
	assert_non_null(text);
	rocksdb_free(text);
}

static int64_t offset_of_g(struct fixture *f)
{
	int64_t offset = -1;

	(void)!store_offset_get(f->store, MQ_SLICE("g"), MQ_SLICE("T"), 0, &offset);
	return offset;
}

/* As a write finds it that comes before anybody knows. */
static void forget_refusal(struct fixture *f)
{
	append_lock(f->store);
	atomic_store(&f->store->is_refused, false);
	atomic_store(&f->store->state, STORE_WRITABLE);
	append_unlock(f->store);
}

static void what_found_no_space_for_a_table_is_written_when_there_is_some(void **state)
{
	struct fixture *f = *state;
	char why[400];

	f->cfg.min_free_bytes = 8 * MIB;
	fixture_open(f);
	assert_int_equal(append(f, "T", 0, "before"), 0);
	AWAIT(n_spares(f) == SPARES_FULL);
	fail_flush(f);
	assert_int_equal(append(f, "T", 0, "refused"), -ENOSPC);
	AWAIT(store_state(f->store) == STORE_NO_SPACE); /* the keeper, who looked just before, may be late */
	store_state_reason(f->store, why, sizeof why);
	assert_non_null(strstr(why, f->dir));

	forget_refusal(f);
	assert_int_equal(append(f, "new topic", 0, "refused"), -ENOSPC);
	assert_int_equal(store_offset_set(f->store, MQ_SLICE("g"), MQ_SLICE("T"), 0, 7, store_offset_since()), 0);
	forget_refusal(f);
	assert_int_equal(offsets_flush(f->store), -ENOSPC);
	forget_refusal(f);
	assert_int_equal(store_offset_delete(f->store, MQ_SLICE("g"), MQ_SLICE("T")), -ENOSPC);
	forget_refusal(f);
	assert_int_equal(store_topic_delete(f->store, MQ_SLICE("T"), NULL, 0), -ENOSPC);
	assert_int_equal(offset_of_g(f), 7);
	assert_string_equal(scan(f, "T", 0, 0).body, "before");

	atomic_store(&refused_name, NULL);
	AWAIT(!atomic_load(&f->store->is_refused) && store_state(f->store) == STORE_WRITABLE);
	assert_int_equal(append(f, "T", 0, "after"), 1);
	assert_int_equal(append(f, "new topic", 0, "after"), 0);
	fixture_reopen(f);
	assert_int_equal(offset_of_g(f), 7);
	assert_int_equal(scan(f, "T", 0, 0).n, 2);
	assert_string_equal(scan(f, "T", 0, 0).body, "after");
	assert_string_equal(scan(f, "new topic", 0, 0).body, "after");
}

static void what_found_no_space_for_a_family_is_stored_when_there_is_some(void **state)
{
	struct fixture *f = *state;
	int64_t r;
	int n = 0;

	f->cfg.min_free_bytes = 8 * MIB;
	fixture_open(f);
	AWAIT(n_spares(f) == SPARES_FULL);
	atomic_store(&refused_name, "MANIFEST-");
	while ((r = append(f, "T", n, "before")) == 0)
		assert_in_range(++n, 1, SPARES_FULL);
	assert_int_equal(r, -ENOSPC);
	/* The state may be another by now: logs have space, so the keeper lets in what needs no family, until the next one is wanted. */
	assert_in_range(atomic_load(&f->n_states), 1, INT_MAX);

	atomic_store(&refused_name, NULL);
	for (int i = 0; i < 2 * SPARES_FULL; i++)
		assert_int_equal(append_in_the_end(f, i), i < n);
	AWAIT(n_own(f) == 3 * SPARES_FULL); /* none was counted that is not there */
	fixture_reopen(f);
	for (int i = 0; i < 2 * SPARES_FULL; i++)
		assert_string_equal(scan(f, "T", i, 0).body, "after");
}

static void what_found_no_space_to_be_dropped_goes_when_there_is_some(void **state)
{
	struct fixture *f = *state;
	unsigned n;

	f->cfg.min_free_bytes = 8 * MIB;
	fixture_open(f);
	assert_int_equal(append(f, "T", 0, "gone"), 0);
	AWAIT(n_spares(f) == SPARES_FULL);
	n = n_own(f);
	atomic_store(&refused_name, "MANIFEST-");
	assert_int_equal(store_topic_delete(f->store, MQ_SLICE("T"), NULL, 0), 0);
	AWAIT(atomic_load(&f->n_states) > 0);
	assert_int_equal(n_own(f), n);

	atomic_store(&refused_name, NULL);
	AWAIT(store_state(f->store) == STORE_WRITABLE);
	AWAIT(n_own(f) == n - 1);
	assert_int_equal(append(f, "T", 0, "new"), 0);
}

static void a_deleted_topic_frees_a_full_disk(void **state)
{
	struct fixture *f = *state;

	f->cfg.max_families = 2;
	fixture_open(f);
	AWAIT(n_own(f) == 2);
	append(f, "T", 0, "x");
	append(f, "T", 1, "x");
	set_free(f, MIB - 1);
	AWAIT(store_state(f->store) == STORE_NO_SPACE);
	assert_int_equal(store_topic_delete(f->store, MQ_SLICE("T"), NULL, 0), 0);
	AWAIT(n_own(f) == 0);
	assert_int_equal(append(f, "U", 0, "x"), -ENOSPC);
}

static void the_warning_ratio_refuses_too(void **state)
{
	struct fixture *f = *state;
	char why[400];

	atomic_store(&f->total_bytes, (uint64_t)1000 << 30);
	AWAIT(store_state(f->store) == STORE_WRITABLE && f->store->bytes_total == (uint64_t)1000 << 30);
	set_free(f, (uint64_t)99 << 30);
	space_check(f->store);
	assert_int_equal(append(f, "T", 0, "x"), -ENOSPC);
	store_state_reason(f->store, why, sizeof why);
	assert_non_null(strstr(why, "90.1 %"));
	assert_non_null(strstr(why, "diskSpaceWarningLevelRatio"));
}

/* Between two looks of the keeper what was written is taken off, and the guard asks again when that comes near. */
static void a_burst_does_not_overrun_the_guard(void **state)
{
	struct fixture *f = *state;
	int64_t r = 0;
	int n;

	f->cfg.min_free_bytes = 64 * MIB;
	set_free(f, 66 * MIB);
	atomic_store(&f->total_bytes, 600 * (uint64_t)MIB);
	f->cfg.disk_warning_ratio = 1;
	fixture_open(f);
	assert_int_equal(append(f, "T", 0, "x"), 0);
	/* really less by now, but nobody has looked; 2 MiB are reached long before the keeper's second is over */
	set_free(f, 10 * MIB);
	for (n = 0; n < 64 && r >= 0; n++)
		r = append_spec(f, &(struct message_spec){ .topic = "T", .body_size = 100000 }, NULL);
	assert_int_equal(r, -ENOSPC);
	assert_in_range(n, 1, 30);
}

static void the_ballast_is_kept_and_given_up(void **state)
{
	struct fixture *f = *state;
	int64_t offset;

	f->cfg.min_free_bytes = 4 * MIB;
	fixture_open(f);
	AWAIT(ballast_size(f) == MIB);
	assert_int_equal(append(f, "T", 0, "x"), 0);
	/* below a quarter of the guard: nothing at all is written, and the ballast goes */
	set_free(f, MIB / 2);
	AWAIT(ballast_size(f) == 0);
	assert_int_equal(store_meta_put(f->store, "topic", MQ_SLICE("T"), MQ_SLICE("x")), -ENOSPC);
	assert_int_equal(store_topic_delete(f->store, MQ_SLICE("T"), NULL, 0), -ENOSPC);
	assert_int_equal(store_offset_set(f->store, MQ_SLICE("G"), MQ_SLICE("T"), 0, 5, store_offset_since()), 0);
	assert_int_equal(offsets_flush(f->store), -ENOSPC);
	set_free(f, (uint64_t)100 << 30);
	AWAIT(ballast_size(f) == MIB);
	assert_int_equal(append(f, "T", 0, "y"), 1);
	fixture_reopen(f);
	assert_int_equal(store_offset_get(f->store, MQ_SLICE("G"), MQ_SLICE("T"), 0, &offset), 0);
	assert_int_equal(offset, 5);
}

/* RocksDB itself needs room to open. */
static void the_ballast_is_given_up_before_opening_on_a_full_disk(void **state)
{
	struct fixture *f = *state;

	f->cfg.min_free_bytes = 4 * MIB;
	fixture_open(f);
	append(f, "T", 0, "x");
	AWAIT(ballast_size(f) == MIB);
	fixture_close(f);
	set_free(f, MIB / 2);
	fixture_open(f);
	assert_int_equal(ballast_size(f), 0);
	assert_int_equal(store_state(f->store), STORE_NO_SPACE);
	assert_int_equal(scan(f, "T", 0, 0).n, 1);
	assert_int_equal(append(f, "T", 0, "y"), -ENOSPC);
	set_free(f, (uint64_t)100 << 30);
	AWAIT(store_state(f->store) == STORE_WRITABLE);
}

/* A test that failed leaves the next ones what they begin with. */
static int teardown(void **state)
{
	atomic_store(&refused_name, NULL);
	return fixture_teardown(state);
}

#define SPACE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup_closed, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SPACE_TEST(a_full_disk_refuses_and_resumes_by_itself),
		SPACE_TEST(what_found_no_space_for_a_table_is_written_when_there_is_some),
		SPACE_TEST(what_found_no_space_for_a_family_is_stored_when_there_is_some),
		SPACE_TEST(what_found_no_space_to_be_dropped_goes_when_there_is_some),
		SPACE_TEST(a_deleted_topic_frees_a_full_disk),
		cmocka_unit_test_setup_teardown(the_warning_ratio_refuses_too, fixture_setup, teardown),
		SPACE_TEST(a_burst_does_not_overrun_the_guard),
		SPACE_TEST(the_ballast_is_kept_and_given_up),
		SPACE_TEST(the_ballast_is_given_up_before_opening_on_a_full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
