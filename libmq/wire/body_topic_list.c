#include "libmq/wire/body_topic_list.h"

#include <errno.h>
#include <stdlib.h>

#include "libmq/wire/json.h"

int mq_topic_list_decode(struct mq_topic_list *ret, struct mq_slice body, struct mq_error *err)
{
	struct mq_topic_list list = {};
	const struct mq_json_node *nodes;
	int r = mq_json_parse(&list.doc, body, err);

	if (r < 0)
		return r;
	nodes = mq_json_get(mq_json_root(list.doc), "topicList");
	list.topics = calloc(nodes && nodes->n ? nodes->n : 1, sizeof *list.topics);
	if (!list.topics) {
		mq_topic_list_done(&list);
		return -ENOMEM;
	}
	MQ_JSON_EACH(node, nodes) {
		struct mq_slice topic = mq_json_text(node);

		if (topic.p)
			list.topics[list.n_topics++] = topic;
	}
	list.broker_address = mq_json_text(mq_json_get(mq_json_root(list.doc), "brokerAddr"));
	*ret = list;
	return 0;
}

void mq_topic_list_done(struct mq_topic_list *list)
{
	free(list->topics);
	mq_json_free(list->doc);
	*list = (struct mq_topic_list){};
}

int mq_topic_list_encode(const struct mq_topic_list *list, struct evbuffer *out)
{
	struct mq_json_writer w;

	mq_json_begin(&w, out);
	mq_json_open_object(&w);
	if (list->broker_address.p)
		mq_json_member_string(&w, "brokerAddr", list->broker_address);
	mq_json_key(&w, "topicList");
	mq_json_open_array(&w);
	for (unsigned i = 0; i < list->n_topics; i++)
		mq_json_string(&w, list->topics[i]);
	mq_json_close_array(&w);
	mq_json_close_object(&w);
	return mq_json_end(&w);
}
