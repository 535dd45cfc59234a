/* The route cache: asks once for however many wait, keeps an answer for 30 s, falls back to an old one when
 * no NameServer answers.
 *
 * One question about a topic goes:  ask(topic) ──> found: all waiters
 *                                        └──> unknown: waiters that only read fail; for those that send
 * ask(TBW102) */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "libmq/client/client_internal.h"
#include "libmq/client/route.h"
#include "libmq/wire/codes.h"
#include "libmq/wire/json.h"

#define TEMPLATE_TOPIC "TBW102" /* what auto-creation copies: behaviour.md section 1 */

enum {
	ROUTE_AGE_MAX_MS = 30000,  /* as Java clients poll */
	TEMPLATE_QUEUES_MAX = 4,   /* defaultTopicQueueNums of Java producers */
};

struct waiter {
	STAILQ_ENTRY(waiter) link;
	enum mq_find_use use;
	mq_find_route_done done;
	void *user;
};

STAILQ_HEAD(waiters, waiter);

struct entry {
	UT_hash_handle hh;
	struct mq_route_cache *cache;
	char *topic;            /* owned; key */
	struct mq_topic_route *route; /* ref; NULL: not known */
	bool is_stale;          /* somebody found the route wrong */
	bool is_asking, is_asking_template;
	struct waiters waiters;
};

struct mq_route_cache {
	struct mq_client *client;
	struct entry *entries; /* hash by topic; they live as long as the cache: calls point to them */
	char boot_id[64];
	size_t n_boot_id;
};

static void read_boot_id(struct mq_route_cache *cache)
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!f)
		return;
	if (fgets(cache->boot_id, sizeof cache->boot_id, f))
		cache->n_boot_id = strcspn(cache->boot_id, "\n");
	fclose(f);
}

struct mq_route_cache *mq_route_cache_new(struct mq_client *c)
{
	struct mq_route_cache *cache = calloc(1, sizeof *cache);

	if (!cache)
		return NULL;
	cache->client = c;
	read_boot_id(cache);
	return cache;
}

struct mq_route_cache *mq_route_cache_free(struct mq_route_cache *cache)
{
	struct entry *e, *next;

	if (!cache)
		return NULL;
	HASH_ITER(hh, cache->entries, e, next) {
		struct waiter *w;

		HASH_DEL(cache->entries, e);
		while ((w = STAILQ_FIRST(&e->waiters))) {
			STAILQ_REMOVE_HEAD(&e->waiters, link);
			free(w);
		}
		mq_topic_route_unref(e->route);
		free(e->topic);
		free(e);
	}
	free(cache);
	return NULL;
}

static struct entry *cache_entry(struct mq_route_cache *cache, const char *topic)
{
	struct entry *e;

	HASH_FIND_STR(cache->entries, topic, e);
	if (e)
		return e;
	e = calloc(1, sizeof *e);
	if (!e)
		return NULL;
	e->topic = strdup(topic);
	if (!e->topic) {
		free(e);
		return NULL;
	}
	e->cache = cache;
	STAILQ_INIT(&e->waiters);
	HASH_ADD_KEYPTR(hh, cache->entries, e->topic, strlen(e->topic), e);
	return e;
}

static bool entry_is_fresh(const struct entry *e, enum mq_find_use use)
{
	int64_t now_ms = mq_mono_ms(mq_loop_clock(mq_client_loop(e->cache->client)));

	return e->route && !e->is_stale && now_ms - e->route->fetched_at_ms < ROUTE_AGE_MAX_MS &&
	       (!e->route->is_borrowed || use == MQ_FIND_TO_SEND);
}

/* Calls those waiters that `use` covers: MQ_FIND_AS_IS only the readers, MQ_FIND_TO_SEND all. */
static void entry_finish(struct entry *e, enum mq_find_use use, const struct mq_failure *f,
			 struct mq_topic_route *route)
{
	struct waiters done = STAILQ_HEAD_INITIALIZER(done), kept = STAILQ_HEAD_INITIALIZER(kept);
	struct waiter *w;

	while ((w = STAILQ_FIRST(&e->waiters))) {
		STAILQ_REMOVE_HEAD(&e->waiters, link);
		if (use == MQ_FIND_TO_SEND || w->use == use)
			STAILQ_INSERT_TAIL(&done, w, link);
		else
			STAILQ_INSERT_TAIL(&kept, w, link);
	}
	STAILQ_CONCAT(&e->waiters, &kept);
	while ((w = STAILQ_FIRST(&done))) {
		STAILQ_REMOVE_HEAD(&done, link);
		w->done(f, f ? NULL : route, w->user);
		free(w);
	}
}

static bool entry_has_sender(const struct entry *e)
{
	struct waiter *w;

	STAILQ_FOREACH(w, &e->waiters, link)
		if (w->use == MQ_FIND_TO_SEND)
			return true;
	return false;
}

