/* Brokers: 103, 104, 106, 205, 322, 327, 901, 904, and what we tell them: 905 */
#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>

#include "daemons/namesrv/messages.h"
#include "daemons/namesrv/namesrv.h"
#include "libmq/base/log.h"
#include "libmq/net/rpc.h"
#include "libmq/wire/body_cluster.h"
#include "libmq/wire/body_register.h"
#include "libmq/wire/codes.h"
#include "libmq/wire/record.h"

DEFINE_CLEANUP(struct evbuffer *, evbuffer_free)

static const int64_t TIMEOUT_MAX = INT64_C(1000) * 86400 * 366; /* ms; keeps sums of times in range */

/* --- REGISTER_BROKER (103): requests-namesrv.md section 3 ---------------------------------------------------------- */

#define REGISTER_BROKER_FIELDS(X)                                          \
	X(slice, broker,        "brokerName",             REQUIRED)        \
	X(slice, address,       "brokerAddr",             REQUIRED)        \
	X(slice, cluster,       "clusterName",            REQUIRED)        \
	X(slice, ha_address,    "haServerAddr",           OPTIONAL)        \
	X(i64,   id,            "brokerId",               REQUIRED)        \
	X(i64,   timeout_ms,    "heartbeatTimeoutMillis", OPTIONAL)        \
	X(bool,  acting_master, "enableActingMaster",     OPTIONAL)        \
	X(bool,  is_compressed, "compressed",             OPTIONAL)        \
	X(i32,   body_crc,      "bodyCrc32",              OPTIONAL)        \
	X(slice, zone,          "__ZONE_NAME",            OPTIONAL)        \
	X(slice, local_socket,  MQ_FIELD_LOCAL_SOCKET,    OPTIONAL)        \
	X(slice, boot_id,       MQ_FIELD_BOOT_ID,         OPTIONAL)
MQ_HEADER(register_broker, REGISTER_BROKER_FIELDS)

/* Brings the body's topics into the table. */
static int register_body(struct mq_request *req, const struct register_broker_header *h, const struct mq_register *body,
			 struct mq_error *err)
{
	struct namesrv *n = req->server;
	struct route_topic_config *topics = calloc(body->n_topics ? body->n_topics : 1, sizeof *topics);
	struct route_registration reg = {
		.cluster = h->cluster, .broker = h->broker, .address = h->address, .ha_address = h->ha_address, .zone = h->zone,
		.local_socket = h->local_socket, .boot_id = h->boot_id, .id = h->id,
		.timeout_ms = h->timeout_ms < 0 ? 0 : h->timeout_ms > TIMEOUT_MAX ? TIMEOUT_MAX : h->timeout_ms,
		.is_old_version = !mq_command_field(&req->cmd, "enableActingMaster"), .enable_acting_master = h->acting_master,
		.drop_missing_topics = n->config.deleteTopicWithBrokerRegistration, .channel = mq_conn_id(req->conn),
		.now_ms = req->received_at_ms,
		.version = { body->version.counter, body->version.state_version, body->version.timestamp },
		.topics = topics, .n_topics = body->n_topics,
	};
	bool is_known = routes_live(&n->routes, h->cluster, h->address) != NULL;
	int r;

	if (!topics)
		return -ENOMEM;
	for (unsigned i = 0; i < body->n_topics; i++) {
		const struct mq_register_topic *t = &body->topics[i];

		topics[i] = (struct route_topic_config){ t->name, t->read_queues, t->write_queues, t->perm, t->sys_flag };
	}
	r = namesrv_add_channel(n, req->conn);
	if (r == 0)
		r = routes_register(&n->routes, &reg, err);
	free(topics);
	if (r == 0 && !is_known)
		namesrv_log(LOG_INFO, NAMESRV_MSG_BROKER_REGISTERED,
			    &(struct namesrv_fields){ h->broker, h->cluster, h->address, req->conn },
			    "broker %.*s id %lld of cluster %.*s registered at %.*s", MQ_FMT(h->broker), (long long)h->id,
			    MQ_FMT(h->cluster), MQ_FMT(h->address));
	return r;
}

