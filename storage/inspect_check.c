/* Verifies a stopped store: every record against the place where it was found, every row against what it refers to. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "libmq/wire/message_properties.h"
#include "libmq/wire/record.h"
#include "storage/inspect_internal.h"

static void fault(struct inspect *in, const char *fmt, ...) _printf_(2, 3);

static void fault(struct inspect *in, const char *fmt, ...)
{
	char sentence[1500];
	va_list ap;

	in->sum.n_faults++;
	if (!in->on_fault)
		return;
	va_start(ap, fmt);
	vsnprintf(sentence, sizeof sentence, fmt, ap);
	va_end(ap);
	in->on_fault(in->user, sentence);
}

static void fault_row(struct inspect *in, enum system_family family, const rocksdb_iterator_t *it)
{
	char text[DAMAGE_TEXT_MAX];

	damage_text(text, family, iterator_key(it), iterator_value(it));
	fault(in, "%s", text);
}

static void check_families(struct inspect *in)
{
	for (size_t i = 0; i < in->n_queues; i++) {
		struct inspected_queue *q = &in->queues[i];

		if (q->q.family[0] && !q->family)
			fault(in, "queue %u (%.*s/%d): its column family %s is missing", q->q.number, MQ_FMT(q->q.topic), q->q.queue_id,
			      q->q.family);
		if (i > 0 && inspect_queue_compare(&in->sorted[i - 1], &in->sorted[i]) == 0)
			fault(in, "topic %.*s queue %d has two rows", MQ_FMT(in->sorted[i]->q.topic), in->sorted[i]->q.queue_id);
	}
	for (size_t i = 0; i < in->n_families; i++) {
		struct inspect_family *f = &in->families[i];

		in->sum.n_families++;
		if (f->n_queues == 0 && !f->is_shared)
			in->sum.n_spare_families++;
		if (f->n_queues > 1 && !f->is_shared)
			fault(in, "column family %s is claimed by %u queues", f->name, f->n_queues);
	}
}

static void check_has_index_row(struct inspect *in, const struct inspected_queue *q, const struct mq_record *r, struct mq_slice key)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	_cleanup_(pinnedp) rocksdb_pinnableslice_t *row = NULL;
	char name[INDEX_KEY_SIZE];

	index_key(name, index_hash(r->topic, key), r->store_at_ms, r->physical_offset);
	row = rocksdb_get_pinned_cf(in->db, in->read_options, in->cf[CF_INDEX], name, sizeof name, &text);
	if (!row)
		fault(in, "%.*s/%d offset %lld: the index has no row for its key %.*s", MQ_FMT(q->q.topic), q->q.queue_id,
		      (long long)r->queue_offset, MQ_FMT(key));
}

static void check_keys(struct inspect *in, const struct inspected_queue *q, const struct mq_record *r)
{
	struct mq_slice keys = mq_properties_get(r->properties, MQ_PROPERTY_KEYS), key;

	while ((key = index_next_key(&keys)).n > 0)
		check_has_index_row(in, q, r, key);
	key = mq_properties_get(r->properties, MQ_PROPERTY_UNIQ_KEY);
	if (key.n > 0 && !mq_properties_get(r->properties, MQ_PROPERTY_TIMER_DEL_UNIQKEY).p)
		check_has_index_row(in, q, r, key);
}

/* Consumers are filtered by it. What waits in `due`, or waited there, has its time in place of it, which no hash reaches. */
static void check_tag_hash(struct inspect *in, const struct inspected_queue *q, int64_t offset, int64_t tag_hash, const struct mq_record *r)
{
	struct mq_slice tags = mq_properties_get(r->properties, MQ_PROPERTY_TAGS);

	if (tag_hash <= INT32_MAX && tag_hash != (tags.n > 0 ? mq_java_hash(tags) : 0))
		fault(in, "%.*s/%d offset %lld: the tag hash is not that of its tag", MQ_FMT(q->q.topic), q->q.queue_id,
		      (long long)offset);
}

