/* From the socket to frames: what arrives is cut and handed to on_frame, what must wait is put aside. */
#include "libmq/net/conn_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "libmq/base/log.h"
#include "libmq/net/messages.h"

/* Bytes received at once: nobody waits for the turn of a long pipeline. Within a large frame, which is cheap, NET_SCRATCH_SIZE. */
enum {
	READ_SIZE = 64 * 1024,
	CROWDED_READ_SIZE = 8 * 1024, /* while incomplete frames take too much: large ones only begin */
};

void mq_conn_explain(struct mq_conn *conn, const char *text)
{
	snprintf(conn->loop->why, sizeof conn->loop->why, "%s", text);
}

static const char *conn_describe(struct mq_conn *conn, int r)
{
	if (conn->loop->why[0])
		return conn->loop->why;
	if (r == -EMSGSIZE)
		return "frame is larger than frameMaxLength";
	if (r == -EBADMSG)
		return "not a frame of this protocol";
	return strerror(-r);
}

static void conn_protocol_error(struct mq_conn *conn, int r)
{
	char peer[MQ_HOST_TEXT_MAX + 8], number[24];
	const char *fields[] = { peer, number, NULL };
	struct mq_loop *loop = conn->loop;
	char more[MQ_LOG_MORE_MAX];

	mq_stat_add(&loop->stats.n_protocol_errors, 1);
	if (mq_log_limit_take(&loop->log_protocol, mq_loop_mono_ms(loop), more)) {
		snprintf(peer, sizeof peer, "MQ_PEER=%s", conn->peer.text);
		snprintf(number, sizeof number, "ERRNO=%d", -r);
		mq_log_fields(LOG_WARNING, MQ_MSG_PEER_PROTOCOL_ERROR, fields,
			      "closing connection from %s: %s%s", conn->peer.text, conn_describe(conn, r),
			      more);
	}
	loop->why[0] = '\0';
	mq_conn_close(conn, r);
}

/* Puts aside what was received but must not be looked at yet. */
static void conn_put_aside(struct mq_conn *conn, struct mq_slice in)
{
	char *rest = malloc(in.n);

	if (!rest) {
		mq_conn_close(conn, -ENOMEM);
		return;
	}
	memcpy(rest, in.p, in.n);
	conn->rest = rest;
	conn->rest_at = 0;
	conn_held(conn, &conn->n_rest, in.n);
}

/* Hands on every complete frame of `in` until it is used up or the connection stops; returns what is left then. */
static struct mq_slice conn_cut_frames(struct mq_conn *conn, struct mq_slice in)
{
	while (conn_state(conn) == CONN_OPEN && !conn->is_paused) {
		struct mq_frame *frame = NULL;
		int r;

		r = mq_frame_reader_next(&conn->reader, &in, &frame);
		if (r == 0)
			break;
		if (r > 0) {
			mq_conn_set_partial(conn, 0); /* the next one, maybe in the same bytes, is younger */
			r = conn->events->on_frame(conn, frame, conn->user);
			mq_frame_unref(frame);
		}
		if (r < 0)
			conn_protocol_error(conn, r);
	}
	return in;
}

static void conn_consume(struct mq_conn *conn, struct mq_slice in)
{
	in = conn_cut_frames(conn, in);
	if (conn_state(conn) == CONN_CLOSED)
		return;
	mq_conn_set_partial(conn, mq_frame_reader_held(&conn->reader));
	if (in.n > 0 && conn_state(conn) == CONN_OPEN)
		conn_put_aside(conn, in);
}

/* The peer sends nothing more. It still gets what is answered within a moment (a turn, a flush to disk); what is parked (a
 * pull that waits) ends with the connection, since most peers that end are gone: frame.md section 7. */
static void conn_on_end(struct mq_conn *conn)
{
	mq_conn_read_off(conn);
	mq_conn_drop_partial(conn);
	conn->is_ended = true;
	if (conn_state(conn) == CONN_OPEN)
		mq_conn_move(conn, CONN_DRAINING);
	mq_conn_set_dirty(conn);
}

static size_t conn_read_size(const struct mq_conn *conn)
{
	if (conn->loop->is_crowded && conn->n_admitted == 0)
		return CROWDED_READ_SIZE;
	return conn->n_partial < READ_SIZE ? READ_SIZE : NET_SCRATCH_SIZE;
}

void mq_conn_on_readable(evutil_socket_t fd, short what, void *user)
{
	struct mq_conn *conn = user;
	struct mq_loop *loop = conn->loop;
	size_t size = conn_read_size(conn);
	ssize_t n;

	if (conn_state(conn) == CONN_OPEN &&
	    (mq_conn_is_over_total(conn, loop->config.total_budget) || mq_conn_is_crowded_out(conn))) {
		mq_conn_pause(conn);
		return;
	}
	/* Once per turn, the rest makes epoll report again: one connection cannot keep the others waiting. */
	n = recv(fd, loop->scratch, size, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		mq_conn_close(conn, -errno);
		return;
	}
	if (n == 0) {
		conn_on_end(conn);
		return;
	}
	mq_conn_touch(conn);
	mq_stat_add(&loop->stats.bytes_in, (uint64_t)n);
	if (conn_state(conn) == CONN_OPEN)
		conn_consume(conn, (struct mq_slice){ loop->scratch, (size_t)n });
}

/* First what was put aside, then the socket again. */
static void conn_resume(struct mq_conn *conn)
{
	char *rest = TAKE(conn->rest);
	struct mq_slice in = { rest ? rest + conn->rest_at : NULL, conn->n_rest };

	mq_conn_unpause(conn);
	conn_held(conn, &conn->n_rest, 0);
	if (in.n > 0)
		conn_consume(conn, in);
	free(rest);
	if (conn_state(conn) == CONN_OPEN && !conn->is_paused)
		mq_conn_read_on(conn);
}

void mq_conns_resume(struct mq_loop *loop)
{
	struct mq_conn *conn;
	unsigned n = 0;

	/* Whoever is paused and resumed again meanwhile waits for another turn. */
	TAILQ_FOREACH(conn, &loop->resumed, pause_link)
		n++;
	while (n-- > 0 && (conn = TAILQ_FIRST(&loop->resumed)))
		conn_resume(conn);
}
