/* The message store: what daemons may call. RocksDB stays behind this header; every byte on disk is described in keys.h.
 *
 * Happy path of a send: the loop gathers struct store_op in its struct store_turn and calls store_commit() at the turn's end.
 * Under the append lock offsets and store time are assigned, one WriteBatch is written (combining turns of other loops that
 * arrived meanwhile), the queues' maximum offsets are published, on_append() wakes waiters, and turn->done() is called: at once
 * with ASYNC_FLUSH, by the flusher after fdatasync with SYNC_FLUSH. Nothing can be scanned or is acknowledged before that; by its locator a
 * record can be got as soon as it is written.
 *
 * Failure modes. Free space below the guard: ops end with -ENOSPC before anything is written; resumes by itself. RocksDB found no
 * space for a table all the same: the same, until it has written it. RocksDB refuses a write for another reason: -EIO, and the store is STORE_FAILED for good (nothing is ever written after a write error); reads go on.
 * fdatasync fails, also in a flush in the background: the turns waiting get -EIO, STORE_FAILED. Memory: -ENOMEM.
 *
 * Threads: any function from any thread unless it says otherwise. Strings and slices are copied before a call returns
 * unless it says otherwise. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "libmq/base/clock.h"
#include "libmq/base/error.h"
#include "libmq/base/slice.h"

struct store;
struct store_queue;

enum store_state {
	STORE_WRITABLE,
	STORE_NO_SPACE, /* refuses appends with -ENOSPC, reads go on */
	STORE_FAILED,   /* a write or a sync failed: read-only until restart */
};

/* Points where tests inject faults: return a negative errno to fail. NULL members do nothing. */
struct store_hooks {
	int (*before_write)(void *user);
	int (*before_sync)(void *user);
	int (*free_bytes)(void *user, uint64_t *ret_free, uint64_t *ret_total);
	void *user;
};

struct store_config {
	const char *path;             /* directory, made when missing (its parent must exist) */
	const struct mq_clock *clock; /* NULL: system */
	bool sync_flush;              /* flushDiskType=SYNC_FLUSH */
	int64_t flush_interval_ms;    /* flushIntervalCommitLog: with ASYNC_FLUSH the log is synced so often (500) */
	uint64_t memory_bytes;        /* storeMemoryBytes (128 MiB): write buffers, cache and arenas follow from it */
	uint64_t max_bytes;           /* storeMaxBytes: retention by size; 0: no limit */
	unsigned max_families;        /* storeMaxFamilies (256): beyond it new queues share families */
	unsigned n_readers;           /* reader threads for the disk (2) */
	int64_t retention_ms;         /* fileReservedTime (72 h) */
	uint32_t delete_hours;        /* deleteWhen: a bit for each hour of the day, local time (bit 4: from 4 to 5) */
	/* diskMaxUsedSpaceRatio (0.75): above it what is expired goes whatever the hour; above the middle between this and the next
	 * the oldest go although they are not expired. */
	double disk_max_used_ratio;
	double disk_warning_ratio;    /* diskSpaceWarningLevelRatio (0.90): above it appends are refused */
	uint64_t min_free_bytes;      /* refuse below so many free bytes, whatever the ratio (256 MiB); tests lower it */
	/* Topics whose records wait in `due`, up to NULL: retention leaves those that still wait, and what is behind them. NULL: none.
	 * Borrowed until store_close(). */
	const char *const *due_topics;
	struct store_hooks hooks;
	/* On the committing thread (SYNC_FLUSH: the flusher), append lock not held, once per queue that grew: new messages [old max, new max). Must be quick.
	 * Two committers may call in either order, so new_max may be behind store_queue_max() and behind an earlier call. */
	void (*on_append)(void *user, struct store_queue *queue, int64_t new_max);
	/* On the committing thread, append lock not held: rows of `due` were written, the earliest for at_ms. Must be quick. */
	void (*on_due)(void *user, int64_t at_ms);
	/* Any thread, also within store_open(): state changed; `why` is a sentence with directory, bytes, limit and setting. The
	 * append lock may be held: note it and leave, no call that writes to the store. */
	void (*on_state)(void *user, enum store_state state, const char *why);
	/* Who scans: a row of `due` or of the half messages cannot be read and is passed over; `what` says which. Told of the first of each. */
	void (*on_damage)(void *user, const char *what);
	void *user;
};

