#include "daemons/ctl/args.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "daemons/ctl/times.h"

static const char *const output_choices[] = { "auto", "table", "json", NULL };

#define COMMON(member) offsetof(struct common_options, member)

const struct arg_line common_lines[] = {
	{ 'n', "namesrv", ARG_TEXT, "ADDR", COMMON(namesrv), NULL, 0, 0, NULL,
	  "NameServer: HOST:PORT or unix:PATH, several with ';' (default $NAMESRV_ADDR, else "
	  "unix:/run/mqd/namesrv.sock)" },
	{ 'b', "broker", ARG_TEXT, "ADDR", COMMON(broker), NULL, 0, 0, NULL,
	  "talk to this broker alone, HOST:PORT or unix:PATH, and ask no NameServer" },
	{ 'o', "output", ARG_CHOICE, "FORMAT", COMMON(output), "auto", 0, 0, output_choices,
	  "table, json, or auto: a table on a terminal, bare fields in a pipe" },
	{ 0, "timeout", ARG_DURATION, "TIME", COMMON(timeout_ms), "3s", 1, 3600000, NULL,
	  "how long one request may take: 500ms, 10s (bare numbers are seconds)" },
	{ 'h', "help", ARG_FLAG, NULL, COMMON(help), NULL, 0, 0, NULL, "print this help" },
	{ 0, "version", ARG_FLAG, NULL, COMMON(version), NULL, 0, 0, NULL, "print the version" },
};

const unsigned n_common_lines = N_ELEMENTS(common_lines);

enum { LINES_MAX = 40, LONG_ONLY = 256 };

static const struct arg_line *verb_line(const struct verb *verb, unsigned i)
{
	return i < verb->n_lines ? &verb->lines[i] : &common_lines[i - verb->n_lines];
}

static unsigned verb_n_lines(const struct verb *verb)
{
	return verb->n_lines + n_common_lines;
}

int args_parse_size(const char *text, int64_t *ret)
{
	static const char units[] = "kMGT";
	char *end;
	long long n;
	int shift = 0;

	errno = 0;
	n = strtoll(text, &end, 10);
	if (end == text || errno || n < 0)
		return -EINVAL;
	if (*end) {
		const char *unit = strchr(units, *end == 'K' ? 'k' : *end);

		if (!unit || end[1])
			return -EINVAL;
		shift = 10 * (int)(unit - units + 1);
	}
	if (n > (INT64_MAX >> shift))
		return -EINVAL;
	*ret = (int64_t)n << shift;
	return 0;
}

static int parse_int(const char *text, int64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoll(text, &end, 10);
	return end == text || *end || errno ? -EINVAL : 0;
}

static int set_choice(const struct arg_line *line, int *place, const char *text, struct mq_error *err)
{
	char known[128] = "";

	for (int i = 0; line->choices[i]; i++) {
		if (strcmp(line->choices[i], text) == 0) {
			*place = i;
			return 0;
		}
		size_t n = strlen(known);

		snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", line->choices[i]);
	}
	return mq_error_set(err, -EINVAL, "--%s %s: not one of %s", line->name, text, known);
}

static int set_number(const struct arg_line *line, int64_t *place, const char *text, int64_t now_ms,
		      struct mq_error *err)
{
	int64_t n = 0;
	int r;

	switch (line->type) {
	case ARG_SIZE:
		r = args_parse_size(text, &n);
		break;
	case ARG_DURATION:
		r = times_parse_duration(text, &n);
		break;
	case ARG_TIME:
		r = times_parse(text, now_ms, &n);
		break;
	default:
		r = parse_int(text, &n);
		break;
	}
	if (r < 0)
		return mq_error_set(err, -EINVAL, "--%s %s: not a %s", line->name, text,
				    line->type == ARG_SIZE     ? "size like 512, 4k or 1M" :
				    line->type == ARG_DURATION ? "duration like 500ms, 10s or 5m" :
				    line->type == ARG_TIME     ? "time like 2026-01-31T12:00, 12:00 or -10m" :
								 "number");
	if ((line->min || line->max) && (n < line->min || n > line->max))
		return mq_error_set(err, -EINVAL, "--%s %s: must be between %lld and %lld%s", line->name,
				    text, (long long)line->min, (long long)line->max,
				    line->type == ARG_DURATION ? " ms" : "");
	*place = n;
	return 0;
}

static int set_option(const struct arg_line *line, char *options, const char *text, int64_t now_ms,
		      struct mq_error *err)
{
	void *place = options + line->offset;
	struct arg_list *list;

	switch (line->type) {
	case ARG_FLAG:
		*(bool *)place = true;
		return 0;
	case ARG_TEXT:
		*(const char **)place = text;
		return 0;
	case ARG_CHOICE:
		return set_choice(line, place, text, err);
	case ARG_LIST:
		list = place;
		if (list->n == ARG_LIST_MAX)
			return mq_error_set(err, -E2BIG, "--%s: more than %d times", line->name, ARG_LIST_MAX);
		list->items[list->n++] = text;
		return 0;
	default:
		return set_number(line, place, text, now_ms, err);
	}
}

