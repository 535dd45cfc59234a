/* The ledger of what is popped while the broker is killed.
 *
 *   pops ADDRESS [forge]    until SIGTERM, reconnecting whenever the broker is gone; then until nothing is left
 *
 * Sends numbered messages and pops them: of three, the first is acknowledged at once, the second is put off and acknowledged when it
 * comes again, the third is left until it comes again by itself. It keeps in mind what was answered, and checks at every delivery:
 *
 *   - What was acknowledged before its time was over never comes again.
 *   - What was given out, or put off, does not come again before its time, however often the broker was killed.
 *   - What was sent is delivered until it is acknowledged; nothing else is delivered.
 *
 * A request without an answer may have happened or not: then neither is a fault. Clocks are the same, since broker and ledger are on
 * one machine. With "forge" it believes to have acknowledged what it left alone, which must be found out. */
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
#include "libmq/wire/message_properties.h"
#include "tests/system/link.h"

#define GROUP "pops"
#define TOPIC "Pops"
#define RETRY "%RETRY%" GROUP "_" TOPIC

enum {
	QUEUES = 4,
	NUMBERS_MAX = 1 << 20,
	SENDS = 8,	     /* between two pops */
	POP_MAX = 16,
	INVISIBLE_MS = 700,  /* longer than a broker is gone, so that most are acknowledged in time */
	PUT_OFF_MS = 300,
	RECONNECT_MS = 5,
	DRAIN_MS = 15000,    /* for what is left to come again */
};

struct entry {
	bool was_sent;	   /* with an answer */
	bool is_done;	   /* acknowledged, with an answer before its time was over */
	bool is_over;	   /* acknowledged, however late, or asked for without an answer */
	int64_t hidden_ms; /* does not come again before; 0: not known */
	int n_delivered;
};

struct delivery {
	int64_t number, offset, due_ms;
	int32_t queue_id;
	bool is_retried;
	char receipt[160];
};

static struct link l;
static struct entry *entries; /* of NUMBERS_MAX */
static int64_t n_numbers, n_deliveries, n_again, n_open;
static unsigned n_faults;
static bool is_forged;
static volatile sig_atomic_t stops;

static void on_signal(int number)
{
	(void)number;
	stops = 1;
}

static void fault(const char *what, int64_t number)
{
	if (n_faults++ < 20)
		printf("# %s: number %" PRId64 "\n", what, number);
}

static int64_t now_ms(void)
{
	return mq_wall_ms(&mq_clock_system);
}

/* The code of the answer, -1 when the connection broke. The frame stays with *ret. */
static int ask(struct mq_command *cmd, struct mq_command *answer, struct mq_frame **ret)
{
	static int32_t opaque;

	cmd->opaque = ++opaque;
	if (!link_send(&l, cmd))
		return -1;
	*ret = link_answer(&l, answer);
	return *ret ? answer->code : -1;
}

/* ---- Sending ---- */

static bool send_one(void)
{
	_cleanup_(mq_frame_unrefp) struct mq_frame *frame = NULL;
	struct mq_command cmd, answer;
	int64_t number = n_numbers;
	char body[24];
	int code;

	if (number == NUMBERS_MAX)
		return true;
	n_numbers++;
	snprintf(body, sizeof body, "%" PRId64, number);
	mq_command_request(&cmd, MQ_SEND_MESSAGE_V2);
	mq_command_add(&cmd, "a", MQ_SLICE(GROUP));
	mq_command_add(&cmd, "b", MQ_SLICE(TOPIC));
	mq_command_add(&cmd, "c", MQ_SLICE("TBW102"));
	mq_command_add_i64(&cmd, "d", QUEUES);
	mq_command_add_i64(&cmd, "e", number % QUEUES);
	mq_command_add(&cmd, "f", MQ_SLICE("0"));
	mq_command_add_i64(&cmd, "g", now_ms());
	mq_command_add(&cmd, "h", MQ_SLICE("0"));
	mq_command_add(&cmd, "i", MQ_SLICE("color\001blue\002"));
	cmd.body = mq_slice_of(body);
	code = ask(&cmd, &answer, &frame);
	if (code == MQ_SUCCESS) {
		entries[number].was_sent = true;
		n_open++;
	}
	return code >= 0;
}

