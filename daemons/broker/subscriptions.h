/* What consumers subscribe to. Two views of the same heartbeat: a table by topic, which is what pulls of the group go by (one
 * per group, the last heartbeat wins, as upstream), and the set that one member named, remembered to find members that differ.
 * No locks here: everything belongs to clients.c and its lock. */
#pragma once

#include <sys/queue.h>
#include <uthash.h>

#include "libmq/base/error.h"
#include "libmq/wire/body_heartbeat.h"

struct broker;
struct filter_sql;
struct mq_json_writer;

/* ---- By topic, for the group ---- */

/* One allocation: the slices point behind it. */
struct subscribed {
	struct mq_slice topic, sub_string, expression_type;
	int64_t version;        /* subVersion */
	bool class_filter;
	struct filter_sql *sql; /* ref; NULL: no SQL92, or it does not compile */
	unsigned n_tags, n_codes;
	struct mq_slice *tags;
	int32_t *codes;
	size_t n_bytes;         /* of the allocation */
	UT_hash_handle hh;
};

/* The table of one consumer's subscriptionDataSet. -EBADMSG with a sentence; -ENOMEM. */
int subs_read(struct broker *b, const struct mq_json_node *list, struct subscribed **ret, struct mq_error *err) _must_check_;
struct subscribed *subs_find(struct subscribed *table, struct mq_slice topic);
/* Makes *table like *news, which is used up. Topics that vanished go. True when the set of topics changed; a newer version of
 * a known topic's data is no change that members must hear of. */
bool subs_replace(struct subscribed **table, struct subscribed **news);
size_t subs_bytes(const struct subscribed *table);
void subs_free(struct subscribed **table);

/* ---- By member, for comparing ---- */

struct sub_item {
	struct mq_slice topic, type;
	struct mq_slice expression; /* tags sorted and each once: their order means nothing */
};

/* What one member named, or several that named the same. Sorted by topic. One allocation. */
struct sub_set {
	LIST_ENTRY(sub_set) link; /* of a group's sets */
	unsigned n_members;
	size_t n_bytes; /* of the allocation */
	unsigned n;
	struct sub_item items[];
};

LIST_HEAD(sub_set_list, sub_set);

/* -ENOMEM. */
int sub_set_new(struct sub_set **ret, const struct subscribed *table) _must_check_;
bool sub_set_equal(const struct sub_set *a, const struct sub_set *b);
/* Where `set` is not like `other`: "T(*), U(a || b), not V". Control characters become dots, what does not fit is left out. */
void sub_set_difference(const struct sub_set *set, const struct sub_set *other, char *ret, size_t size);
/* An array of {"expressionType","subString","topic"}. */
void sub_set_write(struct mq_json_writer *w, const struct sub_set *set);
