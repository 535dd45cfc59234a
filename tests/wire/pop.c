/* POP_MESSAGE (200050): what a pop takes, who may pop, and what a restart keeps of it. Beside it: pop_wait.c,
 * pop_ack.c and pop_order.c. */
#include "tests/wire/pop.h"

/* ---- Popping ---- */

static void a_pop_takes_from_all_queues_and_says_where_from(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;

	send_ok(p, "PopAll", "0", "TAGS\1a\2", "zero");
	send_ok(p, "PopAll", "3", "TAGS\1a\2", "three");
	send_ok(p, "PopAll", "3", "TAGS\1a\2", "three too");
	r = popped_of(POP(p, .topic = "PopAll"));
	assert_int_equal(r.n, 3);
	assert_string_equal(r.rest, "0");
	assert_string_equal(r.invisible, "60000");
	assert_true(atoi(r.revive) < 8);
	if (r.records[0].queue_id == 0) {
		assert_string_equal(r.starts, "0 0 0;0 3 0");
		assert_string_equal(r.offsets, "0 0 0;0 3 0,1");
	} else {
		assert_string_equal(r.starts, "0 3 0;0 0 0");
		assert_string_equal(r.offsets, "0 3 0,1;0 0 0");
	}
	/* As they were sent: clients make the receipt. */
	assert_property(r.records[0].properties, "POP_CK", NULL);
	assert_slice(r.records[0].topic, "PopAll");
	assert_string_equal(committed(p, "PopAll", "3"), "2");
	/* They are with the group. */
	assert_nothing(POP(p, .topic = "PopAll"));
	popped_done(&r);
	/* Not with another. */
	r = popped_of(POP(p, .topic = "PopAll", .group = "other"));
	assert_int_equal(r.n, 3);
	popped_done(&r);
}

static void a_pop_of_one_queue_takes_what_was_asked_for(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;

	for (int i = 0; i < 5; i++)
		send_ok(p, "PopOne", "1", "", "x");
	send_ok(p, "PopOne", "0", "", "not this");
	r = popped_of(POP(p, .topic = "PopOne", .queue = "1", .max = "2"));
	assert_string_equal(r.offsets, "0 1 0,1");
	assert_string_equal(r.rest, "3");
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopOne", .queue = "1"));
	assert_string_equal(r.starts, "0 1 2");
	assert_string_equal(r.offsets, "0 1 2,3,4");
	popped_done(&r);
}

static void a_filter_goes_on_behind_what_it_does_not_want(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;

	send_ok(p, "PopTag", "0", "TAGS\1no\2", "a");
	send_ok(p, "PopTag", "0", "TAGS\1yes\2", "b");
	send_ok(p, "PopTag", "0", "TAGS\1no\2", "c");
	r = popped_of(POP(p, .topic = "PopTag", .queue = "0", .expression = "yes||maybe"));
	assert_string_equal(r.starts, "0 0 0");
	assert_string_equal(r.offsets, "0 0 1");
	assert_string_equal(committed(p, "PopTag", "0"), "3");
	popped_done(&r);
	send_ok(p, "PopTag", "0", "TAGS\1no\2", "d");
	assert_nothing(POP(p, .topic = "PopTag", .queue = "0", .expression = "yes"));
	assert_string_equal(committed(p, "PopTag", "0"), "4");
}

static void what_a_filter_wants_is_found_behind_much_that_it_does_not(void **state)
{
	enum { N = 2000 }; /* more than two looks */
	struct harness_peer *p = *state;
	struct mq_command cmd;
	struct popped r;

	send_request(&cmd, "PopFar", "0", "TAGS\1no\2", MQ_SLICE("x"));
	for (int i = 0; i < N; i++)
		harness_send(p, &cmd);
	for (int i = 0; i < N; i++)
		harness_assert_answer(harness_answer(p, p->opaque - N + 1 + i), MQ_SUCCESS, NULL);
	send_ok(p, "PopFar", "0", "TAGS\1yes\2", "far");
	r = popped_of(POP(p, .topic = "PopFar", .queue = "0", .expression = "yes", .poll = FAR));
	assert_int_equal(r.n, 1);
	assert_slice(r.records[0].body, "far");
	popped_done(&r);
}

