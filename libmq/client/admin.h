/* Requests of an administrator, blocking. Answers with a JSON body are handed out parsed: how they are
 * shown is the caller's. */
#pragma once

#include "libmq/client/client.h"
#include "libmq/wire/body_topics.h"
#include "libmq/wire/json.h"

/* One running broker process. */
struct mq_broker {
	char *name, *cluster, *address; /* owned by the list; name and cluster are empty for a direct broker */
	int64_t id;                     /* 0: master */
};

struct mq_broker_list {
	unsigned n;
	struct mq_broker *items; /* owned; sorted by cluster, name, id */
};

/* The brokers that the NameServer knows (code 106), all or those of one cluster (-ENOENT when it has none);
 * with a direct broker that one alone. */
int mq_admin_brokers(struct mq_client *c, const char *cluster, struct mq_broker_list *ret,
		     struct mq_failure *f) _must_check_;
void mq_broker_list_done(struct mq_broker_list *list);
/* Borrows from the broker. */
struct mq_hop mq_broker_hop(const struct mq_broker *b);

/* Asks and parses the body. *ret is to be freed with mq_json_free(). */
int mq_admin_json(struct mq_client *c, const struct mq_hop *hop, const struct mq_command *cmd,
		  struct mq_json **ret, struct mq_failure *f) _must_check_;

int mq_admin_create_topic(struct mq_client *c, const struct mq_broker *b, const struct mq_topic_config *config,
			  struct mq_failure *f) _must_check_;
/* From the broker, with its messages and offsets. No error when it is not there. */
int mq_admin_delete_topic(struct mq_client *c, const struct mq_broker *b, const char *topic,
			  struct mq_failure *f) _must_check_;
/* From the routes of every NameServer of the configuration. */
int mq_admin_forget_topic(struct mq_client *c, const char *topic, const char *cluster,
			  struct mq_failure *f) _must_check_;

/* Names that brokers make for themselves: %RETRY%, %DLQ%, rmq_sys_, TBW102 and the like. `brokers` may be
 * NULL. */
bool mq_topic_is_system(const char *topic, const struct mq_broker_list *brokers);

/* Asks a broker whether it filters by this SQL92 expression (46): its pulls would not tell. f->code: MQ_SYSTEM_ERROR when it does not
 * filter by SQL92 at all, MQ_SUBSCRIPTION_PARSE_FAILED when it does not understand the expression. */
int mq_admin_check_sql(struct mq_client *c, const struct mq_hop *hop, const char *topic, const char *expression,
		       struct mq_failure *f) _must_check_;

/* The offset that a broker gives in answer to 29, 30 or 31 (`code`); timestamp_ms is for 29. */
int mq_admin_offset(struct mq_client *c, const struct mq_hop *hop, int code, const char *topic,
		    int32_t queue_id, int64_t timestamp_ms, int64_t *ret,
		    struct mq_failure *f) _must_check_;
