/* mq-namesrvd: reads its configuration, opens its sockets, runs the loop, stops cleanly. */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemons/common/activation.h"
#include "daemons/common/lifecycle.h"
#include "daemons/common/messages.h"
#include "daemons/namesrv/namesrv.h"
#include "libmq/base/log.h"
#include "libmq/net/listener.h"

enum { DRAIN_MS = 3000 /* longest wait for answers to be written when stopping */ };

struct program {
	struct namesrv namesrv;
	struct option_args args;
	struct lifecycle *lifecycle; /* owned, as are the next */
	struct mq_listener *listeners[ACTIVATION_MAX + 2];
	unsigned n_listeners;
	struct event *scan, *drain;
	const char *own_socket; /* borrowed: path of the Unix socket that we opened, to be removed at the end */
	char where[200];        /* addresses, for STATUS= */
	int drain_left_ms;
};

static struct program program;

/* --- sockets ------------------------------------------------------------------------------------------------------- */

/* Gathers the addresses for STATUS=. */
static void note_address(struct program *p, int fd)
{
	size_t n = strlen(p->where);

	snprintf(p->where + n, sizeof p->where - n, "%s", n ? ", " : "");
	n = strlen(p->where);
	activation_describe(fd, p->where + n, sizeof p->where - n);
}

static int add_listener(struct program *p, int fd, struct mq_error *err)
{
	struct namesrv *n = &p->namesrv;
	int r;

	note_address(p, fd);
	r = mq_listener_new(&p->listeners[p->n_listeners], n->loop, fd, &n->loop, 1, &mq_dispatch_events, &n->dispatch, err);
	if (r < 0) {
		close(fd);
		return r;
	}
	p->n_listeners++;
	return 0;
}

static int open_tcp(struct program *p, struct activation *a, struct mq_error *err)
{
	const struct namesrv_config *c = &p->namesrv.config;
	char address[300];
	int fd, r;

	namesrv_config_address(c, address, sizeof address);
	fd = activation_take_or_listen(a, "namesrv", address, err);
	if (fd < 0)
		return fd;
	do {
		r = add_listener(p, fd, err);
		fd = activation_take(a, "namesrv");
	} while (r == 0 && fd >= 0);
	return r;
}

static int open_local(struct program *p, struct activation *a, struct mq_error *err)
{
	const struct namesrv_config *c = &p->namesrv.config;
	char address[300];
	int fd = activation_take(a, "namesrv-local");

	if (fd >= 0)
		return add_listener(p, fd, err);
	if (!strcmp(c->localSocket, "none"))
		return 0;
	snprintf(address, sizeof address, "unix:%s", c->localSocket);
	fd = activation_take_or_listen(a, "namesrv-local", address, err);
	if (fd < 0)
		return fd;
	p->own_socket = c->localSocket;
	return add_listener(p, fd, err);
}

static int open_sockets(struct program *p, struct mq_error *err)
{
	struct activation a;
	int r = activation_inherit(&a, err);

	if (r == 0)
		r = open_tcp(p, &a, err);
	if (r == 0)
		r = open_local(p, &a, err);
	if (r == 0 && a.n_sockets > 0)
		r = mq_error_set(err, -EINVAL, "the inherited socket '%s' is unknown: names are namesrv and namesrv-local",
				 a.sockets[0].name);
	return r;
}

/* --- life ---------------------------------------------------------------------------------------------------------- */

static void on_scan(int fd, short what, void *user)
{
	struct program *p = user;

	namesrv_scan(&p->namesrv, mq_wall_ms(mq_loop_clock(p->namesrv.loop)));
}

static void log_change(void *user, const struct option_line *line)
{
	const struct namesrv_config *fresh = user;
	char value[200];

	if (line->is_live) {
		/* Adopted: the fresh one holds the old value now. */
		options_format(line, &program.namesrv.config, value, sizeof value);
		mq_log(LOG_INFO, "reload: %s is now %s", line->key, value);
		return;
	}
	options_format(line, fresh, value, sizeof value);
	mq_log_fields(LOG_WARNING, COMMON_MSG_NEEDS_RESTART, NULL, "reload: %s=%s takes effect only after a restart", line->key,
		      value);
}

static int on_reload(void *user, struct mq_error *err)
{
	struct program *p = user;
	struct namesrv_config fresh;
	int r = options_load(&namesrv_options, &p->args, &fresh, err);

	if (r < 0)
		return r;
	(void)options_adopt(&namesrv_options, &p->namesrv.config, &fresh, log_change, &fresh);
	options_free(&namesrv_options, &fresh);
	return 0;
}

