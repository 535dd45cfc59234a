/* Heartbeats, membership and who is told of it (34, 35, 38, 40, 46, 203, 204). */
#include "tests/wire/messages.h"

static int start_daemon(void **state)
{
	static const char *const sets[] = { "ioThreads=2", "fastListenPort=-1", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

#define SUB(topic)            \
	"{\"topic\":\"" topic \
	"\",\"subString\":\"*\",\"subVersion\":1,\"codeSet\":[],\"tagsSet\":[],\"expressionType\":\"TAG\"}"
#define BEAT(client, group)                                                                                            \
	"{\"clientID\":\"" client                                                                                      \
	"\",\"consumerDataSet\":[{\"consumeFromWhere\":\"CONSUME_FROM_FIRST_OFFSET\",\"consumeType\":"                 \
	"\"CONSUME_PASSIVELY\",\"groupName\":\"" group                                                                 \
	"\",\"messageModel\":\"CLUSTERING\",\"subscriptionDataSet\":[" SUB(                                            \
		"T") "],\"unitMode\":false}],\"heartbeatFingerprint\":0,\"producerDataSet\":[{\"groupName\":\"p" group \
		     "\"}],\"withoutSub\":false}"

static const struct mq_command *beat(struct harness_peer *p, const char *body)
{
	return ask_with_body(p, MQ_HEART_BEAT, body);
}

/* The next notice is about this group. */
static void assert_notice(struct harness_peer *p, const char *group)
{
	struct harness_frame *f = harness_receive(p, MQ_NOTIFY_CONSUMER_IDS_CHANGED);

	assert_string_equal(harness_field(&f->cmd, "consumerGroup"), group);
	assert_int_equal(f->cmd.flag, MQ_FLAG_ONEWAY);
	harness_frame_free(f);
}

static void a_heartbeat_is_answered_as_apache_does(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer = beat(p, BEAT("c", "g1"));

	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(answer, "IS_SUPPORT_HEART_BEAT_V2"), "true");
	assert_string_equal(harness_field(answer, "IS_SUB_CHANGE"), "true");
	assert_int_equal(answer->version, 513);
}

/* The notice is on the wire before the answer: it was kept while the answer was waited for. */
static void the_notice_precedes_the_answer(void **state)
{
	struct harness_peer *p = *state;

	harness_assert_answer(beat(p, BEAT("c", "g2")), MQ_SUCCESS, NULL);
	assert_false(STAILQ_EMPTY(&p->kept));
	assert_int_equal(STAILQ_FIRST(&p->kept)->cmd.code, MQ_NOTIFY_CONSUMER_IDS_CHANGED);
	assert_notice(p, "g2");
	harness_assert_answer(beat(p, BEAT("c", "g2")), MQ_SUCCESS, NULL);
	assert_true(STAILQ_EMPTY(&p->kept)); /* nothing changed */
}

static void two_members_hear_of_each_other(void **state)
{
	struct harness_peer *a = *state, *b = harness_connect_tcp(daemon_), *c = harness_connect(daemon_);

	harness_assert_answer(beat(a, BEAT("a", "g3")), MQ_SUCCESS, NULL);
	assert_notice(a, "g3");
	harness_assert_answer(beat(b, BEAT("b", "g3")), MQ_SUCCESS, NULL);
	assert_notice(b, "g3");
	assert_notice(a, "g3");
	harness_assert_answer(beat(c, BEAT("c", "g3")), MQ_SUCCESS, NULL);
	assert_notice(a, "g3");
	assert_notice(b, "g3");
	assert_string_equal(harness_body(harness_ask(a, MQ_GET_CONSUMER_LIST_BY_GROUP, "consumerGroup", "g3", NULL)),
			    "{\"consumerIdList\":[\"a\",\"b\",\"c\"]}");

	/* One leaves in good order, one just goes. */
	harness_assert_answer(harness_ask(b, MQ_UNREGISTER_CLIENT, "clientID", "b", "producerGroup", "pg3",
					  "consumerGroup", "g3", NULL),
			      MQ_SUCCESS, NULL);
	assert_notice(a, "g3");
	harness_close(c);
	assert_notice(a, "g3");
	assert_string_equal(harness_body(harness_ask(a, MQ_GET_CONSUMER_LIST_BY_GROUP, "consumerGroup", "g3", NULL)),
			    "{\"consumerIdList\":[\"a\"]}");
	harness_close(b);
}

static void nonsense_is_refused_and_the_connection_stays(void **state)
{
	static const char *const bodies[] = { "", "{", "{}", "{\"clientID\":\"c\",\"consumerDataSet\":[{}]}" };
	struct harness_peer *p = *state;

	for (unsigned i = 0; i < N_ELEMENTS(bodies); i++) {
		const struct mq_command *answer = beat(p, bodies[i]);

		assert_int_equal(answer->code, MQ_SYSTEM_ERROR);
		assert_true(answer->remark.n > 0);
	}
	harness_assert_answer(beat(p, BEAT("c", "g4")), MQ_SUCCESS, NULL);
}

static void groups_without_members_have_apaches_texts(void **state)
{
	struct harness_peer *p = *state;

	harness_assert_answer(harness_ask(p, MQ_GET_CONSUMER_LIST_BY_GROUP, "consumerGroup", "nobody", NULL),
			      MQ_SYSTEM_ERROR, "no consumer for this group, nobody");
	harness_assert_answer(harness_ask(p, MQ_GET_CONSUMER_CONNECTION_LIST, "consumerGroup", "nobody", NULL),
			      MQ_CONSUMER_NOT_ONLINE, "the consumer group[nobody] not online");
	harness_assert_answer(harness_ask(p, MQ_GET_PRODUCER_CONNECTION_LIST, "producerGroup", "nobody", NULL),
			      MQ_SYSTEM_ERROR, "the producer group[nobody] not exist");
	harness_assert_answer(harness_ask(p, MQ_GET_CONSUMER_LIST_BY_GROUP, NULL), MQ_SYSTEM_ERROR,
			      "the custom field <consumerGroup> is null");
	harness_assert_answer(harness_ask(p, MQ_UNREGISTER_CLIENT, NULL), MQ_SUCCESS, NULL);
	harness_assert_answer(
		harness_ask(p, MQ_UNREGISTER_CLIENT, "clientID", "never", "consumerGroup", "nobody", NULL), MQ_SUCCESS,
		NULL);
}

static void connections_are_listed(void **state)
{
	struct harness_peer *p = *state;
	const char *body;

	harness_assert_answer(beat(p, BEAT("me", "g5")), MQ_SUCCESS, NULL);
	body = harness_body(harness_ask(p, MQ_GET_CONSUMER_CONNECTION_LIST, "consumerGroup", "g5", NULL));
	assert_int_equal(strncmp(body, "{\"connectionSet\":[{\"clientAddr\":\"127.0.0.1:", 43), 0);
	assert_non_null(strstr(
		body,
		"\"clientId\":\"me\",\"language\":\"JAVA\",\"version\":513}],\"consumeFromWhere\":\"CONSUME_FROM_FIRST_"
		"OFFSET\""
		",\"consumeType\":\"CONSUME_PASSIVELY\",\"messageModel\":\"CLUSTERING\",\"subscriptionTable\":{\"T\":{"
		"\"classFilterMode\":false,\"codeSet\":[],\"expressionType\":\"TAG\",\"subString\":\"*\","
		"\"subVersion\":1,"
		"\"tagsSet\":[],\"topic\":\"T\"}}}"));
	body = harness_body(harness_ask(p, MQ_GET_PRODUCER_CONNECTION_LIST, "producerGroup", "pg5", NULL));
	assert_non_null(strstr(body, "\"clientId\":\"me\",\"language\":\"JAVA\",\"version\":513}]}"));
}

static void a_heartbeat_creates_the_retry_topic(void **state)
{
	struct harness_peer *p = *state;

	harness_assert_answer(beat(p, BEAT("c", "g6")), MQ_SUCCESS, NULL);
	assert_string_equal(harness_body(harness_ask(p, MQ_GET_TOPIC_CONFIG, "topic", "%RETRY%g6", NULL)),
			    "{\"attributes\":{},\"order\":false,\"perm\":6,\"readQueueNums\":1,\"topicFilterType\":"
			    "\"SINGLE_TAG\",\"topicName\":"
			    "\"%RETRY%g6\",\"topicSysFlag\":0,\"writeQueueNums\":1}");
}

static void without_enable_property_filter_only_tags_pass_the_check(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	harness_assert_answer(ask_with_body(p, MQ_CHECK_CLIENT_CONFIG,
						    "{\"clientId\":\"c\",\"group\":\"g\",\"subscriptionData\":" SUB("T") "}"),
			      MQ_SUCCESS, NULL);
	harness_request(&cmd, MQ_CHECK_CLIENT_CONFIG, NULL);
	cmd.body = MQ_SLICE(
		"{\"subscriptionData\":{\"expressionType\":\"SQL92\",\"subString\":\"a > 1\",\"topic\":\"T\"}}");
	harness_assert_answer(harness_call(p, &cmd), MQ_SYSTEM_ERROR,
			      "The broker does not support consumer to filter message by SQL92");
	harness_request(&cmd, MQ_CHECK_CLIENT_CONFIG, NULL);
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
}

#define BEAT_OF(client, group, expression)                                                                   \
	"{\"clientID\":\"" client "\",\"consumerDataSet\":[{\"groupName\":\"" group                            \
	"\",\"consumeType\":\"CONSUME_PASSIVELY\",\"messageModel\":\"CLUSTERING\",\"subscriptionDataSet\":[" \
	"{\"topic\":\"T\",\"subString\":\"" expression "\",\"subVersion\":1}]}]}"

static unsigned count(const char *text, const char *part)
{
	unsigned n = 0;

	for (; (text = strstr(text, part)); text += strlen(part))
		n++;
	return n;
}

/* The last heartbeat wins, one line says who differs, and 203 shows what each has when it is asked to. */
static void members_that_differ_are_logged_once_and_shown(void **state)
{
	struct harness_peer *a = *state, *b = harness_connect_tcp(daemon_);
	const char *body;

	harness_assert_answer(beat(a, BEAT_OF("a", "g7", "x")), MQ_SUCCESS, NULL);
	assert_null(strstr(harness_log(daemon_), "members of consumer group g7"));
	harness_assert_answer(beat(b, BEAT_OF("b", "g7", "y || z")), MQ_SUCCESS, NULL);
	harness_assert_answer(beat(a, BEAT_OF("a", "g7", "x")), MQ_SUCCESS, NULL);
	harness_assert_answer(beat(b, BEAT_OF("b", "g7", "z || y")), MQ_SUCCESS, NULL);
	assert_int_equal(count(harness_log(daemon_), "members of consumer group g7"), 1);
	assert_non_null(strstr(harness_log(daemon_), "<4>members of consumer group g7 subscribe to different things, so each gets messages of "
						     "the other and misses its own: b (127.0.0.1:"));
	assert_non_null(strstr(harness_log(daemon_), "): T(y || z); a (127.0.0.1:"));
	assert_non_null(strstr(harness_log(daemon_), "): T(x)\n"));

	body = harness_body(harness_ask(a, MQ_GET_CONSUMER_CONNECTION_LIST, "consumerGroup", "g7", NULL));
	assert_null(strstr(body, "subscriptions")); /* as Apache's, unless asked */
	body = harness_body(
		harness_ask(a, MQ_GET_CONSUMER_CONNECTION_LIST, "consumerGroup", "g7", "memberSubscriptions", "true", NULL));
	assert_non_null(strstr(body, "\"clientId\":\"a\",\"language\":\"JAVA\",\"version\":513,\"subscriptions\":[{\"expressionType\":"
				     "\"TAG\",\"subString\":\"x\",\"topic\":\"T\"}]}"));
	assert_non_null(strstr(body, "\"subscriptions\":[{\"expressionType\":\"TAG\",\"subString\":\"y || z\",\"topic\":\"T\"}]}"));
	harness_close(b);
}

static void strict_subscription_can_be_switched_on_while_the_broker_runs(void **state)
{
	struct harness_peer *a = *state, *b = harness_connect_tcp(daemon_);
	FILE *config = fopen(daemon_->config, "w");
	const struct mq_command *answer;

	assert_non_null(config);
	fputs("strictSubscription=true\n", config);
	fclose(config);
	assert_int_equal(kill(daemon_->pid, SIGHUP), 0);
	harness_wait_notify(daemon_, "READY=1");

	harness_assert_answer(beat(a, BEAT_OF("a", "g8", "x")), MQ_SUCCESS, NULL);
	answer = beat(b, BEAT_OF("b", "g8", "y"));
	assert_int_equal(answer->code, MQ_ILLEGAL_OPERATION);
	assert_true(mq_slice_starts(answer->remark, MQ_SLICE("strictSubscription: client b must not join consumer group g8: it subscribes to "
							     "T(y), but its member a (127.0.0.1:")));
	assert_non_null(memmem(answer->remark.p, answer->remark.n, "Give all members of the group the same subscription", 51));
	assert_string_equal(harness_body(harness_ask(b, MQ_GET_CONSUMER_LIST_BY_GROUP, "consumerGroup", "g8", NULL)),
			    "{\"consumerIdList\":[\"a\"]}");
	harness_assert_answer(beat(b, BEAT_OF("b", "g8", "x")), MQ_SUCCESS, NULL);
	assert_null(strstr(harness_log(daemon_), "members of consumer group g8"));
	harness_close(b);

	assert_int_equal(truncate(daemon_->config, 0), 0);
	assert_int_equal(kill(daemon_->pid, SIGHUP), 0);
	harness_wait_notify(daemon_, "READY=1");
}

static void a_heartbeat_without_subscriptions_keeps_those_that_are_known(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;

	answer = beat(p, "{\"clientID\":\"c\",\"heartbeatFingerprint\":77,\"consumerDataSet\":[{\"groupName\":\"g9\",\"subscriptionDataSet\":"
			 "[" SUB("T") "]}]}");
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(answer, "IS_SUB_CHANGE"), "false");
	answer = beat(p, "{\"clientID\":\"c\",\"heartbeatFingerprint\":77,\"withoutSub\":true,\"consumerDataSet\":[{\"groupName\":\"g9\"}]}");
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(answer, "IS_SUB_CHANGE"), "false");
	assert_non_null(strstr(harness_body(harness_ask(p, MQ_GET_CONSUMER_CONNECTION_LIST, "consumerGroup", "g9", NULL)),
			       "\"subscriptionTable\":{\"T\":{"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_heartbeat_is_answered_as_apache_does),
		TEST(the_notice_precedes_the_answer),
		TEST(two_members_hear_of_each_other),
		TEST(nonsense_is_refused_and_the_connection_stays),
		TEST(groups_without_members_have_apaches_texts),
		TEST(connections_are_listed),
		TEST(a_heartbeat_creates_the_retry_topic),
		TEST(without_enable_property_filter_only_tags_pass_the_check),
		TEST(a_heartbeat_without_subscriptions_keeps_those_that_are_known),
		TEST(members_that_differ_are_logged_once_and_shown),
		TEST(strict_subscription_can_be_switched_on_while_the_broker_runs),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
