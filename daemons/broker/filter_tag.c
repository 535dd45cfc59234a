#include "daemons/broker/filter_tag.h"

#include <errno.h>

#include "libmq/wire/record.h"

/* The piece before the next "||", which is taken off *rest together with it. */
static struct mq_slice filter_tag_cut(struct mq_slice *rest)
{
	const char *bars = rest->n >= 2 ? memmem(rest->p, rest->n, "||", 2) : NULL;
	struct mq_slice piece = { rest->p, bars ? (size_t)(bars - rest->p) : rest->n };
	size_t n = piece.n + (bars ? 2 : 0);

	*rest = (struct mq_slice){ rest->p + n, rest->n - n };
	return piece;
}

/* String.trim(): everything up to the blank counts as white space. */
static struct mq_slice filter_tag_trim(struct mq_slice s)
{
	while (s.n > 0 && (unsigned char)s.p[0] <= ' ')
		s = (struct mq_slice){ s.p + 1, s.n - 1 };
	while (s.n > 0 && (unsigned char)s.p[s.n - 1] <= ' ')
		s.n--;
	return s;
}

static void filter_tag_add(struct subscription *s, int32_t code)
{
	for (unsigned i = 0; i < s->n_codes; i++)
		if (s->codes[i] == code)
			return;
	if (s->n_codes == N_ELEMENTS(s->codes))
		s->has_more_codes = true;
	else
		s->codes[s->n_codes++] = code;
}

int filter_tag_parse(struct subscription *ret, struct mq_slice expression)
{
	struct subscription s = { .model = CLUSTERING, .is_tag = true };
	struct mq_slice rest = expression;
	bool has_piece = false;

	if (expression.n == 0 || mq_slice_is(expression, "*")) {
		s.matches_all = true;
		*ret = s;
		return 0;
	}
	while (rest.n > 0) {
		struct mq_slice piece = filter_tag_cut(&rest), tag = filter_tag_trim(piece);

		has_piece |= piece.n > 0; /* blanks are a piece, though no tag: it matches nothing */
		if (tag.n > 0)
			filter_tag_add(&s, mq_java_hash(tag));
	}
	if (!has_piece)
		return -EINVAL;
	*ret = s;
	return 0;
}

bool filter_tag_matches(const struct subscription *s, int64_t tag_hash)
{
	if (s->matches_all || s->has_more_codes)
		return true;
	for (unsigned i = 0; i < s->n_codes; i++)
		if (s->codes[i] == (int32_t)tag_hash)
			return true;
	return false;
}
