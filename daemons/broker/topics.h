/* Topic configurations (TopicConfigManager; behaviour.md sections 1 to 3). In memory, each change is a meta row of the
 * store. Any thread; lookups copy out. */
#pragma once

#include "libmq/base/error.h"
#include "libmq/base/slice.h"
#include "libmq/wire/body_topics.h"

struct broker;
struct topics;
struct evbuffer;
struct store_queue;

enum { PERM_PRIORITY = 8, PERM_READ = 4, PERM_WRITE = 2, PERM_INHERIT = 1 };
enum {
	TOPIC_NAME_MAX = 255,
	TOPIC_ATTRIBUTES_MAX = 1024,
	TOPIC_QUEUES_MAX = 65535, /* of one topic; ours, against typing errors: upstream has no limit */
};

struct topic {
	int32_t read_queues, write_queues, perm, sys_flag;
	bool is_order, is_multi_tag;
	/* Of the attributes, from where topics_update() reads them: */
	bool is_batch_queue; /* queue.type=BatchCQ */
	bool is_priority;    /* message.type=PRIORITY */
	unsigned n_deletions; /* of topics, up to when topics_get() copied this; for topics_open_queue() */
	uint64_t since;       /* the same for consumer offsets: store_offset_since() */
};

/* Loads the meta rows and creates the system topics of behaviour.md section 1. */
int topics_new(struct topics **ret, struct broker *b, struct mq_error *err) _must_check_;
struct topics *topics_free(struct topics *t);

/* 0, or -ENOENT. */
int topics_get(struct topics *t, struct mq_slice name, struct topic *ret);

/* store_queue_open() for a message to a topic that was there when n_deletions (of struct topic) was read. From here on the queue goes with the topic:
 * -ENOENT when it went before, and later the op ends so. Without this a message would lie in a queue without a topic until the topic
 * is made again. Topics of the broker itself are always there. */
int topics_open_queue(struct topics *t, unsigned n_deletions, struct mq_slice name, int32_t queue_id,
		      struct store_queue **ret) _must_check_;

/* Auto-creation on send (behaviour.md section 1); the name was checked. 0: exists now (*ret filled); -ENOENT: code 17.
 * Others: store errors. */
int topics_create_on_send(struct topics *t, struct mq_slice name, struct mq_slice default_topic, int32_t default_queues,
			  struct topic *ret) _must_check_;
/* %RETRY%group and %DLQ%group. */
int topics_create_retry(struct topics *t, struct mq_slice name, int32_t queues, bool is_order) _must_check_;
/* Code 17: create or update; `attributes` in the wire's "+k=v,-k" syntax. -EINVAL with upstream's text in *err. */
int topics_update(struct topics *t, struct mq_slice name, const struct topic *config, struct mq_slice attributes,
		  struct mq_error *err) _must_check_;
/* Code 215: configuration, queues and offsets. 0 also when unknown. */
int topics_delete(struct topics *t, struct mq_slice name) _must_check_;
/* The NameServers' order configuration names this topic. Unknown topics are left alone. */
int topics_mark_order(struct topics *t, struct mq_slice name) _must_check_;

/* What is shown of all topics changed (brokerPermission): a new version, told to all NameServers, which would otherwise
 * take the table for the one that they have. */
int topics_touch(struct topics *t) _must_check_;

bool topics_is_system(struct topics *t, struct mq_slice name);
/* Not allowed as send target: behaviour.md section 2. */
bool topics_forbids_send(struct mq_slice name);
/* 0, else -EINVAL with upstream's text in *err. `is_group` picks the group's limits and words. */
int topics_check_name(struct mq_slice name, bool is_group, struct mq_error *err) _must_check_;
/* Whether all characters are allowed in names: ASCII letters, digits and % | - _ */
bool topics_is_legal(struct mq_slice name);

void topics_version(struct topics *t, struct mq_data_version *ret);

/* What topics_encode_table() takes. All zero: the whole table as it is. */
struct topics_range {
	struct mq_slice only; /* one topic; n 0: any */
	unsigned first, max;  /* of the names in order; max 0: no limit, in any order */
	int32_t perm_without; /* permission bits that are not to be shown */
};
/* Body of code 21 and of registrations: {"dataVersion":..,"topicConfigTable":{..}, ...}. Returns how many topics there
 * are in all, or -ENOMEM. */
int topics_encode_table(struct topics *t, const struct topics_range *range, struct evbuffer *out) _must_check_;
/* Body of one topic (351), -ENOENT. */
int topics_encode(struct topics *t, struct mq_slice name, struct evbuffer *out) _must_check_;
