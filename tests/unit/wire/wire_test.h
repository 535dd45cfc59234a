/* What the tests of libmq/wire share: frames out of text, bytes out of evbuffers. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/buffer.h>

#include "libmq/base/bytes.h"
#include "libmq/wire/command.h"

DEFINE_CLEANUP(struct evbuffer *, evbuffer_free)

#define assert_slice_equal(slice, text)                                 \
	do {                                                            \
		struct mq_slice _slice = (slice);                       \
		assert_int_equal(_slice.n, sizeof(text) - 1);           \
		assert_memory_equal(_slice.p, text, sizeof(text) - 1);  \
	} while (0)

/* The frame that `bytes` are; fails the test when they are not exactly one. */
static inline struct mq_frame *test_frame_of(struct mq_slice bytes)
{
	struct mq_frame_reader reader;
	struct mq_frame *f = NULL;

	mq_frame_reader_init(&reader, MQ_FRAME_MAX_DEFAULT);
	assert_int_equal(mq_frame_reader_next(&reader, &bytes, &f), 1);
	assert_int_equal(bytes.n, 0);
	return f;
}

static inline struct mq_frame *test_frame(uint8_t codec, const char *header, size_t n)
{
	struct mq_frame *f;
	char *bytes = malloc(MQ_FRAME_PREFIX_SIZE + n);

	mq_put32(bytes, (uint32_t)n + 4);
	mq_put32(bytes + 4, (uint32_t)codec << 24 | (uint32_t)n);
	memcpy(bytes + 8, header, n);
	f = test_frame_of((struct mq_slice){ bytes, MQ_FRAME_PREFIX_SIZE + n });
	free(bytes);
	return f;
}

static inline struct mq_frame *test_json_frame(const char *header)
{
	return test_frame(MQ_CODEC_JSON, header, strlen(header));
}

/* All bytes of the buffer, which keeps them. */
static inline struct mq_slice test_bytes(struct evbuffer *b)
{
	return (struct mq_slice){ (const char *)evbuffer_pullup(b, -1), evbuffer_get_length(b) };
}
