/* mqctl send: one message from an argument, a file or standard input; or many, one per line. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemons/ctl/ctl.h"
#include "libmq/client/producer.h"
#include "libmq/wire/codes.h"

enum {
	IN_FLIGHT_MAX = 64, /* sends under way with --lines and --count */
	BODY_MAX = 64 << 20, /* bytes of a file; brokers take 4 MiB by default and say so themselves */
};

struct send_options {
	struct common_options common;
	const char *file, *tag, *group;
	struct arg_list keys, properties;
	int64_t queue_id, count;
	bool lines, oneway;
};

#define SEND(member) offsetof(struct send_options, member)

static const struct arg_line send_lines[] = {
	{ 'f', "file", ARG_TEXT, "FILE", SEND(file), NULL, 0, 0, NULL,
	  "read the body from FILE, '-' for standard input" },
	{ 'l', "lines", ARG_FLAG, NULL, SEND(lines), NULL, 0, 0, NULL,
	  "every line of the input is a message of its own" },
	{ 't', "tag", ARG_TEXT, "TAG", SEND(tag), NULL, 0, 0, NULL,
	  "tag of the message, which consumers filter by" },
	{ 'k', "key", ARG_LIST, "KEY", SEND(keys), NULL, 0, 0, NULL,
	  "key to find the message by; may be given several times" },
	{ 'p', "property", ARG_LIST, "NAME=VALUE", SEND(properties), NULL, 0, 0, NULL,
	  "property of the message; may be given several times" },
	{ 'q', "queue", ARG_INT, "ID", SEND(queue_id), "-1", -1, 65535, NULL,
	  "send to this queue; -1: to the queues in turn" },
	{ 'c', "count", ARG_INT, "N", SEND(count), "1", 1, 1000000000, NULL,
	  "send the same message N times" },
	{ 'g', "group", ARG_TEXT, "GROUP", SEND(group), "mqctl", 0, 0, NULL,
	  "producer group that the broker sees" },
	{ 0, "oneway", ARG_FLAG, NULL, SEND(oneway), NULL, 0, 0, NULL,
	  "do not wait for an answer: fast, and nobody learns of a loss" },
};

/* A run of sends. Lives until the last callback. */
struct send_run {
	struct ctl *ctl;
	const struct send_options *options;
	struct mq_producer *producer;
	struct mq_message message; /* all but the body */
	unsigned n_in_flight;
	bool has_room;             /* waited for when the window is full */
	bool is_idle;              /* waited for at the end */
	uint64_t n_sent, n_failed;
	struct mq_failure failure; /* the first one */
	struct json_out json;
};

/* Stored, but not as safely as the broker is set up to. */
static const char *warning_text(int code)
{
	switch (code) {
	case MQ_FLUSH_DISK_TIMEOUT:
		return " flush-timeout";
	case MQ_SLAVE_NOT_AVAILABLE:
		return " no-slave";
	case MQ_FLUSH_SLAVE_TIMEOUT:
		return " slave-timeout";
	default:
		return "";
	}
}

static void print_result(struct send_run *run, const struct mq_send_result *r)
{
	struct mq_json_writer *w = &run->json.w;

	if (run->ctl->format != FORMAT_JSON) {
		printf("%s %d %lld %s%s\n", r->broker, r->queue_id, (long long)r->queue_offset,
		       r->unique_id, warning_text(r->code));
		return;
	}
	mq_json_open_object(w);
	mq_json_member_string(w, "broker", mq_slice_of(r->broker));
	mq_json_member_i64(w, "code", r->code);
	mq_json_member_string(w, "messageId", mq_slice_of(r->message_id ? r->message_id : ""));
	mq_json_member_i64(w, "queueId", r->queue_id);
	mq_json_member_i64(w, "queueOffset", r->queue_offset);
	mq_json_member_string(w, "topic", mq_slice_of(run->message.topic));
	mq_json_member_string(w, "uniqueId", mq_slice_of(r->unique_id));
	mq_json_close_object(w);
	(void)json_out_print(&run->json, stdout); /* without memory the exit code still tells what was sent */
}

static void run_on_sent(const struct mq_failure *f, const struct mq_send_result *result, void *user)
{
	struct send_run *run = user;

	run->n_in_flight--;
	run->has_room = true;
	run->is_idle = run->n_in_flight == 0;
	if (f) {
		if (run->n_failed++ == 0)
			run->failure = *f;
		return;
	}
	run->n_sent++;
	print_result(run, result);
}

