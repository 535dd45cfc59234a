/* The reader of the JSON dialect. The text is copied once and its strings are unescaped in that copy; nodes come from an
 * arena. Every limit is checked before memory is taken. */
#include "libmq/wire/json.h"

#include <errno.h>
#include <stdlib.h>

#include "libmq/wire/fields.h"
#include "libmq/wire/json_number.h"
#include "libmq/wire/json_scan.h"

enum {
	CHUNK_NODES_MIN = 32,
	CHUNK_NODES_MAX = 4096,
	REF_STEPS_MAX = 1 << 20, /* members and elements that all $ref of a document may pass on their paths */
};

struct json_node {
	struct mq_json_node pub;
	unsigned size;   /* nodes in it, itself and what $ref repeats included */
	uint8_t height;  /* nesting in it: 0 for scalars */
	bool is_open;    /* its end was not read yet: an ancestor of whatever is being read */
};

struct chunk {
	struct chunk *next; /* owned */
	unsigned used, capacity;
	struct json_node nodes[];
};

struct mq_json {
	struct chunk *chunks; /* owned; the newest first */
	unsigned n_nodes;
	struct json_node *root; /* in chunks */
	char text[];
};

struct parser {
	struct mq_json *doc; /* borrowed */
	struct mq_scan s;
	const char *end;
	unsigned depth;
	unsigned n_expanded; /* nodes that $ref repeat */
	unsigned n_steps;
	struct mq_error *err;
};

static int parse_value(struct parser *p, struct json_node *node);

static int fail(struct parser *p, int code, const char *what)
{
	return mq_error_set(p->err, code, "JSON, byte %zu of %zu: %s", (size_t)(p->s.p - p->doc->text),
			    (size_t)(p->end - p->doc->text), what);
}

static struct chunk *chunk_new(struct chunk *next)
{
	unsigned capacity = next ? 2 * next->capacity : CHUNK_NODES_MIN;
	struct chunk *c;

	if (capacity > CHUNK_NODES_MAX)
		capacity = CHUNK_NODES_MAX;
	c = malloc(sizeof *c + capacity * sizeof c->nodes[0]);
	if (!c)
		return NULL;
	c->next = next;
	c->used = 0;
	c->capacity = capacity;
	return c;
}

static int node_new(struct parser *p, struct json_node **ret)
{
	struct chunk *c = p->doc->chunks;

	if (p->doc->n_nodes == MQ_JSON_NODES_MAX)
		return fail(p, -E2BIG, "too many values");
	if (!c || c->used == c->capacity) {
		c = chunk_new(c);
		if (!c)
			return -ENOMEM;
		p->doc->chunks = c;
	}
	*ret = &c->nodes[c->used++];
	**ret = (struct json_node){ .size = 1 };
	p->doc->n_nodes++;
	return 0;
}

static struct json_node *json_node_of(const struct mq_json_node *node)
{
	return (struct json_node *)(uintptr_t)node; /* pub is its first member, and all nodes are ours */
}

static void node_count_child(struct json_node *parent, const struct json_node *child)
{
	parent->size += child->size;
	if (parent->height <= child->height)
		parent->height = (uint8_t)(child->height + 1);
}

/* A number as fastjson takes it: sign, digits, fraction, exponent, and the suffix of a Java literal, which is cut off. */
static bool is_number(struct mq_slice *text)
{
	const char *p = text->p, *end = p + text->n, *digits;

	if (p < end && (*p == '-' || *p == '+'))
		p++;
	for (digits = p; p < end && *p >= '0' && *p <= '9'; p++)
		;
	if (p == digits)
		return false;
	if (p < end && *p == '.')
		for (p++; p < end && *p >= '0' && *p <= '9'; p++)
			;
	if (p < end && (*p | 0x20) == 'e') {
		p++;
		if (p < end && (*p == '-' || *p == '+'))
			p++;
		for (digits = p; p < end && *p >= '0' && *p <= '9'; p++)
			;
		if (p == digits)
			return false;
	}
	if (p == end - 1 && memchr("LSBFD", *p, 5))
		text->n--;
	else if (p != end)
		return false;
	return true;
}

