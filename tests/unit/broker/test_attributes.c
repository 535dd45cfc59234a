/* "+key=value,-key" as AttributeParser and AttributeUtil understand it, with their texts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemons/broker/attributes.h"

static void assert_alters(bool is_new, const char *current, const char *request, const char *result)
{
	struct mq_error err = {};
	char text[256];
	int n;

	assert_int_equal(attributes_check_form(mq_slice_of(request), &err), 0);
	n = attributes_alter(&topic_attributes, is_new, mq_slice_of(current), mq_slice_of(request), text, sizeof text,
			     &err);
	if (n < 0)
		fail_msg("%s", err.text);
	assert_int_equal(n, strlen(result));
	assert_memory_equal(text, result, (size_t)n);
}

static void assert_refuses(bool is_new, const char *current, const char *request, const char *why)
{
	struct mq_error err = {};
	char text[256];

	if (attributes_check_form(mq_slice_of(request), &err) == 0)
		assert_int_equal(attributes_alter(&topic_attributes, is_new, mq_slice_of(current), mq_slice_of(request),
						  text, sizeof text, &err),
				 -EINVAL);
	assert_string_equal(err.text, why);
}

static void attributes_are_added_changed_and_deleted(void **state)
{
	assert_alters(true, "", "", "");
	assert_alters(true, "", "+message.type=FIFO,+reserve.time=5", "message.type=FIFO,reserve.time=5");
	assert_alters(false, "message.type=FIFO,reserve.time=5", "+reserve.time=7", "message.type=FIFO,reserve.time=7");
	assert_alters(false, "message.type=FIFO,reserve.time=5", "-message.type", "reserve.time=5");
	assert_alters(false, "message.type=FIFO", "-message.type", "");
	assert_alters(false, "message.type=FIFO", "", "message.type=FIFO");
}

static void refusals_have_upstreams_texts(void **state)
{
	assert_refuses(true, "", "+foo=1", "unsupported key: foo");
	assert_refuses(true, "", "message.type=FIFO", "add/alter attribute format is wrong: message.type");
	assert_refuses(true, "", "message.type", "delete attribute format is wrong: message.type");
	assert_refuses(true, "", "+message.type=FIFO,+message.type=NORMAL", "key duplication: +message.type");
	assert_refuses(true, "", "-message.type",
		       "only add attribute is supported while creating topic. key: message.type");
	assert_refuses(false, "", "-message.type", "attempt to delete a nonexistent key: message.type");
	assert_refuses(false, "", "+queue.type=BatchCQ", "attempt to update an unchangeable attribute. key: queue.type");
	assert_refuses(false, "message.type=FIFO", "+message.type=DELAY,-message.type",
		       "alter duplication key. key: message.type");
	assert_refuses(true, "", "+cleanup.policy=NEVER", "value is not in set: [DELETE, COMPACTION]");
	assert_refuses(true, "", "+reserve.time=-2", "value is not in range(-1, 9223372036854775807)");
	assert_refuses(true, "", "+reserve.time=soon", "For input string: \"soon\"");
	assert_refuses(true, "", "++=1", "kv string format wrong.");
	assert_refuses(true, "", "+=1", "kv string format wrong.");
}

static void results_are_bounded(void **state)
{
	struct mq_error err = {};
	char text[16];

	assert_int_equal(attributes_alter(&topic_attributes, true, (struct mq_slice){}, MQ_SLICE("+message.type=FIFO"),
					  text, sizeof text, &err),
			 -EINVAL);
	assert_string_equal(err.text, "the attributes are longer than 16 bytes");
}

static void groups_have_keys_of_their_own(void **state)
{
	struct mq_error err = {};
	char text[64];

	assert_true(attributes_alter(&group_attributes, true, (struct mq_slice){}, MQ_SLICE("+priority.factor=7"), text,
				     sizeof text, &err) > 0);
	assert_int_equal(attributes_alter(&group_attributes, true, (struct mq_slice){}, MQ_SLICE("+message.type=FIFO"),
					  text, sizeof text, &err),
			 -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attributes_are_added_changed_and_deleted),
		cmocka_unit_test(refusals_have_upstreams_texts),
		cmocka_unit_test(results_are_bounded),
		cmocka_unit_test(groups_have_keys_of_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
