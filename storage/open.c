/* Opening and closing. Lock the directory, read the side record (format, how far the log was durable), open RocksDB with all its
 * families, compare what was recovered with the side record, load queues and offsets, start the threads. Spare families, the ballast
 * and the measuring of space are the keeper's, so that they cost no start-up time. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/internal.h"
#include "storage/override.h"
#include "storage/torn.h"

static int store_open_directory(struct store *s, struct mq_error *err)
{
	const char *path = s->cfg.path;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return mq_error_set(err, -errno, "cannot make %s: %s", path, strerror(errno));
	s->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0)
		return mq_error_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
	s->lock_fd = openat(s->dir_fd, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return mq_error_set(err, -errno, "cannot open %s/LOCK: %s", path, strerror(errno));
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return mq_error_set(err, errno == EWOULDBLOCK ? -EBUSY : -errno, "%s is in use by another process", path);
	return 0;
}

/* The names of all families there are, or of those that a new store begins with. */
static int store_list_families(struct store *s, const char *path, char ***ret_names, size_t *ret_n, bool *ret_is_new,
			       struct mq_error *err)
{
	_cleanup_(rocksdb_textp) char *text = NULL;

	*ret_is_new = faccessat(s->dir_fd, "db/CURRENT", F_OK, 0) < 0 && errno == ENOENT;
	*ret_names = NULL;
	*ret_n = 0;
	if (*ret_is_new)
		return 0;
	*ret_names = rocksdb_list_column_families(s->options.db, path, ret_n, &text);
	return text ? store_rocksdb_error(err, path, text) : 0;
}

struct opened {
	rocksdb_column_family_handle_t **cf;
	struct store_family **families; /* those for messages, sorted by kind and number */
	size_t n_families;
};

static void opened_done(struct opened *o)
{
	free(o->cf);
	free(o->families);
}

static int family_compare(const void *a, const void *b)
{
	const struct store_family *x = *(struct store_family *const *)a, *y = *(struct store_family *const *)b;

	if (x->is_shared != y->is_shared)
		return x->is_shared - y->is_shared;
	return x->number < y->number ? -1 : x->number > y->number;
}

static int store_open_database(struct store *s, struct opened *ret, bool *ret_is_new, struct mq_error *err)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	char path[4096];
	char **names;
	size_t n_names, n = N_SYSTEM_FAMILIES;
	int r;

	if (snprintf(path, sizeof path, "%s/db", s->cfg.path) >= (int)sizeof path)
		return mq_error_set(err, -ENAMETOOLONG, "the path of the store is too long");
	r = store_list_families(s, path, &names, &n_names, ret_is_new, err);
	if (r < 0)
		return r;

	const char **all = calloc(N_SYSTEM_FAMILIES + n_names, sizeof *all);
	const rocksdb_options_t **options = calloc(N_SYSTEM_FAMILIES + n_names, sizeof *options);
	rocksdb_options_t *small = store_options_family(&s->options, FAMILY_SMALL, (unsigned)n_names);
	rocksdb_options_t *index = store_options_family(&s->options, FAMILY_INDEX, (unsigned)n_names);
	rocksdb_options_t *queue = store_options_family(&s->options, FAMILY_QUEUE, (unsigned)n_names);
	rocksdb_options_t *shared = store_options_family(&s->options, FAMILY_MIXED, (unsigned)n_names);

	ret->cf = calloc(N_SYSTEM_FAMILIES + n_names, sizeof *ret->cf);
	ret->families = calloc(n_names + 1, sizeof *ret->families);
	if (all && options && ret->cf && ret->families) {
		for (int i = 0; i < N_SYSTEM_FAMILIES; i++) {
			all[i] = system_family_names[i];
			options[i] = i == CF_INDEX ? index : small;
		}
		for (size_t i = 0; i < n_names; i++) {
			uint32_t number;
			bool is_shared;

			if (!family_name_parse(names[i], &is_shared, &number))
				continue;
			all[n] = names[i];
			options[n++] = is_shared ? shared : queue;
		}
		s->db = rocksdb_open_column_families(s->options.db, path, (int)n, all, options, ret->cf, &text);
		if (!s->db && torn_end_accept(s->dir_fd, s->options.db, &text))
			s->db = rocksdb_open_column_families(s->options.db, path, (int)n, all, options, ret->cf, &text);
		r = s->db ? 0 : store_rocksdb_error(err, path, text);
		if (!s->db && strncmp(text, "Corruption", 10) == 0) /* only what repair --accept-loss can help with opens */
			r = mq_error_set(err, r, "%s: %s; restore a backup", path, text);
		if (!s->db && strstr(text, "No space left on device")) /* the name of the status, in every locale */
			r = mq_error_set(err, -ENOSPC, "%s", text);
	} else {
		r = mq_error_set(err, -ENOMEM, "no memory for %zu families", n_names);
	}

	for (size_t i = 0; r == 0 && i < n; i++) {
		if (i < N_SYSTEM_FAMILIES)
			s->cf[i] = ret->cf[i];
		else if ((ret->families[ret->n_families] = family_new(all[i], ret->cf[i])))
			ret->n_families++;
		else
			r = mq_error_set(err, -ENOMEM, "no memory for %zu families", n_names);
	}
	qsort(ret->families, ret->n_families, sizeof(struct store_family *), family_compare);

	rocksdb_options_destroy(small);
	rocksdb_options_destroy(index);
	rocksdb_options_destroy(queue);
	rocksdb_options_destroy(shared);
	free(all);
	free(options);
	if (names)
		rocksdb_list_column_families_destroy(names, n_names);
	return r;
}

