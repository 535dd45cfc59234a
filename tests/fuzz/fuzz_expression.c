/* The tag expression of a pull. */
#include "tests/fuzz/fuzz.h"

#include "daemons/broker/filter_tag.h"
#include "libmq/wire/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mq_slice text = fuzz_slice(data, size);
	struct subscription s;

	if (filter_tag_parse(&s, text) < 0)
		return 0;
	must(s.is_tag);
	must(s.n_codes <= N_ELEMENTS(s.codes));
	must(s.matches_all == (text.n == 0 || mq_slice_is(text, "*")));
	for (unsigned i = 0; i < s.n_codes; i++)
		must(filter_tag_matches(&s, s.codes[i]));
	/* A tag alone is itself. */
	if (!s.matches_all && !memmem(text.p, text.n, "||", 2) && (unsigned char)text.p[0] > ' ' && (unsigned char)text.p[text.n - 1] > ' ')
		must(s.n_codes == 1 && filter_tag_matches(&s, mq_java_hash(text)));
	return 0;
}
