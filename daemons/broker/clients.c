/* Two tables of parties (groups of producers, groups of consumers), one of clients (connections that sent a heartbeat);
 * a member is one client in one party. Whoever changes a group gathers under the lock whom to tell, and tells them
 * after it. */
#include "daemons/broker/clients.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <uthash.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/filter_sql.h"
#include "daemons/broker/groups.h"
#include "daemons/broker/names.h"
#include "daemons/broker/topics.h"
#include "libmq/wire/body_connections.h"
#include "libmq/wire/body_heartbeat.h"
#include "libmq/wire/codes.h"

#define RETRY_PREFIX "%RETRY%"

enum party_kind { PARTY_PRODUCERS, PARTY_CONSUMERS, PARTY_N };

struct party;

/* A connection that sent a heartbeat. */
struct client {
	uint64_t id;          /* of the connection */
	struct mq_conn *conn; /* ref */
	char *client_id;      /* owned */
	char address[MQ_HOST_TEXT_MAX];
	uint8_t language;     /* enum mq_language */
	int16_t version;
	LIST_HEAD(, member) members;
	UT_hash_handle hh, by_name; /* by_name: the last of those with the same client_id */
};

struct member {
	struct client *client; /* borrowed: it outlives its members */
	struct party *party;   /* borrowed: it goes with its last member */
	int64_t seen_at_ms;    /* monotonic: last heartbeat that named the party */
	LIST_ENTRY(member) by_client;
	TAILQ_ENTRY(member) by_party;
};

/* One topic of a consumer group. One allocation: the slices point into text[]. */
struct subscribed {
	struct mq_slice topic, sub_string, expression_type;
	int64_t version;
	bool class_filter;
	struct filter_sql *sql; /* ref; NULL: no SQL92, or it does not compile */
	unsigned n_tags, n_codes;
	struct mq_slice *tags;
	int32_t *codes;
	UT_hash_handle hh;
};

struct party {
	TAILQ_HEAD(, member) members; /* in the order of joining */
	unsigned n_members;
	unsigned turn;                /* producers: who is asked next */
	/* of consumers: */
	enum mq_consume_type type;
	enum mq_message_model model;
	int from;
	bool has_fingerprint;
	int32_t fingerprint;
	struct subscribed *subscribed; /* owned */
	UT_hash_handle hh;
	size_t n_name;
	char name[];
};

struct clients {
	struct broker *broker;           /* borrowed */
	pthread_rwlock_t lock;           /* protects the next */
	struct party *parties[PARTY_N];  /* owned, by name */
	struct client *clients;          /* owned, by connection */
	struct client *names;            /* borrowed from clients, by client_id */
	int32_t opaque;                  /* of pushes; atomic, only its changing matters */
};

/* Whom to tell that a group changed. Gathered under the lock, sent after it. */
struct notice {
	STAILQ_ENTRY(notice) link;
	struct mq_slice group; /* behind the connections */
	unsigned n_conns;
	struct mq_conn *conns[]; /* refs */
};

STAILQ_HEAD(notice_list, notice);

/* ---- Subscriptions ---- */

static unsigned sub_count_tags(struct mq_slice sub_string)
{
	struct mq_slice tag;
	unsigned n = 0;

	while (mq_tags_next(&sub_string, &tag))
		n++;
	return n;
}

static struct mq_slice sub_copy(char **text, struct mq_slice s)
{
	struct mq_slice copy = { *text, s.n };

	if (s.n > 0)
		memcpy(*text, s.p, s.n);
	*text += s.n;
	return copy;
}

/* Clients send the tags' hash codes. One that does not (codeSet empty) gets them worked out from its expression. */
static void sub_set_codes(struct subscribed *s, const struct mq_subscription *from)
{
	struct mq_slice rest = from->sub_string, tag;

	if (from->codes && from->codes->n > 0) {
		MQ_JSON_EACH(code, from->codes)
			s->codes[s->n_codes++] = (int32_t)mq_json_i64(code, 0);
		return;
	}
	if (mq_slice_is(from->expression_type, "TAG") && !mq_tags_match_all(from->sub_string))
		while (mq_tags_next(&rest, &tag))
			s->codes[s->n_codes++] = mq_java_hash(tag);
}

