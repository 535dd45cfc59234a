/* Why no wake-up is lost.
 *
 *   commit                                      puller (its loop's thread)
 *   C1  publish the queue's maximum             P1  set its loop's bit in waiting[slot]     (read-modify-write)
 *   C2  read waiting[slot] (read-modify-write)  P2  read the maximum, wake up at once when it passed the offset
 *
 * C2 and P1 are read-modify-writes of the same word, so one comes first in the word's modification order. If it is P1, C2 sees
 * the bit and wakes the loop. If it is C2, P1 reads what C2 or a later read-modify-write left behind and thereby synchronises
 * with it, so C1 happens before P2 and P2 sees the new maximum. A bit is cleared by its own loop only, when it holds nothing in
 * the slot any more.
 *
 * The wake itself: hold_notify() marks the slot dirty, then posts unless `is_posted` was set. The loop clears `is_posted`
 * before it collects the dirty slots, so a mark is either collected or comes with a post of its own. However many queues a
 * commit touched and however many commits happened, one post is under way per loop. */
#include "daemons/broker/hold.h"

#include <errno.h>
#include <stdlib.h>

enum {
	HOLD_WORD_BITS = 64,
	HOLD_DIRTY_WORDS = HOLD_SLOTS / HOLD_WORD_BITS,
	HOLD_TICK_MS = 100, /* one slot of the wheel, served when it is over: so late may a deadline be noticed */
	HOLD_WHEEL = 512,   /* slots: 51.2 s a turn, later deadlines go round again */
	HOLD_OWNERS = 1024, /* buckets of connections */
};

LIST_HEAD(hold_list, hold_entry);

struct hold {
	struct hold_table *table; /* borrowed */
	unsigned index;
	struct mq_loop *loop; /* borrowed */
	/* For the next slot with something in it, else at INT64_MAX: always set, so that moving it cannot fail. */
	struct mq_timer tick;
	int64_t ticked; /* number of the last tick that was served */
	unsigned n;
	struct hold_list slots[HOLD_SLOTS], wheel[HOLD_WHEEL], owners[HOLD_OWNERS];
	struct hold_list timed; /* those without a queue, in place of a slot */

	/* Any thread: pair in hold_notify() and hold_on_post(). */
	_Atomic uint64_t dirty[HOLD_DIRTY_WORDS];
	_Atomic bool is_posted;
	struct mq_post post;
};

/* Fibonacci hashing of an address: the low bits of pointers say little. */
static unsigned hold_hash(const void *p, unsigned n_buckets)
{
	return (unsigned)(((uint64_t)(uintptr_t)p * 0x9e3779b97f4a7c15u) >> 40) % n_buckets;
}

void hold_notify(struct hold_table *t, const struct store_queue *q)
{
	unsigned slot = hold_hash(q, HOLD_SLOTS);
	uint32_t loops = atomic_fetch_or(&t->waiting[slot], 0); /* C2 */

	for (unsigned i = 0; loops; i++, loops >>= 1) {
		struct hold *h = t->holds[i];

		if (!(loops & 1))
			continue;
		atomic_fetch_or(&h->dirty[slot / HOLD_WORD_BITS], (uint64_t)1 << slot % HOLD_WORD_BITS);
		if (!atomic_exchange(&h->is_posted, true))
			mq_loop_post(h->loop, &h->post);
	}
}

static void hold_unlink(struct hold *h, struct hold_entry *e)
{
	LIST_REMOVE(e, in_slot);
	LIST_REMOVE(e, in_wheel);
	LIST_REMOVE(e, in_owner);
	h->n--;
	if (e->queue) {
		unsigned slot = hold_hash(e->queue, HOLD_SLOTS);

		if (LIST_EMPTY(&h->slots[slot]))
			atomic_fetch_and(&h->table->waiting[slot], ~((uint32_t)1 << h->index));
	}
}

static int64_t hold_now_tick(struct hold *h)
{
	return mq_loop_mono_ms(h->loop) / HOLD_TICK_MS;
}

/* Without fail when it was set before. */
static int hold_set_timer(struct hold *h, int64_t at_ms)
{
	return mq_timer_set(h->loop, &h->tick, at_ms);
}

/* At the end of tick number `tick`. */
static void hold_serve_at(struct hold *h, int64_t tick)
{
	(void)hold_set_timer(h, (tick + 1) * HOLD_TICK_MS);
}

static void hold_serve_next(struct hold *h)
{
	for (int64_t tick = h->ticked + 1; h->n > 0 && tick <= h->ticked + HOLD_WHEEL; tick++) {
		if (!LIST_EMPTY(&h->wheel[tick % HOLD_WHEEL])) {
			hold_serve_at(h, tick);
			return;
		}
	}
	(void)hold_set_timer(h, INT64_MAX);
}

bool hold_park(struct hold *h, struct hold_entry *e)
{
	int64_t tick = e->deadline_ms / HOLD_TICK_MS;
	unsigned slot;

	if (h->n++ == 0)
		h->ticked = hold_now_tick(h) - 1;
	if (tick <= h->ticked) /* over already: not a whole turn of the wheel later */
		tick = h->ticked + 1;
	if ((tick + 1) * HOLD_TICK_MS < h->tick.at_ms)
		hold_serve_at(h, tick);
	LIST_INSERT_HEAD(&h->wheel[tick % HOLD_WHEEL], e, in_wheel);
	LIST_INSERT_HEAD(&h->owners[hold_hash(e->owner, HOLD_OWNERS)], e, in_owner);
	if (!e->queue) {
		LIST_INSERT_HEAD(&h->timed, e, in_slot);
		return true;
	}
	slot = hold_hash(e->queue, HOLD_SLOTS);
	LIST_INSERT_HEAD(&h->slots[slot], e, in_slot);
	atomic_fetch_or(&h->table->waiting[slot], (uint32_t)1 << h->index); /* P1 */

	if (store_queue_max(e->queue) <= e->offset) /* P2 */
		return true;
	hold_unlink(h, e);
	return false;
}

