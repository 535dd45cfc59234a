/* Where each request code of the NameServer is handled. Sorted by code; reference: protocol/requests-namesrv.md section 1. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemons/namesrv/messages.h"
#include "daemons/namesrv/namesrv.h"
#include "libmq/base/log.h"
#include "libmq/wire/codes.h"

static const struct mq_dispatch_line lines[] = {
	{ MQ_PUT_KV_CONFIG,                        handle_put_kv_config,                      MQ_PERM_ADMIN, "namespace" },
	{ MQ_GET_KV_CONFIG,                        handle_get_kv_config,                      MQ_PERM_ADMIN_READ, "namespace" },
	{ MQ_DELETE_KV_CONFIG,                     handle_delete_kv_config,                   MQ_PERM_ADMIN, "namespace" },
	{ MQ_REGISTER_BROKER,                      handle_register_broker,                    MQ_PERM_PEER, "brokerName" },
	{ MQ_UNREGISTER_BROKER,                    handle_unregister_broker,                  MQ_PERM_PEER, "brokerName" },
	{ MQ_GET_ROUTEINFO_BY_TOPIC,               handle_get_routeinfo_by_topic,             MQ_PERM_NONE, "topic" },
	{ MQ_GET_BROKER_CLUSTER_INFO,              handle_get_broker_cluster_info,            MQ_PERM_NONE },
	{ MQ_WIPE_WRITE_PERM_OF_BROKER,            handle_wipe_write_perm_of_broker,          MQ_PERM_ADMIN, "brokerName" },
	{ MQ_GET_ALL_TOPIC_LIST_FROM_NAMESERVER,   handle_get_all_topic_list_from_nameserver, MQ_PERM_ADMIN_READ },
	{ MQ_DELETE_TOPIC_IN_NAMESRV,              handle_delete_topic_in_namesrv,            MQ_PERM_ADMIN, "topic" },
	{ MQ_REGISTER_TOPIC_IN_NAMESRV,            handle_register_topic_in_namesrv,          MQ_PERM_PEER, "topic" },
	{ MQ_GET_KVLIST_BY_NAMESPACE,              handle_get_kvlist_by_namespace,            MQ_PERM_ADMIN_READ, "namespace" },
	{ MQ_GET_TOPICS_BY_CLUSTER,                handle_get_topics_by_cluster,              MQ_PERM_ADMIN_READ },
	{ MQ_GET_SYSTEM_TOPIC_LIST_FROM_NS,        handle_get_system_topic_list_from_ns,      MQ_PERM_ADMIN_READ },
	{ MQ_GET_UNIT_TOPIC_LIST,                  handle_get_unit_topic_list,                MQ_PERM_ADMIN_READ },
	{ MQ_GET_HAS_UNIT_SUB_TOPIC_LIST,          handle_get_unit_topic_list,                MQ_PERM_ADMIN_READ },
	{ MQ_GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST,   handle_get_unit_topic_list,                MQ_PERM_ADMIN_READ },
	{ MQ_UPDATE_NAMESRV_CONFIG,                handle_update_namesrv_config,              MQ_PERM_ADMIN },
	{ MQ_GET_NAMESRV_CONFIG,                   handle_get_namesrv_config,                 MQ_PERM_ADMIN_READ },
	{ MQ_QUERY_DATA_VERSION,                   handle_query_data_version,                 MQ_PERM_PEER, "brokerName" },
	{ MQ_ADD_WRITE_PERM_OF_BROKER,             handle_add_write_perm_of_broker,           MQ_PERM_ADMIN, "brokerName" },
	{ MQ_GET_BROKER_MEMBER_GROUP,              handle_get_broker_member_group,            MQ_PERM_NONE, "brokerName" },
	{ MQ_BROKER_HEARTBEAT,                     handle_broker_heartbeat,                   MQ_PERM_PEER, "brokerName" },
};

void namesrv_log(int priority, const char *message_id, const struct namesrv_fields *f, const char *fmt, ...)
{
	const struct {
		const char *name;
		struct mq_slice value;
	} all[] = {
		{ "MQ_BROKER", f->broker },
		{ "MQ_CLUSTER", f->cluster },
		{ "MQ_ADDRESS", f->address },
		{ "MQ_PEER", mq_slice_of(f->conn ? mq_conn_peer(f->conn)->text : NULL) },
	};
	char texts[N_ELEMENTS(all)][ROUTES_NAME_MAX + 32], sentence[512];
	const char *fields[N_ELEMENTS(all) + 1] = {};
	unsigned n = 0;
	va_list ap;

	for (unsigned i = 0; i < N_ELEMENTS(all); i++) {
		if (!all[i].value.p)
			continue;
		snprintf(texts[n], sizeof texts[n], "%s=%.*s", all[i].name, MQ_FMT(all[i].value));
		fields[n] = texts[n];
		n++;
	}
	va_start(ap, fmt);
	vsnprintf(sentence, sizeof sentence, fmt, ap);
	va_end(ap);
	mq_log_fields(priority, message_id, fields, "%s", sentence);
}

static struct namesrv_channel *find_channel(struct namesrv *n, uint64_t id)
{
	struct namesrv_channel *c;

	HASH_FIND(hh, n->channels, &id, sizeof id, c);
	return c;
}

int namesrv_add_channel(struct namesrv *n, struct mq_conn *conn)
{
	struct namesrv_channel *c = find_channel(n, mq_conn_id(conn));

	if (c)
		return 0;
	c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	c->id = mq_conn_id(conn);
	c->conn = conn;
	HASH_ADD(hh, n->channels, id, sizeof c->id, c);
	return 0;
}

/* A broker is gone the moment its connection is; a frozen one is left to the scan. */
static void on_close(struct mq_conn *conn, void *server)
{
	struct namesrv *n = server;
	struct namesrv_channel *c = find_channel(n, mq_conn_id(conn));

	if (!c)
		return;
	if (routes_channel_closed(&n->routes, c->id) > 0)
		namesrv_log(LOG_WARNING, NAMESRV_MSG_BROKER_LOST, &(struct namesrv_fields){ .conn = conn },
			    "the connection of a broker at %s closed: its routes are removed", mq_conn_peer(conn)->text);
	HASH_DELETE(hh, n->channels, c);
	free(c);
}

