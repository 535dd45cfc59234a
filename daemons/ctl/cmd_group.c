/* mqctl group list|lag */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "daemons/ctl/ctl.h"
#include "daemons/ctl/times.h"
#include "libmq/client/admin.h"
#include "libmq/wire/body_groups.h"
#include "libmq/wire/body_lock.h"
#include "libmq/wire/codes.h"

/* --- list --- */

struct list_options {
	struct common_options common;
	const char *cluster;
	bool all;
};

static const struct arg_line list_lines[] = {
	{ 'a', "all", ARG_FLAG, NULL, offsetof(struct list_options, all), NULL, 0, 0, NULL,
	  "also the groups that brokers make for themselves" },
	{ 0, "cluster", ARG_TEXT, "CLUSTER", offsetof(struct list_options, cluster), NULL, 0, 0, NULL,
	  "only the brokers of this cluster" },
};

/* A group over its brokers. */
struct group_sum {
	UT_hash_handle hh;
	unsigned n_brokers;
	unsigned n_members; /* the most that one broker knows: members connect to all brokers */
	int32_t retry_max_times;
	bool may_consume;
	char name[];
};

static bool is_system_group(const char *name)
{
	static const char *const exact[] = { "TOOLS_CONSUMER",	   "FILTERSRV_CONSUMER",
					     "SELF_TEST_C_GROUP",  "SELF_TEST_P_GROUP",
					     "__MONITOR_CONSUMER", "CLIENT_INNER_PRODUCER" };

	for (unsigned i = 0; i < N_ELEMENTS(exact); i++)
		if (strcmp(name, exact[i]) == 0)
			return true;
	return strncmp(name, "CID_ONSAPI_", 11) == 0 || strncmp(name, "CID_ONS-HTTP-PROXY", 18) == 0 ||
	       strncmp(name, "CID_RMQ_SYS_", 12) == 0 || strncmp(name, "CID_SYS_", 8) == 0;
}

static int group_add(struct group_sum **groups, struct mq_slice name, const struct mq_group_config *c)
{
	struct group_sum *g;

	HASH_FIND(hh, *groups, name.p, name.n, g);
	if (!g) {
		g = calloc(1, sizeof *g + name.n + 1);
		if (!g)
			return -ENOMEM;
		memcpy(g->name, name.p, name.n);
		HASH_ADD_KEYPTR(hh, *groups, g->name, name.n, g);
	}
	g->n_brokers++;
	g->retry_max_times = c->retry_max_times;
	g->may_consume |= c->consume_enable;
	return 0;
}

static int read_groups(struct ctl *ctl, const struct mq_hop *hop, struct group_sum **groups,
		       struct mq_failure *f)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	struct mq_command cmd;
	int r;

	mq_command_request(&cmd, MQ_GET_ALL_SUBSCRIPTIONGROUP_CONFIG);
	r = mq_admin_json(ctl->client, hop, &cmd, &doc, f);
	if (r < 0)
		return r;
	MQ_JSON_EACH(node, mq_json_get(mq_json_root(doc), "subscriptionGroupTable")) {
		struct mq_group_config config;
		char text[MQ_GROUP_TEXT_MAX];

		if (!node->key || !node->key->text.p || mq_group_config_read(node, &config, text) < 0)
			continue; /* one odd group must not hide the others */
		if (group_add(groups, node->key->text, &config) < 0)
			return mq_failure_local(f, -ENOMEM, "out of memory");
	}
	return 0;
}

/* Code 38 answers an error for a group without members. */
static int read_members(struct ctl *ctl, const struct mq_hop *hop, struct group_sum *g, struct mq_failure *f)
{
	_cleanup_(mq_command_freep) struct mq_command *answer = NULL;
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	const struct mq_json_node *ids;
	struct mq_command cmd;
	int r;

	mq_command_request(&cmd, MQ_GET_CONSUMER_LIST_BY_GROUP);
	mq_command_add(&cmd, "consumerGroup", mq_slice_of(g->name));
	r = mq_client_exchange(ctl->client, hop, &cmd, 0, &answer, f);
	if (r < 0)
		return r;
	if (answer->code != MQ_SUCCESS || mq_json_parse(&doc, answer->body, NULL) < 0)
		return 0;
	ids = mq_json_get(mq_json_root(doc), "consumerIdList");
	if (ids && ids->n > g->n_members)
		g->n_members = ids->n;
	return 0;
}

static int compare_groups(const struct group_sum *a, const struct group_sum *b)
{
	return strcmp(a->name, b->name);
}

static const struct column list_columns[] = {
	{ "GROUP", "group", COLUMN_TEXT },
	{ "BROKERS", "brokers", COLUMN_NUMBER },
	{ "MEMBERS", "members", COLUMN_NUMBER },
	{ "RETRIES", "retryMaxTimes", COLUMN_NUMBER },
	{ "CONSUME", "consumeEnable", COLUMN_FLAG },
};

