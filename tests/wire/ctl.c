/* mqctl against a real NameServer and a real broker: what it prints and how it ends. */
#include "tests/wire/messages.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>

static struct harness_daemon *namesrv_;

/* One run of mqctl. */
struct run {
	int status;      /* exit status, or 1000 + signal */
	char out[65536]; /* standard output, cut */
	char err[16384]; /* standard error, cut */
};

/* A run in the background, its standard output in a pipe, standard error in a file. */
struct background {
	pid_t pid;
	int fd, err;
	size_t n;
	char out[65536];
};

enum { ARGS_MAX = 32 };

static const char *program(void)
{
	const char *path = getenv("MQCTL");

	assert_non_null(path);
	return path;
}

static pid_t spawn(const char *const *args, int in, int out, int err)
{
	const char *argv[ARGS_MAX + 2] = { program() };
	pid_t pid;

	for (unsigned i = 0; args[i]; i++) {
		assert_true(i < ARGS_MAX);
		argv[i + 1] = args[i];
	}
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nobody behind */
		dup2(in, STDIN_FILENO);
		dup2(out, STDOUT_FILENO);
		dup2(err, STDERR_FILENO);
		execv(argv[0], (char *const *)argv);
		_exit(127);
	}
	return pid;
}

static int end_of(pid_t pid)
{
	int64_t until = milliseconds() + HARNESS_DEADLINE_MS;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (milliseconds() >= until) {
			kill(pid, SIGKILL);
			fail_msg("mqctl did not end");
		}
		poll(NULL, 0, 5);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int temporary(const char *content)
{
	char path[] = "/tmp/wire-ctl-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	assert_true(fd >= 0);
	unlink(path);
	if (content)
		assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void read_back(int fd, char *out, size_t size)
{
	ssize_t n = pread(fd, out, size - 1, 0);

	assert_true(n >= 0);
	out[n] = '\0';
	close(fd);
}

/* Runs mqctl with these arguments, with the NameServer's local socket unless `with_namesrv` is false. */
static const struct run *run_args(bool with_namesrv, const char *input, const char *const *args)
{
	static struct run run;
	int in = temporary(input), out = temporary(NULL), err = temporary(NULL);
	char address[128];

	snprintf(address, sizeof address, "unix:%s", namesrv_->local);
	if (with_namesrv)
		setenv("NAMESRV_ADDR", address, 1);
	else
		unsetenv("NAMESRV_ADDR");
	run.status = end_of(spawn(args, in, out, err));
	close(in);
	read_back(out, run.out, sizeof run.out);
	read_back(err, run.err, sizeof run.err);
	return &run;
}

#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define mqctl(...) run_args(true, NULL, ARGS(__VA_ARGS__))
#define mqctl_with_input(input, ...) run_args(true, input, ARGS(__VA_ARGS__))

static const struct run *assert_ok(const struct run *run)
{
	if (run->status != 0)
		print_message("standard error: %s\n", run->err);
	assert_int_equal(run->status, 0);
	return run;
}

static void start_background(struct background *b, const char *const *args)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), pipes[2];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	*b = (struct background){ .fd = pipes[0], .err = temporary(NULL) };
	b->pid = spawn(args, null, pipes[1], b->err);
	close(pipes[1]);
	close(null);
}

/* As start_background(), with a terminal for its output: there it tells more. */
static void start_at_terminal(struct background *b, const char *const *args)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	struct termios raw;

	assert_true(null >= 0 && master >= 0);
	assert_int_equal(grantpt(master) | unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(slave >= 0);
	assert_int_equal(tcgetattr(slave, &raw), 0);
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
	*b = (struct background){ .fd = master, .err = temporary(NULL) };
	b->pid = spawn(args, null, slave, b->err);
	close(slave);
	close(null);
}

