/* One connection to one address that fails fast: a refused connection fails the waiting calls at once
 * instead of keeping them until their deadline (mq_remote does that: right for a daemon, wrong for a person
 * who waits). Connects on the first call and again on the first call after a loss. Loop thread only. */
#pragma once

#include "libmq/client/failure.h"
#include "libmq/net/rpc.h"

struct mq_link;

/* Outcome of a call, exactly once. r == 0: `answer` borrows from its frame and is valid during the call only.
 * r < 0: `stage` is CONNECT or EXCHANGE, `why` a short reason without the address ("connection refused"). */
typedef void (*mq_link_done)(int r, enum mq_stage stage, const struct mq_command *answer, const char *why,
			     void *user);

/* Requests of the peer (code 40 and the like). May answer with mq_conn_send(). */
typedef void (*mq_link_on_request)(struct mq_conn *conn, const struct mq_command *request, void *user);

int mq_link_new(struct mq_link **ret, struct mq_loop *loop, const struct mq_address *address,
		mq_link_on_request on_request, void *user) _must_check_;
/* Closes the connection. Outstanding calls get -ECANCELED, at the latest when the loop is freed; on_request
 * is not called any more. */
struct mq_link *mq_link_free(struct mq_link *l);
DEFINE_CLEANUP(struct mq_link *, mq_link_free)

/* `cmd` with its slices and body must live until `done` is called. Returns -ENOMEM or the like when `done`
 * will not be called. */
int mq_link_call(struct mq_link *l, struct mq_command *cmd, int64_t timeout_ms, mq_link_done done,
		 void *user) _must_check_;
/* Sends without an answer; connects first when needed. `sent` is called when it was handed to the
 * connection or failed; then `answer` is NULL. */
int mq_link_oneway(struct mq_link *l, struct mq_command *cmd, int64_t timeout_ms, mq_link_done sent,
		   void *user) _must_check_;
