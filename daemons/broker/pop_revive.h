/* What comes of a popped message whose invisible time is over (PopReviveService.reviveRetry): a copy in the group's retry topic, counted
 * as consumed once more. A message that was popped from a retry topic goes back to it. On the thread of schedule.c. */
#pragma once

#include "libmq/base/cleanup.h"
#include "storage/store.h"

struct broker;
struct mq_record;

enum { POP_REVIVE_ROOM = 1024 }; /* bytes of a tail beyond those of the record */

/* Fills head (MQ_RECORD_HEAD_MAX bytes), tail and *ret with the copy of `popped`. -ENOENT: its topic or group is gone. -EBADMSG: no
 * copy can be made of it. Errors of the store, as topics are made. */
int pop_revive(struct broker *b, const struct store_due *due, const struct mq_record *popped, char *head, char *tail,
	       struct store_record *ret) _must_check_;
