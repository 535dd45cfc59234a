/* What the tests of schedule.c share: its thread on a real store, with a clock that the test steers. */
#pragma once

#include "broker_test.h"

#include <inttypes.h>
#include <time.h>

#include "daemons/broker/message.h"
#include "daemons/broker/schedule.h"
#include "libmq/wire/message_properties.h"

static inline void schedule_begin(struct fixture *f)
{
	struct mq_error err = {};

	assert_int_equal(delay_levels_parse(&f->broker.delay_levels, "5s 1h", &err), 0);
	assert_int_equal(schedule_new(&f->broker.schedule, &f->broker), 0);
	assert_int_equal(schedule_start(f->broker.schedule, &err), 0);
}

static inline int schedule_teardown(void **state)
{
	struct fixture *f = *state;

	schedule_stop(f->broker.schedule);
	f->broker.schedule = schedule_free(f->broker.schedule);
	return fixture_teardown(state);
}

static inline void commit_on_done(struct store_turn *turn)
{
	atomic_store((_Atomic bool *)turn->user, true);
}

/* A turn of its own. Returns the op's result. */
static inline int commit(struct fixture *f, struct store_op *op)
{
	struct timespec pause = { .tv_nsec = 1000000 };
	_Atomic bool is_done = false;
	struct store_turn turn;

	store_turn_init(&turn, commit_on_done, (void *)&is_done);
	store_turn_add(&turn, op);
	store_commit(f->broker.store, &turn);
	for (int left = 10000; !atomic_load(&is_done) && left > 0; left--)
		nanosleep(&pause, NULL);
	assert_true(atomic_load(&is_done));
	return op->result;
}

/* The schedule looked at the clock after this was called, and did what there was to do. */
static inline void await_look(struct fixture *f)
{
	uint64_t before = schedule_progress(f->broker.schedule);
	struct timespec pause = { .tv_nsec = 1000000 };

	schedule_note(f->broker.schedule, 0);
	for (int left = 10000; schedule_progress(f->broker.schedule) < before + 2 && left > 0; left--)
		nanosleep(&pause, NULL);
	assert_true(schedule_progress(f->broker.schedule) >= before + 2);
}

static inline int64_t stored(struct fixture *f, const char *topic, int32_t queue_id)
{
	struct store_queue *q = store_queue_find(f->broker.store, mq_slice_of(topic), queue_id);

	return q ? store_queue_max(q) : 0;
}

/* Exactly so many, in the end. */
static inline void await_stored(struct fixture *f, const char *topic, int32_t queue_id, int64_t n)
{
	struct timespec pause = { .tv_nsec = 1000000 };

	for (int left = 10000; stored(f, topic, queue_id) < n && left > 0; left--)
		nanosleep(&pause, NULL);
	assert_int_equal(stored(f, topic, queue_id), n);
}
