/* One offset for each group and queue, in memory only: how far it has pulled (ConsumerOffsetManager.pullOffsetTable), and in a
 * second table where it was told to go on (resetOffsetTable). Between the committed offset and this lies what
 * is with the consumers: "inflight" in consumerProgress. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libmq/base/slice.h"

struct pulled;

int pulled_new(struct pulled **ret);
struct pulled *pulled_free(struct pulled *p);
/* Notes where the group goes on. False: nothing was noted, for a queue too many or without memory. */
bool pulled_set(struct pulled *p, struct mq_slice group, struct mq_slice topic, int32_t queue_id, int64_t next);
/* -1: the group has not pulled it since the start. */
int64_t pulled_get(struct pulled *p, struct mq_slice group, struct mq_slice topic, int32_t queue_id);
/* Gets and forgets it. False: nothing is noted. Cheap while the table is empty. */
bool pulled_take(struct pulled *p, struct mq_slice group, struct mq_slice topic, int32_t queue_id, int64_t *ret);
/* Forgets the group or the topic; an empty slice stands for all. */
void pulled_forget(struct pulled *p, struct mq_slice group, struct mq_slice topic);
