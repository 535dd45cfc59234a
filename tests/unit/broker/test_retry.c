#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemons/broker/retry.h"
#include "libmq/base/cleanup.h"
#include "libmq/wire/message_properties.h"

enum { OLD_CLIENT = 120, CLIENT = 121 };

static void the_limit_is_the_requests_when_its_client_knows_it(void **state)
{
	static const struct {
		int32_t group, request;
		int16_t version;
		int32_t limit;
	} rows[] = {
		{ 16, RETRY_TIMES_ABSENT, CLIENT, 16 }, { 16, 3, CLIENT, 3 },   { 2, 16, CLIENT, 16 },
		{ 16, 0, CLIENT, 0 },                   { 16, -1, CLIENT, -1 }, { 16, 3, OLD_CLIENT, 16 },
		{ 16, 3, 0, 16 },
	};

	for (unsigned i = 0; i < N_ELEMENTS(rows); i++)
		assert_int_equal(retry_limit(rows[i].group, rows[i].request, rows[i].version), rows[i].limit);
}

static void what_is_sent_back_climbs_the_ladder_or_dies(void **state)
{
	static const struct {
		int32_t times, asked, limit;
		bool is_dead;
		int32_t level;
	} rows[] = {
		/* level 0: the ladder, from the third step on */
		{ 0, 0, 16, false, 3 },
		{ 1, 0, 16, false, 4 },
		{ 15, 0, 16, false, 18 },
		{ 16, 0, 16, true, 0 },
		{ 17, 0, 16, true, 0 },
		{ INT32_MAX - 1, 0, INT32_MAX, false, INT32_MAX },
		{ INT32_MAX - 3, 0, INT32_MAX, false, INT32_MAX },
		{ INT32_MAX - 4, 0, INT32_MAX, false, INT32_MAX - 1 },
		/* a level of the consumer's choice */
		{ 0, 1, 16, false, 1 },
		{ 15, 5, 16, false, 5 },
		{ 0, 99, 16, false, 99 },
		{ 16, 5, 16, true, 0 },
		/* given up */
		{ 0, -1, 16, true, 0 },
		{ 0, INT32_MIN, 16, true, 0 },
		/* nothing again at all */
		{ 0, 0, 0, true, 0 },
		{ 0, 7, -1, true, 0 },
		/* a count that was sent wrong */
		{ -5, 0, 16, false, -2 },
	};

	for (unsigned i = 0; i < N_ELEMENTS(rows); i++) {
		struct retry_fate fate = retry_fate_sent_back(rows[i].times, rows[i].asked, rows[i].limit);

		if (fate.is_dead != rows[i].is_dead || fate.level != rows[i].level)
			fail_msg("row %u: dead %d, level %d", i, fate.is_dead, fate.level);
	}
}

static void what_is_sent_again_may_reach_the_limit(void **state)
{
	assert_false(retry_is_dead(2, 2, false));
	assert_true(retry_is_dead(3, 2, false));
	assert_false(retry_is_dead(0, 0, false));
	assert_true(retry_is_dead(0, -1, false));
	/* a group that consumes in order */
	assert_true(retry_is_dead(0, 16, true));
}

static void topics_are_named_after_the_group(void **state)
{
	char name[RETRY_TOPIC_BUFFER], group[255];

	assert_true(mq_slice_is(retry_topic(RETRY_DEAD_PREFIX, MQ_SLICE("g"), name), "%DLQ%g"));
	memset(group, 'g', sizeof group);
	assert_int_equal(retry_topic(RETRY_DEAD_PREFIX, (struct mq_slice){ group, 250 }, name).n, 255);
	assert_int_equal(retry_topic(RETRY_DEAD_PREFIX, (struct mq_slice){ group, 251 }, name).n, 0);
}

static struct mq_record stored(const char *properties)
{
	return (struct mq_record){
		.physical_offset = 0x1234,
		.store_host = { { 127, 0, 0, 1 }, 4, 10911 },
		.topic = MQ_SLICE("Orders"),
		.properties = mq_slice_of(properties),
	};
}

static void assert_property(struct mq_slice properties, const char *name, const char *value)
{
	struct mq_slice found = mq_properties_get(properties, name);

	if (!value)
		assert_null(found.p);
	else if (!mq_slice_is(found, value))
		fail_msg("%s is \"%.*s\", not \"%s\"", name, MQ_FMT(found), value);
}

