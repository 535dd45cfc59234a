/* Routes and topic lists: 105, 206, 216, 217, 224, 304, 311, 312, 313 */
#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <strings.h>

#include "daemons/namesrv/namesrv.h"
#include "libmq/wire/body_route.h"
#include "libmq/wire/body_topic_list.h"
#include "libmq/wire/codes.h"

enum {
	VERSION_STANDARD_JSON = 401, /* V4_9_4: from here on clients read strict JSON */
	TOPIC_UNIT = 1,              /* bits of topicSysFlag */
	TOPIC_UNIT_SUB = 2,
};

DEFINE_CLEANUP(struct evbuffer *, evbuffer_free)

/* --- GET_ROUTEINFO_BY_TOPIC (105): requests-namesrv.md section 4 --------------------------------------------------- */

#define GET_ROUTEINFO_FIELDS(X)                                          \
	X(slice, topic,         "topic",                  OPTIONAL)      \
	X(bool,  is_standard,   "acceptStandardJsonOnly", OPTIONAL)      \
	X(bool,  wants_socket,  MQ_FIELD_LOCAL_SOCKET,    OPTIONAL)      \
	X(bool,  wants_zone,    "__ZONE_MODE",            OPTIONAL)      \
	X(slice, zone,          "__ZONE_NAME",            OPTIONAL)
MQ_HEADER(get_routeinfo, GET_ROUTEINFO_FIELDS)

/* The addresses of a broker; with_sockets: those on the machine of the smallest id that told a socket. */
static int route_broker_view(const struct route_broker *b, bool with_sockets, struct mq_route_broker *ret)
{
	struct mq_route_address *addresses = calloc(b->n_addresses ? b->n_addresses : 1, sizeof *addresses);
	const char *boot_id = NULL;

	if (!addresses)
		return -ENOMEM;
	for (unsigned i = 0; i < b->n_addresses; i++) {
		const struct route_address *a = &b->addresses[i];

		addresses[i] = (struct mq_route_address){ .id = a->id, .address = mq_slice_of(a->address) };
		if (!with_sockets || !a->local_socket || !a->boot_id)
			continue;
		if (!boot_id)
			boot_id = a->boot_id;
		if (!strcmp(boot_id, a->boot_id))
			addresses[i].local_socket = mq_slice_of(a->local_socket);
	}
	*ret = (struct mq_route_broker){
		.name = mq_slice_of(b->name),
		.cluster = mq_slice_of(b->cluster),
		.zone = mq_slice_of(b->zone),
		.boot_id = mq_slice_of(boot_id),
		.enable_acting_master = b->enable_acting_master,
		.addresses = addresses,
		.n_addresses = b->n_addresses,
	};
	return 0;
}

/* What the topic's entries and their brokers look like at the moment; slices borrow from the tables. -ENOENT: no broker serves it. */
static int route_view(const struct namesrv *n, const struct route_topic *t, bool with_sockets, struct mq_route *ret)
{
	struct mq_route route = {
		.brokers = calloc(t->n_queues, sizeof *route.brokers),
		.queues = calloc(t->n_queues, sizeof *route.queues),
	};
	int r = route.brokers && route.queues ? 0 : -ENOMEM;

	for (unsigned i = 0; r == 0 && i < t->n_queues; i++) {
		const struct route_queue *q = &t->queues[i];
		const struct route_broker *b = routes_broker(&n->routes, mq_slice_of(q->broker));

		route.queues[route.n_queues++] = (struct mq_route_queue){
			.broker = mq_slice_of(q->broker), .read_queues = q->read_queues, .write_queues = q->write_queues,
			.perm = q->perm, .sys_flag = q->sys_flag,
		};
		if (!b)
			continue;
		r = route_broker_view(b, with_sockets, &route.brokers[route.n_brokers]);
		if (r == 0)
			route.n_brokers++;
	}
	if (r == 0 && route.n_brokers == 0)
		r = -ENOENT;
	if (r < 0)
		mq_route_done(&route);
	else
		*ret = route;
	return r;
}

static const struct mq_route_queue *route_queue_of(const struct mq_route *route, struct mq_slice broker)
{
	for (unsigned i = 0; i < route->n_queues; i++)
		if (mq_slice_equal(route->queues[i].broker, broker))
			return &route->queues[i];
	return NULL;
}

/* supportActingMaster: the smallest slave of a group without master is shown as id 0, for reading. */
static void route_show_acting_masters(struct mq_route *route, struct mq_slice topic)
{
	if (mq_slice_starts(topic, MQ_SLICE("rmq_sys_SYNC_BROKER_MEMBER_")))
		return;
	for (unsigned i = 0; i < route->n_brokers; i++) {
		struct mq_route_broker *b = &route->brokers[i];
		const struct mq_route_queue *q = route_queue_of(route, b->name);

		if (b->enable_acting_master && b->n_addresses > 0 && b->addresses[0].id != 0 && q && !(q->perm & ROUTE_PERM_WRITE))
			b->addresses[0].id = 0;
	}
}

