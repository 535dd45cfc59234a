/* Bodies that producers compressed (message.md section 3): they are stored and delivered as they were sent. */
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#include "libmq/client/pull.h"

enum { TYPE_OLD_ZLIB = 0, TYPE_ZLIB = 0x300 };

static int inflate_all(struct mq_slice in, struct mq_slice *ret, char **ret_owned)
{
	z_stream z = { .next_in = (Bytef *)in.p, .avail_in = (uInt)in.n };
	_cleanup_(freep) char *out = NULL;
	size_t capacity = in.n * 4 + 256;
	int r;

	if (inflateInit(&z) != Z_OK)
		return -ENOMEM;
	do {
		char *larger;

		if (z.total_out >= MQ_BODY_MAX) {
			inflateEnd(&z);
			return -E2BIG;
		}
		if (capacity > MQ_BODY_MAX)
			capacity = MQ_BODY_MAX;
		larger = realloc(out, capacity);
		if (!larger) {
			inflateEnd(&z);
			return -ENOMEM;
		}
		out = larger;
		z.next_out = (Bytef *)out + z.total_out;
		z.avail_out = (uInt)(capacity - z.total_out);
		r = inflate(&z, Z_NO_FLUSH);
		capacity *= 2;
	} while (r == Z_OK && z.avail_out == 0);

	ret->n = z.total_out;
	inflateEnd(&z);
	if (r != Z_STREAM_END)
		return -EBADMSG;
	*ret_owned = TAKE(out);
	ret->p = *ret_owned;
	return 0;
}

int mq_record_body(const struct mq_record *r, struct mq_slice *ret, char **ret_owned)
{
	struct mq_slice body = {};
	int type = r->sys_flag & MQ_SYS_COMPRESSION;
	int error;

	*ret = r->body;
	*ret_owned = NULL;
	if (!(r->sys_flag & MQ_SYS_COMPRESSED))
		return 0;
	if (type != TYPE_OLD_ZLIB && type != TYPE_ZLIB)
		return -ENOTSUP;
	error = inflate_all(r->body, &body, ret_owned);
	if (error < 0)
		return error;
	*ret = body;
	return 0;
}
