/* Popping in order: one queue's state, and that it is there again after a restart. */
#include "broker_test.h"

#include "daemons/broker/pop_order.h"

static const int64_t offsets[] = { 5, 6, 9 };

/* Popped at 1000 for 100 ms. */
static struct pop_order popped(const struct pop_order *old, const char *attempt)
{
	struct pop_order o;

	pop_order_popped(&o, old, mq_slice_of(attempt), 1000, 100, offsets, 3);
	return o;
}

static bool blocks(const struct pop_order *o, const char *attempt, int64_t now_ms)
{
	int64_t free_ms;

	return pop_order_blocks(o, mq_slice_of(attempt), 50, now_ms, &free_ms);
}

static const char *counts(const struct pop_order *o)
{
	static char text[512];
	struct evbuffer *out = evbuffer_new();
	size_t n;

	pop_order_write_counts(o, 0, 3, out);
	n = evbuffer_get_length(out);
	evbuffer_copyout(out, text, n);
	text[n] = '\0';
	evbuffer_free(out);
	return text;
}

static void what_was_popped_blocks_until_its_time_is_over(void **state)
{
	struct pop_order o = popped(NULL, "");
	int64_t free_ms;

	assert_true(pop_order_blocks(&o, (struct mq_slice){}, 50, 1000, &free_ms));
	assert_int_equal(free_ms, 1100);
	assert_true(blocks(&o, "", 1099));
	assert_false(blocks(&o, "", 1100));
}

static void the_same_attempt_is_not_blocked(void **state)
{
	struct pop_order o = popped(NULL, "a");

	assert_false(blocks(&o, "a", 1000));
	assert_true(blocks(&o, "b", 1000));
	assert_true(blocks(&o, "", 1000));
	o = popped(NULL, "");
	assert_true(blocks(&o, "", 1000)); /* none is not the same as none */
}

static void acknowledgements_free_the_queue_and_move_the_offset(void **state)
{
	struct pop_order o = popped(NULL, "");

	assert_int_equal(pop_order_ack(&o, 9, 1000), 5);
	assert_int_equal(pop_order_ack(&o, 5, 1000), 6);
	assert_true(blocks(&o, "", 1000));
	assert_int_equal(pop_order_ack(&o, 6, 1000), 10);
	assert_false(blocks(&o, "", 1000));
}

static void who_was_not_given_a_message_cannot_acknowledge_it(void **state)
{
	struct pop_order o = popped(NULL, "");

	assert_int_equal(pop_order_ack(&o, 7, 1000), POP_ORDER_UNKNOWN);
	assert_int_equal(pop_order_ack(&o, 5, 999), POP_ORDER_LATE);
	o.n = 0;
	assert_int_equal(pop_order_ack(&o, 5, 1000), POP_ORDER_UNKNOWN);
}

static void a_message_can_be_put_off(void **state)
{
	struct pop_order o = popped(NULL, "");
	int64_t free_ms;

	assert_true(pop_order_put_off(&o, 6, 1000, 5000));
	assert_true(pop_order_blocks(&o, (struct mq_slice){}, 50, 1200, &free_ms));
	assert_int_equal(free_ms, 5000);
	pop_order_ack(&o, 6, 1000);
	assert_false(blocks(&o, "", 1200));
	assert_false(pop_order_put_off(&o, 6, 999, 5000));
	assert_false(pop_order_put_off(&o, 7, 1000, 5000));
}

static void what_comes_again_is_counted(void **state)
{
	static const int64_t more[] = { 6, 9, 10 };
	struct pop_order first = popped(NULL, "a"), o;

	assert_string_equal(counts(&first), "0 3 0");
	/* The same attempt got no answer. */
	o = popped(&first, "a");
	assert_string_equal(counts(&o), "0 3 0");
	o = popped(&first, "b");
	assert_string_equal(counts(&o), "0 qo3%5 1;0 qo3%6 1;0 qo3%9 1;0 3 1");
	first = o;
	pop_order_popped(&o, &first, MQ_SLICE("c"), 2000, 100, more, 3);
	assert_string_equal(counts(&o), "0 qo3%6 2;0 qo3%9 2;0 3 0");
}

static void a_state_without_time_takes_that_of_who_asks(void **state)
{
	struct pop_order o;

	pop_order_popped(&o, NULL, (struct mq_slice){}, 1000, 0, offsets, 3);
	assert_true(blocks(&o, "", 1049));
	assert_false(blocks(&o, "", 1050));
	pop_order_popped(&o, NULL, (struct mq_slice){}, 1000, INT64_MAX, offsets, 3);
	assert_true(blocks(&o, "", INT64_MAX - 1));
}

