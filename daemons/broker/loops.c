/* I/O loops: the turn that gathers what one event round wants to write, and work handed to the store's readers.
 *
 * A turn goes gathering -> committed -> done. Its completions always run on its own loop: directly when the commit ended
 * there, else by one post. With SYNC_FLUSH a committed turn waits for the disk; the loop goes on gathering in the next one, and
 * when all are under way the last one simply grows until the first comes back. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/hold.h"
#include "daemons/broker/messages.h"
#include "libmq/base/log.h"

enum {
	BROKER_TURNS = 3,
	BROKER_RESERVE = 13, /* more turns, for a disk that does not come back */
	BROKER_DRAIN_TICK_MS = 10,
	BROKER_DRAIN_MS = 5000, /* who has not taken its answers by then loses them */
	/* Bytes of records that one loop may have under way. The budget of the loop (libmq/net) stops reading at twice as much:
	 * before a disk that stands still gets that far, sends are refused and everything else is still served. */
	BROKER_UNDER_WAY_MAX = 128 << 20,
	BROKER_LATE_AGAIN_MS = 100, /* a turn that is late but not yet written is looked at again so soon */
};

struct broker_turn {
	struct store_turn turn;
	struct broker_loop *loop; /* borrowed */
	struct mq_post post;
	bool is_busy; /* between store_commit() and the end of its completions; loop thread */
	bool was_late; /* its ops were told */
	int64_t committed_at_ms;
};

/* One of them gathers, the others are under way. */
struct broker_turns {
	struct broker_turn all[BROKER_TURNS + BROKER_RESERVE];
	unsigned n;         /* of all: the reserve counts from its first use on */
	unsigned gathering; /* index of the turn that takes new ops */
};

struct broker_loop {
	struct broker *broker; /* borrowed */
	struct mq_loop *loop;  /* owned */
	struct hold *hold;     /* owned */
	pthread_t thread;
	bool has_thread, was_told_to_stop; /* main thread */
	sem_t has_arena;
	struct broker_turns turns;
	/* With SYNC_FLUSH those that neither wait for the disk nor store a message (acknowledgements, pops) go apart, or they would wait with
	 * whatever else came in their round. */
	struct broker_turns quick;
	struct mq_timer late_timer; /* set while one of turns is under way */

	struct mq_post stop_post, ended_post;
	void (*ended)(struct broker *b);
	struct mq_timer drain_tick;
	int64_t drain_deadline_ms;
};

/* ---- Turns ---- */

static void turn_complete(struct broker_turn *t)
{
	struct store_op_list ops = STAILQ_HEAD_INITIALIZER(ops);
	struct store_op *op;

	/* Free for gathering before the completions run: they may append. */
	STAILQ_CONCAT(&ops, &t->turn.ops);
	t->is_busy = false;
	while ((op = STAILQ_FIRST(&ops))) {
		struct broker_op *bop = (struct broker_op *)((char *)op - offsetof(struct broker_op, op));

		STAILQ_REMOVE_HEAD(&ops, link);
		bop->done(bop);
	}
}

static void turn_on_post(struct mq_post *post)
{
	turn_complete((struct broker_turn *)((char *)post - offsetof(struct broker_turn, post)));
}

static void turn_on_done(struct store_turn *turn)
{
	struct broker_turn *t = turn->user;
	struct broker *b = t->loop->broker;

	if (mq_loop_is_current(t->loop->loop))
		turn_complete(t);
	else
		mq_loop_post(t->loop->loop, &t->post);
	atomic_fetch_sub(&b->n_posts_due, 1);
}

static struct broker_turn *turns_idle(struct broker_turns *ts, unsigned max)
{
	for (unsigned i = 0; i < max; i++)
		if (i != ts->gathering && !ts->all[i].is_busy)
			return &ts->all[i];
	return NULL;
}

/* Commits what was gathered; `next` gathers from now on. Returns the turn that is under way. */
static struct broker_turn *turns_commit(struct broker_loop *bl, struct broker_turns *ts, struct broker_turn *next)
{
	struct broker_turn *t = &ts->all[ts->gathering];

