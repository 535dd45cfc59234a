#include "tests/unit/client/fake.h"

#include "libmq/client/consumer.h"
#include "libmq/wire/body_heartbeat.h"
#include "libmq/wire/message_properties.h"

/* A broker with four queues of topic T, one of the retry topic, and one other member in the group. */
struct fixture {
	struct test_clock clock;
	struct mq_loop *loop;
	struct fake *namesrv, *broker;
	struct mq_client *client;
	struct mq_consumer *consumer;
	char route[512], retry_route[512];
	const char *other;           /* id of the other member; NULL: alone */
	int64_t committed;           /* of queue 0; -1: none */
	int64_t max_offset;
	/* seen */
	char heartbeat[2048];
	unsigned n_heartbeats, n_members_asked, n_unregistered, n_max_asked;
	unsigned pulled;             /* bit per queue of T */
	bool has_pulled_retry;
	int64_t first_offset[4];     /* of the first pull of each queue; -1: none */
	int64_t updated[4];          /* last commit of each queue; -1: none */
	unsigned n_assigned_queues, n_assigned_members, n_batches, n_failures;
	char members[256];
};

static const char *text_of(const struct mq_command *cmd, const char *name)
{
	static char text[4][300];
	static unsigned i;
	const struct mq_slice *value = mq_command_field(cmd, name);

	assert_non_null(value);
	i = (i + 1) % 4;
	snprintf(text[i], sizeof text[i], "%.*s", MQ_FMT(*value));
	return text[i];
}

static bool namesrv_script(struct fake *fake, const struct mq_command *request, struct mq_command *answer)
{
	struct fixture *f = fake->user;

	answer->body = mq_slice_of(strcmp(text_of(request, "topic"), "T") == 0 ? f->route : f->retry_route);
	return true;
}

static bool answer_pull(struct fixture *f, const struct mq_command *request, struct mq_command *answer)
{
	int queue = atoi(text_of(request, "queueId"));
	int64_t offset = atoll(text_of(request, "queueOffset"));

	assert_string_equal(text_of(request, "consumerGroup"), "G");
	if (strcmp(text_of(request, "topic"), "T") != 0) {
		f->has_pulled_retry = true;
		return false; /* held */
	}
	assert_string_equal(text_of(request, "subscription"), "TagA");
	if (!(f->pulled & BIT(queue)))
		f->first_offset[queue] = offset;
	f->pulled |= BIT(queue);
	if (offset >= f->max_offset)
		return false;
	/* "All filtered": the offset moves without records having to be made up. */
	answer->code = MQ_PULL_RETRY_IMMEDIATELY;
	mq_command_add_i64(answer, "nextBeginOffset", offset + 1);
	mq_command_add_i64(answer, "minOffset", 0);
	mq_command_add_i64(answer, "maxOffset", f->max_offset);
	return true;
}

static bool broker_script(struct fake *fake, const struct mq_command *request, struct mq_command *answer)
{
	struct fixture *f = fake->user;

	switch (request->code) {
	case MQ_HEART_BEAT:
		f->n_heartbeats++;
		snprintf(f->heartbeat, sizeof f->heartbeat, "%.*s", MQ_FMT(request->body));
		return true;
	case MQ_GET_CONSUMER_LIST_BY_GROUP:
		f->n_members_asked++;
		snprintf(f->members, sizeof f->members, "{\"consumerIdList\":[\"%s\"%s%s%s]}",
			 mq_client_id(f->client), f->other ? ",\"" : "", f->other ? f->other : "",
			 f->other ? "\"" : "");
		answer->body = mq_slice_of(f->members);
		return true;
	case MQ_QUERY_CONSUMER_OFFSET:
		if (f->committed >= 0 && atoi(text_of(request, "queueId")) == 0)
			mq_command_add_i64(answer, "offset", f->committed);
		else
			answer->code = MQ_QUERY_NOT_FOUND;
		return true;
	case MQ_GET_MAX_OFFSET:
		f->n_max_asked++;
		mq_command_add_i64(answer, "offset", f->max_offset);
		return true;
	case MQ_PULL_MESSAGE:
		return answer_pull(f, request, answer);
	case MQ_UPDATE_CONSUMER_OFFSET:
		f->updated[atoi(text_of(request, "queueId"))] = atoll(text_of(request, "commitOffset"));
		return true;
	case MQ_UNREGISTER_CLIENT:
		assert_string_equal(text_of(request, "consumerGroup"), "G");
		f->n_unregistered++;
		return true;
	default:
		fail_msg("unexpected request %d", request->code);
		return false;
	}
}

