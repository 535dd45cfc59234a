/* The grammar is that of upstream's SelectorParser, and what it refuses is refused here:
 *
 *   or     := and ( OR and )*
 *   and    := eq ( AND eq )*
 *   eq     := cmp ( '=' cmp | '<>' cmp | IS [NOT] NULL )*
 *   cmp    := unary ( ('>' | '>=' | '<' | '<=') unary | [NOT] (CONTAINS | STARTSWITH | ENDSWITH) text
 *           | [NOT] BETWEEN unary AND unary | [NOT] IN '(' text (',' text)* ')' )*
 *   unary  := ('+' | '-' | NOT) unary | literal | identifier | '(' or ')'
 *
 * What comes behind a complete expression is not looked at, except for the first word, which must be one. Operations are written
 * as they are read: operands first. A jump's target is filled in when it is known. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "daemons/broker/filter_sql_program.h"

enum token_kind {
	T_END,
	T_NOT,
	T_AND,
	T_OR,
	T_BETWEEN,
	T_IN,
	T_TRUE,
	T_FALSE,
	T_NULL,
	T_IS,
	T_CONTAINS,
	T_STARTSWITH,
	T_ENDSWITH,
	T_INTEGER,
	T_FLOAT,
	T_STRING,
	T_NAME,
	T_EQUAL,
	T_NOT_EQUAL,
	T_GREATER,
	T_GREATER_EQUAL,
	T_LESS,
	T_LESS_EQUAL,
	T_OPEN,
	T_COMMA,
	T_CLOSE,
	T_PLUS,
	T_MINUS,
};

/* What the parser knows of an operand that was written. */
struct operand {
	enum {
		IS_PROPERTY,
		IS_NUMBER,
		IS_STRING,
		IS_LITERAL,   /* TRUE, FALSE, NULL */
		IS_CONDITION, /* TRUE, FALSE or null comes out */
		IS_NEGATED,   /* a number or null comes out */
	} kind;
	unsigned at, depth; /* its first operation, and the stack before it */
	bool is_null;       /* IS_LITERAL */
	bool is_float;      /* IS_NUMBER: which of the next two */
	union filter_number number;
};

struct array {
	void *items; /* owned */
	unsigned n, capacity;
};

struct parser {
	const char *begin, *p, *end;
	struct mq_error *err;
	int error; /* the first one */

	enum token_kind kind; /* of the token that comes next */
	struct mq_slice token;

	unsigned nesting; /* of unary() */
	unsigned depth;   /* of the stack behind the last operation */
	struct array ops, numbers, strings, lists;
	char *text; /* owned: names and decoded strings; never more than the expression itself */
	unsigned n_text;
	struct filter_text names[FILTER_SQL_NAMES_MAX];
	unsigned n_names;
};

static bool fail(struct parser *p, int error, const char *fmt, ...) _printf_(3, 4);

/* Notes the first error. False. */
static bool fail(struct parser *p, int error, const char *fmt, ...)
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

static size_t column(const struct parser *p, const char *at)
{
	return (size_t)(at - p->begin) + 1;
}

/* The beginning of a long word, whole characters. */
static int shown(struct mq_slice s)
{
	size_t n = s.n > 40 ? 40 : s.n;

	while (n > 0 && n < s.n && (s.p[n] & 0xc0) == 0x80)
		n--;
	return (int)n;
}

static bool fail_token(struct parser *p, const char *wanted)
{
	if (p->kind == T_END)
		return fail(p, -EINVAL, "the expression ends where %s is expected", wanted);
	return fail(p, -EINVAL, "'%.*s' at column %zu: %s is expected", shown(p->token), p->token.p, column(p, p->token.p),
		    wanted);
}

static void *array_add(struct parser *p, struct array *a, size_t size, unsigned max)
{
	if (a->n == max) {
		fail(p, -E2BIG, "the expression is too complex");
		return NULL;
	}
	if (a->n == a->capacity) {
		unsigned capacity = a->capacity ? a->capacity * 2 : 16;
		void *items = reallocarray(a->items, capacity, size);

		if (!items) {
			fail(p, -ENOMEM, "out of memory");
			return NULL;
		}
		a->items = items;
		a->capacity = capacity;
	}
	return (char *)a->items + size * a->n++;
}

