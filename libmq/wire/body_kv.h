/* KVTable: the answer to GET_KVLIST_BY_NAMESPACE (219), part of the answer to REGISTER_BROKER (103), and the answer to
 * GET_BROKER_RUNTIME_INFO (28): {"table":{"k":"v"}} (reference: protocol/frame.md section 5.1). */
#pragma once

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

struct evbuffer;
struct mq_json;

struct mq_kv_pair {
	struct mq_slice key, value;
};

struct mq_kv_table {
	struct mq_kv_pair *pairs;
	unsigned n_pairs;
	struct mq_json *doc; /* owned after mq_kv_table_decode(), else NULL */
};

/* -EBADMSG with a sentence, -E2BIG, -ENOMEM. Values that are no scalars are left out. */
int mq_kv_table_decode(struct mq_kv_table *ret, struct mq_slice body, struct mq_error *err) _must_check_;
/* Frees what mq_kv_table_decode() made. */
void mq_kv_table_done(struct mq_kv_table *table);
int mq_kv_table_encode(const struct mq_kv_table *table, struct evbuffer *out) _must_check_; /* -ENOMEM */
/* Value of the pair with this key; p NULL when there is none. */
struct mq_slice mq_kv_table_get(const struct mq_kv_table *table, const char *key);
