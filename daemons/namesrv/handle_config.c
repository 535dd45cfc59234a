/* Configuration over the wire: 318, 319 */
#include <errno.h>
#include <event2/buffer.h>

#include "daemons/common/properties.h"
#include "daemons/namesrv/messages.h"
#include "daemons/namesrv/namesrv.h"
#include "libmq/base/log.h"
#include "libmq/wire/codes.h"

DEFINE_CLEANUP(struct evbuffer *, evbuffer_free)

/* Paths are never changed from outside: NamesrvConfig.configBlackList. */
static int refuse_black_listed(void *user, unsigned line, struct mq_slice key, struct mq_slice value, struct mq_error *err)
{
	static const char *const black_list[] = { "configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome" };

	for (unsigned i = 0; i < N_ELEMENTS(black_list); i++)
		if (mq_slice_is(key, black_list[i]))
			return mq_error_set(err, -EPERM, "Can not update config in black list.");
	return 0;
}

/* UPDATE_NAMESRV_CONFIG (318): live keys only, for as long as the process runs; the file belongs to the administrator. */
int handle_update_namesrv_config(struct mq_request *req)
{
	struct namesrv *n = req->server;
	struct mq_error err = {};
	int r;

	if (!req->cmd.body.p)
		return mq_reply_ok(req);
	r = properties_parse(req->cmd.body, refuse_black_listed, NULL, &err);
	if (r == -EPERM)
		return mq_reply_code(req, MQ_NO_PERMISSION, "%s", err.text);
	if (r < 0)
		return mq_reply_code(req, MQ_SYSTEM_ERROR, "string2Properties error");
	r = options_update(&namesrv_options, &n->config, req->cmd.body, &err);
	if (r == -EPERM)
		return mq_reply_code(req, MQ_NO_PERMISSION, "%s", err.text);
	if (r < 0)
		return err.text[0] ? mq_reply_code(req, MQ_SYSTEM_ERROR, "%s", err.text) : r;
	namesrv_log(LOG_NOTICE, NAMESRV_MSG_CONFIG_CHANGED, &(struct namesrv_fields){ .conn = req->conn },
		    "configuration changed by %s, until the next start", mq_conn_peer(req->conn)->text);
	return mq_reply_ok(req);
}

int handle_get_namesrv_config(struct mq_request *req)
{
	_cleanup_(evbuffer_freep) struct evbuffer *body = evbuffer_new();
	struct namesrv *n = req->server;
	struct mq_command answer;
	char value[4096];
	int r = body ? 0 : -ENOMEM;

	for (unsigned i = 0; r == 0 && i < namesrv_options.n_lines; i++) {
		const struct option_line *line = &namesrv_options.lines[i];

		if (line->type == OPTION_IGNORED)
			continue;
		options_format(line, &n->config, value, sizeof value);
		r = properties_add(body, line->key, mq_slice_of(value));
	}
	if (r < 0)
		return r;
	mq_request_answer(req, &answer, MQ_SUCCESS);
	return mq_reply(req, &answer, body);
}
