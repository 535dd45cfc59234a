/* How mq-brokerd starts, reloads and stops. Exit statuses are those of its manual. */
#include <event2/buffer.h>

#include "tests/wire/messages.h"

static struct harness_daemon *start(const char *const *sets)
{
	return harness_start(HARNESS_BROKER, sets);
}

static void its_status_says_who_and_how_it_is(void **state)
{
	static const char *const sets[] = { "brokerName=broker-s", NULL };
	struct harness_daemon *d = start(sets);
	char expected[200];

	snprintf(expected, sizeof expected, "broker-s of DefaultCluster at %s, no NameServer configured, store writable", d->address);
	assert_string_equal(d->status, expected);
	harness_stop(d);
	harness_free(d);
}

static void a_term_signal_stops_cleanly(void **state)
{
	struct harness_daemon *d = start(NULL);

	kill(d->pid, SIGTERM);
	harness_wait_notify(d, "STOPPING=1");
	assert_int_equal(harness_wait(d), 0);
	assert_int_equal(access(d->local, F_OK), -1);
	harness_free(d);
}

static void sends_in_flight_are_answered_before_it_stops(void **state)
{
	enum { N = 400 }; /* little enough for the socket: the peer writes all before it reads */
	struct harness_daemon *d = start(NULL);
	struct harness_peer *p = harness_connect(d);
	struct mq_command cmd;
	struct evbuffer *out = evbuffer_new();
	char max[16];
	unsigned n_answered;

	send_ok(p, "Last", "0", "", "x");
	for (int i = 0; i < N; i++) {
		send_request(&cmd, "Last", "0", "", MQ_SLICE("x"));
		cmd.opaque = 1000 + i;
		assert_int_equal(mq_command_encode(&cmd, NULL, out), 0);
	}
	for (size_t half = evbuffer_get_length(out) / 2, i = 0; i < 2; i++) {
		if (!harness_send_raw(p, evbuffer_pullup(out, -1) + i * half, half))
			break; /* it was faster */
		if (i == 0)
			kill(d->pid, SIGTERM);
	}
	evbuffer_free(out);
	n_answered = harness_wait_closed(p);
	assert_int_equal(harness_wait(d), 0);
	harness_close(p);

	/* What was stored was answered, and the other way round. */
	harness_restart(d);
	p = harness_connect(d);
	snprintf(max, sizeof max, "%u", n_answered + 1);
	assert_string_equal(harness_field(harness_ask(p, MQ_GET_MAX_OFFSET, "topic", "Last", "queueId", "0", NULL), "offset"), max);
	harness_close(p);
	harness_stop(d);
	harness_free(d);
}

static void run(const char *const *args, int expected_status, const char *expected_text)
{
	char output[2000];
	int status = harness_run(HARNESS_BROKER, args, output, sizeof output);

	if (status != expected_status || !strstr(output, expected_text))
		fail_msg("exit status %d (%d expected), output: %s", status, expected_status, output);
}

static void what_cannot_work_is_refused_with_a_sentence(void **state)
{
	run((const char *[]){ "--colour", NULL }, 64, "--colour");
	run((const char *[]){ "-o", "listenPrt=1", NULL }, 78, "listenPort");
	run((const char *[]){ "-o", "brokerRole=SLAVE", NULL }, 78, "brokerRole");
	run((const char *[]){ "-c", "/nonexistent/broker.conf", NULL }, 78, "/nonexistent/broker.conf");
	run((const char *[]){ "-t", NULL }, 0, "");
	run((const char *[]){ "-p", NULL }, 0, "listenPort=10911");
}

static void a_port_or_directory_in_use_is_named(void **state)
{
	struct harness_daemon *d = start(NULL);
	struct harness_peer *p;
	char port[40], store[100], other_store[100], other_socket[100];

	snprintf(port, sizeof port, "listenPort=%u", d->port);
	snprintf(store, sizeof store, "storePathRootDir=%s/store", d->directory);
	snprintf(other_store, sizeof other_store, "storePathRootDir=%s/other", d->directory);
	snprintf(other_socket, sizeof other_socket, "localSocket=%s/other.sock", d->directory);
	run((const char *[]){ "-o", port, "-o", other_store, "-o", other_socket, "-o", "fastListenPort=-1", NULL }, 69, port + 11);
	run((const char *[]){ "-o", "listenPort=24151", "-o", store, "-o", other_socket, "-o", "fastListenPort=-1", NULL }, 69, store + 17);
	p = harness_connect(d); /* and nobody was disturbed */
	send_ok(p, "Undisturbed", "0", "", "x");
	harness_close(p);
	harness_stop(d);
	harness_free(d);
}

static void a_reload_takes_over_live_keys(void **state)
{
	struct harness_daemon *d = start(NULL);
	struct harness_peer *p = harness_connect(d);
	FILE *f = fopen(d->config, "w");

	assert_non_null(f);
	fputs("traceOn=false\nmaxMessageSize=2K\ndefaultTopicQueueNums=2\nbrokerClusterName=Other\n", f);
	fclose(f);
	kill(d->pid, SIGHUP);
	harness_wait_notify(d, "RELOADING=1");
	harness_wait_notify(d, "READY=1");
	assert_string_equal(harness_field(send_message(p, "Reloaded", "0", "", "x"), "TRACE_ON"), "false");
	assert_non_null(strstr(harness_body(harness_ask(p, MQ_GET_BROKER_CONFIG, NULL)), "brokerClusterName=DefaultCluster"));
	harness_close(p);
	harness_stop(d);
	harness_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(its_status_says_who_and_how_it_is),
		cmocka_unit_test(a_term_signal_stops_cleanly),
		cmocka_unit_test(sends_in_flight_are_answered_before_it_stops),
		cmocka_unit_test(what_cannot_work_is_refused_with_a_sentence),
		cmocka_unit_test(a_port_or_directory_in_use_is_named),
		cmocka_unit_test(a_reload_takes_over_live_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
