#include "daemons/broker/delay.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/message.h"
#include "libmq/wire/fields.h"

const char *const delay_topics[] = { DELAY_LEVEL_TOPIC, DELAY_TIMER_TOPIC, NULL };

/* ---- Levels ---- */

static int64_t delay_unit_ms(char unit)
{
	switch (unit) {
	case 's':
		return 1000;
	case 'm':
		return 60 * 1000;
	case 'h':
		return 3600 * 1000;
	case 'd':
		return 24 * 3600 * 1000;
	}
	return 0;
}

int delay_levels_parse(struct delay_levels *ret, const char *text, struct mq_error *err)
{
	const char *at = text;

	*ret = (struct delay_levels){};
	while (*at) {
		char *end = NULL;
		int64_t number, unit;

		if (ret->n == DELAY_LEVELS_MAX)
			return mq_error_set(err, -EINVAL,
					    "messageDelayLevel has more than %d levels",
					    DELAY_LEVELS_MAX);
		errno = 0;
		number = isdigit((unsigned char)*at) ? strtoll(at, &end, 10) : 0;
		unit = end ? delay_unit_ms(*end) : 0;
		if (unit == 0 || errno || __builtin_mul_overflow(number, unit, &number) ||
		    (end[1] && end[1] != ' '))
			return mq_error_set(err, -EINVAL,
					    "messageDelayLevel=%s: level %d is not a number with "
					    "s, m, h or d; levels are separated by one blank",
					    text, ret->n + 1);
		ret->after_ms[ret->n++] = number;
		at = end + 1;
		at += *at == ' ';
	}
	return ret->n > 0 ? 0 : mq_error_set(err, -EINVAL, "messageDelayLevel has no level");
}

struct delay delay_of_level(const struct broker *b, int32_t level)
{
	const struct delay_levels *levels = &b->delay_levels;

	if (level <= 0)
		return (struct delay){};
	if (level > levels->n)
		level = levels->n;
	return (struct delay){ .kind = DELAY_LEVEL,
			       .level = level,
			       .after_ms = levels->after_ms[level - 1] };
}

/* ---- Timers ---- */

/* As upstream: a time on a boundary belongs to the slot before it. */
static int64_t delay_round(int64_t at_ms, int64_t precision_ms)
{
	return at_ms % precision_ms == 0 ? at_ms - precision_ms
					 : at_ms / precision_ms * precision_ms;
}

/* When; a delay is added to now_ms. Beyond what a number can say it is INT64_MAX, which is too far
 * away. -EINVAL: no number. */
static int delay_timer_at(const struct message_marks *marks, int64_t now_ms, int64_t *ret)
{
	struct mq_slice text =
	    marks->timer_delay_sec.p ? marks->timer_delay_sec : marks->timer_delay_ms;
	int64_t number, unit = marks->timer_delay_sec.p ? 1000 : 1;

	if (!text.p)
		return mq_parse_i64(marks->timer_deliver_ms, ret) < 0 ? -EINVAL : 0;
	if (mq_parse_i64(text, &number) < 0)
		return -EINVAL;
	if (number < 0)
		*ret = 0;
	else if (__builtin_mul_overflow(number, unit, &number) ||
		 __builtin_add_overflow(number, now_ms, ret))
		*ret = INT64_MAX;
	return 0;
}

static int delay_read_timer(const struct broker *b, const struct message_marks *marks,
			    int64_t now_ms, struct delay *ret)
{
	const struct broker_config *config = &b->config;
	int64_t at_ms;
	int r;

	if (!config->timerWheelEnable)
		return -EOPNOTSUPP;
	r = delay_timer_at(marks, now_ms, &at_ms);
	if (r < 0)
		return r;
	if (at_ms <= now_ms)
		return marks->timer_del_uniq_key.p ? -EINVAL : 0;
	if (at_ms - now_ms > config->timerMaxDelaySec)
		return -EINVAL;
	ret->kind = DELAY_TIMER;
	ret->at_ms = at_ms;
	ret->out_ms = delay_round(at_ms, config->timerPrecisionMs);
	/* A recall comes before everything that it is about. */
	if (marks->timer_del_uniq_key.p)
		ret->at_ms = ret->out_ms;
	return 0;
}

int delay_read(const struct broker *b, const struct message_marks *marks, int64_t now_ms,
	       struct delay *ret)
{
	int32_t level = 0;

	*ret = (struct delay){};
	if (marks->delay_level.p && mq_parse_i32(marks->delay_level, &level) < 0)
		return -EBADMSG;
	if (level > 0) {
		*ret = delay_of_level(b, level);
		return 0;
	}
	if (!marks->timer_delay_sec.p && !marks->timer_delay_ms.p && !marks->timer_deliver_ms.p)
		return 0;
	/* Delivered once: it is not delayed again. */
	return marks->timer_out_ms.p ? 0 : delay_read_timer(b, marks, now_ms, ret);
}

/* ---- Waiting ---- */

void delay_redirect(const struct delay *delay, struct mq_record *rec,
		    struct message_additions *more)
{
	bool is_level = delay->kind == DELAY_LEVEL;

	more->delay = delay;
	more->real_topic = rec->topic;
	more->real_queue_id = rec->queue_id;
	rec->topic = is_level ? MQ_SLICE(DELAY_LEVEL_TOPIC) : MQ_SLICE(DELAY_TIMER_TOPIC);
	rec->queue_id = is_level ? delay->level - 1 : 0;
}

void delay_arm(const struct delay *delay, struct store_record *record)
{
	record->due_kind = STORE_DUE_MESSAGE;
	record->due_at_ms = delay->at_ms;
	record->due_after_ms = delay->after_ms;
}