static void sub_free(struct subscribed *s)
{
	filter_sql_unref(s->sql);
	free(s);
}

/* An expression that does not compile is no reason to refuse the heartbeat: the pulls are told. */
static int sub_compile(struct subscribed *s, struct broker *b)
{
	if (!mq_slice_is(s->expression_type, "SQL92"))
		return 0;
	return filter_sql_compile(&s->sql, s->sub_string, &b->filter_bytes, NULL) == -ENOMEM ? -ENOMEM : 0;
}

static struct subscribed *sub_new(struct broker *b, const struct mq_subscription *from)
{
	unsigned max_tags = from->tags ? from->tags->n : 0;
	unsigned max_codes = from->codes && from->codes->n > 0 ? from->codes->n : sub_count_tags(from->sub_string);
	size_t n_text = from->topic.n + from->sub_string.n + from->expression_type.n;
	struct subscribed *s;
	char *text;

	MQ_JSON_EACH(tag, from->tags)
		n_text += mq_json_text(tag).n;
	s = calloc(1, sizeof *s + max_tags * sizeof *s->tags + max_codes * sizeof *s->codes + n_text);
	if (!s)
		return NULL;
	s->tags = (struct mq_slice *)(s + 1);
	s->codes = (int32_t *)(s->tags + max_tags);
	text = (char *)(s->codes + max_codes);
	s->topic = sub_copy(&text, from->topic);
	s->sub_string = sub_copy(&text, from->sub_string);
	s->expression_type = sub_copy(&text, from->expression_type);
	s->version = from->version;
	s->class_filter = from->class_filter;
	MQ_JSON_EACH(tag, from->tags)
		if (mq_json_text(tag).p)
			s->tags[s->n_tags++] = sub_copy(&text, mq_json_text(tag));
	sub_set_codes(s, from);
	if (sub_compile(s, b) < 0) {
		sub_free(s);
		return NULL;
	}
	return s;
}

static struct subscribed *subs_find(struct subscribed *table, struct mq_slice topic)
{
	struct subscribed *s;

	HASH_FIND(hh, table, topic.p, topic.n, s);
	return s;
}

static void subs_free(struct subscribed **table)
{
	struct subscribed *s, *next;

	HASH_ITER(hh, *table, s, next) {
		HASH_DEL(*table, s);
		sub_free(s);
	}
}

/* What a heartbeat says of one consumer, as a table of its own. */
static int subs_read(struct broker *b, const struct mq_json_node *list, struct subscribed **ret, struct mq_error *err)
{
	struct subscribed *table = NULL, *s, *old;
	struct mq_subscription from;
	int r = 0;

	MQ_JSON_EACH(node, list) {
		r = mq_subscription_read(node, &from, err);
		if (r < 0)
			break;
		s = sub_new(b, &from);
		if (!s) {
			r = -ENOMEM;
			break;
		}
		old = subs_find(table, s->topic);
		if (old) {
			HASH_DEL(table, old);
			sub_free(old);
		}
		HASH_ADD_KEYPTR(hh, table, s->topic.p, s->topic.n, s);
	}
	if (r < 0) {
		subs_free(&table);
		return r;
	}
	*ret = table;
	return 0;
}

/* Makes the party's table like *table, which is used up. Topics that vanished go: the last heartbeat wins, as upstream.
 * True when the set of topics changed; a newer version of a known topic's data is no change that members must hear of. */
static bool party_subscribe(struct party *p, struct subscribed **table)
{
	struct subscribed *s, *next, *old;
	bool changed = false;

	HASH_ITER(hh, p->subscribed, s, next) {
		if (subs_find(*table, s->topic))
			continue;
		HASH_DEL(p->subscribed, s);
		sub_free(s);
		changed = true;
	}
	HASH_ITER(hh, *table, s, next) {
		HASH_DEL(*table, s);
		old = subs_find(p->subscribed, s->topic);
		if (old && s->version <= old->version) {
			sub_free(s);
			continue;
		}
		if (old) {
			HASH_DEL(p->subscribed, old);
			sub_free(old);
		} else {
			changed = true;
		}
		HASH_ADD_KEYPTR(hh, p->subscribed, s->topic.p, s->topic.n, s);
	}
	return changed;
}

