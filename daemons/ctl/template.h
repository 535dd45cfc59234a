/* A send request as bytes, with the places that change per message. All numbers in it have a fixed width,
 * so that patching never moves anything: opaque ids have ten digits, times of birth thirteen. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "libmq/base/cleanup.h"
#include "libmq/base/slice.h"

enum {
	TEMPLATE_OPAQUE_BASE = 1000000000, /* ten digits up to 1,999,999,999 */
	TEMPLATE_BATCH_MAX = 1024,
};

struct template {
	char *bytes; /* owned: the whole frame */
	size_t n;
	size_t opaque_at, born_at; /* offsets of the digits */
	unsigned n_messages;
	size_t *unique_at; /* owned: offset of the counted half of each unique id */
	size_t *body_at;   /* owned: offset of each body */
};

struct template_config {
	const char *topic, *group, *broker;
	int32_t queue_id;
	unsigned n_messages; /* 1: SEND_MESSAGE_V2, more: SEND_BATCH_MESSAGE */
	size_t body_size;
	int64_t delay_ms;    /* TIMER_DELAY_MS of single messages; 0: delivered at once */
	uint64_t process;    /* the first half of the unique ids */
};

/* -ENOMEM, -EMSGSIZE. */
int template_init(struct template *t, const struct template_config *cfg) _must_check_;
void template_done(struct template *t);
/* Copies the frame to `out` (t->n bytes) with these values. `first_unique` counts on within a batch. */
void template_write(const struct template *t, char *out, uint32_t opaque, int64_t born_at_ms,
		    uint64_t first_unique);

void put_decimal(char *out, uint64_t value, int digits);
void put_hex(char *out, uint64_t value, int digits);
