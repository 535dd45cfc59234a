/* Topics of the broker itself: made at start, reserved, or forbidden to senders. */
#include <errno.h>
#include <stdio.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/topics_internal.h"

#define SYSTEM_PREFIX "rmq_sys_"

static int topics_add_system(struct topics *t, const char *prefix, const char *name, int32_t queues, int32_t perm)
{
	char full[TOPIC_NAME_MAX + 1];
	struct topic_row *row;
	int n = snprintf(full, sizeof full, "%s%s", prefix, name);
	struct mq_slice key = { full, (size_t)n };

	row = topics_find(t, key);
	if (!row) {
		row = topic_row_new(key, &(struct topic){ .read_queues = queues, .write_queues = queues, .perm = perm },
				    (struct mq_slice){});
		if (!row)
			return -ENOMEM;
		topics_insert(t, row);
	}
	row->is_system = true;
	return 0;
}

/* As 5.5.0 makes them; they are not written to the store until something changes them. */
int topics_add_all_system(struct topics *t)
{
	const struct broker_config *c = &t->broker->config;
	const int32_t rw = PERM_READ | PERM_WRITE;
	char reply[TOPIC_NAME_MAX + 1];
	const struct {
		const char *prefix, *name;
		int32_t queues, perm;
		bool is_left_out;
	} all[] = {
		{ "", "SELF_TEST_TOPIC", 1, rw, false },
		{ "", TOPICS_DEFAULT, (int32_t)c->defaultTopicQueueNums, rw | PERM_INHERIT, !c->autoCreateTopicEnable },
		{ "", "BenchmarkTest", 1024, rw, false },
		{ "", c->brokerClusterName, 16, PERM_INHERIT | (c->clusterTopicEnable ? rw : 0), false },
		{ "", c->brokerName, 1, PERM_INHERIT | (c->brokerTopicEnable ? rw : 0), false },
		{ "", "OFFSET_MOVED_EVENT", 1, rw, false },
		{ "", "SCHEDULE_TOPIC_XXXX", 18, rw, false },
		{ "", c->msgTraceTopicName, 1, rw, !c->traceTopicEnable },
		{ "", reply, 1, rw, false },
		{ "rmq_sys_REVIVE_LOG_", c->brokerClusterName, 8, rw, false },
		{ "rmq_sys_SYNC_BROKER_MEMBER_", c->brokerName, 1, PERM_INHERIT, false },
		{ "", "RMQ_SYS_TRANS_HALF_TOPIC", 1, rw, false },
		{ "", "RMQ_SYS_TRANS_OP_HALF_TOPIC", 1, rw, false },
		{ "", "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC", 1, rw, false },
		{ "", "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC", 1, rw, false },
		{ "", "rmq_sys_wheel_timer", 1, rw, false },
	};
	int r = 0;

	snprintf(reply, sizeof reply, "%s_REPLY_TOPIC", c->brokerClusterName);
	for (unsigned i = 0; i < N_ELEMENTS(all) && r == 0; i++)
		if (!all[i].is_left_out)
			r = topics_add_system(t, all[i].prefix, all[i].name, all[i].queues, all[i].perm);
	return r;
}

bool topics_is_system(struct topics *t, struct mq_slice name)
{
	static const char *const always[] = {
		TOPICS_DEFAULT, "SCHEDULE_TOPIC_XXXX", "BenchmarkTest", "RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRACE_TOPIC",
		"RMQ_SYS_TRANS_OP_HALF_TOPIC", "TRANS_CHECK_MAX_TIME_TOPIC", "SELF_TEST_TOPIC", "OFFSET_MOVED_EVENT",
		"CHECKPOINT_TOPIC", "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC", "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC",
	};
	const struct topic_row *row;
	bool is_system;

	if (mq_slice_starts(name, MQ_SLICE(SYSTEM_PREFIX)))
		return true;
	for (unsigned i = 0; i < N_ELEMENTS(always); i++)
		if (mq_slice_is(name, always[i]))
			return true;
	pthread_rwlock_rdlock(&t->lock);
	row = topics_find(t, name);
	is_system = row && row->is_system;
	pthread_rwlock_unlock(&t->lock);
	return is_system;
}

bool topics_forbids_send(struct mq_slice name)
{
	static const char *const forbidden[] = {
		"SCHEDULE_TOPIC_XXXX",
		"RMQ_SYS_TRANS_HALF_TOPIC",
		"RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC",
		"RMQ_SYS_TRANS_OP_HALF_TOPIC",
		"RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC",
		"TRANS_CHECK_MAX_TIME_TOPIC",
		"SELF_TEST_TOPIC",
		"OFFSET_MOVED_EVENT",
	};

	for (unsigned i = 0; i < N_ELEMENTS(forbidden); i++)
		if (mq_slice_is(name, forbidden[i]))
			return true;
	return false;
}
