#include "daemons/broker/attributes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libmq/wire/body_topics.h"
#include "libmq/wire/fields.h"

static const char *const queue_types[] = { "BatchCQ", "SimpleCQ", NULL };
static const char *const cleanup_policies[] = { "DELETE", "COMPACTION", NULL };
static const char *const message_types[] = {
	"UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "MIXED", "PRIORITY", "LITE", NULL,
};
static const char *const lite_models[] = { "Shared", "Exclusive", NULL };
static const char *const booleans[] = { "true", "false", NULL };

static const struct attribute_rule topic_rules[] = {
	{ .key = "queue.type", .is_fixed = true, .values = queue_types },
	{ .key = "cleanup.policy", .is_fixed = true, .values = cleanup_policies },
	{ .key = "message.type", .values = message_types },
	{ .key = "reserve.time", .min = -1, .max = INT64_MAX },
	{ .key = "lite.topic.expiration", .min = -1, .max = 30 * 24 * 60 }, /* minutes */
};

static const struct attribute_rule group_rules[] = {
	{ .key = "priority.factor", .min = 0, .max = 100 },
	{ .key = "lite.bind.topic", .is_text = true },
	{ .key = "lite.sub.model", .values = lite_models },
	{ .key = "lite.sub.reset.offset.exclusive", .values = booleans },
	{ .key = "lite.sub.reset.offset.unsubscribe", .values = booleans },
	{ .key = "lite.sub.client.quota", .min = -1, .max = INT64_MAX },
	{ .key = "lite.sub.client.max.event.cnt", .min = 10, .max = INT64_MAX },
	{ .key = "lite.sub.wildcard", .is_text = true },
};

const struct attribute_rules topic_attributes = { topic_rules, N_ELEMENTS(topic_rules) };
const struct attribute_rules group_attributes = { group_rules, N_ELEMENTS(group_rules) };

static bool attribute_find(struct mq_slice attributes, struct mq_slice key, struct mq_slice *ret_value)
{
	struct mq_slice k;

	while (mq_attributes_next(&attributes, &k, ret_value))
		if (mq_slice_equal(k, key))
			return true;
	return false;
}

int attributes_check_form(struct mq_slice request, struct mq_error *err)
{
	struct mq_slice rest = request, key, value, seen, ignored;

	while (mq_attributes_next(&rest, &key, &value)) {
		if (value.p && !memchr(key.p, '+', key.n))
			return mq_error_set(err, -EINVAL, "add/alter attribute format is wrong: %.*s", MQ_FMT(key));
		if (!value.p && !memchr(key.p, '-', key.n))
			return mq_error_set(err, -EINVAL, "delete attribute format is wrong: %.*s", MQ_FMT(key));
		seen = (struct mq_slice){ request.p, (size_t)(key.p - request.p) };
		if (attribute_find(seen, key, &ignored))
			return mq_error_set(err, -EINVAL, "key duplication: %.*s", MQ_FMT(key));
	}
	return 0;
}

static int attribute_verify(const struct attribute_rule *rule, struct mq_slice value, struct mq_error *err)
{
	int64_t number;

	if (rule->is_text)
		return 0;
	if (rule->values) {
		char all[128];
		size_t n = 0;

		for (unsigned i = 0; rule->values[i]; i++) {
			if (mq_slice_is(value, rule->values[i]))
				return 0;
			n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", rule->values[i]);
		}
		return mq_error_set(err, -EINVAL, "value is not in set: [%s]", all);
	}
	if (mq_parse_i64(value, &number) < 0)
		return mq_error_set(err, -EINVAL, "For input string: \"%.*s\"", MQ_FMT(value));
	if (number < rule->min || number > rule->max)
		return mq_error_set(err, -EINVAL, "value is not in range(%lld, %lld)", (long long)rule->min,
				    (long long)rule->max);
	return 0;
}

/* One pair of the request: may it be applied? */
static int attribute_check(const struct attribute_rules *known, bool is_new, bool is_there, char sign,
			   struct mq_slice key, struct mq_slice value, struct mq_error *err)
{
	const struct attribute_rule *rule = NULL;

