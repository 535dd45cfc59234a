#include "tests/unit/net/net_test.h"

#include <sys/un.h>

#include "libmq/net/address.h"
#include "libmq/net/rpc.h"

enum { OUTCOMES = 64 };

struct outcome {
	unsigned n;
	int r, code;
	char why[300];
	struct mq_remote *frees; /* done frees this remote */
	struct mq_conn *calls;   /* done calls again on this connection */
	int again;               /* what that returned */
};

struct fixture {
	struct test_clock clock;
	struct mq_loop *loop;
	struct mq_conn *conn; /* ref; of the connection that the peer opened */
	struct peer *peer;
	struct outcome outcomes[OUTCOMES];
	struct mq_remote *remote;
	struct mq_address address;
	int listener;
	char path[64]; /* of a Unix socket; "": none */
	unsigned n_up, n_down, n_requests;
	int last_request;
};

static void on_done(int r, const struct mq_command *answer, const char *why, void *user)
{
	struct outcome *o = user;
	struct mq_command cmd;

	o->n++;
	o->r = r;
	o->code = answer ? answer->code : -1;
	assert_true((r < 0) == (why != NULL));
	snprintf(o->why, sizeof o->why, "%s", why ? why : "");
	if (o->frees)
		mq_remote_free(o->frees);
	if (o->calls) {
		mq_command_request(&cmd, 1);
		o->again = mq_rpc_call(o->calls, &cmd, NULL, 1000, on_done, o);
	}
}

static int conn_on_frame(struct mq_conn *conn, struct mq_frame *frame, void *user)
{
	struct mq_command cmd;

	assert_int_equal(mq_command_decode(&cmd, frame, NULL), 0);
	mq_rpc_answer(conn, &cmd);
	return 0;
}

static void conn_on_close(struct mq_conn *conn, int reason, void *user)
{
	mq_rpc_closed(conn, reason);
}

static const struct mq_conn_events events = { conn_on_frame, conn_on_close };

static void on_state(struct mq_remote *r, bool connected, void *user)
{
	struct fixture *f = user;

	if (connected)
		f->n_up++;
	else
		f->n_down++;
}

static void on_request(struct mq_conn *conn, const struct mq_command *request, void *user)
{
	struct fixture *f = user;

	f->n_requests++;
	f->last_request = request->code;
}

static void listen_tcp(struct fixture *f)
{
	struct sockaddr_in at;
	socklen_t n = sizeof at;

	f->listener = mq_address_listen(&f->address, NULL);
	assert_true(f->listener >= 0);
	getsockname(f->listener, (struct sockaddr *)&at, &n);
	f->address.port = ntohs(at.sin_port);
	snprintf(f->address.text, sizeof f->address.text, "127.0.0.1:%u", f->address.port);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct mq_loop_config cfg;
	struct mq_conn *conn;
	int fds[2];

	test_clock_init(&f->clock);
	mq_loop_config_init(&cfg);
	cfg.clock = &f->clock.clock;
	assert_int_equal(mq_loop_new(&f->loop, &cfg, NULL), 0);
	f->peer = calloc(1, sizeof *f->peer);
	make_pair(fds);
	assert_int_equal(mq_conn_new(&conn, f->loop, fds[0], &events, f), 0);
	f->conn = mq_conn_ref(conn);
	f->peer->fd = fds[1];

	assert_int_equal(mq_address_parse(&f->address, mq_slice_of("127.0.0.1:0"), NULL), 0);
	listen_tcp(f);
	assert_int_equal(mq_remote_new(&f->remote, f->loop, &f->address, on_request, f), 0);
	mq_remote_on_state(f->remote, on_state, f);
	*state = f;
	return 0;
}

/* The remote is at a socket on which nobody listens. By a path: nobody else takes it, and who connects is refused at once. */
static void refuse(struct fixture *f)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	char text[80];

	snprintf(f->path, sizeof f->path, "/tmp/test_rpc.%d", (int)getpid());
	unlink(f->path);
	strcpy(at.sun_path, f->path);
	close(f->listener);
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)&at, sizeof at), 0);
	snprintf(text, sizeof text, "unix:%s", f->path);
	assert_int_equal(mq_address_parse(&f->address, mq_slice_of(text), NULL), 0);
	mq_remote_free(f->remote);
	assert_int_equal(mq_remote_new(&f->remote, f->loop, &f->address, on_request, f), 0);
	mq_remote_on_state(f->remote, on_state, f);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	mq_remote_free(f->remote);
	mq_loop_free(f->loop);
	mq_conn_unref(f->conn);
	if (f->peer->fd >= 0)
		close(f->peer->fd);
	if (f->listener >= 0)
		close(f->listener);
	if (f->path[0])
		unlink(f->path);
	free(f->peer);
	free(f);
	return 0;
}

