/* The broker: everything its handlers share. One per process, made by main.c, lives until exit.
 * Threads: handlers run on the I/O loop of their connection. The model (topics, groups, clients, locks, stats) is shared and
 * each module has its own lock, never held while calling another module. hold.c and turns belong to one loop each. */
#pragma once

#include <stdatomic.h>

#include "daemons/broker/config.h"
#include "daemons/broker/delay.h"
#include "libmq/net/loop.h"
#include "libmq/net/request.h"
#include "libmq/wire/codes.h"
#include "storage/store.h"

enum { BROKER_LISTENERS_MAX = 16 };

struct read_queues;
struct request_modes;
struct schedule;
struct broker_loop; /* loops.c: one I/O loop with its thread, turns and held pulls */
struct hold;
struct hold_table;
struct mq_listener;
struct txn_check;

struct broker {
	struct broker_config config;       /* live keys change: read them with config_get() */
	const struct mq_clock *clock;
	struct store *store;               /* owned */
	struct topics *topics;             /* owned, as are the next */
	struct groups *groups;
	struct clients *clients;
	struct locks *locks;
	struct pulled *pulled;
	struct pulled *resets;             /* offsets that an administrator set and the group has not yet pulled from */
	struct ahead *ahead;
	struct pop_inflight *pop_inflight;
	struct pop_locks *pop_locks;
	struct pop_orders *pop_orders;
	struct pop_polls *pop_polls;
	struct stats *stats;
	struct txn_check *txn_check;
	struct request_modes *request_modes; /* owned */
	struct read_queues *read_queues;   /* owned; read_queues.c: what NameServers say of topics, main loop */
	struct registrar *registrar;       /* register.c: NameServers, main loop */
	struct schedule *schedule;         /* schedule.c: its own thread */
	struct hold_table *holds;          /* owned; which loops wait for which queues */
	struct mq_loop *main_loop;         /* borrowed from main.c: signals, registration, periodic work */
	struct broker_loop *loops[BROKER_IO_THREADS_MAX]; /* owned */
	unsigned n_loops;
	_Atomic unsigned n_posts_due;      /* turns and jobs that have not yet been posted back to their loop, or ended */
	_Atomic size_t filter_bytes;       /* of all compiled filters, see filter_sql.h */
	_Atomic bool is_stopping;          /* nothing waits any more: held pulls are answered at once */
	struct mq_dispatch dispatch;
	struct delay_levels delay_levels;  /* messageDelayLevel */
	struct mq_host store_host;         /* brokerIP1:listenPort: goes into records and message ids */
	char address[MQ_HOST_TEXT_MAX];    /* the same as text */
	int64_t started_at_ms;

	/* broker.c's own, main thread: */
	struct mq_listener *listeners[BROKER_LISTENERS_MAX]; /* owned */
	unsigned n_listeners;
	struct mq_loop *accepting[BROKER_IO_THREADS_MAX];    /* borrowed from loops[], for the listeners */
	struct mq_timer sample_timer;
	uint64_t seen_loops[BROKER_IO_THREADS_MAX], seen_flusher, seen_keeper, seen_schedule; /* progress at the last broker_is_alive() */
	unsigned n_stopping;
	void (*stopped)(void *user);
	void *stopped_user;
};

/* ---- Life: broker.c. Main thread. ---- */

/* Opens the store, loads the model and starts the I/O threads. Takes over *config (and frees it, also on failure).
 * -EINVAL, and whatever store_open() says, with a sentence. */
int broker_new(struct broker **ret, struct broker_config *config, struct mq_loop *main_loop, struct mq_error *err) _must_check_;
/* After broker_stop() is done, or when start-up failed. Flushes and closes the store. */
struct broker *broker_free(struct broker *b);
DEFINE_CLEANUP(struct broker *, broker_free)

