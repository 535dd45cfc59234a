#include "libmq/wire/fields.h"

#include <limits.h>
#include <strings.h>

int mq_parse_slice(struct mq_slice text, struct mq_slice *ret)
{
	*ret = text;
	return 0;
}

int mq_parse_bool(struct mq_slice text, bool *ret)
{
	*ret = text.n == 4 && strncasecmp(text.p, "true", 4) == 0;
	return 0;
}

/* Long.parseLong: optional sign and digits, nothing else. */
int mq_parse_i64(struct mq_slice text, int64_t *ret)
{
	const char *p = text.p, *end = text.p + text.n;
	bool is_negative = false;
	uint64_t limit, v = 0;

	if (p < end && (*p == '-' || *p == '+'))
		is_negative = *p++ == '-';
	if (p == end)
		return -EBADMSG;

	limit = (uint64_t)INT64_MAX + is_negative;
	for (; p < end; p++) {
		unsigned digit = (unsigned)*p - '0';

		if (digit > 9 || v > limit / 10 || (v = v * 10 + digit) > limit)
			return -EBADMSG;
	}
	*ret = (int64_t)(is_negative ? -v : v);
	return 0;
}

int mq_parse_i32(struct mq_slice text, int32_t *ret)
{
	int64_t v;

	if (mq_parse_i64(text, &v) < 0 || v < INT32_MIN || v > INT32_MAX)
		return -EBADMSG;
	*ret = (int32_t)v;
	return 0;
}
