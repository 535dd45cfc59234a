/* Registration against a NameServer that the test plays, on a loop that the test turns and a clock that it steers. */
#include "tests/unit/broker/broker_test.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include "daemons/broker/register.h"
#include "libmq/wire/body_register.h"
#include "libmq/wire/codes.h"

enum { DEADLINE_MS = 10000 }; /* for everything that is waited for; far more than it takes */

struct register_fixture {
	struct fixture *f; /* owned */
	struct mq_loop *loop;
	int listener, fd; /* the NameServer's; fd -1: not connected */
	struct mq_frame_reader reader;
	struct mq_frame *frame;   /* of the last request */
	struct mq_command cmd;    /* the last request */
	struct mq_register body;  /* decoded, of a registration */
	unsigned n_settled, n_stopped;
};

static int setup_with(void **state, const char *more)
{
	struct register_fixture *r = calloc(1, sizeof *r);
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	struct mq_loop_config cfg;
	struct mq_error err = {};
	char names[64];
	const char *sets[] = { "brokerName=broker-a", names, "localSocket=/run/mqd/broker.sock", more };

	assert_non_null(r);
	r->fd = -1;
	r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(r->listener, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(r->listener, 8), 0);
	assert_int_equal(getsockname(r->listener, (struct sockaddr *)&a, &n), 0);
	snprintf(names, sizeof names, "namesrvAddr=127.0.0.1:%u", ntohs(a.sin_port));
	r->f = fixture_new();
	options_free(&broker_options, &r->f->broker.config);
	fixture_configure(r->f, sets, more ? 4 : 3);
	fixture_open(r->f);
	mq_loop_config_init(&cfg);
	cfg.clock = &r->f->clock;
	assert_int_equal(mq_loop_new(&r->loop, &cfg, NULL), 0);
	r->f->broker.main_loop = r->loop;
	strcpy(r->f->broker.address, "127.0.0.1:10911");
	if (registrar_new(&r->f->broker.registrar, &r->f->broker, &err) < 0)
		fail_msg("%s", err.text);
	*state = r;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, NULL);
}

static int setup_without_writing(void **state)
{
	return setup_with(state, "brokerPermission=4");
}

static void forget_request(struct register_fixture *r)
{
	mq_register_done(&r->body);
	r->body = (struct mq_register){};
	r->frame = mq_frame_unref(r->frame);
}

static void hang_up(struct register_fixture *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	mq_frame_reader_done(&r->reader);
}

