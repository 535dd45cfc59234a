/* Retention. What is too old goes by whole files: first the queue's minimum offset is moved in its row, and the row synced, then the
 * files behind it are dropped, so that a crash between the two leaves files that nobody reads and the next pass drops. Nothing is rewritten.
 *
 * A queue whose newest message is too old gives its whole family back. Queues in shared families have no files of their own: their
 * old range is deleted, and compaction frees the space. When bytes must go and files of own families do not suffice, shared
 * queues are trimmed by age and their families compacted on a reader, since that takes long. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "storage/internal.h"

#define SHARED_PART_MIN 0.125 /* of the shared families' bytes, trimmed at once */

struct old_file {
	struct store_queue *queue; /* borrowed */
	int64_t last;              /* offset of the newest record in it */
	int64_t last_at_ms;        /* its store time; -1 when already below the minimum */
	uint64_t size;
};

struct pass {
	struct store *s;
	int64_t now_ms, cutoff_ms; /* records stored before are expired */
	bool is_by_time;
	uint64_t excess_bytes;     /* to be freed whatever the age */
	struct old_file *files;
	size_t n_files;
	uint64_t shared_bytes; /* in files of shared families */
	int n_dropped;
};

/* ---- what there is ---- */

struct named_queue {
	uint32_t family;
	struct store_queue *queue;
};

static int named_queue_compare(const void *a, const void *b)
{
	const struct named_queue *x = a, *y = b;

	return x->family < y->family ? -1 : x->family > y->family;
}

/* All queues that have a family, as an array of the caller's. Own families only: sorted by family number. */
static struct named_queue *pass_queues(struct store *s, bool is_shared, size_t *ret_n)
{
	struct named_queue *list;
	struct store_queue *q;
	size_t n = 0;

	pthread_rwlock_rdlock(&s->queues_lock);
	SLIST_FOREACH(q, &s->all, link)
		n++;
	list = calloc(n + 1, sizeof *list);
	*ret_n = 0;
	if (list)
		SLIST_FOREACH(q, &s->all, link)
			if (q->family && q->family->is_shared == is_shared)
				list[(*ret_n)++] = (struct named_queue){ q->family->number, q };
	pthread_rwlock_unlock(&s->queues_lock);
	if (list)
		qsort(list, *ret_n, sizeof *list, named_queue_compare);
	return list;
}

static int old_file_compare(const void *a, const void *b)
{
	const struct old_file *x = a, *y = b;

	if (x->queue != y->queue)
		return x->queue->number < y->queue->number ? -1 : 1;
	return x->last < y->last ? -1 : x->last > y->last;
}

static int old_file_compare_age(const void *a, const void *b)
{
	const struct old_file *x = a, *y = b;

	if (x->last_at_ms != y->last_at_ms)
		return x->last_at_ms < y->last_at_ms ? -1 : 1;
	return old_file_compare(a, b);
}

/* Files of queues with a family of their own, by queue and offset. */
static int pass_list_files(struct pass *p)
{
	_cleanup_(freep) struct named_queue *queues = NULL;
	const rocksdb_livefiles_t *live;
	size_t n_queues;
	int n;

	queues = pass_queues(p->s, false, &n_queues);
	if (!queues)
		return -ENOMEM;
	live = rocksdb_livefiles(p->s->db);
	n = rocksdb_livefiles_count(live);
	p->files = calloc((size_t)n + 1, sizeof *p->files);
	for (int i = 0; p->files && i < n; i++) {
		struct named_queue wanted = {}, *found;
		struct mq_slice largest;
		bool is_shared;

		if (!family_name_parse(rocksdb_livefiles_column_family_name(live, i), &is_shared, &wanted.family))
			continue;
		if (is_shared) {
			p->shared_bytes += rocksdb_livefiles_size(live, i);
			continue;
		}
		found = bsearch(&wanted, queues, n_queues, sizeof *queues, named_queue_compare);
		largest.p = rocksdb_livefiles_largestkey(live, i, &largest.n);
		if (!found || largest.n < RECORD_KEY_SIZE)
			continue;
		p->files[p->n_files++] = (struct old_file){
			.queue = found->queue,
			.last = (int64_t)mq_get64(largest.p + 4),
			.last_at_ms = -1,
			.size = rocksdb_livefiles_size(live, i),
		};
	}
	rocksdb_livefiles_destroy(live);
	if (!p->files)
		return -ENOMEM;
	qsort(p->files, p->n_files, sizeof *p->files, old_file_compare);
	return 0;
}

