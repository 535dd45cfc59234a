#include "daemons/broker/groups.h"

#include <errno.h>
#include <event2/buffer.h>
#include <pthread.h>
#include <stdio.h>
#include <uthash.h>

#include "daemons/broker/attributes.h"
#include "daemons/broker/broker.h"
#include "daemons/broker/meta_rows.h"
#include "daemons/broker/topics.h"
#include "libmq/wire/body_groups.h"

#define SYSTEM_GROUP_PREFIX "CID_RMQ_SYS_"

#define META_GROUP "group" /* name -> SubscriptionGroupConfig as JSON */

struct group_row {
	struct group config;
	char *attributes, *retry_policy; /* owned; NULL: none */
	UT_hash_handle hh;
	size_t n_name;
	char name[];
};

struct groups {
	struct broker *broker;    /* borrowed */
	pthread_mutex_t changing; /* one change at a time, store rows included; taken before `lock` */
	pthread_rwlock_t lock;    /* protects the next */
	struct group_row *rows;   /* owned */
	struct mq_data_version version;
};

static struct mq_slice row_name(const struct group_row *row)
{
	return (struct mq_slice){ row->name, row->n_name };
}

static struct group_row *row_free(struct group_row *row)
{
	if (row) {
		free(row->attributes);
		free(row->retry_policy);
	}
	free(row);
	return NULL;
}

DEFINE_CLEANUP(struct group_row *, row_free)

static bool row_set_text(char **text, struct mq_slice value)
{
	if (value.n == 0)
		return true;
	*text = mq_slice_dup(value);
	return *text;
}

static struct group_row *row_new(struct mq_slice name, const struct mq_group_config *c)
{
	_cleanup_(row_freep) struct group_row *row = calloc(1, sizeof *row + name.n + 1);

	if (!row || !row_set_text(&row->attributes, c->attributes) || !row_set_text(&row->retry_policy, c->retry_policy))
		return NULL;
	row->config = (struct group){
		.consume_enable = c->consume_enable,
		.consume_from_min_enable = c->consume_from_min_enable,
		.consume_broadcast_enable = c->consume_broadcast_enable,
		.consume_orderly = c->consume_orderly,
		.notify_ids_changed = c->notify_ids_changed,
		.retry_queues = c->retry_queues,
		.retry_max_times = c->retry_max_times,
		.broker_id = c->broker_id,
		.which_broker_when_slow = c->which_broker_when_slow,
		.sys_flag = c->sys_flag,
		.consume_timeout_minutes = c->consume_timeout_minutes,
		.priority_factor = (int32_t)attributes_number(c->attributes, "priority.factor", 100),
	};
	row->n_name = name.n;
	memcpy(row->name, name.p, name.n);
	return TAKE(row);
}

static void row_write(struct mq_json_writer *w, const void *of)
{
	const struct group_row *row = of;
	const struct group *g = &row->config;
	struct mq_group_config c = {
		.name = row_name(row),
		.consume_enable = g->consume_enable,
		.consume_from_min_enable = g->consume_from_min_enable,
		.consume_broadcast_enable = g->consume_broadcast_enable,
		.consume_orderly = g->consume_orderly,
		.notify_ids_changed = g->notify_ids_changed,
		.retry_queues = g->retry_queues,
		.retry_max_times = g->retry_max_times,
		.broker_id = g->broker_id,
		.which_broker_when_slow = g->which_broker_when_slow,
		.sys_flag = g->sys_flag,
		.consume_timeout_minutes = g->consume_timeout_minutes,
		.attributes = mq_slice_of(row->attributes),
		.retry_policy = mq_slice_of(row->retry_policy),
	};

	mq_group_config_write(w, &c);
}

static struct group_row *groups_lookup(struct groups *g, struct mq_slice name)
{
	struct group_row *row;

	HASH_FIND(hh, g->rows, name.p, name.n, row);
	return row;
}

static void groups_insert(struct groups *g, struct group_row *row)
{
	struct group_row *old = groups_lookup(g, row_name(row));

	if (old) {
		HASH_DEL(g->rows, old);
		row_free(old);
	}
	HASH_ADD_KEYPTR(hh, g->rows, row->name, row->n_name, row);
}

static int groups_read_row(void *user, struct mq_slice name, const struct mq_json_node *root)
{
	char text[MQ_GROUP_TEXT_MAX];
	struct mq_group_config c;
	struct group_row *row;
	int r;

	r = mq_group_config_read(root, &c, text);
	if (r < 0)
		return r;
	row = row_new(name, &c);
	if (!row)
		return -ENOMEM;
	groups_insert(user, row);
	return 0;
}

