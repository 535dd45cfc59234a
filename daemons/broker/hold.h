/* Pulls that wait for a message (PullRequestHoldService; behaviour.md section 11).
 * A held pull belongs to the loop of its connection. The commit publishes a queue's new maximum, then looks for waiters;
 * a puller registers as waiter, then looks at the maximum again: no wake-up is lost (the argument is in hold.c).
 * Nothing here allocates after hold_new(), and waiting costs no timer of its own. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "libmq/base/error.h"
#include "libmq/net/loop.h"
#include "storage/store.h"

struct hold;

enum {
	HOLD_SLOTS = 1024,    /* queues share slots: a neighbour's message costs a glance, nothing else */
	HOLD_LOOPS_MAX = 32,
};

/* Shared by all loops. */
struct hold_table {
	_Atomic uint32_t waiting[HOLD_SLOTS]; /* bit i: loop i holds something in this slot */
	struct hold *holds[HOLD_LOOPS_MAX];   /* filled before the first notification */
};

/* store_config.on_append calls this on the committing thread after the new maximum was published. */
void hold_notify(struct hold_table *t, const struct store_queue *q);

/* One per loop; `index` is its place in the table. */
int hold_new(struct hold **ret, struct hold_table *t, unsigned index, struct mq_loop *loop) _must_check_;
struct hold *hold_free(struct hold *h);

enum hold_reason {
	HOLD_GREW,    /* the queue's maximum passed entry->offset */
	HOLD_EXPIRED, /* entry->deadline_ms is over */
	HOLD_STOPPED, /* hold_wake_all() */
	HOLD_CLOSED,  /* hold_closed(): nobody waits for the answer */
};

/* Embedded in what waits. The caller sets the second half before hold_park(). */
struct hold_entry {
	LIST_ENTRY(hold_entry) in_slot, in_wheel, in_owner;
	enum hold_reason reason;

	struct store_queue *queue; /* NULL: only for its time; whoever can wake it otherwise calls hold_unpark() */
	const void *owner;   /* the connection */
	int64_t offset;      /* first offset that is wanted */
	int64_t deadline_ms; /* monotonic */
	/* Exactly once per successful hold_park(), on the loop, not from within hold_park(). The entry is free to go or to be parked again. */
	void (*wake)(struct hold_entry *e, enum hold_reason reason);
};

/* The rest: loop thread. */

/* False when the queue is beyond e->offset already: nothing was parked, look again. */
bool hold_park(struct hold *h, struct hold_entry *e) _must_check_;
/* Takes it out again: wake() is not called. */
void hold_unpark(struct hold *h, struct hold_entry *e);
void hold_closed(struct hold *h, const void *owner);
void hold_wake_all(struct hold *h);
/* The topic is gone: who waits for one of its queues looks again (HOLD_GREW). Its queues never grow again, and one of the same name
 * that is made later is another queue. */
void hold_wake_topic(struct hold *h, struct mq_slice topic);
unsigned hold_count(const struct hold *h);
