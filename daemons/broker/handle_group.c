/* Consumer groups (AdminBrokerProcessor; requests-broker.md 5.2). */
#include <errno.h>
#include <event2/buffer.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/change.h"
#include "daemons/broker/clients.h"
#include "daemons/broker/groups.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/names.h"
#include "daemons/broker/pop_inflight.h"
#include "daemons/broker/pop_order.h"
#include "daemons/broker/pulled.h"
#include "daemons/broker/reply.h"
#include "libmq/wire/codes.h"

enum { GROUP_PAGE_MAX = 2000 }; /* splitMetadataSize */

/* ---- 200, 207, 352 ---- */

static int update_group_make(struct mq_request *req, struct mq_error *err)
{
	struct broker *b = req->server;

	return groups_update(b->groups, req->cmd.body, err);
}

static int update_group_made(struct mq_request *req, int r, const struct mq_error *err)
{
	if (r == -EINVAL)
		return mq_reply_code(req, MQ_INVALID_PARAMETER, "%s", err->text);
	if (r == -EBADMSG)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err->text);
	return r < 0 ? r : mq_reply_ok(req);
}

int handle_update_and_create_subscriptiongroup(struct mq_request *req)
{
	if (!req->cmd.body.p)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "the request has no body");
	return broker_change(req, update_group_make, update_group_made);
}

/* removeOffset is what 4.9 calls cleanOffset. */
#define DELETE_GROUP_FIELDS(X)                                  \
	X(slice, group,         "groupName",    REQUIRED)       \
	X(bool,  clean_offset,  "cleanOffset",  OPTIONAL)       \
	X(bool,  remove_offset, "removeOffset", OPTIONAL)
MQ_HEADER(delete_group, DELETE_GROUP_FIELDS)

static int delete_group_make(struct mq_request *req, struct mq_error *err)
{
	struct broker *b = req->server;
	struct delete_group_header h = {};
	int r = delete_group_header_decode(&h, &req->cmd, err);

	if (r < 0)
		return r;
	r = groups_delete(b->groups, h.group);
	if (r == 0 && (h.clean_offset || h.remove_offset))
		r = store_offset_delete(b->store, h.group, (struct mq_slice){});
	pulled_forget(b->pulled, h.group, (struct mq_slice){});
	pulled_forget(b->resets, h.group, (struct mq_slice){});
	pop_orders_forget(b->pop_orders, (struct mq_slice){}, h.group);
	pop_inflight_forget(b->pop_inflight, (struct mq_slice){}, h.group);
	return r;
}

static int delete_group_made(struct mq_request *req, int r, const struct mq_error *err)
{
	return r < 0 ? r : mq_reply_ok(req);
}

