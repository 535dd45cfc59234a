/* PULL_MESSAGE (11), LITE_PULL_MESSAGE (361); reference: protocol/requests-broker.md section 3.1, behaviour.md sections 10, 11.
 *
 *   handle_pull_message ─> checks ─> pull_run ─> pull_scan on the loop, from memory ─> pull_settle ─> answer
 *                                     ^  ^           ├─> on a reader, from the disk ──────^     └──> hold
 *                                     │  └───────────┴─> ahead.c: a reader fetches a stretch           │
 *                                     └───────────────── woken by a message ───────────────────────────┘
 *
 * A stored record is the wire record: what matches is appended to the answer's body as it is. */
#include <errno.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemons/broker/ahead.h"
#include "daemons/broker/broker.h"
#include "daemons/broker/clients.h"
#include "daemons/broker/filter_sql.h"
#include "daemons/broker/filter_tag.h"
#include "daemons/broker/groups.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/hold.h"
#include "daemons/broker/pulled.h"
#include "daemons/broker/stats.h"
#include "daemons/broker/topics.h"

enum pull_flag {
	PULL_COMMIT = 1,       /* commitOffset is valid */
	PULL_SUSPEND = 2,      /* wait for a message */
	PULL_SUBSCRIPTION = 4, /* the subscription is in the header */
};

/* forbiddenType of NO_PERMISSION answers (ForbiddenType). */
enum { FORBIDDEN_BROKER = 1, FORBIDDEN_GROUP, FORBIDDEN_TOPIC, FORBIDDEN_BROADCASTING };

enum {
	PULL_SCAN_MIN = 800,  /* filtering looks at so many messages, or at maxMsgNums if that is more */
	PULL_SCAN_MAX = 4000, /* but never at more: nobody holds up the loop by asking for millions */
	PULL_NO_MATCH_MS = 5000, /* a held pull that skipped messages says so after Apache's round */
	PULL_HOLD_MAX_MS = 24 * 3600000,  /* nobody waits longer, whatever the header says */
	PULL_HEADER_ALLOWANCE = 64 << 10, /* bytes of a frame that are kept free for the header */
};

#define PULL_FIELDS(X)                                        \
	X(slice, group, "consumerGroup", REQUIRED)            \
	X(slice, topic, "topic", REQUIRED)                    \
	X(i32, queue_id, "queueId", REQUIRED)                 \
	X(i64, offset, "queueOffset", REQUIRED)               \
	X(i32, max_messages, "maxMsgNums", REQUIRED)          \
	X(i32, sys_flag, "sysFlag", REQUIRED)                 \
	X(i64, commit_offset, "commitOffset", REQUIRED)       \
	X(i64, suspend_ms, "suspendTimeoutMillis", REQUIRED)  \
	X(slice, expression, "subscription", OPTIONAL)        \
	X(i64, sub_version, "subVersion", REQUIRED)           \
	X(slice, expression_type, "expressionType", OPTIONAL) \
	X(i32, max_bytes, "maxMsgBytes", OPTIONAL)
MQ_HEADER(pull, PULL_FIELDS)

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

struct pull {
	struct mq_request *req;
	struct broker *broker;
	struct pull_header h;
	struct topic topic;
	struct group group;
	struct subscription sub; /* with its reference to a filter */
	unsigned n_steps;        /* that the filter took */
	struct store_queue *queue;
	struct hold_entry hold;
	bool may_hold;    /* this attempt may wait */
	bool is_timed;    /* hold.deadline_ms is set */
	bool has_skipped; /* looked at messages while held; none matched */
	int64_t from;     /* where the scan begins */

	/* of the scan: */
	enum store_tier tier;
	struct stretch *stretch;                      /* ref; what is scanned, or what `run` points into */
	struct evbuffer *body;                        /* owned; NULL until something was copied */
	struct mq_slice run;                          /* neighbours of the stretch, not copied yet; all there is when there is no body */
	int64_t max_messages, max_bytes, max_scanned; /* limits */
	int64_t n_messages, n_bytes, n_scanned;
	int64_t next; /* behind the last message that was looked at */
	bool is_full, has_failed;
	int result; /* of store_scan() */
	int made;   /* of groups_get() */

