/* The key index, as far as retention and mq-store need to know it. */
#pragma once

#include <stdint.h>

#include "libmq/base/slice.h"

enum { INDEX_KEY_SIZE = 28, INDEX_PREFIX_SIZE = 12 };

/* FNV-1a of topic, a zero byte and key, mixed; of a unique id the last ten digits stay as they are. */
uint64_t index_hash(struct mq_slice topic, struct mq_slice key);
/* The row's key: hour (4) hash (8) store time (8) locator (8). */
void index_key(char ret[INDEX_KEY_SIZE], uint64_t hash, int64_t at_ms, int64_t locator);
uint32_t index_hour(int64_t at_ms); /* hours since 1970 */
/* Takes the next blank-separated key off a KEYS property; an empty slice at its end. */
struct mq_slice index_next_key(struct mq_slice *rest);
