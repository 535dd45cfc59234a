/* The flusher: one thread that syncs the log. With SYNC_FLUSH it syncs once for all turns that queued meanwhile, then publishes what
 * they wrote and releases them; with ASYNC_FLUSH every flush_interval_ms if something was written. It also takes over turns from a loop that has
 * committed for others long enough. */
#include <errno.h>

#include "storage/internal.h"
#include "storage/override.h"

int store_sync(struct store *s)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	uint64_t bytes, sequence;
	int r;
	LOCKED(&s->sync_lock);

	if (store_state(s) == STORE_FAILED)
		return -EIO;
	/* What was written before these loads is covered by the sync. */
	bytes = atomic_load(&s->bytes_written);
	sequence = atomic_load(&s->written_sequence);
	r = s->cfg.hooks.before_sync ? s->cfg.hooks.before_sync(s->cfg.hooks.user) : 0;
	if (r < 0) {
		store_set_state(s, STORE_FAILED, "cannot sync %s: %s; nothing is written any more until restart", s->cfg.path,
				strerror(-r));
		return -EIO;
	}
	atomic_store_explicit(&s->sync_began_ms, mq_mono_ms(s->cfg.clock), memory_order_relaxed);
	rocksdb_flush_wal(s->db, 1, &text);
	atomic_store_explicit(&s->sync_began_ms, 0, memory_order_relaxed);
	if (text) {
		/* The kernel may have dropped the pages: trying again would succeed and prove nothing. */
		atomic_store(&s->is_poisoned, true);
		store_set_state(s, STORE_FAILED, "cannot sync %s: %s; nothing is written any more until restart", s->cfg.path, text);
		return -EIO;
	}
	/* In a flush in the background, which syncs the logs before the last. */
	if (store_override_log_is_broken()) {
		store_set_state(s, STORE_FAILED, "cannot sync %s: the disk did not take a log; nothing is written any more until restart",
				s->cfg.path);
		return -EIO;
	}
	atomic_store(&s->bytes_synced, bytes);
	atomic_store(&s->durable_sequence, sequence);
	durable_note(s, sequence);
	return 0;
}

int store_sync_to(struct store *s, uint64_t sequence)
{
	return atomic_load(&s->durable_sequence) >= sequence ? 0 : store_sync(s);
}

void flush_enqueue(struct store *s, struct store_turn_list *turns, const struct grown *grown, size_t n_grown)
{
	struct store_turn *turn;
	LOCKED(&s->flush_lock);

	STAILQ_FOREACH(turn, turns, link)
		turn->waits = true;
	STAILQ_CONCAT(&s->flush_wait, turns);
	for (size_t i = 0; i < n_grown; i++) {
		struct store_queue *q = grown[i].queue;

		if (!q->is_in_flush)
			STAILQ_INSERT_TAIL(&s->flush_grown, q, flush_link);
		q->is_in_flush = true;
	}
	pthread_cond_signal(&s->flush_cond);
}

void flush_wake_drain(struct store *s)
{
	LOCKED(&s->flush_lock);

	s->wants_drain = true;
	pthread_cond_signal(&s->flush_cond);
}

bool store_turn_each_waiting(struct store *s, struct store_turn *turn, void (*each)(struct store_op *op))
{
	struct store_op *op;
	LOCKED(&s->flush_lock);

	if (!turn->waits)
		return false;
	STAILQ_FOREACH(op, &turn->ops, link)
		each(op);
	return true;
}

/* A consumer that got what a power loss then takes away would look for the next message behind the one that gets this offset
 * afterwards, and never see it: so nobody gets what the disk does not have. */
static void flush_publish(struct store *s, struct store_queue_list *grown)
{
	struct store_queue *q;

	pthread_rwlock_rdlock(&s->queues_lock);
	STAILQ_FOREACH(q, grown, flush_link)
		if (!q->is_deleted)
			atomic_store(&q->max, q->synced);
	pthread_rwlock_unlock(&s->queues_lock);
	if (s->cfg.on_append)
		STAILQ_FOREACH(q, grown, flush_link)
			s->cfg.on_append(s->cfg.user, q, q->synced);

	/* Who wrote meanwhile found these queues in the list: the next sync is theirs. */
	LOCKED(&s->flush_lock);
	while ((q = STAILQ_FIRST(grown))) {
		STAILQ_REMOVE_HEAD(grown, flush_link);
		q->is_in_flush = atomic_load(&q->written) > q->synced;
		if (q->is_in_flush)
			STAILQ_INSERT_TAIL(&s->flush_grown, q, flush_link);
	}
}

