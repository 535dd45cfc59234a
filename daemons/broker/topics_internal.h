/* What topics.c and its neighbours topics_*.c know of each other; nobody else includes this. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

#include "daemons/broker/topics.h"

#define TOPICS_DEFAULT "TBW102" /* what new topics are like */

struct topic_row {
	struct topic config;
	bool is_system;   /* made at start */
	char *attributes; /* owned; "key=value,...", NULL: none */
	UT_hash_handle hh;
	size_t n_name;
	char name[];
};

struct topics {
	struct broker *broker;      /* borrowed */
	pthread_mutex_t changing;   /* one change at a time, store rows included; taken before `lock` */
	pthread_rwlock_t lock;      /* protects the next */
	struct topic_row *rows;     /* owned */
	_Atomic unsigned n_deletions; /* written with `lock` held */
	struct mq_data_version version;
	struct mq_data_version mapping_version; /* of the static topics, of which there are none */
};

/* ---- topics.c; to find needs the lock, or `changing` ---- */

static inline struct mq_slice topic_row_name(const struct topic_row *row)
{
	return (struct mq_slice){ row->name, row->n_name };
}

/* NULL: out of memory. */
struct topic_row *topic_row_new(struct mq_slice name, const struct topic *config, struct mq_slice attributes);
/* NULL: there is none. */
struct topic_row *topics_find(struct topics *t, struct mq_slice name);
/* Takes the row's place among the others, freeing the one of the same name. */
void topics_insert(struct topics *t, struct topic_row *row);

/* ---- topics_system.c ---- */

/* Those of behaviour.md section 1 that are not there. At start. -ENOMEM. */
int topics_add_all_system(struct topics *t) _must_check_;

/* ---- topics_show.c ---- */

/* TopicConfig as JSON, but for these permission bits. */
void topic_row_write(struct mq_json_writer *w, const struct topic_row *row, int32_t perm_without);
