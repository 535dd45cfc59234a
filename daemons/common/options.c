/* A configuration as a whole: its keys found, set, changed while running, printed. */
#include "daemons/common/options.h"

#include <ctype.h>
#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <strings.h>

#include "daemons/common/options_internal.h"
#include "daemons/common/properties.h"

enum {
	SUGGESTION_DISTANCE_MAX = 4, /* edits; a key further away is no typing mistake */
	BEGINNING_MIN = 6, /* letters of a key that say which one was meant */
};

/* --- one key --- */

const struct option_line *options_find(const struct option_table *table, struct mq_slice key)
{
	for (unsigned i = 0; i < table->n_lines; i++)
		if (mq_slice_is(key, table->lines[i].key))
			return &table->lines[i];
	return NULL;
}

/* Levenshtein distance, ignoring case; both at most 63 bytes. */
static unsigned edit_distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
	unsigned row[64];

	for (size_t j = 0; j <= n_b; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= n_a; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= n_b; j++) {
			bool is_same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
			unsigned best = diagonal + !is_same;

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[n_b];
}

/* Whether one is the beginning of the other, ignoring case: a key that was cut short, or has a unit at its end. */
static bool is_beginning(const char *a, size_t n_a, const char *b, size_t n_b)
{
	size_t n = n_a < n_b ? n_a : n_b;

	return n >= BEGINNING_MIN && strncasecmp(a, b, n) == 0;
}

/* The known key that `key` was probably meant to be, or NULL. */
static const char *nearest_key(const struct option_table *table, struct mq_slice key)
{
	unsigned best = SUGGESTION_DISTANCE_MAX + 1;
	const char *ret = NULL;

	if (key.n >= 64)
		return NULL;
	for (unsigned i = 0; i < table->n_lines; i++) {
		const char *known = table->lines[i].key;
		size_t n = strlen(known);
		unsigned d = n < 64 ? edit_distance(key.p, key.n, known, n) : best;

		if (d > SUGGESTION_DISTANCE_MAX && is_beginning(key.p, key.n, known, n))
			d = SUGGESTION_DISTANCE_MAX; /* nothing better will come than a typing mistake */
		/* Changing more than half of the letters is not a typing mistake either. */
		if (d < best && d * 2 <= n) {
			best = d;
			ret = known;
		}
	}
	return ret;
}

static int complain_of_unknown(const struct option_table *table, struct mq_slice key, struct mq_error *err)
{
	const char *nearest = nearest_key(table, key);
	int n = key.n > 64 ? 64 : (int)key.n;

	if (nearest)
		return mq_error_set(err, -ENOENT, "unknown key '%.*s': did you mean '%s'?", n, key.p, nearest);
	return mq_error_set(err, -ENOENT, "unknown key '%.*s'", n, key.p);
}

int options_set(const struct option_table *table, void *config, struct mq_slice key, struct mq_slice value, bool only_live,
		struct mq_error *err)
{
	const struct option_line *line = options_find(table, key);
	char text[OPTION_VALUE_MAX];

	if (!line)
		return complain_of_unknown(table, key, err);
	if (only_live && !line->is_live)
		return mq_error_set(err, -EPERM, "%s can only be changed in the configuration file, followed by a restart", line->key);

	/* java.util.Properties keeps blanks at the end of a line, and people do not see them. */
	while (value.n > 0 && isspace((unsigned char)value.p[value.n - 1]))
		value.n--;
	if (value.n >= sizeof text || memchr(value.p ? value.p : "", '\0', value.n))
		return mq_error_set(err, -EINVAL, "%s: the value is longer than %zu bytes or contains a zero byte", line->key,
				    sizeof text - 1);
	memcpy(text, value.p ? value.p : "", value.n);
	text[value.n] = '\0';
	return option_set(line, config, text, err);
}

/* --- all keys --- */

