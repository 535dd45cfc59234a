/* What the files routes*.c know of each other; nobody else includes this. What a function takes as a slice it copies. */
#pragma once

#include "daemons/namesrv/routes.h"

/* *member becomes a copy of `text`, NULL when that is absent or empty. -ENOMEM: unchanged. */
int route_set_optional(char **member, struct mq_slice text) _must_check_;
/* Names become keys and lines of text: neither empty, nor without end, nor with control characters inside. -EINVAL with a
 * sentence that calls it `what`. */
int route_check_name(struct mq_slice name, const char *what, bool is_required, struct mq_error *err) _must_check_;

bool route_cluster_has(const struct routes *r, struct mq_slice name, struct mq_slice broker);
/* Adds the broker name to the cluster, which is made when it is not there. -ENOMEM. */
int route_clusters_add(struct routes *r, struct mq_slice name, struct mq_slice broker) _must_check_;
/* Out of all clusters; a cluster goes with its last broker. */
void route_clusters_remove(struct routes *r, const char *broker);

/* The broker's entry, or NULL. */
struct route_queue *route_topic_queue(struct route_topic *t, struct mq_slice broker);
/* Inserts or replaces the entry of `broker`; the topic is made when it is not there. -ENOSPC at ROUTES_QUEUES_MAX, -ENOMEM. */
int route_topic_put(struct routes *r, struct mq_slice name, struct mq_slice broker, const struct route_queue *values) _must_check_;
/* Removes the broker's entry; the topic goes with its last entry. */
void route_topic_drop(struct routes *r, struct route_topic *t, struct mq_slice broker);
/* A broker name is gone: none of its topics is served there any more. */
void route_topics_drop_broker(struct routes *r, struct mq_slice broker);
void route_topic_free(struct routes *r, struct route_topic *t);

/* In the table, without an address yet. NULL: out of memory. */
struct route_broker *route_broker_new(struct routes *r, struct mq_slice name, struct mq_slice cluster);
void route_broker_free(struct routes *r, struct route_broker *b);
/* Puts id -> address, sorted by id. *ret_is_new: the id had no address. -ENOMEM. */
int route_broker_put(struct routes *r, struct route_broker *b, const struct route_registration *reg, bool *ret_is_new) _must_check_;
/* The i-th of them. */
void route_broker_remove_address(struct routes *r, struct route_broker *b, unsigned i);

/* NULL: there is none. */
struct route_live *route_live_find(const struct routes *r, struct mq_slice cluster, struct mq_slice address);
/* Into its key. */
struct mq_slice route_live_cluster(const struct route_live *l);
/* The registration is the last that was heard of (cluster, address). -ENOMEM. */
int route_live_put(struct routes *r, const struct route_registration *reg) _must_check_;
void route_live_free(struct routes *r, struct route_live *l);
