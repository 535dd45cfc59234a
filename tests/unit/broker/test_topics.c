#include "tests/unit/broker/broker_test.h"

static struct topics *topics_of(void **state)
{
	return ((struct fixture *)*state)->broker.topics;
}

static struct topic topic_named(struct topics *t, const char *name)
{
	struct topic topic = {};

	assert_int_equal(topics_get(t, mq_slice_of(name), &topic), 0);
	return topic;
}

static const char *table_text(struct topics *t, const struct topics_range *range)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();

	assert_true(topics_encode_table(t, range, out) >= 0);
	return fixture_text(out);
}

static void system_topics_are_those_of_5_5_0(void **state)
{
	static const struct {
		const char *name;
		int queues, perm;
	} expected[] = {
		{ "SELF_TEST_TOPIC", 1, 6 },
		{ "TBW102", 8, 7 },
		{ "BenchmarkTest", 1024, 6 },
		{ "DefaultCluster", 16, 7 },
		{ "broker-a", 1, 7 },
		{ "OFFSET_MOVED_EVENT", 1, 6 },
		{ "SCHEDULE_TOPIC_XXXX", 18, 6 },
		{ "DefaultCluster_REPLY_TOPIC", 1, 6 },
		{ "rmq_sys_REVIVE_LOG_DefaultCluster", 8, 6 },
		{ "rmq_sys_SYNC_BROKER_MEMBER_broker-a", 1, 1 },
		{ "RMQ_SYS_TRANS_HALF_TOPIC", 1, 6 },
		{ "RMQ_SYS_TRANS_OP_HALF_TOPIC", 1, 6 },
		{ "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC", 1, 6 },
		{ "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC", 1, 6 },
		{ "rmq_sys_wheel_timer", 1, 6 },
	};
	struct topics *t = topics_of(state);
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();

	for (unsigned i = 0; i < N_ELEMENTS(expected); i++) {
		struct topic topic = topic_named(t, expected[i].name);

		assert_int_equal(topic.read_queues, expected[i].queues);
		assert_int_equal(topic.write_queues, expected[i].queues);
		assert_int_equal(topic.perm, expected[i].perm);
		assert_true(topics_is_system(t, mq_slice_of(expected[i].name)));
	}
	assert_int_equal(topics_encode_table(t, &(struct topics_range){}, out), N_ELEMENTS(expected));
}

static void names_are_checked_with_upstreams_texts(void **state)
{
	char name[300];
	struct mq_error err = {};

	assert_int_equal(topics_check_name(MQ_SLICE("a%|-_Z9"), false, &err), 0);
	assert_int_equal(topics_check_name(MQ_SLICE(""), false, &err), -EINVAL);
	assert_string_equal(err.text, "The specified topic is blank.");
	assert_int_equal(topics_check_name(MQ_SLICE(" \t"), true, &err), -EINVAL);
	assert_string_equal(err.text, "The specified group is blank.");
	assert_int_equal(topics_check_name(MQ_SLICE("a.b"), false, &err), -EINVAL);
	assert_string_equal(err.text,
			    "The specified topic: a.b, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$");
	memset(name, 'x', sizeof name);
	assert_int_equal(topics_check_name((struct mq_slice){ name, 127 }, false, &err), 0);
	assert_int_equal(topics_check_name((struct mq_slice){ name, 128 }, false, &err), -EINVAL);
	assert_non_null(strstr(err.text, ", is longer than topic max length: 127"));
	assert_int_equal(topics_check_name((struct mq_slice){ name, 120 }, true, &err), 0);
	assert_int_equal(topics_check_name((struct mq_slice){ name, 121 }, true, &err), -EINVAL);
	assert_non_null(strstr(err.text, ", is longer than group max length: 120"));
	memcpy(name, "%RETRY%", 7);
	assert_int_equal(topics_check_name((struct mq_slice){ name, 255 }, false, &err), 0);
	assert_int_equal(topics_check_name((struct mq_slice){ name, 256 }, false, &err), -EINVAL);
}

static void a_send_creates_a_topic_after_its_template(void **state)
{
	struct topics *t = topics_of(state);
	struct mq_data_version before, after;
	struct topic topic;

	topics_version(t, &before);
	assert_int_equal(topics_create_on_send(t, MQ_SLICE("New"), MQ_SLICE("TBW102"), 4, &topic), 0);
	assert_int_equal(topic.read_queues, 4);
	assert_int_equal(topic.write_queues, 4);
	assert_int_equal(topic.perm, 6);
	topics_version(t, &after);
	assert_int_equal(after.counter, before.counter + 1);
	assert_int_equal(topics_create_on_send(t, MQ_SLICE("Many"), MQ_SLICE("TBW102"), 16, &topic), 0);
	assert_int_equal(topic.read_queues, 8);
	assert_int_equal(topics_create_on_send(t, MQ_SLICE("New"), MQ_SLICE("TBW102"), 1, &topic), 0);
	assert_int_equal(topic.read_queues, 4); /* there already */
}

