/* mqctl tail: what is in a topic, and what comes in.
 *
 * Without a group each queue is read by itself and nothing is left behind at the broker. Two ways: the last
 * messages of the topic are gathered from the ends of all queues, sorted by store time and printed; from a
 * start on (the beginning, a time, or now with -f) the queues are printed as they answer. With --group we
 * join it as one more member. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemons/ctl/ctl.h"
#include "daemons/ctl/message.h"
#include "libmq/client/admin.h"
#include "libmq/client/consumer.h"
#include "libmq/client/route.h"
#include "libmq/wire/codes.h"
#include "libmq/wire/message_properties.h"

enum {
	LAST_DEFAULT = 10,
	SUSPEND_MS = 15000,
	NO_TIME = 0,   /* --from was not given */
	SHOWN_MAX = 4, /* reasons printed in one outage */
};

struct tail_options {
	struct common_options common;
	bool follow, from_beginning, raw;
	int64_t from_ms, count;
	const char *group, *tag, *filter;
	int64_t queue_id;
};

#define TAIL(member) offsetof(struct tail_options, member)

static const struct arg_line tail_lines[] = {
	{ 'f', "follow", ARG_FLAG, NULL, TAIL(follow), NULL, 0, 0, NULL,
	  "go on printing messages as they arrive" },
	{ 0, "from-beginning", ARG_FLAG, NULL, TAIL(from_beginning), NULL, 0, 0, NULL,
	  "start with the oldest message" },
	{ 0, "from", ARG_TIME, "TIME", TAIL(from_ms), NULL, 0, 0, NULL,
	  "start with the first message stored at TIME or later: 2026-01-31T12:00, 12:00, -10m, today" },
	{ 'c', "count", ARG_INT, "N", TAIL(count), NULL, 1, INT64_MAX, NULL,
	  "print N messages and stop; without a start and -f: of the last N (default 10) those that "
	  "match" },
	{ 'g', "group", ARG_TEXT, "GROUP", TAIL(group), NULL, 0, 0, NULL,
	  "read as a member of the consumer group: share the queues with the others, go on where it was, "
	  "commit what was printed" },
	{ 't', "tag", ARG_TEXT, "EXPRESSION", TAIL(tag), NULL, 0, 0, NULL,
	  "only messages with these tags: 'TagA || TagB'" },
	{ 'F', "filter", ARG_TEXT, "EXPRESSION", TAIL(filter), NULL, 0, 0, NULL,
	  "only messages whose properties satisfy this SQL92 expression: 'price > 10 AND region IS NULL'" },
	{ 'q', "queue", ARG_INT, "ID", TAIL(queue_id), "-1", -1, 65535, NULL,
	  "only this queue of each broker; -1: all" },
	{ 'r', "raw", ARG_FLAG, NULL, TAIL(raw), NULL, 0, 0, NULL, "print bodies and nothing else" },
};

struct tail;

struct tail_queue {
	struct tail *tail;
	struct mq_puller *puller; /* owned */
	const char *broker;       /* borrowed from the route */
	struct mq_hop hop;
	int32_t id;
	int64_t start, end;       /* without -f: stop when `end` is reached */
	bool is_done;
};

/* A message kept for sorting. */
struct kept {
	int64_t store_at_ms, physical_offset;
	char *bytes; /* owned: the whole record */
	size_t n;
	const char *broker;
};

struct tail {
	struct ctl *ctl;
	const struct tail_options *options;
	const char *topic;
	struct message_printer printer;
	struct mq_topic_route *route;
	struct tail_queue *queues; /* owned */
	unsigned n_queues, n_running;
	bool is_keeping;           /* gather in `kept` instead of printing */
	struct kept *kept;         /* owned */
	size_t n_kept, kept_capacity;
	int64_t n_printed;
	bool is_done;
	int output_error;
	bool has_failed;
	struct mq_failure failure;
	unsigned n_shown; /* failures of this outage that were printed */
	char shown[SHOWN_MAX][FAILURE_TEXT_MAX];
};

static bool count_is_reached(const struct tail *t)
{
	return t->options->count > 0 && t->n_printed >= t->options->count;
}

