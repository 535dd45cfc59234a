/* A client of NameServers and brokers: connections by address, requests with deadlines, failover between
 * NameServers, local Unix sockets before TCP. Everything runs on one mq_loop and its thread. Underneath is
 * the asynchronous core (`done` callbacks); the functions with a struct mq_failure at the end are the same
 * things blocking: they turn the loop until the answer is there.
 *
 * Not for use inside callbacks: the blocking functions and mq_client_free(). */
#pragma once

#include <stdbool.h>

#include "libmq/client/failure.h"
#include "libmq/net/loop.h"

struct mq_client;
struct mq_conn;

struct mq_client_config {
	const char *namesrv;    /* "host:port", "unix:/path", several with ';'; NULL when `broker` is given */
	const char *broker;     /* one address: every topic lives there, no NameServer is asked; or NULL */
	int64_t timeout_ms;     /* of one request, when the caller says 0; 0 here: 3000, as Java clients */
	bool no_local_sockets;  /* do not ask routes for Unix sockets of brokers on this machine */
};

int mq_client_new(struct mq_client **ret, struct mq_loop *loop, const struct mq_client_config *cfg,
		  struct mq_error *err) _must_check_;
/* Outstanding calls are finished with -ECANCELED. Before mq_loop_free(). */
struct mq_client *mq_client_free(struct mq_client *c);
DEFINE_CLEANUP(struct mq_client *, mq_client_free)

struct mq_loop *mq_client_loop(const struct mq_client *c);
/* "10.0.0.7@4711#...": unique among the clients of a group. Lives as long as the client. */
const char *mq_client_id(const struct mq_client *c);
/* The host that goes into unique message ids. */
const struct mq_host *mq_client_host(const struct mq_client *c);
/* The broker address of the configuration, or NULL. */
const char *mq_client_direct_broker(const struct mq_client *c);
/* The i-th NameServer of the configuration; NULL behind the last. */
const char *mq_client_namesrv(const struct mq_client *c, unsigned i);
int64_t mq_client_timeout_ms(const struct mq_client *c);

/* Where a call goes: addresses of the same server, tried in turn while they cannot be reached. */
enum { MQ_HOP_ADDRESSES = 2 };

/* The texts are borrowed until the call returned. */
struct mq_hop {
	enum mq_hop_kind kind;
	const char *name;                        /* of a broker, for messages; NULL: none known */
	const char *addresses[MQ_HOP_ADDRESSES]; /* unused: NULL; all NULL: the NameServers of the configuration */
};

#define MQ_NAMESRV ((struct mq_hop){ .kind = MQ_HOP_NAMESRV })

/* Outcome of a call, exactly once, on the loop's thread. f == NULL: `answer`, with any code, valid during
 * the call only. Else no answer came, and f says why. `where` names who was asked. */
typedef void (*mq_client_done)(const struct mq_failure *f, const struct mq_command *answer,
			       const char *where, void *user);

/* `cmd` is copied. timeout_ms 0: the configuration's. NameServers: when one fails the next is asked, all
 * within the timeout; the one that answered is asked first from then on. Brokers: only a failed connect
 * leads to the next address, since a request that was sent may have been carried out. `done` may be called
 * before this returns. -ENOMEM: it is not called. */
int mq_client_call(struct mq_client *c, const struct mq_hop *hop, const struct mq_command *cmd,
		   int64_t timeout_ms, mq_client_done done, void *user) _must_check_;
/* One-way; `done` gets an answer NULL and f NULL once it was handed to the connection. */
int mq_client_oneway(struct mq_client *c, const struct mq_hop *hop, const struct mq_command *cmd,
		     mq_client_done done, void *user) _must_check_;

/* Blocking. Any answer code is an answer: 0 and an owned copy in *ret, to be freed with free(). */
int mq_client_exchange(struct mq_client *c, const struct mq_hop *hop, const struct mq_command *cmd,
		       int64_t timeout_ms, struct mq_command **ret, struct mq_failure *f) _must_check_;
/* Blocking; an answer with a code other than 0 is a failure. */
int mq_client_ask(struct mq_client *c, const struct mq_hop *hop, const struct mq_command *cmd,
		  struct mq_command **ret, struct mq_failure *f) _must_check_;

/* Turns the loop until *is_done. 0, -ETIMEDOUT after timeout_ms (-1: never), -EINTR after
 * mq_client_interrupt(). */
int mq_client_wait(struct mq_client *c, const bool *is_done, int64_t timeout_ms) _must_check_;
/* Ends the wait that is running, or else the next one, with -EINTR. From a callback of the loop (a signal
 * event). */
void mq_client_interrupt(struct mq_client *c);

/* Ends all outstanding calls with -ECANCELED before it returns. Not from callbacks. */
void mq_client_cancel(struct mq_client *c);

/* Requests that brokers send to clients (39, 40, 220, ...). A watcher is embedded in what it serves. */
struct mq_client_watch {
	LIST_ENTRY(mq_client_watch) link;
	void (*on_request)(const struct mq_command *request, void *user);
	void *user;
};

void mq_client_watch(struct mq_client *c, struct mq_client_watch *watch);
void mq_client_unwatch(struct mq_client_watch *watch);

/* One allocation with the command and everything its slices point to; free() it. NULL: no memory. */
struct mq_command *mq_command_copy(const struct mq_command *cmd);
static inline void mq_command_freep(struct mq_command **p)
{
	free(*p);
}
