/* What went wrong, said so that a person knows which hop failed and a program knows what to do next.
 * `r` alone does not tell a missing socket file from a missing topic; `stage` does. */
#pragma once

#include "libmq/base/cleanup.h"
#include "libmq/wire/command.h"

enum mq_hop_kind { MQ_HOP_NONE, MQ_HOP_NAMESRV, MQ_HOP_BROKER };

enum mq_stage {
	MQ_STAGE_LOCAL,    /* here: bad argument, no memory, cancelled */
	MQ_STAGE_CONNECT,  /* the peer could not be reached */
	MQ_STAGE_EXCHANGE, /* connected, but no answer came: timeout or connection lost */
	MQ_STAGE_ANSWER,   /* the peer answered with an error code or with something unreadable */
};

struct mq_failure {
	int r;                 /* negative errno; of an answer: mq_answer_errno() of its code */
	int code;              /* protocol response code when stage is MQ_STAGE_ANSWER, else 0 */
	enum mq_stage stage;
	enum mq_hop_kind hop;
	char where[320]; /* "NameServer 127.0.0.1:9876", "broker b (127.0.0.1:10911)"; empty for LOCAL */
	char why[512];         /* "connection refused", the answer's remark, ... */
};

/* Fills *f (may be NULL) with a failure of our own; returns r. */
int mq_failure_local(struct mq_failure *f, int r, const char *fmt, ...) _printf_(3, 4);
/* Fills *f (may be NULL) with a failure at a hop; returns r. */
int mq_failure_at(struct mq_failure *f, int r, enum mq_stage stage, enum mq_hop_kind hop, const char *where,
		  const char *fmt, ...) _printf_(6, 7);
/* The same for an answer whose code is an error: its remark without Java's trailing FAQ line. Returns f->r. */
int mq_failure_answer(struct mq_failure *f, enum mq_hop_kind hop, const char *where,
		      const struct mq_command *answer);

/* Negative errno closest to a response code: 17 and 22 -ENOENT, 16 -EACCES, 2 and 14 -EBUSY, 13, 23 and 29
 * -EINVAL, 3 -ENOSYS, ...; anything else -EREMOTEIO. 0 for code 0. */
int mq_answer_errno(int code);
