/* The four tables: clusters, topics, brokers, and who lives. Here they are only changed; when, is for the others. */
#include "daemons/namesrv/routes_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int route_set_optional(char **member, struct mq_slice text)
{
	char *p = NULL;

	if (text.n > 0) {
		p = mq_slice_dup(text);
		if (!p)
			return -ENOMEM;
	}
	free(*member);
	*member = p;
	return 0;
}

/* --- clusters --- */

const struct route_cluster *routes_cluster(const struct routes *r, struct mq_slice name)
{
	struct route_cluster *c;

	HASH_FIND(hh, r->clusters, name.p, name.n, c);
	return c;
}

static int cluster_by_name(const struct route_cluster *a, const struct route_cluster *b)
{
	return strcmp(a->name, b->name);
}

static void cluster_remove(struct routes *r, struct route_cluster *c, const char *broker)
{
	for (unsigned i = 0; i < c->n_brokers; i++) {
		if (strcmp(c->brokers[i], broker))
			continue;
		free(c->brokers[i]);
		memmove(&c->brokers[i], &c->brokers[i + 1], (c->n_brokers - i - 1) * sizeof c->brokers[0]);
		c->n_brokers--;
		r->n_in_clusters--;
		break;
	}
	if (c->n_brokers > 0)
		return;
	HASH_DELETE(hh, r->clusters, c);
	free(c->brokers);
	free(c->name);
	free(c);
}

void route_clusters_remove(struct routes *r, const char *broker)
{
	struct route_cluster *c, *next;

	HASH_ITER(hh, r->clusters, c, next)
		cluster_remove(r, c, broker);
}

bool route_cluster_has(const struct routes *r, struct mq_slice name, struct mq_slice broker)
{
	const struct route_cluster *c = routes_cluster(r, name);

	for (unsigned i = 0; c && i < c->n_brokers; i++)
		if (mq_slice_is(broker, c->brokers[i]))
			return true;
	return false;
}

int route_clusters_add(struct routes *r, struct mq_slice name, struct mq_slice broker)
{
	struct route_cluster *c = (struct route_cluster *)routes_cluster(r, name);
	char **grown, *broker_name;
	unsigned at;

	if (route_cluster_has(r, name, broker))
		return 0;
	if (!c) {
		c = calloc(1, sizeof *c);
		if (!c || !(c->name = mq_slice_dup(name))) {
			free(c);
			return -ENOMEM;
		}
		HASH_ADD_KEYPTR(hh, r->clusters, c->name, name.n, c);
		HASH_SRT(hh, r->clusters, cluster_by_name);
	}
	broker_name = mq_slice_dup(broker);
	grown = realloc(c->brokers, (c->n_brokers + 1) * sizeof *grown);
	if (grown)
		c->brokers = grown;
	if (!grown || !broker_name) {
		free(broker_name);
		cluster_remove(r, c, ""); /* nothing, but a new cluster goes again */
		return -ENOMEM;
	}
	for (at = 0; at < c->n_brokers && strcmp(c->brokers[at], broker_name) < 0; at++)
		;
	memmove(&grown[at + 1], &grown[at], (c->n_brokers - at) * sizeof *grown);
	grown[at] = broker_name;
	c->n_brokers++;
	r->n_in_clusters++;
	return 0;
}

/* --- topics --- */

const struct route_topic *routes_topic(const struct routes *r, struct mq_slice name)
{
	struct route_topic *t;

	HASH_FIND(hh, r->topics, name.p, name.n, t);
	return t;
}