/* ---- Parties, clients, members; c->lock is held for writing ---- */

static struct party *party_find(struct clients *c, enum party_kind kind, struct mq_slice name)
{
	struct party *p;

	HASH_FIND(hh, c->parties[kind], name.p, name.n, p);
	return p;
}

static struct party *party_get(struct clients *c, enum party_kind kind, struct mq_slice name)
{
	struct party *p = party_find(c, kind, name);

	if (p)
		return p;
	p = calloc(1, sizeof *p + name.n + 1);
	if (!p)
		return NULL;
	TAILQ_INIT(&p->members);
	p->n_name = name.n;
	memcpy(p->name, name.p, name.n);
	HASH_ADD_KEYPTR(hh, c->parties[kind], p->name, p->n_name, p);
	return p;
}

static void party_drop_if_empty(struct clients *c, enum party_kind kind, struct party *p)
{
	if (p->n_members > 0)
		return;
	HASH_DEL(c->parties[kind], p);
	subs_free(&p->subscribed);
	free(p);
}

static struct client *client_find(struct clients *c, struct mq_conn *conn)
{
	uint64_t id = mq_conn_id(conn);
	struct client *client;

	HASH_FIND(hh, c->clients, &id, sizeof id, client);
	return client;
}

static struct client *client_find_name(struct clients *c, struct mq_slice client_id)
{
	struct client *client;

	HASH_FIND(by_name, c->names, client_id.p, client_id.n, client);
	return client;
}

static void client_drop_name(struct clients *c, struct client *client)
{
	if (client->client_id && client_find_name(c, mq_slice_of(client->client_id)) == client)
		HASH_DELETE(by_name, c->names, client);
}

/* Of clients with the same id the one that was heard last is found. */
static void client_take_name(struct clients *c, struct client *client)
{
	struct client *before = client_find_name(c, mq_slice_of(client->client_id));

	if (before == client)
		return;
	if (before)
		HASH_DELETE(by_name, c->names, before);
	HASH_ADD_KEYPTR(by_name, c->names, client->client_id, strlen(client->client_id), client);
}

static struct client *client_get(struct clients *c, struct mq_conn *conn, const struct mq_command *cmd,
				 struct mq_slice client_id)
{
	struct client *client = client_find(c, conn);

	if (!client) {
		client = calloc(1, sizeof *client);
		if (!client)
			return NULL;
		client->id = mq_conn_id(conn);
		client->conn = mq_conn_ref(conn);
		memcpy(client->address, mq_conn_peer(conn)->text, sizeof client->address);
		HASH_ADD(hh, c->clients, id, sizeof client->id, client);
	}
	if (!client->client_id || !mq_slice_is(client_id, client->client_id)) {
		char *copy = strndup(client_id.p, client_id.n);

		if (!copy)
			return NULL;
		client_drop_name(c, client);
		free(client->client_id);
		client->client_id = copy;
	}
	client_take_name(c, client);
	client->language = cmd->language;
	client->version = cmd->version;
	return client;
}

static void client_drop_if_empty(struct clients *c, struct client *client)
{
	if (!LIST_EMPTY(&client->members))
		return;
	client_drop_name(c, client);
	HASH_DEL(c->clients, client);
	mq_conn_unref(client->conn);
	free(client->client_id);
	free(client);
}

static struct member *member_find(struct client *client, const struct party *p)
{
	struct member *m;

	LIST_FOREACH(m, &client->members, by_client)
		if (m->party == p)
			return m;
	return NULL;
}

/* 1 when it is new in the party, 0 when it was there. */
static int party_join(struct clients *c, struct party *p, struct client *client)
{
	struct member *m = member_find(client, p);
	int is_new = !m;

	if (!m) {
		m = calloc(1, sizeof *m);
		if (!m)
			return -ENOMEM;
		m->client = client;
		m->party = p;
		LIST_INSERT_HEAD(&client->members, m, by_client);
		TAILQ_INSERT_TAIL(&p->members, m, by_party);
		p->n_members++;
	}
	m->seen_at_ms = mq_mono_ms(c->broker->clock);
	return is_new;
}

