/* Bodies of heartbeats, locks, topics, groups, connections and statistics, against what Apache's 5.5.0 sends
 * (tests/golden). */
#include "tests/unit/wire/wire_test.h"

#include <errno.h>

#include "libmq/wire/body_connections.h"
#include "libmq/wire/body_groups.h"
#include "libmq/wire/body_heartbeat.h"
#include "libmq/wire/body_stats.h"
#include "libmq/wire/body_topics.h"

static struct mq_json *parse(const char *text)
{
	struct mq_json *doc = NULL;

	assert_int_equal(mq_json_parse(&doc, mq_slice_of(text), NULL), 0);
	return doc;
}

/* ---- heartbeats ---- */

static void a_java_heartbeat_is_read_whole(void **state)
{
	_cleanup_(mq_json_freep) struct mq_json *doc =
		parse("{\"clientID\":\"10.0.0.1@c1\",\"consumerDataSet\":[{\"consumeFromWhere\":\"CONSUME_FROM_FIRST_"
		      "OFFSET\",\"consumeType\":"
		      "\"CONSUME_PASSIVELY\",\"groupName\":\"golden_group\",\"messageModel\":\"CLUSTERING\","
		      "\"subscriptionDataSet\":[{"
		      "\"classFilterMode\":false,\"codeSet\":[],\"expressionType\":\"TAG\",\"subString\":\"*\","
		      "\"subVersion\":1795472603805,"
		      "\"tagsSet\":[],\"topic\":\"%RETRY%golden_group\"},{\"classFilterMode\":false,\"codeSet\":["
		      "3552231,3552232],"
		      "\"expressionType\":\"TAG\",\"subString\":\"tagA || "
		      "tagB\",\"subVersion\":1795472603801,\"tagsSet\":[\"tagA\",\"tagB\"],"
		      "\"topic\":\"Golden\"}],\"unitMode\":false}],\"heartbeatFingerprint\":0,\"producerDataSet\":[{"
		      "\"groupName\":"
		      "\"CLIENT_INNER_PRODUCER\"}],\"withoutSub\":false}");
	struct mq_heartbeat_consumer c;
	struct mq_heartbeat h;
	struct mq_subscription s;

	assert_int_equal(mq_heartbeat_read(doc, &h, NULL), 0);
	assert_slice_equal(h.client_id, "10.0.0.1@c1");
	assert_int_equal(h.fingerprint, 0);
	assert_false(h.without_subscriptions);
	assert_slice_equal(mq_heartbeat_producer_read(h.producers->first), "CLIENT_INNER_PRODUCER");
	assert_int_equal(mq_heartbeat_consumer_read(h.consumers->first, &c, NULL), 0);
	assert_slice_equal(c.group, "golden_group");
	assert_int_equal(c.type, MQ_CONSUME_PASSIVELY);
	assert_int_equal(c.model, MQ_CLUSTERING);
	assert_string_equal(mq_consume_from_name(c.from), "CONSUME_FROM_FIRST_OFFSET");
	assert_int_equal(mq_subscription_read(c.subscriptions->first->next, &s, NULL), 0);
	assert_slice_equal(s.topic, "Golden");
	assert_slice_equal(s.sub_string, "tagA || tagB");
	assert_slice_equal(s.expression_type, "TAG");
	assert_int_equal(s.version, 1795472603801);
	assert_int_equal(s.codes->n, 2);
	assert_int_equal(s.tags->n, 2);
}

static void a_cpp_heartbeat_has_ordinals_and_numbers_as_strings(void **state)
{
	_cleanup_(mq_json_freep) struct mq_json *doc =
		parse("{\"clientID\":\"c\",\"consumerDataSet\":[{\"consumeFromWhere\":4,\"consumeType\":1,"
		      "\"groupName\":\"g\",\"messageModel\":0,"
		      "\"subscriptionDataSet\":[{\"codeSet\":[\"65\"],\"subString\":\"A\",\"subVersion\":\"17\","
		      "\"tagsSet\":[\"A\"],\"topic\":\"T\"}]}]}");
	struct mq_heartbeat_consumer c;
	struct mq_heartbeat h;
	struct mq_subscription s;

	assert_int_equal(mq_heartbeat_read(doc, &h, NULL), 0);
	assert_null(h.producers);
	assert_int_equal(mq_heartbeat_consumer_read(h.consumers->first, &c, NULL), 0);
	assert_int_equal(c.type, MQ_CONSUME_PASSIVELY);
	assert_int_equal(c.model, MQ_BROADCASTING);
	assert_int_equal(c.from, 4);
	assert_int_equal(mq_subscription_read(c.subscriptions->first, &s, NULL), 0);
	assert_int_equal(s.version, 17);
	assert_int_equal(mq_json_i64(s.codes->first, 0), 65);
	assert_slice_equal(s.expression_type, "TAG");
}

