#include "daemons/ctl/ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct verb *const verbs[] = {
	&verb_send,
	&verb_tail,
	&verb_topic_create,
	&verb_topic_list,
	&verb_topic_describe,
	&verb_topic_delete,
	&verb_group_list,
	&verb_group_describe,
	&verb_group_lag,
	&verb_cluster,
	&verb_ping,
	&verb_bench_produce,
	&verb_bench_consume,
	&verb_bench_e2e,
};
const unsigned n_verbs = N_ELEMENTS(verbs);

const struct verb *verb_find(int argc, char **argv, int *ret_words)
{
	for (unsigned i = 0; i < n_verbs; i++) {
		const char *name = verbs[i]->name, *blank = strchr(name, ' ');
		size_t n = blank ? (size_t)(blank - name) : strlen(name);

		if (argc < 1 || strlen(argv[0]) != n || strncmp(argv[0], name, n) != 0)
			continue;
		if (!blank) {
			*ret_words = 1;
			return verbs[i];
		}
		if (argc > 1 && strcmp(argv[1], blank + 1) == 0) {
			*ret_words = 2;
			return verbs[i];
		}
	}
	return NULL;
}

int ctl_new_client(struct ctl *ctl, struct mq_client **ret)
{
	struct mq_client_config cfg = {
		.namesrv = ctl->common->namesrv,
		.broker = ctl->common->broker,
		.timeout_ms = ctl->common->timeout_ms,
	};
	struct mq_error err;

	/* -b means: that broker, whatever the environment says. */
	if (!cfg.namesrv && !cfg.broker) {
		cfg.namesrv = getenv("NAMESRV_ADDR");
		if (!cfg.namesrv || !*cfg.namesrv)
			cfg.namesrv = "unix:/run/mqd/namesrv.sock";
	}
	if (mq_client_new(ret, ctl->loop, &cfg, &err) < 0)
		return err.code == -ENOMEM ? ctl_no_memory() : ctl_usage(ctl->verb, "%s", err.text);
	return 0;
}

int ctl_connect(struct ctl *ctl)
{
	struct mq_loop_config cfg;
	struct mq_error err;

	mq_loop_config_init(&cfg);
	cfg.name = "mqctl";
	if (mq_loop_new(&ctl->loop, &cfg, &err) < 0)
		return ctl_error(EX_OSERR, "%s", err.text);
	return ctl_new_client(ctl, &ctl->client);
}
