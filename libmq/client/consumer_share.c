/* One queue of our share: where it begins, what it pulls, what is committed of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libmq/client/consumer_internal.h"
#include "libmq/client/route.h"
#include "libmq/wire/codes.h"
#include "libmq/wire/fields.h"

enum { SUSPEND_MS = 15000 };

static void share_command(struct share *s, struct mq_command *cmd, int code)
{
	mq_command_request(cmd, code);
	if (code == MQ_QUERY_CONSUMER_OFFSET || code == MQ_UPDATE_CONSUMER_OFFSET)
		mq_command_add(cmd, "consumerGroup", mq_slice_of(s->consumer->group));
	mq_command_add(cmd, "topic", mq_slice_of(s->sub->topic));
	mq_command_add_i64(cmd, "queueId", s->queue_id);
}

/* Sends cmd to the broker of the queue, by the cached route. */
static int share_call(struct share *s, const struct mq_command *cmd, struct mq_topic_route *route,
		      mq_client_done done, void *user)
{
	const struct mq_topic_broker *b = mq_topic_route_find(route, s->broker);
	struct mq_hop hop;

	if (!b)
		return -ENOENT;
	hop = mq_topic_route_hop(b);
	return mq_client_call(s->consumer->client, &hop, cmd, 0, done, user);
}

static void ignore_answer(const struct mq_failure *f, const struct mq_command *answer, const char *where,
			  void *user)
{
}

void mq_share_commit(struct share *s)
{
	struct mq_topic_route *route = mq_client_cached_route(s->consumer->client, s->sub->topic);
	struct mq_command cmd;
	int64_t offset;

	if (!s->puller || !route)
		return;
	offset = mq_puller_offset(s->puller);
	if (offset == s->committed)
		return;
	share_command(s, &cmd, MQ_UPDATE_CONSUMER_OFFSET);
	mq_command_add_i64(&cmd, "commitOffset", offset);
	if (share_call(s, &cmd, route, ignore_answer, NULL) == 0)
		s->committed = offset;
}

static void share_destroy(struct share *s)
{
	free(s->broker);
	free(s);
}

void mq_share_drop(struct share *s)
{
	mq_share_commit(s);
	LIST_REMOVE(s, link);
	s->consumer->n_shares--;
	s->puller = mq_puller_free(s->puller);
	s->is_dropped = true;
	if (!s->is_asking)
		share_destroy(s);
}

static int share_on_batch(struct mq_puller *p, const struct mq_pull_batch *batch, void *user)
{
	struct share *s = user;

	return s->consumer->events->on_batch(p, batch, s->consumer->user);
}

static int share_on_failure(struct mq_puller *p, const struct mq_failure *f, void *user)
{
	struct share *s = user;

	mq_consumer_report(s->consumer, f);
	return 0;
}

static const struct mq_puller_events share_events = {
	.on_batch = share_on_batch,
	.on_failure = share_on_failure,
};

static void share_start(struct share *s, int64_t offset)
{
	struct mq_puller_config cfg = {
		.topic = s->sub->topic,
		.broker = s->broker,
		.queue_id = s->queue_id,
		.group = s->consumer->group,
		.expression = s->sub->expression,
		.is_sql = s->sub->is_sql,
		.sub_version = s->sub->version,
		.offset = offset,
		.suspend_ms = SUSPEND_MS,
	};

	s->committed = offset;
	/* Without memory the queue is dropped, and taken again by the next rebalance. */
	if (mq_puller_new(&s->puller, s->consumer->client, &cfg, &share_events, s) < 0)
		mq_share_drop(s);
}

/* At the start of each callback of a share: false when it was dropped meanwhile. */
static bool share_resume(struct share *s)
{
	struct mq_consumer *k = s->consumer;

	s->is_asking = false;
	if (s->is_dropped) {
		share_destroy(s);
		mq_consumer_resume(k);
		return false;
	}
	return mq_consumer_resume(k);
}

/* An unanswered question about an offset drops the queue: the next rebalance takes it again. */
static void share_give_up(struct share *s, const struct mq_failure *f, const char *where,
			  const struct mq_command *answer)
{
	if (f)
		mq_consumer_report(s->consumer, f);
	else
		mq_consumer_report_answer(s->consumer, where, answer);
	mq_share_drop(s);
}

#define OFFSET_ANSWER_FIELDS(X) X(i64, offset, "offset", REQUIRED)

MQ_HEADER(offset_answer, OFFSET_ANSWER_FIELDS)

static void share_on_offset(const struct mq_failure *f, const struct mq_command *answer, const char *where,
			    void *user)
{
	struct offset_answer_header h = {};
	struct share *s = user;

	if (!share_resume(s))
		return;
	if (f || answer->code != MQ_SUCCESS || offset_answer_header_decode(&h, answer, NULL) < 0)
		share_give_up(s, f, where, answer);
	else
		share_start(s, h.offset);
}

static void share_ask(struct share *s, const struct mq_command *cmd, mq_client_done done)
{
	struct mq_topic_route *route = mq_client_cached_route(s->consumer->client, s->sub->topic);
	int r;

	s->is_asking = true;
	s->consumer->n_pending++;
	r = route ? share_call(s, cmd, route, done, s) : -ENOENT;
	if (r < 0) {
		s->is_asking = false;
		s->consumer->n_pending--;
		mq_share_drop(s);
	}
}

/* Where a group without an offset begins: behaviour.md section 12. */
static void share_begin(struct share *s)
{
	struct mq_command cmd;

	if (s->sub->is_retry || s->consumer->cfg.from == MQ_FROM_FIRST) {
		share_start(s, 0);
		return;
	}
	if (s->consumer->cfg.from == MQ_FROM_TIME) {
		share_command(s, &cmd, MQ_SEARCH_OFFSET_BY_TIMESTAMP);
		mq_command_add_i64(&cmd, "timestamp", s->consumer->cfg.from_ms);
	} else {
		share_command(s, &cmd, MQ_GET_MAX_OFFSET);
	}
	share_ask(s, &cmd, share_on_offset);
}

static void share_on_committed(const struct mq_failure *f, const struct mq_command *answer,
			       const char *where, void *user)
{
	struct offset_answer_header h = {};
	struct share *s = user;

	if (!share_resume(s))
		return;
	if (!f && answer->code == MQ_QUERY_NOT_FOUND)
		share_begin(s);
	else if (f || answer->code != MQ_SUCCESS || offset_answer_header_decode(&h, answer, NULL) < 0)
		share_give_up(s, f, where, answer);
	else
		share_start(s, h.offset);
}

void mq_share_take(struct subscription *sub, const char *broker, int32_t queue_id)
{
	struct mq_consumer *k = sub->consumer;
	struct mq_command cmd;
	struct share *s;

	LIST_FOREACH(s, &k->shares, link) {
		if (s->sub != sub || s->queue_id != queue_id || strcmp(s->broker, broker) != 0)
			continue;
		s->is_wanted = true;
		return;
	}
	s = calloc(1, sizeof *s);
	if (!s)
		return;
	*s = (struct share){
		.consumer = k, .sub = sub, .queue_id = queue_id, .is_wanted = true, .broker = strdup(broker)
	};
	if (!s->broker) {
		free(s);
		return;
	}
	LIST_INSERT_HEAD(&k->shares, s, link);
	k->n_shares++;
	share_command(s, &cmd, MQ_QUERY_CONSUMER_OFFSET);
	share_ask(s, &cmd, share_on_committed);
}
