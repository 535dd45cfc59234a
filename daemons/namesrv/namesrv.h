/* The NameServer: everything its handlers share. One per process; one thread, whose loop serves connections, signals and the scan
 * for lost brokers. */
#pragma once

#include "daemons/namesrv/config.h"
#include "daemons/namesrv/kv.h"
#include "daemons/namesrv/routes.h"
#include "libmq/net/request.h"

/* A connection that brokers registered over: the routes know it by number. */
struct namesrv_channel {
	uint64_t id;
	struct mq_conn *conn; /* borrowed: removed when it closes */
	UT_hash_handle hh;
};

struct namesrv {
	struct namesrv_config config;
	struct mq_loop *loop;             /* owned */
	struct routes routes;
	struct kv kv;
	struct namesrv_channel *channels; /* hash by id */
	struct mq_dispatch dispatch;
	int64_t started_at_ms;
};

/* requests.c: fills n->dispatch; n->config, routes and kv are ready. */
void namesrv_dispatch_init(struct namesrv *n);
/* Remembers the connection of a registration. -ENOMEM. */
int namesrv_add_channel(struct namesrv *n, struct mq_conn *conn) _must_check_;
/* Looks for brokers whose time is over: closes their connections and forgets them. */
void namesrv_scan(struct namesrv *n, int64_t now_ms);
void namesrv_done(struct namesrv *n);
/* A journal line with the fields MQ_BROKER, MQ_CLUSTER, MQ_ADDRESS and MQ_PEER, as far as they are given. */
struct namesrv_fields {
	struct mq_slice broker, cluster, address; /* p NULL: left out */
	const struct mq_conn *conn;               /* NULL: left out */
};
void namesrv_log(int priority, const char *message_id, const struct namesrv_fields *fields, const char *fmt, ...) _printf_(4, 5);
/* mq_reply_code() for requests whose answer has a header class upstream: their errors carry an empty extFields, too. */
int namesrv_reply_code(struct mq_request *req, int code, const char *remark_fmt, ...) _printf_(3, 4);

/* handle_route.c */
int handle_get_routeinfo_by_topic(struct mq_request *req);
int handle_register_topic_in_namesrv(struct mq_request *req);
int handle_delete_topic_in_namesrv(struct mq_request *req);
int handle_get_all_topic_list_from_nameserver(struct mq_request *req);
int handle_get_topics_by_cluster(struct mq_request *req);
int handle_get_system_topic_list_from_ns(struct mq_request *req);
int handle_get_unit_topic_list(struct mq_request *req); /* and 312, 313 */

/* handle_broker.c */
int handle_register_broker(struct mq_request *req);
int handle_unregister_broker(struct mq_request *req);
int handle_get_broker_cluster_info(struct mq_request *req);
int handle_wipe_write_perm_of_broker(struct mq_request *req);
int handle_add_write_perm_of_broker(struct mq_request *req);
int handle_query_data_version(struct mq_request *req);
int handle_get_broker_member_group(struct mq_request *req);
int handle_broker_heartbeat(struct mq_request *req);
/* Tells the brokers of a name that their smallest id changed (905): routes.min_changed, with the namesrv as user. */
void broker_min_changed(void *user, const struct route_broker *b, const char *offline_address, const char *ha_address);

/* handle_kv.c */
int handle_put_kv_config(struct mq_request *req);
int handle_get_kv_config(struct mq_request *req);
int handle_delete_kv_config(struct mq_request *req);
int handle_get_kvlist_by_namespace(struct mq_request *req);
/* KVTable of a namespace; -ENOMEM. */
int kv_encode_namespace(const struct kv_namespace *ns, struct evbuffer *out) _must_check_;

/* handle_config.c */
int handle_update_namesrv_config(struct mq_request *req);
int handle_get_namesrv_config(struct mq_request *req);
