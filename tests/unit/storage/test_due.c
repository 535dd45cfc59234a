#include <limits.h>

#include "store_test.h"

enum { DUES_MAX = 64 };

struct dues {
	struct fixture *f;
	unsigned n, stop_after;
	struct store_due rows[DUES_MAX];
	int64_t next_ms;
	void (*during)(struct fixture *f);
};

static enum store_verdict dues_on_row(void *user, const struct store_due *due)
{
	struct dues *d = user;

	assert_true(d->n < DUES_MAX);
	d->rows[d->n++] = *due;
	if (d->during)
		d->during(d->f);
	d->during = NULL;
	return d->stop_after && d->n >= d->stop_after ? STORE_STOP : STORE_GO_ON;
}

static struct dues due_until(struct fixture *f, int64_t until_ms, unsigned max)
{
	struct dues d = { .f = f };

	assert_int_equal(store_due_scan(f->store, NULL, until_ms, INT64_MAX, max, dues_on_row, &d, &d.next_ms), 0);
	return d;
}

static unsigned count_due(struct fixture *f)
{
	return due_until(f, INT64_MAX, UINT_MAX).n;
}

/* A record of LATER/0 that is due at a time, or after one. */
static void put_due(struct fixture *f, const char *body, int64_t at_ms, int64_t after_ms)
{
	struct message m;
	struct store_op op;

	message_init(&m, queue_of(f, "LATER", 0),
		     &(struct message_spec){ .topic = "LATER", .body = body });
	m.record.due_kind = STORE_DUE_MESSAGE;
	m.record.due_at_ms = at_ms;
	m.record.due_after_ms = after_ms;
	store_op_init(&op);
	op.records = &m.record;
	op.n_records = 1;
	assert_int_equal(commit_op(f, &op), 0);
	message_done(&m);
}

/* Appends to `topic` what the row is about. */
static int move(struct fixture *f, const struct store_due *due, const char *topic)
{
	struct message m;
	struct store_op op;

	message_init(&m, queue_of(f, topic, 0),
		     &(struct message_spec){ .topic = topic, .body = "moved" });
	store_op_init(&op);
	op.records = &m.record;
	op.n_records = 1;
	op.take_due = *due;
	(void)commit_op(f, &op);
	message_done(&m);
	return op.result;
}

static int64_t due_offset(const struct dues *d, unsigned i)
{
	return locator_offset(d->rows[i].locator);
}

static void a_scan_may_begin_behind_a_row(void **state)
{
	struct fixture *f = *state;
	struct dues all, d = { .f = f };

	put_due(f, "a", 10, 0);
	put_due(f, "b", 20, 0);
	put_due(f, "c", 20, 0);
	put_due(f, "d", 30, 0);
	all = due_until(f, 100, 10);
	assert_int_equal(all.n, 4);
	assert_int_equal(store_due_scan(f->store, &all.rows[1], 25, INT64_MAX, 10, dues_on_row, &d, &d.next_ms), 0);
	assert_int_equal(d.n, 1);
	assert_int_equal(due_offset(&d, 0), 2);
	assert_int_equal(d.next_ms, 30);
	d = (struct dues){ .f = f };
	assert_int_equal(store_due_scan(f->store, &all.rows[3], 100, 1000, 10, dues_on_row, &d, &d.next_ms), 0);
	assert_int_equal(d.n, 0);
	assert_int_equal(d.next_ms, 1000);
	assert_int_equal(count_due(f), 4); /* what is before was not forgotten */
}

static void rows_come_by_time_then_in_the_order_of_storing(void **state)
{
	struct fixture *f = *state;

	put_due(f, "c", 300, 0);
	put_due(f, "a", 100, 0);
	put_due(f, "b1", 200, 0);
	put_due(f, "b2", 200, 0);

	struct dues d = due_until(f, 1000, 10);
	assert_int_equal(d.n, 4);
	assert_int_equal(d.next_ms, INT64_MAX);
	assert_int_equal(due_offset(&d, 0), 1);
	assert_int_equal(due_offset(&d, 1), 2);
	assert_int_equal(due_offset(&d, 2), 3);
	assert_int_equal(due_offset(&d, 3), 0);
	assert_int_equal(d.rows[3].at_ms, 300);
	assert_int_equal(d.rows[3].kind, STORE_DUE_MESSAGE);
}

