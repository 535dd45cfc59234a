/* TopicList: the answer to GET_ALL_TOPIC_LIST_FROM_NAMESERVER (206), GET_TOPICS_BY_CLUSTER (224) and the system topic lists
 * (304, 305): {"brokerAddr":"ip:port","topicList":["a","b"]} (reference: protocol/requests-namesrv.md section 5). */
#pragma once

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

struct evbuffer;

struct mq_topic_list {
	struct mq_slice broker_address; /* p NULL when absent */
	struct mq_slice *topics;
	unsigned n_topics;
};

int mq_topic_list_encode(const struct mq_topic_list *list, struct evbuffer *out) _must_check_; /* -ENOMEM */
