/* Each NameServer has a connection of its own that is kept open; a NameServer forgets a broker whose connection closes.
 *
 *   not registered ── full registration ──> registered ── connection lost, or refused ──> not registered
 *
 * Full registrations carry the whole table, one at a time per NameServer. Changes go as one-topic registrations to
 * those that know the table, and wait for the next full one elsewhere: a NameServer refuses one topic of a broker that
 * it does not know. */
#include "daemons/broker/register_internal.h"

#include <errno.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/messages.h"
#include "daemons/broker/topics.h"
#include "libmq/base/log.h"
#include "libmq/net/rpc.h"
#include "libmq/wire/body_kv.h"
#include "libmq/wire/body_register.h"
#include "libmq/wire/codes.h"

enum {
	NAMESRVS_MAX = 64,
	FIRST_PERIOD_MS = 10000,
	PERIOD_MIN_MS = 10000,
	PERIOD_MAX_MS = 60000,
	GOODBYE_TIMEOUT_MS = 3000,
	SINGLES_MAX = 16, /* more topics changed at once: the whole table is sent */
};

static void namesrv_register(struct namesrv *n);

/* ---- Requests ---- */

static void registrar_add_identity(struct registrar *r, struct mq_command *cmd)
{
	const struct broker *b = r->broker;

	mq_command_add(cmd, "brokerName", mq_slice_of(b->config.brokerName));
	mq_command_add(cmd, "brokerAddr", mq_slice_of(b->address));
	mq_command_add(cmd, "clusterName", mq_slice_of(b->config.brokerClusterName));
	mq_command_add_i64(cmd, "brokerId", b->config.brokerId);
}

/* With our own NameServers local clients find the broker's Unix socket; others ignore the two fields. */
static void registrar_add_local(struct registrar *r, struct mq_command *cmd)
{
	const char *path = r->broker->config.localSocket;

	if (strcmp(path, "none") == 0 || !r->boot_id[0])
		return;
	mq_command_add(cmd, "localSocket", mq_slice_of(path));
	mq_command_add(cmd, "bootId", mq_slice_of(r->boot_id));
}

static struct mq_slice registrar_ha_address(struct registrar *r, char text[MQ_HOST_TEXT_MAX])
{
	const struct broker_config *c = &r->broker->config;
	const char *format = strchr(c->brokerIP2, ':') ? "[%s]:%" PRIi64 : "%s:%" PRIi64;
	int n = snprintf(text, MQ_HOST_TEXT_MAX, format, c->brokerIP2, c->haListenPort);

	return (struct mq_slice){ text, n < MQ_HOST_TEXT_MAX ? (size_t)n : MQ_HOST_TEXT_MAX - 1 };
}

/* brokerPermission is taken from every topic's permission, when it takes something. */
static int32_t registrar_perm_without(struct registrar *r)
{
	int64_t permission = config_get(&r->broker->config, brokerPermission);

	return (PERM_READ | PERM_WRITE) & ~(int32_t)permission ? ~(int32_t)permission : 0;
}

/* The body of a registration; one topic when `only` is not empty. */
static struct evbuffer *registrar_body(struct registrar *r, struct mq_slice only)
{
	struct topics_range range = { .only = only, .perm_without = registrar_perm_without(r) };
	struct evbuffer *table = evbuffer_new(), *body = evbuffer_new();
	bool ok = table && body && topics_encode_table(r->broker->topics, &range, table) >= 0 &&
		  mq_register_encode(table, body) == 0;

	if (table)
		evbuffer_free(table);
	if (!ok && body) {
		evbuffer_free(body);
		body = NULL;
	}
	return body;
}

static int namesrv_send(struct namesrv *n, struct mq_slice only, mq_rpc_done done)
{
	struct registrar *r = n->registrar;
	struct evbuffer *body = registrar_body(r, only);
	char ha[MQ_HOST_TEXT_MAX];
	struct mq_command cmd;
	const char *bytes;
	int result;

	bytes = body ? (const char *)evbuffer_pullup(body, -1) : NULL;
	if (!bytes) {
		if (body)
			evbuffer_free(body);
		return -ENOMEM;
	}
	mq_command_request(&cmd, MQ_REGISTER_BROKER);
	registrar_add_identity(r, &cmd);
	mq_command_add_copy(&cmd, "haServerAddr", registrar_ha_address(r, ha));
	mq_command_add_bool(&cmd, "enableActingMaster", false);
	mq_command_add_bool(&cmd, "compressed", false);
	mq_command_add_i64(&cmd, "bodyCrc32", mq_body_crc((struct mq_slice){ bytes, evbuffer_get_length(body) }));
	registrar_add_local(r, &cmd);
	result = mq_remote_call(n->remote, &cmd, body, r->broker->config.registerBrokerTimeoutMills, done, n);
	evbuffer_free(body);
	n->n_sent += result == 0;
	return result;
}

