/* A store on a private directory, with a clock and a disk that the test steers. */
#pragma once

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "libmq/wire/record.h"
#include "storage/internal.h"

/* The thread sanitizer would end children of fork() that start threads, which is what fixture_kill_after() is about. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "die_after_fork=0";
}

struct fixture {
	char dir[64];
	struct store_config cfg;
	struct store *store;
	_Atomic int64_t now_ms;
	struct mq_clock clock;
	_Atomic int write_error, sync_error;
	_Atomic uint64_t n_syncs, free_bytes, total_bytes;
	_Atomic int n_appends;
	_Atomic int64_t last_max;
	_Atomic int n_states;
	_Atomic bool sync_stands;
};

static inline int64_t fixture_wall(void *user)
{
	return atomic_load(&((struct fixture *)user)->now_ms);
}
static inline int64_t fixture_mono(void *user)
{
	return atomic_load(&((struct fixture *)user)->now_ms) * 1000000;
}
static inline int fixture_before_write(void *user)
{
	return atomic_load(&((struct fixture *)user)->write_error);
}
static inline int fixture_before_sync(void *user)
{
	struct fixture *f = user;

	atomic_fetch_add(&f->n_syncs, 1);
	while (atomic_load(&f->sync_stands))
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	return atomic_load(&f->sync_error);
}
static inline int fixture_free_bytes(void *user, uint64_t *ret_free, uint64_t *ret_total)
{
	struct fixture *f = user;

	*ret_free = atomic_load(&f->free_bytes);
	*ret_total = atomic_load(&f->total_bytes);
	return 0;
}
static inline void fixture_on_append(void *user, struct store_queue *queue, int64_t new_max)
{
	struct fixture *f = user;

	atomic_fetch_add(&f->n_appends, 1);
	atomic_store(&f->last_max, new_max);
}
static inline void fixture_on_state(void *user, enum store_state state, const char *why)
{
	atomic_fetch_add(&((struct fixture *)user)->n_states, 1);
}

/* A condition that another thread brings about, waited for with a deadline. */
#define AWAIT(condition)                                                       \
	do {                                                                   \
		struct timespec _pause = { .tv_nsec = 1000000 };               \
		int _left = 10000;                                             \
		bool _is_so; /* looked at once: it may not last */             \
		while (!(_is_so = (condition)) && _left-- > 0)                 \
			nanosleep(&_pause, NULL);                              \
		assert_true(_is_so);                                           \
	} while (0)

static inline int fixture_open_error(struct fixture *f, struct mq_error *err)
{
	return store_open(&f->store, &f->cfg, err);
}

static inline void fixture_open(struct fixture *f)
{
	struct mq_error err = {};

	if (fixture_open_error(f, &err) < 0)
		fail_msg("store_open: %d %s", err.code, err.text);
}

static inline void fixture_close(struct fixture *f)
{
	atomic_store(&f->sync_stands, false);
	f->store = store_close(f->store);
}

static inline void fixture_reopen(struct fixture *f)
{
	fixture_close(f);
	fixture_open(f);
}

static inline struct fixture *fixture_new(void)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	strcpy(f->dir, "/tmp/mqstore.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	atomic_store(&f->now_ms, 1700000000000);
	atomic_store(&f->free_bytes, (uint64_t)100 << 30);
	atomic_store(&f->total_bytes, (uint64_t)200 << 30);
	f->clock = (struct mq_clock){ fixture_wall, fixture_mono, f };
	store_config_init(&f->cfg);
	f->cfg.path = f->dir;
	f->cfg.clock = &f->clock;
	f->cfg.min_free_bytes = 1 << 20;
	f->cfg.hooks = (struct store_hooks){ fixture_before_write, fixture_before_sync, fixture_free_bytes, f };
	f->cfg.on_append = fixture_on_append;
	f->cfg.on_state = fixture_on_state;
	f->cfg.user = f;
	return f;
}

static inline int fixture_setup(void **state)
{
	struct fixture *f = fixture_new();

	fixture_open(f);
	*state = f;
	return 0;
}

/* Opens the store in another process, which does `act` and is then killed. RocksDB's background
 * threads are missing there when a store was open here before: who needs a flush comes first in its program. */
