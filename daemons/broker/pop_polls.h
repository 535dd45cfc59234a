/* Pops and notifications that wait for a message (PopLongPollingService). They wait by group, topic and queue, a queue of -1 standing
 * for all of the topic; messages that come again to the group count as messages of the topic. A new message wakes one of those
 * that wait for the same, the one that waits longest: it takes what is there, and if something is left wakes the next.
 *
 * No message is missed: who waits notes pop_polls_seen() before it looks, and pop_polls_park() says when something came since.
 * Any thread; a poll's own functions on its loop. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "libmq/base/cleanup.h"
#include "libmq/base/slice.h"
#include "libmq/net/loop.h"
#include "storage/store.h"

struct poll_key;
struct pop_polls;

enum pop_poll_kind { POP_POLL_MESSAGE, POP_POLL_NOTIFICATION };

/* What is waited for. Slices are borrowed as long as the poll waits. */
struct pop_wish {
	enum pop_poll_kind kind;
	struct mq_slice group, topic;
	int32_t queue_id;
};

/* Embedded in what waits; the caller sets loop and post.run, which is called on that loop when it is woken. */
struct pop_poll {
	TAILQ_ENTRY(pop_poll) link;
	struct poll_key *key; /* NULL: does not wait */
	struct mq_loop *loop;
	struct mq_post post;
};

int pop_polls_new(struct pop_polls **ret) _must_check_;
/* Nobody waits. */
struct pop_polls *pop_polls_free(struct pop_polls *p);

/* What came so far, as a number that only grows. */
uint64_t pop_polls_seen(struct pop_polls *p, const struct pop_wish *wish);
enum { POP_POLLS_AGAIN = 1, POP_POLLS_FULL };
/* 0: waits. POP_POLLS_AGAIN: something came after `seen`. POP_POLLS_FULL: so many wait already (popPollingSize, maxPopPollingSize).
 * -ENOMEM. */
int pop_polls_park(struct pop_polls *p, struct pop_poll *poll, const struct pop_wish *wish, uint64_t seen, int64_t max_of_key,
		   int64_t max_of_all) _must_check_;
/* Takes it out. False: it was woken, its post is under way. */
bool pop_polls_unpark(struct pop_polls *p, struct pop_poll *poll) _must_check_;

/* store_config.on_append: wakes who waits for this queue. */
void pop_polls_grew(struct pop_polls *p, struct store_queue *q);
/* Wakes one of those that wait for the queue and one of those that wait for all queues; queue -1: only the latter. */
void pop_polls_wake(struct pop_polls *p, struct mq_slice group, struct mq_slice topic, int32_t queue_id);
/* How many pops wait. */
unsigned pop_polls_count(struct pop_polls *p, struct mq_slice group, struct mq_slice topic, int32_t queue_id);
