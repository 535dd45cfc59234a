#include "tests/unit/wire/wire_test.h"

#include "libmq/wire/fields.h"

#define PULL_FIELDS(X)                               \
	X(slice, group,     "consumerGroup", REQUIRED) \
	X(i32,   queue_id,  "queueId",       REQUIRED) \
	X(i64,   offset,    "queueOffset",   OPTIONAL) \
	X(bool,  is_order,  "order",         OPTIONAL) \
	X(i32,   max,       "maxMsgNums",    LENIENT)
MQ_HEADER(pull, PULL_FIELDS)

static void numbers_are_read_as_parselong_reads_them(void **state)
{
	static const struct {
		const char *text;
		int64_t value;
	} good[] = { { "0", 0 }, { "-1", -1 }, { "+7", 7 }, { "007", 7 }, { "9223372036854775807", INT64_MAX },
		     { "-9223372036854775808", INT64_MIN } };
	static const char *const bad[] = { "", "-", "+", " 1", "1 ", "1.0", "0x1", "1e3", "9223372036854775808",
					   "-9223372036854775809", "99999999999999999999999999", "\xd9\xa1" };
	int64_t v;

	for (size_t i = 0; i < N_ELEMENTS(good); i++) {
		assert_int_equal(mq_parse_i64(mq_slice_of(good[i].text), &v), 0);
		assert_true(v == good[i].value);
	}
	for (size_t i = 0; i < N_ELEMENTS(bad); i++)
		assert_int_equal(mq_parse_i64(mq_slice_of(bad[i]), &v), -EBADMSG);
}

static void thirty_two_bits_are_checked(void **state)
{
	int32_t v;

	assert_int_equal(mq_parse_i32(MQ_SLICE("-2147483648"), &v), 0);
	assert_int_equal(v, INT32_MIN);
	assert_int_equal(mq_parse_i32(MQ_SLICE("2147483648"), &v), -EBADMSG);
}

static void only_true_in_any_case_is_true(void **state)
{
	static const char *const no[] = { "", "1", "yes", "tru", "truee", "false" };
	bool v = false;

	assert_int_equal(mq_parse_bool(MQ_SLICE("TrUe"), &v), 0);
	assert_true(v);
	for (size_t i = 0; i < N_ELEMENTS(no); i++) {
		v = true;
		assert_int_equal(mq_parse_bool(mq_slice_of(no[i]), &v), 0);
		assert_false(v);
	}
}

static void a_typed_header_takes_its_fields_and_keeps_defaults(void **state)
{
	struct pull_header h = { .offset = 99 };
	struct mq_command cmd;

	mq_command_request(&cmd, 11);
	mq_command_add(&cmd, "consumerGroup", MQ_SLICE("g"));
	mq_command_add_i64(&cmd, "queueId", 3);
	mq_command_add_bool(&cmd, "order", true);
	assert_int_equal(pull_header_decode(&h, &cmd, NULL), 0);
	assert_slice_equal(h.group, "g");
	assert_int_equal(h.queue_id, 3);
	assert_int_equal(h.offset, 99);
	assert_true(h.is_order);
}

static void missing_and_wrong_fields_are_named(void **state)
{
	struct mq_error err;
	struct pull_header h = { 0 };
	struct mq_command cmd;

	mq_command_request(&cmd, 11);
	mq_command_add(&cmd, "consumerGroup", MQ_SLICE("g"));
	assert_int_equal(pull_header_decode(&h, &cmd, &err), -EBADMSG);
	assert_string_equal(err.text, "the custom field <queueId> is null");

	mq_command_add(&cmd, "queueId", MQ_SLICE("three"));
	assert_int_equal(pull_header_decode(&h, &cmd, &err), -EBADMSG);
	assert_string_equal(err.text, "the custom field <queueId> is not valid: three");
}

static void a_lenient_field_that_is_not_of_its_type_keeps_its_default(void **state)
{
	struct pull_header h = { .max = 7 };
	struct mq_command cmd;

	mq_command_request(&cmd, 11);
	mq_command_add(&cmd, "consumerGroup", MQ_SLICE("g"));
	mq_command_add_i64(&cmd, "queueId", 3);
	mq_command_add(&cmd, "maxMsgNums", MQ_SLICE("many"));
	assert_int_equal(pull_header_decode(&h, &cmd, NULL), 0);
	assert_int_equal(h.max, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_read_as_parselong_reads_them),
		cmocka_unit_test(thirty_two_bits_are_checked),
		cmocka_unit_test(only_true_in_any_case_is_true),
		cmocka_unit_test(a_typed_header_takes_its_fields_and_keeps_defaults),
		cmocka_unit_test(missing_and_wrong_fields_are_named),
		cmocka_unit_test(a_lenient_field_that_is_not_of_its_type_keeps_its_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
