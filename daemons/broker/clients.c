/* Who is connected. Whoever changes a group gathers under the lock whom to tell (struct notice) and what to log (struct
 * quarrel), and does both after it.
 *
 * Bounds, whatever peers send: a heartbeat has up to MQ_HEARTBEAT_BYTES_MAX bytes; one connection is in at most
 * CLIENT_GROUPS_MAX groups and may name CLIENT_BYTES_MAX bytes in them; all together take CLIENTS_BYTES_MAX. */
#include "daemons/broker/clients.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/clients_internal.h"
#include "daemons/broker/groups.h"
#include "daemons/broker/messages.h"
#include "daemons/broker/topics.h"
#include "libmq/base/log.h"
#include "libmq/wire/codes.h"

#define RETRY_PREFIX "%RETRY%"

enum {
	CLIENT_ID_MAX = 1024,          /* bytes; Java's have some 40, with a unit name a few more */
	CLIENT_GROUPS_MAX = 8192,      /* of one connection */
	CLIENT_BYTES_MAX = 8 << 20,    /* of what one connection named */
	CLIENTS_BYTES_MAX = 256 << 20, /* of all clients, groups and subscriptions */
	QUARREL_TEXT = 1200,           /* bytes of a line about members that differ */
	QUARREL_SETS = 4,              /* different subscriptions shown in it */
	QUARRELS_MAX = 10,             /* such lines per QUARRELS_WINDOW_MS */
	QUARRELS_WINDOW_MS = 10000,
};

/* Whom to tell that a group changed. Gathered under the lock, sent after it. */
struct notice {
	STAILQ_ENTRY(notice) link;
	bool even_if_silenced;  /* the group's notifyConsumerIdsChangedEnable does not matter: as upstream, when a channel closes */
	struct mq_slice group;  /* behind the connections */
	unsigned n_conns;
	struct mq_conn *conns[]; /* refs */
};

STAILQ_HEAD(notice_list, notice);

/* A group whose members began to differ. */
struct quarrel {
	STAILQ_ENTRY(quarrel) link;
	char group[GROUP_NAME_MAX + 1];
	char text[QUARREL_TEXT];
};

STAILQ_HEAD(quarrel_list, quarrel);

/* ---- Parties, clients, members; c->lock is held for writing ---- */

struct party *party_find(struct clients *c, enum party_kind kind, struct mq_slice name)
{
	struct party *p;

	HASH_FIND(hh, c->parties[kind], name.p, name.n, p);
	return p;
}

static size_t party_bytes(const struct party *p)
{
	return sizeof *p + p->n_name + 1;
}

static struct party *party_get(struct clients *c, enum party_kind kind, struct mq_slice name)
{
	struct party *p = party_find(c, kind, name);

	if (p)
		return p;
	p = calloc(1, sizeof *p + name.n + 1);
	if (!p)
		return NULL;
	p->kind = kind;
	TAILQ_INIT(&p->members);
	LIST_INIT(&p->sets);
	p->n_name = name.n;
	memcpy(p->name, name.p, name.n);
	HASH_ADD_KEYPTR(hh, c->parties[kind], p->name, p->n_name, p);
	c->n_bytes += party_bytes(p);
	return p;
}

static void party_drop_if_empty(struct clients *c, struct party *p)
{
	if (p->n_members > 0)
		return;
	HASH_DEL(c->parties[p->kind], p);
	c->n_bytes -= party_bytes(p) + p->subscribed_bytes;
	subs_free(&p->subscribed);
	free(p);
}

static bool party_subscribe(struct clients *c, struct party *p, struct subscribed **subs)
{
	bool changed = subs_replace(&p->subscribed, subs);

	c->n_bytes -= p->subscribed_bytes;
	p->subscribed_bytes = subs_bytes(p->subscribed);
	c->n_bytes += p->subscribed_bytes;
	return changed;
}

static struct client *client_find(struct clients *c, struct mq_conn *conn)
{
	uint64_t id = mq_conn_id(conn);
	struct client *client;

	HASH_FIND(hh, c->clients, &id, sizeof id, client);
	return client;
}

struct client *client_find_name(struct clients *c, struct mq_slice client_id)
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

static struct client *client_new(struct clients *c, struct mq_conn *conn)
{
	struct client *client = calloc(1, sizeof *client);

