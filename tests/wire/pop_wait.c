/* Pops that wait for messages, and who only looks: POP_MESSAGE (200050), NOTIFICATION (200054), POLLING_INFO (200055),
 * PEEK_MESSAGE (200052). */
#include "tests/wire/pop.h"

static void a_pop_waits_for_a_message(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	const struct mq_command *info;
	struct mq_command cmd;
	int32_t opaque;
	struct popped r;

	send_ok(p, "PopWait", "0", "", "first");
	r = popped_of(POP(p, .topic = "PopWait"));
	popped_done(&r);
	pop_request(&cmd, &(struct popping){ .topic = "PopWait", .poll = FAR });
	opaque = harness_send(p, &cmd);
	do {
		info = harness_ask(other, MQ_POLLING_INFO, "consumerGroup", "pg", "topic", "PopWait", "queueId", "-1", NULL);
		harness_assert_answer(info, MQ_SUCCESS, "not set any response code");
	} while (strcmp(harness_field(info, "pollingNum"), "1") != 0);
	send_ok(other, "PopWait", "2", "", "second");
	r = popped_of(harness_answer(p, opaque));
	assert_int_equal(r.n, 1);
	assert_slice(r.records[0].body, "second");
	popped_done(&r);
	assert_string_equal(harness_field(harness_ask(other, MQ_POLLING_INFO, "consumerGroup", "pg", "topic", "PopWait", "queueId", "-1",
						      NULL),
					  "pollingNum"),
			    "0");
	harness_close(other);
}

/* So many messages for queue 1 in one piece: one wake-up. */
static void send_batch(struct harness_peer *p, const char *topic, int n)
{
	struct mq_command cmd;
	char body[1024], *end = body;

	for (int i = 0; i < n; i++) {
		end = mq_put32(mq_put32(mq_put32(mq_put32(mq_put32(end, 23), 0), 0), 0), 1);
		end = mq_put16(mq_put8(end, 'x'), 0);
	}
	send_request(&cmd, topic, "1", "", (struct mq_slice){ body, (size_t)(end - body) });
	cmd.code = MQ_SEND_BATCH_MESSAGE;
	set_field(&cmd, "m", "true");
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
}

static void many_that_wait_share_what_comes(void **state)
{
	enum { N = 8 };
	struct harness_peer *p = *state, *peers[N];
	int32_t opaques[N];
	struct mq_command cmd;
	unsigned n = 0;

	send_ok(p, "PopShare", "0", "", "makes it");
	POP(p, .topic = "PopShare");
	for (int i = 0; i < N; i++) {
		peers[i] = harness_connect_tcp(daemon_);
		pop_request(&cmd, &(struct popping){ .topic = "PopShare", .max = "1", .poll = FAR });
		opaques[i] = harness_send(peers[i], &cmd);
	}
	send_batch(p, "PopShare", N);
	for (int i = 0; i < N; i++) {
		struct popped r = popped_of(harness_answer(peers[i], opaques[i]));

		n += r.n;
		popped_done(&r);
		harness_close(peers[i]);
	}
	assert_int_equal(n, N);
	assert_nothing(POP(p, .topic = "PopShare"));
}

static void a_pop_that_found_nothing_says_so_in_time(void **state)
{
	struct harness_peer *p = *state;

	send_ok(p, "PopEmpty", "0", "TAGS\1no\2", "x");
	assert_nothing(POP(p, .topic = "PopEmpty", .expression = "yes", .poll = "300"));
	assert_string_equal(harness_field(&p->answer->cmd, "startOffsetInfo"), "");
	assert_string_equal(harness_field(&p->answer->cmd, "restNum"), "0");
}

static const struct mq_command *notification(struct harness_peer *p, const char *topic, const char *poll)
{
	char born[24];

	snprintf(born, sizeof born, "%" PRIi64, mq_wall_ms(&mq_clock_system));
	return harness_ask(p, MQ_NOTIFICATION, "consumerGroup", "pg", "topic", topic, "queueId", "-1", "pollTime", poll, "bornTime", born,
			   NULL);
}

static void assert_notified(const struct mq_command *answer, const char *has_message, const char *is_full)
{
	harness_assert_answer(answer, MQ_SUCCESS, "not set any response code");
	assert_string_equal(harness_field(answer, "hasMsg"), has_message);
	assert_string_equal(harness_field(answer, "pollingFull"), is_full);
}

