#include "daemons/ctl/bench.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "daemons/ctl/load.h"
#include "libmq/client/admin.h"
#include "libmq/wire/codes.h"

enum { ROUTE_WAIT_MS = 35000, ROUTE_POLL_MS = 200 }; /* brokers register every 30 s at the latest */

double bench_cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* --- progress --- */

static double ms(double ns)
{
	return ns / 1e6;
}

/* Without memory for it the slice is missing. */
static void watch_keep(struct bench_watch *w, const struct bench_progress *now, int64_t now_ns)
{
	if (w->n_slices == w->slices_capacity) {
		size_t capacity = w->slices_capacity ? 2 * w->slices_capacity : 64;
		struct bench_slice *larger = reallocarray(w->slices, capacity, sizeof *larger);

		if (!larger)
			return;
		w->slices = larger;
		w->slices_capacity = capacity;
	}
	w->slices[w->n_slices++] = (struct bench_slice){
		.at = (double)(w->last_ns - w->measure_ns) / 1e9,
		.seconds = (double)(now_ns - w->last_ns) / 1e9,
		.messages = now->messages - w->last.messages,
		.p50_ns = histogram_percentile(now->interval, 50),
		.p99_ns = histogram_percentile(now->interval, 99),
		.p999_ns = histogram_percentile(now->interval, 99.9),
		.max_ns = (int64_t)now->interval->max_ns,
	};
}

/* The second is over. */
static void watch_turn(struct bench_watch *w, const struct bench_progress *now, int64_t now_ns)
{
	if (w->keeps_slices)
		watch_keep(w, now, now_ns);
	histogram_reset(now->interval);
	w->last = *now;
	w->last_ns = now_ns;
}

static void watch_on_timer(evutil_socket_t fd, short what, void *user)
{
	struct bench_watch *w = user;
	struct bench_progress now = w->progress(w->user);
	int64_t now_ns = load_now_ns();
	double seconds = (double)(now_ns - w->last_ns) / 1e9;

	if (!w->is_quiet)
		fprintf(stderr, "%6.1f s  %10.0f msg/s  %8.2f MB/s  p50 %.3f ms  p99 %.3f ms  max %.3f ms\n",
			(double)(now_ns - w->start_ns) / 1e9,
			(double)(now.messages - w->last.messages) / seconds,
			(double)(now.bytes - w->last.bytes) / seconds / 1e6,
			ms((double)histogram_percentile(now.interval, 50)),
			ms((double)histogram_percentile(now.interval, 99)), ms((double)now.interval->max_ns));
	watch_turn(w, &now, now_ns);
}

void bench_watch_measure(struct bench_watch *w)
{
	const struct timeval second = { .tv_sec = 1 };
	struct bench_progress now = w->progress(w->user);
	struct timespec wall;

	watch_turn(w, &now, load_now_ns());
	w->n_slices = 0;
	w->measure_ns = w->last_ns;
	clock_gettime(CLOCK_REALTIME, &wall);
	w->measure_at_ms = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000;
	if (w->timer) /* seconds from now on; it stays as it was when this fails */
		(void)event_add(w->timer, &second);
}

int bench_watch_start(struct bench_watch *w)
{
	const struct timeval second = { .tv_sec = 1 };

	w->start_ns = w->last_ns = load_now_ns();
	w->last = w->progress(w->user);
	if (w->is_quiet && !w->keeps_slices)
		return 0;
	w->timer = event_new(mq_loop_base(w->ctl->loop), -1, EV_PERSIST, watch_on_timer, w);
	if (!w->timer || event_add(w->timer, &second) < 0) {
		bench_watch_stop(w);
		return -ENOMEM;
	}
	return 0;
}

void bench_watch_stop(struct bench_watch *w)
{
	struct bench_progress now;

	if (w->timer)
		event_free(w->timer);
	w->timer = NULL;
	if (w->keeps_slices) {
		now = w->progress(w->user);
		watch_turn(w, &now, load_now_ns());
	}
}

void bench_watch_done(struct bench_watch *w)
{
	free(w->slices);
}

bool bench_wait(struct ctl *ctl, const bool *is_done, int64_t timeout_ms)
{
	return mq_client_wait(ctl->client, is_done, timeout_ms) == -EINTR;
}

int bench_check_delay(int64_t delay_ms, int64_t batch)
{
	return delay_ms > 0 && batch > 1 ? ctl_error(EX_USAGE, "--delay is for single messages, not for a --batch") : 0;
}

/* --- the topic --- */

