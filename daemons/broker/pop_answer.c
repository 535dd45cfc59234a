/* How a pop is answered. */
#include "daemons/broker/pop.h"

#include <event2/buffer.h>

#include "daemons/broker/stats.h"

static void pop_begin_answer(struct pop *p, struct mq_command *answer, int code, const char *remark, const struct pop_take *t)
{
	mq_request_answer(p->req, answer, code);
	answer->remark = mq_slice_of(remark);
	/* Java's header has plain numbers: they are in every answer. */
	mq_command_add_i64(answer, "popTime", t ? t->pop_at_ms : 0);
	mq_command_add_i64(answer, "invisibleTime", t ? p->h.invisible_ms : 0);
	mq_command_add_i64(answer, "reviveQid", t ? t->revive_queue : 0);
	mq_command_add_i64(answer, "restNum", t ? t->rest : 0);
}

void pop_refused(struct pop_check *c, int code, const char *remark)
{
	struct pop *p = (struct pop *)((char *)c - offsetof(struct pop, check));
	struct mq_request *req = p->req;
	struct mq_command answer;

	pop_begin_answer(p, &answer, code, remark, NULL);
	mq_reply(req, &answer, NULL);
	pop_free(p);
}

void pop_fail(struct pop *p, int r)
{
	struct mq_request *req = p->req;

	pop_free(p);
	broker_reply_store(req, r);
}

/* Also an empty one is there. */
static struct mq_slice pop_text(struct evbuffer *b)
{
	size_t n = evbuffer_get_length(b);

	return n > 0 ? (struct mq_slice){ (const char *)evbuffer_pullup(b, -1), n } : MQ_SLICE("");
}

static void pop_write_counts(const struct pop_run *run, struct evbuffer *out)
{
	for (unsigned i = 0; run->changes && i < run->take.n_targets; i++)
		pop_order_write_counts(&run->changes[i].next, (int)run->take.targets[i].mark, store_queue_id(run->take.targets[i].queue),
				       out);
}

/* The texts must live until the answer was encoded. */
struct pop_texts {
	struct evbuffer *start_offsets, *offsets, *counts; /* owned */
};

static bool pop_texts_make(struct pop_texts *texts, const struct pop_run *run)
{
	*texts = (struct pop_texts){ evbuffer_new(), evbuffer_new(), evbuffer_new() };
	if (!texts->start_offsets || !texts->offsets || !texts->counts)
		return false;
	pop_take_write(&run->take, texts->start_offsets, texts->offsets);
	pop_write_counts(run, texts->counts);
	return true;
}

static void pop_texts_done(struct pop_texts *texts)
{
	if (texts->start_offsets)
		evbuffer_free(texts->start_offsets);
	if (texts->offsets)
		evbuffer_free(texts->offsets);
	if (texts->counts)
		evbuffer_free(texts->counts);
}

void pop_answer(struct pop *p, int code)
{
	struct pop_take *t = &p->run->take;
	struct mq_request *req = p->req;
	struct evbuffer *body = TAKE(t->body);
	bool is_found = code == MQ_SUCCESS;
	struct mq_command answer;
	struct pop_texts texts;

	if (is_found)
		stats_get(p->broker->stats, t->n_messages, (uint64_t)t->n_bytes);
	else
		stats_get_missed(p->broker->stats);
	if (pop_texts_make(&texts, p->run)) {
		pop_begin_answer(p, &answer, code, is_found ? "FOUND" : "NO_MESSAGE_IN_QUEUE", t);
		mq_command_add(&answer, "startOffsetInfo", pop_text(texts.start_offsets));
		mq_command_add(&answer, "msgOffsetInfo", pop_text(texts.offsets));
		if (p->h.is_order)
			mq_command_add(&answer, "orderCountInfo", pop_text(texts.counts));
	} else {
		mq_request_answer(req, &answer, MQ_SYSTEM_ERROR);
		answer.remark = MQ_SLICE("out of memory");
	}
	/* Names borrow from the request, and the next one finds the locks open. */
	pop_take_done(t);
	/* Who gives up on a queue that is taken was woken for it, maybe. */
	if (is_found ? t->rest > 0 : t->was_busy)
		pop_polls_wake(p->broker->pop_polls, p->h.group, p->h.topic, p->h.queue_id);
	mq_reply(req, &answer, answer.code == code ? body : NULL);
	pop_texts_done(&texts);
	if (body)
		evbuffer_free(body);
	pop_free(p);
}
