/* Log lines for the journal, or "<N>sentence" on standard error when that is not the journal.
 * Library code returns errors; only who decides what happens next logs. Any thread. */
#pragma once

#include <syslog.h>

#include "libmq/base/cleanup.h"

/* Chooses the journal when standard error is connected to it (JOURNAL_STREAM). Call once, before threads. */
void mq_log_init(const char *identifier);

/* One sentence for people. `fields` (may be NULL) are extra journal fields "NAME=value", NULL-terminated array;
 * `message_id` (may be NULL) is the 32-digit id that units/mqd.catalog explains. */
void mq_log_fields(int priority, const char *message_id, const char *const *fields, const char *fmt, ...)
	_printf_(4, 5);

#define mq_log(priority, ...) mq_log_fields(priority, NULL, NULL, __VA_ARGS__)
