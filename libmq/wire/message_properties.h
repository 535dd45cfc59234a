/* The properties string of a message: name 0x01 value 0x02 ... (reference: protocol/message.md sections 4 and 5).
 * Reader rules of string2messageProperties: pairs shorter than 3 bytes, without 0x01, with empty name or value are skipped;
 * of duplicates the last wins; the final 0x02 may be missing. Unknown pairs are kept byte for byte. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "libmq/base/slice.h"

#define MQ_PROPERTY_KEYS "KEYS"
#define MQ_PROPERTY_TAGS "TAGS"
#define MQ_PROPERTY_WAIT "WAIT"
#define MQ_PROPERTY_DELAY "DELAY"
#define MQ_PROPERTY_UNIQ_KEY "UNIQ_KEY"
#define MQ_PROPERTY_PGROUP "PGROUP"
#define MQ_PROPERTY_TRAN_MSG "TRAN_MSG"
#define MQ_PROPERTY_TRANSACTION_ID "__transactionId__"
#define MQ_PROPERTY_REAL_TOPIC "REAL_TOPIC"
#define MQ_PROPERTY_REAL_QID "REAL_QID"
#define MQ_PROPERTY_MSG_REGION "MSG_REGION"
#define MQ_PROPERTY_TRACE_ON "TRACE_ON"
#define MQ_PROPERTY_CLUSTER "CLUSTER"
#define MQ_PROPERTY_POP_CK "POP_CK"
#define MQ_PROPERTY_FIRST_POP_TIME "1ST_POP_TIME"
#define MQ_PROPERTY_ORIGIN_GROUP "ORIGIN_GROUP"
#define MQ_PROPERTY_CHECK_IMMUNITY "CHECK_IMMUNITY_TIME_IN_SECONDS"
#define MQ_PROPERTY_CHECK_TIMES "TRANSACTION_CHECK_TIMES"
#define MQ_PROPERTY_RETRY_TOPIC "RETRY_TOPIC"
#define MQ_PROPERTY_ORIGIN_ID "ORIGIN_MESSAGE_ID"
#define MQ_PROPERTY_TIMER_DELAY_SEC "TIMER_DELAY_SEC"
#define MQ_PROPERTY_TIMER_DELAY_MS "TIMER_DELAY_MS"
#define MQ_PROPERTY_TIMER_DELIVER_MS "TIMER_DELIVER_MS"
#define MQ_PROPERTY_TIMER_OUT_MS "TIMER_OUT_MS"
#define MQ_PROPERTY_TIMER_ENQUEUE_MS "TIMER_ENQUEUE_MS"
#define MQ_PROPERTY_TIMER_DEQUEUE_MS "TIMER_DEQUEUE_MS"
#define MQ_PROPERTY_TIMER_DEL_UNIQKEY "TIMER_DEL_UNIQKEY"
#define MQ_PROPERTY_REPLY_TO_CLIENT "REPLY_TO_CLIENT"
#define MQ_PROPERTY_PUSH_REPLY_TIME "PUSH_REPLY_TIME"
#define MQ_PROPERTY_PRIORITY "_SYS_MSG_PRIORITY_"
#define MQ_PROPERTY_SHARDING_KEY "__SHARDINGKEY"
#define MQ_PROPERTY_INNER_NUM "INNER_NUM"
#define MQ_PROPERTY_INNER_BASE "INNER_BASE"

/* Iterates: takes the next valid pair off *rest. False at the end. */
bool mq_properties_next(struct mq_slice *rest, struct mq_slice *ret_name, struct mq_slice *ret_value);

/* Value of the last pair with this name; p is NULL when absent. */
struct mq_slice mq_properties_get(struct mq_slice properties, const char *name);

/* Several at once in one pass: values[i] for names[i], p NULL when absent. */
void mq_properties_find(struct mq_slice properties, const char *const *names, struct mq_slice *values, unsigned n);

/* Appends one pair at out[n..capacity) and returns the new n, or 0 when it does not fit (n is never 0 afterwards otherwise). */
size_t mq_properties_append(char *out, size_t n, size_t capacity, const char *name, struct mq_slice value);

/* Copies all pairs except those named in `drop` (NULL-terminated), closing the last with 0x02.
 * Returns the bytes written, or (size_t)-1 when it does not fit. */
size_t mq_properties_copy(struct mq_slice properties, const char *const *drop, char *out, size_t capacity);

/* Properties that are made of others: begins with a copy, then come more pairs, and only the end tells whether all had room. */
struct mq_properties_out {
	char *p; /* borrowed: the caller's buffer */
	size_t size, n;
	bool is_full; /* something had no room */
};
void mq_properties_begin(struct mq_properties_out *out, char *p, size_t size, struct mq_slice properties, const char *const *drop);
void mq_properties_add(struct mq_properties_out *out, const char *name, struct mq_slice value);
void mq_properties_add_i64(struct mq_properties_out *out, const char *name, int64_t value);
/* What was written; `otherwise` when something had no room. */
struct mq_slice mq_properties_end(const struct mq_properties_out *out, struct mq_slice otherwise);
