#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemons/common/options.h"

struct sample {
	char *brokerName, *nothing;
	bool traceOn;
	int64_t listenPort, maxBytes, fileReservedTime, storeMemoryBytes;
	double ratio;
	int flushDiskType;
};

static const char *const flush_types[] = { "ASYNC_FLUSH", "SYNC_FLUSH", NULL };

static int sample_check(void *config, struct mq_error *err)
{
	struct sample *s = config;

	if (s->maxBytes > s->storeMemoryBytes)
		return mq_error_set(err, -EINVAL, "maxBytes is larger than storeMemoryBytes");
	return 0;
}

#define AT(member) .offset = offsetof(struct sample, member)

static const struct option_line lines[] = {
	{ "brokerName", OPTION_TEXT, AT(brokerName), .otherwise = "a" },
	{ "fileReservedTime", OPTION_DURATION, AT(fileReservedTime), .otherwise = "72", .unit = 3600000, .min = 0, .max = 8.64e12,
	  .is_live = true },
	{ "flushDiskType", OPTION_CHOICE, AT(flushDiskType), .otherwise = "ASYNC_FLUSH", .choices = flush_types, .is_live = true },
	{ "listenPort", OPTION_INT, AT(listenPort), .otherwise = "10911", .min = 0, .max = 65535 },
	{ "mappedFileSizeCommitLog", OPTION_IGNORED, .help = "there is no commit log file." },
	{ "maxBytes", OPTION_SIZE, AT(maxBytes), .otherwise = "4", .unit = 1024, .is_live = true },
	{ "nothing", OPTION_TEXT, AT(nothing), .is_live = true },
	{ "ratio", OPTION_DOUBLE, AT(ratio), .otherwise = "0.9", .min = 0.1, .max = 1 },
	{ "storeMemoryBytes", OPTION_SIZE, AT(storeMemoryBytes), .otherwise = "128M", .is_ours = true },
	{ "traceOn", OPTION_BOOL, AT(traceOn), .otherwise = "true", .is_live = true },
};

static const struct option_table table = {
	.lines = lines, .n_lines = N_ELEMENTS(lines), .config_size = sizeof(struct sample), .check = sample_check,
};

static const struct option_args no_args = { .program = "test" };

static struct sample loaded(void)
{
	struct sample s;

	assert_int_equal(options_load(&table, &no_args, &s, NULL), 0);
	return s;
}

static int set(struct sample *s, const char *key, const char *value, struct mq_error *err)
{
	return options_set(&table, s, mq_slice_of(key), mq_slice_of(value), false, err);
}

static void defaults_are_those_of_the_table(void **state)
{
	struct sample s = loaded();

	assert_string_equal(s.brokerName, "a");
	assert_null(s.nothing);
	assert_true(s.traceOn);
	assert_int_equal(s.listenPort, 10911);
	assert_int_equal(s.maxBytes, 4096);
	assert_int_equal(s.fileReservedTime, 72 * 3600000);
	assert_int_equal(s.storeMemoryBytes, 128 << 20);
	assert_true(s.ratio > 0.899 && s.ratio < 0.901);
	assert_int_equal(s.flushDiskType, 0);
	options_free(&table, &s);
}

static void sizes_and_durations_carry_units(void **state)
{
	static const struct {
		const char *key, *value;
		int64_t expected;
	} cases[] = {
		{ "maxBytes", "2", 2048 },	     { "maxBytes", "2b", 2 },		{ "maxBytes", "64M", 64 << 20 },
		{ "maxBytes", "1g", 1 << 30 },	     { "maxBytes", "1T", INT64_C(1) << 40 }, { "fileReservedTime", "2", 7200000 },
		{ "fileReservedTime", "500ms", 500 }, { "fileReservedTime", "3d", 3 * 86400000 },
		{ "fileReservedTime", "5m", 300000 }, { "fileReservedTime", "7s", 7000 },
	};
	struct sample s = loaded();

	for (unsigned i = 0; i < N_ELEMENTS(cases); i++) {
		assert_int_equal(set(&s, cases[i].key, cases[i].value, NULL), 0);
		assert_int_equal(cases[i].key[0] == 'm' ? s.maxBytes : s.fileReservedTime, cases[i].expected);
	}
	options_free(&table, &s);
}

