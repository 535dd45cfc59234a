/* The ledger of what is moved while the broker is killed: messages sent back to be tried again or to be dead, and transactions.
 *
 *   moves retry ADDRESS LEDGER                  until SIGTERM, reconnecting whenever the broker is gone
 *   moves transactions ADDRESS LEDGER           the same; then goes on to answer checks until the second SIGTERM
 *   moves verify-retry ADDRESS LEDGER
 *   moves verify-transactions ADDRESS LEDGER [SHIFT]
 *
 * Each number is sent once, and sent back once: even ones to be tried again after a second, odd ones to be dead at once. A
 * transaction with number n is committed at once (n % 4 = 0), rolled back at once (1), committed when the broker asks (2), or rolled back
 * then (3); whenever it is asked, the producer says the same. What found no answer is not repeated, so that whatever comes twice
 * is the broker's fault. SHIFT verifies against the plans of other numbers, which must find faults.
 *
 * A ledger line is a number whose sending back, or preparing, was acknowledged; the last line of a finished run is "sent N". */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libmq/base/cleanup.h"
#include "libmq/base/clock.h"
#include "libmq/wire/codes.h"
#include "libmq/wire/fields.h"
#include "tests/system/link.h"

#define GROUP "moves"
#define BACK_TOPIC "Back"
#define TXN_TOPIC "Txn"

enum {
	WINDOW = 16,          /* numbers under way */
	SLOTS = 4096,         /* requests without an answer */
	QUEUES = 4,
	RECONNECT_MS = 5,
	WAIT_MS = 100,        /* to see a signal */
	RETRY_LEVEL = 1,      /* of messageDelayLevel: 1 s by default */
	RETRY_AFTER_MS = 1000,
	COMMIT = 8,
	ROLLBACK = 12,
};

enum step { STEP_NONE, STEP_SEND, STEP_BACK, STEP_PREPARE, STEP_END };

/* A request without an answer. */
struct slot {
	enum step step;
	int64_t number;
};

struct run {
	struct link link;
	FILE *ledger;
	bool is_retry;
	int64_t next;     /* number not yet used */
	int32_t opaque;
	int pending;      /* numbers under way on this connection */
	struct slot slots[SLOTS];
};

static volatile sig_atomic_t n_stops;

static void on_signal(int number)
{
	(void)number;
	n_stops++;
}

static int outcome_of(int64_t number)
{
	return number % 2 == 0 ? COMMIT : ROLLBACK;
}

static bool ends_at_once(int64_t number)
{
	return number % 4 < 2;
}

/* ---- requests ---- */

static bool ask(struct run *r, struct mq_command *cmd, enum step step, int64_t number)
{
	struct slot *slot = &r->slots[r->opaque % SLOTS];

	if (slot->step != STEP_NONE)
		fail("the broker", "answers later requests and not this one");
	*slot = (struct slot){ step, number };
	cmd->opaque = r->opaque++;
	return link_send(&r->link, cmd);
}

static bool ask_send(struct run *r, int64_t number)
{
	struct mq_command cmd;
	char body[24], properties[128];

	snprintf(body, sizeof body, "%" PRId64, number);
	snprintf(properties, sizeof properties, "UNIQ_KEY\001%s-%" PRId64 "\002%s", r->is_retry ? "B" : "T", number,
		 r->is_retry ? "" : "TRAN_MSG\001true\002PGROUP\001" GROUP "\002");
	mq_command_request(&cmd, MQ_SEND_MESSAGE_V2);
	mq_command_add(&cmd, "a", MQ_SLICE(GROUP));
	mq_command_add(&cmd, "b", mq_slice_of(r->is_retry ? BACK_TOPIC : TXN_TOPIC));
	mq_command_add(&cmd, "c", MQ_SLICE("TBW102"));
	mq_command_add_i64(&cmd, "d", QUEUES);
	mq_command_add_i64(&cmd, "e", number % QUEUES);
	mq_command_add_i64(&cmd, "f", r->is_retry ? 0 : MQ_SYS_PREPARED);
	mq_command_add_i64(&cmd, "g", mq_wall_ms(&mq_clock_system));
	mq_command_add(&cmd, "h", MQ_SLICE("0"));
	mq_command_add(&cmd, "i", mq_slice_of(properties));
	cmd.body = mq_slice_of(body);
	return ask(r, &cmd, r->is_retry ? STEP_SEND : STEP_PREPARE, number);
}

static bool ask_back(struct run *r, int64_t number, int64_t locator)
{
	struct mq_command cmd;

	mq_command_request(&cmd, MQ_CONSUMER_SEND_MSG_BACK);
	mq_command_add_i64(&cmd, "offset", locator);
	mq_command_add(&cmd, "group", MQ_SLICE(GROUP));
	mq_command_add_i64(&cmd, "delayLevel", number % 2 == 0 ? RETRY_LEVEL : -1);
	return ask(r, &cmd, STEP_BACK, number);
}

