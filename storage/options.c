#include "storage/options.h"

#include <errno.h>
#include <sys/resource.h>

#include "libmq/base/cleanup.h"

enum {
	CHECKSUM_XXH3 = 4,
	RECOVER_POINT_IN_TIME = 2,
	LOG_NOTHING = 6, /* above all of RocksDB's levels */
	MIB = 1 << 20,
};

static uint64_t clamp(uint64_t v, uint64_t low, uint64_t high)
{
	return v < low ? low : v > high ? high : v;
}

/* RocksDB keeps one descriptor per file. */
static int options_max_open_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > 1000000)
		return 700000;
	return (int)clamp(limit.rlim_cur * 7 / 10, 64, 700000);
}

int store_options_init(struct store_options *o, uint64_t memory_bytes)
{
	rocksdb_options_t *base = rocksdb_options_create();
	char *text = NULL;

	o->db = rocksdb_options_create();
	o->table = rocksdb_block_based_options_create();
	o->write_buffer_bytes = clamp(memory_bytes / 2, 4 * MIB, (uint64_t)2048 * MIB);
	o->cache = rocksdb_cache_create_lru(clamp(memory_bytes / 4, 2 * MIB, (uint64_t)1024 * MIB));

	/* avoid_flush_during_recovery has no setter in C. Without it each family that was written gets a tiny file at every start:
	 * open with 1,024 families 3.2 s, with it 1.5 s. allow_fallocate off: 15 to 30 % off a sync, and free space stays true. */
	rocksdb_get_options_from_string(base, "avoid_flush_during_recovery=true;allow_fallocate=false", o->db, &text);
	rocksdb_options_destroy(base);
	if (text) {
		rocksdb_free(text);
		return -EIO;
	}

	/* XXH3 instead of the library's software CRC32C: a quarter of the write path's CPU. */
	rocksdb_block_based_options_set_checksum(o->table, CHECKSUM_XXH3);
	rocksdb_block_based_options_set_format_version(o->table, 5);
	/* Queues are read in order: fewer, larger blocks keep the block index small (1.5 MB instead of 6 for each GB). */
	rocksdb_block_based_options_set_block_size(o->table, 16 << 10);
	/* The block index counts as cache, or memory would grow with the disk. Files on level 0 are looked at by every tail read. */
	rocksdb_block_based_options_set_block_cache(o->table, o->cache);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks(o->table, 1);
	rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(o->table, 1);

	rocksdb_options_set_create_if_missing(o->db, 1);
	rocksdb_options_set_create_missing_column_families(o->db, 1);
	/* The only mode that opens every damaged tail and leaves no hole; durable.c notices what it drops. */
	rocksdb_options_set_wal_recovery_mode(o->db, RECOVER_POINT_IN_TIME);
	/* Large against families x arena, or every write walks all families (25 k rec/s instead of 63 k at 8,192). */
	rocksdb_options_set_db_write_buffer_size(o->db, o->write_buffer_bytes);
	/* Idle families pin old logs: at this size the oldest are flushed. Also bounds the replay after a crash. */
	rocksdb_options_set_max_total_wal_size(o->db, 2 * o->write_buffer_bytes);
	/* A flush of a small family is mostly waiting for syncs, and RocksDB begins with the oldest family, however small. From
	 * max_background_jobs it would make one flush thread for each four jobs: behind 960 families with a message each, the busy
	 * ones waited 2.3 times as long in memory and in logs. */
	rocksdb_options_set_max_background_flushes(o->db, 4);
	rocksdb_options_set_max_background_compactions(o->db, 3);
	rocksdb_options_set_max_open_files(o->db, options_max_open_files());
	rocksdb_options_set_max_file_opening_threads(o->db, 1);
	/* Costs per file at open that buy nothing here. */
	rocksdb_options_set_skip_stats_update_on_db_open(o->db, 1);
	rocksdb_options_set_skip_checking_sst_file_sizes_on_db_open(o->db, 1);
	rocksdb_options_set_stats_dump_period_sec(o->db, 0);
	rocksdb_options_set_stats_persist_period_sec(o->db, 0);
	/* Its file LOG is on the same disk, and empty until there is something to warn of: that a table found no space, for one. Then the
	 * line finds none either, and the next one ends the process. What matters comes with the error of a call as well. */
	rocksdb_options_set_info_log_level(o->db, LOG_NOTHING);
	rocksdb_options_set_keep_log_file_num(o->db, 1);
	return 0;
}

void store_options_done(struct store_options *o)
{
	if (o->db)
		rocksdb_options_destroy(o->db);
	if (o->table)
		rocksdb_block_based_options_destroy(o->table);
	if (o->cache)
		rocksdb_cache_destroy(o->cache);
	*o = (struct store_options){};
}

