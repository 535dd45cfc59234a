#include "daemons/ctl/histogram.h"

#include <math.h>
#include <string.h>

/* Values below 2^BITS have a bucket each. Above, the leading bit says the power, the BITS bits behind it
 * the bucket. */
static unsigned bucket_of(uint64_t v)
{
	unsigned power;

	if (v < 1u << HISTOGRAM_BITS)
		return (unsigned)v;
	power = 63 - (unsigned)__builtin_clzll(v);
	if (power >= HISTOGRAM_MAX_BITS)
		return HISTOGRAM_BUCKETS - 1;
	return ((power - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS) +
	       (unsigned)((v >> (power - HISTOGRAM_BITS)) & ((1u << HISTOGRAM_BITS) - 1));
}

static uint64_t middle_of(unsigned bucket)
{
	unsigned power = (bucket >> HISTOGRAM_BITS);
	uint64_t mantissa = bucket & ((1u << HISTOGRAM_BITS) - 1);

	if (power == 0)
		return mantissa;
	power--; /* the bucket's width is 2^power */
	return (((1ull << HISTOGRAM_BITS) + mantissa) << power) + ((1ull << power) >> 1);
}

void histogram_reset(struct histogram *h)
{
	memset(h, 0, sizeof *h);
}

void histogram_add(struct histogram *h, int64_t ns)
{
	uint64_t v = ns < 0 ? 0 : (uint64_t)ns;

	if (h->n == 0 || v < h->min_ns)
		h->min_ns = v;
	if (v > h->max_ns)
		h->max_ns = v;
	h->n++;
	h->sum_ns += v;
	h->buckets[bucket_of(v)]++;
}

int64_t histogram_percentile(const struct histogram *h, double percent)
{
	/* 99.9 % of 1000 is 999, whatever the last bit of the product says. */
	uint64_t wanted = (uint64_t)ceil(percent / 100 * (double)h->n * (1 - 1e-12)), seen = 0;

	if (h->n == 0)
		return 0;
	if (wanted >= h->n)
		return (int64_t)h->max_ns;
	if (wanted < 1)
		wanted = 1;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t v;

		seen += h->buckets[i];
		if (seen < wanted)
			continue;
		v = middle_of(i);
		if (v < h->min_ns)
			v = h->min_ns;
		return (int64_t)(v < h->max_ns ? v : h->max_ns);
	}
	return (int64_t)h->max_ns;
}

double histogram_mean(const struct histogram *h)
{
	return h->n ? (double)h->sum_ns / (double)h->n : 0;
}
