#include "tests/unit/wire/wire_test.h"

#include <errno.h>

#include "libmq/wire/json_scan.h"

/* Long strings go eight bytes at a time, short ones byte by byte: both must say the same, wherever the special byte stands. */
enum { LENGTH = 27 };

static void a_special_byte_is_escaped_wherever_it_stands(void **state)
{
	for (unsigned c = 0; c < 256; c++) {
		for (unsigned at = 0; at < LENGTH; at++) {
			char text[LENGTH], whole[LENGTH * 6], pieces[LENGTH * 6], *end = pieces;
			size_t n;

			memset(text, '~', sizeof text);
			text[at] = (char)c;
			for (unsigned i = 0; i < LENGTH; i++)
				end = mq_json_escape(end, (struct mq_slice){ text + i, 1 });
			n = (size_t)(mq_json_escape(whole, (struct mq_slice){ text, LENGTH }) - whole);
			assert_int_equal(n, end - pieces);
			assert_memory_equal(whole, pieces, n);
		}
	}
}

/* Scans `text` (with its quotes) and returns what mq_scan_string() did. */
static int scan(char *text, size_t n, struct mq_slice *ret)
{
	struct mq_scan s = { text, text + n };
	int r = mq_scan_string(&s, ret);

	if (r == 0)
		assert_ptr_equal(s.p, text + n);
	return r;
}

static void a_string_ends_at_its_own_quote_wherever_it_stands(void **state)
{
	for (unsigned n = 0; n < LENGTH; n++) {
		for (unsigned c = 1; c < 256; c++) {
			char text[LENGTH + 2];
			struct mq_slice got;

			if (c == '"' || c == '\\')
				continue;
			memset(text, (int)c, sizeof text);
			text[0] = text[n + 1] = '"';
			assert_int_equal(scan(text, n + 2, &got), 0);
			assert_int_equal(got.n, n);
			text[n + 1] = (char)c;
			assert_int_equal(scan(text, n + 2, &got), -EBADMSG);
		}
	}
}

static void an_escape_is_undone_wherever_it_stands(void **state)
{
	for (unsigned at = 0; at < LENGTH; at++) {
		for (unsigned second = at; second < LENGTH; second++) {
			char text[LENGTH * 2 + 2], expected[LENGTH], *p = text;
			struct mq_slice got;

			*p++ = '"';
			for (unsigned i = 0; i < LENGTH; i++) {
				bool is_special = i == at || i == second;

				expected[i] = is_special ? '"' : (char)('a' + i % 26);
				if (is_special)
					*p++ = '\\';
				*p++ = expected[i];
			}
			*p++ = '"';
			assert_int_equal(scan(text, (size_t)(p - text), &got), 0);
			assert_int_equal(got.n, LENGTH);
			assert_memory_equal(got.p, expected, LENGTH);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_special_byte_is_escaped_wherever_it_stands),
		cmocka_unit_test(a_string_ends_at_its_own_quote_wherever_it_stands),
		cmocka_unit_test(an_escape_is_undone_wherever_it_stands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
