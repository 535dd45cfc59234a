/* mqctl topic create|list|describe|delete */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "daemons/ctl/ctl.h"
#include "daemons/ctl/times.h"
#include "libmq/client/admin.h"
#include "libmq/client/route.h"
#include "libmq/wire/body_lock.h"
#include "libmq/wire/codes.h"

static const char *perm_text(int64_t perm)
{
	static const char *const texts[] = { "--", "-w", "r-", "rw" };

	return texts[(perm & MQ_PERM_BIT_READ ? 2 : 0) + (perm & MQ_PERM_BIT_WRITE ? 1 : 0)];
}

/* --- create --- */

struct create_options {
	struct common_options common;
	const char *cluster;
	int64_t queues, read_queues, write_queues;
	int perm;
	bool order;
	struct arg_list attributes;
};

#define CREATE(member) offsetof(struct create_options, member)

static const char *const perm_choices[] = { "rw", "r", "w", NULL };
static const int perm_bits[] = { MQ_PERM_BIT_READ | MQ_PERM_BIT_WRITE, MQ_PERM_BIT_READ, MQ_PERM_BIT_WRITE };

static const struct arg_line create_lines[] = {
	{ 'q', "queues", ARG_INT, "N", CREATE(queues), "8", 1, 65535, NULL, "queues on each broker" },
	{ 0, "read-queues", ARG_INT, "N", CREATE(read_queues), NULL, 1, 65535, NULL,
	  "queues to read from, when not the same" },
	{ 0, "write-queues", ARG_INT, "N", CREATE(write_queues), NULL, 1, 65535, NULL,
	  "queues to write to, when not the same" },
	{ 0, "perm", ARG_CHOICE, "PERM", CREATE(perm), "rw", 0, 0, perm_choices,
	  "rw, r or w: what clients may do" },
	{ 0, "order", ARG_FLAG, NULL, CREATE(order), NULL, 0, 0, NULL,
	  "mark it as a topic whose order matters across brokers" },
	{ 'a', "attribute", ARG_LIST, "KEY=VALUE", CREATE(attributes), NULL, 0, 0, NULL,
	  "attribute such as message.type=FIFO; may be given several times" },
	{ 0, "cluster", ARG_TEXT, "CLUSTER", CREATE(cluster), NULL, 0, 0, NULL,
	  "only on the brokers of this cluster" },
};

/* "+key=value,+key=value": upstream's form for "set these". */
static char *join_attributes(const struct arg_list *list)
{
	char *joined = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&joined, &n);

	if (!out)
		return NULL;
	for (unsigned i = 0; i < list->n; i++)
		fprintf(out, "%s+%s", i ? "," : "", list->items[i]);
	fclose(out);
	return joined;
}

static int check_attributes(const struct verb *verb, const struct arg_list *list)
{
	for (unsigned i = 0; i < list->n; i++) {
		const char *equal = strchr(list->items[i], '=');

		if (!equal || equal == list->items[i] || !equal[1])
			return ctl_usage(verb, "--attribute %s: say KEY=VALUE", list->items[i]);
	}
	return 0;
}

static void create_row(struct table *t, const char *topic, const struct mq_broker *b,
		       const struct mq_topic_config *c)
{
	table_cell(t, "%s", topic);
	table_cell(t, "%s", *b->name ? b->name : b->address);
	table_cell(t, "%d", c->read_queues);
	table_cell(t, "%d", c->write_queues);
	table_cell(t, "%s", perm_text(c->perm));
}

static const struct column created_columns[] = {
	{ "TOPIC", "topic", COLUMN_TEXT },	 { "BROKER", "broker", COLUMN_TEXT },
	{ "READ", "readQueues", COLUMN_NUMBER }, { "WRITE", "writeQueues", COLUMN_NUMBER },
	{ "PERM", "perm", COLUMN_TEXT },
};