static void a_row_is_read_as_it_was_written(void **state)
{
	struct pop_order o = popped(NULL, "attempt"), again;
	char row[POP_ORDER_ROW_MAX], name[POP_ORDER_NAME_MAX];
	struct mq_slice topic, group;
	int32_t queue_id;
	size_t n;

	o.messages[1].n_consumed = 7;
	pop_order_ack(&o, 5, 1000);
	pop_order_put_off(&o, 9, 1000, 5000);
	n = pop_order_encode(&o, row);
	assert_int_equal(pop_order_decode((struct mq_slice){ row, n }, &again), 0);
	assert_memory_equal(&again, &o, sizeof o);
	for (size_t i = 0; i < n - o.n_attempt; i++)
		assert_int_equal(pop_order_decode((struct mq_slice){ row, i }, &again), -EBADMSG);
	row[24] = POP_ORDER_MESSAGES + 1;
	assert_int_equal(pop_order_decode((struct mq_slice){ row, n }, &again), -EBADMSG);

	n = pop_order_name(MQ_SLICE("T"), MQ_SLICE("g"), 3, name);
	assert_int_equal(pop_order_name_parse((struct mq_slice){ name, n }, &topic, &group, &queue_id), 0);
	assert_true(mq_slice_is(topic, "T") && mq_slice_is(group, "g"));
	assert_int_equal(queue_id, 3);
	assert_int_equal(pop_order_name_parse((struct mq_slice){ name, 5 }, &topic, &group, &queue_id), -EBADMSG);
}

/* ---- All of them ---- */

static struct pop_orders *open_orders(struct fixture *f)
{
	struct mq_error err = {};
	struct pop_orders *p;

	if (pop_orders_new(&p, f->broker.store, atomic_load(&f->now_ms), &err) < 0)
		fail_msg("%s", err.text);
	return p;
}

static void put_row(struct fixture *f, const char *topic, const char *group, struct pop_order *o)
{
	char row[POP_ORDER_ROW_MAX], name[POP_ORDER_NAME_MAX];
	struct mq_slice value = { row, pop_order_encode(o, row) };
	struct mq_slice key = { name, pop_order_name(mq_slice_of(topic), mq_slice_of(group), 0, name) };

	assert_int_equal(store_meta_put(f->broker.store, POP_ORDER_KIND, key, value), 0);
}

static bool has(struct pop_orders *p, const char *topic, const char *group)
{
	struct pop_order o;

	return pop_orders_get(p, mq_slice_of(topic), mq_slice_of(group), 0, &o);
}

static void rows_are_loaded_unless_they_are_old(void **state)
{
	struct fixture *f = *state;
	struct pop_order o = popped(NULL, "");
	struct pop_orders *p;

	o.written_at_ms = atomic_load(&f->now_ms);
	put_row(f, "T", "g", &o);
	o.written_at_ms -= 24 * 3600000 + 1;
	put_row(f, "U", "g", &o);
	p = open_orders(f);
	assert_true(has(p, "T", "g"));
	assert_false(has(p, "U", "g"));
	pop_orders_free(p);
}

static void what_belongs_to_a_topic_or_group_goes_with_it(void **state)
{
	struct fixture *f = *state;
	struct pop_order o = popped(NULL, "");
	struct pop_orders *p;

	o.written_at_ms = atomic_load(&f->now_ms);
	put_row(f, "T", "g", &o);
	put_row(f, "T", "h", &o);
	put_row(f, "U", "g", &o);
	p = open_orders(f);
	pop_orders_forget(p, MQ_SLICE("T"), (struct mq_slice){});
	assert_false(has(p, "T", "g") || has(p, "T", "h"));
	assert_true(has(p, "U", "g"));
	pop_orders_forget(p, (struct mq_slice){}, MQ_SLICE("g"));
	assert_false(has(p, "U", "g"));
	pop_orders_free(p);
	p = open_orders(f); /* and their rows */
	assert_false(has(p, "T", "g") || has(p, "T", "h") || has(p, "U", "g"));
	pop_orders_free(p);
}

static void a_state_is_set_and_forgotten(void **state)
{
	struct fixture *f = *state;
	struct pop_order o = popped(NULL, "");
	struct pop_orders *p = open_orders(f);

	assert_int_equal(pop_orders_set(p, MQ_SLICE("T"), MQ_SLICE("g"), 0, &o), 0);
	assert_true(has(p, "T", "g"));
	assert_false(has(p, "T", "h"));
	assert_int_equal(pop_orders_set(p, MQ_SLICE("T"), MQ_SLICE("g"), 0, NULL), 0);
	assert_int_equal(pop_orders_set(p, MQ_SLICE("T"), MQ_SLICE("none"), 0, NULL), 0);
	assert_false(has(p, "T", "g"));
	pop_orders_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_popped_blocks_until_its_time_is_over),
		cmocka_unit_test(the_same_attempt_is_not_blocked),
		cmocka_unit_test(acknowledgements_free_the_queue_and_move_the_offset),
		cmocka_unit_test(who_was_not_given_a_message_cannot_acknowledge_it),
		cmocka_unit_test(a_message_can_be_put_off),
		cmocka_unit_test(what_comes_again_is_counted),
		cmocka_unit_test(a_state_without_time_takes_that_of_who_asks),
		cmocka_unit_test(a_row_is_read_as_it_was_written),
		TEST(rows_are_loaded_unless_they_are_old),
		TEST(what_belongs_to_a_topic_or_group_goes_with_it),
		TEST(a_state_is_set_and_forgotten),
	};

	return cmocka_run_group_tests_name("pop order", tests, NULL, NULL);
}
