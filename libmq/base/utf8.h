/* UTF-8 as Java writes it: no longer forms than need be, no surrogates, nothing beyond U+10FFFF. */
#pragma once

#include "libmq/base/slice.h"

/* Length in bytes of the valid UTF-8 sequence at p, or 0. */
unsigned mq_utf8_length(const char *p, const char *end);
/* Writes a code point below 0x110000 that is no surrogate; returns the position behind (at most 4 bytes). */
char *mq_utf8_put(char *out, unsigned c);
/* Reads the sequence at p, whose length mq_utf8_length() gave. */
unsigned mq_utf8_get(const char *p, unsigned n);
/* Is all of it UTF-8? */
bool mq_utf8_is(struct mq_slice text);
