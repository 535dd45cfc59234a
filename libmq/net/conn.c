/* The way of a byte: conn_on_readable() receives into the loop's scratch buffer, conn_consume() cuts frames and hands them to
 * on_frame; answers gather in `out`; mq_conns_flush() writes each connection once at the turn's end.
 *
 * Memory per connection is bounded by three stops: over a budget it is paused (conn_pause: what was received already waits in
 * `rest`, the socket is not read); output beyond OUT_HARD budgets closes it, since pushes and parked requests come
 * whether it reads or not; incomplete frames of all connections share half the loop's budget, and the oldest of them gives
 * way. An idle connection holds nothing but its struct. */
#include "libmq/net/conn.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libmq/base/log.h"
#include "libmq/net/internal.h"
#include "libmq/net/messages.h"

enum {
	WRITE_VECTORS = 64, /* pieces of one write */
	OUT_HARD = 4,       /* times conn_out_budget: more unsent output closes */
	HELD_HARD = 2,      /* times total_budget: more closes who is stalled, at once */
	HELD_MODEST = 64 << 10, /* bytes: who holds no more is served while others exhaust total_budget, up to HELD_HARD */
};

static const unsigned conn_next[] = {
	[CONN_OPEN] = BIT(CONN_DRAINING) | BIT(CONN_CLOSED),
	[CONN_DRAINING] = BIT(CONN_CLOSED),
	[CONN_CLOSED] = 0,
};

static enum mq_conn_state conn_state(const struct mq_conn *conn)
{
	return (enum mq_conn_state)atomic_load_explicit(&conn->state, memory_order_relaxed);
}

static void conn_move(struct mq_conn *conn, enum mq_conn_state next)
{
	assert(conn_next[conn_state(conn)] & BIT(next));
	atomic_store_explicit(&conn->state, next, memory_order_relaxed);
}

/* ---- lists and events ---- */

static void conn_set_dirty(struct mq_conn *conn)
{
	if (conn->is_dirty)
		return;
	conn->is_dirty = true;
	TAILQ_INSERT_TAIL(&conn->loop->dirty, conn, dirty_link);
}

static void conn_set_clean(struct mq_conn *conn)
{
	if (!conn->is_dirty)
		return;
	conn->is_dirty = false;
	TAILQ_REMOVE(&conn->loop->dirty, conn, dirty_link);
}

static void conn_set_stalled(struct mq_conn *conn, bool is_stalled)
{
	struct mq_loop *loop = conn->loop;

	if (conn->is_stalled == is_stalled)
		return;
	conn->is_stalled = is_stalled;
	if (!is_stalled) {
		TAILQ_REMOVE(&loop->stalled, conn, stall_link);
		return;
	}
	conn->stalled_at_ms = mq_loop_mono_ms(loop);
	TAILQ_INSERT_TAIL(&loop->stalled, conn, stall_link);
}

/* A failing epoll_ctl() would leave the connection deaf: better closed. */
static void conn_read_on(struct mq_conn *conn)
{
	if (conn->is_reading)
		return;
	if (event_add(&conn->on_read, NULL) < 0) {
		mq_conn_close(conn, -ENOMEM);
		return;
	}
	conn->is_reading = true;
}

static void conn_read_off(struct mq_conn *conn)
{
	if (conn->is_reading)
		event_del(&conn->on_read);
	conn->is_reading = false;
}

static void conn_write_on(struct mq_conn *conn)
{
	if (conn->is_writing)
		return;
	if (event_add(&conn->on_write, NULL) < 0) {
		mq_conn_close(conn, -ENOMEM);
		return;
	}
	conn->is_writing = true;
}

static void conn_write_off(struct mq_conn *conn)
{
	if (conn->is_writing)
		event_del(&conn->on_write);
	conn->is_writing = false;
}

/* Keeps by_activity sorted. */
static void conn_touch(struct mq_conn *conn)
{
	struct mq_loop *loop = conn->loop;
	int64_t now_ms = mq_loop_mono_ms(loop);

	if (conn->active_at_ms == now_ms)
		return;
	conn->active_at_ms = now_ms;
	TAILQ_REMOVE(&loop->by_activity, conn, activity_link);
	TAILQ_INSERT_TAIL(&loop->by_activity, conn, activity_link);
}

