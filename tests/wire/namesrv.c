/* mq-namesrvd as its peers see it. */
#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "libmq/base/bytes.h"
#include "libmq/wire/codes.h"
#include "libmq/wire/record.h"
#include "tests/wire/harness.h"

/* One daemon for most tests, each of which uses names of its own; one connection per test. */
static struct harness_daemon *daemon_;

static int start_daemon(void **state)
{
	daemon_ = harness_start(HARNESS_NAMESRV, NULL);
	return 0;
}

static int stop_daemon(void **state)
{
	harness_stop(daemon_);
	daemon_ = harness_free(daemon_);
	return 0;
}

static int open_peer(void **state)
{
	*state = harness_connect(daemon_);
	return 0;
}

static int close_peer(void **state)
{
	*state = harness_close(*state);
	return 0;
}

/* --- registrations ------------------------------------------------------------------------------------------------- */

#define TOPIC(name, queues, perm)                                                                                              \
	"\"" name "\":{\"attributes\":{},\"order\":false,\"perm\":" #perm ",\"readQueueNums\":" #queues                        \
	",\"topicFilterType\":\"SINGLE_TAG\",\"topicName\":\"" name "\",\"topicSysFlag\":0,\"writeQueueNums\":" #queues "}"

#define BODY_OF(counter, topics)                                                                                               \
	"{\"filterServerList\":[],\"topicConfigSerializeWrapper\":{\"dataVersion\":{\"counter\":" #counter                     \
	",\"stateVersion\":0,\"timestamp\":7},\"topicConfigTable\":{" topics "}}}"

static const struct mq_command *register_broker(struct harness_peer *p, const char *cluster, const char *name, const char *id,
						const char *address, const char *body)
{
	struct mq_command cmd;

	harness_request(&cmd, MQ_REGISTER_BROKER, "brokerName", name, "brokerAddr", address, "clusterName", cluster, "haServerAddr",
			"10.9.9.9:10912", "brokerId", id, "enableActingMaster", "false", "compressed", "false", NULL);
	cmd.body = mq_slice_of(body);
	mq_command_add_i64(&cmd, "bodyCrc32", mq_body_crc(cmd.body));
	return harness_call(p, &cmd);
}

static void assert_no_route(const struct mq_command *answer, const char *topic)
{
	char remark[300];

	snprintf(remark, sizeof remark,
		 "No topic route info in name server for the topic: %s\n"
		 "See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.",
		 topic);
	harness_assert_answer(answer, MQ_TOPIC_NOT_EXIST, remark);
}