static void party_leave(struct member *m)
{
	TAILQ_REMOVE(&m->party->members, m, by_party);
	LIST_REMOVE(m, by_client);
	m->party->n_members--;
	free(m);
}

/* ---- Notices ---- */

/* Adds everybody in the group to the list. Out of memory: nobody is told, and finds out at its next rebalance (20 s). */
static void notice_gather(struct notice_list *list, const struct party *p)
{
	struct notice *n;
	const struct member *m;
	char *text;

	if (p->model == MQ_BROADCASTING || p->n_members == 0)
		return;
	n = malloc(sizeof *n + p->n_members * sizeof *n->conns + p->n_name);
	if (!n)
		return;
	n->n_conns = 0;
	TAILQ_FOREACH(m, &p->members, by_party)
		n->conns[n->n_conns++] = mq_conn_ref(m->client->conn);
	text = (char *)(n->conns + n->n_conns);
	memcpy(text, p->name, p->n_name);
	n->group = (struct mq_slice){ text, p->n_name };
	STAILQ_INSERT_TAIL(list, n, link);
}

static bool notice_is_wanted(struct clients *c, const struct notice *n)
{
	struct group group;

	if (!config_get(&c->broker->config, notifyConsumerIdsChangedEnable))
		return false;
	return groups_find(c->broker->groups, n->group, &group) < 0 || group.notify_ids_changed;
}

/* On the caller's own loop directly, so that the notice precedes the answer that is sent next. */
static void notice_send_one(struct clients *c, const struct notice *n, struct mq_conn *conn)
{
	struct mq_command cmd;

	mq_command_request(&cmd, MQ_NOTIFY_CONSUMER_IDS_CHANGED);
	cmd.flag = MQ_FLAG_ONEWAY;
	cmd.opaque = __atomic_add_fetch(&c->opaque, 1, __ATOMIC_RELAXED);
	mq_command_add(&cmd, "consumerGroup", n->group);
	if (mq_loop_is_current(mq_conn_loop(conn)))
		(void)mq_conn_send(conn, &cmd, NULL); /* closes the connection itself when memory is short */
	else
		(void)mq_conn_post(conn, &cmd);
}

static void notice_send_all(struct clients *c, struct notice_list *list)
{
	struct notice *n;

	while ((n = STAILQ_FIRST(list))) {
		bool is_wanted = notice_is_wanted(c, n);

		STAILQ_REMOVE_HEAD(list, link);
		for (unsigned i = 0; i < n->n_conns; i++) {
			if (is_wanted)
				notice_send_one(c, n, n->conns[i]);
			mq_conn_unref(n->conns[i]);
		}
		free(n);
	}
}

/* ---- Heartbeats ---- */

struct beat {
	struct mq_conn *conn;
	const struct mq_command *cmd;
	struct mq_heartbeat body;
	bool sub_changed;
	struct notice_list notices;
};

static int beat_consumer_locked(struct clients *c, struct beat *b, const struct mq_heartbeat_consumer *consumer,
				struct subscribed **subs)
{
	struct client *client = client_get(c, b->conn, b->cmd, b->body.client_id);
	struct party *p = client ? party_get(c, PARTY_CONSUMERS, consumer->group) : NULL;
	bool is_empty, changed;
	int r;

	if (!p)
		return -ENOMEM;
	is_empty = !p->subscribed;
	p->type = consumer->type;
	p->model = consumer->model;
	p->from = consumer->from;
	r = party_join(c, p, client);
	if (r < 0) {
		party_drop_if_empty(c, PARTY_CONSUMERS, p);
		return r;
	}
	changed = r > 0;
	/* Without subscriptions in a group that has none (the broker was restarted): the client is asked for them.
	 * Upstream would leave it without. */
	if (b->body.fingerprint != 0)
		b->sub_changed |= (p->has_fingerprint && p->fingerprint != b->body.fingerprint) ||
				  (b->body.without_subscriptions && is_empty);
	p->has_fingerprint = true;
	p->fingerprint = b->body.fingerprint;
	if (!(b->body.fingerprint != 0 && b->body.without_subscriptions))
		changed |= party_subscribe(p, subs);
	if (changed)
		notice_gather(&b->notices, p);
	return 0;
}

