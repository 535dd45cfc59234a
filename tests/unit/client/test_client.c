#include "tests/unit/client/fake.h"

struct fixture {
	struct test_clock clock;
	struct mq_loop *loop;
};

struct outcome {
	unsigned n;
	struct mq_failure failure;
	int code; /* -1: no answer */
	char where[320];
};

static void on_done(const struct mq_failure *f, const struct mq_command *answer, const char *where, void *user)
{
	struct outcome *o = user;

	o->n++;
	o->failure = f ? *f : (struct mq_failure){};
	o->code = answer ? answer->code : -1;
	snprintf(o->where, sizeof o->where, "%s", where);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->loop = new_loop(&f->clock);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	mq_loop_free(f->loop);
	free(f);
	return 0;
}

static void call_namesrv(struct mq_client *c, struct outcome *o, int64_t timeout_ms)
{
	struct mq_command cmd;

	mq_command_request(&cmd, MQ_GET_BROKER_CLUSTER_INFO);
	assert_int_equal(mq_client_call(c, &MQ_NAMESRV, &cmd, timeout_ms, on_done, o), 0);
}

static void call_broker(struct mq_client *c, const char *first, const char *second, struct outcome *o)
{
	struct mq_hop hop = { .kind = MQ_HOP_BROKER, .name = "broker-a", .addresses = { first, second } };
	struct mq_command cmd;

	mq_command_request(&cmd, MQ_SEND_MESSAGE_V2);
	assert_int_equal(mq_client_call(c, &hop, &cmd, 0, on_done, o), 0);
}

static void a_refused_connection_fails_without_waiting(void **state)
{
	struct fixture *f = *state;
	char address[64];
	int fd = refusing_socket(address);
	struct mq_client *c = new_client(f->loop, address, NULL);
	struct outcome o = {};

	call_namesrv(c, &o, 0);
	turn_until(f->loop, o.n > 0); /* the clock stands still: no deadline has passed */
	assert_int_equal(o.failure.r, -ECONNREFUSED);
	assert_int_equal(o.failure.stage, MQ_STAGE_CONNECT);
	assert_int_equal(o.failure.hop, MQ_HOP_NAMESRV);
	assert_memory_equal(o.failure.where, "NameServer 127.0.0.1:", 21);
	mq_client_free(c);
	close(fd);
}

static void the_next_namesrv_is_asked_and_remembered(void **state)
{
	struct fixture *f = *state;
	char address[64], list[512];
	int fd = refusing_socket(address);
	struct fake *good = fake_start(f->loop, answer_with_code),
		    *other = fake_start(f->loop, answer_with_code);
	struct outcome o = {};
	struct mq_client *c;

	snprintf(list, sizeof list, "%s;%s;%s", address, good->address, other->address);
	c = new_client(f->loop, list, NULL);
	call_namesrv(c, &o, 0);
	turn_until(f->loop, o.n == 1);
	assert_int_equal(o.code, 0);
	call_namesrv(c, &o, 0);
	turn_until(f->loop, o.n == 2);
	assert_int_equal(good->n_requests, 2);
	assert_int_equal(other->n_requests, 0);

	/* It goes away: the one behind it is next. */
	good->drops = true;
	call_namesrv(c, &o, 0);
	turn_until(f->loop, o.n == 3);
	assert_int_equal(o.code, 0);
	assert_int_equal(other->n_requests, 1);
	mq_client_free(c);
	fake_free(good);
	fake_free(other);
	close(fd);
}

static void a_silent_namesrv_leaves_time_for_the_next(void **state)
{
	struct fixture *f = *state;
	struct fake *silent = fake_start(f->loop, answer_nothing),
		    *good = fake_start(f->loop, answer_with_code);
	struct outcome o = {};
	char list[256];
	struct mq_client *c;

	snprintf(list, sizeof list, "%s;%s", silent->address, good->address);
	c = new_client(f->loop, list, NULL);
	call_namesrv(c, &o, 2000);
	turn_until(f->loop, silent->n_requests == 1);
	f->clock.mono_ns += 1100 * 1000000ll; /* its half of the time is over */
	turn_until(f->loop, o.n == 1);
	assert_int_equal(o.code, 0);
	assert_int_equal(good->n_requests, 1);
	mq_client_free(c);
	fake_free(silent);
	fake_free(good);
}

static void an_unanswered_call_ends_at_its_deadline(void **state)
{
	struct fixture *f = *state;
	struct fake *silent = fake_start(f->loop, answer_nothing);
	struct mq_client *c = new_client(f->loop, silent->address, NULL);
	struct outcome o = {};

	call_namesrv(c, &o, 1000);
	turn_until(f->loop, silent->n_requests == 1);
	assert_int_equal(o.n, 0);
	f->clock.mono_ns += 1100 * 1000000ll;
	turn_until(f->loop, o.n == 1);
	assert_int_equal(o.failure.r, -ETIMEDOUT);
	assert_int_equal(o.failure.stage, MQ_STAGE_EXCHANGE);
	mq_client_free(c);
	fake_free(silent);
}

static void a_missing_local_socket_is_replaced_by_tcp(void **state)
{
	struct fixture *f = *state;
	struct fake *broker = fake_start(f->loop, answer_with_code);
	struct mq_client *c = new_client(f->loop, NULL, broker->address);
	struct outcome o = {};

	call_broker(c, "unix:/nonexistent/broker.sock", broker->address, &o);
	turn_until(f->loop, o.n == 1);
	assert_int_equal(o.code, 0);
	assert_non_null(strstr(o.where, "broker broker-a (127.0.0.1:"));
	mq_client_free(c);
	fake_free(broker);
}

