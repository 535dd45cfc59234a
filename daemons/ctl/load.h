/* Generates send load for bench: connections of its own with frames that are built once and patched per
 * message (opaque, time of birth, unique id), so that a few hundred nanoseconds of our CPU cost the server
 * a whole message. The frames are what the Java client sends. One loop, one thread.
 *
 * With a rate the load is an open loop: message i is due at start + i / rate whatever the server does, and
 * its latency counts from then, so that a stall is measured in full (no coordinated omission). Without a
 * rate every connection keeps its window full. */
#pragma once

#include "daemons/ctl/histogram.h"
#include "libmq/client/failure.h"
#include "libmq/client/route.h"

struct load;

struct load_config {
	const char *group;
	/* Topics to send to, in turn, queue by queue; borrowed, each, until load_free(). */
	struct mq_topic_route *const *routes;
	unsigned n_routes;
	unsigned connections;   /* spread over the brokers of the first route */
	unsigned in_flight;     /* requests without an answer, per connection */
	unsigned batch;         /* messages per request; 1: single sends */
	size_t size;            /* bytes of a body */
	double rate;            /* messages per second over all; 0: as fast as answers come */
	uint64_t messages;      /* stop after so many; 0: never */
	bool has_random_bodies; /* each body another piece of random bytes, not the same text */
	int64_t delay_ms;       /* ask for delivery so much later; 0: at once. Not with batches */
	uint32_t stamp_run;     /* not 0: bodies begin with a stamp of this run, see load_read_stamp() */
};

enum { LOAD_STAMP_SIZE = 48 }; /* bytes at the start of a stamped body */

struct load_stats {
	uint64_t sent;          /* messages handed to the kernel or waiting for it */
	uint64_t acked;         /* messages answered with SEND_OK or a weaker success */
	uint64_t errors;        /* messages answered with an error */
	uint64_t requests;      /* answered with success, since the last load_reset() */
	struct histogram latency;  /* of requests, ns, since the last load_reset() */
	struct histogram interval; /* of requests, ns; who reads it resets it */
	struct mq_failure first_error;
};

/* Connects; the routes must have queues to send to. -errno with *f. */
int load_new(struct load **ret, struct mq_loop *loop, const struct load_config *cfg, int64_t timeout_ms,
	     struct mq_failure *f) _must_check_;
struct load *load_free(struct load *l);
DEFINE_CLEANUP(struct load *, load_free)

void load_start(struct load *l);
/* No new messages; those under way are still answered. */
void load_stop(struct load *l);
/* Messages that were due until now and could not be sent, because the windows were full: a server that does
 * not keep up with the rate has more of them than its latencies show. 0 without a rate. */
uint64_t load_unsent(const struct load *l);
/* Forgets the latencies and counts so far: the warm-up is over. */
void load_reset(struct load *l);

struct load_stats *load_stats(struct load *l);
/* Becomes true when the message limit or load_stop() was reached and nothing is under way, or a connection
 * was lost. */
const bool *load_is_done(const struct load *l);
/* The connection that was lost, or NULL. */
const struct mq_failure *load_failure(const struct load *l);

/* Is this a stamped body of run `run`? Then *ret_ns is when it was due (CLOCK_MONOTONIC). */
bool load_read_stamp(struct mq_slice body, uint32_t run, int64_t *ret_ns);
int64_t load_now_ns(void);
