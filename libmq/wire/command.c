#include "libmq/wire/command.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>

#include "libmq/base/bytes.h"
#include "libmq/wire/command_codec.h"

enum {
	HEADER_SIZE_MAX = 0xffffff, /* bytes; 24 bits in the prefix */
	HEADER_ON_STACK = 4096,     /* bytes; nearly every header fits, even if every character had to be escaped */
	DECIMAL_MAX = 20,           /* bytes: sign and 19 digits */
};

static const struct mq_slice language_names[MQ_LANGUAGES] = {
	[MQ_JAVA] = MQ_SLICE("JAVA"),     [MQ_CPP] = MQ_SLICE("CPP"),       [MQ_DOTNET] = MQ_SLICE("DOTNET"),
	[MQ_PYTHON] = MQ_SLICE("PYTHON"), [MQ_DELPHI] = MQ_SLICE("DELPHI"), [MQ_ERLANG] = MQ_SLICE("ERLANG"),
	[MQ_RUBY] = MQ_SLICE("RUBY"),     [MQ_OTHER] = MQ_SLICE("OTHER"),   [MQ_HTTP] = MQ_SLICE("HTTP"),
	[MQ_GO] = MQ_SLICE("GO"),         [MQ_PHP] = MQ_SLICE("PHP"),       [MQ_OMS] = MQ_SLICE("OMS"),
	[MQ_RUST] = MQ_SLICE("RUST"),     [MQ_NODE_JS] = MQ_SLICE("NODE_JS"),
};

/* From 4.0.0 on each release has two ordinals, and each minor version ten releases, whether they came out or not. */
const char *mq_version_name(int version, char ret[MQ_VERSION_NAME_MAX])
{
	enum { V4_0_0_SNAPSHOT = 212, V5_9_9 = 611 };
	unsigned n = (unsigned)(version - V4_0_0_SNAPSHOT);

	if (version < V4_0_0_SNAPSHOT || version > V5_9_9)
		snprintf(ret, MQ_VERSION_NAME_MAX, "%d", version);
	else
		snprintf(ret, MQ_VERSION_NAME_MAX, "V%u_%u_%u%s", 4 + n / 200, n / 20 % 10, n / 2 % 10, n % 2 ? "" : "_SNAPSHOT");
	return ret;
}

const char *mq_language_name(unsigned language)
{
	return language_names[language < MQ_LANGUAGES ? language : MQ_OTHER].p;
}

uint8_t mq_language_of(struct mq_slice name)
{
	for (uint8_t i = 0; i < MQ_LANGUAGES; i++)
		if (mq_slice_equal(name, language_names[i]))
			return i;
	return MQ_OTHER;
}

/* Everything but the arrays, which are 3 KiB that nobody reads before writing. */
static void command_clear(struct mq_command *cmd, uint8_t codec)
{
	cmd->code = 0;
	cmd->language = MQ_JAVA;
	cmd->codec = codec;
	cmd->version = 0;
	cmd->opaque = 0;
	cmd->flag = 0;
	cmd->has_fields = false;
	cmd->remark = cmd->body = (struct mq_slice){ NULL, 0 };
	cmd->n_fields = 0;
	cmd->n_text = 0;
}

int mq_command_decode(struct mq_command *cmd, struct mq_frame *frame, struct mq_error *err)
{
	int r;

	command_clear(cmd, frame->codec);
	if (frame->codec == MQ_CODEC_JSON)
		r = mq_command_json_decode(cmd, frame, err);
	else if (frame->codec == MQ_CODEC_BINARY)
		r = mq_command_binary_decode(cmd, frame, err);
	else
		r = mq_error_set(err, -EBADMSG, "header codec %u is unknown", frame->codec);
	if (r < 0)
		return r;

	if (cmd->remark.n == 0)
		cmd->remark.p = NULL;
	cmd->body = frame->body;
	return 0;
}

int mq_command_keep_field(struct mq_command *cmd, struct mq_slice name, struct mq_slice value, struct mq_error *err)
{
	if (cmd->n_fields == MQ_FIELDS_MAX)
		return mq_error_set(err, -EBADMSG, "header has more than %d extFields", MQ_FIELDS_MAX);
	cmd->fields[cmd->n_fields++] = (struct mq_field){ name, value };
	return 0;
}

void mq_command_request(struct mq_command *cmd, int code)
{
	command_clear(cmd, MQ_CODEC_JSON);
	cmd->code = code;
	cmd->version = MQ_VERSION;
}

void mq_command_response(struct mq_command *cmd, const struct mq_command *request, int code)
{
	command_clear(cmd, request->codec);
	cmd->code = code;
	cmd->version = MQ_VERSION;
	cmd->opaque = request->opaque;
	cmd->flag = MQ_FLAG_RESPONSE;
}

