/* Who is connected (ClientManageProcessor, ConsumerManageProcessor; requests-broker.md section 4). */
#include <errno.h>
#include <event2/buffer.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/change.h"
#include "daemons/broker/clients.h"
#include "daemons/broker/filter_sql.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/reply.h"
#include "libmq/wire/body_connections.h"
#include "libmq/wire/body_heartbeat.h"
#include "libmq/wire/codes.h"

static int heart_beat_prepare(struct mq_request *req, struct mq_error *err)
{
	struct broker *b = req->server;

	return clients_prepare(b->clients, &req->cmd);
}

static int heart_beat_prepared(struct mq_request *req, int prepared, const struct mq_error *prepare_err);

static int heart_beat(struct mq_request *req, bool is_prepared)
{
	struct broker *b = req->server;
	struct heartbeat_result result;
	struct mq_command answer;
	struct mq_error err = {};
	int r;

	r = clients_heartbeat(b->clients, req->conn, &req->cmd, is_prepared, &result, &err);
	if (r == -EAGAIN)
		return broker_change(req, heart_beat_prepare, heart_beat_prepared);
	if (r == -EBADMSG)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	if (r == -ENOBUFS)
		return mq_reply_code(req, MQ_SYSTEM_BUSY, "[OVERLOAD]system busy, start flow control for a while: %s", err.text);
	if (r == -EPERM)
		return mq_reply_code(req, MQ_ILLEGAL_OPERATION, "%s", result.refusal);
	if (r < 0)
		return r;
	mq_request_answer(req, &answer, MQ_SUCCESS);
	mq_command_add(&answer, "IS_SUPPORT_HEART_BEAT_V2", MQ_SLICE("true"));
	mq_command_add(&answer, "IS_SUB_CHANGE", result.sub_changed ? MQ_SLICE("true") : MQ_SLICE("false"));
	return mq_reply(req, &answer, NULL);
}

/* The connection may have gone meanwhile: nobody would take it out of its groups again. */
static int heart_beat_prepared(struct mq_request *req, int prepared, const struct mq_error *prepare_err)
{
	if (!mq_conn_is_open(req->conn))
		return mq_reply_none(req);
	return prepared < 0 && prepared != -EBADMSG ? prepared : heart_beat(req, true);
}

int handle_heart_beat(struct mq_request *req)
{
	return heart_beat(req, false);
}

#define UNREGISTER_CLIENT_FIELDS(X)                                 \
	X(slice, client_id,      "clientID",      OPTIONAL)         \
	X(slice, producer_group, "producerGroup", OPTIONAL)         \
	X(slice, consumer_group, "consumerGroup", OPTIONAL)
MQ_HEADER(unregister_client, UNREGISTER_CLIENT_FIELDS)

int handle_unregister_client(struct mq_request *req)
{
	struct broker *b = req->server;
	struct unregister_client_header h = {};
	struct mq_error err;

	if (unregister_client_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	clients_unregister(b->clients, req->conn, h.producer_group, h.consumer_group);
	return reply_ok_with_fields(req);
}

#define CONSUMER_GROUP_FIELDS(X) X(slice, group, "consumerGroup", REQUIRED)
MQ_HEADER(consumer_group, CONSUMER_GROUP_FIELDS)

int handle_get_consumer_list_by_group(struct mq_request *req)
{
	struct broker *b = req->server;
	struct consumer_group_header h = {};
	struct mq_command answer;
	struct evbuffer *body;
	struct mq_error err;
	int r;

	if (consumer_group_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	body = evbuffer_new();
	if (!body)
		return -ENOMEM;
	r = clients_encode_ids(b->clients, h.group, body);
	if (r == 0) {
		mq_request_answer(req, &answer, MQ_SUCCESS);
		answer.has_fields = true;
		r = mq_reply(req, &answer, body);
	} else if (r == -ENOENT) {
		r = mq_reply_code(req, MQ_SYSTEM_ERROR, "no consumer for this group, %.*s", MQ_FMT(h.group));
	}
	evbuffer_free(body);
	return r;
}

/* A consumer with a wrong expression learns so when it starts. The sentence is ours: upstream's is its parser's exception. */
static int check_sql(struct mq_request *req, const struct mq_subscription *s)
{
	_cleanup_(filter_sql_unrefp) struct filter_sql *f = NULL;
	struct broker *b = req->server;
	struct mq_error err = {};
	int r;

	if (!config_get(&b->config, enablePropertyFilter) || !mq_slice_is(s->expression_type, "SQL92"))
		return mq_reply_code(req, MQ_SYSTEM_ERROR,
				     "The broker does not support consumer to filter message by %.*s",
				     MQ_FMT(s->expression_type));
	r = filter_sql_compile(&f, s->sub_string, &b->filter_bytes, &err);
	if (r == 0)
		return mq_reply_ok(req);
	return mq_reply_code(req, r == -EINVAL || r == -E2BIG ? MQ_SUBSCRIPTION_PARSE_FAILED : MQ_SYSTEM_BUSY, "%s",
			     err.text);
}

int handle_check_client_config(struct mq_request *req)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	struct mq_subscription subscription;
	const struct mq_json_node *node;
	struct mq_error err = {};

	if (!req->cmd.body.p)
		return mq_reply_ok(req);
	if (mq_json_parse(&doc, req->cmd.body, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	node = mq_json_get(mq_json_root(doc), "subscriptionData");
	if (!node)
		return mq_reply_ok(req);
	if (mq_subscription_read(node, &subscription, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	if (mq_slice_is(subscription.expression_type, "TAG"))
		return mq_reply_ok(req);
	return check_sql(req, &subscription);
}

#define CONSUMER_CONNECTIONS_FIELDS(X)                                       \
	X(slice, group,     "consumerGroup",               REQUIRED)         \
	X(bool,  with_sets, MQ_FIELD_MEMBER_SUBSCRIPTIONS, OPTIONAL)
MQ_HEADER(consumer_connections, CONSUMER_CONNECTIONS_FIELDS)

int handle_get_consumer_connection_list(struct mq_request *req)
{
	struct broker *b = req->server;
	struct consumer_connections_header h = {};
	struct evbuffer *body;
	struct mq_error err;
	int r;

	if (consumer_connections_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	body = evbuffer_new();
	if (!body)
		return -ENOMEM;
	r = clients_encode_consumers(b->clients, h.group, h.with_sets, body);
	if (r != -ENOENT)
		return reply_body(req, body, r);
	evbuffer_free(body);
	return mq_reply_code(req, MQ_CONSUMER_NOT_ONLINE, "the consumer group[%.*s] not online", MQ_FMT(h.group));
}

#define PRODUCER_GROUP_FIELDS(X) X(slice, group, "producerGroup", REQUIRED)
MQ_HEADER(producer_group, PRODUCER_GROUP_FIELDS)

int handle_get_producer_connection_list(struct mq_request *req)
{
	struct broker *b = req->server;
	struct producer_group_header h = {};
	struct evbuffer *body;
	struct mq_error err;
	int r;

	if (producer_group_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	body = evbuffer_new();
	if (!body)
		return -ENOMEM;
	r = clients_encode_producers(b->clients, h.group, body);
	if (r != -ENOENT)
		return reply_body(req, body, r);
	evbuffer_free(body);
	return mq_reply_code(req, MQ_SYSTEM_ERROR, "the producer group[%.*s] not exist", MQ_FMT(h.group));
}
