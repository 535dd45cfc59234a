#include "daemons/broker/message.h"

#include "daemons/broker/config.h"
#include "daemons/broker/delay.h"
#include "libmq/wire/fields.h"
#include "libmq/wire/message_properties.h"

enum {
	ADDITION_OVERHEAD = 36, /* bytes: the longest name that is added, two separators, and a number */
	DROPPED_MAX = 16,       /* names in one of the lists that follow, with one more and the end */
};

/* Whoever sends these, the broker's own come instead. POP_CK is a receipt of an earlier delivery. */
static const char *const dropped[] = {
	MQ_PROPERTY_MSG_REGION, MQ_PROPERTY_TRACE_ON, MQ_PROPERTY_CLUSTER, MQ_PROPERTY_POP_CK, NULL,
};
static const char *const dropped_of_half[] = {
	MQ_PROPERTY_MSG_REGION, MQ_PROPERTY_TRACE_ON, MQ_PROPERTY_CLUSTER,        MQ_PROPERTY_POP_CK,
	MQ_PROPERTY_REAL_TOPIC, MQ_PROPERTY_REAL_QID, MQ_PROPERTY_TRANSACTION_ID, NULL,
};
/* A level excludes timers: what comes out would be delayed again. */
static const char *const dropped_of_level[] = {
	MQ_PROPERTY_MSG_REGION,     MQ_PROPERTY_TRACE_ON,         MQ_PROPERTY_CLUSTER, MQ_PROPERTY_POP_CK,
	MQ_PROPERTY_REAL_TOPIC,     MQ_PROPERTY_REAL_QID,         MQ_PROPERTY_DELAY,   MQ_PROPERTY_TIMER_DELAY_SEC,
	MQ_PROPERTY_TIMER_DELAY_MS, MQ_PROPERTY_TIMER_DELIVER_MS, NULL,
};
static const char *const dropped_of_timer[] = {
	MQ_PROPERTY_MSG_REGION, MQ_PROPERTY_TRACE_ON, MQ_PROPERTY_CLUSTER, MQ_PROPERTY_POP_CK,
	MQ_PROPERTY_REAL_TOPIC, MQ_PROPERTY_REAL_QID, NULL,
};

static const char *const dropped_of_dead[] = {
	MQ_PROPERTY_MSG_REGION, MQ_PROPERTY_TRACE_ON, MQ_PROPERTY_CLUSTER, MQ_PROPERTY_POP_CK, MQ_PROPERTY_DELAY, NULL,
};

enum mark {
	MARK_TAGS,
	MARK_KEYS,
	MARK_UNIQ_KEY,
	MARK_PGROUP,
	MARK_REAL_TOPIC,
	MARK_REAL_QID,
	MARK_IMMUNITY,
	MARK_WAIT,
	MARK_TRAN_MSG,
	MARK_DELAY,
	MARK_DELAY_SEC,
	MARK_DELAY_MS,
	MARK_DELIVER_MS,
	MARK_TIMER_OUT_MS,
	MARK_TIMER_DEL_UNIQKEY,
	MARK_PRIORITY,
	MARK_SHARDING_KEY,
	N_MARKS,
};
static const char *const mark_names[N_MARKS] = {
	[MARK_TAGS] = MQ_PROPERTY_TAGS,
	[MARK_KEYS] = MQ_PROPERTY_KEYS,
	[MARK_UNIQ_KEY] = MQ_PROPERTY_UNIQ_KEY,
	[MARK_PGROUP] = MQ_PROPERTY_PGROUP,
	[MARK_REAL_TOPIC] = MQ_PROPERTY_REAL_TOPIC,
	[MARK_REAL_QID] = MQ_PROPERTY_REAL_QID,
	[MARK_IMMUNITY] = MQ_PROPERTY_CHECK_IMMUNITY,
	[MARK_WAIT] = MQ_PROPERTY_WAIT,
	[MARK_TRAN_MSG] = MQ_PROPERTY_TRAN_MSG,
	[MARK_DELAY] = MQ_PROPERTY_DELAY,
	[MARK_DELAY_SEC] = MQ_PROPERTY_TIMER_DELAY_SEC,
	[MARK_DELAY_MS] = MQ_PROPERTY_TIMER_DELAY_MS,
	[MARK_DELIVER_MS] = MQ_PROPERTY_TIMER_DELIVER_MS,
	[MARK_TIMER_OUT_MS] = MQ_PROPERTY_TIMER_OUT_MS,
	[MARK_TIMER_DEL_UNIQKEY] = MQ_PROPERTY_TIMER_DEL_UNIQKEY,
	[MARK_PRIORITY] = MQ_PROPERTY_PRIORITY,
	[MARK_SHARDING_KEY] = MQ_PROPERTY_SHARDING_KEY,
};

static bool message_is_true(struct mq_slice text, bool otherwise)
{
	bool value = otherwise;

	if (text.p)
		(void)mq_parse_bool(text, &value); /* anything but "true" is false */
	return value;
}

