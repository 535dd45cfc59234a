/* mq-brokerd: configuration, sockets, signals; the rest is broker.c. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/topics.h"
#include "daemons/common/activation.h"
#include "daemons/common/lifecycle.h"
#include "daemons/common/messages.h"
#include "libmq/base/log.h"

enum { STATUS_PERIOD_MS = 1000 };

struct program {
	struct option_args args;
	struct mq_loop *loop;
	struct lifecycle *lifecycle;
	struct broker *broker;
	const char *own_socket; /* path of the Unix socket that we opened ourselves; NULL: none */
	struct mq_timer status_timer;
	char status[512];
};

/* Says what differs between the running configuration and a fresh one. */
static void program_log_changes(const struct broker_config *live, const struct broker_config *fresh)
{
	for (unsigned i = 0; i < broker_options.n_lines; i++) {
		const struct option_line *line = &broker_options.lines[i];
		char now[256], next[256];

		if (line->type == OPTION_IGNORED)
			continue;
		options_format(line, live, now, sizeof now);
		options_format(line, fresh, next, sizeof next);
		if (strcmp(now, next) == 0)
			continue;
		if (line->is_live)
			mq_log(LOG_INFO, "reload: %s is now %s", line->key, next);
		else
			mq_log_fields(LOG_WARNING, COMMON_MSG_NEEDS_RESTART, NULL,
				      "reload: %s=%s takes effect only after a restart", line->key, next);
	}
}

/* A row in the store, which the loop must not wait for. */
static void program_store_permission(void *arg)
{
	struct broker *b = arg;
	int r = topics_touch(b->topics);

	if (r < 0)
		mq_log(LOG_ERR, "cannot store that brokerPermission changed: %s; NameServers learn of it with the next topic that changes",
		       strerror(-r));
}

static int program_reload(void *user, struct mq_error *err)
{
	struct program *p = user;
	struct broker_config fresh = {};
	int64_t permission = p->broker->config.brokerPermission;
	int r = options_load(&broker_options, &p->args, &fresh, err);

	if (r < 0)
		return r;
	program_log_changes(&p->broker->config, &fresh);
	(void)config_reload(&p->broker->config, &fresh);
	if (p->broker->config.brokerPermission != permission)
		r = broker_change_alone(p->broker, program_store_permission, p->broker); /* it is part of every route */
	options_free(&broker_options, &fresh);
	return r < 0 ? mq_error_set(err, r, "cannot tell that brokerPermission changed: %s", strerror(-r)) : 0;
}

static void program_stopped(void *user)
{
	struct program *p = user;

	mq_loop_stop(p->loop);
}

/* Before the listener closes: once nobody listens there, the path may belong to the next one. */
static void program_remove_socket(struct program *p)
{
	if (p->own_socket)
		unlink(p->own_socket);
	p->own_socket = NULL;
}

static void program_stop(void *user)
{
	struct program *p = user;

	program_remove_socket(p);
	mq_timer_clear(p->loop, &p->status_timer);
	broker_stop(p->broker, program_stopped, p);
}

static bool program_is_alive(void *user)
{
	struct program *p = user;

	return broker_is_alive(p->broker);
}

static const struct lifecycle_events events = {
	.reload = program_reload,
	.stop = program_stop,
	.is_alive = program_is_alive,
};

/* STATUS= follows registration and store within a second; silent while nothing changes. */
static void program_on_status(struct mq_timer *timer)
{
	struct program *p = (struct program *)((char *)timer - offsetof(struct program, status_timer));
	char now[sizeof p->status];

	broker_status(p->broker, now, sizeof now);
	if (strcmp(now, p->status) != 0) {
		memcpy(p->status, now, sizeof p->status);
		lifecycle_status(p->lifecycle, "%s", p->status);
	}
	/* Its slot in the loop's heap was just freed: this cannot fail. */
	if (mq_timer_set(p->loop, timer, mq_loop_mono_ms(p->loop) + STATUS_PERIOD_MS) < 0)
		mq_log(LOG_WARNING, "the status line is not refreshed any more");
}

