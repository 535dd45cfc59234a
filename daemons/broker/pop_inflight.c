#include "daemons/broker/pop_inflight.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/pop_names.h"
#include "libmq/base/bytes.h"

enum { KEY_MAX = 4 + 2 + 2 * POP_NAME_MAX }; /* queue, length of the topic, topic, group */

struct inflight_row {
	UT_hash_handle hh;
	int64_t n; /* > 0 */
	struct pop_inflight_key key; /* in text */
	size_t n_text;
	char text[];
};

struct pop_inflight {
	struct broker *broker;     /* borrowed */
	pthread_mutex_t lock;      /* protects rows */
	struct inflight_row *rows; /* owned */
};

int pop_inflight_new(struct pop_inflight **ret, struct broker *b)
{
	struct pop_inflight *f = calloc(1, sizeof *f);

	if (!f)
		return -ENOMEM;
	f->broker = b;
	pthread_mutex_init(&f->lock, NULL);
	*ret = f;
	return 0;
}

static void inflight_drop(struct pop_inflight *f, struct inflight_row *row)
{
	HASH_DEL(f->rows, row);
	free(row);
}

struct pop_inflight *pop_inflight_free(struct pop_inflight *f)
{
	struct inflight_row *row, *next;

	if (!f)
		return NULL;
	HASH_ITER(hh, f->rows, row, next)
		inflight_drop(f, row);
	pthread_mutex_destroy(&f->lock);
	free(f);
	return NULL;
}

static bool inflight_counts(const struct pop_inflight *f)
{
	return config_get(&f->broker->config, enablePopMessageThreshold);
}

/* 0: longer than any that was popped. */
static size_t inflight_text(const struct pop_inflight_key *key, char ret[KEY_MAX])
{
	char *p = ret;

	if (key->topic.n > POP_NAME_MAX || key->group.n > POP_NAME_MAX)
		return 0;
	p = mq_put32(p, (uint32_t)key->queue_id);
	p = mq_put16(p, (uint16_t)key->topic.n);
	p = mq_put_bytes(p, key->topic.p, key->topic.n);
	p = mq_put_bytes(p, key->group.p, key->group.n);
	return (size_t)(p - ret);
}

/* Lock held. */
static struct inflight_row *inflight_find(struct pop_inflight *f, const struct pop_inflight_key *key)
{
	char text[KEY_MAX];
	size_t n = inflight_text(key, text);
	struct inflight_row *row = NULL;

	if (n > 0)
		HASH_FIND(hh, f->rows, text, n, row);
	return row;
}

/* Lock held. */
static struct inflight_row *inflight_make(struct pop_inflight *f, const struct pop_inflight_key *key)
{
	char text[KEY_MAX];
	size_t n = inflight_text(key, text);
	struct inflight_row *row = n > 0 ? calloc(1, sizeof *row + n) : NULL;

	if (!row)
		return NULL;
	memcpy(row->text, text, n);
	row->n_text = n;
	row->key = (struct pop_inflight_key){
		.topic = { row->text + 6, key->topic.n },
		.group = { row->text + 6 + key->topic.n, key->group.n },
		.queue_id = key->queue_id,
	};
	HASH_ADD_KEYPTR(hh, f->rows, row->text, row->n_text, row);
	return row;
}

void pop_inflight_add(struct pop_inflight *f, const struct pop_inflight_key *key, int64_t n)
{
	struct inflight_row *row;

	if (!inflight_counts(f))
		return;
	pthread_mutex_lock(&f->lock);
	row = inflight_find(f, key);
	if (!row)
		row = inflight_make(f, key);
	if (row)
		row->n += n;
	pthread_mutex_unlock(&f->lock);
}

void pop_inflight_take(struct pop_inflight *f, const struct pop_inflight_key *key, int64_t n, int64_t pop_at_ms)
{
	struct inflight_row *row;

	if (!inflight_counts(f) || pop_at_ms < f->broker->started_at_ms)
		return;
	pthread_mutex_lock(&f->lock);
	row = inflight_find(f, key);
	if (row && (row->n -= n) <= 0)
		inflight_drop(f, row);
	pthread_mutex_unlock(&f->lock);
}

void pop_inflight_clear(struct pop_inflight *f, const struct pop_inflight_key *key)
{
	struct inflight_row *row;

	if (!inflight_counts(f))
		return;
	pthread_mutex_lock(&f->lock);
	row = inflight_find(f, key);
	if (row)
		inflight_drop(f, row);
	pthread_mutex_unlock(&f->lock);
}

void pop_inflight_forget(struct pop_inflight *f, struct mq_slice topic, struct mq_slice group)
{
	struct inflight_row *row, *next;

	pthread_mutex_lock(&f->lock);
	HASH_ITER(hh, f->rows, row, next)
		if ((topic.n == 0 || mq_slice_equal(row->key.topic, topic)) && (group.n == 0 || mq_slice_equal(row->key.group, group)))
			inflight_drop(f, row);
	pthread_mutex_unlock(&f->lock);
}

bool pop_inflight_is_full(struct pop_inflight *f, const struct pop_inflight_key *key)
{
	const struct inflight_row *row;
	int64_t n;

	if (!inflight_counts(f))
		return false;
	pthread_mutex_lock(&f->lock);
	row = inflight_find(f, key);
	n = row ? row->n : 0;
	pthread_mutex_unlock(&f->lock);
	return n > config_get(&f->broker->config, popInflightMessageThreshold);
}