static int keep(struct tail *t, const struct mq_record *r, struct mq_slice bytes, const char *broker)
{
	struct kept *k;

	if (t->n_kept == t->kept_capacity) {
		size_t capacity = t->kept_capacity ? t->kept_capacity * 2 : 64;
		struct kept *larger = realloc(t->kept, capacity * sizeof *larger);

		if (!larger)
			return -ENOMEM;
		t->kept = larger;
		t->kept_capacity = capacity;
	}
	k = &t->kept[t->n_kept];
	*k = (struct kept){ r->store_at_ms, r->physical_offset, malloc(bytes.n), bytes.n, broker };
	if (!k->bytes)
		return -ENOMEM;
	memcpy(k->bytes, bytes.p, bytes.n);
	t->n_kept++;
	return 0;
}

static int take_record(struct tail *t, const struct mq_record *r, struct mq_slice bytes, const char *broker)
{
	int error;

	if (t->options->tag &&
	    !mq_tag_matches(t->options->tag, mq_properties_get(r->properties, MQ_PROPERTY_TAGS)))
		return 0;
	if (t->is_keeping)
		return keep(t, r, bytes, broker);
	error = message_print(&t->printer, r, broker, stdout);
	if (error == 0)
		t->n_printed++;
	return error;
}

/* Prints what was answered. *ret_next is where to go on: behind the last message that was printed. */
static int take_batch(struct tail *t, const struct mq_pull_batch *batch, int64_t end, const char *broker,
		      int64_t *ret_next)
{
	struct mq_slice rest = batch->records;
	struct mq_record record;
	int r = 0;

	*ret_next = batch->next_offset;
	while (r >= 0) {
		const char *start = rest.p;

		if (count_is_reached(t))
			break;
		r = mq_records_next(&rest, &record);
		if (r <= 0)
			break;
		if (record.queue_offset >= end)
			break;
		r = take_record(t, &record, (struct mq_slice){ start, (size_t)(rest.p - start) }, broker);
		if (count_is_reached(t))
			*ret_next = record.queue_offset + 1;
	}
	if (t->ctl->is_terminal || t->options->follow || t->options->group)
		(void)fflush(stdout); /* ferror() says it below */
	if (r < 0 || ferror(stdout)) {
		t->output_error = r < 0 ? r : -EIO;
		t->is_done = true;
		return -ECANCELED;
	}
	return 0;
}

static void queue_finish(struct tail_queue *q)
{
	if (q->is_done)
		return;
	q->is_done = true;
	if (--q->tail->n_running == 0)
		q->tail->is_done = true;
}

static int queue_on_batch(struct mq_puller *p, const struct mq_pull_batch *batch, void *user)
{
	struct tail_queue *q = user;
	struct tail *t = q->tail;
	int64_t next;

	t->n_shown = 0;
	if (t->is_done || take_batch(t, batch, q->end, q->broker, &next) < 0)
		return -ECANCELED;
	if (count_is_reached(t))
		t->is_done = true;
	/* A corrected offset may have come out behind the end. */
	if (next >= q->end || (batch->code == MQ_PULL_NOT_FOUND && !t->options->follow))
		queue_finish(q);
	return q->is_done || t->is_done ? -ECANCELED : 0;
}

/* Will it pass by itself? A topic is away from the routes while its broker is, so a NameServer's "no" is not final. */
static bool is_transient(const struct mq_failure *f)
{
	if (f->stage != MQ_STAGE_ANSWER || f->hop == MQ_HOP_NAMESRV)
		return true;
	switch (f->code) {
	case MQ_SYSTEM_BUSY:
	case MQ_SERVICE_NOT_AVAILABLE:
	case MQ_FLOW_CONTROL:
	case MQ_GO_AWAY:
	case MQ_SUBSCRIPTION_NOT_EXIST:
	case MQ_SUBSCRIPTION_NOT_LATEST:
		return true;
	default:
		return false;
	}
}

