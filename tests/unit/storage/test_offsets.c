/* Consumer offsets and metadata rows. */
#include "store_test.h"

static int64_t get(struct fixture *f, const char *group, const char *topic, int32_t queue_id)
{
	int64_t offset;

	return store_offset_get(f->store, mq_slice_of(group), mq_slice_of(topic), queue_id, &offset) == 0 ? offset : -1;
}

static void set(struct fixture *f, const char *group, const char *topic, int32_t queue_id, int64_t offset)
{
	assert_int_equal(store_offset_set(f->store, mq_slice_of(group), mq_slice_of(topic), queue_id, offset, store_offset_since()), 0);
}

static void on_each(void *user, struct mq_slice group, struct mq_slice topic, int32_t queue_id, int64_t offset)
{
	*(int64_t *)user += offset;
}

static int64_t sum(struct fixture *f, const char *group, const char *topic)
{
	int64_t sum = 0;

	store_offset_each(f->store, mq_slice_of(group), mq_slice_of(topic), on_each, &sum);
	return sum;
}

static void offsets_are_set_listed_and_deleted(void **state)
{
	struct fixture *f = *state;

	set(f, "G", "T", 0, 1);
	set(f, "G", "T", 1, 20);
	set(f, "G", "U", 0, 300);
	set(f, "H", "T", 0, 4000);
	assert_int_equal(get(f, "G", "T", 2), -1);
	assert_int_equal(store_offset_set(f->store, (struct mq_slice){ "a\0b", 3 }, MQ_SLICE("T"), 0, 1, store_offset_since()), -EINVAL);
	for (int is_reopened = 0; is_reopened < 2; is_reopened++) {
		assert_int_equal(get(f, "G", "T", 1), 20);
		assert_int_equal(sum(f, "G", "T"), 21);
		assert_int_equal(sum(f, "G", ""), 321);
		assert_int_equal(sum(f, "", "T"), 4021);
		assert_int_equal(sum(f, "", ""), 4321);
		fixture_reopen(f);
	}
	set(f, "G", "T", 0, 0); /* backwards is the client's right */
	assert_int_equal(store_offset_delete(f->store, MQ_SLICE("G"), MQ_SLICE("U")), 0);
	for (int is_reopened = 0; is_reopened < 2; is_reopened++) {
		assert_int_equal(get(f, "G", "T", 0), 0);
		assert_int_equal(sum(f, "", ""), 4020);
		fixture_reopen(f);
	}
	assert_int_equal(store_offset_delete(f->store, MQ_SLICE("G"), MQ_SLICE("")), 0);
	set(f, "G", "T", 0, 7);
	fixture_reopen(f);
	assert_int_equal(sum(f, "", ""), 4007);
}

static bool all_is_written(struct store *s)
{
	bool is_clean;

	append_lock(s);
	pthread_mutex_lock(&s->offsets_lock);
	is_clean = TAILQ_EMPTY(&s->dirty_offsets);
	pthread_mutex_unlock(&s->offsets_lock);
	append_unlock(s);
	return is_clean;
}

static void set_and_wait_a_second(struct fixture *f)
{
	set(f, "G", "T", 3, 33);
	AWAIT(all_is_written(f->store));
}

static void offsets_survive_a_kill_after_the_second(void **state)
{
	struct fixture *f = *state;

	fixture_kill_after(f, set_and_wait_a_second);
	fixture_open(f);
	assert_int_equal(get(f, "G", "T", 3), 33);
}

static int commit_with_offset(struct fixture *f, const char *group, int64_t offset, int64_t take_half)
{
	struct store_offset_put put = { mq_slice_of(group), MQ_SLICE("T"), 0, offset };
	struct message m;
	struct store_op op;
	int r;

	message_init(&m, queue_of(f, "T", 0), &(struct message_spec){ .topic = "T", .body = "x" });
	store_op_init(&op);
	op.records = &m.record;
	op.n_records = 1;
	op.offset_puts = &put;
	op.n_offset_puts = 1;
	op.take_half = take_half;
	r = commit_op(f, &op);
	message_done(&m);
	return r;
}

