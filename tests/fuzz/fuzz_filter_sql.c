/* An SQL92 expression, and after the first NUL the properties of a message that it is asked of. */
#include "tests/fuzz/fuzz.h"

#include "daemons/broker/filter_sql.h"

enum { PROPERTIES_MAX = 32767 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mq_slice all = fuzz_slice(data, size), expression = all, properties = {};
	const char *end = size > 0 ? memchr(all.p, '\0', all.n) : NULL;
	_Atomic size_t account = 0;
	struct filter_sql *f = NULL;
	struct mq_error err = {};
	unsigned steps = 0;
	enum filter_result first;
	int r;

	if (end) {
		expression.n = (size_t)(end - all.p);
		properties = (struct mq_slice){ end + 1, all.n - expression.n - 1 };
	}
	if (properties.n > PROPERTIES_MAX)
		properties.n = PROPERTIES_MAX;
	r = filter_sql_compile(&f, expression, &account, &err);
	must(r == 0 || (r < 0 && !f && err.text[0] && account == 0));
	if (r < 0)
		return 0;
	first = filter_sql_evaluate(f, properties, &steps);
	must(steps < FILTER_SQL_STEPS_MAX + 3 * PROPERTIES_MAX);
	must(filter_sql_evaluate(f, properties, &steps) == first);
	filter_sql_unref(f);
	must(account == 0);
	return 0;
}
