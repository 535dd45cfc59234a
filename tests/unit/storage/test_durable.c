/* What the store refuses to open, and what it says. */
#include <dirent.h>
#include <fcntl.h>
#include <zlib.h>

#include "store_test.h"
#include "storage/inspect.h"

static void path_in(char ret[300], const struct fixture *f, const char *name)
{
	snprintf(ret, 300, "%s/%s", f->dir, name);
}

static void on_file(const char *path, uint32_t *crc)
{
	FILE *file = fopen(path, "rb");
	struct stat st;
	char buffer[4096];
	size_t n;

	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &st), 0);
	*crc ^= (uint32_t)crc32(0, (const Bytef *)path, (uInt)strlen(path));
	*crc ^= (uint32_t)crc32(0, (const Bytef *)&st.st_mtim, sizeof st.st_mtim);
	while ((n = fread(buffer, 1, sizeof buffer, file)) > 0)
		*crc = (uint32_t)crc32(*crc, (const Bytef *)buffer, (uInt)n);
	fclose(file);
}

/* Names, times and bytes of all files. */
static uint32_t fingerprint(const struct fixture *f)
{
	static const char *const folders[] = { "", "db" };
	uint32_t sum = 0;

	for (int i = 0; i < 2; i++) {
		char folder[300], path[600];
		struct dirent *entry;
		DIR *dir;

		path_in(folder, f, folders[i]);
		dir = opendir(folder);
		assert_non_null(dir);
		while ((entry = readdir(dir))) {
			uint32_t crc = 0;

			if (entry->d_type != DT_REG)
				continue;
			snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
			on_file(path, &crc);
			sum += crc; /* whatever the order */
		}
		closedir(dir);
	}
	return sum;
}

/* The newer of the two slots claims format 2 (durable.c). */
static void claim_newer_format(const struct fixture *f)
{
	char path[300], slots[2][512] = {};
	int fd, newer;

	path_in(path, f, "durable");
	fd = open(path, O_RDWR);
	assert_true(pread(fd, slots, sizeof slots, 0) > 0);
	newer = mq_get64(slots[1] + 12) > mq_get64(slots[0] + 12);
	mq_put32(slots[newer] + 8, FORMAT_VERSION + 1);
	mq_put32(slots[newer] + 28, (uint32_t)crc32(0, (const Bytef *)slots[newer], 28));
	assert_int_equal(pwrite(fd, slots, sizeof slots, 0), sizeof slots);
	close(fd);
}

static void a_newer_format_is_refused_untouched(void **state)
{
	struct fixture *f = *state;
	struct inspect *in = NULL;
	struct mq_error err = {};
	uint32_t before;

	fixture_open(f);
	append(f, "T", 0, "x");
	fixture_close(f);
	claim_newer_format(f);
	before = fingerprint(f);
	assert_int_equal(fixture_open_error(f, &err), -EPROTO);
	assert_non_null(strstr(err.text, "format 2"));
	assert_int_equal(inspect_open(&in, f->dir, &err), -EPROTO);
	assert_int_equal(inspect_accept_loss(f->dir, &err), -EPROTO);
	assert_int_equal(fingerprint(f), before);
}

static void a_newer_format_is_refused_by_its_row(void **state)
{
	struct fixture *f = *state;
	struct mq_error err = {};
	char format[4], path[300];

	fixture_open(f);
	mq_put32(format, FORMAT_VERSION + 1);
	assert_int_equal(store_meta_put(f->store, META_STORE, MQ_SLICE("format"), (struct mq_slice){ format, 4 }), 0);
	fixture_close(f);
	path_in(path, f, "durable");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(fixture_open_error(f, &err), -EPROTO);
}

static void a_second_process_is_refused(void **state)
{
	struct fixture *f = *state;
	struct store *second = NULL;
	struct inspect *in = NULL;
	struct mq_error err = {};

	fixture_open(f);
	assert_int_equal(store_open(&second, &f->cfg, &err), -EBUSY);
	assert_non_null(strstr(err.text, f->dir));
	assert_int_equal(inspect_open(&in, f->dir, &err), -EBUSY);
	assert_int_equal(inspect_accept_loss(f->dir, &err), -EBUSY);
	fixture_close(f);
	assert_int_equal(inspect_open(&in, f->dir, &err), 0);
	assert_int_equal(fixture_open_error(f, &err), -EBUSY);
	inspect_close(in);
}

/* ---- a log that ends too early ---- */

static void append_50(struct fixture *f)
{
	for (int i = 0; i < 50; i++)
		assert_int_equal(append(f, "T", 0, "a message of some length, so that the log has a middle"), i);
}

static void log_path(char ret[300], const struct fixture *f)
{
	char folder[300];
	struct dirent *entry;
	unsigned long newest = 0, n;
	DIR *dir;

	path_in(folder, f, "db");
	dir = opendir(folder);
	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (strstr(entry->d_name, ".log") && (n = strtoul(entry->d_name, NULL, 10)) > newest)
			newest = n;
	closedir(dir);
	assert_true(newest > 0);
	snprintf(ret, 300, "%s/db/%06lu.log", f->dir, newest);
}

static void damage_log(const struct fixture *f, bool cuts)
{
	char path[300], byte;
	struct stat st;
	int fd;

	log_path(path, f);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_size > 1000);
	if (cuts) {
		assert_int_equal(ftruncate(fd, st.st_size - 100), 0);
	} else {
		assert_int_equal(pread(fd, &byte, 1, st.st_size / 2), 1);
		byte ^= 1;
		assert_int_equal(pwrite(fd, &byte, 1, st.st_size / 2), 1);
	}
	close(fd);
}

