#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <errno.h>

#include "daemons/broker/filter_tag.h"

enum { TAG_A = 2598919, TAG_B = 2598920 }; /* message.md section 8 */

static struct subscription parse(const char *expression)
{
	struct subscription s;

	assert_int_equal(filter_tag_parse(&s, mq_slice_of(expression)), 0);
	return s;
}

static void star_and_empty_match_everything(void **state)
{
	struct subscription star = parse("*"), empty = parse("");

	assert_true(filter_tag_matches(&star, 0));
	assert_true(filter_tag_matches(&star, TAG_A));
	assert_true(filter_tag_matches(&empty, TAG_B));
}

static void only_the_tags_between_the_bars_match(void **state)
{
	struct subscription s = parse(" TagA||TagB ||");

	assert_int_equal(s.n_codes, 2);
	assert_true(filter_tag_matches(&s, TAG_A));
	assert_true(filter_tag_matches(&s, TAG_B));
	assert_false(filter_tag_matches(&s, 0));
	assert_false(filter_tag_matches(&s, TAG_A + 2));
}

static void hashes_that_collide_both_match(void **state)
{
	struct subscription s = parse("AaAa");

	assert_true(filter_tag_matches(&s, 2031744)); /* "BBBB".hashCode(), too */
}

static void a_single_bar_belongs_to_the_tag(void **state)
{
	struct subscription s = parse("a|b");

	assert_int_equal(s.n_codes, 1);
}

static void bars_with_nothing_between_are_refused(void **state)
{
	struct subscription s;

	assert_int_equal(filter_tag_parse(&s, MQ_SLICE("||")), -EINVAL);
	assert_int_equal(filter_tag_parse(&s, MQ_SLICE("||||")), -EINVAL);
}

static void blanks_between_bars_are_a_subscription_to_nothing(void **state)
{
	struct subscription s = parse(" || ");

	assert_int_equal(s.n_codes, 0);
	assert_false(filter_tag_matches(&s, 0));
	assert_false(filter_tag_matches(&s, TAG_A));
}

static void more_tags_than_we_keep_are_left_to_the_client(void **state)
{
	char text[1024] = "t0";
	struct subscription s;

	for (int i = 1; i < 70; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "||t%d", i);
	s = parse(text);
	assert_true(s.has_more_codes);
	assert_true(filter_tag_matches(&s, TAG_A));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(star_and_empty_match_everything),
		cmocka_unit_test(only_the_tags_between_the_bars_match),
		cmocka_unit_test(hashes_that_collide_both_match),
		cmocka_unit_test(a_single_bar_belongs_to_the_tag),
		cmocka_unit_test(bars_with_nothing_between_are_refused),
		cmocka_unit_test(blanks_between_bars_are_a_subscription_to_nothing),
		cmocka_unit_test(more_tags_than_we_keep_are_left_to_the_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
