#include "daemons/broker/schedule_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "daemons/broker/pop_inflight.h"
#include "daemons/broker/stats.h"
#include "libmq/base/bytes.h"
#include "libmq/base/cleanup.h"

enum {
	TURN_BYTES = 512 << 10,
	LOOK_MS = 1000,	 /* the clock may have been set */
	RETRY_MS = 1000, /* after a turn that the store refused */
	UNREADABLE_MS = 10000, /* after that what could not be read is tried again */
};

/* ---- A turn ---- */

/* Up to `last` all are delivered, or could not be read. */
static void schedule_skip(struct schedule *s, const struct store_due *last)
{
	if (s->skipped.at_ms < 0)
		s->skipped_until_ms = mq_mono_ms(s->broker->clock) + UNREADABLE_MS;
	s->skipped = *last;
	s->skipped.group = (struct mq_slice){ s->skipped_group, last->group.n };
	mq_put_bytes(s->skipped_group, last->group.p, last->group.n);
}

static enum store_verdict schedule_on_row(void *user, const struct store_due *due)
{
	struct schedule *s = user;

	struct store_due *row = &s->rows[s->n_rows++];

	*row = *due;
	row->group.p = s->groups + s->n_groups;
	mq_put_bytes(s->groups + s->n_groups, due->group.p, due->group.n);
	s->n_groups += due->group.n;
	return s->n_groups + SCHEDULE_GROUP_MAX > SCHEDULE_GROUP_BYTES ? STORE_STOP : STORE_GO_ON;
}