/* ---- budgets ---- */

/* The total is exhausted by those who hold much: many peers that take no answers must not keep a modest one waiting. */
static bool conn_is_over_total(const struct mq_conn *conn, size_t total)
{
	if (conn->loop->n_held < total)
		return false;
	return conn->n_charged + conn->n_out > HELD_MODEST || conn->loop->n_held >= conn->loop->config.total_budget * HELD_HARD;
}

static bool conn_is_over_budget(const struct mq_conn *conn)
{
	const struct mq_loop_config *cfg = &conn->loop->config;

	return conn->n_charged >= cfg->conn_in_budget || conn->n_out >= cfg->conn_out_budget ||
	       conn_is_over_total(conn, cfg->total_budget);
}

/* Not just below the limits, or it would go on and off with every request. The total has a narrow gap: what is held for long
 * (parked pulls) must not keep everybody waiting. */
static bool conn_may_resume(const struct mq_conn *conn)
{
	const struct mq_loop_config *cfg = &conn->loop->config;

	return conn->n_charged <= cfg->conn_in_budget / 2 && conn->n_out <= cfg->conn_out_budget / 2 &&
	       !conn_is_over_total(conn, cfg->total_budget - cfg->total_budget / 8 + 1);
}

static void conn_pause(struct mq_conn *conn)
{
	struct mq_loop *loop = conn->loop;

	if (conn->is_paused || conn_state(conn) != CONN_OPEN)
		return;
	conn->is_paused = true;
	TAILQ_INSERT_TAIL(&loop->paused, conn, pause_link);
	if (loop->n_held >= loop->config.total_budget)
		loop->was_over_budget = true;
	if (loop->n_held >= loop->config.total_budget * HELD_HARD)
		loop->was_over_hard = true;
	conn_read_off(conn);
}

/* Out of the list it is in, if any. */
static void conn_unpause(struct mq_conn *conn)
{
	if (conn->is_paused)
		TAILQ_REMOVE(&conn->loop->paused, conn, pause_link);
	if (conn->is_resumed)
		TAILQ_REMOVE(&conn->loop->resumed, conn, pause_link);
	conn->is_paused = conn->is_resumed = false;
}

/* Reading goes on in the next turn: whoever releases memory is not surprised by new frames. */
static void conn_check_resume(struct mq_conn *conn)
{
	if (!conn->is_paused || !conn_may_resume(conn))
		return;
	conn_unpause(conn);
	conn->is_resumed = true;
	TAILQ_INSERT_TAIL(&conn->loop->resumed, conn, pause_link);
}

static void conn_held(struct mq_conn *conn, size_t *part, size_t now)
{
	conn->loop->n_held += now - *part;
	*part = now;
}

void mq_conn_charge(struct mq_conn *conn, size_t bytes)
{
	conn_held(conn, &conn->n_charged, conn->n_charged + bytes);
	if (conn_is_over_budget(conn))
		conn_pause(conn);
}

void mq_conn_release(struct mq_conn *conn, size_t bytes)
{
	assert(bytes <= conn->n_charged);
	conn_held(conn, &conn->n_charged, conn->n_charged - bytes);
	conn_check_resume(conn);
	if (conn->n_charged == 0 && conn_state(conn) == CONN_DRAINING)
		conn_set_dirty(conn);
}

static void conn_log_overload(struct mq_conn *conn, const char *what, size_t bytes)
{
	char peer[MQ_HOST_TEXT_MAX + 8], size[40];
	const char *fields[] = { peer, size, NULL };
	char more[MQ_LOG_MORE_MAX];

	if (!mq_log_limit_take(&conn->loop->log_overload, mq_loop_mono_ms(conn->loop), more))
		return;
	snprintf(peer, sizeof peer, "MQ_PEER=%s", conn->peer.text);
	snprintf(size, sizeof size, "MQ_BYTES=%zu", bytes);
	mq_log_fields(LOG_WARNING, MQ_MSG_PEER_OVERLOAD, fields, "closing connection from %s: %zu bytes of %s%s",
		      conn->peer.text, bytes, what, more);
}

