/* Logs that the disk does not take. RocksDB meets it when somebody syncs, or in a flush in the background. What a sync did not bring to the
 * disk may be gone from the page cache, too: the next sync succeeds and proves nothing.
 *
 * Each case is a process of its own, since a store that was refused a write or a sync is left to the end of the process. */
#include <dirent.h>
#include <limits.h>
#include <sys/syscall.h>

#include "storage/inspect.h"

#include "store_test.h"

static struct {
	char log[32];           /* "/000004.log": its syncs fail, ... */
	_Atomic int sync_errno; /* ... in this way, ... */
	_Atomic int n_failures; /* ... so many times */
	_Atomic bool logs_find_no_space, tables_find_no_space; /* writes */
	_Atomic ino_t only_table;           /* writes to other tables do not come back, ... */
	_Atomic bool wants_table, is_stuck; /* ... which is the first one; somebody writes to another */
} disk;

static bool is_file(int fd, const char *name)
{
	char link[64], path[PATH_MAX] = "";

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	return readlink(link, path, sizeof path - 1) > 0 && strstr(path, name);
}

/* The second table is never written. */
static void write_only_one_table(int fd)
{
	ino_t none = 0;
	struct stat st;

	if (!atomic_load(&disk.wants_table) || !is_file(fd, ".sst") || fstat(fd, &st) < 0 ||
	    atomic_compare_exchange_strong(&disk.only_table, &none, st.st_ino) || none == st.st_ino)
		return;
	atomic_store(&disk.is_stuck, true);
	for (;;)
		pause();
}

/* In place of the C library's, for RocksDB. The last bytes that are free are taken. */
ssize_t write(int fd, const void *bytes, size_t n)
{
	bool is_log = atomic_load(&disk.logs_find_no_space) && is_file(fd, ".log");

	write_only_one_table(fd);
	if (is_log && n > 1)
		return syscall(SYS_write, fd, bytes, 1);
	if (is_log || (atomic_load(&disk.tables_find_no_space) && is_file(fd, ".sst"))) {
		errno = ENOSPC;
		return -1;
	}
	return syscall(SYS_write, fd, bytes, n);
}

/* As if the process had been killed just before: RocksDB takes half a record away again when it closes a log. */
int ftruncate_of_library(int fd, off_t size) __asm__("ftruncate"); /* here that name stands for another one */
int ftruncate_of_library(int fd, off_t size)
{
	return is_file(fd, ".log") ? 0 : (int)syscall(SYS_ftruncate, fd, size);
}

