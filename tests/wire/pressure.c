/* Pressure: a disk that stands still, and clients that ask for more than their share. What is refused says why, with the codes
 * that clients know; everybody else is served; ten thousand idle clients cost what was promised. */
#include "tests/wire/messages.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* Under sanitizers memory says nothing. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { HAS_SANITIZER = 1 };
#else
enum { HAS_SANITIZER = 0 };
#endif

static void assert_serves_others(const char *topic)
{
	struct harness_peer *p = harness_connect_tcp(daemon_);

	for (int i = 0; i < 20; i++)
		send_ok(p, topic, "0", "", "still here");
	assert_int_equal(pull(p, topic, "0", "0")->code, MQ_SUCCESS);
	harness_close(p);
}

/* ---- A disk that stands still ---- */

static char gate_sync_[128], gate_write_[128];

static void gate_close(const char *path)
{
	assert_int_equal(close(open(path, O_WRONLY | O_CREAT, 0600)), 0);
}

static void gate_open(const char *path)
{
	assert_int_equal(unlink(path), 0);
}

/* Starts a daemon, or the one that was stopped, with the gates. */
static void start_gated(const char *const *sets)
{
	const char *library = getenv("MQ_GATE"), *asan = getenv("ASAN_OPTIONS");
	char options[256];

	assert_non_null(library);
	snprintf(gate_sync_, sizeof gate_sync_, "/tmp/mq-gate-sync.%d", (int)getpid());
	snprintf(gate_write_, sizeof gate_write_, "/tmp/mq-gate-write.%d", (int)getpid());
	setenv("GATE_SYNC", gate_sync_, 1);
	setenv("GATE_WRITE", gate_write_, 1);
	/* The sanitizer need not be the first library: what comes before it replaces two functions that it leaves alone. */
	snprintf(options, sizeof options, "%s%sverify_asan_link_order=0", asan ? asan : "", asan ? ":" : "");
	setenv("ASAN_OPTIONS", options, 1);
	setenv("LD_PRELOAD", library, 1);
	if (sets)
		daemon_ = harness_start(HARNESS_BROKER, sets);
	else
		harness_restart(daemon_);
	unsetenv("LD_PRELOAD");
	if (asan)
		setenv("ASAN_OPTIONS", asan, 1);
	else
		unsetenv("ASAN_OPTIONS");
}

static int end_gated(void **state)
{
	unlink(gate_sync_);
	unlink(gate_write_);
	return stop_daemon(state);
}

static int start_with_slow_sync(void **state)
{
	static const char *const sets[] = { "flushDiskType=SYNC_FLUSH", "syncFlushTimeout=100ms", "ioThreads=1", "recallMessageEnable=true",
					    "brokerName=broker-a", NULL };

	start_gated(sets);
	return 0;
}

static void assert_remark(const struct mq_command *answer, int code, const char *begin)
{
	assert_int_equal(answer->code, code);
	assert_true(mq_slice_starts(answer->remark, mq_slice_of(begin)));
}

/* Sends until the disk has it in time, which that of this machine may miss now and then. Returns the answer. */
static const struct mq_command *send_synced(struct harness_peer *p, const char *topic, const char *properties, const char *body)
{
	int64_t until = milliseconds() + HARNESS_DEADLINE_MS;
	const struct mq_command *answer;

	while ((answer = send_message(p, topic, "0", properties, body))->code != MQ_SUCCESS)
		assert_true(milliseconds() < until);
	return answer;
}

/* Makes the topic, and the group by which it is read. *ret_next is the offset of what comes next. */
static void settle(struct harness_peer *p, const char *topic, char ret_next[24])
{
	snprintf(ret_next, 24, "%d", atoi(harness_field(send_synced(p, topic, "", "before"), "queueOffset")) + 1);
	assert_int_equal(pull(p, topic, "0", "0")->code, MQ_SUCCESS);
}

