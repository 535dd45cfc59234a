/* mqctl group describe: who is in a group, and what each member subscribes to. Our brokers say that of every member; Apache's
 * only know what the last heartbeat said for the whole group. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemons/ctl/ctl.h"
#include "libmq/client/admin.h"
#include "libmq/wire/body_connections.h"
#include "libmq/wire/codes.h"

/* What one broker knows of the group. Everything borrows from its answer. */
struct view {
	const struct mq_json_node **members; /* owned; elements of connectionSet, by client id */
	unsigned n_members, n_known;         /* n_known: whose subscriptions the broker tells */
	struct mq_slice *topics;             /* owned; of all members, sorted, each once */
	unsigned n_topics;
};

struct totals {
	unsigned n_members, n_known, n_differ;
};

static void view_done(struct view *v)
{
	free(v->members);
	free(v->topics);
}

static struct mq_slice member_text(const struct mq_json_node *member, const char *name)
{
	struct mq_slice text = mq_json_text(mq_json_get(member, name));

	return text.p ? text : MQ_SLICE("");
}

static int compare_members(const void *a, const void *b)
{
	const struct mq_json_node *const *x = a, *const *y = b;
	int r = mq_slice_compare(member_text(*x, "clientId"), member_text(*y, "clientId"));

	return r ? r : mq_slice_compare(member_text(*x, "clientAddr"), member_text(*y, "clientAddr"));
}

static const struct mq_json_node *member_subscriptions(const struct mq_json_node *member)
{
	const struct mq_json_node *node = mq_json_get(member, MQ_CONNECTION_SUBSCRIPTIONS);

	return node && node->type == MQ_JSON_ARRAY ? node : NULL;
}

/* The expression that the member has for the topic; p NULL when it does not subscribe to it. */
static struct mq_slice member_expression(const struct mq_json_node *member, struct mq_slice topic)
{
	MQ_JSON_EACH(node, member_subscriptions(member))
		if (mq_slice_equal(mq_json_text(mq_json_get(node, "topic")), topic))
			return member_text(node, "subString");
	return (struct mq_slice){};
}

static void view_collect_topics(struct view *v)
{
	unsigned n = 0;

	for (unsigned i = 0; i < v->n_members; i++)
		MQ_JSON_EACH(node, member_subscriptions(v->members[i]))
			v->topics[n++] = member_text(node, "topic");
	qsort(v->topics, n, sizeof *v->topics, mq_slice_order);
	for (unsigned i = 0; i < n; i++)
		if (v->n_topics == 0 || !mq_slice_equal(v->topics[v->n_topics - 1], v->topics[i]))
			v->topics[v->n_topics++] = v->topics[i];
}

static int view_read(struct view *v, const struct mq_json *doc)
{
	const struct mq_json_node *set = mq_json_get(mq_json_root(doc), "connectionSet");
	size_t n_subscriptions = 0;

	if (!set || set->type != MQ_JSON_ARRAY)
		return -EBADMSG;
	v->members = calloc(set->n + 1, sizeof(struct mq_json_node *));
	if (!v->members)
		return -ENOMEM;
	MQ_JSON_EACH(member, set) {
		const struct mq_json_node *subscriptions = member_subscriptions(member);

		v->members[v->n_members++] = member;
		v->n_known += subscriptions != NULL;
		n_subscriptions += subscriptions ? subscriptions->n : 0;
	}
	v->topics = calloc(n_subscriptions + 1, sizeof *v->topics);
	if (!v->topics)
		return -ENOMEM;
	qsort(v->members, v->n_members, sizeof(struct mq_json_node *), compare_members);
	view_collect_topics(v);
	return 0;
}

/* Marks the members whose expression for the topic is not that of more than half of them. False: all have the same. */
static bool view_mark(const struct view *v, struct mq_slice topic, struct mq_slice *expressions, bool *ret_differs)
{
	struct mq_slice majority = {};
	unsigned n = 0, longest = 0;

	for (unsigned i = 0; i < v->n_members; i++)
		if (member_subscriptions(v->members[i]))
			expressions[n++] = member_expression(v->members[i], topic);
	qsort(expressions, n, sizeof *expressions, mq_slice_order);
	for (unsigned i = 0, from = 0; i < n; i++) {
		if (!mq_slice_equal(expressions[from], expressions[i]) || !expressions[from].p != !expressions[i].p)
			from = i;
		if (i - from + 1 > longest) {
			longest = i - from + 1;
			majority = expressions[i];
		}
	}
	for (unsigned i = 0; i < v->n_members; i++) {
		struct mq_slice own = member_expression(v->members[i], topic);

		ret_differs[i] = member_subscriptions(v->members[i]) &&
				 (longest * 2 <= n || !own.p != !majority.p || !mq_slice_equal(own, majority)) && longest < n;
	}
	return longest < n;
}

static const struct column columns[] = {
	{ "BROKER", "broker", COLUMN_TEXT },	 { "MEMBER", "clientId", COLUMN_TEXT },
	{ "ADDRESS", "address", COLUMN_TEXT },	 { "LANGUAGE", "language", COLUMN_TEXT },
	{ "VERSION", "version", COLUMN_TEXT },	 { "TOPIC", "topic", COLUMN_TEXT },
	{ "EXPRESSION", "expression", COLUMN_TEXT }, { "DIFFERS", "differs", COLUMN_TEXT },
};

