/* An entry goes:  made by the first who asks ──> asking ──> known ──> asking again, every 30 s ──> known ...
 *                                                  └─ no such topic, or nobody asked for long ──> gone
 * Questions are asked on the main loop, where the registrar's connections to the NameServers live. */
#include "daemons/broker/read_queues.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/register.h"
#include "daemons/broker/retry.h"
#include "daemons/broker/topics.h"
#include "libmq/net/rpc.h"
#include "libmq/wire/body_route.h"

enum {
	PERIOD_MS = 30000,  /* loadBalancePollNameServerInterval */
	UNUSED_MS = 600000, /* so long nobody asked: forgotten */
	TIMEOUT_MS = 3000,
};

struct wait {
	struct mq_post post;     /* back to its loop */
	STAILQ_ENTRY(wait) link;
	struct mq_loop *loop;    /* borrowed */
	read_queues_done done;
	void *user;
	struct queue_list *list; /* ref, once it is known */
};

STAILQ_HEAD(waits, wait);

struct entry {
	UT_hash_handle hh;
	TAILQ_ENTRY(entry) wanted;  /* of read_queues.wanted while is_wanted */
	struct read_queues *owner;  /* borrowed */
	struct queue_list *list;    /* ref; NULL: not known */
	int64_t used_at_ms;         /* monotonic */
	bool is_wanted, is_asking;
	struct waits waits;
	size_t n_topic;
	char topic[];
};

struct read_queues {
	struct broker *broker;         /* borrowed */
	struct mq_timer timer;         /* main loop */
	bool is_ticking;               /* main loop: the timer is set */
	pthread_mutex_t lock;          /* protects the next, and the entries */
	struct entry *entries;         /* owned */
	TAILQ_HEAD(, entry) wanted;    /* to be asked by the main loop */
	struct mq_post post;
	bool is_posted, is_stopping;
};

/* ---- Lists ---- */

static struct queue_list *queue_list_ref(struct queue_list *list)
{
	if (list)
		atomic_fetch_add_explicit(&list->refs, 1, memory_order_relaxed);
	return list;
}

struct queue_list *queue_list_unref(struct queue_list *list)
{
	/* The last one must see what the others did: pairs with itself. */
	if (list && atomic_fetch_sub_explicit(&list->refs, 1, memory_order_acq_rel) == 1) {
		free(list->names);
		free(list);
	}
	return NULL;
}

/* Room for n queues and the names they borrow. */
static struct queue_list *queue_list_new(size_t n, size_t n_names)
{
	struct queue_list *list = calloc(1, sizeof *list + n * sizeof list->queues[0]);

	if (!list)
		return NULL;
	list->refs = 1;
	list->names = malloc(n_names + 1);
	if (!list->names) {
		free(list);
		return NULL;
	}
	return list;
}

/* Adds the queues of one broker, whose name goes to list->names at *at. */
static void queue_list_add(struct queue_list *list, struct mq_slice topic, struct mq_slice broker, int32_t n, size_t *at)
{
	char *name = list->names + *at;

	memcpy(name, broker.p, broker.n);
	*at += broker.n;
	for (int32_t i = 0; i < n; i++)
		list->queues[list->n++] =
			(struct mq_queue_name){ .broker = { name, broker.n }, .topic = topic, .id = i };
}

static int queue_order(const void *a, const void *b)
{
	const struct mq_queue_name *x = a, *y = b;
	int r = mq_slice_compare(x->broker, y->broker);

	return r ? r : (x->id > y->id) - (x->id < y->id);
}

static bool is_readable(const struct mq_route_queue *q)
{
	return (q->perm & PERM_READ) && q->read_queues > 0;
}

/* NULL: no memory, or more than READ_QUEUES_MAX. */
static struct queue_list *queue_list_of_route(struct mq_slice topic, const struct mq_route *route)
{
	size_t n = 0, n_names = topic.n, at = topic.n;
	struct queue_list *list;

	for (unsigned i = 0; i < route->n_queues; i++)
		if (is_readable(&route->queues[i])) {
			n += (size_t)route->queues[i].read_queues;
			n_names += route->queues[i].broker.n;
		}
	list = n <= READ_QUEUES_MAX ? queue_list_new(n, n_names) : NULL;
	if (!list)
		return NULL;
	memcpy(list->names, topic.p, topic.n);
	topic.p = list->names;
	for (unsigned i = 0; i < route->n_queues; i++)
		if (is_readable(&route->queues[i]))
			queue_list_add(list, topic, route->queues[i].broker, route->queues[i].read_queues, &at);
	qsort(list->queues, list->n, sizeof list->queues[0], queue_order);
	return list;
}