static int parse_token(struct parser *p, struct json_node *node)
{
	struct mq_slice text;

	if (mq_scan_token(&p->s, &text) < 0)
		return fail(p, -EBADMSG, "expected a value");
	node->pub.text = text;
	if (is_number(&node->pub.text))
		node->pub.type = MQ_JSON_NUMBER;
	else if (mq_slice_is(text, "true") || mq_slice_is(text, "false"))
		node->pub.type = MQ_JSON_BOOL;
	else if (mq_slice_is(text, "null") || mq_slice_is(text, "undefined") || mq_slice_is(text, "NaN"))
		node->pub.text = (struct mq_slice){ NULL, 0 };
	else
		return fail(p, -EBADMSG, "unknown word");
	return 0;
}

static int parse_string(struct parser *p, struct json_node *node)
{
	node->pub.type = MQ_JSON_STRING;
	if (mq_scan_string(&p->s, &node->pub.text) < 0)
		return fail(p, -EBADMSG, p->s.p < p->end ? "unknown escape" : "string does not end");
	return 0;
}

/* A member's name: quoted, bare, a number, or a whole object. The colon is consumed. */
static int parse_key(struct parser *p, struct json_node **ret)
{
	struct json_node *key;
	int r = node_new(p, &key);

	if (r < 0)
		return r;
	mq_scan_space(&p->s);
	if (mq_scan_at_string(&p->s)) {
		r = parse_string(p, key);
	} else if (mq_scan_at(&p->s, '{')) {
		r = parse_value(p, key);
		key->pub.type = MQ_JSON_OBJECT; /* a $ref as key resolves to nothing: no path leads to a key */
	} else if (mq_scan_token(&p->s, &key->pub.text) < 0) {
		return fail(p, -EBADMSG, "expected a name");
	} else {
		struct mq_slice number = key->pub.text;

		key->pub.type = is_number(&number) ? MQ_JSON_NUMBER : MQ_JSON_STRING;
	}
	if (r < 0)
		return r;
	if (!mq_scan_take(&p->s, ':'))
		return fail(p, -EBADMSG, "expected a colon");
	*ret = key;
	return 0;
}

static bool key_is(const struct mq_json_node *key, struct mq_slice name)
{
	return (key->type == MQ_JSON_STRING || key->type == MQ_JSON_NUMBER) && mq_slice_equal(key->text, name);
}

/* One step of a $ref path: member `name` of an object, or the element of that number. */
static const struct mq_json_node *ref_step(struct parser *p, const struct mq_json_node *node, struct mq_slice name)
{
	const struct mq_json_node *found = NULL;
	int32_t index = -1;

	if (node->type == MQ_JSON_ARRAY && mq_parse_i32(name, &index) < 0)
		return NULL;
	MQ_JSON_EACH(child, node) {
		if (++p->n_steps > REF_STEPS_MAX)
			return NULL;
		if (node->type == MQ_JSON_ARRAY ? index-- == 0 : key_is(child->key, name))
			found = child;
	}
	return found;
}

static bool is_name_end(char c)
{
	return c == '.' || c == '[' || c == ']';
}

/* Takes ".name" or "[name]" off the path. fastjson puts a backslash before odd characters of a name; they are taken
 * out in place, which the text belongs to us for. */
static bool ref_name(struct mq_slice *path, struct mq_slice *ret)
{
	char *p = (char *)(uintptr_t)path->p + 1, *end = p + path->n - 1, *begin = p, *w = p;
	bool is_bracket = path->p[0] == '[';

	for (; p < end && !is_name_end(*p); p++) {
		if (*p == '\\' && p + 1 < end)
			p++;
		*w++ = *p;
	}
	if (is_bracket && (p == end || *p++ != ']'))
		return false;
	*ret = (struct mq_slice){ begin, (size_t)(w - begin) };
	if (ret->n >= 2 && is_bracket && (*begin == '"' || *begin == '\'') && w[-1] == *begin)
		*ret = (struct mq_slice){ begin + 1, ret->n - 2 };
	*path = (struct mq_slice){ p, (size_t)(end - p) };
	return ret->n > 0;
}

