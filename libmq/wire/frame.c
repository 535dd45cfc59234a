#include "libmq/wire/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libmq/base/bytes.h"

enum { FRAME_CAPACITY_MIN = 512 }; /* bytes; below this growing costs more than it saves */

struct mq_frame *mq_frame_ref(struct mq_frame *f)
{
	f->refs++;
	return f;
}

struct mq_frame *mq_frame_unref(struct mq_frame *f)
{
	if (f && --f->refs == 0)
		free(f);
	return NULL;
}

void mq_frame_reader_init(struct mq_frame_reader *r, size_t max_size)
{
	*r = (struct mq_frame_reader){ .max_size = max_size };
}

void mq_frame_reader_done(struct mq_frame_reader *r)
{
	free(r->partial);
	mq_frame_reader_init(r, r->max_size);
}

size_t mq_frame_reader_held(const struct mq_frame_reader *r)
{
	return r->partial ? sizeof *r->partial + r->capacity : 0;
}

size_t mq_frame_reader_size(const struct mq_frame_reader *r)
{
	return r->n_prefix < MQ_FRAME_PREFIX_SIZE ? 0 : MQ_FRAME_LENGTH_SIZE + (size_t)mq_get32(r->prefix);
}

/* The peer's claim, judged as soon as its bytes are there, so that nobody waits for a frame that would be refused. */
static int frame_check_prefix(const char *prefix, size_t n, size_t max_size)
{
	size_t length, header_size;

	if (n < MQ_FRAME_LENGTH_SIZE)
		return 0;
	length = mq_get32(prefix);
	if (length + MQ_FRAME_LENGTH_SIZE > max_size)
		return -EMSGSIZE;
	if (length < MQ_FRAME_PREFIX_SIZE - MQ_FRAME_LENGTH_SIZE)
		return -EBADMSG;

	if (n < MQ_FRAME_PREFIX_SIZE)
		return 0;
	header_size = mq_get32(prefix + MQ_FRAME_LENGTH_SIZE) & 0xffffff;
	if ((uint8_t)prefix[MQ_FRAME_LENGTH_SIZE] > MQ_CODEC_BINARY)
		return -EBADMSG;
	if (header_size > length - (MQ_FRAME_PREFIX_SIZE - MQ_FRAME_LENGTH_SIZE))
		return -EBADMSG;
	return 0;
}

/* All bytes are there: says where the parts are. Only now, because growing moves the frame. */
static void frame_set_parts(struct mq_frame *f, size_t size)
{
	char *body;

	f->refs = 1;
	f->size = size;
	f->codec = (uint8_t)f->data[MQ_FRAME_LENGTH_SIZE];
	f->header = f->data + MQ_FRAME_PREFIX_SIZE;
	f->header_size = mq_get32(f->data + MQ_FRAME_LENGTH_SIZE) & 0xffffff;
	body = f->header + f->header_size;
	f->body.n = (size_t)(f->data + size - body);
	f->body.p = f->body.n > 0 ? body : NULL;
}

static void frame_consume(struct mq_slice *in, size_t n)
{
	in->p += n;
	in->n -= n;
}

/* Makes room for `size` bytes in all, of which `sent` are there or at hand. */
static int frame_reader_grow(struct mq_frame_reader *r, size_t sent, size_t size)
{
	size_t capacity = 2 * sent;
	struct mq_frame *f;

	if (sent <= r->capacity)
		return 0;
	if (capacity < FRAME_CAPACITY_MIN)
		capacity = FRAME_CAPACITY_MIN;
	if (capacity > size)
		capacity = size;

	f = realloc(r->partial, sizeof *f + capacity);
	if (!f)
		return -ENOMEM;
	r->partial = f;
	r->capacity = capacity;
	return 0;
}

int mq_frame_reader_next(struct mq_frame_reader *r, struct mq_slice *in, struct mq_frame **ret)
{
	size_t size, take;
	int k;

	if (r->n_prefix < MQ_FRAME_PREFIX_SIZE) {
		take = MQ_FRAME_PREFIX_SIZE - r->n_prefix;
		if (take > in->n)
			take = in->n;
		if (take > 0)
			memcpy(r->prefix + r->n_prefix, in->p, take);
		r->n_prefix += take;
		frame_consume(in, take);

		k = frame_check_prefix(r->prefix, r->n_prefix, r->max_size);
		if (k < 0)
			return k;
		if (r->n_prefix < MQ_FRAME_PREFIX_SIZE)
			return 0;
		r->n_partial = MQ_FRAME_PREFIX_SIZE;
	}

	size = MQ_FRAME_LENGTH_SIZE + (size_t)mq_get32(r->prefix);
	take = size - r->n_partial;
	if (take > in->n)
		take = in->n;

	k = frame_reader_grow(r, r->n_partial + take, size);
	if (k < 0)
		return k;
	if (take > 0)
		memcpy(r->partial->data + r->n_partial, in->p, take);
	r->n_partial += take;
	frame_consume(in, take);
	if (r->n_partial < size)
		return 0;

	memcpy(r->partial->data, r->prefix, MQ_FRAME_PREFIX_SIZE);
	frame_set_parts(r->partial, size);
	*ret = TAKE(r->partial);
	r->n_prefix = r->n_partial = r->capacity = 0;
	return 1;
}
