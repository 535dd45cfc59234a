#include "libmq/wire/body_groups.h"

#include <errno.h>
#include <event2/buffer.h>
#include <string.h>

#include "libmq/wire/body_topics.h"

void mq_group_config_init(struct mq_group_config *c)
{
	*c = (struct mq_group_config){
		.consume_enable = true,
		.consume_from_min_enable = true,
		.consume_broadcast_enable = true,
		.notify_ids_changed = true,
		.retry_queues = 1,
		.retry_max_times = 16,
		.which_broker_when_slow = 1,
		.consume_timeout_minutes = 15,
	};
}

void mq_group_config_write(struct mq_json_writer *w, const struct mq_group_config *c)
{
	mq_json_open_object(w);
	mq_json_key(w, "attributes");
	mq_attributes_write(w, c->attributes);
	mq_json_member_i64(w, "brokerId", c->broker_id);
	mq_json_member_bool(w, "consumeBroadcastEnable", c->consume_broadcast_enable);
	mq_json_member_bool(w, "consumeEnable", c->consume_enable);
	mq_json_member_bool(w, "consumeFromMinEnable", c->consume_from_min_enable);
	mq_json_member_bool(w, "consumeMessageOrderly", c->consume_orderly);
	mq_json_member_i64(w, "consumeTimeoutMinute", c->consume_timeout_minutes);
	mq_json_member_string(w, "groupName", c->name);
	mq_json_key(w, "groupRetryPolicy");
	mq_json_raw(w, c->retry_policy.n > 0 ? c->retry_policy : MQ_SLICE(MQ_GROUP_RETRY_POLICY));
	mq_json_member_i64(w, "groupSysFlag", c->sys_flag);
	mq_json_member_bool(w, "notifyConsumerIdsChangedEnable", c->notify_ids_changed);
	mq_json_member_i64(w, "retryMaxTimes", c->retry_max_times);
	mq_json_member_i64(w, "retryQueueNums", c->retry_queues);
	mq_json_member_i64(w, "whichBrokerWhenConsumeSlowly", c->which_broker_when_slow);
	mq_json_close_object(w);
}

/* The node as compact JSON. Its depth was bounded when it was parsed. */
static void group_node_write(struct mq_json_writer *w, const struct mq_json_node *node)
{
	switch (node->type) {
	case MQ_JSON_OBJECT:
		mq_json_open_object(w);
		MQ_JSON_EACH(member, node) {
			struct mq_slice key = mq_json_text(member->key);

			if (!key.p)
				continue;
			mq_json_key_slice(w, key);
			group_node_write(w, member);
		}
		mq_json_close_object(w);
		break;
	case MQ_JSON_ARRAY:
		mq_json_open_array(w);
		MQ_JSON_EACH(element, node)
			group_node_write(w, element);
		mq_json_close_array(w);
		break;
	case MQ_JSON_STRING:
		mq_json_string(w, node->text);
		break;
	case MQ_JSON_NUMBER:
	case MQ_JSON_BOOL:
		mq_json_raw(w, node->text);
		break;
	case MQ_JSON_NULL:
		mq_json_raw(w, MQ_SLICE("null"));
		break;
	}
}

static int group_policy_read(const struct mq_json_node *node, char *ret, size_t size)
{
	struct mq_json_writer w;
	struct evbuffer *out;
	int r;

	if (!node || node->type != MQ_JSON_OBJECT)
		return 0;
	out = evbuffer_new();
	if (!out)
		return -ENOMEM;
	mq_json_begin(&w, out);
	group_node_write(&w, node);
	r = mq_json_end(&w);
	if (r == 0 && evbuffer_get_length(out) > size)
		r = -E2BIG;
	if (r == 0)
		r = evbuffer_remove(out, ret, size);
	evbuffer_free(out);
	return r;
}

static bool group_number(const struct mq_json_node *node, const char *name, int32_t *value)
{
	int64_t v = mq_json_i64(mq_json_get(node, name), *value);

	*value = (int32_t)v;
	return v == *value;
}

static void group_bool(const struct mq_json_node *node, const char *name, bool *value)
{
	*value = mq_json_bool(mq_json_get(node, name), *value);
}

int mq_group_config_read(const struct mq_json_node *node, struct mq_group_config *ret, char text[MQ_GROUP_TEXT_MAX])
{
	struct mq_group_config c;
	int n_attributes, n_policy;

	if (!node || node->type != MQ_JSON_OBJECT)
		return -EBADMSG;
	mq_group_config_init(&c);
	c.name = mq_json_text(mq_json_get(node, "groupName"));
	group_bool(node, "consumeEnable", &c.consume_enable);
	group_bool(node, "consumeFromMinEnable", &c.consume_from_min_enable);
	group_bool(node, "consumeBroadcastEnable", &c.consume_broadcast_enable);
	group_bool(node, "consumeMessageOrderly", &c.consume_orderly);
	group_bool(node, "notifyConsumerIdsChangedEnable", &c.notify_ids_changed);
	if (!group_number(node, "retryQueueNums", &c.retry_queues) ||
	    !group_number(node, "retryMaxTimes", &c.retry_max_times) || !group_number(node, "brokerId", &c.broker_id) ||
	    !group_number(node, "whichBrokerWhenConsumeSlowly", &c.which_broker_when_slow) ||
	    !group_number(node, "groupSysFlag", &c.sys_flag) ||
	    !group_number(node, "consumeTimeoutMinute", &c.consume_timeout_minutes))
		return -EBADMSG;
	n_attributes = mq_attributes_read(mq_json_get(node, "attributes"), text, MQ_GROUP_TEXT_MAX);
	if (n_attributes < 0)
		return n_attributes;
	c.attributes = (struct mq_slice){ text, (size_t)n_attributes };
	n_policy = group_policy_read(mq_json_get(node, "groupRetryPolicy"), text + n_attributes,
				     (size_t)(MQ_GROUP_TEXT_MAX - n_attributes));
	if (n_policy < 0)
		return n_policy;
	/* The default is written where none was given: what is accepted now must be readable again from disk. */
	if (n_policy == 0 && (size_t)n_attributes + sizeof(MQ_GROUP_RETRY_POLICY) - 1 > MQ_GROUP_TEXT_MAX)
		return -E2BIG;
	c.retry_policy = (struct mq_slice){ text + n_attributes, (size_t)n_policy };
	*ret = c;
	return 0;
}
