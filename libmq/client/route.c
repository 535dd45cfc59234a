#include "libmq/client/route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libmq/wire/body_route.h"

struct mq_topic_route *mq_topic_route_ref(struct mq_topic_route *route)
{
	route->refs++;
	return route;
}

struct mq_topic_route *mq_topic_route_unref(struct mq_topic_route *route)
{
	if (!route || --route->refs > 0)
		return NULL;
	for (unsigned i = 0; i < route->n_brokers; i++) {
		struct mq_topic_broker *b = &route->brokers[i];

		free(b->name);
		free(b->cluster);
		free(b->address);
		free(b->local);
	}
	free(route->topic);
	free(route);
	return NULL;
}

/* Copies a text; absent leaves *ret NULL. */
static int copy_text(char **ret, struct mq_slice text)
{
	if (!text.p || text.n == 0)
		return 0;
	*ret = mq_slice_dup(text);
	return *ret ? 0 : -ENOMEM;
}

static int32_t clamp_queues(int32_t n)
{
	return n < 0 ? 0 : n > MQ_ROUTE_QUEUES_MAX ? MQ_ROUTE_QUEUES_MAX : n;
}

/* A socket of another boot id is a path on another machine. Only the socket of the id that `address`
 * belongs to will do. */
static int take_local_socket(struct mq_topic_broker *b, const struct mq_route_broker *data,
			     const struct mq_route_address *address, struct mq_slice boot_id)
{
	struct mq_slice path = address->local_socket;

	if (path.n == 0 || boot_id.n == 0 || !mq_slice_equal(data->boot_id, boot_id))
		return 0;
	return asprintf(&b->local, "unix:%.*s", MQ_FMT(path)) < 0 ? -ENOMEM : 0;
}

static int take_addresses(struct mq_topic_broker *b, const struct mq_route_broker *data,
			  struct mq_slice boot_id)
{
	const struct mq_route_address *first = NULL;
	int r;

	for (unsigned i = 0; i < data->n_addresses; i++)
		if (data->addresses[i].address.n > 0 && (!first || data->addresses[i].id < first->id))
			first = &data->addresses[i];
	if (!first)
		return 0;
	b->has_master = first->id == 0;
	r = copy_text(&b->address, first->address);
	return r < 0 ? r : take_local_socket(b, data, first, boot_id);
}

static int take_broker(struct mq_topic_broker *b, const struct mq_route *wire,
		       const struct mq_route_queue *queue, struct mq_slice boot_id)
{
	int r;

	b->perm = queue->perm;
	b->n_read = clamp_queues(queue->read_queues);
	b->n_write = clamp_queues(queue->write_queues);
	r = copy_text(&b->name, queue->broker);
	for (unsigned i = 0; i < wire->n_brokers && r >= 0; i++) {
		if (!mq_slice_equal(wire->brokers[i].name, queue->broker))
			continue;
		r = copy_text(&b->cluster, wire->brokers[i].cluster);
		return r < 0 ? r : take_addresses(b, &wire->brokers[i], boot_id);
	}
	return r;
}

static int compare_brokers(const void *a, const void *b)
{
	return strcmp(((const struct mq_topic_broker *)a)->name, ((const struct mq_topic_broker *)b)->name);
}

static int make_route(struct mq_topic_route **ret, struct mq_slice topic, const struct mq_route *wire,
		      struct mq_slice boot_id)
{
	_cleanup_(mq_topic_route_unrefp) struct mq_topic_route *route = NULL;
	int r;

	route = calloc(1, sizeof *route + wire->n_queues * sizeof route->brokers[0]);
	if (!route)
		return -ENOMEM;
	route->refs = 1;
	route->topic = mq_slice_dup(topic);
	if (!route->topic)
		return -ENOMEM;
	for (unsigned i = 0; i < wire->n_queues; i++) {
		if (wire->queues[i].broker.n == 0)
			continue;
		r = take_broker(&route->brokers[route->n_brokers++], wire, &wire->queues[i], boot_id);
		if (r < 0)
			return r;
	}
	qsort(route->brokers, route->n_brokers, sizeof route->brokers[0], compare_brokers);
	*ret = TAKE(route);
	return 0;
}

int mq_topic_route_decode(struct mq_topic_route **ret, struct mq_slice topic, struct mq_slice body,
			  struct mq_slice boot_id, struct mq_error *err)
{
	struct mq_route wire;
	int r;

	r = mq_route_decode(&wire, body, err);
	if (r < 0)
		return r;
	if (wire.n_queues > MQ_ROUTE_BROKERS_MAX) {
		r = mq_error_set(err, -E2BIG, "the route names %u brokers", wire.n_queues);
	} else {
		r = make_route(ret, topic, &wire, boot_id);
		if (r < 0)
			mq_error_set(err, r, "out of memory");
	}
	mq_route_done(&wire);
	return r;
}

struct mq_hop mq_topic_route_hop(const struct mq_topic_broker *b)
{
	struct mq_hop hop = { .kind = MQ_HOP_BROKER, .name = b->name };
	unsigned n = 0;

	if (b->local)
		hop.addresses[n++] = b->local;
	if (b->address)
		hop.addresses[n++] = b->address;
	return hop;
}

const struct mq_topic_broker *mq_topic_route_find(const struct mq_topic_route *route, const char *broker_name)
{
	for (unsigned i = 0; i < route->n_brokers; i++)
		if (strcmp(route->brokers[i].name, broker_name) == 0)
			return &route->brokers[i];
	return NULL;
}
