/* Routes: which brokers have which queues of a topic (reference: protocol/requests-namesrv.md section 4).
 * The cache asks a NameServer once per topic and 30 s; with a direct broker it asks that broker's topic
 * table instead. */
#pragma once

#include "libmq/client/client.h"

enum {
	MQ_PERM_BIT_WRITE = 2,
	MQ_PERM_BIT_READ = 4,
	MQ_ROUTE_BROKERS_MAX = 4096, /* of one topic; more is refused */
	MQ_ROUTE_QUEUES_MAX = 65536, /* of one broker and topic; more is refused */
};

struct mq_topic_broker {
	char *name;      /* owned by the route, as are the others */
	char *cluster;   /* may be NULL */
	char *address;   /* of the smallest broker id; NULL: the broker is not there */
	bool has_master; /* that id is 0. Without it the broker takes no messages: behaviour.md section 4 */
	char *local;     /* "unix:/path" when the broker runs on this machine, else NULL */
	int perm;        /* MQ_PERM_BIT_* */
	int32_t n_read, n_write; /* queues */
};

struct mq_topic_route {
	unsigned refs;
	bool is_borrowed; /* made from the template of auto-creation: the topic does not exist yet */
	int64_t fetched_at_ms; /* monotonic */
	char *topic;
	unsigned n_brokers;
	struct mq_topic_broker brokers[]; /* sorted by name */
};

struct mq_topic_route *mq_topic_route_ref(struct mq_topic_route *route);
struct mq_topic_route *mq_topic_route_unref(struct mq_topic_route *route);
DEFINE_CLEANUP(struct mq_topic_route *, mq_topic_route_unref)

/* Decodes the body of an answer to 105, in either JSON shape. `boot_id` is this machine's (may be empty): a
 * local socket is taken only from a broker with the same. -EBADMSG with a sentence, -E2BIG, -ENOMEM. */
int mq_topic_route_decode(struct mq_topic_route **ret, struct mq_slice topic, struct mq_slice body,
			  struct mq_slice boot_id, struct mq_error *err) _must_check_;

/* The hop to a broker of a route: its local socket first when it has one, then TCP. Borrows from the route. */
struct mq_hop mq_topic_route_hop(const struct mq_topic_broker *b);
const struct mq_topic_broker *mq_topic_route_find(const struct mq_topic_route *route, const char *broker_name);

enum mq_find_use {
	MQ_FIND_AS_IS,	 /* an unknown topic is a failure, -ENOENT */
	MQ_FIND_TO_SEND, /* it gets the route of TBW102 with at most 4 queues, as in Java producers */
};

/* f NULL: `route` is there; take a reference to keep it. */
typedef void (*mq_find_route_done)(const struct mq_failure *f, struct mq_topic_route *route, void *user);

/* From the cache while it is younger than 30 s. `done` may be called before this returns. -ENOMEM: it is
 * not called. */
int mq_client_find_route(struct mq_client *c, const char *topic, enum mq_find_use use,
			 mq_find_route_done done, void *user) _must_check_;
/* What the cache has, however old, or NULL. Borrowed until the loop turns or anything here is called. */
struct mq_topic_route *mq_client_cached_route(struct mq_client *c, const char *topic);
/* The route is asked for anew next time: after a broker answered that it does not have the topic, or was
 * gone. */
void mq_client_forget_route(struct mq_client *c, const char *topic);
/* Blocking. A new reference in *ret. */
int mq_client_route(struct mq_client *c, const char *topic, enum mq_find_use use, struct mq_topic_route **ret,
		    struct mq_failure *f) _must_check_;
