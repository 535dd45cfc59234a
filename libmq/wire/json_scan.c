#include "libmq/wire/json_scan.h"

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

/* What a byte means inside a string or a token. */
enum {
	BYTE_QUOTE = 1,  /* ends a string, starts an escape: " ' \ */
	BYTE_TOKEN = 2,  /* part of a bare token */
	BYTE_ESCAPE = 4, /* cannot stand in a string that we write: control characters, " \ and non-ASCII, to be checked */
	BYTE_BRACKET = 8,
};

static const uint8_t byte_class[256] = {
	[0 ... 31] = BYTE_ESCAPE,
	[128 ... 255] = BYTE_ESCAPE,
	['"'] = BYTE_QUOTE | BYTE_ESCAPE,
	['\\'] = BYTE_QUOTE | BYTE_ESCAPE,
	['\''] = BYTE_QUOTE,
	['0' ... '9'] = BYTE_TOKEN,
	['a' ... 'z'] = BYTE_TOKEN,
	['A' ... 'Z'] = BYTE_TOKEN,
	['_'] = BYTE_TOKEN,
	['$'] = BYTE_TOKEN,
	['+'] = BYTE_TOKEN,
	['-'] = BYTE_TOKEN,
	['.'] = BYTE_TOKEN,
	['{'] = BYTE_BRACKET,
	['}'] = BYTE_BRACKET,
	['['] = BYTE_BRACKET,
	[']'] = BYTE_BRACKET,
};

static unsigned class_of(char c)
{
	return byte_class[(uint8_t)c];
}

/* Stays at the slash of a comment that does not end. */
static bool scan_comment(struct mq_scan *s)
{
	const char *end = s->end;
	char *p = s->p + 1;

	if (p < end && *p == '/') {
		while (p < end && *p != '\n')
			p++;
	} else if (p < end && *p == '*') {
		for (p++; end - p >= 2 && !(p[0] == '*' && p[1] == '/'); p++)
			;
		if (end - p < 2)
			return false;
		p += 2;
	} else {
		return false;
	}
	s->p = p;
	return true;
}

void mq_scan_blanks(struct mq_scan *s)
{
	while (s->p < s->end) {
		char c = *s->p;

		if (c == ' ' || (c >= '\b' && c <= '\r'))
			s->p++;
		else if (c != '/' || !scan_comment(s))
			return;
	}
}

enum { IS_HEX = 0x10 }; /* set beside the value of every digit */

static const uint8_t hex_value[256] = {
	['0'] = IS_HEX, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19,
	['A'] = 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f,
	['a'] = 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f,
};

/* n digits at p; negative when one is none. Properties are full of \u0001 and \u0002, so this is a hot place. */
static inline int hex_number(const char *p, unsigned n)
{
	unsigned v = 0, all = IS_HEX;

	for (unsigned i = 0; i < n; i++) {
		unsigned digit = hex_value[(uint8_t)p[i]];

		all &= digit;
		v = v << 4 | (digit & 15);
	}
	return all & IS_HEX ? (int)v : -1;
}

/* Behind "\u": four digits, and for a pair of surrogates "\uXXXX" more. Never writes more than it reads. */
static char *unescape_unicode(struct mq_scan *s, char *w)
{
	int c, low;

	if (s->end - s->p < 4 || (c = hex_number(s->p, 4)) < 0)
		return NULL;
	s->p += 4;
	if (c < 0x80) {
		*w = (char)c;
		return w + 1;
	}
	if (c < 0xd800 || c > 0xdfff)
		return mq_utf8_put(w, (unsigned)c);

	if (c < 0xdc00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
		low = hex_number(s->p + 2, 4);
		if (low >= 0xdc00 && low <= 0xdfff) {
			s->p += 6;
			return mq_utf8_put(w, 0x10000u + ((unsigned)(c - 0xd800) << 10) + (unsigned)(low - 0xdc00));
		}
	}
	*w = '?';
	return w + 1;
}

/* At a backslash: one escape. The list is fastjson's, a superset of JSON's. NULL when it is not in it. */
static char *unescape(struct mq_scan *s, char *w)
{
	int c;

	if (s->end - s->p < 2)
		return NULL;
	c = s->p[1];
	s->p += 2;
	switch (c) {
	case 'u':
		return unescape_unicode(s, w);
	case 'x':
		if (s->end - s->p < 2 || (c = hex_number(s->p, 2)) < 0)
			return NULL;
		s->p += 2;
		return mq_utf8_put(w, (unsigned)c);
	case '0' ... '7':
		c -= '0';
		break;
	case 'b':
		c = '\b';
		break;
	case 't':
		c = '\t';
		break;
	case 'n':
		c = '\n';
		break;
	case 'v':
		c = '\v';
		break;
	case 'f':
	case 'F':
		c = '\f';
		break;
	case 'r':
		c = '\r';
		break;
	case '"':
	case '\'':
	case '/':
	case '\\':
		break;
	default:
		s->p -= 2;
		return NULL;
	}
	*w = (char)c;
	return w + 1;
}

/* Strings are most of what is scanned and written, so eight bytes at a time. */
static const uint64_t eight_ones = 0x0101010101010101, eight_highs = 0x8080808080808080;

/* The high bits of the bytes below `limit`, which is at most 0x80; false ones only above a true one. */
static uint64_t bytes_below(uint64_t bytes, uint8_t limit)
{
	return (bytes - eight_ones * limit) & ~bytes & eight_highs;
}

static uint64_t bytes_equal(uint64_t bytes, char c)
{
	return bytes_below(bytes ^ eight_ones * (uint8_t)c, 1);
}

