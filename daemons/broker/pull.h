/* One pull: what the files it passes through know of each other.
 *
 *   handle_pull_message ─> checks ─> pull_run ─> pull_scan on the loop, from memory ─> pull_settle ─> answer
 *                                     ^  ^           ├─> on a reader, from the disk ──────^     └──> hold
 *                                     │  └───────────┴─> ahead.c: a reader fetches a stretch           │
 *                                     └───────────────── woken by a message ───────────────────────────┘
 *
 * A stored record is the wire record: what matches is appended to the answer's body as it is. A pull belongs to the loop of its
 * connection, and to a reader thread while that scans the disk for it. */
#pragma once

#include "daemons/broker/ahead.h"
#include "daemons/broker/broker.h"
#include "daemons/broker/clients.h"
#include "daemons/broker/groups.h"
#include "daemons/broker/hold.h"
#include "daemons/broker/topics.h"
#include "libmq/wire/fields.h"

#define PULL_FIELDS(X)                                        \
	X(slice, group, "consumerGroup", REQUIRED)            \
	X(slice, topic, "topic", REQUIRED)                    \
	X(i32, queue_id, "queueId", REQUIRED)                 \
	X(i64, offset, "queueOffset", REQUIRED)               \
	X(i32, max_messages, "maxMsgNums", REQUIRED)          \
	X(i32, sys_flag, "sysFlag", REQUIRED)                 \
	X(i64, commit_offset, "commitOffset", OPTIONAL)       \
	X(i64, suspend_ms, "suspendTimeoutMillis", OPTIONAL)  \
	X(slice, expression, "subscription", OPTIONAL)        \
	X(i64, sub_version, "subVersion", OPTIONAL)           \
	X(slice, expression_type, "expressionType", OPTIONAL) \
	X(i32, max_bytes, "maxMsgBytes", OPTIONAL)
MQ_HEADER(pull, PULL_FIELDS)

struct pull {
	struct mq_request *req;
	struct broker *broker;
	struct pull_header h;
	struct topic topic;
	struct group group;
	struct subscription sub; /* with its reference to a filter */
	unsigned n_steps;        /* that the filter took */
	struct store_queue *queue;
	struct hold_entry hold;
	bool may_hold;    /* this attempt may wait */
	bool is_timed;    /* hold.deadline_ms is set */
	bool has_skipped; /* looked at messages while held; none matched */
	int64_t from;     /* where the scan begins */

	/* of the scan: */
	enum store_tier tier;
	struct stretch *stretch;                      /* ref; what is scanned, or what `run` points into */
	struct evbuffer *body;                        /* owned; NULL until something was copied */
	struct mq_slice run;                          /* neighbours of the stretch, not copied yet; all there is when there is no body */
	int64_t max_messages, max_bytes, max_scanned; /* limits */
	int64_t n_messages, n_bytes, n_scanned;
	int64_t next; /* behind the last message that was looked at */
	bool is_full, has_failed;
	int result; /* of store_scan() */
	int made;   /* of groups_get() */

	struct ahead_wait wait;
	bool has_waited; /* for a stretch; a second time it reads by itself */
};

/* ---- handle_pull.c ---- */

void pull_free(struct pull *p);
/* A pull that waited wakes: an administrator may have taken a permission, the group or the topic away, and what the group
 * subscribes to may have changed. False: it was refused, and is gone. */
bool pull_check_again(struct pull *p);

/* ---- pull_run.c ---- */

/* Looks, and answers, parks, or sends a reader to the disk. */
void pull_run(struct pull *p);

/* ---- pull_scan.c ---- */

/* From p->from on, with nothing found yet. */
void pull_begin_scan(struct pull *p);
/* What was read ahead, if anything. */
void pull_scan_ahead(struct pull *p);
/* On the loop from memory, on a reader from the disk. */
void pull_scan(struct pull *p, enum store_tier tier);
