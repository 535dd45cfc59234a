#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemons/broker/assignment.h"

enum { QUEUES = 8, MEMBERS = 5 };

static const struct mq_slice members[MEMBERS] = {
	MQ_SLICE("c0"), MQ_SLICE("c1"), MQ_SLICE("c2"), MQ_SLICE("c3"), MQ_SLICE("c4"),
};
static struct mq_queue_name queues[QUEUES];

/* "013", "*", or "?" for what cannot be decided. */
static const char *decide(const struct assignment_question *q, char ret[QUEUES + 1])
{
	bool taken[QUEUES] = {};
	unsigned n = 0;

	switch (assignment_decide(q, taken)) {
	case ASSIGNED_BROKERS:
		return "*";
	case ASSIGNED_UNKNOWN:
		return "?";
	case ASSIGNED:
		for (unsigned i = 0; i < q->n_queues; i++)
			if (taken[i])
				ret[n++] = (char)('0' + i);
	}
	ret[n] = '\0';
	return ret;
}

static void members_get_what_apaches_broker_gives_them(void **state)
{
	FILE *f = fopen(getenv("ASSIGNMENT_TRUTH"), "r");
	char line[200], strategy[20], wanted[100], got[100], one[QUEUES + 1];
	struct assignment_question q = { .queues = queues, .members = members, .model = MQ_CLUSTERING };
	unsigned n_lines = 0;

	assert_non_null(f);
	while (fgets(line, sizeof line, f)) {
		if (line[0] == '#')
			continue;
		assert_int_equal(sscanf(line, "%19s %u %u %d %99s", strategy, &q.n_queues, &q.n_members, &q.pop_share, wanted), 5);
		assert_true(q.n_queues <= QUEUES && q.n_members <= MEMBERS);
		q.mode = q.pop_share == -2 ? MQ_MODE_PULL : MQ_MODE_POP;
		q.strategy = mq_slice_of(strategy);
		got[0] = '\0';
		for (unsigned i = 0; i < q.n_members; i++) {
			q.client_id = members[i];
			strcat(strcat(got, i > 0 ? "|" : ""), decide(&q, one));
		}
		/* Members without queues leave nothing between the bars. */
		if (strcmp(got, wanted) != 0)
			fail_msg("%s: %s", line, got);
		n_lines++;
	}
	fclose(f);
	assert_int_equal(n_lines, 200);
}

static void what_cannot_be_decided_is_left_as_it_is(void **state)
{
	struct assignment_question q = {
		.queues = queues, .n_queues = 4, .members = members, .n_members = 2, .client_id = MQ_SLICE("c1"),
		.strategy = MQ_SLICE("AVG"), .model = MQ_CLUSTERING,
	}, other;
	char text[QUEUES + 1];

	assert_string_equal(decide(&q, text), "23");
	other = q, other.client_id = MQ_SLICE("stranger");
	assert_string_equal(decide(&other, text), "");
	other = q, other.client_id = MQ_SLICE(" ");
	assert_string_equal(decide(&other, text), "?");
	other = q, other.client_id = (struct mq_slice){};
	assert_string_equal(decide(&other, text), "?");
	other = q, other.strategy = MQ_SLICE("CONSISTENT_HASH");
	assert_string_equal(decide(&other, text), "?");
	other = q, other.n_members = 0;
	assert_string_equal(decide(&other, text), "?");
	other = q, other.n_queues = 0;
	assert_string_equal(decide(&other, text), "?");
	other = q, other.model = MQ_BROADCASTING, other.n_members = 0;
	assert_string_equal(decide(&other, text), "0123");
	other = q, other.mode = MQ_MODE_POP, other.n_queues = 0;
	assert_string_equal(decide(&other, text), "*");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_get_what_apaches_broker_gives_them),
		cmocka_unit_test(what_cannot_be_decided_is_left_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