static void without_an_inheritable_template_only_retry_topics_are_created(void **state)
{
	struct topics *t = topics_of(state);
	struct topic topic;

	assert_int_equal(topics_create_on_send(t, MQ_SLICE("New"), MQ_SLICE("SELF_TEST_TOPIC"), 4, &topic), -ENOENT);
	assert_int_equal(topics_create_on_send(t, MQ_SLICE("New"), MQ_SLICE("Nowhere"), 4, &topic), -ENOENT);
	assert_int_equal(topics_create_on_send(t, MQ_SLICE("%RETRY%g"), MQ_SLICE("Nowhere"), 4, &topic), 0);
	assert_int_equal(topic.read_queues, 1);
	assert_int_equal(topic.perm, 6);
}

static void without_auto_creation_there_is_no_template(void **state)
{
	static const char *const sets[] = { "brokerName=broker-a", "autoCreateTopicEnable=false" };
	struct fixture *f = *state;
	struct topic topic;

	fixture_close(f);
	options_free(&broker_options, &f->broker.config);
	fixture_configure(f, sets, N_ELEMENTS(sets));
	fixture_open(f);
	assert_int_equal(topics_get(f->broker.topics, MQ_SLICE("TBW102"), &topic), -ENOENT);
	assert_int_equal(topics_create_on_send(f->broker.topics, MQ_SLICE("New"), MQ_SLICE("TBW102"), 4, &topic),
			 -ENOENT);
}

static void topics_survive_a_restart_with_their_version(void **state)
{
	struct fixture *f = *state;
	struct topic topic = {
		.read_queues = 4, .write_queues = 3, .perm = 4, .is_order = true, .is_multi_tag = true, .sys_flag = 1
	};
	struct mq_data_version before, after;
	struct mq_error err = {};

	assert_int_equal(
		topics_update(f->broker.topics, MQ_SLICE("Golden"), &topic, MQ_SLICE("+message.type=FIFO"), &err), 0);
	topics_version(f->broker.topics, &before);
	fixture_advance(f, 1000);
	fixture_close(f);
	fixture_open(f);
	topics_version(f->broker.topics, &after);
	assert_memory_equal(&before, &after, sizeof before);
	topic = topic_named(f->broker.topics, "Golden");
	assert_int_equal(topic.read_queues, 4);
	assert_int_equal(topic.write_queues, 3);
	assert_int_equal(topic.perm, 4);
	assert_true(topic.is_order && topic.is_multi_tag);
	assert_non_null(strstr(
		table_text(f->broker.topics, &(struct topics_range){ .only = MQ_SLICE("Golden") }),
		"\"Golden\":{\"attributes\":{\"message.type\":\"FIFO\"},\"order\":true,\"perm\":4,\"readQueueNums\":4,"
		"\"topicFilterType\":\"MULTI_TAG\",\"topicName\":\"Golden\",\"topicSysFlag\":1,\"writeQueueNums\":3}"));
}

static void the_same_configuration_again_changes_nothing(void **state)
{
	struct topics *t = topics_of(state);
	struct topic topic = { .read_queues = 4, .write_queues = 4, .perm = 6 };
	struct mq_data_version before, after;
	struct mq_error err = {};

	assert_int_equal(topics_update(t, MQ_SLICE("T"), &topic, (struct mq_slice){}, &err), 0);
	topics_version(t, &before);
	assert_int_equal(topics_update(t, MQ_SLICE("T"), &topic, (struct mq_slice){}, &err), 0);
	topics_version(t, &after);
	assert_int_equal(before.counter, after.counter);
	topic.perm = 4;
	assert_int_equal(topics_update(t, MQ_SLICE("T"), &topic, (struct mq_slice){}, &err), 0);
	topics_version(t, &after);
	assert_int_equal(before.counter + 1, after.counter);
	assert_int_equal(topics_update(t, MQ_SLICE("T"), &topic, MQ_SLICE("-message.type"), &err), -EINVAL);
}