void store_config_init(struct store_config *cfg); /* the defaults above */

/* Settings of malloc that the write path gains from. Once, first thing in main(), before threads. */
void store_tune_process(void);

/* Opens or creates. -EBUSY: another process has it; -EPROTO: newer format, untouched; -EUCLEAN: the log ends before the point that
 * was known durable (the sentence says how much is missing and what to do), or the database lost its beginning, untouched; -EIO, -ENOMEM,
 * -ENOSPC. */
int store_open(struct store **ret, const struct store_config *cfg, struct mq_error *err) _must_check_;
/* Waits for turns in flight, syncs, closes. No other call may be running. */
struct store *store_close(struct store *store);
DEFINE_CLEANUP(struct store *, store_close)

enum store_state store_state(const struct store *store);
/* The sentence that goes with a state other than STORE_WRITABLE. */
void store_state_reason(const struct store *store, char *ret, size_t size);

/* ---- Queues. A struct store_queue lives until store_close(), also after its topic was deleted (then it is empty). ---- */

/* The queue if it exists in memory or on disk, else creates it in memory only: it reaches the disk with its first record. -ENOMEM. */
int store_queue_open(struct store *store, struct mq_slice topic, int32_t queue_id, struct store_queue **ret) _must_check_;
/* NULL when nothing was ever appended to it or opened. */
struct store_queue *store_queue_find(struct store *store, struct mq_slice topic, int32_t queue_id);
int64_t store_queue_min(const struct store_queue *q); /* smallest readable offset */
int64_t store_queue_max(const struct store_queue *q); /* behind the last that can be scanned; with ASYNC_FLUSH the next free offset */
struct mq_slice store_queue_topic(const struct store_queue *q); /* borrowed, as long as the queue */
int32_t store_queue_id(const struct store_queue *q);
/* The locator of a record below the maximum. */
int64_t store_queue_locator(const struct store_queue *q, int64_t offset);
/* One pointer of the daemon's own per queue (the broker hangs its waiters here); not owned. */
void store_queue_set_data(struct store_queue *q, void *data);
void *store_queue_data(const struct store_queue *q);

/* ---- Appending ---- */

/* What a row of `due` is about (keys.h). */
enum store_due_kind {
	STORE_DUE_NONE,
	STORE_DUE_MESSAGE, /* a message for another queue */
	STORE_DUE_POP,     /* a message that a group popped and has not acknowledged */
};

/* A row of `due`: this is to be done with the record `locator` at at_ms. */
struct store_due {
	int64_t at_ms;
	enum store_due_kind kind;
	int64_t locator;
	/* Of STORE_DUE_POP. The group is borrowed and part of what names the row, the others are what the row says. */
	struct mq_slice group;
	int64_t pop_at_ms;
	bool is_suspended; /* the group put it off: coming again does not count */
};

/* A prepared transaction that is pending: the half message `locator`, whose producer was asked n_checks times. */
struct store_half {
	int64_t locator;
	uint32_t n_checks;
};

/* One message on its way in. head/body/tail are borrowed until done(); `head` is patched in place (record.h) with queue
 * offset, locator and store time under the append lock. */
struct store_record {
	struct store_queue *queue;
	char *head;            /* encoded by mq_record_encode_head() */
	size_t n_head;
	struct mq_slice body, tail;
	int64_t tag_hash;
	struct mq_slice keys;     /* KEYS property: blank-separated index keys; may be empty */
	struct mq_slice uniq_key; /* indexed too; may be empty */
	bool is_half;             /* prepared transaction: also noted in the half family, by locator */
	/* Not STORE_DUE_NONE: a row of `due` in the same batch, for due_at_ms, or for due_after_ms > 0 from when it is stored. */
	enum store_due_kind due_kind;
	int64_t due_at_ms, due_after_ms;
	/* set by the store: */
	int64_t queue_offset, locator, store_at_ms;
};

