/* The JSON header. Written as Java writes it; read in one pass, tolerant as frame.md sections 3 and 5 say. */
#include <errno.h>

#include "libmq/base/bytes.h"
#include "libmq/wire/command_codec.h"
#include "libmq/wire/fields.h"
#include "libmq/wire/json_scan.h"

#define IS(slice, literal) ((slice).n == sizeof(literal) - 1 && memcmp((slice).p, literal, sizeof(literal) - 1) == 0)

/* A name: quoted, or bare as fastjson takes it. The colon behind it is consumed. */
static int json_name(struct mq_scan *s, struct mq_slice *ret)
{
	int r = mq_scan_at_string(s) ? mq_scan_string(s, ret) : mq_scan_token(s, ret);

	if (r < 0)
		return r;
	return mq_scan_take(s, ':') ? 0 : -EBADMSG;
}

/* A value as text: strings unescaped, everything else as it is written. null is a slice without p. */
static int json_value(struct mq_scan *s, struct mq_slice *ret)
{
	int r;

	mq_scan_space(s);
	if (mq_scan_at_string(s))
		return mq_scan_string(s, ret);
	r = mq_scan_skip(s, ret);
	if (r == 0 && IS(*ret, "null"))
		*ret = (struct mq_slice){ NULL, 0 };
	return r;
}

static int json_fields(struct mq_command *cmd, struct mq_scan *s, struct mq_error *err)
{
	int r;

	cmd->has_fields = true;
	cmd->n_fields = 0;
	if (mq_scan_take(s, '}'))
		return 0;

	do {
		struct mq_slice name, value;

		mq_scan_space(s);
		r = json_name(s, &name);
		if (r == 0)
			r = json_value(s, &value);
		if (r == 0 && value.p)
			r = mq_command_keep_field(cmd, name, value, err);
		if (r < 0)
			return r;
		r = mq_scan_more(s, '}');
	} while (r > 0);
	return r;
}

static int json_number(struct mq_slice name, struct mq_slice value, int32_t *ret, struct mq_error *err)
{
	if (!value.p)
		return 0;
	if (mq_parse_i32(value, ret) < 0)
		return mq_error_set(err, -EBADMSG, "header: %.*s is no 32 bit number", MQ_FMT(name));
	return 0;
}

static uint8_t json_language(struct mq_slice value)
{
	int32_t ordinal;

	if (!value.p || IS(value, "JAVA"))
		return MQ_JAVA;
	if (mq_parse_i32(value, &ordinal) == 0)
		return ordinal >= 0 && ordinal < MQ_LANGUAGES ? (uint8_t)ordinal : MQ_OTHER;
	return mq_language_of(value);
}

static int json_member(struct mq_command *cmd, struct mq_slice name, struct mq_scan *s, struct mq_error *err)
{
	struct mq_slice value;
	int32_t version = 0;
	int r;

	if (IS(name, "extFields") && mq_scan_take(s, '{'))
		return json_fields(cmd, s, err);

	r = json_value(s, &value);
	if (r < 0)
		return r;
	if (IS(name, "code"))
		return json_number(name, value, &cmd->code, err);
	if (IS(name, "flag"))
		return json_number(name, value, &cmd->flag, err);
	if (IS(name, "opaque"))
		return json_number(name, value, &cmd->opaque, err);
	if (IS(name, "version")) {
		r = json_number(name, value, &version, err);
		/* Java keeps 32 bits here and 16 in the binary header. */
		cmd->version = version > INT16_MAX ? INT16_MAX : version < INT16_MIN ? INT16_MIN : (int16_t)version;
		return r;
	}
	if (IS(name, "language"))
		cmd->language = json_language(value);
	else if (IS(name, "remark"))
		cmd->remark = value;
	else if (IS(name, "extFields") && value.p)
		return mq_error_set(err, -EBADMSG, "header: extFields is no object");
	return 0;
}

static int json_header(struct mq_command *cmd, struct mq_scan *s, struct mq_error *err)
{
	struct mq_slice name;
	int r;

	if (!mq_scan_take(s, '{'))
		return -EBADMSG;
	if (!mq_scan_take(s, '}')) {
		do {
			mq_scan_space(s);
			r = json_name(s, &name);
			if (r == 0)
				r = json_member(cmd, name, s, err);
			if (r == 0)
				r = mq_scan_more(s, '}');
		} while (r > 0);
		if (r < 0)
			return r;
	}
	mq_scan_space(s);
	return s->p == s->end ? 0 : -EBADMSG;
}

int mq_command_json_decode(struct mq_command *cmd, struct mq_frame *frame, struct mq_error *err)
{
	struct mq_scan s = { frame->header, frame->header + frame->header_size };
	struct mq_error why = { 0 };
	int r;

	r = json_header(cmd, &s, &why);
	if (r < 0 && why.code == 0)
		return mq_error_set(err, r, "header: not JSON at byte %zu of %zu", (size_t)(s.p - frame->header),
				    frame->header_size);
	if (r < 0 && err)
		*err = why;
	return r;
}

/* Numbers, names and punctuation of a header in which everything is present. */
enum { JSON_FIXED_MAX = 256 };

size_t mq_command_json_bound(const struct mq_command *cmd)
{
	size_t n = JSON_FIXED_MAX + 6 * cmd->remark.n;

	for (unsigned i = 0; i < cmd->n_fields; i++)
		n += 6 * (cmd->fields[i].name.n + cmd->fields[i].value.n) + sizeof "\"\":\"\",";
	return n;
}

#define PUT(out, literal) mq_put_bytes(out, literal, sizeof(literal) - 1)

static char *json_put_fields(const struct mq_command *cmd, char *out)
{
	out = PUT(out, ",\"extFields\":{");
	for (unsigned i = 0; i < cmd->n_fields; i++) {
		if (i > 0)
			*out++ = ',';
		*out++ = '"';
		out = mq_json_escape(out, cmd->fields[i].name);
		out = PUT(out, "\":\"");
		out = mq_json_escape(out, cmd->fields[i].value);
		*out++ = '"';
	}
	*out++ = '}';
	return out;
}

char *mq_command_json_encode(const struct mq_command *cmd, char *out)
{
	const char *language = mq_language_name(cmd->language);

	out = mq_put_decimal(PUT(out, "{\"code\":"), cmd->code);
	if (cmd->has_fields)
		out = json_put_fields(cmd, out);
	out = mq_put_decimal(PUT(out, ",\"flag\":"), cmd->flag);
	out = mq_put_bytes(PUT(out, ",\"language\":\""), language, strlen(language));
	out = mq_put_decimal(PUT(out, "\",\"opaque\":"), cmd->opaque);
	if (cmd->remark.p) {
		out = mq_json_escape(PUT(out, ",\"remark\":\""), cmd->remark);
		*out++ = '"';
	}
	out = mq_put_decimal(PUT(out, ",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":"), cmd->version);
	*out++ = '}';
	return out;
}
