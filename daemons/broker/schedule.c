#include "daemons/broker/schedule.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/delay.h"
#include "daemons/broker/message.h"
#include "daemons/broker/messages.h"
#include "daemons/broker/pop_inflight.h"
#include "daemons/broker/pop_revive.h"
#include "daemons/broker/stats.h"
#include "libmq/base/bytes.h"
#include "libmq/base/cleanup.h"
#include "libmq/base/log.h"
#include "libmq/wire/fields.h"
#include "libmq/wire/message_properties.h"

enum {
	TURN_ROWS = 256, /* rows of `due` in one turn: sends of others go between two turns */
	TURN_BYTES = 512 << 10,
	LOOK_MS = 1000,	 /* the clock may have been set */
	RETRY_MS = 1000, /* after a turn that the store refused */
	RECALLS_MAX = 64, /* messages with the same unique id */
	GROUP_BYTES = 64 << 10, /* of the names of groups in one turn */
	GROUP_MAX = 1024,	/* bytes of one that a row may have */
	TIMES_SIZE = 128, /* bytes of TIMER_ENQUEUE_MS and TIMER_DEQUEUE_MS with their names */
	COMPLAINT_MS = 60000, /* between two journal lines about records that are dropped, or cannot be read */
	UNREADABLE_MS = 10000, /* after that what could not be read is tried again */
};

/* One message on its way: the stored record is copied behind the struct, then the new tail. */
struct delivery {
	STAILQ_ENTRY(delivery) link;
	struct store_op op;
	struct store_record record;
	/* Of a level: how far its queue is delivered with this one. 0: of none. */
	int32_t level;
	int64_t passed;
	/* Of what was popped: the queue from where; in data. */
	struct mq_slice popped_topic;
	int32_t popped_queue;
	char head[MQ_RECORD_HEAD_MAX];
	char data[];
};
STAILQ_HEAD(delivery_list, delivery);

struct schedule {
	struct broker *broker; /* borrowed */
	pthread_t thread;
	bool has_thread;
	_Atomic uint64_t progress;
	_Atomic int64_t passed[DELAY_LEVELS_MAX]; /* of level i + 1: the offset up to which it is delivered; written by the thread */

	pthread_mutex_t lock; /* protects the next four */
	pthread_cond_t cond;
	int64_t noted_ms, sleeps_until_ms; /* sleeps_until_ms: INT64_MIN while awake */
	bool stops, is_turn_done;

	/* Of the thread: */
	struct store_due rows[TURN_ROWS];
	unsigned n_rows;
	char groups[GROUP_BYTES]; /* the rows' */
	size_t n_groups;
	struct store_turn turn;
	struct delivery_list deliveries;
	bool has_failed;
	unsigned n_unreadable; /* of the turn */
	/* What is there up to this row and due could not be read. Each turn begins behind it, so that those wait for nobody. at_ms -1: there is
	 * no such row. */
	struct store_due skipped;
	char skipped_group[GROUP_MAX];
	int64_t skipped_until_ms;		  /* monotonic */
	int64_t complained_ms, unreadable_ms; /* monotonic; of the last lines in the journal, 0: none */
};

/* ---- A message ---- */

static void schedule_complain(struct schedule *s, const struct store_due *due, const char *why)
{
	int64_t now_ms = mq_mono_ms(&mq_clock_system);

	if (s->complained_ms > 0 && now_ms - s->complained_ms < COMPLAINT_MS)
		return;
	s->complained_ms = now_ms;
	mq_log(LOG_ERR,
	       "a delayed message is dropped: %s (due at %" PRIi64 ", locator %" PRIi64 ")", why,
	       due->at_ms, due->locator);
}

