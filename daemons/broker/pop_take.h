/* Taking messages for a pop: which queues are looked at, in which order, and what of them fits (PopMessageProcessor,
 * PeekMessageProcessor). Nothing is stored here: what was found is with its queues' locks until pop_take_done(). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemons/broker/clients.h"
#include "daemons/broker/pop_names.h"
#include "storage/store.h"

struct broker;
struct evbuffer;

enum { POP_MESSAGES_MAX = 32 };

/* What is asked for. Slices and pointers are borrowed. */
struct pop_ask {
	struct broker *broker;
	const struct subscription *sub; /* NULL: everything */
	struct mq_slice group, topic, attempt;
	int32_t queue_id; /* -1: all */
	int32_t read_queues; /* of the topic */
	uint64_t since;      /* of the topic: for its offsets */
	int32_t max_messages;
	int32_t priority_factor; /* per cent of the pops begin with the queue of the highest priority */
	int64_t invisible_ms;
	bool from_max;  /* initMode: a group without offset begins at the end */
	bool is_order;
	bool is_peek;   /* only looks: no locks, no offsets */
};

/* A queue of which something was found. */
struct pop_target {
	struct store_queue *queue;
	enum pop_mark mark;
	unsigned slot;     /* its lock, held unless for a peek */
	uint64_t since;    /* of its topic */
	int64_t from, next;
	unsigned first, n; /* of pop_take.offsets */
};

struct pop_take {
	const struct pop_ask *ask; /* borrowed */
	int64_t pop_at_ms;
	int32_t revive_queue;
	struct evbuffer *body; /* owned; NULL: nothing found */
	struct pop_target targets[POP_MESSAGES_MAX];
	int64_t offsets[POP_MESSAGES_MAX];
	unsigned n_targets, n_messages;
	int64_t n_bytes;
	int64_t rest;          /* messages that are there for the group and were not taken */
	int64_t free_at_ms;    /* when the first queue that is blocked by its order is free, INT64_MAX: none is */
	bool was_cut;          /* a filter looked at so much that the rest is for another look */
	bool was_busy;         /* somebody else pops from a queue, whose lock this is: */
	unsigned busy_slot;
	struct store_queue *cold; /* messages are there, but not in memory: the first such queue, and from where on */
	int64_t cold_from;
	int result;            /* 0, or why nothing could be read */

	/* of the queue that is looked at: */
	enum store_tier tier;
	uint64_t since; /* of its topic */
	struct pop_target *at;
	int64_t n_scanned, n_queue_bytes;
	unsigned n_steps;
	bool is_full;
};

/* When a message is visible again. */
int64_t pop_due_ms(int64_t pop_at_ms, int64_t invisible_ms);

/* Looks once. With STORE_MEMORY on a loop, with STORE_DISK on a reader. */
void pop_take_run(struct pop_take *t, const struct pop_ask *ask, enum store_tier tier);
/* Lets the locks go, and the body. */
void pop_take_done(struct pop_take *t);
/* startOffsetInfo and msgOffsetInfo of what was found. */
void pop_take_write(const struct pop_take *t, struct evbuffer *start_offsets, struct evbuffer *offsets);
/* Is there anything for the group? As a pop would see it, without looking at a message unless a subscription is given that does not match all. */
bool pop_take_any(const struct pop_ask *ask, int64_t *ret_free_at_ms);
