/* Which queues of a topic can be read, over all brokers: what the NameServers say (TopicRouteInfoManager). A topic that was asked
 * for is asked again every 30 s while anybody wants it. What no NameServer answers is as it was before. Without any NameServer in
 * the configuration this broker is alone: its own queues. */
#pragma once

#include "libmq/base/slice.h"
#include "libmq/wire/body_lock.h"

struct broker;
struct mq_loop;
struct read_queues;

enum { READ_QUEUES_MAX = 262144 }; /* of one topic; a topic with more is taken for unknown */

/* Immutable, shared between threads. */
struct queue_list {
	_Atomic unsigned refs;
	unsigned n;
	char *names;                   /* owned: what queues[] points into */
	struct mq_queue_name queues[]; /* sorted by broker and id */
};

struct queue_list *queue_list_unref(struct queue_list *list);
DEFINE_CLEANUP(struct queue_list *, queue_list_unref)

int read_queues_new(struct read_queues **ret, struct broker *b) _must_check_;
/* After registrar_free(), which ends the questions that are on their way. */
struct read_queues *read_queues_free(struct read_queues *r);

/* The list may be NULL: not known. It is borrowed for the call. */
typedef void (*read_queues_done)(void *user, struct queue_list *list);

enum { READ_QUEUES_WAIT = 1 };
/* Any thread. 0: a reference in *ret, or NULL. READ_QUEUES_WAIT: done() will be called on `loop`, after at most 3 s. -ENOMEM. */
int read_queues_find(struct read_queues *r, struct mq_slice topic, struct mq_loop *loop, read_queues_done done, void *user,
		     struct queue_list **ret) _must_check_;
/* Nobody waits any longer, now or later. Main thread. */
void read_queues_stop(struct read_queues *r);
