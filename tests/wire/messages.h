/* Sending, pulling and looking at messages, for the wire tests of the broker.
 * The functions are inline so that each test uses what it needs. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "libmq/base/bytes.h"
#include "libmq/base/clock.h"
#include "libmq/wire/codes.h"
#include "libmq/wire/message_properties.h"
#include "libmq/wire/record.h"
#include "tests/wire/harness.h"

#define FAQ "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
#define FOREVER "9223372036854775807"

/* One daemon for most tests of a file, each of which uses topics of its own; one connection per test. */
static struct harness_daemon *daemon_;

static inline int open_peer(void **state)
{
	if (daemon_->pid == 0) /* a test that failed had stopped it */
		harness_restart(daemon_);
	*state = harness_connect_tcp(daemon_);
	return 0;
}

static inline int close_peer(void **state)
{
	*state = harness_close(*state);
	return 0;
}

static inline int stop_daemon(void **state)
{
	harness_stop(daemon_);
	daemon_ = harness_free(daemon_);
	return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, open_peer, close_peer)

/* Resident bytes of the daemon. */
static inline int64_t memory(void)
{
	char path[64];
	long pages = 0, resident = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/statm", (int)daemon_->pid);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &pages, &resident), 2);
	fclose(f);
	return resident * sysconf(_SC_PAGESIZE);
}

/* A request with a body and no fields; body NULL: without. */
static inline const struct mq_command *ask_with_body(struct harness_peer *p, int code, const char *body)
{
	struct mq_command cmd;

	harness_request(&cmd, code, NULL);
	if (body)
		cmd.body = mq_slice_of(body);
	return harness_call(p, &cmd);
}

static inline int64_t milliseconds(void)
{
	return mq_mono_ms(&mq_clock_system);
}

/* ---- Sending ---- */

/* SEND_MESSAGE_V2 as Java sends it; fields may be changed before it goes out. */
static inline void send_request(struct mq_command *cmd, const char *topic, const char *queue, const char *properties,
				struct mq_slice body)
{
	harness_request(cmd, MQ_SEND_MESSAGE_V2, "a", "pg", "b", topic, "c", "TBW102", "d", "4", "e", queue, "f", "0", "g",
			"1795472583777", "h", "0", "i", properties, "j", "0", "k", "false", "m", "false", "n", "broker-a", NULL);
	cmd->body = body;
}

/* Replaces the value of a field that is there. */
static inline void set_field(struct mq_command *cmd, const char *name, const char *value)
{
	for (unsigned i = 0; i < cmd->n_fields; i++)
		if (mq_slice_is(cmd->fields[i].name, name))
			cmd->fields[i].value = mq_slice_of(value);
}

/* Takes a field out. */
static inline void drop_field(struct mq_command *cmd, const char *name)
{
	for (unsigned i = 0; i < cmd->n_fields; i++)
		if (mq_slice_is(cmd->fields[i].name, name))
			cmd->fields[i] = cmd->fields[--cmd->n_fields];
}

static inline const struct mq_command *send_message(struct harness_peer *p, const char *topic, const char *queue,
						    const char *properties, const char *body)
{
	struct mq_command cmd;

	send_request(&cmd, topic, queue, properties, mq_slice_of(body));
	return harness_call(p, &cmd);
}

static inline void send_ok(struct harness_peer *p, const char *topic, const char *queue, const char *properties, const char *body)
{
	harness_assert_answer(send_message(p, topic, queue, properties, body), MQ_SUCCESS, NULL);
}

/* The physical offset in an answer's msgId, as text. */
static inline const char *sent_locator(const struct mq_command *answer)
{
	static char text[24];
	struct mq_host host;
	int64_t locator;

	assert_int_equal(mq_message_id_decode(mq_slice_of(harness_field(answer, "msgId")), &host, &locator), 0);
	snprintf(text, sizeof text, "%" PRIi64, locator);
	return text;
}

/* ---- Popping ---- */

/* The bornTime of a pop that does not wait, which the broker refuses half a second after that: this one has as long as the test. */
static inline const char *born_late(void)
{
	static char text[24];

	snprintf(text, sizeof text, "%" PRIi64, mq_wall_ms(&mq_clock_system) + HARNESS_DEADLINE_MS);
	return text;
}

/* ---- Pulling ---- */

static inline void pull_request(struct mq_command *cmd, const char *topic, const char *queue, const char *offset,
				const char *sys_flag, const char *expression)
{
	harness_request(cmd, MQ_PULL_MESSAGE, "consumerGroup", "cg", "topic", topic, "queueId", queue, "queueOffset", offset,
			"maxMsgNums", "32", "sysFlag", sys_flag, "commitOffset", "0", "suspendTimeoutMillis", "15000", "subscription",
			expression, "subVersion", "0", "expressionType", "TAG", NULL);
}

static inline const struct mq_command *pull(struct harness_peer *p, const char *topic, const char *queue, const char *offset)
{
	struct mq_command cmd;

	pull_request(&cmd, topic, queue, offset, "4", "*");
	return harness_call(p, &cmd);
}

/* Decodes the records of a body, all of it. */
static inline unsigned records_of(const struct mq_command *answer, struct mq_record *ret, unsigned max)
{
	struct mq_slice rest = answer->body;
	unsigned n = 0;

	while (rest.n > 0) {
		int size = mq_record_decode(rest, &ret[n]);

		assert_true(size > 0);
		assert_true(n < max);
		assert_int_equal(ret[n].body_crc, mq_body_crc(ret[n].body));
		rest = (struct mq_slice){ rest.p + size, rest.n - (size_t)size };
		n++;
	}
	return n;
}

/* Code, status, next offset and the range of the queue: the part that every pull answer has. */
static inline void assert_pull(const struct mq_command *answer, int code, const char *status, const char *next, const char *min,
			       const char *max)
{
	harness_assert_answer(answer, code, status);
	assert_string_equal(harness_field(answer, "nextBeginOffset"), next);
	assert_string_equal(harness_field(answer, "minOffset"), min);
	assert_string_equal(harness_field(answer, "maxOffset"), max);
	assert_string_equal(harness_field(answer, "suggestWhichBrokerId"), "0");
	assert_string_equal(harness_field(answer, "topicSysFlag"), "0");
	assert_string_equal(harness_field(answer, "groupSysFlag"), "0");
}

static inline void assert_slice(struct mq_slice s, const char *text)
{
	if (!mq_slice_is(s, text))
		fail_msg("\"%.*s\" is not \"%s\"", MQ_FMT(s), text);
}

static inline void assert_property(struct mq_slice properties, const char *name, const char *value)
{
	struct mq_slice found = mq_properties_get(properties, name);

	if (value)
		assert_slice(found, value);
	else
		assert_null(found.p);
}
