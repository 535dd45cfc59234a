/* Evaluating. The values are Java's: Boolean, Integer, Long, Double, String and null. What upstream's classes do with each pair of
 * them is in value_compare(), its oddities included: the constant decides how a property's text is read, and a text that cannot be
 * read so fails the whole expression. */
#include "daemons/broker/filter_sql.h"

#include <stdlib.h>
#include <strings.h>

#include "daemons/broker/filter_sql_program.h"
#include "daemons/broker/java_number.h"
#include "libmq/wire/message_properties.h"
#include "libmq/wire/record.h"

enum { STEP_BYTES = 16, CONVERSION_STEPS = 8 };

struct value {
	enum { V_NULL, V_BOOLEAN, V_INT, V_LONG, V_DOUBLE, V_STRING } kind;
	union {
		bool b;
		int64_t i; /* V_INT and V_LONG */
		double d;
		struct mq_slice s;
	};
};

struct run {
	const struct filter_sql *f;
	unsigned n, steps;
	bool has_failed;
	struct mq_slice properties[FILTER_SQL_NAMES_MAX]; /* by name; p is NULL when absent */
	struct value stack[FILTER_STACK_MAX];
};

static void run_bytes(struct run *r, size_t n)
{
	r->steps += (unsigned)(n / STEP_BYTES);
}

static void run_push(struct run *r, struct value v)
{
	r->stack[r->n++] = v;
}

static struct value run_pop(struct run *r)
{
	return r->stack[--r->n];
}

static struct value *run_top(struct run *r)
{
	return &r->stack[r->n - 1];
}

static struct value value_boolean(bool b)
{
	return (struct value){ .kind = V_BOOLEAN, .b = b };
}

static struct value value_string(struct mq_slice s)
{
	return (struct value){ .kind = s.p ? V_STRING : V_NULL, .s = s };
}

static bool value_is(const struct value *v, bool b)
{
	return v->kind == V_BOOLEAN && v->b == b;
}

/* ---- Comparing ---- */

static int compare_i64(int64_t a, int64_t b)
{
	return (a > b) - (a < b);
}

static double value_double(const struct value *v)
{
	return v->kind == V_DOUBLE ? v->d : (double)v->i;
}

/* Boolean.valueOf() */
static bool string_is_true(struct mq_slice s)
{
	return s.n == 4 && strncasecmp(s.p, "true", 4) == 0;
}

/* A text as the other side's class. */
static struct value value_read(struct run *r, struct mq_slice text, const struct value *like)
{
	struct value v = { .kind = like->kind };
	bool is_read = true;

	r->steps += CONVERSION_STEPS;
	run_bytes(r, text.n);
	if (like->kind == V_BOOLEAN)
		v.b = string_is_true(text);
	else if (like->kind == V_INT)
		is_read = java_parse_int(text, INT32_MIN, INT32_MAX, &v.i);
	else if (like->kind == V_LONG)
		is_read = java_parse_int(text, INT64_MIN, INT64_MAX, &v.i);
	else
		is_read = java_parse_double(text, &v.d);
	r->has_failed |= !is_read;
	return v;
}

/* ComparisonExpression.__compare(); neither is null. */
static int value_compare(struct run *r, struct value a, struct value b)
{
	if (a.kind == V_STRING && b.kind == V_STRING) {
		run_bytes(r, a.s.n == b.s.n ? a.s.n : 0);
		return !mq_slice_equal(a.s, b.s); /* only whether they are equal is asked */
	}
	/* Upstream casts the Boolean to a String here. */
	if (a.kind == V_BOOLEAN && b.kind == V_STRING) {
		r->has_failed = true;
		return -1;
	}
	if (a.kind == V_STRING)
		a = value_read(r, a.s, &b);
	else if (b.kind == V_STRING)
		b = value_read(r, b.s, &a);
	if (a.kind == V_BOOLEAN && b.kind == V_BOOLEAN)
		return a.b - b.b;
	if (a.kind == V_BOOLEAN || b.kind == V_BOOLEAN)
		return -1;
	if (a.kind == V_DOUBLE || b.kind == V_DOUBLE)
		return java_compare_double(value_double(&a), value_double(&b));
	return compare_i64(a.i, b.i);
}