static unsigned count_lines(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* Reads what is there; waits at most `timeout_ms` for more. */
static void background_read(struct background *b, int timeout_ms)
{
	struct pollfd p = { .fd = b->fd, .events = POLLIN };

	if (poll(&p, 1, timeout_ms) <= 0)
		return;
	ssize_t n = read(b->fd, b->out + b->n, sizeof b->out - 1 - b->n);

	assert_true(n >= 0);
	b->n += (size_t)n;
}

static void background_wait_lines(struct background *b, unsigned n)
{
	int64_t until = milliseconds() + HARNESS_DEADLINE_MS;

	while (count_lines(b->out) < n) {
		assert_true(milliseconds() < until);
		background_read(b, 100);
	}
}

/* Waits until it said one of these on its standard error. */
static void background_wait_errors(struct background *b, const char *text, const char *or_text)
{
	int64_t until = milliseconds() + HARNESS_DEADLINE_MS;
	char err[4096];

	do {
		ssize_t n = pread(b->err, err, sizeof err - 1, 0);

		assert_true(n >= 0 && milliseconds() < until);
		err[n < 0 ? 0 : n] = '\0'; /* -O3 does not know that the line above ends it */
		poll(NULL, 0, 10);
	} while (!strstr(err, text) && !strstr(err, or_text));
}

static void background_wait_error(struct background *b, const char *text)
{
	background_wait_errors(b, text, text);
}

static int background_end(struct background *b, int signal)
{
	int status;

	if (signal)
		kill(b->pid, signal);
	status = end_of(b->pid);
	close(b->fd);
	close(b->err);
	return status;
}

static json_t *json_of(const struct run *run)
{
	json_error_t error;
	json_t *json = json_loads(run->out, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);

	if (!json)
		fail_msg("not strict JSON: %s: %s", error.text, run->out);
	return json;
}

static void assert_error(const struct run *run, int status, const char *text)
{
	if (!strstr(run->err, text))
		fail_msg("'%s' is not in: %s", text, run->err);
	assert_int_equal(run->status, status);
}

/* The broker has registered with the NameServer. */
static void wait_registered(void)
{
	struct harness_peer *p = harness_connect(namesrv_);
	int64_t until = milliseconds() + HARNESS_DEADLINE_MS;
	char port[16];

	snprintf(port, sizeof port, ":%u\"", daemon_->port);
	while (!strstr(harness_body(harness_ask(p, MQ_GET_BROKER_CLUSTER_INFO, NULL)), port)) {
		assert_true(milliseconds() < until);
		poll(NULL, 0, 5);
	}
	harness_close(p);
}

static void start_broker(const char *address)
{
	char set[160], ip[64];
	const char *sets[] = { set, ip, NULL };

	snprintf(set, sizeof set, "namesrvAddr=unix:%s", namesrv_->local);
	snprintf(ip, sizeof ip, "brokerIP1=%s", address);
	daemon_ = harness_start(HARNESS_BROKER, sets);
	wait_registered();
}

static int start_daemons(void **state)
{
	namesrv_ = harness_start(HARNESS_NAMESRV, NULL);
	start_broker("127.0.0.1");
	return 0;
}

static int stop_daemons(void **state)
{
	stop_daemon(state);
	harness_stop(namesrv_);
	namesrv_ = harness_free(namesrv_);
	return 0;
}

/* --- messages --- */

static void what_was_sent_is_read_back(void **state)
{
	const struct run *run;

	assert_ok(mqctl("topic", "create", "readback", "--queues", "2"));
	assert_ok(mqctl("send", "readback", "first", "--tag", "TagA", "--key", "k1", "--key", "k2", "-p",
			"shop=berlin"));
	assert_ok(mqctl_with_input("second", "send", "readback"));
	run = assert_ok(mqctl("tail", "readback"));
	assert_int_equal(count_lines(run->out), 2);
	assert_non_null(strstr(run->out, "  tag=TagA  keys=k1 k2  first\n"));
	assert_non_null(strstr(run->out, "  second\n"));
	assert_true(strstr(run->out, "first") < strstr(run->out, "second"));

	run = assert_ok(mqctl("tail", "readback", "--from-beginning", "--tag", "TagA || TagB", "-o", "json"));
	json_t *json = json_of(run);

	assert_string_equal(json_string_value(json_object_get(json, "body")), "first");
	assert_string_equal(json_string_value(json_object_get(json_object_get(json, "properties"), "shop")),
			    "berlin");
	assert_string_equal(json_string_value(json_object_get(json, "topic")), "readback");
	json_decref(json);
}

static void every_line_of_the_input_is_a_message(void **state)
{
	const struct run *run;
	char input[8192] = "\n";
	size_t n = 1;

	for (int i = 0; i < 200; i++)
		n += (size_t)snprintf(input + n, sizeof input - n, "line %d\n", i);
	run = assert_ok(mqctl_with_input(input, "send", "lines", "--lines"));
	assert_int_equal(count_lines(run->out), 200); /* the empty one is none */
	run = assert_ok(mqctl("tail", "lines", "--from-beginning", "--raw"));
	assert_int_equal(count_lines(run->out), 200);
	for (int i = 0; i < 200; i++) {
		char wanted[32];

		snprintf(wanted, sizeof wanted, "line %d\n", i);
		assert_non_null(strstr(run->out, wanted));
	}
	run = assert_ok(mqctl("tail", "lines", "--count", "3", "--raw"));
	assert_int_equal(count_lines(run->out), 3);
	run = assert_ok(mqctl("tail", "lines", "--from-beginning", "--count", "7", "--raw"));
	assert_int_equal(count_lines(run->out), 7);
	run = assert_ok(mqctl("tail", "lines", "--from", "-1h", "--raw"));
	assert_int_equal(count_lines(run->out), 200);
	run = assert_ok(mqctl("tail", "lines", "--from", "2099-01-01", "--raw"));
	assert_int_equal(count_lines(run->out), 0);
}

static void a_queue_can_be_chosen_for_both(void **state)
{
	const struct run *run;

	assert_ok(mqctl("topic", "create", "chosen", "--queues", "4"));
	run = assert_ok(mqctl("send", "chosen", "x", "--queue", "3", "--count", "5"));
	assert_int_equal(count_lines(run->out), 5);
	run = assert_ok(mqctl("tail", "chosen", "--queue", "3", "--raw"));
	assert_int_equal(count_lines(run->out), 5);
	run = assert_ok(mqctl("tail", "chosen", "--queue", "2", "--raw"));
	assert_int_equal(count_lines(run->out), 0);
	assert_error(mqctl("tail", "chosen", "--queue", "9"), 66, "topic chosen has no queue 9");
}

static void bodies_that_are_no_text_survive(void **state)
{
	const struct run *run;

	assert_ok(mqctl("send", "binary", "\xff\x01"));
	run = assert_ok(mqctl("tail", "binary", "-o", "json"));
	assert_non_null(strstr(run->out, "\"bodyBase64\":\"/wE=\""));
}

static void enable_property_filter(void)
{
	FILE *f = fopen(daemon_->config, "w");

	assert_non_null(f);
	fputs("enablePropertyFilter=true\n", f);
	fclose(f);
	assert_int_equal(kill(daemon_->pid, SIGHUP), 0);
	harness_wait_notify(daemon_, "RELOADING=1");
	harness_wait_notify(daemon_, "READY=1");
}

static void tail_filters_by_properties(void **state)
{
	const struct run *run;

	assert_ok(mqctl("topic", "create", "filtered", "--queues", "1"));
	assert_ok(mqctl("send", "filtered", "cheap", "-p", "price=5"));
	assert_ok(mqctl("send", "filtered", "dear", "-p", "price=50", "--tag", "TagA"));
	assert_ok(mqctl("send", "filtered", "free"));
	assert_error(mqctl("tail", "filtered", "--filter", "price > 10"), 1, "set enablePropertyFilter=true in its configuration");
	enable_property_filter();

	run = assert_ok(mqctl("tail", "filtered", "--filter", "price > 10", "--raw"));
	assert_string_equal(run->out, "dear\n");
	run = assert_ok(mqctl("tail", "filtered", "--from-beginning", "-F", "price < 10 OR price IS NULL", "--raw"));
	assert_string_equal(run->out, "cheap\nfree\n");
	run = assert_ok(mqctl("tail", "filtered", "-F", "TAGS = 'TagB'", "--raw"));
	assert_string_equal(run->out, "");
	run = assert_ok(mqctl("tail", "filtered", "--group", "filterers", "--from-beginning", "-c", "2", "-r", "-F", "price IS NULL OR price = 50"));
	assert_string_equal(run->out, "dear\nfree\n");

	/* A pull would bring everything, a member of a group would get nothing. */
	assert_error(mqctl("tail", "filtered", "--filter", "price >"), 64, "--filter: ");
	assert_error(mqctl("tail", "filtered", "--filter", "price >"), 64, "the expression ends where");
	assert_error(mqctl("tail", "filtered", "--group", "filterers", "--filter", "price > 'x'"), 64, "--filter: ");
	assert_error(mqctl("tail", "filtered", "--filter", "a = 1", "--tag", "TagA"), 64, "exclude each other");
}

static void tail_follows_over_a_restart_of_the_broker(void **state)
{
	struct background tail;

	assert_ok(mqctl("topic", "create", "follow"));
	start_background(&tail, ARGS("tail", "follow", "-f", "--from-beginning", "--count", "2", "--raw"));
	assert_ok(mqctl("send", "follow", "before"));
	background_wait_lines(&tail, 1);
	harness_kill(daemon_);
	/* With its broker the topic is away from the routes: no reason to give up. */
	background_wait_error(&tail, "topic follow does not exist; trying again");
	harness_restart(daemon_);
	wait_registered();
	assert_ok(mqctl("send", "follow", "after"));
	background_wait_lines(&tail, 2);
	assert_int_equal(background_end(&tail, 0), 0);
	assert_string_equal(tail.out, "before\nafter\n");
}

/* --- groups --- */

static unsigned members_of(const char *group)
{
	const struct run *run = assert_ok(mqctl("group", "list", "-o", "json"));
	json_t *json = json_of(run), *one;
	unsigned n = 0;
	size_t i;

	json_array_foreach(json, i, one)
		if (strcmp(json_string_value(json_object_get(one, "group")), group) == 0)
			n = (unsigned)json_integer_value(json_object_get(one, "members"));
	json_decref(json);
	return n;
}

static void members_share_the_queues_and_commit(void **state)
{
	struct background members[2];
	const struct run *run;
	char input[4096];
	size_t n = 0;
	int64_t until;

	for (int i = 0; i < 160; i++)
		n += (size_t)snprintf(input + n, sizeof input - n, "m%03d\n", i);
	assert_ok(mqctl("topic", "create", "shared", "--queues", "8"));
	/* Nothing is sent while the first still has queues that the second takes over: it would come to both. The one whose id comes first
	 * has the queue of the retry topic, too. */
	start_at_terminal(&members[0], ARGS("tail", "shared", "--group", "sharers", "--raw"));
	background_wait_errors(&members[0], ": 8 queues, 1 members", ": 9 queues, 1 members");
	start_at_terminal(&members[1], ARGS("tail", "shared", "--group", "sharers", "--raw"));
	for (int i = 0; i < 2; i++)
		background_wait_errors(&members[i], ": 4 queues, 2 members", ": 5 queues, 2 members");
	assert_int_equal(members_of("sharers"), 2);
	assert_ok(mqctl_with_input(input, "send", "shared", "--lines"));
	until = milliseconds() + HARNESS_DEADLINE_MS;
	while (count_lines(members[0].out) + count_lines(members[1].out) < 160) {
		assert_true(milliseconds() < until);
		for (int i = 0; i < 2; i++)
			background_read(&members[i], 20);
	}
	for (int i = 0; i < 2; i++)
		assert_int_equal(background_end(&members[i], SIGINT), 130);
	for (int i = 0; i < 160; i++) {
		char wanted[8];

		snprintf(wanted, sizeof wanted, "m%03d\n", i);
		assert_true(!strstr(members[0].out, wanted) != !strstr(members[1].out, wanted));
	}

	/* Both left properly: nothing is behind, nobody is there. */
	assert_int_equal(members_of("sharers"), 0);
	run = assert_ok(mqctl("group", "lag", "sharers", "--topic", "shared", "--total"));
	assert_string_equal(run->out, "shared 8 0\n");
}

/* A consumer that says in its heartbeat what it subscribes to. */
static struct harness_peer *describe_join(const char *client, const char *subscriptions)
{
	struct harness_peer *p = harness_connect_tcp(daemon_);
	struct mq_command cmd;
	char body[1024];

	snprintf(body, sizeof body, "{\"clientID\":\"%s\",\"consumerDataSet\":[{\"groupName\":\"described\",\"subscriptionDataSet\":[%s]}]}", client,
		 subscriptions);
	harness_request(&cmd, MQ_HEART_BEAT, NULL);
	cmd.version = 409;
	cmd.body = mq_slice_of(body);
	harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	return p;
}

static void assert_row(json_t *rows, size_t i, const char *client, const char *topic, const char *expression, const char *differs)
{
	json_t *row = json_array_get(rows, i);

	assert_non_null(row);
	assert_string_equal(json_string_value(json_object_get(row, "clientId")), client);
	assert_string_equal(json_string_value(json_object_get(row, "topic")), topic);
	if (expression)
		assert_string_equal(json_string_value(json_object_get(row, "expression")), expression);
	else
		assert_true(json_is_null(json_object_get(row, "expression")));
	assert_string_equal(json_string_value(json_object_get(row, "differs")), differs);
	assert_string_equal(json_string_value(json_object_get(row, "version")), "V4_9_8");
	assert_int_equal(strncmp(json_string_value(json_object_get(row, "address")), "127.0.0.1:", 10), 0);
}

static void a_group_is_described_with_who_differs(void **state)
{
	struct harness_peer *a = describe_join("a", "{\"topic\":\"T\",\"subString\":\"x || y\"},{\"topic\":\"U\",\"subString\":\"*\"}");
	struct harness_peer *b = describe_join("b", "{\"topic\":\"T\",\"subString\":\"y||x\"},{\"topic\":\"U\"}"), *c;
	json_t *rows = json_of(assert_ok(mqctl("group", "describe", "described", "-o", "json")));
	int64_t until = milliseconds() + HARNESS_DEADLINE_MS;
	const struct run *run;

	assert_int_equal(json_array_size(rows), 4);
	assert_row(rows, 0, "a", "T", "x || y", "no");
	assert_row(rows, 1, "a", "U", "*", "no");
	assert_row(rows, 2, "b", "T", "x || y", "no");
	assert_row(rows, 3, "b", "U", "*", "no");
	json_decref(rows);
	run = assert_ok(mqctl("group", "describe", "described", "-o", "table"));
	assert_null(strstr(run->out, "the members differ"));

	c = describe_join("c", "{\"topic\":\"T\",\"subString\":\"x\"}");
	rows = json_of(assert_ok(mqctl("group", "describe", "described", "-o", "json")));
	assert_int_equal(json_array_size(rows), 6);
	assert_row(rows, 0, "a", "T", "x || y", "no"); /* as most have it */
	assert_row(rows, 3, "b", "U", "*", "no");
	assert_row(rows, 4, "c", "T", "x", "yes");
	assert_row(rows, 5, "c", "U", NULL, "yes");
	json_decref(rows);
	run = assert_ok(mqctl("group", "describe", "described", "-o", "table"));
	assert_non_null(strstr(run->out, "the members differ in what they subscribe to"));

	/* Two against each other: nobody is in the right. */
	harness_close(b);
	while (members_of("described") > 2)
		assert_true(milliseconds() < until);
	rows = json_of(assert_ok(mqctl("group", "describe", "described", "-o", "json")));
	assert_int_equal(json_array_size(rows), 4);
	assert_row(rows, 0, "a", "T", "x || y", "yes");
	assert_row(rows, 1, "a", "U", "*", "yes");
	assert_row(rows, 2, "c", "T", "x", "yes");
	assert_row(rows, 3, "c", "U", NULL, "yes");
	json_decref(rows);
	harness_close(a);
	harness_close(c);
	assert_error(mqctl("group", "describe", "nobody-there"), 66, "nobody-there has no members");
}

static void a_group_goes_on_where_it_was(void **state)
{
	const struct run *run;

	assert_ok(mqctl("topic", "create", "goeson", "--queues", "1"));
	assert_ok(mqctl_with_input("1\n2\n3\n4\n5\n", "send", "goeson", "--lines", "--queue", "0"));
	run = assert_ok(mqctl("tail", "goeson", "-g", "goers", "--from-beginning", "-c", "2", "-r"));
	assert_string_equal(run->out, "1\n2\n");
	run = assert_ok(mqctl("group", "lag", "goers", "-t", "goeson", "--total"));
	assert_string_equal(run->out, "goeson 1 3\n");
	run = assert_ok(mqctl("tail", "goeson", "-g", "goers", "--from-beginning", "-c", "3", "-r"));
	assert_string_equal(run->out, "3\n4\n5\n");
}

/* --- administration --- */

static void topics_are_created_listed_described_and_deleted(void **state)
{
	const struct run *run;
	json_t *json;

	run = assert_ok(mqctl("topic", "create", "life", "-q", "3", "--perm", "r"));
	assert_string_equal(strrchr(run->out, ' '), " r-\n");
	run = assert_ok(mqctl("topic", "list"));
	assert_non_null(strstr(run->out, "life 1 3 3 r-\n"));
	assert_null(strstr(run->out, "TBW102"));
	run = assert_ok(mqctl("topic", "list", "--all"));
	assert_non_null(strstr(run->out, "TBW102"));
	run = assert_ok(mqctl("topic", "describe", "life", "-o", "json"));
	json = json_of(run);
	assert_int_equal(json_array_size(json), 3);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(json, 2), "queueId")), 2);
	json_decref(json);
	assert_error(mqctl("send", "life", "x"), 77,
		     "no queue that takes messages: see its permission with 'mqctl topic list'");
	assert_ok(mqctl("topic", "delete", "life"));
	assert_error(mqctl("topic", "describe", "life"), 66, "topic life does not exist");
	assert_error(mqctl("topic", "delete", "life"), 66, "topic life does not exist");
}

