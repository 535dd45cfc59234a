#include "daemons/broker/topics.h"

#include <errno.h>
#include <event2/buffer.h>
#include <pthread.h>
#include <stdio.h>
#include <uthash.h>

#include "daemons/broker/attributes.h"
#include "daemons/broker/broker.h"
#include "daemons/broker/register.h"
#include "daemons/broker/retry.h"

#define SYSTEM_PREFIX "rmq_sys_"
#define DEFAULT_TOPIC "TBW102"

#define META_TOPIC   "topic"   /* name -> TopicConfig as JSON */
#define META_VERSION "version" /* "topics" -> DataVersion as JSON */

enum {
	TOPIC_MAX = 127,     /* characters, TopicValidator */
	RETRY_TOPIC_MAX = 255,
	GROUP_MAX = 120,
	TOPIC_JSON_MAX = 8192, /* bytes of a meta row */
};

struct topic_row {
	struct topic config;
	bool is_system;   /* made at start */
	char *attributes; /* owned; "key=value,...", NULL: none */
	UT_hash_handle hh;
	size_t n_name;
	char name[];
};

struct topics {
	struct broker *broker;      /* borrowed */
	pthread_mutex_t changing;   /* one change at a time, store rows included; taken before `lock` */
	pthread_rwlock_t lock;      /* protects the next */
	struct topic_row *rows;     /* owned */
	struct mq_data_version version;
	struct mq_data_version mapping_version; /* of the static topics, of which there are none */
};

static struct mq_slice row_name(const struct topic_row *row)
{
	return (struct mq_slice){ row->name, row->n_name };
}

static struct topic_row *row_free(struct topic_row *row)
{
	if (row)
		free(row->attributes);
	free(row);
	return NULL;
}

DEFINE_CLEANUP(struct topic_row *, row_free)

static struct topic_row *row_new(struct mq_slice name, const struct topic *config, struct mq_slice attributes)
{
	_cleanup_(row_freep) struct topic_row *row = calloc(1, sizeof *row + name.n + 1);

	if (!row)
		return NULL;
	row->config = *config;
	row->config.is_batch_queue = attributes_have(attributes, "queue.type", "BatchCQ");
	row->n_name = name.n;
	memcpy(row->name, name.p, name.n);
	if (attributes.n > 0) {
		row->attributes = strndup(attributes.p, attributes.n);
		if (!row->attributes)
			return NULL;
	}
	return TAKE(row);
}

static struct topic_row *topics_find(struct topics *t, struct mq_slice name)
{
	struct topic_row *row;

	HASH_FIND(hh, t->rows, name.p, name.n, row);
	return row;
}

/* Takes the row's place among the others, freeing the one of the same name. */
static void topics_insert(struct topics *t, struct topic_row *row)
{
	struct topic_row *old = topics_find(t, row_name(row));

	if (old) {
		row->is_system = old->is_system;
		HASH_DEL(t->rows, old);
		row_free(old);
	}
	HASH_ADD_KEYPTR(hh, t->rows, row->name, row->n_name, row);
}

/* ---- Rows on disk ---- */

static void row_write(struct mq_json_writer *w, const struct topic_row *row, int32_t perm_without)
{
	struct mq_topic_config c = {
		.name = row_name(row),
		.read_queues = row->config.read_queues,
		.write_queues = row->config.write_queues,
		.perm = row->config.perm & ~perm_without,
		.sys_flag = row->config.sys_flag,
		.is_order = row->config.is_order,
		.is_multi_tag = row->config.is_multi_tag,
		.attributes = mq_slice_of(row->attributes),
	};

	mq_topic_config_write(w, &c);
}

static int topics_put_row(struct topics *t, const struct topic_row *row)
{
	char text[TOPIC_JSON_MAX];
	struct evbuffer *out = evbuffer_new();
	struct mq_json_writer w;
	int r;

	if (!out)
		return -ENOMEM;
	mq_json_begin(&w, out);
	row_write(&w, row, 0);
	r = mq_json_end(&w);
	if (r == 0) {
		int n = evbuffer_remove(out, text, sizeof text);

		r = store_meta_put(t->broker->store, META_TOPIC, row_name(row), (struct mq_slice){ text, (size_t)n });
	}
	evbuffer_free(out);
	return r;
}

