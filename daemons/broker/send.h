/* One message, or batch, that is being sent: what the files it passes through know of each other, in this order:
 *
 *   handle_send.c  checks; what is missing is made
 *   send_store.c   builds the records, which join the loop's turn (loops.c)
 *   send_answer.c  answers when they are stored
 *
 * A send belongs to the loop of its connection, but for send_make(), which a reader thread runs. */
#pragma once

#include "daemons/broker/broker.h"
#include "daemons/broker/message.h"
#include "daemons/broker/retry.h"
#include "daemons/broker/topics.h"
#include "libmq/wire/fields.h"

/* As upstream has it, what a field says is needed only where it is used: the default topic to make a topic, the group for nothing.
 * In version 1 a number that is none counts as not there. */
#define SEND_LIST(X, NAME, NUMBER)                                         \
	X(slice, topic, NAME("topic", "b"), REQUIRED)                      \
	X(slice, default_topic, NAME("defaultTopic", "c"), OPTIONAL)       \
	X(i32, default_queues, NAME("defaultTopicQueueNums", "d"), NUMBER) \
	X(i32, queue_id, NAME("queueId", "e"), REQUIRED)                   \
	X(i32, sys_flag, NAME("sysFlag", "f"), REQUIRED)                   \
	X(i64, born_at_ms, NAME("bornTimestamp", "g"), REQUIRED)           \
	X(i32, flag, NAME("flag", "h"), REQUIRED)                          \
	X(slice, properties, NAME("properties", "i"), OPTIONAL)            \
	X(i32, reconsume_times, NAME("reconsumeTimes", "j"), NUMBER)       \
	X(i32, max_times, NAME("maxReconsumeTimes", "l"), NUMBER)          \
	X(bool, is_batch, NAME("batch", "m"), OPTIONAL)
#define SEND_LONG_NAME(v1, v2)  v1
#define SEND_SHORT_NAME(v1, v2) v2
#define SEND_FIELDS(X)          SEND_LIST(X, SEND_LONG_NAME, LENIENT)
#define SEND_ABSENT             { .default_queues = SEND_QUEUES_ABSENT, .max_times = RETRY_TIMES_ABSENT }
enum { SEND_QUEUES_ABSENT = INT32_MIN }; /* the request does not say */
MQ_HEADER(send, SEND_FIELDS)

struct send {
	struct broker_op op;
	struct mq_request *req;
	struct broker *broker;
	struct send_header h;
	struct topic topic;
	int made;                   /* of send_make(): 0 or negative errno */
	bool is_new_topic;          /* made for this message */
	bool is_dead;               /* sent to %RETRY%group once too often: goes to %DLQ%group */
	bool is_reply;
	char *fault;                /* owned; why a reply did not reach the client, NULL: it did */
	struct message_marks marks; /* of h.properties */
	int32_t priority;           /* -1: none */
	struct delay delay;
	char own_uniq_key[MQ_MESSAGE_ID_MAX];
	struct store_record *records; /* owned: the block with records, heads and tails */
	size_t n_block;               /* bytes of it */
	unsigned n_messages;
	int64_t began_ns;
};

/* ---- handle_send.c ---- */

void send_free(struct send *s);
/* Answers and frees. What a handler returns then. */
int send_refuse(struct send *s, int code, const char *fmt, ...) _printf_(3, 4);
int send_refuse_size(struct send *s);
int send_refuse_topic(struct send *s); /* it is not there */
/* Of a message that is tried again: the group. p NULL: it is none. */
struct mq_slice send_retry_group(const struct send *s);
/* Where such a message goes at last. Shorter than the name of the retry topic, so it always fits. */
struct mq_slice send_dead_topic(const struct send *s, char ret[RETRY_TOPIC_BUFFER]);

/* Whether its priority counts. */
bool send_is_by_priority(const struct send *s);

/* ---- send_store.c ---- */

/* Stores what was checked, answers and frees, now or later. What a handler returns then. */
int send_store(struct send *s);
/* The same for a reply that the client has. Negative: it was not stored, and is still the caller's. */
int send_store_reply(struct send *s);
/* Frees the records, if there are any. */
void send_drop_block(struct send *s);

/* ---- send_answer.c ---- */

/* broker_op.done and .late of a send. */
void send_committed(struct broker_op *op);
void send_late(struct broker_op *op);
/* What became of the push, and where the reply was stored, if it was (handlePushReplyResult). */
int send_answer_reply(struct send *s, bool is_stored);
