/* Subscription groups as JSON (SubscriptionGroupConfig; codes 200, 201, 352; reference: protocol/frame.md 5.1).
 * Slices and nodes borrow from the document. */
#pragma once

#include "libmq/wire/json.h"

#define MQ_GROUP_RETRY_POLICY "{\"type\":\"CUSTOMIZED\"}"

struct mq_group_config {
	struct mq_slice name; /* p NULL when absent */
	bool consume_enable, consume_from_min_enable, consume_broadcast_enable, consume_orderly, notify_ids_changed;
	int32_t retry_queues, retry_max_times, broker_id, which_broker_when_slow, sys_flag, consume_timeout_minutes;
	struct mq_slice attributes;   /* "key=value,key=value"; may be empty */
	struct mq_slice retry_policy; /* JSON text; empty: MQ_GROUP_RETRY_POLICY */
};

/* Upstream's defaults, which absent members take. */
void mq_group_config_init(struct mq_group_config *c);
void mq_group_config_write(struct mq_json_writer *w, const struct mq_group_config *c);

enum { MQ_GROUP_TEXT_MAX = 4096 }; /* bytes of attributes and retry policy together */

/* Attributes and retry policy are written as text into `text`, which the result borrows.
 * -EBADMSG: no object, or a number out of range; -E2BIG: they do not fit; -ENOMEM. */
int mq_group_config_read(const struct mq_json_node *node, struct mq_group_config *ret,
			 char text[MQ_GROUP_TEXT_MAX]) _must_check_;
