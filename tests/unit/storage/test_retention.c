/* Old messages go: by time, by bytes, by how full the disk is. Files by whole files, shared families by range. */
#include "store_test.h"

enum { PER_FILE = 20, BODY = 2000, MINUTE_MS = 60000 };

static int n_files(struct fixture *f, const char *family)
{
	const rocksdb_livefiles_t *live = rocksdb_livefiles(f->store->db);
	int n = 0;

	for (int i = 0; i < rocksdb_livefiles_count(live); i++)
		n += strncmp(rocksdb_livefiles_column_family_name(live, i), family, strlen(family)) == 0;
	rocksdb_livefiles_destroy(live);
	return n;
}

/* Files can only be dropped below level 0, where they are moved in the background. */
static bool all_are_settled(struct fixture *f)
{
	const rocksdb_livefiles_t *live = rocksdb_livefiles(f->store->db);
	bool is_settled = true;

	for (int i = 0; i < rocksdb_livefiles_count(live); i++)
		if (rocksdb_livefiles_column_family_name(live, i)[0] == 'f' && rocksdb_livefiles_level(live, i) == 0)
			is_settled = false;
	rocksdb_livefiles_destroy(live);
	return is_settled;
}

/* `n` files of PER_FILE messages, a minute apart, and half a file in memory. */
static void fill(struct fixture *f, const char *topic, int n)
{
	for (int i = 0; i <= n; i++) {
		for (int j = 0; j < (i < n ? PER_FILE : PER_FILE / 2); j++)
			assert_true(append_spec(f, &(struct message_spec){ .topic = topic, .body_size = BODY, .keys = "key" }, NULL) >= 0);
		if (i == n)
			break;
		flush_queue(f, topic, 0);
		AWAIT(all_are_settled(f));
		atomic_fetch_add(&f->now_ms, MINUTE_MS);
	}
}

static void retain(struct fixture *f)
{
	struct mq_error err = {};

	if (store_retain(f->store, &err) < 0)
		fail_msg("store_retain: %s", err.text);
}

static void assert_begins_at(struct fixture *f, const char *topic, int64_t min, unsigned n)
{
	struct store_queue *q = queue_of(f, topic, 0);
	struct seen s = scan(f, topic, 0, 0);

	assert_int_equal(store_queue_min(q), min);
	assert_int_equal(s.n, n);
	assert_int_equal(s.first, min);
	assert_true(s.is_dense);
	assert_int_equal(store_time_at(f->store, q, min - 1), -1);
	assert_int_not_equal(store_time_at(f->store, q, min), -1);
}

static unsigned n_found(struct fixture *f, const char *topic)
{
	struct seen s = { .stop_after = 10000 };

	return (unsigned)store_query(f->store, mq_slice_of(topic), MQ_SLICE("key"), 10000, 0, INT64_MAX, seen_on_record, &s);
}

static void expired_files_go(void **state)
{
	struct fixture *f = *state;
	struct store_stats stats;
	int64_t start = atomic_load(&f->now_ms), offset;

	f->cfg.delete_hours = UINT32_MAX;
	f->cfg.retention_ms = 10 * MINUTE_MS;
	fixture_open(f);
	fill(f, "T", 4);
	retain(f);
	assert_begins_at(f, "T", 0, 4 * PER_FILE + PER_FILE / 2);
	assert_int_equal(n_files(f, "f"), 4);

	/* the first two files are now older than ten minutes */
	atomic_store(&f->now_ms, start + 11 * MINUTE_MS + 1);
	retain(f);
	assert_begins_at(f, "T", 2 * PER_FILE, 2 * PER_FILE + PER_FILE / 2);
	assert_int_equal(n_files(f, "f"), 2);
	assert_int_equal(n_found(f, "T"), 2 * PER_FILE + PER_FILE / 2);
	assert_int_equal(store_search_time(f->store, queue_of(f, "T", 0), start, STORE_LOWER, &offset), 0);
	assert_int_equal(offset, 2 * PER_FILE);
	store_stats(f->store, &stats);
	assert_int_equal(stats.earliest_at_ms, start + 2 * MINUTE_MS);
	assert_true(stats.log_min > 0 && stats.log_min < stats.log_max);
	assert_int_equal(stats.messages_put, 4 * PER_FILE + PER_FILE / 2);

	fixture_reopen(f);
	assert_begins_at(f, "T", 2 * PER_FILE, 2 * PER_FILE + PER_FILE / 2);
	store_stats(f->store, &stats);
	assert_true(stats.log_min > 0 && stats.log_min < stats.log_max);
}