static void said_by_an_op(struct store_op *op, struct store_offset_put *put, int64_t offset)
{
	*put = (struct store_offset_put){ MQ_SLICE("G"), MQ_SLICE("T"), 0, offset };
	store_op_init(op);
	op->offset_puts = put;
	op->n_offset_puts = 1;
}

/* Who has the append lock, perhaps the keeper, takes the turn along: it need not be done when store_commit() returns. */
static void commit_turn(struct fixture *f, struct store_turn *turn, struct waiter *w)
{
	store_commit(f->store, turn);
	waiter_wait(w);
}

/* An op says its offset when its turn gets it, and is written later. */
static void the_last_that_is_said_of_an_offset_wins(void **state)
{
	struct fixture *f = *state;
	struct store_offset_put puts[2];
	struct store_turn turn;
	struct store_op ops[2];
	struct waiter w;

	for (int is_flushed = 0; is_flushed < 2; is_flushed++) {
		set(f, "G", "T", 0, 1);
		waiter_init(&w, &turn);
		said_by_an_op(&ops[0], &puts[0], 10);
		store_turn_add(&turn, &ops[0]);
		set(f, "G", "T", 0, 20);
		if (is_flushed)
			AWAIT(all_is_written(f->store));
		commit_turn(f, &turn, &w);
		assert_int_equal(ops[0].result, 0);
		assert_int_equal(get(f, "G", "T", 0), 20);
		fixture_reopen(f);
		assert_int_equal(get(f, "G", "T", 0), 20);

		waiter_init(&w, &turn);
		set(f, "G", "T", 0, 30);
		said_by_an_op(&ops[0], &puts[0], 40);
		said_by_an_op(&ops[1], &puts[1], 35);
		store_turn_add(&turn, &ops[0]);
		store_turn_add(&turn, &ops[1]);
		commit_turn(f, &turn, &w);
		assert_int_equal(get(f, "G", "T", 0), 35);
		fixture_reopen(f);
		assert_int_equal(get(f, "G", "T", 0), 35);
	}
}

static int set_late(struct fixture *f, const char *topic, uint64_t since)
{
	return store_offset_set(f->store, MQ_SLICE("G"), mq_slice_of(topic), 0, 7, since);
}

static int commit_late(struct fixture *f, uint64_t since)
{
	struct store_offset_put put = { MQ_SLICE("G"), MQ_SLICE("T"), 0, 7, since };
	struct store_op op;

	store_op_init(&op);
	op.offset_puts = &put;
	op.n_offset_puts = 1;
	return commit_op(f, &op);
}

/* Who found the topic there, and says an offset of it when it is gone: a topic made again would begin there. */
static void what_is_said_of_a_topic_that_was_deleted_since_does_not_count(void **state)
{
	struct fixture *f = *state;
	uint64_t since, after;

	for (int is_again = 0; is_again < 2; is_again++) {
		set(f, "G", "T", 0, 1);
		set(f, "G", "U", 0, 1);
		since = store_offset_since();
		assert_int_equal(store_topic_delete(f->store, MQ_SLICE("T"), NULL, 0), 0);
		after = store_offset_since();
		assert_int_equal(store_topic_delete(f->store, MQ_SLICE("V"), NULL, 0), 0);
		assert_int_equal(set_late(f, "T", since), -ENOENT);
		assert_int_equal(commit_late(f, since), -ENOENT);
		assert_int_equal(set_late(f, "U", since), 0);
		assert_int_equal(get(f, "G", "T", 0), -1);
		fixture_reopen(f);
		assert_int_equal(get(f, "G", "T", 0), -1);
		assert_int_equal(get(f, "G", "U", 0), 7);
	}
	assert_int_equal(set_late(f, "T", after), 0);
	assert_int_equal(commit_late(f, after), 0);

	/* who is later than can be remembered */
	since = store_offset_since();
	for (int i = 0; i < DELETIONS_KEPT; i++) {
		char name[16];

		assert_int_equal(set_late(f, "U", since), 0);
		snprintf(name, sizeof name, "V%d", i);
		assert_int_equal(store_topic_delete(f->store, mq_slice_of(name), NULL, 0), 0);
	}
	assert_int_equal(set_late(f, "U", since), -ENOENT);
	assert_int_equal(set_late(f, "U", store_offset_since()), 0);
}