static void a_name_that_is_not_allowed_is_told(void **state)
{
	assert_error(mqctl("topic", "create", "bad name"), 1, "INVALID_PARAMETER");
	assert_error(mqctl("topic", "create", "x", "--cluster", "nocluster"), 66,
		     "no broker of cluster nocluster");
}

static void cluster_and_ping_show_everybody(void **state)
{
	const struct run *run;
	json_t *json;

	run = assert_ok(mqctl("cluster", "-o", "json"));
	json = json_of(run);
	assert_int_equal(json_array_size(json), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(json, 0), "state")), "up");
	assert_string_equal(json_string_value(json_object_get(json_array_get(json, 0), "version")),
			    MQ_VERSION_DESC);
	json_decref(json);
	run = assert_ok(mqctl("ping", "-o", "table"));
	assert_memory_equal(run->out, "SERVER ", 7);
	assert_int_equal(count_lines(run->out), 3);
}

static void a_broker_can_be_asked_directly(void **state)
{
	char local[128];
	const char *addresses[] = { daemon_->address, local };
	const struct run *run;

	snprintf(local, sizeof local, "unix:%s", daemon_->local);
	for (unsigned i = 0; i < 2; i++) {
		assert_ok(run_args(false, NULL,
				   ARGS("topic", "create", "direct", "-b", addresses[i], "-q", "1")));
		assert_ok(run_args(false, NULL, ARGS("send", "direct", "hello", "-b", addresses[i])));
		run = assert_ok(
			run_args(false, NULL, ARGS("tail", "direct", "-b", addresses[i], "-r", "-c", "1")));
		assert_string_equal(run->out, "hello\n");
		assert_ok(run_args(false, NULL, ARGS("ping", "-b", addresses[i])));
		assert_ok(run_args(false, NULL, ARGS("topic", "list", "-b", addresses[i])));
	}
}

