/* Who waits until the NameServers know what changed. On the main loop, but for registrar_settle(). */
#include "daemons/broker/register_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"

enum { SETTLE_TIMEOUT_MS = 3000 };

static void settle_run(struct mq_post *post)
{
	struct settle *s = (struct settle *)post;

	s->done(s->arg);
	free(s);
}

static void settle_finish(struct settle *s)
{
	mq_timer_clear(s->registrar->broker->main_loop, &s->timer);
	mq_loop_post(s->loop, &s->post);
}

static void settle_on_timer(struct mq_timer *timer)
{
	struct settle *s = (struct settle *)((char *)timer - offsetof(struct settle, timer));

	STAILQ_REMOVE(&s->registrar->waiting, s, settle, link);
	settle_finish(s);
}

static bool settle_is_done(const struct settle *s)
{
	const struct registrar *r = s->registrar;

	for (unsigned i = 0; i < r->n_servers; i++)
		if (r->servers[i].n_done < s->targets[i])
			return false;
	return true;
}

/* How many of its calls must have ended. A NameServer that is not there learns everything when it comes: nobody waits
 * for it. */
static uint64_t namesrv_target(const struct namesrv *n)
{
	if (!n->is_registered && !(n->is_registering && mq_remote_conn(n->remote)))
		return 0;
	return n->n_sent + n->wants_full;
}

static void settle_begin(struct settle *s)
{
	struct registrar *r = s->registrar;
	struct mq_loop *loop = r->broker->main_loop;

	for (unsigned i = 0; i < r->n_servers; i++)
		s->targets[i] = r->is_stopping ? 0 : namesrv_target(&r->servers[i]);
	if (settle_is_done(s) || mq_timer_set(loop, &s->timer, mq_loop_mono_ms(loop) + SETTLE_TIMEOUT_MS) < 0)
		settle_finish(s);
	else
		STAILQ_INSERT_TAIL(&r->waiting, s, link);
}

void registrar_check_waiting(struct registrar *r)
{
	struct settles all = STAILQ_HEAD_INITIALIZER(all);
	struct settle *s;

	STAILQ_CONCAT(&all, &r->waiting);
	while ((s = STAILQ_FIRST(&all))) {
		STAILQ_REMOVE_HEAD(&all, link);
		if (settle_is_done(s))
			settle_finish(s);
		else
			STAILQ_INSERT_TAIL(&r->waiting, s, link);
	}
}

void registrar_begin_arrived(struct registrar *r)
{
	struct settles arrived = STAILQ_HEAD_INITIALIZER(arrived);
	struct settle *s;

	pthread_mutex_lock(&r->lock);
	STAILQ_CONCAT(&arrived, &r->arriving);
	pthread_mutex_unlock(&r->lock);
	while ((s = STAILQ_FIRST(&arrived))) {
		STAILQ_REMOVE_HEAD(&arrived, link);
		settle_begin(s);
	}
}

void registrar_release(struct registrar *r)
{
	struct settle *s;

	r->is_stopping = true;
	registrar_begin_arrived(r);
	while ((s = STAILQ_FIRST(&r->waiting))) {
		STAILQ_REMOVE_HEAD(&r->waiting, link);
		settle_finish(s);
	}
}

int registrar_settle(struct registrar *r, struct mq_loop *loop, void (*done)(void *arg), void *arg)
{
	struct settle *s = calloc(1, sizeof *s + r->n_servers * sizeof s->targets[0]);

	if (!s)
		return -ENOMEM;
	s->post.run = settle_run;
	s->timer.fire = settle_on_timer;
	s->registrar = r;
	s->loop = loop;
	s->done = done;
	s->arg = arg;
	pthread_mutex_lock(&r->lock);
	STAILQ_INSERT_TAIL(&r->arriving, s, link);
	registrar_unlock_and_post(r);
	return 0;
}
