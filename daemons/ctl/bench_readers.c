#include "daemons/ctl/bench_readers.h"

#include <errno.h>
#include <stdlib.h>

#include "daemons/ctl/load.h"
#include "libmq/client/admin.h"
#include "libmq/wire/codes.h"

enum { SUSPEND_MS = 15000 };

struct reader {
	struct readers *readers;
	struct mq_client *client; /* borrowed */
	struct mq_puller *puller; /* owned */
	const char *broker;       /* borrowed from the route */
	int32_t queue_id;
	int64_t start, end;
	int64_t asked_ns;
	bool is_done;
};

struct readers {
	struct ctl *ctl;
	struct readers_config cfg;
	int64_t (*on_record)(const struct mq_record *r, int64_t now_ns, void *user);
	void *user;
	struct mq_client **clients; /* owned, each */
	unsigned n_clients;
	struct reader *items;       /* owned */
	unsigned n, n_running;
	uint64_t backlog;
	struct readers_stats stats;
};

static void readers_fail(struct readers *r, const struct mq_failure *f)
{
	if (!r->stats.has_failed)
		r->stats.failure = *f;
	r->stats.has_failed = r->stats.is_done = true;
}

static void take_latency(struct readers *r, int64_t ns)
{
	histogram_add(&r->stats.latency, ns);
	histogram_add(&r->stats.interval, ns);
}

static void take_record(struct readers *r, const struct mq_record *record, int64_t now_ns)
{
	int64_t ns = r->on_record ? r->on_record(record, now_ns, r->user) : 0;

	if (ns < 0)
		return;
	r->stats.messages++;
	r->stats.bytes += record->body.n;
	if (r->on_record)
		take_latency(r, ns);
}

static int reader_on_batch(struct mq_puller *p, const struct mq_pull_batch *batch, void *user)
{
	struct reader *reader = user;
	struct readers *r = reader->readers;
	struct mq_slice rest = batch->records;
	struct mq_record record;
	int64_t now_ns = load_now_ns();
	struct mq_failure f;
	int more;

	if (!r->on_record && batch->code == MQ_SUCCESS)
		take_latency(r, now_ns - reader->asked_ns);
	while ((more = mq_records_next(&rest, &record)) > 0)
		take_record(r, &record, now_ns);
	if (more < 0) {
		mq_failure_local(&f, more, "the broker sent a record that cannot be read");
		readers_fail(r, &f);
		return -ECANCELED;
	}
	reader->asked_ns = load_now_ns();
	if (batch->next_offset < reader->end)
		return 0;
	if (r->cfg.is_endless) {
		mq_puller_seek(p, reader->start);
		return 0;
	}
	if (--r->n_running == 0)
		r->stats.is_done = true;
	return -ECANCELED;
}

static int reader_on_failure(struct mq_puller *p, const struct mq_failure *f, void *user)
{
	struct reader *reader = user;

	readers_fail(reader->readers, f);
	return -ECANCELED;
}

static const struct mq_puller_events reader_events = {
	.on_batch = reader_on_batch,
	.on_failure = reader_on_failure,
};

static int reader_init(struct readers *r, struct reader *reader, const struct mq_topic_broker *b,
		       int32_t queue_id, struct mq_failure *f)
{
	struct mq_hop hop = mq_topic_route_hop(b);
	int64_t min, max;
	int error;

	*reader = (struct reader){ .readers = r, .broker = b->name, .queue_id = queue_id };
	reader->client = r->clients[r->n % r->n_clients];
	r->n++;
	error = mq_admin_offset(r->ctl->client, &hop, MQ_GET_MAX_OFFSET, r->cfg.topic, queue_id, 0, &max, f);
	if (error >= 0)
		error = mq_admin_offset(r->ctl->client, &hop, MQ_GET_MIN_OFFSET, r->cfg.topic, queue_id, 0,
					&min, f);
	if (error < 0)
		return error;
	reader->start = r->cfg.from_end ? max : min;
	reader->end = r->cfg.from_end ? INT64_MAX : max;
	r->backlog += (uint64_t)(max > min ? max - min : 0);
	return 0;
}

static int readers_init(struct readers *r, struct mq_failure *f)
{
	const struct mq_topic_route *route = r->cfg.route;
	size_t n = 0;

	r->clients = calloc(r->cfg.connections, sizeof *r->clients);
	for (unsigned i = 0; r->clients && i < r->cfg.connections; i++) {
		if (ctl_new_client(r->ctl, &r->clients[i]) != 0)
			return mq_failure_local(f, -ENOMEM, "cannot make another client");
		r->n_clients++;
	}
	for (unsigned i = 0; i < route->n_brokers; i++)
		n += (size_t)route->brokers[i].n_read;
	r->items = calloc(n + 1, sizeof *r->items);
	if (!r->clients || !r->items)
		return mq_failure_local(f, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < route->n_brokers; i++) {
		const struct mq_topic_broker *b = &route->brokers[i];

		for (int32_t q = 0; b->address && (b->perm & MQ_PERM_BIT_READ) && q < b->n_read; q++) {
			int error = reader_init(r, &r->items[r->n], b, q, f);

			if (error < 0)
				return error;
		}
	}
	return r->n > 0 ? 0
			: mq_failure_local(f, -EACCES, "topic %s has no queue that can be read",
					   r->cfg.topic);
}

int readers_new(struct readers **ret, struct ctl *ctl, const struct readers_config *cfg,
		int64_t (*on_record)(const struct mq_record *r, int64_t now_ns, void *user), void *user,
		struct mq_failure *f)
{
	_cleanup_(readers_freep) struct readers *r = calloc(1, sizeof *r);
	int error;

	if (!r)
		return mq_failure_local(f, -ENOMEM, "out of memory");
	r->ctl = ctl;
	r->cfg = *cfg;
	r->on_record = on_record;
	r->user = user;
	error = readers_init(r, f);
	if (error < 0)
		return error;
	*ret = TAKE(r);
	return 0;
}

int readers_start(struct readers *r)
{
	int64_t now_ns = load_now_ns();

	r->n_running = r->n;
	for (unsigned i = 0; i < r->n; i++) {
		struct reader *reader = &r->items[i];
		struct mq_puller_config cfg = {
			.topic = r->cfg.topic,
			.broker = reader->broker,
			.queue_id = reader->queue_id,
			.group = r->cfg.group,
			.offset = reader->start,
			.max_messages = r->cfg.max_messages,
			.suspend_ms = r->cfg.from_end ? SUSPEND_MS : 0,
		};

		reader->asked_ns = now_ns;
		if (reader->start >= reader->end) {
			r->n_running--;
			continue;
		}
		if (mq_puller_new(&reader->puller, reader->client, &cfg, &reader_events, reader) < 0)
			return -ENOMEM;
	}
	if (r->n_running == 0)
		r->stats.is_done = true;
	return 0;
}

struct readers *readers_free(struct readers *r)
{
	if (!r)
		return NULL;
	for (unsigned i = 0; i < r->n; i++)
		mq_puller_free(r->items[i].puller);
	for (unsigned i = 0; i < r->n_clients; i++)
		mq_client_free(r->clients[i]);
	free(r->clients);
	free(r->items);
	free(r);
	return NULL;
}

struct readers_stats *readers_stats(struct readers *r)
{
	return &r->stats;
}

uint64_t readers_backlog(const struct readers *r)
{
	return r->backlog;
}
