#include "tests/unit/client/client_test.h"

#include <errno.h>

#include "libmq/client/failure.h"
#include "libmq/wire/codes.h"

static void the_remark_is_shown_without_the_faq_line(void **state)
{
	struct mq_command answer = { .code = MQ_TOPIC_NOT_EXIST };
	struct mq_failure f;

	answer.remark = MQ_SLICE("topic[T] not exist, apply first please!\nSee "
				 "https://rocketmq.apache.org/docs for further details.");
	assert_int_equal(mq_failure_answer(&f, MQ_HOP_BROKER, "broker b", &answer), -ENOENT);
	assert_string_equal(f.why, "TOPIC_NOT_EXIST: topic[T] not exist, apply first please!");
	assert_string_equal(f.where, "broker b");
	assert_int_equal(f.code, MQ_TOPIC_NOT_EXIST);
	assert_int_equal(f.stage, MQ_STAGE_ANSWER);
}

static void a_remark_cannot_smuggle_control_characters(void **state)
{
	struct mq_command answer = { .code = 1, .remark = MQ_SLICE("a\x1b[2J\nb") };
	struct mq_failure f;

	mq_failure_answer(&f, MQ_HOP_BROKER, "x", &answer);
	assert_string_equal(f.why, "SYSTEM_ERROR: a [2J b");
}

static void an_unknown_code_is_named_by_number(void **state)
{
	struct mq_command answer = { .code = 4711 };
	struct mq_failure f;

	assert_int_equal(mq_failure_answer(&f, MQ_HOP_BROKER, "x", &answer), -EREMOTEIO);
	assert_string_equal(f.why, "code 4711");
}

static void codes_become_errno(void **state)
{
	assert_int_equal(mq_answer_errno(MQ_SUCCESS), 0);
	assert_int_equal(mq_answer_errno(MQ_NO_PERMISSION), -EACCES);
	assert_int_equal(mq_answer_errno(MQ_SYSTEM_BUSY), -EBUSY);
	assert_int_equal(mq_answer_errno(MQ_INVALID_PARAMETER), -EINVAL);
	assert_int_equal(mq_answer_errno(MQ_REQUEST_CODE_NOT_SUPPORTED), -ENOSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_remark_is_shown_without_the_faq_line),
		cmocka_unit_test(a_remark_cannot_smuggle_control_characters),
		cmocka_unit_test(an_unknown_code_is_named_by_number),
		cmocka_unit_test(codes_become_errno),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
