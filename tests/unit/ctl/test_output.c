#include "tests/unit/ctl/ctl_test.h"

#include "daemons/ctl/output.h"

static const struct column columns[] = {
	{ "TOPIC", "topic", COLUMN_TEXT },
	{ "N", "messages", COLUMN_NUMBER },
	{ "LAST", "last", COLUMN_TEXT },
};

static char *print(enum output_format format)
{
	struct table *t;
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	assert_int_equal(table_new(&t, columns, 3), 0);
	table_cell(t, "%s", "caf\xc3\xa9");
	table_cell(t, "%d", 5);
	table_cell(t, "%s", "12:00 \"x\"");
	table_cell(t, "%s", "longer-name");
	table_cell(t, "%d", 12345);
	table_cell(t, "%s", "");
	assert_int_equal(table_rows(t), 2);
	assert_int_equal(table_print(t, format, out), 0);
	table_free(t);
	fclose(out);
	return text;
}

static void expect(enum output_format format, const char *wanted)
{
	char *text = print(format);

	assert_string_equal(text, wanted);
	free(text);
}

static void a_table_is_aligned_under_its_header(void **state)
{
	expect(FORMAT_TABLE, "TOPIC            N  LAST\n"
			     "caf\xc3\xa9             5  12:00 \"x\"\n"
			     "longer-name  12345  -\n");
}

static void a_pipe_gets_fields_with_one_blank_between(void **state)
{
	expect(FORMAT_PLAIN, "caf\xc3\xa9 5 12:00_\"x\"\nlonger-name 12345 -\n");
}

static void json_has_numbers_texts_and_nothing(void **state)
{
	expect(FORMAT_JSON, "[{\"topic\":\"caf\xc3\xa9\",\"messages\":5,\"last\":\"12:00 \\\"x\\\"\"},"
			    "{\"topic\":\"longer-name\",\"messages\":12345,\"last\":null}]\n");
}

static void flags_are_true_and_false_in_json(void **state)
{
	static const struct column flags[] = { { "A", "a", COLUMN_FLAG }, { "B", "b", COLUMN_FLAG } };
	struct table *t;
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	assert_int_equal(table_new(&t, flags, 2), 0);
	table_cell(t, "yes");
	table_cell(t, "no");
	assert_int_equal(table_print(t, FORMAT_JSON, out), 0);
	assert_int_equal(table_print(t, FORMAT_PLAIN, out), 0);
	fclose(out);
	assert_string_equal(text, "[{\"a\":true,\"b\":false}]\nyes no\n");
	table_free(t);
	free(text);
}

static void an_empty_table_is_an_empty_array(void **state)
{
	struct table *t;
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	assert_int_equal(table_new(&t, columns, 3), 0);
	assert_int_equal(table_print(t, FORMAT_JSON, out), 0);
	fclose(out);
	assert_string_equal(text, "[]\n");
	table_free(t);
	free(text);
}

static char *bytes_as_json(struct mq_slice bytes)
{
	struct json_out j;
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	assert_int_equal(json_out_init(&j), 0);
	mq_json_open_object(&j.w);
	json_out_bytes(&j, "body", "bodyBase64", bytes);
	mq_json_close_object(&j.w);
	assert_int_equal(json_out_print(&j, out), 0);
	json_out_done(&j);
	fclose(out);
	return text;
}

static void bytes_that_are_no_text_become_base64(void **state)
{
	static const struct {
		struct mq_slice bytes;
		const char *json;
	} cases[] = {
		{ MQ_SLICE("gr\xc3\xbc\xc3\x9f"), "{\"body\":\"gr\xc3\xbc\xc3\x9f\"}\n" },
		{ MQ_SLICE(""), "{\"body\":\"\"}\n" },
		{ MQ_SLICE("\xff"), "{\"bodyBase64\":\"/w==\"}\n" },
		{ MQ_SLICE("\xff\x01"), "{\"bodyBase64\":\"/wE=\"}\n" },
		{ MQ_SLICE("\xff\x01\x02"), "{\"bodyBase64\":\"/wEC\"}\n" },
		{ MQ_SLICE("\xc0\x80"), "{\"bodyBase64\":\"wIA=\"}\n" },	 /* overlong */
		{ MQ_SLICE("\xed\xa0\x80"), "{\"bodyBase64\":\"7aCA\"}\n" }, /* surrogate */
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		char *text = bytes_as_json(cases[i].bytes);

		assert_string_equal(text, cases[i].json);
		free(text);
	}
}

static void a_message_cannot_steer_the_terminal(void **state)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	output_text(MQ_SLICE("a\x1b[2J\tb\n\xc2\x9b"
			     "c \xc3\xa9\x7f"),
		    true, out);
	output_text(MQ_SLICE("\xff\x1b"), true, out);
	fclose(out);
	assert_string_equal(text, "a.[2J\tb\n.c \xc3\xa9...");
	free(text);
}

static void a_pipe_gets_the_bytes_as_they_are(void **state)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	output_text(MQ_SLICE("a\x1b\xff"), false, out);
	fclose(out);
	assert_string_equal(text, "a\x1b\xff");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_is_aligned_under_its_header),
		cmocka_unit_test(a_pipe_gets_fields_with_one_blank_between),
		cmocka_unit_test(json_has_numbers_texts_and_nothing),
		cmocka_unit_test(flags_are_true_and_false_in_json),
		cmocka_unit_test(an_empty_table_is_an_empty_array),
		cmocka_unit_test(bytes_that_are_no_text_become_base64),
		cmocka_unit_test(a_message_cannot_steer_the_terminal),
		cmocka_unit_test(a_pipe_gets_the_bytes_as_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
