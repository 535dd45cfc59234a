/* A route that decodes is written in both shapes, which decode to the same again. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "libmq/wire/body_route.h"

static void write_again(struct mq_slice text, enum mq_route_shape shape, struct evbuffer *out)
{
	struct mq_route route;

	must(mq_route_decode(&route, text, NULL) == 0);
	must(mq_route_encode(&route, shape, out) == 0);
	mq_route_done(&route);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(evbuffer_freep) struct evbuffer *bare = evbuffer_new(), *standard = evbuffer_new(), *again = evbuffer_new();
	struct mq_route route;
	struct mq_error err = { 0 };
	int r;

	r = mq_route_decode(&route, fuzz_slice(data, size), &err);
	if (r < 0) {
		must((r == -EBADMSG || r == -E2BIG) && err.text[0]);
		return 0;
	}
	must(mq_route_encode(&route, MQ_ROUTE_BARE_KEYS, bare) == 0);
	mq_route_done(&route);
	write_again(fuzz_bytes(bare), MQ_ROUTE_STANDARD, standard);
	write_again(fuzz_bytes(standard), MQ_ROUTE_BARE_KEYS, again);
	must(mq_slice_equal(fuzz_bytes(bare), fuzz_bytes(again)));
	return 0;
}