static bool ask_end(struct run *r, int64_t number, int64_t locator, int64_t half_offset, const char *is_from_check)
{
	struct mq_command cmd;

	mq_command_request(&cmd, MQ_END_TRANSACTION);
	mq_command_add(&cmd, "producerGroup", MQ_SLICE(GROUP));
	mq_command_add_i64(&cmd, "tranStateTableOffset", half_offset);
	mq_command_add_i64(&cmd, "commitLogOffset", locator);
	mq_command_add_i64(&cmd, "commitOrRollback", outcome_of(number));
	mq_command_add(&cmd, "fromTransactionCheck", mq_slice_of(is_from_check));
	return ask(r, &cmd, STEP_END, number);
}

/* Makes this connection one of the group's producers. */
static bool ask_to_be_asked(struct run *r)
{
	struct mq_command cmd;

	mq_command_request(&cmd, MQ_HEART_BEAT);
	cmd.body = MQ_SLICE("{\"clientID\":\"moves\",\"consumerDataSet\":[],\"producerDataSet\":[{\"groupName\":\"" GROUP "\"}]}");
	return ask(r, &cmd, STEP_END, 0);
}

/* ---- answers ---- */

static int64_t locator_of(const struct mq_command *cmd)
{
	const struct mq_slice *id = mq_command_field(cmd, "msgId");
	struct mq_host host;
	int64_t locator;

	if (!id || mq_message_id_decode(*id, &host, &locator) < 0)
		fail("an answer lacks", "msgId");
	return locator;
}

static void note(struct run *r, int64_t number)
{
	fprintf(r->ledger, "%" PRId64 "\n", number);
	fflush(r->ledger);
	r->pending--;
}

static bool on_answer(struct run *r, const struct mq_command *cmd)
{
	struct slot slot = r->slots[cmd->opaque % SLOTS];

	r->slots[cmd->opaque % SLOTS] = (struct slot){};
	switch (slot.step) {
	case STEP_NONE:
		fail("an answer", "to no request");
	case STEP_SEND:
		if (cmd->code == MQ_SUCCESS)
			return ask_back(r, slot.number, locator_of(cmd));
		r->pending--;
		return true;
	case STEP_BACK:
	case STEP_PREPARE:
		if (cmd->code != MQ_SUCCESS) {
			r->pending--;
			return true;
		}
		note(r, slot.number);
		return slot.step == STEP_BACK || !ends_at_once(slot.number) ||
		       ask_end(r, slot.number, locator_of(cmd), link_i64(cmd, "queueOffset"), "false");
	case STEP_END: /* also one that comes too late, after another: its transaction is ended the same way */
		return true;
	}
	return false;
}

static bool on_check(struct run *r, const struct mq_command *cmd)
{
	struct mq_record rec;

	if (cmd->code != MQ_CHECK_TRANSACTION_STATE)
		return true;
	if (mq_record_decode(cmd->body, &rec) < 0)
		fail("a check", "without its message");
	return ask_end(r, strtoll(rec.body.p, NULL, 10), link_i64(cmd, "commitLogOffset"), link_i64(cmd, "tranStateTableOffset"), "true");
}

/* ---- a run ---- */

/* On one connection, until it breaks or nothing is left to do. */
static void run_on(struct run *r)
{
	bool is_finished = false;

	memset(r->slots, 0, sizeof r->slots);
	r->pending = 0;
	if (!r->is_retry && !ask_to_be_asked(r))
		return;
	for (;;) {
		_cleanup_(mq_frame_unrefp) struct mq_frame *frame = NULL;
		struct mq_command cmd;
		int got;

		for (; n_stops == 0 && r->pending < WINDOW; r->pending++)
			if (!ask_send(r, r->next++))
				return;
		if (n_stops > 0 && r->pending == 0 && !is_finished) {
			fprintf(r->ledger, "sent %" PRId64 "\n", r->next);
			fflush(r->ledger);
			is_finished = true;
		}
		if (is_finished && (r->is_retry || n_stops > 1))
			return;
		got = link_receive(&r->link, &cmd, WAIT_MS, &frame);
		if (got < 0 || (got > 0 && !((cmd.flag & MQ_FLAG_RESPONSE) ? on_answer(r, &cmd) : on_check(r, &cmd))))
			return;
	}
}

static int run(struct run *r, const char *path)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGTERM, &action, NULL);
	r->ledger = fopen(path, "w");
	if (!r->ledger)
		fail(path, strerror(errno));
	while (n_stops < (r->is_retry ? 1 : 2)) {
		if (!link_open(&r->link)) {
			(void)poll(NULL, 0, RECONNECT_MS);
			continue;
		}
		run_on(r);
		link_close(&r->link);
	}
	return fclose(r->ledger) == 0 ? 0 : 1;
}

