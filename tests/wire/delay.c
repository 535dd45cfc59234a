/* Messages for later: levels (DELAY) and timers (TIMER_*). */
#include "tests/wire/messages.h"

static int start_daemon(void **state)
{
	static const char *const sets[] = { "messageDelayLevel=1s 1h", "timerMaxDelaySec=100", "recallMessageEnable=true",
					   "brokerName=broker-a", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

static int64_t wall_ms(void)
{
	return mq_wall_ms(&mq_clock_system);
}

/* The first record of an answer, which may have more. */
static struct mq_record first_of(const struct mq_command *answer)
{
	struct mq_record r;

	assert_int_equal(answer->code, MQ_SUCCESS);
	assert_true(mq_record_decode(answer->body, &r) > 0);
	return r;
}

/* Waits until a message comes at this offset. */
static struct mq_record await(struct harness_peer *p, const char *topic, const char *queue, const char *offset)
{
	struct mq_command cmd;

	pull_request(&cmd, topic, queue, offset, "6", "*");
	return first_of(harness_call(p, &cmd));
}

static void a_level_delivers_after_its_delay(void **state)
{
	struct harness_peer *p = *state;
	int64_t sent_at_ms = wall_ms();
	const struct mq_command *answer = send_message(p, "Level", "2", "DELAY\0011\2TAGS\1t\2KEYS\1k\2UNIQ_KEY\1U\2", "later");
	struct mq_record r;

	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(answer, "queueId"), "2");
	assert_string_equal(harness_field(answer, "recallHandle"), "");
	r = await(p, "Level", "2", "0");
	assert_true(r.store_at_ms >= sent_at_ms + 1000);
	assert_slice(r.topic, "Level");
	assert_slice(r.body, "later");
	assert_int_equal(r.queue_id, 2);
	assert_int_equal(r.queue_offset, 0);
	assert_int_equal(r.born_at_ms, 1795472583777);
	/* As upstream: consumers see where it waited. */
	assert_property(r.properties, "DELAY", "1");
	assert_property(r.properties, "REAL_TOPIC", "Level");
	assert_property(r.properties, "REAL_QID", "2");
	assert_property(r.properties, "UNIQ_KEY", "U");
	assert_property(r.properties, "MSG_REGION", "DefaultRegion");
}

static void a_delivered_message_is_found_by_tag_and_key(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	struct mq_record r;

	send_ok(p, "Found", "0", "TIMER_DELAY_MS\00150\2TAGS\1TagA\2KEYS\1k1\2", "x");
	await(p, "Found", "0", "0");
	pull_request(&cmd, "Found", "0", "0", "4", "TagA");
	assert_int_equal(records_of(harness_call(p, &cmd), &r, 1), 1);
	assert_int_equal(records_of(harness_ask(p, MQ_QUERY_MESSAGE, "topic", "Found", "key", "k1", "maxNum", "32", "beginTimestamp", "0",
						"endTimestamp", FOREVER, NULL),
				    &r, 1),
			 1);
}

static void until_then_it_waits_where_tools_look(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer = send_message(p, "Waits", "1", "DELAY\00199\2", "x");
	struct mq_record r;

	/* beyond the last level is the last */
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(answer, "queueOffset"), "0");
	assert_int_equal(records_of(pull(p, "SCHEDULE_TOPIC_XXXX", "1", "0"), &r, 1), 1);
	assert_slice(r.topic, "SCHEDULE_TOPIC_XXXX");
	assert_property(r.properties, "DELAY", "2");
	assert_property(r.properties, "REAL_TOPIC", "Waits");
	assert_property(r.properties, "REAL_QID", "1");
	assert_pull(pull(p, "Waits", "1", "0"), MQ_PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE", "0", "0", "0");
	answer = send_message(p, "Waits", "1", "DELAY\00199\2", "x");
	assert_string_equal(harness_field(answer, "queueOffset"), "1");
}

static void a_timer_delivers_at_its_time(void **state)
{
	struct harness_peer *p = *state;
	int64_t at_ms = wall_ms() + 300;
	char properties[100], out[24];
	struct mq_record r;

	snprintf(properties, sizeof properties, "TIMER_DELIVER_MS\1%" PRIi64 "\2", at_ms);
	snprintf(out, sizeof out, "%" PRIi64, (at_ms - 1) / 1000 * 1000);
	send_ok(p, "Timer", "3", properties, "x");
	r = await(p, "Timer", "3", "0");
	assert_true(r.store_at_ms >= at_ms);
	assert_property(r.properties, "TIMER_OUT_MS", out);
	assert_property(r.properties, "REAL_TOPIC", "Timer");
	assert_property(r.properties, "REAL_QID", "3");
	assert_non_null(mq_properties_get(r.properties, "TIMER_DELIVER_MS").p);
	assert_non_null(mq_properties_get(r.properties, "TIMER_ENQUEUE_MS").p);
	assert_non_null(mq_properties_get(r.properties, "TIMER_DEQUEUE_MS").p);
	assert_slice(first_of(pull(p, "rmq_sys_wheel_timer", "0", "0")).topic, "rmq_sys_wheel_timer");
}

static void the_shortest_delay_comes_first(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmds[3];

	/* At the same time, or the order would be that of sending on a machine that stands still for a second. */
	send_request(&cmds[0], "Mixed", "0", "TIMER_DELAY_MS\0012000\2", MQ_SLICE("third"));
	send_request(&cmds[1], "Mixed", "0", "TIMER_DELAY_MS\0011000\2", MQ_SLICE("second"));
	send_request(&cmds[2], "Mixed", "0", "TIMER_DELAY_SEC\0010\2", MQ_SLICE("first"));
	harness_send_all(p, cmds, N_ELEMENTS(cmds));
	for (size_t i = 0; i < N_ELEMENTS(cmds); i++)
		harness_assert_answer(harness_answer(p, cmds[i].opaque), MQ_SUCCESS, NULL);
	assert_slice(await(p, "Mixed", "0", "0").body, "first");
	assert_slice(await(p, "Mixed", "0", "1").body, "second");
	assert_slice(await(p, "Mixed", "0", "2").body, "third");
}

static void a_level_goes_before_a_timer(void **state)
{
	struct harness_peer *p = *state;
	struct mq_record r;

	send_ok(p, "Both", "0", "DELAY\0011\2TIMER_DELAY_MS\00190000\2", "x");
	r = await(p, "Both", "0", "0");
	assert_property(r.properties, "DELAY", "1");
	assert_property(r.properties, "TIMER_DELAY_MS", NULL);
}

static void what_is_due_already_is_delivered_at_once(void **state)
{
	struct harness_peer *p = *state;
	struct mq_record r;

	send_ok(p, "Now", "0", "DELAY\0010\2", "a");
	send_ok(p, "Now", "0", "DELAY\001-1\2", "b");
	send_ok(p, "Now", "0", "TIMER_DELIVER_MS\0011000\2", "c");
	send_ok(p, "Now", "0", "TIMER_DELAY_MS\001-5\2", "d");
	assert_pull(pull(p, "Now", "0", "3"), MQ_SUCCESS, "FOUND", "4", "0", "4");
	assert_int_equal(records_of(&p->answer->cmd, &r, 1), 1);
	assert_property(r.properties, "TIMER_DELAY_MS", "-5");
	assert_property(r.properties, "TIMER_OUT_MS", NULL);
	assert_property(r.properties, "REAL_TOPIC", NULL);
}

static void wrong_delays_are_refused(void **state)
{
	static const char remark[] = "timer message illegal, the delay time should not be bigger than the max delay 100000ms; or if set "
				     "del msg, the delay time should be bigger than the current time";
	struct harness_peer *p = *state;

	harness_assert_answer(send_message(p, "Wrong", "0", "TIMER_DELAY_SEC\001101\2", "x"), MQ_MESSAGE_ILLEGAL, remark);
	harness_assert_answer(send_message(p, "Wrong", "0", "TIMER_DELAY_SEC\1x\2", "x"), MQ_MESSAGE_ILLEGAL, remark);
	harness_assert_answer(send_message(p, "Wrong", "0", "TIMER_DELAY_SEC\0019223372036854775807\2", "x"), MQ_MESSAGE_ILLEGAL, remark);
	harness_assert_answer(send_message(p, "Wrong", "0", "TIMER_DELIVER_MS\0019223372036854775807\2", "x"), MQ_MESSAGE_ILLEGAL, remark);
	harness_assert_answer(send_message(p, "Wrong", "0", "TIMER_DELIVER_MS\1soon\2", "x"), MQ_MESSAGE_ILLEGAL, remark);
	harness_assert_answer(send_message(p, "Wrong", "0", "DELAY\1x\2", "x"), MQ_SYSTEM_ERROR,
			      "java.lang.NumberFormatException: For input string: \"x\"");
	harness_assert_answer(send_message(p, "Wrong", "0", "TRAN_MSG\1true\2TIMER_DELAY_MS\0015000\2", "x"), MQ_MESSAGE_ILLEGAL,
			      "a transactional message cannot be delayed");
	send_ok(p, "Wrong", "0", "TIMER_DELAY_SEC\00199\2", "x");
}

/* ---- Recall (370) ---- */

static const struct mq_command *recall(struct harness_peer *p, const char *topic, const char *handle)
{
	return harness_ask(p, MQ_RECALL_MESSAGE, "producerGroup", "pg", "topic", topic, "recallHandle", handle, NULL);
}

static void a_timer_is_recalled_by_its_handle(void **state)
{
	struct harness_peer *p = *state;
	char handle[300];

	snprintf(handle, sizeof handle, "%s",
		 harness_field(send_message(p, "Recall", "1", "TIMER_DELAY_MS\0014000\2UNIQ_KEY\1U1\2", "recalled"), "recallHandle"));
	assert_int_not_equal(handle[0], '\0');
	send_ok(p, "Recall", "1", "TIMER_DELAY_MS\0014100\2UNIQ_KEY\1U2\2", "stays");
	harness_assert_answer(recall(p, "Recall", handle), MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(&p->answer->cmd, "msgId"), "U1");
	assert_string_equal(harness_field(&p->answer->cmd, "MSG_REGION"), "DefaultRegion");
	/* As upstream: whether there is one left is not asked. */
	harness_assert_answer(recall(p, "Recall", handle), MQ_SUCCESS, NULL);
	assert_slice(await(p, "Recall", "1", "0").body, "stays");
	assert_pull(pull(p, "Recall", "1", "1"), MQ_PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", "1", "0", "1");
	harness_assert_answer(recall(p, "Recall", handle), MQ_ILLEGAL_OPERATION, "recall failed, timestamp invalid");
}

static void wrong_recalls_are_refused(void **state)
{
	struct harness_peer *p = *state;

	send_ok(p, "RecallNo", "0", "", "x");
	harness_assert_answer(recall(p, "Nowhere", "x"), MQ_TOPIC_NOT_EXIST, "recall failed, the topic[Nowhere] not exist");
	harness_assert_answer(recall(p, "RecallNo", "x"), MQ_ILLEGAL_OPERATION, "recall handle is invalid");
	/* v1 Other broker-a 5 id; v1 RecallNo broker-b 5 id; v1 RecallNo broker-a 5 id; v1 RecallNo broker-a soon id */
	harness_assert_answer(recall(p, "RecallNo", "djEgT3RoZXIgYnJva2VyLWEgNSBpZA=="), MQ_ILLEGAL_OPERATION,
			      "recall failed, topic not match");
	harness_assert_answer(recall(p, "RecallNo", "djEgUmVjYWxsTm8gYnJva2VyLWIgNSBpZA=="), MQ_ILLEGAL_OPERATION,
			      "recall failed, broker service not available");
	harness_assert_answer(recall(p, "RecallNo", "djEgUmVjYWxsTm8gYnJva2VyLWEgNSBpZA=="), MQ_ILLEGAL_OPERATION,
			      "recall failed, timestamp invalid");
	harness_assert_answer(recall(p, "RecallNo", "djEgUmVjYWxsTm8gYnJva2VyLWEgc29vbiBpZA=="), MQ_ILLEGAL_OPERATION,
			      "recall failed, timestamp invalid");
}

static void timers_can_be_switched_off(void **state)
{
	static const char *const sets[] = { "timerWheelEnable=false", NULL };
	struct harness_daemon *own = harness_start(HARNESS_BROKER, sets);
	struct harness_peer *p = harness_connect(own);

	harness_assert_answer(send_message(p, "Off", "0", "TIMER_DELAY_MS\0015000\2", "x"), MQ_SYSTEM_ERROR,
			      "accurate timer message is not enabled, timerWheelEnable is false");
	send_ok(p, "Off", "0", "DELAY\0011\2", "x");
	/* and without being told, nothing is recalled */
	harness_assert_answer(recall(p, "Off", "x"), MQ_NO_PERMISSION, "recall failed, operation is forbidden");
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

static void forty_days_are_taken_by_default(void **state)
{
	struct harness_daemon *own = harness_start(HARNESS_BROKER, NULL);
	struct harness_peer *p = harness_connect(own);
	static const char remark[] = "timer message illegal, the delay time should not be bigger than the max delay 3456000000ms; or if set "
				     "del msg, the delay time should be bigger than the current time";

	send_ok(p, "Far", "0", "TIMER_DELAY_SEC\0013456000\2", "x");
	harness_assert_answer(send_message(p, "Far", "0", "TIMER_DELAY_SEC\0013456001\2", "x"), MQ_MESSAGE_ILLEGAL, remark);
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

static void what_waits_survives_a_kill(void **state)
{
	struct harness_daemon *own = harness_start(HARNESS_BROKER, NULL);
	struct harness_peer *p = harness_connect(own);
	int64_t sent_at_ms = wall_ms();

	send_ok(p, "Kill", "0", "TIMER_DELAY_MS\0012000\2", "later");
	send_ok(p, "Kill", "0", "", "now");
	harness_close(p);
	harness_kill(own);
	harness_restart(own);
	p = harness_connect(own);
	assert_slice(await(p, "Kill", "0", "0").body, "now");

	struct mq_record r = await(p, "Kill", "0", "1");

	assert_slice(r.body, "later");
	assert_true(r.store_at_ms >= sent_at_ms + 2000);
	harness_close(p);
	harness_stop(own);
	/* once */
	harness_restart(own);
	p = harness_connect(own);
	assert_pull(pull(p, "Kill", "0", "2"), MQ_PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", "2", "0", "2");
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

/* As upstream: the queue is there for whoever makes the topic again. */
static void a_message_outlives_its_topic(void **state)
{
	struct harness_peer *p = *state;

	send_ok(p, "Gone", "0", "", "old");
	send_ok(p, "Gone", "0", "TIMER_DELAY_MS\0012000\2", "later");
	harness_assert_answer(harness_ask(p, MQ_DELETE_TOPIC_IN_BROKER, "topic", "Gone", NULL), MQ_SUCCESS, NULL);
	send_ok(p, "Other", "0", "TIMER_DELAY_MS\0012001\2", "behind");
	await(p, "Other", "0", "0");
	send_ok(p, "Gone", "1", "", "makes it again");
	assert_slice(await(p, "Gone", "0", "0").body, "later");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_level_delivers_after_its_delay),
		TEST(a_delivered_message_is_found_by_tag_and_key),
		TEST(until_then_it_waits_where_tools_look),
		TEST(a_timer_delivers_at_its_time),
		TEST(the_shortest_delay_comes_first),
		TEST(a_level_goes_before_a_timer),
		TEST(what_is_due_already_is_delivered_at_once),
		TEST(wrong_delays_are_refused),
		TEST(a_timer_is_recalled_by_its_handle),
		TEST(wrong_recalls_are_refused),
		cmocka_unit_test(timers_can_be_switched_off),
		cmocka_unit_test(forty_days_are_taken_by_default),
		cmocka_unit_test(what_waits_survives_a_kill),
		TEST(a_message_outlives_its_topic),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
