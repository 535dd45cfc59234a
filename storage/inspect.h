/* Reading the directory of a stopped broker without changing a byte of it: what mq-store does. One thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

struct inspect;

/* Opens for reading only. -ENOENT: no store is there; -EBUSY: a broker has it; -EPROTO: newer format; -EACCES; -EIO. */
int inspect_open(struct inspect **ret, const char *path, struct mq_error *err) _must_check_;
struct inspect *inspect_close(struct inspect *in);
DEFINE_CLEANUP(struct inspect *, inspect_close)

/* One queue, as its row says and its records show. */
struct inspect_queue {
	uint32_t number;
	struct mq_slice topic;
	int32_t queue_id;
	char family[16]; /* "f17", "s3"; empty: it stores nothing at the moment */
	int64_t min, max;
};

/* What a check went through. */
struct inspect_summary {
	uint64_t n_families, n_spare_families; /* for messages; spare: made ahead, or left by a deleted queue */
	uint64_t n_queues, n_records, record_bytes, n_index_rows, n_offset_rows, n_meta_rows, n_half_rows,
		n_due_rows;
	uint64_t sequence, durable_sequence;
	uint64_t n_faults;
};

/* All callbacks: slices are valid during the call. */
typedef void (*inspect_on_queue)(void *user, const struct inspect_queue *q);
typedef void (*inspect_on_record)(void *user, const struct inspect_queue *q, int64_t offset, int64_t tag_hash, struct mq_slice record);
typedef void (*inspect_on_index)(void *user, int64_t store_at_ms, uint64_t hash, int64_t locator);
typedef void (*inspect_on_fault)(void *user, const char *sentence);

/* In the order of topic and queue id. */
void inspect_queues(struct inspect *in, inspect_on_queue each, void *user);
/* Records of a topic (all its queues when queue_id is negative). Returns how many, or -EIO with a sentence. */
int64_t inspect_records(struct inspect *in, struct mq_slice topic, int32_t queue_id, inspect_on_record each, void *user, struct mq_error *err);
int64_t inspect_index(struct inspect *in, inspect_on_index each, void *user, struct mq_error *err);

/* Verifies every record and every invariant of keys.h: each fault is one sentence. 0 when the whole store could be read (look at
 * n_faults), -EIO when not. */
int inspect_check(struct inspect *in, inspect_on_fault on_fault, void *user, struct inspect_summary *ret, struct mq_error *err) _must_check_;

/* Forgets how far the log was durable, so that a store whose log ends too early opens with what is left.
 * -ENOENT, -EBUSY, -EPROTO; -EIO: it would not open for another reason, either, and nothing is changed. */
int inspect_accept_loss(const char *path, struct mq_error *err) _must_check_;
