/* What is due at a time: the rows of the `due` family. A row is written in the batch of its record
 * and deleted in the batch of what it leads to, so it is done once, whatever happens in between.
 *
 * The earliest rows are deleted first, and RocksDB keeps a mark for each until it compacts: a scan
 * from the beginning would pass over everything that was ever done. So the store remembers from
 * when on rows may be there. Only scans raise that time, and never above a row that was written
 * since they began, nor above their horizon: most rows of popped messages are deleted long before
 * their time, and a scan that looked for the next one would pass over all of those each time. */
#include <errno.h>

#include "storage/internal.h"

enum { DUE_SUSPENDED = 1 }; /* flag of a value */

static size_t due_key(char ret[DUE_KEY_MAX], const struct store_due *due)
{
	char *p = mq_put64(ret, (uint64_t)due->at_ms);

	p = mq_put8(p, (uint8_t)due->kind);
	p = mq_put64(p, (uint64_t)due->locator);
	return (size_t)(mq_put_bytes(p, due->group.p, due->group.n) - ret);
}

bool due_is_valid(const struct store_due *due)
{
	return (due->kind == STORE_DUE_MESSAGE && due->group.n == 0) ||
	       (due->kind == STORE_DUE_POP && due->group.n > 0 && due->group.n <= NAME_MAX_BYTES);
}

bool due_equals(const struct store_due *a, const struct store_due *b)
{
	return a->at_ms == b->at_ms && a->locator == b->locator && a->kind == b->kind && mq_slice_equal(a->group, b->group);
}

void due_put(rocksdb_writebatch_t *batch, struct store *s, const struct store_due *due)
{
	char key[DUE_KEY_MAX], value[DUE_POP_VALUE_SIZE];
	size_t n = due_key(key, due);

	mq_put8(mq_put64(value, (uint64_t)due->pop_at_ms), due->is_suspended ? DUE_SUSPENDED : 0);
	rocksdb_writebatch_put_cf(batch, s->cf[CF_DUE], key, n, value,
				  due->kind == STORE_DUE_POP ? sizeof value : 0);
}

void due_delete(rocksdb_writebatch_t *batch, struct store *s, const struct store_due *due)
{
	char key[DUE_KEY_MAX];

	rocksdb_writebatch_delete_cf(batch, s->cf[CF_DUE], key, due_key(key, due));
}

int due_check(struct store *s, const struct store_due *due)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	_cleanup_(pinnedp) rocksdb_pinnableslice_t *row = NULL;
	char key[DUE_KEY_MAX];

	row = rocksdb_get_pinned_cf(s->db, s->read_options[STORE_DISK], s->cf[CF_DUE], key, due_key(key, due), &text);
	return text ? -EIO : row ? 0 : -ENOENT;
}

void due_note(struct store *s, int64_t at_ms)
{
	LOCKED(&s->due_lock);

	if (at_ms < s->due_from_ms)
		s->due_from_ms = at_ms;
	if (at_ms < s->due_noted_ms)
		s->due_noted_ms = at_ms;
}

/* ---- scanning ---- */

static int64_t due_scan_begin(struct store *s)
{
	LOCKED(&s->due_lock);

	s->due_noted_ms = INT64_MAX;
	return s->due_from_ms;
}

/* No row before `first_ms` was there. */
static void due_scan_end(struct store *s, int64_t first_ms)
{
	LOCKED(&s->due_lock);

	s->due_from_ms = first_ms < s->due_noted_ms ? first_ms : s->due_noted_ms;
}

int due_parse(struct mq_slice key, struct mq_slice value, struct store_due *ret)
{
	struct store_due due = {};

	if (key.n < DUE_KEY_MIN || key.n > DUE_KEY_MAX)
		return -EBADMSG;
	due.at_ms = (int64_t)mq_get64(key.p);
	due.kind = (unsigned char)key.p[8];
	due.locator = (int64_t)mq_get64(key.p + 9);
	due.group = (struct mq_slice){ key.p + DUE_KEY_MIN, key.n - DUE_KEY_MIN };
	if (!due_is_valid(&due) || value.n != (due.kind == STORE_DUE_POP ? DUE_POP_VALUE_SIZE : 0))
		return -EBADMSG;
	if (due.kind == STORE_DUE_POP) {
		due.pop_at_ms = (int64_t)mq_get64(value.p);
		due.is_suspended = value.p[8] & DUE_SUSPENDED;
	}
	*ret = due;
	return 0;
}

