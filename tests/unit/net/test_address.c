#include "tests/unit/net/net_test.h"

#include <sys/stat.h>
#include <sys/un.h>

#include "libmq/net/address.h"

static int parse(const char *text, struct mq_address *a)
{
	struct mq_error err = {};
	int r = mq_address_parse(a, mq_slice_of(text), &err);

	if (r < 0)
		assert_true(err.text[0] != '\0');
	return r;
}

static void the_three_forms_are_understood(void **state)
{
	struct mq_address a;

	assert_int_equal(parse("broker.example.org:10911", &a), 0);
	assert_false(a.is_unix);
	assert_string_equal(a.host, "broker.example.org");
	assert_int_equal(a.port, 10911);
	assert_string_equal(a.text, "broker.example.org:10911");
	assert_int_equal(parse("[::1]:9876", &a), 0);
	assert_string_equal(a.host, "::1");
	assert_int_equal(a.port, 9876);
	assert_int_equal(parse("unix:/run/mqd/broker.sock", &a), 0);
	assert_true(a.is_unix);
	assert_string_equal(a.host, "/run/mqd/broker.sock");
}

static void what_is_no_address_is_refused_with_a_sentence(void **state)
{
	static const char *const wrong[] = {
		"", ":", "host", "host:", ":80", "host:65536", "host:-1", "host:80x", "host: 80", "::1:80", "[::1]", "[::1]80", "[::1:80",
		"[]:80", "unix:", "unix:relative", "host:123456",
	};
	struct mq_address a = { .port = 7 };
	char longest[400];

	for (unsigned i = 0; i < N_ELEMENTS(wrong); i++)
		assert_int_equal(parse(wrong[i], &a), -EINVAL);
	memset(longest, 'x', sizeof longest);
	memcpy(longest, "unix:/", 6);
	longest[sizeof longest - 1] = '\0';
	assert_int_equal(parse(longest, &a), -EINVAL);
	longest[120] = '\0'; /* fits here, but not a sockaddr_un */
	assert_int_equal(parse(longest, &a), -EINVAL);
	assert_int_equal(mq_address_parse(&a, (struct mq_slice){ "a\0b:1", 5 }, NULL), -EINVAL);
	assert_int_equal(a.port, 7);
}

static bool is_connected(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int error = -1;
	socklen_t n = sizeof error;

	assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
	return error == 0;
}

/* The port the kernel chose for a listener on port 0. */
static uint16_t port_of(int fd)
{
	struct sockaddr_in6 at;
	socklen_t n = sizeof at;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
	return ntohs(at.sin6_port);
}

static void tcp_listener_is_reached_and_then_refuses(void **state)
{
	struct mq_address a;
	struct mq_error err;
	int listener, fd;

	parse("127.0.0.1:0", &a);
	listener = mq_address_listen(&a, NULL);
	assert_true(listener >= 0);
	a.port = port_of(listener);
	fd = mq_address_connect(&a, NULL);
	assert_true(fd >= 0);
	assert_true(is_connected(fd));
	close(fd);

	/* The same address a second time. */
	assert_int_equal(mq_address_listen(&a, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "127.0.0.1:0"));

	close(listener);
	fd = mq_address_connect(&a, &err);
	if (fd >= 0) {
		assert_false(is_connected(fd));
		close(fd);
	} else {
		assert_int_equal(fd, -ECONNREFUSED);
	}
}

static void name_is_looked_up(void **state)
{
	struct mq_address a;
	int listener, fd;

	parse("127.0.0.1:0", &a);
	listener = mq_address_listen(&a, NULL);
	uint16_t port = port_of(listener);

	parse("localhost:1", &a);
	a.port = port;
	fd = mq_address_connect(&a, NULL);
	assert_true(fd >= 0);
	assert_true(is_connected(fd));
	close(fd);
	close(listener);
}

static void unknown_name_is_an_error_with_its_name(void **state)
{
	struct mq_address a;
	struct mq_error err;

	parse("no-such-host.invalid:1", &a);
	assert_true(mq_address_connect(&a, &err) < 0);
	assert_non_null(strstr(err.text, "no-such-host.invalid"));
}

static void unix_socket_is_for_owner_and_group(void **state)
{
	char dir[] = "/tmp/test_address.XXXXXX", text[64];
	struct mq_address a;
	struct mq_error err;
	struct stat st;
	int listener, fd;

	assert_non_null(mkdtemp(dir));
	snprintf(text, sizeof text, "unix:%s/s", dir);
	parse(text, &a);
	listener = mq_address_listen(&a, NULL);
	assert_true(listener >= 0);
	assert_int_equal(stat(a.host, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);

	/* Somebody listens: not taken away. */
	assert_int_equal(mq_address_listen(&a, &err), -EADDRINUSE);
	fd = mq_address_connect(&a, NULL);
	assert_true(fd >= 0);
	assert_true(is_connected(fd));
	close(fd);

	/* Nobody does: replaced. */
	close(listener);
	assert_int_equal(mq_address_connect(&a, NULL), -ECONNREFUSED);
	listener = mq_address_listen(&a, NULL);
	assert_true(listener >= 0);
	close(listener);
	unlink(a.host);

	/* A file that is no socket stays. */
	fd = open(a.host, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(mq_address_listen(&a, NULL), -EADDRINUSE);
	assert_int_equal(unlink(a.host), 0);
	assert_int_equal(mq_address_connect(&a, &err), -ENOENT);
	assert_non_null(strstr(err.text, text));
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_three_forms_are_understood),
		cmocka_unit_test(what_is_no_address_is_refused_with_a_sentence),
		cmocka_unit_test(tcp_listener_is_reached_and_then_refuses),
		cmocka_unit_test(name_is_looked_up),
		cmocka_unit_test(unknown_name_is_an_error_with_its_name),
		cmocka_unit_test(unix_socket_is_for_owner_and_group),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
