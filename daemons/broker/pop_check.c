#include "daemons/broker/pop_check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/filter_sql.h"
#include "daemons/broker/filter_tag.h"

int pop_check_note(struct pop_check *c, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->remark, sizeof c->remark, fmt, ap);
	va_end(ap);
	c->code = code;
	return 1;
}

static int check_sql(struct pop_check *c, struct mq_slice type, struct mq_slice expression, struct subscription *ret)
{
	struct mq_error err = {};
	int r = -EINVAL;

	if (mq_slice_is(type, "SQL92"))
		r = filter_sql_compile(&ret->sql, expression, &c->broker->filter_bytes, &err);
	if (r == -E2BIG)
		return pop_check_note(c, MQ_SUBSCRIPTION_PARSE_FAILED, "parse the consumer's subscription failed: %s", err.text);
	if (r == -EDQUOT || r == -ENOMEM)
		return pop_check_note(c, MQ_SYSTEM_BUSY, "%s", err.text);
	if (r < 0)
		return pop_check_note(c, MQ_SUBSCRIPTION_PARSE_FAILED, "parse the consumer's subscription failed");
	return 0;
}

int pop_check_subscription(struct pop_check *c, struct mq_slice type, struct mq_slice expression, struct subscription *ret)
{
	ret->is_tag = type.n == 0 || mq_slice_is(type, "TAG");
	if (expression.n == 0) {
		ret->is_tag = ret->matches_all = true;
		return 0;
	}
	if (!ret->is_tag)
		return check_sql(c, type, expression, ret);
	if (filter_tag_parse(ret, expression) < 0)
		return pop_check_note(c, MQ_SUBSCRIPTION_PARSE_FAILED, "parse the consumer's subscription failed");
	return 0;
}

/* 0, or 1 when c->code says what is wrong. */
static int check_topic(struct pop_check *c)
{
	struct broker *b = c->broker;

	if (topics_get(b->topics, c->topic_name, &c->topic) < 0)
		return pop_check_note(c, MQ_TOPIC_NOT_EXIST, "topic[%.*s] not exist, apply first please! " BROKER_FAQ,
				      MQ_FMT(c->topic_name));
	if (!(c->topic.perm & PERM_READ))
		return pop_check_note(c, MQ_NO_PERMISSION, "the topic[%.*s] peeking message is forbidden", MQ_FMT(c->topic_name));
	if (c->queue_id >= c->topic.read_queues)
		return pop_check_note(c, MQ_INVALID_PARAMETER,
				      "queueId[%d] is illegal, topic:[%.*s] topicConfig.readQueueNums:[%d] consumer:[/%s]", c->queue_id,
				      MQ_FMT(c->topic_name), c->topic.read_queues, mq_conn_peer(c->req->conn)->text);
	return 0;
}

static void check_group(struct pop_check *c)
{
	if (!c->found.consume_enable) {
		pop_check_note(c, MQ_NO_PERMISSION, "subscription group no permission, %.*s", MQ_FMT(c->group));
		c->refused(c, c->code, c->remark);
		return;
	}
	c->passed(c);
}

static void check_make_group(void *arg)
{
	struct pop_check *c = arg;

	c->made = groups_get(c->broker->groups, c->group, &c->found);
}

static void check_made_group(void *arg)
{
	struct pop_check *c = arg;

	if (c->made == 0) {
		check_group(c);
	} else if (c->made == -ENOENT) {
		pop_check_note(c, MQ_SUBSCRIPTION_GROUP_NOT_EXIST, "subscription group [%.*s] does not exist, " BROKER_FAQ,
			       MQ_FMT(c->group));
		c->refused(c, c->code, c->remark);
	} else {
		c->failed(c, c->made);
	}
}

void pop_check_run(struct pop_check *c)
{
	struct broker *b = c->broker;
	int r = c->before_broker ? c->before_broker(c) : 0;

	if (r == 0 && !(config_get(&b->config, brokerPermission) & PERM_READ))
		r = pop_check_note(c, MQ_NO_PERMISSION, "the broker[%s] %s message is forbidden", b->config.brokerIP1, c->verb);
	if (r == 0 && c->before_topic)
		r = c->before_topic(c);
	if (r == 0)
		r = check_topic(c);
	if (r != 0) {
		c->refused(c, c->code, c->remark);
		return;
	}
	if (groups_find(b->groups, c->group, &c->found) == 0) {
		check_group(c);
		return;
	}
	r = broker_offload_change(b, c->req->conn, check_make_group, check_made_group, c);
	if (r < 0)
		c->failed(c, r);
}
