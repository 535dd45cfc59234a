/* The command line: one table per verb says every option, and drives the parser, --help and the check
 * against the manual. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "libmq/base/error.h"

enum arg_type {
	ARG_FLAG,     /* bool */
	ARG_TEXT,     /* const char *, borrowed from argv; NULL: not given */
	ARG_INT,      /* int64_t within [min, max] */
	ARG_SIZE,     /* int64_t bytes: 1k, 4M; within [min, max] */
	ARG_DURATION, /* int64_t ms: 500ms, 10s, 5m, 2h; a bare number is seconds; within [min, max] */
	ARG_TIME,     /* int64_t ms since 1970, see times.h */
	ARG_CHOICE,   /* int: index in `choices` */
	ARG_LIST,     /* struct arg_list: every occurrence */
};

enum { ARG_LIST_MAX = 64 };

struct arg_list {
	unsigned n;
	const char *items[ARG_LIST_MAX]; /* borrowed from argv */
};

struct arg_line {
	char letter;             /* 0: none */
	const char *name;        /* without dashes */
	enum arg_type type;
	const char *value;       /* as help calls it: "TOPIC"; NULL for a flag */
	size_t offset;           /* in the verb's options struct */
	const char *otherwise;   /* default as text; NULL: zero */
	int64_t min, max;        /* both 0: unchecked */
	const char *const *choices; /* NULL-terminated */
	const char *help;
};

struct ctl;

struct verb {
	const char *name;      /* "send", "topic create" */
	const char *operands;  /* "TOPIC [BODY]" */
	unsigned min_operands, max_operands;
	const char *summary;   /* one line */
	const char *details;   /* paragraphs for --help, or NULL */
	const struct arg_line *lines;
	unsigned n_lines;
	size_t options_size;   /* bytes of the verb's options struct, which begins with struct common_options */
	/* Returns the exit code. */
	int (*run)(struct ctl *ctl, const void *options, char **operands, unsigned n_operands);
};

/* What every verb takes. */
struct common_options {
	const char *namesrv, *broker;
	int output;            /* enum output_choice */
	int64_t timeout_ms;
	bool help, version;
};

extern const struct arg_line common_lines[];
extern const unsigned n_common_lines;

/* Fills options (zeroed, options_size bytes) from argv[0..argc), where argv[0] is the program or verb.
 * Operands may stand anywhere; *ret_operands points into argv. `now_ms` is for ARG_TIME. -EINVAL with a
 * sentence. With --help or --version the number of operands is not checked. */
int args_parse(const struct verb *verb, void *options, int argc, char **argv, int64_t now_ms,
	       char ***ret_operands, unsigned *ret_n_operands, struct mq_error *err);

void args_print_help(const struct verb *verb, FILE *out);

/* "4k", "1M", "512": bytes. -EINVAL. */
int args_parse_size(const char *text, int64_t *ret);