static int store_check_format(struct store *s, bool is_new, struct mq_error *err)
{
	char format[4];
	int r;

	r = meta_get_fixed(s, META_STORE, MQ_SLICE("format"), format, sizeof format);
	if (r == STORE_NONE && is_new) {
		_cleanup_(writebatchp) rocksdb_writebatch_t *batch = rocksdb_writebatch_create();

		mq_put32(format, FORMAT_VERSION);
		meta_stage(batch, s, META_STORE, MQ_SLICE("format"), (struct mq_slice){ format, sizeof format });
		r = store_write(s, batch);
		return r < 0 ? mq_error_set(err, r, "%s", s->reason) : 0;
	}
	if (r == STORE_NONE)
		/* Killed between making the families and the first row: there is nothing in it. Anything else has lost its log. */
		return rocksdb_get_latest_sequence_number(s->db) == 0 ?
			       store_check_format(s, true, err) :
			       mq_error_set(err, -EUCLEAN, "%s has no format row: it is not a store, or its beginning is lost", s->cfg.path);
	if (r < 0)
		return mq_error_set(err, r, "%s: cannot read the format version", s->cfg.path);
	if (mq_get32(format) != FORMAT_VERSION)
		return mq_error_set(err, -EPROTO, "%s has format %u, this program knows %d: use a newer version", s->cfg.path,
				    mq_get32(format), FORMAT_VERSION);
	return 0;
}

static int store_load_counters(struct store *s, struct mq_error *err)
{
	char number[4], counters[COUNTERS_ROW_SIZE];
	int r;

	r = meta_get_fixed(s, META_STORE, MQ_SLICE("next-queue"), number, sizeof number);
	if (r == 0)
		s->next_number = mq_get32(number);
	if (r >= 0)
		r = meta_get_fixed(s, META_STORE, MQ_SLICE("counters"), counters, sizeof counters);
	if (r == 0) {
		s->counters.messages = mq_get64(counters);
		s->counters.bytes = mq_get64(counters + 8);
		s->counters.bytes_dropped = mq_get64(counters + 16);
		atomic_store(&s->messages_put, s->counters.messages);
		atomic_store(&s->bytes_put, s->counters.bytes);
		atomic_store(&s->bytes_dropped, s->counters.bytes_dropped);
	}
	return r < 0 ? mq_error_set(err, r, "%s: cannot read the counters", s->cfg.path) : 0;
}

/* A family that no queue names is a spare when empty; else its queue was deleted just before the process ended. */
static int store_sort_families(struct store *s, const struct opened *o)
{
	for (size_t i = 0; i < o->n_families; i++) {
		struct store_family *f = o->families[i];

		if (f->is_shared) {
			s->shared[f->number % SHARED_FAMILIES] = f;
			continue;
		}
		s->n_own++;
		if (f->number >= s->next_family)
			s->next_family = f->number + 1;
		if (f->is_referenced)
			continue;

		_cleanup_(iteratorp) rocksdb_iterator_t *it =
			rocksdb_create_iterator_cf(s->db, s->read_options[STORE_DISK], f->cf);

		rocksdb_iter_seek_to_first(it);
		if (rocksdb_iter_valid(it)) {
			STAILQ_INSERT_TAIL(&s->dead, f, link);
		} else {
			STAILQ_INSERT_TAIL(&s->spares, f, link);
			s->n_spares++;
		}
	}
	return 0;
}