	if (key.n == 0 || memchr(key.p, '+', key.n) || memchr(key.p, '-', key.n))
		return mq_error_set(err, -EINVAL, "kv string format wrong.");
	if (is_new && sign != '+')
		return mq_error_set(err, -EINVAL, "only add attribute is supported while creating topic. key: %.*s",
				    MQ_FMT(key));
	if (sign != '+' && sign != '-')
		return mq_error_set(err, -EINVAL, "wrong format key: %.*s", MQ_FMT(key));
	if (sign == '-' && !is_there)
		return mq_error_set(err, -EINVAL, "attempt to delete a nonexistent key: %.*s", MQ_FMT(key));
	for (unsigned i = 0; i < known->n_rules && !rule; i++)
		if (mq_slice_is(key, known->rules[i].key))
			rule = &known->rules[i];
	if (!rule)
		return mq_error_set(err, -EINVAL, "unsupported key: %.*s", MQ_FMT(key));
	if (!is_new && rule->is_fixed)
		return mq_error_set(err, -EINVAL, "attempt to update an unchangeable attribute. key: %.*s", MQ_FMT(key));
	return sign == '-' ? 0 : attribute_verify(rule, value, err);
}

/* The last word of `request` on a key: its sign, or 0 when it says nothing. */
static char attribute_request_of(struct mq_slice request, struct mq_slice key, struct mq_slice *ret_value)
{
	struct mq_slice k, v;

	while (mq_attributes_next(&request, &k, &v)) {
		if (k.n != key.n + 1 || memcmp(k.p + 1, key.p, key.n) != 0)
			continue;
		*ret_value = v;
		return k.p[0];
	}
	return 0;
}

static bool attribute_put(char *ret, size_t size, size_t *n, struct mq_slice key, struct mq_slice value)
{
	if (*n + key.n + value.n + 2 > size)
		return false;
	if (*n > 0)
		ret[(*n)++] = ',';
	memcpy(ret + *n, key.p, key.n);
	*n += key.n;
	ret[(*n)++] = '=';
	if (value.n > 0)
		memcpy(ret + *n, value.p, value.n);
	*n += value.n;
	return true;
}

int attributes_alter(const struct attribute_rules *known, bool is_new, struct mq_slice current, struct mq_slice request,
		     char *ret, size_t size, struct mq_error *err)
{
	struct mq_slice rest, key, value, changed, ignored;
	bool fits = true;
	size_t n = 0;
	int r;

	rest = request;
	while (mq_attributes_next(&rest, &key, &value)) {
		struct mq_slice before = { request.p, (size_t)(key.p - request.p) };
		struct mq_slice name = { key.p + 1, key.n > 0 ? key.n - 1 : 0 };

		r = attribute_check(known, is_new, attribute_find(current, name, &ignored), key.n > 0 ? key.p[0] : 0,
				    name, value, err);
		if (r < 0)
			return r;
		if (attribute_request_of(before, name, &ignored))
			return mq_error_set(err, -EINVAL, "alter duplication key. key: %.*s", MQ_FMT(name));
	}
	rest = current;
	while (mq_attributes_next(&rest, &key, &value)) {
		char sign = attribute_request_of(request, key, &changed);

		if (sign != '-')
			fits = fits && attribute_put(ret, size, &n, key, sign ? changed : value);
	}
	rest = request;
	while (mq_attributes_next(&rest, &key, &value)) {
		struct mq_slice name = { key.p + 1, key.n - 1 };

		if (key.p[0] == '+' && !attribute_find(current, name, &ignored))
			fits = fits && attribute_put(ret, size, &n, name, value);
	}
	if (!fits)
		return mq_error_set(err, -EINVAL, "the attributes are longer than %zu bytes", size);
	return (int)n;
}

bool attributes_have(struct mq_slice attributes, const char *key, const char *value)
{
	struct mq_slice found;

	return attribute_find(attributes, mq_slice_of(key), &found) && mq_slice_is(found, value);
}

int64_t attributes_number(struct mq_slice attributes, const char *key, int64_t otherwise)
{
	struct mq_slice found;
	int64_t number;

	return attribute_find(attributes, mq_slice_of(key), &found) && mq_parse_i64(found, &number) == 0 ? number : otherwise;
}
