#include "libmq/wire/body_route.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "libmq/wire/json.h"

static int by_id(const void *a, const void *b)
{
	int64_t x = ((const struct mq_route_address *)a)->id, y = ((const struct mq_route_address *)b)->id;

	return (x > y) - (x < y);
}

/* A broker id is a key: bare or quoted. */
static int64_t key_i64(const struct mq_json_node *member)
{
	return mq_json_i64(member->key, -1);
}

int mq_route_broker_decode(struct mq_route_broker *ret, const struct mq_json_node *node)
{
	const struct mq_json_node *addresses = mq_json_get(node, "brokerAddrs"), *sockets = mq_json_get(node, "localSockets");
	struct mq_route_broker b = {
		.name = mq_json_text(mq_json_get(node, "brokerName")),
		.cluster = mq_json_text(mq_json_get(node, "cluster")),
		.zone = mq_json_text(mq_json_get(node, "zoneName")),
		.boot_id = mq_json_text(mq_json_get(node, "bootId")),
		.enable_acting_master = mq_json_bool(mq_json_get(node, "enableActingMaster"), false),
	};

	b.addresses = calloc(addresses && addresses->n ? addresses->n : 1, sizeof *b.addresses);
	if (!b.addresses)
		return -ENOMEM;
	MQ_JSON_EACH(member, addresses) {
		struct mq_slice address = mq_json_text(member);
		int64_t id = key_i64(member);

		if (address.p && id >= 0)
			b.addresses[b.n_addresses++] = (struct mq_route_address){ .id = id, .address = address };
	}
	qsort(b.addresses, b.n_addresses, sizeof *b.addresses, by_id);
	MQ_JSON_EACH(socket, sockets) {
		struct mq_route_address wanted = { .id = key_i64(socket) };
		struct mq_route_address *a = bsearch(&wanted, b.addresses, b.n_addresses, sizeof wanted, by_id);

		if (a)
			a->local_socket = mq_json_text(socket);
	}
	*ret = b;
	return 0;
}

void mq_route_broker_done(struct mq_route_broker *broker)
{
	free(broker->addresses);
	broker->addresses = NULL;
	broker->n_addresses = 0;
}

static int route_decode_brokers(struct mq_route *route, const struct mq_json_node *nodes)
{
	route->brokers = calloc(nodes && nodes->n ? nodes->n : 1, sizeof *route->brokers);
	if (!route->brokers)
		return -ENOMEM;
	MQ_JSON_EACH(node, nodes) {
		int r = mq_route_broker_decode(&route->brokers[route->n_brokers], node);

		if (r < 0)
			return r;
		if (route->brokers[route->n_brokers].name.n > 0)
			route->n_brokers++;
		else
			mq_route_broker_done(&route->brokers[route->n_brokers]);
	}
	return 0;
}

static int32_t small(const struct mq_json_node *node, int32_t otherwise)
{
	int64_t value = mq_json_i64(node, otherwise);

	return value >= INT32_MIN && value <= INT32_MAX ? (int32_t)value : otherwise;
}

static int route_decode_queues(struct mq_route *route, const struct mq_json_node *nodes)
{
	route->queues = calloc(nodes && nodes->n ? nodes->n : 1, sizeof *route->queues);
	if (!route->queues)
		return -ENOMEM;
	MQ_JSON_EACH(node, nodes) {
		struct mq_route_queue q = {
			.broker = mq_json_text(mq_json_get(node, "brokerName")),
			.read_queues = small(mq_json_get(node, "readQueueNums"), 0),
			.write_queues = small(mq_json_get(node, "writeQueueNums"), 0),
			.perm = small(mq_json_get(node, "perm"), 0),
			.sys_flag = small(mq_json_get(node, "topicSysFlag"), 0),
		};

		if (q.broker.n > 0)
			route->queues[route->n_queues++] = q;
	}
	return 0;
}

int mq_route_decode(struct mq_route *ret, struct mq_slice body, struct mq_error *err)
{
	struct mq_route route = {};
	const struct mq_json_node *root;
	int r = mq_json_parse(&route.doc, body, err);

	if (r < 0)
		return r;
	root = mq_json_root(route.doc);
	if (!root || root->type != MQ_JSON_OBJECT)
		r = mq_error_set(err, -EBADMSG, "a topic route is a JSON object");
	if (r == 0)
		r = route_decode_brokers(&route, mq_json_get(root, "brokerDatas"));
	if (r == 0)
		r = route_decode_queues(&route, mq_json_get(root, "queueDatas"));
	if (r < 0) {
		mq_route_done(&route);
		return r;
	}
	route.order_conf = mq_json_text(mq_json_get(root, "orderTopicConf"));
	*ret = route;
	return 0;
}

