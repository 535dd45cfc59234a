/* Points in time and durations as people write them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* "500ms", "10s", "5m", "2h", "3d", "1.5s"; a bare number is seconds. Milliseconds in *ret; -EINVAL. */
int times_parse_duration(const char *text, int64_t *ret);

/* A point in time, ms since 1970, from: "now"; "-10m" or "10m ago"; "@1764000000" (seconds) and 13 digits
 * (milliseconds); "today", "yesterday" (midnight); "12:30[:15]" (today); "2026-01-31[T12:30[:15[.250]]]"
 * with a blank for the T, local time unless it ends in "Z" or "+01:00". -EINVAL. */
int times_parse(const char *text, int64_t now_ms, int64_t *ret);

enum { TIMES_TEXT_MAX = 32 };
/* "2026-01-31 12:30:15.250", local time; returns ret. */
char *times_format(int64_t ms, char ret[TIMES_TEXT_MAX]);
/* "2026-01-31T12:30:15.250Z"; returns ret. */
char *times_format_utc(int64_t ms, char ret[TIMES_TEXT_MAX]);
/* "3d 4h", "5m 2s": for people; returns ret. */
char *times_format_duration(int64_t ms, char ret[TIMES_TEXT_MAX]);