static int flush_sync(struct store *s, struct store_queue_list *grown)
{
	struct store_queue *q;
	int r;

	STAILQ_FOREACH(q, grown, flush_link)
		q->synced = atomic_load(&q->written);
	r = store_sync(s);
	if (r == 0)
		flush_publish(s, grown);
	return r;
}

static void flush_release(struct store *s, struct store_turn_list *turns, int result)
{
	struct store_turn *turn;
	struct store_op *op;

	pthread_mutex_lock(&s->flush_lock);
	STAILQ_FOREACH(turn, turns, link)
		turn->waits = false;
	pthread_mutex_unlock(&s->flush_lock);
	while ((turn = STAILQ_FIRST(turns))) {
		STAILQ_REMOVE_HEAD(turns, link);
		STAILQ_FOREACH(op, &turn->ops, link)
			if (result < 0 && op->result == 0)
				op->result = result;
		turn->done(turn);
	}
}

/* Flush lock held. */
static bool flush_has_work(const struct store *s)
{
	return !STAILQ_EMPTY(&s->flush_wait) || !STAILQ_EMPTY(&s->flush_grown) || s->wants_drain;
}

static void *flusher_main(void *user)
{
	struct store *s = user;
	int64_t interval_ms = s->cfg.flush_interval_ms > 0 && s->cfg.flush_interval_ms < 1000 ? s->cfg.flush_interval_ms : 1000;
	int64_t next_ms = mq_mono_ms(&mq_clock_system) + interval_ms;

	pthread_mutex_lock(&s->flush_lock);
	for (;;) {
		struct store_turn_list turns = STAILQ_HEAD_INITIALIZER(turns);
		struct store_queue_list grown = STAILQ_HEAD_INITIALIZER(grown);
		bool is_due, wants_drain;
		int64_t left_ms = next_ms - mq_mono_ms(&mq_clock_system);

		if (!flush_has_work(s) && !s->flusher_stops && left_ms > 0) {
			struct timespec deadline = store_deadline(left_ms);

			pthread_cond_timedwait(&s->flush_cond, &s->flush_lock, &deadline);
		}
		if (s->flusher_stops && !flush_has_work(s))
			break;
		STAILQ_CONCAT(&turns, &s->flush_wait);
		STAILQ_CONCAT(&grown, &s->flush_grown);
		wants_drain = s->wants_drain;
		s->wants_drain = false;
		pthread_mutex_unlock(&s->flush_lock);

		if (wants_drain)
			append_drain(s);
		is_due = mq_mono_ms(&mq_clock_system) >= next_ms;
		if (is_due)
			next_ms = mq_mono_ms(&mq_clock_system) + interval_ms;
		if (!STAILQ_EMPTY(&turns) || !STAILQ_EMPTY(&grown))
			flush_release(s, &turns, flush_sync(s, &grown));
		else if (is_due && atomic_load(&s->written_sequence) > atomic_load(&s->durable_sequence))
			(void)store_sync(s); /* the state says it, and who appends next is told */
		atomic_fetch_add(&s->flusher_progress, 1);
		pthread_mutex_lock(&s->flush_lock);
	}
	pthread_mutex_unlock(&s->flush_lock);
	return NULL;
}

int flush_start(struct store *s)
{
	int r = store_thread_start(&s->flusher, "mq-flusher", flusher_main, s);

	s->has_flusher = r == 0;
	return r;
}

void flush_stop(struct store *s)
{
	if (!s->has_flusher)
		return;
	pthread_mutex_lock(&s->flush_lock);
	s->flusher_stops = true;
	pthread_cond_signal(&s->flush_cond);
	pthread_mutex_unlock(&s->flush_lock);
	pthread_join(s->flusher, NULL);
	s->has_flusher = false;
	(void)store_sync(s); /* refused when the store failed: nothing more can be done for it */
	if (store_state(s) != STORE_FAILED)
		durable_sync(s);
}
