/* POP_ROLLBACK (200056): what is popped goes back to where older brokers keep it; reference: protocol/requests-broker.md section 7,
 * AdminBrokerProcessor.transferPopToFsStore. What is popped has one place here, so there is nothing to move: the answer is the one
 * of a broker that has moved everything. */
#include "daemons/broker/broker.h"
#include "daemons/broker/handlers.h"
#include "daemons/broker/pop_check.h"

int handle_pop_rollback(struct mq_request *req)
{
	struct mq_command answer;

	mq_request_answer(req, &answer, MQ_SUCCESS);
	answer.remark = MQ_SLICE(POP_NO_REMARK);
	return mq_reply(req, &answer, NULL);
}
