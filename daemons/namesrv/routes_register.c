/* A broker tells that it is there and what it serves. Rules by number: protocol/requests-namesrv.md section 3. */
#include "daemons/namesrv/routes_internal.h"

#include <errno.h>
#include <stdlib.h>

static bool is_same_version(const struct route_version *a, const struct route_version *b)
{
	return a->counter == b->counter && a->state_version == b->state_version && a->timestamp == b->timestamp;
}

int route_check_name(struct mq_slice name, const char *what, bool is_required, struct mq_error *err)
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
	int r = route_check_name(reg->cluster, "clusterName", true, err);

	if (r == 0)
		r = route_check_name(reg->broker, "brokerName", true, err);
	if (r == 0)
		r = route_check_name(reg->address, "brokerAddr", true, err);
	if (r == 0)
		r = route_check_name(reg->ha_address, "haServerAddr", false, err);
	if (r == 0)
		r = route_check_name(reg->zone, "zone name", false, err);
	if (r == 0)
		r = route_check_name(reg->local_socket, "localSocket", false, err);
	if (r == 0)
		r = route_check_name(reg->boot_id, "bootId", false, err);
	if (r == 0 && reg->id < 0)
		r = mq_error_set(err, -EINVAL, "brokerId is negative");
	for (unsigned i = 0; r == 0 && i < reg->n_topics; i++)
		r = route_check_name(reg->topics[i].name, "topic name", true, err);
	return r;
}

/* Rule 5: the id is bound to another address that is live with newer state. */
static bool is_outdated(const struct routes *r, const struct route_broker *b, const struct route_registration *reg)
{
	const struct route_address *a = b ? route_broker_address(b, reg->id) : NULL;
	const struct route_live *old;

	if (!a || mq_slice_is(reg->address, a->address))
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

		if (route_topic_queue(t, reg->broker) && !bsearch(&name, names, reg->n_topics, sizeof *names, mq_slice_order))
			route_topic_drop(r, t, reg->broker);
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

		if (!is_changed && t && route_topic_queue(t, reg->broker))
			continue;
		if (is_prime_slave && b->enable_acting_master)
			q.perm &= ~ROUTE_PERM_WRITE;
		e = route_topic_put(r, config->name, reg->broker, &q);
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
	e = route_set_optional(&b->zone, reg->zone);
	if (e < 0)
		return e;
	for (unsigned i = b->n_addresses; i-- > 0;)
		if (b->addresses[i].id != reg->id && mq_slice_is(reg->address, b->addresses[i].address))
			route_broker_remove_address(r, b, i);
	e = route_broker_put(r, b, reg, &is_new_id);
	if (e == 0)
		e = register_topics(r, b, reg, is_new_id);
	if (e == 0)
		e = route_live_put(r, reg);
	if (e == 0 && reg->id < min_before && r->min_changed)
		r->min_changed(r->user, b, NULL, routes_live(r, reg->cluster, reg->address)->ha_address);
	return e;
}

static int registration_check_room(const struct routes *r, const struct route_registration *reg, bool is_new_id, struct mq_error *err)
{
	if (is_new_id && r->n_addresses >= ROUTES_BROKERS_MAX)
		return mq_error_set(err, -ENOSPC, "%d brokers are registered, no more are accepted", ROUTES_BROKERS_MAX);
	if (HASH_COUNT(r->live) >= ROUTES_LIVE_MAX && !routes_live(r, reg->cluster, reg->address))
		return mq_error_set(err, -ENOSPC, "%d addresses registered lately, no more are accepted", ROUTES_LIVE_MAX);
	if (r->n_in_clusters >= ROUTES_BROKERS_MAX && !route_cluster_has(r, reg->cluster, reg->broker))
		return mq_error_set(err, -ENOSPC, "%d brokers are in clusters, no more are accepted", ROUTES_BROKERS_MAX);
	return 0;
}

int routes_register(struct routes *r, const struct route_registration *reg, struct mq_error *err)
{
	struct route_broker *b = (struct route_broker *)routes_broker(r, reg->broker);
	bool is_new_id = !b || !route_broker_address(b, reg->id);
	int e = registration_check(reg, err);

	if (e < 0)
		return e;
	if (is_outdated(r, b, reg)) {
		struct route_live *l = route_live_find(r, reg->cluster, reg->address);

		if (l)
			route_live_free(r, l);
		return ROUTES_REJECTED;
	}
	if (is_new_id && reg->n_topics == 1)
		return ROUTES_REFUSED;
	e = registration_check_room(r, reg, is_new_id, err);
	if (e < 0)
		return e;
	if (!b)
		b = route_broker_new(r, reg->broker, reg->cluster);
	e = b ? route_clusters_add(r, reg->cluster, reg->broker) : -ENOMEM;
	if (e == 0)
		e = register_address(r, b, reg);
	if (b && b->n_addresses == 0) {
		route_clusters_remove(r, b->name);
		route_broker_free(r, b);
	}
	if (e == -ENOSPC)
		return mq_error_set(err, e, "%d entries of topics and brokers are known, no more are accepted", ROUTES_QUEUES_MAX);
	return e;
}
