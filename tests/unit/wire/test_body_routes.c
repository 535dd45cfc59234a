/* Bodies between brokers, NameServers and clients: body_route, body_cluster, body_register, body_kv, body_topic_list. */
#include "tests/unit/wire/wire_test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "libmq/wire/body_cluster.h"
#include "libmq/wire/body_kv.h"
#include "libmq/wire/body_register.h"
#include "libmq/wire/body_route.h"
#include "libmq/wire/body_topic_list.h"

#define ROUTE(key)                                                                                                             \
	"{\"brokerDatas\":[{\"brokerAddrs\":{" key(0) ":\"10.0.0.1:10911\"," key(1) ":\"10.0.0.2:10911\"},"                     \
	"\"brokerName\":\"broker-a\",\"cluster\":\"DefaultCluster\",\"enableActingMaster\":false}],"                           \
	"\"filterServerTable\":{},\"queueDatas\":[{\"brokerName\":\"broker-a\",\"perm\":6,\"readQueueNums\":8,"                 \
	"\"topicSysFlag\":0,\"writeQueueNums\":8}]}"
#define BARE(n)   #n
#define QUOTED(n) "\"" #n "\""

static void assert_written(struct evbuffer *out, const char *expected)
{
	assert_int_equal(evbuffer_get_length(out), strlen(expected));
	assert_memory_equal(evbuffer_pullup(out, -1), expected, strlen(expected));
	evbuffer_drain(out, evbuffer_get_length(out));
}

static void both_shapes_of_a_route_are_read_and_written(void **state)
{
	static const char *const texts[] = { ROUTE(BARE), ROUTE(QUOTED) };
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();

	for (unsigned i = 0; i < 2; i++) {
		struct mq_route route;

		assert_int_equal(mq_route_decode(&route, mq_slice_of(texts[i]), NULL), 0);
		assert_int_equal(route.n_brokers, 1);
		assert_slice_equal(route.brokers[0].name, "broker-a");
		assert_int_equal(route.brokers[0].n_addresses, 2);
		assert_int_equal(route.brokers[0].addresses[1].id, 1);
		assert_slice_equal(route.brokers[0].addresses[1].address, "10.0.0.2:10911");
		assert_null(route.brokers[0].boot_id.p);
		assert_null(route.order_conf.p);
		assert_int_equal(route.queues[0].write_queues, 8);
		assert_int_equal(mq_route_encode(&route, MQ_ROUTE_BARE_KEYS, out), 0);
		assert_written(out, texts[0]);
		assert_int_equal(mq_route_encode(&route, MQ_ROUTE_STANDARD, out), 0);
		assert_written(out, texts[1]);
		mq_route_done(&route);
	}
}

static void the_standard_shape_is_ascii(void **state)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_route_queue queue = { .broker = MQ_SLICE("b\u00fc"), .perm = 6 };
	struct mq_route route = { .queues = &queue, .n_queues = 1 };

	assert_int_equal(mq_route_encode(&route, MQ_ROUTE_STANDARD, out), 0);
	assert_non_null(strstr((char *)evbuffer_pullup(out, -1), "\"b\\u00"));
	evbuffer_drain(out, evbuffer_get_length(out));
	assert_int_equal(mq_route_encode(&route, MQ_ROUTE_BARE_KEYS, out), 0);
	assert_non_null(strstr((char *)evbuffer_pullup(out, -1), "\"b\u00fc\""));
}

static void local_sockets_go_with_their_ids(void **state)
{
	static const char text[] = "{\"brokerDatas\":[{\"bootId\":\"x\",\"brokerAddrs\":{\"0\":\"h:1\",\"2\":\"h:2\"},\"brokerName\":\"b\","
				   "\"cluster\":\"c\",\"enableActingMaster\":true,\"localSockets\":{\"2\":\"/run/b2.sock\"},"
				   "\"zoneName\":\"z\"}],\"filterServerTable\":{},\"orderTopicConf\":\"b:4\",\"queueDatas\":[]}";
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_route route;

	assert_int_equal(mq_route_decode(&route, mq_slice_of(text), NULL), 0);
	assert_slice_equal(route.brokers[0].boot_id, "x");
	assert_null(route.brokers[0].addresses[0].local_socket.p);
	assert_slice_equal(route.brokers[0].addresses[1].local_socket, "/run/b2.sock");
	assert_slice_equal(route.order_conf, "b:4");
	assert_int_equal(mq_route_encode(&route, MQ_ROUTE_STANDARD, out), 0);
	assert_written(out, text);
	mq_route_done(&route);
}

