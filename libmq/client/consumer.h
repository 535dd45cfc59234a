/* A member of a consumer group in clustering mode (reference: protocol/requests-broker.md section 4,
 * behaviour.md sections 9 to 12): heartbeats, shares the queues of the topic with the other members, pulls,
 * commits. Messages that were given to on_batch count as consumed. The retry topic of the group is
 * consumed along with the topic, as every member must. Loop thread only. */
#pragma once

#include "libmq/client/pull.h"

struct mq_consumer;

enum mq_consume_from { MQ_FROM_LAST, MQ_FROM_FIRST, MQ_FROM_TIME };

struct mq_consumer_config {
	const char *group, *topic;
	const char *expression;         /* tags; NULL: everything */
	bool is_sql;                    /* it is SQL92 */
	enum mq_consume_from from;      /* where the group starts when it has no offset yet */
	int64_t from_ms;                /* for MQ_FROM_TIME, wall clock */
};

struct mq_consumer_events {
	/* A pull of an owned queue was answered. A negative value stops that queue; see
	 * mq_puller_seek() for a part. */
	int (*on_batch)(struct mq_puller *p, const struct mq_pull_batch *batch, void *user);
	/* The share changed: now `n_queues` of all topics. May be NULL. */
	void (*on_assigned)(unsigned n_queues, unsigned n_members, void *user);
	/* Something failed; it is tried again by itself. May be NULL. */
	void (*on_failure)(const struct mq_failure *f, void *user);
};

int mq_consumer_new(struct mq_consumer **ret, struct mq_client *c, const struct mq_consumer_config *cfg,
		    const struct mq_consumer_events *events, void *user) _must_check_;
/* Blocking: commits offsets and leaves the group, at most for the client's timeout. Not from callbacks. */
struct mq_consumer *mq_consumer_free(struct mq_consumer *consumer);
DEFINE_CLEANUP(struct mq_consumer *, mq_consumer_free)
