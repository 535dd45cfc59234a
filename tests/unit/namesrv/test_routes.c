#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemons/namesrv/routes.h"

static int setup(void **state)
{
	struct routes *r = malloc(sizeof *r);

	routes_init(r);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	routes_done(*state);
	free(*state);
	return 0;
}

#define S(text) mq_slice_of(text)

static const struct route_topic_config two_topics[] = {
	{ { "T1", 2 }, 4, 4, 6, 0 },
	{ { "T2", 2 }, 8, 8, 7, 0 },
};

/* A 5.x broker in cluster C with two topics, seen at time 1000 over channel 1. */
static struct route_registration registration(const char *broker, int64_t id, const char *address)
{
	return (struct route_registration){
		.cluster = MQ_SLICE("C"), .broker = mq_slice_of(broker), .address = mq_slice_of(address), .ha_address = MQ_SLICE("ha:1"),
		.id = id, .timeout_ms = ROUTES_TIMEOUT_DEFAULT, .channel = 1, .now_ms = 1000, .version = { 1, 0, 5 },
		.topics = two_topics, .n_topics = 2,
	};
}

/* "broker:perm " per entry, in order; "-" for an unknown topic. */
static const char *entries(const struct routes *r, const char *topic)
{
	static char text[512];
	const struct route_topic *t = routes_topic(r, S(topic));
	size_t n = 0;

	text[0] = '\0';
	if (!t)
		return "-";
	for (unsigned i = 0; i < t->n_queues; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, "%s:%d ", t->queues[i].broker, t->queues[i].perm);
	return text;
}

/* "id=address " per id, in order; "-" for an unknown name. */
static const char *addresses(const struct routes *r, const char *broker)
{
	static char text[512];
	const struct route_broker *b = routes_broker(r, S(broker));
	size_t n = 0;

	text[0] = '\0';
	if (!b)
		return "-";
	for (unsigned i = 0; i < b->n_addresses; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, "%lld=%s ", (long long)b->addresses[i].id, b->addresses[i].address);
	return text;
}

static void entries_are_sorted_by_broker(void **state)
{
	static const char *const names[] = { "m", "b", "z", "a", "bb" };
	struct routes *r = *state;

	for (unsigned i = 0; i < N_ELEMENTS(names); i++) {
		struct route_registration reg = registration(names[i], 0, names[i]);

		assert_int_equal(routes_register(r, &reg, NULL), 0);
	}
	assert_string_equal(entries(r, "T1"), "a:6 b:6 bb:6 m:6 z:6 ");
	assert_string_equal(routes_cluster(r, S("C"))->brokers[1], "b");
	assert_string_equal(r->brokers->name, "a");
	routes_unregister(r, S("C"), S("b"), S("b"));
	assert_string_equal(entries(r, "T1"), "a:6 bb:6 m:6 z:6 ");
	assert_int_equal(routes_cluster(r, S("C"))->n_brokers, 4);
}

static void the_last_broker_takes_topic_and_cluster_along(void **state)
{
	struct routes *r = *state;
	struct route_registration reg = registration("b", 0, "h:1");

	assert_int_equal(routes_register(r, &reg, NULL), 0);
	routes_unregister(r, S("C"), S("b"), S("h:1"));
	assert_string_equal(entries(r, "T1"), "-");
	assert_string_equal(addresses(r, "b"), "-");
	assert_null(routes_cluster(r, S("C")));
	assert_null(routes_live(r, S("C"), S("h:1")));
	assert_int_equal(r->n_addresses + r->n_queues, 0);
	routes_unregister(r, S("C"), S("b"), S("h:1"));
}

/* Rule 4. */
static void a_promoted_slave_leaves_its_old_id(void **state)
{
	struct routes *r = *state;
	struct route_registration reg = registration("b", 1, "h:2");

	assert_int_equal(routes_register(r, &reg, NULL), 0);
	reg.id = 0;
	assert_int_equal(routes_register(r, &reg, NULL), 0);
	assert_string_equal(addresses(r, "b"), "0=h:2 ");
	assert_int_equal(r->n_addresses, 1);
}

/* Rule 5. */
static void older_state_does_not_replace_a_live_address(void **state)
{
	struct routes *r = *state;
	struct route_registration reg = registration("b", 0, "h:1"), late = registration("b", 0, "h:2");

	reg.version.state_version = 5;
	late.version.state_version = 4;
	assert_int_equal(routes_register(r, &reg, NULL), 0);
	assert_int_equal(routes_register(r, &late, NULL), ROUTES_REJECTED);
	assert_string_equal(addresses(r, "b"), "0=h:1 ");
	assert_null(routes_live(r, S("C"), S("h:2")));
	late.version.state_version = 5;
	assert_int_equal(routes_register(r, &late, NULL), 0);
	assert_string_equal(addresses(r, "b"), "0=h:2 ");
}

