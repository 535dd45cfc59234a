/* A round: every transactionCheckInterval the thread for changes walks the pending half messages, a few at a time, so that changes are not
 * kept waiting. Each check is noted before it is sent: a crash may lose a question, never its count. */
#include "daemons/broker/txn_check.h"

#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/clients.h"
#include "daemons/broker/message.h"
#include "daemons/broker/topics.h"
#include "libmq/base/log.h"
#include "libmq/net/conn.h"
#include "libmq/wire/fields.h"
#include "libmq/wire/message_properties.h"

enum { STEP_HALVES = 16 };

#define DISCARD_TOPIC MQ_SLICE("TRANS_CHECK_MAX_TIME_TOPIC")

struct txn_check {
	struct broker *broker;       /* borrowed */
	struct mq_timer timer;       /* main loop */
	struct mq_post round_over;   /* main loop */
	struct store_job step;
	_Atomic bool is_stopped;
	/* Of the round; one thread at a time: */
	struct txn_rules rules;
	int64_t next;                /* locator to go on at */
	int64_t first_pending;       /* of this round, -1 none yet */
	int64_t from;                /* no pending one is before it: a round does not pass over what was ended long ago */
	int32_t opaque;
};

/* A half message as it was read. */
struct half {
	struct store_half row;
	char *copy; /* owned */
	size_t n;
	struct mq_record rec; /* copy, decoded */
	struct message_marks marks;
};

/* ---- What to do ---- */

int64_t txn_immunity_ms(struct mq_slice immunity, int64_t timeout_ms)
{
	int64_t s, ms;

	if (!immunity.p || mq_parse_i64(immunity, &s) < 0 || s == -1)
		return timeout_ms;
	return __builtin_mul_overflow(s, 1000, &ms) ? (s < 0 ? INT64_MIN : INT64_MAX) : ms;
}

enum txn_verdict txn_check_decide(const struct txn_rules *rules, int64_t born_at_ms, int64_t store_at_ms, struct mq_slice immunity,
				  uint32_t n_checks)
{
	int64_t age_ms, immune_ms = txn_immunity_ms(immunity, rules->timeout_ms);

	/* The producer says when it was born. */
	if (__builtin_sub_overflow(rules->now_ms, born_at_ms, &age_ms))
		age_ms = born_at_ms < 0 ? INT64_MAX : INT64_MIN;
	if (n_checks >= rules->max_checks || age_ms > rules->retention_ms)
		return TXN_DISCARD;
	if (store_at_ms >= rules->round_began_ms)
		return TXN_STOP;
	if (immunity.p)
		return age_ms < immune_ms ? TXN_LEAVE : TXN_ASK;
	return age_ms >= 0 && age_ms < immune_ms ? TXN_STOP : TXN_ASK;
}

struct mq_slice txn_properties(struct mq_slice properties, uint32_t n_checks, char buffer[MQ_PROPERTIES_MAX])
{
	static const char *const replaced[] = { MQ_PROPERTY_CHECK_TIMES, NULL };
	struct mq_properties_out out;

	if (n_checks == 0)
		return properties;
	mq_properties_begin(&out, buffer, MQ_PROPERTIES_MAX, properties, replaced);
	mq_properties_add_i64(&out, MQ_PROPERTY_CHECK_TIMES, n_checks);
	return mq_properties_end(&out, properties);
}

/* ---- One half message; thread for changes ---- */

static void half_done(struct half *h)
{
	free(h->copy);
}

static enum store_verdict half_on_record(void *user, int64_t queue_offset, int64_t tag_hash, struct mq_slice record)
{
	struct half *h = user;

	h->copy = malloc(record.n);
	if (h->copy) {
		memcpy(h->copy, record.p, record.n);
		h->n = record.n;
	}
	return STORE_STOP;
}

/* 0; -ENOENT: retention took the message; others: try again in the next round. */
static int half_read(struct half *h, struct store *store)
{
	int r = store_get(store, h->row.locator, STORE_DISK, half_on_record, h);

	if (r < 0)
		return r;
	if (!h->copy)
		return -ENOMEM;
	r = mq_record_decode((struct mq_slice){ h->copy, h->n }, &h->rec);
	if (r < 0)
		return r;
	message_marks_read(&h->marks, h->rec.properties);
	return 0;
}

static void op_on_done(struct store_turn *turn)
{
	sem_post(turn->user);
}