static void a_notification_says_whether_there_is_something(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	struct mq_command cmd;
	struct popped r;
	int32_t opaque;

	harness_assert_answer(notification(p, "NotifyNone", "0"), MQ_TOPIC_NOT_EXIST,
			      "topic[NotifyNone] not exist, apply first please! " FAQ);
	send_ok(p, "Notify", "1", "", "x");
	assert_notified(notification(p, "Notify", "0"), "true", "false");
	assert_notified(notification(p, "Notify", FAR), "true", "false"); /* it takes nothing */
	r = popped_of(POP(p, .topic = "Notify"));
	assert_notified(notification(p, "Notify", "100"), "false", "false");
	harness_assert_answer(harness_ask(p, MQ_CHANGE_MESSAGE_INVISIBLETIME, "consumerGroup", "pg", "topic", "Notify", "queueId", "1",
					  "offset", "0", "extraInfo", receipt(&r, 0, 1, 0), "invisibleTime", "1", NULL),
			      MQ_SUCCESS, "not set any response code");
	popped_done(&r);
	/* What comes again is something, too. */
	assert_notified(notification(p, "Notify", FAR), "true", "false");
	harness_assert_answer(POP(p, .topic = "Notify"), MQ_SUCCESS, "FOUND");
	harness_request(&cmd, MQ_NOTIFICATION, "consumerGroup", "pg", "topic", "Notify", "queueId", "-1", "pollTime", FAR, NULL);
	opaque = harness_send(p, &cmd);
	send_ok(other, "Notify", "0", "", "y");
	assert_notified(harness_answer(p, opaque), "true", "false");
	harness_close(other);
}

/* As Apache's broker: what is there is worth coming for, what comes only if it is asked for. */
static void a_notification_by_sql_waits_for_what_it_asks_for(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	struct mq_command cmd;
	int32_t opaque;

	send_ok(p, "NotifySql", "0", "a\0012\2", "x");
	harness_request(&cmd, MQ_NOTIFICATION, "consumerGroup", "pg", "topic", "NotifySql", "queueId", "-1", "pollTime", FAR, "expType", "SQL92",
			"exp", "a = 1", NULL);
	assert_notified(harness_call(p, &cmd), "true", "false");
	harness_assert_answer(POP(p, .topic = "NotifySql"), MQ_SUCCESS, "FOUND");
	opaque = harness_send(p, &cmd);
	harness_ask(p, MQ_GET_MAX_OFFSET, "topic", "NotifySql", "queueId", "0", NULL); /* it waits by now */
	for (int i = 0; i < 40; i++) {
		send_ok(other, "NotifySql", "0", "a\0012\2", "not this");
		harness_ask(p, MQ_GET_MAX_OFFSET, "topic", "NotifySql", "queueId", "0", NULL);
	}
	assert_true(STAILQ_EMPTY(&p->kept));
	send_ok(other, "NotifySql", "0", "a\0011\2", "this");
	assert_notified(harness_answer(p, opaque), "true", "false");
	/* Nothing of it comes, but its time is over. */
	harness_request(&cmd, MQ_NOTIFICATION, "consumerGroup", "sql", "topic", "NotifyNever", "queueId", "-1", "pollTime", "300", "expType",
			"SQL92", "exp", "a = 1", NULL);
	send_ok(p, "NotifyNever", "0", "a\0012\2", "x");
	harness_assert_answer(POP(p, .topic = "NotifyNever", .group = "sql"), MQ_SUCCESS, "FOUND");
	opaque = harness_send(p, &cmd);
	send_ok(other, "NotifyNever", "0", "a\0012\2", "not this");
	assert_notified(harness_answer(p, opaque), "true", "false");
	harness_close(other);
}

static void a_notification_may_be_of_any_time(void **state)
{
	struct harness_peer *p = *state;

	send_ok(p, "Born", "0", "", "x");
	assert_notified(harness_ask(p, MQ_NOTIFICATION, "consumerGroup", "pg", "topic", "Born", "queueId", "3", "pollTime", "100",
				    "bornTime", "-9223372036854775808", NULL),
			"false", "false");
	assert_notified(harness_ask(p, MQ_NOTIFICATION, "consumerGroup", "pg", "topic", "Born", "queueId", "3", "pollTime",
				    "-9223372036854775808", "bornTime", "-9223372036854775808", NULL),
			"false", "false");
	assert_notified(harness_ask(p, MQ_NOTIFICATION, "consumerGroup", "pg", "topic", "Born", "queueId", "0", "pollTime",
				    "9223372036854775807", "bornTime", "9223372036854775807", NULL),
			"true", "false");
}

