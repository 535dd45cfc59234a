#include "tests/unit/broker/broker_test.h"

static struct groups *groups_of(void **state)
{
	return ((struct fixture *)*state)->broker.groups;
}

static void the_predefined_groups_are_there(void **state)
{
	static const char *const names[] = {
		"TOOLS_CONSUMER", "FILTERSRV_CONSUMER", "SELF_TEST_C_GROUP", "CID_ONS-HTTP-PROXY", "CID_ONSAPI_PULL",
		"CID_ONSAPI_PERMISSION", "CID_ONSAPI_OWNER", "CID_RMQ_SYS_TRANS",
	};
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct group group;

	for (unsigned i = 0; i < N_ELEMENTS(names); i++) {
		assert_int_equal(groups_find(groups_of(state), mq_slice_of(names[i]), &group), 0);
		assert_true(group.consume_enable && group.consume_broadcast_enable);
	}
	assert_int_equal(groups_encode_table(groups_of(state), 0, 0, out), N_ELEMENTS(names));
}

static void first_use_creates_a_group_with_the_defaults(void **state)
{
	struct groups *g = groups_of(state);
	struct group group;

	assert_int_equal(groups_find(g, MQ_SLICE("new"), &group), -ENOENT);
	assert_int_equal(groups_get(g, MQ_SLICE("new"), &group), 0);
	assert_int_equal(group.retry_queues, 1);
	assert_int_equal(group.retry_max_times, 16);
	assert_int_equal(group.which_broker_when_slow, 1);
	assert_int_equal(group.consume_timeout_minutes, 15);
	assert_true(group.consume_from_min_enable && group.notify_ids_changed);
	assert_int_equal(groups_find(g, MQ_SLICE("new"), &group), 0);
}

static void illegal_names_and_a_closed_broker_create_nothing(void **state)
{
	struct fixture *f = *state;
	struct group group;
	char name[300];

	memset(name, 'g', sizeof name);
	assert_int_equal(groups_get(f->broker.groups, MQ_SLICE("a b"), &group), -ENOENT);
	assert_int_equal(groups_get(f->broker.groups, (struct mq_slice){ name, 121 }, &group), -ENOENT);
	assert_int_equal(groups_get(f->broker.groups, (struct mq_slice){ name, 120 }, &group), 0);
	f->broker.config.autoCreateSubscriptionGroup = false;
	assert_int_equal(groups_get(f->broker.groups, MQ_SLICE("new"), &group), -ENOENT);
	assert_int_equal(groups_get(f->broker.groups, MQ_SLICE("CID_RMQ_SYS_x"), &group), 0);
}

static void updates_survive_a_restart(void **state)
{
	struct fixture *f = *state;
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_data_version before, after;
	struct mq_error err = {};

	assert_int_equal(
		groups_update(f->broker.groups,
			      MQ_SLICE("{\"groupName\":\"g\",\"consumeBroadcastEnable\":false,\"retryMaxTimes\":3,"
				       "\"attributes\":{"
				       "\"+priority.factor\":\"7\"},\"groupRetryPolicy\":{\"type\":\"EXPONENTIAL\"}}"),
			      &err),
		0);
	groups_version(f->broker.groups, &before);
	fixture_close(f);
	fixture_open(f);
	groups_version(f->broker.groups, &after);
	assert_memory_equal(&before, &after, sizeof before);
	assert_int_equal(groups_encode(f->broker.groups, MQ_SLICE("g"), out), 0);
	assert_string_equal(
		fixture_text(out),
		"{\"attributes\":{\"priority.factor\":\"7\"},\"brokerId\":0,\"consumeBroadcastEnable\":false,"
		"\"consumeEnable\":true,\"consumeFromMinEnable\":true,\"consumeMessageOrderly\":false,"
		"\"consumeTimeoutMinute\":"
		"15,\"groupName\":\"g\",\"groupRetryPolicy\":{\"type\":\"EXPONENTIAL\"},\"groupSysFlag\":0,"
		"\"notifyConsumerIdsChangedEnable\":true,\"retryMaxTimes\":3,\"retryQueueNums\":1,"
		"\"whichBrokerWhenConsumeSlowly\":1}");
}

static void bad_names_and_bad_bodies_are_told_apart(void **state)
{
	struct groups *g = groups_of(state);
	struct mq_error err = {};

	assert_int_equal(groups_update(g, MQ_SLICE("{}"), &err), -EINVAL);
	assert_string_equal(err.text, "The specified group is blank.");
	assert_int_equal(groups_update(g, MQ_SLICE("{\"groupName\":\"a.b\"}"), &err), -EINVAL);
	assert_int_equal(groups_update(g, MQ_SLICE("{\"groupName\":\"g\",\"retryQueueNums\":-1}"), &err), -EINVAL);
	assert_string_equal(err.text, "retryQueueNums must be from 0 to 65535");
	assert_int_equal(groups_update(g, MQ_SLICE("{"), &err), -EBADMSG);
	assert_int_equal(groups_update(g, MQ_SLICE("[]"), &err), -EBADMSG);
	assert_int_equal(groups_update(g, MQ_SLICE("{\"groupName\":\"g\",\"attributes\":{\"+nope\":\"1\"}}"), &err),
			 -EBADMSG);
	assert_string_equal(err.text, "unsupported key: nope");
}

static void a_row_that_cannot_be_read_is_named(void **state)
{
	struct fixture *f = *state;
	struct groups *g;
	struct mq_error err = {};

	assert_int_equal(store_meta_put(f->broker.store, "group", MQ_SLICE("broken"), MQ_SLICE("{")), 0);
	assert_int_equal(groups_new(&g, &f->broker, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "the stored configuration of consumer group broken cannot be read"));
}

static void a_deleted_group_is_gone_after_a_restart_too(void **state)
{
	struct fixture *f = *state;
	struct group group;

	assert_int_equal(groups_get(f->broker.groups, MQ_SLICE("g"), &group), 0);
	assert_int_equal(groups_delete(f->broker.groups, MQ_SLICE("g")), 0);
	assert_int_equal(groups_delete(f->broker.groups, MQ_SLICE("g")), 0);
	fixture_close(f);
	fixture_open(f);
	assert_int_equal(groups_find(f->broker.groups, MQ_SLICE("g"), &group), -ENOENT);
}

static void pages_are_in_the_order_of_names(void **state)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	const char *text;

	assert_int_equal(groups_encode_table(groups_of(state), 1, 1, out), 8);
	text = fixture_text(out); /* CID_ONS-HTTP-PROXY, CID_ONSAPI_OWNER, ... */
	assert_non_null(strstr(text, "CID_ONSAPI_OWNER"));
	assert_null(strstr(text, "CID_ONS-HTTP-PROXY"));
	assert_null(strstr(text, "CID_ONSAPI_PERMISSION"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_predefined_groups_are_there),
		TEST(first_use_creates_a_group_with_the_defaults),
		TEST(illegal_names_and_a_closed_broker_create_nothing),
		TEST(updates_survive_a_restart),
		TEST(bad_names_and_bad_bodies_are_told_apart),
		TEST(a_row_that_cannot_be_read_is_named),
		TEST(a_deleted_group_is_gone_after_a_restart_too),
		TEST(pages_are_in_the_order_of_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
