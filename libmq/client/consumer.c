/* The life of a member:
 *
 *   route ──> heartbeat to every broker ──> rebalance: member list (38) of one broker, average share
 *                 every 30 s                  every 20 s, and when a broker says that the members changed (40)
 *   a queue gained: its offset (14, or where the group begins) ──> puller; lost: commit, stop
 *   commit of what was consumed: every 5 s and at the end */
#include "libmq/client/consumer.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libmq/client/assign.h"
#include "libmq/client/route.h"
#include "libmq/wire/body_heartbeat.h"
#include "libmq/wire/codes.h"
#include "libmq/wire/fields.h"
#include "libmq/wire/json.h"

enum {
	HEARTBEAT_S = 30,
	REBALANCE_S = 20,
	COMMIT_S = 5,
	SUSPEND_MS = 15000,
	QUEUES_MAX = 65536,
	MEMBERS_MAX = 65536,
};

struct subscription {
	struct mq_consumer *consumer;
	char *topic, *expression; /* owned */
	bool is_sql;
	int64_t version;
	bool is_retry;
	bool is_rebalancing;
	unsigned n_members;
};

/* A queue of our share. ASKING its offset ──> PULLING ──> dropped. */
struct share {
	LIST_ENTRY(share) link;
	struct mq_consumer *consumer;
	struct subscription *sub;
	char *broker; /* owned */
	int32_t queue_id;
	bool is_wanted;  /* by the rebalance that is running */
	bool is_asking;  /* a callback will come */
	bool is_dropped;
	int64_t committed;
	struct mq_puller *puller; /* owned; NULL while ASKING */
};

struct mq_consumer {
	struct mq_client *client; /* borrowed */
	struct mq_consumer_config cfg; /* texts are those below */
	const struct mq_consumer_events *events;
	void *user;
	char *group; /* owned */
	struct subscription subs[2]; /* the topic and the retry topic of the group */
	struct mq_client_watch watch;
	struct event *heartbeat, *rebalance, *commit; /* owned */
	LIST_HEAD(, share) shares;
	unsigned n_shares;
	unsigned n_pending;  /* callbacks that will come with us as their user */
	unsigned n_beats;    /* heartbeats under way; the first rebalance waits for them */
	bool has_joined;
	bool is_freed;
};

static void consumer_destroy(struct mq_consumer *k)
{
	for (unsigned i = 0; i < N_ELEMENTS(k->subs); i++) {
		free(k->subs[i].topic);
		free(k->subs[i].expression);
	}
	free(k->group);
	free(k);
}

/* At the start of each callback: false when nobody is interested any more. */
static bool consumer_resume(struct mq_consumer *k)
{
	k->n_pending--;
	if (!k->is_freed)
		return true;
	if (k->n_pending == 0)
		consumer_destroy(k);
	return false;
}

static void consumer_report(struct mq_consumer *k, const struct mq_failure *f)
{
	if (k->events->on_failure && f->r != -ECANCELED)
		k->events->on_failure(f, k->user);
}

static void consumer_report_answer(struct mq_consumer *k, const char *where, const struct mq_command *answer)
{
	struct mq_failure f;

	mq_failure_answer(&f, MQ_HOP_BROKER, where, answer);
	consumer_report(k, &f);
}

/* --- offsets --- */

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

/* By the cached route: it is there while the puller runs, and if not, the next commit is 5 s away. */
static void share_commit(struct share *s)
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

static void share_drop(struct share *s)
{
	share_commit(s);
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

	consumer_report(s->consumer, f);
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
		share_drop(s);
}

/* At the start of each callback of a share: false when it was dropped meanwhile. */
static bool share_resume(struct share *s)
{
	struct mq_consumer *k = s->consumer;

	s->is_asking = false;
	if (s->is_dropped) {
		share_destroy(s);
		consumer_resume(k);
		return false;
	}
	return consumer_resume(k);
}

