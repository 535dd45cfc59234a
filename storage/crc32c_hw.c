/* rocksdb::crc32c::Extend(uint32_t, const char *, size_t), in hardware. See override.h. */
#include <nmmintrin.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <wmmintrin.h>

#include "storage/override.h"

enum {
	LANE = 256,               /* bytes per lane; three lanes hide the instruction's latency of three cycles */
	POLYNOMIAL = 0x82f63b78u, /* Castagnoli, reflected */
};

typedef uint32_t (*crc_extend)(uint32_t crc, const char *bytes, size_t n);

static uint32_t table[256];
static uint64_t fold_two, fold_one; /* x^(8 * 2 * LANE - 33) and x^(8 * LANE - 33) mod P: move a lane's CRC over two lanes or one */
static atomic_bool is_called, is_hardware;

static uint32_t crc_table_extend(uint32_t crc, const char *bytes, size_t n)
{
	const unsigned char *p = (const unsigned char *)bytes;

	crc = ~crc;
	while (n-- > 0)
		crc = table[(crc ^ *p++) & 0xff] ^ (crc >> 8);
	return ~crc;
}

__attribute__((target("sse4.2"))) static inline uint64_t crc_word(uint64_t crc, const unsigned char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof word);
	return _mm_crc32_u64(crc, word);
}

__attribute__((target("sse4.2,pclmul"))) static inline uint32_t crc_fold(uint32_t crc, uint64_t by)
{
	__m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc), _mm_cvtsi64_si128((long long)by), 0);

	return (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t crc_hardware_extend(uint32_t crc, const char *bytes, size_t n)
{
	const unsigned char *p = (const unsigned char *)bytes;
	uint64_t a = (uint32_t)~crc;

	for (; n >= 3 * LANE; p += 3 * LANE, n -= 3 * LANE) {
		uint64_t b = 0, c = 0;

		for (int i = 0; i < LANE; i += 8) {
			a = crc_word(a, p + i);
			b = crc_word(b, p + LANE + i);
			c = crc_word(c, p + 2 * LANE + i);
		}
		a = crc_fold((uint32_t)a, fold_two) ^ crc_fold((uint32_t)b, fold_one) ^ (uint32_t)c;
	}
	for (; n >= 8; p += 8, n -= 8)
		a = crc_word(a, p);
	while (n-- > 0)
		a = _mm_crc32_u8((uint32_t)a, *p++);
	return ~(uint32_t)a;
}

static _Atomic(crc_extend) extend = crc_table_extend;

/* x^n mod P, reflected. */
static uint32_t crc_power(unsigned n)
{
	uint32_t v = 0x80000000u;

	while (n-- > 0)
		v = v & 1 ? (v >> 1) ^ POLYNOMIAL : v >> 1;
	return v;
}

/* Before main(): other libraries' constructors might already use the database library. */
__attribute__((constructor)) static void crc_make_tables(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint32_t v = i;

		for (int bit = 0; bit < 8; bit++)
			v = v & 1 ? (v >> 1) ^ POLYNOMIAL : v >> 1;
		table[i] = v;
	}
	fold_two = crc_power(8 * 2 * LANE - 33);
	fold_one = crc_power(8 * LANE - 33);
}

static bool crc_self_test(void)
{
	char bytes[4 * 3 * LANE];
	uint32_t seed = 12345;

	for (size_t i = 0; i < sizeof bytes; i++) {
		seed = seed * 1103515245 + 12345;
		bytes[i] = (char)(seed >> 16);
	}
	if (crc_table_extend(0, "123456789", 9) != 0xe3069283 || crc_hardware_extend(0, "123456789", 9) != 0xe3069283)
		return false;
	for (size_t n = 0; n <= sizeof bytes; n += n < 64 ? 1 : 61)
		if (crc_table_extend(seed, bytes, n) != crc_hardware_extend(seed, bytes, n))
			return false;
	return true;
}

void store_crc_prepare(void)
{
	if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("pclmul") || !crc_self_test())
		return;
	atomic_store(&extend, crc_hardware_extend);
	atomic_store(&is_hardware, true);
}

bool store_crc_is_fast(void)
{
	return atomic_load(&is_called) && atomic_load(&is_hardware);
}

uint32_t _ZN7rocksdb6crc32c6ExtendEjPKcm(uint32_t crc, const char *bytes, size_t n);
__attribute__((visibility("default"))) uint32_t _ZN7rocksdb6crc32c6ExtendEjPKcm(uint32_t crc, const char *bytes, size_t n)
{
	if (!atomic_load_explicit(&is_called, memory_order_relaxed))
		atomic_store_explicit(&is_called, true, memory_order_relaxed);
	return atomic_load_explicit(&extend, memory_order_relaxed)(crc, bytes, n);
}
