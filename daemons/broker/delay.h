/* Messages for later (HookUtils; behaviour.md sections 5 and 7): what a sender asks for, and how such a message waits. It is stored under
 * a system topic with its real topic and queue in its properties, together with the row of `due` that schedule.c acts on:
 *
 *   a level (DELAY)                                  SCHEDULE_TOPIC_XXXX, queue level - 1
 *   a time (TIMER_DELAY_SEC, _MS, TIMER_DELIVER_MS)  rmq_sys_wheel_timer, queue 0 */
#pragma once

#include <stdint.h>

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

struct broker;
struct message_additions;
struct message_marks;
struct mq_record;
struct store_record;

#define DELAY_LEVEL_TOPIC "SCHEDULE_TOPIC_XXXX"
#define DELAY_TIMER_TOPIC "rmq_sys_wheel_timer"
extern const char *const delay_topics[]; /* both, and NULL: for struct store_config */

enum { DELAY_LEVELS_MAX = 128 };

/* messageDelayLevel. */
struct delay_levels {
	int32_t n;
	int64_t after_ms[DELAY_LEVELS_MAX]; /* of level i + 1 */
};
/* "1s 5s 10s ...". -EINVAL with a sentence. */
int delay_levels_parse(struct delay_levels *ret, const char *text, struct mq_error *err) _must_check_;

enum delay_kind { DELAY_NONE, DELAY_LEVEL, DELAY_TIMER };

struct delay {
	enum delay_kind kind;
	int32_t level;    /* DELAY_LEVEL: 1 to the number of levels */
	int64_t after_ms; /* DELAY_LEVEL: from when it is stored */
	int64_t at_ms;    /* DELAY_TIMER: wall clock */
	int64_t out_ms;   /* DELAY_TIMER: property TIMER_OUT_MS, at_ms rounded down as upstream does */
};

/* `level` as upstream takes it: beyond the last it is the last, 0 and less are no delay. */
struct delay delay_of_level(const struct broker *b, int32_t level);
/* What the properties of a message ask for. 0; -EBADMSG: a level that is no number; -EINVAL: a timer that is no number, or too far away;
 * -EOPNOTSUPP: timers are switched off. */
int delay_read(const struct broker *b, const struct message_marks *marks, int64_t now_ms, struct delay *ret) _must_check_;

/* Before properties and record are encoded: the record's topic and queue become those where it waits, the properties name what they
 * were. `delay` is borrowed by *more. */
void delay_redirect(const struct delay *delay, struct mq_record *rec, struct message_additions *more);
/* After message_record_encode(): the row of `due`. */
void delay_arm(const struct delay *delay, struct store_record *record);
