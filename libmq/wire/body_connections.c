#include "libmq/wire/body_connections.h"

#include "libmq/wire/command.h"

void mq_connection_write(struct mq_json_writer *w, const struct mq_connection *c)
{
	mq_json_member_string(w, "clientAddr", c->address);
	mq_json_member_string(w, "clientId", c->client_id);
	mq_json_member_string(w, "language", mq_slice_of(mq_language_name(c->language)));
	mq_json_member_i64(w, "version", c->version);
}

void mq_subscription_write(struct mq_json_writer *w, const struct mq_subscription_text *s)
{
	mq_json_open_object(w);
	mq_json_member_bool(w, "classFilterMode", s->class_filter);
	mq_json_key(w, "codeSet");
	mq_json_open_array(w);
	for (unsigned i = 0; i < s->n_codes; i++)
		mq_json_i64_value(w, s->codes[i]);
	mq_json_close_array(w);
	mq_json_member_string(w, "expressionType", s->expression_type);
	mq_json_member_string(w, "subString", s->sub_string);
	mq_json_member_i64(w, "subVersion", s->version);
	mq_json_key(w, "tagsSet");
	mq_json_open_array(w);
	for (unsigned i = 0; i < s->n_tags; i++)
		mq_json_string(w, s->tags[i]);
	mq_json_close_array(w);
	mq_json_member_string(w, "topic", s->topic);
	mq_json_close_object(w);
}
