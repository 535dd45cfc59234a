/* Heartbeats. Whoever changes a group gathers under the lock whom to tell (notices) and what to log (quarrels), and does both
 * after it.
 *
 * Bounds, whatever peers send: a heartbeat has up to MQ_HEARTBEAT_BYTES_MAX bytes; one connection is in at most
 * CLIENT_GROUPS_MAX groups and may name CLIENT_BYTES_MAX bytes in them; all together take CLIENTS_BYTES_MAX. */
#include <errno.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/clients_internal.h"
#include "daemons/broker/groups.h"
#include "daemons/broker/retry.h"
#include "daemons/broker/topics.h"

enum {
	CLIENT_ID_MAX = 1024,          /* bytes; Java's have some 40, with a unit name a few more */
	CLIENT_GROUPS_MAX = 8192,      /* of one connection */
	CLIENT_BYTES_MAX = 8 << 20,    /* of what one connection named */
	CLIENTS_BYTES_MAX = 256 << 20, /* of all clients, groups and subscriptions */
};

struct beat {
	struct mq_conn *conn;
	const struct mq_command *cmd;
	struct mq_heartbeat body;
	struct heartbeat_result *result;
	struct notice_list notices;
	struct quarrel_list quarrels;
};

/* What a heartbeat says of one consumer. */
struct saying {
	struct mq_heartbeat_consumer consumer;
	struct subscribed *subs;  /* owned */
	struct sub_set *set;      /* owned; NULL: it says nothing of subscriptions */
};

static void saying_done(struct saying *s)
{
	subs_free(&s->subs);
	free(s->set);
}

/* Is there room for it? -ENOBUFS with a sentence. */
static int beat_check_room(struct clients *c, struct client *client, struct party *p, const struct saying *said,
			   struct mq_error *err)
{
	const struct member *m = member_find(c, client, p);
	size_t n_set = said && said->set ? said->set->n_bytes : 0, n_old = m && m->set ? m->set->n_bytes : 0;

	if (!m && client->n_members >= CLIENT_GROUPS_MAX)
		return mq_error_set(err, -ENOBUFS, "one client may be in at most %d groups", CLIENT_GROUPS_MAX);
	if (client->n_said - n_old + n_set + (m ? 0 : p->n_name) > CLIENT_BYTES_MAX)
		return mq_error_set(err, -ENOBUFS, "the groups and subscriptions of one client may take at most %d bytes",
				    CLIENT_BYTES_MAX);
	if (c->n_bytes + n_set + (said ? subs_bytes(said->subs) : 0) > CLIENTS_BYTES_MAX)
		return mq_error_set(err, -ENOBUFS, "the clients that are connected take %d bytes here, no more can be remembered",
				    CLIENTS_BYTES_MAX);
	return 0;
}

/* A member that was in the group is no longer: when all change what they subscribe to, the last one finds the group empty,
 * and the others follow with their next heartbeats. */
static int beat_refuse(struct clients *c, struct beat *b, struct party *p, struct member *m)
{
	if (m) {
		party_leave(c, m);
		notice_gather(&b->notices, p, false);
	}
	return -EPERM;
}

static int beat_join(struct clients *c, struct beat *b, struct party *p, struct client *client, struct saying *said,
		     struct mq_error *err)
{
	struct member *m = member_find(c, client, p);
	bool is_quiet = b->body.fingerprint != 0 && b->body.without_subscriptions, changed;
	int r = beat_check_room(c, client, p, is_quiet ? NULL : said, err);

	if (r < 0)
		return r;
	if (!is_quiet && config_get(&c->broker->config, strictSubscription) &&
	    party_contradicts(p, m, said->set, b->body.client_id, b->result->refusal, sizeof b->result->refusal))
		return beat_refuse(c, b, p, m);
	p->type = said->consumer.type;
	p->model = said->consumer.model;
	p->from = said->consumer.from;
	r = party_join(c, p, client, &m);
	if (r < 0)
		return r;
	changed = r > 0;
	/* Who says nothing of its subscriptions and never did on this connection (the broker was restarted, the connection broke)
	 * is asked for them. Upstream might be left without. */
	if (b->body.fingerprint != 0)
		b->result->sub_changed |= (p->has_fingerprint && p->fingerprint != b->body.fingerprint) ||
					  (is_quiet && !m->has_said);
	p->has_fingerprint = true;
	p->fingerprint = b->body.fingerprint;
	if (!is_quiet) {
		changed |= party_subscribe(c, p, &said->subs);
		member_say(c, m, TAKE(said->set));
		quarrel_gather(c, &b->quarrels, p);
	}
	if (changed)
		notice_gather(&b->notices, p, false);
	return 0;
}

