#include "libmq/client/admin.h"

#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "libmq/client/pull.h"
#include "libmq/wire/body_cluster.h"
#include "libmq/wire/codes.h"
#include "libmq/wire/fields.h"

DEFINE_CLEANUP(struct evbuffer *, evbuffer_free)

/* --- brokers --- */

void mq_broker_list_done(struct mq_broker_list *list)
{
	for (unsigned i = 0; i < list->n; i++) {
		free(list->items[i].name);
		free(list->items[i].cluster);
		free(list->items[i].address);
	}
	free(list->items);
	*list = (struct mq_broker_list){};
}

static int list_add(struct mq_broker_list *list, struct mq_slice name, struct mq_slice cluster,
		    struct mq_slice address, int64_t id)
{
	struct mq_broker *larger = realloc(list->items, (list->n + 1) * sizeof *larger);
	struct mq_broker *b;

	if (!larger)
		return -ENOMEM;
	list->items = larger;
	b = &list->items[list->n++];
	*b = (struct mq_broker){ .id = id };
	b->name = mq_slice_dup(name);
	b->cluster = mq_slice_dup(cluster);
	b->address = mq_slice_dup(address);
	return b->name && b->cluster && b->address ? 0 : -ENOMEM;
}

static int compare_brokers(const void *a, const void *b)
{
	const struct mq_broker *x = a, *y = b;
	int r = strcmp(x->cluster, y->cluster);

	if (r == 0)
		r = strcmp(x->name, y->name);
	return r ? r : (x->id > y->id) - (x->id < y->id);
}

static int list_of_info(struct mq_broker_list *list, const struct mq_cluster_info *info, const char *cluster)
{
	for (unsigned i = 0; i < info->n_brokers; i++) {
		const struct mq_route_broker *b = &info->brokers[i];

		if (cluster && !mq_slice_is(b->cluster, cluster))
			continue;
		for (unsigned j = 0; j < b->n_addresses; j++) {
			int r = list_add(list, b->name, b->cluster, b->addresses[j].address,
					 b->addresses[j].id);

			if (r < 0)
				return r;
		}
	}
	if (list->n > 0)
		qsort(list->items, list->n, sizeof *list->items, compare_brokers);
	return 0;
}

int mq_admin_brokers(struct mq_client *c, const char *cluster, struct mq_broker_list *ret, struct mq_failure *f)
{
	_cleanup_(mq_command_freep) struct mq_command *answer = NULL;
	const char *direct = mq_client_direct_broker(c);
	struct mq_broker_list list = {};
	struct mq_cluster_info info;
	struct mq_command cmd;
	struct mq_error err;
	int r;

	if (direct) {
		r = list_add(&list, MQ_SLICE(""), MQ_SLICE(""), mq_slice_of(direct), 0);
	} else {
		mq_command_request(&cmd, MQ_GET_BROKER_CLUSTER_INFO);
		r = mq_client_ask(c, &MQ_NAMESRV, &cmd, &answer, f);
		if (r < 0)
			return r;
		r = mq_cluster_info_decode(&info, answer->body, &err);
		if (r < 0)
			return mq_failure_at(f, r, MQ_STAGE_ANSWER, MQ_HOP_NAMESRV, "NameServer",
					     "unreadable cluster information: %s", err.text);
		r = list_of_info(&list, &info, cluster);
		mq_cluster_info_done(&info);
	}
	if (r < 0) {
		mq_broker_list_done(&list);
		return mq_failure_local(f, r, "out of memory");
	}
	if (list.n == 0) {
		mq_broker_list_done(&list);
		return cluster ? mq_failure_local(f, -ENOENT, "no broker of cluster %s is registered", cluster)
			       : mq_failure_local(f, -ENOENT, "no broker is registered at the NameServer");
	}
	*ret = list;
	return 0;
}

