/* A set of names gathered under somebody's lock, in the order of their first appearance. Embedded; all zero is empty. */
#pragma once

#include <stddef.h>

#include "libmq/base/slice.h"

struct names_row;

struct names {
	struct names_row *rows; /* owned */
	struct names_row **in_order; /* owned */
	unsigned n, n_room;
	int error; /* -ENOMEM when a name is missing */
};

void names_add(struct names *set, struct mq_slice name);
struct mq_slice names_at(const struct names *set, unsigned i); /* borrowed from the set */
void names_done(struct names *set);
