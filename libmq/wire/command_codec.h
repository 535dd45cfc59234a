/* The two header codecs behind command.h. */
#pragma once

#include "libmq/wire/command.h"

/* Fill *cmd, whose members already have the values of an empty header, from the frame's header. */
int mq_command_json_decode(struct mq_command *cmd, struct mq_frame *frame, struct mq_error *err) _must_check_;
int mq_command_binary_decode(struct mq_command *cmd, struct mq_frame *frame, struct mq_error *err) _must_check_;

/* A bound that no header can have: this one does not fit into its codec. */
#define MQ_HEADER_UNENCODABLE (SIZE_MAX / 2)

/* Bytes that the encoded header can have at most, and the header itself; returns the position behind. */
size_t mq_command_json_bound(const struct mq_command *cmd);
char *mq_command_json_encode(const struct mq_command *cmd, char *out);
size_t mq_command_binary_bound(const struct mq_command *cmd);
char *mq_command_binary_encode(const struct mq_command *cmd, char *out);

/* Keeps one decoded extField. -EBADMSG when there are too many. */
int mq_command_keep_field(struct mq_command *cmd, struct mq_slice name, struct mq_slice value,
			  struct mq_error *err) _must_check_;

/* Decimal text of v at out (at most 20 bytes); returns the position behind. */
char *mq_put_decimal(char *out, int64_t v);

/* The index of a language name, or MQ_OTHER. */
uint8_t mq_language_of(struct mq_slice name);
enum { MQ_LANGUAGES = MQ_NODE_JS + 1 };
