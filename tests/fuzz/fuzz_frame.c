/* The first byte says how many bytes come with each read; the rest is the stream. However it is cut, the same frames come
 * out, and the reader never holds much more than twice what was sent. */
#include "tests/fuzz/fuzz.h"

#include "libmq/wire/frame.h"

enum { LIMIT = 1 << 20, SLACK = 1024 };

struct outcome {
	int result;
	unsigned n_frames;
	size_t n_bytes;
};

static struct outcome feed(struct mq_slice stream, size_t step)
{
	struct outcome o = { 0, 0, 0 };
	struct mq_frame_reader r;
	size_t sent = 0;

	mq_frame_reader_init(&r, LIMIT);
	while (o.result >= 0 && stream.n > 0) {
		struct mq_slice in = { stream.p, stream.n < step ? stream.n : step };

		stream.p += in.n;
		stream.n -= in.n;
		sent += in.n;
		do {
			_cleanup_(mq_frame_unrefp) struct mq_frame *f = NULL;

			o.result = mq_frame_reader_next(&r, &in, &f);
			must(mq_frame_reader_held(&r) <= 2 * sent + SLACK);
			if (o.result > 0) {
				must(f->size == MQ_FRAME_PREFIX_SIZE + f->header_size + f->body.n);
				must(f->codec <= MQ_CODEC_BINARY);
				must((f->body.n == 0) == (f->body.p == NULL));
				o.n_frames++;
				o.n_bytes += f->size;
			}
		} while (o.result > 0);
		must(o.result < 0 || in.n == 0);
	}
	mq_frame_reader_done(&r);
	return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole, pieces;

	if (size < 1)
		return 0;
	whole = feed(fuzz_slice(data + 1, size - 1), size);
	pieces = feed(fuzz_slice(data + 1, size - 1), data[0] ? data[0] : 1);
	must(whole.result == pieces.result && whole.n_frames == pieces.n_frames && whole.n_bytes == pieces.n_bytes);
	return 0;
}
