#include "tests/unit/ctl/ctl_test.h"

#include <errno.h>
#include <time.h>

#include "daemons/ctl/times.h"

/* 2026-01-31 12:30:15.250 UTC; the tests run in Europe/Berlin, an hour ahead. */
static const int64_t now = 1769862615250;

static void expect(const char *text, int64_t wanted)
{
	int64_t got = 0;

	assert_int_equal(times_parse(text, now, &got), 0);
	assert_int_equal(got, wanted);
}

static void calendar_times_are_local_unless_a_zone_is_named(void **state)
{
	expect("2026-01-31T12:30:15.250Z", now);
	expect("2026-01-31T13:30:15.250", now);
	expect("2026-01-31 13:30:15.250", now);
	expect("2026-01-31T13:30:15.250+01:00", now);
	expect("2026-01-31T07:30:15.250-0500", now);
	expect("2026-01-31T13:30", now - 15250);
	expect("2026-01-31", now - 15250 - 30 * 60000 - 13 * 3600000);
	expect("2026-07-01T12:00", 1782900000000); /* summer: two hours ahead */
}

static void clock_times_are_of_today(void **state)
{
	expect("13:30", now - 15250);
	expect("13:30:15", now - 250);
	expect("today", now - 15250 - 30 * 60000 - 13 * 3600000);
	expect("yesterday", now - 15250 - 30 * 60000 - 37 * 3600000);
	expect("now", now);
}

static void times_may_be_relative(void **state)
{
	expect("-10m", now - 600000);
	expect("10m ago", now - 600000);
	expect("-1.5s", now - 1500);
	expect("-30", now - 30000);
}

static void times_may_be_numbers(void **state)
{
	expect("@1769862615", 1769862615000);
	expect("1769862615250", now);
}

static void nonsense_is_refused(void **state)
{
	static const char *const texts[] = {
		"",	 "-",		"@",	    "soon",  "2026-13-01",	   "2026-01-31T25:00",
		"12:61", "2026-01-31X", "-5 weeks", "12345", "2026-01-31T12:30+9", "10m agoo",
		"@12x"
	};
	int64_t got;

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		assert_int_equal(times_parse(texts[i], now, &got), -EINVAL);
}

static void durations_have_units(void **state)
{
	int64_t ms;

	assert_int_equal(times_parse_duration("500ms", &ms), 0);
	assert_int_equal(ms, 500);
	assert_int_equal(times_parse_duration("2", &ms), 0);
	assert_int_equal(ms, 2000);
	assert_int_equal(times_parse_duration("1.5h", &ms), 0);
	assert_int_equal(ms, 5400000);
	assert_int_equal(times_parse_duration("3d", &ms), 0);
	assert_int_equal(ms, 259200000);
	assert_int_equal(times_parse_duration("nan", &ms), -EINVAL);
	assert_int_equal(times_parse_duration("-1s", &ms), -EINVAL);
	assert_int_equal(times_parse_duration("1e30s", &ms), -EINVAL);
	assert_int_equal(times_parse_duration("5 s", &ms), -EINVAL);
}

static void times_are_printed_in_both_ways(void **state)
{
	char text[TIMES_TEXT_MAX];

	assert_string_equal(times_format(now, text), "2026-01-31 13:30:15.250");
	assert_string_equal(times_format_utc(now, text), "2026-01-31T12:30:15.250Z");
	assert_string_equal(times_format_duration(90061000, text), "1d 1h");
	assert_string_equal(times_format_duration(3700000, text), "1h 1m");
	assert_string_equal(times_format_duration(61000, text), "1m 1s");
	assert_string_equal(times_format_duration(1500, text), "1.5s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calendar_times_are_local_unless_a_zone_is_named),
		cmocka_unit_test(clock_times_are_of_today),
		cmocka_unit_test(times_may_be_relative),
		cmocka_unit_test(times_may_be_numbers),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(durations_have_units),
		cmocka_unit_test(times_are_printed_in_both_ways),
	};

	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1); /* Berlin, without needing the zone files */
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
