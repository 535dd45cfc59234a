/* A clock that stands still until the test moves it. */
#pragma once

#include <stdint.h>

#include "libmq/base/clock.h"

struct test_clock {
	struct mq_clock clock;
	int64_t mono_ns, wall_ms;
};

static inline int64_t test_clock_wall_ms(void *user)
{
	return ((struct test_clock *)user)->wall_ms;
}

static inline int64_t test_clock_mono_ns(void *user)
{
	return ((struct test_clock *)user)->mono_ns;
}

static inline void test_clock_init(struct test_clock *c)
{
	*c = (struct test_clock){ .clock = { test_clock_wall_ms, test_clock_mono_ns, c }, .mono_ns = 1000000000, .wall_ms = 1700000000000 };
}

static inline void test_clock_advance(struct test_clock *c, int64_t ms)
{
	c->mono_ns += ms * 1000000;
	c->wall_ms += ms;
}