static int32_t call(struct fixture *f, unsigned i, int64_t timeout_ms)
{
	struct mq_command cmd;

	mq_command_request(&cmd, 100 + (int)i);
	assert_int_equal(mq_rpc_call(f->conn, &cmd, NULL, timeout_ms, on_done, &f->outcomes[i]), 0);
	return cmd.opaque;
}

static void remote_call(struct fixture *f, unsigned i, int64_t timeout_ms)
{
	struct mq_command cmd;

	mq_command_request(&cmd, 100 + (int)i);
	assert_int_equal(mq_remote_call(f->remote, &cmd, NULL, timeout_ms, on_done, &f->outcomes[i]), 0);
}

static void answer(struct fixture *f, int code, int opaque)
{
	char header[128];

	snprintf(header, sizeof header, "{\"code\":%d,\"flag\":1,\"language\":\"JAVA\",\"opaque\":%d}", code, opaque);
	write_frame(f->peer->fd, header, NULL, 0);
}

static int opaque_of(struct fixture *f, unsigned index)
{
	return atoi(strstr(peer_header(f->peer, index), "\"opaque\":") + 9);
}

/* The remote's connection arrives at the peer. */
static void accept_remote(struct fixture *f)
{
	struct pollfd p = { .fd = f->listener, .events = POLLIN };

	assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
	if (f->peer->fd >= 0)
		close(f->peer->fd);
	memset(f->peer, 0, sizeof *f->peer);
	f->peer->fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(f->peer->fd >= 0);
}

static void answers_find_their_calls_in_any_order(void **state)
{
	struct fixture *f = *state;
	int32_t opaques[OUTCOMES];

	for (unsigned i = 0; i < OUTCOMES; i++)
		opaques[i] = call(f, i, 1000);
	for (unsigned i = OUTCOMES; i-- > 0;) {
		answer(f, (int)i, opaques[i]);
		turns(f->loop, 1);
	}
	for (unsigned i = 0; i < OUTCOMES; i++) {
		assert_int_equal(f->outcomes[i].n, 1);
		assert_int_equal(f->outcomes[i].r, 0);
		assert_int_equal(f->outcomes[i].code, i);
	}
	assert_int_equal(peer_frames(f->peer), OUTCOMES);
}

static void opaque_that_is_still_outstanding_is_not_used_again(void **state)
{
	struct fixture *f = *state;
	int32_t first = call(f, 0, 1000000);

	for (unsigned i = 0; i < 100; i++) {
		int32_t opaque = call(f, 1, 1000);

		assert_true(opaque != first);
		answer(f, 0, opaque);
		turns(f->loop, 1);
		assert_int_equal(f->outcomes[1].n, i + 1);
	}
	answer(f, 7, first);
	turns(f->loop, 1);
	assert_int_equal(f->outcomes[0].code, 7);
}

static void call_without_answer_ends_at_its_deadline_and_late_answer_is_dropped(void **state)
{
	struct fixture *f = *state;
	int32_t opaque = call(f, 0, 1000);

	call(f, 1, 2000);
	test_clock_advance(&f->clock, 999);
	turns(f->loop, 2);
	assert_int_equal(f->outcomes[0].n, 0);
	test_clock_advance(&f->clock, 1);
	turns(f->loop, 2);
	assert_int_equal(f->outcomes[0].n, 1);
	assert_int_equal(f->outcomes[0].r, -ETIMEDOUT);
	assert_non_null(strstr(f->outcomes[0].why, "unix:"));
	answer(f, 0, opaque);
	turns(f->loop, 2);
	assert_int_equal(f->outcomes[0].n, 1);
	assert_int_equal(f->outcomes[1].n, 0);
	assert_true(mq_conn_is_open(f->conn));
}

static void answer_with_another_number_is_not_taken(void **state)
{
	struct fixture *f = *state;
	int32_t opaque = call(f, 0, 1000);

	/* The low bits are the same, whatever the size of the table. */
	answer(f, 0, opaque ^ 1 << 30);
	answer(f, 0, opaque ^ 1 << 20);
	turns(f->loop, 1);
	assert_int_equal(f->outcomes[0].n, 0);
	answer(f, 0, opaque);
	turns(f->loop, 1);
	assert_int_equal(f->outcomes[0].n, 1);
}