/* A peer may send so many; comparing each with each would take minutes. */
static void a_broker_of_many_ids_is_read_in_passing(void **state)
{
	enum { N = 200000 };
	char *text = malloc(100 + 2 * 12 * N), *p = text;
	struct mq_route route;

	assert_non_null(text);
	p = stpcpy(p, "{\"brokerDatas\":[{\"brokerName\":\"b\",\"brokerAddrs\":{");
	for (int i = N; i-- > 0;)
		p += sprintf(p, "%d:\"a\",", i);
	p = stpcpy(p, "},\"localSockets\":{");
	for (int i = 0; i < N; i++)
		p += sprintf(p, "%d:\"s\",", i);
	stpcpy(p, "}}]}");
	assert_int_equal(mq_route_decode(&route, mq_slice_of(text), NULL), 0);
	assert_int_equal(route.brokers[0].n_addresses, N);
	for (int i = 0; i < N; i++) {
		assert_int_equal(route.brokers[0].addresses[i].id, i);
		assert_slice_equal(route.brokers[0].addresses[i].local_socket, "s");
	}
	mq_route_done(&route);
	free(text);
}

static void what_is_no_route_is_refused(void **state)
{
	struct mq_route route;
	struct mq_error err;

	assert_int_equal(mq_route_decode(&route, MQ_SLICE("[]"), &err), -EBADMSG);
	assert_int_equal(mq_route_decode(&route, MQ_SLICE("{\"brokerDatas\":["), &err), -EBADMSG);
	/* Nothing in it is no error, and elements without a name are none. */
	assert_int_equal(mq_route_decode(&route, MQ_SLICE("{\"brokerDatas\":[{},7],\"queueDatas\":[null]}"), &err), 0);
	assert_int_equal(route.n_brokers + route.n_queues, 0);
	mq_route_done(&route);
}

static void a_cluster_info_is_read_and_written(void **state)
{
	static const char text[] = "{\"brokerAddrTable\":{\"broker-a\":{\"brokerAddrs\":{0:\"h:1\",1:\"h:2\"},\"brokerName\":\"broker-a\","
				   "\"cluster\":\"DefaultCluster\",\"enableActingMaster\":false}},"
				   "\"clusterAddrTable\":{\"DefaultCluster\":[\"broker-a\",\"broker-b\"]}}";
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_cluster_info info;

	assert_int_equal(mq_cluster_info_decode(&info, mq_slice_of(text), NULL), 0);
	assert_int_equal(info.n_brokers, 1);
	assert_slice_equal(info.brokers[0].addresses[0].address, "h:1");
	assert_slice_equal(info.clusters[0].name, "DefaultCluster");
	assert_int_equal(info.clusters[0].n_brokers, 2);
	assert_int_equal(mq_cluster_info_encode(&info, out), 0);
	assert_written(out, text);
	mq_cluster_info_done(&info);
	assert_int_equal(mq_cluster_info_decode(&info, MQ_SLICE("7"), NULL), -EBADMSG);
}

static void tables_and_lists_are_read_and_written(void **state)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_kv_table table;
	struct mq_topic_list list = {
		.broker_address = MQ_SLICE("h:1"),
		.topics = (struct mq_slice[]){ MQ_SLICE("x"), MQ_SLICE("y") },
		.n_topics = 2,
	};

	assert_int_equal(mq_kv_table_decode(&table, MQ_SLICE("{\"table\":{\"a\":\"1\",\"b\":2,\"c\":[]}}"), NULL), 0);
	assert_int_equal(table.n_pairs, 2);
	assert_slice_equal(mq_kv_table_get(&table, "b"), "2");
	assert_null(mq_kv_table_get(&table, "c").p);
	assert_int_equal(mq_kv_table_encode(&table, out), 0);
	assert_written(out, "{\"table\":{\"a\":\"1\",\"b\":\"2\"}}");
	mq_kv_table_done(&table);

	assert_int_equal(mq_topic_list_encode(&list, out), 0);
	assert_written(out, "{\"brokerAddr\":\"h:1\",\"topicList\":[\"x\",\"y\"]}");
}

