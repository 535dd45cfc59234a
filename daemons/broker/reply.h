/* Answers that several handler files share. Each consumes the request and returns 0, as mq_reply_*() do. */
#pragma once

#include "libmq/net/request.h"

struct evbuffer;

/* Success with a body, which is owned from here on. r < 0: the body could not be made; returned for the dispatcher to
 * answer. */
int reply_body(struct mq_request *req, struct evbuffer *body, int r);
/* Success with "extFields":{}: what upstream sends where the answer has a header class without members. */
int reply_ok_with_fields(struct mq_request *req);
/* A request header that does not decode: SYSTEM_ERROR with the decoder's text, as upstream. */
int reply_bad_header(struct mq_request *req, const struct mq_error *err);
/* Refuses with SYSTEM_BUSY, upstream's prefix and the reason when nothing is to be stored now. True: answered. */
bool reply_if_busy(struct mq_request *req);
