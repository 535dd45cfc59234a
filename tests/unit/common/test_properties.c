#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <event2/buffer.h>

#include "daemons/common/properties.h"

/* Pairs as one text: "line|key|value;" each. */
struct seen {
	char text[4096];
	size_t n;
};

static int see(void *user, unsigned line, struct mq_slice key, struct mq_slice value, struct mq_error *err)
{
	struct seen *s = user;

	s->n += (size_t)snprintf(s->text + s->n, sizeof s->text - s->n, "%u|%.*s|%.*s;", line, MQ_FMT(key), MQ_FMT(value));
	return 0;
}

static void assert_pairs(struct mq_slice text, const char *expected)
{
	struct seen s = {};

	assert_int_equal(properties_parse(text, see, &s, NULL), 0);
	assert_string_equal(s.text, expected);
}

static void pairs_are_split_at_equals_colon_or_blank(void **state)
{
	assert_pairs(MQ_SLICE("a=1\nb:2\nc 3\n d \t=  4\ne\nf = = 5\n"), "1|a|1;2|b|2;3|c|3;4|d|4;5|e|;6|f|= 5;");
	assert_pairs(MQ_SLICE("last=line without end"), "1|last|line without end;");
	assert_pairs(MQ_SLICE(""), "");
}

static void comments_and_blank_lines_are_skipped(void **state)
{
	assert_pairs(MQ_SLICE("# one\n! two\\\n\n   \n  # three\r\na=b # not a comment\n#"), "6|a|b # not a comment;");
}

static void a_backslash_at_the_line_end_joins_the_next_line(void **state)
{
	assert_pairs(MQ_SLICE("a=1,\\\n    2,\\\r\n\t3\nb=x\\\\\nc=y"), "1|a|1,2,3;4|b|x\\;5|c|y;");
	assert_pairs(MQ_SLICE("a\\\n b=c"), "1|ab|c;");
	assert_pairs(MQ_SLICE("a=b\\"), "1|a|b;");
}

static void escapes_are_resolved(void **state)
{
	assert_pairs(MQ_SLICE("a\\=\\:\\ b=\\t\\n\\q"), "1|a=: b|\t\nq;");
	assert_pairs(MQ_SLICE("a=\\u00e4\\u20AC\\ud83d\\ude00"), "1|a|\u00e4\u20ac\U0001f600;");
	/* Half a surrogate pair is no character. */
	assert_pairs(MQ_SLICE("a=\\ud83dx\\ude00"), "1|a|\ufffdx\ufffd;");
}

static void a_malformed_unicode_escape_names_its_line(void **state)
{
	struct seen s = {};
	struct mq_error err = {};

	assert_int_equal(properties_parse(MQ_SLICE("a=1\nb=\\u12g4\n"), see, &s, &err), -EINVAL);
	assert_string_equal(err.text, "line 2: malformed \\u escape, four hexadecimal digits expected");
	assert_int_equal(properties_parse(MQ_SLICE("b=\\u123"), see, &s, &err), -EINVAL);
}

static void a_text_beyond_the_limit_is_refused(void **state)
{
	static char text[PROPERTIES_TEXT_MAX + 1];
	struct seen s = {};

	assert_int_equal(properties_parse((struct mq_slice){ text, sizeof text }, see, &s, NULL), -E2BIG);
}

static int refuse(void *user, unsigned line, struct mq_slice key, struct mq_slice value, struct mq_error *err)
{
	return mq_error_set(err, -EPERM, "stop here");
}

static void the_callback_can_stop(void **state)
{
	struct mq_error err = {};

	assert_int_equal(properties_parse(MQ_SLICE("a=1"), refuse, NULL, &err), -EPERM);
	assert_string_equal(err.text, "stop here");
}

static void what_is_written_is_read_back(void **state)
{
	static const char *const values[] = { "", "plain", "  led by blanks", "a=b:c#d!", "back\\slash", "two\nlines\r\t",
					      "\u00e4\u20ac\U0001f600" };
	struct evbuffer *out = evbuffer_new();
	char expected[512] = "";
	size_t n = 0;

	for (unsigned i = 0; i < N_ELEMENTS(values); i++) {
		struct mq_slice value = mq_slice_of(values[i]);

		assert_int_equal(properties_add(out, "the key", value), 0);
		n += (size_t)snprintf(expected + n, sizeof expected - n, "%u|the key|%.*s;", i + 1, MQ_FMT(value));
	}
	assert_pairs((struct mq_slice){ (const char *)evbuffer_pullup(out, -1), evbuffer_get_length(out) }, expected);
	evbuffer_free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_are_split_at_equals_colon_or_blank),
		cmocka_unit_test(comments_and_blank_lines_are_skipped),
		cmocka_unit_test(a_backslash_at_the_line_end_joins_the_next_line),
		cmocka_unit_test(escapes_are_resolved),
		cmocka_unit_test(a_malformed_unicode_escape_names_its_line),
		cmocka_unit_test(a_text_beyond_the_limit_is_refused),
		cmocka_unit_test(the_callback_can_stop),
		cmocka_unit_test(what_is_written_is_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