static void a_heartbeat_without_client_or_names_is_refused_with_a_sentence(void **state)
{
	static const char *const bodies[] = {
		"{}",
		"[]",
		"{\"clientID\":\"\"}",
		"{\"clientID\":\"c\",\"consumerDataSet\":7}",
		"{\"clientID\":\"c\",\"producerDataSet\":{}}",
	};
	struct mq_heartbeat h;

	for (unsigned i = 0; i < N_ELEMENTS(bodies); i++) {
		_cleanup_(mq_json_freep) struct mq_json *doc = parse(bodies[i]);
		struct mq_error err = {};

		assert_int_equal(mq_heartbeat_read(doc, &h, &err), -EBADMSG);
		assert_true(err.text[0]);
	}

	_cleanup_(mq_json_freep) struct mq_json *doc =
		parse("{\"clientID\":\"c\",\"consumerDataSet\":[{}],\"producerDataSet\":[{}]}");
	struct mq_heartbeat_consumer c;
	struct mq_subscription s;

	assert_int_equal(mq_heartbeat_read(doc, &h, NULL), 0);
	assert_int_equal(mq_heartbeat_consumer_read(h.consumers->first, &c, NULL), -EBADMSG);
	assert_int_equal(mq_subscription_read(h.consumers->first, &s, NULL), -EBADMSG);
	assert_null(mq_heartbeat_producer_read(h.producers->first).p);
}

static void tags_are_split_at_bars_and_trimmed(void **state)
{
	struct mq_slice rest = MQ_SLICE(" tagA||  tagB ||  || tag C"), tag;

	assert_true(mq_tags_next(&rest, &tag));
	assert_slice_equal(tag, "tagA");
	assert_true(mq_tags_next(&rest, &tag));
	assert_slice_equal(tag, "tagB");
	assert_true(mq_tags_next(&rest, &tag));
	assert_slice_equal(tag, "tag C");
	assert_false(mq_tags_next(&rest, &tag));
	assert_true(mq_tags_match_all(MQ_SLICE("*")));
	assert_true(mq_tags_match_all((struct mq_slice){}));
	assert_false(mq_tags_match_all(MQ_SLICE("* || a")));
}

/* ---- locks ---- */

static void a_lock_request_names_queues(void **state)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = parse(
		"{\"clientId\":\"10.0.0.1@o1\",\"consumerGroup\":\"golden_orderly\",\"mqSet\":[{\"brokerName\":"
		"\"broker-a\",\"queueId\":2,"
		"\"topic\":\"Golden\"},{\"queueId\":-1,\"topic\":\"T\"},{\"queueId\":1}],\"onlyThisBroker\":false}");
	struct mq_lock_body body;
	struct mq_queue_name q;

	assert_int_equal(mq_lock_body_read(doc, &body, NULL), 0);
	assert_slice_equal(body.group, "golden_orderly");
	assert_slice_equal(body.client_id, "10.0.0.1@o1");
	assert_false(body.only_this_broker);
	assert_int_equal(mq_queue_name_read(body.queues->first, &q), 0);
	assert_slice_equal(q.broker, "broker-a");
	assert_slice_equal(q.topic, "Golden");
	assert_int_equal(q.id, 2);
	assert_int_equal(mq_queue_name_read(body.queues->first->next, &q), -EBADMSG);
	assert_int_equal(mq_queue_name_read(body.queues->first->next->next, &q), -EBADMSG);
}