static void a_deleted_topic_is_gone_after_a_restart_too(void **state)
{
	struct fixture *f = *state;
	struct topic topic;

	assert_int_equal(topics_create_on_send(f->broker.topics, MQ_SLICE("T"), MQ_SLICE("TBW102"), 4, &topic), 0);
	assert_int_equal(topics_delete(f->broker.topics, MQ_SLICE("T")), 0);
	assert_int_equal(topics_get(f->broker.topics, MQ_SLICE("T"), &topic), -ENOENT);
	assert_int_equal(topics_delete(f->broker.topics, MQ_SLICE("T")), 0);
	fixture_close(f);
	fixture_open(f);
	assert_int_equal(topics_get(f->broker.topics, MQ_SLICE("T"), &topic), -ENOENT);
}

static _Atomic int n_writes_left;

static int fail_when_none_is_left(void *user)
{
	return atomic_fetch_sub(&n_writes_left, 1) <= 0 ? -EIO : 0;
}

static void on_done(struct store_turn *turn)
{
	*(bool *)turn->user = true;
}

/* Something that hangs on the topic, and goes with its queues. */
static void commit_offset(struct fixture *f)
{
	struct store_offset_put put = { .group = MQ_SLICE("g"), .topic = MQ_SLICE("T"), .queue_id = 0, .offset = 5 };
	struct store_turn turn;
	struct store_op op;
	bool is_done = false;

	store_op_init(&op);
	op.offset_puts = &put;
	op.n_offset_puts = 1;
	store_turn_init(&turn, on_done, &is_done);
	store_turn_add(&turn, &op);
	store_commit(f->broker.store, &turn);
	assert_true(is_done);
	assert_int_equal(op.result, 0);
}

/* Else a topic that is made again would show the messages of the one that was deleted. */
static void a_topic_is_deleted_with_all_that_hangs_on_it_or_not_at_all(void **state)
{
	struct fixture *f = *state;
	struct topic topic;
	int64_t offset;
	int r = -1;

	f->hooks.before_write = fail_when_none_is_left;
	for (int n = 0; r < 0; n++) {
		assert_in_range(n, 0, 8);
		atomic_store(&n_writes_left, 100);
		fixture_close(f);
		fixture_open(f);
		assert_int_equal(topics_create_on_send(f->broker.topics, MQ_SLICE("T"), MQ_SLICE("TBW102"), 4, &topic), 0);
		commit_offset(f);
		atomic_store(&n_writes_left, n);
		r = topics_delete(f->broker.topics, MQ_SLICE("T"));
		assert_int_equal(topics_get(f->broker.topics, MQ_SLICE("T"), &topic), r < 0 ? 0 : -ENOENT);
		atomic_store(&n_writes_left, 100);
		fixture_close(f);
		fixture_open(f);
		assert_int_equal(topics_get(f->broker.topics, MQ_SLICE("T"), &topic), r < 0 ? 0 : -ENOENT);
		assert_int_equal(store_offset_get(f->broker.store, MQ_SLICE("g"), MQ_SLICE("T"), 0, &offset), r < 0 ? 0 : STORE_NONE);
	}
}

/* A send looks at its topic first and opens the queue then; the deletion may come between. */
static void a_queue_is_opened_for_a_topic_that_is_there_only(void **state)
{
	struct fixture *f = *state;
	struct topics *t = f->broker.topics;
	struct store_queue *q;
	struct topic topic, other;

	assert_int_equal(topics_create_on_send(t, MQ_SLICE("T"), MQ_SLICE("TBW102"), 4, &topic), 0);
	assert_int_equal(topics_open_queue(t, topic.n_deletions, MQ_SLICE("T"), 0, &q), 0);
	assert_int_equal(topics_create_on_send(t, MQ_SLICE("U"), MQ_SLICE("TBW102"), 4, &other), 0);
	assert_int_equal(topics_delete(t, MQ_SLICE("U")), 0);
	assert_int_equal(topics_open_queue(t, topic.n_deletions, MQ_SLICE("T"), 0, &q), 0);
	assert_int_equal(topics_open_queue(t, other.n_deletions, MQ_SLICE("U"), 0, &q), -ENOENT);

	assert_int_equal(topics_delete(t, MQ_SLICE("T")), 0);
	assert_int_equal(topics_open_queue(t, topic.n_deletions, MQ_SLICE("T"), 0, &q), -ENOENT);
	/* That it was opened all the same helps nobody who comes too late. */
	assert_int_equal(topics_open_queue(t, topic.n_deletions, MQ_SLICE("T"), 0, &q), -ENOENT);
	assert_int_equal(topics_create_on_send(t, MQ_SLICE("T"), MQ_SLICE("TBW102"), 4, &other), 0);
	assert_int_equal(topics_open_queue(t, topic.n_deletions, MQ_SLICE("T"), 0, &q), 0);
	assert_int_equal(store_queue_max(q), 0);
	/* Delayed and prepared messages need it whatever is deleted. */
	assert_int_equal(topics_delete(t, MQ_SLICE("RMQ_SYS_TRANS_HALF_TOPIC")), 0);
	assert_int_equal(topics_open_queue(t, topic.n_deletions, MQ_SLICE("RMQ_SYS_TRANS_HALF_TOPIC"), 0, &q), 0);
}