/* The row stays: a disk may recover, and what is damaged is for people to decide about. */
static void schedule_unreadable(struct schedule *s, const struct store_due *due, int r)
{
	int64_t now_ms = mq_mono_ms(&mq_clock_system);

	s->n_unreadable++;
	if (s->unreadable_ms > 0 && now_ms - s->unreadable_ms < COMPLAINT_MS)
		return;
	s->unreadable_ms = now_ms;
	mq_log_fields(LOG_ERR, BROKER_MSG_UNREADABLE, NULL,
		      "a delayed message, or one that was popped, cannot be read and has to wait (due at %" PRIi64 ", locator %" PRIi64
		      "): %s. Others go on, and it is tried again; mq-store check of the stopped broker tells what is damaged",
		      due->at_ms, due->locator, r == -EBADMSG ? "its record is damaged" : strerror(-r));
}

/* Up to `last` all are delivered, or could not be read. */
static void schedule_skip(struct schedule *s, const struct store_due *last)
{
	if (s->skipped.at_ms < 0)
		s->skipped_until_ms = mq_mono_ms(s->broker->clock) + UNREADABLE_MS;
	s->skipped = *last;
	s->skipped.group = (struct mq_slice){ s->skipped_group, last->group.n };
	mq_put_bytes(s->skipped_group, last->group.p, last->group.n);
}

static struct delivery *schedule_add(struct schedule *s, const struct store_due *due, size_t n_data)
{
	struct delivery *d = malloc(sizeof *d + n_data);

	if (!d) {
		s->has_failed = true;
		return NULL;
	}
	*d = (struct delivery){};
	store_op_init(&d->op);
	d->op.take_due = *due;
	d->op.no_wait = true; /* as upstream: with SYNC_FLUSH, too, the move is in the log before a
				 consumer sees it */
	STAILQ_INSERT_TAIL(&s->deliveries, d, link);
	return d;
}

/* Nothing comes of the row: it goes. */
static void schedule_drop(struct schedule *s, const struct store_due *due)
{
	struct delivery *d = schedule_add(s, due, 0);

	if (d)
		store_turn_add(&s->turn, &d->op);
}

/* A timer says when it was stored and when it left, as upstream's wheel does. Whoever has no room
 * for that goes without. */
static struct mq_slice schedule_properties(const struct schedule *s, const struct mq_record *rec,
					   char text[MQ_PROPERTIES_MAX])
{
	static const char *const dropped[] = { MQ_PROPERTY_TIMER_ENQUEUE_MS,
					       MQ_PROPERTY_TIMER_DEQUEUE_MS, NULL };
	const struct broker *b = s->broker;
	int64_t precision_ms = b->config.timerPrecisionMs;
	char enqueued[24], dequeued[24];
	size_t n;

	if (!mq_slice_is(rec->topic, DELAY_TIMER_TOPIC))
		return rec->properties;
	snprintf(enqueued, sizeof enqueued, "%" PRIi64,
		 rec->store_at_ms / precision_ms * precision_ms);
	snprintf(dequeued, sizeof dequeued, "%" PRIi64, mq_wall_ms(b->clock));
	n = mq_properties_copy(rec->properties, dropped, text, MQ_PROPERTIES_MAX);
	if (n != (size_t)-1)
		n = mq_properties_append(text, n, MQ_PROPERTIES_MAX, MQ_PROPERTY_TIMER_ENQUEUE_MS,
					 mq_slice_of(enqueued));
	if (n != (size_t)-1 && n > 0)
		n = mq_properties_append(text, n, MQ_PROPERTIES_MAX, MQ_PROPERTY_TIMER_DEQUEUE_MS,
					 mq_slice_of(dequeued));
	return n == (size_t)-1 || n == 0 ? rec->properties : (struct mq_slice){ text, n };
}