/* The record's own members against the place where it was found. */
static void check_record(struct inspect *in, const struct inspected_queue *q, int64_t offset, struct mq_slice value, int64_t *last_at_ms)
{
	struct mq_slice record = { value.p + RECORD_VALUE_PREFIX, value.n - RECORD_VALUE_PREFIX };
	struct mq_record r;
	int size;

	size = value.n < RECORD_VALUE_PREFIX + RECORD_SIZE_MIN ? -EBADMSG : mq_record_decode(record, &r);
	if (size < 0 || (size_t)size != record.n) {
		fault(in, "%.*s/%d offset %lld: not a message record", MQ_FMT(q->q.topic), q->q.queue_id, (long long)offset);
		return;
	}
	if (r.queue_offset != offset)
		fault(in, "%.*s/%d offset %lld: the record says offset %lld", MQ_FMT(q->q.topic), q->q.queue_id, (long long)offset,
		      (long long)r.queue_offset);
	if (r.physical_offset != locator_make(q->q.number, offset))
		fault(in, "%.*s/%d offset %lld: the record has another locator, %lld", MQ_FMT(q->q.topic), q->q.queue_id,
		      (long long)offset, (long long)r.physical_offset);
	if (r.queue_id != q->q.queue_id || !mq_slice_equal(r.topic, q->q.topic))
		fault(in, "%.*s/%d offset %lld: the record belongs to %.*s/%d", MQ_FMT(q->q.topic), q->q.queue_id, (long long)offset,
		      MQ_FMT(r.topic), r.queue_id);
	if (r.body_crc != mq_body_crc(r.body))
		fault(in, "%.*s/%d offset %lld: the body does not match its CRC", MQ_FMT(q->q.topic), q->q.queue_id, (long long)offset);
	if (r.store_at_ms < *last_at_ms)
		fault(in, "%.*s/%d offset %lld: stored before the message in front of it", MQ_FMT(q->q.topic), q->q.queue_id,
		      (long long)offset);
	*last_at_ms = r.store_at_ms;
	check_tag_hash(in, q, offset, (int64_t)mq_get64(value.p), &r);
	if (r.physical_offset == locator_make(q->q.number, offset) && mq_slice_equal(r.topic, q->q.topic))
		check_keys(in, q, &r);
	in->sum.n_records++;
	in->sum.record_bytes += record.n;
}

/* All records of one family. In key order, so each queue's come together and in order of their offsets. */
static int check_family(struct inspect *in, struct inspect_family *f, struct mq_error *err)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it = inspect_iterator(in, f->cf);
	int64_t expected = 0, last_at_ms = 0;
	struct inspected_queue *q = NULL;

	if (f->n_queues == 0 && !f->is_shared)
		return 0; /* what a deleted topic left until the broker drops it */
	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		struct mq_slice key = iterator_key(it);
		int64_t offset;
		uint32_t number;

		if (key.n != RECORD_KEY_SIZE) {
			fault(in, "column family %s: a key of %zu bytes, not %d", f->name, key.n, RECORD_KEY_SIZE);
			continue;
		}
		number = mq_get32(key.p);
		offset = (int64_t)mq_get64(key.p + 4);
		if (!q || q->q.number != number) {
			q = inspect_queue_by_number(in, number);
			if (!q || q->family != f) {
				fault(in, "column family %s: records of queue %u, which does not live there", f->name, number);
				q = NULL;
				continue;
			}
			expected = q->q.min;
			last_at_ms = 0;
		}
		if (offset < q->q.min)
			continue; /* retention drops whole files: what is left of one is invisible */
		if (offset != expected)
			fault(in, "%.*s/%d: offsets %lld to %lld are missing", MQ_FMT(q->q.topic), q->q.queue_id, (long long)expected,
			      (long long)offset - 1);
		expected = offset + 1;
		check_record(in, q, offset, iterator_value(it), &last_at_ms);
	}
	return inspect_status(in, it, f->name, err);
}

