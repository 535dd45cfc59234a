/* Delivery of what is due (storage/due.c): one thread that sleeps until the next time, then moves messages to their queues in bounded
 * turns through the same append path as every send. A move is one batch, so a crash neither loses nor repeats one. Due times are
 * those of the wall clock; that it was set forward is noticed within a second, that it was set back only makes the wait longer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libmq/base/error.h"

struct broker;
struct schedule;

int schedule_new(struct schedule **ret, struct broker *b) _must_check_;
struct schedule *schedule_free(struct schedule *s);
int schedule_start(struct schedule *s, struct mq_error *err) _must_check_;
/* Ends the thread, with its turn; nothing when it does not run. `s` may be NULL. */
void schedule_stop(struct schedule *s);

/* store_config.on_due: something that is due at at_ms was stored. */
void schedule_note(struct schedule *s, int64_t at_ms);
/* How far the queue of a delay level is delivered, and its end. False: the level was never used. Any thread. */
bool schedule_level(const struct schedule *s, int32_t level, int64_t *ret_passed, int64_t *ret_max);
/* For the watchdog: advances at least once a second. */
uint64_t schedule_progress(const struct schedule *s);
