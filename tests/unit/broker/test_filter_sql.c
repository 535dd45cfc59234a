/* The truth is in filter_sql.txt: what Apache's own evaluator says (see FilterTruth.java). Here are the file's reader, and what
 * the file cannot show: limits, duplicates, ownership. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "daemons/broker/filter_sql.h"

enum { MESSAGES_MAX = 32, LINE_MAX_ = 1024 };

static _Atomic size_t account;

static struct filter_sql *compile(const char *expression)
{
	struct filter_sql *f = NULL;
	struct mq_error err = {};

	if (filter_sql_compile(&f, mq_slice_of(expression), &account, &err) < 0)
		fail_msg("%s: %s", expression, err.text);
	return f;
}

static char letter_of(const struct filter_sql *f, struct mq_slice properties)
{
	unsigned steps = 0;

	return "FTNX"[filter_sql_evaluate(f, properties, &steps)];
}

/* ---- filter_sql.txt ---- */

struct truth {
	unsigned n_messages, n_expressions, n_wrong;
	char properties[MESSAGES_MAX][LINE_MAX_];
};

static void unescape(char *s)
{
	static const char from[] = "nrtf\\", to[] = "\n\r\t\f\\";
	char *out = s;

	for (; *s; s++) {
		const char *escape = *s == '\\' && s[1] ? strchr(from, s[1]) : NULL;

		s += escape != NULL;
		*out++ = escape ? to[escape - from] : *s;
	}
	*out = '\0';
}

static void truth_message(struct truth *t, const char *pairs)
{
	char *out = t->properties[t->n_messages++];

	assert_true(t->n_messages <= MESSAGES_MAX);
	strcpy(out, pairs);
	for (; *out; out++)
		*out = (char)(*out == '=' ? 1 : *out == '|' ? 2 : *out);
}

static void truth_expression(struct truth *t, const char *wanted, char *expression)
{
	_cleanup_(filter_sql_unrefp) struct filter_sql *f = NULL;
	char got[MESSAGES_MAX + 1] = "!";
	struct mq_error err = {};
	int r;

	unescape(expression);
	t->n_expressions++;
	r = filter_sql_compile(&f, mq_slice_of(expression), &account, &err);
	if (r < 0) {
		assert_int_equal(r, -EINVAL);
		assert_true(strlen(err.text) > 10);
	}
	for (unsigned i = 0; r >= 0 && i < t->n_messages; i++) {
		got[i] = letter_of(f, mq_slice_of(t->properties[i]));
		got[i + 1] = '\0';
	}
	if (strcmp(got, wanted) != 0) {
		fprintf(stderr, "%s\n\tApache: %s\n\twe:     %s %s\n", expression, wanted, got, err.text);
		t->n_wrong++;
	}
}

static void expressions_give_what_apache_gives(void **state)
{
	static struct truth t;
	char line[LINE_MAX_];
	FILE *file = fopen(getenv("FILTER_SQL_TRUTH"), "r");

	assert_non_null(file);
	while (fgets(line, sizeof line, file)) {
		char *tab = strchr(line, '\t');

		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '>') {
			truth_message(&t, line[1] ? line + 2 : "");
		} else if (tab) {
			*tab = '\0';
			truth_expression(&t, line, tab + 1);
		}
	}
	fclose(file);
	assert_true(t.n_expressions > 400 && t.n_messages > 10);
	assert_int_equal(t.n_wrong, 0);
}

/* ---- What the file cannot show ---- */

static void of_duplicate_properties_the_last_counts(void **state)
{
	_cleanup_(filter_sql_unrefp) struct filter_sql *f = compile("a = 2");

	assert_int_equal(letter_of(f, MQ_SLICE("a\1""1\2b\1x\2a\1""2\2")), 'T');
	assert_int_equal(letter_of(f, MQ_SLICE("a\1""2\2a\1""1")), 'F');
	assert_int_equal(letter_of(f, MQ_SLICE("a\1\2""2\2")), 'N');
}

/* Repeats `part` up to n bytes. */
static char *repeated(const char *head, const char *part, size_t n, const char *tail)
{
	char *text = malloc(strlen(head) + n + strlen(part) + strlen(tail) + 1), *at = stpcpy(text, head);

	while ((size_t)(at - text) < n)
		at = stpcpy(at, part);
	stpcpy(at, tail);
	return text;
}

