/* One connection of a load: requests that are due go out, their answers come in. */
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemons/ctl/load_internal.h"
#include "libmq/base/bytes.h"
#include "libmq/net/address.h"
#include "libmq/wire/codes.h"

enum {
	READ_SIZE = 65536,
	READ_MAX = MQ_FRAME_MAX_DEFAULT,
	OUT_MAX = 4 << 20, /* bytes waiting for the kernel before a connection counts as full */
};

static int64_t wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void conn_fail(struct load_conn *c, int r, const char *what)
{
	struct load *l = c->load;

	if (l->has_failed)
		return;
	mq_failure_at(&l->failure, r, MQ_STAGE_EXCHANGE, MQ_HOP_BROKER, c->where, "%s: %s", what, strerror(-r));
	l->has_failed = l->is_stopping = l->is_done = true;
}

/* --- sending --- */

bool load_conn_is_over(const struct load_conn *c)
{
	const struct load *l = c->load;
	uint64_t index = c->next_request * l->n_conns + (uint64_t)(c - l->conns);

	return l->is_stopping || (l->cfg.messages > 0 && index * l->cfg.batch >= l->cfg.messages);
}

int64_t load_conn_next_due(const struct load_conn *c)
{
	const struct load *l = c->load;
	uint64_t index = c->next_request * l->n_conns + (uint64_t)(c - l->conns);

	return l->request_ns > 0 ? l->start_ns + (int64_t)((double)index * l->request_ns) : 0;
}

static int out_reserve(struct load_conn *c, size_t n)
{
	size_t capacity = c->out_capacity ? c->out_capacity : READ_SIZE;
	char *larger;

	if (c->n_out + n <= c->out_capacity)
		return 0;
	if (c->out_sent > 0) {
		memmove(c->out, c->out + c->out_sent, c->n_out - c->out_sent);
		c->n_out -= c->out_sent;
		c->out_sent = 0;
	}
	while (c->n_out + n > capacity)
		capacity *= 2;
	if (capacity <= c->out_capacity)
		return 0;
	larger = realloc(c->out, capacity);
	if (!larger)
		return -ENOMEM;
	c->out = larger;
	c->out_capacity = capacity;
	return 0;
}

static uint64_t next_random(uint64_t *state) /* xorshift64 */
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void write_random(struct load *l, char *body)
{
	memcpy(body, l->random + next_random(&l->random_state) % (LOAD_RANDOM_SIZE - l->cfg.size), l->cfg.size);
}

static int conn_put_request(struct load_conn *c, int64_t due_ns, int64_t born_at_ms)
{
	struct load *l = c->load;
	const struct template *t = &c->broker->templates[c->next_template];
	unsigned slot;
	char *out;

	if (out_reserve(c, t->n) < 0)
		return -ENOMEM;
	c->next_template = (c->next_template + 1) % c->broker->n_templates;
	slot = c->free_slots[--c->n_free];
	c->due_ns[slot] = due_ns;
	c->next_request++;
	out = c->out + c->n_out;
	template_write(t, out, TEMPLATE_OPAQUE_BASE + slot, born_at_ms, l->n_unique);
	for (unsigned i = 0; l->random && i < t->n_messages; i++)
		write_random(l, out + t->body_at[i]);
	for (unsigned i = 0; l->cfg.stamp_run && i < t->n_messages; i++)
		load_write_stamp(out + t->body_at[i], l->cfg.stamp_run, due_ns);
	c->n_out += t->n;
	l->n_unique += t->n_messages;
	l->stats.sent += t->n_messages;
	l->n_in_flight++;
	return 0;
}

static void conn_flush(struct load_conn *c)
{
	while (c->out_sent < c->n_out) {
		ssize_t n = send(c->fd, c->out + c->out_sent, c->n_out - c->out_sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			/* Fails only without memory: the answers then stop, which is seen. */
			(void)event_add(c->writable, NULL);
			return;
		}
		if (n < 0) {
			conn_fail(c, -errno, "sending failed");
			return;
		}
		c->out_sent += (size_t)n;
	}
	c->n_out = c->out_sent = 0;
}