struct mq_hop mq_broker_hop(const struct mq_broker *b)
{
	return (struct mq_hop){ .kind = MQ_HOP_BROKER,
				.name = *b->name ? b->name : NULL,
				.addresses = { b->address } };
}

/* --- requests --- */

int mq_admin_json(struct mq_client *c, const struct mq_hop *hop, const struct mq_command *cmd,
		  struct mq_json **ret, struct mq_failure *f)
{
	_cleanup_(mq_command_freep) struct mq_command *answer = NULL;
	struct mq_error err;
	int r;

	r = mq_client_ask(c, hop, cmd, &answer, f);
	if (r < 0)
		return r;
	r = mq_json_parse(ret, answer->body, &err);
	if (r < 0)
		return mq_failure_at(f, r, MQ_STAGE_ANSWER, hop->kind,
				     hop->addresses[0] ? hop->addresses[0] : "NameServer",
				     "unreadable answer to %s: %s", mq_request_name(cmd->code), err.text);
	return 0;
}

int mq_admin_create_topic(struct mq_client *c, const struct mq_broker *b, const struct mq_topic_config *config,
			  struct mq_failure *f)
{
	_cleanup_(mq_command_freep) struct mq_command *answer = NULL;
	struct mq_hop hop = mq_broker_hop(b);
	struct mq_command cmd;

	mq_command_request(&cmd, MQ_UPDATE_AND_CREATE_TOPIC);
	mq_command_add(&cmd, "topic", config->name);
	mq_command_add(&cmd, "defaultTopic", MQ_SLICE("TBW102"));
	mq_command_add_i64(&cmd, "readQueueNums", config->read_queues);
	mq_command_add_i64(&cmd, "writeQueueNums", config->write_queues);
	mq_command_add_i64(&cmd, "perm", config->perm);
	mq_command_add(&cmd, "topicFilterType",
		       config->is_multi_tag ? MQ_SLICE("MULTI_TAG") : MQ_SLICE("SINGLE_TAG"));
	mq_command_add_i64(&cmd, "topicSysFlag", config->sys_flag);
	mq_command_add_bool(&cmd, "order", config->is_order);
	if (config->attributes.n > 0)
		mq_command_add(&cmd, "attributes", config->attributes);
	return mq_client_ask(c, &hop, &cmd, &answer, f);
}

int mq_admin_delete_topic(struct mq_client *c, const struct mq_broker *b, const char *topic,
			  struct mq_failure *f)
{
	_cleanup_(mq_command_freep) struct mq_command *answer = NULL;
	struct mq_hop hop = mq_broker_hop(b);
	struct mq_command cmd;

	mq_command_request(&cmd, MQ_DELETE_TOPIC_IN_BROKER);
	mq_command_add(&cmd, "topic", mq_slice_of(topic));
	return mq_client_ask(c, &hop, &cmd, &answer, f);
}

int mq_admin_forget_topic(struct mq_client *c, const char *topic, const char *cluster, struct mq_failure *f)
{
	const char *address;
	int r = 0;

	for (unsigned i = 0; r >= 0 && (address = mq_client_namesrv(c, i)); i++) {
		_cleanup_(mq_command_freep) struct mq_command *answer = NULL;
		struct mq_hop hop = { .kind = MQ_HOP_NAMESRV, .addresses = { address } };
		struct mq_command cmd;

		mq_command_request(&cmd, MQ_DELETE_TOPIC_IN_NAMESRV);
		mq_command_add(&cmd, "topic", mq_slice_of(topic));
		if (cluster)
			mq_command_add(&cmd, "clusterName", mq_slice_of(cluster));
		r = mq_client_ask(c, &hop, &cmd, &answer, f);
	}
	return r;
}

int mq_admin_check_sql(struct mq_client *c, const struct mq_hop *hop, const char *topic, const char *expression,
		       struct mq_failure *f)
{
	_cleanup_(mq_command_freep) struct mq_command *answer = NULL;
	_cleanup_(evbuffer_freep) struct evbuffer *body = evbuffer_new();
	struct mq_json_writer w;
	struct mq_command cmd;

