/* What the files of storage/ share. Daemons include store.h only.
 *
 * Locks, in the order in which they may be taken: append_lock, offsets_lock, queues_lock, spares_lock, then any of the small ones
 * (pending_lock, flush_lock, sync_lock, state_lock, a job_pool's, due_lock), which are never held while another is taken. */
#pragma once

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <uthash.h>

#include "libmq/base/cleanup.h"
#include "storage/index.h"
#include "storage/keys.h"
#include "storage/options.h"
#include "storage/store.h"

enum {
	SHARED_FAMILIES = 16,
	NAME_MAX_BYTES = 1024, /* of a topic, group or metadata name */
	DELETIONS_KEPT = 256,  /* of topics: so many may happen while a request is on its way to the offsets */
};

/* The families that exist in every store, in the order in which they are opened. */
enum system_family { CF_DEFAULT, CF_META, CF_OFFSETS, CF_INDEX, CF_DUE, CF_HALF, N_SYSTEM_FAMILIES };
extern const char *const system_family_names[N_SYSTEM_FAMILIES];

/* A family for messages: of one queue ("f<number>") or shared ("s<number>"). */
struct store_family {
	rocksdb_column_family_handle_t *cf; /* owned */
	uint32_t number;
	bool is_shared;
	bool is_referenced;              /* while opening: a queue's row names it */
	uint64_t let_go_at;              /* in dead: sequence number of the row since which no queue has it */
	STAILQ_ENTRY(store_family) link; /* in spares or dead */
};
STAILQ_HEAD(store_family_list, store_family);

struct store_queue {
	struct store *store; /* borrowed */
	UT_hash_handle by_name, by_number;
	SLIST_ENTRY(store_queue) link;
	int32_t queue_id;
	bool keeps_due;              /* of one of store_config.due_topics */

	uint32_t number;             /* 0 before the first record. Written with append_lock and queues_lock held, read with either */
	struct store_family *family; /* as number; NULL when nothing is stored. Owned, unless shared */
	bool is_deleted;             /* as number: its topic is gone */

	int64_t next_offset, last_at_ms; /* append_lock */
	bool has_row;                    /* append_lock: the metadata row names the family */
	unsigned n_parked;               /* append_lock: ops that wait for a family */
	uint64_t grown_in;               /* append_lock: the round that last added a record */
	_Atomic int64_t written;         /* next_offset after the last write: records below it can be got by locator */

	/* With SYNC_FLUSH only: what is written and not published. */
	STAILQ_ENTRY(store_queue) flush_link; /* in flush_grown, or in the flusher's own list */
	bool is_in_flush;                     /* flush_lock: it is in one of them */
	int64_t synced;                       /* the flusher's: what the sync under way covers */

	/* Published: stored with seq_cst after the write (with SYNC_FLUSH, after the sync) and before on_append(), so that a waiter that parks and then reads the
	 * maximum, and a committer that raises it and then looks for waiters, cannot miss each other. */
	_Atomic int64_t max;
	_Atomic int64_t min;
	_Atomic int64_t first_at_ms; /* store time of the record at min, -1 when not known */
	_Atomic(void *) data;

	size_t n_key;
	char key[]; /* queue id (4), topic */
};

struct offset_row {
	UT_hash_handle hh;
	TAILQ_ENTRY(offset_row) dirty;
	int64_t offset;
	uint64_t order; /* of who said so */
	bool is_dirty;
	size_t n_group, n_topic, n_key;
	char key[]; /* as on disk */
};

STAILQ_HEAD(store_turn_list, store_turn);
STAILQ_HEAD(store_queue_list, store_queue);

struct counters {
	uint64_t messages, bytes, bytes_dropped;
};

struct compaction {
	struct store_job job; /* first: run() gets this */
	struct store *store;  /* borrowed */
};

struct job_pool {
	pthread_mutex_t lock; /* protects the next three */
	pthread_cond_t cond;
	STAILQ_HEAD(, store_job) jobs;
	bool stops;
	pthread_t *threads; /* owned */
	unsigned n_threads;
};

struct store {
	struct store_config cfg; /* path owned */
	int dir_fd, lock_fd, durable_fd;
	struct store_options options;
	rocksdb_t *db;
	rocksdb_writeoptions_t *write_options;
	rocksdb_readoptions_t *read_options[STORE_TIERS]; /* by enum store_tier */
	rocksdb_column_family_handle_t *cf[N_SYSTEM_FAMILIES];

