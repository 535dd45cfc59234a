/* No release is missed: who waits is counted (W1), then looks at the lock again (W2); who lets go opens the lock (R1), then looks at
 * the count (R2). All four are sequentially consistent, so either W2 sees R1 or R2 sees W1. */
#include "daemons/broker/pop_locks.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

TAILQ_HEAD(pop_lock_waits, pop_lock_wait);

struct pop_locks {
	_Atomic bool taken[POP_LOCK_SLOTS];
	_Atomic unsigned n_waits; /* length of waits; read without the lock by who lets go */
	pthread_mutex_t lock;     /* protects the next */
	struct pop_lock_waits waits;
};

int pop_locks_new(struct pop_locks **ret)
{
	struct pop_locks *l = calloc(1, sizeof *l);

	if (!l)
		return -ENOMEM;
	pthread_mutex_init(&l->lock, NULL);
	TAILQ_INIT(&l->waits);
	*ret = l;
	return 0;
}

struct pop_locks *pop_locks_free(struct pop_locks *l)
{
	if (!l)
		return NULL;
	pthread_mutex_destroy(&l->lock);
	free(l);
	return NULL;
}

static uint64_t locks_mix(uint64_t hash, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		hash = (hash ^ (uint8_t)p[i]) * 0x100000001b3; /* FNV-1a */
	return hash;
}

uint64_t pop_locks_hash(struct mq_slice group, struct mq_slice topic)
{
	uint64_t hash = locks_mix(0xcbf29ce484222325, group.p, group.n);

	return locks_mix(locks_mix(hash, "", 1), topic.p, topic.n);
}

unsigned pop_locks_slot(uint64_t hash, int32_t queue_id)
{
	/* Neighbouring queues of a topic never share. */
	return (unsigned)((hash >> 32) + (uint32_t)queue_id) % POP_LOCK_SLOTS;
}

bool pop_locks_try(struct pop_locks *l, unsigned slot)
{
	return !atomic_exchange(&l->taken[slot], true);
}

/* Lock held. */
static void locks_remove(struct pop_locks *l, struct pop_lock_wait *w)
{
	TAILQ_REMOVE(&l->waits, w, link);
	w->is_waiting = false;
	atomic_fetch_sub(&l->n_waits, 1);
}

void pop_locks_release(struct pop_locks *l, unsigned slot)
{
	struct pop_lock_wait *w, *next;

	atomic_store(&l->taken[slot], false);	/* R1 */
	if (atomic_load(&l->n_waits) == 0)	/* R2 */
		return;
	pthread_mutex_lock(&l->lock);
	for (w = TAILQ_FIRST(&l->waits); w; w = next) {
		next = TAILQ_NEXT(w, link);
		if (w->slot != slot)
			continue;
		locks_remove(l, w);
		mq_loop_post(w->loop, &w->post);
	}
	pthread_mutex_unlock(&l->lock);
}

bool pop_locks_wait(struct pop_locks *l, unsigned slot, struct pop_lock_wait *wait)
{
	bool is_taken;

	pthread_mutex_lock(&l->lock);
	atomic_fetch_add(&l->n_waits, 1);	   /* W1 */
	is_taken = atomic_load(&l->taken[slot]); /* W2 */
	if (is_taken) {
		wait->slot = slot;
		wait->is_waiting = true;
		TAILQ_INSERT_TAIL(&l->waits, wait, link);
	} else {
		atomic_fetch_sub(&l->n_waits, 1);
	}
	pthread_mutex_unlock(&l->lock);
	return is_taken;
}

bool pop_locks_unwait(struct pop_locks *l, struct pop_lock_wait *wait)
{
	bool is_waiting;

	pthread_mutex_lock(&l->lock);
	is_waiting = wait->is_waiting;
	if (is_waiting)
		locks_remove(l, wait);
	pthread_mutex_unlock(&l->lock);
	return is_waiting;
}
