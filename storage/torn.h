/* A log that ends in half a record because the disk refused the rest. */
#pragma once

#include <rocksdb/c.h>
#include <stdbool.h>

/* Whether a database that did not open, with *text for the reason, is to be opened once more: then `db` says how, and *text is NULL. */
bool torn_end_accept(int dir_fd, rocksdb_options_t *db, char **text);
