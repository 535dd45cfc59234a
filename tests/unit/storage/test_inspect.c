/* What mq-store check says of stores that are in order, and of stores that are damaged in one place. */
#include <dirent.h>
#include <fcntl.h>

#include "store_test.h"
#include "storage/inspect.h"

struct result {
	struct inspect_summary sum;
	int r;
	char sentences[4000];
};

static void on_fault(void *user, const char *sentence)
{
	struct result *res = user;
	size_t used = strlen(res->sentences);

	snprintf(res->sentences + used, sizeof res->sentences - used, "%s\n", sentence);
}

static struct result check(struct fixture *f)
{
	_cleanup_(inspect_closep) struct inspect *in = NULL;
	struct result res = {};
	struct mq_error err = {};

	res.r = inspect_open(&in, f->dir, &err);
	if (res.r == 0)
		res.r = inspect_check(in, on_fault, &res, &res.sum, &err);
	if (res.r < 0)
		on_fault(&res, err.text);
	return res;
}

static void assert_fault(struct fixture *f, const char *sentence)
{
	struct result res = check(f);

	if (res.r < 0 || res.sum.n_faults == 0 || !strstr(res.sentences, sentence))
		fail_msg("wanted: %s\ngot %d, %s", sentence, res.r, res.sentences);
}

static const int64_t DUE_AT_MS = 1800000000000;

/* Five messages with keys in T/0 (queue number 1), two in T/1, one half message (queue 3), one that waits (queue 4), an offset, a row. */
static void fill(struct fixture *f)
{
	int64_t locator;

	for (int i = 0; i < 5; i++)
		assert_int_equal(append_spec(f, &(struct message_spec){ .topic = "T", .body = "body", .keys = "k1 k2", .uniq_key = "U" },
					     &locator), i);
	assert_int_equal(locator_queue(locator), 1);
	append(f, "T", 1, "x");
	append(f, "T", 1, "y");
	append_spec(f, &(struct message_spec){ .topic = "HALF", .body = "h", .is_half = true }, NULL);
	append_spec(f, &(struct message_spec){ .topic = "LATER", .body = "l", .due_at_ms = DUE_AT_MS }, NULL);
	assert_int_equal(store_offset_set(f->store, MQ_SLICE("G"), MQ_SLICE("T"), 0, 2, store_offset_since()), 0);
	assert_int_equal(store_meta_put(f->store, "topic", MQ_SLICE("T"), MQ_SLICE("{}")), 0);
}

/* ---- in order ---- */

static off_t total_size(struct fixture *f, int64_t *ret_newest)
{
	char path[600], folder[100];
	struct dirent *entry;
	off_t sum = 0;
	DIR *dir;

	snprintf(folder, sizeof folder, "%s/db", f->dir);
	dir = opendir(folder);
	assert_non_null(dir);
	*ret_newest = 0;
	while ((entry = readdir(dir))) {
		struct stat st;
		int64_t at_ns;

		snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
		assert_int_equal(stat(path, &st), 0);
		at_ns = st.st_mtim.tv_sec * 1000000000ll + st.st_mtim.tv_nsec;
		sum += st.st_size + 1;
		if (at_ns > *ret_newest)
			*ret_newest = at_ns;
	}
	closedir(dir);
	return sum;
}

static void count_queue(void *user, const struct inspect_queue *q)
{
	char *text = user;

	snprintf(text + strlen(text), 200 - strlen(text), "%.*s/%d %d-%d ", MQ_FMT(q->topic), q->queue_id, (int)q->min, (int)q->max);
}

static void count_record(void *user, const struct inspect_queue *q, int64_t offset, int64_t tag_hash, struct mq_slice record)
{
	++*(int *)user;
}

static void count_index(void *user, int64_t store_at_ms, uint64_t hash, int64_t locator)
{
	++*(int *)user;
}

