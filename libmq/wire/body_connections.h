/* Bodies of GET_CONSUMER_CONNECTION_LIST and GET_PRODUCER_CONNECTION_LIST (203, 204; reference: protocol/frame.md 5.1).
 *
 * An extension of ours: to a request 203 with the extField `memberSubscriptions=true` our broker answers with one more member
 * in each element of connectionSet, what this connection itself subscribes to:
 *
 *     "subscriptions":[{"expressionType":"TAG","subString":"a || b","topic":"T"}] */
#pragma once

#include "libmq/wire/json.h"

struct mq_connection {
	struct mq_slice address; /* "10.0.0.7:51200" */
	struct mq_slice client_id;
	unsigned language; /* enum mq_language */
	int version;
};

#define MQ_FIELD_MEMBER_SUBSCRIPTIONS "memberSubscriptions"
#define MQ_CONNECTION_SUBSCRIPTIONS "subscriptions"

/* The members of one element of connectionSet; the caller opens and closes the object. */
void mq_connection_write(struct mq_json_writer *w, const struct mq_connection *c);

struct mq_subscription_text {
	struct mq_slice topic, sub_string, expression_type;
	int64_t version;
	bool class_filter;
	unsigned n_tags, n_codes;
	const struct mq_slice *tags;
	const int32_t *codes;
};

/* SubscriptionData as an object. */
void mq_subscription_write(struct mq_json_writer *w, const struct mq_subscription_text *s);
