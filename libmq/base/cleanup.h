/* Scope-bound ownership. The idioms: _cleanup_ owns inside a function, TAKE() passes ownership on. */
#pragma once

#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn)     __attribute__((cleanup(fn)))
#define _printf_(fmt, va) __attribute__((format(printf, fmt, va)))
#define _must_check_      __attribute__((warn_unused_result))

/* Defines fn##p(), usable as _cleanup_(fn##p), for a destructor that is called with the pointer. */
#define DEFINE_CLEANUP(type, fn)                                               \
	static inline void fn##p(type *p)                                      \
	{                                                                      \
		if (*p)                                                        \
			fn(*p);                                                \
	}

/* For memory of malloc(): _cleanup_(freep) char *text = NULL; */
static inline void freep(void *p)
{
	free(*(void **)p);
}

/* For descriptors: _cleanup_(closep) int fd = -1; */
static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* Passes ownership on: evaluates to p and leaves NULL behind. */
#define TAKE(p) ({ __typeof__(p) _taken = (p); (p) = NULL; _taken; })

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))
#define BIT(n) (1u << (n))