static void a_row_that_cannot_be_read_is_named(void **state)
{
	struct fixture *f = *state;
	struct topics *t;
	struct mq_error err = {};

	assert_int_equal(store_meta_put(f->broker.store, "topic", MQ_SLICE("Broken"), MQ_SLICE("[]")), 0);
	assert_int_equal(topics_new(&t, &f->broker, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "the stored configuration of topic Broken cannot be read"));
}

static void order_configurations_mark_known_topics_only(void **state)
{
	struct topics *t = topics_of(state);
	struct mq_data_version before, after;
	struct topic topic;

	assert_int_equal(topics_create_on_send(t, MQ_SLICE("T"), MQ_SLICE("TBW102"), 4, &topic), 0);
	topics_version(t, &before);
	assert_int_equal(topics_mark_order(t, MQ_SLICE("T")), 0);
	assert_int_equal(topics_mark_order(t, MQ_SLICE("T")), 0);
	assert_int_equal(topics_mark_order(t, MQ_SLICE("Unknown")), 0);
	topics_version(t, &after);
	assert_int_equal(before.counter + 1, after.counter);
	assert_true(topic_named(t, "T").is_order);
	assert_int_equal(topics_get(t, MQ_SLICE("Unknown"), &topic), -ENOENT);
}

static void pages_are_in_the_order_of_names(void **state)
{
	struct topics *t = topics_of(state);
	const char *text = table_text(t, &(struct topics_range){ .first = 1, .max = 2 });

	/* BenchmarkTest, DefaultCluster, DefaultCluster_REPLY_TOPIC, ... */
	assert_null(strstr(text, "\"BenchmarkTest\""));
	assert_non_null(strstr(text, "\"DefaultCluster\":{"));
	assert_non_null(strstr(text, "\"DefaultCluster_REPLY_TOPIC\":{"));
	assert_null(strstr(text, "\"OFFSET_MOVED_EVENT\""));
	assert_null(strstr(table_text(t, &(struct topics_range){ .first = 1000, .max = 2 }), "topicName"));
}

static void permissions_can_be_shown_without_some_bits(void **state)
{
	const char *text = table_text(topics_of(state),
				      &(struct topics_range){ .only = MQ_SLICE("TBW102"), .perm_without = ~PERM_READ });

	assert_non_null(strstr(text, "\"perm\":4"));
}

static void some_topics_are_no_targets_and_some_are_protected(void **state)
{
	struct topics *t = topics_of(state);

	assert_true(topics_forbids_send(MQ_SLICE("SCHEDULE_TOPIC_XXXX")));
	assert_true(topics_forbids_send(MQ_SLICE("RMQ_SYS_TRANS_HALF_TOPIC")));
	assert_false(topics_forbids_send(MQ_SLICE("TBW102")));
	assert_false(topics_forbids_send(MQ_SLICE("RMQ_SYS_TRACE_TOPIC")));
	assert_true(topics_is_system(t, MQ_SLICE("RMQ_SYS_TRACE_TOPIC")));
	assert_true(topics_is_system(t, MQ_SLICE("rmq_sys_anything")));
	assert_false(topics_is_system(t, MQ_SLICE("Golden")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(system_topics_are_those_of_5_5_0),
		TEST(names_are_checked_with_upstreams_texts),
		TEST(a_send_creates_a_topic_after_its_template),
		TEST(without_an_inheritable_template_only_retry_topics_are_created),
		TEST(without_auto_creation_there_is_no_template),
		TEST(topics_survive_a_restart_with_their_version),
		TEST(the_same_configuration_again_changes_nothing),
		TEST(a_deleted_topic_is_gone_after_a_restart_too),
		TEST(a_topic_is_deleted_with_all_that_hangs_on_it_or_not_at_all),
		TEST(a_queue_is_opened_for_a_topic_that_is_there_only),
		TEST(a_row_that_cannot_be_read_is_named),
		TEST(order_configurations_mark_known_topics_only),
		TEST(pages_are_in_the_order_of_names),
		TEST(permissions_can_be_shown_without_some_bits),
		TEST(some_topics_are_no_targets_and_some_are_protected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
