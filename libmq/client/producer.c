/* One send goes: route ──> queue ──> SEND_MESSAGE_V2 ──> answer. When the broker cannot be reached, breaks
 * off, or answers with one of Java's retry codes, the next queue on another broker is tried while attempts
 * and time are left. */
#include "libmq/client/producer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libmq/client/route.h"
#include "libmq/wire/codes.h"
#include "libmq/wire/fields.h"

enum {
	ATTEMPTS_MAX = 3,     /* retryTimesWhenSendFailed 2 of Java producers */
	TEMPLATE_QUEUES = 4,  /* defaultTopicQueueNums */
};

struct mq_producer {
	struct mq_client *client; /* borrowed */
	char *group;              /* owned */
	unsigned next_queue;      /* round robin over all writable queues */
};

struct send {
	struct mq_producer *producer;
	char *topic, *body, *properties; /* owned */
	size_t n_body, n_properties;
	bool is_batch, is_oneway;
	int32_t flag, wanted_queue_id;
	int64_t born_at_ms, deadline_ms;
	char last_broker[256]; /* to try another one */
	struct mq_send_result result;
	mq_send_done done;
	void *user;
};

static void send_free(struct send *s)
{
	free(s->topic);
	free(s->body);
	free(s->properties);
	free(s);
}

DEFINE_CLEANUP(struct send *, send_free)

static void send_finish(struct send *s, const struct mq_failure *f)
{
	s->done(f, &s->result, s->user);
	send_free(s);
}

static void send_try(struct send *s);

/* The codes after which Java producers ask another broker: frame.md section 10. */
static bool is_retry_code(int code)
{
	switch (code) {
	case MQ_TOPIC_NOT_EXIST:
	case MQ_SERVICE_NOT_AVAILABLE:
	case MQ_SYSTEM_ERROR:
	case MQ_SYSTEM_BUSY:
	case MQ_NO_PERMISSION:
	case MQ_NO_BUYER_ID:
	case MQ_NOT_IN_CURRENT_UNIT:
	case MQ_GO_AWAY:
		return true;
	default:
		return false;
	}
}

static int64_t send_time_left(const struct send *s)
{
	return s->deadline_ms - mq_mono_ms(mq_loop_clock(mq_client_loop(s->producer->client)));
}

static void send_fail(struct send *s, const struct mq_failure *f)
{
	bool may_retry = f->stage == MQ_STAGE_ANSWER ? is_retry_code(f->code)
						     : f->r != -ECANCELED && f->r != -ENOMEM;

	if (may_retry && !s->is_oneway && s->result.n_attempts < ATTEMPTS_MAX && send_time_left(s) > 0) {
		/* What the route says may be the reason. */
		if (f->code == MQ_TOPIC_NOT_EXIST || f->stage == MQ_STAGE_CONNECT)
			mq_client_forget_route(s->producer->client, s->topic);
		send_try(s);
		return;
	}
	send_finish(s, f);
}

/* The answer's header: requests-broker.md section 2.1. */
#define SEND_ANSWER_FIELDS(X)                                   \
	X(slice, message_id,   "msgId",       REQUIRED)         \
	X(i32,   queue_id,     "queueId",     REQUIRED)         \
	X(i64,   queue_offset, "queueOffset", REQUIRED)
MQ_HEADER(send_answer, SEND_ANSWER_FIELDS)

static void send_on_answer(const struct mq_failure *f, const struct mq_command *answer, const char *where,
			   void *user)
{
	_cleanup_(freep) char *message_id = NULL;
	struct send_answer_header h = {};
	struct send *s = user;
	struct mq_failure failure;
	struct mq_error err;
	int r;

	if (f) {
		send_fail(s, f);
		return;
	}
	if (!answer) { /* one-way */
		s->result.queue_offset = -1;
		send_finish(s, NULL);
		return;
	}
	switch (answer->code) {
	case MQ_SUCCESS:
	case MQ_FLUSH_DISK_TIMEOUT:
	case MQ_SLAVE_NOT_AVAILABLE:
	case MQ_FLUSH_SLAVE_TIMEOUT:
		break;
	default:
		mq_failure_answer(&failure, MQ_HOP_BROKER, where, answer);
		send_fail(s, &failure);
		return;
	}
	r = send_answer_header_decode(&h, answer, &err);
	if (r < 0) {
		mq_failure_at(&failure, r, MQ_STAGE_ANSWER, MQ_HOP_BROKER, where, "unreadable answer: %s",
			      err.text);
		send_finish(s, &failure);
		return;
	}
	message_id = mq_slice_dup(h.message_id);
	s->result.code = answer->code;
	s->result.message_id = message_id;
	s->result.queue_id = h.queue_id;
	s->result.queue_offset = h.queue_offset;
	send_finish(s, NULL);
}

