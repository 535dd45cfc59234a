/* A borrowed run of bytes. Never NUL-terminated, never owned: it lives as long as what it points into. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct mq_slice {
	const char *p; /* borrowed; NULL means absent */
	size_t n;      /* bytes */
};

/* A string literal as a slice, also in static initialisers. */
#define MQ_SLICE(literal) ((struct mq_slice){ "" literal, sizeof(literal) - 1 })

/* For printf: "%.*s", MQ_FMT(slice) */
#define MQ_FMT(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct mq_slice mq_slice_of(const char *text)
{
	return (struct mq_slice){ text, text ? strlen(text) : 0 };
}

static inline bool mq_slice_equal(struct mq_slice a, struct mq_slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Less than, equal to or greater than 0, by bytes. */
static inline int mq_slice_compare(struct mq_slice a, struct mq_slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n > 0 ? memcmp(a.p, b.p, n) : 0;

	return order ? order : (a.n > b.n) - (a.n < b.n);
}

/* The same for arrays of slices that are sorted and searched. */
static inline int mq_slice_order(const void *a, const void *b)
{
	return mq_slice_compare(*(const struct mq_slice *)a, *(const struct mq_slice *)b);
}

static inline bool mq_slice_is(struct mq_slice a, const char *text)
{
	return mq_slice_equal(a, mq_slice_of(text));
}

static inline bool mq_slice_starts(struct mq_slice a, struct mq_slice prefix)
{
	return a.n >= prefix.n && memcmp(a.p, prefix.p, prefix.n) == 0;
}

/* A copy with a NUL behind it, for free(); of an absent one, too. NULL: out of memory. */
static inline char *mq_slice_dup(struct mq_slice s)
{
	char *p = malloc(s.n + 1);

	if (!p)
		return NULL;
	if (s.n > 0)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}
