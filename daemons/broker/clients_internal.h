/* What clients.c and its neighbours clients_*.c know of each other; nobody else includes this.
 *
 * Two tables of parties (groups of producers, groups of consumers), one of clients (connections that sent a heartbeat); a
 * member is one client in one party. All of it is protected by clients.lock. */
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "daemons/broker/clients.h"
#include "daemons/broker/subscriptions.h"

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
	unsigned n_members;
	size_t n_said;        /* bytes of the sets and names of its members */
	LIST_HEAD(, member) members;
	UT_hash_handle hh, by_name; /* by_name: the last of those with the same client_id */
};

struct member_key {
	struct client *client; /* borrowed: it outlives its members */
	struct party *party;   /* borrowed: it goes with its last member */
};

struct member {
	struct member_key key;
	int64_t seen_at_ms;   /* monotonic: last heartbeat that named the party */
	bool has_said;        /* what it subscribes to; set is NULL until then */
	struct sub_set *set;  /* borrowed from the party's sets, which count it; NULL for producers */
	LIST_ENTRY(member) by_client;
	TAILQ_ENTRY(member) by_party;
	UT_hash_handle hh;
};

struct party {
	enum party_kind kind;
	TAILQ_HEAD(, member) members; /* in the order of joining */
	unsigned n_members;
	unsigned turn;                /* producers: who is asked next */
	/* of consumers: */
	enum mq_consume_type type;
	enum mq_message_model model;
	int from;
	bool has_fingerprint;
	int32_t fingerprint;
	struct subscribed *subscribed; /* owned; what pulls go by */
	size_t subscribed_bytes;
	struct sub_set_list sets;      /* owned; of its members, no two equal, none without a member */
	unsigned n_sets;               /* more than one: the members differ */
	bool is_quarrelling;           /* and that was said */
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
	struct member *members;          /* owned, by client and party */
	size_t n_bytes;                  /* of all these */
	int64_t quarrels_since_ms;       /* monotonic; of the lines about members that differ */
	unsigned n_quarrels, n_quarrels_left_out;
	int32_t opaque;                  /* of pushes; atomic, only its changing matters */
};

/* ---- clients.c; lock held for writing, except that finding needs it for reading only ---- */

/* NULL: none. */
struct party *party_find(struct clients *c, enum party_kind kind, struct mq_slice name);
/* Made when it is not there; party_drop_if_empty() when nobody joined. NULL: out of memory. */
struct party *party_get(struct clients *c, enum party_kind kind, struct mq_slice name);
void party_drop_if_empty(struct clients *c, struct party *p);
/* Makes the party's table like *subs, see subs_replace(). True when its topics changed. */
bool party_subscribe(struct clients *c, struct party *p, struct subscribed **subs);

/* NULL: none. */
struct client *client_find_name(struct clients *c, struct mq_slice client_id);
/* The connection's, made when it is not there; takes over what the heartbeat says of it. NULL: out of memory. */
struct client *client_get(struct clients *c, struct mq_conn *conn, const struct mq_command *cmd, struct mq_slice client_id);
void client_drop_if_empty(struct clients *c, struct client *client);

/* NULL: none. */
struct member *member_find(struct clients *c, struct client *client, struct party *p);
/* 1 when it is new in the party, 0 when it was there; -ENOMEM. */
int party_join(struct clients *c, struct party *p, struct client *client, struct member **ret) _must_check_;
/* The member subscribes to `said`, which is taken over. */
void member_say(struct clients *c, struct member *m, struct sub_set *said);
/* Frees the member; party and client stay, even without members. */
void party_leave(struct clients *c, struct member *m);

/* ---- clients_notice.c: gathered with the lock held, sent without it ---- */

struct notice;
STAILQ_HEAD(notice_list, notice);

/* Adds everybody in the group to the list. Out of memory: nobody is told, and finds out at its next rebalance (20 s).
 * even_if_silenced: the group's notifyConsumerIdsChangedEnable does not matter: as upstream, when a channel closes. */
void notice_gather(struct notice_list *list, const struct party *p, bool even_if_silenced);
/* Sends and frees them. */
void notice_send_all(struct clients *c, struct notice_list *list);
void notice_drop_all(struct notice_list *list);

/* ---- clients_quarrel.c: gathered with the lock held, logged without it ---- */

struct quarrel;
STAILQ_HEAD(quarrel_list, quarrel);

/* Once when a group's members begin to differ, and again only after they agreed meanwhile. */
void quarrel_gather(struct clients *c, struct quarrel_list *list, struct party *p);
/* Logs and frees them. */
void quarrel_log_all(struct quarrel_list *list);
/* With strictSubscription: is there a member that says something else than `said`, which `m` (NULL: a new one) wants to say? Tells
 * what in `ret`. Lock held. */
bool party_contradicts(const struct party *p, const struct member *m, const struct sub_set *said, struct mq_slice client_id,
		       char *ret, size_t size);
