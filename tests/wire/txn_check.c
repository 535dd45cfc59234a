/* CHECK_TRANSACTION_STATE (39): the broker asks producers for the end of their transactions. */
#include "tests/wire/messages.h"

#define FAST "transactionCheckInterval=20ms", "transactionTimeOut=1ms"

static int start_daemon(void **state)
{
	static const char *const sets[] = { FAST, "transactionCheckMax=1000000", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

static void be_producer(struct harness_peer *p, const char *group)
{
	struct mq_command cmd;
	char body[256];

	harness_request(&cmd, MQ_HEART_BEAT, NULL);
	snprintf(body, sizeof body,
		 "{\"clientID\":\"c-%s-%d\",\"consumerDataSet\":[],\"heartbeatFingerprint\":0,\"producerDataSet\":[{\"groupName\":\"%s\"}],"
		 "\"withoutSub\":false}",
		 group, p->fd, group);
	cmd.body = mq_slice_of(body);
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
}

/* Sends a half message of the group, born now, and returns its place. */
struct half {
	char locator[24], offset[24];
};

static struct half prepare(struct harness_peer *p, const char *topic, const char *group, const char *more)
{
	const struct mq_command *answer;
	char properties[256], born[24];
	struct half half;
	struct mq_command cmd;

	snprintf(properties, sizeof properties, "TRAN_MSG\1true\2UNIQ_KEY\1U1\2PGROUP\1%s\2%s", group, more);
	snprintf(born, sizeof born, "%" PRIi64, mq_wall_ms(&mq_clock_system));
	send_request(&cmd, topic, "1", properties, MQ_SLICE("left open"));
	set_field(&cmd, "f", "4");
	set_field(&cmd, "g", born);
	answer = harness_call(p, &cmd);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	snprintf(half.locator, sizeof half.locator, "%s", sent_locator(answer));
	snprintf(half.offset, sizeof half.offset, "%s", harness_field(answer, "queueOffset"));
	return half;
}

/* Waits for a question about this half message; returns the number of checks that it names. */
static int await_check(struct harness_peer *p, const struct half *half, const char *topic)
{
	for (;;) {
		struct harness_frame *f = harness_receive(p, MQ_CHECK_TRANSACTION_STATE);
		bool is_mine = strcmp(harness_field(&f->cmd, "commitLogOffset"), half->locator) == 0;
		struct mq_record r;
		int n_checks;

		assert_int_equal(f->cmd.flag, MQ_FLAG_ONEWAY);
		assert_int_equal(records_of(&f->cmd, &r, 1), 1);
		n_checks = atoi(mq_properties_get(r.properties, "TRANSACTION_CHECK_TIMES").p);
		if (is_mine) {
			assert_string_equal(harness_field(&f->cmd, "tranStateTableOffset"), half->offset);
			assert_string_equal(harness_field(&f->cmd, "topic"), "RMQ_SYS_TRANS_HALF_TOPIC");
			assert_string_equal(harness_field(&f->cmd, "msgId"), "U1");
			assert_string_equal(harness_field(&f->cmd, "transactionId"), "U1");
			assert_slice(r.topic, topic);
			assert_slice(r.body, "left open");
			assert_int_equal(r.queue_id, 1);
			assert_int_equal(r.physical_offset, atoll(half->locator));
			assert_property(r.properties, "REAL_TOPIC", topic);
		}
		harness_frame_free(f);
		if (is_mine)
			return n_checks;
	}
}

static const struct mq_command *end(struct harness_peer *p, const struct half *half, const char *group, const char *outcome,
				    const char *is_from_check)
{
	return harness_ask(p, MQ_END_TRANSACTION, "producerGroup", group, "tranStateTableOffset", half->offset, "commitLogOffset",
			   half->locator, "commitOrRollback", outcome, "fromTransactionCheck", is_from_check, "msgId", "U1", NULL);
}

static void the_producer_is_asked_until_it_says_how_it_ended(void **state)
{
	struct harness_peer *p = *state;
	struct mq_record r[2];
	struct half half;
	int n_checks;

	be_producer(p, "asked");
	half = prepare(p, "TxAsked", "asked", "");
	assert_int_equal(await_check(p, &half, "TxAsked"), 1);
	n_checks = await_check(p, &half, "TxAsked");
	assert_int_equal(n_checks, 2);
	assert_int_equal(pull(p, "TxAsked", "1", "0")->code, MQ_PULL_NOT_FOUND);
	harness_assert_answer(end(p, &half, "asked", "8", "true"), MQ_SUCCESS, NULL);
	assert_int_equal(records_of(pull(p, "TxAsked", "1", "0"), r, 2), 1);
	assert_slice(r[0].body, "left open");
	assert_int_equal(r[0].prepared_offset, atoll(half.locator));
	assert_true(atoi(mq_properties_get(r[0].properties, "TRANSACTION_CHECK_TIMES").p) >= n_checks);
	harness_assert_answer(end(p, &half, "asked", "8", "true"), MQ_SYSTEM_ERROR, "Find prepared transaction message failed");
}

/* An end that was on its way while the check was sent: the same transaction, once. */
static void an_end_that_crosses_a_check_counts(void **state)
{
	struct harness_peer *p = *state;
	struct mq_record r[2];
	struct half half;

	be_producer(p, "crossing");
	half = prepare(p, "TxCross", "crossing", "");
	await_check(p, &half, "TxCross");
	harness_assert_answer(end(p, &half, "crossing", "8", "false"), MQ_SUCCESS, NULL);
	harness_assert_answer(end(p, &half, "crossing", "8", "true"), MQ_SYSTEM_ERROR, "Find prepared transaction message failed");
	assert_int_equal(records_of(pull(p, "TxCross", "1", "0"), r, 2), 1);
}

static void any_producer_of_the_group_may_be_asked(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	struct half half;

	be_producer(other, "heirs");
	half = prepare(other, "TxHeirs", "heirs", "");
	harness_close(other);
	be_producer(p, "heirs");
	await_check(p, &half, "TxHeirs");
	harness_assert_answer(end(p, &half, "heirs", "12", "true"), MQ_SUCCESS, NULL);
	assert_int_equal(pull(p, "TxHeirs", "1", "0")->code, MQ_PULL_NOT_FOUND);
}

static void immunity_keeps_a_transaction_from_checks_and_not_those_behind_it(void **state)
{
	struct harness_peer *p = *state;
	struct half immune, half;
	struct harness_frame *f;

	be_producer(p, "immune");
	immune = prepare(p, "TxImmune", "immune", "CHECK_IMMUNITY_TIME_IN_SECONDS\0013600\2");
	half = prepare(p, "TxImmune", "immune", "");
	for (int i = 0; i < 3; i++) {
		f = harness_receive(p, MQ_CHECK_TRANSACTION_STATE);
		assert_string_equal(harness_field(&f->cmd, "commitLogOffset"), half.locator);
		harness_frame_free(f);
	}
	harness_assert_answer(end(p, &immune, "immune", "12", "false"), MQ_SUCCESS, NULL);
	harness_assert_answer(end(p, &half, "immune", "12", "true"), MQ_SUCCESS, NULL);
}

static void who_does_not_answer_loses_the_message_to_a_topic_of_its_own(void **state)
{
	static const char *const sets[] = { FAST, "transactionCheckMax=3", NULL };
	struct harness_daemon *own = harness_start(HARNESS_BROKER, sets);
	struct harness_peer *p = harness_connect(own);
	struct mq_record r[2];
	struct half half = prepare(p, "TxNever", "nobody", "TAGS\1t\2"); /* counted although nobody is there to be asked */
	int64_t deadline = milliseconds() + HARNESS_DEADLINE_MS;

	while (pull(p, "TRANS_CHECK_MAX_TIME_TOPIC", "0", "0")->code != MQ_SUCCESS) {
		assert_true(milliseconds() < deadline);
		usleep(5000);
	}
	assert_int_equal(records_of(&p->answer->cmd, r, 2), 1);
	assert_slice(r[0].body, "left open");
	assert_property(r[0].properties, "TRANSACTION_CHECK_TIMES", "3");
	assert_property(r[0].properties, "REAL_TOPIC", "TxNever");
	assert_property(r[0].properties, "TAGS", "t");
	harness_assert_answer(end(p, &half, "nobody", "8", "true"), MQ_SYSTEM_ERROR, "Find prepared transaction message failed");
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

static void checks_are_counted_over_a_kill(void **state)
{
	static const char *const sets[] = { FAST, "transactionCheckMax=1000000", NULL };
	struct harness_daemon *own = harness_start(HARNESS_BROKER, sets);
	struct harness_peer *p = harness_connect(own);
	struct half half;
	int n_checks;

	be_producer(p, "kept");
	half = prepare(p, "TxKept", "kept", "");
	do
		n_checks = await_check(p, &half, "TxKept");
	while (n_checks < 3);
	harness_kill(own);
	harness_close(p);
	harness_restart(own);
	p = harness_connect(own);
	be_producer(p, "kept");
	assert_true(await_check(p, &half, "TxKept") > n_checks);
	harness_assert_answer(end(p, &half, "kept", "8", "true"), MQ_SUCCESS, NULL);
	assert_int_equal(pull(p, "TxKept", "1", "0")->code, MQ_SUCCESS);
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_producer_is_asked_until_it_says_how_it_ended),
		TEST(an_end_that_crosses_a_check_counts),
		TEST(any_producer_of_the_group_may_be_asked),
		TEST(immunity_keeps_a_transaction_from_checks_and_not_those_behind_it),
		cmocka_unit_test(who_does_not_answer_loses_the_message_to_a_topic_of_its_own),
		cmocka_unit_test(checks_are_counted_over_a_kill),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