static void entry_fail(struct entry *e, const struct mq_failure *f)
{
	e->is_asking = false;
	/* Better an old route than none: the brokers may well be there although the NameServer is not. */
	if (e->route && f->stage != MQ_STAGE_ANSWER) {
		_cleanup_(mq_topic_route_unrefp) struct mq_topic_route *old = mq_topic_route_ref(e->route);

		entry_finish(e, MQ_FIND_TO_SEND, NULL, old);
		return;
	}
	entry_finish(e, MQ_FIND_TO_SEND, f, NULL);
}

static void entry_set(struct entry *e, struct mq_topic_route *route)
{
	_cleanup_(mq_topic_route_unrefp) struct mq_topic_route *ours = mq_topic_route_ref(route);

	e->is_asking = e->is_stale = false;
	route->fetched_at_ms = mq_mono_ms(mq_loop_clock(mq_client_loop(e->cache->client)));
	mq_topic_route_unref(e->route);
	e->route = mq_topic_route_ref(route);
	entry_finish(e, MQ_FIND_TO_SEND, NULL, ours);
}

static void entry_ask(struct entry *e, bool is_template);

/* The topic is unknown: who only reads learns that now, who sends may use the template. */
static void entry_unknown(struct entry *e, const struct mq_failure *f)
{
	e->route = mq_topic_route_unref(e->route);
	entry_finish(e, MQ_FIND_AS_IS, f, NULL);
	if (!e->is_asking_template && entry_has_sender(e)) {
		entry_ask(e, true);
		return;
	}
	e->is_asking = false;
	entry_finish(e, MQ_FIND_TO_SEND, f, NULL);
}

static int route_of_config(struct mq_topic_route **ret, struct entry *e, const struct mq_json_node *config)
{
	const char *address = mq_client_direct_broker(e->cache->client);
	struct mq_topic_route *route;

	route = calloc(1, sizeof *route + sizeof route->brokers[0]);
	if (!route)
		return -ENOMEM;
	route->refs = 1;
	route->n_brokers = 1;
	route->topic = strdup(e->topic);
	route->brokers[0] = (struct mq_topic_broker){
		.name = strdup(address),
		.address = strdup(address),
		.has_master = true,
		.perm = (int)mq_json_i64(mq_json_get(config, "perm"), 0),
		.n_read = (int32_t)mq_json_i64(mq_json_get(config, "readQueueNums"), 0),
		.n_write = (int32_t)mq_json_i64(mq_json_get(config, "writeQueueNums"), 0),
	};
	if (!route->topic || !route->brokers[0].name || !route->brokers[0].address) {
		mq_topic_route_unref(route);
		return -ENOMEM;
	}
	*ret = route;
	return 0;
}

/* The answer of a broker asked directly: its topic table (code 21) with every topic. -ENOENT: it does not
 * have ours. */
static int route_of_table(struct mq_topic_route **ret, struct entry *e, const char *name,
			  struct mq_slice body, struct mq_error *err)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	const struct mq_json_node *config;
	int r;

	r = mq_json_parse(&doc, body, err);
	if (r < 0)
		return r;
	config = mq_json_get(mq_json_get(mq_json_root(doc), "topicConfigTable"), name);
	if (!config)
		return mq_error_set(err, -ENOENT, "it has no topic %s", name);
	r = route_of_config(ret, e, config);
	return r < 0 ? mq_error_set(err, r, "out of memory") : 0;
}

static void limit_template(struct mq_topic_route *route)
{
	route->is_borrowed = true;
	for (unsigned i = 0; i < route->n_brokers; i++) {
		struct mq_topic_broker *b = &route->brokers[i];

		if (b->n_write > TEMPLATE_QUEUES_MAX)
			b->n_write = TEMPLATE_QUEUES_MAX;
		if (b->n_read > TEMPLATE_QUEUES_MAX)
			b->n_read = TEMPLATE_QUEUES_MAX;
	}
}

static void entry_on_answer(const struct mq_failure *f, const struct mq_command *answer, const char *where,
			    void *user)
{
	struct entry *e = user;
	struct mq_route_cache *cache = e->cache;
	bool is_direct = mq_client_direct_broker(cache->client);
	enum mq_hop_kind hop = is_direct ? MQ_HOP_BROKER : MQ_HOP_NAMESRV;
	const char *name = e->is_asking_template ? TEMPLATE_TOPIC : e->topic;
	_cleanup_(mq_topic_route_unrefp) struct mq_topic_route *route = NULL;
	struct mq_failure failure;
	struct mq_error err;
	int r;

	if (f) {
		entry_fail(e, f);
		return;
	}
	if (answer->code != MQ_SUCCESS) {
		mq_failure_answer(&failure, hop, where, answer);
		if (answer->code == MQ_TOPIC_NOT_EXIST) {
			snprintf(failure.why, sizeof failure.why, "topic %s does not exist", e->topic);
			entry_unknown(e, &failure);
		} else {
			entry_fail(e, &failure);
		}
		return;
	}

	if (is_direct)
		r = route_of_table(&route, e, name, answer->body, &err);
	else
		r = mq_topic_route_decode(&route, mq_slice_of(e->topic), answer->body,
				    (struct mq_slice){ cache->boot_id, cache->n_boot_id }, &err);
	if (r < 0) {
		mq_failure_at(&failure, r, MQ_STAGE_ANSWER, hop, where, "%s", err.text);
		if (r == -ENOENT) {
			failure.code = MQ_TOPIC_NOT_EXIST;
			snprintf(failure.why, sizeof failure.why, "topic %s does not exist", e->topic);
			entry_unknown(e, &failure);
		} else {
			entry_fail(e, &failure);
		}
		return;
	}
	if (e->is_asking_template)
		limit_template(route);
	entry_set(e, route);
}

