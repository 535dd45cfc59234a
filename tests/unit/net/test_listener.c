#include "tests/unit/net/net_test.h"

#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "libmq/net/address.h"
#include "libmq/net/listener.h"

enum { LOOPS = 3 };

struct fixture {
	struct test_clock clock;
	struct mq_loop *loops[LOOPS];
	struct mq_listener *listener;
	int fd; /* the listener's */
	struct rlimit limit; /* of descriptors, at the start */
	struct mq_address address;
};

/* Answers every frame with a bare command. */
static int on_frame(struct mq_conn *conn, struct mq_frame *frame, void *user)
{
	struct mq_command answer;

	mq_command_request(&answer, 0);
	answer.flag = MQ_FLAG_RESPONSE;
	return mq_conn_send(conn, &answer, NULL);
}

static const struct mq_conn_events events = { .on_frame = on_frame };

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct sockaddr_in at;
	socklen_t n = sizeof at;
	struct mq_loop_config cfg;
	int fd;

	getrlimit(RLIMIT_NOFILE, &f->limit);
	test_clock_init(&f->clock);
	mq_loop_config_init(&cfg);
	cfg.clock = &f->clock.clock;
	for (unsigned i = 0; i < LOOPS; i++)
		assert_int_equal(mq_loop_new(&f->loops[i], &cfg, NULL), 0);
	assert_int_equal(mq_address_parse(&f->address, mq_slice_of("127.0.0.1:0"), NULL), 0);
	fd = mq_address_listen(&f->address, NULL);
	assert_true(fd >= 0);
	getsockname(fd, (struct sockaddr *)&at, &n);
	f->address.port = ntohs(at.sin_port);
	f->fd = fd;
	assert_int_equal(mq_listener_new(&f->listener, f->loops[0], fd, f->loops, LOOPS, &events, NULL, NULL), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	setrlimit(RLIMIT_NOFILE, &f->limit);
	mq_listener_free(f->listener);
	for (unsigned i = 0; i < LOOPS; i++)
		mq_loop_free(f->loops[i]);
	free(f);
	return 0;
}

static struct mq_loop_stats stats_of(struct mq_loop *loop)
{
	struct mq_loop_stats s;

	mq_loop_stats(loop, &s);
	return s;
}

static uint64_t connections(struct fixture *f)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < LOOPS; i++) {
		turns(f->loops[i], 1);
		n += stats_of(f->loops[i]).n_connections;
	}
	return n;
}

static void connections_are_dealt_out_in_turn(void **state)
{
	struct fixture *f = *state;
	int fds[9];

	for (unsigned i = 0; i < N_ELEMENTS(fds); i++)
		fds[i] = mq_address_connect(&f->address, NULL);
	turn_until(f->loops[0], connections(f) == N_ELEMENTS(fds));
	for (unsigned i = 0; i < LOOPS; i++) {
		assert_int_equal(stats_of(f->loops[i]).n_connections, N_ELEMENTS(fds) / LOOPS);
		assert_int_equal(stats_of(f->loops[i]).n_accepted, N_ELEMENTS(fds) / LOOPS);
	}
	for (unsigned i = 0; i < N_ELEMENTS(fds); i++)
		close(fds[i]);
	turn_until(f->loops[0], connections(f) == 0);
}

