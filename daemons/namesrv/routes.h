/* What the NameServer knows: which brokers live, and which topics they serve (RouteInfoManager; reference:
 * protocol/requests-namesrv.md sections 2 to 6). Memory only; brokers tell it again after a restart.
 *
 * Single-threaded: belongs to the main loop. Pointers that a function returns are borrowed until the next change. Times are
 * wall clock milliseconds given by the caller. Everything is sorted by name where it is listed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <uthash.h>

#include "libmq/base/error.h"
#include "libmq/base/slice.h"

enum {
	ROUTES_NAME_MAX = 255,           /* bytes of a cluster, broker or topic name, an address or a path */
	ROUTES_BROKERS_MAX = 10000,      /* registered broker ids, and names of brokers in clusters */
	ROUTES_LIVE_MAX = 40000,         /* addresses that registered, those included whose id has another one by now */
	ROUTES_QUEUES_MAX = 2000000,     /* entries of topic and broker together */
	ROUTES_TIMEOUT_DEFAULT = 120000, /* ms without registration or heartbeat until a broker is forgotten */
};

enum { ROUTE_PERM_WRITE = 2, ROUTE_PERM_READ_WRITE = 6 };

/* One topic on one broker name. */
struct route_queue {
	char *broker; /* owned; the array of a topic is sorted by it */
	int32_t read_queues, write_queues, perm, sys_flag;
};

struct route_topic {
	char *name; /* owned, as are the next */
	struct route_queue *queues;
	unsigned n_queues, capacity;
	UT_hash_handle hh;
};

/* One broker id of a broker name. */
struct route_address {
	int64_t id;
	char *address;      /* owned, as are the next */
	char *local_socket; /* NULL: not told */
	char *boot_id;      /* NULL: not told */
};

struct route_broker {
	char *name, *cluster; /* owned */
	char *zone;           /* owned, NULL: none */
	bool enable_acting_master;
	struct route_address *addresses; /* owned; sorted by id */
	unsigned n_addresses;
	UT_hash_handle hh;
};

struct route_cluster {
	char *name;     /* owned */
	char **brokers; /* owned; names, sorted */
	unsigned n_brokers;
	UT_hash_handle hh;
};

/* State of a broker's topic table (DataVersion): a name for a content. */
struct route_version {
	int64_t counter, state_version, timestamp;
};

/* One (cluster, address) that registered. */
struct route_live {
	char *key;              /* owned: cluster, newline, address */
	const char *address;    /* into key; the cluster is what comes before */
	int64_t updated_at_ms;
	int64_t timeout_ms;
	struct route_version version;
	uint64_t channel;       /* connection of the last registration; 0: none */
	char *ha_address;       /* owned */
	UT_hash_handle hh;
};

struct routes {
	struct route_topic *topics;     /* hash by name */
	struct route_broker *brokers;   /* hash by name */
	struct route_cluster *clusters; /* hash by name */
	struct route_live *live;        /* hash by key */
	unsigned n_addresses, n_queues, n_in_clusters; /* against the limits */
	/* The smallest id of a broker name is another one now; offline_address: because this one left (else NULL), with its
	 * ha_address, or that of the newcomer. Called within the change: must not change anything. NULL: nobody wants to know. */
	void (*min_changed)(void *user, const struct route_broker *b, const char *offline_address, const char *ha_address);
	void *user;
};

void routes_init(struct routes *r);
void routes_done(struct routes *r);

/* One topic of a registration. */
struct route_topic_config {
	struct mq_slice name;
	int32_t read_queues, write_queues, perm, sys_flag;
};

struct route_registration {
	struct mq_slice cluster, broker, address, ha_address, zone, local_socket, boot_id; /* p NULL: absent */
	int64_t id;
	int64_t timeout_ms;
	bool is_old_version;       /* the header has no enableActingMaster */
	bool enable_acting_master;
	bool drop_missing_topics;  /* deleteTopicWithBrokerRegistration */
	uint64_t channel;
	int64_t now_ms;
	struct route_version version;
	const struct route_topic_config *topics;
	unsigned n_topics;
};

/* Outcomes of routes_register() besides 0 and negative errno. */
enum {
	ROUTES_REFUSED = 1,  /* a first registration with exactly one topic: "register broker failed" */
	ROUTES_REJECTED = 2, /* the id belongs to a live broker with newer state: answered like success, nothing is kept */
};

/* Sections 3.3 to 3.10. A refused or rejected registration leaves nothing behind. -EINVAL with a sentence for names that are empty
 * or too long, -ENOSPC at the limits, -ENOMEM. */
int routes_register(struct routes *r, const struct route_registration *reg, struct mq_error *err) _must_check_;

/* A broker says goodbye, or is lost: sections 5 (104) and 6. 0 also when unknown. */
void routes_unregister(struct routes *r, struct mq_slice cluster, struct mq_slice broker, struct mq_slice address);
/* Unregisters every broker whose last registration came over this connection. Returns how many. */
unsigned routes_channel_closed(struct routes *r, uint64_t channel);
/* Unregisters brokers whose time is over and calls each() with the channel of their last registration. Returns how many. */
unsigned routes_expire(struct routes *r, int64_t now_ms, void (*each)(void *user, const struct route_live *live), void *user);

/* NULL when unknown. */
const struct route_live *routes_live(const struct routes *r, struct mq_slice cluster, struct mq_slice address);
const struct route_broker *routes_broker(const struct routes *r, struct mq_slice name);
const struct route_topic *routes_topic(const struct routes *r, struct mq_slice name);
const struct route_cluster *routes_cluster(const struct routes *r, struct mq_slice name);
/* Address of an id, or NULL. */
const struct route_address *route_broker_address(const struct route_broker *b, int64_t id);

/* Refreshes the live entry (904, 322), if there is one. */
void routes_touch(struct routes *r, struct mq_slice cluster, struct mq_slice address, int64_t now_ms);

/* 216: with a cluster only the entries of its brokers, else (p NULL or empty) the whole topic. */
void routes_delete_topic(struct routes *r, struct mq_slice topic, struct mq_slice cluster);
/* 217: entries of one topic, each of a known broker, else the whole is ignored. -EINVAL, -ENOSPC, -ENOMEM. */
int routes_add_topic(struct routes *r, struct mq_slice topic, const struct route_queue *queues, unsigned n, struct mq_error *err) _must_check_;
/* 205 and 327: clears the write bit, or sets perm to 6, of every entry of the broker name. Returns how many entries there are. */
unsigned routes_wipe_write(struct routes *r, struct mq_slice broker);
unsigned routes_add_write(struct routes *r, struct mq_slice broker);
