#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libmq/base/cleanup.h"
#include "libmq/base/utf8.h"

static void slices_are_ordered_by_bytes_and_then_by_length(void **state)
{
	struct mq_slice absent = { NULL, 0 };
	struct mq_slice names[] = { MQ_SLICE("b"), MQ_SLICE("ab"), MQ_SLICE("\xff"), MQ_SLICE("a"), MQ_SLICE("") };

	assert_int_equal(mq_slice_compare(absent, MQ_SLICE("")), 0);
	assert_true(mq_slice_compare(absent, MQ_SLICE("a")) < 0);
	assert_true(mq_slice_compare(MQ_SLICE("a\0b"), MQ_SLICE("a\0a")) > 0);

	qsort(names, N_ELEMENTS(names), sizeof names[0], mq_slice_order);
	for (size_t i = 1; i < N_ELEMENTS(names); i++)
		assert_true(mq_slice_compare(names[i - 1], names[i]) < 0);
	assert_true(mq_slice_is(names[2], "ab"));
}

static void every_character_is_written_and_read_back(void **state)
{
	char text[4];

	for (unsigned c = 0; c < 0x110000; c++) {
		if (c == 0xd800)
			c = 0xe000;

		char *end = mq_utf8_put(text, c);
		unsigned n = mq_utf8_length(text, end);

		assert_int_equal(n, end - text);
		assert_int_equal(mq_utf8_get(text, n), c);
		if (n > 1)
			assert_int_equal(mq_utf8_length(text, end - 1), 0);
	}
}

static void what_java_would_not_write_is_no_utf8(void **state)
{
	static const struct mq_slice bad[] = {
		MQ_SLICE("\x80"),         MQ_SLICE("\xc0\xaf"),         MQ_SLICE("\xe0\x9f\xbf"),     MQ_SLICE("\xed\xa0\x80"),
		MQ_SLICE("\xf4\x90\x80\x80"), MQ_SLICE("\xf5\x80\x80\x80"), MQ_SLICE("\xe2\x82"), MQ_SLICE("a\xff"),
	};

	assert_true(mq_utf8_is((struct mq_slice){ NULL, 0 }));
	assert_true(mq_utf8_is(MQ_SLICE("a\0\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")));
	for (size_t i = 0; i < N_ELEMENTS(bad); i++)
		assert_false(mq_utf8_is(bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slices_are_ordered_by_bytes_and_then_by_length),
		cmocka_unit_test(every_character_is_written_and_read_back),
		cmocka_unit_test(what_java_would_not_write_is_no_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