static void nothing_is_handed_out_before_its_time_or_beyond_the_bound(void **state)
{
	struct fixture *f = *state;

	put_due(f, "a", 100, 0);
	put_due(f, "b", 101, 0);
	put_due(f, "c", 102, 0);
	assert_int_equal(due_until(f, 99, 10).n, 0);
	assert_int_equal(due_until(f, 99, 10).next_ms, 100);
	assert_int_equal(due_until(f, 101, 10).n, 2);
	assert_int_equal(due_until(f, 101, 10).next_ms, 102);
	assert_int_equal(due_until(f, 1000, 1).n, 1);
	assert_int_equal(due_until(f, 1000, 1).next_ms, 101);

	struct dues d = { .f = f, .stop_after = 2 };
	assert_int_equal(store_due_scan(f->store, NULL, 1000, INT64_MAX, 10, dues_on_row, &d, &d.next_ms), 0);
	assert_int_equal(d.n, 2);
	assert_int_equal(d.next_ms, 102);
}

static void a_move_is_done_once(void **state)
{
	struct fixture *f = *state;
	struct message m[2];
	struct store_op ops[2];

	put_due(f, "a", 100, 0);
	put_due(f, "b", 100, 0);

	struct dues d = due_until(f, 100, 10);
	/* twice in one batch */
	for (int i = 0; i < 2; i++) {
		message_init(&m[i], queue_of(f, "T", 0),
			     &(struct message_spec){ .topic = "T", .body = "x" });
		store_op_init(&ops[i]);
		ops[i].records = &m[i].record;
		ops[i].n_records = 1;
		ops[i].take_due = d.rows[0];
	}
	commit_and_wait(f->store, ops, 2);
	assert_int_equal(ops[0].result, 0);
	assert_int_equal(ops[1].result, -ENOENT);
	for (int i = 0; i < 2; i++)
		message_done(&m[i]);
	/* and later, and after a restart */
	assert_int_equal(move(f, &d.rows[0], "T"), -ENOENT);
	fixture_reopen(f);
	assert_int_equal(move(f, &d.rows[0], "T"), -ENOENT);
	assert_int_equal(scan(f, "T", 0, 0).n, 1);
	assert_int_equal(count_due(f), 1);
	assert_int_equal(move(f, &d.rows[1], "T"), 0);
	assert_int_equal(count_due(f), 0);
	assert_int_equal(scan(f, "LATER", 0, 0).n, 2);
}

static void a_row_can_be_taken_for_nothing(void **state)
{
	struct fixture *f = *state;
	struct store_op op;

	put_due(f, "recalled", 100, 0);

	struct dues d = due_until(f, 100, 1);
	store_op_init(&op);
	op.take_due = d.rows[0];
	assert_int_equal(commit_op(f, &op), 0);
	assert_int_equal(count_due(f), 0);
}

static void a_delay_counts_from_the_clock_when_stored(void **state)
{
	struct fixture *f = *state;
	int64_t now = atomic_load(&f->now_ms);

	put_due(f, "a", 0, 5000);
	assert_int_equal(scan(f, "LATER", 0, 0).tag_hash, now + 5000);
	/* Store times do not go back with the clock, due times do: the delay is the same. */
	atomic_store(&f->now_ms, now - 60000);
	put_due(f, "b", 0, 5000);
	assert_int_equal(scan(f, "LATER", 0, 1).store_at_ms, now);

	struct dues d = due_until(f, now - 55001, 10);
	assert_int_equal(d.n, 0);
	assert_int_equal(d.next_ms, now - 55000);
	assert_int_equal(due_until(f, now - 55000, 10).n, 1);
	assert_int_equal(due_until(f, now + 5000, 10).n, 2);
}

static void put_earlier(struct fixture *f)
{
	put_due(f, "earlier", 50, 0);
}