/* A committed consumer offset that is durable together with the op. */
struct store_offset_put {
	struct mq_slice group, topic;
	int32_t queue_id;
	int64_t offset;
	uint64_t since; /* see store_offset_since(): the topic was deleted after that, so the op ends with -ENOENT */
};

/* A metadata row that is written together with the op; value.p NULL: deleted. */
struct store_meta_put {
	const char *kind;
	struct mq_slice name, value;
};

/* Everything that must live or die together. Embedded in the request that waits for it. */
struct store_op {
	STAILQ_ENTRY(store_op) link;
	struct store_record *records; /* borrowed array; consecutive records of one queue get consecutive offsets */
	unsigned n_records;
	const struct store_offset_put *offset_puts; /* borrowed array */
	unsigned n_offset_puts;
	/* Locator of a half message that this op ends, or -1. Not pending any more: the op ends with -ENOENT, as it does when a queue's
	 * topic was deleted meanwhile. */
	int64_t take_half;
	/* n_checks > 0: that many checks are noted of this half message. Not pending any more: as above. */
	struct store_half note_half;
	/* The row of `due` that this op does, unless its kind is STORE_DUE_NONE; it is deleted with the op. Done or recalled already: the
	 * op ends with -ENOENT. */
	struct store_due take_due;
	/* Rows of `due` that go, whether they are there or not, then such that come; borrowed arrays, with the groups in them. */
	const struct store_due *due_deletes, *due_puts;
	unsigned n_due_deletes, n_due_puts;
	const struct store_meta_put *meta_puts; /* borrowed array */
	unsigned n_meta_puts;
	bool no_wait;       /* WAIT=false: with SYNC_FLUSH do not wait for the disk (unless another op of the turn does) */
	int result;         /* set before done(): 0, -ENOSPC, -EIO, -ENOENT, -ENOMEM, -EINVAL (a name that is put), -EOVERFLOW (numbers used up) */
	void *user;
	/* store's own: */
	struct store_turn *turn;
	uint64_t offset_order; /* of offset_puts among all that is said of offsets; 0: it is in no turn yet */
	STAILQ_ENTRY(store_op) stage_link;
};

/* Empty, takes nothing. */
void store_op_init(struct store_op *op);

STAILQ_HEAD(store_op_list, store_op);

/* The ops that one loop gathered in one event round. Owned by the caller, busy from store_commit() until done(). */
struct store_turn {
	STAILQ_ENTRY(store_turn) link;
	struct store_op_list ops;
	size_t bytes;    /* of all records, kept by store_turn_add() */
	/* Exactly once, on any thread (the caller's own, another committer's, the flusher's): every op->result is set. */
	void (*done)(struct store_turn *turn);
	void *user;
	/* store's own: */
	struct store_op *next_op; /* first op that was not looked at */
	unsigned n_open;          /* ops without a result */
	bool wants_sync;
	bool waits;               /* for the flusher; its lock protects it */
};

void store_turn_init(struct store_turn *turn, void (*done)(struct store_turn *turn), void *user);
/* Of what is said of one consumer offset the last wins: the op's offset_puts are said here, store_offset_set() when it is called. */
void store_turn_add(struct store_turn *turn, struct store_op *op);
void store_commit(struct store *store, struct store_turn *turn);
/* With SYNC_FLUSH: calls each() for every op of a turn that is written and waits for the disk; places and results are known. False,
 * and nothing is called, when it is not so far, or no longer. Between store_commit() and done(), on the thread that owns the turn.
 * The flusher stands still meanwhile: each() must not call the store. */
