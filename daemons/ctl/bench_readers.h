/* The reading side of the benchmarks: a long-polling puller per queue, spread over connections of their own. */
#pragma once

#include "daemons/ctl/bench.h"
#include "libmq/client/pull.h"

struct readers;

struct readers_config {
	const char *topic, *group;
	const struct mq_topic_route *route; /* borrowed */
	unsigned connections;
	int32_t max_messages;               /* per pull */
	bool from_end; /* start at what comes in from now on, and long-poll; else at the beginning */
	bool is_endless;                    /* begin again when a queue was read to its end */
};

struct readers_stats {
	uint64_t messages, bytes;     /* bodies */
	struct histogram latency;     /* of records or of pulls, see readers_new() */
	struct histogram interval;
	bool is_done;                 /* every queue was read to its end, or something failed */
	bool has_failed;
	struct mq_failure failure;
};

/* `on_record` returns what the record adds to the latencies in ns, or a negative number: not counted at
 * all. NULL: every record counts, and the time of each pull goes into the latencies. */
int readers_new(struct readers **ret, struct ctl *ctl, const struct readers_config *cfg,
		int64_t (*on_record)(const struct mq_record *r, int64_t now_ns, void *user), void *user,
		struct mq_failure *f) _must_check_;
struct readers *readers_free(struct readers *r);
DEFINE_CLEANUP(struct readers *, readers_free)
/* Starts the pulls. */
int readers_start(struct readers *r) _must_check_;
struct readers_stats *readers_stats(struct readers *r);
/* Messages that were in the topic when readers_new() looked. */
uint64_t readers_backlog(const struct readers *r);
