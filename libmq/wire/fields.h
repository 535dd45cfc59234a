/* Typed request headers from one field list.
 *
 *   #define NAME_FIELDS(X)  X(type, member, "wireName", REQUIRED | OPTIONAL | LENIENT) ...
 *   MQ_HEADER(name, NAME_FIELDS)
 *
 * defines `struct name_header` and name_header_decode(). Types: slice, i32, i64, bool. Slices borrow from the frame behind
 * the command; an OPTIONAL field that is absent leaves its member as the caller initialised it, so defaults are set by the
 * initialiser. Of a LENIENT one that is not of its type, too: so upstream reads headers that have no decode() of their own.
 * The error text is the one upstream uses, since clients print it. */
#pragma once

#include <errno.h>
#include <stdint.h>

#include "libmq/wire/command.h"

enum mq_need { OPTIONAL, REQUIRED, LENIENT };

typedef struct mq_slice mq_slice_type;
typedef int32_t mq_i32_type;
typedef int64_t mq_i64_type;
typedef bool mq_bool_type;

/* 0, or -EBADMSG when the text is not wholly of the type. */
int mq_parse_slice(struct mq_slice text, struct mq_slice *ret);
int mq_parse_i32(struct mq_slice text, int32_t *ret);
int mq_parse_i64(struct mq_slice text, int64_t *ret);
int mq_parse_bool(struct mq_slice text, bool *ret); /* "true" ignoring case is true, anything else false: parseBoolean */

#define MQ_HEADER_MEMBER(type, member, wire, need) mq_##type##_type member;
#define MQ_HEADER_FIELD(type, member, wire, need)                                                    \
	v = mq_command_field(cmd, wire);                                                             \
	if (!v && need == REQUIRED)                                                                  \
		return mq_error_set(err, -EBADMSG, "the custom field <%s> is null", wire);           \
	if (v && mq_parse_##type(*v, &h->member) < 0 && need != LENIENT)                             \
		return mq_error_set(err, -EBADMSG, "the custom field <%s> is not valid: %.*s", wire, \
				    (int)(v->n > 64 ? 64 : v->n), v->p);

#define MQ_HEADER(name, FIELDS)                                                                      \
	struct name##_header {                                                                       \
		FIELDS(MQ_HEADER_MEMBER)                                                             \
	};                                                                                           \
	static inline int name##_header_decode(struct name##_header *h, const struct mq_command *cmd, \
					       struct mq_error *err)                                 \
	{                                                                                            \
		const struct mq_slice *v;                                                            \
		FIELDS(MQ_HEADER_FIELD)                                                              \
		return 0;                                                                            \
	}
