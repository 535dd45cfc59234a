/* The short texts that carry numbers: message ids, host addresses, decimal fields, and the tag hash. */
#include "tests/fuzz/fuzz.h"

#include <strings.h>

#include "libmq/wire/fields.h"
#include "libmq/wire/json_number.h"
#include "libmq/wire/record.h"

static void check_id(struct mq_slice text)
{
	char id[MQ_MESSAGE_ID_MAX];
	struct mq_host host;
	int64_t offset;

	if (mq_message_id_decode(text, &host, &offset) < 0)
		return;
	mq_message_id_encode(&host, offset, id);
	must(strlen(id) == text.n && strncasecmp(id, text.p, text.n) == 0);
}

static void check_host(struct mq_slice text)
{
	char formatted[MQ_HOST_TEXT_MAX];
	struct mq_host host, again;

	if (mq_host_parse(text, &host) < 0)
		return;
	must(mq_host_parse(mq_slice_of(mq_host_format(&host, formatted)), &again) == 0);
	must(host.port == again.port && host.n_addr == again.n_addr && memcmp(host.addr, again.addr, host.n_addr) == 0);
}

static void check_numbers(struct mq_slice text)
{
	char formatted[MQ_DOUBLE_TEXT_MAX];
	double d, again;
	int32_t small;
	int64_t v;

	if (mq_parse_i32(text, &small) == 0)
		must(mq_parse_i64(text, &v) == 0 && v == small);
	if (mq_parse_double(text, &d) == 0)
		must(mq_parse_double(mq_slice_of(mq_format_double(d, formatted)), &again) == 0 && d == again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mq_slice text = fuzz_slice(data, size);

	check_id(text);
	check_host(text);
	check_numbers(text);
	(void)mq_java_hash(text);
	return 0;
}