static bool is_other_zone(const struct mq_route_broker *b, struct mq_slice zone)
{
	return b->n_addresses > 0 && b->addresses[0].id == 0 &&
	       (b->zone.n != zone.n || strncasecmp(b->zone.p ? b->zone.p : "", zone.p, zone.n) != 0);
}

/* ZoneRouteRPCHook: brokers of other zones that have a master are not for this client. */
static void route_keep_zone(struct mq_route *route, struct mq_slice zone)
{
	for (unsigned i = route->n_brokers; i-- > 0;) {
		if (!is_other_zone(&route->brokers[i], zone))
			continue;
		for (unsigned j = route->n_queues; j-- > 0;) {
			if (!mq_slice_equal(route->queues[j].broker, route->brokers[i].name))
				continue;
			memmove(&route->queues[j], &route->queues[j + 1], (route->n_queues - j - 1) * sizeof route->queues[0]);
			route->n_queues--;
		}
		mq_route_broker_done(&route->brokers[i]);
		memmove(&route->brokers[i], &route->brokers[i + 1], (route->n_brokers - i - 1) * sizeof route->brokers[0]);
		route->n_brokers--;
	}
}

static int reply_no_route(struct mq_request *req, struct mq_slice topic)
{
	struct mq_slice name = topic.p ? topic : MQ_SLICE("null");

	return mq_reply_code(req, MQ_TOPIC_NOT_EXIST,
			     "No topic route info in name server for the topic: %.*s\n"
			     "See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.",
			     MQ_FMT(name));
}

int handle_get_routeinfo_by_topic(struct mq_request *req)
{
	_cleanup_(evbuffer_freep) struct evbuffer *body = evbuffer_new();
	struct namesrv *n = req->server;
	struct get_routeinfo_header h = {};
	const struct route_topic *t;
	enum mq_route_shape shape;
	struct mq_command answer;
	struct mq_error err;
	struct mq_route route;
	int r;

	r = get_routeinfo_header_decode(&h, &req->cmd, &err);
	if (r < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	if (n->config.needWaitForService && req->received_at_ms - n->started_at_ms < n->config.waitSecondsForService)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "name server not ready");

	t = h.topic.p ? routes_topic(&n->routes, h.topic) : NULL;
	r = t && body ? route_view(n, t, h.wants_socket, &route) : t ? -ENOMEM : -ENOENT;
	if (r == -ENOENT)
		return reply_no_route(req, h.topic);
	if (r < 0)
		return r;

	shape = req->cmd.version >= VERSION_STANDARD_JSON || h.is_standard ? MQ_ROUTE_STANDARD : MQ_ROUTE_BARE_KEYS;
	if (n->config.supportActingMaster)
		route_show_acting_masters(&route, h.topic);
	if (n->config.orderMessageEnable)
		route.order_conf = kv_get(&n->kv, KV_ORDER_TOPICS, h.topic);
	if (h.wants_zone && h.zone.n > 0) {
		route_keep_zone(&route, h.zone);
		shape = MQ_ROUTE_BARE_KEYS;
	}
	r = mq_route_encode(&route, shape, body);
	mq_route_done(&route);
	if (r < 0)
		return r;
	mq_request_answer(req, &answer, MQ_SUCCESS);
	return mq_reply(req, &answer, body);
}

/* --- REGISTER_TOPIC_IN_NAMESRV (217), DELETE_TOPIC_IN_NAMESRV (216): section 5 ------------------------------------- */

#define TOPIC_FIELDS(X)                                   \
	X(slice, topic,   "topic",       REQUIRED)        \
	X(slice, cluster, "clusterName", OPTIONAL)
MQ_HEADER(topic, TOPIC_FIELDS)

/* Puts the queueDatas of a route into the table. */
static int add_topic(struct namesrv *n, struct mq_slice topic, const struct mq_route *route, struct mq_error *err)
{
	struct route_queue *queues = calloc(route->n_queues ? route->n_queues : 1, sizeof *queues);
	int r = queues ? 0 : -ENOMEM;

	for (unsigned i = 0; r == 0 && i < route->n_queues; i++) {
		const struct mq_route_queue *q = &route->queues[i];

		queues[i] = (struct route_queue){
			.broker = mq_slice_dup(q->broker), .read_queues = q->read_queues,
			.write_queues = q->write_queues, .perm = q->perm, .sys_flag = q->sys_flag,
		};
		if (!queues[i].broker)
			r = -ENOMEM;
	}
	if (r == 0)
		r = routes_add_topic(&n->routes, topic, queues, route->n_queues, err);
	for (unsigned i = 0; queues && i < route->n_queues; i++)
		free(queues[i].broker);
	free(queues);
	return r;
}

int handle_register_topic_in_namesrv(struct mq_request *req)
{
	struct topic_header h = {};
	struct mq_error err = {};
	struct mq_route route = {};
	int r;

	r = topic_header_decode(&h, &req->cmd, &err);
	if (r == 0 && req->cmd.body.p)
		r = mq_route_decode(&route, req->cmd.body, &err);
	if (r == 0)
		r = add_topic(req->server, h.topic, &route, &err);
	mq_route_done(&route);
	if (r < 0 && err.text[0])
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	return r < 0 ? r : mq_reply_ok(req);
}

