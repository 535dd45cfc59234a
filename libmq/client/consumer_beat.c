/* Heartbeats to every broker of the topic. */
#include <event2/buffer.h>

#include "libmq/client/consumer_internal.h"
#include "libmq/client/route.h"
#include "libmq/wire/body_heartbeat.h"
#include "libmq/wire/codes.h"
#include "libmq/wire/json.h"
#include "libmq/wire/message_properties.h"

enum { HEARTBEAT_S = 30 };

static void write_subscription(struct mq_json_writer *w, const struct subscription *sub)
{
	bool has_tags = !sub->is_sql && !mq_tags_match_all(mq_slice_of(sub->expression));
	struct mq_slice rest = mq_slice_of(sub->expression), tag;

	mq_json_open_object(w);
	mq_json_member_bool(w, "classFilterMode", false);
	mq_json_key(w, "codeSet");
	mq_json_open_array(w);
	while (has_tags && mq_tags_next(&rest, &tag))
		mq_json_i64_value(w, mq_java_hash(tag));
	mq_json_close_array(w);
	mq_json_member_string(w, "expressionType", sub->is_sql ? MQ_SLICE("SQL92") : MQ_SLICE("TAG"));
	mq_json_member_string(w, "subString", mq_slice_of(sub->expression));
	mq_json_member_i64(w, "subVersion", sub->version);
	mq_json_key(w, "tagsSet");
	mq_json_open_array(w);
	rest = mq_slice_of(sub->expression);
	while (has_tags && mq_tags_next(&rest, &tag))
		mq_json_string(w, tag);
	mq_json_close_array(w);
	mq_json_member_string(w, "topic", mq_slice_of(sub->topic));
	mq_json_close_object(w);
}

static int consumer_write_heartbeat(const struct mq_consumer *k, struct evbuffer *out)
{
	static const char *const from[] = {
		[MQ_FROM_LAST] = "CONSUME_FROM_LAST_OFFSET",
		[MQ_FROM_FIRST] = "CONSUME_FROM_FIRST_OFFSET",
		[MQ_FROM_TIME] = "CONSUME_FROM_TIMESTAMP",
	};
	struct mq_json_writer w;

	mq_json_begin(&w, out);
	mq_json_open_object(&w);
	mq_json_member_string(&w, "clientID", mq_slice_of(mq_client_id(k->client)));
	mq_json_key(&w, "consumerDataSet");
	mq_json_open_array(&w);
	mq_json_open_object(&w);
	mq_json_member_string(&w, "consumeFromWhere", mq_slice_of(from[k->cfg.from]));
	mq_json_member_string(&w, "consumeType", MQ_SLICE("CONSUME_PASSIVELY"));
	mq_json_member_string(&w, "groupName", mq_slice_of(k->group));
	mq_json_member_string(&w, "messageModel", MQ_SLICE("CLUSTERING"));
	mq_json_key(&w, "subscriptionDataSet");
	mq_json_open_array(&w);
	for (unsigned i = 0; i < N_ELEMENTS(k->subs); i++)
		write_subscription(&w, &k->subs[i]);
	mq_json_close_array(&w);
	mq_json_member_bool(&w, "unitMode", false);
	mq_json_close_object(&w);
	mq_json_close_array(&w);
	mq_json_member_i64(&w, "heartbeatFingerprint", 0);
	mq_json_key(&w, "producerDataSet");
	mq_json_open_array(&w);
	mq_json_close_array(&w);
	mq_json_member_bool(&w, "withoutSub", false);
	mq_json_close_object(&w);
	return mq_json_end(&w);
}

static void consumer_beat_ended(struct mq_consumer *k, bool was_accepted)
{
	k->n_beats--;
	if (was_accepted && !k->has_joined) {
		k->has_joined = true;
		mq_consumer_arm(k->rebalance, 0);
	}
}

static void consumer_on_beat(const struct mq_failure *f, const struct mq_command *answer, const char *where,
			     void *user)
{
	struct mq_consumer *k = user;

	if (!mq_consumer_resume(k))
		return;
	if (f)
		mq_consumer_report(k, f);
	else if (answer->code != MQ_SUCCESS)
		mq_consumer_report_answer(k, where, answer);
	consumer_beat_ended(k, !f && answer->code == MQ_SUCCESS);
}

static void consumer_beat(struct mq_consumer *k, const struct mq_topic_broker *b, struct mq_slice body)
{
	struct mq_hop hop = mq_topic_route_hop(b);
	struct mq_command cmd;

	mq_command_request(&cmd, MQ_HEART_BEAT);
	cmd.body = body;
	k->n_pending++;
	k->n_beats++;
	if (mq_client_call(k->client, &hop, &cmd, 0, consumer_on_beat, k) < 0) {
		k->n_pending--;
		k->n_beats--;
	}
}

static void consumer_on_beat_route(const struct mq_failure *f, struct mq_topic_route *route, void *user)
{
	struct mq_consumer *k = user;
	struct evbuffer *out;

	if (!mq_consumer_resume(k))
		return;
	if (f) {
		mq_consumer_report(k, f);
		mq_consumer_arm(k->heartbeat, 1); /* the topic may appear any moment */
		return;
	}
	out = evbuffer_new();
	if (out && consumer_write_heartbeat(k, out) == 0) {
		struct mq_slice body = { (const char *)evbuffer_pullup(out, -1), evbuffer_get_length(out) };

		for (unsigned i = 0; i < route->n_brokers; i++)
			if (route->brokers[i].address)
				consumer_beat(k, &route->brokers[i], body);
	}
	if (out)
		evbuffer_free(out);
}

void mq_consumer_on_heartbeat(evutil_socket_t fd, short what, void *user)
{
	struct mq_consumer *k = user;

	mq_consumer_arm(k->heartbeat, k->has_joined ? HEARTBEAT_S : 1);
	if (k->n_beats > 0)
		return;
	k->n_pending++;
	if (mq_client_find_route(k->client, k->subs[0].topic, MQ_FIND_AS_IS, consumer_on_beat_route, k) < 0)
		k->n_pending--;
}
