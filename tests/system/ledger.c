/* The ledger of the crash tests: sends numbered messages and writes down what was acknowledged, then checks a broker against it.
 *
 *   ledger produce ADDRESS TOPIC QUEUES IN-FLIGHT LEDGER [DELAY]   until SIGTERM, reconnecting whenever the broker is gone
 *   ledger verify  ADDRESS TOPIC QUEUES LEDGER [DELAY]
 *
 * With DELAY, in milliseconds, each message is to be delivered after a delay of its own between half of that and all of it. Then it
 * must be in its queue once, wherever, and not early.
 *
 * Every number is sent at most once, so that a message found twice is the broker's fault. A ledger line is "number queue offset",
 * written when the answer with code 0 arrived; the last line of a finished run is "sent N". Raw frames on a blocking
 * socket: the clients' own retries would hide what is looked for. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include "libmq/base/clock.h"
#include "libmq/wire/codes.h"
#include "libmq/wire/fields.h"
#include "tests/system/link.h"

enum {
	IN_FLIGHT_MAX = 4096,
	QUEUES_MAX = 1024,
	RETRY_MS = 5,         /* between attempts to connect */
	BODY_SIZE = 256,
};

static volatile sig_atomic_t stopping;
static int64_t max_delay_ms; /* 0: delivered at once */

static int64_t delay_of(int64_t number)
{
	return max_delay_ms / 2 + number * 7919 % (max_delay_ms / 2 + 1);
}

static void on_signal(int number)
{
	(void)number;
	stopping = 1;
}

static void send_command(struct mq_command *cmd, const char *topic, int queues, int64_t number, char body[BODY_SIZE])
{
	static char properties[64]; /* until it is encoded */

	memset(body, 'x', BODY_SIZE);
	snprintf(body, BODY_SIZE, "%" PRId64, number);
	mq_command_request(cmd, MQ_SEND_MESSAGE_V2);
	cmd->opaque = (int32_t)(number % IN_FLIGHT_MAX);
	mq_command_add(cmd, "a", MQ_SLICE("ledger"));
	mq_command_add(cmd, "b", mq_slice_of(topic));
	mq_command_add(cmd, "c", MQ_SLICE("TBW102"));
	mq_command_add_i64(cmd, "d", queues);
	mq_command_add_i64(cmd, "e", number % queues);
	mq_command_add(cmd, "f", MQ_SLICE("0"));
	mq_command_add_i64(cmd, "g", mq_wall_ms(&mq_clock_system));
	mq_command_add(cmd, "h", MQ_SLICE("0"));
	if (max_delay_ms > 0) {
		snprintf(properties, sizeof properties, "TIMER_DELAY_MS\001%" PRId64 "\002", delay_of(number));
		mq_command_add(cmd, "i", mq_slice_of(properties));
	}
	cmd->body = (struct mq_slice){ body, BODY_SIZE };
}

/* One connection's worth: keeps `window` sends under way until it breaks or we are told to stop. Returns numbers used up. */
static int64_t produce_on(struct link *l, const char *topic, int queues, int window, FILE *ledger, int64_t first)
{
	static int64_t number_of[IN_FLIGHT_MAX];
	struct mq_command cmd;
	char body[BODY_SIZE];
	int64_t next = first;
	int pending = 0;

	while (!stopping || pending > 0) {
		while (!stopping && pending < window) {
			send_command(&cmd, topic, queues, next, body);
			number_of[cmd.opaque] = next++;
			if (!link_send(l, &cmd))
				return next;
			pending++;
		}

		_cleanup_(mq_frame_unrefp) struct mq_frame *frame = link_answer(l, &cmd);
		if (!frame)
			return next;
		pending--;
		if (cmd.code == MQ_SUCCESS) {
			fprintf(ledger, "%" PRId64 " %" PRId64 " %" PRId64 "\n", number_of[cmd.opaque % IN_FLIGHT_MAX],
				link_i64(&cmd, "queueId"), link_i64(&cmd, "queueOffset"));
			fflush(ledger);
		}
	}
	return next;
}

static int produce(struct link *l, const char *topic, int queues, int window, const char *path)
{
	FILE *ledger = fopen(path, "w");
	int64_t next = 0;

	if (!ledger)
		fail(path, strerror(errno));
	while (!stopping) {
		if (!link_open(l)) {
			(void)poll(NULL, 0, RETRY_MS);
			continue;
		}
		next = produce_on(l, topic, queues, window, ledger, next);
		link_close(l);
	}
	fprintf(ledger, "sent %" PRId64 "\n", next);
	return fclose(ledger) == 0 ? 0 : 1;
}

/* What the ledger says of one number, and what was found. */
struct entry {
	int64_t offset; /* -1: not acknowledged */
	int32_t queue;
	int32_t n_found;
};

struct book {
	struct entry *entries;
	int64_t n; /* numbers sent */
	int64_t n_acknowledged;
};