static void wrong_values_are_refused_with_what_is_expected(void **state)
{
	static const struct {
		const char *key, *value, *text;
	} cases[] = {
		{ "listenPort", "many", "listenPort: 'many' is not a whole number" },
		{ "listenPort", "", "listenPort: '' is not a whole number" },
		{ "listenPort", "80k", "listenPort: '80k' is not a whole number" },
		{ "listenPort", "65536", "listenPort: '65536' is out of range, from 0 to 65535 is allowed" },
		{ "listenPort", "99999999999999999999", "listenPort: '99999999999999999999' is out of range, from 0 to 65535 is allowed" },
		{ "maxBytes", "4X", "maxBytes: '4X' is not a size such as 4096, 64K, 16M or 1G" },
		{ "fileReservedTime", "1w", "fileReservedTime: '1w' is not a duration such as 500ms, 30s, 5m, 72h or 3d" },
		{ "fileReservedTime", "-1", "fileReservedTime: '-1' is out of range, from 0 to 2400000 is allowed" },
		{ "ratio", "2", "ratio: '2' is out of range, from 0.1 to 1 is allowed" },
		{ "ratio", "nan", "ratio: 'nan' is not a number" },
		{ "traceOn", "1", "traceOn: '1' is neither true nor false" },
		{ "flushDiskType", "LATER", "flushDiskType: 'LATER' is not one of ASYNC_FLUSH, SYNC_FLUSH" },
	};
	struct sample s = loaded();

	for (unsigned i = 0; i < N_ELEMENTS(cases); i++) {
		struct mq_error err = {};

		assert_int_equal(set(&s, cases[i].key, cases[i].value, &err), -EINVAL);
		assert_string_equal(err.text, cases[i].text);
	}
	options_free(&table, &s);
}

static void an_unknown_key_suggests_the_nearest(void **state)
{
	struct sample s = loaded();
	struct mq_error err = {};

	assert_int_equal(set(&s, "listnPort", "1", &err), -ENOENT);
	assert_string_equal(err.text, "unknown key 'listnPort': did you mean 'listenPort'?");
	assert_int_equal(set(&s, "brokername", "1", &err), -ENOENT);
	assert_string_equal(err.text, "unknown key 'brokername': did you mean 'brokerName'?");
	assert_int_equal(set(&s, "storeMemory", "1", &err), -ENOENT);
	assert_string_equal(err.text, "unknown key 'storeMemory': did you mean 'storeMemoryBytes'?");
	assert_int_equal(set(&s, "colour", "1", &err), -ENOENT);
	assert_string_equal(err.text, "unknown key 'colour'");
	options_free(&table, &s);
}

static void only_live_keys_change_at_run_time(void **state)
{
	struct sample s = loaded();
	struct mq_error err = {};

	assert_int_equal(options_set(&table, &s, MQ_SLICE("listenPort"), MQ_SLICE("1"), true, &err), -EPERM);
	assert_string_equal(err.text, "listenPort can only be changed in the configuration file, followed by a restart");
	assert_int_equal(options_set(&table, &s, MQ_SLICE("traceOn"), MQ_SLICE("FALSE "), true, &err), 0);
	assert_false(s.traceOn);
	options_free(&table, &s);
}

static void an_update_is_all_or_nothing(void **state)
{
	struct sample s = loaded();
	struct mq_error err = {};

	assert_int_equal(options_update(&table, &s, MQ_SLICE("traceOn=false\nunheardOf=1\nmappedFileSizeCommitLog=7\nnothing=x\n"), &err), 0);
	assert_false(s.traceOn);
	assert_string_equal(s.nothing, "x");
	assert_int_equal(options_update(&table, &s, MQ_SLICE("traceOn=true\nlistenPort=1\n"), &err), -EPERM);
	assert_false(s.traceOn);
	assert_int_equal(options_update(&table, &s, MQ_SLICE("traceOn=true\nmaxBytes=1G\n"), &err), -EINVAL);
	assert_string_equal(err.text, "maxBytes is larger than storeMemoryBytes");
	assert_false(s.traceOn);
	assert_int_equal(s.maxBytes, 4096);
	options_free(&table, &s);
}