static bool broker_takes(const struct mq_topic_broker *b)
{
	return b->has_master && (b->perm & MQ_PERM_BIT_WRITE) && b->n_write > 0;
}

/* The n-th writable queue of the route, not on `except` while there is another broker. */
static const struct mq_topic_broker *pick_queue(const struct mq_topic_route *route, unsigned n,
						const char *except, int32_t *ret_queue_id)
{
	unsigned total = 0;

	for (unsigned i = 0; i < route->n_brokers; i++)
		if (broker_takes(&route->brokers[i]) && strcmp(route->brokers[i].name, except) != 0)
			total += (unsigned)route->brokers[i].n_write;
	if (total == 0)
		return *except ? pick_queue(route, n, "", ret_queue_id) : NULL;

	n %= total;
	for (unsigned i = 0; i < route->n_brokers; i++) {
		const struct mq_topic_broker *b = &route->brokers[i];

		if (!broker_takes(b) || strcmp(b->name, except) == 0)
			continue;
		if (n < (unsigned)b->n_write) {
			*ret_queue_id = (int32_t)n;
			return b;
		}
		n -= (unsigned)b->n_write;
	}
	return NULL;
}

static void send_command(struct send *s, struct mq_command *cmd, const char *broker, int32_t queue_id)
{
	mq_command_request(cmd, s->is_batch ? MQ_SEND_BATCH_MESSAGE : MQ_SEND_MESSAGE_V2);
	mq_command_add(cmd, "a", mq_slice_of(s->producer->group));
	mq_command_add(cmd, "b", mq_slice_of(s->topic));
	mq_command_add(cmd, "c", MQ_SLICE("TBW102"));
	mq_command_add_i64(cmd, "d", TEMPLATE_QUEUES);
	mq_command_add_i64(cmd, "e", queue_id);
	mq_command_add_i64(cmd, "f", 0);
	mq_command_add_i64(cmd, "g", s->born_at_ms);
	mq_command_add_i64(cmd, "h", s->flag);
	mq_command_add(cmd, "i", (struct mq_slice){ s->properties, s->n_properties });
	mq_command_add_i64(cmd, "j", 0);
	mq_command_add_bool(cmd, "k", false);
	mq_command_add_bool(cmd, "m", s->is_batch);
	mq_command_add(cmd, "n", mq_slice_of(broker));
	cmd->body = (struct mq_slice){ s->body, s->n_body };
	if (s->is_oneway)
		cmd->flag |= MQ_FLAG_ONEWAY;
}

static void send_on_route(const struct mq_failure *f, struct mq_topic_route *route, void *user)
{
	struct send *s = user;
	struct mq_client *c = s->producer->client;
	const struct mq_topic_broker *b;
	struct mq_failure failure;
	struct mq_command cmd;
	int32_t queue_id = 0;
	int64_t left = send_time_left(s);
	int r;

	if (f) {
		send_finish(s, f); /* every NameServer was tried already */
		return;
	}
	b = pick_queue(route, s->producer->next_queue++, s->last_broker, &queue_id);
	if (!b || left <= 0) {
		if (b)
			mq_failure_local(&failure, -ETIMEDOUT, "no time left to send to topic %s", s->topic);
		else
			mq_failure_local(&failure, -EACCES, "topic %s has no queue that takes messages",
					 s->topic);
		send_finish(s, &failure);
		return;
	}
	if (s->wanted_queue_id >= 0)
		queue_id = s->wanted_queue_id;
	snprintf(s->last_broker, sizeof s->last_broker, "%s", b->name);
	memcpy(s->result.broker, s->last_broker, sizeof s->result.broker);
	s->result.queue_id = queue_id;
	s->result.n_attempts++;

	struct mq_hop hop = mq_topic_route_hop(b);

	send_command(s, &cmd, b->name, queue_id);
	if (s->is_oneway)
		r = mq_client_oneway(c, &hop, &cmd, send_on_answer, s);
	else
		r = mq_client_call(c, &hop, &cmd, left, send_on_answer, s);
	if (r < 0) {
		mq_failure_local(&failure, r, "%s", strerror(-r));
		send_finish(s, &failure);
	}
}

