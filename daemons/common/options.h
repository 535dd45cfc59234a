/* Configuration of a daemon: command line, properties file, typed keys.
 * One table per program says every key: name, type, default, place in the program's configuration struct, and help. The same table
 * drives the file, -o KEY=VALUE, --print-config and codes 26, 318 and 319; a test compares it with the man page. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

enum option_type {
	OPTION_TEXT,     /* char *, owned */
	OPTION_BOOL,     /* bool */
	OPTION_INT,      /* int64_t, within [min, max] */
	OPTION_SIZE,     /* int64_t bytes: 64M, 1G (powers of 1024), bare number in the key's RocketMQ unit (`unit` bytes) */
	OPTION_DURATION, /* int64_t ms: 500ms, 30s, 5m, 72h, 3d, bare number in the key's RocketMQ unit (`unit` ms) */
	OPTION_DOUBLE,   /* double, within [min, max] */
	OPTION_CHOICE,   /* int: index in `choices` */
	OPTION_IGNORED,  /* a JVM-only key of Apache's: warned about, no place */
};

struct option_line {
	const char *key;
	enum option_type type;
	size_t offset;            /* of the member in the configuration struct */
	const char *otherwise;    /* default, as text; NULL: none (a NULL text, zero) */
	int64_t unit;             /* of bare numbers, see above; 0 means 1 */
	double min, max;          /* of the stored value: bytes of a size, ms of a duration; both 0: unchecked */
	const char *const *choices; /* NULL-terminated */
	bool is_live;             /* may be changed by reload and by codes 25 and 318 */
	bool is_ours;             /* not a RocketMQ key */
	const char *help;         /* one sentence for the manual */
};

struct option_table {
	const struct option_line *lines; /* sorted by key, ignoring case */
	unsigned n_lines;
	size_t config_size; /* bytes of the configuration struct */
	/* Checks between keys, after all were read. May be NULL. */
	int (*check)(void *config, struct mq_error *err);
};

/* What the command line of both daemons is (getopt_long): -c -n -o -p -t --version --help. */
struct option_args {
	const char *program;      /* "mq-brokerd" */
	const char *description;  /* for --help */
	bool takes_namesrv;       /* for --help: whether -n means anything to the program */
	const char *config_path;  /* -c; NULL: none given */
	const char *namesrv;      /* -n; NULL: none given. Refused where the program has no namesrvAddr. */
	const char *const *sets;  /* -o, in order; borrowed from argv */
	unsigned n_sets;
	bool print_config, check_config;
};

/* Returns 0 to go on, 1 when --help or --version was served (exit 0), -EINVAL after the usage sentence was printed (exit 64). */
int options_parse_args(struct option_args *ret, int argc, char **argv) _must_check_;

/* Fills *config: defaults, then the file (and the .conf files in FILE.d), then -n and -o. Warnings (JVM-only keys) are logged.
 * -EINVAL with file, line, key and the nearest known key in *err (exit 78). */
int options_load(const struct option_table *table, const struct option_args *args, void *config, struct mq_error *err) _must_check_;
/* Sets one key from text; only_live: refuses keys that need a restart. -ENOENT unknown, -EPERM not live, -EINVAL. */
int options_set(const struct option_table *table, void *config, struct mq_slice key, struct mq_slice value, bool only_live,
		struct mq_error *err) _must_check_;
/* Sets every pair of a properties text (codes 25 and 318), all or none, and runs check(). Keys that the table does not know
 * are passed over, as Apache's servers do. -EPERM: a key that is not live; -EINVAL. */
int options_update(const struct option_table *table, void *config, struct mq_slice properties, struct mq_error *err) _must_check_;
/* Reload: moves the live keys that differ from *fresh (freshly loaded) into *config and returns how many these were. Calls
 * changed() for every key that differs; the ones with !line->is_live keep their old value until a restart. */
unsigned options_adopt(const struct option_table *table, void *config, void *fresh,
		       void (*changed)(void *user, const struct option_line *line), void *user);
/* Frees the texts and clears *config. */
void options_free(const struct option_table *table, void *config);
/* Value of a key as text, as it would be written into the file: bare in the key's unit where that is exact and the key is
 * RocketMQ's (that is what its tools expect in answers 26 and 319), else with a unit. Returns bytes, as snprintf. */
int options_format(const struct option_line *line, const void *config, char *ret, size_t size);
/* --print-config: every key with value, defaults as comments. */
void options_print(const struct option_table *table, const void *config);
const struct option_line *options_find(const struct option_table *table, struct mq_slice key);
