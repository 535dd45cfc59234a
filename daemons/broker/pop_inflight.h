/* How many messages groups popped and have not acknowledged (PopInflightMessageCounter), counted only while enablePopMessageThreshold is
 * on: a group that has more than popInflightMessageThreshold of one queue gets no further ones from there. As upstream, what was popped
 * before a restart does not count. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

struct broker;
struct pop_inflight;

int pop_inflight_new(struct pop_inflight **ret, struct broker *b) _must_check_;
struct pop_inflight *pop_inflight_free(struct pop_inflight *f);

/* A queue; slices are borrowed. */
struct pop_inflight_key {
	struct mq_slice topic, group;
	int32_t queue_id;
};

/* Without memory they are not counted: then more are given out than should be. */
void pop_inflight_add(struct pop_inflight *f, const struct pop_inflight_key *key, int64_t n);
/* Acknowledged, or given out anew. Those of a pop before the broker's start were not counted. */
void pop_inflight_take(struct pop_inflight *f, const struct pop_inflight_key *key, int64_t n, int64_t pop_at_ms);
void pop_inflight_clear(struct pop_inflight *f, const struct pop_inflight_key *key);
/* Of a topic or a group that goes; n 0: any. */
void pop_inflight_forget(struct pop_inflight *f, struct mq_slice topic, struct mq_slice group);
/* Is it time to acknowledge first? */
bool pop_inflight_is_full(struct pop_inflight *f, const struct pop_inflight_key *key);
