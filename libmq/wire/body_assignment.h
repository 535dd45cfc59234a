/* How a group reads a topic, and which queues a member of it gets: the bodies of QUERY_ASSIGNMENT, SET_MESSAGE_REQUEST_MODE and
 * GET_ALL_MESSAGE_REQUEST_MODE (400 to 402; reference: protocol/requests-broker.md 6.6). Slices borrow from the document. */
#pragma once

#include "libmq/wire/body_heartbeat.h"
#include "libmq/wire/body_lock.h"
#include "libmq/wire/json.h"

/* Unknown names are kept as none, as Apache's broker does. */
enum mq_request_mode { MQ_MODE_NONE = -1, MQ_MODE_PULL, MQ_MODE_POP };

/* "PULL" or "POP"; NULL for MQ_MODE_NONE. */
const char *mq_request_mode_name(enum mq_request_mode mode);

/* SetMessageRequestModeRequestBody. */
struct mq_mode_setting {
	struct mq_slice topic, group;
	enum mq_request_mode mode;
	int32_t pop_share; /* popShareQueueNum: with so many other members a queue is shared; <= 0: with all */
};

/* -EBADMSG with a sentence: no object, no topic or group, or a number out of range. */
int mq_mode_setting_read(const struct mq_json_node *node, struct mq_mode_setting *ret, struct mq_error *err) _must_check_;
void mq_mode_setting_write(struct mq_json_writer *w, const struct mq_mode_setting *s);

/* QueryAssignmentRequestBody. */
struct mq_assignment_query {
	struct mq_slice topic, group, client_id, strategy; /* p NULL: absent, except topic and group */
	enum mq_message_model model;
};

/* -EBADMSG with a sentence: no object, no topic or group, or no message model. */
int mq_assignment_query_read(const struct mq_json_node *node, struct mq_assignment_query *ret, struct mq_error *err) _must_check_;

/* One MessageQueueAssignment. */
void mq_assignment_write(struct mq_json_writer *w, const struct mq_queue_name *queue, enum mq_request_mode mode);