static void a_send_that_the_disk_does_not_have_in_time_is_told_so(void **state)
{
	struct harness_peer *p = harness_connect_tcp(daemon_);
	int64_t until = milliseconds() + HARNESS_DEADLINE_MS;
	const struct mq_command *answer;
	char offset[24];

	settle(p, "Gated", offset);
	gate_close(gate_sync_);
	answer = send_message(p, "Gated", "0", "", "late");
	harness_assert_answer(answer, MQ_FLUSH_DISK_TIMEOUT, NULL);
	assert_string_equal(harness_field(answer, "queueOffset"), offset); /* where it is, as in any success */
	assert_string_equal(harness_field(answer, "queueId"), "0");
	assert_int_equal(strlen(harness_field(answer, "msgId")), 32);
	assert_string_equal(harness_field(answer, "MSG_REGION"), "DefaultRegion");
	/* Nobody gets it before the disk has it: after a power loss another message would be in its place. */
	harness_assert_answer(pull(p, "Gated", "0", offset), MQ_PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE");

	/* More is written behind it, as by Apache's broker, but not without end: then nothing is stored, and that is said. */
	for (unsigned i = 1; i < 15; i++)
		harness_assert_answer(send_message(p, "Gated", "0", "", "late, too"), MQ_FLUSH_DISK_TIMEOUT, NULL);
	assert_remark(send_message(p, "Gated", "0", "", "never"), MQ_SYSTEM_BUSY,
		      "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while: for 100 ms the disk has not taken what came before");
	gate_open(gate_sync_);
	while (send_message(p, "Gated", "0", "", "after")->code != MQ_SUCCESS)
		assert_true(milliseconds() < until);

	struct mq_record records[32];
	unsigned n = records_of(pull(p, "Gated", "0", offset), records, 32);

	assert_true(n >= 16);
	assert_slice(records[0].body, "late");
	for (unsigned i = 1; i < n; i++)
		assert_slice(records[i].body, i < 15 ? "late, too" : "after");
	harness_close(p);
}

static const struct mq_command *pull_when_synced(struct harness_peer *p, const char *topic, const char *offset)
{
	int64_t until = milliseconds() + HARNESS_DEADLINE_MS;
	const struct mq_command *answer;

	while ((answer = pull(p, topic, "0", offset))->code == MQ_PULL_NOT_FOUND)
		assert_true(milliseconds() < until);
	return answer;
}

/* Upstream waits for no disk with any of these, and clients take a failure for one: what is sent back would come twice. Here they wait as
 * long as a send does, and those that do not count on the disk do not wait with it. */
static void what_is_no_send_is_done_when_the_disk_is_late(void **state)
{
	struct harness_peer *p = harness_connect_tcp(daemon_), *q = harness_connect_tcp(daemon_);
	static const char half[] = "TRAN_MSG\1true\2UNIQ_KEY\1U1\2PGROUP\1pg\2";
	int64_t until = milliseconds() + HARNESS_DEADLINE_MS;
	char locator[24], half_locator[24], half_offset[24], receipt[128], handle[256], next[24], half_next[24], dead_next[24];
	struct mq_record records[8];
	struct mq_command cmd, together[2];

	settle(p, "Late", next);
	settle(p, "LateHalf", half_next);
	settle(p, "%RETRY%late", next);
	settle(p, "%DLQ%late", dead_next);
	snprintf(locator, sizeof locator, "%s", sent_locator(send_synced(p, "Late", "", "comes again")));
	send_request(&cmd, "LateHalf", "0", half, MQ_SLICE("committed"));
	set_field(&cmd, "f", "4");
	while (harness_call(p, &cmd)->code != MQ_SUCCESS)
		assert_true(milliseconds() < until);
	snprintf(half_locator, sizeof half_locator, "%s", sent_locator(&p->answer->cmd));
	snprintf(half_offset, sizeof half_offset, "%s", harness_field(&p->answer->cmd, "queueOffset"));
	snprintf(handle, sizeof handle, "%s",
		 harness_field(send_synced(p, "Late", "UNIQ_KEY\1U2\2TIMER_DELAY_SEC\00160\2", "recalled"), "recallHandle"));

	gate_close(gate_sync_);
	harness_assert_answer(harness_ask(p, MQ_CONSUMER_SEND_MSG_BACK, "offset", locator, "group", "late", "delayLevel", "-1", NULL), MQ_SUCCESS,
			      NULL);
	harness_assert_answer(harness_ask(p, MQ_END_TRANSACTION, "producerGroup", "pg", "tranStateTableOffset", half_offset,
					  "commitLogOffset", half_locator, "commitOrRollback", "8", "fromTransactionCheck", "false", "msgId", "U1",
					  "transactionId", "U1", NULL),
			      MQ_SUCCESS, NULL);
	harness_assert_answer(harness_ask(p, MQ_UPDATE_CONSUMER_OFFSET, "consumerGroup", "cg", "topic", "Late", "queueId", "0",
					  "commitOffset", "1", NULL),
			      MQ_SUCCESS, NULL);
	harness_assert_answer(harness_ask(p, MQ_RECALL_MESSAGE, "producerGroup", "pg", "topic", "Late", "recallHandle", handle, NULL), MQ_SUCCESS,
			      NULL);
	/* Three turns are under way, so these two go into one. */
	send_request(&together[0], "Late", "0", "", MQ_SLICE("waits"));
	send_request(&together[1], "Late", "0", "WAIT\1false\2", MQ_SLICE("does not"));
	harness_send_all(p, together, N_ELEMENTS(together));
	/* While those wait, a group pops and acknowledges. */
	harness_assert_answer(harness_ask(q, MQ_POP_MESSAGE, "consumerGroup", "cg", "topic", "Late", "queueId", "0", "maxMsgNums", "1",
					  "invisibleTime", "60000", "pollTime", "0", "bornTime", born_late(), "initMode", "0", "expType", "TAG", "exp", "*",
					  "order", "false", NULL),
			      MQ_SUCCESS, "FOUND");
	snprintf(receipt, sizeof receipt, "1 %s 60000 0 0 broker-a 0 1", harness_field(&q->answer->cmd, "popTime"));
	harness_assert_answer(harness_ask(q, MQ_ACK_MESSAGE, "consumerGroup", "cg", "topic", "Late", "queueId", "0", "offset", "1", "extraInfo",
					  receipt, NULL),
			      MQ_SUCCESS, NULL);
	harness_assert_answer(harness_answer(p, together[0].opaque), MQ_FLUSH_DISK_TIMEOUT, NULL);
	harness_assert_answer(harness_answer(p, together[1].opaque), MQ_SUCCESS, NULL);
	harness_assert_answer(harness_ask(p, MQ_INVOKE_BROKER_TO_RESET_OFFSET, "topic", "Late", "group", "cg", "timestamp", "0", "isForce", "true",
					  NULL),
			      MQ_SUCCESS, NULL);
	gate_open(gate_sync_);

	assert_int_equal(records_of(pull_when_synced(p, "%DLQ%late", dead_next), records, 8), 1);
	assert_slice(records[0].body, "comes again");
	assert_int_equal(records_of(pull_when_synced(p, "LateHalf", half_next), records, 8), 1);
	assert_slice(records[0].body, "committed");
	harness_close(p);
	harness_close(q);
}

enum { WAITING_POP_MS = 2000 };

static char dead_locator_[24];

/* A message and a group that sends it back for good: %DLQ%dead is missing, the retry topic is not. */
static void prepare_dead(void)
{
	static const char beat[] =
		"{\"clientID\":\"dead\",\"consumerDataSet\":[{\"consumeFromWhere\":\"CONSUME_FROM_LAST_OFFSET\",\"consumeType\":\"CONSUME_PASSIVELY\","
		"\"groupName\":\"dead\",\"messageModel\":\"CLUSTERING\",\"subscriptionDataSet\":[],\"unitMode\":false}],"
		"\"producerDataSet\":[]}";
	struct harness_peer *p = harness_connect_tcp(daemon_);
	char next[24];

	settle(p, "Dies", next);
	snprintf(dead_locator_, sizeof dead_locator_, "%s", sent_locator(send_synced(p, "Dies", "", "x")));
	harness_assert_answer(ask_with_body(p, MQ_HEART_BEAT, beat), MQ_SUCCESS, NULL); /* makes %RETRY%dead */
	harness_close(p);
}

/* What makes or changes a topic or a group, each on a connection of its own; the next ones are of the same kind and wait behind them. */
static unsigned ask_for_changes(struct harness_peer **ret)
{
	static const char group[] = "{\"groupName\":\"new-group\",\"consumeEnable\":true,\"retryQueueNums\":1,\"retryMaxTimes\":16}";
	static const char beat[] =
		"{\"clientID\":\"new\",\"consumerDataSet\":[{\"consumeFromWhere\":\"CONSUME_FROM_LAST_OFFSET\",\"consumeType\":\"CONSUME_PASSIVELY\","
		"\"groupName\":\"beats\",\"messageModel\":\"CLUSTERING\",\"subscriptionDataSet\":[],\"unitMode\":false}],"
		"\"producerDataSet\":[]}";
	struct mq_command cmds[8];
	unsigned n = 0;

	send_request(&cmds[n++], "New", "0", "", MQ_SLICE("makes its topic"));
	harness_request(&cmds[n++], MQ_UPDATE_AND_CREATE_TOPIC, "topic", "Made", "defaultTopic", "TBW102", "readQueueNums", "1", "writeQueueNums", "1",
			"perm", "6", "topicFilterType", "SINGLE_TAG", NULL);
	harness_request(&cmds[n], MQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, NULL);
	cmds[n++].body = mq_slice_of(group);
	harness_request(&cmds[n++], MQ_DELETE_SUBSCRIPTIONGROUP, "groupName", "goes", NULL);
	harness_request(&cmds[n++], MQ_GET_SUBSCRIPTIONGROUP_CONFIG, "group", "looked-for", NULL);
	pull_request(&cmds[n], "Beside", "0", "0", "4", "*");
	set_field(&cmds[n++], "consumerGroup", "pulls");
	harness_request(&cmds[n++], MQ_DELETE_TOPIC_IN_BROKER, "topic", "Goes", NULL);
	harness_request(&cmds[n], MQ_HEART_BEAT, NULL);
	cmds[n++].body = mq_slice_of(beat);
	for (unsigned i = 0; i < n; i++) {
		ret[i] = harness_connect_tcp(daemon_);
		harness_send(ret[i], &cmds[i]);
	}
	return n;
}

static void change_permission(const char *line)
{
	FILE *f = fopen(daemon_->config, "w");

	assert_non_null(f);
	fputs(line, f);
	fclose(f);
	assert_int_equal(kill(daemon_->pid, SIGHUP), 0);
}

/* Not on the loop, or all its connections would wait with it, and the watchdog bark; and not where pulls read the disk. */
static void while_the_disk_stands_changes_wait_and_nobody_else_does(void **state)
{
	static const char beat[] = "{\"clientID\":\"old\",\"consumerDataSet\":[],\"producerDataSet\":[{\"groupName\":\"p\"}]}";
	struct harness_peer *p = harness_connect_tcp(daemon_), *changes[9];
	char next[24], invisible[24];
	struct mq_command cmd;
	int64_t until;
	unsigned n;

	settle(p, "Beside", next);
	settle(p, "Goes", next);
	harness_assert_answer(harness_ask(p, MQ_GET_SUBSCRIPTIONGROUP_CONFIG, "group", "goes", NULL), MQ_SUCCESS, NULL);
	/* What comes again makes its topic when its time is over. */
	settle(p, "Popped", next);
	snprintf(invisible, sizeof invisible, "%d", WAITING_POP_MS);
	harness_assert_answer(harness_ask(p, MQ_POP_MESSAGE, "consumerGroup", "pops", "topic", "Popped", "queueId", "0", "maxMsgNums", "1",
					  "invisibleTime", invisible, "pollTime", "0", "bornTime", born_late(), "initMode", "0", NULL),
			      MQ_SUCCESS, "FOUND");
	settle(p, "Half", next);
	send_synced(p, "Half", "TRAN_MSG\1true\2PGROUP\1nobody\2UNIQ_KEY\1H\2", "is asked about");
	gate_close(gate_sync_);
	n = ask_for_changes(changes);
	harness_request(&cmd, MQ_CONSUMER_SEND_MSG_BACK, "offset", dead_locator_, "group", "dead", "delayLevel", "-1", NULL);
	changes[n] = harness_connect_tcp(daemon_);
	harness_send(changes[n++], &cmd);
	change_permission("brokerPermission=7\n");
	harness_wait_notify(daemon_, "READY=1");
	for (int i = 0; i < 3; i++) {
		harness_assert_answer(ask_with_body(p, MQ_HEART_BEAT, beat), MQ_SUCCESS, NULL);
		assert_int_equal(pull(p, "Beside", "0", "0")->code, MQ_SUCCESS);
		/* Whatever may read the disk goes the same way. */
		harness_assert_answer(harness_ask(p, MQ_SEARCH_OFFSET_BY_TIMESTAMP, "topic", "Beside", "queueId", "0", "timestamp", "0", NULL),
				      MQ_SUCCESS, NULL);
		harness_wait_notify(daemon_, "WATCHDOG=1");
	}
	for (unsigned i = 0; i < n; i++) {
		struct pollfd answer = { .fd = changes[i]->fd, .events = POLLIN };

		assert_int_equal(poll(&answer, 1, 0), 0); /* done when the disk has it */
	}
	gate_open(gate_sync_);
	for (unsigned i = 0; i < n; i++) {
		const struct mq_command *answer = harness_answer(changes[i], changes[i]->opaque);

		/* The send that made its topic has its own 100 ms then, which the disk of this machine may miss. */
		if (i > 0 || answer->code != MQ_FLUSH_DISK_TIMEOUT)
			harness_assert_answer(answer, MQ_SUCCESS, i == 5 ? "FOUND" : NULL);
		harness_close(changes[i]);
	}
	harness_assert_answer(harness_ask(p, MQ_GET_TOPIC_CONFIG, "topic", "Made", NULL), MQ_SUCCESS, NULL);
	harness_assert_answer(harness_ask(p, MQ_GET_TOPIC_CONFIG, "topic", "%RETRY%beats", NULL), MQ_SUCCESS, NULL);
	harness_assert_answer(harness_ask(p, MQ_GET_TOPIC_CONFIG, "topic", "%DLQ%dead", NULL), MQ_SUCCESS, NULL);
	until = milliseconds() + HARNESS_DEADLINE_MS;
	while (strcmp(harness_field(harness_ask(p, MQ_GET_MAX_OFFSET, "topic", "New", "queueId", "0", NULL), "offset"), "1") != 0)
		assert_true(milliseconds() < until);
	harness_close(p);
}

static int start_watched(void **state)
{
	static const char *const sets[] = { "flushDiskType=SYNC_FLUSH", "syncFlushTimeout=100ms", "ioThreads=1", "storeReaders=1",
					    "transactionCheckInterval=200ms", "transactionTimeOut=1ms", "brokerName=broker-a", NULL };

	start_gated(sets);
	prepare_dead();
	harness_stop(daemon_);
	daemon_->watchdog_us = "6000000"; /* four looks in it, and each wants signs of life that come every second */
	start_gated(NULL);
	return 0;
}

static int start_with_slow_write(void **state)
{
	static const char *const sets[] = { "osPageCacheBusyTimeOutMills=50", "ioThreads=2", NULL };

	start_gated(sets);
	return 0;
}

/* The loop that writes stands still with the disk, and its connections with it. The others serve on. */
static void while_a_write_hangs_sends_are_refused_and_the_rest_is_served(void **state)
{
	enum { N = 4 };
	int64_t until = milliseconds() + HARNESS_DEADLINE_MS;
	struct harness_peer *peers[N], *a, *b = NULL;
	struct pollfd polls[N];
	int32_t hangs, opaque[N] = {}, refused = 0;
	struct mq_command cmd;

	for (int i = 0; i < N; i++) {
		peers[i] = harness_connect_tcp(daemon_);
		polls[i] = (struct pollfd){ .fd = peers[i]->fd, .events = POLLIN };
		send_ok(peers[i], "Stuck", "0", "", "before");
	}
	a = peers[0];
	assert_int_equal(pull(a, "Stuck", "0", "0")->code, MQ_SUCCESS); /* makes the group, which is a write, too */
	gate_close(gate_write_);
	send_request(&cmd, "Stuck", "0", "", MQ_SLICE("hangs"));
	hangs = harness_send(a, &cmd);
	do { /* what comes at first waits behind it */
		for (int i = 1; i < N; i++) {
			send_request(&cmd, "Stuck", "0", "", MQ_SLICE("refused"));
			opaque[i] = harness_send(peers[i], &cmd);
		}
		assert_true(milliseconds() < until);
	} while (poll(polls + 1, N - 1, 60) == 0);
	for (int i = 1; i < N; i++)
		if (polls[i].revents)
			b = peers[i], refused = opaque[i];
	assert_non_null(b);
	assert_remark(harness_answer(b, refused), MQ_SYSTEM_BUSY,
		      "[REJECTREQUEST]system busy, start flow control for a while: a write to the disk has taken ");
	harness_assert_answer(harness_ask(b, MQ_GET_MAX_OFFSET, "topic", "Stuck", "queueId", "0", NULL), MQ_SUCCESS, NULL);
	assert_int_equal(pull(b, "Stuck", "0", "0")->code, MQ_SUCCESS);
	gate_open(gate_write_);
	harness_assert_answer(harness_answer(a, hangs), MQ_SUCCESS, NULL);
	send_ok(b, "Stuck", "0", "", "after");
	for (int i = 0; i < N; i++)
		harness_close(peers[i]);
}

/* ---- Clients that want more than their share ---- */

static int start_daemon(void **state)
{
	daemon_ = harness_start(HARNESS_BROKER, NULL);
	return 0;
}

/* In a child of its own, until it is killed: sends as fast as the broker takes it, and reads nothing. */
static pid_t flood_start(struct harness_peer *p, bool is_oneway)
{
	struct mq_command cmd;
	pid_t pid;

	send_ok(p, "Flood", "0", "", "makes the topic");
	pid = fork();
	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		send_request(&cmd, "Flood", "0", "", MQ_SLICE("one of very many"));
		cmd.flag = is_oneway ? MQ_FLAG_ONEWAY : 0;
		harness_send(p, &cmd);
	}
}