static void nothing_goes_before_the_hour(void **state)
{
	struct fixture *f = *state;
	time_t now;
	struct tm tm;

	f->cfg.retention_ms = 10 * MINUTE_MS;
	f->cfg.delete_hours = UINT32_C(1) << 1 | UINT32_C(1) << 4;
	now = atomic_load(&f->now_ms) / 1000;
	localtime_r(&now, &tm);
	tm.tm_hour = 2;
	tm.tm_min = tm.tm_sec = 0;
	atomic_store(&f->now_ms, (int64_t)mktime(&tm) * 1000);
	fixture_open(f);
	fill(f, "T", 2);
	atomic_fetch_add(&f->now_ms, 30 * MINUTE_MS);
	retain(f);
	assert_begins_at(f, "T", 0, 2 * PER_FILE + PER_FILE / 2);
	assert_int_equal(n_files(f, "f"), 2);

	/* above the first mark of the disk it is any hour */
	atomic_store(&f->free_bytes, (uint64_t)45 << 30);
	retain(f);
	assert_int_equal(store_queue_min(queue_of(f, "T", 0)), 2 * PER_FILE + PER_FILE / 2);

	atomic_store(&f->free_bytes, (uint64_t)100 << 30);
	fill(f, "U", 2);
	atomic_fetch_add(&f->now_ms, 80 * MINUTE_MS);
	tm.tm_hour = 4;
	atomic_store(&f->now_ms, (int64_t)mktime(&tm) * 1000);
	retain(f);
	assert_int_equal(store_queue_min(queue_of(f, "U", 0)), 2 * PER_FILE + PER_FILE / 2);
}

static void the_oldest_files_go_beyond_the_bytes(void **state)
{
	struct fixture *f = *state;

	fixture_open(f);
	append(f, "U", 0, "first by number, not by age");
	fill(f, "T", 3);
	fill(f, "U", 3);
	retain(f);
	assert_int_equal(n_files(f, "f"), 6);
	/* one and a half files too much */
	pthread_mutex_lock(&f->store->retain_lock);
	f->store->cfg.max_bytes = atomic_load(&f->store->bytes_on_disk) - PER_FILE * BODY * 3 / 2;
	pthread_mutex_unlock(&f->store->retain_lock);
	retain(f);
	assert_begins_at(f, "T", 2 * PER_FILE, PER_FILE + PER_FILE / 2);
	assert_begins_at(f, "U", 0, 1 + 3 * PER_FILE + PER_FILE / 2);
	assert_int_equal(n_files(f, "f"), 4);
	retain(f);
	assert_int_equal(n_files(f, "f"), 4);
}

static void a_full_disk_takes_the_oldest_although_not_expired(void **state)
{
	struct fixture *f = *state;

	fixture_open(f);
	fill(f, "T", 3);
	/* 85 % used: above the middle between the marks */
	atomic_store(&f->total_bytes, 10000000);
	atomic_store(&f->free_bytes, 1500000);
	retain(f);
	/* a megabyte would have to go: all files, not what is in memory */
	assert_begins_at(f, "T", 3 * PER_FILE, PER_FILE / 2);
	assert_int_equal(n_files(f, "f"), 0);
}

static void shared_queues_are_trimmed_too(void **state)
{
	struct fixture *f = *state;
	int64_t start = atomic_load(&f->now_ms);

	f->cfg.max_families = 0;
	f->cfg.delete_hours = UINT32_MAX;
	f->cfg.retention_ms = 10 * MINUTE_MS;
	fixture_open(f);
	for (int i = 0; i < 6; i++) {
		append(f, "T", 0, "x");
		append(f, "U", 0, "x");
		atomic_fetch_add(&f->now_ms, MINUTE_MS);
	}
	append(f, "V", 0, "x");
	atomic_store(&f->now_ms, start + 13 * MINUTE_MS);
	retain(f);
	assert_begins_at(f, "T", 3, 3);
	assert_begins_at(f, "U", 3, 3);
	assert_begins_at(f, "V", 0, 1);
	fixture_reopen(f);
	assert_begins_at(f, "T", 3, 3);
	assert_int_equal(append(f, "T", 0, "y"), 6);
}