/* The next quote or backslash, or `end`. */
static char *find_quote(char *p, const char *end, char quote)
{
	uint64_t bytes, hits;

	for (; end - p >= 8; p += 8) {
		memcpy(&bytes, p, 8);
		bytes = le64toh(bytes);
		hits = bytes_equal(bytes, quote) | bytes_equal(bytes, '\\');
		if (hits)
			return p + __builtin_ctzll(hits) / 8;
	}
	while (p < end && *p != quote && *p != '\\')
		p++;
	return p;
}

int mq_scan_string(struct mq_scan *s, struct mq_slice *ret)
{
	char quote = *s->p++;
	char *begin = s->p, *p, *w, *run;

	p = w = find_quote(begin, s->end, quote);
	while (p < s->end && *p == '\\') {
		s->p = p;
		w = unescape(s, w);
		if (!w)
			return -EBADMSG;
		run = s->p;
		p = find_quote(run, s->end, quote);
		memmove(w, run, (size_t)(p - run));
		w += p - run;
	}
	if (p == s->end) {
		s->p = p;
		return -EBADMSG;
	}
	s->p = p + 1;
	*ret = (struct mq_slice){ begin, (size_t)(w - begin) };
	return 0;
}

int mq_scan_token(struct mq_scan *s, struct mq_slice *ret)
{
	char *begin = s->p, *p = begin;

	while (p < s->end && class_of(*p) & BYTE_TOKEN)
		p++;
	if (p == begin)
		return -EBADMSG;
	s->p = p;
	*ret = (struct mq_slice){ begin, (size_t)(p - begin) };
	return 0;
}

/* At a quote: to behind the closing one, changing nothing. */
static bool skip_string(struct mq_scan *s)
{
	char quote = *s->p++;

	for (; s->p < s->end; s->p++) {
		if (*s->p == quote) {
			s->p++;
			return true;
		}
		if (*s->p == '\\' && ++s->p == s->end)
			break;
	}
	return false;
}

static int skip_nested(struct mq_scan *s)
{
	uint64_t is_object = 0; /* one bit per open bracket */
	unsigned depth = 0;

	do {
		mq_scan_space(s);
		if (s->p >= s->end)
			return -EBADMSG;
		if (mq_scan_at_string(s)) {
			if (!skip_string(s))
				return -EBADMSG;
			continue;
		}
		if (!(class_of(*s->p) & BYTE_BRACKET)) {
			if (class_of(*s->p) & BYTE_QUOTE || *s->p == '/')
				return -EBADMSG;
			s->p++;
			continue;
		}
		if (*s->p == '{' || *s->p == '[') {
			if (depth == 64)
				return -EBADMSG;
			is_object = is_object << 1 | (*s->p == '{');
			depth++;
		} else {
			if ((is_object & 1) != (*s->p == '}'))
				return -EBADMSG;
			is_object >>= 1;
			depth--;
		}
		s->p++;
	} while (depth > 0);
	return 0;
}

int mq_scan_skip(struct mq_scan *s, struct mq_slice *ret)
{
	char *begin;
	int r = 0;

	mq_scan_space(s);
	begin = s->p;
	if (begin >= s->end)
		return -EBADMSG;
	if (*begin == '{' || *begin == '[')
		r = skip_nested(s);
	else if (!mq_scan_at_string(s))
		return mq_scan_token(s, ret);
	else if (!skip_string(s))
		r = -EBADMSG;
	if (r < 0)
		return r;
	*ret = (struct mq_slice){ begin, (size_t)(s->p - begin) };
	return 0;
}

int mq_scan_more(struct mq_scan *s, char close)
{
	bool has_comma = false;

	while (mq_scan_take(s, ','))
		has_comma = true;
	if (mq_scan_take(s, close))
		return 0;
	return has_comma && s->p < s->end ? 1 : -EBADMSG;
}

static char *escape_control(char *out, char c)
{
	static const char hex[] = "0123456789ABCDEF";
	static const char letter[32] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r' };

	*out++ = '\\';
	if (c == '"' || c == '\\') {
		*out++ = c;
	} else if (letter[(uint8_t)c]) {
		*out++ = letter[(uint8_t)c];
	} else {
		memcpy(out, "u00", 3);
		out[3] = hex[(uint8_t)c >> 4];
		out[4] = hex[(uint8_t)c & 15];
		out += 5;
	}
	return out;
}

/* Copies what needs no escape, eight bytes at a time; returns where it stopped. */
static const char *copy_plain(const char *p, const char *end, char **out)
{
	uint64_t bytes;
	char *w = *out;

	for (; end - p >= 8; p += 8, w += 8) {
		memcpy(&bytes, p, 8);
		if ((bytes & eight_highs) | bytes_below(bytes, ' ') | bytes_equal(bytes, '"') | bytes_equal(bytes, '\\'))
			break;
		memcpy(w, &bytes, 8);
	}
	while (p < end && !(class_of(*p) & BYTE_ESCAPE))
		*w++ = *p++;
	*out = w;
	return p;
}

char *mq_json_escape(char *out, struct mq_slice text)
{
	const char *p = text.p, *end = text.p + text.n;

	for (;;) {
		unsigned n;

		p = copy_plain(p, end, &out);
		if (p == end)
			return out;
		if ((uint8_t)*p < 0x80) {
			out = escape_control(out, *p++);
			continue;
		}
		n = mq_utf8_length(p, end);
		if (n == 0) {
			*out++ = '?';
			p++;
			continue;
		}
		memcpy(out, p, n);
		out += n;
		p += n;
	}
}
