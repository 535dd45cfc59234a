/* Big-endian numbers in byte buffers: the byte order of the wire and of every key on disk. */
#pragma once

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t mq_get16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof v);
	return be16toh(v);
}

static inline uint32_t mq_get32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return be32toh(v);
}

static inline uint64_t mq_get64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return be64toh(v);
}

/* Each writes and returns the position behind. */
static inline char *mq_put8(char *p, uint8_t v)
{
	*p = (char)v;
	return p + 1;
}

static inline char *mq_put16(char *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, sizeof v);
	return p + sizeof v;
}

static inline char *mq_put32(char *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof v);
	return p + sizeof v;
}

static inline char *mq_put64(char *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof v);
	return p + sizeof v;
}

static inline char *mq_put_bytes(char *p, const void *bytes, size_t n)
{
	if (n > 0)
		memcpy(p, bytes, n);
	return p + n;
}
