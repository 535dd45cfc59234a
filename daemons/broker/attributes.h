/* Attributes of topics and groups: the known keys, and changing them by "+key=value,-key" (AttributeParser,
 * AttributeUtil; requests-broker.md 5.1 and 5.2). Stored as "key=value,key=value". */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

struct attribute_rule {
	const char *key;
	bool is_fixed;             /* may be given when the object is created only */
	const char *const *values; /* NULL-terminated; NULL: a number within [min, max], or with is_text anything */
	bool is_text;
	int64_t min, max;
};

struct attribute_rules {
	const struct attribute_rule *rules;
	unsigned n_rules;
};

extern const struct attribute_rules topic_attributes, group_attributes;

/* The form of a request's text. -EINVAL with upstream's text. */
int attributes_check_form(struct mq_slice request, struct mq_error *err) _must_check_;

/* Applies `request` to `current` (empty for a new object, which may only add). Returns the bytes written to `ret`;
 * -EINVAL with upstream's text in *err, also when the result would be longer than `size`. */
int attributes_alter(const struct attribute_rules *known, bool is_new, struct mq_slice current, struct mq_slice request,
		     char *ret, size_t size, struct mq_error *err) _must_check_;

/* Whether stored attributes have this key with this value. */
bool attributes_have(struct mq_slice attributes, const char *key, const char *value);
/* Its number; `otherwise` when it is not there, or none. */
int64_t attributes_number(struct mq_slice attributes, const char *key, int64_t otherwise);
