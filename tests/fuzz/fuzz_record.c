/* Records back to back, as a pull answer has them. What decodes, encodes to the same bytes. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "libmq/wire/record.h"

static void check(struct mq_slice bytes, const struct mq_record *r)
{
	_cleanup_(freep) char *out = malloc(bytes.n + 1);
	size_t n;

	must(mq_record_store_at_ms(bytes) == r->store_at_ms);
	must(mq_record_physical_offset(bytes) == r->physical_offset);
	if ((r->magic == MQ_RECORD_V2) != (r->topic.n > MQ_TOPIC_V1_MAX))
		return; /* the encoder takes version 2 for long topics only */

	must(mq_record_size(r) == bytes.n);
	n = mq_record_encode_head(r, out);
	must(n <= MQ_RECORD_HEAD_MAX);
	if (r->body.n > 0)
		memcpy(out + n, r->body.p, r->body.n);
	n += r->body.n;
	n += mq_record_encode_tail(r, out + n);
	must(n == bytes.n && memcmp(out, bytes.p, n) == 0);

	mq_record_patch(out, 1, 2, 3);
	must(mq_record_store_at_ms((struct mq_slice){ out, n }) == 3);
	must(mq_record_physical_offset((struct mq_slice){ out, n }) == 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mq_slice rest = fuzz_slice(data, size);

	for (;;) {
		struct mq_record r;
		int n = mq_record_decode(rest, &r);

		if (n < 0) {
			must(n == -EBADMSG);
			return 0;
		}
		must(n > 0 && (size_t)n <= rest.n);
		check((struct mq_slice){ rest.p, (size_t)n }, &r);
		rest.p += n;
		rest.n -= (size_t)n;
	}
}
