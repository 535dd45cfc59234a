/* What the verbs share: the client, the output format, and how a failure is told. */
#pragma once

#include <signal.h>
#include <sysexits.h>

#include "daemons/ctl/args.h"
#include "daemons/ctl/output.h"
#include "libmq/client/client.h"

/* Exit codes (man mqctl, EXIT STATUS): 0 and 1, and of sysexits.h: EX_USAGE 64, EX_NOINPUT 66 "no such
 * topic, group or file", EX_UNAVAILABLE 69 "not reachable", EX_OSERR 71, EX_TEMPFAIL 75 "timeout or busy:
 * try again", EX_PROTOCOL 76, EX_NOPERM 77; 130 after Ctrl-C. */
enum { EXIT_FAILED = 1, EXIT_INTERRUPTED = 130 };

struct ctl {
	const struct verb *verb;
	const struct common_options *common;
	struct mq_loop *loop;      /* owned */
	struct mq_client *client;  /* owned */
	enum output_format format;
	bool is_terminal;          /* standard output */
	bool is_interrupted;       /* Ctrl-C or SIGTERM */
};

/* Of the verbs' tables. */
extern const struct verb verb_send, verb_tail, verb_topic_create, verb_topic_list, verb_topic_describe,
	verb_topic_delete, verb_group_list, verb_group_describe, verb_group_lag, verb_cluster, verb_ping, verb_bench_produce,
	verb_bench_consume, verb_bench_e2e;
extern const struct verb *const verbs[];
extern const unsigned n_verbs;

/* The verb that argv[0..] begins with, one or two words; *ret_words says how many. NULL: none. */
const struct verb *verb_find(int argc, char **argv, int *ret_words);

/* Opens the client by the common options. 0, or the exit code after the sentence was printed. */
int ctl_connect(struct ctl *ctl);
/* Another client of the same servers, on the same loop: for connections of its own. */
int ctl_new_client(struct ctl *ctl, struct mq_client **ret);

/* Prints where it failed, why, and what to change; returns the exit code. */
int ctl_fail(const struct ctl *ctl, const struct mq_failure *f);
/* The sentence of ctl_fail() without printing: for lines that go on. Returns ret. */
enum { FAILURE_TEXT_MAX = 1200 };
const char *failure_text(const struct mq_failure *f, bool with_hint, char ret[FAILURE_TEXT_MAX]);
int failure_exit_code(const struct mq_failure *f);
/* A sentence of our own; returns `code`. */
int ctl_error(int code, const char *fmt, ...) _printf_(2, 3);
/* For a wrong command line: the sentence and where to read more; returns EX_USAGE. */
int ctl_usage(const struct verb *verb, const char *fmt, ...) _printf_(2, 3);
int ctl_no_memory(void);
/* Prints the table in the chosen format; the exit code. */
int ctl_print(const struct ctl *ctl, struct table *t);
