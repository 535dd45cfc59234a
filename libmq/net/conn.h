/* One peer connection, TCP or Unix. Belongs to the loop it was given to and is touched by that thread only, except for
 * mq_conn_ref/unref, mq_conn_is_open and mq_conn_post (any thread). Requests in flight hold a reference, so a late answer finds
 * a closed connection, never a freed one.
 *
 *      OPEN ──> DRAINING ──> CLOSED
 *        └───────────────────^   protocol error, peer reset, idle
 * DRAINING: nothing more is read, answers of requests in flight are still written; then our end is sent and the peer's awaited
 * for a moment, so that no answer is lost to a reset. A peer that sends its end first is drained, too, but for 200 ms at most:
 * what is parked for longer ends with the connection.
 *
 * Memory. Over a budget of its loop (struct mq_loop_config) a connection is not read until half of it is free again. While the
 * incomplete frames of all peers together exceed half of total_budget, those of more than 64 KiB are read in the order in which they
 * began, as many as fit in the other half. Closed with -ENOBUFS, and one line in the journal, is who
 *   - has four times conn_out_budget of unsent output, since pushes and parked requests come whether it reads or not;
 *   - takes none of its output for 5 s while the loop is over total_budget;
 *   - while incomplete frames exceed half of total_budget, sends nothing of its own for 5 s, or less than 32 KiB/s when it is its turn;
 *   - has the oldest incomplete frame while they exceed twice total_budget. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "libmq/net/loop.h"
#include "libmq/wire/command.h"
#include "libmq/wire/record.h"

struct evbuffer;
struct mq_conn;

/* What a connection tells its user. All on the loop's thread; none may free the connection. */
struct mq_conn_events {
	/* Borrows `frame`; take a reference to keep it. A negative return closes the connection as a protocol error. */
	int (*on_frame)(struct mq_conn *conn, struct mq_frame *frame, void *user);
	/* Once, when it is no longer OPEN or DRAINING; reason 0 or negative errno. May be NULL. */
	void (*on_close)(struct mq_conn *conn, int reason, void *user);
};

/* Who is at the other end. */
struct mq_peer {
	bool is_unix;
	struct mq_host host;         /* of a Unix peer 127.0.0.1 port 0 */
	uid_t uid;                   /* of a Unix peer, by SO_PEERCRED; (uid_t)-1 for TCP */
	gid_t gid;
	pid_t pid;
	char text[MQ_HOST_TEXT_MAX]; /* "10.0.0.7:51200" or "unix:uid=1000,pid=77" */
};

/* Takes over `fd` (made non-blocking, TCP_NODELAY); the loop owns the connection until it closes and *ret is borrowed.
 * On failure `fd` stays with the caller. `events` is borrowed and outlives the connection. Loop thread.
 * -ENOMEM; -ENOTSOCK, -ENOTCONN and the like when the peer cannot be named. */
int mq_conn_new(struct mq_conn **ret, struct mq_loop *loop, int fd, const struct mq_conn_events *events, void *user) _must_check_;
struct mq_conn *mq_conn_ref(struct mq_conn *conn);
struct mq_conn *mq_conn_unref(struct mq_conn *conn);
DEFINE_CLEANUP(struct mq_conn *, mq_conn_unref)

/* Appends a command to the output; written at the turn's end together with everything else of this connection. `body` as in
 * mq_command_encode(). On a closed connection nothing happens and 0 is returned: the peer is gone. -ENOMEM closes it. */
int mq_conn_send(struct mq_conn *conn, const struct mq_command *cmd, struct evbuffer *body);
/* The same from any thread: the command is encoded by the caller and handed to the loop. */
int mq_conn_post(struct mq_conn *conn, const struct mq_command *cmd);

/* Safe inside any callback of the same connection. `reason` is 0 or a negative errno. */
void mq_conn_close(struct mq_conn *conn, int reason);
/* Stops reading; closes when nothing is charged any more (no request in flight) and the output is written. */
void mq_conn_drain(struct mq_conn *conn);
/* Stop accepting work on every connection of the loop, see mq_conn_drain(), now and later; those of a mq_remote go on, since
 * they bring answers to us. Loop thread. Returns how many are left. */
unsigned mq_loop_drain(struct mq_loop *loop);

/* Charges memory that a request in flight holds; over the budget reading stops until it is released. */
void mq_conn_charge(struct mq_conn *conn, size_t bytes);
void mq_conn_release(struct mq_conn *conn, size_t bytes);

bool mq_conn_is_open(const struct mq_conn *conn); /* any thread; may be outdated when it returns */
const struct mq_peer *mq_conn_peer(const struct mq_conn *conn);
struct mq_loop *mq_conn_loop(const struct mq_conn *conn);
/* A number never used twice in this process: names the channel in tables that outlive it. */
uint64_t mq_conn_id(const struct mq_conn *conn);
