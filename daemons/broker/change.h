/* Requests that change metadata: topics, groups, modes. Each change is a row in the store, and with SYNC_FLUSH it waits for the disk: so the
 * store's thread for changes makes it, and the request's loop answers. */
#pragma once

#include "libmq/base/error.h"
#include "libmq/net/request.h"

/* make() runs on the thread for changes: it may read the request, which nobody else has meanwhile, and answers nothing. answer() gets what it
 * returned, with its sentence, on the request's loop, and returns what a handler returns; a negative errno is answered as an error of the
 * store. Returns MQ_REQUEST_PENDING or -ENOMEM. */
int broker_change(struct mq_request *req, int (*make)(struct mq_request *req, struct mq_error *err),
		  int (*answer)(struct mq_request *req, int r, const struct mq_error *err)) _must_check_;
