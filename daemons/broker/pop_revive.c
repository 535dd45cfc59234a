#include "daemons/broker/pop_revive.h"

#include <errno.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/groups.h"
#include "daemons/broker/message.h"
#include "daemons/broker/pop_names.h"
#include "daemons/broker/topics.h"
#include "libmq/wire/message_properties.h"

enum { RETRY_QUEUES = 1 }; /* PopAckConstants.retryQueueNum */

/* The group's name, where the message was popped first. */
static struct mq_slice revive_properties(const struct store_due *due, const struct mq_record *popped, char ret[MQ_PROPERTIES_MAX])
{
	static const char *const dropped[] = { MQ_PROPERTY_ORIGIN_GROUP, MQ_PROPERTY_POP_CK, NULL };
	static const char *const dropped_of_first[] = { MQ_PROPERTY_ORIGIN_GROUP, MQ_PROPERTY_POP_CK, MQ_PROPERTY_FIRST_POP_TIME, NULL };
	bool is_first = popped->reconsume_times == 0 || !mq_properties_get(popped->properties, MQ_PROPERTY_FIRST_POP_TIME).p;
	struct mq_properties_out out;

	mq_properties_begin(&out, ret, MQ_PROPERTIES_MAX, popped->properties, is_first ? dropped_of_first : dropped);
	if (is_first)
		mq_properties_add_i64(&out, MQ_PROPERTY_FIRST_POP_TIME, due->pop_at_ms);
	mq_properties_add(&out, MQ_PROPERTY_ORIGIN_GROUP, due->group);
	/* Whoever has no room for them goes without. */
	return mq_properties_end(&out, popped->properties);
}

/* Here, on the schedule's thread, though with SYNC_FLUSH a new topic waits for the disk: what the schedule would move meanwhile nobody sees
 * before the disk has it, and no loop waits for the schedule. */
static int revive_topic(struct broker *b, struct mq_slice group, struct mq_slice topic)
{
	struct topic config;
	int64_t offset;
	int r = topics_get(b->topics, topic, &config);

	if (r == -ENOENT) {
		r = topics_create_retry(b->topics, topic, RETRY_QUEUES, false);
		if (r == 0)
			r = topics_get(b->topics, topic, &config);
	}
	/* Whatever the group's initMode says: what comes again is not skipped. */
	if (r == 0 && store_offset_get(b->store, group, topic, 0, &offset) == STORE_NONE)
		r = store_offset_set(b->store, group, topic, 0, 0, config.since);
	return r == -ENOENT ? -EAGAIN : r; /* deleted this moment, maybe with the other topic: the next look finds out */
}

int pop_revive(struct broker *b, const struct store_due *due, const struct mq_record *popped, char *head, char *tail,
	       struct store_record *ret)
{
	enum pop_mark mark = config_get(&b->config, enableRetryTopicV2) ? POP_RETRY_V2 : POP_RETRY_V1;
	struct mq_record rec = *popped;
	char properties[MQ_PROPERTIES_MAX];
	struct message_marks marks;
	struct pop_name name;
	struct topic topic;
	struct group group;
	int r;

	r = topics_get(b->topics, pop_normal_topic(popped->topic, due->group), &topic);
	if (r == 0)
		r = groups_find(b->groups, due->group, &group);
	if (r < 0)
		return r;
	/* Also one that its sender sent to a %RETRY% topic. */
	pop_topic(&name, pop_mark_of(popped->topic) == POP_NORMAL ? mark : POP_NORMAL, popped->topic, due->group);
	if (name.n == 0)
		return -EBADMSG;
	rec.topic = pop_name_slice(&name);
	r = revive_topic(b, due->group, rec.topic);
	if (r < 0)
		return r;
	rec.queue_id = 0;
	rec.reconsume_times += !due->is_suspended && rec.reconsume_times < INT32_MAX;
	rec.properties = revive_properties(due, popped, properties);
	rec.prepared_offset = 0;
	rec.born_host = rec.store_host = b->store_host; /* upstream, too, says that the broker bore it */
	message_marks_read(&marks, popped->properties);
	message_record_encode(&rec, &marks, head, tail, ret);
	r = topics_open_queue(b->topics, topic.n_deletions, rec.topic, rec.queue_id, &ret->queue);
	return r == -ENOENT ? -EAGAIN : r; /* the same */
}
