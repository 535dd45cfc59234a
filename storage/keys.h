/* Every byte on disk. Format version 1.
 *
 * A store is a directory:
 *   db/       one RocksDB database, its column families below
 *   durable   how far the log was known to be on the disk: two slots of 512 bytes, written in turn, the valid one with the higher
 *             generation counts: magic "mqdurab1" (8) format version (4) generation (8) sequence number (8) crc32 of these (4)
 *   LOCK      empty; flock() by who has the store open
 *   ballast   zeros, up to 64 MiB, cut to nothing when the disk is nearly full (space.c)
 *
 * All numbers are big-endian; times are milliseconds since 1970. Column families:
 *
 *   family        key                                                       value
 *   ------------  --------------------------------------------------------  --------------------------------------
 *   f<n>          queue number (4) queue offset (8)                         tag hash (8) + wire record
 *   s<n>          as f<n>                                                   as f<n>
 *   index         hour (4) hash (8) store time (8) locator (8)              empty
 *   offsets       group 0x00 topic 0x00 queue id (4)                        committed offset (8)
 *   meta          kind 0x00 name                                            by kind, see below
 *   due           due time (8) kind (1) locator (8) group                   by kind, see below
 *   half          locator (8)                                               empty, or checks so far (4)
 *   default       no rows
 *
 * f<n>, s<n>: messages. A queue has a family of its own, f0, f1, ...; beyond storeMaxFamilies it shares one of s0 to s15. Its number
 * is 1 to 2^23 - 1 and never used again, also when its topic was deleted. Offsets are dense from the queue's minimum on; records
 * below the minimum may still be in files and do not count. An f<n> that no row names is a spare when it is empty, else what a
 * deleted queue left; both belong to nobody.
 * The wire record is that of the protocol (libmq/wire/record.h): it ends with the value and repeats queue id, queue offset, locator
 * and topic. Store times of a queue never go back. The tag hash is Java's hashCode() of the TAGS property, 0 without one; of a
 * record that waits in `due` with kind 1 it is the due time.
 *
 * Locator: queue number (23 bits) << 40 | queue offset (40 bits). One 63-bit number names one stored message; the protocol calls
 * it commitLogOffset or physical offset.
 *
 * index: a row for each blank-separated part of the KEYS property and for UNIQ_KEY (not of what recalls a message), in the batch of the message. The hour is store
 * time / 3,600,000. The hash is index_hash() of topic and key: FNV-1a (64 bit) of the topic, a zero byte and the key, then
 * murmur's finalizer. A key of 32 or more characters whose last ten are hex digits in upper case is a unique id: then the hash's
 * upper 24 bits are those of topic and key without the ten, its lower 40 bits are the ten. Rows may outlive their message.
 *
 * offsets: neither group nor topic holds a zero byte.
 *
 * half: a prepared transaction that is neither committed nor rolled back; how often its producer was asked is its value; the
 * row goes in the batch of what ends it.
 *
 * due: what happens at a time, in the order in which it happens; put in the batch of the record that the locator names, and deleted
 * in the batch of what it leads to. Kind 1: the record is a message for another queue, which its properties name; no group, no
 * value. Kind 2: a message that the group popped and has not acknowledged; put in the batch of the offset that the group commits
 * with it. It comes again then. Value: when it was popped (8) flags (1; bit 0: coming again does not count as consumed again).
 *
 * Kinds of the meta family. The store's own begin with a dot:
 *   kind     name                          value
 *   .queue   queue number (4)              minimum offset (8) family kind (1: 0 none, 1 own, 2 shared) family number (4, 0 for
 *                                          none) queue id (4) topic; written with the queue's first record, when its minimum
 *                                          moves and when its family changes
 *   .store   "format"                      format version (4)
 *   .store   "next-queue"                  the queue number to give out next (4), in the batch of each queue's first record
 *   .store   "counters"                    messages stored (8), bytes of their records (8), bytes dropped since (8, an estimate)
 * The broker's rows are JSON text, members as in the bodies of codes 21 and 201:
 *   topic    topic name                    TopicConfig
 *   group    group name                    SubscriptionGroupConfig
 *   version  topics, groups                DataVersion of the table
 *   request-mode  topic '@' group          SetMessageRequestModeRequestBody (401)
 * and of messages that were popped in order, in bytes:
 *   poporder topic 0x00 group 0x00         when they were popped (8) for how long (8) when the row was last written (8)
 *            queue id (4)                  number of messages (1), then for each: offset (8) when it is visible, -1 for when the
 *                                          time above is over (8) how often it was consumed before (4) acknowledged (1); the rest
 *                                          is the attempt id
 *
 * When a layout changes, FORMAT_VERSION rises; an older store is converted when it is opened, a newer one is refused untouched. */
#pragma once

#include <stdint.h>

#include "libmq/base/bytes.h"

enum {
	FORMAT_VERSION = 1,
	QUEUE_NUMBER_BITS = 23,
	QUEUE_OFFSET_BITS = 40,
};

static inline int64_t locator_make(uint32_t queue_number, int64_t queue_offset)
{
	return ((int64_t)queue_number << QUEUE_OFFSET_BITS) | queue_offset;
}

static inline uint32_t locator_queue(int64_t locator)
{
	return (uint32_t)(locator >> QUEUE_OFFSET_BITS);
}

static inline int64_t locator_offset(int64_t locator)
{
	return locator & (((int64_t)1 << QUEUE_OFFSET_BITS) - 1);
}
