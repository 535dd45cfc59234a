/* mq-store: looks into the directory of a stopped broker. Nothing but `repair` writes to it. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "libmq/base/log.h"
#include "libmq/wire/record.h"
#include "storage/inspect.h"

enum { EXIT_DAMAGED = 1, EXIT_USAGE = 64, EXIT_NO_INPUT = 66, EXIT_UNAVAILABLE = 69, EXIT_IO = 74, EXIT_NOPERM = 77, EXIT_CONFIG = 78 };
enum { FAULTS_SHOWN = 100 };

static const char usage[] =
	"usage: mq-store check [--quiet] DIRECTORY\n"
	"       mq-store dump [--records TOPIC[/QUEUE]] [--index] DIRECTORY\n"
	"       mq-store repair --accept-loss DIRECTORY\n"
	"\n"
	"Looks into the directory of a stopped broker (storePathRootDir).\n"
	"\n"
	"  check           verify every record and every invariant; each fault is one line\n"
	"  dump            list queues with their column families, minimum and maximum offsets\n"
	"  repair          let a store open whose log ends before the point that was on the disk\n"
	"\n"
	"Options:\n"
	"  -q, --quiet            print faults only\n"
	"  -r, --records T[/Q]    dump: the messages of topic T, or of its queue Q\n"
	"  -i, --index            dump: the rows of the key index\n"
	"      --accept-loss      repair: what is missing is given up\n"
	"  -h, --help             print this help\n"
	"  -V, --version          print the version\n"
	"\n"
	"Exit status: 0 in order, 1 damaged, 64 usage, 66 no store there, 69 in use by a broker, 74 cannot be read, 77 no permission,\n"
	"78 of a newer format. The manual: mq-store(1).\n";

struct args {
	const char *verb, *directory, *records;
	bool quiet, index, accept_loss;
};

/* 0: go on; else the exit status in *ret_status was decided. */
static int args_parse(struct args *a, int argc, char **argv, int *ret_status)
{
	enum { ACCEPT_LOSS = 256 };
	static const struct option options[] = {
		{ "quiet", no_argument, NULL, 'q' },        { "records", required_argument, NULL, 'r' },
		{ "index", no_argument, NULL, 'i' },        { "accept-loss", no_argument, NULL, ACCEPT_LOSS },
		{ "help", no_argument, NULL, 'h' },         { "version", no_argument, NULL, 'V' },
		{},
	};
	int c;

	*ret_status = 0;
	while ((c = getopt_long(argc, argv, "qr:ihV", options, NULL)) >= 0) {
		switch (c) {
		case 'q':
			a->quiet = true;
			break;
		case 'r':
			a->records = optarg;
			break;
		case 'i':
			a->index = true;
			break;
		case ACCEPT_LOSS:
			a->accept_loss = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 1;
		case 'V':
			puts("mq-store " MQ_PACKAGE_VERSION);
			return 1;
		default:
			fputs("Try 'mq-store --help'.\n", stderr);
			*ret_status = EXIT_USAGE;
			return 1;
		}
	}
	if (argc - optind != 2) {
		fputs("mq-store: say what to do and with which directory\nTry 'mq-store --help'.\n", stderr);
		*ret_status = EXIT_USAGE;
		return 1;
	}
	a->verb = argv[optind];
	a->directory = argv[optind + 1];
	return 0;
}

static int exit_status(int r)
{
	switch (r) {
	case -ENOENT:
	case -ENOTDIR:
		return EXIT_NO_INPUT;
	case -EBUSY:
		return EXIT_UNAVAILABLE;
	case -EACCES:
	case -EPERM:
		return EXIT_NOPERM;
	case -EPROTO:
		return EXIT_CONFIG;
	case -EBADMSG:
		return EXIT_DAMAGED;
	default:
		return EXIT_IO;
	}
}

static int fail(int r, const struct mq_error *err)
{
	fprintf(stderr, "mq-store: %s\n", err->text);
	return exit_status(r);
}

/* ---- check ---- */

static void on_fault(void *user, const char *sentence)
{
	unsigned *n_shown = user;

	if ((*n_shown)++ < FAULTS_SHOWN)
		puts(sentence);
}

static int do_check(struct inspect *in, const struct args *a)
{
	struct inspect_summary sum;
	struct mq_error err;
	unsigned n_shown = 0;
	int r = inspect_check(in, on_fault, &n_shown, &sum, &err);

	if (sum.n_faults > FAULTS_SHOWN)
		printf("... and %" PRIu64 " more\n", sum.n_faults - FAULTS_SHOWN);
	if (r < 0)
		return fail(r, &err);
	if (!a->quiet)
		printf("%" PRIu64 " queues in %" PRIu64 " column families (%" PRIu64 " spare), %" PRIu64 " messages of %" PRIu64
		       " bytes, %" PRIu64 " index rows, %" PRIu64 " consumer offsets, %" PRIu64 " open transactions, %" PRIu64 " waiting for their time\n",
		       sum.n_queues, sum.n_families, sum.n_spare_families, sum.n_records, sum.record_bytes, sum.n_index_rows,
		       sum.n_offset_rows, sum.n_half_rows, sum.n_due_rows);
	if (sum.n_faults > 0) {
		printf("%" PRIu64 " faults\n", sum.n_faults);
		return EXIT_DAMAGED;
	}
	if (!a->quiet)
		puts("in order");
	return 0;
}

