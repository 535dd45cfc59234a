/* Prepared messages (TRAN_MSG) and END_TRANSACTION (37). */
#include "tests/wire/messages.h"

enum { COMMIT = 8 }; /* transaction bits of the sysFlag */

static int start_daemon(void **state)
{
	daemon_ = harness_start(HARNESS_BROKER, NULL);
	return 0;
}

/* A prepared message, as the producer's answer describes it. */
struct half {
	char locator[24], offset[24];
};

static struct half prepare(struct harness_peer *p, const char *topic, const char *queue, const char *properties, const char *body)
{
	const struct mq_command *answer;
	struct half half;
	struct mq_command cmd;

	send_request(&cmd, topic, queue, properties, mq_slice_of(body));
	set_field(&cmd, "f", "4");
	answer = harness_call(p, &cmd);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(answer, "queueId"), queue);
	assert_string_equal(harness_field(answer, "transactionId"), "U1");
	snprintf(half.locator, sizeof half.locator, "%s", sent_locator(answer));
	snprintf(half.offset, sizeof half.offset, "%s", harness_field(answer, "queueOffset"));
	return half;
}

static void end_request(struct mq_command *cmd, struct half *half, const char *group, const char *outcome)
{
	harness_request(cmd, MQ_END_TRANSACTION, "producerGroup", group, "tranStateTableOffset", half->offset, "commitLogOffset",
			half->locator, "commitOrRollback", outcome, "fromTransactionCheck", "false", "msgId", "U1", "transactionId", "U1",
			NULL);
}

static const struct mq_command *end(struct harness_peer *p, struct half *half, const char *group, const char *outcome)
{
	struct mq_command cmd;

	end_request(&cmd, half, group, outcome);
	return harness_call(p, &cmd);
}

static const char properties[] = "KEYS\1tx1\2TRAN_MSG\1true\2UNIQ_KEY\1U1\2PGROUP\1pg\2TAGS\1TagA\2";

