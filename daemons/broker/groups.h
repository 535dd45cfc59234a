/* Subscription groups (SubscriptionGroupManager). In memory, each change is a meta row. Any thread; lookups copy out. */
#pragma once

#include "libmq/base/error.h"
#include "libmq/base/slice.h"
#include "libmq/wire/body_topics.h"

struct broker;
struct groups;
struct evbuffer;

/* Of groups that are there: earlier versions made longer ones than topics_check_name() allows. */
enum { GROUP_NAME_MAX = 255 };

struct group {
	bool consume_enable, consume_from_min_enable, consume_broadcast_enable, consume_orderly, notify_ids_changed;
	int32_t retry_queues, retry_max_times, broker_id, which_broker_when_slow, sys_flag, consume_timeout_minutes;
	int32_t priority_factor; /* the attribute priority.factor: per cent of pops that heed priorities */
};

int groups_new(struct groups **ret, struct broker *b, struct mq_error *err) _must_check_;
struct groups *groups_free(struct groups *g);

/* The group, created with defaults on first use when allowed (autoCreateSubscriptionGroup, CID_RMQ_SYS_). -ENOENT:
 * code 26. Others: store errors. */
int groups_get(struct groups *g, struct mq_slice name, struct group *ret);
/* May a group of this name be created so? */
bool groups_may_create(struct groups *g, struct mq_slice name);
/* Without creating. */
int groups_find(struct groups *g, struct mq_slice name, struct group *ret);
/* Code 200: body SubscriptionGroupConfig. -EINVAL with the text in *err for a bad name (code 29), -EBADMSG for anything
 * else in the body (code 1). */
int groups_update(struct groups *g, struct mq_slice body, struct mq_error *err) _must_check_;
/* 0 also when unknown. The offsets stay. */
int groups_delete(struct groups *g, struct mq_slice name) _must_check_;

void groups_version(struct groups *g, struct mq_data_version *ret);
/* Body of code 201: the groups from the first-th name on, at most `max` (0: all, in any order). Returns how many there
 * are in all, or -ENOMEM. */
int groups_encode_table(struct groups *g, unsigned first, unsigned max, struct evbuffer *out) _must_check_;
int groups_encode(struct groups *g, struct mq_slice name, struct evbuffer *out) _must_check_; /* 352; -ENOENT */
