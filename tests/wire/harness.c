#include "tests/wire/harness.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { OUTPUT_TAIL = 4000 /* bytes of a failed daemon's error output that are printed */ };

static const struct {
	const char *environment, *name, *socket_names;
	int n_sockets;
} programs[] = {
	[HARNESS_NAMESRV] = { "MQ_NAMESRVD", "mq-namesrvd", "namesrv", 1 },
	[HARNESS_BROKER] = { "MQ_BROKERD", "mq-brokerd", "broker:broker-fast", 2 },
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const char *program_path(enum harness_program program)
{
	const char *path = getenv(programs[program].environment);

	if (!path)
		fail_msg("%s is not set: run this through meson test", programs[program].environment);
	return path;
}

/* --- directory ----------------------------------------------------------------------------------------------------- */

static void remove_tree(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path);

	while (dir && (entry = readdir(dir))) {
		char below[512];
		struct stat st;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
		if (lstat(below, &st) == 0 && S_ISDIR(st.st_mode))
			remove_tree(below);
		else
			unlink(below);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

static void print_output(const struct harness_daemon *d)
{
	char path[128], text[OUTPUT_TAIL + 1];
	size_t n;
	FILE *f;

	snprintf(path, sizeof path, "%s/stderr", d->directory);
	f = fopen(path, "r");
	if (!f)
		return;
	if (fseek(f, -OUTPUT_TAIL, SEEK_END) < 0)
		rewind(f);
	n = fread(text, 1, OUTPUT_TAIL, f);
	text[n] = '\0';
	fclose(f);
	print_error("--- error output of %s:\n%s\n---\n", programs[d->program].name, text);
}

const char *harness_log(const struct harness_daemon *d)
{
	static char text[1 << 16];
	char path[128];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof path, "%s/stderr", d->directory);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = '\0';
	return text;
}

/* --- the process --------------------------------------------------------------------------------------------------- */

static int open_listener(uint16_t *ret_port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t n = sizeof at;

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(fd, 1024), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
	*ret_port = ntohs(at.sin_port);
	return fd;
}

static void open_notify(struct harness_daemon *d)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	snprintf(at.sun_path, sizeof at.sun_path, "%s/notify", d->directory);
	d->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(d->notify >= 0);
	assert_int_equal(bind(d->notify, (struct sockaddr *)&at, sizeof at), 0);
}

static void add_set(struct harness_daemon *d, unsigned *n, const char *fmt, ...) _printf_(3, 4);

static void add_set(struct harness_daemon *d, unsigned *n, const char *fmt, ...)
{
	va_list ap;

	d->sets = realloc(d->sets, (*n + 2) * sizeof *d->sets);
	assert_non_null(d->sets);
	va_start(ap, fmt);
	assert_true(vasprintf(&d->sets[(*n)++], fmt, ap) >= 0);
	va_end(ap);
	d->sets[*n] = NULL;
}

static void gather_sets(struct harness_daemon *d, const char *const *sets)
{
	unsigned n = 0;

	add_set(d, &n, "listenPort=%u", d->port);
	add_set(d, &n, "localSocket=%s", d->local);
	if (d->program == HARNESS_NAMESRV) {
		add_set(d, &n, "kvConfigPath=%s/kvConfig.json", d->directory);
	} else {
		add_set(d, &n, "storePathRootDir=%s/store", d->directory);
		add_set(d, &n, "fastListenPort=%u", d->fast_port);
		add_set(d, &n, "brokerIP1=127.0.0.1");
		add_set(d, &n, "namesrvAddr=");
	}
	for (unsigned i = 0; sets && sets[i]; i++)
		add_set(d, &n, "%s", sets[i]);
}

/* In the child. The listeners become descriptors 3 and 4, as the service manager would pass them. */
static void pass_listeners(const struct harness_daemon *d)
{
	int n = programs[d->program].n_sockets, copies[2];
	char text[16];

	/* First out of the way: one of them may have the other's number. */
	for (int i = 0; i < n; i++)
		copies[i] = fcntl(d->listeners[i], F_DUPFD_CLOEXEC, 10);
	for (int i = 0; i < n; i++)
		if (dup2(copies[i], 3 + i) < 0)
			_exit(126);
	snprintf(text, sizeof text, "%d", (int)getpid());
	setenv("LISTEN_PID", text, 1);
	snprintf(text, sizeof text, "%d", n);
	setenv("LISTEN_FDS", text, 1);
	setenv("LISTEN_FDNAMES", programs[d->program].socket_names, 1);
}