/* ---- Words ---- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
}

static const char *skip_digits(const struct parser *p, const char *s)
{
	while (s < p->end && is_digit(*s))
		s++;
	return s;
}

/* Behind a comment at p->p, or p->p. A line comment needs its line's end; without it the bars are two signs. */
static const char *skip_comment(struct parser *p)
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
		fail(p, -EINVAL, "the comment at column %zu has no end", column(p, p->p));
	}
	return p->p;
}

static void skip_blanks(struct parser *p)
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
static const char *skip_exponent(const struct parser *p, const char *s)
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
static bool lex_number(struct parser *p)
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
static void lex_string(struct parser *p)
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
		fail(p, -EINVAL, "the text at column %zu has no end", column(p, p->p));
		return;
	}
	p->kind = T_STRING;
	p->p = end;
}

static void lex_word(struct parser *p)
{
	static const char *const words[] = {
		[T_NOT] = "NOT",   [T_AND] = "AND",	      [T_OR] = "OR",		     [T_BETWEEN] = "BETWEEN",
		[T_IN] = "IN",	   [T_TRUE] = "TRUE",	      [T_FALSE] = "FALSE",	     [T_NULL] = "NULL",
		[T_IS] = "IS",	   [T_CONTAINS] = "CONTAINS", [T_STARTSWITH] = "STARTSWITH", [T_ENDSWITH] = "ENDSWITH",
	};
	const char *begin = p->p;
	size_t n;

	while (p->p < p->end && (is_name_start(*p->p) || is_digit(*p->p)))
		p->p++;
	n = (size_t)(p->p - begin);
	p->kind = T_NAME;
	for (unsigned i = T_NOT; i < N_ELEMENTS(words); i++)
		if (strlen(words[i]) == n && strncasecmp(words[i], begin, n) == 0)
			p->kind = i;
}

static void lex_sign(struct parser *p)
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
		fail(p, -EINVAL, "'%c' at column %zu means nothing in an expression", *p->p, column(p, p->p));
	else
		fail(p, -EINVAL, "the character at column %zu means nothing outside of a text", column(p, p->p));
}

static void next(struct parser *p)
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

static bool expect(struct parser *p, enum token_kind kind, const char *name)
{
	if (p->error || p->kind != kind)
		return fail_token(p, name);
	next(p);
	return true;
}

static bool take(struct parser *p, enum token_kind kind)
{
	if (p->error || p->kind != kind)
		return false;
	next(p);
	return true;
}

/* ---- Writing ---- */

/* Returns the operation's number. */
static unsigned write_op(struct parser *p, enum filter_op_code code, unsigned arg)
{
	struct filter_op *op = array_add(p, &p->ops, sizeof *op, FILTER_OPS_MAX);

	if (!op)
		return 0;
	*op = (struct filter_op){ .code = code, .arg = (uint16_t)arg };
	if (code <= OP_PROPERTY || code == OP_OVER || code == OP_DUP)
		p->depth++;
	else if (code == OP_NIP || code == OP_EQUAL || (code >= OP_GREATER && code <= OP_LESS_EQUAL) || code == OP_AND || code == OP_OR)
		p->depth--;
	if (p->depth > FILTER_STACK_MAX)
		fail(p, -E2BIG, "the expression is too deeply nested");
	return p->ops.n - 1;
}

static void write_not(struct parser *p, bool is_not)
{
	if (is_not)
		write_op(p, OP_NOT, 0);
}

/* The jump goes to the operation that is written next. */
static void land(struct parser *p, unsigned jump)
{
	if (!p->error)
		((struct filter_op *)p->ops.items)[jump].arg = (uint16_t)p->ops.n;
}

static struct operand operand_here(const struct parser *p)
{
	return (struct operand){ .kind = IS_CONDITION, .at = p->ops.n, .depth = p->depth };
}

static struct filter_text add_text(struct parser *p, struct mq_slice s)
{
	struct filter_text t = { (uint16_t)p->n_text, (uint16_t)s.n };

	memcpy(p->text + p->n_text, s.p, s.n);
	p->n_text += (unsigned)s.n;
	return t;
}

static unsigned add_name(struct parser *p, struct mq_slice name)
{
	for (unsigned i = 0; i < p->n_names; i++)
		if (mq_slice_equal(name, (struct mq_slice){ p->text + p->names[i].at, p->names[i].n }))
			return i;
	if (p->n_names == FILTER_SQL_NAMES_MAX) {
		fail(p, -E2BIG, "the expression names more than %d properties", FILTER_SQL_NAMES_MAX);
		return 0;
	}
	p->names[p->n_names] = add_text(p, name);
	return p->n_names++;
}

