/* Messages on their way in: what the broker reads from their properties and what it adds to them
 * (SendMessageProcessor, TransactionalMessageBridge; requests-broker.md 2.1 note b, behaviour.md section 8). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libmq/base/error.h"
#include "libmq/wire/record.h"
#include "storage/store.h"

struct broker_config;
struct delay;

#define MESSAGE_HALF_TOPIC "RMQ_SYS_TRANS_HALF_TOPIC"

/* Slices borrow from the properties; p NULL when absent. */
struct message_marks {
	struct mq_slice tags, keys, uniq_key, group; /* group: PGROUP */
	struct mq_slice real_topic, real_queue_id, check_immunity;
	struct mq_slice delay_level, timer_delay_sec, timer_delay_ms, timer_deliver_ms, timer_out_ms, timer_del_uniq_key;
	struct mq_slice priority, sharding_key;
	bool wants_wait;                             /* not WAIT=false */
	bool is_prepared, is_transactional;          /* TRAN_MSG=true; the first one is the reader's to change */
};
void message_marks_read(struct message_marks *ret, struct mq_slice properties);

/* What is added while the message becomes a stored one. Slices are borrowed. */
struct message_additions {
	struct mq_slice uniq_key;   /* UNIQ_KEY, when the sender left it out */
	struct mq_slice real_topic; /* of a half or delayed message: REAL_TOPIC, REAL_QID */
	int32_t real_queue_id;
	struct mq_slice transaction_id; /* of a half message: its UNIQ_KEY */
	bool is_dead;                   /* a dead letter: DELAY=-1 in place of what its sender asked for */
	bool drops_priority;            /* that counts for nothing */
	const struct delay *delay;      /* of a delayed message: DELAY or TIMER_OUT_MS; delay_redirect() */
};
/* Writes the properties as they are stored and returns their size; 0 when that is more than the wire can say. */
size_t message_properties_encode(const struct broker_config *config, struct mq_slice in, const struct message_additions *more,
				 char ret[MQ_PROPERTIES_MAX]);
/* An upper limit of what message_properties_encode() returns. */
size_t message_properties_bound(const struct broker_config *config, struct mq_slice in, const struct message_additions *more);

/* Bytes of head and tail that message_record_encode() needs. */
size_t message_tail_bound(struct mq_slice topic, size_t n_properties);
/* Encodes `rec` around its body: head (MQ_RECORD_HEAD_MAX bytes) and tail. Fills *ret except queue, is_half, due. Returns bytes of tail. */
size_t message_record_encode(const struct mq_record *rec, const struct message_marks *marks, char *head, char *tail,
			     struct store_record *ret);
