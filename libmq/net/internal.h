/* What the files of libmq/net know of each other; nobody else includes this.
 * Everything belongs to the loop's thread unless a member says otherwise. */
#pragma once

#include <event2/event_struct.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "libmq/net/conn.h"
#include "libmq/net/request.h"
#include "libmq/wire/frame.h"

enum {
	NET_SCRATCH_SIZE = 256 * 1024,  /* bytes received at once at most; one buffer for all connections */
	NET_SPARE_OUTPUTS = 64,         /* empty evbuffers kept per loop */
	NET_SPARE_REQUESTS = 1024,      /* unused requests kept per loop, 3 KiB each, only after they were needed at once */
};

TAILQ_HEAD(mq_conn_list, mq_conn);
STAILQ_HEAD(mq_post_list, mq_post);

/* At most so many lines of one kind in a while; what was left out is counted in the next. */
struct mq_log_limit {
	int64_t since_ms;
	unsigned n_logged, n_left_out;
};
enum { MQ_LOG_MORE_MAX = 48 };
/* Asks for one line. False: leave it out. ret_more: what to append, "" or " (and N more like this)". */
bool mq_log_limit_take(struct mq_log_limit *limit, int64_t mono_ms, char ret_more[MQ_LOG_MORE_MAX]);

struct mq_loop {
	atomic_uint refs; /* the owner and each connection: a connection that outlives the loop finds it closed, not freed */
	struct mq_loop_config config;
	char name[16];
	struct event_base *base; /* owned; NULL once freed */
	_Atomic pthread_t thread;
	atomic_bool wants_stop;
	atomic_uint_least64_t progress;

	/* time of the turn */
	bool in_turn, has_time;
	int64_t mono_ms, wall_ms;

	/* posts */
	pthread_mutex_t lock; /* protects posts, is_asleep, is_woken, is_closed */
	struct mq_post_list posts;
	bool is_asleep; /* in epoll_wait, or about to be: a post must wake */
	bool is_woken;  /* since it fell asleep */
	bool is_closed; /* takes no more posts */
	int wake_fd;    /* eventfd; stays open until the last reference is gone, so that any thread may write */
	struct event *wake;

	/* timers */
	struct mq_timer **timers; /* binary heap, timers[0] unused */
	unsigned n_timers, n_timer_slots;
	struct event *alarm;   /* for timers[1] */
	int64_t alarm_at_ms;   /* monotonic; INT64_MAX: not armed */

	/* connections */
	char *scratch;                    /* owned, NET_SCRATCH_SIZE */
	struct mq_conn_list by_activity;  /* all not yet closed, the longest silent first */
	struct mq_conn_list dirty;        /* have output to be written at the turn's end, or a state to settle */
	struct mq_conn_list closed;       /* to be dropped at the turn's end */
	struct mq_conn_list paused;       /* not read because of a budget */
	struct mq_conn_list resumed;      /* to be read again in the next turn */
	struct mq_conn_list partial;      /* have an incomplete frame, the oldest first */
	struct mq_conn_list stalled;      /* have output that the socket does not take, the oldest first */
	struct mq_timer idle_timer, stall_timer;
	size_t n_held;                    /* bytes of requests in flight, output and what was received but not looked at */
	size_t n_partial;                 /* bytes of incomplete frames */
	size_t n_admitted;                /* bytes that admitted frames may add to them */
	bool is_crowded;                  /* they take so much that large ones are read one after the other */
	bool was_over_budget;             /* since when a connection may be paused for the total */
	bool was_over_hard;               /* likewise, for twice the total */
	bool is_draining;
	bool needs_turn;                  /* something was left for another turn */
	struct evbuffer *outputs[NET_SPARE_OUTPUTS]; /* owned, empty */
	unsigned n_outputs;
	struct mq_log_limit log_protocol, log_failed, log_overload;
	char why[240];                    /* of the protocol error that on_frame reports; "" when there is none */