static void conn_set_partial(struct mq_conn *conn, size_t n)
{
	struct mq_loop *loop = conn->loop;

	loop->n_partial += n - conn->n_partial;
	conn->n_partial = n;
	if (conn->is_partial == (n > 0))
		return;
	conn->is_partial = n > 0;
	if (n > 0)
		TAILQ_INSERT_TAIL(&loop->partial, conn, partial_link);
	else
		TAILQ_REMOVE(&loop->partial, conn, partial_link);
}

/* Peers that begin frames and do not end them, and peers that do not take their answers, give way to the others. */
void mq_conns_relieve(struct mq_loop *loop)
{
	const struct mq_loop_config *cfg = &loop->config;
	struct mq_conn *conn, *next;

	while (loop->n_partial > cfg->total_budget / 2 && (conn = TAILQ_FIRST(&loop->partial))) {
		conn_log_overload(conn, "an incomplete request", conn->n_partial);
		mq_conn_close(conn, -ENOBUFS);
	}

	while (loop->n_held >= cfg->total_budget && (conn = TAILQ_FIRST(&loop->stalled))) {
		int64_t due_ms = conn->stalled_at_ms + NET_STALL_MS;

		if (loop->n_held < cfg->total_budget * HELD_HARD && due_ms > mq_loop_mono_ms(loop)) {
			if (mq_timer_set(loop, &loop->stall_timer, due_ms) < 0)
				mq_conn_close(conn, -ENOMEM);
			break;
		}
		conn_log_overload(conn, "answers not taken", conn->n_out);
		mq_conn_close(conn, -ENOBUFS);
	}

	if (loop->was_over_hard && loop->n_held < cfg->total_budget * HELD_HARD)
		loop->was_over_hard = false; /* the modest may go on */
	else if (loop->was_over_budget && loop->n_held <= cfg->total_budget - cfg->total_budget / 8)
		loop->was_over_budget = false;
	else
		return;
	for (conn = TAILQ_FIRST(&loop->paused); conn; conn = next) {
		next = TAILQ_NEXT(conn, pause_link);
		conn_check_resume(conn);
	}
}

/* The alarm alone makes the turn in which mq_conns_relieve() looks. */
static void conns_on_stall(struct mq_timer *timer)
{
}

/* ---- receiving ---- */

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
	conn_set_partial(conn, mq_frame_reader_held(&conn->reader));
	if (in.n > 0 && conn_state(conn) == CONN_OPEN)
		conn_put_aside(conn, in);
}

/* The peer sends nothing more. It still gets what is answered within a moment (a turn, a flush to disk); what is parked (a
 * pull that waits) ends with the connection, since most peers that end are gone: frame.md section 7. */
static void conn_on_end(struct mq_conn *conn)
{
	conn_read_off(conn);
	conn->is_ended = true;
	if (conn_state(conn) == CONN_OPEN)
		conn_move(conn, CONN_DRAINING);
	conn_set_dirty(conn);
}

static void conn_on_readable(evutil_socket_t fd, short what, void *user)
{
	struct mq_conn *conn = user;
	struct mq_loop *loop = conn->loop;
	size_t size = conn->n_partial < NET_READ_SIZE ? NET_READ_SIZE : NET_SCRATCH_SIZE;
	ssize_t n;

	if (conn_state(conn) == CONN_OPEN && conn_is_over_total(conn, loop->config.total_budget)) {
		conn_pause(conn);
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
	conn_touch(conn);
	mq_stat_add(&loop->stats.bytes_in, (uint64_t)n);
	if (conn_state(conn) == CONN_OPEN)
		conn_consume(conn, (struct mq_slice){ loop->scratch, (size_t)n });
}

/* First what was put aside, then the socket again. */
static void conn_resume(struct mq_conn *conn)
{
	char *rest = TAKE(conn->rest);
	struct mq_slice in = { rest ? rest + conn->rest_at : NULL, conn->n_rest };

	conn_unpause(conn);
	conn_held(conn, &conn->n_rest, 0);
	if (in.n > 0)
		conn_consume(conn, in);
	free(rest);
	if (conn_state(conn) == CONN_OPEN && !conn->is_paused)
		conn_read_on(conn);
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

/* ---- sending ---- */

static struct evbuffer *conn_output(struct mq_conn *conn)
{
	struct mq_loop *loop = conn->loop;

	if (!conn->out)
		conn->out = loop->n_outputs > 0 ? loop->outputs[--loop->n_outputs] : evbuffer_new();
	return conn->out;
}

static void conn_drop_output(struct mq_conn *conn)
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
		conn_log_overload(conn, "answers not taken", conn->n_out);
		mq_conn_close(conn, -ENOBUFS);
		return;
	}
	if (conn_is_over_budget(conn))
		conn_pause(conn);
	if (!conn->is_writing)
		conn_set_dirty(conn);
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
			conn_set_stalled(conn, true);
			conn_write_on(conn);
			return;
		}
		conn_touch(conn);
		conn_set_stalled(conn, false);
		mq_stat_add(&conn->loop->stats.bytes_out, (uint64_t)n);
	}
	conn_drop_output(conn);
	conn_write_off(conn);
}

