#include "daemons/ctl/template.h"

#include <errno.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libmq/wire/codes.h"
#include "libmq/wire/command.h"
#include "libmq/wire/record.h"

/* Stand-in for the counted half of a unique id, found again in the encoded bytes. */
#define COUNT_MARK "C0FFEEC0FFEEC0DE"
#define BORN_STANDIN 1000000000000 /* as many digits as the times that replace it */

enum { PROPERTIES_MAX = 128, BIRTH_DIGITS = 13, OPAQUE_DIGITS = 10, COUNT_DIGITS = 16 };

void put_decimal(char *out, uint64_t value, int digits)
{
	for (int i = digits - 1; i >= 0; i--, value /= 10)
		out[i] = (char)('0' + value % 10);
}

void put_hex(char *out, uint64_t value, int digits)
{
	for (int i = digits - 1; i >= 0; i--, value >>= 4)
		out[i] = "0123456789ABCDEF"[value & 15];
}

/* What Java producers put into every message, and into delayed ones. */
static size_t write_properties(char *out, const struct template_config *cfg)
{
	int n = snprintf(out, PROPERTIES_MAX, "UNIQ_KEY\x01%016llX" COUNT_MARK "\x02WAIT\x01true\x02",
			 (unsigned long long)cfg->process);

	if (cfg->delay_ms > 0)
		n += snprintf(out + n, (size_t)(PROPERTIES_MAX - n), "TIMER_DELAY_MS\x01%" PRIi64 "\x02", cfg->delay_ms);
	return (size_t)n;
}

static void fill_body(char *out, size_t n)
{
	static const char text[] = "mqctl bench 0123456789 abcdefghijklmnopqrstuvwxyz ";

	for (size_t i = 0; i < n; i++)
		out[i] = text[i % (sizeof text - 1)];
}

static int build_body(const struct template_config *cfg, struct mq_slice properties, char **ret, size_t *ret_n)
{
	_cleanup_(freep) char *one = malloc(cfg->body_size + 1);
	struct mq_batch_entry e = { .body = { one, cfg->body_size }, .properties = properties };
	size_t n = cfg->n_messages == 1 ? cfg->body_size : cfg->n_messages * mq_batch_entry_size(&e), at = 0;
	char *body;

	if (n > MQ_FRAME_MAX_DEFAULT - 4096)
		return -EMSGSIZE;
	body = malloc(n + 1);
	if (!one || !body) {
		free(body);
		return -ENOMEM;
	}
	fill_body(one, cfg->body_size);
	if (cfg->n_messages == 1)
		memcpy(body, one, cfg->body_size);
	for (unsigned i = 0; cfg->n_messages > 1 && i < cfg->n_messages; i++)
		at += mq_batch_entry_encode(&e, body + at);
	*ret = body;
	*ret_n = n;
	return 0;
}

/* The frame with marks in the places to patch. */
static int encode(struct template *t, const struct template_config *cfg)
{
	_cleanup_(freep) char *body = NULL;
	char properties[PROPERTIES_MAX];
	struct mq_slice one = { properties, write_properties(properties, cfg) };
	bool is_batch = cfg->n_messages > 1;
	struct mq_command cmd;
	struct evbuffer *out;
	size_t n_body = 0;
	int r;

	r = build_body(cfg, one, &body, &n_body);
	if (r < 0)
		return r;
	mq_command_request(&cmd, is_batch ? MQ_SEND_BATCH_MESSAGE : MQ_SEND_MESSAGE_V2);
	cmd.opaque = TEMPLATE_OPAQUE_BASE;
	mq_command_add(&cmd, "a", mq_slice_of(cfg->group));
	mq_command_add(&cmd, "b", mq_slice_of(cfg->topic));
	mq_command_add(&cmd, "c", MQ_SLICE("TBW102"));
	mq_command_add_i64(&cmd, "d", 4);
	mq_command_add_i64(&cmd, "e", cfg->queue_id);
	mq_command_add_i64(&cmd, "f", 0);
	mq_command_add_i64(&cmd, "g", BORN_STANDIN);
	mq_command_add_i64(&cmd, "h", 0);
	if (!is_batch)
		mq_command_add(&cmd, "i", one);
	mq_command_add_i64(&cmd, "j", 0);
	mq_command_add_bool(&cmd, "k", false);
	mq_command_add_bool(&cmd, "m", is_batch);
	mq_command_add(&cmd, "n", mq_slice_of(cfg->broker));
	cmd.body = (struct mq_slice){ body, n_body };

	out = evbuffer_new();
	if (!out)
		return -ENOMEM;
	r = mq_command_encode(&cmd, NULL, out);
	if (r >= 0) {
		t->n = evbuffer_get_length(out);
		t->bytes = malloc(t->n);
		if (t->bytes)
			evbuffer_remove(out, t->bytes, t->n);
		else
			r = -ENOMEM;
	}
	evbuffer_free(out);
	return r;
}

static int find(const struct template *t, size_t from, const char *mark, size_t *ret)
{
	const char *at = memmem(t->bytes + from, t->n - from, mark, strlen(mark));

	if (!at)
		return -EPROTO;
	*ret = (size_t)(at - t->bytes);
	return 0;
}

static int find_behind(const struct template *t, const char *mark, size_t *ret)
{
	int r = find(t, 0, mark, ret);

	if (r >= 0)
		*ret += strlen(mark);
	return r;
}

static int find_marks(struct template *t, const struct template_config *cfg)
{
	size_t from = 0, entry, body;
	int r;

	r = find_behind(t, "\"opaque\":", &t->opaque_at);
	if (r >= 0)
		r = find_behind(t, "\"g\":\"", &t->born_at);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < cfg->n_messages; i++) {
		r = find(t, from, COUNT_MARK, &t->unique_at[i]);
		if (r < 0)
			return r;
		from = t->unique_at[i] + COUNT_DIGITS;
	}
	/* Bodies: at the end of the frame, or one per batch entry behind 20 bytes of numbers. */
	entry = cfg->n_messages > 1 ? (t->unique_at[1] - t->unique_at[0]) : cfg->body_size;
	body = t->n - entry * cfg->n_messages + (cfg->n_messages > 1 ? 20 : 0);
	for (unsigned i = 0; i < cfg->n_messages; i++)
		t->body_at[i] = body + i * entry;
	return 0;
}

int template_init(struct template *t, const struct template_config *cfg)
{
	int r;

	*t = (struct template){ .n_messages = cfg->n_messages };
	t->unique_at = calloc(cfg->n_messages, sizeof *t->unique_at);
	t->body_at = calloc(cfg->n_messages, sizeof *t->body_at);
	r = t->unique_at && t->body_at ? encode(t, cfg) : -ENOMEM;
	if (r >= 0)
		r = find_marks(t, cfg);
	if (r < 0)
		template_done(t);
	return r;
}

void template_done(struct template *t)
{
	free(t->bytes);
	free(t->unique_at);
	free(t->body_at);
	*t = (struct template){};
}

void template_write(const struct template *t, char *out, uint32_t opaque, int64_t born_at_ms,
		    uint64_t first_unique)
{
	memcpy(out, t->bytes, t->n);
	put_decimal(out + t->opaque_at, opaque, OPAQUE_DIGITS);
	put_decimal(out + t->born_at, (uint64_t)born_at_ms, BIRTH_DIGITS);
	for (unsigned i = 0; i < t->n_messages; i++)
		put_hex(out + t->unique_at[i], first_unique + i, COUNT_DIGITS);
}