static struct value value_equal(struct run *r, const struct value *a, const struct value *b)
{
	if (a->kind == V_NULL && b->kind != V_NULL)
		return (struct value){ .kind = V_NULL };
	if (a->kind == V_NULL || b->kind == V_NULL)
		return value_boolean(a->kind == b->kind);
	return value_boolean(value_compare(r, *a, *b) == 0);
}

/* Two texts are in order by their values as doubles. */
static struct value value_order(struct run *r, enum filter_op_code code, struct value a, struct value b)
{
	static const struct value like = { .kind = V_DOUBLE };
	int order;

	if (a.kind == V_NULL || b.kind == V_NULL)
		return (struct value){ .kind = V_NULL };
	if (a.kind == V_STRING && b.kind == V_STRING) {
		a = value_read(r, a.s, &like);
		b = value_read(r, b.s, &like);
	}
	order = value_compare(r, a, b);
	switch (code) {
	case OP_GREATER:
		return value_boolean(order > 0);
	case OP_GREATER_EQUAL:
		return value_boolean(order >= 0);
	case OP_LESS:
		return value_boolean(order < 0);
	default:
		return value_boolean(order <= 0);
	}
}

/* ---- Texts and logic ---- */

/* Of anything but a text all of them are false, the negated ones as well. */
static struct value value_search(struct run *r, struct filter_op op, const struct value *v)
{
	struct mq_slice part = filter_slice(r->f, r->f->strings[op.arg]);
	bool found;

	if (v->kind != V_STRING)
		return value_boolean(false);
	if (op.code == OP_CONTAINS) {
		run_bytes(r, v->s.n + part.n);
		found = memmem(v->s.p, v->s.n, part.p, part.n) != NULL;
	} else {
		run_bytes(r, part.n);
		found = v->s.n >= part.n &&
			memcmp(op.code == OP_STARTS ? v->s.p : v->s.p + v->s.n - part.n, part.p, part.n) == 0;
	}
	return value_boolean(found != op.is_not);
}

static struct value value_in(struct run *r, struct filter_op op, const struct value *v)
{
	struct filter_list list = r->f->lists[op.arg];
	unsigned low = list.first, high = list.first + list.n;

