/* One event loop on one thread: libevent base, connections, posts from other threads, and the turn.
 *
 * A turn is one event round: all readiness callbacks of one epoll_wait() run, then the turn's end: first what the program
 * registered (the broker commits the sends gathered meanwhile), then one write per connection that has output, then
 * closed connections are dropped. Everything here belongs to the loop's thread except what says "any thread".
 *
 * libevent objects of a loop are never touched from another thread, so libevent runs without locks (no evthread): what
 * comes from other threads goes through mq_loop_post(), which is a list under a mutex and an eventfd. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "libmq/base/clock.h"
#include "libmq/base/error.h"

struct event_base;
struct mq_loop;

/* Limits of one loop; the totals are per loop. What happens at each limit: conn.h. total_budget should be four times max_frame
 * at least, or a largest frame cannot come in. */
struct mq_loop_config {
	const char *name;             /* thread name, up to 15 bytes: "io0" */
	const struct mq_clock *clock; /* borrowed; NULL: mq_clock_system */
	size_t max_frame;             /* bytes; frameMaxLength */
	size_t conn_in_budget;        /* bytes of unanswered requests per connection before it stops reading */
	size_t conn_out_budget;       /* bytes of unsent answers per connection before it stops reading */
	size_t total_budget;          /* bytes in flight per loop before who holds more than 64 KiB stops reading; all at twice that */
	int64_t idle_ms;              /* no byte in either direction for so long closes (120 s); 0: never */
};

/* Fills in the defaults of the product. */
void mq_loop_config_init(struct mq_loop_config *cfg);

int mq_loop_new(struct mq_loop **ret, const struct mq_loop_config *cfg, struct mq_error *err) _must_check_;
/* After mq_loop_run() returned. Closes every connection, runs pending posts. */
struct mq_loop *mq_loop_free(struct mq_loop *loop);
DEFINE_CLEANUP(struct mq_loop *, mq_loop_free)

/* Runs until mq_loop_stop(), on the calling thread. */
int mq_loop_run(struct mq_loop *loop) _must_check_;
/* One turn; waits at most `timeout_ms` for something to happen (-1: as long as it takes). For clients and tests. */
int mq_loop_turn(struct mq_loop *loop, int timeout_ms) _must_check_;
/* mq_loop_run() returns after the turn it is in; at once when it was not called yet. Any thread. */
void mq_loop_stop(struct mq_loop *loop);

struct event_base *mq_loop_base(struct mq_loop *loop);
const struct mq_clock *mq_loop_clock(const struct mq_loop *loop);
bool mq_loop_is_current(const struct mq_loop *loop); /* any thread: is the caller this loop's thread? */

/* Registers what runs at the end of each turn, before output is flushed; once more when it has posted to its own loop, after
 * these posts. One function per loop. */
void mq_loop_on_turn(struct mq_loop *loop, void (*on_turn)(struct mq_loop *loop, void *user), void *user);

/* Something that must run on the loop's thread. Embedded in what it is about; it stays with the loop until run() was called. */
struct mq_post {
	STAILQ_ENTRY(mq_post) link;
	void (*run)(struct mq_post *post);
};

/* Any thread. One wake-up of the loop however many posts are waiting. In the order of posting. */
void mq_loop_post(struct mq_loop *loop, struct mq_post *post);
/* Any thread: whether some wait for the next turn. */
bool mq_loop_has_posts(struct mq_loop *loop);

/* A moment on the loop's steered clock. Embedded in what it is about; zeroed is "not set". */
struct mq_timer {
	void (*fire)(struct mq_timer *timer); /* on the loop's thread, once; may set the timer again */
	int64_t at_ms;                        /* monotonic; set by mq_timer_set() */
	unsigned slot;                        /* of the loop's heap; 0: not set */
};

/* Sets or moves the timer. -ENOMEM. */
int mq_timer_set(struct mq_loop *loop, struct mq_timer *timer, int64_t at_mono_ms) _must_check_;
/* Does nothing when it is not set. */
void mq_timer_clear(struct mq_loop *loop, struct mq_timer *timer);

/* Time of the turn: the clock is read once per turn however often these are called. */
int64_t mq_loop_mono_ms(struct mq_loop *loop);
int64_t mq_loop_wall_ms(struct mq_loop *loop);

/* Turns completed so far, for the watchdog: a loop that does not advance within a deadline after a ping is stuck. Any thread. */
uint64_t mq_loop_progress(const struct mq_loop *loop);
/* Wakes the loop so that it completes a turn. Any thread. */
void mq_loop_ping(struct mq_loop *loop);

/* Counters, any thread (relaxed). */
struct mq_loop_stats {
	uint64_t n_connections; /* open now */
	uint64_t n_accepted, n_closed, n_requests, n_protocol_errors;
	uint64_t bytes_in, bytes_out;
	uint64_t bytes_held;    /* charged at the moment */
};
void mq_loop_stats(const struct mq_loop *loop, struct mq_loop_stats *ret);
