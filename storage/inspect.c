/* The database is opened read-only, which replays the log in memory and writes nothing; the lock file keeps brokers out meanwhile. */
#include "storage/inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "libmq/wire/message_properties.h"
#include "libmq/wire/record.h"
#include "storage/durable.h"
#include "storage/internal.h"
#include "storage/override.h"

enum { INSPECT_MEMORY = 64 << 20 }; /* bytes for the cache; read-only, so the write buffers stay empty */

struct family {
	rocksdb_column_family_handle_t *cf; /* owned */
	char name[16];
	bool is_shared;
	uint32_t number;
	unsigned n_queues; /* rows that name it */
};

struct queue {
	struct inspect_queue q;
	struct family *family; /* NULL: none */
	char topic[NAME_MAX_BYTES];
};

struct inspect {
	char path[4096];
	int lock_fd, dir_fd;
	struct store_options options;
	rocksdb_t *db;
	rocksdb_readoptions_t *read_options;
	rocksdb_column_family_handle_t *cf[N_SYSTEM_FAMILIES];
	struct family *families; /* owned array */
	size_t n_families;
	struct queue *queues; /* owned array, by number */
	size_t n_queues;
	struct queue **sorted; /* owned array, by topic and queue id */

	inspect_on_fault on_fault;
	void *user;
	struct inspect_summary sum;
};

static void fault(struct inspect *in, const char *fmt, ...) _printf_(2, 3);

static void fault(struct inspect *in, const char *fmt, ...)
{
	char sentence[1500];
	va_list ap;

	in->sum.n_faults++;
	if (!in->on_fault)
		return;
	va_start(ap, fmt);
	vsnprintf(sentence, sizeof sentence, fmt, ap);
	va_end(ap);
	in->on_fault(in->user, sentence);
}

/* ---- opening ---- */

