/* Entries of TopicStatsTable and ConsumeStats (202, 208; reference: protocol/frame.md 5.1): members whose key is a
 * queue. */
#pragma once

#include "libmq/wire/body_lock.h"

struct mq_topic_offset {
	int64_t min, max;
	int64_t last_update_ms; /* store time of the last message, or 0 */
};

struct mq_consume_offset {
	int64_t broker_offset, consumer_offset, pull_offset;
	int64_t last_ms; /* store time of the last message consumed, or 0 */
};

/* Each writes one member of an open object. */
void mq_topic_offset_write(struct mq_json_writer *w, const struct mq_queue_name *q, const struct mq_topic_offset *o);
void mq_consume_offset_write(struct mq_json_writer *w, const struct mq_queue_name *q, const struct mq_consume_offset *o);
