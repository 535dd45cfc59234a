#include "daemons/broker/ahead.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

enum {
	STRETCH_MAX = 256 << 10, /* bytes */
	STRETCH_MIN = 32 << 10,  /* shorter ones are not worth it */
	STRETCH_SHARE = 8,       /* of the free memory, one in so many for one stretch */
	AHEAD_WORTH = 64,        /* records: closer to its end a queue is read as it grows */
	AHEAD_IDLE_MS = 1000,    /* unused for so long gives way to others */
	AHEAD_EXPIRE_MS = 5000,  /* unused for so long goes */
};

struct stretch_entry {
	int64_t tag_hash;
	size_t end; /* of the record */
};

/* Records from the front, entries from the back. */
struct stretch {
	_Atomic unsigned n_refs;   /* of the table, and of who reads */
	struct ahead *ahead;       /* borrowed */
	struct ahead_queue *queue; /* borrowed while in the table; lock */
	LIST_ENTRY(stretch) in_queue;
	TAILQ_ENTRY(stretch) by_use;
	int64_t from, used_at_ms;
	size_t n, n_bytes, size;
	bool is_followed; /* what comes next was asked for */
	_Alignas(struct stretch_entry) char bytes[];
};

/* A stretch on its way. */
struct fetch {
	struct store_job job;
	struct ahead *ahead;       /* borrowed */
	struct ahead_queue *queue; /* borrowed */
	LIST_ENTRY(fetch) in_queue;
	struct stretch *stretch; /* owned */
	STAILQ_HEAD(, ahead_wait) waits;
};

struct ahead_queue {
	struct store_queue *queue; /* borrowed; the key */
	UT_hash_handle hh;
	LIST_HEAD(, stretch) stretches;
	LIST_HEAD(, fetch) fetches;
};

TAILQ_HEAD(stretch_list, stretch);

struct ahead {
	struct broker *broker;      /* borrowed */
	size_t max_bytes;
	_Atomic size_t n_bytes;     /* of all stretches that anybody has, and of those on their way */
	pthread_mutex_t lock;       /* protects the rest, and what is in the table but records and entries */
	struct ahead_queue *queues; /* owned; those with a stretch or a fetch */
	struct stretch_list by_use; /* the table's; longest unused first */
};

/* ---- One stretch ---- */

static struct stretch_entry *stretch_entry(const struct stretch *s, size_t i)
{
	return (struct stretch_entry *)(s->bytes + s->size) - 1 - i;
}

static struct stretch *stretch_new(struct ahead *a, int64_t from, size_t size)
{
	struct stretch *s = malloc(sizeof *s + size);

	if (!s)
		return NULL;
	*s = (struct stretch){ .n_refs = 1, .ahead = a, .from = from, .size = size };
	atomic_fetch_add(&a->n_bytes, size);
	return s;
}

struct stretch *stretch_unref(struct stretch *s)
{
	if (!s || atomic_fetch_sub(&s->n_refs, 1) != 1)
		return NULL;
	atomic_fetch_sub(&s->ahead->n_bytes, s->size);
	free(s);
	return NULL;
}

static enum store_verdict stretch_on_record(void *user, int64_t queue_offset, int64_t tag_hash, struct mq_slice record)
{
	struct stretch *s = user;

	/* Retention took what was before: that is not to be seen either. */
	if (queue_offset != s->from + (int64_t)s->n) {
		s->from = queue_offset;
		s->n = s->n_bytes = 0;
	}
	if (s->n_bytes + record.n + (s->n + 1) * sizeof(struct stretch_entry) > s->size)
		return STORE_STOP;
	memcpy(s->bytes + s->n_bytes, record.p, record.n);
	s->n_bytes += record.n;
	*stretch_entry(s, s->n) = (struct stretch_entry){ tag_hash, s->n_bytes };
	s->n++;
	return STORE_GO_ON;
}

int64_t stretch_scan(const struct stretch *s, int64_t from, store_on_record on_record, void *user)
{
	size_t i = (size_t)(from - s->from), begin = i > 0 ? stretch_entry(s, i - 1)->end : 0;

	for (; i < s->n; i++) {
		const struct stretch_entry *e = stretch_entry(s, i);
		struct mq_slice record = { s->bytes + begin, e->end - begin };

		if (on_record(user, s->from + (int64_t)i, e->tag_hash, record) == STORE_STOP)
			return s->from + (int64_t)i + 1;
		begin = e->end;
	}
	return s->from + (int64_t)i;
}