static void child_exec(const struct harness_daemon *d)
{
	const char *path = program_path(d->program);
	char text[128], *argv[64] = { (char *)programs[d->program].name, "-c", (char *)d->config };
	unsigned n = 3;
	int out;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(text, sizeof text, "%s/stderr", d->directory);
	out = open(text, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (out < 0 || dup2(out, STDERR_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
		_exit(126);
	pass_listeners(d);
	snprintf(text, sizeof text, "%s/notify", d->directory);
	setenv("NOTIFY_SOCKET", text, 1);
	unsetenv("JOURNAL_STREAM");
	if (d->watchdog_us) {
		setenv("WATCHDOG_USEC", d->watchdog_us, 1);
		unsetenv("WATCHDOG_PID");
	} else {
		unsetenv("WATCHDOG_USEC");
	}
	for (unsigned i = 0; d->sets[i] && n + 3 < N_ELEMENTS(argv); i++) {
		argv[n++] = "-o";
		argv[n++] = d->sets[i];
	}
	execv(path, argv);
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	_exit(127);
}

/* Waits for a message on the notify socket that contains `text`. 0, -ETIMEDOUT, or -ESRCH when the process ended. */
static int wait_notify(struct harness_daemon *d, const char *text)
{
	_cleanup_(closep) int pidfd = (int)syscall(SYS_pidfd_open, d->pid, 0);
	int64_t deadline = now_ms() + HARNESS_DEADLINE_MS;

	for (;;) {
		struct pollfd fds[] = { { .fd = d->notify, .events = POLLIN }, { .fd = pidfd, .events = POLLIN } };
		int64_t left = deadline - now_ms();
		char message[1024], *status;
		ssize_t n;

		if (left <= 0 || poll(fds, 2, (int)left) == 0)
			return -ETIMEDOUT;
		if (!(fds[0].revents & POLLIN)) {
			if (fds[1].revents)
				return -ESRCH;
			continue;
		}
		n = recv(d->notify, message, sizeof message - 1, 0);
		if (n <= 0)
			continue;
		message[n] = '\0';
		status = strstr(message, "STATUS=");
		if (status)
			snprintf(d->status, sizeof d->status, "%.*s", (int)strcspn(status + 7, "\n"), status + 7);
		if (strstr(message, text))
			return 0;
	}
}

void harness_wait_notify(struct harness_daemon *d, const char *text)
{
	int r = wait_notify(d, text);

	if (r < 0) {
		print_output(d);
		fail_msg("%s did not notify '%s': %s", programs[d->program].name, text,
			 r == -ESRCH ? "it ended" : "deadline passed");
	}
}

static void spawn(struct harness_daemon *d)
{
	d->pid = fork();
	assert_true(d->pid >= 0);
	if (d->pid == 0)
		child_exec(d);
	harness_wait_notify(d, "READY=1");
}

struct harness_daemon *harness_start(enum harness_program program, const char *const *sets)
{
	struct harness_daemon *d = calloc(1, sizeof *d);

	assert_non_null(d);
	d->program = program;
	snprintf(d->directory, sizeof d->directory, "/tmp/mq-wire.XXXXXX");
	assert_non_null(mkdtemp(d->directory));
	snprintf(d->local, sizeof d->local, "%s/local.sock", d->directory);
	snprintf(d->config, sizeof d->config, "%s/daemon.conf", d->directory);
	assert_int_equal(close(open(d->config, O_WRONLY | O_CREAT, 0600)), 0);
	for (int i = 0; i < programs[program].n_sockets; i++)
		d->listeners[i] = open_listener(i == 0 ? &d->port : &d->fast_port);
	snprintf(d->address, sizeof d->address, "127.0.0.1:%u", d->port);
	open_notify(d);
	gather_sets(d, sets);
	spawn(d);
	return d;
}

void harness_restart(struct harness_daemon *d)
{
	assert_int_equal(d->pid, 0);
	spawn(d);
}

int harness_wait(struct harness_daemon *d)
{
	_cleanup_(closep) int pidfd = (int)syscall(SYS_pidfd_open, d->pid, 0);
	struct pollfd fd = { .fd = pidfd, .events = POLLIN };
	int status;

	if (poll(&fd, 1, HARNESS_DEADLINE_MS) != 1) {
		kill(d->pid, SIGABRT);
		waitpid(d->pid, &status, 0);
		d->pid = 0;
		print_output(d);
		fail_msg("%s did not end", programs[d->program].name);
	}
	assert_int_equal(waitpid(d->pid, &status, 0), d->pid);
	d->pid = 0;
	return status;
}

/* Not 0, which would be for all of this process's group. */
static void send_signal(const struct harness_daemon *d, int number)
{
	if (d->pid == 0)
		fail_msg("%s is not running", programs[d->program].name);
	kill(d->pid, number);
}

void harness_stop(struct harness_daemon *d)
{
	int status;

	send_signal(d, SIGTERM);
	status = harness_wait(d);
	if (status != 0) {
		print_output(d);
		fail_msg("%s ended with wait status %#x", programs[d->program].name, (unsigned)status);
	}
}

void harness_kill(struct harness_daemon *d)
{
	send_signal(d, SIGKILL);
	(void)harness_wait(d); /* killed, as asked for */
}

int harness_run(enum harness_program program, const char *const *args, char *ret_output, size_t size)
{
	const char *path = program_path(program), *argv[32] = { programs[program].name };
	size_t n = 0;
	int fds[2], status;
	ssize_t got;
	pid_t pid;

	for (unsigned i = 0; args[i] && i + 2 < N_ELEMENTS(argv); i++)
		argv[i + 1] = args[i];
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		unsetenv("JOURNAL_STREAM");
		execv(path, (char **)argv);
		_exit(127);
	}
	close(fds[1]);
	while (n + 1 < size && (got = read(fds[0], ret_output + n, size - n - 1)) > 0)
		n += (size_t)got;
	ret_output[n] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

struct harness_daemon *harness_free(struct harness_daemon *d)
{
	if (!d)
		return NULL;
	if (d->pid > 0) {
		int status;

		kill(d->pid, SIGTERM);
		status = harness_wait(d);
		if (status != 0) {
			print_output(d);
			print_error("%s ended with wait status %#x\n", programs[d->program].name, (unsigned)status);
		}
	}
	for (unsigned i = 0; d->sets && d->sets[i]; i++)
		free(d->sets[i]);
	free(d->sets);
	for (int i = 0; i < programs[d->program].n_sockets; i++)
		close(d->listeners[i]);
	close(d->notify);
	remove_tree(d->directory);
	free(d);
	return NULL;
}

/* --- peers --------------------------------------------------------------------------------------------------------- */

static struct harness_peer *peer_new(int fd)
{
	struct harness_peer *p = calloc(1, sizeof *p);
	struct timeval deadline = { .tv_sec = HARNESS_DEADLINE_MS / 1000 };

	assert_non_null(p);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline), 0);
	p->fd = fd;
	mq_frame_reader_init(&p->reader, MQ_FRAME_MAX_DEFAULT);
	STAILQ_INIT(&p->kept);
	return p;
}

struct harness_peer *harness_connect(const struct harness_daemon *d)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	snprintf(at.sun_path, sizeof at.sun_path, "%s", d->local);
	if (connect(fd, (struct sockaddr *)&at, sizeof at) < 0)
		fail_msg("cannot connect to %s: %s", d->local, strerror(errno));
	return peer_new(fd);
}

