/* END_TRANSACTION (37); reference: protocol/requests-broker.md section 2.5, behaviour.md section 8.
 * The prepared message was stored by send_store.c under the half topic. Its end is one op: the message to its real queue (on
 * commit) and the half message taken, both or neither, so an end that comes twice finds nothing the second time.
 *
 * The half message is read from memory, by a reader thread when it is on the disk only; end_found() checks and appends,
 * end_committed() answers. Most producers send this one-way: then nobody is told. The others are told after syncFlushTimeout at the
 * latest that it is done, whatever the disk says, as upstream tells them. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/message.h"
#include "daemons/broker/stats.h"
#include "daemons/broker/txn_check.h"
#include "libmq/wire/message_properties.h"
#include "libmq/wire/record.h"

#define END_FIELDS(X)                                         \
	X(slice, group, "producerGroup", REQUIRED)            \
	X(i64, half_offset, "tranStateTableOffset", REQUIRED) \
	X(i64, locator, "commitLogOffset", REQUIRED)          \
	X(i32, outcome, "commitOrRollback", REQUIRED)         \
	X(bool, is_from_check, "fromTransactionCheck", OPTIONAL)
MQ_HEADER(end, END_FIELDS)

struct end {
	struct broker_op op;
	struct mq_request *req;
	struct broker *broker;
	struct end_header h;
	int found;  /* of store_get(), or -ENOMEM */
	uint32_t n_checks; /* so often the producer was asked, when this answers a check */
	char *half; /* owned; the half message as stored */
	size_t n_half;
	struct mq_record rec; /* half, decoded */
	struct message_marks marks;
	struct store_record record;
	char head[MQ_RECORD_HEAD_MAX];
	char *tail; /* owned */
	int64_t began_ns;
};

static struct end *end_free(struct end *e)
{
	free(e->half);
	free(e->tail);
	free(e);
	return NULL;
}

static int end_refuse(struct end *e, int code, const char *remark)
{
	struct mq_request *req = e->req;

	end_free(e);
	return mq_reply_code(req, code, remark ? "%s" : NULL, remark);
}

static enum store_verdict end_on_record(void *user, int64_t queue_offset, int64_t tag_hash,
					struct mq_slice record)
{
	struct end *e = user;

	e->half = malloc(record.n);
	if (!e->half) {
		e->found = -ENOMEM;
		return STORE_STOP;
	}
	memcpy(e->half, record.p, record.n);
	e->n_half = record.n;
	return STORE_STOP;
}

static int end_read(struct end *e, enum store_tier tier)
{
	int r;

	e->found = 0;
	r = store_get(e->broker->store, e->h.locator, tier, end_on_record, e);
	if (e->found == 0)
		e->found = r;
	return e->found;
}

static void end_late(struct broker_op *op)
{
	struct end *e = (struct end *)((char *)op - offsetof(struct end, op));

	mq_reply_ok(e->req);
	e->req = NULL;
}

static void end_committed(struct broker_op *op)
{
	struct end *e = (struct end *)((char *)op - offsetof(struct end, op));
	struct mq_request *req = e->req; /* NULL: answered by end_late() */
	struct broker *b = e->broker;
	int r = op->op.result;

	if (r == 0 && op->op.n_records > 0)
		stats_put(b->stats, 1, e->record.n_head + e->record.body.n + e->record.tail.n,
			  (mq_mono_ns(b->clock) - e->began_ns) / 1000);
	end_free(e);
	if (!req)
		return;
	if (r == -ENOENT)
		mq_reply_code(req, MQ_SYSTEM_ERROR, "Find prepared transaction message failed");
	else if (r < 0)
		broker_reply_store(req, r);
	else
		mq_reply_ok(req);
}

/* How often the producer was asked. May read the disk. */
static uint32_t end_count_checks(struct end *e)
{
	struct store_half half;

	if (store_half_scan(e->broker->store, e->h.locator, &half, 1) != 1 || half.locator != e->h.locator)
		return 0;
	return half.n_checks;
}

/* Without the target, which is where the message is now (EndTransactionProcessor.endMessageTransaction). */
static struct mq_slice end_properties(struct end *e, char targetless[MQ_PROPERTIES_MAX], char buffer[MQ_PROPERTIES_MAX])
{
	static const char *const dropped[] = { MQ_PROPERTY_REAL_TOPIC, MQ_PROPERTY_REAL_QID, NULL };
	size_t n = mq_properties_copy(e->rec.properties, dropped, targetless, MQ_PROPERTIES_MAX);

	struct mq_slice properties = n == (size_t)-1 ? e->rec.properties : (struct mq_slice){ targetless, n };

	return txn_properties(properties, e->n_checks, buffer);
}

