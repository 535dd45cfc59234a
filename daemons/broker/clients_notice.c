/* Who must hear that a consumer group changed. */
#include "daemons/broker/clients_internal.h"

#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/groups.h"
#include "libmq/wire/codes.h"

struct notice {
	STAILQ_ENTRY(notice) link;
	bool even_if_silenced;
	struct mq_slice group;  /* behind the connections */
	unsigned n_conns;
	struct mq_conn *conns[]; /* refs */
};

void notice_gather(struct notice_list *list, const struct party *p, bool even_if_silenced)
{
	struct notice *n;
	const struct member *m;
	char *text;

	if (p->kind != PARTY_CONSUMERS || p->model == MQ_BROADCASTING || p->n_members == 0)
		return;
	n = malloc(sizeof *n + p->n_members * sizeof *n->conns + p->n_name);
	if (!n)
		return;
	n->even_if_silenced = even_if_silenced;
	n->n_conns = 0;
	TAILQ_FOREACH(m, &p->members, by_party)
		n->conns[n->n_conns++] = mq_conn_ref(m->key.client->conn);
	text = (char *)(n->conns + n->n_conns);
	memcpy(text, p->name, p->n_name);
	n->group = (struct mq_slice){ text, p->n_name };
	STAILQ_INSERT_TAIL(list, n, link);
}

static bool notice_is_wanted(struct clients *c, const struct notice *n)
{
	struct group group;

	if (!config_get(&c->broker->config, notifyConsumerIdsChangedEnable))
		return false;
	return n->even_if_silenced || groups_find(c->broker->groups, n->group, &group) < 0 || group.notify_ids_changed;
}

/* On the caller's own loop directly, so that the notice precedes the answer that is sent next. */
static void notice_send_one(struct clients *c, const struct notice *n, struct mq_conn *conn)
{
	struct mq_command cmd;

	mq_command_request(&cmd, MQ_NOTIFY_CONSUMER_IDS_CHANGED);
	cmd.flag = MQ_FLAG_ONEWAY;
	cmd.opaque = __atomic_add_fetch(&c->opaque, 1, __ATOMIC_RELAXED);
	mq_command_add(&cmd, "consumerGroup", n->group);
	if (mq_loop_is_current(mq_conn_loop(conn)))
		(void)mq_conn_send(conn, &cmd, NULL); /* closes the connection itself when memory is short */
	else
		(void)mq_conn_post(conn, &cmd);
}

static void notice_free(struct notice *n)
{
	for (unsigned i = 0; i < n->n_conns; i++)
		mq_conn_unref(n->conns[i]);
	free(n);
}

void notice_send_all(struct clients *c, struct notice_list *list)
{
	struct notice *n;

	while ((n = STAILQ_FIRST(list))) {
		bool is_wanted = notice_is_wanted(c, n);

		STAILQ_REMOVE_HEAD(list, link);
		for (unsigned i = 0; is_wanted && i < n->n_conns; i++)
			notice_send_one(c, n, n->conns[i]);
		notice_free(n);
	}
}

void notice_drop_all(struct notice_list *list)
{
	struct notice *n;

	while ((n = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		notice_free(n);
	}
}
