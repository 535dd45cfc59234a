/* POP_MESSAGE (200050); reference: protocol/requests-broker.md section 7. pop.h says what follows. */
#include <errno.h>
#include <stdlib.h>

#include "daemons/broker/filter_sql.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/pop.h"
#include "daemons/broker/reply.h"

enum {
	LATE_MS = 500, /* so much after its time a pop is refused */
	EARLY_MS = 50, /* so much before its time it is answered (PopRequest.isTimeout) */
};

void pop_free(struct pop *p)
{
	if (p->run) {
		pop_take_done(&p->run->take);
		free(p->run->changes);
		free(p->run);
	}
	filter_sql_unref(p->sub.sql);
	free(p);
}

static void pop_failed(struct pop_check *c, int r)
{
	pop_fail((struct pop *)((char *)c - offsetof(struct pop, check)), r);
}

static void pop_passed(struct pop_check *c)
{
	struct pop *p = (struct pop *)((char *)c - offsetof(struct pop, check));
	int64_t until_ms;

	if (pop_check_subscription(c, p->h.expression_type, p->h.expression, &p->sub) != 0) {
		pop_refused(c, c->code, c->remark);
		return;
	}
	p->may_wait = p->h.poll_ms > EARLY_MS;
	if (!p->may_wait || __builtin_add_overflow(p->h.born_at_ms, p->h.poll_ms - EARLY_MS, &until_ms))
		until_ms = INT64_MAX;
	p->may_wait &= until_ms > mq_wall_ms(p->broker->clock);
	p->deadline_ms = pop_await_until(p->broker, p->req->conn, until_ms);
	p->await.resume = pop_resumed;
	p->ask = (struct pop_ask){
		.broker = p->broker,
		.sub = &p->sub,
		.group = p->h.group,
		.topic = p->h.topic,
		.attempt = p->h.attempt,
		.queue_id = p->h.queue_id,
		.read_queues = c->topic.read_queues,
		.max_messages = p->h.max_messages,
		.priority_factor = c->topic.is_priority && !p->h.is_order ? c->found.priority_factor : 0,
		.invisible_ms = p->h.invisible_ms,
		.from_max = p->h.init_mode != 0,
		.is_order = p->h.is_order,
	};
	pop_run(p);
}

static bool pop_is_late(const struct pop *p)
{
	int64_t until_ms;

	return !__builtin_add_overflow(p->h.born_at_ms, p->h.poll_ms, &until_ms) &&
	       mq_wall_ms(p->broker->clock) - LATE_MS > until_ms;
}

static int pop_check_times(struct pop_check *c)
{
	struct pop *p = (struct pop *)((char *)c - offsetof(struct pop, check));
	const struct broker_config *config = &p->broker->config;

	if (pop_is_late(p))
		return pop_check_note(c, MQ_POLLING_TIMEOUT, "the broker[%s] pop message is timeout too much", config->brokerIP1);
	return 0;
}

static int pop_check_number(struct pop_check *c)
{
	struct pop *p = (struct pop *)((char *)c - offsetof(struct pop, check));
	const struct broker_config *config = &p->broker->config;
	struct pop_name name;

	if (p->h.max_messages > POP_MESSAGES_MAX)
		return pop_check_note(c, MQ_INVALID_PARAMETER, "the broker[%s] pop message's num is greater than %d", config->brokerIP1,
				      POP_MESSAGES_MAX);
	if (!config_get(config, timerWheelEnable))
		return pop_check_note(c, MQ_SYSTEM_ERROR, "the broker[%s] pop message is forbidden because timerWheelEnable is false",
				      config->brokerIP1);
	/* Ours: what is not acknowledged would have nowhere to come again. */
	pop_topic(&name, pop_mark_of(p->h.topic) == POP_NORMAL ? POP_RETRY_V1 : POP_NORMAL, p->h.topic, p->h.group);
	if (name.n == 0 || p->h.group.n == 0)
		return pop_check_note(c, MQ_INVALID_PARAMETER, "the names of group and topic are too long, or empty, for a retry topic");
	return 0;
}

int handle_pop_message(struct mq_request *req)
{
	struct broker *b = req->server;
	struct pop_header h = {};
	struct mq_error err;
	struct pop *p;

	if (pop_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	if (h.born_at_ms == 0)
		h.born_at_ms = mq_wall_ms(b->clock);
	p->req = req;
	p->broker = b;
	p->h = h;
	p->check = (struct pop_check){
		.req = req,
		.broker = b,
		.group = h.group,
		.topic_name = h.topic,
		.queue_id = h.queue_id,
		.verb = "pop",
		.before_broker = pop_check_times,
		.before_topic = pop_check_number,
		.passed = pop_passed,
		.refused = pop_refused,
		.failed = pop_failed,
	};
	pop_check_run(&p->check);
	return MQ_REQUEST_PENDING;
}