/* Every inherited socket of the name, else one of our own at `otherwise`: then 1 is returned. */
static int program_listen(struct program *p, struct activation *sockets, const char *name,
			  const char *otherwise, bool is_fast, struct mq_error *err)
{
	int fd = activation_take(sockets, name);
	bool is_own = fd == -ENOENT && strcmp(otherwise, "none") != 0;

	if (is_own)
		fd = activation_take_or_listen(sockets, name, otherwise, err);
	while (fd >= 0) {
		int r = broker_listen(p->broker, fd, is_fast, err);

		if (r < 0) {
			close(fd);
			return r;
		}
		fd = activation_take(sockets, name);
	}
	return fd == -ENOENT ? is_own : fd;
}

static int program_listen_all(struct program *p, struct activation *sockets, struct mq_error *err)
{
	const struct broker_config *config = &p->broker->config;
	const char *form = strchr(config->bindAddress, ':') ? "[%s]:%" PRIi64 : "%s:%" PRIi64;
	char remote[128], fast[128] = "none", local[256] = "none";
	int r;

	snprintf(remote, sizeof remote, form, config->bindAddress, config->listenPort);
	if (config->fastListenPort > 0)
		snprintf(fast, sizeof fast, form, config->bindAddress, config->fastListenPort);
	if (strcmp(config->localSocket, "none") != 0)
		snprintf(local, sizeof local, "unix:%s", config->localSocket);
	r = program_listen(p, sockets, "broker", remote, false, err);
	if (r >= 0)
		r = program_listen(p, sockets, "broker-fast", fast, true, err);
	if (r >= 0)
		r = program_listen(p, sockets, "broker-local", local, false, err);
	if (r > 0)
		p->own_socket = config->localSocket;
	if (r >= 0 && sockets->n_sockets > 0)
		r = mq_error_set(
			err, -EINVAL,
			"the inherited socket '%s' is unknown: names are broker, broker-fast and broker-local",
			sockets->sockets[0].name);
	return r < 0 ? r : 0;
}

static int program_run(struct program *p, struct broker_config *config, struct mq_error *err)
{
	struct mq_loop_config loop;
	struct activation sockets;
	int r;

	mq_loop_config_init(&loop);
	loop.name = "main";
	r = activation_inherit(&sockets, err);
	if (r == 0)
		r = mq_loop_new(&p->loop, &loop, err);
	if (r == 0)
		r = lifecycle_new(&p->lifecycle, p->loop, &events, p, err);
	if (r < 0) {
		options_free(&broker_options, config);
		return r;
	}
	r = broker_new(&p->broker, config, p->loop, err);
	if (r == 0)
		r = program_listen_all(p, &sockets, err);
	if (r == 0)
		r = broker_start(p->broker, err);
	if (r == 0)
		r = mq_timer_set(p->loop, &p->status_timer, mq_loop_mono_ms(p->loop) + STATUS_PERIOD_MS);
	if (r < 0)
		return r;
	broker_status(p->broker, p->status, sizeof p->status);
	lifecycle_ready(p->lifecycle, "%s", p->status);
	mq_log(LOG_INFO, "ready: %s, %u I/O threads", p->status, p->broker->n_loops);
	return mq_loop_run(p->loop);
}

int main(int argc, char **argv)
{
	struct program p = {
		.args = { .program = "mq-brokerd",
			  .description = "RocketMQ broker: stores and delivers messages.",
			  .takes_namesrv = true },
		.status_timer = { .fire = program_on_status },
	};
	struct broker_config config = {};
	struct mq_error err = {};
	int r, status;

	store_tune_process();
	mq_log_init("mq-brokerd");
	r = options_parse_args(&p.args, argc, argv);
	if (r != 0)
		return r < 0 ? EXIT_USAGE : 0;
	r = options_load(&broker_options, &p.args, &config, &err);
	if (r < 0) {
		mq_log_fields(LOG_ERR, COMMON_MSG_CONFIG_REFUSED, NULL, "%s", err.text);
		return EXIT_CONFIG;
	}
	if (p.args.print_config || p.args.check_config) {
		if (p.args.print_config)
			options_print(&broker_options, &config);
		options_free(&broker_options, &config);
		return 0;
	}
	r = program_run(&p, &config, &err);
	status = r < 0 ? lifecycle_failed(r, &err) : 0;
	program_remove_socket(&p);
	broker_free(p.broker);
	lifecycle_free(p.lifecycle);
	mq_loop_free(p.loop);
	return status;
}