	store_turn_init(&next->turn, turn_on_done, next);
	ts->gathering = (unsigned)(next - ts->all);
	t->is_busy = true;
	t->was_late = false;
	t->committed_at_ms = mq_loop_mono_ms(bl->loop);
	atomic_fetch_add(&bl->broker->n_posts_due, 1);
	store_commit(bl->broker->store, &t->turn);
	return t;
}

/* ---- Turns that take long ---- */

static struct broker_op *op_of(struct store_op *op)
{
	return (struct broker_op *)((char *)op - offsetof(struct broker_op, op));
}

static void op_late(struct store_op *op)
{
	struct broker_op *bop = op_of(op);

	if (bop->late && op->result == 0)
		bop->late(bop);
}

/* Returns when to look again, INT64_MAX: never. */
static int64_t turn_check(struct broker_loop *bl, struct broker_turn *t, int64_t now_ms)
{
	int64_t due_ms = t->committed_at_ms + config_get(&bl->broker->config, syncFlushTimeout);

	if (!t->is_busy || t->was_late)
		return INT64_MAX;
	if (due_ms > now_ms)
		return due_ms;
	t->was_late = store_turn_each_waiting(bl->broker->store, &t->turn, op_late);
	return t->was_late ? INT64_MAX : now_ms + BROKER_LATE_AGAIN_MS;
}

/* When the first op came that may not wait for ever, INT64_MAX: there is none. */
static int64_t gathered_since(const struct broker_loop *bl)
{
	struct store_op *op;

	STAILQ_FOREACH(op, &bl->turns.all[bl->turns.gathering].turn.ops, link)
		if (op_of(op)->late)
			return op_of(op)->at_ms;
	return INT64_MAX;
}

/* They are not written yet, so they can still be refused. */
static void gathered_give_up(struct broker_loop *bl, int64_t before_ms)
{
	struct store_op_list all = STAILQ_HEAD_INITIALIZER(all), given_up = STAILQ_HEAD_INITIALIZER(given_up);
	struct broker_turn *t = &bl->turns.all[bl->turns.gathering];
	struct store_op *op;

	STAILQ_CONCAT(&all, &t->turn.ops);
	store_turn_init(&t->turn, turn_on_done, t);
	while ((op = STAILQ_FIRST(&all))) {
		STAILQ_REMOVE_HEAD(&all, link);
		if (op_of(op)->late && op_of(op)->at_ms <= before_ms)
			STAILQ_INSERT_TAIL(&given_up, op, link);
		else
			store_turn_add(&t->turn, op);
	}
	while ((op = STAILQ_FIRST(&given_up))) {
		STAILQ_REMOVE_HEAD(&given_up, link);
		op->result = -EBUSY;
		op_of(op)->done(op_of(op));
	}
}

/* Ops that gathered behind turns that do not come back. As upstream they are written and told so all the same, until the reserve of turns is
 * used up. */
static int64_t gathered_check(struct broker_loop *bl, int64_t now_ms)
{
	int64_t limit_ms = config_get(&bl->broker->config, syncFlushTimeout), since_ms = gathered_since(bl);
	struct broker_turn *next, *t;

	if (since_ms == INT64_MAX || since_ms + limit_ms > now_ms)
		return since_ms == INT64_MAX ? INT64_MAX : since_ms + limit_ms;
	bl->turns.n = N_ELEMENTS(bl->turns.all);
	next = turns_idle(&bl->turns, bl->turns.n);
	if (next) {
		t = turns_commit(bl, &bl->turns, next);
		t->committed_at_ms = since_ms;
		return turn_check(bl, t, now_ms);
	}
	gathered_give_up(bl, now_ms - limit_ms);
	since_ms = gathered_since(bl);
	return since_ms == INT64_MAX ? INT64_MAX : since_ms + limit_ms;
}