	_Atomic int state;
	_Atomic bool is_poisoned; /* RocksDB itself failed to write: touching its log again aborts the process, even closing it */
	_Atomic unsigned damaged;   /* bits by enum system_family: a row that cannot be read was met, and told */
	pthread_mutex_t state_lock; /* protects reason */
	char reason[400];

	pthread_rwlock_t queues_lock; /* protects by_name, by_number, all, and see struct store_queue */
	struct store_queue *by_name, *by_number;
	SLIST_HEAD(, store_queue) all;

	pthread_mutex_t append_lock; /* protects all up to the next blank line, and every write to the database */
	rocksdb_writebatch_t *batch;
	struct store_turn_list taken;
	struct store_op_list parked, retried;
	uint32_t next_number;
	uint64_t round;
	struct counters counters;
	int64_t burst_checked_ms; /* monotonic: when a round last asked for free space */

	pthread_mutex_t pending_lock; /* protects pending, wants_retry */
	struct store_turn_list pending;
	bool wants_retry;

	_Atomic uint64_t written_sequence, durable_sequence, bytes_written, bytes_synced;
	_Atomic uint64_t messages_put, bytes_put, bytes_dropped; /* counters, for store_stats() */

	pthread_mutex_t spares_lock; /* protects all up to the next blank line */
	struct store_family_list spares, dead;
	struct store_family *shared[SHARED_FAMILIES];
	unsigned n_spares, n_own, n_wanted, shared_wanted; /* n_own: families of one queue, spares included */
	_Atomic bool ops_wait; /* for families: set with these two, looked at without the lock */
	uint32_t next_family;

	pthread_mutex_t due_lock; /* protects the next two */
	int64_t due_from_ms;      /* no row is due earlier: a scan does not pass over what was deleted */
	int64_t due_noted_ms;     /* the earliest row that was written since the last scan began */

	pthread_mutex_t offsets_lock; /* protects the next four */
	struct offset_row *offsets;
	TAILQ_HEAD(, offset_row) dirty_offsets;
	struct deletion {
		uint64_t order, hash; /* of the topic's name */
	} deletions[DELETIONS_KEPT];  /* of topics: the last ones, a ring */
	unsigned last_deletion;

	_Atomic int64_t write_began_ms; /* monotonic; 0: no write is under way */
	_Atomic int64_t sync_began_ms;  /* the same of a sync */

	pthread_mutex_t flush_lock; /* protects the next four, and what turns in flush_wait say of waiting */
	pthread_cond_t flush_cond;
	struct store_turn_list flush_wait;
	struct store_queue_list flush_grown;
	bool wants_drain, flusher_stops;
	pthread_mutex_t sync_lock; /* one sync and one side record at a time */
	unsigned durable_slot;     /* sync_lock */
	uint64_t durable_generation;

	pthread_mutex_t keeper_lock; /* protects the next two */
	pthread_cond_t keeper_cond;
	bool keeper_stops, keeper_is_wanted;
	pthread_mutex_t retain_lock; /* one retention pass at a time, and no family is freed during it; before append_lock */
	uint64_t min_moved_at;       /* retain_lock: sequence number of the last row that moved a minimum */

	struct job_pool readers, changers; /* changers: one */

	struct compaction compaction; /* of the shared families, one at a time */
	_Atomic bool is_compacting;

	pthread_t flusher, keeper;
	bool has_flusher, has_keeper;
	_Atomic uint64_t flusher_progress, keeper_progress;

	/* space.c */
	_Atomic uint64_t bytes_free, bytes_total, bytes_on_disk, bytes_since_check;
	_Atomic bool is_critical; /* so little space that not even an offset is written */
	_Atomic bool is_refused;  /* RocksDB could not write a table for want of space, and takes nothing until it has */
	bool has_ballast;         /* keeper */
	uint64_t bytes_at_tick;   /* keeper: bytes_written when it last looked */
};

/* A queue that grew in a round, and what it was before. */
struct grown {
	struct store_queue *queue;
	int64_t new_max, old_next_offset, old_last_at_ms;
	bool had_row;
};