/* An unanswered question about an offset drops the queue: the next rebalance takes it again. */
static void share_give_up(struct share *s, const struct mq_failure *f, const char *where,
			  const struct mq_command *answer)
{
	if (f)
		consumer_report(s->consumer, f);
	else
		consumer_report_answer(s->consumer, where, answer);
	share_drop(s);
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
		share_drop(s);
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

static void share_take(struct subscription *sub, const char *broker, int32_t queue_id)
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

/* --- rebalance --- */

static bool broker_gives(const struct mq_topic_broker *b)
{
	return b->address && (b->perm & MQ_PERM_BIT_READ);
}

static void sub_drop(struct subscription *sub, bool only_unwanted)
{
	struct share *s, *next;

	for (s = LIST_FIRST(&sub->consumer->shares); s; s = next) {
		next = LIST_NEXT(s, link);
		if (s->sub == sub && !(only_unwanted && s->is_wanted))
			share_drop(s);
	}
}

static void sub_assign(struct subscription *sub, const struct mq_topic_route *route, unsigned n_members,
		       unsigned index)
{
	struct mq_consumer *k = sub->consumer;
	unsigned n_queues = 0, first, n, at = 0, before = k->n_shares;
	struct share *s;

	for (unsigned i = 0; i < route->n_brokers; i++)
		if (broker_gives(&route->brokers[i]))
			n_queues += (unsigned)route->brokers[i].n_read;
	mq_assign_average(n_queues, n_members, index, &first, &n);

	LIST_FOREACH(s, &k->shares, link)
		if (s->sub == sub)
			s->is_wanted = false;
	for (unsigned i = 0; i < route->n_brokers; i++) {
		const struct mq_topic_broker *b = &route->brokers[i];

		for (int32_t q = 0; broker_gives(b) && q < b->n_read; q++, at++)
			if (at >= first && at < first + n)
				share_take(sub, b->name, q);
	}
	sub_drop(sub, true);

	bool has_changed = k->n_shares != before || sub->n_members != n_members;

	sub->n_members = n_members;
	if (has_changed && k->events->on_assigned)
		k->events->on_assigned(k->n_shares, n_members, k->user);
}

/* Sorts the ids of the answer and finds ours. -ENOENT: we are not among them, our heartbeat has not arrived
 * yet. */
static int find_member(struct mq_slice body, const char *id, unsigned *ret_n, unsigned *ret_index)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	_cleanup_(freep) struct mq_slice *ids = NULL;
	const struct mq_json_node *list;
	unsigned n = 0;
	int r;

	r = mq_json_parse(&doc, body, NULL);
	if (r < 0)
		return r;
	list = mq_json_get(mq_json_root(doc), "consumerIdList");
	if (!list || list->n == 0 || list->n > MEMBERS_MAX)
		return -ENOENT;
	ids = calloc(list->n, sizeof *ids);
	if (!ids)
		return -ENOMEM;
	MQ_JSON_EACH(one, list)
		if (mq_json_text(one).p)
			ids[n++] = mq_json_text(one);
	qsort(ids, n, sizeof *ids, mq_slice_order);
	for (unsigned i = 0; i < n; i++) {
		if (!mq_slice_is(ids[i], id))
			continue;
		*ret_n = n;
		*ret_index = i;
		return 0;
	}
	return -ENOENT;
}

static void sub_on_members(const struct mq_failure *f, const struct mq_command *answer, const char *where,
			   void *user)
{
	struct subscription *sub = user;
	struct mq_consumer *k = sub->consumer;
	struct mq_topic_route *route;
	unsigned n, index;

	sub->is_rebalancing = false;
	if (!consumer_resume(k))
		return;
	if (f) {
		consumer_report(k, f);
		return;
	}
	/* No members known: our heartbeat is on its way; keep what we have, as Java clients do. */
	if (answer->code != MQ_SUCCESS || find_member(answer->body, mq_client_id(k->client), &n, &index) < 0)
		return;
	route = mq_client_cached_route(k->client, sub->topic);
	if (route)
		sub_assign(sub, route, n, index);
}