/* ---- Answers ---- */

static void namesrv_failed(struct namesrv *n, const char *why)
{
	n->is_registered = false;
	if (n->has_warned || n->registrar->is_stopping)
		return;
	n->has_warned = true;
	mq_log_fields(LOG_WARNING, BROKER_MSG_NAMESRV_UNREACHABLE, NULL,
		      "cannot register with NameServer %s: %s; clients that ask it do not find this broker",
		      mq_remote_address(n->remote)->text, why);
}

static void namesrv_succeeded(struct namesrv *n)
{
	if (!n->is_registered)
		mq_log(LOG_INFO, "registered with NameServer %s as %s", mq_remote_address(n->remote)->text,
		       n->registrar->broker->address);
	n->is_registered = true;
	n->has_warned = false;
}

/* Topics with an order configuration, as an answer names them. Each that is new is a row in the store, so beside the loop; the next answers
 * name them, too, so that one at a time is enough. */
struct order_news {
	struct registrar *registrar; /* borrowed: freed when what is done beside the loops has ended */
	struct mq_kv_table table;
	char body[];
};

static void order_news_free(struct order_news *news)
{
	mq_kv_table_done(&news->table);
	free(news);
}

static void order_news_store(void *arg)
{
	struct order_news *news = arg;
	struct registrar *r = news->registrar;

	for (unsigned i = 0; i < news->table.n_pairs; i++) {
		int result = topics_mark_order(r->broker->topics, news->table.pairs[i].key);

		if (result < 0)
			mq_log(LOG_ERR, "cannot store that topic %.*s is ordered: %s", MQ_FMT(news->table.pairs[i].key), strerror(-result));
	}
	order_news_free(news);
	atomic_store(&r->is_storing_order, false);
}

static bool order_news_has_new(const struct order_news *news)
{
	struct topic topic;

	for (unsigned i = 0; i < news->table.n_pairs; i++)
		if (topics_get(news->registrar->broker->topics, news->table.pairs[i].key, &topic) == 0 && !topic.is_order)
			return true;
	return false;
}

static void namesrv_take_order(struct namesrv *n, struct mq_slice body)
{
	struct registrar *r = n->registrar;
	struct order_news *news;
	struct mq_error err = {};

	if (body.n == 0 || atomic_load(&r->is_storing_order))
		return;
	news = calloc(1, sizeof *news + body.n);
	if (!news)
		return;
	news->registrar = r;
	memcpy(news->body, body.p, body.n);
	if (mq_kv_table_decode(&news->table, (struct mq_slice){ news->body, body.n }, &err) < 0) {
		mq_log(LOG_WARNING, "NameServer %s sent an order configuration that is not understood: %s",
		       mq_remote_address(n->remote)->text, err.text);
		free(news);
		return;
	}
	if (!order_news_has_new(news)) {
		order_news_free(news);
		return;
	}
	atomic_store(&r->is_storing_order, true);
	if (broker_change_alone(r->broker, order_news_store, news) < 0) {
		atomic_store(&r->is_storing_order, false);
		order_news_free(news);
	}
}

static bool namesrv_judge(struct namesrv *n, int r, const struct mq_command *answer, const char *why)
{
	char text[300];

	if (r < 0) {
		namesrv_failed(n, why ? why : strerror(-r));
		return false;
	}
	if (answer->code != MQ_SUCCESS) {
		snprintf(text, sizeof text, "it answered code %d%s%.*s", answer->code, answer->remark.n > 0 ? ", " : "",
			 MQ_FMT(answer->remark));
		namesrv_failed(n, text);
		return false;
	}
	namesrv_succeeded(n);
	return true;
}

static void namesrv_on_registered(int r, const struct mq_command *answer, const char *why, void *user)
{
	struct namesrv *n = user;

	n->is_registering = false;
	n->n_done++;
	if (r == -ECANCELED)
		return;
	if (namesrv_judge(n, r, answer, why))
		namesrv_take_order(n, answer->body);
	if (n->wants_full && n->is_registered)
		namesrv_register(n);
	registrar_check_waiting(n->registrar);
}

static void namesrv_on_registered_one(int r, const struct mq_command *answer, const char *why, void *user)
{
	struct namesrv *n = user;

	n->n_done++;
	if (r == -ECANCELED)
		return;
	if (namesrv_judge(n, r, answer, why))
		namesrv_take_order(n, answer->body);
	else if (r == 0) /* it lives, but does not know us */
		namesrv_register(n);
	registrar_check_waiting(n->registrar);
}

