#include "libmq/wire/body_lock.h"

#include <errno.h>

void mq_queue_name_write(struct mq_json_writer *w, const struct mq_queue_name *q)
{
	mq_json_open_object(w);
	mq_json_member_string(w, "brokerName", q->broker);
	mq_json_member_i64(w, "queueId", q->id);
	mq_json_member_string(w, "topic", q->topic);
	mq_json_close_object(w);
}

int mq_queue_name_read(const struct mq_json_node *node, struct mq_queue_name *ret)
{
	int64_t id = mq_json_i64(mq_json_get(node, "queueId"), 0);
	struct mq_slice topic = mq_json_text(mq_json_get(node, "topic"));

	if (!topic.p || id < 0 || id > INT32_MAX)
		return -EBADMSG;
	ret->broker = mq_json_text(mq_json_get(node, "brokerName"));
	ret->topic = topic;
	ret->id = (int32_t)id;
	return 0;
}

int mq_lock_body_read(const struct mq_json *doc, struct mq_lock_body *ret, struct mq_error *err)
{
	const struct mq_json_node *root = mq_json_root(doc);
	const struct mq_json_node *queues = mq_json_get(root, "mqSet");
	struct mq_slice group = mq_json_text(mq_json_get(root, "consumerGroup"));
	struct mq_slice client_id = mq_json_text(mq_json_get(root, "clientId"));

	if (group.n == 0 || client_id.n == 0)
		return mq_error_set(err, -EBADMSG, "the body names no %s", group.n == 0 ? "consumerGroup" : "clientId");
	if (queues && (queues->type != MQ_JSON_ARRAY || queues->n > MQ_LOCK_QUEUES_MAX))
		return mq_error_set(err, -EBADMSG, "mqSet is no array of at most %d queues", MQ_LOCK_QUEUES_MAX);
	ret->group = group;
	ret->client_id = client_id;
	ret->only_this_broker = mq_json_bool(mq_json_get(root, "onlyThisBroker"), false);
	ret->queues = queues;
	return 0;
}
