/* mqctl: one command line for topics, groups, messages and measurements. Only the protocol is used: it
 * works with Apache's servers too. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "daemons/ctl/ctl.h"

static void print_version(void)
{
	puts("mqctl " MQ_PACKAGE_VERSION);
}

static void print_overview(FILE *out)
{
	fputs("mqctl VERB [ARGUMENTS] [OPTIONS]\n\nSend and read messages, look after topics and groups, "
	      "measure.\n\nVerbs:\n",
	      out);
	for (unsigned i = 0; i < n_verbs; i++)
		fprintf(out, "  %-15s %s\n", verbs[i]->name, verbs[i]->summary);
	fputs("\n'mqctl VERB --help' explains a verb, 'man mqctl' the whole. First steps:\n\n"
	      "  mqctl topic create hello\n  mqctl send hello 'first message'\n  mqctl tail hello "
	      "--from-beginning\n",
	      out);
}

/* Ctrl-C and SIGTERM end waiting properly: a group member leaves its group, a measurement prints what it
 * has. */
static void on_signal(evutil_socket_t signal, short what, void *user)
{
	struct ctl *ctl = user;

	if (ctl->is_interrupted)
		_exit(EXIT_INTERRUPTED); /* asked twice */
	ctl->is_interrupted = true;
	mq_client_interrupt(ctl->client);
}

static void signals_free(struct event *signals[2])
{
	for (unsigned i = 0; i < 2; i++)
		if (signals[i])
			event_free(signals[i]);
}

static int watch_signals(struct ctl *ctl, struct event *signals[2])
{
	static const int numbers[] = { SIGINT, SIGTERM };

	for (unsigned i = 0; i < 2; i++) {
		signals[i] = evsignal_new(mq_loop_base(ctl->loop), numbers[i], on_signal, ctl);
		if (!signals[i] || event_add(signals[i], NULL) < 0)
			return ctl_no_memory();
	}
	return 0;
}

static int run_verb(const struct verb *verb, const void *options, char **operands, unsigned n_operands)
{
	struct event *signals[2] = {};
	struct ctl ctl = { .verb = verb, .common = options };
	int code;

	ctl.is_terminal = isatty(STDOUT_FILENO);
	ctl.format = ctl.common->output == OUTPUT_JSON	  ? FORMAT_JSON :
		     ctl.common->output == OUTPUT_TABLE || ctl.is_terminal ? FORMAT_TABLE :
									FORMAT_PLAIN;
	code = ctl_connect(&ctl);
	if (code == 0)
		code = watch_signals(&ctl, signals);
	if (code == 0)
		code = verb->run(&ctl, options, operands, n_operands);
	signals_free(signals);
	mq_client_free(ctl.client);
	mq_loop_free(ctl.loop);
	return code;
}

static int parse_and_run(const struct verb *verb, int argc, char **argv)
{
	_cleanup_(freep) void *options = calloc(1, verb->options_size);
	const struct common_options *common = options;
	struct mq_error err;
	char **operands;
	unsigned n_operands;

	if (!options)
		return ctl_no_memory();
	if (args_parse(verb, options, argc, argv, (int64_t)time(NULL) * 1000, &operands, &n_operands, &err) < 0)
		return ctl_usage(verb, "%s", err.text);
	if (common->help) {
		args_print_help(verb, stdout);
		return 0;
	}
	if (common->version) {
		print_version();
		return 0;
	}
	return run_verb(verb, options, operands, n_operands);
}

static int no_such_verb(int argc, char **argv)
{
	bool is_family = false;

	fprintf(stderr, "mqctl: there is no '%s%s%s'", argv[1], argc > 2 && argv[2][0] != '-' ? " " : "",
		argc > 2 && argv[2][0] != '-' ? argv[2] : "");
	for (unsigned i = 0; i < n_verbs; i++) {
		size_t n = strlen(argv[1]);

		if (strncmp(verbs[i]->name, argv[1], n) != 0 || verbs[i]->name[n] != ' ')
			continue;
		fprintf(stderr, "%s%s", is_family ? ", " : ": say one of ", verbs[i]->name);
		is_family = true;
	}
	fputs("\nTry 'mqctl --help'.\n", stderr);
	return EX_USAGE;
}

/* bench may open thousands of connections; the soft limit of 1024 is for programs that use select(). */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit); /* if not: who needs more descriptors will say so */
}

int main(int argc, char **argv)
{
	const struct verb *verb;
	int words;

	signal(SIGPIPE, SIG_IGN);
	raise_descriptor_limit();
	if (argc < 2) {
		print_overview(stderr);
		return EX_USAGE;
	}
	if (strcmp(argv[1], "help") == 0 && (verb = verb_find(argc - 2, argv + 2, &words))) {
		args_print_help(verb, stdout);
		return 0;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		print_overview(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		print_version();
		return 0;
	}
	verb = verb_find(argc - 1, argv + 1, &words);
	if (!verb)
		return no_such_verb(argc, argv);
	return parse_and_run(verb, argc - words, argv + words);
}
