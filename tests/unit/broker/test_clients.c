/* Membership of groups, and who is told of changes: connections over socket pairs, on a loop that the test turns. */
#include "tests/unit/broker/broker_test.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "daemons/broker/clients_internal.h"
#include "libmq/wire/codes.h"

enum { PEERS_MAX = 4, DEADLINE_MS = 10000 };

struct peer {
	struct mq_conn *conn; /* ref */
	int fd;               /* the far end */
	struct mq_frame_reader reader;
};

struct clients_fixture {
	struct fixture *f; /* owned */
	struct mq_loop *loop;
	struct peer peers[PEERS_MAX];
	unsigned n_peers;
};

static int on_frame(struct mq_conn *conn, struct mq_frame *frame, void *user)
{
	return 0;
}

static void on_close(struct mq_conn *conn, int reason, void *user)
{
	struct clients_fixture *f = user;

	clients_closed(f->f->broker.clients, conn);
}

static const struct mq_conn_events events = { .on_frame = on_frame, .on_close = on_close };

static int setup(void **state)
{
	struct clients_fixture *f = calloc(1, sizeof *f);
	struct mq_loop_config cfg;

	assert_non_null(f);
	f->f = fixture_new();
	fixture_open(f->f);
	mq_loop_config_init(&cfg);
	cfg.name = "test";
	cfg.clock = &f->f->clock;
	cfg.idle_ms = 0;
	assert_int_equal(mq_loop_new(&f->loop, &cfg, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct clients_fixture *f = *state;
	void *inner = f->f;

	for (unsigned i = 0; i < f->n_peers; i++) {
		mq_frame_reader_done(&f->peers[i].reader);
		close(f->peers[i].fd);
		f->peers[i].conn = mq_conn_unref(f->peers[i].conn);
	}
	mq_loop_free(f->loop);
	free(f);
	return fixture_teardown(&inner);
}

static struct peer *peer_new(struct clients_fixture *f)
{
	struct peer *p = &f->peers[f->n_peers++];
	struct mq_conn *conn;
	int fds[2];

	assert_true(f->n_peers <= PEERS_MAX);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(mq_conn_new(&conn, f->loop, fds[0], &events, f), 0);
	p->conn = mq_conn_ref(conn);
	p->fd = fds[1];
	mq_frame_reader_init(&p->reader, MQ_FRAME_MAX_DEFAULT);
	return p;
}

static int beat_error(struct clients_fixture *f, struct peer *p, const char *body, struct heartbeat_result *ret,
		      struct mq_error *err)
{
	struct mq_command cmd;
	int r;

	mq_command_request(&cmd, MQ_HEART_BEAT);
	if (body)
		cmd.body = mq_slice_of(body);
	r = clients_heartbeat(f->f->broker.clients, p->conn, &cmd, false, ret, err);
	if (r != -EAGAIN)
		return r;
	r = clients_prepare(f->f->broker.clients, &cmd);
	assert_true(r == 0 || r == -EBADMSG);
	return clients_heartbeat(f->f->broker.clients, p->conn, &cmd, true, ret, err);
}

static bool beat(struct clients_fixture *f, struct peer *p, const char *body)
{
	struct heartbeat_result result;
	struct mq_error err = {};

	if (beat_error(f, p, body, &result, &err) < 0)
		fail_msg("%s %s", err.text, result.refusal);
	return result.sub_changed;
}

#define SUB(topic, expression, version)                                                     \
	"{\"topic\":\"" topic "\",\"subString\":\"" expression "\",\"subVersion\":" version \
	",\"codeSet\":[],\"tagsSet\":[]}"
#define CONSUMER(group, model, subs)                                                                   \
	"{\"groupName\":\"" group "\",\"consumeType\":\"CONSUME_PASSIVELY\",\"messageModel\":\"" model \
	"\",\"subscriptionDataSet\":[" subs "]}"
#define BEAT(client, more, consumers) "{\"clientID\":\"" client "\"," more "\"consumerDataSet\":[" consumers "]}"

/* Turns until the peer has got everything that is on its way; counts its notices about the group. */
static unsigned notices(struct clients_fixture *f, struct peer *p, const char *group)
{
	char bytes[4096];
	unsigned n = 0;
	ssize_t got;

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(mq_loop_turn(f->loop, 0), 0);
	while ((got = read(p->fd, bytes, sizeof bytes)) > 0) {
		struct mq_slice in = { bytes, (size_t)got };

		while (in.n > 0) {
			_cleanup_(mq_frame_unrefp) struct mq_frame *frame = NULL;
			struct mq_command cmd;

			if (mq_frame_reader_next(&p->reader, &in, &frame) != 1)
				break;
			assert_int_equal(mq_command_decode(&cmd, frame, NULL), 0);
			assert_int_equal(cmd.code, MQ_NOTIFY_CONSUMER_IDS_CHANGED);
			assert_int_equal(cmd.flag, MQ_FLAG_ONEWAY);
			n += mq_slice_is(*mq_command_field(&cmd, "consumerGroup"), group);
		}
	}
	return n;
}

static const char *ids(struct clients_fixture *f, const char *group)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();

	return clients_encode_ids(f->f->broker.clients, mq_slice_of(group), out) == 0 ? fixture_text(out) : "nobody";
}

#define T_ALL SUB("T", "*", "1")

static void members_are_told_when_one_joins_and_leaves(void **state)
{
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f), *b = peer_new(f);

	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", T_ALL)));
	assert_int_equal(notices(f, a, "g"), 1);
	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", T_ALL)));
	assert_int_equal(notices(f, a, "g"), 0);
	beat(f, b, BEAT("b", "", CONSUMER("g", "CLUSTERING", T_ALL)));
	assert_int_equal(notices(f, a, "g"), 1);
	assert_int_equal(notices(f, b, "g"), 1);
	assert_string_equal(ids(f, "g"), "{\"consumerIdList\":[\"a\",\"b\"]}");
	clients_unregister(f->f->broker.clients, a->conn, (struct mq_slice){}, MQ_SLICE("g"));
	assert_int_equal(notices(f, a, "g"), 0);
	assert_int_equal(notices(f, b, "g"), 1);
	assert_string_equal(ids(f, "g"), "{\"consumerIdList\":[\"b\"]}");
	clients_unregister(f->f->broker.clients, b->conn, (struct mq_slice){}, MQ_SLICE("g"));
	assert_string_equal(ids(f, "g"), "nobody");
}

