/* Listening sockets: inherited from systemd by name (sd_listen_fds_with_names), or opened by ourselves when there are none. */
#pragma once

#include "libmq/base/error.h"
#include "libmq/net/address.h"

enum { ACTIVATION_MAX = 16 };

struct activation_socket {
	char name[64]; /* FileDescriptorName=: "local", "remote", "fast" */
	int fd;
};

struct activation {
	struct activation_socket sockets[ACTIVATION_MAX];
	unsigned n_sockets;
};

/* Takes what systemd passed; none is no error. A socket of a wrong kind is: -EINVAL with its name. */
int activation_inherit(struct activation *ret, struct mq_error *err) _must_check_;
/* The descriptor with this name, ownership passes to the caller; -ENOENT. Several of one name: call again. */
int activation_take(struct activation *a, const char *name);
/* The inherited socket of that name, else one opened at `otherwise` ("none": -ENOENT). The directory of a Unix socket is made when
 * only that one is missing; sentences say which keys to change. */
int activation_take_or_listen(struct activation *a, const char *name, const char *otherwise, struct mq_error *err) _must_check_;

/* Where a listening socket is: "127.0.0.1:9876" or "unix:/run/...", the port the system chose included. Returns ret. */
char *activation_describe(int fd, char *ret, size_t size);
