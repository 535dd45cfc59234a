#include "tests/unit/client/fake.h"

#include "libmq/client/producer.h"

/* Two brokers with two queues each. */
struct fixture {
	struct test_clock clock;
	struct mq_loop *loop;
	struct fake *namesrv, *brokers[2];
	struct mq_client *client;
	struct mq_producer *producer;
	char route[1024];
	unsigned n_queue[2][2];
	char properties[256];
	bool was_batch;
	size_t n_body;
};

struct sent {
	unsigned n;
	struct mq_failure failure;
	struct mq_send_result result;
	char message_id[64];
};

static void on_sent(const struct mq_failure *f, const struct mq_send_result *result, void *user)
{
	struct sent *s = user;

	s->n++;
	s->failure = f ? *f : (struct mq_failure){};
	s->result = *result;
	if (!f && result->message_id)
		snprintf(s->message_id, sizeof s->message_id, "%s", result->message_id);
}

static const char *field(const struct mq_command *cmd, const char *name)
{
	static char text[512];
	const struct mq_slice *value = mq_command_field(cmd, name);

	assert_non_null(value);
	snprintf(text, sizeof text, "%.*s", MQ_FMT(*value));
	return text;
}

static bool take_message(struct fake *fake, const struct mq_command *request, struct mq_command *answer)
{
	struct fixture *f = fake->user;
	int queue = atoi(field(request, "e"));

	assert_string_equal(field(request, "b"), "T");
	assert_true(queue < 2);
	f->n_queue[fake == f->brokers[1]][queue]++;
	f->was_batch = request->code == MQ_SEND_BATCH_MESSAGE;
	f->n_body = request->body.n;
	if (!f->was_batch)
		snprintf(f->properties, sizeof f->properties, "%.*s", (int)sizeof f->properties - 1, field(request, "i"));
	answer->code = fake->code;
	if (fake->code != MQ_SUCCESS && fake->code != MQ_FLUSH_DISK_TIMEOUT)
		return true;
	mq_command_add(answer, "msgId", MQ_SLICE("0A"));
	mq_command_add_i64(answer, "queueId", queue);
	mq_command_add_i64(answer, "queueOffset", 7);
	return true;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->loop = new_loop(&f->clock);
	f->namesrv = fake_start(f->loop, answer_with_body);
	for (int i = 0; i < 2; i++) {
		f->brokers[i] = fake_start(f->loop, take_message);
		f->brokers[i]->user = f;
	}
	snprintf(f->route, sizeof f->route,
		 "{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"%s\"},\"brokerName\":\"a\"},{\"brokerAddrs\":"
		 "{\"0\":\"%s\"},\"brokerName\":\"b\"}],"
		 "\"queueDatas\":[{\"brokerName\":\"a\",\"perm\":6,\"readQueueNums\":2,\"writeQueueNums\":"
		 "2},"
		 "{\"brokerName\":\"b\",\"perm\":6,\"readQueueNums\":2,\"writeQueueNums\":2}]}",
		 f->brokers[0]->address, f->brokers[1]->address);
	f->namesrv->body = f->route;
	f->client = new_client(f->loop, f->namesrv->address, NULL);
	assert_int_equal(mq_producer_new(&f->producer, f->client, "G"), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	mq_client_free(f->client);
	mq_producer_free(f->producer);
	fake_free(f->namesrv);
	fake_free(f->brokers[0]);
	fake_free(f->brokers[1]);
	mq_loop_free(f->loop);
	free(f);
	return 0;
}

static const struct mq_message message = {
	.topic = "T", .body = { "hello", 5 }, .tag = { "TagA", 4 }, .queue_id = -1
};

static struct sent send_one(struct fixture *f)
{
	struct sent s = {};

	assert_int_equal(mq_producer_send(f->producer, &message, on_sent, &s), 0);
	turn_until(f->loop, s.n == 1);
	return s;
}

static void queues_of_all_brokers_take_turns(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 8; i++)
		assert_int_equal(send_one(f).failure.r, 0);
	for (int broker = 0; broker < 2; broker++)
		for (int queue = 0; queue < 2; queue++)
			assert_int_equal(f->n_queue[broker][queue], 2);
}

