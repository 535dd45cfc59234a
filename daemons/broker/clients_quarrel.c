/* Members of a consumer group that subscribe to different things: told to the journal, or refused. */
#include "daemons/broker/clients_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "daemons/broker/broker.h"
#include "daemons/broker/groups.h"
#include "daemons/broker/messages.h"
#include "libmq/base/log.h"

enum {
	QUARREL_TEXT = 1200,        /* bytes of a line about members that differ */
	QUARREL_SETS = 4,           /* different subscriptions shown in it */
	QUARRELS_MAX = 10,          /* such lines per QUARRELS_WINDOW_MS */
	QUARRELS_WINDOW_MS = 10000,
};

/* A group whose members began to differ. */
struct quarrel {
	STAILQ_ENTRY(quarrel) link;
	char group[GROUP_NAME_MAX + 1];
	char text[QUARREL_TEXT];
};

static const struct member *party_first_of(const struct party *p, const struct sub_set *set)
{
	const struct member *m;

	TAILQ_FOREACH(m, &p->members, by_party)
		if (m->set == set)
			break;
	return m;
}

/* Control characters and quotes of a peer's text become dots: it goes into a sentence. */
static void text_tame(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f || *text == '"')
			*text = '.';
}

/* "c@10.0.0.7:5120 and 2 more" */
static void quarrel_name(const struct party *p, const struct sub_set *set, char *ret, size_t size)
{
	const struct member *m = party_first_of(p, set);
	char more[32] = "";

	if (set->n_members > 1)
		snprintf(more, sizeof more, " and %u more", set->n_members - 1);
	snprintf(ret, size, "%.100s (%s)%s", m->key.client->client_id, m->key.client->address, more);
	text_tame(ret);
}

/* "a (host:port): T(*); b (host:port) and 2 more: T(x), not U" */
static void quarrel_describe(const struct party *p, char *ret, size_t size)
{
	const struct sub_set *set, *first = LIST_FIRST(&p->sets);
	unsigned n = 0;

	ret[0] = '\0';
	LIST_FOREACH(set, &p->sets, link) {
		size_t at = strlen(ret);
		char who[200], what[240];

		if (n++ == QUARREL_SETS) {
			snprintf(ret + at, size - at, "; and %u other subscriptions", p->n_sets - QUARREL_SETS);
			break;
		}
		quarrel_name(p, set, who, sizeof who);
		sub_set_difference(set, set == first ? LIST_NEXT(first, link) : first, what, sizeof what);
		snprintf(ret + at, size - at, "%s%s: %s", at > 0 ? "; " : "", who, what);
	}
}

void quarrel_gather(struct clients *c, struct quarrel_list *list, struct party *p)
{
	int64_t now_ms = mq_mono_ms(c->broker->clock);
	struct quarrel *q;

	if (p->n_sets <= 1 || p->is_quarrelling)
		return;
	p->is_quarrelling = true;
	if (c->n_quarrels == 0 || now_ms - c->quarrels_since_ms >= QUARRELS_WINDOW_MS) {
		c->quarrels_since_ms = now_ms;
		c->n_quarrels = 0;
	}
	q = c->n_quarrels < QUARRELS_MAX ? calloc(1, sizeof *q) : NULL;
	if (!q) {
		c->n_quarrels_left_out++;
		return;
	}
	c->n_quarrels++;
	snprintf(q->group, sizeof q->group, "%s", p->name);
	quarrel_describe(p, q->text, sizeof q->text);
	if (c->n_quarrels_left_out > 0) {
		size_t at = strlen(q->text);

		snprintf(q->text + at, sizeof q->text - at, " (and %u more groups like this)", c->n_quarrels_left_out);
		c->n_quarrels_left_out = 0;
	}
	STAILQ_INSERT_TAIL(list, q, link);
}

void quarrel_log_all(struct quarrel_list *list)
{
	struct quarrel *q;

	while ((q = STAILQ_FIRST(list))) {
		char group[sizeof q->group + 16], members[QUARREL_TEXT + 16];
		const char *fields[] = { group, members, NULL };

		STAILQ_REMOVE_HEAD(list, link);
		snprintf(group, sizeof group, "MQ_GROUP=%s", q->group);
		snprintf(members, sizeof members, "MQ_MEMBERS=%s", q->text);
		mq_log_fields(LOG_WARNING, BROKER_MSG_MEMBERS_DIFFER, fields,
			      "members of consumer group %s subscribe to different things, so each gets messages of the other and misses its "
			      "own: %s", q->group, q->text);
		free(q);
	}
}

bool party_contradicts(const struct party *p, const struct member *m, const struct sub_set *said,
			      struct mq_slice client_id, char *ret, size_t size)
{
	const struct sub_set *set;
	char who[200], here[240], there[240];

	LIST_FOREACH(set, &p->sets, link) {
		if (sub_set_equal(set, said) || set->n_members == (m && m->set == set ? 1u : 0u))
			continue;
		quarrel_name(p, set, who, sizeof who);
		sub_set_difference(said, set, here, sizeof here);
		sub_set_difference(set, said, there, sizeof there);
		snprintf(ret, size,
			 "strictSubscription: client %.*s must not join consumer group %s: it subscribes to %s, but its member %s to %s. Give "
			 "all members of the group the same subscription, or use another group name",
			 (int)(client_id.n < 100 ? client_id.n : 100), client_id.p, p->name, here, who, there);
		text_tame(ret);
		return true;
	}
	return false;
}
