/* mqctl bench e2e: sends at a rate and receives with long polls on other connections; the time from when a
 * message was due to be sent until its consumer had it. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemons/ctl/bench_readers.h"
#include "daemons/ctl/load.h"
#include "daemons/ctl/template.h"

enum {
	POLL_SETTLE_MS = 300, /* for the first polls to be parked at the broker */
	ARRIVE_MS = 5000,     /* for the last messages to arrive */
	POLL_MS = 20,
	CLOCK_NS = 1000000,   /* servers count in milliseconds */
};

struct e2e_options {
	struct common_options common;
	const char *topic, *group;
	int64_t connections, consumers, in_flight, size, duration_ms, warmup_ms, batch, rate, queues, delay_ms;
	bool quiet;
};

#define E2E(member) offsetof(struct e2e_options, member)

static const struct arg_line e2e_lines[] = {
	{ 't', "topic", ARG_TEXT, "TOPIC", E2E(topic), "mqbench", 0, 0, NULL,
	  "topic to use; created when it is not there" },
	{ 0, "queues", ARG_INT, "N", E2E(queues), "8", 1, 65535, NULL,
	  "queues per broker of a topic that is created" },
	{ 'r', "rate", ARG_INT, "N", E2E(rate), "1000", 1, 100000000, NULL, "messages per second" },
	{ 'c', "connections", ARG_INT, "N", E2E(connections), "2", 1, 10000, NULL,
	  "connections to send on" },
	{ 'C', "consumers", ARG_INT, "N", E2E(consumers), "2", 1, 10000, NULL,
	  "connections to receive on; they share the queues" },
	{ 'i', "in-flight", ARG_INT, "N", E2E(in_flight), "1000", 1, 100000, NULL,
	  "requests without an answer on each connection" },
	{ 's', "size", ARG_SIZE, "BYTES", E2E(size), "1k", LOAD_STAMP_SIZE, 4194304, NULL,
	  "size of a body" },
	{ 'B', "batch", ARG_INT, "N", E2E(batch), "1", 1, TEMPLATE_BATCH_MAX, NULL,
	  "messages per request" },
	{ 0, "delay", ARG_DURATION, "TIME", E2E(delay_ms), "0", 0, 86400000, NULL,
	  "ask for delivery so much later, by timer, and measure how late it is" },
	{ 'd', "duration", ARG_DURATION, "TIME", E2E(duration_ms), "10s", 1, 86400000, NULL,
	  "how long to measure" },
	{ 'w', "warmup", ARG_DURATION, "TIME", E2E(warmup_ms), "1s", 0, 3600000, NULL,
	  "load before measuring" },
	{ 'g', "group", ARG_TEXT, "GROUP", E2E(group), MQ_TOOLS_GROUP, 0, 0, NULL,
	  "consumer group that the broker sees; nothing is committed" },
	{ 0, "quiet", ARG_FLAG, NULL, E2E(quiet), NULL, 0, 0, NULL, "no progress lines" },
};

struct e2e {
	uint32_t run;       /* stamp of our messages: others may use the topic too */
	int64_t measure_ns; /* messages due before belong to the warm-up */
	uint64_t received;  /* all, with the warm-up */
	int64_t delay_ns;
	uint64_t early;     /* came before their time */
};

static int64_t on_record(const struct mq_record *r, int64_t now_ns, void *user)
{
	struct e2e *e = user;
	int64_t due_ns;

	if (!load_read_stamp(r->body, e->run, &due_ns))
		return -1;
	e->received++;
	if (due_ns < e->measure_ns)
		return -1;
	if (now_ns >= due_ns + e->delay_ns)
		return now_ns - due_ns - e->delay_ns;
	e->early += now_ns + CLOCK_NS <= due_ns + e->delay_ns;
	return 0;
}

static struct bench_progress progress(void *user)
{
	struct readers_stats *stats = readers_stats(user);

	return (struct bench_progress){ stats->messages, stats->bytes, &stats->interval };
}

/* Every acknowledged message has arrived, or no more come. */
static void wait_for_arrival(struct ctl *ctl, struct load *l, const struct e2e *e)
{
	static const bool never = false;
	uint64_t before = e->received;
	int64_t last_ns = load_now_ns(), patience_ns = (int64_t)ARRIVE_MS * 1000000 + e->delay_ns;

	while (e->received < load_stats(l)->acked) {
		if (bench_wait(ctl, &never, POLL_MS))
			return;
		if (e->received > before) {
			before = e->received;
			last_ns = load_now_ns();
		} else if (load_now_ns() - last_ns > patience_ns) {
			return;
		}
	}
}

