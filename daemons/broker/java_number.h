/* Numbers as Java reads and compares them. Any thread. */
#pragma once

#include <stdint.h>

#include "libmq/base/slice.h"

/* Integer.valueOf(), Long.valueOf() by the bounds. False: NumberFormatException. */
bool java_parse_int(struct mq_slice text, int64_t min, int64_t max, int64_t *ret);
/* Double.valueOf(); false: NumberFormatException. A text of more than 500 bytes is none here. */
bool java_parse_double(struct mq_slice text, double *ret);
/* Double.compare(): NaN is the greatest and equal to itself, -0.0 is less than 0.0. */
int java_compare_double(double a, double b);