/* ---- What to do with a delivery ---- */

static void name_message(struct mq_command *cmd, int code, const struct delivery *d)
{
	mq_command_request(cmd, code);
	mq_command_add(cmd, "consumerGroup", MQ_SLICE(GROUP));
	mq_command_add(cmd, "topic", d->is_retried ? MQ_SLICE(RETRY) : MQ_SLICE(TOPIC));
	mq_command_add_i64(cmd, "queueId", d->queue_id);
	mq_command_add_i64(cmd, "offset", d->offset);
	mq_command_add(cmd, "extraInfo", mq_slice_of(d->receipt));
}

static bool acknowledge(const struct delivery *d)
{
	_cleanup_(mq_frame_unrefp) struct mq_frame *frame = NULL;
	struct entry *e = &entries[d->number];
	struct mq_command cmd, answer;
	int code;

	name_message(&cmd, MQ_ACK_MESSAGE, d);
	code = ask(&cmd, &answer, &frame);
	/* Without an answer it may be over, and need not come again. */
	if (code == MQ_SUCCESS || code < 0) {
		n_open -= !e->is_over && e->was_sent;
		e->is_over = true;
	}
	e->is_done |= code == MQ_SUCCESS && now_ms() < d->due_ms;
	return code >= 0;
}

static bool put_off(const struct delivery *d)
{
	_cleanup_(mq_frame_unrefp) struct mq_frame *frame = NULL;
	struct entry *e = &entries[d->number];
	struct mq_command cmd, answer;
	int code;

	name_message(&cmd, MQ_CHANGE_MESSAGE_INVISIBLETIME, d);
	mq_command_add_i64(&cmd, "invisibleTime", PUT_OFF_MS);
	e->hidden_ms = 0; /* until there is an answer */
	code = ask(&cmd, &answer, &frame);
	/* Too late, and it is in the retry topic already. */
	if (code == MQ_SUCCESS && now_ms() < d->due_ms)
		e->hidden_ms = link_i64(&answer, "popTime") + PUT_OFF_MS;
	return code >= 0;
}

static bool handle(const struct delivery *d)
{
	bool is_first = entries[d->number].n_delivered == 1 && !stops;

	if (is_first && d->number % 3 == 1)
		return put_off(d);
	if (is_first && d->number % 3 == 2) {
		if (is_forged) {
			entries[d->number].is_done = entries[d->number].is_over = true;
			n_open--;
		}
		return true;
	}
	return acknowledge(d);
}

/* The answer came at came_ms. Its popTime is of when the pop began: what became due while it ran may be in it. */
static void check(const struct delivery *d, int64_t came_ms)
{
	struct entry *e = &entries[d->number];

	if (e->is_done)
		fault("came again after it was acknowledged", d->number);
	if (came_ms < e->hidden_ms)
		fault("came again before its time was over", d->number);
	n_again += e->n_delivered > 0;
	e->n_delivered++;
	n_deliveries++;
	e->hidden_ms = d->due_ms;
	/* The send had no answer, but happened. */
	if (!e->was_sent) {
		e->was_sent = true;
		n_open += !e->is_over;
	}
}

/* ---- Popping ---- */

static void read_delivery(const struct mq_record *r, const struct mq_command *answer, struct delivery *ret)
{
	struct mq_slice receipt = mq_properties_get(r->properties, MQ_PROPERTY_POP_CK);
	char number[24];

	snprintf(number, sizeof number, "%.*s", MQ_FMT(r->body));
	*ret = (struct delivery){
		.number = strtoll(number, NULL, 10),
		.offset = r->queue_offset,
		.queue_id = r->queue_id,
		.due_ms = link_i64(answer, "popTime") + INVISIBLE_MS,
		.is_retried = receipt.p,
	};
	if (receipt.p)
		snprintf(ret->receipt, sizeof ret->receipt, "%.*s", MQ_FMT(receipt));
	else
		snprintf(ret->receipt, sizeof ret->receipt, "%" PRId64 " %" PRId64 " %d %" PRId64 " 0 broker %d %" PRId64, r->queue_offset,
			 link_i64(answer, "popTime"), INVISIBLE_MS, link_i64(answer, "reviveQid"), r->queue_id, r->queue_offset);
}

