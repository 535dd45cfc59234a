/* What mqctl tail prints of a pull answer: compressed bodies, properties and texts come from whoever sent the messages. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>

#include "daemons/ctl/message.h"
#include "libmq/base/utf8.h"
#include "libmq/client/pull.h"

static bool is_json_in_utf8(const char *text, size_t n)
{
	struct mq_slice slice = { text, n };
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;

	return mq_utf8_is(slice) && mq_json_parse(&doc, slice, NULL) == 0;
}

static void show(const struct mq_record *r, enum output_format format, bool is_raw)
{
	struct message_printer p;
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	must(out && message_printer_init(&p, format, true, is_raw) == 0);
	must(message_print(&p, r, "broker-a", out) == 0);
	message_printer_done(&p);
	fclose(out);
	if (format == FORMAT_JSON)
		must(is_json_in_utf8(text, n));
	/* On a terminal nothing gets through that could steer it. */
	for (size_t i = 0; i < n; i++)
		must((unsigned char)text[i] >= 0x20 || text[i] == '\n' || text[i] == '\t');
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mq_slice rest = fuzz_slice(data, size);
	struct mq_record r;

	while (mq_records_next(&rest, &r) > 0) {
		show(&r, FORMAT_TABLE, false);
		show(&r, FORMAT_TABLE, true);
		show(&r, FORMAT_JSON, false);
	}
	return 0;
}
