/* What the broker makes of a sender's properties. */
#include "tests/fuzz/fuzz.h"

#include "daemons/broker/config.h"
#include "daemons/broker/message.h"
#include "libmq/wire/message_properties.h"

static const struct broker_config config = { .regionId = "DefaultRegion", .brokerClusterName = "DefaultCluster" };

static void check(struct mq_slice in, const struct message_additions *more)
{
	static char text[MQ_PROPERTIES_MAX];
	size_t n = message_properties_encode(&config, in, more, text);
	struct mq_slice out = { text, n };

	if (n == 0) {
		must(in.n > MQ_PROPERTIES_MAX - 1000);
		return;
	}
	must(n <= MQ_PROPERTIES_MAX);
	must(n <= message_properties_bound(&config, in, more));
	must(mq_slice_is(mq_properties_get(out, MQ_PROPERTY_CLUSTER), "DefaultCluster"));
	must(mq_slice_is(mq_properties_get(out, MQ_PROPERTY_TRACE_ON), "false"));
	must(!mq_properties_get(out, MQ_PROPERTY_POP_CK).p);
	if (more->real_topic.p)
		must(mq_slice_equal(mq_properties_get(out, MQ_PROPERTY_REAL_TOPIC), more->real_topic));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mq_slice in = fuzz_slice(data, size);
	struct message_marks marks;

	message_marks_read(&marks, in);
	check(in, &(struct message_additions){});
	check(in, &(struct message_additions){
		      .real_topic = MQ_SLICE("Topic"), .real_queue_id = -2147483647, .transaction_id = MQ_SLICE("U"), .uniq_key = MQ_SLICE("U") });
	return 0;
}