/* Rule 6. */
static void one_topic_is_no_first_registration(void **state)
{
	struct routes *r = *state;
	struct route_registration reg = registration("b", 0, "h:1");

	reg.n_topics = 1;
	assert_int_equal(routes_register(r, &reg, NULL), ROUTES_REFUSED);
	assert_string_equal(addresses(r, "b"), "-");
	assert_null(routes_cluster(r, S("C")));
	reg.n_topics = 0;
	assert_int_equal(routes_register(r, &reg, NULL), 0);
	reg.n_topics = 1;
	reg.version.counter = 2;
	assert_int_equal(routes_register(r, &reg, NULL), 0);
	assert_string_equal(entries(r, "T1"), "b:6 ");
	/* A second id of the name must come with everything, too. */
	reg.id = 1;
	reg.address = S("h:2");
	assert_int_equal(routes_register(r, &reg, NULL), ROUTES_REFUSED);
}

/* Rule 8. */
static void an_unchanged_version_changes_no_entry(void **state)
{
	struct routes *r = *state;
	struct route_registration reg = registration("b", 0, "h:1");

	assert_int_equal(routes_register(r, &reg, NULL), 0);
	assert_int_equal(routes_wipe_write(r, S("b")), 2);
	assert_int_equal(routes_register(r, &reg, NULL), 0);
	assert_string_equal(entries(r, "T2"), "b:5 ");
	/* An entry that is missing is put nevertheless. */
	routes_delete_topic(r, S("T2"), (struct mq_slice){});
	assert_int_equal(routes_register(r, &reg, NULL), 0);
	assert_string_equal(entries(r, "T2"), "b:7 ");
	assert_string_equal(entries(r, "T1"), "b:4 ");
	reg.version.counter++;
	assert_int_equal(routes_register(r, &reg, NULL), 0);
	assert_string_equal(entries(r, "T1"), "b:6 ");
}

static void topics_that_a_registration_lacks_stay_unless_told_otherwise(void **state)
{
	struct routes *r = *state;
	struct route_registration reg = registration("b", 0, "h:1");

	assert_int_equal(routes_register(r, &reg, NULL), 0);
	reg.n_topics = 1;
	reg.version.counter++;
	assert_int_equal(routes_register(r, &reg, NULL), 0);
	assert_string_equal(entries(r, "T2"), "b:7 ");
	reg.drop_missing_topics = true;
	assert_int_equal(routes_register(r, &reg, NULL), 0);
	assert_string_equal(entries(r, "T2"), "-");
	assert_string_equal(entries(r, "T1"), "b:6 ");
}

static void slaves_put_topics_only_while_they_are_the_smallest_id(void **state)
{
	struct routes *r = *state;
	struct route_registration reg = registration("b", 1, "h:2");

	/* A peer that does not know enableActingMaster is never a prime slave. */
	reg.is_old_version = true;
	assert_int_equal(routes_register(r, &reg, NULL), 0);
	assert_string_equal(entries(r, "T1"), "-");
	reg.is_old_version = false;
	reg.version.counter++;
	assert_int_equal(routes_register(r, &reg, NULL), 0);
	assert_string_equal(entries(r, "T1"), "b:6 ");
	reg.enable_acting_master = true;
	reg.version.counter++;
	assert_int_equal(routes_register(r, &reg, NULL), 0);
	assert_string_equal(entries(r, "T1"), "b:4 ");
}

static void slaves_left_alone_take_no_writes(void **state)
{
	struct routes *r = *state;
	struct route_registration master = registration("b", 0, "h:1"), slave = registration("b", 1, "h:2");

	master.enable_acting_master = slave.enable_acting_master = true;
	assert_int_equal(routes_register(r, &master, NULL), 0);
	assert_int_equal(routes_register(r, &slave, NULL), 0);
	assert_string_equal(entries(r, "T1"), "b:6 ");
	routes_unregister(r, S("C"), S("b"), S("h:1"));
	assert_string_equal(addresses(r, "b"), "1=h:2 ");
	assert_string_equal(entries(r, "T1"), "b:4 ");
}

static void note_min(void *user, const struct route_broker *b, const char *offline_address, const char *ha_address)
{
	snprintf(user, 128, "%s %lld %s %s", b->name, (long long)b->addresses[0].id, offline_address ? offline_address : "-",
		 ha_address ? ha_address : "-");
}

