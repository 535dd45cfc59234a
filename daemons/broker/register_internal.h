/* What register.c and register_settle.c know of each other; nobody else includes this. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "daemons/broker/names.h"
#include "daemons/broker/register.h"
#include "libmq/net/loop.h"
#include "libmq/net/rpc.h"

struct namesrv {
	struct registrar *registrar; /* borrowed */
	struct mq_remote *remote;    /* owned */
	bool is_registered;
	bool is_registering; /* a full registration is on its way */
	bool wants_full;     /* another one when that has come back */
	bool has_warned;     /* of the failure that lasts */
	uint64_t n_sent, n_done; /* registrations */
};

/* Somebody who waits until changes are known. */
struct settle {
	struct mq_post post;       /* back to its loop */
	STAILQ_ENTRY(settle) link; /* of arriving, then of waiting */
	struct mq_timer timer;
	struct registrar *registrar; /* borrowed */
	struct mq_loop *loop;        /* borrowed */
	void (*done)(void *arg);
	void *arg;
	uint64_t targets[]; /* per NameServer: n_done that is enough */
};

STAILQ_HEAD(settles, settle);

struct registrar {
	struct broker *broker;     /* borrowed */
	unsigned n_servers;
	struct namesrv *servers;   /* owned */
	struct mq_timer timer;     /* next round */
	bool is_started, is_stopping;
	_Atomic bool is_storing_order; /* an order_news is on its way */
	char boot_id[64];
	struct settles waiting;
	unsigned n_goodbyes;       /* not yet answered */
	void (*stopped)(void *user);
	void *stopped_user;

	pthread_mutex_t lock;      /* protects the next: what other threads hand to the main loop */
	struct mq_post post;
	bool is_posted, all_changed;
	struct names changed;
	struct settles arriving;
};

/* ---- register.c ---- */

/* Lock held, which it lets go: the main loop looks at what was handed to it. */
void registrar_unlock_and_post(struct registrar *r);

/* ---- register_settle.c; main loop ---- */

/* Those that arrived begin to wait. */
void registrar_begin_arrived(struct registrar *r);
/* A call has ended: who waited for no more than that is done. */
void registrar_check_waiting(struct registrar *r);
