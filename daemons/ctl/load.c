/* The load as a whole: what is sent to which broker, when it is due, and when it is over. */
#include "daemons/ctl/load.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "daemons/ctl/load_internal.h"

enum { TICK_MIN_NS = 20000 }; /* the schedule is looked at no more often */

int64_t load_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void load_check_done(struct load *l)
{
	if (l->is_stopping && l->n_in_flight == 0)
		l->is_done = true;
}

/* --- schedule --- */

void load_arm(struct load *l, int64_t now_ns)
{
	int64_t next_ns = INT64_MAX;
	struct itimerspec at = {};

	for (unsigned i = 0; i < l->n_conns; i++) {
		const struct load_conn *c = &l->conns[i];
		int64_t due_ns;

		if (c->n_free == 0 || load_conn_is_over(c))
			continue;
		due_ns = load_conn_next_due(c);
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
void load_check_limit(struct load *l)
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
		load_conn_pump(&l->conns[i], now_ns);
	load_check_limit(l);
	load_arm(l, now_ns);
}

/* --- life cycle --- */

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
			r = load_conn_init(&l->conns[at], l, &route->brokers[i], timeout_ms, f);
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
	l->random = malloc(LOAD_RANDOM_SIZE);
	if (!l->random)
		return -ENOMEM;
	for (size_t at = 0; at < LOAD_RANDOM_SIZE;) {
		ssize_t n = getrandom(l->random + at, LOAD_RANDOM_SIZE - at, 0);

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

struct load *load_free(struct load *l)
{
	if (!l)
		return NULL;
	for (unsigned i = 0; i < l->n_conns; i++)
		load_conn_done(&l->conns[i]);
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
		load_conn_pump(&l->conns[i], l->start_ns);
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
