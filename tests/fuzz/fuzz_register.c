/* A registration's body, compressed when the first byte is odd: what decodes stays within its limits. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "libmq/wire/body_register.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mq_register reg;
	struct mq_error err = { 0 };
	int r;

	if (size == 0)
		return 0;
	r = mq_register_decode(&reg, fuzz_slice(data + 1, size - 1), data[0] & 1, data[0], &err);
	if (r < 0) {
		must((r == -EBADMSG || r == -E2BIG) && err.text[0]);
		return 0;
	}
	for (unsigned i = 0; i < reg.n_topics; i++)
		must(reg.topics[i].name.p && reg.topics[i].name.n > 0 && reg.topics[i].name.n <= MQ_REGISTER_INFLATED_MAX);
	mq_register_done(&reg);
	return 0;
}
