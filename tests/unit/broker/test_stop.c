/* broker.c as a whole, without listeners: what it says of its store, and at its end what readers still do when the loops' threads are gone. */
#include "broker_test.h"

#include <sys/mman.h>
#include <time.h>

#include "libmq/net/internal.h"
#include "storage/internal.h"

enum { LINKS = 300, N_LOOPS = 2 };

/* Work whose completion brings more work. */
struct chain {
	struct broker *broker;
	struct mq_conn conn;
	_Atomic int n_done;
};

static void chain_link(struct chain *c);

/* The first one takes until the broker stops. */
static void chain_work(void *arg)
{
	struct chain *c = arg;
	struct timespec pause = { .tv_nsec = 1000000 };

	for (int left = 10000; !atomic_load(&c->broker->is_stopping) && left > 0; left--)
		nanosleep(&pause, NULL);
}

static void chain_done(void *arg)
{
	struct chain *c = arg;

	if (atomic_fetch_add(&c->n_done, 1) + 1 < LINKS)
		chain_link(c);
}

static void chain_link(struct chain *c)
{
	assert_int_equal(broker_offload(c->broker, &c->conn, chain_work, chain_done, c), 0);
}

struct whole {
	char dir[32];
	struct mq_loop *loop;
	struct broker *broker;
};

static void whole_open(struct whole *w)
{
	char sets[2][64];
	const char *const all[] = { sets[0], sets[1], "brokerName=broker-a" };
	struct option_args args = { .program = "test", .sets = all, .n_sets = N_ELEMENTS(all) };
	struct broker_config config = {};
	struct mq_loop_config loop_config;
	struct mq_error err = {};

	strcpy(w->dir, "/tmp/mqstop.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(sets[0], sizeof sets[0], "storePathRootDir=%s", w->dir);
	snprintf(sets[1], sizeof sets[1], "ioThreads=%d", N_LOOPS);
	mq_loop_config_init(&loop_config);
	assert_int_equal(mq_loop_new(&w->loop, &loop_config, &err), 0);
	if (options_load(&broker_options, &args, &config, &err) < 0 || broker_new(&w->broker, &config, w->loop, &err) < 0)
		fail_msg("%s", err.text);
}

static void whole_close(struct whole *w)
{
	char command[64];

	broker_free(w->broker);
	mq_loop_free(w->loop);
	snprintf(command, sizeof command, "rm -rf %s", w->dir);
	assert_int_equal(system(command), 0);
}

static void what_readers_still_do_comes_to_its_end(void **state)
{
	struct chain chains[N_LOOPS] = {};
	struct whole w;

	whole_open(&w);
	for (unsigned i = 0; i < N_LOOPS; i++) {
		chains[i].broker = w.broker;
		chains[i].conn.loop = broker_loop_mq(w.broker->loops[i]);
		chain_link(&chains[i]);
	}
	whole_close(&w);
	for (unsigned i = 0; i < N_LOOPS; i++)
		assert_int_equal(atomic_load(&chains[i].n_done), LINKS);
}

static void a_damaged_row_is_named_in_the_journal(void **state)
{
	int stderr_fd = dup(2), log_fd = memfd_create("log", MFD_CLOEXEC);
	_cleanup_(rocksdb_textp) char *text = NULL;
	struct store_half pending;
	char line[1000] = "";
	struct store *s;
	struct whole w;

	whole_open(&w);
	s = w.broker->store;
	rocksdb_put_cf(s->db, s->write_options, s->cf[CF_HALF], "odd", 3, "", 0, &text);
	assert_null(text);
	dup2(log_fd, 2);
	assert_int_equal(store_half_scan(s, 0, &pending, 1), 0);
	dup2(stderr_fd, 2);
	whole_close(&w);
	assert_true(pread(log_fd, line, sizeof line - 1, 0) > 0);
	close(log_fd);
	close(stderr_fd);
	assert_non_null(strstr(line, "half: a row is damaged: 0 bytes of value, key 0x6f6464. It is passed over"));
	assert_non_null(strstr(line, "mq-store check"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_readers_still_do_comes_to_its_end),
		cmocka_unit_test(a_damaged_row_is_named_in_the_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
