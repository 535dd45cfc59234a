/* Topic configurations as JSON: TopicConfig, DataVersion and the tables made of them (codes 21, 103, 351; reference:
 * protocol/frame.md 5.1). Slices borrow from the document. */
#pragma once

#include "libmq/wire/json.h"

/* A name for the state of a configuration table: all three equal means same content. */
struct mq_data_version {
	int64_t counter, state_version;
	int64_t timestamp; /* ms since 1970 */
};

struct mq_topic_config {
	struct mq_slice name;
	int32_t read_queues, write_queues, perm, sys_flag;
	bool is_order, is_multi_tag;
	struct mq_slice attributes; /* "key=value,key=value"; may be empty */
};

void mq_data_version_write(struct mq_json_writer *w, const struct mq_data_version *v);
/* The same as text, in `ret`: what headers carry and stores keep. */
enum { MQ_DATA_VERSION_TEXT = 128 }; /* bytes */
struct mq_slice mq_data_version_text(const struct mq_data_version *v, char ret[MQ_DATA_VERSION_TEXT]);
/* Absent members are 0. */
void mq_data_version_read(const struct mq_json_node *node, struct mq_data_version *ret);

void mq_topic_config_write(struct mq_json_writer *w, const struct mq_topic_config *c);
/* Absent members have the defaults of upstream's class: 16 queues each, perm 6. The attributes are written as text into
 * `attributes`. -EBADMSG: no object, no name, or a number out of range; -E2BIG: attributes do not fit. */
int mq_topic_config_read(const struct mq_json_node *node, struct mq_topic_config *ret, char *attributes,
			 size_t size) _must_check_;

/* "key=value,key=value" as members of an object, and back (returns bytes, or -E2BIG). Reading leaves out members that this
 * form cannot hold: no scalar, a comma in it, an equals sign in the key. */
void mq_attributes_write(struct mq_json_writer *w, struct mq_slice attributes);
int mq_attributes_read(const struct mq_json_node *object, char *ret, size_t size) _must_check_;
/* Takes the next pair off *rest; false at the end. A pair without '=' has a NULL value. */
bool mq_attributes_next(struct mq_slice *rest, struct mq_slice *ret_key, struct mq_slice *ret_value);
