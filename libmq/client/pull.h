/* Reads one queue: a loop of pulls with long polling (reference: protocol/requests-broker.md section 3.1,
 * behaviour.md sections 10 and 11), and the pieces to take the answers apart. */
#pragma once

#include "libmq/client/client.h"
#include "libmq/wire/record.h"

struct mq_puller;

/* The group that reads without being one: every broker knows it, Apache's tools use it too. */
#define MQ_TOOLS_GROUP "TOOLS_CONSUMER"

struct mq_pull_batch {
	int code;                /* 0 FOUND, 19 nothing new, 20 all filtered, 21 offset corrected */
	struct mq_slice records; /* one after the other, see mq_records_next(); empty unless code is 0 */
	int64_t offset;          /* that was asked for */
	int64_t next_offset, min_offset, max_offset;
};

struct mq_puller_events {
	/* After each answer; the next pull starts when it returns. A negative value ends the loop. Who used
	 * only a part of the records says so with mq_puller_seek(). */
	int (*on_batch)(struct mq_puller *p, const struct mq_pull_batch *batch, void *user);
	/* A pull failed; it is tried again after a second, with a fresh route. A negative value ends the
	 * loop. May be NULL. */
	int (*on_failure)(struct mq_puller *p, const struct mq_failure *f, void *user);
};

struct mq_puller_config {
	const char *topic, *broker;  /* broker: its name in the route */
	int32_t queue_id;
	const char *group;           /* NULL: MQ_TOOLS_GROUP */
	const char *expression;      /* "TagA || TagB"; NULL: everything */
	bool is_sql;                 /* it is SQL92 */
	int64_t sub_version;         /* of the group's subscription; 0 without one */
	int64_t offset;              /* of the first message wanted */
	int32_t max_messages;        /* per pull; 0: 32 */
	int64_t suspend_ms;          /* how long the broker may hold an empty pull; 0: not at all */
};

/* Texts are copied, `events` is borrowed. The first pull starts at once. */
int mq_puller_new(struct mq_puller **ret, struct mq_client *c, const struct mq_puller_config *cfg,
		  const struct mq_puller_events *events, void *user) _must_check_;
/* Also inside its callbacks. */
struct mq_puller *mq_puller_free(struct mq_puller *p);

const char *mq_puller_broker(const struct mq_puller *p);
/* Where the next pull begins: everything before was given to on_batch. */
int64_t mq_puller_offset(const struct mq_puller *p);

/* Inside on_batch: the next pull begins here and not behind the batch. */
void mq_puller_seek(struct mq_puller *p, int64_t offset);

/* Takes the next record off *rest: 1, 0 at the end, -EBADMSG. */
int mq_records_next(struct mq_slice *rest, struct mq_record *ret) _must_check_;

/* Does a tag satisfy an expression like "TagA || TagB"? The broker filters by hash, so that its answers may
 * contain others. */
bool mq_tag_matches(const char *expression, struct mq_slice tag);

enum { MQ_BODY_MAX = 64 << 20 }; /* bytes of an inflated body; more is refused */

/* The body as its producer meant it. zlib is inflated into *ret_owned (to be freed); anything uncompressed
 * is borrowed and *ret_owned stays NULL. -EBADMSG, -E2BIG, -ENOTSUP (LZ4, ZSTD): *ret is then the body as
 * stored. */
int mq_record_body(const struct mq_record *r, struct mq_slice *ret, char **ret_owned);