/* Commits one op and waits for it. */
static int op_run(struct store *store, struct store_op *op)
{
	struct store_turn turn;
	sem_t done;

	sem_init(&done, 0, 0);
	store_turn_init(&turn, op_on_done, &done);
	store_turn_add(&turn, op);
	store_commit(store, &turn);
	while (sem_wait(&done) < 0)
		;
	sem_destroy(&done);
	return op->result;
}

/* Its message is gone, so nobody can end it. */
static int half_forget(struct txn_check *c, struct half *h)
{
	struct store_op op;

	store_op_init(&op);
	op.take_half = h->row.locator;
	return op_run(c->broker->store, &op);
}

static int half_discard(struct txn_check *c, struct half *h)
{
	struct broker *b = c->broker;
	char properties[MQ_PROPERTIES_MAX], head[MQ_RECORD_HEAD_MAX], tail[MQ_RECORD_TAIL_MAX];
	struct mq_record rec = h->rec;
	struct store_record record;
	struct store_op op;
	int r;

	r = topics_create_retry(b->topics, DISCARD_TOPIC, 1, false);
	if (r < 0)
		return r;
	rec.topic = DISCARD_TOPIC;
	rec.queue_id = 0;
	rec.properties = txn_properties(rec.properties, h->row.n_checks, properties);
	message_record_encode(&rec, &h->marks, head, tail, &record);
	r = store_queue_open(b->store, rec.topic, rec.queue_id, &record.queue);
	if (r < 0)
		return r;
	store_op_init(&op);
	op.take_half = h->row.locator;
	op.records = &record;
	op.n_records = 1;
	r = op_run(b->store, &op);
	if (r == 0)
		mq_log(LOG_WARNING, "a transaction of group %.*s has no end after %" PRIu32 " checks: message %.*s went to %.*s",
		       MQ_FMT(h->marks.group), h->row.n_checks, MQ_FMT(h->marks.uniq_key), MQ_FMT(rec.topic));
	return r;
}

/* The record as its consumers would see it, in one piece. */
static int half_encode_for_producer(const struct half *h, uint32_t n_checks, struct mq_slice *ret)
{
	char properties[MQ_PROPERTIES_MAX];
	struct mq_record rec = h->rec;
	size_t n;
	char *p;

	rec.topic = h->marks.real_topic;
	if (mq_parse_i32(h->marks.real_queue_id, &rec.queue_id) < 0)
		return -EBADMSG;
	rec.properties = txn_properties(rec.properties, n_checks, properties);
	p = malloc(mq_record_size(&rec));
	if (!p)
		return -ENOMEM;
	n = mq_record_encode_head(&rec, p);
	memcpy(p + n, rec.body.p, rec.body.n);
	n += rec.body.n;
	n += mq_record_encode_tail(&rec, p + n);
	*ret = (struct mq_slice){ p, n };
	return 0;
}

static int half_ask(struct txn_check *c, struct half *h)
{
	struct broker *b = c->broker;
	uint32_t n_checks = h->row.n_checks + 1;
	char id[MQ_MESSAGE_ID_MAX];
	struct mq_command cmd;
	struct mq_conn *conn;
	struct store_op op;
	int r;

	store_op_init(&op);
	op.note_half = (struct store_half){ h->row.locator, n_checks };
	r = op_run(b->store, &op);
	if (r < 0)
		return r;
	conn = clients_producer(b->clients, h->marks.group);
	if (!conn)
		return 0; /* perhaps at the next round */

	mq_command_request(&cmd, MQ_CHECK_TRANSACTION_STATE);
	r = half_encode_for_producer(h, n_checks, &cmd.body);
	if (r == 0) {
		cmd.flag = MQ_FLAG_ONEWAY;
		cmd.opaque = ++c->opaque;
		mq_message_id_encode(&h->rec.store_host, h->row.locator, id);
		mq_command_add_i64(&cmd, "tranStateTableOffset", h->rec.queue_offset);
		mq_command_add_i64(&cmd, "commitLogOffset", h->row.locator);
		mq_command_add(&cmd, "offsetMsgId", mq_slice_of(id));
		mq_command_add(&cmd, "msgId", h->marks.uniq_key);
		mq_command_add(&cmd, "transactionId", h->marks.uniq_key);
		mq_command_add(&cmd, "topic", MQ_SLICE(MESSAGE_HALF_TOPIC));
		mq_command_add(&cmd, "bname", mq_slice_of(b->config.brokerName));
		r = mq_conn_post(conn, &cmd);
		free((void *)cmd.body.p);
	}
	mq_conn_unref(conn);
	return r;
}