static void send_try(struct send *s)
{
	struct mq_failure f;
	int r = mq_client_find_route(s->producer->client, s->topic, MQ_FIND_TO_SEND, send_on_route, s);

	if (r < 0) {
		mq_failure_local(&f, r, "%s", strerror(-r));
		send_finish(s, &f);
	}
}

static bool put_property(char *out, size_t *n, const char *name, struct mq_slice value)
{
	size_t end;

	if (value.n == 0)
		return true;
	end = mq_properties_append(out, *n, MQ_PROPERTIES_MAX, name, value);
	if (end == 0)
		return false;
	*n = end;
	return true;
}

/* Builds the properties string of a message, with a new unique id: bytes written into out[MQ_PROPERTIES_MAX
 * + 1], or -EMSGSIZE. */
static int put_properties(const struct mq_message *m, const struct mq_host *host, int64_t now_ms, char *out,
			  char ret_unique_id[MQ_MESSAGE_ID_MAX])
{
	size_t n = 0;
	bool fits = true;

	mq_unique_id(host, now_ms, ret_unique_id);
	fits = put_property(out, &n, MQ_PROPERTY_UNIQ_KEY, mq_slice_of(ret_unique_id)) &&
	       put_property(out, &n, MQ_PROPERTY_WAIT,
			    m->no_wait_store ? MQ_SLICE("false") : MQ_SLICE("true")) &&
	       put_property(out, &n, MQ_PROPERTY_TAGS, m->tag) &&
	       put_property(out, &n, MQ_PROPERTY_KEYS, m->keys);
	for (unsigned i = 0; fits && i < m->n_properties; i++) {
		char name[256];

		if (m->properties[i].name.n >= sizeof name)
			return -EMSGSIZE;
		snprintf(name, sizeof name, "%.*s", MQ_FMT(m->properties[i].name));
		fits = put_property(out, &n, name, m->properties[i].value);
	}
	return fits ? (int)n : -EMSGSIZE;
}

/* The body of a batch: every message with its own properties, one after the other. */
static int build_batch(struct send *s, const struct mq_message *m, unsigned n, const struct mq_host *host,
		       char *properties)
{
	size_t size = 0, at = 0;

	for (unsigned i = 0; i < n; i++) {
		int n_properties =
			put_properties(&m[i], host, s->born_at_ms, properties, s->result.unique_id);
		struct mq_batch_entry e;
		char *larger;

		if (n_properties < 0)
			return n_properties;
		e = (struct mq_batch_entry){ m[i].flag, m[i].body, { properties, (size_t)n_properties } };
		size = at + mq_batch_entry_size(&e);
		if (size > MQ_FRAME_MAX_DEFAULT)
			return -EMSGSIZE;
		larger = realloc(s->body, size);
		if (!larger)
			return -ENOMEM;
		s->body = larger;
		at += mq_batch_entry_encode(&e, s->body + at);
	}
	s->n_body = at;
	return 0;
}

static int build_single(struct send *s, const struct mq_message *m, const struct mq_host *host,
			char *properties)
{
	int n = put_properties(m, host, s->born_at_ms, properties, s->result.unique_id);

	if (n < 0)
		return n;
	s->body = malloc(m->body.n + 1);
	s->properties = malloc((size_t)n + 1);
	if (!s->body || !s->properties)
		return -ENOMEM;
	if (m->body.n > 0)
		memcpy(s->body, m->body.p, m->body.n);
	memcpy(s->properties, properties, (size_t)n);
	s->n_body = m->body.n;
	s->n_properties = (size_t)n;
	return 0;
}

