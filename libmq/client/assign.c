#include "libmq/client/assign.h"

void mq_assign_average(unsigned n_queues, unsigned n_members, unsigned index, unsigned *ret_first,
		       unsigned *ret_n)
{
	unsigned rest, size, first;

	*ret_first = *ret_n = 0;
	if (n_members == 0 || index >= n_members)
		return;

	rest = n_queues % n_members;
	if (n_queues <= n_members)
		size = 1;
	else
		size = n_queues / n_members + (rest > 0 && index < rest);
	first = rest > 0 && index < rest ? index * size : index * size + rest;
	if (first >= n_queues)
		return;
	*ret_first = first;
	*ret_n = size < n_queues - first ? size : n_queues - first;
}
