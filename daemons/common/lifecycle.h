/* The main thread of a daemon: signals, sd_notify, watchdog, reload, clean stop. */
#pragma once

#include "libmq/net/loop.h"

struct lifecycle;

struct lifecycle_events {
	/* SIGHUP. Non-zero: the sentence in err is logged and the old configuration stays. */
	int (*reload)(void *user, struct mq_error *err);
	/* SIGTERM, SIGINT: begin the clean stop; call mq_loop_stop() on the main loop when it is done. A second signal stops at once. */
	void (*stop)(void *user);
	/* Returns true when every thread has made progress since the last call: only then the watchdog is fed. */
	bool (*is_alive)(void *user);
};

/* On the main loop. Raises the soft limit of descriptors to the hard one. Blocks the signals in the calling thread: call before other threads start. */
int lifecycle_new(struct lifecycle **ret, struct mq_loop *loop, const struct lifecycle_events *events, void *user,
		  struct mq_error *err) _must_check_;
struct lifecycle *lifecycle_free(struct lifecycle *l);
DEFINE_CLEANUP(struct lifecycle *, lifecycle_free)

void lifecycle_ready(struct lifecycle *l, const char *status_fmt, ...) _printf_(2, 3); /* READY=1 */
void lifecycle_status(struct lifecycle *l, const char *fmt, ...) _printf_(2, 3);       /* STATUS=, any thread */

/* Logs why the program cannot start or go on, `r` being the negative errno. Returns the exit code to leave with. */
int lifecycle_failed(int r, const struct mq_error *err);

/* Exit codes of both daemons (man pages, section EXIT STATUS). */
enum { EXIT_USAGE = 64, EXIT_UNAVAILABLE = 69, EXIT_SOFTWARE = 70, EXIT_OS = 71, EXIT_IO = 74, EXIT_NOPERM = 77, EXIT_CONFIG = 78 };