/* Serves the loops' connections from this listening socket, which it takes over. `is_fast`: the VIP port. */
int broker_listen(struct broker *b, int fd, bool is_fast, struct mq_error *err) _must_check_;
/* Registers with the NameServers and begins the periodic work. */
int broker_start(struct broker *b, struct mq_error *err) _must_check_;
/* Stops accepting, answers what is in flight and what waits, says goodbye to the NameServers; then calls done(). */
void broker_stop(struct broker *b, void (*done)(void *user), void *user);
/* Did every loop, the flusher, the keeper and the schedule advance since the last call? */
bool broker_is_alive(struct broker *b);
/* One line for STATUS= and the journal. */
void broker_status(struct broker *b, char *ret, size_t size);

/* ---- Loops: loops.c ---- */

int broker_loop_new(struct broker_loop **ret, struct broker *b, unsigned index, struct mq_error *err) _must_check_;
/* After broker_loop_join(). */
struct broker_loop *broker_loop_free(struct broker_loop *bl);
int broker_loop_start(struct broker_loop *bl, struct mq_error *err) _must_check_;
/* Drains the connections, then ends the thread and calls ended() (may be NULL) on the main loop. Main thread, once. */
void broker_loop_stop(struct broker_loop *bl, void (*ended)(struct broker *b));
/* Waits for the thread, after telling it to stop if nobody did. Main thread. */
void broker_loop_join(struct broker_loop *bl);
struct mq_loop *broker_loop_mq(struct broker_loop *bl);
struct hold *broker_loop_hold(struct broker_loop *bl);

/* The loop-local part, for handlers: the loop that runs the request's connection. */
struct broker_loop *broker_loop_of(struct broker *b, struct mq_conn *conn);

/* Joins the current turn of the request's loop: the op is committed at the turn's end and done(bop) runs on the same loop
 * thread, never before broker_append() returned, with op.result set. */
struct broker_op {
	struct store_op op;
	void (*done)(struct broker_op *bop);
	/* NULL: it waits for the disk as long as that takes. Else after syncFlushTimeout
	 *   - late(bop) runs once when the op is written, its places known, but the disk does not have it; done(bop) follows when it has.
	 *     The store must not be called from there;
	 *   - done(bop) runs with result -EBUSY when so much waits already that the op was not written, which it then never is. */
	void (*late)(struct broker_op *bop);
	int64_t at_ms; /* loops.c's own: monotonic, when it came */
};
void broker_append(struct broker_loop *bl, struct broker_op *bop);
/* So much waits for the disk that nothing should be added. Loop thread. */
bool broker_is_busy(const struct broker_loop *bl);

/* Runs work(arg) on a store reader thread, then done(arg) on the connection's loop. -ENOMEM. For requests that may read the disk. */
int broker_offload(struct broker *b, struct mq_conn *conn, void (*work)(void *arg), void (*done)(void *arg), void *arg) _must_check_;
/* The same on the store's thread for changes of metadata, each of which may wait for the disk. */
int broker_offload_change(struct broker *b, struct mq_conn *conn, void (*work)(void *arg), void (*done)(void *arg), void *arg) _must_check_;
/* The same of work that no request waits for: there is no done(). */
int broker_change_alone(struct broker *b, void (*work)(void *arg), void *arg) _must_check_;

/* Wakes the pulls that wait for a queue of a topic that was deleted, on their loops. Any thread; without memory they wait on, and see it
 * when their time is over. */
void broker_topic_gone(struct broker *b, struct mq_slice topic);

/* ---- Shared by handlers ---- */

/* The dispatch table, requests.c. */
void broker_dispatch_init(struct broker *b);

/* The answer to an error of the store (requests-broker.md 2.2): 14 with the store's own words in the remark when it takes nothing
 * at the moment, else 1. Consumes req, returns 0. */
int broker_reply_store(struct mq_request *req, int r);

/* What upstream appends to remarks that people read. */
#define BROKER_FAQ "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
