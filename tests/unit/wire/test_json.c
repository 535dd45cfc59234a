#include "tests/unit/wire/wire_test.h"

#include <errno.h>
#include <jansson.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>

#include "libmq/wire/json.h"
#include "libmq/wire/json_number.h"

#define PARSE(text)                                                                       \
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;                              \
	assert_int_equal(mq_json_parse(&doc, (struct mq_slice)MQ_SLICE(text), NULL), 0);  \
	const struct mq_json_node *root = mq_json_root(doc)

static int parse_error(struct mq_slice text)
{
	struct mq_json *doc = NULL;
	struct mq_error err = { 0 };
	int r = mq_json_parse(&doc, text, &err);

	assert_null(doc);
	assert_int_equal(err.code, r);
	return r;
}

static void members_and_elements_are_found(void **state)
{
	PARSE(" {\"a\":1,\"b\":[true,\"x\",null,{}],\"c\":{\"d\":\"\\u00e9\\n\"},\"n\":null} ");

	assert_int_equal(root->type, MQ_JSON_OBJECT);
	assert_int_equal(root->n, 4);
	assert_int_equal(mq_json_i64(mq_json_get(root, "a"), -1), 1);
	assert_slice_equal(mq_json_text(mq_json_get(mq_json_get(root, "c"), "d")), "\xc3\xa9\n");
	assert_null(mq_json_get(root, "n"));
	assert_null(mq_json_get(root, "none"));
	assert_null(mq_json_get(mq_json_get(root, "none"), "x"));
	assert_null(mq_json_get(mq_json_get(root, "a"), "x"));

	const struct mq_json_node *b = mq_json_get(root, "b");
	static const enum mq_json_type types[] = { MQ_JSON_BOOL, MQ_JSON_STRING, MQ_JSON_NULL, MQ_JSON_OBJECT };
	unsigned i = 0;

	assert_int_equal(b->n, 4);
	MQ_JSON_EACH(element, b)
		assert_int_equal(element->type, types[i++]);
	assert_int_equal(i, 4);
}

static void the_dialect_of_fastjson_is_read(void **state)
{
	PARSE("\xef\xbb\xbf{/*c*/0:\"h:1\",-1:'it\"s',bare:1L,{\"brokerName\":\"b\",\"queueId\":0}:{\"x\":1.5},\"d\":1,\"d\":2,,} // end");
	const struct mq_json_node *member = root->first;

	assert_int_equal(root->n, 6);
	assert_int_equal(member->key->type, MQ_JSON_NUMBER);
	assert_slice_equal(member->key->text, "0");
	assert_slice_equal(mq_json_text(mq_json_get(root, "0")), "h:1");
	assert_slice_equal(mq_json_text(mq_json_get(root, "-1")), "it\"s");
	assert_int_equal(mq_json_i64(mq_json_get(root, "bare"), 0), 1);
	assert_int_equal(mq_json_i64(mq_json_get(root, "d"), 0), 2);

	member = member->next->next->next;
	assert_int_equal(member->key->type, MQ_JSON_OBJECT);
	assert_slice_equal(mq_json_text(mq_json_get(member->key, "brokerName")), "b");
	assert_true(mq_json_double(mq_json_get(member, "x"), 0) == 1.5);
}

static void conversions_are_lenient(void **state)
{
	static const char *const modes[] = { "BROADCASTING", "CLUSTERING" };
	PARSE("{\"s\":\"42\",\"f\":\"1.5e2\",\"t\":\"TRUE\",\"one\":1,\"b\":true,\"m\":\"CLUSTERING\",\"o\":1,\"os\":\"0\",\"x\":\"?\",\"e\":\"\","
	      "\"big\":99999999999999999999,\"min\":-9223372036854775808}");

	assert_int_equal(mq_json_i64(mq_json_get(root, "s"), 0), 42);
	assert_int_equal(mq_json_i64(mq_json_get(root, "f"), 0), 150);
	assert_int_equal(mq_json_i64(mq_json_get(root, "b"), 0), 1);
	assert_int_equal(mq_json_i64(mq_json_get(root, "x"), 7), 7);
	assert_int_equal(mq_json_i64(mq_json_get(root, "e"), 7), 7);
	assert_int_equal(mq_json_i64(mq_json_get(root, "big"), 7), 7);
	assert_true(mq_json_i64(mq_json_get(root, "min"), 7) == INT64_MIN);
	assert_int_equal(mq_json_i64(root, 7), 7);
	assert_int_equal(mq_json_i64(NULL, 7), 7);
	assert_true(mq_json_double(mq_json_get(root, "s"), 0) == 42.0);
	assert_true(mq_json_bool(mq_json_get(root, "t"), false));
	assert_true(mq_json_bool(mq_json_get(root, "one"), false));
	assert_false(mq_json_bool(mq_json_get(root, "os"), true));
	assert_true(mq_json_bool(NULL, true));
	assert_slice_equal(mq_json_text(mq_json_get(root, "one")), "1");
	assert_null(mq_json_text(root).p);
	assert_int_equal(mq_json_enum(mq_json_get(root, "m"), modes, 2, -1), 1);
	assert_int_equal(mq_json_enum(mq_json_get(root, "o"), modes, 2, -1), 1);
	assert_int_equal(mq_json_enum(mq_json_get(root, "os"), modes, 2, -1), 0);
	assert_int_equal(mq_json_enum(mq_json_get(root, "s"), modes, 2, -1), -1);
	assert_int_equal(mq_json_enum(NULL, modes, 2, -1), -1);
}

