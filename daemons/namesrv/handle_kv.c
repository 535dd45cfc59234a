/* Key-value configuration: 100, 101, 102, 219 */
#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>

#include "daemons/namesrv/namesrv.h"
#include "libmq/wire/body_kv.h"
#include "libmq/wire/codes.h"

DEFINE_CLEANUP(struct evbuffer *, evbuffer_free)

/* Upstream checks nothing but what is answered below: absent fields read as null. */
#define KV_FIELDS(X)                                 \
	X(slice, ns,    "namespace", OPTIONAL)       \
	X(slice, key,   "key",       OPTIONAL)       \
	X(slice, value, "value",     OPTIONAL)
MQ_HEADER(kv, KV_FIELDS)

static struct mq_slice or_null(struct mq_slice text)
{
	return text.p ? text : MQ_SLICE("null");
}

int handle_put_kv_config(struct mq_request *req)
{
	struct namesrv *n = req->server;
	struct kv_header h = {};
	struct mq_error err = {};
	int r = kv_header_decode(&h, &req->cmd, &err);

	if (r == 0 && (!h.ns.p || !h.key.p))
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "namespace or key is null");
	if (r == 0 && !h.value.p)
		r = mq_error_set(&err, -EINVAL, "the custom field <value> is null");
	if (r == 0)
		r = kv_put(&n->kv, h.ns, h.key, h.value, &err);
	return r < 0 ? mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text) : mq_reply_ok(req);
}

int handle_get_kv_config(struct mq_request *req)
{
	struct namesrv *n = req->server;
	struct kv_header h = {};
	struct mq_command answer;
	struct mq_slice value = {};
	struct mq_error err;

	if (kv_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	if (h.ns.p && h.key.p)
		value = kv_get(&n->kv, h.ns, h.key);
	if (!value.p)
		return namesrv_reply_code(req, MQ_QUERY_NOT_FOUND, "No config item, Namespace: %.*s Key: %.*s", MQ_FMT(or_null(h.ns)),
					  MQ_FMT(or_null(h.key)));
	mq_request_answer(req, &answer, MQ_SUCCESS);
	mq_command_add(&answer, "value", value);
	return mq_reply(req, &answer, NULL);
}

int handle_delete_kv_config(struct mq_request *req)
{
	struct namesrv *n = req->server;
	struct kv_header h = {};
	struct mq_error err = {};
	int r = kv_header_decode(&h, &req->cmd, &err);

	if (r == 0 && h.ns.p && h.key.p)
		r = kv_delete(&n->kv, h.ns, h.key, &err);
	return r < 0 ? mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text) : mq_reply_ok(req);
}

int kv_encode_namespace(const struct kv_namespace *ns, struct evbuffer *out)
{
	struct mq_kv_table table = { .pairs = calloc(HASH_COUNT(ns->pairs) + 1, sizeof *table.pairs) };
	int r;

	if (!table.pairs)
		return -ENOMEM;
	for (const struct kv_pair *p = ns->pairs; p; p = p->hh.next)
		table.pairs[table.n_pairs++] = (struct mq_kv_pair){ mq_slice_of(p->key), mq_slice_of(p->value) };
	r = mq_kv_table_encode(&table, out);
	free(table.pairs);
	return r;
}

int handle_get_kvlist_by_namespace(struct mq_request *req)
{
	_cleanup_(evbuffer_freep) struct evbuffer *body = evbuffer_new();
	struct namesrv *n = req->server;
	const struct kv_namespace *ns;
	struct kv_header h = {};
	struct mq_command answer;
	struct mq_error err;
	int r;

	if (kv_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	ns = h.ns.p ? kv_namespace(&n->kv, h.ns) : NULL;
	if (!ns)
		return mq_reply_code(req, MQ_QUERY_NOT_FOUND, "No config item, Namespace: %.*s", MQ_FMT(or_null(h.ns)));
	r = body ? kv_encode_namespace(ns, body) : -ENOMEM;
	if (r < 0)
		return r;
	mq_request_answer(req, &answer, MQ_SUCCESS);
	return mq_reply(req, &answer, body);
}
