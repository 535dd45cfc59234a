#include "tests/unit/net/net_test.h"

#include <pthread.h>
#include <stdatomic.h>

struct fixture {
	struct test_clock clock;
	struct mq_loop *loop;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct mq_loop_config cfg;

	test_clock_init(&f->clock);
	mq_loop_config_init(&cfg);
	cfg.clock = &f->clock.clock;
	assert_int_equal(mq_loop_new(&f->loop, &cfg, NULL), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	mq_loop_free(f->loop);
	free(f);
	return 0;
}

struct note {
	struct mq_post post;
	struct mq_timer timer;
	struct mq_loop *loop;
	struct mq_post *next;
	char *log;
	char name;
};

static void note_write(struct note *n)
{
	char *end = n->log + strlen(n->log);

	end[0] = n->name;
	end[1] = '\0';
}

static void note_on_post(struct mq_post *post)
{
	struct note *n = (struct note *)post;

	note_write(n);
	if (n->next)
		mq_loop_post(n->loop, n->next);
}

static void note_on_timer(struct mq_timer *timer)
{
	note_write((struct note *)((char *)timer - offsetof(struct note, timer)));
}

static void posts_run_in_order_in_one_turn(void **state)
{
	struct fixture *f = *state;
	char log[8] = "";
	struct note a = { .post.run = note_on_post, .log = log, .name = 'a' };
	struct note b = { .post.run = note_on_post, .log = log, .name = 'b' };
	uint64_t before = mq_loop_progress(f->loop);

	mq_loop_post(f->loop, &a.post);
	mq_loop_post(f->loop, &b.post);
	assert_int_equal(mq_loop_turn(f->loop, -1), 0);
	assert_string_equal(log, "ab");
	assert_int_equal(mq_loop_progress(f->loop), before + 1);
}

static void post_made_by_a_post_does_not_wait_for_an_event(void **state)
{
	struct fixture *f = *state;
	char log[8] = "";
	struct note b = { .post.run = note_on_post, .log = log, .name = 'b' };
	struct note a = { .post.run = note_on_post, .log = log, .name = 'a', .loop = f->loop, .next = &b.post };

	mq_loop_post(f->loop, &a.post);
	assert_int_equal(mq_loop_turn(f->loop, -1), 0);
	assert_int_equal(mq_loop_turn(f->loop, -1), 0);
	assert_string_equal(log, "ab");
}

static void on_turn_note(struct mq_loop *loop, void *user)
{
	note_write(user);
}

static void on_turn_runs_after_posts_and_timers(void **state)
{
	struct fixture *f = *state;
	char log[8] = "";
	struct note end = { .log = log, .name = 'e' };
	struct note post = { .post.run = note_on_post, .log = log, .name = 'p' };
	struct note timer = { .timer.fire = note_on_timer, .log = log, .name = 't' };

	mq_loop_on_turn(f->loop, on_turn_note, &end);
	mq_loop_post(f->loop, &post.post);
	assert_int_equal(mq_timer_set(f->loop, &timer.timer, mq_mono_ms(&f->clock.clock)), 0);
	turns(f->loop, 1);
	assert_string_equal(log, "tpe");
}

static void on_turn_post_next(struct mq_loop *loop, void *user)
{
	struct note *n = user;

	note_write(n);
	if (n->next)
		mq_loop_post(loop, n->next);
	n->next = NULL;
}

static void what_on_turn_posts_runs_in_the_same_turn(void **state)
{
	struct fixture *f = *state;
	char log[8] = "";
	struct note post = { .post.run = note_on_post, .log = log, .name = 'p' };
	struct note end = { .log = log, .name = 'e', .next = &post.post };

	mq_loop_on_turn(f->loop, on_turn_post_next, &end);
	turns(f->loop, 1);
	assert_string_equal(log, "epe");
}

static void timers_fire_in_order_when_their_time_has_come(void **state)
{
	struct fixture *f = *state;
	char log[64] = "";
	struct note notes[26];
	int64_t now_ms = mq_mono_ms(&f->clock.clock);

	/* In an order that is neither rising nor falling. */
	for (unsigned i = 0; i < 26; i++) {
		unsigned k = i * 7 % 26;

		notes[k] = (struct note){ .timer.fire = note_on_timer, .log = log, .name = (char)('a' + k) };
		assert_int_equal(mq_timer_set(f->loop, &notes[k].timer, now_ms + 10 * (k + 1)), 0);
	}
	mq_timer_clear(f->loop, &notes[2].timer);
	mq_timer_clear(f->loop, &notes[2].timer);
	assert_int_equal(mq_timer_set(f->loop, &notes[0].timer, now_ms + 1000), 0);

	turns(f->loop, 1);
	assert_string_equal(log, "");
	test_clock_advance(&f->clock, 50);
	turns(f->loop, 1);
	assert_string_equal(log, "bde");
	test_clock_advance(&f->clock, 950);
	turns(f->loop, 1);
	assert_string_equal(log, "bdefghijklmnopqrstuvwxyza");
}

static void set_again_on_timer(struct mq_timer *timer)
{
	struct note *n = (struct note *)((char *)timer - offsetof(struct note, timer));

	note_write(n);
	assert_int_equal(mq_timer_set(n->loop, timer, 0), 0);
}

static void timer_that_sets_itself_again_does_not_hold_the_turn(void **state)
{
	struct fixture *f = *state;
	char log[8] = "";
	struct note n = { .timer.fire = set_again_on_timer, .loop = f->loop, .log = log, .name = 'x' };

	assert_int_equal(mq_timer_set(f->loop, &n.timer, 0), 0);
	assert_int_equal(mq_loop_turn(f->loop, -1), 0);
	assert_string_equal(log, "x");
	assert_int_equal(mq_loop_turn(f->loop, -1), 0);
	assert_string_equal(log, "xx");
	mq_timer_clear(f->loop, &n.timer); /* the loop outlives it */
}

static void time_stands_still_within_a_turn(void **state)
{
	struct fixture *f = *state;
	int64_t wall_ms = mq_loop_wall_ms(f->loop);

	test_clock_advance(&f->clock, 5);
	assert_int_equal(mq_loop_wall_ms(f->loop), wall_ms + 5);
}

static void stop_before_run_makes_run_return(void **state)
{
	struct fixture *f = *state;

	mq_loop_stop(f->loop);
	assert_int_equal(mq_loop_run(f->loop), 0);
}

static void ping_ends_an_endless_wait(void **state)
{
	struct fixture *f = *state;
	char log[8] = "";
	struct note later = { .timer.fire = note_on_timer, .log = log, .name = 'x' };

	/* Something to wait for: without it libevent would not wait at all. */
	assert_int_equal(mq_timer_set(f->loop, &later.timer, mq_mono_ms(&f->clock.clock) + 1000000), 0);
	for (unsigned i = 0; i < 3; i++) {
		mq_loop_ping(f->loop);
		assert_int_equal(mq_loop_turn(f->loop, -1), 0);
	}
	mq_timer_clear(f->loop, &later.timer);
}

/* Real time from here on: a loop on a thread of its own. */

static void *run_loop(void *user)
{
	return (void *)(intptr_t)mq_loop_run(user);
}

static void real_timer_wakes_a_sleeping_loop(void **state)
{
	_cleanup_(mq_loop_freep) struct mq_loop *loop = NULL;
	struct mq_loop_config cfg;
	char log[8] = "";
	struct note n = { .timer.fire = note_on_timer, .log = log, .name = 'x' };

	mq_loop_config_init(&cfg);
	assert_int_equal(mq_loop_new(&loop, &cfg, NULL), 0);
	assert_int_equal(mq_timer_set(loop, &n.timer, real_ms() + 20), 0);
	turn_until(loop, log[0] == 'x');
	assert_int_equal(mq_loop_turn(loop, 1), 0); /* and a wait that nothing ends but its time */
}

enum { THREADS = 4, POSTS = 2000 };

struct counted_post {
	struct mq_post post;
	unsigned *n; /* of the loop's thread */
	struct mq_loop *stop;
};

static void count_post(struct mq_post *post)
{
	struct counted_post *c = (struct counted_post *)post;

	if (++*c->n == THREADS * POSTS)
		mq_loop_stop(c->stop);
}

struct poster {
	pthread_t thread;
	struct mq_loop *loop;
	struct counted_post posts[POSTS];
};

static void *post_many(void *user)
{
	struct poster *p = user;

	for (unsigned i = 0; i < POSTS; i++)
		mq_loop_post(p->loop, &p->posts[i].post);
	return NULL;
}

static void posts_of_many_threads_all_arrive(void **state)
{
	_cleanup_(mq_loop_freep) struct mq_loop *loop = NULL;
	struct poster *posters = calloc(THREADS, sizeof *posters);
	struct mq_loop_config cfg;
	unsigned n = 0;
	pthread_t thread;
	void *r;

	mq_loop_config_init(&cfg);
	assert_int_equal(mq_loop_new(&loop, &cfg, NULL), 0);
	assert_true(mq_loop_is_current(loop));
	assert_int_equal(pthread_create(&thread, NULL, run_loop, loop), 0);
	for (unsigned t = 0; t < THREADS; t++) {
		posters[t].loop = loop;
		for (unsigned i = 0; i < POSTS; i++)
			posters[t].posts[i] = (struct counted_post){ .post.run = count_post, .n = &n, .stop = loop };
		assert_int_equal(pthread_create(&posters[t].thread, NULL, post_many, &posters[t]), 0);
	}
	for (unsigned t = 0; t < THREADS; t++)
		pthread_join(posters[t].thread, NULL);
	pthread_join(thread, &r);
	assert_int_equal((intptr_t)r, 0);
	assert_int_equal(n, THREADS * POSTS);
	assert_false(mq_loop_is_current(loop));
	free(posters);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(posts_run_in_order_in_one_turn, set_up, tear_down),
		cmocka_unit_test_setup_teardown(post_made_by_a_post_does_not_wait_for_an_event, set_up, tear_down),
		cmocka_unit_test_setup_teardown(on_turn_runs_after_posts_and_timers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_on_turn_posts_runs_in_the_same_turn, set_up, tear_down),
		cmocka_unit_test_setup_teardown(timers_fire_in_order_when_their_time_has_come, set_up, tear_down),
		cmocka_unit_test_setup_teardown(timer_that_sets_itself_again_does_not_hold_the_turn, set_up, tear_down),
		cmocka_unit_test_setup_teardown(time_stands_still_within_a_turn, set_up, tear_down),
		cmocka_unit_test_setup_teardown(stop_before_run_makes_run_return, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ping_ends_an_endless_wait, set_up, tear_down),
		cmocka_unit_test(real_timer_wakes_a_sleeping_loop),
		cmocka_unit_test(posts_of_many_threads_all_arrive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
