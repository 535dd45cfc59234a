/* Recall handles (RecallMessageHandle): URL-safe base64 of "v1 topic broker time uniqueId". A sender gets one for each timer message;
 * nothing in it is secret, and who sends it back may have changed it. */
#pragma once

#include <stdint.h>

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

enum { RECALL_HANDLE_MAX = 2048 }; /* bytes, NUL included; longer ones are not made and not read */

/* Bytes written, without the NUL; 0 when it would be longer. */
size_t recall_encode(struct mq_slice topic, struct mq_slice broker, int64_t at_ms, struct mq_slice uniq_key,
		     char ret[RECALL_HANDLE_MAX]);

struct recall {
	struct mq_slice topic, broker, time, uniq_key; /* borrowed from text */
	char text[RECALL_HANDLE_MAX];
};
/* -EBADMSG when it is no handle. */
int recall_decode(struct mq_slice handle, struct recall *ret) _must_check_;