static void a_lock_request_without_group_or_client_is_refused(void **state)
{
	static const char *const bodies[] = { "{\"clientId\":\"c\"}", "{\"consumerGroup\":\"g\"}",
					      "{\"clientId\":\"c\",\"consumerGroup\":\"g\",\"mqSet\":3}" };
	struct mq_lock_body body;

	for (unsigned i = 0; i < N_ELEMENTS(bodies); i++) {
		_cleanup_(mq_json_freep) struct mq_json *doc = parse(bodies[i]);
		struct mq_error err = {};

		assert_int_equal(mq_lock_body_read(doc, &body, &err), -EBADMSG);
		assert_true(err.text[0]);
	}
}

/* ---- topics and groups ---- */

static const char golden_topic[] =
	"{\"attributes\":{\"message.type\":\"FIFO\"},\"order\":true,\"perm\":6,\"readQueueNums\":4,\"topicFilterType\":"
	"\"SINGLE_TAG\",\"topicName\":\"GoldenFifo\",\"topicSysFlag\":0,\"writeQueueNums\":3}";

static void a_topic_is_written_as_it_was_read(void **state)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = parse(golden_topic);
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_topic_config c;
	struct mq_json_writer w;
	char attributes[64];

	assert_int_equal(mq_topic_config_read(mq_json_root(doc), &c, attributes, sizeof attributes), 0);
	assert_slice_equal(c.attributes, "message.type=FIFO");
	assert_int_equal(c.write_queues, 3);
	assert_true(c.is_order);
	mq_json_begin(&w, out);
	mq_topic_config_write(&w, &c);
	assert_int_equal(mq_json_end(&w), 0);
	assert_slice_equal(test_bytes(out), golden_topic);
}

static void a_topic_out_of_bounds_is_refused(void **state)
{
	_cleanup_(mq_json_freep) struct mq_json *nameless = parse("{\"perm\":6}");
	_cleanup_(mq_json_freep) struct mq_json *huge = parse("{\"topicName\":\"T\",\"readQueueNums\":4294967297}");
	_cleanup_(mq_json_freep) struct mq_json *fifo = parse(golden_topic);
	struct mq_topic_config c;
	char attributes[64];

	assert_int_equal(mq_topic_config_read(mq_json_root(nameless), &c, attributes, sizeof attributes), -EBADMSG);
	assert_int_equal(mq_topic_config_read(mq_json_root(huge), &c, attributes, sizeof attributes), -EBADMSG);
	assert_int_equal(mq_topic_config_read(mq_json_root(fifo), &c, attributes, 10), -E2BIG);
}

static const char golden_group[] = "{\"attributes\":{},\"brokerId\":0,\"consumeBroadcastEnable\":false,"
				   "\"consumeEnable\":true,\"consumeFromMinEnable\":false,"
				   "\"consumeMessageOrderly\":false,\"consumeTimeoutMinute\":15,\"groupName\":\"golden_"
				   "group\",\"groupRetryPolicy\":{\"type\":"
				   "\"CUSTOMIZED\"},\"groupSysFlag\":0,\"notifyConsumerIdsChangedEnable\":true,"
				   "\"retryMaxTimes\":16,\"retryQueueNums\":1,"
				   "\"whichBrokerWhenConsumeSlowly\":1}";

static void a_group_is_written_as_it_was_read(void **state)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = parse(golden_group);
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_group_config c;
	struct mq_json_writer w;
	char text[MQ_GROUP_TEXT_MAX];

	assert_int_equal(mq_group_config_read(mq_json_root(doc), &c, text), 0);
	mq_json_begin(&w, out);
	mq_group_config_write(&w, &c);
	assert_int_equal(mq_json_end(&w), 0);
	assert_slice_equal(test_bytes(out), golden_group);
}

static void absent_members_of_a_group_take_the_defaults_and_its_policy_is_kept(void **state)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = parse("{groupName:'g',groupRetryPolicy:{type:'EXPONENTIAL',"
							     "exponentialRetryPolicy:{initial:1,max:[2,null,true]}}}");
	struct mq_group_config c;
	char text[MQ_GROUP_TEXT_MAX];

	assert_int_equal(mq_group_config_read(mq_json_root(doc), &c, text), 0);
	assert_true(c.consume_enable && c.consume_broadcast_enable && c.consume_from_min_enable && c.notify_ids_changed);
	assert_int_equal(c.retry_max_times, 16);
	assert_slice_equal(c.retry_policy,
			   "{\"type\":\"EXPONENTIAL\",\"exponentialRetryPolicy\":{\"initial\":1,\"max\":[2,null,true]}}");
}

