/* Outgoing requests: on a connection that a peer opened (broker -> client) or on one that we keep open ourselves
 * (broker -> NameServer, libmq/client). Loop thread only. Opaque numbers are per connection; a late or unknown answer is dropped. */
#pragma once

#include "libmq/net/address.h"
#include "libmq/net/conn.h"

/* The outcome of a call, delivered exactly once on the loop's thread. r == 0: `answer` is the decoded response and `body` in it
 * borrows from its frame, valid during the call only. r < 0: -ETIMEDOUT, -ECONNRESET, -ECONNREFUSED, ...; answer is NULL and
 * `why` a sentence that names the peer. */
typedef void (*mq_rpc_done)(int r, const struct mq_command *answer, const char *why, void *user);

/* Sends cmd (its opaque is chosen here) with body as in mq_command_encode() and waits for its answer until `timeout_ms` from now.
 * -ENOTCONN, -ENOMEM, -EBUSY (too many outstanding); then `done` is not called. */
int mq_rpc_call(struct mq_conn *conn, struct mq_command *cmd, struct evbuffer *body, int64_t timeout_ms, mq_rpc_done done,
		void *user) _must_check_;
/* One-way: no answer expected. */
int mq_rpc_oneway(struct mq_conn *conn, struct mq_command *cmd, struct evbuffer *body);
/* The dispatcher and remotes hand responses here. Returns 1 when a call took it, 0 when nobody waits for it. */
int mq_rpc_answer(struct mq_conn *conn, const struct mq_command *answer);
/* Fails all outstanding calls of a closed connection. Called by whoever owns on_close. */
void mq_rpc_closed(struct mq_conn *conn, int reason);

/* A peer that we connect to, again and again: connects on the first call, reconnects after a loss with growing pauses
 * (100 ms .. 5 s), keeps calls meanwhile until their deadline and fails them then with the reason why there is no connection.
 * A connection that nobody used for the idle time is closed and made again by the next call. Free it before its loop. */
struct mq_remote;

/* Requests that the peer sends us on this connection (broker -> client codes) go to on_request, which may be NULL and may answer
 * with mq_conn_send(); `request` borrows from its frame and is valid during the call only. */
int mq_remote_new(struct mq_remote **ret, struct mq_loop *loop, const struct mq_address *address,
		  void (*on_request)(struct mq_conn *conn, const struct mq_command *request, void *user), void *user) _must_check_;
struct mq_remote *mq_remote_free(struct mq_remote *r); /* fails outstanding calls with -ECANCELED */
DEFINE_CLEANUP(struct mq_remote *, mq_remote_free)

int mq_remote_call(struct mq_remote *r, struct mq_command *cmd, struct evbuffer *body, int64_t timeout_ms, mq_rpc_done done,
		   void *user) _must_check_;
const struct mq_address *mq_remote_address(const struct mq_remote *r);
/* NULL while not connected. Borrowed. */
struct mq_conn *mq_remote_conn(struct mq_remote *r);
/* Called on each (re)connect and loss: connected true/false. */
void mq_remote_on_state(struct mq_remote *r, void (*on_state)(struct mq_remote *r, bool connected, void *user), void *user);