/* --- failures --- */

static void the_hop_that_failed_is_named_with_a_cure(void **state)
{
	char missing[160];

	snprintf(missing, sizeof missing, "unix:%s.missing", namesrv_->local);
	assert_error(mqctl("topic", "list", "-n", missing), 69, "NameServer unix:");
	assert_error(mqctl("topic", "list", "-n", missing), 69, "is mq-namesrvd running?");
	assert_error(mqctl("tail", "no-such-topic"), 66, "create it with 'mqctl topic create'");
	assert_error(mqctl("group", "lag", "no-such-group"), 66, "no-such-group");
	assert_error(mqctl("send", "x"), 64, "the body is empty");
	assert_error(mqctl("send", "x", "body", "--file", "/nonexistent"), 64, "given twice");
	assert_error(mqctl("send", "x", "--file", "/nonexistent"), 66, "/nonexistent: No such file");
	assert_error(mqctl("nonsense"), 64, "there is no 'nonsense'");
	assert_error(mqctl("topic", "nonsense"), 64, "say one of topic create");
	assert_error(mqctl("send"), 64, "TOPIC [BODY] is missing");
	assert_error(mqctl("tail", "x", "--from", "never"), 64, "--from never");
	assert_error(mqctl("topic", "list", "-n", "no port"), 64, "no port");
}