/* Fetches the record behind a locator. 0; STORE_NONE: below the minimum, or its queue was deleted; -ENOENT: missing. */
static int check_fetch(struct inspect *in, int64_t locator, rocksdb_pinnableslice_t **ret_row, struct mq_record *ret)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	struct inspected_queue *q = locator < 0 ? NULL : inspect_queue_by_number(in, locator_queue(locator));
	char key[RECORD_KEY_SIZE];
	struct mq_slice value;

	if (!q || locator_offset(locator) < q->q.min)
		return STORE_NONE;
	if (!q->family)
		return -ENOENT;
	record_key(key, q->q.number, locator_offset(locator));
	*ret_row = rocksdb_get_pinned_cf(in->db, in->read_options, q->family->cf, key, sizeof key, &text);
	if (!*ret_row)
		return -ENOENT;
	value.p = rocksdb_pinnableslice_value(*ret_row, &value.n);
	if (value.n < RECORD_VALUE_PREFIX + RECORD_SIZE_MIN ||
	    mq_record_decode((struct mq_slice){ value.p + RECORD_VALUE_PREFIX, value.n - RECORD_VALUE_PREFIX }, ret) < 0)
		return -ENOENT;
	return 0;
}

static bool record_has_key(const struct mq_record *r, uint64_t hash)
{
	struct mq_slice keys = mq_properties_get(r->properties, MQ_PROPERTY_KEYS), key;

	while ((key = index_next_key(&keys)).n > 0)
		if (index_hash(r->topic, key) == hash)
			return true;
	key = mq_properties_get(r->properties, MQ_PROPERTY_UNIQ_KEY);
	return key.n > 0 && index_hash(r->topic, key) == hash;
}

static void check_index_row(struct inspect *in, struct mq_slice key)
{
	_cleanup_(pinnedp) rocksdb_pinnableslice_t *row = NULL;
	int64_t at_ms = (int64_t)mq_get64(key.p + 12), locator = (int64_t)mq_get64(key.p + 20);
	uint64_t hash = mq_get64(key.p + 4);
	struct mq_record record;
	int r;

	if (mq_get32(key.p) != index_hour(at_ms))
		fault(in, "index: the row of locator %lld is filed under a wrong hour", (long long)locator);
	r = check_fetch(in, locator, &row, &record);
	if (r == STORE_NONE)
		return;
	if (r < 0)
		fault(in, "index: a row names locator %lld, where no message is", (long long)locator);
	else if (record.store_at_ms != at_ms)
		fault(in, "index: the row of locator %lld has another store time than the message", (long long)locator);
	else if (!record_has_key(&record, hash))
		fault(in, "index: a row names locator %lld under a key that the message does not have", (long long)locator);
}

static int check_index(struct inspect *in, struct mq_error *err)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it = inspect_iterator(in, in->cf[CF_INDEX]);

	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		struct mq_slice key = iterator_key(it);

		in->sum.n_index_rows++;
		if (key.n != INDEX_KEY_SIZE)
			fault(in, "index: a row of %zu bytes, not %d", key.n, INDEX_KEY_SIZE);
		else
			check_index_row(in, key);
	}
	return inspect_status(in, it, "the index", err);
}

static int check_half(struct inspect *in, struct mq_error *err)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it = inspect_iterator(in, in->cf[CF_HALF]);

	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		_cleanup_(pinnedp) rocksdb_pinnableslice_t *row = NULL;
		struct mq_record record;
		struct store_half half;

		in->sum.n_half_rows++;
		if (half_parse(iterator_key(it), iterator_value(it), &half) < 0)
			fault_row(in, CF_HALF, it);
		else if (check_fetch(in, half.locator, &row, &record) == -ENOENT)
			fault(in, "half: a transaction is open for locator %lld, where no message is", (long long)half.locator);
	}
	return inspect_status(in, it, "the half messages", err);
}

