/* Who is connected: the tables, and who leaves them. Heartbeats: clients_beat.c. */
#include "daemons/broker/clients.h"

#include <errno.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/clients_internal.h"

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

struct party *party_get(struct clients *c, enum party_kind kind, struct mq_slice name)
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

void party_drop_if_empty(struct clients *c, struct party *p)
{
	if (p->n_members > 0)
		return;
	HASH_DEL(c->parties[p->kind], p);
	c->n_bytes -= party_bytes(p) + p->subscribed_bytes;
	subs_free(&p->subscribed);
	free(p);
}

bool party_subscribe(struct clients *c, struct party *p, struct subscribed **subs)
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
	copy = mq_slice_dup(client_id);
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

void client_drop_if_empty(struct clients *c, struct client *client)
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

struct client *client_get(struct clients *c, struct mq_conn *conn, const struct mq_command *cmd,
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

struct member *member_find(struct clients *c, struct client *client, struct party *p)
{
	struct member_key key = { client, p };
	struct member *m;

	HASH_FIND(hh, c->members, &key, sizeof key, m);
	return m;
}

int party_join(struct clients *c, struct party *p, struct client *client, struct member **ret)
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

void member_say(struct clients *c, struct member *m, struct sub_set *said)
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

void party_leave(struct clients *c, struct member *m)
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

	if (!c)
		return NULL;
	HASH_ITER(hh, c->clients, client, next)
		clients_remove(c, client, &notices);
	notice_drop_all(&notices); /* nobody is left to be told */
	pthread_rwlock_destroy(&c->lock);
	free(c);
	return NULL;
}
