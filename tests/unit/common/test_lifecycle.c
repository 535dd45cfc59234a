/* The service manager's side of the conversation, played in the same process. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemons/common/lifecycle.h"

enum { DEADLINE_MS = 20000, TURNS_MAX = 1000000 };

struct fixture {
	char path[64];
	int notify;
	struct mq_loop *loop;
	struct lifecycle *lifecycle;
	unsigned n_reloads, n_stops;
	int reload_result;
	bool is_alive;
	unsigned n_alive_asked;
};

static int reload(void *user, struct mq_error *err)
{
	struct fixture *f = user;

	f->n_reloads++;
	return f->reload_result < 0 ? mq_error_set(err, f->reload_result, "line 1 is wrong") : 0;
}

static void stop(void *user)
{
	((struct fixture *)user)->n_stops++;
}

static bool alive(void *user)
{
	struct fixture *f = user;

	f->n_alive_asked++;
	return f->is_alive;
}

static const struct lifecycle_events events = { .reload = reload, .stop = stop, .is_alive = alive };

static void fixture_start(struct fixture *f)
{
	struct mq_loop_config config;

	mq_loop_config_init(&config);
	assert_int_equal(mq_loop_new(&f->loop, &config, NULL), 0);
	assert_int_equal(lifecycle_new(&f->lifecycle, f->loop, &events, f, NULL), 0);
}

static int setup_notify(struct fixture *f)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	snprintf(f->path, sizeof f->path, "/tmp/test_lifecycle.%d", (int)getpid());
	unlink(f->path);
	strcpy(at.sun_path, f->path);
	f->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(f->notify >= 0);
	assert_int_equal(bind(f->notify, (struct sockaddr *)&at, sizeof at), 0);
	setenv("NOTIFY_SOCKET", f->path, 1);
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	setup_notify(f);
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	fixture_start(f);
	*state = f;
	return 0;
}

/* 40 ms: a feed is due at the latest every 20 ms. */
static int setup_watchdog(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	char pid[16];

	setup_notify(f);
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	setenv("WATCHDOG_USEC", "40000", 1);
	setenv("WATCHDOG_PID", pid, 1);
	f->is_alive = true;
	fixture_start(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	lifecycle_free(f->lifecycle);
	mq_loop_free(f->loop);
	close(f->notify);
	unlink(f->path);
	free(f);
	return 0;
}

static const char *next_message(struct fixture *f)
{
	static char text[1024];
	struct pollfd fd = { .fd = f->notify, .events = POLLIN };
	ssize_t n;

	assert_int_equal(poll(&fd, 1, DEADLINE_MS), 1);
	n = recv(f->notify, text, sizeof text - 1, 0);
	assert_true(n > 0);
	text[n] = '\0';
	return text;
}

static void turn_until(struct fixture *f, const unsigned *counter, unsigned value)
{
	for (int i = 0; i < TURNS_MAX && *counter < value; i++)
		assert_int_equal(mq_loop_turn(f->loop, DEADLINE_MS), 0);
	assert_int_equal(*counter, value);
}

static void readiness_and_status_are_told(void **state)
{
	struct fixture *f = *state;

	lifecycle_ready(f->lifecycle, "Listening on %s", "here");
	assert_string_equal(next_message(f), "READY=1\nSTATUS=Listening on here");
	lifecycle_status(f->lifecycle, "two\nlines");
	assert_string_equal(next_message(f), "STATUS=two lines");
}

static void a_hangup_reloads(void **state)
{
	struct fixture *f = *state;
	const char *message;

	kill(getpid(), SIGHUP);
	turn_until(f, &f->n_reloads, 1);
	message = next_message(f);
	assert_ptr_equal(strstr(message, "RELOADING=1\nMONOTONIC_USEC="), message);
	assert_true(strtoll(message + strlen("RELOADING=1\nMONOTONIC_USEC="), NULL, 10) > 0);
	assert_string_equal(next_message(f), "READY=1");
}

static void a_failed_reload_is_over_too(void **state)
{
	struct fixture *f = *state;

	f->reload_result = -EINVAL;
	kill(getpid(), SIGHUP);
	turn_until(f, &f->n_reloads, 1);
	assert_non_null(strstr(next_message(f), "RELOADING=1"));
	assert_string_equal(next_message(f), "READY=1");
}

static void a_term_signal_stops_cleanly(void **state)
{
	struct fixture *f = *state;

	kill(getpid(), SIGTERM);
	turn_until(f, &f->n_stops, 1);
	assert_non_null(strstr(next_message(f), "STOPPING=1"));
	/* Whoever stops does not reload any more. */
	kill(getpid(), SIGHUP);
	assert_int_equal(mq_loop_turn(f->loop, DEADLINE_MS), 0);
	assert_int_equal(f->n_reloads, 0);
}

static void a_second_signal_ends_the_process_at_once(void **state)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct fixture f = {};

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		unsetenv("NOTIFY_SOCKET");
		fixture_start(&f);
		kill(getpid(), SIGINT);
		while (f.n_stops == 0 && mq_loop_turn(f.loop, DEADLINE_MS) == 0)
			;
		kill(getpid(), SIGTERM);
		while (mq_loop_turn(f.loop, DEADLINE_MS) == 0)
			;
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
}

static void the_watchdog_is_fed_only_while_alive(void **state)
{
	struct fixture *f = *state;
	struct pollfd fd = { .fd = f->notify, .events = POLLIN };

	turn_until(f, &f->n_alive_asked, 3);
	for (int i = 0; i < 3; i++)
		assert_string_equal(next_message(f), "WATCHDOG=1");
	f->is_alive = false;
	turn_until(f, &f->n_alive_asked, 6);
	assert_int_equal(poll(&fd, 1, 0), 0);
	f->is_alive = true;
	turn_until(f, &f->n_alive_asked, 7);
	assert_string_equal(next_message(f), "WATCHDOG=1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(readiness_and_status_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_hangup_reloads, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failed_reload_is_over_too, setup, teardown),
		cmocka_unit_test_setup_teardown(a_term_signal_stops_cleanly, setup, teardown),
		cmocka_unit_test(a_second_signal_ends_the_process_at_once),
		cmocka_unit_test_setup_teardown(the_watchdog_is_fed_only_while_alive, setup_watchdog, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
