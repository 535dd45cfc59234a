#include "libmq/wire/body_register.h"

#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <zlib.h>

#include "libmq/base/bytes.h"
#include "libmq/wire/fields.h"
#include "libmq/wire/json.h"

enum {
	PERM_DEFAULT = 6,   /* read and write, TopicConfig's initial value */
	QUEUES_DEFAULT = 16,
	INFLATE_STEP = 256 << 10, /* bytes by which the output grows at first */
};

static int32_t small(const struct mq_json_node *node, int32_t otherwise)
{
	int64_t value = mq_json_i64(node, otherwise);

	return value >= INT32_MIN && value <= INT32_MAX ? (int32_t)value : otherwise;
}

/* --- DataVersion --------------------------------------------------------------------------------------------------- */

int mq_data_version_decode(struct mq_data_version *ret, struct mq_slice body, struct mq_error *err)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	int r = mq_json_parse(&doc, body, err);

	if (r < 0)
		return r;
	mq_data_version_read(mq_json_root(doc), ret);
	return 0;
}

int mq_data_version_encode(const struct mq_data_version *v, struct evbuffer *out)
{
	struct mq_json_writer w;

	mq_json_begin(&w, out);
	mq_data_version_write(&w, v);
	return mq_json_end(&w);
}

/* --- JSON body ----------------------------------------------------------------------------------------------------- */

static int register_decode_json(struct mq_register *reg, struct mq_slice body, int version, struct mq_error *err)
{
	const struct mq_json_node *root, *wrapper, *table;
	int r = mq_json_parse(&reg->doc, body, err);

	if (r < 0)
		return r;
	root = mq_json_root(reg->doc);
	if (!root || root->type != MQ_JSON_OBJECT)
		return mq_error_set(err, -EBADMSG, "a registration is a JSON object");
	wrapper = version < MQ_VERSION_REGISTER_BODY ? root : mq_json_get(root, "topicConfigSerializeWrapper");
	mq_data_version_read(mq_json_get(wrapper, "dataVersion"), &reg->version);
	table = mq_json_get(wrapper, "topicConfigTable");
	if (!table || table->n == 0)
		return 0;

	reg->topics = calloc(table->n, sizeof *reg->topics);
	if (!reg->topics)
		return -ENOMEM;
	MQ_JSON_EACH(node, table) {
		struct mq_register_topic t = {
			.name = mq_json_text(mq_json_get(node, "topicName")),
			.read_queues = small(mq_json_get(node, "readQueueNums"), QUEUES_DEFAULT),
			.write_queues = small(mq_json_get(node, "writeQueueNums"), QUEUES_DEFAULT),
			.perm = small(mq_json_get(node, "perm"), PERM_DEFAULT),
			.sys_flag = small(mq_json_get(node, "topicSysFlag"), 0),
		};

		if (!t.name.p)
			t.name = mq_json_text(node->key);
		if (t.name.n > 0)
			reg->topics[reg->n_topics++] = t;
	}
	return 0;
}

/* --- compressed body ----------------------------------------------------------------------------------------------- */

/* Inflates one zlib stream into memory that grows by doubling, up to the limit. */
static int inflate_all(struct mq_slice in, char **ret, size_t *ret_n, struct mq_error *err)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)in.p, .avail_in = (uInt)in.n };
	char *out = NULL, *grown;
	size_t capacity = 0;
	int r = inflateInit(&z);

	if (r != Z_OK)
		return -ENOMEM;
	do {
		if (z.total_out == capacity) {
			if (capacity == MQ_REGISTER_INFLATED_MAX)
				break;
			capacity = capacity ? capacity * 2 : INFLATE_STEP;
			grown = realloc(out, capacity);
			if (!grown) {
				r = Z_MEM_ERROR;
				break;
			}
			out = grown;
		}
		z.next_out = (Bytef *)out + z.total_out;
		z.avail_out = (uInt)(capacity - z.total_out);
		r = inflate(&z, Z_NO_FLUSH);
	} while (r == Z_OK);

	inflateEnd(&z);
	if (r == Z_STREAM_END) {
		*ret = out;
		*ret_n = z.total_out;
		return 0;
	}
	free(out);
	if (r == Z_OK)
		return mq_error_set(err, -E2BIG, "the compressed body has more than %d bytes inside", MQ_REGISTER_INFLATED_MAX);
	if (r == Z_MEM_ERROR)
		return -ENOMEM;
	return mq_error_set(err, -EBADMSG, "the compressed body is damaged");
}

