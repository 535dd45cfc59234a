#include "tests/unit/broker/broker_test.h"

static bool take(struct fixture *f, const char *group, int32_t queue_id, const char *client)
{
	return locks_take(f->broker.locks, mq_slice_of(group), MQ_SLICE("T"), queue_id, mq_slice_of(client));
}

static void a_queue_belongs_to_the_first_of_a_group(void **state)
{
	struct fixture *f = *state;

	assert_true(take(f, "g", 0, "c1"));
	assert_true(take(f, "g", 0, "c1"));
	assert_false(take(f, "g", 0, "c2"));
	assert_true(take(f, "g", 1, "c2"));
	assert_true(take(f, "h", 0, "c2"));
}

static void only_the_owner_gives_a_queue_back(void **state)
{
	struct fixture *f = *state;

	assert_true(take(f, "g", 0, "c1"));
	locks_release(f->broker.locks, MQ_SLICE("g"), MQ_SLICE("T"), 0, MQ_SLICE("c2"));
	assert_false(take(f, "g", 0, "c2"));
	locks_release(f->broker.locks, MQ_SLICE("g"), MQ_SLICE("T"), 0, MQ_SLICE("c1"));
	assert_true(take(f, "g", 0, "c2"));
}

static void a_lock_lasts_60_seconds_from_its_last_call(void **state)
{
	struct fixture *f = *state;

	assert_true(take(f, "g", 0, "c1"));
	fixture_advance(f, 50000);
	assert_true(take(f, "g", 0, "c1"));
	fixture_advance(f, 60000);
	assert_false(take(f, "g", 0, "c2"));
	fixture_advance(f, 1);
	assert_true(take(f, "g", 0, "c2"));
	assert_false(take(f, "g", 0, "c1"));
}

static void a_group_has_locks_until_the_last_expires(void **state)
{
	struct fixture *f = *state;

	assert_false(locks_has_group(f->broker.locks, MQ_SLICE("g")));
	assert_true(take(f, "g", 0, "c1"));
	assert_true(take(f, "gg", 0, "c1"));
	assert_true(locks_has_group(f->broker.locks, MQ_SLICE("g")));
	assert_false(locks_has_group(f->broker.locks, MQ_SLICE("")));
	assert_false(locks_has_group(f->broker.locks, MQ_SLICE("ggg")));
	locks_release(f->broker.locks, MQ_SLICE("g"), MQ_SLICE("T"), 0, MQ_SLICE("c1"));
	assert_false(locks_has_group(f->broker.locks, MQ_SLICE("g")));
	fixture_advance(f, 60000);
	assert_true(locks_has_group(f->broker.locks, MQ_SLICE("gg")));
	fixture_advance(f, 1);
	assert_false(locks_has_group(f->broker.locks, MQ_SLICE("gg")));
}

static void names_too_long_for_anybody_get_nothing(void **state)
{
	struct fixture *f = *state;
	char name[2000];

	memset(name, 'x', sizeof name);
	assert_false(locks_take(f->broker.locks, (struct mq_slice){ name, sizeof name }, MQ_SLICE("T"), 0, MQ_SLICE("c")));
	locks_release(f->broker.locks, (struct mq_slice){ name, sizeof name }, MQ_SLICE("T"), 0, MQ_SLICE("c"));
}

static void locks_take_a_bounded_amount_of_memory(void **state)
{
	struct fixture *f = *state;
	char client[LOCK_CLIENT_MAX + 2];
	int32_t n = 0;

	memset(client, 'c', sizeof client - 1);
	client[LOCK_CLIENT_MAX + 1] = '\0';
	assert_false(take(f, "g", 0, client));
	client[LOCK_CLIENT_MAX] = '\0';
	while (take(f, "g", n, client))
		n++;
	assert_true(n > LOCKS_BYTES_MAX / (2 * LOCK_CLIENT_MAX) && n <= LOCKS_BYTES_MAX / LOCK_CLIENT_MAX);
	assert_true(take(f, "g", 0, client)); /* what it has it keeps */
	assert_false(take(f, "other", 0, "c2"));
	locks_release(f->broker.locks, MQ_SLICE("g"), MQ_SLICE("T"), 0, mq_slice_of(client));
	assert_true(take(f, "other", 0, "c2"));
	fixture_advance(f, 60001);
	assert_true(take(f, "g", 1, "c2"));
	assert_true(take(f, "g", n, "c2"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_queue_belongs_to_the_first_of_a_group),
		TEST(only_the_owner_gives_a_queue_back),
		TEST(a_lock_lasts_60_seconds_from_its_last_call),
		TEST(a_group_has_locks_until_the_last_expires),
		TEST(names_too_long_for_anybody_get_nothing),
		TEST(locks_take_a_bounded_amount_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
