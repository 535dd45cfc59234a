/* What mqctl prints on standard output: tables for people, bare fields for pipes, JSON for programs. */
#pragma once

#include <stdio.h>

#include "libmq/base/cleanup.h"
#include "libmq/wire/json.h"

enum output_choice { OUTPUT_AUTO, OUTPUT_TABLE, OUTPUT_JSON }; /* as given with -o */
enum output_format {
	FORMAT_TABLE, /* header, aligned columns */
	FORMAT_PLAIN, /* no header, fields separated by one blank: for cut, awk and read */
	FORMAT_JSON,
};

enum column_kind { COLUMN_TEXT, COLUMN_NUMBER, COLUMN_FLAG };

struct column {
	const char *title;     /* of the table: "LAST MESSAGE" */
	const char *key;       /* member of the JSON object: "lastMessageTime" */
	enum column_kind kind; /* numbers are right-aligned, and bare in JSON; flags are "yes" or "no", true or false in JSON */
};

struct table;

/* `columns` is borrowed. -ENOMEM. */
int table_new(struct table **ret, const struct column *columns, unsigned n_columns) _must_check_;
struct table *table_free(struct table *t);
DEFINE_CLEANUP(struct table *, table_free)

/* The next cell, row by row. An empty text means "nothing": "-" in a table, null in JSON. Running out of
 * memory is remembered and returned by table_print(). */
void table_cell(struct table *t, const char *fmt, ...) _printf_(2, 3);
unsigned table_rows(const struct table *t);
/* JSON: one array of objects. 0 or -ENOMEM. */
int table_print(struct table *t, enum output_format format, FILE *out) _must_check_;

/* A JSON document being written: begin, use `w`, print it with a newline. */
struct json_out {
	struct mq_json_writer w;
	struct evbuffer *buffer; /* owned */
};

int json_out_init(struct json_out *j) _must_check_;
/* Prints what was written as one line and empties the buffer. 0 or -ENOMEM. */
int json_out_print(struct json_out *j, FILE *out);
void json_out_done(struct json_out *j);
/* Text as JSON if it is UTF-8, as member `name`; else base64 as member `name`Base64. */
void json_out_bytes(struct json_out *j, const char *name, const char *name_base64, struct mq_slice bytes);

/* Prints bytes of a peer: on a terminal, control characters (except newline and tab) become "." so that a
 * message cannot steer it. */
void output_text(struct mq_slice text, bool is_terminal, FILE *out);
