#include "libmq/net/request.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "libmq/base/log.h"
#include "libmq/net/internal.h"
#include "libmq/net/messages.h"
#include "libmq/net/rpc.h"
#include "libmq/wire/codes.h"

void mq_dispatch_check(const struct mq_dispatch *d)
{
	for (unsigned i = 0; i < d->n_lines; i++) {
		assert(d->lines[i].handle);
		assert(d->lines[i].permission != MQ_PERM_UNSET);
		assert(i == 0 || d->lines[i - 1].code < d->lines[i].code);
	}
}

static const struct mq_dispatch_line *dispatch_find(const struct mq_dispatch *d, int code)
{
	unsigned low = 0, high = d->n_lines;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (d->lines[middle].code == code)
			return &d->lines[middle];
		if (d->lines[middle].code < code)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* ---- counters: several loops share a line's, so they are added once per run of the same line ---- */

void mq_requests_flush_counts(struct mq_loop *loop)
{
	if (loop->n_count > 0)
		__atomic_fetch_add(&loop->count->n_requests, loop->n_count, __ATOMIC_RELAXED);
	loop->n_count = 0;
}

static struct mq_dispatch_count *request_count(const struct mq_request *req)
{
	if (!req->line || !req->dispatch->counts)
		return NULL;
	return &req->dispatch->counts[req->line - req->dispatch->lines];
}

static void request_count_in(struct mq_loop *loop, const struct mq_request *req)
{
	struct mq_dispatch_count *count = request_count(req);

	mq_stat_add(&loop->stats.n_requests, 1);
	if (!count)
		return;
	if (count != loop->count)
		mq_requests_flush_counts(loop);
	loop->count = count;
	loop->n_count++;
}

static void request_count_out(const struct mq_request *req, int code)
{
	struct mq_dispatch_count *count = request_count(req);

	if (count && code != MQ_SUCCESS)
		__atomic_fetch_add(&count->n_errors, 1, __ATOMIC_RELAXED);
}

/* ---- life of a request ---- */

static size_t request_parked_size(const struct mq_request *req)
{
	return offsetof(struct mq_request, cmd.fields) + req->cmd.n_fields * sizeof req->cmd.fields[0];
}

/* What a request in flight costs. */
static size_t request_size(const struct mq_request *req)
{
	return (req->is_parked ? request_parked_size(req) : sizeof *req) + sizeof *req->frame + req->frame->size;
}

/* Members are set by whoever takes it: clearing 3 KiB per request would cost more than decoding it. */
static struct mq_request *request_take(struct mq_loop *loop)
{
	struct mq_request *req = loop->requests;

	if (!req)
		return malloc(sizeof *req);
	loop->requests = req->state;
	loop->n_spare_requests--;
	return req;
}

static void request_put(struct mq_loop *loop, struct mq_request *req)
{
	if (loop->n_spare_requests >= NET_SPARE_REQUESTS || !loop->base) {
		free(req);
		return;
	}
	req->state = loop->requests;
	loop->requests = req;
	loop->n_spare_requests++;
}

void mq_requests_free_spare(struct mq_loop *loop)
{
	while (loop->requests) {
		struct mq_request *req = loop->requests;

		loop->requests = req->state;
		free(req);
	}
	loop->n_spare_requests = 0;
}

static void request_end(struct mq_request *req)
{
	struct mq_conn *conn = req->conn;
	struct mq_loop *loop = conn->loop;

	mq_conn_release(conn, request_size(req));
	mq_frame_unref(req->frame);
	if (req->is_parked)
		free(req);
	else
		request_put(loop, req);
	mq_conn_unref(conn);
}

struct mq_request *mq_request_park(struct mq_request *req)
{
	struct mq_conn *conn = req->conn;
	struct mq_request *parked;
	size_t size = request_parked_size(req);

	if (req->is_parked)
		return req;
	parked = malloc(size);
	if (!parked)
		return req;
	memcpy(parked, req, size);
	parked->is_parked = true;
	request_put(conn->loop, req);
	mq_conn_release(conn, sizeof *req - size);
	return parked;
}

bool mq_request_is_oneway(const struct mq_request *req)
{
	return req->cmd.flag & MQ_FLAG_ONEWAY;
}

/* ---- answers ---- */

void mq_request_answer(const struct mq_request *req, struct mq_command *answer, int code)
{
	mq_command_response(answer, &req->cmd, code);
	if (req->dispatch->decorate)
		req->dispatch->decorate(req, answer);
}

int mq_reply(struct mq_request *req, struct mq_command *answer, struct evbuffer *body)
{
	assert(mq_loop_is_current(req->conn->loop));
	request_count_out(req, answer->code);
	if (!mq_request_is_oneway(req)) {
		/* A connection that cannot take it is closed by that; nobody else is left to be told. */
		if (mq_conn_send(req->conn, answer, body) < 0)
			mq_conn_close(req->conn, -ENOBUFS);
	} else if (body) {
		evbuffer_drain(body, evbuffer_get_length(body));
	}
	request_end(req);
	return 0;
}

int mq_reply_ok(struct mq_request *req)
{
	struct mq_command answer;

	mq_request_answer(req, &answer, MQ_SUCCESS);
	return mq_reply(req, &answer, NULL);
}

int mq_reply_code(struct mq_request *req, int code, const char *remark_fmt, ...)
{
	struct mq_command answer;
	char remark[1024];
	va_list ap;

	mq_request_answer(req, &answer, code);
	if (remark_fmt) {
		va_start(ap, remark_fmt);
		vsnprintf(remark, sizeof remark, remark_fmt, ap);
		va_end(ap);
		answer.remark = mq_slice_of(remark);
	}
	return mq_reply(req, &answer, NULL);
}

int mq_reply_none(struct mq_request *req)
{
	request_end(req);
	return 0;
}

/* ---- dispatch ---- */

static void request_log_failed(const struct mq_request *req, int r)
{
	char peer[MQ_HOST_TEXT_MAX + 8], code[24], number[24];
	const char *fields[] = { peer, code, number, NULL };
	struct mq_loop *loop = req->conn->loop;
	char more[MQ_LOG_MORE_MAX];

	if (!mq_log_limit_take(&loop->log_failed, mq_loop_mono_ms(loop), more))
		return;
	snprintf(peer, sizeof peer, "MQ_PEER=%s", req->conn->peer.text);
	snprintf(code, sizeof code, "MQ_CODE=%d", req->cmd.code);
	snprintf(number, sizeof number, "ERRNO=%d", -r);
	mq_log_fields(LOG_ERR, MQ_MSG_REQUEST_FAILED, fields, "request %d of %s failed: %s%s", req->cmd.code,
		      req->conn->peer.text, strerror(-r), more);
}

static void request_handle(struct mq_request *req)
{
	int r;

	if (!req->line) {
		mq_reply_code(req, MQ_REQUEST_CODE_NOT_SUPPORTED, " request type %d not supported", req->cmd.code);
		return;
	}
	r = req->line->handle(req);
	if (r < 0) {
		request_log_failed(req, r);
		mq_reply_code(req, MQ_SYSTEM_ERROR, "request %d failed: %s", req->cmd.code, strerror(-r));
	}
}

static int dispatch_frame(struct mq_conn *conn, struct mq_frame *frame, const struct mq_dispatch *d, bool is_fast)
{
	struct mq_loop *loop = conn->loop;
	struct mq_request *req;
	struct mq_error err;
	int r;

	req = request_take(loop);
	if (!req)
		return -ENOMEM;
	r = mq_command_decode(&req->cmd, frame, &err);
	if (r < 0)
		mq_conn_explain(conn, err.text);
	else if (req->cmd.flag & MQ_FLAG_RESPONSE)
		(void)mq_rpc_answer(conn, &req->cmd); /* too late or never asked for: dropped */
	if (r < 0 || (req->cmd.flag & MQ_FLAG_RESPONSE)) {
		request_put(loop, req);
		return r;
	}

	req->conn = mq_conn_ref(conn);
	req->frame = mq_frame_ref(frame);
	req->server = d->server;
	req->dispatch = d;
	req->line = dispatch_find(d, req->cmd.code);
	if (is_fast && req->line && req->line->not_on_fast_port)
		req->line = NULL;
	req->received_at_ms = mq_loop_wall_ms(loop);
	req->state = NULL;
	req->is_parked = false;
	mq_conn_charge(conn, request_size(req));
	request_count_in(loop, req);
	request_handle(req);
	return 0;
}

static int dispatch_on_frame(struct mq_conn *conn, struct mq_frame *frame, void *user)
{
	return dispatch_frame(conn, frame, user, false);
}

static int dispatch_on_frame_fast(struct mq_conn *conn, struct mq_frame *frame, void *user)
{
	return dispatch_frame(conn, frame, user, true);
}

static void dispatch_on_close(struct mq_conn *conn, int reason, void *user)
{
	const struct mq_dispatch *d = user;

	mq_rpc_closed(conn, reason);
	if (d->on_close)
		d->on_close(conn, d->server);
}

const struct mq_conn_events mq_dispatch_events = {
	.on_frame = dispatch_on_frame,
	.on_close = dispatch_on_close,
};

const struct mq_conn_events mq_dispatch_events_fast = {
	.on_frame = dispatch_on_frame_fast,
	.on_close = dispatch_on_close,
};
