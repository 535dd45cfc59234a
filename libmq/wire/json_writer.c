/* The writer of the JSON dialect: compact, nothing but what it is told. */
#include <errno.h>
#include <event2/buffer.h>
#include <math.h>

#include "libmq/base/bytes.h"
#include "libmq/wire/command_codec.h"
#include "libmq/wire/json.h"
#include "libmq/wire/json_number.h"
#include "libmq/wire/json_scan.h"

enum {
	PIECE_MAX = 256,      /* bytes of a string that are escaped at once */
	ESCAPED_MAX = 6,      /* bytes that one byte can become */
	INTEGER_TEXT_MAX = 20, /* bytes: sign and 19 digits */
};

static void put(struct mq_json_writer *w, const char *p, size_t n)
{
	if (w->error == 0 && n > 0 && evbuffer_add(w->out, p, n) < 0)
		w->error = -ENOMEM;
}

/* A value or a member's name begins. */
static void begin(struct mq_json_writer *w)
{
	if (w->needs_comma)
		put(w, ",", 1);
	w->needs_comma = true;
}

void mq_json_begin(struct mq_json_writer *w, struct evbuffer *out)
{
	*w = (struct mq_json_writer){ .out = out };
}

int mq_json_end(struct mq_json_writer *w)
{
	return w->error;
}

static void open_with(struct mq_json_writer *w, const char *bracket)
{
	begin(w);
	put(w, bracket, 1);
	w->needs_comma = false;
}

static void close_with(struct mq_json_writer *w, const char *bracket)
{
	put(w, bracket, 1);
	w->needs_comma = true;
}

void mq_json_open_object(struct mq_json_writer *w)
{
	open_with(w, "{");
}

void mq_json_close_object(struct mq_json_writer *w)
{
	close_with(w, "}");
}

void mq_json_open_array(struct mq_json_writer *w)
{
	open_with(w, "[");
}

void mq_json_close_array(struct mq_json_writer *w)
{
	close_with(w, "]");
}

static char *put_utf16_escape(char *out, unsigned unit)
{
	static const char hex[] = "0123456789ABCDEF";

	*out++ = '\\';
	*out++ = 'u';
	for (int shift = 12; shift >= 0; shift -= 4)
		*out++ = hex[unit >> shift & 15];
	return out;
}

/* Like mq_json_escape(), and non-ASCII as one or two \uXXXX, which are at most 6 bytes for each of UTF-8's. */
static char *escape_ascii(char *out, struct mq_slice text)
{
	const char *p = text.p, *end = text.p + text.n;

	while (p < end) {
		unsigned n = mq_utf8_length(p, end), c;

		if (n <= 1) {
			out = mq_json_escape(out, (struct mq_slice){ p++, 1 });
			continue;
		}
		c = mq_utf8_get(p, n);
		p += n;
		if (c >= 0x10000) {
			out = put_utf16_escape(out, 0xd800 + ((c - 0x10000) >> 10));
			c = 0xdc00 + (c & 0x3ff);
		}
		out = put_utf16_escape(out, c);
	}
	return out;
}

static bool is_continuation(char c)
{
	return ((uint8_t)c & 0xc0) == 0x80;
}

static void put_text(struct mq_json_writer *w, struct mq_slice text)
{
	char buffer[1 + ESCAPED_MAX * PIECE_MAX + 1], *p = buffer;

	*p++ = '"';
	while (text.n > 0) {
		struct mq_slice piece = { text.p, text.n > PIECE_MAX ? PIECE_MAX : text.n };

		/* Never through a character, whose length is at most four. */
		for (int i = 0; i < 3 && piece.n < text.n && is_continuation(text.p[piece.n]); i++)
			piece.n--;
		p = w->ascii ? escape_ascii(p, piece) : mq_json_escape(p, piece);
		text.p += piece.n;
		text.n -= piece.n;
		if (text.n > 0) {
			put(w, buffer, (size_t)(p - buffer));
			p = buffer;
		}
	}
	*p++ = '"';
	put(w, buffer, (size_t)(p - buffer));
}

void mq_json_key(struct mq_json_writer *w, const char *name)
{
	mq_json_key_slice(w, mq_slice_of(name));
}

void mq_json_key_slice(struct mq_json_writer *w, struct mq_slice name)
{
	begin(w);
	put_text(w, name);
	mq_json_key_done(w);
}

static void put_i64(struct mq_json_writer *w, int64_t value)
{
	char text[INTEGER_TEXT_MAX];

	begin(w);
	put(w, text, (size_t)(mq_put_decimal(text, value) - text));
}

void mq_json_key_i64(struct mq_json_writer *w, int64_t key)
{
	put_i64(w, key);
	mq_json_key_done(w);
}

void mq_json_key_done(struct mq_json_writer *w)
{
	put(w, ":", 1);
	w->needs_comma = false;
}

void mq_json_string(struct mq_json_writer *w, struct mq_slice text)
{
	begin(w);
	put_text(w, text);
}

void mq_json_i64_value(struct mq_json_writer *w, int64_t value)
{
	put_i64(w, value);
}

void mq_json_double_value(struct mq_json_writer *w, double value)
{
	char text[MQ_DOUBLE_TEXT_MAX];

	mq_json_raw(w, isfinite(value) ? mq_slice_of(mq_format_double(value, text)) : MQ_SLICE("null"));
}

void mq_json_bool_value(struct mq_json_writer *w, bool value)
{
	mq_json_raw(w, value ? MQ_SLICE("true") : MQ_SLICE("false"));
}

void mq_json_raw(struct mq_json_writer *w, struct mq_slice json)
{
	begin(w);
	put(w, json.p, json.n);
}

void mq_json_member_string(struct mq_json_writer *w, const char *name, struct mq_slice value)
{
	mq_json_key(w, name);
	mq_json_string(w, value);
}

void mq_json_member_i64(struct mq_json_writer *w, const char *name, int64_t value)
{
	mq_json_key(w, name);
	mq_json_i64_value(w, value);
}

void mq_json_member_bool(struct mq_json_writer *w, const char *name, bool value)
{
	mq_json_key(w, name);
	mq_json_bool_value(w, value);
}

void mq_json_member_double(struct mq_json_writer *w, const char *name, double value)
{
	mq_json_key(w, name);
	mq_json_double_value(w, value);
}