/* ---- moving a minimum ---- */

/* Tools show bytes; what a dropped record had is estimated by the average. */
static void pass_count_dropped(struct store *s, int64_t n_records)
{
	uint64_t average = s->counters.messages ? s->counters.bytes / s->counters.messages : 0;
	uint64_t dropped = s->counters.bytes_dropped + (uint64_t)n_records * average;

	s->counters.bytes_dropped = dropped < s->counters.bytes ? dropped : s->counters.bytes;
	atomic_store(&s->bytes_dropped, s->counters.bytes_dropped);
}

/* Append and retain_lock held. `new_min` may be the maximum: then the queue keeps no family. */
static int queue_move_min(struct store *s, struct store_queue *q, int64_t new_min)
{
	struct store_family *f = q->family;
	bool gives_back = new_min >= q->next_offset;
	int64_t old_min = atomic_load(&q->min);
	int r;

	if (q->is_deleted || !f || new_min <= old_min)
		return 0;
	if (gives_back) {
		/* The row names no family; the memory follows when the row is written. */
		q->family = NULL;
		queue_row_put(s->batch, s, q, new_min);
		q->family = f;
	} else {
		queue_row_put(s->batch, s, q, new_min);
	}
	if (f->is_shared) {
		char first[RECORD_KEY_SIZE], behind[RECORD_KEY_SIZE];

		record_key(first, q->number, old_min);
		record_key(behind, q->number, new_min);
		rocksdb_writebatch_delete_range_cf(s->batch, f->cf, first, sizeof first, behind, sizeof behind);
	}
	pass_count_dropped(s, new_min - old_min);
	counters_stage(s->batch, s);
	r = store_write_locked(s, s->batch);
	rocksdb_writebatch_clear(s->batch);
	if (r < 0)
		return r;
	s->min_moved_at = atomic_load(&s->written_sequence);
	atomic_store(&q->first_at_ms, -1);
	atomic_store(&q->min, new_min);
	if (gives_back)
		queue_release_family(s, q);
	return 0;
}

static int pass_move_min(struct pass *p, struct store_queue *q, int64_t new_min)
{
	int r;

	keeper_goes_on(p->s);
	new_min = due_limit(p->s, q, new_min);
	if (new_min < 0)
		return (int)new_min;
	append_lock(p->s);
	r = queue_move_min(p->s, q, new_min);
	append_unlock(p->s);
	return r;
}

/* Drops the files whose records are all below the minimum. retain_lock held: the keeper frees no family meanwhile. */
static int pass_drop_files(struct pass *p, struct store_queue *q)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	char first[RECORD_KEY_SIZE], last[RECORD_KEY_SIZE];
	rocksdb_column_family_handle_t *cf;

	keeper_goes_on(p->s);
	pthread_rwlock_rdlock(&p->s->queues_lock);
	cf = q->family && !q->family->is_shared ? q->family->cf : NULL;
	pthread_rwlock_unlock(&p->s->queues_lock);
	if (!cf)
		return 0;
	if (store_sync_to(p->s, p->s->min_moved_at) < 0)
		return -EIO;
	record_key(first, q->number, 0);
	record_key(last, q->number, atomic_load(&q->min) - 1);
	rocksdb_delete_file_in_range_cf(p->s->db, cf, first, sizeof first, last, sizeof last, &text);
	return text ? -EIO : 0;
}

/* ---- the kinds of expiry ---- */

static bool queue_is_idle(const struct pass *p, const struct store_queue *q)
{
	return q->n_parked == 0 && q->last_at_ms < p->cutoff_ms && q->next_offset > atomic_load(&q->min);
}

/* The end of what may go of an idle queue. Negative: -EIO. */
static int64_t pass_idle_limit(struct pass *p, struct store_queue *q)
{
	bool is_idle;

	if (!q->keeps_due)
		return INT64_MAX;
	append_lock(p->s);
	is_idle = queue_is_idle(p, q);
	append_unlock(p->s);
	return is_idle ? due_limit(p->s, q, INT64_MAX) : 0;
}

