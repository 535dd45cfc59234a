/* Appending. Happy path: store_commit() puts the turn on the pending list; whoever gets the append lock takes all pending turns
 * along, gives each record offset and store time, writes one batch, publishes the maxima, lets the lock go, then calls
 * on_append() and done(). With SYNC_FLUSH the flusher publishes and calls, after the sync (flush.c). Who finds the lock taken leaves:
 * the holder looks at the list again after it let go.
 *
 * An op is the unit that lives or dies: refused alone, it takes no other along. An op whose queue has no family yet waits in the
 * `parked` list, in order, and later ops on its queues wait behind it; the keeper makes families and calls append_retry(). */
#include <errno.h>
#include <stdlib.h>

#include "libmq/wire/record.h"
#include "storage/internal.h"

enum {
	ROUND_RECORDS = 512,  /* beyond that only latency grows (measured) */
	ROUND_BYTES = 1 << 20,
	ROUNDS_MAX = 16,      /* for others, before the flusher takes over: this loop has connections of its own */
};

/* What one hold of the append lock did. */
struct round {
	uint64_t id;
	int64_t now_ms;
	struct store_op_list staged;   /* in the batch, by stage_link */
	unsigned n_records;
	size_t bytes;
	struct store_turn_list done;   /* turns whose last op was decided */
	unsigned n_taken, n_done;
	bool has_deletes;              /* an op deletes rows of `due` */
	int64_t due_first_ms;          /* the earliest row of `due` in the batch, INT64_MAX without any */
	size_t n_grown, n_grown_max;
	struct grown *grown;           /* `few`, or owned when an op has more records than that */
	int64_t taken[ROUND_RECORDS];  /* half messages that ops of this batch end */
	struct store_due dues[ROUND_RECORDS]; /* rows of `due` that ops of this batch do: n_done */
	struct grown few[ROUND_RECORDS];
};

static void round_init(struct round *r)
{
	r->n_records = r->n_taken = r->n_done = 0;
	r->has_deletes = false;
	r->due_first_ms = INT64_MAX;
	r->bytes = r->n_grown = 0;
	r->grown = r->few;
	r->n_grown_max = N_ELEMENTS(r->few);
	STAILQ_INIT(&r->staged);
	STAILQ_INIT(&r->done);
}

static void round_done(struct round *r)
{
	if (r->grown != r->few)
		free(r->grown);
}

void store_op_init(struct store_op *op)
{
	*op = (struct store_op){ .take_half = -1 };
}

void store_turn_init(struct store_turn *turn, void (*done)(struct store_turn *turn), void *user)
{
	*turn = (struct store_turn){ .done = done, .user = user };
	STAILQ_INIT(&turn->ops);
}

void store_turn_add(struct store_turn *turn, struct store_op *op)
{
	op->turn = turn;
	op->result = 0;
	if (op->n_offset_puts > 0 && op->offset_order == 0)
		op->offset_order = offsets_order();
	for (unsigned i = 0; i < op->n_records; i++)
		turn->bytes += op->records[i].n_head + op->records[i].body.n + op->records[i].tail.n;
	turn->n_open++;
	STAILQ_INSERT_TAIL(&turn->ops, op, link);
}

/* ---- one op ---- */

static void round_decide(struct round *r, struct store_op *op, int result)
{
	struct store_turn *turn = op->turn;

	op->result = result;
	if (result == 0 && !op->no_wait)
		turn->wants_sync = true;
	if (--turn->n_open == 0)
		STAILQ_INSERT_TAIL(&r->done, turn, link);
}

/* Room for all queues of one more op. */
static int round_reserve(struct round *r, const struct store_op *op)
{
	size_t wanted = r->n_grown + op->n_records;
	struct grown *more;

	if (wanted <= r->n_grown_max)
		return 0;
	more = malloc(wanted * sizeof *more);
	if (!more)
		return -ENOMEM;
	memcpy(more, r->grown, r->n_grown * sizeof *more);
	round_done(r);
	r->grown = more;
	r->n_grown_max = wanted;
	return 0;
}