/* ---- verifying ---- */

struct entry {
	bool is_acknowledged;
	int n_found;
};

struct book {
	struct entry *entries; /* owned */
	int64_t n;             /* numbers used */
	int64_t n_acknowledged, n_found;
	unsigned n_faults;
	int64_t shift;
	bool (*belongs)(const struct book *b, int64_t number, const struct mq_record *r);
};

static void fault(struct book *b, const char *what, int64_t number)
{
	if (b->n_faults++ < 20)
		printf("# %s: number %" PRId64 "\n", what, number);
}

static void book_read(struct book *b, const char *path)
{
	FILE *ledger = fopen(path, "r");
	char line[64];
	int64_t number;

	if (!ledger)
		fail(path, strerror(errno));
	while (fgets(line, sizeof line, ledger) && sscanf(line, "sent %" SCNd64, &b->n) != 1)
		;
	b->entries = calloc((size_t)b->n + 1, sizeof *b->entries);
	if (b->n == 0 || !b->entries)
		fail(path, "the run did not finish: there is no line 'sent N'");
	rewind(ledger);
	while (fgets(line, sizeof line, ledger) && sscanf(line, "%" SCNd64, &number) == 1) {
		if (number < 0 || number >= b->n)
			fail("bad line in the ledger", line);
		b->entries[number].is_acknowledged = true;
		b->n_acknowledged++;
	}
	fclose(ledger);
}

static void on_found(const struct mq_record *r, void *user)
{
	struct book *b = user;
	int64_t number = strtoll(r->body.p, NULL, 10);

	if (number < 0 || number >= b->n) {
		fault(b, "delivered but never sent", number);
		return;
	}
	b->n_found++;
	if (++b->entries[number].n_found > 1)
		fault(b, "delivered twice", number);
	if (!b->belongs(b, number, r))
		fault(b, "delivered where it does not belong", number);
}

static bool belongs_back(const struct book *b, int64_t number, const struct mq_record *r)
{
	bool is_dead = mq_slice_is(r->topic, "%DLQ%" GROUP);

	(void)b;
	return is_dead == (number % 2 != 0) && r->reconsume_times == 1 &&
	       (is_dead || r->store_at_ms >= r->born_at_ms + RETRY_AFTER_MS);
}

static bool belongs_committed(const struct book *b, int64_t number, const struct mq_record *r)
{
	return outcome_of(number + b->shift) == COMMIT && (r->sys_flag & MQ_SYS_TRANSACTION) == MQ_SYS_COMMIT;
}

static bool is_wanted(const struct book *b, int64_t number)
{
	return b->belongs == belongs_back || outcome_of(number + b->shift) == COMMIT;
}

static int verify(struct link *l, struct book *b, const char *path)
{
	book_read(b, path);
	if (!link_open(l))
		fail(l->address.text, "cannot connect");
	if (b->belongs == belongs_back) {
		link_read_queue(l, "%RETRY%" GROUP, 0, on_found, b);
		link_read_queue(l, "%DLQ%" GROUP, 0, on_found, b);
	} else {
		for (int queue = 0; queue < QUEUES; queue++)
			link_read_queue(l, TXN_TOPIC, queue, on_found, b);
	}
	link_close(l);
	for (int64_t i = 0; i < b->n; i++)
		if (b->entries[i].is_acknowledged && b->entries[i].n_found == 0 && is_wanted(b, i))
			fault(b, "acknowledged but lost", i);
	printf("# %" PRId64 " sent, %" PRId64 " acknowledged, %" PRId64 " delivered, %u faults\n", b->n, b->n_acknowledged, b->n_found,
	       b->n_faults);
	free(b->entries);
	return b->n_faults == 0 && b->n_acknowledged > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	static struct run r;
	struct book b = {};
	struct mq_error err;
	const char *verb = argc > 3 ? argv[1] : "";

	if (argc < 4 || argc > 5 || mq_address_parse(&r.link.address, mq_slice_of(argv[2]), &err) < 0) {
		fprintf(stderr, "usage: moves retry|transactions|verify-retry|verify-transactions ADDRESS LEDGER [SHIFT]\n");
		return 64;
	}
	signal(SIGPIPE, SIG_IGN);
	b.shift = argc == 5 ? atoll(argv[4]) : 0;
	r.is_retry = strcmp(verb, "retry") == 0;
	if (r.is_retry || strcmp(verb, "transactions") == 0)
		return run(&r, argv[3]);
	b.belongs = strcmp(verb, "verify-retry") == 0 ? belongs_back : belongs_committed;
	return verify(&r.link, &b, argv[3]);
}