static int topics_put_version(struct topics *t, const struct mq_data_version *v)
{
	char text[MQ_DATA_VERSION_TEXT];

	return store_meta_put(t->broker->store, META_VERSION, MQ_SLICE("topics"), mq_data_version_text(v, text));
}

struct topics_loading {
	struct topics *topics;
	struct mq_error *err; /* filled for a row that cannot be read */
};

static int topics_load_row(void *user, struct mq_slice name, struct mq_slice value)
{
	struct topics *t = ((struct topics_loading *)user)->topics;
	struct mq_error *err = ((struct topics_loading *)user)->err;
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	char attributes[TOPIC_ATTRIBUTES_MAX];
	struct mq_topic_config c;
	struct topic_row *row;
	int r;

	r = mq_json_parse(&doc, value, NULL);
	if (r == 0)
		r = mq_topic_config_read(mq_json_root(doc), &c, attributes, sizeof attributes);
	if (r < 0)
		return mq_error_set(err, r, "the stored configuration of topic %.*s cannot be read: %s", MQ_FMT(name),
				    strerror(-r));
	row = row_new(name,
		      &(struct topic){ .read_queues = c.read_queues,
				       .write_queues = c.write_queues,
				       .perm = c.perm,
				       .sys_flag = c.sys_flag,
				       .is_order = c.is_order,
				       .is_multi_tag = c.is_multi_tag },
		      c.attributes);
	if (!row)
		return mq_error_set(err, -ENOMEM, "out of memory");
	topics_insert(t, row);
	return 0;
}

static int topics_load_version(void *user, struct mq_slice name, struct mq_slice value)
{
	struct topics *t = ((struct topics_loading *)user)->topics;
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	int r;

	if (!mq_slice_is(name, "topics"))
		return 0;
	r = mq_json_parse(&doc, value, NULL);
	if (r == 0)
		mq_data_version_read(mq_json_root(doc), &t->version);
	else
		r = mq_error_set(((struct topics_loading *)user)->err, r, "the stored version of the topics cannot be read");
	return r;
}

/* ---- System topics ---- */

static int topics_add_system(struct topics *t, const char *prefix, const char *name, int32_t queues, int32_t perm)
{
	char full[TOPIC_NAME_MAX + 1];
	struct topic_row *row;
	int n = snprintf(full, sizeof full, "%s%s", prefix, name);
	struct mq_slice key = { full, (size_t)n };

	row = topics_find(t, key);
	if (!row) {
		row = row_new(key, &(struct topic){ .read_queues = queues, .write_queues = queues, .perm = perm },
			      (struct mq_slice){});
		if (!row)
			return -ENOMEM;
		topics_insert(t, row);
	}
	row->is_system = true;
	return 0;
}

/* As 5.5.0 makes them; they are not written to the store until something changes them. */
static int topics_add_all_system(struct topics *t)
{
	const struct broker_config *c = &t->broker->config;
	const int32_t rw = PERM_READ | PERM_WRITE;
	char reply[TOPIC_NAME_MAX + 1];
	const struct {
		const char *prefix, *name;
		int32_t queues, perm;
		bool is_left_out;
	} all[] = {
		{ "", "SELF_TEST_TOPIC", 1, rw, false },
		{ "", DEFAULT_TOPIC, (int32_t)c->defaultTopicQueueNums, rw | PERM_INHERIT, !c->autoCreateTopicEnable },
		{ "", "BenchmarkTest", 1024, rw, false },
		{ "", c->brokerClusterName, 16, PERM_INHERIT | (c->clusterTopicEnable ? rw : 0), false },
		{ "", c->brokerName, 1, PERM_INHERIT | (c->brokerTopicEnable ? rw : 0), false },
		{ "", "OFFSET_MOVED_EVENT", 1, rw, false },
		{ "", "SCHEDULE_TOPIC_XXXX", 18, rw, false },
		{ "", c->msgTraceTopicName, 1, rw, !c->traceTopicEnable },
		{ "", reply, 1, rw, false },
		{ "rmq_sys_REVIVE_LOG_", c->brokerClusterName, 8, rw, false },
		{ "rmq_sys_SYNC_BROKER_MEMBER_", c->brokerName, 1, PERM_INHERIT, false },
		{ "", "RMQ_SYS_TRANS_HALF_TOPIC", 1, rw, false },
		{ "", "RMQ_SYS_TRANS_OP_HALF_TOPIC", 1, rw, false },
		{ "", "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC", 1, rw, false },
		{ "", "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC", 1, rw, false },
		{ "", "rmq_sys_wheel_timer", 1, rw, false },
	};
	int r = 0;

	snprintf(reply, sizeof reply, "%s_REPLY_TOPIC", c->brokerClusterName);
	for (unsigned i = 0; i < N_ELEMENTS(all) && r == 0; i++)
		if (!all[i].is_left_out)
			r = topics_add_system(t, all[i].prefix, all[i].name, all[i].queues, all[i].perm);
	return r;
}

