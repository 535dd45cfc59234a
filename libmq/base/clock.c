#include "libmq/base/clock.h"

#include <stddef.h>
#include <time.h>

static int64_t clock_wall_ms(void *user)
{
	struct timespec t;

	(void)user;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t clock_mono_ns(void *user)
{
	struct timespec t;

	(void)user;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

const struct mq_clock mq_clock_system = { clock_wall_ms, clock_mono_ns, NULL };
