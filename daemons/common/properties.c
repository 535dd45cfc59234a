#include "daemons/common/properties.h"

#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>

#include "libmq/base/utf8.h"

/* A cursor over the text. A "logical line" of java.util.Properties may span several natural lines: an odd number of
 * backslashes before the line's end joins the next one, without its leading blanks. */
struct reader {
	const char *p, *end;
	unsigned line; /* of *p, from 1 */
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\f';
}

static bool is_line_end(char c)
{
	return c == '\n' || c == '\r';
}

static void reader_skip_blanks(struct reader *r)
{
	while (r->p < r->end && is_blank(*r->p))
		r->p++;
}

/* Takes one line end: \n, \r or \r\n. */
static void reader_take_line_end(struct reader *r)
{
	if (*r->p == '\r' && r->p + 1 < r->end && r->p[1] == '\n')
		r->p++;
	r->p++;
	r->line++;
}

static void reader_skip_line(struct reader *r)
{
	while (r->p < r->end && !is_line_end(*r->p))
		r->p++;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The four digits behind "\u". Returns the UTF-16 unit or -EINVAL; the cursor stands behind them on success. */
static int reader_take_unit(struct reader *r)
{
	int unit = 0;

	if (r->end - r->p < 4)
		return -EINVAL;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(r->p[i]);

		if (digit < 0)
			return -EINVAL;
		unit = unit << 4 | digit;
	}
	r->p += 4;
	return unit;
}

/* Behind "\u": one character, of one unit or of a surrogate pair; half a pair becomes U+FFFD. Never longer than what was read. */
static int reader_take_unicode(struct reader *r, char **out)
{
	int high = reader_take_unit(r), low;
	struct reader ahead = *r;

	if (high < 0)
		return high;
	if (high < 0xd800 || high > 0xdfff) {
		*out = mq_utf8_put(*out, (uint32_t)high);
		return 0;
	}
	if (high <= 0xdbff && ahead.end - ahead.p >= 6 && ahead.p[0] == '\\' && ahead.p[1] == 'u') {
		ahead.p += 2;
		low = reader_take_unit(&ahead);
		if (low >= 0xdc00 && low <= 0xdfff) {
			*out = mq_utf8_put(*out, 0x10000 + (((uint32_t)high - 0xd800) << 10) + ((uint32_t)low - 0xdc00));
			*r = ahead;
			return 0;
		}
	}
	*out = mq_utf8_put(*out, 0xfffd);
	return 0;
}

/* Takes what follows a backslash: an escape, or a line end, which joins the next natural line. */
static int reader_take_escape(struct reader *r, char **out)
{
	char c;

	if (r->p >= r->end)
		return 0; /* a backslash at the very end stands for nothing, as in Java */
	c = *r->p;
	if (is_line_end(c)) {
		reader_take_line_end(r);
		reader_skip_blanks(r);
		return 0;
	}
	r->p++;
	switch (c) {
	case 'u':
		return reader_take_unicode(r, out);
	case 't':
		c = '\t';
		break;
	case 'n':
		c = '\n';
		break;
	case 'r':
		c = '\r';
		break;
	case 'f':
		c = '\f';
		break;
	}
	*(*out)++ = c;
	return 0;
}

/* Unescapes up to the line's end, or for a key up to its delimiter. The text never grows. */
static int reader_take_text(struct reader *r, bool is_key, char **out)
{
	while (r->p < r->end && !is_line_end(*r->p)) {
		char c = *r->p;

		if (is_key && (c == '=' || c == ':' || is_blank(c)))
			return 0;
		r->p++;
		if (c == '\\') {
			int e = reader_take_escape(r, out);

			if (e < 0)
				return e;
		} else {
			*(*out)++ = c;
		}
	}
	return 0;
}

/* Blanks, at most one '=' or ':', blanks; a backslash at the line's end continues in the next one. */
static void reader_skip_delimiter(struct reader *r)
{
	bool has_delimiter = false;

	for (; r->p < r->end; r->p++) {
		if (is_blank(*r->p))
			continue;
		if (!has_delimiter && (*r->p == '=' || *r->p == ':')) {
			has_delimiter = true;
			continue;
		}
		return;
	}
}