static void assert_refused(char *text, int error, const char *sentence)
{
	struct filter_sql *f = NULL;
	struct mq_error err = {};

	assert_int_equal(filter_sql_compile(&f, mq_slice_of(text), &account, &err), error);
	if (!strstr(err.text, sentence))
		fail_msg("\"%s\" is not in: %s", sentence, err.text);
	assert_null(f);
	free(text);
}

static void what_is_too_big_is_refused(void **state)
{
	char names[4096] = "a", *at = names + 1;

	assert_refused(repeated("a = 1", " ", FILTER_SQL_TEXT_MAX + 1, ""), -E2BIG, "longer than 16384 bytes");
	assert_refused(repeated("", "(", FILTER_SQL_TEXT_MAX / 2, "a"), -E2BIG, "64 levels");
	assert_refused(repeated("", "NOT ", 4000, "a"), -E2BIG, "64 levels");
	assert_refused(repeated("", "-", 4000, "a"), -E2BIG, "64 levels");
	assert_refused(repeated("", "a OR a AND a = (", 15 * 60, "a"), -E2BIG, "too deeply nested");
	for (unsigned i = 0; i <= FILTER_SQL_NAMES_MAX; i++)
		at += sprintf(at, " OR a%u", i);
	assert_refused(strdup(names), -E2BIG, "more than 64 properties");
}

static void what_just_fits_is_taken(void **state)
{
	_cleanup_(freep) char *chain = repeated("a = 1", " OR a = 1", FILTER_SQL_TEXT_MAX - 16, "");
	_cleanup_(freep) char *list = repeated("a IN ('2'", ",'3'", FILTER_SQL_TEXT_MAX - 16, ",'1')");
	_cleanup_(freep) char *deep = repeated("", "(", 63, "a = 1)))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))");
	const char *texts[] = { chain, list, deep };

	for (unsigned i = 0; i < N_ELEMENTS(texts); i++) {
		_cleanup_(filter_sql_unrefp) struct filter_sql *f = compile(texts[i]);

		assert_int_equal(letter_of(f, MQ_SLICE("a\1""1\2")), 'T');
	}
}

/* Each CONTAINS looks through all of 32 KiB. */
static void a_message_takes_a_bounded_number_of_steps(void **state)
{
	_cleanup_(freep) char *expression = repeated("a CONTAINS 'b'", " OR a CONTAINS 'b'", FILTER_SQL_TEXT_MAX - 32, "");
	_cleanup_(freep) char *properties = repeated("a\1", "a", 32000, "\2");
	_cleanup_(filter_sql_unrefp) struct filter_sql *f = compile(expression);
	unsigned steps = 0;

	assert_int_equal(filter_sql_evaluate(f, mq_slice_of(properties), &steps), FILTER_ERROR);
	assert_in_range(steps, FILTER_SQL_STEPS_MAX, FILTER_SQL_STEPS_MAX + 4096);
	assert_int_equal(filter_sql_evaluate(f, MQ_SLICE("a\1" "aaab\2"), &steps), FILTER_TRUE);
}

static void filters_are_counted_and_shared(void **state)
{
	_Atomic size_t own = 0;
	struct filter_sql *f = NULL, *other = NULL;
	struct mq_error err = {};

	assert_int_equal(filter_sql_compile(&f, MQ_SLICE("a = 1"), &own, &err), 0);
	assert_in_range(own, 1, 4096);
	assert_ptr_equal(filter_sql_ref(f), f);
	filter_sql_unref(f);
	assert_int_equal(letter_of(f, MQ_SLICE("a\1""1\2")), 'T');
	filter_sql_unref(f);
	assert_int_equal(own, 0);
	own = FILTER_SQL_BYTES_MAX;
	assert_int_equal(filter_sql_compile(&other, MQ_SLICE("a = 1"), &own, &err), -EDQUOT);
	assert_null(other);
	assert_int_equal(own, FILTER_SQL_BYTES_MAX);
	assert_null(filter_sql_ref(NULL));
	assert_null(filter_sql_unref(NULL));
}

static int nothing_is_left(void **state)
{
	return account == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(expressions_give_what_apache_gives),
		cmocka_unit_test(of_duplicate_properties_the_last_counts),
		cmocka_unit_test(what_is_too_big_is_refused),
		cmocka_unit_test(what_just_fits_is_taken),
		cmocka_unit_test(a_message_takes_a_bounded_number_of_steps),
		cmocka_unit_test(filters_are_counted_and_shared),
	};

	return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