static void values_are_formatted_as_the_file_has_them(void **state)
{
	static const struct {
		const char *key, *value, *text;
	} cases[] = {
		{ "fileReservedTime", "72h", "72" }, { "fileReservedTime", "90m", "90m" }, { "fileReservedTime", "1500ms", "1500ms" },
		{ "maxBytes", "1M", "1024" },	     { "maxBytes", "5B", "5B" },	   { "storeMemoryBytes", "134217728", "128M" },
		{ "traceOn", "False", "false" },     { "flushDiskType", "sync_flush", "SYNC_FLUSH" }, { "ratio", "0.75", "0.75" },
		{ "brokerName", "b c", "b c" },	     { "listenPort", "0", "0" },
	};
	struct sample s = loaded();

	for (unsigned i = 0; i < N_ELEMENTS(cases); i++) {
		const struct option_line *line = options_find(&table, mq_slice_of(cases[i].key));
		char text[64];

		assert_int_equal(set(&s, cases[i].key, cases[i].value, NULL), 0);
		options_format(line, &s, text, sizeof text);
		assert_string_equal(text, cases[i].text);
	}
	options_free(&table, &s);
}

static void note_key(void *user, const struct option_line *line)
{
	snprintf((char *)user + strlen(user), 256 - strlen(user), "%s%s ", line->key, line->is_live ? "" : "!");
}

static void a_reload_adopts_the_live_keys(void **state)
{
	struct sample s = loaded(), fresh = loaded();
	char seen[256] = "";

	assert_int_equal(set(&fresh, "brokerName", "b", NULL), 0);
	assert_int_equal(set(&fresh, "nothing", "y", NULL), 0);
	assert_int_equal(set(&fresh, "flushDiskType", "SYNC_FLUSH", NULL), 0);
	assert_int_equal(options_adopt(&table, &s, &fresh, note_key, seen), 2);
	assert_string_equal(seen, "brokerName! flushDiskType nothing ");
	assert_string_equal(s.brokerName, "a");
	assert_string_equal(s.nothing, "y");
	assert_int_equal(s.flushDiskType, 1);
	options_free(&table, &s);
	options_free(&table, &fresh);
}

/* A private directory with files, removed at the end. */
struct place {
	char directory[64], file[96], drop_in_directory[96];
};

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof *p);

	snprintf(p->directory, sizeof p->directory, "/tmp/test_options.XXXXXX");
	assert_non_null(mkdtemp(p->directory));
	snprintf(p->file, sizeof p->file, "%s/b.conf", p->directory);
	snprintf(p->drop_in_directory, sizeof p->drop_in_directory, "%s/b.conf.d", p->directory);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;
	char command[200];

	snprintf(command, sizeof command, "rm -rf '%s'", p->directory);
	assert_int_equal(system(command), 0);
	free(p);
	return 0;
}

static void files_and_command_line_win_in_this_order(void **state)
{
	struct place *p = *state;
	static const char *const sets[] = { "listenPort=4" };
	struct option_args args = { .program = "test", .config_path = p->file, .sets = sets, .n_sets = 1 };
	char path[200];
	struct sample s;

	put(p->file, "# sample\nlistenPort=1\nbrokerName = main\nmappedFileSizeCommitLog=1\nmaxBytes=1\n");
	assert_int_equal(mkdir(p->drop_in_directory, 0700), 0);
	snprintf(path, sizeof path, "%s/20-b.conf", p->drop_in_directory);
	put(path, "listenPort=3\nbrokerName=second\n");
	snprintf(path, sizeof path, "%s/10-a.conf", p->drop_in_directory);
	put(path, "listenPort=2\nbrokerName=first\n");
	snprintf(path, sizeof path, "%s/30-c.conf.dpkg-old", p->drop_in_directory);
	put(path, "nonsense=3\n");

	assert_int_equal(options_load(&table, &args, &s, NULL), 0);
	assert_int_equal(s.listenPort, 4);
	assert_string_equal(s.brokerName, "second");
	assert_int_equal(s.maxBytes, 1024);
	options_free(&table, &s);
}