static void a_server_that_says_nothing_is_a_timeout(void **state)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t n = sizeof sa;
	char address[64];

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
	snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(sa.sin_port));
	assert_error(mqctl("topic", "list", "-n", address, "--timeout", "100ms"), 75,
		     "no answer in time: raise --timeout");
	close(fd);
}

static void the_next_namesrv_helps_out(void **state)
{
	char list[256];

	snprintf(list, sizeof list, "127.0.0.1:1;unix:%s", namesrv_->local);
	assert_ok(mqctl("topic", "list", "-n", list));
	/* ping tells about each. */
	assert_error(mqctl("ping", "-n", list), 69, "NameServer 127.0.0.1:1");
}

/* --- bench --- */

static void measurements_are_printed_as_json(void **state)
{
	const struct run *run;
	json_t *json, *result;

	run = assert_ok(mqctl("bench", "produce", "-t", "bench", "--messages", "500", "--size", "100", "-o",
			      "json", "--quiet"));
	json = json_of(run);
	result = json_object_get(json, "result");
	assert_int_equal(json_integer_value(json_object_get(result, "messages")), 500);
	assert_int_equal(json_integer_value(json_object_get(result, "errors")), 0);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(result, "latencyMs"), "count")),
			 500);
	assert_true(json_number_value(json_object_get(json_object_get(result, "latencyMs"), "p99")) > 0);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "parameters"), "size")), 100);
	json_decref(json);

	assert_ok(mqctl("bench", "produce", "-t", "bench", "--messages", "320", "--batch", "16", "--quiet"));
	run = assert_ok(mqctl("bench", "consume", "-t", "bench", "-o", "json", "--quiet"));
	json = json_of(run);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "result"), "messages")), 820);
	json_decref(json);
	assert_error(mqctl("bench", "consume", "-t", "no-such-topic"), 66, "does not exist");
	assert_ok(mqctl("topic", "create", "emptybench"));
	assert_error(mqctl("bench", "consume", "-t", "emptybench"), 66, "fill it with");
}