/* Queues of which nothing is young enough any more. */
static int pass_empty_idle_queues(struct pass *p, bool is_shared)
{
	_cleanup_(freep) struct named_queue *queues = NULL;
	size_t n;

	queues = pass_queues(p->s, is_shared, &n);
	if (!queues)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct store_queue *q = queues[i].queue;
		int64_t limit = pass_idle_limit(p, q);
		int r = 0;

		if (limit < 0)
			return (int)limit;
		append_lock(p->s);
		limit = limit < q->next_offset ? limit : q->next_offset;
		if (queue_is_idle(p, q) && limit > atomic_load(&q->min)) {
			r = queue_move_min(p->s, q, limit);
			p->n_dropped++;
		}
		append_unlock(p->s);
		if (r < 0)
			return r;
	}
	return 0;
}

static int pass_expire_shared(struct pass *p)
{
	_cleanup_(freep) struct named_queue *queues = NULL;
	size_t n;
	int r = 0;

	queues = pass_queues(p->s, true, &n);
	if (!queues)
		return -ENOMEM;
	for (size_t i = 0; i < n && r >= 0; i++) {
		int64_t new_min;

		r = store_search_time(p->s, queues[i].queue, p->cutoff_ms, STORE_LOWER, &new_min);
		if (r == 0) {
			p->n_dropped += new_min > atomic_load(&queues[i].queue->min);
			r = pass_move_min(p, queues[i].queue, new_min);
		}
	}
	return r;
}