static void loop_on_late(struct mq_timer *timer)
{
	struct broker_loop *bl = (struct broker_loop *)((char *)timer - offsetof(struct broker_loop, late_timer));
	int64_t now_ms = mq_loop_mono_ms(bl->loop), next_ms = INT64_MAX, gathered_ms;

	for (unsigned i = 0; i < bl->turns.n; i++) {
		int64_t at_ms = turn_check(bl, &bl->turns.all[i], now_ms);

		next_ms = at_ms < next_ms ? at_ms : next_ms;
	}
	gathered_ms = gathered_check(bl, now_ms);
	next_ms = gathered_ms < next_ms ? gathered_ms : next_ms;
	/* Without memory for it, whoever waits gets its answer when the disk is done. */
	if (next_ms < INT64_MAX)
		(void)!mq_timer_set(bl->loop, timer, next_ms);
}

/* From now on somebody waits. */
static void loop_watch(struct broker_loop *bl)
{
	if (bl->late_timer.slot == 0)
		(void)!mq_timer_set(bl->loop, &bl->late_timer,
				    mq_loop_mono_ms(bl->loop) + config_get(&bl->broker->config, syncFlushTimeout));
}

static bool turns_have_more(const struct broker_turns *ts)
{
	return !STAILQ_EMPTY(&ts->all[ts->gathering].turn.ops);
}

/* The end of an event round. Completions that run within store_commit() may have gathered again: they go at once, too. */
static void loop_on_turn(struct mq_loop *loop, void *user)
{
	struct broker_loop *bl = user;
	struct broker_turn *next;

	for (;;) {
		if (turns_have_more(&bl->turns) && (next = turns_idle(&bl->turns, BROKER_TURNS))) {
			if (turns_commit(bl, &bl->turns, next)->is_busy)
				loop_watch(bl);
		} else if (turns_have_more(&bl->quick) && (next = turns_idle(&bl->quick, BROKER_TURNS))) {
			turns_commit(bl, &bl->quick, next);
		} else {
			break;
		}
	}
	if (turns_have_more(&bl->turns))
		loop_watch(bl);
}

bool broker_is_busy(const struct broker_loop *bl)
{
	size_t n = 0;

	for (unsigned i = 0; i < bl->turns.n; i++)
		if (i == bl->turns.gathering || bl->turns.all[i].is_busy)
			n += bl->turns.all[i].turn.bytes;
	return n > BROKER_UNDER_WAY_MAX;
}

void broker_append(struct broker_loop *bl, struct broker_op *bop)
{
	bool is_quick = bop->op.no_wait && bop->op.n_records == 0 && bl->broker->config.flushDiskType == SYNC_FLUSH;
	struct broker_turns *ts = is_quick ? &bl->quick : &bl->turns;

	bop->at_ms = mq_loop_mono_ms(bl->loop);
	store_turn_add(&ts->all[ts->gathering].turn, &bop->op);
}

/* ---- Work for the readers, and for the thread for changes ---- */

struct offload {
	struct store_job job;
	struct mq_post post;
	struct broker *broker; /* borrowed */
	struct mq_loop *loop;  /* borrowed; the connection's */
	void (*work)(void *arg), (*done)(void *arg);
	void *arg;
};

static void offload_on_post(struct mq_post *post)
{
	struct offload *o = (struct offload *)((char *)post - offsetof(struct offload, post));
	struct offload copy = *o;

	free(o);
	copy.done(copy.arg);
}

static void offload_run(struct store_job *job)
{
	struct offload *o = (struct offload *)((char *)job - offsetof(struct offload, job));

	struct broker *b = o->broker; /* o is gone once it was posted */

	o->work(o->arg);
	mq_loop_post(o->loop, &o->post);
	atomic_fetch_sub(&b->n_posts_due, 1);
}

static int offload(struct broker *b, struct mq_conn *conn, void (*work)(void *arg), void (*done)(void *arg), void *arg,
		   void (*submit)(struct store *store, struct store_job *job))
{
	struct offload *o = calloc(1, sizeof *o);

	if (!o)
		return -ENOMEM;
	o->job.run = offload_run;
	o->post.run = offload_on_post;
	o->broker = b;
	o->loop = mq_conn_loop(conn);
	o->work = work;
	o->done = done;
	o->arg = arg;
	atomic_fetch_add(&b->n_posts_due, 1);
	submit(b->store, &o->job);
	return 0;
}

int broker_offload(struct broker *b, struct mq_conn *conn, void (*work)(void *arg), void (*done)(void *arg),
		   void *arg)
{
	return offload(b, conn, work, done, arg, store_submit);
}

