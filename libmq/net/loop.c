#include "libmq/net/loop.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "libmq/net/internal.h"

enum {
	LOG_LINES_MAX = 10,      /* of one kind per LOG_WINDOW_MS */
	LOG_WINDOW_MS = 10000,
	TIMERS_MAX = 1 << 24,    /* far more than there can be calls */
	ALARM_MAX_MS = 3600000,  /* longest sleep; keeps the arithmetic of libevent's timeouts small */
};

bool mq_log_limit_take(struct mq_log_limit *limit, int64_t mono_ms, char ret_more[MQ_LOG_MORE_MAX])
{
	if (limit->n_logged == 0 || mono_ms - limit->since_ms >= LOG_WINDOW_MS) {
		limit->since_ms = mono_ms;
		limit->n_logged = 0;
	}
	if (limit->n_logged == LOG_LINES_MAX) {
		limit->n_left_out++;
		return false;
	}
	limit->n_logged++;
	ret_more[0] = '\0';
	if (limit->n_left_out > 0)
		snprintf(ret_more, MQ_LOG_MORE_MAX, " (and %u more like this)", limit->n_left_out);
	limit->n_left_out = 0;
	return true;
}

void mq_loop_config_init(struct mq_loop_config *cfg)
{
	*cfg = (struct mq_loop_config){
		.name = "io",
		.clock = &mq_clock_system,
		.max_frame = MQ_FRAME_MAX_DEFAULT,
		/* Parked pulls count here too, 4 KiB each: a client with some thousand queues must not block itself. */
		.conn_in_budget = 32 << 20,
		.conn_out_budget = 16 << 20,
		.total_budget = 64 << 20,
		.idle_ms = 120 * 1000,
	};
}

/* ---- time ---- */

static void loop_read_time(struct mq_loop *loop)
{
	loop->mono_ms = mq_mono_ms(loop->config.clock);
	loop->wall_ms = mq_wall_ms(loop->config.clock);
	loop->has_time = loop->in_turn;
}

int64_t mq_loop_mono_ms(struct mq_loop *loop)
{
	if (!loop->has_time)
		loop_read_time(loop);
	return loop->mono_ms;
}

int64_t mq_loop_wall_ms(struct mq_loop *loop)
{
	if (!loop->has_time)
		loop_read_time(loop);
	return loop->wall_ms;
}

/* ---- timers: a binary heap, since libevent's own timers cannot be steered ---- */

static void timer_place(struct mq_loop *loop, struct mq_timer *timer, unsigned slot)
{
	loop->timers[slot] = timer;
	timer->slot = slot;
}

/* Moves the timer from the free slot to where it belongs. */
static void timer_sift(struct mq_loop *loop, struct mq_timer *timer, unsigned slot)
{
	while (slot > 1 && loop->timers[slot / 2]->at_ms > timer->at_ms) {
		timer_place(loop, loop->timers[slot / 2], slot);
		slot /= 2;
	}
	for (;;) {
		unsigned child = slot * 2;

		if (child < loop->n_timers && loop->timers[child + 1]->at_ms < loop->timers[child]->at_ms)
			child++;
		if (child > loop->n_timers || loop->timers[child]->at_ms >= timer->at_ms)
			break;
		timer_place(loop, loop->timers[child], slot);
		slot = child;
	}
	timer_place(loop, timer, slot);
}

static int timer_reserve(struct mq_loop *loop)
{
	unsigned n = loop->n_timer_slots ? loop->n_timer_slots * 2 : 64;
	struct mq_timer **timers;

	if (loop->n_timers + 1 < loop->n_timer_slots)
		return 0;
	if (n > TIMERS_MAX)
		return -ENOMEM;
	timers = realloc(loop->timers, n * sizeof(struct mq_timer *));
	if (!timers)
		return -ENOMEM;
	loop->timers = timers;
	loop->n_timer_slots = n;
	return 0;
}

int mq_timer_set(struct mq_loop *loop, struct mq_timer *timer, int64_t at_mono_ms)
{
	int r;

	if (timer->slot == 0) {
		r = timer_reserve(loop);
		if (r < 0)
			return r;
		timer->slot = ++loop->n_timers;
	}
	timer->at_ms = at_mono_ms;
	timer_sift(loop, timer, timer->slot);
	return 0;
}

