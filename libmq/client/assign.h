/* How the members of a group share queues: Java's AllocateMessageQueueAveragely (behaviour.md section 9).
 * Every member computes it by itself from the same sorted lists, so the result must be the same to the
 * queue. */
#pragma once

#include <stdbool.h>

/* Member `index` of `n_members` gets the queues [*ret_first, *ret_first + *ret_n) of `n_queues`. */
void mq_assign_average(unsigned n_queues, unsigned n_members, unsigned index, unsigned *ret_first,
		       unsigned *ret_n);