/* False: the round is over. */
static bool half_handle(struct txn_check *c, const struct store_half *row)
{
	struct half h = { .row = *row };
	bool goes_on = true;
	int r;

	r = half_read(&h, c->broker->store);
	if (r == -ENOENT) {
		r = half_forget(c, &h);
	} else if (r == 0) {
		c->rules.now_ms = mq_wall_ms(c->broker->clock);
		switch (txn_check_decide(&c->rules, h.rec.born_at_ms, h.rec.store_at_ms, h.marks.check_immunity, row->n_checks)) {
		case TXN_ASK:
			r = half_ask(c, &h);
			break;
		case TXN_DISCARD:
			r = half_discard(c, &h);
			break;
		case TXN_LEAVE:
			break;
		case TXN_STOP:
			goes_on = false;
			break;
		}
	}
	half_done(&h);
	/* -ENOENT: it was ended meanwhile. */
	if (r < 0 && r != -ENOENT)
		mq_log(LOG_WARNING, "the check of the transaction at %" PRIi64 " failed: %s", row->locator, strerror(-r));
	return goes_on;
}

/* ---- The round ---- */

static void round_end(struct txn_check *c)
{
	struct broker *b = c->broker;

	mq_loop_post(b->main_loop, &c->round_over);
	atomic_fetch_sub(&b->n_posts_due, 1);
}

/* A few half messages, on the thread for changes: each is noted or moved, and waits for the disk. Then it queues behind what came meanwhile. */
static void step_run(struct store_job *job)
{
	struct txn_check *c = (struct txn_check *)((char *)job - offsetof(struct txn_check, step));
	struct store_half rows[STEP_HALVES];
	bool goes_on = true;
	int n;

	n = store_half_scan(c->broker->store, c->next, rows, STEP_HALVES);
	if (n < 0)
		mq_log(LOG_ERR, "pending transactions cannot be read: %s", strerror(-n));
	if (n > 0 && c->first_pending < 0)
		c->first_pending = rows[0].locator;
	for (int i = 0; i < n && goes_on; i++) {
		c->next = rows[i].locator + 1;
		goes_on = !atomic_load(&c->is_stopped) && half_handle(c, &rows[i]);
	}
	if (n == STEP_HALVES && goes_on) {
		store_submit_change(c->broker->store, &c->step);
		return;
	}
	if (c->first_pending >= 0)
		c->from = c->first_pending;
	round_end(c);
}

static int check_set_timer(struct txn_check *c)
{
	struct mq_loop *loop = c->broker->main_loop;

	return mq_timer_set(loop, &c->timer, mq_loop_mono_ms(loop) + config_get(&c->broker->config, transactionCheckInterval));
}

static void check_on_timer(struct mq_timer *timer)
{
	struct txn_check *c = (struct txn_check *)((char *)timer - offsetof(struct txn_check, timer));
	struct broker *b = c->broker;

	c->rules = (struct txn_rules){
		.timeout_ms = config_get(&b->config, transactionTimeOut),
		.max_checks = config_get(&b->config, transactionCheckMax),
		.retention_ms = b->config.fileReservedTime,
		.round_began_ms = mq_wall_ms(b->clock),
	};
	c->next = c->from;
	c->first_pending = -1;
	atomic_fetch_add(&b->n_posts_due, 1);
	store_submit_change(b->store, &c->step);
}

static void check_on_round_over(struct mq_post *post)
{
	struct txn_check *c = (struct txn_check *)((char *)post - offsetof(struct txn_check, round_over));

	if (!atomic_load(&c->is_stopped) && check_set_timer(c) < 0)
		mq_log(LOG_ERR, "out of memory: transactions are not checked any more");
}

int txn_check_new(struct txn_check **ret, struct broker *b)
{
	struct txn_check *c = calloc(1, sizeof *c);

	if (!c)
		return -ENOMEM;
	c->broker = b;
	c->timer.fire = check_on_timer;
	c->round_over.run = check_on_round_over;
	c->step.run = step_run;
	*ret = c;
	return 0;
}

struct txn_check *txn_check_free(struct txn_check *c)
{
	free(c);
	return NULL;
}

int txn_check_start(struct txn_check *c)
{
	return check_set_timer(c);
}

void txn_check_stop(struct txn_check *c)
{
	atomic_store(&c->is_stopped, true);
	mq_timer_clear(c->broker->main_loop, &c->timer);
}
