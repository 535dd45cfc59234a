/* mqctl cluster: the brokers and how they are; mqctl ping: is everybody there, and how far away. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemons/ctl/ctl.h"
#include "daemons/ctl/times.h"
#include "libmq/client/admin.h"
#include "libmq/wire/codes.h"

/* --- cluster --- */

struct cluster_options {
	struct common_options common;
	const char *cluster;
};

static const struct arg_line cluster_lines[] = {
	{ 0, "cluster", ARG_TEXT, "CLUSTER", offsetof(struct cluster_options, cluster), NULL, 0, 0, NULL,
	  "only the brokers of this cluster" },
};

static const struct column cluster_columns[] = {
	{ "CLUSTER", "cluster", COLUMN_TEXT },	    { "BROKER", "broker", COLUMN_TEXT },
	{ "ID", "brokerId", COLUMN_NUMBER },	    { "ADDRESS", "address", COLUMN_TEXT },
	{ "VERSION", "version", COLUMN_TEXT },	    { "IN/S", "inTps", COLUMN_NUMBER },
	{ "OUT/S", "outTps", COLUMN_NUMBER },	    { "IN TODAY", "inToday", COLUMN_NUMBER },
	{ "OUT TODAY", "outToday", COLUMN_NUMBER }, { "DISK%", "diskPercent", COLUMN_NUMBER },
	{ "UPTIME", "uptime", COLUMN_TEXT },	    { "STATE", "state", COLUMN_TEXT },
};

static struct mq_slice runtime_text(const struct mq_json_node *table, const char *key)
{
	return mq_json_text(mq_json_get(table, key));
}

/* "12.5 11.0 10.2 ": the first number, of the last ten seconds. Nothing when it is not there. */
static void cell_tps(struct table *t, struct mq_slice text)
{
	char number[32];

	if (text.n == 0 || text.n >= 200) {
		table_cell(t, "%s", "");
		return;
	}
	snprintf(number, sizeof number, "%.*s", MQ_FMT(text));
	table_cell(t, "%.1f", strtod(number, NULL));
}

static void cell_today(struct table *t, const struct mq_json_node *table, const char *now_key,
		       const char *morning_key)
{
	int64_t now = mq_json_i64(mq_json_get(table, now_key), -1),
		morning = mq_json_i64(mq_json_get(table, morning_key), -1);

	if (now < 0 || morning < 0)
		table_cell(t, "%s", "");
	else
		table_cell(t, "%lld", (long long)(now - morning));
}

static void runtime_cells(struct table *t, const struct mq_json_node *table, int64_t now_ms)
{
	struct mq_slice transferred = runtime_text(table, "getTransferredTps");
	double disk = mq_json_double(mq_json_get(table, "commitLogDiskRatio"), -1);
	int64_t boot_ms = mq_json_i64(mq_json_get(table, "bootTimestamp"), 0);
	char duration[TIMES_TEXT_MAX];

	/* 4.x spelled it with one r. */
	if (transferred.n == 0)
		transferred = runtime_text(table, "getTransferedTps");
	table_cell(t, "%.*s", MQ_FMT(runtime_text(table, "brokerVersionDesc")));
	cell_tps(t, runtime_text(table, "putTps"));
	cell_tps(t, transferred);
	cell_today(t, table, "msgPutTotalTodayNow", "msgPutTotalTodayMorning");
	cell_today(t, table, "msgGetTotalTodayNow", "msgGetTotalTodayMorning");
	if (disk >= 0)
		table_cell(t, "%.1f", disk * 100);
	else
		table_cell(t, "%s", "");
	table_cell(t, "%s",
		   boot_ms > 0 && now_ms >= boot_ms ? times_format_duration(now_ms - boot_ms, duration)
						    : "");
	table_cell(t, "%s", "up");
}

static int cluster_row(struct ctl *ctl, const struct mq_broker *b, struct table *t)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	struct mq_hop hop = mq_broker_hop(b);
	struct mq_command cmd;
	struct mq_failure f;
	char text[FAILURE_TEXT_MAX];

	table_cell(t, "%s", b->cluster);
	table_cell(t, "%s", b->name);
	table_cell(t, "%lld", (long long)b->id);
	table_cell(t, "%s", b->address);
	mq_command_request(&cmd, MQ_GET_BROKER_RUNTIME_INFO);
	if (mq_admin_json(ctl->client, &hop, &cmd, &doc, &f) >= 0) {
		runtime_cells(t, mq_json_get(mq_json_root(doc), "table"), mq_wall_ms(mq_loop_clock(ctl->loop)));
		return 0;
	}
	for (int i = 0; i < 7; i++)
		table_cell(t, "%s", "");
	table_cell(t, "%s", f.why);
	fprintf(stderr, "mqctl: %s\n", failure_text(&f, true, text));
	return failure_exit_code(&f);
}

static int cmd_cluster(struct ctl *ctl, const void *options, char **operands, unsigned n_operands)
{
	const struct cluster_options *o = options;
	_cleanup_(mq_broker_list_done) struct mq_broker_list brokers = {};
	_cleanup_(table_freep) struct table *table = NULL;
	struct mq_failure f;
	int worst = 0, code;

	if (mq_admin_brokers(ctl->client, o->cluster, &brokers, &f) < 0)
		return ctl_fail(ctl, &f);
	if (table_new(&table, cluster_columns, N_ELEMENTS(cluster_columns)) < 0)
		return ctl_no_memory();
	for (unsigned i = 0; i < brokers.n && worst != EXIT_INTERRUPTED; i++) {
		code = cluster_row(ctl, &brokers.items[i], table);
		worst = code ? code : worst;
	}
	code = ctl_print(ctl, table);
	return code ? code : worst;
}

