/* TopicRouteData: the answer to GET_ROUTEINFO_BY_TOPIC (105) and the body of REGISTER_TOPIC_IN_NAMESRV (217)
 * (reference: protocol/requests-namesrv.md section 4, frame.md section 5).
 *
 * One addition of ours, invisible to everybody who does not ask for it. A broker may add two extFields to its registration (103):
 * `localSocket`, the path of its Unix socket, and `bootId`, what /proc/sys/kernel/random/boot_id says where it runs. A route
 * request with the extField `localSocket=true` then finds two more members in each element of brokerDatas:
 *
 *     "bootId":"8a5e…","localSockets":{0:"/run/mqd/broker.sock"}
 *
 * keyed by broker id as brokerAddrs. bootId is that of the smallest id that has a socket; ids that run on another machine are left
 * out. A client whose own boot id is the same may use the socket instead of the TCP address. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

struct evbuffer;
struct mq_json;
struct mq_json_node;
struct mq_json_writer;

#define MQ_FIELD_LOCAL_SOCKET "localSocket" /* extField of 103 (a path) and of 105 (true) */
#define MQ_FIELD_BOOT_ID      "bootId"      /* extField of 103 */

/* One broker id. */
struct mq_route_address {
	int64_t id;                   /* 0: the master */
	struct mq_slice address;      /* "10.0.0.1:10911" */
	struct mq_slice local_socket; /* path; p NULL: none known */
};

/* BrokerData: the brokers of one name. */
struct mq_route_broker {
	struct mq_slice name, cluster, zone; /* zone: p NULL when absent */
	struct mq_slice boot_id;             /* of those with a local_socket; p NULL when absent */
	bool enable_acting_master;
	struct mq_route_address *addresses;  /* by id */
	unsigned n_addresses;
};

/* QueueData: the queues of the topic on one broker name. */
struct mq_route_queue {
	struct mq_slice broker;
	int32_t read_queues, write_queues, perm, sys_flag;
};

struct mq_route {
	struct mq_slice order_conf; /* "broker-a:4;broker-b:4"; p NULL when absent */
	struct mq_route_broker *brokers;
	unsigned n_brokers;
	struct mq_route_queue *queues;
	unsigned n_queues;
	struct mq_json *doc;        /* owned after mq_route_decode(): what the slices point into; else NULL */
};

enum mq_route_shape {
	MQ_ROUTE_BARE_KEYS, /* {0:"ip:port"}: peers before 4.9.4 */
	MQ_ROUTE_STANDARD,  /* {"0":"ip:port"} and non-ASCII escaped: version >= 401 or acceptStandardJsonOnly */
};

/* Either shape. -EBADMSG with a sentence, -E2BIG, -ENOMEM. Elements without a broker name are left out. */
int mq_route_decode(struct mq_route *ret, struct mq_slice body, struct mq_error *err) _must_check_;
/* Frees what mq_route_decode() made. */
void mq_route_done(struct mq_route *route);
/* In the order given: callers sort by broker name. -ENOMEM. */
int mq_route_encode(const struct mq_route *route, enum mq_route_shape shape, struct evbuffer *out) _must_check_;

/* BrokerData alone, for other bodies that carry it (body_cluster.h). */
int mq_route_broker_decode(struct mq_route_broker *ret, const struct mq_json_node *node) _must_check_; /* -ENOMEM */
void mq_route_broker_done(struct mq_route_broker *broker);
void mq_route_broker_encode(const struct mq_route_broker *broker, enum mq_route_shape shape, struct mq_json_writer *w);
/* The member "brokerAddrs". */
void mq_route_addresses_encode(const struct mq_route_broker *broker, enum mq_route_shape shape, struct mq_json_writer *w);
