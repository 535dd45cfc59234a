#include "libmq/wire/json_number.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "libmq/base/bytes.h"

enum { NUMBER_TEXT_MAX = 400 }; /* bytes: the longest plain decimal of a double has 309 digits before its point */

static locale_t c_locale;

static void make_c_locale(void)
{
	c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* Runs the following strtod() and snprintf() of this thread in the C locale; returns what to go back to. */
static locale_t enter_c_locale(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_c_locale);
	return uselocale(c_locale);
}

int mq_parse_double(struct mq_slice text, double *ret)
{
	char copy[NUMBER_TEXT_MAX], *end;
	locale_t previous;
	double v;

	if (text.n == 0 || text.n >= sizeof copy)
		return -EBADMSG;
	/* strtod() also takes blanks, hexadecimal and names. */
	for (size_t i = 0; i < text.n; i++)
		if (!memchr("0123456789+-.eE", text.p[i], 15))
			return -EBADMSG;
	*mq_put_bytes(copy, text.p, text.n) = '\0';

	previous = enter_c_locale();
	v = strtod(copy, &end);
	uselocale(previous);
	if (*end != '\0' || !isfinite(v))
		return -EBADMSG;
	*ret = v;
	return 0;
}

/* "d.ddde±x" with the fewest digits that read back the same. */
static void shortest(double value, char *out, size_t size)
{
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(out, size, "%.*e", digits - 1, value);
		if (strtod(out, NULL) == value)
			return;
	}
}

/* Positions before the first digit and behind the last are zeros. */
static char *put_digits(char *p, const char *digits, int from, int to)
{
	int n = (int)strlen(digits);

	for (int i = from; i < to; i++)
		*p++ = i >= 0 && i < n ? digits[i] : '0';
	return p;
}

char *mq_format_double(double value, char ret[MQ_DOUBLE_TEXT_MAX])
{
	char text[MQ_DOUBLE_TEXT_MAX], digits[MQ_DOUBLE_TEXT_MAX], *p = ret, *d = digits;
	locale_t previous = enter_c_locale();
	int exponent, n;

	shortest(fabs(value), text, sizeof text);
	uselocale(previous);

	char *e = strchr(text, 'e');
	exponent = atoi(e + 1);
	for (char *t = text; t < e; t++)
		if (*t != '.')
			*d++ = *t;
	*d = '\0';
	n = (int)(d - digits);

	if (signbit(value))
		*p++ = '-';
	if (value != 0 && (exponent < -3 || exponent >= 7)) {
		p = mq_put8(put_digits(p, digits, 0, 1), '.');
		p = put_digits(p, digits, 1, n > 1 ? n : 2);
		sprintf(p, "E%d", exponent);
		return ret;
	}
	p = mq_put8(put_digits(p, digits, exponent < 0 ? exponent : 0, exponent + 1), '.');
	p = put_digits(p, digits, exponent + 1, n > exponent + 2 ? n : exponent + 2);
	*p = '\0';
	return ret;
}
