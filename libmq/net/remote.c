/* Peers that we connect to, again and again: rpc.h says how long, and what happens to calls meanwhile. */
#include "libmq/net/rpc_internal.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	CONNECT_TIMEOUT_MS = 3000, /* frame.md section 7 */
	PAUSE_MIN_MS = 100,
	PAUSE_MAX_MS = 5000,
};

/* IDLE ──> CONNECTING ──> CONNECTED ──> IDLE      nobody used it for long
 *            ^    └──┐       │
 *            └── PAUSED <────┘                    refused, timed out, lost */
enum remote_state { REMOTE_IDLE, REMOTE_CONNECTING, REMOTE_CONNECTED, REMOTE_PAUSED };

static const unsigned remote_next[] = {
	[REMOTE_IDLE] = BIT(REMOTE_CONNECTING),
	[REMOTE_CONNECTING] = BIT(REMOTE_CONNECTED) | BIT(REMOTE_PAUSED),
	[REMOTE_CONNECTED] = BIT(REMOTE_IDLE) | BIT(REMOTE_PAUSED),
	[REMOTE_PAUSED] = BIT(REMOTE_CONNECTING),
};

struct mq_remote {
	unsigned refs; /* the owner, its connection until on_close, a callback that runs */
	bool is_freed; /* by the owner */
	enum remote_state state;
	struct mq_loop *loop; /* borrowed */
	struct mq_address address;
	void (*on_request)(struct mq_conn *conn, const struct mq_command *request, void *user);
	void (*on_state)(struct mq_remote *r, bool connected, void *user);
	void *user, *state_user; /* borrowed */
	struct mq_rpc *rpc;      /* ref */
	struct calls waiting;    /* for a connection, in order */
	size_t n_waiting;        /* bytes of their frames */
	int fd;                  /* owned while CONNECTING */
	struct event on_connect; /* added while CONNECTING */
	struct mq_conn *conn;    /* ref while CONNECTED */
	struct mq_timer timer;   /* CONNECTING: gives up; PAUSED: tries again */
	int64_t pause_ms;
	int last_error;          /* of the last attempt to connect, 0 when there was none since the last success */
	char last_why[240];
};

static struct mq_remote *remote_unref(struct mq_remote *r)
{
	if (--r->refs > 0)
		return NULL;
	free(r);
	return NULL;
}

DEFINE_CLEANUP(struct mq_remote *, remote_unref)

static struct mq_remote *remote_ref(struct mq_remote *r)
{
	r->refs++;
	return r;
}

static void remote_move(struct mq_remote *r, enum remote_state next)
{
	assert(remote_next[r->state] & BIT(next));
	r->state = next;
}

void mq_remote_forget(struct mq_remote *remote, struct call *call)
{
	STAILQ_REMOVE(&remote->waiting, call, call, link);
	remote->n_waiting -= call->n_frame;
}

int mq_remote_why_waiting(const struct mq_remote *remote, char *why, size_t n)
{
	if (remote->last_error == 0) {
		snprintf(why, n, "cannot connect to %s: no answer in time", remote->address.text);
		return -ETIMEDOUT;
	}
	snprintf(why, n, "%s", remote->last_why);
	return remote->last_error;
}

/* Its timers and descriptors are in the remote, so failing to set one leaves nothing to try again with: the next call does. */
static void remote_pause(struct mq_remote *r)
{
	remote_move(r, REMOTE_PAUSED);
	if (mq_timer_set(r->loop, &r->timer, mq_loop_mono_ms(r->loop) + r->pause_ms) < 0)
		return;
	r->pause_ms = r->pause_ms * 2 < PAUSE_MAX_MS ? r->pause_ms * 2 : PAUSE_MAX_MS;
}

static void remote_stop_connecting(struct mq_remote *r)
{
	mq_timer_clear(r->loop, &r->timer);
	if (r->fd < 0)
		return;
	event_del(&r->on_connect);
	close(r->fd);
	r->fd = -1;
}

