/* What the files of the expression's compiler know of each other; nobody else includes this: filter_sql_words.c reads words,
 * filter_sql_parse.c knows the grammar, filter_sql_write.c writes the program. One thread at a time. */
#pragma once

#include "daemons/broker/filter_sql_program.h"

enum token_kind {
	T_END,
	T_NOT,
	T_AND,
	T_OR,
	T_BETWEEN,
	T_IN,
	T_TRUE,
	T_FALSE,
	T_NULL,
	T_IS,
	T_CONTAINS,
	T_STARTSWITH,
	T_ENDSWITH,
	T_INTEGER,
	T_FLOAT,
	T_STRING,
	T_NAME,
	T_EQUAL,
	T_NOT_EQUAL,
	T_GREATER,
	T_GREATER_EQUAL,
	T_LESS,
	T_LESS_EQUAL,
	T_OPEN,
	T_COMMA,
	T_CLOSE,
	T_PLUS,
	T_MINUS,
};

struct filter_array {
	void *items; /* owned */
	unsigned n, capacity;
};

struct filter_parser {
	const char *begin, *p, *end;
	struct mq_error *err;
	int error; /* the first one */

	enum token_kind kind; /* of the token that comes next */
	struct mq_slice token;

	unsigned nesting; /* of parse_unary() */
	unsigned depth;   /* of the stack behind the last operation */
	struct filter_array ops, numbers, strings, lists;
	char *text; /* owned: names and decoded strings; never more than the expression itself */
	unsigned n_text;
	struct filter_text names[FILTER_SQL_NAMES_MAX];
	unsigned n_names;
};

/* ---- filter_sql_words.c ---- */

static inline bool filter_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Goes on to the next token; T_END at the end and after an error. */
void filter_next(struct filter_parser *p);
/* Takes a token of this kind. False, and an error that calls it `name`, when another one comes. */
bool filter_expect(struct filter_parser *p, enum token_kind kind, const char *name);
/* The same without an error. */
bool filter_take(struct filter_parser *p, enum token_kind kind);

/* Notes the first error. False. */
bool filter_fail(struct filter_parser *p, int error, const char *fmt, ...) _printf_(3, 4);
/* The token is not what is wanted. False. */
bool filter_fail_token(struct filter_parser *p, const char *wanted);
/* Where in the expression, from 1. */
size_t filter_column(const struct filter_parser *p, const char *at);
/* Bytes of the beginning of a long word, whole characters: for "%.*s". */
int filter_shown(struct mq_slice s);

/* ---- filter_sql_write.c; each returns a number of what it wrote, and 0 after filter_fail() ---- */

unsigned filter_write(struct filter_parser *p, enum filter_op_code code, unsigned arg);
/* The jump goes to the operation that is written next. */
void filter_land(struct filter_parser *p, unsigned jump);
unsigned filter_add_name(struct filter_parser *p, struct mq_slice name);
/* The text between the quotes of the token; a doubled quote is one. */
unsigned filter_add_string(struct filter_parser *p);
/* Of the strings from the `first` on, which are sorted. */
unsigned filter_add_list(struct filter_parser *p, unsigned first);
unsigned filter_add_number(struct filter_parser *p, union filter_number v);
/* The whole, one allocation for free(). NULL: out of memory. */
struct filter_sql *filter_program_new(const struct filter_parser *p);