static void a_request_that_was_sent_is_not_sent_again(void **state)
{
	struct fixture *f = *state;
	struct fake *first = fake_start(f->loop, answer_with_code),
		    *second = fake_start(f->loop, answer_with_code);
	struct mq_client *c = new_client(f->loop, NULL, first->address);
	struct outcome o = {};

	first->drops = true;
	call_broker(c, first->address, second->address, &o);
	turn_until(f->loop, o.n == 1);
	assert_int_equal(o.code, -1);
	assert_int_equal(o.failure.stage, MQ_STAGE_EXCHANGE);
	assert_int_equal(second->n_requests, 0);
	mq_client_free(c);
	fake_free(first);
	fake_free(second);
}

static void a_lost_connection_is_made_again_by_the_next_call(void **state)
{
	struct fixture *f = *state;
	struct fake *broker = fake_start(f->loop, answer_with_code);
	struct mq_client *c = new_client(f->loop, NULL, broker->address);
	struct outcome o = {};

	broker->drops = true;
	call_broker(c, broker->address, NULL, &o);
	turn_until(f->loop, o.n == 1);
	assert_int_equal(o.code, -1);
	broker->drops = false;
	call_broker(c, broker->address, NULL, &o);
	turn_until(f->loop, o.n == 2);
	assert_int_equal(o.code, 0);
	mq_client_free(c);
	fake_free(broker);
}

static void freeing_the_client_ends_its_calls(void **state)
{
	struct fixture *f = *state;
	struct fake *silent = fake_start(f->loop, answer_nothing);
	struct mq_client *c = new_client(f->loop, NULL, silent->address);
	struct outcome connecting = {}, waiting = {};

	call_broker(c, silent->address, NULL, &waiting);
	turn_until(f->loop, silent->n_requests == 1);
	call_broker(c, "127.0.0.1:9", NULL, &connecting);
	mq_client_free(c);
	assert_int_equal(waiting.n, 1);
	assert_int_equal(waiting.failure.r, -ECANCELED);
	assert_int_equal(connecting.n, 1);
	fake_free(silent);
}

static void on_watched(const struct mq_command *request, void *user)
{
	*(int *)user = request->code;
}

static void on_reply(int r, const struct mq_command *answer, const char *why, void *user)
{
	*(int *)user = r < 0 ? r : answer->code;
}

static void requests_of_a_broker_reach_watchers_and_get_an_answer(void **state)
{
	struct fixture *f = *state;
	struct fake *broker = fake_start(f->loop, answer_with_code);
	struct mq_client *c = new_client(f->loop, NULL, broker->address);
	int seen = 0, reply = -1;
	struct mq_client_watch watch = { .on_request = on_watched, .user = &seen };
	struct outcome o = {};
	struct mq_command cmd;

	mq_client_watch(c, &watch);
	call_broker(c, broker->address, NULL, &o);
	turn_until(f->loop, o.n == 1);

	/* The fake has no calls of its own: what comes back is seen by its script as another request. */
	mq_command_request(&cmd, MQ_GET_CONSUMER_RUNNING_INFO);
	broker->n_requests = 0;
	assert_int_equal(mq_rpc_call(broker->conn, &cmd, NULL, 1000, on_reply, &reply), 0);
	turn_until(f->loop, seen != 0 && broker->n_requests == 1);
	assert_int_equal(seen, MQ_GET_CONSUMER_RUNNING_INFO);
	assert_int_equal(broker->last_code, MQ_REQUEST_CODE_NOT_SUPPORTED);
	mq_rpc_closed(broker->conn, -ECONNRESET);
	mq_client_unwatch(&watch);
	mq_client_free(c);
	fake_free(broker);
}

static void a_copy_of_a_command_stands_alone(void **state)
{
	char text[] = "value", body[] = "body";
	struct mq_command cmd, *copy;

	mq_command_request(&cmd, 10);
	mq_command_add(&cmd, "name", mq_slice_of(text));
	mq_command_add_i64(&cmd, "number", 42);
	cmd.body = mq_slice_of(body);
	copy = mq_command_copy(&cmd);
	memset(text, 'x', sizeof text);
	memset(body, 'x', sizeof body);
	memset(&cmd, 'x', sizeof cmd);
	assert_true(mq_slice_is(*mq_command_field(copy, "name"), "value"));
	assert_true(mq_slice_is(*mq_command_field(copy, "number"), "42"));
	assert_true(mq_slice_is(copy->body, "body"));
	free(copy);
}

static void addresses_are_checked_at_once(void **state)
{
	struct fixture *f = *state;
	struct mq_client_config cfg = { .namesrv = "127.0.0.1:9876;nonsense" };
	struct mq_client *c = NULL;
	struct mq_error err;

	assert_int_equal(mq_client_new(&c, f->loop, &cfg, &err), -EINVAL);
	assert_non_null(strstr(err.text, "nonsense"));
	cfg.namesrv = ";";
	assert_int_equal(mq_client_new(&c, f->loop, &cfg, &err), -EDESTADDRREQ);
	assert_null(c);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_refused_connection_fails_without_waiting),
		TEST(the_next_namesrv_is_asked_and_remembered),
		TEST(a_silent_namesrv_leaves_time_for_the_next),
		TEST(an_unanswered_call_ends_at_its_deadline),
		TEST(a_missing_local_socket_is_replaced_by_tcp),
		TEST(a_request_that_was_sent_is_not_sent_again),
		TEST(a_lost_connection_is_made_again_by_the_next_call),
		TEST(freeing_the_client_ends_its_calls),
		TEST(requests_of_a_broker_reach_watchers_and_get_an_answer),
		TEST(a_copy_of_a_command_stands_alone),
		TEST(addresses_are_checked_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
