#include "libmq/net/rpc_internal.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <string.h>

enum {
	CALLS_MAX = 65536, /* outstanding per peer; as Java clients: frame.md section 7 */
	CALLS_MIN_SLOTS = 8,
};

/* ---- the table ---- */

struct mq_rpc *mq_rpc_new(struct mq_loop *loop, const char *peer)
{
	struct mq_rpc *rpc = calloc(1, sizeof *rpc);

	if (rpc)
		*rpc = (struct mq_rpc){ .refs = 1, .loop = loop, .peer = peer };
	return rpc;
}

struct mq_rpc *mq_rpc_ref(struct mq_rpc *rpc)
{
	rpc->refs++;
	return rpc;
}

struct mq_rpc *mq_rpc_unref(struct mq_rpc *rpc)
{
	if (!rpc || --rpc->refs > 0)
		return NULL;
	free(rpc->slots);
	free(rpc);
	return NULL;
}

static struct call **rpc_slot(struct mq_rpc *rpc, uint32_t opaque)
{
	return &rpc->slots[opaque & (rpc->n_slots - 1)];
}

/* At least half of the slots stay free. */
static int rpc_reserve(struct mq_rpc *rpc)
{
	unsigned n = rpc->n_slots ? rpc->n_slots * 2 : CALLS_MIN_SLOTS;
	unsigned n_old = rpc->n_slots;
	struct call **old = rpc->slots, **slots;

	if (rpc->n_calls >= CALLS_MAX)
		return -EBUSY;
	if ((rpc->n_calls + 1) * 2 <= rpc->n_slots)
		return 0;
	slots = calloc(n, sizeof(struct call *));
	if (!slots)
		return -ENOMEM;
	rpc->slots = slots;
	rpc->n_slots = n;
	/* Who differs in the low bits differs in one bit more. */
	for (unsigned i = 0; i < n_old; i++)
		if (old[i])
			*rpc_slot(rpc, (uint32_t)old[i]->opaque) = old[i];
	free(old);
	return 0;
}

static void rpc_insert(struct mq_rpc *rpc, struct call *call)
{
	while (*rpc_slot(rpc, rpc->next_opaque))
		rpc->next_opaque++;
	call->opaque = (int32_t)rpc->next_opaque++;
	*rpc_slot(rpc, (uint32_t)call->opaque) = call;
	rpc->n_calls++;
}

static struct call *rpc_find(struct mq_rpc *rpc, int32_t opaque)
{
	struct call *call;

	if (!rpc || rpc->n_slots == 0)
		return NULL;
	call = *rpc_slot(rpc, (uint32_t)opaque);
	return call && call->opaque == opaque ? call : NULL;
}

/* ---- calls ---- */

void mq_call_detach(struct call *call)
{
	struct mq_rpc *rpc = call->rpc;

	mq_timer_clear(rpc->loop, &call->deadline);
	*rpc_slot(rpc, (uint32_t)call->opaque) = NULL;
	rpc->n_calls--;
	if (call->frame)
		mq_remote_forget(rpc->remote, call);
}

struct call *mq_call_free(struct call *call)
{
	if (call->frame)
		evbuffer_free(call->frame);
	mq_rpc_unref(call->rpc);
	free(call);
	return NULL;
}

/* Of a detached call. */
static void call_deliver(struct call *call, int r, const struct mq_command *answer, const char *why)
{
	mq_rpc_done done = call->done;
	void *user = call->user;

	mq_call_free(call);
	done(r, answer, why, user);
}

static void call_on_deadline(struct mq_timer *timer)
{
	struct call *call = (struct call *)((char *)timer - offsetof(struct call, deadline));
	struct mq_rpc *rpc = call->rpc;
	int r = -ETIMEDOUT;
	char why[400];

	if (call->frame)
		r = mq_remote_why_waiting(rpc->remote, why, sizeof why);
	else
		snprintf(why, sizeof why, "no answer from %s within %lld ms", rpc->peer, (long long)call->timeout_ms);
	mq_call_detach(call);
	call_deliver(call, r, NULL, why);
}

