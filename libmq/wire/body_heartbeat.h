/* HEART_BEAT bodies (HeartbeatData; reference: protocol/frame.md 5.1) and the subscription data in them.
 * Tolerant as fastjson is: enums by name or ordinal, numbers as strings. Slices and nodes borrow from the document. */
#pragma once

#include "libmq/wire/json.h"

/* In upstream's order: C++ clients send the ordinals. */
enum mq_consume_type { MQ_CONSUME_ACTIVELY, MQ_CONSUME_PASSIVELY, MQ_CONSUME_POP };
enum mq_message_model { MQ_BROADCASTING, MQ_CLUSTERING };
enum { MQ_CONSUME_FROM_N = 6 }; /* ConsumeFromWhere, named by mq_consume_from_name() */

enum {
	MQ_HEARTBEAT_BYTES_MAX = 4 << 20,      /* of a body: it is parsed on the thread that serves others, too */
	MQ_HEARTBEAT_GROUPS_MAX = 4096,        /* producers, and consumers, of one heartbeat */
	MQ_HEARTBEAT_SUBSCRIPTIONS_MAX = 4096, /* of one consumer */
	MQ_SUBSCRIPTION_TAGS_MAX = 4096,
};

struct mq_heartbeat {
	struct mq_slice client_id;
	int32_t fingerprint; /* 0: the first version of the protocol */
	bool without_subscriptions;
	const struct mq_json_node *consumers, *producers; /* arrays or NULL */
};

struct mq_heartbeat_consumer {
	struct mq_slice group;
	enum mq_consume_type type;
	enum mq_message_model model;
	int from; /* ordinal of ConsumeFromWhere */
	bool unit_mode;
	const struct mq_json_node *subscriptions; /* array or NULL */
};

struct mq_subscription {
	struct mq_slice topic, sub_string;
	struct mq_slice expression_type; /* never empty: TAG when absent */
	int64_t version;
	bool class_filter;
	const struct mq_json_node *tags, *codes; /* arrays or NULL */
};

/* -EBADMSG with a sentence: no clientID, or more groups than allowed. */
int mq_heartbeat_read(const struct mq_json *doc, struct mq_heartbeat *ret, struct mq_error *err) _must_check_;
/* -EBADMSG: no group name, or more subscriptions than allowed. */
int mq_heartbeat_consumer_read(const struct mq_json_node *node, struct mq_heartbeat_consumer *ret,
			       struct mq_error *err) _must_check_;
/* Name of one producer group; p NULL when it has none. */
struct mq_slice mq_heartbeat_producer_read(const struct mq_json_node *node);
/* -EBADMSG: no topic, or more tags than allowed. */
int mq_subscription_read(const struct mq_json_node *node, struct mq_subscription *ret, struct mq_error *err) _must_check_;

/* Tags of a TAG expression "a || b". Takes the next off *rest; false at the end. Blanks around are cut, empty ones
 * skipped. */
bool mq_tags_next(struct mq_slice *rest, struct mq_slice *ret);
/* True when the expression lets everything through: empty or "*". */
bool mq_tags_match_all(struct mq_slice sub_string);

const char *mq_consume_type_name(enum mq_consume_type type);
const char *mq_message_model_name(enum mq_message_model model);
const char *mq_consume_from_name(int from);