static int groups_add_predefined(struct groups *g)
{
	static const char *const names[] = {
		"TOOLS_CONSUMER", "FILTERSRV_CONSUMER", "SELF_TEST_C_GROUP", "CID_ONS-HTTP-PROXY", "CID_ONSAPI_PULL",
		"CID_ONSAPI_PERMISSION", "CID_ONSAPI_OWNER", "CID_RMQ_SYS_TRANS",
	};
	struct mq_group_config c;

	mq_group_config_init(&c);
	for (unsigned i = 0; i < N_ELEMENTS(names); i++) {
		struct group_row *row;

		if (groups_lookup(g, mq_slice_of(names[i])))
			continue;
		row = row_new(mq_slice_of(names[i]), &c);
		if (!row)
			return -ENOMEM;
		groups_insert(g, row);
	}
	return 0;
}

/* ---- Life ---- */

int groups_new(struct groups **ret, struct broker *b, struct mq_error *err)
{
	struct groups *g = calloc(1, sizeof *g);
	struct mq_error why = {};
	int r;

	if (!g)
		return mq_error_set(err, -ENOMEM, "out of memory");
	g->broker = b;
	pthread_mutex_init(&g->changing, NULL);
	pthread_rwlock_init(&g->lock, NULL);
	g->version.timestamp = mq_wall_ms(b->clock);
	r = meta_rows_load(b->store, META_GROUP, "the stored configuration of consumer group", groups_read_row, g, &why);
	if (r == 0)
		r = meta_version_load(b->store, "groups", &g->version, &why);
	if (r == 0)
		r = groups_add_predefined(g);
	if (r < 0) {
		groups_free(g);
		return mq_error_set(err, r, "cannot load the consumer groups from %s: %s", b->config.storePathRootDir,
				    why.text[0] ? why.text : strerror(-r));
	}
	*ret = g;
	return 0;
}

struct groups *groups_free(struct groups *g)
{
	struct group_row *row, *next;

	if (!g)
		return NULL;
	HASH_ITER(hh, g->rows, row, next) {
		HASH_DEL(g->rows, row);
		row_free(row);
	}
	pthread_rwlock_destroy(&g->lock);
	pthread_mutex_destroy(&g->changing);
	free(g);
	return NULL;
}

/* ---- Changes. g->changing is held. ---- */

static int groups_change(struct groups *g, struct mq_slice name, const struct mq_group_config *c)
{
	_cleanup_(row_freep) struct group_row *row = row_new(name, c);
	struct mq_data_version version;
	int r;

	if (!row)
		return -ENOMEM;
	r = meta_version_next(g->broker, "groups", &g->version, &version);
	if (r == 0)
		r = meta_row_put(g->broker->store, META_GROUP, row_name(row), row_write, row);
	if (r < 0)
		return r;
	pthread_rwlock_wrlock(&g->lock);
	groups_insert(g, TAKE(row));
	g->version = version;
	pthread_rwlock_unlock(&g->lock);
	return 0;
}

bool groups_may_create(struct groups *g, struct mq_slice name)
{
	return topics_check_name(name, true, NULL) == 0 &&
	       (config_get(&g->broker->config, autoCreateSubscriptionGroup) ||
		mq_slice_starts(name, MQ_SLICE(SYSTEM_GROUP_PREFIX)));
}

int groups_find(struct groups *g, struct mq_slice name, struct group *ret)
{
	const struct group_row *row;
	int r = -ENOENT;

	pthread_rwlock_rdlock(&g->lock);
	row = groups_lookup(g, name);
	if (row) {
		*ret = row->config;
		r = 0;
	}
	pthread_rwlock_unlock(&g->lock);
	return r;
}

int groups_get(struct groups *g, struct mq_slice name, struct group *ret)
{
	struct mq_group_config c;
	int r = 0;

	if (groups_find(g, name, ret) == 0)
		return 0;
	if (!groups_may_create(g, name))
		return -ENOENT;
	mq_group_config_init(&c);
	pthread_mutex_lock(&g->changing);
	if (!groups_lookup(g, name))
		r = groups_change(g, name, &c);
	pthread_mutex_unlock(&g->changing);
	return r < 0 ? r : groups_find(g, name, ret);
}

static int groups_update_locked(struct groups *g, struct mq_group_config *c, struct mq_error *err)
{
	const struct group_row *old = groups_lookup(g, c->name);
	char attributes[MQ_GROUP_TEXT_MAX];
	int r;

	r = attributes_alter(&group_attributes, !old, mq_slice_of(old ? old->attributes : NULL), c->attributes,
			     attributes, sizeof attributes, err);
	if (r < 0)
		return -EBADMSG;
	c->attributes = (struct mq_slice){ attributes, (size_t)r };
	r = groups_change(g, c->name, c);
	return r < 0 ? mq_error_set(err, r, "cannot store the group %.*s", MQ_FMT(c->name)) : 0;
}

