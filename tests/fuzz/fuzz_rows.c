/* Rows of the store, as a damaged disk could hand them out: what is taken for a row has its parts within it. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "storage/index.h"
#include "storage/internal.h"

static bool is_within(struct mq_slice part, struct mq_slice all)
{
	return part.n == 0 || (part.p >= all.p && part.p + part.n <= all.p + all.n);
}

static void check_queue(struct mq_slice value)
{
	struct queue_row row;
	int r = queue_row_decode(value, &row);

	must(r == 0 || r == -EBADMSG);
	if (r == 0)
		must(row.min >= 0 && row.kind <= FAMILY_SHARED && row.topic.n > 0 && is_within(row.topic, value));
}

static void check_offset(struct mq_slice key)
{
	struct mq_slice group, topic;
	int32_t queue_id;
	int r = offset_key_parse(key, &group, &topic, &queue_id);

	must(r == 0 || r == -EBADMSG);
	if (r < 0)
		return;
	must(is_within(group, key) && is_within(topic, key));
	must(group.n + 1 + topic.n + 1 + 4 == key.n);
}

/* The key alone, and as much of it as is too long for one as the value. */
static void check_half(struct mq_slice all)
{
	struct mq_slice key = { all.p, all.n < 8 ? all.n : 8 }, value = { all.p + key.n, all.n - key.n };
	struct store_half half;
	int r = half_parse(key, value, &half);

	must(r == 0 || r == -EBADMSG);
}

static void check_family(struct mq_slice name)
{
	_cleanup_(freep) char *text = strndup(name.p, name.n);
	char canonical[32];
	uint32_t number;
	bool is_shared;

	if (!family_name_parse(text, &is_shared, &number))
		return;
	snprintf(canonical, sizeof canonical, "%c%u", is_shared ? 's' : 'f', number);
	must(family_name_parse(canonical, &is_shared, &number));
}

static void check_keys(struct mq_slice rest)
{
	struct mq_slice all = rest, key;

	while ((key = index_next_key(&rest)).n > 0) {
		must(is_within(key, all) && !memchr(key.p, ' ', key.n));
		(void)index_hash(MQ_SLICE("T"), key);
	}
}

static void check_due(struct mq_slice key)
{
	static const char value[DUE_POP_VALUE_SIZE] = { 0, 0, 0, 0, 0, 0, 0, 7, 1 };
	struct store_due due;

	for (size_t n = 0; n <= sizeof value; n += sizeof value) {
		int r = due_parse(key, (struct mq_slice){ value, n }, &due);

		must(r == 0 || r == -EBADMSG);
		if (r < 0)
			continue;
		must(due_is_valid(&due) && due_equals(&due, &due));
		must(is_within(due.group, key) && key.n == DUE_KEY_MIN + due.group.n);
		must((due.kind == STORE_DUE_POP) == (n > 0));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_queue(fuzz_slice(data, size));
	check_offset(fuzz_slice(data, size));
	check_half(fuzz_slice(data, size));
	check_due(fuzz_slice(data, size));
	check_family(fuzz_slice(data, size));
	check_keys(fuzz_slice(data, size));
	return 0;
}