int broker_offload_change(struct broker *b, struct mq_conn *conn, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	return offload(b, conn, work, done, arg, store_submit_change);
}

struct alone {
	struct store_job job;
	struct broker *broker; /* borrowed */
	void (*work)(void *arg);
	void *arg;
};

static void alone_run(struct store_job *job)
{
	struct alone a = *(struct alone *)((char *)job - offsetof(struct alone, job));

	free((char *)job - offsetof(struct alone, job));
	a.work(a.arg);
	atomic_fetch_sub(&a.broker->n_posts_due, 1);
}

int broker_change_alone(struct broker *b, void (*work)(void *arg), void *arg)
{
	struct alone *a = calloc(1, sizeof *a);

	if (!a)
		return -ENOMEM;
	*a = (struct alone){ .job.run = alone_run, .broker = b, .work = work, .arg = arg };
	atomic_fetch_add(&b->n_posts_due, 1);
	store_submit_change(b->store, &a->job);
	return 0;
}

/* ---- Topics that were deleted ---- */

struct gone {
	struct mq_post post;
	struct broker_loop *loop; /* borrowed */
	size_t n_topic;
	char topic[];
};

static void gone_on_post(struct mq_post *post)
{
	struct gone *g = (struct gone *)((char *)post - offsetof(struct gone, post));

	hold_wake_topic(g->loop->hold, (struct mq_slice){ g->topic, g->n_topic });
	free(g);
}

void broker_topic_gone(struct broker *b, struct mq_slice topic)
{
	for (unsigned i = 0; i < b->n_loops; i++) {
		struct gone *g = malloc(sizeof *g + topic.n);

		if (!g)
			continue;
		*g = (struct gone){ .post.run = gone_on_post, .loop = b->loops[i], .n_topic = topic.n };
		memcpy(g->topic, topic.p, topic.n);
		mq_loop_post(b->loops[i]->loop, &g->post);
	}
}

/* ---- Life ---- */

static void loop_drain(struct broker_loop *bl)
{
	unsigned n_left = mq_loop_drain(bl->loop);
	int64_t now_ms = mq_loop_mono_ms(bl->loop);

	if (n_left > 0 && now_ms < bl->drain_deadline_ms &&
	    mq_timer_set(bl->loop, &bl->drain_tick, now_ms + BROKER_DRAIN_TICK_MS) == 0)
		return;
	if (n_left > 0)
		mq_log_fields(LOG_WARNING, BROKER_MSG_CUT_OFF, NULL,
			      "closing %u connections that did not take their answers in %d ms", n_left,
			      BROKER_DRAIN_MS);
	mq_loop_stop(bl->loop);
}

static void loop_on_drain_tick(struct mq_timer *timer)
{
	loop_drain((struct broker_loop *)((char *)timer - offsetof(struct broker_loop, drain_tick)));
}

static void loop_on_stop(struct mq_post *post)
{
	struct broker_loop *bl =
		(struct broker_loop *)((char *)post - offsetof(struct broker_loop, stop_post));

	bl->drain_deadline_ms = mq_loop_mono_ms(bl->loop) + BROKER_DRAIN_MS;
	hold_wake_all(bl->hold);
	loop_drain(bl);
}

static void loop_on_ended(struct mq_post *post)
{
	struct broker_loop *bl =
		(struct broker_loop *)((char *)post - offsetof(struct broker_loop, ended_post));

	if (bl->ended)
		bl->ended(bl->broker);
}

static void *loop_thread(void *user)
{
	struct broker_loop *bl = user;
	char number[sizeof "ERRNO=" + 11];
	void *volatile first = malloc(1); /* volatile: or the compiler sees that nobody needs it */
	int r;

	free(first);
	sem_post(&bl->has_arena);
	r = mq_loop_run(bl->loop);
	if (r < 0) {
		snprintf(number, sizeof number, "ERRNO=%d", -r);
		mq_log_fields(LOG_ERR, BROKER_MSG_LOOP_ENDED, (const char *const[]){ number, NULL },
			      "an I/O loop ended by itself: %s", strerror(-r));
	}
	mq_loop_post(bl->broker->main_loop, &bl->ended_post);
	return NULL;
}