int groups_update(struct groups *g, struct mq_slice body, struct mq_error *err)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	char text[MQ_GROUP_TEXT_MAX];
	struct mq_group_config c;
	int r;

	r = mq_json_parse(&doc, body, err);
	if (r < 0)
		return r == -ENOMEM ? r : -EBADMSG;
	r = mq_group_config_read(mq_json_root(doc), &c, text);
	if (r < 0)
		return mq_error_set(err, r == -ENOMEM ? r : -EBADMSG, "the body is no subscription group configuration");
	r = topics_check_name(c.name, true, err);
	if (r < 0)
		return r;
	if (c.retry_queues < 0 || c.retry_queues > TOPIC_QUEUES_MAX)
		return mq_error_set(err, -EINVAL, "retryQueueNums must be from 0 to %d", TOPIC_QUEUES_MAX);
	pthread_mutex_lock(&g->changing);
	r = groups_update_locked(g, &c, err);
	pthread_mutex_unlock(&g->changing);
	return r;
}

static int groups_forget(struct groups *g, struct group_row *row)
{
	struct mq_data_version version;
	int r;

	r = meta_version_next(g->broker, "groups", &g->version, &version);
	if (r == 0)
		r = store_meta_delete(g->broker->store, META_GROUP, row_name(row));
	if (r < 0)
		return r;
	pthread_rwlock_wrlock(&g->lock);
	HASH_DEL(g->rows, row);
	g->version = version;
	pthread_rwlock_unlock(&g->lock);
	row_free(row);
	return 0;
}

int groups_delete(struct groups *g, struct mq_slice name)
{
	struct group_row *row;
	int r = 0;

	pthread_mutex_lock(&g->changing);
	row = groups_lookup(g, name);
	if (row)
		r = groups_forget(g, row);
	pthread_mutex_unlock(&g->changing);
	return r;
}

/* ---- Reading ---- */

void groups_version(struct groups *g, struct mq_data_version *ret)
{
	pthread_rwlock_rdlock(&g->lock);
	*ret = g->version;
	pthread_rwlock_unlock(&g->lock);
}

static int row_compare(const void *a, const void *b)
{
	const struct group_row *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void groups_write_member(struct mq_json_writer *w, const struct group_row *row)
{
	mq_json_key_slice(w, row_name(row));
	row_write(w, row);
}

static int groups_write_page(struct groups *g, struct mq_json_writer *w, unsigned first, unsigned max)
{
	unsigned n = HASH_COUNT(g->rows), i = 0;
	const struct group_row **sorted = calloc(n ? n : 1, sizeof(struct group_row *));

	if (!sorted)
		return -ENOMEM;
	for (const struct group_row *row = g->rows; row; row = row->hh.next)
		sorted[i++] = row;
	qsort(sorted, n, sizeof(struct group_row *), row_compare);
	for (i = first; i < n && i - first < max; i++)
		groups_write_member(w, sorted[i]);
	free(sorted);
	return 0;
}

int groups_encode_table(struct groups *g, unsigned first, unsigned max, struct evbuffer *out)
{
	struct mq_json_writer w;
	int n, r = 0;

	mq_json_begin(&w, out);
	mq_json_open_object(&w);
	pthread_rwlock_rdlock(&g->lock);
	mq_json_key(&w, "dataVersion");
	mq_data_version_write(&w, &g->version);
	mq_json_key(&w, "forbiddenTable");
	mq_json_open_object(&w);
	mq_json_close_object(&w);
	mq_json_key(&w, "subscriptionGroupTable");
	mq_json_open_object(&w);
	if (max > 0)
		r = groups_write_page(g, &w, first, max);
	else
		for (const struct group_row *row = g->rows; row; row = row->hh.next)
			groups_write_member(&w, row);
	mq_json_close_object(&w);
	n = (int)HASH_COUNT(g->rows);
	pthread_rwlock_unlock(&g->lock);
	mq_json_close_object(&w);
	if (mq_json_end(&w) < 0)
		r = -ENOMEM;
	return r < 0 ? r : n;
}

int groups_encode(struct groups *g, struct mq_slice name, struct evbuffer *out)
{
	const struct group_row *row;
	struct mq_json_writer w;
	int r = -ENOENT;

	pthread_rwlock_rdlock(&g->lock);
	row = groups_lookup(g, name);
	if (row) {
		mq_json_begin(&w, out);
		row_write(&w, row);
		r = mq_json_end(&w);
	}
	pthread_rwlock_unlock(&g->lock);
	return r;
}
