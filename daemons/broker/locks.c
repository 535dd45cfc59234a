#include "daemons/broker/locks.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

#include "daemons/broker/broker.h"
#include "libmq/base/bytes.h"

enum {
	LOCK_LIVE_MS = 60000,    /* RebalanceLockManager: rocketmq.broker.rebalance.lockMaxLiveTime */
	LOCK_SWEEP_MS = 60000,   /* expired locks of groups that went away are freed so often */
	LOCK_KEY_MAX = 1024,     /* bytes; names are at most 255 */
};

struct lock_row {
	int64_t taken_at_ms; /* monotonic */
	char *client_id;     /* owned */
	UT_hash_handle hh;
	size_t n_key;
	char key[];          /* group 0x00 topic 0x00 queue id (4) */
};

struct locks {
	struct broker *broker; /* borrowed */
	pthread_mutex_t lock;  /* protects the next */
	struct lock_row *rows; /* owned */
	size_t n_bytes;        /* of them */
	int64_t swept_at_ms;
};

int locks_new(struct locks **ret, struct broker *b)
{
	struct locks *l = calloc(1, sizeof *l);

	if (!l)
		return -ENOMEM;
	l->broker = b;
	pthread_mutex_init(&l->lock, NULL);
	*ret = l;
	return 0;
}

static size_t lock_bytes(const struct lock_row *row)
{
	return sizeof *row + row->n_key + strlen(row->client_id) + 1;
}

static void locks_drop(struct locks *l, struct lock_row *row)
{
	HASH_DEL(l->rows, row);
	l->n_bytes -= lock_bytes(row);
	free(row->client_id);
	free(row);
}

struct locks *locks_free(struct locks *l)
{
	struct lock_row *row, *next;

	if (!l)
		return NULL;
	HASH_ITER(hh, l->rows, row, next)
		locks_drop(l, row);
	pthread_mutex_destroy(&l->lock);
	free(l);
	return NULL;
}

/* Bytes of the key, 0 when names are too long to be anybody's. */
static size_t lock_key(char key[LOCK_KEY_MAX], struct mq_slice group, struct mq_slice topic, int32_t queue_id)
{
	char *p = key;

	if (group.n + topic.n + 6 > LOCK_KEY_MAX)
		return 0;
	p = mq_put_bytes(p, group.p, group.n);
	p = mq_put8(p, 0);
	p = mq_put_bytes(p, topic.p, topic.n);
	p = mq_put8(p, 0);
	p = mq_put32(p, (uint32_t)queue_id);
	return (size_t)(p - key);
}

static void locks_sweep(struct locks *l, int64_t now_ms)
{
	struct lock_row *row, *next;

	if (now_ms - l->swept_at_ms < LOCK_SWEEP_MS)
		return;
	l->swept_at_ms = now_ms;
	HASH_ITER(hh, l->rows, row, next)
		if (now_ms - row->taken_at_ms > LOCK_LIVE_MS)
			locks_drop(l, row);
}

static bool locks_insert(struct locks *l, const char *key, size_t n_key, struct mq_slice client_id, int64_t now_ms)
{
	struct lock_row *row = l->n_bytes < LOCKS_BYTES_MAX ? calloc(1, sizeof *row + n_key) : NULL;

	if (row)
		row->client_id = mq_slice_dup(client_id);
	if (!row || !row->client_id) {
		free(row);
		return false;
	}
	row->taken_at_ms = now_ms;
	row->n_key = n_key;
	memcpy(row->key, key, n_key);
	HASH_ADD_KEYPTR(hh, l->rows, row->key, n_key, row);
	l->n_bytes += lock_bytes(row);
	return true;
}

bool locks_take(struct locks *l, struct mq_slice group, struct mq_slice topic, int32_t queue_id,
		struct mq_slice client_id)
{
	int64_t now_ms = mq_mono_ms(l->broker->clock);
	char key[LOCK_KEY_MAX];
	size_t n_key = lock_key(key, group, topic, queue_id);
	struct lock_row *row;
	bool is_mine;

	if (n_key == 0 || client_id.n > LOCK_CLIENT_MAX)
		return false;
	pthread_mutex_lock(&l->lock);
	locks_sweep(l, now_ms);
	HASH_FIND(hh, l->rows, key, n_key, row);
	if (row && !mq_slice_is(client_id, row->client_id) && now_ms - row->taken_at_ms > LOCK_LIVE_MS) {
		locks_drop(l, row);
		row = NULL;
	}
	if (row) {
		is_mine = mq_slice_is(client_id, row->client_id);
		if (is_mine)
			row->taken_at_ms = now_ms;
	} else {
		is_mine = locks_insert(l, key, n_key, client_id, now_ms);
	}
	pthread_mutex_unlock(&l->lock);
	return is_mine;
}

void locks_release(struct locks *l, struct mq_slice group, struct mq_slice topic, int32_t queue_id,
		   struct mq_slice client_id)
{
	char key[LOCK_KEY_MAX];
	size_t n_key = lock_key(key, group, topic, queue_id);
	struct lock_row *row;

	if (n_key == 0)
		return;
	pthread_mutex_lock(&l->lock);
	HASH_FIND(hh, l->rows, key, n_key, row);
	if (row && mq_slice_is(client_id, row->client_id))
		locks_drop(l, row);
	pthread_mutex_unlock(&l->lock);
}

bool locks_has_group(struct locks *l, struct mq_slice group)
{
	int64_t now_ms = mq_mono_ms(l->broker->clock);
	struct lock_row *row, *next;
	bool has = false;

	pthread_mutex_lock(&l->lock);
	HASH_ITER(hh, l->rows, row, next) {
		has = now_ms - row->taken_at_ms <= LOCK_LIVE_MS && row->n_key > group.n && row->key[group.n] == 0 &&
		      memcmp(row->key, group.p, group.n) == 0;
		if (has)
			break;
	}
	pthread_mutex_unlock(&l->lock);
	return has;
}
