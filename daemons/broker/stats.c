#include "daemons/broker/stats.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/schedule.h"
#include "libmq/wire/json.h"

enum {
	SAMPLES = 61,            /* ten minutes of one every 10 s, and the one before */
	LATENCY_BUCKETS = 128,   /* microseconds: four per power of two */
	LATENCY_WINDOW_MS = 60000,
	DISTRIBUTION = 13,
};

/* Monotone counters. Relaxed: readers want figures, not order. */
struct counters {
	uint64_t put_requests, put_messages, put_bytes, put_failed;
	uint64_t get_found, get_missed, get_messages, get_bytes;
};

struct sample {
	int64_t at_ms; /* monotonic */
	struct counters counters;
};

/* At the last two midnights, local time. */
struct mornings {
	int day; /* number of the day that began last */
	uint64_t put_today, put_yesterday, get_today, get_yesterday;
};

/* How long stores took since the window began; atomics as above. */
struct window {
	uint64_t latency[LATENCY_BUCKETS];
	uint64_t distribution[DISTRIBUTION];
};

struct stats {
	struct broker *broker; /* borrowed */
	struct counters now;
	struct window window;
	int64_t put_max_us;    /* atomic */

	pthread_mutex_t lock;  /* protects the next */
	struct sample samples[SAMPLES];
	unsigned n_samples;    /* ever taken: the newest is at (n_samples - 1) % SAMPLES */
	struct mornings mornings;
	int64_t window_began_at_ms;
	struct window last;    /* the last whole window */
	bool has_last;
};

#define ADD(counter, n) __atomic_fetch_add(&(counter), (n), __ATOMIC_RELAXED)
#define READ(counter)   __atomic_load_n(&(counter), __ATOMIC_RELAXED)

/* ---- Counting ---- */

