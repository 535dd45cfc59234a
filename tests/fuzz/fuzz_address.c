/* Addresses come from routes and registrations, too: what is taken for one has its parts in bounds. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "libmq/net/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mq_slice text = fuzz_slice(data, size);
	struct mq_address a, again;
	struct mq_error err = { 0 };

	if (mq_address_parse(&a, text, &err) < 0) {
		must(err.code == -EINVAL && err.text[0]);
		return 0;
	}
	must(a.host[0] && strlen(a.host) < size);
	must(mq_slice_is(text, a.text));
	must(!a.is_unix || (a.host[0] == '/' && a.port == 0));
	must(mq_address_parse(&again, mq_slice_of(a.text), NULL) == 0);
	must(strcmp(a.host, again.host) == 0 && a.port == again.port && a.is_unix == again.is_unix);
	return 0;
}
