/* Power loss: what was written to a log and not synced is gone, all else is there. This program sees every sync, whoever asks for
 * it, and cuts the logs in a copy of the store to what was synced. Whether a real disk does the same: tests/system/powercut. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "store_test.h"

enum { LOGS_MAX = 1024, MINUTE_MS = 60000 };

/* How much of a log is on the disk. Shared with the children that are killed. */
static struct synced {
	_Atomic uint64_t key;
	_Atomic int64_t size;
} *synced;

/* Inodes are used again, but not for a log of the same number. */
static uint64_t log_key(uint64_t inode, const char *path)
{
	const char *name = strrchr(path, '/');

	return inode * 1000003 + strtoull(name ? name + 1 : path, NULL, 10);
}

/* NULL: it was never synced, and `make` is false. */
static struct synced *synced_find(uint64_t key, bool make)
{
	for (int i = 0; i < LOGS_MAX; i++) {
		uint64_t there = 0;

		if (make)
			atomic_compare_exchange_strong(&synced[i].key, &there, key);
		else
			there = atomic_load(&synced[i].key);
		if (there == key || (make && there == 0))
			return &synced[i];
		if (there == 0)
			return NULL;
	}
	fprintf(stderr, "more than %d logs\n", LOGS_MAX);
	abort();
}

static int sync_and_note(int fd, long call)
{
	char link[64], path[PATH_MAX] = "";
	struct stat st;
	ssize_t n;
	int r;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	if (n < 4 || strcmp(path + n - 4, ".log") != 0)
		return (int)syscall(call, fd);
	if (fstat(fd, &st) < 0)
		return -1;
	r = (int)syscall(call, fd);
	if (r == 0)
		atomic_store(&synced_find(log_key(st.st_ino, path), true)->size, st.st_size);
	return r;
}

/* In place of the C library's, for RocksDB, too. */
int fdatasync(int fd)
{
	return sync_and_note(fd, SYS_fdatasync);
}

int fsync(int fd)
{
	return sync_and_note(fd, SYS_fsync);
}

static void cut_log(const struct fixture *f, const char *copy, const char *name)
{
	char path[400];
	struct synced *s;
	struct stat st;

	snprintf(path, sizeof path, "%s/db/%s", f->dir, name);
	if (stat(path, &st) < 0) /* not needed any more since it was copied */
		return;
	s = synced_find(log_key(st.st_ino, path), false);
	snprintf(path, sizeof path, "%s/db/%s", copy, name);
	assert_int_equal(truncate(path, !s ? 0 : s->size < st.st_size ? s->size : st.st_size), 0);
}

/* The store, open or not, goes on as a copy of what is on the disk at this moment. */
static void cut_power(struct fixture *f)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	char command[400], copy[sizeof f->dir], path[300];
	struct dirent *entry;
	DIR *dir;

	/* What is listed stays until it is copied. */
	if (f->store)
		rocksdb_disable_file_deletions(f->store->db, &text);
	assert_null(text);
	snprintf(copy, sizeof copy, "%.*s.cut", (int)sizeof copy - 5, f->dir);
	snprintf(command, sizeof command, "cp -r %s %s", f->dir, copy);
	assert_int_equal(system(command), 0);
	snprintf(path, sizeof path, "%s/db", copy);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (strlen(entry->d_name) > 4 && strcmp(entry->d_name + strlen(entry->d_name) - 4, ".log") == 0)
			cut_log(f, copy, entry->d_name);
	closedir(dir);
	fixture_close(f);
	snprintf(command, sizeof command, "rm -rf %s && mv %s %s", f->dir, copy, f->dir);
	assert_int_equal(system(command), 0);
}

/* ---- what is deleted outside the log waits for it ---- */

/* One that is counted as a family may still be in the making. */
static unsigned n_spares(struct fixture *f)
{
	LOCKED(&f->store->spares_lock);

	return f->store->n_spares;
}

static uint64_t n_families(struct fixture *f)
{
	struct store_stats stats;

	store_stats(f->store, &stats);
	return stats.n_families;
}

static void a_deleted_topic_may_come_back_but_whole(void **state)
{
	struct fixture *f = *state;
	uint64_t n;

	f->cfg.flush_interval_ms = 1000;
	fixture_open(f);
	append(f, "T", 0, "first");
	append(f, "U", 0, "other");
	assert_int_equal(store_sync(f->store), 0);
	AWAIT(n_spares(f) == SPARES_FULL);
	n = n_families(f);
	assert_int_equal(store_topic_delete(f->store, MQ_SLICE("T"), NULL, 0), 0);
	AWAIT(n_families(f) < n); /* dropped, which no log has to tell of */

	cut_power(f);
	fixture_open(f);
	assert_int_equal(scan(f, "U", 0, 0).n, 1);
	assert_true(append(f, "T", 0, "next") >= 0);
	assert_string_equal(scan(f, "T", 0, 0).body, "next");
}