bool store_turn_each_waiting(struct store *store, struct store_turn *turn, void (*each)(struct store_op *op));
/* How long the write to the database that is under way has taken so far, in ms; 0 when there is none. Any thread. */
int64_t store_write_age_ms(struct store *store);
/* The same of a sync of the log; -1 when there is none. */
int64_t store_sync_age_ms(struct store *store);

/* ---- Reading ---- */

enum store_tier {
	STORE_MEMORY, /* never touches the disk: for I/O loops */
	STORE_DISK,
	STORE_SWEEP, /* as STORE_DISK, but leaves no records in the cache: for who keeps a long stretch by himself */
	STORE_TIERS,
};
enum { STORE_WOULD_BLOCK = 1 };               /* ask again with STORE_DISK on a reader */
enum store_verdict { STORE_GO_ON, STORE_STOP };

/* Called for each record in offset order. `record` is the wire record, borrowed for the call. */
typedef enum store_verdict (*store_on_record)(void *user, int64_t queue_offset, int64_t tag_hash, struct mq_slice record);

/* Walks a queue from offset `from` (>= min) up to its published maximum. *ret_next (set also with STORE_WOULD_BLOCK) is where to
 * go on: behind the last record handed out, whether or not it was the one that stopped. A record that retention removed
 * meanwhile is skipped. With STORE_WOULD_BLOCK records may already have been handed out. 0, STORE_WOULD_BLOCK, -EIO, -EBADMSG. */
int store_scan(struct store *store, struct store_queue *q, int64_t from, enum store_tier tier, store_on_record on_record,
	       void *user, int64_t *ret_next) _must_check_;

/* One record by locator. 0; -ENOENT when no record is there; STORE_WOULD_BLOCK; -EIO. */
int store_get(struct store *store, int64_t locator, enum store_tier tier, store_on_record on_record, void *user) _must_check_;

/* Records with this key (KEYS entry or UNIQ_KEY) of a topic, store time within [begin_ms, end_ms], newest first up to `max`,
 * handed out in ascending order of store time. May read the disk. Returns how many were handed out, or -EIO. */
int store_query(struct store *store, struct mq_slice topic, struct mq_slice key, unsigned max, int64_t begin_ms, int64_t end_ms,
		store_on_record on_record, void *user) _must_check_;

/* ---- What is due ---- */

typedef enum store_verdict (*store_on_due)(void *user, const struct store_due *due);

/* Hands out the rows for `until_ms` and earlier, up to `max`, by time and then in the order in which records were stored; only those
 * behind the row `after`, unless that is NULL.
 * *ret_next_ms is when the first row behind them is due, at most `horizon_ms`: nobody looks further, so that what was put
 * there and deleted again is passed over once, when its time comes. May read the disk; one thread at a time.
 * A row is there until an op takes it: who fails to do it finds it again. One that cannot be read is passed over. 0, -EIO. */
int store_due_scan(struct store *store, const struct store_due *after, int64_t until_ms, int64_t horizon_ms, unsigned max, store_on_due on_due, void *user,
		   int64_t *ret_next_ms) _must_check_;

/* ---- Prepared transactions ---- */

/* Those pending, from this locator on, up to `max`, in the order in which they were stored. Returns how many. May read the disk. A row that
 * cannot be read is passed over. -EIO. */
int store_half_scan(struct store *store, int64_t from, struct store_half *ret, unsigned max) _must_check_;

/* ---- By time ---- */

/* behaviour.md section 13. May read the disk. */
enum store_boundary { STORE_LOWER, STORE_UPPER };
int store_search_time(struct store *store, struct store_queue *q, int64_t at_ms, enum store_boundary b, int64_t *ret_offset) _must_check_;
/* Store time of one message, -1 when it is not there. May read the disk. */
int64_t store_time_at(struct store *store, struct store_queue *q, int64_t offset);

/* Work that may read the disk: run() is called on a reader thread. Embedded in what it is about; run() passes it on
 * (usually by mq_loop_post). When the store closes, jobs not begun are still run. */
