#include "daemons/ctl/load.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "daemons/ctl/template.h"
#include "libmq/base/bytes.h"
#include "libmq/net/address.h"
#include "libmq/wire/codes.h"

enum {
	READ_SIZE = 65536,
	READ_MAX = MQ_FRAME_MAX_DEFAULT,
	OUT_MAX = 4 << 20,         /* bytes waiting for the kernel before a connection counts as full */
	TICK_MIN_NS = 20000,       /* the schedule is looked at no more often */
	RANDOM_SIZE = 16 << 20,    /* random bodies are pieces of so many bytes: a compressor sees 64 KiB at once */
};

static const char stamp_mark[8] = "mqbench ";

/* What the connections to a broker send. */
struct load_broker {
	struct template *templates; /* owned; one per queue of each topic */
	unsigned n_templates;
};

struct load_conn {
	struct load *load;
	struct load_broker *broker; /* borrowed */
	int fd;
	struct event *readable, *writable; /* owned */
	char where[320];
	unsigned next_template;
	uint64_t next_request;      /* index in the schedule of this connection */
	/* Requests without an answer: slot i has opaque BASE + i. */
	int64_t *due_ns;            /* owned; when the request in the slot was due; -1: free */
	unsigned *free_slots;       /* owned; stack */
	unsigned n_free;
	char *out;                  /* owned */
	size_t n_out, out_sent, out_capacity;
	char *in;                   /* owned */
	size_t n_in, in_capacity;
};

struct load {
	struct mq_loop *loop;
	struct load_config cfg;
	struct load_broker *brokers; /* owned; as in the first route */
	struct load_conn *conns;    /* owned */
	unsigned n_conns;
	char *random;               /* owned; RANDOM_SIZE, only with random bodies */
	uint64_t random_state;
	struct load_stats stats;
	int timer_fd;
	struct event *timer;        /* owned; only with a rate */
	int64_t start_ns;
	double request_ns;          /* between two requests of the whole load; 0: no rate */
	uint64_t n_unique, process;
	unsigned n_in_flight;
	bool is_stopping, is_done, has_failed;
	struct mq_failure failure;
};

int64_t load_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void write_stamp(char *body, uint32_t run, int64_t due_ns)
{
	memcpy(body, stamp_mark, sizeof stamp_mark);
	put_hex(body + 8, run, 8);
	body[16] = ' ';
	put_decimal(body + 17, (uint64_t)due_ns, 20);
	body[37] = ' ';
}

bool load_read_stamp(struct mq_slice body, uint32_t run, int64_t *ret_ns)
{
	char wanted[8];
	int64_t ns = 0;

	if (body.n < LOAD_STAMP_SIZE || memcmp(body.p, stamp_mark, sizeof stamp_mark) != 0)
		return false;
	put_hex(wanted, run, 8);
	if (memcmp(body.p + 8, wanted, 8) != 0)
		return false;
	for (int i = 17; i < 37; i++) {
		if (body.p[i] < '0' || body.p[i] > '9' || ns > INT64_MAX / 10 - 1)
			return false;
		ns = ns * 10 + (body.p[i] - '0');
	}
	*ret_ns = ns;
	return true;
}

