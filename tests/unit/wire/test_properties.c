#include "tests/unit/wire/wire_test.h"

#include "libmq/wire/message_properties.h"

static unsigned count(struct mq_slice s)
{
	struct mq_slice name, value;
	unsigned n = 0;

	while (mq_properties_next(&s, &name, &value))
		n++;
	return n;
}

static void pairs_come_in_order_and_the_last_need_not_be_closed(void **state)
{
	struct mq_slice s = MQ_SLICE("KEYS\001k1 k2\002TAGS\001a\001b\002x\001y"), name, value;

	assert_true(mq_properties_next(&s, &name, &value));
	assert_slice_equal(name, "KEYS");
	assert_slice_equal(value, "k1 k2");
	assert_true(mq_properties_next(&s, &name, &value));
	assert_slice_equal(name, "TAGS");
	assert_slice_equal(value, "a\001b"); /* only the first 0x01 separates */
	assert_true(mq_properties_next(&s, &name, &value));
	assert_slice_equal(name, "x");
	assert_slice_equal(value, "y");
	assert_false(mq_properties_next(&s, &name, &value));
}

static void pairs_that_java_skips_are_skipped(void **state)
{
	assert_int_equal(count(MQ_SLICE("")), 0);
	assert_int_equal(count((struct mq_slice){ NULL, 0 }), 0);
	assert_int_equal(count(MQ_SLICE("\002\002\002")), 0);
	assert_int_equal(count(MQ_SLICE("ab\002")), 0);             /* shorter than 3 bytes */
	assert_int_equal(count(MQ_SLICE("abc\002")), 0);            /* no separator */
	assert_int_equal(count(MQ_SLICE("\001abc\002")), 0);        /* no name */
	assert_int_equal(count(MQ_SLICE("abc\001\002")), 0);        /* no value */
	assert_int_equal(count(MQ_SLICE("abc\001")), 0);
	assert_int_equal(count(MQ_SLICE("abc\002a\001b\002\001\002")), 1);
}

static void values_are_found_by_name_the_last_one_wins(void **state)
{
	static const char *const names[] = { "a", "none", "ab", "b" };
	struct mq_slice s = MQ_SLICE("a\0011\002ab\0012\002a\0013\002"), values[4];

	assert_slice_equal(mq_properties_get(s, "a"), "3");
	assert_slice_equal(mq_properties_get(s, "ab"), "2");
	assert_null(mq_properties_get(s, "abc").p);
	assert_null(mq_properties_get(s, "").p);
	/* A NUL byte in a name from the wire ends nothing. */
	assert_null(mq_properties_get(MQ_SLICE("a\0b\001v\002"), "a").p);

	mq_properties_find(s, names, values, 4);
	assert_slice_equal(values[0], "3");
	assert_null(values[1].p);
	assert_slice_equal(values[2], "2");
	assert_null(values[3].p);
}

static void appending_closes_an_open_pair_and_respects_the_room(void **state)
{
	char out[32] = "a\001b";
	size_t n = mq_properties_append(out, 3, sizeof out, "key", MQ_SLICE("value"));

	assert_int_equal(n, 14);
	assert_memory_equal(out, "a\001b\002key\001value\002", 14);
	assert_int_equal(mq_properties_append(out, n, 17, "c", MQ_SLICE("d")), 0);
	assert_int_equal(mq_properties_append(out, n, 18, "c", MQ_SLICE("d")), 18);
	assert_int_equal(mq_properties_append(out, 0, sizeof out, "c", MQ_SLICE("d")), 4);
	assert_int_equal(mq_properties_append(out, 40, sizeof out, "c", MQ_SLICE("d")), 0);
}

static void copying_drops_names_and_keeps_the_rest_byte_for_byte(void **state)
{
	static const char *const drop[] = { "DELAY", "REAL_TOPIC", NULL };
	struct mq_slice s = MQ_SLICE("DELAY\0013\002odd\002x\001\xff\002REAL_TOPIC\001T\002REAL\001r\002DELAY\0014\002z\001z");
	char out[64];

	assert_int_equal(mq_properties_copy(s, drop, out, sizeof out), 19);
	assert_memory_equal(out, "odd\002x\001\xff\002REAL\001r\002z\001z\002", 19);
	assert_int_equal(mq_properties_copy(s, drop, out, 19), 19);
	assert_int_equal(mq_properties_copy(s, drop, out, 18), (size_t)-1);
	assert_int_equal(mq_properties_copy(MQ_SLICE("a\001b"), NULL, out, sizeof out), 4);
}

static void what_is_made_of_others_has_room_for_all_or_is_left(void **state)
{
	static const char *const drop[] = { "a", NULL };
	struct mq_slice in = MQ_SLICE("a\0011\002b\0012"), otherwise = MQ_SLICE("as it was");
	struct mq_properties_out out;
	char text[32];

	mq_properties_begin(&out, text, sizeof text, in, drop);
	mq_properties_add(&out, "c", MQ_SLICE("3"));
	mq_properties_add_i64(&out, "n", INT64_MIN);
	assert_slice_equal(mq_properties_end(&out, otherwise), "b\0012\002c\0013\002n\001-9223372036854775808\002");
	/* Whatever has no room, the copy or one of those that are added: also a shorter one behind it is in vain. */
	for (size_t size = 0; size < 14; size++) {
		mq_properties_begin(&out, text, size, in, drop);
		mq_properties_add(&out, "long", MQ_SLICE("value"));
		mq_properties_add(&out, "c", MQ_SLICE("3"));
		assert_slice_equal(mq_properties_end(&out, otherwise), "as it was");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_come_in_order_and_the_last_need_not_be_closed),
		cmocka_unit_test(pairs_that_java_skips_are_skipped),
		cmocka_unit_test(values_are_found_by_name_the_last_one_wins),
		cmocka_unit_test(appending_closes_an_open_pair_and_respects_the_room),
		cmocka_unit_test(copying_drops_names_and_keeps_the_rest_byte_for_byte),
		cmocka_unit_test(what_is_made_of_others_has_room_for_all_or_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
