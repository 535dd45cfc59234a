/* The bodies that NameServers answer with, and which clients and brokers believe: what decodes is written, and decodes again. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "libmq/client/route.h"
#include "libmq/wire/body_cluster.h"
#include "libmq/wire/body_kv.h"
#include "libmq/wire/body_register.h"

static void check_refusal(int r, const struct mq_error *err)
{
	must((r == -EBADMSG || r == -E2BIG) && err->text[0]);
}

static void check_cluster(struct mq_slice body)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_cluster_info info;
	struct mq_error err = { 0 };
	unsigned n_brokers;
	int r = mq_cluster_info_decode(&info, body, &err);

	if (r < 0) {
		check_refusal(r, &err);
		return;
	}
	n_brokers = info.n_brokers;
	for (unsigned i = 0; i < info.n_clusters; i++)
		must(info.clusters[i].name.p && (info.clusters[i].n_brokers == 0 || info.clusters[i].brokers));
	must(mq_cluster_info_encode(&info, out) == 0);
	if (n_brokers > 0)
		must(mq_member_group_encode(&info.brokers[0], out) == 0);
	mq_cluster_info_done(&info);
}

static void check_kv(struct mq_slice body)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_kv_table table, again;
	struct mq_error err = { 0 };
	int r = mq_kv_table_decode(&table, body, &err);

	if (r < 0) {
		check_refusal(r, &err);
		return;
	}
	must(mq_kv_table_encode(&table, out) == 0);
	must(mq_kv_table_decode(&again, fuzz_bytes(out), NULL) == 0);
	must(again.n_pairs == table.n_pairs);
	mq_kv_table_done(&again);
	mq_kv_table_done(&table);
}

static void check_version(struct mq_slice body)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_data_version version, again;
	struct mq_error err = { 0 };

	if (mq_data_version_decode(&version, body, &err) < 0)
		return;
	must(mq_data_version_encode(&version, out) == 0);
	must(mq_data_version_decode(&again, fuzz_bytes(out), NULL) == 0);
	must(mq_data_version_equal(&version, &again));
}

static void check_route(struct mq_slice body)
{
	_cleanup_(mq_topic_route_unrefp) struct mq_topic_route *route = NULL;
	struct mq_error err = { 0 };
	int r = mq_topic_route_decode(&route, MQ_SLICE("T"), body, MQ_SLICE("here"), &err);

	if (r < 0) {
		check_refusal(r, &err);
		return;
	}
	must(route->n_brokers <= MQ_ROUTE_BROKERS_MAX);
	for (unsigned i = 0; i < route->n_brokers; i++) {
		const struct mq_topic_broker *b = &route->brokers[i];

		must(b->name && (!b->local || b->address));
		must(b->n_read >= 0 && b->n_read <= MQ_ROUTE_QUEUES_MAX && b->n_write >= 0 && b->n_write <= MQ_ROUTE_QUEUES_MAX);
		must(mq_topic_route_find(route, b->name));
		(void)mq_topic_route_hop(b);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_cluster(fuzz_slice(data, size));
	check_kv(fuzz_slice(data, size));
	check_version(fuzz_slice(data, size));
	check_route(fuzz_slice(data, size));
	return 0;
}