static void a_closed_connection_leaves_all_its_groups(void **state)
{
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f), *b = peer_new(f);

	beat(f, a, BEAT("a", "\"producerDataSet\":[{\"groupName\":\"p\"}],",
			CONSUMER("g", "CLUSTERING", T_ALL) "," CONSUMER("h", "CLUSTERING", T_ALL)));
	beat(f, b, BEAT("b", "", CONSUMER("g", "CLUSTERING", T_ALL)));
	notices(f, b, "g");
	mq_conn_close(a->conn, 0);
	assert_int_equal(notices(f, b, "g"), 1);
	assert_string_equal(ids(f, "g"), "{\"consumerIdList\":[\"b\"]}");
	assert_string_equal(ids(f, "h"), "nobody");
	assert_null(clients_producer(f->f->broker.clients, MQ_SLICE("p")));
}

static void the_set_of_topics_counts_as_a_change_a_newer_version_does_not(void **state)
{
	struct clients_fixture *f = *state;
	struct clients *c = f->f->broker.clients;
	struct peer *a = peer_new(f);
	struct subscription s;

	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", SUB("T", "x", "1"))));
	assert_int_equal(notices(f, a, "g"), 1);
	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", SUB("T", "y", "2"))));
	assert_int_equal(notices(f, a, "g"), 0);
	assert_int_equal(clients_subscription(c, MQ_SLICE("g"), MQ_SLICE("T"), &s), SUBSCRIPTION_OK);
	assert_int_equal(s.version, 2);
	assert_int_equal(s.codes[0], 'y');
	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", SUB("T", "z", "1")))); /* an old one: ignored */
	assert_int_equal(clients_subscription(c, MQ_SLICE("g"), MQ_SLICE("T"), &s), SUBSCRIPTION_OK);
	assert_int_equal(s.version, 2);
	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", SUB("U", "*", "3"))));
	assert_int_equal(notices(f, a, "g"), 1);
	assert_int_equal(clients_subscription(c, MQ_SLICE("g"), MQ_SLICE("T"), &s), SUBSCRIPTION_NONE);
	assert_int_equal(clients_subscription(c, MQ_SLICE("h"), MQ_SLICE("T"), &s), SUBSCRIPTION_NO_GROUP);
}