/* The message as consumers get it: born data, flags and body of the one that waited. */
static int schedule_fill(struct schedule *s, struct delivery *d, const struct mq_record *waiting,
			 const struct message_marks *marks, char *tail)
{
	struct mq_record rec = *waiting;
	char text[MQ_PROPERTIES_MAX];

	rec.topic = marks->real_topic;
	if (mq_parse_i32(marks->real_queue_id, &rec.queue_id) < 0 ||
	    mq_slice_is(rec.topic, MESSAGE_HALF_TOPIC))
		return -EBADMSG;
	rec.properties = schedule_properties(s, waiting, text);
	rec.prepared_offset = 0;
	rec.store_host = s->broker->store_host;
	message_record_encode(&rec, marks, d->head, tail, &d->record);
	return store_queue_open(s->broker->store, rec.topic, rec.queue_id, &d->record.queue);
}

/* ---- Recalls ---- */

struct recalling {
	struct schedule *schedule;
	const struct message_marks *marks; /* of the one that recalls */
};

/* Lets go of a message that waits for the same time and has this topic and unique id
 * (TimerMessageStore.buildDeleteKey). */
static enum store_verdict schedule_on_recalled(void *user, int64_t queue_offset, int64_t tag_hash,
					       struct mq_slice record)
{
	const struct recalling *recalling = user;
	struct mq_slice target = recalling->marks->timer_del_uniq_key;
	struct message_marks marks;
	struct mq_record rec;

	if (mq_record_decode(record, &rec) < 0)
		return STORE_GO_ON;
	message_marks_read(&marks, rec.properties);
	if (!marks.timer_del_uniq_key.p &&
	    mq_slice_equal(marks.timer_out_ms, recalling->marks->timer_out_ms) &&
	    target.n == marks.real_topic.n + 1 + marks.uniq_key.n &&
	    mq_slice_starts(target, marks.real_topic) && target.p[marks.real_topic.n] == '+')
		schedule_drop(
		    recalling->schedule,
		    &(struct store_due){ .at_ms = tag_hash, .kind = STORE_DUE_MESSAGE, .locator = rec.physical_offset });
	return STORE_GO_ON;
}

static int schedule_recall(struct schedule *s, const struct message_marks *marks)
{
	struct recalling recalling = { s, marks };
	struct mq_slice target = marks->timer_del_uniq_key;
	const char *plus = memchr(target.p, '+', target.n); /* no topic has one */
	struct mq_slice uniq_key;
	int r;

	if (!plus)
		return 0;
	uniq_key = (struct mq_slice){ plus + 1, target.n - (size_t)(plus + 1 - target.p) };
	r = store_query(s->broker->store, MQ_SLICE(DELAY_TIMER_TOPIC), uniq_key, RECALLS_MAX, 0,
			INT64_MAX, schedule_on_recalled, &recalling);
	return r < 0 ? r : 0;
}

/* ---- Deliveries ---- */

static void schedule_forget(struct schedule *s, struct delivery *d)
{
	STAILQ_REMOVE(&s->deliveries, d, delivery, link);
	free(d);
}

/* A message that was popped and not acknowledged: the group gets it again. */
static void schedule_revive(struct schedule *s, const struct store_due *due, struct mq_slice record)
{
	struct delivery *d = schedule_add(s, due, 2 * record.n + POP_REVIVE_ROOM);
	struct mq_record rec;
	int r;

	if (!d)
		return;
	memcpy(d->data, record.p, record.n);
	if (mq_record_decode((struct mq_slice){ d->data, record.n }, &rec) < 0) {
		schedule_forget(s, d);
		schedule_unreadable(s, due, -EBADMSG);
		return;
	}
	r = pop_revive(s->broker, due, &rec, d->head, d->data + record.n, &d->record);
	if (r == -EBADMSG)
		schedule_complain(s, due, "its retry topic would have too long a name");
	if (r < 0 && r != -EBADMSG && r != -ENOENT) {
		schedule_forget(s, d);
		s->has_failed = true;
		return;
	}
	/* Of a topic or group that is gone nothing comes. */
	if (r >= 0) {
		d->op.records = &d->record;
		d->op.n_records = 1;
		d->popped_topic = rec.topic;
		d->popped_queue = rec.queue_id;
	}
	store_turn_add(&s->turn, &d->op);
}