static int op_check_half(struct store *s, const struct round *r, int64_t locator)
{
	for (unsigned i = 0; i < r->n_taken; i++)
		if (r->taken[i] == locator)
			return -ENOENT;
	return half_check(s, locator);
}

/* An op of this batch does the row or deletes it: an acknowledgement that comes first is the first. */
static int op_check_due(struct store *s, const struct round *r, const struct store_due *due)
{
	const struct store_op *op;

	for (unsigned i = 0; i < r->n_done; i++)
		if (due_equals(&r->dues[i], due))
			return -ENOENT;
	if (r->has_deletes)
		STAILQ_FOREACH(op, &r->staged, stage_link)
			for (unsigned i = 0; i < op->n_due_deletes; i++)
				if (due_equals(&op->due_deletes[i], due))
					return -ENOENT;
	return due_check(s, due);
}

/* All names can be put. */
static bool op_is_valid(const struct store_op *op)
{
	char key[META_KEY_MAX];

	for (unsigned i = 0; i < op->n_offset_puts; i++)
		if (!offset_put_is_valid(&op->offset_puts[i]))
			return false;
	for (unsigned i = 0; i < op->n_due_puts; i++)
		if (!due_is_valid(&op->due_puts[i]))
			return false;
	for (unsigned i = 0; i < op->n_due_deletes; i++)
		if (!due_is_valid(&op->due_deletes[i]))
			return false;
	for (unsigned i = 0; i < op->n_meta_puts; i++)
		if (meta_key(key, op->meta_puts[i].kind, op->meta_puts[i].name) == 0)
			return false;
	return op->take_due.kind == STORE_DUE_NONE || due_is_valid(&op->take_due);
}

enum { OP_PARK = 1 };

/* 0: can be staged; OP_PARK; or why it is refused. */
static int op_prepare(struct store *s, struct round *r, const struct store_op *op)
{
	int state = atomic_load(&s->state), result;

	/* What consumers note is small, and leads to space: it goes on as long as committed offsets do. */
	if (state == STORE_NO_SPACE && op->n_records == 0 && !space_is_critical(s))
		state = STORE_WRITABLE;
	if (state != STORE_WRITABLE)
		return state == STORE_NO_SPACE ? -ENOSPC : -EIO;
	for (unsigned i = 0; i < op->n_records; i++) {
		struct store_queue *q = op->records[i].queue;

		if (q->is_deleted)
			return -ENOENT;
		if (q->next_offset + op->n_records >= (int64_t)1 << QUEUE_OFFSET_BITS ||
		    (q->number == 0 && s->next_number >= 1u << QUEUE_NUMBER_BITS))
			return -EOVERFLOW;
	}
	if (!op_is_valid(op))
		return -EINVAL;
	for (unsigned i = 0; i < op->n_offset_puts; i++)
		if (offset_put_is_late(s, &op->offset_puts[i]))
			return -ENOENT;
	result = round_reserve(r, op);
	if (result == 0 && op->take_half >= 0)
		result = op_check_half(s, r, op->take_half);
	if (result == 0 && op->note_half.n_checks > 0)
		result = op_check_half(s, r, op->note_half.locator);
	if (result == 0 && op->take_due.kind != STORE_DUE_NONE)
		result = op_check_due(s, r, &op->take_due);
	if (result < 0)
		return result;
	for (unsigned i = 0; i < op->n_records; i++) {
		struct store_queue *q = op->records[i].queue;

		if (q->n_parked > 0 || (!q->family && !queue_assign(s, q)))
			return OP_PARK;
	}
	return 0;
}

static void op_park(struct store *s, struct store_op *op)
{
	for (unsigned i = 0; i < op->n_records; i++)
		op->records[i].queue->n_parked++;
	STAILQ_INSERT_TAIL(&s->parked, op, stage_link);
}

