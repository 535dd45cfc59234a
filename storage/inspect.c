/* The database is opened read-only, which replays the log in memory and writes nothing; the lock file keeps brokers out meanwhile. */
#include "storage/inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "storage/durable.h"
#include "storage/inspect_internal.h"
#include "storage/override.h"
#include "storage/torn.h"

enum { INSPECT_MEMORY = 64 << 20 }; /* bytes for the cache; read-only, so the write buffers stay empty */

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
	const struct inspect_family *x = a, *y = b;

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
	if (!in->db && torn_end_accept(in->dir_fd, in->options.db, &text))
		in->db = rocksdb_open_for_read_only_column_families(in->options.db, path, (int)n, (const char *const *)names, options,
								    cf, 0, &text);
	if (!in->db)
		return mq_error_set(err, -EIO, "%s: %s", path, text);

	for (size_t i = 0; i < n; i++) {
		struct inspect_family f = { .cf = cf[i] };
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

rocksdb_iterator_t *inspect_iterator(struct inspect *in, rocksdb_column_family_handle_t *cf)
{
	return rocksdb_create_iterator_cf(in->db, in->read_options, cf);
}

int inspect_status(struct inspect *in, rocksdb_iterator_t *it, const char *what, struct mq_error *err)
{
	_cleanup_(rocksdb_textp) char *text = NULL;

	rocksdb_iter_get_error(it, &text);
	return text ? mq_error_set(err, -EIO, "%s: cannot read %s: %s", in->path, what, text) : 0;
}

static struct inspect_family *inspect_find_family(struct inspect *in, bool is_shared, uint32_t number)
{
	struct inspect_family key = { .is_shared = is_shared, .number = number };

	return bsearch(&key, in->families, in->n_families, sizeof key, family_by_name);
}

static int queue_by_number_compare(const void *a, const void *b)
{
	const struct inspected_queue *x = a, *y = b;

	return x->q.number < y->q.number ? -1 : x->q.number > y->q.number;
}

int inspect_queue_compare(const void *a, const void *b)
{
	const struct inspect_queue *x = &(*(struct inspected_queue *const *)a)->q, *y = &(*(struct inspected_queue *const *)b)->q;
	size_t n = x->topic.n < y->topic.n ? x->topic.n : y->topic.n;
	int r = memcmp(x->topic.p, y->topic.p, n);

	if (r == 0)
		r = (x->topic.n > y->topic.n) - (x->topic.n < y->topic.n);
	return r ? r : (x->queue_id > y->queue_id) - (x->queue_id < y->queue_id);
}

struct inspected_queue *inspect_queue_by_number(struct inspect *in, uint32_t number)
{
	struct inspected_queue key = { .q.number = number };

	return bsearch(&key, in->queues, in->n_queues, sizeof key, queue_by_number_compare);
}

/* Where the records of a queue end. */
static void queue_find_end(struct inspect *in, struct inspected_queue *q)
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
	struct inspected_queue *q;

	if (name.n != 4 || queue_row_decode(value, &row) < 0)
		return 0;
	if (in->n_queues == *capacity) {
		size_t wanted = *capacity ? *capacity * 2 : 64;
		struct inspected_queue *more = reallocarray(in->queues, wanted, sizeof *more);

		if (!more)
			return -ENOMEM;
		in->queues = more;
		*capacity = wanted;
	}
	q = &in->queues[in->n_queues++];
	*q = (struct inspected_queue){ .q = { .number = mq_get32(name.p), .queue_id = row.queue_id, .min = row.min, .topic.n = row.topic.n } };
	memcpy(q->topic, row.topic.p, row.topic.n);
	if (row.kind != FAMILY_NONE) {
		snprintf(q->q.family, sizeof q->q.family, "%c%u", row.kind == FAMILY_SHARED ? 's' : 'f', row.family);
		q->family = inspect_find_family(in, row.kind == FAMILY_SHARED, row.family);
		if (q->family)
			q->family->n_queues++;
	}
	return 0;
}

struct mq_slice inspect_queue_prefix(char key[META_KEY_MAX])
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
		struct inspected_queue *q = &in->queues[i];

		q->q.topic.p = q->topic; /* the array does not move any more, and rows come by number */
		queue_find_end(in, q);
		in->sorted[i] = q;
	}
	qsort(in->sorted, in->n_queues, sizeof *in->sorted, inspect_queue_compare);
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
		struct inspected_queue *q = in->sorted[i];

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

int inspect_accept_loss(const char *path, struct mq_error *err)
{
	_cleanup_(inspect_closep) struct inspect *in = NULL;
	struct mq_error why;
	int r;

	r = inspect_open(&in, path, &why);
	if (r == -EIO)
		return mq_error_set(err, r, "%s; nothing here can repair that: restore a backup", why.text);
	if (r < 0)
		return mq_error_set(err, r, "%s", why.text);
	r = durable_accept_loss(in->dir_fd);
	return r < 0 ? mq_error_set(err, r, "cannot change %s/durable: %s", path, strerror(-r)) : 0;
}
