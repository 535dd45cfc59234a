/* SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320) as a producer sends them. */
#include "tests/wire/messages.h"

static int start_daemon(void **state)
{
	static const char *const sets[] = { "brokerName=broker-a", "maxMessageSize=100000", NULL };

	daemon_ = harness_start(HARNESS_BROKER, sets);
	return 0;
}

static void assert_sender_fields(const struct mq_command *answer)
{
	assert_string_equal(harness_field(answer, "MSG_REGION"), "DefaultRegion");
	assert_string_equal(harness_field(answer, "TRACE_ON"), "true");
}

static void assert_refused(const struct mq_command *answer, int code, const char *remark)
{
	harness_assert_answer(answer, code, remark);
	assert_sender_fields(answer);
}

static const char too_large[] = "the message is illegal, maybe msg body or properties length not matched. msg body length limit "
				"100000B, msg properties length limit 32KB.";

static void a_message_is_stored_as_sent_with_the_brokers_properties(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_record r;
	struct mq_host host;
	int64_t locator;

	answer = send_message(p, "Stored", "3", "color\1red\2KEYS\1k1 k2\2UNIQ_KEY\1U1\2WAIT\1true\2TAGS\1tagA\2POP_CK\1x\2", "hello golden");
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_sender_fields(answer);
	assert_string_equal(harness_field(answer, "queueId"), "3");
	assert_string_equal(harness_field(answer, "queueOffset"), "0");
	assert_string_equal(harness_field(answer, "transactionId"), "U1");
	assert_int_equal(strlen(harness_field(answer, "msgId")), 32);
	assert_int_equal(mq_message_id_decode(mq_slice_of(harness_field(answer, "msgId")), &host, &locator), 0);
	assert_int_equal(host.port, daemon_->port);
	assert_memory_equal(host.addr, "\x7f\0\0\1", 4);

	answer = pull(p, "Stored", "3", "0");
	assert_pull(answer, MQ_SUCCESS, "FOUND", "1", "0", "1");
	assert_int_equal(records_of(answer, &r, 1), 1);
	assert_int_equal(r.magic, MQ_RECORD_V1);
	assert_slice(r.topic, "Stored");
	assert_slice(r.body, "hello golden");
	assert_int_equal(r.queue_id, 3);
	assert_int_equal(r.queue_offset, 0);
	assert_int_equal(r.physical_offset, locator);
	assert_int_equal(r.born_at_ms, 1795472583777);
	assert_int_equal(r.store_host.port, daemon_->port);
	assert_int_equal(r.sys_flag, 0);
	assert_int_equal(r.reconsume_times, 0);
	assert_int_equal(r.prepared_offset, 0);
	assert_property(r.properties, "color", "red");
	assert_property(r.properties, "KEYS", "k1 k2");
	assert_property(r.properties, "UNIQ_KEY", "U1");
	assert_property(r.properties, "WAIT", "true");
	assert_property(r.properties, "TAGS", "tagA");
	assert_property(r.properties, "MSG_REGION", "DefaultRegion");
	assert_property(r.properties, "TRACE_ON", "true");
	assert_property(r.properties, "CLUSTER", "DefaultCluster");
	assert_property(r.properties, "POP_CK", NULL);
}

static void a_message_without_unique_id_gets_one(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer = send_message(p, "Unique", "0", "", "x");
	char id[64];
	struct mq_record r;

	snprintf(id, sizeof id, "%s", harness_field(answer, "transactionId"));
	assert_int_equal(strlen(id), 32);
	assert_int_equal(records_of(pull(p, "Unique", "0", "0"), &r, 1), 1);
	assert_property(r.properties, "UNIQ_KEY", id);
}

