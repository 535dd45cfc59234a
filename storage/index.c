/* The key index: a row for each key of a message, in the message's own batch. Rows begin with the hour, so that retention drops
 * whole files of it too. */
#include <errno.h>
#include <stdlib.h>

#include "libmq/wire/record.h"
#include "storage/index.h"
#include "storage/internal.h"

enum { HOUR_MS = 3600 * 1000 };

enum {
	UNIQUE_ID_SIZE = 32,  /* hex digits, upper case, of a client's unique id; with an IPv6 address it is longer */
	UNIQUE_TAIL_SIZE = 10, /* of them: low 24 bits of milliseconds, counter (16 bits) */
};

/* True when `key` ends as a unique id does. */
static bool index_unique_tail(struct mq_slice key, uint64_t *ret)
{
	uint64_t tail = 0;

	if (key.n < UNIQUE_ID_SIZE)
		return false;
	for (size_t i = key.n - UNIQUE_TAIL_SIZE; i < key.n; i++) {
		char c = key.p[i];

		if (c >= '0' && c <= '9')
			tail = tail << 4 | (uint64_t)(c - '0');
		else if (c >= 'A' && c <= 'F')
			tail = tail << 4 | (uint64_t)(c - 'A' + 10);
		else
			return false;
	}
	*ret = tail;
	return true;
}

/* FNV-1a with murmur's finalizer: short texts, no adversary gains from a collision (clients compare keys again). On disk: the
 * formula is part of the format.
 *
 * Nearly every message has a unique id, and one sender's are ascending. Their tails are kept as they are, so that rows come in
 * order: inserted at random into a large table they were more than half of the cost of a small message. */
uint64_t index_hash(struct mq_slice topic, struct mq_slice key)
{
	uint64_t h = 0xcbf29ce484222325ull, tail;
	bool is_unique_id = index_unique_tail(key, &tail);

	if (is_unique_id)
		key.n -= UNIQUE_TAIL_SIZE;
	for (size_t i = 0; i < topic.n; i++)
		h = (h ^ (uint8_t)topic.p[i]) * 0x100000001b3ull;
	h *= 0x100000001b3ull; /* a zero byte between the two */
	for (size_t i = 0; i < key.n; i++)
		h = (h ^ (uint8_t)key.p[i]) * 0x100000001b3ull;
	h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdull;
	h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ull;
	h ^= h >> 33;
	return is_unique_id ? (h >> 4 * UNIQUE_TAIL_SIZE << 4 * UNIQUE_TAIL_SIZE) | tail : h;
}

uint32_t index_hour(int64_t at_ms)
{
	return at_ms < 0 ? 0 : at_ms / HOUR_MS > UINT32_MAX ? UINT32_MAX : (uint32_t)(at_ms / HOUR_MS);
}

void index_key(char ret[INDEX_KEY_SIZE], uint64_t hash, int64_t at_ms, int64_t locator)
{
	mq_put64(mq_put64(mq_put64(mq_put32(ret, index_hour(at_ms)), hash), (uint64_t)at_ms), (uint64_t)locator);
}

static void index_put_key(rocksdb_writebatch_t *batch, struct store *s, const struct store_record *r, struct mq_slice key)
{
	char row[INDEX_KEY_SIZE];

	index_key(row, index_hash(store_queue_topic(r->queue), key), r->store_at_ms, r->locator);
	rocksdb_writebatch_put_cf(batch, s->cf[CF_INDEX], row, sizeof row, "", 0);
}

struct mq_slice index_next_key(struct mq_slice *rest)
{
	struct mq_slice key;

	while (rest->n > 0 && *rest->p == ' ')
		rest->p++, rest->n--;
	key = *rest;
	key.n = 0;
	while (rest->n > 0 && *rest->p != ' ')
		rest->p++, rest->n--, key.n++;
	return key;
}

void index_put(rocksdb_writebatch_t *batch, struct store *s, const struct store_record *r)
{
	struct mq_slice rest = r->keys, key;

	while ((key = index_next_key(&rest)).n > 0)
		index_put_key(batch, s, r, key);
	if (r->uniq_key.n > 0)
		index_put_key(batch, s, r, r->uniq_key);
}