/* The text between the quotes of the token; a doubled quote is one. */
static unsigned add_string(struct parser *p)
{
	struct filter_text *t = array_add(p, &p->strings, sizeof *t, FILTER_OPS_MAX);
	char *out = p->text + p->n_text;
	unsigned n = 0;

	if (!t)
		return 0;
	for (size_t i = 1; i + 1 < p->token.n; i++) {
		i += p->token.p[i] == '\'';
		out[n++] = p->token.p[i];
	}
	*t = (struct filter_text){ (uint16_t)p->n_text, (uint16_t)n };
	p->n_text += n;
	return p->strings.n - 1;
}

static unsigned add_number(struct parser *p, union filter_number v)
{
	union filter_number *number = array_add(p, &p->numbers, sizeof *number, FILTER_OPS_MAX);

	if (!number)
		return 0;
	*number = v;
	return p->numbers.n - 1;
}

/* A property stands for a condition that is never true: its value is a text. */
static bool make_condition(struct parser *p, struct operand *o)
{
	if (p->error)
		return false;
	if (o->kind == IS_PROPERTY) {
		write_op(p, OP_CAST, 0);
		o->kind = IS_CONDITION;
	}
	if (o->kind != IS_CONDITION && o->kind != IS_LITERAL)
		return fail(p, -EINVAL, "a number or a text stands where a condition is expected, before column %zu",
			    column(p, p->token.p));
	return true;
}

static bool is_constant(const struct operand *o)
{
	return o->kind == IS_NUMBER || o->kind == IS_STRING || o->kind == IS_LITERAL;
}

/* ---- Grammar; each writes the operations of one operand. False after fail(). ---- */

static bool parse_or(struct parser *p, struct operand *ret);
static bool parse_unary(struct parser *p, struct operand *ret);

static bool parse_integer(struct parser *p, struct operand *ret)
{
	struct mq_slice digits = p->token;
	union filter_number v;

	digits.n -= !is_digit(digits.p[digits.n - 1]);
	if (!java_parse_int(digits, INT64_MIN, INT64_MAX, &v.i))
		return fail(p, -EINVAL, "%.*s at column %zu is too big", shown(digits), digits.p, column(p, digits.p));
	ret->number = v;
	write_op(p, v.i <= INT32_MAX ? OP_INT : OP_LONG, add_number(p, v));
	next(p);
	return true;
}

/* Upstream takes what is between Double.MIN_VALUE and Double.MAX_VALUE: not even 0.0. */
static bool parse_float(struct parser *p, struct operand *ret)
{
	union filter_number v;

	if (!java_parse_double(p->token, &v.d) || isinf(v.d))
		return fail(p, -EINVAL, "%.*s at column %zu is too big", shown(p->token), p->token.p,
			    column(p, p->token.p));
	if (v.d <= 0)
		return fail(p, -EINVAL, "%.*s at column %zu is less than 4.9E-324", shown(p->token), p->token.p,
			    column(p, p->token.p));
	ret->is_float = true;
	ret->number = v;
	write_op(p, OP_DOUBLE, add_number(p, v));
	next(p);
	return true;
}

static bool parse_literal(struct parser *p, struct operand *ret, enum filter_op_code code)
{
	ret->kind = IS_LITERAL;
	ret->is_null = code == OP_NULL;
	write_op(p, code, 0);
	next(p);
	return true;
}

static bool parse_primary(struct parser *p, struct operand *ret)
{
	switch (p->kind) {
	case T_STRING:
		ret->kind = IS_STRING;
		write_op(p, OP_STRING, add_string(p));
		next(p);
		return true;
	case T_NAME:
		ret->kind = IS_PROPERTY;
		write_op(p, OP_PROPERTY, add_name(p, p->token));
		next(p);
		return true;
	case T_INTEGER:
		ret->kind = IS_NUMBER;
		return parse_integer(p, ret);
	case T_FLOAT:
		ret->kind = IS_NUMBER;
		return parse_float(p, ret);
	case T_TRUE:
		return parse_literal(p, ret, OP_TRUE);
	case T_FALSE:
		return parse_literal(p, ret, OP_FALSE);
	case T_NULL:
		return parse_literal(p, ret, OP_NULL);
	case T_OPEN:
		next(p);
		return parse_or(p, ret) && expect(p, T_CLOSE, "')'");
	default:
		return fail_token(p, "a property, a value or '('");
	}
}

