/* What POP reads from outside: receipts, bodies of batches, and rows of what was popped in order. What is taken for one has its parts
 * within it, and comes back the same when it is written again. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "daemons/broker/pop_batch.h"
#include "daemons/broker/pop_names.h"
#include "daemons/broker/pop_order.h"

static bool is_within(struct mq_slice part, struct mq_slice all)
{
	return part.n == 0 || (part.p >= all.p && part.p + part.n <= all.p + all.n);
}

static void check_handle(struct mq_slice text)
{
	struct pop_handle first, again;
	char written[POP_HANDLE_MAX];
	size_t n;

	if (pop_handle_decode(text, &first) < 0)
		return;
	must(is_within(first.broker, text) && !memchr(first.broker.p, ' ', first.broker.n));
	if (first.broker.n > 127 || memchr(first.broker.p, 0, first.broker.n))
		return; /* not made by us */
	n = pop_handle_encode(&first, written);
	must(n < sizeof written);
	must(pop_handle_decode((struct mq_slice){ written, n }, &again) == 0);
	must(first.start_offset == again.start_offset && first.pop_at_ms == again.pop_at_ms);
	must(first.invisible_ms == again.invisible_ms && first.revive_queue == again.revive_queue);
	must(first.mark == again.mark && first.queue_id == again.queue_id && first.offset == again.offset);
	must(mq_slice_equal(first.broker, again.broker));
}

static void check_batch(struct mq_slice body)
{
	struct pop_batch b;
	struct mq_error err;
	uint64_t n_all = 0;

	if (pop_batch_parse(&b, body, &err) < 0)
		return;
	for (unsigned i = 0; i < b.n; i++) {
		const struct pop_batch_entry *e = &b.entries[i];
		int64_t before = -1;
		unsigned n = 0;

		for (int64_t at = pop_batch_next(e, 0); at >= 0; at = at < INT64_MAX ? pop_batch_next(e, at + 1) : -1) {
			must(at > before);
			before = at;
			n++;
		}
		must(n <= pop_batch_count(e));
		n_all += n;
	}
	must(n_all <= POP_BATCH_MAX);
	pop_batch_done(&b);
}

static void check_order(struct mq_slice row)
{
	static const int64_t one[] = { 7 };
	struct pop_order o, next;
	char written[POP_ORDER_ROW_MAX];
	int64_t free_ms;

	if (pop_order_decode(row, &o) < 0)
		return;
	must(pop_order_encode(&o, written) == row.n);
	(void)pop_order_blocks(&o, MQ_SLICE("a"), 1000, 5, &free_ms);
	(void)pop_order_ack(&o, o.n > 0 ? o.messages[0].offset : 0, o.pop_at_ms);
	(void)pop_order_put_off(&o, 7, o.pop_at_ms, -1);
	pop_order_popped(&next, &o, MQ_SLICE("a"), 5, 1000, one, 1);
	must(next.n == 1);
}

static void check_names(struct mq_slice text)
{
	char name[POP_ORDER_NAME_MAX];
	struct mq_slice topic, group;
	struct pop_name retry;
	int32_t queue_id;

	if (pop_order_name_parse(text, &topic, &group, &queue_id) == 0) {
		must(is_within(topic, text) && is_within(group, text));
		must(pop_order_name(topic, group, queue_id, name) == text.n);
	}
	must(is_within(pop_normal_topic(text, MQ_SLICE("g")), text));
	pop_topic(&retry, POP_RETRY_V2, text, MQ_SLICE("g"));
	must(retry.n <= sizeof retry.p);
	if (retry.n > 0 && text.n > 0)
		must(mq_slice_equal(pop_normal_topic(pop_name_slice(&retry), MQ_SLICE("g")), text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mq_slice in = { (const char *)data, size };

	if (size == 0)
		return 0;
	check_handle(in);
	check_batch(in);
	check_order(in);
	check_names(in);
	return 0;
}
