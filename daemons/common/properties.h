/* java.util.Properties text: configuration files and the bodies of codes 25, 26, 318, 319 (reference: protocol/frame.md 5.1). */
#pragma once

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

struct evbuffer;

enum { PROPERTIES_TEXT_MAX = 1 << 20 }; /* bytes of one file or body */

/* Calls each() per pair with its line number (from 1). Key and value are unescaped, valid during the call only.
 * Stops at and returns each()'s negative value. -EINVAL with the line for a malformed escape, -E2BIG. */
int properties_parse(struct mq_slice text,
		     int (*each)(void *user, unsigned line, struct mq_slice key, struct mq_slice value, struct mq_error *err),
		     void *user, struct mq_error *err) _must_check_;

/* Appends "key=value\n", escaped. -ENOMEM. */
int properties_add(struct evbuffer *out, const char *key, struct mq_slice value) _must_check_;