static void flags_and_times_are_the_senders(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	struct mq_record r;

	send_request(&cmd, "Flags", "0", "", MQ_SLICE("\x78\x9c zipped"));
	set_field(&cmd, "f", "769");
	set_field(&cmd, "g", "1700000000001");
	set_field(&cmd, "h", "-7");
	set_field(&cmd, "j", "2");
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	assert_int_equal(records_of(pull(p, "Flags", "0", "0"), &r, 1), 1);
	assert_int_equal(r.sys_flag, 769);
	assert_int_equal(r.born_at_ms, 1700000000001);
	assert_int_equal(r.flag, -7);
	assert_int_equal(r.reconsume_times, 2);
	assert_slice(r.body, "\x78\x9c zipped");
}

static void code_10_has_long_names(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_command cmd;

	harness_request(&cmd, MQ_SEND_MESSAGE, "producerGroup", "pg", "topic", "Old", "defaultTopic", "TBW102", "defaultTopicQueueNums",
			"4", "queueId", "1", "sysFlag", "0", "bornTimestamp", "5", "flag", "0", "properties", "UNIQ_KEY\1U\2", NULL);
	cmd.body = MQ_SLICE("old style");
	answer = harness_call(p, &cmd);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_sender_fields(answer);
	assert_string_equal(harness_field(answer, "transactionId"), "U");
}

static void offsets_of_a_queue_are_dense(void **state)
{
	struct harness_peer *p = *state;
	char offset[16];

	for (int i = 0; i < 20; i++) {
		const struct mq_command *answer = send_message(p, "Dense", i % 2 ? "1" : "0", "", "x");

		snprintf(offset, sizeof offset, "%d", i / 2);
		harness_assert_answer(answer, MQ_SUCCESS, NULL);
		assert_string_equal(harness_field(answer, "queueOffset"), offset);
	}
}

static void many_sends_of_one_turn_are_all_answered(void **state)
{
	enum { N = 500 };
	struct harness_peer *p = *state;
	int32_t opaques[N];
	struct mq_command cmd;
	char body[16];

	for (int i = 0; i < N; i++) {
		snprintf(body, sizeof body, "%d", i);
		send_request(&cmd, "Many", "0", "", mq_slice_of(body));
		opaques[i] = harness_send(p, &cmd);
	}
	for (int i = 0; i < N; i++)
		harness_assert_answer(harness_answer(p, opaques[i]), MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(harness_ask(p, MQ_GET_MAX_OFFSET, "topic", "Many", "queueId", "0", NULL), "offset"), "500");
}

static void a_negative_queue_id_lets_the_broker_choose(void **state)
{
	struct harness_peer *p = *state;
	unsigned seen = 0;

	for (int i = 0; i < 40; i++) {
		int queue = atoi(harness_field(send_message(p, "AnyQueue", "-1", "", "x"), "queueId"));

		assert_in_range(queue, 0, 3);
		seen |= 1u << queue;
	}
	assert_int_equal(seen, 0xf);
}

static void a_one_way_send_is_stored_and_not_answered(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	send_ok(p, "OneWay", "0", "", "first");
	send_request(&cmd, "OneWay", "0", "", MQ_SLICE("second"));
	cmd.flag = MQ_FLAG_ONEWAY;
	harness_send(p, &cmd);
	send_request(&cmd, "OneWay", "77", "", MQ_SLICE("to no queue"));
	cmd.flag = MQ_FLAG_ONEWAY;
	harness_send(p, &cmd);
	/* The next answer on this connection is the one to what came after them. */
	assert_string_equal(harness_field(send_message(p, "OneWay", "0", "", "third"), "queueOffset"), "2");
	assert_true(STAILQ_EMPTY(&p->kept));
}

static void an_unknown_topic_is_made_like_the_default_topic(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	send_request(&cmd, "Made", "0", "", MQ_SLICE("x"));
	set_field(&cmd, "d", "16"); /* the template has 8 */
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	send_ok(p, "Made", "7", "", "x");
	assert_int_equal(send_message(p, "Made", "8", "", "x")->code, MQ_INVALID_PARAMETER);
}

