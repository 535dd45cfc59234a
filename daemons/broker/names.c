#include "daemons/broker/names.h"

#include <errno.h>
#include <stdlib.h>
#include <uthash.h>

struct names_row {
	UT_hash_handle hh;
	size_t n;
	char text[];
};

static int names_grow(struct names *set)
{
	unsigned n_room = set->n_room ? set->n_room * 2 : 16;
	struct names_row **in_order;

	if (set->n < set->n_room)
		return 0;
	in_order = reallocarray(set->in_order, n_room, sizeof(struct names_row *));
	if (!in_order)
		return -ENOMEM;
	set->in_order = in_order;
	set->n_room = n_room;
	return 0;
}

void names_add(struct names *set, struct mq_slice name)
{
	struct names_row *row;

	if (name.n == 0)
		return;
	HASH_FIND(hh, set->rows, name.p, name.n, row);
	if (row)
		return;
	row = names_grow(set) == 0 ? malloc(sizeof *row + name.n) : NULL;
	if (!row) {
		set->error = -ENOMEM;
		return;
	}
	row->n = name.n;
	memcpy(row->text, name.p, name.n);
	HASH_ADD_KEYPTR(hh, set->rows, row->text, row->n, row);
	set->in_order[set->n++] = row;
}

struct mq_slice names_at(const struct names *set, unsigned i)
{
	return (struct mq_slice){ set->in_order[i]->text, set->in_order[i]->n };
}

void names_done(struct names *set)
{
	HASH_CLEAR(hh, set->rows);
	for (unsigned i = 0; i < set->n; i++)
		free(set->in_order[i]);
	free(set->in_order);
	*set = (struct names){};
}
