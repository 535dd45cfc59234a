/* Queue locks of orderly consumers (AdminBrokerProcessor, RebalanceLockManager; requests-broker.md section 4). */
#include <errno.h>
#include <event2/buffer.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/locks.h"
#include "daemons/broker/reply.h"
#include "libmq/wire/body_lock.h"
#include "libmq/wire/codes.h"

static int lock_read(struct mq_request *req, struct mq_json **doc, struct mq_lock_body *ret, struct mq_error *err)
{
	int r;

	if (!req->cmd.body.p)
		return mq_error_set(err, -EBADMSG, "the request has no body");
	r = mq_json_parse(doc, req->cmd.body, err);
	return r < 0 ? r : mq_lock_body_read(*doc, ret, err);
}

/* The queues that the client now holds; those that cannot be read are left out, as any other that it does not get. */
static void lock_write(struct broker *b, const struct mq_lock_body *body, struct mq_json_writer *w)
{
	struct mq_queue_name q;

	mq_json_open_object(w);
	mq_json_key(w, "lockOKMQSet");
	mq_json_open_array(w);
	MQ_JSON_EACH(node, body->queues)
	if (mq_queue_name_read(node, &q) == 0 && locks_take(b->locks, body->group, q.topic, q.id, body->client_id))
		mq_queue_name_write(w, &q);
	mq_json_close_array(w);
	mq_json_close_object(w);
}

int handle_lock_batch_mq(struct mq_request *req)
{
	struct broker *b = req->server;
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	struct mq_error err = {};
	struct mq_lock_body body;
	struct mq_json_writer w;
	struct evbuffer *out;

	if (lock_read(req, &doc, &body, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	out = evbuffer_new();
	if (!out)
		return -ENOMEM;
	mq_json_begin(&w, out);
	lock_write(b, &body, &w);
	return reply_body(req, out, mq_json_end(&w));
}

int handle_unlock_batch_mq(struct mq_request *req)
{
	struct broker *b = req->server;
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	struct mq_error err = {};
	struct mq_lock_body body;
	struct mq_queue_name q;

	if (lock_read(req, &doc, &body, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	MQ_JSON_EACH(node, body.queues)
		if (mq_queue_name_read(node, &q) == 0)
			locks_release(b->locks, body.group, q.topic, q.id, body.client_id);
	return mq_reply_ok(req);
}
