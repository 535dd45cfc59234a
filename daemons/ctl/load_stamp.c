/* The stamp at the beginning of a body: which run sent it, and when it was due. */
#include <string.h>

#include "daemons/ctl/load_internal.h"

static const char stamp_mark[8] = "mqbench ";

void load_write_stamp(char *body, uint32_t run, int64_t due_ns)
{
	memcpy(body, stamp_mark, sizeof stamp_mark);
	put_hex(body + 8, run, 8);
	body[16] = ' ';
	put_decimal(body + 17, (uint64_t)due_ns, 20);
	body[37] = ' ';
}

bool load_read_stamp(struct mq_slice body, uint32_t run, int64_t *ret_ns)
{
	char wanted[8];
	int64_t ns = 0;

	if (body.n < LOAD_STAMP_SIZE || memcmp(body.p, stamp_mark, sizeof stamp_mark) != 0)
		return false;
	put_hex(wanted, run, 8);
	if (memcmp(body.p + 8, wanted, 8) != 0)
		return false;
	for (int i = 17; i < 37; i++) {
		if (body.p[i] < '0' || body.p[i] > '9' || ns > INT64_MAX / 10 - 1)
			return false;
		ns = ns * 10 + (body.p[i] - '0');
	}
	*ret_ns = ns;
	return true;
}
