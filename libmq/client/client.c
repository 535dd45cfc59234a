#include "libmq/client/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <uthash.h>

#include "libmq/client/client_internal.h"
#include "libmq/client/link.h"
#include "libmq/wire/codes.h"

enum {
	NAMESRV_MAX = 16,   /* addresses in one list */
	TARGETS_MAX = NAMESRV_MAX,
	TIMEOUT_MS = 3000,
};

/* Links live as long as the client: an address is a handful in practice. */
struct peer {
	UT_hash_handle hh;
	struct mq_link *link; /* owned */
	char address[272];    /* key */
};

struct mq_client {
	struct mq_loop *loop;
	char *namesrv[NAMESRV_MAX]; /* owned */
	unsigned n_namesrv;
	unsigned best_namesrv;      /* answered last */
	char *broker;               /* owned, or NULL */
	int64_t timeout_ms;
	bool use_local_sockets;
	bool is_interrupted;
	struct mq_host host;
	char id[96];
	struct peer *peers;         /* hash by address */
	struct mq_route_cache *routes; /* owned */
	LIST_HEAD(, call) calls;
	LIST_HEAD(, mq_client_watch) watches;
};

/* A call with everything it needs to be sent again to another address. */
struct call {
	LIST_ENTRY(call) link;
	struct mq_client *client;     /* NULL: the client is gone and `done` was called */
	struct mq_command *cmd;       /* owned copy */
	enum mq_hop_kind kind;
	bool is_oneway;
	unsigned n_targets, i_target; /* i_target: the one being tried */
	char *targets[TARGETS_MAX];   /* owned */
	unsigned namesrv_index[TARGETS_MAX];
	char *name;                   /* owned; broker name or NULL */
	char where[320];
	int64_t deadline_ms;          /* monotonic */
	struct mq_failure failure;    /* of the last target tried */
	mq_client_done done;
	void *user;
};

static void call_free(struct call *call)
{
	for (unsigned i = 0; i < call->n_targets; i++)
		free(call->targets[i]);
	free(call->cmd);
	free(call->name);
	free(call);
}

DEFINE_CLEANUP(struct call *, call_free)

static void call_finish(struct call *call, const struct mq_failure *f, const struct mq_command *answer)
{
	LIST_REMOVE(call, link);
	call->client = NULL;
	call->done(f, answer, call->where, call->user);
	call_free(call);
}

static void call_try(struct call *call);

/* What a person needs beside "broker": its name when it is known, and the address that was tried. */
static void call_describe(struct call *call)
{
	const char *address = call->targets[call->i_target];

	if (call->kind == MQ_HOP_NAMESRV)
		snprintf(call->where, sizeof call->where, "NameServer %s", address);
	else if (call->name && strcmp(call->name, address) != 0)
		snprintf(call->where, sizeof call->where, "broker %s (%s)", call->name, address);
	else
		snprintf(call->where, sizeof call->where, "broker %s", address);
}

static void call_on_done(int r, enum mq_stage stage, const struct mq_command *answer, const char *why,
			 void *user)
{
	struct call *call = user;
	struct mq_client *c = call->client;

	if (!c) {
		call_free(call);
		return;
	}
	if (r >= 0) {
		if (call->kind == MQ_HOP_NAMESRV)
			c->best_namesrv = call->namesrv_index[call->i_target];
		call_finish(call, NULL, answer);
		return;
	}

	mq_failure_at(&call->failure, r, stage, call->kind, call->where, "%s", why);
	bool may_go_on = r != -ECANCELED && (stage == MQ_STAGE_CONNECT || call->kind == MQ_HOP_NAMESRV);

	if (may_go_on && call->i_target + 1 < call->n_targets) {
		call->i_target++;
		call_try(call);
		return;
	}
	call_finish(call, &call->failure, NULL);
}

static void client_on_request(struct mq_conn *conn, const struct mq_command *request, void *user)
{
	struct mq_client *c = user;
	struct mq_client_watch *watch, *next;

	for (watch = LIST_FIRST(&c->watches); watch; watch = next) {
		next = LIST_NEXT(watch, link);
		watch->on_request(request, watch->user);
	}
	if (request->flag & MQ_FLAG_ONEWAY)
		return;

	/* Nothing that brokers ask of clients is served here, and who asks must not wait for its deadline. */
	struct mq_command answer;
	char text[64];

	mq_command_response(&answer, request, MQ_REQUEST_CODE_NOT_SUPPORTED);
	answer.remark.n = (size_t)snprintf(text, sizeof text, " request type %d not supported", request->code);
	answer.remark.p = text;
	(void)mq_conn_send(conn, &answer, NULL); /* a lost connection shows itself elsewhere */
}

