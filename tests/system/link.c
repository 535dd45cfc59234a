#include "tests/system/link.h"

#include <errno.h>
#include <event2/buffer.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libmq/base/cleanup.h"
#include "libmq/wire/codes.h"
#include "libmq/wire/fields.h"

DEFINE_CLEANUP(struct evbuffer *, evbuffer_free)

enum { ANSWER_MS = 30000 }; /* patience with one answer */

void fail(const char *what, const char *detail)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, detail);
	exit(1);
}

bool link_open(struct link *l)
{
	struct mq_error err;
	int error = 0;
	socklen_t size = sizeof error;

	l->fd = mq_address_connect(&l->address, &err);
	if (l->fd < 0)
		return false;
	struct pollfd p = { .fd = l->fd, .events = POLLOUT };
	if (poll(&p, 1, ANSWER_MS) != 1 || getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error) {
		close(l->fd);
		return false;
	}
	mq_frame_reader_init(&l->reader, MQ_FRAME_MAX_DEFAULT);
	l->rest = (struct mq_slice){};
	return true;
}

void link_close(struct link *l)
{
	close(l->fd);
	mq_frame_reader_done(&l->reader);
}

bool link_send(struct link *l, const struct mq_command *cmd)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();

	if (!out || mq_command_encode(cmd, NULL, out) < 0)
		fail("encode", "out of memory");
	while (evbuffer_get_length(out) > 0) {
		struct pollfd p = { .fd = l->fd, .events = POLLOUT };

		if (poll(&p, 1, ANSWER_MS) != 1)
			return false;
		if (evbuffer_write(out, l->fd) < 0 && errno != EAGAIN)
			return false;
	}
	return true;
}

int link_receive(struct link *l, struct mq_command *cmd, int timeout_ms, struct mq_frame **ret)
{
	struct mq_error err;

	for (;;) {
		int r = mq_frame_reader_next(&l->reader, &l->rest, ret);
		if (r < 0)
			fail("broken frame from the broker", strerror(-r));
		if (r > 0)
			break;

		struct pollfd p = { .fd = l->fd, .events = POLLIN };
		if (poll(&p, 1, timeout_ms) != 1)
			return 0;
		ssize_t n = recv(l->fd, l->chunk, sizeof l->chunk, 0);
		if (n <= 0)
			return -1;
		l->rest = (struct mq_slice){ l->chunk, (size_t)n };
	}
	if (mq_command_decode(cmd, *ret, &err) < 0)
		fail("broken header from the broker", err.text);
	return 1;
}

struct mq_frame *link_answer(struct link *l, struct mq_command *cmd)
{
	struct mq_frame *frame = NULL;

	return link_receive(l, cmd, ANSWER_MS, &frame) > 0 ? frame : NULL;
}

int64_t link_i64(const struct mq_command *cmd, const char *name)
{
	const struct mq_slice *v = mq_command_field(cmd, name);
	int64_t value;

	if (!v || mq_parse_i64(*v, &value) < 0)
		fail("the broker's request or answer lacks", name);
	return value;
}

static void pull_command(struct mq_command *cmd, const char *topic, int queue, int64_t offset)
{
	mq_command_request(cmd, MQ_PULL_MESSAGE);
	mq_command_add(cmd, "consumerGroup", MQ_SLICE("ledger"));
	mq_command_add(cmd, "topic", mq_slice_of(topic));
	mq_command_add_i64(cmd, "queueId", queue);
	mq_command_add_i64(cmd, "queueOffset", offset);
	mq_command_add(cmd, "maxMsgNums", MQ_SLICE("32"));
	mq_command_add(cmd, "sysFlag", MQ_SLICE("4")); /* the subscription is in the header */
	mq_command_add(cmd, "commitOffset", MQ_SLICE("0"));
	mq_command_add(cmd, "suspendTimeoutMillis", MQ_SLICE("0"));
	mq_command_add(cmd, "subscription", MQ_SLICE("*"));
	mq_command_add(cmd, "subVersion", MQ_SLICE("0"));
}

void link_read_queue(struct link *l, const char *topic, int queue, void (*on_record)(const struct mq_record *r, void *user), void *user)
{
	struct mq_command cmd;
	int64_t offset = 0;

	for (;;) {
		pull_command(&cmd, topic, queue, offset);
		if (!link_send(l, &cmd))
			fail("pull", "connection lost");
		_cleanup_(mq_frame_unrefp) struct mq_frame *frame = link_answer(l, &cmd);
		if (!frame)
			fail("pull", "connection lost");
		if (cmd.code == MQ_PULL_NOT_FOUND || cmd.code == MQ_TOPIC_NOT_EXIST)
			return;
		if (cmd.code != MQ_SUCCESS)
			fail("pull answered", mq_response_name(cmd.code));

		for (struct mq_slice rest = cmd.body; rest.n > 0; offset++) {
			struct mq_record r;
			int size = mq_record_decode(rest, &r);

			if (size < 0)
				fail("pull", "broken record");
			on_record(&r, user);
			rest.p += size;
			rest.n -= (size_t)size;
		}
	}
}
