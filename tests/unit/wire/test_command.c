#include "tests/unit/wire/wire_test.h"

#include <errno.h>
#include <jansson.h>

#include "libmq/wire/codes.h"

static struct mq_slice field(const struct mq_command *cmd, const char *name)
{
	const struct mq_slice *v = mq_command_field(cmd, name);

	assert_non_null(v);
	return *v;
}

#define DECODE(text)                                                                     \
	_cleanup_(mq_frame_unrefp) struct mq_frame *frame = test_json_frame(text);       \
	struct mq_command cmd;                                                           \
	assert_int_equal(mq_command_decode(&cmd, frame, NULL), 0)

static void json_header_of_a_java_client_is_read(void **state)
{
	DECODE("{\"code\":105,\"extFields\":{\"topic\":\"T1\",\"acceptStandardJsonOnly\":\"true\"},\"flag\":2,"
	       "\"language\":\"GO\",\"opaque\":-7,\"serializeTypeCurrentRPC\":\"JSON\",\"version\":479}");

	assert_int_equal(cmd.code, 105);
	assert_int_equal(cmd.flag, MQ_FLAG_ONEWAY);
	assert_int_equal(cmd.language, MQ_GO);
	assert_int_equal(cmd.opaque, -7);
	assert_int_equal(cmd.version, 479);
	assert_int_equal(cmd.codec, MQ_CODEC_JSON);
	assert_int_equal(cmd.n_fields, 2);
	assert_slice_equal(field(&cmd, "topic"), "T1");
	assert_null(mq_command_field(&cmd, "top"));
	assert_null(cmd.remark.p);
}

static void scalars_of_cpp_and_npm_clients_become_text_and_null_is_absent(void **state)
{
	DECODE("{\"code\":11,\"extFields\":{\"queueId\":0,\"x\":-1.5e3,\"b\":true,\"c\":false,\"n\":null,\"e\":\"\"}}");

	assert_slice_equal(field(&cmd, "queueId"), "0");
	assert_slice_equal(field(&cmd, "x"), "-1.5e3");
	assert_slice_equal(field(&cmd, "b"), "true");
	assert_slice_equal(field(&cmd, "c"), "false");
	assert_slice_equal(field(&cmd, "e"), "");
	assert_null(mq_command_field(&cmd, "n"));
}

static void unknown_members_are_skipped_nested_or_not(void **state)
{
	DECODE("{\"a\":{\"code\":[1,{\"extFields\":\"}]\\\"\"}]},\"code\":34,\"b\":[[]],\"c\":\"x\",\"d\":1,\"opaque\":3}");

	assert_int_equal(cmd.code, 34);
	assert_int_equal(cmd.opaque, 3);
	assert_false(cmd.has_fields);
}

static void escapes_are_undone_in_place(void **state)
{
	DECODE("{\"extFields\":{\"i\":\"KEYS\\u0001k\\u0002\",\"s\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"u\":\"\\u00e9\\u20AC\","
	       "\"pair\":\"\\ud83d\\ude00\",\"lone\":\"\\ud83dx\\ude00\",\"na\\u006De\":\"v\",\"raw\":\"\xc3\xa9\"}}");

	assert_slice_equal(field(&cmd, "i"), "KEYS\001k\002");
	assert_slice_equal(field(&cmd, "s"), "\"\\/\b\f\n\r\t");
	assert_slice_equal(field(&cmd, "u"), "\xc3\xa9\xe2\x82\xac");
	assert_slice_equal(field(&cmd, "pair"), "\xf0\x9f\x98\x80");
	assert_slice_equal(field(&cmd, "lone"), "?x?");
	assert_slice_equal(field(&cmd, "name"), "v");
	assert_slice_equal(field(&cmd, "raw"), "\xc3\xa9");
}

static void what_fastjson_tolerates_is_tolerated(void **state)
{
	DECODE(" { 'code' : \"105\" , /* why not */ extFields:{topic:'it\"s',1:2,'o':{\"a\":\"\\u0041\"},},,\n"
	       "language:12, version: 99999, // end\n } ");

	assert_int_equal(cmd.code, 105);
	assert_int_equal(cmd.language, MQ_RUST);
	assert_int_equal(cmd.version, INT16_MAX);
	assert_slice_equal(field(&cmd, "topic"), "it\"s");
	assert_slice_equal(field(&cmd, "1"), "2");
	assert_slice_equal(field(&cmd, "o"), "{\"a\":\"\\u0041\"}");
}