	if (!client)
		return NULL;
	client->id = mq_conn_id(conn);
	client->conn = mq_conn_ref(conn);
	memcpy(client->address, mq_conn_peer(conn)->text, sizeof client->address);
	HASH_ADD(hh, c->clients, id, sizeof client->id, client);
	c->n_bytes += sizeof *client;
	return client;
}

static int client_name(struct clients *c, struct client *client, struct mq_slice client_id)
{
	char *copy;

	if (client->client_id && mq_slice_is(client_id, client->client_id))
		return 0;
	copy = strndup(client_id.p, client_id.n);
	if (!copy)
		return -ENOMEM;
	client_drop_name(c, client);
	if (client->client_id)
		c->n_bytes -= strlen(client->client_id);
	free(client->client_id);
	client->client_id = copy;
	c->n_bytes += strlen(copy);
	return 0;
}

static void client_drop_if_empty(struct clients *c, struct client *client)
{
	if (!LIST_EMPTY(&client->members))
		return;
	client_drop_name(c, client);
	HASH_DEL(c->clients, client);
	c->n_bytes -= sizeof *client + (client->client_id ? strlen(client->client_id) : 0);
	mq_conn_unref(client->conn);
	free(client->client_id);
	free(client);
}

static struct client *client_get(struct clients *c, struct mq_conn *conn, const struct mq_command *cmd,
				 struct mq_slice client_id)
{
	struct client *client = client_find(c, conn);

	if (!client)
		client = client_new(c, conn);
	if (!client)
		return NULL;
	if (client_name(c, client, client_id) < 0) {
		client_drop_if_empty(c, client);
		return NULL;
	}
	client_take_name(c, client);
	client->language = cmd->language;
	client->version = cmd->version;
	return client;
}

static struct member *member_find(struct clients *c, struct client *client, struct party *p)
{
	struct member_key key = { client, p };
	struct member *m;

	HASH_FIND(hh, c->members, &key, sizeof key, m);
	return m;
}

/* 1 when it is new in the party, 0 when it was there. */
static int party_join(struct clients *c, struct party *p, struct client *client, struct member **ret)
{
	struct member *m = member_find(c, client, p);
	int is_new = !m;

	if (!m) {
		m = calloc(1, sizeof *m);
		if (!m)
			return -ENOMEM;
		m->key = (struct member_key){ client, p };
		HASH_ADD(hh, c->members, key, sizeof m->key, m);
		LIST_INSERT_HEAD(&client->members, m, by_client);
		TAILQ_INSERT_TAIL(&p->members, m, by_party);
		p->n_members++;
		client->n_members++;
		client->n_said += p->n_name;
		c->n_bytes += sizeof *m;
	}
	m->seen_at_ms = mq_mono_ms(c->broker->clock);
	*ret = m;
	return is_new;
}

static void member_leave_set(struct clients *c, struct member *m)
{
	struct party *p = m->key.party;
	struct sub_set *set = m->set;

	if (!set)
		return;
	m->key.client->n_said -= set->n_bytes;
	m->set = NULL;
	if (--set->n_members > 0)
		return;
	LIST_REMOVE(set, link);
	c->n_bytes -= set->n_bytes;
	free(set);
	if (--p->n_sets <= 1)
		p->is_quarrelling = false;
}

static struct sub_set *party_find_set(const struct party *p, const struct sub_set *like)
{
	struct sub_set *set;

	LIST_FOREACH(set, &p->sets, link)
		if (sub_set_equal(set, like))
			break;
	return set;
}

/* Takes over `said`. */
static void member_say(struct clients *c, struct member *m, struct sub_set *said)
{
	struct party *p = m->key.party;
	struct sub_set *set = party_find_set(p, said);

	m->has_said = true;
	if (set) {
		free(said);
	} else {
		set = said;
		LIST_INSERT_HEAD(&p->sets, set, link);
		p->n_sets++;
		c->n_bytes += set->n_bytes;
	}
	if (m->set == set)
		return;
	set->n_members++; /* before the old one goes: a change is no moment of peace */
	member_leave_set(c, m);
	m->set = set;
	m->key.client->n_said += set->n_bytes;
}

static void party_leave(struct clients *c, struct member *m)
{
	struct party *p = m->key.party;
	struct client *client = m->key.client;

	member_leave_set(c, m);
	HASH_DEL(c->members, m);
	TAILQ_REMOVE(&p->members, m, by_party);
	LIST_REMOVE(m, by_client);
	p->n_members--;
	client->n_members--;
	client->n_said -= p->n_name;
	c->n_bytes -= sizeof *m;
	free(m);
}

/* ---- Notices ---- */