void mq_timer_clear(struct mq_loop *loop, struct mq_timer *timer)
{
	unsigned slot = timer->slot;
	struct mq_timer *last;

	if (slot == 0)
		return;
	timer->slot = 0;
	last = loop->timers[loop->n_timers--];
	if (last != timer)
		timer_sift(loop, last, slot);
}

static void loop_fire_timers(struct mq_loop *loop)
{
	/* A timer that is set again while it fires waits for the next turn, whatever its time. */
	unsigned n_left = loop->n_timers;

	if (n_left == 0)
		return;
	while (n_left-- > 0 && loop->n_timers > 0 && loop->timers[1]->at_ms <= mq_loop_mono_ms(loop)) {
		struct mq_timer *timer = loop->timers[1];

		mq_timer_clear(loop, timer);
		timer->fire(timer);
	}
}

static void loop_on_alarm(evutil_socket_t fd, short what, void *user)
{
	struct mq_loop *loop = user;

	loop->alarm_at_ms = INT64_MAX;
}

/* Makes libevent wake up in time. An alarm that comes too early costs one empty turn and is left as it is. */
static int loop_arm(struct mq_loop *loop, int timeout_ms)
{
	int64_t at_ms = INT64_MAX, now_ms, left_ms;

	if (timeout_ms < 0 && loop->n_timers == 0)
		return 0;
	if (loop->n_timers > 0)
		at_ms = loop->timers[1]->at_ms;
	if (timeout_ms < 0 && at_ms >= loop->alarm_at_ms)
		return 0;

	now_ms = mq_mono_ms(loop->config.clock);
	if (timeout_ms >= 0 && now_ms + timeout_ms < at_ms)
		at_ms = now_ms + timeout_ms;
	if (at_ms >= loop->alarm_at_ms)
		return 0;
	left_ms = at_ms - now_ms;
	if (left_ms < 0)
		left_ms = 0;
	if (left_ms > ALARM_MAX_MS)
		left_ms = ALARM_MAX_MS;

	struct timeval left = { .tv_sec = left_ms / 1000, .tv_usec = (left_ms % 1000) * 1000 };

	if (event_add(loop->alarm, &left) < 0)
		return -ENOMEM;
	loop->alarm_at_ms = now_ms + left_ms;
	return 0;
}

/* ---- posts ---- */

/* Edge-triggered: each write makes the eventfd ready anew, so that it need not be read. */
static void loop_on_wake(evutil_socket_t fd, short what, void *user)
{
}

static void loop_wake(struct mq_loop *loop)
{
	uint64_t one = 1;

	/* Can only fail when the counter is full after 2^64 wakes. */
	if (write(loop->wake_fd, &one, sizeof one) < 0)
		return;
}

bool mq_loop_try_post(struct mq_loop *loop, struct mq_post *post)
{
	bool wakes = false, is_closed;

	pthread_mutex_lock(&loop->lock);
	is_closed = loop->is_closed;
	if (!is_closed) {
		STAILQ_INSERT_TAIL(&loop->posts, post, link);
		wakes = loop->is_asleep && !loop->is_woken;
		if (wakes)
			loop->is_woken = true;
	}
	pthread_mutex_unlock(&loop->lock);

	if (wakes)
		loop_wake(loop);
	return !is_closed;
}

void mq_loop_post(struct mq_loop *loop, struct mq_post *post)
{
	bool is_taken = mq_loop_try_post(loop, post);

	assert(is_taken); /* the poster must not outlive the loop */
}

bool mq_loop_has_posts(struct mq_loop *loop)
{
	bool is_empty;

	pthread_mutex_lock(&loop->lock);
	is_empty = STAILQ_EMPTY(&loop->posts);
	pthread_mutex_unlock(&loop->lock);
	return !is_empty;
}

/* From here on a post wakes the loop. Returns false when it must not sleep, since there are posts already. */
static bool loop_fall_asleep(struct mq_loop *loop)
{
	bool is_asleep;

	pthread_mutex_lock(&loop->lock);
	is_asleep = STAILQ_EMPTY(&loop->posts);
	loop->is_asleep = is_asleep;
	loop->is_woken = false;
	pthread_mutex_unlock(&loop->lock);
	return is_asleep;
}

/* Returns whether there were any. */
static bool loop_run_posts(struct mq_loop *loop)
{
	struct mq_post_list posts = STAILQ_HEAD_INITIALIZER(posts);
	struct mq_post *post;
	bool is_empty;

	pthread_mutex_lock(&loop->lock);
	STAILQ_CONCAT(&posts, &loop->posts);
	loop->is_asleep = false;
	pthread_mutex_unlock(&loop->lock);

	is_empty = STAILQ_EMPTY(&posts);
	while ((post = STAILQ_FIRST(&posts))) {
		STAILQ_REMOVE_HEAD(&posts, link);
		post->run(post);
	}
	return !is_empty;
}

