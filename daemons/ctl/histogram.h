/* A histogram of times in nanoseconds: 128 buckets per power of two, so that every value is known to less
 * than 1 %, in 38 KiB. Values up to 73 minutes; larger ones count as that. */
#pragma once

#include <stdint.h>

enum {
	HISTOGRAM_BITS = 7,      /* of a value's mantissa: 2^-8 relative error, taking the middle of a bucket */
	HISTOGRAM_MAX_BITS = 42, /* 2^42 ns = 73 min */
	HISTOGRAM_BUCKETS = (HISTOGRAM_MAX_BITS - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS,
};

struct histogram {
	uint64_t n, sum_ns, min_ns, max_ns; /* exact */
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_reset(struct histogram *h);
void histogram_add(struct histogram *h, int64_t ns); /* negative values count as 0 */
/* The value that `percent` of all values do not exceed, within 1 %; never above the maximum. 0 when there
 * are none. */
int64_t histogram_percentile(const struct histogram *h, double percent);
double histogram_mean(const struct histogram *h);