static int store_load(struct store *s, struct mq_error *err)
{
	_cleanup_(opened_done) struct opened o = {};
	bool is_new = false;
	int r;

	r = store_open_database(s, &o, &is_new, err);
	if (r == 0)
		r = durable_open(s, err);
	if (r == 0)
		r = store_check_format(s, is_new, err);
	if (r == 0)
		r = store_load_counters(s, err);
	if (r == 0)
		r = queues_load(s, o.families, o.n_families, err);
	if (r == 0)
		r = offsets_load(s, err);
	if (r == 0)
		return store_sort_families(s, &o);
	/* Families already given to a queue go with it. */
	for (size_t i = 0; i < o.n_families; i++)
		if (!o.families[i]->is_referenced || o.families[i]->is_shared)
			family_free(o.families[i]);
	return r;
}

static struct store *store_free(struct store *s)
{
	queues_free(s);
	families_free(s);
	offsets_free(s);
	for (int i = 0; i < N_SYSTEM_FAMILIES; i++)
		if (s->cf[i])
			rocksdb_column_family_handle_destroy(s->cf[i]);
	if (s->batch)
		rocksdb_writebatch_destroy(s->batch);
	for (int i = 0; i < STORE_TIERS; i++)
		if (s->read_options[i])
			rocksdb_readoptions_destroy(s->read_options[i]);
	if (s->write_options)
		rocksdb_writeoptions_destroy(s->write_options);
	/* After a real write error even closing would write to the broken log and abort: leave that to the end of the process. */
	if (s->db && !atomic_load(&s->is_poisoned)) {
		rocksdb_close(s->db);
		store_options_done(&s->options);
	} else if (!s->db) {
		store_options_done(&s->options);
	}
	if (s->durable_fd >= 0)
		close(s->durable_fd);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	if (s->dir_fd >= 0)
		close(s->dir_fd);

	pthread_mutex_destroy(&s->state_lock);
	pthread_mutex_destroy(&s->append_lock);
	pthread_mutex_destroy(&s->pending_lock);
	pthread_mutex_destroy(&s->spares_lock);
	pthread_mutex_destroy(&s->due_lock);
	pthread_mutex_destroy(&s->offsets_lock);
	pthread_mutex_destroy(&s->flush_lock);
	pthread_mutex_destroy(&s->sync_lock);
	pthread_mutex_destroy(&s->keeper_lock);
	pthread_mutex_destroy(&s->retain_lock);
	job_pool_done(&s->readers);
	job_pool_done(&s->changers);
	pthread_rwlock_destroy(&s->queues_lock);
	pthread_cond_destroy(&s->flush_cond);
	pthread_cond_destroy(&s->keeper_cond);
	free((char *)s->cfg.path);
	free(s);
	return NULL;
}
DEFINE_CLEANUP(struct store *, store_free)

static struct store *store_new(const struct store_config *cfg)
{
	struct store *s = calloc(1, sizeof *s);
	pthread_rwlockattr_t attr;

	if (!s)
		return NULL;
	s->cfg = *cfg;
	if (!s->cfg.clock)
		s->cfg.clock = &mq_clock_system;
	s->cfg.path = strdup(cfg->path);
	s->dir_fd = s->lock_fd = s->durable_fd = -1;
	s->due_noted_ms = INT64_MAX;
	s->next_number = 1; /* 0 would make locator 0, which the protocol reads as "none" */