static void conn_on_linger_end(struct mq_timer *timer)
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
	conn_close_after(conn, NET_LINGER_MS);
	if (conn_state(conn) != CONN_CLOSED)
		conn_read_on(conn);
}

/* Closes a draining connection that has nothing left to do. */
static void conn_settle(struct mq_conn *conn)
{
	if (conn_state(conn) != CONN_DRAINING || conn->out)
		return;
	if (conn->is_ended && conn->n_charged > 0)
		conn_close_after(conn, NET_END_MS);
	else if (conn->is_ended)
		mq_conn_close(conn, 0);
	else if (conn->n_charged == 0 && !conn->is_shut)
		conn_linger(conn);
}

static void conn_on_writable(evutil_socket_t fd, short what, void *user)
{
	struct mq_conn *conn = user;

	conn_write(conn);
	conn_check_resume(conn);
	conn_settle(conn);
}

void mq_conns_flush(struct mq_loop *loop)
{
	struct mq_conn *conn;

	while ((conn = TAILQ_FIRST(&loop->dirty))) {
		conn_set_clean(conn);
		if (!conn->is_writing)
			conn_write(conn);
		conn_check_resume(conn);
		conn_settle(conn);
	}
}

/* ---- closing ---- */

void mq_conn_close(struct mq_conn *conn, int reason)
{
	struct mq_loop *loop = conn->loop;

	if (conn_state(conn) == CONN_CLOSED)
		return;
	conn_move(conn, CONN_CLOSED);
	conn->reason = reason;
	conn_read_off(conn);
	conn_write_off(conn);
	conn_unpause(conn);
	conn_set_clean(conn);
	conn_set_stalled(conn, false);
	conn_set_partial(conn, 0);
	mq_timer_clear(loop, &conn->linger);
	/* In no other list any more, so the link of one of them serves here. */
	TAILQ_INSERT_TAIL(&loop->closed, conn, dirty_link);
}

void mq_conn_drain(struct mq_conn *conn)
{
	if (conn_state(conn) != CONN_OPEN)
		return;
	conn_move(conn, CONN_DRAINING);
	conn_read_off(conn);
	conn_unpause(conn);
	conn_set_dirty(conn);
}

unsigned mq_loop_drain(struct mq_loop *loop)
{
	struct mq_conn *conn;
	unsigned n = 0;

	loop->is_draining = true;
	TAILQ_FOREACH(conn, &loop->by_activity, activity_link) {
		if (conn->is_own || conn_state(conn) == CONN_CLOSED)
			continue;
		mq_conn_drain(conn);
		n++;
	}
	return n;
}

static void conn_drop(struct mq_conn *conn)
{
	struct mq_loop *loop = conn->loop;

	TAILQ_REMOVE(&loop->by_activity, conn, activity_link);
	if (conn->events->on_close)
		conn->events->on_close(conn, conn->reason, conn->user);
	mq_rpc_dropped(conn);
	conn_drop_output(conn);
	conn_held(conn, &conn->n_rest, 0);
	free(conn->rest);
	conn->rest = NULL;
	mq_frame_reader_done(&conn->reader);
	close(conn->fd);
	conn->fd = -1;
	mq_stat_add(&loop->stats.n_connections, (uint64_t)-1);
	mq_stat_add(&loop->stats.n_closed, 1);
	mq_conn_unref(conn);
}

bool mq_conns_reap(struct mq_loop *loop)
{
	bool dropped = false;
	struct mq_conn *conn;

	while ((conn = TAILQ_FIRST(&loop->closed))) {
		TAILQ_REMOVE(&loop->closed, conn, dirty_link);
		conn_drop(conn);
		dropped = true;
	}
	return dropped;
}