static int beat_consumer_locked(struct clients *c, struct beat *b, struct saying *said, struct mq_error *err)
{
	struct client *client = client_get(c, b->conn, b->cmd, b->body.client_id);
	struct party *p = client ? party_get(c, PARTY_CONSUMERS, said->consumer.group) : NULL;
	int r = p ? beat_join(c, b, p, client, said, err) : -ENOMEM;

	if (p)
		party_drop_if_empty(c, p);
	if (client)
		client_drop_if_empty(c, client);
	return r;
}

static bool beat_has_order_topic(struct clients *c, struct subscribed *subs)
{
	struct topic topic;

	for (const struct subscribed *s = subs; s; s = s->hh.next)
		if (topics_get(c->broker->topics, s->topic, &topic) == 0 && topic.is_order)
			return true;
	return false;
}

/* Are the group and its retry topic there? 1: no, but they can be made; -ENOENT: they cannot. */
static int beat_look(struct clients *c, struct mq_slice name)
{
	char buffer[RETRY_TOPIC_BUFFER];
	struct mq_slice topic = retry_topic(RETRY_PREFIX, name, buffer);
	struct group group;

	if (topic.n == 0)
		return -ENOENT;
	if (groups_find(c->broker->groups, name, &group) < 0)
		return groups_may_create(c->broker->groups, name) ? 1 : -ENOENT;
	return topics_get(c->broker->topics, topic, &(struct topic){}) == 0 ? 0 : 1;
}

/* Makes them. Upstream passes silently over a group that may not be made. */
static int beat_prepare(struct clients *c, const struct saying *said)
{
	struct mq_slice name = said->consumer.group, topic;
	char buffer[RETRY_TOPIC_BUFFER];
	struct group group;
	int r;

	topic = retry_topic(RETRY_PREFIX, name, buffer);
	r = topic.n > 0 ? groups_get(c->broker->groups, name, &group) : -ENOENT;
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return topics_create_retry(c->broker->topics, topic, group.retry_queues, beat_has_order_topic(c, said->subs));
}

static bool beat_is_rejected(struct clients *c, const struct mq_heartbeat_consumer *consumer)
{
	return consumer->type == MQ_CONSUME_ACTIVELY && config_get(&c->broker->config, rejectPullConsumerEnable);
}

static bool beat_wants_making(struct clients *c, const struct beat *b)
{
	struct mq_heartbeat_consumer consumer;

	MQ_JSON_EACH(node, b->body.consumers)
		if (mq_heartbeat_consumer_read(node, &consumer, NULL) == 0 && !beat_is_rejected(c, &consumer) &&
		    beat_look(c, consumer.group) == 1)
			return true;
	return false;
}

static int beat_consumer(struct clients *c, struct beat *b, const struct mq_json_node *node, struct mq_error *err)
{
	_cleanup_(saying_done) struct saying said = {};
	int r;

	r = mq_heartbeat_consumer_read(node, &said.consumer, err);
	if (r < 0)
		return r;
	if (beat_is_rejected(c, &said.consumer))
		return 0;
	r = subs_read(c->broker, said.consumer.subscriptions, &said.subs, err);
	if (r == 0 && beat_look(c, said.consumer.group) != 0)
		return 0;
	if (r == 0)
		r = sub_set_new(&said.set, said.subs);
	if (r == 0) {
		pthread_rwlock_wrlock(&c->lock);
		r = beat_consumer_locked(c, b, &said, err);
		pthread_rwlock_unlock(&c->lock);
	}
	return r < 0 ? r : 0;
}

