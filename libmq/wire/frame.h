/* Frames: length-prefixed units of the remoting protocol (reference: protocol/frame.md section 1).
 * A frame is one allocation and its slices point into it. It belongs to one thread at a time and is handed
 * over whole; the reference count is not atomic. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "libmq/base/cleanup.h"
#include "libmq/base/slice.h"

enum mq_codec { MQ_CODEC_JSON = 0, MQ_CODEC_BINARY = 1 };

enum {
	MQ_FRAME_LENGTH_SIZE = 4,         /* bytes; the length does not count itself */
	MQ_FRAME_PREFIX_SIZE = 8,         /* length, codec byte, 24 bit header length */
	MQ_FRAME_MAX_DEFAULT = 16777216,  /* bytes, the length field included */
};

struct mq_frame {
	unsigned refs;
	uint8_t codec; /* enum mq_codec; anything else was refused by the reader */
	char *header;  /* into data[]; writable: the JSON header is unescaped in place */
	size_t header_size;
	struct mq_slice body; /* into data[]; p is NULL when the body is absent */
	size_t size;          /* bytes of the whole frame, prefix included */
	char data[];
};

struct mq_frame *mq_frame_ref(struct mq_frame *f);
struct mq_frame *mq_frame_unref(struct mq_frame *f);

DEFINE_CLEANUP(struct mq_frame *, mq_frame_unref)

/* Cuts a byte stream into frames. Embedded in a connection; holds memory only while a frame is incomplete, and
 * never more than twice what the peer has really sent, whatever length it claims. */
struct mq_frame_reader {
	size_t max_size;          /* bytes, prefix included */
	char prefix[MQ_FRAME_PREFIX_SIZE];
	size_t n_prefix;          /* bytes of prefix[] that are there */
	struct mq_frame *partial; /* owned; NULL between frames */
	size_t n_partial;         /* bytes of partial->data that are there */
	size_t capacity;          /* bytes that partial->data has room for */
};

void mq_frame_reader_init(struct mq_frame_reader *r, size_t max_size);
void mq_frame_reader_done(struct mq_frame_reader *r);

/* Consumes bytes of *in (advancing it) until one frame is complete.
 * Returns 1 and a new reference in *ret, or 0 when all of *in was consumed and more is needed.
 * -EMSGSIZE: the peer claims more than max_size; -EBADMSG: lengths contradict or unknown codec; -ENOMEM. */
int mq_frame_reader_next(struct mq_frame_reader *r, struct mq_slice *in, struct mq_frame **ret) _must_check_;

/* Bytes of memory that the reader holds at the moment (to be charged to the connection). */
size_t mq_frame_reader_held(const struct mq_frame_reader *r);

/* Bytes of the whole frame that is being read, as the peer claims; 0: it has not said so much yet. */
size_t mq_frame_reader_size(const struct mq_frame_reader *r);