static bool parse_signed(struct parser *p, struct operand *ret)
{
	if (take(p, T_PLUS))
		return parse_unary(p, ret);
	if (take(p, T_MINUS)) {
		if (!parse_unary(p, ret))
			return false;
		write_op(p, OP_NEGATE, 0);
		ret->kind = IS_NEGATED;
		return true;
	}
	if (take(p, T_NOT)) {
		if (!parse_unary(p, ret) || !make_condition(p, ret))
			return false;
		write_op(p, OP_NOT, 0);
		ret->kind = IS_CONDITION;
		return true;
	}
	return parse_primary(p, ret);
}

static bool parse_unary(struct parser *p, struct operand *ret)
{
	struct operand o = operand_here(p);
	bool ok;

	if (p->error)
		return false;
	if (p->nesting == FILTER_SQL_DEPTH_MAX)
		return fail(p, -E2BIG, "the expression is nested more than %d levels deep", FILTER_SQL_DEPTH_MAX);
	p->nesting++;
	ok = parse_signed(p, &o);
	p->nesting--;
	*ret = o;
	return ok && !p->error;
}

/* Only numbers, and what may turn out as one, are in order. */
static bool check_order(struct parser *p, const struct operand *o)
{
	if (o->kind == IS_CONDITION || o->kind == IS_LITERAL || o->kind == IS_STRING)
		return fail(p, -EINVAL, "a text or a condition cannot be in order with anything, before column %zu",
			    column(p, p->token.p));
	return true;
}

/* The left operand is written; when it is null, so is the result, and the right one is not looked at. */
static bool parse_order_right(struct parser *p, enum filter_op_code code, struct operand *right)
{
	unsigned jump = write_op(p, OP_IF_NULL, 0);

	if (!parse_unary(p, right) || !check_order(p, right))
		return false;
	write_op(p, code, 0);
	land(p, jump);
	return true;
}

static bool parse_order(struct parser *p, struct operand *left, enum filter_op_code code)
{
	struct operand right;

	next(p);
	if (!parse_order_right(p, code, &right) || !check_order(p, left))
		return false;
	left->kind = IS_CONDITION;
	return true;
}

static bool is_less(const struct operand *a, const struct operand *b)
{
	if (!a->is_float && !b->is_float)
		return a->number.i < b->number.i;
	return (a->is_float ? a->number.d : (double)a->number.i) < (b->is_float ? b->number.d : (double)b->number.i);
}

/* v >= low AND v <= high; negated, v < low OR v > high. */
static bool parse_between(struct parser *p, struct operand *value, bool is_not)
{
	struct operand low, high;
	unsigned jump;

	next(p);
	write_op(p, OP_DUP, 0);
	if (!parse_order_right(p, is_not ? OP_LESS : OP_GREATER_EQUAL, &low) || !expect(p, T_AND, "AND"))
		return false;
	jump = write_op(p, is_not ? OP_IF_TRUE : OP_IF_FALSE, 0);
	write_op(p, OP_OVER, 0);
	if (!parse_order_right(p, is_not ? OP_GREATER : OP_LESS_EQUAL, &high) || !check_order(p, value))
		return false;
	write_op(p, is_not ? OP_OR : OP_AND, 0);
	land(p, jump);
	write_op(p, OP_NIP, 0);
	if (!is_not && low.kind == IS_NUMBER && high.kind == IS_NUMBER && is_less(&high, &low))
		return fail(p, -EINVAL, "the bounds of BETWEEN are the wrong way round, before column %zu",
			    column(p, p->token.p));
	value->kind = IS_CONDITION;
	return true;
}

/* Nothing contains the empty text, and what should is not even evaluated. */
static bool parse_search(struct parser *p, struct operand *left, enum filter_op_code code, bool is_not)
{
	next(p);
	if (p->kind != T_STRING)
		return fail_token(p, "a text");
	if (p->token.n == 2) {
		p->ops.n = left->at;
		p->depth = left->depth;
		write_op(p, OP_FALSE, 0);
	} else {
		unsigned at = write_op(p, code, add_string(p));

		if (p->error)
			return false;
		((struct filter_op *)p->ops.items)[at].is_not = is_not;
	}
	next(p);
	left->kind = IS_CONDITION;
	return true;
}

static int compare_texts(const void *a, const void *b, void *text)
{
	const struct filter_text *x = a, *y = b;
	const char *base = text;

	return mq_slice_compare((struct mq_slice){ base + x->at, x->n }, (struct mq_slice){ base + y->at, y->n });
}

