#include "daemons/broker/pulled.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uthash.h>

#include "libmq/base/bytes.h"

enum {
	PULLED_ROWS_MAX = 100000, /* some 20 MB */
	PULLED_KEY_MAX = 1024,    /* bytes; names are at most 255 */
};

struct pulled_row {
	int64_t next;
	UT_hash_handle hh;
	size_t n_group, n_topic;
	char key[]; /* group 0x00 topic 0x00 queue id (4) */
};

struct pulled {
	pthread_mutex_t lock;    /* protects the next */
	struct pulled_row *rows; /* owned */
	_Atomic unsigned n_rows; /* the same number; read without the lock, since who wrote a row does not wait for who looks */
};

int pulled_new(struct pulled **ret)
{
	struct pulled *p = calloc(1, sizeof *p);

	if (!p)
		return -ENOMEM;
	pthread_mutex_init(&p->lock, NULL);
	*ret = p;
	return 0;
}

struct pulled *pulled_free(struct pulled *p)
{
	if (!p)
		return NULL;
	pulled_forget(p, (struct mq_slice){}, (struct mq_slice){});
	pthread_mutex_destroy(&p->lock);
	free(p);
	return NULL;
}

/* Bytes of the key, 0 when names are too long to be anybody's. */
static size_t pulled_key(char key[PULLED_KEY_MAX], struct mq_slice group, struct mq_slice topic, int32_t queue_id)
{
	char *p = key;

	if (group.n + topic.n + 6 > PULLED_KEY_MAX)
		return 0;
	p = mq_put8(mq_put_bytes(p, group.p, group.n), 0);
	p = mq_put8(mq_put_bytes(p, topic.p, topic.n), 0);
	return (size_t)(mq_put32(p, (uint32_t)queue_id) - key);
}

/* Lock held. NULL: not to be noted. */
static struct pulled_row *pulled_add(struct pulled *p, const char *key, size_t n, size_t n_group, size_t n_topic)
{
	struct pulled_row *row = HASH_COUNT(p->rows) < PULLED_ROWS_MAX ? malloc(sizeof *row + n) : NULL;

	if (!row)
		return NULL;
	*row = (struct pulled_row){ .n_group = n_group, .n_topic = n_topic };
	memcpy(row->key, key, n);
	HASH_ADD_KEYPTR(hh, p->rows, row->key, (unsigned)n, row);
	atomic_fetch_add(&p->n_rows, 1);
	return row;
}

static void pulled_drop(struct pulled *p, struct pulled_row *row)
{
	HASH_DEL(p->rows, row);
	atomic_fetch_sub(&p->n_rows, 1);
	free(row);
}

bool pulled_set(struct pulled *p, struct mq_slice group, struct mq_slice topic, int32_t queue_id, int64_t next)
{
	char key[PULLED_KEY_MAX];
	size_t n = pulled_key(key, group, topic, queue_id);
	struct pulled_row *row;

	if (n == 0)
		return false;
	pthread_mutex_lock(&p->lock);
	HASH_FIND(hh, p->rows, key, (unsigned)n, row);
	if (!row)
		row = pulled_add(p, key, n, group.n, topic.n);
	if (row)
		row->next = next;
	pthread_mutex_unlock(&p->lock);
	return row;
}

bool pulled_take(struct pulled *p, struct mq_slice group, struct mq_slice topic, int32_t queue_id, int64_t *ret)
{
	char key[PULLED_KEY_MAX];
	struct pulled_row *row;
	size_t n;

	if (atomic_load(&p->n_rows) == 0)
		return false;
	n = pulled_key(key, group, topic, queue_id);
	pthread_mutex_lock(&p->lock);
	HASH_FIND(hh, p->rows, key, (unsigned)n, row);
	if (row) {
		*ret = row->next;
		pulled_drop(p, row);
	}
	pthread_mutex_unlock(&p->lock);
	return row;
}

int64_t pulled_get(struct pulled *p, struct mq_slice group, struct mq_slice topic, int32_t queue_id)
{
	char key[PULLED_KEY_MAX];
	size_t n = pulled_key(key, group, topic, queue_id);
	struct pulled_row *row;
	int64_t next;

	if (n == 0 || atomic_load(&p->n_rows) == 0)
		return -1;
	pthread_mutex_lock(&p->lock);
	HASH_FIND(hh, p->rows, key, (unsigned)n, row);
	next = row ? row->next : -1;
	pthread_mutex_unlock(&p->lock);
	return next;
}

static bool pulled_matches(const struct pulled_row *row, struct mq_slice group, struct mq_slice topic)
{
	struct mq_slice own_group = { row->key, row->n_group };
	struct mq_slice own_topic = { row->key + row->n_group + 1, row->n_topic };

	return (group.n == 0 || mq_slice_equal(own_group, group)) && (topic.n == 0 || mq_slice_equal(own_topic, topic));
}

void pulled_forget(struct pulled *p, struct mq_slice group, struct mq_slice topic)
{
	struct pulled_row *row, *next;

	pthread_mutex_lock(&p->lock);
	HASH_ITER(hh, p->rows, row, next) {
		if (pulled_matches(row, group, topic))
			pulled_drop(p, row);
	}
	pthread_mutex_unlock(&p->lock);
}
