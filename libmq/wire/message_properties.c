#include "libmq/wire/message_properties.h"

#include <inttypes.h>
#include <stdio.h>

#include "libmq/base/bytes.h"

enum {
	NAME_END = 0x01,
	PAIR_END = 0x02,
	PAIR_MIN = 3, /* bytes: a name, NAME_END, a value */
};

/* Takes what is before the next PAIR_END off *rest. False at the end. */
static bool properties_take(struct mq_slice *rest, struct mq_slice *ret)
{
	const char *end;

	if (rest->n == 0)
		return false;
	end = memchr(rest->p, PAIR_END, rest->n);
	*ret = (struct mq_slice){ rest->p, end ? (size_t)(end - rest->p) : rest->n };
	rest->p += ret->n + (end != NULL);
	rest->n -= ret->n + (end != NULL);
	return true;
}

static bool properties_split(struct mq_slice pair, struct mq_slice *ret_name, struct mq_slice *ret_value)
{
	const char *end;

	if (pair.n < PAIR_MIN)
		return false;
	end = memchr(pair.p, NAME_END, pair.n - 1); /* an empty value does not count */
	if (!end || end == pair.p)
		return false;
	*ret_name = (struct mq_slice){ pair.p, (size_t)(end - pair.p) };
	*ret_value = (struct mq_slice){ end + 1, pair.n - ret_name->n - 1 };
	return true;
}

bool mq_properties_next(struct mq_slice *rest, struct mq_slice *ret_name, struct mq_slice *ret_value)
{
	struct mq_slice pair;

	while (properties_take(rest, &pair))
		if (properties_split(pair, ret_name, ret_value))
			return true;
	return false;
}

/* Without strlen(): nearly all names differ in the first byte. */
static bool name_is(struct mq_slice name, const char *text)
{
	for (size_t i = 0; i < name.n; i++)
		if (text[i] == '\0' || text[i] != name.p[i])
			return false;
	return text[name.n] == '\0';
}

struct mq_slice mq_properties_get(struct mq_slice properties, const char *name)
{
	struct mq_slice value;

	mq_properties_find(properties, &name, &value, 1);
	return value;
}

void mq_properties_find(struct mq_slice properties, const char *const *names, struct mq_slice *values, unsigned n)
{
	struct mq_slice name, value;

	for (unsigned i = 0; i < n; i++)
		values[i] = (struct mq_slice){ NULL, 0 };
	while (mq_properties_next(&properties, &name, &value))
		for (unsigned i = 0; i < n; i++)
			if (name_is(name, names[i]))
				values[i] = value;
}

size_t mq_properties_append(char *out, size_t n, size_t capacity, const char *name, struct mq_slice value)
{
	size_t name_size = strlen(name), more;
	char *p = out + n;
	bool is_open;

	if (n > capacity)
		return 0;
	is_open = n > 0 && out[n - 1] != PAIR_END; /* old writers leave the last pair open */
	more = name_size + 1 + value.n + 1 + is_open;
	if (more > capacity - n)
		return 0;
	if (is_open)
		p = mq_put8(p, PAIR_END);
	p = mq_put_bytes(p, name, name_size);
	p = mq_put8(p, NAME_END);
	p = mq_put_bytes(p, value.p, value.n);
	mq_put8(p, PAIR_END);
	return n + more;
}

static bool is_dropped(struct mq_slice pair, const char *const *drop)
{
	struct mq_slice name, value;

	if (!drop || !properties_split(pair, &name, &value))
		return false;
	for (; *drop; drop++)
		if (name_is(name, *drop))
			return true;
	return false;
}

size_t mq_properties_copy(struct mq_slice properties, const char *const *drop, char *out, size_t capacity)
{
	struct mq_slice pair;
	size_t n = 0;

	while (properties_take(&properties, &pair)) {
		if (pair.n == 0 || is_dropped(pair, drop))
			continue;
		if (pair.n + 1 > capacity - n)
			return (size_t)-1;
		mq_put8(mq_put_bytes(out + n, pair.p, pair.n), PAIR_END);
		n += pair.n + 1;
	}
	return n;
}

void mq_properties_begin(struct mq_properties_out *out, char *p, size_t size, struct mq_slice properties, const char *const *drop)
{
	*out = (struct mq_properties_out){ .p = p, .size = size };
	out->n = mq_properties_copy(properties, drop, p, size);
	out->is_full = out->n == (size_t)-1;
}

void mq_properties_add(struct mq_properties_out *out, const char *name, struct mq_slice value)
{
	if (out->is_full)
		return;
	out->n = mq_properties_append(out->p, out->n, out->size, name, value);
	out->is_full = out->n == 0;
}

void mq_properties_add_i64(struct mq_properties_out *out, const char *name, int64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRIi64, value);
	mq_properties_add(out, name, mq_slice_of(text));
}

struct mq_slice mq_properties_end(const struct mq_properties_out *out, struct mq_slice otherwise)
{
	return out->is_full ? otherwise : (struct mq_slice){ out->p, out->n };
}