static const struct mq_json_node *ref_find(struct parser *p, struct mq_slice path)
{
	const struct mq_json_node *node = &p->doc->root->pub;
	struct mq_slice name;

	if (path.n == 0 || path.p[0] != '$')
		return NULL; /* "@" and ".." are ancestors */
	path.p++;
	path.n--;
	while (node && path.n > 0) {
		if ((path.p[0] != '.' && path.p[0] != '[') || !ref_name(&path, &name))
			return NULL;
		node = ref_step(p, node, name);
	}
	return node;
}

/* {"$ref":path} becomes what was read at that path before. What is still open would make a circle, and what comes later
 * fastjson does not refer to: both become null, as does an unknown path. */
static int resolve_ref(struct parser *p, struct json_node *node)
{
	const struct mq_json_node *member = node->pub.first;
	const struct mq_json_node *found;
	struct json_node *target;

	if (node->pub.n != 1 || !key_is(member->key, MQ_SLICE("$ref")) || member->type != MQ_JSON_STRING)
		return 0;

	found = ref_find(p, member->text);
	if (p->n_steps > REF_STEPS_MAX)
		return fail(p, -E2BIG, "too many references");
	target = found ? json_node_of(found) : NULL;
	node->pub.first = NULL;
	node->pub.n = 0;
	node->pub.type = MQ_JSON_NULL;
	node->size = 1;
	node->height = 0;
	if (!target || target->is_open)
		return 0;

	if (target->size > MQ_JSON_NODES_MAX - p->n_expanded)
		return fail(p, -E2BIG, "references repeat too much");
	if (p->depth + target->height > MQ_JSON_DEPTH_MAX)
		return fail(p, -E2BIG, "nested too deep");
	p->n_expanded += target->size;
	node->pub.type = target->pub.type;
	node->pub.text = target->pub.text;
	node->pub.first = target->pub.first;
	node->pub.n = target->pub.n;
	node->size = target->size;
	node->height = target->height;
	return 0;
}

static int parse_more(struct parser *p, char close)
{
	int r = mq_scan_more(&p->s, close);

	return r < 0 ? fail(p, r, close == '}' ? "expected a comma or the end of the object" :
						 "expected a comma or the end of the array") :
		       r;
}

static int parse_children(struct parser *p, struct json_node *node, char close)
{
	const struct mq_json_node **link = &node->pub.first;
	struct json_node *child, *key = NULL;
	int r;

	p->s.p++;
	if (mq_scan_take(&p->s, close))
		return 0;
	do {
		if (close == '}') {
			r = parse_key(p, &key);
			if (r < 0)
				return r;
			node_count_child(node, key);
		}
		r = node_new(p, &child);
		if (r < 0)
			return r;
		child->pub.key = key ? &key->pub : NULL;
		/* Linked before it is read, so that a $ref in it finds what is already there. */
		*link = &child->pub;
		link = &child->pub.next;
		node->pub.n++;
		r = parse_value(p, child);
		if (r < 0)
			return r;
		node_count_child(node, child);
		r = parse_more(p, close);
	} while (r > 0);
	return r;
}

static int parse_container(struct parser *p, struct json_node *node, enum mq_json_type type)
{
	int r;

	if (p->depth == MQ_JSON_DEPTH_MAX)
		return fail(p, -E2BIG, "nested too deep");
	p->depth++;
	node->pub.type = type;
	node->height = 1;
	node->is_open = true;
	r = parse_children(p, node, type == MQ_JSON_OBJECT ? '}' : ']');
	node->is_open = false;
	p->depth--;
	if (r == 0 && type == MQ_JSON_OBJECT)
		r = resolve_ref(p, node);
	return r;
}

static int parse_value(struct parser *p, struct json_node *node)
{
	mq_scan_space(&p->s);
	if (p->s.p == p->end)
		return fail(p, -EBADMSG, "expected a value");
	switch (*p->s.p) {
	case '{':
		return parse_container(p, node, MQ_JSON_OBJECT);
	case '[':
		return parse_container(p, node, MQ_JSON_ARRAY);
	case '"':
	case '\'':
		return parse_string(p, node);
	default:
		return parse_token(p, node);
	}
}

