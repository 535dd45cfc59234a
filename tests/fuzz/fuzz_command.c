/* The first byte chooses the codec (even: JSON, odd: binary, so that '0' and '1' do), the rest is the header.
 * What decodes, encodes; and what was encoded once is a fixed point. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "libmq/base/bytes.h"
#include "libmq/wire/command.h"

static struct mq_frame *frame_of(struct mq_slice bytes)
{
	struct mq_frame_reader r;
	struct mq_frame *f = NULL;

	mq_frame_reader_init(&r, (size_t)1 << 28);
	must(mq_frame_reader_next(&r, &bytes, &f) == 1 && bytes.n == 0);
	return f;
}

static struct mq_frame *frame_with_header(uint8_t codec, const uint8_t *header, size_t n)
{
	_cleanup_(freep) char *bytes = malloc(MQ_FRAME_PREFIX_SIZE + n);

	mq_put32(bytes, (uint32_t)n + 4);
	mq_put32(bytes + 4, (uint32_t)codec << 24 | (uint32_t)n);
	mq_put_bytes(bytes + 8, header, n);
	return frame_of((struct mq_slice){ bytes, MQ_FRAME_PREFIX_SIZE + n });
}

static bool encode(struct mq_command *cmd, struct evbuffer *out)
{
	int r = mq_command_encode(cmd, NULL, out);

	must(r == 0 || r == -EMSGSIZE);
	return r == 0;
}

static void check_fields(const struct mq_command *cmd)
{
	must(cmd->n_fields <= MQ_FIELDS_MAX);
	for (unsigned i = 0; i < cmd->n_fields; i++) {
		const struct mq_slice *last = mq_command_field_slice(cmd, cmd->fields[i].name);

		must(last && last >= &cmd->fields[i].value);
	}
	must(!mq_command_field(cmd, "a name that nobody has"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(evbuffer_freep) struct evbuffer *once = evbuffer_new(), *twice = evbuffer_new();
	_cleanup_(mq_frame_unrefp) struct mq_frame *frame = NULL, *again = NULL;
	struct mq_error err = { 0 };
	struct mq_command cmd, back;

	if (size < 1 || size > 1 << 20)
		return 0;
	frame = frame_with_header(data[0] & 1, data + 1, size - 1);
	if (mq_command_decode(&cmd, frame, &err) < 0) {
		must(err.code == -EBADMSG && err.text[0]);
		return 0;
	}
	check_fields(&cmd);
	if (!encode(&cmd, once))
		return 0;
	must(evbuffer_get_length(once) <= 512 + 6 * size);

	again = frame_of(fuzz_bytes(once));
	must(mq_command_decode(&back, again, NULL) == 0);
	must(back.code == cmd.code || cmd.codec == MQ_CODEC_BINARY);
	must(back.opaque == cmd.opaque && back.flag == cmd.flag && back.version == cmd.version);
	must(back.language == cmd.language && back.n_fields == cmd.n_fields && back.remark.n == cmd.remark.n);
	must(encode(&back, twice));
	must(mq_slice_equal(fuzz_bytes(once), fuzz_bytes(twice)));

	/* The other codec takes it, too. */
	evbuffer_drain(twice, evbuffer_get_length(twice));
	cmd.codec = !cmd.codec;
	if (encode(&cmd, twice)) {
		_cleanup_(mq_frame_unrefp) struct mq_frame *other = frame_of(fuzz_bytes(twice));

		must(mq_command_decode(&back, other, NULL) == 0);
	}
	return 0;
}