void hold_unpark(struct hold *h, struct hold_entry *e)
{
	hold_unlink(h, e);
}

/* Takes an entry out and remembers why. Waking comes after the walk, because wake() may park, and close connections. */
static void hold_collect(struct hold *h, struct hold_list *due, struct hold_entry *e, enum hold_reason reason)
{
	hold_unlink(h, e);
	e->reason = reason;
	LIST_INSERT_HEAD(due, e, in_slot);
}

static void hold_wake(struct hold_list *due)
{
	struct hold_entry *e;

	while ((e = LIST_FIRST(due))) {
		LIST_REMOVE(e, in_slot);
		e->wake(e, e->reason);
	}
}

static void hold_collect_grown(struct hold *h, struct hold_list *due, unsigned slot)
{
	struct hold_entry *e, *next;

	for (e = LIST_FIRST(&h->slots[slot]); e; e = next) {
		next = LIST_NEXT(e, in_slot);
		if (store_queue_max(e->queue) > e->offset)
			hold_collect(h, due, e, HOLD_GREW);
	}
}

static void hold_on_post(struct mq_post *post)
{
	struct hold *h = (struct hold *)((char *)post - offsetof(struct hold, post));
	struct hold_list due = LIST_HEAD_INITIALIZER(due);

	atomic_store(&h->is_posted, false);
	for (unsigned word = 0; word < HOLD_DIRTY_WORDS; word++) {
		uint64_t bits = atomic_load(&h->dirty[word]) ? atomic_exchange(&h->dirty[word], 0) : 0;

		for (; bits; bits &= bits - 1)
			hold_collect_grown(h, &due, word * HOLD_WORD_BITS + (unsigned)__builtin_ctzll(bits));
	}
	hold_wake(&due);
}

static void hold_on_tick(struct mq_timer *timer)
{
	struct hold *h = (struct hold *)((char *)timer - offsetof(struct hold, tick));
	struct hold_list due = LIST_HEAD_INITIALIZER(due);
	struct hold_entry *e, *next;
	int64_t now_ms = mq_loop_mono_ms(h->loop), last = now_ms / HOLD_TICK_MS - 1;
	int64_t first = h->ticked >= last - HOLD_WHEEL ? h->ticked + 1 : last - HOLD_WHEEL + 1;

	for (int64_t tick = first; tick <= last; tick++) {
		for (e = LIST_FIRST(&h->wheel[tick % HOLD_WHEEL]); e; e = next) {
			next = LIST_NEXT(e, in_wheel);
			if (e->deadline_ms <= now_ms)
				hold_collect(h, &due, e, HOLD_EXPIRED);
		}
	}
	h->ticked = last;
	hold_serve_next(h);
	hold_wake(&due);
}

void hold_closed(struct hold *h, const void *owner)
{
	struct hold_list due = LIST_HEAD_INITIALIZER(due);
	struct hold_entry *e, *next;

	for (e = LIST_FIRST(&h->owners[hold_hash(owner, HOLD_OWNERS)]); e; e = next) {
		next = LIST_NEXT(e, in_owner);
		if (e->owner == owner)
			hold_collect(h, &due, e, HOLD_CLOSED);
	}
	hold_wake(&due);
}

void hold_wake_all(struct hold *h)
{
	struct hold_list due = LIST_HEAD_INITIALIZER(due);

	for (unsigned i = 0; i < HOLD_SLOTS; i++)
		while (!LIST_EMPTY(&h->slots[i]))
			hold_collect(h, &due, LIST_FIRST(&h->slots[i]), HOLD_STOPPED);
	while (!LIST_EMPTY(&h->timed))
		hold_collect(h, &due, LIST_FIRST(&h->timed), HOLD_STOPPED);
	hold_wake(&due);
}

void hold_wake_topic(struct hold *h, struct mq_slice topic)
{
	struct hold_list due = LIST_HEAD_INITIALIZER(due);
	struct hold_entry *e, *next;

	for (unsigned i = 0; i < HOLD_SLOTS; i++) {
		for (e = LIST_FIRST(&h->slots[i]); e; e = next) {
			next = LIST_NEXT(e, in_slot);
			if (mq_slice_equal(store_queue_topic(e->queue), topic))
				hold_collect(h, &due, e, HOLD_GREW);
		}
	}
	hold_wake(&due);
}

unsigned hold_count(const struct hold *h)
{
	return h->n;
}

int hold_new(struct hold **ret, struct hold_table *t, unsigned index, struct mq_loop *loop)
{
	struct hold *h = calloc(1, sizeof *h);

	if (!h)
		return -ENOMEM;
	h->table = t;
	h->index = index;
	h->loop = loop;
	h->post.run = hold_on_post;
	h->tick.fire = hold_on_tick;
	if (hold_set_timer(h, INT64_MAX) < 0) {
		free(h);
		return -ENOMEM;
	}
	t->holds[index] = h;
	*ret = h;
	return 0;
}

struct hold *hold_free(struct hold *h)
{
	if (!h)
		return NULL;
	h->table->holds[h->index] = NULL;
	mq_timer_clear(h->loop, &h->tick);
	free(h);
	return NULL;
}
