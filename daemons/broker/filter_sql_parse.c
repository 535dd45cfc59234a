/* The grammar is that of upstream's SelectorParser, and what it refuses is refused here:
 *
 *   or     := and ( OR and )*
 *   and    := eq ( AND eq )*
 *   eq     := cmp ( '=' cmp | '<>' cmp | IS [NOT] NULL )*
 *   cmp    := unary ( ('>' | '>=' | '<' | '<=') unary | [NOT] (CONTAINS | STARTSWITH | ENDSWITH) text
 *           | [NOT] BETWEEN unary AND unary | [NOT] IN '(' text (',' text)* ')' )*
 *   unary  := ('+' | '-' | NOT) unary | literal | identifier | '(' or ')'
 *
 * What comes behind a complete expression is not looked at, except for the first word, which must be one. A jump's target is
 * filled in when it is known. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "daemons/broker/filter_sql_parser.h"
#include "daemons/broker/java_number.h"

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

static void write_not(struct filter_parser *p, bool is_not)
{
	if (is_not)
		filter_write(p, OP_NOT, 0);
}

static struct operand operand_here(const struct filter_parser *p)
{
	return (struct operand){ .kind = IS_CONDITION, .at = p->ops.n, .depth = p->depth };
}

/* A property stands for a condition that is never true: its value is a text. */
static bool make_condition(struct filter_parser *p, struct operand *o)
{
	if (p->error)
		return false;
	if (o->kind == IS_PROPERTY) {
		filter_write(p, OP_CAST, 0);
		o->kind = IS_CONDITION;
	}
	if (o->kind != IS_CONDITION && o->kind != IS_LITERAL)
		return filter_fail(p, -EINVAL, "a number or a text stands where a condition is expected, before column %zu",
				   filter_column(p, p->token.p));
	return true;
}

static bool is_constant(const struct operand *o)
{
	return o->kind == IS_NUMBER || o->kind == IS_STRING || o->kind == IS_LITERAL;
}

/* ---- Grammar; each writes the operations of one operand. False after filter_fail(). ---- */

static bool parse_or(struct filter_parser *p, struct operand *ret);
static bool parse_unary(struct filter_parser *p, struct operand *ret);

static bool parse_integer(struct filter_parser *p, struct operand *ret)
{
	struct mq_slice digits = p->token;
	union filter_number v;

	digits.n -= !filter_is_digit(digits.p[digits.n - 1]);
	if (!java_parse_int(digits, INT64_MIN, INT64_MAX, &v.i))
		return filter_fail(p, -EINVAL, "%.*s at column %zu is too big", filter_shown(digits), digits.p, filter_column(p, digits.p));
	ret->number = v;
	filter_write(p, v.i <= INT32_MAX ? OP_INT : OP_LONG, filter_add_number(p, v));
	filter_next(p);
	return true;
}

/* Upstream takes what is between Double.MIN_VALUE and Double.MAX_VALUE: not even 0.0. */
static bool parse_float(struct filter_parser *p, struct operand *ret)
{
	union filter_number v;

	if (!java_parse_double(p->token, &v.d) || isinf(v.d))
		return filter_fail(p, -EINVAL, "%.*s at column %zu is too big", filter_shown(p->token), p->token.p,
				   filter_column(p, p->token.p));
	if (v.d <= 0)
		return filter_fail(p, -EINVAL, "%.*s at column %zu is less than 4.9E-324", filter_shown(p->token), p->token.p,
				   filter_column(p, p->token.p));
	ret->is_float = true;
	ret->number = v;
	filter_write(p, OP_DOUBLE, filter_add_number(p, v));
	filter_next(p);
	return true;
}

static bool parse_literal(struct filter_parser *p, struct operand *ret, enum filter_op_code code)
{
	ret->kind = IS_LITERAL;
	ret->is_null = code == OP_NULL;
	filter_write(p, code, 0);
	filter_next(p);
	return true;
}

static bool parse_primary(struct filter_parser *p, struct operand *ret)
{
	switch (p->kind) {
	case T_STRING:
		ret->kind = IS_STRING;
		filter_write(p, OP_STRING, filter_add_string(p));
		filter_next(p);
		return true;
	case T_NAME:
		ret->kind = IS_PROPERTY;
		filter_write(p, OP_PROPERTY, filter_add_name(p, p->token));
		filter_next(p);
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
		filter_next(p);
		return parse_or(p, ret) && filter_expect(p, T_CLOSE, "')'");
	default:
		return filter_fail_token(p, "a property, a value or '('");
	}
}