	pthread_mutex_init(&s->state_lock, NULL);
	pthread_mutex_init(&s->append_lock, NULL);
	pthread_mutex_init(&s->pending_lock, NULL);
	pthread_mutex_init(&s->spares_lock, NULL);
	pthread_mutex_init(&s->due_lock, NULL);
	pthread_mutex_init(&s->offsets_lock, NULL);
	pthread_mutex_init(&s->flush_lock, NULL);
	pthread_mutex_init(&s->sync_lock, NULL);
	pthread_mutex_init(&s->keeper_lock, NULL);
	pthread_mutex_init(&s->retain_lock, NULL);
	job_pool_init(&s->readers);
	job_pool_init(&s->changers);
	store_cond_init(&s->flush_cond);
	store_cond_init(&s->keeper_cond);
	/* Loops read all the time: the rare writer must get its turn. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&s->queues_lock, &attr);
	pthread_rwlockattr_destroy(&attr);

	SLIST_INIT(&s->all);
	STAILQ_INIT(&s->taken);
	STAILQ_INIT(&s->parked);
	STAILQ_INIT(&s->retried);
	STAILQ_INIT(&s->pending);
	STAILQ_INIT(&s->spares);
	STAILQ_INIT(&s->dead);
	STAILQ_INIT(&s->flush_wait);
	STAILQ_INIT(&s->flush_grown);
	TAILQ_INIT(&s->dirty_offsets);
	if (!s->cfg.path)
		return store_free(s);
	return s;
}

int store_open(struct store **ret, const struct store_config *cfg, struct mq_error *err)
{
	_cleanup_(store_freep) struct store *s = store_new(cfg);
	int r;

	if (!s)
		return mq_error_set(err, -ENOMEM, "no memory for the store");
	r = store_open_directory(s, err);
	if (r < 0)
		return r;

	struct durable durable;
	unsigned slot;
	uint64_t generation;

	/* Before RocksDB touches anything. */
	r = durable_read(s->dir_fd, &durable, &slot, &generation);
	if (r < 0)
		return mq_error_set(err, r, "cannot read %s/durable: %s", s->cfg.path, strerror(-r));
	if (r == 0 && durable.format > FORMAT_VERSION)
		return mq_error_set(err, -EPROTO, "%s has format %u, this program knows %d: use a newer version", s->cfg.path,
				    durable.format, FORMAT_VERSION);
	if (r == 0 && durable.sequence > 0 && faccessat(s->dir_fd, "db/CURRENT", F_OK, 0) < 0 && errno == ENOENT)
		/* RocksDB would begin a new database, and delete the files of the old one. */
		return mq_error_set(err, -EUCLEAN, "%s/db/CURRENT is missing, so the database is not whole; restore a backup", s->cfg.path);

	store_override_prepare();
	r = store_options_init(&s->options, s->cfg.memory_bytes);
	if (r < 0)
		return mq_error_set(err, r, "RocksDB refuses its options");
	s->batch = rocksdb_writebatch_create();
	s->write_options = rocksdb_writeoptions_create();
	for (int i = 0; i < STORE_TIERS; i++)
		s->read_options[i] = rocksdb_readoptions_create();
	rocksdb_readoptions_set_read_tier(s->read_options[STORE_MEMORY], 1); /* kBlockCacheTier */
	rocksdb_readoptions_set_fill_cache(s->read_options[STORE_SWEEP], 0);
	/* One read for some blocks instead of one for each: 3 % of the CPU of a backlog of 1 KiB, nothing at 128 B. */
	rocksdb_readoptions_set_readahead_size(s->read_options[STORE_SWEEP], 64 << 10);
	/* Dropped files are unlinked by the background threads, not by the reader that held them last. */
	for (int i = 0; i < STORE_TIERS; i++)
		rocksdb_readoptions_set_background_purge_on_iterator_cleanup(s->read_options[i], 1);

	space_open(s);
	r = durable_sync_logs(s, err);
	if (r == 0)
		r = store_load(s, err);
	if (r < 0)
		return r;

	r = flush_start(s);
	if (r == 0)
		r = keeper_start(s);
	if (r == 0)
		r = job_pool_start(&s->readers, "mq-reader", s->cfg.n_readers > 0 ? s->cfg.n_readers : 1);
	if (r == 0)
		r = job_pool_start(&s->changers, "mq-changer", 1);
	if (r < 0) {
		store_close(TAKE(s));
		return mq_error_set(err, r, "cannot start the store's threads: %s", strerror(-r));
	}
	*ret = TAKE(s);
	return 0;
}

struct store *store_close(struct store *s)
{
	if (!s)
		return NULL;
	rocksdb_disable_manual_compaction(s->db); /* retention's, which a reader may be at */
	job_pool_stop(&s->readers);
	job_pool_stop(&s->changers);
	/* The keeper makes the families that parked ops wait for, so it goes on until there are none. */
	keeper_stop(s);
	(void)offsets_flush(s); /* refused when the store failed or is full: the last second of offsets is lost, as in a crash */
	flush_stop(s);
	return store_free(s);
}
