#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemons/namesrv/kv.h"

#define S(text) mq_slice_of(text)

struct fixture {
	char directory[64], path[160];
	struct kv kv;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	snprintf(f->directory, sizeof f->directory, "/tmp/test_kv.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof f->path, "%s/state/namesrv/kvConfig.json", f->directory);
	assert_int_equal(kv_init(&f->kv, f->path, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[200];

	kv_done(&f->kv);
	snprintf(command, sizeof command, "rm -rf '%s'", f->directory);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static void assert_value(const struct kv *kv, const char *ns, const char *key, const char *value)
{
	struct mq_slice got = kv_get(kv, S(ns), S(key));

	if (value)
		assert_true(mq_slice_is(got, value));
	else
		assert_null(got.p);
}

static void assert_file(const char *path, const char *expected)
{
	char text[1024] = "";
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	assert_int_equal(fread(text, 1, sizeof text - 1, f), strlen(expected));
	fclose(f);
	assert_string_equal(text, expected);
}

static void changes_are_in_the_file_when_they_return(void **state)
{
	struct fixture *f = *state;
	struct kv again;

	assert_int_equal(kv_put(&f->kv, S("b"), S("k"), S("v"), NULL), 0);
	assert_int_equal(kv_put(&f->kv, S("a"), S("k2"), S("\"quoted\"\n"), NULL), 0);
	assert_int_equal(kv_put(&f->kv, S("a"), S("k1"), S(""), NULL), 0);
	assert_int_equal(kv_put(&f->kv, S("b"), S("k"), S("w"), NULL), 0);
	assert_file(f->path, "{\"configTable\":{\"a\":{\"k1\":\"\",\"k2\":\"\\\"quoted\\\"\\n\"},\"b\":{\"k\":\"w\"}}}");
	assert_int_equal(kv_delete(&f->kv, S("b"), S("k"), NULL), 0);
	assert_int_equal(kv_delete(&f->kv, S("b"), S("k"), NULL), 0);
	assert_value(&f->kv, "b", "k", NULL);
	assert_non_null(kv_namespace(&f->kv, S("b")));

	assert_int_equal(kv_init(&again, f->path, NULL), 0);
	assert_value(&again, "a", "k2", "\"quoted\"\n");
	assert_value(&again, "a", "k1", "");
	assert_value(&again, "b", "k", NULL);
	assert_non_null(kv_namespace(&again, S("b")));
	assert_null(kv_namespace(&again, S("c")));
	assert_int_equal(again.size, f->kv.size);
	kv_done(&again);
}

static void a_file_of_apache_is_read(void **state)
{
	struct fixture *f = *state;
	FILE *file = fopen(f->path, "w");
	struct kv kv;

	assert_non_null(file);
	fputs("{\n\t\"configTable\":{\"ORDER_TOPIC_CONFIG\":{\n\t\t\"UnitTest\":\"broker-a:2;broker-b:2\"\n\t}\n\t}\n}", file);
	fclose(file);
	assert_int_equal(kv_init(&kv, f->path, NULL), 0);
	assert_value(&kv, "ORDER_TOPIC_CONFIG", "UnitTest", "broker-a:2;broker-b:2");
	kv_done(&kv);
}

static void a_damaged_file_is_refused(void **state)
{
	static const char *const texts[] = { "", "{", "{}", "[]", "{\"configTable\":{\"n\":{\"k\":[1]}}}" };
	struct fixture *f = *state;
	struct mq_error err;
	struct kv kv;

	for (unsigned i = 0; i < N_ELEMENTS(texts); i++) {
		FILE *file = fopen(f->path, "w");

		assert_non_null(file);
		fputs(texts[i], file);
		fclose(file);
		assert_int_equal(kv_init(&kv, f->path, &err), -EBADMSG);
		assert_non_null(strstr(err.text, f->path));
		assert_file(f->path, texts[i]);
	}
}

/* A directory in the way of the temporary file stands for a disk that cannot be written. */
static void a_change_that_cannot_be_written_is_no_change(void **state)
{
	struct fixture *f = *state;
	struct mq_error err = {};
	char temporary[200];

	assert_int_equal(kv_put(&f->kv, S("n"), S("k"), S("old"), NULL), 0);
	snprintf(temporary, sizeof temporary, "%s.tmp", f->path);
	assert_int_equal(mkdir(temporary, 0700), 0);

	assert_int_equal(kv_put(&f->kv, S("n"), S("k"), S("new"), &err), -EISDIR);
	assert_non_null(strstr(err.text, f->path));
	assert_value(&f->kv, "n", "k", "old");
	assert_int_equal(kv_put(&f->kv, S("n"), S("k2"), S("new"), NULL), -EISDIR);
	assert_value(&f->kv, "n", "k2", NULL);
	assert_int_equal(kv_delete(&f->kv, S("n"), S("k"), NULL), -EISDIR);
	assert_value(&f->kv, "n", "k", "old");
	assert_int_equal(rmdir(temporary), 0);
	assert_int_equal(kv_delete(&f->kv, S("n"), S("k"), NULL), 0);
}

static void texts_have_limits(void **state)
{
	struct fixture *f = *state;
	static char big[KV_TEXT_MAX + 2];

	memset(big, 'x', sizeof big - 1);
	assert_int_equal(kv_put(&f->kv, S("n"), S("k"), S(big), NULL), -E2BIG);
	assert_int_equal(kv_put(&f->kv, S("n"), (struct mq_slice){ "a\0b", 3 }, S("v"), NULL), -EINVAL);
	assert_null(kv_namespace(&f->kv, S("n")));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(changes_are_in_the_file_when_they_return),
		TEST(a_file_of_apache_is_read),
		TEST(a_damaged_file_is_refused),
		TEST(a_change_that_cannot_be_written_is_no_change),
		TEST(texts_have_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