static void a_good_store_is_in_order_and_stays_as_it_is(void **state)
{
	struct fixture *f = *state;
	struct inspect *in = NULL;
	struct mq_error err = {};
	struct result res;
	int64_t before_ns, after_ns;
	off_t before;
	char queues[200] = "";
	int n_records = 0, n_index = 0;

	fill(f);
	fixture_close(f);
	before = total_size(f, &before_ns);
	res = check(f);
	assert_int_equal(res.r, 0);
	assert_string_equal(res.sentences, "");
	assert_int_equal(res.sum.n_faults, 0);
	assert_int_equal(res.sum.n_queues, 4);
	assert_int_equal(res.sum.n_records, 9);
	assert_int_equal(res.sum.n_index_rows, 15);
	assert_int_equal(res.sum.n_offset_rows, 1);
	assert_int_equal(res.sum.n_half_rows, 1);
	assert_int_equal(res.sum.n_due_rows, 1);
	assert_true(res.sum.sequence > 0 && res.sum.sequence == res.sum.durable_sequence);

	assert_int_equal(inspect_open(&in, f->dir, &err), 0);
	inspect_queues(in, count_queue, queues);
	assert_string_equal(queues, "HALF/0 0-1 LATER/0 0-1 T/0 0-5 T/1 0-2 ");
	assert_int_equal(inspect_records(in, MQ_SLICE("T"), -1, count_record, &n_records, &err), 7);
	assert_int_equal(inspect_records(in, MQ_SLICE("T"), 1, count_record, &n_records, &err), 2);
	assert_int_equal(inspect_index(in, count_index, &n_index, &err), 15);
	assert_int_equal(n_records, 9);
	assert_int_equal(n_index, 15);
	inspect_close(in);
	assert_int_equal(total_size(f, &after_ns), before);
	assert_int_equal(after_ns, before_ns);
	fixture_open(f);
	assert_int_equal(scan(f, "T", 0, 0).n, 5);
}

static void empty_directory(struct fixture *f)
{
	char command[100];

	snprintf(command, sizeof command, "rm -rf %s/*", f->dir);
	assert_int_equal(system(command), 0);
}

/* Retention, deleted topics, shared families and a kill leave nothing that looks like a fault. */
static void live_through_much(struct fixture *f)
{
	struct mq_error err;

	fill(f);
	append(f, "shared", 0, "x");
	append(f, "shared", 1, "x");
	append_spec(f, &(struct message_spec){ .topic = "gone", .body = "x", .keys = "k" }, NULL);
	assert_int_equal(store_topic_delete(f->store, MQ_SLICE("HALF"), NULL, 0), 0);
	assert_int_equal(store_topic_delete(f->store, MQ_SLICE("gone"), NULL, 0), 0);
	atomic_fetch_add(&f->now_ms, 60000);
	append(f, "T", 1, "young");
	append(f, "shared", 1, "young");
	assert_true(store_retain(f->store, &err) >= 0);
	append(f, "T", 1, "younger");
}

static void a_store_that_lived_is_in_order(void **state)
{
	struct fixture *f = *state;

	f->cfg.due_topics = (const char *const[]){ "LATER", NULL };
	f->cfg.max_families = 3;
	f->cfg.delete_hours = UINT32_MAX;
	f->cfg.retention_ms = 30000;
	for (int is_killed = 1; is_killed >= 0; is_killed--) {
		struct result res;

		if (is_killed) {
			fixture_kill_after(f, live_through_much);
		} else {
			fixture_open(f);
			live_through_much(f);
			fixture_close(f);
		}
		res = check(f);
		assert_string_equal(res.sentences, "");
		assert_int_equal(res.r, 0);
		assert_int_equal(res.sum.n_faults, 0);
		empty_directory(f);
	}
}

/* ---- damaged ---- */

