#include "tests/unit/client/fake.h"

#include "libmq/client/route.h"

#define ROUTE(broker) \
	"{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"h:1\"},\"brokerName\":\"" broker "\"}]," \
	"\"queueDatas\":[{\"brokerName\":\"" broker "\",\"perm\":6,\"readQueueNums\":8,\"writeQueueNums\":8}]}"

struct fixture {
	struct test_clock clock;
	struct mq_loop *loop;
	struct fake *namesrv;
	struct mq_client *client;
	bool is_unknown;    /* the topic; the template is known */
	bool has_template;
	char last_topic[64];
};

struct found {
	unsigned n;
	int r;
	bool is_borrowed;
	int32_t n_write;
	char broker[64];
};

static void on_route(const struct mq_failure *f, struct mq_topic_route *route, void *user)
{
	struct found *found = user;

	found->n++;
	found->r = f ? f->r : 0;
	if (!route)
		return;
	found->is_borrowed = route->is_borrowed;
	found->n_write = route->brokers[0].n_write;
	snprintf(found->broker, sizeof found->broker, "%s", route->brokers[0].name);
}

static bool script(struct fake *fake, const struct mq_command *request, struct mq_command *answer)
{
	struct fixture *f = fake->user;
	const struct mq_slice *topic = mq_command_field(request, "topic");

	assert_int_equal(request->code, MQ_GET_ROUTEINFO_BY_TOPIC);
	assert_non_null(topic);
	snprintf(f->last_topic, sizeof f->last_topic, "%.*s", MQ_FMT(*topic));
	if (mq_slice_is(*topic, "TBW102") ? !f->has_template : f->is_unknown)
		answer->code = MQ_TOPIC_NOT_EXIST;
	else
		answer->body = mq_slice_of(fake->body);
	return true;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->loop = new_loop(&f->clock);
	f->namesrv = fake_start(f->loop, script);
	f->namesrv->user = f;
	f->namesrv->body = ROUTE("broker-a");
	f->client = new_client(f->loop, f->namesrv->address, NULL);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	mq_client_free(f->client);
	if (f->namesrv)
		fake_free(f->namesrv);
	mq_loop_free(f->loop);
	free(f);
	return 0;
}

static struct found find(struct fixture *f, enum mq_find_use use)
{
	struct found found = {};

	assert_int_equal(mq_client_find_route(f->client, "T", use, on_route, &found), 0);
	turn_until(f->loop, found.n == 1);
	return found;
}

static void one_question_answers_all_who_wait(void **state)
{
	struct fixture *f = *state;
	struct found found[3] = {};

	for (int i = 0; i < 3; i++)
		assert_int_equal(mq_client_find_route(f->client, "T", MQ_FIND_AS_IS, on_route, &found[i]), 0);
	turn_until(f->loop, found[2].n == 1);
	assert_int_equal(f->namesrv->n_requests, 1);
	for (int i = 0; i < 3; i++)
		assert_string_equal(found[i].broker, "broker-a");
}

static void an_answer_holds_for_thirty_seconds(void **state)
{
	struct fixture *f = *state;

	find(f, MQ_FIND_AS_IS);
	f->clock.mono_ns += 29900 * 1000000ll;
	find(f, MQ_FIND_AS_IS);
	assert_int_equal(f->namesrv->n_requests, 1);
	f->clock.mono_ns += 200 * 1000000ll;
	f->namesrv->body = ROUTE("broker-b");
	assert_string_equal(find(f, MQ_FIND_AS_IS).broker, "broker-b");
	assert_int_equal(f->namesrv->n_requests, 2);
}

static void a_route_found_wrong_is_asked_for_again(void **state)
{
	struct fixture *f = *state;

	find(f, MQ_FIND_AS_IS);
	mq_client_forget_route(f->client, "T");
	find(f, MQ_FIND_AS_IS);
	assert_int_equal(f->namesrv->n_requests, 2);
}

static void an_unknown_topic_is_an_error_for_readers(void **state)
{
	struct fixture *f = *state;

	f->is_unknown = f->has_template = true;
	assert_int_equal(find(f, MQ_FIND_AS_IS).r, -ENOENT);
	assert_int_equal(f->namesrv->n_requests, 1);
}

