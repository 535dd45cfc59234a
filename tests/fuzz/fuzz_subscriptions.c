/* The subscriptionDataSet of a heartbeat, as the group's table and as the set that is remembered of a member. */
#include "tests/fuzz/fuzz.h"

#include "daemons/broker/broker.h"
#include "daemons/broker/subscriptions.h"

static struct broker broker; /* compiled filters are charged to it, nothing else is looked at */

static void compare(const struct sub_set *set, const struct sub_set *twin)
{
	struct sub_set none = {};
	char text[64];

	must(set->n == 0 || !sub_set_equal(set, &none));
	must(sub_set_equal(set, twin));
	sub_set_difference(set, twin, text, sizeof text);
	must(text[0] == '\0');
	sub_set_difference(set, &none, text, sizeof text);
	must(strlen(text) < sizeof text);
	for (unsigned i = 0; i < strlen(text); i++)
		must((unsigned char)text[i] >= ' ' && text[i] != 0x7f);
	sub_set_difference(&none, set, text, sizeof text);
	must(strlen(text) < sizeof text);
}

static void write_and_read(const struct sub_set *set)
{
	_cleanup_(evbuffer_freep) struct evbuffer *out = evbuffer_new();
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	struct subscribed *table = NULL;
	struct mq_json_writer w;

	mq_json_begin(&w, out);
	sub_set_write(&w, set);
	must(mq_json_end(&w) == 0);
	if (mq_json_parse(&doc, fuzz_bytes(out), NULL) < 0) /* deeper or longer than the reader allows: not from here */
		return;
	must(subs_read(&broker, mq_json_root(doc), &table, NULL) == 0);
	subs_free(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(mq_json_freep) struct mq_json *doc = NULL;
	_cleanup_(freep) struct sub_set *set = NULL, *twin = NULL;
	struct subscribed *table = NULL, *group = NULL;
	struct mq_error err = {};
	bool has_any;

	if (mq_json_parse(&doc, fuzz_slice(data, size), &err) < 0 || mq_json_root(doc)->type != MQ_JSON_ARRAY)
		return 0;
	if (subs_read(&broker, mq_json_root(doc), &table, &err) < 0) {
		must(!table && err.text[0]);
		return 0;
	}
	must(sub_set_new(&set, table) == 0 && sub_set_new(&twin, table) == 0);
	compare(set, twin);
	write_and_read(set);
	has_any = table != NULL;
	must(subs_replace(&group, &table) == has_any && !table);
	must((subs_bytes(group) > 0) == has_any);
	subs_free(&group);
	must(broker.filter_bytes == 0);
	return 0;
}
