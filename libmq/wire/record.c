#include "libmq/wire/record.h"

#include <errno.h>

#include "libmq/base/bytes.h"
#include "libmq/wire/crc.h"

/* Where the members of fixed position are. */
enum {
	AT_MAGIC = 4,
	AT_QUEUE_OFFSET = 20,
	AT_PHYSICAL_OFFSET = 28,
	AT_SYS_FLAG = 36,
	AT_STORE_TIME = 56,      /* behind an IPv4 born host */
	HOST_V6_EXTRA = 12,      /* bytes that an IPv6 address is longer */
	RECORD_FIXED_SIZE = 88,  /* bytes before the body, both hosts IPv4 */
	BATCH_FIXED_SIZE = 20,   /* bytes of a batch entry before its body */
};

/* A bounds-checked reader: one check at the end instead of one per member. */
struct cursor {
	const char *p;
	size_t left;
	bool is_short;
};

static const char *cursor_take(struct cursor *c, size_t n)
{
	static const char zeros[16]; /* the longest fixed member is an IPv6 address */
	const char *p = c->p;

	if (n > c->left) {
		c->is_short = true;
		c->left = 0;
		return zeros;
	}
	c->p += n;
	c->left -= n;
	return p;
}

static int32_t cursor_i32(struct cursor *c)
{
	return (int32_t)mq_get32(cursor_take(c, 4));
}

static int64_t cursor_i64(struct cursor *c)
{
	return (int64_t)mq_get64(cursor_take(c, 8));
}

/* `n` is a length from the wire, so it may be negative or too long. */
static struct mq_slice cursor_slice(struct cursor *c, int64_t n)
{
	struct mq_slice s = { c->p, (size_t)n };

	if (n < 0 || (size_t)n > c->left) {
		c->is_short = true;
		c->left = 0;
		return (struct mq_slice){ NULL, 0 };
	}
	c->p += n;
	c->left -= (size_t)n;
	return s;
}

static struct mq_host cursor_host(struct cursor *c, bool is_v6)
{
	struct mq_host host = { .n_addr = is_v6 ? 16 : 4 };

	memcpy(host.addr, cursor_take(c, host.n_addr), host.n_addr);
	host.port = (uint32_t)cursor_i32(c);
	return host;
}

int mq_record_decode(struct mq_slice in, struct mq_record *ret)
{
	struct cursor c = { in.p, in.n, false };
	struct mq_record r;
	int32_t size = cursor_i32(&c);

	r.magic = cursor_i32(&c);
	if (size < RECORD_FIXED_SIZE || (size_t)size > in.n || (r.magic != MQ_RECORD_V1 && r.magic != MQ_RECORD_V2))
		return -EBADMSG;
	c.left = (size_t)size - 8;

	r.body_crc = (uint32_t)cursor_i32(&c);
	r.queue_id = cursor_i32(&c);
	r.flag = cursor_i32(&c);
	r.queue_offset = cursor_i64(&c);
	r.physical_offset = cursor_i64(&c);
	r.sys_flag = cursor_i32(&c);
	r.born_at_ms = cursor_i64(&c);
	r.born_host = cursor_host(&c, r.sys_flag & MQ_SYS_BORN_V6);
	r.store_at_ms = cursor_i64(&c);
	r.store_host = cursor_host(&c, r.sys_flag & MQ_SYS_STORE_V6);
	r.reconsume_times = cursor_i32(&c);
	r.prepared_offset = cursor_i64(&c);
	r.body = cursor_slice(&c, cursor_i32(&c));
	r.topic = cursor_slice(&c, r.magic == MQ_RECORD_V1 ? *(const int8_t *)cursor_take(&c, 1) :
							     (int16_t)mq_get16(cursor_take(&c, 2)));
	r.properties = cursor_slice(&c, (int16_t)mq_get16(cursor_take(&c, 2)));
	if (c.is_short || c.left > 0)
		return -EBADMSG;
	*ret = r;
	return size;
}

static bool host_is_v6(const struct mq_host *host)
{
	return host->n_addr == 16;
}

static size_t record_head_size(const struct mq_record *r)
{
	return RECORD_FIXED_SIZE + HOST_V6_EXTRA * ((size_t)host_is_v6(&r->born_host) + host_is_v6(&r->store_host));
}

static size_t record_tail_size(const struct mq_record *r)
{
	return (r->topic.n > MQ_TOPIC_V1_MAX ? 2 : 1) + r->topic.n + 2 + r->properties.n;
}

size_t mq_record_size(const struct mq_record *r)
{
	return record_head_size(r) + r->body.n + record_tail_size(r);
}

static char *put_host(char *p, const struct mq_host *host)
{
	p = mq_put_bytes(p, host->addr, host_is_v6(host) ? 16 : 4);
	return mq_put32(p, host->port);
}