static int client_link(struct mq_client *c, const char *address, struct mq_link **ret, struct mq_error *err)
{
	struct mq_address parsed;
	struct peer *peer;
	int r;

	HASH_FIND_STR(c->peers, address, peer);
	if (peer) {
		*ret = peer->link;
		return 0;
	}
	r = mq_address_parse(&parsed, mq_slice_of(address), err);
	if (r < 0)
		return r;

	peer = calloc(1, sizeof *peer);
	if (!peer)
		return mq_error_set(err, -ENOMEM, "out of memory");
	snprintf(peer->address, sizeof peer->address, "%s", address);
	r = mq_link_new(&peer->link, c->loop, &parsed, client_on_request, c);
	if (r < 0) {
		free(peer);
		return mq_error_set(err, r, "out of memory");
	}
	HASH_ADD_STR(c->peers, address, peer);
	*ret = peer->link;
	return 0;
}

static void call_try(struct call *call)
{
	struct mq_client *c = call->client;
	int64_t left = call->deadline_ms - mq_mono_ms(mq_loop_clock(c->loop));
	unsigned n_left = call->n_targets - call->i_target;
	struct mq_link *link = NULL;
	struct mq_error err;
	int r;

	call_describe(call);
	if (left <= 0) {
		call_on_done(-ETIMEDOUT, MQ_STAGE_EXCHANGE, NULL, "no time left", call);
		return;
	}
	/* A silent NameServer must leave time to ask the others. */
	if (call->kind == MQ_HOP_NAMESRV)
		left = (left + n_left - 1) / n_left;

	r = client_link(c, call->targets[call->i_target], &link, &err);
	if (r < 0) {
		call_on_done(r, MQ_STAGE_CONNECT, NULL, err.text, call);
		return;
	}
	if (call->is_oneway)
		r = mq_link_oneway(link, call->cmd, left, call_on_done, call);
	else
		r = mq_link_call(link, call->cmd, left, call_on_done, call);
	if (r < 0)
		call_on_done(r, MQ_STAGE_EXCHANGE, NULL, strerror(-r), call);
}

static int call_add_target(struct call *call, const char *address, unsigned namesrv_index)
{
	char *copy = strdup(address);

	if (!copy)
		return -ENOMEM;
	call->namesrv_index[call->n_targets] = namesrv_index;
	call->targets[call->n_targets++] = copy;
	return 0;
}

static int call_add_targets(struct call *call, struct mq_client *c, const struct mq_hop *hop)
{
	int r = 0;

	for (unsigned i = 0; i < MQ_HOP_ADDRESSES && r >= 0; i++)
		if (hop->addresses[i])
			r = call_add_target(call, hop->addresses[i], 0);
	if (r < 0 || call->n_targets > 0 || hop->kind != MQ_HOP_NAMESRV)
		return r;

	for (unsigned i = 0; i < c->n_namesrv && r >= 0; i++) {
		unsigned index = (c->best_namesrv + i) % c->n_namesrv;

		r = call_add_target(call, c->namesrv[index], index);
	}
	return r;
}

static int client_start(struct mq_client *c, const struct mq_hop *hop, const struct mq_command *cmd,
			int64_t timeout_ms, bool is_oneway, mq_client_done done, void *user)
{
	_cleanup_(call_freep) struct call *call = NULL;
	int r;

	call = calloc(1, sizeof *call);
	if (!call)
		return -ENOMEM;
	*call = (struct call){
		.client = c, .kind = hop->kind, .is_oneway = is_oneway, .done = done, .user = user
	};
	call->deadline_ms = mq_mono_ms(mq_loop_clock(c->loop)) + (timeout_ms > 0 ? timeout_ms : c->timeout_ms);
	call->cmd = mq_command_copy(cmd);
	if (!call->cmd)
		return -ENOMEM;
	if (hop->name) {
		call->name = strdup(hop->name);
		if (!call->name)
			return -ENOMEM;
	}
	r = call_add_targets(call, c, hop);
	if (r < 0)
		return r;
	if (call->n_targets == 0)
		return -EDESTADDRREQ;

	struct call *started = TAKE(call);

	LIST_INSERT_HEAD(&c->calls, started, link);
	call_try(started);
	return 0;
}

int mq_client_call(struct mq_client *c, const struct mq_hop *hop, const struct mq_command *cmd,
		   int64_t timeout_ms, mq_client_done done, void *user)
{
	return client_start(c, hop, cmd, timeout_ms, false, done, user);
}