static void languages_unknown_to_us_are_other_and_absent_is_java(void **state)
{
	{
		DECODE("{\"language\":\"C\"}");
		assert_int_equal(cmd.language, MQ_OTHER);
	}
	{
		DECODE("{\"language\":77}");
		assert_int_equal(cmd.language, MQ_OTHER);
	}
	{
		DECODE("{}");
		assert_int_equal(cmd.language, MQ_JAVA);
		assert_int_equal(cmd.code, 0);
	}
}

static void versions_have_names(void **state)
{
	static const struct {
		int version;
		const char *name;
	} known[] = { { 513, "V5_5_0" }, { 409, "V4_9_8" }, { 412, "V5_0_0_SNAPSHOT" }, { 479, "V5_3_3" }, { 212, "V4_0_0_SNAPSHOT" },
		      { 233, "V4_1_0" }, { 611, "V5_9_9" }, { 612, "612" }, { 211, "211" }, { 0, "0" }, { -7, "-7" } };
	char name[MQ_VERSION_NAME_MAX];

	for (unsigned i = 0; i < N_ELEMENTS(known); i++)
		assert_string_equal(mq_version_name(known[i].version, name), known[i].name);
}

static void of_duplicates_the_last_wins(void **state)
{
	DECODE("{\"code\":1,\"code\":2,\"extFields\":{\"a\":\"1\",\"b\":\"2\",\"a\":\"3\"}}");

	assert_int_equal(cmd.code, 2);
	assert_slice_equal(field(&cmd, "a"), "3");
}

static void broken_json_headers_are_refused_with_a_sentence(void **state)
{
	static const char *const bad[] = {
		"", "{", "[]", "{]", "nonsense", "{\"code\"}", "{\"code\":}", "{\"code\":1 \"flag\":2}", "{\"code\":1}x",
		"{\"code\":x}", "{\"code\":1.5}", "{\"code\":99999999999}", "{\"code\":{}}", "{\"opaque\":true}",
		"{\"extFields\":[]}", "{\"extFields\":\"x\"}", "{\"extFields\":{\"a\":\"b\"}", "{\"extFields\":{\"a\":\"b}}",
		"{\"extFields\":{\"a\":\"\\u12g4\"}}", "{\"extFields\":{\"a\":\"\\u12", "{\"extFields\":{\"a\":\"\\",
		"{\"extFields\":{\"a\":\"\\q\"}}", "{\"x\":[}]}", "{\"x\":[1}", "{/*", "{\"a\":/",
	};

	for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
		_cleanup_(mq_frame_unrefp) struct mq_frame *frame = test_json_frame(bad[i]);
		struct mq_error err = { 0 };
		struct mq_command cmd;

		if (mq_command_decode(&cmd, frame, &err) != -EBADMSG)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(err.code, -EBADMSG);
		assert_true(strlen(err.text) > 10);
	}
}

static void nesting_and_fields_are_bounded(void **state)
{
	char text[2048], *p = text;

	p = mq_put_bytes(p, "{\"x\":", 5);
	for (int i = 0; i < 65; i++)
		*p++ = '[';
	for (int i = 0; i < 65; i++)
		*p++ = ']';
	*p++ = '}';
	{
		_cleanup_(mq_frame_unrefp) struct mq_frame *frame = test_frame(0, text, (size_t)(p - text));
		struct mq_command cmd;

		assert_int_equal(mq_command_decode(&cmd, frame, NULL), -EBADMSG);
	}

	p = mq_put_bytes(text, "{\"extFields\":{", 14);
	for (int i = 0; i <= MQ_FIELDS_MAX; i++)
		p = mq_put_bytes(p, "\"a\":1,", 6);
	p = mq_put_bytes(p, "}}", 2);
	{
		_cleanup_(mq_frame_unrefp) struct mq_frame *frame = test_frame(0, text, (size_t)(p - text));
		struct mq_error err;
		struct mq_command cmd;

		assert_int_equal(mq_command_decode(&cmd, frame, &err), -EBADMSG);
		assert_non_null(strstr(err.text, "64"));
	}
}

/* What was encoded into `out`, as a decoded command; frees nothing that `cmd` needs. */
static struct mq_frame *decode_output(struct evbuffer *out, struct mq_command *cmd)
{
	struct mq_frame *f = test_frame_of(test_bytes(out));

