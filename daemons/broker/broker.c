/* The broker's life. Start: store, model, loops, listeners, registration. Stop, the other way round: listeners, then at the same
 * time what is in flight (held pulls are answered) and the NameServers; then threads, and the store last. */
#include "daemons/broker/broker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemons/broker/ahead.h"
#include "daemons/broker/clients.h"
#include "daemons/broker/groups.h"
#include "daemons/broker/hold.h"
#include "daemons/broker/locks.h"
#include "daemons/broker/messages.h"
#include "daemons/broker/pop_inflight.h"
#include "daemons/broker/pop_locks.h"
#include "daemons/broker/pop_order.h"
#include "daemons/broker/pop_polls.h"
#include "daemons/broker/pulled.h"
#include "daemons/broker/read_queues.h"
#include "daemons/broker/register.h"
#include "daemons/broker/request_mode.h"
#include "daemons/broker/schedule.h"
#include "daemons/broker/stats.h"
#include "daemons/broker/topics.h"
#include "daemons/broker/txn_check.h"
#include "libmq/base/log.h"
#include "libmq/net/listener.h"

enum {
	SYNC_SHOWN_MS = 1000, /* a sync that takes longer is told in the status */
	AUTO_LOOPS_MAX = 4,
	SAMPLE_PERIOD_MS = 10000, /* statistics, expired clients */
	AHEAD_SHARE = 8,          /* one in so many of storeMemoryBytes is for what is read ahead */
};

/* ---- The store ---- */

static void broker_on_append(void *user, struct store_queue *queue, int64_t new_max)
{
	struct broker *b = user;

	hold_notify(b->holds, queue);
	pop_polls_grew(b->pop_polls, queue);
}

static void broker_on_due(void *user, int64_t at_ms)
{
	struct broker *b = user;

	schedule_note(b->schedule, at_ms);
}

static void broker_on_store_state(void *user, enum store_state state, const char *why)
{
	if (state == STORE_WRITABLE)
		mq_log_fields(LOG_NOTICE, BROKER_MSG_STORE_WRITABLE, NULL, "the store takes messages again");
	else
		mq_log_fields(LOG_ERR, BROKER_MSG_STORE_REFUSES, NULL, "the store takes no messages: %s",
			      why);
}

static void broker_on_store_damage(void *user, const char *what)
{
	mq_log_fields(LOG_ERR, BROKER_MSG_ROW_DAMAGED, NULL,
		      "%s. It is passed over: nothing is delivered or asked for it, and others go on. Stop the broker and let mq-store check "
		      "name all such rows; bring the store back from a backup",
		      what);
}

/* The store says what is wrong; which key to change, it does not know. */
static int broker_add_cure(struct mq_error *err, int r)
{
	size_t n = strlen(err->text), size = sizeof err->text - n;

	if (r == -EBUSY)
		snprintf(err->text + n, size, ": a broker has one of its own; stop that one, or set storePathRootDir");
	else if (r == -EACCES || r == -EPERM || r == -EROFS)
		snprintf(err->text + n, size, "; give this user the directory, or set storePathRootDir to one of its own");
	else if (r == -ENOENT || r == -ENOTDIR)
		snprintf(err->text + n, size, "; make it, or set storePathRootDir to another directory");
	return r;
}

static int broker_open_store(struct broker *b, struct mq_error *err)
{
	const struct broker_config *config = &b->config;
	struct store_config cfg;

	store_config_init(&cfg);
	cfg.path = config->storePathRootDir;
	cfg.clock = b->clock;
	cfg.sync_flush = config->flushDiskType == SYNC_FLUSH;
	cfg.flush_interval_ms = config->flushIntervalCommitLog;
	cfg.memory_bytes = (uint64_t)config->storeMemoryBytes;
	cfg.max_bytes = (uint64_t)config->storeMaxBytes;
	cfg.max_families = (unsigned)config->storeMaxFamilies;
	cfg.n_readers = (unsigned)config->storeReaders;
	cfg.retention_ms = config->fileReservedTime;
	(void)config_delete_hours(config->deleteWhen, &cfg.delete_hours); /* checked when it was read */
	cfg.disk_max_used_ratio = config->diskMaxUsedSpaceRatio / 100;
	cfg.disk_warning_ratio = config->diskSpaceWarningLevelRatio / 100;
	cfg.min_free_bytes = (uint64_t)config->storeMinFreeBytes;
	cfg.due_topics = delay_topics;
	cfg.on_append = broker_on_append;
	cfg.on_due = broker_on_due;
	cfg.on_state = broker_on_store_state;
	cfg.on_damage = broker_on_store_damage;
	cfg.user = b;
	return broker_add_cure(err, store_open(&b->store, &cfg, err));
}

