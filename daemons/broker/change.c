#include "daemons/broker/change.h"

#include <errno.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"

struct change {
	struct mq_request *req;
	int (*make)(struct mq_request *req, struct mq_error *err);
	int (*answer)(struct mq_request *req, int r, const struct mq_error *err);
	int r;
	struct mq_error err;
};

static void change_make(void *arg)
{
	struct change *c = arg;

	c->r = c->make(c->req, &c->err);
}

static void change_made(void *arg)
{
	struct change *c = arg;
	struct mq_request *req = c->req;
	int r = c->answer(req, c->r, &c->err);

	free(c);
	if (r < 0)
		broker_reply_store(req, r);
}

int broker_change(struct mq_request *req, int (*make)(struct mq_request *req, struct mq_error *err),
		  int (*answer)(struct mq_request *req, int r, const struct mq_error *err))
{
	struct change *c = calloc(1, sizeof *c);
	int r;

	if (!c)
		return -ENOMEM;
	c->req = req;
	c->make = make;
	c->answer = answer;
	r = broker_offload_change(req->server, req->conn, change_make, change_made, c);
	if (r == 0)
		return MQ_REQUEST_PENDING;
	free(c);
	return r;
}