bool topics_is_system(struct topics *t, struct mq_slice name)
{
	static const char *const always[] = {
		DEFAULT_TOPIC, "SCHEDULE_TOPIC_XXXX", "BenchmarkTest", "RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRACE_TOPIC",
		"RMQ_SYS_TRANS_OP_HALF_TOPIC", "TRANS_CHECK_MAX_TIME_TOPIC", "SELF_TEST_TOPIC", "OFFSET_MOVED_EVENT",
		"CHECKPOINT_TOPIC", "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC", "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC",
	};
	const struct topic_row *row;
	bool is_system;

	if (mq_slice_starts(name, MQ_SLICE(SYSTEM_PREFIX)))
		return true;
	for (unsigned i = 0; i < N_ELEMENTS(always); i++)
		if (mq_slice_is(name, always[i]))
			return true;
	pthread_rwlock_rdlock(&t->lock);
	row = topics_find(t, name);
	is_system = row && row->is_system;
	pthread_rwlock_unlock(&t->lock);
	return is_system;
}

bool topics_forbids_send(struct mq_slice name)
{
	static const char *const forbidden[] = {
		"SCHEDULE_TOPIC_XXXX",
		"RMQ_SYS_TRANS_HALF_TOPIC",
		"RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC",
		"RMQ_SYS_TRANS_OP_HALF_TOPIC",
		"RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC",
		"TRANS_CHECK_MAX_TIME_TOPIC",
		"SELF_TEST_TOPIC",
		"OFFSET_MOVED_EVENT",
	};

	for (unsigned i = 0; i < N_ELEMENTS(forbidden); i++)
		if (mq_slice_is(name, forbidden[i]))
			return true;
	return false;
}

/* ---- Names ---- */

bool topics_is_legal(struct mq_slice name)
{
	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)name.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '%' ||
		      c == '|' || c == '-' || c == '_'))
			return false;
	}
	return true;
}

static bool name_is_blank(struct mq_slice name)
{
	for (size_t i = 0; i < name.n; i++)
		if ((unsigned char)name.p[i] > ' ')
			return false;
	return true;
}

int topics_check_name(struct mq_slice name, bool is_group, struct mq_error *err)
{
	const char *word = is_group ? "group" : "topic";
	int shown = name.n > RETRY_TOPIC_MAX ? RETRY_TOPIC_MAX : (int)name.n;

	if (name_is_blank(name))
		return mq_error_set(err, -EINVAL, "The specified %s is blank.", word);
	if (!topics_is_legal(name))
		return mq_error_set(
			err, -EINVAL,
			"The specified %s: %.*s, contains illegal characters, allowing only ^[%%|a-zA-Z0-9_-]+$", word,
			shown, name.p);
	if (is_group) {
		if (name.n > GROUP_MAX)
			return mq_error_set(err, -EINVAL,
					    "The specified group: %.*s, is longer than group max length: %d", shown,
					    name.p, GROUP_MAX);
		return 0;
	}
	if (mq_slice_starts(name, MQ_SLICE(RETRY_PREFIX)) || mq_slice_starts(name, MQ_SLICE(RETRY_DEAD_PREFIX))) {
		if (name.n > RETRY_TOPIC_MAX)
			return mq_error_set(err, -EINVAL,
					    "The specified topic is DLQ or Retry topic: %.*s, and it's longer than "
					    "topic max length: %d",
					    shown, name.p, RETRY_TOPIC_MAX);
	} else if (name.n > TOPIC_MAX) {
		return mq_error_set(err, -EINVAL, "The specified topic: %.*s, is longer than topic max length: %d",
				    shown, name.p, TOPIC_MAX);
	}
	return 0;
}