static bool beat_has_order_topic(struct clients *c, struct subscribed *subs)
{
	struct topic topic;

	for (const struct subscribed *s = subs; s; s = s->hh.next)
		if (topics_get(c->broker->topics, s->topic, &topic) == 0 && topic.is_order)
			return true;
	return false;
}

/* The group and its retry topic, made when they are not there. 1 when the group may not be made: upstream skips it
 * silently. */
static int beat_prepare(struct clients *c, const struct mq_heartbeat_consumer *consumer, struct subscribed *subs)
{
	char name[sizeof RETRY_PREFIX + GROUP_NAME_MAX];
	size_t n = sizeof RETRY_PREFIX - 1;
	struct group group;
	int r;

	r = groups_get(c->broker->groups, consumer->group, &group);
	if (r < 0)
		return r == -ENOENT ? 1 : r;
	memcpy(name, RETRY_PREFIX, n);
	memcpy(name + n, consumer->group.p, consumer->group.n);
	return topics_create_retry(c->broker->topics, (struct mq_slice){ name, n + consumer->group.n },
				   group.retry_queues, beat_has_order_topic(c, subs));
}

static int beat_consumer(struct clients *c, struct beat *b, const struct mq_json_node *node, struct mq_error *err)
{
	struct mq_heartbeat_consumer consumer;
	struct subscribed *subs = NULL;
	int r;

	r = mq_heartbeat_consumer_read(node, &consumer, err);
	if (r < 0)
		return r;
	if (consumer.type == MQ_CONSUME_ACTIVELY && config_get(&c->broker->config, rejectPullConsumerEnable))
		return 0;
	r = subs_read(c->broker, consumer.subscriptions, &subs, err);
	if (r < 0)
		return r;
	r = beat_prepare(c, &consumer, subs);
	if (r == 0) {
		pthread_rwlock_wrlock(&c->lock);
		r = beat_consumer_locked(c, b, &consumer, &subs);
		pthread_rwlock_unlock(&c->lock);
	}
	subs_free(&subs);
	return r < 0 ? r : 0;
}

static int beat_producers(struct clients *c, struct beat *b)
{
	int r = 0;

	pthread_rwlock_wrlock(&c->lock);
	MQ_JSON_EACH(node, b->body.producers) {
		struct mq_slice group = mq_heartbeat_producer_read(node);
		struct client *client = client_get(c, b->conn, b->cmd, b->body.client_id);
		struct party *p;

		if (!group.p || group.n > GROUP_NAME_MAX)
			continue;
		p = client ? party_get(c, PARTY_PRODUCERS, group) : NULL;
		r = p ? party_join(c, p, client) : -ENOMEM;
		if (r < 0)
			break;
	}
	pthread_rwlock_unlock(&c->lock);
	return r < 0 ? r : 0;
}

int clients_heartbeat(struct clients *c, struct mq_conn *conn, const struct mq_command *cmd, bool *ret_sub_changed,
		      struct mq_error *err)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	struct beat b = { .conn = conn, .cmd = cmd, .notices = STAILQ_HEAD_INITIALIZER(b.notices) };
	int r;

	if (!cmd->body.p)
		return mq_error_set(err, -EBADMSG, "the heartbeat has no body");
	r = mq_json_parse(&doc, cmd->body, err);
	if (r == 0)
		r = mq_heartbeat_read(doc, &b.body, err);
	if (r < 0)
		return r == -ENOMEM ? r : -EBADMSG;
	MQ_JSON_EACH(node, b.body.consumers) {
		r = beat_consumer(c, &b, node, err);
		if (r < 0)
			break;
	}
	notice_send_all(c, &b.notices);
	if (r == 0)
		r = beat_producers(c, &b);
	if (r < 0)
		return r;
	*ret_sub_changed =
		b.body.fingerprint == 0 || b.sub_changed; /* upstream's answer to the first version is always true */
	return 0;
}

/* ---- Leaving ---- */

static void clients_leave(struct clients *c, struct client *client, enum party_kind kind, struct mq_slice group,
			  struct notice_list *notices)
{
	struct party *p = party_find(c, kind, group);
	struct member *m = p ? member_find(client, p) : NULL;

