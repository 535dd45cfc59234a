/* Counters behind runtime info (28) and metrics (behaviour.md section 17). Any thread, cheap: relaxed atomics, sampled
 * by the main loop. They count from the start of the process, as upstream's do. */
#pragma once

#include <stdint.h>

#include "libmq/base/slice.h"

struct broker;
struct stats;
struct evbuffer;

int stats_new(struct stats **ret, struct broker *b);
struct stats *stats_free(struct stats *s);

/* One send that was stored: messages, their bytes, and how long the store took. */
void stats_put(struct stats *s, unsigned n_messages, uint64_t bytes, int64_t took_us);
void stats_put_failed(struct stats *s);
/* One pull that found something. */
void stats_get(struct stats *s, unsigned n_messages, uint64_t bytes);
void stats_get_missed(struct stats *s);
/* Every 10 s on the main loop. */
void stats_sample(struct stats *s);
/* Body of 28: {"table":{...}}, every key of behaviour.md 17.1. Asks the store: may read the disk. 0 or -ENOMEM. */
int stats_encode_runtime(struct stats *s, struct evbuffer *out);
