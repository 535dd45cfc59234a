#include "libmq/client/failure.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "libmq/wire/codes.h"

int mq_failure_local(struct mq_failure *f, int r, const char *fmt, ...)
{
	va_list ap;

	if (!f)
		return r;
	*f = (struct mq_failure){ .r = r, .stage = MQ_STAGE_LOCAL };
	va_start(ap, fmt);
	vsnprintf(f->why, sizeof f->why, fmt, ap);
	va_end(ap);
	return r;
}

int mq_failure_at(struct mq_failure *f, int r, enum mq_stage stage, enum mq_hop_kind hop, const char *where,
		  const char *fmt, ...)
{
	va_list ap;

	if (!f)
		return r;
	*f = (struct mq_failure){ .r = r, .stage = stage, .hop = hop };
	snprintf(f->where, sizeof f->where, "%s", where);
	va_start(ap, fmt);
	vsnprintf(f->why, sizeof f->why, fmt, ap);
	va_end(ap);
	return r;
}

/* Apache appends "\nSee https://rocketmq.apache.org/... for further details." to many remarks: no help in a
 * one-line error. */
static size_t remark_length(struct mq_slice remark)
{
	static const char faq[] = "See https://rocketmq.apache.org";
	size_t n = remark.n;
	const char *at = n ? memmem(remark.p, n, faq, sizeof faq - 1) : NULL;

	if (at)
		n = (size_t)(at - remark.p);
	while (n > 0 && (isspace((unsigned char)remark.p[n - 1]) || remark.p[n - 1] == ','))
		n--;
	return n;
}

int mq_failure_answer(struct mq_failure *f, enum mq_hop_kind hop, const char *where,
		      const struct mq_command *answer)
{
	int r = mq_answer_errno(answer->code);
	const char *name = mq_response_name(answer->code);
	size_t n = remark_length(answer->remark);
	char number[32];

	if (!f)
		return r;
	snprintf(number, sizeof number, "code %d", answer->code);
	if (n > 0)
		mq_failure_at(f, r, MQ_STAGE_ANSWER, hop, where, "%s: %.*s", name ? name : number, (int)n,
			      answer->remark.p);
	else
		mq_failure_at(f, r, MQ_STAGE_ANSWER, hop, where, "%s", name ? name : number);
	f->code = answer->code;
	for (char *p = f->why; *p; p++)
		if (iscntrl((unsigned char)*p))
			*p = ' ';
	return r;
}

int mq_answer_errno(int code)
{
	switch (code) {
	case MQ_SUCCESS:
		return 0;
	case MQ_TOPIC_NOT_EXIST:
	case MQ_QUERY_NOT_FOUND:
	case MQ_SUBSCRIPTION_GROUP_NOT_EXIST:
	case MQ_CONSUMER_NOT_ONLINE:
		return -ENOENT;
	case MQ_NO_PERMISSION:
		return -EACCES;
	case MQ_SYSTEM_BUSY:
	case MQ_SERVICE_NOT_AVAILABLE:
	case MQ_GO_AWAY:
		return -EBUSY;
	case MQ_MESSAGE_ILLEGAL:
	case MQ_SUBSCRIPTION_PARSE_FAILED:
	case MQ_INVALID_PARAMETER:
		return -EINVAL;
	case MQ_REQUEST_CODE_NOT_SUPPORTED:
		return -ENOSYS;
	default:
		return -EREMOTEIO;
	}
}
