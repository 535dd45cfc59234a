/* From answers to the socket: what is sent gathers in `out`, and each connection is written once at the turn's end. */
#include "libmq/net/conn_internal.h"

#include <errno.h>
#include <event2/buffer.h>
#include <sys/socket.h>

enum {
	WRITE_VECTORS = 64, /* pieces of one write */
	OUT_HARD = 4,       /* times conn_out_budget: more unsent output closes */
	LINGER_MS = 500,    /* a drained connection waits so long for the peer's end */
	END_MS = 200,       /* a connection whose peer has ended waits so long for requests in flight */
};

static struct evbuffer *conn_output(struct mq_conn *conn)
{
	struct mq_loop *loop = conn->loop;

	if (!conn->out)
		conn->out = loop->n_outputs > 0 ? loop->outputs[--loop->n_outputs] : evbuffer_new();
	return conn->out;
}

void mq_conn_drop_output(struct mq_conn *conn)
{
	struct mq_loop *loop = conn->loop;

	if (!conn->out)
		return;
	conn_held(conn, &conn->n_out, 0);
	if (evbuffer_get_length(conn->out) == 0 && loop->n_outputs < NET_SPARE_OUTPUTS)
		loop->outputs[loop->n_outputs++] = conn->out;
	else
		evbuffer_free(conn->out);
	conn->out = NULL;
}

/* After something was appended to the output. */
static void conn_appended(struct mq_conn *conn)
{
	size_t budget = conn->loop->config.conn_out_budget;

	conn_held(conn, &conn->n_out, evbuffer_get_length(conn->out));
	if (conn->n_out >= budget * OUT_HARD) {
		mq_conn_log_overload(conn, "answers not taken", conn->n_out);
		mq_conn_close(conn, -ENOBUFS);
		return;
	}
	if (mq_conn_is_over_budget(conn))
		mq_conn_pause(conn);
	if (!conn->is_writing)
		mq_conn_set_dirty(conn);
}

int mq_conn_send(struct mq_conn *conn, const struct mq_command *cmd, struct evbuffer *body)
{
	int r;

	if (conn_state(conn) == CONN_CLOSED || conn->is_shut) {
		if (body)
			evbuffer_drain(body, evbuffer_get_length(body));
		return 0;
	}
	if (!conn_output(conn)) {
		mq_conn_close(conn, -ENOMEM);
		return -ENOMEM;
	}
	r = mq_command_encode(cmd, body, conn->out);
	if (r == -ENOMEM)
		mq_conn_close(conn, r); /* half a frame may be there */
	if (r < 0)
		return r;
	conn_appended(conn);
	return 0;
}

void mq_conn_append(struct mq_conn *conn, struct evbuffer *frame)
{
	if (conn_state(conn) == CONN_CLOSED || conn->is_shut)
		return;
	if (!conn_output(conn) || evbuffer_add_buffer(conn->out, frame) < 0) {
		mq_conn_close(conn, -ENOMEM);
		return;
	}
	conn_appended(conn);
}

struct conn_post {
	struct mq_post post;
	struct mq_conn *conn;   /* ref */
	struct evbuffer *frame; /* owned */
};

static struct conn_post *conn_post_free(struct conn_post *p)
{
	if (!p)
		return NULL;
	if (p->frame)
		evbuffer_free(p->frame);
	mq_conn_unref(p->conn);
	free(p);
	return NULL;
}

DEFINE_CLEANUP(struct conn_post *, conn_post_free)

static void conn_on_post(struct mq_post *post)
{
	_cleanup_(conn_post_freep) struct conn_post *p = (struct conn_post *)post;

	mq_conn_append(p->conn, p->frame);
}