	if (!body)
		return mq_failure_local(f, -ENOMEM, "out of memory");
	mq_json_begin(&w, body);
	mq_json_open_object(&w);
	mq_json_member_string(&w, "clientId", mq_slice_of(mq_client_id(c)));
	mq_json_member_string(&w, "group", MQ_SLICE(MQ_TOOLS_GROUP));
	mq_json_key(&w, "subscriptionData");
	mq_json_open_object(&w);
	mq_json_member_string(&w, "expressionType", MQ_SLICE("SQL92"));
	mq_json_member_string(&w, "subString", mq_slice_of(expression));
	mq_json_member_string(&w, "topic", mq_slice_of(topic));
	mq_json_close_object(&w);
	mq_json_close_object(&w);
	if (mq_json_end(&w) < 0)
		return mq_failure_local(f, -ENOMEM, "out of memory");
	mq_command_request(&cmd, MQ_CHECK_CLIENT_CONFIG);
	cmd.body = (struct mq_slice){ (const char *)evbuffer_pullup(body, -1), evbuffer_get_length(body) };
	return mq_client_ask(c, hop, &cmd, &answer, f);
}

#define OFFSET_FIELDS(X) X(i64, offset, "offset", REQUIRED)
MQ_HEADER(offset, OFFSET_FIELDS)

int mq_admin_offset(struct mq_client *c, const struct mq_hop *hop, int code, const char *topic,
		    int32_t queue_id, int64_t timestamp_ms, int64_t *ret, struct mq_failure *f)
{
	_cleanup_(mq_command_freep) struct mq_command *answer = NULL;
	struct offset_header h = {};
	struct mq_command cmd;
	struct mq_error err;
	int r;

	mq_command_request(&cmd, code);
	mq_command_add(&cmd, "topic", mq_slice_of(topic));
	mq_command_add_i64(&cmd, "queueId", queue_id);
	if (code == MQ_SEARCH_OFFSET_BY_TIMESTAMP)
		mq_command_add_i64(&cmd, "timestamp", timestamp_ms);
	r = mq_client_ask(c, hop, &cmd, &answer, f);
	if (r < 0)
		return r;
	r = offset_header_decode(&h, answer, &err);
	if (r < 0)
		return mq_failure_at(f, r, MQ_STAGE_ANSWER, MQ_HOP_BROKER,
				     hop->name ? hop->name : hop->addresses[0], "unreadable answer: %s",
				     err.text);
	*ret = h.offset;
	return 0;
}

/* --- topic names --- */

bool mq_topic_is_system(const char *topic, const struct mq_broker_list *brokers)
{
	static const char *const exact[] = {
		"TBW102",
		"SCHEDULE_TOPIC_XXXX",
		"RMQ_SYS_TRANS_HALF_TOPIC",
		"RMQ_SYS_TRANS_OP_HALF_TOPIC",
		"RMQ_SYS_TRACE_TOPIC",
		"SELF_TEST_TOPIC",
		"BenchmarkTest",
		"OFFSET_MOVED_EVENT",
		"TRANS_CHECK_MAX_TIME_TOPIC",
	};

	for (unsigned i = 0; i < N_ELEMENTS(exact); i++)
		if (strcmp(topic, exact[i]) == 0)
			return true;
	if (*topic == '%' || strncasecmp(topic, "rmq_sys_", 8) == 0)
		return true;
	for (unsigned i = 0; brokers && i < brokers->n; i++) {
		const struct mq_broker *b = &brokers->items[i];
		size_t n = strlen(b->cluster);

		if (strcmp(topic, b->name) == 0 || strcmp(topic, b->cluster) == 0 ||
		    (n > 0 && strncmp(topic, b->cluster, n) == 0 && strcmp(topic + n, "_REPLY_TOPIC") == 0))
			return true;
	}
	return false;
}
