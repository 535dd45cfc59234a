/* The records of what is sent: heads and tails in one block, bodies stay in the frame. They join the loop's turn. */
#include <errno.h>
#include <stdlib.h>

#include "daemons/broker/push_reply.h"
#include "daemons/broker/send.h"
#include "libmq/wire/record.h"

enum {
	/* Bytes of a batch's records, as a multiple of maxMessageSize. Upstream bounds the body as it comes, and not what it makes of
	 * it; with the unique id that clients give each message, the records of a body that fits stay below this. */
	SEND_BATCH_GROWTH = 4,
};

void send_drop_block(struct send *s)
{
	if (s->records)
		mq_conn_release(s->req->conn, s->n_block);
	free(s->records);
	s->records = NULL;
}

/* Upper limits for the block that holds everything but the bodies. */
struct send_sizes {
	unsigned n;
	size_t tails, records;
};

static void send_sizes_add(struct send_sizes *sizes, struct mq_slice topic, size_t n_properties, size_t n_body)
{
	size_t tail = message_tail_bound(topic, n_properties);

	sizes->n++;
	sizes->tails += tail;
	sizes->records += MQ_RECORD_HEAD_MAX + n_body + tail;
}

static char *send_heads(const struct send *s)
{
	return (char *)(s->records + s->n_messages);
}

static char *send_tails(const struct send *s)
{
	return send_heads(s) + (size_t)s->n_messages * MQ_RECORD_HEAD_MAX;
}

static int send_take_block(struct send *s, const struct send_sizes *sizes)
{
	size_t n = sizes->n * (sizeof *s->records + MQ_RECORD_HEAD_MAX) + sizes->tails;

	s->records = malloc(n);
	if (!s->records)
		return -ENOMEM;
	s->n_messages = sizes->n;
	s->n_block = n;
	mq_conn_charge(s->req->conn, n);
	return 0;
}

static struct mq_record send_record(const struct send *s)
{
	const struct send_header *h = &s->h;

	return (struct mq_record){
		.queue_id = h->queue_id,
		.flag = h->flag,
		.sys_flag = h->sys_flag | (s->topic.is_multi_tag ? MQ_SYS_MULTI_TAGS : 0),
		.born_at_ms = h->born_at_ms,
		.born_host = mq_conn_peer(s->req->conn)->host,
		.store_host = s->broker->store_host,
		.reconsume_times = h->reconsume_times,
		.topic = h->topic,
	};
}

/* Puts message number i into the block and returns the bytes of its tail. */
static size_t send_put(struct send *s, unsigned i, struct mq_record *rec, const struct message_marks *marks,
		       char *tail)
{
	rec->body_crc = mq_body_crc(rec->body);
	return message_record_encode(rec, marks, send_heads(s) + (size_t)i * MQ_RECORD_HEAD_MAX, tail,
				     &s->records[i]);
}

/* -ENOENT: its topic was deleted since it was looked at. */
static int send_open_queue(const struct send *s, const struct mq_record *rec, struct store_queue **ret)
{
	return topics_open_queue(s->broker->topics, s->topic.n_deletions, rec->topic, rec->queue_id, ret);
}

static int send_put_one(struct send *s)
{
	char dead_topic[RETRY_TOPIC_BUFFER];
	struct message_additions more = {};
	struct mq_record rec = send_record(s);
	struct send_sizes sizes = {};
	char text[MQ_PROPERTIES_MAX];
	size_t n;
	int r;

	rec.body = s->req->cmd.body;
	if (!s->marks.uniq_key.p) {
		mq_unique_id(&s->broker->store_host, s->req->received_at_ms, s->own_uniq_key);
		more.uniq_key = s->marks.uniq_key = mq_slice_of(s->own_uniq_key);
	}
	if (s->marks.is_prepared) {
		more.real_topic = rec.topic;
		more.real_queue_id = rec.queue_id;
		more.transaction_id = s->marks.uniq_key;
		rec.topic = MQ_SLICE(MESSAGE_HALF_TOPIC);
		rec.queue_id = 0;
		rec.sys_flag &= ~MQ_SYS_TRANSACTION;
	}
	if (s->is_dead) {
		rec.topic = send_dead_topic(s, dead_topic);
		rec.queue_id = 0;
		more.is_dead = true;
	}
	more.drops_priority = s->priority >= 0 && !send_is_by_priority(s);
	if (s->delay.kind != DELAY_NONE)
		delay_redirect(&s->delay, &rec, &more);
	send_sizes_add(&sizes, rec.topic, message_properties_bound(&s->broker->config, s->h.properties, &more), rec.body.n);
	r = send_take_block(s, &sizes);
	if (r < 0)
		return r;
	n = message_properties_encode(&s->broker->config, s->h.properties, &more, text);
	if (n == 0)
		return -EMSGSIZE;
	rec.properties = (struct mq_slice){ text, n };
	send_put(s, 0, &rec, &s->marks, send_tails(s));
	s->records[0].is_half = s->marks.is_prepared;
	if (s->delay.kind != DELAY_NONE)
		delay_arm(&s->delay, &s->records[0]);
	return send_open_queue(s, &rec, &s->records[0].queue);
}