static int on_batch(struct mq_puller *p, const struct mq_pull_batch *batch, void *user)
{
	((struct fixture *)user)->n_batches++;
	return 0;
}

static void on_assigned(unsigned n_queues, unsigned n_members, void *user)
{
	struct fixture *f = user;

	f->n_assigned_queues = n_queues;
	f->n_assigned_members = n_members;
}

static void on_failure(const struct mq_failure *failure, void *user)
{
	((struct fixture *)user)->n_failures++;
}

static const struct mq_consumer_events events = {
	.on_batch = on_batch,
	.on_assigned = on_assigned,
	.on_failure = on_failure,
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	static const char route[] =
		"{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"%s\"},\"brokerName\":\"b\"}],"
		"\"queueDatas\":[{\"brokerName\":\"b\",\"perm\":6,\"readQueueNums\":%d,\"writeQueueNums\":%"
		"d}]}";

	f->loop = new_loop(&f->clock);
	f->namesrv = fake_start(f->loop, namesrv_script);
	f->broker = fake_start(f->loop, broker_script);
	f->namesrv->user = f->broker->user = f;
	snprintf(f->route, sizeof f->route, route, f->broker->address, 4, 4);
	snprintf(f->retry_route, sizeof f->retry_route, route, f->broker->address, 1, 1);
	f->client = new_client(f->loop, f->namesrv->address, NULL);
	f->committed = -1;
	for (int i = 0; i < 4; i++)
		f->first_offset[i] = f->updated[i] = -1;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	mq_consumer_free(f->consumer);
	mq_client_free(f->client);
	fake_free(f->namesrv);
	fake_free(f->broker);
	mq_loop_free(f->loop);
	free(f);
	return 0;
}

static void join(struct fixture *f, enum mq_consume_from from)
{
	struct mq_consumer_config cfg = { .group = "G", .topic = "T", .expression = "TagA", .from = from };

	assert_int_equal(mq_consumer_new(&f->consumer, f->client, &cfg, &events, f), 0);
}

static void the_heartbeat_names_topic_and_retry_topic(void **state)
{
	struct fixture *f = *state;
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	struct mq_heartbeat_consumer consumer;
	struct mq_heartbeat beat;
	struct mq_subscription sub;

	join(f, MQ_FROM_LAST);
	turn_until(f->loop, f->n_heartbeats == 1);
	assert_int_equal(mq_json_parse(&doc, mq_slice_of(f->heartbeat), NULL), 0);
	assert_int_equal(mq_heartbeat_read(doc, &beat, NULL), 0);
	assert_true(mq_slice_is(beat.client_id, mq_client_id(f->client)));
	assert_int_equal(mq_heartbeat_consumer_read(beat.consumers->first, &consumer, NULL), 0);
	assert_true(mq_slice_is(consumer.group, "G"));
	assert_int_equal(consumer.type, MQ_CONSUME_PASSIVELY);
	assert_int_equal(consumer.model, MQ_CLUSTERING);
	assert_int_equal(consumer.subscriptions->n, 2);
	assert_int_equal(mq_subscription_read(consumer.subscriptions->first, &sub, NULL), 0);
	assert_true(mq_slice_is(sub.topic, "T"));
	assert_true(mq_slice_is(sub.sub_string, "TagA"));
	assert_int_equal(mq_json_i64(sub.codes->first, 0), 2598919);
	assert_int_equal(mq_subscription_read(consumer.subscriptions->first->next, &sub, NULL), 0);
	assert_true(mq_slice_is(sub.topic, "%RETRY%G"));
	assert_true(mq_slice_is(sub.sub_string, "*"));
}