/* Adds everybody in the group to the list. Out of memory: nobody is told, and finds out at its next rebalance (20 s). */
static void notice_gather(struct notice_list *list, const struct party *p, bool even_if_silenced)
{
	struct notice *n;
	const struct member *m;
	char *text;

	if (p->kind != PARTY_CONSUMERS || p->model == MQ_BROADCASTING || p->n_members == 0)
		return;
	n = malloc(sizeof *n + p->n_members * sizeof *n->conns + p->n_name);
	if (!n)
		return;
	n->even_if_silenced = even_if_silenced;
	n->n_conns = 0;
	TAILQ_FOREACH(m, &p->members, by_party)
		n->conns[n->n_conns++] = mq_conn_ref(m->key.client->conn);
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
	return n->even_if_silenced || groups_find(c->broker->groups, n->group, &group) < 0 || group.notify_ids_changed;
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

/* ---- Members that differ ---- */

static const struct member *party_first_of(const struct party *p, const struct sub_set *set)
{
	const struct member *m;

	TAILQ_FOREACH(m, &p->members, by_party)
		if (m->set == set)
			break;
	return m;
}

/* Control characters and quotes of a peer's text become dots: it goes into a sentence. */
static void text_tame(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f || *text == '"')
			*text = '.';
}

/* "c@10.0.0.7:5120 and 2 more" */
static void quarrel_name(const struct party *p, const struct sub_set *set, char *ret, size_t size)
{
	const struct member *m = party_first_of(p, set);
	char more[32] = "";

	if (set->n_members > 1)
		snprintf(more, sizeof more, " and %u more", set->n_members - 1);
	snprintf(ret, size, "%.100s (%s)%s", m->key.client->client_id, m->key.client->address, more);
	text_tame(ret);
}

/* "a (host:port): T(*); b (host:port) and 2 more: T(x), not U" */
static void quarrel_describe(const struct party *p, char *ret, size_t size)
{
	const struct sub_set *set, *first = LIST_FIRST(&p->sets);
	unsigned n = 0;

	ret[0] = '\0';
	LIST_FOREACH(set, &p->sets, link) {
		size_t at = strlen(ret);
		char who[200], what[240];

		if (n++ == QUARREL_SETS) {
			snprintf(ret + at, size - at, "; and %u other subscriptions", p->n_sets - QUARREL_SETS);
			break;
		}
		quarrel_name(p, set, who, sizeof who);
		sub_set_difference(set, set == first ? LIST_NEXT(first, link) : first, what, sizeof what);
		snprintf(ret + at, size - at, "%s%s: %s", at > 0 ? "; " : "", who, what);
	}
}

/* Once when a group's members begin to differ, and again only after they agreed meanwhile. */
static void quarrel_gather(struct clients *c, struct quarrel_list *list, struct party *p)
{
	int64_t now_ms = mq_mono_ms(c->broker->clock);
	struct quarrel *q;

	if (p->n_sets <= 1 || p->is_quarrelling)
		return;
	p->is_quarrelling = true;
	if (c->n_quarrels == 0 || now_ms - c->quarrels_since_ms >= QUARRELS_WINDOW_MS) {
		c->quarrels_since_ms = now_ms;
		c->n_quarrels = 0;
	}
	q = c->n_quarrels < QUARRELS_MAX ? calloc(1, sizeof *q) : NULL;
	if (!q) {
		c->n_quarrels_left_out++;
		return;
	}
	c->n_quarrels++;
	snprintf(q->group, sizeof q->group, "%s", p->name);
	quarrel_describe(p, q->text, sizeof q->text);
	if (c->n_quarrels_left_out > 0) {
		size_t at = strlen(q->text);

		snprintf(q->text + at, sizeof q->text - at, " (and %u more groups like this)", c->n_quarrels_left_out);
		c->n_quarrels_left_out = 0;
	}
	STAILQ_INSERT_TAIL(list, q, link);
}

static void quarrel_log_all(struct quarrel_list *list)
{
	struct quarrel *q;

	while ((q = STAILQ_FIRST(list))) {
		char group[sizeof q->group + 16], members[QUARREL_TEXT + 16];
		const char *fields[] = { group, members, NULL };

		STAILQ_REMOVE_HEAD(list, link);
		snprintf(group, sizeof group, "MQ_GROUP=%s", q->group);
		snprintf(members, sizeof members, "MQ_MEMBERS=%s", q->text);
		mq_log_fields(LOG_WARNING, BROKER_MSG_MEMBERS_DIFFER, fields,
			      "members of consumer group %s subscribe to different things, so each gets messages of the other and misses its "
			      "own: %s", q->group, q->text);
		free(q);
	}
}

