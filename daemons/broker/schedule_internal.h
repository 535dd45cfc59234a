/* What schedule.c and schedule_take.c know of each other; nobody else includes this. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/delay.h"
#include "daemons/broker/schedule.h"
#include "libmq/wire/record.h"

enum {
	SCHEDULE_TURN_ROWS = 256, /* rows of `due` in one turn: sends of others go between two turns */
	SCHEDULE_GROUP_BYTES = 64 << 10, /* of the names of groups in one turn */
	SCHEDULE_GROUP_MAX = 1024,	 /* bytes of one that a row may have */
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
	struct store_due rows[SCHEDULE_TURN_ROWS];
	unsigned n_rows;
	char groups[SCHEDULE_GROUP_BYTES]; /* the rows' */
	size_t n_groups;
	struct store_turn turn;
	struct delivery_list deliveries;
	bool has_failed;
	unsigned n_unreadable; /* of the turn */
	/* What is there up to this row and due could not be read. Each turn begins behind it, so that those wait for nobody. at_ms -1: there is
	 * no such row. */
	struct store_due skipped;
	char skipped_group[SCHEDULE_GROUP_MAX];
	int64_t skipped_until_ms;		  /* monotonic */
	int64_t complained_ms, unreadable_ms; /* monotonic; of the last lines in the journal, 0: none */
};

/* ---- schedule_take.c ---- */

/* Adds what becomes of the row to the turn: its message is delivered, recalls another, or comes again; or nothing comes of it. What
 * cannot be read is counted, what fails for want of memory sets has_failed. */
void schedule_take(struct schedule *s, const struct store_due *due);