	/* requests */
	struct mq_request *requests;      /* free list, linked by .state */
	unsigned n_spare_requests;
	struct mq_dispatch_count *count;  /* borrowed: counters not yet added because the same line came again and again */
	unsigned n_count;

	void (*on_turn)(struct mq_loop *loop, void *user);
	void *on_turn_user;

	struct mq_loop_stats stats; /* written by the loop's thread only, read relaxed by any */
};

/* One writer, so a plain sum with a relaxed store is enough. */
static inline void mq_stat_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

struct mq_loop *mq_loop_unref_internal(struct mq_loop *loop);
/* As mq_loop_post(), but false when the loop is closed: then run() will not be called. Any thread that holds a reference. */
bool mq_loop_try_post(struct mq_loop *loop, struct mq_post *post);

enum mq_conn_state { CONN_OPEN, CONN_DRAINING, CONN_CLOSED };

struct mq_rpc;

struct mq_conn {
	atomic_uint refs;
	atomic_int state; /* enum mq_conn_state; written by the loop's thread, read relaxed by mq_conn_is_open() */
	struct mq_loop *loop; /* ref */
	int fd;               /* owned; -1 once dropped */
	int reason;           /* for on_close */
	const struct mq_conn_events *events; /* borrowed */
	void *user;                          /* borrowed */
	uint64_t id;

	struct event on_read, on_write;
	bool is_reading, is_writing; /* on_read, on_write are added */
	bool is_dirty, is_paused, is_resumed, is_partial, is_stalled; /* in the list of that name */
	bool is_ended;   /* the peer sent its end */
	bool is_shut;    /* we sent ours and wait for the peer's */
	bool is_own;     /* of a mq_remote: draining the loop leaves it alone */
	int64_t active_at_ms, stalled_at_ms;
	TAILQ_ENTRY(mq_conn) activity_link, dirty_link, pause_link, partial_link, stall_link;

	struct mq_frame_reader reader;
	size_t n_partial;     /* bytes that reader holds, as counted in loop->n_partial */
	size_t n_admitted;    /* bytes that its incomplete frame may add, as counted in loop->n_admitted; 0: not admitted */
	size_t admitted_from; /* bytes of the frame that were there */
	int64_t admitted_at_ms;
	char *rest;           /* owned: received but not looked at, because reading was paused; NULL when there is none */
	size_t rest_at, n_rest;
	struct evbuffer *out; /* owned; NULL when empty */
	size_t n_out;         /* bytes of it */
	size_t n_charged;     /* bytes of requests in flight */
	struct mq_timer linger;
	struct mq_rpc *rpc;   /* outgoing calls: rpc.c; NULL until the first */

	struct mq_peer peer;
};

/* mq_conn_new(); is_own: see there. */
int mq_conn_make(struct mq_conn **ret, struct mq_loop *loop, int fd, const struct mq_conn_events *events, void *user,
		 bool is_own) _must_check_;

/* What happens to connections in a turn, in this order. */
void mq_conns_resume(struct mq_loop *loop);
void mq_conns_flush(struct mq_loop *loop);
/* Returns whether one was dropped. */
bool mq_conns_reap(struct mq_loop *loop);
void mq_conns_relieve(struct mq_loop *loop);
void mq_conns_close_all(struct mq_loop *loop);
void mq_conns_init(struct mq_loop *loop);

/* Moves encoded frames to the output; on a closed connection nothing happens. */
void mq_conn_append(struct mq_conn *conn, struct evbuffer *frame);
/* Called from on_frame before it returns an error: the sentence for the journal. */
void mq_conn_explain(struct mq_conn *conn, const char *text);

void mq_requests_flush_counts(struct mq_loop *loop);
void mq_requests_free_spare(struct mq_loop *loop);

/* Lets go of the outgoing calls when the connection goes. */
void mq_rpc_dropped(struct mq_conn *conn);