/* What was begun beside the loop ends. */
static void await_changes(struct register_fixture *r)
{
	for (int left = DEADLINE_MS; atomic_load(&r->f->broker.n_posts_due) > 0; left--) {
		assert_true(left > 0);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}

static int teardown(void **state)
{
	struct register_fixture *r = *state;
	void *inner = r->f;

	await_changes(r);
	r->f->broker.registrar = registrar_free(r->f->broker.registrar);
	forget_request(r);
	hang_up(r);
	close(r->listener);
	mq_loop_free(r->loop);
	free(r);
	return fixture_teardown(&inner);
}

/* ---- The NameServer's side ---- */

/* A turn of the loop; accepts and reads what there is. True when a whole request came. */
static bool take_request(struct register_fixture *r)
{
	char bytes[1];
	ssize_t n;

	assert_int_equal(mq_loop_turn(r->loop, 10), 0);
	if (r->fd < 0) {
		r->fd = accept4(r->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		mq_frame_reader_init(&r->reader, MQ_FRAME_MAX_DEFAULT);
	}
	n = r->fd < 0 ? -1 : read(r->fd, bytes, 1); /* by the byte: never into the next request */
	while (n > 0) {
		struct mq_slice in = { bytes, (size_t)n };

		if (mq_frame_reader_next(&r->reader, &in, &r->frame) == 1)
			return true;
		n = read(r->fd, bytes, 1);
	}
	return false;
}

static void await_request(struct register_fixture *r, int code)
{
	int64_t until_ms = mq_mono_ms(&mq_clock_system) + DEADLINE_MS;
	struct mq_error err = {};

	forget_request(r);
	while (!take_request(r))
		assert_true(mq_mono_ms(&mq_clock_system) < until_ms);
	assert_int_equal(mq_command_decode(&r->cmd, r->frame, &err), 0);
	assert_int_equal(r->cmd.code, code);
	if (code == MQ_REGISTER_BROKER &&
	    mq_register_decode(&r->body, r->cmd.body, false, r->cmd.version, &err) < 0)
		fail_msg("%s", err.text);
}

/* Nothing comes, although the loop had its turns. */
static void assert_silence(struct register_fixture *r)
{
	forget_request(r);
	for (int i = 0; i < 5; i++)
		assert_false(take_request(r));
}

static void answer(struct register_fixture *r, int code, const char *body)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	int64_t until_ms = mq_mono_ms(&mq_clock_system) + DEADLINE_MS;
	struct mq_loop_stats stats;
	struct mq_command cmd;
	uint64_t before;
	int n;

	mq_loop_stats(r->loop, &stats);
	before = stats.bytes_in;
	mq_command_response(&cmd, &r->cmd, code);
	if (body)
		cmd.body = mq_slice_of(body);
	assert_int_equal(mq_command_encode(&cmd, NULL, out), 0);
	n = (int)evbuffer_get_length(out);
	assert_int_equal(evbuffer_write(out, r->fd), n);
	do { /* the kernel may take a moment */
		assert_true(mq_mono_ms(&mq_clock_system) < until_ms);
		assert_int_equal(mq_loop_turn(r->loop, 10), 0);
		mq_loop_stats(r->loop, &stats);
	} while (stats.bytes_in < before + (uint64_t)n);
	for (int i = 0; i < 3; i++)
		assert_int_equal(mq_loop_turn(r->loop, 0), 0);
}

static const char *field(struct register_fixture *r, const char *name)
{
	static char text[4][256];
	static unsigned i;
	const struct mq_slice *value = mq_command_field(&r->cmd, name);

	i = (i + 1) % 4;
	snprintf(text[i], sizeof text[i], "%.*s", value ? (int)value->n : 6, value ? value->p : "absent");
	return text[i];
}

/* From nothing to a NameServer that knows the broker. */
static void register_once(struct register_fixture *r)
{
	registrar_changed(r->f->broker.registrar, (struct mq_slice){});
	await_request(r, MQ_REGISTER_BROKER);
	answer(r, MQ_SUCCESS, NULL);
}

static void assert_state(struct register_fixture *r, unsigned ok)
{
	unsigned n_ok, n_total;

	registrar_state(r->f->broker.registrar, &n_ok, &n_total);
	assert_int_equal(n_ok, ok);
	assert_int_equal(n_total, 1);
}

/* ---- Tests ---- */

static void the_first_registration_is_apaches(void **state)
{
	struct register_fixture *r = *state;
	char crc[16];

	assert_silence(r); /* not before it is asked for */
	registrar_changed(r->f->broker.registrar, (struct mq_slice){});
	await_request(r, MQ_REGISTER_BROKER);
	assert_string_equal(field(r, "brokerName"), "broker-a");
	assert_string_equal(field(r, "brokerAddr"), "127.0.0.1:10911");
	assert_string_equal(field(r, "clusterName"), "DefaultCluster");
	assert_string_equal(field(r, "haServerAddr"), "127.0.0.1:10912");
	assert_string_equal(field(r, "brokerId"), "0");
	assert_string_equal(field(r, "enableActingMaster"), "false");
	assert_string_equal(field(r, "compressed"), "false");
	snprintf(crc, sizeof crc, "%u", mq_body_crc(r->cmd.body));
	assert_string_equal(field(r, "bodyCrc32"), crc);
	assert_string_equal(field(r, "localSocket"), "/run/mqd/broker.sock");
	assert_int_equal(strlen(field(r, "bootId")), 36);
	assert_int_equal(r->body.n_topics, 15);
	assert_int_equal(r->cmd.version, 513);
	assert_true(mq_slice_starts(r->cmd.body, MQ_SLICE("{\"filterServerList\":[],\"topicConfigSerializeWrapper\":{\"dataVersion\":{")));
	assert_state(r, 0);
	answer(r, MQ_SUCCESS, NULL);
	assert_state(r, 1);
}

static void rounds_follow_after_10_and_then_every_30_seconds(void **state)
{
	struct register_fixture *r = *state;

	register_once(r);
	fixture_advance(r->f, 9999);
	assert_silence(r);
	fixture_advance(r->f, 1);
	await_request(r, MQ_REGISTER_BROKER);
	answer(r, MQ_SUCCESS, NULL);
	for (int i = 0; i < 2; i++) {
		fixture_advance(r->f, 29999);
		assert_silence(r);
		fixture_advance(r->f, 1);
		await_request(r, MQ_REGISTER_BROKER);
		answer(r, MQ_SUCCESS, NULL);
	}
}

static void a_change_goes_as_one_topic_to_who_knows_the_rest(void **state)
{
	struct register_fixture *r = *state;
	struct topic topic;

	register_once(r);
	assert_int_equal(topics_create_on_send(r->f->broker.topics, MQ_SLICE("T"), MQ_SLICE("TBW102"), 4, &topic), 0);
	await_request(r, MQ_REGISTER_BROKER);
	assert_int_equal(r->body.n_topics, 1);
	assert_int_equal(r->body.topics[0].read_queues, 4);
	assert_int_equal(r->body.version.counter, 1);
	/* It lost us: everything again, and nobody is left in the dark. */
	answer(r, MQ_SYSTEM_ERROR, NULL);
	assert_state(r, 0);
	await_request(r, MQ_REGISTER_BROKER);
	assert_int_equal(r->body.n_topics, 16);
	answer(r, MQ_SUCCESS, NULL);
	assert_state(r, 1);
	assert_silence(r);
}

static void a_change_before_the_first_answer_makes_for_a_second_table(void **state)
{
	struct register_fixture *r = *state;
	struct topic topic;

	registrar_changed(r->f->broker.registrar, (struct mq_slice){});
	await_request(r, MQ_REGISTER_BROKER);
	assert_int_equal(topics_create_on_send(r->f->broker.topics, MQ_SLICE("T"), MQ_SLICE("TBW102"), 4, &topic), 0);
	assert_silence(r);
	answer(r, MQ_SUCCESS, NULL);
	await_request(r, MQ_REGISTER_BROKER);
	assert_int_equal(r->body.n_topics, 16);
}

static void many_changes_at_once_go_as_the_whole_table(void **state)
{
	struct register_fixture *r = *state;
	struct topic topic;
	char name[16];

	register_once(r);
	for (int i = 0; i < 17; i++) {
		snprintf(name, sizeof name, "T%d", i);
		assert_int_equal(topics_create_on_send(r->f->broker.topics, mq_slice_of(name), MQ_SLICE("TBW102"), 4, &topic), 0);
	}
	await_request(r, MQ_REGISTER_BROKER);
	assert_int_equal(r->body.n_topics, 15 + 17);
}

static void a_lost_connection_is_made_and_used_again(void **state)
{
	struct register_fixture *r = *state;
	int64_t until_ms = mq_mono_ms(&mq_clock_system) + DEADLINE_MS;

	register_once(r);
	hang_up(r);
	for (unsigned n_ok = 1, n_total; n_ok > 0;) {
		assert_true(mq_mono_ms(&mq_clock_system) < until_ms);
		assert_int_equal(mq_loop_turn(r->loop, 10), 0);
		registrar_state(r->f->broker.registrar, &n_ok, &n_total);
	}
	fixture_advance(r->f, 5000); /* the longest pause before a new attempt, less than a round */
	await_request(r, MQ_REGISTER_BROKER);
	assert_int_equal(r->body.n_topics, 15);
	answer(r, MQ_SUCCESS, NULL);
	assert_state(r, 1);
}

static void the_brokers_permission_limits_the_topics(void **state)
{
	struct register_fixture *r = *state;

	registrar_changed(r->f->broker.registrar, (struct mq_slice){});
	await_request(r, MQ_REGISTER_BROKER);
	for (unsigned i = 0; i < r->body.n_topics; i++)
		assert_int_equal(r->body.topics[i].perm & ~PERM_READ, 0);
}

static void an_order_configuration_in_the_answer_marks_topics(void **state)
{
	struct register_fixture *r = *state;
	struct topic topic;

	registrar_changed(r->f->broker.registrar, (struct mq_slice){});
	await_request(r, MQ_REGISTER_BROKER);
	answer(r, MQ_SUCCESS, "{\"table\":{\"BenchmarkTest\":\"broker-a:4\",\"Unknown\":\"broker-a:4\"}}");
	await_changes(r);
	assert_int_equal(topics_get(r->f->broker.topics, MQ_SLICE("BenchmarkTest"), &topic), 0);
	assert_true(topic.is_order);
	assert_state(r, 1);

	/* The answer to one topic says it as well. */
	assert_int_equal(topics_create_on_send(r->f->broker.topics, MQ_SLICE("T"), MQ_SLICE("TBW102"), 4, &topic), 0);
	await_request(r, MQ_REGISTER_BROKER);
	assert_int_equal(r->body.n_topics, 1);
	answer(r, MQ_SUCCESS, "{\"table\":{\"T\":\"broker-a:4\"}}");
	await_changes(r);
	assert_int_equal(topics_get(r->f->broker.topics, MQ_SLICE("T"), &topic), 0);
	assert_true(topic.is_order);
}

static _Atomic bool disk_stands, was_waited_for;

static int stand_still(void *user)
{
	for (int left = DEADLINE_MS; atomic_load(&disk_stands); left--) {
		if (left == 0) {
			atomic_store(&was_waited_for, true);
			break;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return 0;
}

static int setup_with_a_disk_that_stands(void **state)
{
	struct register_fixture *r;

	setup(state);
	r = *state;
	fixture_close(r->f);
	r->f->hooks.before_write = stand_still;
	fixture_open(r->f);
	return 0;
}

static void the_loop_does_not_wait_until_an_order_configuration_is_stored(void **state)
{
	struct register_fixture *r = *state;
	struct topic topic;

	atomic_store(&disk_stands, true);
	for (int i = 0; i < 2; i++) {
		registrar_changed(r->f->broker.registrar, (struct mq_slice){});
		await_request(r, MQ_REGISTER_BROKER);
		answer(r, MQ_SUCCESS, "{\"table\":{\"BenchmarkTest\":\"broker-a:4\"}}");
		assert_int_equal(atomic_load(&r->f->broker.n_posts_due), 1); /* not one for each answer */
	}
	atomic_store(&disk_stands, false);
	await_changes(r);
	assert_false(was_waited_for);
	assert_int_equal(topics_get(r->f->broker.topics, MQ_SLICE("BenchmarkTest"), &topic), 0);
	assert_true(topic.is_order);
}

static void on_settled(void *arg)
{
	((struct register_fixture *)arg)->n_settled++;
}

static void settle(struct register_fixture *r)
{
	assert_int_equal(registrar_settle(r->f->broker.registrar, r->loop, on_settled, r), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(mq_loop_turn(r->loop, 0), 0);
}

static void settling_waits_for_the_answer_but_not_for_long(void **state)
{
	struct register_fixture *r = *state;
	struct topic topic;

	settle(r);
	assert_int_equal(r->n_settled, 1); /* nobody there: nobody to wait for */
	register_once(r);
	settle(r);
	assert_int_equal(r->n_settled, 2); /* nothing on its way */

	assert_int_equal(topics_create_on_send(r->f->broker.topics, MQ_SLICE("T"), MQ_SLICE("TBW102"), 4, &topic), 0);
	settle(r);
	await_request(r, MQ_REGISTER_BROKER);
	assert_int_equal(r->n_settled, 2);
	answer(r, MQ_SUCCESS, NULL);
	assert_int_equal(r->n_settled, 3);

	assert_int_equal(topics_create_on_send(r->f->broker.topics, MQ_SLICE("U"), MQ_SLICE("TBW102"), 4, &topic), 0);
	settle(r);
	await_request(r, MQ_REGISTER_BROKER);
	fixture_advance(r->f, 3000);
	for (int i = 0; i < 3; i++)
		assert_int_equal(mq_loop_turn(r->loop, 0), 0);
	assert_int_equal(r->n_settled, 4);
}

static void on_stopped(void *user)
{
	((struct register_fixture *)user)->n_stopped++;
}

static void the_end_is_told_and_waited_for(void **state)
{
	struct register_fixture *r = *state;
	struct topic topic;

	register_once(r);
	assert_int_equal(topics_create_on_send(r->f->broker.topics, MQ_SLICE("T"), MQ_SLICE("TBW102"), 4, &topic), 0);
	settle(r);
	await_request(r, MQ_REGISTER_BROKER);
	registrar_stop(r->f->broker.registrar, on_stopped, r);
	await_request(r, MQ_UNREGISTER_BROKER);
	assert_string_equal(field(r, "brokerName"), "broker-a");
	assert_string_equal(field(r, "brokerAddr"), "127.0.0.1:10911");
	assert_string_equal(field(r, "clusterName"), "DefaultCluster");
	assert_string_equal(field(r, "brokerId"), "0");
	assert_int_equal(r->n_settled, 1); /* nobody waits through the end */
	assert_int_equal(r->n_stopped, 0);
	answer(r, MQ_SUCCESS, NULL);
	assert_int_equal(r->n_stopped, 1);
	fixture_advance(r->f, 60000);
	assert_silence(r);
}

static void a_nameserver_that_is_silent_at_the_end_is_left_after_3_seconds(void **state)
{
	struct register_fixture *r = *state;

	register_once(r);
	registrar_stop(r->f->broker.registrar, on_stopped, r);
	await_request(r, MQ_UNREGISTER_BROKER);
	fixture_advance(r->f, 3000);
	for (int i = 0; i < 3; i++)
		assert_int_equal(mq_loop_turn(r->loop, 0), 0);
	assert_int_equal(r->n_stopped, 1);
}

static void without_a_connection_the_end_comes_at_once(void **state)
{
	struct register_fixture *r = *state;

	registrar_stop(r->f->broker.registrar, on_stopped, r);
	assert_int_equal(r->n_stopped, 1);
}

#define RTEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RTEST(the_first_registration_is_apaches),
		RTEST(rounds_follow_after_10_and_then_every_30_seconds),
		RTEST(a_change_goes_as_one_topic_to_who_knows_the_rest),
		RTEST(a_change_before_the_first_answer_makes_for_a_second_table),
		RTEST(many_changes_at_once_go_as_the_whole_table),
		RTEST(a_lost_connection_is_made_and_used_again),
		cmocka_unit_test_setup_teardown(the_brokers_permission_limits_the_topics, setup_without_writing, teardown),
		RTEST(an_order_configuration_in_the_answer_marks_topics),
		cmocka_unit_test_setup_teardown(the_loop_does_not_wait_until_an_order_configuration_is_stored, setup_with_a_disk_that_stands,
						teardown),
		RTEST(settling_waits_for_the_answer_but_not_for_long),
		RTEST(the_end_is_told_and_waited_for),
		RTEST(a_nameserver_that_is_silent_at_the_end_is_left_after_3_seconds),
		RTEST(without_a_connection_the_end_comes_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