static inline void rocksdb_textp(char **text)
{
	rocksdb_free(*text);
}
static inline void writebatchp(rocksdb_writebatch_t **batch)
{
	if (*batch)
		rocksdb_writebatch_destroy(*batch);
}
static inline void iteratorp(rocksdb_iterator_t **it)
{
	if (*it)
		rocksdb_iter_destroy(*it);
}
static inline void pinnedp(rocksdb_pinnableslice_t **value)
{
	if (*value)
		rocksdb_pinnableslice_destroy(*value);
}
static inline void unlockp(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}
/* Holds a mutex until the end of the scope. */
#define LOCKED(mutex)                                                          \
	_cleanup_(unlockp) __attribute__((unused)) pthread_mutex_t *_locked = (pthread_mutex_lock(mutex), (mutex))

static inline struct mq_slice iterator_key(const rocksdb_iterator_t *it)
{
	struct mq_slice key;

	key.p = rocksdb_iter_key(it, &key.n);
	return key;
}
static inline struct mq_slice iterator_value(const rocksdb_iterator_t *it)
{
	struct mq_slice value;

	value.p = rocksdb_iter_value(it, &value.n);
	return value;
}

/* ---- keys and rows ---- */

enum { RECORD_SIZE_MIN = 91 }; /* bytes of a record with nothing in it (protocol/message.md section 1) */
enum { RECORD_KEY_SIZE = 12, RECORD_VALUE_PREFIX = 8, QUEUE_ROW_SIZE = 17, COUNTERS_ROW_SIZE = 24 };

static inline void record_key(char ret[RECORD_KEY_SIZE], uint32_t number, int64_t offset)
{
	mq_put64(mq_put32(ret, number), (uint64_t)offset);
}

enum family_kind { FAMILY_NONE, FAMILY_OWN, FAMILY_SHARED };

struct queue_row {
	int64_t min;
	enum family_kind kind;
	uint32_t family;
	int32_t queue_id;
	struct mq_slice topic;
};
int queue_row_decode(struct mq_slice value, struct queue_row *ret) _must_check_; /* -EBADMSG */
/* "f<number>" or "s<number>". False: another family. */
bool family_name_parse(const char *name, bool *ret_is_shared, uint32_t *ret_number);

/* ---- store.c ---- */

/* Writes `batch` and clears it. Append lock held. 0; -ENOSPC: nothing was written, later it may be; -EIO. The state follows. */
int store_write_locked(struct store *s, rocksdb_writebatch_t *batch) _must_check_;
/* The same for callers without the lock; with SYNC_FLUSH the batch is on the disk when this returns. */
int store_write(struct store *s, rocksdb_writebatch_t *batch) _must_check_;
void store_set_state(struct store *s, enum store_state state, const char *fmt, ...) _printf_(3, 4);
/* RocksDB's text says that it takes nothing until there is space for what it has; nothing was done, and nothing is broken. */
bool store_was_refused(const char *text);
/* -EIO with RocksDB's text. */
int store_rocksdb_error(struct mq_error *err, const char *what, const char *text);
int store_thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *user) _must_check_;
/* Absolute CLOCK_MONOTONIC time for the condition variables made by store_cond_init(). */
struct timespec store_deadline(int64_t from_now_ms);
void store_cond_init(pthread_cond_t *cond);

/* ---- append.c ---- */
void append_drain(struct store *s);
/* For who writes something else than turns. Letting go takes along the turns that came meanwhile. */
void append_lock(struct store *s);
void append_unlock(struct store *s);
bool append_is_idle(struct store *s);
void append_retry(struct store *s); /* parked ops are looked at again, then append_drain() */

/* ---- flush.c ---- */
int flush_start(struct store *s) _must_check_;
void flush_stop(struct store *s); /* everything written is synced and every turn done */
/* With SYNC_FLUSH: once the disk has what is written by now, these queues are published, then these turns done. `turns` is empty afterwards. */
void flush_enqueue(struct store *s, struct store_turn_list *turns, const struct grown *grown, size_t n_grown);
void flush_wake_drain(struct store *s);
int store_sync(struct store *s); /* 0, -EIO */
/* The same, unless what has this sequence number is on the disk already. Files and families are deleted at once, outside the log: the rows
 * that say so must be there first, or after a power loss the older rows name what is gone. No lock held but retain_lock. */
