/* Every request that the broker serves: one line each, sorted by code (reference: protocol/requests-broker.md section 1).
 * The fast port serves all but pulls (protocol/frame.md section 7). Other codes are answered with 3. */
#include "daemons/broker/broker.h"
#include "daemons/broker/clients.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/hold.h"

/* clang-format off */
static const struct mq_dispatch_line lines[] = {
	/* code                                  handler                                   permission           resources                       */
	{ MQ_SEND_MESSAGE,                       handle_send_message,                      MQ_PERM_PUB,         "topic", NULL, false },
	{ MQ_PULL_MESSAGE,                       handle_pull_message,                      MQ_PERM_SUB,         "topic", "consumerGroup", true },
	{ MQ_QUERY_MESSAGE,                      handle_query_message,                     MQ_PERM_SUB,         "topic", NULL, false },
	{ MQ_QUERY_CONSUMER_OFFSET,              handle_query_consumer_offset,             MQ_PERM_SUB,         "topic", "consumerGroup", false },
	{ MQ_UPDATE_CONSUMER_OFFSET,             handle_update_consumer_offset,            MQ_PERM_SUB,         "topic", "consumerGroup", false },
	{ MQ_UPDATE_AND_CREATE_TOPIC,            handle_update_and_create_topic,           MQ_PERM_ADMIN,       "topic", NULL, false },
	{ MQ_GET_ALL_TOPIC_CONFIG,               handle_get_all_topic_config,              MQ_PERM_ADMIN_READ,  NULL, NULL, false },
	{ MQ_GET_BROKER_CONFIG,                  handle_get_broker_config,                 MQ_PERM_ADMIN_READ,  NULL, NULL, false },
	{ MQ_GET_BROKER_RUNTIME_INFO,            handle_get_broker_runtime_info,           MQ_PERM_ADMIN_READ,  NULL, NULL, false },
	{ MQ_SEARCH_OFFSET_BY_TIMESTAMP,         handle_search_offset_by_timestamp,        MQ_PERM_SUB,         "topic", NULL, false },
	{ MQ_GET_MAX_OFFSET,                     handle_get_max_offset,                    MQ_PERM_SUB,         "topic", NULL, false },
	{ MQ_GET_MIN_OFFSET,                     handle_get_min_offset,                    MQ_PERM_SUB,         "topic", NULL, false },
	{ MQ_GET_EARLIEST_MSG_STORETIME,         handle_get_earliest_msg_storetime,        MQ_PERM_SUB,         "topic", NULL, false },
	{ MQ_VIEW_MESSAGE_BY_ID,                 handle_view_message_by_id,                MQ_PERM_SUB,         "topic", NULL, false },
	{ MQ_HEART_BEAT,                         handle_heart_beat,                        MQ_PERM_NONE,        NULL, NULL, false },
	{ MQ_UNREGISTER_CLIENT,                  handle_unregister_client,                 MQ_PERM_NONE,        NULL, NULL, false },
	{ MQ_CONSUMER_SEND_MSG_BACK,             handle_consumer_send_msg_back,            MQ_PERM_SUB,         "group", NULL, false },
	{ MQ_END_TRANSACTION,                    handle_end_transaction,                   MQ_PERM_PUB,         "topic", NULL, false },
	{ MQ_GET_CONSUMER_LIST_BY_GROUP,         handle_get_consumer_list_by_group,        MQ_PERM_SUB,         "consumerGroup", NULL, false },
	{ MQ_LOCK_BATCH_MQ,                      handle_lock_batch_mq,                     MQ_PERM_SUB,         NULL, NULL, false },
	{ MQ_UNLOCK_BATCH_MQ,                    handle_unlock_batch_mq,                   MQ_PERM_SUB,         NULL, NULL, false },
	{ MQ_CHECK_CLIENT_CONFIG,                handle_check_client_config,               MQ_PERM_NONE,        NULL, NULL, false },
	{ MQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, handle_update_and_create_subscriptiongroup, MQ_PERM_ADMIN,   NULL, NULL, false },
	{ MQ_GET_ALL_SUBSCRIPTIONGROUP_CONFIG,   handle_get_all_subscriptiongroup_config,  MQ_PERM_ADMIN_READ,  NULL, NULL, false },
	{ MQ_GET_TOPIC_STATS_INFO,               handle_get_topic_stats_info,              MQ_PERM_ADMIN_READ,  "topic", NULL, false },
	{ MQ_GET_CONSUMER_CONNECTION_LIST,       handle_get_consumer_connection_list,      MQ_PERM_ADMIN_READ,  "consumerGroup", NULL, false },
	{ MQ_GET_PRODUCER_CONNECTION_LIST,       handle_get_producer_connection_list,      MQ_PERM_ADMIN_READ,  "producerGroup", NULL, false },
	{ MQ_DELETE_SUBSCRIPTIONGROUP,           handle_delete_subscriptiongroup,          MQ_PERM_ADMIN,       "groupName", NULL, false },
	{ MQ_GET_CONSUME_STATS,                  handle_get_consume_stats,                 MQ_PERM_ADMIN_READ,  "consumerGroup", "topic", false },
	{ MQ_DELETE_TOPIC_IN_BROKER,             handle_delete_topic_in_broker,            MQ_PERM_ADMIN,       "topic", NULL, false },
	{ MQ_INVOKE_BROKER_TO_RESET_OFFSET,      handle_invoke_broker_to_reset_offset,     MQ_PERM_ADMIN,       "group", "topic", false },
	{ MQ_QUERY_TOPIC_CONSUME_BY_WHO,         handle_query_topic_consume_by_who,        MQ_PERM_ADMIN_READ,  "topic", NULL, false },
	{ MQ_CLEAN_EXPIRED_CONSUMEQUEUE,         handle_delete_expired,                    MQ_PERM_ADMIN,       NULL, NULL, false },
	{ MQ_SEND_MESSAGE_V2,                    handle_send_message_v2,                   MQ_PERM_PUB,         "b", NULL, false },
	{ MQ_SEND_BATCH_MESSAGE,                 handle_send_batch_message,                MQ_PERM_PUB,         "b", NULL, false },
	{ MQ_SEND_REPLY_MESSAGE,                 handle_send_message,                      MQ_PERM_PUB,         "topic", NULL, false },
	{ MQ_SEND_REPLY_MESSAGE_V2,              handle_send_message_v2,                   MQ_PERM_PUB,         "b", NULL, false },
	{ MQ_DELETE_EXPIRED_COMMITLOG,           handle_delete_expired,                    MQ_PERM_ADMIN,       NULL, NULL, false },
	{ MQ_GET_TOPIC_CONFIG,                   handle_get_topic_config,                  MQ_PERM_ADMIN_READ,  "topic", NULL, false },
	{ MQ_GET_SUBSCRIPTIONGROUP_CONFIG,       handle_get_subscriptiongroup_config,      MQ_PERM_ADMIN_READ,  "group", NULL, false },
	{ MQ_LITE_PULL_MESSAGE,                  handle_pull_message,                      MQ_PERM_SUB,         "topic", "consumerGroup", true },
	{ MQ_RECALL_MESSAGE,                     handle_recall_message,                    MQ_PERM_PUB,         "topic", NULL, false },
	{ MQ_QUERY_ASSIGNMENT,                   handle_query_assignment,                  MQ_PERM_SUB,         NULL, NULL, false },
	{ MQ_SET_MESSAGE_REQUEST_MODE,           handle_set_message_request_mode,          MQ_PERM_ADMIN,       NULL, NULL, false },
	{ MQ_GET_ALL_MESSAGE_REQUEST_MODE,       handle_get_all_message_request_mode,      MQ_PERM_ADMIN_READ,  NULL, NULL, false },
	{ MQ_POP_MESSAGE,                        handle_pop_message,                       MQ_PERM_SUB,         "topic", "consumerGroup", true },
	{ MQ_ACK_MESSAGE,                        handle_ack_message,                       MQ_PERM_SUB,         "topic", "consumerGroup", false },
	{ MQ_PEEK_MESSAGE,                       handle_peek_message,                      MQ_PERM_SUB,         "topic", "consumerGroup", true },
	{ MQ_CHANGE_MESSAGE_INVISIBLETIME,       handle_change_message_invisibletime,      MQ_PERM_SUB,         "topic", "consumerGroup", false },
	{ MQ_NOTIFICATION,                       handle_notification,                      MQ_PERM_SUB,         "topic", "consumerGroup", true },
	{ MQ_POLLING_INFO,                       handle_polling_info,                      MQ_PERM_SUB,         "topic", "consumerGroup", true },
	{ MQ_POP_ROLLBACK,                       handle_pop_rollback,                      MQ_PERM_ADMIN,       NULL, NULL, false },
	{ MQ_BATCH_ACK_MESSAGE,                  handle_batch_ack_message,                 MQ_PERM_SUB,         NULL, NULL, false },
};
/* clang-format on */

