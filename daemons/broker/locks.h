/* Queue locks of orderly consumers (RebalanceLockManager; 41, 42). 60 s from the last call. Any thread. */
#pragma once

#include <stdint.h>

#include "libmq/base/slice.h"

struct broker;
struct locks;

enum {
	LOCK_CLIENT_MAX = 1024,     /* bytes of a client id; a longer one sends no heartbeat either */
	LOCKS_BYTES_MAX = 64 << 20, /* of all locks, some 300,000 of usual names; beyond it nobody gets another one */
};

int locks_new(struct locks **ret, struct broker *b);
struct locks *locks_free(struct locks *l);
/* True when client_id now holds (group, topic, queue): was free, expired, or its own. */
bool locks_take(struct locks *l, struct mq_slice group, struct mq_slice topic, int32_t queue_id,
		struct mq_slice client_id);
void locks_release(struct locks *l, struct mq_slice group, struct mq_slice topic, int32_t queue_id,
		   struct mq_slice client_id);
/* Whether anybody holds a lock for the group. Looks at all locks. */
bool locks_has_group(struct locks *l, struct mq_slice group);
