/* What the three benchmarks share: phases, progress lines, results. */
#pragma once

#include "daemons/ctl/ctl.h"
#include "daemons/ctl/histogram.h"
#include "libmq/client/route.h"

/* The answers of one second. */
struct bench_slice {
	double at, seconds; /* its start, from the start of the measurement; how long it was */
	uint64_t messages;
	int64_t p50_ns, p99_ns, p999_ns, max_ns;
};

struct bench_result {
	const char *kind;             /* "produce" */
	const char *latency_of;       /* what the histogram timed: "send", "pull", "end to end" */
	double seconds;               /* measured, without the warm-up */
	uint64_t messages, bytes;     /* bodies, in that time */
	uint64_t errors;              /* messages that the broker refused */
	uint64_t unsent;              /* see load_unsent() */
	uint64_t lost;                /* messages acknowledged and not received, e2e only */
	uint64_t early;               /* messages delivered before their time, e2e only */
	const struct histogram *latency;
	const struct bench_slice *slices;
	size_t n_slices;              /* 0: not wanted */
	int64_t started_at_ms;        /* of the first slice */
	double cpu_seconds;           /* of this process, in that time */
	const struct mq_failure *first_error; /* NULL: none */
};

/* Where the benchmark is. */
struct bench_progress {
	uint64_t messages, bytes;   /* so far */
	struct histogram *interval; /* latencies since the last line; reset by who reads it */
};

/* The progress lines, and what they say kept as slices. */
struct bench_watch {
	struct ctl *ctl;
	struct bench_progress (*progress)(void *user);
	void *user;
	bool is_quiet, keeps_slices;
	struct event *timer; /* owned */
	struct bench_progress last;
	int64_t start_ns, last_ns;
	struct bench_slice *slices; /* owned; of the measurement, without the warm-up */
	size_t n_slices, slices_capacity;
	int64_t measure_ns, measure_at_ms; /* when it began: monotonic, wall clock */
};

/* A progress line on standard error each second, until bench_watch_stop(). */
int bench_watch_start(struct bench_watch *w) _must_check_;
/* The warm-up is over: the first slice begins. */
void bench_watch_measure(struct bench_watch *w);
/* The last slice, shorter than a second, ends. */
void bench_watch_stop(struct bench_watch *w);
void bench_watch_done(struct bench_watch *w);

/* CPU time of this process so far. */
double bench_cpu_seconds(void);
/* Prints the result, as JSON with every parameter of the verb's table. The exit code. */
int bench_print(const struct ctl *ctl, const void *options, const struct bench_result *result);
/* The route to send to: creates the topic on all brokers with so many queues when it is not there. */
int bench_route(struct ctl *ctl, const char *topic, int64_t queues, struct mq_topic_route **ret,
		struct mq_failure *f);

struct bench_routes {
	struct mq_topic_route **items; /* refs */
	unsigned n;
};

/* The same for `n` topics, named TOPIC-1, TOPIC-2 and so on; a single one is TOPIC. */
int bench_routes(struct ctl *ctl, const char *topic, unsigned n, int64_t queues, struct bench_routes *ret,
		 struct mq_failure *f) _must_check_;
void bench_routes_done(struct bench_routes *r);

/* EX_USAGE with a sentence when a delay is asked for that batches cannot have, else 0. */
int bench_check_delay(int64_t delay_ms, int64_t batch);

/* Waits for *is_done or so long; true when it ended because of Ctrl-C. */
bool bench_wait(struct ctl *ctl, const bool *is_done, int64_t timeout_ms);