/* ---- Life ---- */

int topics_new(struct topics **ret, struct broker *b, struct mq_error *err)
{
	struct topics *t = calloc(1, sizeof *t);
	struct mq_error why = {};
	struct topics_loading loading = { t, &why };
	int r;

	if (!t)
		return mq_error_set(err, -ENOMEM, "out of memory");
	t->broker = b;
	pthread_mutex_init(&t->changing, NULL);
	pthread_rwlock_init(&t->lock, NULL);
	t->version.timestamp = t->mapping_version.timestamp = mq_wall_ms(b->clock);
	r = store_meta_each(b->store, META_TOPIC, topics_load_row, &loading);
	if (r == 0)
		r = store_meta_each(b->store, META_VERSION, topics_load_version, &loading);
	if (r == 0)
		r = topics_add_all_system(t);
	if (r < 0) {
		topics_free(t);
		return mq_error_set(err, r, "cannot load the topics from %s: %s", b->config.storePathRootDir,
				    why.text[0] ? why.text : strerror(-r));
	}
	*ret = t;
	return 0;
}

struct topics *topics_free(struct topics *t)
{
	struct topic_row *row, *next;

	if (!t)
		return NULL;
	HASH_ITER(hh, t->rows, row, next) {
		HASH_DEL(t->rows, row);
		row_free(row);
	}
	pthread_rwlock_destroy(&t->lock);
	pthread_mutex_destroy(&t->changing);
	free(t);
	return NULL;
}

/* ---- Changes. t->changing is held, so that reading rows needs no other lock. ---- */

/* The version goes to the store first: a crash in between shows NameServers a new version of the old table, which is
 * harmless; the other way round they would miss the change. */
static int topics_next_version(struct topics *t, struct mq_data_version *ret)
{
	*ret = t->version;
	ret->counter++;
	ret->timestamp = mq_wall_ms(t->broker->clock);
	return topics_put_version(t, ret);
}

static int topics_change(struct topics *t, struct mq_slice name, const struct topic *config, struct mq_slice attributes)
{
	_cleanup_(row_freep) struct topic_row *row = row_new(name, config, attributes);
	struct mq_data_version version;
	int r;

	if (!row)
		return -ENOMEM;
	r = topics_next_version(t, &version);
	if (r == 0)
		r = topics_put_row(t, row);
	if (r < 0)
		return r;
	pthread_rwlock_wrlock(&t->lock);
	topics_insert(t, TAKE(row));
	t->version = version;
	pthread_rwlock_unlock(&t->lock);
	return 0;
}

/* Ends a change: tells the NameServers when it was one. */
static int topics_changed(struct topics *t, struct mq_slice name, int r)
{
	pthread_mutex_unlock(&t->changing);
	if (r > 0 && t->broker->registrar)
		registrar_changed(t->broker->registrar, name);
	return r > 0 ? 0 : r;
}

/* 1 when made, 0 when there already. */
static int topics_create(struct topics *t, struct mq_slice name, const struct topic *config)
{
	int r;

	if (topics_find(t, name))
		return 0;
	r = topics_change(t, name, config, (struct mq_slice){});
	return r < 0 ? r : 1;
}

static int topics_template(struct topics *t, struct mq_slice name, struct mq_slice default_topic, int32_t default_queues,
			   struct topic *ret)
{
	const struct topic_row *from = topics_find(t, default_topic);
	bool is_allowed = !mq_slice_is(default_topic, DEFAULT_TOPIC) || t->broker->config.autoCreateTopicEnable;

	if (from && is_allowed && (from->config.perm & PERM_INHERIT)) {
		int32_t queues = default_queues < from->config.write_queues ? default_queues : from->config.write_queues;

		if (queues < 0)
			queues = 0;
		*ret = (struct topic){
			.read_queues = queues,
			.write_queues = queues,
			.perm = from->config.perm & ~PERM_INHERIT,
			.is_multi_tag = from->config.is_multi_tag,
		};
		return 0;
	}
	if (!mq_slice_starts(name, MQ_SLICE(RETRY_PREFIX)))
		return -ENOENT;
	*ret = (struct topic){ .read_queues = 1, .write_queues = 1, .perm = PERM_READ | PERM_WRITE };
	return 0;
}

