#include "daemons/common/options.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>

#include "daemons/common/properties.h"
#include "libmq/base/log.h"

enum {
	VALUE_TEXT_MAX = 4096, /* bytes of one value */
	SUGGESTION_DISTANCE_MAX = 4, /* edits; a key further away is no typing mistake */
	BEGINNING_MIN = 6, /* letters of a key that say which one was meant */
	ORIGIN_MAX = 300, /* bytes of "FILE:LINE" */
};

/* --- numbers and their units --------------------------------------------------------------------------------------- */

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

/* --- one key ------------------------------------------------------------------------------------------------------- */

static void *place(const struct option_line *line, const void *config)
{
	return (char *)config + line->offset;
}

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
	*(int64_t *)place(line, config) = value;
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
	*(double *)place(line, config) = value;
	return 0;
}

static int set_bool(const struct option_line *line, void *config, const char *text, struct mq_error *err)
{
	if (strcasecmp(text, "true") && strcasecmp(text, "false"))
		return mq_error_set(err, -EINVAL, "%s: '%.64s' is neither true nor false", line->key, text);
	*(bool *)place(line, config) = !strcasecmp(text, "true");
	return 0;
}

static int set_choice(const struct option_line *line, void *config, const char *text, struct mq_error *err)
{
	char names[120] = "";
	size_t n = 0;

	for (int i = 0; line->choices[i]; i++) {
		if (!strcasecmp(line->choices[i], text)) {
			*(int *)place(line, config) = i;
			return 0;
		}
		if (n < sizeof names)
			n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", line->choices[i]);
	}
	return mq_error_set(err, -EINVAL, "%s: '%.64s' is not one of %s", line->key, text, names);
}

static int set_text(const struct option_line *line, void *config, const char *text)
{
	char **member = place(line, config);
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(*member);
	*member = copy;
	return 0;
}

