/* A request being handled, the dispatch table, and the ways to answer (reference: protocol/frame.md section 2.1).
 *
 * Every program has one table, sorted by code. A frame that is a response goes to the outgoing calls of its connection
 * (rpc.h); anything else becomes a struct mq_request and reaches its line's handler. A handler answers exactly once with one
 * of mq_reply_*() and returns 0; or keeps the request, returns MQ_REQUEST_PENDING, and answers later on the same loop
 * thread. A negative return is logged once here and answered with SYSTEM_ERROR. One-way requests are never answered:
 * mq_reply_*() take care of that, handlers need not look. */
#pragma once

#include "libmq/net/conn.h"
#include "libmq/wire/fields.h"

enum { MQ_REQUEST_PENDING = 1 };

/* What the caller needs on the resource that a request names (for access control and the manual's table). */
enum mq_permission {
	MQ_PERM_UNSET, /* a line without one does not pass mq_dispatch_check() */
	MQ_PERM_NONE,  /* anybody connected: heartbeats, routes */
	MQ_PERM_PUB,
	MQ_PERM_SUB,
	MQ_PERM_ADMIN_READ,
	MQ_PERM_ADMIN,
	MQ_PERM_PEER,  /* brokers among themselves */
};

struct mq_request;

struct mq_dispatch_line {
	int code;
	int (*handle)(struct mq_request *req);
	enum mq_permission permission;
	const char *resource;        /* extField that names the topic or group, NULL: none */
	const char *second_resource;
	bool not_on_fast_port;       /* answered 3 on the VIP listener (frame.md section 7) */
};

struct mq_dispatch {
	const struct mq_dispatch_line *lines; /* sorted by code */
	unsigned n_lines;
	void *server;                         /* borrowed: becomes mq_request.server */
	/* Called for every closed connection, loop thread. May be NULL. */
	void (*on_close)(struct mq_conn *conn, void *server);
	/* Counters per line, indexed like lines; may be NULL. Updated relaxed, any thread reads. */
	struct mq_dispatch_count *counts;
	/* Fields every answer carries, success or error, on the lines that ask for it: see mq_reply_decorate. May be NULL. */
	void (*decorate)(const struct mq_request *req, struct mq_command *answer);
};

struct mq_dispatch_count {
	uint64_t n_requests, n_errors; /* answers with code != 0 */
};

struct mq_request {
	struct mq_conn *conn;                 /* ref */
	struct mq_frame *frame;               /* ref; cmd points into it */
	void *server;                         /* struct broker or struct namesrv */
	const struct mq_dispatch *dispatch;   /* borrowed */
	const struct mq_dispatch_line *line;  /* borrowed; NULL for an unknown code */
	int64_t received_at_ms;               /* wall clock, read once per turn */
	void *state;                          /* of a pending handler; freed by it */
	bool is_parked;                       /* by mq_request_park() */
	struct mq_command cmd;                /* decoded request */
};

/* Asserts that lines are sorted and each has a permission and a handler. */
void mq_dispatch_check(const struct mq_dispatch *d);

/* Pass these to listeners, with the struct mq_dispatch as `user`. `fast` is the VIP port's variant. */
extern const struct mq_conn_events mq_dispatch_events;
extern const struct mq_conn_events mq_dispatch_events_fast;

bool mq_request_is_oneway(const struct mq_request *req);

/* For a handler that keeps the request for long (a pull that waits): moves it to where it takes no more than its fields need,
 * instead of 3 KiB. The old pointer is gone; cmd can be read as before, but nothing can be added to it. Never fails. */
struct mq_request *mq_request_park(struct mq_request *req) _must_check_;

/* Each consumes `req` (it must not be used afterwards) and returns 0. Loop thread of the connection. */
int mq_reply_code(struct mq_request *req, int code, const char *remark_fmt, ...) _printf_(3, 4); /* remark_fmt NULL: none */
int mq_reply_ok(struct mq_request *req);
/* Answer prepared with mq_request_answer(); `body` may be NULL, is moved. */
int mq_reply(struct mq_request *req, struct mq_command *answer, struct evbuffer *body);
/* No answer at all: END_TRANSACTION with state 0, broken peers. */
int mq_reply_none(struct mq_request *req);

/* Initialises an answer to req: mq_command_response() plus decorate(). */
void mq_request_answer(const struct mq_request *req, struct mq_command *answer, int code);
