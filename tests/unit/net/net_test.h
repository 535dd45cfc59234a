/* What the tests of libmq/net share: a steered clock, peers that are plain sockets, and turns until something is so.
 * The functions are inline so that each test uses what it needs. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "libmq/base/bytes.h"
#include "libmq/net/conn.h"
#include "libmq/net/loop.h"
#include "tests/unit/test_clock.h"

enum { DEADLINE_MS = 10000 }; /* for everything that is waited for; far more than it takes */

static inline int64_t real_ms(void)
{
	return mq_mono_ms(&mq_clock_system);
}

/* Turns of `loop` until `condition` holds; fails the test after DEADLINE_MS of real time. */
#define turn_until(loop, condition)                                                      \
	do {                                                                             \
		int64_t until_ms_ = real_ms() + DEADLINE_MS;                             \
		while (!(condition)) {                                                   \
			assert_true(real_ms() < until_ms_);                              \
			assert_int_equal(mq_loop_turn(loop, 10), 0);                     \
		}                                                                        \
	} while (0)

static inline void turns(struct mq_loop *loop, unsigned n)
{
	while (n-- > 0)
		assert_int_equal(mq_loop_turn(loop, 0), 0);
}

/* A frame with the given JSON header and body at out; returns its size. */
static inline size_t make_frame(char *out, const char *header, const void *body, size_t n_body)
{
	size_t n_header = strlen(header);
	char *p = out;

	p = mq_put32(p, (uint32_t)(4 + n_header + n_body));
	p = mq_put32(p, (uint32_t)n_header);
	p = mq_put_bytes(p, header, n_header);
	p = mq_put_bytes(p, body, n_body);
	return (size_t)(p - out);
}

static inline void write_all(int fd, const void *bytes, size_t n)
{
	const char *p = bytes;

	while (n > 0) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		assert_true(k > 0);
		p += k;
		n -= (size_t)k;
	}
}

static inline void write_frame(int fd, const char *header, const void *body, size_t n_body)
{
	char *out = malloc(8 + strlen(header) + n_body);
	size_t n = make_frame(out, header, body, n_body);

	write_all(fd, out, n);
	free(out);
}

/* Reads what is there without waiting; returns bytes, 0 at the end, -errno. */
static inline ssize_t read_some(int fd, void *out, size_t n)
{
	ssize_t k = recv(fd, out, n, MSG_DONTWAIT);

	return k < 0 ? -errno : k;
}

/* The peer's view: collects what arrives and shows frames. */
struct peer {
	int fd;
	bool is_ended;
	size_t n;
	char bytes[1 << 18];
};

static inline void peer_receive(struct peer *p)
{
	ssize_t k;

	while (p->n < sizeof p->bytes && (k = read_some(p->fd, p->bytes + p->n, sizeof p->bytes - p->n)) != -EAGAIN) {
		if (k <= 0) {
			p->is_ended = true;
			return;
		}
		p->n += (size_t)k;
	}
}

/* Whole frames received so far. */
static inline unsigned peer_frames(struct peer *p)
{
	unsigned n = 0;

	peer_receive(p);
	for (size_t at = 0; at + 4 <= p->n && at + 4 + mq_get32(p->bytes + at) <= p->n; at += 4 + mq_get32(p->bytes + at))
		n++;
	return n;
}

/* The header of the frame number `index` as text. */
static inline const char *peer_header(struct peer *p, unsigned index)
{
	static char text[4096];
	size_t at = 0, n;

	assert_true(index < peer_frames(p));
	while (index-- > 0)
		at += 4 + mq_get32(p->bytes + at);
	n = mq_get32(p->bytes + at + 4) & 0xffffff;
	assert_true(n < sizeof text);
	memcpy(text, p->bytes + at + 8, n);
	text[n] = '\0';
	return text;
}

static inline bool peer_has_ended(struct peer *p)
{
	peer_receive(p);
	return p->is_ended;
}

static inline void make_pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

/* A connected TCP pair on loopback. */
static inline void make_tcp_pair(int fds[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof at;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &n), 0);
	fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fds[1], (struct sockaddr *)&at, sizeof at), 0);
	fds[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fds[0] >= 0);
	close(listener);
}
