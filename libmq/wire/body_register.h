/* RegisterBrokerBody: what a broker tells a NameServer with REGISTER_BROKER (103), and DataVersion, the body of
 * QUERY_DATA_VERSION (322) (reference: protocol/requests-namesrv.md section 3). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libmq/base/error.h"
#include "libmq/base/slice.h"
#include "libmq/wire/body_topics.h"

struct evbuffer;

enum {
	MQ_REGISTER_INFLATED_MAX = 32 << 20, /* bytes of a compressed body once inflated; more is refused while inflating */
	MQ_VERSION_REGISTER_BODY = 37,       /* V3_0_11: older brokers send the bare topic table */
};

/* TopicConfig, as far as a route needs it. */
struct mq_register_topic {
	struct mq_slice name;
	int32_t read_queues, write_queues, perm, sys_flag;
};

struct mq_register {
	struct mq_data_version version;
	struct mq_register_topic *topics;
	unsigned n_topics;
	struct mq_json *doc; /* owned, NULL for a compressed body */
	char *inflated;      /* owned, NULL for a JSON body */
};

/* `version` is the sender's; an absent body (p NULL) is an empty table with DataVersion (0,0,0).
 * -EBADMSG with a sentence, -E2BIG beyond the limits, -ENOMEM. */
int mq_register_decode(struct mq_register *ret, struct mq_slice body, bool is_compressed, int version, struct mq_error *err)
	_must_check_;
void mq_register_done(struct mq_register *reg);

/* The whole body around a topic table ({"dataVersion":..,"topicConfigTable":{..},..}, as of code 21), whose bytes are moved. -ENOMEM. */
int mq_register_encode(struct evbuffer *topic_table, struct evbuffer *out) _must_check_;

/* A DataVersion as a whole body. */
int mq_data_version_decode(struct mq_data_version *ret, struct mq_slice body, struct mq_error *err) _must_check_; /* -EBADMSG */
int mq_data_version_encode(const struct mq_data_version *v, struct evbuffer *out) _must_check_;                   /* -ENOMEM */

static inline bool mq_data_version_equal(const struct mq_data_version *a, const struct mq_data_version *b)
{
	return a->counter == b->counter && a->state_version == b->state_version && a->timestamp == b->timestamp;
}
