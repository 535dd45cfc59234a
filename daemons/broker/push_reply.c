#include "daemons/broker/push_reply.h"

#include <errno.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/clients.h"
#include "libmq/net/rpc.h"
#include "libmq/wire/message_properties.h"

enum {
	PUSH_TIMEOUT_MS = 10000, /* Broker2Client.callClient */
	PUSH_FAULT_MAX = 512,
	PUSH_PROPERTIES_ADDED = 128, /* bytes: three names, separators, a time and a boolean */
};

/* Fields that are passed on as they came: the names of 326 are those of 324, and in 325 they are
 * letters. */
static const struct {
	const char *name, *v2;
} passed_on[] = {
	{ "producerGroup", "a" },  { "topic", "b" },
	{ "defaultTopic", "c" },   { "defaultTopicQueueNums", "d" },
	{ "queueId", "e" },	   { "sysFlag", "f" },
	{ "bornTimestamp", "g" },  { "flag", "h" },
	{ "reconsumeTimes", "j" }, { "unitMode", "k" },
};

/* Made on the sender's loop, filled on the asker's, ended on the sender's. */
struct push {
	struct mq_post post;
	struct broker *broker;
	struct mq_request *req;	    /* borrowed */
	struct mq_conn *asker;	    /* ref */
	struct mq_slice properties; /* borrowed from the request */
	struct mq_slice client_id;  /* the same */
	void (*done)(void *user, const char *fault);
	void *user;
	bool has_failed;
};

static void push_end(struct push *p)
{
	char fault[PUSH_FAULT_MAX];
	struct push end = *p;

	mq_conn_unref(p->asker);
	free(p);
	if (end.has_failed) /* without a blank, as upstream */
		snprintf(fault, sizeof fault, "push reply message to %.*sfail.",
			 MQ_FMT(end.client_id));
	end.done(end.user, end.has_failed ? fault : NULL);
}

static void push_on_return(struct mq_post *post)
{
	push_end((struct push *)post);
}

/* On the asker's loop. */
static void push_return(struct push *p, bool has_failed)
{
	struct mq_loop *home = mq_conn_loop(p->req->conn);

	p->has_failed = has_failed;
	if (mq_loop_is_current(home) || !broker_loop_of(p->broker, p->req->conn)) {
		push_end(p); /* the second: the broker stops, and this is the last thread */
		return;
	}
	p->post.run = push_on_return;
	mq_loop_post(home, &p->post);
}

static void push_answered(int r, const struct mq_command *answer, const char *why, void *user)
{
	push_return(user, r < 0 || answer->code != MQ_SUCCESS);
}

size_t push_reply_properties_bound(const struct broker_config *config, struct mq_slice in)
{
	return in.n + 1 + strlen(config->regionId) + PUSH_PROPERTIES_ADDED;
}

size_t push_reply_properties(const struct broker_config *config, struct mq_slice in, int64_t at_ms,
			     char *ret)
{
	static const char *const dropped[] = { MQ_PROPERTY_MSG_REGION, MQ_PROPERTY_TRACE_ON,
					       MQ_PROPERTY_PUSH_REPLY_TIME, NULL };
	size_t size = push_reply_properties_bound(config, in), n;
	char number[24];

	n = mq_properties_copy(in, dropped, ret, size);
	n = mq_properties_append(ret, n, size, MQ_PROPERTY_MSG_REGION,
				 mq_slice_of(config->regionId));
	n = mq_properties_append(ret, n, size, MQ_PROPERTY_TRACE_ON,
				 config_get(config, traceOn) ? MQ_SLICE("true")
							     : MQ_SLICE("false"));
	if (at_ms >= 0) {
		snprintf(number, sizeof number, "%" PRIi64, at_ms);
		n = mq_properties_append(ret, n, size, MQ_PROPERTY_PUSH_REPLY_TIME,
					 mq_slice_of(number));
	}
	return n;
}

/* `host` has room for MQ_HOST_TEXT_MAX. */
static int push_call(struct push *p, struct evbuffer *body, char *text, char *host)
{
	const struct mq_command *from = &p->req->cmd;
	bool is_v2 = from->code == MQ_SEND_REPLY_MESSAGE_V2;
	int64_t now_ms = mq_loop_wall_ms(mq_conn_loop(p->asker));
	struct mq_command cmd;

	mq_command_request(&cmd, MQ_PUSH_REPLY_MESSAGE_TO_CLIENT);
	for (unsigned i = 0; i < N_ELEMENTS(passed_on); i++) {
		const struct mq_slice *value =
		    mq_command_field(from, is_v2 ? passed_on[i].v2 : passed_on[i].name);

		if (value)
			mq_command_add(&cmd, passed_on[i].name, *value);
	}
	mq_host_format(&mq_conn_peer(p->req->conn)->host, host);
	mq_command_add(&cmd, "bornHost", mq_slice_of(host));
	mq_command_add(&cmd, "storeHost", mq_slice_of(p->broker->address));
	mq_command_add_i64(&cmd, "storeTimestamp", now_ms);
	mq_command_add(
	    &cmd, "properties",
	    (struct mq_slice){
		text, push_reply_properties(&p->broker->config, p->properties, now_ms, text) });
	if (evbuffer_add(body, from->body.p, from->body.n) < 0)
		return -ENOMEM;
	return mq_rpc_call(p->asker, &cmd, body, PUSH_TIMEOUT_MS, push_answered, p);
}

/* On the asker's loop. */
static void push_go(struct push *p)
{
	_cleanup_(freep) char *text =
	    malloc(push_reply_properties_bound(&p->broker->config, p->properties));
	struct evbuffer *body = evbuffer_new();
	char host[MQ_HOST_TEXT_MAX];
	int r = text && body ? push_call(p, body, text, host) : -ENOMEM;

	if (body)
		evbuffer_free(body);
	if (r < 0)
		push_return(p, true);
}

static void push_on_arrival(struct mq_post *post)
{
	struct push *p = (struct push *)post;

	if (mq_loop_is_current(mq_conn_loop(p->asker)))
		push_go(p);
	else /* the loop is about to be freed */
		push_return(p, true);
}

int push_reply(struct broker *b, struct mq_request *req, struct mq_slice properties,
	       void (*done)(void *user, const char *fault), void *user)
{
	struct mq_slice client_id = mq_properties_get(properties, MQ_PROPERTY_REPLY_TO_CLIENT);
	struct mq_conn *asker = client_id.p ? clients_of_producer_id(b->clients, client_id) : NULL;
	char fault[PUSH_FAULT_MAX];
	struct push *p;

	if (!client_id.p) {
		done(user, "reply message properties[" MQ_PROPERTY_REPLY_TO_CLIENT "] is null");
		return 0;
	}
	if (!asker) {
		snprintf(fault, sizeof fault,
			 "push reply message fail, channel of <%.*s> not found.",
			 MQ_FMT(client_id));
		done(user, fault);
		return 0;
	}
	p = malloc(sizeof *p);
	if (!p) {
		mq_conn_unref(asker);
		return -ENOMEM;
	}
	*p = (struct push){ .post.run = push_on_arrival,
			    .broker = b,
			    .req = req,
			    .asker = asker,
			    .properties = properties,
			    .client_id = client_id,
			    .done = done,
			    .user = user };
	if (mq_loop_is_current(mq_conn_loop(asker)))
		push_go(p);
	else
		mq_loop_post(mq_conn_loop(asker), &p->post);
	return 0;
}
