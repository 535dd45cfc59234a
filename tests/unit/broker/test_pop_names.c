/* The texts of POP: topics, receipts, bodies of batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemons/broker/pop_batch.h"
#include "daemons/broker/pop_names.h"

static void assert_slice(struct mq_slice s, const char *text)
{
	if (!mq_slice_is(s, text))
		fail_msg("\"%.*s\" is not \"%s\"", MQ_FMT(s), text);
}

static void retry_topics_have_two_versions(void **state)
{
	struct pop_name name;

	pop_topic(&name, POP_NORMAL, MQ_SLICE("T"), MQ_SLICE("g"));
	assert_slice(pop_name_slice(&name), "T");
	pop_topic(&name, POP_RETRY_V1, MQ_SLICE("T"), MQ_SLICE("g"));
	assert_slice(pop_name_slice(&name), "%RETRY%g_T");
	pop_topic(&name, POP_RETRY_V2, MQ_SLICE("T"), MQ_SLICE("g"));
	assert_slice(pop_name_slice(&name), "%RETRY%g+T");
	assert_int_equal(pop_mark_of(MQ_SLICE("T")), POP_NORMAL);
	assert_int_equal(pop_mark_of(MQ_SLICE("%RETRY%g_T")), POP_RETRY_V1);
	assert_int_equal(pop_mark_of(MQ_SLICE("%RETRY%g+T")), POP_RETRY_V2);
}

static void a_name_that_is_too_long_is_none(void **state)
{
	char topic[255];
	struct pop_name name;

	memset(topic, 't', sizeof topic);
	pop_topic(&name, POP_NORMAL, (struct mq_slice){ topic, 255 }, MQ_SLICE("g"));
	assert_int_equal(name.n, 255);
	pop_topic(&name, POP_RETRY_V1, (struct mq_slice){ topic, 246 }, MQ_SLICE("g"));
	assert_int_equal(name.n, 255);
	pop_topic(&name, POP_RETRY_V1, (struct mq_slice){ topic, 247 }, MQ_SLICE("g"));
	assert_int_equal(name.n, 0);
}

static void the_topic_behind_a_retry_topic_is_found(void **state)
{
	assert_slice(pop_normal_topic(MQ_SLICE("%RETRY%g_T_x"), MQ_SLICE("g")), "T_x");
	assert_slice(pop_normal_topic(MQ_SLICE("%RETRY%g+T"), MQ_SLICE("g")), "T");
	assert_slice(pop_normal_topic(MQ_SLICE("T"), MQ_SLICE("g")), "T");
	assert_slice(pop_normal_topic(MQ_SLICE("%RETRY%g"), MQ_SLICE("g")), "%RETRY%g");
	assert_slice(pop_normal_topic(MQ_SLICE("%RETRY%g_"), MQ_SLICE("g")), "%RETRY%g_");
	assert_slice(pop_normal_topic(MQ_SLICE("%RETRY%other_T"), MQ_SLICE("g")), "%RETRY%other_T");
}

static void a_receipt_is_read_as_it_was_written(void **state)
{
	struct pop_handle h = {
		.start_offset = 3, .pop_at_ms = 1795472641214, .invisible_ms = 60000, .revive_queue = 7, .queue_id = 1, .offset = 5,
		.mark = POP_RETRY_V2, .broker = MQ_SLICE("broker-a"),
	}, again;
	char text[POP_HANDLE_MAX];

	assert_int_equal(pop_handle_encode(&h, text), strlen("3 1795472641214 60000 7 2 broker-a 1 5"));
	assert_string_equal(text, "3 1795472641214 60000 7 2 broker-a 1 5");
	assert_int_equal(pop_handle_decode(mq_slice_of(text), &again), 0);
	assert_int_equal(again.start_offset, 3);
	assert_int_equal(again.pop_at_ms, 1795472641214);
	assert_int_equal(again.invisible_ms, 60000);
	assert_int_equal(again.revive_queue, 7);
	assert_int_equal(again.mark, POP_RETRY_V2);
	assert_slice(again.broker, "broker-a");
	assert_int_equal(again.queue_id, 1);
	assert_int_equal(again.offset, 5);
}

static void older_receipts_are_shorter(void **state)
{
	struct pop_handle h;

	assert_int_equal(pop_handle_decode(MQ_SLICE("0 1 2 3 0 b"), &h), 0);
	assert_int_equal(h.queue_id, -1);
	assert_int_equal(h.offset, -1);
	assert_int_equal(pop_handle_decode(MQ_SLICE("0 1 2 3 0 b 4"), &h), 0);
	assert_int_equal(h.queue_id, 4);
	assert_int_equal(pop_handle_decode(MQ_SLICE("0 1 2 3 9 b 4 5 more"), &h), 0);
	assert_int_equal(h.mark, POP_NORMAL);
}

static void what_is_no_receipt_is_refused(void **state)
{
	static const char *const texts[] = {
		"", " ", "0", "0 1 2 3", "0 1 2 3 0", "x 1 2 3 0 b", "0 x 2 3 0 b", "0 1 x 3 0 b", "0 1 2 x 0 b", "0 1 2 3 x b",
		"0 1 2 3 0 b x", "0 1 2 3 0 b 1 x", "0 99999999999999999999 2 3 0 b 0 0", "0 1 2 3 0 b 99999999999 0",
	};
	struct pop_handle h;

	for (size_t i = 0; i < N_ELEMENTS(texts); i++)
		if (pop_handle_decode(mq_slice_of(texts[i]), &h) != -EBADMSG)
			fail_msg("\"%s\" was taken for a receipt", texts[i]);
	assert_int_equal(pop_handle_decode((struct mq_slice){}, &h), -EBADMSG);
}

/* ---- Batches ---- */

