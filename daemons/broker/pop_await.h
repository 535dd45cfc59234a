/* A request that waits on the loop of its connection: for a message (pop_polls.h) or for a queue's lock (pop_locks.h), but not
 * beyond a time, the end of its connection, or the broker's (hold.h). Loop thread. */
#pragma once

#include "daemons/broker/hold.h"
#include "daemons/broker/pop_locks.h"
#include "daemons/broker/pop_polls.h"

struct broker;
struct mq_conn;

/* Embedded in what waits. The caller sets resume(), which is called once for each wait, not from within the call that begins it.
 * HOLD_GREW: what was waited for happened, though the connection may be closed by then. */
struct pop_await {
	void (*resume)(struct pop_await *w, enum hold_reason reason);

	struct broker *broker; /* borrowed */
	struct mq_conn *conn;  /* borrowed */
	bool is_for_lock, is_held;
	enum hold_reason reason; /* why the hold ended, when the post was under way already */
	struct hold_entry hold;
	struct pop_poll poll;
	struct pop_lock_wait lock;
};

/* As pop_polls_park(), with the configuration's limits; until_ms: monotonic. Slices of the wish are borrowed while it waits. */
int pop_await_message(struct pop_await *w, struct broker *b, struct mq_conn *conn, const struct pop_wish *wish, uint64_t seen,
		      int64_t until_ms) _must_check_;
/* False: the lock is free, try again. */
bool pop_await_lock(struct pop_await *w, struct broker *b, struct mq_conn *conn, unsigned slot) _must_check_;

/* The monotonic time of a wall clock time, not more than a day ahead: nobody waits longer. */
int64_t pop_await_until(const struct broker *b, struct mq_conn *conn, int64_t wall_ms);