	assert_int_equal(mq_command_decode(cmd, f, NULL), 0);
	return f;
}

static void an_answer_is_written_as_java_writes_it(void **state)
{
	static const char expected[] =
		"{\"code\":17,\"extFields\":{\"queueOffset\":\"-9223372036854775808\",\"on\":\"true\",\"copied\":\"abc\"},\"flag\":1,"
		"\"language\":\"JAVA\",\"opaque\":42,\"remark\":\"no \\\"T\\\"\\n\\u0001\\u001F\xc3\xa9/'\","
		"\"serializeTypeCurrentRPC\":\"JSON\",\"version\":513}";
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_command request = { .opaque = 42 }, cmd;
	char copied[] = "abc";

	mq_command_response(&cmd, &request, MQ_TOPIC_NOT_EXIST);
	mq_command_add_i64(&cmd, "queueOffset", INT64_MIN);
	mq_command_add_bool(&cmd, "on", true);
	mq_command_add_copy(&cmd, "copied", (struct mq_slice){ copied, 3 });
	memset(copied, 'x', sizeof copied);
	cmd.remark = MQ_SLICE("no \"T\"\n\001\x1f\xc3\xa9/'");
	cmd.body = MQ_SLICE("body");
	assert_int_equal(mq_command_encode(&cmd, NULL, out), 0);

	struct mq_slice bytes = test_bytes(out);
	assert_int_equal(mq_get32(bytes.p), bytes.n - 4);
	assert_int_equal(mq_get32(bytes.p + 4), sizeof expected - 1);
	assert_memory_equal(bytes.p + 8, expected, sizeof expected - 1);
	assert_memory_equal(bytes.p + bytes.n - 4, "body", 4);
	assert_int_equal(bytes.n, 8 + sizeof expected - 1 + 4);
}

static void an_answer_without_anything_and_one_with_empty_fields(void **state)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_command request = { .opaque = 7 }, cmd;

	mq_command_response(&cmd, &request, MQ_SUCCESS);
	assert_int_equal(mq_command_encode(&cmd, NULL, out), 0);
	cmd.has_fields = true;
	assert_int_equal(mq_command_encode(&cmd, NULL, out), 0);

	const char *plain = "{\"code\":0,\"flag\":1,\"language\":\"JAVA\",\"opaque\":7,\"serializeTypeCurrentRPC\":\"JSON\",\"version\":513}";
	const char *empty = "{\"code\":0,\"extFields\":{},\"flag\":1,";
	const char *p = test_bytes(out).p;
	assert_memory_equal(p + 8, plain, strlen(plain));
	assert_memory_equal(p + 8 + strlen(plain) + 8, empty, strlen(empty));
}

static void a_body_buffer_is_moved_behind_the_header(void **state)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new(), *body = evbuffer_new();
	_cleanup_(mq_frame_unrefp) struct mq_frame *f = NULL;
	struct mq_command cmd, back;

	mq_command_request(&cmd, MQ_PULL_MESSAGE);
	evbuffer_add(body, "records", 7);
	assert_int_equal(mq_command_encode(&cmd, body, out), 0);
	assert_int_equal(evbuffer_get_length(body), 0);

	f = decode_output(out, &back);
	assert_int_equal(back.code, MQ_PULL_MESSAGE);
	assert_int_equal(back.version, MQ_VERSION);
	assert_slice_equal(back.body, "records");
}

static void bytes_that_are_no_utf8_leave_as_question_marks(void **state)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	_cleanup_(mq_frame_unrefp) struct mq_frame *f = NULL;
	struct mq_command cmd, back;

	mq_command_request(&cmd, 1);
	/* a stray continuation, an overlong slash, a surrogate, a cut sequence, one beyond U+10FFFF, and a good one */
	mq_command_add(&cmd, "a", MQ_SLICE("\x80|\xc0\xaf|\xed\xa0\x80|\xf4\x90\x80\x80|\xf0\x9f\x98\x80|\xe2\x82"));
	assert_int_equal(mq_command_encode(&cmd, NULL, out), 0);

	json_error_t e;
	struct mq_slice bytes = test_bytes(out);
	json_t *oracle = json_loadb(bytes.p + 8, bytes.n - 8, 0, &e);
	assert_non_null(oracle);
	json_decref(oracle);
	f = decode_output(out, &back);
	assert_slice_equal(field(&back, "a"), "?|\?\?|\?\?\?|\?\?\?\?|\xf0\x9f\x98\x80|\?\?");
}

