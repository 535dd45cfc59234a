/* Scripted NameServers and brokers for the tests of libmq/client, on the loop of the client under test. The
 * functions are inline so that each test uses what it needs. */
#pragma once

#include "tests/unit/client/client_test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libmq/client/client.h"
#include "libmq/net/listener.h"
#include "libmq/net/rpc.h"
#include "libmq/wire/codes.h"
#include "tests/unit/test_clock.h"

enum { DEADLINE_MS = 10000 }; /* for everything that is waited for; far more than it takes */

struct fake {
	struct mq_loop *loop;
	struct mq_listener *listener;
	char address[128];
	unsigned n_requests;
	int last_code;
	/* Fills the answer, which starts as SUCCESS without anything. Returns false: no answer. */
	bool (*script)(struct fake *fake, const struct mq_command *request, struct mq_command *answer);
	const char *body;     /* of what answer_with_body() answers */
	int code;             /* of what answer_with_code() answers */
	bool drops;           /* closes the connection instead of answering */
	struct mq_conn *conn; /* borrowed: the last that asked */
	void *user;
};

static inline bool answer_with_body(struct fake *fake, const struct mq_command *request,
				    struct mq_command *answer)
{
	answer->body = mq_slice_of(fake->body);
	return true;
}

static inline bool answer_with_code(struct fake *fake, const struct mq_command *request,
				    struct mq_command *answer)
{
	answer->code = fake->code;
	return true;
}

static inline bool answer_nothing(struct fake *fake, const struct mq_command *request,
				  struct mq_command *answer)
{
	return false;
}

static inline int fake_on_frame(struct mq_conn *conn, struct mq_frame *frame, void *user)
{
	struct fake *fake = user;
	struct mq_command request, answer;

	assert_int_equal(mq_command_decode(&request, frame, NULL), 0);
	fake->n_requests++;
	fake->last_code = request.code;
	fake->conn = conn;
	if (fake->drops) {
		mq_conn_close(conn, 0);
		return 0;
	}
	mq_command_response(&answer, &request, MQ_SUCCESS);
	if (fake->script(fake, &request, &answer) && !(request.flag & MQ_FLAG_ONEWAY))
		assert_int_equal(mq_conn_send(conn, &answer, NULL), 0);
	return 0;
}

static inline void fake_on_close(struct mq_conn *conn, int reason, void *user)
{
}

static const struct mq_conn_events fake_events = { .on_frame = fake_on_frame, .on_close = fake_on_close };

static inline struct fake *fake_start_at(struct mq_loop *loop, const char *address,
					 bool (*script)(struct fake *, const struct mq_command *,
							struct mq_command *))
{
	struct fake *fake = calloc(1, sizeof *fake);
	struct mq_address at;
	struct sockaddr_in sa;
	socklen_t n = sizeof sa;
	int fd;

	assert_int_equal(mq_address_parse(&at, mq_slice_of(address), NULL), 0);
	fd = mq_address_listen(&at, NULL);
	assert_true(fd >= 0);
	fake->loop = loop;
	fake->script = script;
	snprintf(fake->address, sizeof fake->address, "%s", address);
	if (!at.is_unix) {
		assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
		snprintf(fake->address, sizeof fake->address, "127.0.0.1:%d", ntohs(sa.sin_port));
	}
	assert_int_equal(
		mq_listener_new(&fake->listener, loop, fd, &fake->loop, 1, &fake_events, fake, NULL), 0);
	return fake;
}

/* A port is bound and nobody listens: connecting is refused, and nobody else takes the port meanwhile. */
static inline int refusing_socket(char address[64])
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof sa;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
	snprintf(address, 64, "127.0.0.1:%d", ntohs(sa.sin_port));
	return fd;
}

#define fake_start(loop, script) fake_start_at(loop, "127.0.0.1:0", script)

static inline struct fake *fake_free(struct fake *fake)
{
	mq_listener_free(fake->listener);
	free(fake);
	return NULL;
}

static inline struct mq_loop *new_loop(struct test_clock *clock)
{
	struct mq_loop_config cfg;
	struct mq_loop *loop;

	test_clock_init(clock);
	mq_loop_config_init(&cfg);
	cfg.clock = &clock->clock;
	assert_int_equal(mq_loop_new(&loop, &cfg, NULL), 0);
	return loop;
}

static inline struct mq_client *new_client(struct mq_loop *loop, const char *namesrv, const char *broker)
{
	struct mq_client_config cfg = { .namesrv = namesrv, .broker = broker };
	struct mq_client *c;
	struct mq_error err;

	assert_int_equal(mq_client_new(&c, loop, &cfg, &err), 0);
	return c;
}

/* Turns of `loop` until `condition` holds; fails the test after DEADLINE_MS of real time. */
#define turn_until(loop, condition)                                                      \
	do {                                                                             \
		int64_t until_ms_ = mq_mono_ms(&mq_clock_system) + DEADLINE_MS;          \
		while (!(condition)) {                                                   \
			assert_true(mq_mono_ms(&mq_clock_system) < until_ms_);           \
			assert_int_equal(mq_loop_turn(loop, 10), 0);                     \
		}                                                                        \
	} while (0)