/* Index of the broker's entry, or of where it belongs; *ret_found says which. */
static unsigned topic_find(const struct route_topic *t, struct mq_slice broker, bool *ret_found)
{
	unsigned low = 0, high = t->n_queues;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		int order = mq_slice_compare(mq_slice_of(t->queues[middle].broker), broker);

		if (order == 0) {
			*ret_found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_found = false;
	return low;
}

struct route_queue *route_topic_queue(struct route_topic *t, struct mq_slice broker)
{
	bool found;
	unsigned at = topic_find(t, broker, &found);

	return found ? &t->queues[at] : NULL;
}

void route_topic_free(struct routes *r, struct route_topic *t)
{
	HASH_DELETE(hh, r->topics, t);
	for (unsigned i = 0; i < t->n_queues; i++)
		free(t->queues[i].broker);
	r->n_queues -= t->n_queues;
	free(t->queues);
	free(t->name);
	free(t);
}

void route_topic_drop(struct routes *r, struct route_topic *t, struct mq_slice broker)
{
	bool found;
	unsigned at = topic_find(t, broker, &found);

	if (found) {
		free(t->queues[at].broker);
		memmove(&t->queues[at], &t->queues[at + 1], (t->n_queues - at - 1) * sizeof t->queues[0]);
		t->n_queues--;
		r->n_queues--;
	}
	if (t->n_queues == 0)
		route_topic_free(r, t);
}

static struct route_topic *topic_new(struct routes *r, struct mq_slice name)
{
	struct route_topic *t = calloc(1, sizeof *t);

	if (!t || !(t->name = mq_slice_dup(name))) {
		free(t);
		return NULL;
	}
	HASH_ADD_KEYPTR(hh, r->topics, t->name, name.n, t);
	return t;
}

static int topic_grow(struct route_topic *t)
{
	unsigned capacity = t->capacity ? t->capacity * 2 : 1; /* most topics live on one broker name */
	struct route_queue *grown;

	if (t->n_queues < t->capacity)
		return 0;
	grown = realloc(t->queues, capacity * sizeof *grown);
	if (!grown)
		return -ENOMEM;
	t->queues = grown;
	t->capacity = capacity;
	return 0;
}

int route_topic_put(struct routes *r, struct mq_slice name, struct mq_slice broker, const struct route_queue *values)
{
	struct route_topic *t = (struct route_topic *)routes_topic(r, name);
	struct route_queue *q = t ? route_topic_queue(t, broker) : NULL;
	bool found;
	unsigned at;
	char *own;

	if (!q) {
		if (r->n_queues >= ROUTES_QUEUES_MAX)
			return -ENOSPC;
		if (!t)
			t = topic_new(r, name);
		own = mq_slice_dup(broker);
		if (!t || !own || topic_grow(t) < 0) {
			free(own);
			if (t && t->n_queues == 0)
				route_topic_free(r, t);
			return -ENOMEM;
		}
		at = topic_find(t, broker, &found);
		q = &t->queues[at];
		memmove(q + 1, q, (t->n_queues - at) * sizeof *q);
		q->broker = own;
		t->n_queues++;
		r->n_queues++;
	}
	q->read_queues = values->read_queues;
	q->write_queues = values->write_queues;
	q->perm = values->perm;
	q->sys_flag = values->sys_flag;
	return 0;
}

void route_topics_drop_broker(struct routes *r, struct mq_slice broker)
{
	struct route_topic *t, *next;

	HASH_ITER(hh, r->topics, t, next)
		route_topic_drop(r, t, broker);
}

/* --- brokers --- */

const struct route_broker *routes_broker(const struct routes *r, struct mq_slice name)
{
	struct route_broker *b;

	HASH_FIND(hh, r->brokers, name.p, name.n, b);
	return b;
}

const struct route_address *route_broker_address(const struct route_broker *b, int64_t id)
{
	for (unsigned i = 0; i < b->n_addresses; i++)
		if (b->addresses[i].id == id)
			return &b->addresses[i];
	return NULL;
}

static int broker_by_name(const struct route_broker *a, const struct route_broker *b)
{
	return strcmp(a->name, b->name);
}

static void address_done(struct route_address *a)
{
	free(a->address);
	free(a->local_socket);
	free(a->boot_id);
}

void route_broker_free(struct routes *r, struct route_broker *b)
{
	HASH_DELETE(hh, r->brokers, b);
	for (unsigned i = 0; i < b->n_addresses; i++)
		address_done(&b->addresses[i]);
	r->n_addresses -= b->n_addresses;
	free(b->addresses);
	free(b->zone);
	free(b->cluster);
	free(b->name);
	free(b);
}

struct route_broker *route_broker_new(struct routes *r, struct mq_slice name, struct mq_slice cluster)
{
	struct route_broker *b = calloc(1, sizeof *b);

	if (!b)
		return NULL;
	b->name = mq_slice_dup(name);
	b->cluster = mq_slice_dup(cluster);
	if (!b->name || !b->cluster) {
		free(b->name);
		free(b->cluster);
		free(b);
		return NULL;
	}
	HASH_ADD_KEYPTR(hh, r->brokers, b->name, name.n, b);
	HASH_SRT(hh, r->brokers, broker_by_name);
	return b;
}

void route_broker_remove_address(struct routes *r, struct route_broker *b, unsigned i)
{
	address_done(&b->addresses[i]);
	memmove(&b->addresses[i], &b->addresses[i + 1], (b->n_addresses - i - 1) * sizeof b->addresses[0]);
	b->n_addresses--;
	r->n_addresses--;
}

int route_broker_put(struct routes *r, struct route_broker *b, const struct route_registration *reg, bool *ret_is_new)
{
	struct route_address *a = (struct route_address *)route_broker_address(b, reg->id), *grown;
	char *address = mq_slice_dup(reg->address);
	unsigned at = 0;

	if (!address)
		return -ENOMEM;
	*ret_is_new = !a;
	if (!a) {
		grown = realloc(b->addresses, (b->n_addresses + 1) * sizeof *grown);
		if (!grown) {
			free(address);
			return -ENOMEM;
		}
		b->addresses = grown;
		while (at < b->n_addresses && grown[at].id < reg->id)
			at++;
		a = &grown[at];
		memmove(a + 1, a, (b->n_addresses - at) * sizeof *a);
		*a = (struct route_address){ .id = reg->id };
		b->n_addresses++;
		r->n_addresses++;
	}
	free(a->address);
	a->address = address;
	if (route_set_optional(&a->local_socket, reg->local_socket) < 0 || route_set_optional(&a->boot_id, reg->boot_id) < 0)
		return -ENOMEM;
	return 0;
}

/* --- who lives --- */

enum { LIVE_KEY_MAX = 2 * ROUTES_NAME_MAX + 2 };

/* Returns the bytes of the key, or 0 when no entry can have these names. */
static size_t live_key(char key[LIVE_KEY_MAX], struct mq_slice cluster, struct mq_slice address)
{
	if (cluster.n > ROUTES_NAME_MAX || address.n > ROUTES_NAME_MAX)
		return 0;
	return (size_t)snprintf(key, LIVE_KEY_MAX, "%.*s\n%.*s", MQ_FMT(cluster), MQ_FMT(address));
}

struct route_live *route_live_find(const struct routes *r, struct mq_slice cluster, struct mq_slice address)
{
	char key[LIVE_KEY_MAX];
	size_t n = live_key(key, cluster, address);
	struct route_live *l = NULL;

	if (n > 0)
		HASH_FIND(hh, r->live, key, n, l);
	return l;
}

const struct route_live *routes_live(const struct routes *r, struct mq_slice cluster, struct mq_slice address)
{
	return route_live_find(r, cluster, address);
}

struct mq_slice route_live_cluster(const struct route_live *l)
{
	return (struct mq_slice){ l->key, (size_t)(l->address - l->key) - 1 };
}

void route_live_free(struct routes *r, struct route_live *l)
{
	HASH_DELETE(hh, r->live, l);
	free(l->ha_address);
	free(l->key);
	free(l);
}

int route_live_put(struct routes *r, const struct route_registration *reg)
{
	struct route_live *l = route_live_find(r, reg->cluster, reg->address);
	char key[LIVE_KEY_MAX];
	size_t n;

	if (!l) {
		n = live_key(key, reg->cluster, reg->address);
		l = calloc(1, sizeof *l);
		if (!l || !(l->key = strdup(key))) {
			free(l);
			return -ENOMEM;
		}
		l->address = l->key + reg->cluster.n + 1;
		HASH_ADD_KEYPTR(hh, r->live, l->key, n, l);
	}
	l->updated_at_ms = reg->now_ms;
	l->timeout_ms = reg->timeout_ms;
	l->version = reg->version;
	l->channel = reg->channel;
	return route_set_optional(&l->ha_address, reg->ha_address);
}

void routes_touch(struct routes *r, struct mq_slice cluster, struct mq_slice address, int64_t now_ms)
{
	struct route_live *l = route_live_find(r, cluster, address);

	if (l)
		l->updated_at_ms = now_ms;
}
