/* What was popped is acknowledged, put off, or comes again: ACK_MESSAGE (200051), BATCH_ACK_MESSAGE (200151),
 * CHANGE_MESSAGE_INVISIBLETIME (200053). */
#include "tests/wire/pop.h"

static void what_is_acknowledged_does_not_come_again(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;
	char text[160];

	send_ok(p, "PopAck", "0", "", "a");
	send_ok(p, "PopAck", "0", "", "b");
	r = popped_of(POP(p, .topic = "PopAck", .queue = "0"));
	harness_assert_answer(ack(p, "PopAck", "0", "0", receipt(&r, 0, 0, 0)), MQ_SUCCESS, NULL);
	assert_int_equal(p->answer->cmd.has_fields, false);
	/* The other one does, when its time is over: the long poll sees it. */
	harness_assert_answer(change(p, "PopAck", "0", receipt(&r, 0, 0, 0), "1"), MQ_SUCCESS, "not set any response code");
	harness_assert_answer(change(p, "PopAck", "1", receipt(&r, 0, 0, 1), "1"), MQ_SUCCESS, "not set any response code");
	snprintf(text, sizeof text, "%s", receipt(&r, 0, 0, 0));
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopAck", .queue = "0", .poll = FAR));
	assert_int_equal(r.n, 1);
	assert_slice(r.records[0].body, "b");
	popped_done(&r);
	/* Late, or twice: nobody minds. */
	harness_assert_answer(ack(p, "PopAck", "0", "0", text), MQ_SUCCESS, NULL);
}

static void what_comes_again_is_counted_and_names_its_topic(void **state)
{
	struct harness_peer *p = *state;
	struct popped first, r;
	char expected[160], receipt_text[160] = "";
	struct mq_slice got;

	send_ok(p, "PopAgain", "2", "TAGS\1t\2KEYS\1k\2", "again");
	first = popped_of(POP(p, .topic = "PopAgain", .queue = "2", .invisible = "100", .expression = "t"));
	for (int i = 1; i <= 2; i++) {
		/* The last one comes again when it is told to, not while this looks at what there is. */
		const char *invisible = i < 2 ? "100" : "60000";

		r = popped_of(POP(p, .topic = "PopAgain", .queue = "2", .invisible = invisible, .poll = FAR, .expression = "t"));
		assert_int_equal(r.n, 1);
		assert_slice(r.records[0].body, "again");
		assert_slice(r.records[0].topic, "PopAgain");
		assert_int_equal(r.records[0].reconsume_times, i);
		assert_int_equal(r.records[0].queue_id, 0);
		assert_int_equal(r.records[0].born_at_ms, first.records[0].born_at_ms);
		assert_property(r.records[0].properties, "1ST_POP_TIME", first.pop_time);
		assert_property(r.records[0].properties, "ORIGIN_GROUP", "pg");
		assert_property(r.records[0].properties, "KEYS", "k");
		snprintf(expected, sizeof expected, "1 0 %d", i - 1);
		assert_string_equal(r.offsets, expected);
		assert_string_equal(r.starts, expected);
		snprintf(receipt_text, sizeof receipt_text, "%d %s %s %s 1 broker-a 0 %d", i - 1, r.pop_time, invisible, r.revive, i - 1);
		assert_property(r.records[0].properties, "POP_CK", receipt_text);
		popped_done(&r);
	}
	popped_done(&first);
	assert_string_equal(max_offset(p, "%RETRY%pg_PopAgain", "0"), "2");
	harness_assert_answer(change(p, "%RETRY%pg_PopAgain", "1", receipt_text, "1"), MQ_SUCCESS, "not set any response code");
	/* Acknowledged under its retry topic, by the receipt that it carries. */
	r = popped_of(POP(p, .topic = "PopAgain", .poll = FAR));
	got = mq_properties_get(r.records[0].properties, "POP_CK");
	snprintf(receipt_text, sizeof receipt_text, "%.*s", MQ_FMT(got));
	harness_assert_answer(ack(p, "%RETRY%pg_PopAgain", "0", "2", receipt_text), MQ_SUCCESS, NULL);
	popped_done(&r);
	assert_nothing(POP(p, .topic = "PopAgain"));
	assert_string_equal(max_offset(p, "%RETRY%pg_PopAgain", "0"), "3");
}