static int parse(struct pop_batch *ret, const char *body)
{
	struct mq_error err;

	return pop_batch_parse(ret, mq_slice_of(body), &err);
}

static void a_batch_says_its_offsets_by_bits(void **state)
{
	struct pop_batch b;

	assert_int_equal(parse(&b, "{\"acks\":[{\"b\":\"BYE=\",\"c\":\"g\",\"it\":5,\"pt\":4,\"q\":3,\"r\":\"1\",\"rq\":999,\"so\":100,"
				   "\"t\":\"T\"},{\"bitSet\":\"AQ\",\"consumerGroup\":\"h\",\"retry\":\"0\",\"topic\":\"U\"}]}"),
			 0);
	assert_int_equal(b.n, 2);
	assert_slice(b.entries[0].group, "g");
	assert_slice(pop_name_slice(&b.entries[0].topic), "%RETRY%g_T");
	assert_int_equal(b.entries[0].queue_id, 3);
	assert_int_equal(b.entries[0].revive_queue, 999);
	assert_int_equal(b.entries[0].pop_at_ms, 4);
	assert_int_equal(b.entries[0].invisible_ms, 5);
	/* 0x05 0x81 */
	assert_int_equal(pop_batch_count(&b.entries[0]), 4);
	assert_int_equal(pop_batch_next(&b.entries[0], 0), 100);
	assert_int_equal(pop_batch_next(&b.entries[0], 101), 102);
	assert_int_equal(pop_batch_next(&b.entries[0], 103), 108);
	assert_int_equal(pop_batch_next(&b.entries[0], 109), 115);
	assert_int_equal(pop_batch_next(&b.entries[0], 116), -1);
	/* The long names, as older clients have them; padding may be missing. */
	assert_slice(b.entries[1].group, "h");
	assert_slice(pop_name_slice(&b.entries[1].topic), "U");
	assert_int_equal(pop_batch_next(&b.entries[1], 0), 0);
	assert_int_equal(pop_batch_next(&b.entries[1], 1), -1);
	pop_batch_done(&b);
}