	if (v->kind != V_STRING)
		return (struct value){ .kind = V_NULL };
	while (low < high) {
		unsigned middle = (low + high) / 2;
		int order = mq_slice_compare(v->s, filter_slice(r->f, r->f->strings[middle]));

		r->steps++;
		run_bytes(r, v->s.n);
		if (order == 0)
			return value_boolean(!op.is_not);
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return value_boolean(op.is_not);
}

static struct value value_negate(struct value v)
{
	if (v.kind == V_INT || v.kind == V_LONG)
		v.i = -v.i;
	else if (v.kind == V_DOUBLE)
		v.d = -v.d;
	else
		v.kind = V_NULL;
	return v;
}

/* AND for absorbing = false, OR for true: the absorbing value wins over null. */
static struct value value_logic(const struct value *a, const struct value *b, bool absorbing)
{
	if (value_is(a, absorbing) || value_is(b, absorbing))
		return value_boolean(absorbing);
	if (a->kind == V_NULL || b->kind == V_NULL)
		return (struct value){ .kind = V_NULL };
	return value_boolean(!absorbing);
}

static struct value value_not(struct value v)
{
	if (v.kind == V_BOOLEAN)
		v.b = !v.b;
	return v;
}

/* ---- Running ---- */

static struct value run_constant(const struct run *r, struct filter_op op)
{
	switch (op.code) {
	case OP_INT:
		return (struct value){ .kind = V_INT, .i = r->f->numbers[op.arg].i };
	case OP_LONG:
		return (struct value){ .kind = V_LONG, .i = r->f->numbers[op.arg].i };
	case OP_DOUBLE:
		return (struct value){ .kind = V_DOUBLE, .d = r->f->numbers[op.arg].d };
	case OP_STRING:
		return value_string(filter_slice(r->f, r->f->strings[op.arg]));
	case OP_PROPERTY:
		return value_string(r->properties[op.arg]);
	case OP_NULL:
		return (struct value){ .kind = V_NULL };
	default:
		return value_boolean(op.code == OP_TRUE);
	}
}

static struct value run_unary(struct run *r, struct filter_op op, struct value v)
{
	switch (op.code) {
	case OP_CAST:
		return v.kind == V_NULL ? v : value_boolean(value_is(&v, true));
	case OP_NOT:
		return value_not(v);
	case OP_NEGATE:
		return value_negate(v);
	case OP_IS_NULL:
		return value_boolean(v.kind == V_NULL);
	case OP_IN:
		return value_in(r, op, &v);
	default:
		return value_search(r, op, &v);
	}
}

static struct value run_binary(struct run *r, struct filter_op op, struct value a, struct value b)
{
	switch (op.code) {
	case OP_EQUAL:
		return value_equal(r, &a, &b);
	case OP_AND:
		return value_logic(&a, &b, false);
	case OP_OR:
		return value_logic(&a, &b, true);
	case OP_NIP:
		return b;
	default:
		return value_order(r, op.code, a, b);
	}
}

static bool run_jumps(struct run *r, enum filter_op_code code)
{
	const struct value *top = run_top(r);

	return code == OP_IF_NULL ? top->kind == V_NULL : value_is(top, code == OP_IF_TRUE);
}

/* Returns the number of the next operation. */
static unsigned run_op(struct run *r, unsigned at)
{
	struct filter_op op = r->f->ops[at];
	struct value a, b;

	switch (op.code) {
	case OP_NULL ... OP_PROPERTY:
		run_push(r, run_constant(r, op));
		break;
	case OP_IF_NULL:
	case OP_IF_FALSE:
	case OP_IF_TRUE:
		return run_jumps(r, op.code) ? op.arg : at + 1;
	case OP_OVER:
		run_push(r, r->stack[r->n - 2]);
		break;
	case OP_DUP:
		run_push(r, *run_top(r));
		break;
	case OP_CAST:
	case OP_NOT:
	case OP_NEGATE:
	case OP_IS_NULL:
	case OP_CONTAINS:
	case OP_STARTS:
	case OP_ENDS:
	case OP_IN:
		a = run_pop(r);
		run_push(r, run_unary(r, op, a));
		break;
	default:
		b = run_pop(r);
		a = run_pop(r);
		run_push(r, run_binary(r, op, a, b));
	}
	return at + 1;
}

/* One pass; of duplicates the last wins. */
static void run_find_properties(struct run *r, struct mq_slice properties)
{
	const struct filter_sql *f = r->f;
	struct mq_slice name, value;

	for (unsigned i = 0; i < f->n_names; i++)
		r->properties[i] = (struct mq_slice){};
	run_bytes(r, properties.n);
	while (mq_properties_next(&properties, &name, &value)) {
		for (uint8_t i = f->bucket[filter_bucket(name)]; i != FILTER_NO_NAME; i = f->next_name[i]) {
			r->steps++;
			if (mq_slice_equal(name, filter_slice(f, f->names[i]))) {
				r->properties[i] = value;
				break;
			}
		}
	}
}

enum filter_result filter_sql_evaluate(const struct filter_sql *f, struct mq_slice properties, unsigned *steps)
{
	struct run r;
	unsigned at = 0;
	const struct value *v;

	r.f = f;
	r.n = r.steps = 0;
	r.has_failed = false;
	run_find_properties(&r, properties);
	while (at < f->n_ops && !r.has_failed && r.steps < FILTER_SQL_STEPS_MAX) {
		at = run_op(&r, at);
		r.steps++;
	}
	*steps += r.steps;
	if (at < f->n_ops || r.has_failed)
		return FILTER_ERROR;
	v = run_top(&r);
	return v->kind != V_BOOLEAN ? FILTER_NULL : v->b ? FILTER_TRUE : FILTER_FALSE;
}

bool filter_sql_matches(const struct filter_sql *f, struct mq_slice record, unsigned *steps)
{
	struct mq_record r;

	return mq_record_decode(record, &r) > 0 && filter_sql_evaluate(f, r.properties, steps) == FILTER_TRUE;
}

/* ---- Life ---- */

struct filter_sql *filter_sql_ref(struct filter_sql *f)
{
	if (f)
		atomic_fetch_add(&f->n_refs, 1);
	return f;
}

struct filter_sql *filter_sql_unref(struct filter_sql *f)
{
	if (f && atomic_fetch_sub(&f->n_refs, 1) == 1) {
		atomic_fetch_sub(f->account, f->bytes);
		free(f);
	}
	return NULL;
}
