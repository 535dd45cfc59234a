/* The table in memory, and each change of it as a row of the store. */
#include "daemons/broker/topics.h"

#include <errno.h>
#include <stdlib.h>

#include "daemons/broker/attributes.h"
#include "daemons/broker/broker.h"
#include "daemons/broker/meta_rows.h"
#include "daemons/broker/register.h"
#include "daemons/broker/retry.h"
#include "daemons/broker/topics_internal.h"

#define META_TOPIC   "topic"   /* name -> TopicConfig as JSON */

static struct topic_row *topic_row_free(struct topic_row *row)
{
	if (row)
		free(row->attributes);
	free(row);
	return NULL;
}

DEFINE_CLEANUP(struct topic_row *, topic_row_free)

struct topic_row *topic_row_new(struct mq_slice name, const struct topic *config, struct mq_slice attributes)
{
	_cleanup_(topic_row_freep) struct topic_row *row = calloc(1, sizeof *row + name.n + 1);

	if (!row)
		return NULL;
	row->config = *config;
	row->config.is_batch_queue = attributes_have(attributes, "queue.type", "BatchCQ");
	row->config.is_priority = attributes_have(attributes, "message.type", "PRIORITY");
	row->n_name = name.n;
	memcpy(row->name, name.p, name.n);
	if (attributes.n > 0) {
		row->attributes = mq_slice_dup(attributes);
		if (!row->attributes)
			return NULL;
	}
	return TAKE(row);
}

struct topic_row *topics_find(struct topics *t, struct mq_slice name)
{
	struct topic_row *row;

	HASH_FIND(hh, t->rows, name.p, name.n, row);
	return row;
}

void topics_insert(struct topics *t, struct topic_row *row)
{
	struct topic_row *old = topics_find(t, topic_row_name(row));

	if (old) {
		row->is_system = old->is_system;
		HASH_DEL(t->rows, old);
		topic_row_free(old);
	}
	HASH_ADD_KEYPTR(hh, t->rows, row->name, row->n_name, row);
}

/* ---- Rows on disk ---- */

static void topics_write_row(struct mq_json_writer *w, const void *row)
{
	topic_row_write(w, row, 0);
}

static int topics_read_row(void *user, struct mq_slice name, const struct mq_json_node *root)
{
	char attributes[TOPIC_ATTRIBUTES_MAX];
	struct mq_topic_config c;
	struct topic_row *row;
	int r;

	r = mq_topic_config_read(root, &c, attributes, sizeof attributes);
	if (r < 0)
		return r;
	row = topic_row_new(name,
			    &(struct topic){ .read_queues = c.read_queues,
					     .write_queues = c.write_queues,
					     .perm = c.perm,
					     .sys_flag = c.sys_flag,
					     .is_order = c.is_order,
					     .is_multi_tag = c.is_multi_tag },
			    c.attributes);
	if (!row)
		return -ENOMEM;
	topics_insert(user, row);
	return 0;
}

/* ---- Life ---- */

int topics_new(struct topics **ret, struct broker *b, struct mq_error *err)
{
	struct topics *t = calloc(1, sizeof *t);
	struct mq_error why = {};
	int r;

	if (!t)
		return mq_error_set(err, -ENOMEM, "out of memory");
	t->broker = b;
	pthread_mutex_init(&t->changing, NULL);
	pthread_rwlock_init(&t->lock, NULL);
	t->version.timestamp = t->mapping_version.timestamp = mq_wall_ms(b->clock);
	r = meta_rows_load(b->store, META_TOPIC, "the stored configuration of topic", topics_read_row, t, &why);
	if (r == 0)
		r = meta_version_load(b->store, "topics", &t->version, &why);
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
		topic_row_free(row);
	}
	pthread_rwlock_destroy(&t->lock);
	pthread_mutex_destroy(&t->changing);
	free(t);
	return NULL;
}

/* ---- Changes. t->changing is held, so that reading rows needs no other lock. ---- */

static int topics_change(struct topics *t, struct mq_slice name, const struct topic *config, struct mq_slice attributes)
{
	_cleanup_(topic_row_freep) struct topic_row *row = topic_row_new(name, config, attributes);
	struct mq_data_version version;
	int r;

	if (!row)
		return -ENOMEM;
	r = meta_version_next(t->broker, "topics", &t->version, &version);
	if (r == 0)
		r = meta_row_put(t->broker->store, META_TOPIC, topic_row_name(row), topics_write_row, row);
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
	bool is_allowed = !mq_slice_is(default_topic, TOPICS_DEFAULT) || t->broker->config.autoCreateTopicEnable;

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

/* The configuration goes in memory first: no send may bring the queues back while they are being deleted. On the disk all of it goes at once:
 * what is left of half a deletion would be the beginning of the topic when it is made again. */
static int topics_forget(struct topics *t, struct topic_row *row)
{
	struct mq_data_version version = meta_version_after(t->broker, &t->version);
	char text[MQ_DATA_VERSION_TEXT];
	const struct store_meta_put puts[] = {
		meta_version_put("topics", &version, text),
		{ META_TOPIC, topic_row_name(row), {} },
	};
	int r;

	pthread_rwlock_wrlock(&t->lock);
	HASH_DEL(t->rows, row);
	atomic_fetch_add(&t->n_deletions, 1);
	pthread_rwlock_unlock(&t->lock);
	r = store_topic_delete(t->broker->store, topic_row_name(row), puts, N_ELEMENTS(puts));
	pthread_rwlock_wrlock(&t->lock);
	if (r == 0)
		t->version = version;
	else
		HASH_ADD_KEYPTR(hh, t->rows, row->name, row->n_name, row);
	pthread_rwlock_unlock(&t->lock);
	if (r == 0)
		topic_row_free(row);
	return r;
}

int topics_delete(struct topics *t, struct mq_slice name)
{
	struct topic_row *row;
	int r;

	pthread_mutex_lock(&t->changing);
	row = topics_find(t, name);
	r = row ? topics_forget(t, row) : store_topic_delete(t->broker->store, name, NULL, 0);
	pthread_mutex_unlock(&t->changing);
	return r;
}

int topics_touch(struct topics *t)
{
	struct mq_data_version version;
	int r;

	pthread_mutex_lock(&t->changing);
	r = meta_version_next(t->broker, "topics", &t->version, &version);
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
		ret->n_deletions = atomic_load(&t->n_deletions);
		ret->since = store_offset_since();
		r = 0;
	}
	pthread_rwlock_unlock(&t->lock);
	return r;
}

/* While no topic was deleted since, no queue of this one was. */
int topics_open_queue(struct topics *t, unsigned n_deletions, struct mq_slice name, int32_t queue_id, struct store_queue **ret)
{
	struct topic config;
	int r = store_queue_open(t->broker->store, name, queue_id, ret);

	if (r < 0 || atomic_load(&t->n_deletions) == n_deletions || topics_is_system(t, name))
		return r;
	return topics_get(t, name, &config);
}

void topics_version(struct topics *t, struct mq_data_version *ret)
{
	pthread_rwlock_rdlock(&t->lock);
	*ret = t->version;
	pthread_rwlock_unlock(&t->lock);
}
