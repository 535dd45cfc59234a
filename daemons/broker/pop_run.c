/* Looking for messages: in memory, on the disk, and waiting until there are some. */
#include "daemons/broker/pop.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

/* ---- Waiting ---- */

static struct pop_wish pop_wish(const struct pop *p)
{
	return (struct pop_wish){
		.kind = POP_POLL_MESSAGE, .group = p->h.group, .topic = p->h.topic, .queue_id = p->h.queue_id
	};
}

static bool pop_can_go_on(const struct pop *p)
{
	return !atomic_load(&p->broker->is_stopping) && mq_conn_is_open(p->req->conn);
}

void pop_resumed(struct pop_await *w, enum hold_reason reason)
{
	struct pop *p = (struct pop *)((char *)w - offsetof(struct pop, await));

	if (!mq_conn_is_open(p->req->conn)) {
		/* The message that woke it is for the next. */
		if (!w->is_for_lock)
			pop_polls_wake(p->broker->pop_polls, p->h.group, p->h.topic, p->h.queue_id);
		mq_reply_none(p->req);
		pop_free(p);
		return;
	}
	p->has_fetched = false;
	if (reason == HOLD_STOPPED || mq_loop_mono_ms(mq_conn_loop(p->req->conn)) >= p->deadline_ms)
		p->may_wait = false;
	pop_run(p);
}

static void pop_end_run(struct pop *p)
{
	pop_take_done(&p->run->take);
	free(p->run->changes);
	free(p->run);
	p->run = NULL;
}

/* Somebody else pops from the queue. False: not any more. */
static bool pop_wait_for_lock(struct pop *p)
{
	p->req = mq_request_park(p->req);
	if (!pop_await_lock(&p->await, p->broker, p->req->conn, p->run->take.busy_slot))
		return false;
	pop_end_run(p);
	return true;
}

/* Nothing was found: until a message comes, its time is over, or the first queue that is blocked by its order is free. False: look
 * again. */
static bool pop_wait(struct pop *p)
{
	int64_t free_at_ms = p->run->take.free_at_ms, until_ms = p->deadline_ms, free_ms;
	struct pop_wish wish = pop_wish(p);
	int r;

	if (!p->may_wait || !pop_can_go_on(p)) {
		pop_answer(p, MQ_POLLING_TIMEOUT);
		return true;
	}
	free_ms = free_at_ms < INT64_MAX ? pop_await_until(p->broker, p->req->conn, free_at_ms) : INT64_MAX;
	if (free_ms < until_ms)
		until_ms = free_ms;
	p->req = mq_request_park(p->req);
	r = pop_await_message(&p->await, p->broker, p->req->conn, &wish, p->seen, until_ms);
	if (r == POP_POLLS_AGAIN)
		return false;
	if (r == POP_POLLS_FULL)
		pop_answer(p, MQ_POLLING_FULL);
	else if (r < 0)
		pop_fail(p, r);
	else
		pop_end_run(p);
	return true;
}

/* ---- Looking ---- */

static void pop_posted(struct mq_post *post)
{
	struct pop *p = (struct pop *)((char *)post - offsetof(struct pop, ahead.post));

	if (mq_loop_mono_ms(mq_conn_loop(p->req->conn)) >= p->deadline_ms)
		p->may_wait = false;
	if (mq_conn_is_open(p->req->conn)) {
		pop_run(p);
		return;
	}
	mq_reply_none(p->req);
	pop_free(p);
}

/* Much was looked at and nothing wanted: others have their turn first. */
static void pop_go_on_later(struct pop *p)
{
	p->ahead.post.run = pop_posted;
	mq_loop_post(mq_conn_loop(p->req->conn), &p->ahead.post);
}

/* After a look. False: look again. */
static bool pop_settle(struct pop *p)
{
	const struct pop_take *t = &p->run->take;

	if (t->n_messages > 0 && t->result != -ENOMEM)
		pop_store(p);
	else if (t->result < 0)
		pop_fail(p, t->result);
	else if (t->was_cut && p->may_wait && pop_can_go_on(p))
		pop_go_on_later(p);
	else if (t->was_busy && p->may_wait && pop_can_go_on(p))
		return pop_wait_for_lock(p);
	else
		return pop_wait(p);
	return true;
}

static void pop_read_disk(void *arg)
{
	struct pop *p = arg;

	/* Who went away must not keep the readers from others. */
	if (mq_conn_is_open(p->req->conn))
		pop_take_run(&p->run->take, &p->ask, STORE_DISK);
	else
		p->run->take.result = -ENOTCONN;
}

static void pop_read_done(void *arg)
{
	struct pop *p = arg;

	if (!pop_settle(p))
		pop_run(p);
}

/* A group that goes through a backlog: a reader fetches what this pop and those after it want. */
static bool pop_fetch(struct pop *p)
{
	const struct pop_take *t = &p->run->take;

	if (p->has_fetched || store_queue_max(t->cold) - t->cold_from <= POP_MESSAGES_MAX)
		return false;
	p->has_fetched = true;
	p->ahead.loop = mq_conn_loop(p->req->conn);
	p->ahead.post.run = pop_posted;
	return ahead_fetch(p->broker->ahead, t->cold, t->cold_from, &p->ahead, mq_mono_ms(p->broker->clock));
}

/* It may have waited since it was checked. False: the topic is gone, and the pop is answered. */
static bool pop_find_topic(struct pop *p)
{
	struct topic topic;

	if (topics_get(p->broker->topics, p->h.topic, &topic) < 0) {
		pop_check_note(&p->check, MQ_TOPIC_NOT_EXIST, "topic[%.*s] not exist, apply first please! " BROKER_FAQ,
			       MQ_FMT(p->h.topic));
		pop_refused(&p->check, p->check.code, p->check.remark);
		return false;
	}
	p->ask.read_queues = topic.read_queues;
	p->ask.since = topic.since;
	return true;
}

void pop_run(struct pop *p)
{
	struct pop_wish wish = pop_wish(p);
	int r;

	if (!pop_find_topic(p))
		return;
	if (!p->run)
		p->run = calloc(1, sizeof *p->run);
	if (!p->run) {
		pop_fail(p, -ENOMEM);
		return;
	}
	p->run->take.ask = &p->ask;
	do {
		p->seen = pop_polls_seen(p->broker->pop_polls, &wish);
		pop_take_run(&p->run->take, &p->ask, STORE_MEMORY);
		if (p->run->take.cold && p->run->take.n_messages == 0 && p->run->take.result == 0) {
			if (pop_fetch(p))
				return;
			r = broker_offload(p->broker, p->req->conn, pop_read_disk, pop_read_done, p);
			if (r < 0)
				pop_fail(p, r);
			return;
		}
	} while (!pop_settle(p));
}
