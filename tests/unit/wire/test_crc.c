#include "tests/unit/wire/wire_test.h"

#include <zlib.h>

#include "libmq/wire/crc.h"

static void known_values(void **state)
{
	assert_int_equal(mq_crc32((struct mq_slice){ NULL, 0 }), 0);
	assert_int_equal(mq_crc32(MQ_SLICE("123456789")), 0xcbf43926);
	/* Long enough for every path. */
	assert_int_equal(mq_crc32(MQ_SLICE("The quick brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy dog.")),
			 0x9ae90aa7);
}

static void every_length_and_alignment_is_zlibs(void **state)
{
	enum { N = 1200 };
	char *bytes = malloc(N + 16);
	uint32_t x = 1;

	for (unsigned i = 0; i < N + 16; i++) {
		x = x * 1664525 + 1013904223;
		bytes[i] = (char)(x >> 24);
	}
	for (unsigned at = 0; at < 16; at++)
		for (unsigned n = 0; n <= N; n++)
			assert_int_equal(mq_crc32((struct mq_slice){ bytes + at, n }), crc32(0, (const Bytef *)bytes + at, n));
	free(bytes);
}

static void a_megabyte_is_zlibs(void **state)
{
	size_t n = (1 << 20) + 7;
	char *bytes = calloc(1, n);

	assert_int_equal(mq_crc32((struct mq_slice){ bytes, n }), crc32_z(0, (const Bytef *)bytes, n));
	memset(bytes, 0xff, n);
	assert_int_equal(mq_crc32((struct mq_slice){ bytes, n }), crc32_z(0, (const Bytef *)bytes, n));
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_values),
		cmocka_unit_test(every_length_and_alignment_is_zlibs),
		cmocka_unit_test(a_megabyte_is_zlibs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