static int inspect_lock(struct inspect *in, struct mq_error *err)
{
	in->dir_fd = open(in->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (in->dir_fd < 0)
		return mq_error_set(err, -errno, "cannot open %s: %s", in->path, strerror(errno));
	in->lock_fd = openat(in->dir_fd, "LOCK", O_RDONLY | O_CLOEXEC);
	if (in->lock_fd < 0)
		return mq_error_set(err, -errno, errno == ENOENT ? "%s is no store: it has no LOCK (%s)" : "cannot open %s/LOCK: %s",
				    in->path, strerror(errno));
	if (flock(in->lock_fd, LOCK_SH | LOCK_NB) < 0)
		return mq_error_set(err, errno == EWOULDBLOCK ? -EBUSY : -errno, "%s is in use: stop its broker first", in->path);
	return 0;
}

static int inspect_check_format(struct inspect *in, struct mq_error *err)
{
	struct durable durable;
	uint64_t generation;
	unsigned slot;
	int r = durable_read(in->dir_fd, &durable, &slot, &generation);

	if (r < 0)
		return mq_error_set(err, r, "cannot read %s/durable: %s", in->path, strerror(-r));
	if (r == STORE_NONE)
		return 0;
	in->sum.durable_sequence = durable.sequence;
	if (durable.format > FORMAT_VERSION)
		return mq_error_set(err, -EPROTO, "%s has format %u, this program knows %d: use a newer version", in->path,
				    durable.format, FORMAT_VERSION);
	return 0;
}

static int family_by_name(const void *a, const void *b)
{
	const struct family *x = a, *y = b;

	if (x->is_shared != y->is_shared)
		return x->is_shared - y->is_shared;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* Opens all families that are there; `names` has n entries. */
static int inspect_open_families(struct inspect *in, const char *path, char *const *names, size_t n, struct mq_error *err)
{
	_cleanup_(freep) rocksdb_column_family_handle_t **cf = calloc(n + 1, sizeof *cf);
	_cleanup_(freep) const rocksdb_options_t **options = calloc(n + 1, sizeof *options);
	_cleanup_(rocksdb_textp) char *text = NULL;
	unsigned found = 0;

	in->families = calloc(n + 1, sizeof *in->families);
	if (!cf || !options || !in->families)
		return mq_error_set(err, -ENOMEM, "no memory for %zu families", n);
	for (size_t i = 0; i < n; i++)
		options[i] = in->options.db;
	in->db = rocksdb_open_for_read_only_column_families(in->options.db, path, (int)n, (const char *const *)names, options, cf, 0,
							    &text);
	if (!in->db)
		return mq_error_set(err, -EIO, "%s: %s", path, text);

	for (size_t i = 0; i < n; i++) {
		struct family f = { .cf = cf[i] };
		int system = -1;

		for (int k = 0; k < N_SYSTEM_FAMILIES; k++)
			if (strcmp(names[i], system_family_names[k]) == 0)
				system = k;
		if (system >= 0) {
			in->cf[system] = cf[i];
			found |= BIT(system);
		} else if (family_name_parse(names[i], &f.is_shared, &f.number)) {
			snprintf(f.name, sizeof f.name, "%s", names[i]);
			in->families[in->n_families++] = f;
		} else {
			rocksdb_column_family_handle_destroy(cf[i]);
		}
	}
	if (found != BIT(N_SYSTEM_FAMILIES) - 1)
		return mq_error_set(err, -EBADMSG, "%s lacks one of the store's own column families", path);
	qsort(in->families, in->n_families, sizeof *in->families, family_by_name);
	return 0;
}

static int inspect_open_database(struct inspect *in, struct mq_error *err)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	char path[sizeof in->path + 4];
	char **names;
	size_t n;
	int r;

	snprintf(path, sizeof path, "%s/db", in->path);
	if (faccessat(in->dir_fd, "db/CURRENT", R_OK, 0) < 0)
		return mq_error_set(err, -errno, "%s holds no database: %s", in->path, strerror(errno));
	if (store_options_init(&in->options, INSPECT_MEMORY) < 0)
		return mq_error_set(err, -EIO, "RocksDB refuses its options");
	rocksdb_options_set_create_if_missing(in->options.db, 0);
	rocksdb_options_set_create_missing_column_families(in->options.db, 0);
	rocksdb_options_set_block_based_table_factory(in->options.db, in->options.table);
	in->read_options = rocksdb_readoptions_create();
	rocksdb_readoptions_set_fill_cache(in->read_options, 0);
	rocksdb_readoptions_set_readahead_size(in->read_options, 2 << 20);

	names = rocksdb_list_column_families(in->options.db, path, &n, &text);
	if (text)
		return mq_error_set(err, -EIO, "%s: %s", path, text);
	r = inspect_open_families(in, path, names, n, err);
	rocksdb_list_column_families_destroy(names, n);
	if (r == 0)
		in->sum.sequence = rocksdb_get_latest_sequence_number(in->db);
	return r;
}

/* ---- queues ---- */

static rocksdb_iterator_t *inspect_iterator(struct inspect *in, rocksdb_column_family_handle_t *cf)
{
	return rocksdb_create_iterator_cf(in->db, in->read_options, cf);
}

static int inspect_status(struct inspect *in, rocksdb_iterator_t *it, const char *what, struct mq_error *err)
{
	_cleanup_(rocksdb_textp) char *text = NULL;

	rocksdb_iter_get_error(it, &text);
	return text ? mq_error_set(err, -EIO, "%s: cannot read %s: %s", in->path, what, text) : 0;
}

static struct family *inspect_family(struct inspect *in, bool is_shared, uint32_t number)
{
	struct family key = { .is_shared = is_shared, .number = number };

	return bsearch(&key, in->families, in->n_families, sizeof key, family_by_name);
}

static int queue_by_number_compare(const void *a, const void *b)
{
	const struct queue *x = a, *y = b;

	return x->q.number < y->q.number ? -1 : x->q.number > y->q.number;
}

static int queue_by_topic_compare(const void *a, const void *b)
{
	const struct inspect_queue *x = &(*(struct queue *const *)a)->q, *y = &(*(struct queue *const *)b)->q;
	size_t n = x->topic.n < y->topic.n ? x->topic.n : y->topic.n;
	int r = memcmp(x->topic.p, y->topic.p, n);

	if (r == 0)
		r = (x->topic.n > y->topic.n) - (x->topic.n < y->topic.n);
	return r ? r : (x->queue_id > y->queue_id) - (x->queue_id < y->queue_id);
}

static struct queue *inspect_queue(struct inspect *in, uint32_t number)
{
	struct queue key = { .q.number = number };

	return bsearch(&key, in->queues, in->n_queues, sizeof key, queue_by_number_compare);
}

/* Where the records of a queue end. */
static void queue_find_end(struct inspect *in, struct queue *q)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it = q->family ? inspect_iterator(in, q->family->cf) : NULL;
	char last[RECORD_KEY_SIZE];

	q->q.max = q->q.min;
	if (!it)
		return;
	record_key(last, q->q.number, INT64_MAX);
	rocksdb_iter_seek_for_prev(it, last, sizeof last);
	if (!rocksdb_iter_valid(it))
		return;

	struct mq_slice key = iterator_key(it);

	if (key.n == RECORD_KEY_SIZE && mq_get32(key.p) == q->q.number && (int64_t)mq_get64(key.p + 4) >= q->q.min)
		q->q.max = (int64_t)mq_get64(key.p + 4) + 1;
}

