/* Where a configuration comes from: defaults, files, then the command line. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "daemons/common/options_internal.h"
#include "daemons/common/properties.h"
#include "libmq/base/log.h"

enum { ORIGIN_MAX = 300 }; /* bytes of "FILE:LINE" */

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
	int r = options_set_defaults(table, config, &why);

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