static void commit_offset_and_meta(struct fixture *f)
{
	assert_int_equal(commit_with_offset(f, "G", 5, -1), 0);
	assert_int_equal(store_meta_put(f->store, "topic", MQ_SLICE("T"), MQ_SLICE("row")), 0);
}

static int row_on_each(void *user, struct mq_slice name, struct mq_slice value)
{
	char *text = user;

	snprintf(text + strlen(text), 100 - strlen(text), "%.*s=%.*s ", MQ_FMT(name), MQ_FMT(value));
	return 0;
}

static void assert_rows(struct fixture *f, const char *kind, const char *rows)
{
	char text[100] = "";

	assert_int_equal(store_meta_each(f->store, kind, row_on_each, text), 0);
	assert_string_equal(text, rows);
}

static void what_returned_survives_a_kill_at_once(void **state)
{
	struct fixture *f = *state;

	fixture_kill_after(f, commit_offset_and_meta);
	fixture_open(f);
	assert_int_equal(get(f, "G", "T", 0), 5);
	assert_rows(f, "topic", "T=row ");
}

static void an_offset_lives_and_dies_with_its_op(void **state)
{
	struct fixture *f = *state;

	set(f, "G", "T", 0, 1);
	assert_int_equal(commit_with_offset(f, "G", 2, locator_make(9, 9)), -ENOENT);
	assert_int_equal(get(f, "G", "T", 0), 1);
	assert_int_equal(commit_with_offset(f, "G", 2, -1), 0);
	assert_int_equal(get(f, "G", "T", 0), 2);
	fixture_reopen(f);
	assert_int_equal(get(f, "G", "T", 0), 2);
}

static void put(struct fixture *f, const char *kind, const char *name, const char *value)
{
	assert_int_equal(store_meta_put(f->store, kind, mq_slice_of(name), mq_slice_of(value)), 0);
}

static void rows_are_listed_by_kind_in_order_of_names(void **state)
{
	struct fixture *f = *state;

	put(f, "topic", "b", "2");
	put(f, "topic", "a", "1");
	put(f, "topics", "c", "3");
	put(f, "group", "d", "");
	put(f, "topic", "gone", "4");
	assert_int_equal(store_meta_delete(f->store, "topic", MQ_SLICE("gone")), 0);
	for (int is_reopened = 0; is_reopened < 2; is_reopened++) {
		assert_rows(f, "topic", "a=1 b=2 ");
		assert_rows(f, "group", "d= ");
		assert_rows(f, "none", "");
		fixture_reopen(f);
	}
}

static int stop_on_each(void *user, struct mq_slice name, struct mq_slice value)
{
	return ++*(int *)user == 2 ? -ECANCELED : 0;
}

static void a_listing_ends_with_its_callback(void **state)
{
	struct fixture *f = *state;
	int n = 0;

	put(f, "k", "a", "v");
	put(f, "k", "b", "v");
	put(f, "k", "c", "v");
	assert_int_equal(store_meta_each(f->store, "k", stop_on_each, &n), -ECANCELED);
	assert_int_equal(n, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(offsets_are_set_listed_and_deleted),
		TEST_CLOSED(offsets_survive_a_kill_after_the_second),
		TEST_CLOSED(what_returned_survives_a_kill_at_once),
		TEST(an_offset_lives_and_dies_with_its_op),
		TEST(the_last_that_is_said_of_an_offset_wins),
		TEST(what_is_said_of_a_topic_that_was_deleted_since_does_not_count),
		TEST(rows_are_listed_by_kind_in_order_of_names),
		TEST(a_listing_ends_with_its_callback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
