/* Functions of librocksdb 7.8 that the executable replaces, because the library calls them through its symbol table.
 *
 * crc32c_hw.c: CRC32C with SSE4.2 and carry-less multiplication; the distribution's build has the table version only (a third of
 * the write path's CPU). noopts.c: no rewriting of the informational OPTIONS file whenever a family is made or dropped, which
 * takes 1 s and holds all writers at 1,000 families. logsync.c: a sync of a log that fails ends what is acknowledged, not the process,
 * and is not forgotten when the library tries again.
 *
 * All lean on the binary interface of one library version, so they are compiled for exactly that version and machine only. The
 * first two note when the library itself has called them: that, and not the presence of the symbol, says that they are in effect.
 * Of the third tests/unit/storage/test_flush.c shows it. */
#pragma once

#include <stdbool.h>

/* Chooses hardware or table for CRC32C after comparing both on every length up to several blocks. Call before the database is
 * opened; harmless to repeat. */
void store_override_prepare(void);

/* The library has called ours since the process began, and ours uses the hardware. */
bool store_override_has_fast_crc(void);
/* The library has called ours since the process began. */
bool store_override_has_cheap_families(void);

/* A sync of a log has failed since store_override_prepare(), in whatever thread: what later ones say proves nothing. */
bool store_override_log_is_broken(void);

/* Between override.c, crc32c_hw.c, noopts.c and logsync.c. */
void store_crc_prepare(void);
bool store_crc_is_fast(void);
bool store_noopts_is_called(void);
void store_logsync_prepare(void);
bool store_logsync_is_broken(void);
