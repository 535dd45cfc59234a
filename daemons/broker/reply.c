#include "daemons/broker/reply.h"

#include <event2/buffer.h>
#include <inttypes.h>

#include "daemons/broker/broker.h"
#include "libmq/wire/codes.h"

int reply_body(struct mq_request *req, struct evbuffer *body, int r)
{
	struct mq_command answer;

	if (r >= 0) {
		mq_request_answer(req, &answer, MQ_SUCCESS);
		r = mq_reply(req, &answer, body);
	}
	evbuffer_free(body);
	return r;
}

int reply_ok_with_fields(struct mq_request *req)
{
	struct mq_command answer;

	mq_request_answer(req, &answer, MQ_SUCCESS);
	answer.has_fields = true;
	return mq_reply(req, &answer, NULL);
}

int reply_bad_header(struct mq_request *req, const struct mq_error *err)
{
	return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err->text);
}

bool reply_if_busy(struct mq_request *req)
{
	struct broker *b = req->server;
	int64_t age_ms = store_write_age_ms(b->store);

	if (age_ms > config_get(&b->config, osPageCacheBusyTimeOutMills))
		mq_reply_code(req, MQ_SYSTEM_BUSY,
			      "[REJECTREQUEST]system busy, start flow control for a while: a write to the disk has taken %" PRIi64 " ms so far", age_ms);
	else if (broker_is_busy(broker_loop_of(b, req->conn)))
		mq_reply_code(req, MQ_SYSTEM_BUSY,
			      "[OVERLOAD]system busy, start flow control for a while: the disk does not keep up");
	else
		return false;
	return true;
}
