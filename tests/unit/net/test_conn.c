#include "tests/unit/net/net_test.h"

#include <netinet/tcp.h>
#include <pthread.h>

#define PING "{\"code\":34,\"flag\":0,\"language\":\"JAVA\",\"opaque\":1,\"version\":513}"

/* What the events of the connection under test saw. */
struct fixture {
	struct test_clock clock;
	struct mq_loop_config cfg;
	struct mq_loop *loop;
	struct mq_conn *conn; /* ref */
	int fd;               /* of conn */
	struct peer *peer;
	unsigned n_frames, n_closed;
	int reason, answer_with; /* answer_with: bytes of body, -1: none */
	int fail_with;           /* returned by on_frame */
	size_t charge;           /* per frame */
	size_t n_body;           /* of the last frame */
	bool closes;             /* on_frame closes the connection */
};

static int on_frame(struct mq_conn *conn, struct mq_frame *frame, void *user)
{
	struct fixture *f = user;
	struct mq_command answer;

	f->n_frames++;
	f->n_body = frame->body.n;
	if (f->charge > 0)
		mq_conn_charge(conn, f->charge);
	if (f->answer_with >= 0) {
		char *body = calloc(1, (size_t)f->answer_with + 1);

		mq_command_request(&answer, 0);
		answer.flag = MQ_FLAG_RESPONSE;
		answer.body = (struct mq_slice){ body, (size_t)f->answer_with };
		assert_int_equal(mq_conn_send(conn, &answer, NULL), 0);
		free(body);
	}
	if (f->closes)
		mq_conn_close(conn, 0);
	return f->fail_with;
}

static void on_close(struct mq_conn *conn, int reason, void *user)
{
	struct fixture *f = user;

	assert_false(mq_conn_is_open(conn));
	f->n_closed++;
	f->reason = reason;
}

static const struct mq_conn_events events = { .on_frame = on_frame, .on_close = on_close };

static void start(struct fixture *f, void (*pair)(int fds[2]))
{
	struct mq_conn *conn;
	int fds[2];

	assert_int_equal(mq_loop_new(&f->loop, &f->cfg, NULL), 0);
	pair(fds);
	assert_int_equal(mq_conn_new(&conn, f->loop, fds[0], &events, f), 0);
	f->conn = mq_conn_ref(conn);
	f->fd = fds[0];
	f->peer->fd = fds[1];
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	test_clock_init(&f->clock);
	mq_loop_config_init(&f->cfg);
	f->cfg.clock = &f->clock.clock;
	f->answer_with = -1;
	f->peer = calloc(1, sizeof *f->peer);
	f->peer->fd = -1;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	f->loop = mq_loop_free(f->loop);
	mq_conn_unref(f->conn); /* outlives its loop */
	if (f->peer->fd >= 0)
		close(f->peer->fd);
	free(f->peer);
	free(f);
	return 0;
}

static struct mq_loop_stats stats_of(struct fixture *f)
{
	struct mq_loop_stats s;

	mq_loop_stats(f->loop, &s);
	return s;
}

static void pipelined_frames_are_handled_in_one_turn(void **state)
{
	struct fixture *f = *state;
	char bytes[1024];
	size_t n = 0;

	f->answer_with = 3;
	start(f, make_pair);
	for (unsigned i = 0; i < 5; i++)
		n += make_frame(bytes + n, PING, "hi", 2);
	write_all(f->peer->fd, bytes, n);
	turns(f->loop, 1);
	assert_int_equal(f->n_frames, 5);
	assert_int_equal(f->n_body, 2);
	assert_int_equal(peer_frames(f->peer), 5);
	assert_int_equal(stats_of(f).bytes_in, n);
	assert_int_equal(stats_of(f).bytes_out, f->peer->n);
	assert_int_equal(stats_of(f).bytes_held, 0);
}