static void offsets_do_not_overflow(void **state)
{
	struct pop_batch b;

	assert_int_equal(parse(&b, "{\"acks\":[{\"b\":\"/w==\",\"c\":\"g\",\"r\":\"0\",\"so\":9223372036854775806,\"t\":\"T\"},"
				   "{\"b\":\"/w==\",\"c\":\"g\",\"r\":\"0\",\"so\":-3,\"t\":\"T\"}]}"),
			 0);
	assert_int_equal(pop_batch_next(&b.entries[0], INT64_MAX - 1), INT64_MAX - 1);
	assert_int_equal(pop_batch_next(&b.entries[0], INT64_MAX), INT64_MAX);
	assert_int_equal(pop_batch_next(&b.entries[1], 0), 0);
	assert_int_equal(pop_batch_next(&b.entries[1], -3), -1);
	pop_batch_done(&b);
}

static void a_batch_of_nothing_has_no_entries(void **state)
{
	static const char *const bodies[] = { "{}", "{\"acks\":[]}", "{\"acks\":null}", "{\"acks\":5}" };
	struct pop_batch b;

	for (size_t i = 0; i < N_ELEMENTS(bodies); i++) {
		assert_int_equal(parse(&b, bodies[i]), 0);
		assert_int_equal(b.n, 0);
		pop_batch_done(&b);
	}
}

static void what_is_no_batch_is_refused(void **state)
{
	static const char *const bodies[] = {
		"", "[", "{\"acks\":[{}]}", "{\"acks\":[{\"b\":\"AQ==\",\"r\":\"0\",\"t\":\"T\"}]}",
		"{\"acks\":[{\"b\":\"AQ==\",\"c\":\"g\",\"r\":\"0\"}]}", "{\"acks\":[{\"c\":\"g\",\"r\":\"0\",\"t\":\"T\"}]}",
		"{\"acks\":[{\"b\":\"AQ==\",\"c\":\"g\",\"t\":\"T\"}]}", "{\"acks\":[{\"b\":\"AQ==\",\"c\":\"g\",\"r\":\"3\",\"t\":\"T\"}]}",
		"{\"acks\":[{\"b\":\"A*==\",\"c\":\"g\",\"r\":\"0\",\"t\":\"T\"}]}", "{\"acks\":[{\"b\":\"AAAAA\",\"c\":\"g\",\"r\":\"0\",\"t\":\"T\"}]}",
	};
	struct pop_batch b;

	for (size_t i = 0; i < N_ELEMENTS(bodies); i++)
		if (parse(&b, bodies[i]) != -EBADMSG)
			fail_msg("%s was taken for a batch", bodies[i]);
}

static void a_batch_has_an_upper_limit(void **state)
{
	static char body[32 << 10];
	size_t n = (size_t)snprintf(body, sizeof body, "{\"acks\":[{\"c\":\"g\",\"r\":\"0\",\"t\":\"T\",\"b\":\"");
	struct pop_batch b;

	/* 6 bits a digit. */
	memset(body + n, '/', POP_BATCH_MAX / 6 + 2);
	strcpy(body + n + POP_BATCH_MAX / 6 + 2, "\"}]}");
	assert_int_equal(parse(&b, body), -E2BIG);
	memset(body + n, 'A', 4);
	assert_int_equal(parse(&b, body), 0);
	pop_batch_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(retry_topics_have_two_versions),
		cmocka_unit_test(a_name_that_is_too_long_is_none),
		cmocka_unit_test(the_topic_behind_a_retry_topic_is_found),
		cmocka_unit_test(a_receipt_is_read_as_it_was_written),
		cmocka_unit_test(older_receipts_are_shorter),
		cmocka_unit_test(what_is_no_receipt_is_refused),
		cmocka_unit_test(a_batch_says_its_offsets_by_bits),
		cmocka_unit_test(offsets_do_not_overflow),
		cmocka_unit_test(a_batch_of_nothing_has_no_entries),
		cmocka_unit_test(what_is_no_batch_is_refused),
		cmocka_unit_test(a_batch_has_an_upper_limit),
	};

	return cmocka_run_group_tests_name("pop names", tests, NULL, NULL);
}
