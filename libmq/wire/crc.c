#include "libmq/wire/crc.h"

#include <stdbool.h>
#include <zlib.h>

static uint32_t crc_plain(uint32_t crc, const char *p, size_t n)
{
	return (uint32_t)crc32_z(crc, (const unsigned char *)p, n);
}

#if defined(__x86_64__)

#include <immintrin.h>

enum {
	FOLD_BLOCK = 16, /* bytes of one register */
	FOLD_MIN = 64,   /* four registers are folded side by side; less is zlib's */
};

/* Multiplies both halves of x by the two constants in k and adds the next 16 bytes: moves x that far along the polynomial. */
__attribute__((target("pclmul,sse4.1"), always_inline)) static inline __m128i fold(__m128i x, __m128i k, __m128i next)
{
	__m128i low = _mm_clmulepi64_si128(x, k, 0x00), high = _mm_clmulepi64_si128(x, k, 0x11);

	return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

__attribute__((target("pclmul,sse4.1"), always_inline)) static inline __m128i load(const char *p)
{
	return _mm_loadu_si128((const __m128i *)p);
}

/* V. Gopal and others, "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009, with its constants
 * for the bit-reflected polynomial. n is a multiple of FOLD_BLOCK, at least FOLD_MIN. */
__attribute__((target("pclmul,sse4.1"))) static uint32_t crc_fold(const char *p, size_t n)
{
	const __m128i k1k2 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
	const __m128i k3k4 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
	const __m128i k5 = _mm_set_epi64x(0, 0x0163cd6124);
	const __m128i polynomial = _mm_set_epi64x(0x01f7011641, 0x01db710641);
	const __m128i mask = _mm_setr_epi32(~0, 0, ~0, 0);
	__m128i x1 = _mm_xor_si128(load(p), _mm_cvtsi32_si128(~0)), x2 = load(p + 16), x3 = load(p + 32), x4 = load(p + 48), t;

	for (p += 64, n -= 64; n >= 64; p += 64, n -= 64) {
		x1 = fold(x1, k1k2, load(p));
		x2 = fold(x2, k1k2, load(p + 16));
		x3 = fold(x3, k1k2, load(p + 32));
		x4 = fold(x4, k1k2, load(p + 48));
	}
	x1 = fold(fold(fold(x1, k3k4, x2), k3k4, x3), k3k4, x4);
	for (; n >= FOLD_BLOCK; p += FOLD_BLOCK, n -= FOLD_BLOCK)
		x1 = fold(x1, k3k4, load(p));

	/* 128 bits to 64, then Barrett's reduction to 32. */
	t = _mm_clmulepi64_si128(x1, k3k4, 0x10);
	x1 = _mm_xor_si128(_mm_srli_si128(x1, 8), t);
	t = _mm_srli_si128(x1, 4);
	x1 = _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(x1, mask), k5, 0x00), t);
	t = _mm_clmulepi64_si128(_mm_and_si128(x1, mask), polynomial, 0x10);
	t = _mm_clmulepi64_si128(_mm_and_si128(t, mask), polynomial, 0x00);
	return ~(uint32_t)_mm_extract_epi32(_mm_xor_si128(x1, t), 1);
}

static bool crc_can_fold(void)
{
	return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}

uint32_t mq_crc32(struct mq_slice bytes)
{
	size_t n = bytes.n / FOLD_BLOCK * FOLD_BLOCK;

	if (n < FOLD_MIN || !crc_can_fold())
		return crc_plain(0, bytes.p, bytes.n);
	return crc_plain(crc_fold(bytes.p, n), bytes.p + n, bytes.n - n);
}

#else

uint32_t mq_crc32(struct mq_slice bytes)
{
	return crc_plain(0, bytes.p, bytes.n);
}

#endif
