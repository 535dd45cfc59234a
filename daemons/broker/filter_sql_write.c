/* Operations are written as they are read: operands first. At the end all is packed into one allocation. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemons/broker/filter_sql_parser.h"

static void *array_add(struct filter_parser *p, struct filter_array *a, size_t size, unsigned max)
{
	if (a->n == max) {
		filter_fail(p, -E2BIG, "the expression is too complex");
		return NULL;
	}
	if (a->n == a->capacity) {
		unsigned capacity = a->capacity ? a->capacity * 2 : 16;
		void *items = reallocarray(a->items, capacity, size);

		if (!items) {
			filter_fail(p, -ENOMEM, "out of memory");
			return NULL;
		}
		a->items = items;
		a->capacity = capacity;
	}
	return (char *)a->items + size * a->n++;
}

unsigned filter_write(struct filter_parser *p, enum filter_op_code code, unsigned arg)
{
	struct filter_op *op = array_add(p, &p->ops, sizeof *op, FILTER_OPS_MAX);

	if (!op)
		return 0;
	*op = (struct filter_op){ .code = code, .arg = (uint16_t)arg };
	if (code <= OP_PROPERTY || code == OP_OVER || code == OP_DUP)
		p->depth++;
	else if (code == OP_NIP || code == OP_EQUAL || (code >= OP_GREATER && code <= OP_LESS_EQUAL) || code == OP_AND || code == OP_OR)
		p->depth--;
	if (p->depth > FILTER_STACK_MAX)
		filter_fail(p, -E2BIG, "the expression is too deeply nested");
	return p->ops.n - 1;
}

void filter_land(struct filter_parser *p, unsigned jump)
{
	if (!p->error)
		((struct filter_op *)p->ops.items)[jump].arg = (uint16_t)p->ops.n;
}

static struct filter_text add_text(struct filter_parser *p, struct mq_slice s)
{
	struct filter_text t = { (uint16_t)p->n_text, (uint16_t)s.n };

	memcpy(p->text + p->n_text, s.p, s.n);
	p->n_text += (unsigned)s.n;
	return t;
}

unsigned filter_add_name(struct filter_parser *p, struct mq_slice name)
{
	for (unsigned i = 0; i < p->n_names; i++)
		if (mq_slice_equal(name, (struct mq_slice){ p->text + p->names[i].at, p->names[i].n }))
			return i;
	if (p->n_names == FILTER_SQL_NAMES_MAX) {
		filter_fail(p, -E2BIG, "the expression names more than %d properties", FILTER_SQL_NAMES_MAX);
		return 0;
	}
	p->names[p->n_names] = add_text(p, name);
	return p->n_names++;
}

unsigned filter_add_string(struct filter_parser *p)
{
	struct filter_text *t = array_add(p, &p->strings, sizeof *t, FILTER_OPS_MAX);
	char *out = p->text + p->n_text;
	unsigned n = 0;

	if (!t)
		return 0;
	for (size_t i = 1; i + 1 < p->token.n; i++) {
		i += p->token.p[i] == '\'';
		out[n++] = p->token.p[i];
	}
	*t = (struct filter_text){ (uint16_t)p->n_text, (uint16_t)n };
	p->n_text += n;
	return p->strings.n - 1;
}

unsigned filter_add_number(struct filter_parser *p, union filter_number v)
{
	union filter_number *number = array_add(p, &p->numbers, sizeof *number, FILTER_OPS_MAX);

	if (!number)
		return 0;
	*number = v;
	return p->numbers.n - 1;
}

static int compare_texts(const void *a, const void *b, void *text)
{
	const struct filter_text *x = a, *y = b;
	const char *base = text;

	return mq_slice_compare((struct mq_slice){ base + x->at, x->n }, (struct mq_slice){ base + y->at, y->n });
}

unsigned filter_add_list(struct filter_parser *p, unsigned first)
{
	struct filter_list *list = array_add(p, &p->lists, sizeof *list, FILTER_OPS_MAX);

	if (!list)
		return 0;
	*list = (struct filter_list){ (uint16_t)first, (uint16_t)(p->strings.n - first) };
	qsort_r((struct filter_text *)p->strings.items + first, list->n, sizeof(struct filter_text), compare_texts, p->text);
	return p->lists.n - 1;
}

/* ---- Packing ---- */

static void *pack(char **at, const void *items, size_t n)
{
	char *place = *at;

	if (n > 0)
		memcpy(place, items, n);
	*at += n;
	return place;
}

static void program_hash_names(struct filter_sql *f)
{
	memset(f->bucket, FILTER_NO_NAME, sizeof f->bucket);
	for (unsigned i = 0; i < f->n_names; i++) {
		uint8_t *bucket = &f->bucket[filter_bucket(filter_slice(f, f->names[i]))];

		f->next_name[i] = *bucket;
		*bucket = (uint8_t)i;
	}
}

/* In the order of their alignment. */
struct filter_sql *filter_program_new(const struct filter_parser *p)
{
	size_t n_numbers = p->numbers.n * sizeof(union filter_number), n_ops = p->ops.n * sizeof(struct filter_op);
	size_t n_strings = p->strings.n * sizeof(struct filter_text), n_lists = p->lists.n * sizeof(struct filter_list);
	size_t bytes = sizeof(struct filter_sql) + n_numbers + n_ops + n_strings + n_lists + p->n_text;
	struct filter_sql *f = malloc(bytes);
	char *at = (char *)(f + 1);

	if (!f)
		return NULL;
	*f = (struct filter_sql){ .n_refs = 1, .bytes = bytes, .n_ops = p->ops.n, .n_names = p->n_names };
	memcpy(f->names, p->names, p->n_names * sizeof p->names[0]);
	f->numbers = pack(&at, p->numbers.items, n_numbers);
	f->ops = pack(&at, p->ops.items, n_ops);
	f->strings = pack(&at, p->strings.items, n_strings);
	f->lists = pack(&at, p->lists.items, n_lists);
	f->text = pack(&at, p->text, p->n_text);
	program_hash_names(f);
	return f;
}
