#include "tests/unit/net/net_test.h"

#include "libmq/net/request.h"
#include "libmq/net/rpc.h"

struct fixture {
	struct test_clock clock;
	struct mq_loop *loop;
	struct mq_conn *conn; /* ref */
	struct peer *peer;
	struct mq_dispatch dispatch;
	struct mq_dispatch_count counts[8];
	struct mq_request *parked;
	unsigned n_closed, n_handled;
	int64_t received_at_ms;
};

static int handle_ok(struct mq_request *req)
{
	struct fixture *f = req->server;

	f->n_handled++;
	f->received_at_ms = req->received_at_ms;
	return mq_reply_ok(req);
}

static int handle_echo(struct mq_request *req)
{
	const struct mq_slice *word = mq_command_field(&req->cmd, "word");
	struct evbuffer *body = evbuffer_new();
	struct mq_command answer;
	int r;

	mq_request_answer(req, &answer, 0);
	if (word)
		mq_command_add(&answer, "word", *word);
	evbuffer_add(body, req->cmd.body.p, req->cmd.body.n);
	r = mq_reply(req, &answer, body);
	assert_int_equal(evbuffer_get_length(body), 0);
	evbuffer_free(body);
	return r;
}

static int handle_park(struct mq_request *req)
{
	struct fixture *f = req->server;

	f->parked = req;
	return MQ_REQUEST_PENDING;
}

static int handle_fail(struct mq_request *req)
{
	return -EIO;
}

static int handle_refuse(struct mq_request *req)
{
	return mq_reply_code(req, 17, "topic[%s] not exist", "T\"1");
}

static int handle_silent(struct mq_request *req)
{
	return mq_reply_none(req);
}

enum { LINE_OK, LINE_ECHO, LINE_PARK, LINE_FAIL, LINE_REFUSE, LINE_SILENT, LINE_SLOW };

static const struct mq_dispatch_line lines[] = {
	{ 1, handle_ok, MQ_PERM_NONE, NULL, NULL, false },
	{ 2, handle_echo, MQ_PERM_PUB, "topic", NULL, false },
	{ 10, handle_park, MQ_PERM_NONE, NULL, NULL, false },
	{ 11, handle_fail, MQ_PERM_NONE, NULL, NULL, false },
	{ 12, handle_refuse, MQ_PERM_NONE, NULL, NULL, false },
	{ 200, handle_silent, MQ_PERM_NONE, NULL, NULL, false },
	{ 300, handle_ok, MQ_PERM_NONE, NULL, NULL, true },
};

static void on_close(struct mq_conn *conn, void *server)
{
	((struct fixture *)server)->n_closed++;
}

static void decorate(const struct mq_request *req, struct mq_command *answer)
{
	if (req->line == &lines[LINE_REFUSE])
		mq_command_add(answer, "MSG_REGION", MQ_SLICE("DefaultRegion"));
}

static void start(struct fixture *f, const struct mq_conn_events *events)
{
	struct mq_loop_config cfg;
	struct mq_conn *conn;
	int fds[2];

	mq_loop_config_init(&cfg);
	cfg.clock = &f->clock.clock;
	assert_int_equal(mq_loop_new(&f->loop, &cfg, NULL), 0);
	make_pair(fds);
	assert_int_equal(mq_conn_new(&conn, f->loop, fds[0], events, &f->dispatch), 0);
	f->conn = mq_conn_ref(conn);
	f->peer->fd = fds[1];
}

static int set_up_bare(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	test_clock_init(&f->clock);
	f->peer = calloc(1, sizeof *f->peer);
	f->dispatch = (struct mq_dispatch){
		.lines = lines, .n_lines = N_ELEMENTS(lines), .server = f, .on_close = on_close, .counts = f->counts, .decorate = decorate,
	};
	mq_dispatch_check(&f->dispatch);
	*state = f;
	return 0;
}

static int set_up(void **state)
{
	set_up_bare(state);
	start(*state, &mq_dispatch_events);
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	mq_loop_free(f->loop);
	mq_conn_unref(f->conn);
	close(f->peer->fd);
	free(f->peer);
	free(f);
	return 0;
}

static void ask(struct fixture *f, int code, int flag, int opaque)
{
	char header[256];

	snprintf(header, sizeof header, "{\"code\":%d,\"extFields\":{\"word\":\"a\\\"b\"},\"flag\":%d,\"language\":\"GO\",\"opaque\":%d}", code,
		 flag, opaque);
	write_frame(f->peer->fd, header, "body", 4);
}

static size_t held(struct fixture *f)
{
	struct mq_loop_stats s;

	mq_loop_stats(f->loop, &s);
	return s.bytes_held;
}

#define assert_contains(text, part) assert_non_null(strstr(text, part))

