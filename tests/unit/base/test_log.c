#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "libmq/base/log.h"

/* Standard error is a pipe while a test runs. */
static int saved_stderr = -1, reader = -1;

static int redirect(void **state)
{
	int ends[2];

	saved_stderr = dup(STDERR_FILENO);
	if (saved_stderr < 0 || pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
		return -1;
	reader = ends[0];
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	unsetenv("JOURNAL_STREAM");
	mq_log_init("test");
	return 0;
}

static int restore(void **state)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(reader);
	return 0;
}

/* What was logged since the last call. */
static const char *logged(void)
{
	static char text[8192];
	ssize_t n = read(reader, text, sizeof text - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void set_journal_stream(ino_t difference)
{
	struct stat st;
	char stream[64];

	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)(st.st_ino + difference));
	setenv("JOURNAL_STREAM", stream, 1);
	mq_log_init("test");
}

static void lines_carry_their_priority(void **state)
{
	mq_log(LOG_ERR, "cannot open %s", "x");
	assert_string_equal(logged(), "<3>cannot open x\n");
}

static void what_a_peer_sent_cannot_make_lines_or_move_the_cursor(void **state)
{
	mq_log(LOG_WARNING, "group %s", "a\n<0>fake\r\033[2Jb\xc3\xa9");
	assert_string_equal(logged(), "<4>group a <0>fake  [2Jb\xc3\xa9\n");
}

static void long_lines_are_cut(void **state)
{
	char text[5000];

	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	mq_log(LOG_INFO, "%s", text);
	assert_int_equal(strlen(logged()), 3 + 2047 + 1);
}

static void an_inherited_journal_stream_of_another_file_is_not_used(void **state)
{
	set_journal_stream(1);
	mq_log(LOG_INFO, "here");
	assert_string_equal(logged(), "<6>here\n");
}

static void when_standard_error_is_the_journal_lines_go_there(void **state)
{
	static const char *const fields[] = { "MQ_PEER=test", NULL };

	set_journal_stream(0);
	mq_log_fields(LOG_DEBUG, NULL, fields, "from the unit test");
	mq_log_fields(LOG_INFO, NULL, fields, "from the unit test");
	assert_string_equal(logged(), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(lines_carry_their_priority, redirect, restore),
		cmocka_unit_test_setup_teardown(what_a_peer_sent_cannot_make_lines_or_move_the_cursor, redirect, restore),
		cmocka_unit_test_setup_teardown(long_lines_are_cut, redirect, restore),
		cmocka_unit_test_setup_teardown(an_inherited_journal_stream_of_another_file_is_not_used, redirect, restore),
		cmocka_unit_test_setup_teardown(when_standard_error_is_the_journal_lines_go_there, redirect, restore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
