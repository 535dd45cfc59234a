#include "daemons/namesrv/routes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static char *copy(struct mq_slice text)
{
	char *p = malloc(text.n + 1);

	if (!p)
		return NULL;
	memcpy(p, text.p ? text.p : "", text.n);
	p[text.n] = '\0';
	return p;
}

/* *member becomes a copy of `text`, NULL when that is absent or empty. */
static int set_optional(char **member, struct mq_slice text)
{
	char *p = NULL;

	if (text.n > 0) {
		p = copy(text);
		if (!p)
			return -ENOMEM;
	}
	free(*member);
	*member = p;
	return 0;
}

static bool is(const char *name, struct mq_slice text)
{
	return mq_slice_is(text, name);
}

void routes_init(struct routes *r)
{
	*r = (struct routes){};
}

/* --- clusters ------------------------------------------------------------------------------------------------------ */

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
		break;
	}
	if (c->n_brokers > 0)
		return;
	HASH_DELETE(hh, r->clusters, c);
	free(c->brokers);
	free(c->name);
	free(c);
}

static void clusters_remove(struct routes *r, const char *broker)
{
	struct route_cluster *c, *next;

	HASH_ITER(hh, r->clusters, c, next)
		cluster_remove(r, c, broker);
}

static int clusters_add(struct routes *r, struct mq_slice name, struct mq_slice broker)
{
	struct route_cluster *c = (struct route_cluster *)routes_cluster(r, name);
	char **grown, *broker_name;
	unsigned at = 0;

	for (; c && at < c->n_brokers; at++) {
		if (is(c->brokers[at], broker))
			return 0;
	}
	if (!c) {
		c = calloc(1, sizeof *c);
		if (!c || !(c->name = copy(name))) {
			free(c);
			return -ENOMEM;
		}
		HASH_ADD_KEYPTR(hh, r->clusters, c->name, name.n, c);
		HASH_SRT(hh, r->clusters, cluster_by_name);
	}
	broker_name = copy(broker);
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
	return 0;
}

/* --- topics -------------------------------------------------------------------------------------------------------- */

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

static struct route_queue *topic_queue(struct route_topic *t, struct mq_slice broker)
{
	bool found;
	unsigned at = topic_find(t, broker, &found);

	return found ? &t->queues[at] : NULL;
}

static void topic_free(struct routes *r, struct route_topic *t)
{
	HASH_DELETE(hh, r->topics, t);
	for (unsigned i = 0; i < t->n_queues; i++)
		free(t->queues[i].broker);
	r->n_queues -= t->n_queues;
	free(t->queues);
	free(t->name);
	free(t);
}

/* Removes the broker's entry; the topic goes with its last entry. */
static void topic_drop(struct routes *r, struct route_topic *t, struct mq_slice broker)
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
		topic_free(r, t);
}

static struct route_topic *topic_new(struct routes *r, struct mq_slice name)
{
	struct route_topic *t = calloc(1, sizeof *t);