static int send_start(struct mq_producer *p, const struct mq_message *m, unsigned n, bool is_batch,
		      bool is_oneway, mq_send_done done, void *user)
{
	_cleanup_(send_freep) struct send *s = NULL;
	_cleanup_(freep) char *properties = NULL;
	const struct mq_clock *clock = mq_loop_clock(mq_client_loop(p->client));
	int r;

	if (n == 0 || !m->topic || !*m->topic)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++)
		if (m[i].body.n == 0 || strcmp(m[i].topic, m->topic) != 0)
			return -EINVAL;

	s = calloc(1, sizeof *s);
	properties = malloc(MQ_PROPERTIES_MAX + 1);
	if (!s || !properties)
		return -ENOMEM;
	*s = (struct send){
		.producer = p, .is_batch = is_batch, .is_oneway = is_oneway, .done = done, .user = user
	};
	s->flag = m->flag;
	s->wanted_queue_id = m->queue_id;
	s->born_at_ms = m->born_at_ms ? m->born_at_ms : mq_wall_ms(clock);
	s->deadline_ms = mq_mono_ms(clock) + mq_client_timeout_ms(p->client);
	s->topic = strdup(m->topic);
	if (!s->topic)
		return -ENOMEM;
	if (is_batch)
		r = build_batch(s, m, n, mq_client_host(p->client), properties);
	else
		r = build_single(s, m, mq_client_host(p->client), properties);
	if (r < 0)
		return r;
	send_try(TAKE(s));
	return 0;
}

int mq_producer_send(struct mq_producer *p, const struct mq_message *m, mq_send_done done, void *user)
{
	return send_start(p, m, 1, false, false, done, user);
}

int mq_producer_send_batch(struct mq_producer *p, const struct mq_message *m, unsigned n, mq_send_done done,
			   void *user)
{
	return send_start(p, m, n, true, false, done, user);
}

int mq_producer_send_oneway(struct mq_producer *p, const struct mq_message *m, mq_send_done done, void *user)
{
	return send_start(p, m, 1, false, true, done, user);
}

/* On the heap: an interrupted wait leaves it to the callback that still comes. */
struct send_wait {
	bool is_done, is_abandoned;
	struct mq_send_result result;
	char *message_id; /* owned */
	struct mq_failure failure;
	bool has_failed;
};

static void send_wait_free(struct send_wait *w)
{
	free(w->message_id);
	free(w);
}

static void send_wait_done(const struct mq_failure *f, const struct mq_send_result *result, void *user)
{
	struct send_wait *w = user;

	if (w->is_abandoned) {
		send_wait_free(w);
		return;
	}
	w->is_done = true;
	w->has_failed = f;
	if (f)
		w->failure = *f;
	w->result = *result;
	w->message_id = result->message_id ? strdup(result->message_id) : NULL;
	w->result.message_id = NULL;
}

int mq_producer_send_wait(struct mq_producer *p, const struct mq_message *m, unsigned n,
			  struct mq_send_result *result, char *message_id, size_t message_id_size,
			  struct mq_failure *f)
{
	struct send_wait *w = calloc(1, sizeof *w);
	int r;

	if (!w)
		return mq_failure_local(f, -ENOMEM, "out of memory");
	r = send_start(p, m, n, n > 1, false, send_wait_done, w);
	if (r < 0) {
		send_wait_free(w);
		return mq_failure_local(f, r, "%s",
					r == -EINVAL	 ? "a message needs a topic and a body" :
					r == -EMSGSIZE ? "the properties exceed 32767 bytes" :
							 strerror(-r));
	}
	r = mq_client_wait(p->client, &w->is_done, -1);
	if (r < 0) {
		w->is_abandoned = true;
		return mq_failure_local(f, r, "%s", strerror(-r));
	}
	if (w->has_failed) {
		if (f)
			*f = w->failure;
		r = w->failure.r;
	} else {
		*result = w->result;
		snprintf(message_id, message_id_size, "%s", w->message_id ? w->message_id : "");
	}
	send_wait_free(w);
	return r;
}

int mq_producer_new(struct mq_producer **ret, struct mq_client *c, const char *group)
{
	struct mq_producer *p = calloc(1, sizeof *p);

	if (!p)
		return -ENOMEM;
	p->client = c;
	p->group = strdup(group);
	if (!p->group) {
		free(p);
		return -ENOMEM;
	}
	/* Short runs should not all hit queue 0. */
	p->next_queue = (unsigned)(mq_wall_ms(mq_loop_clock(mq_client_loop(c))) & 0xffff);
	*ret = p;
	return 0;
}

struct mq_producer *mq_producer_free(struct mq_producer *p)
{
	if (p) {
		free(p->group);
		free(p);
	}
	return NULL;
}