static inline void readoptionsp(rocksdb_readoptions_t **options)
{
	rocksdb_readoptions_destroy(*options);
}

/* Where the scan begins; the shortest key behind `after`. */
static size_t due_first_key(char ret[DUE_KEY_MAX + 1], const struct store_due *after, int64_t from_ms)
{
	size_t n = due_key(ret, after ? after : &(struct store_due){ .at_ms = from_ms });

	if (after)
		ret[n++] = '\0';
	return n;
}

int store_due_scan(struct store *s, const struct store_due *after, int64_t until_ms, int64_t horizon_ms, unsigned max,
		   store_on_due on_due, void *user, int64_t *ret_next_ms)
{
	_cleanup_(readoptionsp) rocksdb_readoptions_t *options = rocksdb_readoptions_create();
	_cleanup_(iteratorp) rocksdb_iterator_t *it = NULL;
	/* Of what is before `after` this scan learns nothing. */
	int64_t from_ms = after ? 0 : due_scan_begin(s), first_ms = horizon_ms;
	enum store_verdict verdict = STORE_GO_ON;
	char key[DUE_KEY_MAX + 1], bound[DUE_KEY_MAX];
	struct store_due due = {};
	bool is_first = true;
	size_t n_key;
	int r;

	*ret_next_ms = horizon_ms;
	n_key = due_first_key(key, after, from_ms);
	/* The iterator stops there by itself: it does not look for the next row behind all that was deleted. */
	rocksdb_readoptions_set_iterate_upper_bound(options, bound, due_key(bound, &(struct store_due){ .at_ms = horizon_ms }));
	it = rocksdb_create_iterator_cf(s->db, options, s->cf[CF_DUE]);
	/* Rows and the records that they name are written under the append lock: whoever follows a row finds its record. */
	append_lock(s);
	append_unlock(s);
	for (rocksdb_iter_seek(it, key, n_key); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		if (due_parse(iterator_key(it), iterator_value(it), &due) < 0) {
			damage_note(s, CF_DUE, iterator_key(it), iterator_value(it));
			continue;
		}
		if (is_first)
			first_ms = due.at_ms;
		is_first = false;
		if (due.at_ms > until_ms || max == 0 || verdict == STORE_STOP) {
			*ret_next_ms = due.at_ms;
			break;
		}
		verdict = on_due(user, &due);
		max--;
	}
	r = read_status(it);
	if (r == 0 && !after)
		due_scan_end(s, first_ms);
	return r;
}

/* ---- retention ---- */

struct due_search {
	struct store *s;
	struct store_queue *q;
	int64_t limit, found;
	int error;
};

static enum store_verdict due_search_record(void *user, int64_t offset, int64_t tag_hash,
					    struct mq_slice record)
{
	struct due_search *search = user;
	struct store_due due = {
		.at_ms = tag_hash, .kind = STORE_DUE_MESSAGE, .locator = locator_make(search->q->number, offset)
	};
	int r;

	keeper_goes_on(search->s);
	if (offset >= search->limit)
		return STORE_STOP;
	r = due_check(search->s, &due);
	if (r == -ENOENT)
		return STORE_GO_ON;
	if (r < 0)
		search->error = r;
	else
		search->found = offset;
	return STORE_STOP;
}

int64_t due_limit(struct store *s, struct store_queue *q, int64_t new_min)
{
	struct due_search search = { .s = s, .q = q, .limit = new_min, .found = -1 };
	int64_t next;
	int r;

	if (!q->keeps_due)
		return new_min;
	r = store_scan(s, q, atomic_load(&q->min), STORE_DISK, due_search_record, &search, &next);
	if (r < 0 || search.error < 0)
		return r < 0 ? r : search.error;
	if (search.found >= 0)
		return search.found;
	return new_min < next ? new_min : next;
}