static void schedule_deliver(struct schedule *s, const struct store_due *due,
			     struct mq_slice record)
{
	struct message_marks marks;
	struct mq_record rec;
	struct delivery *d;
	bool is_recall = false;
	int r;

	/* The new properties are those of the record and two times, and so is the new tail. */
	d = schedule_add(s, due, 2 * record.n + TIMES_SIZE);
	if (!d)
		return;
	memcpy(d->data, record.p, record.n);
	if (mq_record_decode((struct mq_slice){ d->data, record.n }, &rec) < 0) {
		schedule_forget(s, d);
		schedule_unreadable(s, due, -EBADMSG);
		return;
	}
	if (mq_slice_is(rec.topic, DELAY_LEVEL_TOPIC) && rec.queue_id >= 0 && rec.queue_id < DELAY_LEVELS_MAX) {
		d->level = rec.queue_id + 1;
		d->passed = rec.queue_offset + 1;
	}
	message_marks_read(&marks, rec.properties);
	is_recall = marks.timer_del_uniq_key.p && mq_slice_is(rec.topic, DELAY_TIMER_TOPIC);
	r = is_recall ? schedule_recall(s, &marks) : schedule_fill(s, d, &rec, &marks, d->data + record.n);
	if (r == -ENOMEM || r == -EIO) {
		schedule_forget(s, d);
		if (r == -EIO) /* what is recalled */
			schedule_unreadable(s, due, r);
		else
			s->has_failed = true;
		return;
	}
	if (r < 0) {
		schedule_complain(s, due, "its record does not say where it goes");
	} else if (!is_recall) {
		d->op.records = &d->record;
		d->op.n_records = 1;
	}
	store_turn_add(&s->turn, &d->op);
}

/* ---- A turn ---- */

struct waiting {
	struct schedule *schedule;
	const struct store_due *due;
};

static enum store_verdict schedule_on_record(void *user, int64_t queue_offset, int64_t tag_hash,
					     struct mq_slice record)
{
	const struct waiting *w = user;

	if (w->due->kind == STORE_DUE_POP)
		schedule_revive(w->schedule, w->due, record);
	else
		schedule_deliver(w->schedule, w->due, record);
	return STORE_STOP;
}

static void schedule_take(struct schedule *s, const struct store_due *due)
{
	struct waiting w = { s, due };
	int r = store_get(s->broker->store, due->locator, STORE_DISK, schedule_on_record, &w);

	if (r == -ENOENT) {
		/* Retention may take away what a group never acknowledges. */
		if (due->kind != STORE_DUE_POP)
			schedule_complain(s, due, "its record is gone");
		schedule_drop(s, due);
	} else if (r < 0) {
		schedule_unreadable(s, due, r);
	}
}

static enum store_verdict schedule_on_row(void *user, const struct store_due *due)
{
	struct schedule *s = user;

	struct store_due *row = &s->rows[s->n_rows++];

	*row = *due;
	row->group.p = s->groups + s->n_groups;
	mq_put_bytes(s->groups + s->n_groups, due->group.p, due->group.n);
	s->n_groups += due->group.n;
	return s->n_groups + GROUP_MAX > GROUP_BYTES ? STORE_STOP : STORE_GO_ON;
}

