/* Queues as JSON objects (MessageQueue) and the bodies of LOCK_BATCH_MQ and UNLOCK_BATCH_MQ (41, 42; reference:
 * protocol/frame.md 5.1). Slices borrow from the document. */
#pragma once

#include "libmq/wire/json.h"

struct mq_queue_name {
	struct mq_slice broker, topic;
	int32_t id;
};

/* Members in the order brokerName, queueId, topic: the Go client reads text, not JSON. */
void mq_queue_name_write(struct mq_json_writer *w, const struct mq_queue_name *q);
/* -EBADMSG: no object, no topic, or the id is out of range. */
int mq_queue_name_read(const struct mq_json_node *node, struct mq_queue_name *ret) _must_check_;

enum { MQ_LOCK_QUEUES_MAX = 65536 }; /* of one request */

struct mq_lock_body {
	struct mq_slice group, client_id;
	bool only_this_broker;
	const struct mq_json_node *queues; /* array; elements by mq_queue_name_read(); may be NULL */
};

/* -EBADMSG with a sentence: group or client id is missing, or there are too many queues. */
int mq_lock_body_read(const struct mq_json *doc, struct mq_lock_body *ret, struct mq_error *err) _must_check_;
