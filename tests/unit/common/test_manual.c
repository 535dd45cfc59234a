/* The manual pages say what the option tables and the dispatch table say: every key with its default and whether it is live, and
 * every request. The pages are read as scdoc sources. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include <cmocka.h>

#include "daemons/broker/config.h"
#include "daemons/namesrv/namesrv.h"
#include "libmq/wire/codes.h"

enum { PAGE_MAX = 200000 /* bytes */ };

/* The page without the backslashes that scdoc takes out, and with one blank for each run of white space inside an entry. */
static char *read_page(const char *name)
{
	char path[512], *text = calloc(1, PAGE_MAX), *to = text;
	const char *directory = getenv("MQ_MANUAL");
	size_t n;
	FILE *f;

	assert_non_null(text);
	assert_non_null(directory);
	snprintf(path, sizeof path, "%s/%s", directory, name);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(text, 1, PAGE_MAX - 1, f);
	fclose(f);
	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\\' && i + 1 < n)
			*to++ = text[++i];
		else if (text[i] == '\n' && text[i + 1] == '\t' && to > text && to[-1] != '\n' && to[-1] != '_')
			*to++ = ' ', i++;
		else
			*to++ = text[i];
	}
	*to = '\0';
	return text;
}

/* What stands between "*key*=" at the start of a line and the next empty line; NULL when the page has no such entry. */
static char *find_entry(const char *page, const char *key)
{
	char heading[128];
	const char *at = page;

	snprintf(heading, sizeof heading, "\n*%s*=", key);
	at = strstr(page, heading);
	if (!at)
		return NULL;
	at += strlen(heading);
	return strndup(at, (size_t)(strstr(at, "\n\n") ? strstr(at, "\n\n") - at : (ptrdiff_t)strlen(at)));
}

static void assert_entry(const char *page, const struct option_line *line)
{
	char expected[256], *entry = find_entry(page, line->key);

	if (!entry)
		fail_msg("the manual page lacks the key %s", line->key);
	snprintf(expected, sizeof expected, "Default: %s.", line->otherwise && line->otherwise[0] ? line->otherwise : "none");
	if (!strstr(entry, expected))
		fail_msg("%s: the manual page does not say '%s' but: %s", line->key, expected, entry);
	if ((strstr(entry, "_Live_.") != NULL) != line->is_live)
		fail_msg("%s: the manual page is wrong about whether it is live", line->key);
	if ((strstr(entry, "_Mqd_.") != NULL) != line->is_ours)
		fail_msg("%s: the manual page is wrong about whether RocketMQ has it", line->key);
	free(entry);
}

static void assert_page(const char *name, const struct option_table *table)
{
	char *page = read_page(name);
	const char *at = page;

	for (unsigned i = 0; i < table->n_lines; i++)
		if (table->lines[i].type != OPTION_IGNORED)
			assert_entry(page, &table->lines[i]);
	while ((at = strstr(at, "\n*"))) {
		size_t n = strcspn(at += 2, "*\n");
		const struct option_line *line = options_find(table, (struct mq_slice){ at, n });

		if (at[n] == '*' && at[n + 1] == '=' && (!line || line->type == OPTION_IGNORED))
			fail_msg("the manual page explains %.*s, which is no key", (int)n, at);
	}
	free(page);
}

static void the_namesrv_page_has_every_key(void **state)
{
	assert_page("namesrv.conf.scd", &namesrv_options);
}

static void the_broker_page_has_every_key(void **state)
{
	assert_page("broker.conf.scd", &broker_options);
}

static void tables_are_sorted(void **state)
{
	const struct option_table *const tables[] = { &namesrv_options, &broker_options };

	for (unsigned t = 0; t < N_ELEMENTS(tables); t++) {
		for (unsigned i = 1; i < tables[t]->n_lines; i++) {
			const char *a = tables[t]->lines[i - 1].key, *b = tables[t]->lines[i].key;

			if (strcasecmp(a, b) > 0)
				fail_msg("%s stands before %s", a, b);
		}
	}
}

static void the_namesrv_page_has_every_request(void **state)
{
	char *page = read_page("mq-namesrvd.scd"), row[128];
	struct namesrv n = {};
	unsigned n_rows = 0;

	namesrv_dispatch_init(&n);
	for (unsigned i = 0; i < n.dispatch.n_lines; i++) {
		int code = n.dispatch.lines[i].code;

		snprintf(row, sizeof row, "\n%d  %s\n", code, mq_request_name(code));
		if (!strstr(page, row))
			fail_msg("the manual page lacks %s (%d)", mq_request_name(code), code);
	}
	for (const char *at = page; (at = strchr(at, '\n')); at++)
		n_rows += at[1] >= '1' && at[1] <= '9';
	assert_int_equal(n_rows, n.dispatch.n_lines);
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_namesrv_page_has_every_key),
		cmocka_unit_test(the_broker_page_has_every_key),
		cmocka_unit_test(tables_are_sorted),
		cmocka_unit_test(the_namesrv_page_has_every_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