	if (!m)
		return;
	party_leave(m);
	if (kind == PARTY_CONSUMERS)
		notice_gather(notices, p);
	party_drop_if_empty(c, kind, p);
}

void clients_unregister(struct clients *c, struct mq_conn *conn, struct mq_slice client_id,
			struct mq_slice producer_group, struct mq_slice consumer_group)
{
	struct notice_list notices = STAILQ_HEAD_INITIALIZER(notices);
	struct client *client;

	pthread_rwlock_wrlock(&c->lock);
	client = client_find(c, conn);
	if (client) {
		if (producer_group.n > 0)
			clients_leave(c, client, PARTY_PRODUCERS, producer_group, &notices);
		if (consumer_group.n > 0)
			clients_leave(c, client, PARTY_CONSUMERS, consumer_group, &notices);
		client_drop_if_empty(c, client);
	}
	pthread_rwlock_unlock(&c->lock);
	notice_send_all(c, &notices);
}

static enum party_kind party_kind_of(struct clients *c, struct party *p)
{
	return party_find(c, PARTY_CONSUMERS, (struct mq_slice){ p->name, p->n_name }) == p ? PARTY_CONSUMERS
											    : PARTY_PRODUCERS;
}

/* Out of all its parties; the client itself goes too. */
static void clients_remove(struct clients *c, struct client *client, struct notice_list *notices)
{
	struct member *m;

	while ((m = LIST_FIRST(&client->members))) {
		struct party *p = m->party;
		enum party_kind kind = party_kind_of(c, p);

		party_leave(m);
		if (kind == PARTY_CONSUMERS)
			notice_gather(notices, p);
		party_drop_if_empty(c, kind, p);
	}
	client_drop_if_empty(c, client);
}

void clients_closed(struct clients *c, struct mq_conn *conn)
{
	struct notice_list notices = STAILQ_HEAD_INITIALIZER(notices);
	struct client *client;

	pthread_rwlock_wrlock(&c->lock);
	client = client_find(c, conn);
	if (client)
		clients_remove(c, client, &notices);
	pthread_rwlock_unlock(&c->lock);
	notice_send_all(c, &notices);
}

struct closing {
	struct mq_post post;
	struct mq_conn *conn; /* ref */
};

static void closing_run(struct mq_post *post)
{
	struct closing *closing = (struct closing *)post;

	mq_conn_close(closing->conn, -ETIMEDOUT);
	mq_conn_unref(closing->conn);
	free(closing);
}

/* The connection is closed on its own thread; clients_closed() does the rest. */
static void closing_start(struct mq_conn *conn)
{
	struct closing *closing = calloc(1, sizeof *closing);

	if (!closing)
		return; /* tried again in 10 s */
	closing->post.run = closing_run;
	closing->conn = mq_conn_ref(conn);
	mq_loop_post(mq_conn_loop(conn), &closing->post);
}

static bool client_is_stale(const struct client *client, int64_t before_ms)
{
	const struct member *m;

	LIST_FOREACH(m, &client->members, by_client)
		if (m->seen_at_ms < before_ms)
			return true;
	return false;
}

void clients_expire(struct clients *c)
{
	int64_t before_ms = mq_mono_ms(c->broker->clock) - config_get(&c->broker->config, channelExpiredTimeout);

	pthread_rwlock_rdlock(&c->lock);
	for (const struct client *client = c->clients; client; client = client->hh.next)
		if (client_is_stale(client, before_ms))
			closing_start(client->conn);
	pthread_rwlock_unlock(&c->lock);
}

/* ---- Questions ---- */

static void subscription_fill(const struct party *p, const struct subscribed *s, struct subscription *ret)
{
	*ret = (struct subscription){
		.model = (enum message_model)p->model,
		.version = s->version,
		.is_tag = mq_slice_is(s->expression_type, "TAG"),
		.sql = filter_sql_ref(s->sql),
		.matches_all = mq_tags_match_all(s->sub_string),
		.n_codes = s->n_codes < N_ELEMENTS(ret->codes) ? s->n_codes : N_ELEMENTS(ret->codes),
		.has_more_codes = s->n_codes > N_ELEMENTS(ret->codes),
	};
	memcpy(ret->codes, s->codes, ret->n_codes * sizeof ret->codes[0]);
}