static int set_defaults(const struct verb *verb, void *options, int64_t now_ms, struct mq_error *err)
{
	for (unsigned i = 0; i < verb_n_lines(verb); i++) {
		const struct arg_line *line = verb_line(verb, i);
		int r = line->otherwise ? set_option(line, options, line->otherwise, now_ms, err) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

static void make_getopt(const struct verb *verb, struct option *longs, char *shorts)
{
	*shorts++ = ':';
	for (unsigned i = 0; i < verb_n_lines(verb); i++) {
		const struct arg_line *line = verb_line(verb, i);

		longs[i] = (struct option){ line->name, line->value ? required_argument : no_argument, NULL,
					    LONG_ONLY + (int)i };
		if (!line->letter)
			continue;
		*shorts++ = line->letter;
		if (line->value)
			*shorts++ = ':';
	}
	longs[verb_n_lines(verb)] = (struct option){};
	*shorts = '\0';
}

static const struct arg_line *find_line(const struct verb *verb, int c)
{
	if (c >= LONG_ONLY)
		return verb_line(verb, (unsigned)(c - LONG_ONLY));
	for (unsigned i = 0; i < verb_n_lines(verb); i++)
		if (verb_line(verb, i)->letter == c)
			return verb_line(verb, i);
	return NULL;
}

static int check_operands(const struct verb *verb, unsigned n, char **operands, struct mq_error *err)
{
	if (n < verb->min_operands)
		return mq_error_set(err, -EINVAL, "%s is missing", verb->operands);
	if (n > verb->max_operands)
		return mq_error_set(err, -EINVAL, "unexpected argument '%s'", operands[verb->max_operands]);
	return 0;
}

int args_parse(const struct verb *verb, void *options, int argc, char **argv, int64_t now_ms,
	       char ***ret_operands, unsigned *ret_n_operands, struct mq_error *err)
{
	struct option longs[LINES_MAX + 1];
	char shorts[2 * LINES_MAX + 2];
	const struct common_options *common = options;
	int c, r;

	r = set_defaults(verb, options, now_ms, err);
	if (r < 0)
		return r;
	make_getopt(verb, longs, shorts);
	optind = 0; /* glibc: starts over, with its permutation */
	while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		const struct arg_line *line;

		if (c == ':')
			return mq_error_set(err, -EINVAL, "option '%s' needs a value", argv[optind - 1]);
		line = c == '?' ? NULL : find_line(verb, c);
		if (!line)
			return optopt && optopt < LONG_ONLY
				       ? mq_error_set(err, -EINVAL, "unknown option '-%c'", optopt)
				       : mq_error_set(err, -EINVAL, "unknown option '%s'",
						      argv[optind - 1]);
		r = set_option(line, options, optarg, now_ms, err);
		if (r < 0)
			return r;
	}

	unsigned n = (unsigned)(argc - optind);

	if (!common->help && !common->version) {
		r = check_operands(verb, n, argv + optind, err);
		if (r < 0)
			return r;
	}
	*ret_operands = argv + optind;
	*ret_n_operands = n;
	return 0;
}

/* One option: its names in a column, its help beside, broken at blanks. */
static void print_line(const struct arg_line *line, FILE *out)
{
	enum { INDENT = 28, WIDTH = 100 };
	char left[64], letter[8] = "    ";
	const char *text = line->help;

	if (line->letter)
		snprintf(letter, sizeof letter, "-%c, ", line->letter);
	snprintf(left, sizeof left, "  %s--%s%s%s", letter, line->name, line->value ? " " : "",
		 line->value ? line->value : "");
	fprintf(out, "%-*s", INDENT - 1, left);
	if (strlen(left) >= INDENT)
		fprintf(out, "\n%*s", INDENT - 1, "");
	while (strlen(text) > WIDTH - INDENT) {
		int n = WIDTH - INDENT;

		while (n > 1 && text[n] != ' ')
			n--;
		fprintf(out, " %.*s\n%*s", n, text, INDENT - 1, "");
		text += n + 1;
	}
	fprintf(out, " %s", text);
	if (line->otherwise && line->type != ARG_CHOICE)
		fprintf(out, " (default %s)", line->otherwise);
	fputc('\n', out);
}

void args_print_help(const struct verb *verb, FILE *out)
{
	fprintf(out, "mqctl %s %s\n\n%s\n", verb->name, *verb->operands ? verb->operands : "[OPTIONS]",
		verb->summary);
	if (verb->details)
		fprintf(out, "\n%s\n", verb->details);
	if (verb->n_lines > 0)
		fputs("\nOptions:\n", out);
	for (unsigned i = 0; i < verb->n_lines; i++)
		print_line(&verb->lines[i], out);
	fputs("\nCommon options:\n", out);
	for (unsigned i = 0; i < n_common_lines; i++)
		print_line(&common_lines[i], out);
}
