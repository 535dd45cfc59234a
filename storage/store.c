/* Opening and closing, the state, and the one place that writes to the database.
 *
 * Opening: lock the directory, read the side record (format, how far the log was durable), open RocksDB with all its families,
 * compare what was recovered with the side record, load queues and offsets, start the threads. Spare families, the ballast and
 * the measuring of space are the keeper's, so that they cost no start-up time. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "storage/internal.h"
#include "storage/override.h"

const char *const system_family_names[N_SYSTEM_FAMILIES] = {
	[CF_DEFAULT] = "default", [CF_META] = "meta", [CF_OFFSETS] = "offsets",
	[CF_INDEX] = "index",     [CF_DUE] = "due",   [CF_HALF] = "half",
};

void store_config_init(struct store_config *cfg)
{
	*cfg = (struct store_config){
		.flush_interval_ms = 500,
		.memory_bytes = (uint64_t)128 << 20,
		.max_families = 256,
		.n_readers = 2,
		.retention_ms = (int64_t)72 * 3600 * 1000,
		.delete_hours = UINT32_C(1) << 4,
		.disk_max_used_ratio = 0.75,
		.disk_warning_ratio = 0.90,
		.min_free_bytes = (uint64_t)256 << 20,
	};
}

void store_tune_process(void)
{
	/* Memtable arenas and large bodies come and go: kept by malloc instead of mapped anew, 15 to 20 % more records a second. */
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	/* But not by each thread for itself: a table that a loop filled is freed by a flush thread, and its arena is of no use to the
	 * other loops. A third less memory after full load, for 2 to 3 % of the CPU. */
	mallopt(M_ARENA_MAX, 2);
}

int store_rocksdb_error(struct mq_error *err, const char *what, const char *text)
{
	return mq_error_set(err, -EIO, "%s: %s", what, text);
}

/* ---- state ---- */

void store_set_state(struct store *s, enum store_state state, const char *fmt, ...)
{
	char why[sizeof s->reason];
	va_list args;
	int old;

	va_start(args, fmt);
	vsnprintf(why, sizeof why, fmt, args);
	va_end(args);

	pthread_mutex_lock(&s->state_lock);
	old = atomic_load(&s->state);
	/* STORE_FAILED is final. */
	if (old == (int)state || old == STORE_FAILED) {
		pthread_mutex_unlock(&s->state_lock);
		return;
	}
	memcpy(s->reason, why, sizeof why);
	atomic_store(&s->state, state);
	pthread_mutex_unlock(&s->state_lock);

	if (s->cfg.on_state)
		s->cfg.on_state(s->cfg.user, state, why);
}

enum store_state store_state(const struct store *s)
{
	return (enum store_state)atomic_load(&s->state);
}

void store_state_reason(const struct store *store, char *ret, size_t size)
{
	struct store *s = (struct store *)store;
	LOCKED(&s->state_lock);

	snprintf(ret, size, "%s", atomic_load(&s->state) == STORE_WRITABLE ? "" : s->reason);
}

/* ---- writing ---- */

/* What RocksDB says to every write since a table or its manifest found no space, until it tried again with success. It says so before it
 * touches the log. An error of the log itself is final: who writes again ends the process. */
bool store_was_refused(const char *text)
{
	return strstr(text, "No space left on device") && !strstr(text, ".log"); /* the name of the status, in every locale */
}

int store_write_locked(struct store *s, rocksdb_writebatch_t *batch)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	size_t n_bytes = 0;
	int r;

	if (atomic_load(&s->state) == STORE_FAILED)
		return -EIO;
	atomic_store_explicit(&s->write_began_ms, mq_mono_ms(s->cfg.clock), memory_order_relaxed);
	r = s->cfg.hooks.before_write ? s->cfg.hooks.before_write(s->cfg.hooks.user) : 0;
	if (r < 0) {
		store_set_state(s, STORE_FAILED, "cannot write to %s: %s; nothing is written any more until restart", s->cfg.path,
				strerror(-r));
		return -EIO;
	}

	rocksdb_writebatch_data(batch, &n_bytes);
	rocksdb_write(s->db, s->write_options, batch, &text);
	rocksdb_writebatch_clear(batch);
	atomic_store_explicit(&s->write_began_ms, 0, memory_order_relaxed);
	if (text && store_was_refused(text)) {
		space_refused(s);
		return -ENOSPC;
	}
	if (text) {
		atomic_store(&s->is_poisoned, true);
		store_set_state(s, STORE_FAILED, "cannot write to %s: %s; nothing is written any more until restart", s->cfg.path, text);
		return -EIO;
	}
	/* Once to the log now, once to a file later. */
	atomic_fetch_add(&s->bytes_since_check, 2 * n_bytes);
	atomic_fetch_add(&s->bytes_written, n_bytes);
	atomic_store(&s->written_sequence, rocksdb_get_latest_sequence_number(s->db));
	return 0;
}