/* As upstream, where it looks like an oversight: who silenced a group hears all the same that a channel closed. */
static void a_silenced_group_hears_of_closed_channels_only(void **state)
{
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f), *b = peer_new(f), *c = peer_new(f);
	struct mq_error err = {};

	assert_int_equal(groups_update(f->f->broker.groups,
				       MQ_SLICE("{\"groupName\":\"g\",\"notifyConsumerIdsChangedEnable\":false}"), &err),
			 0);
	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", T_ALL)));
	beat(f, b, BEAT("b", "", CONSUMER("g", "CLUSTERING", T_ALL)));
	beat(f, c, BEAT("c", "", CONSUMER("g", "CLUSTERING", T_ALL)));
	clients_unregister(f->f->broker.clients, b->conn, (struct mq_slice){}, MQ_SLICE("g"));
	assert_int_equal(notices(f, a, "g"), 0);
	mq_conn_close(c->conn, 0);
	assert_int_equal(notices(f, a, "g"), 1);
}

static void members_are_told_when_a_stranger_unregisters(void **state)
{
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f), *b = peer_new(f);

	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", T_ALL)));
	assert_int_equal(notices(f, a, "g"), 1);
	clients_unregister(f->f->broker.clients, b->conn, (struct mq_slice){}, MQ_SLICE("g"));
	assert_int_equal(notices(f, a, "g"), 1);
	assert_int_equal(notices(f, b, "g"), 0);
	clients_unregister(f->f->broker.clients, b->conn, MQ_SLICE("g"), MQ_SLICE("h"));
	assert_int_equal(notices(f, a, "g"), 0);
}

/* ---- Members that differ ---- */

static struct party *party(struct clients_fixture *f, const char *group)
{
	struct clients *c = f->f->broker.clients;
	struct party *p;

	pthread_rwlock_rdlock(&c->lock);
	p = party_find(c, PARTY_CONSUMERS, mq_slice_of(group));
	pthread_rwlock_unlock(&c->lock);
	assert_non_null(p);
	return p;
}

static const char *shown(struct clients_fixture *f, const char *group)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();

	assert_int_equal(clients_encode_consumers(f->f->broker.clients, mq_slice_of(group), true, out), 0);
	return fixture_text(out);
}

static void what_each_member_subscribes_to_is_remembered(void **state)
{
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f), *b = peer_new(f), *c = peer_new(f);

	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", SUB("T", "y||x || y", "1") "," SUB("U", "", "1"))));
	beat(f, b, BEAT("b", "", CONSUMER("g", "CLUSTERING", SUB("U", "*", "2") "," SUB("T", " x || y ", "2"))));
	assert_int_equal(party(f, "g")->n_sets, 1); /* order of topics and tags, versions: no difference */
	assert_false(party(f, "g")->is_quarrelling);
	beat(f, c, BEAT("c", "", CONSUMER("g", "CLUSTERING", SUB("T", "x", "3"))));
	assert_int_equal(party(f, "g")->n_sets, 2);
	assert_true(party(f, "g")->is_quarrelling);
	assert_non_null(strstr(shown(f, "g"), "\"clientId\":\"b\",\"language\":\"JAVA\",\"version\":513,\"subscriptions\":["
					      "{\"expressionType\":\"TAG\",\"subString\":\"x || y\",\"topic\":\"T\"},"
					      "{\"expressionType\":\"TAG\",\"subString\":\"*\",\"topic\":\"U\"}]}"));
	assert_non_null(strstr(shown(f, "g"), "\"clientId\":\"c\",\"language\":\"JAVA\",\"version\":513,\"subscriptions\":["
					      "{\"expressionType\":\"TAG\",\"subString\":\"x\",\"topic\":\"T\"}]}"));
	/* The last heartbeat wins, as upstream. */
	assert_non_null(strstr(shown(f, "g"), "\"subscriptionTable\":{\"T\":{\"classFilterMode\":false,\"codeSet\":[120],"));

	mq_conn_close(c->conn, 0);
	notices(f, a, "g");
	assert_int_equal(party(f, "g")->n_sets, 1);
	assert_false(party(f, "g")->is_quarrelling); /* a new quarrel would be told again */
}

static void all_members_may_change_one_after_the_other(void **state)
{
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f), *b = peer_new(f);

	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", SUB("T", "x", "1"))));
	beat(f, b, BEAT("b", "", CONSUMER("g", "CLUSTERING", SUB("T", "x", "1"))));
	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", SUB("T", "y", "2"))));
	assert_true(party(f, "g")->is_quarrelling);
	beat(f, b, BEAT("b", "", CONSUMER("g", "CLUSTERING", SUB("T", "y", "3"))));
	assert_int_equal(party(f, "g")->n_sets, 1);
	assert_false(party(f, "g")->is_quarrelling);
}