static bool pop_some(void)
{
	_cleanup_(mq_frame_unrefp) struct mq_frame *frame = NULL;
	struct delivery deliveries[POP_MAX];
	struct mq_command cmd, answer;
	struct mq_slice rest;
	int64_t came_ms;
	int n = 0, code;

	mq_command_request(&cmd, MQ_POP_MESSAGE);
	mq_command_add(&cmd, "consumerGroup", MQ_SLICE(GROUP));
	mq_command_add(&cmd, "topic", MQ_SLICE(TOPIC));
	mq_command_add_i64(&cmd, "queueId", -1);
	mq_command_add_i64(&cmd, "maxMsgNums", POP_MAX);
	mq_command_add_i64(&cmd, "invisibleTime", INVISIBLE_MS);
	mq_command_add_i64(&cmd, "pollTime", stops ? 200 : 0);
	mq_command_add_i64(&cmd, "bornTime", now_ms());
	mq_command_add_i64(&cmd, "initMode", 0);
	mq_command_add(&cmd, "order", MQ_SLICE("false"));
	code = ask(&cmd, &answer, &frame);
	came_ms = now_ms();
	if (code != MQ_SUCCESS)
		return code >= 0;
	for (rest = answer.body; rest.n > 0 && n < POP_MAX; n++) {
		struct mq_record r;
		int size = mq_record_decode(rest, &r);

		if (size < 0)
			fail("a pop's answer", "has no messages in it");
		rest = (struct mq_slice){ rest.p + size, rest.n - (size_t)size };
		read_delivery(&r, &answer, &deliveries[n]);
		if (deliveries[n].number < 0 || deliveries[n].number >= n_numbers) {
			fault("delivered but never sent", deliveries[n--].number);
			continue;
		}
		check(&deliveries[n], came_ms);
	}
	for (int i = 0; i < n; i++)
		if (!handle(&deliveries[i]))
			return false;
	return true;
}

/* On one connection, until it breaks or nothing is left to do. */
static void run_on(int64_t *until_ms)
{
	for (;;) {
		if (stops && *until_ms == INT64_MAX)
			*until_ms = now_ms() + DRAIN_MS;
		if (stops && (n_open == 0 || now_ms() > *until_ms))
			return;
		for (int i = 0; i < SENDS && !stops; i++)
			if (!send_one())
				return;
		if (!pop_some())
			return;
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	int64_t until_ms = INT64_MAX;
	struct mq_error err;

	if (argc < 2 || argc > 3 || mq_address_parse(&l.address, mq_slice_of(argv[1]), &err) < 0) {
		fprintf(stderr, "usage: pops ADDRESS [forge]\n");
		return 64;
	}
	is_forged = argc == 3;
	entries = calloc(NUMBERS_MAX, sizeof *entries);
	if (!entries)
		fail("no memory", "for the ledger");
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0); /* faults are looked for while it runs */
	sigaction(SIGTERM, &action, NULL);
	while (!stops || (n_open > 0 && now_ms() <= until_ms)) {
		if (!link_open(&l)) {
			(void)poll(NULL, 0, RECONNECT_MS);
			continue;
		}
		run_on(&until_ms);
		link_close(&l);
	}
	for (int64_t i = 0; i < n_numbers; i++)
		if (entries[i].was_sent && !entries[i].is_over)
			fault("sent, and not there to be acknowledged", i);
	printf("# %" PRId64 " sent, %" PRId64 " delivered, %" PRId64 " of them again, %u faults\n", n_numbers, n_deliveries, n_again, n_faults);
	free(entries);
	return n_faults == 0 && n_deliveries > 0 && n_again > 0 ? 0 : 1;
}
