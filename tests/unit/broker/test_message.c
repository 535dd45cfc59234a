#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemons/broker/config.h"
#include "daemons/broker/message.h"
#include "libmq/wire/message_properties.h"

static const struct broker_config config = { .regionId = "DefaultRegion", .brokerClusterName = "C1", .traceOn = true };

static struct message_marks marks_of(const char *properties)
{
	struct message_marks m;

	message_marks_read(&m, mq_slice_of(properties));
	return m;
}

static void assert_property(struct mq_slice properties, const char *name, const char *value)
{
	struct mq_slice found = mq_properties_get(properties, name);

	if (!value) {
		assert_null(found.p);
		return;
	}
	assert_int_equal(found.n, strlen(value));
	assert_memory_equal(found.p, value, found.n);
}

static void marks_are_found_and_absent_ones_are_null(void **state)
{
	struct message_marks m = marks_of("KEYS\1k1 k2\2TAGS\1t\2WAIT\1false\2TRAN_MSG\1TRUE\2PGROUP\1g\2");

	assert_int_equal(m.keys.n, 5);
	assert_int_equal(m.tags.n, 1);
	assert_int_equal(m.group.n, 1);
	assert_null(m.uniq_key.p);
	assert_false(m.wants_wait);
	assert_true(m.is_prepared);
	assert_true(marks_of("WAIT\1true\2").wants_wait);
	assert_true(marks_of("").wants_wait);
	assert_false(marks_of("").is_prepared);
}

static void the_brokers_own_properties_replace_the_senders(void **state)
{
	struct mq_slice in = MQ_SLICE("a\1b\2CLUSTER\1liar\2POP_CK\1x\2UNIQ_KEY\1u");
	char text[MQ_PROPERTIES_MAX];
	size_t n = message_properties_encode(&config, in, &(struct message_additions){}, text);
	struct mq_slice out = { text, n };

	assert_true(n > 0 && n <= message_properties_bound(&config, in, &(struct message_additions){}));
	assert_property(out, "a", "b");
	assert_property(out, "UNIQ_KEY", "u");
	assert_property(out, "CLUSTER", "C1");
	assert_property(out, "MSG_REGION", "DefaultRegion");
	assert_property(out, "TRACE_ON", "true");
	assert_property(out, "POP_CK", NULL);
	assert_null(memmem(text, n, "liar", 4));
}

static void a_half_message_names_its_target(void **state)
{
	struct message_additions more = {
		.real_topic = MQ_SLICE("T"), .real_queue_id = 3, .uniq_key = MQ_SLICE("u9"), .transaction_id = MQ_SLICE("u9"),
	};
	struct mq_slice in = MQ_SLICE("REAL_TOPIC\1other\2TRAN_MSG\1true\2");
	char text[MQ_PROPERTIES_MAX];
	size_t n = message_properties_encode(&config, in, &more, text);
	struct mq_slice out = { text, n };

	assert_true(n > 0 && n <= message_properties_bound(&config, in, &more));
	assert_property(out, "REAL_TOPIC", "T");
	assert_property(out, "REAL_QID", "3");
	assert_property(out, "__transactionId__", "u9");
	assert_property(out, "UNIQ_KEY", "u9");
	assert_property(out, "TRAN_MSG", "true");
}

static void a_dead_letter_asks_for_no_delay(void **state)
{
	struct message_additions more = { .is_dead = true };
	struct mq_slice in = MQ_SLICE("DELAY\0015\2RETRY_TOPIC\1T\2");
	char text[MQ_PROPERTIES_MAX];
	size_t n = message_properties_encode(&config, in, &more, text);
	struct mq_slice out = { text, n };

	assert_true(n > 0 && n <= message_properties_bound(&config, in, &more));
	assert_property(out, "DELAY", "-1");
	assert_property(out, "RETRY_TOPIC", "T");
	assert_property(out, "CLUSTER", "C1");
	assert_null(memmem(text, n, "DELAY\0015", 7));
}

static void properties_that_grow_too_long_are_refused(void **state)
{
	static char in[MQ_PROPERTIES_MAX];
	char text[MQ_PROPERTIES_MAX];

	memset(in, 'x', sizeof in);
	in[1] = 1;
	in[sizeof in - 1] = 2;
	assert_int_equal(message_properties_encode(&config, (struct mq_slice){ in, sizeof in }, &(struct message_additions){}, text), 0);
	assert_int_not_equal(message_properties_encode(&config, (struct mq_slice){ in, sizeof in - 100 }, &(struct message_additions){}, text), 0);
}

static void a_record_is_put_together_around_its_body(void **state)
{
	struct mq_record rec = {
		.queue_id = 2, .flag = 7, .born_at_ms = 5, .born_host = { { 10, 0, 0, 1 }, 4, 99 }, .store_host = { { 127, 0, 0, 1 }, 4, 10911 },
		.body = MQ_SLICE("hello"), .topic = MQ_SLICE("Topic"), .properties = MQ_SLICE("TAGS\1TagA\2KEYS\1k\2"),
	};
	struct message_marks m = marks_of("TAGS\1TagA\2KEYS\1k\2");
	char head[MQ_RECORD_HEAD_MAX], tail[100], whole[300];
	struct store_record r;
	struct mq_record back;
	size_t n;

	rec.body_crc = mq_body_crc(rec.body);
	n = message_record_encode(&rec, &m, head, tail, &r);
	assert_true(n <= message_tail_bound(rec.topic, rec.properties.n));
	assert_int_equal(r.tag_hash, 2598919);
	assert_int_equal(r.keys.n, 1);
	mq_record_patch(head, 11, 22, 33);
	memcpy(whole, head, r.n_head);
	memcpy(whole + r.n_head, r.body.p, r.body.n);
	memcpy(whole + r.n_head + r.body.n, r.tail.p, r.tail.n);
	n = r.n_head + r.body.n + r.tail.n;
	assert_int_equal(mq_record_decode((struct mq_slice){ whole, n }, &back), n);
	assert_int_equal(back.queue_offset, 11);
	assert_int_equal(back.physical_offset, 22);
	assert_int_equal(back.flag, 7);
	assert_true(mq_slice_is(back.body, "hello"));
	assert_true(mq_slice_equal(back.properties, rec.properties));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(marks_are_found_and_absent_ones_are_null),
		cmocka_unit_test(the_brokers_own_properties_replace_the_senders),
		cmocka_unit_test(a_half_message_names_its_target),
		cmocka_unit_test(a_dead_letter_asks_for_no_delay),
		cmocka_unit_test(properties_that_grow_too_long_are_refused),
		cmocka_unit_test(a_record_is_put_together_around_its_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
