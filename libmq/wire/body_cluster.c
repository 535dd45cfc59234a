#include "libmq/wire/body_cluster.h"

#include <errno.h>
#include <stdlib.h>

#include "libmq/wire/json.h"

static int info_decode_brokers(struct mq_cluster_info *info, const struct mq_json_node *table)
{
	info->brokers = calloc(table && table->n ? table->n : 1, sizeof *info->brokers);
	if (!info->brokers)
		return -ENOMEM;
	MQ_JSON_EACH(member, table) {
		struct mq_route_broker *b = &info->brokers[info->n_brokers];
		int r = mq_route_broker_decode(b, member);

		if (r < 0)
			return r;
		if (!b->name.p)
			b->name = mq_json_text(member->key);
		info->n_brokers++;
	}
	return 0;
}

static int info_decode_clusters(struct mq_cluster_info *info, const struct mq_json_node *table)
{
	info->clusters = calloc(table && table->n ? table->n : 1, sizeof *info->clusters);
	if (!info->clusters)
		return -ENOMEM;
	MQ_JSON_EACH(member, table) {
		struct mq_cluster *c = &info->clusters[info->n_clusters];

		c->brokers = calloc(member->n ? member->n : 1, sizeof *c->brokers);
		if (!c->brokers)
			return -ENOMEM;
		c->name = mq_json_text(member->key);
		info->n_clusters++;
		MQ_JSON_EACH(name, member)
			c->brokers[c->n_brokers++] = mq_json_text(name);
	}
	return 0;
}

int mq_cluster_info_decode(struct mq_cluster_info *ret, struct mq_slice body, struct mq_error *err)
{
	struct mq_cluster_info info = {};
	const struct mq_json_node *root;
	int r = mq_json_parse(&info.doc, body, err);

	if (r < 0)
		return r;
	root = mq_json_root(info.doc);
	if (!root || root->type != MQ_JSON_OBJECT)
		r = mq_error_set(err, -EBADMSG, "a cluster info is a JSON object");
	if (r == 0)
		r = info_decode_brokers(&info, mq_json_get(root, "brokerAddrTable"));
	if (r == 0)
		r = info_decode_clusters(&info, mq_json_get(root, "clusterAddrTable"));
	if (r < 0) {
		mq_cluster_info_done(&info);
		return r;
	}
	*ret = info;
	return 0;
}

void mq_cluster_info_done(struct mq_cluster_info *info)
{
	for (unsigned i = 0; i < info->n_brokers; i++)
		mq_route_broker_done(&info->brokers[i]);
	for (unsigned i = 0; i < info->n_clusters; i++)
		free(info->clusters[i].brokers);
	free(info->brokers);
	free(info->clusters);
	mq_json_free(info->doc);
	*info = (struct mq_cluster_info){};
}

int mq_cluster_info_encode(const struct mq_cluster_info *info, struct evbuffer *out)
{
	struct mq_json_writer w;

	mq_json_begin(&w, out);
	mq_json_open_object(&w);
	mq_json_key(&w, "brokerAddrTable");
	mq_json_open_object(&w);
	for (unsigned i = 0; i < info->n_brokers; i++) {
		mq_json_key_slice(&w, info->brokers[i].name);
		mq_route_broker_encode(&info->brokers[i], MQ_ROUTE_BARE_KEYS, &w);
	}
	mq_json_close_object(&w);
	mq_json_key(&w, "clusterAddrTable");
	mq_json_open_object(&w);
	for (unsigned i = 0; i < info->n_clusters; i++) {
		const struct mq_cluster *c = &info->clusters[i];

		mq_json_key_slice(&w, c->name);
		mq_json_open_array(&w);
		for (unsigned j = 0; j < c->n_brokers; j++)
			mq_json_string(&w, c->brokers[j]);
		mq_json_close_array(&w);
	}
	mq_json_close_object(&w);
	mq_json_close_object(&w);
	return mq_json_end(&w);
}

int mq_member_group_encode(const struct mq_route_broker *group, struct evbuffer *out)
{
	struct mq_json_writer w;

	mq_json_begin(&w, out);
	mq_json_open_object(&w);
	mq_json_key(&w, "brokerMemberGroup");
	mq_json_open_object(&w);
	mq_route_addresses_encode(group, MQ_ROUTE_BARE_KEYS, &w);
	mq_json_member_string(&w, "brokerName", group->name);
	mq_json_member_string(&w, "cluster", group->cluster);
	mq_json_close_object(&w);
	mq_json_close_object(&w);
	return mq_json_end(&w);
}