/* ---- The table. Lock held. ---- */

static struct ahead_queue *ahead_queue(struct ahead *a, struct store_queue *q, bool make)
{
	struct ahead_queue *aq;

	HASH_FIND_PTR(a->queues, &q, aq);
	if (aq || !make)
		return aq;
	aq = calloc(1, sizeof *aq);
	if (!aq)
		return NULL;
	aq->queue = q;
	HASH_ADD_PTR(a->queues, queue, aq);
	return aq;
}

static void ahead_drop_queue(struct ahead *a, struct ahead_queue *aq)
{
	if (!LIST_EMPTY(&aq->stretches) || !LIST_EMPTY(&aq->fetches))
		return;
	HASH_DEL(a->queues, aq);
	free(aq);
}

static struct stretch *ahead_covering(const struct ahead_queue *aq, int64_t offset)
{
	struct stretch *s;

	LIST_FOREACH(s, &aq->stretches, in_queue)
		if (offset >= s->from && offset - s->from < (int64_t)s->n)
			return s;
	return NULL;
}

static struct fetch *ahead_coming(const struct ahead_queue *aq, int64_t from)
{
	struct fetch *f;

	LIST_FOREACH(f, &aq->fetches, in_queue)
		if (f->stretch->from == from)
			return f;
	return NULL;
}

static void ahead_use(struct ahead *a, struct stretch *s, int64_t now_ms)
{
	s->used_at_ms = now_ms;
	TAILQ_REMOVE(&a->by_use, s, by_use);
	TAILQ_INSERT_TAIL(&a->by_use, s, by_use);
}

static void ahead_drop(struct ahead *a, struct stretch *s)
{
	struct ahead_queue *aq = TAKE(s->queue);

	LIST_REMOVE(s, in_queue);
	TAILQ_REMOVE(&a->by_use, s, by_use);
	ahead_drop_queue(a, aq);
	stretch_unref(s);
}

static void ahead_drop_older(struct ahead *a, int64_t before_ms)
{
	struct stretch *s;

	while ((s = TAILQ_FIRST(&a->by_use)) && s->used_at_ms < before_ms)
		ahead_drop(a, s);
}

/* How long the next stretch may be; 0: not worth it. */
static size_t ahead_grant(struct ahead *a, int64_t now_ms)
{
	size_t n_free, size;

	if (atomic_load(&a->n_bytes) + STRETCH_MAX * STRETCH_SHARE > a->max_bytes)
		ahead_drop_older(a, now_ms - AHEAD_IDLE_MS);
	n_free = atomic_load(&a->n_bytes) < a->max_bytes ? a->max_bytes - atomic_load(&a->n_bytes) : 0;
	size = n_free / STRETCH_SHARE & ~(sizeof(struct stretch_entry) - 1);
	return size > STRETCH_MAX ? STRETCH_MAX : size < STRETCH_MIN ? 0 : size;
}

/* ---- Fetching ---- */

/* On a reader. */
static void fetch_run(struct store_job *job)
{
	struct fetch *f = (struct fetch *)((char *)job - offsetof(struct fetch, job));
	struct ahead *a = f->ahead;
	struct broker *b = a->broker;
	struct stretch *s = f->stretch;
	struct ahead_wait *wait;
	int64_t from = s->from, next;

	/* An error behind what could be read concerns who comes there. */
	(void)!store_scan(b->store, f->queue->queue, from, STORE_SWEEP, stretch_on_record, s, &next);

	pthread_mutex_lock(&a->lock);
	LIST_REMOVE(f, in_queue);
	if (s->n > 0) {
		s->queue = f->queue;
		LIST_INSERT_HEAD(&f->queue->stretches, s, in_queue);
		TAILQ_INSERT_TAIL(&a->by_use, s, by_use);
	} else {
		ahead_drop_queue(a, f->queue);
		stretch_unref(s);
	}
	pthread_mutex_unlock(&a->lock);

	while ((wait = STAILQ_FIRST(&f->waits))) {
		STAILQ_REMOVE_HEAD(&f->waits, link);
		mq_loop_post(wait->loop, &wait->post);
	}
	free(f);
	atomic_fetch_sub(&b->n_posts_due, 1);
}

