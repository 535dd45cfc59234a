#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemons/broker/pulled.h"

static int setup(void **state)
{
	return pulled_new((struct pulled **)state);
}

static int teardown(void **state)
{
	pulled_free(*state);
	return 0;
}

static void what_was_never_pulled_is_told(void **state)
{
	assert_int_equal(pulled_get(*state, MQ_SLICE("g"), MQ_SLICE("t"), 0), -1);
}

static void the_last_pull_of_each_queue_counts(void **state)
{
	pulled_set(*state, MQ_SLICE("g"), MQ_SLICE("t"), 0, 32);
	pulled_set(*state, MQ_SLICE("g"), MQ_SLICE("t"), 1, 7);
	pulled_set(*state, MQ_SLICE("g"), MQ_SLICE("t"), 0, 5);

	assert_int_equal(pulled_get(*state, MQ_SLICE("g"), MQ_SLICE("t"), 0), 5);
	assert_int_equal(pulled_get(*state, MQ_SLICE("g"), MQ_SLICE("t"), 1), 7);
	assert_int_equal(pulled_get(*state, MQ_SLICE("gt"), MQ_SLICE(""), 1), -1);
}

static void a_forgotten_topic_takes_nothing_else_along(void **state)
{
	pulled_set(*state, MQ_SLICE("g"), MQ_SLICE("t"), 0, 1);
	pulled_set(*state, MQ_SLICE("h"), MQ_SLICE("t"), 0, 2);
	pulled_set(*state, MQ_SLICE("g"), MQ_SLICE("tt"), 0, 3);
	pulled_set(*state, MQ_SLICE("h"), MQ_SLICE("tt"), 0, 4);

	pulled_forget(*state, MQ_SLICE(""), MQ_SLICE("t"));
	assert_int_equal(pulled_get(*state, MQ_SLICE("g"), MQ_SLICE("t"), 0), -1);
	assert_int_equal(pulled_get(*state, MQ_SLICE("h"), MQ_SLICE("t"), 0), -1);
	assert_int_equal(pulled_get(*state, MQ_SLICE("g"), MQ_SLICE("tt"), 0), 3);

	pulled_forget(*state, MQ_SLICE("g"), MQ_SLICE(""));
	assert_int_equal(pulled_get(*state, MQ_SLICE("g"), MQ_SLICE("tt"), 0), -1);
	assert_int_equal(pulled_get(*state, MQ_SLICE("h"), MQ_SLICE("tt"), 0), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_never_pulled_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(the_last_pull_of_each_queue_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(a_forgotten_topic_takes_nothing_else_along, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