/* Files are in order of queue and offset: each queue up to its first file that is still wanted. */
static int pass_move_expired(struct pass *p)
{
	const struct store_queue *young = NULL; /* none of its later files is expired either: they are not read */

	for (size_t i = 0; i < p->n_files; i++) {
		struct old_file *f = &p->files[i];
		int64_t at_ms;
		int r = 0;

		if (f->last < atomic_load(&f->queue->min) || f->queue == young)
			continue;
		keeper_goes_on(p->s);
		at_ms = store_time_at(p->s, f->queue, f->last);
		if (at_ms >= p->cutoff_ms) {
			young = f->queue;
		} else if (at_ms >= 0) {
			r = pass_move_min(p, f->queue, f->last + 1);
			p->n_dropped += atomic_load(&f->queue->min) > f->last;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* All minima first, then the files: one sync between them. */
static int pass_expire_files(struct pass *p)
{
	int r = p->is_by_time ? pass_move_expired(p) : 0;

	for (size_t i = 0; i < p->n_files && r == 0; i++) {
		struct store_queue *q = p->files[i].queue;

		/* Also what an earlier pass left on level 0, where files cannot be dropped. */
		if ((i + 1 == p->n_files || p->files[i + 1].queue != q) && atomic_load(&q->min) > 0)
			r = pass_drop_files(p, q);
	}
	return r;
}

static void shared_compact(struct store_job *job)
{
	struct store *s = ((struct compaction *)job)->store;
	rocksdb_compactoptions_t *options = rocksdb_compactoptions_create();

	rocksdb_compactoptions_set_exclusive_manual_compaction(options, 0); /* others go on meanwhile */
	for (int i = 0; i < SHARED_FAMILIES && store_state(s) != STORE_FAILED; i++) {
		struct store_family *f;

		pthread_mutex_lock(&s->spares_lock);
		f = s->shared[i]; /* stays until the store closes, which waits for readers */
		pthread_mutex_unlock(&s->spares_lock);
		if (f)
			rocksdb_compact_range_cf_opt(s->db, f->cf, options, NULL, 0, NULL, 0);
	}
	rocksdb_compactoptions_destroy(options);
	atomic_store(&s->is_compacting, false);
}

/* Store time of the oldest message in shared families, -1 when there is none. */
static int64_t pass_oldest_shared(struct pass *p)
{
	_cleanup_(freep) struct named_queue *queues = NULL;
	int64_t oldest_ms = -1;
	size_t n;

	queues = pass_queues(p->s, true, &n);
	for (size_t i = 0; queues && i < n; i++) {
		int64_t at_ms = store_time_at(p->s, queues[i].queue, atomic_load(&queues[i].queue->min));

		keeper_goes_on(p->s);
		if (at_ms >= 0 && (oldest_ms < 0 || at_ms < oldest_ms))
			oldest_ms = at_ms;
	}
	return oldest_ms;
}

/* `excess` bytes are as large a part of the shared files as what goes is of their time. The rest is up to later passes. */
static int pass_free_shared_bytes(struct pass *p, uint64_t excess)
{
	struct store *s = p->s;
	int64_t oldest_ms;
	double part;
	int r;

	/* What was trimmed last is still being freed; and a compaction writes before it deletes. */
	if (p->shared_bytes == 0 || atomic_load(&s->is_compacting) ||
	    atomic_load(&s->bytes_free) < p->shared_bytes + 2 * s->cfg.min_free_bytes)
		return 0;
	oldest_ms = pass_oldest_shared(p);
	if (oldest_ms < 0)
		return 0;
	/* Compaction rewrites all that stays, so it must be worth it. */
	part = (double)excess / (double)p->shared_bytes;
	part = part < SHARED_PART_MIN ? SHARED_PART_MIN : part > 1 ? 1 : part;
	p->cutoff_ms = oldest_ms + (int64_t)((double)(p->now_ms - oldest_ms) * part);
	r = pass_expire_shared(p);
	if (r == 0) {
		atomic_store(&s->is_compacting, true);
		s->compaction = (struct compaction){ .job.run = shared_compact, .store = s };
		store_submit(s, &s->compaction.job);
	}
	return r;
}

/* The oldest files of all queues until enough bytes are free. */
static int pass_free_bytes(struct pass *p)
{
	uint64_t n_freed = 0;
	size_t n_looked_at;
	int r = 0;

	for (size_t i = 0; i < p->n_files; i++) {
		p->files[i].last_at_ms = store_time_at(p->s, p->files[i].queue, p->files[i].last);
		keeper_goes_on(p->s);
	}
	qsort(p->files, p->n_files, sizeof *p->files, old_file_compare_age);
	for (n_looked_at = 0; n_looked_at < p->n_files && n_freed < p->excess_bytes && r == 0; n_looked_at++) {
		struct old_file *f = &p->files[n_looked_at];

		if (f->last_at_ms < 0)
			continue; /* dropped already */
		r = pass_move_min(p, f->queue, f->last + 1);
		if (r == 0 && atomic_load(&f->queue->min) <= f->last)
			continue; /* something in it still waits */
		n_freed += f->size;
		p->n_dropped++;
	}
	for (size_t i = 0; i < n_looked_at && r == 0; i++)
		if (atomic_load(&p->files[i].queue->min) > p->files[i].last)
			r = pass_drop_files(p, p->files[i].queue);
	if (r == 0 && n_freed < p->excess_bytes)
		r = pass_free_shared_bytes(p, p->excess_bytes - n_freed);
	return r;
}

/* Store times of the oldest messages, where they are not known; then index rows from before the oldest of all. */
static int pass_trim_index(struct pass *p)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	char first[4], last[INDEX_KEY_SIZE];
	int64_t oldest_ms = p->now_ms;
	struct store *s = p->s;

	for (int is_shared = 0; is_shared < 2; is_shared++) {
		_cleanup_(freep) struct named_queue *queues = NULL;
		size_t n;

		queues = pass_queues(s, is_shared, &n);
		if (!queues)
			return -ENOMEM;
		for (size_t i = 0; i < n; i++) {
			struct store_queue *q = queues[i].queue;
			int64_t min = atomic_load(&q->min), first_ms = atomic_load(&q->first_at_ms);

			if (min >= atomic_load(&q->max))
				continue;
			if (first_ms < 0) {
				keeper_goes_on(s);
				first_ms = store_time_at(s, q, min);
				atomic_store(&q->first_at_ms, first_ms);
			}
			if (first_ms < 0)
				return 0; /* moved meanwhile: the next pass knows */
			if (first_ms < oldest_ms)
				oldest_ms = first_ms;
		}
	}
	if (index_hour(oldest_ms) == 0)
		return 0;
	if (store_sync_to(s, s->min_moved_at) < 0)
		return -EIO;
	mq_put32(first, 0);
	memset(last, 0xff, sizeof last);
	mq_put32(last, index_hour(oldest_ms) - 1);
	rocksdb_delete_file_in_range_cf(s->db, s->cf[CF_INDEX], first, sizeof first, last, sizeof last, &text);
	return text ? -EIO : 0;
}

/* ---- a pass ---- */

static double space_used(struct store *s)
{
	double total = (double)atomic_load(&s->bytes_total);

	return total > 0 ? 1.0 - (double)atomic_load(&s->bytes_free) / total : 0;
}

/* The bit of the hour. */
static uint32_t pass_hour(int64_t now_ms)
{
	time_t now = now_ms / 1000;
	struct tm tm;

	return localtime_r(&now, &tm) ? UINT32_C(1) << tm.tm_hour : 0;
}

/* As upstream: expired files go at the hour, or at any hour above the first mark; above the middle between the two marks the
 * oldest go although they are not expired. */
static void pass_plan(struct pass *p)
{
	struct store *s = p->s;
	double used = space_used(s), total = (double)atomic_load(&s->bytes_total);
	uint64_t on_disk = atomic_load(&s->bytes_on_disk);

	p->now_ms = mq_wall_ms(s->cfg.clock);
	p->cutoff_ms = p->now_ms - s->cfg.retention_ms;
	p->is_by_time = (s->cfg.delete_hours & pass_hour(p->now_ms)) || used > s->cfg.disk_max_used_ratio;
	if (s->cfg.max_bytes > 0 && on_disk > s->cfg.max_bytes)
		p->excess_bytes = on_disk - s->cfg.max_bytes;
	if (used > (s->cfg.disk_max_used_ratio + s->cfg.disk_warning_ratio) / 2) {
		uint64_t excess = (uint64_t)((used - s->cfg.disk_max_used_ratio) * total);

		p->excess_bytes = excess > p->excess_bytes ? excess : p->excess_bytes;
	}
}

static int pass_run(struct pass *p)
{
	int r;

	if (store_state(p->s) == STORE_FAILED || space_is_critical(p->s))
		return 0; /* no row can be written, so nothing can be dropped; what the ballast frees comes first */
	if (p->is_by_time) {
		r = pass_empty_idle_queues(p, false);
		if (r == 0)
			r = pass_empty_idle_queues(p, true);
		if (r == 0)
			r = pass_expire_shared(p);
		if (r < 0)
			return r;
	}
	r = pass_list_files(p);
	if (r == 0)
		r = pass_expire_files(p);
	if (r == 0 && p->excess_bytes > 0)
		r = pass_free_bytes(p);
	if (r == 0)
		r = pass_trim_index(p);
	return r;
}

/* retain_lock held. */
static int retain_locked(struct store *s, bool is_by_time, struct mq_error *err)
{
	struct pass p = { .s = s };
	int r;

	space_check(s);
	space_measure(s);
	pass_plan(&p);
	p.is_by_time |= is_by_time;
	r = pass_run(&p);
	free(p.files);
	return r < 0 ? mq_error_set(err, r, "%s: retention stopped: %s", s->cfg.path, strerror(-r)) : p.n_dropped;
}

static int retain(struct store *s, bool is_by_time, struct mq_error *err)
{
	int r;

	pthread_mutex_lock(&s->retain_lock);
	r = retain_locked(s, is_by_time, err);
	pthread_mutex_unlock(&s->retain_lock);
	keeper_wake(s); /* drops the families given back */
	return r;
}

int store_retain(struct store *s, struct mq_error *err)
{
	return retain(s, false, err);
}

int store_expire(struct store *s, struct mq_error *err)
{
	return retain(s, true, err);
}

void retention_tick(struct store *s)
{
	/* A pass is under way on a reader: the keeper has other things to do than to wait for it. */
	if (pthread_mutex_trylock(&s->retain_lock))
		return;
	/* A failure is a read that failed, tried again, or a write that failed, which the state reports. */
	(void)retain_locked(s, false, NULL);
	pthread_mutex_unlock(&s->retain_lock);
	keeper_wake(s); /* drops the families given back */
}
