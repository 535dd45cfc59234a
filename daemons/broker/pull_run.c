/* A pull that was checked: scanned, answered, parked, sent to a reader. Which, behaviour.md section 10 says. */
#include <stddef.h>

#include "daemons/broker/filter_sql.h"
#include "daemons/broker/pull.h"
#include "daemons/broker/pulled.h"
#include "daemons/broker/stats.h"

enum {
	PULL_NO_MATCH_MS = 5000,         /* a held pull that skipped messages says so after Apache's round */
	PULL_HOLD_MAX_MS = 24 * 3600000, /* nobody waits longer, whatever the header says */
};

/* GetMessageStatus, its name is the remark. The code of the first two depends on the offset. */
enum pull_status {
	PULL_NO_MESSAGE_IN_QUEUE,
	PULL_OFFSET_FOUND_NULL,
	PULL_OFFSET_TOO_SMALL,
	PULL_OFFSET_OVERFLOW_ONE,
	PULL_OFFSET_OVERFLOW_BADLY,
	PULL_FOUND,
	PULL_NO_MATCHED_MESSAGE,
	PULL_MESSAGE_WAS_REMOVING,
	PULL_OFFSET_RESET,
};
static const struct {
	const char *name;
	int code;
} pull_statuses[] = {
	[PULL_NO_MESSAGE_IN_QUEUE] = { "NO_MESSAGE_IN_QUEUE", MQ_PULL_OFFSET_MOVED },
	[PULL_OFFSET_FOUND_NULL] = { "OFFSET_FOUND_NULL", MQ_PULL_NOT_FOUND },
	[PULL_OFFSET_TOO_SMALL] = { "OFFSET_TOO_SMALL", MQ_PULL_OFFSET_MOVED },
	[PULL_OFFSET_OVERFLOW_ONE] = { "OFFSET_OVERFLOW_ONE", MQ_PULL_NOT_FOUND },
	[PULL_OFFSET_RESET] = { "OFFSET_RESET", MQ_PULL_OFFSET_MOVED },
	[PULL_OFFSET_OVERFLOW_BADLY] = { "OFFSET_OVERFLOW_BADLY", MQ_PULL_OFFSET_MOVED },
	[PULL_FOUND] = { "FOUND", MQ_SUCCESS },
	[PULL_NO_MATCHED_MESSAGE] = { "NO_MATCHED_MESSAGE", MQ_PULL_RETRY_IMMEDIATELY },
	[PULL_MESSAGE_WAS_REMOVING] = { "MESSAGE_WAS_REMOVING", MQ_PULL_RETRY_IMMEDIATELY },
};

/* ---- Answering and waiting ---- */

static void pull_answer(struct pull *p, enum pull_status status, int64_t next)
{
	struct broker *b = p->broker;
	struct mq_request *req = p->req;
	int code = pull_statuses[status].code;
	struct mq_command answer;

	if (status == PULL_NO_MESSAGE_IN_QUEUE && p->h.offset == 0)
		code = MQ_PULL_NOT_FOUND;
	pulled_set(b->pulled, p->h.group, p->h.topic, p->h.queue_id, next);
	mq_request_answer(req, &answer, code);
	answer.remark = mq_slice_of(pull_statuses[status].name);
	mq_command_add_i64(&answer, "suggestWhichBrokerId", 0); /* slaveReadEnable=false: the master */
	mq_command_add_i64(&answer, "nextBeginOffset", next);
	mq_command_add_i64(&answer, "minOffset", store_queue_min(p->queue));
	mq_command_add_i64(&answer, "maxOffset", store_queue_max(p->queue));
	mq_command_add_i64(&answer, "topicSysFlag", p->topic.sys_flag);
	mq_command_add_i64(&answer, "groupSysFlag", p->group.sys_flag);
	if (status == PULL_FOUND)
		stats_get(b->stats, (unsigned)p->n_messages, (uint64_t)p->n_bytes);
	else
		stats_get_missed(b->stats);
	answer.body = p->run; /* when there is no p->body */
	mq_reply(req, &answer, p->body);
	pull_free(p);
}

static void pull_woken(struct hold_entry *e, enum hold_reason reason)
{
	struct pull *p = (struct pull *)((char *)e - offsetof(struct pull, hold));
	int r;

	if (reason == HOLD_CLOSED) {
		mq_reply_none(p->req);
		pull_free(p);
		return;
	}
	p->may_hold = reason == HOLD_GREW;
	p->has_waited = false;
	if (!pull_check_again(p))
		return;
	/* Of a topic that was deleted and made again it is another one. */
	r = store_queue_open(p->broker->store, p->h.topic, p->h.queue_id, &p->queue);
	if (r == 0) {
		pull_run(p);
	} else {
		struct mq_request *req = p->req;

		pull_free(p);
		broker_reply_store(req, r);
	}
}

static int64_t pull_hold_ms(const struct pull *p)
{
	int64_t ms = p->h.suspend_ms;

	if (!config_get(&p->broker->config, longPollingEnable))
		ms = config_get(&p->broker->config, shortPollingTimeMills);
	return ms < 0 ? 0 : ms > PULL_HOLD_MAX_MS ? PULL_HOLD_MAX_MS : ms;
}

