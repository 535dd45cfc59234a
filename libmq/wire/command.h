/* Commands: the header of a frame, request or response, in either codec (reference: protocol/frame.md sections 2 to 4).
 * Decoding allocates nothing: slices point into the frame, JSON strings are unescaped in place. Encoding borrows its
 * slices from the caller; numbers are rendered into the command's own text buffer.
 * A command is 3 KiB or so: keep it inside the request, do not copy it around. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libmq/base/error.h"
#include "libmq/wire/frame.h"

struct evbuffer;

enum mq_language {
	MQ_JAVA, MQ_CPP, MQ_DOTNET, MQ_PYTHON, MQ_DELPHI, MQ_ERLANG, MQ_RUBY, MQ_OTHER, MQ_HTTP, MQ_GO, MQ_PHP, MQ_OMS,
	MQ_RUST, MQ_NODE_JS,
};

enum {
	MQ_FLAG_RESPONSE = 1,
	MQ_FLAG_ONEWAY = 2,
	MQ_VERSION = 513,      /* ordinal announced in every command: V5_5_0, the referee's */
	MQ_FIELDS_MAX = 64,    /* extFields of one command; more is refused */
	MQ_FIELD_TEXT = 768,   /* bytes of numbers rendered into one outgoing command */
};

#define MQ_VERSION_DESC "V5_5_0"
enum { MQ_VERSION_NAME_MAX = 24 };
/* Name of a version as peers announce it (MQVersion.Version), "V4_9_8" or "V5_0_0_SNAPSHOT"; the number as text for those before
 * 4.0.0 and beyond 5.9.9. Returns ret. */
const char *mq_version_name(int version, char ret[MQ_VERSION_NAME_MAX]);

struct mq_field {
	struct mq_slice name, value;
};

struct mq_command {
	int32_t code;
	uint8_t language; /* enum mq_language */
	uint8_t codec;    /* enum mq_codec: as decoded, and as to be encoded */
	int16_t version;
	int32_t opaque;
	int32_t flag;
	bool has_fields;        /* extFields present, even when empty: Java answers some requests with {} */
	struct mq_slice remark; /* p NULL: absent */
	struct mq_slice body;   /* p NULL: absent */
	unsigned n_fields;
	unsigned n_text;        /* bytes used of text[] */
	struct mq_field fields[MQ_FIELDS_MAX];
	char text[MQ_FIELD_TEXT];
};

/* Fills *cmd from the frame, which must outlive it. Once per frame: JSON strings are unescaped in place.
 * An unknown language becomes MQ_OTHER, null fields are left out, an empty remark counts as absent; in binary headers
 * empty fields too, and the POP codes, which have only 16 bits there (frame.md section 4), get their full number back.
 * -EBADMSG with a sentence in *err (may be NULL): the header is not what its codec says. */
int mq_command_decode(struct mq_command *cmd, struct mq_frame *frame, struct mq_error *err) _must_check_;

/* Starts a command to be sent: no fields, codec JSON, language JAVA (never an invented name: frame.md 2.2), MQ_VERSION. */
void mq_command_request(struct mq_command *cmd, int code);
/* Starts the answer to `request`: same opaque and codec. */
void mq_command_response(struct mq_command *cmd, const struct mq_command *request, int code);

/* Add one extField. `name` and `value` are borrowed until the command was encoded; asserts on too many fields or
 * too much text, since what we send is ours. mq_command_add_copy copies the value into text[]. */
void mq_command_add_slice(struct mq_command *cmd, struct mq_slice name, struct mq_slice value);
void mq_command_add_slice_i64(struct mq_command *cmd, struct mq_slice name, int64_t value);
void mq_command_add_copy(struct mq_command *cmd, const char *name, struct mq_slice value);
void mq_command_add_bool(struct mq_command *cmd, const char *name, bool value);

/* The value of an extField, or NULL; the last one when it is there twice. */
const struct mq_slice *mq_command_field_slice(const struct mq_command *cmd, struct mq_slice name);

/* These are inline so that the length of a literal name costs nothing. */
static inline void mq_command_add(struct mq_command *cmd, const char *name, struct mq_slice value)
{
	mq_command_add_slice(cmd, mq_slice_of(name), value);
}

static inline void mq_command_add_i64(struct mq_command *cmd, const char *name, int64_t value)
{
	mq_command_add_slice_i64(cmd, mq_slice_of(name), value);
}

static inline const struct mq_slice *mq_command_field(const struct mq_command *cmd, const char *name)
{
	return mq_command_field_slice(cmd, mq_slice_of(name));
}

/* Appends the whole frame to `out`: prefix, header in cmd->codec, then cmd->body (copied) or, when `body` is not NULL,
 * everything in `body` (moved, not copied; `body` is empty afterwards). Text that is no UTF-8 is written with '?' for
 * each bad byte in JSON. -ENOMEM, -EMSGSIZE (longer than the prefix can say); nothing was appended then. */
int mq_command_encode(const struct mq_command *cmd, struct evbuffer *body, struct evbuffer *out) _must_check_;

const char *mq_language_name(unsigned language);