static int64_t messages_in(const char *topic)
{
	json_t *json = json_of(assert_ok(mqctl("bench", "consume", "-t", topic, "-o", "json", "--quiet")));
	int64_t n = json_integer_value(json_object_get(json_object_get(json, "result"), "messages"));

	json_decref(json);
	return n;
}

static void a_load_goes_to_several_topics_and_is_told_by_the_second(void **state)
{
	json_t *json, *slices, *slice;
	int64_t sum = 0;
	size_t i;

	json = json_of(assert_ok(mqctl("bench", "produce", "-t", "many", "--topics", "2", "--queues", "3",
				       "--connections", "2", "--messages", "600", "--slices", "-o", "json",
				       "--quiet")));
	slices = json_object_get(json_object_get(json, "result"), "slices");
	assert_true(json_array_size(slices) > 0);
	json_array_foreach(slices, i, slice)
	{
		sum += json_integer_value(json_object_get(slice, "messages"));
		assert_true(json_number_value(json_object_get(slice, "max")) >=
			    json_number_value(json_object_get(slice, "p999")));
	}
	assert_int_equal(sum, 600);
	json_decref(json);
	assert_int_equal(messages_in("many-1"), 300);
	assert_int_equal(messages_in("many-2"), 300);
	assert_error(mqctl("bench", "consume", "-t", "many"), 66, "does not exist");
	json = json_of(assert_ok(mqctl("topic", "describe", "many-2", "-o", "json")));
	assert_int_equal(json_array_size(json), 3);
	json_decref(json);
}