int topics_create_on_send(struct topics *t, struct mq_slice name, struct mq_slice default_topic, int32_t default_queues,
			  struct topic *ret)
{
	struct topic config;
	int r;

	if (topics_get(t, name, ret) == 0)
		return 0;
	pthread_mutex_lock(&t->changing);
	r = topics_template(t, name, default_topic, default_queues, &config);
	if (r == 0)
		r = topics_create(t, name, &config);
	r = topics_changed(t, name, r);
	return r < 0 ? r : topics_get(t, name, ret);
}

int topics_create_retry(struct topics *t, struct mq_slice name, int32_t queues, bool is_order)
{
	struct topic config = {
		.read_queues = queues, .write_queues = queues, .perm = PERM_READ | PERM_WRITE, .is_order = is_order,
	};
	int r;

	if (topics_get(t, name, &(struct topic){}) == 0)
		return 0;
	pthread_mutex_lock(&t->changing);
	r = topics_create(t, name, &config);
	return topics_changed(t, name, r);
}

static bool row_equals(const struct topic_row *row, const struct topic *config, struct mq_slice attributes)
{
	const struct topic *c = &row->config;

	return c->read_queues == config->read_queues && c->write_queues == config->write_queues &&
	       c->perm == config->perm && c->sys_flag == config->sys_flag && c->is_order == config->is_order &&
	       c->is_multi_tag == config->is_multi_tag && mq_slice_equal(mq_slice_of(row->attributes), attributes);
}

/* 1 when changed. */
static int topics_update_locked(struct topics *t, struct mq_slice name, const struct topic *config,
				struct mq_slice request, struct mq_error *err)
{
	const struct topic_row *old = topics_find(t, name);
	char attributes[TOPIC_ATTRIBUTES_MAX];
	struct mq_slice result;
	int r;

	r = attributes_alter(&topic_attributes, !old, mq_slice_of(old ? old->attributes : NULL), request, attributes,
			     sizeof attributes, err);
	if (r < 0)
		return r;
	result = (struct mq_slice){ attributes, (size_t)r };
	if (old && row_equals(old, config, result))
		return 0;
	r = topics_change(t, name, config, result);
	return r < 0 ? r : 1;
}

int topics_update(struct topics *t, struct mq_slice name, const struct topic *config, struct mq_slice attributes,
		  struct mq_error *err)
{
	int r = attributes_check_form(attributes, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&t->changing);
	r = topics_update_locked(t, name, config, attributes, err);
	return topics_changed(t, name, r);
}

int topics_mark_order(struct topics *t, struct mq_slice name)
{
	const struct topic_row *row;
	struct topic config;
	int r = 0;

	if (topics_get(t, name, &config) < 0 || config.is_order)
		return 0;
	pthread_mutex_lock(&t->changing);
	row = topics_find(t, name);
	if (row) {
		config = row->config;
		config.is_order = true;
		r = topics_change(t, name, &config, mq_slice_of(row->attributes));
	}
	pthread_mutex_unlock(&t->changing);
	return r;
}

static int topics_forget(struct topics *t, struct mq_slice name)
{
	struct topic_row *row = topics_find(t, name);
	struct mq_data_version version;
	int r;

	if (!row)
		return 0;
	r = topics_next_version(t, &version);
	if (r == 0)
		r = store_meta_delete(t->broker->store, META_TOPIC, name);
	if (r < 0)
		return r;
	pthread_rwlock_wrlock(&t->lock);
	HASH_DEL(t->rows, row);
	t->version = version;
	pthread_rwlock_unlock(&t->lock);
	row_free(row);
	return 0;
}

int topics_delete(struct topics *t, struct mq_slice name)
{
	int r;

	/* The configuration first: no send may bring the queues back while they are being deleted. */
	pthread_mutex_lock(&t->changing);
	r = topics_forget(t, name);
	if (r == 0)
		r = store_topic_delete(t->broker->store, name);
	pthread_mutex_unlock(&t->changing);
	return r;
}

