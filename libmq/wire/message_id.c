/* The numbers that name messages, hosts as text, and Java's hash (reference: protocol/message.md sections 6 to 8). */
#include <arpa/inet.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "libmq/base/bytes.h"
#include "libmq/wire/json_scan.h"
#include "libmq/wire/record.h"

enum {
	ID_V4_SIZE = 16, /* bytes: address, port or process, offset or time */
	ID_V6_SIZE = 28,
};

static size_t host_address_size(const struct mq_host *host)
{
	return host->n_addr == 16 ? 16 : 4;
}

static void put_hex(const char *bytes, size_t n, char *out)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < n; i++) {
		*out++ = digits[(uint8_t)bytes[i] >> 4];
		*out++ = digits[(uint8_t)bytes[i] & 15];
	}
	*out = '\0';
}

static bool get_hex(struct mq_slice text, uint8_t *out)
{
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i], low = c | 0x20;
		int digit = c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;

		if (digit < 0)
			return false;
		out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] | digit : digit << 4);
	}
	return true;
}

void mq_message_id_encode(const struct mq_host *store_host, int64_t physical_offset, char ret[MQ_MESSAGE_ID_MAX])
{
	char bytes[ID_V6_SIZE], *p = bytes;

	p = mq_put_bytes(p, store_host->addr, host_address_size(store_host));
	p = mq_put32(p, store_host->port);
	p = mq_put64(p, (uint64_t)physical_offset);
	put_hex(bytes, (size_t)(p - bytes), ret);
}

int mq_message_id_decode(struct mq_slice id, struct mq_host *ret_host, int64_t *ret_physical_offset)
{
	struct mq_host host = { .n_addr = id.n == 2 * ID_V4_SIZE ? 4 : 16 };
	uint8_t bytes[ID_V6_SIZE];

	if ((id.n != 2 * ID_V4_SIZE && id.n != 2 * ID_V6_SIZE) || !get_hex(id, bytes))
		return -EBADMSG;
	memcpy(host.addr, bytes, host.n_addr);
	host.port = mq_get32(bytes + host.n_addr);
	*ret_host = host;
	*ret_physical_offset = (int64_t)mq_get64(bytes + host.n_addr + 4);
	return 0;
}

/* Stands for the class loader's hash: tells processes with the same number and address apart. Never 0. */
static uint32_t process_salt(void)
{
	static _Atomic uint32_t salt; /* 0 until the first caller has chosen; whoever comes second takes the first's */
	uint32_t none = 0, mine = 0;

	if (salt)
		return salt;
	if (getrandom(&mine, sizeof mine, GRND_NONBLOCK) != sizeof mine || mine == 0)
		mine = (uint32_t)time(NULL) | 1;
	return atomic_compare_exchange_strong(&salt, &none, mine) ? mine : none;
}

/* Milliseconds since the first day of the month, local time: tools read the age of a message out of it. */
static uint32_t time_in_month(int64_t now_ms)
{
	static _Thread_local int64_t begin_ms, end_ms;
	struct tm tm;
	time_t t;

	if (now_ms < begin_ms || now_ms >= end_ms) {
		t = (time_t)(now_ms / 1000);
		localtime_r(&t, &tm);
		tm.tm_mday = 1;
		tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
		tm.tm_isdst = -1;
		begin_ms = (int64_t)mktime(&tm) * 1000;
		tm.tm_mon++;
		tm.tm_mday = 1;
		tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
		tm.tm_isdst = -1;
		end_ms = (int64_t)mktime(&tm) * 1000;
	}
	return (uint32_t)(now_ms - begin_ms);
}

void mq_unique_id(const struct mq_host *local, int64_t now_ms, char ret[MQ_MESSAGE_ID_MAX])
{
	static _Atomic uint16_t counter; /* only uniqueness matters, no order with anything else */
	char bytes[ID_V6_SIZE], *p = bytes;

	p = mq_put_bytes(p, local->addr, host_address_size(local));
	p = mq_put16(p, (uint16_t)getpid());
	p = mq_put32(p, process_salt());
	p = mq_put32(p, time_in_month(now_ms));
	p = mq_put16(p, atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed));
	put_hex(bytes, (size_t)(p - bytes), ret);
}

/* 31 * h + unit over the UTF-16 units. A byte that is no UTF-8 counts as U+FFFD, which Java's decoder makes of it. */
int32_t mq_java_hash(struct mq_slice utf8)
{
	const char *p = utf8.p, *end = utf8.p + utf8.n;
	uint32_t h = 0;

	while (p < end) {
		unsigned n, c;

		if ((uint8_t)*p < 0x80) {
			h = 31 * h + (uint8_t)*p++;
			continue;
		}
		n = mq_utf8_length(p, end);
		c = n > 0 ? mq_utf8_get(p, n) : 0xfffd;
		p += n > 0 ? n : 1;
		if (c >= 0x10000) {
			h = 31 * h + (0xd800 + ((c - 0x10000) >> 10));
			c = 0xdc00 + (c & 0x3ff);
		}
		h = 31 * h + c;
	}
	return (int32_t)h;
}

int mq_host_parse(struct mq_slice text, struct mq_host *ret)
{
	struct mq_host host = { .n_addr = 4 };
	char address[INET6_ADDRSTRLEN];
	struct mq_slice digits, ip;
	const char *colon = memrchr(text.p ? text.p : "", ':', text.n);

	if (!colon)
		return -EINVAL;
	ip = (struct mq_slice){ text.p, (size_t)(colon - text.p) };
	digits = (struct mq_slice){ colon + 1, text.n - ip.n - 1 };
	if (ip.n >= 2 && ip.p[0] == '[' && ip.p[ip.n - 1] == ']') {
		host.n_addr = 16;
		ip.p++;
		ip.n -= 2;
	}
	if (ip.n >= sizeof address || memchr(ip.p, '\0', ip.n) || digits.n < 1 || digits.n > 5)
		return -EINVAL;

	*mq_put_bytes(address, ip.p, ip.n) = '\0';
	if (inet_pton(host.n_addr == 16 ? AF_INET6 : AF_INET, address, host.addr) != 1)
		return -EINVAL;
	for (size_t i = 0; i < digits.n; i++) {
		if (digits.p[i] < '0' || digits.p[i] > '9')
			return -EINVAL;
		host.port = host.port * 10 + (uint32_t)(digits.p[i] - '0');
	}
	if (host.port > UINT16_MAX)
		return -EINVAL;
	*ret = host;
	return 0;
}

char *mq_host_format(const struct mq_host *host, char ret[MQ_HOST_TEXT_MAX])
{
	bool is_v6 = host->n_addr == 16;
	char address[INET6_ADDRSTRLEN];

	inet_ntop(is_v6 ? AF_INET6 : AF_INET, host->addr, address, sizeof address);
	snprintf(ret, MQ_HOST_TEXT_MAX, is_v6 ? "[%s]:%u" : "%s:%u", address, host->port);
	return ret;
}
