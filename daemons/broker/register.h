/* Registration with every NameServer: at start, after 10 s, every registerNameServerPeriod (30 s), on change; 104 at
 * stop. Main loop; registrar_changed() any thread. */
#pragma once

#include "libmq/base/error.h"
#include "libmq/base/slice.h"
#include "libmq/net/rpc.h"

struct broker;
struct mq_loop;
struct registrar;

/* Nothing is sent before the first registrar_changed(). -EINVAL with a sentence: an address of namesrvAddr is wrong. */
int registrar_new(struct registrar **ret, struct broker *b, struct mq_error *err) _must_check_;
/* Before the main loop is freed, and when no thread can call registrar_changed() any more. */
struct registrar *registrar_free(struct registrar *r);
/* A topic changed (empty: everything): one-topic registration to all NameServers, as soon as the main loop comes round. */
void registrar_changed(struct registrar *r, struct mq_slice topic);
/* Calls done(arg) on `loop` when every NameServer that knows this broker has heard of the changes made before, at
 * latest after 3 s: who creates a topic may ask for its route next. Any thread. -ENOMEM. */
int registrar_settle(struct registrar *r, struct mq_loop *loop, void (*done)(void *arg), void *arg) _must_check_;
/* Nobody waits any longer: hands everything that waits in registrar_settle() back to its loop. Main thread. */
void registrar_release(struct registrar *r);
/* Says goodbye (104) to all, calls done() when answered or after 3 s; before it returns when there is nobody to tell. */
void registrar_stop(struct registrar *r, void (*done)(void *user), void *user);
/* Whether the configuration names NameServers at all. Any thread. */
bool registrar_has_servers(const struct registrar *r);
/* Asks a NameServer, one that knows this broker first; as mq_remote_call(). -ENOTCONN: there is none. Main loop. */
int registrar_ask(struct registrar *r, struct mq_command *cmd, int64_t timeout_ms, mq_rpc_done done, void *user) _must_check_;
/* NameServers that acknowledged the last round, and how many there are. For STATUS=. Main loop. */
void registrar_state(struct registrar *r, unsigned *ret_ok, unsigned *ret_total);