void mq_conns_close_all(struct mq_loop *loop)
{
	struct mq_conn *conn;

	TAILQ_FOREACH(conn, &loop->by_activity, activity_link)
		mq_conn_close(conn, -ECANCELED);
	mq_conns_reap(loop);
}

static void conns_arm_idle(struct mq_loop *loop)
{
	struct mq_conn *oldest = TAILQ_FIRST(&loop->by_activity);

	if (loop->config.idle_ms == 0 || !oldest || loop->idle_timer.slot)
		return;
	/* Without memory for it the next connection tries again. */
	if (mq_timer_set(loop, &loop->idle_timer, oldest->active_at_ms + loop->config.idle_ms) < 0)
		return;
}

/* One timer for all: it fires when the longest silent connection would be due had it stayed silent, and moves on. */
static void conns_on_idle(struct mq_timer *timer)
{
	struct mq_loop *loop = (struct mq_loop *)((char *)timer - offsetof(struct mq_loop, idle_timer));
	int64_t due_ms = mq_loop_mono_ms(loop) - loop->config.idle_ms;
	struct mq_conn *conn;

	TAILQ_FOREACH(conn, &loop->by_activity, activity_link) {
		if (conn->active_at_ms > due_ms)
			break;
		mq_conn_close(conn, -ETIMEDOUT);
	}
	mq_conns_reap(loop);
	conns_arm_idle(loop);
}

void mq_conns_init(struct mq_loop *loop)
{
	TAILQ_INIT(&loop->by_activity);
	TAILQ_INIT(&loop->dirty);
	TAILQ_INIT(&loop->closed);
	TAILQ_INIT(&loop->paused);
	TAILQ_INIT(&loop->resumed);
	TAILQ_INIT(&loop->partial);
	TAILQ_INIT(&loop->stalled);
	loop->idle_timer.fire = conns_on_idle;
	loop->stall_timer.fire = conns_on_stall;
}

/* ---- life ---- */

static void host_loopback(struct mq_host *host)
{
	*host = (struct mq_host){ .addr = { 127, 0, 0, 1 }, .n_addr = 4 };
}

static void host_from_socket(struct mq_host *host, const struct sockaddr_storage *address)
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;

	memset(host, 0, sizeof *host);
	if (address->ss_family == AF_INET) {
		host->n_addr = 4;
		memcpy(host->addr, &v4->sin_addr, 4);
		host->port = ntohs(v4->sin_port);
		return;
	}
	/* A dual-stack listener shows IPv4 peers as ::ffff:a.b.c.d; clients know themselves by the four bytes. */
	if (memcmp(&v6->sin6_addr, mapped, sizeof mapped) == 0) {
		host->n_addr = 4;
		memcpy(host->addr, v6->sin6_addr.s6_addr + sizeof mapped, 4);
	} else {
		host->n_addr = 16;
		memcpy(host->addr, &v6->sin6_addr, 16);
	}
	host->port = ntohs(v6->sin6_port);
}

