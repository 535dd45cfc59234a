/* How groups read topics, as an administrator set it: one row per topic and group (MessageRequestModeManager; 401, 402). In memory,
 * each change is a meta row. Any thread. As upstream, a row outlives its topic and its group. */
#pragma once

#include "libmq/base/error.h"
#include "libmq/wire/body_assignment.h"

struct broker;
struct evbuffer;
struct request_modes;

int request_modes_new(struct request_modes **ret, struct broker *b, struct mq_error *err) _must_check_;
struct request_modes *request_modes_free(struct request_modes *m);

/* Store errors, and -EOVERFLOW: there are 65536 rows already. */
int request_modes_set(struct request_modes *m, const struct mq_mode_setting *s) _must_check_;
/* What was set, else what the configuration says; retry topics are pulled. The names in *ret are those asked for. */
void request_modes_get(struct request_modes *m, struct mq_slice topic, struct mq_slice group, struct mq_mode_setting *ret);
/* Body of 402. */
int request_modes_encode(struct request_modes *m, struct evbuffer *out) _must_check_;