static bool parse_in(struct parser *p, struct operand *left, bool is_not)
{
	unsigned first = p->strings.n, at;
	struct filter_list *list;

	next(p);
	if (!expect(p, T_OPEN, "'('"))
		return false;
	do {
		if (p->kind != T_STRING)
			return fail_token(p, "a text");
		add_string(p);
		next(p);
	} while (take(p, T_COMMA));
	if (!expect(p, T_CLOSE, "',' or ')'"))
		return false;
	if (left->kind != IS_PROPERTY)
		return fail(p, -EINVAL, "IN is asked of something else than a property, before column %zu",
			    column(p, p->token.p));
	list = array_add(p, &p->lists, sizeof *list, FILTER_OPS_MAX);
	if (!list)
		return false;
	*list = (struct filter_list){ (uint16_t)first, (uint16_t)(p->strings.n - first) };
	qsort_r((struct filter_text *)p->strings.items + first, list->n, sizeof(struct filter_text), compare_texts, p->text);
	at = write_op(p, OP_IN, p->lists.n - 1);
	if (p->error)
		return false;
	((struct filter_op *)p->ops.items)[at].is_not = is_not;
	left->kind = IS_CONDITION;
	return true;
}

static bool parse_word_operator(struct parser *p, struct operand *left)
{
	bool is_not = take(p, T_NOT);

	switch (p->kind) {
	case T_CONTAINS:
		return parse_search(p, left, OP_CONTAINS, is_not);
	case T_STARTSWITH:
		return parse_search(p, left, OP_STARTS, is_not);
	case T_ENDSWITH:
		return parse_search(p, left, OP_ENDS, is_not);
	case T_BETWEEN:
		return parse_between(p, left, is_not);
	case T_IN:
		return parse_in(p, left, is_not);
	default:
		return fail_token(p, "CONTAINS, STARTSWITH, ENDSWITH, BETWEEN or IN");
	}
}

static bool parse_comparison(struct parser *p, struct operand *ret)
{
	bool ok = parse_unary(p, ret);

	while (ok) {
		switch (p->kind) {
		case T_GREATER:
			ok = parse_order(p, ret, OP_GREATER);
			break;
		case T_GREATER_EQUAL:
			ok = parse_order(p, ret, OP_GREATER_EQUAL);
			break;
		case T_LESS:
			ok = parse_order(p, ret, OP_LESS);
			break;
		case T_LESS_EQUAL:
			ok = parse_order(p, ret, OP_LESS_EQUAL);
			break;
		case T_NOT:
		case T_BETWEEN:
		case T_IN:
		case T_CONTAINS:
		case T_STARTSWITH:
		case T_ENDSWITH:
			ok = parse_word_operator(p, ret);
			break;
		default:
			return !p->error;
		}
	}
	return false;
}

static bool parse_equal(struct parser *p, struct operand *left, bool is_not)
{
	struct operand right;

	next(p);
	if (!parse_comparison(p, &right))
		return false;
	if ((left->kind == IS_LITERAL && left->is_null) || (right.kind == IS_LITERAL && right.is_null))
		return fail(p, -EINVAL, "nothing is equal to NULL: say IS NULL, before column %zu", column(p, p->token.p));
	if (left->kind == IS_LITERAL && is_constant(&right) && right.kind != IS_LITERAL)
		return fail(p, -EINVAL, "TRUE or FALSE cannot be compared with a number or a text, before column %zu",
			    column(p, p->token.p));
	write_op(p, OP_EQUAL, 0);
	write_not(p, is_not);
	left->kind = IS_CONDITION;
	return true;
}

static bool parse_is(struct parser *p, struct operand *left)
{
	bool is_not;

	next(p);
	is_not = take(p, T_NOT);
	if (!expect(p, T_NULL, is_not ? "NULL" : "NULL or NOT NULL"))
		return false;
	write_op(p, OP_IS_NULL, 0);
	write_not(p, is_not);
	left->kind = IS_CONDITION;
	return true;
}

static bool parse_equality(struct parser *p, struct operand *ret)
{
	bool ok = parse_comparison(p, ret);

	while (ok) {
		if (p->kind == T_EQUAL || p->kind == T_NOT_EQUAL)
			ok = parse_equal(p, ret, p->kind == T_NOT_EQUAL);
		else if (p->kind == T_IS)
			ok = parse_is(p, ret);
		else
			return !p->error;
	}
	return false;
}