/* ---- Sending ---- */

/* The whole table. When there is no connection, the call waits for one. */
static void namesrv_register(struct namesrv *n)
{
	int r;

	if (n->registrar->is_stopping)
		return;
	if (n->is_registering) {
		n->wants_full = true;
		return;
	}
	n->wants_full = false;
	n->is_registering = true;
	r = namesrv_send(n, (struct mq_slice){}, namesrv_on_registered);
	if (r < 0) {
		n->is_registering = false;
		namesrv_failed(n, strerror(-r));
	}
}

static void namesrv_register_one(struct namesrv *n, struct mq_slice topic)
{
	int r;

	if (!n->is_registered) {
		namesrv_register(n);
		return;
	}
	r = namesrv_send(n, topic, namesrv_on_registered_one);
	if (r < 0)
		namesrv_failed(n, strerror(-r)); /* the next round tries the whole table */
}

static void namesrv_on_state(struct mq_remote *remote, bool connected, void *user)
{
	struct namesrv *n = user;

	/* A NameServer forgets us with the connection. */
	if (!connected)
		n->is_registered = false;
	else if (n->registrar->is_started && !n->is_registering)
		namesrv_register(n);
}

/* ---- Rounds ---- */

static void registrar_round(struct registrar *r)
{
	for (unsigned i = 0; i < r->n_servers; i++)
		namesrv_register(&r->servers[i]);
}

static void registrar_set_timer(struct registrar *r, int64_t after_ms)
{
	struct mq_loop *loop = r->broker->main_loop;

	if (mq_timer_set(loop, &r->timer, mq_loop_mono_ms(loop) + after_ms) < 0)
		mq_log(LOG_ERR, "out of memory: no more registrations with the NameServers");
}

static void registrar_on_timer(struct mq_timer *timer)
{
	struct registrar *r = (struct registrar *)((char *)timer - offsetof(struct registrar, timer));
	int64_t period_ms = config_get(&r->broker->config, registerNameServerPeriod);

	registrar_round(r);
	registrar_set_timer(r, period_ms < PERIOD_MIN_MS   ? PERIOD_MIN_MS
			       : period_ms > PERIOD_MAX_MS ? PERIOD_MAX_MS
							   : period_ms);
}

static void registrar_start(struct registrar *r)
{
	if (r->is_started)
		return;
	r->is_started = true;
	registrar_set_timer(r, FIRST_PERIOD_MS);
}

static void registrar_changed_one(struct registrar *r, struct mq_slice topic)
{
	for (unsigned i = 0; i < r->n_servers; i++)
		namesrv_register_one(&r->servers[i], topic);
}

static void registrar_send_changes(struct registrar *r, const struct names *changed, bool all)
{
	registrar_start(r);
	if (all || changed->error < 0 || changed->n > SINGLES_MAX) {
		registrar_round(r);
		return;
	}
	for (unsigned i = 0; i < changed->n; i++)
		registrar_changed_one(r, names_at(changed, i));
}

static void registrar_on_post(struct mq_post *post)
{
	struct registrar *r = (struct registrar *)((char *)post - offsetof(struct registrar, post));
	_cleanup_(names_done) struct names changed = {};
	bool all;

	pthread_mutex_lock(&r->lock);
	changed = r->changed;
	r->changed = (struct names){};
	all = r->all_changed;
	r->all_changed = false;
	r->is_posted = false;
	pthread_mutex_unlock(&r->lock);

	if (!r->is_stopping && (all || changed.n > 0 || changed.error < 0))
		registrar_send_changes(r, &changed, all);
	registrar_begin_arrived(r);
}

/* Ends what began with taking r->lock. */
void registrar_unlock_and_post(struct registrar *r)
{
	bool must_post = !r->is_posted;

	r->is_posted = true;
	pthread_mutex_unlock(&r->lock);
	if (must_post)
		mq_loop_post(r->broker->main_loop, &r->post);
}

void registrar_changed(struct registrar *r, struct mq_slice topic)
{
	pthread_mutex_lock(&r->lock);
	if (topic.n == 0)
		r->all_changed = true;
	else
		names_add(&r->changed, topic);
	registrar_unlock_and_post(r);
}

void registrar_state(struct registrar *r, unsigned *ret_ok, unsigned *ret_total)
{
	*ret_ok = 0;
	*ret_total = r->n_servers;
	for (unsigned i = 0; i < r->n_servers; i++)
		*ret_ok += r->servers[i].is_registered;
}

