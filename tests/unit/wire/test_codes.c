#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libmq/base/cleanup.h"
#include "libmq/wire/codes.h"

#define NUMBER(name, number) number,
static const int requests[] = { MQ_REQUEST_CODES(NUMBER) };
static const int responses[] = { MQ_RESPONSE_CODES(NUMBER) };

static void both_lists_are_sorted_by_number(void **state)
{
	for (size_t i = 1; i < N_ELEMENTS(requests); i++)
		assert_true(requests[i - 1] < requests[i]);
	for (size_t i = 1; i < N_ELEMENTS(responses); i++)
		assert_true(responses[i - 1] < responses[i]);
}

static void codes_have_the_numbers_of_the_protocol(void **state)
{
	assert_int_equal(MQ_SUCCESS, 0);
	assert_int_equal(MQ_SEND_MESSAGE, 10);
	assert_int_equal(MQ_GET_ROUTEINFO_BY_TOPIC, 105);
	assert_int_equal(MQ_SEND_MESSAGE_V2, 310);
	assert_int_equal(MQ_POP_MESSAGE, 200050);
	assert_int_equal(MQ_PULL_OFFSET_MOVED, 21);
}

static void codes_have_names_and_unknown_ones_have_none(void **state)
{
	assert_string_equal(mq_request_name(310), "SEND_MESSAGE_V2");
	assert_string_equal(mq_request_name(200151), "BATCH_ACK_MESSAGE");
	assert_string_equal(mq_response_name(0), "SUCCESS");
	assert_string_equal(mq_response_name(-1006), "RPC_TIME_OUT");
	assert_null(mq_request_name(9999));
	assert_null(mq_request_name(-1));
	assert_null(mq_response_name(9999));
}

/* Names are tested with their numbers; our constants have the same names, since one list makes both. */
static void every_code_of_the_reference_has_its_number_and_name(void **state)
{
	unsigned n_requests = 0, n_responses = 0;
	const char *path = getenv("MQ_CODES");
	char line[128], name[64];
	FILE *file;
	int number;

	assert_non_null(path);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof line, file)) {
		const char *ours = NULL;

		if (sscanf(line, "request %d %63s", &number, name) == 2 && ++n_requests)
			ours = mq_request_name(number);
		else if (sscanf(line, "response %d %63s", &number, name) == 2 && ++n_responses)
			ours = mq_response_name(number);
		else
			continue;
		if (!ours || strcmp(ours, name) != 0)
			fail_msg("%d is %s, not %s", number, name, ours ? ours : "unknown");
	}
	fclose(file);
	assert_int_equal(n_requests, 164);
	assert_int_equal(n_responses, N_ELEMENTS(responses));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_lists_are_sorted_by_number),
		cmocka_unit_test(codes_have_the_numbers_of_the_protocol),
		cmocka_unit_test(codes_have_names_and_unknown_ones_have_none),
		cmocka_unit_test(every_code_of_the_reference_has_its_number_and_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
