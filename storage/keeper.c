/* The keeper: one thread for what must not happen on a caller's: families, space, offsets, retention, memory that is no longer used. */
#include <malloc.h>

#include "storage/internal.h"

enum {
	TICK_MS = 1000,
	TICKS_MEASURE = 10,      /* ticks between two looks at the size of the directory, and at retention */
	QUIET_BYTES = 16 << 20,  /* written from one tick to the next, at most, when no peak goes on */
	MEMORY_FREE = 16 << 20,  /* bytes that malloc may keep then */
};

void keeper_wake(struct store *s)
{
	LOCKED(&s->keeper_lock);

	s->keeper_is_wanted = true;
	pthread_cond_signal(&s->keeper_cond);
}

/* What a peak took goes back when it is over: between what is in use malloc would keep it forever (store_tune_process()). While it
 * goes on the next second needs it again. After an open loop at more than the broker could take: 166 MiB, 82 in use. */
static void keeper_trim(struct store *s)
{
	uint64_t written = atomic_load(&s->bytes_written);

	if (written - s->bytes_at_tick <= QUIET_BYTES && mallinfo2().fordblks > MEMORY_FREE)
		malloc_trim(0);
	s->bytes_at_tick = written;
}

static void keeper_tick(struct store *s, uint64_t n)
{
	space_try_again(s);
	space_check(s);
	space_keep_ballast(s);
	(void)offsets_flush(s); /* no space: tried again; failed: the state says so */
	keeper_trim(s);
	if (n % TICKS_MEASURE == 0) {
		space_measure(s);
		retention_tick(s);
	}
}

static _Thread_local bool is_keeper;

void keeper_goes_on(struct store *s)
{
	atomic_fetch_add_explicit(&s->keeper_progress, 1, memory_order_relaxed);
	if (is_keeper && atomic_load_explicit(&s->ops_wait, memory_order_relaxed) && families_make(s))
		append_retry(s);
}

static void *keeper_main(void *user)
{
	struct store *s = user;
	int64_t next_ms = 0;
	uint64_t n_ticks = 0;

	is_keeper = true;
	for (;;) {
		int64_t left_ms = next_ms - mq_mono_ms(&mq_clock_system);
		bool stops;

		pthread_mutex_lock(&s->keeper_lock);
		if (!s->keeper_is_wanted && !s->keeper_stops && left_ms > 0) {
			struct timespec deadline = store_deadline(left_ms);

			pthread_cond_timedwait(&s->keeper_cond, &s->keeper_lock, &deadline);
		}
		stops = s->keeper_stops;
		s->keeper_is_wanted = false;
		pthread_mutex_unlock(&s->keeper_lock);

		if (stops && append_is_idle(s))
			return NULL;
		if (families_make(s))
			append_retry(s);
		families_drop_dead(s);
		if (!stops && mq_mono_ms(&mq_clock_system) >= next_ms) {
			next_ms = mq_mono_ms(&mq_clock_system) + TICK_MS;
			keeper_tick(s, n_ticks++);
		}
		atomic_fetch_add(&s->keeper_progress, 1);
	}
}

int keeper_start(struct store *s)
{
	int r = store_thread_start(&s->keeper, "mq-keeper", keeper_main, s);

	s->has_keeper = r == 0;
	return r;
}

void keeper_stop(struct store *s)
{
	if (!s->has_keeper)
		return;
	pthread_mutex_lock(&s->keeper_lock);
	s->keeper_stops = true;
	pthread_cond_signal(&s->keeper_cond);
	pthread_mutex_unlock(&s->keeper_lock);
	pthread_join(s->keeper, NULL);
	s->has_keeper = false;
}