/* Before the record itself: its tag hash may say when it is due. */
static void record_stage_due(struct store *s, struct round *r, struct store_record *rec)
{
	if (rec->due_after_ms > 0)
		rec->due_at_ms = r->now_ms + rec->due_after_ms;
	if (rec->due_kind == STORE_DUE_MESSAGE)
		rec->tag_hash = rec->due_at_ms;
	due_put(s->batch, s, &(struct store_due){ .at_ms = rec->due_at_ms, .kind = rec->due_kind, .locator = rec->locator });
	if (rec->due_at_ms < r->due_first_ms)
		r->due_first_ms = rec->due_at_ms;
}

static void record_stage(struct store *s, struct round *r, struct store_record *rec)
{
	struct store_queue *q = rec->queue;
	char key[RECORD_KEY_SIZE], tag_hash[RECORD_VALUE_PREFIX];
	const char *keys[] = { key };
	const size_t key_sizes[] = { sizeof key };
	const char *parts[] = { tag_hash, rec->head, rec->body.p ? rec->body.p : "", rec->tail.p ? rec->tail.p : "" };
	const size_t sizes[] = { sizeof tag_hash, rec->n_head, rec->body.n, rec->tail.n };

	if (q->grown_in != r->id) {
		q->grown_in = r->id;
		r->grown[r->n_grown++] = (struct grown){ .queue = q,
							 .old_next_offset = q->next_offset,
							 .old_last_at_ms = q->last_at_ms,
							 .had_row = q->has_row };
	}
	if (!q->has_row) {
		char number[4];

		queue_row_put(s->batch, s, q, atomic_load(&q->min));
		mq_put32(number, s->next_number);
		meta_stage(s->batch, s, META_STORE, MQ_SLICE("next-queue"), (struct mq_slice){ number, sizeof number });
		q->has_row = true;
	}

	/* The clock may go back, the store times of a queue do not: search by time is binary. */
	if (r->now_ms > q->last_at_ms)
		q->last_at_ms = r->now_ms;
	rec->queue_offset = q->next_offset++;
	rec->locator = locator_make(q->number, rec->queue_offset);
	rec->store_at_ms = q->last_at_ms;
	mq_record_patch(rec->head, rec->queue_offset, rec->locator, rec->store_at_ms);

	if (rec->due_kind != STORE_DUE_NONE)
		record_stage_due(s, r, rec);
	record_key(key, q->number, rec->queue_offset);
	mq_put64(tag_hash, (uint64_t)rec->tag_hash);
	rocksdb_writebatch_putv_cf(s->batch, q->family->cf, N_ELEMENTS(keys), keys, key_sizes, N_ELEMENTS(parts), parts, sizes);
	index_put(s->batch, s, rec);
	if (rec->is_half)
		half_put(s->batch, s, rec->locator, 0);

	r->n_records++;
	r->bytes += rec->n_head + rec->body.n + rec->tail.n;
}

/* Deletes first: a row that is put anew for the same time stays. */
static void op_stage_rows(struct store *s, struct round *r, const struct store_op *op)
{
	for (unsigned i = 0; i < op->n_due_deletes; i++)
		due_delete(s->batch, s, &op->due_deletes[i]);
	r->has_deletes |= op->n_due_deletes > 0;
	for (unsigned i = 0; i < op->n_due_puts; i++) {
		due_put(s->batch, s, &op->due_puts[i]);
		if (op->due_puts[i].at_ms < r->due_first_ms)
			r->due_first_ms = op->due_puts[i].at_ms;
	}
	for (unsigned i = 0; i < op->n_meta_puts; i++)
		meta_stage(s->batch, s, op->meta_puts[i].kind, op->meta_puts[i].name, op->meta_puts[i].value);
}