/* A damaged row is left out here and reported by the check. */
static int inspect_add_queue(struct inspect *in, size_t *capacity, struct mq_slice name, struct mq_slice value)
{
	struct queue_row row;
	struct queue *q;

	if (name.n != 4 || queue_row_decode(value, &row) < 0)
		return 0;
	if (in->n_queues == *capacity) {
		size_t wanted = *capacity ? *capacity * 2 : 64;
		struct queue *more = reallocarray(in->queues, wanted, sizeof *more);

		if (!more)
			return -ENOMEM;
		in->queues = more;
		*capacity = wanted;
	}
	q = &in->queues[in->n_queues++];
	*q = (struct queue){ .q = { .number = mq_get32(name.p), .queue_id = row.queue_id, .min = row.min, .topic.n = row.topic.n } };
	memcpy(q->topic, row.topic.p, row.topic.n);
	if (row.kind != FAMILY_NONE) {
		snprintf(q->q.family, sizeof q->q.family, "%c%u", row.kind == FAMILY_SHARED ? 's' : 'f', row.family);
		q->family = inspect_family(in, row.kind == FAMILY_SHARED, row.family);
		if (q->family)
			q->family->n_queues++;
	}
	return 0;
}

static struct mq_slice inspect_queue_prefix(char key[META_KEY_MAX])
{
	return (struct mq_slice){ key, meta_key(key, META_QUEUE, (struct mq_slice){}) };
}

static int inspect_load_queues(struct inspect *in, struct mq_error *err)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it = inspect_iterator(in, in->cf[CF_META]);
	char key[META_KEY_MAX];
	struct mq_slice prefix = inspect_queue_prefix(key);
	size_t capacity = 0;
	int r;

	for (rocksdb_iter_seek(it, prefix.p, prefix.n); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		struct mq_slice name = iterator_key(it);

		if (!mq_slice_starts(name, prefix))
			break;
		name.p += prefix.n;
		name.n -= prefix.n;
		if (inspect_add_queue(in, &capacity, name, iterator_value(it)) < 0)
			return mq_error_set(err, -ENOMEM, "no memory for the queues");
	}
	r = inspect_status(in, it, "the queues' rows", err);
	if (r < 0)
		return r;

	in->sorted = calloc(in->n_queues + 1, sizeof *in->sorted);
	if (!in->sorted)
		return mq_error_set(err, -ENOMEM, "no memory for the queues");
	for (size_t i = 0; i < in->n_queues; i++) {
		struct queue *q = &in->queues[i];

		q->q.topic.p = q->topic; /* the array does not move any more, and rows come by number */
		queue_find_end(in, q);
		in->sorted[i] = q;
	}
	qsort(in->sorted, in->n_queues, sizeof *in->sorted, queue_by_topic_compare);
	return 0;
}

int inspect_open(struct inspect **ret, const char *path, struct mq_error *err)
{
	_cleanup_(inspect_closep) struct inspect *in = calloc(1, sizeof *in);
	int r;

	if (!in)
		return mq_error_set(err, -ENOMEM, "no memory");
	in->lock_fd = in->dir_fd = -1;
	if (snprintf(in->path, sizeof in->path, "%s", path) >= (int)sizeof in->path)
		return mq_error_set(err, -ENAMETOOLONG, "the path of the store is too long");
	store_override_prepare();
	r = inspect_lock(in, err);
	if (r == 0)
		r = inspect_check_format(in, err);
	if (r == 0)
		r = inspect_open_database(in, err);
	if (r == 0)
		r = inspect_load_queues(in, err);
	if (r < 0)
		return r;
	*ret = TAKE(in);
	return 0;
}