static void flood_end(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int64_t flooded(struct harness_peer *p)
{
	return strtoll(harness_field(harness_ask(p, MQ_GET_MAX_OFFSET, "topic", "Flood", "queueId", "0", NULL), "offset"), NULL, 10);
}

static void who_floods_the_broker_with_sends_does_not_keep_others_waiting(void **state)
{
	struct harness_peer *p = *state, *greedy = harness_connect_tcp(daemon_);
	int64_t before = memory(), until = milliseconds() + HARNESS_DEADLINE_MS;
	pid_t flood = flood_start(greedy, true);

	while (flooded(p) < 10000)
		assert_true(milliseconds() < until);
	for (int i = 0; i < 10; i++)
		assert_serves_others("BesideFlood");
	assert_true(flooded(p) > 10000);
	flood_end(flood);
	if (!HAS_SANITIZER)
		assert_true(memory() - before < 400 << 20); /* the store's own, and what is under way */
	harness_close(greedy);
}

/* It stops reading from a client that does not take its answers, and that alone. */
static void who_floods_and_does_not_read_is_stopped_alone(void **state)
{
	struct harness_peer *p = *state, *greedy = harness_connect_tcp(daemon_);
	int64_t until = milliseconds() + HARNESS_DEADLINE_MS, seen, again;
	pid_t flood = flood_start(greedy, false);

	do {
		seen = flooded(p);
		for (int i = 0; i < 5; i++)
			assert_serves_others("BesideMute");
		again = flooded(p);
		assert_true(milliseconds() < until);
	} while (again != seen && !HAS_SANITIZER); /* it goes on until the sockets' buffers and its budget are full, some 80,000 messages */
	assert_serves_others("BesideMute");
	flood_end(flood);
	harness_close(greedy);
	assert_serves_others("BesideMute");
}

static void who_parks_pulls_without_end_does_not_keep_others_waiting(void **state)
{
	enum { N = 50000 };
	struct harness_peer *p = *state, *greedy = harness_connect_tcp(daemon_);
	int64_t before = memory();
	struct mq_command cmd;
	int status;
	pid_t pid;

	send_ok(p, "Parked", "0", "", "x");
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0; i < N; i++) {
			pull_request(&cmd, "Parked", "0", "1", "6", "*");
			set_field(&cmd, "suspendTimeoutMillis", "60000");
			harness_send(greedy, &cmd);
		}
		_exit(0);
	}
	for (int i = 0; i < 10; i++)
		assert_serves_others("BesideParked");
	if (!HAS_SANITIZER)
		assert_true(memory() - before < 128 << 20);
	send_ok(p, "Parked", "0", "", "wakes them");
	assert_int_equal(pull(p, "Parked", "0", "1")->code, MQ_SUCCESS);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	harness_close(greedy);
	assert_serves_others("BesideParked");
}

