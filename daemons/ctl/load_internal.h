/* What the files load*.c know of each other; nobody else includes this. */
#pragma once

#include "daemons/ctl/load.h"
#include "daemons/ctl/template.h"

struct event;

enum { LOAD_RANDOM_SIZE = 16 << 20 }; /* random bodies are pieces of so many bytes: a compressor sees 64 KiB at once */

/* What the connections to a broker send. */
struct load_broker {
	struct template *templates; /* owned; one per queue of each topic */
	unsigned n_templates;
};

struct load_conn {
	struct load *load;
	struct load_broker *broker; /* borrowed */
	int fd;
	struct event *readable, *writable; /* owned */
	char where[320];
	unsigned next_template;
	uint64_t next_request;      /* index in the schedule of this connection */
	/* Requests without an answer: slot i has opaque BASE + i. */
	int64_t *due_ns;            /* owned; when the request in the slot was due; -1: free */
	unsigned *free_slots;       /* owned; stack */
	unsigned n_free;
	char *out;                  /* owned */
	size_t n_out, out_sent, out_capacity;
	char *in;                   /* owned */
	size_t n_in, in_capacity;
};

struct load {
	struct mq_loop *loop;
	struct load_config cfg;
	struct load_broker *brokers; /* owned; as in the first route */
	struct load_conn *conns;    /* owned */
	unsigned n_conns;
	char *random;               /* owned; LOAD_RANDOM_SIZE, only with random bodies */
	uint64_t random_state;
	struct load_stats stats;
	int timer_fd;
	struct event *timer;        /* owned; only with a rate */
	int64_t start_ns;
	double request_ns;          /* between two requests of the whole load; 0: no rate */
	uint64_t n_unique, process;
	unsigned n_in_flight;
	bool is_stopping, is_done, has_failed;
	struct mq_failure failure;
};

/* ---- load.c ---- */

/* After messages were sent or answered: was that all? */
void load_check_limit(struct load *l);
/* With a rate: the timer fires when the next request is due. */
void load_arm(struct load *l, int64_t now_ns);

/* ---- load_conn.c ---- */

/* Connects to a broker. Half-built ones are for load_conn_done(), too. */
int load_conn_init(struct load_conn *c, struct load *l, const struct mq_topic_broker *b, int64_t timeout_ms,
		   struct mq_failure *f) _must_check_;
void load_conn_done(struct load_conn *c);
/* Sends what is due and fits the window. */
void load_conn_pump(struct load_conn *c, int64_t now_ns);
bool load_conn_is_over(const struct load_conn *c);
/* The time the connection's next request is due; 0: at once. */
int64_t load_conn_next_due(const struct load_conn *c);

/* ---- load_stamp.c ---- */

/* Writes LOAD_STAMP_SIZE bytes at most. */
void load_write_stamp(char *body, uint32_t run, int64_t due_ns);