/* One operator and its right operand; the left one, which may decide by itself, is written. */
static bool parse_logic(struct parser *p, struct operand *left, bool (*parse_right)(struct parser *p, struct operand *ret),
			enum filter_op_code code)
{
	struct operand right;
	unsigned jump;

	next(p);
	if (!make_condition(p, left))
		return false;
	jump = write_op(p, code == OP_AND ? OP_IF_FALSE : OP_IF_TRUE, 0);
	if (!parse_right(p, &right) || !make_condition(p, &right))
		return false;
	write_op(p, code, 0);
	land(p, jump);
	left->kind = IS_CONDITION;
	return true;
}

static bool parse_and(struct parser *p, struct operand *ret)
{
	bool ok = parse_equality(p, ret);

	while (ok && p->kind == T_AND)
		ok = parse_logic(p, ret, parse_equality, OP_AND);
	return ok && !p->error;
}

static bool parse_or(struct parser *p, struct operand *ret)
{
	bool ok = parse_and(p, ret);

	while (ok && p->kind == T_OR)
		ok = parse_logic(p, ret, parse_and, OP_OR);
	return ok && !p->error;
}

static bool parse_all(struct parser *p)
{
	struct operand o;

	next(p);
	return parse_or(p, &o) && make_condition(p, &o) && !p->error;
}

/* ---- Packing ---- */

static void *pack(char **at, const void *items, size_t n)
{
	char *place = *at;

	if (n > 0)
		memcpy(place, items, n);
	*at += n;
	return place;
}

static void program_hash_names(struct filter_sql *f)
{
	memset(f->bucket, FILTER_NO_NAME, sizeof f->bucket);
	for (unsigned i = 0; i < f->n_names; i++) {
		uint8_t *bucket = &f->bucket[filter_bucket(filter_slice(f, f->names[i]))];

		f->next_name[i] = *bucket;
		*bucket = (uint8_t)i;
	}
}

/* In the order of their alignment. */
static struct filter_sql *program_new(const struct parser *p)
{
	size_t n_numbers = p->numbers.n * sizeof(union filter_number), n_ops = p->ops.n * sizeof(struct filter_op);
	size_t n_strings = p->strings.n * sizeof(struct filter_text), n_lists = p->lists.n * sizeof(struct filter_list);
	size_t bytes = sizeof(struct filter_sql) + n_numbers + n_ops + n_strings + n_lists + p->n_text;
	struct filter_sql *f = malloc(bytes);
	char *at = (char *)(f + 1);

	if (!f)
		return NULL;
	*f = (struct filter_sql){ .n_refs = 1, .bytes = bytes, .n_ops = p->ops.n, .n_names = p->n_names };
	memcpy(f->names, p->names, p->n_names * sizeof p->names[0]);
	f->numbers = pack(&at, p->numbers.items, n_numbers);
	f->ops = pack(&at, p->ops.items, n_ops);
	f->strings = pack(&at, p->strings.items, n_strings);
	f->lists = pack(&at, p->lists.items, n_lists);
	f->text = pack(&at, p->text, p->n_text);
	program_hash_names(f);
	return f;
}

static int program_charge(struct filter_sql *f, _Atomic size_t *account, struct mq_error *err)
{
	if (atomic_fetch_add(account, f->bytes) + f->bytes > FILTER_SQL_BYTES_MAX) {
		atomic_fetch_sub(account, f->bytes);
		return mq_error_set(err, -EDQUOT, "all filters together take too much memory");
	}
	f->account = account;
	return 0;
}

int filter_sql_compile(struct filter_sql **ret, struct mq_slice expression, _Atomic size_t *account, struct mq_error *err)
{
	const char *text = expression.n > 0 ? expression.p : "";
	struct parser p = { .begin = text, .p = text, .end = text + expression.n, .err = err };
	struct filter_sql *f = NULL;
	int r;

	if (expression.n > FILTER_SQL_TEXT_MAX)
		return mq_error_set(err, -E2BIG, "the expression is longer than %d bytes", FILTER_SQL_TEXT_MAX);
	p.text = malloc(expression.n + 1);
	if (!p.text)
		return mq_error_set(err, -ENOMEM, "out of memory");
	if (parse_all(&p)) {
		f = program_new(&p);
		r = f ? program_charge(f, account, err) : mq_error_set(err, -ENOMEM, "out of memory");
	} else {
		r = p.error;
	}
	free(p.text);
	free(p.ops.items);
	free(p.numbers.items);
	free(p.strings.items);
	free(p.lists.items);
	if (r < 0)
		free(f);
	else
		*ret = f;
	return r;
}