/* A change from one difference to another, in one heartbeat, is no moment of peace. */
static void a_quarrel_that_goes_on_is_not_told_again(void **state)
{
	struct clients_fixture *f = *state;
	struct clients *c = f->f->broker.clients;
	struct peer *a = peer_new(f), *b = peer_new(f);

	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", SUB("T", "x", "1"))));
	beat(f, b, BEAT("b", "", CONSUMER("g", "CLUSTERING", SUB("T", "y", "1"))));
	assert_int_equal(c->n_quarrels, 1);
	beat(f, b, BEAT("b", "", CONSUMER("g", "CLUSTERING", SUB("T", "z", "2"))));
	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", SUB("T", "x", "1"))));
	assert_int_equal(c->n_quarrels, 1);
	beat(f, b, BEAT("b", "", CONSUMER("g", "CLUSTERING", SUB("T", "x", "3"))));
	beat(f, b, BEAT("b", "", CONSUMER("g", "CLUSTERING", SUB("T", "y", "4"))));
	assert_int_equal(c->n_quarrels, 2);
}

static void lines_about_quarrels_are_few_and_count_what_was_left_out(void **state)
{
	struct clients_fixture *f = *state;
	struct clients *c = f->f->broker.clients;
	struct peer *a = peer_new(f), *b = peer_new(f);

	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", SUB("T", "x", "0"))));
	for (int i = 0; i < 30; i++)
		beat(f, b, i % 2 ? BEAT("b", "", CONSUMER("g", "CLUSTERING", SUB("T", "x", "0")))
				 : BEAT("b", "", CONSUMER("g", "CLUSTERING", SUB("T", "y", "0"))));
	assert_int_equal(c->n_quarrels, 10);
	assert_int_equal(c->n_quarrels_left_out, 5);
	fixture_advance(f->f, 10000);
	beat(f, b, BEAT("b", "", CONSUMER("g", "CLUSTERING", SUB("T", "y", "0"))));
	assert_int_equal(c->n_quarrels, 1);
	assert_int_equal(c->n_quarrels_left_out, 0);
}

static void with_strict_subscription_a_member_that_differs_is_refused(void **state)
{
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f), *b = peer_new(f);
	struct heartbeat_result result;
	struct mq_error err = {};
	struct subscription s;

	f->f->broker.config.strictSubscription = true;
	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", SUB("T", "x", "1"))));
	notices(f, a, "g");
	assert_int_equal(beat_error(f, b,
				    BEAT("b", "\"producerDataSet\":[{\"groupName\":\"p\"}],",
					 CONSUMER("g", "CLUSTERING", SUB("T", "y", "9") "," SUB("U", "*", "9")) ","
					 CONSUMER("h", "CLUSTERING", T_ALL)), &result, &err), -EPERM);
	assert_non_null(strstr(result.refusal, "client b must not join consumer group g: it subscribes to T(y), U(*), but its member a ("));
	assert_non_null(strstr(result.refusal, ") to T(x), not U. Give all members of the group the same subscription, or use another"));
	assert_string_equal(ids(f, "g"), "{\"consumerIdList\":[\"a\"]}");
	assert_int_equal(notices(f, a, "g"), 0);
	assert_int_equal(clients_subscription(f->f->broker.clients, MQ_SLICE("g"), MQ_SLICE("T"), &s), SUBSCRIPTION_OK);
	assert_int_equal(s.codes[0], 'x');

	/* Its other groups are not concerned, and it may join with what the others have. */
	_cleanup_(mq_conn_unrefp) struct mq_conn *producer = clients_producer(f->f->broker.clients, MQ_SLICE("p"));

	assert_ptr_equal(producer, b->conn);
	assert_string_equal(ids(f, "h"), "{\"consumerIdList\":[\"b\"]}");
	beat(f, b, BEAT("b", "", CONSUMER("g", "CLUSTERING", SUB("T", "x", "9"))));
	assert_string_equal(ids(f, "g"), "{\"consumerIdList\":[\"a\",\"b\"]}");
}