/* Compaction may fall behind for as long as a peak lasts: reads get slower, appends do not. */
static void options_never_stall(rocksdb_options_t *f)
{
	rocksdb_options_set_level0_slowdown_writes_trigger(f, 64);
	rocksdb_options_set_level0_stop_writes_trigger(f, 128);
	rocksdb_options_set_soft_pending_compaction_bytes_limit(f, 0);
	rocksdb_options_set_hard_pending_compaction_bytes_limit(f, 0);
}

/* Shared families: each flush has something of every queue, so files overlap, but nothing is ever written again. Eight files of
 * about the same size become one, eight of these one, and so on: a byte is rewritten log8(files) times. With 1,000 queues, half of
 * them random bytes, 12 s at full speed: 2.5 bytes written for each that came and 12.4 us of CPU a message, with the library's
 * levels 3.2 and 14.2; merging four at a time is no better than levels. */
static void options_merge_rarely(rocksdb_options_t *f)
{
	rocksdb_universal_compaction_options_t *u = rocksdb_universal_compaction_options_create();

	rocksdb_universal_compaction_options_set_size_ratio(u, 100); /* per cent: flushes are as large as memory was short */
	rocksdb_universal_compaction_options_set_min_merge_width(u, 8);
	/* What overlaps is other queues, not older versions: a merge of everything would free nothing. */
	rocksdb_universal_compaction_options_set_max_size_amplification_percent(u, 1 << 20);
	rocksdb_options_set_compaction_style(f, rocksdb_universal_compaction);
	rocksdb_options_set_universal_compaction_options(f, u);
	rocksdb_universal_compaction_options_destroy(u);
	rocksdb_options_set_level0_file_num_compaction_trigger(f, 8);
	options_never_stall(f);
}

rocksdb_options_t *store_options_family(const struct store_options *o, enum store_family_role role, unsigned n_families)
{
	rocksdb_options_t *f = rocksdb_options_create_copy(o->db);
	uint64_t families = n_families * 2 < 64 ? 64 : n_families * 2;

	rocksdb_options_set_block_based_table_factory(f, o->table);
	/* The sum over all families stays below a third of the write buffer however many follow: W/8, then W/(16 n) each. */
	rocksdb_options_set_arena_block_size(f, clamp(o->write_buffer_bytes / (8 * families), 4 << 10, 64 << 10));
	/* 2.04 -> 1.67 bytes on disk per byte for 0.3 us a record in the background; the same on all levels, or moves rewrite. */
	rocksdb_options_set_compression(f, rocksdb_lz4_compression);
	rocksdb_options_set_max_write_buffer_number(f, 4);

	switch (role) {
	case FAMILY_SMALL:
		rocksdb_options_set_write_buffer_size(f, clamp(o->write_buffer_bytes / 16, 1 * MIB, 8 * MIB));
		break;
	case FAMILY_INDEX:
		/* Files of several senders overlap; the library's levels rewrite a byte some ten times, but not with each file that
		 * comes, and one sender's rows in order but once. Sixteen files at a time, since each merge goes through all that the
		 * hour has on level 1. Six senders, 6 million messages of 128 B, CPU seconds in compactions and in all: four files
		 * 4.9 and 22.8, sixteen 1.4 and 19.9, merged as the shared families are 2.5 and 19.7. One sender, us of CPU a
		 * message in compactions: 0.09 to 0.19, 0.02, 0.38. A query looks into up to sixteen files more. */
		rocksdb_options_set_write_buffer_size(f, clamp(o->write_buffer_bytes / 4, 1 * MIB, 64 * MIB));
		rocksdb_options_set_level0_file_num_compaction_trigger(f, 16);
		options_never_stall(f);
		break;
	case FAMILY_MIXED:
		rocksdb_options_set_write_buffer_size(f, clamp(o->write_buffer_bytes / 4, 1 * MIB, 64 * MIB));
		options_merge_rarely(f);
		break;
	case FAMILY_QUEUE:
		rocksdb_options_set_write_buffer_size(f, clamp(o->write_buffer_bytes / 4, 1 * MIB, 64 * MIB));
		/* Ascending keys: every step down is a rename, no byte is rewritten; and deletion of whole files by range, which
		 * is what retention does, only reaches level 1 and deeper. So: at once to level 1, and stay there. */
		rocksdb_options_set_level0_file_num_compaction_trigger(f, 1);
		rocksdb_options_set_max_bytes_for_level_base(f, (uint64_t)1 << 50);
		options_never_stall(f);
		break;
	}
	return f;
}