static void a_receipt_that_is_none_is_refused(void **state)
{
	struct harness_peer *p = *state;
	char remark[256];

	send_ok(p, "AckBad", "0", "", "x");
	harness_assert_answer(ack(p, "AckNone", "0", "0", "0 1 2 0 0 broker-a 0 0"), MQ_TOPIC_NOT_EXIST,
			      "topic[AckNone] not exist, apply first please! " FAQ);
	assert_int_equal(ack(p, "AckBad", "4", "0", "0 1 2 0 0 broker-a 4 0")->code, MQ_MESSAGE_ILLEGAL);
	snprintf(remark, sizeof remark, "%.*s", MQ_FMT(p->answer->cmd.remark));
	assert_non_null(strstr(remark, "queueId[4] is illegal, topic:[AckBad] topicConfig.readQueueNums:[4] consumer:[/127.0.0.1:"));
	harness_assert_answer(ack(p, "AckBad", "0", "2", "0 1 2 0 0 broker-a 0 2"), MQ_NO_MESSAGE,
			      "offset is illegal, key:AckBad@0, commit:2, store:0~1");
	harness_assert_answer(ack(p, "AckBad", "0", "1", "0 1 2 0 0 broker-a 0 1"), MQ_SUCCESS, NULL);
	assert_int_equal(ack(p, "AckBad", "0", "0", "0 1 two 0 0 broker-a 0 0")->code, MQ_SYSTEM_ERROR);
	assert_int_equal(change(p, "AckBad", "0", "0 1", "1000")->code, MQ_SYSTEM_ERROR);
	harness_assert_answer(change(p, "AckBad", "1", "0 1 2 0 0 broker-a 0 1", "1000"), MQ_NO_MESSAGE, "not set any response code");
	harness_assert_answer(change(p, "AckNone", "0", "0 1 2 0 0 broker-a 0 0", "1000"), MQ_TOPIC_NOT_EXIST,
			      "topic[AckNone] not exist, apply first please! " FAQ);
}

static void a_batch_is_acknowledged_by_its_bits(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	struct popped r;
	char body[512], offset[8];

	for (int i = 0; i < 4; i++)
		send_ok(p, "PopBatch", "0", "", i == 2 ? "left" : "done");
	r = popped_of(POP(p, .topic = "PopBatch", .queue = "0"));
	/* Bits 0, 1, 3, and one behind the end. */
	snprintf(body, sizeof body,
		 "{\"acks\":[{\"b\":\"Gw==\",\"c\":\"pg\",\"it\":60000,\"pt\":%s,\"q\":0,\"r\":\"0\",\"rq\":%s,\"so\":0,\"t\":\"PopBatch\"},"
		 "{\"b\":\"AQ==\",\"c\":\"pg\",\"it\":60000,\"pt\":%s,\"q\":0,\"r\":\"0\",\"rq\":0,\"so\":0,\"t\":\"PopNowhere\"}],"
		 "\"brokerName\":\"broker-a\"}",
		 r.pop_time, r.revive, r.pop_time);
	harness_assert_answer(ask_with_body(p, MQ_BATCH_ACK_MESSAGE, body), MQ_SUCCESS, NULL);
	/* What was acknowledged cannot be moved any more, the other one can. */
	for (int i = 0; i < 4; i++) {
		snprintf(offset, sizeof offset, "%d", i);
		harness_assert_answer(change(p, "PopBatch", offset, receipt(&r, 0, 0, i), "1"), MQ_SUCCESS, "not set any response code");
	}
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopBatch", .poll = FAR));
	assert_int_equal(r.n, 1);
	assert_slice(r.records[0].body, "left");
	popped_done(&r);

	harness_request(&cmd, MQ_BATCH_ACK_MESSAGE, NULL);
	harness_assert_answer(harness_call(p, &cmd), MQ_NO_MESSAGE, NULL);
	cmd.body = MQ_SLICE("{\"acks\":[],\"brokerName\":\"broker-a\"}");
	harness_assert_answer(harness_call(p, &cmd), MQ_NO_MESSAGE, NULL);
	cmd.body = MQ_SLICE("{\"acks\":[{\"b\":\"AQ==\",\"c\":\"pg\",\"r\":\"3\",\"t\":\"PopBatch\"}]}");
	harness_assert_answer(harness_call(p, &cmd), MQ_SYSTEM_ERROR, "getRetry fail, format is wrong");
	cmd.body = MQ_SLICE("{\"acks\":");
	assert_int_equal(harness_call(p, &cmd)->code, MQ_SYSTEM_ERROR);
}

