#include "daemons/ctl/message.h"

#include <errno.h>

#include "daemons/ctl/times.h"
#include "libmq/client/pull.h"
#include "libmq/wire/message_properties.h"

int message_printer_init(struct message_printer *p, enum output_format format, bool is_terminal, bool is_raw)
{
	*p = (struct message_printer){ .format = format, .is_terminal = is_terminal, .is_raw = is_raw };
	return json_out_init(&p->json);
}

void message_printer_done(struct message_printer *p)
{
	json_out_done(&p->json);
}

static void print_json(struct message_printer *p, const struct mq_record *r, const char *broker,
		       struct mq_slice body, FILE *out)
{
	struct mq_json_writer *w = &p->json.w;
	struct mq_slice rest = r->properties, name, value;
	char id[MQ_MESSAGE_ID_MAX], host[MQ_HOST_TEXT_MAX], time[TIMES_TEXT_MAX];

	mq_message_id_encode(&r->store_host, r->physical_offset, id);
	mq_json_open_object(w);
	json_out_bytes(&p->json, "body", "bodyBase64", body);
	mq_json_member_string(w, "bornHost", mq_slice_of(mq_host_format(&r->born_host, host)));
	mq_json_member_string(w, "bornTime", mq_slice_of(times_format_utc(r->born_at_ms, time)));
	mq_json_member_string(w, "broker", mq_slice_of(broker));
	mq_json_member_string(w, "messageId", mq_slice_of(id));
	mq_json_key(w, "properties");
	mq_json_open_object(w);
	while (mq_properties_next(&rest, &name, &value)) {
		mq_json_key_slice(w, name);
		mq_json_string(w, value);
	}
	mq_json_close_object(w);
	mq_json_member_i64(w, "queueId", r->queue_id);
	mq_json_member_i64(w, "queueOffset", r->queue_offset);
	mq_json_member_i64(w, "reconsumeTimes", r->reconsume_times);
	mq_json_member_i64(w, "storeTimestamp", r->store_at_ms);
	mq_json_member_string(w, "storeTime", mq_slice_of(times_format_utc(r->store_at_ms, time)));
	mq_json_member_string(w, "topic", r->topic);
	mq_json_close_object(w);
	(void)json_out_print(&p->json, out); /* the caller looks at ferror() */
}

static void print_field(const char *label, struct mq_slice value, bool is_terminal, FILE *out)
{
	if (value.n == 0)
		return;
	fprintf(out, "  %s=", label);
	output_text(value, is_terminal, out);
}

static void print_line(struct message_printer *p, const struct mq_record *r, const char *broker,
		       struct mq_slice body, FILE *out)
{
	char time[TIMES_TEXT_MAX];

	fprintf(out, "%s  %s/%d@%lld", times_format(r->store_at_ms, time), broker, r->queue_id,
		(long long)r->queue_offset);
	print_field("tag", mq_properties_get(r->properties, MQ_PROPERTY_TAGS), p->is_terminal, out);
	print_field("keys", mq_properties_get(r->properties, MQ_PROPERTY_KEYS), p->is_terminal, out);
	fputs("  ", out);
	output_text(body, p->is_terminal, out);
	fputc('\n', out);
}

int message_print(struct message_printer *p, const struct mq_record *r, const char *broker, FILE *out)
{
	_cleanup_(freep) char *owned = NULL;
	struct mq_slice body;

	/* What cannot be inflated is shown as it is stored: better than nothing, and its sysFlag is not our
	 * business. */
	(void)mq_record_body(r, &body, &owned);
	if (p->is_raw) {
		output_text(body, p->is_terminal, out);
		fputc('\n', out);
	} else if (p->format == FORMAT_JSON) {
		print_json(p, r, broker, body, out);
	} else {
		print_line(p, r, broker, body, out);
	}
	return ferror(out) ? -EIO : 0;
}