static void the_first_failure_notes_where_the_message_comes_from(void **state)
{
	struct mq_record rec = stored("KEYS\1k\2WAIT\1true\2TIMER_DELAY_SEC\0015\2TIMER_OUT_MS\0017\2color\1blue\2");
	char text[MQ_PROPERTIES_MAX];
	struct mq_slice out = { text, 0 };

	out.n = retry_properties(&rec, (struct retry_fate){ .level = 3 }, MQ_SLICE("%RETRY%g"), 1, text);
	assert_property(out, "RETRY_TOPIC", "Orders");
	assert_property(out, "ORIGIN_MESSAGE_ID", "7F00000100002A9F0000000000001234");
	assert_property(out, "DELAY", "3");
	assert_property(out, "WAIT", "false");
	assert_property(out, "REAL_TOPIC", "%RETRY%g");
	assert_property(out, "REAL_QID", "1");
	assert_property(out, "KEYS", "k");
	assert_property(out, "color", "blue");
	assert_property(out, "TIMER_OUT_MS", "7");
	assert_property(out, "TIMER_DELAY_SEC", NULL);
}

static void later_failures_leave_the_origin_as_it_was(void **state)
{
	struct mq_record rec = stored("RETRY_TOPIC\1First\2ORIGIN_MESSAGE_ID\1ABC\2DELAY\0013\2REAL_TOPIC\1%RETRY%g\2REAL_QID\0010\2");
	char text[MQ_PROPERTIES_MAX];
	struct mq_slice out = { text, 0 };

	out.n = retry_properties(&rec, (struct retry_fate){ .level = 4 }, MQ_SLICE("%RETRY%g"), 2, text);
	assert_property(out, "RETRY_TOPIC", "First");
	assert_property(out, "ORIGIN_MESSAGE_ID", "ABC");
	assert_property(out, "DELAY", "4");
	assert_property(out, "REAL_QID", "2");
	/* once each */
	assert_int_equal(out.n, strlen("RETRY_TOPIC\1First\2ORIGIN_MESSAGE_ID\1ABC\2WAIT\1false\2DELAY\0014\2REAL_TOPIC\1%RETRY%g\2"
				       "REAL_QID\0012\2"));
}

static void a_dead_letter_waits_for_nothing(void **state)
{
	struct mq_record rec = stored("DELAY\0014\2REAL_TOPIC\1%RETRY%g\2REAL_QID\0010\2");
	char text[MQ_PROPERTIES_MAX];
	struct mq_slice out = { text, 0 };

	out.n = retry_properties(&rec, (struct retry_fate){ .is_dead = true }, MQ_SLICE("%DLQ%g"), 0, text);
	assert_property(out, "DELAY", "0");
	assert_property(out, "RETRY_TOPIC", "Orders");
	/* As upstream leaves them: of the last retry. */
	assert_property(out, "REAL_TOPIC", "%RETRY%g");
}

static void properties_that_grow_too_long_are_refused(void **state)
{
	static char in[MQ_PROPERTIES_MAX + 1];
	char text[MQ_PROPERTIES_MAX];
	struct mq_record rec;

	memset(in, 'x', MQ_PROPERTIES_MAX);
	in[1] = 1;
	in[MQ_PROPERTIES_MAX - 1] = 2;
	rec = stored(in);
	assert_int_equal(retry_properties(&rec, (struct retry_fate){ .level = 3 }, MQ_SLICE("%RETRY%g"), 0, text), 0);
	rec.properties.n -= 200;
	assert_int_not_equal(retry_properties(&rec, (struct retry_fate){ .level = 3 }, MQ_SLICE("%RETRY%g"), 0, text), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_limit_is_the_requests_when_its_client_knows_it),
		cmocka_unit_test(what_is_sent_back_climbs_the_ladder_or_dies),
		cmocka_unit_test(what_is_sent_again_may_reach_the_limit),
		cmocka_unit_test(topics_are_named_after_the_group),
		cmocka_unit_test(the_first_failure_notes_where_the_message_comes_from),
		cmocka_unit_test(later_failures_leave_the_origin_as_it_was),
		cmocka_unit_test(a_dead_letter_waits_for_nothing),
		cmocka_unit_test(properties_that_grow_too_long_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
