/* Every captured frame of tests/golden through the whole of libmq/wire: decode, encode, decode again.
 * ha-stream.txt is left out: it holds the replication connection, raw bytes that are no frames. */
#include "tests/unit/wire/wire_test.h"

#include <ctype.h>
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>

#include "libmq/wire/codes.h"
#include "libmq/wire/fields.h"
#include "libmq/wire/json.h"
#include "libmq/wire/json_number.h"
#include "libmq/wire/record.h"

enum { NAME_MAX_SIZE = 80 };

struct golden_frame {
	const char *file;                        /* borrowed */
	char title[NAME_MAX_SIZE + NAME_MAX_SIZE]; /* "request: NAME (code), ..." */
	char *bytes;                             /* owned */
	size_t n;
};

static struct {
	unsigned files, frames, requests, sends, binary, json_bodies, exact_json_bodies, records, batch_entries, doubles;
} seen;

/* ---- Allocations of libmq/wire and of this file, which the linker sends here ---- */

static unsigned long n_allocations;

#define COUNTED(result, name, parameters, arguments)                 \
	result __real_##name parameters;                             \
	result __wrap_##name parameters;                             \
	result __wrap_##name parameters                              \
	{                                                            \
		n_allocations++;                                     \
		return __real_##name arguments;                      \
	}

COUNTED(void *, malloc, (size_t n), (n))
COUNTED(void *, calloc, (size_t n, size_t size), (n, size))
COUNTED(void *, realloc, (void *p, size_t n), (p, n))
COUNTED(char *, strdup, (const char *text), (text))
COUNTED(char *, strndup, (const char *text, size_t n), (text, n))

#define SEND_FIELDS(X)                     \
	X(slice, group, "a", REQUIRED)     \
	X(slice, topic, "b", REQUIRED)     \
	X(i32, queue_id, "e", REQUIRED)    \
	X(i64, born_at_ms, "g", REQUIRED)  \
	X(slice, properties, "i", OPTIONAL) \
	X(bool, is_batch, "m", OPTIONAL)
MQ_HEADER(send, SEND_FIELDS)

/* Decodes the header and looks up all that is in it. */
static int decode_without_allocating(struct mq_command *cmd, struct mq_frame *f, struct mq_error *err)
{
	unsigned long before = n_allocations;
	struct send_header h = {};
	int r = mq_command_decode(cmd, f, err);

	for (unsigned i = 0; r == 0 && i < cmd->n_fields; i++)
		assert_non_null(mq_command_field_slice(cmd, cmd->fields[i].name));
	if (r == 0 && cmd->code == MQ_SEND_MESSAGE_V2 && !(cmd->flag & MQ_FLAG_RESPONSE)) {
		assert_int_equal(send_header_decode(&h, cmd, err), 0);
		seen.sends++;
	}
	assert_int_equal(n_allocations, before);
	return r;
}

/* ---- The files ---- */

static int hex(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : tolower(c) - 'a' + 10;
}

/* One line of xxd: offset, colon, up to 8 groups of 4 digits, two blanks, text. */
static void add_hex_line(struct golden_frame *g, const char *line)
{
	const char *p = strchr(line, ':') + 2;

	g->bytes = realloc(g->bytes, g->n + 16);
	for (; !(p[0] == ' ' && p[1] == ' ') && isxdigit((unsigned char)p[0]); p += p[2] == ' ' && p[3] != ' ' ? 3 : 2)
		g->bytes[g->n++] = (char)(hex(p[0]) << 4 | hex(p[1]));
}

static void assert_same_command(const struct mq_command *a, const struct mq_command *b)
{
	assert_int_equal(a->code, b->code);
	assert_int_equal(a->flag, b->flag);
	assert_int_equal(a->opaque, b->opaque);
	assert_int_equal(a->version, b->version);
	assert_int_equal(a->language, b->language);
	assert_int_equal(a->n_fields, b->n_fields);
	for (unsigned i = 0; i < a->n_fields; i++) {
		assert_true(mq_slice_equal(a->fields[i].name, b->fields[i].name));
		assert_true(mq_slice_equal(a->fields[i].value, b->fields[i].value));
	}
	assert_true(mq_slice_equal(a->remark, b->remark));
	assert_true(mq_slice_equal(a->body, b->body));
}

