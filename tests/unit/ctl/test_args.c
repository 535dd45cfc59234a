#include "tests/unit/ctl/ctl_test.h"

#include <errno.h>

#include "daemons/ctl/args.h"

struct options {
	struct common_options common;
	bool flag;
	const char *text;
	int64_t number, size, duration, time;
	int choice;
	struct arg_list list;
};

#define AT(member) offsetof(struct options, member)

static const char *const choices[] = { "red", "green", NULL };

static const struct arg_line lines[] = {
	{ 'f', "flag", ARG_FLAG, NULL, AT(flag), NULL, 0, 0, NULL, "a flag" },
	{ 't', "text", ARG_TEXT, "TEXT", AT(text), "none", 0, 0, NULL, "a text" },
	{ 0, "number", ARG_INT, "N", AT(number), "7", 1, 10, NULL, "a number" },
	{ 0, "size", ARG_SIZE, "BYTES", AT(size), NULL, 0, 0, NULL, "a size" },
	{ 0, "duration", ARG_DURATION, "TIME", AT(duration), NULL, 0, 0, NULL, "a duration" },
	{ 0, "from", ARG_TIME, "TIME", AT(time), NULL, 0, 0, NULL, "a time" },
	{ 0, "choice", ARG_CHOICE, "COLOUR", AT(choice), NULL, 0, 0, choices, "a choice" },
	{ 'l', "list", ARG_LIST, "ITEM", AT(list), NULL, 0, 0, NULL, "a list" },
};

static const struct verb verb = {
	.name = "test",
	.operands = "ONE [TWO]",
	.min_operands = 1,
	.max_operands = 2,
	.summary = "A verb",
	.lines = lines,
	.n_lines = N_ELEMENTS(lines),
	.options_size = sizeof(struct options),
};

static struct mq_error err;

static int parse(struct options *o, unsigned *n_operands, char ***operands, const char *const *words)
{
	static char *argv[32];
	int argc = 1;

	argv[0] = (char *)"test";
	for (; *words; words++)
		argv[argc++] = (char *)*words;
	argv[argc] = NULL;
	memset(o, 0, sizeof *o);
	return args_parse(&verb, o, argc, argv, 1000000, operands, n_operands, &err);
}

#define PARSE(...) parse(&o, &n, &operands, (const char *const[]){ __VA_ARGS__, NULL })

static void options_and_operands_may_be_mixed(void **state)
{
	struct options o;
	char **operands;
	unsigned n;

	assert_int_equal(PARSE("a", "-f", "--text", "x", "--size=4k", "b", "--choice", "green", "-l", "1",
			       "-l2", "--duration", "2m"),
			 0);
	assert_int_equal(n, 2);
	assert_string_equal(operands[0], "a");
	assert_string_equal(operands[1], "b");
	assert_true(o.flag);
	assert_string_equal(o.text, "x");
	assert_int_equal(o.size, 4096);
	assert_int_equal(o.choice, 1);
	assert_int_equal(o.list.n, 2);
	assert_string_equal(o.list.items[1], "2");
	assert_int_equal(o.duration, 120000);
}

static void defaults_hold_where_nothing_is_given(void **state)
{
	struct options o;
	char **operands;
	unsigned n;

	assert_int_equal(PARSE("a"), 0);
	assert_int_equal(o.number, 7);
	assert_string_equal(o.text, "none");
	assert_int_equal(o.common.timeout_ms, 3000);
	assert_null(o.common.namesrv);
}

static void what_begins_with_a_dash_can_be_an_operand(void **state)
{
	struct options o;
	char **operands;
	unsigned n;

	assert_int_equal(PARSE("a", "--", "-x"), 0);
	assert_int_equal(n, 2);
	assert_string_equal(operands[1], "-x");
}

static void a_time_before_now_is_no_option(void **state)
{
	struct options o;
	char **operands;
	unsigned n;

	assert_int_equal(PARSE("a", "--from", "-10s"), 0);
	assert_int_equal(o.time, 990000);
}

static void errors_say_what_is_wrong(void **state)
{
	struct options o;
	char **operands;
	unsigned n;

	assert_int_equal(PARSE("a", "--number", "11"), -EINVAL);
	assert_string_equal(err.text, "--number 11: must be between 1 and 10");
	assert_int_equal(PARSE("a", "--number", "x"), -EINVAL);
	assert_string_equal(err.text, "--number x: not a number");
	assert_int_equal(PARSE("a", "--choice", "blue"), -EINVAL);
	assert_string_equal(err.text, "--choice blue: not one of red, green");
	assert_int_equal(PARSE("a", "--nothing"), -EINVAL);
	assert_string_equal(err.text, "unknown option '--nothing'");
	assert_int_equal(PARSE("a", "-x"), -EINVAL);
	assert_string_equal(err.text, "unknown option '-x'");
	assert_int_equal(PARSE("a", "--text"), -EINVAL);
	assert_string_equal(err.text, "option '--text' needs a value");
	assert_int_equal(PARSE("-f"), -EINVAL);
	assert_string_equal(err.text, "ONE [TWO] is missing");
	assert_int_equal(PARSE("a", "b", "c"), -EINVAL);
	assert_string_equal(err.text, "unexpected argument 'c'");
}

static void help_needs_no_operands(void **state)
{
	struct options o;
	char **operands;
	unsigned n;

	assert_int_equal(PARSE("--help"), 0);
	assert_true(o.common.help);
}

static void help_names_every_option(void **state)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	args_print_help(&verb, out);
	fclose(out);
	for (unsigned i = 0; i < verb.n_lines; i++)
		assert_non_null(strstr(text, lines[i].name));
	for (unsigned i = 0; i < n_common_lines; i++)
		assert_non_null(strstr(text, common_lines[i].name));
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strlen(line) <= 110);
	free(text);
}

static void sizes_are_bounded(void **state)
{
	int64_t n;

	assert_int_equal(args_parse_size("1M", &n), 0);
	assert_int_equal(n, 1 << 20);
	assert_int_equal(args_parse_size("99999999999999G", &n), -EINVAL);
	assert_int_equal(args_parse_size("-1", &n), -EINVAL);
	assert_int_equal(args_parse_size("1kb", &n), -EINVAL);
	assert_int_equal(args_parse_size("", &n), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_and_operands_may_be_mixed),
		cmocka_unit_test(defaults_hold_where_nothing_is_given),
		cmocka_unit_test(what_begins_with_a_dash_can_be_an_operand),
		cmocka_unit_test(a_time_before_now_is_no_option),
		cmocka_unit_test(errors_say_what_is_wrong),
		cmocka_unit_test(help_needs_no_operands),
		cmocka_unit_test(help_names_every_option),
		cmocka_unit_test(sizes_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