/* ---- Questions of others ---- */

bool registrar_has_servers(const struct registrar *r)
{
	return r->n_servers > 0;
}

int registrar_ask(struct registrar *r, struct mq_command *cmd, int64_t timeout_ms, mq_rpc_done done, void *user)
{
	struct namesrv *n = r->servers;

	if (r->n_servers == 0)
		return -ENOTCONN;
	for (unsigned i = 0; i < r->n_servers && !n->is_registered; i++)
		if (r->servers[i].is_registered)
			n = &r->servers[i];
	return mq_remote_call(n->remote, cmd, NULL, timeout_ms, done, user);
}

/* ---- Goodbye ---- */

static void registrar_on_goodbye(int result, const struct mq_command *answer, const char *why, void *user)
{
	struct registrar *r = user;

	/* Whatever it says: the connection closes soon, and the NameServer forgets us then at the latest. */
	if (--r->n_goodbyes == 0 && r->stopped)
		r->stopped(r->stopped_user);
}

void registrar_stop(struct registrar *r, void (*done)(void *user), void *user)
{
	struct mq_command cmd;

	registrar_release(r);
	r->stopped = done;
	r->stopped_user = user;
	r->n_goodbyes = 1; /* our own, so that none of the calls is the last before all are made */
	mq_timer_clear(r->broker->main_loop, &r->timer);
	for (unsigned i = 0; i < r->n_servers; i++) {
		if (!mq_remote_conn(r->servers[i].remote))
			continue;
		mq_command_request(&cmd, MQ_UNREGISTER_BROKER);
		registrar_add_identity(r, &cmd);
		if (mq_remote_call(r->servers[i].remote, &cmd, NULL, GOODBYE_TIMEOUT_MS, registrar_on_goodbye, r) == 0)
			r->n_goodbyes++;
	}
	registrar_on_goodbye(0, NULL, NULL, r);
}

/* ---- Life ---- */

static void registrar_read_boot_id(struct registrar *r)
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!f)
		return;
	if (fgets(r->boot_id, sizeof r->boot_id, f))
		r->boot_id[strcspn(r->boot_id, "\n")] = '\0';
	fclose(f);
}

static int registrar_add_server(struct registrar *r, struct mq_slice text, struct mq_error *err)
{
	struct namesrv *n = &r->servers[r->n_servers];
	struct mq_address address;
	int result;

	if (r->n_servers == NAMESRVS_MAX)
		return mq_error_set(err, -EINVAL, "namesrvAddr names more than %d NameServers", NAMESRVS_MAX);
	result = mq_address_parse(&address, text, err);
	if (result < 0)
		return result;
	n->registrar = r;
	result = mq_remote_new(&n->remote, r->broker->main_loop, &address, NULL, NULL);
	if (result < 0)
		return mq_error_set(err, result, "out of memory");
	mq_remote_on_state(n->remote, namesrv_on_state, n);
	r->n_servers++;
	return 0;
}

static int registrar_add_servers(struct registrar *r, const char *text, struct mq_error *err)
{
	int result = 0;

	while (*text && result == 0) {
		size_t n = strcspn(text, ";");

		if (n > 0)
			result = registrar_add_server(r, (struct mq_slice){ text, n }, err);
		text += n + (text[n] == ';');
	}
	return result;
}

int registrar_new(struct registrar **ret, struct broker *b, struct mq_error *err)
{
	struct registrar *r = calloc(1, sizeof *r);
	int result = -ENOMEM;

	if (r) {
		pthread_mutex_init(&r->lock, NULL);
		STAILQ_INIT(&r->waiting);
		STAILQ_INIT(&r->arriving);
		r->broker = b;
		r->timer.fire = registrar_on_timer;
		r->post.run = registrar_on_post;
		registrar_read_boot_id(r);
		r->servers = calloc(NAMESRVS_MAX, sizeof *r->servers);
	}
	if (r && r->servers)
		result = registrar_add_servers(r, b->config.namesrvAddr, err);
	if (result < 0) {
		registrar_free(r);
		return result;
	}
	*ret = r;
	return 0;
}

struct registrar *registrar_free(struct registrar *r)
{
	if (!r)
		return NULL;
	r->is_stopping = true;
	r->stopped = NULL;
	mq_timer_clear(r->broker->main_loop, &r->timer);
	for (unsigned i = 0; i < r->n_servers; i++)
		mq_remote_free(r->servers[i].remote);
	names_done(&r->changed);
	pthread_mutex_destroy(&r->lock);
	free(r->servers);
	free(r);
	return NULL;
}
