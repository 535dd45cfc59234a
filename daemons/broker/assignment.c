#include "daemons/broker/assignment.h"

/* AllocateMessageQueueAveragely: stretches, the first ones longer by one. */
static void take_average(const struct assignment_question *q, unsigned member, bool *taken)
{
	unsigned rest = q->n_queues % q->n_members, each = q->n_queues / q->n_members;
	unsigned first = member * each + (member < rest ? member : rest);
	unsigned n = each + (member < rest);

	for (unsigned i = 0; i < n; i++)
		taken[first + i] = true;
}

/* AllocateMessageQueueAveragelyByCircle. */
static void take_circle(const struct assignment_question *q, unsigned member, bool *taken)
{
	for (unsigned i = member; i < q->n_queues; i += q->n_members)
		taken[i] = true;
}

typedef void (*strategy)(const struct assignment_question *q, unsigned member, bool *taken);

static strategy strategy_of(struct mq_slice name)
{
	return mq_slice_is(name, "AVG") ? take_average : mq_slice_is(name, "AVG_BY_CIRCLE") ? take_circle : NULL;
}

static bool is_blank(struct mq_slice text)
{
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] != ' ')
			return false;
	return true;
}

static unsigned find_member(const struct assignment_question *q)
{
	unsigned i = 0;

	while (i < q->n_members && !mq_slice_equal(q->members[i], q->client_id))
		i++;
	return i;
}

/* Each member also reads the queues of the `pop_share` members behind it. With more members than queues each gets one. */
static void take_shared(const struct assignment_question *q, strategy take, unsigned member, bool *taken)
{
	if (q->n_members > q->n_queues) {
		taken[member % q->n_queues] = true;
		return;
	}
	for (unsigned i = 0; i <= (unsigned)q->pop_share; i++)
		take(q, (member + i) % q->n_members, taken);
}

enum assignment assignment_decide(const struct assignment_question *q, bool *ret_taken)
{
	strategy take = strategy_of(q->strategy);
	unsigned member;

	if (q->model == MQ_BROADCASTING || q->gives_all) {
		for (unsigned i = 0; i < q->n_queues; i++)
			ret_taken[i] = true;
		return ASSIGNED;
	}
	if (q->n_members == 0 || !take)
		return ASSIGNED_UNKNOWN;
	/* So few members that everybody shares with all others. */
	if (q->mode == MQ_MODE_POP && (q->pop_share <= 0 || (unsigned)q->pop_share >= q->n_members - 1))
		return ASSIGNED_BROKERS;
	if (is_blank(q->client_id) || q->n_queues == 0)
		return ASSIGNED_UNKNOWN;
	member = find_member(q);
	if (member == q->n_members) /* it has not said that it is there */
		return ASSIGNED;
	if (q->mode == MQ_MODE_POP)
		take_shared(q, take, member, ret_taken);
	else
		take(q, member, ret_taken);
	return ASSIGNED;
}