static void a_row_written_during_a_scan_is_not_passed_over(void **state)
{
	struct fixture *f = *state;
	struct dues d = { .f = f, .during = put_earlier };

	put_due(f, "a", 100, 0);
	assert_int_equal(store_due_scan(f->store, NULL, 1000, INT64_MAX, 10, dues_on_row, &d, &d.next_ms), 0);
	assert_int_equal(d.n, 1);

	d = due_until(f, 1000, 10);
	assert_int_equal(d.n, 2);
	assert_int_equal(d.rows[0].at_ms, 50);
	/* nor one that comes later and is due before everything seen so far */
	put_due(f, "first", 10, 0);
	d = due_until(f, 1000, 10);
	assert_int_equal(d.n, 3);
	assert_int_equal(d.rows[0].at_ms, 10);
}

static _Atomic int64_t noted_ms;

static void on_due(void *user, int64_t at_ms)
{
	atomic_store(&noted_ms, at_ms);
}

static void who_waits_is_told_of_the_earliest_row(void **state)
{
	struct fixture *f = *state;
	struct message m[3];
	struct store_op ops[3];

	f->cfg.on_due = on_due;
	fixture_open(f);
	for (int i = 0; i < 3; i++) {
		message_init(&m[i], queue_of(f, "LATER", 0),
			     &(struct message_spec){ .topic = "LATER", .body = "x" });
		m[i].record.due_kind = STORE_DUE_MESSAGE;
		m[i].record.due_at_ms = 300 - 100 * (i % 2);
		store_op_init(&ops[i]);
		ops[i].records = &m[i].record;
		ops[i].n_records = 1;
	}
	commit_and_wait(f->store, ops, 3);
	assert_int_equal(atomic_load(&noted_ms), 200);
	atomic_store(&noted_ms, 0);
	append(f, "T", 0, "at once");
	assert_int_equal(atomic_load(&noted_ms), 0);
	for (int i = 0; i < 3; i++)
		message_done(&m[i]);
}

/* ---- crashes ---- */

static void act_put_two(struct fixture *f)
{
	put_due(f, "a", 100, 0);
	put_due(f, "b", 200, 0);
}

static void act_move_one(struct fixture *f)
{
	struct dues d = due_until(f, 100, 10);

	assert_int_equal(d.n, 1);
	assert_int_equal(move(f, &d.rows[0], "T"), 0);
}

static void act_scan_only(struct fixture *f)
{
	assert_int_equal(due_until(f, 1000, 10).n, 1);
}

static void killed_at_every_step_it_is_in_one_place(void **state)
{
	struct fixture *f = *state;

	fixture_kill_after(f, act_put_two);
	fixture_kill_after(f, act_move_one);
	fixture_kill_after(f, act_scan_only);
	fixture_open(f);
	assert_int_equal(scan(f, "LATER", 0, 0).n, 2);
	assert_int_equal(scan(f, "T", 0, 0).n, 1);

	struct dues d = due_until(f, 1000, 10);
	assert_int_equal(d.n, 1);
	assert_int_equal(d.rows[0].at_ms, 200);
}

static void a_move_that_cannot_be_written_happens_after_the_restart(void **state)
{
	struct fixture *f = *state;

	put_due(f, "a", 100, 0);

	struct dues d = due_until(f, 100, 10);
	atomic_store(&f->write_error, -EIO);
	assert_int_equal(move(f, &d.rows[0], "T"), -EIO);
	atomic_store(&f->write_error, 0);
	fixture_reopen(f);
	assert_int_equal(scan(f, "T", 0, 0).n, 0);
	assert_int_equal(due_until(f, 100, 10).n, 1);
	assert_int_equal(move(f, &d.rows[0], "T"), 0);
	assert_int_equal(scan(f, "T", 0, 0).n, 1);
}

/* ---- retention ---- */

static const char *const due_topics[] = { "LATER", NULL };