static int cmd_create(struct ctl *ctl, const void *options, char **operands, unsigned n_operands)
{
	const struct create_options *o = options;
	_cleanup_(mq_broker_list_done) struct mq_broker_list brokers = {};
	_cleanup_(table_freep) struct table *table = NULL;
	_cleanup_(freep) char *attributes = NULL;
	struct mq_topic_config config;
	struct mq_failure f;
	int r;

	r = check_attributes(ctl->verb, &o->attributes);
	if (r != 0)
		return r;
	attributes = join_attributes(&o->attributes);
	if (!attributes || table_new(&table, created_columns, N_ELEMENTS(created_columns)) < 0)
		return ctl_no_memory();
	config = (struct mq_topic_config){
		.name = mq_slice_of(operands[0]),
		.read_queues = (int32_t)(o->read_queues ? o->read_queues : o->queues),
		.write_queues = (int32_t)(o->write_queues ? o->write_queues : o->queues),
		.perm = perm_bits[o->perm],
		.is_order = o->order,
		.attributes = mq_slice_of(attributes),
	};

	if (mq_admin_brokers(ctl->client, o->cluster, &brokers, &f) < 0)
		return ctl_fail(ctl, &f);
	for (unsigned i = 0; i < brokers.n; i++) {
		if (brokers.items[i].id != 0)
			continue;
		if (mq_admin_create_topic(ctl->client, &brokers.items[i], &config, &f) < 0)
			return ctl_fail(ctl, &f);
		create_row(table, operands[0], &brokers.items[i], &config);
	}
	return ctl_print(ctl, table);
}

const struct verb verb_topic_create = {
	.name = "topic create",
	.operands = "TOPIC",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "Create a topic on all brokers, or change its queues and permission",
	.lines = create_lines,
	.n_lines = N_ELEMENTS(create_lines),
	.options_size = sizeof(struct create_options),
	.run = cmd_create,
};

/* --- list --- */

struct list_options {
	struct common_options common;
	const char *cluster;
	bool all;
};

static const struct arg_line list_lines[] = {
	{ 'a', "all", ARG_FLAG, NULL, offsetof(struct list_options, all), NULL, 0, 0, NULL,
	  "also what brokers make for themselves: retry, dead-letter and system topics" },
	{ 0, "cluster", ARG_TEXT, "CLUSTER", offsetof(struct list_options, cluster), NULL, 0, 0, NULL,
	  "only the brokers of this cluster" },
};

/* A topic summed up over its brokers. */
struct topic_sum {
	UT_hash_handle hh;
	unsigned n_brokers;
	int64_t n_read, n_write;
	int perm; /* union */
	char name[];
};

static int sum_add(struct topic_sum **sums, const struct mq_topic_config *c)
{
	struct topic_sum *sum;

	HASH_FIND(hh, *sums, c->name.p, c->name.n, sum);
	if (!sum) {
		sum = calloc(1, sizeof *sum + c->name.n + 1);
		if (!sum)
			return -ENOMEM;
		memcpy(sum->name, c->name.p, c->name.n);
		HASH_ADD_KEYPTR(hh, *sums, sum->name, c->name.n, sum);
	}
	sum->n_brokers++;
	sum->n_read += c->read_queues;
	sum->n_write += c->write_queues;
	sum->perm |= c->perm;
	return 0;
}

static int sum_broker(struct ctl *ctl, const struct mq_broker *b, struct topic_sum **sums, struct mq_failure *f)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	struct mq_hop hop = mq_broker_hop(b);
	struct mq_command cmd;
	int r;

	mq_command_request(&cmd, MQ_GET_ALL_TOPIC_CONFIG);
	r = mq_admin_json(ctl->client, &hop, &cmd, &doc, f);
	if (r < 0)
		return r;
	MQ_JSON_EACH(node, mq_json_get(mq_json_root(doc), "topicConfigTable")) {
		struct mq_topic_config config;
		char attributes[4096];

		if (mq_topic_config_read(node, &config, attributes, sizeof attributes) < 0)
			continue; /* one odd topic must not hide the others */
		if (sum_add(sums, &config) < 0)
			return mq_failure_local(f, -ENOMEM, "out of memory");
	}
	return 0;
}

static int compare_sums(const struct topic_sum *a, const struct topic_sum *b)
{
	return strcmp(a->name, b->name);
}

static const struct column list_columns[] = {
	{ "TOPIC", "topic", COLUMN_TEXT },	 { "BROKERS", "brokers", COLUMN_NUMBER },
	{ "READ", "readQueues", COLUMN_NUMBER }, { "WRITE", "writeQueues", COLUMN_NUMBER },
	{ "PERM", "perm", COLUMN_TEXT },
};