static void load_check_done(struct load *l)
{
	if (l->is_stopping && l->n_in_flight == 0)
		l->is_done = true;
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

static bool conn_is_over(const struct load_conn *c)
{
	const struct load *l = c->load;
	uint64_t index = c->next_request * l->n_conns + (uint64_t)(c - l->conns);

	return l->is_stopping || (l->cfg.messages > 0 && index * l->cfg.batch >= l->cfg.messages);
}

/* The time the connection's next request is due; 0: at once. */
static int64_t conn_next_due(const struct load_conn *c)
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
	memcpy(body, l->random + next_random(&l->random_state) % (RANDOM_SIZE - l->cfg.size), l->cfg.size);
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
		write_stamp(out + t->body_at[i], l->cfg.stamp_run, due_ns);
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

/* Sends what is due and fits the window. */
static void conn_pump(struct load_conn *c, int64_t now_ns)
{
	int64_t born_at_ms = 0;

	while (!conn_is_over(c) && c->n_free > 0 && c->n_out - c->out_sent < OUT_MAX) {
		int64_t due_ns = conn_next_due(c);

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

static void load_arm(struct load *l, int64_t now_ns)
{
	int64_t next_ns = INT64_MAX;
	struct itimerspec at = {};

	for (unsigned i = 0; i < l->n_conns; i++) {
		const struct load_conn *c = &l->conns[i];
		int64_t due_ns;

		if (c->n_free == 0 || conn_is_over(c))
			continue;
		due_ns = conn_next_due(c);
		next_ns = due_ns < next_ns ? due_ns : next_ns;
	}
	if (next_ns == INT64_MAX)
		return; /* an answer will free a slot, and pump */
	if (next_ns < now_ns + TICK_MIN_NS)
		next_ns = now_ns + TICK_MIN_NS;
	at.it_value.tv_sec = next_ns / 1000000000;
	at.it_value.tv_nsec = next_ns % 1000000000;
	(void)timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &at, NULL); /* cannot fail with these values */
}

/* All messages of the limit were sent: nothing more will start. */
static void load_check_limit(struct load *l)
{
	if (l->cfg.messages > 0 && l->stats.sent >= l->cfg.messages)
		l->is_stopping = true;
	load_check_done(l);
}

static void load_on_timer(evutil_socket_t fd, short what, void *user)
{
	struct load *l = user;
	int64_t now_ns = load_now_ns();
	uint64_t n;

	if (read(fd, &n, sizeof n) < 0)
		return; /* another callback re-armed it */
	for (unsigned i = 0; i < l->n_conns; i++)
		conn_pump(&l->conns[i], now_ns);
	load_check_limit(l);
	load_arm(l, now_ns);
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
	conn_pump(c, now_ns);
	load_check_limit(l);
	if (l->timer && was_full)
		load_arm(l, now_ns);
}

static void conn_on_writable(evutil_socket_t fd, short what, void *user)
{
	struct load_conn *c = user;

	conn_flush(c);
	if (c->n_out == 0)
		conn_pump(c, load_now_ns());
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

static int conn_init(struct load_conn *c, struct load *l, const struct mq_topic_broker *b,
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

static bool broker_takes(const struct mq_topic_broker *b)
{
	return b && b->has_master && (b->perm & MQ_PERM_BIT_WRITE) && b->n_write > 0;
}

static int add_templates(struct load *l, struct load_broker *lb, const char *topic,
			 const struct mq_topic_broker *b, struct mq_failure *f)
{
	size_t n = lb->n_templates + (size_t)b->n_write;
	struct template *larger = realloc(lb->templates, n * sizeof *larger);
	int r;

	if (!larger)
		return mq_failure_local(f, -ENOMEM, "out of memory");
	lb->templates = larger;
	for (int32_t q = 0; q < b->n_write; q++) {
		struct template_config cfg = {
			.topic = topic,
			.group = l->cfg.group,
			.broker = b->name,
			.queue_id = q,
			.n_messages = l->cfg.batch,
			.body_size = l->cfg.size,
			.process = l->process,
			.delay_ms = l->cfg.delay_ms,
		};

		r = template_init(&lb->templates[lb->n_templates], &cfg);
		if (r < 0)
			return mq_failure_local(f, r,
						"cannot build a request of %u messages of %zu bytes: %s",
						l->cfg.batch, l->cfg.size, strerror(-r));
		lb->n_templates++;
	}
	return 0;
}

static int load_init_brokers(struct load *l, struct mq_failure *f)
{
	const struct mq_topic_route *first = l->cfg.routes[0];
	int r = 0;

	l->brokers = calloc(first->n_brokers + 1, sizeof *l->brokers);
	if (!l->brokers)
		return mq_failure_local(f, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < first->n_brokers; i++)
		for (unsigned t = 0; t < l->cfg.n_routes && r >= 0; t++) {
			const struct mq_topic_route *route = l->cfg.routes[t];
			const struct mq_topic_broker *b = mq_topic_route_find(route, first->brokers[i].name);

			if (broker_takes(b))
				r = add_templates(l, &l->brokers[i], route->topic, b, f);
		}
	return r;
}

/* Connections go to the brokers in turn. */
static int load_connect(struct load *l, int64_t timeout_ms, struct mq_failure *f)
{
	const struct mq_topic_route *route = l->cfg.routes[0];
	unsigned before, at = 0;
	int r = 0;

	do {
		before = l->n_conns;
		for (unsigned i = 0; i < route->n_brokers && at < l->cfg.connections && r >= 0; i++) {
			if (!broker_takes(&route->brokers[i]))
				continue;
			l->n_conns++;
			l->conns[at].broker = &l->brokers[i];
			r = conn_init(&l->conns[at], l, &route->brokers[i], timeout_ms, f);
			/* They start at queues far from each other: small runs would else use the first ones
			 * only, and large ones would go through the queues as one crowd. */
			l->conns[at].next_template = (unsigned)((uint64_t)at * l->brokers[i].n_templates /
								l->cfg.connections);
			at++;
		}
	} while (r >= 0 && l->n_conns > before && at < l->cfg.connections);
	if (r >= 0 && l->n_conns == 0)
		return mq_failure_local(f, -EACCES, "topic %s has no queue that takes messages", route->topic);
	return r;
}

static int load_make_timer(struct load *l)
{
	l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (l->timer_fd < 0)
		return -errno;
	l->timer = event_new(mq_loop_base(l->loop), l->timer_fd, EV_READ | EV_PERSIST, load_on_timer, l);
	return l->timer && event_add(l->timer, NULL) == 0 ? 0 : -ENOMEM;
}

static int load_make_random(struct load *l)
{
	l->random = malloc(RANDOM_SIZE);
	if (!l->random)
		return -ENOMEM;
	for (size_t at = 0; at < RANDOM_SIZE;) {
		ssize_t n = getrandom(l->random + at, RANDOM_SIZE - at, 0);

		if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? (size_t)n : 0;
	}
	l->random_state = l->process | 1;
	return 0;
}

int load_new(struct load **ret, struct mq_loop *loop, const struct load_config *cfg, int64_t timeout_ms,
	     struct mq_failure *f)
{
	_cleanup_(load_freep) struct load *l = calloc(1, sizeof *l);
	int r;

	if (!l)
		return mq_failure_local(f, -ENOMEM, "out of memory");
	l->loop = loop;
	l->cfg = *cfg;
	l->timer_fd = -1;
	l->process = (uint64_t)load_now_ns() << 16 ^ (uint64_t)getpid();
	l->conns = calloc(cfg->connections, sizeof *l->conns);
	if (!l->conns)
		return mq_failure_local(f, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < cfg->connections; i++)
		l->conns[i].fd = -1;
	r = load_init_brokers(l, f);
	if (r >= 0)
		r = load_connect(l, timeout_ms, f);
	if (r < 0)
		return r;
	if (cfg->has_random_bodies) {
		r = load_make_random(l);
		if (r < 0)
			return mq_failure_local(f, r, "cannot make random bodies: %s", strerror(-r));
	}
	if (cfg->rate > 0) {
		l->request_ns = 1e9 * cfg->batch / cfg->rate;
		r = load_make_timer(l);
		if (r < 0)
			return mq_failure_local(f, r, "cannot make a timer: %s", strerror(-r));
	}
	*ret = TAKE(l);
	return 0;
}

static void conn_done(struct load_conn *c)
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

struct load *load_free(struct load *l)
{
	if (!l)
		return NULL;
	for (unsigned i = 0; i < l->n_conns; i++)
		conn_done(&l->conns[i]);
	free(l->conns);
	for (unsigned i = 0; l->brokers && i < l->cfg.routes[0]->n_brokers; i++) {
		for (unsigned t = 0; t < l->brokers[i].n_templates; t++)
			template_done(&l->brokers[i].templates[t]);
		free(l->brokers[i].templates);
	}
	free(l->brokers);
	free(l->random);
	if (l->timer)
		event_free(l->timer);
	if (l->timer_fd >= 0)
		close(l->timer_fd);
	free(l);
	return NULL;
}

void load_start(struct load *l)
{
	l->start_ns = load_now_ns();
	for (unsigned i = 0; i < l->n_conns; i++)
		conn_pump(&l->conns[i], l->start_ns);
	if (l->timer)
		load_arm(l, l->start_ns);
}

uint64_t load_unsent(const struct load *l)
{
	uint64_t due;

	if (l->request_ns <= 0)
		return 0;
	due = ((uint64_t)((double)(load_now_ns() - l->start_ns) / l->request_ns) + 1) * l->cfg.batch;
	if (l->cfg.messages > 0 && due > l->cfg.messages)
		due = l->cfg.messages;
	return due > l->stats.sent ? due - l->stats.sent : 0;
}

void load_stop(struct load *l)
{
	l->is_stopping = true;
	load_check_done(l);
}

void load_reset(struct load *l)
{
	histogram_reset(&l->stats.latency);
	l->stats.requests = 0;
}

struct load_stats *load_stats(struct load *l)
{
	return &l->stats;
}

const bool *load_is_done(const struct load *l)
{
	return &l->is_done;
}

const struct mq_failure *load_failure(const struct load *l)
{
	return l->has_failed ? &l->failure : NULL;
}
