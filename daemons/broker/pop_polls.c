/* Why no message is missed.
 *
 *   commit                                      pop
 *   C1  publish the queue's maximum             P0  read seq of its topics
 *   C2  raise seq of its topic                      look: read maxima
 *   C3  read n of its topic, wake               P1  raise n of its topics
 *                                               P2  read seq of its topics, look again when it changed
 *
 * All are sequentially consistent. A maximum that the look did not see was published after P0. If C2 comes before P2, P2 sees that
 * seq changed since P0 (had P0 seen it, the look would have seen the maximum); else P1 comes before C3, and C3 sees it. */
#include "daemons/broker/pop_polls.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uthash.h>

#include "daemons/broker/pop_names.h"
#include "libmq/base/bytes.h"

enum {
	POLL_SLOTS = 1024, /* topics share slots: a neighbour's message costs a glance */
	POLL_KEY_MAX = 5 + 2 * POP_NAME_MAX + 1,
};

/* A key is found under its topic and under both retry topics of its group. */
struct poll_place {
	LIST_ENTRY(poll_place) link;
	struct poll_key *key;
	struct pop_name name;
	unsigned slot;
};

struct poll_key {
	UT_hash_handle hh;
	SLIST_ENTRY(poll_key) emptied; /* while a slot's places are walked */
	struct poll_place places[POP_MARKS];
	TAILQ_HEAD(, pop_poll) polls; /* never empty */
	unsigned n;
	int32_t queue_id;
	size_t n_text;
	char text[]; /* kind (1) queue id (4) group 0x00 topic */
};

struct poll_slot {
	_Atomic uint64_t seq;
	_Atomic unsigned n;		  /* places in it; read without the lock */
	LIST_HEAD(, poll_place) places; /* the table's lock */
};

struct pop_polls {
	struct poll_slot slots[POLL_SLOTS];
	pthread_mutex_t lock; /* protects the next two, and every key and list */
	struct poll_key *keys;
	int64_t n;
};

static unsigned polls_slot(struct mq_slice topic)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < topic.n; i++)
		hash = (hash ^ (uint8_t)topic.p[i]) * 0x100000001b3; /* FNV-1a */
	return (unsigned)(hash >> 32) % POLL_SLOTS;
}

int pop_polls_new(struct pop_polls **ret)
{
	struct pop_polls *p = calloc(1, sizeof *p);

	if (!p)
		return -ENOMEM;
	pthread_mutex_init(&p->lock, NULL);
	*ret = p;
	return 0;
}

struct pop_polls *pop_polls_free(struct pop_polls *p)
{
	if (!p)
		return NULL;
	pthread_mutex_destroy(&p->lock);
	free(p);
	return NULL;
}

/* ---- Keys ---- */

static size_t key_text(char ret[POLL_KEY_MAX], enum pop_poll_kind kind, struct mq_slice group, struct mq_slice topic, int32_t queue_id)
{
	char *p = mq_put32(mq_put8(ret, (uint8_t)kind), (uint32_t)queue_id);

	if (group.n > POP_NAME_MAX || topic.n > POP_NAME_MAX)
		return 0;
	p = mq_put8(mq_put_bytes(p, group.p, group.n), 0);
	return (size_t)(mq_put_bytes(p, topic.p, topic.n) - ret);
}

static struct poll_key *key_find(struct pop_polls *p, const char *text, size_t n)
{
	struct poll_key *key;

	HASH_FIND(hh, p->keys, text, (unsigned)n, key);
	return key;
}

static struct poll_key *key_add(struct pop_polls *p, const struct pop_wish *wish, const char *text, size_t n)
{
	struct poll_key *key = calloc(1, sizeof *key + n);

	if (!key)
		return NULL;
	TAILQ_INIT(&key->polls);
	key->queue_id = wish->queue_id;
	key->n_text = n;
	memcpy(key->text, text, n);
	HASH_ADD_KEYPTR(hh, p->keys, key->text, (unsigned)n, key);
	for (unsigned i = 0; i < POP_MARKS; i++) {
		struct poll_place *place = &key->places[i];

		place->key = key;
		pop_topic(&place->name, (enum pop_mark)i, wish->topic, wish->group);
		place->slot = polls_slot(pop_name_slice(&place->name));
		LIST_INSERT_HEAD(&p->slots[place->slot].places, place, link);
		atomic_fetch_add(&p->slots[place->slot].n, 1); /* P1 */
	}
	return key;
}

static void key_drop(struct pop_polls *p, struct poll_key *key)
{
	for (unsigned i = 0; i < POP_MARKS; i++) {
		LIST_REMOVE(&key->places[i], link);
		atomic_fetch_sub(&p->slots[key->places[i].slot].n, 1);
	}
	HASH_DEL(p->keys, key);
	free(key);
}

/* True: nobody waits for the key any more. */
static bool polls_take(struct pop_polls *p, struct pop_poll *poll)
{
	struct poll_key *key = poll->key;

	TAILQ_REMOVE(&key->polls, poll, link);
	poll->key = NULL;
	p->n--;
	return --key->n == 0;
}

static void polls_remove(struct pop_polls *p, struct pop_poll *poll)
{
	struct poll_key *key = poll->key;

	if (polls_take(p, poll))
		key_drop(p, key);
}

/* ---- Waiting ---- */

