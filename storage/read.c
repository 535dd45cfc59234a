/* Reading: a new iterator for each scan (four times cheaper a record than gets, and it pins nothing while a consumer idles). */
#include <errno.h>
#include <stdlib.h>

#include "libmq/wire/record.h"
#include "storage/internal.h"

rocksdb_iterator_t *read_iterator(struct store *s, struct store_queue *q, const rocksdb_readoptions_t *options)
{
	rocksdb_iterator_t *it = NULL;

	/* The iterator keeps its family's data alive by itself; only making it needs the family. */
	pthread_rwlock_rdlock(&s->queues_lock);
	if (q->family)
		it = rocksdb_create_iterator_cf(s->db, options, q->family->cf);
	pthread_rwlock_unlock(&s->queues_lock);
	return it;
}

/* RocksDB tells "not in memory" by status text only: Status::Incomplete. */
static bool read_is_incomplete(const char *text)
{
	static const char incomplete[] = "Result incomplete";

	return strncmp(text, incomplete, sizeof incomplete - 1) == 0;
}

int read_status(rocksdb_iterator_t *it)
{
	_cleanup_(rocksdb_textp) char *text = NULL;

	rocksdb_iter_get_error(it, &text);
	return !text ? 0 : read_is_incomplete(text) ? STORE_WOULD_BLOCK : -EIO;
}

/* Offsets are dense, so a gap in [expected, found) is either what retention took away since the scan began, or records that the
 * iterator passed over. RocksDB 7.8's merging iterator forgets the status of a level that cannot enter its next file, be it
 * for want of a cached block or because the file is damaged, and goes on with the other levels. */
static int scan_gap(const struct store_queue *q, enum store_tier tier, int64_t expected, int64_t found)
{
	if (found == expected || atomic_load(&q->min) >= found)
		return 0;
	return tier == STORE_MEMORY ? STORE_WOULD_BLOCK : -EIO;
}

int store_scan(struct store *s, struct store_queue *q, int64_t from, enum store_tier tier, store_on_record on_record, void *user,
	       int64_t *ret_next)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it = NULL;
	int64_t min = atomic_load(&q->min), max = atomic_load(&q->max);
	char first[RECORD_KEY_SIZE];
	int r;

	if (from < min)
		from = min;
	*ret_next = from;
	if (from >= max)
		return 0;
	it = read_iterator(s, q, s->read_options[tier]);
	if (!it) {
		*ret_next = max; /* all of it was removed meanwhile */
		return 0;
	}

	record_key(first, q->number, from);
	for (rocksdb_iter_seek(it, first, sizeof first); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		struct mq_slice key = iterator_key(it), value = iterator_value(it);
		int64_t offset;
		enum store_verdict verdict;

		/* Behind the end of this queue in a shared family. */
		if (key.n != RECORD_KEY_SIZE || memcmp(key.p, first, 4) != 0)
			break;
		offset = (int64_t)mq_get64(key.p + 4);
		if (offset >= max)
			break;
		r = scan_gap(q, tier, *ret_next, offset);
		if (r != 0)
			return r;
		if (value.n < RECORD_VALUE_PREFIX + RECORD_SIZE_MIN)
			return -EBADMSG;
		verdict = on_record(user, offset, (int64_t)mq_get64(value.p),
				    (struct mq_slice){ value.p + RECORD_VALUE_PREFIX, value.n - RECORD_VALUE_PREFIX });
		*ret_next = offset + 1;
		if (verdict == STORE_STOP)
			return 0;
	}
	r = read_status(it);
	if (r == 0)
		r = scan_gap(q, tier, *ret_next, max);
	if (r == 0)
		*ret_next = max; /* what is missing was removed by retention */
	return r;
}

int store_get(struct store *s, int64_t locator, enum store_tier tier, store_on_record on_record, void *user)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	_cleanup_(pinnedp) rocksdb_pinnableslice_t *row = NULL;
	struct store_queue *q = locator < 0 ? NULL : queue_by_number(s, locator_queue(locator));
	int64_t offset = locator_offset(locator);
	char key[RECORD_KEY_SIZE];
	struct mq_slice value;

	if (!q || offset < atomic_load(&q->min) || offset >= atomic_load(&q->written))
		return -ENOENT;
	record_key(key, locator_queue(locator), offset);
	pthread_rwlock_rdlock(&s->queues_lock);
	if (q->family)
		row = rocksdb_get_pinned_cf(s->db, s->read_options[tier], q->family->cf, key, sizeof key, &text);
	pthread_rwlock_unlock(&s->queues_lock);
	if (text)
		return read_is_incomplete(text) ? STORE_WOULD_BLOCK : -EIO;
	if (!row)
		return -ENOENT;
	value.p = rocksdb_pinnableslice_value(row, &value.n);
	if (value.n < RECORD_VALUE_PREFIX + RECORD_SIZE_MIN)
		return -EBADMSG;
	on_record(user, offset, (int64_t)mq_get64(value.p),
		  (struct mq_slice){ value.p + RECORD_VALUE_PREFIX, value.n - RECORD_VALUE_PREFIX });
	return 0;
}

/* ---- by time ---- */

static enum store_verdict read_time(void *user, int64_t offset, int64_t tag_hash, struct mq_slice record)
{
	*(int64_t *)user = mq_record_store_at_ms(record);
	return STORE_STOP;
}

int64_t store_time_at(struct store *s, struct store_queue *q, int64_t offset)
{
	int64_t at_ms = -1;

	/* Below the published maximum the number is known to this thread. */
	if (offset < 0 || offset >= atomic_load(&q->max) || store_get(s, locator_make(q->number, offset), STORE_DISK, read_time, &at_ms) < 0)
		return -1;
	return at_ms;
}

/* Store time of the first record at or behind `offset`, -1 when there is none left, -EIO in *ret_error. */
static int read_time_from(struct store *s, struct store_queue *q, int64_t offset, int64_t *ret_at_ms)
{
	int64_t next;

	*ret_at_ms = -1;
	return store_scan(s, q, offset, STORE_DISK, read_time, ret_at_ms, &next);
}

int store_search_time(struct store *s, struct store_queue *q, int64_t at_ms, enum store_boundary b, int64_t *ret_offset)
{
	int64_t min = atomic_load(&q->min), max = atomic_load(&q->max);
	int64_t low = min, high = max;

	if (min >= max) {
		*ret_offset = 0;
		return 0;
	}
	/* The first offset whose store time is at or after at_ms (LOWER), or after it (UPPER). */
	while (low < high) {
		int64_t middle = low + (high - low) / 2, time_ms;
		int r = read_time_from(s, q, middle, &time_ms);

		if (r < 0)
			return r;
		if (time_ms >= 0 && (b == STORE_LOWER ? time_ms < at_ms : time_ms <= at_ms))
			low = middle + 1;
		else
			high = middle;
	}
	if (b == STORE_LOWER)
		*ret_offset = low;
	else
		*ret_offset = low > min ? low - 1 : 0;
	return 0;
}
