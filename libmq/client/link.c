#include "libmq/client/link.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECT_TIMEOUT_MS = 3000 }; /* as Java clients: frame.md section 7 */

/* A call from mq_link_call() until its `done`: first in `waiting` while the connection is being made, then
 * with mq_rpc. */
struct link_call {
	STAILQ_ENTRY(link_call) waiting;
	struct mq_link *link; /* ref */
	struct mq_command *cmd; /* borrowed from the caller */
	int64_t deadline_ms; /* monotonic */
	bool is_oneway;
	mq_link_done done;
	void *user;
};

STAILQ_HEAD(link_calls, link_call);

/* IDLE ──> CONNECTING ──> OPEN ──> IDLE */
struct mq_link {
	unsigned refs; /* the owner, the open connection, each call */
	bool is_freed; /* by the owner */
	struct mq_loop *loop;
	struct mq_address address;
	mq_link_on_request on_request;
	void *user;
	struct event *connecting; /* owned; NULL unless CONNECTING */
	int fd;                   /* while CONNECTING */
	struct mq_conn *conn;     /* ref; NULL unless OPEN */
	struct link_calls waiting;
};

static struct mq_link *link_unref(struct mq_link *l)
{
	if (l && --l->refs == 0)
		free(l);
	return NULL;
}

DEFINE_CLEANUP(struct mq_link *, link_unref)

static void call_finish(struct link_call *call, int r, enum mq_stage stage, const struct mq_command *answer,
			const char *why)
{
	struct mq_link *l = call->link;

	call->done(r, stage, answer, why, call->user);
	free(call);
	link_unref(l);
}

/* Callbacks may start new calls, which must not be failed along with the old ones. */
static void link_fail_waiting(struct mq_link *l, int r, const char *why)
{
	struct link_calls failed = STAILQ_HEAD_INITIALIZER(failed);
	struct link_call *call;

	STAILQ_CONCAT(&failed, &l->waiting);
	while ((call = STAILQ_FIRST(&failed))) {
		STAILQ_REMOVE_HEAD(&failed, waiting);
		call_finish(call, r, MQ_STAGE_CONNECT, NULL, why);
	}
}

static void call_on_answer(int r, const struct mq_command *answer, const char *why, void *user)
{
	struct link_call *call = user;

	if (r < 0 && call->link->is_freed)
		r = -ECANCELED;
	if (r == -ETIMEDOUT)
		why = "no answer in time";
	else if (r == -ENOTCONN || r == -ECONNRESET)
		why = "the connection was lost";
	else if (r < 0)
		why = strerror(-r);
	call_finish(call, r, MQ_STAGE_EXCHANGE, answer, why);
}

/* -ENOTCONN: the connection is about to close and takes no more; nothing was sent and `call` is still the caller's. */
static int call_send(struct link_call *call)
{
	struct mq_link *l = call->link;
	int64_t left = call->deadline_ms - mq_mono_ms(mq_loop_clock(l->loop));
	int r;

	if (left <= 0) {
		call_finish(call, -ETIMEDOUT, MQ_STAGE_CONNECT, NULL, "not connected in time");
		return 0;
	}
	if (call->is_oneway)
		r = mq_rpc_oneway(l->conn, call->cmd, NULL);
	else
		r = mq_rpc_call(l->conn, call->cmd, NULL, left, call_on_answer, call);
	if (r == -ENOTCONN)
		return r;
	if (r < 0 || call->is_oneway)
		call_finish(call, r, MQ_STAGE_EXCHANGE, NULL, r < 0 ? strerror(-r) : NULL);
	return 0;
}

static int link_on_frame(struct mq_conn *conn, struct mq_frame *frame, void *user)
{
	struct mq_link *l = user;
	struct mq_command cmd;
	int r;

	r = mq_command_decode(&cmd, frame, NULL);
	if (r < 0)
		return r;
	if (cmd.flag & MQ_FLAG_RESPONSE)
		(void)mq_rpc_answer(conn, &cmd); /* 0: answered after its deadline, nobody waits */
	else if (l->on_request && !l->is_freed)
		l->on_request(conn, &cmd, l->user);
	return 0;
}

static void link_on_close(struct mq_conn *conn, int reason, void *user)
{
	struct mq_link *l = user;

	if (l->conn == conn)
		l->conn = mq_conn_unref(conn);
	mq_rpc_closed(conn, reason < 0 ? reason : -ECONNRESET);
	link_unref(l);
}

static const struct mq_conn_events link_events = {
	.on_frame = link_on_frame,
	.on_close = link_on_close,
};