static int take_i32(struct mq_slice *in, int32_t *ret)
{
	if (in->n < 4)
		return -EBADMSG;
	*ret = (int32_t)mq_get32(in->p);
	in->p += 4;
	in->n -= 4;
	return 0;
}

/* A length and so many bytes. */
static int take_block(struct mq_slice *in, struct mq_slice *ret)
{
	int32_t n;

	if (take_i32(in, &n) < 0 || n < 0 || (size_t)n > in->n)
		return -EBADMSG;
	*ret = (struct mq_slice){ in->p, (size_t)n };
	in->p += n;
	in->n -= (size_t)n;
	return 0;
}

static struct mq_slice take_word(struct mq_slice *line)
{
	const char *blank = memchr(line->p, ' ', line->n);
	struct mq_slice word = { line->p, blank ? (size_t)(blank - line->p) : line->n };
	size_t used = word.n + (blank != NULL);

	line->p += used;
	line->n -= used;
	return word;
}

/* "<topicName> <readQueueNums> <writeQueueNums> <perm> <topicFilterType> <attributes>"; the last two concern the broker only. */
static int parse_topic_line(struct mq_slice line, struct mq_register_topic *ret)
{
	struct mq_register_topic t = { .name = take_word(&line) };
	int r = mq_parse_i32(take_word(&line), &t.read_queues);

	if (r == 0)
		r = mq_parse_i32(take_word(&line), &t.write_queues);
	if (r == 0)
		r = mq_parse_i32(take_word(&line), &t.perm);
	if (r < 0 || t.name.n == 0)
		return -EBADMSG;
	*ret = t;
	return 0;
}

static int register_decode_compressed(struct mq_register *reg, struct mq_slice body, struct mq_error *err)
{
	struct mq_slice in = {}, block;
	int32_t n;
	int r = inflate_all(body, &reg->inflated, &in.n, err);

	if (r < 0)
		return r;
	in.p = reg->inflated;
	if (take_block(&in, &block) < 0)
		return mq_error_set(err, -EBADMSG, "the compressed body ends within its DataVersion");
	r = mq_data_version_decode(&reg->version, block, err);
	if (r < 0)
		return r;
	/* Each topic has at least its length, so that the claim is bounded by what is there. */
	if (take_i32(&in, &n) < 0 || n < 0 || (size_t)n > in.n / 4)
		return mq_error_set(err, -EBADMSG, "the compressed body claims more topics than it has");
	reg->topics = calloc(n ? (size_t)n : 1, sizeof *reg->topics);
	if (!reg->topics)
		return -ENOMEM;
	for (int32_t i = 0; i < n; i++) {
		if (take_block(&in, &block) < 0 || parse_topic_line(block, &reg->topics[reg->n_topics]) < 0)
			return mq_error_set(err, -EBADMSG, "topic %d of the compressed body is damaged", i);
		reg->n_topics++;
	}
	/* What follows (filter servers, static topic mappings) is not used. */
	return 0;
}

int mq_register_decode(struct mq_register *ret, struct mq_slice body, bool is_compressed, int version, struct mq_error *err)
{
	struct mq_register reg = {};
	int r = 0;

	if (body.p && is_compressed)
		r = register_decode_compressed(&reg, body, err);
	else if (body.p)
		r = register_decode_json(&reg, body, version, err);
	if (r < 0) {
		mq_register_done(&reg);
		return r;
	}
	*ret = reg;
	return 0;
}

void mq_register_done(struct mq_register *reg)
{
	free(reg->topics);
	free(reg->inflated);
	mq_json_free(reg->doc);
	*reg = (struct mq_register){};
}

int mq_register_encode(struct evbuffer *topic_table, struct evbuffer *out)
{
	static const char before[] = "{\"filterServerList\":[],\"topicConfigSerializeWrapper\":", after[] = "}";

	if (evbuffer_add(out, before, sizeof before - 1) < 0 || evbuffer_add_buffer(out, topic_table) < 0 ||
	    evbuffer_add(out, after, sizeof after - 1) < 0)
		return -ENOMEM;
	return 0;
}
