/* The lexical part of the JSON dialect, shared by the header codec and the body parser: blanks, comments, strings and
 * tokens of a writable text. Strings are unescaped in place, so nothing is allocated and a text is scanned once.
 * Functions return 0 or -EBADMSG and leave `p` at the offending byte. */
#pragma once

#include <stdbool.h>

#include "libmq/base/cleanup.h"
#include "libmq/base/slice.h"
#include "libmq/base/utf8.h"

struct mq_scan {
	char *p;         /* next byte */
	const char *end; /* behind the last byte */
};

/* Skips blanks and comments, the slow way. */
void mq_scan_blanks(struct mq_scan *s);

static inline void mq_scan_space(struct mq_scan *s)
{
	if (s->p < s->end && (*s->p <= ' ' || *s->p == '/'))
		mq_scan_blanks(s);
}

/* Is `c` (after blanks) the next byte? Not consumed. */
static inline bool mq_scan_at(struct mq_scan *s, char c)
{
	mq_scan_space(s);
	return s->p < s->end && *s->p == c;
}

/* The same, consumed. */
static inline bool mq_scan_take(struct mq_scan *s, char c)
{
	if (!mq_scan_at(s, c))
		return false;
	s->p++;
	return true;
}

static inline bool mq_scan_at_string(const struct mq_scan *s)
{
	return s->p < s->end && (*s->p == '"' || *s->p == '\'');
}

/* At a quote: the string, unescaped in place. A lone surrogate becomes '?', as Java's encoder makes it. */
int mq_scan_string(struct mq_scan *s, struct mq_slice *ret) _must_check_;

/* At a bare token (number, literal, unquoted name): at least one byte of it. */
int mq_scan_token(struct mq_scan *s, struct mq_slice *ret) _must_check_;

/* At any value: passes over it without changing it; *ret is its text. Nesting is limited to 64. */
int mq_scan_skip(struct mq_scan *s, struct mq_slice *ret) _must_check_;

/* After a member or element: true when another one follows, false at `close`, which is consumed.
 * Any number of commas is one, also before `close` (fastjson's AllowArbitraryCommas). */
int mq_scan_more(struct mq_scan *s, char close) _must_check_;

/* Writes `text` escaped as Java does (quote, backslash, control characters), without quotes around it; bytes that are no
 * UTF-8 become '?'. At most 6 * n bytes; returns the position behind. */
char *mq_json_escape(char *out, struct mq_slice text);
