#include "daemons/broker/retry.h"

#include "libmq/base/bytes.h"
#include "libmq/wire/message_properties.h"

enum {
	RETRY_FIRST_LEVEL = 3, /* of the delay levels: 10 s, then 30 s, ... */
	RETRY_VERSION_WITH_TIMES =
	    121, /* MQVersion.V3_4_9: maxReconsumeTimes counts from here on */
	RETRY_TOPIC_MAX = 255,
};

int32_t retry_limit(int32_t group_times, int32_t request_times, int16_t version)
{
	if (request_times == RETRY_TIMES_ABSENT || version < RETRY_VERSION_WITH_TIMES)
		return group_times;
	return request_times;
}

struct retry_fate retry_fate_sent_back(int32_t times, int32_t asked_level, int32_t limit)
{
	if (times >= limit || asked_level < 0)
		return (struct retry_fate){ .is_dead = true };
	if (asked_level > 0)
		return (struct retry_fate){ .level = asked_level };
	/* Levels beyond the last are the last: no overflow is needed to get there. */
	return (struct retry_fate){ .level = times > INT32_MAX - RETRY_FIRST_LEVEL
						 ? INT32_MAX
						 : RETRY_FIRST_LEVEL + times };
}

bool retry_is_dead(int32_t times, int32_t limit, bool is_locked)
{
	return is_locked || times > limit;
}

struct mq_slice retry_topic(const char *prefix, struct mq_slice group, char ret[RETRY_TOPIC_BUFFER])
{
	size_t n = strlen(prefix);

	if (n + group.n > RETRY_TOPIC_MAX)
		return (struct mq_slice){ ret, 0 };
	mq_put_bytes(mq_put_bytes(ret, prefix, n), group.p, group.n);
	return (struct mq_slice){ ret, n + group.n };
}

/* What is written anew. */
static const char *const dropped[] = {
	MQ_PROPERTY_RETRY_TOPIC, MQ_PROPERTY_ORIGIN_ID, MQ_PROPERTY_WAIT, MQ_PROPERTY_DELAY, NULL,
};
/* The message waits by its level, whatever it once waited by. */
static const char *const dropped_when_delayed[] = {
	MQ_PROPERTY_RETRY_TOPIC,
	MQ_PROPERTY_ORIGIN_ID,
	MQ_PROPERTY_WAIT,
	MQ_PROPERTY_DELAY,
	MQ_PROPERTY_REAL_TOPIC,
	MQ_PROPERTY_REAL_QID,
	MQ_PROPERTY_TIMER_DELAY_SEC,
	MQ_PROPERTY_TIMER_DELAY_MS,
	MQ_PROPERTY_TIMER_DELIVER_MS,
	NULL,
};

size_t retry_properties(const struct mq_record *rec, struct retry_fate fate, struct mq_slice topic,
			int32_t queue_id, char ret[MQ_PROPERTIES_MAX])
{
	static const char *const names[] = { MQ_PROPERTY_RETRY_TOPIC, MQ_PROPERTY_ORIGIN_ID };
	bool is_delayed = fate.level > 0;
	struct mq_properties_out out;
	char id[MQ_MESSAGE_ID_MAX];
	struct mq_slice v[2];

	mq_properties_find(rec->properties, names, v, 2);
	mq_message_id_encode(&rec->store_host, rec->physical_offset, id);
	mq_properties_begin(&out, ret, MQ_PROPERTIES_MAX, rec->properties, is_delayed ? dropped_when_delayed : dropped);
	/* Of a message that comes back again these are still the first one's. */
	mq_properties_add(&out, MQ_PROPERTY_RETRY_TOPIC, v[0].p ? v[0] : rec->topic);
	mq_properties_add(&out, MQ_PROPERTY_ORIGIN_ID, v[1].p ? v[1] : mq_slice_of(id));
	mq_properties_add(&out, MQ_PROPERTY_WAIT, MQ_SLICE("false"));
	mq_properties_add_i64(&out, MQ_PROPERTY_DELAY, fate.level);
	if (is_delayed) {
		mq_properties_add(&out, MQ_PROPERTY_REAL_TOPIC, topic);
		mq_properties_add_i64(&out, MQ_PROPERTY_REAL_QID, queue_id);
	}
	return mq_properties_end(&out, (struct mq_slice){}).n;
}