static void row(struct table *t, const struct mq_broker *b, const struct mq_json_node *member, struct mq_slice topic,
		struct mq_slice expression, const char *differs)
{
	struct mq_slice address = member_text(member, "clientAddr");
	char version[MQ_VERSION_NAME_MAX];

	if (address.n > 0 && address.p[0] == '/') /* as Java writes addresses */
		address = (struct mq_slice){ address.p + 1, address.n - 1 };
	table_cell(t, "%s", b->name[0] ? b->name : b->address);
	table_cell(t, "%.*s", MQ_FMT(member_text(member, "clientId")));
	table_cell(t, "%.*s", MQ_FMT(address));
	table_cell(t, "%.*s", MQ_FMT(member_text(member, "language")));
	table_cell(t, "%s", mq_version_name((int)mq_json_i64(mq_json_get(member, "version"), 0), version));
	table_cell(t, "%.*s", MQ_FMT(topic));
	table_cell(t, "%.*s", MQ_FMT(expression));
	table_cell(t, "%s", differs);
}

/* `marks`: by topic and member. */
static void member_rows(struct table *t, const struct mq_broker *b, const struct view *v, unsigned i, const bool *marks,
			struct totals *totals)
{
	bool differs = false;
	unsigned n_rows = 0;

	for (unsigned j = 0; j < v->n_topics && member_subscriptions(v->members[i]); j++) {
		struct mq_slice expression = member_expression(v->members[i], v->topics[j]);
		bool is_marked = marks[(size_t)j * v->n_members + i];

		differs |= is_marked;
		if (!expression.p && !is_marked)
			continue;
		row(t, b, v->members[i], v->topics[j], expression, is_marked ? "yes" : "no");
		n_rows++;
	}
	if (n_rows == 0)
		row(t, b, v->members[i], MQ_SLICE(""), MQ_SLICE(""), member_subscriptions(v->members[i]) ? "no" : "");
	totals->n_differ += differs;
}

static int view_rows(struct table *t, const struct mq_broker *b, const struct view *v, struct totals *totals)
{
	_cleanup_(freep) struct mq_slice *expressions = calloc(v->n_members + 1, sizeof *expressions);
	_cleanup_(freep) bool *marks = calloc((size_t)v->n_members * v->n_topics + 1, sizeof *marks);

	if (!expressions || !marks)
		return -ENOMEM;
	for (unsigned j = 0; j < v->n_topics; j++)
		(void)view_mark(v, v->topics[j], expressions, &marks[(size_t)j * v->n_members]);
	for (unsigned i = 0; i < v->n_members; i++)
		member_rows(t, b, v, i, marks, totals);
	totals->n_members += v->n_members;
	totals->n_known += v->n_known;
	return 0;
}

static int describe_broker(struct ctl *ctl, const struct mq_broker *b, const char *group, struct table *t, struct totals *totals,
			   struct mq_failure *f)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	_cleanup_(view_done) struct view view = {};
	struct mq_hop hop = mq_broker_hop(b);
	struct mq_command cmd;
	int r;

	mq_command_request(&cmd, MQ_GET_CONSUMER_CONNECTION_LIST);
	mq_command_add(&cmd, "consumerGroup", mq_slice_of(group));
	mq_command_add_bool(&cmd, MQ_FIELD_MEMBER_SUBSCRIPTIONS, true);
	r = mq_admin_json(ctl->client, &hop, &cmd, &doc, f);
	if (r < 0)
		return f->code == MQ_CONSUMER_NOT_ONLINE ? 0 : r;
	r = view_read(&view, doc);
	if (r == 0)
		r = view_rows(t, b, &view, totals);
	return r < 0 ? mq_failure_local(f, r, r == -ENOMEM ? "out of memory" : "a broker's answer has no connectionSet") : 0;
}

static void print_summary(const struct totals *totals)
{
	if (totals->n_differ > 0)
		printf("\nthe members differ in what they subscribe to: each gets messages of the others and misses its own\n");
	else if (totals->n_known < totals->n_members)
		printf("\nwhat each member subscribes to is known to mq-brokerd only, and only once a member has said it\n");
}

static int cmd_describe(struct ctl *ctl, const void *options, char **operands, unsigned n_operands)
{
	_cleanup_(mq_broker_list_done) struct mq_broker_list brokers = {};
	_cleanup_(table_freep) struct table *table = NULL;
	struct totals totals = {};
	struct mq_failure f;
	int r, code;

	if (table_new(&table, columns, N_ELEMENTS(columns)) < 0)
		return ctl_no_memory();
	r = mq_admin_brokers(ctl->client, NULL, &brokers, &f);
	for (unsigned i = 0; i < brokers.n && r >= 0; i++)
		if (brokers.items[i].id == 0)
			r = describe_broker(ctl, &brokers.items[i], operands[0], table, &totals, &f);
	if (r < 0)
		return ctl_fail(ctl, &f);
	if (totals.n_members == 0)
		return ctl_error(EX_NOINPUT, "group %s has no members: see 'mqctl group list'", operands[0]);
	code = ctl_print(ctl, table);
	if (code == 0 && ctl->format == FORMAT_TABLE)
		print_summary(&totals);
	return code;
}

const struct verb verb_group_describe = {
	.name = "group describe",
	.operands = "GROUP",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "Show the members of a consumer group and what each subscribes to",
	.options_size = sizeof(struct common_options),
	.run = cmd_describe,
};
