/* Compressed bodies, as any producer may have sent them: what inflates is bounded, what does not is told. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "libmq/client/pull.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mq_record record = { .sys_flag = MQ_SYS_COMPRESSED, .body = fuzz_slice(data, size) };
	_cleanup_(freep) char *owned = NULL;
	struct mq_slice body;
	int r = mq_record_body(&record, &body, &owned);

	if (r < 0) {
		must((r == -EBADMSG || r == -E2BIG) && !owned);
		must(body.p == record.body.p && body.n == record.body.n);
		return 0;
	}
	must(body.n <= MQ_BODY_MAX && body.p == owned);
	for (size_t i = 0; i < body.n; i++)
		(void)*(volatile const char *)&body.p[i];
	return 0;
}
