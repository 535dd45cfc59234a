/* Message records, batch bodies and the numbers that name messages (reference: protocol/message.md).
 * The record on the wire is the record on disk. Nothing here allocates. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

enum {
	MQ_RECORD_V1 = (int32_t)0xDAA320A7, /* magicCode; topic length is one byte */
	MQ_RECORD_V2 = (int32_t)0xDAA320AB, /* two bytes; only for topics over 127 bytes */
	MQ_TOPIC_V1_MAX = 127,              /* bytes */
	MQ_PROPERTIES_MAX = 32767,          /* bytes; length is an int16 on the wire */
	MQ_RECORD_HEAD_MAX = 112,           /* bytes before the body, IPv6 hosts */
	MQ_RECORD_TAIL_MAX = 2 + 255 + 2 + MQ_PROPERTIES_MAX, /* bytes behind the body */
};

enum mq_sys_flag {
	MQ_SYS_COMPRESSED = 0x001,
	MQ_SYS_MULTI_TAGS = 0x002,
	MQ_SYS_TRANSACTION = 0x00c, /* mask of the next three */
	MQ_SYS_PREPARED = 0x004,
	MQ_SYS_COMMIT = 0x008,
	MQ_SYS_ROLLBACK = 0x00c,
	MQ_SYS_BORN_V6 = 0x010,
	MQ_SYS_STORE_V6 = 0x020,
	MQ_SYS_NEEDS_UNWRAP = 0x040,
	MQ_SYS_INNER_BATCH = 0x080,
	MQ_SYS_COMPRESSION = 0x700, /* mask: 0 zlib (old), 0x100 LZ4, 0x200 ZSTD, 0x300 ZLIB */
};

struct mq_host {
	uint8_t addr[16];
	uint8_t n_addr; /* bytes used of addr: 4 or 16 */
	uint32_t port;
};

struct mq_record {
	int32_t magic;    /* MQ_RECORD_V1 or MQ_RECORD_V2; the encoder chooses by topic length */
	uint32_t body_crc; /* as stored: masked with 0x7fffffff; the encoder writes what is here */
	int32_t queue_id, flag;
	int64_t queue_offset, physical_offset; /* physical_offset: the locator */
	int32_t sys_flag;                      /* host bits 4 and 5 follow the hosts when encoding */
	int64_t born_at_ms, store_at_ms;
	struct mq_host born_host, store_host;
	int32_t reconsume_times;
	int64_t prepared_offset;
	struct mq_slice body, topic, properties;
};

/* Decodes the record at the start of `in`. Returns its size in bytes; -EBADMSG when lengths contradict or magic is unknown. */
int mq_record_decode(struct mq_slice in, struct mq_record *ret) _must_check_;

/* Size in bytes of the whole record. */
size_t mq_record_size(const struct mq_record *r);
/* Writes everything before the body (at most MQ_RECORD_HEAD_MAX bytes) and returns the bytes written; body bytes are not
 * touched, so that they can be copied once, straight to where they belong. */
size_t mq_record_encode_head(const struct mq_record *r, char *head);
/* Writes topic and properties with their lengths (at most MQ_RECORD_TAIL_MAX bytes); returns the bytes written. */
size_t mq_record_encode_tail(const struct mq_record *r, char *tail);
/* Sets in an encoded head what is known only under the append lock. */
void mq_record_patch(char *head, int64_t queue_offset, int64_t physical_offset, int64_t store_at_ms);
/* Reads single members of an encoded record without decoding the rest. */
int64_t mq_record_store_at_ms(struct mq_slice record);
int64_t mq_record_physical_offset(struct mq_slice record);

/* CRC-32 (zlib polynomial) masked with 0x7fffffff. */
uint32_t mq_body_crc(struct mq_slice body);

/* One entry of a batch body (code 320). Returns its size in bytes and its parts, 0 at the end of `in`, -EBADMSG. */
struct mq_batch_entry {
	int32_t flag;
	struct mq_slice body, properties;
};
int mq_batch_next(struct mq_slice in, struct mq_batch_entry *ret) _must_check_;
/* Appends one entry at `out`, which has mq_batch_entry_size() bytes; returns the bytes written. */
size_t mq_batch_entry_size(const struct mq_batch_entry *e);
size_t mq_batch_entry_encode(const struct mq_batch_entry *e, char *out);

/* Message id (offsetMsgId): upper-case hex of store host and physical offset; 32 or 56 digits. Section 6. */
enum { MQ_MESSAGE_ID_MAX = 57 }; /* bytes, NUL included */
void mq_message_id_encode(const struct mq_host *store_host, int64_t physical_offset, char ret[MQ_MESSAGE_ID_MAX]);
int mq_message_id_decode(struct mq_slice id, struct mq_host *ret_host, int64_t *ret_physical_offset) _must_check_; /* -EBADMSG */

/* Unique id (UNIQ_KEY) as Java clients make it: section 7. Process-wide counter, any thread. */
void mq_unique_id(const struct mq_host *local, int64_t now_ms, char ret[MQ_MESSAGE_ID_MAX]);

/* java.lang.String.hashCode over UTF-16 code units of the UTF-8 text; 0 for the empty text. Section 8. */
int32_t mq_java_hash(struct mq_slice utf8);

/* "10.0.0.1:10911" or "[::1]:10911" -> host. -EINVAL when it is not a numeric address. */
int mq_host_parse(struct mq_slice text, struct mq_host *ret) _must_check_;
/* Numeric text, with port; returns ret. */
enum { MQ_HOST_TEXT_MAX = 64 };
char *mq_host_format(const struct mq_host *host, char ret[MQ_HOST_TEXT_MAX]);