static void sql92_filters_by_properties(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;

	send_ok(p, "PopSql", "0", "n\0011\2", "a");
	send_ok(p, "PopSql", "0", "n\0017\2", "b");
	r = popped_of(POP(p, .topic = "PopSql", .queue = "0", .type = "SQL92", .expression = "n > 5"));
	assert_string_equal(r.offsets, "0 0 1");
	popped_done(&r);
	harness_assert_answer(POP(p, .topic = "PopSql", .type = "SQL92", .expression = "n > > 5"), MQ_SUBSCRIPTION_PARSE_FAILED,
			      "parse the consumer's subscription failed");
	harness_assert_answer(POP(p, .topic = "PopSql", .type = "XPATH", .expression = "n"), MQ_SUBSCRIPTION_PARSE_FAILED,
			      "parse the consumer's subscription failed");
}

static void a_new_group_begins_where_it_wants(void **state)
{
	struct harness_peer *p = *state;
	struct popped r;

	for (int i = 0; i < 3; i++)
		send_ok(p, "PopInit", "0", "", "x");
	/* Nothing of the queue is gone yet: also who wants the end gets all of it, as with Apache's broker. */
	r = popped_of(POP(p, .topic = "PopInit", .queue = "0", .init = "1"));
	assert_string_equal(r.offsets, "0 0 0,1,2");
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopInit", .queue = "0", .group = "min"));
	assert_string_equal(r.offsets, "0 0 0,1,2");
	popped_done(&r);
}

static void assert_refused(const struct mq_command *answer, int code, const char *remark)
{
	harness_assert_answer(answer, code, remark);
	assert_string_equal(harness_field(answer, "popTime"), "0");
	assert_string_equal(harness_field(answer, "restNum"), "0");
}

static void what_cannot_be_popped_is_refused(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	char remark[256];

	send_ok(p, "PopBad", "0", "", "x");
	assert_refused(POP(p, .topic = "PopNone"), MQ_TOPIC_NOT_EXIST, "topic[PopNone] not exist, apply first please! " FAQ);
	assert_refused(POP(p, .topic = "PopBad", .max = "33"), MQ_INVALID_PARAMETER,
		       "the broker[127.0.0.1] pop message's num is greater than 32");
	harness_call(p, (pop_request(&cmd, &(struct popping){ .topic = "PopBad", .queue = "4" }), &cmd));
	assert_int_equal(p->answer->cmd.code, MQ_INVALID_PARAMETER);
	snprintf(remark, sizeof remark, "%.*s", MQ_FMT(p->answer->cmd.remark));
	assert_non_null(strstr(remark, "queueId[4] is illegal, topic:[PopBad] topicConfig.readQueueNums:[4] consumer:[/127.0.0.1:"));

	pop_request(&cmd, &(struct popping){ .topic = "PopBad", .poll = "1000" });
	set_field(&cmd, "bornTime", "1000");
	assert_refused(harness_call(p, &cmd), MQ_POLLING_TIMEOUT, "the broker[127.0.0.1] pop message is timeout too much");

	pop_request(&cmd, &(struct popping){ .topic = "PopBad" });
	drop_field(&cmd, "consumerGroup");
	harness_assert_answer(harness_call(p, &cmd), MQ_SYSTEM_ERROR, "the custom field <consumerGroup> is null");
}

/* As upstream since 5.5: a number that is missing is 0. */
static void numbers_that_are_missing_are_zero(void **state)
{
	static const char *const numbers[] = { "invisibleTime", "pollTime", "initMode", "bornTime", "queueId", "maxMsgNums" };
	struct harness_peer *p = *state;
	struct mq_command cmd;

	for (unsigned i = 0; i < N_ELEMENTS(numbers); i++) {
		send_ok(p, "PopShort", "0", "", "x");
		pop_request(&cmd, &(struct popping){ .topic = "PopShort", .queue = "0" });
		drop_field(&cmd, numbers[i]);
		if (strcmp(numbers[i], "maxMsgNums") == 0)
			assert_nothing(harness_call(p, &cmd));
		else
			harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, "FOUND");
	}
	harness_assert_answer(harness_ask(p, MQ_PEEK_MESSAGE, "consumerGroup", "short", "topic", "PopShort", "maxMsgNums", "1", NULL),
			      MQ_SUCCESS, "FOUND");
	harness_assert_answer(harness_ask(p, MQ_PEEK_MESSAGE, "consumerGroup", "short", "topic", "PopShort", NULL), MQ_PULL_NOT_FOUND,
			      "NO_MESSAGE_IN_QUEUE");
	harness_assert_answer(harness_ask(p, MQ_POLLING_INFO, "consumerGroup", "short", "topic", "PopShort", NULL), MQ_SUCCESS,
			      "not set any response code");
	harness_assert_answer(harness_ask(p, MQ_NOTIFICATION, "consumerGroup", "short", "topic", "PopShort", NULL), MQ_SUCCESS,
			      "not set any response code");
	assert_string_equal(harness_field(&p->answer->cmd, "hasMsg"), "true");
}