static void lost_connection_fails_its_calls_once(void **state)
{
	struct fixture *f = *state;

	f->outcomes[0].calls = f->conn;
	call(f, 0, 1000);
	call(f, 1, 1000);
	turns(f->loop, 1);
	close(f->peer->fd);
	f->peer->fd = -1;
	turn_until(f->loop, f->outcomes[1].n == 1);
	assert_int_equal(f->outcomes[0].n, 1);
	assert_int_equal(f->outcomes[0].r, -ECONNRESET);
	assert_int_equal(f->outcomes[0].again, -ENOTCONN);
	test_clock_advance(&f->clock, 5000);
	turns(f->loop, 2);
	assert_int_equal(f->outcomes[0].n, 1);
}

static void oneway_is_marked_and_not_awaited(void **state)
{
	struct fixture *f = *state;
	struct mq_command cmd;

	mq_command_request(&cmd, 40);
	assert_int_equal(mq_rpc_oneway(f->conn, &cmd, NULL), 0);
	turns(f->loop, 1);
	assert_non_null(strstr(peer_header(f->peer, 0), "\"flag\":2"));
}

static void freed_loop_fails_what_is_outstanding(void **state)
{
	struct fixture *f = *state;

	call(f, 0, 1000);
	f->remote = mq_remote_free(f->remote);
	f->loop = mq_loop_free(f->loop);
	assert_int_equal(f->outcomes[0].n, 1);
	assert_int_equal(f->outcomes[0].r, -ECANCELED);
}

static void remote_connects_with_the_first_call_and_sends_in_order(void **state)
{
	struct fixture *f = *state;

	turns(f->loop, 2);
	assert_null(mq_remote_conn(f->remote));
	for (unsigned i = 0; i < 3; i++)
		remote_call(f, i, 1000);
	accept_remote(f);
	turn_until(f->loop, peer_frames(f->peer) == 3);
	assert_int_equal(f->n_up, 1);
	assert_non_null(mq_remote_conn(f->remote));
	assert_non_null(strstr(peer_header(f->peer, 0), "\"code\":100"));
	assert_non_null(strstr(peer_header(f->peer, 1), "\"code\":101"));
	assert_non_null(strstr(peer_header(f->peer, 2), "\"code\":102"));
	answer(f, 9, opaque_of(f, 2));
	answer(f, 8, opaque_of(f, 0));
	turn_until(f->loop, f->outcomes[0].n + f->outcomes[2].n == 2);
	assert_int_equal(f->outcomes[0].code, 8);
	assert_int_equal(f->outcomes[1].n, 0);
	assert_int_equal(f->outcomes[2].code, 9);

	/* Connected: sent at once. */
	remote_call(f, 3, 1000);
	turn_until(f->loop, peer_frames(f->peer) == 4);
}

static void request_of_the_peer_reaches_the_remotes_owner(void **state)
{
	struct fixture *f = *state;

	remote_call(f, 0, 1000);
	accept_remote(f);
	write_frame(f->peer->fd, "{\"code\":40,\"remark\":\"a\\\"b\"}", NULL, 0);
	turn_until(f->loop, f->n_requests == 1);
	assert_int_equal(f->last_request, 40);
}

static void remote_reconnects_after_a_loss(void **state)
{
	struct fixture *f = *state;

	remote_call(f, 0, 1000);
	accept_remote(f);
	turn_until(f->loop, peer_frames(f->peer) == 1);
	close(f->peer->fd);
	f->peer->fd = -1;
	turn_until(f->loop, f->outcomes[0].n == 1);
	assert_int_equal(f->outcomes[0].r, -ECONNRESET);
	assert_int_equal(f->n_down, 1);

	/* A call meanwhile waits for the next connection. */
	remote_call(f, 1, 60000);
	test_clock_advance(&f->clock, 100);
	turn_until(f->loop, f->n_up == 2);
	accept_remote(f);
	turn_until(f->loop, peer_frames(f->peer) == 1);
	answer(f, 5, opaque_of(f, 0));
	turn_until(f->loop, f->outcomes[1].n == 1);
	assert_int_equal(f->outcomes[1].code, 5);
}

static void refused_remote_fails_calls_at_their_deadline_with_the_reason(void **state)
{
	struct fixture *f = *state;

	refuse(f);
	remote_call(f, 0, 1000);
	turns(f->loop, 5);
	assert_int_equal(f->outcomes[0].n, 0);
	test_clock_advance(&f->clock, 1000);
	turns(f->loop, 5);
	assert_int_equal(f->outcomes[0].n, 1);
	assert_int_equal(f->outcomes[0].r, -ECONNREFUSED);
	assert_non_null(strstr(f->outcomes[0].why, f->address.text));
	assert_non_null(strstr(f->outcomes[0].why, "refused"));
}

