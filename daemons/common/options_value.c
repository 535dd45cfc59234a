/* One key: its value as text and as a member of the configuration. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>

#include "daemons/common/options_internal.h"

/* --- numbers and their units --- */

struct unit {
	const char *name;
	int64_t factor;
};

/* Largest first: formatting takes the first that divides. */
static const struct unit size_units[] = {
	{ "T", INT64_C(1) << 40 }, { "G", 1 << 30 }, { "M", 1 << 20 }, { "K", 1 << 10 }, { "B", 1 }, {},
};

static const struct unit duration_units[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 }, {},
};

static const struct unit *units_of(const struct option_line *line)
{
	static const struct unit none[] = { {} };

	return line->type == OPTION_SIZE ? size_units : line->type == OPTION_DURATION ? duration_units : none;
}

static int64_t bare_unit(const struct option_line *line)
{
	return line->unit ? line->unit : 1;
}

static int parse_number(const struct option_line *line, const char *text, int64_t *ret)
{
	int64_t number, factor = bare_unit(line);
	char *end;

	if (!isdigit((unsigned char)text[*text == '-' || *text == '+']))
		return -EINVAL;
	errno = 0;
	number = strtoll(text, &end, 10);
	if (errno)
		return -ERANGE;
	if (*end) {
		const struct unit *u = units_of(line);

		while (u->name && strcasecmp(u->name, end))
			u++;
		if (!u->name)
			return -EINVAL;
		factor = u->factor;
	}
	if (__builtin_mul_overflow(number, factor, &number))
		return -ERANGE;
	*ret = number;
	return 0;
}

static int format_number(const struct option_line *line, int64_t value, char *ret, size_t size)
{
	const struct unit *u = units_of(line);

	if (!u->name || value == 0 || (!line->is_ours && value % bare_unit(line) == 0))
		return snprintf(ret, size, "%" PRId64, value / bare_unit(line));
	while (value % u->factor)
		u++;
	return snprintf(ret, size, "%" PRId64 "%s", value / u->factor, u->name);
}

static bool is_outside(const struct option_line *line, double value)
{
	return (line->min != 0 || line->max != 0) && (value < line->min || value > line->max);
}

static int complain_of_range(const struct option_line *line, const char *text, struct mq_error *err)
{
	char min[32], max[32];

	if (line->type == OPTION_DOUBLE) {
		snprintf(min, sizeof min, "%g", line->min);
		snprintf(max, sizeof max, "%g", line->max);
	} else {
		format_number(line, (int64_t)line->min, min, sizeof min);
		format_number(line, (int64_t)line->max, max, sizeof max);
	}
	return mq_error_set(err, -EINVAL, "%s: '%.64s' is out of range, from %s to %s is allowed", line->key, text, min, max);
}

/* --- values --- */

static int set_number(const struct option_line *line, void *config, const char *text, struct mq_error *err)
{
	static const char *const expected[] = {
		[OPTION_INT] = "a whole number",
		[OPTION_SIZE] = "a size such as 4096, 64K, 16M or 1G",
		[OPTION_DURATION] = "a duration such as 500ms, 30s, 5m, 72h or 3d",
	};
	int64_t value;
	int r = parse_number(line, text, &value);

	if (r == -EINVAL)
		return mq_error_set(err, -EINVAL, "%s: '%.64s' is not %s", line->key, text, expected[line->type]);
	if (r < 0 || is_outside(line, (double)value))
		return complain_of_range(line, text, err);
	*(int64_t *)option_place(line, config) = value;
	return 0;
}

static int set_double(const struct option_line *line, void *config, const char *text, struct mq_error *err)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !isfinite(value))
		return mq_error_set(err, -EINVAL, "%s: '%.64s' is not a number", line->key, text);
	if (is_outside(line, value))
		return complain_of_range(line, text, err);
	*(double *)option_place(line, config) = value;
	return 0;
}

static int set_bool(const struct option_line *line, void *config, const char *text, struct mq_error *err)
{
	if (strcasecmp(text, "true") && strcasecmp(text, "false"))
		return mq_error_set(err, -EINVAL, "%s: '%.64s' is neither true nor false", line->key, text);
	*(bool *)option_place(line, config) = !strcasecmp(text, "true");
	return 0;
}

static int set_choice(const struct option_line *line, void *config, const char *text, struct mq_error *err)
{
	char names[120] = "";
	size_t n = 0;

	for (int i = 0; line->choices[i]; i++) {
		if (!strcasecmp(line->choices[i], text)) {
			*(int *)option_place(line, config) = i;
			return 0;
		}
		if (n < sizeof names)
			n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", line->choices[i]);
	}
	return mq_error_set(err, -EINVAL, "%s: '%.64s' is not one of %s", line->key, text, names);
}

int option_set_text(const struct option_line *line, void *config, const char *text)
{
	char **member = option_place(line, config);
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(*member);
	*member = copy;
	return 0;
}

int option_set(const struct option_line *line, void *config, const char *text, struct mq_error *err)
{
	switch (line->type) {
	case OPTION_TEXT:
		return option_set_text(line, config, text);
	case OPTION_BOOL:
		return set_bool(line, config, text, err);
	case OPTION_INT:
	case OPTION_SIZE:
	case OPTION_DURATION:
		return set_number(line, config, text, err);
	case OPTION_DOUBLE:
		return set_double(line, config, text, err);
	case OPTION_CHOICE:
		return set_choice(line, config, text, err);
	case OPTION_IGNORED:
		return 0;
	}
	return -EINVAL;
}

size_t option_size(const struct option_line *line)
{
	switch (line->type) {
	case OPTION_TEXT:
		return sizeof(char *);
	case OPTION_BOOL:
		return sizeof(bool);
	case OPTION_INT:
	case OPTION_SIZE:
	case OPTION_DURATION:
		return sizeof(int64_t);
	case OPTION_DOUBLE:
		return sizeof(double);
	case OPTION_CHOICE:
		return sizeof(int);
	case OPTION_IGNORED:
		return 0;
	}
	return 0;
}

bool option_equals(const struct option_line *line, const void *a, const void *b)
{
	if (line->type == OPTION_TEXT) {
		const char *x = *(char **)option_place(line, a), *y = *(char **)option_place(line, b);

		return x == y || (x && y && !strcmp(x, y));
	}
	return memcmp(option_place(line, a), option_place(line, b), option_size(line)) == 0;
}

int options_format(const struct option_line *line, const void *config, char *ret, size_t size)
{
	const void *member = option_place(line, config);

	switch (line->type) {
	case OPTION_TEXT:
		return snprintf(ret, size, "%s", *(char *const *)member ? *(char *const *)member : "");
	case OPTION_BOOL:
		return snprintf(ret, size, "%s", *(const bool *)member ? "true" : "false");
	case OPTION_INT:
	case OPTION_SIZE:
	case OPTION_DURATION:
		return format_number(line, *(const int64_t *)member, ret, size);
	case OPTION_DOUBLE:
		return snprintf(ret, size, "%.15g", *(const double *)member);
	case OPTION_CHOICE:
		return snprintf(ret, size, "%s", line->choices[*(const int *)member]);
	case OPTION_IGNORED:
		break;
	}
	return snprintf(ret, size, "%s", "");
}
