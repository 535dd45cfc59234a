/* Configuration and runtime information (AdminBrokerProcessor; requests-broker.md 5.5). */
#include <errno.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/reply.h"
#include "daemons/broker/stats.h"
#include "daemons/common/properties.h"
#include "libmq/wire/body_topics.h"
#include "libmq/wire/codes.h"

enum { CONFIG_VALUE_MAX = 4096 }; /* bytes of one value */

/* ---- 26 ---- */

/* As RocketMQ writes it: sizes and durations are bare numbers in the key's unit. */
static size_t config_format(const struct option_line *line, const struct broker_config *config,
			    char ret[CONFIG_VALUE_MAX])
{
	int64_t unit = line->unit ? line->unit : 1;
	int n;

	if (line->type == OPTION_SIZE || line->type == OPTION_DURATION) {
		int64_t value = *(const int64_t *)((const char *)config + line->offset);

		if (value % unit == 0)
			return (size_t)snprintf(ret, CONFIG_VALUE_MAX, "%" PRId64, value / unit);
	}
	n = options_format(line, config, ret, CONFIG_VALUE_MAX);
	return n < CONFIG_VALUE_MAX ? (size_t)n : CONFIG_VALUE_MAX - 1;
}

static int config_write(const struct broker_config *config, struct evbuffer *out)
{
	char value[CONFIG_VALUE_MAX];
	int r = 0;

	for (unsigned i = 0; i < broker_options.n_lines && r == 0; i++) {
		const struct option_line *line = &broker_options.lines[i];

		if (line->type == OPTION_IGNORED)
			continue;
		r = properties_add(out, line->key, (struct mq_slice){ value, config_format(line, config, value) });
	}
	return r;
}

int handle_get_broker_config(struct mq_request *req)
{
	struct broker *b = req->server;
	struct mq_command answer;
	struct evbuffer *body;
	/* The configuration cannot be changed from outside: its version is that of the start. */
	struct mq_data_version version = { .timestamp = b->started_at_ms };
	char text[MQ_DATA_VERSION_TEXT];
	int r;

	body = evbuffer_new();
	if (!body)
		return -ENOMEM;
	r = config_write(&b->config, body);
	if (r == 0) {
		mq_request_answer(req, &answer, MQ_SUCCESS);
		mq_command_add(&answer, "version", mq_data_version_text(&version, text));
		r = mq_reply(req, &answer, body);
	}
	evbuffer_free(body);
	return r;
}

/* ---- 28 ---- */

struct runtime_job {
	struct mq_request *req;
	struct evbuffer *out; /* owned */
	int r;
};

static void runtime_work(void *arg)
{
	struct runtime_job *job = arg;
	struct broker *b = job->req->server;

	job->r = stats_encode_runtime(b->stats, job->out);
}

static void runtime_done(void *arg)
{
	struct runtime_job *job = arg;

	if (job->r < 0) {
		(void)mq_reply_code(job->req, MQ_SYSTEM_ERROR, "%s", strerror(-job->r));
		evbuffer_free(job->out);
	} else {
		(void)reply_body(job->req, job->out, 0);
	}
	free(job);
}

int handle_get_broker_runtime_info(struct mq_request *req)
{
	struct broker *b = req->server;
	struct runtime_job *job = calloc(1, sizeof *job);
	int r = -ENOMEM;

	if (!job)
		return r;
	job->req = req;
	job->out = evbuffer_new();
	if (job->out)
		r = broker_offload(b, req->conn, runtime_work, runtime_done, job);
	if (r == 0)
		return MQ_REQUEST_PENDING;
	if (job->out)
		evbuffer_free(job->out);
	free(job);
	return r;
}