static int beat_producer_locked(struct clients *c, struct beat *b, struct mq_slice group, struct mq_error *err)
{
	struct client *client = client_get(c, b->conn, b->cmd, b->body.client_id);
	struct party *p = client ? party_get(c, PARTY_PRODUCERS, group) : NULL;
	struct member *m;
	int r = p ? beat_check_room(c, client, p, NULL, err) : -ENOMEM;

	if (r == 0)
		r = party_join(c, p, client, &m);
	if (p)
		party_drop_if_empty(c, p);
	if (client)
		client_drop_if_empty(c, client);
	return r;
}

static int beat_producers(struct clients *c, struct beat *b, struct mq_error *err)
{
	int r = 0;

	pthread_rwlock_wrlock(&c->lock);
	MQ_JSON_EACH(node, b->body.producers) {
		struct mq_slice group = mq_heartbeat_producer_read(node);

		if (!group.p || group.n > GROUP_NAME_MAX)
			continue;
		r = beat_producer_locked(c, b, group, err);
		if (r < 0)
			break;
	}
	pthread_rwlock_unlock(&c->lock);
	return r < 0 ? r : 0;
}

static int beat_read(struct mq_json **ret_doc, const struct mq_command *cmd, struct mq_heartbeat *ret, struct mq_error *err)
{
	int r;

	if (!cmd->body.p)
		return mq_error_set(err, -EBADMSG, "the heartbeat has no body");
	if (cmd->body.n > MQ_HEARTBEAT_BYTES_MAX)
		return mq_error_set(err, -EBADMSG, "the heartbeat has %zu bytes, %d are allowed", cmd->body.n,
				    MQ_HEARTBEAT_BYTES_MAX);
	r = mq_json_parse(ret_doc, cmd->body, err);
	if (r == 0)
		r = mq_heartbeat_read(*ret_doc, ret, err);
	if (r == 0 && ret->client_id.n > CLIENT_ID_MAX)
		return mq_error_set(err, -EBADMSG, "the clientID has %zu bytes, %d are allowed", ret->client_id.n, CLIENT_ID_MAX);
	return r == 0 || r == -ENOMEM ? r : -EBADMSG;
}

int clients_prepare(struct clients *c, const struct mq_command *cmd)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	struct mq_heartbeat body;
	int r;

	r = beat_read(&doc, cmd, &body, NULL);
	if (r < 0)
		return r;
	MQ_JSON_EACH(node, body.consumers) {
		_cleanup_(saying_done) struct saying said = {};

		r = mq_heartbeat_consumer_read(node, &said.consumer, NULL);
		if (r == 0 && beat_is_rejected(c, &said.consumer))
			continue;
		if (r == 0)
			r = subs_read(c->broker, said.consumer.subscriptions, &said.subs, NULL);
		if (r == 0)
			r = beat_prepare(c, &said);
		if (r < 0)
			return r;
	}
	return 0;
}

int clients_heartbeat(struct clients *c, struct mq_conn *conn, const struct mq_command *cmd, bool is_prepared,
		      struct heartbeat_result *ret, struct mq_error *err)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	struct beat b = { .conn = conn,
			  .cmd = cmd,
			  .result = ret,
			  .notices = STAILQ_HEAD_INITIALIZER(b.notices),
			  .quarrels = STAILQ_HEAD_INITIALIZER(b.quarrels) };
	bool is_refused = false;
	int r;

	*ret = (struct heartbeat_result){};
	r = beat_read(&doc, cmd, &b.body, err);
	if (r < 0)
		return r;
	if (!is_prepared && beat_wants_making(c, &b))
		return -EAGAIN;
	MQ_JSON_EACH(node, b.body.consumers) {
		r = beat_consumer(c, &b, node, err);
		is_refused |= r == -EPERM; /* the client's other groups are not concerned */
		if (r < 0 && r != -EPERM)
			break;
	}
	notice_send_all(c, &b.notices);
	quarrel_log_all(&b.quarrels);
	if (r == 0 || r == -EPERM)
		r = beat_producers(c, &b, err);
	if (r < 0)
		return r;
	ret->sub_changed |= b.body.fingerprint == 0; /* upstream's answer to the first version is always true */
	return is_refused ? -EPERM : 0;
}