static void who_may_not_is_told(void **state)
{
	struct harness_peer *p = *state;

	harness_assert_answer(harness_ask(p, MQ_UPDATE_AND_CREATE_TOPIC, "topic", "PopDumb", "defaultTopic", "TBW102", "readQueueNums", "1",
					  "writeQueueNums", "1", "perm", "2", "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order",
					  "false", NULL),
			      MQ_SUCCESS, NULL);
	assert_refused(POP(p, .topic = "PopDumb"), MQ_NO_PERMISSION, "the topic[PopDumb] peeking message is forbidden");
	send_ok(p, "PopOff", "0", "", "x");
	harness_assert_answer(ask_with_body(p, MQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
						    "{\"groupName\":\"off\",\"consumeEnable\":false}"),
			      MQ_SUCCESS, NULL);
	assert_refused(POP(p, .topic = "PopOff", .group = "off"), MQ_NO_PERMISSION, "subscription group no permission, off");
	/* The others ask in the same order, in their own words. */
	harness_assert_answer(harness_ask(p, MQ_PEEK_MESSAGE, "consumerGroup", "off", "topic", "PopOff", "queueId", "-1", "maxMsgNums", "8",
					  NULL),
			      MQ_NO_PERMISSION, "subscription group no permission, off");
	harness_assert_answer(harness_ask(p, MQ_POLLING_INFO, "consumerGroup", "pg", "topic", "PopDumb", "queueId", "-1", NULL),
			      MQ_NO_PERMISSION, "the topic[PopDumb] peeking message is forbidden");
	assert_string_equal(harness_field(&p->answer->cmd, "pollingNum"), "0");
	harness_assert_answer(harness_ask(p, MQ_NOTIFICATION, "consumerGroup", "off", "topic", "PopOff", "queueId", "-1", "pollTime", "0",
					  NULL),
			      MQ_NO_PERMISSION, "subscription group no permission, off");
	assert_string_equal(harness_field(&p->answer->cmd, "hasMsg"), "false");
	assert_refused(POP(p, .topic = "PopOff", .group = ""), MQ_INVALID_PARAMETER,
		       "the names of group and topic are too long, or empty, for a retry topic");
}

static void the_fast_port_takes_acknowledgements_only(void **state)
{
	struct harness_peer *p = harness_connect_fast(daemon_);

	assert_int_equal(POP(p, .topic = "Any")->code, MQ_REQUEST_CODE_NOT_SUPPORTED);
	harness_assert_answer(ack(p, "FastNone", "0", "0", "0 1 2 0 0 broker-a 0 0"), MQ_TOPIC_NOT_EXIST,
			      "topic[FastNone] not exist, apply first please! " FAQ);
	harness_close(p);
}

/* ---- Restarts ---- */

static void a_restart_keeps_what_is_with_the_group(void **state)
{
	struct harness_peer *p = *state;
	struct popped r, ordered;
	char text[160];

	send_ok(p, "PopKill", "0", "", "later");
	send_ok(p, "PopKill", "0", "", "never");
	send_ok(p, "PopKillOrder", "0", "", "x");
	r = popped_of(POP(p, .topic = "PopKill", .queue = "0"));
	snprintf(text, sizeof text, "%s", receipt(&r, 0, 0, 1));
	harness_assert_answer(ack(p, "PopKill", "0", "1", text), MQ_SUCCESS, NULL);
	ordered = popped_of(POP(p, .topic = "PopKillOrder", .queue = "0", .order = "true", .attempt = "a"));
	harness_close(p);
	harness_kill(daemon_);
	harness_restart(daemon_);
	*state = p = harness_connect_tcp(daemon_);
	assert_nothing(POP(p, .topic = "PopKill", .queue = "0"));
	assert_nothing(POP(p, .topic = "PopKillOrder", .queue = "0", .order = "true"));
	harness_assert_answer(ack(p, "PopKillOrder", "0", "0", receipt(&ordered, 0, 0, 0)), MQ_SUCCESS, NULL);
	assert_string_equal(committed(p, "PopKillOrder", "0"), "1");
	popped_done(&ordered);
	/* What waits is there with the time that its receipt says, or it could not be moved. */
	harness_assert_answer(change(p, "PopKill", "1", text, "1"), MQ_SUCCESS, "not set any response code");
	harness_assert_answer(change(p, "PopKill", "0", receipt(&r, 0, 0, 0), "1"), MQ_SUCCESS, "not set any response code");
	popped_done(&r);
	r = popped_of(POP(p, .topic = "PopKill", .queue = "0", .poll = FAR));
	assert_int_equal(r.n, 1);
	assert_slice(r.records[0].body, "later");
	popped_done(&r);
}