static unsigned latency_bucket(int64_t us)
{
	unsigned log2, bucket;

	if (us < 4)
		return us < 0 ? 0 : (unsigned)us;
	log2 = 63 - (unsigned)__builtin_clzll((unsigned long long)us);
	bucket = (log2 - 1) * 4 + (unsigned)((us >> (log2 - 2)) & 3);
	return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

/* The smallest time above the bucket. */
static double latency_bound_ms(unsigned bucket)
{
	unsigned log2 = bucket / 4 + 1;

	if (bucket < 4)
		return (bucket + 1) / 1000.0;
	return (double)((uint64_t)(4 + bucket % 4 + 1) << (log2 - 2)) / 1000.0;
}

static const int distribution_ms[DISTRIBUTION - 1] = { 1, 10, 50, 100, 200, 500, 1000, 2000, 3000, 4000, 5000, 10000 };
static const char *const distribution_names[DISTRIBUTION] = {
	"[<=0ms]", "[0~10ms]", "[10~50ms]", "[50~100ms]", "[100~200ms]", "[200~500ms]", "[500ms~1s]",
	"[1~2s]", "[2~3s]", "[3~4s]", "[4~5s]", "[5~10s]", "[10s~]",
};

static unsigned distribution_slot(int64_t us)
{
	unsigned i = 0;

	while (i < DISTRIBUTION - 1 && us >= (int64_t)distribution_ms[i] * 1000)
		i++;
	return i;
}

void stats_put(struct stats *s, unsigned n_messages, uint64_t bytes, int64_t took_us)
{
	int64_t max = READ(s->put_max_us);

	ADD(s->now.put_requests, 1);
	ADD(s->now.put_messages, n_messages);
	ADD(s->now.put_bytes, bytes);
	ADD(s->window.latency[latency_bucket(took_us)], 1);
	ADD(s->window.distribution[distribution_slot(took_us)], 1);
	while (took_us > max &&
	       !__atomic_compare_exchange_n(&s->put_max_us, &max, took_us, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

void stats_put_failed(struct stats *s)
{
	ADD(s->now.put_failed, 1);
}

void stats_get(struct stats *s, unsigned n_messages, uint64_t bytes)
{
	ADD(s->now.get_found, 1);
	ADD(s->now.get_messages, n_messages);
	ADD(s->now.get_bytes, bytes);
}

void stats_get_missed(struct stats *s)
{
	ADD(s->now.get_missed, 1);
}

static struct counters counters_read(const struct stats *s)
{
	const struct counters *c = &s->now;

	return (struct counters){
		.put_requests = READ(c->put_requests),
		.put_messages = READ(c->put_messages),
		.put_bytes = READ(c->put_bytes),
		.put_failed = READ(c->put_failed),
		.get_found = READ(c->get_found),
		.get_missed = READ(c->get_missed),
		.get_messages = READ(c->get_messages),
		.get_bytes = READ(c->get_bytes),
	};
}

/* ---- Sampling; s->lock is held ---- */

static int stats_day(const struct stats *s)
{
	time_t now = (time_t)(mq_wall_ms(s->broker->clock) / 1000);
	struct tm tm;

	localtime_r(&now, &tm);
	return tm.tm_year * 366 + tm.tm_yday;
}

static void stats_turn_day(struct stats *s, const struct counters *now)
{
	struct mornings *m = &s->mornings;
	int day = stats_day(s);

	if (m->day == day)
		return;
	m->day = day;
	m->put_yesterday = m->put_today;
	m->get_yesterday = m->get_today;
	m->put_today = now->put_messages;
	m->get_today = now->get_messages;
}

static void stats_turn_window(struct stats *s, int64_t now_ms)
{
	if (now_ms - s->window_began_at_ms < LATENCY_WINDOW_MS)
		return;
	s->window_began_at_ms = now_ms;
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
		s->last.latency[i] = __atomic_exchange_n(&s->window.latency[i], 0, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < DISTRIBUTION; i++)
		s->last.distribution[i] = __atomic_exchange_n(&s->window.distribution[i], 0, __ATOMIC_RELAXED);
	s->has_last = true;
}

void stats_sample(struct stats *s)
{
	int64_t now_ms = mq_mono_ms(s->broker->clock);
	struct counters now;

	pthread_mutex_lock(&s->lock);
	now = counters_read(s);
	s->samples[s->n_samples++ % SAMPLES] = (struct sample){ now_ms, now };
	stats_turn_day(s, &now);
	stats_turn_window(s, now_ms);
	pthread_mutex_unlock(&s->lock);
}

/* ---- Reading ---- */

struct reading {
	struct counters now;
	int64_t now_ms;
	struct sample before[3]; /* about 10 s, 60 s and 600 s ago, or as long ago as there is one */
	struct mornings mornings;
	struct window window;
};

static struct sample stats_sample_before(const struct stats *s, int64_t at_ms)
{
	unsigned oldest = s->n_samples > SAMPLES ? s->n_samples - SAMPLES : 0;
	unsigned i = s->n_samples - 1;

	while (i > oldest && s->samples[i % SAMPLES].at_ms > at_ms)
		i--;
	return s->samples[i % SAMPLES];
}

static void stats_read(struct stats *s, struct reading *ret)
{
	static const int64_t spans_ms[] = { 10000, 60000, 600000 };

	pthread_mutex_lock(&s->lock);
	ret->now = counters_read(s); /* under the lock: never less than a sample's */
	ret->now_ms = mq_mono_ms(s->broker->clock);
	for (unsigned i = 0; i < N_ELEMENTS(spans_ms); i++)
		ret->before[i] = stats_sample_before(s, ret->now_ms - spans_ms[i]);
	ret->mornings = s->mornings;
	if (s->has_last) {
		ret->window = s->last;
	} else {
		for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
			ret->window.latency[i] = READ(s->window.latency[i]);
		for (unsigned i = 0; i < DISTRIBUTION; i++)
			ret->window.distribution[i] = READ(s->window.distribution[i]);
	}
	pthread_mutex_unlock(&s->lock);
}

static double window_percentile_ms(const struct window *w, double fraction)
{
	uint64_t total = 0, sum = 0;

	for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
		total += w->latency[i];
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
		sum += w->latency[i];
		if (total > 0 && (double)sum >= fraction * (double)total)
			return latency_bound_ms(i);
	}
	return 0;
}

/* ---- The table of code 28: all values are strings ---- */

__attribute__((format(printf, 3, 4))) static void put(struct mq_json_writer *w, const char *key, const char *fmt, ...)
{
	char value[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(value, sizeof value, fmt, ap);
	va_end(ap);
	mq_json_member_string(w, key, (struct mq_slice){ value, n < (int)sizeof value ? (size_t)n : sizeof value - 1 });
}

static void put_u64(struct mq_json_writer *w, const char *key, uint64_t value)
{
	put(w, key, "%" PRIu64, value);
}

/* UtilAll.humanReadableByteCount: the first word is a number, the second its unit. */
static const char *bytes_text(uint64_t bytes, char ret[32])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
	double value = (double)bytes / 1024;
	unsigned unit = 0;

	if (bytes < 1024) {
		snprintf(ret, 32, "%" PRIu64 " B", bytes);
		return ret;
	}
	while (value >= 1024 && unit < N_ELEMENTS(units) - 1) {
		value /= 1024;
		unit++;
	}
	snprintf(ret, 32, "%.1f %s", value, units[unit]);
	return ret;
}

typedef uint64_t (*counter_of)(const struct counters *c);

static uint64_t count_put(const struct counters *c)
{
	return c->put_messages;
}

static uint64_t count_found(const struct counters *c)
{
	return c->get_found;
}

static uint64_t count_missed(const struct counters *c)
{
	return c->get_missed;
}

static uint64_t count_pulls(const struct counters *c)
{
	return c->get_found + c->get_missed;
}

static uint64_t count_transferred(const struct counters *c)
{
	return c->get_messages;
}

/* Rates of the last 10 s, 60 s and 600 s. */
static void put_rates(struct mq_json_writer *w, const char *key, const struct reading *r, counter_of count)
{
	double rates[3];

	for (unsigned i = 0; i < N_ELEMENTS(rates); i++) {
		double seconds = (double)(r->now_ms - r->before[i].at_ms) / 1000;

		rates[i] = seconds > 0 ? (double)(count(&r->now) - count(&r->before[i].counters)) / seconds : 0;
	}
	put(w, key, "%.4f %.4f %.4f", rates[0], rates[1], rates[2]);
}

static void put_all_rates(struct mq_json_writer *w, const struct reading *r)
{
	put_rates(w, "putTps", r, count_put);
	put_rates(w, "getFoundTps", r, count_found);
	put_rates(w, "getMissTps", r, count_missed);
	put_rates(w, "getTotalTps", r, count_pulls);
	put_rates(w, "getTransferredTps", r, count_transferred);
	put_rates(w, "getTransferedTps", r, count_transferred); /* 4.x spells it so */
}

static void put_totals(struct mq_json_writer *w, const struct stats *s, const struct reading *r)
{
	const struct counters *c = &r->now;
	char text[512];
	int n = 0;

	put_u64(w, "msgPutTotalYesterdayMorning", r->mornings.put_yesterday);
	put_u64(w, "msgPutTotalTodayMorning", r->mornings.put_today);
	put_u64(w, "msgPutTotalTodayNow", c->put_messages);
	put_u64(w, "msgGetTotalYesterdayMorning", r->mornings.get_yesterday);
	put_u64(w, "msgGetTotalTodayMorning", r->mornings.get_today);
	put_u64(w, "msgGetTotalTodayNow", c->get_messages);
	put_u64(w, "putMessageTimesTotal", c->put_messages ? c->put_messages : 1); /* never 0: tools divide by it */
	put_u64(w, "putMessageSizeTotal", c->put_bytes);
	put(w, "putMessageAverageSize", "%.4f", c->put_messages ? (double)c->put_bytes / (double)c->put_messages : 0.0);
	put(w, "putMessageEntireTimeMax", "%" PRId64, READ(s->put_max_us) / 1000);
	put_u64(w, "getMessageEntireTimeMax", 0);
	put_u64(w, "putMessageFailedTimes", c->put_failed);
	put(w, "putLatency99", "%.2f", window_percentile_ms(&r->window, 0.99));
	put(w, "putLatency999", "%.2f", window_percentile_ms(&r->window, 0.999));
	for (unsigned i = 0; i < DISTRIBUTION; i++)
		n += snprintf(text + n, sizeof text - (size_t)n, "%s:%" PRIu64 " ", distribution_names[i],
			      r->window.distribution[i]);
	put(w, "putMessageDistributeTime", "%s", text);
}

static void put_store(struct mq_json_writer *w, const struct stats *s)
{
	const struct broker_config *c = &s->broker->config;
	char key[512], total[32], free_[32], unsynced[32];
	struct store_stats st;

	store_stats(s->broker->store, &st);
	put(w, "earliestMessageTimeStamp", "%" PRId64, st.earliest_at_ms);
	put(w, "commitLogMinOffset", "%" PRId64, st.log_min);
	put(w, "commitLogMaxOffset", "%" PRId64, st.log_max);
	put(w, "commitLogDiskRatio", "%.4f", st.disk_used_ratio);
	put(w, "consumeQueueDiskRatio", "%.4f", st.disk_used_ratio);
	snprintf(key, sizeof key, "commitLogDiskRatio_%s", c->storePathRootDir);
	put(w, key, "%.4f", st.disk_used_ratio);
	put(w, "commitLogDirCapacity", "Total : %s, Free : %s.", bytes_text(st.bytes_total, total),
	    bytes_text(st.bytes_free, free_));
	put(w, "remainHowManyDataToFlush", "%s", bytes_text(st.bytes_not_synced, unsynced));
	put_u64(w, "remainTransientStoreBufferNumbs", INT32_MAX); /* there is no such pool */
	put_u64(w, "dispatchMaxBuffer", 0);
	put_u64(w, "dispatchBehindBytes", 0);
	put_u64(w, "pageCacheLockTimeMills", 0);
}

/* Upstream's thread pools, which tools insist on: requests never queue here, capacities are upstream's defaults. */
static void put_pools(struct mq_json_writer *w)
{
	static const struct {
		const char *name;
		unsigned capacity;
	} pools[] = {
		{ "send", 10000 }, { "pull", 100000 }, { "query", 20000 }, { "litePull", 100000 }, { "ack", 100000 }
	};
	char key[64];

	for (unsigned i = 0; i < N_ELEMENTS(pools); i++) {
		snprintf(key, sizeof key, "%sThreadPoolQueueSize", pools[i].name);
		put_u64(w, key, 0);
		snprintf(key, sizeof key, "%sThreadPoolQueueCapacity", pools[i].name);
		put_u64(w, key, pools[i].capacity);
		snprintf(key, sizeof key, "%sThreadPoolQueueHeadWaitTimeMills", pools[i].name);
		put_u64(w, key, 0);
	}
	put_u64(w, "EndTransactionQueueSize", 0);
	put_u64(w, "EndTransactionThreadPoolQueueCapacity", 100000);
	put_u64(w, "timerReadBehind", 0);
	put_u64(w, "timerOffsetBehind", 0);
	put_u64(w, "timerCongestNum", 0);
	put(w, "timerEnqueueTps", "0.0");
	put(w, "timerDequeueTps", "0.0");
}

/* "delivered up to, end" of each level that was used. */
static void put_levels(struct mq_json_writer *w, const struct broker *b)
{
	int64_t passed, max;
	char key[48];

	for (int32_t level = 1; level <= b->delay_levels.n; level++) {
		if (!b->schedule || !schedule_level(b->schedule, level, &passed, &max))
			continue;
		snprintf(key, sizeof key, "scheduleMessageOffset_%" PRId32, level);
		put(w, key, "%" PRId64 ",%" PRId64, passed, max);
	}
}

static void put_broker(struct mq_json_writer *w, const struct stats *s)
{
	const struct broker *b = s->broker;
	int64_t up = (mq_wall_ms(b->clock) - b->started_at_ms) / 1000;

	put(w, "brokerVersionDesc", "%s", MQ_VERSION_DESC);
	put_u64(w, "brokerVersion", MQ_VERSION);
	put(w, "brokerActive", "true");
	put(w, "bootTimestamp", "%" PRId64, b->started_at_ms);
	put(w, "startAcceptSendRequestTimeStamp", "0");
	put(w, "runtime", "[ %" PRId64 " days, %" PRId64 " hours, %" PRId64 " minutes, %" PRId64 " seconds ]", up / 86400,
	    up / 3600 % 24, up / 60 % 60, up % 60);
}

int stats_encode_runtime(struct stats *s, struct evbuffer *out)
{
	struct mq_json_writer w;
	struct reading r = {};

	stats_read(s, &r);
	mq_json_begin(&w, out);
	mq_json_open_object(&w);
	mq_json_key(&w, "table");
	mq_json_open_object(&w);
	put_broker(&w, s);
	put_all_rates(&w, &r);
	put_totals(&w, s, &r);
	put_store(&w, s);
	put_pools(&w);
	put_levels(&w, s->broker);
	mq_json_close_object(&w);
	mq_json_close_object(&w);
	return mq_json_end(&w);
}

/* ---- Life ---- */

int stats_new(struct stats **ret, struct broker *b)
{
	struct stats *s = calloc(1, sizeof *s);

	if (!s)
		return -ENOMEM;
	s->broker = b;
	pthread_mutex_init(&s->lock, NULL);
	s->window_began_at_ms = mq_mono_ms(b->clock);
	s->mornings.day = stats_day(s);
	stats_sample(s);
	*ret = s;
	return 0;
}

struct stats *stats_free(struct stats *s)
{
	if (s)
		pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}
