#include "libmq/wire/body_assignment.h"

#include <errno.h>

static const char *const mode_names[] = { "PULL", "POP" };
static const char *const model_names[] = { "BROADCASTING", "CLUSTERING" };

const char *mq_request_mode_name(enum mq_request_mode mode)
{
	return mode == MQ_MODE_NONE ? NULL : mode_names[mode];
}

static int read_names(const struct mq_json_node *node, struct mq_slice *ret_topic, struct mq_slice *ret_group, struct mq_error *err)
{
	*ret_topic = mq_json_text(mq_json_get(node, "topic"));
	*ret_group = mq_json_text(mq_json_get(node, "consumerGroup"));
	if (ret_topic->n == 0 || ret_group->n == 0)
		return mq_error_set(err, -EBADMSG, "the body names no %s", ret_topic->n == 0 ? "topic" : "consumerGroup");
	return 0;
}

static void write_mode(struct mq_json_writer *w, enum mq_request_mode mode)
{
	if (mode != MQ_MODE_NONE)
		mq_json_member_string(w, "mode", mq_slice_of(mq_request_mode_name(mode)));
}

int mq_mode_setting_read(const struct mq_json_node *node, struct mq_mode_setting *ret, struct mq_error *err)
{
	const struct mq_json_node *mode = mq_json_get(node, "mode");
	int64_t share = mq_json_i64(mq_json_get(node, "popShareQueueNum"), 0);
	int r = read_names(node, &ret->topic, &ret->group, err);

	if (r < 0)
		return r;
	if (share < INT32_MIN || share > INT32_MAX)
		return mq_error_set(err, -EBADMSG, "popShareQueueNum is out of range");
	ret->mode = mode ? mq_json_enum(mode, mode_names, N_ELEMENTS(mode_names), MQ_MODE_NONE) : MQ_MODE_PULL;
	ret->pop_share = (int32_t)share;
	return 0;
}

void mq_mode_setting_write(struct mq_json_writer *w, const struct mq_mode_setting *s)
{
	mq_json_open_object(w);
	mq_json_member_string(w, "consumerGroup", s->group);
	write_mode(w, s->mode);
	mq_json_member_i64(w, "popShareQueueNum", s->pop_share);
	mq_json_member_string(w, "topic", s->topic);
	mq_json_close_object(w);
}

int mq_assignment_query_read(const struct mq_json_node *node, struct mq_assignment_query *ret, struct mq_error *err)
{
	int model = mq_json_enum(mq_json_get(node, "messageModel"), model_names, N_ELEMENTS(model_names), -1);
	int r = read_names(node, &ret->topic, &ret->group, err);

	if (r < 0)
		return r;
	if (model < 0)
		return mq_error_set(err, -EBADMSG, "the body names no messageModel");
	ret->client_id = mq_json_text(mq_json_get(node, "clientId"));
	ret->strategy = mq_json_text(mq_json_get(node, "strategyName"));
	ret->model = (enum mq_message_model)model;
	return 0;
}

void mq_assignment_write(struct mq_json_writer *w, const struct mq_queue_name *queue, enum mq_request_mode mode)
{
	mq_json_open_object(w);
	mq_json_key(w, "messageQueue");
	mq_queue_name_write(w, queue);
	write_mode(w, mode);
	mq_json_close_object(w);
}