/* ---- dump ---- */

static void dump_queue(void *user, const struct inspect_queue *q)
{
	printf("%-32.*s %6" PRId32 " %8" PRIu32 " %-8s %12" PRId64 " %12" PRId64 " %12" PRId64 "\n", MQ_FMT(q->topic), q->queue_id,
	       q->number, q->family[0] ? q->family : "-", q->min, q->max, q->max - q->min);
}

static void print_time(int64_t at_ms)
{
	time_t seconds = at_ms / 1000;
	char text[32] = "?";
	struct tm t;

	if (gmtime_r(&seconds, &t))
		strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &t);
	printf("%s.%03dZ", text, (int)(at_ms % 1000));
}

/* Bodies and properties are anybody's bytes: what a terminal would obey is shown as a dot. */
static void print_text(struct mq_slice text)
{
	for (size_t i = 0; i < text.n; i++)
		putchar((unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f ? '.' : text.p[i]);
}

static void dump_record(void *user, const struct inspect_queue *q, int64_t offset, int64_t tag_hash, struct mq_slice record)
{
	struct mq_record r;
	char id[MQ_MESSAGE_ID_MAX];

	if (mq_record_decode(record, &r) < 0) {
		printf("%.*s/%" PRId32 " %" PRId64 " is no message record\n", MQ_FMT(q->topic), q->queue_id, offset);
		return;
	}
	mq_message_id_encode(&r.store_host, r.physical_offset, id);
	printf("%.*s/%" PRId32 " %" PRId64 " %s ", MQ_FMT(q->topic), q->queue_id, offset, id);
	print_time(r.store_at_ms);
	printf(" %zu bytes, ", r.body.n);
	print_text(r.properties);
	putchar('\n');
}

static void dump_index_row(void *user, int64_t store_at_ms, uint64_t hash, int64_t locator)
{
	print_time(store_at_ms);
	printf(" %016" PRIx64 " %" PRId64 "\n", hash, locator);
}

struct wanted {
	struct mq_slice topic;
	int32_t queue_id; /* -1: any */
	bool is_there;
};

static void match_queue(void *user, const struct inspect_queue *q)
{
	struct wanted *w = user;

	w->is_there |= mq_slice_equal(q->topic, w->topic) && (w->queue_id < 0 || q->queue_id == w->queue_id);
}

static bool has_queue(struct inspect *in, struct mq_slice topic, int32_t queue_id)
{
	struct wanted w = { topic, queue_id, false };

	inspect_queues(in, match_queue, &w);
	return w.is_there;
}

static int do_dump(struct inspect *in, const struct args *a)
{
	struct mq_error err;
	int64_t r = 0;

	if (a->records) {
		struct mq_slice topic = mq_slice_of(a->records);
		const char *slash = strchr(a->records, '/');
		int32_t queue_id = -1;

		if (slash) {
			char *end;
			long id = strtol(slash + 1, &end, 10);

			if (end == slash + 1 || *end || id < 0 || id > INT32_MAX) {
				fprintf(stderr, "mq-store: '%s' is no queue id: say TOPIC or TOPIC/QUEUE\n", slash + 1);
				return EXIT_USAGE;
			}
			topic.n = (size_t)(slash - a->records);
			queue_id = (int32_t)id;
		}
		if (!has_queue(in, topic, queue_id)) {
			fprintf(stderr, "mq-store: nothing was stored in %s: 'mq-store dump' lists the queues\n", a->records);
			return EXIT_NO_INPUT;
		}
		r = inspect_records(in, topic, queue_id, dump_record, NULL, &err);
	} else if (a->index) {
		r = inspect_index(in, dump_index_row, NULL, &err);
	} else {
		printf("%-32s %6s %8s %-8s %12s %12s %12s\n", "TOPIC", "QUEUE", "NUMBER", "FAMILY", "MIN", "MAX", "MESSAGES");
		inspect_queues(in, dump_queue, NULL);
	}
	return r < 0 ? fail((int)r, &err) : 0;
}

/* ---- repair ---- */

static int do_repair(const struct args *a)
{
	struct mq_error err;
	int r;

	if (!a->accept_loss) {
		fputs("mq-store: repair gives up what is missing: say --accept-loss if no backup is better\n", stderr);
		return EXIT_USAGE;
	}
	r = inspect_accept_loss(a->directory, &err);
	if (r < 0)
		return fail(r, &err);
	puts("the store opens with what is left");
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_(inspect_closep) struct inspect *in = NULL;
	struct args a = {};
	struct mq_error err;
	int status, r;

	mq_log_init("mq-store");
	if (args_parse(&a, argc, argv, &status) != 0)
		return status;
	if (strcmp(a.verb, "repair") == 0)
		return do_repair(&a);
	if (strcmp(a.verb, "check") != 0 && strcmp(a.verb, "dump") != 0) {
		fprintf(stderr, "mq-store: there is no '%s'; there are check, dump and repair\nTry 'mq-store --help'.\n", a.verb);
		return EXIT_USAGE;
	}
	r = inspect_open(&in, a.directory, &err);
	if (r < 0)
		return fail(r, &err);
	return strcmp(a.verb, "check") == 0 ? do_check(in, &a) : do_dump(in, &a);
}
