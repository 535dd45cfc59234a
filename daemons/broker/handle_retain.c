/* CLEAN_EXPIRED_CONSUMEQUEUE (306), DELETE_EXPIRED_COMMITLOG (329): what is expired goes now, whatever the hour. Messages and queues
 * expire together here, so both do the same. Upstream answers before it has begun; this answers when it is done. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/handlers.h"
#include "libmq/base/log.h"
#include "libmq/wire/codes.h"

struct retain_job {
	struct mq_request *req;
	struct mq_error err;
	int r;
};

static void retain_work(void *arg)
{
	struct retain_job *job = arg;
	struct broker *b = job->req->server;

	job->r = store_expire(b->store, &job->err);
}

static void retain_done(void *arg)
{
	struct retain_job *job = arg;

	if (job->r < 0)
		(void)mq_reply_code(job->req, MQ_SYSTEM_ERROR, "%s", job->err.text);
	else
		(void)mq_reply_ok(job->req);
	free(job);
}

int handle_delete_expired(struct mq_request *req)
{
	struct retain_job *job = calloc(1, sizeof *job);
	int r;

	if (!job)
		return -ENOMEM;
	job->req = req;
	r = broker_offload(req->server, req->conn, retain_work, retain_done, job);
	if (r == 0)
		return MQ_REQUEST_PENDING;
	free(job);
	return r;
}
