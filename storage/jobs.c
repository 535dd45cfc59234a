/* Threads for work that may take long: readers, and one for changes of metadata, which with SYNC_FLUSH each wait for the disk. That one is apart
 * so that a disk that stands still holds up nobody who reads. */
#include <errno.h>
#include <stdlib.h>

#include "storage/internal.h"

static void *pool_main(void *user)
{
	struct job_pool *p = user;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct store_job *job = STAILQ_FIRST(&p->jobs);

		if (job) {
			STAILQ_REMOVE_HEAD(&p->jobs, link);
			pthread_mutex_unlock(&p->lock);
			job->run(job);
			pthread_mutex_lock(&p->lock);
		} else if (p->stops) {
			break;
		} else {
			pthread_cond_wait(&p->cond, &p->lock);
		}
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void pool_submit(struct job_pool *p, struct store_job *job)
{
	LOCKED(&p->lock);

	STAILQ_INSERT_TAIL(&p->jobs, job, link);
	pthread_cond_signal(&p->cond);
}

void store_submit(struct store *s, struct store_job *job)
{
	pool_submit(&s->readers, job);
}

void store_submit_change(struct store *s, struct store_job *job)
{
	pool_submit(&s->changers, job);
}

void job_pool_init(struct job_pool *p)
{
	pthread_mutex_init(&p->lock, NULL);
	store_cond_init(&p->cond);
	STAILQ_INIT(&p->jobs);
}

void job_pool_done(struct job_pool *p)
{
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->cond);
}

int job_pool_start(struct job_pool *p, const char *name, unsigned n)
{
	p->threads = calloc(n, sizeof *p->threads);
	if (!p->threads)
		return -ENOMEM;
	while (p->n_threads < n) {
		int r = store_thread_start(&p->threads[p->n_threads], name, pool_main, p);

		if (r < 0)
			return r;
		p->n_threads++;
	}
	return 0;
}

void job_pool_stop(struct job_pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->stops = true;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n_threads; i++)
		pthread_join(p->threads[i], NULL);
	free(p->threads);
	p->threads = NULL;
	p->n_threads = 0;
}