static void a_wrong_line_is_named_with_file_and_line(void **state)
{
	struct place *p = *state;
	struct option_args args = { .program = "test", .config_path = p->file };
	struct mq_error err = {};
	char expected[240];
	struct sample s;

	put(p->file, "listenPort=1\n\nbrokrName=x\n");
	assert_int_equal(options_load(&table, &args, &s, &err), -EINVAL);
	snprintf(expected, sizeof expected, "%s:3: unknown key 'brokrName': did you mean 'brokerName'?", p->file);
	assert_string_equal(err.text, expected);

	put(p->file, "brokerName=\\u00\n");
	assert_int_equal(options_load(&table, &args, &s, &err), -EINVAL);
	snprintf(expected, sizeof expected, "%s:1: malformed \\u escape, four hexadecimal digits expected", p->file);
	assert_string_equal(err.text, expected);

	assert_int_equal(unlink(p->file), 0);
	assert_int_equal(options_load(&table, &args, &s, &err), -EINVAL);
	snprintf(expected, sizeof expected, "%s: No such file or directory", p->file);
	assert_string_equal(err.text, expected);
}

/* Checks between keys know no lines: they are added. The last place wins, as its value did. */
static void a_failed_check_names_where_the_key_was_set(void **state)
{
	static const char *const sets[] = { "maxBytes=1T" };
	struct place *p = *state;
	struct option_args args = { .program = "test", .config_path = p->file };
	struct mq_error err = {};
	char expected[240];
	struct sample s;

	put(p->file, "brokerName=x\n\nmaxBytes=1T\n");
	assert_int_equal(options_load(&table, &args, &s, &err), -EINVAL);
	snprintf(expected, sizeof expected, "%s:3: maxBytes is larger than storeMemoryBytes", p->file);
	assert_string_equal(err.text, expected);

	args.sets = sets;
	args.n_sets = 1;
	assert_int_equal(options_load(&table, &args, &s, &err), -EINVAL);
	assert_string_equal(err.text, "-o: maxBytes is larger than storeMemoryBytes");
}

static void a_wrong_command_line_is_named(void **state)
{
	static const char *const sets[] = { "listenPort" };
	struct option_args args = { .program = "test", .sets = sets, .n_sets = 1 };
	struct mq_error err = {};
	struct sample s;

	assert_int_equal(options_load(&table, &args, &s, &err), -EINVAL);
	assert_string_equal(err.text, "-o listenPort: KEY=VALUE expected");
	args = (struct option_args){ .program = "test", .namesrv = "h:1" };
	assert_int_equal(options_load(&table, &args, &s, &err), -EINVAL);
	assert_string_equal(err.text, "option -n is for brokers: a NameServer has no NameServer");
}

static void arguments_are_gathered(void **state)
{
	char *argv[] = { "test", "-c", "f.conf", "-o", "a=1", "--set=b=2", "-t", "-n", "h:1", NULL };
	struct option_args args = { .program = "test" };

	assert_int_equal(options_parse_args(&args, 9, argv), 0);
	assert_string_equal(args.config_path, "f.conf");
	assert_string_equal(args.namesrv, "h:1");
	assert_true(args.check_config);
	assert_false(args.print_config);
	assert_int_equal(args.n_sets, 2);
	assert_string_equal(args.sets[0], "a=1");
	assert_string_equal(args.sets[1], "b=2");
}

static void wrong_arguments_are_refused(void **state)
{
	char *unknown[] = { "test", "-x", NULL }, *extra[] = { "test", "start", NULL };
	struct option_args args = { .program = "test" };

	assert_int_equal(options_parse_args(&args, 2, unknown), -EINVAL);
	assert_int_equal(options_parse_args(&args, 2, extra), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_table),
		cmocka_unit_test(sizes_and_durations_carry_units),
		cmocka_unit_test(wrong_values_are_refused_with_what_is_expected),
		cmocka_unit_test(an_unknown_key_suggests_the_nearest),
		cmocka_unit_test(only_live_keys_change_at_run_time),
		cmocka_unit_test(an_update_is_all_or_nothing),
		cmocka_unit_test(values_are_formatted_as_the_file_has_them),
		cmocka_unit_test(a_reload_adopts_the_live_keys),
		cmocka_unit_test_setup_teardown(files_and_command_line_win_in_this_order, setup, teardown),
		cmocka_unit_test_setup_teardown(a_wrong_line_is_named_with_file_and_line, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failed_check_names_where_the_key_was_set, setup, teardown),
		cmocka_unit_test(a_wrong_command_line_is_named),
		cmocka_unit_test(arguments_are_gathered),
		cmocka_unit_test(wrong_arguments_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
