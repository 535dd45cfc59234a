/* The key-value table of the NameServer (KVConfigManager): namespace -> key -> value. ORDER_TOPIC_CONFIG is the namespace that
 * everybody uses. Kept in one JSON file, {"configTable":{ns:{key:value}}}, which is Apache's kvConfig.json.
 *
 * Belongs to the main loop. Every change is written to a temporary file, synced and renamed before it returns, so a crash
 * leaves the old table or the new one. */
#pragma once

#include <uthash.h>

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

#define KV_ORDER_TOPICS MQ_SLICE("ORDER_TOPIC_CONFIG")

enum {
	KV_TEXT_MAX = 65535,      /* bytes of a namespace, key or value */
	KV_FILE_MAX = 64 << 20,   /* bytes of the file, and of all texts together */
};

struct kv_pair {
	char *key, *value; /* owned */
	UT_hash_handle hh;
};

struct kv_namespace {
	char *name;            /* owned */
	struct kv_pair *pairs; /* hash by key */
	UT_hash_handle hh;
};

struct kv {
	char *path;                      /* owned */
	struct kv_namespace *namespaces; /* hash by name */
	size_t size;                     /* bytes of all texts */
};

/* Loads the table; a file that does not exist is an empty table. -EBADMSG: the file is damaged; other errors of reading it.
 * The directory of `path` is made when it is missing. */
int kv_init(struct kv *kv, const char *path, struct mq_error *err) _must_check_;
void kv_done(struct kv *kv);

/* p NULL when there is none. Borrowed until the next change. */
struct mq_slice kv_get(const struct kv *kv, struct mq_slice ns, struct mq_slice key);
/* NULL when there is none. */
const struct kv_namespace *kv_namespace(const struct kv *kv, struct mq_slice ns);

/* 0, -E2BIG at the limits, or the error of writing the file; then the table is as before. */
int kv_put(struct kv *kv, struct mq_slice ns, struct mq_slice key, struct mq_slice value, struct mq_error *err) _must_check_;
/* 0 also when there was none. */
int kv_delete(struct kv *kv, struct mq_slice ns, struct mq_slice key, struct mq_error *err) _must_check_;