static void random_bodies_differ(void **state)
{
	const struct run *run;
	const char *first, *second;

	assert_ok(mqctl("bench", "produce", "-t", "random", "--queues", "1", "--connections", "1", "--size", "40",
			"--messages", "2", "--random", "--quiet"));
	run = assert_ok(mqctl("tail", "random", "--from-beginning", "-o", "json"));
	first = strstr(run->out, "bodyBase64");
	assert_non_null(first);
	second = strstr(first + 1, "bodyBase64");
	assert_non_null(second);
	assert_memory_not_equal(first, second, strlen("bodyBase64\":\"") + 40);
}

static void a_rate_is_kept_and_everything_arrives(void **state)
{
	const struct run *run;
	json_t *json, *result;
	double messages;

	run = assert_ok(mqctl("bench", "e2e", "-t", "e2ebench", "--rate", "400", "--duration", "500ms",
			      "--warmup", "100ms", "--size", "64", "-o", "json"));
	json = json_of(run);
	result = json_object_get(json, "result");
	messages = json_number_value(json_object_get(result, "messages"));
	assert_int_equal(json_integer_value(json_object_get(result, "lost")), 0);
	assert_int_equal(json_integer_value(json_object_get(result, "errors")), 0);
	assert_true(messages > 100);
	assert_true(json_number_value(json_object_get(json_object_get(result, "latencyMs"), "count")) ==
		    messages);
	json_decref(json);
}

