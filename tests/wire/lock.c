/* Queue locks of orderly consumers (41, 42). */
#include "tests/wire/messages.h"

static int start_daemon(void **state)
{
	static const char *const sets[] = { "fastListenPort=-1", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

#define QUEUE(id) "{\"brokerName\":\"broker-a\",\"queueId\":" #id ",\"topic\":\"Golden\"}"
#define BODY(client, queues)                                                                   \
	"{\"clientId\":\"" client "\",\"consumerGroup\":\"golden_orderly\",\"mqSet\":[" queues \
	"],\"onlyThisBroker\":false}"

static void a_queue_has_one_owner_until_it_is_given_back(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;

	answer = ask_with_body(p, MQ_LOCK_BATCH_MQ, BODY("o1", QUEUE(2) "," QUEUE(3)));
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_false(answer->has_fields);
	assert_string_equal(harness_body(answer), "{\"lockOKMQSet\":[" QUEUE(2) "," QUEUE(3) "]}");
	assert_string_equal(harness_body(ask_with_body(p, MQ_LOCK_BATCH_MQ, BODY("o2", QUEUE(1) "," QUEUE(2)))),
			    "{\"lockOKMQSet\":[" QUEUE(1) "]}");

	answer = ask_with_body(p, MQ_UNLOCK_BATCH_MQ, BODY("o2", QUEUE(2)));
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_int_equal(answer->body.n, 0);
	assert_string_equal(harness_body(ask_with_body(p, MQ_LOCK_BATCH_MQ, BODY("o2", QUEUE(2)))), "{\"lockOKMQSet\":[]}");
	harness_assert_answer(ask_with_body(p, MQ_UNLOCK_BATCH_MQ, BODY("o1", QUEUE(2))), MQ_SUCCESS, NULL);
	assert_string_equal(harness_body(ask_with_body(p, MQ_LOCK_BATCH_MQ, BODY("o2", QUEUE(2)))),
			    "{\"lockOKMQSet\":[" QUEUE(2) "]}");
}

static void a_one_way_unlock_is_not_answered(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	harness_assert_answer(ask_with_body(p, MQ_LOCK_BATCH_MQ, BODY("o1", QUEUE(7))), MQ_SUCCESS, NULL);
	harness_request(&cmd, MQ_UNLOCK_BATCH_MQ, NULL);
	cmd.flag = MQ_FLAG_ONEWAY;
	cmd.body = mq_slice_of(BODY("o1", QUEUE(7)));
	harness_send(p, &cmd);
	assert_string_equal(harness_body(ask_with_body(p, MQ_LOCK_BATCH_MQ, BODY("o2", QUEUE(7)))),
			    "{\"lockOKMQSet\":[" QUEUE(7) "]}");
	assert_true(STAILQ_EMPTY(&p->kept));
}

static void nonsense_is_refused(void **state)
{
	struct harness_peer *p = *state;

	harness_assert_answer(ask_with_body(p, MQ_LOCK_BATCH_MQ, NULL), MQ_SYSTEM_ERROR, "the request has no body");
	harness_assert_answer(ask_with_body(p, MQ_UNLOCK_BATCH_MQ, "{\"clientId\":\"c\"}"), MQ_SYSTEM_ERROR,
			      "the body names no consumerGroup");
	harness_assert_answer(ask_with_body(p, MQ_LOCK_BATCH_MQ, "{\"consumerGroup\":\"g\"}"), MQ_SYSTEM_ERROR,
			      "the body names no clientId");
	assert_int_equal(ask_with_body(p, MQ_LOCK_BATCH_MQ, "{")->code, MQ_SYSTEM_ERROR);
	assert_string_equal(harness_body(ask_with_body(p, MQ_LOCK_BATCH_MQ, BODY("o1", "7,{}," QUEUE(-1)))),
			    "{\"lockOKMQSet\":[]}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_queue_has_one_owner_until_it_is_given_back),
		TEST(a_one_way_unlock_is_not_answered),
		TEST(nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
