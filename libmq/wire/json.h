/* The JSON dialect of the protocol (reference: protocol/frame.md section 5): tolerant in, exact out.
 * In: what fastjson accepts (single quotes, bare, numeric and object keys, trailing commas, comments, $ref resolved once).
 * Out: compact, members in the order written by the caller (alphabetical, as fastjson does), never $ref.
 * A document belongs to one thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

struct evbuffer;
struct mq_json;

enum mq_json_type { MQ_JSON_NULL, MQ_JSON_BOOL, MQ_JSON_NUMBER, MQ_JSON_STRING, MQ_JSON_ARRAY, MQ_JSON_OBJECT };

enum {
	MQ_JSON_DEPTH_MAX = 32,      /* nesting; deeper is refused */
	MQ_JSON_NODES_MAX = 1 << 20, /* nodes of one document; more is refused before memory is taken */
};

struct mq_json_node {
	enum mq_json_type type;
	struct mq_slice text;            /* STRING: unescaped UTF-8; NUMBER and BOOL: as written */
	const struct mq_json_node *key;  /* of a member of an object: STRING, NUMBER (bare) or OBJECT; else NULL */
	const struct mq_json_node *next; /* sibling */
	const struct mq_json_node *first;/* first element or member */
	unsigned n;                      /* elements or members */
};

/* Parses one document. The nodes and their texts live until mq_json_free(); `text` need not.
 * -EBADMSG with a sentence (position and what was expected) in *err, -E2BIG beyond the limits, -ENOMEM. */
int mq_json_parse(struct mq_json **ret, struct mq_slice text, struct mq_error *err) _must_check_;
struct mq_json *mq_json_free(struct mq_json *doc);
const struct mq_json_node *mq_json_root(const struct mq_json *doc);

DEFINE_CLEANUP(struct mq_json *, mq_json_free)

/* Member by name; the last one wins when it is there twice. NULL when absent, null, or `object` is no object or NULL. */
const struct mq_json_node *mq_json_get(const struct mq_json_node *object, const char *name);

/* Lenient conversions, as fastjson does: numbers from strings, strings from scalars. NULL or not convertible: `otherwise`. */
int64_t mq_json_i64(const struct mq_json_node *node, int64_t otherwise);
double mq_json_double(const struct mq_json_node *node, double otherwise);
bool mq_json_bool(const struct mq_json_node *node, bool otherwise);
struct mq_slice mq_json_text(const struct mq_json_node *node); /* p NULL when NULL or not a scalar */
/* An enum member by name or by ordinal: its index in `names`, or `otherwise`. */
int mq_json_enum(const struct mq_json_node *node, const char *const *names, unsigned n_names, int otherwise);

#define MQ_JSON_EACH(child, parent) \
	for (const struct mq_json_node *child = (parent) ? (parent)->first : NULL; child; child = child->next)

/* Writer: appends to an evbuffer, puts the commas. Running out of memory is remembered and returned by mq_json_end(). */
struct mq_json_writer {
	struct evbuffer *out; /* borrowed */
	bool needs_comma;
	bool ascii;           /* write non-ASCII as \uXXXX: the "standard JSON" route answer */
	int error;
};

void mq_json_begin(struct mq_json_writer *w, struct evbuffer *out);
int mq_json_end(struct mq_json_writer *w) _must_check_; /* 0 or -ENOMEM */

void mq_json_open_object(struct mq_json_writer *w);  /* { */
void mq_json_close_object(struct mq_json_writer *w); /* } */
void mq_json_open_array(struct mq_json_writer *w);
void mq_json_close_array(struct mq_json_writer *w);
void mq_json_key(struct mq_json_writer *w, const char *name);
void mq_json_key_slice(struct mq_json_writer *w, struct mq_slice name);
void mq_json_key_i64(struct mq_json_writer *w, int64_t key);   /* bare numeric key: 0:"..." */
/* Object as key: call mq_json_open_object() ... mq_json_close_object(), then this writes the colon. */
void mq_json_key_done(struct mq_json_writer *w);
void mq_json_string(struct mq_json_writer *w, struct mq_slice text);
void mq_json_i64_value(struct mq_json_writer *w, int64_t value);
void mq_json_double_value(struct mq_json_writer *w, double value); /* Java notation: 0.0, 1.0E10; NaN and infinity as null */
void mq_json_bool_value(struct mq_json_writer *w, bool value);
void mq_json_raw(struct mq_json_writer *w, struct mq_slice json);  /* a complete value, copied as it is */
/* Whole members: key and value. */
void mq_json_member_string(struct mq_json_writer *w, const char *name, struct mq_slice value);
void mq_json_member_i64(struct mq_json_writer *w, const char *name, int64_t value);
void mq_json_member_bool(struct mq_json_writer *w, const char *name, bool value);
void mq_json_member_double(struct mq_json_writer *w, const char *name, double value);