/* Once per reason and outage: every queue comes here each second. */
static void show_transient(struct tail *t, const struct mq_failure *f)
{
	char text[FAILURE_TEXT_MAX];

	failure_text(f, false, text);
	for (unsigned i = 0; i < t->n_shown; i++)
		if (strcmp(text, t->shown[i]) == 0)
			return;
	if (t->n_shown == SHOWN_MAX)
		return;
	memcpy(t->shown[t->n_shown++], text, sizeof text);
	fprintf(stderr, "mqctl: %s; trying again\n", text);
}

static int queue_on_failure(struct mq_puller *p, const struct mq_failure *f, void *user)
{
	struct tail_queue *q = user;
	struct tail *t = q->tail;

	if (f->r == -ECANCELED)
		return f->r;
	if (!t->options->follow || !is_transient(f)) {
		if (!t->has_failed)
			t->failure = *f;
		t->has_failed = t->is_done = true;
		return -ECANCELED;
	}
	show_transient(t, f);
	return 0;
}

static const struct mq_puller_events queue_events = {
	.on_batch = queue_on_batch,
	.on_failure = queue_on_failure,
};

static bool queue_is_wanted(const struct tail *t, int32_t id)
{
	return t->options->queue_id < 0 || t->options->queue_id == id;
}

static int find_queues(struct tail *t, struct mq_failure *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < t->route->n_brokers; i++)
		if (t->route->brokers[i].address)
			n += (unsigned)t->route->brokers[i].n_read;
	t->queues = calloc(n + 1, sizeof *t->queues);
	if (!t->queues)
		return mq_failure_local(f, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < t->route->n_brokers; i++) {
		const struct mq_topic_broker *b = &t->route->brokers[i];

		for (int32_t id = 0; b->address && id < b->n_read; id++)
			if (queue_is_wanted(t, id))
				t->queues[t->n_queues++] = (struct tail_queue){
					.tail = t, .broker = b->name, .hop = mq_topic_route_hop(b), .id = id,
				};
	}
	if (t->n_queues == 0)
		return t->options->queue_id >= 0
			       ? mq_failure_local(f, -ENOENT, "topic %s has no queue %d", t->topic,
						  (int)t->options->queue_id)
			       : mq_failure_local(f, -ENOENT, "topic %s has no queue that can be read",
						  t->topic);
	return 0;
}

static int ask_offset(struct tail_queue *q, int code, int64_t *ret, struct mq_failure *f)
{
	return mq_admin_offset(q->tail->ctl->client, &q->hop, code, q->tail->topic, q->id,
			       q->tail->options->from_ms, ret, f);
}

/* Sets where each queue starts and, unless -f, ends: at what is there now. */
static int find_offsets(struct tail *t, struct mq_failure *f)
{
	const struct tail_options *o = t->options;
	int r = 0;

	for (unsigned i = 0; i < t->n_queues && r >= 0; i++) {
		struct tail_queue *q = &t->queues[i];
		int64_t min = 0;

		r = ask_offset(q, MQ_GET_MAX_OFFSET, &q->end, f);
		if (r >= 0)
			r = ask_offset(q, MQ_GET_MIN_OFFSET, &min, f);
		if (r < 0)
			break;
		if (o->from_beginning)
			q->start = min;
		else if (o->from_ms != NO_TIME)
			r = ask_offset(q, MQ_SEARCH_OFFSET_BY_TIMESTAMP, &q->start, f);
		else if (o->follow)
			q->start = q->end;
		else
			q->start = q->end - (o->count > 0 ? o->count : LAST_DEFAULT);
		if (q->start < min)
			q->start = min;
		if (o->follow)
			q->end = INT64_MAX;
	}
	return r;
}

/* What the broker is to filter by. */
static const char *tail_expression(const struct tail_options *o)
{
	return o->filter ? o->filter : o->tag;
}

