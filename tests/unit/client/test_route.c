#include "tests/unit/client/client_test.h"

#include <errno.h>

#include "libmq/client/route.h"

#define QUEUE(name)               \
	"{\"brokerName\":\"" name \
	"\",\"perm\":6,\"readQueueNums\":4,\"topicSysFlag\":0,\"writeQueueNums\":3}"

static struct mq_topic_route *decode(const char *body, const char *boot_id)
{
	struct mq_topic_route *route = NULL;

	assert_int_equal(
		mq_topic_route_decode(&route, MQ_SLICE("T"), mq_slice_of(body), mq_slice_of(boot_id), NULL),
		0);
	return route;
}

static void both_json_shapes_are_read(void **state)
{
	static const char *const bodies[] = {
		"{\"brokerDatas\":[{\"brokerAddrs\":{0:\"h:1\",1:\"h:2\"},\"brokerName\":\"b\",\"cluster\":"
		"\"C\"}],\"queueDatas\":[" QUEUE("b") "]}",
		"{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"h:1\",\"1\":\"h:2\"},\"brokerName\":\"b\","
		"\"cluster\":\"C\"}],\"queueDatas\":[" QUEUE("b") "]}",
	};

	for (size_t i = 0; i < N_ELEMENTS(bodies); i++) {
		_cleanup_(mq_topic_route_unrefp) struct mq_topic_route *route = decode(bodies[i], "");
		const struct mq_topic_broker *b = mq_topic_route_find(route, "b");

		assert_non_null(b);
		assert_string_equal(b->address, "h:1");
		assert_true(b->has_master);
		assert_int_equal(b->perm, 6);
		assert_int_equal(b->n_read, 4);
		assert_int_equal(b->n_write, 3);
		assert_null(b->local);
	}
}

static void a_broker_without_master_is_for_reading(void **state)
{
	_cleanup_(mq_topic_route_unrefp) struct mq_topic_route *route =
		decode("{\"brokerDatas\":[{\"brokerAddrs\":{\"2\":\"h:2\",\"1\":\"h:1\"},\"brokerName\":"
		       "\"b\"}],\"queueDatas\":[" QUEUE("b") "]}",
		       "");

	assert_false(route->brokers[0].has_master);
	assert_string_equal(route->brokers[0].address, "h:1");
}

static void brokers_are_sorted_by_name(void **state)
{
	_cleanup_(mq_topic_route_unrefp) struct mq_topic_route *route =
		decode("{\"brokerDatas\":[],\"queueDatas\":[" QUEUE("b2") "," QUEUE("b1") "]}", "");

	assert_string_equal(route->brokers[0].name, "b1");
	assert_string_equal(route->brokers[1].name, "b2");
	assert_null(route->brokers[0].address);
}

#define LOCAL_ROUTE                                                                                    \
	"{\"brokerDatas\":[{\"bootId\":\"here\",\"brokerAddrs\":{\"0\":\"h:1\"},\"brokerName\":\"b\"," \
	"\"localSockets\":{\"0\":\"/run/b.sock\"}}],"                                                  \
	"\"queueDatas\":[" QUEUE("b") "]}"

static void the_socket_of_a_broker_on_this_machine_comes_first(void **state)
{
	_cleanup_(mq_topic_route_unrefp) struct mq_topic_route *route = decode(LOCAL_ROUTE, "here");
	struct mq_hop hop = mq_topic_route_hop(&route->brokers[0]);

	assert_string_equal(hop.addresses[0], "unix:/run/b.sock");
	assert_string_equal(hop.addresses[1], "h:1");
}

static void the_socket_of_another_machine_is_left_alone(void **state)
{
	_cleanup_(mq_topic_route_unrefp) struct mq_topic_route *route = decode(LOCAL_ROUTE, "there");
	struct mq_hop hop = mq_topic_route_hop(&route->brokers[0]);

	assert_string_equal(hop.addresses[0], "h:1");
	assert_null(hop.addresses[1]);
}

static void nonsense_is_refused(void **state)
{
	struct mq_topic_route *route = NULL;
	struct mq_error err;

	assert_int_equal(mq_topic_route_decode(&route, MQ_SLICE("T"), MQ_SLICE("{\"queueDatas\":["),
					       MQ_SLICE(""), &err),
			 -EBADMSG);
	assert_null(route);
}

static void absurd_queue_numbers_are_bounded(void **state)
{
	_cleanup_(mq_topic_route_unrefp) struct mq_topic_route *route =
		decode("{\"brokerDatas\":[],\"queueDatas\":[{\"brokerName\":\"b\",\"perm\":6,"
		       "\"readQueueNums\":2000000000,\"writeQueueNums\":-5}]}",
		       "");

	assert_int_equal(route->brokers[0].n_read, MQ_ROUTE_QUEUES_MAX);
	assert_int_equal(route->brokers[0].n_write, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_json_shapes_are_read),
		cmocka_unit_test(a_broker_without_master_is_for_reading),
		cmocka_unit_test(brokers_are_sorted_by_name),
		cmocka_unit_test(the_socket_of_a_broker_on_this_machine_comes_first),
		cmocka_unit_test(the_socket_of_another_machine_is_left_alone),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(absurd_queue_numbers_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
