/* Every request handler of the broker; the table is requests.c. */
#pragma once

struct mq_request;

/* handle_send.c */
int handle_send_message(struct mq_request *req);       /* 10, 324 */
int handle_send_message_v2(struct mq_request *req);    /* 310, 325 */
int handle_send_batch_message(struct mq_request *req); /* 320 */
/* handle_recall.c */
int handle_recall_message(struct mq_request *req); /* 370 */
/* handle_send_back.c */
int handle_consumer_send_msg_back(struct mq_request *req); /* 36 */
/* handle_txn.c */
int handle_end_transaction(struct mq_request *req); /* 37 */
/* handle_pull.c */
int handle_pull_message(struct mq_request *req); /* 11, 361 */
/* handle_pop.c */
int handle_pop_message(struct mq_request *req); /* 200050 */
/* handle_ack.c */
int handle_ack_message(struct mq_request *req);                  /* 200051 */
int handle_change_message_invisibletime(struct mq_request *req); /* 200053 */
int handle_batch_ack_message(struct mq_request *req);            /* 200151 */
/* handle_pop_look.c */
int handle_peek_message(struct mq_request *req); /* 200052 */
int handle_notification(struct mq_request *req); /* 200054 */
int handle_polling_info(struct mq_request *req); /* 200055 */
/* handle_pop_rollback.c */
int handle_pop_rollback(struct mq_request *req); /* 200056 */
/* handle_offset.c */
int handle_query_consumer_offset(struct mq_request *req);     /* 14 */
int handle_update_consumer_offset(struct mq_request *req);    /* 15 */
int handle_search_offset_by_timestamp(struct mq_request *req);/* 29 */
int handle_get_max_offset(struct mq_request *req);            /* 30 */
int handle_get_min_offset(struct mq_request *req);            /* 31 */
int handle_get_earliest_msg_storetime(struct mq_request *req);/* 32 */
/* handle_reset.c */
int handle_invoke_broker_to_reset_offset(struct mq_request *req); /* 222 */
/* handle_retain.c */
int handle_delete_expired(struct mq_request *req); /* 306, 329 */
/* handle_query.c */
int handle_query_message(struct mq_request *req);      /* 12 */
int handle_view_message_by_id(struct mq_request *req); /* 33 */
/* handle_client.c */
int handle_heart_beat(struct mq_request *req);                   /* 34 */
int handle_unregister_client(struct mq_request *req);            /* 35 */
int handle_get_consumer_list_by_group(struct mq_request *req);   /* 38 */
int handle_check_client_config(struct mq_request *req);          /* 46 */
int handle_get_consumer_connection_list(struct mq_request *req); /* 203 */
int handle_get_producer_connection_list(struct mq_request *req); /* 204 */
/* handle_assignment.c */
int handle_query_assignment(struct mq_request *req);             /* 400 */
int handle_set_message_request_mode(struct mq_request *req);     /* 401 */
int handle_get_all_message_request_mode(struct mq_request *req); /* 402 */
/* handle_lock.c */
int handle_lock_batch_mq(struct mq_request *req);   /* 41 */
int handle_unlock_batch_mq(struct mq_request *req); /* 42 */
/* handle_topic.c */
int handle_update_and_create_topic(struct mq_request *req); /* 17 */
int handle_get_all_topic_config(struct mq_request *req);    /* 21 */
int handle_delete_topic_in_broker(struct mq_request *req);  /* 215 */
int handle_get_topic_config(struct mq_request *req);        /* 351 */
/* handle_group.c */
int handle_update_and_create_subscriptiongroup(struct mq_request *req);  /* 200 */
int handle_get_all_subscriptiongroup_config(struct mq_request *req);     /* 201 */
int handle_delete_subscriptiongroup(struct mq_request *req);             /* 207 */
int handle_get_subscriptiongroup_config(struct mq_request *req);         /* 352 */
int handle_query_topic_consume_by_who(struct mq_request *req);           /* 300 */
/* handle_stats.c */
int handle_get_topic_stats_info(struct mq_request *req); /* 202 */
int handle_get_consume_stats(struct mq_request *req);    /* 208 */
/* handle_config.c */
int handle_get_broker_config(struct mq_request *req);       /* 26 */
int handle_get_broker_runtime_info(struct mq_request *req); /* 28 */