static void pauses_between_attempts_grow_to_five_seconds(void **state)
{
	struct fixture *f = *state;
	static const int pauses_ms[] = { 100, 200, 400, 800, 1600, 3200, 5000, 5000 };

	refuse(f);
	remote_call(f, 0, 1000000);
	for (unsigned i = 0; i < N_ELEMENTS(pauses_ms); i++) {
		turns(f->loop, 3);
		if (i + 1 == N_ELEMENTS(pauses_ms))
			assert_int_equal(listen(f->listener, 1), 0);
		test_clock_advance(&f->clock, pauses_ms[i] - 1);
		turns(f->loop, 3);
		assert_int_equal(f->n_up, 0);
		test_clock_advance(&f->clock, 1);
	}
	turn_until(f->loop, f->n_up == 1);
	accept_remote(f);
	turn_until(f->loop, peer_frames(f->peer) == 1);
}

static void unused_remote_is_closed_and_comes_back_with_the_next_call(void **state)
{
	struct fixture *f = *state;

	remote_call(f, 0, 1000);
	accept_remote(f);
	turn_until(f->loop, peer_frames(f->peer) == 1);
	answer(f, 0, opaque_of(f, 0));
	turn_until(f->loop, f->outcomes[0].n == 1);
	test_clock_advance(&f->clock, 121000);
	turns(f->loop, 3);
	assert_int_equal(f->n_down, 1);
	test_clock_advance(&f->clock, 10000);
	turns(f->loop, 3);
	assert_int_equal(f->n_up, 1);
	remote_call(f, 1, 1000);
	turn_until(f->loop, f->n_up == 2);
}

static void freed_remote_cancels_its_calls(void **state)
{
	struct fixture *f = *state;

	remote_call(f, 0, 1000);
	accept_remote(f);
	turn_until(f->loop, peer_frames(f->peer) == 1);
	remote_call(f, 1, 1000);
	f->remote = mq_remote_free(f->remote);
	assert_int_equal(f->outcomes[0].r, -ECANCELED);
	assert_int_equal(f->outcomes[1].r, -ECANCELED);
	turn_until(f->loop, peer_has_ended(f->peer));
	assert_int_equal(f->n_down, 0);
}

static void remote_may_be_freed_by_its_own_answer(void **state)
{
	struct fixture *f = *state;

	f->outcomes[0].frees = TAKE(f->remote);
	struct mq_command cmd;

	mq_command_request(&cmd, 1);
	assert_int_equal(mq_remote_call(f->outcomes[0].frees, &cmd, NULL, 1000, on_done, &f->outcomes[0]), 0);
	accept_remote(f);
	turn_until(f->loop, peer_frames(f->peer) == 1);
	answer(f, 3, opaque_of(f, 0));
	turn_until(f->loop, peer_has_ended(f->peer));
	assert_int_equal(f->outcomes[0].n, 1);
	assert_int_equal(f->outcomes[0].code, 3);
}

static void calls_that_wait_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct mq_command cmd;
	char *body = calloc(1, 1 << 20);
	unsigned n = 0;
	int r = 0;

	refuse(f);
	while (n < 100 && r == 0) {
		mq_command_request(&cmd, 1);
		cmd.body = (struct mq_slice){ body, 1 << 20 };
		r = mq_remote_call(f->remote, &cmd, NULL, 1000, on_done, &f->outcomes[0]);
		n += r == 0;
	}
	assert_int_equal(r, -EBUSY);
	assert_int_equal(n, 15); /* 16 MiB less the headers */
	free(body);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(answers_find_their_calls_in_any_order),
		TEST(opaque_that_is_still_outstanding_is_not_used_again),
		TEST(call_without_answer_ends_at_its_deadline_and_late_answer_is_dropped),
		TEST(answer_with_another_number_is_not_taken),
		TEST(lost_connection_fails_its_calls_once),
		TEST(oneway_is_marked_and_not_awaited),
		TEST(freed_loop_fails_what_is_outstanding),
		TEST(remote_connects_with_the_first_call_and_sends_in_order),
		TEST(request_of_the_peer_reaches_the_remotes_owner),
		TEST(remote_reconnects_after_a_loss),
		TEST(refused_remote_fails_calls_at_their_deadline_with_the_reason),
		TEST(pauses_between_attempts_grow_to_five_seconds),
		TEST(unused_remote_is_closed_and_comes_back_with_the_next_call),
		TEST(freed_remote_cancels_its_calls),
		TEST(remote_may_be_freed_by_its_own_answer),
		TEST(calls_that_wait_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