int store_sync_to(struct store *s, uint64_t sequence) _must_check_;

/* ---- durable.c ---- */
struct durable {
	uint32_t format;
	uint64_t sequence;
};
/* Reads the side record of a store's directory. STORE_NONE: there is none; -EIO. */
int durable_read(int dir_fd, struct durable *ret, unsigned *ret_slot, uint64_t *ret_generation) _must_check_;
int durable_open(struct store *s, struct mq_error *err) _must_check_;
/* Before the database is opened. 0, negative errno. */
int durable_sync_logs(struct store *s, struct mq_error *err) _must_check_;
void durable_note(struct store *s, uint64_t sequence); /* sync_lock held */
void durable_sync(struct store *s);

/* ---- queue.c ---- */
int queues_load(struct store *s, struct store_family *const *families, size_t n, struct mq_error *err) _must_check_;
void queues_free(struct store *s);
void queue_row_put(rocksdb_writebatch_t *batch, struct store *s, const struct store_queue *q, int64_t min);
void queue_row_delete(rocksdb_writebatch_t *batch, struct store *s, const struct store_queue *q);
/* By number; NULL when there is none. */
struct store_queue *queue_by_number(struct store *s, uint32_t number);
/* Gives a queue a family. Append lock held. False: the keeper has to make one first. */
bool queue_assign(struct store *s, struct store_queue *q);
/* Gives the family of an empty queue back: the keeper drops it. Append lock held. */
void queue_release_family(struct store *s, struct store_queue *q);

/* ---- families.c ---- */
enum { SPARES_LOW = 4, SPARES_FULL = 8 };
struct store_family *family_new(const char *name, rocksdb_column_family_handle_t *cf);
void family_free(struct store_family *f);
/* Spares and shared families; dropping: what the keeper does. True when something was made for waiting ops, or is to be refused. */
bool families_make(struct store *s);
void families_drop_dead(struct store *s);
void families_free(struct store *s);
/* A family for queue `hash`, or NULL (then it was noted that one is wanted). */
struct store_family *family_take(struct store *s, uint32_t hash);
void family_bury(struct store *s, struct store_family *f);

/* ---- read.c ---- */
/* NULL when nothing is stored. */
rocksdb_iterator_t *read_iterator(struct store *s, struct store_queue *q, const rocksdb_readoptions_t *options);
/* Turns an iterator's error into 0, STORE_WOULD_BLOCK or -EIO. */
int read_status(rocksdb_iterator_t *it);

/* ---- jobs.c ---- */
void job_pool_init(struct job_pool *p);
void job_pool_done(struct job_pool *p);
int job_pool_start(struct job_pool *p, const char *name, unsigned n) _must_check_; /* after a failure, too, it is stopped */
void job_pool_stop(struct job_pool *p); /* runs what is there; nothing is submitted any more */

/* ---- index.c ---- */
void index_put(rocksdb_writebatch_t *batch, struct store *s, const struct store_record *r);

/* ---- damage.c ---- */
enum { DAMAGE_TEXT_MAX = 200 };
void damage_text(char ret[DAMAGE_TEXT_MAX], enum system_family family, struct mq_slice key, struct mq_slice value);
/* Tells it, the first time of this family. Append lock not held. */
void damage_note(struct store *s, enum system_family family, struct mq_slice key, struct mq_slice value);

/* ---- half.c ---- */
void half_put(rocksdb_writebatch_t *batch, struct store *s, int64_t locator, uint32_t n_checks);
void half_delete(rocksdb_writebatch_t *batch, struct store *s, int64_t locator);
/* 0: pending; -ENOENT, -EIO. */
int half_check(struct store *s, int64_t locator) _must_check_;
int half_parse(struct mq_slice key, struct mq_slice value, struct store_half *ret) _must_check_; /* -EBADMSG */

