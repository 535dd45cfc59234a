#include "daemons/broker/java_number.h"

#include <math.h>
#include <stdlib.h>

enum { DOUBLE_TEXT_MAX = 500 }; /* bytes */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex_digit(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool java_parse_int(struct mq_slice text, int64_t min, int64_t max, int64_t *ret)
{
	bool is_negative = text.n > 0 && text.p[0] == '-';
	size_t i = text.n > 0 && (is_negative || text.p[0] == '+');
	__int128 v = 0;

	if (i == text.n)
		return false;
	for (; i < text.n; i++) {
		if (!is_digit(text.p[i]) || v > INT64_MAX)
			return false;
		v = v * 10 + (text.p[i] - '0');
	}
	if (is_negative)
		v = -v;
	if (v < min || v > max)
		return false;
	*ret = (int64_t)v;
	return true;
}

/* ---- Double.valueOf() ---- */

static size_t skip(const char *p, size_t i, bool (*is)(char c))
{
	while (is(p[i]))
		i++;
	return i;
}

/* Digits, a point, digits; at least one digit. `p` ends with NUL. 0: not so. */
static size_t skip_mantissa(const char *p, size_t i, bool (*is)(char c))
{
	size_t begin = i, end = skip(p, i, is), n = end - begin;

	if (p[end] == '.') {
		size_t fraction = end + 1;

		end = skip(p, fraction, is);
		n += end - fraction;
	}
	return n > 0 ? end : 0;
}

/* A sign and digits. 0: not so. */
static size_t skip_exponent(const char *p, size_t i)
{
	size_t digits = i + (p[i] == '+' || p[i] == '-'), end = skip(p, digits, is_digit);

	return end > digits ? end : 0;
}

/* What Java takes, beside names: strtod() would take more, but not the suffix. */
static bool is_double(const char *p)
{
	bool is_hex;
	size_t i = p[0] == '+' || p[0] == '-';

	is_hex = p[i] == '0' && (p[i + 1] == 'x' || p[i + 1] == 'X');
	i = skip_mantissa(p, is_hex ? i + 2 : i, is_hex ? is_hex_digit : is_digit);
	if (i == 0)
		return false;
	if (is_hex ? p[i] == 'p' || p[i] == 'P' : p[i] == 'e' || p[i] == 'E')
		i = skip_exponent(p, i + 1);
	else if (is_hex)
		return false;
	if (i == 0)
		return false;
	if (p[i] && strchr("fFdD", p[i]))
		i++;
	return p[i] == '\0';
}

/* String.trim() */
static struct mq_slice trim(struct mq_slice s)
{
	while (s.n > 0 && (unsigned char)s.p[0] <= ' ')
		s = (struct mq_slice){ s.p + 1, s.n - 1 };
	while (s.n > 0 && (unsigned char)s.p[s.n - 1] <= ' ')
		s.n--;
	return s;
}

bool java_parse_double(struct mq_slice text, double *ret)
{
	char copy[DOUBLE_TEXT_MAX + 1];
	struct mq_slice s = trim(text);
	bool is_signed = s.n > 0 && (s.p[0] == '+' || s.p[0] == '-'), is_negative = is_signed && s.p[0] == '-';
	struct mq_slice name = { s.p + is_signed, s.n - is_signed };

	if (s.n > DOUBLE_TEXT_MAX)
		return false;
	if (mq_slice_is(name, "NaN") || mq_slice_is(name, "Infinity")) {
		*ret = name.n == 3 ? NAN : is_negative ? -INFINITY : INFINITY;
		return true;
	}
	if (s.n > 0)
		memcpy(copy, s.p, s.n);
	copy[s.n] = '\0';
	if (memchr(copy, '\0', s.n) || !is_double(copy))
		return false;
	*ret = strtod(copy, NULL);
	return true;
}

int java_compare_double(double a, double b)
{
	if (a < b)
		return -1;
	if (a > b)
		return 1;
	if (isnan(a) || isnan(b))
		return isnan(a) - isnan(b);
	return !!signbit(b) - !!signbit(a);
}