static void frame_that_comes_byte_by_byte_is_one_frame(void **state)
{
	struct fixture *f = *state;
	char bytes[256];
	size_t n = make_frame(bytes, PING, "hello", 5);

	start(f, make_tcp_pair);
	for (size_t i = 0; i < n; i++) {
		unsigned before = f->n_frames;

		assert_int_equal(before, 0);
		write_all(f->peer->fd, bytes + i, 1);
		turn_until(f->loop, stats_of(f).bytes_in == i + 1);
	}
	assert_int_equal(f->n_frames, 1);
	assert_int_equal(f->n_body, 5);
}

static void large_frame_is_received_over_many_turns(void **state)
{
	struct fixture *f = *state;
	size_t n_body = 5 << 20, n;
	char *bytes = calloc(1, n_body + 256), *body = calloc(1, n_body), *p = bytes;

	start(f, make_pair);
	fcntl(f->peer->fd, F_SETFL, O_NONBLOCK);
	n = make_frame(bytes, PING, body, n_body);
	while (n > 0) {
		ssize_t k = send(f->peer->fd, p, n, MSG_NOSIGNAL);

		if (k > 0) {
			p += k;
			n -= (size_t)k;
		}
		turns(f->loop, 1);
	}
	turn_until(f->loop, f->n_frames == 1);
	assert_int_equal(f->n_body, n_body);
	assert_int_equal(stats_of(f).bytes_held, 0);
	free(bytes);
	free(body);
}

static void assert_refused(struct fixture *f, int reason)
{
	turn_until(f->loop, f->n_closed == 1);
	assert_int_equal(f->reason, reason);
	assert_true(peer_has_ended(f->peer));
	assert_int_equal(stats_of(f).n_protocol_errors, 1);
	assert_int_equal(stats_of(f).n_connections, 0);
	assert_int_equal(stats_of(f).n_closed, 1);
	assert_false(mq_conn_is_open(f->conn));
}

static void claim_beyond_the_limit_closes_without_taking_memory(void **state)
{
	struct fixture *f = *state;

	start(f, make_pair);
	write_all(f->peer->fd, "\x7f\xff\xff\xff", 4);
	assert_refused(f, -EMSGSIZE);
	assert_int_equal(f->n_frames, 0);
}

static void garbage_closes_after_the_good_frames_before_it(void **state)
{
	struct fixture *f = *state;

	f->answer_with = 0;
	start(f, make_pair);
	write_frame(f->peer->fd, PING, NULL, 0);
	write_all(f->peer->fd, "\x00\x00\x00\x05\x00\xff\xff\xff{", 9);
	assert_refused(f, -EBADMSG);
	assert_int_equal(f->n_frames, 1);
}

static void refusal_by_on_frame_closes(void **state)
{
	struct fixture *f = *state;

	f->fail_with = -EBADMSG;
	start(f, make_pair);
	write_frame(f->peer->fd, PING, NULL, 0);
	write_frame(f->peer->fd, PING, NULL, 0);
	assert_refused(f, -EBADMSG);
	assert_int_equal(f->n_frames, 1);
}

static void close_inside_on_frame_stops_the_frames_behind(void **state)
{
	struct fixture *f = *state;

	f->closes = true;
	start(f, make_pair);
	write_frame(f->peer->fd, PING, NULL, 0);
	write_frame(f->peer->fd, PING, NULL, 0);
	turn_until(f->loop, f->n_closed == 1);
	assert_int_equal(f->n_frames, 1);
	assert_int_equal(f->reason, 0);
	assert_int_equal(stats_of(f).n_protocol_errors, 0);
}

static void half_closed_peer_still_gets_its_answers(void **state)
{
	struct fixture *f = *state;

	f->answer_with = 10;
	start(f, make_tcp_pair);
	write_frame(f->peer->fd, PING, NULL, 0);
	write_frame(f->peer->fd, PING, NULL, 0);
	shutdown(f->peer->fd, SHUT_WR);
	turn_until(f->loop, peer_has_ended(f->peer));
	assert_int_equal(peer_frames(f->peer), 2);
	turn_until(f->loop, f->n_closed == 1);
	assert_int_equal(f->reason, 0);
}

