#include "tests/unit/ctl/ctl_test.h"

#include "daemons/ctl/histogram.h"

static struct histogram h;

static void every_value_is_known_to_less_than_one_percent(void **state)
{
	for (uint64_t v = 1; v < 1ull << 41; v = v * 21 / 20 + 1) {
		int64_t got;

		histogram_reset(&h);
		histogram_add(&h, 0);
		histogram_add(&h, (int64_t)v);
		histogram_add(&h, 1ll << 41);
		got = histogram_percentile(&h, 50);
		assert_true(got <= (int64_t)v + (int64_t)(v / 100) && got >= (int64_t)v - (int64_t)(v / 100));
	}
}

static void percentiles_are_ranks(void **state)
{
	static const struct {
		double percent;
		int64_t wanted;
	} cases[] = { { 0, 1 }, { 1, 1 }, { 50, 50 }, { 90, 90 }, { 99, 99 }, { 99.9, 100 }, { 100, 100 } };

	histogram_reset(&h);
	for (int i = 100; i >= 1; i--)
		histogram_add(&h, i);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(histogram_percentile(&h, cases[i].percent), cases[i].wanted);
	assert_int_equal(h.min_ns, 1);
	assert_int_equal(h.max_ns, 100);
	assert_true(histogram_mean(&h) == 50.5);
}

static void one_slow_answer_in_a_thousand_is_the_last_percentile(void **state)
{
	histogram_reset(&h);
	for (int i = 0; i < 999; i++)
		histogram_add(&h, 1000);
	histogram_add(&h, 5000000);
	assert_in_range(histogram_percentile(&h, 99.9), 990, 1010);
	assert_int_equal(histogram_percentile(&h, 99.99), 5000000);
}

static void no_percentile_is_above_the_maximum(void **state)
{
	histogram_reset(&h);
	histogram_add(&h, 1000001);
	assert_int_equal(histogram_percentile(&h, 50), 1000001);
	assert_int_equal(histogram_percentile(&h, 100), 1000001);
}

static void extremes_are_counted(void **state)
{
	histogram_reset(&h);
	assert_int_equal(histogram_percentile(&h, 99), 0);
	histogram_add(&h, -5);
	histogram_add(&h, INT64_MAX);
	assert_int_equal(h.n, 2);
	assert_int_equal(histogram_percentile(&h, 50), 0);
	assert_true(h.max_ns == INT64_MAX);
	assert_true(histogram_percentile(&h, 100) >= 1ll << 41);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_value_is_known_to_less_than_one_percent),
		cmocka_unit_test(percentiles_are_ranks),
		cmocka_unit_test(one_slow_answer_in_a_thousand_is_the_last_percentile),
		cmocka_unit_test(no_percentile_is_above_the_maximum),
		cmocka_unit_test(extremes_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
