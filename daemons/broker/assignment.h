/* Which queues a member of a group gets when the broker decides (QueryAssignmentProcessor.doLoadBalance; requests-broker.md 6.6).
 * Pure: every broker must come to the same result as Apache's, to the queue. */
#pragma once

#include "libmq/wire/body_assignment.h"

struct assignment_question {
	const struct mq_queue_name *queues; /* sorted by broker and id */
	unsigned n_queues;
	const struct mq_slice *members;     /* client ids of the group, sorted */
	unsigned n_members;
	struct mq_slice client_id, strategy;
	enum mq_message_model model;
	bool gives_all; /* serverLoadBalancerEnable=false: the members share among themselves */
	enum mq_request_mode mode;
	int32_t pop_share;
};

enum assignment {
	ASSIGNED,         /* ret_taken says which */
	ASSIGNED_BROKERS, /* of every broker that has queues all of them, as queue -1 */
	ASSIGNED_UNKNOWN, /* the client is to keep what it has */
};

/* ret_taken has n_queues elements, all false. */
enum assignment assignment_decide(const struct assignment_question *q, bool *ret_taken) _must_check_;
