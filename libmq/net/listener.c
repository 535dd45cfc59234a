#include "libmq/net/listener.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libmq/base/log.h"
#include "libmq/net/internal.h"
#include "libmq/net/messages.h"

enum {
	ACCEPT_MAX = 256, /* connections per turn */
	PAUSE_MS = 100,   /* when descriptors run out */
};

struct mq_listener {
	struct mq_loop *on; /* borrowed */
	int fd;             /* owned */
	struct mq_loop *const *loops; /* borrowed */
	unsigned n_loops, next;
	const struct mq_conn_events *events; /* borrowed */
	void *user;                          /* borrowed */
	struct event *on_ready;              /* owned */
	struct mq_timer pause;
	struct mq_log_limit log;
};

/* A new connection on its way to its loop. */
struct deal {
	struct mq_post post;
	struct mq_loop *loop; /* borrowed: it runs this */
	int fd;               /* owned */
	const struct mq_conn_events *events;
	void *user;
};

static void deal_run(struct mq_post *post)
{
	struct deal *d = (struct deal *)post;
	struct mq_conn *conn;

	/* The peer went in between, or memory is short: either way there is nobody to tell. */
	if (mq_conn_new(&conn, d->loop, d->fd, d->events, d->user) < 0)
		close(d->fd);
	else
		mq_stat_add(&d->loop->stats.n_accepted, 1);
	free(d);
}

static void listener_deal(struct mq_listener *l, int fd)
{
	struct deal *d = malloc(sizeof *d);

	if (!d) {
		close(fd);
		return;
	}
	*d = (struct deal){ .loop = l->loops[l->next], .fd = fd, .events = l->events, .user = l->user };
	d->post.run = deal_run;
	l->next = (l->next + 1) % l->n_loops;
	if (!mq_loop_try_post(d->loop, &d->post)) {
		close(fd);
		free(d);
	}
}

/* The pending connection would make the descriptor ready again and again. */
static void listener_pause(struct mq_listener *l, int error)
{
	int64_t now_ms = mq_loop_mono_ms(l->on);
	const char *fields[] = { NULL, NULL };
	char more[MQ_LOG_MORE_MAX];
	char number[24];

	if (mq_log_limit_take(&l->log, now_ms, more)) {
		snprintf(number, sizeof number, "ERRNO=%d", error);
		fields[0] = number;
		mq_log_fields(LOG_WARNING, MQ_MSG_OUT_OF_DESCRIPTORS, fields,
			      "cannot accept connections for a moment: %s%s", strerror(error), more);
	}
	if (mq_timer_set(l->on, &l->pause, now_ms + PAUSE_MS) == 0)
		event_del(l->on_ready);
}

static void listener_on_pause_end(struct mq_timer *timer)
{
	struct mq_listener *l = (struct mq_listener *)((char *)timer - offsetof(struct mq_listener, pause));

	if (event_add(l->on_ready, NULL) < 0)
		listener_pause(l, ENOMEM);
}

static void listener_on_ready(evutil_socket_t fd, short what, void *user)
{
	struct mq_listener *l = user;

	for (unsigned i = 0; i < ACCEPT_MAX; i++) {
		int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (peer >= 0) {
			listener_deal(l, peer);
			continue;
		}
		if (errno == EAGAIN)
			return;
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			listener_pause(l, errno);
			return;
		}
		/* Errors of the pending connection itself (accept(2)): on to the next. */
	}
}

int mq_listener_new(struct mq_listener **ret, struct mq_loop *on, int fd, struct mq_loop *const *loops, unsigned n_loops,
		    const struct mq_conn_events *events, void *user, struct mq_error *err)
{
	struct mq_listener *l;
	int flags;

	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return mq_error_set(err, -errno, "cannot use descriptor %d as a listener: %s", fd, strerror(errno));
	l = calloc(1, sizeof *l);
	if (!l)
		return mq_error_set(err, -ENOMEM, "out of memory");
	*l = (struct mq_listener){
		.on = on, .fd = fd, .loops = loops, .n_loops = n_loops, .events = events, .user = user,
	};
	l->pause.fire = listener_on_pause_end;
	l->on_ready = event_new(on->base, fd, EV_READ | EV_PERSIST, listener_on_ready, l);
	if (!l->on_ready || event_add(l->on_ready, NULL) < 0) {
		l->fd = -1; /* stays with the caller */
		mq_listener_free(l);
		return mq_error_set(err, -ENOMEM, "cannot watch descriptor %d: out of memory", fd);
	}
	*ret = l;
	return 0;
}

struct mq_listener *mq_listener_free(struct mq_listener *l)
{
	if (!l)
		return NULL;
	mq_timer_clear(l->on, &l->pause);
	if (l->on_ready)
		event_free(l->on_ready);
	if (l->fd >= 0)
		close(l->fd);
	free(l);
	return NULL;
}
