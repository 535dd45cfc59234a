/* What the files of a connection know of each other; nobody else includes this. Loop thread.
 *
 * The way of a byte: conn_read.c receives into the loop's scratch buffer, cuts frames and hands them to on_frame; answers gather
 * in `out`; conn_write.c writes each connection once at the turn's end. conn.c opens and closes, conn_peer.c says who is there.
 *
 * Memory per connection is bounded by three stops (conn_budget.c): over a budget it is paused (what was received already waits in
 * `rest`, the socket is not read); four budgets of output close it, since pushes and parked requests come whether it reads
 * or not; incomplete frames of all connections share half the loop's budget: beyond it large ones are read one after the other, and
 * who does not send on gives way. An idle connection holds nothing but its struct. */
#pragma once

#include "libmq/net/internal.h"

static inline enum mq_conn_state conn_state(const struct mq_conn *conn)
{
	return (enum mq_conn_state)atomic_load_explicit(&conn->state, memory_order_relaxed);
}

/* One part of what the connection holds has `now` bytes. */
static inline void conn_held(struct mq_conn *conn, size_t *part, size_t now)
{
	conn->loop->n_held += now - *part;
	*part = now;
}

/* conn.c. What is on or off stays so when it is asked for again. */
void mq_conn_move(struct mq_conn *conn, enum mq_conn_state next);
void mq_conn_set_dirty(struct mq_conn *conn);
void mq_conn_set_clean(struct mq_conn *conn);
void mq_conn_read_on(struct mq_conn *conn);  /* may close it */
void mq_conn_read_off(struct mq_conn *conn);
void mq_conn_write_on(struct mq_conn *conn); /* may close it */
void mq_conn_write_off(struct mq_conn *conn);
/* Something came or went: it is not idle. */
void mq_conn_touch(struct mq_conn *conn);

/* conn_budget.c */
/* Does it have to wait because all connections together hold `total` bytes? */
bool mq_conn_is_over_total(const struct mq_conn *conn, size_t total);
bool mq_conn_is_over_budget(const struct mq_conn *conn);
/* Does it have to wait because incomplete frames take too much, and others' were there before? */
bool mq_conn_is_crowded_out(const struct mq_conn *conn);
void mq_conn_pause(struct mq_conn *conn);
void mq_conn_unpause(struct mq_conn *conn);
void mq_conn_check_resume(struct mq_conn *conn);
/* Its incomplete frame has `n` bytes; 0: there is none. */
void mq_conn_set_partial(struct mq_conn *conn, size_t n);
/* Nothing more will be read: its incomplete frame goes. */
void mq_conn_drop_partial(struct mq_conn *conn);
/* Whether its socket takes no more output. */
void mq_conn_set_stalled(struct mq_conn *conn, bool is_stalled);
/* One line in the journal about a connection that is closed because `what` has so many bytes. */
void mq_conn_log_overload(struct mq_conn *conn, const char *what, size_t bytes);

/* conn_read.c, conn_write.c: what libevent and the timers call. */
void mq_conn_on_readable(evutil_socket_t fd, short what, void *user);
void mq_conn_on_writable(evutil_socket_t fd, short what, void *user);
void mq_conn_on_linger_end(struct mq_timer *timer);
void mq_conn_drop_output(struct mq_conn *conn);

/* conn_peer.c: fills in peer from the socket. -ENOTSOCK, -ENOTCONN, -EAFNOSUPPORT and the like. */
int mq_conn_identify(struct mq_conn *conn) _must_check_;
