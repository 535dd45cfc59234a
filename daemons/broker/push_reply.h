/* PUSH_REPLY_MESSAGE_TO_CLIENT (326): hands a reply to the client that asked
 * (ReplyMessageProcessor; requests-broker.md 2.4). The reply's sender and the asker may be on
 * different loops: the push goes to the asker's and comes back. */
#pragma once

#include <stdint.h>

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

struct broker;
struct broker_config;
struct mq_request;

/* Sends the message of `req` (SEND_REPLY_MESSAGE or its V2; REPLY_TO_CLIENT in its properties names
 * the client) and calls done(user, fault) exactly once on the request's loop, maybe before this
 * returns: `fault` is NULL when the client took it, else the sentence for the remark, valid during
 * the call. The request stays the caller's and must not change until then. -ENOMEM: done() is not
 * called. */
int push_reply(struct broker *b, struct mq_request *req, struct mq_slice properties,
	       void (*done)(void *user, const char *fault), void *user) _must_check_;

/* Properties of a reply as they are pushed and stored: MSG_REGION and TRACE_ON are the broker's,
 * PUSH_REPLY_TIME is `at_ms`
 * (-1: none). `ret` has room for push_reply_properties_bound(). */
size_t push_reply_properties_bound(const struct broker_config *config, struct mq_slice in);
size_t push_reply_properties(const struct broker_config *config, struct mq_slice in, int64_t at_ms,
			     char *ret);