	struct ahead_wait wait;
	bool has_waited; /* for a stretch; a second time it reads by itself */
};

static void pull_free(struct pull *p)
{
	stretch_unref(p->stretch);
	if (p->body)
		evbuffer_free(p->body);
	filter_sql_unref(p->sub.sql);
	free(p);
}

static int pull_refuse(struct pull *p, int code, int forbidden, const char *fmt, ...) _printf_(4, 5);

/* An answer without result: extFields are there, though empty. */
static int pull_refuse(struct pull *p, int code, int forbidden, const char *fmt, ...)
{
	struct mq_request *req = p->req;
	struct mq_command answer;
	char remark[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(remark, sizeof remark, fmt, ap);
	va_end(ap);
	pull_free(p);
	mq_request_answer(req, &answer, code);
	answer.has_fields = true;
	answer.remark = mq_slice_of(remark);
	if (forbidden)
		mq_command_add_i64(&answer, "forbiddenType", forbidden);
	return mq_reply(req, &answer, NULL);
}

/* ---- Answering ---- */

static int pull_answer(struct pull *p, enum pull_status status, int64_t next)
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
	return 0;
}

/* ---- Scanning ---- */

/* isTheBatchFull(): the first message always fits. */
static bool pull_is_full(const struct pull *p, size_t size)
{
	const struct broker_config *config = &p->broker->config;
	bool is_memory = p->tier == STORE_MEMORY;
	int64_t max_bytes = is_memory ? config_get(config, maxTransferBytesOnMessageInMemory)
				      : config_get(config, maxTransferBytesOnMessageInDisk);
	int64_t max_count = is_memory ? config_get(config, maxTransferCountOnMessageInMemory)
				      : config_get(config, maxTransferCountOnMessageInDisk);
	int64_t n_bytes = p->n_bytes + (int64_t)size;

	if (p->n_messages == 0)
		return false;
	return p->n_messages >= p->max_messages || n_bytes > p->max_bytes || n_bytes > max_bytes ||
	       p->n_messages >= max_count;
}

/* A filter that takes long ends the scan, and the waiting: the client comes again. */
static bool pull_wants(struct pull *p, int64_t tag_hash, struct mq_slice record)
{
	bool wants;

	if (!p->sub.sql)
		return filter_tag_matches(&p->sub, tag_hash);
	wants = filter_sql_matches(p->sub.sql, record, &p->n_steps);
	if (p->n_steps > FILTER_SQL_SCAN_STEPS)
		p->max_scanned = p->n_scanned;
	return wants;
}

static bool pull_copy(struct pull *p, struct mq_slice bytes)
{
	if (!p->body)
		p->body = evbuffer_new();
	return p->body && evbuffer_add(p->body, bytes.p, bytes.n) == 0;
}

/* The run goes to the body. */
static bool pull_end_run(struct pull *p)
{
	struct mq_slice run = p->run;

	p->run = (struct mq_slice){};
	return run.n == 0 || pull_copy(p, run);
}

/* Puts the record into the answer. Those of a stretch are neighbours unless the filter is between them: copied at once, by whoever
 * encodes the answer. */
static bool pull_keep(struct pull *p, struct mq_slice record)
{
	if (!p->stretch)
		return pull_copy(p, record);
	if (p->run.n > 0 && p->run.p + p->run.n == record.p) {
		p->run.n += record.n;
		return true;
	}
	if (!pull_end_run(p))
		return false;
	p->run = record;
	return true;
}

static enum store_verdict pull_on_record(void *user, int64_t queue_offset, int64_t tag_hash,
					 struct mq_slice record)
{
	struct pull *p = user;