int broker_reply_store(struct mq_request *req, int r)
{
	struct broker *b = req->server;
	char why[400];

	if (r == -EBUSY)
		return mq_reply_code(req, MQ_SYSTEM_BUSY,
				     "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while: for %" PRIi64
				     " ms the disk has not taken what came before", config_get(&b->config, syncFlushTimeout));
	if (r != -ENOSPC && r != -EIO)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", strerror(-r));
	store_state_reason(b->store, why, sizeof why);
	return mq_reply_code(req, MQ_SERVICE_NOT_AVAILABLE, "service not available now: %s",
			     why[0] ? why : strerror(-r));
}

/* ---- Start ---- */

static unsigned broker_count_loops(const struct broker_config *config)
{
	long n_cpus;

	if (config->ioThreads > 0)
		return (unsigned)config->ioThreads;
	n_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	return n_cpus < 1 ? 1 : n_cpus > AUTO_LOOPS_MAX ? AUTO_LOOPS_MAX : (unsigned)n_cpus;
}

static int broker_make_address(struct broker *b, struct mq_error *err)
{
	const char *ip = b->config.brokerIP1;

	snprintf(b->address, sizeof b->address, strchr(ip, ':') ? "[%s]:%" PRIi64 : "%s:%" PRIi64, ip,
		 b->config.listenPort);
	if (mq_host_parse(mq_slice_of(b->address), &b->store_host) < 0)
		return mq_error_set(err, -EINVAL,
				    "brokerIP1=%s is not a numeric address: message ids carry it", ip);
	return 0;
}

static int broker_make_model(struct broker *b, struct mq_error *err)
{
	int r;

	r = stats_new(&b->stats, b);
	if (r == 0)
		r = locks_new(&b->locks, b);
	if (r == 0)
		r = pulled_new(&b->pulled);
	if (r == 0)
		r = pulled_new(&b->resets);
	if (r == 0)
		r = pop_inflight_new(&b->pop_inflight, b);
	if (r == 0)
		r = pop_locks_new(&b->pop_locks);
	if (r == 0)
		r = ahead_new(&b->ahead, b, (size_t)b->config.storeMemoryBytes / AHEAD_SHARE);
	if (r == 0)
		r = clients_new(&b->clients, b);
	if (r == 0)
		r = schedule_new(&b->schedule, b);
	if (r == 0)
		r = txn_check_new(&b->txn_check, b);
	if (r == 0)
		r = read_queues_new(&b->read_queues, b);
	if (r < 0)
		return mq_error_set(err, r, "out of memory");
	r = pop_orders_new(&b->pop_orders, b->store, mq_wall_ms(b->clock), err);
	if (r < 0)
		return r;
	r = topics_new(&b->topics, b, err);
	if (r < 0)
		return r;
	r = groups_new(&b->groups, b, err);
	if (r == 0)
		r = request_modes_new(&b->request_modes, b, err);
	if (r < 0)
		return r;
	return registrar_new(&b->registrar, b, err);
}

static int broker_make_loops(struct broker *b, struct mq_error *err)
{
	unsigned n = broker_count_loops(&b->config);

	for (; b->n_loops < n; b->n_loops++) {
		int r = broker_loop_new(&b->loops[b->n_loops], b, b->n_loops, err);

		if (r < 0)
			return r;
		b->accepting[b->n_loops] = broker_loop_mq(b->loops[b->n_loops]);
	}
	/* All before the first one runs: the table of holds and of loops does not change while threads look at it. */
	for (unsigned i = 0; i < n; i++) {
		int r = broker_loop_start(b->loops[i], err);

		if (r < 0)
			return r;
	}
	return 0;
}

static void broker_on_sample(struct mq_timer *timer)
{
	struct broker *b = (struct broker *)((char *)timer - offsetof(struct broker, sample_timer));

	stats_sample(b->stats);
	clients_expire(b->clients);
	ahead_expire(b->ahead, mq_loop_mono_ms(b->main_loop));
	if (mq_timer_set(b->main_loop, timer, mq_loop_mono_ms(b->main_loop) + SAMPLE_PERIOD_MS) < 0)
		mq_log(LOG_ERR, "out of memory: statistics and expiry of clients stop");
}

