/* What rpc.c and remote.c know of each other; nobody else includes this.
 *
 * A call lives from mq_rpc_call() until its `done`: in the table of its peer under its opaque, and in the loop's timers for
 * its deadline. A remote has one table for all its connections, so that calls may wait in it for the next one; a connection
 * that a peer opened has its own. */
#pragma once

#include "libmq/net/internal.h"
#include "libmq/net/rpc.h"

STAILQ_HEAD(calls, call);

struct call {
	struct mq_timer deadline;
	STAILQ_ENTRY(call) link; /* of remote->waiting, or of those that are being failed */
	struct mq_rpc *rpc;      /* ref */
	struct evbuffer *frame;  /* owned; waits for a connection. NULL once sent */
	size_t n_frame;
	int32_t opaque;
	int64_t timeout_ms;
	mq_rpc_done done;
	void *user;
};

struct mq_rpc {
	unsigned refs; /* the connection, the remote, each call */
	struct mq_loop *loop;
	struct mq_remote *remote; /* borrowed; NULL on a connection that the peer opened, and when it is gone */
	const char *peer;         /* borrowed from the connection or the remote */
	/* Opaque numbers are handed out in order, so their low bits are the place in a ring; a place that is still taken is
	 * skipped together with its number. */
	struct call **slots; /* owned */
	unsigned n_slots;    /* power of two */
	unsigned n_calls;
	uint32_t next_opaque;
};

/* ---- rpc.c ---- */

struct mq_rpc *mq_rpc_new(struct mq_loop *loop, const char *peer); /* NULL: out of memory */
struct mq_rpc *mq_rpc_ref(struct mq_rpc *rpc);
struct mq_rpc *mq_rpc_unref(struct mq_rpc *rpc);
/* Fails every call that was sent (`waiting` too: every call). Those that `done` starts anew are not touched. */
void mq_rpc_fail(struct mq_rpc *rpc, bool waiting, int r, const char *why);

/* In the table, with its deadline set. -EBUSY, -ENOMEM. */
int mq_call_new(struct call **ret, struct mq_rpc *rpc, int64_t timeout_ms, mq_rpc_done done, void *user) _must_check_;
/* Out of the table and of whatever it waits in: nobody else can find it any more. */
void mq_call_detach(struct call *call);
struct call *mq_call_free(struct call *call);

/* ---- remote.c ---- */

/* The call waits for a connection no longer. */
void mq_remote_forget(struct mq_remote *remote, struct call *call);
/* Why there was none until its deadline: the sentence and a negative errno. */
int mq_remote_why_waiting(const struct mq_remote *remote, char *why, size_t n);