	if (p->n_scanned >= p->max_scanned || pull_is_full(p, record.n)) {
		p->is_full = true;
		return STORE_STOP;
	}
	p->n_scanned++;
	p->next = queue_offset + 1;
	if (!pull_wants(p, tag_hash, record))
		return STORE_GO_ON;
	if (!pull_keep(p, record)) {
		p->has_failed = true;
		return STORE_STOP;
	}
	p->n_messages++;
	p->n_bytes += (int64_t)record.n;
	return STORE_GO_ON;
}

/* On the loop from memory, on a reader from the disk. */
static void pull_scan(struct pull *p, enum store_tier tier)
{
	int64_t next = p->next;

	p->tier = tier;
	p->result = store_scan(p->broker->store, p->queue, p->next, tier, pull_on_record, p, &next);
	if (p->is_full)
		p->result = 0; /* an error behind what fits concerns who comes there */
	else if (p->result >= 0 && next > p->next)
		p->next = next; /* what retention took away meanwhile is skipped, too */
}

/* What was read ahead, if anything. */
static void pull_scan_ahead(struct pull *p)
{
	struct ahead *a = p->broker->ahead;
	int64_t now_ms = mq_loop_mono_ms(mq_conn_loop(p->req->conn));
	struct stretch *s;

	p->tier = STORE_MEMORY;
	while (!p->is_full && !p->has_failed && (s = ahead_find(a, p->queue, p->next, now_ms))) {
		/* The run of the one before, which goes. */
		if (!pull_end_run(p))
			p->has_failed = true;
		stretch_unref(p->stretch);
		p->stretch = s;
		if (!p->has_failed)
			stretch_scan(s, p->next, pull_on_record, p);
		ahead_passed(a, s, p->next, now_ms);
	}
	if (p->body && !pull_end_run(p))
		p->has_failed = true;
	if (p->n_messages == 0)
		p->stretch = stretch_unref(p->stretch);
}

static int pull_refuse_group(struct pull *p)
{
	return pull_refuse(p, MQ_SUBSCRIPTION_GROUP_NOT_EXIST, 0,
			   "subscription group [%.*s] does not exist, " BROKER_FAQ, MQ_FMT(p->h.group));
}

/* Whether the group may read the queue: 1, or what the refusal returned. Done again when a pull that waited wakes: an administrator may
 * have taken a permission, or the topic, away. */
static int pull_check_access(struct pull *p)
{
	if (!p->group.consume_enable)
		return pull_refuse(p, MQ_NO_PERMISSION, FORBIDDEN_GROUP,
				   "subscription group no permission, %.*s", MQ_FMT(p->h.group));
	if (topics_get(p->broker->topics, p->h.topic, &p->topic) < 0)
		return pull_refuse(p, MQ_TOPIC_NOT_EXIST, 0,
				   "topic[%.*s] not exist, apply first please! " BROKER_FAQ,
				   MQ_FMT(p->h.topic));
	if (!(p->topic.perm & PERM_READ))
		return pull_refuse(p, MQ_NO_PERMISSION, FORBIDDEN_TOPIC,
				   "the topic[%.*s] pulling message is forbidden", MQ_FMT(p->h.topic));
	if (p->h.queue_id < 0 || p->h.queue_id >= p->topic.read_queues)
		return pull_refuse(p, MQ_INVALID_PARAMETER, 0,
				   "queueId[%d] is illegal, topic:[%.*s] topicConfig.readQueueNums:[%d] consumer:[/%s]",
				   p->h.queue_id, MQ_FMT(p->h.topic), p->topic.read_queues,
				   mq_conn_peer(p->req->conn)->text);
	return 1;
}

static void pull_run(struct pull *p);