static int print_sums(struct ctl *ctl, const struct topic_sum *sums, const struct mq_broker_list *brokers,
		      bool all)
{
	_cleanup_(table_freep) struct table *table = NULL;

	if (table_new(&table, list_columns, N_ELEMENTS(list_columns)) < 0)
		return ctl_no_memory();
	for (const struct topic_sum *sum = sums; sum; sum = sum->hh.next) {
		if (!all && mq_topic_is_system(sum->name, brokers))
			continue;
		table_cell(table, "%s", sum->name);
		table_cell(table, "%u", sum->n_brokers);
		table_cell(table, "%lld", (long long)sum->n_read);
		table_cell(table, "%lld", (long long)sum->n_write);
		table_cell(table, "%s", perm_text(sum->perm));
	}
	return ctl_print(ctl, table);
}

static int cmd_list(struct ctl *ctl, const void *options, char **operands, unsigned n_operands)
{
	const struct list_options *o = options;
	_cleanup_(mq_broker_list_done) struct mq_broker_list brokers = {};
	struct topic_sum *sums = NULL, *sum, *next;
	struct mq_failure f;
	int r, code;

	r = mq_admin_brokers(ctl->client, o->cluster, &brokers, &f);
	for (unsigned i = 0; i < brokers.n && r >= 0; i++)
		if (brokers.items[i].id == 0)
			r = sum_broker(ctl, &brokers.items[i], &sums, &f);
	HASH_SORT(sums, compare_sums);
	code = r < 0 ? ctl_fail(ctl, &f) : print_sums(ctl, sums, &brokers, o->all);
	HASH_ITER(hh, sums, sum, next) {
		HASH_DEL(sums, sum);
		free(sum);
	}
	return code;
}

const struct verb verb_topic_list = {
	.name = "topic list",
	.operands = "",
	.summary = "List topics with their queues",
	.lines = list_lines,
	.n_lines = N_ELEMENTS(list_lines),
	.options_size = sizeof(struct list_options),
	.run = cmd_list,
};

/* --- describe --- */

static const struct column describe_columns[] = {
	{ "BROKER", "broker", COLUMN_TEXT },
	{ "QUEUE", "queueId", COLUMN_NUMBER },
	{ "PERM", "perm", COLUMN_TEXT },
	{ "MIN", "minOffset", COLUMN_NUMBER },
	{ "MAX", "maxOffset", COLUMN_NUMBER },
	{ "MESSAGES", "messages", COLUMN_NUMBER },
	{ "LAST MESSAGE", "lastMessageTime", COLUMN_TEXT },
};

struct queue_row {
	int32_t id;
	int64_t min, max, last_ms;
};

static int compare_rows(const void *a, const void *b)
{
	const struct queue_row *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static void describe_row(const struct ctl *ctl, struct table *t, const struct mq_topic_broker *b,
			 const struct queue_row *q)
{
	char time[TIMES_TEXT_MAX];

	table_cell(t, "%s", b->name);
	table_cell(t, "%d", q->id);
	table_cell(t, "%s", perm_text(b->perm));
	table_cell(t, "%lld", (long long)q->min);
	table_cell(t, "%lld", (long long)q->max);
	table_cell(t, "%lld", (long long)(q->max - q->min));
	if (q->last_ms > 0)
		table_cell(t, "%s",
			   ctl->format == FORMAT_JSON ? times_format_utc(q->last_ms, time)
						      : times_format(q->last_ms, time));
	else
		table_cell(t, "%s", "");
}

static int describe_broker(struct ctl *ctl, const char *topic, const struct mq_topic_broker *b, struct table *t,
			   struct mq_failure *f)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	_cleanup_(freep) struct queue_row *rows = NULL;
	struct mq_hop hop = mq_topic_route_hop(b);
	const struct mq_json_node *table;
	struct mq_command cmd;
	unsigned n = 0;
	int r;

	mq_command_request(&cmd, MQ_GET_TOPIC_STATS_INFO);
	mq_command_add(&cmd, "topic", mq_slice_of(topic));
	r = mq_admin_json(ctl->client, &hop, &cmd, &doc, f);
	if (r < 0)
		return r;
	table = mq_json_get(mq_json_root(doc), "offsetTable");
	rows = calloc(table ? table->n + 1 : 1, sizeof *rows);
	if (!rows)
		return mq_failure_local(f, -ENOMEM, "out of memory");
	MQ_JSON_EACH(entry, table) {
		struct mq_queue_name q;

		if (!entry->key || mq_queue_name_read(entry->key, &q) < 0)
			continue;
		rows[n++] = (struct queue_row){
			.id = q.id,
			.min = mq_json_i64(mq_json_get(entry, "minOffset"), 0),
			.max = mq_json_i64(mq_json_get(entry, "maxOffset"), 0),
			.last_ms = mq_json_i64(mq_json_get(entry, "lastUpdateTimestamp"), 0),
		};
	}
	qsort(rows, n, sizeof *rows, compare_rows);
	for (unsigned i = 0; i < n; i++)
		describe_row(ctl, t, b, &rows[i]);
	return 0;
}