static void sub_on_route(const struct mq_failure *f, struct mq_topic_route *route, void *user)
{
	struct subscription *sub = user;
	struct mq_consumer *k = sub->consumer;
	const struct mq_topic_broker *b = NULL;
	struct mq_command cmd;
	struct mq_hop hop;

	sub->is_rebalancing = false;
	if (!consumer_resume(k))
		return;
	if (f) {
		/* The retry topic appears with the first heartbeat, and a moment later in the routes. */
		if (!sub->is_retry || f->code != MQ_TOPIC_NOT_EXIST)
			consumer_report(k, f);
		return;
	}
	for (unsigned i = 0; i < route->n_brokers && !b; i++)
		if (broker_gives(&route->brokers[i]))
			b = &route->brokers[i];
	if (!b) {
		sub_drop(sub, false);
		return;
	}
	mq_command_request(&cmd, MQ_GET_CONSUMER_LIST_BY_GROUP);
	mq_command_add(&cmd, "consumerGroup", mq_slice_of(k->group));
	hop = mq_topic_route_hop(b);
	sub->is_rebalancing = true;
	k->n_pending++;
	if (mq_client_call(k->client, &hop, &cmd, 0, sub_on_members, sub) < 0) {
		sub->is_rebalancing = false;
		k->n_pending--;
	}
}

static void sub_rebalance(struct subscription *sub)
{
	if (sub->is_rebalancing)
		return;
	sub->is_rebalancing = true;
	sub->consumer->n_pending++;
	if (mq_client_find_route(sub->consumer->client, sub->topic, MQ_FIND_AS_IS, sub_on_route, sub) < 0) {
		sub->is_rebalancing = false;
		sub->consumer->n_pending--;
	}
}

static void arm(struct event *timer, int seconds)
{
	const struct timeval tv = { .tv_sec = seconds };

	(void)event_add(timer, &tv); /* fails only without memory */
}

static void consumer_on_rebalance(evutil_socket_t fd, short what, void *user)
{
	struct mq_consumer *k = user;

	for (unsigned i = 0; i < N_ELEMENTS(k->subs); i++)
		sub_rebalance(&k->subs[i]);
	arm(k->rebalance, REBALANCE_S);
}

static void consumer_on_request(const struct mq_command *request, void *user)
{
	struct mq_consumer *k = user;
	const struct mq_slice *group = mq_command_field(request, "consumerGroup");

	if (request->code == MQ_NOTIFY_CONSUMER_IDS_CHANGED && group && mq_slice_is(*group, k->group) &&
	    k->has_joined)
		arm(k->rebalance, 0);
}

/* --- heartbeat --- */

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
		arm(k->rebalance, 0);
	}
}

