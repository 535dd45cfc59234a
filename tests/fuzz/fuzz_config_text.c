/* Configuration text that parses can be written, and parses again to the same. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdio.h>

#include "daemons/common/properties.h"

static int write_pair(void *user, unsigned line, struct mq_slice key, struct mq_slice value, struct mq_error *err)
{
	static char name[PROPERTIES_TEXT_MAX + 1];

	must(line > 0);
	must(key.n < sizeof name);
	/* Names of keys are ours when we write. */
	if (memchr(key.p, '\0', key.n))
		return 0;
	memcpy(name, key.p, key.n);
	name[key.n] = '\0';
	must(properties_add(user, name, value) == 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(evbuffer_freep) struct evbuffer *once = evbuffer_new(), *twice = evbuffer_new();
	struct mq_error err = { 0 };
	int r;

	r = properties_parse(fuzz_slice(data, size), write_pair, once, &err);
	if (r < 0) {
		must((r == -EINVAL || r == -E2BIG) && err.text[0]);
		return 0;
	}
	/* Escapes make it longer. */
	if (evbuffer_get_length(once) > PROPERTIES_TEXT_MAX)
		return 0;
	must(properties_parse(fuzz_bytes(once), write_pair, twice, NULL) == 0);
	must(mq_slice_equal(fuzz_bytes(once), fuzz_bytes(twice)));
	return 0;
}