static void op_stage(struct store *s, struct round *r, struct store_op *op)
{
	int result = op_prepare(s, r, op);

	if (result == OP_PARK) {
		op_park(s, op);
		return;
	}
	if (result < 0) {
		round_decide(r, op, result);
		return;
	}
	for (unsigned i = 0; i < op->n_records; i++)
		record_stage(s, r, &op->records[i]);
	for (unsigned i = 0; i < op->n_offset_puts; i++)
		offsets_stage(s->batch, s, &op->offset_puts[i], op->offset_order);
	if (op->take_half >= 0) {
		half_delete(s->batch, s, op->take_half);
		r->taken[r->n_taken++] = op->take_half;
	}
	if (op->note_half.n_checks > 0)
		half_put(s->batch, s, op->note_half.locator, op->note_half.n_checks);
	if (op->take_due.kind != STORE_DUE_NONE) {
		due_delete(s->batch, s, &op->take_due);
		r->dues[r->n_done++] = op->take_due;
	}
	op_stage_rows(s, r, op);
	STAILQ_INSERT_TAIL(&r->staged, op, stage_link);
}

/* ---- one round ---- */

/* Takes what arrived, and what waited for a family if there are new ones. */
static void round_take(struct store *s)
{
	bool is_retry;

	pthread_mutex_lock(&s->pending_lock);
	STAILQ_CONCAT(&s->taken, &s->pending);
	is_retry = s->wants_retry;
	s->wants_retry = false;
	pthread_mutex_unlock(&s->pending_lock);
	if (!is_retry)
		return;

	struct store_op *op;

	STAILQ_FOREACH(op, &s->parked, stage_link)
		for (unsigned i = 0; i < op->n_records; i++)
			op->records[i].queue->n_parked--;
	/* While an earlier retry is not through, only its own ops are looked at: what is parked now came before its rest. */
	STAILQ_CONCAT(&s->parked, &s->retried);
	STAILQ_CONCAT(&s->retried, &s->parked);
	pthread_mutex_lock(&s->spares_lock);
	s->n_wanted = 0;
	pthread_mutex_unlock(&s->spares_lock);
}

/* The next op to look at: those that waited come first. */
static struct store_op *round_next(struct store *s)
{
	struct store_turn *turn;
	struct store_op *op = STAILQ_FIRST(&s->retried);

	if (op) {
		STAILQ_REMOVE_HEAD(&s->retried, stage_link);
		return op;
	}
	turn = STAILQ_FIRST(&s->taken);
	if (!turn)
		return NULL;
	op = turn->next_op;
	turn->next_op = STAILQ_NEXT(op, link);
	/* The turn itself is kept alive by its open ops. */
	if (!turn->next_op)
		STAILQ_REMOVE_HEAD(&s->taken, link);
	return op;
}

static void round_publish(struct store *s, struct round *r)
{
	for (size_t i = 0; i < r->n_grown; i++) {
		struct store_queue *q = r->grown[i].queue;

		if (atomic_load(&q->written) == atomic_load(&q->min))
			atomic_store(&q->first_at_ms, q->last_at_ms);
		r->grown[i].new_max = q->next_offset;
		atomic_store(&q->written, q->next_offset);
		if (!s->cfg.sync_flush)
			atomic_store(&q->max, q->next_offset);
	}
	atomic_store(&s->messages_put, s->counters.messages);
	atomic_store(&s->bytes_put, s->counters.bytes);
}

/* Nothing was written: as if nobody had asked. */
static void round_take_back(struct store *s, struct round *r)
{
	for (size_t i = 0; i < r->n_grown; i++) {
		struct grown *g = &r->grown[i];

		g->queue->next_offset = g->old_next_offset;
		g->queue->last_at_ms = g->old_last_at_ms;
		g->queue->has_row = g->had_row;
	}
	r->n_grown = 0;
	s->counters.messages -= r->n_records;
	s->counters.bytes -= r->bytes;
}