int topics_touch(struct topics *t)
{
	struct mq_data_version version;
	int r;

	pthread_mutex_lock(&t->changing);
	r = topics_next_version(t, &version);
	if (r == 0) {
		pthread_rwlock_wrlock(&t->lock);
		t->version = version;
		pthread_rwlock_unlock(&t->lock);
	}
	return topics_changed(t, (struct mq_slice){}, r < 0 ? r : 1);
}

/* ---- Reading ---- */

int topics_get(struct topics *t, struct mq_slice name, struct topic *ret)
{
	const struct topic_row *row;
	int r = -ENOENT;

	pthread_rwlock_rdlock(&t->lock);
	row = topics_find(t, name);
	if (row) {
		*ret = row->config;
		r = 0;
	}
	pthread_rwlock_unlock(&t->lock);
	return r;
}

void topics_version(struct topics *t, struct mq_data_version *ret)
{
	pthread_rwlock_rdlock(&t->lock);
	*ret = t->version;
	pthread_rwlock_unlock(&t->lock);
}

static int row_compare(const void *a, const void *b)
{
	const struct topic_row *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void topics_write_member(struct mq_json_writer *w, const struct topic_row *row, int32_t perm_without)
{
	mq_json_key_slice(w, row_name(row));
	row_write(w, row, perm_without);
}

static int topics_write_page(struct topics *t, struct mq_json_writer *w, const struct topics_range *range)
{
	unsigned n = HASH_COUNT(t->rows), i = 0;
	const struct topic_row **sorted = calloc(n ? n : 1, sizeof(struct topic_row *));

	if (!sorted)
		return -ENOMEM;
	for (const struct topic_row *row = t->rows; row; row = row->hh.next)
		sorted[i++] = row;
	qsort(sorted, n, sizeof(struct topic_row *), row_compare);
	for (i = range->first; i < n && i - range->first < range->max; i++)
		topics_write_member(w, sorted[i], range->perm_without);
	free(sorted);
	return 0;
}

static int topics_write_range(struct topics *t, struct mq_json_writer *w, const struct topics_range *range)
{
	const struct topic_row *row;

	if (range->max > 0)
		return topics_write_page(t, w, range);
	if (range->only.n > 0) {
		row = topics_find(t, range->only);
		if (row)
			topics_write_member(w, row, range->perm_without);
		return 0;
	}
	for (row = t->rows; row; row = row->hh.next)
		topics_write_member(w, row, range->perm_without);
	return 0;
}

int topics_encode_table(struct topics *t, const struct topics_range *range, struct evbuffer *out)
{
	struct mq_json_writer w;
	int n, r;

	mq_json_begin(&w, out);
	mq_json_open_object(&w);
	pthread_rwlock_rdlock(&t->lock);
	mq_json_key(&w, "dataVersion");
	mq_data_version_write(&w, &t->version);
	mq_json_key(&w, "mappingDataVersion");
	mq_data_version_write(&w, &t->mapping_version);
	mq_json_key(&w, "topicConfigTable");
	mq_json_open_object(&w);
	r = topics_write_range(t, &w, range);
	mq_json_close_object(&w);
	n = (int)HASH_COUNT(t->rows);
	pthread_rwlock_unlock(&t->lock);
	mq_json_key(&w, "topicQueueMappingDetailMap");
	mq_json_open_object(&w);
	mq_json_close_object(&w);
	mq_json_key(&w, "topicQueueMappingInfoMap");
	mq_json_open_object(&w);
	mq_json_close_object(&w);
	mq_json_close_object(&w);
	if (mq_json_end(&w) < 0)
		r = -ENOMEM;
	return r < 0 ? r : n;
}

int topics_encode(struct topics *t, struct mq_slice name, struct evbuffer *out)
{
	const struct topic_row *row;
	struct mq_json_writer w;
	int r = -ENOENT;

	pthread_rwlock_rdlock(&t->lock);
	row = topics_find(t, name);
	if (row) {
		mq_json_begin(&w, out);
		row_write(&w, row, 0);
		r = mq_json_end(&w);
	}
	pthread_rwlock_unlock(&t->lock);
	return r;
}