static int print_groups(struct ctl *ctl, const struct group_sum *groups, bool all)
{
	_cleanup_(table_freep) struct table *table = NULL;

	if (table_new(&table, list_columns, N_ELEMENTS(list_columns)) < 0)
		return ctl_no_memory();
	for (const struct group_sum *g = groups; g; g = g->hh.next) {
		if (!all && is_system_group(g->name))
			continue;
		table_cell(table, "%s", g->name);
		table_cell(table, "%u", g->n_brokers);
		table_cell(table, "%u", g->n_members);
		table_cell(table, "%d", g->retry_max_times);
		table_cell(table, "%s", g->may_consume ? "yes" : "no");
	}
	return ctl_print(ctl, table);
}

static int cmd_list(struct ctl *ctl, const void *options, char **operands, unsigned n_operands)
{
	const struct list_options *o = options;
	_cleanup_(mq_broker_list_done) struct mq_broker_list brokers = {};
	struct group_sum *groups = NULL, *g, *next;
	struct mq_failure f;
	int r, code;

	r = mq_admin_brokers(ctl->client, o->cluster, &brokers, &f);
	for (unsigned i = 0; i < brokers.n && r >= 0; i++) {
		struct mq_hop hop = mq_broker_hop(&brokers.items[i]);

		if (brokers.items[i].id != 0)
			continue;
		r = read_groups(ctl, &hop, &groups, &f);
		for (g = groups; g && r >= 0; g = g->hh.next)
			if (o->all || !is_system_group(g->name))
				r = read_members(ctl, &hop, g, &f);
	}
	HASH_SORT(groups, compare_groups);
	code = r < 0 ? ctl_fail(ctl, &f) : print_groups(ctl, groups, o->all);
	HASH_ITER(hh, groups, g, next) {
		HASH_DEL(groups, g);
		free(g);
	}
	return code;
}

const struct verb verb_group_list = {
	.name = "group list",
	.operands = "",
	.summary = "List consumer groups with their members",
	.lines = list_lines,
	.n_lines = N_ELEMENTS(list_lines),
	.options_size = sizeof(struct list_options),
	.run = cmd_list,
};

/* --- lag --- */

struct lag_options {
	struct common_options common;
	const char *topic;
	bool total;
};

static const struct arg_line lag_lines[] = {
	{ 't', "topic", ARG_TEXT, "TOPIC", offsetof(struct lag_options, topic), NULL, 0, 0, NULL,
	  "only the queues of this topic" },
	{ 0, "total", ARG_FLAG, NULL, offsetof(struct lag_options, total), NULL, 0, 0, NULL,
	  "one line per topic instead of one per queue" },
};

struct lag_row {
	char *topic, *broker; /* owned */
	int32_t queue_id;
	int64_t broker_offset, consumer_offset, last_ms;
};

struct lag_rows {
	struct lag_row *items; /* owned */
	size_t n;
};

static void lag_rows_done(struct lag_rows *rows)
{
	for (size_t i = 0; i < rows->n; i++) {
		free(rows->items[i].topic);
		free(rows->items[i].broker);
	}
	free(rows->items);
}

static int lag_add(struct lag_rows *rows, const struct mq_queue_name *q, const struct mq_json_node *entry)
{
	struct lag_row *larger = realloc(rows->items, (rows->n + 1) * sizeof *larger);
	struct lag_row *row;

	if (!larger)
		return -ENOMEM;
	rows->items = larger;
	row = &larger[rows->n++];
	*row = (struct lag_row){
		.topic = mq_slice_dup(q->topic),
		.broker = mq_slice_dup(q->broker),
		.queue_id = q->id,
		.broker_offset = mq_json_i64(mq_json_get(entry, "brokerOffset"), 0),
		.consumer_offset = mq_json_i64(mq_json_get(entry, "consumerOffset"), 0),
		.last_ms = mq_json_i64(mq_json_get(entry, "lastTimestamp"), 0),
	};
	return row->topic && row->broker ? 0 : -ENOMEM;
}

static int read_lag(struct ctl *ctl, const struct mq_broker *b, const char *group, const char *topic,
		    struct lag_rows *rows, struct mq_failure *f)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	struct mq_hop hop = mq_broker_hop(b);
	struct mq_command cmd;
	int r;

	mq_command_request(&cmd, MQ_GET_CONSUME_STATS);
	mq_command_add(&cmd, "consumerGroup", mq_slice_of(group));
	if (topic)
		mq_command_add(&cmd, "topic", mq_slice_of(topic));
	r = mq_admin_json(ctl->client, &hop, &cmd, &doc, f);
	if (r < 0)
		return r;
	MQ_JSON_EACH(entry, mq_json_get(mq_json_root(doc), "offsetTable")) {
		struct mq_queue_name q;

		if (!entry->key || mq_queue_name_read(entry->key, &q) < 0)
			continue;
		if (topic && !mq_slice_is(q.topic, topic))
			continue;
		if (lag_add(rows, &q, entry) < 0)
			return mq_failure_local(f, -ENOMEM, "out of memory");
	}
	return 0;
}