/* ---- the turn ---- */

static bool loop_must_hurry(struct mq_loop *loop, int timeout_ms)
{
	return timeout_ms == 0 || loop->needs_turn || !TAILQ_EMPTY(&loop->resumed) || !TAILQ_EMPTY(&loop->closed) ||
	       atomic_load_explicit(&loop->wants_stop, memory_order_relaxed);
}

static int loop_wait(struct mq_loop *loop, int timeout_ms)
{
	int flags = EVLOOP_ONCE, r;

	if (loop_must_hurry(loop, timeout_ms) || !loop_fall_asleep(loop)) {
		flags |= EVLOOP_NONBLOCK;
	} else {
		r = loop_arm(loop, timeout_ms);
		if (r < 0)
			return r;
	}
	loop->needs_turn = false;
	loop->has_time = false;
	return event_base_loop(loop->base, flags) < 0 ? -EIO : 0;
}

/* What on_turn() posted to this very loop (a commit wakes who waits for the queue) runs at once: another turn would ask epoll in
 * vain first. */
static void loop_call_on_turn(struct mq_loop *loop)
{
	if (!loop->on_turn)
		return;
	loop->on_turn(loop, loop->on_turn_user);
	if (loop_run_posts(loop))
		loop->on_turn(loop, loop->on_turn_user);
}

/* Everything that writes output or changes connections comes before the flush; what a closing connection's owner does about
 * it in the program's own on_turn work waits for another turn. */
static void loop_end_turn(struct mq_loop *loop)
{
	mq_conns_reap(loop);
	loop_call_on_turn(loop);
	mq_requests_flush_counts(loop);
	mq_conns_relieve(loop);
	do {
		mq_conns_flush(loop);
		if (mq_conns_reap(loop))
			loop->needs_turn = true;
	} while (!TAILQ_EMPTY(&loop->dirty));
	__atomic_store_n(&loop->stats.bytes_held, loop->n_held + loop->n_partial, __ATOMIC_RELAXED);
}

int mq_loop_turn(struct mq_loop *loop, int timeout_ms)
{
	int r;

	atomic_store_explicit(&loop->thread, pthread_self(), memory_order_relaxed);
	/* What was sent between turns must not wait for the end of a sleep. */
	mq_conns_flush(loop);

	loop->in_turn = true;
	r = loop_wait(loop, timeout_ms);
	mq_conns_resume(loop);
	loop_fire_timers(loop);
	(void)loop_run_posts(loop);
	loop_end_turn(loop);
	loop->in_turn = false;
	loop->has_time = false;
	atomic_fetch_add_explicit(&loop->progress, 1, memory_order_relaxed);
	return r;
}

int mq_loop_run(struct mq_loop *loop)
{
	int r = 0;

	/* The main thread's name is the process's, which ps, pgrep and the journal show. */
	if (gettid() != getpid())
		pthread_setname_np(pthread_self(), loop->name);
	while (r >= 0 && !atomic_load_explicit(&loop->wants_stop, memory_order_relaxed))
		r = mq_loop_turn(loop, -1);
	atomic_store(&loop->wants_stop, false);
	return r;
}

void mq_loop_stop(struct mq_loop *loop)
{
	atomic_store(&loop->wants_stop, true);
	loop_wake(loop);
}

void mq_loop_ping(struct mq_loop *loop)
{
	loop_wake(loop);
}

uint64_t mq_loop_progress(const struct mq_loop *loop)
{
	return atomic_load_explicit(&loop->progress, memory_order_relaxed);
}

void mq_loop_on_turn(struct mq_loop *loop, void (*on_turn)(struct mq_loop *loop, void *user), void *user)
{
	loop->on_turn = on_turn;
	loop->on_turn_user = user;
}

struct event_base *mq_loop_base(struct mq_loop *loop)
{
	return loop->base;
}

const struct mq_clock *mq_loop_clock(const struct mq_loop *loop)
{
	return loop->config.clock;
}

bool mq_loop_is_current(const struct mq_loop *loop)
{
	return pthread_equal(atomic_load_explicit(&loop->thread, memory_order_relaxed), pthread_self());
}