struct inspect *inspect_close(struct inspect *in)
{
	if (!in)
		return NULL;
	for (size_t i = 0; i < in->n_families; i++)
		rocksdb_column_family_handle_destroy(in->families[i].cf);
	for (int i = 0; i < N_SYSTEM_FAMILIES; i++)
		if (in->cf[i])
			rocksdb_column_family_handle_destroy(in->cf[i]);
	if (in->db)
		rocksdb_close(in->db);
	if (in->read_options)
		rocksdb_readoptions_destroy(in->read_options);
	store_options_done(&in->options);
	if (in->lock_fd >= 0)
		close(in->lock_fd);
	if (in->dir_fd >= 0)
		close(in->dir_fd);
	free(in->families);
	free(in->queues);
	free(in->sorted);
	free(in);
	return NULL;
}

/* ---- dumping ---- */

void inspect_queues(struct inspect *in, inspect_on_queue each, void *user)
{
	for (size_t i = 0; i < in->n_queues; i++)
		each(user, &in->sorted[i]->q);
}

int64_t inspect_records(struct inspect *in, struct mq_slice topic, int32_t queue_id, inspect_on_record each, void *user,
			struct mq_error *err)
{
	int64_t n = 0;

	for (size_t i = 0; i < in->n_queues; i++) {
		struct queue *q = in->sorted[i];

		if (!q->family || !mq_slice_equal(q->q.topic, topic) || (queue_id >= 0 && q->q.queue_id != queue_id))
			continue;

		_cleanup_(iteratorp) rocksdb_iterator_t *it = inspect_iterator(in, q->family->cf);
		char first[RECORD_KEY_SIZE];
		int r;

		record_key(first, q->q.number, q->q.min);
		for (rocksdb_iter_seek(it, first, sizeof first); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
			struct mq_slice key = iterator_key(it), value = iterator_value(it);

			if (key.n != RECORD_KEY_SIZE || mq_get32(key.p) != q->q.number)
				break;
			if (value.n < RECORD_VALUE_PREFIX)
				continue;
			each(user, &q->q, (int64_t)mq_get64(key.p + 4), (int64_t)mq_get64(value.p),
			     (struct mq_slice){ value.p + RECORD_VALUE_PREFIX, value.n - RECORD_VALUE_PREFIX });
			n++;
		}
		r = inspect_status(in, it, "records", err);
		if (r < 0)
			return r;
	}
	return n;
}

int64_t inspect_index(struct inspect *in, inspect_on_index each, void *user, struct mq_error *err)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it = inspect_iterator(in, in->cf[CF_INDEX]);
	int64_t n = 0;
	int r;

	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		struct mq_slice key = iterator_key(it);

		if (key.n != INDEX_KEY_SIZE)
			continue;
		each(user, (int64_t)mq_get64(key.p + 12), mq_get64(key.p + 4), (int64_t)mq_get64(key.p + 20));
		n++;
	}
	r = inspect_status(in, it, "the index", err);
	return r < 0 ? r : n;
}

/* ---- checking ---- */

static void check_families(struct inspect *in)
{
	for (size_t i = 0; i < in->n_queues; i++) {
		struct queue *q = &in->queues[i];

		if (q->q.family[0] && !q->family)
			fault(in, "queue %u (%.*s/%d): its column family %s is missing", q->q.number, MQ_FMT(q->q.topic), q->q.queue_id,
			      q->q.family);
		if (i > 0 && queue_by_topic_compare(&in->sorted[i - 1], &in->sorted[i]) == 0)
			fault(in, "topic %.*s queue %d has two rows", MQ_FMT(in->sorted[i]->q.topic), in->sorted[i]->q.queue_id);
	}
	for (size_t i = 0; i < in->n_families; i++) {
		struct family *f = &in->families[i];

		in->sum.n_families++;
		if (f->n_queues == 0 && !f->is_shared)
			in->sum.n_spare_families++;
		if (f->n_queues > 1 && !f->is_shared)
			fault(in, "column family %s is claimed by %u queues", f->name, f->n_queues);
	}
}