int mq_json_parse(struct mq_json **ret, struct mq_slice text, struct mq_error *err)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = malloc(sizeof *doc + text.n);
	struct parser p;
	int r;

	if (!doc)
		return -ENOMEM;
	doc->chunks = NULL;
	doc->n_nodes = 0;
	if (text.n > 0)
		memcpy(doc->text, text.p, text.n);

	p = (struct parser){ .doc = doc, .s = { doc->text, doc->text + text.n }, .end = doc->text + text.n, .err = err };
	if (text.n >= 3 && memcmp(doc->text, "\xef\xbb\xbf", 3) == 0)
		p.s.p += 3;
	r = node_new(&p, &doc->root);
	if (r == 0)
		r = parse_value(&p, doc->root);
	if (r < 0)
		return r;
	mq_scan_space(&p.s);
	if (p.s.p < p.end)
		return fail(&p, -EBADMSG, "expected the end");
	*ret = TAKE(doc);
	return 0;
}

struct mq_json *mq_json_free(struct mq_json *doc)
{
	struct chunk *c, *next;

	if (!doc)
		return NULL;
	for (c = doc->chunks; c; c = next) {
		next = c->next;
		free(c);
	}
	free(doc);
	return NULL;
}

const struct mq_json_node *mq_json_root(const struct mq_json *doc)
{
	return &doc->root->pub;
}

const struct mq_json_node *mq_json_get(const struct mq_json_node *object, const char *name)
{
	struct mq_slice wanted = mq_slice_of(name);
	const struct mq_json_node *found = NULL;

	if (!object || object->type != MQ_JSON_OBJECT)
		return NULL;
	MQ_JSON_EACH(member, object)
		if (key_is(member->key, wanted))
			found = member;
	return found && found->type != MQ_JSON_NULL ? found : NULL;
}

struct mq_slice mq_json_text(const struct mq_json_node *node)
{
	if (!node || node->type == MQ_JSON_NULL || node->type == MQ_JSON_ARRAY || node->type == MQ_JSON_OBJECT)
		return (struct mq_slice){ NULL, 0 };
	return node->text;
}

static bool node_is_true(const struct mq_json_node *node)
{
	return node->type == MQ_JSON_BOOL && mq_slice_is(node->text, "true");
}

int64_t mq_json_i64(const struct mq_json_node *node, int64_t otherwise)
{
	struct mq_slice text = mq_json_text(node);
	int64_t v;
	double d;

	if (!text.p)
		return otherwise;
	if (node->type == MQ_JSON_BOOL)
		return node_is_true(node);
	if (mq_parse_i64(text, &v) == 0)
		return v;
	/* A fraction is cut, as Java's longValue() does; out of range is not convertible. */
	if (mq_parse_double(text, &d) == 0 && d > -0x1p63 && d < 0x1p63)
		return (int64_t)d;
	return otherwise;
}

double mq_json_double(const struct mq_json_node *node, double otherwise)
{
	struct mq_slice text = mq_json_text(node);
	double d;

	if (!text.p)
		return otherwise;
	if (node->type == MQ_JSON_BOOL)
		return node_is_true(node);
	return mq_parse_double(text, &d) == 0 ? d : otherwise;
}

bool mq_json_bool(const struct mq_json_node *node, bool otherwise)
{
	struct mq_slice text = mq_json_text(node);
	bool v;

	if (!text.p || text.n == 0)
		return otherwise;
	if (mq_slice_is(text, "1"))
		return true;
	if (mq_slice_is(text, "0"))
		return false;
	(void)mq_parse_bool(text, &v); /* never fails */
	return v;
}

int mq_json_enum(const struct mq_json_node *node, const char *const *names, unsigned n_names, int otherwise)
{
	struct mq_slice text = mq_json_text(node);
	int64_t ordinal;

	if (!text.p)
		return otherwise;
	for (unsigned i = 0; i < n_names; i++)
		if (mq_slice_is(text, names[i]))
			return (int)i;
	if (mq_parse_i64(text, &ordinal) == 0 && ordinal >= 0 && ordinal < n_names)
		return (int)ordinal;
	return otherwise;
}