static int create_topic(struct ctl *ctl, const char *topic, int64_t queues, struct mq_failure *f)
{
	_cleanup_(mq_broker_list_done) struct mq_broker_list brokers = {};
	struct mq_topic_config config = {
		.name = mq_slice_of(topic),
		.read_queues = (int32_t)queues,
		.write_queues = (int32_t)queues,
		.perm = MQ_PERM_BIT_READ | MQ_PERM_BIT_WRITE,
	};
	int r;

	r = mq_admin_brokers(ctl->client, NULL, &brokers, f);
	for (unsigned i = 0; i < brokers.n && r >= 0; i++)
		if (brokers.items[i].id == 0)
			r = mq_admin_create_topic(ctl->client, &brokers.items[i], &config, f);
	return r;
}

int bench_route(struct ctl *ctl, const char *topic, int64_t queues, struct mq_topic_route **ret,
		struct mq_failure *f)
{
	static const bool never = false;
	int64_t end_ns = load_now_ns() + (int64_t)ROUTE_WAIT_MS * 1000000;
	bool is_created = false;
	int r;

	while ((r = mq_client_route(ctl->client, topic, MQ_FIND_AS_IS, ret, f)) < 0) {
		if (f->code != MQ_TOPIC_NOT_EXIST || load_now_ns() > end_ns)
			return r;
		if (!is_created) {
			r = create_topic(ctl, topic, queues, f);
			if (r < 0)
				return r;
			is_created = true;
		} else if (bench_wait(ctl, &never, ROUTE_POLL_MS)) {
			return mq_failure_local(f, -EINTR, "interrupted");
		}
	}
	return 0;
}

int bench_routes(struct ctl *ctl, const char *topic, unsigned n, int64_t queues, struct bench_routes *ret,
		 struct mq_failure *f)
{
	int r = 0;

	ret->items = calloc(n, sizeof *ret->items);
	if (!ret->items)
		return mq_failure_local(f, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < n && r >= 0; i++) {
		_cleanup_(freep) char *name = NULL;

		if ((n > 1 ? asprintf(&name, "%s-%u", topic, i + 1) : asprintf(&name, "%s", topic)) < 0)
			return mq_failure_local(f, -ENOMEM, "out of memory");
		r = bench_route(ctl, name, queues, &ret->items[i], f);
		if (r >= 0)
			ret->n++;
	}
	return r;
}

void bench_routes_done(struct bench_routes *r)
{
	for (unsigned i = 0; i < r->n; i++)
		mq_topic_route_unref(r->items[i]);
	free(r->items);
}

/* --- results --- */

static void put_latency(struct mq_json_writer *w, const struct histogram *h)
{
	static const struct {
		const char *name;
		double percent;
	} percentiles[] = { { "p50", 50 }, { "p90", 90 }, { "p99", 99 }, { "p999", 99.9 }, { "p9999", 99.99 } };

	mq_json_key(w, "latencyMs");
	mq_json_open_object(w);
	mq_json_member_i64(w, "count", (int64_t)h->n);
	mq_json_member_double(w, "max", ms((double)h->max_ns));
	mq_json_member_double(w, "mean", ms(histogram_mean(h)));
	mq_json_member_double(w, "min", ms((double)h->min_ns));
	for (size_t i = 0; i < N_ELEMENTS(percentiles); i++)
		mq_json_member_double(w, percentiles[i].name,
				      ms((double)histogram_percentile(h, percentiles[i].percent)));
	mq_json_close_object(w);
}

static void put_slices(struct mq_json_writer *w, const struct bench_result *r)
{
	mq_json_key(w, "slices");
	mq_json_open_array(w);
	for (size_t i = 0; i < r->n_slices; i++) {
		const struct bench_slice *s = &r->slices[i];

		mq_json_open_object(w);
		mq_json_member_double(w, "at", s->at);
		mq_json_member_double(w, "max", ms((double)s->max_ns));
		mq_json_member_i64(w, "messages", (int64_t)s->messages);
		mq_json_member_double(w, "p50", ms((double)s->p50_ns));
		mq_json_member_double(w, "p99", ms((double)s->p99_ns));
		mq_json_member_double(w, "p999", ms((double)s->p999_ns));
		mq_json_member_double(w, "seconds", s->seconds);
		mq_json_close_object(w);
	}
	mq_json_close_array(w);
	mq_json_member_i64(w, "startedAtMs", r->started_at_ms);
}

/* Every option of the verb as it was in force: a result without its parameters is worth little. */
static void put_parameters(struct mq_json_writer *w, const struct verb *verb, const char *options)
{
	for (unsigned i = 0; i < verb->n_lines; i++) {
		const struct arg_line *line = &verb->lines[i];
		const void *place = options + line->offset;
		const char *text;

		switch (line->type) {
		case ARG_FLAG:
			mq_json_member_bool(w, line->name, *(const bool *)place);
			break;
		case ARG_TEXT:
			text = *(const char *const *)place;
			if (text)
				mq_json_member_string(w, line->name, mq_slice_of(text));
			break;
		case ARG_DURATION:
			mq_json_member_double(w, line->name, (double)*(const int64_t *)place / 1000);
			break;
		default:
			mq_json_member_i64(w, line->name, *(const int64_t *)place);
		}
	}
}

