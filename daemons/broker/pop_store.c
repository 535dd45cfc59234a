/* What a pop gives out is noted before it is answered: when each message comes again, and how far the group is. */
#include "daemons/broker/pop.h"

#include <errno.h>
#include <stdlib.h>

#include "daemons/broker/pop_inflight.h"

static void pop_undo_order(struct pop *p)
{
	struct pop_run *run = p->run;

	for (unsigned i = 0; run->changes && i < run->take.n_targets; i++) {
		const struct pop_target *target = &run->take.targets[i];

		(void)pop_orders_set(p->broker->pop_orders, store_queue_topic(target->queue), p->h.group, store_queue_id(target->queue),
				     run->changes[i].had_before ? &run->changes[i].before : NULL);
	}
}

static void pop_stored(struct broker_op *op)
{
	struct pop_run *run = (struct pop_run *)((char *)op - offsetof(struct pop_run, op));
	struct pop *p = op->op.user;

	if (op->op.result == -ENOENT) { /* a topic was deleted: if it was not this one, there is more to find */
		pop_undo_order(p);
		pop_take_done(&run->take);
		free(run->changes);
		run->changes = NULL;
		pop_run(p);
		return;
	}
	if (op->op.result < 0) {
		pop_undo_order(p);
		pop_fail(p, run->op.op.result);
		return;
	}
	for (unsigned i = 0; i < run->take.n_targets; i++) {
		const struct pop_target *target = &run->take.targets[i];

		pop_inflight_add(p->broker->pop_inflight,
				 &(struct pop_inflight_key){ store_queue_topic(target->queue), p->h.group, store_queue_id(target->queue) },
				 target->n);
	}
	pop_answer(p, MQ_SUCCESS);
}

/* In order nothing is committed before it is acknowledged; that a queue's messages are with the group is its state. */
static int pop_change_order(struct pop *p, unsigned i, struct store_offset_put *put)
{
	struct pop_run *run = p->run;
	const struct pop_target *target = &run->take.targets[i];
	struct pop_order_change *c = &run->changes[i];

	put->offset = target->from;
	c->had_before = pop_orders_get(p->broker->pop_orders, put->topic, put->group, put->queue_id, &c->before);
	pop_order_popped(&c->next, c->had_before ? &c->before : NULL, p->h.attempt, run->take.pop_at_ms, p->h.invisible_ms,
			 run->take.offsets + target->first, target->n);
	run->rows[i] = (struct store_meta_put){
		.kind = POP_ORDER_KIND,
		.name = { c->name, pop_order_name(put->topic, put->group, put->queue_id, c->name) },
		.value = { c->row, pop_order_encode(&c->next, c->row) },
	};
	return pop_orders_set(p->broker->pop_orders, put->topic, put->group, put->queue_id, &c->next);
}

static void pop_make_dues(struct pop *p, const struct pop_target *target)
{
	struct pop_run *run = p->run;
	const struct pop_take *t = &run->take;

	for (unsigned i = target->first; i < target->first + target->n; i++)
		run->dues[run->op.op.n_due_puts++] = (struct store_due){
			.at_ms = pop_due_ms(t->pop_at_ms, p->h.invisible_ms),
			.kind = STORE_DUE_POP,
			.locator = store_queue_locator(target->queue, t->offsets[i]),
			.group = p->h.group,
			.pop_at_ms = t->pop_at_ms,
		};
}

void pop_store(struct pop *p)
{
	struct pop_run *run = p->run;
	struct store_op *op = &run->op.op;

	if (p->h.is_order && !(run->changes = calloc(run->take.n_targets, sizeof *run->changes))) {
		pop_fail(p, -ENOMEM);
		return;
	}
	store_op_init(op);
	op->due_puts = run->dues;
	op->offset_puts = run->puts;
	op->meta_puts = run->rows;
	op->no_wait = true;
	op->user = p;
	run->op.done = pop_stored;
	for (unsigned i = 0; i < run->take.n_targets; i++) {
		const struct pop_target *target = &run->take.targets[i];
		struct store_offset_put *put = &run->puts[op->n_offset_puts++];

		*put = (struct store_offset_put){
			.group = p->h.group,
			.topic = store_queue_topic(target->queue),
			.queue_id = store_queue_id(target->queue),
			.offset = target->next,
			.since = target->since,
		};
		if (!p->h.is_order) {
			pop_make_dues(p, target);
		} else if (pop_change_order(p, i, put) < 0) {
			pop_undo_order(p);
			pop_fail(p, -ENOMEM);
			return;
		} else {
			op->n_meta_puts++;
		}
	}
	broker_append(broker_loop_of(p->broker, p->req->conn), &run->op);
}
