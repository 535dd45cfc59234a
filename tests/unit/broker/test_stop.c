/* broker.c at its end: what readers still do when the loops' threads are gone. */
#include "broker_test.h"

#include <time.h>

#include "libmq/net/internal.h"

enum { LINKS = 300 };

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

static void what_readers_still_do_comes_to_its_end(void **state)
{
	char dir[] = "/tmp/mqstop.XXXXXX", sets[2][64], command[64];
	const char *const all[] = { sets[0], sets[1], "brokerName=broker-a" };
	struct option_args args = { .program = "test", .sets = all, .n_sets = N_ELEMENTS(all) };
	struct broker_config config = {};
	struct mq_loop_config loop_config;
	struct mq_loop *loop;
	struct mq_error err = {};
	struct chain chains[2] = {};
	struct broker *b;

	assert_non_null(mkdtemp(dir));
	snprintf(sets[0], sizeof sets[0], "storePathRootDir=%s", dir);
	snprintf(sets[1], sizeof sets[1], "ioThreads=%zu", N_ELEMENTS(chains));
	mq_loop_config_init(&loop_config);
	assert_int_equal(mq_loop_new(&loop, &loop_config, &err), 0);
	if (options_load(&broker_options, &args, &config, &err) < 0 || broker_new(&b, &config, loop, &err) < 0)
		fail_msg("%s", err.text);
	for (unsigned i = 0; i < N_ELEMENTS(chains); i++) {
		chains[i].broker = b;
		chains[i].conn.loop = broker_loop_mq(b->loops[i]);
		chain_link(&chains[i]);
	}
	broker_free(b);
	for (unsigned i = 0; i < N_ELEMENTS(chains); i++)
		assert_int_equal(atomic_load(&chains[i].n_done), LINKS);
	mq_loop_free(loop);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_readers_still_do_comes_to_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
