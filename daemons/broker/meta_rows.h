/* Tables that the store keeps as rows of JSON: topics, groups and request modes, and the DataVersion of the first two.
 * Any thread; who changes a table holds its lock for changes meanwhile. */
#pragma once

#include "libmq/base/error.h"
#include "libmq/wire/body_topics.h"
#include "storage/store.h"

struct broker;

/* Calls read() with every row of the kind. -EBADMSG, store errors, or what read() returned, with a sentence: "`what` NAME cannot
 * be read". */
int meta_rows_load(struct store *store, const char *kind, const char *what,
		   int (*read)(void *user, struct mq_slice name, const struct mq_json_node *root), void *user,
		   struct mq_error *err) _must_check_;
/* Stores one row, of which write() writes one value. -E2BIG beyond 32 KiB, -ENOMEM, store errors. */
int meta_row_put(struct store *store, const char *kind, struct mq_slice name,
		 void (*write)(struct mq_json_writer *w, const void *row), const void *row) _must_check_;

/* *ret stays as it is when none is stored. */
int meta_version_load(struct store *store, const char *of, struct mq_data_version *ret, struct mq_error *err) _must_check_;
/* The version that comes after `now`. */
struct mq_data_version meta_version_after(const struct broker *b, const struct mq_data_version *now);
/* As a row that is written together with others; it borrows `of` and `text`. */
struct store_meta_put meta_version_put(const char *of, const struct mq_data_version *v, char text[MQ_DATA_VERSION_TEXT]);
/* Makes and stores it by itself. It goes before the change: a crash in between shows NameServers a new version of the old table, which
 * is harmless; the other way round they would miss the change. */
int meta_version_next(struct broker *b, const char *of, const struct mq_data_version *now, struct mq_data_version *ret) _must_check_;
