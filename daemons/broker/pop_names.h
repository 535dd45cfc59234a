/* The texts of POP: names of retry topics, receipts, and what an answer says about its messages (KeyBuilder, ExtraInfoUtil;
 * protocol/requests-broker.md section 7). No broker around them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libmq/base/cleanup.h"
#include "libmq/base/slice.h"

enum {
	POP_NAME_MAX = 255,       /* bytes of a topic */
	POP_ORDER_REVIVE_QUEUE = 999, /* reviveQid of what was popped in order */
	POP_HANDLE_MAX = 400,     /* bytes of a receipt, NUL included; the broker's name is at most 127 */
};

/* Which topic a message is of. The number is what the texts say. */
enum pop_mark {
	POP_NORMAL,
	POP_RETRY_V1, /* %RETRY%group_topic */
	POP_RETRY_V2, /* %RETRY%group+topic */
	POP_MARKS,
};

struct pop_name {
	size_t n; /* bytes; 0: longer than a topic's name may be */
	char p[POP_NAME_MAX];
};
/* The topic where messages of `topic` come again for `group`; POP_NORMAL: the topic itself. */
void pop_topic(struct pop_name *ret, enum pop_mark mark, struct mq_slice topic, struct mq_slice group);
static inline struct mq_slice pop_name_slice(const struct pop_name *name)
{
	return (struct mq_slice){ name->p, name->n };
}
/* By its name alone, as clients see it. */
enum pop_mark pop_mark_of(struct mq_slice topic);
/* The topic behind the group's retry topic; `topic` itself when it is none. Borrowed from it. */
struct mq_slice pop_normal_topic(struct mq_slice topic, struct mq_slice group);

/* extraInfo, POP_CK: where a message was delivered and for how long. The slice borrows. */
struct pop_handle {
	int64_t start_offset, pop_at_ms, invisible_ms;
	int32_t revive_queue, queue_id;
	int64_t offset;
	enum pop_mark mark;
	struct mq_slice broker;
};
/* Returns the bytes written, without NUL. */
size_t pop_handle_encode(const struct pop_handle *h, char ret[POP_HANDLE_MAX]);
/* As far as upstream reads it: the first six parts must be there, queue and offset may be missing (-1). -EBADMSG. */
int pop_handle_decode(struct mq_slice text, struct pop_handle *ret) _must_check_;