static void a_commit_delivers_the_message_as_it_was_prepared(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_record r;
	struct half half;

	send_ok(p, "Tx", "2", "", "before");
	half = prepare(p, "Tx", "2", properties, "committed");
	assert_pull(pull(p, "Tx", "2", "1"), MQ_PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", "1", "0", "1");
	answer = end(p, &half, "pg", "8");
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_int_equal(answer->n_fields, 0);

	assert_pull(pull(p, "Tx", "2", "1"), MQ_SUCCESS, "FOUND", "2", "0", "2");
	assert_int_equal(records_of(&p->answer->cmd, &r, 1), 1);
	assert_slice(r.body, "committed");
	assert_slice(r.topic, "Tx");
	assert_int_equal(r.queue_id, 2);
	assert_int_equal(r.queue_offset, 1);
	assert_int_equal(r.sys_flag, COMMIT);
	assert_int_equal(r.prepared_offset, atoll(half.locator));
	assert_int_equal(r.born_at_ms, 1795472583777);
	assert_property(r.properties, "TRAN_MSG", "true");
	assert_property(r.properties, "PGROUP", "pg");
	assert_property(r.properties, "UNIQ_KEY", "U1");
	assert_property(r.properties, "__transactionId__", "U1");
	assert_null(mq_properties_get(r.properties, "REAL_TOPIC").p);
	assert_null(mq_properties_get(r.properties, "REAL_QID").p);
}

static void a_committed_message_has_its_tag_and_keys(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	struct mq_record r;
	struct half half = prepare(p, "TxTag", "0", properties, "x");

	harness_assert_answer(end(p, &half, "pg", "8"), MQ_SUCCESS, NULL);
	pull_request(&cmd, "TxTag", "0", "0", "4", "TagA");
	assert_int_equal(records_of(harness_call(p, &cmd), &r, 1), 1);
	assert_int_equal(records_of(harness_ask(p, MQ_QUERY_MESSAGE, "topic", "TxTag", "key", "tx1", "maxNum", "32", "beginTimestamp", "0",
						"endTimestamp", FOREVER, NULL),
				    &r, 1),
			 1);
}

/* As upstream: the queue is there for whoever makes the topic again. */
static void a_prepared_message_outlives_its_topic(void **state)
{
	struct harness_peer *p = *state;
	struct half half;
	struct mq_record r;

	send_ok(p, "TxGone", "0", "", "old");
	half = prepare(p, "TxGone", "0", properties, "prepared");
	harness_assert_answer(harness_ask(p, MQ_DELETE_TOPIC_IN_BROKER, "topic", "TxGone", NULL), MQ_SUCCESS, NULL);
	harness_assert_answer(end(p, &half, "pg", "8"), MQ_SUCCESS, NULL);
	send_ok(p, "TxGone", "1", "", "makes it again");
	assert_int_equal(records_of(pull(p, "TxGone", "0", "0"), &r, 1), 1);
	assert_slice(r.body, "prepared");
}

static void a_commit_wakes_who_waits(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	struct half half = prepare(p, "TxWait", "0", properties, "x");
	struct mq_command cmd;
	int32_t opaque;

	pull_request(&cmd, "TxWait", "0", "0", "6", "*");
	set_field(&cmd, "suspendTimeoutMillis", "60000");
	opaque = harness_send(other, &cmd);
	harness_ask(other, MQ_GET_MAX_OFFSET, "topic", "TxWait", "queueId", "0", NULL);
	harness_assert_answer(end(p, &half, "pg", "8"), MQ_SUCCESS, NULL);
	assert_int_equal(harness_answer(other, opaque)->code, MQ_SUCCESS);
	harness_close(other);
}

static void a_rollback_delivers_nothing(void **state)
{
	struct harness_peer *p = *state;
	struct half half;

	send_ok(p, "TxBack", "0", "", "before");
	half = prepare(p, "TxBack", "0", properties, "rolled back");
	harness_assert_answer(end(p, &half, "pg", "12"), MQ_SUCCESS, NULL);
	assert_pull(pull(p, "TxBack", "0", "1"), MQ_PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", "1", "0", "1");
	harness_assert_answer(end(p, &half, "pg", "8"), MQ_SYSTEM_ERROR, "Find prepared transaction message failed");
	assert_pull(pull(p, "TxBack", "0", "1"), MQ_PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", "1", "0", "1");
}

static void a_transaction_ends_once(void **state)
{
	enum { N = 20 };
	struct harness_peer *p = *state;
	struct half half = prepare(p, "TxOnce", "0", properties, "x");
	int32_t opaques[N];
	struct mq_command cmd;
	unsigned n_ended = 0;

	for (int i = 0; i < N; i++) { /* in one turn */
		end_request(&cmd, &half, "pg", "8");
		opaques[i] = harness_send(p, &cmd);
	}
	for (int i = 0; i < N; i++)
		n_ended += harness_answer(p, opaques[i])->code == MQ_SUCCESS;
	assert_int_equal(n_ended, 1);
	assert_string_equal(harness_field(harness_ask(p, MQ_GET_MAX_OFFSET, "topic", "TxOnce", "queueId", "0", NULL), "offset"), "1");
}

static void one_way_ends_are_done_and_not_answered(void **state)
{
	struct harness_peer *p = *state;
	struct half half = prepare(p, "TxOneWay", "0", properties, "x");
	struct mq_command cmd;
	struct mq_record r[2];

	end_request(&cmd, &half, "pg", "8");
	cmd.flag = MQ_FLAG_ONEWAY;
	harness_send(p, &cmd);
	end_request(&cmd, &half, "pg", "0"); /* unknown is never answered, one-way or not */
	harness_send(p, &cmd);
	send_ok(p, "TxOneWay", "0", "", "after");
	assert_true(STAILQ_EMPTY(&p->kept));
	assert_int_equal(records_of(pull(p, "TxOneWay", "0", "0"), r, 2), 2);
}

static void wrong_ends_are_refused_and_leave_it_pending(void **state)
{
	struct harness_peer *p = *state;
	struct half half = prepare(p, "TxWrong", "0", properties, "x"), wrong = half;

	harness_assert_answer(end(p, &half, "other", "8"), MQ_SYSTEM_ERROR, "The producer group wrong");
	snprintf(wrong.offset, sizeof wrong.offset, "12345");
	harness_assert_answer(end(p, &wrong, "pg", "8"), MQ_SYSTEM_ERROR, "The transaction state table offset wrong");
	wrong = half;
	snprintf(wrong.locator, sizeof wrong.locator, "1234567890123");
	harness_assert_answer(end(p, &wrong, "pg", "8"), MQ_SYSTEM_ERROR, "Find prepared transaction message failed");
	harness_assert_answer(end(p, &half, "pg", "8"), MQ_SUCCESS, NULL);
}

static void an_ordinary_message_cannot_be_ended(void **state)
{
	struct harness_peer *p = *state;
	struct half half = { .offset = "0" };

	snprintf(half.locator, sizeof half.locator, "%s", sent_locator(send_message(p, "TxPlain", "1", "PGROUP\1pg\2UNIQ_KEY\1U1\2", "x")));
	harness_assert_answer(end(p, &half, "pg", "8"), MQ_SYSTEM_ERROR, "Find prepared transaction message failed");
	harness_assert_answer(end(p, &half, "pg", "12"), MQ_SYSTEM_ERROR, "Find prepared transaction message failed");
}

/* For the sanitizers: the time of birth is the producer's word. */
static void a_producer_may_be_as_old_as_numbers_go(void **state)
{
	struct harness_peer *p = *state;
	struct half half = {};
	const struct mq_command *answer;
	struct mq_command cmd;

	send_request(&cmd, "TxOld", "0", "TRAN_MSG\1true\2UNIQ_KEY\1U1\2PGROUP\1pg\2CHECK_IMMUNITY_TIME_IN_SECONDS\0016\2", MQ_SLICE("x"));
	set_field(&cmd, "f", "4");
	set_field(&cmd, "g", "-9223372036854775808");
	answer = harness_call(p, &cmd);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	snprintf(half.locator, sizeof half.locator, "%s", sent_locator(answer));
	snprintf(half.offset, sizeof half.offset, "%s", harness_field(answer, "queueOffset"));
	harness_assert_answer(end(p, &half, "pg", "8"), MQ_SUCCESS, NULL);
}

static void prepared_messages_survive_a_kill(void **state)
{
	struct harness_daemon *own = harness_start(HARNESS_BROKER, NULL);
	struct harness_peer *p = harness_connect(own);
	struct half half = prepare(p, "TxKept", "0", properties, "x");

	harness_kill(own);
	harness_close(p);
	harness_restart(own);
	p = harness_connect(own);
	harness_assert_answer(end(p, &half, "pg", "8"), MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(harness_ask(p, MQ_GET_MAX_OFFSET, "topic", "TxKept", "queueId", "0", NULL), "offset"), "1");
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

static void a_broker_may_refuse_transactions(void **state)
{
	static const char *const sets[] = { "rejectTransactionMessage=true", NULL };
	struct harness_daemon *own = harness_start(HARNESS_BROKER, sets);
	struct harness_peer *p = harness_connect(own);

	harness_assert_answer(send_message(p, "TxNo", "0", properties, "x"), MQ_NO_PERMISSION,
			      "the broker[127.0.0.1] sending transaction message is forbidden");
	send_ok(p, "TxNo", "0", "", "x");
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_commit_delivers_the_message_as_it_was_prepared),
		TEST(a_committed_message_has_its_tag_and_keys),
		TEST(a_prepared_message_outlives_its_topic),
		TEST(a_commit_wakes_who_waits),
		TEST(a_rollback_delivers_nothing),
		TEST(a_transaction_ends_once),
		TEST(one_way_ends_are_done_and_not_answered),
		TEST(wrong_ends_are_refused_and_leave_it_pending),
		TEST(an_ordinary_message_cannot_be_ended),
		TEST(a_producer_may_be_as_old_as_numbers_go),
		cmocka_unit_test(prepared_messages_survive_a_kill),
		cmocka_unit_test(a_broker_may_refuse_transactions),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
