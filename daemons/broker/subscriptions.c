#include "daemons/broker/subscriptions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/filter_sql.h"

/* ---- By topic ---- */

static unsigned sub_count_tags(struct mq_slice sub_string)
{
	struct mq_slice tag;
	unsigned n = 0;

	while (mq_tags_next(&sub_string, &tag))
		n++;
	return n;
}

static struct mq_slice sub_copy(char **text, struct mq_slice s)
{
	struct mq_slice copy = { *text, s.n };

	if (s.n > 0)
		memcpy(*text, s.p, s.n);
	*text += s.n;
	return copy;
}

/* Clients send the tags' hash codes. One that does not (codeSet empty) gets them worked out from its expression. */
static void sub_set_codes(struct subscribed *s, const struct mq_subscription *from)
{
	struct mq_slice rest = from->sub_string, tag;

	if (from->codes && from->codes->n > 0) {
		MQ_JSON_EACH(code, from->codes)
			s->codes[s->n_codes++] = (int32_t)mq_json_i64(code, 0);
		return;
	}
	if (mq_slice_is(from->expression_type, "TAG") && !mq_tags_match_all(from->sub_string))
		while (mq_tags_next(&rest, &tag))
			s->codes[s->n_codes++] = mq_java_hash(tag);
}

static void sub_free(struct subscribed *s)
{
	filter_sql_unref(s->sql);
	free(s);
}

/* An expression that does not compile is no reason to refuse the heartbeat: the pulls are told. */
static int sub_compile(struct subscribed *s, struct broker *b)
{
	if (!mq_slice_is(s->expression_type, "SQL92"))
		return 0;
	return filter_sql_compile(&s->sql, s->sub_string, &b->filter_bytes, NULL) == -ENOMEM ? -ENOMEM : 0;
}

static struct subscribed *sub_new(struct broker *b, const struct mq_subscription *from)
{
	unsigned max_tags = from->tags ? from->tags->n : 0;
	unsigned max_codes = from->codes && from->codes->n > 0 ? from->codes->n : sub_count_tags(from->sub_string);
	size_t n_bytes = sizeof(struct subscribed) + max_tags * sizeof(struct mq_slice) + max_codes * sizeof(int32_t) +
			 from->topic.n + from->sub_string.n + from->expression_type.n;
	struct subscribed *s;
	char *text;

	MQ_JSON_EACH(tag, from->tags)
		n_bytes += mq_json_text(tag).n;
	s = calloc(1, n_bytes);
	if (!s)
		return NULL;
	s->n_bytes = n_bytes;
	s->tags = (struct mq_slice *)(s + 1);
	s->codes = (int32_t *)(s->tags + max_tags);
	text = (char *)(s->codes + max_codes);
	s->topic = sub_copy(&text, from->topic);
	s->sub_string = sub_copy(&text, from->sub_string);
	s->expression_type = sub_copy(&text, from->expression_type);
	s->version = from->version;
	s->class_filter = from->class_filter;
	MQ_JSON_EACH(tag, from->tags)
		if (mq_json_text(tag).p)
			s->tags[s->n_tags++] = sub_copy(&text, mq_json_text(tag));
	sub_set_codes(s, from);
	if (sub_compile(s, b) < 0) {
		sub_free(s);
		return NULL;
	}
	return s;
}

struct subscribed *subs_find(struct subscribed *table, struct mq_slice topic)
{
	struct subscribed *s;

	HASH_FIND(hh, table, topic.p, topic.n, s);
	return s;
}

void subs_free(struct subscribed **table)
{
	struct subscribed *s, *next;

	HASH_ITER(hh, *table, s, next) {
		HASH_DEL(*table, s);
		sub_free(s);
	}
}

size_t subs_bytes(const struct subscribed *table)
{
	size_t n = 0;

	for (const struct subscribed *s = table; s; s = s->hh.next)
		n += s->n_bytes;
	return n;
}

int subs_read(struct broker *b, const struct mq_json_node *list, struct subscribed **ret, struct mq_error *err)
{
	struct subscribed *table = NULL, *s, *old;
	struct mq_subscription from;
	int r = 0;

	MQ_JSON_EACH(node, list) {
		r = mq_subscription_read(node, &from, err);
		if (r < 0)
			break;
		s = sub_new(b, &from);
		if (!s) {
			r = -ENOMEM;
			break;
		}
		old = subs_find(table, s->topic);
		if (old) {
			HASH_DEL(table, old);
			sub_free(old);
		}
		HASH_ADD_KEYPTR(hh, table, s->topic.p, s->topic.n, s);
	}
	if (r < 0) {
		subs_free(&table);
		return r;
	}
	*ret = table;
	return 0;
}

bool subs_replace(struct subscribed **table, struct subscribed **news)
{
	struct subscribed *s, *next, *old;
	bool changed = false;

	HASH_ITER(hh, *table, s, next) {
		if (subs_find(*news, s->topic))
			continue;
		HASH_DEL(*table, s);
		sub_free(s);
		changed = true;
	}
	HASH_ITER(hh, *news, s, next) {
		HASH_DEL(*news, s);
		old = subs_find(*table, s->topic);
		if (old && s->version <= old->version) {
			sub_free(s);
			continue;
		}
		if (old) {
			HASH_DEL(*table, old);
			sub_free(old);
		} else {
			changed = true;
		}
		HASH_ADD_KEYPTR(hh, *table, s->topic.p, s->topic.n, s);
	}
	return changed;
}