static void assert_lost_tail_is_noticed(struct fixture *f, bool cuts)
{
	struct inspect_summary sum;
	struct inspect *in = NULL;
	struct mq_error err = {};
	struct seen s;

	f->cfg.sync_flush = true;
	fixture_open(f);
	append_50(f);
	fixture_close(f);
	damage_log(f, cuts);

	assert_int_equal(inspect_open(&in, f->dir, &err), 0);
	assert_int_equal(inspect_check(in, NULL, NULL, &sum, &err), 0);
	assert_true(sum.n_faults > 0);
	assert_true(sum.sequence < sum.durable_sequence);
	inspect_close(in);

	/* and again: looking at it has not cured it */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fixture_open_error(f, &err), -EUCLEAN);
		assert_non_null(strstr(err.text, f->dir));
		assert_non_null(strstr(err.text, "--accept-loss"));
	}
	assert_int_equal(inspect_accept_loss(f->dir, &err), 0);
	fixture_open(f);
	s = scan(f, "T", 0, 0);
	assert_true(s.n < 50);
	assert_true(s.n == 0 || (s.first == 0 && s.is_dense));
	assert_int_equal(append(f, "T", 0, "next"), s.n);
	/* from now on the point is known again */
	fixture_reopen(f);
	assert_int_equal(scan(f, "T", 0, 0).n, s.n + 1);
}

static void a_flipped_byte_in_the_log_is_noticed(void **state)
{
	assert_lost_tail_is_noticed(*state, false);
}

static void a_cut_log_is_noticed(void **state)
{
	assert_lost_tail_is_noticed(*state, true);
}

/* RocksDB would begin a new database there, and delete the files of the old one. */
static void a_database_without_its_beginning_is_refused_untouched(void **state)
{
	struct fixture *f = *state;
	struct mq_error err = {};
	uint32_t before;
	char path[300];

	fixture_open(f);
	append_50(f);
	fixture_close(f);
	path_in(path, f, "db/CURRENT");
	assert_int_equal(unlink(path), 0);
	before = fingerprint(f);
	assert_int_equal(fixture_open_error(f, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, "CURRENT"));
	assert_int_equal(fingerprint(f), before);
}

static void what_was_not_durable_yet_may_be_missing(void **state)
{
	struct fixture *f = *state;
	struct seen s;

	/* No sync comes back before the end, or the log would be known to be on the disk. */
	atomic_store(&f->sync_stands, true);
	fixture_kill_after(f, append_50);
	atomic_store(&f->sync_stands, false);
	damage_log(f, true);
	fixture_open(f);
	s = scan(f, "T", 0, 0);
	assert_in_range(s.n, 1, 49);
	assert_int_equal(s.first, 0);
	assert_true(s.is_dense);
}

static void a_damaged_side_record_only_weakens_the_check(void **state)
{
	struct fixture *f = *state;
	char path[300];
	int fd;

	f->cfg.sync_flush = true;
	fixture_open(f);
	append_50(f);
	fixture_close(f);
	path_in(path, f, "durable");
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "xxxx", 4, 20), 4);
	assert_int_equal(pwrite(fd, "xxxx", 4, 512 + 20), 4);
	close(fd);
	fixture_open(f);
	assert_int_equal(scan(f, "T", 0, 0).n, 50);
}

static void damaged_rows_are_errors_with_a_sentence(void **state)
{
	struct fixture *f = *state;
	struct mq_error err = {};
	char name[4];

	fixture_open(f);
	append(f, "T", 0, "x");
	mq_put32(name, 1);
	assert_int_equal(store_meta_put(f->store, META_QUEUE, (struct mq_slice){ name, 4 }, MQ_SLICE("short")), 0);
	fixture_close(f);
	assert_int_equal(fixture_open_error(f, &err), -EBADMSG);
	assert_non_null(strstr(err.text, f->dir));
}

static void a_directory_that_cannot_be_is_an_error_with_a_sentence(void **state)
{
	struct fixture *f = *state;
	struct store_config cfg = f->cfg;
	struct inspect *in = NULL;
	struct mq_error err = {};

	cfg.path = "/nonexistent/store";
	assert_int_equal(store_open(&f->store, &cfg, &err), -ENOENT);
	assert_non_null(strstr(err.text, cfg.path));
	cfg.path = "/dev/null";
	assert_int_equal(store_open(&f->store, &cfg, &err), -ENOTDIR);
	assert_int_equal(inspect_open(&in, f->dir, &err), -ENOENT);
	/* looking made nothing */
	assert_int_equal(rmdir(f->dir), 0);
	assert_int_equal(mkdir(f->dir, 0700), 0);
}

static void a_write_that_fails_at_first_opening_says_so(void **state)
{
	struct fixture *f = *state;
	struct mq_error err = {};

	atomic_store(&f->write_error, -EIO);
	assert_int_equal(fixture_open_error(f, &err), -EIO);
	assert_non_null(strstr(err.text, f->dir));
	atomic_store(&f->write_error, 0);
	fixture_open(f);
	assert_int_equal(append(f, "T", 0, "x"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_CLOSED(a_newer_format_is_refused_untouched),
		TEST_CLOSED(a_newer_format_is_refused_by_its_row),
		TEST_CLOSED(a_second_process_is_refused),
		TEST_CLOSED(a_flipped_byte_in_the_log_is_noticed),
		TEST_CLOSED(a_cut_log_is_noticed),
		TEST_CLOSED(a_database_without_its_beginning_is_refused_untouched),
		TEST_CLOSED(what_was_not_durable_yet_may_be_missing),
		TEST_CLOSED(a_damaged_side_record_only_weakens_the_check),
		TEST_CLOSED(damaged_rows_are_errors_with_a_sentence),
		TEST_CLOSED(a_directory_that_cannot_be_is_an_error_with_a_sentence),
		TEST_CLOSED(a_write_that_fails_at_first_opening_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