static void every_byte_in_text_gives_strict_json(void **state)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_command cmd;
	char all[256];
	json_error_t e;

	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	mq_command_request(&cmd, 1);
	mq_command_add(&cmd, "text", (struct mq_slice){ all, sizeof all });
	assert_int_equal(mq_command_encode(&cmd, NULL, out), 0);

	struct mq_slice bytes = test_bytes(out);
	json_t *oracle = json_loadb(bytes.p + 8, bytes.n - 8, JSON_ALLOW_NUL, &e);
	assert_non_null(oracle);
	json_t *text = json_object_get(json_object_get(oracle, "extFields"), "text");
	assert_int_equal(json_string_length(text), 256);
	for (int i = 0; i < 128; i++)
		assert_int_equal(json_string_value(text)[i], i);
	for (int i = 128; i < 256; i++)
		assert_int_equal(json_string_value(text)[i], '?');
	json_decref(oracle);
}

static void binary_headers_go_both_ways(void **state)
{
	static const char expected[] = "\0\x0b\0\x02\x01\0\0\0\x2a\0\0\0\1\0\0\0\2no\0\0\0\x0f"
				       "\0\5topic\0\0\0\4T\0\1x";
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	_cleanup_(mq_frame_unrefp) struct mq_frame *f = NULL;
	struct mq_command request = { .opaque = 42, .codec = MQ_CODEC_BINARY }, cmd, back;

	mq_command_response(&cmd, &request, 11);
	cmd.remark = MQ_SLICE("no");
	mq_command_add(&cmd, "topic", MQ_SLICE("T\0\1x"));
	assert_int_equal(mq_command_encode(&cmd, NULL, out), 0);
	assert_int_equal(evbuffer_get_length(out), 8 + sizeof expected - 1);
	assert_memory_equal(test_bytes(out).p + 4, "\1\0\0\x26", 4);
	assert_memory_equal(test_bytes(out).p + 8, expected, sizeof expected - 1);

	f = decode_output(out, &back);
	assert_int_equal(back.codec, MQ_CODEC_BINARY);
	assert_int_equal(back.code, 11);
	assert_int_equal(back.version, 513);
	assert_int_equal(back.opaque, 42);
	assert_int_equal(back.flag, 1);
	assert_slice_equal(back.remark, "no");
	assert_slice_equal(field(&back, "topic"), "T\0\1x");
}

static void binary_pop_codes_get_their_full_number_back(void **state)
{
	static const int codes[] = { MQ_POP_MESSAGE, MQ_BATCH_ACK_MESSAGE, MQ_TRIGGER_LITE_DISPATCH, 310, 5003 };

	for (size_t i = 0; i < N_ELEMENTS(codes); i++) {
		_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
		_cleanup_(mq_frame_unrefp) struct mq_frame *f = NULL;
		struct mq_command cmd, back;

		mq_command_request(&cmd, codes[i]);
		cmd.codec = MQ_CODEC_BINARY;
		assert_int_equal(mq_command_encode(&cmd, NULL, out), 0);
		f = decode_output(out, &back);
		assert_int_equal(back.code, codes[i]);
	}
}

#define FIXED "\0\x0b\0\x02\x01\0\0\0\x2a\0\0\0\1"