static struct fetch *fetch_new(struct ahead *a, struct ahead_queue *aq, int64_t from, int64_t now_ms)
{
	size_t size = ahead_grant(a, now_ms);
	struct fetch *f = size > 0 ? calloc(1, sizeof *f) : NULL;

	if (!f)
		return NULL;
	f->stretch = stretch_new(a, from, size);
	if (!f->stretch) {
		free(f);
		return NULL;
	}
	f->stretch->used_at_ms = now_ms;
	f->job.run = fetch_run;
	f->ahead = a;
	f->queue = aq;
	STAILQ_INIT(&f->waits);
	LIST_INSERT_HEAD(&aq->fetches, f, in_queue);
	return f;
}

/* Lock held. *ret_new: to be submitted. */
static bool fetch_join(struct ahead *a, struct store_queue *q, int64_t from, struct ahead_wait *wait, int64_t now_ms,
		       struct fetch **ret_new)
{
	struct ahead_queue *aq = ahead_queue(a, q, true);
	struct fetch *f;

	if (!aq || ahead_covering(aq, from))
		return false;
	f = ahead_coming(aq, from);
	if (!f)
		f = *ret_new = fetch_new(a, aq, from, now_ms);
	if (!f) {
		ahead_drop_queue(a, aq);
		return false;
	}
	if (wait)
		STAILQ_INSERT_TAIL(&f->waits, wait, link);
	return true;
}

bool ahead_fetch(struct ahead *a, struct store_queue *q, int64_t from, struct ahead_wait *wait, int64_t now_ms)
{
	struct fetch *f = NULL;
	bool is_coming;

	pthread_mutex_lock(&a->lock);
	is_coming = fetch_join(a, q, from, wait, now_ms, &f);
	pthread_mutex_unlock(&a->lock);
	if (f) {
		atomic_fetch_add(&a->broker->n_posts_due, 1);
		store_submit(a->broker->store, &f->job);
	}
	return is_coming;
}

/* ---- Reading ---- */

struct stretch *ahead_find(struct ahead *a, struct store_queue *q, int64_t offset, int64_t now_ms)
{
	struct ahead_queue *aq;
	struct stretch *s = NULL;

	/* Nobody reads a backlog, mostly. Pairs with nothing: who misses a stretch reads by himself. */
	if (atomic_load_explicit(&a->n_bytes, memory_order_relaxed) == 0)
		return NULL;
	pthread_mutex_lock(&a->lock);
	aq = ahead_queue(a, q, false);
	if (aq)
		s = ahead_covering(aq, offset);
	if (s) {
		atomic_fetch_add(&s->n_refs, 1);
		ahead_use(a, s, now_ms);
	}
	pthread_mutex_unlock(&a->lock);
	return s;
}

void ahead_passed(struct ahead *a, struct stretch *s, int64_t next, int64_t now_ms)
{
	int64_t end = s->from + (int64_t)s->n;
	struct store_queue *q = NULL;

	pthread_mutex_lock(&a->lock);
	if (s->queue && !s->is_followed) {
		s->is_followed = true;
		q = s->queue->queue;
	}
	if (s->queue && next >= end)
		ahead_drop(a, s);
	pthread_mutex_unlock(&a->lock);
	if (q && store_queue_max(q) - end > AHEAD_WORTH)
		(void)ahead_fetch(a, q, end, NULL, now_ms);
}

void ahead_expire(struct ahead *a, int64_t now_ms)
{
	pthread_mutex_lock(&a->lock);
	ahead_drop_older(a, now_ms - AHEAD_EXPIRE_MS);
	pthread_mutex_unlock(&a->lock);
}

size_t ahead_bytes(const struct ahead *a)
{
	return atomic_load(&a->n_bytes);
}

/* ---- Life ---- */

int ahead_new(struct ahead **ret, struct broker *b, size_t max_bytes)
{
	struct ahead *a = calloc(1, sizeof *a);

	if (!a)
		return -ENOMEM;
	a->broker = b;
	a->max_bytes = max_bytes;
	pthread_mutex_init(&a->lock, NULL);
	TAILQ_INIT(&a->by_use);
	*ret = a;
	return 0;
}

struct ahead *ahead_free(struct ahead *a)
{
	if (!a)
		return NULL;
	ahead_drop_older(a, INT64_MAX);
	pthread_mutex_destroy(&a->lock);
	free(a);
	return NULL;
}