/* Rule 13 and section 6. */
static void a_new_smallest_id_is_told(void **state)
{
	struct routes *r = *state;
	struct route_registration slave = registration("b", 1, "h:2"), master = registration("b", 0, "h:1");
	char seen[128] = "";

	slave.enable_acting_master = master.enable_acting_master = true;
	r->min_changed = note_min;
	r->user = seen;
	assert_int_equal(routes_register(r, &slave, NULL), 0);
	assert_string_equal(seen, "");
	assert_int_equal(routes_register(r, &master, NULL), 0);
	assert_string_equal(seen, "b 0 - ha:1");
	routes_unregister(r, S("C"), S("b"), S("h:1"));
	assert_string_equal(seen, "b 1 h:1 ha:1");
}

static void a_closed_channel_takes_its_brokers_along(void **state)
{
	struct routes *r = *state;
	struct route_registration a = registration("a", 0, "h:1"), b = registration("b", 0, "h:2"), c = registration("c", 0, "h:3");

	c.channel = 2;
	assert_int_equal(routes_register(r, &a, NULL), 0);
	assert_int_equal(routes_register(r, &b, NULL), 0);
	assert_int_equal(routes_register(r, &c, NULL), 0);
	/* b registered again, over another connection: the first one does not count any more. */
	b.channel = 3;
	assert_int_equal(routes_register(r, &b, NULL), 0);
	assert_int_equal(routes_channel_closed(r, 1), 1);
	assert_string_equal(entries(r, "T1"), "b:6 c:6 ");
	assert_int_equal(routes_channel_closed(r, 3), 1);
	assert_int_equal(routes_channel_closed(r, 3), 0);
	assert_string_equal(entries(r, "T1"), "c:6 ");
}

static void note_expired(void *user, const struct route_live *live)
{
	snprintf(user, 64, "%s %llu", live->address, (unsigned long long)live->channel);
}

static void brokers_expire_after_their_timeout(void **state)
{
	struct routes *r = *state;
	struct route_registration a = registration("a", 0, "h:1"), b = registration("b", 0, "h:2");
	char seen[64] = "";

	b.timeout_ms = 10000;
	assert_int_equal(routes_register(r, &a, NULL), 0);
	assert_int_equal(routes_register(r, &b, NULL), 0);
	assert_int_equal(routes_expire(r, 11000, note_expired, seen), 0);
	assert_int_equal(routes_expire(r, 11001, note_expired, seen), 1);
	assert_string_equal(seen, "h:2 1");
	assert_string_equal(entries(r, "T1"), "a:6 ");
	routes_touch(r, S("C"), S("h:1"), 50000);
	routes_touch(r, S("C"), S("nobody"), 50000);
	assert_int_equal(routes_expire(r, 121001, NULL, NULL), 0);
	assert_int_equal(routes_expire(r, 170001, NULL, NULL), 1);
	assert_string_equal(entries(r, "T1"), "-");
}

static void a_topic_is_deleted_per_cluster(void **state)
{
	struct routes *r = *state;
	struct route_registration a = registration("a", 0, "h:1"), b = registration("b", 0, "h:2");

	b.cluster = S("D");
	assert_int_equal(routes_register(r, &a, NULL), 0);
	assert_int_equal(routes_register(r, &b, NULL), 0);
	routes_delete_topic(r, S("T1"), S("nowhere"));
	assert_string_equal(entries(r, "T1"), "a:6 b:6 ");
	routes_delete_topic(r, S("T1"), S("C"));
	assert_string_equal(entries(r, "T1"), "b:6 ");
	routes_delete_topic(r, S("T1"), S("D"));
	assert_string_equal(entries(r, "T1"), "-");
}

static void a_single_topic_needs_known_brokers(void **state)
{
	struct routes *r = *state;
	struct route_registration a = registration("a", 0, "h:1");
	struct route_queue queues[] = { { .broker = (char *)"a", .perm = 6 }, { .broker = (char *)"x", .perm = 6 } };

	assert_int_equal(routes_register(r, &a, NULL), 0);
	assert_int_equal(routes_add_topic(r, S("N"), queues, 2, NULL), 0);
	assert_string_equal(entries(r, "N"), "-");
	assert_int_equal(routes_add_topic(r, S("N"), queues, 1, NULL), 0);
	assert_string_equal(entries(r, "N"), "a:6 ");
}

static void permissions_are_wiped_and_added(void **state)
{
	struct routes *r = *state;
	struct route_registration a = registration("a", 0, "h:1");

	assert_int_equal(routes_register(r, &a, NULL), 0);
	assert_int_equal(routes_wipe_write(r, S("nobody")), 0);
	assert_int_equal(routes_wipe_write(r, S("a")), 2);
	assert_string_equal(entries(r, "T2"), "a:5 ");
	assert_int_equal(routes_add_write(r, S("a")), 2);
	assert_string_equal(entries(r, "T2"), "a:6 ");
}