/* Changes the record of T/0 at `offset`: `at` is the place of a byte of the wire record; -1: the record goes. */
static void damage_record(struct fixture *f, int64_t offset, int at, unsigned char mask)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	rocksdb_column_family_handle_t *cf = queue_of(f, "T", 0)->family->cf;
	char key[RECORD_KEY_SIZE], *value;
	size_t n;

	record_key(key, 1, offset);
	if (at < 0) {
		rocksdb_delete_cf(f->store->db, f->store->write_options, cf, key, sizeof key, &text);
	} else {
		value = rocksdb_get_cf(f->store->db, f->store->read_options[STORE_DISK], cf, key, sizeof key, &n, &text);
		assert_non_null(value);
		assert_in_range(at, 0, n - RECORD_VALUE_PREFIX - 1);
		value[RECORD_VALUE_PREFIX + at] ^= (char)mask;
		rocksdb_put_cf(f->store->db, f->store->write_options, cf, key, sizeof key, value, n, &text);
		rocksdb_free(value);
	}
	assert_null(text);
}

struct damage {
	const char *name;
	int64_t offset;
	int at;
	unsigned char mask;
	const char *sentence;
};

/* Places in the wire record: protocol/message.md section 1. The body of four bytes is at 88, the topic behind it. */
static void each_damage_of_a_record_is_found(void **state)
{
	static const struct damage damages[] = {
		{ "deleted within", 2, -1, 0, "T/0: offsets 2 to 2 are missing" },
		{ "deleted first", 0, -1, 0, "T/0: offsets 0 to 0 are missing" },
		{ "body", 3, 90, 1, "T/0 offset 3: the body does not match its CRC" },
		{ "queue id", 1, 15, 4, "T/0 offset 1: the record belongs to T/4" },
		{ "queue offset", 1, 27, 8, "T/0 offset 1: the record says offset 9" },
		{ "locator", 1, 35, 2, "T/0 offset 1: the record has another locator" },
		{ "store time", 4, 59, 1, "stored before the message in front of it" },
		{ "topic", 1, 93, 1, "T/0 offset 1: the record belongs to U/0" },
		{ "size", 1, 3, 1, "T/0 offset 1: not a message record" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < N_ELEMENTS(damages); i++) {
		const struct damage *d = &damages[i];

		fixture_open(f);
		atomic_store(&f->now_ms, 1700000000001); /* odd: the flipped bit makes it less */
		fill(f);
		damage_record(f, d->offset, d->at, d->mask);
		fixture_close(f);
		assert_fault(f, d->sentence);
		empty_directory(f);
	}
}

/* The last of a queue leaves no gap: its index rows tell. */
static void a_missing_last_record_is_found_by_its_index_rows(void **state)
{
	struct fixture *f = *state;

	fill(f);
	damage_record(f, 4, -1, 0);
	fixture_close(f);
	assert_fault(f, "where no message is");
}

static void index_row(char ret[INDEX_KEY_SIZE], struct fixture *f, const char *key, int64_t at_ms, int64_t locator)
{
	mq_put64(mq_put64(mq_put64(mq_put32(ret, index_hour(atomic_load(&f->now_ms))), index_hash(MQ_SLICE("T"), mq_slice_of(key))),
			  (uint64_t)at_ms), (uint64_t)locator);
}

static void index_rows_that_name_no_message_are_found(void **state)
{
	struct fixture *f = *state;
	char row[INDEX_KEY_SIZE];
	int64_t now_ms = atomic_load(&f->now_ms);
	struct mq_slice key = { row, sizeof row }, empty = MQ_SLICE("");

	fill(f);
	index_row(row, f, "k1", now_ms, locator_make(1, 99));
	raw(f, CF_INDEX, key, &empty);
	fixture_close(f);
	assert_fault(f, "index: a row names locator 1099511627875, where no message is");

	fixture_open(f);
	raw(f, CF_INDEX, key, NULL);
	index_row(row, f, "k3", now_ms, locator_make(1, 2));
	raw(f, CF_INDEX, key, &empty);
	fixture_close(f);
	assert_fault(f, "under a key that the message does not have");

	fixture_open(f);
	raw(f, CF_INDEX, key, NULL);
	index_row(row, f, "k1", now_ms + 1, locator_make(1, 2));
	raw(f, CF_INDEX, key, &empty);
	fixture_close(f);
	assert_fault(f, "another store time");

	fixture_open(f);
	raw(f, CF_INDEX, key, NULL);
	index_row(row, f, "k1", now_ms, locator_make(1, 2));
	row[3] ^= 1;
	raw(f, CF_INDEX, key, &empty);
	fixture_close(f);
	assert_fault(f, "index: the row of locator 1099511627778 is filed under a wrong hour");

	fixture_open(f);
	raw(f, CF_INDEX, key, NULL);
	raw(f, CF_INDEX, MQ_SLICE("short"), &empty);
	fixture_close(f);
	assert_fault(f, "index: a row of 5 bytes");

	/* a row that is missing: the message is not found by its key any more */
	fixture_open(f);
	raw(f, CF_INDEX, MQ_SLICE("short"), NULL);
	index_row(row, f, "k2", now_ms, locator_make(1, 2));
	raw(f, CF_INDEX, key, NULL);
	fixture_close(f);
	assert_fault(f, "T/0 offset 2: the index has no row for its key k2");
}

/* T/0 claims another family. */
static void put_queue_row(struct fixture *f, uint32_t family)
{
	char name[] = META_QUEUE "\0\0\0\0\1", row[QUEUE_ROW_SIZE + 1];

	*mq_put32(mq_put32(mq_put8(mq_put64(row, 0), FAMILY_OWN), family), 0) = 'T';
	raw(f, CF_META, (struct mq_slice){ name, sizeof name - 1 }, &(struct mq_slice){ row, sizeof row });
}

static void damaged_rows_are_found(void **state)
{
	struct fixture *f = *state;
	struct mq_slice empty = MQ_SLICE("");
	char half[8];

	fill(f);
	mq_put64(half, (uint64_t)locator_make(1, 77));
	raw(f, CF_HALF, (struct mq_slice){ half, 8 }, &empty);
	raw(f, CF_OFFSETS, MQ_SLICE("no zero bytes"), &empty);
	raw(f, CF_META, MQ_SLICE(META_STORE "\0next-queue"), &(struct mq_slice){ "\0\0\0\1", 4 });
	raw(f, CF_META, MQ_SLICE(META_STORE "\0counters"), &(struct mq_slice){ "\0\0\0\1", 4 });
	fixture_close(f);
	assert_fault(f, "half: a transaction is open for locator 1099511627853, where no message is");
	assert_fault(f, "offsets: a row is damaged");
	assert_fault(f, "meta: the next queue number is 1, but queue 4 exists");
	assert_fault(f, "meta: the row of the counters is damaged");
	assert_int_equal(check(f).sum.n_faults, 4);
}

/* Of a message that waits: where none is, at another time than it says, and such as no broker writes. */
static void damaged_rows_of_what_is_due_are_found(void **state)
{
	static const struct {
		int64_t at_ms, locator;
		unsigned char kind;
		const char *value, *sentence, *group;
	} rows[] = {
		{ DUE_AT_MS, 4ll << QUEUE_OFFSET_BITS | 9, STORE_DUE_MESSAGE, "", "due: a row names locator 4398046511113, where no message is" },
		{ DUE_AT_MS + 1, 4ll << QUEUE_OFFSET_BITS, STORE_DUE_MESSAGE, "",
		  "due: the row of locator 4398046511104 has another time than the message" },
		{ DUE_AT_MS, 4ll << QUEUE_OFFSET_BITS, 77, "",
		  "due: a row is damaged: 0 bytes of value, key 0x000001a3185c50004d0000040000000000" },
		{ DUE_AT_MS, 4ll << QUEUE_OFFSET_BITS, STORE_DUE_MESSAGE, "value", "due: a row is damaged" },
		{ DUE_AT_MS, 4ll << QUEUE_OFFSET_BITS, STORE_DUE_MESSAGE, "", "due: a row is damaged", "group" },
		{ DUE_AT_MS, 4ll << QUEUE_OFFSET_BITS, STORE_DUE_POP, "123456789", "due: a row is damaged" },
		{ DUE_AT_MS, 4ll << QUEUE_OFFSET_BITS, STORE_DUE_POP, "12345678", "due: a row is damaged", "group" },
		{ DUE_AT_MS, 4ll << QUEUE_OFFSET_BITS | 9, STORE_DUE_POP, "123456789",
		  "due: a row names locator 4398046511113, where no message is", "group" },
	};
	struct fixture *f = *state;
	char key[DUE_KEY_MAX], *end;

	for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
		fixture_open(f);
		fill(f);
		end = mq_put64(mq_put8(mq_put64(key, (uint64_t)rows[i].at_ms), rows[i].kind), (uint64_t)rows[i].locator);
		if (rows[i].group)
			end = mq_put_bytes(end, rows[i].group, strlen(rows[i].group));
		raw(f, CF_DUE, (struct mq_slice){ key, (size_t)(end - key) }, &(struct mq_slice){ rows[i].value, strlen(rows[i].value) });
		fixture_close(f);
		assert_fault(f, rows[i].sentence);
		empty_directory(f);
	}
}

