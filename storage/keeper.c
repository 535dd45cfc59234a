/* The keeper: one thread for what must not happen on a caller's: families, space, offsets, retention. */
#include "storage/internal.h"

enum {
	TICK_MS = 1000,
	TICKS_MEASURE = 10, /* ticks between two looks at the size of the directory, and at retention */
};

void keeper_wake(struct store *s)
{
	LOCKED(&s->keeper_lock);

	s->keeper_is_wanted = true;
	pthread_cond_signal(&s->keeper_cond);
}

static void keeper_tick(struct store *s, uint64_t n)
{
	space_check(s);
	space_keep_ballast(s);
	(void)offsets_flush(s); /* no space: tried again; failed: the state says so */
	if (n % TICKS_MEASURE == 0) {
		space_measure(s);
		retention_tick(s);
	}
}

static void *keeper_main(void *user)
{
	struct store *s = user;
	int64_t next_ms = 0;
	uint64_t n_ticks = 0;

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
		if (families_keep(s))
			append_retry(s);
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