/* ---- By member ---- */

static int compare_items(const void *a, const void *b)
{
	return mq_slice_compare(((const struct sub_item *)a)->topic, ((const struct sub_item *)b)->topic);
}

static bool sub_is_tags(const struct subscribed *s)
{
	return mq_slice_is(s->expression_type, "TAG");
}

/* Room for the expression as item_write() writes it: each bar pair may come with two blanks that were not there. */
static size_t item_room(const struct subscribed *s)
{
	return s->topic.n + s->expression_type.n + s->sub_string.n + 1 +
	       (sub_is_tags(s) ? 2 * (size_t)sub_count_tags(s->sub_string) : 0);
}

static struct mq_slice item_tags(char **text, struct mq_slice sub_string, struct mq_slice *tags)
{
	struct mq_slice written = { *text, 0 }, before = {};
	unsigned n = 0;

	while (mq_tags_next(&sub_string, &tags[n]))
		n++;
	qsort(tags, n, sizeof *tags, mq_slice_order);
	for (unsigned i = 0; i < n; i++) {
		if (i > 0 && mq_slice_equal(tags[i], before))
			continue;
		if (i > 0)
			sub_copy(text, MQ_SLICE(" || "));
		sub_copy(text, tags[i]);
		before = tags[i];
	}
	written.n = (size_t)(*text - written.p);
	return written;
}

static void item_write(struct sub_item *item, char **text, const struct subscribed *s, struct mq_slice *tags)
{
	item->topic = sub_copy(text, s->topic);
	item->type = sub_copy(text, s->expression_type);
	if (!sub_is_tags(s))
		item->expression = sub_copy(text, s->sub_string);
	else if (mq_tags_match_all(s->sub_string))
		item->expression = sub_copy(text, MQ_SLICE("*"));
	else
		item->expression = item_tags(text, s->sub_string, tags);
}

int sub_set_new(struct sub_set **ret, const struct subscribed *table)
{
	_cleanup_(freep) struct mq_slice *tags = NULL;
	unsigned n = HASH_COUNT(table), most_tags = 0;
	size_t n_bytes = sizeof(struct sub_set) + n * sizeof(struct sub_item);
	struct sub_set *set;
	char *text;

	for (const struct subscribed *s = table; s; s = s->hh.next) {
		unsigned n_tags = sub_is_tags(s) ? sub_count_tags(s->sub_string) : 0;

		n_bytes += item_room(s);
		most_tags = n_tags > most_tags ? n_tags : most_tags;
	}
	tags = calloc(most_tags + 1, sizeof *tags);
	set = tags ? calloc(1, n_bytes) : NULL;
	if (!set)
		return -ENOMEM;
	set->n_bytes = n_bytes;
	text = (char *)&set->items[n];
	for (const struct subscribed *s = table; s; s = s->hh.next)
		item_write(&set->items[set->n++], &text, s, tags);
	qsort(set->items, set->n, sizeof set->items[0], compare_items);
	*ret = set;
	return 0;
}

static bool item_equal(const struct sub_item *a, const struct sub_item *b)
{
	return mq_slice_equal(a->topic, b->topic) && mq_slice_equal(a->type, b->type) &&
	       mq_slice_equal(a->expression, b->expression);
}

bool sub_set_equal(const struct sub_set *a, const struct sub_set *b)
{
	if (a->n != b->n)
		return false;
	for (unsigned i = 0; i < a->n; i++)
		if (!item_equal(&a->items[i], &b->items[i]))
			return false;
	return true;
}

static void difference_add(char *ret, size_t size, const struct sub_item *item, bool is_there)
{
	size_t at = strlen(ret);
	int n = snprintf(ret + at, size - at, is_there ? "%s%.*s(%.*s)" : "%snot %.*s", at > 0 ? ", " : "",
			 MQ_FMT(item->topic), MQ_FMT(item->expression));

	if (n < 0 || (size_t)n >= size - at)
		ret[at] = '\0';
	for (char *p = ret + at; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '.';
}

/* Both are sorted by topic: one walk over the two. */
void sub_set_difference(const struct sub_set *set, const struct sub_set *other, char *ret, size_t size)
{
	unsigned i = 0, j = 0;

	ret[0] = '\0';
	while (i < set->n || j < other->n) {
		int order = i == set->n ? 1 : j == other->n ? -1 : compare_items(&set->items[i], &other->items[j]);

		if (order > 0)
			difference_add(ret, size, &other->items[j], false);
		else if (order < 0 || !item_equal(&set->items[i], &other->items[j]))
			difference_add(ret, size, &set->items[i], true);
		i += order <= 0;
		j += order >= 0;
	}
}

void sub_set_write(struct mq_json_writer *w, const struct sub_set *set)
{
	mq_json_open_array(w);
	for (unsigned i = 0; i < set->n; i++) {
		mq_json_open_object(w);
		mq_json_member_string(w, "expressionType", set->items[i].type);
		mq_json_member_string(w, "subString", set->items[i].expression);
		mq_json_member_string(w, "topic", set->items[i].topic);
		mq_json_close_object(w);
	}
	mq_json_close_array(w);
}
