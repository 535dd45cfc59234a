/* PULL_MESSAGE (11), LITE_PULL_MESSAGE (361); reference: protocol/requests-broker.md section 3.1, behaviour.md sections 10, 11.
 * The checks, in upstream's order; pull.h says where a pull goes from here. */
#include <errno.h>
#include <event2/buffer.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemons/broker/filter_sql.h"
#include "daemons/broker/filter_tag.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/pull.h"
#include "daemons/broker/pulled.h"

enum pull_flag {
	PULL_COMMIT = 1,       /* commitOffset is valid */
	PULL_SUSPEND = 2,      /* wait for a message */
	PULL_SUBSCRIPTION = 4, /* the subscription is in the header */
};

/* forbiddenType of NO_PERMISSION answers (ForbiddenType). */
enum { FORBIDDEN_BROKER = 1, FORBIDDEN_GROUP, FORBIDDEN_TOPIC, FORBIDDEN_BROADCASTING };

void pull_free(struct pull *p)
{
	stretch_unref(p->stretch);
	if (p->body)
		evbuffer_free(p->body);
	filter_sql_unref(p->sub.sql);
	free(p);
}

static int pull_refuse(struct pull *p, int code, int forbidden, const char *fmt, ...) _printf_(4, 5);

/* An answer without result: extFields are there, though empty. */
static int pull_refuse(struct pull *p, int code, int forbidden, const char *fmt, ...)
{
	struct mq_request *req = p->req;
	struct mq_command answer;
	char remark[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(remark, sizeof remark, fmt, ap);
	va_end(ap);
	pull_free(p);
	mq_request_answer(req, &answer, code);
	answer.has_fields = true;
	answer.remark = mq_slice_of(remark);
	if (forbidden)
		mq_command_add_i64(&answer, "forbiddenType", forbidden);
	return mq_reply(req, &answer, NULL);
}

static int pull_refuse_group(struct pull *p)
{
	return pull_refuse(p, MQ_SUBSCRIPTION_GROUP_NOT_EXIST, 0,
			   "subscription group [%.*s] does not exist, " BROKER_FAQ, MQ_FMT(p->h.group));
}

static int pull_refuse_topic(struct pull *p)
{
	return pull_refuse(p, MQ_TOPIC_NOT_EXIST, 0, "topic[%.*s] not exist, apply first please! " BROKER_FAQ, MQ_FMT(p->h.topic));
}

/* Whether the group may read the queue: 1, or what the refusal returned. */
static int pull_check_access(struct pull *p)
{
	if (!p->group.consume_enable)
		return pull_refuse(p, MQ_NO_PERMISSION, FORBIDDEN_GROUP,
				   "subscription group no permission, %.*s", MQ_FMT(p->h.group));
	if (topics_get(p->broker->topics, p->h.topic, &p->topic) < 0)
		return pull_refuse_topic(p);
	if (!(p->topic.perm & PERM_READ))
		return pull_refuse(p, MQ_NO_PERMISSION, FORBIDDEN_TOPIC,
				   "the topic[%.*s] pulling message is forbidden", MQ_FMT(p->h.topic));
	if (p->h.queue_id < 0 || p->h.queue_id >= p->topic.read_queues)
		return pull_refuse(p, MQ_INVALID_PARAMETER, 0,
				   "queueId[%d] is illegal, topic:[%.*s] topicConfig.readQueueNums:[%d] consumer:[/%s]",
				   p->h.queue_id, MQ_FMT(p->h.topic), p->topic.read_queues,
				   mq_conn_peer(p->req->conn)->text);
	return 1;
}

static void pull_start(struct pull *p)
{
	struct broker *b = p->broker;
	struct mq_request *req = p->req;
	int r = store_queue_open(b->store, p->h.topic, p->h.queue_id, &p->queue);

	if (r == 0 && (p->h.sys_flag & PULL_COMMIT) && p->h.commit_offset >= 0 &&
	    pulled_get(b->resets, p->h.group, p->h.topic, p->h.queue_id) < 0)
		r = store_offset_set(b->store, p->h.group, p->h.topic, p->h.queue_id, p->h.commit_offset, p->topic.since);
	if (r == -ENOENT) { /* deleted meanwhile */
		pull_refuse_topic(p);
		return;
	}
	if (r < 0) {
		pull_free(p);
		broker_reply_store(req, r);
		return;
	}
	p->may_hold = p->h.sys_flag & PULL_SUSPEND;
	p->from = p->h.offset;
	pull_run(p);
}

static bool pull_is_tag(struct mq_slice type)
{
	return type.n == 0 || mq_slice_is(type, "TAG");
}

static int pull_refuse_type(struct pull *p, struct mq_slice type)
{
	return pull_refuse(p, MQ_SYSTEM_ERROR, 0, "The broker does not support consumer to filter message by %.*s", MQ_FMT(type));
}

/* An expression that does not compile matches everything, as upstream; one that is too big for us is refused. */
static int pull_check_own_sql(struct pull *p)
{
	struct mq_error err = {};
	int r = -EINVAL;

	if (p->h.expression.n == 0)
		return pull_refuse(p, MQ_SUBSCRIPTION_PARSE_FAILED, 0, "parse the consumer's subscription failed");
	if (!config_get(&p->broker->config, enablePropertyFilter))
		return pull_refuse_type(p, p->h.expression_type);
	if (mq_slice_is(p->h.expression_type, "SQL92"))
		r = filter_sql_compile(&p->sub.sql, p->h.expression, &p->broker->filter_bytes, &err);
	if (r == -E2BIG)
		return pull_refuse(p, MQ_SUBSCRIPTION_PARSE_FAILED, 0, "parse the consumer's subscription failed: %s", err.text);
	if (r == -EDQUOT || r == -ENOMEM)
		return pull_refuse(p, MQ_SYSTEM_BUSY, 0, "%s", err.text);
	p->sub.matches_all = r == -EINVAL;
	return 1;
}

static int pull_check_own_subscription(struct pull *p)
{
	p->sub = (struct subscription){ .is_tag = pull_is_tag(p->h.expression_type) };
	if (!p->sub.is_tag)
		return pull_check_own_sql(p);
	if (filter_tag_parse(&p->sub, p->h.expression) < 0)
		return pull_refuse(p, MQ_SUBSCRIPTION_PARSE_FAILED, 0,
				   "parse the consumer's subscription failed");
	return 1;
}

static int pull_check_group_subscription(struct pull *p)
{
	enum subscription_state state;

	filter_sql_unref(p->sub.sql);
	p->sub = (struct subscription){ .model = CLUSTERING }; /* the model is not filled in when there is no subscription */
	state = clients_subscription(p->broker->clients, p->h.group, p->h.topic, &p->sub);
	if (state == SUBSCRIPTION_NO_GROUP)
		return pull_refuse(p, MQ_SUBSCRIPTION_NOT_EXIST, 0,
				   "the consumer's group info not exist" BROKER_FAQ);
	if (p->sub.model == BROADCASTING && !p->group.consume_broadcast_enable)
		return pull_refuse(p, MQ_NO_PERMISSION, FORBIDDEN_BROADCASTING,
				   "the consumer group[%.*s] can not consume by broadcast way",
				   MQ_FMT(p->h.group));
	if (state == SUBSCRIPTION_NONE)
		return pull_refuse(p, MQ_SUBSCRIPTION_NOT_EXIST, 0,
				   "the consumer's subscription not exist" BROKER_FAQ);
	if (p->sub.version < p->h.sub_version)
		return pull_refuse(p, MQ_SUBSCRIPTION_NOT_LATEST, 0,
				   "the consumer's subscription not latest");
	if (p->sub.is_tag)
		return 1;
	if (!p->sub.sql)
		return pull_refuse(p, MQ_FILTER_DATA_NOT_EXIST, 0,
				   "The broker's consumer filter data is not exist!Your expression may be wrong!");
	if (!config_get(&p->broker->config, enablePropertyFilter))
		return pull_refuse_type(p, MQ_SLICE("SQL92"));
	return 1;
}

bool pull_check_again(struct pull *p)
{
	if (groups_find(p->broker->groups, p->h.group, &p->group) < 0) {
		pull_refuse_group(p);
		return false;
	}
	if (pull_check_access(p) <= 0)
		return false;
	return (p->h.sys_flag & PULL_SUBSCRIPTION) || pull_check_group_subscription(p) > 0;
}

static int pull_check_subscription(struct pull *p)
{
	int r = p->h.sys_flag & PULL_SUBSCRIPTION ? pull_check_own_subscription(p)
						  : pull_check_group_subscription(p);

	if (r <= 0)
		return r;
	pull_start(p);
	return MQ_REQUEST_PENDING;
}

static int pull_check_topic(struct pull *p)
{
	int r = pull_check_access(p);

	return r <= 0 ? r : pull_check_subscription(p);
}

/* An unknown group is made at its first pull: a row in the store, so on the thread for changes. */
static void pull_make_group(void *arg)
{
	struct pull *p = arg;

	p->made = groups_get(p->broker->groups, p->h.group, &p->group);
}

static void pull_made_group(void *arg)
{
	struct pull *p = arg;
	struct mq_request *req = p->req;

	if (p->made == 0) {
		pull_check_topic(p);
	} else if (p->made == -ENOENT) {
		pull_refuse_group(p);
	} else {
		int r = p->made;

		pull_free(p);
		broker_reply_store(req, r);
	}
}

int handle_pull_message(struct mq_request *req)
{
	struct broker *b = req->server;
	struct pull_header h = { .commit_offset = -1 };
	struct mq_error err;
	struct pull *p;
	int r;

	if (pull_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	p->req = req;
	p->broker = b;
	p->h = h;
	if (!(config_get(&b->config, brokerPermission) & PERM_READ))
		return pull_refuse(p, MQ_NO_PERMISSION, FORBIDDEN_BROKER,
				   "the broker[%s] pulling message is forbidden", b->config.brokerIP1);
	if (req->line->code == MQ_LITE_PULL_MESSAGE && !config_get(&b->config, litePullMessageEnable))
		return pull_refuse(p, MQ_NO_PERMISSION, FORBIDDEN_BROKER,
				   "the broker[%s] for lite pull consumer is forbidden", b->config.brokerIP1);
	if (groups_find(b->groups, h.group, &p->group) == 0)
		return pull_check_topic(p);
	r = broker_offload_change(b, req->conn, pull_make_group, pull_made_group, p);
	if (r < 0) {
		pull_free(p);
		return r;
	}
	return MQ_REQUEST_PENDING;
}
