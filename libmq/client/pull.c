#include "libmq/client/pull.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "libmq/client/route.h"
#include "libmq/wire/body_heartbeat.h"
#include "libmq/wire/codes.h"
#include "libmq/wire/fields.h"

enum {
	PULL_MESSAGES = 32,
	RETRY_AFTER_MS = 1000,
	GRACE_MS = 15000, /* brokers look at held pulls every 5 s only, and may be slow on top: behaviour.md
			     section 11 */
};

enum pull_flag { PULL_COMMIT = 1, PULL_SUSPEND = 2, PULL_SUBSCRIPTION = 4 };

/* PULLING: a route or an answer is on its way to us. PAUSED: the retry timer runs. */
struct mq_puller {
	struct mq_client *client; /* borrowed */
	const struct mq_puller_events *events;
	void *user;
	char *topic, *broker, *group, *expression; /* owned */
	bool is_sql;
	int64_t sub_version, offset, suspend_ms;
	int32_t queue_id, max_messages;
	struct event *retry; /* owned */
	bool is_pulling;     /* a callback will come: memory must stay */
	bool is_calling;     /* inside on_batch or on_failure */
	bool is_freed;
};

static void puller_pull(struct mq_puller *p);

static void puller_destroy(struct mq_puller *p)
{
	if (p->retry)
		event_free(p->retry);
	free(p->topic);
	free(p->broker);
	free(p->group);
	free(p->expression);
	free(p);
}

/* After a callback of the user: was the puller freed in it? */
static bool puller_is_gone(struct mq_puller *p)
{
	if (!p->is_freed || p->is_pulling)
		return p->is_freed;
	puller_destroy(p);
	return true;
}

static void puller_fail(struct mq_puller *p, const struct mq_failure *f)
{
	const struct timeval pause = { .tv_sec = RETRY_AFTER_MS / 1000 };
	int r = 0;

	p->is_calling = true;
	if (p->events->on_failure)
		r = p->events->on_failure(p, f, p->user);
	p->is_calling = false;
	if (puller_is_gone(p) || r < 0)
		return;
	mq_client_forget_route(p->client, p->topic);
	(void)event_add(p->retry, &pause); /* fails only without memory: then the queue stays still until
					      the next rebalance */
}

/* The answer's header, in codes 0, 19, 20 and 21. */
#define PULL_ANSWER_FIELDS(X)                                  \
	X(i64, next_offset, "nextBeginOffset", REQUIRED)       \
	X(i64, min_offset,  "minOffset",       REQUIRED)       \
	X(i64, max_offset,  "maxOffset",       REQUIRED)
MQ_HEADER(pull_answer, PULL_ANSWER_FIELDS)

static void puller_on_answer(const struct mq_failure *f, const struct mq_command *answer, const char *where,
			     void *user)
{
	struct mq_puller *p = user;
	struct pull_answer_header h = {};
	struct mq_pull_batch batch;
	struct mq_failure failure;
	struct mq_error err;
	int r;

	p->is_pulling = false;
	if (puller_is_gone(p))
		return;
	if (f) {
		puller_fail(p, f);
		return;
	}
	switch (answer->code) {
	case MQ_SUCCESS:
	case MQ_PULL_NOT_FOUND:
	case MQ_PULL_RETRY_IMMEDIATELY:
	case MQ_PULL_OFFSET_MOVED:
		break;
	default:
		mq_failure_answer(&failure, MQ_HOP_BROKER, where, answer);
		puller_fail(p, &failure);
		return;
	}
	r = pull_answer_header_decode(&h, answer, &err);
	if (r < 0) {
		mq_failure_at(&failure, r, MQ_STAGE_ANSWER, MQ_HOP_BROKER, where, "unreadable answer: %s",
			      err.text);
		puller_fail(p, &failure);
		return;
	}

	batch = (struct mq_pull_batch){
		.code = answer->code,
		.records = answer->code == MQ_SUCCESS ? answer->body : (struct mq_slice){},
		.offset = p->offset,
		.next_offset = h.next_offset,
		.min_offset = h.min_offset,
		.max_offset = h.max_offset,
	};
	bool is_stuck = answer->code != MQ_PULL_NOT_FOUND && h.next_offset == p->offset;

	p->offset = h.next_offset;
	p->is_calling = true;
	r = p->events->on_batch(p, &batch, p->user);
	p->is_calling = false;
	if (puller_is_gone(p) || r < 0)
		return;
	if (is_stuck) {
		/* A broker that says "go on" without going on must not get us to spin. */
		const struct timeval pause = { .tv_sec = RETRY_AFTER_MS / 1000 };

		(void)event_add(p->retry, &pause);
		return;
	}
	puller_pull(p);
}

