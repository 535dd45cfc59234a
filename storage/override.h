/* Two functions of librocksdb 7.8 that the executable replaces, because the library calls them through its symbol table.
 *
 * crc32c_hw.c: CRC32C with SSE4.2 and carry-less multiplication; the distribution's build has the table version only (a third of
 * the write path's CPU). noopts.c: no rewriting of the informational OPTIONS file whenever a family is made or dropped, which
 * takes 1 s and holds all writers at 1,000 families.
 *
 * Both lean on the binary interface of one library version, so they are compiled for exactly that version and machine only. Each
 * notes when the library itself has called it: that, and not the presence of the symbol, says that it is in effect. */
#pragma once

#include <stdbool.h>

/* Chooses hardware or table for CRC32C after comparing both on every length up to several blocks. Call before the database is
 * opened; harmless to repeat. */
void store_override_prepare(void);

/* The library has called ours since the process began, and ours uses the hardware. */
bool store_override_has_fast_crc(void);
/* The library has called ours since the process began. */
bool store_override_has_cheap_families(void);

/* Between override.c, crc32c_hw.c and noopts.c. */
void store_crc_prepare(void);
bool store_crc_is_fast(void);
bool store_noopts_is_called(void);