static void references_to_what_was_read_are_resolved(void **state)
{
	PARSE("{\"day\":{\"sum\":3},\"list\":[{\"k\":1},{\"k\":2}],\"hour\":{\"$ref\":\"$.day\"},\"second\":{\"$ref\":\"$.list[1]\"},"
	      "\"odd-name\":{\"v\":4},\"odd\":{\"$ref\":\"$.odd\\\\-name.v\"},\"again\":{\"$ref\":\"$.hour\"},\"map\":{0:\"x\"},"
	      "\"key\":{\"$ref\":\"$.map[0]\"}}");

	assert_int_equal(mq_json_i64(mq_json_get(mq_json_get(root, "hour"), "sum"), 0), 3);
	assert_int_equal(mq_json_i64(mq_json_get(mq_json_get(root, "second"), "k"), 0), 2);
	assert_int_equal(mq_json_i64(mq_json_get(root, "odd"), 0), 4);
	assert_int_equal(mq_json_i64(mq_json_get(mq_json_get(root, "again"), "sum"), 0), 3);
	assert_slice_equal(mq_json_text(mq_json_get(root, "key")), "x");
}

static void circles_and_dangling_references_are_null(void **state)
{
	static const char *const refs[] = { "$", "@", "..", "$.a", "$.none", "$.later", "$.list[9]", "$.list[-1]", "$.list.x", "", "$.",
					    "$[", "$.list[0", "$x", "$.s.t", "a" };

	for (size_t i = 0; i < N_ELEMENTS(refs); i++) {
		_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
		char text[160];

		snprintf(text, sizeof text, "{\"list\":[1],\"s\":\"t\",\"a\":{\"b\":{\"$ref\":\"%s\"}},\"later\":{}}", refs[i]);
		assert_int_equal(mq_json_parse(&doc, mq_slice_of(text), NULL), 0);
		assert_null(mq_json_get(mq_json_get(mq_json_root(doc), "a"), "b"));
	}
}

static void references_cannot_multiply_without_end(void **state)
{
	_cleanup_(evbuffer_freep) struct evbuffer *b = evbuffer_new();

	/* Each level holds the one before twice: 2^n values when walked. */
	evbuffer_add_printf(b, "{\"a0\":[1,1,1,1,1,1,1,1]");
	for (int i = 1; i < 30; i++)
		evbuffer_add_printf(b, ",\"a%d\":[{\"$ref\":\"$.a%d\"},{\"$ref\":\"$.a%d\"}]", i, i - 1, i - 1);
	evbuffer_add_printf(b, "}");
	assert_int_equal(parse_error(test_bytes(b)), -E2BIG);

	/* Depth counts through references. */
	evbuffer_drain(b, evbuffer_get_length(b));
	evbuffer_add_printf(b, "{\"a0\":[1]");
	for (int i = 1; i < 40; i++)
		evbuffer_add_printf(b, ",\"a%d\":[{\"$ref\":\"$.a%d\"}]", i, i - 1);
	evbuffer_add_printf(b, "}");
	assert_int_equal(parse_error(test_bytes(b)), -E2BIG);

	/* Looking for targets in a long list again and again is work, too. */
	evbuffer_drain(b, evbuffer_get_length(b));
	evbuffer_add_printf(b, "[1");
	for (int i = 0; i < 4000; i++)
		evbuffer_add_printf(b, ",{\"$ref\":\"$[0]\"}");
	evbuffer_add_printf(b, "]");
	assert_int_equal(parse_error(test_bytes(b)), -E2BIG);
}