static void puller_on_route(const struct mq_failure *f, struct mq_topic_route *route, void *user)
{
	struct mq_puller *p = user;
	const struct mq_topic_broker *b;
	struct mq_failure failure;
	struct mq_command cmd;
	struct mq_hop hop;
	int flags = PULL_SUBSCRIPTION;
	int r;

	p->is_pulling = false;
	if (puller_is_gone(p))
		return;
	if (f) {
		puller_fail(p, f);
		return;
	}
	b = mq_topic_route_find(route, p->broker);
	if (!b) {
		mq_failure_local(&failure, -ENOENT, "broker %s is not in the route of topic %s", p->broker,
				 p->topic);
		puller_fail(p, &failure);
		return;
	}
	if (p->suspend_ms > 0)
		flags |= PULL_SUSPEND;
	mq_command_request(&cmd, MQ_PULL_MESSAGE);
	mq_command_add(&cmd, "consumerGroup", mq_slice_of(p->group));
	mq_command_add(&cmd, "topic", mq_slice_of(p->topic));
	mq_command_add_i64(&cmd, "queueId", p->queue_id);
	mq_command_add_i64(&cmd, "queueOffset", p->offset);
	mq_command_add_i64(&cmd, "maxMsgNums", p->max_messages);
	mq_command_add_i64(&cmd, "sysFlag", flags);
	mq_command_add_i64(&cmd, "commitOffset", 0);
	mq_command_add_i64(&cmd, "suspendTimeoutMillis", p->suspend_ms);
	mq_command_add(&cmd, "subscription", mq_slice_of(p->expression));
	mq_command_add_i64(&cmd, "subVersion", p->sub_version);
	mq_command_add(&cmd, "expressionType", p->is_sql ? MQ_SLICE("SQL92") : MQ_SLICE("TAG"));
	hop = mq_topic_route_hop(b);

	p->is_pulling = true;
	r = mq_client_call(p->client, &hop, &cmd, p->suspend_ms + GRACE_MS, puller_on_answer, p);
	if (r < 0) {
		p->is_pulling = false;
		mq_failure_local(&failure, r, "%s", strerror(-r));
		puller_fail(p, &failure);
	}
}

static void puller_pull(struct mq_puller *p)
{
	struct mq_failure f;
	int r;

	p->is_pulling = true;
	r = mq_client_find_route(p->client, p->topic, MQ_FIND_AS_IS, puller_on_route, p);
	if (r < 0) {
		p->is_pulling = false;
		mq_failure_local(&f, r, "%s", strerror(-r));
		puller_fail(p, &f);
	}
}

static void puller_on_retry(evutil_socket_t fd, short what, void *user)
{
	puller_pull(user);
}

int mq_puller_new(struct mq_puller **ret, struct mq_client *c, const struct mq_puller_config *cfg,
		  const struct mq_puller_events *events, void *user)
{
	struct mq_puller *p = calloc(1, sizeof *p);
	const struct timeval at_once = {};

	if (!p)
		return -ENOMEM;
	*p = (struct mq_puller){
		.client = c,
		.events = events,
		.user = user,
		.topic = strdup(cfg->topic),
		.broker = strdup(cfg->broker),
		.group = strdup(cfg->group ? cfg->group : MQ_TOOLS_GROUP),
		.expression = strdup(cfg->expression ? cfg->expression : "*"),
		.is_sql = cfg->is_sql,
		.sub_version = cfg->sub_version,
		.offset = cfg->offset,
		.suspend_ms = cfg->suspend_ms,
		.queue_id = cfg->queue_id,
		.max_messages = cfg->max_messages > 0 ? cfg->max_messages : PULL_MESSAGES,
	};
	p->retry = evtimer_new(mq_loop_base(mq_client_loop(c)), puller_on_retry, p);
	/* From the loop, not from here: no callback before *ret is set. */
	if (!p->topic || !p->broker || !p->group || !p->expression || !p->retry ||
	    event_add(p->retry, &at_once) < 0) {
		puller_destroy(p);
		return -ENOMEM;
	}
	*ret = p;
	return 0;
}

struct mq_puller *mq_puller_free(struct mq_puller *p)
{
	if (!p)
		return NULL;
	p->is_freed = true;
	event_del(p->retry);
	if (!p->is_pulling && !p->is_calling)
		puller_destroy(p);
	return NULL;
}

const char *mq_puller_broker(const struct mq_puller *p)
{
	return p->broker;
}

int64_t mq_puller_offset(const struct mq_puller *p)
{
	return p->offset;
}

void mq_puller_seek(struct mq_puller *p, int64_t offset)
{
	p->offset = offset;
}

int mq_records_next(struct mq_slice *rest, struct mq_record *ret)
{
	int r;

	if (rest->n == 0)
		return 0;
	r = mq_record_decode(*rest, ret);
	if (r < 0)
		return r;
	rest->p += r;
	rest->n -= (size_t)r;
	return 1;
}

bool mq_tag_matches(const char *expression, struct mq_slice tag)
{
	struct mq_slice rest = mq_slice_of(expression), one;

	if (mq_tags_match_all(rest))
		return true;
	while (mq_tags_next(&rest, &one))
		if (mq_slice_equal(one, tag))
			return true;
	return false;
}