/* Waits until `flag` is set; a wait of the user's patience: each send has its own deadline. */
static int run_wait(struct send_run *run, bool *flag)
{
	*flag = false;
	return run->n_in_flight == 0 ? 0 : mq_client_wait(run->ctl->client, flag, -1);
}

static int run_send(struct send_run *run, struct mq_slice body)
{
	struct mq_message m = run->message;
	int r;

	if (run->n_in_flight >= IN_FLIGHT_MAX) {
		r = run_wait(run, &run->has_room);
		if (r < 0)
			return mq_failure_local(&run->failure, r, "%s", strerror(-r));
	}
	if (run->n_failed > 0)
		return run->failure.r; /* what comes next would most likely fail the same way */

	m.body = body;
	run->n_in_flight++;
	if (run->options->oneway)
		r = mq_producer_send_oneway(run->producer, &m, run_on_sent, run);
	else
		r = mq_producer_send(run->producer, &m, run_on_sent, run);
	if (r < 0) {
		run->n_in_flight--;
		return mq_failure_local(&run->failure, r, "%s",
					r == -EINVAL ? "the body is empty: brokers refuse that" :
					r == -EMSGSIZE ? "tag, keys and properties exceed 32767 bytes" :
							 strerror(-r));
	}
	return 0;
}

static int send_times(struct send_run *run, struct mq_slice body)
{
	int r = 0;

	for (int64_t i = 0; i < run->options->count && r >= 0; i++)
		r = run_send(run, body);
	return r;
}

static int send_each_line(struct send_run *run, FILE *in)
{
	_cleanup_(freep) char *line = NULL;
	size_t capacity = 0;
	ssize_t n;
	int r = 0;

	while (r >= 0 && (n = getline(&line, &capacity, in)) > 0) {
		if (line[n - 1] == '\n')
			n--;
		if (n > 0)
			r = send_times(run, (struct mq_slice){ line, (size_t)n });
	}
	return r;
}

static int read_all(FILE *in, char **ret, size_t *ret_n)
{
	size_t n = 0, capacity = 65536;
	char *text = malloc(capacity);

	while (text) {
		size_t got = fread(text + n, 1, capacity - n, in);
		char *larger;

		n += got;
		if (n < capacity)
			break;
		if (capacity >= BODY_MAX) {
			free(text);
			return -EFBIG;
		}
		capacity *= 2;
		larger = realloc(text, capacity);
		if (!larger)
			free(text);
		text = larger;
	}
	if (!text)
		return -ENOMEM;
	if (ferror(in)) {
		free(text);
		return -EIO;
	}
	*ret = text;
	*ret_n = n;
	return 0;
}

static int send_input(struct send_run *run, FILE *in, const char *name)
{
	_cleanup_(freep) char *body = NULL;
	size_t n;
	int r;

	if (run->options->lines)
		return send_each_line(run, in);
	r = read_all(in, &body, &n);
	if (r < 0)
		return mq_failure_local(&run->failure, r, "%s: %s", name, strerror(-r));
	return send_times(run, (struct mq_slice){ body, n });
}

static int send_file(struct send_run *run, const char *name)
{
	FILE *in = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
	int r;

	if (!in)
		return mq_failure_local(&run->failure, -errno, "%s: %s", name, strerror(errno));
	r = send_input(run, in, strcmp(name, "-") == 0 ? "standard input" : name);
	if (in != stdin)
		fclose(in);
	return r;
}

/* Keys are one property, separated by blanks. */
static char *join_keys(const struct arg_list *keys)
{
	size_t n = 1;
	char *joined, *to;

	for (unsigned i = 0; i < keys->n; i++)
		n += strlen(keys->items[i]) + 1;
	joined = to = malloc(n);
	if (!joined)
		return NULL;
	*to = '\0';
	for (unsigned i = 0; i < keys->n; i++)
		to += sprintf(to, "%s%s", i ? " " : "", keys->items[i]);
	return joined;
}

/* Names that the client or the broker set themselves: a property of that name would change what the message
 * means. */
static bool is_reserved(struct mq_slice name)
{
	static const char *const reserved[] = { MQ_PROPERTY_KEYS, MQ_PROPERTY_TAGS, MQ_PROPERTY_UNIQ_KEY,
						MQ_PROPERTY_WAIT };

	for (unsigned i = 0; i < N_ELEMENTS(reserved); i++)
		if (mq_slice_is(name, reserved[i]))
			return true;
	return false;
}