int handle_delete_subscriptiongroup(struct mq_request *req)
{
	struct delete_group_header h = {};
	struct mq_error err = {};

	if (delete_group_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	if (h.group.n == 0) /* no name must not come to mean all of them */
		return mq_reply_code(req, MQ_INVALID_PARAMETER, "The specified group is blank.");
	return broker_change(req, delete_group_make, delete_group_made);
}

#define GROUP_FIELDS(X) X(slice, group, "group", REQUIRED)
MQ_HEADER(group, GROUP_FIELDS)

/* An unknown group is made. */
static int get_group_make(struct mq_request *req, struct mq_error *err)
{
	struct broker *b = req->server;
	struct group_header h = {};
	struct group group;
	int r = group_header_decode(&h, &req->cmd, err);

	return r < 0 ? r : groups_get(b->groups, h.group, &group);
}

static int get_group_answer(struct mq_request *req, int r, const struct mq_error *err)
{
	struct broker *b = req->server;
	struct group_header h = {};
	struct evbuffer *body = evbuffer_new();

	if (!body)
		return -ENOMEM;
	if (r == 0)
		r = group_header_decode(&h, &req->cmd, NULL);
	if (r == 0)
		r = groups_encode(b->groups, h.group, body);
	if (r != -ENOENT)
		return reply_body(req, body, r);
	evbuffer_free(body);
	return mq_reply_code(req, MQ_SUBSCRIPTION_GROUP_NOT_EXIST, "No group in this broker");
}

int handle_get_subscriptiongroup_config(struct mq_request *req)
{
	struct broker *b = req->server;
	struct group_header h = {};
	struct mq_error err = {};
	struct group group;

	if (group_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	if (groups_find(b->groups, h.group, &group) == 0)
		return get_group_answer(req, 0, &err);
	return broker_change(req, get_group_make, get_group_answer);
}

/* ---- 201 ---- */

#define ALL_GROUPS_FIELDS(X)                                    \
	X(i32,   first,   "groupSeq",    OPTIONAL)              \
	X(slice, version, "dataVersion", OPTIONAL)              \
	X(i32,   max,     "maxGroupNum", OPTIONAL)
MQ_HEADER(all_groups, ALL_GROUPS_FIELDS)

/* A page of another version of the table would not fit the pages that the peer already has: it begins anew. */
static unsigned all_groups_first(struct broker *b, const struct all_groups_header *h)
{
	struct mq_data_version v;
	char text[MQ_DATA_VERSION_TEXT];

	groups_version(b->groups, &v);
	return h->first > 0 && mq_slice_equal(h->version, mq_data_version_text(&v, text)) ? (unsigned)h->first : 0;
}

int handle_get_all_subscriptiongroup_config(struct mq_request *req)
{
	struct broker *b = req->server;
	struct all_groups_header h = { .first = -1 };
	struct mq_command answer;
	struct mq_error err = {};
	struct evbuffer *body;
	unsigned first = 0, max = 0;
	int n;

	if (all_groups_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	if (h.first >= 0) {
		first = all_groups_first(b, &h);
		max = h.max > 0 && h.max < GROUP_PAGE_MAX ? (unsigned)h.max : GROUP_PAGE_MAX;
	}
	body = evbuffer_new();
	if (!body)
		return -ENOMEM;
	n = groups_encode_table(b->groups, first, max, body);
	if (n >= 0) {
		mq_request_answer(req, &answer, MQ_SUCCESS);
		mq_command_add_i64(&answer, "totalGroupNum", n);
		n = mq_reply(req, &answer, body);
	}
	evbuffer_free(body);
	return n;
}

/* ---- 300 ---- */

#define TOPIC_FIELDS(X) X(slice, topic, "topic", REQUIRED)
MQ_HEADER(topic, TOPIC_FIELDS)

static void consumed_by_online(void *user, struct mq_slice group)
{
	names_add(user, group);
}

static void consumed_by_offset(void *user, struct mq_slice group, struct mq_slice topic, int32_t queue_id, int64_t offset)
{
	names_add(user, group);
}

static int names_write(const struct names *names, const char *key, struct evbuffer *out)
{
	struct mq_json_writer w;

	mq_json_begin(&w, out);
	mq_json_open_object(&w);
	mq_json_key(&w, key);
	mq_json_open_array(&w);
	for (unsigned i = 0; i < names->n; i++)
		mq_json_string(&w, names_at(names, i));
	mq_json_close_array(&w);
	mq_json_close_object(&w);
	return mq_json_end(&w);
}

int handle_query_topic_consume_by_who(struct mq_request *req)
{
	struct broker *b = req->server;
	_cleanup_(names_done) struct names groups = {};
	struct topic_header h = {};
	struct mq_error err = {};
	struct evbuffer *body;

	if (topic_header_decode(&h, &req->cmd, &err) < 0)
		return reply_bad_header(req, &err);
	clients_groups_of(b->clients, h.topic, consumed_by_online, &groups);
	if (h.topic.n > 0) /* to the store, no name means all of them */
		store_offset_each(b->store, (struct mq_slice){}, h.topic, consumed_by_offset, &groups);
	if (groups.error < 0)
		return groups.error;
	body = evbuffer_new();
	return body ? reply_body(req, body, names_write(&groups, "groupList", body)) : -ENOMEM;
}
