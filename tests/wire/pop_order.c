/* Popping in order: what of a queue is not acknowledged keeps what is behind it (POP_MESSAGE with `order`). */
#include "tests/wire/pop.h"

static void in_order_the_next_comes_after_the_acknowledgement(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;
	char text[160];

	for (int i = 0; i < 4; i++)
		send_ok(p, "PopOrder", "0", "", "x");
	r = popped_of(POP(p, .topic = "PopOrder", .queue = "0", .max = "2", .order = "true"));
	assert_string_equal(r.revive, "999");
	assert_string_equal(r.offsets, "0 0 0,1");
	assert_string_equal(r.counts, "0 0 0");
	assert_string_equal(committed(p, "PopOrder", "0"), "0");
	assert_nothing(POP(p, .topic = "PopOrder", .queue = "0", .order = "true"));
	assert_string_equal(harness_field(&p->answer->cmd, "restNum"), "0");

	harness_assert_answer(ack(p, "PopOrder", "0", "1", receipt(&r, 0, 0, 1)), MQ_SUCCESS, NULL);
	assert_string_equal(committed(p, "PopOrder", "0"), "0");
	assert_nothing(POP(p, .topic = "PopOrder", .queue = "0", .order = "true"));
	harness_assert_answer(ack(p, "PopOrder", "0", "0", receipt(&r, 0, 0, 0)), MQ_SUCCESS, NULL);
	assert_string_equal(committed(p, "PopOrder", "0"), "2");
	snprintf(text, sizeof text, "%s", receipt(&r, 0, 0, 3));
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopOrder", .queue = "0", .order = "true"));
	assert_string_equal(r.offsets, "0 0 2,3");
	/* An old receipt changes nothing, one of a message that was not given out is refused. */
	harness_assert_answer(ack(p, "PopOrder", "0", "3", text), MQ_SUCCESS, NULL);
	assert_string_equal(committed(p, "PopOrder", "0"), "2");
	assert_int_equal(ack(p, "PopOrder", "0", "4", receipt(&r, 2, 0, 4))->code, MQ_MESSAGE_ILLEGAL);
	popped_done(&r);
}

static void an_attempt_gets_its_messages_again(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;

	send_ok(p, "PopAttempt", "0", "", "x");
	r = popped_of(POP(p, .topic = "PopAttempt", .queue = "0", .order = "true", .attempt = "a-1"));
	popped_done(&r);
	assert_nothing(POP(p, .topic = "PopAttempt", .queue = "0", .order = "true", .attempt = "a-2"));
	r = popped_of(POP(p, .topic = "PopAttempt", .queue = "0", .order = "true", .attempt = "a-1"));
	assert_string_equal(r.offsets, "0 0 0");
	assert_string_equal(r.counts, "0 0 0");
	popped_done(&r);
}

static void in_order_what_is_not_acknowledged_blocks_until_its_time(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;
	int64_t before_ms;

	for (int i = 0; i < 2; i++)
		send_ok(p, "PopBlock", "0", "", "x");
	r = popped_of(POP(p, .topic = "PopBlock", .queue = "0", .order = "true", .max = "1", .invisible = "1000"));
	before_ms = strtoll(r.pop_time, NULL, 10);
	popped_done(&r);
	/* The poll hears of the end of the block. */
	r = popped_of(POP(p, .topic = "PopBlock", .queue = "0", .order = "true", .poll = FAR));
	assert_true(strtoll(r.pop_time, NULL, 10) >= before_ms + 1000);
	assert_string_equal(r.offsets, "0 0 0,1");
	assert_string_equal(r.counts, "0 qo0%0 1;0 0 0");
	/* Put off by its consumer: later, and then sooner. */
	harness_assert_answer(change(p, "PopBlock", "0", receipt(&r, 0, 0, 0), "300000"), MQ_SUCCESS, "not set any response code");
	assert_string_equal(harness_field(&p->answer->cmd, "popTime"), r.pop_time);
	harness_assert_answer(ack(p, "PopBlock", "0", "1", receipt(&r, 0, 0, 1)), MQ_SUCCESS, NULL);
	harness_assert_answer(change(p, "PopBlock", "0", receipt(&r, 0, 0, 0), "200"), MQ_SUCCESS, "not set any response code");
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopBlock", .queue = "0", .order = "true", .poll = FAR));
	assert_string_equal(r.offsets, "0 0 0,1");
	assert_string_equal(r.counts, "0 qo0%0 2;0 qo0%1 1;0 0 1");
	popped_done(&r);
}

static void an_acknowledgement_wakes_who_waits_for_the_next(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	struct mq_command cmd;
	struct popped first, r;
	int32_t opaque;

	send_ok(p, "PopNext", "0", "", "a");
	send_ok(p, "PopNext", "0", "", "b");
	first = popped_of(POP(p, .topic = "PopNext", .queue = "0", .order = "true", .max = "1"));
	pop_request(&cmd, &(struct popping){ .topic = "PopNext", .queue = "0", .order = "true", .poll = FAR });
	opaque = harness_send(p, &cmd);
	while (strcmp(harness_field(harness_ask(other, MQ_POLLING_INFO, "consumerGroup", "pg", "topic", "PopNext", "queueId", "0", NULL),
				    "pollingNum"),
		      "1") != 0)
		;
	harness_assert_answer(ack(other, "PopNext", "0", "0", receipt(&first, 0, 0, 0)), MQ_SUCCESS, NULL);
	r = popped_of(harness_answer(p, opaque));
	assert_string_equal(r.offsets, "0 0 1");
	popped_done(&first);
	popped_done(&r);
	harness_close(other);
}

static void a_reset_is_where_the_next_pop_begins(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;

	for (int i = 0; i < 3; i++)
		send_ok(p, "PopReset", "0", "", "x");
	r = popped_of(POP(p, .topic = "PopReset", .queue = "0", .order = "true"));
	harness_assert_answer(harness_ask(p, MQ_INVOKE_BROKER_TO_RESET_OFFSET, "topic", "PopReset", "group", "pg", "timestamp", "-1",
					  "isForce", "true", "queueId", "0", "offset", "1", NULL),
			      MQ_SUCCESS, NULL);
	/* What is acknowledged meanwhile does not undo it. */
	harness_assert_answer(ack(p, "PopReset", "0", "0", receipt(&r, 0, 0, 0)), MQ_SUCCESS, NULL);
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopReset", .queue = "0", .order = "true"));
	assert_string_equal(r.starts, "0 0 1");
	assert_string_equal(r.offsets, "0 0 1,2");
	popped_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(in_order_the_next_comes_after_the_acknowledgement),
		TEST(an_attempt_gets_its_messages_again),
		TEST(in_order_what_is_not_acknowledged_blocks_until_its_time),
		TEST(an_acknowledgement_wakes_who_waits_for_the_next),
		TEST(a_reset_is_where_the_next_pop_begins),
	};

	return cmocka_run_group_tests_name("pop_order", tests, start_daemon, stop_daemon);
}
