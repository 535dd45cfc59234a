/* SQL92 filters: with the pull and from the heartbeat, refused ones, and what they may cost (11, 34, 46).
 * What an expression means is for tests/unit/broker/filter_sql.txt. */
#include "tests/wire/messages.h"

static int start_daemon(void **state)
{
	static const char *const sets[] = { "enablePropertyFilter=true", "ioThreads=2", "fastListenPort=-1", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

/* With its subscription (sysFlag 4) or by the heartbeat's (0). */
static const struct mq_command *pull_sql(struct harness_peer *p, const char *topic, const char *sys_flag, const char *expression)
{
	struct mq_command cmd;

	pull_request(&cmd, topic, "0", "0", sys_flag, expression);
	set_field(&cmd, "expressionType", "SQL92");
	return harness_call(p, &cmd);
}

static void heartbeat(struct harness_peer *p, const char *topic, int version, const char *expression)
{
	char body[2048];

	snprintf(body, sizeof body,
		 "{\"clientID\":\"c\",\"consumerDataSet\":[{\"consumeFromWhere\":\"CONSUME_FROM_FIRST_OFFSET\",\"consumeType\":"
		 "\"CONSUME_PASSIVELY\",\"groupName\":\"cg\",\"messageModel\":\"CLUSTERING\",\"subscriptionDataSet\":[{\"topic\":\"%s\","
		 "\"subString\":\"%s\",\"subVersion\":%d,\"codeSet\":[],\"tagsSet\":[],\"expressionType\":\"SQL92\"}],"
		 "\"unitMode\":false}],\"heartbeatFingerprint\":0,\"producerDataSet\":[],\"withoutSub\":false}",
		 topic, expression, version);
	harness_assert_answer(ask_with_body(p, MQ_HEART_BEAT, body), MQ_SUCCESS, NULL);
}

/* Messages "1" to "3" with the property n. */
static void send_three(struct harness_peer *p, const char *topic)
{
	send_ok(p, topic, "0", "n\1""1\2", "1");
	send_ok(p, topic, "0", "n\1""2\2TAGS\1x\2", "2");
	send_ok(p, topic, "0", "n\1""3\2", "3");
}

static void assert_bodies(const struct mq_command *answer, const char *wanted)
{
	struct mq_record r[8];
	char got[64] = "";
	unsigned n;

	assert_pull(answer, MQ_SUCCESS, "FOUND", "3", "0", "3");
	n = records_of(answer, r, 8);
	for (unsigned i = 0; i < n; i++)
		strncat(got, r[i].body.p, r[i].body.n);
	assert_string_equal(got, wanted);
}

static void a_pull_brings_its_expression(void **state)
{
	struct harness_peer *p = *state;

	send_three(p, "Own");
	assert_bodies(pull_sql(p, "Own", "4", "n > 1"), "23");
	assert_bodies(pull_sql(p, "Own", "4", "TAGS IS NULL"), "13");
	assert_pull(pull_sql(p, "Own", "4", "n > 9"), MQ_PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", "3", "0", "3");
}

static void the_heartbeats_expression_counts_until_a_newer_version(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	send_three(p, "Beat");
	heartbeat(p, "Beat", 10, "n = 1");
	assert_bodies(pull_sql(p, "Beat", "0", "n = 3"), "1");
	heartbeat(p, "Beat", 9, "n = 2");
	assert_bodies(pull_sql(p, "Beat", "0", ""), "1");
	heartbeat(p, "Beat", 11, "n = 2");
	assert_bodies(pull_sql(p, "Beat", "0", ""), "2");
	pull_request(&cmd, "Beat", "0", "0", "0", "");
	set_field(&cmd, "subVersion", "12");
	harness_assert_answer(harness_call(p, &cmd), MQ_SUBSCRIPTION_NOT_LATEST, "the consumer's subscription not latest");
}

static void what_does_not_compile_is_told_to_those_who_rely_on_it(void **state)
{
	struct harness_peer *p = *state;

	send_three(p, "Wrong");
	heartbeat(p, "Wrong", 20, "n > 'x'");
	harness_assert_answer(pull_sql(p, "Wrong", "0", ""), MQ_FILTER_DATA_NOT_EXIST,
			      "The broker's consumer filter data is not exist!Your expression may be wrong!");
	heartbeat(p, "Wrong", 21, "n > 2");
	assert_bodies(pull_sql(p, "Wrong", "0", ""), "3");
	/* With the pull: everything matches, as Apache has it. */
	assert_bodies(pull_sql(p, "Wrong", "4", "n > 'x'"), "123");
	harness_assert_answer(pull_sql(p, "Wrong", "4", ""), MQ_SUBSCRIPTION_PARSE_FAILED, "parse the consumer's subscription failed");
}

static void what_is_too_big_is_refused(void **state)
{
	struct harness_peer *p = *state;
	char expression[16386];

	memset(expression, ' ', sizeof expression - 1);
	expression[sizeof expression - 1] = '\0';
	memcpy(expression, "n = 1", 5);
	send_three(p, "Long");
	harness_assert_answer(pull_sql(p, "Long", "4", expression), MQ_SUBSCRIPTION_PARSE_FAILED,
			      "parse the consumer's subscription failed: the expression is longer than 16384 bytes");
	assert_bodies(pull_sql(p, "Long", "4", expression + 1), "123"); /* " = 1" does not compile */
	memcpy(expression + 1, "n = 1", 5);
	assert_bodies(pull_sql(p, "Long", "4", expression + 1), "1");
}

static const struct mq_command *check(struct harness_peer *p, const char *type, const char *expression)
{
	char body[1024];
	struct mq_command cmd;

	snprintf(body, sizeof body,
		 "{\"clientId\":\"c\",\"group\":\"g\",\"subscriptionData\":{\"expressionType\":\"%s\",\"subString\":\"%s\",\"topic\":\"T\"}}",
		 type, expression);
	harness_request(&cmd, MQ_CHECK_CLIENT_CONFIG, NULL);
	cmd.body = mq_slice_of(body);
	return harness_call(p, &cmd);
}

static void an_expression_can_be_checked(void **state)
{
	struct harness_peer *p = *state;

	harness_assert_answer(check(p, "SQL92", "a > 1 AND b IS NULL"), MQ_SUCCESS, NULL);
	harness_assert_answer(check(p, "SQL92", "a > 0.0"), MQ_SUBSCRIPTION_PARSE_FAILED, "0.0 at column 5 is less than 4.9E-324");
	harness_assert_answer(check(p, "SQL92", "a > = 1"), MQ_SUBSCRIPTION_PARSE_FAILED,
			      "'=' at column 5: a property, a value or '(' is expected");
	harness_assert_answer(check(p, "SQL92", ""), MQ_SUBSCRIPTION_PARSE_FAILED,
			      "the expression ends where a property, a value or '(' is expected");
	harness_assert_answer(check(p, "TAG", "a > = 1"), MQ_SUCCESS, NULL);
	harness_assert_answer(check(p, "XPATH", "a"), MQ_SYSTEM_ERROR,
			      "The broker does not support consumer to filter message by XPATH");
}

static void without_being_enabled_it_is_refused_everywhere(void **state)
{
	static const char remark[] = "The broker does not support consumer to filter message by SQL92";
	struct harness_daemon *own = harness_start(HARNESS_BROKER, NULL);
	struct harness_peer *p = harness_connect(own);
	FILE *f;

	send_three(p, "Off");
	heartbeat(p, "Off", 1, "n = 1");
	harness_assert_answer(pull_sql(p, "Off", "4", "n = 1"), MQ_SYSTEM_ERROR, remark);
	harness_assert_answer(pull_sql(p, "Off", "0", ""), MQ_SYSTEM_ERROR, remark);
	harness_assert_answer(check(p, "SQL92", "n = 1"), MQ_SYSTEM_ERROR, remark);

	f = fopen(own->config, "w");
	assert_non_null(f);
	fputs("enablePropertyFilter=true\n", f);
	fclose(f);
	assert_int_equal(kill(own->pid, SIGHUP), 0);
	harness_wait_notify(own, "RELOADING=1");
	harness_wait_notify(own, "READY=1");
	assert_bodies(pull_sql(p, "Off", "4", "n = 1"), "1");
	assert_bodies(pull_sql(p, "Off", "0", ""), "1");
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

static void a_held_pull_waits_for_a_message_that_matches(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	struct mq_command cmd;
	struct mq_record r;
	int32_t opaque;

	send_ok(other, "Held", "0", "n\1""1\2", "0");
	pull_request(&cmd, "Held", "0", "1", "6", "n = 2");
	set_field(&cmd, "expressionType", "SQL92");
	set_field(&cmd, "suspendTimeoutMillis", "60000");
	opaque = harness_send(p, &cmd);
	harness_ask(p, MQ_GET_MAX_OFFSET, "topic", "Held", "queueId", "0", NULL); /* answered behind the pull, which thus waits */
	send_ok(other, "Held", "0", "n\1""1\2", "1");
	send_ok(other, "Held", "0", "n\1x\2", "2");
	send_ok(other, "Held", "0", "n\1""2\2", "3");
	assert_pull(harness_answer(p, opaque), MQ_SUCCESS, "FOUND", "4", "0", "4");
	assert_int_equal(records_of(&p->answer->cmd, &r, 1), 1);
	assert_slice(r.body, "3");
	harness_close(other);
}

/* By the heartbeat's expression. */
static int32_t wait_by_heartbeat(struct harness_peer *p, const char *topic, const char *offset)
{
	struct mq_command cmd;
	int32_t opaque;

	pull_request(&cmd, topic, "0", offset, "2", "");
	set_field(&cmd, "suspendTimeoutMillis", "60000");
	opaque = harness_send(p, &cmd);
	harness_ask(p, MQ_GET_MAX_OFFSET, "topic", topic, "queueId", "0", NULL);
	return opaque;
}

/* A message that is sent when the group has another expression must not be passed by with the old one. */
static void a_held_pull_goes_by_the_expression_of_the_last_heartbeat(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	struct mq_record r;
	int32_t opaque;

	send_ok(other, "Anew", "0", "n\1""1\2", "0");
	heartbeat(p, "Anew", 30, "n = 1");
	opaque = wait_by_heartbeat(p, "Anew", "1");
	heartbeat(p, "Anew", 31, "n = 2");
	send_ok(other, "Anew", "0", "n\1""2\2", "1");
	assert_pull(harness_answer(p, opaque), MQ_SUCCESS, "FOUND", "2", "0", "2");
	assert_int_equal(records_of(&p->answer->cmd, &r, 1), 1);
	assert_slice(r.body, "1");
	harness_close(other);
}

static void a_held_pull_of_who_left_the_group_is_refused(void **state)
{
	struct harness_peer *p = *state, *other = harness_connect_tcp(daemon_);
	int32_t opaque;

	send_ok(other, "Left", "0", "n\1""1\2", "0");
	heartbeat(p, "Left", 40, "n = 1");
	opaque = wait_by_heartbeat(p, "Left", "1");
	harness_assert_answer(harness_ask(p, MQ_UNREGISTER_CLIENT, "clientID", "c", "consumerGroup", "cg", NULL), MQ_SUCCESS, NULL);
	send_ok(other, "Left", "0", "n\1""1\2", "1");
	harness_assert_answer(harness_answer(p, opaque), MQ_SUBSCRIPTION_NOT_EXIST,
			      "the consumer's group info not exist" FAQ);
	harness_close(other);
}

/* Each message takes many thousand steps: the pull answers long before it has seen all. */
static void a_costly_expression_ends_the_pull(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	char properties[20000], expression[8000] = "n CONTAINS 'b'";
	char *at = expression + strlen(expression);

	memset(properties, 'a', sizeof properties);
	memcpy(properties, "n\1", 2);
	properties[sizeof properties - 1] = '\0';
	while (at < expression + sizeof expression - 32)
		at = stpcpy(at, " OR n CONTAINS 'b'");
	for (int i = 0; i < 100; i++)
		send_ok(p, "Costly", "0", properties, "x");
	answer = pull_sql(p, "Costly", "4", expression);
	harness_assert_answer(answer, MQ_PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE");
	assert_in_range(atoi(harness_field(answer, "nextBeginOffset")), 1, 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_pull_brings_its_expression),
		TEST(the_heartbeats_expression_counts_until_a_newer_version),
		TEST(what_does_not_compile_is_told_to_those_who_rely_on_it),
		TEST(what_is_too_big_is_refused),
		TEST(an_expression_can_be_checked),
		cmocka_unit_test(without_being_enabled_it_is_refused_everywhere),
		TEST(a_held_pull_waits_for_a_message_that_matches),
		TEST(a_held_pull_goes_by_the_expression_of_the_last_heartbeat),
		TEST(a_held_pull_of_who_left_the_group_is_refused),
		TEST(a_costly_expression_ends_the_pull),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