static void retention_leaves_what_still_waits(void **state)
{
	struct fixture *f = *state;

	f->cfg.due_topics = due_topics;
	f->cfg.retention_ms = 1000;
	f->cfg.delete_hours = UINT32_MAX;
	fixture_open(f);
	for (int i = 0; i < 4; i++)
		put_due(f, "x", 100 + (i == 2 ? 0 : i), 0);
	append(f, "T", 0, "not delayed");
	flush_queue(f, "LATER", 0);
	atomic_fetch_add(&f->now_ms, 5000);

	struct dues d = due_until(f, 1000, 10); /* offsets 0, 2, 1, 3 */
	assert_int_equal(move(f, &d.rows[1], "ELSEWHERE"), 0);
	assert_true(store_retain(f->store, NULL) >= 0);
	assert_int_equal(scan(f, "T", 0, 0).n, 0);
	assert_int_equal(store_queue_min(queue_of(f, "LATER", 0)), 0);

	assert_int_equal(move(f, &d.rows[0], "ELSEWHERE"), 0);
	assert_true(store_retain(f->store, NULL) >= 0);
	assert_int_equal(store_queue_min(queue_of(f, "LATER", 0)), 1);
	assert_int_equal(scan(f, "LATER", 0, 0).n, 3);

	assert_int_equal(move(f, &d.rows[2], "ELSEWHERE"), 0);
	assert_true(store_retain(f->store, NULL) >= 0);
	assert_int_equal(store_queue_min(queue_of(f, "LATER", 0)),
			 3); /* the one at 2 went with it */
	assert_int_equal(move(f, &d.rows[3], "ELSEWHERE"), 0);
	assert_true(store_retain(f->store, NULL) >= 0);
	assert_int_equal(scan(f, "LATER", 0, 0).n, 0);
}

static void what_waits_stays_whatever_the_bytes(void **state)
{
	struct fixture *f = *state;

	f->cfg.due_topics = due_topics;
	f->cfg.max_bytes = 1;
	fixture_open(f);
	put_due(f, "x", 100, 0);
	append(f, "T", 0, "not delayed");
	flush_queue(f, "LATER", 0);
	flush_queue(f, "T", 0);
	assert_true(store_retain(f->store, NULL) >= 0);
	assert_int_equal(scan(f, "T", 0, 0).n, 0);
	assert_int_equal(scan(f, "LATER", 0, 0).n, 1);

	struct dues d = due_until(f, 1000, 10);
	assert_int_equal(move(f, &d.rows[0], "ELSEWHERE"), 0);
	assert_true(store_retain(f->store, NULL) >= 0);
	assert_int_equal(scan(f, "LATER", 0, 0).n, 0);
}

/* ---- What a group popped ---- */

static struct store_due popped(const char *group, int64_t at_ms, int64_t locator)
{
	return (struct store_due){
		.at_ms = at_ms, .kind = STORE_DUE_POP, .locator = locator, .group = mq_slice_of(group), .pop_at_ms = 7, .is_suspended = true,
	};
}

static int change(struct fixture *f, const struct store_due *take, const struct store_due *delete, const struct store_due *put)
{
	struct store_op op;

	store_op_init(&op);
	if (take)
		op.take_due = *take;
	op.due_deletes = delete;
	op.n_due_deletes = delete ? 1 : 0;
	op.due_puts = put;
	op.n_due_puts = put ? 1 : 0;
	(void)commit_op(f, &op);
	return op.result;
}

static enum store_verdict assert_popped(void *user, const struct store_due *due)
{
	assert_int_equal(due->kind, STORE_DUE_POP);
	assert_int_equal(due->at_ms, 100);
	assert_int_equal(due->locator, 5);
	assert_true(mq_slice_is(due->group, ++*(unsigned *)user == 1 ? "g" : "h"));
	assert_int_equal(due->pop_at_ms, 7);
	assert_true(due->is_suspended);
	return STORE_GO_ON;
}

static void a_message_is_with_each_group_that_popped_it(void **state)
{
	struct fixture *f = *state;
	struct store_due g = popped("g", 100, 5), h = popped("h", 100, 5);
	unsigned n = 0;
	int64_t next;

	assert_int_equal(change(f, NULL, NULL, &h), 0);
	assert_int_equal(change(f, NULL, NULL, &g), 0);
	fixture_close(f);
	fixture_open(f);
	assert_int_equal(store_due_scan(f->store, NULL, 100, INT64_MAX, 10, assert_popped, &n, &next), 0);
	assert_int_equal(n, 2);
	assert_int_equal(change(f, &g, NULL, NULL), 0);
	assert_int_equal(change(f, &g, NULL, NULL), -ENOENT);
	assert_int_equal(count_due(f), 1);
}

