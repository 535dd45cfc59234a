/* Retry and dead letters: the rules, with no broker around them
 * (AbstractSendMessageProcessor.consumerSendMsgBack, SendMessageProcessor.handleRetryAndDLQ;
 * behaviour.md section 6).
 *
 * A message comes back in two ways, and they compare differently. CONSUMER_SEND_MSG_BACK names the
 * message that was delivered: it is dead when it was consumed `limit` times again already (>=). A
 * client that could not do that sends a copy to %RETRY%group and counts this time, too: it is dead
 * beyond the limit (>). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libmq/wire/record.h"

#define RETRY_PREFIX      "%RETRY%" /* and a group: its retry topic */
#define RETRY_DEAD_PREFIX "%DLQ%"   /* likewise, of its dead letters */

enum {
	RETRY_DEAD_QUEUES = 1,		/* of a %DLQ% topic */
	RETRY_TIMES_ABSENT = INT32_MIN, /* the request does not say */
	RETRY_TOPIC_BUFFER = 8 + 255,	/* bytes for retry_topic() */
};

/* How often a message may be consumed again: what the request says, when it comes from a client
 * that knows what it says, else what the group does. `version`: of the request. */
int32_t retry_limit(int32_t group_times, int32_t request_times, int16_t version);

struct retry_fate {
	bool is_dead;  /* to %DLQ%group, at once */
	int32_t level; /* else to %RETRY%group after this delay level; 0 or less: at once */
};
/* Of a message that was consumed again `times` times and is sent back; `asked_level` is the
 * request's. */
struct retry_fate retry_fate_sent_back(int32_t times, int32_t asked_level, int32_t limit);
/* Of one that its consumer sends to %RETRY%group itself; `is_locked`: the group holds queue locks.
 * Then it consumes in order, and did all repeating itself. */
bool retry_is_dead(int32_t times, int32_t limit, bool is_locked);

/* Writes prefix and group. n 0: longer than a topic's name may be. */
struct mq_slice retry_topic(const char *prefix, struct mq_slice group,
			    char ret[RETRY_TOPIC_BUFFER]);

/* The properties of `rec`, a stored message, as it goes to `queue_id` of `topic`. Returns their
 * size, 0 when that is more than the wire can say. */
size_t retry_properties(const struct mq_record *rec, struct retry_fate fate, struct mq_slice topic,
			int32_t queue_id, char ret[MQ_PROPERTIES_MAX]);