static void on_drain(int fd, short what, void *user)
{
	struct program *p = user;
	struct timeval again = { .tv_usec = 10000 };

	p->drain_left_ms -= 10;
	if (mq_loop_drain(p->namesrv.loop) == 0 || p->drain_left_ms <= 0 || event_add(p->drain, &again) < 0)
		mq_loop_stop(p->namesrv.loop);
}

/* Before the listener closes: afterwards the path may belong to the next one. */
static void remove_own_socket(struct program *p)
{
	if (p->own_socket)
		unlink(p->own_socket);
	p->own_socket = NULL;
}

static void on_stop(void *user)
{
	struct program *p = user;

	remove_own_socket(p);
	for (unsigned i = 0; i < p->n_listeners; i++)
		p->listeners[i] = mq_listener_free(p->listeners[i]);
	p->n_listeners = 0;
	p->drain_left_ms = DRAIN_MS;
	on_drain(-1, 0, p);
}

/* One thread: it is alive when it comes here. */
static bool is_alive(void *user)
{
	return true;
}

static const struct lifecycle_events lifecycle_events = { .reload = on_reload, .stop = on_stop, .is_alive = is_alive };

static int start_scan(struct program *p)
{
	int64_t ms = p->namesrv.config.scanNotActiveBrokerInterval;
	struct timeval pause = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	p->scan = event_new(mq_loop_base(p->namesrv.loop), -1, EV_PERSIST, on_scan, p);
	p->drain = event_new(mq_loop_base(p->namesrv.loop), -1, 0, on_drain, p);
	return p->scan && p->drain && event_add(p->scan, &pause) == 0 ? 0 : -ENOMEM;
}

static int start(struct program *p, struct mq_error *err)
{
	struct namesrv *n = &p->namesrv;
	struct mq_loop_config loop_config;
	int r;

	mq_loop_config_init(&loop_config);
	loop_config.name = "main";
	loop_config.max_frame = (size_t)n->config.frameMaxLength;
	loop_config.idle_ms = n->config.serverChannelMaxIdleTimeSeconds;
	r = mq_loop_new(&n->loop, &loop_config, err);
	if (r == 0)
		r = lifecycle_new(&p->lifecycle, n->loop, &lifecycle_events, p, err);
	if (r == 0)
		r = kv_init(&n->kv, n->config.kvConfigPath, err);
	if (r == 0) {
		routes_init(&n->routes);
		namesrv_dispatch_init(n);
		n->started_at_ms = mq_wall_ms(mq_loop_clock(n->loop));
		r = open_sockets(p, err);
	}
	return r == 0 ? start_scan(p) : r;
}

static void finish(struct program *p)
{
	remove_own_socket(p);
	for (unsigned i = 0; i < p->n_listeners; i++)
		mq_listener_free(p->listeners[i]);
	if (p->scan)
		event_free(p->scan);
	if (p->drain)
		event_free(p->drain);
	p->lifecycle = lifecycle_free(p->lifecycle);
	namesrv_done(&p->namesrv);
}

int main(int argc, char **argv)
{
	struct program *p = &program;
	struct mq_error err = {};
	int r, status;

	mq_log_init("mq-namesrvd");
	p->args.program = "mq-namesrvd";
	p->args.description = "NameServer of a RocketMQ cluster: tells clients which broker serves which topic.";
	r = options_parse_args(&p->args, argc, argv);
	if (r != 0)
		return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;
	r = options_load(&namesrv_options, &p->args, &p->namesrv.config, &err);
	if (r < 0) {
		mq_log_fields(LOG_ERR, COMMON_MSG_CONFIG_REFUSED, NULL, "%s", err.text);
		return EXIT_CONFIG;
	}
	if (p->args.print_config)
		options_print(&namesrv_options, &p->namesrv.config);
	if (p->args.print_config || p->args.check_config) {
		options_free(&namesrv_options, &p->namesrv.config);
		return EXIT_SUCCESS;
	}

	r = start(p, &err);
	if (r == 0) {
		lifecycle_ready(p->lifecycle, "Listening on %s", p->where);
		mq_log(LOG_INFO, "mq-namesrvd %s listens on %s", MQ_PACKAGE_VERSION, p->where);
		r = mq_loop_run(p->namesrv.loop);
	}
	status = r < 0 ? lifecycle_failed(r, &err) : EXIT_SUCCESS;
	finish(p);
	return status;
}
