#include "daemons/broker/request_mode.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/meta_rows.h"
#include "daemons/broker/retry.h"
#include "daemons/broker/topics.h"

#define META_MODE "request-mode" /* topic, '@', group -> SetMessageRequestModeRequestBody as JSON. No name has an '@'. */

enum { MODES_MAX = 65536, KEY_MAX = 2 * TOPIC_NAME_MAX + 1 };

struct mode_row {
	UT_hash_handle hh;
	enum mq_request_mode mode;
	int32_t pop_share;
	uint16_t n_topic, n_key;
	char key[]; /* topic, '@', group: sorted by it, a topic's groups stand together */
};

struct request_modes {
	struct broker *broker;    /* borrowed */
	pthread_mutex_t changing; /* one change at a time, store rows included; taken before `lock` */
	pthread_rwlock_t lock;    /* protects the next */
	struct mode_row *rows;    /* owned */
};

static struct mq_mode_setting row_setting(const struct mode_row *row)
{
	return (struct mq_mode_setting){
		.topic = { row->key, row->n_topic },
		.group = { row->key + row->n_topic + 1, (size_t)(row->n_key - row->n_topic - 1) },
		.mode = row->mode,
		.pop_share = row->pop_share,
	};
}

static size_t key_make(char key[KEY_MAX], struct mq_slice topic, struct mq_slice group)
{
	if (topic.n > TOPIC_NAME_MAX || group.n > TOPIC_NAME_MAX)
		return 0;
	memcpy(key, topic.p, topic.n);
	key[topic.n] = '@';
	memcpy(key + topic.n + 1, group.p, group.n);
	return topic.n + 1 + group.n;
}

static struct mode_row *row_new(const struct mq_mode_setting *s)
{
	char key[KEY_MAX];
	size_t n = key_make(key, s->topic, s->group);
	struct mode_row *row = n > 0 ? malloc(sizeof *row + n) : NULL;

	if (!row)
		return NULL;
	row->mode = s->mode;
	row->pop_share = s->pop_share;
	row->n_topic = (uint16_t)s->topic.n;
	row->n_key = (uint16_t)n;
	memcpy(row->key, key, n);
	return row;
}

static void modes_insert(struct request_modes *m, struct mode_row *row)
{
	struct mode_row *old;

	HASH_FIND(hh, m->rows, row->key, row->n_key, old);
	if (old) {
		HASH_DEL(m->rows, old);
		free(old);
	}
	HASH_ADD_KEYPTR(hh, m->rows, row->key, row->n_key, row);
}

/* ---- Rows on disk ---- */

static void modes_write_row(struct mq_json_writer *w, const void *row)
{
	struct mq_mode_setting s = row_setting(row);

	mq_mode_setting_write(w, &s);
}

static int modes_read_row(void *user, struct mq_slice name, const struct mq_json_node *root)
{
	struct mq_mode_setting s;
	struct mode_row *row;
	int r;

	r = mq_mode_setting_read(root, &s, NULL);
	if (r < 0)
		return r;
	row = row_new(&s);
	if (!row)
		return -ENOMEM;
	modes_insert(user, row);
	return 0;
}

/* ---- Life ---- */

int request_modes_new(struct request_modes **ret, struct broker *b, struct mq_error *err)
{
	struct request_modes *m = calloc(1, sizeof *m);
	struct mq_error why = {};
	int r;

	if (!m)
		return mq_error_set(err, -ENOMEM, "out of memory");
	m->broker = b;
	pthread_mutex_init(&m->changing, NULL);
	pthread_rwlock_init(&m->lock, NULL);
	r = meta_rows_load(b->store, META_MODE, "the row", modes_read_row, m, &why);
	if (r < 0) {
		request_modes_free(m);
		return mq_error_set(err, r, "cannot load how groups read their topics from %s: %s", b->config.storePathRootDir,
				    why.text[0] ? why.text : strerror(-r));
	}
	*ret = m;
	return 0;
}

struct request_modes *request_modes_free(struct request_modes *m)
{
	struct mode_row *row, *next;

	if (!m)
		return NULL;
	HASH_ITER(hh, m->rows, row, next) {
		HASH_DEL(m->rows, row);
		free(row);
	}
	pthread_rwlock_destroy(&m->lock);
	pthread_mutex_destroy(&m->changing);
	free(m);
	return NULL;
}