static void a_backlog_is_popped_from_the_disk_once_and_in_order(void **state)
{
	enum { N = 200 };
	struct harness_peer *p = *state;
	char body[1000] = {}, expected[sizeof body];
	int n = 0;

	memset(body, 'x', sizeof body - 1);
	for (int i = 0; i < N; i++) {
		snprintf(body, 8, "%07d", i);
		body[7] = 'x';
		send_ok(p, "PopBacklog", "0", "", body);
	}
	harness_close(p);
	harness_stop(daemon_);
	harness_restart(daemon_); /* nothing is in memory */
	*state = p = harness_connect_tcp(daemon_);
	while (n < N) {
		struct popped r = popped_of(POP(p, .topic = "PopBacklog", .poll = FAR));

		for (unsigned i = 0; i < r.n; i++) {
			snprintf(expected, sizeof expected, "%07d", n++);
			assert_memory_equal(r.records[i].body.p, expected, 7);
			assert_int_equal(r.records[i].body.n, sizeof body - 1);
		}
		popped_done(&r);
	}
	assert_nothing(POP(p, .topic = "PopBacklog"));
}

/* ---- Another configuration ---- */

static int start_forbidding_daemon(void **state)
{
	static const char *const sets[] = { "brokerPermission=2", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

static void a_broker_that_forbids_pops_says_so(void **state)
{
	struct harness_peer *p = *state;

	assert_refused(POP(p, .topic = "Any"), MQ_NO_PERMISSION, "the broker[127.0.0.1] pop message is forbidden");
	harness_assert_answer(harness_ask(p, MQ_PEEK_MESSAGE, "consumerGroup", "pg", "topic", "Any", "queueId", "-1", "maxMsgNums", "8",
					  NULL),
			      MQ_NO_PERMISSION, "the broker[127.0.0.1] peeking message is forbidden");
	harness_assert_answer(harness_ask(p, MQ_NOTIFICATION, "consumerGroup", "pg", "topic", "Any", "queueId", "-1", "pollTime", "0", NULL),
			      MQ_NO_PERMISSION, "the broker[127.0.0.1] peeking message is forbidden");
}

static int start_timeless_daemon(void **state)
{
	static const char *const sets[] = { "timerWheelEnable=false", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

static void without_timers_there_are_no_pops(void **state)
{
	struct harness_peer *p = *state;

	assert_refused(POP(p, .topic = "Any"), MQ_SYSTEM_ERROR,
		       "the broker[127.0.0.1] pop message is forbidden because timerWheelEnable is false");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_pop_takes_from_all_queues_and_says_where_from),
		TEST(a_pop_of_one_queue_takes_what_was_asked_for),
		TEST(a_filter_goes_on_behind_what_it_does_not_want),
		TEST(what_a_filter_wants_is_found_behind_much_that_it_does_not),
		TEST(sql92_filters_by_properties),
		TEST(a_new_group_begins_where_it_wants),
		TEST(what_cannot_be_popped_is_refused),
		TEST(numbers_that_are_missing_are_zero),
		TEST(who_may_not_is_told),
		TEST(the_fast_port_takes_acknowledgements_only),
		TEST(a_restart_keeps_what_is_with_the_group),
		TEST(a_backlog_is_popped_from_the_disk_once_and_in_order),
	};
	const struct CMUnitTest forbidden[] = { TEST(a_broker_that_forbids_pops_says_so) };
	const struct CMUnitTest timeless[] = { TEST(without_timers_there_are_no_pops) };
	int failed = cmocka_run_group_tests_name("pop", tests, start_daemon, stop_daemon);

	failed += cmocka_run_group_tests_name("pop, forbidden", forbidden, start_forbidding_daemon, stop_daemon);
	return failed + cmocka_run_group_tests_name("pop, no timers", timeless, start_timeless_daemon, stop_daemon);
}