static void a_row_moves_if_it_is_there(void **state)
{
	struct fixture *f = *state;
	struct store_due now = popped("g", 100, 5), later = popped("g", 200, 5);

	assert_int_equal(change(f, NULL, NULL, &now), 0);
	assert_int_equal(change(f, &now, NULL, &now), 0); /* to where it was: it stays */
	assert_int_equal(count_due(f), 1);
	assert_int_equal(change(f, &now, NULL, &later), 0);
	assert_int_equal(change(f, &now, NULL, &now), -ENOENT);
	assert_int_equal(due_until(f, 1000, 10).n, 1);
	assert_int_equal(due_until(f, 1000, 10).rows[0].at_ms, 200);
	assert_int_equal(change(f, NULL, &later, NULL), 0);
	assert_int_equal(change(f, NULL, &later, NULL), 0); /* not there: nobody minds */
	assert_int_equal(count_due(f), 0);
	/* Deletes come before puts. */
	assert_int_equal(change(f, NULL, &later, &later), 0);
	assert_int_equal(count_due(f), 1);
}

static void the_first_of_a_batch_is_the_first(void **state)
{
	struct fixture *f = *state;
	struct store_due row = popped("g", 100, 5);
	struct store_op ops[2]; /* an acknowledgement, and the revival */

	assert_int_equal(change(f, NULL, NULL, &row), 0);
	for (int i = 0; i < 2; i++)
		store_op_init(&ops[i]);
	ops[0].due_deletes = &row;
	ops[0].n_due_deletes = 1;
	ops[1].take_due = row;
	commit_and_wait(f->store, ops, 2);
	assert_int_equal(ops[0].result, 0);
	assert_int_equal(ops[1].result, -ENOENT);
}

static void a_scan_looks_no_further_than_its_horizon(void **state)
{
	struct fixture *f = *state;
	struct store_due near = popped("g", 100, 5), far = popped("g", 5000, 6);
	struct dues d = { .f = f };

	assert_int_equal(change(f, NULL, NULL, &far), 0);
	assert_int_equal(store_due_scan(f->store, NULL, 50, 1050, 10, dues_on_row, &d, &d.next_ms), 0);
	assert_int_equal(d.n, 0);
	assert_int_equal(d.next_ms, 1050);
	assert_int_equal(store_due_scan(f->store, NULL, 4500, 5500, 10, dues_on_row, &d, &d.next_ms), 0);
	assert_int_equal(d.n, 0);
	assert_int_equal(d.next_ms, 5000);
	/* What is put below the horizon afterwards is found. */
	assert_int_equal(store_due_scan(f->store, NULL, 50, 1050, 10, dues_on_row, &d, &d.next_ms), 0);
	assert_int_equal(change(f, NULL, NULL, &near), 0);
	assert_int_equal(store_due_scan(f->store, NULL, 150, 1150, 10, dues_on_row, &d, &d.next_ms), 0);
	assert_int_equal(d.n, 1);
	assert_int_equal(d.next_ms, 1150);
	assert_int_equal(change(f, &near, NULL, NULL), 0);
	assert_int_equal(store_due_scan(f->store, NULL, 5000, 6000, 10, dues_on_row, &d, &d.next_ms), 0);
	assert_int_equal(d.n, 2);
}

static void rows_that_cannot_be_are_refused(void **state)
{
	static char name[2000];
	struct fixture *f = *state;
	struct store_due none = popped("", 100, 5), much = popped(name, 100, 5), message = popped("g", 100, 5);
	struct store_meta_put meta = { .kind = "kind", .name = { name, sizeof name }, .value = MQ_SLICE("x") };
	struct store_op op;

	memset(name, 'x', sizeof name - 1);
	much.group.n = sizeof name - 1;
	message.kind = STORE_DUE_MESSAGE;
	assert_int_equal(change(f, NULL, NULL, &none), -EINVAL);
	assert_int_equal(change(f, NULL, NULL, &much), -EINVAL);
	assert_int_equal(change(f, NULL, &message, NULL), -EINVAL);
	assert_int_equal(change(f, &none, NULL, NULL), -EINVAL);
	store_op_init(&op);
	op.meta_puts = &meta;
	op.n_meta_puts = 1;
	(void)commit_op(f, &op);
	assert_int_equal(op.result, -EINVAL);
}

