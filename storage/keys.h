/* Every byte on disk. Format version 1.
 *
 * A store is one RocksDB database. All numbers are big-endian. Column families:
 *
 *   family        key                                                       value
 *   ------------  --------------------------------------------------------  --------------------------------------
 *   f<n>          queue number (4) queue offset (8)                         tag hash (8) + wire record
 *                 one family per queue, or shared (s<n>) beyond storeMaxFamilies: the layout is the same
 *   index         hour (4) hash of topic and key (8) store time ms (8) locator (8)     empty
 *   offsets       group 0x00 topic 0x00 queue id (4)                        committed offset (8)
 *   meta          kind 0x00 name                                            by kind, see below
 *   due           due time ms (8) kind (1) locator (8)                      by kind (next issue)
 *   half          locator (8)                                               state (next issue)
 *   default       empty
 *
 * Locator: queue number (23 bits) << 40 | queue offset (40 bits). One 63-bit number names one stored message; the protocol calls
 * it commitLogOffset or physical offset.
 *
 * Kinds of the meta family. The store's own begin with a dot:
 *   .queue   queue number (4)              topic, queue id and family of a queue (queue.c)
 *   .store   format, next-queue, counters  numbers (4), (4), (3 x 8)
 * The broker's rows are JSON text, members as in the bodies of codes 21 and 201:
 *   topic    topic name                    TopicConfig
 *   group    group name                    SubscriptionGroupConfig
 *   version  topics, groups                DataVersion of the table
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
