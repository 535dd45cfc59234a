/* Replies to requests (SEND_REPLY_MESSAGE 324, 325) and their way to the client that asked (326).
 */
#include <event2/buffer.h>

#include "tests/wire/messages.h"

#define TOPIC "DefaultCluster_REPLY_TOPIC"
#define PROPERTIES(client)                          \
	"MSG_TYPE\1reply\2REPLY_TO_CLIENT\1" client \
	"\2UNIQ_KEY\1U1\2TTL\0015000\2CORRELATION_ID\1c-1\2"

static int start_daemon(void **state)
{
	static const char *const sets[] = { "ioThreads=2", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

/* A producer with this client id. */
static struct harness_peer *asker(struct harness_daemon *d, const char *client_id)
{
	struct harness_peer *p = harness_connect_tcp(d);
	char body[256];

	snprintf(body, sizeof body,
		 "{\"clientID\":\"%s\",\"consumerDataSet\":[],\"heartbeatFingerprint\":0,"
		 "\"producerDataSet\":[{\"groupName\":"
		 "\"askers\"}],\"withoutSub\":false}",
		 client_id);
	harness_assert_answer(ask_with_body(p, MQ_HEART_BEAT, body), MQ_SUCCESS, NULL);
	return p;
}

/* Sends the reply of golden/request-reply.txt without waiting. */
static int32_t send_reply(struct harness_peer *p, const char *properties, const char *body)
{
	struct mq_command cmd;

	send_request(&cmd, TOPIC, "0", properties, mq_slice_of(body));
	cmd.code = MQ_SEND_REPLY_MESSAGE_V2;
	return harness_send(p, &cmd);
}

static void answer_push(struct harness_peer *p, const struct harness_frame *push, int code)
{
	struct evbuffer *out = evbuffer_new();
	struct mq_command answer;

	mq_command_response(&answer, &push->cmd, code);
	assert_int_equal(mq_command_encode(&answer, NULL, out), 0);
	assert_true(harness_send_raw(p, evbuffer_pullup(out, -1), evbuffer_get_length(out)));
	evbuffer_free(out);
}

static int64_t stored(struct harness_peer *p)
{
	return atoll(harness_field(
	    harness_ask(p, MQ_GET_MAX_OFFSET, "topic", TOPIC, "queueId", "0", NULL), "offset"));
}

static void the_client_that_asked_gets_the_reply(void **state)
{
	struct harness_peer *p = *state, *a = asker(daemon_, "asker-1");
	int64_t before = stored(p);
	const struct mq_command *answer;
	struct harness_frame *push;
	struct mq_slice properties;
	struct mq_record r;
	char number[24];
	int32_t opaque;

	opaque = send_reply(p, PROPERTIES("asker-1"), "the reply");
	push = harness_receive(a, MQ_PUSH_REPLY_MESSAGE_TO_CLIENT);
	assert_int_equal(push->cmd.flag, 0);
	assert_slice(push->cmd.body, "the reply");
	assert_string_equal(harness_field(&push->cmd, "producerGroup"), "pg");
	assert_string_equal(harness_field(&push->cmd, "topic"), TOPIC);
	assert_string_equal(harness_field(&push->cmd, "defaultTopic"), "TBW102");
	assert_string_equal(harness_field(&push->cmd, "defaultTopicQueueNums"), "4");
	assert_string_equal(harness_field(&push->cmd, "queueId"), "0");
	assert_string_equal(harness_field(&push->cmd, "sysFlag"), "0");
	assert_string_equal(harness_field(&push->cmd, "bornTimestamp"), "1795472583777");
	assert_string_equal(harness_field(&push->cmd, "flag"), "0");
	assert_string_equal(harness_field(&push->cmd, "reconsumeTimes"), "0");
	assert_string_equal(harness_field(&push->cmd, "unitMode"), "false");
	assert_non_null(strstr(harness_field(&push->cmd, "bornHost"), "127.0.0.1:"));
	assert_non_null(strstr(harness_field(&push->cmd, "storeHost"), "127.0.0.1:"));
	assert_true(atoll(harness_field(&push->cmd, "storeTimestamp")) > 0);
	properties = *mq_command_field(&push->cmd, "properties");
	assert_property(properties, "CORRELATION_ID", "c-1");
	assert_property(properties, "REPLY_TO_CLIENT", "asker-1");
	assert_property(properties, "MSG_REGION", "DefaultRegion");
	assert_property(properties, "TRACE_ON", "true");
	assert_true(mq_properties_get(properties, "PUSH_REPLY_TIME").n > 0);

	answer_push(a, push, MQ_SUCCESS);
	harness_frame_free(push);
	answer = harness_answer(p, opaque);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(answer, "queueId"), "0");
	assert_int_equal(atoll(harness_field(answer, "queueOffset")), before);
	assert_string_equal(harness_field(answer, "MSG_REGION"), "DefaultRegion");
	assert_string_equal(harness_field(answer, "TRACE_ON"), "true");
	assert_int_equal(answer->n_fields, 5);

	snprintf(number, sizeof number, "%" PRIi64, before);
	assert_int_equal(records_of(pull(p, TOPIC, "0", number), &r, 1), 1);
	assert_slice(r.body, "the reply");
	assert_slice(r.properties,
		     PROPERTIES("asker-1") "MSG_REGION\1DefaultRegion\2TRACE_ON\1true\2");
	harness_close(a);
}

static void a_reply_goes_out_by_the_old_code_too(void **state)
{
	struct harness_peer *p = *state, *a = asker(daemon_, "asker-v1");
	struct harness_frame *push;
	struct mq_command cmd;
	int32_t opaque;

	harness_request(&cmd, MQ_SEND_REPLY_MESSAGE, "producerGroup", "pg", "topic", TOPIC,
			"defaultTopic", "TBW102", "defaultTopicQueueNums", "4", "queueId", "0",
			"sysFlag", "1", "bornTimestamp", "7", "flag", "3", "properties",
			PROPERTIES("asker-v1"), "reconsumeTimes", "0", "unitMode", "false", "batch",
			"false", NULL);
	cmd.body = MQ_SLICE("v1");
	opaque = harness_send(p, &cmd);
	push = harness_receive(a, MQ_PUSH_REPLY_MESSAGE_TO_CLIENT);
	assert_slice(push->cmd.body, "v1");
	assert_string_equal(harness_field(&push->cmd, "sysFlag"), "1");
	assert_string_equal(harness_field(&push->cmd, "flag"), "3");
	assert_string_equal(harness_field(&push->cmd, "bornTimestamp"), "7");
	answer_push(a, push, MQ_SUCCESS);
	harness_frame_free(push);
	harness_assert_answer(harness_answer(p, opaque), MQ_SUCCESS, NULL);
	harness_close(a);
}

/* The sender hears that the client is gone; the reply is stored all the same. */
static void a_reply_to_nobody_is_stored_and_told(void **state)
{
	struct harness_peer *p = *state;
	int64_t before = stored(p);
	const struct mq_command *answer;

	answer = harness_answer(p, send_reply(p, PROPERTIES("nobody"), "x"));
	harness_assert_answer(answer, MQ_SYSTEM_ERROR,
			      "push reply message fail, channel of <nobody> not found.");
	assert_int_equal(atoll(harness_field(answer, "queueOffset")), before);
	assert_int_equal(stored(p), before + 1);
	answer = harness_answer(p, send_reply(p, "CORRELATION_ID\1c\2", "x"));
	harness_assert_answer(answer, MQ_SYSTEM_ERROR,
			      "reply message properties[REPLY_TO_CLIENT] is null");
	assert_int_equal(stored(p), before + 2);
}

static void a_client_that_left_or_refuses_fails_the_push(void **state)
{
	struct harness_peer *p = *state, *a = asker(daemon_, "asker-2");
	struct harness_frame *push;
	int32_t opaque = send_reply(p, PROPERTIES("asker-2"), "x");

	push = harness_receive(a, MQ_PUSH_REPLY_MESSAGE_TO_CLIENT);
	answer_push(a, push, MQ_SYSTEM_ERROR);
	harness_frame_free(push);
	harness_assert_answer(harness_answer(p, opaque), MQ_SYSTEM_ERROR,
			      "push reply message to asker-2fail.");

	opaque = send_reply(p, PROPERTIES("asker-2"), "x");
	harness_frame_free(harness_receive(a, MQ_PUSH_REPLY_MESSAGE_TO_CLIENT));
	harness_close(a); /* without an answer */
	harness_assert_answer(harness_answer(p, opaque), MQ_SYSTEM_ERROR,
			      "push reply message to asker-2fail.");
}

/* Who only consumes has asked nothing. */
static void a_consumer_is_no_asker(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	harness_request(&cmd, MQ_HEART_BEAT, NULL);
	cmd.body = MQ_SLICE("{\"clientID\":\"consumer-1\",\"consumerDataSet\":[{"
			    "\"consumeFromWhere\":\"CONSUME_FROM_FIRST_OFFSET\","
			    "\"consumeType\":\"CONSUME_PASSIVELY\",\"groupName\":\"replies\","
			    "\"messageModel\":\"CLUSTERING\","
			    "\"subscriptionDataSet\":[],\"unitMode\":false}],"
			    "\"heartbeatFingerprint\":0,\"producerDataSet\":[],"
			    "\"withoutSub\":false}");
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	harness_assert_answer(harness_answer(p, send_reply(p, PROPERTIES("consumer-1"), "x")),
			      MQ_SYSTEM_ERROR,
			      "push reply message fail, channel of <consumer-1> not found.");
}

/* A client that connects anew is found on its new connection, and on none once that is closed. */
static void the_last_heartbeat_of_an_id_counts(void **state)
{
	struct harness_peer *p = *state, *old = asker(daemon_, "asker-3"),
			    *a = asker(daemon_, "asker-3");
	struct harness_frame *push;
	int32_t opaque = send_reply(p, PROPERTIES("asker-3"), "x");

	push = harness_receive(a, MQ_PUSH_REPLY_MESSAGE_TO_CLIENT);
	answer_push(a, push, MQ_SUCCESS);
	harness_frame_free(push);
	harness_assert_answer(harness_answer(p, opaque), MQ_SUCCESS, NULL);
	harness_close(old);
	harness_close(a);
}

static void what_a_send_may_not_do_a_reply_may_not(void **state)
{
	struct harness_peer *p = *state, *a = asker(daemon_, "asker-4");
	struct mq_command cmd;

	send_request(&cmd, TOPIC, "9", PROPERTIES("asker-4"), MQ_SLICE("x"));
	cmd.code = MQ_SEND_REPLY_MESSAGE_V2;
	assert_int_equal(harness_call(p, &cmd)->code, MQ_INVALID_PARAMETER);
	send_request(&cmd, "SCHEDULE_TOPIC_XXXX", "0", PROPERTIES("asker-4"), MQ_SLICE("x"));
	cmd.code = MQ_SEND_REPLY_MESSAGE_V2;
	assert_int_equal(harness_call(p, &cmd)->code, MQ_NO_PERMISSION);
	harness_ask(a, MQ_GET_MAX_OFFSET, "topic", TOPIC, "queueId", "0", NULL);
	assert_true(STAILQ_EMPTY(&a->kept)); /* nothing was pushed */
	harness_close(a);
}

static void replies_need_not_be_stored(void **state)
{
	static const char *const sets[] = { "storeReplyMessageEnable=false", NULL };
	struct harness_daemon *own = harness_start(HARNESS_BROKER, sets);
	struct harness_peer *p = harness_connect(own), *a = asker(own, "asker");
	struct harness_frame *push;
	const struct mq_command *answer;
	int32_t opaque = send_reply(p, PROPERTIES("asker"), "x");

	push = harness_receive(a, MQ_PUSH_REPLY_MESSAGE_TO_CLIENT);
	answer_push(a, push, MQ_SUCCESS);
	harness_frame_free(push);
	answer = harness_answer(p, opaque);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(answer, "msgId"), "0");
	assert_string_equal(harness_field(answer, "queueOffset"), "0");
	assert_int_equal(stored(p), 0);
	answer = harness_answer(p, send_reply(p, PROPERTIES("nobody"), "x"));
	harness_assert_answer(answer, MQ_SYSTEM_ERROR,
			      "push reply message fail, channel of <nobody> not found.");
	assert_string_equal(harness_field(answer, "msgId"), "");
	harness_close(a);
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

/* A push under way does not hold up the end: the asker's connection goes, and the sender is told.
 */
static void a_stop_ends_what_waits_for_the_asker(void **state)
{
	static const char *const sets[] = { "ioThreads=2", NULL };
	struct harness_daemon *own = harness_start(HARNESS_BROKER, sets);
	struct harness_peer *p = harness_connect(own), *a = asker(own, "asker");

	send_reply(p, PROPERTIES("asker"), "x");
	harness_frame_free(harness_receive(a, MQ_PUSH_REPLY_MESSAGE_TO_CLIENT));
	harness_stop(own);
	harness_close(a);
	harness_close(p);
	harness_free(own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_client_that_asked_gets_the_reply),
		TEST(a_reply_goes_out_by_the_old_code_too),
		TEST(a_reply_to_nobody_is_stored_and_told),
		TEST(a_client_that_left_or_refuses_fails_the_push),
		TEST(a_consumer_is_no_asker),
		TEST(the_last_heartbeat_of_an_id_counts),
		TEST(what_a_send_may_not_do_a_reply_may_not),
		cmocka_unit_test(replies_need_not_be_stored),
		cmocka_unit_test(a_stop_ends_what_waits_for_the_asker),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
