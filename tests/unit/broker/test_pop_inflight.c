#include "broker_test.h"

static const char *const limited[] = { "brokerName=broker-a", "enablePopMessageThreshold=true", "popInflightMessageThreshold=2" };

static bool is_full(struct fixture *f, const char *topic, const char *group, int32_t queue_id)
{
	return pop_inflight_is_full(f->broker.pop_inflight,
				    &(struct pop_inflight_key){ mq_slice_of(topic), mq_slice_of(group), queue_id });
}

static void add(struct fixture *f, const char *topic, const char *group, int64_t n)
{
	pop_inflight_add(f->broker.pop_inflight, &(struct pop_inflight_key){ mq_slice_of(topic), mq_slice_of(group), 0 }, n);
}

static void take(struct fixture *f, const char *topic, const char *group, int64_t n, int64_t pop_at_ms)
{
	pop_inflight_take(f->broker.pop_inflight, &(struct pop_inflight_key){ mq_slice_of(topic), mq_slice_of(group), 0 }, n, pop_at_ms);
}

static void nothing_is_counted_unless_it_is_asked_for(void **state)
{
	struct fixture *f = *state;

	add(f, "T", "g", 100);
	fixture_configure(f, limited, N_ELEMENTS(limited));
	assert_false(is_full(f, "T", "g", 0));
}

static void a_queue_is_full_above_the_limit_for_one_group(void **state)
{
	struct fixture *f = *state;

	fixture_configure(f, limited, N_ELEMENTS(limited));
	add(f, "T", "g", 2);
	assert_false(is_full(f, "T", "g", 0));
	add(f, "T", "g", 1);
	assert_true(is_full(f, "T", "g", 0));
	assert_false(is_full(f, "T", "g", 1));
	assert_false(is_full(f, "T", "h", 0));
	assert_false(is_full(f, "Tg", "", 0)); /* where one name ends matters */
	take(f, "T", "g", 1, f->broker.started_at_ms);
	assert_false(is_full(f, "T", "g", 0));
}

static void what_was_popped_before_the_start_does_not_count(void **state)
{
	struct fixture *f = *state;

	fixture_configure(f, limited, N_ELEMENTS(limited));
	add(f, "T", "g", 3);
	take(f, "T", "g", 3, f->broker.started_at_ms - 1);
	assert_true(is_full(f, "T", "g", 0));
	/* More than there are: not below none. */
	take(f, "T", "g", 30, f->broker.started_at_ms);
	add(f, "T", "g", 3);
	assert_true(is_full(f, "T", "g", 0));
}

static void a_topic_or_a_group_that_goes_is_forgotten(void **state)
{
	struct fixture *f = *state;

	fixture_configure(f, limited, N_ELEMENTS(limited));
	add(f, "T", "g", 3);
	add(f, "T", "h", 3);
	add(f, "U", "h", 3);
	pop_inflight_forget(f->broker.pop_inflight, MQ_SLICE("T"), (struct mq_slice){});
	assert_false(is_full(f, "T", "g", 0));
	assert_false(is_full(f, "T", "h", 0));
	assert_true(is_full(f, "U", "h", 0));
	pop_inflight_forget(f->broker.pop_inflight, (struct mq_slice){}, MQ_SLICE("h"));
	assert_false(is_full(f, "U", "h", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_is_counted_unless_it_is_asked_for, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_queue_is_full_above_the_limit_for_one_group, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(what_was_popped_before_the_start_does_not_count, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_topic_or_a_group_that_goes_is_forgotten, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