int store_write(struct store *s, rocksdb_writebatch_t *batch)
{
	int r;

	if (space_is_critical(s))
		return -ENOSPC;
	append_lock(s);
	r = store_write_locked(s, batch);
	append_unlock(s);
	if (r == 0 && s->cfg.sync_flush)
		r = store_sync(s);
	return r;
}

int64_t store_write_age_ms(struct store *s)
{
	int64_t began_ms = atomic_load_explicit(&s->write_began_ms, memory_order_relaxed);

	return began_ms > 0 ? mq_mono_ms(s->cfg.clock) - began_ms : 0;
}

int64_t store_sync_age_ms(struct store *s)
{
	int64_t began_ms = atomic_load_explicit(&s->sync_began_ms, memory_order_relaxed);

	return began_ms > 0 ? mq_mono_ms(s->cfg.clock) - began_ms : -1;
}

/* ---- threads ---- */

void store_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

struct timespec store_deadline(int64_t from_now_ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += from_now_ms / 1000;
	t.tv_nsec += from_now_ms % 1000 * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

int store_thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *user)
{
	sigset_t all, old;
	int r;

	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(ret, NULL, run, user);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return -r;
	pthread_setname_np(*ret, name);
	return 0;
}

/* ---- opening ---- */

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

void store_stats(struct store *s, struct store_stats *ret)
{
	int64_t earliest = -1;
	uint64_t n_queues = 0;
	struct store_queue *q;

	*ret = (struct store_stats){};
	pthread_rwlock_rdlock(&s->queues_lock);
	SLIST_FOREACH(q, &s->all, link) {
		int64_t first = atomic_load(&q->first_at_ms);

		if (q->is_deleted || atomic_load(&q->max) == 0)
			continue;
		n_queues++;
		if (first >= 0 && atomic_load(&q->min) < atomic_load(&q->max) && (earliest < 0 || first < earliest))
			earliest = first;
	}
	pthread_rwlock_unlock(&s->queues_lock);

	pthread_mutex_lock(&s->spares_lock);
	ret->n_families = s->n_own;
	for (int i = 0; i < SHARED_FAMILIES; i++)
		ret->n_families += s->shared[i] != NULL;
	pthread_mutex_unlock(&s->spares_lock);

	ret->n_queues = n_queues;
	ret->earliest_at_ms = earliest;
	ret->bytes_on_disk = atomic_load(&s->bytes_on_disk);
	ret->bytes_free = atomic_load(&s->bytes_free);
	ret->bytes_total = atomic_load(&s->bytes_total);
	ret->disk_used_ratio = ret->bytes_total ? 1.0 - (double)ret->bytes_free / (double)ret->bytes_total : 0;
	ret->messages_put = atomic_load(&s->messages_put);
	ret->bytes_put = atomic_load(&s->bytes_put);
	ret->log_max = (int64_t)ret->bytes_put;
	ret->log_min = (int64_t)atomic_load(&s->bytes_dropped);
	ret->durable_sequence = atomic_load(&s->durable_sequence);
	ret->sequence = atomic_load(&s->written_sequence);
	uint64_t synced = atomic_load(&s->bytes_synced), written = atomic_load(&s->bytes_written);
	ret->bytes_not_synced = (int64_t)(written - synced);
	ret->has_fast_crc = store_override_has_fast_crc();
	ret->has_cheap_families = store_override_has_cheap_families();
}

uint64_t store_flusher_progress(const struct store *s)
{
	return atomic_load(&s->flusher_progress);
}

uint64_t store_keeper_progress(const struct store *s)
{
	return atomic_load(&s->keeper_progress);
}