static void remote_connect_failed(struct mq_remote *r, int error, const char *why)
{
	remote_stop_connecting(r);
	r->last_error = error;
	if (why)
		snprintf(r->last_why, sizeof r->last_why, "%s", why);
	else
		snprintf(r->last_why, sizeof r->last_why, "cannot connect to %.100s: %s", r->address.text, strerror(-error));
	remote_pause(r);
}

static int remote_on_frame(struct mq_conn *conn, struct mq_frame *frame, void *user)
{
	_cleanup_(remote_unrefp) struct mq_remote *r = remote_ref(user); /* a callback may drop the owner's */
	struct mq_command cmd;
	struct mq_error err;
	int result;

	/* Only who speaks is a peer: one that accepts and closes again is tried with growing pauses. */
	r->pause_ms = PAUSE_MIN_MS;
	result = mq_command_decode(&cmd, frame, &err);
	if (result < 0) {
		mq_conn_explain(conn, err.text);
		return result;
	}
	if (cmd.flag & MQ_FLAG_RESPONSE)
		(void)mq_rpc_answer(conn, &cmd); /* 0: answered after its deadline, nobody waits */
	else if (r->on_request && !r->is_freed)
		r->on_request(conn, &cmd, r->user);
	return 0;
}

static void remote_on_close(struct mq_conn *conn, int reason, void *user)
{
	_cleanup_(remote_unrefp) struct mq_remote *r = user; /* the connection's reference */

	r->conn = mq_conn_unref(r->conn);
	if (!r->is_freed) {
		if (reason == -ETIMEDOUT && STAILQ_EMPTY(&r->waiting))
			remote_move(r, REMOTE_IDLE);
		else
			remote_pause(r);
	}
	mq_rpc_closed(conn, reason);
	if (r->on_state && !r->is_freed)
		r->on_state(r, false, r->state_user);
}

static const struct mq_conn_events remote_events = {
	.on_frame = remote_on_frame,
	.on_close = remote_on_close,
};

static void remote_send_waiting(struct mq_remote *r)
{
	struct call *call;

	while ((call = STAILQ_FIRST(&r->waiting))) {
		struct evbuffer *frame = call->frame;

		mq_remote_forget(r, call);
		call->frame = NULL;
		mq_conn_append(r->conn, frame);
		evbuffer_free(frame);
	}
}

/* The descriptor is connected: the loop takes it over. */
static int remote_open(struct mq_remote *r)
{
	struct mq_conn *conn;
	int fd = r->fd, result;

	event_del(&r->on_connect);
	result = mq_conn_make(&conn, r->loop, fd, &remote_events, r, true);
	if (result < 0)
		return result;
	r->fd = -1;
	remote_stop_connecting(r);
	remote_ref(r);
	conn->rpc = mq_rpc_ref(r->rpc);
	r->conn = mq_conn_ref(conn);
	r->last_error = 0;
	remote_move(r, REMOTE_CONNECTED);
	remote_send_waiting(r);
	return 0;
}

static void remote_on_connect(evutil_socket_t fd, short what, void *user)
{
	_cleanup_(remote_unrefp) struct mq_remote *r = remote_ref(user);
	int error = 0, result;
	socklen_t n = sizeof error;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	result = error ? -error : remote_open(r);
	if (result < 0)
		remote_connect_failed(r, result, NULL);
	else if (r->on_state)
		r->on_state(r, true, r->state_user);
}

/* Never calls back: a failure shows at the deadlines of the calls, or with the next attempt's success. */
static void remote_connect(struct mq_remote *r)
{
	struct mq_error err;
	int fd;

	remote_move(r, REMOTE_CONNECTING);
	fd = mq_address_connect(&r->address, &err);
	if (fd < 0) {
		remote_connect_failed(r, fd, err.text);
		return;
	}
	event_assign(&r->on_connect, r->loop->base, fd, EV_WRITE, remote_on_connect, r);
	r->fd = fd;
	if (event_add(&r->on_connect, NULL) < 0 ||
	    mq_timer_set(r->loop, &r->timer, mq_loop_mono_ms(r->loop) + CONNECT_TIMEOUT_MS) < 0)
		remote_connect_failed(r, -ENOMEM, NULL);
}

