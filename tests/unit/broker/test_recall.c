#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemons/broker/recall.h"

/* As Apache's 5.5.0 made it. */
static const char golden[] = "djEgR29sZGVuIGJyb2tlci1hIDE3OTU0NzI2MDgwMDEgMEEwMDAwMDE2NjIzMzA5NDZFMDk3NjE5OTVFQjAwMEM=";

static void handles_are_those_of_apaches_broker(void **state)
{
	char handle[RECALL_HANDLE_MAX];
	struct recall r;

	assert_int_equal(recall_encode(MQ_SLICE("Golden"), MQ_SLICE("broker-a"), 1795472608001, MQ_SLICE("0A000001662330946E09761995EB000C"),
				       handle),
			 strlen(golden));
	assert_string_equal(handle, golden);
	assert_int_equal(recall_decode(mq_slice_of(golden), &r), 0);
	assert_true(mq_slice_is(r.topic, "Golden"));
	assert_true(mq_slice_is(r.broker, "broker-a"));
	assert_true(mq_slice_is(r.time, "1795472608001"));
	assert_true(mq_slice_is(r.uniq_key, "0A000001662330946E09761995EB000C"));
}

static void every_length_comes_back(void **state)
{
	static char id[RECALL_HANDLE_MAX];
	char handle[RECALL_HANDLE_MAX];
	struct recall r;
	unsigned n_made = 0;

	for (size_t n = 1; n < sizeof id; n++) {
		size_t size;

		memset(id, 'x', n);
		id[n - 1] = '\xff'; /* any byte */
		size = recall_encode(MQ_SLICE("T"), MQ_SLICE("b"), 5, (struct mq_slice){ id, n }, handle);
		if (size == 0)
			continue;
		n_made++;
		assert_int_equal(recall_decode((struct mq_slice){ handle, size }, &r), 0);
		assert_int_equal(r.uniq_key.n, n);
		assert_memory_equal(r.uniq_key.p, id, n);
	}
	assert_true(n_made > 1000);
}

static void padding_may_be_missing(void **state)
{
	struct recall r;

	assert_int_equal(recall_decode((struct mq_slice){ golden, strlen(golden) - 1 }, &r), 0);
	assert_true(mq_slice_is(r.topic, "Golden"));
}

static void what_is_no_handle_is_refused(void **state)
{
	static const char *const wrong[] = {
		"", "=", "====", "x", "v1 T b 5 id", "djEgVCBiIDU=", /* v1 T b 5 */
		"djIgVCBiIDUgaWQ=",                                  /* v2 T b 5 id */
		"djEgVCBiIDUgaWQ==", "djEgVCBiIDUga+Q=", "djEgVCBiIDUgAWQ=" /* a separator of properties in it */,
	};
	struct recall r;

	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
		if (recall_decode(mq_slice_of(wrong[i]), &r) != -EBADMSG)
			fail_msg("taken for a handle: %s", wrong[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handles_are_those_of_apaches_broker),
		cmocka_unit_test(every_length_comes_back),
		cmocka_unit_test(padding_may_be_missing),
		cmocka_unit_test(what_is_no_handle_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
