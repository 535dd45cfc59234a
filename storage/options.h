/* How RocksDB is set up: every setting in one place, with the measurement that chose it. */
#pragma once

#include <rocksdb/c.h>
#include <stddef.h>
#include <stdint.h>

/* What the settings of one open database are made of. Owned by struct store, one thread. */
struct store_options {
	rocksdb_options_t *db;                       /* owned: of the database and of its small families */
	rocksdb_block_based_table_options_t *table;  /* owned */
	rocksdb_cache_t *cache;                      /* owned, shared by all families */
	uint64_t write_buffer_bytes;                 /* of all families together */
};

/* memory_bytes: write buffers and block cache follow from it. 0, -ENOMEM, -EIO. */
int store_options_init(struct store_options *o, uint64_t memory_bytes);
void store_options_done(struct store_options *o);

enum store_family_role {
	FAMILY_SMALL,  /* meta, offsets, half, due, default: rewritten in place, small */
	FAMILY_INDEX,  /* random keys within an hour */
	FAMILY_QUEUE,  /* ascending keys, never rewritten */
	FAMILY_MIXED,  /* shared: ascending within each of many queues; what is old is deleted by range */
};

/* A copy for one family. n_families: how many there are so far, because the arenas of all must stay small against the write
 * buffer. Free with rocksdb_options_destroy(). */
rocksdb_options_t *store_options_family(const struct store_options *o, enum store_family_role role, unsigned n_families);