static void with_strict_subscription_a_group_changes_when_all_do(void **state)
{
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f), *b = peer_new(f);
	struct heartbeat_result result;
	struct mq_error err = {};

	f->f->broker.config.strictSubscription = true;
	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", SUB("T", "x", "1"))));
	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", SUB("T", "y", "2")))); /* nobody else is there */
	beat(f, b, BEAT("b", "", CONSUMER("g", "CLUSTERING", SUB("T", "y", "2"))));
	notices(f, a, "g");
	notices(f, b, "g");
	assert_int_equal(beat_error(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", SUB("T", "z", "3"))), &result, &err), -EPERM);
	assert_string_equal(ids(f, "g"), "{\"consumerIdList\":[\"b\"]}"); /* it is out, its queues are the others' */
	assert_int_equal(notices(f, a, "g"), 0);
	assert_int_equal(notices(f, b, "g"), 1);
	beat(f, b, BEAT("b", "", CONSUMER("g", "CLUSTERING", SUB("T", "z", "4"))));
	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", SUB("T", "z", "3"))));
	assert_string_equal(ids(f, "g"), "{\"consumerIdList\":[\"b\",\"a\"]}");
	assert_int_equal(f->f->broker.clients->n_quarrels, 0);
}

/* ---- Bounds ---- */

static void names_and_counts_are_bounded(void **state)
{
	struct clients_fixture *f = *state;
	struct clients *c = f->f->broker.clients;
	struct peer *a = peer_new(f);
	struct heartbeat_result result;
	struct mq_error err = {};
	char *body = malloc(5 << 20);
	int r = 0;

	assert_non_null(body);
	snprintf(body, 4096, "{\"clientID\":\"%01100d\",\"producerDataSet\":[{\"groupName\":\"p\"}]}", 7);
	assert_int_equal(beat_error(f, a, body, &result, &err), -EBADMSG);
	assert_string_equal(err.text, "the clientID has 1100 bytes, 1024 are allowed");
	memset(body, ' ', (4 << 20) + 1);
	body[(4 << 20) + 1] = '\0';
	assert_int_equal(beat_error(f, a, body, &result, &err), -EBADMSG);
	assert_string_equal(err.text, "the heartbeat has 4194305 bytes, 4194304 are allowed");

	/* Each heartbeat names other groups: they add up. */
	for (int i = 0; r == 0 && i < 100; i++) {
		char *p = body + sprintf(body, "{\"clientID\":\"a\",\"producerDataSet\":[");

		for (int j = 0; j < 100; j++)
			p += sprintf(p, "%s{\"groupName\":\"p-%d-%d\"}", j ? "," : "", i, j);
		strcpy(p, "]}");
		r = beat_error(f, a, body, &result, &err);
	}
	assert_int_equal(r, -ENOBUFS);
	assert_string_equal(err.text, "one client may be in at most 8192 groups");
	assert_int_equal(c->clients->n_members, 8192);
	free(body);
}

static void what_one_client_names_is_bounded(void **state)
{
	struct clients_fixture *f = *state;
	struct clients *c = f->f->broker.clients;
	struct peer *a = peer_new(f);
	struct heartbeat_result result;
	struct mq_error err = {};
	static char body[2 << 20], topic[1000001];
	int r = 0;

	memset(topic, 't', 1000000);
	topic[1000000] = '\0';
	for (int i = 0; r == 0 && i < 20; i++) {
		sprintf(body,
			"{\"clientID\":\"a\",\"consumerDataSet\":[{\"groupName\":\"g%d\",\"subscriptionDataSet\":[{\"topic\":\"%s\",\"subString\":"
			"\"*\"}]}]}", i, topic);
		r = beat_error(f, a, body, &result, &err);
	}
	assert_int_equal(r, -ENOBUFS);
	assert_string_equal(err.text, "the groups and subscriptions of one client may take at most 8388608 bytes");
	assert_int_equal(c->clients->n_members, 8);
	mq_conn_close(a->conn, 0);
	assert_int_equal(mq_loop_turn(f->loop, 0), 0);
	assert_int_equal(c->n_bytes, 0);

	/* All together: as if others had that much. */
	struct peer *b = peer_new(f);

	c->n_bytes = 256 << 20;
	assert_int_equal(beat_error(f, b, BEAT("b", "", CONSUMER("g", "CLUSTERING", T_ALL)), &result, &err), -ENOBUFS);
	assert_string_equal(err.text, "the clients that are connected take 268435456 bytes here, no more can be remembered");
	assert_string_equal(ids(f, "g"), "nobody");
	assert_int_equal(c->n_bytes, 256 << 20);
	c->n_bytes = 0;
}

static void nothing_is_left_of_clients_that_come_and_go(void **state)
{
	static const char *const bodies[] = {
		BEAT("a", "\"producerDataSet\":[{\"groupName\":\"p\"}],", CONSUMER("g", "CLUSTERING", SUB("T", "x||y", "1"))),
		BEAT("b", "", CONSUMER("g", "CLUSTERING", SUB("T", "x", "1")) "," CONSUMER("h", "CLUSTERING", T_ALL)),
		BEAT("same", "\"heartbeatFingerprint\":7,", CONSUMER("h", "BROADCASTING", "")),
		BEAT("same", "\"heartbeatFingerprint\":7,\"withoutSub\":true,", CONSUMER("i", "CLUSTERING", "")),
	};
	struct clients_fixture *f = *state;
	struct clients *c = f->f->broker.clients;

	for (unsigned i = 0; i < 2000; i++) {
		struct peer *p = peer_new(f);

		beat(f, p, bodies[i % 4]);
		beat(f, p, bodies[(i / 4) % 4]);
		if (i % 3 == 0)
			clients_unregister(c, p->conn, MQ_SLICE("p"), MQ_SLICE("g"));
		if (f->n_peers < PEERS_MAX)
			continue;
		while (f->n_peers > 0) {
			p = &f->peers[--f->n_peers];
			mq_conn_close(p->conn, 0);
			assert_int_equal(mq_loop_turn(f->loop, 0), 0);
			mq_frame_reader_done(&p->reader);
			close(p->fd);
			p->conn = mq_conn_unref(p->conn);
		}
	}
	assert_int_equal(f->n_peers, 0);
	assert_int_equal(c->n_bytes, 0);
	assert_null(c->clients);
	assert_null(c->names);
	assert_null(c->members);
	assert_null(c->parties[PARTY_PRODUCERS]);
	assert_null(c->parties[PARTY_CONSUMERS]);
}

static void codes_are_worked_out_from_the_expression_when_they_are_missing(void **state)
{
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f);
	struct subscription s;

	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", SUB("T", "tagA || tagB", "1") "," SUB("U", "*", "1"))));
	assert_int_equal(clients_subscription(f->f->broker.clients, MQ_SLICE("g"), MQ_SLICE("T"), &s), SUBSCRIPTION_OK);
	assert_true(s.is_tag && !s.matches_all && !s.has_more_codes);
	assert_int_equal(s.n_codes, 2);
	assert_int_equal(s.codes[0], 3552231);
	assert_int_equal(s.codes[1], 3552232);
	assert_int_equal(clients_subscription(f->f->broker.clients, MQ_SLICE("g"), MQ_SLICE("U"), &s), SUBSCRIPTION_OK);
	assert_true(s.matches_all);
	assert_int_equal(s.n_codes, 0);
}