static inline void fixture_kill_after(struct fixture *f, void (*act)(struct fixture *f))
{
	int pipes[2];
	char byte = 0;
	pid_t child;

	assert_null(f->store);
	assert_int_equal(pipe(pipes), 0);
	child = fork();
	if (child == 0) {
		setenv("CMOCKA_TEST_ABORT", "1", 1);
		close(pipes[0]);
		fixture_open(f);
		act(f);
		if (write(pipes[1], &byte, 1) == 1)
			pause();
		_exit(1);
	}
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	kill(child, SIGKILL);
	close(pipes[0]);
	waitpid(child, NULL, 0);
}

/* Not opened yet: the test changes the configuration first. */
static inline int fixture_setup_closed(void **state)
{
	*state = fixture_new();
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	store_close(f->store);
	snprintf(command, sizeof command, "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* ---- messages ---- */

struct message {
	struct store_record record;
	char head[MQ_RECORD_HEAD_MAX], tail[512];
	char *body; /* owned */
};

struct message_spec {
	const char *topic, *body, *keys, *uniq_key;
	int32_t queue_id;
	int64_t tag_hash;
	size_t body_size; /* of a made-up body, when body is NULL */
	bool is_half;
	int64_t due_at_ms; /* 0: it is for now */
};

static inline void message_init(struct message *m, struct store_queue *q, const struct message_spec *spec)
{
	size_t n_body = spec->body ? strlen(spec->body) : spec->body_size;
	struct mq_host host = { .addr = { 127, 0, 0, 1 }, .n_addr = 4, .port = 10911 };
	struct mq_record r = {
		.queue_id = spec->queue_id,
		.born_at_ms = 1,
		.born_host = host,
		.store_host = host,
		.topic = store_queue_topic(q),
	};
	char properties[256];

	snprintf(properties, sizeof properties, "KEYS\001%s\002UNIQ_KEY\001%s\002", spec->keys ? spec->keys : "",
		 spec->uniq_key ? spec->uniq_key : "");
	r.properties = mq_slice_of(properties);
	memset(m, 0, sizeof *m);
	m->body = malloc(n_body + 1);
	assert_non_null(m->body);
	for (size_t i = 0; i < n_body; i++)
		m->body[i] = (char)(spec->body ? spec->body[i] : (char)(rand() & 0xff));
	r.body = (struct mq_slice){ m->body, n_body };
	r.body_crc = mq_body_crc(r.body);
	m->record = (struct store_record){
		.queue = q,
		.head = m->head,
		.n_head = mq_record_encode_head(&r, m->head),
		.body = r.body,
		.tag_hash = spec->tag_hash,
		.keys = mq_slice_of(spec->keys),
		.uniq_key = mq_slice_of(spec->uniq_key),
		.is_half = spec->is_half,
		.due_kind = spec->due_at_ms ? STORE_DUE_MESSAGE : STORE_DUE_NONE,
		.due_at_ms = spec->due_at_ms,
	};
	m->record.tail = (struct mq_slice){ m->tail, mq_record_encode_tail(&r, m->tail) };
}

static inline void message_done(struct message *m)
{
	free(m->body);
}

struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool is_done; /* lock */
};

static inline void waiter_on_done(struct store_turn *turn)
{
	struct waiter *w = turn->user;

	pthread_mutex_lock(&w->lock);
	w->is_done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

/* For a turn, which it sets up. */
static inline void waiter_init(struct waiter *w, struct store_turn *turn)
{
	*w = (struct waiter){ .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
	store_turn_init(turn, waiter_on_done, w);
}

static inline void waiter_wait(struct waiter *w)
{
	pthread_mutex_lock(&w->lock);
	while (!w->is_done)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

static inline void commit_and_wait(struct store *s, struct store_op *ops, unsigned n)
{
	struct store_turn turn;
	struct waiter w;

	waiter_init(&w, &turn);
	for (unsigned i = 0; i < n; i++)
		store_turn_add(&turn, &ops[i]);
	store_commit(s, &turn);
	waiter_wait(&w);
}

static inline struct store_queue *queue_of(struct fixture *f, const char *topic, int32_t queue_id)
{
	struct store_queue *q;

	assert_int_equal(store_queue_open(f->store, mq_slice_of(topic), queue_id, &q), 0);
	return q;
}

/* Appends one message; its offset, or the negative result. */
static inline int64_t append_spec(struct fixture *f, const struct message_spec *spec, int64_t *ret_locator)
{
	struct message m;
	struct store_op op;

	message_init(&m, queue_of(f, spec->topic, spec->queue_id), spec);
	store_op_init(&op);
	op.records = &m.record;
	op.n_records = 1;
	commit_and_wait(f->store, &op, 1);
	message_done(&m);
	if (ret_locator)
		*ret_locator = m.record.locator;
	return op.result < 0 ? op.result : m.record.queue_offset;
}

static inline int64_t append(struct fixture *f, const char *topic, int32_t queue_id, const char *body)
{
	return append_spec(f, &(struct message_spec){ .topic = topic, .queue_id = queue_id, .body = body }, NULL);
}

/* ---- reading ---- */

struct seen {
	unsigned n, stop_after;
	int64_t first, last, tag_hash, locator, store_at_ms;
	bool is_dense, is_valid;
	char body[64]; /* of the last */
};

static inline enum store_verdict seen_on_record(void *user, int64_t offset, int64_t tag_hash, struct mq_slice record)
{
	struct seen *s = user;
	struct mq_record r;

	if (s->n == 0) {
		s->first = offset;
		s->is_dense = s->is_valid = true;
	} else if (offset != s->last + 1) {
		s->is_dense = false;
	}
	s->n++;
	s->last = offset;
	s->tag_hash = tag_hash;
	if (mq_record_decode(record, &r) != (int)record.n || mq_body_crc(r.body) != r.body_crc || r.queue_offset != offset)
		s->is_valid = false;
	s->locator = r.physical_offset;
	s->store_at_ms = r.store_at_ms;
	snprintf(s->body, sizeof s->body, "%.*s", MQ_FMT(r.body));
	return s->stop_after && s->n >= s->stop_after ? STORE_STOP : STORE_GO_ON;
}

static inline struct seen scan(struct fixture *f, const char *topic, int32_t queue_id, int64_t from)
{
	struct seen s = {};
	int64_t next;

	assert_int_equal(store_scan(f->store, queue_of(f, topic, queue_id), from, STORE_DISK, seen_on_record, &s, &next), 0);
	if (s.n > 0)
		assert_true(s.is_valid);
	return s;
}

static inline void flush_queue(struct fixture *f, const char *topic, int32_t queue_id)
{
	struct store_queue *q = queue_of(f, topic, queue_id);
	rocksdb_flushoptions_t *o = rocksdb_flushoptions_create();
	char *text = NULL;

	rocksdb_flush_cf(f->store->db, o, q->family->cf, &text);
	assert_null(text);
	rocksdb_flushoptions_destroy(o);
}

/* Puts a row as no program of ours would; no value: deletes it. */
static inline void raw(struct fixture *f, enum system_family family, struct mq_slice key, const struct mq_slice *value)
{
	_cleanup_(rocksdb_textp) char *text = NULL;
	rocksdb_column_family_handle_t *cf = f->store->cf[family];

	if (value)
		rocksdb_put_cf(f->store->db, f->store->write_options, cf, key.p, key.n, value->p, value->n, &text);
	else
		rocksdb_delete_cf(f->store->db, f->store->write_options, cf, key.p, key.n, &text);
	assert_null(text);
	atomic_store(&f->store->written_sequence, rocksdb_get_latest_sequence_number(f->store->db));
}

/* store_config.on_damage of a test. */
struct damages {
	unsigned n;
	char last[DAMAGE_TEXT_MAX];
};

static inline struct damages *damages(void)
{
	static struct damages told;

	return &told;
}

static inline void damages_on_damage(void *user, const char *what)
{
	damages()->n++;
	snprintf(damages()->last, sizeof damages()->last, "%s", what);
}

/* Commits one op with these records of one queue; its result. */
static inline int commit_op(struct fixture *f, struct store_op *op)
{
	commit_and_wait(f->store, op, 1);
	return op->result;
}

#define TEST(name)        cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
#define TEST_CLOSED(name) cmocka_unit_test_setup_teardown(name, fixture_setup_closed, fixture_teardown)
