/* Fractional numbers of JSON, whatever the program's locale is. Any thread. */
#pragma once

#include "libmq/base/slice.h"

enum { MQ_DOUBLE_TEXT_MAX = 32 }; /* bytes of a double in Java's notation, NUL included */

/* 0, or -EBADMSG when the text is not wholly a finite decimal number. */
int mq_parse_double(struct mq_slice text, double *ret);

/* As Double.toString() writes a finite number: the fewest digits that read back the same, at least one on each side of
 * the point, "1.0E10" from 10^7 on and below 10^-3. Returns ret. */
char *mq_format_double(double value, char ret[MQ_DOUBLE_TEXT_MAX]);