static void a_topic_that_cannot_be_made_is_unknown(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	send_request(&cmd, "NotMade", "0", "", MQ_SLICE("x"));
	set_field(&cmd, "c", "NoTemplate");
	assert_refused(harness_call(p, &cmd), MQ_TOPIC_NOT_EXIST, "topic[NotMade] not exist, apply first please!" FAQ);
}

static void a_queue_that_the_topic_does_not_have_is_refused(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;

	send_ok(p, "Golden", "0", "", "x");
	answer = send_message(p, "Golden", "99", "", "x");
	assert_int_equal(answer->code, MQ_INVALID_PARAMETER);
	assert_sender_fields(answer);
	assert_true(mq_slice_starts(answer->remark,
				    MQ_SLICE("request queueId[99] is illegal, TopicConfig [topicName=Golden, readQueueNums=4, "
					     "writeQueueNums=4, perm=RW-, topicFilterType=SINGLE_TAG, topicSysFlag=0, order=false, "
					     "attributes={}] Producer: 127.0.0.1:")));
}

static void illegal_names_are_refused(void **state)
{
	struct harness_peer *p = *state;
	char name[200];

	assert_refused(send_message(p, " ", "0", "", "x"), MQ_INVALID_PARAMETER, "The specified topic is blank.");
	assert_refused(send_message(p, "a/b", "0", "", "x"), MQ_INVALID_PARAMETER,
		       "The specified topic: a/b, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$");
	memset(name, 't', 128);
	name[128] = '\0';
	assert_int_equal(send_message(p, name, "0", "", "x")->code, MQ_INVALID_PARAMETER);
	name[127] = '\0';
	send_ok(p, name, "0", "", "x");
	/* A name that a dead letters' topic may have, and a record only of a retry topic. */
	memset(name, 'l', 199);
	memcpy(name, "%DLQ%", 5);
	name[199] = '\0';
	assert_refused(send_message(p, name, "0", "", "x"), MQ_MESSAGE_ILLEGAL, too_large);
}

static void system_topics_are_no_targets(void **state)
{
	struct harness_peer *p = *state;

	assert_refused(send_message(p, "SCHEDULE_TOPIC_XXXX", "0", "", "x"), MQ_NO_PERMISSION,
		       "Sending message to topic[SCHEDULE_TOPIC_XXXX] is forbidden.");
	assert_refused(send_message(p, "RMQ_SYS_TRANS_HALF_TOPIC", "0", "", "x"), MQ_NO_PERMISSION,
		       "Sending message to topic[RMQ_SYS_TRANS_HALF_TOPIC] is forbidden.");
	send_ok(p, "TBW102", "0", "", "x");
	send_ok(p, "broker-a", "0", "", "x");
}

static void sizes_are_limited(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	char *large = calloc(1, 100001), *properties = malloc(32768 + 1);

	send_request(&cmd, "Sizes", "0", "", (struct mq_slice){ large, 100001 });
	assert_refused(harness_call(p, &cmd), MQ_MESSAGE_ILLEGAL, too_large);
	cmd.body.n = 100000;
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	cmd.body = (struct mq_slice){};
	assert_refused(harness_call(p, &cmd), MQ_MESSAGE_ILLEGAL, too_large);

	memset(properties, 'p', 32768);
	properties[1] = 1;
	properties[32767] = 2;
	properties[32768] = '\0';
	assert_refused(send_message(p, "Sizes", "0", properties, "x"), MQ_MESSAGE_ILLEGAL, too_large);
	properties[32700] = '\0'; /* fits, but not with what the broker adds */
	assert_refused(send_message(p, "Sizes", "0", properties, "x"), MQ_MESSAGE_ILLEGAL, too_large);
	properties[32500] = '\0';
	send_ok(p, "Sizes", "0", properties, "x");
	free(large);
	free(properties);
}

static void a_missing_field_is_named(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	send_request(&cmd, "T", "0", "", MQ_SLICE("x"));
	drop_field(&cmd, "e");
	assert_refused(harness_call(p, &cmd), MQ_SYSTEM_ERROR, "the custom field <e> is null");
	send_request(&cmd, "T", "zero", "", MQ_SLICE("x"));
	assert_refused(harness_call(p, &cmd), MQ_SYSTEM_ERROR, "the custom field <e> is not valid: zero");
}