void mq_route_done(struct mq_route *route)
{
	for (unsigned i = 0; i < route->n_brokers; i++)
		mq_route_broker_done(&route->brokers[i]);
	free(route->brokers);
	free(route->queues);
	mq_json_free(route->doc);
	*route = (struct mq_route){};
}

static void encode_id(struct mq_json_writer *w, enum mq_route_shape shape, int64_t id)
{
	char text[24];

	if (shape == MQ_ROUTE_BARE_KEYS) {
		mq_json_key_i64(w, id);
		return;
	}
	snprintf(text, sizeof text, "%" PRId64, id);
	mq_json_key(w, text);
}

void mq_route_addresses_encode(const struct mq_route_broker *broker, enum mq_route_shape shape, struct mq_json_writer *w)
{
	mq_json_key(w, "brokerAddrs");
	mq_json_open_object(w);
	for (unsigned i = 0; i < broker->n_addresses; i++) {
		encode_id(w, shape, broker->addresses[i].id);
		mq_json_string(w, broker->addresses[i].address);
	}
	mq_json_close_object(w);
}

static void encode_local_sockets(const struct mq_route_broker *broker, enum mq_route_shape shape, struct mq_json_writer *w)
{
	mq_json_key(w, "localSockets");
	mq_json_open_object(w);
	for (unsigned i = 0; i < broker->n_addresses; i++) {
		if (!broker->addresses[i].local_socket.p)
			continue;
		encode_id(w, shape, broker->addresses[i].id);
		mq_json_string(w, broker->addresses[i].local_socket);
	}
	mq_json_close_object(w);
}

void mq_route_broker_encode(const struct mq_route_broker *broker, enum mq_route_shape shape, struct mq_json_writer *w)
{
	mq_json_open_object(w);
	if (broker->boot_id.p)
		mq_json_member_string(w, "bootId", broker->boot_id);
	mq_route_addresses_encode(broker, shape, w);
	mq_json_member_string(w, "brokerName", broker->name);
	mq_json_member_string(w, "cluster", broker->cluster);
	mq_json_member_bool(w, "enableActingMaster", broker->enable_acting_master);
	if (broker->boot_id.p)
		encode_local_sockets(broker, shape, w);
	if (broker->zone.p)
		mq_json_member_string(w, "zoneName", broker->zone);
	mq_json_close_object(w);
}

static void queue_encode(const struct mq_route_queue *q, struct mq_json_writer *w)
{
	mq_json_open_object(w);
	mq_json_member_string(w, "brokerName", q->broker);
	mq_json_member_i64(w, "perm", q->perm);
	mq_json_member_i64(w, "readQueueNums", q->read_queues);
	mq_json_member_i64(w, "topicSysFlag", q->sys_flag);
	mq_json_member_i64(w, "writeQueueNums", q->write_queues);
	mq_json_close_object(w);
}

int mq_route_encode(const struct mq_route *route, enum mq_route_shape shape, struct evbuffer *out)
{
	struct mq_json_writer w;

	mq_json_begin(&w, out);
	w.ascii = shape == MQ_ROUTE_STANDARD;
	mq_json_open_object(&w);
	mq_json_key(&w, "brokerDatas");
	mq_json_open_array(&w);
	for (unsigned i = 0; i < route->n_brokers; i++)
		mq_route_broker_encode(&route->brokers[i], shape, &w);
	mq_json_close_array(&w);
	mq_json_key(&w, "filterServerTable");
	mq_json_open_object(&w);
	mq_json_close_object(&w);
	if (route->order_conf.p)
		mq_json_member_string(&w, "orderTopicConf", route->order_conf);
	mq_json_key(&w, "queueDatas");
	mq_json_open_array(&w);
	for (unsigned i = 0; i < route->n_queues; i++)
		queue_encode(&route->queues[i], &w);
	mq_json_close_array(&w);
	mq_json_close_object(&w);
	return mq_json_end(&w);
}