static void the_result_is_what_the_broker_says(void **state)
{
	struct fixture *f = *state;
	struct sent s = send_one(f);

	assert_int_equal(s.result.code, 0);
	assert_int_equal(s.result.queue_offset, 7);
	assert_string_equal(s.message_id, "0A");
	assert_int_equal(strlen(s.result.unique_id), 32);
	assert_non_null(strstr(f->properties, s.result.unique_id));
	assert_non_null(strstr(f->properties, "TAGS\x01TagA\x02"));
	assert_non_null(strstr(f->properties, "WAIT\x01true\x02"));
}

static void a_weaker_success_is_a_success(void **state)
{
	struct fixture *f = *state;
	struct sent s;

	f->brokers[0]->code = f->brokers[1]->code = MQ_FLUSH_DISK_TIMEOUT;
	s = send_one(f);
	assert_int_equal(s.failure.r, 0);
	assert_int_equal(s.result.code, MQ_FLUSH_DISK_TIMEOUT);
}

static void a_busy_broker_is_replaced_by_another(void **state)
{
	struct fixture *f = *state;

	f->brokers[0]->code = MQ_SYSTEM_BUSY;
	for (int i = 0; i < 4; i++) {
		struct sent s = send_one(f);

		assert_int_equal(s.failure.r, 0);
		assert_string_equal(s.result.broker, "b");
	}
	assert_true(f->brokers[0]->n_requests > 0);
}

static void a_broker_that_breaks_off_is_replaced_by_another(void **state)
{
	struct fixture *f = *state;

	f->brokers[1]->drops = true;
	for (int i = 0; i < 4; i++)
		assert_string_equal(send_one(f).result.broker, "a");
	assert_true(f->brokers[1]->n_requests > 0);
}

static void three_attempts_are_enough(void **state)
{
	struct fixture *f = *state;
	struct sent s;

	f->brokers[0]->code = f->brokers[1]->code = MQ_SYSTEM_ERROR;
	s = send_one(f);
	assert_int_equal(s.failure.code, MQ_SYSTEM_ERROR);
	assert_int_equal(s.result.n_attempts, 3);
	assert_int_equal(f->brokers[0]->n_requests + f->brokers[1]->n_requests, 3);
}

static void a_message_that_is_illegal_is_sent_once(void **state)
{
	struct fixture *f = *state;
	struct sent s;

	f->brokers[0]->code = f->brokers[1]->code = MQ_MESSAGE_ILLEGAL;
	s = send_one(f);
	assert_int_equal(s.failure.r, -EINVAL);
	assert_int_equal(s.result.n_attempts, 1);
}

static void a_batch_is_one_request(void **state)
{
	struct fixture *f = *state;
	struct mq_message m[3] = { message, message, message };
	struct sent s = {};

	assert_int_equal(mq_producer_send_batch(f->producer, m, 3, on_sent, &s), 0);
	turn_until(f->loop, s.n == 1);
	assert_int_equal(s.failure.r, 0);
	assert_true(f->was_batch);
	assert_true(f->n_body > 3 * (24 + 5));
	assert_int_equal(f->brokers[0]->n_requests + f->brokers[1]->n_requests, 1);
}

static void a_chosen_queue_is_kept(void **state)
{
	struct fixture *f = *state;
	struct mq_message m = message;

	m.queue_id = 1;
	for (unsigned i = 0; i < 4; i++) {
		struct sent s = {};

		assert_int_equal(mq_producer_send(f->producer, &m, on_sent, &s), 0);
		turn_until(f->loop, s.n == 1);
	}
	assert_int_equal(f->n_queue[0][1] + f->n_queue[1][1], 4);
}

