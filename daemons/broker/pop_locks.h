/* Who pops from a queue for a group: one at a time, on whatever loop or reader, from the look at the committed offset to the commit of
 * the next one (PopMessageProcessor.QueueLockManager). Nobody waits for a lock while holding another: who finds a queue taken goes
 * to the next queue, and only with nothing in hand waits for the one that was taken.
 *
 * A lock is a slot of a table, which queues may share: then they take turns. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "libmq/base/cleanup.h"
#include "libmq/base/slice.h"
#include "libmq/net/loop.h"

struct pop_locks;

enum { POP_LOCK_SLOTS = 1 << 16 };

int pop_locks_new(struct pop_locks **ret) _must_check_;
/* Nobody holds or waits. */
struct pop_locks *pop_locks_free(struct pop_locks *l);

/* What the group's locks on a topic have in common; costs a walk over both names. */
uint64_t pop_locks_hash(struct mq_slice group, struct mq_slice topic);
unsigned pop_locks_slot(uint64_t hash, int32_t queue_id);

bool pop_locks_try(struct pop_locks *l, unsigned slot) _must_check_;
void pop_locks_release(struct pop_locks *l, unsigned slot);

/* Embedded in what waits; the caller sets loop and post.run, which is called on that loop once the lock was let go, by somebody. */
struct pop_lock_wait {
	TAILQ_ENTRY(pop_lock_wait) link;
	struct mq_post post;
	struct mq_loop *loop;
	unsigned slot;
	bool is_waiting;
};
/* False: it is free already, try again; nothing is called. */
bool pop_locks_wait(struct pop_locks *l, unsigned slot, struct pop_lock_wait *wait) _must_check_;
/* Waits no longer. False: the post is under way. */
bool pop_locks_unwait(struct pop_locks *l, struct pop_lock_wait *wait) _must_check_;