void mq_command_add_slice(struct mq_command *cmd, struct mq_slice name, struct mq_slice value)
{
	assert(cmd->n_fields < MQ_FIELDS_MAX);
	cmd->has_fields = true;
	cmd->fields[cmd->n_fields++] = (struct mq_field){ name, value };
}

static char *command_take_text(struct mq_command *cmd, size_t n)
{
	assert(n <= sizeof cmd->text - cmd->n_text);
	return cmd->text + cmd->n_text;
}

void mq_command_add_copy(struct mq_command *cmd, const char *name, struct mq_slice value)
{
	char *p = command_take_text(cmd, value.n);

	mq_put_bytes(p, value.p, value.n);
	cmd->n_text += (unsigned)value.n;
	mq_command_add(cmd, name, (struct mq_slice){ p, value.n });
}

char *mq_put_decimal(char *out, int64_t v)
{
	char digits[DECIMAL_MAX], *p = digits + sizeof digits;
	uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v;

	do
		*--p = (char)('0' + u % 10);
	while (u /= 10);
	if (v < 0)
		*--p = '-';
	return mq_put_bytes(out, p, (size_t)(digits + sizeof digits - p));
}

void mq_command_add_slice_i64(struct mq_command *cmd, struct mq_slice name, int64_t value)
{
	char *p = command_take_text(cmd, DECIMAL_MAX);
	size_t n = (size_t)(mq_put_decimal(p, value) - p);

	cmd->n_text += (unsigned)n;
	mq_command_add_slice(cmd, name, (struct mq_slice){ p, n });
}

void mq_command_add_bool(struct mq_command *cmd, const char *name, bool value)
{
	mq_command_add(cmd, name, value ? MQ_SLICE("true") : MQ_SLICE("false"));
}

/* From the end, so that the last of several wins. The first byte is compared by itself: names of SEND_MESSAGE_V2 have no
 * other, and a call for each of 14 fields in each of 14 look-ups is what a send would spend most on. */
const struct mq_slice *mq_command_field_slice(const struct mq_command *cmd, struct mq_slice name)
{
	const struct mq_field *f = cmd->fields + cmd->n_fields;
	char first = name.n > 0 ? name.p[0] : '\0';

	while (f-- > cmd->fields)
		if (f->name.n == name.n && (name.n == 0 || (f->name.p[0] == first &&
							    memcmp(f->name.p + 1, name.p + 1, name.n - 1) == 0)))
			return &f->value;
	return NULL;
}

static int command_append(struct evbuffer *out, const char *header, size_t n, struct mq_slice body)
{
	/* All or nothing: after this neither of the two can fail. */
	if (evbuffer_expand(out, n + body.n) < 0)
		return -ENOMEM;
	if (evbuffer_add(out, header, n) < 0 || (body.n > 0 && evbuffer_add(out, body.p, body.n) < 0))
		return -ENOMEM;
	return 0;
}

int mq_command_encode(const struct mq_command *cmd, struct evbuffer *body, struct evbuffer *out)
{
	bool is_json = cmd->codec == MQ_CODEC_JSON;
	size_t bound = MQ_FRAME_PREFIX_SIZE + (is_json ? mq_command_json_bound(cmd) : mq_command_binary_bound(cmd));
	size_t body_size = body ? evbuffer_get_length(body) : cmd->body.n;
	char stack[HEADER_ON_STACK], *buffer = stack, *end;
	_cleanup_(freep) char *heap = NULL;
	size_t header_size;
	int r;

	if (bound > sizeof stack) {
		if (bound > (size_t)HEADER_SIZE_MAX * 6)
			return -EMSGSIZE;
		buffer = heap = malloc(bound);
		if (!heap)
			return -ENOMEM;
	}

	end = buffer + MQ_FRAME_PREFIX_SIZE;
	end = is_json ? mq_command_json_encode(cmd, end) : mq_command_binary_encode(cmd, end);
	header_size = (size_t)(end - buffer) - MQ_FRAME_PREFIX_SIZE;
	if (header_size > HEADER_SIZE_MAX || body_size > INT32_MAX - header_size - MQ_FRAME_PREFIX_SIZE)
		return -EMSGSIZE;
	mq_put32(buffer, (uint32_t)(MQ_FRAME_PREFIX_SIZE - MQ_FRAME_LENGTH_SIZE + header_size + body_size));
	mq_put32(buffer + MQ_FRAME_LENGTH_SIZE, (uint32_t)cmd->codec << 24 | (uint32_t)header_size);

	r = command_append(out, buffer, (size_t)(end - buffer), body ? (struct mq_slice){ NULL, 0 } : cmd->body);
	if (r < 0)
		return r;
	return body && evbuffer_add_buffer(out, body) < 0 ? -ENOMEM : 0;
}