static void round_run(struct store *s, struct round *r)
{
	struct store_op *op;
	int result = 0;

	space_check_burst(s);
	r->id = ++s->round;
	r->now_ms = mq_wall_ms(s->cfg.clock);
	round_take(s);

	for (unsigned n = 0; n < ROUND_RECORDS && r->n_records < ROUND_RECORDS && r->bytes < ROUND_BYTES; n++) {
		op = round_next(s);
		if (!op)
			break;
		op_stage(s, r, op);
	}
	if (STAILQ_EMPTY(&r->staged))
		return;

	if (r->n_records > 0) {
		s->counters.messages += r->n_records;
		s->counters.bytes += r->bytes;
		counters_stage(s->batch, s);
	}
	result = store_write_locked(s, s->batch);
	rocksdb_writebatch_clear(s->batch);
	if (result == 0)
		round_publish(s, r);
	else
		round_take_back(s, r);
	if (result == 0 && r->due_first_ms < INT64_MAX)
		due_note(s, r->due_first_ms);
	else
		r->due_first_ms = INT64_MAX;
	while ((op = STAILQ_FIRST(&r->staged))) {
		int op_result = result;

		STAILQ_REMOVE_HEAD(&r->staged, stage_link);
		for (unsigned i = 0; op_result == 0 && i < op->n_offset_puts; i++)
			op_result = offsets_commit(s, &op->offset_puts[i], op->offset_order);
		round_decide(r, op, op_result);
	}
}

/* Append lock not held. */
static void round_finish(struct store *s, struct round *r)
{
	struct store_turn_list waiting = STAILQ_HEAD_INITIALIZER(waiting);
	struct store_turn *turn;

	if (s->cfg.on_append && !s->cfg.sync_flush)
		for (size_t i = 0; i < r->n_grown; i++)
			s->cfg.on_append(s->cfg.user, r->grown[i].queue, r->grown[i].new_max);
	if (s->cfg.on_due && r->due_first_ms < INT64_MAX)
		s->cfg.on_due(s->cfg.user, r->due_first_ms);
	while ((turn = STAILQ_FIRST(&r->done))) {
		STAILQ_REMOVE_HEAD(&r->done, link);
		if (s->cfg.sync_flush && turn->wants_sync)
			STAILQ_INSERT_TAIL(&waiting, turn, link);
		else
			turn->done(turn);
	}
	if (s->cfg.sync_flush && (r->n_grown > 0 || !STAILQ_EMPTY(&waiting)))
		flush_enqueue(s, &waiting, r->grown, r->n_grown);
}

/* Lets the append lock go. True: there is something to take along. */
static bool append_let_go(struct store *s)
{
	bool has_more = !STAILQ_EMPTY(&s->taken) || !STAILQ_EMPTY(&s->retried);

	pthread_mutex_unlock(&s->append_lock);
	LOCKED(&s->pending_lock);
	return has_more || !STAILQ_EMPTY(&s->pending) || s->wants_retry;
}

void append_drain(struct store *s)
{
	for (int n = 0; n < ROUNDS_MAX; n++) {
		struct round r;
		bool has_more;

		/* Taken: its holder looks at the list again after letting go, so this turn is not forgotten. */
		if (pthread_mutex_trylock(&s->append_lock))
			return;
		round_init(&r);
		round_run(s, &r);
		has_more = append_let_go(s);
		round_finish(s, &r);
		round_done(&r);
		/* Looked at before the callbacks: what came meanwhile found the lock free. */
		if (!has_more)
			return;
	}
	flush_wake_drain(s);
}

void append_lock(struct store *s)
{
	pthread_mutex_lock(&s->append_lock);
}

void append_unlock(struct store *s)
{
	if (append_let_go(s))
		append_drain(s);
}

bool append_is_idle(struct store *s)
{
	bool is_idle;

	pthread_mutex_lock(&s->append_lock);
	is_idle = STAILQ_EMPTY(&s->parked);
	return !append_let_go(s) && is_idle;
}

void store_commit(struct store *s, struct store_turn *turn)
{
	turn->next_op = STAILQ_FIRST(&turn->ops);
	turn->wants_sync = false;
	if (!turn->next_op) {
		turn->done(turn);
		return;
	}
	pthread_mutex_lock(&s->pending_lock);
	STAILQ_INSERT_TAIL(&s->pending, turn, link);
	pthread_mutex_unlock(&s->pending_lock);
	append_drain(s);
}

void append_retry(struct store *s)
{
	pthread_mutex_lock(&s->pending_lock);
	s->wants_retry = true;
	pthread_mutex_unlock(&s->pending_lock);
	append_drain(s);
}