/* ---- statistics and connections ---- */

static void queues_are_keys_in_the_order_that_the_go_client_needs(void **state)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_queue_name q = { .broker = MQ_SLICE("broker-a"), .topic = MQ_SLICE("Golden"), .id = 2 };
	struct mq_json_writer w;

	mq_json_begin(&w, out);
	mq_json_open_object(&w);
	mq_topic_offset_write(&w, &q, &(struct mq_topic_offset){ .min = 0, .max = 6, .last_update_ms = 1795472735862 });
	q.id = 3;
	mq_consume_offset_write(&w, &q,
				&(struct mq_consume_offset){
					.broker_offset = 6, .consumer_offset = 5, .pull_offset = 5, .last_ms = 7 });
	mq_json_close_object(&w);
	assert_int_equal(mq_json_end(&w), 0);
	assert_slice_equal(
		test_bytes(out),
		"{{\"brokerName\":\"broker-a\",\"queueId\":2,\"topic\":\"Golden\"}:{\"lastUpdateTimestamp\":"
		"1795472735862,"
		"\"maxOffset\":6,\"minOffset\":0},{\"brokerName\":\"broker-a\",\"queueId\":3,\"topic\":\"Golden\"}:{"
		"\"brokerOffset\":6,\"consumerOffset\":5,\"lastTimestamp\":7,\"pullOffset\":5}}");
}

static void connections_and_subscriptions_look_like_apaches(void **state)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_slice tags[] = { MQ_SLICE("tagA") };
	int32_t codes[] = { 3552231 };
	struct mq_json_writer w;

	mq_json_begin(&w, out);
	mq_json_open_array(&w);
	mq_json_open_object(&w);
	mq_connection_write(&w, &(struct mq_connection){ .address = MQ_SLICE("127.0.0.1:52304"),
							 .client_id = MQ_SLICE("10.0.0.1@held"),
							 .language = MQ_JAVA,
							 .version = 513 });
	mq_json_close_object(&w);
	mq_subscription_write(&w, &(struct mq_subscription_text){ .topic = MQ_SLICE("Golden"),
								  .sub_string = MQ_SLICE("tagA"),
								  .expression_type = MQ_SLICE("TAG"),
								  .version = 9,
								  .n_tags = 1,
								  .tags = tags,
								  .n_codes = 1,
								  .codes = codes });
	mq_json_close_array(&w);
	assert_int_equal(mq_json_end(&w), 0);
	assert_slice_equal(
		test_bytes(out),
		"[{\"clientAddr\":\"127.0.0.1:52304\",\"clientId\":\"10.0.0.1@held\",\"language\":\"JAVA\",\"version\":"
		"513},{"
		"\"classFilterMode\":false,\"codeSet\":[3552231],\"expressionType\":\"TAG\",\"subString\":\"tagA\","
		"\"subVersion\":9,\"tagsSet\":[\"tagA\"],\"topic\":\"Golden\"}]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_java_heartbeat_is_read_whole),
		cmocka_unit_test(a_cpp_heartbeat_has_ordinals_and_numbers_as_strings),
		cmocka_unit_test(a_heartbeat_without_client_or_names_is_refused_with_a_sentence),
		cmocka_unit_test(tags_are_split_at_bars_and_trimmed),
		cmocka_unit_test(a_lock_request_names_queues),
		cmocka_unit_test(a_lock_request_without_group_or_client_is_refused),
		cmocka_unit_test(a_topic_is_written_as_it_was_read),
		cmocka_unit_test(a_topic_out_of_bounds_is_refused),
		cmocka_unit_test(a_group_is_written_as_it_was_read),
		cmocka_unit_test(absent_members_of_a_group_take_the_defaults_and_its_policy_is_kept),
		cmocka_unit_test(queues_are_keys_in_the_order_that_the_go_client_needs),
		cmocka_unit_test(connections_and_subscriptions_look_like_apaches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
