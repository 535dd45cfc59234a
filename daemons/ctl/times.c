#include "daemons/ctl/times.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int times_parse_duration(const char *text, int64_t *ret)
{
	static const struct {
		const char *unit;
		double ms;
	} units[] = { { "", 1000 },    { "ms", 1 },	{ "s", 1000 },	 { "m", 60e3 },
		      { "min", 60e3 }, { "h", 3600e3 }, { "d", 86400e3 } };
	char *end;
	double n;

	if (!(*text >= '0' && *text <= '9') && *text != '.')
		return -EINVAL;
	n = strtod(text, &end);
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		if (strcmp(end, units[i].unit) != 0)
			continue;
		n *= units[i].ms;
		if (!(n >= 0 && n < 1e15))
			return -EINVAL;
		*ret = llround(n);
		return 0;
	}
	return -EINVAL;
}

static int64_t midnight(int64_t now_ms, int days)
{
	time_t s = (time_t)(now_ms / 1000);
	struct tm tm;

	localtime_r(&s, &tm);
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_mday += days;
	tm.tm_isdst = -1;
	return (int64_t)mktime(&tm) * 1000;
}

static int parse_ago(const char *text, int64_t now_ms, int64_t *ret)
{
	char number[32];
	const char *blank = strstr(text, " ago");
	size_t n;
	int64_t ms;

	if (*text == '-')
		text++;
	else if (!blank || blank[4])
		return -EINVAL;
	n = blank ? (size_t)(blank - text) : strlen(text);
	if (n == 0 || n >= sizeof number)
		return -EINVAL;
	memcpy(number, text, n);
	number[n] = '\0';
	if (times_parse_duration(number, &ms) < 0)
		return -EINVAL;
	*ret = now_ms - ms;
	return 0;
}

static int parse_epoch(const char *text, int64_t *ret)
{
	int64_t unit = 1;
	char *end;

	if (*text == '@') {
		text++;
		unit = 1000;
	} else if (strlen(text) != 13) {
		return -EINVAL;
	}
	if (strspn(text, "0123456789") != strlen(text) || !*text || strlen(text) > 13)
		return -EINVAL;
	*ret = strtoll(text, &end, 10) * unit;
	return 0;
}

/* Reads "HH:MM[:SS[.mmm]]"; returns what follows, or NULL. */
static const char *read_clock(const char *p, struct tm *tm, int *ret_ms)
{
	double seconds = 0;
	char *end;
	int n = 0;

	if (sscanf(p, "%2d:%2d%n", &tm->tm_hour, &tm->tm_min, &n) != 2 || n < 4 || tm->tm_hour < 0 ||
	    tm->tm_min < 0)
		return NULL;
	p += n;
	if (*p == ':') {
		if (p[1] < '0' || p[1] > '9')
			return NULL;
		seconds = strtod(p + 1, &end);
		if (end - p > 7)
			return NULL;
		p = end;
	}
	if (tm->tm_hour > 23 || tm->tm_min > 59 || seconds >= 60)
		return NULL;
	tm->tm_sec = (int)seconds;
	*ret_ms = (int)lround((seconds - tm->tm_sec) * 1000);
	return p;
}

/* "", "Z", "+01:00", "-0530". Seconds east of UTC; *ret_is_local for "". */
static int read_zone(const char *p, long *ret_east, int *ret_is_local)
{
	int hours, minutes, n = 0;

	*ret_is_local = *p == '\0';
	*ret_east = 0;
	if (*p == '\0' || strcmp(p, "Z") == 0)
		return 0;
	if (*p != '+' && *p != '-')
		return -EINVAL;
	if ((sscanf(p + 1, "%2d:%2d%n", &hours, &minutes, &n) != 2 &&
	     sscanf(p + 1, "%2d%2d%n", &hours, &minutes, &n) != 2) ||
	    p[1 + n] || hours < 0 || hours > 18 || minutes < 0 || minutes > 59)
		return -EINVAL;
	*ret_east = (hours * 3600L + minutes * 60L) * (*p == '-' ? -1 : 1);
	return 0;
}

static int parse_calendar(const char *text, int64_t now_ms, int64_t *ret)
{
	time_t now = (time_t)(now_ms / 1000);
	struct tm tm;
	const char *p = text;
	long east;
	int n = 0, ms = 0, is_local, year, month, day;
	time_t s;

	localtime_r(&now, &tm);
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	if (sscanf(p, "%4d-%2d-%2d%n", &year, &month, &day, &n) == 3 && n >= 8) {
		if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31)
			return -EINVAL;
		tm.tm_year = year - 1900;
		tm.tm_mon = month - 1;
		tm.tm_mday = day;
		p += n;
		if (*p == 'T' || *p == ' ')
			p = read_clock(p + 1, &tm, &ms);
	} else {
		p = read_clock(p, &tm, &ms);
	}
	if (!p || read_zone(p, &east, &is_local) < 0)
		return -EINVAL;
	tm.tm_isdst = -1;
	s = is_local ? mktime(&tm) : timegm(&tm) - east;
	*ret = (int64_t)s * 1000 + ms;
	return 0;
}

int times_parse(const char *text, int64_t now_ms, int64_t *ret)
{
	if (strcmp(text, "now") == 0)
		*ret = now_ms;
	else if (strcmp(text, "today") == 0)
		*ret = midnight(now_ms, 0);
	else if (strcmp(text, "yesterday") == 0)
		*ret = midnight(now_ms, -1);
	else if (parse_ago(text, now_ms, ret) < 0 && parse_epoch(text, ret) < 0 &&
		 parse_calendar(text, now_ms, ret) < 0)
		return -EINVAL;
	return 0;
}

static char *format(int64_t ms, const struct tm *tm, const char *pattern, const char *end, char *ret)
{
	size_t n = strftime(ret, TIMES_TEXT_MAX, pattern, tm);

	snprintf(ret + n, TIMES_TEXT_MAX - n, ".%03d%s", (int)(ms % 1000), end);
	return ret;
}

char *times_format(int64_t ms, char ret[TIMES_TEXT_MAX])
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;

	localtime_r(&s, &tm);
	return format(ms, &tm, "%Y-%m-%d %H:%M:%S", "", ret);
}

char *times_format_utc(int64_t ms, char ret[TIMES_TEXT_MAX])
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;

	gmtime_r(&s, &tm);
	return format(ms, &tm, "%Y-%m-%dT%H:%M:%S", "Z", ret);
}

char *times_format_duration(int64_t ms, char ret[TIMES_TEXT_MAX])
{
	int64_t s = ms / 1000;

	if (s < 60)
		snprintf(ret, TIMES_TEXT_MAX, "%.1fs", (double)ms / 1000);
	else if (s < 3600)
		snprintf(ret, TIMES_TEXT_MAX, "%dm %ds", (int)(s / 60), (int)(s % 60));
	else if (s < 86400)
		snprintf(ret, TIMES_TEXT_MAX, "%dh %dm", (int)(s / 3600), (int)(s / 60 % 60));
	else
		snprintf(ret, TIMES_TEXT_MAX, "%lldd %dh", (long long)(s / 86400), (int)(s / 3600 % 24));
	return ret;
}