struct store_job {
	STAILQ_ENTRY(store_job) link;
	void (*run)(struct store_job *job);
};
void store_submit(struct store *store, struct store_job *job);
/* Work that writes metadata rows, on a thread of its own, in the order in which it comes. It may wait for the disk, and nobody who reads waits
 * with it. Else as store_submit(). */
void store_submit_change(struct store *store, struct store_job *job);

/* ---- Consumer offsets: in memory, logged with the next batch or within a second, at latest on close ---- */

/* Whoever says an offset of a topic asks this first, and then whether the topic is there. What he says counts only if the topic was not
 * deleted since: left behind, it would be where the group begins in a topic of the same name that is made later. */
uint64_t store_offset_since(void);

enum { STORE_NONE = 1 };
int store_offset_get(struct store *store, struct mq_slice group, struct mq_slice topic, int32_t queue_id, int64_t *ret); /* 0, STORE_NONE */
/* -ENOENT: the topic was deleted after `since`; -EINVAL: no name; -ENOMEM. */
int store_offset_set(struct store *store, struct mq_slice group, struct mq_slice topic, int32_t queue_id, int64_t offset,
		     uint64_t since) _must_check_;
/* Empty group or topic: all. Callback under a lock: copy and leave. */
void store_offset_each(struct store *store, struct mq_slice group, struct mq_slice topic,
		       void (*each)(void *user, struct mq_slice group, struct mq_slice topic, int32_t queue_id, int64_t offset), void *user);
int store_offset_delete(struct store *store, struct mq_slice group, struct mq_slice topic) _must_check_; /* empty: all */

/* ---- Metadata rows: topics, groups, versions. Durable (as configured) when the call returns. Not on an I/O loop's hot path. ---- */

int store_meta_put(struct store *store, const char *kind, struct mq_slice name, struct mq_slice value) _must_check_;
int store_meta_delete(struct store *store, const char *kind, struct mq_slice name) _must_check_;
/* In order of names. */
int store_meta_each(struct store *store, const char *kind, int (*each)(void *user, struct mq_slice name, struct mq_slice value), void *user) _must_check_;

/* Deletes all queues of the topic and the offsets of every group on it: at once invisible, disk space follows. A topic of the
 * same name made later starts empty at offset 0 and never shows old messages. The metadata rows are written with it. */
int store_topic_delete(struct store *store, struct mq_slice topic, const struct store_meta_put *puts, unsigned n_puts) _must_check_;

/* ---- Space and statistics ---- */

/* Runs retention now, as the keeper does by itself: expired files, storeMaxBytes, disk watermark. Returns how many files went or
 * queues were emptied or trimmed, or -EIO, -ENOMEM. Queues in shared families are trimmed by age; their space follows later. */
int store_retain(struct store *store, struct mq_error *err);
/* The same, and what is expired goes whatever the hour. */
int store_expire(struct store *store, struct mq_error *err);

struct store_stats {
	uint64_t n_queues, n_families;
	uint64_t bytes_on_disk, bytes_free, bytes_total; /* of the directory's file system */
	double disk_used_ratio;
	uint64_t messages_put, bytes_put;     /* since the store was created: monotone counters */
	int64_t log_min, log_max;             /* what tools show as commitLogMinOffset / commitLogMaxOffset: bytes, monotone */
	int64_t earliest_at_ms;               /* store time of the oldest message, -1 */
	int64_t bytes_not_synced;
	uint64_t sequence, durable_sequence;
	bool has_fast_crc, has_cheap_families; /* these overrides are in effect */
};
void store_stats(struct store *store, struct store_stats *ret);

/* Work done so far by flusher and keeper, for the watchdog: they advance at least once a second while healthy. The flusher stands still while a
 * sync is under way (store_sync_age_ms). */
uint64_t store_flusher_progress(const struct store *store);
uint64_t store_keeper_progress(const struct store *store);