/* Rules 11 and 12: where a slave finds its master, and the ordered topics. */
static int reply_registered(struct mq_request *req, const struct register_broker_header *h, int outcome)
{
	_cleanup_(evbuffer_freep) struct evbuffer *body = NULL;
	struct namesrv *n = req->server;
	const struct route_broker *b = outcome == ROUTES_REJECTED ? NULL : routes_broker(&n->routes, h->broker);
	const struct route_address *master = b && h->id != 0 ? route_broker_address(b, 0) : NULL;
	const struct route_live *live = master ? routes_live(&n->routes, h->cluster, mq_slice_of(master->address)) : NULL;
	const struct kv_namespace *ordered = kv_namespace(&n->kv, KV_ORDER_TOPICS);
	struct mq_command answer;
	int r;

	mq_request_answer(req, &answer, MQ_SUCCESS);
	answer.has_fields = true;
	if (live && live->ha_address)
		mq_command_add(&answer, "haServerAddr", mq_slice_of(live->ha_address));
	if (live)
		mq_command_add(&answer, "masterAddr", mq_slice_of(master->address));
	if (n->config.returnOrderTopicConfigToBroker && ordered) {
		body = evbuffer_new();
		r = body ? kv_encode_namespace(ordered, body) : -ENOMEM;
		if (r < 0)
			return r;
	}
	return mq_reply(req, &answer, body);
}

int handle_register_broker(struct mq_request *req)
{
	struct register_broker_header h = { .timeout_ms = ROUTES_TIMEOUT_DEFAULT };
	struct mq_register body = {};
	struct mq_error err = {};
	int r;

	r = register_broker_header_decode(&h, &req->cmd, &err);
	if (r == 0 && h.body_crc != 0 && mq_body_crc(req->cmd.body) != (uint32_t)h.body_crc)
		return namesrv_reply_code(req, MQ_SYSTEM_ERROR, "crc32 not match");
	if (r == 0)
		r = mq_register_decode(&body, req->cmd.body, h.is_compressed, req->cmd.version, &err);
	if (r == 0)
		r = register_body(req, &h, &body, &err);
	mq_register_done(&body);
	if (r == ROUTES_REFUSED)
		return namesrv_reply_code(req, MQ_SYSTEM_ERROR, "register broker failed");
	if (r < 0)
		return err.text[0] ? namesrv_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text) : r;
	return reply_registered(req, &h, r);
}

/* --- NOTIFY_MIN_BROKER_ID_CHANGE (905): section 6 ------------------------------------------------------------------ */

static void notify_broker(struct namesrv *n, const struct route_broker *b, const char *address, struct mq_command *cmd)
{
	const struct route_live *live = routes_live(&n->routes, mq_slice_of(b->cluster), mq_slice_of(address));
	struct namesrv_channel *c = NULL;

	if (live)
		HASH_FIND(hh, n->channels, &live->channel, sizeof live->channel, c);
	if (c && mq_rpc_oneway(c->conn, cmd, NULL) < 0)
		mq_log(LOG_WARNING, "cannot tell the broker at %s that the smallest id of %s changed", address, b->name);
}

void broker_min_changed(void *user, const struct route_broker *b, const char *offline_address, const char *ha_address)
{
	struct namesrv *n = user;
	struct mq_command cmd;

	if (!n->config.notifyMinBrokerIdChanged)
		return;
	mq_command_request(&cmd, MQ_NOTIFY_MIN_BROKER_ID_CHANGE);
	mq_command_add_i64(&cmd, "minBrokerId", b->addresses[0].id);
	mq_command_add(&cmd, "brokerName", mq_slice_of(b->name));
	mq_command_add(&cmd, "minBrokerAddr", mq_slice_of(b->addresses[0].address));
	if (offline_address)
		mq_command_add(&cmd, "offlineBrokerAddr", mq_slice_of(offline_address));
	if (ha_address)
		mq_command_add(&cmd, "haBrokerAddr", mq_slice_of(ha_address));
	/* A newcomer knows that it is the smallest; when one left, everybody is told. */
	for (unsigned i = offline_address || b->n_addresses == 1 ? 0 : 1; i < b->n_addresses; i++)
		notify_broker(n, b, b->addresses[i].address, &cmd);
}

