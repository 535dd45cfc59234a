/* What parses can be walked within the limits, converted, written, and parsed again to the same text. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "libmq/wire/json.h"

static unsigned n_walked;

static void dump(struct mq_json_writer *w, const struct mq_json_node *node, unsigned depth);

static void convert(const struct mq_json_node *node)
{
	static const char *const names[] = { "CLUSTERING", "BROADCASTING" };
	int e = mq_json_enum(node, names, N_ELEMENTS(names), -1);

	must(e >= -1 && e < 2);
	(void)mq_json_i64(node, 0);
	(void)mq_json_double(node, 0);
	(void)mq_json_bool(node, false);
	must((mq_json_text(node).p != NULL) ==
	     (node->type == MQ_JSON_STRING || node->type == MQ_JSON_NUMBER || node->type == MQ_JSON_BOOL));
	(void)mq_json_get(node, "topic");
}

static void dump_children(struct mq_json_writer *w, const struct mq_json_node *node, unsigned depth)
{
	unsigned n = 0;

	MQ_JSON_EACH(child, node) {
		n++;
		must((child->key != NULL) == (node->type == MQ_JSON_OBJECT));
		if (child->key && child->key->type == MQ_JSON_STRING) {
			mq_json_key_slice(w, child->key->text);
		} else if (child->key) {
			must(child->key->type == MQ_JSON_NUMBER || child->key->type == MQ_JSON_OBJECT);
			dump(w, child->key, depth);
			mq_json_key_done(w);
		}
		dump(w, child, depth);
	}
	must(n == node->n);
}

static void dump(struct mq_json_writer *w, const struct mq_json_node *node, unsigned depth)
{
	must(++n_walked <= 4u * MQ_JSON_NODES_MAX);
	convert(node);
	if (node->type == MQ_JSON_STRING) {
		mq_json_string(w, node->text);
	} else if (node->type == MQ_JSON_ARRAY || node->type == MQ_JSON_OBJECT) {
		must(depth < MQ_JSON_DEPTH_MAX);
		(node->type == MQ_JSON_ARRAY ? mq_json_open_array : mq_json_open_object)(w);
		dump_children(w, node, depth + 1);
		(node->type == MQ_JSON_ARRAY ? mq_json_close_array : mq_json_close_object)(w);
	} else {
		must(!node->first);
		mq_json_raw(w, node->type == MQ_JSON_NULL ? MQ_SLICE("null") : node->text);
	}
}

static void write_document(const struct mq_json *doc, struct evbuffer *out)
{
	struct mq_json_writer w;

	n_walked = 0;
	mq_json_begin(&w, out);
	dump(&w, mq_json_root(doc), 0);
	must(mq_json_end(&w) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(evbuffer_freep) struct evbuffer *once = evbuffer_new(), *twice = evbuffer_new();
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL, *again = NULL;
	struct mq_error err = { 0 };
	int r;

	r = mq_json_parse(&doc, fuzz_slice(data, size), &err);
	if (r < 0) {
		must((r == -EBADMSG || r == -E2BIG) && err.code == r && err.text[0] && !doc);
		return 0;
	}
	write_document(doc, once);

	/* References were written out, so the text may have too many values now. */
	r = mq_json_parse(&again, fuzz_bytes(once), NULL);
	if (r == -E2BIG && memmem(data, size, "ref", 3))
		return 0;
	must(r == 0);
	write_document(again, twice);
	must(mq_slice_equal(fuzz_bytes(once), fuzz_bytes(twice)));
	return 0;
}
