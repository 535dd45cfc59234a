#include "tests/unit/client/client_test.h"

#include "libmq/client/assign.h"

/* Expected values: AllocateMessageQueueAveragely of the Java client. */
static void shares_are_those_of_java(void **state)
{
	static const struct {
		unsigned n_queues, n_members, index, first, n;
	} cases[] = {
		{ 8, 1, 0, 0, 8 }, { 8, 2, 0, 0, 4 }, { 8, 2, 1, 4, 4 }, { 8, 3, 0, 0, 3 },
		{ 8, 3, 1, 3, 3 }, { 8, 3, 2, 6, 2 }, { 4, 4, 3, 3, 1 }, { 2, 3, 0, 0, 1 },
		{ 2, 3, 1, 1, 1 }, { 2, 3, 2, 0, 0 }, { 1, 2, 1, 0, 0 }, { 0, 2, 0, 0, 0 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		unsigned first, n;

		mq_assign_average(cases[i].n_queues, cases[i].n_members, cases[i].index, &first, &n);
		assert_int_equal(n, cases[i].n);
		if (n > 0)
			assert_int_equal(first, cases[i].first);
	}
}

static void every_queue_belongs_to_one_member(void **state)
{
	for (unsigned n_queues = 0; n_queues < 40; n_queues++)
		for (unsigned n_members = 1; n_members < 20; n_members++) {
			unsigned char owners[40] = { 0 };

			for (unsigned i = 0; i < n_members; i++) {
				unsigned first, n;

				mq_assign_average(n_queues, n_members, i, &first, &n);
				for (unsigned q = first; q < first + n; q++)
					owners[q]++;
			}
			for (unsigned q = 0; q < n_queues; q++)
				assert_int_equal(owners[q], 1);
		}
}

static void who_is_no_member_gets_nothing(void **state)
{
	unsigned first, n;

	mq_assign_average(8, 2, 2, &first, &n);
	assert_int_equal(n, 0);
	mq_assign_average(8, 0, 0, &first, &n);
	assert_int_equal(n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_are_those_of_java),
		cmocka_unit_test(every_queue_belongs_to_one_member),
		cmocka_unit_test(who_is_no_member_gets_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