static void schedule_on_done(struct store_turn *turn)
{
	struct schedule *s = turn->user;

	pthread_mutex_lock(&s->lock);
	s->is_turn_done = true;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static void schedule_commit(struct schedule *s)
{
	s->is_turn_done = false;
	store_commit(s->broker->store, &s->turn);
	pthread_mutex_lock(&s->lock);
	while (!s->is_turn_done)
		pthread_cond_wait(&s->cond, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

static void schedule_passed(struct schedule *s, int32_t level, int64_t offset)
{
	if (offset > atomic_load_explicit(&s->passed[level - 1], memory_order_relaxed))
		atomic_store_explicit(&s->passed[level - 1], offset, memory_order_relaxed);
}

static void schedule_delivered(struct schedule *s, const struct delivery *d)
{
	const struct store_due *due = &d->op.take_due;

	if (d->level > 0)
		schedule_passed(s, d->level, d->passed);
	if (d->popped_topic.p)
		pop_inflight_take(s->broker->pop_inflight,
				  &(struct pop_inflight_key){ d->popped_topic, due->group, d->popped_queue }, 1, due->pop_at_ms);
}

/* True: of all that was taken nothing is left. */
static bool schedule_finish(struct schedule *s, int64_t began_ns)
{
	bool is_all = !s->has_failed;
	int64_t took_us = (mq_mono_ns(s->broker->clock) - began_ns) / 1000;
	struct delivery *d;

	while ((d = STAILQ_FIRST(&s->deliveries))) {
		const struct store_record *r = &d->record;

		STAILQ_REMOVE_HEAD(&s->deliveries, link);
		is_all &= d->op.result == 0;
		if (d->op.result == 0)
			schedule_delivered(s, d);
		if (d->op.result == 0 && d->op.n_records > 0)
			stats_put(s->broker->stats, 1, r->n_head + r->body.n + r->tail.n, took_us);
		/* Recalled, or its queue's topic was deleted this moment: the next look finds out.
		 */
		else if (d->op.result < 0 && d->op.result != -ENOENT)
			s->has_failed = true;
		free(d);
	}
	return is_all;
}

/* Moves what is due, up to a turn's measure. Returns when to look again. */
static int64_t schedule_run(struct schedule *s, int64_t now_ms)
{
	int64_t next_ms, began_ns = mq_mono_ns(s->broker->clock);
	unsigned i;

	s->n_rows = 0;
	s->n_groups = 0;
	s->n_unreadable = 0;
	if (s->skipped.at_ms >= 0 && began_ns / 1000000 >= s->skipped_until_ms)
		s->skipped.at_ms = -1;
	s->has_failed = store_due_scan(s->broker->store, s->skipped.at_ms >= 0 ? &s->skipped : NULL, now_ms, now_ms + LOOK_MS,
				       SCHEDULE_TURN_ROWS, schedule_on_row, s, &next_ms) < 0;
	if (s->has_failed || s->n_rows == 0)
		return next_ms;
	store_turn_init(&s->turn, schedule_on_done, s);
	for (i = 0; i < s->n_rows && s->turn.bytes < TURN_BYTES; i++)
		schedule_take(s, &s->rows[i]);
	if (i < s->n_rows)
		next_ms = s->rows[i].at_ms;
	schedule_commit(s);
	if (schedule_finish(s, began_ns) && s->n_unreadable > 0)
		schedule_skip(s, &s->rows[i - 1]);
	return next_ms;
}

/* ---- The thread ---- */

void schedule_note(struct schedule *s, int64_t at_ms)
{
	pthread_mutex_lock(&s->lock);
	if (at_ms < s->noted_ms)
		s->noted_ms = at_ms;
	if (at_ms < s->sleeps_until_ms)
		pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

/* Lock held. What is noted before until_ms ends the sleep. */
static void schedule_sleep(struct schedule *s, int64_t until_ms, int64_t left_ms)
{
	struct timespec deadline;

	left_ms = left_ms < LOOK_MS ? left_ms : LOOK_MS;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_nsec += left_ms % 1000 * 1000000;
	deadline.tv_sec += left_ms / 1000 + deadline.tv_nsec / 1000000000;
	deadline.tv_nsec %= 1000000000;
	s->sleeps_until_ms = until_ms;
	pthread_cond_timedwait(&s->cond, &s->lock, &deadline);
	s->sleeps_until_ms = INT64_MIN;
}

/* After a failure nothing is tried for a while, whatever is noted and wherever the clock goes. */
static int64_t schedule_run_or_rest(struct schedule *s, int64_t now_ms)
{
	int64_t next_ms = schedule_run(s, now_ms);

	if (!s->has_failed)
		return next_ms;
	pthread_mutex_lock(&s->lock);
	if (!s->stops)
		schedule_sleep(s, INT64_MIN, RETRY_MS);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

bool schedule_level(const struct schedule *s, int32_t level, int64_t *ret_passed, int64_t *ret_max)
{
	const struct store_queue *q = store_queue_find(s->broker->store, MQ_SLICE(DELAY_LEVEL_TOPIC), level - 1);

	*ret_max = q ? store_queue_max(q) : 0;
	*ret_passed = atomic_load_explicit(&s->passed[level - 1], memory_order_relaxed);
	return *ret_max > 0;
}

/* How far earlier runs delivered, going by the clock: what became due since the stop is a moment ahead of its delivery. */
static void schedule_find_passed(struct schedule *s)
{
	const struct delay_levels *levels = &s->broker->delay_levels;
	int64_t now_ms = mq_wall_ms(s->broker->clock), offset;

	for (int32_t i = 0; i < levels->n; i++) {
		struct store_queue *q = store_queue_find(s->broker->store, MQ_SLICE(DELAY_LEVEL_TOPIC), i);

		if (q && store_queue_max(q) > 0 &&
		    store_search_time(s->broker->store, q, now_ms - levels->after_ms[i], STORE_LOWER, &offset) == 0)
			schedule_passed(s, i + 1, offset);
	}
}

static void *schedule_main(void *user)
{
	struct schedule *s = user;
	int64_t next_ms = 0; /* what waits since before the start */

	schedule_find_passed(s);
	for (;;) {
		int64_t now_ms = mq_wall_ms(s->broker->clock);
		bool stops;

		pthread_mutex_lock(&s->lock);
		/* Noted after the look that found next_ms, or taken into account by it. */
		if (s->noted_ms < next_ms)
			next_ms = s->noted_ms;
		if (s->noted_ms <= s->skipped.at_ms)
			s->skipped.at_ms = -1;
		s->noted_ms = INT64_MAX;
		stops = s->stops;
		if (!stops && next_ms > now_ms)
			schedule_sleep(s, next_ms, next_ms - now_ms);
		pthread_mutex_unlock(&s->lock);
		if (stops)
			return NULL;
		if (next_ms <= now_ms)
			next_ms = schedule_run_or_rest(s, now_ms);
		atomic_fetch_add(&s->progress, 1);
	}
}

int schedule_new(struct schedule **ret, struct broker *b)
{
	struct schedule *s = calloc(1, sizeof *s);
	pthread_condattr_t attr;

	if (!s)
		return -ENOMEM;
	s->broker = b;
	s->noted_ms = INT64_MAX;
	s->sleeps_until_ms = INT64_MIN;
	s->skipped.at_ms = -1;
	STAILQ_INIT(&s->deliveries);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->cond, &attr);
	pthread_condattr_destroy(&attr);
	*ret = s;
	return 0;
}

int schedule_start(struct schedule *s, struct mq_error *err)
{
	int r = pthread_create(&s->thread, NULL, schedule_main, s);

	if (r != 0)
		return mq_error_set(err, -r, "cannot start the thread for delayed messages: %s",
				    strerror(r));
	pthread_setname_np(s->thread, "mq-schedule");
	s->has_thread = true;
	return 0;
}

void schedule_stop(struct schedule *s)
{
	if (!s || !s->has_thread)
		return;
	pthread_mutex_lock(&s->lock);
	s->stops = true;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	s->has_thread = false;
}

struct schedule *schedule_free(struct schedule *s)
{
	if (!s)
		return NULL;
	schedule_stop(s);
	pthread_cond_destroy(&s->cond);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}

uint64_t schedule_progress(const struct schedule *s)
{
	return atomic_load(&s->progress);
}
