/* Who is connected: producers and consumers by group (ProducerManager, ConsumerManager; behaviour.md section 9).
 * Any thread. Channels are connections; a closed one leaves all its groups (clients_closed). */
#pragma once

#include "libmq/base/error.h"
#include "libmq/base/slice.h"
#include "libmq/net/conn.h"

struct broker;
struct clients;
struct evbuffer;
struct filter_sql;
struct mq_request;
struct names;

enum consume_type { CONSUME_ACTIVELY, CONSUME_PASSIVELY, CONSUME_POP };
enum message_model { BROADCASTING, CLUSTERING };

int clients_new(struct clients **ret, struct broker *b) _must_check_;
struct clients *clients_free(struct clients *c);

struct heartbeat_result {
	bool sub_changed;   /* IS_SUB_CHANGE */
	char refusal[1000]; /* of -EPERM: who, why, and what to do */
};

/* HEART_BEAT: registers what the body says for the connection; pushes NOTIFY_CONSUMER_IDS_CHANGED (40) to every member
 * of a group that changed, the caller's connection included and before its answer. Logs, once, when members of a group begin
 * to differ in what they subscribe to; with strictSubscription refuses the one that differs: -EPERM, when everything else in
 * the heartbeat is done. -EBADMSG, and -ENOBUFS over a bound, with a sentence. The connection's thread.
 *
 * Groups and their retry topics that are not there are made by clients_prepare(): -EAGAIN when that is wanted first, and nothing is
 * done. After it say `is_prepared`: a group that is not there then is passed over, as one that may not be made. */
int clients_heartbeat(struct clients *c, struct mq_conn *conn, const struct mq_command *cmd, bool is_prepared,
		      struct heartbeat_result *ret, struct mq_error *err) _must_check_;
/* Makes what a heartbeat needs, which may wait for the disk. 0, also when something may not be made; -EBADMSG, of which clients_heartbeat()
 * tells more; errors of the store. Any thread. */
int clients_prepare(struct clients *c, const struct mq_command *cmd) _must_check_;
/* UNREGISTER_CLIENT. Empty slices: not in that role. */
void clients_unregister(struct clients *c, struct mq_conn *conn, struct mq_slice producer_group, struct mq_slice consumer_group);
/* The connection is gone. Its loop's thread. */
void clients_closed(struct clients *c, struct mq_conn *conn);
/* Closes channels without a heartbeat for channelExpiredTimeout (120 s). Any thread; called every 10 s. */
void clients_expire(struct clients *c);

/* What a pull needs to know of its group's subscription to a topic. */
enum subscription_state { SUBSCRIPTION_OK, SUBSCRIPTION_NO_GROUP, SUBSCRIPTION_NONE };
struct subscription {
	enum message_model model;
	int64_t version;        /* subVersion */
	bool is_tag;            /* expressionType TAG (or none) */
	struct filter_sql *sql; /* ref, the caller's; NULL: not SQL92, or it does not compile */
	bool matches_all;       /* "*" or empty */
	unsigned n_codes;
	int32_t codes[64];      /* Java hashes of the tags */
	bool has_more_codes;    /* than fit: filtering is left to the client */
};
enum subscription_state clients_subscription(struct clients *c, struct mq_slice group, struct mq_slice topic,
					     struct subscription *ret);

/* A live producer channel of the group, round robin, with a reference; NULL. */
struct mq_conn *clients_producer(struct clients *c, struct mq_slice group);
/* The channel on which the client of this id was last heard as a producer, with a reference; NULL. */
struct mq_conn *clients_of_producer_id(struct clients *c, struct mq_slice client_id);

/* The connections of a consumer group: *ret is an array that the caller frees, with a reference to each. -ENOENT: nobody; -ENOMEM. */
int clients_consumers(struct clients *c, struct mq_slice group, struct mq_conn ***ret, unsigned *ret_n) _must_check_;

/* Calls each() for every consumer group that subscribes to the topic, lock held: copy and leave. */
void clients_groups_of(struct clients *c, struct mq_slice topic, void (*each)(void *user, struct mq_slice group),
		       void *user);

/* The client ids of a consumer group. -ENOENT: nobody; -ENOMEM. */
int clients_ids(struct clients *c, struct mq_slice group, struct names *ret) _must_check_;

/* Bodies of 38, 203 and 204. -ENOENT: nobody is in the group; -ENOMEM. `with_sets`: what each member subscribes to, too. */
int clients_encode_ids(struct clients *c, struct mq_slice group, struct evbuffer *out) _must_check_;
int clients_encode_consumers(struct clients *c, struct mq_slice group, bool with_sets, struct evbuffer *out) _must_check_;
int clients_encode_producers(struct clients *c, struct mq_slice group, struct evbuffer *out) _must_check_;