uint64_t pop_polls_seen(struct pop_polls *p, const struct pop_wish *wish)
{
	struct pop_name name;
	uint64_t sum = 0;

	for (unsigned i = 0; i < POP_MARKS; i++) {
		pop_topic(&name, (enum pop_mark)i, wish->topic, wish->group);
		sum += atomic_load(&p->slots[polls_slot(pop_name_slice(&name))].seq);
	}
	return sum;
}

static uint64_t key_seen(struct pop_polls *p, const struct poll_key *key)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < POP_MARKS; i++)
		sum += atomic_load(&p->slots[key->places[i].slot].seq);
	return sum;
}

int pop_polls_park(struct pop_polls *p, struct pop_poll *poll, const struct pop_wish *wish, uint64_t seen, int64_t max_of_key,
		   int64_t max_of_all)
{
	char text[POLL_KEY_MAX];
	size_t n = key_text(text, wish->kind, wish->group, wish->topic, wish->queue_id);
	struct poll_key *key;
	int r = 0;

	pthread_mutex_lock(&p->lock);
	key = key_find(p, text, n);
	if (p->n >= max_of_all || (key && key->n > max_of_key))
		r = POP_POLLS_FULL;
	else if (!key && !(key = key_add(p, wish, text, n)))
		r = -ENOMEM;
	if (r == 0) {
		poll->key = key;
		TAILQ_INSERT_TAIL(&key->polls, poll, link);
		key->n++;
		p->n++;
		if (key_seen(p, key) != seen) { /* P2 */
			polls_remove(p, poll);
			r = POP_POLLS_AGAIN;
		}
	}
	pthread_mutex_unlock(&p->lock);
	return r;
}

bool pop_polls_unpark(struct pop_polls *p, struct pop_poll *poll)
{
	bool is_waiting;

	pthread_mutex_lock(&p->lock);
	is_waiting = poll->key;
	if (is_waiting)
		polls_remove(p, poll);
	pthread_mutex_unlock(&p->lock);
	return is_waiting;
}

/* ---- Waking ---- */

/* A queue remembers the slot of its topic. */
static struct poll_slot *polls_slot_of(struct pop_polls *p, struct store_queue *q)
{
	uintptr_t slot = (uintptr_t)store_queue_data(q);

	if (slot == 0) {
		slot = polls_slot(store_queue_topic(q)) + 1;
		store_queue_set_data(q, (void *)slot);
	}
	return &p->slots[slot - 1];
}

static bool place_wants(const struct poll_place *place, const struct store_queue *q)
{
	const struct poll_key *key = place->key;

	/* What comes again is looked for by all. */
	return mq_slice_equal(pop_name_slice(&place->name), store_queue_topic(q)) &&
	       (place != &key->places[POP_NORMAL] || key->queue_id < 0 || key->queue_id == store_queue_id(q));
}

void pop_polls_grew(struct pop_polls *p, struct store_queue *q)
{
	SLIST_HEAD(, poll_key) emptied = SLIST_HEAD_INITIALIZER(emptied);
	struct poll_slot *slot = polls_slot_of(p, q);
	struct poll_place *place;
	struct poll_key *key;

	atomic_fetch_add(&slot->seq, 1); /* C2 */
	if (atomic_load(&slot->n) == 0)	 /* C3 */
		return;
	pthread_mutex_lock(&p->lock);
	LIST_FOREACH(place, &slot->places, link) {
		struct pop_poll *poll = place_wants(place, q) ? TAILQ_FIRST(&place->key->polls) : NULL;

		if (!poll)
			continue;
		if (polls_take(p, poll))
			SLIST_INSERT_HEAD(&emptied, place->key, emptied);
		mq_loop_post(poll->loop, &poll->post);
	}
	while ((key = SLIST_FIRST(&emptied))) {
		SLIST_REMOVE_HEAD(&emptied, emptied);
		key_drop(p, key);
	}
	pthread_mutex_unlock(&p->lock);
}

/* Lock held. */
static void polls_wake_one(struct pop_polls *p, enum pop_poll_kind kind, struct mq_slice group, struct mq_slice topic,
			   int32_t queue_id)
{
	char text[POLL_KEY_MAX];
	struct poll_key *key = key_find(p, text, key_text(text, kind, group, topic, queue_id));
	struct pop_poll *poll;

	if (!key)
		return;
	poll = TAILQ_FIRST(&key->polls);
	polls_remove(p, poll);
	mq_loop_post(poll->loop, &poll->post);
}

void pop_polls_wake(struct pop_polls *p, struct mq_slice group, struct mq_slice topic, int32_t queue_id)
{
	pthread_mutex_lock(&p->lock);
	for (int kind = POP_POLL_MESSAGE; p->n > 0 && kind <= POP_POLL_NOTIFICATION; kind++) {
		polls_wake_one(p, (enum pop_poll_kind)kind, group, topic, -1);
		if (queue_id >= 0)
			polls_wake_one(p, (enum pop_poll_kind)kind, group, topic, queue_id);
	}
	pthread_mutex_unlock(&p->lock);
}

unsigned pop_polls_count(struct pop_polls *p, struct mq_slice group, struct mq_slice topic, int32_t queue_id)
{
	char text[POLL_KEY_MAX];
	struct poll_key *key;
	unsigned n;

	pthread_mutex_lock(&p->lock);
	key = key_find(p, text, key_text(text, POP_POLL_MESSAGE, group, topic, queue_id));
	n = key ? key->n : 0;
	pthread_mutex_unlock(&p->lock);
	return n;
}