const struct verb verb_cluster = {
	.name = "cluster",
	.operands = "",
	.summary = "Show the brokers of the NameServer: version, throughput, disk, uptime",
	.lines = cluster_lines,
	.n_lines = N_ELEMENTS(cluster_lines),
	.options_size = sizeof(struct cluster_options),
	.run = cmd_cluster,
};

/* --- ping --- */

struct ping_options {
	struct common_options common;
	int64_t count;
};

static const struct arg_line ping_lines[] = {
	{ 'c', "count", ARG_INT, "N", offsetof(struct ping_options, count), "3", 1, 1000000, NULL,
	  "ask every server N times" },
};

static const struct column ping_columns[] = {
	{ "SERVER", "server", COLUMN_TEXT },   { "NAME", "name", COLUMN_TEXT },
	{ "ADDRESS", "address", COLUMN_TEXT }, { "MIN MS", "minMs", COLUMN_NUMBER },
	{ "AVG MS", "avgMs", COLUMN_NUMBER },  { "MAX MS", "maxMs", COLUMN_NUMBER },
	{ "STATE", "state", COLUMN_TEXT },
};

/* Any answer will do, an error code as well: it comes from a living server. */
static int ping_hop(struct ctl *ctl, const struct mq_hop *hop, int64_t count, struct table *t)
{
	const struct mq_clock *clock = mq_loop_clock(ctl->loop);
	double sum = 0, min = 0, max = 0;
	struct mq_command cmd;
	struct mq_failure f;
	char text[FAILURE_TEXT_MAX];

	mq_command_request(&cmd, hop->kind == MQ_HOP_NAMESRV ? MQ_GET_ROUTEINFO_BY_TOPIC : MQ_GET_MIN_OFFSET);
	mq_command_add(&cmd, "topic", MQ_SLICE("TBW102"));
	if (hop->kind == MQ_HOP_BROKER)
		mq_command_add_i64(&cmd, "queueId", 0);

	/* The first round also connects: it is not counted. */
	for (int64_t i = 0; i <= count; i++) {
		_cleanup_(mq_command_freep) struct mq_command *answer = NULL;
		int64_t start_ns = mq_mono_ns(clock);
		double ms;

		if (mq_client_exchange(ctl->client, hop, &cmd, 0, &answer, &f) < 0) {
			for (int column = 0; column < 3; column++)
				table_cell(t, "%s", "");
			table_cell(t, "%s", f.why);
			if (f.r != -EINTR)
				fprintf(stderr, "mqctl: %s\n", failure_text(&f, true, text));
			return failure_exit_code(&f);
		}
		ms = (double)(mq_mono_ns(clock) - start_ns) / 1e6;
		if (i == 0)
			continue;
		sum += ms;
		min = i == 1 || ms < min ? ms : min;
		max = ms > max ? ms : max;
	}
	table_cell(t, "%.3f", min);
	table_cell(t, "%.3f", sum / (double)count);
	table_cell(t, "%.3f", max);
	table_cell(t, "%s", "up");
	return 0;
}

static int ping_namesrvs(struct ctl *ctl, int64_t count, struct table *t)
{
	const char *address;
	int worst = 0;

	for (unsigned i = 0; (address = mq_client_namesrv(ctl->client, i)) && worst != EXIT_INTERRUPTED; i++) {
		struct mq_hop hop = { .kind = MQ_HOP_NAMESRV, .addresses = { address } };
		int code;

		table_cell(t, "%s", "namesrv");
		table_cell(t, "%s", "");
		table_cell(t, "%s", address);
		code = ping_hop(ctl, &hop, count, t);
		worst = code ? code : worst;
	}
	return worst;
}

static int ping_brokers(struct ctl *ctl, int64_t count, struct table *t)
{
	_cleanup_(mq_broker_list_done) struct mq_broker_list brokers = {};
	struct mq_failure f;
	int worst = 0;

	if (mq_admin_brokers(ctl->client, NULL, &brokers, &f) < 0)
		return ctl_fail(ctl, &f);
	for (unsigned i = 0; i < brokers.n && worst != EXIT_INTERRUPTED; i++) {
		struct mq_hop hop = mq_broker_hop(&brokers.items[i]);
		int code;

		table_cell(t, "%s", "broker");
		table_cell(t, "%s", brokers.items[i].name);
		table_cell(t, "%s", brokers.items[i].address);
		code = ping_hop(ctl, &hop, count, t);
		worst = code ? code : worst;
	}
	return worst;
}

static int cmd_ping(struct ctl *ctl, const void *options, char **operands, unsigned n_operands)
{
	const struct ping_options *o = options;
	_cleanup_(table_freep) struct table *table = NULL;
	int worst, code;

	if (table_new(&table, ping_columns, N_ELEMENTS(ping_columns)) < 0)
		return ctl_no_memory();
	worst = ping_namesrvs(ctl, o->count, table);
	/* When all NameServers failed there is nobody to ask for brokers, and that was said already. */
	if (worst == 0 || mq_client_namesrv(ctl->client, 1)) {
		code = ping_brokers(ctl, o->count, table);
		worst = code ? code : worst;
	}
	code = ctl_print(ctl, table);
	return code ? code : worst;
}

const struct verb verb_ping = {
	.name = "ping",
	.operands = "",
	.summary = "Ask every NameServer and broker for an answer and time it",
	.lines = ping_lines,
	.n_lines = N_ELEMENTS(ping_lines),
	.options_size = sizeof(struct ping_options),
	.run = cmd_ping,
};