int fdatasync(int fd)
{
	if (atomic_load(&disk.n_failures) > 0 && is_file(fd, disk.log) && atomic_fetch_sub(&disk.n_failures, 1) > 0) {
		errno = atomic_load(&disk.sync_errno);
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

/* The one that is written to. */
static void find_newest_log(struct fixture *f)
{
	char path[100];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof path, "%s/db", f->dir);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (strstr(entry->d_name, ".log") && (!*disk.log || strcmp(entry->d_name, disk.log + 1) > 0))
			snprintf(disk.log, sizeof disk.log, "/%.20s", entry->d_name);
	closedir(dir);
	assert_string_not_equal(disk.log, "");
}

static void fail_syncs(struct fixture *f, int error, int n)
{
	find_newest_log(f);
	atomic_store(&disk.sync_errno, error);
	atomic_store(&disk.n_failures, n);
}

static uint64_t n_families(struct fixture *f)
{
	struct store_stats stats;

	store_stats(f->store, &stats);
	return stats.n_families;
}

static void append_to_both(struct fixture *f)
{
	assert_int_equal(append(f, "T", 0, "t"), 0);
	assert_int_equal(append(f, "U", 0, "u"), 0);
	AWAIT(n_families(f) == 2 + SPARES_FULL); /* one that is being made keeps the log that it was begun with */
}

static void assert_both_are_there(struct fixture *f)
{
	assert_int_equal(scan(f, "T", 0, 0).n, 1);
	assert_string_equal(scan(f, "T", 0, 0).body, "t");
	assert_int_equal(scan(f, "U", 0, 0).n, 1);
	assert_string_equal(scan(f, "U", 0, 0).body, "u");
}

static void assert_nothing_is_written_any_more(struct fixture *f)
{
	char why[400];

	assert_int_equal(store_sync(f->store), -EIO);
	assert_int_equal(store_state(f->store), STORE_FAILED);
	store_state_reason(f->store, why, sizeof why);
	assert_non_null(strstr(why, "cannot sync"));
	assert_non_null(strstr(why, f->dir));
	assert_int_equal(append(f, "T", 0, "refused"), -EIO);
	assert_both_are_there(f);
}

static void assert_all_goes_on(struct fixture *f)
{
	assert_int_equal(store_state(f->store), STORE_WRITABLE);
	assert_both_are_there(f);
	assert_int_equal(append(f, "T", 0, "next"), 1);
}

static void fail_to_sync(struct fixture *f)
{
	append_to_both(f);
	fail_syncs(f, EIO, INT_MAX);
	assert_nothing_is_written_any_more(f);
}

static void a_log_that_cannot_be_synced_ends_what_is_written(void **state)
{
	fixture_kill_after(*state, fail_to_sync);
	fixture_kill_after(*state, assert_all_goes_on);
}

#ifdef STORE_OVERRIDES

/* RocksDB begins a new log, and syncs the older one before it writes the table, because records of U are in it, too. */
static void fail_flush_of_t(struct fixture *f)
{
	rocksdb_flushoptions_t *o = rocksdb_flushoptions_create();
	char *text = NULL;

	rocksdb_flush_cf(f->store->db, o, queue_of(f, "T", 0)->family->cf, &text);
	rocksdb_flushoptions_destroy(o);
	assert_non_null(text);
	assert_non_null(strstr(text, disk.log));
	rocksdb_free(text);
}

/* Once only, and not for the flusher, which has nothing more to sync. */
static void fail_next_sync_in_background(struct fixture *f)
{
	assert_int_equal(store_sync(f->store), 0);
	fail_syncs(f, ENOSPC, 1);
}

static void fail_in_background(struct fixture *f)
{
	append_to_both(f);
	fail_syncs(f, EIO, INT_MAX);
	fail_flush_of_t(f);
	assert_nothing_is_written_any_more(f);
}

static void an_older_log_that_cannot_be_synced_in_background_does_too(void **state)
{
	fixture_kill_after(*state, fail_in_background);
	fixture_kill_after(*state, assert_all_goes_on);
}

static void fail_once_in_background(struct fixture *f)
{
	append_to_both(f);
	fail_next_sync_in_background(f);
	atomic_store(&disk.tables_find_no_space, true);
	fail_flush_of_t(f);
	/* RocksDB tries again by itself, and forgets what failed. */
	assert_nothing_is_written_any_more(f);
}

static void a_sync_that_succeeds_after_one_that_failed_is_not_believed(void **state)
{
	fixture_kill_after(*state, fail_once_in_background);
	fixture_kill_after(*state, assert_all_goes_on);
}

static void find_space_again(struct fixture *f)
{
	char path[120];

	append_to_both(f);
	fail_next_sync_in_background(f);
	fail_flush_of_t(f);
	snprintf(path, sizeof path, "%s/db%s", f->dir, disk.log);
	AWAIT(access(path, F_OK) < 0); /* RocksDB needs it no more */
	assert_nothing_is_written_any_more(f);
	fixture_reopen(f);
	assert_all_goes_on(f);
}

static void what_is_in_memory_goes_to_tables_all_the_same(void **state)
{
	fixture_kill_after(*state, find_space_again);
}

/* A sync that was on its way when a write failed, and looks at the log only then. */
static void sync_after_failed_write(struct fixture *f)
{
	char *text = NULL;

	append_to_both(f);
	atomic_store(&disk.logs_find_no_space, true);
	assert_int_equal(append(f, "V", 0, "refused"), -EIO);
	assert_int_equal(store_state(f->store), STORE_FAILED);
	rocksdb_flush_wal(f->store->db, 1, &text);
	assert_null(text);
	assert_both_are_there(f);
}

static void a_sync_covers_what_was_written_before_a_write_failed(void **state)
{
	fixture_kill_after(*state, sync_after_failed_write);
	fixture_kill_after(*state, assert_all_goes_on);
}

static int n_tables(struct fixture *f)
{
	const rocksdb_livefiles_t *files = rocksdb_livefiles(f->store->db);
	int n = rocksdb_livefiles_count(files);

	rocksdb_livefiles_destroy(files);
	return n;
}

/* Half a record is in the log, RocksDB has begun a new one, and one family has its table. */
static void begin_tables_after_failed_write(struct fixture *f)
{
	append_to_both(f);
	assert_int_equal(store_sync(f->store), 0);
	atomic_store(&disk.wants_table, true);
	atomic_store(&disk.logs_find_no_space, true);
	assert_int_equal(append(f, "V", 0, "refused"), -EIO);
	AWAIT(atomic_load(&disk.is_stuck) && n_tables(f) == 1);
}

static void assert_went_on(struct fixture *f)
{
	assert_int_equal(scan(f, "T", 0, 0).n, 2);
	assert_int_equal(scan(f, "U", 0, 0).n, 1);
	assert_int_equal(append(f, "V", 0, "first"), 0);
}

static void a_log_that_ends_in_half_a_record_is_read_to_there(void **state)
{
	fixture_kill_after(*state, begin_tables_after_failed_write);
	fixture_kill_after(*state, assert_all_goes_on);
	fixture_kill_after(*state, assert_went_on);
}

static void fail_for_fault(void *user, const char *sentence)
{
	(void)user;
	fail_msg("%s", sentence);
}

static void check_as_mq_store(struct fixture *f)
{
	struct inspect_summary sum;
	struct inspect *in = NULL;
	struct mq_error err = {};

	assert_int_equal(inspect_open(&in, f->dir, &err), 0);
	assert_int_equal(inspect_check(in, fail_for_fault, NULL, &sum, &err), 0);
	assert_int_equal(sum.n_records, 2);
	inspect_close(in);
}

/* What is in the newer log may come behind what the older one lost. Opens here, so it is the last. */
static void half_a_record_before_others_is_a_hole(void **state)
{
	struct fixture *f = *state;
	struct mq_error err = {};
	char command[200];

	fixture_kill_after(f, begin_tables_after_failed_write);
	check_as_mq_store(f);
	find_newest_log(f);
	/* Whole records, that do not go on where the older log ends. */
	snprintf(command, sizeof command, "cd %s/db && rm .%s && cat *.log >new && mv new .%s", f->dir, disk.log, disk.log);
	assert_int_equal(system(command), 0);
	assert_true(fixture_open_error(f, &err) < 0);
	assert_non_null(strstr(err.text, "SST file is ahead of WALs"));
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_CLOSED(a_log_that_cannot_be_synced_ends_what_is_written),
#ifdef STORE_OVERRIDES
		TEST_CLOSED(an_older_log_that_cannot_be_synced_in_background_does_too),
		TEST_CLOSED(a_sync_that_succeeds_after_one_that_failed_is_not_believed),
		TEST_CLOSED(what_is_in_memory_goes_to_tables_all_the_same),
		TEST_CLOSED(a_sync_covers_what_was_written_before_a_write_failed),
		TEST_CLOSED(a_log_that_ends_in_half_a_record_is_read_to_there),
		TEST_CLOSED(half_a_record_before_others_is_a_hole),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
