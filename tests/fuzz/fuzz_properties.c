/* The properties string of a message: what is copied has the same pairs, what is dropped is gone, what is appended is
 * found. */
#include "tests/fuzz/fuzz.h"

#include "libmq/wire/message_properties.h"

static void check_copy(struct mq_slice properties)
{
	_cleanup_(freep) char *out = malloc(properties.n + 1);
	size_t n = mq_properties_copy(properties, NULL, out, properties.n + 1);
	struct mq_slice copy = { out, n }, name, value, copy_name, copy_value;

	must(n <= properties.n + 1);
	while (mq_properties_next(&properties, &name, &value)) {
		must(name.n > 0 && value.n > 0);
		must(mq_properties_next(&copy, &copy_name, &copy_value));
		must(mq_slice_equal(name, copy_name) && mq_slice_equal(value, copy_value));
	}
	must(!mq_properties_next(&copy, &copy_name, &copy_value));
}

static void check_drop(struct mq_slice properties)
{
	static const char *const drop[] = { MQ_PROPERTY_KEYS, MQ_PROPERTY_TAGS, "x", NULL };
	size_t capacity = properties.n + 1 + sizeof "TAGS\001t\002";
	_cleanup_(freep) char *out = malloc(capacity);
	struct mq_slice values[3];
	size_t n;

	n = mq_properties_copy(properties, drop, out, properties.n + 1);
	must(n <= properties.n + 1);
	mq_properties_find((struct mq_slice){ out, n }, drop, values, 3);
	for (int i = 0; i < 3; i++)
		must(!values[i].p);

	n = mq_properties_append(out, n, capacity, MQ_PROPERTY_TAGS, MQ_SLICE("t"));
	must(n > 0);
	must(mq_slice_is(mq_properties_get((struct mq_slice){ out, n }, MQ_PROPERTY_TAGS), "t"));

	/* Too little room is said, not overrun. */
	for (size_t room = 0; room < 8 && room < properties.n; room++) {
		_cleanup_(freep) char *small = malloc(room + 1);
		size_t k = mq_properties_copy(properties, drop, small, room);

		must(k == (size_t)-1 || k <= room);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_copy(fuzz_slice(data, size));
	check_drop(fuzz_slice(data, size));
	return 0;
}