static void answer_repeats_opaque_and_announces_the_version(void **state)
{
	struct fixture *f = *state;

	ask(f, 1, 0, 77);
	turns(f->loop, 1);
	assert_int_equal(peer_frames(f->peer), 1);
	assert_contains(peer_header(f->peer, 0), "\"code\":0");
	assert_contains(peer_header(f->peer, 0), "\"opaque\":77");
	assert_contains(peer_header(f->peer, 0), "\"flag\":1");
	assert_contains(peer_header(f->peer, 0), "\"version\":513");
	assert_contains(peer_header(f->peer, 0), "\"language\":\"JAVA\"");
	assert_int_equal(f->received_at_ms, f->clock.wall_ms);
	assert_int_equal(held(f), 0);
	assert_int_equal(f->counts[LINE_OK].n_requests, 1);
	assert_int_equal(f->counts[LINE_OK].n_errors, 0);
}

static void fields_and_body_come_back(void **state)
{
	struct fixture *f = *state;

	ask(f, 2, 0, 1);
	turns(f->loop, 1);
	assert_contains(peer_header(f->peer, 0), "\"word\":\"a\\\"b\"");
	assert_memory_equal(f->peer->bytes + f->peer->n - 4, "body", 4);
}

static void unknown_code_is_answered_3_and_the_connection_stays(void **state)
{
	struct fixture *f = *state;

	ask(f, 9999, 0, 5);
	ask(f, 1, 0, 6);
	turns(f->loop, 1);
	assert_int_equal(peer_frames(f->peer), 2);
	assert_contains(peer_header(f->peer, 0), "\"code\":3");
	assert_contains(peer_header(f->peer, 0), "\"remark\":\" request type 9999 not supported\"");
	assert_contains(peer_header(f->peer, 1), "\"opaque\":6");
}

static void oneway_is_never_answered(void **state)
{
	struct fixture *f = *state;
	static const int codes[] = { 1, 2, 11, 12, 9999 };

	for (unsigned i = 0; i < N_ELEMENTS(codes); i++)
		ask(f, codes[i], MQ_FLAG_ONEWAY, (int)i);
	turns(f->loop, 2);
	assert_int_equal(f->n_handled, 1);
	assert_int_equal(peer_frames(f->peer), 0);
	assert_true(mq_conn_is_open(f->conn));
	assert_int_equal(held(f), 0);
}

static void error_of_a_handler_is_answered_1(void **state)
{
	struct fixture *f = *state;

	ask(f, 11, 0, 5);
	turns(f->loop, 1);
	assert_contains(peer_header(f->peer, 0), "\"code\":1");
	assert_contains(peer_header(f->peer, 0), "Input/output error");
	assert_int_equal(f->counts[LINE_FAIL].n_errors, 1);
}

static void refusal_carries_code_remark_and_decoration(void **state)
{
	struct fixture *f = *state;

	ask(f, 12, 0, 5);
	turns(f->loop, 1);
	assert_contains(peer_header(f->peer, 0), "\"code\":17");
	assert_contains(peer_header(f->peer, 0), "\"remark\":\"topic[T\\\"1] not exist\"");
	assert_contains(peer_header(f->peer, 0), "\"MSG_REGION\":\"DefaultRegion\"");
}

static void pending_request_holds_its_memory_until_it_is_answered(void **state)
{
	struct fixture *f = *state;

	ask(f, 10, 0, 5);
	turns(f->loop, 1);
	assert_non_null(f->parked);
	assert_int_equal(peer_frames(f->peer), 0);
	assert_true(held(f) > sizeof(struct mq_request));

	ask(f, 1, 0, 6);
	turns(f->loop, 1);
	assert_contains(peer_header(f->peer, 0), "\"opaque\":6");

	mq_reply_ok(f->parked);
	turns(f->loop, 1);
	assert_contains(peer_header(f->peer, 1), "\"opaque\":5");
	assert_int_equal(held(f), 0);
}

static void parked_request_takes_less_and_answers_the_same(void **state)
{
	struct fixture *f = *state;
	size_t before;

	ask(f, 10, 0, 5);
	turns(f->loop, 1);
	before = held(f);
	f->parked = mq_request_park(f->parked);
	f->parked = mq_request_park(f->parked);
	assert_true(mq_slice_is(*mq_command_field(&f->parked->cmd, "word"), "a\"b"));
	turns(f->loop, 1);
	assert_true(held(f) < before - 2048);

	/* What it was in serves others. */
	ask(f, 2, 0, 6);
	turns(f->loop, 1);
	assert_contains(peer_header(f->peer, 0), "\"opaque\":6");
	assert_int_equal(handle_echo(f->parked), 0);
	turns(f->loop, 1);
	assert_contains(peer_header(f->peer, 1), "\"opaque\":5");
	assert_contains(peer_header(f->peer, 1), "\"word\":\"a\\\"b\"");
	assert_int_equal(held(f), 0);
}