static void put_servers(struct mq_json_writer *w, const struct ctl *ctl)
{
	const char *direct = mq_client_direct_broker(ctl->client), *address;

	if (direct)
		mq_json_member_string(w, "broker", mq_slice_of(direct));
	mq_json_key(w, "namesrv");
	mq_json_open_array(w);
	for (unsigned i = 0; (address = mq_client_namesrv(ctl->client, i)); i++)
		mq_json_string(w, mq_slice_of(address));
	mq_json_close_array(w);
}

static int print_json(const struct ctl *ctl, const void *options, const struct bench_result *r)
{
	struct json_out j;
	int error;

	if (json_out_init(&j) < 0)
		return -ENOMEM;
	mq_json_open_object(&j.w);
	mq_json_member_string(&j.w, "bench", mq_slice_of(r->kind));
	mq_json_key(&j.w, "parameters");
	mq_json_open_object(&j.w);
	put_parameters(&j.w, ctl->verb, options);
	put_servers(&j.w, ctl);
	mq_json_close_object(&j.w);
	mq_json_key(&j.w, "result");
	mq_json_open_object(&j.w);
	mq_json_member_i64(&j.w, "bytes", (int64_t)r->bytes);
	mq_json_member_double(&j.w, "bytesPerSecond", (double)r->bytes / r->seconds);
	mq_json_member_double(&j.w, "clientCpuSeconds", r->cpu_seconds);
	mq_json_member_i64(&j.w, "early", (int64_t)r->early);
	mq_json_member_i64(&j.w, "errors", (int64_t)r->errors);
	mq_json_member_string(&j.w, "latencyOf", mq_slice_of(r->latency_of));
	put_latency(&j.w, r->latency);
	mq_json_member_i64(&j.w, "lost", (int64_t)r->lost);
	mq_json_member_i64(&j.w, "messages", (int64_t)r->messages);
	mq_json_member_double(&j.w, "messagesPerSecond", (double)r->messages / r->seconds);
	mq_json_member_double(&j.w, "seconds", r->seconds);
	if (r->n_slices > 0)
		put_slices(&j.w, r);
	mq_json_member_i64(&j.w, "unsent", (int64_t)r->unsent);
	mq_json_close_object(&j.w);
	mq_json_close_object(&j.w);
	error = json_out_print(&j, stdout);
	json_out_done(&j);
	return error;
}

static void print_text(const struct bench_result *r)
{
	const struct histogram *h = r->latency;

	printf("%s: %llu messages in %.1f s\n", r->kind, (unsigned long long)r->messages, r->seconds);
	printf("  throughput  %.0f msg/s, %.2f MB/s\n", (double)r->messages / r->seconds,
	       (double)r->bytes / r->seconds / 1e6);
	printf("  %s latency  p50 %.3f  p90 %.3f  p99 %.3f  p99.9 %.3f  max %.3f  mean %.3f ms\n",
	       r->latency_of, ms((double)histogram_percentile(h, 50)),
	       ms((double)histogram_percentile(h, 90)), ms((double)histogram_percentile(h, 99)),
	       ms((double)histogram_percentile(h, 99.9)), ms((double)h->max_ns), ms(histogram_mean(h)));
	printf("  mqctl used %.0f%% of a CPU\n", 100 * r->cpu_seconds / r->seconds);
	if (r->errors > 0)
		printf("  %llu errors\n", (unsigned long long)r->errors);
	if (r->unsent > 0)
		printf("  %llu messages were due and not sent: the server did not keep up with the rate\n",
		       (unsigned long long)r->unsent);
	if (r->lost > 0)
		printf("  %llu messages were acknowledged and did not arrive\n", (unsigned long long)r->lost);
	if (r->early > 0)
		printf("  %llu messages were delivered before their time\n", (unsigned long long)r->early);
}

int bench_print(const struct ctl *ctl, const void *options, const struct bench_result *result)
{
	struct bench_result r = *result;

	if (r.seconds <= 0)
		r.seconds = 1e-9;
	if (ctl->format == FORMAT_JSON) {
		if (print_json(ctl, options, &r) < 0)
			return ctl_no_memory();
	} else {
		print_text(&r);
	}
	if (fflush(stdout) != 0)
		return ctl_error(EX_IOERR, "cannot write to standard output: %s", strerror(errno));
	if (r.first_error) {
		fputs("mqctl: the first error:\n", stderr);
		return ctl_fail(ctl, r.first_error);
	}
	return r.lost > 0 || r.early > 0 ? EXIT_FAILED : 0;
}