int mq_call_new(struct call **ret, struct mq_rpc *rpc, int64_t timeout_ms, mq_rpc_done done, void *user)
{
	struct call *call;
	int r;

	assert(done);
	r = rpc_reserve(rpc);
	if (r < 0)
		return r;
	call = calloc(1, sizeof *call);
	if (!call)
		return -ENOMEM;
	call->deadline.fire = call_on_deadline;
	r = mq_timer_set(rpc->loop, &call->deadline, mq_loop_mono_ms(rpc->loop) + timeout_ms);
	if (r < 0) {
		free(call);
		return r;
	}
	call->rpc = mq_rpc_ref(rpc);
	call->timeout_ms = timeout_ms;
	call->done = done;
	call->user = user;
	rpc_insert(rpc, call);
	*ret = call;
	return 0;
}

void mq_rpc_fail(struct mq_rpc *rpc, bool waiting, int r, const char *why)
{
	struct calls failed = STAILQ_HEAD_INITIALIZER(failed);
	struct call *call;

	for (unsigned i = 0; i < rpc->n_slots; i++) {
		call = rpc->slots[i];
		if (!call || (call->frame && !waiting))
			continue;
		mq_call_detach(call);
		STAILQ_INSERT_TAIL(&failed, call, link);
	}
	while ((call = STAILQ_FIRST(&failed))) {
		STAILQ_REMOVE_HEAD(&failed, link);
		call_deliver(call, r, NULL, why);
	}
}

static int rpc_of(struct mq_conn *conn)
{
	if (atomic_load_explicit(&conn->state, memory_order_relaxed) != CONN_OPEN)
		return -ENOTCONN;
	if (!conn->rpc)
		conn->rpc = mq_rpc_new(conn->loop, conn->peer.text);
	return conn->rpc ? 0 : -ENOMEM;
}

int mq_rpc_call(struct mq_conn *conn, struct mq_command *cmd, struct evbuffer *body, int64_t timeout_ms, mq_rpc_done done,
		void *user)
{
	struct call *call;
	int r;

	assert(mq_loop_is_current(conn->loop));
	r = rpc_of(conn);
	if (r < 0)
		return r;
	r = mq_call_new(&call, conn->rpc, timeout_ms, done, user);
	if (r < 0)
		return r;
	cmd->opaque = call->opaque;
	r = mq_conn_send(conn, cmd, body);
	if (r < 0) {
		mq_call_detach(call);
		mq_call_free(call);
	}
	return r;
}

int mq_rpc_oneway(struct mq_conn *conn, struct mq_command *cmd, struct evbuffer *body)
{
	int r;

	r = rpc_of(conn);
	if (r < 0)
		return r;
	cmd->opaque = (int32_t)conn->rpc->next_opaque++;
	cmd->flag |= MQ_FLAG_ONEWAY;
	return mq_conn_send(conn, cmd, body);
}

int mq_rpc_answer(struct mq_conn *conn, const struct mq_command *answer)
{
	struct call *call = rpc_find(conn->rpc, answer->opaque);

	/* A call that still waits for a connection cannot have been answered by this one. */
	if (!call || call->frame)
		return 0;
	mq_call_detach(call);
	call_deliver(call, 0, answer, NULL);
	return 1;
}

void mq_rpc_closed(struct mq_conn *conn, int reason)
{
	struct mq_rpc *rpc = conn->rpc;
	char why[400];

	if (!rpc || rpc->n_calls == 0)
		return;
	if (reason >= 0)
		reason = -ECONNRESET;
	snprintf(why, sizeof why, "connection to %s was lost: %s", rpc->peer, strerror(-reason));
	mq_rpc_ref(rpc);
	mq_rpc_fail(rpc, false, reason, why);
	mq_rpc_unref(rpc);
}

void mq_rpc_dropped(struct mq_conn *conn)
{
	mq_rpc_closed(conn, conn->reason);
	conn->rpc = mq_rpc_unref(conn->rpc);
}
