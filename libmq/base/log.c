#include "libmq/base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

enum {
	LOG_TEXT_MAX = 2048, /* bytes of one sentence; the rest is cut */
	LOG_FIELDS_MAX = 24, /* extra fields of one line; more are left out */
};

/* Written by mq_log_init() before threads start. */
static const char *log_identifier = "mqd";
static bool log_to_journal;

/* JOURNAL_STREAM alone proves nothing: it is inherited by children whose standard error was redirected. */
static bool log_stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, inode;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &inode) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
	       st.st_dev == dev && st.st_ino == inode;
}

void mq_log_init(const char *identifier)
{
	log_identifier = identifier;
	log_to_journal = log_stderr_is_journal();
}

/* One write, so that lines of different threads do not mix. Text of peers may be in it: a newline would make a line of
 * its own, an escape character could do anything to a terminal. */
static void log_stderr(int priority, char *text, size_t n)
{
	char prefix[] = { '<', (char)('0' + (priority & LOG_PRIMASK)), '>' };
	struct iovec iov[] = { { prefix, sizeof prefix }, { text, n }, { "\n", 1 } };

	for (char *p = text; p < text + n; p++)
		if ((unsigned char)*p < ' ')
			*p = ' ';
	if (writev(STDERR_FILENO, iov, N_ELEMENTS(iov)) < 0)
		return; /* nowhere left to say so */
}

static int log_journal(int priority, const char *message_id, const char *const *fields, const char *text)
{
	char message[LOG_TEXT_MAX + sizeof "MESSAGE="];
	char identifier[128], level[16], id[64];
	struct iovec iov[LOG_FIELDS_MAX + 4];
	int n = 0;

#define FIELD(buffer, ...)                                                           \
	do {                                                                         \
		snprintf(buffer, sizeof(buffer), __VA_ARGS__);                       \
		iov[n++] = (struct iovec){ buffer, strlen(buffer) };                 \
	} while (0)
	FIELD(message, "MESSAGE=%s", text);
	FIELD(level, "PRIORITY=%d", priority & LOG_PRIMASK);
	FIELD(identifier, "SYSLOG_IDENTIFIER=%s", log_identifier);
	if (message_id)
		FIELD(id, "MESSAGE_ID=%s", message_id);
#undef FIELD

	for (unsigned i = 0; fields && fields[i] && i < LOG_FIELDS_MAX; i++)
		iov[n++] = (struct iovec){ (void *)(uintptr_t)fields[i], strlen(fields[i]) };
	return sd_journal_sendv(iov, n);
}

void mq_log_fields(int priority, const char *message_id, const char *const *fields, const char *fmt, ...)
{
	char text[LOG_TEXT_MAX];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;

	if (log_to_journal && log_journal(priority, message_id, fields, text) >= 0)
		return;
	log_stderr(priority, text, strlen(text));
}