static void pull_woken(struct hold_entry *e, enum hold_reason reason)
{
	struct pull *p = (struct pull *)((char *)e - offsetof(struct pull, hold));

	if (reason == HOLD_CLOSED) {
		mq_reply_none(p->req);
		pull_free(p);
		return;
	}
	p->may_hold = reason == HOLD_GREW;
	p->has_waited = false;
	if (groups_find(p->broker->groups, p->h.group, &p->group) < 0)
		pull_refuse_group(p);
	else if (pull_check_access(p) > 0)
		pull_run(p);
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

static void pull_begin_scan(struct pull *p)
{
	p->n_messages = p->n_bytes = p->n_scanned = p->result = 0;
	p->next = p->from;
	p->is_full = p->has_failed = false;
	p->max_messages = p->h.max_messages > 0 ? p->h.max_messages : 1;
	p->max_scanned = p->max_messages < PULL_SCAN_MIN   ? PULL_SCAN_MIN
			 : p->max_messages > PULL_SCAN_MAX ? PULL_SCAN_MAX
							   : p->max_messages;
	p->max_bytes = p->broker->config.frameMaxLength - PULL_HEADER_ALLOWANCE;
	if (p->h.max_bytes > 0 && p->h.max_bytes < p->max_bytes)
		p->max_bytes = p->h.max_bytes;
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

/* Looks, and answers, parks, or sends a reader to the disk. */
static void pull_run(struct pull *p)
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

/* ---- Checking, in upstream's order ---- */

static void pull_start(struct pull *p)
{
	struct broker *b = p->broker;
	struct mq_request *req = p->req;
	int r = store_queue_open(b->store, p->h.topic, p->h.queue_id, &p->queue);

	if (r == 0 && (p->h.sys_flag & PULL_COMMIT) && p->h.commit_offset >= 0 &&
	    pulled_get(b->resets, p->h.group, p->h.topic, p->h.queue_id) < 0)
		r = store_offset_set(b->store, p->h.group, p->h.topic, p->h.queue_id, p->h.commit_offset);
	if (r < 0) {
		pull_free(p);
		broker_reply_store(req, r);
		return;
	}
	p->may_hold = p->h.sys_flag & PULL_SUSPEND;
	p->from = p->h.offset;
	pull_run(p);
}

static bool pull_is_tag(struct mq_slice type)
{
	return type.n == 0 || mq_slice_is(type, "TAG");
}

static int pull_refuse_type(struct pull *p, struct mq_slice type)
{
	return pull_refuse(p, MQ_SYSTEM_ERROR, 0, "The broker does not support consumer to filter message by %.*s", MQ_FMT(type));
}

/* An expression that does not compile matches everything, as upstream; one that is too big for us is refused. */
static int pull_check_own_sql(struct pull *p)
{
	struct mq_error err = {};
	int r = -EINVAL;

	if (p->h.expression.n == 0)
		return pull_refuse(p, MQ_SUBSCRIPTION_PARSE_FAILED, 0, "parse the consumer's subscription failed");
	if (!config_get(&p->broker->config, enablePropertyFilter))
		return pull_refuse_type(p, p->h.expression_type);
	if (mq_slice_is(p->h.expression_type, "SQL92"))
		r = filter_sql_compile(&p->sub.sql, p->h.expression, &p->broker->filter_bytes, &err);
	if (r == -E2BIG)
		return pull_refuse(p, MQ_SUBSCRIPTION_PARSE_FAILED, 0, "parse the consumer's subscription failed: %s", err.text);
	if (r == -EDQUOT || r == -ENOMEM)
		return pull_refuse(p, MQ_SYSTEM_BUSY, 0, "%s", err.text);
	p->sub.matches_all = r == -EINVAL;
	return 1;
}

static int pull_check_own_subscription(struct pull *p)
{
	p->sub = (struct subscription){ .is_tag = pull_is_tag(p->h.expression_type) };
	if (!p->sub.is_tag)
		return pull_check_own_sql(p);
	if (filter_tag_parse(&p->sub, p->h.expression) < 0)
		return pull_refuse(p, MQ_SUBSCRIPTION_PARSE_FAILED, 0,
				   "parse the consumer's subscription failed");
	return 1;
}

static int pull_check_group_subscription(struct pull *p)
{
	enum subscription_state state;

	p->sub.model = CLUSTERING; /* not filled in when there is no subscription */
	state = clients_subscription(p->broker->clients, p->h.group, p->h.topic, &p->sub);
	if (state == SUBSCRIPTION_NO_GROUP)
		return pull_refuse(p, MQ_SUBSCRIPTION_NOT_EXIST, 0,
				   "the consumer's group info not exist" BROKER_FAQ);
	if (p->sub.model == BROADCASTING && !p->group.consume_broadcast_enable)
		return pull_refuse(p, MQ_NO_PERMISSION, FORBIDDEN_BROADCASTING,
				   "the consumer group[%.*s] can not consume by broadcast way",
				   MQ_FMT(p->h.group));
	if (state == SUBSCRIPTION_NONE)
		return pull_refuse(p, MQ_SUBSCRIPTION_NOT_EXIST, 0,
				   "the consumer's subscription not exist" BROKER_FAQ);
	if (p->sub.version < p->h.sub_version)
		return pull_refuse(p, MQ_SUBSCRIPTION_NOT_LATEST, 0,
				   "the consumer's subscription not latest");
	if (p->sub.is_tag)
		return 1;
	if (!p->sub.sql)
		return pull_refuse(p, MQ_FILTER_DATA_NOT_EXIST, 0,
				   "The broker's consumer filter data is not exist!Your expression may be wrong!");
	if (!config_get(&p->broker->config, enablePropertyFilter))
		return pull_refuse_type(p, MQ_SLICE("SQL92"));
	return 1;
}

static int pull_check_subscription(struct pull *p)
{
	int r = p->h.sys_flag & PULL_SUBSCRIPTION ? pull_check_own_subscription(p)
						  : pull_check_group_subscription(p);

	if (r <= 0)
		return r;
	pull_start(p);
	return MQ_REQUEST_PENDING;
}

static int pull_check_topic(struct pull *p)
{
	int r = pull_check_access(p);

	return r <= 0 ? r : pull_check_subscription(p);
}

/* An unknown group is made at its first pull: a row in the store, so on a reader. */
static void pull_make_group(void *arg)
{
	struct pull *p = arg;

	p->made = groups_get(p->broker->groups, p->h.group, &p->group);
}

static void pull_made_group(void *arg)
{
	struct pull *p = arg;
	struct mq_request *req = p->req;

	if (p->made == 0) {
		pull_check_topic(p);
	} else if (p->made == -ENOENT) {
		pull_refuse_group(p);
	} else {
		int r = p->made;

		pull_free(p);
		broker_reply_store(req, r);
	}
}

int handle_pull_message(struct mq_request *req)
{
	struct broker *b = req->server;
	struct pull_header h = {};
	struct mq_error err;
	struct pull *p;
	int r;

	if (pull_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	p->req = req;
	p->broker = b;
	p->h = h;
	if (!(config_get(&b->config, brokerPermission) & PERM_READ))
		return pull_refuse(p, MQ_NO_PERMISSION, FORBIDDEN_BROKER,
				   "the broker[%s] pulling message is forbidden", b->config.brokerIP1);
	if (req->line->code == MQ_LITE_PULL_MESSAGE && !config_get(&b->config, litePullMessageEnable))
		return pull_refuse(p, MQ_NO_PERMISSION, FORBIDDEN_BROKER,
				   "the broker[%s] for lite pull consumer is forbidden", b->config.brokerIP1);
	if (groups_find(b->groups, h.group, &p->group) == 0)
		return pull_check_topic(p);
	r = broker_offload(b, req->conn, pull_make_group, pull_made_group, p);
	if (r < 0) {
		pull_free(p);
		return r;
	}
	return MQ_REQUEST_PENDING;
}
