#include "daemons/common/lifecycle.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemons/common/messages.h"
#include "libmq/base/log.h"

enum {
	STATUS_MAX = 512,        /* bytes of STATUS= */
	CHECKS_PER_WATCHDOG = 4, /* a check that finds a slow thread is followed by another one in time */
};

struct lifecycle {
	struct mq_loop *loop;                   /* borrowed */
	const struct lifecycle_events *events;  /* borrowed */
	void *user;
	int signal_fd;
	struct event *on_signal;                /* owned */
	struct event *on_watchdog;              /* owned; NULL: the service manager watches nothing */
	bool is_stopping;
};

/* Leaves as the signal would have made us leave, so that the service manager sees the signal. */
static void die_of(int signal)
{
	sigset_t set;

	struct sigaction by_default = { .sa_handler = SIG_DFL };

	sigaction(signal, &by_default, NULL);
	sigemptyset(&set);
	sigaddset(&set, signal);
	raise(signal);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	_exit(EXIT_SOFTWARE);
}

static void lifecycle_stop(struct lifecycle *l, int signal)
{
	if (l->is_stopping) {
		mq_log(LOG_NOTICE, "stopping at once: second signal");
		die_of(signal);
	}
	l->is_stopping = true;
	sd_notify(0, "STOPPING=1\nSTATUS=Stopping");
	l->events->stop(l->user);
}

static void lifecycle_reload(struct lifecycle *l)
{
	struct mq_error err = {};
	struct timespec now;
	int r;

	if (l->is_stopping)
		return;
	/* MONOTONIC_USEC is what Type=notify-reload of systemd 253 and later asks for. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIi64, (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	r = l->events->reload ? l->events->reload(l->user, &err) : 0;
	if (r < 0)
		mq_log_fields(LOG_ERR, COMMON_MSG_RELOAD_FAILED, NULL, "configuration not reloaded, the old one stays: %s",
			      err.text[0] ? err.text : strerror(-r));
	sd_notify(0, "READY=1");
}

static void lifecycle_on_signal(int fd, short what, void *user)
{
	struct lifecycle *l = user;
	struct signalfd_siginfo info;

	while (read(fd, &info, sizeof info) == (ssize_t)sizeof info) {
		if (info.ssi_signo == SIGHUP)
			lifecycle_reload(l);
		else
			lifecycle_stop(l, (int)info.ssi_signo);
	}
}

static void lifecycle_on_watchdog(int fd, short what, void *user)
{
	struct lifecycle *l = user;

	if (!l->events->is_alive || l->events->is_alive(l->user))
		sd_notify(0, "WATCHDOG=1");
}

/* The soft limit of 1024 is for programs that use select(). */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit); /* if not: the listener says so when it runs out */
}

static int start_signals(struct lifecycle *l)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGPIPE, &ignore, NULL);

	l->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (l->signal_fd < 0)
		return -errno;
	l->on_signal = event_new(mq_loop_base(l->loop), l->signal_fd, EV_READ | EV_PERSIST, lifecycle_on_signal, l);
	return l->on_signal && event_add(l->on_signal, NULL) == 0 ? 0 : -ENOMEM;
}

static int start_watchdog(struct lifecycle *l)
{
	uint64_t usec;

	if (sd_watchdog_enabled(0, &usec) <= 0)
		return 0;
	usec /= CHECKS_PER_WATCHDOG;
	l->on_watchdog = event_new(mq_loop_base(l->loop), -1, EV_PERSIST, lifecycle_on_watchdog, l);

	struct timeval interval = { .tv_sec = (time_t)(usec / 1000000), .tv_usec = (suseconds_t)(usec % 1000000) };

	return l->on_watchdog && event_add(l->on_watchdog, &interval) == 0 ? 0 : -ENOMEM;
}

int lifecycle_new(struct lifecycle **ret, struct mq_loop *loop, const struct lifecycle_events *events, void *user,
		  struct mq_error *err)
{
	_cleanup_(lifecycle_freep) struct lifecycle *l = calloc(1, sizeof *l);
	int r;

	if (!l)
		return -ENOMEM;
	l->loop = loop;
	l->events = events;
	l->user = user;
	l->signal_fd = -1;

	raise_descriptor_limit();
	r = start_signals(l);
	if (r == 0)
		r = start_watchdog(l);
	if (r < 0)
		return mq_error_set(err, r, "cannot watch for signals: %s", strerror(-r));
	*ret = TAKE(l);
	return 0;
}

struct lifecycle *lifecycle_free(struct lifecycle *l)
{
	if (!l)
		return NULL;
	if (l->on_signal)
		event_free(l->on_signal);
	if (l->on_watchdog)
		event_free(l->on_watchdog);
	if (l->signal_fd >= 0)
		close(l->signal_fd);
	free(l);
	return NULL;
}

static void notify(const char *first, const char *fmt, va_list ap)
{
	char status[STATUS_MAX];

	vsnprintf(status, sizeof status, fmt, ap);
	for (char *p = status; *p; p++)
		if (*p == '\n')
			*p = ' ';
	sd_notifyf(0, "%sSTATUS=%s", first, status);
}

void lifecycle_ready(struct lifecycle *l, const char *status_fmt, ...)
{
	va_list ap;

	va_start(ap, status_fmt);
	notify("READY=1\n", status_fmt, ap);
	va_end(ap);
}

void lifecycle_status(struct lifecycle *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	notify("", fmt, ap);
	va_end(ap);
}

static int exit_code(int r)
{
	switch (r) {
	case -EINVAL:
		return EXIT_CONFIG;
	case -EADDRINUSE:
	case -EADDRNOTAVAIL:
	case -EBUSY:
		return EXIT_UNAVAILABLE;
	case -EACCES:
	case -EPERM:
	case -EROFS:
		return EXIT_NOPERM;
	case -EIO:
	case -ENOSPC:
	case -EBADMSG:
	case -EUCLEAN:
	case -EPROTO:
		return EXIT_IO;
	default:
		return EXIT_OS;
	}
}

int lifecycle_failed(int r, const struct mq_error *err)
{
	char number[sizeof "ERRNO=" + 11];

	snprintf(number, sizeof number, "ERRNO=%d", -r);
	mq_log_fields(LOG_ERR, COMMON_MSG_FAILED, (const char *const[]){ number, NULL }, "%s",
		      err->text[0] ? err->text : strerror(-r));
	return exit_code(r);
}