static struct harness_peer *connect_port(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&at, sizeof at) < 0)
		fail_msg("cannot connect to port %u: %s", port, strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return peer_new(fd);
}

struct harness_peer *harness_connect_tcp(const struct harness_daemon *d)
{
	return connect_port(d->port);
}

struct harness_peer *harness_connect_fast(const struct harness_daemon *d)
{
	return connect_port(d->fast_port);
}

struct harness_frame *harness_frame_free(struct harness_frame *f)
{
	if (f) {
		mq_frame_unref(f->frame);
		free(f);
	}
	return NULL;
}

struct harness_peer *harness_close(struct harness_peer *p)
{
	struct harness_frame *f;

	if (!p)
		return NULL;
	while ((f = STAILQ_FIRST(&p->kept))) {
		STAILQ_REMOVE_HEAD(&p->kept, link);
		harness_frame_free(f);
	}
	harness_frame_free(p->answer);
	mq_frame_reader_done(&p->reader);
	close(p->fd);
	free(p);
	return NULL;
}

static void add_fields(struct mq_command *cmd, va_list ap)
{
	const char *name;

	while ((name = va_arg(ap, const char *)))
		mq_command_add(cmd, name, mq_slice_of(va_arg(ap, const char *)));
}

void harness_request(struct mq_command *cmd, int code, ...)
{
	va_list ap;

	mq_command_request(cmd, code);
	va_start(ap, code);
	add_fields(cmd, ap);
	va_end(ap);
}

bool harness_send_raw(struct harness_peer *p, const void *bytes, size_t n)
{
	const char *at = bytes;

	while (n > 0) {
		ssize_t sent = send(p->fd, at, n, MSG_NOSIGNAL);

		if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
			return false;
		if (sent < 0)
			fail_msg("cannot send: %s", strerror(errno));
		at += sent;
		n -= (size_t)sent;
	}
	return true;
}

int32_t harness_send_all(struct harness_peer *p, struct mq_command *cmds, unsigned n)
{
	struct evbuffer *out = evbuffer_new();

	assert_non_null(out);
	for (unsigned i = 0; i < n; i++) {
		cmds[i].opaque = ++p->opaque;
		assert_int_equal(mq_command_encode(&cmds[i], NULL, out), 0);
	}
	if (!harness_send_raw(p, evbuffer_pullup(out, -1), evbuffer_get_length(out)))
		fail_msg("the daemon closed the connection");
	evbuffer_free(out);
	return p->opaque;
}