static uint64_t shared_bytes(struct fixture *f)
{
	const rocksdb_livefiles_t *live = rocksdb_livefiles(f->store->db);
	uint64_t sum = 0;

	for (int i = 0; i < rocksdb_livefiles_count(live); i++)
		if (rocksdb_livefiles_column_family_name(live, i)[0] == 's')
			sum += rocksdb_livefiles_size(live, i);
	rocksdb_livefiles_destroy(live);
	return sum;
}

static void shared_queues_shrink_beyond_the_bytes(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	f->cfg.max_families = 0;
	fixture_open(f);
	fill(f, "T", 4); /* four minutes' worth */
	retain(f);
	before = shared_bytes(f);
	assert_true(before > 4 * PER_FILE * BODY);
	pthread_mutex_lock(&f->store->retain_lock);
	f->store->cfg.max_bytes = atomic_load(&f->store->bytes_on_disk) - before * 2 / 5;
	pthread_mutex_unlock(&f->store->retain_lock);
	/* a little less than half of the bytes, so a little less than half of the time: what was stored in the first two minutes */
	retain(f);
	assert_begins_at(f, "T", 2 * PER_FILE, 2 * PER_FILE + PER_FILE / 2);
	AWAIT(!atomic_load(&f->store->is_compacting));
	assert_true(shared_bytes(f) < before * 7 / 10);
	fixture_reopen(f);
	assert_begins_at(f, "T", 2 * PER_FILE, 2 * PER_FILE + PER_FILE / 2);
}

static void compact_index(struct fixture *f)
{
	rocksdb_compact_range_cf(f->store->db, f->store->cf[CF_INDEX], NULL, 0, NULL, 0);
}

static void index_rows_of_past_hours_go(void **state)
{
	struct fixture *f = *state;

	f->cfg.delete_hours = UINT32_MAX;
	f->cfg.retention_ms = 10 * MINUTE_MS;
	fixture_open(f);
	fill(f, "T", 2);
	compact_index(f);
	assert_int_equal(n_files(f, "index"), 1);
	atomic_fetch_add(&f->now_ms, 120 * MINUTE_MS);
	append_spec(f, &(struct message_spec){ .topic = "U", .keys = "key", .body = "young" }, NULL);
	retain(f);
	assert_int_equal(n_files(f, "index"), 0);
	assert_int_equal(n_found(f, "T"), 0);
	assert_int_equal(n_found(f, "U"), 1);
}

static void move_minimum(struct fixture *f)
{
	int64_t start = atomic_load(&f->now_ms);

	fill(f, "T", 4);
	atomic_store(&f->now_ms, start + 11 * MINUTE_MS + 1);
	retain(f);
	assert_int_equal(store_queue_min(queue_of(f, "T", 0)), 2 * PER_FILE);
}

static void a_minimum_survives_a_kill(void **state)
{
	struct fixture *f = *state;

	f->cfg.delete_hours = UINT32_MAX;
	f->cfg.retention_ms = 10 * MINUTE_MS;
	fixture_kill_after(f, move_minimum);
	fixture_open(f);
	assert_begins_at(f, "T", 2 * PER_FILE, 2 * PER_FILE + PER_FILE / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_CLOSED(a_minimum_survives_a_kill), /* first: RocksDB's background threads do not survive a fork */
		TEST_CLOSED(expired_files_go),
		TEST_CLOSED(nothing_goes_before_the_hour),
		TEST_CLOSED(the_oldest_files_go_beyond_the_bytes),
		TEST_CLOSED(a_full_disk_takes_the_oldest_although_not_expired),
		TEST_CLOSED(shared_queues_are_trimmed_too),
		TEST_CLOSED(shared_queues_shrink_beyond_the_bytes),
		TEST_CLOSED(index_rows_of_past_hours_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