/* jansson's view of a header; an empty remark counts as none (frame.md section 3). */
static json_t *oracle_header(struct mq_slice header)
{
	json_error_t e;
	json_t *oracle = json_loadb(header.p, header.n, 0, &e);
	const char *remark;

	if (!oracle)
		fail_msg("not strict JSON: %s", e.text);
	remark = json_string_value(json_object_get(oracle, "remark"));
	if (remark && !*remark)
		json_object_del(oracle, "remark");
	return oracle;
}

static struct mq_slice header_of(const struct mq_frame *f)
{
	return (struct mq_slice){ f->header, f->header_size };
}

static void check_encoding(const struct golden_frame *g, const struct mq_command *cmd, struct mq_slice original_header)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	_cleanup_(mq_frame_unrefp) struct mq_frame *f = NULL;
	struct mq_command again;

	assert_int_equal(mq_command_encode(cmd, NULL, out), 0);
	f = test_frame_of(test_bytes(out));
	if (cmd->codec == MQ_CODEC_JSON) {
		json_t *a = oracle_header(original_header), *b = oracle_header(header_of(f));

		assert_true(json_equal(a, b));
		json_decref(a);
		json_decref(b);
	} else {
		assert_int_equal(f->size, g->n);
		assert_memory_equal(test_bytes(out).p, g->bytes, g->n);
	}
	assert_int_equal(mq_command_decode(&again, f, NULL), 0);
	assert_same_command(cmd, &again);
}

static bool has_empty_field(const struct mq_command *cmd)
{
	for (unsigned i = 0; i < cmd->n_fields; i++)
		if (cmd->fields[i].value.n == 0)
			return true;
	return false;
}

/* In the other codec everything comes through as well, except empty values, which binary headers cannot carry. */
static void check_other_codec(struct mq_command *cmd)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	_cleanup_(mq_frame_unrefp) struct mq_frame *f = NULL;
	struct mq_command again;

	if (has_empty_field(cmd))
		return;
	cmd->codec = !cmd->codec;
	assert_int_equal(mq_command_encode(cmd, NULL, out), 0);
	f = test_frame_of(test_bytes(out));
	assert_int_equal(mq_command_decode(&again, f, NULL), 0);
	assert_int_equal(again.codec, cmd->codec);
	assert_same_command(cmd, &again);
	cmd->codec = !cmd->codec;
}

static void dump(struct mq_json_writer *w, const struct mq_json_node *node);

static void dump_member(struct mq_json_writer *w, const struct mq_json_node *member)
{
	if (member->key->type == MQ_JSON_STRING) {
		mq_json_key_slice(w, member->key->text);
	} else {
		dump(w, member->key);
		mq_json_key_done(w);
	}
	dump(w, member);
}

static void dump_number(struct mq_json_writer *w, const struct mq_json_node *node)
{
	char text[MQ_DOUBLE_TEXT_MAX];

	if (memchr(node->text.p, '.', node->text.n)) {
		seen.doubles++;
		mq_format_double(mq_json_double(node, -1), text);
		assert_true(mq_slice_is(node->text, text));
	}
	mq_json_raw(w, node->text);
}

