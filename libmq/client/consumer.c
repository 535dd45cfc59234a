/* The member itself: it joins and leaves, and commits in between. */
#include "libmq/client/consumer.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libmq/client/consumer_internal.h"
#include "libmq/client/route.h"
#include "libmq/wire/codes.h"

enum { COMMIT_S = 5 };

static void consumer_destroy(struct mq_consumer *k)
{
	for (unsigned i = 0; i < N_ELEMENTS(k->subs); i++) {
		free(k->subs[i].topic);
		free(k->subs[i].expression);
	}
	free(k->group);
	free(k);
}

bool mq_consumer_resume(struct mq_consumer *k)
{
	k->n_pending--;
	if (!k->is_freed)
		return true;
	if (k->n_pending == 0)
		consumer_destroy(k);
	return false;
}

void mq_consumer_report(struct mq_consumer *k, const struct mq_failure *f)
{
	if (k->events->on_failure && f->r != -ECANCELED)
		k->events->on_failure(f, k->user);
}

void mq_consumer_report_answer(struct mq_consumer *k, const char *where, const struct mq_command *answer)
{
	struct mq_failure f;

	mq_failure_answer(&f, MQ_HOP_BROKER, where, answer);
	mq_consumer_report(k, &f);
}

void mq_consumer_arm(struct event *timer, int seconds)
{
	const struct timeval tv = { .tv_sec = seconds };

	(void)event_add(timer, &tv); /* fails only without memory */
}

static void consumer_on_request(const struct mq_command *request, void *user)
{
	struct mq_consumer *k = user;
	const struct mq_slice *group = mq_command_field(request, "consumerGroup");

	if (request->code == MQ_NOTIFY_CONSUMER_IDS_CHANGED && group && mq_slice_is(*group, k->group) &&
	    k->has_joined)
		mq_consumer_arm(k->rebalance, 0);
}

static void consumer_on_commit(evutil_socket_t fd, short what, void *user)
{
	struct mq_consumer *k = user;
	struct share *s;

	LIST_FOREACH(s, &k->shares, link)
		mq_share_commit(s);
	mq_consumer_arm(k->commit, COMMIT_S);
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
	k->heartbeat = evtimer_new(base, mq_consumer_on_heartbeat, k);
	k->rebalance = evtimer_new(base, mq_consumer_on_rebalance, k);
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
	mq_consumer_arm(k->heartbeat, 0);
	mq_consumer_arm(k->commit, COMMIT_S);
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
		mq_sub_drop(&k->subs[i], false);
	k->n_pending++;
	if (k->has_joined)
		consumer_unregister(k);
	if (--k->n_pending == 0)
		consumer_destroy(k);
	return NULL;
}
