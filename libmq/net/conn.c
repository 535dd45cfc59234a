/* The life of a connection: its states, the lists and events it is in, its end. */
#include "libmq/net/conn.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libmq/net/conn_internal.h"

static const unsigned conn_next[] = {
	[CONN_OPEN] = BIT(CONN_DRAINING) | BIT(CONN_CLOSED),
	[CONN_DRAINING] = BIT(CONN_CLOSED),
	[CONN_CLOSED] = 0,
};

void mq_conn_move(struct mq_conn *conn, enum mq_conn_state next)
{
	assert(conn_next[conn_state(conn)] & BIT(next));
	atomic_store_explicit(&conn->state, next, memory_order_relaxed);
}

/* ---- lists and events ---- */

void mq_conn_set_dirty(struct mq_conn *conn)
{
	if (conn->is_dirty)
		return;
	conn->is_dirty = true;
	TAILQ_INSERT_TAIL(&conn->loop->dirty, conn, dirty_link);
}

void mq_conn_set_clean(struct mq_conn *conn)
{
	if (!conn->is_dirty)
		return;
	conn->is_dirty = false;
	TAILQ_REMOVE(&conn->loop->dirty, conn, dirty_link);
}

/* A failing epoll_ctl() would leave the connection deaf: better closed. */
void mq_conn_read_on(struct mq_conn *conn)
{
	if (conn->is_reading)
		return;
	if (event_add(&conn->on_read, NULL) < 0) {
		mq_conn_close(conn, -ENOMEM);
		return;
	}
	conn->is_reading = true;
}

void mq_conn_read_off(struct mq_conn *conn)
{
	if (conn->is_reading)
		event_del(&conn->on_read);
	conn->is_reading = false;
}

void mq_conn_write_on(struct mq_conn *conn)
{
	if (conn->is_writing)
		return;
	if (event_add(&conn->on_write, NULL) < 0) {
		mq_conn_close(conn, -ENOMEM);
		return;
	}
	conn->is_writing = true;
}

void mq_conn_write_off(struct mq_conn *conn)
{
	if (conn->is_writing)
		event_del(&conn->on_write);
	conn->is_writing = false;
}

/* Keeps by_activity sorted. */
void mq_conn_touch(struct mq_conn *conn)
{
	struct mq_loop *loop = conn->loop;
	int64_t now_ms = mq_loop_mono_ms(loop);

	if (conn->active_at_ms == now_ms)
		return;
	conn->active_at_ms = now_ms;
	TAILQ_REMOVE(&loop->by_activity, conn, activity_link);
	TAILQ_INSERT_TAIL(&loop->by_activity, conn, activity_link);
}

/* ---- closing ---- */

void mq_conn_close(struct mq_conn *conn, int reason)
{
	struct mq_loop *loop = conn->loop;

	if (conn_state(conn) == CONN_CLOSED)
		return;
	mq_conn_move(conn, CONN_CLOSED);
	conn->reason = reason;
	mq_conn_read_off(conn);
	mq_conn_write_off(conn);
	mq_conn_unpause(conn);
	mq_conn_set_clean(conn);
	mq_conn_set_stalled(conn, false);
	mq_conn_set_partial(conn, 0);
	mq_timer_clear(loop, &conn->linger);
	/* In no other list any more, so the link of one of them serves here. */
	TAILQ_INSERT_TAIL(&loop->closed, conn, dirty_link);
}

void mq_conn_drain(struct mq_conn *conn)
{
	if (conn_state(conn) != CONN_OPEN)
		return;
	mq_conn_move(conn, CONN_DRAINING);
	mq_conn_read_off(conn);
	mq_conn_drop_partial(conn);
	mq_conn_unpause(conn);
	mq_conn_set_dirty(conn);
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
	mq_conn_drop_output(conn);
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

/* The alarm alone makes the turn in which mq_conns_relieve() looks. */
static void conns_on_stall(struct mq_timer *timer)
{
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
	r = mq_conn_identify(conn);
	if (r < 0)
		return r;
	r = conn_set_options(conn);
	if (r < 0)
		return r;
	event_assign(&conn->on_read, loop->base, fd, EV_READ | EV_PERSIST, mq_conn_on_readable, conn);
	event_assign(&conn->on_write, loop->base, fd, EV_WRITE | EV_PERSIST, mq_conn_on_writable, conn);
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
	conn->linger.fire = mq_conn_on_linger_end;
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

struct mq_loop *mq_conn_loop(const struct mq_conn *conn)
{
	return conn->loop;
}

uint64_t mq_conn_id(const struct mq_conn *conn)
{
	return conn->id;
}
