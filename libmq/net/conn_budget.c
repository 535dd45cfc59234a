/* What connections may hold, and who gives way: the three stops that conn.h promises. */
#include "libmq/net/conn_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "libmq/base/log.h"
#include "libmq/net/messages.h"

enum {
	HELD_HARD = 2,          /* times total_budget: more closes who is stalled, at once */
	HELD_MODEST = 64 << 10, /* bytes: who holds no more is served while others exhaust total_budget, up to HELD_HARD */
	STALL_MS = 5000,        /* a peer that takes nothing, or sends nothing, for so long gives way when the loop is over its budget */
	PARTIAL_MODEST = 64 << 10, /* bytes: a frame that claims no more is read although incomplete frames take too much */
	CROWDED_MS = 1000,      /* while they do, peers are looked at so often */
	SLOW_MS = 2000,         /* an admitted peer has so long to show that it sends, and then less than this is too slow: */
	SLOW_RATE = 32 << 10,   /* bytes in a second */
};

/* The total is exhausted by those who hold much: many peers that take no answers must not keep a modest one waiting. */
bool mq_conn_is_over_total(const struct mq_conn *conn, size_t total)
{
	if (conn->loop->n_held < total)
		return false;
	return conn->n_charged + conn->n_out > HELD_MODEST || conn->loop->n_held >= conn->loop->config.total_budget * HELD_HARD;
}

bool mq_conn_is_over_budget(const struct mq_conn *conn)
{
	const struct mq_loop_config *cfg = &conn->loop->config;

	return conn->n_charged >= cfg->conn_in_budget || conn->n_out >= cfg->conn_out_budget ||
	       mq_conn_is_over_total(conn, cfg->total_budget);
}

/* Not just below the limits, or it would go on and off with every request. The total has a narrow gap: what is held for long
 * (parked pulls) must not keep everybody waiting. */
static bool conn_may_resume(const struct mq_conn *conn)
{
	const struct mq_loop_config *cfg = &conn->loop->config;

	return conn->n_charged <= cfg->conn_in_budget / 2 && conn->n_out <= cfg->conn_out_budget / 2 && !mq_conn_is_crowded_out(conn) &&
	       !mq_conn_is_over_total(conn, cfg->total_budget - cfg->total_budget / 8 + 1);
}

void mq_conn_pause(struct mq_conn *conn)
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
	mq_conn_read_off(conn);
}

/* Out of the list it is in, if any. */
void mq_conn_unpause(struct mq_conn *conn)
{
	if (conn->is_paused)
		TAILQ_REMOVE(&conn->loop->paused, conn, pause_link);
	if (conn->is_resumed)
		TAILQ_REMOVE(&conn->loop->resumed, conn, pause_link);
	conn->is_paused = conn->is_resumed = false;
}

/* Reading goes on in the next turn: whoever releases memory is not surprised by new frames. */
void mq_conn_check_resume(struct mq_conn *conn)
{
	if (!conn->is_paused || !conn_may_resume(conn))
		return;
	mq_conn_unpause(conn);
	conn->is_resumed = true;
	TAILQ_INSERT_TAIL(&conn->loop->resumed, conn, pause_link);
}

void mq_conn_charge(struct mq_conn *conn, size_t bytes)
{
	conn_held(conn, &conn->n_charged, conn->n_charged + bytes);
	if (mq_conn_is_over_budget(conn))
		mq_conn_pause(conn);
}

void mq_conn_release(struct mq_conn *conn, size_t bytes)
{
	assert(bytes <= conn->n_charged);
	conn_held(conn, &conn->n_charged, conn->n_charged - bytes);
	mq_conn_check_resume(conn);
	if (conn->n_charged == 0 && conn_state(conn) == CONN_DRAINING)
		mq_conn_set_dirty(conn);
}

static void conn_set_admitted(struct mq_conn *conn, size_t n)
{
	conn->loop->n_admitted += n - conn->n_admitted;
	conn->n_admitted = n;
}

void mq_conn_set_partial(struct mq_conn *conn, size_t n)
{
	struct mq_loop *loop = conn->loop;

	loop->n_partial += n - conn->n_partial;
	conn->n_partial = n;
	if (loop->n_partial > loop->config.total_budget / 2)
		loop->is_crowded = true;
	if (conn->is_partial == (n > 0))
		return;
	conn->is_partial = n > 0;
	if (n > 0) {
		TAILQ_INSERT_TAIL(&loop->partial, conn, partial_link);
	} else {
		TAILQ_REMOVE(&loop->partial, conn, partial_link);
		conn_set_admitted(conn, 0);
	}
}

void mq_conn_drop_partial(struct mq_conn *conn)
{
	mq_frame_reader_done(&conn->reader);
	mq_conn_set_partial(conn, 0);
}

bool mq_conn_is_crowded_out(const struct mq_conn *conn)
{
	return conn->loop->is_crowded && conn->n_admitted == 0 && mq_frame_reader_size(&conn->reader) > PARTIAL_MODEST;
}

void mq_conn_set_stalled(struct mq_conn *conn, bool is_stalled)
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