static void binary_headers_with_contradicting_lengths_are_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} bad[] = {
#define BAD(text) { text, sizeof(text) - 1 }
		BAD(""), BAD("\0"), BAD(FIXED), BAD(FIXED "\0\0\0"), BAD(FIXED "\0\0\0\0\0\0\0"),
		BAD(FIXED "\0\0\0\1\0\0\0\0"),                           /* remark takes a byte of the next length */
		BAD(FIXED "\xff\xff\xff\xff\0\0\0\0"),                   /* negative remark */
		BAD(FIXED "\x7f\xff\xff\xff\0\0\0\0"),                   /* remark of 2 GiB */
		BAD(FIXED "\0\0\0\0\0\0\0\x08\0\1k\0\0\0\1"),            /* extFields longer than the header */
		BAD(FIXED "\0\0\0\0\xff\xff\xff\xff\0\1k\0\0\0\1v"),     /* negative extFields */
		BAD(FIXED "\0\0\0\0\0\0\0\x08\xff\xff" "k\0\0\0\1v"),    /* negative name */
		BAD(FIXED "\0\0\0\0\0\0\0\x08\0\7k\0\0\0\1v"),           /* name over the end */
		BAD(FIXED "\0\0\0\0\0\0\0\x08\0\1k\xff\xff\xff\xffv"),   /* negative value */
		BAD(FIXED "\0\0\0\0\0\0\0\x08\0\1k\0\0\0\2v"),           /* value over the end */
		BAD(FIXED "\0\0\0\0\0\0\0\1\0"),                         /* half a name length */
		BAD(FIXED "\0\0\0\0\0\0\0\3\0\1k"),                      /* no value length */
	};

	for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
		_cleanup_(mq_frame_unrefp) struct mq_frame *frame = test_frame(1, bad[i].bytes, bad[i].n);
		struct mq_error err = { 0 };
		struct mq_command cmd;

		assert_int_equal(mq_command_decode(&cmd, frame, &err), -EBADMSG);
		assert_int_equal(err.code, -EBADMSG);
	}
}

static void binary_entries_without_name_or_value_are_absent(void **state)
{
	static const char header[] = FIXED "\0\0\0\0\0\0\0\x16\0\1a\0\0\0\0\0\0\0\0\0\1x\0\1b\0\0\0\1y";
	_cleanup_(mq_frame_unrefp) struct mq_frame *frame = test_frame(1, header, sizeof header - 1);
	struct mq_command cmd;

	assert_int_equal(mq_command_decode(&cmd, frame, NULL), 0);
	assert_int_equal(cmd.n_fields, 1);
	assert_slice_equal(field(&cmd, "b"), "y");
}

static void a_header_beyond_24_bits_or_a_name_beyond_15_is_not_written(void **state)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_slice big = { calloc(1, 1 << 24), 1 << 24 };
	struct mq_command cmd;

	memset((char *)(uintptr_t)big.p, 'a', big.n);
	mq_command_request(&cmd, 1);
	mq_command_add(&cmd, "x", big);
	assert_int_equal(mq_command_encode(&cmd, NULL, out), -EMSGSIZE);
	cmd.codec = MQ_CODEC_BINARY;
	assert_int_equal(mq_command_encode(&cmd, NULL, out), -EMSGSIZE);

	mq_command_request(&cmd, 1);
	cmd.codec = MQ_CODEC_BINARY;
	mq_command_add_slice(&cmd, (struct mq_slice){ big.p, 32768 }, MQ_SLICE("v"));
	assert_int_equal(mq_command_encode(&cmd, NULL, out), -EMSGSIZE);
	assert_int_equal(evbuffer_get_length(out), 0);
	free((char *)(uintptr_t)big.p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_header_of_a_java_client_is_read),
		cmocka_unit_test(scalars_of_cpp_and_npm_clients_become_text_and_null_is_absent),
		cmocka_unit_test(unknown_members_are_skipped_nested_or_not),
		cmocka_unit_test(escapes_are_undone_in_place),
		cmocka_unit_test(what_fastjson_tolerates_is_tolerated),
		cmocka_unit_test(languages_unknown_to_us_are_other_and_absent_is_java),
		cmocka_unit_test(versions_have_names),
		cmocka_unit_test(of_duplicates_the_last_wins),
		cmocka_unit_test(broken_json_headers_are_refused_with_a_sentence),
		cmocka_unit_test(nesting_and_fields_are_bounded),
		cmocka_unit_test(an_answer_is_written_as_java_writes_it),
		cmocka_unit_test(an_answer_without_anything_and_one_with_empty_fields),
		cmocka_unit_test(a_body_buffer_is_moved_behind_the_header),
		cmocka_unit_test(bytes_that_are_no_utf8_leave_as_question_marks),
		cmocka_unit_test(every_byte_in_text_gives_strict_json),
		cmocka_unit_test(binary_headers_go_both_ways),
		cmocka_unit_test(binary_pop_codes_get_their_full_number_back),
		cmocka_unit_test(binary_headers_with_contradicting_lengths_are_refused),
		cmocka_unit_test(binary_entries_without_name_or_value_are_absent),
		cmocka_unit_test(a_header_beyond_24_bits_or_a_name_beyond_15_is_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