static int broker_make(struct broker *b, struct mq_error *err)
{
	int r;

	b->holds = calloc(1, sizeof *b->holds);
	if (!b->holds)
		return mq_error_set(err, -ENOMEM, "out of memory");
	r = broker_make_address(b, err);
	if (r == 0)
		r = delay_levels_parse(&b->delay_levels, b->config.messageDelayLevel, err);
	if (r < 0)
		return r;
	/* The store calls them from its first record on. */
	r = pop_polls_new(&b->pop_polls);
	if (r < 0)
		return mq_error_set(err, r, "out of memory");
	r = broker_open_store(b, err);
	if (r < 0)
		return r;
	r = broker_make_model(b, err);
	if (r < 0)
		return r;
	broker_dispatch_init(b);
	return broker_make_loops(b, err);
}

int broker_new(struct broker **ret, struct broker_config *config, struct mq_loop *main_loop,
	       struct mq_error *err)
{
	_cleanup_(broker_freep) struct broker *b = calloc(1, sizeof *b);
	int r;

	if (!b) {
		options_free(&broker_options, config);
		return mq_error_set(err, -ENOMEM, "out of memory");
	}
	b->config = *config;
	b->clock = mq_loop_clock(main_loop);
	b->main_loop = main_loop;
	b->started_at_ms = mq_wall_ms(b->clock);
	b->sample_timer.fire = broker_on_sample;
	r = broker_make(b, err);
	if (r < 0)
		return r;
	*ret = TAKE(b);
	return 0;
}

int broker_listen(struct broker *b, int fd, bool is_fast, struct mq_error *err)
{
	int r;

	if (b->n_listeners == N_ELEMENTS(b->listeners))
		return mq_error_set(err, -EMFILE, "more than %zu listening sockets",
				    N_ELEMENTS(b->listeners));
	r = mq_listener_new(&b->listeners[b->n_listeners], b->main_loop, fd, b->accepting, b->n_loops,
			    is_fast ? &mq_dispatch_events_fast : &mq_dispatch_events, &b->dispatch, err);
	if (r < 0)
		return r;
	b->n_listeners++;
	return 0;
}

int broker_start(struct broker *b, struct mq_error *err)
{
	registrar_changed(b->registrar, (struct mq_slice){});
	int64_t first_ms = mq_loop_mono_ms(b->main_loop) + SAMPLE_PERIOD_MS;

	if (mq_timer_set(b->main_loop, &b->sample_timer, first_ms) < 0 || txn_check_start(b->txn_check) < 0)
		return mq_error_set(err, -ENOMEM, "out of memory");
	return schedule_start(b->schedule, err);
}

/* ---- While it runs ---- */

bool broker_is_alive(struct broker *b)
{
	bool is_alive = true;

	for (unsigned i = 0; i < b->n_loops; i++) {
		uint64_t now = mq_loop_progress(broker_loop_mq(b->loops[i]));

		is_alive &= now != b->seen_loops[i];
		b->seen_loops[i] = now;
		/* An idle loop makes no turns: ask for one until the next look. */
		mq_loop_ping(broker_loop_mq(b->loops[i]));
	}

	uint64_t flusher = store_flusher_progress(b->store), keeper = store_keeper_progress(b->store);

	uint64_t schedule = schedule_progress(b->schedule);

	/* A disk that does not come back is not cured by a restart, which would wait for it as well. The keeper waits for it when a topic was
	 * deleted, the schedule when it makes a retry topic. */
	int64_t sync_age_ms = store_sync_age_ms(b->store);

	is_alive &= flusher != b->seen_flusher || sync_age_ms >= 0;
	is_alive &= (keeper != b->seen_keeper && schedule != b->seen_schedule) || sync_age_ms > SYNC_SHOWN_MS;
	b->seen_schedule = schedule;
	b->seen_flusher = flusher;
	b->seen_keeper = keeper;
	return is_alive;
}

void broker_status(struct broker *b, char *ret, size_t size)
{
	unsigned n_ok, n_total;
	char why[400] = "";
	int n;

	registrar_state(b->registrar, &n_ok, &n_total);
	n = snprintf(ret, size, "%s of %s at %s, ", b->config.brokerName, b->config.brokerClusterName,
		     b->address);
	if (n_total == 0)
		n += snprintf(ret + n, n < (int)size ? size - (size_t)n : 0, "no NameServer configured");
	else
		n += snprintf(ret + n, n < (int)size ? size - (size_t)n : 0,
			      "registered with %u of %u NameServers", n_ok, n_total);
	if (n >= (int)size)
		return;
	if (store_state(b->store) == STORE_WRITABLE && store_sync_age_ms(b->store) > SYNC_SHOWN_MS) {
		snprintf(ret + n, size - (size_t)n, ", a sync of the disk has taken %" PRIi64 " ms so far", store_sync_age_ms(b->store));
		return;
	}
	if (store_state(b->store) == STORE_WRITABLE) {
		snprintf(ret + n, size - (size_t)n, ", store writable");
		return;
	}
	store_state_reason(b->store, why, sizeof why);
	snprintf(ret + n, size - (size_t)n, ", store read-only: %s", why);
}

