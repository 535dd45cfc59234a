/* What POP_MESSAGE, PEEK_MESSAGE, NOTIFICATION and POLLING_INFO check first, in upstream's order: the broker, the topic, the queue,
 * the group. An unknown group is made on a reader, since that is a row in the store. */
#pragma once

#include "daemons/broker/clients.h"
#include "daemons/broker/groups.h"
#include "daemons/broker/topics.h"
#include "libmq/net/request.h"

struct broker;

/* Embedded in a pending request. The caller sets the first part. */
struct pop_check {
	struct mq_request *req;
	struct broker *broker;
	struct mq_slice group, topic_name;
	int32_t queue_id;
	const char *verb; /* "pop" or "peeking": of the broker's refusal */
	/* At these places: 0, or pop_check_note() of what is wrong. May be NULL. */
	int (*before_broker)(struct pop_check *c);
	int (*before_topic)(struct pop_check *c);
	/* Exactly one of them, on the loop, possibly within pop_check_run(). `code` and `remark` say what is wrong. */
	void (*passed)(struct pop_check *c);
	void (*refused)(struct pop_check *c, int code, const char *remark);
	/* The store failed: 0 > r. */
	void (*failed)(struct pop_check *c, int r);

	struct topic topic;
	struct group found;
	int code, made;
	char remark[512];
};

void pop_check_run(struct pop_check *c);
/* What the request wants of the topic: 0, or pop_check_note() of what is wrong. ret is all zero before; ret->sql becomes the caller's. */
int pop_check_subscription(struct pop_check *c, struct mq_slice type, struct mq_slice expression, struct subscription *ret) _must_check_;
/* Notes a refusal; returns 1. */
int pop_check_note(struct pop_check *c, int code, const char *fmt, ...) _printf_(3, 4);

/* The remark of upstream's answers that set none. */
#define POP_NO_REMARK "not set any response code"
