/* Who reads which queues, decided here instead of by the members, and how: by pulling or by POP (QueryAssignmentProcessor;
 * requests-broker.md 6.6). */
#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>

#include "daemons/broker/assignment.h"
#include "daemons/broker/broker.h"
#include "daemons/broker/change.h"
#include "daemons/broker/clients.h"
#include "daemons/broker/groups.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/names.h"
#include "daemons/broker/read_queues.h"
#include "daemons/broker/reply.h"
#include "daemons/broker/request_mode.h"
#include "daemons/broker/retry.h"
#include "daemons/broker/topics.h"

static int body_parse(struct mq_request *req, struct mq_json **ret, struct mq_error *err)
{
	if (!req->cmd.body.p)
		return mq_error_set(err, -EBADMSG, "the request has no body");
	return mq_json_parse(ret, req->cmd.body, err);
}

/* ---- 400 ---- */

/* `taken` NULL: of each broker all queues. */
static void write_assignments(struct mq_json_writer *w, const struct queue_list *list, const bool *taken, enum mq_request_mode mode)
{
	mq_json_key(w, "messageQueueAssignments");
	mq_json_open_array(w);
	for (unsigned i = 0; i < list->n; i++) {
		struct mq_queue_name queue = list->queues[i];

		if (taken ? !taken[i] : i > 0 && mq_slice_equal(queue.broker, list->queues[i - 1].broker))
			continue;
		if (!taken)
			queue.id = -1;
		mq_assignment_write(w, &queue, mode);
	}
	mq_json_close_array(w);
}

static int decide_and_write(struct broker *b, const struct mq_assignment_query *query, const struct queue_list *list,
			    const struct mq_slice *members, unsigned n_members, struct mq_json_writer *w)
{
	struct mq_mode_setting setting;
	struct assignment_question q = {
		.queues = list->queues,
		.n_queues = list->n,
		.members = members,
		.n_members = n_members,
		.client_id = query->client_id,
		.strategy = query->strategy,
		.model = query->model,
		.gives_all = !config_get(&b->config, serverLoadBalancerEnable),
	};
	bool *taken = calloc(list->n ? list->n : 1, sizeof *taken);
	enum assignment a;

	if (!taken)
		return -ENOMEM;
	request_modes_get(b->request_modes, query->topic, query->group, &setting);
	q.mode = setting.mode;
	q.pop_share = setting.pop_share;
	a = assignment_decide(&q, taken);
	if (a != ASSIGNED_UNKNOWN)
		write_assignments(w, list, a == ASSIGNED_BROKERS ? NULL : taken, setting.mode);
	free(taken);
	return 0;
}

/* With the members of the group in the order of their ids. */
static int write_answer(struct broker *b, const struct mq_assignment_query *query, const struct queue_list *list,
			struct mq_json_writer *w)
{
	_cleanup_(names_done) struct names ids = {};
	struct mq_slice *members;
	int r = clients_ids(b->clients, query->group, &ids);

	if (r < 0 && r != -ENOENT)
		return r;
	members = calloc(ids.n ? ids.n : 1, sizeof *members);
	if (!members)
		return -ENOMEM;
	for (unsigned i = 0; i < ids.n; i++)
		members[i] = names_at(&ids, i);
	qsort(members, ids.n, sizeof *members, mq_slice_order);
	r = decide_and_write(b, query, list, members, ids.n, w);
	free(members);
	return r;
}

static int query_answer(struct mq_request *req, const struct mq_assignment_query *query, const struct queue_list *list)
{
	struct evbuffer *out = evbuffer_new();
	struct mq_json_writer w;
	int r = 0;

	if (!out)
		return -ENOMEM;
	mq_json_begin(&w, out);
	mq_json_open_object(&w);
	if (list) /* else: the topic is not known, and the client keeps what it has */
		r = write_answer(req->server, query, list, &w);
	mq_json_close_object(&w);
	if (mq_json_end(&w) < 0)
		r = -ENOMEM;
	return reply_body(req, out, r);
}

/* The body is read again: what it was read into did not outlive the handler. */
static void query_on_queues(void *user, struct queue_list *list)
{
	struct mq_request *req = user;
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	struct mq_assignment_query query;
	struct mq_error err = {};
	int r = body_parse(req, &doc, &err);

	if (r == 0)
		r = mq_assignment_query_read(mq_json_root(doc), &query, &err);
	if (r == 0)
		r = query_answer(req, &query, list);
	if (r < 0)
		(void)mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", strerror(-r));
}

int handle_query_assignment(struct mq_request *req)
{
	struct broker *b = req->server;
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	_cleanup_(queue_list_unrefp) struct queue_list *list = NULL;
	struct mq_assignment_query query;
	struct mq_error err = {};
	int r = body_parse(req, &doc, &err);

	if (r == 0)
		r = mq_assignment_query_read(mq_json_root(doc), &query, &err);
	if (r < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	r = read_queues_find(b->read_queues, query.topic, mq_conn_loop(req->conn), query_on_queues, req, &list);
	if (r == READ_QUEUES_WAIT)
		return MQ_REQUEST_PENDING;
	return r < 0 ? r : query_answer(req, &query, list);
}

/* ---- 401 ---- */

/* 1: no such group. The body is read again: what it was read into did not outlive the handler. */
static int set_mode_make(struct mq_request *req, struct mq_error *err)
{
	struct broker *b = req->server;
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	struct mq_mode_setting setting;
	struct group group;
	int r = body_parse(req, &doc, err);

	if (r == 0)
		r = mq_mode_setting_read(mq_json_root(doc), &setting, err);
	if (r < 0)
		return r;
	r = groups_get(b->groups, setting.group, &group);
	if (r == -ENOENT)
		return 1;
	return r < 0 ? r : request_modes_set(b->request_modes, &setting);
}

static int set_mode_made(struct mq_request *req, int r, const struct mq_error *err)
{
	if (r == 1)
		return mq_reply_code(req, MQ_SUBSCRIPTION_GROUP_NOT_EXIST, "subscription group does not exist");
	return r < 0 ? r : mq_reply_ok(req);
}

int handle_set_message_request_mode(struct mq_request *req)
{
	struct broker *b = req->server;
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	struct mq_mode_setting setting;
	struct mq_error err = {};
	struct topic topic;
	int r = body_parse(req, &doc, &err);

	if (r == 0)
		r = mq_mode_setting_read(mq_json_root(doc), &setting, &err);
	if (r < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	if (mq_slice_starts(setting.topic, MQ_SLICE(RETRY_PREFIX)))
		return mq_reply_code(req, MQ_NO_PERMISSION, "retry topic is not allowed to set mode");
	if (topics_get(b->topics, setting.topic, &topic) < 0)
		return mq_reply_code(req, MQ_TOPIC_NOT_EXIST, "topic[%.*s] not exist", MQ_FMT(setting.topic));
	return broker_change(req, set_mode_make, set_mode_made);
}

/* ---- 402 ---- */

int handle_get_all_message_request_mode(struct mq_request *req)
{
	struct broker *b = req->server;
	struct evbuffer *out = evbuffer_new();

	if (!out)
		return -ENOMEM;
	return reply_body(req, out, request_modes_encode(b->request_modes, out));
}