int handle_delete_topic_in_namesrv(struct mq_request *req)
{
	struct namesrv *n = req->server;
	struct topic_header h = {};
	struct mq_error err;

	if (topic_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	routes_delete_topic(&n->routes, h.topic, h.cluster);
	return mq_reply_ok(req);
}

/* --- topic lists: 206, 224, 304, 311 to 313 ------------------------------------------------------------------------ */

/* Answers with the names, sorted; takes over `names`, NULL of which is -ENOMEM. */
static int reply_list(struct mq_request *req, struct mq_slice *names, unsigned n, struct mq_slice broker_address)
{
	_cleanup_(evbuffer_freep) struct evbuffer *body = evbuffer_new();
	struct mq_topic_list list = { .broker_address = broker_address, .topics = names, .n_topics = n };
	struct mq_command answer;
	int r = -ENOMEM;

	if (names && body) {
		qsort(names, n, sizeof *names, mq_slice_order);
		r = mq_topic_list_encode(&list, body);
	}
	free(names);
	if (r < 0)
		return r;
	mq_request_answer(req, &answer, MQ_SUCCESS);
	return mq_reply(req, &answer, body);
}

/* Room for the names of all topics. */
static struct mq_slice *all_topics(const struct namesrv *n)
{
	return calloc(HASH_COUNT(n->routes.topics) + 1, sizeof(struct mq_slice));
}

int handle_get_all_topic_list_from_nameserver(struct mq_request *req)
{
	struct namesrv *n = req->server;
	struct mq_slice *names;
	unsigned n_names = 0;

	if (!n->config.enableAllTopicList)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "disable");
	names = all_topics(n);
	for (const struct route_topic *t = n->routes.topics; names && t; t = t->hh.next)
		names[n_names++] = mq_slice_of(t->name);
	return reply_list(req, names, n_names, (struct mq_slice){});
}

#define GET_TOPICS_BY_CLUSTER_FIELDS(X) X(slice, cluster, "cluster", REQUIRED)
MQ_HEADER(get_topics_by_cluster, GET_TOPICS_BY_CLUSTER_FIELDS)

static bool is_in_cluster(const struct route_topic *t, const struct route_cluster *c)
{
	/* Both are sorted. */
	for (unsigned i = 0, j = 0; i < t->n_queues && j < c->n_brokers;) {
		int order = strcmp(t->queues[i].broker, c->brokers[j]);

		if (order == 0)
			return true;
		if (order < 0)
			i++;
		else
			j++;
	}
	return false;
}

int handle_get_topics_by_cluster(struct mq_request *req)
{
	struct namesrv *n = req->server;
	struct get_topics_by_cluster_header h = {};
	const struct route_cluster *c;
	struct mq_slice *names;
	unsigned n_names = 0;
	struct mq_error err;

	if (!n->config.enableTopicList)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "disable");
	if (get_topics_by_cluster_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	c = routes_cluster(&n->routes, h.cluster);
	names = all_topics(n);
	for (const struct route_topic *t = n->routes.topics; c && names && t; t = t->hh.next)
		if (is_in_cluster(t, c))
			names[n_names++] = mq_slice_of(t->name);
	return reply_list(req, names, n_names, (struct mq_slice){});
}

int handle_get_system_topic_list_from_ns(struct mq_request *req)
{
	struct namesrv *n = req->server;
	const struct route_broker *first = n->routes.brokers;
	struct mq_slice *names = calloc(HASH_COUNT(n->routes.clusters) + HASH_COUNT(n->routes.brokers) + 1, sizeof *names);
	struct mq_slice address = first && first->n_addresses ? mq_slice_of(first->addresses[0].address) : (struct mq_slice){};
	unsigned n_names = 0;

	for (const struct route_cluster *c = n->routes.clusters; names && c; c = c->hh.next)
		names[n_names++] = mq_slice_of(c->name);
	for (const struct route_broker *b = first; names && b; b = b->hh.next)
		names[n_names++] = mq_slice_of(b->name);
	return reply_list(req, names, n_names, address);
}

int handle_get_unit_topic_list(struct mq_request *req)
{
	struct namesrv *n = req->server;
	bool is_unit = req->cmd.code == MQ_GET_UNIT_TOPIC_LIST, is_un_unit = req->cmd.code == MQ_GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST;
	int32_t set = is_unit ? TOPIC_UNIT : TOPIC_UNIT_SUB, clear = is_un_unit ? TOPIC_UNIT : 0;
	struct mq_slice *names;
	unsigned n_names = 0;

	if (!n->config.enableTopicList)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "disable");
	names = all_topics(n);
	for (const struct route_topic *t = n->routes.topics; names && t; t = t->hh.next)
		if ((t->queues[0].sys_flag & set) && !(t->queues[0].sys_flag & clear))
			names[n_names++] = mq_slice_of(t->name);
	return reply_list(req, names, n_names, (struct mq_slice){});
}
