#include "daemons/broker/meta_rows.h"

#include <errno.h>
#include <event2/buffer.h>

#include "daemons/broker/broker.h"
#include "libmq/wire/json.h"

#define META_VERSION "version" /* "topics" or "groups" -> DataVersion as JSON */

enum { ROW_MAX = 32768 }; /* bytes: the two texts of a group, escaped at worst, and the rest */

struct loading {
	const char *what;
	int (*read)(void *user, struct mq_slice name, const struct mq_json_node *root);
	void *user;
	struct mq_error *err;
};

static int load_row(void *user, struct mq_slice name, struct mq_slice value)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	struct loading *l = user;
	int r = mq_json_parse(&doc, value, NULL);

	if (r == 0)
		r = l->read(l->user, name, mq_json_root(doc));
	return r < 0 ? mq_error_set(l->err, r, "%s %.*s cannot be read: %s", l->what, MQ_FMT(name), strerror(-r)) : 0;
}

int meta_rows_load(struct store *store, const char *kind, const char *what,
		   int (*read)(void *user, struct mq_slice name, const struct mq_json_node *root), void *user,
		   struct mq_error *err)
{
	struct mq_error why = {};
	struct loading loading = { what, read, user, &why };
	int r = store_meta_each(store, kind, load_row, &loading);

	return r < 0 ? mq_error_set(err, r, "%s", why.text[0] ? why.text : strerror(-r)) : 0;
}

int meta_row_put(struct store *store, const char *kind, struct mq_slice name,
		 void (*write)(struct mq_json_writer *w, const void *row), const void *row)
{
	struct evbuffer *out = evbuffer_new();
	struct mq_json_writer w;
	int r;

	if (!out)
		return -ENOMEM;
	mq_json_begin(&w, out);
	write(&w, row);
	r = mq_json_end(&w);
	if (r == 0 && evbuffer_get_length(out) > ROW_MAX)
		r = -E2BIG;
	if (r == 0) {
		size_t n = evbuffer_get_length(out);
		const char *p = (const char *)evbuffer_pullup(out, -1);

		r = p ? store_meta_put(store, kind, name, (struct mq_slice){ p, n }) : -ENOMEM;
	}
	evbuffer_free(out);
	return r;
}

struct version_wanted {
	const char *of;
	struct mq_data_version *ret;
};

static int read_version(void *user, struct mq_slice name, const struct mq_json_node *root)
{
	struct version_wanted *wanted = user;

	if (mq_slice_is(name, wanted->of))
		mq_data_version_read(root, wanted->ret);
	return 0;
}

int meta_version_load(struct store *store, const char *of, struct mq_data_version *ret, struct mq_error *err)
{
	return meta_rows_load(store, META_VERSION, "the stored version of the", read_version,
			      &(struct version_wanted){ of, ret }, err);
}

struct mq_data_version meta_version_after(const struct broker *b, const struct mq_data_version *now)
{
	struct mq_data_version v = *now;

	v.counter++;
	v.timestamp = mq_wall_ms(b->clock);
	return v;
}

struct store_meta_put meta_version_put(const char *of, const struct mq_data_version *v, char text[MQ_DATA_VERSION_TEXT])
{
	return (struct store_meta_put){ META_VERSION, mq_slice_of(of), mq_data_version_text(v, text) };
}

int meta_version_next(struct broker *b, const char *of, const struct mq_data_version *now, struct mq_data_version *ret)
{
	char text[MQ_DATA_VERSION_TEXT];
	struct store_meta_put put;

	*ret = meta_version_after(b, now);
	put = meta_version_put(of, ret, text);
	return store_meta_put(b->store, put.kind, put.name, put.value);
}
