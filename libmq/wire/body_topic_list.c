#include "libmq/wire/body_topic_list.h"

#include "libmq/wire/json.h"

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