static void entry_ask(struct entry *e, bool is_template)
{
	struct mq_client *c = e->cache->client;
	const char *direct = mq_client_direct_broker(c);
	struct mq_hop hop = MQ_NAMESRV;
	struct mq_command cmd;
	struct mq_failure f;
	int r;

	e->is_asking = true;
	e->is_asking_template = is_template;
	if (direct) {
		hop = (struct mq_hop){ .kind = MQ_HOP_BROKER, .addresses = { direct } };
		mq_command_request(&cmd, MQ_GET_ALL_TOPIC_CONFIG);
	} else {
		mq_command_request(&cmd, MQ_GET_ROUTEINFO_BY_TOPIC);
		mq_command_add(&cmd, "topic", mq_slice_of(is_template ? TEMPLATE_TOPIC : e->topic));
		if (mq_client_wants_local_sockets(c))
			mq_command_add(&cmd, "localSocket", MQ_SLICE("true"));
	}
	r = mq_client_call(c, &hop, &cmd, 0, entry_on_answer, e);
	if (r < 0) {
		mq_failure_local(&f, r, "%s", strerror(-r));
		entry_fail(e, &f);
	}
}

int mq_client_find_route(struct mq_client *c, const char *topic, enum mq_find_use use,
			 mq_find_route_done done, void *user)
{
	struct entry *e = cache_entry(mq_client_routes(c), topic);
	struct waiter *w;

	if (!e)
		return -ENOMEM;
	if (entry_is_fresh(e, use)) {
		_cleanup_(mq_topic_route_unrefp) struct mq_topic_route *route = mq_topic_route_ref(e->route);

		done(NULL, route, user);
		return 0;
	}
	w = malloc(sizeof *w);
	if (!w)
		return -ENOMEM;
	*w = (struct waiter){ .use = use, .done = done, .user = user };
	STAILQ_INSERT_TAIL(&e->waiters, w, link);
	if (!e->is_asking)
		entry_ask(e, false);
	return 0;
}

struct mq_topic_route *mq_client_cached_route(struct mq_client *c, const char *topic)
{
	struct entry *e = cache_entry(mq_client_routes(c), topic);

	return e ? e->route : NULL;
}

void mq_client_forget_route(struct mq_client *c, const char *topic)
{
	struct entry *e = cache_entry(mq_client_routes(c), topic);

	if (e)
		e->is_stale = true;
}

struct route_wait {
	bool is_done;
	struct mq_topic_route *route; /* ref */
	struct mq_failure failure;
};

static void route_wait_done(const struct mq_failure *f, struct mq_topic_route *route, void *user)
{
	struct route_wait *w = user;

	w->is_done = true;
	if (f)
		w->failure = *f;
	else
		w->route = mq_topic_route_ref(route);
}

/* An interrupted wait must not leave its stack behind in the list. */
static void cache_abandon(struct mq_route_cache *cache, const void *user)
{
	struct entry *e, *next;
	struct waiter *w;

	HASH_ITER(hh, cache->entries, e, next) {
		STAILQ_FOREACH(w, &e->waiters, link)
			if (w->user == user)
				break;
		if (w) {
			STAILQ_REMOVE(&e->waiters, w, waiter, link);
			free(w);
		}
	}
}

int mq_client_route(struct mq_client *c, const char *topic, enum mq_find_use use, struct mq_topic_route **ret,
		    struct mq_failure *f)
{
	struct route_wait w = {};
	int r;

	r = mq_client_find_route(c, topic, use, route_wait_done, &w);
	if (r < 0)
		return mq_failure_local(f, r, "%s", strerror(-r));
	r = mq_client_wait(c, &w.is_done, -1);
	if (r < 0) {
		cache_abandon(mq_client_routes(c), &w);
		mq_topic_route_unref(w.route);
		return mq_failure_local(f, r, "%s", strerror(-r));
	}
	if (!w.route) {
		if (f)
			*f = w.failure;
		return w.failure.r;
	}
	*ret = w.route;
	return 0;
}