int mq_conn_post(struct mq_conn *conn, const struct mq_command *cmd)
{
	_cleanup_(conn_post_freep) struct conn_post *p = NULL;
	int r;

	if (!mq_conn_is_open(conn))
		return 0;
	p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	p->post.run = conn_on_post;
	p->conn = mq_conn_ref(conn);
	p->frame = evbuffer_new();
	if (!p->frame)
		return -ENOMEM;
	r = mq_command_encode(cmd, NULL, p->frame);
	if (r < 0)
		return r;
	if (mq_loop_try_post(conn->loop, &p->post))
		p = NULL;
	return 0;
}

/* One piece of output. Returns bytes written, 0 when the socket takes no more, negative errno. */
static ssize_t conn_write_some(struct mq_conn *conn)
{
	struct iovec vectors[WRITE_VECTORS];
	struct msghdr msg = { .msg_iov = vectors };
	int n_vectors;
	ssize_t n;

	n_vectors = evbuffer_peek(conn->out, -1, NULL, vectors, WRITE_VECTORS);
	msg.msg_iovlen = n_vectors < WRITE_VECTORS ? (size_t)n_vectors : WRITE_VECTORS;
	/* sendmsg() and not writev(): a peer that is gone must not raise SIGPIPE in somebody's program. */
	do
		n = sendmsg(conn->fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	evbuffer_drain(conn->out, (size_t)n);
	return n;
}

static void conn_write(struct mq_conn *conn)
{
	while (conn->out && evbuffer_get_length(conn->out) > 0) {
		ssize_t n = conn_write_some(conn);

		if (n < 0) {
			mq_conn_close(conn, (int)n);
			return;
		}
		conn_held(conn, &conn->n_out, evbuffer_get_length(conn->out));
		if (n == 0) {
			mq_conn_set_stalled(conn, true);
			mq_conn_write_on(conn);
			return;
		}
		mq_conn_touch(conn);
		mq_conn_set_stalled(conn, false);
		mq_stat_add(&conn->loop->stats.bytes_out, (uint64_t)n);
	}
	mq_conn_drop_output(conn);
	mq_conn_write_off(conn);
}

void mq_conn_on_linger_end(struct mq_timer *timer)
{
	struct mq_conn *conn = (struct mq_conn *)((char *)timer - offsetof(struct mq_conn, linger));

	mq_conn_close(conn, 0);
}

static void conn_close_after(struct mq_conn *conn, int64_t ms)
{
	struct mq_loop *loop = conn->loop;

	if (conn->linger.slot == 0 && mq_timer_set(loop, &conn->linger, mq_loop_mono_ms(loop) + ms) < 0)
		mq_conn_close(conn, 0);
}

/* Closing a socket with unread input makes the kernel send a reset, which can destroy answers that are still on their way.
 * So the end is sent first, and input thrown away until the peer has sent its own. */
static void conn_linger(struct mq_conn *conn)
{
	if (shutdown(conn->fd, SHUT_WR) < 0) {
		mq_conn_close(conn, 0);
		return;
	}
	conn->is_shut = true;
	conn_close_after(conn, LINGER_MS);
	if (conn_state(conn) != CONN_CLOSED)
		mq_conn_read_on(conn);
}

/* Closes a draining connection that has nothing left to do. */
static void conn_settle(struct mq_conn *conn)
{
	if (conn_state(conn) != CONN_DRAINING || conn->out)
		return;
	if (conn->is_ended && conn->n_charged > 0)
		conn_close_after(conn, END_MS);
	else if (conn->is_ended)
		mq_conn_close(conn, 0);
	else if (conn->n_charged == 0 && !conn->is_shut)
		conn_linger(conn);
}

void mq_conn_on_writable(evutil_socket_t fd, short what, void *user)
{
	struct mq_conn *conn = user;

	conn_write(conn);
	mq_conn_check_resume(conn);
	conn_settle(conn);
}

void mq_conns_flush(struct mq_loop *loop)
{
	struct mq_conn *conn;

	while ((conn = TAILQ_FIRST(&loop->dirty))) {
		mq_conn_set_clean(conn);
		if (!conn->is_writing)
			conn_write(conn);
		mq_conn_check_resume(conn);
		conn_settle(conn);
	}
}