static void remote_on_timer(struct mq_timer *timer)
{
	struct mq_remote *r = (struct mq_remote *)((char *)timer - offsetof(struct mq_remote, timer));

	if (r->state == REMOTE_CONNECTING)
		remote_connect_failed(r, -ETIMEDOUT, NULL);
	else if (r->state == REMOTE_PAUSED)
		remote_connect(r);
}

int mq_remote_new(struct mq_remote **ret, struct mq_loop *loop, const struct mq_address *address,
		  void (*on_request)(struct mq_conn *conn, const struct mq_command *request, void *user), void *user)
{
	struct mq_remote *r;

	r = calloc(1, sizeof *r);
	if (!r)
		return -ENOMEM;
	*r = (struct mq_remote){
		.refs = 1, .loop = loop, .address = *address, .on_request = on_request, .user = user, .fd = -1,
		.pause_ms = PAUSE_MIN_MS,
	};
	STAILQ_INIT(&r->waiting);
	r->timer.fire = remote_on_timer;
	r->rpc = mq_rpc_new(loop, r->address.text);
	if (!r->rpc) {
		free(r);
		return -ENOMEM;
	}
	r->rpc->remote = r;
	*ret = r;
	return 0;
}

struct mq_remote *mq_remote_free(struct mq_remote *r)
{
	char why[400];

	if (!r)
		return NULL;
	r->is_freed = true;
	remote_stop_connecting(r);
	snprintf(why, sizeof why, "the connection to %s is being given up", r->address.text);
	mq_rpc_fail(r->rpc, true, -ECANCELED, why);
	r->rpc->remote = NULL;
	r->rpc->peer = "a peer that was given up";
	if (r->conn)
		mq_conn_close(r->conn, -ECANCELED);
	r->rpc = mq_rpc_unref(r->rpc);
	return remote_unref(r);
}

/* Keeps the call until there is a connection. */
static int remote_wait(struct mq_remote *r, struct call *call, struct mq_command *cmd, struct evbuffer *body)
{
	int result;

	call->frame = evbuffer_new();
	if (!call->frame)
		return -ENOMEM;
	result = mq_command_encode(cmd, body, call->frame);
	if (result < 0)
		return result;
	call->n_frame = evbuffer_get_length(call->frame);
	if (r->n_waiting + call->n_frame > r->loop->config.conn_out_budget)
		return -EBUSY;
	return 0;
}

int mq_remote_call(struct mq_remote *r, struct mq_command *cmd, struct evbuffer *body, int64_t timeout_ms, mq_rpc_done done,
		   void *user)
{
	struct call *call;
	int result;

	if (mq_remote_conn(r))
		return mq_rpc_call(r->conn, cmd, body, timeout_ms, done, user);
	if (r->is_freed)
		return -ENOTCONN;
	result = mq_call_new(&call, r->rpc, timeout_ms, done, user);
	if (result < 0)
		return result;
	cmd->opaque = call->opaque;
	result = remote_wait(r, call, cmd, body);
	if (result < 0) {
		if (call->frame)
			evbuffer_free(TAKE(call->frame));
		mq_call_detach(call);
		mq_call_free(call);
		return result;
	}
	STAILQ_INSERT_TAIL(&r->waiting, call, link);
	r->n_waiting += call->n_frame;
	if (r->state == REMOTE_IDLE || (r->state == REMOTE_PAUSED && r->timer.slot == 0))
		remote_connect(r);
	return 0;
}

const struct mq_address *mq_remote_address(const struct mq_remote *r)
{
	return &r->address;
}

struct mq_conn *mq_remote_conn(struct mq_remote *r)
{
	return r->conn && mq_conn_is_open(r->conn) ? r->conn : NULL;
}

void mq_remote_on_state(struct mq_remote *r, void (*on_state)(struct mq_remote *r, bool connected, void *user), void *user)
{
	r->on_state = on_state;
	r->state_user = user;
}
