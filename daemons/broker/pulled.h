/* How far each group has pulled each queue (ConsumerOffsetManager.pullOffsetTable). Between the committed offset and this lies what
 * is with the consumers: "inflight" in consumerProgress. In memory only. Any thread. */
#pragma once

#include <stdint.h>

#include "libmq/base/slice.h"

struct pulled;

int pulled_new(struct pulled **ret);
struct pulled *pulled_free(struct pulled *p);
/* Notes where the group goes on. Nothing is noted for a queue too many, or without memory: it is only shown. */
void pulled_set(struct pulled *p, struct mq_slice group, struct mq_slice topic, int32_t queue_id, int64_t next);
/* -1: the group has not pulled it since the start. */
int64_t pulled_get(struct pulled *p, struct mq_slice group, struct mq_slice topic, int32_t queue_id);
/* Forgets the group or the topic; an empty slice stands for all. */
void pulled_forget(struct pulled *p, struct mq_slice group, struct mq_slice topic);
