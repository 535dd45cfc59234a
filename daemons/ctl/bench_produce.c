/* mqctl bench produce: sends, as fast as answers come or at a rate. */
#include <errno.h>
#include <stdlib.h>

#include "daemons/ctl/bench.h"
#include "daemons/ctl/load.h"
#include "daemons/ctl/template.h"

enum { DRAIN_MS = 10000 }; /* for the answers under way at the end */

struct produce_options {
	struct common_options common;
	const char *topic, *group;
	int64_t connections, in_flight, size, duration_ms, warmup_ms, messages, batch, rate, queues, topics, delay_ms;
	bool quiet, random, slices;
};

#define PRODUCE(member) offsetof(struct produce_options, member)

static const struct arg_line produce_lines[] = {
	{ 't', "topic", ARG_TEXT, "TOPIC", PRODUCE(topic), "mqbench", 0, 0, NULL,
	  "topic to send to; created when it is not there" },
	{ 0, "topics", ARG_INT, "N", PRODUCE(topics), "1", 1, 10000, NULL,
	  "send to N topics in turn, TOPIC-1 to TOPIC-N" },
	{ 0, "queues", ARG_INT, "N", PRODUCE(queues), "8", 1, 65535, NULL,
	  "queues per broker of a topic that is created" },
	{ 'c', "connections", ARG_INT, "N", PRODUCE(connections), "4", 1, 10000, NULL,
	  "connections to send on" },
	{ 'i', "in-flight", ARG_INT, "N", PRODUCE(in_flight), "32", 1, 100000, NULL,
	  "requests without an answer on each connection; 1: one after the other" },
	{ 's', "size", ARG_SIZE, "BYTES", PRODUCE(size), "1k", 1, 4194304, NULL, "size of a body" },
	{ 'B', "batch", ARG_INT, "N", PRODUCE(batch), "1", 1, TEMPLATE_BATCH_MAX, NULL,
	  "messages per request" },
	{ 0, "random", ARG_FLAG, NULL, PRODUCE(random), NULL, 0, 0, NULL,
	  "bodies of random bytes, which nobody can compress, in place of a repeated text" },
	{ 'r', "rate", ARG_INT, "N", PRODUCE(rate), "0", 0, 100000000, NULL,
	  "messages per second, in an open loop: latency counts from when a message was due; 0: as fast as "
	  "answers come" },
	{ 'd', "duration", ARG_DURATION, "TIME", PRODUCE(duration_ms), "10s", 1, 86400000, NULL,
	  "how long to measure" },
	{ 0, "delay", ARG_DURATION, "TIME", PRODUCE(delay_ms), "0", 0, INT64_MAX, NULL,
	  "ask for delivery so much later, by timer" },
	{ 'm', "messages", ARG_INT, "N", PRODUCE(messages), NULL, 1, INT64_MAX, NULL,
	  "stop after N messages, however long it takes" },
	{ 'w', "warmup", ARG_DURATION, "TIME", PRODUCE(warmup_ms), "1s", 0, 3600000, NULL,
	  "load before measuring; not with --messages" },
	{ 'g', "group", ARG_TEXT, "GROUP", PRODUCE(group), "mqctl-bench", 0, 0, NULL,
	  "producer group that the broker sees" },
	{ 0, "slices", ARG_FLAG, NULL, PRODUCE(slices), NULL, 0, 0, NULL,
	  "with -o json: also the messages and latencies of each second" },
	{ 0, "quiet", ARG_FLAG, NULL, PRODUCE(quiet), NULL, 0, 0, NULL, "no progress lines" },
};

struct produce {
	struct load *load;
	const struct produce_options *options;
};

static struct bench_progress progress(void *user)
{
	const struct produce *p = user;
	struct load_stats *stats = load_stats(p->load);

	return (struct bench_progress){ stats->acked, stats->acked * (uint64_t)p->options->size,
					&stats->interval };
}

/* What was counted up to a moment: the end of the warm-up, the end of the load. */
struct span {
	int64_t at_ns;
	uint64_t acked, errors, unsent;
	double cpu_seconds;
};

