/* The state, the one place that writes to the database, and figures. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

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

/* ---- figures ---- */

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