/* ---- Use ---- */

static int modes_change(struct request_modes *m, struct mode_row *row)
{
	struct mode_row *old;
	int r;

	HASH_FIND(hh, m->rows, row->key, row->n_key, old);
	if (!old && HASH_COUNT(m->rows) >= MODES_MAX)
		return -EOVERFLOW;
	r = meta_row_put(m->broker->store, META_MODE, (struct mq_slice){ row->key, row->n_key }, modes_write_row, row);
	if (r < 0)
		return r;
	pthread_rwlock_wrlock(&m->lock);
	modes_insert(m, row);
	pthread_rwlock_unlock(&m->lock);
	return 0;
}

int request_modes_set(struct request_modes *m, const struct mq_mode_setting *s)
{
	struct mode_row *row = row_new(s);
	int r;

	if (!row)
		return -ENOMEM;
	pthread_mutex_lock(&m->changing);
	r = modes_change(m, row);
	pthread_mutex_unlock(&m->changing);
	if (r < 0)
		free(row);
	return r;
}

static void modes_default(struct request_modes *m, struct mq_mode_setting *s)
{
	const struct broker_config *c = &m->broker->config;

	s->mode = mq_slice_starts(s->topic, MQ_SLICE(RETRY_PREFIX)) ? MQ_MODE_PULL
								    : (enum mq_request_mode)c->defaultMessageRequestMode;
	s->pop_share = s->mode == MQ_MODE_POP ? (int32_t)config_get(c, defaultPopShareQueueNum) : 0;
}

void request_modes_get(struct request_modes *m, struct mq_slice topic, struct mq_slice group, struct mq_mode_setting *ret)
{
	const struct mode_row *row = NULL;
	char key[KEY_MAX];
	size_t n = key_make(key, topic, group);

	*ret = (struct mq_mode_setting){ .topic = topic, .group = group };
	pthread_rwlock_rdlock(&m->lock);
	if (n > 0)
		HASH_FIND(hh, m->rows, key, n, row);
	if (row) {
		ret->mode = row->mode;
		ret->pop_share = row->pop_share;
	} else {
		modes_default(m, ret);
	}
	pthread_rwlock_unlock(&m->lock);
}

/* ---- 402 ---- */

static int row_compare(const void *a, const void *b)
{
	const struct mode_row *x = *(const struct mode_row *const *)a, *y = *(const struct mode_row *const *)b;

	return mq_slice_compare((struct mq_slice){ x->key, x->n_key }, (struct mq_slice){ y->key, y->n_key });
}

/* {topic: {group: setting, ...}, ...} */
static void modes_write(struct mq_json_writer *w, const struct mode_row *const *sorted, unsigned n)
{
	struct mq_slice topic = {};

	for (unsigned i = 0; i < n; i++) {
		struct mq_mode_setting s = row_setting(sorted[i]);

		if (i == 0 || !mq_slice_equal(s.topic, topic)) {
			if (i > 0)
				mq_json_close_object(w);
			mq_json_key_slice(w, s.topic);
			mq_json_open_object(w);
			topic = s.topic;
		}
		mq_json_key_slice(w, s.group);
		mq_mode_setting_write(w, &s);
	}
	if (n > 0)
		mq_json_close_object(w);
}

static int modes_encode(struct request_modes *m, struct mq_json_writer *w)
{
	unsigned n = HASH_COUNT(m->rows), i = 0;
	const struct mode_row **sorted = calloc(n ? n : 1, sizeof(struct mode_row *));

	if (!sorted)
		return -ENOMEM;
	for (const struct mode_row *row = m->rows; row; row = row->hh.next)
		sorted[i++] = row;
	qsort(sorted, n, sizeof(struct mode_row *), row_compare);
	modes_write(w, sorted, n);
	free(sorted);
	return 0;
}

int request_modes_encode(struct request_modes *m, struct evbuffer *out)
{
	struct mq_json_writer w;
	int r;

	mq_json_begin(&w, out);
	mq_json_open_object(&w);
	mq_json_key(&w, "messageRequestModeMap");
	mq_json_open_object(&w);
	pthread_rwlock_rdlock(&m->lock);
	r = modes_encode(m, &w);
	pthread_rwlock_unlock(&m->lock);
	mq_json_close_object(&w);
	mq_json_close_object(&w);
	return mq_json_end(&w) < 0 ? -ENOMEM : r;
}
