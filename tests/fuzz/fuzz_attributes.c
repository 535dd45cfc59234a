/* A request that changes the attributes of a topic or group. The text is "CURRENT\nREQUEST". */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "daemons/broker/attributes.h"

static void check(const struct attribute_rules *rules, bool is_new, struct mq_slice current, struct mq_slice request)
{
	char result[200], again[sizeof result];
	struct mq_error err = { 0 };
	int n, m;

	n = attributes_alter(rules, is_new, current, request, result, sizeof result, &err);
	if (n < 0) {
		must(n == -EINVAL && err.text[0]);
		return;
	}
	must((size_t)n <= sizeof result);
	/* What was made is in its final form. */
	m = attributes_alter(rules, false, (struct mq_slice){ result, (size_t)n }, MQ_SLICE(""), again, sizeof again, &err);
	must(m == n && memcmp(result, again, (size_t)n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t n = end ? (size_t)(end - data) : 0;
	struct mq_slice current = fuzz_slice(data, n), request = fuzz_slice(end ? end + 1 : data, end ? size - n - 1 : size);
	struct mq_error err = { 0 };

	if (attributes_check_form(request, &err) < 0) {
		must(err.code == -EINVAL && err.text[0]);
		return 0;
	}
	check(&topic_attributes, n == 0, current, request);
	check(&group_attributes, n == 0, current, request);
	return 0;
}
