/* The broker: everything its handlers share. One per process, made by main.c, lives until exit.
 * Threads: handlers run on the I/O loop of their connection. The model (topics, groups, clients, locks, stats) is shared and
 * each module has its own lock, never held while calling another module. hold.c and turns belong to one loop each. */
#pragma once

#include "daemons/broker/config.h"
#include "libmq/net/loop.h"
#include "libmq/net/request.h"
#include "storage/store.h"

enum { BROKER_LOOPS_MAX = 16 };

struct broker_loop; /* broker.c: one I/O loop with its thread, turn and held pulls */

struct broker {
	struct broker_config config;       /* live keys change under config_lock; read them through config_*() */
	const struct mq_clock *clock;
	struct store *store;               /* owned */
	struct topics *topics;             /* owned, as are the next */
	struct groups *groups;
	struct clients *clients;
	struct locks *locks;
	struct stats *stats;
	struct registrar *registrar;       /* register.c: NameServers, main loop */
	struct mq_loop *main_loop;         /* signals, registration, periodic work */
	struct broker_loop *loops[BROKER_LOOPS_MAX];
	unsigned n_loops;
	struct mq_dispatch dispatch;
	struct mq_host store_host;         /* brokerIP1:listenPort: goes into records and message ids */
	char address[MQ_HOST_TEXT_MAX];    /* the same as text */
	int64_t started_at_ms;
};

/* The loop-local part, for handlers: the loop that runs the request's connection. */
struct broker_loop *broker_loop_of(struct broker *b, struct mq_conn *conn);

/* Joins the current turn of the request's loop: the op is committed at the turn's end and op->user's completion runs on the
 * same loop thread: done(op) with op->result set. */
struct broker_op {
	struct store_op op;
	void (*done)(struct broker_op *bop);
};
void broker_append(struct broker_loop *bl, struct broker_op *bop, size_t bytes);

/* Runs work(arg) on a store reader thread, then done(arg) on the connection's loop. -ENOMEM. For requests that may read the disk. */
int broker_offload(struct broker *b, struct mq_conn *conn, void (*work)(void *arg), void (*done)(void *arg), void *arg) _must_check_;

/* Text that goes with an error of the store (codes 14 and 1; requests-broker.md 2.2): chooses the response code for `r`. */
int broker_store_code(int r);