static bool parse_signed(struct filter_parser *p, struct operand *ret)
{
	if (filter_take(p, T_PLUS))
		return parse_unary(p, ret);
	if (filter_take(p, T_MINUS)) {
		if (!parse_unary(p, ret))
			return false;
		filter_write(p, OP_NEGATE, 0);
		ret->kind = IS_NEGATED;
		return true;
	}
	if (filter_take(p, T_NOT)) {
		if (!parse_unary(p, ret) || !make_condition(p, ret))
			return false;
		filter_write(p, OP_NOT, 0);
		ret->kind = IS_CONDITION;
		return true;
	}
	return parse_primary(p, ret);
}

static bool parse_unary(struct filter_parser *p, struct operand *ret)
{
	struct operand o = operand_here(p);
	bool ok;

	if (p->error)
		return false;
	if (p->nesting == FILTER_SQL_DEPTH_MAX)
		return filter_fail(p, -E2BIG, "the expression is nested more than %d levels deep", FILTER_SQL_DEPTH_MAX);
	p->nesting++;
	ok = parse_signed(p, &o);
	p->nesting--;
	*ret = o;
	return ok && !p->error;
}

/* Only numbers, and what may turn out as one, are in order. */
static bool check_order(struct filter_parser *p, const struct operand *o)
{
	if (o->kind == IS_CONDITION || o->kind == IS_LITERAL || o->kind == IS_STRING)
		return filter_fail(p, -EINVAL, "a text or a condition cannot be in order with anything, before column %zu",
				   filter_column(p, p->token.p));
	return true;
}

/* The left operand is written; when it is null, so is the result, and the right one is not looked at. */
static bool parse_order_right(struct filter_parser *p, enum filter_op_code code, struct operand *right)
{
	unsigned jump = filter_write(p, OP_IF_NULL, 0);

	if (!parse_unary(p, right) || !check_order(p, right))
		return false;
	filter_write(p, code, 0);
	filter_land(p, jump);
	return true;
}

static bool parse_order(struct filter_parser *p, struct operand *left, enum filter_op_code code)
{
	struct operand right;

	filter_next(p);
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
static bool parse_between(struct filter_parser *p, struct operand *value, bool is_not)
{
	struct operand low, high;
	unsigned jump;

	filter_next(p);
	filter_write(p, OP_DUP, 0);
	if (!parse_order_right(p, is_not ? OP_LESS : OP_GREATER_EQUAL, &low) || !filter_expect(p, T_AND, "AND"))
		return false;
	jump = filter_write(p, is_not ? OP_IF_TRUE : OP_IF_FALSE, 0);
	filter_write(p, OP_OVER, 0);
	if (!parse_order_right(p, is_not ? OP_GREATER : OP_LESS_EQUAL, &high) || !check_order(p, value))
		return false;
	filter_write(p, is_not ? OP_OR : OP_AND, 0);
	filter_land(p, jump);
	filter_write(p, OP_NIP, 0);
	if (!is_not && low.kind == IS_NUMBER && high.kind == IS_NUMBER && is_less(&high, &low))
		return filter_fail(p, -EINVAL, "the bounds of BETWEEN are the wrong way round, before column %zu",
				   filter_column(p, p->token.p));
	value->kind = IS_CONDITION;
	return true;
}

/* Nothing contains the empty text, and what should is not even evaluated. */
static bool parse_search(struct filter_parser *p, struct operand *left, enum filter_op_code code, bool is_not)
{
	filter_next(p);
	if (p->kind != T_STRING)
		return filter_fail_token(p, "a text");
	if (p->token.n == 2) {
		p->ops.n = left->at;
		p->depth = left->depth;
		filter_write(p, OP_FALSE, 0);
	} else {
		unsigned at = filter_write(p, code, filter_add_string(p));

		if (p->error)
			return false;
		((struct filter_op *)p->ops.items)[at].is_not = is_not;
	}
	filter_next(p);
	left->kind = IS_CONDITION;
	return true;
}

static bool parse_in(struct filter_parser *p, struct operand *left, bool is_not)
{
	unsigned first = p->strings.n, at;

	filter_next(p);
	if (!filter_expect(p, T_OPEN, "'('"))
		return false;
	do {
		if (p->kind != T_STRING)
			return filter_fail_token(p, "a text");
		filter_add_string(p);
		filter_next(p);
	} while (filter_take(p, T_COMMA));
	if (!filter_expect(p, T_CLOSE, "',' or ')'"))
		return false;
	if (left->kind != IS_PROPERTY)
		return filter_fail(p, -EINVAL, "IN is asked of something else than a property, before column %zu",
				   filter_column(p, p->token.p));
	at = filter_write(p, OP_IN, filter_add_list(p, first));
	if (p->error)
		return false;
	((struct filter_op *)p->ops.items)[at].is_not = is_not;
	left->kind = IS_CONDITION;
	return true;
}

static bool parse_word_operator(struct filter_parser *p, struct operand *left)
{
	bool is_not = filter_take(p, T_NOT);

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
		return filter_fail_token(p, "CONTAINS, STARTSWITH, ENDSWITH, BETWEEN or IN");
	}
}