static void check_has_index_row(struct inspect *in, const struct queue *q, const struct mq_record *r, struct mq_slice key)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	_cleanup_(pinnedp) rocksdb_pinnableslice_t *row = NULL;
	char name[INDEX_KEY_SIZE];

	index_key(name, index_hash(r->topic, key), r->store_at_ms, r->physical_offset);
	row = rocksdb_get_pinned_cf(in->db, in->read_options, in->cf[CF_INDEX], name, sizeof name, &text);
	if (!row)
		fault(in, "%.*s/%d offset %lld: the index has no row for its key %.*s", MQ_FMT(q->q.topic), q->q.queue_id,
		      (long long)r->queue_offset, MQ_FMT(key));
}

static void check_keys(struct inspect *in, const struct queue *q, const struct mq_record *r)
{
	struct mq_slice keys = mq_properties_get(r->properties, MQ_PROPERTY_KEYS), key;

	while ((key = index_next_key(&keys)).n > 0)
		check_has_index_row(in, q, r, key);
	key = mq_properties_get(r->properties, MQ_PROPERTY_UNIQ_KEY);
	if (key.n > 0)
		check_has_index_row(in, q, r, key);
}

/* The record's own members against the place where it was found. */
static void check_record(struct inspect *in, const struct queue *q, int64_t offset, struct mq_slice value, int64_t *last_at_ms)
{
	struct mq_slice record = { value.p + RECORD_VALUE_PREFIX, value.n - RECORD_VALUE_PREFIX };
	struct mq_record r;
	int size;

	size = value.n < RECORD_VALUE_PREFIX + RECORD_SIZE_MIN ? -EBADMSG : mq_record_decode(record, &r);
	if (size < 0 || (size_t)size != record.n) {
		fault(in, "%.*s/%d offset %lld: not a message record", MQ_FMT(q->q.topic), q->q.queue_id, (long long)offset);
		return;
	}
	if (r.queue_offset != offset)
		fault(in, "%.*s/%d offset %lld: the record says offset %lld", MQ_FMT(q->q.topic), q->q.queue_id, (long long)offset,
		      (long long)r.queue_offset);
	if (r.physical_offset != locator_make(q->q.number, offset))
		fault(in, "%.*s/%d offset %lld: the record has another locator, %lld", MQ_FMT(q->q.topic), q->q.queue_id,
		      (long long)offset, (long long)r.physical_offset);
	if (r.queue_id != q->q.queue_id || !mq_slice_equal(r.topic, q->q.topic))
		fault(in, "%.*s/%d offset %lld: the record belongs to %.*s/%d", MQ_FMT(q->q.topic), q->q.queue_id, (long long)offset,
		      MQ_FMT(r.topic), r.queue_id);
	if (r.body_crc != mq_body_crc(r.body))
		fault(in, "%.*s/%d offset %lld: the body does not match its CRC", MQ_FMT(q->q.topic), q->q.queue_id, (long long)offset);
	if (r.store_at_ms < *last_at_ms)
		fault(in, "%.*s/%d offset %lld: stored before the message in front of it", MQ_FMT(q->q.topic), q->q.queue_id,
		      (long long)offset);
	*last_at_ms = r.store_at_ms;
	if (r.physical_offset == locator_make(q->q.number, offset) && mq_slice_equal(r.topic, q->q.topic))
		check_keys(in, q, &r);
	in->sum.n_records++;
	in->sum.record_bytes += record.n;
}