int properties_parse(struct mq_slice text,
		     int (*each)(void *user, unsigned line, struct mq_slice key, struct mq_slice value, struct mq_error *err),
		     void *user, struct mq_error *err)
{
	struct reader r = { .p = text.p, .line = 1 };
	_cleanup_(freep) char *unescaped = NULL;

	if (text.n == 0)
		return 0; /* maybe no text at all: text.p is NULL then */
	r.end = text.p + text.n;
	if (text.n > PROPERTIES_TEXT_MAX)
		return mq_error_set(err, -E2BIG, "the text has %zu bytes, at most %d are allowed", text.n, PROPERTIES_TEXT_MAX);
	unescaped = malloc(text.n + 1);
	if (!unescaped)
		return -ENOMEM;

	while (r.p < r.end) {
		char *key = unescaped, *value, *end;
		unsigned line;
		int e;

		reader_skip_blanks(&r);
		if (r.p >= r.end)
			break;
		if (*r.p == '#' || *r.p == '!')
			reader_skip_line(&r);
		if (r.p >= r.end)
			break;
		if (is_line_end(*r.p)) {
			reader_take_line_end(&r);
			continue;
		}

		line = r.line;
		end = key;
		e = reader_take_text(&r, true, &end);
		value = end;
		if (e == 0) {
			reader_skip_delimiter(&r);
			e = reader_take_text(&r, false, &end);
		}
		if (e < 0)
			return mq_error_set(err, e, "line %u: malformed \\u escape, four hexadecimal digits expected", r.line);
		e = each(user, line, (struct mq_slice){ key, (size_t)(value - key) }, (struct mq_slice){ value, (size_t)(end - value) },
			 err);
		if (e < 0)
			return e;
	}
	return 0;
}

/* Appends `text` escaped so that java.util.Properties reads it back. Java reads bodies as Latin-1, so what is not ASCII
 * is written as \uXXXX; a byte that is no UTF-8 is the replacement character. */
static int add_escaped(struct evbuffer *out, struct mq_slice text, bool is_key)
{
	static const char named[] = { ['\t'] = 't', ['\n'] = 'n', ['\r'] = 'r', ['\f'] = 'f' };

	for (size_t i = 0; i < text.n;) {
		char c = text.p[i];
		uint32_t code;
		size_t len = 1;
		int r;

		if ((uint8_t)c < sizeof named && named[(uint8_t)c]) {
			r = evbuffer_add_printf(out, "\\%c", named[(uint8_t)c]);
		} else if (c == '\\' || (c == ' ' && (is_key || i == 0)) || (is_key && c && strchr("=:#!", c))) {
			r = evbuffer_add_printf(out, "\\%c", c);
		} else if ((uint8_t)c < 0x20 || (uint8_t)c >= 0x7f) {
			len = mq_utf8_length(text.p + i, text.p + text.n);
			code = len > 0 ? mq_utf8_get(text.p + i, (unsigned)len) : 0xfffd;
			if (len == 0)
				len = 1;
			if (code < 0x10000)
				r = evbuffer_add_printf(out, "\\u%04X", code);
			else
				r = evbuffer_add_printf(out, "\\u%04X\\u%04X", 0xd800 + ((code - 0x10000) >> 10),
							0xdc00 + ((code - 0x10000) & 0x3ff));
		} else {
			r = evbuffer_add(out, &c, 1);
		}
		if (r < 0)
			return -ENOMEM;
		i += len;
	}
	return 0;
}

int properties_add(struct evbuffer *out, const char *key, struct mq_slice value)
{
	int r = add_escaped(out, mq_slice_of(key), true);

	if (r == 0)
		r = evbuffer_add(out, "=", 1);
	if (r == 0)
		r = add_escaped(out, value, false);
	if (r == 0)
		r = evbuffer_add(out, "\n", 1);
	return r < 0 ? -ENOMEM : 0;
}