static void on_expired(void *user, const struct route_live *live)
{
	struct namesrv *n = user;
	struct namesrv_channel *c = find_channel(n, live->channel);

	namesrv_log(LOG_WARNING, NAMESRV_MSG_BROKER_SILENT, &(struct namesrv_fields){ .address = mq_slice_of(live->address) },
		    "the broker at %s did not register for %lld ms: its routes are removed", live->address,
		    (long long)live->timeout_ms);
	if (c)
		mq_conn_close(c->conn, -ETIMEDOUT);
}

int namesrv_reply_code(struct mq_request *req, int code, const char *remark_fmt, ...)
{
	struct mq_command answer;
	char remark[512];
	va_list ap;

	va_start(ap, remark_fmt);
	vsnprintf(remark, sizeof remark, remark_fmt, ap);
	va_end(ap);
	mq_request_answer(req, &answer, code);
	answer.has_fields = true;
	answer.remark = mq_slice_of(remark);
	return mq_reply(req, &answer, NULL);
}

void namesrv_scan(struct namesrv *n, int64_t now_ms)
{
	(void)routes_expire(&n->routes, now_ms, on_expired, n);
}

void namesrv_dispatch_init(struct namesrv *n)
{
	n->dispatch = (struct mq_dispatch){
		.lines = lines,
		.n_lines = N_ELEMENTS(lines),
		.server = n,
		.on_close = on_close,
	};
	mq_dispatch_check(&n->dispatch);
	n->routes.min_changed = broker_min_changed;
	n->routes.user = n;
}

void namesrv_done(struct namesrv *n)
{
	struct namesrv_channel *c, *next;

	n->loop = mq_loop_free(n->loop);
	HASH_ITER(hh, n->channels, c, next) {
		HASH_DELETE(hh, n->channels, c);
		free(c);
	}
	routes_done(&n->routes);
	kv_done(&n->kv);
	options_free(&namesrv_options, &n->config);
}