static void broadcasting_groups_hear_nothing(void **state)
{
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f);

	beat(f, a, BEAT("a", "", CONSUMER("g", "BROADCASTING", T_ALL)));
	assert_int_equal(notices(f, a, "g"), 0);
	assert_string_equal(ids(f, "g"), "{\"consumerIdList\":[\"a\"]}");
}

static void a_group_or_the_broker_can_silence_notices(void **state)
{
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f);
	struct mq_error err = {};

	assert_int_equal(groups_update(f->f->broker.groups,
				       MQ_SLICE("{\"groupName\":\"g\",\"notifyConsumerIdsChangedEnable\":false}"),
				       &err),
			 0);
	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", T_ALL) "," CONSUMER("h", "CLUSTERING", T_ALL)));
	assert_int_equal(notices(f, a, "g"), 0);
	f->f->broker.config.notifyConsumerIdsChangedEnable = false;
	beat(f, a, BEAT("a", "", CONSUMER("i", "CLUSTERING", T_ALL)));
	assert_int_equal(notices(f, a, "i"), 0);
}

static void a_heartbeat_creates_the_group_and_its_retry_topic(void **state)
{
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f);
	struct group group;
	struct topic topic;

	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", T_ALL)));
	assert_int_equal(groups_find(f->f->broker.groups, MQ_SLICE("g"), &group), 0);
	assert_int_equal(topics_get(f->f->broker.topics, MQ_SLICE("%RETRY%g"), &topic), 0);
	assert_int_equal(topic.read_queues, 1);
	assert_int_equal(topic.perm, 6);
	assert_false(topic.is_order);
}