static void an_unknown_topic_borrows_the_template_for_senders(void **state)
{
	struct fixture *f = *state;
	struct found found;

	f->is_unknown = f->has_template = true;
	found = find(f, MQ_FIND_TO_SEND);
	assert_int_equal(found.r, 0);
	assert_true(found.is_borrowed);
	assert_int_equal(found.n_write, 4); /* of 8: defaultTopicQueueNums */
	assert_string_equal(f->last_topic, "TBW102");

	/* Readers are not told of it: the topic still does not exist. */
	assert_int_equal(find(f, MQ_FIND_AS_IS).r, -ENOENT);
	f->is_unknown = false;
	found = find(f, MQ_FIND_AS_IS);
	assert_int_equal(found.r, 0);
	assert_false(found.is_borrowed);
}

static void without_template_senders_fail_too(void **state)
{
	struct fixture *f = *state;

	f->is_unknown = true;
	assert_int_equal(find(f, MQ_FIND_TO_SEND).r, -ENOENT);
	assert_int_equal(f->namesrv->n_requests, 2);
}

static void an_old_route_is_better_than_none(void **state)
{
	struct fixture *f = *state;

	find(f, MQ_FIND_AS_IS);
	f->namesrv->drops = true;
	f->clock.mono_ns += 40000 * 1000000ll;
	assert_string_equal(find(f, MQ_FIND_AS_IS).broker, "broker-a");
	assert_int_equal(f->namesrv->n_requests, 2);
}

static void an_unreadable_route_is_an_error(void **state)
{
	struct fixture *f = *state;

	f->namesrv->body = "{\"queueDatas\":";
	assert_int_equal(find(f, MQ_FIND_AS_IS).r, -EBADMSG);
}

#define TOPIC_TABLE                                                                         \
	"{\"topicConfigTable\":{\"T\":{\"perm\":6,\"readQueueNums\":3,\"topicName\":\"T\"," \
	"\"writeQueueNums\":5},"                                                            \
	"\"TBW102\":{\"perm\":7,\"readQueueNums\":8,\"topicName\":\"TBW102\",\"writeQueueNums\":8}}}"

static void a_direct_broker_is_asked_for_its_topics(void **state)
{
	struct fixture *f = *state;
	struct fake *broker = fake_start(f->loop, answer_with_body);
	struct found found;

	mq_client_free(f->client);
	f->client = new_client(f->loop, NULL, broker->address);
	broker->body = TOPIC_TABLE;
	found = find(f, MQ_FIND_AS_IS);
	assert_int_equal(found.r, 0);
	assert_int_equal(found.n_write, 5);
	assert_string_equal(found.broker, broker->address);
	assert_int_equal(broker->last_code, MQ_GET_ALL_TOPIC_CONFIG);
	assert_int_equal(f->namesrv->n_requests, 0);

	found = (struct found){};
	assert_int_equal(mq_client_find_route(f->client, "unknown", MQ_FIND_TO_SEND, on_route, &found), 0);
	turn_until(f->loop, found.n == 1);
	assert_true(found.is_borrowed);
	found = (struct found){};
	assert_int_equal(mq_client_find_route(f->client, "unknown2", MQ_FIND_AS_IS, on_route, &found), 0);
	turn_until(f->loop, found.n == 1);
	assert_int_equal(found.r, -ENOENT);
	mq_client_free(f->client);
	f->client = NULL;
	fake_free(broker);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_question_answers_all_who_wait),
		TEST(an_answer_holds_for_thirty_seconds),
		TEST(a_route_found_wrong_is_asked_for_again),
		TEST(an_unknown_topic_is_an_error_for_readers),
		TEST(an_unknown_topic_borrows_the_template_for_senders),
		TEST(without_template_senders_fail_too),
		TEST(an_old_route_is_better_than_none),
		TEST(an_unreadable_route_is_an_error),
		TEST(a_direct_broker_is_asked_for_its_topics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