static void parked_request_does_not_keep_an_ended_connection(void **state)
{
	struct fixture *f = *state;

	f->charge = 100;
	start(f, make_pair);
	write_frame(f->peer->fd, PING, NULL, 0);
	turn_until(f->loop, f->n_frames == 1);
	shutdown(f->peer->fd, SHUT_WR);
	turns(f->loop, 3);
	assert_int_equal(f->n_closed, 0);
	test_clock_advance(&f->clock, 300);
	turns(f->loop, 2);
	assert_int_equal(f->n_closed, 1);
	mq_conn_release(f->conn, 100); /* late: the connection is there, only closed */
}

static void peer_that_is_gone_closes_the_connection(void **state)
{
	struct fixture *f = *state;
	struct linger now = { .l_onoff = 1 };

	start(f, make_tcp_pair);
	setsockopt(f->peer->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(f->peer->fd);
	f->peer->fd = -1;
	turn_until(f->loop, f->n_closed == 1);
	assert_int_equal(f->reason, -ECONNRESET);
}

static void send_on_closed_connection_does_nothing(void **state)
{
	struct fixture *f = *state;
	struct evbuffer *body = evbuffer_new();
	struct mq_command cmd;

	start(f, make_pair);
	mq_conn_close(f->conn, 0);
	mq_command_request(&cmd, 40);
	evbuffer_add(body, "x", 1);
	assert_int_equal(mq_conn_send(f->conn, &cmd, body), 0);
	assert_int_equal(evbuffer_get_length(body), 0);
	assert_int_equal(mq_conn_post(f->conn, &cmd), 0);
	turns(f->loop, 2);
	assert_int_equal(f->n_closed, 1);
	evbuffer_free(body);
}

/* Sends pings until the socket takes no more or `n` were sent; returns how many. */
static unsigned send_pings(struct fixture *f, unsigned n)
{
	char bytes[256];
	size_t size = make_frame(bytes, PING, NULL, 0);
	unsigned sent = 0;

	while (sent < n && send(f->peer->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size)
		sent++;
	return sent;
}

static void peer_that_never_reads_is_not_read_and_resumes(void **state)
{
	struct fixture *f = *state;
	unsigned sent = 0, frames_stalled;
	struct mq_loop_stats s;

	f->cfg.conn_out_budget = 64 * 1024;
	f->answer_with = 4096;
	start(f, make_pair);
	for (unsigned i = 0; i < 200; i++) {
		sent += send_pings(f, 100);
		turns(f->loop, 1);
		s = stats_of(f);
		assert_true(s.bytes_held < 64 * 1024 + 256 * 1024 + 8192);
	}
	frames_stalled = f->n_frames;
	assert_true(frames_stalled < sent);
	assert_int_equal(f->n_closed, 0);

	/* It reads again: everything is answered, nothing is held. */
	turn_until(f->loop, (f->peer->n = 0, peer_receive(f->peer), f->n_frames == sent && stats_of(f).bytes_held == 0));
}

static void unanswered_requests_stop_reading_until_half_is_released(void **state)
{
	struct fixture *f = *state;
	unsigned sent;

	f->cfg.conn_in_budget = 1000;
	f->charge = 100;
	start(f, make_pair);
	sent = send_pings(f, 40);
	turns(f->loop, 5);
	assert_int_equal(f->n_frames, 10);

	mq_conn_release(f->conn, 400);
	turns(f->loop, 5);
	assert_int_equal(f->n_frames, 10);
	mq_conn_release(f->conn, 100);
	turns(f->loop, 5);
	assert_int_equal(f->n_frames, 15);

	f->charge = 0;
	mq_conn_release(f->conn, 1000);
	turn_until(f->loop, f->n_frames == sent);
	assert_int_equal(stats_of(f).bytes_held, 0);
}

static void total_budget_stops_who_holds_much_and_serves_the_modest(void **state)
{
	enum { TOTAL = 1 << 20 };
	struct fixture *f = *state;
	struct mq_conn *conn;
	int fds[2];

	f->cfg.total_budget = TOTAL;
	f->cfg.conn_in_budget = 8 * TOTAL;
	f->charge = TOTAL;
	start(f, make_pair);
	make_pair(fds);
	assert_int_equal(mq_conn_new(&conn, f->loop, fds[0], &events, f), 0);

	send_pings(f, 1);
	turns(f->loop, 2);
	assert_int_equal(f->n_frames, 1);
	f->charge = 0;
	send_pings(f, 1);
	turns(f->loop, 3);
	assert_int_equal(f->n_frames, 1); /* holds all there is: waits */
	write_frame(fds[1], PING, NULL, 0);
	turn_until(f->loop, f->n_frames == 2); /* holds nothing: served */

	mq_conn_charge(f->conn, TOTAL);
	write_frame(fds[1], PING, NULL, 0);
	turns(f->loop, 3);
	assert_int_equal(f->n_frames, 2); /* twice the total is the end for everybody */
	mq_conn_release(f->conn, TOTAL / 2);
	turn_until(f->loop, f->n_frames == 3);
	mq_conn_release(f->conn, TOTAL + TOTAL / 2);
	turn_until(f->loop, f->n_frames == 4);
	close(fds[1]);
}

static void stalled_peer_gives_way_when_the_loop_is_over_its_budget(void **state)
{
	struct fixture *f = *state;

	f->cfg.total_budget = 1 << 20;
	f->cfg.conn_out_budget = 8 << 20;
	f->answer_with = 256 * 1024;
	start(f, make_pair);
	send_pings(f, 20);
	turns(f->loop, 10);
	assert_int_equal(f->n_closed, 0);
	assert_true(stats_of(f).bytes_held >= 1 << 20);
	assert_true(stats_of(f).bytes_held < 3 << 20);
	test_clock_advance(&f->clock, 6000);
	turns(f->loop, 3);
	assert_int_equal(f->n_closed, 1);
	assert_int_equal(f->reason, -ENOBUFS);
	assert_int_equal(stats_of(f).bytes_held, 0);
}

static void pushes_to_a_peer_that_never_reads_end_with_the_connection(void **state)
{
	struct fixture *f = *state;
	struct mq_command cmd;
	char body[8192] = "";

	f->cfg.conn_out_budget = 64 * 1024;
	start(f, make_pair);
	for (unsigned i = 0; i < 1000 && f->n_closed == 0; i++) {
		mq_command_request(&cmd, 40);
		cmd.body = (struct mq_slice){ body, sizeof body };
		assert_int_equal(mq_conn_send(f->conn, &cmd, NULL), 0);
		turns(f->loop, 1);
		assert_true(stats_of(f).bytes_held < 5 * 64 * 1024);
	}
	assert_int_equal(f->n_closed, 1);
	assert_int_equal(f->reason, -ENOBUFS);
}

enum { CROWD = 16 };

/* Peers with a connection each; `bytes` of what each sends in all, `sent` of them so far. */
struct crowd {
	struct fixture *f;
	int fds[CROWD][2];
	char *bytes;
	size_t n, sent[CROWD];
};

static void crowd_start(struct crowd *c, struct fixture *f, size_t claim)
{
	*c = (struct crowd){ .f = f, .bytes = calloc(1, claim + 4), .n = claim + 4 };
	assert_non_null(c->bytes);
	mq_put32(c->bytes, (uint32_t)claim);
	mq_put32(c->bytes + 4, 100);
	for (unsigned i = 0; i < CROWD; i++) {
		struct mq_conn *conn;

		make_pair(c->fds[i]);
		assert_int_equal(mq_conn_new(&conn, f->loop, c->fds[i][0], &events, f), 0);
	}
}

/* Each sends up to `n` bytes more, as far as its socket takes them. */
static void crowd_send(struct crowd *c, unsigned first, size_t n)
{
	for (unsigned i = first; i < CROWD; i++) {
		size_t left = c->n - c->sent[i];
		ssize_t k = send(c->fds[i][1], c->bytes + c->sent[i], left < n ? left : n, MSG_DONTWAIT | MSG_NOSIGNAL);

		c->sent[i] += k > 0 ? (size_t)k : 0;
	}
}

static void crowd_end(struct crowd *c)
{
	for (unsigned i = 0; i < CROWD; i++)
		close(c->fds[i][1]);
	free(c->bytes);
}

/* Together far more than the budget, and nobody is at fault. */
static void large_frames_of_many_all_arrive(void **state)
{
	struct fixture *f = *state;
	struct crowd c;

	f->cfg.total_budget = 1 << 20;
	start(f, make_pair);
	crowd_start(&c, f, 400 * 1024);
	for (int64_t until_ms = real_ms() + DEADLINE_MS; f->n_frames < CROWD;) {
		assert_true(real_ms() < until_ms);
		crowd_send(&c, 0, 100 * 1024);
		turns(f->loop, 1);
		assert_int_equal(f->n_closed, 0);
		assert_true(stats_of(f).bytes_held <= 3 << 19);
	}
	turns(f->loop, 1);
	assert_int_equal(stats_of(f).bytes_held, 0);
	crowd_end(&c);
}

static void who_begins_a_frame_and_sends_no_more_gives_way(void **state)
{
	struct fixture *f = *state;
	struct crowd c;

	f->cfg.total_budget = 1 << 20;
	start(f, make_pair);
	crowd_start(&c, f, 8 << 20);
	crowd_send(&c, 0, 60 * 1024);
	turns(f->loop, 20);
	assert_int_equal(f->n_closed, 0);
	assert_true(stats_of(f).bytes_held > 1 << 19 && stats_of(f).bytes_held < 3 << 19);

	/* Everybody else is served. */
	write_frame(f->peer->fd, PING, NULL, 0);
	turn_until(f->loop, f->n_frames == 1);
	test_clock_advance(&f->clock, 6000);
	turn_until(f->loop, f->n_closed > 0);
	assert_int_equal(f->reason, -ENOBUFS);
	assert_true(stats_of(f).bytes_held <= 1 << 19);
	crowd_end(&c);
}

/* The first ones send just enough not to be silent. */
static void who_sends_too_slowly_does_not_keep_the_others_waiting(void **state)
{
	struct fixture *f = *state;
	struct crowd c;

	f->cfg.total_budget = 1 << 20;
	start(f, make_pair);
	crowd_start(&c, f, 500 * 1024);
	crowd_send(&c, 0, 60 * 1024);
	turns(f->loop, 20);
	for (unsigned seconds = 0; f->n_frames < CROWD / 2; seconds++) {
		assert_true(seconds < 60);
		for (unsigned i = 0; i < CROWD / 2; i++)
			(void)!send(c.fds[i][1], "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		for (unsigned i = 0; i < 20; i++) {
			crowd_send(&c, CROWD / 2, 100 * 1024);
			turns(f->loop, 1);
		}
		test_clock_advance(&f->clock, 1000);
	}
	assert_true(f->n_closed > 0 && f->n_closed <= CROWD / 2);
	assert_int_equal(f->reason, -ENOBUFS);
	crowd_end(&c);
}

/* The one that began first goes, which is not who began before and has ended since, and always has a next one half sent. */
static void incomplete_frames_have_an_end(void **state)
{
	struct fixture *f = *state;
	char frame[256];
	size_t n = make_frame(frame, PING, NULL, 0);
	struct crowd c;

	memcpy(frame + n, frame, n);
	f->cfg.total_budget = 256 << 10;
	start(f, make_pair);
	write_all(f->peer->fd, frame, n / 2);
	turns(f->loop, 2);
	crowd_start(&c, f, 60 << 10);
	crowd_send(&c, 0, 1024);
	turns(f->loop, 2);
	write_all(f->peer->fd, frame + n / 2, n);
	turn_until(f->loop, f->n_frames == 1);

	crowd_send(&c, 0, 58 << 10);
	for (unsigned i = 0; i < 20; i++) {
		turns(f->loop, 1);
		assert_true(stats_of(f).bytes_held <= 512 << 10);
	}
	assert_true(f->n_closed > 0 && f->n_closed < CROWD);
	assert_int_equal(f->reason, -ENOBUFS);
	assert_true(mq_conn_is_open(f->conn));
	crowd_end(&c);
}

static void silence_closes_after_the_idle_time(void **state)
{
	struct fixture *f = *state;

	start(f, make_pair);
	test_clock_advance(&f->clock, 119000);
	write_frame(f->peer->fd, PING, NULL, 0);
	turn_until(f->loop, f->n_frames == 1);
	test_clock_advance(&f->clock, 119000);
	turns(f->loop, 2);
	assert_int_equal(f->n_closed, 0);
	test_clock_advance(&f->clock, 1000);
	turns(f->loop, 2);
	assert_int_equal(f->n_closed, 1);
	assert_int_equal(f->reason, -ETIMEDOUT);
}

static void drain_answers_what_is_in_flight_and_reads_no_more(void **state)
{
	struct fixture *f = *state;
	struct mq_command answer;

	f->charge = 10;
	start(f, make_tcp_pair);
	write_frame(f->peer->fd, PING, NULL, 0);
	turn_until(f->loop, f->n_frames == 1);
	assert_int_equal(mq_loop_drain(f->loop), 1);
	write_frame(f->peer->fd, PING, NULL, 0);
	turns(f->loop, 5);
	assert_int_equal(f->n_frames, 1);
	assert_int_equal(f->n_closed, 0);
	assert_true(mq_conn_is_open(f->conn));

	mq_command_request(&answer, 0);
	assert_int_equal(mq_conn_send(f->conn, &answer, NULL), 0);
	mq_conn_release(f->conn, 10);
	turn_until(f->loop, peer_has_ended(f->peer));
	assert_int_equal(peer_frames(f->peer), 1);
	assert_int_equal(f->n_frames, 1);
	close(f->peer->fd);
	f->peer->fd = -1;
	turn_until(f->loop, f->n_closed == 1);
	assert_int_equal(f->reason, 0);
	assert_int_equal(mq_loop_drain(f->loop), 0);
}

static void drained_connection_ends_with_its_last_unanswered_request(void **state)
{
	struct fixture *f = *state;

	f->charge = 10;
	start(f, make_pair);
	write_frame(f->peer->fd, PING, NULL, 0);
	turn_until(f->loop, f->n_frames == 1);
	mq_conn_drain(f->conn);
	turns(f->loop, 2);
	assert_false(peer_has_ended(f->peer));
	mq_conn_release(f->conn, 10);
	turns(f->loop, 2);
	assert_true(peer_has_ended(f->peer));
}

static void drained_connection_does_not_wait_for_its_peer_for_long(void **state)
{
	struct fixture *f = *state;

	start(f, make_tcp_pair);
	mq_conn_drain(f->conn);
	turns(f->loop, 2);
	assert_int_equal(f->n_closed, 0);
	test_clock_advance(&f->clock, 600);
	turns(f->loop, 2);
	assert_int_equal(f->n_closed, 1);
}

static void tcp_peer_is_named_by_address(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in at;
	socklen_t n = sizeof at;
	int on = 0;

	start(f, make_tcp_pair);
	getsockname(f->peer->fd, (struct sockaddr *)&at, &n);
	assert_false(mq_conn_peer(f->conn)->is_unix);
	assert_int_equal(mq_conn_peer(f->conn)->host.port, ntohs(at.sin_port));
	assert_int_equal(mq_conn_peer(f->conn)->uid, (uid_t)-1);
	assert_memory_equal(mq_conn_peer(f->conn)->text, "127.0.0.1:", 10);

	/* Nothing waits for more to send. */
	n = sizeof on;
	assert_int_equal(getsockopt(f->fd, IPPROTO_TCP, TCP_NODELAY, &on, &n), 0);
	assert_true(on);
}

static void unix_peer_is_named_by_credentials(void **state)
{
	struct fixture *f = *state;
	const struct mq_peer *peer;

	start(f, make_pair);
	peer = mq_conn_peer(f->conn);
	assert_true(peer->is_unix);
	assert_int_equal(peer->uid, getuid());
	assert_int_equal(peer->pid, getpid());
	assert_memory_equal(peer->text, "unix:uid=", 9);
	assert_int_equal(peer->host.port, 0);
}

static void ids_differ(void **state)
{
	struct fixture *f = *state;
	struct mq_conn *other;
	int fds[2];

	start(f, make_pair);
	make_pair(fds);
	assert_int_equal(mq_conn_new(&other, f->loop, fds[0], &events, f), 0);
	assert_true(mq_conn_id(other) != mq_conn_id(f->conn));
	close(fds[1]);
}

static void descriptor_that_is_no_socket_stays_with_the_caller(void **state)
{
	struct fixture *f = *state;
	struct mq_conn *conn;
	int fds[2];

	start(f, make_pair);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(mq_conn_new(&conn, f->loop, fds[0], &events, f), -ENOTSOCK);
	assert_int_equal(close(fds[0]), 0);
	close(fds[1]);
}

/* ---- threads ---- */

enum { POSTERS = 4, PER_POSTER = 500 };

static void *post_many(void *user)
{
	struct mq_conn *conn = user;
	struct mq_command cmd;

	for (unsigned i = 0; i < PER_POSTER; i++) {
		mq_command_request(&cmd, 40);
		mq_command_add_i64(&cmd, "n", i);
		assert_int_equal(mq_conn_post(conn, &cmd), 0);
	}
	mq_conn_unref(conn);
	return NULL;
}

static void commands_posted_by_other_threads_arrive_whole(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[POSTERS];

	start(f, make_pair);
	for (unsigned i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, post_many, mq_conn_ref(f->conn)), 0);
	turn_until(f->loop, peer_frames(f->peer) == POSTERS * PER_POSTER);
	for (unsigned i = 0; i < POSTERS; i++)
		pthread_join(threads[i], NULL);
}

static void posting_to_a_loop_that_is_freed_meanwhile_is_safe(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[POSTERS];

	start(f, make_pair);
	for (unsigned i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, post_many, mq_conn_ref(f->conn)), 0);
	turn_until(f->loop, peer_frames(f->peer) > 10);
	f->loop = mq_loop_free(f->loop);
	assert_false(mq_conn_is_open(f->conn));
	for (unsigned i = 0; i < POSTERS; i++)
		pthread_join(threads[i], NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pipelined_frames_are_handled_in_one_turn),
		TEST(frame_that_comes_byte_by_byte_is_one_frame),
		TEST(large_frame_is_received_over_many_turns),
		TEST(claim_beyond_the_limit_closes_without_taking_memory),
		TEST(garbage_closes_after_the_good_frames_before_it),
		TEST(refusal_by_on_frame_closes),
		TEST(close_inside_on_frame_stops_the_frames_behind),
		TEST(half_closed_peer_still_gets_its_answers),
		TEST(parked_request_does_not_keep_an_ended_connection),
		TEST(peer_that_is_gone_closes_the_connection),
		TEST(send_on_closed_connection_does_nothing),
		TEST(peer_that_never_reads_is_not_read_and_resumes),
		TEST(unanswered_requests_stop_reading_until_half_is_released),
		TEST(total_budget_stops_who_holds_much_and_serves_the_modest),
		TEST(stalled_peer_gives_way_when_the_loop_is_over_its_budget),
		TEST(pushes_to_a_peer_that_never_reads_end_with_the_connection),
		TEST(large_frames_of_many_all_arrive),
		TEST(who_begins_a_frame_and_sends_no_more_gives_way),
		TEST(who_sends_too_slowly_does_not_keep_the_others_waiting),
		TEST(incomplete_frames_have_an_end),
		TEST(silence_closes_after_the_idle_time),
		TEST(drain_answers_what_is_in_flight_and_reads_no_more),
		TEST(drained_connection_ends_with_its_last_unanswered_request),
		TEST(drained_connection_does_not_wait_for_its_peer_for_long),
		TEST(tcp_peer_is_named_by_address),
		TEST(unix_peer_is_named_by_credentials),
		TEST(ids_differ),
		TEST(descriptor_that_is_no_socket_stays_with_the_caller),
		TEST(commands_posted_by_other_threads_arrive_whole),
		TEST(posting_to_a_loop_that_is_freed_meanwhile_is_safe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
