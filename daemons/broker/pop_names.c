#include "daemons/broker/pop_names.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemons/broker/retry.h"
#include "libmq/base/bytes.h"
#include "libmq/wire/fields.h"

void pop_topic(struct pop_name *ret, enum pop_mark mark, struct mq_slice topic, struct mq_slice group)
{
	static const struct mq_slice prefix = { RETRY_PREFIX, sizeof RETRY_PREFIX - 1 };
	bool is_retry = mark != POP_NORMAL;
	size_t n = topic.n + (is_retry ? prefix.n + group.n + 1 : 0);
	char *p = ret->p;

	ret->n = 0;
	if (n > POP_NAME_MAX)
		return;
	if (is_retry) {
		p = mq_put_bytes(p, prefix.p, prefix.n);
		p = mq_put_bytes(p, group.p, group.n);
		p = mq_put8(p, mark == POP_RETRY_V2 ? '+' : '_');
	}
	mq_put_bytes(p, topic.p, topic.n);
	ret->n = n;
}

enum pop_mark pop_mark_of(struct mq_slice topic)
{
	if (!mq_slice_starts(topic, MQ_SLICE(RETRY_PREFIX)))
		return POP_NORMAL;
	return memchr(topic.p, '+', topic.n) ? POP_RETRY_V2 : POP_RETRY_V1;
}

struct mq_slice pop_normal_topic(struct mq_slice topic, struct mq_slice group)
{
	size_t n = sizeof RETRY_PREFIX - 1 + group.n;

	if (topic.n <= n + 1 || !mq_slice_starts(topic, MQ_SLICE(RETRY_PREFIX)) ||
	    memcmp(topic.p + sizeof RETRY_PREFIX - 1, group.p, group.n) != 0 || (topic.p[n] != '_' && topic.p[n] != '+'))
		return topic;
	return (struct mq_slice){ topic.p + n + 1, topic.n - n - 1 };
}

/* ---- Receipts ---- */

size_t pop_handle_encode(const struct pop_handle *h, char ret[POP_HANDLE_MAX])
{
	int n = snprintf(ret, POP_HANDLE_MAX, "%" PRIi64 " %" PRIi64 " %" PRIi64 " %" PRIi32 " %d %.*s %" PRIi32 " %" PRIi64,
			 h->start_offset, h->pop_at_ms, h->invisible_ms, h->revive_queue, (int)h->mark, MQ_FMT(h->broker), h->queue_id,
			 h->offset);

	return n < POP_HANDLE_MAX ? (size_t)n : POP_HANDLE_MAX - 1;
}

enum { PART_START, PART_POP, PART_INVISIBLE, PART_REVIVE, PART_MARK, PART_BROKER, PART_QUEUE, PART_OFFSET, N_PARTS };

/* String.split(" "): parts behind the last that is wanted do not matter. */
static unsigned handle_split(struct mq_slice text, struct mq_slice parts[N_PARTS])
{
	unsigned n = 0;

	while (n < N_PARTS) {
		const char *end = text.n > 0 ? memchr(text.p, ' ', text.n) : NULL;
		size_t n_part = end ? (size_t)(end - text.p) : text.n;

		parts[n++] = (struct mq_slice){ text.p, n_part };
		if (!end)
			break;
		text = (struct mq_slice){ end + 1, text.n - n_part - 1 };
	}
	return n;
}

int pop_handle_decode(struct mq_slice text, struct pop_handle *ret)
{
	struct pop_handle h = { .queue_id = -1, .offset = -1 };
	struct mq_slice parts[N_PARTS];
	unsigned n = handle_split(text, parts);
	int32_t mark;

	if (n <= PART_BROKER || mq_parse_i64(parts[PART_START], &h.start_offset) < 0 || mq_parse_i64(parts[PART_POP], &h.pop_at_ms) < 0 ||
	    mq_parse_i64(parts[PART_INVISIBLE], &h.invisible_ms) < 0 || mq_parse_i32(parts[PART_REVIVE], &h.revive_queue) < 0 ||
	    mq_parse_i32(parts[PART_MARK], &mark) < 0)
		return -EBADMSG;
	if (n > PART_QUEUE && mq_parse_i32(parts[PART_QUEUE], &h.queue_id) < 0)
		return -EBADMSG;
	if (n > PART_OFFSET && mq_parse_i64(parts[PART_OFFSET], &h.offset) < 0)
		return -EBADMSG;
	/* Whatever is no retry topic is a normal one (ExtraInfoUtil.getRealTopic). */
	h.mark = mark == POP_RETRY_V1 || mark == POP_RETRY_V2 ? (enum pop_mark)mark : POP_NORMAL;
	h.broker = parts[PART_BROKER];
	*ret = h;
	return 0;
}
