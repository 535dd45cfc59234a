/* Stretches of queues, read ahead for consumers that go through a backlog: a reader brings a few hundred records into one piece of
 * memory, with their tags beside them, and the pulls that follow are answered from there on their loop. A hand-off to a reader and
 * an iterator then cost something once a stretch instead of once a pull.
 *
 * What is stored never changes, so a stretch stays true as long as somebody has it. Whether its records may still be seen is the
 * queue's to say: who reads compares with store_queue_min() and store_queue_max() first, as with any other way of reading. A topic
 * that was deleted and made again has other queues.
 *
 * Memory: all stretches together take at most what ahead_new() was told. Each new one gets an eighth of what is free, so that many
 * readers get shorter ones before the last gets none. Any thread. */
#pragma once

#include "daemons/broker/broker.h"

struct ahead;
struct stretch;

int ahead_new(struct ahead **ret, struct broker *b, size_t max_bytes) _must_check_;
/* Nothing is being fetched any more. */
struct ahead *ahead_free(struct ahead *a);

/* The stretch that has this offset of the queue: a reference. NULL: none has. */
struct stretch *ahead_find(struct ahead *a, struct store_queue *q, int64_t offset, int64_t now_ms);
struct stretch *stretch_unref(struct stretch *s);

/* store_scan() from `from`, which the stretch has, to its end. Records lie one behind the other and stay as long as the reference.
 * Returns where to go on. */
int64_t stretch_scan(const struct stretch *s, int64_t from, store_on_record on_record, void *user);

/* Who waits for a stretch. Embedded in what waits; the caller sets loop and post.run, which is called on that loop. */
struct ahead_wait {
	STAILQ_ENTRY(ahead_wait) link;
	struct mq_post post;
	struct mq_loop *loop;
};

/* Has a reader bring the stretch that begins at `from`; `wait` (may be NULL) hears when it is there, or could not be read. False:
 * there is no memory for it, or it is there; nobody hears anything then. */
bool ahead_fetch(struct ahead *a, struct store_queue *q, int64_t from, struct ahead_wait *wait, int64_t now_ms);
/* Somebody goes on at `next`, behind the middle of the stretch: what follows is fetched while he reads the rest. At its end the
 * stretch has done its service. */
void ahead_passed(struct ahead *a, struct stretch *s, int64_t next, int64_t now_ms);
/* Lets go of what nobody has read for some seconds. */
void ahead_expire(struct ahead *a, int64_t now_ms);
/* Bytes that stretches take now. */
size_t ahead_bytes(const struct ahead *a);
