/* Bodies of heartbeats, locks, assignments, topics and groups: whatever parses as JSON can be read, and what was read can be written. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "libmq/wire/body_assignment.h"
#include "libmq/wire/body_groups.h"
#include "libmq/wire/body_heartbeat.h"
#include "libmq/wire/body_lock.h"
#include "libmq/wire/body_topics.h"

static void read_subscriptions(const struct mq_json_node *list)
{
	struct mq_subscription s;
	struct mq_error err = { 0 };

	MQ_JSON_EACH(node, list) {
		if (mq_subscription_read(node, &s, &err) < 0) {
			must(err.code == -EBADMSG && err.text[0]);
			continue;
		}
		must(s.topic.n > 0 && s.expression_type.n > 0);
		must(!s.tags || s.tags->n <= MQ_SUBSCRIPTION_TAGS_MAX);

		struct mq_slice rest = s.sub_string, tag;

		while (mq_tags_next(&rest, &tag))
			must(tag.n > 0 && tag.p >= s.sub_string.p && tag.p + tag.n <= s.sub_string.p + s.sub_string.n);
	}
}

static void read_heartbeat(const struct mq_json *doc)
{
	struct mq_heartbeat_consumer c;
	struct mq_heartbeat h;
	struct mq_error err = { 0 };

	if (mq_heartbeat_read(doc, &h, &err) < 0) {
		must(err.code == -EBADMSG && err.text[0]);
		return;
	}
	must(h.client_id.n > 0);
	MQ_JSON_EACH(node, h.producers)
		(void)mq_heartbeat_producer_read(node);
	MQ_JSON_EACH(node, h.consumers) {
		if (mq_heartbeat_consumer_read(node, &c, &err) < 0)
			continue;
		must(c.group.n > 0);
		must(mq_consume_type_name(c.type) && mq_message_model_name(c.model) && mq_consume_from_name(c.from));
		read_subscriptions(c.subscriptions);
	}
}

static void read_lock(const struct mq_json *doc)
{
	struct mq_lock_body body;
	struct mq_queue_name q;
	struct mq_error err = { 0 };

	if (mq_lock_body_read(doc, &body, &err) < 0) {
		must(err.code == -EBADMSG && err.text[0]);
		return;
	}
	must(body.group.n > 0 && body.client_id.n > 0);
	MQ_JSON_EACH(node, body.queues)
		must(mq_queue_name_read(node, &q) < 0 || (q.id >= 0 && q.topic.p));
}

static void read_topic(const struct mq_json *doc, struct evbuffer *out)
{
	struct mq_topic_config c;
	struct mq_json_writer w;
	char attributes[256];

	if (mq_topic_config_read(mq_json_root(doc), &c, attributes, sizeof attributes) < 0)
		return;
	mq_json_begin(&w, out);
	mq_topic_config_write(&w, &c);
	must(mq_json_end(&w) == 0);
}

static bool is_ascii(struct mq_slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

/* What was written reads back as the same. */
static void read_group(const struct mq_json *doc, struct evbuffer *out)
{
	_cleanup_(mq_json_freep) struct mq_json *again = NULL;
	char text[MQ_GROUP_TEXT_MAX], text_again[MQ_GROUP_TEXT_MAX];
	struct mq_group_config c, d;
	struct mq_json_writer w;

	if (mq_group_config_read(mq_json_root(doc), &c, text) < 0)
		return;
	mq_json_begin(&w, out);
	mq_group_config_write(&w, &c);
	must(mq_json_end(&w) == 0);
	must(mq_json_parse(&again, fuzz_bytes(out), NULL) == 0);
	must(mq_group_config_read(mq_json_root(again), &d, text_again) == 0);
	must(c.retry_queues == d.retry_queues && c.consume_enable == d.consume_enable);
	must(!is_ascii(c.name) || mq_slice_equal(c.name, d.name)); /* what is no UTF-8 is not kept */
}

/* What was written reads back as the same. */
static void read_assignment(const struct mq_json *doc, struct evbuffer *out)
{
	_cleanup_(mq_json_freep) struct mq_json *again = NULL;
	struct mq_assignment_query query;
	struct mq_mode_setting s, t;
	struct mq_error err = { 0 };
	struct mq_json_writer w;

	if (mq_assignment_query_read(mq_json_root(doc), &query, &err) == 0)
		must(query.topic.n > 0 && query.group.n > 0 && mq_message_model_name(query.model));
	else
		must(err.code == -EBADMSG && err.text[0]);
	if (mq_mode_setting_read(mq_json_root(doc), &s, &err) < 0) {
		must(err.code == -EBADMSG && err.text[0]);
		return;
	}
	must(s.topic.n > 0 && s.group.n > 0);
	mq_json_begin(&w, out);
	mq_mode_setting_write(&w, &s);
	must(mq_json_end(&w) == 0);
	must(mq_json_parse(&again, fuzz_bytes(out), NULL) == 0);
	must(mq_mode_setting_read(mq_json_root(again), &t, NULL) == 0);
	/* A mode that is none is not written, and what is not there is PULL. */
	must(t.pop_share == s.pop_share && t.mode == (s.mode == MQ_MODE_NONE ? MQ_MODE_PULL : s.mode));
	must(!is_ascii(s.topic) || mq_slice_equal(t.topic, s.topic));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(evbuffer_freep) struct evbuffer *topic = evbuffer_new(), *group = evbuffer_new();
	_cleanup_(evbuffer_freep) struct evbuffer *mode = evbuffer_new();
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;

	if (mq_json_parse(&doc, fuzz_slice(data, size), NULL) < 0)
		return 0;
	read_heartbeat(doc);
	read_lock(doc);
	read_topic(doc, topic);
	read_group(doc, group);
	read_assignment(doc, mode);
	return 0;
}