void mq_loop_stats(const struct mq_loop *loop, struct mq_loop_stats *ret)
{
	const struct mq_loop_stats *s = &loop->stats;

	*ret = (struct mq_loop_stats){
		.n_connections = __atomic_load_n(&s->n_connections, __ATOMIC_RELAXED),
		.n_accepted = __atomic_load_n(&s->n_accepted, __ATOMIC_RELAXED),
		.n_closed = __atomic_load_n(&s->n_closed, __ATOMIC_RELAXED),
		.n_requests = __atomic_load_n(&s->n_requests, __ATOMIC_RELAXED),
		.n_protocol_errors = __atomic_load_n(&s->n_protocol_errors, __ATOMIC_RELAXED),
		.bytes_in = __atomic_load_n(&s->bytes_in, __ATOMIC_RELAXED),
		.bytes_out = __atomic_load_n(&s->bytes_out, __ATOMIC_RELAXED),
		.bytes_held = __atomic_load_n(&s->bytes_held, __ATOMIC_RELAXED),
	};
}

/* ---- life ---- */

static struct event_base *loop_new_base(void)
{
	struct event_base *base;
	struct event_config *cfg;

	cfg = event_config_new();
	if (!cfg)
		return NULL;
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
	base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	return base;
}

static int loop_init(struct mq_loop *loop, const struct mq_loop_config *cfg)
{
	loop->config = *cfg;
	if (!loop->config.clock)
		loop->config.clock = &mq_clock_system;
	snprintf(loop->name, sizeof loop->name, "%s", cfg->name ? cfg->name : "io");
	loop->config.name = loop->name;
	loop->alarm_at_ms = INT64_MAX;
	atomic_init(&loop->thread, pthread_self());
	STAILQ_INIT(&loop->posts);
	mq_conns_init(loop);

	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0)
		return -errno;
	loop->scratch = malloc(NET_SCRATCH_SIZE);
	loop->base = loop_new_base();
	if (!loop->scratch || !loop->base)
		return -ENOMEM;
	loop->alarm = event_new(loop->base, -1, 0, loop_on_alarm, loop);
	loop->wake = event_new(loop->base, loop->wake_fd, EV_READ | EV_ET | EV_PERSIST, loop_on_wake, NULL);
	if (!loop->alarm || !loop->wake || event_add(loop->wake, NULL) < 0)
		return -ENOMEM;
	return 0;
}

int mq_loop_new(struct mq_loop **ret, const struct mq_loop_config *cfg, struct mq_error *err)
{
	_cleanup_(mq_loop_freep) struct mq_loop *loop = NULL;
	int r;

	loop = calloc(1, sizeof *loop);
	if (!loop)
		return mq_error_set(err, -ENOMEM, "out of memory");
	atomic_init(&loop->refs, 1);
	loop->wake_fd = -1;
	pthread_mutex_init(&loop->lock, NULL);

	r = loop_init(loop, cfg);
	if (r < 0)
		return mq_error_set(err, r, "cannot make an event loop: %s", strerror(-r));
	*ret = TAKE(loop);
	return 0;
}

struct mq_loop *mq_loop_unref_internal(struct mq_loop *loop)
{
	if (atomic_fetch_sub_explicit(&loop->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
	return NULL;
}

static bool loop_close_posts(struct mq_loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->is_closed = STAILQ_EMPTY(&loop->posts);
	pthread_mutex_unlock(&loop->lock);
	return loop->is_closed;
}

struct mq_loop *mq_loop_free(struct mq_loop *loop)
{
	if (!loop)
		return NULL;

	/* Posts may bring connections, and closing these may bring posts. */
	do {
		(void)loop_run_posts(loop);
		mq_conns_close_all(loop);
	} while (!loop_close_posts(loop));

	mq_requests_flush_counts(loop);
	mq_requests_free_spare(loop);
	while (loop->n_outputs > 0)
		evbuffer_free(loop->outputs[--loop->n_outputs]);
	if (loop->wake)
		event_free(loop->wake);
	if (loop->alarm)
		event_free(loop->alarm);
	if (loop->base)
		event_base_free(loop->base);
	loop->base = NULL;
	for (unsigned i = 1; i <= loop->n_timers; i++)
		loop->timers[i]->slot = 0;
	free(loop->timers);
	loop->timers = NULL;
	loop->n_timers = 0;
	free(loop->scratch);
	return mq_loop_unref_internal(loop);
}