enum subscription_state clients_subscription(struct clients *c, struct mq_slice group, struct mq_slice topic,
					     struct subscription *ret)
{
	enum subscription_state state = SUBSCRIPTION_NO_GROUP;
	const struct subscribed *s;
	struct party *p;

	pthread_rwlock_rdlock(&c->lock);
	p = party_find(c, PARTY_CONSUMERS, group);
	if (p) {
		s = subs_find(p->subscribed, topic);
		state = s ? SUBSCRIPTION_OK : SUBSCRIPTION_NONE;
		if (s)
			subscription_fill(p, s, ret);
	}
	pthread_rwlock_unlock(&c->lock);
	return state;
}

/* The first open one from the turn on, else the first open one. */
static struct mq_conn *party_pick(const struct party *p, unsigned turn)
{
	struct mq_conn *first = NULL;
	const struct member *m;
	unsigned i = 0;

	TAILQ_FOREACH(m, &p->members, by_party) {
		bool is_open = mq_conn_is_open(m->client->conn);

		if (is_open && i >= turn)
			return m->client->conn;
		if (is_open && !first)
			first = m->client->conn;
		i++;
	}
	return first;
}

struct mq_conn *clients_producer(struct clients *c, struct mq_slice group)
{
	struct mq_conn *found = NULL;
	struct party *p;

	pthread_rwlock_wrlock(&c->lock);
	p = party_find(c, PARTY_PRODUCERS, group);
	if (p)
		found = party_pick(p, p->turn++ % p->n_members);
	if (found)
		mq_conn_ref(found);
	pthread_rwlock_unlock(&c->lock);
	return found;
}

static bool client_is_producer(struct clients *c, const struct client *client)
{
	const struct member *m;

	LIST_FOREACH(m, &client->members, by_client)
		if (party_kind_of(c, m->party) == PARTY_PRODUCERS)
			return true;
	return false;
}

struct mq_conn *clients_of_producer_id(struct clients *c, struct mq_slice client_id)
{
	struct mq_conn *found = NULL;
	struct client *client;

	pthread_rwlock_rdlock(&c->lock);
	client = client_find_name(c, client_id);
	if (client && client_is_producer(c, client) && mq_conn_is_open(client->conn))
		found = mq_conn_ref(client->conn);
	pthread_rwlock_unlock(&c->lock);
	return found;
}

int clients_consumers(struct clients *c, struct mq_slice group, struct mq_conn ***ret, unsigned *ret_n)
{
	struct mq_conn **conns = NULL;
	const struct member *m;
	struct party *p;
	unsigned n = 0;

	pthread_rwlock_rdlock(&c->lock);
	p = party_find(c, PARTY_CONSUMERS, group);
	if (p)
		conns = malloc(p->n_members * sizeof(struct mq_conn *));
	if (conns)
		TAILQ_FOREACH(m, &p->members, by_party)
			conns[n++] = mq_conn_ref(m->client->conn);
	pthread_rwlock_unlock(&c->lock);
	if (!conns)
		return p ? -ENOMEM : -ENOENT;
	*ret = conns;
	*ret_n = n;
	return 0;
}

int clients_ids(struct clients *c, struct mq_slice group, struct names *ret)
{
	const struct member *m;
	const struct party *p;

	pthread_rwlock_rdlock(&c->lock);
	p = party_find(c, PARTY_CONSUMERS, group);
	if (p)
		TAILQ_FOREACH(m, &p->members, by_party)
			names_add(ret, mq_slice_of(m->client->client_id));
	pthread_rwlock_unlock(&c->lock);
	return p ? ret->error : -ENOENT;
}

void clients_groups_of(struct clients *c, struct mq_slice topic, void (*each)(void *user, struct mq_slice group),
		       void *user)
{
	pthread_rwlock_rdlock(&c->lock);
	for (const struct party *p = c->parties[PARTY_CONSUMERS]; p; p = p->hh.next)
		if (subs_find(p->subscribed, topic))
			each(user, (struct mq_slice){ p->name, p->n_name });
	pthread_rwlock_unlock(&c->lock);
}