int mq_client_oneway(struct mq_client *c, const struct mq_hop *hop, const struct mq_command *cmd,
		     mq_client_done done, void *user)
{
	return client_start(c, hop, cmd, 0, true, done, user);
}

/* A blocking call: on the stack of who waits. */
struct exchange {
	bool is_done;
	struct mq_command *answer; /* owned */
	char where[320];
	struct mq_failure failure;
};

static void exchange_on_done(const struct mq_failure *f, const struct mq_command *answer, const char *where,
			     void *user)
{
	struct exchange *e = user;

	e->is_done = true;
	snprintf(e->where, sizeof e->where, "%s", where);
	if (f) {
		e->failure = *f;
		return;
	}
	e->answer = mq_command_copy(answer);
	if (!e->answer)
		mq_failure_local(&e->failure, -ENOMEM, "out of memory");
}

/* An interrupted exchange leaves a call behind that still points here: it must end first. */
static void exchange_abandon(struct mq_client *c, struct exchange *e)
{
	struct call *call, *next;

	for (call = LIST_FIRST(&c->calls); call; call = next) {
		next = LIST_NEXT(call, link);
		if (call->user != e)
			continue;
		LIST_REMOVE(call, link);
		call->client = NULL;
	}
}

static int client_exchange(struct mq_client *c, const struct mq_hop *hop, const struct mq_command *cmd,
			   int64_t timeout_ms, struct mq_command **ret, char where[320],
			   struct mq_failure *f)
{
	struct exchange e = {};
	int r;

	if (hop->kind == MQ_HOP_NAMESRV && c->n_namesrv == 0 && !hop->addresses[0])
		return mq_failure_local(f, -EDESTADDRREQ, "this needs a NameServer");
	r = mq_client_call(c, hop, cmd, timeout_ms, exchange_on_done, &e);
	if (r < 0)
		return mq_failure_local(f, r, "%s", strerror(-r));
	r = mq_client_wait(c, &e.is_done, -1);
	if (r < 0) {
		exchange_abandon(c, &e);
		free(e.answer);
		return mq_failure_local(f, r, "%s", strerror(-r));
	}
	if (!e.answer) {
		if (f)
			*f = e.failure;
		return e.failure.r;
	}
	memcpy(where, e.where, sizeof e.where);
	*ret = e.answer;
	return 0;
}

int mq_client_exchange(struct mq_client *c, const struct mq_hop *hop, const struct mq_command *cmd,
		       int64_t timeout_ms, struct mq_command **ret, struct mq_failure *f)
{
	char where[320];

	return client_exchange(c, hop, cmd, timeout_ms, ret, where, f);
}

int mq_client_ask(struct mq_client *c, const struct mq_hop *hop, const struct mq_command *cmd,
		  struct mq_command **ret, struct mq_failure *f)
{
	_cleanup_(mq_command_freep) struct mq_command *answer = NULL;
	char where[320];
	int r;

	r = client_exchange(c, hop, cmd, 0, &answer, where, f);
	if (r < 0)
		return r;
	if (answer->code != MQ_SUCCESS)
		return mq_failure_answer(f, hop->kind, where, answer);
	*ret = TAKE(answer);
	return 0;
}

int mq_client_wait(struct mq_client *c, const bool *is_done, int64_t timeout_ms)
{
	const struct mq_clock *clock = mq_loop_clock(c->loop);
	int64_t end_ms = timeout_ms < 0 ? INT64_MAX : mq_mono_ms(clock) + timeout_ms;

	while (!*is_done) {
		int64_t left = end_ms - mq_mono_ms(clock);
		int r;

		if (c->is_interrupted) {
			c->is_interrupted = false;
			return -EINTR;
		}
		if (left <= 0)
			return -ETIMEDOUT;
		r = mq_loop_turn(c->loop, left > 1000 ? 1000 : (int)left);
		if (r < 0)
			return r;
	}
	return 0;
}

void mq_client_interrupt(struct mq_client *c)
{
	c->is_interrupted = true;
}

void mq_client_watch(struct mq_client *c, struct mq_client_watch *watch)
{
	LIST_INSERT_HEAD(&c->watches, watch, link);
}

void mq_client_unwatch(struct mq_client_watch *watch)
{
	LIST_REMOVE(watch, link);
}

/* The address that other hosts see us by, as Java's RemotingUtil chooses it: IPv4 before IPv6, loopback
 * last. */
static void find_host(struct mq_host *ret)
{
	struct ifaddrs *list = NULL;

	*ret = (struct mq_host){ .addr = { 127, 0, 0, 1 }, .n_addr = 4 };
	if (getifaddrs(&list) < 0)
		return;
	for (struct ifaddrs *i = list; i; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK))
			continue;
		memcpy(ret->addr, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, 4);
		break;
	}
	freeifaddrs(list);
}