static int conn_identify_unix(struct mq_conn *conn)
{
	struct ucred cred;
	socklen_t n = sizeof cred;

	if (getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
		return -errno;
	conn->peer.is_unix = true;
	conn->peer.uid = cred.uid;
	conn->peer.gid = cred.gid;
	conn->peer.pid = cred.pid;
	host_loopback(&conn->peer.host);
	host_loopback(&conn->local);
	snprintf(conn->peer.text, sizeof conn->peer.text, "unix:uid=%u,pid=%d", cred.uid, cred.pid);
	return 0;
}

/* Who is there. SO_PEERCRED is asked on Unix sockets only: on TCP it answers with numbers that mean nothing. */
static int conn_identify(struct mq_conn *conn)
{
	struct sockaddr_storage local = {}, peer = {};
	socklen_t n_local = sizeof local, n_peer = sizeof peer;

	conn->peer.uid = (uid_t)-1;
	conn->peer.gid = (gid_t)-1;
	if (getsockname(conn->fd, (struct sockaddr *)&local, &n_local) < 0)
		return -errno;
	if (local.ss_family == AF_UNIX)
		return conn_identify_unix(conn);
	if (local.ss_family != AF_INET && local.ss_family != AF_INET6)
		return -EAFNOSUPPORT;
	if (getpeername(conn->fd, (struct sockaddr *)&peer, &n_peer) < 0)
		return -errno;
	host_from_socket(&conn->local, &local);
	host_from_socket(&conn->peer.host, &peer);
	mq_host_format(&conn->peer.host, conn->peer.text);
	return 0;
}

static int conn_set_options(struct mq_conn *conn)
{
	int flags, one = 1;

	flags = fcntl(conn->fd, F_GETFL);
	if (flags < 0 || ((flags & O_NONBLOCK) == 0 && fcntl(conn->fd, F_SETFL, flags | O_NONBLOCK) < 0))
		return -errno;
	if (!conn->peer.is_unix && setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
		return -errno;
	return 0;
}

static int conn_start(struct mq_conn *conn, int fd)
{
	struct mq_loop *loop = conn->loop;
	int r;

	conn->fd = fd;
	r = conn_identify(conn);
	if (r < 0)
		return r;
	r = conn_set_options(conn);
	if (r < 0)
		return r;
	event_assign(&conn->on_read, loop->base, fd, EV_READ | EV_PERSIST, conn_on_readable, conn);
	event_assign(&conn->on_write, loop->base, fd, EV_WRITE | EV_PERSIST, conn_on_writable, conn);
	if (event_add(&conn->on_read, NULL) < 0)
		return -ENOMEM;
	conn->is_reading = true;
	return 0;
}

int mq_conn_make(struct mq_conn **ret, struct mq_loop *loop, int fd, const struct mq_conn_events *events, void *user,
		 bool is_own)
{
	static atomic_uint_least64_t last_id; /* relaxed: only has to be different */
	_cleanup_(mq_conn_unrefp) struct mq_conn *conn = NULL;
	int r;

	conn = calloc(1, sizeof *conn);
	if (!conn)
		return -ENOMEM;
	atomic_init(&conn->refs, 1);
	atomic_init(&conn->state, CONN_OPEN);
	conn->loop = loop;
	atomic_fetch_add_explicit(&loop->refs, 1, memory_order_relaxed);
	conn->events = events;
	conn->user = user;
	conn->is_own = is_own;
	conn->id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
	conn->linger.fire = conn_on_linger_end;
	mq_frame_reader_init(&conn->reader, loop->config.max_frame);

	r = conn_start(conn, fd);
	if (r < 0)
		return r;

	conn->active_at_ms = mq_loop_mono_ms(loop);
	TAILQ_INSERT_TAIL(&loop->by_activity, conn, activity_link);
	conns_arm_idle(loop);
	mq_stat_add(&loop->stats.n_connections, 1);
	if (loop->is_draining && !is_own)
		mq_conn_drain(conn);
	*ret = TAKE(conn);
	return 0;
}

int mq_conn_new(struct mq_conn **ret, struct mq_loop *loop, int fd, const struct mq_conn_events *events, void *user)
{
	return mq_conn_make(ret, loop, fd, events, user, false);
}

struct mq_conn *mq_conn_ref(struct mq_conn *conn)
{
	atomic_fetch_add_explicit(&conn->refs, 1, memory_order_relaxed);
	return conn;
}

/* The last reference may go on any thread: what belongs to the loop went in conn_drop(). */
struct mq_conn *mq_conn_unref(struct mq_conn *conn)
{
	if (!conn || atomic_fetch_sub_explicit(&conn->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	mq_loop_unref_internal(conn->loop);
	free(conn);
	return NULL;
}

bool mq_conn_is_open(const struct mq_conn *conn)
{
	return conn_state(conn) != CONN_CLOSED;
}

const struct mq_peer *mq_conn_peer(const struct mq_conn *conn)
{
	return &conn->peer;
}

const struct mq_host *mq_conn_local(const struct mq_conn *conn)
{
	return &conn->local;
}

struct mq_loop *mq_conn_loop(const struct mq_conn *conn)
{
	return conn->loop;
}

uint64_t mq_conn_id(const struct mq_conn *conn)
{
	return conn->id;
}

void mq_conn_set_data(struct mq_conn *conn, void *data)
{
	conn->data = data;
}

void *mq_conn_data(const struct mq_conn *conn)
{
	return conn->data;
}