static int run(struct ctl *ctl, const struct e2e_options *o, struct load *l, struct readers *readers,
	       struct e2e *e)
{
	struct readers_stats *stats = readers_stats(readers);
	struct bench_watch watch = { .ctl = ctl, .progress = progress, .user = readers, .is_quiet = o->quiet };
	struct bench_result result;
	double cpu_seconds;
	int64_t start_ns, end_ns;
	uint64_t unsent;
	bool was_interrupted;

	if (readers_start(readers) < 0)
		return ctl_no_memory();
	was_interrupted = bench_wait(ctl, &stats->is_done, POLL_SETTLE_MS);
	start_ns = load_now_ns() + o->warmup_ms * 1000000;
	e->measure_ns = start_ns;
	if (!stats->has_failed && !was_interrupted) {
		load_start(l);
		was_interrupted = bench_wait(ctl, load_is_done(l), o->warmup_ms);
	}
	cpu_seconds = bench_cpu_seconds();
	if (bench_watch_start(&watch) < 0)
		return ctl_no_memory();
	if (!stats->has_failed && !was_interrupted)
		was_interrupted = bench_wait(ctl, load_is_done(l), o->duration_ms);
	end_ns = load_now_ns();
	cpu_seconds = bench_cpu_seconds() - cpu_seconds;
	unsent = load_unsent(l);
	load_stop(l);
	if (!was_interrupted) {
		(void)bench_wait(ctl, load_is_done(l), ARRIVE_MS); /* Ctrl-C: what there is so far */
		wait_for_arrival(ctl, l, e);
	}
	bench_watch_stop(&watch);
	if (load_failure(l) || stats->has_failed)
		return ctl_fail(ctl, load_failure(l) ? load_failure(l) : &stats->failure);
	result = (struct bench_result){
		.kind = "e2e",
		.latency_of = e->delay_ns > 0 ? "delivery" : "end to end",
		.seconds = (double)(end_ns - start_ns) / 1e9,
		.messages = stats->messages,
		.bytes = stats->bytes,
		.errors = load_stats(l)->errors,
		.unsent = unsent,
		.lost = !was_interrupted && load_stats(l)->acked > e->received
				? load_stats(l)->acked - e->received
				: 0,
		.early = e->early,
		.latency = &stats->latency,
		.cpu_seconds = cpu_seconds,
		.first_error = load_stats(l)->errors > 0 ? &load_stats(l)->first_error : NULL,
	};
	return bench_print(ctl, o, &result);
}

static int cmd_e2e(struct ctl *ctl, const void *options, char **operands, unsigned n_operands)
{
	const struct e2e_options *o = options;
	_cleanup_(mq_topic_route_unrefp) struct mq_topic_route *route = NULL;
	_cleanup_(load_freep) struct load *l = NULL;
	_cleanup_(readers_freep) struct readers *readers = NULL;
	struct e2e e = { .run = (uint32_t)(load_now_ns() >> 10) ^ (uint32_t)getpid() };
	struct readers_config readers_cfg = {
		.topic = o->topic,
		.group = o->group,
		.connections = (unsigned)o->consumers,
		.max_messages = 32,
		.from_end = true,
	};
	struct load_config load_cfg = {
		.routes = &route,
		.n_routes = 1,
		.group = "mqctl-bench",
		.connections = (unsigned)o->connections,
		.in_flight = (unsigned)o->in_flight,
		.batch = (unsigned)o->batch,
		.size = (size_t)o->size,
		.rate = (double)o->rate,
		.delay_ms = o->delay_ms,
	};
	struct mq_failure f;
	int r = bench_check_delay(o->delay_ms, o->batch);

	if (r)
		return r;
	e.delay_ns = o->delay_ms * 1000000;
	if (e.run == 0)
		e.run = 1;
	load_cfg.stamp_run = e.run;
	if (bench_route(ctl, o->topic, o->queues, &route, &f) < 0)
		return ctl_fail(ctl, &f);
	readers_cfg.route = route;
	if (readers_new(&readers, ctl, &readers_cfg, on_record, &e, &f) < 0 ||
	    load_new(&l, ctl->loop, &load_cfg, o->common.timeout_ms, &f) < 0)
		return ctl_fail(ctl, &f);
	return run(ctl, o, l, readers, &e);
}

const struct verb verb_bench_e2e = {
	.name = "bench e2e",
	.operands = "",
	.summary = "Measure the time from sending to receiving at a given rate",
	.details = "The latency counts from when a message was due to be sent, so that waiting behind a "
		   "stall is in it; with --delay it counts from when a message was due to be delivered.",
	.lines = e2e_lines,
	.n_lines = N_ELEMENTS(e2e_lines),
	.options_size = sizeof(struct e2e_options),
	.run = cmd_e2e,
};