/* ---- due.c ---- */
enum { DUE_KEY_MIN = 17, DUE_KEY_MAX = DUE_KEY_MIN + NAME_MAX_BYTES, DUE_POP_VALUE_SIZE = 9 };
/* The group borrows from the key. -EBADMSG. */
int due_parse(struct mq_slice key, struct mq_slice value, struct store_due *ret) _must_check_;
bool due_is_valid(const struct store_due *due); /* its group may be put */
bool due_equals(const struct store_due *a, const struct store_due *b); /* the same row */
void due_put(rocksdb_writebatch_t *batch, struct store *s, const struct store_due *due);
void due_delete(rocksdb_writebatch_t *batch, struct store *s, const struct store_due *due);
/* 0: the row is there; -ENOENT, -EIO. */
int due_check(struct store *s, const struct store_due *due) _must_check_;
/* After the write, before on_due(): rows from at_ms on are there. */
void due_note(struct store *s, int64_t at_ms);
/* How far retention may go: the first record of a queue in [min, new_min) that still waits, or new_min. Negative: -EIO. May read the disk. */
int64_t due_limit(struct store *s, struct store_queue *q, int64_t new_min) _must_check_;

/* ---- offsets.c ---- */
int offsets_load(struct store *s, struct mq_error *err) _must_check_;
void offsets_free(struct store *s);
/* Writes what changed in memory. 0, -EIO, -ENOSPC. */
int offsets_flush(struct store *s);
/* Later than all before. */
uint64_t offsets_order(void);
/* Of an op: into its batch, and after the write into memory, unless something later is said of it there. Append lock held. */
void offsets_stage(rocksdb_writebatch_t *batch, struct store *s, const struct store_offset_put *put, uint64_t order);
int offsets_commit(struct store *s, const struct store_offset_put *put, uint64_t order) _must_check_; /* -ENOMEM */
bool offset_put_is_valid(const struct store_offset_put *put);
bool offset_put_is_late(struct store *s, const struct store_offset_put *put); /* its topic was deleted. Append lock held */
/* Parts of a key on disk. -EBADMSG. */
int offset_key_parse(struct mq_slice key, struct mq_slice *ret_group, struct mq_slice *ret_topic, int32_t *ret_queue_id) _must_check_;
/* Stages the removal of all rows of a group and topic (empty: all); after the write they are taken out of memory. Append lock held. */
void offsets_stage_delete(rocksdb_writebatch_t *batch, struct store *s, struct mq_slice group, struct mq_slice topic);
void offsets_forget(struct store *s, struct mq_slice group, struct mq_slice topic);
/* The same of all groups; who still says something of the topic is too late. */
void offsets_forget_topic(struct store *s, struct mq_slice topic);

/* ---- meta.c ---- */
enum { META_KEY_MAX = 32 + NAME_MAX_BYTES };
/* Kinds that begin with a dot are the store's own. */
#define META_QUEUE ".queue" /* name: queue number (4); value: struct queue_row */
#define META_STORE ".store" /* "format" (4), "next-queue" (4), "counters" (3 x 8) */
size_t meta_key(char ret[META_KEY_MAX], const char *kind, struct mq_slice name); /* 0: name or kind too long */
/* value.p NULL: deletes the row. */
void meta_stage(rocksdb_writebatch_t *batch, struct store *s, const char *kind, struct mq_slice name, struct mq_slice value);
/* STORE_NONE when the row is missing; -EBADMSG when it has another size. */
int meta_get_fixed(struct store *s, const char *kind, struct mq_slice name, char *ret, size_t size) _must_check_;
void counters_stage(rocksdb_writebatch_t *batch, struct store *s);

/* ---- retention.c, space.c, keeper.c ---- */
int keeper_start(struct store *s) _must_check_;
void keeper_stop(struct store *s);
void keeper_wake(struct store *s);
/* A pass of retention, which may take minutes, has come a step further; a step reads some twenty blocks at most. Only this shows that a
 * keeper who is at it does not hang. And he makes the families that sends wait for. Append lock not held. */
void keeper_goes_on(struct store *s);
void space_open(struct store *s);        /* before RocksDB opens: space_check(), and the ballast is given up if need be */
void space_check(struct store *s);       /* keeper and retention: asks the file system, moves the state, keeps the ballast */
void space_check_burst(struct store *s); /* append lock held, before a round */
bool space_is_critical(struct store *s); /* also while RocksDB refuses */
void space_refused(struct store *s); /* RocksDB refused a write: see is_refused */
void space_try_again(struct store *s); /* keeper: does it still? */
void space_keep_ballast(struct store *s); /* keeper */
void space_measure(struct store *s); /* bytes_on_disk */
void retention_tick(struct store *s);
