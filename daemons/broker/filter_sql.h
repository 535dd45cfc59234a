/* Which messages an SQL92 expression wants (SelectorParser and the expression classes of rocketmq-filter; behaviour.md section 14).
 * A compiled filter never changes and is shared by reference: any thread. Evaluating it allocates nothing, and takes a time that
 * is bounded whatever the expression and the message say. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

enum {
	FILTER_SQL_TEXT_MAX = 16 << 10,  /* bytes of an expression */
	FILTER_SQL_DEPTH_MAX = 64,       /* parentheses, signs and NOTs in each other */
	FILTER_SQL_NAMES_MAX = 64,       /* different properties */
	FILTER_SQL_BYTES_MAX = 64 << 20, /* of all compiled filters of one account */
	/* A step is an operation, or some 16 bytes of text looked at: a few nanoseconds. */
	FILTER_SQL_STEPS_MAX = 1 << 15, /* one message; beyond that it does not match */
	FILTER_SQL_SCAN_STEPS = 1 << 18, /* one pull; beyond that it answers with what it has */
};

struct filter_sql;

/* `account` sums up the bytes of compiled filters; it outlives them.
 * -EINVAL: Apache's parser refuses the expression, too. -E2BIG: one of the limits above. -EDQUOT: all filters together take too
 * much. -ENOMEM. All with a sentence. */
int filter_sql_compile(struct filter_sql **ret, struct mq_slice expression, _Atomic size_t *account,
		       struct mq_error *err) _must_check_;
/* NULL is allowed. */
struct filter_sql *filter_sql_ref(struct filter_sql *f);
struct filter_sql *filter_sql_unref(struct filter_sql *f);
DEFINE_CLEANUP(struct filter_sql *, filter_sql_unref)

/* Only FILTER_TRUE is a match. FILTER_ERROR: a value cannot be converted to what it is compared with, or the steps are used up. */
enum filter_result { FILTER_FALSE, FILTER_TRUE, FILTER_NULL, FILTER_ERROR };

/* Adds the steps it took to *steps. */
enum filter_result filter_sql_evaluate(const struct filter_sql *f, struct mq_slice properties, unsigned *steps);
/* The same for a message as it is stored. */
bool filter_sql_matches(const struct filter_sql *f, struct mq_slice record, unsigned *steps);
