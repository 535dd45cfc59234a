/* Which messages a subscription wants, by the hash of their tag (ExpressionMessageFilter.isMatchedByConsumeQueue;
 * message.md section 8). Clients compare the text again, so a collision only costs traffic. */
#pragma once

#include "daemons/broker/clients.h"

/* Fills *ret from an expression as it comes with a pull: "TagA || TagB", "*" or empty for everything.
 * -EINVAL when there is nothing between the bars: upstream cannot build a subscription from that. */
int filter_tag_parse(struct subscription *ret, struct mq_slice expression) _must_check_;
bool filter_tag_matches(const struct subscription *s, int64_t tag_hash);