static void the_retry_topic_of_ordered_topics_is_ordered(void **state)
{
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f);
	struct topic topic = { .read_queues = 1, .write_queues = 1, .perm = 6, .is_order = true };
	struct mq_error err = {};

	assert_int_equal(topics_update(f->f->broker.topics, MQ_SLICE("T"), &topic, (struct mq_slice){}, &err), 0);
	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", T_ALL)));
	assert_int_equal(topics_get(f->f->broker.topics, MQ_SLICE("%RETRY%g"), &topic), 0);
	assert_true(topic.is_order);
}

static void a_group_that_may_not_be_created_is_skipped(void **state)
{
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f);

	f->f->broker.config.autoCreateSubscriptionGroup = false;
	beat(f, a, BEAT("a", "\"producerDataSet\":[{\"groupName\":\"p\"}],", CONSUMER("g", "CLUSTERING", T_ALL)));
	assert_string_equal(ids(f, "g"), "nobody");

	_cleanup_(mq_conn_unrefp) struct mq_conn *producer = clients_producer(f->f->broker.clients, MQ_SLICE("p"));

	assert_ptr_equal(producer, a->conn);
}

static void fingerprints_say_when_the_subscription_is_wanted_again(void **state)
{
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f), *b = peer_new(f);
	struct subscription s;

	assert_true(beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", T_ALL)))); /* first version: always */
	clients_unregister(f->f->broker.clients, a->conn, (struct mq_slice){}, MQ_SLICE("g"));

	assert_false(beat(f, a, BEAT("a", "\"heartbeatFingerprint\":7,", CONSUMER("g", "CLUSTERING", T_ALL))));
	assert_false(beat(
		f, a, BEAT("a", "\"heartbeatFingerprint\":7,\"withoutSub\":true,", CONSUMER("g", "CLUSTERING", ""))));
	assert_int_equal(clients_subscription(f->f->broker.clients, MQ_SLICE("g"), MQ_SLICE("T"), &s), SUBSCRIPTION_OK);
	assert_true(beat(f, b, BEAT("b", "\"heartbeatFingerprint\":8,", CONSUMER("g", "CLUSTERING", T_ALL))));
	assert_true(beat(
		f, a, BEAT("a", "\"heartbeatFingerprint\":7,\"withoutSub\":true,", CONSUMER("g", "CLUSTERING", ""))));
	/* A broker that was restarted asks for what it does not know, and so it does on a connection that is new. */
	assert_true(beat(
		f, a, BEAT("a", "\"heartbeatFingerprint\":7,\"withoutSub\":true,", CONSUMER("h", "CLUSTERING", ""))));
	struct peer *c = peer_new(f);

	assert_true(beat(
		f, c, BEAT("a", "\"heartbeatFingerprint\":7,\"withoutSub\":true,", CONSUMER("g", "CLUSTERING", ""))));
	assert_false(beat(f, c, BEAT("a", "\"heartbeatFingerprint\":7,", CONSUMER("g", "CLUSTERING", T_ALL))));
	assert_false(beat(
		f, c, BEAT("a", "\"heartbeatFingerprint\":7,\"withoutSub\":true,", CONSUMER("g", "CLUSTERING", ""))));
}

static void clients_without_a_heartbeat_for_two_minutes_are_disconnected(void **state)
{
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f), *b = peer_new(f);

	beat(f, a, BEAT("a", "", CONSUMER("g", "CLUSTERING", T_ALL)));
	fixture_advance(f->f, 60000);
	beat(f, b, BEAT("b", "", CONSUMER("g", "CLUSTERING", T_ALL)));
	notices(f, b, "g");
	fixture_advance(f->f, 60000);
	clients_expire(f->f->broker.clients);
	assert_int_equal(notices(f, b, "g"), 0);
	fixture_advance(f->f, 1);
	clients_expire(f->f->broker.clients);
	assert_int_equal(notices(f, b, "g"), 1);
	assert_false(mq_conn_is_open(a->conn));
	assert_string_equal(ids(f, "g"), "{\"consumerIdList\":[\"b\"]}");
}

static void producers_are_asked_in_turn(void **state)
{
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f), *b = peer_new(f);
	unsigned of_a = 0;

	beat(f, a, BEAT("a", "\"producerDataSet\":[{\"groupName\":\"p\"}],", ""));
	beat(f, b, BEAT("b", "\"producerDataSet\":[{\"groupName\":\"p\"}],", ""));
	for (unsigned i = 0; i < 4; i++) {
		_cleanup_(mq_conn_unrefp) struct mq_conn *conn = clients_producer(f->f->broker.clients, MQ_SLICE("p"));

		of_a += conn == a->conn;
	}
	assert_int_equal(of_a, 2);
	assert_null(clients_producer(f->f->broker.clients, MQ_SLICE("q")));
}