size_t mq_record_encode_head(const struct mq_record *r, char *head)
{
	int32_t sys_flag = r->sys_flag & ~(MQ_SYS_BORN_V6 | MQ_SYS_STORE_V6);
	char *p = head;

	if (host_is_v6(&r->born_host))
		sys_flag |= MQ_SYS_BORN_V6;
	if (host_is_v6(&r->store_host))
		sys_flag |= MQ_SYS_STORE_V6;

	p = mq_put32(p, (uint32_t)mq_record_size(r));
	p = mq_put32(p, (uint32_t)(r->topic.n > MQ_TOPIC_V1_MAX ? MQ_RECORD_V2 : MQ_RECORD_V1));
	p = mq_put32(p, r->body_crc);
	p = mq_put32(p, (uint32_t)r->queue_id);
	p = mq_put32(p, (uint32_t)r->flag);
	p = mq_put64(p, (uint64_t)r->queue_offset);
	p = mq_put64(p, (uint64_t)r->physical_offset);
	p = mq_put32(p, (uint32_t)sys_flag);
	p = mq_put64(p, (uint64_t)r->born_at_ms);
	p = put_host(p, &r->born_host);
	p = mq_put64(p, (uint64_t)r->store_at_ms);
	p = put_host(p, &r->store_host);
	p = mq_put32(p, (uint32_t)r->reconsume_times);
	p = mq_put64(p, (uint64_t)r->prepared_offset);
	p = mq_put32(p, (uint32_t)r->body.n);
	return (size_t)(p - head);
}

size_t mq_record_encode_tail(const struct mq_record *r, char *tail)
{
	char *p = tail;

	if (r->topic.n > MQ_TOPIC_V1_MAX)
		p = mq_put16(p, (uint16_t)r->topic.n);
	else
		p = mq_put8(p, (uint8_t)r->topic.n);
	p = mq_put_bytes(p, r->topic.p, r->topic.n);
	p = mq_put16(p, (uint16_t)r->properties.n);
	p = mq_put_bytes(p, r->properties.p, r->properties.n);
	return (size_t)(p - tail);
}

static size_t store_time_position(const char *record)
{
	return AT_STORE_TIME + (mq_get32(record + AT_SYS_FLAG) & MQ_SYS_BORN_V6 ? HOST_V6_EXTRA : 0);
}

void mq_record_patch(char *head, int64_t queue_offset, int64_t physical_offset, int64_t store_at_ms)
{
	mq_put64(head + AT_QUEUE_OFFSET, (uint64_t)queue_offset);
	mq_put64(head + AT_PHYSICAL_OFFSET, (uint64_t)physical_offset);
	mq_put64(head + store_time_position(head), (uint64_t)store_at_ms);
}

int64_t mq_record_store_at_ms(struct mq_slice record)
{
	if (record.n < RECORD_FIXED_SIZE)
		return -1;
	return (int64_t)mq_get64(record.p + store_time_position(record.p));
}

int64_t mq_record_physical_offset(struct mq_slice record)
{
	if (record.n < RECORD_FIXED_SIZE)
		return -1;
	return (int64_t)mq_get64(record.p + AT_PHYSICAL_OFFSET);
}

uint32_t mq_body_crc(struct mq_slice body)
{
	return mq_crc32(body) & 0x7fffffff;
}

int mq_batch_next(struct mq_slice in, struct mq_batch_entry *ret)
{
	struct cursor c = { in.p, in.n, false };
	struct mq_batch_entry e;
	int32_t size;

	if (in.n == 0)
		return 0;
	size = cursor_i32(&c);
	if (size < BATCH_FIXED_SIZE || (size_t)size > in.n)
		return -EBADMSG;
	c.left = (size_t)size - 4;

	cursor_take(&c, 8); /* magic and CRC are sent as 0 and ignored */
	e.flag = cursor_i32(&c);
	e.body = cursor_slice(&c, cursor_i32(&c));
	e.properties = cursor_slice(&c, (int16_t)mq_get16(cursor_take(&c, 2)));
	if (c.is_short || c.left > 0)
		return -EBADMSG;
	*ret = e;
	return size;
}

size_t mq_batch_entry_size(const struct mq_batch_entry *e)
{
	return BATCH_FIXED_SIZE + e->body.n + 2 + e->properties.n;
}

size_t mq_batch_entry_encode(const struct mq_batch_entry *e, char *out)
{
	char *p = out;

	p = mq_put32(p, (uint32_t)mq_batch_entry_size(e));
	p = mq_put64(p, 0);
	p = mq_put32(p, (uint32_t)e->flag);
	p = mq_put32(p, (uint32_t)e->body.n);
	p = mq_put_bytes(p, e->body.p, e->body.n);
	p = mq_put16(p, (uint16_t)e->properties.n);
	p = mq_put_bytes(p, e->properties.p, e->properties.n);
	return (size_t)(p - out);
}