static struct span span_now(struct load *l)
{
	return (struct span){
		.at_ns = load_now_ns(),
		.acked = load_stats(l)->acked,
		.errors = load_stats(l)->errors,
		.unsent = load_unsent(l),
		.cpu_seconds = bench_cpu_seconds(),
	};
}

static void measure(struct ctl *ctl, const struct produce_options *o, struct load *l,
		    struct bench_watch *watch, struct span *start, struct span *end)
{
	bool was_interrupted = false;

	bench_watch_measure(watch);
	load_start(l);
	if (o->messages == 0 && o->warmup_ms > 0) {
		was_interrupted = bench_wait(ctl, load_is_done(l), o->warmup_ms);
		load_reset(l);
		bench_watch_measure(watch);
		*start = span_now(l);
	}
	if (!was_interrupted)
		was_interrupted = bench_wait(ctl, load_is_done(l), o->messages > 0 ? -1 : o->duration_ms);
	*end = span_now(l);
	/* What is answered after the end counts in the latencies, as it must, and not in the throughput. */
	load_stop(l);
	if (!was_interrupted)
		(void)bench_wait(ctl, load_is_done(l), DRAIN_MS);
}

static int run(struct ctl *ctl, const struct produce_options *o, struct load *l)
{
	struct produce produce = { l, o };
	_cleanup_(bench_watch_done) struct bench_watch watch = {
		.ctl = ctl,
		.progress = progress,
		.user = &produce,
		.is_quiet = o->quiet,
		.keeps_slices = o->slices,
	};
	struct span start = span_now(l), end;
	struct bench_result result;

	if (bench_watch_start(&watch) < 0)
		return ctl_no_memory();
	measure(ctl, o, l, &watch, &start, &end);
	bench_watch_stop(&watch);
	if (load_failure(l))
		return ctl_fail(ctl, load_failure(l));
	result = (struct bench_result){
		.kind = "produce",
		.latency_of = "send",
		.seconds = (double)(end.at_ns - start.at_ns) / 1e9,
		.messages = end.acked - start.acked,
		.bytes = (end.acked - start.acked) * (uint64_t)o->size,
		.errors = end.errors - start.errors,
		.unsent = end.unsent,
		.latency = &load_stats(l)->latency,
		.slices = watch.slices,
		.n_slices = watch.n_slices,
		.started_at_ms = watch.measure_at_ms,
		.cpu_seconds = end.cpu_seconds - start.cpu_seconds,
		.first_error = load_stats(l)->errors > 0 ? &load_stats(l)->first_error : NULL,
	};
	return bench_print(ctl, o, &result);
}

static int cmd_produce(struct ctl *ctl, const void *options, char **operands, unsigned n_operands)
{
	const struct produce_options *o = options;
	_cleanup_(bench_routes_done) struct bench_routes routes = {};
	_cleanup_(load_freep) struct load *l = NULL;
	struct load_config cfg = {
		.group = o->group,
		.connections = (unsigned)o->connections,
		.in_flight = (unsigned)o->in_flight,
		.batch = (unsigned)o->batch,
		.size = (size_t)o->size,
		.rate = (double)o->rate,
		.messages = (uint64_t)o->messages,
		.has_random_bodies = o->random,
		.delay_ms = o->delay_ms,
	};
	struct mq_failure f;
	int r = bench_check_delay(o->delay_ms, o->batch);

	if (r)
		return r;
	if (bench_routes(ctl, o->topic, (unsigned)o->topics, o->queues, &routes, &f) < 0)
		return ctl_fail(ctl, &f);
	cfg.routes = routes.items;
	cfg.n_routes = routes.n;
	if (load_new(&l, ctl->loop, &cfg, o->common.timeout_ms, &f) < 0)
		return ctl_fail(ctl, &f);
	return run(ctl, o, l);
}

const struct verb verb_bench_produce = {
	.name = "bench produce",
	.operands = "",
	.summary = "Measure sending: throughput and latency",
	.details = "Every message is a SEND_MESSAGE_V2 as the Java client sends it, with a unique id; with "
		   "--batch SEND_BATCH_MESSAGE.",
	.lines = produce_lines,
	.n_lines = N_ELEMENTS(produce_lines),
	.options_size = sizeof(struct produce_options),
	.run = cmd_produce,
};
