#include "daemons/broker/recall.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "libmq/wire/fields.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t recall_encode(struct mq_slice topic, struct mq_slice broker, int64_t at_ms,
		     struct mq_slice uniq_key, char ret[RECALL_HANDLE_MAX])
{
	char text[RECALL_HANDLE_MAX];
	size_t n = (size_t)snprintf(text, sizeof text, "v1 %.*s %.*s %" PRIi64 " %.*s",
				    MQ_FMT(topic), MQ_FMT(broker), at_ms, MQ_FMT(uniq_key));
	char *to = ret;

	if ((n + 2) / 3 * 4 >= RECALL_HANDLE_MAX)
		return 0;
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)(uint8_t)text[i] << 16;

		v |= i + 1 < n ? (uint32_t)(uint8_t)text[i + 1] << 8 : 0;
		v |= i + 2 < n ? (uint8_t)text[i + 2] : 0;
		*to++ = digits[v >> 18];
		*to++ = digits[v >> 12 & 63];
		*to++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
		*to++ = i + 2 < n ? digits[v & 63] : '=';
	}
	*to = '\0';
	return (size_t)(to - ret);
}

/* Bytes of text, without NUL. As java.util.Base64: padding may be missing, but not half of it. */
static int recall_decode_base64(struct mq_slice in, char ret[RECALL_HANDLE_MAX])
{
	size_t n = 0, n_digits = in.n;
	uint32_t v = 0;

	while (in.n % 4 == 0 && n_digits > 0 && in.n - n_digits < 2 && in.p[n_digits - 1] == '=')
		n_digits--;
	if (n_digits % 4 == 1 || n_digits >= RECALL_HANDLE_MAX)
		return -EBADMSG;
	for (size_t i = 0; i < n_digits; i++) {
		const char *digit = in.p[i] ? strchr(digits, in.p[i]) : NULL;

		if (!digit)
			return -EBADMSG;
		v = v << 6 | (uint32_t)(digit - digits);
		if (i % 4 > 0)
			ret[n++] = (char)(v >> (6 - 2 * (i % 4)));
	}
	return (int)n;
}

static struct mq_slice recall_next_word(struct mq_slice *rest)
{
	const char *end = memchr(rest->p, ' ', rest->n);
	struct mq_slice word = { rest->p, end ? (size_t)(end - rest->p) : rest->n };
	size_t n_taken = word.n + (end ? 1 : 0);

	*rest = (struct mq_slice){ rest->p + n_taken, rest->n - n_taken };
	return word;
}

int recall_decode(struct mq_slice handle, struct recall *ret)
{
	int n = recall_decode_base64(handle, ret->text);
	struct mq_slice rest = { ret->text, n < 0 ? 0 : (size_t)n };

	if (n <= 0 || !mq_slice_is(recall_next_word(&rest), "v1"))
		return -EBADMSG;
	ret->topic = recall_next_word(&rest);
	ret->broker = recall_next_word(&rest);
	ret->time = recall_next_word(&rest);
	ret->uniq_key = recall_next_word(&rest);
	/* It becomes part of a property. */
	return ret->uniq_key.n == 0 || memchr(ret->uniq_key.p, 1, ret->uniq_key.n) ||
		       memchr(ret->uniq_key.p, 2, ret->uniq_key.n)
		   ? -EBADMSG
		   : 0;
}
