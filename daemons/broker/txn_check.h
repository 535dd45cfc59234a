/* Transaction checks: producers are asked what became of half messages that stay without an end (behaviour.md section 8;
 * TransactionalMessageServiceImpl.check). A half message stays where it is, only its number of checks is noted; upstream stores a
 * new copy for each check, so that an end for the old one, come late, delivers a second time. */
#pragma once

#include "libmq/base/error.h"
#include "libmq/wire/record.h"

struct broker;
struct txn_check;

int txn_check_new(struct txn_check **ret, struct broker *b) _must_check_; /* -ENOMEM */
struct txn_check *txn_check_free(struct txn_check *c);
/* The first round begins after transactionCheckInterval. Main thread. -ENOMEM. */
int txn_check_start(struct txn_check *c) _must_check_;
/* No further round; one under way ends with the half message that it is at. Main thread. */
void txn_check_stop(struct txn_check *c);

enum txn_verdict {
	TXN_ASK,     /* its producer */
	TXN_LEAVE,   /* this one for now */
	TXN_STOP,    /* it and all behind it are too young */
	TXN_DISCARD, /* to TRANS_CHECK_MAX_TIME_TOPIC: asked too often, or too old */
};
struct txn_rules {
	int64_t timeout_ms;   /* transactionTimeOut */
	int64_t max_checks;   /* transactionCheckMax */
	int64_t retention_ms; /* fileReservedTime */
	int64_t round_began_ms, now_ms;
};
/* `immunity` is the value of CHECK_IMMUNITY_TIME_IN_SECONDS, p NULL without it. */
enum txn_verdict txn_check_decide(const struct txn_rules *rules, int64_t born_at_ms, int64_t store_at_ms, struct mq_slice immunity,
				  uint32_t n_checks);
/* How long its producer is not asked, and may end it, ms. */
int64_t txn_immunity_ms(struct mq_slice immunity, int64_t timeout_ms);

/* The properties with TRANSACTION_CHECK_TIMES=n_checks; unchanged for 0, and when there is no room for more. */
struct mq_slice txn_properties(struct mq_slice properties, uint32_t n_checks, char buffer[MQ_PROPERTIES_MAX]);