static void dump(struct mq_json_writer *w, const struct mq_json_node *node)
{
	switch (node->type) {
	case MQ_JSON_NULL:
		mq_json_raw(w, MQ_SLICE("null"));
		break;
	case MQ_JSON_BOOL:
		mq_json_bool_value(w, mq_json_bool(node, false));
		break;
	case MQ_JSON_NUMBER:
		dump_number(w, node);
		break;
	case MQ_JSON_STRING:
		mq_json_string(w, node->text);
		break;
	case MQ_JSON_ARRAY:
		mq_json_open_array(w);
		MQ_JSON_EACH(element, node)
			dump(w, element);
		mq_json_close_array(w);
		break;
	case MQ_JSON_OBJECT:
		mq_json_open_object(w);
		MQ_JSON_EACH(member, node)
			dump_member(w, member);
		mq_json_close_object(w);
		break;
	}
}

/* Java writes compact and without variation, so what we write from the parsed body is what was captured, byte for byte:
 * bare keys, objects as keys, doubles and all. $ref is the one thing that we read and never write. */
static void check_json_body(struct mq_slice body)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	struct mq_json_writer w;
	struct mq_error err;

	if (mq_json_parse(&doc, body, &err) < 0)
		fail_msg("%s", err.text);
	mq_json_begin(&w, out);
	dump(&w, mq_json_root(doc));
	assert_int_equal(mq_json_end(&w), 0);
	seen.json_bodies++;
	if (memmem(body.p, body.n, "\"$ref\"", 6))
		return;
	assert_int_equal(evbuffer_get_length(out), body.n);
	assert_memory_equal(test_bytes(out).p, body.p, body.n);
	seen.exact_json_bodies++;
}

static void check_record(struct mq_slice bytes, const struct mq_record *r)
{
	_cleanup_(freep) char *out = malloc(bytes.n);
	size_t n;

	assert_int_equal(mq_record_size(r), bytes.n);
	n = mq_record_encode_head(r, out);
	memcpy(out + n, r->body.p, r->body.n);
	n += r->body.n;
	n += mq_record_encode_tail(r, out + n);
	assert_int_equal(n, bytes.n);
	assert_memory_equal(out, bytes.p, n);
	assert_int_equal(mq_body_crc(r->body), r->body_crc);
	assert_true(mq_record_store_at_ms(bytes) == r->store_at_ms);
	assert_true(mq_record_physical_offset(bytes) == r->physical_offset);
	seen.records++;
}

static void check_records(struct mq_slice body)
{
	while (body.n > 0) {
		struct mq_record r;
		int size = mq_record_decode(body, &r);

		assert_true(size > 0);
		check_record((struct mq_slice){ body.p, (size_t)size }, &r);
		body.p += size;
		body.n -= (size_t)size;
	}
}

static void check_batch(struct mq_slice body)
{
	struct mq_batch_entry e;
	int size;

	while ((size = mq_batch_next(body, &e)) > 0) {
		_cleanup_(freep) char *out = malloc((size_t)size);

		assert_int_equal(mq_batch_entry_size(&e), size);
		assert_int_equal(mq_batch_entry_encode(&e, out), size);
		assert_memory_equal(out, body.p, size);
		body.p += size;
		body.n -= (size_t)size;
		seen.batch_entries++;
	}
	assert_int_equal(size, 0);
}

static void check_body(const struct mq_command *cmd)
{
	bool is_response = cmd->flag & MQ_FLAG_RESPONSE;
	struct mq_slice body = cmd->body;

	if (!is_response && cmd->code == MQ_SEND_BATCH_MESSAGE)
		check_batch(body);
	else if (body.n > 8 && (int32_t)mq_get32(body.p + 4) == MQ_RECORD_V1)
		check_records(body);
	else if (body.n > 0 && (body.p[0] == '{' || body.p[0] == '['))
		check_json_body(body);
}

/* The capture's title says what it is: "request: NAME (code), ..." or "response: code NAME, ...". */
static void check_names(const struct golden_frame *g, const struct mq_command *cmd)
{
	const char *name = cmd->flag & MQ_FLAG_RESPONSE ? mq_response_name(cmd->code) : mq_request_name(cmd->code);
	char expected[NAME_MAX_SIZE];

	if (!name)
		return; /* the capture of an unknown request code */
	if (cmd->flag & MQ_FLAG_RESPONSE) {
		snprintf(expected, sizeof expected, "response: %d %s,", cmd->code, name);
	} else {
		snprintf(expected, sizeof expected, "request: %s (%d),", name, cmd->code);
		seen.requests++;
	}
	if (strncmp(g->title, expected, strlen(expected)) != 0)
		fail_msg("%s is titled %s", expected, g->title);
}