void options_free(const struct option_table *table, void *config)
{
	for (unsigned i = 0; i < table->n_lines; i++)
		if (table->lines[i].type == OPTION_TEXT)
			free(*(char **)option_place(&table->lines[i], config));
	memset(config, 0, table->config_size);
}

int options_set_defaults(const struct option_table *table, void *config, struct mq_error *err)
{
	memset(config, 0, table->config_size);
	for (unsigned i = 0; i < table->n_lines; i++) {
		const struct option_line *line = &table->lines[i];

		if (line->type != OPTION_IGNORED && line->otherwise) {
			int r = option_set(line, config, line->otherwise, err);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

void options_print(const struct option_table *table, const void *config)
{
	_cleanup_(freep) void *defaults = malloc(table->config_size);
	struct evbuffer *out = evbuffer_new();
	char value[OPTION_VALUE_MAX];

	if (!defaults || !out || options_set_defaults(table, defaults, NULL) < 0)
		abort(); /* out of memory while starting */
	for (unsigned i = 0; i < table->n_lines; i++) {
		const struct option_line *line = &table->lines[i];

		if (line->type == OPTION_IGNORED)
			continue;
		options_format(line, config, value, sizeof value);
		if (option_equals(line, config, defaults))
			evbuffer_add(out, "#", 1);
		if (properties_add(out, line->key, mq_slice_of(value)) < 0)
			abort();
	}
	fwrite(evbuffer_pullup(out, -1), 1, evbuffer_get_length(out), stdout);
	evbuffer_free(out);
	options_free(table, defaults);
}

/* --- changes while running --- */

static int copy_all(const struct option_table *table, const void *from, void *to)
{
	memcpy(to, from, table->config_size);
	for (unsigned i = 0; i < table->n_lines; i++)
		if (table->lines[i].type == OPTION_TEXT)
			*(char **)option_place(&table->lines[i], to) = NULL;
	for (unsigned i = 0; i < table->n_lines; i++) {
		const struct option_line *line = &table->lines[i];
		const char *text = line->type == OPTION_TEXT ? *(char **)option_place(line, from) : NULL;

		if (text && option_set_text(line, to, text) < 0)
			return -ENOMEM;
	}
	return 0;
}

struct updating {
	const struct option_table *table;
	void *config;
};

static int update_pair(void *user, unsigned number, struct mq_slice key, struct mq_slice value, struct mq_error *err)
{
	struct updating *u = user;
	const struct option_line *line = options_find(u->table, key);

	if (!line || line->type == OPTION_IGNORED)
		return 0;
	return options_set(u->table, u->config, key, value, true, err);
}

int options_update(const struct option_table *table, void *config, struct mq_slice properties, struct mq_error *err)
{
	struct updating u = { .table = table, .config = malloc(table->config_size) };
	int r;

	if (!u.config)
		return -ENOMEM;
	r = copy_all(table, config, u.config);
	if (r == 0)
		r = properties_parse(properties, update_pair, &u, err);
	if (r == 0 && table->check)
		r = table->check(u.config, err);
	if (r == 0)
		(void)options_adopt(table, config, u.config, NULL, NULL);
	options_free(table, u.config);
	free(u.config);
	return r;
}

unsigned options_adopt(const struct option_table *table, void *config, void *fresh,
		       void (*changed)(void *user, const struct option_line *line), void *user)
{
	unsigned n = 0;

	for (unsigned i = 0; i < table->n_lines; i++) {
		const struct option_line *line = &table->lines[i];
		char kept[sizeof(int64_t)];
		size_t size = option_size(line);

		if (option_equals(line, config, fresh))
			continue;
		if (line->is_live) {
			/* Swapped, so that a text's owner stays clear. */
			memcpy(kept, option_place(line, config), size);
			memcpy(option_place(line, config), option_place(line, fresh), size);
			memcpy(option_place(line, fresh), kept, size);
			n++;
		}
		if (changed)
			changed(user, line);
	}
	return n;
}