void load_conn_pump(struct load_conn *c, int64_t now_ns)
{
	int64_t born_at_ms = 0;

	while (!load_conn_is_over(c) && c->n_free > 0 && c->n_out - c->out_sent < OUT_MAX) {
		int64_t due_ns = load_conn_next_due(c);

		if (due_ns > now_ns)
			break;
		if (born_at_ms == 0)
			born_at_ms = wall_ms();
		if (conn_put_request(c, due_ns ? due_ns : now_ns, born_at_ms) < 0) {
			conn_fail(c, -ENOMEM, "sending failed");
			return;
		}
	}
	if (c->n_out > c->out_sent)
		conn_flush(c);
}

/* --- answers --- */

static void conn_take_answer(struct load_conn *c, const struct mq_command *answer, int64_t now_ns)
{
	struct load *l = c->load;
	uint32_t slot = (uint32_t)answer->opaque - TEMPLATE_OPAQUE_BASE;
	int64_t due_ns;

	if (!(answer->flag & MQ_FLAG_RESPONSE) || slot >= l->cfg.in_flight || c->due_ns[slot] < 0)
		return; /* a request of the broker, or an answer to nothing: none of ours */
	due_ns = c->due_ns[slot];
	c->due_ns[slot] = -1;
	c->free_slots[c->n_free++] = slot;
	l->n_in_flight--;

	switch (answer->code) {
	case MQ_SUCCESS:
	case MQ_FLUSH_DISK_TIMEOUT:
	case MQ_SLAVE_NOT_AVAILABLE:
	case MQ_FLUSH_SLAVE_TIMEOUT:
		l->stats.acked += l->cfg.batch;
		l->stats.requests++;
		histogram_add(&l->stats.latency, now_ns - due_ns);
		histogram_add(&l->stats.interval, now_ns - due_ns);
		return;
	default:
		if (l->stats.errors == 0)
			mq_failure_answer(&l->stats.first_error, MQ_HOP_BROKER, c->where, answer);
		l->stats.errors += l->cfg.batch;
	}
}

/* Takes whole frames off c->in, decoded in place. Returns the bytes used or -EBADMSG. */
static ssize_t conn_take_frames(struct load_conn *c, int64_t now_ns)
{
	size_t at = 0;

	while (c->n_in - at >= MQ_FRAME_PREFIX_SIZE) {
		char *p = c->in + at;
		size_t size = MQ_FRAME_LENGTH_SIZE + (size_t)mq_get32(p), n_header = mq_get32(p + 4) & 0xffffff;
		struct mq_frame frame = { .refs = 1,
					  .codec = (uint8_t)p[4],
					  .header = p + MQ_FRAME_PREFIX_SIZE,
					  .header_size = n_header };
		struct mq_command answer;

		if (size > READ_MAX || size < MQ_FRAME_PREFIX_SIZE + n_header)
			return -EBADMSG;
		if (c->n_in - at < size)
			break;
		frame.size = size;
		if (mq_command_decode(&answer, &frame, NULL) < 0)
			return -EBADMSG;
		conn_take_answer(c, &answer, now_ns);
		at += size;
	}
	return (ssize_t)at;
}

static int in_reserve(struct load_conn *c)
{
	char *larger;

	if (c->in_capacity - c->n_in >= READ_SIZE / 2)
		return 0;
	if (c->in_capacity >= READ_MAX + READ_SIZE)
		return -EMSGSIZE;
	larger = realloc(c->in, c->in_capacity ? c->in_capacity * 2 : READ_SIZE);
	if (!larger)
		return -ENOMEM;
	c->in = larger;
	c->in_capacity = c->in_capacity ? c->in_capacity * 2 : READ_SIZE;
	return 0;
}