/* --- UNREGISTER_BROKER (104), BROKER_HEARTBEAT (904), QUERY_DATA_VERSION (322) ------------------------------------- */

#define BROKER_FIELDS(X)                                  \
	X(slice, broker,  "brokerName",  REQUIRED)        \
	X(slice, address, "brokerAddr",  REQUIRED)        \
	X(slice, cluster, "clusterName", REQUIRED)
MQ_HEADER(broker, BROKER_FIELDS)

int handle_unregister_broker(struct mq_request *req)
{
	struct namesrv *n = req->server;
	struct broker_header h = {};
	struct mq_error err;

	if (broker_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	if (routes_live(&n->routes, h.cluster, h.address))
		namesrv_log(LOG_INFO, NAMESRV_MSG_BROKER_GOODBYE, &(struct namesrv_fields){ h.broker, h.cluster, h.address, req->conn },
			    "broker %.*s of cluster %.*s at %.*s said goodbye", MQ_FMT(h.broker), MQ_FMT(h.cluster),
			    MQ_FMT(h.address));
	routes_unregister(&n->routes, h.cluster, h.broker, h.address);
	return mq_reply_ok(req);
}

int handle_broker_heartbeat(struct mq_request *req)
{
	struct namesrv *n = req->server;
	struct broker_header h = {};
	struct mq_error err;

	if (broker_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	routes_touch(&n->routes, h.cluster, h.address, req->received_at_ms);
	return mq_reply_ok(req);
}

int handle_query_data_version(struct mq_request *req)
{
	_cleanup_(evbuffer_freep) struct evbuffer *body = NULL;
	struct namesrv *n = req->server;
	struct broker_header h = {};
	struct mq_data_version asked, known;
	const struct route_live *live;
	bool is_changed = true;
	struct mq_command answer;
	struct mq_error err = {};
	int r;

	if (broker_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	live = routes_live(&n->routes, h.cluster, h.address);
	if (live) {
		known = (struct mq_data_version){ live->version.counter, live->version.state_version, live->version.timestamp };
		if (req->cmd.body.p) {
			r = mq_data_version_decode(&asked, req->cmd.body, &err);
			if (r < 0)
				return err.text[0] ? mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text) : r;
			is_changed = !mq_data_version_equal(&known, &asked);
		}
		body = evbuffer_new();
		r = body ? mq_data_version_encode(&known, body) : -ENOMEM;
		if (r < 0)
			return r;
		routes_touch(&n->routes, h.cluster, h.address, req->received_at_ms);
	}
	mq_request_answer(req, &answer, MQ_SUCCESS);
	mq_command_add_bool(&answer, "changed", is_changed);
	return mq_reply(req, &answer, body);
}

/* --- what is there: GET_BROKER_CLUSTER_INFO (106), GET_BROKER_MEMBER_GROUP (901) ----------------------------------- */

static int broker_view(const struct route_broker *b, struct mq_route_broker *ret)
{
	struct mq_route_address *addresses = calloc(b->n_addresses ? b->n_addresses : 1, sizeof *addresses);

	if (!addresses)
		return -ENOMEM;
	for (unsigned i = 0; i < b->n_addresses; i++)
		addresses[i] = (struct mq_route_address){ .id = b->addresses[i].id, .address = mq_slice_of(b->addresses[i].address) };
	*ret = (struct mq_route_broker){
		.name = mq_slice_of(b->name), .cluster = mq_slice_of(b->cluster), .zone = mq_slice_of(b->zone),
		.enable_acting_master = b->enable_acting_master, .addresses = addresses, .n_addresses = b->n_addresses,
	};
	return 0;
}

static int cluster_view(const struct route_cluster *c, struct mq_cluster *ret)
{
	struct mq_slice *names = calloc(c->n_brokers ? c->n_brokers : 1, sizeof *names);

	if (!names)
		return -ENOMEM;
	for (unsigned i = 0; i < c->n_brokers; i++)
		names[i] = mq_slice_of(c->brokers[i]);
	*ret = (struct mq_cluster){ .name = mq_slice_of(c->name), .brokers = names, .n_brokers = c->n_brokers };
	return 0;
}

/* Slices borrow from the tables; mq_cluster_info_done() frees. */
static int info_view(const struct routes *routes, struct mq_cluster_info *ret)
{
	struct mq_cluster_info info = {
		.brokers = calloc(HASH_COUNT(routes->brokers) + 1, sizeof *info.brokers),
		.clusters = calloc(HASH_COUNT(routes->clusters) + 1, sizeof *info.clusters),
	};
	int r = info.brokers && info.clusters ? 0 : -ENOMEM;

	for (const struct route_broker *b = routes->brokers; r == 0 && b; b = b->hh.next) {
		r = broker_view(b, &info.brokers[info.n_brokers]);
		if (r == 0)
			info.n_brokers++;
	}
	for (const struct route_cluster *c = routes->clusters; r == 0 && c; c = c->hh.next) {
		r = cluster_view(c, &info.clusters[info.n_clusters]);
		if (r == 0)
			info.n_clusters++;
	}
	if (r < 0)
		mq_cluster_info_done(&info);
	else
		*ret = info;
	return r;
}

int handle_get_broker_cluster_info(struct mq_request *req)
{
	_cleanup_(evbuffer_freep) struct evbuffer *body = evbuffer_new();
	struct namesrv *n = req->server;
	struct mq_cluster_info info = {};
	struct mq_command answer;
	int r = body ? info_view(&n->routes, &info) : -ENOMEM;

	if (r == 0)
		r = mq_cluster_info_encode(&info, body);
	mq_cluster_info_done(&info);
	if (r < 0)
		return r;
	mq_request_answer(req, &answer, MQ_SUCCESS);
	return mq_reply(req, &answer, body);
}

#define MEMBER_GROUP_FIELDS(X)                            \
	X(slice, broker,  "brokerName",  REQUIRED)        \
	X(slice, cluster, "clusterName", REQUIRED)
MQ_HEADER(member_group, MEMBER_GROUP_FIELDS)

int handle_get_broker_member_group(struct mq_request *req)
{
	_cleanup_(evbuffer_freep) struct evbuffer *body = evbuffer_new();
	struct namesrv *n = req->server;
	struct member_group_header h = {};
	struct mq_route_broker group = {};
	const struct route_broker *b;
	struct mq_command answer;
	struct mq_error err;
	int r;

	if (member_group_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	b = routes_broker(&n->routes, h.broker);
	r = body ? 0 : -ENOMEM;
	if (r == 0 && b)
		r = broker_view(b, &group);
	group.name = h.broker;
	group.cluster = h.cluster;
	if (r == 0)
		r = mq_member_group_encode(&group, body);
	mq_route_broker_done(&group);
	if (r < 0)
		return r;
	mq_request_answer(req, &answer, MQ_SUCCESS);
	/* Upstream forgets to clear it. */
	answer.remark = MQ_SLICE("not set any response code");
	return mq_reply(req, &answer, body);
}

/* --- WIPE_WRITE_PERM_OF_BROKER (205), ADD_WRITE_PERM_OF_BROKER (327): section 5 ------------------------------------ */

#define WRITE_PERM_FIELDS(X) X(slice, broker, "brokerName", REQUIRED)
MQ_HEADER(write_perm, WRITE_PERM_FIELDS)

static int change_write_perm(struct mq_request *req, unsigned (*change)(struct routes *, struct mq_slice), const char *field)
{
	struct namesrv *n = req->server;
	struct write_perm_header h = {};
	struct mq_command answer;
	struct mq_error err;

	if (write_perm_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	mq_request_answer(req, &answer, MQ_SUCCESS);
	mq_command_add_i64(&answer, field, change(&n->routes, h.broker));
	return mq_reply(req, &answer, NULL);
}

int handle_wipe_write_perm_of_broker(struct mq_request *req)
{
	return change_write_perm(req, routes_wipe_write, "wipeTopicCount");
}

int handle_add_write_perm_of_broker(struct mq_request *req)
{
	return change_write_perm(req, routes_add_write, "addTopicCount");
}