int32_t harness_send(struct harness_peer *p, struct mq_command *cmd)
{
	return harness_send_all(p, cmd, 1);
}

/* Reads the next frame; NULL when the daemon closed the connection. */
static struct harness_frame *peer_read(struct harness_peer *p)
{
	struct harness_frame *f;
	struct mq_error err = {};
	int r = 0;

	f = calloc(1, sizeof *f);
	assert_non_null(f);
	while (r == 0) {
		if (p->rest.n == 0) {
			ssize_t n;

			do /* with a time limit it ends when this process was stopped and goes on */
				n = recv(p->fd, p->buffer, sizeof p->buffer, 0);
			while (n < 0 && errno == EINTR);
			if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
				fail_msg("the daemon does not answer");
			if (n <= 0)
				return harness_frame_free(f);
			p->rest = (struct mq_slice){ p->buffer, (size_t)n };
		}
		r = mq_frame_reader_next(&p->reader, &p->rest, &f->frame);
		if (r < 0)
			fail_msg("the daemon sent a malformed frame: %s", strerror(-r));
	}
	if (mq_command_decode(&f->cmd, f->frame, &err) < 0)
		fail_msg("the daemon sent a malformed header: %s", err.text);
	return f;
}

static bool is_answer_to(const struct harness_frame *f, int32_t opaque)
{
	return (f->cmd.flag & MQ_FLAG_RESPONSE) && f->cmd.opaque == opaque;
}

static bool is_request(const struct harness_frame *f, int32_t code)
{
	return !(f->cmd.flag & MQ_FLAG_RESPONSE) && f->cmd.code == code;
}

/* The first frame that `is_it`, of those kept or of those to come; the others are kept. */
static struct harness_frame *peer_wait(struct harness_peer *p, bool (*is_it)(const struct harness_frame *, int32_t), int32_t number)
{
	struct harness_frame *f;

	STAILQ_FOREACH(f, &p->kept, link) {
		if (is_it(f, number)) {
			STAILQ_REMOVE(&p->kept, f, harness_frame, link);
			return f;
		}
	}
	while ((f = peer_read(p)) && !is_it(f, number))
		STAILQ_INSERT_TAIL(&p->kept, f, link);
	if (!f)
		fail_msg("the daemon closed the connection instead of sending %d", (int)number);
	return f;
}

const struct mq_command *harness_answer(struct harness_peer *p, int32_t opaque)
{
	harness_frame_free(p->answer);
	p->answer = NULL;
	p->answer = peer_wait(p, is_answer_to, opaque);
	return &p->answer->cmd;
}

struct harness_frame *harness_receive(struct harness_peer *p, int code)
{
	return peer_wait(p, is_request, code);
}

const struct mq_command *harness_call(struct harness_peer *p, struct mq_command *cmd)
{
	return harness_answer(p, harness_send(p, cmd));
}

const struct mq_command *harness_ask(struct harness_peer *p, int code, ...)
{
	struct mq_command cmd;
	va_list ap;

	mq_command_request(&cmd, code);
	va_start(ap, code);
	add_fields(&cmd, ap);
	va_end(ap);
	return harness_call(p, &cmd);
}

unsigned harness_wait_closed(struct harness_peer *p)
{
	struct harness_frame *f;
	unsigned n = 0;

	for (; (f = peer_read(p)); n++)
		harness_frame_free(f);
	return n;
}

/* --- looking at answers -------------------------------------------------------------------------------------------- */

const char *harness_field(const struct mq_command *cmd, const char *name)
{
	static char texts[4][1024];
	static unsigned turn;
	const struct mq_slice *value = mq_command_field(cmd, name);
	char *text = texts[turn++ % N_ELEMENTS(texts)];

	snprintf(text, sizeof texts[0], "%.*s", value ? (int)value->n : 0, value && value->p ? value->p : "");
	return text;
}

const char *harness_body(const struct mq_command *cmd)
{
	static char *text;

	free(text);
	text = malloc(cmd->body.n + 1);
	assert_non_null(text);
	memcpy(text, cmd->body.p ? cmd->body.p : "", cmd->body.n);
	text[cmd->body.n] = '\0';
	return text;
}

void harness_assert_answer(const struct mq_command *cmd, int code, const char *remark)
{
	char got[1024];

	snprintf(got, sizeof got, "%d %.*s", cmd->code, MQ_FMT(cmd->remark));
	if (cmd->code != code || (remark ? !mq_slice_is(cmd->remark, remark) : cmd->remark.n > 0))
		fail_msg("answer is %s, expected %d %s", got, code, remark ? remark : "");
}
