/* How a failure is told: which hop, why, what to change; and the exit code that goes with it. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "daemons/ctl/ctl.h"
#include "libmq/wire/codes.h"

static const char *connect_hint(const struct mq_failure *f)
{
	bool is_unix = strstr(f->where, "unix:");

	switch (-f->r) {
	case ECONNREFUSED:
	case ENOENT:
		if (f->hop == MQ_HOP_NAMESRV)
			return "is mq-namesrvd running? start it with 'systemctl start mq-namesrvd.socket' "
			       "or name another with -n";
		return "is mq-brokerd running? start it with 'systemctl start mq-brokerd.socket'";
	case EACCES:
	case EPERM:
		return is_unix ? "only members of group mqd may use the local socket: add yourself with "
				 "'usermod -aG mqd USER' or use TCP "
				 "with -n HOST:PORT"
			       : NULL;
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
		if (f->hop == MQ_HOP_BROKER)
			return "the address comes from the broker's brokerIP1: can it be reached from here?";
		return "check the address and the firewall";
	default:
		return NULL;
	}
}

static const char *answer_hint(const struct mq_failure *f)
{
	switch (f->code) {
	case MQ_TOPIC_NOT_EXIST:
		return "create it with 'mqctl topic create', see 'mqctl topic list'";
	case MQ_SUBSCRIPTION_GROUP_NOT_EXIST:
		return "see 'mqctl group list'";
	case MQ_NO_PERMISSION:
		return "see the permissions with 'mqctl topic describe' and the broker's brokerPermission";
	case MQ_SYSTEM_BUSY:
		return "the broker is overloaded: try again, or send less";
	case MQ_SERVICE_NOT_AVAILABLE:
		return "the broker takes no messages now: see 'systemctl status mq-brokerd' and the free "
		       "disk space";
	case MQ_REQUEST_CODE_NOT_SUPPORTED:
		return "this server does not serve the request: is it the right address?";
	default:
		return NULL;
	}
}

static const char *failure_hint(const struct mq_failure *f)
{
	switch (f->stage) {
	case MQ_STAGE_CONNECT:
		return connect_hint(f);
	case MQ_STAGE_EXCHANGE:
		if (f->r == -ETIMEDOUT)
			return "raise --timeout, or see whether the server is overloaded";
		return "is this a RocketMQ server, and is it still running?";
	case MQ_STAGE_ANSWER:
		return answer_hint(f);
	default:
		if (f->r == -EACCES)
			return "see its permission with 'mqctl topic list', and brokerPermission of its brokers";
		return f->r == -EDESTADDRREQ ? "leave out -b, or name one with -n" : NULL;
	}
}

const char *failure_text(const struct mq_failure *f, bool with_hint, char ret[FAILURE_TEXT_MAX])
{
	const char *hint = with_hint ? failure_hint(f) : NULL;

	snprintf(ret, FAILURE_TEXT_MAX, "%s%s%s%s%s", f->where, *f->where ? ": " : "", f->why,
		 hint ? ": " : "", hint ? hint : "");
	return ret;
}

int failure_exit_code(const struct mq_failure *f)
{
	if (f->r == -EINTR)
		return EXIT_INTERRUPTED;
	if (f->r == -EACCES || f->r == -EPERM)
		return EX_NOPERM;
	if (f->r == -ETIMEDOUT && f->stage != MQ_STAGE_CONNECT)
		return EX_TEMPFAIL;

	switch (f->stage) {
	case MQ_STAGE_CONNECT:
		return f->r == -EINVAL ? EX_USAGE : EX_UNAVAILABLE;
	case MQ_STAGE_EXCHANGE:
		return EX_UNAVAILABLE;
	case MQ_STAGE_ANSWER:
		if (f->r == -EBUSY)
			return EX_TEMPFAIL;
		if (f->r == -EBADMSG)
			return EX_PROTOCOL;
		return f->r == -ENOENT ? EX_NOINPUT : EXIT_FAILED;
	default:
		if (f->r == -ENOENT)
			return EX_NOINPUT;
		if (f->r == -ENOMEM)
			return EX_OSERR;
		return f->r == -EINVAL || f->r == -EDESTADDRREQ || f->r == -EMSGSIZE ? EX_USAGE : EXIT_FAILED;
	}
}

int ctl_fail(const struct ctl *ctl, const struct mq_failure *f)
{
	char text[FAILURE_TEXT_MAX];

	if (f->r != -EINTR)
		fprintf(stderr, "mqctl: %s\n", failure_text(f, true, text));
	return failure_exit_code(f);
}

int ctl_error(int code, const char *fmt, ...)
{
	va_list ap;

	fputs("mqctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return code;
}

int ctl_usage(const struct verb *verb, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "mqctl %s: ", verb->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nTry 'mqctl %s --help'.\n", verb->name);
	return EX_USAGE;
}

int ctl_no_memory(void)
{
	return ctl_error(EX_OSERR, "out of memory");
}

int ctl_print(const struct ctl *ctl, struct table *t)
{
	if (table_print(t, ctl->format, stdout) < 0)
		return ctl_no_memory();
	if (fflush(stdout) == 0)
		return 0;
	return errno == EPIPE ? 0 : ctl_error(EX_IOERR, "cannot write to standard output: %s", strerror(errno));
}