static int compare_lags(const void *a, const void *b)
{
	const struct lag_row *x = a, *y = b;
	int r = strcmp(x->topic, y->topic);

	if (r == 0)
		r = strcmp(x->broker, y->broker);
	return r ? r : (x->queue_id > y->queue_id) - (x->queue_id < y->queue_id);
}

static const struct column lag_columns[] = {
	{ "TOPIC", "topic", COLUMN_TEXT },
	{ "BROKER", "broker", COLUMN_TEXT },
	{ "QUEUE", "queueId", COLUMN_NUMBER },
	{ "MAX", "maxOffset", COLUMN_NUMBER },
	{ "CONSUMED", "consumerOffset", COLUMN_NUMBER },
	{ "LAG", "lag", COLUMN_NUMBER },
	{ "LAST CONSUMED", "lastConsumedTime", COLUMN_TEXT },
};

static const struct column total_columns[] = {
	{ "TOPIC", "topic", COLUMN_TEXT },
	{ "QUEUES", "queues", COLUMN_NUMBER },
	{ "LAG", "lag", COLUMN_NUMBER },
};

static void lag_cells(const struct ctl *ctl, struct table *t, const struct lag_row *row)
{
	char time[TIMES_TEXT_MAX];

	table_cell(t, "%s", row->topic);
	table_cell(t, "%s", row->broker);
	table_cell(t, "%d", row->queue_id);
	table_cell(t, "%lld", (long long)row->broker_offset);
	table_cell(t, "%lld", (long long)row->consumer_offset);
	table_cell(t, "%lld", (long long)(row->broker_offset - row->consumer_offset));
	if (row->last_ms > 0)
		table_cell(t, "%s",
			   ctl->format == FORMAT_JSON ? times_format_utc(row->last_ms, time)
						      : times_format(row->last_ms, time));
	else
		table_cell(t, "%s", "");
}

static int print_lag(struct ctl *ctl, const struct lag_rows *rows)
{
	_cleanup_(table_freep) struct table *table = NULL;
	int64_t total = 0;
	int code;

	if (table_new(&table, lag_columns, N_ELEMENTS(lag_columns)) < 0)
		return ctl_no_memory();
	for (size_t i = 0; i < rows->n; i++) {
		lag_cells(ctl, table, &rows->items[i]);
		total += rows->items[i].broker_offset - rows->items[i].consumer_offset;
	}
	code = ctl_print(ctl, table);
	if (code == 0 && ctl->format == FORMAT_TABLE)
		printf("\ntotal lag %lld\n", (long long)total);
	return code;
}

static int print_totals(struct ctl *ctl, const struct lag_rows *rows)
{
	_cleanup_(table_freep) struct table *table = NULL;

	if (table_new(&table, total_columns, N_ELEMENTS(total_columns)) < 0)
		return ctl_no_memory();
	for (size_t i = 0; i < rows->n;) {
		const char *topic = rows->items[i].topic;
		int64_t lag = 0;
		size_t n = 0;

		for (; i < rows->n && strcmp(rows->items[i].topic, topic) == 0; i++, n++)
			lag += rows->items[i].broker_offset - rows->items[i].consumer_offset;
		table_cell(table, "%s", topic);
		table_cell(table, "%zu", n);
		table_cell(table, "%lld", (long long)lag);
	}
	return ctl_print(ctl, table);
}

static int cmd_lag(struct ctl *ctl, const void *options, char **operands, unsigned n_operands)
{
	const struct lag_options *o = options;
	_cleanup_(mq_broker_list_done) struct mq_broker_list brokers = {};
	_cleanup_(lag_rows_done) struct lag_rows rows = {};
	struct mq_failure f;
	int r;

	r = mq_admin_brokers(ctl->client, NULL, &brokers, &f);
	for (unsigned i = 0; i < brokers.n && r >= 0; i++)
		if (brokers.items[i].id == 0)
			r = read_lag(ctl, &brokers.items[i], operands[0], o->topic, &rows, &f);
	if (r < 0)
		return ctl_fail(ctl, &f);
	/* Brokers answer an unknown group like one that has committed nothing: with an empty table. */
	if (rows.n == 0)
		return ctl_error(EX_NOINPUT,
				 "group %s has committed no offsets%s%s: see 'mqctl group list'",
				 operands[0], o->topic ? " in topic " : "", o->topic ? o->topic : "");
	qsort(rows.items, rows.n, sizeof *rows.items, compare_lags);
	return o->total ? print_totals(ctl, &rows) : print_lag(ctl, &rows);
}

const struct verb verb_group_lag = {
	.name = "group lag",
	.operands = "GROUP",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "Show how far a consumer group is behind, queue by queue",
	.lines = lag_lines,
	.n_lines = N_ELEMENTS(lag_lines),
	.options_size = sizeof(struct lag_options),
	.run = cmd_lag,
};