static void schedule_on_done(struct store_turn *turn)
{
	struct schedule *s = turn->user;

	pthread_mutex_lock(&s->lock);
	s->is_turn_done = true;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static void schedule_commit(struct schedule *s)
{
	s->is_turn_done = false;
	store_commit(s->broker->store, &s->turn);
	pthread_mutex_lock(&s->lock);
	while (!s->is_turn_done)
		pthread_cond_wait(&s->cond, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

static void schedule_passed(struct schedule *s, int32_t level, int64_t offset)
{
	if (offset > atomic_load_explicit(&s->passed[level - 1], memory_order_relaxed))
		atomic_store_explicit(&s->passed[level - 1], offset, memory_order_relaxed);
}

static void schedule_delivered(struct schedule *s, const struct delivery *d)
{
	const struct store_due *due = &d->op.take_due;

	if (d->level > 0)
		schedule_passed(s, d->level, d->passed);
	if (d->popped_topic.p)
		pop_inflight_take(s->broker->pop_inflight,
				  &(struct pop_inflight_key){ d->popped_topic, due->group, d->popped_queue }, 1, due->pop_at_ms);
}

/* True: of all that was taken nothing is left. */
static bool schedule_finish(struct schedule *s, int64_t began_ns)
{
	bool is_all = !s->has_failed;
	int64_t took_us = (mq_mono_ns(s->broker->clock) - began_ns) / 1000;
	struct delivery *d;

	while ((d = STAILQ_FIRST(&s->deliveries))) {
		const struct store_record *r = &d->record;

		STAILQ_REMOVE_HEAD(&s->deliveries, link);
		is_all &= d->op.result == 0;
		if (d->op.result == 0)
			schedule_delivered(s, d);
		if (d->op.result == 0 && d->op.n_records > 0)
			stats_put(s->broker->stats, 1, r->n_head + r->body.n + r->tail.n, took_us);
		/* Recalled, or its queue's topic was deleted this moment: the next look finds out.
		 */
		else if (d->op.result < 0 && d->op.result != -ENOENT)
			s->has_failed = true;
		free(d);
	}
	return is_all;
}

/* Moves what is due, up to a turn's measure. Returns when to look again. */
static int64_t schedule_run(struct schedule *s, int64_t now_ms)
{
	int64_t next_ms, began_ns = mq_mono_ns(s->broker->clock);
	unsigned i;

	s->n_rows = 0;
	s->n_groups = 0;
	s->n_unreadable = 0;
	if (s->skipped.at_ms >= 0 && began_ns / 1000000 >= s->skipped_until_ms)
		s->skipped.at_ms = -1;
	s->has_failed = store_due_scan(s->broker->store, s->skipped.at_ms >= 0 ? &s->skipped : NULL, now_ms, now_ms + LOOK_MS,
				       TURN_ROWS, schedule_on_row, s, &next_ms) < 0;
	if (s->has_failed || s->n_rows == 0)
		return next_ms;
	store_turn_init(&s->turn, schedule_on_done, s);
	for (i = 0; i < s->n_rows && s->turn.bytes < TURN_BYTES; i++)
		schedule_take(s, &s->rows[i]);
	if (i < s->n_rows)
		next_ms = s->rows[i].at_ms;
	schedule_commit(s);
	if (schedule_finish(s, began_ns) && s->n_unreadable > 0)
		schedule_skip(s, &s->rows[i - 1]);
	return next_ms;
}

/* ---- The thread ---- */

void schedule_note(struct schedule *s, int64_t at_ms)
{
	pthread_mutex_lock(&s->lock);
	if (at_ms < s->noted_ms)
		s->noted_ms = at_ms;
	if (at_ms < s->sleeps_until_ms)
		pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

/* Lock held. What is noted before until_ms ends the sleep. */
static void schedule_sleep(struct schedule *s, int64_t until_ms, int64_t left_ms)
{
	struct timespec deadline;

	left_ms = left_ms < LOOK_MS ? left_ms : LOOK_MS;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_nsec += left_ms % 1000 * 1000000;
	deadline.tv_sec += left_ms / 1000 + deadline.tv_nsec / 1000000000;
	deadline.tv_nsec %= 1000000000;
	s->sleeps_until_ms = until_ms;
	pthread_cond_timedwait(&s->cond, &s->lock, &deadline);
	s->sleeps_until_ms = INT64_MIN;
}

/* After a failure nothing is tried for a while, whatever is noted and wherever the clock goes. */
static int64_t schedule_run_or_rest(struct schedule *s, int64_t now_ms)
{
	int64_t next_ms = schedule_run(s, now_ms);

	if (!s->has_failed)
		return next_ms;
	pthread_mutex_lock(&s->lock);
	if (!s->stops)
		schedule_sleep(s, INT64_MIN, RETRY_MS);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

bool schedule_level(const struct schedule *s, int32_t level, int64_t *ret_passed, int64_t *ret_max)
{
	const struct store_queue *q = store_queue_find(s->broker->store, MQ_SLICE(DELAY_LEVEL_TOPIC), level - 1);

	*ret_max = q ? store_queue_max(q) : 0;
	*ret_passed = atomic_load_explicit(&s->passed[level - 1], memory_order_relaxed);
	return *ret_max > 0;
}

/* How far earlier runs delivered, going by the clock: what became due since the stop is a moment ahead of its delivery. */
static void schedule_find_passed(struct schedule *s)
{
	const struct delay_levels *levels = &s->broker->delay_levels;
	int64_t now_ms = mq_wall_ms(s->broker->clock), offset;

	for (int32_t i = 0; i < levels->n; i++) {
		struct store_queue *q = store_queue_find(s->broker->store, MQ_SLICE(DELAY_LEVEL_TOPIC), i);

		if (q && store_queue_max(q) > 0 &&
		    store_search_time(s->broker->store, q, now_ms - levels->after_ms[i], STORE_LOWER, &offset) == 0)
			schedule_passed(s, i + 1, offset);
	}
}

static void *schedule_main(void *user)
{
	struct schedule *s = user;
	int64_t next_ms = 0; /* what waits since before the start */

	schedule_find_passed(s);
	for (;;) {
		int64_t now_ms = mq_wall_ms(s->broker->clock);
		bool stops;

		pthread_mutex_lock(&s->lock);
		/* Noted after the look that found next_ms, or taken into account by it. */
		if (s->noted_ms < next_ms)
			next_ms = s->noted_ms;
		if (s->noted_ms <= s->skipped.at_ms)
			s->skipped.at_ms = -1;
		s->noted_ms = INT64_MAX;
		stops = s->stops;
		if (!stops && next_ms > now_ms)
			schedule_sleep(s, next_ms, next_ms - now_ms);
		pthread_mutex_unlock(&s->lock);
		if (stops)
			return NULL;
		if (next_ms <= now_ms)
			next_ms = schedule_run_or_rest(s, now_ms);
		atomic_fetch_add(&s->progress, 1);
	}
}

int schedule_new(struct schedule **ret, struct broker *b)
{
	struct schedule *s = calloc(1, sizeof *s);
	pthread_condattr_t attr;

	if (!s)
		return -ENOMEM;
	s->broker = b;
	s->noted_ms = INT64_MAX;
	s->sleeps_until_ms = INT64_MIN;
	s->skipped.at_ms = -1;
	STAILQ_INIT(&s->deliveries);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->cond, &attr);
	pthread_condattr_destroy(&attr);
	*ret = s;
	return 0;
}

int schedule_start(struct schedule *s, struct mq_error *err)
{
	int r = pthread_create(&s->thread, NULL, schedule_main, s);

	if (r != 0)
		return mq_error_set(err, -r, "cannot start the thread for delayed messages: %s",
				    strerror(r));
	pthread_setname_np(s->thread, "mq-schedule");
	s->has_thread = true;
	return 0;
}

void schedule_stop(struct schedule *s)
{
	if (!s || !s->has_thread)
		return;
	pthread_mutex_lock(&s->lock);
	s->stops = true;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	s->has_thread = false;
}

struct schedule *schedule_free(struct schedule *s)
{
	if (!s)
		return NULL;
	schedule_stop(s);
	pthread_cond_destroy(&s->cond);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}

uint64_t schedule_progress(const struct schedule *s)
{
	return atomic_load(&s->progress);
}