static void consumer_on_beat(const struct mq_failure *f, const struct mq_command *answer, const char *where,
			     void *user)
{
	struct mq_consumer *k = user;

	if (!consumer_resume(k))
		return;
	if (f)
		consumer_report(k, f);
	else if (answer->code != MQ_SUCCESS)
		consumer_report_answer(k, where, answer);
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

	if (!consumer_resume(k))
		return;
	if (f) {
		consumer_report(k, f);
		arm(k->heartbeat, 1); /* the topic may appear any moment */
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

static void consumer_on_heartbeat(evutil_socket_t fd, short what, void *user)
{
	struct mq_consumer *k = user;

	arm(k->heartbeat, k->has_joined ? HEARTBEAT_S : 1);
	if (k->n_beats > 0)
		return;
	k->n_pending++;
	if (mq_client_find_route(k->client, k->subs[0].topic, MQ_FIND_AS_IS, consumer_on_beat_route, k) < 0)
		k->n_pending--;
}

static void consumer_on_commit(evutil_socket_t fd, short what, void *user)
{
	struct mq_consumer *k = user;
	struct share *s;

	LIST_FOREACH(s, &k->shares, link)
		share_commit(s);
	arm(k->commit, COMMIT_S);
}

/* --- life cycle --- */

static int sub_init(struct subscription *sub, struct mq_consumer *k, const char *topic, const char *expression)
{
	sub->consumer = k;
	sub->version = mq_wall_ms(mq_loop_clock(mq_client_loop(k->client)));
	sub->topic = strdup(topic);
	sub->expression = strdup(expression && *expression ? expression : "*");
	return sub->topic && sub->expression ? 0 : -ENOMEM;
}

static int consumer_init(struct mq_consumer *k, const struct mq_consumer_config *cfg)
{
	struct event_base *base = mq_loop_base(mq_client_loop(k->client));
	char retry[300];
	int r;

	k->group = strdup(cfg->group);
	if (!k->group)
		return -ENOMEM;
	snprintf(retry, sizeof retry, "%%RETRY%%%s", cfg->group);
	r = sub_init(&k->subs[0], k, cfg->topic, cfg->expression);
	if (r < 0)
		return r;
	k->subs[0].is_sql = cfg->is_sql;
	k->subs[1].is_retry = true;
	r = sub_init(&k->subs[1], k, retry, NULL);
	if (r < 0)
		return r;
	k->heartbeat = evtimer_new(base, consumer_on_heartbeat, k);
	k->rebalance = evtimer_new(base, consumer_on_rebalance, k);
	k->commit = evtimer_new(base, consumer_on_commit, k);
	return k->heartbeat && k->rebalance && k->commit ? 0 : -ENOMEM;
}

static void consumer_stop_timers(struct mq_consumer *k)
{
	if (k->heartbeat)
		event_free(k->heartbeat);
	if (k->rebalance)
		event_free(k->rebalance);
	if (k->commit)
		event_free(k->commit);
}

int mq_consumer_new(struct mq_consumer **ret, struct mq_client *c, const struct mq_consumer_config *cfg,
		    const struct mq_consumer_events *events, void *user)
{
	struct mq_consumer *k = calloc(1, sizeof *k);
	int r;

	if (!k)
		return -ENOMEM;
	*k = (struct mq_consumer){ .client = c, .cfg = *cfg, .events = events, .user = user };
	LIST_INIT(&k->shares);
	r = consumer_init(k, cfg);
	if (r < 0) {
		consumer_stop_timers(k);
		consumer_destroy(k);
		return r;
	}
	k->watch = (struct mq_client_watch){ .on_request = consumer_on_request, .user = k };
	mq_client_watch(c, &k->watch);
	arm(k->heartbeat, 0);
	arm(k->commit, COMMIT_S);
	*ret = k;
	return 0;
}

/* Tells every broker that we go, so that the others take over now and not after two minutes. */
static void consumer_unregister(struct mq_consumer *k)
{
	_cleanup_(mq_topic_route_unrefp) struct mq_topic_route *route = NULL;
	struct mq_topic_route *cached = mq_client_cached_route(k->client, k->subs[0].topic);
	struct mq_command cmd;

	if (!cached)
		return;
	route = mq_topic_route_ref(cached);
	mq_command_request(&cmd, MQ_UNREGISTER_CLIENT);
	mq_command_add(&cmd, "clientID", mq_slice_of(mq_client_id(k->client)));
	mq_command_add(&cmd, "consumerGroup", mq_slice_of(k->group));
	for (unsigned i = 0; i < route->n_brokers; i++) {
		struct mq_hop hop = mq_topic_route_hop(&route->brokers[i]);
		_cleanup_(mq_command_freep) struct mq_command *answer = NULL;

		/* The answer also says that the commits before it were carried out: same connection, same
		 * order. When one fails there is no time to wait for the others: brokers find out when the
		 * connection closes. */
		if (hop.addresses[0] && mq_client_exchange(k->client, &hop, &cmd, 0, &answer, NULL) < 0)
			break;
	}
}

struct mq_consumer *mq_consumer_free(struct mq_consumer *k)
{
	if (!k)
		return NULL;
	mq_client_unwatch(&k->watch);
	consumer_stop_timers(k);
	k->is_freed = true;
	for (unsigned i = 0; i < N_ELEMENTS(k->subs); i++)
		sub_drop(&k->subs[i], false);
	k->n_pending++;
	if (k->has_joined)
		consumer_unregister(k);
	if (--k->n_pending == 0)
		consumer_destroy(k);
	return NULL;
}