static void broken_documents_are_refused_with_position(void **state)
{
	static const char *const bad[] = { "", " ", "{", "}", "[", "]", "{]", "[}", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\" 1}", "{\"a\":1 \"b\":2}",
					   "[1 2]", "1 2", "\"", "\"\\", "\"\\u12\"", "\"\\uzzzz\"", "\"\\q\"", "tru", "-", "+", ".", "1e", "1e+",
					   "1..2", "0x10", "/*", "/", "{\"a\":/*}", "{[1]:2}", "{:1}", "{,}x", "[1]]", "'a\"" };
	struct mq_json *doc = NULL;
	struct mq_error err;

	for (size_t i = 0; i < N_ELEMENTS(bad); i++)
		if (parse_error(mq_slice_of(bad[i])) != -EBADMSG)
			fail_msg("accepted: %s", bad[i]);

	assert_int_equal(mq_json_parse(&doc, MQ_SLICE("{\"a\":1 \"b\":2}"), &err), -EBADMSG);
	assert_string_equal(err.text, "JSON, byte 7 of 13: expected a comma or the end of the object");
}

static void nesting_and_size_are_bounded(void **state)
{
	char deep[2 * MQ_JSON_DEPTH_MAX + 2];

	memset(deep, '[', MQ_JSON_DEPTH_MAX);
	memset(deep + MQ_JSON_DEPTH_MAX, ']', MQ_JSON_DEPTH_MAX);
	{
		_cleanup_(mq_json_freep) struct mq_json *doc = NULL;

		assert_int_equal(mq_json_parse(&doc, (struct mq_slice){ deep, 2 * MQ_JSON_DEPTH_MAX }, NULL), 0);
	}
	memset(deep, '[', MQ_JSON_DEPTH_MAX + 1);
	memset(deep + MQ_JSON_DEPTH_MAX + 1, ']', MQ_JSON_DEPTH_MAX + 1);
	assert_int_equal(parse_error((struct mq_slice){ deep, sizeof deep }), -E2BIG);

	size_t n = 2 * (size_t)MQ_JSON_NODES_MAX + 2;
	char *wide = malloc(n);

	wide[0] = '[';
	for (size_t i = 1; i < n; i += 2)
		memcpy(wide + i, i + 2 < n ? "1," : "]", i + 2 < n ? 2 : 1);
	assert_int_equal(parse_error((struct mq_slice){ wide, n }), -E2BIG);
	free(wide);
}

static void write_everything(struct mq_json_writer *w)
{
	mq_json_open_object(w);
	mq_json_member_bool(w, "bool", true);
	mq_json_member_double(w, "double", 0.1);
	mq_json_key(w, "empty");
	mq_json_open_array(w);
	mq_json_close_array(w);
	mq_json_member_i64(w, "int", INT64_MIN);
	mq_json_key(w, "list");
	mq_json_open_array(w);
	mq_json_i64_value(w, 1);
	mq_json_open_object(w);
	mq_json_close_object(w);
	mq_json_raw(w, MQ_SLICE("{\"raw\":[]}"));
	mq_json_bool_value(w, false);
	mq_json_double_value(w, NAN);
	mq_json_close_array(w);
	mq_json_key_slice(w, MQ_SLICE("s\"\n"));
	mq_json_string(w, MQ_SLICE("\xe4\xb8\xad/\\\xf0\x9f\x98\x80\xff"));
	mq_json_close_object(w);
}

static void the_writer_writes_strict_compact_json(void **state)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_json_writer w;

	mq_json_begin(&w, out);
	write_everything(&w);
	assert_int_equal(mq_json_end(&w), 0);
	assert_slice_equal(test_bytes(out), "{\"bool\":true,\"double\":0.1,\"empty\":[],\"int\":-9223372036854775808,"
					    "\"list\":[1,{},{\"raw\":[]},false,null],\"s\\\"\\n\":\"\xe4\xb8\xad/\\\\\xf0\x9f\x98\x80?\"}");

	json_t *oracle = json_loadb(test_bytes(out).p, test_bytes(out).n, 0, NULL);
	assert_non_null(oracle);
	json_decref(oracle);
}

static void standard_json_escapes_what_is_not_ascii(void **state)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_json_writer w;

	mq_json_begin(&w, out);
	w.ascii = true;
	mq_json_string(&w, MQ_SLICE("a\xe4\xb8\xad\n\xf0\x9f\x98\x80\xc3\xa9\xff"));
	assert_int_equal(mq_json_end(&w), 0);
	assert_slice_equal(test_bytes(out), "\"a\\u4E2D\\n\\uD83D\\uDE00\\u00E9?\"");

	json_t *oracle = json_loadb(test_bytes(out).p, test_bytes(out).n, JSON_DECODE_ANY, NULL);
	assert_string_equal(json_string_value(oracle), "a\xe4\xb8\xad\n\xf0\x9f\x98\x80\xc3\xa9?");
	json_decref(oracle);
}