/* Asks again until there is no route: closing a connection and asking on another one are not ordered. */
static void wait_no_route(struct harness_peer *p, const char *topic)
{
	struct timespec now, until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += HARNESS_DEADLINE_MS / 1000;
	do {
		if (harness_ask(p, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", topic, NULL)->code == MQ_TOPIC_NOT_EXIST)
			return;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec < until.tv_sec);
	fail_msg("the route of %s stays", topic);
}

static void a_registered_topic_has_a_route_in_both_shapes(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_command cmd;

	answer = register_broker(p, "Cr", "broker-r", "0", "10.0.0.1:10911", BODY_OF(1, TOPIC("Rt", 4, 6) "," TOPIC("Ru", 1, 7)));
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_true(answer->has_fields);
	assert_int_equal(answer->n_fields, 0);
	assert_null(answer->body.p);

	answer = harness_ask(p, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Rt", NULL);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_int_equal(answer->version, MQ_VERSION);
	assert_string_equal(harness_body(answer),
			    "{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"10.0.0.1:10911\"},\"brokerName\":\"broker-r\",\"cluster\":\"Cr\","
			    "\"enableActingMaster\":false}],\"filterServerTable\":{},\"queueDatas\":[{\"brokerName\":\"broker-r\",\"perm\":6,"
			    "\"readQueueNums\":4,\"topicSysFlag\":0,\"writeQueueNums\":4}]}");

	harness_request(&cmd, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Ru", NULL);
	cmd.version = 400;
	assert_string_equal(harness_body(harness_call(p, &cmd)),
			    "{\"brokerDatas\":[{\"brokerAddrs\":{0:\"10.0.0.1:10911\"},\"brokerName\":\"broker-r\",\"cluster\":\"Cr\","
			    "\"enableActingMaster\":false}],\"filterServerTable\":{},\"queueDatas\":[{\"brokerName\":\"broker-r\",\"perm\":7,"
			    "\"readQueueNums\":1,\"topicSysFlag\":0,\"writeQueueNums\":1}]}");
	mq_command_add(&cmd, "acceptStandardJsonOnly", MQ_SLICE("true"));
	assert_non_null(strstr(harness_body(harness_call(p, &cmd)), "{\"0\":"));
}

static void a_topic_without_broker_has_no_route(void **state)
{
	assert_no_route(harness_ask(*state, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Nowhere", NULL), "Nowhere");
	assert_no_route(harness_ask(*state, MQ_GET_ROUTEINFO_BY_TOPIC, NULL), "null");
}

static void a_damaged_body_is_refused(void **state)
{
	struct mq_command cmd;

	harness_request(&cmd, MQ_REGISTER_BROKER, "brokerName", "broker-d", "brokerAddr", "a:1", "clusterName", "Cd", "haServerAddr", "",
			"brokerId", "0", "bodyCrc32", "1", NULL);
	cmd.body = MQ_SLICE(BODY_OF(1, TOPIC("Da", 1, 6) "," TOPIC("Db", 1, 6)));
	harness_assert_answer(harness_call(*state, &cmd), MQ_SYSTEM_ERROR, "crc32 not match");
	/* As upstream's: the answer's header class shows even without values. */
	assert_true(((struct harness_peer *)*state)->answer->cmd.has_fields);

	harness_request(&cmd, MQ_REGISTER_BROKER, "brokerName", "broker-d", "brokerAddr", "a:1", "clusterName", "Cd", "brokerId", "0",
			NULL);
	cmd.body = MQ_SLICE("{\"topicConfig");
	assert_int_equal(harness_call(*state, &cmd)->code, MQ_SYSTEM_ERROR);
}

static void a_missing_field_is_named(void **state)
{
	harness_assert_answer(harness_ask(*state, MQ_REGISTER_BROKER, "brokerName", "b", NULL), MQ_SYSTEM_ERROR,
			      "the custom field <brokerAddr> is null");
	harness_assert_answer(harness_ask(*state, MQ_UNREGISTER_BROKER, "brokerName", "b", "brokerAddr", "a", NULL), MQ_SYSTEM_ERROR,
			      "the custom field <clusterName> is null");
	harness_assert_answer(harness_ask(*state, MQ_WIPE_WRITE_PERM_OF_BROKER, NULL), MQ_SYSTEM_ERROR,
			      "the custom field <brokerName> is null");
	harness_assert_answer(harness_ask(*state, MQ_DELETE_TOPIC_IN_NAMESRV, NULL), MQ_SYSTEM_ERROR,
			      "the custom field <topic> is null");
	harness_assert_answer(harness_ask(*state, MQ_GET_TOPICS_BY_CLUSTER, NULL), MQ_SYSTEM_ERROR,
			      "the custom field <cluster> is null");
}

static void a_first_registration_with_one_topic_is_refused(void **state)
{
	harness_assert_answer(register_broker(*state, "Cf", "broker-f", "0", "10.0.0.5:1", BODY_OF(1, TOPIC("Fa", 1, 6))), MQ_SYSTEM_ERROR,
			      "register broker failed");
	assert_no_route(harness_ask(*state, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Fa", NULL), "Fa");
	/* Once it is known, one topic is how changes are told. */
	harness_assert_answer(register_broker(*state, "Cf", "broker-f", "0", "10.0.0.5:1", BODY_OF(1, "")), MQ_SUCCESS, NULL);
	harness_assert_answer(register_broker(*state, "Cf", "broker-f", "0", "10.0.0.5:1", BODY_OF(2, TOPIC("Fa", 1, 6))), MQ_SUCCESS,
			      NULL);
	assert_int_equal(harness_ask(*state, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Fa", NULL)->code, MQ_SUCCESS);
}

static void put_block(struct evbuffer *out, const char *text)
{
	char length[4];

	mq_put32(length, (uint32_t)strlen(text));
	evbuffer_add(out, length, sizeof length);
	evbuffer_add(out, text, strlen(text));
}

static void a_compressed_registration_is_read(void **state)
{
	struct evbuffer *plain = evbuffer_new();
	char packed[1024], count[4];
	uLongf n = sizeof packed;
	struct mq_command cmd;

	put_block(plain, "{\"counter\":3,\"timestamp\":9}");
	mq_put32(count, 2);
	evbuffer_add(plain, count, sizeof count);
	put_block(plain, "Za 3 2 6 SINGLE_TAG {\"+message.type\":\"FIFO\"}");
	put_block(plain, "Zb 1 1 4 SINGLE_TAG");
	put_block(plain, "[]");
	assert_int_equal(compress2((Bytef *)packed, &n, evbuffer_pullup(plain, -1), evbuffer_get_length(plain), 9), Z_OK);
	evbuffer_free(plain);

	harness_request(&cmd, MQ_REGISTER_BROKER, "brokerName", "broker-z", "brokerAddr", "10.0.0.6:1", "clusterName", "Cz",
			"haServerAddr", "", "brokerId", "0", "compressed", "true", NULL);
	cmd.body = (struct mq_slice){ packed, n };
	mq_command_add_i64(&cmd, "bodyCrc32", mq_body_crc(cmd.body));
	harness_assert_answer(harness_call(*state, &cmd), MQ_SUCCESS, NULL);
	assert_non_null(strstr(harness_body(harness_ask(*state, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Za", NULL)),
			       "\"perm\":6,\"readQueueNums\":3,\"topicSysFlag\":0,\"writeQueueNums\":2"));

	/* Cut short. */
	harness_request(&cmd, MQ_REGISTER_BROKER, "brokerName", "broker-z", "brokerAddr", "10.0.0.6:1", "clusterName", "Cz", "brokerId",
			"0", "compressed", "true", NULL);
	cmd.body = (struct mq_slice){ packed, n - 8 };
	harness_assert_answer(harness_call(*state, &cmd), MQ_SYSTEM_ERROR, "the compressed body is damaged");
}

static void a_body_that_inflates_without_end_is_refused(void **state)
{
	uLongf n = compressBound(64 << 20);
	char *zeros = calloc(64 << 20, 1), *packed = malloc(n);
	struct mq_command cmd;

	assert_non_null(zeros);
	assert_non_null(packed);
	assert_int_equal(compress2((Bytef *)packed, &n, (Bytef *)zeros, 64 << 20, 1), Z_OK);
	harness_request(&cmd, MQ_REGISTER_BROKER, "brokerName", "broker-z", "brokerAddr", "10.0.0.6:1", "clusterName", "Cz", "brokerId",
			"0", "compressed", "true", NULL);
	cmd.body = (struct mq_slice){ packed, n };
	harness_assert_answer(harness_call(*state, &cmd), MQ_SYSTEM_ERROR, "the compressed body has more than 33554432 bytes inside");
	free(zeros);
	free(packed);
}

static void a_slave_is_told_its_master(void **state)
{
	const struct mq_command *answer;

	register_broker(*state, "Cs", "broker-s", "0", "10.0.0.7:1", BODY_OF(1, TOPIC("Sa", 2, 6) "," TOPIC("Sb", 2, 6)));
	answer = register_broker(*state, "Cs", "broker-s", "1", "10.0.0.7:2", BODY_OF(1, TOPIC("Sa", 2, 6) "," TOPIC("Sb", 2, 6)));
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(answer, "masterAddr"), "10.0.0.7:1");
	assert_string_equal(harness_field(answer, "haServerAddr"), "10.9.9.9:10912");
	assert_non_null(strstr(harness_body(harness_ask(*state, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Sa", NULL)),
			       "{\"0\":\"10.0.0.7:1\",\"1\":\"10.0.0.7:2\"}"));
}

static void routes_go_when_the_brokers_connection_closes(void **state)
{
	struct harness_peer *broker = harness_connect_tcp(daemon_);

	register_broker(broker, "Cc", "broker-c", "0", "10.0.0.8:1", BODY_OF(1, TOPIC("Ca", 2, 6) "," TOPIC("Cb", 2, 6)));
	assert_int_equal(harness_ask(*state, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Ca", NULL)->code, MQ_SUCCESS);
	harness_close(broker);
	wait_no_route(*state, "Ca");
	assert_null(strstr(harness_body(harness_ask(*state, MQ_GET_BROKER_CLUSTER_INFO, NULL)), "broker-c"));
}

static void a_broker_says_goodbye(void **state)
{
	register_broker(*state, "Cg", "broker-g", "0", "10.0.0.9:1", BODY_OF(1, TOPIC("Ga", 2, 6) "," TOPIC("Gb", 2, 6)));
	harness_assert_answer(harness_ask(*state, MQ_UNREGISTER_BROKER, "brokerName", "broker-g", "brokerAddr", "10.0.0.9:1", "clusterName",
					  "Cg", "brokerId", "0", NULL),
			      MQ_SUCCESS, NULL);
	assert_no_route(harness_ask(*state, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Ga", NULL), "Ga");
}

static void local_sockets_are_told_to_those_who_ask(void **state)
{
	struct mq_command cmd;
	const char *body;

	harness_request(&cmd, MQ_REGISTER_BROKER, "brokerName", "broker-l", "brokerAddr", "10.0.0.10:1", "clusterName", "Cl",
			"haServerAddr", "", "brokerId", "0", "localSocket", "/run/b.sock", "bootId", "boot-1", NULL);
	cmd.body = MQ_SLICE(BODY_OF(1, TOPIC("La", 2, 6) "," TOPIC("Lb", 2, 6)));
	harness_assert_answer(harness_call(*state, &cmd), MQ_SUCCESS, NULL);

	body = harness_body(harness_ask(*state, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "La", NULL));
	assert_null(strstr(body, "ocalSocket"));
	assert_null(strstr(body, "bootId"));
	body = harness_body(harness_ask(*state, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "La", "localSocket", "true", NULL));
	assert_non_null(strstr(body, "{\"bootId\":\"boot-1\",\"brokerAddrs\":{\"0\":\"10.0.0.10:1\"},"));
	assert_non_null(strstr(body, "\"localSockets\":{\"0\":\"/run/b.sock\"}"));
}

static void the_zone_filter_leaves_other_zones_out(void **state)
{
	struct mq_command cmd;
	const char *body;

	harness_request(&cmd, MQ_REGISTER_BROKER, "brokerName", "broker-x1", "brokerAddr", "10.0.1.1:1", "clusterName", "Cx",
			"haServerAddr", "", "brokerId", "0", "__ZONE_NAME", "East", NULL);
	cmd.body = MQ_SLICE(BODY_OF(1, TOPIC("Xa", 2, 6) "," TOPIC("Xb", 2, 6)));
	harness_assert_answer(harness_call(*state, &cmd), MQ_SUCCESS, NULL);
	harness_request(&cmd, MQ_REGISTER_BROKER, "brokerName", "broker-x2", "brokerAddr", "10.0.1.2:1", "clusterName", "Cx",
			"haServerAddr", "", "brokerId", "0", "__ZONE_NAME", "West", NULL);
	cmd.body = MQ_SLICE(BODY_OF(1, TOPIC("Xa", 2, 6) "," TOPIC("Xb", 2, 6)));
	harness_assert_answer(harness_call(*state, &cmd), MQ_SUCCESS, NULL);

	body = harness_body(harness_ask(*state, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Xa", "__ZONE_MODE", "true", "__ZONE_NAME", "east", NULL));
	assert_string_equal(body, "{\"brokerDatas\":[{\"brokerAddrs\":{0:\"10.0.1.1:1\"},\"brokerName\":\"broker-x1\",\"cluster\":\"Cx\","
				  "\"enableActingMaster\":false,\"zoneName\":\"East\"}],\"filterServerTable\":{},\"queueDatas\":[{"
				  "\"brokerName\":\"broker-x1\",\"perm\":6,\"readQueueNums\":2,\"topicSysFlag\":0,\"writeQueueNums\":2}]}");
}

/* --- topics and clusters ------------------------------------------------------------------------------------------- */

static void topics_are_listed_and_deleted(void **state)
{
	struct harness_peer *p = *state;

	register_broker(p, "Ct1", "broker-t1", "0", "10.0.2.1:1", BODY_OF(1, TOPIC("Ta", 2, 6) "," TOPIC("Tb", 2, 6)));
	register_broker(p, "Ct2", "broker-t2", "0", "10.0.2.2:1", BODY_OF(1, TOPIC("Ta", 2, 6) "," TOPIC("Tc", 2, 6)));
	assert_string_equal(harness_body(harness_ask(p, MQ_GET_TOPICS_BY_CLUSTER, "cluster", "Ct1", NULL)), "{\"topicList\":[\"Ta\",\"Tb\"]}");
	assert_string_equal(harness_body(harness_ask(p, MQ_GET_TOPICS_BY_CLUSTER, "cluster", "none", NULL)), "{\"topicList\":[]}");
	assert_non_null(strstr(harness_body(harness_ask(p, MQ_GET_ALL_TOPIC_LIST_FROM_NAMESERVER, NULL)), "\"Ta\",\"Tb\",\"Tc\""));
	assert_non_null(strstr(harness_body(harness_ask(p, MQ_GET_SYSTEM_TOPIC_LIST_FROM_NS, NULL)), "\"broker-t1\",\"broker-t2\""));
	assert_string_equal(harness_body(harness_ask(p, MQ_GET_UNIT_TOPIC_LIST, NULL)), "{\"topicList\":[]}");

	harness_assert_answer(harness_ask(p, MQ_DELETE_TOPIC_IN_NAMESRV, "topic", "Ta", "clusterName", "Ct1", NULL), MQ_SUCCESS, NULL);
	assert_null(strstr(harness_body(harness_ask(p, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Ta", NULL)), "broker-t1"));
	harness_assert_answer(harness_ask(p, MQ_DELETE_TOPIC_IN_NAMESRV, "topic", "Ta", NULL), MQ_SUCCESS, NULL);
	assert_no_route(harness_ask(p, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Ta", NULL), "Ta");
	harness_assert_answer(harness_ask(p, MQ_DELETE_TOPIC_IN_NAMESRV, "topic", "Ta", NULL), MQ_SUCCESS, NULL);
}

static void a_topic_is_registered_alone(void **state)
{
	struct mq_command cmd;

	register_broker(*state, "Ca", "broker-a1", "0", "10.0.3.1:1", BODY_OF(1, ""));
	harness_request(&cmd, MQ_REGISTER_TOPIC_IN_NAMESRV, "topic", "Alone", NULL);
	cmd.body = MQ_SLICE("{\"queueDatas\":[{\"brokerName\":\"broker-a1\",\"perm\":6,\"readQueueNums\":3,\"writeQueueNums\":3}]}");
	harness_assert_answer(harness_call(*state, &cmd), MQ_SUCCESS, NULL);
	assert_int_equal(harness_ask(*state, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Alone", NULL)->code, MQ_SUCCESS);

	harness_request(&cmd, MQ_REGISTER_TOPIC_IN_NAMESRV, "topic", "Other", NULL);
	cmd.body = MQ_SLICE("{\"queueDatas\":[{\"brokerName\":\"nobody\",\"perm\":6,\"readQueueNums\":3,\"writeQueueNums\":3}]}");
	harness_assert_answer(harness_call(*state, &cmd), MQ_SUCCESS, NULL);
	assert_no_route(harness_ask(*state, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Other", NULL), "Other");
}

static void write_permission_is_wiped_and_added(void **state)
{
	struct harness_peer *p = *state;

	register_broker(p, "Cw", "broker-w", "0", "10.0.4.1:1", BODY_OF(1, TOPIC("Wa", 2, 7) "," TOPIC("Wb", 2, 6)));
	assert_string_equal(harness_field(harness_ask(p, MQ_WIPE_WRITE_PERM_OF_BROKER, "brokerName", "broker-w", NULL), "wipeTopicCount"),
			    "2");
	assert_non_null(strstr(harness_body(harness_ask(p, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Wa", NULL)), "\"perm\":5"));
	/* A registration that says the same again changes nothing. */
	register_broker(p, "Cw", "broker-w", "0", "10.0.4.1:1", BODY_OF(1, TOPIC("Wa", 2, 7) "," TOPIC("Wb", 2, 6)));
	assert_non_null(strstr(harness_body(harness_ask(p, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Wa", NULL)), "\"perm\":5"));
	assert_string_equal(harness_field(harness_ask(p, MQ_ADD_WRITE_PERM_OF_BROKER, "brokerName", "broker-w", NULL), "addTopicCount"), "2");
	assert_non_null(strstr(harness_body(harness_ask(p, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Wa", NULL)), "\"perm\":6"));
	assert_string_equal(harness_field(harness_ask(p, MQ_WIPE_WRITE_PERM_OF_BROKER, "brokerName", "nobody", NULL), "wipeTopicCount"), "0");
}

static void clusters_and_groups_are_shown(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;

	register_broker(p, "Ci", "broker-i", "0", "10.0.5.1:1", BODY_OF(1, TOPIC("Ia", 2, 7) "," TOPIC("Ib", 2, 6)));
	answer = harness_ask(p, MQ_GET_BROKER_CLUSTER_INFO, NULL);
	assert_non_null(strstr(harness_body(answer), "\"broker-i\":{\"brokerAddrs\":{0:\"10.0.5.1:1\"},\"brokerName\":\"broker-i\","
						     "\"cluster\":\"Ci\",\"enableActingMaster\":false}"));
	assert_non_null(strstr(harness_body(answer), "\"Ci\":[\"broker-i\"]"));
	answer = harness_ask(p, MQ_GET_BROKER_MEMBER_GROUP, "clusterName", "Ci", "brokerName", "broker-i", NULL);
	harness_assert_answer(answer, MQ_SUCCESS, "not set any response code");
	assert_string_equal(harness_body(answer), "{\"brokerMemberGroup\":{\"brokerAddrs\":{0:\"10.0.5.1:1\"},\"brokerName\":\"broker-i\","
						  "\"cluster\":\"Ci\"}}");
	answer = harness_ask(p, MQ_GET_BROKER_MEMBER_GROUP, "clusterName", "Ci", "brokerName", "none", NULL);
	assert_string_equal(harness_body(answer), "{\"brokerMemberGroup\":{\"brokerAddrs\":{},\"brokerName\":\"none\",\"cluster\":\"Ci\"}}");
}

static void data_versions_are_compared(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_command cmd;

	harness_request(&cmd, MQ_QUERY_DATA_VERSION, "brokerName", "broker-v", "brokerAddr", "10.0.6.1:1", "clusterName", "Cv", "brokerId",
			"0", NULL);
	cmd.body = MQ_SLICE("{\"counter\":1,\"stateVersion\":0,\"timestamp\":7}");
	answer = harness_call(p, &cmd);
	assert_string_equal(harness_field(answer, "changed"), "true");
	assert_null(answer->body.p);
	register_broker(p, "Cv", "broker-v", "0", "10.0.6.1:1", BODY_OF(1, TOPIC("Va", 2, 7) "," TOPIC("Vb", 2, 6)));
	answer = harness_call(p, &cmd);
	assert_string_equal(harness_field(answer, "changed"), "false");
	assert_string_equal(harness_body(answer), "{\"counter\":1,\"stateVersion\":0,\"timestamp\":7}");
	cmd.body = MQ_SLICE("{\"counter\":2,\"stateVersion\":0,\"timestamp\":7}");
	assert_string_equal(harness_field(harness_call(p, &cmd), "changed"), "true");
	harness_assert_answer(harness_ask(p, MQ_BROKER_HEARTBEAT, "clusterName", "Cv", "brokerAddr", "10.0.6.1:1", "brokerName", "broker-v",
					  NULL),
			      MQ_SUCCESS, NULL);
}

/* --- key-value table and configuration ----------------------------------------------------------------------------- */

static void pairs_are_put_read_and_deleted(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;

	harness_assert_answer(harness_ask(p, MQ_GET_KV_CONFIG, "namespace", "n", "key", "k", NULL), MQ_QUERY_NOT_FOUND,
			      "No config item, Namespace: n Key: k");
	harness_assert_answer(harness_ask(p, MQ_GET_KVLIST_BY_NAMESPACE, "namespace", "n", NULL), MQ_QUERY_NOT_FOUND,
			      "No config item, Namespace: n");
	harness_assert_answer(harness_ask(p, MQ_PUT_KV_CONFIG, "namespace", "n", "value", "v", NULL), MQ_SYSTEM_ERROR,
			      "namespace or key is null");
	harness_assert_answer(harness_ask(p, MQ_PUT_KV_CONFIG, "namespace", "n", "key", "k", "value", "v", NULL), MQ_SUCCESS, NULL);
	answer = harness_ask(p, MQ_GET_KV_CONFIG, "namespace", "n", "key", "k", NULL);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(answer, "value"), "v");
	assert_string_equal(harness_body(harness_ask(p, MQ_GET_KVLIST_BY_NAMESPACE, "namespace", "n", NULL)), "{\"table\":{\"k\":\"v\"}}");
	harness_assert_answer(harness_ask(p, MQ_DELETE_KV_CONFIG, "namespace", "n", "key", "k", NULL), MQ_SUCCESS, NULL);
	harness_assert_answer(harness_ask(p, MQ_DELETE_KV_CONFIG, "namespace", "n", "key", "k", NULL), MQ_SUCCESS, NULL);
	harness_assert_answer(harness_ask(p, MQ_GET_KV_CONFIG, "namespace", "n", "key", "k", NULL), MQ_QUERY_NOT_FOUND,
			      "No config item, Namespace: n Key: k");
}

static void harmless_keys_change_at_run_time(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	register_broker(p, "Ck", "broker-k", "0", "10.0.7.1:1", BODY_OF(1, TOPIC("Ka", 2, 7) "," TOPIC("Kb", 2, 6)));
	harness_ask(p, MQ_PUT_KV_CONFIG, "namespace", "ORDER_TOPIC_CONFIG", "key", "Ka", "value", "broker-k:2", NULL);
	harness_request(&cmd, MQ_UPDATE_NAMESRV_CONFIG, NULL);
	cmd.body = MQ_SLICE("orderMessageEnable=true\nnobodyKnowsThis=1\n");
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	assert_non_null(strstr(harness_body(harness_ask(p, MQ_GET_NAMESRV_CONFIG, NULL)), "\norderMessageEnable=true\n"));
	assert_non_null(strstr(harness_body(harness_ask(p, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "Ka", NULL)),
			       "\"orderTopicConf\":\"broker-k:2\""));
	/* Registrations are answered with the ordered topics. */
	assert_string_equal(harness_body(register_broker(p, "Ck", "broker-k", "0", "10.0.7.1:1", BODY_OF(2, TOPIC("Ka", 2, 7)))),
			    "{\"table\":{\"Ka\":\"broker-k:2\"}}");

	cmd.body = MQ_SLICE("kvConfigPath=/etc/passwd\n");
	harness_assert_answer(harness_call(p, &cmd), MQ_NO_PERMISSION, "Can not update config in black list.");
	cmd.body = MQ_SLICE("listenPort=1\n");
	harness_assert_answer(harness_call(p, &cmd), MQ_NO_PERMISSION,
			      "listenPort can only be changed in the configuration file, followed by a restart");
	cmd.body = MQ_SLICE("orderMessageEnable=perhaps\n");
	harness_assert_answer(harness_call(p, &cmd), MQ_SYSTEM_ERROR, "orderMessageEnable: 'perhaps' is neither true nor false");
	cmd.body = MQ_SLICE("a=\\u00\n");
	harness_assert_answer(harness_call(p, &cmd), MQ_SYSTEM_ERROR, "string2Properties error");

	cmd.body = MQ_SLICE("enableAllTopicList=false\nenableTopicList=false\n");
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	harness_assert_answer(harness_ask(p, MQ_GET_ALL_TOPIC_LIST_FROM_NAMESERVER, NULL), MQ_SYSTEM_ERROR, "disable");
	harness_assert_answer(harness_ask(p, MQ_GET_TOPICS_BY_CLUSTER, "cluster", "Ck", NULL), MQ_SYSTEM_ERROR, "disable");
	cmd.body = MQ_SLICE("enableAllTopicList=true\nenableTopicList=true\norderMessageEnable=false\n");
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	harness_ask(p, MQ_DELETE_KV_CONFIG, "namespace", "ORDER_TOPIC_CONFIG", "key", "Ka", NULL);
}

/* --- protocol ------------------------------------------------------------------------------------------------------ */

static void unknown_codes_are_answered_with_3(void **state)
{
	harness_assert_answer(harness_ask(*state, 9999, NULL), MQ_REQUEST_CODE_NOT_SUPPORTED, " request type 9999 not supported");
}

static void one_way_requests_are_not_answered(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	harness_request(&cmd, MQ_GET_BROKER_CLUSTER_INFO, NULL);
	cmd.flag = MQ_FLAG_ONEWAY;
	harness_send(p, &cmd);
	harness_request(&cmd, 9999, NULL);
	cmd.flag = MQ_FLAG_ONEWAY;
	harness_send(p, &cmd);
	harness_ask(p, MQ_GET_BROKER_CLUSTER_INFO, NULL);
	assert_true(STAILQ_EMPTY(&p->kept));
}

static void the_answer_has_the_codec_of_the_request(void **state)
{
	struct mq_command cmd;
	const struct mq_command *answer;

	harness_request(&cmd, MQ_GET_KV_CONFIG, "namespace", "n", "key", "absent", NULL);
	cmd.codec = MQ_CODEC_BINARY;
	answer = harness_call(*state, &cmd);
	assert_int_equal(answer->codec, MQ_CODEC_BINARY);
	harness_assert_answer(answer, MQ_QUERY_NOT_FOUND, "No config item, Namespace: n Key: absent");
}

static void malformed_frames_close_the_connection(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} frames[] = {
#define FRAME(literal) { literal, sizeof(literal) - 1 }
		FRAME("\x7f\xff\xff\xff\0\0\0\2{}"),        /* claims 2 GiB */
		FRAME("\0\0\0\2\0\0\0\0"),                  /* shorter than its own prefix */
		FRAME("\0\0\0\6\0\0\0\x40{}"),              /* header longer than the frame */
		FRAME("\0\0\0\6\7\0\0\2{}"),                /* unknown codec */
		FRAME("\0\0\0\6\0\0\0\2[}"),                /* no JSON */
		FRAME("\0\0\0\6\1\0\0\2{}"),                /* binary header cut short */
		FRAME("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), /* another protocol */
#undef FRAME
	};

	for (unsigned i = 0; i < N_ELEMENTS(frames); i++) {
		struct harness_peer *p = harness_connect_tcp(daemon_);

		assert_true(harness_send_raw(p, frames[i].bytes, frames[i].n));
		harness_wait_closed(p);
		harness_close(p);
	}
	/* Everybody else is served. */
	assert_int_equal(harness_ask(*state, MQ_GET_BROKER_CLUSTER_INFO, NULL)->code, MQ_SUCCESS);
}

static long resident_kib(pid_t pid)
{
	char path[64], line[256];
	long kib = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "VmRSS: %ld", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

static void garbage_does_no_harm(void **state)
{
	long before = resident_kib(daemon_->pid);
	unsigned seed = 1;

	for (int i = 0; i < 1000; i++) {
		struct harness_peer *p = i % 2 ? harness_connect(daemon_) : harness_connect_tcp(daemon_);
		char bytes[512];
		size_t n = sizeof bytes;

		for (size_t j = 0; j < n; j++)
			bytes[j] = (char)rand_r(&seed);
		/* Every other one has a plausible prefix, so that the noise reaches the header and the body. */
		if (i % 4 < 2) {
			mq_put32(bytes, (uint32_t)n - 4);
			mq_put32(bytes + 4, (uint32_t)(i % 4) << 24 | 100);
		}
		if (i % 8 == 0)
			memcpy(bytes + 8, "{\"code\":103,\"extFields\":{\"a\":", 29);
		(void)harness_send_raw(p, bytes, n); /* it may be closed already */
		harness_close(p);
	}
	assert_int_equal(harness_ask(*state, MQ_GET_BROKER_CLUSTER_INFO, NULL)->code, MQ_SUCCESS);
	assert_true(resident_kib(daemon_->pid) < before + 16384);
}

/* --- life ---------------------------------------------------------------------------------------------------------- */

static void the_key_value_table_survives_a_kill(void **state)
{
	struct harness_daemon *d = harness_start(HARNESS_NAMESRV, NULL);
	struct harness_peer *p = harness_connect(d);

	harness_assert_answer(harness_ask(p, MQ_PUT_KV_CONFIG, "namespace", "ORDER_TOPIC_CONFIG", "key", "T\n\"1", "value", "a:4;b:4", NULL),
			      MQ_SUCCESS, NULL);
	p = harness_close(p);
	harness_kill(d);
	harness_restart(d);
	p = harness_connect(d);
	assert_string_equal(harness_field(harness_ask(p, MQ_GET_KV_CONFIG, "namespace", "ORDER_TOPIC_CONFIG", "key", "T\n\"1", NULL), "value"),
			    "a:4;b:4");
	p = harness_close(p);
	harness_stop(d);
	harness_free(d);
}

static void a_silent_broker_is_forgotten(void **state)
{
	static const char *const sets[] = { "scanNotActiveBrokerInterval=20ms", NULL };
	struct harness_daemon *d = harness_start(HARNESS_NAMESRV, sets);
	struct harness_peer *broker = harness_connect(d), *p = harness_connect(d);
	struct mq_command cmd;

	harness_request(&cmd, MQ_REGISTER_BROKER, "brokerName", "b", "brokerAddr", "10.1.0.1:1", "clusterName", "C", "haServerAddr", "",
			"brokerId", "0", "heartbeatTimeoutMillis", "100", NULL);
	cmd.body = MQ_SLICE(BODY_OF(1, TOPIC("A", 2, 6) "," TOPIC("B", 2, 6)));
	harness_assert_answer(harness_call(broker, &cmd), MQ_SUCCESS, NULL);
	harness_wait_closed(broker);
	wait_no_route(p, "A");
	harness_close(broker);
	harness_close(p);
	harness_stop(d);
	harness_free(d);
}

static void brokers_are_told_of_a_new_smallest_id(void **state)
{
	static const char *const sets[] = { "notifyMinBrokerIdChanged=true", "supportActingMaster=true", NULL };
	static const char body[] = BODY_OF(1, TOPIC("A", 2, 6) "," TOPIC("B", 2, 6));
	struct harness_daemon *d = harness_start(HARNESS_NAMESRV, sets);
	struct harness_peer *peers[2] = { harness_connect(d), harness_connect(d) };
	struct harness_frame *f;
	struct mq_command cmd;
	const char *text;

	for (unsigned id = 0; id < 2; id++) {
		harness_request(&cmd, MQ_REGISTER_BROKER, "brokerName", "b", "brokerAddr", id ? "10.1.0.1:2" : "10.1.0.1:1", "clusterName",
				"C", "haServerAddr", id ? "ha:2" : "ha:1", "brokerId", id ? "1" : "0", "enableActingMaster", "true", NULL);
		cmd.body = mq_slice_of(body);
		harness_assert_answer(harness_call(peers[id], &cmd), MQ_SUCCESS, NULL);
	}
	/* The master goes: the slave is told, and shown as a read-only master. */
	peers[0] = harness_close(peers[0]);
	f = harness_receive(peers[1], MQ_NOTIFY_MIN_BROKER_ID_CHANGE);
	assert_true(f->cmd.flag & MQ_FLAG_ONEWAY);
	assert_string_equal(harness_field(&f->cmd, "minBrokerId"), "1");
	assert_string_equal(harness_field(&f->cmd, "brokerName"), "b");
	assert_string_equal(harness_field(&f->cmd, "minBrokerAddr"), "10.1.0.1:2");
	assert_string_equal(harness_field(&f->cmd, "offlineBrokerAddr"), "10.1.0.1:1");
	harness_frame_free(f);
	text = harness_body(harness_ask(peers[1], MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "A", NULL));
	assert_non_null(strstr(text, "\"brokerAddrs\":{\"0\":\"10.1.0.1:2\"}"));
	assert_non_null(strstr(text, "\"perm\":4"));

	/* It comes back: the slave is told again. */
	peers[0] = harness_connect(d);
	harness_request(&cmd, MQ_REGISTER_BROKER, "brokerName", "b", "brokerAddr", "10.1.0.1:1", "clusterName", "C", "haServerAddr", "ha:1",
			"brokerId", "0", "enableActingMaster", "true", NULL);
	cmd.body = mq_slice_of(body);
	harness_assert_answer(harness_call(peers[0], &cmd), MQ_SUCCESS, NULL);
	f = harness_receive(peers[1], MQ_NOTIFY_MIN_BROKER_ID_CHANGE);
	assert_string_equal(harness_field(&f->cmd, "minBrokerId"), "0");
	assert_string_equal(harness_field(&f->cmd, "haBrokerAddr"), "ha:1");
	assert_string_equal(harness_field(&f->cmd, "offlineBrokerAddr"), "");
	harness_frame_free(f);
	harness_close(peers[0]);
	harness_close(peers[1]);
	harness_stop(d);
	harness_free(d);
}

static void routes_wait_for_brokers_when_told_so(void **state)
{
	static const char *const sets[] = { "needWaitForService=true", NULL };
	struct harness_daemon *d = harness_start(HARNESS_NAMESRV, sets);
	struct harness_peer *p = harness_connect(d);

	harness_assert_answer(harness_ask(p, MQ_GET_ROUTEINFO_BY_TOPIC, "topic", "A", NULL), MQ_SYSTEM_ERROR, "name server not ready");
	harness_close(p);
	harness_stop(d);
	harness_free(d);
}

static void reload(struct harness_daemon *d, const char *text)
{
	FILE *f = fopen(d->config, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	kill(d->pid, SIGHUP);
	harness_wait_notify(d, "RELOADING=1");
	harness_wait_notify(d, "READY=1");
}

static void a_reload_takes_over_live_keys(void **state)
{
	struct harness_daemon *d = harness_start(HARNESS_NAMESRV, NULL);
	struct harness_peer *p = harness_connect(d);

	reload(d, "enableAllTopicList=false\nscanNotActiveBrokerInterval=7000\n");
	harness_assert_answer(harness_ask(p, MQ_GET_ALL_TOPIC_LIST_FROM_NAMESERVER, NULL), MQ_SYSTEM_ERROR, "disable");
	assert_non_null(strstr(harness_body(harness_ask(p, MQ_GET_NAMESRV_CONFIG, NULL)), "\nscanNotActiveBrokerInterval=5000\n"));
	/* What is wrong changes nothing. */
	reload(d, "enableAllTopicList=true\nenableTopicLst=true\n");
	harness_assert_answer(harness_ask(p, MQ_GET_ALL_TOPIC_LIST_FROM_NAMESERVER, NULL), MQ_SYSTEM_ERROR, "disable");
	reload(d, "enableAllTopicList=true\n");
	assert_int_equal(harness_ask(p, MQ_GET_ALL_TOPIC_LIST_FROM_NAMESERVER, NULL)->code, MQ_SUCCESS);
	harness_close(p);
	harness_stop(d);
	harness_free(d);
}

static void a_term_signal_stops(void **state)
{
	struct harness_daemon *d = harness_start(HARNESS_NAMESRV, NULL);
	char expected[256];

	snprintf(expected, sizeof expected, "Listening on %s, unix:%s", d->address, d->local);
	assert_string_equal(d->status, expected);
	kill(d->pid, SIGTERM);
	harness_wait_notify(d, "STOPPING=1");
	assert_int_equal(harness_wait(d), 0);
	assert_int_equal(access(d->local, F_OK), -1);
	harness_free(d);
}

static void wrong_configuration_ends_with_78_and_a_sentence(void **state)
{
	const char *unknown[] = { "-o", "listnPort=1", NULL };
	const char *wrong[] = { "-o", "listenPort=x", NULL };
	const char *usage[] = { "--nonsense", NULL };
	const char *rights[] = { "-o", "listenPort=0", "-o", "localSocket=/proc/no/such.sock", "-o", "kvConfigPath=/tmp/unused.json", NULL };
	const char *check[] = { "-t", NULL };
	char output[1024];

	assert_int_equal(harness_run(HARNESS_NAMESRV, unknown, output, sizeof output), 78);
	assert_non_null(strstr(output, "-o: unknown key 'listnPort': did you mean 'listenPort'?"));
	assert_int_equal(harness_run(HARNESS_NAMESRV, wrong, output, sizeof output), 78);
	assert_non_null(strstr(output, "listenPort: 'x' is not a whole number"));
	assert_int_equal(harness_run(HARNESS_NAMESRV, usage, output, sizeof output), 64);
	assert_int_not_equal(harness_run(HARNESS_NAMESRV, rights, output, sizeof output), 0);
	assert_non_null(strstr(output, "set localSocket to a path of yours, or to none"));
	assert_int_equal(harness_run(HARNESS_NAMESRV, check, output, sizeof output), 0);
}

static void the_printed_configuration_can_be_loaded(void **state)
{
	const char *print[] = { "-p", "-o", "listenPort=1234", "-o", "kvConfigPath=/tmp/a b\\c=#\u00e4.json", NULL };
	char path[] = "/tmp/mq-conf.XXXXXX", first[4096], second[4096];
	const char *again[] = { "-p", "-c", path, NULL };
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(harness_run(HARNESS_NAMESRV, print, first, sizeof first), 0);
	assert_non_null(strstr(first, "\nlistenPort=1234\n"));
	assert_non_null(strstr(first, "\n#enableTopicList=true\n"));
	assert_int_equal(write(fd, first, strlen(first)), strlen(first));
	close(fd);
	assert_int_equal(harness_run(HARNESS_NAMESRV, again, second, sizeof second), 0);
	assert_string_equal(first, second);
	unlink(path);
}

static void a_damaged_table_is_refused_untouched(void **state)
{
	char path[] = "/tmp/mq-kv.XXXXXX", setting[64], output[1024], text[16] = "";
	const char *args[] = { "-o", "listenPort=0", "-o", "localSocket=none", "-o", setting, NULL };
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "{\"conf", 6), 6);
	snprintf(setting, sizeof setting, "kvConfigPath=%s", path);
	assert_int_equal(harness_run(HARNESS_NAMESRV, args, output, sizeof output), 74);
	assert_non_null(strstr(output, setting));
	assert_int_equal(pread(fd, text, sizeof text - 1, 0), 6);
	assert_string_equal(text, "{\"conf");
	close(fd);
	unlink(path);
}

int main(void)
{
#define PEER_TEST(name) cmocka_unit_test_setup_teardown(name, open_peer, close_peer)
	const struct CMUnitTest tests[] = {
		PEER_TEST(a_registered_topic_has_a_route_in_both_shapes),
		PEER_TEST(a_topic_without_broker_has_no_route),
		PEER_TEST(a_damaged_body_is_refused),
		PEER_TEST(a_missing_field_is_named),
		PEER_TEST(a_first_registration_with_one_topic_is_refused),
		PEER_TEST(a_compressed_registration_is_read),
		PEER_TEST(a_body_that_inflates_without_end_is_refused),
		PEER_TEST(a_slave_is_told_its_master),
		PEER_TEST(routes_go_when_the_brokers_connection_closes),
		PEER_TEST(a_broker_says_goodbye),
		PEER_TEST(local_sockets_are_told_to_those_who_ask),
		PEER_TEST(the_zone_filter_leaves_other_zones_out),
		PEER_TEST(topics_are_listed_and_deleted),
		PEER_TEST(a_topic_is_registered_alone),
		PEER_TEST(write_permission_is_wiped_and_added),
		PEER_TEST(clusters_and_groups_are_shown),
		PEER_TEST(data_versions_are_compared),
		PEER_TEST(pairs_are_put_read_and_deleted),
		PEER_TEST(harmless_keys_change_at_run_time),
		PEER_TEST(unknown_codes_are_answered_with_3),
		PEER_TEST(one_way_requests_are_not_answered),
		PEER_TEST(the_answer_has_the_codec_of_the_request),
		PEER_TEST(malformed_frames_close_the_connection),
		PEER_TEST(garbage_does_no_harm),
		cmocka_unit_test(the_key_value_table_survives_a_kill),
		cmocka_unit_test(a_silent_broker_is_forgotten),
		cmocka_unit_test(brokers_are_told_of_a_new_smallest_id),
		cmocka_unit_test(routes_wait_for_brokers_when_told_so),
		cmocka_unit_test(a_reload_takes_over_live_keys),
		cmocka_unit_test(a_term_signal_stops),
		cmocka_unit_test(wrong_configuration_ends_with_78_and_a_sentence),
		cmocka_unit_test(the_printed_configuration_can_be_loaded),
		cmocka_unit_test(a_damaged_table_is_refused_untouched),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