static int client_add_namesrvs(struct mq_client *c, const char *list, struct mq_error *err)
{
	while (*list) {
		size_t n = strcspn(list, ";");
		struct mq_slice text = { list, n };
		struct mq_address parsed;
		int r;

		list += n + (list[n] == ';');
		if (n == 0)
			continue;
		if (c->n_namesrv == NAMESRV_MAX)
			return mq_error_set(err, -E2BIG, "more than %d NameServers", NAMESRV_MAX);
		r = mq_address_parse(&parsed, text, err);
		if (r < 0)
			return r;
		c->namesrv[c->n_namesrv] = mq_slice_dup(text);
		if (!c->namesrv[c->n_namesrv])
			return mq_error_set(err, -ENOMEM, "out of memory");
		c->n_namesrv++;
	}
	return 0;
}

int mq_client_new(struct mq_client **ret, struct mq_loop *loop, const struct mq_client_config *cfg,
		  struct mq_error *err)
{
	_cleanup_(mq_client_freep) struct mq_client *c = NULL;
	struct mq_address parsed;
	char host[INET_ADDRSTRLEN];
	int r;

	c = calloc(1, sizeof *c);
	if (!c)
		return mq_error_set(err, -ENOMEM, "out of memory");
	*c = (struct mq_client){ .loop = loop, .use_local_sockets = !cfg->no_local_sockets };
	c->timeout_ms = cfg->timeout_ms > 0 ? cfg->timeout_ms : TIMEOUT_MS;
	LIST_INIT(&c->calls);
	LIST_INIT(&c->watches);

	if (cfg->broker) {
		r = mq_address_parse(&parsed, mq_slice_of(cfg->broker), err);
		if (r < 0)
			return r;
		c->broker = strdup(cfg->broker);
		if (!c->broker)
			return mq_error_set(err, -ENOMEM, "out of memory");
	}
	r = client_add_namesrvs(c, cfg->namesrv ? cfg->namesrv : "", err);
	if (r < 0)
		return r;
	if (c->n_namesrv == 0 && !c->broker)
		return mq_error_set(err, -EDESTADDRREQ, "neither a NameServer nor a broker is given");

	c->routes = mq_route_cache_new(c);
	if (!c->routes)
		return mq_error_set(err, -ENOMEM, "out of memory");
	find_host(&c->host);
	inet_ntop(AF_INET, c->host.addr, host, sizeof host);
	snprintf(c->id, sizeof c->id, "%s@%d#%lld", host, (int)getpid(),
		 (long long)mq_mono_ns(mq_loop_clock(loop)));
	*ret = TAKE(c);
	return 0;
}

void mq_client_cancel(struct mq_client *c)
{
	struct call *call;

	/* The calls themselves are freed when their links let go of them. */
	while ((call = LIST_FIRST(&c->calls))) {
		struct mq_failure f;

		mq_failure_local(&f, -ECANCELED, "cancelled");
		LIST_REMOVE(call, link);
		call->client = NULL;
		call->done(&f, NULL, call->where, call->user);
	}
}

struct mq_client *mq_client_free(struct mq_client *c)
{
	struct peer *peer, *next;

	if (!c)
		return NULL;

	mq_client_cancel(c);
	HASH_ITER(hh, c->peers, peer, next) {
		HASH_DEL(c->peers, peer);
		mq_link_free(peer->link);
		free(peer);
	}
	mq_route_cache_free(c->routes);
	for (unsigned i = 0; i < c->n_namesrv; i++)
		free(c->namesrv[i]);
	free(c->broker);
	free(c);
	return NULL;
}

struct mq_loop *mq_client_loop(const struct mq_client *c)
{
	return c->loop;
}

const char *mq_client_id(const struct mq_client *c)
{
	return c->id;
}

const struct mq_host *mq_client_host(const struct mq_client *c)
{
	return &c->host;
}

const char *mq_client_direct_broker(const struct mq_client *c)
{
	return c->broker;
}

const char *mq_client_namesrv(const struct mq_client *c, unsigned i)
{
	return i < c->n_namesrv ? c->namesrv[i] : NULL;
}

int64_t mq_client_timeout_ms(const struct mq_client *c)
{
	return c->timeout_ms;
}

bool mq_client_wants_local_sockets(const struct mq_client *c)
{
	return c->use_local_sockets;
}

struct mq_route_cache *mq_client_routes(const struct mq_client *c)
{
	return c->routes;
}