/* With strictSubscription: is there a member that says something else? Tells what. */
static bool party_contradicts(const struct party *p, const struct member *m, const struct sub_set *said,
			      struct mq_slice client_id, char *ret, size_t size)
{
	const struct sub_set *set;
	char who[200], here[240], there[240];

	LIST_FOREACH(set, &p->sets, link) {
		if (sub_set_equal(set, said) || set->n_members == (m && m->set == set ? 1u : 0u))
			continue;
		quarrel_name(p, set, who, sizeof who);
		sub_set_difference(said, set, here, sizeof here);
		sub_set_difference(set, said, there, sizeof there);
		snprintf(ret, size,
			 "strictSubscription: client %.*s must not join consumer group %s: it subscribes to %s, but its member %s to %s. Give "
			 "all members of the group the same subscription, or use another group name",
			 (int)(client_id.n < 100 ? client_id.n : 100), client_id.p, p->name, here, who, there);
		text_tame(ret);
		return true;
	}
	return false;
}

/* ---- Heartbeats ---- */

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

/* The group and its retry topic, made when they are not there. 1 when the group may not be made: upstream skips it
 * silently. */
static int beat_prepare(struct clients *c, const struct saying *said)
{
	struct mq_slice name = said->consumer.group;
	char retry[sizeof RETRY_PREFIX + GROUP_NAME_MAX];
	size_t n = sizeof RETRY_PREFIX - 1;
	struct group group;
	int r;

	r = groups_get(c->broker->groups, name, &group);
	if (r < 0)
		return r == -ENOENT ? 1 : r;
	memcpy(retry, RETRY_PREFIX, n);
	memcpy(retry + n, name.p, name.n);
	return topics_create_retry(c->broker->topics, (struct mq_slice){ retry, n + name.n }, group.retry_queues,
				   beat_has_order_topic(c, said->subs));
}

static int beat_consumer(struct clients *c, struct beat *b, const struct mq_json_node *node, struct mq_error *err)
{
	_cleanup_(saying_done) struct saying said = {};
	int r;

	r = mq_heartbeat_consumer_read(node, &said.consumer, err);
	if (r < 0)
		return r;
	if (said.consumer.type == MQ_CONSUME_ACTIVELY && config_get(&c->broker->config, rejectPullConsumerEnable))
		return 0;
	r = subs_read(c->broker, said.consumer.subscriptions, &said.subs, err);
	if (r == 0)
		r = sub_set_new(&said.set, said.subs);
	if (r == 0)
		r = beat_prepare(c, &said);
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

int clients_heartbeat(struct clients *c, struct mq_conn *conn, const struct mq_command *cmd, struct heartbeat_result *ret,
		      struct mq_error *err)
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

/* ---- Leaving ---- */

/* As upstream: the others are told even when the client was not among them. */
static void clients_leave(struct clients *c, struct client *client, enum party_kind kind, struct mq_slice group,
			  struct notice_list *notices)
{
	struct party *p = group.n > 0 ? party_find(c, kind, group) : NULL;
	struct member *m = p && client ? member_find(c, client, p) : NULL;

	if (!p)
		return;
	if (m)
		party_leave(c, m);
	notice_gather(notices, p, false);
	party_drop_if_empty(c, p);
}

void clients_unregister(struct clients *c, struct mq_conn *conn, struct mq_slice producer_group, struct mq_slice consumer_group)
{
	struct notice_list notices = STAILQ_HEAD_INITIALIZER(notices);
	struct client *client;

	pthread_rwlock_wrlock(&c->lock);
	client = client_find(c, conn);
	clients_leave(c, client, PARTY_PRODUCERS, producer_group, &notices);
	clients_leave(c, client, PARTY_CONSUMERS, consumer_group, &notices);
	if (client)
		client_drop_if_empty(c, client);
	pthread_rwlock_unlock(&c->lock);
	notice_send_all(c, &notices);
}

/* Out of all its parties; the client itself goes too. */
static void clients_remove(struct clients *c, struct client *client, struct notice_list *notices)
{
	struct member *m;

	while ((m = LIST_FIRST(&client->members))) {
		struct party *p = m->key.party;

		party_leave(c, m);
		notice_gather(notices, p, true);
		party_drop_if_empty(c, p);
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