void message_marks_read(struct message_marks *ret, struct mq_slice properties)
{
	struct mq_slice v[N_MARKS];

	mq_properties_find(properties, mark_names, v, N_MARKS);
	*ret = (struct message_marks){
		.tags = v[MARK_TAGS],
		.keys = v[MARK_KEYS],
		.uniq_key = v[MARK_UNIQ_KEY],
		.group = v[MARK_PGROUP],
		.real_topic = v[MARK_REAL_TOPIC],
		.real_queue_id = v[MARK_REAL_QID],
		.check_immunity = v[MARK_IMMUNITY],
		.delay_level = v[MARK_DELAY],
		.timer_delay_sec = v[MARK_DELAY_SEC],
		.timer_delay_ms = v[MARK_DELAY_MS],
		.timer_deliver_ms = v[MARK_DELIVER_MS],
		.timer_out_ms = v[MARK_TIMER_OUT_MS],
		.timer_del_uniq_key = v[MARK_TIMER_DEL_UNIQKEY],
		.priority = v[MARK_PRIORITY],
		.sharding_key = v[MARK_SHARDING_KEY],
		.wants_wait = message_is_true(v[MARK_WAIT], true),
		.is_prepared = message_is_true(v[MARK_TRAN_MSG], false),
		.is_transactional = message_is_true(v[MARK_TRAN_MSG], false),
	};
}

/* Those that the sender may not set, or that are set anew. */
static const char *const *message_dropped_of(const struct message_additions *more)
{
	if (more->delay)
		return more->delay->kind == DELAY_LEVEL ? dropped_of_level : dropped_of_timer;
	if (more->is_dead)
		return dropped_of_dead;
	return more->real_topic.p ? dropped_of_half : dropped;
}

static const char *const *message_dropped(const struct message_additions *more, const char *names[DROPPED_MAX])
{
	const char *const *list = message_dropped_of(more);
	unsigned n = 0;

	if (!more->drops_priority)
		return list;
	for (; list[n]; n++)
		names[n] = list[n];
	names[n++] = MQ_PROPERTY_PRIORITY;
	names[n] = NULL;
	return names;
}

size_t message_properties_encode(const struct broker_config *config, struct mq_slice in,
				 const struct message_additions *more, char ret[MQ_PROPERTIES_MAX])
{
	struct mq_properties_out out;
	const char *names[DROPPED_MAX];

	mq_properties_begin(&out, ret, MQ_PROPERTIES_MAX, in, message_dropped(more, names));
	mq_properties_add(&out, MQ_PROPERTY_MSG_REGION, mq_slice_of(config->regionId));
	mq_properties_add(&out, MQ_PROPERTY_CLUSTER, mq_slice_of(config->brokerClusterName));
	mq_properties_add(&out, MQ_PROPERTY_TRACE_ON,
			   config_get(config, traceOn) ? MQ_SLICE("true") : MQ_SLICE("false"));
	if (more->uniq_key.p)
		mq_properties_add(&out, MQ_PROPERTY_UNIQ_KEY, more->uniq_key);
	if (more->is_dead)
		mq_properties_add(&out, MQ_PROPERTY_DELAY, MQ_SLICE("-1"));
	if (more->delay && more->delay->kind == DELAY_LEVEL)
		mq_properties_add_i64(&out, MQ_PROPERTY_DELAY, more->delay->level);
	else if (more->delay)
		mq_properties_add_i64(&out, MQ_PROPERTY_TIMER_OUT_MS, more->delay->out_ms);
	if (more->real_topic.p) {
		mq_properties_add(&out, MQ_PROPERTY_REAL_TOPIC, more->real_topic);
		mq_properties_add_i64(&out, MQ_PROPERTY_REAL_QID, more->real_queue_id);
	}
	if (more->transaction_id.p)
		mq_properties_add(&out, MQ_PROPERTY_TRANSACTION_ID, more->transaction_id);
	return mq_properties_end(&out, (struct mq_slice){}).n;
}

size_t message_properties_bound(const struct broker_config *config, struct mq_slice in,
				const struct message_additions *more)
{
	return in.n + 1 + strlen(config->regionId) + strlen(config->brokerClusterName) + more->uniq_key.n +
	       more->real_topic.n + more->transaction_id.n + 9 * ADDITION_OVERHEAD;
}

size_t message_tail_bound(struct mq_slice topic, size_t n_properties)
{
	return 2 + topic.n + 2 + n_properties;
}

size_t message_record_encode(const struct mq_record *rec, const struct message_marks *marks, char *head,
			     char *tail, struct store_record *ret)
{
	size_t n_tail = mq_record_encode_tail(rec, tail);

	*ret = (struct store_record){
		.head = head,
		.n_head = mq_record_encode_head(rec, head),
		.body = rec->body,
		.tail = { tail, n_tail },
		.tag_hash = marks->tags.p ? mq_java_hash(marks->tags) : 0,
		.keys = marks->keys,
		/* What recalls a message has its id, and would be found in its place when it is looked for. */
		.uniq_key = marks->timer_del_uniq_key.p ? (struct mq_slice){} : marks->uniq_key,
	};
	return n_tail;
}
