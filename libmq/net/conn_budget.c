/* What connections may hold, and who gives way: the three stops that conn.h promises. */
#include "libmq/net/conn_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "libmq/base/log.h"
#include "libmq/net/messages.h"

enum {
	HELD_HARD = 2,          /* times total_budget: more closes who is stalled, at once */
	HELD_MODEST = 64 << 10, /* bytes: who holds no more is served while others exhaust total_budget, up to HELD_HARD */
	STALL_MS = 5000,        /* a peer that takes nothing for so long gives way when the loop is over its budget */
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

	return conn->n_charged <= cfg->conn_in_budget / 2 && conn->n_out <= cfg->conn_out_budget / 2 &&
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

void mq_conn_set_partial(struct mq_conn *conn, size_t n)
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

/* Peers that begin frames and do not end them, and peers that do not take their answers, give way to the others. */
void mq_conns_relieve(struct mq_loop *loop)
{
	const struct mq_loop_config *cfg = &loop->config;
	struct mq_conn *conn, *next;

	while (loop->n_partial > cfg->total_budget / 2 && (conn = TAILQ_FIRST(&loop->partial))) {
		mq_conn_log_overload(conn, "an incomplete request", conn->n_partial);
		mq_conn_close(conn, -ENOBUFS);
	}

	while (loop->n_held >= cfg->total_budget && (conn = TAILQ_FIRST(&loop->stalled))) {
		int64_t due_ms = conn->stalled_at_ms + STALL_MS;

		if (loop->n_held < cfg->total_budget * HELD_HARD && due_ms > mq_loop_mono_ms(loop)) {
			if (mq_timer_set(loop, &loop->stall_timer, due_ms) < 0)
				mq_conn_close(conn, -ENOMEM);
			break;
		}
		mq_conn_log_overload(conn, "answers not taken", conn->n_out);
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
		mq_conn_check_resume(conn);
	}
}