static void a_waiting_message_that_was_dropped_is_found(void **state)
{
	struct fixture *f = *state;
	char name[] = META_QUEUE "\0\0\0\0\4", row[QUEUE_ROW_SIZE + 5];

	fill(f);
	memcpy(mq_put32(mq_put32(mq_put8(mq_put64(row, 1), FAMILY_OWN), queue_of(f, "LATER", 0)->family->number), 0), "LATER", 5);
	raw(f, CF_META, (struct mq_slice){ name, sizeof name - 1 }, &(struct mq_slice){ row, sizeof row });
	fixture_close(f);
	assert_fault(f, "due: the message of locator 4398046511104 waits, but was dropped");
}

/* Rows of a family that nobody would ever read, or that a wrong consumer would get. */
static void damaged_keys_of_records_are_found(void **state)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	struct fixture *f = *state;
	rocksdb_column_family_handle_t *cf;
	char key[RECORD_KEY_SIZE], *value;
	size_t n;

	fill(f);
	cf = queue_of(f, "T", 0)->family->cf;
	record_key(key, 2, 7);
	rocksdb_put_cf(f->store->db, f->store->write_options, cf, key, sizeof key, "x", 1, &text);
	rocksdb_put_cf(f->store->db, f->store->write_options, cf, "short", 5, "x", 1, &text);
	record_key(key, 1, 3);
	value = rocksdb_get_cf(f->store->db, f->store->read_options[STORE_DISK], cf, key, sizeof key, &n, &text);
	assert_non_null(value);
	value[RECORD_VALUE_PREFIX - 1] ^= 1;
	rocksdb_put_cf(f->store->db, f->store->write_options, cf, key, sizeof key, value, n, &text);
	rocksdb_free(value);
	assert_null(text);
	fixture_close(f);
	assert_fault(f, "records of queue 2, which does not live there");
	assert_fault(f, "a key of 5 bytes, not 12");
	assert_fault(f, "T/0 offset 3: the tag hash is not that of its tag");
	assert_int_equal(check(f).sum.n_faults, 3);
}