	if (!t || !(t->name = copy(name))) {
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

/* Inserts or replaces the entry of `broker`. */
static int topic_put(struct routes *r, struct mq_slice name, struct mq_slice broker, const struct route_queue *values)
{
	struct route_topic *t = (struct route_topic *)routes_topic(r, name);
	struct route_queue *q = t ? topic_queue(t, broker) : NULL;
	bool found;
	unsigned at;
	char *own;

	if (!q) {
		if (r->n_queues >= ROUTES_QUEUES_MAX)
			return -ENOSPC;
		if (!t)
			t = topic_new(r, name);
		own = copy(broker);
		if (!t || !own || topic_grow(t) < 0) {
			free(own);
			if (t && t->n_queues == 0)
				topic_free(r, t);
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

/* A broker name is gone: none of its topics is served there any more. */
static void topics_drop_broker(struct routes *r, struct mq_slice broker)
{
	struct route_topic *t, *next;

	HASH_ITER(hh, r->topics, t, next)
		topic_drop(r, t, broker);
}

/* --- brokers ------------------------------------------------------------------------------------------------------- */

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

static void broker_free(struct routes *r, struct route_broker *b)
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

static struct route_broker *broker_new(struct routes *r, struct mq_slice name, struct mq_slice cluster)
{
	struct route_broker *b = calloc(1, sizeof *b);

	if (!b)
		return NULL;
	b->name = copy(name);
	b->cluster = copy(cluster);
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

static void broker_remove_address(struct routes *r, struct route_broker *b, unsigned i)
{
	address_done(&b->addresses[i]);
	memmove(&b->addresses[i], &b->addresses[i + 1], (b->n_addresses - i - 1) * sizeof b->addresses[0]);
	b->n_addresses--;
	r->n_addresses--;
}

/* Puts id -> address, sorted by id. *ret_is_new: the id had no address. */
static int broker_put(struct routes *r, struct route_broker *b, const struct route_registration *reg, bool *ret_is_new)
{
	struct route_address *a = (struct route_address *)route_broker_address(b, reg->id), *grown;
	char *address = copy(reg->address);
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
	if (set_optional(&a->local_socket, reg->local_socket) < 0 || set_optional(&a->boot_id, reg->boot_id) < 0)
		return -ENOMEM;
	return 0;
}

/* --- live table ---------------------------------------------------------------------------------------------------- */

enum { LIVE_KEY_MAX = 2 * ROUTES_NAME_MAX + 2 };

/* Returns the bytes of the key, or 0 when no entry can have these names. */
static size_t live_key(char key[LIVE_KEY_MAX], struct mq_slice cluster, struct mq_slice address)
{
	if (cluster.n > ROUTES_NAME_MAX || address.n > ROUTES_NAME_MAX)
		return 0;
	return (size_t)snprintf(key, LIVE_KEY_MAX, "%.*s\n%.*s", MQ_FMT(cluster), MQ_FMT(address));
}

static struct route_live *live_find(const struct routes *r, struct mq_slice cluster, struct mq_slice address)
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
	return live_find(r, cluster, address);
}

static struct mq_slice live_cluster(const struct route_live *l)
{
	return (struct mq_slice){ l->key, (size_t)(l->address - l->key) - 1 };
}

static void live_free(struct routes *r, struct route_live *l)
{
	HASH_DELETE(hh, r->live, l);
	free(l->ha_address);
	free(l->key);
	free(l);
}

static int live_put(struct routes *r, const struct route_registration *reg)
{
	struct route_live *l = live_find(r, reg->cluster, reg->address);
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
	return set_optional(&l->ha_address, reg->ha_address);
}

void routes_touch(struct routes *r, struct mq_slice cluster, struct mq_slice address, int64_t now_ms)
{
	struct route_live *l = live_find(r, cluster, address);

	if (l)
		l->updated_at_ms = now_ms;
}

/* --- registration -------------------------------------------------------------------------------------------------- */

static bool is_same_version(const struct route_version *a, const struct route_version *b)
{
	return a->counter == b->counter && a->state_version == b->state_version && a->timestamp == b->timestamp;
}

/* Names become keys and lines of text: neither empty, nor without end, nor with control characters inside. */
static int check_name(struct mq_slice name, const char *what, bool is_required, struct mq_error *err)
{
	if (is_required && name.n == 0)
		return mq_error_set(err, -EINVAL, "the %s is empty", what);
	if (name.n > ROUTES_NAME_MAX)
		return mq_error_set(err, -EINVAL, "the %s has %zu bytes, at most %d are allowed", what, name.n, ROUTES_NAME_MAX);
	for (size_t i = 0; i < name.n; i++)
		if ((unsigned char)name.p[i] < 0x20)
			return mq_error_set(err, -EINVAL, "the %s contains a control character", what);
	return 0;
}

static int registration_check(const struct route_registration *reg, struct mq_error *err)
{
	int r = check_name(reg->cluster, "clusterName", true, err);

	if (r == 0)
		r = check_name(reg->broker, "brokerName", true, err);
	if (r == 0)
		r = check_name(reg->address, "brokerAddr", true, err);
	if (r == 0)
		r = check_name(reg->ha_address, "haServerAddr", false, err);
	if (r == 0)
		r = check_name(reg->zone, "zone name", false, err);
	if (r == 0)
		r = check_name(reg->local_socket, "localSocket", false, err);
	if (r == 0)
		r = check_name(reg->boot_id, "bootId", false, err);
	if (r == 0 && reg->id < 0)
		r = mq_error_set(err, -EINVAL, "brokerId is negative");
	for (unsigned i = 0; r == 0 && i < reg->n_topics; i++)
		r = check_name(reg->topics[i].name, "topic name", true, err);
	return r;
}

/* Rule 5: the id is bound to another address that is live with newer state. */
static bool is_outdated(const struct routes *r, const struct route_broker *b, const struct route_registration *reg)
{
	const struct route_address *a = b ? route_broker_address(b, reg->id) : NULL;
	const struct route_live *old;

	if (!a || is(a->address, reg->address))
		return false;
	old = routes_live(r, reg->cluster, mq_slice_of(a->address));
	return old && old->version.state_version > reg->version.state_version;
}

static int drop_missing_topics(struct routes *r, const struct route_registration *reg)
{
	_cleanup_(freep) struct mq_slice *names = calloc(reg->n_topics ? reg->n_topics : 1, sizeof *names);
	struct route_topic *t, *next;

	if (!names)
		return -ENOMEM;
	for (unsigned i = 0; i < reg->n_topics; i++)
		names[i] = reg->topics[i].name;
	qsort(names, reg->n_topics, sizeof *names, mq_slice_order);
	HASH_ITER(hh, r->topics, t, next) {
		struct mq_slice name = mq_slice_of(t->name);

		if (topic_queue(t, reg->broker) && !bsearch(&name, names, reg->n_topics, sizeof *names, mq_slice_order))
			topic_drop(r, t, reg->broker);
	}
	return 0;
}

/* Rule 8. */
static int register_topics(struct routes *r, const struct route_broker *b, const struct route_registration *reg, bool is_first)
{
	const struct route_live *live = routes_live(r, reg->cluster, reg->address);
	bool is_changed = is_first || !live || !is_same_version(&live->version, &reg->version);
	bool is_prime_slave = !reg->is_old_version && reg->id != 0 && b->addresses[0].id == reg->id;
	int e = 0;

	if (reg->id != 0 && !is_prime_slave)
		return 0;
	if (reg->drop_missing_topics)
		e = drop_missing_topics(r, reg);
	for (unsigned i = 0; e == 0 && i < reg->n_topics; i++) {
		const struct route_topic_config *config = &reg->topics[i];
		struct route_topic *t = (struct route_topic *)routes_topic(r, config->name);
		struct route_queue q = { .read_queues = config->read_queues, .write_queues = config->write_queues, .perm = config->perm,
					 .sys_flag = config->sys_flag };

		if (!is_changed && t && topic_queue(t, reg->broker))
			continue;
		if (is_prime_slave && b->enable_acting_master)
			q.perm &= ~ROUTE_PERM_WRITE;
		e = topic_put(r, config->name, reg->broker, &q);
	}
	return e;
}

/* Rules 4 to 10 for a broker name that is in the table. */
static int register_address(struct routes *r, struct route_broker *b, const struct route_registration *reg)
{
	int64_t min_before = b->n_addresses ? b->addresses[0].id : 0;
	bool is_new_id;
	int e;

	b->enable_acting_master = !reg->is_old_version && reg->enable_acting_master;
	e = set_optional(&b->zone, reg->zone);
	if (e < 0)
		return e;
	for (unsigned i = b->n_addresses; i-- > 0;)
		if (b->addresses[i].id != reg->id && is(b->addresses[i].address, reg->address))
			broker_remove_address(r, b, i);
	e = broker_put(r, b, reg, &is_new_id);
	if (e == 0)
		e = register_topics(r, b, reg, is_new_id);
	if (e == 0)
		e = live_put(r, reg);
	if (e == 0 && reg->id < min_before && r->min_changed)
		r->min_changed(r->user, b, NULL, routes_live(r, reg->cluster, reg->address)->ha_address);
	return e;
}

int routes_register(struct routes *r, const struct route_registration *reg, struct mq_error *err)
{
	struct route_broker *b = (struct route_broker *)routes_broker(r, reg->broker);
	bool is_new_id = !b || !route_broker_address(b, reg->id);
	int e = registration_check(reg, err);

	if (e < 0)
		return e;
	if (is_outdated(r, b, reg)) {
		struct route_live *l = live_find(r, reg->cluster, reg->address);

		if (l)
			live_free(r, l);
		return ROUTES_REJECTED;
	}
	if (is_new_id && reg->n_topics == 1)
		return ROUTES_REFUSED;
	if (is_new_id && r->n_addresses >= ROUTES_BROKERS_MAX)
		return mq_error_set(err, -ENOSPC, "%d brokers are registered, no more are accepted", ROUTES_BROKERS_MAX);

	if (!b)
		b = broker_new(r, reg->broker, reg->cluster);
	e = b ? clusters_add(r, reg->cluster, reg->broker) : -ENOMEM;
	if (e == 0)
		e = register_address(r, b, reg);
	if (b && b->n_addresses == 0) {
		clusters_remove(r, b->name);
		broker_free(r, b);
	}
	if (e == -ENOSPC)
		return mq_error_set(err, e, "%d entries of topics and brokers are known, no more are accepted", ROUTES_QUEUES_MAX);
	return e;
}

/* --- leaving ------------------------------------------------------------------------------------------------------- */

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
		if (!is(b->addresses[i].address, address))
			continue;
		if (i == 0)
			offline = strdup(b->addresses[0].address);
		broker_remove_address(r, b, i);
	}
	if (b->n_addresses == 0) {
		topics_drop_broker(r, mq_slice_of(b->name));
		clusters_remove(r, b->name);
		broker_free(r, b);
		return;
	}
	wipe_write_of_slaves(r, b);
	if (offline && b->enable_acting_master && r->min_changed)
		r->min_changed(r->user, b, offline, ha_address);
}

void routes_unregister(struct routes *r, struct mq_slice cluster, struct mq_slice broker, struct mq_slice address)
{
	struct route_broker *b = (struct route_broker *)routes_broker(r, broker);
	struct route_live *l = live_find(r, cluster, address);
	_cleanup_(freep) char *ha_address = l && l->ha_address ? strdup(l->ha_address) : NULL;

	if (l)
		live_free(r, l);
	if (b)
		unregister_from(r, b, address, ha_address);
}

static bool broker_has(const struct route_broker *b, struct mq_slice address)
{
	for (unsigned i = 0; i < b->n_addresses; i++)
		if (is(b->addresses[i].address, address))
			return true;
	return false;
}

/* Unregisters what a live entry stands for; the entry goes. */
static void live_unregister(struct routes *r, struct route_live *l)
{
	struct mq_slice cluster = live_cluster(l), address = mq_slice_of(l->address);
	struct route_broker *b = r->brokers;

	while (b && !(is(b->cluster, cluster) && broker_has(b, address)))
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
	live_free(r, l);
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

/* --- administration ------------------------------------------------------------------------------------------------ */

void routes_delete_topic(struct routes *r, struct mq_slice topic, struct mq_slice cluster)
{
	struct route_topic *t = (struct route_topic *)routes_topic(r, topic);
	const struct route_cluster *c;

	if (!t)
		return;
	if (cluster.n == 0) {
		topic_free(r, t);
		return;
	}
	c = routes_cluster(r, cluster);
	for (unsigned i = 0; c && i < c->n_brokers; i++) {
		/* The topic goes with its last entry. */
		t = (struct route_topic *)routes_topic(r, topic);
		if (t)
			topic_drop(r, t, mq_slice_of(c->brokers[i]));
	}
}

int routes_add_topic(struct routes *r, struct mq_slice topic, const struct route_queue *queues, unsigned n, struct mq_error *err)
{
	int e = check_name(topic, "topic name", true, err);

	for (unsigned i = 0; e == 0 && i < n; i++)
		if (!routes_broker(r, mq_slice_of(queues[i].broker)))
			return 0;
	for (unsigned i = 0; e == 0 && i < n; i++)
		e = topic_put(r, topic, mq_slice_of(queues[i].broker), &queues[i]);
	return e;
}

unsigned routes_wipe_write(struct routes *r, struct mq_slice broker)
{
	struct route_topic *t;
	unsigned n = 0;

	for (t = r->topics; t; t = t->hh.next) {
		struct route_queue *q = topic_queue(t, broker);

		if (!q)
			continue;
		q->perm &= ~ROUTE_PERM_WRITE;
		n++;
	}
	return n;
}

unsigned routes_add_write(struct routes *r, struct mq_slice broker)
{
	struct route_topic *t;
	unsigned n = 0;

	for (t = r->topics; t; t = t->hh.next) {
		struct route_queue *q = topic_queue(t, broker);

		if (!q)
			continue;
		q->perm = ROUTE_PERM_READ_WRITE;
		n++;
	}
	return n;
}

void routes_done(struct routes *r)
{
	struct route_topic *t, *next_topic;
	struct route_broker *b, *next_broker;
	struct route_live *l, *next_live;

	HASH_ITER(hh, r->topics, t, next_topic)
		topic_free(r, t);
	HASH_ITER(hh, r->brokers, b, next_broker) {
		clusters_remove(r, b->name);
		broker_free(r, b);
	}
	HASH_ITER(hh, r->live, l, next_live)
		live_free(r, l);
	routes_init(r);
}
