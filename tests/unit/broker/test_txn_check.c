#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemons/broker/txn_check.h"
#include "libmq/wire/message_properties.h"

enum { NOW = 1000000, TIMEOUT = 6000, RETENTION = 600000, MAX_CHECKS = 15 };

static const struct txn_rules rules = {
	.timeout_ms = TIMEOUT, .max_checks = MAX_CHECKS, .retention_ms = RETENTION, .round_began_ms = NOW - 10, .now_ms = NOW,
};

struct row {
	int64_t age_ms, stored_before_round_ms;
	const char *immunity;
	uint32_t n_checks;
	enum txn_verdict verdict;
};

static const struct row rows[] = {
	{ TIMEOUT - 1, 100, NULL, 0, TXN_STOP },
	{ TIMEOUT, 100, NULL, 0, TXN_ASK },
	{ TIMEOUT + 1, 0, NULL, 0, TXN_STOP },         /* stored after the round began, whatever its age */
	{ -1, 100, NULL, 0, TXN_ASK },                 /* born in the future: its producer's clock is wrong */
	{ 0, 100, NULL, 0, TXN_STOP },
	{ TIMEOUT, 100, NULL, MAX_CHECKS - 1, TXN_ASK },
	{ TIMEOUT, 100, NULL, MAX_CHECKS, TXN_DISCARD },
	{ 0, 0, NULL, MAX_CHECKS, TXN_DISCARD },
	{ RETENTION, 100, NULL, 0, TXN_ASK },
	{ RETENTION + 1, 100, NULL, 0, TXN_DISCARD },
	{ TIMEOUT, 100, "10", 0, TXN_LEAVE },
	{ 9999, 100, "10", 0, TXN_LEAVE },
	{ 10000, 100, "10", 0, TXN_ASK },
	{ 1000, 100, "1", 0, TXN_ASK },
	{ TIMEOUT - 1, 100, "-1", 0, TXN_LEAVE },      /* as without, but those behind it are looked at */
	{ TIMEOUT - 1, 100, "soon", 0, TXN_LEAVE },
	{ TIMEOUT, 100, "soon", 0, TXN_ASK },
	{ TIMEOUT, 100, "9223372036854775807", 0, TXN_LEAVE },
};

static void verdicts_are_upstreams(void **state)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct row *r = &rows[i];
		enum txn_verdict verdict = txn_check_decide(&rules, NOW - r->age_ms, rules.round_began_ms - r->stored_before_round_ms,
							    mq_slice_of(r->immunity), r->n_checks);

		if (verdict != r->verdict)
			fail_msg("row %zu: verdict %d, wanted %d", i, (int)verdict, (int)r->verdict);
	}
}

static void a_birth_at_the_end_of_time_is_survived(void **state)
{
	struct mq_slice none = {};

	assert_int_equal(txn_check_decide(&rules, INT64_MIN, 0, none, 0), TXN_DISCARD);
	assert_int_equal(txn_check_decide(&rules, INT64_MAX, 0, none, 0), TXN_ASK);
}

static void the_number_of_checks_is_one_property(void **state)
{
	struct mq_slice in = MQ_SLICE("A\1b\2TRANSACTION_CHECK_TIMES\0014\2C\1d"), out;
	char buffer[MQ_PROPERTIES_MAX], full[MQ_PROPERTIES_MAX];

	assert_ptr_equal(txn_properties(in, 0, buffer).p, in.p);
	out = txn_properties(in, 12, buffer);
	assert_true(mq_slice_is(out, "A\1b\2C\1d\2TRANSACTION_CHECK_TIMES\00112\2"));

	memset(full, 'x', sizeof full);
	full[1] = 1;
	in = (struct mq_slice){ full, sizeof full };
	assert_ptr_equal(txn_properties(in, 1, buffer).p, in.p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts_are_upstreams),
		cmocka_unit_test(a_birth_at_the_end_of_time_is_survived),
		cmocka_unit_test(the_number_of_checks_is_one_property),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