static bool parse_comparison(struct filter_parser *p, struct operand *ret)
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

static bool parse_equal(struct filter_parser *p, struct operand *left, bool is_not)
{
	struct operand right;

	filter_next(p);
	if (!parse_comparison(p, &right))
		return false;
	if ((left->kind == IS_LITERAL && left->is_null) || (right.kind == IS_LITERAL && right.is_null))
		return filter_fail(p, -EINVAL, "nothing is equal to NULL: say IS NULL, before column %zu", filter_column(p, p->token.p));
	if (left->kind == IS_LITERAL && is_constant(&right) && right.kind != IS_LITERAL)
		return filter_fail(p, -EINVAL, "TRUE or FALSE cannot be compared with a number or a text, before column %zu",
				   filter_column(p, p->token.p));
	filter_write(p, OP_EQUAL, 0);
	write_not(p, is_not);
	left->kind = IS_CONDITION;
	return true;
}

static bool parse_is(struct filter_parser *p, struct operand *left)
{
	bool is_not;

	filter_next(p);
	is_not = filter_take(p, T_NOT);
	if (!filter_expect(p, T_NULL, is_not ? "NULL" : "NULL or NOT NULL"))
		return false;
	filter_write(p, OP_IS_NULL, 0);
	write_not(p, is_not);
	left->kind = IS_CONDITION;
	return true;
}

static bool parse_equality(struct filter_parser *p, struct operand *ret)
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
static bool parse_logic(struct filter_parser *p, struct operand *left,
			bool (*parse_right)(struct filter_parser *p, struct operand *ret), enum filter_op_code code)
{
	struct operand right;
	unsigned jump;

	filter_next(p);
	if (!make_condition(p, left))
		return false;
	jump = filter_write(p, code == OP_AND ? OP_IF_FALSE : OP_IF_TRUE, 0);
	if (!parse_right(p, &right) || !make_condition(p, &right))
		return false;
	filter_write(p, code, 0);
	filter_land(p, jump);
	left->kind = IS_CONDITION;
	return true;
}

static bool parse_and(struct filter_parser *p, struct operand *ret)
{
	bool ok = parse_equality(p, ret);

	while (ok && p->kind == T_AND)
		ok = parse_logic(p, ret, parse_equality, OP_AND);
	return ok && !p->error;
}

static bool parse_or(struct filter_parser *p, struct operand *ret)
{
	bool ok = parse_and(p, ret);

	while (ok && p->kind == T_OR)
		ok = parse_logic(p, ret, parse_and, OP_OR);
	return ok && !p->error;
}

static bool parse_all(struct filter_parser *p)
{
	struct operand o;

	filter_next(p);
	return parse_or(p, &o) && make_condition(p, &o) && !p->error;
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
	struct filter_parser p = { .begin = text, .p = text, .end = text + expression.n, .err = err };
	struct filter_sql *f = NULL;
	int r;

	if (expression.n > FILTER_SQL_TEXT_MAX)
		return mq_error_set(err, -E2BIG, "the expression is longer than %d bytes", FILTER_SQL_TEXT_MAX);
	p.text = malloc(expression.n + 1);
	if (!p.text)
		return mq_error_set(err, -ENOMEM, "out of memory");
	if (parse_all(&p)) {
		f = filter_program_new(&p);
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
