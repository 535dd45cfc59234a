/* One connection of the crash tests' clients: raw frames on a blocking socket. The clients' own retries would hide what is looked for.
 * What cannot be goes to standard error and ends the program. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libmq/net/address.h"
#include "libmq/wire/command.h"
#include "libmq/wire/frame.h"
#include "libmq/wire/record.h"

struct link {
	struct mq_address address;
	int fd;
	struct mq_frame_reader reader;
	char chunk[65536];
	struct mq_slice rest; /* of chunk, not yet parsed */
};

_Noreturn void fail(const char *what, const char *detail);

bool link_open(struct link *l);
void link_close(struct link *l);
bool link_send(struct link *l, const struct mq_command *cmd);
/* The next frame: 1; 0 when none came in time, or a signal came first; -1 when the connection broke. */
int link_receive(struct link *l, struct mq_command *cmd, int timeout_ms, struct mq_frame **ret);
/* The next answer, or NULL when the connection broke or gives none. */
struct mq_frame *link_answer(struct link *l, struct mq_command *cmd);
/* A field that must be there. */
int64_t link_i64(const struct mq_command *cmd, const char *name);
/* Everything in a queue, from its beginning; nothing when the topic is unknown. */
void link_read_queue(struct link *l, const char *topic, int queue, void (*on_record)(const struct mq_record *r, void *user), void *user);
