/* Time as a seam: whoever needs the time takes a `const struct mq_clock *`, so that tests steer it. */
#pragma once

#include <stdint.h>

struct mq_clock {
	int64_t (*wall_ms)(void *user); /* milliseconds since 1970 */
	int64_t (*mono_ns)(void *user); /* nanoseconds, never goes back */
	void *user;
};

extern const struct mq_clock mq_clock_system;

static inline int64_t mq_wall_ms(const struct mq_clock *c)
{
	return c->wall_ms(c->user);
}

static inline int64_t mq_mono_ns(const struct mq_clock *c)
{
	return c->mono_ns(c->user);
}

static inline int64_t mq_mono_ms(const struct mq_clock *c)
{
	return c->mono_ns(c->user) / 1000000;
}
