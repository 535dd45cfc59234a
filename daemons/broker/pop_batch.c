#include "daemons/broker/pop_batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libmq/wire/json.h"

void pop_batch_done(struct pop_batch *b)
{
	free(b->entries);
	free(b->bytes);
	mq_json_free(b->doc);
	*b = (struct pop_batch){};
}

/* Members have a short name and a long one. */
static const struct mq_json_node *batch_member(const struct mq_json_node *entry, const char *name, const char *long_name)
{
	const struct mq_json_node *member = mq_json_get(entry, name);

	return member ? member : mq_json_get(entry, long_name);
}

/* Base64 as fastjson writes it; padding may be missing. Returns the bytes written to `out`, at most 3/4 of the text. */
static int batch_decode_base64(struct mq_slice text, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t v = 0;
	int n = 0;

	while (text.n > 0 && text.p[text.n - 1] == '=')
		text.n--;
	if (text.n % 4 == 1)
		return -EBADMSG;
	for (size_t i = 0; i < text.n; i++) {
		const char *digit = text.p[i] ? strchr(digits, text.p[i]) : NULL;

		if (!digit)
			return -EBADMSG;
		v = v << 6 | (uint32_t)(digit - digits);
		if (i % 4 > 0)
			out[n++] = (char)(v >> (6 - 2 * (i % 4)));
	}
	return n;
}

/* ExtraInfoUtil.getRealTopic(): "0", "1" or "2". */
static int batch_mark(struct mq_slice text, enum pop_mark *ret)
{
	if (text.n != 1 || text.p[0] < '0' || text.p[0] > '2')
		return -EBADMSG;
	*ret = (enum pop_mark)(text.p[0] - '0');
	return 0;
}

static int batch_entry(struct pop_batch_entry *e, const struct mq_json_node *node, char **bytes, struct mq_error *err)
{
	struct mq_slice topic = mq_json_text(batch_member(node, "t", "topic"));
	struct mq_slice bits = mq_json_text(batch_member(node, "b", "bitSet"));
	enum pop_mark mark = POP_NORMAL;
	int n;

	*e = (struct pop_batch_entry){
		.group = mq_json_text(batch_member(node, "c", "consumerGroup")),
		.queue_id = (int32_t)mq_json_i64(batch_member(node, "q", "queueId"), 0),
		.revive_queue = (int32_t)mq_json_i64(batch_member(node, "rq", "reviveQueueId"), 0),
		.start_offset = mq_json_i64(batch_member(node, "so", "startOffset"), 0),
		.pop_at_ms = mq_json_i64(batch_member(node, "pt", "popTime"), 0),
		.invisible_ms = mq_json_i64(batch_member(node, "it", "invisibleTime"), 0),
	};
	if (!e->group.p || e->group.n > POP_NAME_MAX || !topic.p || !bits.p)
		return mq_error_set(err, -EBADMSG, "an acknowledgement names no group, topic or messages");
	if (batch_mark(mq_json_text(batch_member(node, "r", "retry")), &mark) < 0)
		return mq_error_set(err, -EBADMSG, "getRetry fail, format is wrong");
	pop_topic(&e->topic, mark, topic, e->group);
	n = batch_decode_base64(bits, *bytes);
	if (n < 0)
		return mq_error_set(err, -EBADMSG, "the bits of an acknowledgement are not base64");
	e->bits = (struct mq_slice){ *bytes, (size_t)n };
	*bytes += n;
	return 0;
}

unsigned pop_batch_count(const struct pop_batch_entry *e)
{
	unsigned n = 0;

	for (size_t i = 0; i < e->bits.n; i++)
		n += (unsigned)__builtin_popcount((unsigned char)e->bits.p[i]);
	return n;
}

static int batch_fill(struct pop_batch *b, const struct mq_json_node *acks, struct mq_error *err)
{
	char *bytes = b->bytes;
	unsigned n_messages = 0;

	MQ_JSON_EACH(node, acks) {
		int r = batch_entry(&b->entries[b->n], node, &bytes, err);

		if (r < 0)
			return r;
		n_messages += pop_batch_count(&b->entries[b->n++]);
		if (n_messages > POP_BATCH_MAX)
			return mq_error_set(err, -E2BIG, "more than %d messages in one request", POP_BATCH_MAX);
	}
	return 0;
}

int pop_batch_parse(struct pop_batch *ret, struct mq_slice body, struct mq_error *err)
{
	struct pop_batch b = {};
	const struct mq_json_node *acks;
	int r = mq_json_parse(&b.doc, body, err);

	if (r < 0)
		return r;
	acks = mq_json_get(mq_json_root(b.doc), "acks");
	if (acks && acks->type == MQ_JSON_ARRAY && acks->n > 0) {
		b.entries = calloc(acks->n, sizeof *b.entries);
		b.bytes = malloc(body.n); /* longer than what its base64 says */
		r = b.entries && b.bytes ? batch_fill(&b, acks, err) : mq_error_set(err, -ENOMEM, "out of memory");
	}
	if (r < 0)
		pop_batch_done(&b);
	else
		*ret = b;
	return r;
}

int64_t pop_batch_next(const struct pop_batch_entry *e, int64_t from)
{
	uint64_t i = from > e->start_offset ? (uint64_t)from - (uint64_t)e->start_offset : 0;

	for (; i < (uint64_t)e->bits.n * 8; i++)
		if ((unsigned char)e->bits.p[i / 8] >> i % 8 & 1) {
			int64_t offset;

			return __builtin_add_overflow(e->start_offset, (int64_t)i, &offset) || offset < 0 ? -1 : offset;
		}
	return -1;
}