static void a_lone_member_has_every_queue(void **state)
{
	struct fixture *f = *state;

	f->max_offset = 3;
	join(f, MQ_FROM_LAST);
	turn_until(f->loop, f->pulled == 0xf && f->has_pulled_retry);
	assert_int_equal(f->n_assigned_queues, 5);
	assert_int_equal(f->n_assigned_members, 1);
	for (int i = 0; i < 4; i++)
		assert_int_equal(f->first_offset[i], 3); /* a group without offsets begins at the end */
	assert_int_equal(f->n_max_asked, 4);             /* and at 0 in the retry topic */
	assert_int_equal(f->n_failures, 0);
}

static void a_group_goes_on_where_it_was(void **state)
{
	struct fixture *f = *state;

	f->committed = 2;
	f->max_offset = 3;
	join(f, MQ_FROM_LAST);
	turn_until(f->loop, f->pulled == 0xf);
	assert_int_equal(f->first_offset[0], 2);
	assert_int_equal(f->first_offset[1], 3);
}

static void a_new_group_can_begin_at_the_start(void **state)
{
	struct fixture *f = *state;

	f->max_offset = 3;
	join(f, MQ_FROM_FIRST);
	turn_until(f->loop, f->pulled == 0xf);
	assert_int_equal(f->first_offset[1], 0);
	assert_int_equal(f->n_max_asked, 0);
}

static void queues_are_shared_with_the_other_member(void **state)
{
	struct fixture *f = *state;

	f->other = "0.0.0.0@first"; /* sorts before any id of ours */
	join(f, MQ_FROM_LAST);
	turn_until(f->loop, f->pulled == 0xc && f->n_assigned_members == 2);
	assert_int_equal(f->pulled, 0xc);
}

static void a_notice_of_the_broker_shares_anew(void **state)
{
	struct fixture *f = *state;
	struct mq_command notice;

	join(f, MQ_FROM_LAST);
	turn_until(f->loop, f->pulled == 0xf);
	f->other = "0.0.0.0@first";
	mq_command_request(&notice, MQ_NOTIFY_CONSUMER_IDS_CHANGED);
	notice.flag = MQ_FLAG_ONEWAY;
	mq_command_add(&notice, "consumerGroup", MQ_SLICE("G"));
	assert_int_equal(mq_conn_send(f->broker->conn, &notice, NULL), 0);
	turn_until(f->loop, f->n_assigned_members == 2 && f->n_assigned_queues == 2);
}

static void what_was_consumed_is_committed_when_leaving(void **state)
{
	struct fixture *f = *state;

	f->max_offset = 5;
	join(f, MQ_FROM_FIRST);
	turn_until(f->loop, f->n_batches == 4 * 5);
	f->consumer = mq_consumer_free(f->consumer);
	for (int i = 0; i < 4; i++)
		assert_int_equal(f->updated[i], 5);
	assert_int_equal(f->n_unregistered, 1);
}

static void leaving_in_the_middle_of_joining_is_clean(void **state)
{
	struct fixture *f = *state;

	join(f, MQ_FROM_LAST);
	turn_until(f->loop, f->n_heartbeats == 1);
	f->consumer = mq_consumer_free(f->consumer);
	turn_until(f->loop, true);
	assert_int_equal(f->pulled, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_heartbeat_names_topic_and_retry_topic),
		TEST(a_lone_member_has_every_queue),
		TEST(a_group_goes_on_where_it_was),
		TEST(a_new_group_can_begin_at_the_start),
		TEST(queues_are_shared_with_the_other_member),
		TEST(a_notice_of_the_broker_shares_anew),
		TEST(what_was_consumed_is_committed_when_leaving),
		TEST(leaving_in_the_middle_of_joining_is_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
