/* Which queues are ours: the route, the members of the group by one of the brokers, and the average of both. */
#include <errno.h>
#include <stdlib.h>

#include "libmq/client/assign.h"
#include "libmq/client/consumer_internal.h"
#include "libmq/client/route.h"
#include "libmq/wire/codes.h"
#include "libmq/wire/json.h"

enum {
	REBALANCE_S = 20,
	MEMBERS_MAX = 65536,
};

static bool broker_gives(const struct mq_topic_broker *b)
{
	return b->address && (b->perm & MQ_PERM_BIT_READ);
}

void mq_sub_drop(struct subscription *sub, bool only_unwanted)
{
	struct share *s, *next;

	for (s = LIST_FIRST(&sub->consumer->shares); s; s = next) {
		next = LIST_NEXT(s, link);
		if (s->sub == sub && !(only_unwanted && s->is_wanted))
			mq_share_drop(s);
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
				mq_share_take(sub, b->name, q);
	}
	mq_sub_drop(sub, true);

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
	if (!mq_consumer_resume(k))
		return;
	if (f) {
		mq_consumer_report(k, f);
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
	if (!mq_consumer_resume(k))
		return;
	if (f) {
		/* The retry topic appears with the first heartbeat, and a moment later in the routes. */
		if (!sub->is_retry || f->code != MQ_TOPIC_NOT_EXIST)
			mq_consumer_report(k, f);
		return;
	}
	for (unsigned i = 0; i < route->n_brokers && !b; i++)
		if (broker_gives(&route->brokers[i]))
			b = &route->brokers[i];
	if (!b) {
		mq_sub_drop(sub, false);
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

void mq_consumer_on_rebalance(evutil_socket_t fd, short what, void *user)
{
	struct mq_consumer *k = user;

	for (unsigned i = 0; i < N_ELEMENTS(k->subs); i++)
		sub_rebalance(&k->subs[i]);
	mq_consumer_arm(k->rebalance, REBALANCE_S);
}