/* All records of one family. In key order, so each queue's come together and in order of their offsets. */
static int check_family(struct inspect *in, struct family *f, struct mq_error *err)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it = inspect_iterator(in, f->cf);
	int64_t expected = 0, last_at_ms = 0;
	struct queue *q = NULL;

	if (f->n_queues == 0 && !f->is_shared)
		return 0; /* what a deleted topic left until the broker drops it */
	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		struct mq_slice key = iterator_key(it);
		int64_t offset;
		uint32_t number;

		if (key.n != RECORD_KEY_SIZE) {
			fault(in, "column family %s: a key of %zu bytes, not %d", f->name, key.n, RECORD_KEY_SIZE);
			continue;
		}
		number = mq_get32(key.p);
		offset = (int64_t)mq_get64(key.p + 4);
		if (!q || q->q.number != number) {
			q = inspect_queue(in, number);
			if (!q || q->family != f) {
				fault(in, "column family %s: records of queue %u, which does not live there", f->name, number);
				q = NULL;
				continue;
			}
			expected = q->q.min;
			last_at_ms = 0;
		}
		if (offset < q->q.min)
			continue; /* retention drops whole files: what is left of one is invisible */
		if (offset != expected)
			fault(in, "%.*s/%d: offsets %lld to %lld are missing", MQ_FMT(q->q.topic), q->q.queue_id, (long long)expected,
			      (long long)offset - 1);
		expected = offset + 1;
		check_record(in, q, offset, iterator_value(it), &last_at_ms);
	}
	return inspect_status(in, it, f->name, err);
}

/* Fetches the record behind a locator. 0; STORE_NONE: below the minimum, or its queue was deleted; -ENOENT: missing. */
static int check_fetch(struct inspect *in, int64_t locator, rocksdb_pinnableslice_t **ret_row, struct mq_record *ret)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	struct queue *q = locator < 0 ? NULL : inspect_queue(in, locator_queue(locator));
	char key[RECORD_KEY_SIZE];
	struct mq_slice value;

	if (!q || locator_offset(locator) < q->q.min)
		return STORE_NONE;
	if (!q->family)
		return -ENOENT;
	record_key(key, q->q.number, locator_offset(locator));
	*ret_row = rocksdb_get_pinned_cf(in->db, in->read_options, q->family->cf, key, sizeof key, &text);
	if (!*ret_row)
		return -ENOENT;
	value.p = rocksdb_pinnableslice_value(*ret_row, &value.n);
	if (value.n < RECORD_VALUE_PREFIX + RECORD_SIZE_MIN ||
	    mq_record_decode((struct mq_slice){ value.p + RECORD_VALUE_PREFIX, value.n - RECORD_VALUE_PREFIX }, ret) < 0)
		return -ENOENT;
	return 0;
}

static bool record_has_key(const struct mq_record *r, uint64_t hash)
{
	struct mq_slice keys = mq_properties_get(r->properties, MQ_PROPERTY_KEYS), key;

	while ((key = index_next_key(&keys)).n > 0)
		if (index_hash(r->topic, key) == hash)
			return true;
	key = mq_properties_get(r->properties, MQ_PROPERTY_UNIQ_KEY);
	return key.n > 0 && index_hash(r->topic, key) == hash;
}

static void check_index_row(struct inspect *in, struct mq_slice key)
{
	_cleanup_(pinnedp) rocksdb_pinnableslice_t *row = NULL;
	int64_t at_ms = (int64_t)mq_get64(key.p + 12), locator = (int64_t)mq_get64(key.p + 20);
	uint64_t hash = mq_get64(key.p + 4);
	struct mq_record record;
	int r;

	if (mq_get32(key.p) != index_hour(at_ms))
		fault(in, "index: the row of locator %lld is filed under a wrong hour", (long long)locator);
	r = check_fetch(in, locator, &row, &record);
	if (r == STORE_NONE)
		return;
	if (r < 0)
		fault(in, "index: a row names locator %lld, where no message is", (long long)locator);
	else if (record.store_at_ms != at_ms)
		fault(in, "index: the row of locator %lld has another store time than the message", (long long)locator);
	else if (!record_has_key(&record, hash))
		fault(in, "index: a row names locator %lld under a key that the message does not have", (long long)locator);
}

static int check_index(struct inspect *in, struct mq_error *err)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it = inspect_iterator(in, in->cf[CF_INDEX]);

	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		struct mq_slice key = iterator_key(it);

		in->sum.n_index_rows++;
		if (key.n != INDEX_KEY_SIZE)
			fault(in, "index: a row of %zu bytes, not %d", key.n, INDEX_KEY_SIZE);
		else
			check_index_row(in, key);
	}
	return inspect_status(in, it, "the index", err);
}