static void connections_are_shown_as_apache_shows_them(void **state)
{
	struct clients_fixture *f = *state;
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	struct peer *a = peer_new(f);
	char expected[512];

	beat(f, a,
	     BEAT("a", "\"producerDataSet\":[{\"groupName\":\"p\"}],",
		  CONSUMER("g", "CLUSTERING", SUB("T", "x", "5"))));
	assert_int_equal(clients_encode_producers(f->f->broker.clients, MQ_SLICE("p"), out), 0);
	snprintf(expected, sizeof expected,
		 "{\"connectionSet\":[{\"clientAddr\":\"%s\",\"clientId\":\"a\",\"language\":\"JAVA\",\"version\":513}]"
		 "}",
		 mq_conn_peer(a->conn)->text);
	assert_string_equal(fixture_text(out), expected);
	evbuffer_drain(out, evbuffer_get_length(out));
	assert_int_equal(clients_encode_consumers(f->f->broker.clients, MQ_SLICE("g"), false, out), 0);
	assert_non_null(strstr(fixture_text(out),
			       "],\"consumeFromWhere\":\"CONSUME_FROM_LAST_OFFSET\",\"consumeType\":\"CONSUME_"
			       "PASSIVELY\",\"messageModel\":"
			       "\"CLUSTERING\",\"subscriptionTable\":{\"T\":{\"classFilterMode\":false,\"codeSet\":["
			       "120],\"expressionType\":"
			       "\"TAG\",\"subString\":\"x\",\"subVersion\":5,\"tagsSet\":[],\"topic\":\"T\"}}}"));
	assert_int_equal(clients_encode_consumers(f->f->broker.clients, MQ_SLICE("p"), false, out), -ENOENT);
}

static void nonsense_is_refused_with_a_sentence(void **state)
{
	static const char *const bodies[] = {
		NULL,
		"",
		"{",
		"[]",
		"{\"clientID\":\"a\",\"consumerDataSet\":[{}]}",
		"{\"clientID\":\"a\",\"consumerDataSet\":[{\"groupName\":\"g\",\"subscriptionDataSet\":[{}]}]}"
	};
	struct clients_fixture *f = *state;
	struct peer *a = peer_new(f);
	struct heartbeat_result result;

	for (unsigned i = 0; i < N_ELEMENTS(bodies); i++) {
		struct mq_error err = {};

		assert_int_equal(beat_error(f, a, bodies[i], &result, &err), -EBADMSG);
		assert_true(err.text[0]);
	}
	assert_string_equal(ids(f, "g"), "nobody");
}

#define CTEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CTEST(members_are_told_when_one_joins_and_leaves),
		CTEST(a_closed_connection_leaves_all_its_groups),
		CTEST(the_set_of_topics_counts_as_a_change_a_newer_version_does_not),
		CTEST(codes_are_worked_out_from_the_expression_when_they_are_missing),
		CTEST(broadcasting_groups_hear_nothing),
		CTEST(a_silenced_group_hears_of_closed_channels_only),
		CTEST(members_are_told_when_a_stranger_unregisters),
		CTEST(what_each_member_subscribes_to_is_remembered),
		CTEST(all_members_may_change_one_after_the_other),
		CTEST(a_quarrel_that_goes_on_is_not_told_again),
		CTEST(lines_about_quarrels_are_few_and_count_what_was_left_out),
		CTEST(with_strict_subscription_a_member_that_differs_is_refused),
		CTEST(with_strict_subscription_a_group_changes_when_all_do),
		CTEST(names_and_counts_are_bounded),
		CTEST(what_one_client_names_is_bounded),
		CTEST(nothing_is_left_of_clients_that_come_and_go),
		CTEST(a_group_or_the_broker_can_silence_notices),
		CTEST(a_heartbeat_creates_the_group_and_its_retry_topic),
		CTEST(the_retry_topic_of_ordered_topics_is_ordered),
		CTEST(a_group_that_may_not_be_created_is_skipped),
		CTEST(fingerprints_say_when_the_subscription_is_wanted_again),
		CTEST(clients_without_a_heartbeat_for_two_minutes_are_disconnected),
		CTEST(producers_are_asked_in_turn),
		CTEST(connections_are_shown_as_apache_shows_them),
		CTEST(nonsense_is_refused_with_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