static void a_queue_with_two_rows_is_found(void **state)
{
	struct fixture *f = *state;
	char name[] = META_QUEUE "\0\0\0\0\2", row[QUEUE_ROW_SIZE + 1];

	fill(f);
	*mq_put32(mq_put32(mq_put8(mq_put64(row, 0), FAMILY_OWN), queue_of(f, "T", 1)->family->number), 0) = 'T';
	raw(f, CF_META, (struct mq_slice){ name, sizeof name - 1 }, &(struct mq_slice){ row, sizeof row });
	fixture_close(f);
	assert_fault(f, "topic T queue 0 has two rows");
}

static void a_family_with_two_queues_is_found(void **state)
{
	struct fixture *f = *state;

	fill(f);
	put_queue_row(f, queue_of(f, "T", 1)->family->number);
	fixture_close(f);
	assert_fault(f, "is claimed by 2 queues");
	assert_int_equal(fixture_open_error(f, &(struct mq_error){}), -EUCLEAN);
}

static void a_queue_without_its_family_is_found(void **state)
{
	struct fixture *f = *state;

	fill(f);
	put_queue_row(f, 999);
	fixture_close(f);
	assert_fault(f, "queue 1 (T/0): its column family f999 is missing");
	assert_int_equal(fixture_open_error(f, &(struct mq_error){}), -EUCLEAN);
}

