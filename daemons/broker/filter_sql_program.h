/* What filter_sql_write.c makes and filter_sql.c runs: operations on a small stack, without loops. An operation takes its operands
 * off the stack and puts its result there; "peeks" leaves the operand. */
#pragma once

#include <stdint.h>

#include "daemons/broker/filter_sql.h"

enum filter_op_code {
	OP_NULL,
	OP_FALSE,
	OP_TRUE,
	OP_INT,    /* arg: number */
	OP_LONG,   /* arg: number */
	OP_DOUBLE, /* arg: number */
	OP_STRING, /* arg: string */
	OP_PROPERTY, /* arg: name */

	OP_CAST, /* a property as a condition */
	OP_NOT,
	OP_NEGATE,
	OP_IS_NULL,
	OP_EQUAL,
	OP_GREATER,
	OP_GREATER_EQUAL,
	OP_LESS,
	OP_LESS_EQUAL,
	OP_CONTAINS, /* arg: string; these four: is_not */
	OP_STARTS,   /* arg: string */
	OP_ENDS,     /* arg: string */
	OP_IN,       /* arg: list */
	OP_AND,
	OP_OR,

	/* These peek, and go on at operation `arg` if it is so: what Java does not evaluate then, it cannot fail at either. */
	OP_IF_NULL,
	OP_IF_FALSE,
	OP_IF_TRUE,

	OP_OVER, /* a b -> a b a */
	OP_DUP,  /* a -> a a */
	OP_NIP,  /* a b -> b */
};

struct filter_op {
	uint8_t code;
	bool is_not;
	uint16_t arg;
};

struct filter_text {
	uint16_t at, n; /* in filter_sql.text */
};

struct filter_list {
	uint16_t first, n; /* in filter_sql.strings, sorted by bytes */
};

union filter_number {
	int64_t i;
	double d;
};

enum {
	FILTER_STACK_MAX = 128,
	FILTER_OPS_MAX = 1 << 15,
	FILTER_BUCKETS = 32, /* names by a hash */
	FILTER_NO_NAME = 255,
};

struct filter_sql {
	_Atomic unsigned n_refs;
	_Atomic size_t *account; /* borrowed */
	size_t bytes;
	unsigned n_ops, n_names;
	uint8_t bucket[FILTER_BUCKETS];           /* its first name */
	uint8_t next_name[FILTER_SQL_NAMES_MAX]; /* in the same bucket */
	struct filter_text names[FILTER_SQL_NAMES_MAX];
	/* Behind the struct, in the same allocation: */
	union filter_number *numbers;
	struct filter_op *ops;
	struct filter_text *strings;
	struct filter_list *lists;
	char *text;
};

/* Different names differ in length or in their first or last byte, nearly always. */
static inline unsigned filter_bucket(struct mq_slice name)
{
	return ((unsigned)name.n * 7 + (unsigned char)name.p[0] + (unsigned char)name.p[name.n - 1] * 3u) % FILTER_BUCKETS;
}

static inline struct mq_slice filter_slice(const struct filter_sql *f, struct filter_text t)
{
	return (struct mq_slice){ f->text + t.at, t.n };
}