/* False: the queue grew meanwhile, look again. */
static bool pull_park(struct pull *p)
{
	struct mq_loop *loop = mq_conn_loop(p->req->conn);
	int64_t now_ms = mq_loop_mono_ms(loop);

	if (!p->is_timed)
		p->hold.deadline_ms = now_ms + pull_hold_ms(p);
	p->is_timed = true;
	if (p->has_skipped && p->hold.deadline_ms > now_ms + PULL_NO_MATCH_MS)
		p->hold.deadline_ms = now_ms + PULL_NO_MATCH_MS;
	p->req = mq_request_park(p->req);
	p->hold.queue = p->queue;
	p->hold.owner = p->req->conn;
	p->hold.offset = p->from;
	p->hold.wake = pull_woken;
	return hold_park(broker_loop_hold(broker_loop_of(p->broker, p->req->conn)), &p->hold);
}

static bool pull_can_hold(const struct pull *p)
{
	return p->may_hold && !atomic_load(&p->broker->is_stopping) && mq_conn_is_open(p->req->conn);
}

/* After a scan. False: run again. */
static bool pull_settle(struct pull *p)
{
	struct mq_request *req = p->req;
	enum pull_status status = PULL_FOUND;
	int r = p->has_failed ? -ENOMEM : p->result;

	if (r < 0) {
		pull_free(p);
		broker_reply_store(req, r);
		return true;
	}
	if (p->n_messages > 0) {
		pull_answer(p, PULL_FOUND, p->next);
		return true;
	}
	if (p->next == p->from) {
		pull_answer(p, PULL_OFFSET_FOUND_NULL, p->next);
		return true;
	}
	status = p->n_scanned > 0 ? PULL_NO_MATCHED_MESSAGE : PULL_MESSAGE_WAS_REMOVING;
	/* A pull that waits is not disturbed by messages that it does not want: it goes on waiting behind them. */
	if (p->is_timed && status == PULL_NO_MATCHED_MESSAGE && p->n_steps <= FILTER_SQL_SCAN_STEPS && pull_can_hold(p)) {
		p->has_skipped = true;
		p->from = p->next;
		return pull_park(p);
	}
	pull_answer(p, status, p->next);
	return true;
}

/* ---- Reading ---- */

static void pull_read_disk(void *arg)
{
	struct pull *p = arg;

	/* Who asked for a lot and went away must not keep the readers from others. */
	if (!mq_conn_is_open(p->req->conn)) {
		p->result = -ENOTCONN;
		return;
	}
	pull_scan(p, STORE_DISK);
}

static void pull_read_done(void *arg)
{
	struct pull *p = arg;

	if (!pull_settle(p))
		pull_run(p);
}

static void pull_fetched(struct mq_post *post)
{
	struct pull *p = (struct pull *)((char *)post - offsetof(struct pull, wait.post));

	if (!mq_conn_is_open(p->req->conn)) {
		mq_reply_none(p->req);
		pull_free(p);
		return;
	}
	pull_run(p);
}

/* A group that goes through its backlog: a reader fetches what this pull and those after it want. */
static bool pull_fetch(struct pull *p)
{
	struct mq_loop *loop = mq_conn_loop(p->req->conn);

	if (p->has_waited || pulled_get(p->broker->pulled, p->h.group, p->h.topic, p->h.queue_id) != p->from)
		return false;
	p->has_waited = true;
	p->wait.loop = loop;
	p->wait.post.run = pull_fetched;
	return ahead_fetch(p->broker->ahead, p->queue, p->next, &p->wait, mq_loop_mono_ms(loop));
}

/* The first matching line of behaviour.md section 10 that needs no reading. Returns false when there is something to read. */
static bool pull_is_outside(const struct pull *p, enum pull_status *ret, int64_t *ret_next)
{
	int64_t min = store_queue_min(p->queue), max = store_queue_max(p->queue);

	*ret_next = max;
	if (max == 0) {
		*ret = PULL_NO_MESSAGE_IN_QUEUE;
	} else if (p->from < min) {
		*ret = PULL_OFFSET_TOO_SMALL;
		*ret_next = min;
	} else if (p->from == max) {
		*ret = PULL_OFFSET_OVERFLOW_ONE;
	} else if (p->from > max) {
		*ret = PULL_OFFSET_OVERFLOW_BADLY;
	} else {
		return false;
	}
	return true;
}

static bool pull_is_waiting(const struct pull *p, enum pull_status status)
{
	return status == PULL_OFFSET_OVERFLOW_ONE || (status == PULL_NO_MESSAGE_IN_QUEUE && p->from == 0);
}

void pull_run(struct pull *p)
{
	enum pull_status status;
	int64_t next;
	int r;

	if (pulled_take(p->broker->resets, p->h.group, p->h.topic, p->h.queue_id, &next)) {
		pull_answer(p, PULL_OFFSET_RESET, next);
		return;
	}
	for (;;) {
		if (pull_is_outside(p, &status, &next)) {
			if (pull_is_waiting(p, status) && pull_can_hold(p)) {
				if (pull_park(p))
					return;
				continue;
			}
			if (p->has_skipped && status == PULL_OFFSET_OVERFLOW_ONE)
				status = PULL_NO_MATCHED_MESSAGE;
			pull_answer(p, status, next);
			return;
		}
		pull_begin_scan(p);
		pull_scan_ahead(p);
		if (p->n_messages == 0 && !p->is_full && !p->has_failed)
			pull_scan(p, STORE_MEMORY);
		/* What memory had is worth an answer; the rest comes with the next pull. */
		if (p->result == STORE_WOULD_BLOCK && p->n_messages == 0 && !p->has_failed)
			break;
		if (pull_settle(p))
			return;
	}
	if (pull_fetch(p))
		return;
	r = broker_offload(p->broker, p->req->conn, pull_read_disk, pull_read_done, p);
	if (r < 0) {
		struct mq_request *req = p->req;

		pull_free(p);
		broker_reply_store(req, r);
	}
}
