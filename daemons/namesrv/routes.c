/* Who leaves, what administration changes, and the life of it all. The tables themselves: routes_tables.c. */
#include "daemons/namesrv/routes_internal.h"

#include <stdlib.h>

/* --- leaving --- */

/* Only slaves are left: they take no writes until one of them is the master. */
static void wipe_write_of_slaves(struct routes *r, const struct route_broker *b)
{
	if (b->enable_acting_master && b->addresses[0].id != 0)
		(void)routes_wipe_write(r, mq_slice_of(b->name));
}

static void unregister_from(struct routes *r, struct route_broker *b, struct mq_slice address, const char *ha_address)
{
	_cleanup_(freep) char *offline = NULL;

	for (unsigned i = b->n_addresses; i-- > 0;) {
		if (!mq_slice_is(address, b->addresses[i].address))
			continue;
		if (i == 0)
			offline = strdup(b->addresses[0].address);
		route_broker_remove_address(r, b, i);
	}
	if (b->n_addresses == 0) {
		route_topics_drop_broker(r, mq_slice_of(b->name));
		route_clusters_remove(r, b->name);
		route_broker_free(r, b);
		return;
	}
	wipe_write_of_slaves(r, b);
	if (offline && b->enable_acting_master && r->min_changed)
		r->min_changed(r->user, b, offline, ha_address);
}

void routes_unregister(struct routes *r, struct mq_slice cluster, struct mq_slice broker, struct mq_slice address)
{
	struct route_broker *b = (struct route_broker *)routes_broker(r, broker);
	struct route_live *l = route_live_find(r, cluster, address);
	_cleanup_(freep) char *ha_address = l && l->ha_address ? strdup(l->ha_address) : NULL;

	if (l)
		route_live_free(r, l);
	if (b)
		unregister_from(r, b, address, ha_address);
}

static bool broker_has(const struct route_broker *b, struct mq_slice address)
{
	for (unsigned i = 0; i < b->n_addresses; i++)
		if (mq_slice_is(address, b->addresses[i].address))
			return true;
	return false;
}

/* Unregisters what a live entry stands for; the entry goes. */
static void live_unregister(struct routes *r, struct route_live *l)
{
	struct mq_slice cluster = route_live_cluster(l), address = mq_slice_of(l->address);
	struct route_broker *b = r->brokers;

	while (b && !(mq_slice_is(cluster, b->cluster) && broker_has(b, address)))
		b = b->hh.next;
	if (b) {
		/* The names go with the entry. */
		_cleanup_(freep) char *key = strdup(l->key);
		struct mq_slice own = { key, cluster.n };

		if (key) {
			routes_unregister(r, own, mq_slice_of(b->name), mq_slice_of(key + own.n + 1));
			return;
		}
	}
	route_live_free(r, l);
}

unsigned routes_channel_closed(struct routes *r, uint64_t channel)
{
	struct route_live *l, *next;
	unsigned n = 0;

	HASH_ITER(hh, r->live, l, next) {
		if (l->channel != channel)
			continue;
		live_unregister(r, l);
		n++;
	}
	return n;
}

unsigned routes_expire(struct routes *r, int64_t now_ms, void (*each)(void *user, const struct route_live *live), void *user)
{
	struct route_live *l, *next;
	unsigned n = 0;

	HASH_ITER(hh, r->live, l, next) {
		if (l->updated_at_ms + l->timeout_ms >= now_ms)
			continue;
		if (each)
			each(user, l);
		live_unregister(r, l);
		n++;
	}
	return n;
}

/* --- administration --- */

void routes_delete_topic(struct routes *r, struct mq_slice topic, struct mq_slice cluster)
{
	struct route_topic *t = (struct route_topic *)routes_topic(r, topic);
	const struct route_cluster *c;

	if (!t)
		return;
	if (cluster.n == 0) {
		route_topic_free(r, t);
		return;
	}
	c = routes_cluster(r, cluster);
	for (unsigned i = 0; c && i < c->n_brokers; i++) {
		/* The topic goes with its last entry. */
		t = (struct route_topic *)routes_topic(r, topic);
		if (t)
			route_topic_drop(r, t, mq_slice_of(c->brokers[i]));
	}
}

int routes_add_topic(struct routes *r, struct mq_slice topic, const struct route_queue *queues, unsigned n, struct mq_error *err)
{
	int e = route_check_name(topic, "topic name", true, err);

	for (unsigned i = 0; e == 0 && i < n; i++)
		if (!routes_broker(r, mq_slice_of(queues[i].broker)))
			return 0;
	for (unsigned i = 0; e == 0 && i < n; i++)
		e = route_topic_put(r, topic, mq_slice_of(queues[i].broker), &queues[i]);
	return e;
}

/* Of every entry of the broker name: the bits outside of `kept` go, those of `set` come. Returns how many entries there are. */
static unsigned change_perm(struct routes *r, struct mq_slice broker, int32_t kept, int32_t set)
{
	unsigned n = 0;

	for (struct route_topic *t = r->topics; t; t = t->hh.next) {
		struct route_queue *q = route_topic_queue(t, broker);

		if (!q)
			continue;
		q->perm = (q->perm & kept) | set;
		n++;
	}
	return n;
}

unsigned routes_wipe_write(struct routes *r, struct mq_slice broker)
{
	return change_perm(r, broker, ~ROUTE_PERM_WRITE, 0);
}

unsigned routes_add_write(struct routes *r, struct mq_slice broker)
{
	return change_perm(r, broker, 0, ROUTE_PERM_READ_WRITE);
}

/* --- life --- */

void routes_init(struct routes *r)
{
	*r = (struct routes){};
}

void routes_done(struct routes *r)
{
	struct route_topic *t, *next_topic;
	struct route_broker *b, *next_broker;
	struct route_live *l, *next_live;

	HASH_ITER(hh, r->topics, t, next_topic)
		route_topic_free(r, t);
	HASH_ITER(hh, r->brokers, b, next_broker) {
		route_clusters_remove(r, b->name);
		route_broker_free(r, b);
	}
	HASH_ITER(hh, r->live, l, next_live)
		route_live_free(r, l);
	routes_init(r);
}
