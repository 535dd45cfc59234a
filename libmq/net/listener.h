/* Accepts connections and deals them out to loops in turn. Belongs to the loop it was made on. */
#pragma once

#include "libmq/net/conn.h"

struct mq_listener;

/* Takes over the listening descriptor. Each new connection goes to the next of `loops` (borrowed, outlive the listener),
 * with `events` and `user`. When descriptors run out it pauses for a moment instead of spinning. */
int mq_listener_new(struct mq_listener **ret, struct mq_loop *on, int fd, struct mq_loop *const *loops, unsigned n_loops,
		    const struct mq_conn_events *events, void *user, struct mq_error *err) _must_check_;
/* Stops accepting; what is queued in the kernel stays for whoever inherits the socket. Closes the descriptor. */
struct mq_listener *mq_listener_free(struct mq_listener *l);
DEFINE_CLEANUP(struct mq_listener *, mq_listener_free)
