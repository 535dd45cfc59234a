#include "libmq/wire/body_stats.h"

void mq_topic_offset_write(struct mq_json_writer *w, const struct mq_queue_name *q, const struct mq_topic_offset *o)
{
	mq_queue_name_write(w, q);
	mq_json_key_done(w);
	mq_json_open_object(w);
	mq_json_member_i64(w, "lastUpdateTimestamp", o->last_update_ms);
	mq_json_member_i64(w, "maxOffset", o->max);
	mq_json_member_i64(w, "minOffset", o->min);
	mq_json_close_object(w);
}

void mq_consume_offset_write(struct mq_json_writer *w, const struct mq_queue_name *q, const struct mq_consume_offset *o)
{
	mq_queue_name_write(w, q);
	mq_json_key_done(w);
	mq_json_open_object(w);
	mq_json_member_i64(w, "brokerOffset", o->broker_offset);
	mq_json_member_i64(w, "consumerOffset", o->consumer_offset);
	mq_json_member_i64(w, "lastTimestamp", o->last_ms);
	mq_json_member_i64(w, "pullOffset", o->pull_offset);
	mq_json_close_object(w);
}
