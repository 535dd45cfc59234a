/* Recall handles: what is taken for one comes back the same when it is made again, up to its padding and the form of its number. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "daemons/broker/recall.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char handle[RECALL_HANDLE_MAX];
	struct recall first, again;
	size_t n;

	if (recall_decode((struct mq_slice){ (const char *)data, size }, &first) < 0)
		return 0;
	assert(first.uniq_key.n > 0 && first.uniq_key.n < sizeof first.text);
	if (memchr(first.uniq_key.p, 0, first.uniq_key.n) || memchr(first.topic.p, 0, first.topic.n) ||
	    memchr(first.broker.p, 0, first.broker.n))
		return 0; /* not made by us */
	n = recall_encode(first.topic, first.broker, 5, first.uniq_key, handle);
	if (n == 0)
		return 0;
	assert(recall_decode((struct mq_slice){ handle, n }, &again) == 0);
	assert(mq_slice_equal(first.topic, again.topic));
	assert(mq_slice_equal(first.broker, again.broker));
	assert(mq_slice_equal(first.uniq_key, again.uniq_key));
	return 0;
}