static void check_due_row(struct inspect *in, const struct store_due *due)
{
	_cleanup_(pinnedp) rocksdb_pinnableslice_t *row = NULL;
	struct inspected_queue *q = due->locator < 0 ? NULL : inspect_queue_by_number(in, locator_queue(due->locator));
	struct mq_record record;
	size_t n;
	int r;

	r = check_fetch(in, due->locator, &row, &record);
	if (r == STORE_NONE && q && due->kind == STORE_DUE_MESSAGE)
		fault(in, "due: the message of locator %lld waits, but was dropped", (long long)due->locator);
	else if (r < 0)
		fault(in, "due: a row names locator %lld, where no message is", (long long)due->locator);
	else if (r == 0 && due->kind == STORE_DUE_MESSAGE && (int64_t)mq_get64(rocksdb_pinnableslice_value(row, &n)) != due->at_ms)
		fault(in, "due: the row of locator %lld has another time than the message", (long long)due->locator);
}

static int check_due(struct inspect *in, struct mq_error *err)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it = inspect_iterator(in, in->cf[CF_DUE]);

	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		struct store_due due;

		in->sum.n_due_rows++;
		if (due_parse(iterator_key(it), iterator_value(it), &due) < 0)
			fault_row(in, CF_DUE, it);
		else
			check_due_row(in, &due);
	}
	return inspect_status(in, it, "what is due", err);
}

static int check_offsets(struct inspect *in, struct mq_error *err)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it = inspect_iterator(in, in->cf[CF_OFFSETS]);

	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		struct mq_slice group, topic;
		int32_t queue_id;

		in->sum.n_offset_rows++;
		if (iterator_value(it).n != 8 || offset_key_parse(iterator_key(it), &group, &topic, &queue_id) < 0)
			fault_row(in, CF_OFFSETS, it);
	}
	return inspect_status(in, it, "the consumer offsets", err);
}

static int check_meta(struct inspect *in, struct mq_error *err)
{
	_cleanup_(iteratorp) rocksdb_iterator_t *it = inspect_iterator(in, in->cf[CF_META]);
	char prefix_key[META_KEY_MAX];
	struct mq_slice prefix = inspect_queue_prefix(prefix_key);
	uint32_t next_number = 0, last_number = in->n_queues > 0 ? in->queues[in->n_queues - 1].q.number : 0;
	bool has_format = false;

	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		struct mq_slice key = iterator_key(it), value = iterator_value(it);
		struct queue_row row;

		in->sum.n_meta_rows++;
		if (mq_slice_equal(key, MQ_SLICE(META_STORE "\0format")))
			has_format = true;
		if (mq_slice_equal(key, MQ_SLICE(META_STORE "\0next-queue")))
			next_number = value.n == 4 ? mq_get32(value.p) : 0;
		if (mq_slice_equal(key, MQ_SLICE(META_STORE "\0counters")) && value.n != COUNTERS_ROW_SIZE)
			fault(in, "meta: the row of the counters is damaged");
		if (mq_slice_starts(key, prefix) &&
		    (key.n != prefix.n + 4 || queue_row_decode(value, &row) < 0))
			fault(in, "meta: the row of a queue is damaged");
	}
	/* A number that is given out twice would show one queue's messages in another. */
	if (next_number <= last_number && last_number > 0)
		fault(in, "meta: the next queue number is %u, but queue %u exists", next_number, last_number);
	if (!has_format)
		fault(in, "meta: there is no format row");
	return inspect_status(in, it, "the metadata", err);
}

int inspect_check(struct inspect *in, inspect_on_fault on_fault, void *user, struct inspect_summary *ret, struct mq_error *err)
{
	int r;

	in->sum = (struct inspect_summary){ .sequence = in->sum.sequence, .durable_sequence = in->sum.durable_sequence,
					    .n_queues = in->n_queues };
	in->on_fault = on_fault;
	in->user = user;
	if (in->sum.sequence < in->sum.durable_sequence)
		fault(in, "the log ends %llu changes before the point that was on the disk",
		      (unsigned long long)(in->sum.durable_sequence - in->sum.sequence));
	check_families(in);
	r = check_meta(in, err);
	for (size_t i = 0; r == 0 && i < in->n_families; i++)
		r = check_family(in, &in->families[i], err);
	if (r == 0)
		r = check_index(in, err);
	if (r == 0)
		r = check_half(in, err);
	if (r == 0)
		r = check_due(in, err);
	if (r == 0)
		r = check_offsets(in, err);
	*ret = in->sum;
	return r;
}
