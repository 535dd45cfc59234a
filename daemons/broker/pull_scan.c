/* Going through a queue for a pull: what the filter wants is put into the answer's body until a limit is reached. */
#include <event2/buffer.h>

#include "daemons/broker/filter_sql.h"
#include "daemons/broker/filter_tag.h"
#include "daemons/broker/pull.h"

enum {
	PULL_SCAN_MIN = 800,  /* filtering looks at so many messages, or at maxMsgNums if that is more */
	PULL_SCAN_MAX = 4000, /* but never at more: nobody holds up the loop by asking for millions */
	PULL_HEADER_ALLOWANCE = 64 << 10, /* bytes of a frame that are kept free for the header */
};

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

void pull_begin_scan(struct pull *p)
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

void pull_scan(struct pull *p, enum store_tier tier)
{
	int64_t next = p->next;

	p->tier = tier;
	p->result = store_scan(p->broker->store, p->queue, p->next, tier, pull_on_record, p, &next);
	if (p->is_full)
		p->result = 0; /* an error behind what fits concerns who comes there */
	else if (p->result >= 0 && next > p->next)
		p->next = next; /* what retention took away meanwhile is skipped, too */
}

void pull_scan_ahead(struct pull *p)
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