static int set_value(const struct option_line *line, void *config, const char *text, struct mq_error *err)
{
	switch (line->type) {
	case OPTION_TEXT:
		return set_text(line, config, text);
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
	char text[VALUE_TEXT_MAX];

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
	return set_value(line, config, text, err);
}

/* --- all keys ------------------------------------------------------------------------------------------------------ */

void options_free(const struct option_table *table, void *config)
{
	for (unsigned i = 0; i < table->n_lines; i++)
		if (table->lines[i].type == OPTION_TEXT)
			free(*(char **)place(&table->lines[i], config));
	memset(config, 0, table->config_size);
}

static int set_defaults(const struct option_table *table, void *config, struct mq_error *err)
{
	memset(config, 0, table->config_size);
	for (unsigned i = 0; i < table->n_lines; i++) {
		const struct option_line *line = &table->lines[i];

		if (line->type != OPTION_IGNORED && line->otherwise) {
			int r = set_value(line, config, line->otherwise, err);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

struct loading {
	const struct option_table *table;
	void *config;
	const char *source; /* file name, or "-o" */
	char **origins;     /* per line of the table where it was set last, "FILE:LINE", "-n" or "-o"; NULL: a default */
};

static void origins_free(const struct option_table *table, char **origins)
{
	for (unsigned i = 0; origins && i < table->n_lines; i++)
		free(origins[i]);
	free(origins);
}

/* Whether a complaint begins with the key, as those of options_set() about values and those of check() do. */
static bool is_about(const char *text, const char *key)
{
	size_t n = strlen(key);

	return strncmp(text, key, n) == 0 && !isalnum((unsigned char)text[n]);
}

/* A complaint of check(), with the place where the key that it begins with was set. */
static int complain_of_check(const struct option_table *table, char **origins, int r, const struct mq_error *why,
			     struct mq_error *err)
{
	for (unsigned i = 0; i < table->n_lines; i++)
		if (origins[i] && is_about(why->text, table->lines[i].key))
			return mq_error_set(err, r, "%s: %s", origins[i], why->text);
	return mq_error_set(err, r, "%s", why->text);
}

static int load_pair(void *user, unsigned number, struct mq_slice key, struct mq_slice value, struct mq_error *err)
{
	struct loading *l = user;
	const struct option_line *line = options_find(l->table, key);
	struct mq_error why = {};
	char where[ORIGIN_MAX];
	int r;

	/* Pairs of the command line have no line number. */
	if (number)
		snprintf(where, sizeof where, "%s:%u", l->source, number);
	else
		snprintf(where, sizeof where, "%s", l->source);

	if (line && line->type == OPTION_IGNORED)
		mq_log(LOG_WARNING, "%s: '%s' concerns Apache's server only and is ignored%s%s", where, line->key,
		       line->help ? ": " : "", line->help ? line->help : "");
	r = options_set(l->table, l->config, key, value, false, &why);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return mq_error_set(err, -EINVAL, "%s: %s", where, why.text);

	char **origin = &l->origins[line - l->table->lines];
	free(*origin);
	*origin = strdup(where);
	return *origin ? 0 : -ENOMEM;
}

/* Reads a whole file of at most PROPERTIES_TEXT_MAX bytes. */
static int read_file(const char *path, char **ret, size_t *ret_n, struct mq_error *err)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_(freep) char *text = NULL;
	size_t n = 0;
	ssize_t got;

	if (fd < 0)
		return mq_error_set(err, -errno, "%s: %s", path, strerror(errno));
	text = malloc(PROPERTIES_TEXT_MAX + 1);
	if (!text)
		return -ENOMEM;
	do {
		got = read(fd, text + n, PROPERTIES_TEXT_MAX + 1 - n);
		if (got < 0)
			return mq_error_set(err, -errno, "%s: %s", path, strerror(errno));
		n += (size_t)got;
	} while (got > 0 && n <= PROPERTIES_TEXT_MAX);
	if (n > PROPERTIES_TEXT_MAX)
		return mq_error_set(err, -E2BIG, "%s: a configuration file has at most %d bytes", path, PROPERTIES_TEXT_MAX);
	*ret = TAKE(text);
	*ret_n = n;
	return 0;
}

static int load_file(struct loading *l, const char *path, struct mq_error *err)
{
	_cleanup_(freep) char *text = NULL;
	struct mq_error why = {};
	size_t n = 0;
	int r;

	r = read_file(path, &text, &n, err);
	if (r < 0)
		return r;
	l->source = path;
	r = properties_parse((struct mq_slice){ text, n }, load_pair, l, &why);
	if (r < 0 && strncmp(why.text, "line ", 5) == 0)
		/* The parser's own complaint: it knows the line, not the file. */
		return mq_error_set(err, r, "%s:%s", path, why.text + 5);
	if (r < 0)
		return mq_error_set(err, r, "%s", why.text[0] ? why.text : strerror(-r));
	return 0;
}

static int is_conf_file(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return entry->d_name[0] != '.' && n > 5 && !strcmp(entry->d_name + n - 5, ".conf");
}

/* The .conf files in FILE.d, in the order of their names. */
static int load_directory(struct loading *l, const char *file, struct mq_error *err)
{
	_cleanup_(freep) char *directory = NULL;
	struct dirent **entries;
	int r = 0, n;

	if (asprintf(&directory, "%s.d", file) < 0) {
		directory = NULL;
		return -ENOMEM;
	}
	n = scandir(directory, &entries, is_conf_file, alphasort);
	if (n < 0)
		return errno == ENOENT ? 0 : mq_error_set(err, -errno, "%s: %s", directory, strerror(errno));
	for (int i = 0; i < n; i++) {
		_cleanup_(freep) char *path = NULL;

		if (r == 0 && asprintf(&path, "%s/%s", directory, entries[i]->d_name) < 0) {
			path = NULL;
			r = -ENOMEM;
		}
		if (r == 0)
			r = load_file(l, path, err);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int load_command_line(struct loading *l, const struct option_args *args, struct mq_error *err)
{
	int r;

	l->source = "-n";
	if (args->namesrv) {
		if (!options_find(l->table, MQ_SLICE("namesrvAddr")))
			return mq_error_set(err, -EINVAL, "option -n is for brokers: a NameServer has no NameServer");
		r = load_pair(l, 0, MQ_SLICE("namesrvAddr"), mq_slice_of(args->namesrv), err);
		if (r < 0)
			return r;
	}
	l->source = "-o";
	for (unsigned i = 0; i < args->n_sets; i++) {
		const char *text = args->sets[i], *equals = strchr(text, '=');

		if (!equals)
			return mq_error_set(err, -EINVAL, "-o %.64s: KEY=VALUE expected", text);
		r = load_pair(l, 0, (struct mq_slice){ text, (size_t)(equals - text) }, mq_slice_of(equals + 1), err);
		if (r < 0)
			return r;
	}
	return 0;
}

int options_load(const struct option_table *table, const struct option_args *args, void *config, struct mq_error *err)
{
	struct loading l = { .table = table, .config = config, .origins = calloc(table->n_lines, sizeof *l.origins) };
	struct mq_error why = {}, wrong = {};
	int r = set_defaults(table, config, &why);

	if (!l.origins)
		r = -ENOMEM;
	if (r == 0 && args->config_path)
		r = load_file(&l, args->config_path, &why);
	if (r == 0 && args->config_path)
		r = load_directory(&l, args->config_path, &why);
	if (r == 0)
		r = load_command_line(&l, args, &why);
	if (r == 0 && table->check) {
		r = table->check(config, &wrong);
		if (r < 0)
			r = complain_of_check(table, l.origins, r, &wrong, &why);
	}
	origins_free(table, l.origins);
	if (r < 0) {
		options_free(table, config);
		return mq_error_set(err, r == -ENOMEM ? r : -EINVAL, "%s", why.text[0] ? why.text : strerror(-r));
	}
	return 0;
}

/* --- changes while running ----------------------------------------------------------------------------------------- */

static int copy_all(const struct option_table *table, const void *from, void *to)
{
	memcpy(to, from, table->config_size);
	for (unsigned i = 0; i < table->n_lines; i++)
		if (table->lines[i].type == OPTION_TEXT)
			*(char **)place(&table->lines[i], to) = NULL;
	for (unsigned i = 0; i < table->n_lines; i++) {
		const struct option_line *line = &table->lines[i];
		const char *text = line->type == OPTION_TEXT ? *(char **)place(line, from) : NULL;

		if (text && set_text(line, to, text) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int update_pair(void *user, unsigned number, struct mq_slice key, struct mq_slice value, struct mq_error *err)
{
	struct loading *l = user;
	const struct option_line *line = options_find(l->table, key);

	if (!line || line->type == OPTION_IGNORED)
		return 0;
	return options_set(l->table, l->config, key, value, true, err);
}

int options_update(const struct option_table *table, void *config, struct mq_slice properties, struct mq_error *err)
{
	struct loading l = { .table = table, .config = malloc(table->config_size) };
	int r;

	if (!l.config)
		return -ENOMEM;
	r = copy_all(table, config, l.config);
	if (r == 0)
		r = properties_parse(properties, update_pair, &l, err);
	if (r == 0 && table->check)
		r = table->check(l.config, err);
	if (r == 0)
		(void)options_adopt(table, config, l.config, NULL, NULL);
	options_free(table, l.config);
	free(l.config);
	return r;
}

static size_t member_size(const struct option_line *line)
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

static bool is_same_value(const struct option_line *line, const void *a, const void *b)
{
	if (line->type == OPTION_TEXT) {
		const char *x = *(char **)place(line, a), *y = *(char **)place(line, b);

		return x == y || (x && y && !strcmp(x, y));
	}
	return memcmp(place(line, a), place(line, b), member_size(line)) == 0;
}

unsigned options_adopt(const struct option_table *table, void *config, void *fresh,
		       void (*changed)(void *user, const struct option_line *line), void *user)
{
	unsigned n = 0;

	for (unsigned i = 0; i < table->n_lines; i++) {
		const struct option_line *line = &table->lines[i];
		char kept[sizeof(int64_t)];
		size_t size = member_size(line);

		if (is_same_value(line, config, fresh))
			continue;
		if (line->is_live) {
			/* Swapped, so that a text's owner stays clear. */
			memcpy(kept, place(line, config), size);
			memcpy(place(line, config), place(line, fresh), size);
			memcpy(place(line, fresh), kept, size);
			n++;
		}
		if (changed)
			changed(user, line);
	}
	return n;
}

/* --- output -------------------------------------------------------------------------------------------------------- */

int options_format(const struct option_line *line, const void *config, char *ret, size_t size)
{
	const void *member = place(line, config);

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

void options_print(const struct option_table *table, const void *config)
{
	_cleanup_(freep) void *defaults = malloc(table->config_size);
	struct evbuffer *out = evbuffer_new();
	char value[VALUE_TEXT_MAX];

	if (!defaults || !out || set_defaults(table, defaults, NULL) < 0)
		abort(); /* out of memory while starting */
	for (unsigned i = 0; i < table->n_lines; i++) {
		const struct option_line *line = &table->lines[i];

		if (line->type == OPTION_IGNORED)
			continue;
		options_format(line, config, value, sizeof value);
		if (is_same_value(line, config, defaults))
			evbuffer_add(out, "#", 1);
		if (properties_add(out, line->key, mq_slice_of(value)) < 0)
			abort();
	}
	fwrite(evbuffer_pullup(out, -1), 1, evbuffer_get_length(out), stdout);
	evbuffer_free(out);
	options_free(table, defaults);
}

/* --- command line -------------------------------------------------------------------------------------------------- */

static void print_help(const struct option_args *args)
{
	printf("Usage: %s [OPTION...]\n"
	       "%s\n\n"
	       "  -c, --config FILE     read this configuration file, then FILE.d/*.conf\n"
	       "%s"
	       "  -o, --set KEY=VALUE   set a key; wins over the file, may be repeated\n"
	       "  -p, --print-config    print the configuration and exit; defaults are comments\n"
	       "  -t, --check-config    check the configuration and exit\n"
	       "      --version         print the version and exit\n"
	       "      --help            print this help and exit\n\n"
	       "See the manual page %s(8).\n",
	       args->program, args->description,
	       args->takes_namesrv ? "  -n, --namesrv ADDR    NameServers to register with: HOST:PORT or unix:PATH, several with ';'\n" : "",
	       args->program);
}

int options_parse_args(struct option_args *ret, int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "config", required_argument, NULL, 'c' },	{ "namesrv", required_argument, NULL, 'n' },
		{ "set", required_argument, NULL, 'o' },	{ "print-config", no_argument, NULL, 'p' },
		{ "check-config", no_argument, NULL, 't' }, { "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },		{},
	};
	/* The -o values are gathered at the front of argv, behind its name: getopt has already walked past that. */
	const char **sets = (const char **)argv + 1;
	int c;

	ret->sets = sets;
	ret->n_sets = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, "+c:n:o:pt", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			ret->config_path = optarg;
			break;
		case 'n':
			ret->namesrv = optarg;
			break;
		case 'o':
			sets[ret->n_sets++] = optarg;
			break;
		case 'p':
			ret->print_config = true;
			break;
		case 't':
			ret->check_config = true;
			break;
		case 'V':
			printf("%s %s\n", ret->program, MQ_PACKAGE_VERSION);
			return 1;
		case 'h':
			print_help(ret);
			return 1;
		default:
			fprintf(stderr, "Try '%s --help'.\n", ret->program);
			return -EINVAL;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "%s: unexpected argument '%s'\nTry '%s --help'.\n", ret->program, argv[optind], ret->program);
		return -EINVAL;
	}
	return 0;
}
