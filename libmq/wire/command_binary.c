/* The ROCKETMQ binary header (reference: protocol/frame.md section 4). */
#include <errno.h>

#include "libmq/base/bytes.h"
#include "libmq/wire/codes.h"
#include "libmq/wire/command_codec.h"

enum { BINARY_FIXED_SIZE = 21 }; /* bytes: code, language, version, opaque, flag, two lengths */

/* Request codes over 16 bits, known by their low half; no other request code has such a number. */
static int32_t binary_full_code(int16_t code)
{
#define ALIAS(name, number)                                 \
	if ((number) > INT16_MAX && code == (int16_t)(number)) \
		return number;
	MQ_REQUEST_CODES(ALIAS)
#undef ALIAS
	return code;
}

/* Takes `n` bytes off *rest; false when they are not there. `n` is signed as on the wire. */
static bool binary_take(struct mq_slice *rest, int32_t n, struct mq_slice *ret)
{
	if (n < 0 || (size_t)n > rest->n)
		return false;
	*ret = (struct mq_slice){ rest->p, (size_t)n };
	rest->p += n;
	rest->n -= (size_t)n;
	return true;
}

static bool binary_take_i32(struct mq_slice *rest, int32_t *ret)
{
	struct mq_slice bytes;

	if (!binary_take(rest, 4, &bytes))
		return false;
	*ret = (int32_t)mq_get32(bytes.p);
	return true;
}

static int binary_fields(struct mq_command *cmd, struct mq_slice rest, struct mq_error *err)
{
	cmd->has_fields = true;
	while (rest.n > 0) {
		struct mq_slice size, name, value;
		int32_t n;
		int r;

		if (!binary_take(&rest, 2, &size) || !binary_take(&rest, (int16_t)mq_get16(size.p), &name))
			return mq_error_set(err, -EBADMSG, "binary header: the name of an extField is longer than the rest");
		if (!binary_take_i32(&rest, &n) || !binary_take(&rest, n, &value))
			return mq_error_set(err, -EBADMSG, "binary header: the value of an extField is longer than the rest");
		if (name.n == 0 || value.n == 0)
			continue;
		r = mq_command_keep_field(cmd, name, value, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int mq_command_binary_decode(struct mq_command *cmd, struct mq_frame *frame, struct mq_error *err)
{
	struct mq_slice rest = { frame->header, frame->header_size }, fixed, fields;
	int32_t n;

	if (!binary_take(&rest, BINARY_FIXED_SIZE - 8, &fixed))
		return mq_error_set(err, -EBADMSG, "binary header: %zu bytes are too few", frame->header_size);
	cmd->language = (uint8_t)fixed.p[2] < MQ_LANGUAGES ? (uint8_t)fixed.p[2] : MQ_OTHER;
	cmd->version = (int16_t)mq_get16(fixed.p + 3);
	cmd->opaque = (int32_t)mq_get32(fixed.p + 5);
	cmd->flag = (int32_t)mq_get32(fixed.p + 9);
	cmd->code = (int16_t)mq_get16(fixed.p);
	if (!(cmd->flag & MQ_FLAG_RESPONSE))
		cmd->code = binary_full_code((int16_t)cmd->code);

	if (!binary_take_i32(&rest, &n) || !binary_take(&rest, n, &cmd->remark))
		return mq_error_set(err, -EBADMSG, "binary header: the remark is longer than the header");
	if (!binary_take_i32(&rest, &n) || !binary_take(&rest, n, &fields))
		return mq_error_set(err, -EBADMSG, "binary header: the extFields are longer than the header");
	return fields.n > 0 ? binary_fields(cmd, fields, err) : 0;
}

size_t mq_command_binary_bound(const struct mq_command *cmd)
{
	size_t n = BINARY_FIXED_SIZE + cmd->remark.n;

	for (unsigned i = 0; i < cmd->n_fields; i++) {
		if (cmd->fields[i].name.n > INT16_MAX)
			return MQ_HEADER_UNENCODABLE;
		n += 2 + cmd->fields[i].name.n + 4 + cmd->fields[i].value.n;
	}
	return n;
}

char *mq_command_binary_encode(const struct mq_command *cmd, char *out)
{
	char *fields;

	out = mq_put16(out, (uint16_t)cmd->code);
	out = mq_put8(out, cmd->language);
	out = mq_put16(out, (uint16_t)cmd->version);
	out = mq_put32(out, (uint32_t)cmd->opaque);
	out = mq_put32(out, (uint32_t)cmd->flag);
	out = mq_put32(out, (uint32_t)cmd->remark.n);
	out = mq_put_bytes(out, cmd->remark.p, cmd->remark.n);

	fields = out;
	out += 4;
	for (unsigned i = 0; i < cmd->n_fields; i++) {
		const struct mq_field *f = &cmd->fields[i];

		out = mq_put16(out, (uint16_t)f->name.n);
		out = mq_put_bytes(out, f->name.p, f->name.n);
		out = mq_put32(out, (uint32_t)f->value.n);
		out = mq_put_bytes(out, f->value.p, f->value.n);
	}
	mq_put32(fields, (uint32_t)(out - fields - 4));
	return out;
}
