/* The words of an expression. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "daemons/broker/filter_sql_parser.h"

bool filter_fail(struct filter_parser *p, int error, const char *fmt, ...)
{
	char text[sizeof p->err->text];
	va_list ap;

	if (p->error)
		return false;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	p->error = mq_error_set(p->err, error, "%s", text);
	return false;
}

size_t filter_column(const struct filter_parser *p, const char *at)
{
	return (size_t)(at - p->begin) + 1;
}

int filter_shown(struct mq_slice s)
{
	size_t n = s.n > 40 ? 40 : s.n;

	while (n > 0 && n < s.n && (s.p[n] & 0xc0) == 0x80)
		n--;
	return (int)n;
}

bool filter_fail_token(struct filter_parser *p, const char *wanted)
{
	if (p->kind == T_END)
		return filter_fail(p, -EINVAL, "the expression ends where %s is expected", wanted);
	return filter_fail(p, -EINVAL, "'%.*s' at column %zu: %s is expected", filter_shown(p->token), p->token.p,
			   filter_column(p, p->token.p), wanted);
}

static bool is_name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
}

static const char *skip_digits(const struct filter_parser *p, const char *s)
{
	while (s < p->end && filter_is_digit(*s))
		s++;
	return s;
}

/* Behind a comment at p->p, or p->p. A line comment needs its line's end; without it the bars are two signs. */
static const char *skip_comment(struct filter_parser *p)
{
	size_t left = (size_t)(p->end - p->p);
	const char *s = p->p;

	if (left >= 2 && memcmp(s, "--", 2) == 0) {
		while (s < p->end && *s != '\n' && *s != '\r')
			s++;
		return s < p->end ? s + 1 : p->p;
	}
	if (left >= 2 && memcmp(s, "/*", 2) == 0) {
		s = memmem(s + 2, left - 2, "*/", 2);
		if (s)
			return s + 2;
		filter_fail(p, -EINVAL, "the comment at column %zu has no end", filter_column(p, p->p));
	}
	return p->p;
}

static void skip_blanks(struct filter_parser *p)
{
	const char *before;

	do {
		before = p->p;
		while (p->p < p->end && *p->p && strchr(" \t\n\r\f", *p->p))
			p->p++;
		p->p = skip_comment(p);
	} while (p->p != before && !p->error);
}

/* "E", a sign, digits; `s` when it is not that. */
static const char *skip_exponent(const struct filter_parser *p, const char *s)
{
	const char *digits = s;

	if (digits == p->end || (*digits != 'e' && *digits != 'E'))
		return s;
	digits++;
	if (digits < p->end && (*digits == '+' || *digits == '-'))
		digits++;
	return skip_digits(p, digits) > digits ? skip_digits(p, digits) : s;
}

/* The longest of an integer, which has no leading zero, and a float. False when there is no digit. */
static bool lex_number(struct filter_parser *p)
{
	const char *s = skip_digits(p, p->p), *begin = p->p, *fraction = s;

	if (s < p->end && *s == '.')
		fraction = skip_digits(p, s + 1);
	if (fraction > s + 1 || (fraction == s + 1 && s > begin)) {
		p->kind = T_FLOAT;
		p->p = skip_exponent(p, fraction);
	} else if (s == begin) {
		return false;
	} else if (skip_exponent(p, s) > s) {
		p->kind = T_FLOAT;
		p->p = skip_exponent(p, s);
	} else {
		p->kind = T_INTEGER;
		p->p = *begin == '0' ? begin + 1 : s;
		if (*begin != '0' && s < p->end && (*s == 'l' || *s == 'L'))
			p->p++;
	}
	return true;
}

/* The longest text: where the last quote has no partner, an earlier doubled one ends it, as in Java's tokenizer. */
static void lex_string(struct filter_parser *p)
{
	const char *end = NULL, *s = p->p + 1;

	while (s < p->end) {
		if (*s++ != '\'')
			continue;
		end = s;
		if (s == p->end || *s != '\'')
			break;
		s++;
	}
	if (!end) {
		filter_fail(p, -EINVAL, "the text at column %zu has no end", filter_column(p, p->p));
		return;
	}
	p->kind = T_STRING;
	p->p = end;
}

static void lex_word(struct filter_parser *p)
{
	static const char *const words[] = {
		[T_NOT] = "NOT",   [T_AND] = "AND",	      [T_OR] = "OR",		     [T_BETWEEN] = "BETWEEN",
		[T_IN] = "IN",	   [T_TRUE] = "TRUE",	      [T_FALSE] = "FALSE",	     [T_NULL] = "NULL",
		[T_IS] = "IS",	   [T_CONTAINS] = "CONTAINS", [T_STARTSWITH] = "STARTSWITH", [T_ENDSWITH] = "ENDSWITH",
	};
	const char *begin = p->p;
	size_t n;

	while (p->p < p->end && (is_name_start(*p->p) || filter_is_digit(*p->p)))
		p->p++;
	n = (size_t)(p->p - begin);
	p->kind = T_NAME;
	for (unsigned i = T_NOT; i < N_ELEMENTS(words); i++)
		if (strlen(words[i]) == n && strncasecmp(words[i], begin, n) == 0)
			p->kind = i;
}

static void lex_sign(struct filter_parser *p)
{
	static const struct {
		char text[3];
		enum token_kind kind;
	} signs[] = {
		{ "<>", T_NOT_EQUAL }, { ">=", T_GREATER_EQUAL }, { "<=", T_LESS_EQUAL }, { ">", T_GREATER }, { "<", T_LESS },
		{ "=", T_EQUAL },      { "(", T_OPEN },		  { ",", T_COMMA },	  { ")", T_CLOSE },   { "+", T_PLUS },
		{ "-", T_MINUS },
	};
	struct mq_slice rest = { p->p, (size_t)(p->end - p->p) };

	for (unsigned i = 0; i < N_ELEMENTS(signs); i++) {
		if (!mq_slice_starts(rest, mq_slice_of(signs[i].text)))
			continue;
		p->kind = signs[i].kind;
		p->p += strlen(signs[i].text);
		return;
	}
	if (*p->p > ' ' && *p->p < 0x7f)
		filter_fail(p, -EINVAL, "'%c' at column %zu means nothing in an expression", *p->p, filter_column(p, p->p));
	else
		filter_fail(p, -EINVAL, "the character at column %zu means nothing outside of a text", filter_column(p, p->p));
}

void filter_next(struct filter_parser *p)
{
	const char *begin;

	skip_blanks(p);
	begin = p->p;
	p->kind = T_END;
	p->token = (struct mq_slice){ begin, 0 };
	if (p->error || p->p == p->end)
		return;
	if (is_name_start(*p->p))
		lex_word(p);
	else if (*p->p == '\'')
		lex_string(p);
	else if (!lex_number(p))
		lex_sign(p);
	if (p->error)
		p->kind = T_END;
	p->token.n = (size_t)(p->p - begin);
}

bool filter_expect(struct filter_parser *p, enum token_kind kind, const char *name)
{
	if (p->error || p->kind != kind)
		return filter_fail_token(p, name);
	filter_next(p);
	return true;
}

bool filter_take(struct filter_parser *p, enum token_kind kind)
{
	if (p->error || p->kind != kind)
		return false;
	filter_next(p);
	return true;
}