static int split_properties(const struct verb *verb, const struct arg_list *list,
			    struct mq_property properties[ARG_LIST_MAX])
{
	for (unsigned i = 0; i < list->n; i++) {
		const char *text = list->items[i], *equal = strchr(text, '=');

		if (!equal || equal == text || !equal[1])
			return ctl_usage(verb, "--property %s: say NAME=VALUE", text);
		properties[i].name = (struct mq_slice){ text, (size_t)(equal - text) };
		properties[i].value = mq_slice_of(equal + 1);
		if (is_reserved(properties[i].name))
			return ctl_usage(verb, "--property %s: a name of the protocol, use --tag and --key", text);
		if (strpbrk(text, "\x01\x02"))
			return ctl_usage(verb, "--property: bytes 1 and 2 are not possible in a property");
	}
	return 0;
}

static int finish(struct send_run *run, int r)
{
	int waited = run_wait(run, &run->is_idle);

	if (waited < 0)
		mq_client_cancel(run->ctl->client);
	if (fflush(stdout) != 0 && errno != EPIPE)
		return ctl_error(EX_IOERR, "cannot write to standard output: %s", strerror(errno));
	if (r >= 0 && waited < 0)
		r = mq_failure_local(&run->failure, waited, "%s", strerror(-waited));
	if (r >= 0 && run->n_failed > 0)
		r = run->failure.r;
	if (r >= 0)
		return 0;
	if (r == -EINTR)
		return ctl_error(EXIT_INTERRUPTED, "interrupted after %llu messages",
				 (unsigned long long)run->n_sent);
	if (run->n_sent > 0)
		fprintf(stderr, "mqctl: %llu messages were sent before this:\n",
			(unsigned long long)run->n_sent);
	if (run->failure.stage == MQ_STAGE_LOCAL && r == -ENOENT)
		return ctl_error(EX_NOINPUT, "%s", run->failure.why);
	return ctl_fail(run->ctl, &run->failure);
}

static int run_from(struct send_run *run, char **operands, unsigned n_operands)
{
	const struct send_options *o = run->options;

	if (n_operands == 2)
		return send_times(run, mq_slice_of(operands[1]));
	return send_file(run, o->file ? o->file : "-");
}

static int cmd_send(struct ctl *ctl, const void *options, char **operands, unsigned n_operands)
{
	const struct send_options *o = options;
	_cleanup_(mq_producer_freep) struct mq_producer *producer = NULL;
	_cleanup_(freep) char *keys = join_keys(&o->keys);
	struct mq_property properties[ARG_LIST_MAX];
	struct send_run run = { .ctl = ctl, .options = o };
	int code;

	if (n_operands == 2 && (o->file || o->lines))
		return ctl_usage(ctl->verb, "the body is given twice: as an argument and with --%s",
				 o->file ? "file" : "lines");
	if (n_operands == 1 && !o->file && isatty(STDIN_FILENO) && !o->lines)
		return ctl_usage(ctl->verb,
				 "no body: give it as an argument, with --file, or on standard input");
	code = split_properties(ctl->verb, &o->properties, properties);
	if (code != 0)
		return code;
	if (!keys || mq_producer_new(&producer, ctl->client, o->group) < 0 || json_out_init(&run.json) < 0)
		return ctl_no_memory();
	run.producer = producer;
	run.message = (struct mq_message){
		.topic = operands[0],
		.tag = mq_slice_of(o->tag),
		.keys = mq_slice_of(keys),
		.properties = properties,
		.n_properties = o->properties.n,
		.queue_id = (int32_t)o->queue_id,
	};
	code = finish(&run, run_from(&run, operands, n_operands));
	json_out_done(&run.json);
	return code;
}

const struct verb verb_send = {
	.name = "send",
	.operands = "TOPIC [BODY]",
	.min_operands = 1,
	.max_operands = 2,
	.summary = "Send a message, or one per line of the input",
	.details = "Prints a line per message: broker, queue, offset, unique id. Without BODY and --file "
		   "the body is read from\n"
		   "standard input.",
	.lines = send_lines,
	.n_lines = N_ELEMENTS(send_lines),
	.options_size = sizeof(struct send_options),
	.run = cmd_send,
};