void mq_conn_log_overload(struct mq_conn *conn, const char *what, size_t bytes)
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

static void conns_check_resume(struct mq_loop *loop)
{
	struct mq_conn *conn, *next;

	for (conn = TAILQ_FIRST(&loop->paused); conn; conn = next) {
		next = TAILQ_NEXT(conn, pause_link);
		mq_conn_check_resume(conn);
	}
}

/* Is there something that was not received yet? Else the peer keeps us waiting, and not we the peer. */
static bool conn_has_input(const struct mq_conn *conn)
{
	int n = 0;

	return conn->n_rest > 0 || (ioctl(conn->fd, FIONREAD, &n) == 0 && n > 0);
}

/* While incomplete frames take too much: does this peer not get on with its own? */
static bool conn_is_slow(struct mq_conn *conn)
{
	int64_t now_ms = mq_loop_mono_ms(conn->loop), took_ms = now_ms - conn->admitted_at_ms;
	size_t n = conn->reader.n_partial;

	if (conn->n_admitted == 0)
		return !conn->is_paused && !conn->is_resumed && now_ms - conn->active_at_ms >= STALL_MS && !conn_has_input(conn);
	/* Its time begins when it is read. */
	if (conn->is_paused || conn->is_resumed) {
		conn->admitted_at_ms = now_ms;
		conn->admitted_from = n;
		return false;
	}
	return took_ms >= SLOW_MS && (int64_t)(n - conn->admitted_from) < took_ms * SLOW_RATE / 1000;
}

/* What it needs to be read to its end fits beside that of those before. */
static bool conn_admit(struct mq_conn *conn)
{
	struct mq_loop *loop = conn->loop;
	size_t missing = mq_frame_reader_size(&conn->reader) - conn->reader.n_partial;

	if (loop->n_admitted > 0 && loop->n_admitted + missing > loop->config.total_budget / 2)
		return false;
	conn_set_admitted(conn, missing);
	conn->admitted_at_ms = mq_loop_mono_ms(loop);
	conn->admitted_from = conn->reader.n_partial;
	mq_conn_check_resume(conn);
	return true;
}

static void conn_give_way(struct mq_conn *conn)
{
	mq_conn_log_overload(conn, "an incomplete request", conn->n_partial);
	mq_conn_close(conn, -ENOBUFS);
}

/* Peers that begin frames and do not end them give way to the others; those that do get their turn. Returns when to look again. */
static int64_t conns_relieve_partial(struct mq_loop *loop)
{
	size_t budget = loop->config.total_budget;
	struct mq_conn *conn, *next;
	bool may_admit = true;

	while (loop->n_partial > budget * HELD_HARD && (conn = TAILQ_FIRST(&loop->partial)))
		conn_give_way(conn);
	if (!loop->is_crowded)
		return INT64_MAX;
	for (conn = TAILQ_FIRST(&loop->partial); conn; conn = next) {
		next = TAILQ_NEXT(conn, partial_link);
		if (conn_is_slow(conn))
			conn_give_way(conn);
		else if (may_admit && conn->is_paused && mq_conn_is_crowded_out(conn))
			may_admit = conn_admit(conn);
	}
	if (loop->n_partial > budget / 2 - budget / 8)
		return mq_loop_mono_ms(loop) + CROWDED_MS;
	loop->is_crowded = false;
	conns_check_resume(loop);
	return INT64_MAX;
}

/* Peers that do not take their answers give way. Returns when to look again. */
static int64_t conns_relieve_stalled(struct mq_loop *loop)
{
	const struct mq_loop_config *cfg = &loop->config;
	struct mq_conn *conn;

	while (loop->n_held >= cfg->total_budget && (conn = TAILQ_FIRST(&loop->stalled))) {
		int64_t due_ms = conn->stalled_at_ms + STALL_MS;

		if (loop->n_held < cfg->total_budget * HELD_HARD && due_ms > mq_loop_mono_ms(loop))
			return due_ms;
		mq_conn_log_overload(conn, "answers not taken", conn->n_out);
		mq_conn_close(conn, -ENOBUFS);
	}
	return INT64_MAX;
}

void mq_conns_relieve(struct mq_loop *loop)
{
	const struct mq_loop_config *cfg = &loop->config;
	int64_t partial_ms = conns_relieve_partial(loop), stalled_ms = conns_relieve_stalled(loop);
	int64_t next_ms = partial_ms < stalled_ms ? partial_ms : stalled_ms;
	struct mq_conn *conn;

	if (next_ms < INT64_MAX && mq_timer_set(loop, &loop->stall_timer, next_ms) < 0) {
		conn = TAILQ_FIRST(stalled_ms < INT64_MAX ? &loop->stalled : &loop->partial);
		if (conn)
			mq_conn_close(conn, -ENOMEM);
	}
	if (loop->was_over_hard && loop->n_held < cfg->total_budget * HELD_HARD)
		loop->was_over_hard = false; /* the modest may go on */
	else if (loop->was_over_budget && loop->n_held <= cfg->total_budget - cfg->total_budget / 8)
		loop->was_over_budget = false;
	else
		return;
	conns_check_resume(loop);
}
