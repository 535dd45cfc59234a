/* The body of SEND_BATCH_MESSAGE. What decodes, encodes to an entry that decodes alike. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "libmq/wire/record.h"

static void check(size_t size, const struct mq_batch_entry *e)
{
	_cleanup_(freep) char *out = malloc(size);
	struct mq_batch_entry again;

	must(mq_batch_entry_size(e) == size);
	must(mq_batch_entry_encode(e, out) == size);
	must(mq_batch_next((struct mq_slice){ out, size }, &again) == (int)size);
	must(again.flag == e->flag && mq_slice_equal(again.body, e->body));
	must(mq_slice_equal(again.properties, e->properties));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mq_slice rest = fuzz_slice(data, size);
	struct mq_batch_entry e;
	int n;

	while ((n = mq_batch_next(rest, &e)) > 0) {
		must((size_t)n <= rest.n);
		check((size_t)n, &e);
		rest.p += n;
		rest.n -= (size_t)n;
	}
	must(n == -EBADMSG || (n == 0 && rest.n == 0));
	return 0;
}
