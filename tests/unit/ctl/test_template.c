#include "tests/unit/ctl/ctl_test.h"

#include <event2/buffer.h>

#include "daemons/ctl/load.h"
#include "daemons/ctl/template.h"
#include "libmq/wire/codes.h"
#include "libmq/wire/message_properties.h"
#include "libmq/wire/record.h"

static struct template make(unsigned n_messages)
{
	struct template_config cfg = {
		.topic = "T",
		.group = "G",
		.broker = "broker-a",
		.queue_id = 3,
		.n_messages = n_messages,
		.body_size = 100,
		.process = 0xABCDEF,
	};
	struct template t;

	assert_int_equal(template_init(&t, &cfg), 0);
	return t;
}

static void decode(struct mq_command *cmd, struct mq_frame **frame, const char *bytes, size_t n)
{
	struct mq_slice in = { bytes, n };
	struct mq_frame_reader reader;

	mq_frame_reader_init(&reader, MQ_FRAME_MAX_DEFAULT);
	assert_int_equal(mq_frame_reader_next(&reader, &in, frame), 1);
	assert_int_equal(in.n, 0);
	assert_int_equal(mq_command_decode(cmd, *frame, NULL), 0);
	mq_frame_reader_done(&reader);
}

static const struct mq_slice *field(const struct mq_command *cmd, const char *name)
{
	const struct mq_slice *value = mq_command_field(cmd, name);

	assert_non_null(value);
	return value;
}

static void a_patched_request_decodes_to_what_was_patched_in(void **state)
{
	struct template t = make(1);
	_cleanup_(mq_frame_unrefp) struct mq_frame *frame = NULL;
	char *out = malloc(t.n);
	struct mq_command cmd;

	template_write(&t, out, TEMPLATE_OPAQUE_BASE + 42, 1769862615250, 0x12);
	decode(&cmd, &frame, out, t.n);
	assert_int_equal(cmd.code, MQ_SEND_MESSAGE_V2);
	assert_int_equal(cmd.opaque, TEMPLATE_OPAQUE_BASE + 42);
	assert_true(mq_slice_is(*field(&cmd, "b"), "T"));
	assert_true(mq_slice_is(*field(&cmd, "e"), "3"));
	assert_true(mq_slice_is(*field(&cmd, "g"), "1769862615250"));
	assert_true(mq_slice_is(mq_properties_get(*field(&cmd, "i"), MQ_PROPERTY_UNIQ_KEY),
				"0000000000ABCDEF0000000000000012"));
	assert_int_equal(frame->body.n, 100);
	assert_ptr_equal(out + t.body_at[0], out + t.n - 100);
	free(out);
	template_done(&t);
}

static void every_message_of_a_batch_has_its_own_id(void **state)
{
	struct template t = make(5);
	_cleanup_(mq_frame_unrefp) struct mq_frame *frame = NULL;
	char *out = malloc(t.n), wanted[33];
	struct mq_batch_entry e;
	struct mq_command cmd;
	struct mq_slice rest;

	template_write(&t, out, TEMPLATE_OPAQUE_BASE, 1769862615250, 0xFE);
	for (unsigned i = 0; i < 5; i++)
		out[t.body_at[i]] = (char)('0' + i);
	decode(&cmd, &frame, out, t.n);
	assert_int_equal(cmd.code, MQ_SEND_BATCH_MESSAGE);
	assert_true(mq_slice_is(*field(&cmd, "m"), "true"));
	rest = frame->body;
	for (unsigned i = 0; i < 5; i++) {
		int n = mq_batch_next(rest, &e);

		assert_true(n > 0);
		snprintf(wanted, sizeof wanted, "0000000000ABCDEF%016X", 0xFE + i);
		assert_true(mq_slice_is(mq_properties_get(e.properties, MQ_PROPERTY_UNIQ_KEY), wanted));
		assert_int_equal(e.body.n, 100);
		assert_int_equal(e.body.p[0], '0' + i);
		rest.p += n;
		rest.n -= (size_t)n;
	}
	assert_int_equal(rest.n, 0);
	free(out);
	template_done(&t);
}

static void a_stamp_is_read_only_from_bodies_of_its_run(void **state)
{
	char body[LOAD_STAMP_SIZE] = "mqbench 0000BEEF 00000000001234567890 ";
	struct mq_slice slice = { body, sizeof body };
	int64_t ns = 0;

	assert_true(load_read_stamp(slice, 0xbeef, &ns));
	assert_int_equal(ns, 1234567890);
	assert_false(load_read_stamp(slice, 0xbee0, &ns));
	slice.n--;
	assert_false(load_read_stamp(slice, 0xbeef, &ns));
	slice.n++;
	body[20] = 'x';
	assert_false(load_read_stamp(slice, 0xbeef, &ns));
	memset(body + 17, '9', 20);
	assert_false(load_read_stamp(slice, 0xbeef, &ns));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_patched_request_decodes_to_what_was_patched_in),
		cmocka_unit_test(every_message_of_a_batch_has_its_own_id),
		cmocka_unit_test(a_stamp_is_read_only_from_bodies_of_its_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