static void the_invisible_time_can_be_changed(void **state)
{
	struct harness_peer *p = *state;
	char text[160], moved[160];
	struct popped r;

	send_ok(p, "PopChange", "0", "", "x");
	r = popped_of(POP(p, .topic = "PopChange", .queue = "0"));
	snprintf(text, sizeof text, "%s", receipt(&r, 0, 0, 0));
	harness_assert_answer(change(p, "PopChange", "0", text, "100"), MQ_SUCCESS, "not set any response code");
	assert_string_equal(harness_field(&p->answer->cmd, "invisibleTime"), "100");
	assert_string_equal(harness_field(&p->answer->cmd, "reviveQid"), r.revive);
	snprintf(moved, sizeof moved, "0 %s 100 %s 0 broker-a 0 0", harness_field(&p->answer->cmd, "popTime"), r.revive);
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopChange", .queue = "0", .poll = FAR));
	assert_int_equal(r.n, 1);
	assert_int_equal(r.records[0].reconsume_times, 1);
	popped_done(&r);
	/* What is gone stays gone, with the same answer. */
	harness_assert_answer(change(p, "PopChange", "0", text, "1"), MQ_SUCCESS, "not set any response code");
	harness_assert_answer(change(p, "PopChange", "0", moved, "1"), MQ_SUCCESS, "not set any response code");
	/* One that is due behind what these would have made. */
	send_ok(p, "PopChange", "1", "", "y");
	r = popped_of(POP(p, .topic = "PopChange", .queue = "1", .invisible = "10"));
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopChange", .poll = FAR));
	assert_int_equal(r.n, 1);
	assert_slice(r.records[0].body, "y");
	popped_done(&r);
	assert_string_equal(max_offset(p, "%RETRY%pg_PopChange", "0"), "2");
}

static void what_the_group_puts_off_does_not_count(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;

	send_ok(p, "PopSuspend", "0", "", "x");
	r = popped_of(POP(p, .topic = "PopSuspend", .queue = "0"));
	harness_assert_answer(harness_ask(p, MQ_CHANGE_MESSAGE_INVISIBLETIME, "consumerGroup", "pg", "topic", "PopSuspend", "queueId", "0",
					  "offset", "0", "extraInfo", receipt(&r, 0, 0, 0), "invisibleTime", "100", "suspend", "true",
					  NULL),
			      MQ_SUCCESS, "not set any response code");
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopSuspend", .poll = FAR));
	assert_int_equal(r.records[0].reconsume_times, 0);
	popped_done(&r);
}

/* ---- Another configuration ---- */

static int start_second_daemon(void **state)
{
	static const char *const sets[] = { "brokerName=broker-a", "enableRetryTopicV2=true", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

static void the_second_retry_topic_has_a_name_of_its_own(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;
	char expected[160];

	send_ok(p, "PopV2", "0", "", "x");
	r = popped_of(POP(p, .topic = "PopV2", .queue = "0", .invisible = "100"));
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopV2", .poll = FAR));
	assert_int_equal(r.n, 1);
	assert_string_equal(r.offsets, "2 0 0");
	snprintf(expected, sizeof expected, "0 %s 60000 %s 2 broker-a 0 0", r.pop_time, r.revive);
	assert_property(r.records[0].properties, "POP_CK", expected);
	assert_string_equal(max_offset(p, "%RETRY%pg+PopV2", "0"), "1");
	popped_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_acknowledged_does_not_come_again),
		TEST(what_comes_again_is_counted_and_names_its_topic),
		TEST(a_receipt_that_is_none_is_refused),
		TEST(a_batch_is_acknowledged_by_its_bits),
		TEST(the_invisible_time_can_be_changed),
		TEST(what_the_group_puts_off_does_not_count),
	};
	const struct CMUnitTest second[] = { TEST(the_second_retry_topic_has_a_name_of_its_own) };
	int failed = cmocka_run_group_tests_name("pop_ack", tests, start_daemon, stop_daemon);

	return failed + cmocka_run_group_tests_name("pop_ack, retry topics of the second version", second, start_second_daemon, stop_daemon);
}
