/* What others ask about clients: subscriptions for pulls, channels to push to, lists for tools. */
#include <errno.h>
#include <stdlib.h>

#include "daemons/broker/clients_internal.h"
#include "daemons/broker/filter_sql.h"
#include "daemons/broker/names.h"
#include "libmq/wire/body_connections.h"

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
		bool is_open = mq_conn_is_open(m->key.client->conn);

		if (is_open && i >= turn)
			return m->key.client->conn;
		if (is_open && !first)
			first = m->key.client->conn;
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

static bool client_is_producer(const struct client *client)
{
	const struct member *m;

	LIST_FOREACH(m, &client->members, by_client)
		if (m->key.party->kind == PARTY_PRODUCERS)
			return true;
	return false;
}

struct mq_conn *clients_of_producer_id(struct clients *c, struct mq_slice client_id)
{
	struct mq_conn *found = NULL;
	struct client *client;

	pthread_rwlock_rdlock(&c->lock);
	client = client_find_name(c, client_id);
	if (client && client_is_producer(client) && mq_conn_is_open(client->conn))
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
			conns[n++] = mq_conn_ref(m->key.client->conn);
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
			names_add(ret, mq_slice_of(m->key.client->client_id));
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
		mq_json_string(w, mq_slice_of(m->key.client->client_id));
	mq_json_close_array(w);
}

static void encode_connection(struct mq_json_writer *w, const struct member *m, bool with_set)
{
	const struct client *client = m->key.client;

	mq_json_open_object(w);
	mq_connection_write(w, &(struct mq_connection){ .address = mq_slice_of(client->address),
							.client_id = mq_slice_of(client->client_id),
							.language = client->language,
							.version = client->version });
	if (with_set && m->set) {
		mq_json_key(w, MQ_CONNECTION_SUBSCRIPTIONS);
		sub_set_write(w, m->set);
	}
	mq_json_close_object(w);
}

static void encode_connections(struct mq_json_writer *w, const struct party *p, bool with_sets)
{
	const struct member *m;

	mq_json_key(w, "connectionSet");
	mq_json_open_array(w);
	TAILQ_FOREACH(m, &p->members, by_party)
		encode_connection(w, m, with_sets);
	mq_json_close_array(w);
}

static void encode_producers(struct mq_json_writer *w, const struct party *p)
{
	encode_connections(w, p, false);
}

static void encode_group(struct mq_json_writer *w, const struct party *p)
{
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

static void encode_consumers(struct mq_json_writer *w, const struct party *p)
{
	encode_connections(w, p, false);
	encode_group(w, p);
}

static void encode_consumers_with_sets(struct mq_json_writer *w, const struct party *p)
{
	encode_connections(w, p, true);
	encode_group(w, p);
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

int clients_encode_consumers(struct clients *c, struct mq_slice group, bool with_sets, struct evbuffer *out)
{
	return clients_encode(c, PARTY_CONSUMERS, group, out, with_sets ? encode_consumers_with_sets : encode_consumers);
}

int clients_encode_producers(struct clients *c, struct mq_slice group, struct evbuffer *out)
{
	return clients_encode(c, PARTY_PRODUCERS, group, out, encode_producers);
}