struct plain_options {
	struct common_options common;
};

static int cmd_describe(struct ctl *ctl, const void *options, char **operands, unsigned n_operands)
{
	_cleanup_(mq_topic_route_unrefp) struct mq_topic_route *route = NULL;
	_cleanup_(table_freep) struct table *table = NULL;
	struct mq_failure f;

	if (mq_client_route(ctl->client, operands[0], MQ_FIND_AS_IS, &route, &f) < 0)
		return ctl_fail(ctl, &f);
	if (table_new(&table, describe_columns, N_ELEMENTS(describe_columns)) < 0)
		return ctl_no_memory();
	for (unsigned i = 0; i < route->n_brokers; i++)
		if (route->brokers[i].address &&
		    describe_broker(ctl, operands[0], &route->brokers[i], table, &f) < 0)
			return ctl_fail(ctl, &f);
	return ctl_print(ctl, table);
}

const struct verb verb_topic_describe = {
	.name = "topic describe",
	.operands = "TOPIC",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "Show the queues of a topic: offsets, number of messages, time of the last one",
	.options_size = sizeof(struct plain_options),
	.run = cmd_describe,
};

/* --- delete --- */

struct delete_options {
	struct common_options common;
	const char *cluster;
};

static const struct arg_line delete_lines[] = {
	{ 0, "cluster", ARG_TEXT, "CLUSTER", offsetof(struct delete_options, cluster), NULL, 0, 0, NULL,
	  "only from the brokers of this cluster" },
};

static const struct column deleted_columns[] = { { "TOPIC", "topic", COLUMN_TEXT },
						 { "BROKER", "broker", COLUMN_TEXT } };

static int cmd_delete(struct ctl *ctl, const void *options, char **operands, unsigned n_operands)
{
	const struct delete_options *o = options;
	_cleanup_(mq_broker_list_done) struct mq_broker_list brokers = {};
	_cleanup_(mq_topic_route_unrefp) struct mq_topic_route *route = NULL;
	_cleanup_(table_freep) struct table *table = NULL;
	struct mq_failure f;

	/* Servers say yes to names they do not know: a mistyped one should not look like success. */
	if (mq_client_route(ctl->client, operands[0], MQ_FIND_AS_IS, &route, &f) < 0 ||
	    mq_admin_brokers(ctl->client, o->cluster, &brokers, &f) < 0)
		return ctl_fail(ctl, &f);
	if (table_new(&table, deleted_columns, N_ELEMENTS(deleted_columns)) < 0)
		return ctl_no_memory();
	for (unsigned i = 0; i < brokers.n; i++) {
		const struct mq_broker *b = &brokers.items[i];

		if (b->id != 0)
			continue;
		if (mq_admin_delete_topic(ctl->client, b, operands[0], &f) < 0)
			return ctl_fail(ctl, &f);
		table_cell(table, "%s", operands[0]);
		table_cell(table, "%s", *b->name ? b->name : b->address);
	}
	if (mq_admin_forget_topic(ctl->client, operands[0], o->cluster, &f) < 0)
		return ctl_fail(ctl, &f);
	return ctl_print(ctl, table);
}

const struct verb verb_topic_delete = {
	.name = "topic delete",
	.operands = "TOPIC",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "Delete a topic with its messages from all brokers and NameServers",
	.lines = delete_lines,
	.n_lines = N_ELEMENTS(delete_lines),
	.options_size = sizeof(struct delete_options),
	.run = cmd_delete,
};
