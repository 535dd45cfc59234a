/* Bodies of GET_CONSUMER_CONNECTION_LIST and GET_PRODUCER_CONNECTION_LIST (203, 204; reference: protocol/frame.md 5.1). */
#pragma once

#include "libmq/wire/json.h"

struct mq_connection {
	struct mq_slice address; /* "10.0.0.7:51200" */
	struct mq_slice client_id;
	unsigned language; /* enum mq_language */
	int version;
};

/* One element of connectionSet. */
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