struct hits {
	int64_t *locators;
	unsigned n, max;
	int64_t begin_ms;
};

/* Collects the rows of one hour, newest first. 0, or -EIO. */
static int index_collect_hour(rocksdb_iterator_t *it, uint32_t hour, uint64_t hash, int64_t end_ms, struct hits *h)
{
	char prefix[INDEX_KEY_SIZE];

	index_key(prefix, hash, end_ms, INT64_MAX);
	mq_put32(prefix, hour); /* the last of an earlier hour than end_ms, too */
	for (rocksdb_iter_seek_for_prev(it, prefix, sizeof prefix); h->n < h->max && rocksdb_iter_valid(it); rocksdb_iter_prev(it)) {
		struct mq_slice key = iterator_key(it);
		int64_t locator;

		if (key.n != INDEX_KEY_SIZE || memcmp(key.p, prefix, INDEX_PREFIX_SIZE) != 0 ||
		    (int64_t)mq_get64(key.p + INDEX_PREFIX_SIZE) < h->begin_ms)
			break;
		locator = (int64_t)mq_get64(key.p + 20);
		/* The same key twice in one message makes one row, but two keys may share a hash. */
		if (h->n == 0 || h->locators[h->n - 1] != locator)
			h->locators[h->n++] = locator;
	}
	return read_status(it);
}

/* The latest hour before `hour` that has any row; false when there is none. */
static bool index_previous_hour(rocksdb_iterator_t *it, uint32_t hour, uint32_t *ret)
{
	char key[4];

	mq_put32(key, hour);
	rocksdb_iter_seek_for_prev(it, key, sizeof key);
	if (!rocksdb_iter_valid(it) || iterator_key(it).n != INDEX_KEY_SIZE)
		return false;
	*ret = mq_get32(iterator_key(it).p);
	return true;
}

struct handing {
	store_on_record on_record;
	void *user;
	struct mq_slice topic;
	int n;
	bool is_stopped;
};

static enum store_verdict index_hand_out(void *user, int64_t offset, int64_t tag_hash, struct mq_slice record)
{
	struct handing *h = user;

	h->n++;
	h->is_stopped = h->on_record(h->user, offset, tag_hash, record) == STORE_STOP;
	return STORE_STOP;
}

int store_query(struct store *s, struct mq_slice topic, struct mq_slice key, unsigned max, int64_t begin_ms, int64_t end_ms,
		store_on_record on_record, void *user)
{
	enum { QUERY_MAX = 10000 }; /* records in one answer */
	_cleanup_(iteratorp) rocksdb_iterator_t *it = NULL;
	_cleanup_(freep) int64_t *locators = NULL;
	struct handing handing = { .on_record = on_record, .user = user, .topic = topic };
	uint64_t hash = index_hash(topic, key);
	struct hits hits = { .max = max < QUERY_MAX ? max : QUERY_MAX, .begin_ms = begin_ms < 0 ? 0 : begin_ms };
	uint32_t hour = index_hour(end_ms);
	int r = 0;

	if (hits.max == 0 || end_ms < hits.begin_ms)
		return 0;
	hits.locators = locators = calloc(hits.max, sizeof *locators);
	if (!locators)
		return -ENOMEM;
	it = rocksdb_create_iterator_cf(s->db, s->read_options[STORE_DISK], s->cf[CF_INDEX]);
	do
		r = index_collect_hour(it, hour, hash, end_ms, &hits);
	while (r == 0 && hits.n < hits.max && index_previous_hour(it, hour, &hour) && hour >= index_hour(hits.begin_ms));
	if (r == 0)
		r = read_status(it);
	if (r < 0)
		return r;

	for (unsigned i = hits.n; i-- > 0 && !handing.is_stopped;) {
		struct store_queue *q = queue_by_number(s, locator_queue(locators[i]));

		/* Row of a message that retention or a deleted topic took away, or of another topic with the same hash. */
		if (!q || !mq_slice_equal(store_queue_topic(q), topic))
			continue;
		r = store_get(s, locators[i], STORE_DISK, index_hand_out, &handing);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return handing.n;
}