static void a_damaged_queue_row_is_found(void **state)
{
	struct fixture *f = *state;
	char name[] = META_QUEUE "\0\0\0\0\1";

	fill(f);
	raw(f, CF_META, (struct mq_slice){ name, sizeof name - 1 }, &MQ_SLICE("damaged"));
	fixture_close(f);
	assert_fault(f, "meta: the row of a queue is damaged");
}

static void a_flipped_byte_in_a_file_is_found(void **state)
{
	struct fixture *f = *state;
	const rocksdb_livefiles_t *live;
	char path[200], byte;
	struct result res;
	int fd;

	fill(f);
	flush_queue(f, "T", 0);
	live = rocksdb_livefiles(f->store->db);
	assert_int_equal(rocksdb_livefiles_count(live), 1);
	snprintf(path, sizeof path, "%s/db%s", f->dir, rocksdb_livefiles_name(live, 0));
	rocksdb_livefiles_destroy(live);
	fixture_close(f);
	fd = open(path, O_RDWR);
	assert_int_equal(pread(fd, &byte, 1, 100), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, 100), 1);
	close(fd);
	res = check(f);
	assert_true(res.r == -EIO || res.sum.n_faults > 0);
	assert_string_not_equal(res.sentences, "");
}

/* RocksDB opens no database whose files are ahead of a log that is damaged in its middle. */
static void what_repair_cannot_mend_stays_as_it_is(void **state)
{
	struct fixture *f = *state;
	struct mq_error err = {};
	char path[200], before[1024], after[1024];
	int durable;
	ssize_t n;

	fill(f);
	flush_queue(f, "T", 0);
	append(f, "T", 0, "in another log");
	flush_queue(f, "T", 0);
	fixture_close(f);
	snprintf(path, sizeof path, "ls %s/db/*.log | head -n 1 | xargs truncate -s -30", f->dir);
	assert_int_equal(system(path), 0);
	snprintf(path, sizeof path, "%s/durable", f->dir);
	durable = open(path, O_RDONLY);
	n = pread(durable, before, sizeof before, 0);
	assert_true(n > 0);

	assert_int_equal(fixture_open_error(f, &err), -EIO);
	assert_non_null(strstr(err.text, "restore a backup"));
	assert_int_equal(check(f).r, -EIO);
	assert_int_equal(inspect_accept_loss(f->dir, &err), -EIO);
	assert_non_null(strstr(err.text, "restore a backup"));
	assert_int_equal(pread(durable, after, sizeof after, 0), n);
	assert_memory_equal(before, after, n);
	close(durable);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_CLOSED(a_store_that_lived_is_in_order), /* first: forks */
		TEST(a_good_store_is_in_order_and_stays_as_it_is),
		TEST_CLOSED(each_damage_of_a_record_is_found),
		TEST(a_missing_last_record_is_found_by_its_index_rows),
		TEST(index_rows_that_name_no_message_are_found),
		TEST(damaged_rows_are_found),
		TEST_CLOSED(damaged_rows_of_what_is_due_are_found),
		TEST(a_waiting_message_that_was_dropped_is_found),
		TEST(damaged_keys_of_records_are_found),
		TEST(a_queue_with_two_rows_is_found),
		TEST(a_family_with_two_queues_is_found),
		TEST(a_queue_without_its_family_is_found),
		TEST(a_damaged_queue_row_is_found),
		TEST(a_flipped_byte_in_a_file_is_found),
		TEST(what_repair_cannot_mend_stays_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
