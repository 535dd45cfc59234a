/* What the files options*.c know of each other; nobody else includes this. */
#pragma once

#include "daemons/common/options.h"

enum { OPTION_VALUE_MAX = 4096 }; /* bytes of one value */

/* ---- options_value.c: one key of a configuration ---- */

static inline void *option_place(const struct option_line *line, const void *config)
{
	return (char *)config + line->offset;
}

/* From text. -EINVAL with a sentence that begins with the key; -ENOMEM. */
int option_set(const struct option_line *line, void *config, const char *text, struct mq_error *err) _must_check_;
/* The same of OPTION_TEXT. -ENOMEM. */
int option_set_text(const struct option_line *line, void *config, const char *text) _must_check_;
bool option_equals(const struct option_line *line, const void *a, const void *b);
/* Bytes of its member. */
size_t option_size(const struct option_line *line);

/* ---- options.c ---- */

/* Clears *config first. */
int options_set_defaults(const struct option_table *table, void *config, struct mq_error *err) _must_check_;
