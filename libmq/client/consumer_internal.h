/* What the files consumer*.c know of each other; nobody else includes this. Loop thread. The life of a member:
 *
 *   route ──> heartbeat to every broker ──> rebalance: member list (38) of one broker, average share
 *                 every 30 s                  every 20 s, and when a broker says that the members changed (40)
 *   a queue gained: its offset (14, or where the group begins) ──> puller; lost: commit, stop
 *   commit of what was consumed: every 5 s and at the end */
#pragma once

#include <event2/util.h>
#include <sys/queue.h>

#include "libmq/client/consumer.h"

struct event;

struct subscription {
	struct mq_consumer *consumer;
	char *topic, *expression; /* owned */
	bool is_sql;
	int64_t version;
	bool is_retry;
	bool is_rebalancing;
	unsigned n_members;
};

/* A queue of our share. ASKING its offset ──> PULLING ──> dropped. */
struct share {
	LIST_ENTRY(share) link;
	struct mq_consumer *consumer;
	struct subscription *sub;
	char *broker; /* owned */
	int32_t queue_id;
	bool is_wanted;  /* by the rebalance that is running */
	bool is_asking;  /* a callback will come */
	bool is_dropped;
	int64_t committed;
	struct mq_puller *puller; /* owned; NULL while ASKING */
};

struct mq_consumer {
	struct mq_client *client; /* borrowed */
	struct mq_consumer_config cfg; /* texts are those below */
	const struct mq_consumer_events *events;
	void *user;
	char *group; /* owned */
	struct subscription subs[2]; /* the topic and the retry topic of the group */
	struct mq_client_watch watch;
	struct event *heartbeat, *rebalance, *commit; /* owned */
	LIST_HEAD(, share) shares;
	unsigned n_shares;
	unsigned n_pending;  /* callbacks that will come with us as their user */
	unsigned n_beats;    /* heartbeats under way; the first rebalance waits for them */
	bool has_joined;
	bool is_freed;
};

/* Fires in so many seconds. */
void mq_consumer_arm(struct event *timer, int seconds);
/* At the start of each callback, which n_pending counts: false when nobody is interested any more, and the consumer is gone. */
bool mq_consumer_resume(struct mq_consumer *k);
/* To the user's on_failure. */
void mq_consumer_report(struct mq_consumer *k, const struct mq_failure *f);
/* An answer with a code that is no success. */
void mq_consumer_report_answer(struct mq_consumer *k, const char *where, const struct mq_command *answer);

/* consumer_share.c */
/* The queue is ours, newly or still. Without memory it is not, until the next rebalance. */
void mq_share_take(struct subscription *sub, const char *broker, int32_t queue_id);
/* Commits and stops. */
void mq_share_drop(struct share *s);
/* By the cached route: it is there while the puller runs, and if not, the next commit is 5 s away. */
void mq_share_commit(struct share *s);

/* consumer_rebalance.c, consumer_beat.c: what the timers call. */
void mq_consumer_on_rebalance(evutil_socket_t fd, short what, void *user);
void mq_consumer_on_heartbeat(evutil_socket_t fd, short what, void *user);
/* Drops the queues of a subscription; those that the rebalance wants stay with `only_unwanted`. */
void mq_sub_drop(struct subscription *sub, bool only_unwanted);