static void check_frame(const struct golden_frame *g)
{
	_cleanup_(mq_frame_unrefp) struct mq_frame *f = test_frame_of((struct mq_slice){ g->bytes, g->n });
	_cleanup_(freep) char *header = malloc(f->header_size);
	struct mq_command cmd;
	struct mq_error err;

	memcpy(header, f->header, f->header_size);
	if (decode_without_allocating(&cmd, f, &err) < 0)
		fail_msg("%s: %s: %s", g->file, g->title, err.text);
	print_message("  %s: %s\n", g->file, g->title);
	check_names(g, &cmd);
	check_encoding(g, &cmd, (struct mq_slice){ header, f->header_size });
	check_other_codec(&cmd);
	check_body(&cmd);
	seen.frames++;
	seen.binary += cmd.codec == MQ_CODEC_BINARY;
}

static void check_file(const char *directory, const char *name)
{
	struct golden_frame g = { .file = name };
	char path[512], line[4096];
	bool is_hex = false;
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", directory, name);
	file = fopen(path, "r");
	assert_non_null(file);
	for (;;) {
		bool is_end = !fgets(line, sizeof line, file);

		if (is_hex && (is_end || !isxdigit((unsigned char)line[0]))) {
			check_frame(&g);
			g.n = 0;
			is_hex = false;
		}
		if (is_end)
			break;
		if (is_hex)
			add_hex_line(&g, line);
		else if (strncmp(line, "== ", 3) == 0)
			snprintf(g.title, sizeof g.title, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
		else if (strcmp(line, "hex:\n") == 0)
			is_hex = true;
	}
	free(g.bytes);
	fclose(file);
	seen.files++;
}

static int is_capture(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 4 && strcmp(e->d_name + n - 4, ".txt") == 0 && strcmp(e->d_name, "ha-stream.txt") != 0;
}

static void every_captured_frame_survives_decoding_and_encoding(void **state)
{
	const char *directory = getenv("MQ_GOLDEN");
	struct dirent **names = NULL;
	int n;

	assert_non_null(directory);
	n = scandir(directory, &names, is_capture, alphasort);
	assert_true(n > 0);
	for (int i = 0; i < n; i++) {
		check_file(directory, names[i]->d_name);
		free(names[i]);
	}
	free(names);

	print_message("%u files, %u frames (%u known requests, %u of them sends, %u with binary header), %u JSON bodies (%u byte for "
		      "byte), %u doubles, %u records, %u batch entries\n",
		      seen.files, seen.frames, seen.requests, seen.sends, seen.binary, seen.json_bodies, seen.exact_json_bodies,
		      seen.doubles, seen.records, seen.batch_entries);
	/* What is there today; a reader of the files that stopped working would find nothing and fail nothing. */
	assert_true(seen.files >= 126 && seen.frames >= 583 && seen.binary >= 5 && seen.exact_json_bodies >= 161);
	assert_true(seen.sends >= 21 && seen.records >= 37 && seen.batch_entries >= 5 && seen.doubles >= 73);
}

/* Otherwise nothing would count, and decoding would pass whatever it does. */
static void allocations_of_the_library_are_counted(void **state)
{
	unsigned long before = n_allocations;
	struct mq_json *doc = NULL;

	assert_int_equal(mq_json_parse(&doc, MQ_SLICE("{}"), NULL), 0);
	mq_json_free(doc);
	assert_true(n_allocations > before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(allocations_of_the_library_are_counted),
		cmocka_unit_test(every_captured_frame_survives_decoding_and_encoding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