static void impossible_names_are_refused(void **state)
{
	static char long_name[ROUTES_NAME_MAX + 2];
	struct routes *r = *state;
	struct route_registration reg;
	struct mq_error err = {};

	memset(long_name, 'x', sizeof long_name - 1);
	reg = registration("", 0, "h:1");
	assert_int_equal(routes_register(r, &reg, &err), -EINVAL);
	assert_string_equal(err.text, "the brokerName is empty");
	reg = registration(long_name, 0, "h:1");
	assert_int_equal(routes_register(r, &reg, &err), -EINVAL);
	assert_string_equal(err.text, "the brokerName has 256 bytes, at most 255 are allowed");
	reg = registration("a", 0, "h\n1");
	assert_int_equal(routes_register(r, &reg, &err), -EINVAL);
	assert_string_equal(err.text, "the brokerAddr contains a control character");
	reg = registration("a", -1, "h:1");
	assert_int_equal(routes_register(r, &reg, &err), -EINVAL);
	assert_string_equal(err.text, "brokerId is negative");
	assert_null(r->brokers);
	assert_null(routes_live(r, S(long_name), S("h:1")));
}

static void there_is_a_limit_to_brokers(void **state)
{
	struct routes *r = *state;
	struct route_registration reg = registration("b", 0, "h:1");
	struct mq_error err = {};
	char address[32];

	reg.n_topics = 0;
	reg.address.p = address;
	for (int i = 0; i < ROUTES_BROKERS_MAX; i++) {
		reg.id = i;
		reg.address.n = (size_t)snprintf(address, sizeof address, "h:%d", i);
		assert_int_equal(routes_register(r, &reg, &err), 0);
	}
	reg.id++;
	reg.address = S("one too many");
	assert_int_equal(routes_register(r, &reg, &err), -ENOSPC);
	assert_null(routes_live(r, S("C"), reg.address));
}

/* One id that says it is somewhere else again and again. */
static void there_is_a_limit_to_addresses_that_were_left(void **state)
{
	struct routes *r = *state;
	struct route_registration reg = registration("b", 0, "h:1");
	struct mq_error err = {};
	char address[32];

	reg.address.p = address;
	for (int i = 0; i < ROUTES_LIVE_MAX; i++) {
		reg.address.n = (size_t)snprintf(address, sizeof address, "h:%d", i);
		assert_int_equal(routes_register(r, &reg, &err), 0);
	}
	assert_int_equal(routes_register(r, &reg, &err), 0);
	reg.address = S("one too many");
	assert_int_equal(routes_register(r, &reg, &err), -ENOSPC);
	assert_null(routes_live(r, S("C"), reg.address));
	assert_int_equal(routes_expire(r, 1000 + ROUTES_TIMEOUT_DEFAULT + 1, NULL, NULL), ROUTES_LIVE_MAX);
	assert_int_equal(routes_register(r, &reg, &err), 0);
}

static void there_is_a_limit_to_names_in_clusters(void **state)
{
	struct routes *r = *state;
	struct route_registration reg = registration("b", 0, "h:1");
	struct mq_error err = {};

	assert_int_equal(routes_register(r, &reg, &err), 0);
	reg.cluster = S("D");
	assert_int_equal(routes_register(r, &reg, &err), 0);
	assert_int_equal(r->n_in_clusters, 2);
	r->n_in_clusters = ROUTES_BROKERS_MAX;
	assert_int_equal(routes_register(r, &reg, &err), 0);
	reg.cluster = S("E");
	assert_int_equal(routes_register(r, &reg, &err), -ENOSPC);
	assert_null(routes_cluster(r, S("E")));
	r->n_in_clusters = 2;
	routes_unregister(r, S("D"), S("b"), S("h:1"));
	assert_int_equal(r->n_in_clusters, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(entries_are_sorted_by_broker),
		TEST(the_last_broker_takes_topic_and_cluster_along),
		TEST(a_promoted_slave_leaves_its_old_id),
		TEST(older_state_does_not_replace_a_live_address),
		TEST(one_topic_is_no_first_registration),
		TEST(an_unchanged_version_changes_no_entry),
		TEST(topics_that_a_registration_lacks_stay_unless_told_otherwise),
		TEST(slaves_put_topics_only_while_they_are_the_smallest_id),
		TEST(slaves_left_alone_take_no_writes),
		TEST(a_new_smallest_id_is_told),
		TEST(a_closed_channel_takes_its_brokers_along),
		TEST(brokers_expire_after_their_timeout),
		TEST(a_topic_is_deleted_per_cluster),
		TEST(a_single_topic_needs_known_brokers),
		TEST(permissions_are_wiped_and_added),
		TEST(impossible_names_are_refused),
		TEST(there_is_a_limit_to_brokers),
		TEST(there_is_a_limit_to_addresses_that_were_left),
		TEST(there_is_a_limit_to_names_in_clusters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
