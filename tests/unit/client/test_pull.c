#include "tests/unit/client/client_test.h"

#include <errno.h>
#include <zlib.h>

#include "libmq/client/pull.h"

static void tags_match_by_text(void **state)
{
	assert_true(mq_tag_matches("*", MQ_SLICE("x")));
	assert_true(mq_tag_matches("", MQ_SLICE("x")));
	assert_true(mq_tag_matches("TagA || TagB", MQ_SLICE("TagB")));
	assert_true(mq_tag_matches("TagA||TagB", MQ_SLICE("TagA")));
	assert_false(mq_tag_matches("TagA || TagB", MQ_SLICE("Tag")));
	assert_false(mq_tag_matches("AaAa", MQ_SLICE("BBBB"))); /* equal hash */
	assert_false(mq_tag_matches("TagA", (struct mq_slice){}));
}

static size_t put_record(char *out, const char *body)
{
	struct mq_record r = {
		.born_host = { .addr = { 127, 0, 0, 1 }, .n_addr = 4 },
		.store_host = { .addr = { 127, 0, 0, 1 }, .n_addr = 4 },
		.topic = MQ_SLICE("T"),
		.body = mq_slice_of(body),
	};
	size_t n = mq_record_encode_head(&r, out);

	memcpy(out + n, body, r.body.n);
	n += r.body.n;
	return n + mq_record_encode_tail(&r, out + n);
}

static void records_come_one_after_the_other(void **state)
{
	char bytes[1024];
	size_t n = put_record(bytes, "one");
	struct mq_slice rest;
	struct mq_record r;

	n += put_record(bytes + n, "two");
	rest = (struct mq_slice){ bytes, n };
	assert_int_equal(mq_records_next(&rest, &r), 1);
	assert_true(mq_slice_is(r.body, "one"));
	assert_int_equal(mq_records_next(&rest, &r), 1);
	assert_true(mq_slice_is(r.body, "two"));
	assert_int_equal(mq_records_next(&rest, &r), 0);
}

static void a_cut_record_is_an_error(void **state)
{
	char bytes[1024];
	struct mq_slice rest = { bytes, put_record(bytes, "one") - 1 };
	struct mq_record r;

	assert_int_equal(mq_records_next(&rest, &r), -EBADMSG);
}

static void compressed_bodies_are_inflated(void **state)
{
	char text[20000], packed[20000], *owned = NULL;
	uLongf n = sizeof packed;
	struct mq_record r = { .sys_flag = MQ_SYS_COMPRESSED };
	struct mq_slice body;

	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)('a' + i * i % 7);
	assert_int_equal(compress((Bytef *)packed, &n, (Bytef *)text, sizeof text), Z_OK);
	r.body = (struct mq_slice){ packed, n };
	assert_int_equal(mq_record_body(&r, &body, &owned), 0);
	assert_int_equal(body.n, sizeof text);
	assert_memory_equal(body.p, text, sizeof text);
	free(owned);

	r.sys_flag |= 0x300; /* the newer way to say zlib */
	assert_int_equal(mq_record_body(&r, &body, &owned), 0);
	free(owned);
}

static void what_cannot_be_inflated_is_handed_out_as_it_is(void **state)
{
	struct mq_record r = { .sys_flag = MQ_SYS_COMPRESSED, .body = MQ_SLICE("no zlib stream") };
	struct mq_slice body;
	char *owned;

	assert_int_equal(mq_record_body(&r, &body, &owned), -EBADMSG);
	assert_true(mq_slice_is(body, "no zlib stream"));
	assert_null(owned);
	r.sys_flag |= 0x100; /* LZ4 */
	assert_int_equal(mq_record_body(&r, &body, &owned), -ENOTSUP);
	assert_true(mq_slice_is(body, "no zlib stream"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tags_match_by_text),
		cmocka_unit_test(records_come_one_after_the_other),
		cmocka_unit_test(a_cut_record_is_an_error),
		cmocka_unit_test(compressed_bodies_are_inflated),
		cmocka_unit_test(what_cannot_be_inflated_is_handed_out_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