static void late_answer_to_a_closed_connection_is_dropped(void **state)
{
	struct fixture *f = *state;

	ask(f, 10, 0, 5);
	turns(f->loop, 1);
	mq_conn_close(f->conn, 0);
	turns(f->loop, 1);
	assert_int_equal(f->n_closed, 1);
	mq_reply_ok(f->parked);
	assert_int_equal(peer_frames(f->peer), 0);
	assert_true(peer_has_ended(f->peer));
}

static void late_answer_after_the_loop_is_gone_frees_the_request(void **state)
{
	struct fixture *f = *state;

	ask(f, 10, 0, 5);
	turns(f->loop, 1);
	f->loop = mq_loop_free(f->loop);
	assert_int_equal(f->n_closed, 1);
	mq_reply_ok(f->parked);
}

static void no_answer_at_all_is_possible(void **state)
{
	struct fixture *f = *state;

	ask(f, 200, 0, 5);
	turns(f->loop, 1);
	assert_int_equal(peer_frames(f->peer), 0);
	assert_int_equal(held(f), 0);
}

static void fast_port_does_not_serve_what_waits(void **state)
{
	struct fixture *f = *state;

	start(f, &mq_dispatch_events_fast);
	ask(f, 300, 0, 5);
	ask(f, 1, 0, 6);
	turns(f->loop, 1);
	assert_contains(peer_header(f->peer, 0), "\"remark\":\" request type 300 not supported\"");
	assert_contains(peer_header(f->peer, 1), "\"code\":0");
	assert_int_equal(f->n_handled, 1);
}

static void header_that_does_not_decode_closes(void **state)
{
	struct fixture *f = *state;
	struct mq_loop_stats s;

	write_frame(f->peer->fd, "{\"code\":", NULL, 0);
	turns(f->loop, 1);
	assert_true(peer_has_ended(f->peer));
	mq_loop_stats(f->loop, &s);
	assert_int_equal(s.n_protocol_errors, 1);
	assert_int_equal(s.n_requests, 0);
	assert_int_equal(f->n_closed, 1);
}

static void unexpected_answer_is_dropped(void **state)
{
	struct fixture *f = *state;

	ask(f, 0, MQ_FLAG_RESPONSE, 12345);
	ask(f, 0, MQ_FLAG_RESPONSE | MQ_FLAG_ONEWAY, 12345);
	ask(f, 1, 0, 6);
	turns(f->loop, 1);
	assert_int_equal(peer_frames(f->peer), 1);
	assert_int_equal(f->n_handled, 1);
}

struct outcome {
	unsigned n;
	int r, code;
};

static void on_done(int r, const struct mq_command *answer, const char *why, void *user)
{
	struct outcome *o = user;

	o->n++;
	o->r = r;
	o->code = answer ? answer->code : -1;
}

static void answer_to_our_call_goes_to_the_caller(void **state)
{
	struct fixture *f = *state;
	struct outcome o = {};
	struct mq_command cmd;

	mq_command_request(&cmd, 220);
	assert_int_equal(mq_rpc_call(f->conn, &cmd, NULL, 1000, on_done, &o), 0);
	turns(f->loop, 1);
	assert_contains(peer_header(f->peer, 0), "\"code\":220");
	ask(f, 42, MQ_FLAG_RESPONSE, cmd.opaque);
	turns(f->loop, 1);
	assert_int_equal(o.n, 1);
	assert_int_equal(o.r, 0);
	assert_int_equal(o.code, 42);
}

static void counts_add_up_over_pipelined_requests(void **state)
{
	struct fixture *f = *state;
	struct mq_loop_stats s;

	for (int i = 0; i < 300; i++) {
		ask(f, i % 4 == 0 ? 2 : 1, 0, i);
		if (i % 10 == 9)
			turns(f->loop, 1);
	}
	turn_until(f->loop, peer_frames(f->peer) == 300);
	assert_int_equal(f->counts[LINE_OK].n_requests, 225);
	assert_int_equal(f->counts[LINE_ECHO].n_requests, 75);
	mq_loop_stats(f->loop, &s);
	assert_int_equal(s.n_requests, 300);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(answer_repeats_opaque_and_announces_the_version),
		TEST(fields_and_body_come_back),
		TEST(unknown_code_is_answered_3_and_the_connection_stays),
		TEST(oneway_is_never_answered),
		TEST(error_of_a_handler_is_answered_1),
		TEST(refusal_carries_code_remark_and_decoration),
		TEST(pending_request_holds_its_memory_until_it_is_answered),
		TEST(parked_request_takes_less_and_answers_the_same),
		TEST(late_answer_to_a_closed_connection_is_dropped),
		TEST(late_answer_after_the_loop_is_gone_frees_the_request),
		TEST(no_answer_at_all_is_possible),
		cmocka_unit_test_setup_teardown(fast_port_does_not_serve_what_waits, set_up_bare, tear_down),
		TEST(header_that_does_not_decode_closes),
		TEST(unexpected_answer_is_dropped),
		TEST(answer_to_our_call_goes_to_the_caller),
		TEST(counts_add_up_over_pipelined_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