static void long_strings_are_not_cut_through_characters(void **state)
{
	for (size_t shift = 0; shift < 4; shift++) {
		_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
		_cleanup_(freep) char *text = malloc(4004);
		struct mq_json_writer w;
		size_t n = shift;

		memset(text, 'x', shift);
		for (; n + 4 <= 4000; n += 4)
			memcpy(text + n, "\xf0\x9f\x98\x80", 4);
		mq_json_begin(&w, out);
		mq_json_string(&w, (struct mq_slice){ text, n });
		assert_int_equal(mq_json_end(&w), 0);
		assert_int_equal(evbuffer_get_length(out), n + 2);
		assert_memory_equal(test_bytes(out).p + 1, text, n);
	}
}

static void numbers_and_objects_can_be_keys(void **state)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct mq_json_writer w;

	mq_json_begin(&w, out);
	mq_json_open_object(&w);
	mq_json_key_i64(&w, 0);
	mq_json_string(&w, MQ_SLICE("h"));
	for (int i = 0; i < 2; i++) {
		mq_json_open_object(&w);
		mq_json_member_i64(&w, "queueId", i);
		mq_json_close_object(&w);
		mq_json_key_done(&w);
		mq_json_i64_value(&w, 5);
	}
	mq_json_close_object(&w);
	assert_int_equal(mq_json_end(&w), 0);
	assert_slice_equal(test_bytes(out), "{0:\"h\",{\"queueId\":0}:5,{\"queueId\":1}:5}");

	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	assert_int_equal(mq_json_parse(&doc, test_bytes(out), NULL), 0);
	assert_int_equal(mq_json_root(doc)->n, 3);
}

static void doubles_are_written_as_java_writes_them(void **state)
{
	static const struct {
		double value;
		const char *text;
	} cases[] = {
		{ 0, "0.0" }, { -0.0, "-0.0" }, { 1, "1.0" }, { -1.25, "-1.25" }, { 0.1, "0.1" }, { 100, "100.0" },
		{ 1.0 / 60, "0.016666666666666666" }, { 1e10, "1.0E10" }, { 1e-7, "1.0E-7" }, { 9999999, "9999999.0" }, { 1e7, "1.0E7" },
		{ 0.001, "0.001" }, { 0.00099, "9.9E-4" }, { 123456.789, "123456.789" }, { 12345678.9, "1.23456789E7" },
		{ 1.7976931348623157e308, "1.7976931348623157E308" }, { 2.2250738585072014e-308, "2.2250738585072014E-308" }, { 1e-300, "1.0E-300" },
	};
	char text[MQ_DOUBLE_TEXT_MAX];
	double back;

	/* A program may run in a locale whose decimal point is a comma, if there is one on this machine. */
	setlocale(LC_ALL, "de_DE.UTF-8");
	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		assert_string_equal(mq_format_double(cases[i].value, text), cases[i].text);
		assert_int_equal(mq_parse_double(mq_slice_of(text), &back), 0);
		assert_true(back == cases[i].value);
	}
	setlocale(LC_ALL, "C");

	static const char *const bad[] = { "", "nan", "inf", "0x1", " 1", "1 ", "1e999", "1.2.3", "--1" };
	for (size_t i = 0; i < N_ELEMENTS(bad); i++)
		assert_int_equal(mq_parse_double(mq_slice_of(bad[i]), &back), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_and_elements_are_found),
		cmocka_unit_test(the_dialect_of_fastjson_is_read),
		cmocka_unit_test(conversions_are_lenient),
		cmocka_unit_test(references_to_what_was_read_are_resolved),
		cmocka_unit_test(circles_and_dangling_references_are_null),
		cmocka_unit_test(references_cannot_multiply_without_end),
		cmocka_unit_test(broken_documents_are_refused_with_position),
		cmocka_unit_test(nesting_and_size_are_bounded),
		cmocka_unit_test(the_writer_writes_strict_compact_json),
		cmocka_unit_test(standard_json_escapes_what_is_not_ascii),
		cmocka_unit_test(long_strings_are_not_cut_through_characters),
		cmocka_unit_test(numbers_and_objects_can_be_keys),
		cmocka_unit_test(doubles_are_written_as_java_writes_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