static void book_read(struct book *b, const char *path)
{
	FILE *ledger = fopen(path, "r");
	int64_t number, offset, capacity = 0;
	char line[128];
	int queue;

	if (!ledger)
		fail(path, strerror(errno));
	b->n = -1;
	while (fgets(line, sizeof line, ledger)) {
		if (sscanf(line, "sent %" SCNd64, &b->n) == 1)
			break;
		if (sscanf(line, "%" SCNd64 " %d %" SCNd64, &number, &queue, &offset) != 3)
			fail("bad line in the ledger", line);
		if (number >= capacity) {
			int64_t wanted = number * 2 + 1024;

			b->entries = reallocarray(b->entries, (size_t)wanted, sizeof *b->entries);
			if (!b->entries)
				fail("ledger", "out of memory");
			for (int64_t i = capacity; i < wanted; i++)
				b->entries[i] = (struct entry){ .offset = -1 };
			capacity = wanted;
		}
		b->entries[number] = (struct entry){ .offset = offset, .queue = queue };
		b->n_acknowledged++;
	}
	fclose(ledger);
	if (b->n < 0)
		fail(path, "the run did not finish: there is no line 'sent N'");
	if (b->n > capacity) {
		b->entries = reallocarray(b->entries, (size_t)b->n, sizeof *b->entries);
		if (!b->entries)
			fail("ledger", "out of memory");
		for (int64_t i = capacity; i < b->n; i++)
			b->entries[i] = (struct entry){ .offset = -1 };
	}
}

static unsigned n_faults;

static void fault(const char *what, int64_t number, int queue, int64_t offset)
{
	if (n_faults++ < 20)
		printf("# %s: number %" PRId64 ", queue %d, offset %" PRId64 "\n", what, number, queue, offset);
}

static void check_record(struct book *b, const struct mq_record *r, int queue, int64_t expected)
{
	int64_t number = strtoll(r->body.p, NULL, 10);

	if (r->queue_offset != expected)
		fault("offsets are not dense", number, queue, r->queue_offset);
	if (r->body.n != BODY_SIZE || number < 0 || number >= b->n) {
		fault("delivered but never sent", number, queue, r->queue_offset);
		return;
	}
	struct entry *e = &b->entries[number];
	if (++e->n_found > 1)
		fault("delivered twice", number, queue, r->queue_offset);
	if (e->offset >= 0 && ((e->offset != r->queue_offset && max_delay_ms == 0) || e->queue != queue))
		fault("not where it was acknowledged", number, queue, r->queue_offset);
	if (max_delay_ms > 0 && r->store_at_ms < r->born_at_ms + delay_of(number))
		fault("delivered early", number, queue, r->queue_offset);
}

struct reading {
	struct book *book;
	int64_t n;
	int queue;
};

static void on_found(const struct mq_record *r, void *user)
{
	struct reading *reading = user;

	check_record(reading->book, r, reading->queue, reading->n++);
}

static int64_t verify_queue(struct link *l, struct book *b, const char *topic, int queue)
{
	struct reading reading = { b, 0, queue };

	link_read_queue(l, topic, queue, on_found, &reading);
	return reading.n; /* the caller compares with what was acknowledged */
}

static int verify(struct link *l, const char *topic, int queues, const char *path)
{
	struct book b = {};
	int64_t found = 0, lost = 0;

	book_read(&b, path);
	if (!link_open(l))
		fail(l->address.text, "cannot connect");
	for (int queue = 0; queue < queues; queue++)
		found += verify_queue(l, &b, topic, queue);
	link_close(l);

	for (int64_t i = 0; i < b.n; i++) {
		if (b.entries[i].offset >= 0 && b.entries[i].n_found == 0) {
			fault("acknowledged but lost", i, b.entries[i].queue, b.entries[i].offset);
			lost++;
		}
	}
	printf("# %" PRId64 " sent, %" PRId64 " acknowledged, %" PRId64 " found, %" PRId64 " lost, %u faults\n", b.n, b.n_acknowledged,
	       found, lost, n_faults);
	free(b.entries);
	return n_faults == 0 && b.n_acknowledged > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	static struct link l;
	struct mq_error err;

	bool is_produce = (argc == 7 || argc == 8) && strcmp(argv[1], "produce") == 0;
	bool is_verify = (argc == 6 || argc == 7) && strcmp(argv[1], "verify") == 0;
	if (!is_produce && !is_verify) {
		fprintf(stderr, "usage: ledger produce ADDRESS TOPIC QUEUES IN-FLIGHT LEDGER [DELAY]\n"
				"       ledger verify ADDRESS TOPIC QUEUES LEDGER [DELAY]\n");
		return 64;
	}
	if (mq_address_parse(&l.address, mq_slice_of(argv[2]), &err) < 0)
		fail(argv[2], err.text);
	int queues = atoi(argv[4]);
	if (queues < 1 || queues > QUEUES_MAX)
		fail(argv[4], "that many queues are not possible");

	if (argc == (is_produce ? 8 : 7))
		max_delay_ms = atoi(argv[argc - 1]);
	signal(SIGPIPE, SIG_IGN);
	if (is_verify)
		return verify(&l, argv[3], queues, argv[5]);

	int window = atoi(argv[5]);
	if (window < 1 || window >= IN_FLIGHT_MAX)
		fail(argv[5], "that many requests in flight are not possible");
	struct sigaction action = { .sa_handler = on_signal };
	sigaction(SIGTERM, &action, NULL);
	return produce(&l, argv[3], queues, window, argv[6]);
}