/* A broker without NameServers. *ret NULL: it does not have the topic either. */
static int own_queues(struct broker *b, struct mq_slice name, struct queue_list **ret)
{
	struct mq_route_queue queue = { .broker = mq_slice_of(b->config.brokerName) };
	struct mq_route route = { .queues = &queue, .n_queues = 1 };
	struct topic topic;

	*ret = NULL;
	if (topics_get(b->topics, name, &topic) < 0)
		return 0;
	queue.read_queues = topic.read_queues;
	queue.perm = topic.perm;
	*ret = queue_list_of_route(name, &route);
	return *ret ? 0 : -ENOMEM;
}

/* ---- Who waits ---- */

static void wait_run(struct mq_post *post)
{
	struct wait *w = (struct wait *)post;

	w->done(w->user, w->list);
	queue_list_unref(w->list);
	free(w);
}

/* Lock held. */
static void entry_release(struct entry *e)
{
	struct wait *w;

	while ((w = STAILQ_FIRST(&e->waits))) {
		STAILQ_REMOVE_HEAD(&e->waits, link);
		w->list = queue_list_ref(e->list);
		mq_loop_post(w->loop, &w->post);
	}
}

static int entry_wait(struct entry *e, struct mq_loop *loop, read_queues_done done, void *user)
{
	struct wait *w = calloc(1, sizeof *w);

	if (!w)
		return -ENOMEM;
	w->post.run = wait_run;
	w->loop = loop;
	w->done = done;
	w->user = user;
	STAILQ_INSERT_TAIL(&e->waits, w, link);
	return READ_QUEUES_WAIT;
}

/* ---- Entries. Lock held. ---- */

static struct entry *entry_get(struct read_queues *r, struct mq_slice topic)
{
	struct entry *e;

	HASH_FIND(hh, r->entries, topic.p, topic.n, e);
	if (e)
		return e;
	e = calloc(1, sizeof *e + topic.n);
	if (!e)
		return NULL;
	e->owner = r;
	STAILQ_INIT(&e->waits);
	e->n_topic = topic.n;
	memcpy(e->topic, topic.p, topic.n);
	HASH_ADD_KEYPTR(hh, r->entries, e->topic, e->n_topic, e);
	return e;
}

static void entry_drop(struct entry *e)
{
	struct read_queues *r = e->owner;

	HASH_DEL(r->entries, e);
	queue_list_unref(e->list);
	free(e);
}

static void entry_want(struct entry *e)
{
	struct read_queues *r = e->owner;

	if (e->is_wanted || e->is_asking)
		return;
	e->is_wanted = true;
	TAILQ_INSERT_TAIL(&r->wanted, e, wanted);
	if (!r->is_posted)
		mq_loop_post(r->broker->main_loop, &r->post);
	r->is_posted = true;
}

int read_queues_find(struct read_queues *r, struct mq_slice topic, struct mq_loop *loop, read_queues_done done, void *user,
		     struct queue_list **ret)
{
	struct broker *b = r->broker;
	struct entry *e;
	int result = 0;

	*ret = NULL;
	if (!registrar_has_servers(b->registrar))
		return own_queues(b, topic, ret);
	pthread_mutex_lock(&r->lock);
	if (!r->is_stopping) {
		e = entry_get(r, topic);
		result = !e ? -ENOMEM : e->list && e->list->n > 0 ? 0 : entry_wait(e, loop, done, user);
		if (e)
			e->used_at_ms = mq_mono_ns(b->clock) / 1000000;
		if (result == READ_QUEUES_WAIT)
			entry_want(e);
		else if (result == 0)
			*ret = queue_list_ref(e->list);
	}
	pthread_mutex_unlock(&r->lock);
	return result;
}

/* ---- Questions. Main loop. ---- */

/* What this answer says. NULL, and *ret_is_known false: nothing. */
static struct queue_list *entry_read(struct entry *e, const struct mq_command *answer, bool *ret_is_known)
{
	struct mq_slice topic = { e->topic, e->n_topic };
	struct queue_list *list = NULL;
	struct mq_error err = {};
	struct mq_route route;