/* Connections may take the kernel a moment, on loopback, too. */
static void await_backlog(struct fixture *f, unsigned n)
{
	int64_t until_ms = real_ms() + DEADLINE_MS;
	struct tcp_info info = {};
	socklen_t size = sizeof info;

	while (getsockopt(f->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_unacked < n) { /* to be accepted */
		assert_true(real_ms() < until_ms);
		sched_yield();
	}
	assert_int_equal(info.tcpi_unacked, n);
}

static void without_descriptors_it_pauses_and_goes_on(void **state)
{
	struct fixture *f = *state;
	struct rlimit none = f->limit;
	int fd = mq_address_connect(&f->address, NULL);

	assert_true(fd >= 0);
	await_backlog(f, 1);
	none.rlim_cur = (rlim_t)fd + 1;
	setrlimit(RLIMIT_NOFILE, &none);
	turns(f->loops[0], 3);
	assert_int_equal(connections(f), 0);
	setrlimit(RLIMIT_NOFILE, &f->limit);

	/* Paused: it is not even tried. */
	turns(f->loops[0], 3);
	assert_int_equal(connections(f), 0);
	test_clock_advance(&f->clock, 100);
	turn_until(f->loops[0], connections(f) == 1);
	close(fd);
}

static void connection_of_a_draining_loop_is_drained_at_once(void **state)
{
	struct fixture *f = *state;
	struct peer *p = calloc(1, sizeof *p);

	for (unsigned i = 0; i < LOOPS; i++)
		mq_loop_drain(f->loops[i]);
	p->fd = mq_address_connect(&f->address, NULL);
	turn_until(f->loops[0], (connections(f), peer_has_ended(p)));
	close(p->fd);
	free(p);
}

static void connection_on_its_way_to_a_loop_that_ends_is_closed(void **state)
{
	struct fixture *f = *state;
	struct peer *p = calloc(1, sizeof *p);

	/* The second goes to the second loop, which never turns. */
	p->fd = mq_address_connect(&f->address, NULL);
	close(p->fd);
	p->fd = mq_address_connect(&f->address, NULL);
	await_backlog(f, 2);
	turn_until(f->loops[0], stats_of(f->loops[0]).n_accepted == 1);
	f->loops[1] = mq_loop_free(f->loops[1]);
	turn_until(f->loops[0], peer_has_ended(p));
	close(p->fd);
	free(p);
}

static void descriptor_that_is_no_socket_is_refused(void **state)
{
	struct fixture *f = *state;
	struct mq_listener *l;
	struct mq_error err;

	assert_int_equal(mq_listener_new(&l, f->loops[0], -1, f->loops, LOOPS, &events, NULL, &err), -EBADF);
	assert_true(err.text[0] != '\0');
}

/* ---- threads: real loops, real clients ---- */

enum { CLIENTS = 8, ROUNDS = 50 };

static void *run_loop(void *user)
{
	return (void *)(intptr_t)mq_loop_run(user);
}

static void *run_client(void *user)
{
	const struct mq_address *address = user;
	struct peer *p = calloc(1, sizeof *p);
	struct pollfd wait;

	p->fd = mq_address_connect(address, NULL);
	assert_true(p->fd >= 0);
	wait = (struct pollfd){ .fd = p->fd, .events = POLLOUT };
	assert_int_equal(poll(&wait, 1, DEADLINE_MS), 1);
	wait.events = POLLIN;
	for (unsigned i = 0; i < ROUNDS; i++) {
		write_frame(p->fd, "{\"code\":1}", NULL, 0);
		while (peer_frames(p) < i + 1)
			assert_int_equal(poll(&wait, 1, DEADLINE_MS), 1);
	}
	close(p->fd);
	free(p);
	return NULL;
}

static void clients_are_served_by_several_threads(void **state)
{
	struct fixture *f = *state;
	pthread_t loops[LOOPS], clients[CLIENTS];
	uint64_t n_accepted = 0;
	void *r;

	for (unsigned i = 0; i < LOOPS; i++)
		assert_int_equal(pthread_create(&loops[i], NULL, run_loop, f->loops[i]), 0);
	for (unsigned i = 0; i < CLIENTS; i++)
		assert_int_equal(pthread_create(&clients[i], NULL, run_client, &f->address), 0);
	for (unsigned i = 0; i < CLIENTS; i++)
		pthread_join(clients[i], NULL);
	for (unsigned i = 0; i < LOOPS; i++) {
		mq_loop_stop(f->loops[i]);
		pthread_join(loops[i], &r);
		assert_int_equal((intptr_t)r, 0);
		n_accepted += stats_of(f->loops[i]).n_accepted;
	}
	assert_int_equal(n_accepted, CLIENTS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(connections_are_dealt_out_in_turn),
		TEST(without_descriptors_it_pauses_and_goes_on),
		TEST(connection_of_a_draining_loop_is_drained_at_once),
		TEST(connection_on_its_way_to_a_loop_that_ends_is_closed),
		TEST(descriptor_that_is_no_socket_is_refused),
		TEST(clients_are_served_by_several_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
