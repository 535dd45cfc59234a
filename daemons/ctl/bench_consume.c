/* mqctl bench consume: reads a filled topic as fast as it comes (catch-up). */
#include <errno.h>
#include <stdlib.h>

#include "daemons/ctl/bench_readers.h"
#include "daemons/ctl/load.h"

struct consume_options {
	struct common_options common;
	const char *topic, *group;
	int64_t connections, pull, duration_ms;
	bool quiet;
};

#define CONSUME(member) offsetof(struct consume_options, member)

static const struct arg_line consume_lines[] = {
	{ 't', "topic", ARG_TEXT, "TOPIC", CONSUME(topic), "mqbench", 0, 0, NULL,
	  "topic to read, filled before: see bench produce" },
	{ 'c', "connections", ARG_INT, "N", CONSUME(connections), "4", 1, 10000, NULL,
	  "connections that share the queues" },
	{ 'p', "pull", ARG_INT, "N", CONSUME(pull), "32", 1, 10000, NULL,
	  "messages to ask for at once; brokers give 32 at most by default" },
	{ 'd', "duration", ARG_DURATION, "TIME", CONSUME(duration_ms), NULL, 1, 86400000, NULL,
	  "read the topic again and again for so long; default: once from beginning to end" },
	{ 'g', "group", ARG_TEXT, "GROUP", CONSUME(group), MQ_TOOLS_GROUP, 0, 0, NULL,
	  "consumer group that the broker sees; nothing is committed" },
	{ 0, "quiet", ARG_FLAG, NULL, CONSUME(quiet), NULL, 0, 0, NULL, "no progress lines" },
};

static struct bench_progress progress(void *user)
{
	struct readers_stats *stats = readers_stats(user);

	return (struct bench_progress){ stats->messages, stats->bytes, &stats->interval };
}

static int run(struct ctl *ctl, const struct consume_options *o, struct readers *readers)
{
	struct readers_stats *stats = readers_stats(readers);
	struct bench_watch watch = { .ctl = ctl, .progress = progress, .user = readers, .is_quiet = o->quiet };
	double cpu_seconds = bench_cpu_seconds();
	int64_t start_ns = load_now_ns();
	struct bench_result result;

	if (bench_watch_start(&watch) < 0 || readers_start(readers) < 0) {
		bench_watch_stop(&watch);
		return ctl_no_memory();
	}
	/* After Ctrl-C the result is what there is so far. */
	(void)bench_wait(ctl, &stats->is_done, o->duration_ms > 0 ? o->duration_ms : -1);
	bench_watch_stop(&watch);
	if (stats->has_failed)
		return ctl_fail(ctl, &stats->failure);
	result = (struct bench_result){
		.kind = "consume",
		.latency_of = "pull",
		.seconds = (double)(load_now_ns() - start_ns) / 1e9,
		.messages = stats->messages,
		.bytes = stats->bytes,
		.latency = &stats->latency,
		.cpu_seconds = bench_cpu_seconds() - cpu_seconds,
	};
	return bench_print(ctl, o, &result);
}

static int cmd_consume(struct ctl *ctl, const void *options, char **operands, unsigned n_operands)
{
	const struct consume_options *o = options;
	_cleanup_(mq_topic_route_unrefp) struct mq_topic_route *route = NULL;
	_cleanup_(readers_freep) struct readers *readers = NULL;
	struct readers_config cfg = {
		.topic = o->topic,
		.group = o->group,
		.connections = (unsigned)o->connections,
		.max_messages = (int32_t)o->pull,
		.is_endless = o->duration_ms > 0,
	};
	struct mq_failure f;

	if (mq_client_route(ctl->client, o->topic, MQ_FIND_AS_IS, &route, &f) < 0)
		return ctl_fail(ctl, &f);
	cfg.route = route;
	if (readers_new(&readers, ctl, &cfg, NULL, NULL, &f) < 0)
		return ctl_fail(ctl, &f);
	if (readers_backlog(readers) == 0)
		return ctl_error(EX_NOINPUT,
				 "topic %s is empty: fill it with 'mqctl bench produce --topic %s'",
				 o->topic, o->topic);
	return run(ctl, o, readers);
}

const struct verb verb_bench_consume = {
	.name = "bench consume",
	.operands = "",
	.summary = "Measure reading a filled topic from beginning to end",
	.details = "Each queue is pulled by itself, one pull after the other; the latency is that of a "
		   "pull. No offsets are committed.",
	.lines = consume_lines,
	.n_lines = N_ELEMENTS(consume_lines),
	.options_size = sizeof(struct consume_options),
	.run = cmd_consume,
};