static void a_oneway_send_waits_for_no_answer(void **state)
{
	struct fixture *f = *state;
	struct sent s = {};

	assert_int_equal(mq_producer_send_oneway(f->producer, &message, on_sent, &s), 0);
	turn_until(f->loop, s.n == 1 && f->brokers[0]->n_requests + f->brokers[1]->n_requests == 1);
	assert_int_equal(s.failure.r, 0);
	assert_int_equal(s.result.queue_offset, -1);
}

static void what_cannot_be_sent_is_refused_here(void **state)
{
	struct fixture *f = *state;
	static char large[40000];
	struct mq_message m = message;
	struct mq_property p = { MQ_SLICE("name"), { large, sizeof large } };
	struct sent s = {};

	memset(large, 'x', sizeof large);
	m.body.n = 0;
	assert_int_equal(mq_producer_send(f->producer, &m, on_sent, &s), -EINVAL);
	m = message;
	m.properties = &p;
	m.n_properties = 1;
	assert_int_equal(mq_producer_send(f->producer, &m, on_sent, &s), -EMSGSIZE);
	assert_int_equal(s.n, 0);
}

static void a_topic_that_takes_nothing_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct sent s;

	f->namesrv->body = "{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"h:1\"},\"brokerName\":\"a\"}],"
			   "\"queueDatas\":[{\"brokerName\":\"a\",\"perm\":4,\"readQueueNums\":2,"
			   "\"writeQueueNums\":2}]}";
	s = send_one(f);
	assert_int_equal(s.failure.r, -EACCES);
}

static void sending_can_be_waited_for(void **state)
{
	struct fixture *f = *state;
	struct mq_message m[2] = { message, message };
	struct mq_send_result result;
	struct mq_failure failure;
	char id[64];

	assert_int_equal(mq_producer_send_wait(f->producer, m, 1, &result, id, sizeof id, &failure), 0);
	assert_string_equal(id, "0A");
	assert_int_equal(result.queue_offset, 7);
	assert_false(f->was_batch);
	assert_int_equal(mq_producer_send_wait(f->producer, m, 2, &result, id, sizeof id, &failure), 0);
	assert_true(f->was_batch);

	f->brokers[0]->code = f->brokers[1]->code = MQ_MESSAGE_ILLEGAL;
	assert_int_equal(mq_producer_send_wait(f->producer, m, 1, &result, id, sizeof id, &failure), -EINVAL);
	assert_int_equal(failure.code, MQ_MESSAGE_ILLEGAL);
	m[0].body.n = 0;
	assert_int_equal(mq_producer_send_wait(f->producer, m, 1, &result, id, sizeof id, &failure), -EINVAL);
	assert_string_equal(failure.why, "a message needs a topic and a body");
}

static void an_interrupted_wait_leaves_nothing_behind(void **state)
{
	struct fixture *f = *state;
	struct mq_send_result result;
	struct mq_failure failure;
	char id[64];

	f->brokers[0]->script = f->brokers[1]->script = answer_nothing;
	mq_client_interrupt(f->client);
	assert_int_equal(mq_producer_send_wait(f->producer, &message, 1, &result, id, sizeof id, &failure), -EINTR);
	mq_client_cancel(f->client); /* under a sanitizer: nothing is leaked, nothing of our stack is touched */
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(queues_of_all_brokers_take_turns),
		TEST(the_result_is_what_the_broker_says),
		TEST(a_weaker_success_is_a_success),
		TEST(a_busy_broker_is_replaced_by_another),
		TEST(a_broker_that_breaks_off_is_replaced_by_another),
		TEST(three_attempts_are_enough),
		TEST(a_message_that_is_illegal_is_sent_once),
		TEST(a_batch_is_one_request),
		TEST(a_chosen_queue_is_kept),
		TEST(a_oneway_send_waits_for_no_answer),
		TEST(what_cannot_be_sent_is_refused_here),
		TEST(a_topic_that_takes_nothing_is_an_error),
		TEST(sending_can_be_waited_for),
		TEST(an_interrupted_wait_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