/* Apache's broker looks at these only where it uses them. */
static void what_only_a_new_topic_needs_may_be_missing(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;

	send_ok(p, "Bare", "0", "", "makes the topic");
	send_request(&cmd, "Bare", "0", "", MQ_SLICE("bare"));
	for (const char *name = "acdijkmn"; *name; name++)
		drop_field(&cmd, (char[]){ *name, '\0' });
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);

	send_request(&cmd, "BareNew", "0", "", MQ_SLICE("x"));
	drop_field(&cmd, "c");
	assert_refused(harness_call(p, &cmd), MQ_SYSTEM_ERROR, "the custom field <defaultTopic> is null");
	send_request(&cmd, "BareNew", "0", "", MQ_SLICE("x"));
	drop_field(&cmd, "d");
	assert_refused(harness_call(p, &cmd), MQ_SYSTEM_ERROR, "the custom field <defaultTopicQueueNums> is null");
	send_request(&cmd, "BareNew", "0", "", MQ_SLICE("x"));
	drop_field(&cmd, "a");
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
}

static void a_number_that_is_none_is_as_good_as_missing_in_code_10_only(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	struct mq_record r;

	send_ok(p, "Words", "0", "", "makes the topic");
	harness_request(&cmd, MQ_SEND_MESSAGE, "topic", "Words", "defaultTopicQueueNums", "many", "queueId", "0", "sysFlag", "0",
			"bornTimestamp", "5", "flag", "0", "reconsumeTimes", "often", "maxReconsumeTimes", "", NULL);
	cmd.body = MQ_SLICE("x");
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	assert_int_equal(records_of(pull(p, "Words", "0", "1"), &r, 1), 1);
	assert_int_equal(r.reconsume_times, 0);

	send_request(&cmd, "Words", "0", "", MQ_SLICE("x"));
	set_field(&cmd, "j", "often");
	assert_refused(harness_call(p, &cmd), MQ_SYSTEM_ERROR, "the custom field <j> is not valid: often");
}

static void a_retry_topic_is_made_with_its_group(void **state)
{
	struct harness_peer *p = *state;
	struct mq_record r;

	send_ok(p, "%RETRY%rg", "0", "RETRY_TOPIC\1T\2", "again");
	assert_int_equal(send_message(p, "%RETRY%rg", "4", "", "x")->code, MQ_INVALID_PARAMETER);
	assert_int_equal(records_of(pull(p, "%RETRY%rg", "0", "0"), &r, 1), 1);
	assert_slice(r.body, "again");
}

/* ---- Batches ---- */

static size_t put_entry(char *out, const char *body, const char *properties)
{
	struct mq_batch_entry e = { .flag = 3, .body = mq_slice_of(body), .properties = mq_slice_of(properties) };

	return mq_batch_entry_encode(&e, out);
}

static void batch_request(struct mq_command *cmd, const char *topic, struct mq_slice body)
{
	send_request(cmd, topic, "1", "UNIQ_KEY\1BATCH\2WAIT\1true\2", body);
	cmd->code = MQ_SEND_BATCH_MESSAGE;
	set_field(cmd, "m", "true");
}