static void conn_on_readable(evutil_socket_t fd, short what, void *user)
{
	struct load_conn *c = user;
	struct load *l = c->load;
	int64_t now_ns;
	bool was_full = c->n_free == 0;
	ssize_t n, used;
	int r = in_reserve(c);

	if (r < 0) {
		conn_fail(c, r, "receiving failed");
		return;
	}
	n = recv(fd, c->in + c->n_in, c->in_capacity - c->n_in, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_fail(c, n < 0 ? -errno : -ECONNRESET, "the broker closed the connection");
		(void)event_del(c->readable);
		return;
	}
	c->n_in += (size_t)n;
	now_ns = load_now_ns();
	used = conn_take_frames(c, now_ns);
	if (used < 0) {
		conn_fail(c, (int)used, "unreadable answer");
		return;
	}
	memmove(c->in, c->in + used, c->n_in - (size_t)used);
	c->n_in -= (size_t)used;
	load_conn_pump(c, now_ns);
	load_check_limit(l);
	if (l->timer && was_full)
		load_arm(l, now_ns);
}

static void conn_on_writable(evutil_socket_t fd, short what, void *user)
{
	struct load_conn *c = user;

	conn_flush(c);
	if (c->n_out == 0)
		load_conn_pump(c, load_now_ns());
}

/* --- life cycle --- */

static int wait_connected(int fd, int64_t timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int error = 0, one = 1;
	socklen_t n = sizeof error;
	int r = poll(&p, 1, (int)timeout_ms);

	if (r < 0)
		return -errno;
	if (r == 0)
		return -ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		return -errno;
	/* Unix sockets do not have it and do not need it. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return -error;
}

static int conn_connect(struct load_conn *c, const char *address, int64_t timeout_ms, struct mq_failure *f)
{
	struct mq_address a;
	struct mq_error err;
	int r;

	r = mq_address_parse(&a, mq_slice_of(address), &err);
	if (r < 0)
		return mq_failure_at(f, r, MQ_STAGE_CONNECT, MQ_HOP_BROKER, c->where, "%s", err.text);
	c->fd = mq_address_connect(&a, &err);
	r = c->fd < 0 ? c->fd : wait_connected(c->fd, timeout_ms);
	return r < 0 ? mq_failure_at(f, r, MQ_STAGE_CONNECT, MQ_HOP_BROKER, c->where, "%s", strerror(-r)) : 0;
}

static int conn_open(struct load_conn *c, const struct mq_topic_broker *b, int64_t timeout_ms,
		     struct mq_failure *f)
{
	struct mq_hop hop = mq_topic_route_hop(b);
	int r = -EADDRNOTAVAIL;

	for (unsigned i = 0; i < MQ_HOP_ADDRESSES && hop.addresses[i] && r < 0; i++) {
		if (c->fd >= 0)
			close(c->fd);
		c->fd = -1;
		snprintf(c->where, sizeof c->where, "broker %s (%s)", b->name, hop.addresses[i]);
		r = conn_connect(c, hop.addresses[i], timeout_ms, f);
	}
	return r;
}

int load_conn_init(struct load_conn *c, struct load *l, const struct mq_topic_broker *b,
		   int64_t timeout_ms, struct mq_failure *f)
{
	struct event_base *base = mq_loop_base(l->loop);
	unsigned n = l->cfg.in_flight;
	int r;

	c->load = l;
	r = conn_open(c, b, timeout_ms, f);
	if (r < 0)
		return r;
	c->readable = event_new(base, c->fd, EV_READ | EV_PERSIST, conn_on_readable, c);
	c->writable = event_new(base, c->fd, EV_WRITE, conn_on_writable, c);
	c->due_ns = calloc(n, sizeof *c->due_ns);
	c->free_slots = calloc(n, sizeof *c->free_slots);
	if (!c->readable || !c->writable || !c->due_ns || !c->free_slots || event_add(c->readable, NULL) < 0)
		return mq_failure_local(f, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < n; i++) {
		c->due_ns[i] = -1;
		c->free_slots[c->n_free++] = n - 1 - i;
	}
	return 0;
}

void load_conn_done(struct load_conn *c)
{
	if (c->readable)
		event_free(c->readable);
	if (c->writable)
		event_free(c->writable);
	if (c->fd >= 0)
		close(c->fd);
	free(c->due_ns);
	free(c->free_slots);
	free(c->out);
	free(c->in);
}
