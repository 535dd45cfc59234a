/* What the fuzz targets share. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <event2/buffer.h>

#include "libmq/base/cleanup.h"
#include "libmq/base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

DEFINE_CLEANUP(struct evbuffer *, evbuffer_free)

/* What must hold for every input; unlike assert() it is never compiled out. */
#define must(condition)                                                                     \
	do {                                                                                \
		if (!(condition)) {                                                         \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);     \
			abort();                                                            \
		}                                                                           \
	} while (0)

static inline struct mq_slice fuzz_slice(const uint8_t *data, size_t size)
{
	return (struct mq_slice){ (const char *)data, size };
}

static inline struct mq_slice fuzz_bytes(struct evbuffer *b)
{
	return (struct mq_slice){ (const char *)evbuffer_pullup(b, -1), evbuffer_get_length(b) };
}