static struct mq_dispatch_count counts[N_ELEMENTS(lines)];

static bool is_send(const struct mq_request *req)
{
	return req->line && (req->line->code == MQ_SEND_MESSAGE || req->line->code == MQ_SEND_MESSAGE_V2 ||
			     req->line->code == MQ_SEND_BATCH_MESSAGE ||
			     req->line->code == MQ_SEND_REPLY_MESSAGE ||
			     req->line->code == MQ_SEND_REPLY_MESSAGE_V2);
}

/* Senders learn the region and whether to trace from every answer, also from errors; who recalls, the region. */
static void requests_decorate(const struct mq_request *req, struct mq_command *answer)
{
	struct broker *b = req->server;
	bool is_recall = req->line && req->line->code == MQ_RECALL_MESSAGE;

	if (is_send(req) || is_recall)
		mq_command_add(answer, "MSG_REGION", mq_slice_of(b->config.regionId));
	if (is_send(req))
		mq_command_add_bool(answer, "TRACE_ON", config_get(&b->config, traceOn));
}

static void requests_on_close(struct mq_conn *conn, void *server)
{
	struct broker *b = server;
	struct broker_loop *bl = broker_loop_of(b, conn);

	clients_closed(b->clients, conn);
	if (bl && broker_loop_hold(bl))
		hold_closed(broker_loop_hold(bl), conn);
}

void broker_dispatch_init(struct broker *b)
{
	b->dispatch = (struct mq_dispatch){
		.lines = lines,
		.n_lines = N_ELEMENTS(lines),
		.server = b,
		.on_close = requests_on_close,
		.counts = counts,
		.decorate = requests_decorate,
	};
	mq_dispatch_check(&b->dispatch);
}
