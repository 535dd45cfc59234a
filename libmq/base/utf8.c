#include "libmq/base/utf8.h"

#include <stddef.h>
#include <stdint.h>

char *mq_utf8_put(char *out, unsigned c)
{
	if (c < 0x80) {
		*out++ = (char)c;
	} else if (c < 0x800) {
		*out++ = (char)(0xc0 | c >> 6);
		*out++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*out++ = (char)(0xe0 | c >> 12);
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	} else {
		*out++ = (char)(0xf0 | c >> 18);
		*out++ = (char)(0x80 | (c >> 12 & 0x3f));
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	}
	return out;
}

unsigned mq_utf8_get(const char *p, unsigned n)
{
	static const uint8_t lead_mask[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	unsigned c = (uint8_t)p[0] & lead_mask[n];

	for (unsigned i = 1; i < n; i++)
		c = c << 6 | ((uint8_t)p[i] & 0x3f);
	return c;
}

unsigned mq_utf8_length(const char *p, const char *end)
{
	static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 }; /* shorter forms exist below */
	uint8_t lead = (uint8_t)*p;
	unsigned n, c;

	if (lead < 0x80)
		return 1;
	n = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
	if (n == 0 || (size_t)(end - p) < n)
		return 0;
	for (unsigned i = 1; i < n; i++)
		if (((uint8_t)p[i] & 0xc0) != 0x80)
			return 0;
	c = mq_utf8_get(p, n);
	return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : n;
}

bool mq_utf8_is(struct mq_slice text)
{
	const char *p = text.p, *end = text.p + text.n;
	unsigned n;

	for (; p < end; p += n) {
		n = mq_utf8_length(p, end);
		if (n == 0)
			return false;
	}
	return true;
}