/* --- local sockets; last, since it replaces the broker --- */

static void a_broker_of_this_machine_is_reached_through_its_socket(void **state)
{
	harness_stop(daemon_);
	daemon_ = harness_free(daemon_);
	start_broker("192.0.2.1"); /* an address that nobody has: only the socket can work */
	assert_ok(mqctl("send", "local", "hello"));
}

static void without_the_socket_tcp_is_used(void **state)
{
	harness_stop(daemon_);
	daemon_ = harness_free(daemon_);
	start_broker("127.0.0.1");
	assert_ok(mqctl("topic", "create", "tcp"));
	assert_int_equal(unlink(daemon_->local), 0);
	assert_ok(mqctl("send", "tcp", "hello"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_sent_is_read_back),
		cmocka_unit_test(every_line_of_the_input_is_a_message),
		cmocka_unit_test(a_queue_can_be_chosen_for_both),
		cmocka_unit_test(bodies_that_are_no_text_survive),
		cmocka_unit_test(tail_filters_by_properties),
		cmocka_unit_test(tail_follows_over_a_restart_of_the_broker),
		cmocka_unit_test(members_share_the_queues_and_commit),
		cmocka_unit_test(a_group_is_described_with_who_differs),
		cmocka_unit_test(a_group_goes_on_where_it_was),
		cmocka_unit_test(topics_are_created_listed_described_and_deleted),
		cmocka_unit_test(a_name_that_is_not_allowed_is_told),
		cmocka_unit_test(cluster_and_ping_show_everybody),
		cmocka_unit_test(a_broker_can_be_asked_directly),
		cmocka_unit_test(the_hop_that_failed_is_named_with_a_cure),
		cmocka_unit_test(a_server_that_says_nothing_is_a_timeout),
		cmocka_unit_test(the_next_namesrv_helps_out),
		cmocka_unit_test(measurements_are_printed_as_json),
		cmocka_unit_test(a_load_goes_to_several_topics_and_is_told_by_the_second),
		cmocka_unit_test(random_bodies_differ),
		cmocka_unit_test(a_rate_is_kept_and_everything_arrives),
		cmocka_unit_test(a_broker_of_this_machine_is_reached_through_its_socket),
		cmocka_unit_test(without_the_socket_tcp_is_used),
	};

	return cmocka_run_group_tests(tests, start_daemons, stop_daemons);
}