static void link_stop_connecting(struct mq_link *l)
{
	if (!l->connecting)
		return;
	event_free(l->connecting);
	l->connecting = NULL;
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

/* The descriptor is connected: gives it to the loop and sends what waits. */
static int link_open(struct mq_link *l)
{
	struct link_calls ready = STAILQ_HEAD_INITIALIZER(ready);
	struct mq_conn *conn;
	struct link_call *call;
	int r;

	r = mq_conn_new(&conn, l->loop, l->fd, &link_events, l);
	if (r < 0)
		return r;
	l->fd = -1;
	l->refs++;
	l->conn = mq_conn_ref(conn);
	link_stop_connecting(l);

	STAILQ_CONCAT(&ready, &l->waiting);
	while ((call = STAILQ_FIRST(&ready))) {
		STAILQ_REMOVE_HEAD(&ready, waiting);
		if (!l->conn || call_send(call) == -ENOTCONN)
			call_finish(call, -ECONNRESET, MQ_STAGE_EXCHANGE, NULL, strerror(ECONNRESET));
	}
	return 0;
}

static void link_on_connected(evutil_socket_t fd, short what, void *user)
{
	_cleanup_(link_unrefp) struct mq_link *l = user; /* a callback may drop the owner's reference */
	int error = 0;
	socklen_t n = sizeof error;
	int r;

	l->refs++;
	if (what & EV_TIMEOUT)
		error = ETIMEDOUT;
	else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;

	r = error ? -error : link_open(l);
	if (r < 0) {
		link_stop_connecting(l);
		link_fail_waiting(l, r, strerror(-r));
	}
}

/* Starts to connect. Why it cannot be is in *err; the waiting calls are then still there. */
static int link_connect(struct mq_link *l, int64_t timeout_ms, struct mq_error *err)
{
	struct timeval timeout;
	int fd;

	if (timeout_ms > CONNECT_TIMEOUT_MS)
		timeout_ms = CONNECT_TIMEOUT_MS;
	timeout = (struct timeval){ .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };

	fd = mq_address_connect(&l->address, err);
	if (fd < 0)
		return fd;

	l->connecting = event_new(mq_loop_base(l->loop), fd, EV_WRITE, link_on_connected, l);
	if (!l->connecting || event_add(l->connecting, &timeout) < 0) {
		if (l->connecting)
			event_free(l->connecting);
		l->connecting = NULL;
		close(fd);
		return mq_error_set(err, -ENOMEM, "out of memory");
	}
	l->fd = fd;
	return 0;
}

static int link_start(struct mq_link *l, struct mq_command *cmd, int64_t timeout_ms, bool is_oneway,
		      mq_link_done done, void *user)
{
	struct link_call *call;
	struct mq_error err;
	int r;

	if (l->conn && !mq_conn_is_open(l->conn))
		l->conn = mq_conn_unref(l->conn);

	call = calloc(1, sizeof *call);
	if (!call)
		return -ENOMEM;
	*call = (struct link_call){ .link = l, .cmd = cmd, .is_oneway = is_oneway, .done = done, .user = user };
	call->deadline_ms = mq_mono_ms(mq_loop_clock(l->loop)) + timeout_ms;
	l->refs++;

	if (l->conn) {
		if (call_send(call) != -ENOTCONN)
			return 0;
		l->conn = mq_conn_unref(l->conn);
	}
	if (!l->connecting) {
		r = link_connect(l, timeout_ms, &err);
		if (r < 0) {
			call_finish(call, r, MQ_STAGE_CONNECT, NULL, r == -EINVAL ? err.text : strerror(-r));
			return 0;
		}
	}
	STAILQ_INSERT_TAIL(&l->waiting, call, waiting);
	return 0;
}

int mq_link_call(struct mq_link *l, struct mq_command *cmd, int64_t timeout_ms, mq_link_done done, void *user)
{
	return link_start(l, cmd, timeout_ms, false, done, user);
}

int mq_link_oneway(struct mq_link *l, struct mq_command *cmd, int64_t timeout_ms, mq_link_done sent, void *user)
{
	return link_start(l, cmd, timeout_ms, true, sent, user);
}

int mq_link_new(struct mq_link **ret, struct mq_loop *loop, const struct mq_address *address,
		mq_link_on_request on_request, void *user)
{
	struct mq_link *l;

	l = calloc(1, sizeof *l);
	if (!l)
		return -ENOMEM;
	*l = (struct mq_link){ .refs = 1,
			       .loop = loop,
			       .address = *address,
			       .on_request = on_request,
			       .user = user,
			       .fd = -1 };
	STAILQ_INIT(&l->waiting);
	*ret = l;
	return 0;
}

struct mq_link *mq_link_free(struct mq_link *l)
{
	if (!l)
		return NULL;
	l->is_freed = true;
	link_stop_connecting(l);
	link_fail_waiting(l, -ECANCELED, strerror(ECANCELED));
	if (l->conn) {
		struct mq_conn *conn = TAKE(l->conn);

		mq_conn_close(conn, -ECANCELED);
		mq_conn_unref(conn);
	}
	return link_unref(l);
}
