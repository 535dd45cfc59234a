/* Where a peer is: "host:port", "[v6]:port" or "unix:/path". */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

struct mq_address {
	bool is_unix;
	char host[256]; /* name, numeric address, or path of the Unix socket */
	uint16_t port;
	char text[272]; /* as written, for messages */
};

/* -EINVAL with a sentence in *err. */
int mq_address_parse(struct mq_address *ret, struct mq_slice text, struct mq_error *err) _must_check_;

/* Starts a non-blocking connect; returns the descriptor. Names are looked up with getaddrinfo(), which may block:
 * call it where that does no harm (main loop, clients). -errno with a sentence. */
int mq_address_connect(const struct mq_address *a, struct mq_error *err) _must_check_;

/* Opens, binds and listens (SO_REUSEADDR, backlog 1024); an old Unix socket nobody listens on is replaced, mode 0660.
 * Returns the descriptor. -EADDRINUSE and the like with a sentence that names the address. */
int mq_address_listen(const struct mq_address *a, struct mq_error *err) _must_check_;
