#include "libmq/wire/body_kv.h"

#include <errno.h>
#include <stdlib.h>

#include "libmq/wire/json.h"

int mq_kv_table_decode(struct mq_kv_table *ret, struct mq_slice body, struct mq_error *err)
{
	struct mq_kv_table table = {};
	const struct mq_json_node *nodes;
	int r = mq_json_parse(&table.doc, body, err);

	if (r < 0)
		return r;
	nodes = mq_json_get(mq_json_root(table.doc), "table");
	table.pairs = calloc(nodes && nodes->n ? nodes->n : 1, sizeof *table.pairs);
	if (!table.pairs) {
		mq_kv_table_done(&table);
		return -ENOMEM;
	}
	MQ_JSON_EACH(node, nodes) {
		struct mq_kv_pair pair = { mq_json_text(node->key), mq_json_text(node) };

		if (pair.key.p && pair.value.p)
			table.pairs[table.n_pairs++] = pair;
	}
	*ret = table;
	return 0;
}

void mq_kv_table_done(struct mq_kv_table *table)
{
	free(table->pairs);
	mq_json_free(table->doc);
	*table = (struct mq_kv_table){};
}

int mq_kv_table_encode(const struct mq_kv_table *table, struct evbuffer *out)
{
	struct mq_json_writer w;

	mq_json_begin(&w, out);
	mq_json_open_object(&w);
	mq_json_key(&w, "table");
	mq_json_open_object(&w);
	for (unsigned i = 0; i < table->n_pairs; i++) {
		mq_json_key_slice(&w, table->pairs[i].key);
		mq_json_string(&w, table->pairs[i].value);
	}
	mq_json_close_object(&w);
	mq_json_close_object(&w);
	return mq_json_end(&w);
}

struct mq_slice mq_kv_table_get(const struct mq_kv_table *table, const char *key)
{
	for (unsigned i = 0; i < table->n_pairs; i++)
		if (mq_slice_is(table->pairs[i].key, key))
			return table->pairs[i].value;
	return (struct mq_slice){};
}
