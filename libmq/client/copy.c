/* mq_command_copy(): a command that outlives the frame or the buffers it was made from. */
#include <stdlib.h>
#include <string.h>

#include "libmq/client/client.h"

static size_t command_bytes(const struct mq_command *cmd)
{
	size_t n = cmd->remark.n + cmd->body.n;

	for (unsigned i = 0; i < cmd->n_fields; i++)
		n += cmd->fields[i].name.n + cmd->fields[i].value.n;
	return n;
}

static void slice_move(struct mq_slice *s, char **at)
{
	if (!s->p)
		return;
	if (s->n > 0)
		memcpy(*at, s->p, s->n);
	s->p = *at;
	*at += s->n;
}

struct mq_command *mq_command_copy(const struct mq_command *cmd)
{
	struct mq_command *copy = malloc(sizeof *copy + command_bytes(cmd) + 1);
	char *at;

	if (!copy)
		return NULL;
	*copy = *cmd;
	at = (char *)(copy + 1);
	slice_move(&copy->remark, &at);
	slice_move(&copy->body, &at);
	for (unsigned i = 0; i < copy->n_fields; i++) {
		slice_move(&copy->fields[i].name, &at);
		slice_move(&copy->fields[i].value, &at);
	}
	return copy;
}