static void a_batch_is_stored_message_by_message(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_command cmd;
	struct mq_record r[3];
	char body[500];
	size_t n = 0;

	send_ok(p, "Batch", "1", "", "before");
	n += put_entry(body + n, "batch one", "KEYS\1b1\2UNIQ_KEY\1U4\2WAIT\1true\2TAGS\1tagA\2");
	n += put_entry(body + n, "batch two", "KEYS\1b2\2UNIQ_KEY\1U5\2TAGS\1tagB");
	n += put_entry(body + n, "batch three", "");
	batch_request(&cmd, "Batch", (struct mq_slice){ body, n });
	answer = harness_call(p, &cmd);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_sender_fields(answer);
	assert_string_equal(harness_field(answer, "queueOffset"), "1");
	assert_string_equal(harness_field(answer, "transactionId"), "BATCH");
	assert_int_equal(strlen(harness_field(answer, "msgId")), 32 * 3 + 2);
	assert_int_equal(harness_field(answer, "msgId")[32], ',');

	answer = pull(p, "Batch", "1", "1");
	assert_int_equal(records_of(answer, r, 3), 3);
	assert_slice(r[0].body, "batch one");
	assert_slice(r[2].body, "batch three");
	assert_int_equal(r[1].flag, 3);
	assert_int_equal(r[2].queue_offset, 3);
	assert_property(r[0].properties, "UNIQ_KEY", "U4");
	assert_slice(r[1].properties, "KEYS\1b2\2UNIQ_KEY\1U5\2TAGS\1tagB"); /* nothing is added to a batch's messages */
	assert_int_equal(r[2].properties.n, 0);
}

static void a_batch_for_a_topic_of_batches_has_one_id(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_command cmd;
	struct mq_record r[2];
	char body[200];
	size_t n = put_entry(body, "one", "");

	harness_assert_answer(harness_ask(p, MQ_UPDATE_AND_CREATE_TOPIC, "topic", "Batches", "defaultTopic", "TBW102", "readQueueNums", "2",
					  "writeQueueNums", "2", "perm", "6", "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order",
					  "false", "attributes", "+queue.type=BatchCQ", NULL),
			      MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(harness_ask(p, MQ_GET_MIN_OFFSET, "topic", "Batches", "queueId", "1", NULL), "offset"), "-1");
	n += put_entry(body + n, "two", "");
	batch_request(&cmd, "Batches", (struct mq_slice){ body, n });
	answer = harness_call(p, &cmd);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_string_equal(harness_field(answer, "batchUniqId"), "BATCH");
	assert_int_equal(strlen(harness_field(answer, "msgId")), 32);
	assert_int_equal(records_of(pull(p, "Batches", "1", "0"), r, 2), 2);
	assert_int_equal(r[1].queue_offset, 1);
	assert_string_equal(harness_field(harness_ask(p, MQ_GET_MIN_OFFSET, "topic", "Batches", "queueId", "1", NULL), "offset"), "0");
}

static void code_320_without_m_is_one_message(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	char body[200];
	struct mq_record r;
	size_t n = put_entry(body, "one", "");

	n += put_entry(body + n, "two", "");
	batch_request(&cmd, "NoBatch", (struct mq_slice){ body, n });
	set_field(&cmd, "m", "false");
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	assert_int_equal(records_of(pull(p, "NoBatch", "1", "0"), &r, 1), 1);
	assert_int_equal(r.body.n, n);
}

static void a_broken_batch_is_refused(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	char body[200];
	size_t n = put_entry(body, "one", "");

	for (size_t cut = 1; cut < n; cut++) {
		batch_request(&cmd, "Broken", (struct mq_slice){ body, n - cut });
		assert_refused(harness_call(p, &cmd), MQ_MESSAGE_ILLEGAL, too_large);
	}
	mq_put32(body, 0x7fffffff);
	batch_request(&cmd, "Broken", (struct mq_slice){ body, n });
	assert_refused(harness_call(p, &cmd), MQ_MESSAGE_ILLEGAL, too_large);
	batch_request(&cmd, "%RETRY%rg", (struct mq_slice){ body, n });
	set_field(&cmd, "e", "0");
	assert_refused(harness_call(p, &cmd), MQ_MESSAGE_ILLEGAL, "batch request does not support retry group %RETRY%rg");
}

