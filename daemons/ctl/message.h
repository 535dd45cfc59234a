/* One received message on standard output, as a line for people or as JSON. */
#pragma once

#include "daemons/ctl/output.h"
#include "libmq/wire/record.h"

struct message_printer {
	enum output_format format;
	bool is_terminal, is_raw; /* raw: the body and a newline, nothing else */
	struct json_out json;
};

int message_printer_init(struct message_printer *p, enum output_format format, bool is_terminal,
			 bool is_raw) _must_check_;
void message_printer_done(struct message_printer *p);
/* `broker` is its name. 0, or a negative errno when standard output cannot be written. */
int message_print(struct message_printer *p, const struct mq_record *r, const char *broker,
		  FILE *out) _must_check_;