static void encode_ids(struct mq_json_writer *w, const struct party *p)
{
	const struct member *m;

	mq_json_key(w, "consumerIdList");
	mq_json_open_array(w);
	TAILQ_FOREACH(m, &p->members, by_party)
		mq_json_string(w, mq_slice_of(m->client->client_id));
	mq_json_close_array(w);
}

static void encode_connections(struct mq_json_writer *w, const struct party *p)
{
	const struct member *m;

	mq_json_key(w, "connectionSet");
	mq_json_open_array(w);
	TAILQ_FOREACH(m, &p->members, by_party)
		mq_connection_write(w, &(struct mq_connection){ .address = mq_slice_of(m->client->address),
								.client_id = mq_slice_of(m->client->client_id),
								.language = m->client->language,
								.version = m->client->version });
	mq_json_close_array(w);
}

static void encode_consumers(struct mq_json_writer *w, const struct party *p)
{
	encode_connections(w, p);
	mq_json_member_string(w, "consumeFromWhere", mq_slice_of(mq_consume_from_name(p->from)));
	mq_json_member_string(w, "consumeType", mq_slice_of(mq_consume_type_name(p->type)));
	mq_json_member_string(w, "messageModel", mq_slice_of(mq_message_model_name(p->model)));
	mq_json_key(w, "subscriptionTable");
	mq_json_open_object(w);
	for (const struct subscribed *s = p->subscribed; s; s = s->hh.next) {
		mq_json_key_slice(w, s->topic);
		mq_subscription_write(w, &(struct mq_subscription_text){ .topic = s->topic,
									 .sub_string = s->sub_string,
									 .expression_type = s->expression_type,
									 .version = s->version,
									 .class_filter = s->class_filter,
									 .n_tags = s->n_tags,
									 .n_codes = s->n_codes,
									 .tags = s->tags,
									 .codes = s->codes });
	}
	mq_json_close_object(w);
}

/* One object about one party; -ENOENT when there is no such party. */
static int clients_encode(struct clients *c, enum party_kind kind, struct mq_slice group, struct evbuffer *out,
			  void (*encode)(struct mq_json_writer *w, const struct party *p))
{
	struct mq_json_writer w;
	const struct party *p;

	pthread_rwlock_rdlock(&c->lock);
	p = party_find(c, kind, group);
	if (p) {
		mq_json_begin(&w, out);
		mq_json_open_object(&w);
		encode(&w, p);
		mq_json_close_object(&w);
	}
	pthread_rwlock_unlock(&c->lock);
	return p ? mq_json_end(&w) : -ENOENT;
}

int clients_encode_ids(struct clients *c, struct mq_slice group, struct evbuffer *out)
{
	return clients_encode(c, PARTY_CONSUMERS, group, out, encode_ids);
}

int clients_encode_consumers(struct clients *c, struct mq_slice group, struct evbuffer *out)
{
	return clients_encode(c, PARTY_CONSUMERS, group, out, encode_consumers);
}

int clients_encode_producers(struct clients *c, struct mq_slice group, struct evbuffer *out)
{
	return clients_encode(c, PARTY_PRODUCERS, group, out, encode_connections);
}

/* ---- Life ---- */

int clients_new(struct clients **ret, struct broker *b)
{
	struct clients *c = calloc(1, sizeof *c);

	if (!c)
		return -ENOMEM;
	c->broker = b;
	pthread_rwlock_init(&c->lock, NULL);
	*ret = c;
	return 0;
}

struct clients *clients_free(struct clients *c)
{
	struct notice_list notices = STAILQ_HEAD_INITIALIZER(notices);
	struct client *client, *next;
	struct notice *n;

	if (!c)
		return NULL;
	HASH_ITER(hh, c->clients, client, next)
		clients_remove(c, client, &notices);
	while ((n = STAILQ_FIRST(&notices))) { /* nobody is left to be told */
		STAILQ_REMOVE_HEAD(&notices, link);
		for (unsigned i = 0; i < n->n_conns; i++)
			mq_conn_unref(n->conns[i]);
		free(n);
	}
	pthread_rwlock_destroy(&c->lock);
	free(c);
	return NULL;
}
