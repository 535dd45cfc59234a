/* Sends messages as Java's DefaultMQProducer does: queues in turn over the brokers that take messages,
 * another broker when one fails, a unique id in every message (reference: protocol/requests-broker.md
 * section 2, behaviour.md section 4). */
#pragma once

#include "libmq/client/client.h"
#include "libmq/wire/message_properties.h"
#include "libmq/wire/record.h"

struct mq_producer;

struct mq_property {
	struct mq_slice name, value;
};

/* Everything is borrowed until the send function returned. */
struct mq_message {
	const char *topic;
	struct mq_slice body;
	struct mq_slice tag, keys;             /* n 0: none; keys are separated by blanks */
	const struct mq_property *properties;  /* further ones; their names are not checked here */
	unsigned n_properties;
	int32_t flag;
	int32_t queue_id;                      /* -1: the producer chooses */
	int64_t born_at_ms;                    /* 0: now */
	bool no_wait_store; /* WAIT=false: SEND_OK before a SYNC_FLUSH broker has it on disk */
};

struct mq_send_result {
	int code;                              /* 0, or stored with a warning: 10, 11, 12 */
	char unique_id[MQ_MESSAGE_ID_MAX];     /* of the message; of the last one of a batch */
	char *message_id; /* offset id of the broker, a list for a batch; valid during the callback */
	char broker[256];
	int32_t queue_id;
	int64_t queue_offset;                  /* of the first message of a batch */
	unsigned n_attempts;
};

/* f NULL: stored. Loop thread, exactly once. */
typedef void (*mq_send_done)(const struct mq_failure *f, const struct mq_send_result *result, void *user);

/* `group` as the brokers shall see it. Borrows the client. */
int mq_producer_new(struct mq_producer **ret, struct mq_client *c, const char *group) _must_check_;
/* After its sends have ended. */
struct mq_producer *mq_producer_free(struct mq_producer *p);
DEFINE_CLEANUP(struct mq_producer *, mq_producer_free)

/* Sends one message, at most 3 times within the client's timeout. -EINVAL, -EMSGSIZE (properties over 32767
 * bytes), -ENOMEM: `done` is not called. */
int mq_producer_send(struct mq_producer *p, const struct mq_message *m, mq_send_done done,
		     void *user) _must_check_;
/* Several of one topic in one request (code 320), to one queue: that of the first message. */
int mq_producer_send_batch(struct mq_producer *p, const struct mq_message *m, unsigned n, mq_send_done done,
			   void *user) _must_check_;
/* One attempt without an answer; `done` when it was handed to the connection, result->queue_offset is -1. */
int mq_producer_send_oneway(struct mq_producer *p, const struct mq_message *m, mq_send_done done,
			    void *user) _must_check_;

/* Blocking; `result` without message_id text beyond `message_id_size` bytes. */
int mq_producer_send_wait(struct mq_producer *p, const struct mq_message *m, unsigned n,
			  struct mq_send_result *result, char *message_id, size_t message_id_size,
			  struct mq_failure *f) _must_check_;
