/* Pulls that wait for a message (PullRequestHoldService; behaviour.md section 11).
 * A held pull belongs to the loop of its connection. The commit publishes a queue's new maximum, then looks for waiters;
 * a puller registers as waiter, then looks at the maximum again: sequentially consistent, so no wake-up is lost. */
#pragma once

#include "libmq/net/request.h"
#include "storage/store.h"

struct broker;
struct hold;

/* Queue-wide part, shared by all loops: store_config.on_append calls this on the committing thread. */
void hold_notify(struct broker *b, struct store_queue *q, int64_t new_max);

struct hold *hold_new(struct broker *b, struct mq_loop *loop);
struct hold *hold_free(struct hold *h);

/* Keeps req until the queue's maximum passes `offset` or until deadline_ms (monotonic), then calls wake(req) on the loop. */
int hold_park(struct hold *h, struct mq_request *req, struct store_queue *q, int64_t offset, int64_t deadline_ms,
	      void (*wake)(struct mq_request *req));
/* The connection is gone: its held pulls are dropped. */
void hold_closed(struct hold *h, struct mq_conn *conn);
