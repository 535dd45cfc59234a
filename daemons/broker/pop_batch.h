/* The body of BATCH_ACK_MESSAGE (BatchAckMessageRequestBody, BatchAck): what was popped together is acknowledged together. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemons/broker/pop_names.h"
#include "libmq/base/error.h"

struct pop_batch_entry {
	struct mq_slice group;
	struct pop_name topic; /* where the messages are: the retry topic when they came again */
	int32_t queue_id, revive_queue;
	int64_t start_offset, pop_at_ms, invisible_ms;
	struct mq_slice bits; /* bit i: offset start_offset + i, the lowest bit of the first byte first */
};

struct pop_batch {
	struct pop_batch_entry *entries; /* owned, as what their slices point to */
	unsigned n;
	char *bytes;      /* owned */
	struct mq_json *doc; /* owned */
};

enum { POP_BATCH_MAX = 1 << 16 }; /* messages of one request */

/* -EBADMSG with a sentence: not such a body; -E2BIG: more than POP_BATCH_MAX; -ENOMEM. */
int pop_batch_parse(struct pop_batch *ret, struct mq_slice body, struct mq_error *err) _must_check_;
void pop_batch_done(struct pop_batch *b);

/* How many messages an entry names. */
unsigned pop_batch_count(const struct pop_batch_entry *e);
/* The next offset of the entry from `from` on, -1 when there is none. */
int64_t pop_batch_next(const struct pop_batch_entry *e, int64_t from);