/* The body fits; the records, which have a head each, are more than twice as large. */
static void a_batch_of_many_small_messages_is_stored(void **state)
{
	struct harness_peer *p = *state;
	const struct mq_command *answer;
	struct mq_command cmd;
	struct mq_record r;
	char *body = malloc(99900), offset[16];
	size_t n = 0, one;
	unsigned count = 1;

	one = put_entry(body, "x", "UNIQ_KEY\1""0123456789ABCDEF0123456789ABCDEF\2WAIT\1true\2");
	for (n = one; n + one <= 99900; n += one, count++)
		memcpy(body + n, body, one);
	batch_request(&cmd, "Small", (struct mq_slice){ body, n });
	answer = harness_call(p, &cmd);
	harness_assert_answer(answer, MQ_SUCCESS, NULL);
	assert_int_equal(mq_command_field(answer, "msgId")->n, 33 * count - 1);
	snprintf(offset, sizeof offset, "%u", count - 1);
	assert_int_equal(records_of(pull(p, "Small", "1", offset), &r, 1), 1);
	assert_slice(r.body, "x");
	snprintf(offset, sizeof offset, "%u", count);
	assert_string_equal(harness_field(harness_ask(p, MQ_GET_MAX_OFFSET, "topic", "Small", "queueId", "1", NULL), "offset"), offset);
	free(body);
}

static void a_batch_of_countless_messages_is_refused(void **state)
{
	struct harness_peer *p = *state;
	struct mq_command cmd;
	size_t n = 0, one;
	char *body = malloc(90000);

	one = put_entry(body, "x", "");
	for (n = one; n + one <= 90000; n += one)
		memcpy(body + n, body, one);
	batch_request(&cmd, "Countless", (struct mq_slice){ body, n }); /* small as it came, large as records */
	assert_refused(harness_call(p, &cmd), MQ_MESSAGE_ILLEGAL, too_large);
	free(body);
}

/* ---- Permissions ---- */

static void the_topics_own_permission_is_not_checked(void **state)
{
	struct harness_peer *p = *state;

	harness_assert_answer(harness_ask(p, MQ_UPDATE_AND_CREATE_TOPIC, "topic", "ReadOnly", "defaultTopic", "TBW102", "readQueueNums",
					  "1", "writeQueueNums", "1", "perm", "4", "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0",
					  "order", "false", NULL),
			      MQ_SUCCESS, NULL);
	send_ok(p, "ReadOnly", "0", "", "x");
}

static void queues_for_reading_or_writing_may_be_sent_to(void **state)
{
	struct harness_peer *p = *state;

	harness_assert_answer(harness_ask(p, MQ_UPDATE_AND_CREATE_TOPIC, "topic", "Shrinks", "defaultTopic", "TBW102", "readQueueNums",
					  "4", "writeQueueNums", "2", "perm", "6", "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0",
					  "order", "false", NULL),
			      MQ_SUCCESS, NULL);
	send_ok(p, "Shrinks", "3", "", "x");
	assert_int_equal(send_message(p, "Shrinks", "4", "", "x")->code, MQ_INVALID_PARAMETER);
	for (int i = 0; i < 10; i++)
		assert_in_range(atoi(harness_field(send_message(p, "Shrinks", "-1", "", "x"), "queueId")), 0, 1);
}

static void messages_survive_a_kill(void **state)
{
	struct harness_daemon *shared = daemon_, *own;
	struct harness_peer *p;
	struct mq_record r[10];

	own = harness_start(HARNESS_BROKER, NULL);
	p = harness_connect(own);
	for (int i = 0; i < 10; i++)
		send_ok(p, "Kept", "0", "", "x");
	harness_kill(own);
	harness_close(p);
	harness_restart(own);
	p = harness_connect(own);
	assert_int_equal(records_of(pull(p, "Kept", "0", "0"), r, 10), 10);
	assert_string_equal(harness_field(send_message(p, "Kept", "0", "", "next"), "queueOffset"), "10");
	harness_close(p);
	harness_free(own);
	daemon_ = shared;
}