/* ---- Ten thousand idle clients ---- */

enum {
	IDLE_CLIENTS = 10000,
	IDLE_BYTES = 64 << 20,   /* resident, the whole broker */
	IDLE_GROUP = 10,         /* members of each consumer group */
	IDLE_DESCRIPTORS = IDLE_CLIENTS + 100,
};

static int idle_connect(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(daemon_->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger at_once = { .l_onoff = 1 }; /* leaves no port behind that waits */
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

/* A heartbeat as a Java client sends it: every second one is a consumer, too. */
static void idle_beat(int fd, int i)
{
	char header[128], body[1024], frame[1400], *p = frame;
	int n_header = snprintf(header, sizeof header,
				"{\"code\":34,\"flag\":0,\"language\":\"JAVA\",\"opaque\":%d,\"serializeTypeCurrentRPC\":\"JSON\",\"version\":513}", i);
	int group = i / 2 / IDLE_GROUP;
	int n_body = snprintf(body, sizeof body,
			      i % 2 ? "{\"clientID\":\"10.1.2.3@%d#1234567890\",\"consumerDataSet\":[{\"consumeFromWhere\":\"CONSUME_FROM_LAST_OFFSET\","
				      "\"consumeType\":\"CONSUME_PASSIVELY\",\"groupName\":\"idle-consumers-%d\",\"messageModel\":\"CLUSTERING\","
				      "\"subscriptionDataSet\":[{\"classFilterMode\":false,\"codeSet\":[],\"expressionType\":\"TAG\",\"subString\":\"*\","
				      "\"subVersion\":1795467679466,\"tagsSet\":[],\"topic\":\"Idle\"},{\"classFilterMode\":false,\"codeSet\":[],"
				      "\"expressionType\":\"TAG\",\"subString\":\"*\",\"subVersion\":1795467679466,\"tagsSet\":[],\"topic\":"
				      "\"%%RETRY%%idle-consumers-%d\"}],\"unitMode\":false}],\"heartbeatFingerprint\":0,\"producerDataSet\":[{\"groupName\":"
				      "\"CLIENT_INNER_PRODUCER\"}],\"withoutSub\":false}"
				    : "{\"clientID\":\"10.1.2.3@%d#1234567890\",\"consumerDataSet\":[],\"heartbeatFingerprint\":0,\"producerDataSet\":[{"
				      "\"groupName\":\"idle-producers-%d\"},{\"groupName\":\"CLIENT_INNER_PRODUCER\"}],\"withoutSub\":false}",
			      i, group, group);

	p = mq_put32(p, (uint32_t)(4 + n_header + n_body));
	p = mq_put32(p, (uint32_t)n_header);
	p = mq_put_bytes(p, header, (size_t)n_header);
	p = mq_put_bytes(p, body, (size_t)n_body);
	assert_int_equal(write(fd, frame, (size_t)(p - frame)), p - frame);
}

/* Reads until the answer to the heartbeat: notices may come before it. */
static void idle_answered(int fd, int i)
{
	char bytes[16384], wanted[32];
	size_t n = 0;

	snprintf(wanted, sizeof wanted, "\"opaque\":%d,", i);
	bytes[0] = '\0';
	while (!memmem(bytes, n, "IS_SUPPORT_HEART_BEAT_V2", 24) || !memmem(bytes, n, wanted, strlen(wanted))) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t got;

		assert_int_equal(poll(&p, 1, HARNESS_DEADLINE_MS), 1);
		assert_true(n < sizeof bytes);
		got = read(fd, bytes + n, sizeof bytes - n);
		assert_true(got > 0);
		n += (size_t)got;
	}
}

static void ten_thousand_idle_clients_fit_into_64_MiB(void **state)
{
	int *fds = calloc(IDLE_CLIENTS, sizeof *fds);
	struct rlimit limit;
	int64_t used;

	assert_non_null(fds);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_max < IDLE_DESCRIPTORS) {
		print_message("needs %d descriptors in one process, ulimit -Hn allows %lu\n", IDLE_DESCRIPTORS, (unsigned long)limit.rlim_max);
		free(fds);
		skip();
	}
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int i = 0; i < IDLE_CLIENTS; i++) {
		fds[i] = idle_connect();
		idle_beat(fds[i], i);
		if (i >= 100) /* a hundred at a time */
			idle_answered(fds[i - 100], i - 100);
	}
	for (int i = IDLE_CLIENTS - 100; i < IDLE_CLIENTS; i++)
		idle_answered(fds[i], i);
	used = memory();
	print_message("# figure: %d idle clients with heartbeats: %.1f MiB resident, at most %d\n", IDLE_CLIENTS, (double)used / (1 << 20),
		      IDLE_BYTES >> 20);
	if (!HAS_SANITIZER)
		assert_true(used <= IDLE_BYTES);
	assert_serves_others("Idle");
	for (int i = 0; i < IDLE_CLIENTS; i++)
		close(fds[i]);
	free(fds);
	assert_serves_others("Idle");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_floods_the_broker_with_sends_does_not_keep_others_waiting),
		TEST(who_floods_and_does_not_read_is_stopped_alone),
		TEST(who_parks_pulls_without_end_does_not_keep_others_waiting),
	};
	/* On brokers of their own. */
	const struct CMUnitTest alone[] = {
		cmocka_unit_test_setup_teardown(ten_thousand_idle_clients_fit_into_64_MiB, start_daemon, stop_daemon),
		cmocka_unit_test_setup_teardown(a_send_that_the_disk_does_not_have_in_time_is_told_so, start_with_slow_sync, end_gated),
		cmocka_unit_test_setup_teardown(what_is_no_send_is_done_when_the_disk_is_late, start_with_slow_sync, end_gated),
		cmocka_unit_test_setup_teardown(while_the_disk_stands_changes_wait_and_nobody_else_does, start_watched, end_gated),
		cmocka_unit_test_setup_teardown(while_a_write_hangs_sends_are_refused_and_the_rest_is_served, start_with_slow_write, end_gated),
	};

	return cmocka_run_group_tests(alone, NULL, NULL) + cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
