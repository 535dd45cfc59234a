/* Wire tests: a real daemon on a private directory, and peers that speak frames to it.
 *
 * Everything here fails the running cmocka test when it does not work out; nothing sleeps, all waits have a deadline. The
 * programs are found through the environment variables that tests/wire/meson.build sets. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "libmq/wire/command.h"

enum { HARNESS_DEADLINE_MS = 20000 }; /* generous: a loaded machine with sanitizers */

enum harness_program { HARNESS_NAMESRV, HARNESS_BROKER };

struct harness_daemon {
	char directory[64];   /* private; removed by harness_free() */
	char local[96];       /* path of its Unix socket */
	char config[96];      /* path of its configuration file, empty at first; a test may write to it and send SIGHUP */
	char address[64];     /* "127.0.0.1:port" */
	uint16_t port;        /* of its TCP listener, which the harness opened and passes on like systemd does */
	uint16_t fast_port;   /* the same of a broker's second listener */
	char status[512];     /* last STATUS= */
	pid_t pid;            /* 0: not running */
	int listeners[2];     /* descriptors, kept open over restarts; the second is the fast port's */
	int notify;           /* descriptor */
	enum harness_program program;
	char **sets;          /* owned; KEY=VALUE */
	const char *watchdog_us; /* borrowed; WATCHDOG_USEC from the next start on, NULL: none */
};

/* Starts the daemon and returns when it said READY=1. `sets` is a NULL-terminated list of KEY=VALUE that win over the
 * harness's own (ports, localSocket, and where state is kept), or NULL. A broker has no NameServer unless told. */
struct harness_daemon *harness_start(enum harness_program program, const char *const *sets);
/* The same directory, port and settings again, after harness_stop() or harness_kill(). */
void harness_restart(struct harness_daemon *d);
/* SIGTERM, and waits for the end, which must be exit status 0. */
void harness_stop(struct harness_daemon *d);
/* SIGKILL. */
void harness_kill(struct harness_daemon *d);
/* Waits for the end of the process; returns the wait status. */
int harness_wait(struct harness_daemon *d);
/* What the daemon has written to its error output so far, which includes its log; in a buffer of its own, cut at its end. */
const char *harness_log(const struct harness_daemon *d);
/* Waits until the daemon notifies a message that contains `text` ("RELOADING=1", "STATUS=..."). */
void harness_wait_notify(struct harness_daemon *d, const char *text);
/* Runs the program with these arguments (NULL-terminated, program name not included) to its end; returns the exit status and what it
 * wrote to both outputs, cut to `size`. */
int harness_run(enum harness_program program, const char *const *args, char *ret_output, size_t size);
/* Stops a running daemon and removes the directory. The error output is printed when it did not stop cleanly. Returns NULL. */
struct harness_daemon *harness_free(struct harness_daemon *d);

/* A frame that came in, decoded. Valid until harness_frame_free(). */
struct harness_frame {
	STAILQ_ENTRY(harness_frame) link;
	struct mq_frame *frame;
	struct mq_command cmd;
};

/* A connection to a daemon. */
struct harness_peer {
	int fd;
	int32_t opaque;                    /* of the last request */
	struct mq_frame_reader reader;
	char buffer[65536];
	struct mq_slice rest;              /* of buffer, not read yet */
	struct harness_frame *answer;      /* of the last harness_call() */
	STAILQ_HEAD(, harness_frame) kept; /* arrived while something else was waited for */
};

struct harness_peer *harness_connect(const struct harness_daemon *d);     /* Unix socket */
struct harness_peer *harness_connect_tcp(const struct harness_daemon *d);
struct harness_peer *harness_connect_fast(const struct harness_daemon *d); /* a broker's fast port */
struct harness_peer *harness_close(struct harness_peer *p);               /* returns NULL */

/* Starts a request with extFields given as pairs, NULL-terminated: harness_request(&cmd, 105, "topic", "T", NULL). */
void harness_request(struct mq_command *cmd, int code, ...) __attribute__((sentinel));
/* Sends it with an opaque of its own, which is returned. */
int32_t harness_send(struct harness_peer *p, struct mq_command *cmd);
/* The same for several, in one piece: the daemon finds the second when it has read the first, however busy the machine is. */
int32_t harness_send_all(struct harness_peer *p, struct mq_command *cmds, unsigned n);
/* Sends it and waits for its answer, which is valid until the next call on this peer; other frames are kept for harness_receive(). */
const struct mq_command *harness_call(struct harness_peer *p, struct mq_command *cmd);
/* harness_request() and harness_call() in one. */
const struct mq_command *harness_ask(struct harness_peer *p, int code, ...) __attribute__((sentinel));
/* Waits for the answer to this opaque, as harness_call() does. */
const struct mq_command *harness_answer(struct harness_peer *p, int32_t opaque);
/* Waits for the next request of the daemon with this code (40, 905, ...). Free with harness_frame_free(). */
struct harness_frame *harness_receive(struct harness_peer *p, int code);
struct harness_frame *harness_frame_free(struct harness_frame *f);

/* Bytes as they are. Returns false when the daemon closed the connection meanwhile. */
bool harness_send_raw(struct harness_peer *p, const void *bytes, size_t n);
/* Waits until the daemon closes the connection. Returns how many frames came before that. */
unsigned harness_wait_closed(struct harness_peer *p);

/* Value of an extField, "" when absent; in a buffer of its own for each of the last four calls. */
const char *harness_field(const struct mq_command *cmd, const char *name);
/* The body as text, until the next call. */
const char *harness_body(const struct mq_command *cmd);

/* Code, and remark or NULL for none. */
void harness_assert_answer(const struct mq_command *cmd, int code, const char *remark);