static void a_registration_is_read_in_each_form(void **state)
{
	static const char table[] = "{\"dataVersion\":{\"counter\":4,\"timestamp\":9},\"topicConfigTable\":{\"T\":{\"perm\":7,"
				    "\"readQueueNums\":\"3\",\"topicName\":\"T\",\"writeQueueNums\":2},\"U\":{}}}";
	_cleanup_(evbuffer_freep) struct evbuffer *in = evbuffer_new(), *out = evbuffer_new();
	struct mq_register reg;

	evbuffer_add(in, table, sizeof table - 1);
	assert_int_equal(mq_register_encode(in, out), 0);
	for (int version = 0; version <= 513; version += 513) {
		/* Before 3.0.11 the table came alone. */
		struct mq_slice body = version ? (struct mq_slice){ (char *)evbuffer_pullup(out, -1), evbuffer_get_length(out) } :
						 mq_slice_of(table);

		assert_int_equal(mq_register_decode(&reg, body, false, version, NULL), 0);
		assert_int_equal(reg.version.counter, 4);
		assert_int_equal(reg.version.state_version, 0);
		assert_int_equal(reg.n_topics, 2);
		assert_slice_equal(reg.topics[0].name, "T");
		assert_int_equal(reg.topics[0].perm, 7);
		assert_int_equal(reg.topics[0].read_queues, 3);
		assert_slice_equal(reg.topics[1].name, "U");
		assert_int_equal(reg.topics[1].write_queues, 16);
		mq_register_done(&reg);
	}
	assert_int_equal(mq_register_decode(&reg, (struct mq_slice){}, false, 513, NULL), 0);
	assert_int_equal(reg.n_topics + reg.version.counter, 0);
	mq_register_done(&reg);
}

/* Deflates `plain` and decodes the result. */
static int decode_compressed(struct mq_slice plain, struct mq_register *ret, struct mq_error *err)
{
	uLongf n = compressBound(plain.n);
	_cleanup_(freep) char *packed = malloc(n);
	struct mq_slice body = { packed, 0 };

	assert_non_null(packed);
	assert_int_equal(compress2((Bytef *)packed, &n, (const Bytef *)plain.p, plain.n, 9), Z_OK);
	body.n = n;
	return mq_register_decode(ret, body, true, 513, err);
}

static void a_compressed_registration_claims_no_more_than_it_has(void **state)
{
	static const struct {
		struct mq_slice plain;
		const char *text;
	} cases[] = {
		{ MQ_SLICE("\0\0"), "the compressed body ends within its DataVersion" },
		{ MQ_SLICE("\0\0\0\7{}"), "the compressed body ends within its DataVersion" },
		{ MQ_SLICE("\xff\xff\xff\xff{}"), "the compressed body ends within its DataVersion" },
		{ MQ_SLICE("\0\0\0\2{}\x7f\xff\xff\xff"), "the compressed body claims more topics than it has" },
		{ MQ_SLICE("\0\0\0\2{}\x7f\xff\xff\xff\0\0\0\0\0\0\0\0"), "the compressed body claims more topics than it has" },
		{ MQ_SLICE("\0\0\0\2{}\xff\xff\xff\xff"), "the compressed body claims more topics than it has" },
		{ MQ_SLICE("\0\0\0\2{}\0\0\0\1\0\0\0\4T 1 "), "topic 0 of the compressed body is damaged" },
		{ MQ_SLICE("\0\0\0\2{}\0\0\0\1\0\0\0\x9T 1 2 3x4"), "topic 0 of the compressed body is damaged" },
	};
	struct mq_register reg;
	struct mq_error err;

	for (unsigned i = 0; i < N_ELEMENTS(cases); i++) {
		assert_int_equal(decode_compressed(cases[i].plain, &reg, &err), -EBADMSG);
		assert_string_equal(err.text, cases[i].text);
	}
	/* Six words, five, and four: a 4.x broker has no attributes, and a name may have any letters. */
	assert_int_equal(decode_compressed(MQ_SLICE("\0\0\0\2{}\0\0\0\1\0\0\0\x14T 1 2 6 SINGLE_TAG x"), &reg, NULL), 0);
	assert_int_equal(reg.topics[0].perm, 6);
	mq_register_done(&reg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_shapes_of_a_route_are_read_and_written),
		cmocka_unit_test(the_standard_shape_is_ascii),
		cmocka_unit_test(local_sockets_go_with_their_ids),
		cmocka_unit_test(a_broker_of_many_ids_is_read_in_passing),
		cmocka_unit_test(what_is_no_route_is_refused),
		cmocka_unit_test(a_cluster_info_is_read_and_written),
		cmocka_unit_test(tables_and_lists_are_read_and_written),
		cmocka_unit_test(a_registration_is_read_in_each_form),
		cmocka_unit_test(a_compressed_registration_claims_no_more_than_it_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