static void an_emptied_queue_may_come_back_but_whole(void **state)
{
	struct fixture *f = *state;
	struct mq_error err = {};
	uint64_t n;

	f->cfg.flush_interval_ms = 1000;
	f->cfg.delete_hours = UINT32_MAX;
	f->cfg.retention_ms = MINUTE_MS;
	fixture_open(f);
	for (int i = 0; i < 3; i++)
		append(f, "T", 0, "old");
	assert_int_equal(store_sync(f->store), 0);
	AWAIT(n_spares(f) == SPARES_FULL);
	n = n_families(f);
	atomic_fetch_add(&f->now_ms, 2 * MINUTE_MS);
	assert_true(store_retain(f->store, &err) >= 0); /* 0: the keeper was first */
	AWAIT(n_families(f) < n);

	cut_power(f);
	fixture_open(f);
	assert_int_equal(append(f, "T", 0, "new"), 3);
}

static bool is_on_level_1(struct fixture *f)
{
	const rocksdb_livefiles_t *live = rocksdb_livefiles(f->store->db);
	bool is_there = false;

	for (int i = 0; i < rocksdb_livefiles_count(live); i++)
		if (rocksdb_livefiles_column_family_name(live, i)[0] == 'f')
			is_there = rocksdb_livefiles_level(live, i) == 1;
	rocksdb_livefiles_destroy(live);
	return is_there;
}

static void append_old_ones(struct fixture *f)
{
	for (int i = 0; i < 10; i++)
		append(f, "T", 0, "old");
	flush_queue(f, "T", 0);
}

static void new_one_outlives_the_others(struct fixture *f)
{
	struct mq_error err = {};

	append(f, "T", 0, "new");
	assert_int_equal(store_sync(f->store), 0);
	assert_true(store_retain(f->store, &err) >= 0); /* 0: the keeper was first */
	assert_false(is_on_level_1(f));

	cut_power(f);
	fixture_open(f);
	assert_string_equal(scan(f, "T", 0, 0).body, "new");
}

static void what_retention_left_can_be_read(void **state)
{
	struct fixture *f = *state;

	f->cfg.flush_interval_ms = 1000;
	f->cfg.delete_hours = UINT32_MAX;
	f->cfg.retention_ms = MINUTE_MS;
	fixture_open(f);
	append_old_ones(f);
	AWAIT(is_on_level_1(f));
	atomic_fetch_add(&f->now_ms, 2 * MINUTE_MS);
	new_one_outlives_the_others(f);
}

static void what_more_bytes_than_allowed_left_can_be_read(void **state)
{
	struct fixture *f = *state;

	f->cfg.flush_interval_ms = 1000;
	f->cfg.max_bytes = 1;
	fixture_open(f);
	append_old_ones(f);
	AWAIT(is_on_level_1(f) || store_queue_min(queue_of(f, "T", 0)) > 0); /* the keeper may be first */
	new_one_outlives_the_others(f);
}

/* ---- what a crash left in the log ---- */

static void append_3(struct fixture *f)
{
	assert_int_equal(append(f, "T", 0, "durable"), 0);
	assert_int_equal(store_sync(f->store), 0);
	assert_int_equal(append(f, "T", 0, "in the log"), 1);
	assert_int_equal(append(f, "T", 0, "in the log"), 2);
}

/* The log of the process that was killed is read, not written again. What comes is in another one, and builds on it. */
static void power_loss_after_a_crash_leaves_no_hole(void **state)
{
	struct fixture *f = *state;
	struct seen s;

	f->cfg.flush_interval_ms = 1000;
	fixture_kill_after(f, append_3);
	f->cfg.sync_flush = true;
	fixture_open(f);
	assert_int_equal(scan(f, "T", 0, 0).n, 3);
	assert_int_equal(append(f, "T", 0, "acknowledged"), 3);

	cut_power(f);
	fixture_open(f);
	s = scan(f, "T", 0, 0);
	assert_int_equal(s.n, 4);
	assert_true(s.is_dense);
	assert_string_equal(s.body, "acknowledged");
}

static int setup(void **state)
{
	memset(synced, 0, LOGS_MAX * sizeof *synced);
	return fixture_setup_closed(state);
}

#define POWER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		POWER_TEST(a_deleted_topic_may_come_back_but_whole),
		POWER_TEST(an_emptied_queue_may_come_back_but_whole),
		POWER_TEST(what_retention_left_can_be_read),
		POWER_TEST(what_more_bytes_than_allowed_left_can_be_read),
		POWER_TEST(power_loss_after_a_crash_leaves_no_hole),
	};

	synced = mmap(NULL, LOGS_MAX * sizeof *synced, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (synced == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
