/* Parts of a broker on a store of its own, with a clock that the test steers. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <event2/buffer.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/clients.h"
#include "daemons/broker/groups.h"
#include "daemons/broker/locks.h"
#include "daemons/broker/pop_inflight.h"
#include "daemons/broker/stats.h"
#include "daemons/broker/topics.h"

DEFINE_CLEANUP(struct evbuffer *, evbuffer_free)

struct fixture {
	char dir[64];
	_Atomic int64_t now_ms;
	struct mq_clock clock;
	struct store_hooks hooks; /* none, unless the test sets them before it opens again */
	struct broker broker;
};

static inline int64_t fixture_wall(void *user)
{
	return atomic_load(&((struct fixture *)user)->now_ms);
}

static inline int64_t fixture_mono(void *user)
{
	return atomic_load(&((struct fixture *)user)->now_ms) * 1000000;
}

static inline void fixture_advance(struct fixture *f, int64_t ms)
{
	atomic_fetch_add(&f->now_ms, ms);
}

static inline void fixture_open(struct fixture *f)
{
	struct mq_error err = {};
	struct store_config cfg;

	store_config_init(&cfg);
	cfg.path = f->dir;
	cfg.clock = &f->clock;
	cfg.min_free_bytes = 0;
	cfg.hooks = f->hooks;
	if (store_open(&f->broker.store, &cfg, &err) < 0 || topics_new(&f->broker.topics, &f->broker, &err) < 0 ||
	    groups_new(&f->broker.groups, &f->broker, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(clients_new(&f->broker.clients, &f->broker), 0);
	assert_int_equal(locks_new(&f->broker.locks, &f->broker), 0);
	assert_int_equal(stats_new(&f->broker.stats, &f->broker), 0);
	assert_int_equal(pop_inflight_new(&f->broker.pop_inflight, &f->broker), 0);
}

static inline void fixture_close(struct fixture *f)
{
	struct broker *b = &f->broker;

	b->clients = clients_free(b->clients);
	b->locks = locks_free(b->locks);
	b->stats = stats_free(b->stats);
	b->pop_inflight = pop_inflight_free(b->pop_inflight);
	b->groups = groups_free(b->groups);
	b->topics = topics_free(b->topics);
	b->store = store_close(b->store);
}

/* The default configuration, with these KEY=VALUE on top. */
static inline void fixture_configure(struct fixture *f, const char *const *sets, unsigned n)
{
	struct option_args args = { .program = "test", .sets = sets, .n_sets = n };
	struct mq_error err = {};

	options_free(&broker_options, &f->broker.config);
	if (options_load(&broker_options, &args, &f->broker.config, &err) < 0)
		fail_msg("%s", err.text);
}

static inline struct fixture *fixture_new(void)
{
	static const char *const sets[] = { "brokerName=broker-a" };
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	strcpy(f->dir, "/tmp/mqbroker.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	atomic_store(&f->now_ms, 1795000000000);
	f->clock = (struct mq_clock){ fixture_wall, fixture_mono, f };
	f->broker.clock = &f->clock;
	f->broker.started_at_ms = atomic_load(&f->now_ms);
	fixture_configure(f, sets, 1);
	return f;
}

static inline int fixture_setup(void **state)
{
	struct fixture *f = fixture_new();

	fixture_open(f);
	*state = f;
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	fixture_close(f);
	options_free(&broker_options, &f->broker.config);
	snprintf(command, sizeof command, "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* The buffer's bytes as text, until the next call. */
static inline const char *fixture_text(struct evbuffer *b)
{
	static char text[1 << 20];
	size_t n = evbuffer_get_length(b);

	assert_true(n < sizeof text);
	evbuffer_copyout(b, text, n);
	text[n] = '\0';
	return text;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