	*ret_is_known = false;
	if (!answer)
		return NULL;
	/* As upstream: a retry topic comes with its first message, and stays. */
	if (answer->code == MQ_TOPIC_NOT_EXIST)
		*ret_is_known = !mq_slice_starts(topic, MQ_SLICE(RETRY_PREFIX));
	else if (answer->code == MQ_SUCCESS && mq_route_decode(&route, answer->body, &err) == 0) {
		list = queue_list_of_route(topic, &route);
		*ret_is_known = list;
		mq_route_done(&route);
	}
	return list;
}

static void entry_on_answer(int result, const struct mq_command *answer, const char *why, void *user)
{
	struct entry *e = user;
	struct read_queues *r = e->owner;
	struct queue_list *list;
	bool is_known;

	list = entry_read(e, result == 0 ? answer : NULL, &is_known);
	pthread_mutex_lock(&r->lock);
	e->is_asking = false;
	if (is_known) {
		queue_list_unref(e->list);
		e->list = list;
	}
	entry_release(e);
	if (!e->list)
		entry_drop(e);
	pthread_mutex_unlock(&r->lock);
}

static void entry_ask(struct entry *e)
{
	struct broker *b = e->owner->broker;
	struct mq_command cmd;

	mq_command_request(&cmd, MQ_GET_ROUTEINFO_BY_TOPIC);
	mq_command_add(&cmd, "topic", (struct mq_slice){ e->topic, e->n_topic });
	if (registrar_ask(b->registrar, &cmd, TIMEOUT_MS, entry_on_answer, e) < 0)
		entry_on_answer(-ENOTCONN, NULL, NULL, e);
}

static void read_queues_tick(struct read_queues *r)
{
	struct mq_loop *loop = r->broker->main_loop;

	r->is_ticking = mq_timer_set(loop, &r->timer, mq_loop_mono_ms(loop) + PERIOD_MS) == 0;
}

static void read_queues_on_timer(struct mq_timer *timer)
{
	struct read_queues *r = (struct read_queues *)((char *)timer - offsetof(struct read_queues, timer));
	int64_t unused_since_ms = mq_mono_ns(r->broker->clock) / 1000000 - UNUSED_MS;
	struct entry *e, *next;

	pthread_mutex_lock(&r->lock);
	HASH_ITER(hh, r->entries, e, next) {
		if (e->used_at_ms >= unused_since_ms)
			entry_want(e);
		else if (!e->is_wanted && !e->is_asking)
			entry_drop(e);
	}
	pthread_mutex_unlock(&r->lock);
	read_queues_tick(r);
}

static struct entry *read_queues_next(struct read_queues *r)
{
	struct entry *e;

	pthread_mutex_lock(&r->lock);
	e = TAILQ_FIRST(&r->wanted);
	if (e) {
		TAILQ_REMOVE(&r->wanted, e, wanted);
		e->is_wanted = false;
		e->is_asking = true;
	}
	r->is_posted &= e != NULL;
	pthread_mutex_unlock(&r->lock);
	return e;
}

static void read_queues_on_post(struct mq_post *post)
{
	struct read_queues *r = (struct read_queues *)((char *)post - offsetof(struct read_queues, post));
	struct entry *e;

	if (r->is_stopping) /* set by this thread */
		return;
	if (!r->is_ticking)
		read_queues_tick(r);
	while ((e = read_queues_next(r)))
		entry_ask(e);
}

void read_queues_stop(struct read_queues *r)
{
	mq_timer_clear(r->broker->main_loop, &r->timer);
	pthread_mutex_lock(&r->lock);
	r->is_stopping = true;
	for (struct entry *e = r->entries; e; e = e->hh.next)
		entry_release(e);
	pthread_mutex_unlock(&r->lock);
}

/* ---- Life ---- */

int read_queues_new(struct read_queues **ret, struct broker *b)
{
	struct read_queues *r = calloc(1, sizeof *r);

	if (!r)
		return -ENOMEM;
	r->broker = b;
	r->timer.fire = read_queues_on_timer;
	r->post.run = read_queues_on_post;
	TAILQ_INIT(&r->wanted);
	pthread_mutex_init(&r->lock, NULL);
	*ret = r;
	return 0;
}

struct read_queues *read_queues_free(struct read_queues *r)
{
	struct entry *e, *next;

	if (!r)
		return NULL;
	HASH_ITER(hh, r->entries, e, next)
		entry_drop(e);
	pthread_mutex_destroy(&r->lock);
	free(r);
	return NULL;
}
