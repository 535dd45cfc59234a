/* ClusterInfo: the answer to GET_BROKER_CLUSTER_INFO (106), and BrokerMemberGroup, the answer to GET_BROKER_MEMBER_GROUP (901)
 * (reference: protocol/frame.md section 5.1). Always with bare numeric keys, whatever the peer's version. */
#pragma once

#include "libmq/wire/body_route.h"

struct mq_cluster {
	struct mq_slice name;
	struct mq_slice *brokers; /* names */
	unsigned n_brokers;
};

struct mq_cluster_info {
	struct mq_route_broker *brokers;
	unsigned n_brokers;
	struct mq_cluster *clusters;
	unsigned n_clusters;
	struct mq_json *doc; /* owned after mq_cluster_info_decode(), else NULL */
};

/* -EBADMSG with a sentence, -E2BIG, -ENOMEM. */
int mq_cluster_info_decode(struct mq_cluster_info *ret, struct mq_slice body, struct mq_error *err) _must_check_;
/* Frees what mq_cluster_info_decode() made. */
void mq_cluster_info_done(struct mq_cluster_info *info);
int mq_cluster_info_encode(const struct mq_cluster_info *info, struct evbuffer *out) _must_check_; /* -ENOMEM */

/* name, cluster and addresses of the group; -ENOMEM. */
int mq_member_group_encode(const struct mq_route_broker *group, struct evbuffer *out) _must_check_;
