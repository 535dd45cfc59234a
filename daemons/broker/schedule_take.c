/* What becomes of a row of `due`, on the thread of schedule.c: its message goes to its queue, recalls another, or comes again to the
 * group that popped it. */
#include "daemons/broker/schedule_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#include "daemons/broker/message.h"
#include "daemons/broker/messages.h"
#include "daemons/broker/pop_revive.h"
#include "libmq/base/bytes.h"
#include "libmq/base/log.h"
#include "libmq/wire/message_properties.h"

enum {
	RECALLS_MAX = 1000, /* messages that wait, or waited, and have the unique id, or have it for a key */
	TIMES_SIZE = 128, /* bytes of TIMER_ENQUEUE_MS and TIMER_DEQUEUE_MS with their names */
	COMPLAINT_MS = 60000, /* between two journal lines about records that are dropped, or cannot be read */
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
	struct mq_properties_out out;

	if (!mq_slice_is(rec->topic, DELAY_TIMER_TOPIC))
		return rec->properties;
	mq_properties_begin(&out, text, MQ_PROPERTIES_MAX, rec->properties, dropped);
	mq_properties_add_i64(&out, MQ_PROPERTY_TIMER_ENQUEUE_MS, rec->store_at_ms / precision_ms * precision_ms);
	mq_properties_add_i64(&out, MQ_PROPERTY_TIMER_DEQUEUE_MS, mq_wall_ms(b->clock));
	return mq_properties_end(&out, rec->properties);
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

/* A delivery with a copy of the record, decoded in *ret, and behind it room for a new tail, that needs so much more than the record has.
 * NULL: nothing comes of it in this turn. */
static struct delivery *schedule_copy(struct schedule *s, const struct store_due *due, struct mq_slice record, size_t more,
				      struct mq_record *ret)
{
	struct delivery *d = schedule_add(s, due, 2 * record.n + more);

	if (!d)
		return NULL;
	memcpy(d->data, record.p, record.n);
	if (mq_record_decode((struct mq_slice){ d->data, record.n }, ret) >= 0)
		return d;
	schedule_forget(s, d);
	schedule_unreadable(s, due, -EBADMSG);
	return NULL;
}

/* A message that was popped and not acknowledged: the group gets it again. */
static void schedule_revive(struct schedule *s, const struct store_due *due, struct mq_slice record)
{
	struct mq_record rec;
	struct delivery *d = schedule_copy(s, due, record, POP_REVIVE_ROOM, &rec);
	int r;

	if (!d)
		return;
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
	/* The new properties are those of the record and two times, and so is the new tail. */
	struct delivery *d = schedule_copy(s, due, record, TIMES_SIZE, &rec);
	bool is_recall;
	int r;

	if (!d)
		return;
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

/* ---- A row ---- */

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

void schedule_take(struct schedule *s, const struct store_due *due)
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
