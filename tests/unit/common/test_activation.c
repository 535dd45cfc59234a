#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemons/common/activation.h"

static int tcp_listener(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* Runs check() in a child process that inherits two sockets as descriptors 3 and 4 with these names; its result must be 0. */
static void with_inherited(int first, int second, const char *names, int (*check)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		char text[16];
		int a = fcntl(first, F_DUPFD, 20), b = fcntl(second, F_DUPFD, 20);

		if (dup2(a, 3) < 0 || dup2(b, 4) < 0)
			_exit(100);
		snprintf(text, sizeof text, "%d", (int)getpid());
		setenv("LISTEN_PID", text, 1);
		setenv("LISTEN_FDS", "2", 1);
		setenv("LISTEN_FDNAMES", names, 1);
		_exit(check());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(first);
	close(second);
}

/* Children cannot use cmocka: the number of the line that went wrong is their exit status. */
#define CHECK(condition)                                                                                                       \
	do {                                                                                                                   \
		if (!(condition))                                                                                              \
			return __LINE__ % 250 + 1;                                                                             \
	} while (0)

static int check_names(void)
{
	struct activation a;
	char text[64];

	CHECK(activation_inherit(&a, NULL) == 0);
	CHECK(a.n_sockets == 2);
	CHECK(activation_take(&a, "other") == -ENOENT);
	CHECK(activation_take(&a, "second") == 4);
	CHECK(activation_take(&a, "second") == -ENOENT);
	CHECK(activation_take_or_listen(&a, "first", "none", NULL) == 3);
	CHECK(activation_take_or_listen(&a, "first", "none", NULL) == -ENOENT);
	CHECK(strncmp(activation_describe(3, text, sizeof text), "127.0.0.1:", 10) == 0);
	/* Children of ours do not inherit again. */
	CHECK(!getenv("LISTEN_FDS"));
	return 0;
}

static int check_kind(void)
{
	struct activation a;
	struct mq_error err = {};

	CHECK(activation_inherit(&a, &err) == -EINVAL);
	CHECK(!strcmp(err.text, "the inherited descriptor 'second' is not a listening stream socket"));
	return 0;
}

static void sockets_are_taken_by_name(void **state)
{
	with_inherited(tcp_listener(), tcp_listener(), "first:second", check_names);
}

static void a_socket_of_another_kind_is_refused(void **state)
{
	with_inherited(tcp_listener(), socket(AF_INET, SOCK_DGRAM, 0), "first:second", check_kind);
}

static void sockets_are_opened_when_none_was_inherited(void **state)
{
	char directory[] = "/tmp/test_activation.XXXXXX", path[64], address[80], text[96];
	struct activation a;
	int tcp, local;

	unsetenv("LISTEN_FDS");
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/run/x.sock", directory);
	snprintf(address, sizeof address, "unix:%s", path);
	assert_int_equal(activation_inherit(&a, NULL), 0);
	assert_int_equal(a.n_sockets, 0);
	tcp = activation_take_or_listen(&a, "x", "127.0.0.1:0", NULL);
	assert_true(tcp >= 0);
	local = activation_take_or_listen(&a, "x", address, NULL);
	assert_true(local >= 0);
	assert_string_equal(activation_describe(local, text, sizeof text), address);
	close(tcp);
	close(local);
	unlink(path);
	path[strlen(directory) + 4] = '\0';
	rmdir(path);
	rmdir(directory);
}

/* Whoever starts a daemon by hand learns which key to change. */
static void a_refused_socket_names_the_cure(void **state)
{
	int taken = tcp_listener();
	struct mq_error err = {};
	struct activation a = {};
	char address[80];

	activation_describe(taken, address, sizeof address);
	assert_int_equal(activation_take_or_listen(&a, "broker", address, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, address));
	assert_non_null(strstr(err.text, "or set listenPort"));
	assert_int_equal(activation_take_or_listen(&a, "broker-fast", address, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "or set fastListenPort"));
	assert_int_equal(activation_take_or_listen(&a, "broker", "203.0.113.1:0", &err), -EADDRNOTAVAIL);
	assert_non_null(strstr(err.text, "set bindAddress to an address of this host"));
	close(taken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sockets_are_taken_by_name),
		cmocka_unit_test(a_socket_of_another_kind_is_refused),
		cmocka_unit_test(sockets_are_opened_when_none_was_inherited),
		cmocka_unit_test(a_refused_socket_names_the_cure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
