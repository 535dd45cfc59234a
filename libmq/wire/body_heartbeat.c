#include "libmq/wire/body_heartbeat.h"

#include <errno.h>
#include <string.h>

static const char *const consume_types[] = { "CONSUME_ACTIVELY", "CONSUME_PASSIVELY", "CONSUME_POP" };
static const char *const message_models[] = { "BROADCASTING", "CLUSTERING" };
static const char *const consume_froms[MQ_CONSUME_FROM_N] = {
	"CONSUME_FROM_LAST_OFFSET",
	"CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
	"CONSUME_FROM_MIN_OFFSET",
	"CONSUME_FROM_MAX_OFFSET",
	"CONSUME_FROM_FIRST_OFFSET",
	"CONSUME_FROM_TIMESTAMP",
};

const char *mq_consume_type_name(enum mq_consume_type type)
{
	return consume_types[type];
}

const char *mq_message_model_name(enum mq_message_model model)
{
	return message_models[model];
}

const char *mq_consume_from_name(int from)
{
	return consume_froms[from];
}

/* NULL stays NULL. False when it is no array, or too long. */
static bool heartbeat_array(const struct mq_json_node *node, unsigned max)
{
	return !node || (node->type == MQ_JSON_ARRAY && node->n <= max);
}

int mq_heartbeat_read(const struct mq_json *doc, struct mq_heartbeat *ret, struct mq_error *err)
{
	const struct mq_json_node *root = mq_json_root(doc);
	struct mq_heartbeat h = {
		.client_id = mq_json_text(mq_json_get(root, "clientID")),
		.fingerprint = (int32_t)mq_json_i64(mq_json_get(root, "heartbeatFingerprint"), 0),
		.without_subscriptions = mq_json_bool(mq_json_get(root, "withoutSub"), false),
		.consumers = mq_json_get(root, "consumerDataSet"),
		.producers = mq_json_get(root, "producerDataSet"),
	};

	if (h.client_id.n == 0)
		return mq_error_set(err, -EBADMSG, "the heartbeat names no clientID");
	if (!heartbeat_array(h.consumers, MQ_HEARTBEAT_GROUPS_MAX) ||
	    !heartbeat_array(h.producers, MQ_HEARTBEAT_GROUPS_MAX))
		return mq_error_set(err, -EBADMSG, "consumerDataSet or producerDataSet is no array of at most %d groups",
				    MQ_HEARTBEAT_GROUPS_MAX);
	*ret = h;
	return 0;
}

int mq_heartbeat_consumer_read(const struct mq_json_node *node, struct mq_heartbeat_consumer *ret, struct mq_error *err)
{
	struct mq_heartbeat_consumer c = {
		.group = mq_json_text(mq_json_get(node, "groupName")),
		.type = (enum mq_consume_type)mq_json_enum(mq_json_get(node, "consumeType"), consume_types, 3,
							   MQ_CONSUME_PASSIVELY),
		.model = (enum mq_message_model)mq_json_enum(mq_json_get(node, "messageModel"), message_models, 2,
							     MQ_CLUSTERING),
		.from = mq_json_enum(mq_json_get(node, "consumeFromWhere"), consume_froms, MQ_CONSUME_FROM_N, 0),
		.unit_mode = mq_json_bool(mq_json_get(node, "unitMode"), false),
		.subscriptions = mq_json_get(node, "subscriptionDataSet"),
	};

	if (c.group.n == 0)
		return mq_error_set(err, -EBADMSG, "a consumer of the heartbeat has no groupName");
	if (!heartbeat_array(c.subscriptions, MQ_HEARTBEAT_SUBSCRIPTIONS_MAX))
		return mq_error_set(err, -EBADMSG, "subscriptionDataSet is no array of at most %d subscriptions",
				    MQ_HEARTBEAT_SUBSCRIPTIONS_MAX);
	*ret = c;
	return 0;
}

struct mq_slice mq_heartbeat_producer_read(const struct mq_json_node *node)
{
	struct mq_slice group = mq_json_text(mq_json_get(node, "groupName"));

	return group.n > 0 ? group : (struct mq_slice){};
}

int mq_subscription_read(const struct mq_json_node *node, struct mq_subscription *ret, struct mq_error *err)
{
	struct mq_subscription s = {
		.topic = mq_json_text(mq_json_get(node, "topic")),
		.sub_string = mq_json_text(mq_json_get(node, "subString")),
		.expression_type = mq_json_text(mq_json_get(node, "expressionType")),
		.version = mq_json_i64(mq_json_get(node, "subVersion"), 0),
		.class_filter = mq_json_bool(mq_json_get(node, "classFilterMode"), false),
		.tags = mq_json_get(node, "tagsSet"),
		.codes = mq_json_get(node, "codeSet"),
	};

	if (s.topic.n == 0)
		return mq_error_set(err, -EBADMSG, "a subscription of the heartbeat has no topic");
	if (!heartbeat_array(s.tags, MQ_SUBSCRIPTION_TAGS_MAX) || !heartbeat_array(s.codes, MQ_SUBSCRIPTION_TAGS_MAX))
		return mq_error_set(err, -EBADMSG, "tagsSet or codeSet is no array of at most %d entries",
				    MQ_SUBSCRIPTION_TAGS_MAX);
	if (s.expression_type.n == 0)
		s.expression_type = MQ_SLICE("TAG");
	*ret = s;
	return 0;
}

static struct mq_slice tags_trim(struct mq_slice s)
{
	while (s.n > 0 && (unsigned char)s.p[0] <= ' ')
		s = (struct mq_slice){ s.p + 1, s.n - 1 };
	while (s.n > 0 && (unsigned char)s.p[s.n - 1] <= ' ')
		s.n--;
	return s;
}

bool mq_tags_next(struct mq_slice *rest, struct mq_slice *ret)
{
	while (rest->n > 0) {
		const char *bars = memmem(rest->p, rest->n, "||", 2);
		struct mq_slice tag = { rest->p, bars ? (size_t)(bars - rest->p) : rest->n };
		size_t taken = tag.n + (bars ? 2 : 0);

		*rest = (struct mq_slice){ rest->p + taken, rest->n - taken };
		tag = tags_trim(tag);
		if (tag.n > 0) {
			*ret = tag;
			return true;
		}
	}
	return false;
}

bool mq_tags_match_all(struct mq_slice sub_string)
{
	return sub_string.n == 0 || mq_slice_is(sub_string, "*");
}