static int loop_make(struct broker_loop *bl, unsigned index, struct mq_error *err)
{
	const struct broker_config *config = &bl->broker->config;
	struct mq_loop_config cfg;
	char name[16];
	int r;

	mq_loop_config_init(&cfg);
	snprintf(name, sizeof name, "io%u", index);
	cfg.name = name;
	cfg.clock = bl->broker->clock;
	cfg.max_frame = (size_t)config->frameMaxLength;
	cfg.idle_ms = config->serverChannelMaxIdleTimeSeconds;
	r = mq_loop_new(&bl->loop, &cfg, err);
	if (r < 0)
		return r;
	r = hold_new(&bl->hold, bl->broker->holds, index, bl->loop);
	if (r < 0)
		return mq_error_set(err, r, "out of memory");
	mq_loop_on_turn(bl->loop, loop_on_turn, bl);
	return 0;
}

static void turns_init(struct broker_turns *ts, struct broker_loop *bl)
{
	ts->n = BROKER_TURNS;
	for (unsigned i = 0; i < N_ELEMENTS(ts->all); i++) {
		ts->all[i].loop = bl;
		ts->all[i].post.run = turn_on_post;
		store_turn_init(&ts->all[i].turn, turn_on_done, &ts->all[i]);
	}
}

int broker_loop_new(struct broker_loop **ret, struct broker *b, unsigned index, struct mq_error *err)
{
	struct broker_loop *bl = calloc(1, sizeof *bl);
	int r;

	if (!bl)
		return mq_error_set(err, -ENOMEM, "out of memory");
	bl->broker = b;
	bl->stop_post.run = loop_on_stop;
	bl->drain_tick.fire = loop_on_drain_tick;
	bl->late_timer.fire = loop_on_late;
	bl->ended_post.run = loop_on_ended;
	turns_init(&bl->turns, bl);
	turns_init(&bl->quick, bl);
	r = loop_make(bl, index, err);
	if (r < 0) {
		broker_loop_free(bl);
		return r;
	}
	*ret = bl;
	return 0;
}

struct broker_loop *broker_loop_free(struct broker_loop *bl)
{
	if (!bl)
		return NULL;
	bl->hold = hold_free(bl->hold); /* connections that are still there close next, and ask for it */
	mq_loop_free(bl->loop);
	free(bl);
	return NULL;
}

/* malloc gives its two arenas (store_tune_process()) to threads in turn, each when it first asks. So that loops do not share one while
 * the other has none, each asks as it starts, before the next one does: 10 % of the CPU at full load. */
int broker_loop_start(struct broker_loop *bl, struct mq_error *err)
{
	int r;

	sem_init(&bl->has_arena, 0, 0);
	r = pthread_create(&bl->thread, NULL, loop_thread, bl);
	if (r != 0)
		return mq_error_set(err, -r, "cannot start an I/O thread: %s", strerror(r));
	bl->has_thread = true;
	while (sem_wait(&bl->has_arena) < 0 && errno == EINTR)
		;
	return 0;
}

void broker_loop_stop(struct broker_loop *bl, void (*ended)(struct broker *b))
{
	bl->ended = ended;
	bl->was_told_to_stop = true;
	mq_loop_post(bl->loop, &bl->stop_post);
}

void broker_loop_join(struct broker_loop *bl)
{
	if (!bl->has_thread)
		return;
	if (!bl->was_told_to_stop)
		broker_loop_stop(bl, NULL);
	pthread_join(bl->thread, NULL);
	bl->has_thread = false;
}

struct mq_loop *broker_loop_mq(struct broker_loop *bl)
{
	return bl->loop;
}

struct hold *broker_loop_hold(struct broker_loop *bl)
{
	return bl->hold;
}

struct broker_loop *broker_loop_of(struct broker *b, struct mq_conn *conn)
{
	struct mq_loop *loop = mq_conn_loop(conn);

	for (unsigned i = 0; i < b->n_loops; i++)
		if (b->loops[i] && b->loops[i]->loop == loop) /* NULL: gone already, while the broker stops */
			return b->loops[i];
	return NULL;
}
