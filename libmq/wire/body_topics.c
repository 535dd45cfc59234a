#include "libmq/wire/body_topics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void mq_data_version_write(struct mq_json_writer *w, const struct mq_data_version *v)
{
	mq_json_open_object(w);
	mq_json_member_i64(w, "counter", v->counter);
	mq_json_member_i64(w, "stateVersion", v->state_version);
	mq_json_member_i64(w, "timestamp", v->timestamp);
	mq_json_close_object(w);
}

struct mq_slice mq_data_version_text(const struct mq_data_version *v, char ret[MQ_DATA_VERSION_TEXT])
{
	int n = snprintf(ret, MQ_DATA_VERSION_TEXT,
			 "{\"counter\":%" PRIi64 ",\"stateVersion\":%" PRIi64 ",\"timestamp\":%" PRIi64 "}", v->counter,
			 v->state_version, v->timestamp);

	return (struct mq_slice){ ret, (size_t)n };
}

void mq_data_version_read(const struct mq_json_node *node, struct mq_data_version *ret)
{
	ret->counter = mq_json_i64(mq_json_get(node, "counter"), 0);
	ret->state_version = mq_json_i64(mq_json_get(node, "stateVersion"), 0);
	ret->timestamp = mq_json_i64(mq_json_get(node, "timestamp"), 0);
}

bool mq_attributes_next(struct mq_slice *rest, struct mq_slice *ret_key, struct mq_slice *ret_value)
{
	if (rest->n == 0)
		return false;

	const char *comma = memchr(rest->p, ',', rest->n);
	struct mq_slice pair = { rest->p, comma ? (size_t)(comma - rest->p) : rest->n };
	const char *equals = memchr(pair.p, '=', pair.n);
	size_t taken = pair.n + (comma ? 1 : 0);

	*rest = (struct mq_slice){ rest->p + taken, rest->n - taken };
	*ret_key = (struct mq_slice){ pair.p, equals ? (size_t)(equals - pair.p) : pair.n };
	*ret_value = equals ? (struct mq_slice){ equals + 1, pair.n - ret_key->n - 1 } : (struct mq_slice){};
	return true;
}

void mq_attributes_write(struct mq_json_writer *w, struct mq_slice attributes)
{
	struct mq_slice key, value;

	mq_json_open_object(w);
	while (mq_attributes_next(&attributes, &key, &value)) {
		mq_json_key_slice(w, key);
		mq_json_string(w, value);
	}
	mq_json_close_object(w);
}

int mq_attributes_read(const struct mq_json_node *object, char *ret, size_t size)
{
	size_t n = 0;

	MQ_JSON_EACH(member, object && object->type == MQ_JSON_OBJECT ? object : NULL) {
		struct mq_slice key = mq_json_text(member->key), value = mq_json_text(member);

		if (!key.p || !value.p)
			continue;
		/* The text form (AttributeParser's) cannot hold these: they would come back as other attributes. */
		if (memchr(key.p, ',', key.n) || memchr(key.p, '=', key.n) || memchr(value.p, ',', value.n))
			continue;
		if (n + key.n + value.n + 3 > size)
			return -E2BIG;
		if (n > 0)
			ret[n++] = ',';
		memcpy(ret + n, key.p, key.n);
		n += key.n;
		ret[n++] = '=';
		memcpy(ret + n, value.p, value.n);
		n += value.n;
	}
	return (int)n;
}

void mq_topic_config_write(struct mq_json_writer *w, const struct mq_topic_config *c)
{
	mq_json_open_object(w);
	mq_json_key(w, "attributes");
	mq_attributes_write(w, c->attributes);
	mq_json_member_bool(w, "order", c->is_order);
	mq_json_member_i64(w, "perm", c->perm);
	mq_json_member_i64(w, "readQueueNums", c->read_queues);
	mq_json_member_string(w, "topicFilterType", c->is_multi_tag ? MQ_SLICE("MULTI_TAG") : MQ_SLICE("SINGLE_TAG"));
	mq_json_member_string(w, "topicName", c->name);
	mq_json_member_i64(w, "topicSysFlag", c->sys_flag);
	mq_json_member_i64(w, "writeQueueNums", c->write_queues);
	mq_json_close_object(w);
}

static bool topic_config_number(const struct mq_json_node *node, const char *name, int32_t otherwise, int32_t *ret)
{
	int64_t value = mq_json_i64(mq_json_get(node, name), otherwise);

	*ret = (int32_t)value;
	return value == *ret;
}

int mq_topic_config_read(const struct mq_json_node *node, struct mq_topic_config *ret, char *attributes, size_t size)
{
	static const char *const filter_types[] = { "SINGLE_TAG", "MULTI_TAG" };
	struct mq_topic_config c = {};
	int r;

	c.name = mq_json_text(mq_json_get(node, "topicName"));
	if (!c.name.p || !topic_config_number(node, "readQueueNums", 16, &c.read_queues) ||
	    !topic_config_number(node, "writeQueueNums", 16, &c.write_queues) ||
	    !topic_config_number(node, "perm", 6, &c.perm) ||
	    !topic_config_number(node, "topicSysFlag", 0, &c.sys_flag))
		return -EBADMSG;
	c.is_order = mq_json_bool(mq_json_get(node, "order"), false);
	c.is_multi_tag = mq_json_enum(mq_json_get(node, "topicFilterType"), filter_types, 2, 0) == 1;
	r = mq_attributes_read(mq_json_get(node, "attributes"), attributes, size);
	if (r < 0)
		return r;
	c.attributes = (struct mq_slice){ attributes, (size_t)r };
	*ret = c;
	return 0;
}