static int count_meta(void *user, struct mq_slice name, struct mq_slice value)
{
	assert_true(mq_slice_is(name, "name") && mq_slice_is(value, "value"));
	++*(unsigned *)user;
	return 0;
}

static unsigned meta_rows(struct fixture *f)
{
	unsigned n = 0;

	assert_int_equal(store_meta_each(f->store, "kind", count_meta, &n), 0);
	return n;
}

static void metadata_goes_with_the_op(void **state)
{
	struct store_meta_put meta = { .kind = "kind", .name = MQ_SLICE("name"), .value = MQ_SLICE("value") };
	struct fixture *f = *state;
	struct store_op op;

	store_op_init(&op);
	op.meta_puts = &meta;
	op.n_meta_puts = 1;
	assert_int_equal(commit_op(f, &op), 0);
	fixture_close(f);
	fixture_open(f);
	assert_int_equal(meta_rows(f), 1);
	meta.value = (struct mq_slice){};
	assert_int_equal(commit_op(f, &op), 0);
	assert_int_equal(meta_rows(f), 0);
}

static void a_row_that_cannot_be_read_is_told_once_and_passed_over(void **state)
{
	struct fixture *f = *state;
	struct mq_slice empty = MQ_SLICE("");
	char odd[] = "\0\0\0\0\0\0\0\17" "\115" "LOCATORX";

	*damages() = (struct damages){};
	f->cfg.on_damage = damages_on_damage;
	fixture_open(f);
	raw(f, CF_DUE, MQ_SLICE("\0\0\0\0\0\0\0\5"), &empty);
	put_due(f, "a", 10, 0);
	raw(f, CF_DUE, (struct mq_slice){ odd, sizeof odd - 1 }, &empty);
	put_due(f, "b", 20, 0);
	put_due(f, "c", 30, 0);
	for (int i = 0; i < 2; i++) {
		struct dues d = due_until(f, 20, 2);

		assert_int_equal(d.n, 2);
		assert_int_equal(d.rows[0].at_ms, 10);
		assert_int_equal(d.rows[1].at_ms, 20);
		assert_int_equal(d.next_ms, 30);
		put_due(f, "before all", 1, 0); /* the next scan begins in front of them */
		assert_int_equal(move(f, &due_until(f, 1, 1).rows[0], "NOW"), 0);
	}
	assert_int_equal(damages()->n, 1);
	assert_string_equal(damages()->last, "due: a row is damaged: 0 bytes of value, key 0x0000000000000005");
	fixture_reopen(f);
	raw(f, CF_DUE, MQ_SLICE("\0\0\0\0\0\0\0\5"), NULL);
	assert_int_equal(due_until(f, 20, 2).n, 2);
	assert_int_equal(damages()->n, 2);
	assert_string_equal(damages()->last, "due: a row is damaged: 0 bytes of value, key 0x000000000000000f4d4c4f4341544f5258");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_scan_may_begin_behind_a_row),
		TEST_CLOSED(a_row_that_cannot_be_read_is_told_once_and_passed_over),
		TEST(rows_come_by_time_then_in_the_order_of_storing),
		TEST(nothing_is_handed_out_before_its_time_or_beyond_the_bound),
		TEST(a_move_is_done_once),
		TEST(a_row_can_be_taken_for_nothing),
		TEST(a_delay_counts_from_the_clock_when_stored),
		TEST(a_row_written_during_a_scan_is_not_passed_over),
		TEST_CLOSED(who_waits_is_told_of_the_earliest_row),
		TEST_CLOSED(killed_at_every_step_it_is_in_one_place),
		TEST(a_move_that_cannot_be_written_happens_after_the_restart),
		TEST_CLOSED(retention_leaves_what_still_waits),
		TEST_CLOSED(what_waits_stays_whatever_the_bytes),
		TEST(a_message_is_with_each_group_that_popped_it),
		TEST(a_row_moves_if_it_is_there),
		TEST(the_first_of_a_batch_is_the_first),
		TEST(a_scan_looks_no_further_than_its_horizon),
		TEST(rows_that_cannot_be_are_refused),
		TEST(metadata_goes_with_the_op),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