static int check_half(struct inspect *in, struct mq_error *err)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it = inspect_iterator(in, in->cf[CF_HALF]);

	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		_cleanup_(pinnedp) rocksdb_pinnableslice_t *row = NULL;
		struct mq_slice key = iterator_key(it);
		struct mq_record record;

		in->sum.n_half_rows++;
		if (key.n != 8)
			fault(in, "half: a row of %zu bytes, not 8", key.n);
		else if (check_fetch(in, (int64_t)mq_get64(key.p), &row, &record) == -ENOENT)
			fault(in, "half: a transaction is open for locator %lld, where no message is", (long long)mq_get64(key.p));
	}
	return inspect_status(in, it, "the half messages", err);
}

static int check_offsets(struct inspect *in, struct mq_error *err)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it = inspect_iterator(in, in->cf[CF_OFFSETS]);

	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		struct mq_slice group, topic;
		int32_t queue_id;

		in->sum.n_offset_rows++;
		if (iterator_value(it).n != 8 || offset_key_parse(iterator_key(it), &group, &topic, &queue_id) < 0)
			fault(in, "offsets: a row is damaged");
	}
	return inspect_status(in, it, "the consumer offsets", err);
}

static int check_meta(struct inspect *in, struct mq_error *err)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it = inspect_iterator(in, in->cf[CF_META]);
	char prefix_key[META_KEY_MAX];
	struct mq_slice prefix = inspect_queue_prefix(prefix_key);
	uint32_t next_number = 0, last_number = in->n_queues > 0 ? in->queues[in->n_queues - 1].q.number : 0;
	bool has_format = false;

	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		struct mq_slice key = iterator_key(it), value = iterator_value(it);
		struct queue_row row;

		in->sum.n_meta_rows++;
		if (mq_slice_equal(key, MQ_SLICE(META_STORE "\0format")))
			has_format = true;
		if (mq_slice_equal(key, MQ_SLICE(META_STORE "\0next-queue")))
			next_number = value.n == 4 ? mq_get32(value.p) : 0;
		if (mq_slice_equal(key, MQ_SLICE(META_STORE "\0counters")) && value.n != COUNTERS_ROW_SIZE)
			fault(in, "meta: the row of the counters is damaged");
		if (mq_slice_starts(key, prefix) &&
		    (key.n != prefix.n + 4 || queue_row_decode(value, &row) < 0))
			fault(in, "meta: the row of a queue is damaged");
	}
	/* A number that is given out twice would show one queue's messages in another. */
	if (next_number <= last_number && last_number > 0)
		fault(in, "meta: the next queue number is %u, but queue %u exists", next_number, last_number);
	if (!has_format)
		fault(in, "meta: there is no format row");
	return inspect_status(in, it, "the metadata", err);
}

int inspect_check(struct inspect *in, inspect_on_fault on_fault, void *user, struct inspect_summary *ret, struct mq_error *err)
{
	int r;

	in->sum = (struct inspect_summary){ .sequence = in->sum.sequence, .durable_sequence = in->sum.durable_sequence,
					    .n_queues = in->n_queues };
	in->on_fault = on_fault;
	in->user = user;
	if (in->sum.sequence < in->sum.durable_sequence)
		fault(in, "the log ends %llu changes before the point that was on the disk",
		      (unsigned long long)(in->sum.durable_sequence - in->sum.sequence));
	check_families(in);
	r = check_meta(in, err);
	for (size_t i = 0; r == 0 && i < in->n_families; i++)
		r = check_family(in, &in->families[i], err);
	if (r == 0)
		r = check_index(in, err);
	if (r == 0)
		r = check_half(in, err);
	if (r == 0)
		r = check_offsets(in, err);
	*ret = in->sum;
	return r;
}

int inspect_accept_loss(const char *path, struct mq_error *err)
{
	struct inspect in = { .lock_fd = -1, .dir_fd = -1 };
	int r;

	if (snprintf(in.path, sizeof in.path, "%s", path) >= (int)sizeof in.path)
		return mq_error_set(err, -ENAMETOOLONG, "the path of the store is too long");
	r = inspect_lock(&in, err);
	if (r == 0)
		r = inspect_check_format(&in, err);
	if (r == 0) {
		r = durable_accept_loss(in.dir_fd);
		if (r < 0)
			(void)mq_error_set(err, r, "cannot change %s/durable: %s", path, strerror(-r));
	}
	if (in.lock_fd >= 0)
		close(in.lock_fd);
	if (in.dir_fd >= 0)
		close(in.dir_fd);
	return r;
}