/* The message as consumers get it: born data and body of the half message, byte for byte. */
static int end_make_message(struct end *e)
{
	char targetless[MQ_PROPERTIES_MAX], properties[MQ_PROPERTIES_MAX];
	struct mq_record rec = e->rec;
	int r;

	rec.properties = end_properties(e, targetless, properties);
	rec.topic = e->marks.real_topic;
	if (mq_parse_i32(e->marks.real_queue_id, &rec.queue_id) < 0)
		return -EBADMSG;
	rec.sys_flag = (rec.sys_flag & ~MQ_SYS_TRANSACTION) | MQ_SYS_COMMIT;
	rec.prepared_offset = e->h.locator;
	rec.store_host = e->broker->store_host;
	e->tail = malloc(message_tail_bound(rec.topic, rec.properties.n));
	if (!e->tail)
		return -ENOMEM;
	message_record_encode(&rec, &e->marks, e->head, e->tail, &e->record);
	r = store_queue_open(e->broker->store, rec.topic, rec.queue_id, &e->record.queue);
	if (r < 0)
		return r;
	e->op.op.records = &e->record;
	e->op.op.n_records = 1;
	return 0;
}

/* Too late: the producer asked for a while without checks, and that is over (EndTransactionProcessor.rejectCommitOrRollback). */
static bool end_is_late(const struct end *e)
{
	int64_t immune_ms = txn_immunity_ms(e->marks.check_immunity, config_get(&e->broker->config, transactionTimeOut));
	int64_t age_ms;

	(void)__builtin_sub_overflow(e->req->received_at_ms, e->rec.born_at_ms, &age_ms); /* the producer's word: it wraps, as upstream */
	return !e->h.is_from_check && e->marks.check_immunity.n > 0 && age_ms > immune_ms;
}

static int end_found(struct end *e)
{
	int r;

	if (e->found == -ENOMEM || e->found == -EIO) {
		r = e->found;
		end_free(e);
		return r;
	}
	if (e->found < 0 || mq_record_decode((struct mq_slice){ e->half, e->n_half }, &e->rec) < 0 ||
	    !mq_slice_is(e->rec.topic, MESSAGE_HALF_TOPIC))
		return end_refuse(e, MQ_SYSTEM_ERROR, "Find prepared transaction message failed");
	message_marks_read(&e->marks, e->rec.properties);
	if (end_is_late(e))
		return end_refuse(e, MQ_ILLEGAL_OPERATION, NULL);
	if (!e->marks.group.p || !mq_slice_equal(e->marks.group, e->h.group))
		return end_refuse(e, MQ_SYSTEM_ERROR, "The producer group wrong");
	if (e->rec.queue_offset != e->h.half_offset)
		return end_refuse(e, MQ_SYSTEM_ERROR, "The transaction state table offset wrong");
	if (e->rec.physical_offset != e->h.locator)
		return end_refuse(e, MQ_SYSTEM_ERROR, "The commit log offset wrong");

	store_op_init(&e->op.op);
	e->op.op.take_half = e->h.locator;
	e->op.done = end_committed;
	e->op.late = end_late;
	r = e->h.outcome == MQ_SYS_COMMIT ? end_make_message(e) : 0;
	if (r < 0) {
		end_free(e);
		return r;
	}
	broker_append(broker_loop_of(e->broker, e->req->conn), &e->op);
	return MQ_REQUEST_PENDING;
}

static void end_read_disk(void *arg)
{
	struct end *e = arg;

	(void)end_read(e, STORE_DISK); /* the outcome is e->found */
	if (e->h.is_from_check)
		e->n_checks = end_count_checks(e);
}

static void end_read_done(void *arg)
{
	struct end *e = arg;
	struct mq_request *req = e->req;
	int r = end_found(e);

	if (r < 0)
		broker_reply_store(req, r);
}

int handle_end_transaction(struct mq_request *req)
{
	struct broker *b = req->server;
	struct end_header h = {};
	struct mq_error err;
	struct end *e;
	int r;

	if (end_header_decode(&h, &req->cmd, &err) < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text);
	if (h.outcome != MQ_SYS_COMMIT && h.outcome != MQ_SYS_ROLLBACK)
		return mq_reply_none(req); /* unknown yet: the check will ask */

	e = calloc(1, sizeof *e);
	if (!e)
		return -ENOMEM;
	e->req = req;
	e->broker = b;
	e->h = h;
	e->began_ns = mq_mono_ns(b->clock);
	/* What answers a check says how often there was one, which the row of the half message knows. */
	if (!h.is_from_check && end_read(e, STORE_MEMORY) != STORE_WOULD_BLOCK)
		return end_found(e);
	r = broker_offload(b, req->conn, end_read_disk, end_read_done, e);
	if (r < 0) {
		end_free(e);
		return r;
	}
	return MQ_REQUEST_PENDING;
}
