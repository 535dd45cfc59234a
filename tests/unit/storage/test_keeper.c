/* What the keeper does by itself, every second. */
#include <sched.h>

#include "store_test.h"

enum { CHUNKS = 1024, CHUNK_SIZE = 64 << 10, WAIT_S = 30 };

static size_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long total, resident;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &total, &resident), 2);
	fclose(f);
	return (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* Chunks in use between free ones: malloc gives nothing of that back by itself. */
static void memory_of_a_peak_goes_back(void **state)
{
	char *chunks[CHUNKS], *pins[CHUNKS];
	time_t end = time(NULL) + WAIT_S;
	size_t peak;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	skip(); /* they bring a malloc of their own */
#endif
	store_tune_process();
	for (int i = 0; i < CHUNKS; i++) {
		chunks[i] = malloc(CHUNK_SIZE);
		pins[i] = malloc(1 << 10); /* too large for malloc's own lists of small chunks */
		assert_non_null(chunks[i]);
		assert_non_null(pins[i]);
		memset(chunks[i], 1, CHUNK_SIZE);
	}
	peak = resident_bytes(); /* before anything is free: the keeper may be quick */
	for (int i = 0; i < CHUNKS; i++)
		free(chunks[i]);
	while (resident_bytes() > peak - (size_t)CHUNKS * CHUNK_SIZE / 2) {
		assert_true(time(NULL) < end);
		sched_yield();
	}
	for (int i = 0; i < CHUNKS; i++)
		free(pins[i]);
}

/* A pass reads for as long as it takes, in the keeper or while the keeper waits for it: whoever watches must see that it moves. */
static void a_long_pass_of_retention_shows_progress(void **state)
{
	enum { DELAYED = 500, QUEUES = 50 };
	static const char *const due_topics[] = { "LATER", NULL };
	struct fixture *f = *state;
	struct mq_error err = {};
	uint64_t before;

	f->cfg.due_topics = due_topics;
	f->cfg.retention_ms = 1000;
	f->cfg.max_families = 0; /* all queues are in shared families */
	fixture_open(f);
	for (int i = 0; i < DELAYED; i++)
		assert_int_equal(append(f, "LATER", 0, "was delivered"), i);
	for (int i = 0; i < QUEUES; i++)
		assert_int_equal(append(f, "T", i, "old"), 0);
	atomic_fetch_add(&f->now_ms, 500);
	append(f, "LATER", 0, "young");
	for (int i = 0; i < QUEUES; i++)
		append(f, "T", i, "young");
	atomic_fetch_add(&f->now_ms, 600);

	before = store_keeper_progress(f->store);
	assert_true(store_expire(f->store, &err) > 0);
	assert_in_range(store_keeper_progress(f->store) - before, DELAYED + QUEUES, INT64_MAX);
	assert_int_equal(store_queue_min(queue_of(f, "LATER", 0)), DELAYED);
}

struct first {
	struct message message;
	struct store_op op;
	struct store_turn turn;
	_Atomic bool is_done;
};

static void on_done(struct store_turn *turn)
{
	atomic_store((_Atomic bool *)turn->user, true);
}

static bool has_dead(struct fixture *f)
{
	LOCKED(&f->store->spares_lock);

	return !STAILQ_EMPTY(&f->store->dead);
}

/* Families for new queues are the keeper's, too. Here the test has what a pass on a reader has. */
static void new_queues_do_not_wait_for_a_pass(void **state)
{
	enum { QUEUES = 2 * SPARES_FULL };
	struct fixture *f = *state;
	struct first *firsts = calloc(QUEUES, sizeof *firsts);

	assert_int_equal(append(f, "T", 0, "x"), 0);
	pthread_mutex_lock(&f->store->retain_lock);
	assert_int_equal(store_topic_delete(f->store, MQ_SLICE("T"), NULL, 0), 0); /* its family is to be dropped */
	for (int i = 0; i < QUEUES; i++) {
		struct first *first = &firsts[i];

		message_init(&first->message, queue_of(f, "N", i), &(struct message_spec){ .topic = "N", .queue_id = i, .body = "y" });
		store_op_init(&first->op);
		first->op.records = &first->message.record;
		first->op.n_records = 1;
		store_turn_init(&first->turn, on_done, (void *)&first->is_done);
		store_turn_add(&first->turn, &first->op);
		store_commit(f->store, &first->turn);
	}
	for (int i = 0; i < QUEUES; i++)
		AWAIT(atomic_load(&firsts[i].is_done));
	pthread_mutex_unlock(&f->store->retain_lock);
	for (int i = 0; i < QUEUES; i++) {
		assert_int_equal(firsts[i].op.result, 0);
		message_done(&firsts[i].message);
	}
	free(firsts);
	AWAIT(!has_dead(f)); /* and dropped in the end */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(memory_of_a_peak_goes_back),
		TEST_CLOSED(a_long_pass_of_retention_shows_progress),
		TEST(new_queues_do_not_wait_for_a_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