static void without_space_sends_are_refused_and_pulls_go_on(void **state)
{
	static const char *const sets[] = { "storeMinFreeBytes=0", NULL };
	struct harness_daemon *own = harness_start(HARNESS_BROKER, sets);
	struct harness_peer *p = harness_connect(own);
	const struct mq_command *answer;
	struct mq_record r;

	send_ok(p, "Full", "0", "", "before");
	pull(p, "Full", "0", "0"); /* makes the group, which has to be written, too */
	harness_close(p);
	harness_stop(own);
	for (char **set = own->sets; *set; set++) {
		if (strcmp(*set, sets[0]) == 0) {
			free(*set);
			*set = strdup("storeMinFreeBytes=1000000000M");
		}
	}
	harness_restart(own);
	assert_non_null(strstr(own->status, "store read-only: "));
	p = harness_connect(own);
	answer = send_message(p, "Full", "0", "", "x");
	assert_int_equal(answer->code, MQ_SERVICE_NOT_AVAILABLE);
	assert_true(mq_slice_starts(answer->remark, MQ_SLICE("service not available now: ")));
	assert_non_null(memmem(answer->remark.p, answer->remark.n, "storeMinFreeBytes", 17));
	assert_int_equal(send_message(p, "FullToo", "0", "", "x")->code, MQ_SERVICE_NOT_AVAILABLE);
	assert_int_equal(records_of(pull(p, "Full", "0", "0"), &r, 1), 1);
	assert_slice(r.body, "before");
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

static void with_sync_flush_answers_come_and_wait_false_does_not_wait(void **state)
{
	static const char *const sets[] = { "flushDiskType=SYNC_FLUSH", NULL };
	struct harness_daemon *own = harness_start(HARNESS_BROKER, sets);
	struct harness_peer *p = harness_connect(own);
	int32_t opaques[50];
	struct mq_command cmd;

	send_ok(p, "Synced", "0", "", "x");
	for (int i = 0; i < 50; i++) {
		send_request(&cmd, "Synced", "0", i % 2 ? "WAIT\1false\2" : "", MQ_SLICE("x"));
		opaques[i] = harness_send(p, &cmd);
	}
	for (int i = 0; i < 50; i++)
		harness_assert_answer(harness_answer(p, opaques[i]), MQ_SUCCESS, NULL);
	harness_close(p);
	harness_stop(own);
	harness_free(own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_message_is_stored_as_sent_with_the_brokers_properties),
		TEST(a_message_without_unique_id_gets_one),
		TEST(flags_and_times_are_the_senders),
		TEST(code_10_has_long_names),
		TEST(offsets_of_a_queue_are_dense),
		TEST(many_sends_of_one_turn_are_all_answered),
		TEST(a_negative_queue_id_lets_the_broker_choose),
		TEST(a_one_way_send_is_stored_and_not_answered),
		TEST(an_unknown_topic_is_made_like_the_default_topic),
		TEST(a_topic_that_cannot_be_made_is_unknown),
		TEST(a_queue_that_the_topic_does_not_have_is_refused),
		TEST(illegal_names_are_refused),
		TEST(system_topics_are_no_targets),
		TEST(sizes_are_limited),
		TEST(a_missing_field_is_named),
		TEST(what_only_a_new_topic_needs_may_be_missing),
		TEST(a_number_that_is_none_is_as_good_as_missing_in_code_10_only),
		TEST(a_retry_topic_is_made_with_its_group),
		TEST(a_batch_is_stored_message_by_message),
		TEST(a_batch_for_a_topic_of_batches_has_one_id),
		TEST(code_320_without_m_is_one_message),
		TEST(a_broken_batch_is_refused),
		TEST(a_batch_of_many_small_messages_is_stored),
		TEST(a_batch_of_countless_messages_is_refused),
		TEST(the_topics_own_permission_is_not_checked),
		TEST(queues_for_reading_or_writing_may_be_sent_to),
		cmocka_unit_test(messages_survive_a_kill),
		cmocka_unit_test(without_space_sends_are_refused_and_pulls_go_on),
		cmocka_unit_test(with_sync_flush_answers_come_and_wait_false_does_not_wait),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
