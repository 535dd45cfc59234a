/* Names of topics and groups, as TopicValidator and Validators have them. */
#include <errno.h>

#include "daemons/broker/retry.h"
#include "daemons/broker/topics.h"

enum {
	TOPIC_MAX = 127, /* characters, TopicValidator */
	RETRY_TOPIC_MAX = 255,
	GROUP_MAX = 120,
};

bool topics_is_legal(struct mq_slice name)
{
	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)name.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '%' ||
		      c == '|' || c == '-' || c == '_'))
			return false;
	}
	return true;
}

static bool name_is_blank(struct mq_slice name)
{
	for (size_t i = 0; i < name.n; i++)
		if ((unsigned char)name.p[i] > ' ')
			return false;
	return true;
}

int topics_check_name(struct mq_slice name, bool is_group, struct mq_error *err)
{
	const char *word = is_group ? "group" : "topic";
	int shown = name.n > RETRY_TOPIC_MAX ? RETRY_TOPIC_MAX : (int)name.n;

	if (name_is_blank(name))
		return mq_error_set(err, -EINVAL, "The specified %s is blank.", word);
	if (!topics_is_legal(name))
		return mq_error_set(
			err, -EINVAL,
			"The specified %s: %.*s, contains illegal characters, allowing only ^[%%|a-zA-Z0-9_-]+$", word,
			shown, name.p);
	if (is_group) {
		if (name.n > GROUP_MAX)
			return mq_error_set(err, -EINVAL,
					    "The specified group: %.*s, is longer than group max length: %d", shown,
					    name.p, GROUP_MAX);
		return 0;
	}
	if (mq_slice_starts(name, MQ_SLICE(RETRY_PREFIX)) || mq_slice_starts(name, MQ_SLICE(RETRY_DEAD_PREFIX))) {
		if (name.n > RETRY_TOPIC_MAX)
			return mq_error_set(err, -EINVAL,
					    "The specified topic is DLQ or Retry topic: %.*s, and it's longer than "
					    "topic max length: %d",
					    shown, name.p, RETRY_TOPIC_MAX);
	} else if (name.n > TOPIC_MAX) {
		return mq_error_set(err, -EINVAL, "The specified topic: %.*s, is longer than topic max length: %d",
				    shown, name.p, TOPIC_MAX);
	}
	return 0;
}
