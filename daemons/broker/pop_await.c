#include "daemons/broker/pop_await.h"

#include "daemons/broker/broker.h"

enum { AWAIT_MAX_MS = 24 * 3600000 };

static struct hold *await_hold(const struct pop_await *w)
{
	return broker_loop_hold(broker_loop_of(w->broker, w->conn));
}

static void await_posted(struct pop_await *w)
{
	/* Else the hold ended while the post was under way. */
	if (w->is_held) {
		hold_unpark(await_hold(w), &w->hold);
		w->is_held = false;
		w->reason = HOLD_GREW;
	}
	w->resume(w, w->reason);
}

static void await_on_message(struct mq_post *post)
{
	struct pop_await *w = (struct pop_await *)((char *)post - offsetof(struct pop_await, poll.post));

	/* Also when its time is over by now: a message that woke it must not be forgotten. */
	if (!w->is_held && w->reason == HOLD_EXPIRED)
		w->reason = HOLD_GREW;
	await_posted(w);
}

static void await_on_lock(struct mq_post *post)
{
	await_posted((struct pop_await *)((char *)post - offsetof(struct pop_await, lock.post)));
}

static void await_on_hold(struct hold_entry *e, enum hold_reason reason)
{
	struct pop_await *w = (struct pop_await *)((char *)e - offsetof(struct pop_await, hold));
	bool is_waiting;

	w->is_held = false;
	w->reason = reason;
	is_waiting = w->is_for_lock ? pop_locks_unwait(w->broker->pop_locks, &w->lock)
				    : pop_polls_unpark(w->broker->pop_polls, &w->poll);
	if (is_waiting)
		w->resume(w, reason);
	/* Else the post comes. */
}

static void await_begin(struct pop_await *w, struct broker *b, struct mq_conn *conn, bool is_for_lock)
{
	w->broker = b;
	w->conn = conn;
	w->is_for_lock = is_for_lock;
	w->poll.loop = w->lock.loop = mq_conn_loop(conn);
	w->poll.post.run = await_on_message;
	w->lock.post.run = await_on_lock;
}

static void await_hold_until(struct pop_await *w, int64_t until_ms)
{
	w->hold.queue = NULL;
	w->hold.owner = w->conn;
	w->hold.deadline_ms = until_ms;
	w->hold.wake = await_on_hold;
	w->is_held = hold_park(await_hold(w), &w->hold);
}

int pop_await_message(struct pop_await *w, struct broker *b, struct mq_conn *conn, const struct pop_wish *wish, uint64_t seen,
		      int64_t until_ms)
{
	int r;

	await_begin(w, b, conn, false);
	r = pop_polls_park(b->pop_polls, &w->poll, wish, seen, config_get(&b->config, popPollingSize),
			   config_get(&b->config, maxPopPollingSize));
	if (r == 0)
		await_hold_until(w, until_ms);
	return r;
}

bool pop_await_lock(struct pop_await *w, struct broker *b, struct mq_conn *conn, unsigned slot)
{
	await_begin(w, b, conn, true);
	if (!pop_locks_wait(b->pop_locks, slot, &w->lock))
		return false;
	/* Whoever has it answers first; nothing else limits that. */
	await_hold_until(w, mq_loop_mono_ms(mq_conn_loop(conn)) + AWAIT_MAX_MS);
	return true;
}

int64_t pop_await_until(const struct broker *b, struct mq_conn *conn, int64_t wall_ms)
{
	int64_t left_ms;

	if (__builtin_sub_overflow(wall_ms, mq_wall_ms(b->clock), &left_ms))
		left_ms = 0; /* long ago: now is a positive number */

	return mq_loop_mono_ms(mq_conn_loop(conn)) + (left_ms < 0 ? 0 : left_ms > AWAIT_MAX_MS ? AWAIT_MAX_MS : left_ms);
}