/* As upstream stores it: the sender's properties, MSG_REGION and TRACE_ON. The sysFlag is kept, too: upstream stores 0, and who
 * reads a compressed reply from the topic cannot tell. */
static int send_put_reply(struct send *s)
{
	const struct broker_config *config = &s->broker->config;
	_cleanup_(freep) char *text = malloc(push_reply_properties_bound(config, s->h.properties));
	struct mq_record rec = send_record(s);
	struct send_sizes sizes = {};
	int r;

	if (!text)
		return -ENOMEM;
	rec.body = s->req->cmd.body;
	rec.sys_flag &= ~MQ_SYS_TRANSACTION;
	rec.properties = (struct mq_slice){ text, push_reply_properties(config, s->h.properties, -1, text) };
	if (rec.body.n == 0 || rec.body.n > (size_t)config_get(config, maxMessageSize) ||
	    rec.properties.n > MQ_PROPERTIES_MAX)
		return -EMSGSIZE;
	message_marks_read(&s->marks, s->h.properties);
	send_sizes_add(&sizes, rec.topic, rec.properties.n, rec.body.n);
	r = send_take_block(s, &sizes);
	if (r < 0)
		return r;
	send_put(s, 0, &rec, &s->marks, send_tails(s));
	return send_open_queue(s, &rec, &s->records[0].queue);
}

/* Walks the batch once to know how much it needs. -EBADMSG: not a batch; -EMSGSIZE: an entry or all of it is too large. */
static int send_measure_batch(const struct send *s, struct send_sizes *ret)
{
	const size_t max_body = (size_t)config_get(&s->broker->config, maxMessageSize);
	struct mq_slice rest = s->req->cmd.body;
	struct mq_batch_entry e;
	int n;

	while ((n = mq_batch_next(rest, &e)) > 0) {
		send_sizes_add(ret, s->h.topic, e.properties.n, e.body.n);
		if (e.body.n > max_body || ret->records > SEND_BATCH_GROWTH * max_body)
			return -EMSGSIZE;
		rest = (struct mq_slice){ rest.p + n, rest.n - (size_t)n };
	}
	return n < 0 ? n : ret->n == 0 ? -EBADMSG : 0;
}

static int send_put_batch(struct send *s)
{
	struct mq_record rec = send_record(s);
	struct mq_slice rest = s->req->cmd.body;
	struct send_sizes sizes = {};
	struct store_queue *queue;
	struct mq_batch_entry e;
	char *tail;
	int r;

	r = send_measure_batch(s, &sizes);
	if (r == 0)
		r = send_open_queue(s, &rec, &queue);
	if (r == 0)
		r = send_take_block(s, &sizes);
	if (r < 0)
		return r;
	tail = send_tails(s);
	for (unsigned i = 0; i < s->n_messages; i++) {
		struct message_marks marks;
		int n = mq_batch_next(rest, &e);

		message_marks_read(&marks, e.properties);
		rec.flag = e.flag;
		rec.body = e.body;
		/* As they came: MessageExtEncoder of 5.5 adds nothing to the properties of a batch. */
		rec.properties = e.properties;
		tail += send_put(s, i, &rec, &marks, tail);
		s->records[i].queue = queue;
		rest = (struct mq_slice){ rest.p + n, rest.n - (size_t)n };
	}
	return 0;
}

static int send_append(struct send *s)
{
	store_op_init(&s->op.op);
	s->op.op.records = s->records;
	s->op.op.n_records = s->n_messages;
	s->op.op.no_wait = !s->marks.wants_wait;
	s->op.done = send_committed;
	s->op.late = s->is_reply ? NULL : send_late;
	broker_append(broker_loop_of(s->broker, s->req->conn), &s->op);
	return MQ_REQUEST_PENDING;
}

int send_store(struct send *s)
{
	int r = s->h.is_batch ? send_put_batch(s) : send_put_one(s);

	if (r == -EMSGSIZE || r == -EBADMSG)
		return send_refuse_size(s);
	if (r == -ENOENT)
		return send_refuse_topic(s);
	if (r < 0) {
		send_free(s);
		return r;
	}
	return send_append(s);
}

int send_store_reply(struct send *s)
{
	int r = send_put_reply(s);

	if (r == 0)
		return send_append(s);
	send_drop_block(s);
	return r;
}