static void a_peek_takes_nothing(void **state)
{
	struct harness_peer *p = *state;

	for (int i = 0; i < 2; i++) {
		struct mq_record records[8];
		const struct mq_command *answer;

		if (i == 0) {
			send_ok(p, "Peek", "0", "", "x");
			send_ok(p, "Peek", "1", "", "y");
		}
		answer = harness_ask(p, MQ_PEEK_MESSAGE, "consumerGroup", "pg", "topic", "Peek", "queueId", "-1", "maxMsgNums", "8", NULL);
		harness_assert_answer(answer, MQ_SUCCESS, "FOUND");
		assert_int_equal(records_of(answer, records, 8), 2);
		assert_string_equal(harness_field(answer, "restNum"), "2");
		assert_string_equal(harness_field(answer, "popTime"), "0");
	}
	harness_assert_answer(POP(p, .topic = "Peek"), MQ_SUCCESS, "FOUND");
	harness_assert_answer(harness_ask(p, MQ_PEEK_MESSAGE, "consumerGroup", "pg", "topic", "Peek", "queueId", "-1", "maxMsgNums", "8",
					  NULL),
			      MQ_PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE");
}

/* ---- One place to wait ---- */

static int start_small_daemon(void **state)
{
	static const char *const sets[] = { "brokerName=broker-a", "popPollingSize=0", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

static void who_waits_too_many_is_told(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	struct mq_command cmd;

	send_ok(p, "PopFull", "0", "", "x");
	POP(p, .topic = "PopFull");
	pop_request(&cmd, &(struct popping){ .topic = "PopFull", .poll = FAR });
	harness_send(other, &cmd);
	while (strcmp(harness_field(harness_ask(p, MQ_POLLING_INFO, "consumerGroup", "pg", "topic", "PopFull", "queueId", "-1", NULL),
				    "pollingNum"),
		      "1") != 0)
		;
	harness_assert_answer(POP(p, .topic = "PopFull", .poll = FAR), MQ_POLLING_FULL, "NO_MESSAGE_IN_QUEUE");
	/* Who goes away makes room, also while its answer is due. */
	harness_close(other);
	while (strcmp(harness_field(harness_ask(p, MQ_POLLING_INFO, "consumerGroup", "pg", "topic", "PopFull", "queueId", "-1", NULL),
				    "pollingNum"),
		      "0") != 0)
		;
	harness_send(p, &cmd);
	send_ok(p, "PopFull", "0", "", "y");
}

/* Its group is made on a reader first, and by then it may be gone. */
static void who_is_gone_before_it_waits_takes_nobodys_place(void **state)
{
	static const struct linger reset = { .l_onoff = 1 };
	struct harness_peer *p = *state;

	send_ok(p, "Gone", "0", "", "x");
	for (int i = 0; i < 40; i++) {
		struct harness_peer *other = harness_connect_tcp(daemon_);
		int64_t until_ms = mq_mono_ms(&mq_clock_system) + HARNESS_DEADLINE_MS;
		const struct mq_command *answer;
		struct mq_command cmd;
		char group[16];

		snprintf(group, sizeof group, "gone%d", i);
		harness_request(&cmd, MQ_NOTIFICATION, "consumerGroup", group, "topic", "Gone", "queueId", "3", "pollTime", FAR, NULL);
		assert_int_equal(setsockopt(other->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
		harness_send(other, &cmd);
		harness_close(other);
		do {
			assert_true(mq_mono_ms(&mq_clock_system) < until_ms);
			answer = harness_ask(p, MQ_NOTIFICATION, "consumerGroup", group, "topic", "Gone", "queueId", "3", "pollTime", "60",
					     NULL);
			harness_assert_answer(answer, MQ_SUCCESS, "not set any response code");
		} while (strcmp(harness_field(answer, "pollingFull"), "true") == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_pop_waits_for_a_message),
		TEST(many_that_wait_share_what_comes),
		TEST(a_pop_that_found_nothing_says_so_in_time),
		TEST(a_notification_says_whether_there_is_something),
		TEST(a_notification_by_sql_waits_for_what_it_asks_for),
		TEST(a_notification_may_be_of_any_time),
		TEST(a_peek_takes_nothing),
	};
	const struct CMUnitTest small[] = {
		TEST(who_waits_too_many_is_told),
		TEST(who_is_gone_before_it_waits_takes_nobodys_place),
	};
	int failed = cmocka_run_group_tests_name("pop_wait", tests, start_daemon, stop_daemon);

	return failed + cmocka_run_group_tests_name("pop_wait, one place", small, start_small_daemon, stop_daemon);
}
