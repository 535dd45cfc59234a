#include "tests/unit/wire/wire_test.h"

#include <errno.h>

/* Two frames: JSON "{}" with body "hi", binary "\1\2\3" without body. */
static const char stream[] = "\0\0\0\x08\0\0\0\x02{}hi"
			     "\0\0\0\x07\x01\0\0\x03\1\2\3";
enum { FIRST = 12, STREAM = sizeof stream - 1 };

static int next(struct mq_frame_reader *r, const char *p, size_t n, struct mq_frame **ret)
{
	struct mq_slice in = { p, n };

	return mq_frame_reader_next(r, &in, ret);
}

static void several_frames_in_one_read_come_one_by_one(void **state)
{
	_cleanup_(mq_frame_unrefp) struct mq_frame *a = NULL, *b = NULL;
	struct mq_slice in = { stream, STREAM };
	struct mq_frame_reader r;

	mq_frame_reader_init(&r, 1024);
	assert_int_equal(mq_frame_reader_next(&r, &in, &a), 1);
	assert_int_equal(in.n, STREAM - FIRST);
	assert_int_equal(a->codec, MQ_CODEC_JSON);
	assert_int_equal(a->header_size, 2);
	assert_memory_equal(a->header, "{}", 2);
	assert_slice_equal(a->body, "hi");
	assert_int_equal(a->size, FIRST);

	assert_int_equal(mq_frame_reader_next(&r, &in, &b), 1);
	assert_int_equal(b->codec, MQ_CODEC_BINARY);
	assert_int_equal(b->header_size, 3);
	assert_null(b->body.p);
	assert_int_equal(in.n, 0);
	assert_int_equal(mq_frame_reader_held(&r), 0);
}

static void frames_split_at_every_byte_are_put_together(void **state)
{
	struct mq_frame_reader r;
	unsigned n_frames = 0;

	mq_frame_reader_init(&r, 1024);
	for (size_t i = 0; i < STREAM; i++) {
		_cleanup_(mq_frame_unrefp) struct mq_frame *f = NULL;
		int k = next(&r, stream + i, 1, &f);

		assert_int_equal(k, i == FIRST - 1 || i == STREAM - 1);
		n_frames += (unsigned)k;
	}
	assert_int_equal(n_frames, 2);
	mq_frame_reader_done(&r);
}

static void a_claim_over_the_limit_is_refused_from_its_first_four_bytes(void **state)
{
	struct mq_frame *f = NULL;
	struct mq_frame_reader r;

	mq_frame_reader_init(&r, 1024);
	assert_int_equal(next(&r, "\x7f\xff\xff\xff", 4, &f), -EMSGSIZE);
	assert_int_equal(mq_frame_reader_held(&r), 0);
	mq_frame_reader_done(&r);

	/* The limit counts the length field: 1020 + 4 is the largest. */
	assert_int_equal(next(&r, "\0\0\x03\xfc", 4, &f), 0);
	mq_frame_reader_done(&r);
	assert_int_equal(next(&r, "\0\0\x03\xfd", 4, &f), -EMSGSIZE);
	mq_frame_reader_done(&r);
}

static void contradicting_lengths_and_unknown_codecs_are_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} bad[] = {
		{ "\0\0\0\x03", 4 },                  /* too short for the prefix */
		{ "\0\0\0\x06\0\0\0\x03", 8 },        /* header longer than the frame */
		{ "\0\0\0\x06\0\xff\xff\xff", 8 },    /* much longer */
		{ "\0\0\0\x06\x02\0\0\x02", 8 },      /* codec 2 */
		{ "\0\0\0\x06\xff\0\0\x02", 8 },      /* codec 255 */
	};

	for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
		struct mq_frame *f = NULL;
		struct mq_frame_reader r;

		mq_frame_reader_init(&r, 1024);
		assert_int_equal(next(&r, bad[i].bytes, bad[i].n, &f), -EBADMSG);
		assert_null(f);
		mq_frame_reader_done(&r);
	}
}

static void memory_follows_what_was_sent_not_what_was_claimed(void **state)
{
	static const char claim[] = "\0\xff\xff\xfc\0\0\0\x02{}"; /* 16 MiB */
	static char block[4096];
	struct mq_frame *f = NULL;
	struct mq_frame_reader r;
	size_t sent = sizeof claim - 1;

	mq_frame_reader_init(&r, MQ_FRAME_MAX_DEFAULT);
	assert_int_equal(next(&r, claim, sent, &f), 0);
	assert_true(mq_frame_reader_held(&r) <= 1024);
	for (; sent < 1000000; sent += sizeof block) {
		assert_int_equal(next(&r, block, sizeof block, &f), 0);
		assert_true(mq_frame_reader_held(&r) <= 2 * (sent + sizeof block) + 1024);
	}
	mq_frame_reader_done(&r);
	assert_int_equal(mq_frame_reader_held(&r), 0);
}

static void a_large_frame_arrives_whole(void **state)
{
	_cleanup_(mq_frame_unrefp) struct mq_frame *f = NULL;
	enum { BODY = 300000 };
	char *bytes = malloc(10 + BODY);
	struct mq_frame_reader r;
	int k = 0;

	mq_put32(bytes, 6 + BODY);
	memcpy(bytes + 4, "\0\0\0\x02{}", 6);
	for (size_t i = 0; i < BODY; i++)
		bytes[10 + i] = (char)(i * 7);

	mq_frame_reader_init(&r, MQ_FRAME_MAX_DEFAULT);
	for (size_t i = 0; i < 10 + BODY; i += 1009)
		k = next(&r, bytes + i, 10 + BODY - i < 1009 ? 10 + BODY - i : 1009, &f);
	assert_int_equal(k, 1);
	assert_int_equal(f->body.n, BODY);
	assert_memory_equal(f->body.p, bytes + 10, BODY);
	free(bytes);
}

static void references_keep_a_frame(void **state)
{
	struct mq_frame *f = test_frame_of((struct mq_slice){ stream, FIRST });

	assert_ptr_equal(mq_frame_ref(f), f);
	assert_null(mq_frame_unref(f));
	assert_slice_equal(f->body, "hi");
	assert_null(mq_frame_unref(f));
	assert_null(mq_frame_unref(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(several_frames_in_one_read_come_one_by_one),
		cmocka_unit_test(frames_split_at_every_byte_are_put_together),
		cmocka_unit_test(a_claim_over_the_limit_is_refused_from_its_first_four_bytes),
		cmocka_unit_test(contradicting_lengths_and_unknown_codecs_are_refused),
		cmocka_unit_test(memory_follows_what_was_sent_not_what_was_claimed),
		cmocka_unit_test(a_large_frame_arrives_whole),
		cmocka_unit_test(references_keep_a_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
