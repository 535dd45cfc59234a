/* What inspect.c (opening, listing) and inspect_check.c (verifying) share. */
#pragma once

#include "storage/inspect.h"
#include "storage/internal.h"

struct inspect_family {
	rocksdb_column_family_handle_t *cf; /* owned */
	char name[16];
	bool is_shared;
	uint32_t number;
	unsigned n_queues; /* rows that name it */
};

struct inspected_queue {
	struct inspect_queue q;
	struct inspect_family *family; /* NULL: none */
	char topic[NAME_MAX_BYTES];
};

struct inspect {
	char path[4096];
	int lock_fd, dir_fd;
	struct store_options options;
	rocksdb_t *db;
	rocksdb_readoptions_t *read_options;
	rocksdb_column_family_handle_t *cf[N_SYSTEM_FAMILIES];
	struct inspect_family *families; /* owned array */
	size_t n_families;
	struct inspected_queue *queues; /* owned array, by number */
	size_t n_queues;
	struct inspected_queue **sorted; /* owned array, by topic and queue id */

	inspect_on_fault on_fault;
	void *user;
	struct inspect_summary sum;
};

rocksdb_iterator_t *inspect_iterator(struct inspect *in, rocksdb_column_family_handle_t *cf);
/* 0, or -EIO with RocksDB's text and what could not be read. */
int inspect_status(struct inspect *in, rocksdb_iterator_t *it, const char *what, struct mq_error *err);
struct inspected_queue *inspect_queue_by_number(struct inspect *in, uint32_t number); /* NULL: there is none */
int inspect_queue_compare(const void *a, const void *b); /* of sorted: by topic and queue id */
/* The beginning of all queue rows' keys. */
struct mq_slice inspect_queue_prefix(char key[META_KEY_MAX]);