/* ---- Stop ---- */

static void broker_stopped_one(struct broker *b)
{
	if (--b->n_stopping == 0 && b->stopped)
		b->stopped(b->stopped_user);
}

static void broker_on_unregistered(void *user)
{
	broker_stopped_one(user);
}

static void broker_close_listeners(struct broker *b)
{
	for (unsigned i = 0; i < b->n_listeners; i++)
		b->listeners[i] = mq_listener_free(b->listeners[i]);
	b->n_listeners = 0;
}

void broker_stop(struct broker *b, void (*done)(void *user), void *user)
{
	broker_close_listeners(b);
	mq_timer_clear(b->main_loop, &b->sample_timer);
	txn_check_stop(b->txn_check);
	/* Before the loops wake what they hold: it must not be held again. */
	atomic_store(&b->is_stopping, true);
	b->stopped = done;
	b->stopped_user = user;
	b->n_stopping = b->n_loops + 1;
	read_queues_stop(b->read_queues);
	registrar_stop(b->registrar, broker_on_unregistered, b);
	for (unsigned i = 0; i < b->n_loops; i++)
		broker_loop_stop(b->loops[i], broker_stopped_one);
}

static void broker_turn(struct mq_loop *loop)
{
	if (mq_loop_turn(loop, 0) < 0)
		mq_log(LOG_ERR, "an event loop cannot go on while the broker ends");
}

static bool broker_has_posts(struct broker *b)
{
	bool has = mq_loop_has_posts(b->main_loop);

	for (unsigned i = 0; i < b->n_loops && !has; i++)
		has = b->loops[i] && mq_loop_has_posts(broker_loop_mq(b->loops[i]));
	return has;
}

/* Turns that wait for the disk and jobs of the readers end by themselves, and post to loops: these must still be there. What comes of
 * a job may be the next one. No thread is left but this one and those of the store, and connections are not read any more, so there
 * is an end. */
static void broker_settle(struct broker *b)
{
	static const struct timespec moment = { 0, 1000000 };

	do {
		while (atomic_load(&b->n_posts_due) > 0)
			nanosleep(&moment, NULL);
		broker_turn(b->main_loop);
		for (unsigned i = 0; i < b->n_loops; i++)
			if (b->loops[i])
				broker_turn(broker_loop_mq(b->loops[i]));
	} while (atomic_load(&b->n_posts_due) > 0 || broker_has_posts(b));
}

struct broker *broker_free(struct broker *b)
{
	if (!b)
		return NULL;
	broker_close_listeners(b);
	mq_timer_clear(b->main_loop, &b->sample_timer);
	if (b->txn_check)
		txn_check_stop(b->txn_check);
	atomic_store(&b->is_stopping, true);
	/* While there are loops to wake. It stays: sends that still wait for the disk note when they are due. */
	schedule_stop(b->schedule);
	for (unsigned i = 0; i < b->n_loops; i++)
		broker_loop_join(b->loops[i]);
	/* What the threads posted here at their end, should the main loop not run any more. */
	broker_turn(b->main_loop);
	if (b->read_queues)
		read_queues_stop(b->read_queues);
	if (b->registrar)
		registrar_release(b->registrar);
	broker_settle(b);
	/* Closes what is open, with the model and the store still there. */
	for (unsigned i = 0; i < b->n_loops; i++)
		b->loops[i] = broker_loop_free(b->loops[i]);
	registrar_free(b->registrar);
	read_queues_free(b->read_queues);
	txn_check_free(b->txn_check);
	clients_free(b->clients);
	ahead_free(b->ahead);
	pop_orders_free(b->pop_orders);
	pop_locks_free(b->pop_locks);
	pop_inflight_free(b->pop_inflight);
	pulled_free(b->pulled);
	pulled_free(b->resets);
	locks_free(b->locks);
	request_modes_free(b->request_modes);
	groups_free(b->groups);
	topics_free(b->topics);
	stats_free(b->stats);
	store_close(b->store);
	schedule_free(b->schedule);
	pop_polls_free(b->pop_polls);
	free(b->holds);
	options_free(&broker_options, &b->config);
	free(b);
	return NULL;
}