static int start_queues(struct tail *t)
{
	t->n_running = t->n_queues;
	for (unsigned i = 0; i < t->n_queues; i++) {
		struct tail_queue *q = &t->queues[i];
		struct mq_puller_config cfg = {
			.topic = t->topic,
			.broker = q->broker,
			.queue_id = q->id,
			.expression = tail_expression(t->options),
			.is_sql = t->options->filter,
			.offset = q->start,
			.suspend_ms = t->options->follow ? SUSPEND_MS : 0,
		};

		if (q->start >= q->end) {
			queue_finish(q);
			continue;
		}
		if (mq_puller_new(&q->puller, t->ctl->client, &cfg, &queue_events, q) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int compare_kept(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	if (x->store_at_ms != y->store_at_ms)
		return x->store_at_ms < y->store_at_ms ? -1 : 1;
	return (x->physical_offset > y->physical_offset) - (x->physical_offset < y->physical_offset);
}

static int print_kept(struct tail *t)
{
	size_t wanted = t->options->count > 0 ? (size_t)t->options->count : LAST_DEFAULT;
	int r = 0;

	if (t->n_kept > 0)
		qsort(t->kept, t->n_kept, sizeof *t->kept, compare_kept);
	for (size_t i = t->n_kept > wanted ? t->n_kept - wanted : 0; i < t->n_kept && r >= 0; i++) {
		struct mq_record record;

		r = mq_record_decode((struct mq_slice){ t->kept[i].bytes, t->kept[i].n }, &record);
		if (r >= 0)
			r = message_print(&t->printer, &record, t->kept[i].broker, stdout);
	}
	return r;
}

static void tail_done(struct tail *t)
{
	for (unsigned i = 0; i < t->n_queues; i++)
		mq_puller_free(t->queues[i].puller);
	free(t->queues);
	for (size_t i = 0; i < t->n_kept; i++)
		free(t->kept[i].bytes);
	free(t->kept);
	mq_topic_route_unref(t->route);
	message_printer_done(&t->printer);
}

static int output_failed(int r)
{
	/* "mqctl tail | head" is no failure. */
	if (errno == EPIPE)
		return 0;
	if (r == -EBADMSG)
		return ctl_error(EX_PROTOCOL, "the broker sent a record that cannot be read");
	return r == -ENOMEM ? ctl_no_memory()
			    : ctl_error(EX_IOERR, "cannot write to standard output: %s", strerror(errno));
}

/* A pull with an expression that the broker does not understand would bring everything. Returns the exit code, 0 for go on. */
static int check_filter(struct tail *t)
{
	char text[FAILURE_TEXT_MAX];
	struct mq_failure f = {};
	int r = 0;

	for (unsigned i = 0; t->options->filter && i < t->route->n_brokers && r >= 0; i++) {
		struct mq_hop hop = mq_topic_route_hop(&t->route->brokers[i]);

		if (t->route->brokers[i].address)
			r = mq_admin_check_sql(t->ctl->client, &hop, t->topic, t->options->filter, &f);
	}
	if (r >= 0)
		return 0;
	if (f.code == MQ_SUBSCRIPTION_PARSE_FAILED)
		return ctl_error(EX_USAGE, "--filter: %s", failure_text(&f, false, text));
	if (f.code == MQ_SYSTEM_ERROR)
		return ctl_error(EXIT_FAILED, "%s: set enablePropertyFilter=true in its configuration", failure_text(&f, false, text));
	return ctl_fail(t->ctl, &f);
}

static int tail_queues(struct tail *t)
{
	struct mq_failure f;
	int r;

	r = find_queues(t, &f);
	if (r >= 0)
		r = find_offsets(t, &f);
	if (r < 0)
		return ctl_fail(t->ctl, &f);

	t->is_keeping = !t->options->follow && !t->options->from_beginning && t->options->from_ms == NO_TIME;
	if (start_queues(t) < 0)
		return ctl_no_memory();
	r = mq_client_wait(t->ctl->client, &t->is_done, -1);
	if (r < 0)
		return r == -EINTR ? EXIT_INTERRUPTED : ctl_error(EXIT_FAILED, "%s", strerror(-r));
	if (t->has_failed)
		return ctl_fail(t->ctl, &t->failure);
	if (t->output_error == 0 && t->is_keeping)
		t->output_error = print_kept(t);
	return t->output_error < 0 ? output_failed(t->output_error) : 0;
}

/* --- as a member of a group --- */

static int member_on_batch(struct mq_puller *p, const struct mq_pull_batch *batch, void *user)
{
	struct tail *t = user;
	int64_t next;

	t->n_shown = 0;
	if (t->is_done) {
		mq_puller_seek(p, batch->offset);
		return -ECANCELED;
	}
	if (take_batch(t, batch, INT64_MAX, mq_puller_broker(p), &next) < 0)
		return -ECANCELED;
	mq_puller_seek(p, next);
	if (count_is_reached(t)) {
		t->is_done = true;
		return -ECANCELED;
	}
	return 0;
}

static void member_on_assigned(unsigned n_queues, unsigned n_members, void *user)
{
	struct tail *t = user;

	if (t->ctl->is_terminal)
		fprintf(stderr, "mqctl: member of group %s: %u queues, %u members\n", t->options->group,
			n_queues, n_members);
}

static void member_on_failure(const struct mq_failure *f, void *user)
{
	struct tail *t = user;

	if (!is_transient(f)) {
		if (!t->has_failed)
			t->failure = *f;
		t->has_failed = t->is_done = true;
		return;
	}
	show_transient(t, f);
}

static const struct mq_consumer_events member_events = {
	.on_batch = member_on_batch,
	.on_assigned = member_on_assigned,
	.on_failure = member_on_failure,
};

static int tail_group(struct tail *t)
{
	const struct tail_options *o = t->options;
	struct mq_consumer_config cfg = {
		.group = o->group,
		.topic = t->topic,
		.expression = tail_expression(o),
		.is_sql = o->filter,
		.from = o->from_beginning ? MQ_FROM_FIRST : o->from_ms != NO_TIME ? MQ_FROM_TIME : MQ_FROM_LAST,
		.from_ms = o->from_ms,
	};
	struct mq_consumer *consumer;
	int r;

	if (mq_consumer_new(&consumer, t->ctl->client, &cfg, &member_events, t) < 0)
		return ctl_no_memory();
	r = mq_client_wait(t->ctl->client, &t->is_done, -1);
	mq_consumer_free(consumer);
	if (t->has_failed)
		return ctl_fail(t->ctl, &t->failure);
	if (t->output_error < 0)
		return output_failed(t->output_error);
	return r == -EINTR ? EXIT_INTERRUPTED : 0;
}

static int tail_run(struct tail *t)
{
	struct mq_failure f;
	int code;

	/* An unknown topic or NameServer should be an error at once, for a member of a group, too. */
	if (mq_client_route(t->ctl->client, t->topic, MQ_FIND_AS_IS, &t->route, &f) < 0)
		return ctl_fail(t->ctl, &f);
	code = check_filter(t);
	if (code)
		return code;
	return t->options->group ? tail_group(t) : tail_queues(t);
}

static int cmd_tail(struct ctl *ctl, const void *options, char **operands, unsigned n_operands)
{
	const struct tail_options *o = options;
	struct tail t = { .ctl = ctl, .options = o, .topic = operands[0] };
	int code;

	if (o->from_beginning && o->from_ms != NO_TIME)
		return ctl_usage(ctl->verb, "--from-beginning and --from exclude each other");
	if (o->tag && o->filter)
		return ctl_usage(ctl->verb, "--tag and --filter exclude each other: say TAGS IN ('TagA', 'TagB') in the filter");
	if (o->group && o->queue_id >= 0)
		return ctl_usage(ctl->verb, "--queue and --group exclude each other: the members share the queues");
	if (message_printer_init(&t.printer, ctl->format, ctl->is_terminal, o->raw) < 0)
		return ctl_no_memory();
	errno = 0;
	code = tail_run(&t);
	tail_done(&t);
	if (fflush(stdout) != 0 && errno != EPIPE && code == 0)
		code = output_failed(-EIO);
	return code;
}

const struct verb verb_tail = {
	.name = "tail",
	.operands = "TOPIC",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "Print messages of a topic: the last ones, from a point in time, or as they arrive",
	.details = "Without options: the last 10 messages. With -f alone: what arrives from now on. With "
		   "--group messages count as\n"
		   "consumed and the command runs until --count is reached or Ctrl-C.",
	.lines = tail_lines,
	.n_lines = N_ELEMENTS(tail_lines),
	.options_size = sizeof(struct tail_options),
	.run = cmd_tail,
};
