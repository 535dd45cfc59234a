/* Bad input to the broker: whoever sends it is refused or cut off, memory stays bounded, everyone else is served. */
#include "tests/wire/messages.h"

enum {
	MEMORY_ALLOWANCE = 64 << 20, /* bytes: what the broker may grow by under the abuse of one test */
};

static int start_daemon(void **state)
{
	daemon_ = harness_start(HARNESS_BROKER, NULL);
	return 0;
}

static void assert_serves_others(void)
{
	struct harness_peer *p = harness_connect_tcp(daemon_);

	send_ok(p, "Others", "0", "", "still here");
	assert_int_equal(pull(p, "Others", "0", "0")->code, MQ_SUCCESS);
	harness_close(p);
}

/* A frame of a JSON header and a body. */
static size_t put_frame(char *out, const char *header, const char *body, size_t n_body)
{
	size_t n = strlen(header);
	char *p = out;

	p = mq_put32(p, (uint32_t)(4 + n + n_body));
	p = mq_put32(p, (uint32_t)n);
	p = mq_put_bytes(p, header, n);
	p = mq_put_bytes(p, body, n_body);
	return (size_t)(p - out);
}

static void frames_that_contradict_themselves_end_the_connection(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} frames[] = {
		{ "\x7f\xff\xff\xff\0\0\0\2{}", 10 },                  /* 2 GiB */
		{ "\x01\0\0\0\0\0\0\2{}", 10 },                        /* one more than the limit */
		{ "\xff\xff\xff\xff\0\0\0\2{}", 10 },                  /* negative */
		{ "\0\0\0\0\0\0\0\0", 8 },                             /* shorter than its own prefix */
		{ "\0\0\0\x08\0\0\0\x05{}xx", 12 },                    /* header longer than the frame */
		{ "\0\0\0\x08\x07\0\0\x02{}xx", 12 },                  /* unknown codec */
		{ "\0\0\0\x06\0\0\0\x02{[", 10 },                      /* no JSON */
		{ "\0\0\0\x04\0\0\0\x00", 8 },                         /* no header at all */
		{ "\0\0\0\x09\x01\0\0\x05\0\x0a\0\1\2", 13 },          /* binary, cut */
		{ "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27 },           /* someone else's protocol */
		{ "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", 11 },    /* TLS */
	};

	for (size_t i = 0; i < N_ELEMENTS(frames); i++) {
		struct harness_peer *p = harness_connect_tcp(daemon_);

		harness_send_raw(p, frames[i].bytes, frames[i].n);
		harness_wait_closed(p);
		harness_close(p);
	}
	assert_serves_others();
}

static void a_claim_of_16_MiB_takes_no_memory(void **state)
{
	enum { N = 200 };
	struct harness_peer *peers[N];
	int64_t before = memory();

	for (int i = 0; i < N; i++) {
		peers[i] = harness_connect_tcp(daemon_);
		harness_send_raw(peers[i], "\0\xff\xff\xfc\0\0\0\2{}and nothing more", 26);
	}
	assert_serves_others();
	assert_true(memory() - before < MEMORY_ALLOWANCE);
	for (int i = 0; i < N; i++)
		harness_close(peers[i]);
}

static void frames_may_come_byte_by_byte(void **state)
{
	struct harness_peer *p = *state;
	char frame[600];
	size_t n = put_frame(frame, "{\"code\":30,\"opaque\":1,\"flag\":0,\"language\":\"JAVA\",\"version\":513,\"extFields\":{\"topic\":\"T\","
				    "\"queueId\":\"0\"}}", "", 0);

	for (size_t i = 0; i < n; i++)
		harness_send_raw(p, frame + i, 1);
	harness_assert_answer(harness_answer(p, 1), MQ_SUCCESS, NULL);
}

static uint32_t random_state = 20261124;

static uint32_t random_next(void)
{
	random_state = random_state * 1664525 + 1013904223;
	return random_state >> 8;
}

static void random_bytes_end_the_connection_or_wait_for_more(void **state)
{
	int64_t before = memory();
	char bytes[4096];

	for (int i = 0; i < 300; i++) {
		struct harness_peer *p = harness_connect_tcp(daemon_);

		for (size_t j = 0; j < sizeof bytes; j++)
			bytes[j] = (char)random_next();
		if (i % 3 == 0) /* gets past the length */
			memcpy(bytes, "\0\0\x0f\xfc\0\0\x01\0", 8);
		if (i % 3 == 1)
			memcpy(bytes, "\0\0\x0f\xfc\1\0\x01\0", 8);
		harness_send_raw(p, bytes, sizeof bytes);
		harness_close(p);
	}
	assert_serves_others();
	assert_true(memory() - before < MEMORY_ALLOWANCE);
}

/* Each known code with fields that are missing, of a wrong type, or beyond every limit: an answer, always. */
static void every_code_answers_whatever_its_fields_are(void **state)
{
	static const int codes[] = { 10, 11, 12, 14, 15, 17, 21, 26, 28, 29, 30, 31, 32, 33, 34, 35, 37, 38, 41, 42, 46,
				     200, 201, 202, 203, 204, 207, 208, 215, 300, 310, 320, 351, 352, 361, 9999, -1, 0 };
	static const char *const values[] = { NULL, "", "x", "-1", "9223372036854775807", "-9223372036854775808", "99999999999999999999",
					      "\1\2", "../../etc/passwd", "%s%n", "\xff\xfe" };
	static const char *const names[] = { "topic", "consumerGroup", "queueId", "queueOffset", "maxMsgNums", "sysFlag", "commitOffset",
					     "suspendTimeoutMillis", "subVersion", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "m",
					     "key", "maxNum", "beginTimestamp", "endTimestamp", "offset", "timestamp", "producerGroup",
					     "tranStateTableOffset", "commitLogOffset", "commitOrRollback", "group", "groupName", "perm" };
	struct harness_peer *p = *state;

	for (size_t i = 0; i < N_ELEMENTS(codes); i++) {
		for (size_t j = 0; j < N_ELEMENTS(values); j++) {
			struct mq_command cmd;

			mq_command_request(&cmd, codes[i]);
			for (size_t k = 0; values[j] && k < N_ELEMENTS(names); k++)
				mq_command_add(&cmd, names[k], mq_slice_of(values[j]));
			cmd.body = j % 2 ? MQ_SLICE("{\"a\":[{]") : (struct mq_slice){};
			if (codes[i] == 37 && j > 0) /* an outcome that is not 8 or 12 has no answer */
				cmd.flag = MQ_FLAG_ONEWAY;
			if (cmd.flag & MQ_FLAG_ONEWAY)
				harness_send(p, &cmd);
			else
				harness_call(p, &cmd);
		}
	}
	assert_serves_others();
}

static void a_body_as_large_as_a_frame_may_be_is_refused_politely(void **state)
{
	struct harness_peer *p = *state;
	size_t n = MQ_FRAME_MAX_DEFAULT - 4096;
	char *body = calloc(1, n);
	struct mq_command cmd;

	assert_non_null(body);
	send_request(&cmd, "Large", "0", "", (struct mq_slice){ body, n });
	assert_int_equal(harness_call(p, &cmd)->code, MQ_MESSAGE_ILLEGAL);
	cmd.code = MQ_SEND_BATCH_MESSAGE;
	set_field(&cmd, "m", "true");
	assert_int_equal(harness_call(p, &cmd)->code, MQ_MESSAGE_ILLEGAL);
	free(body);
}

/* Asks for a lot and reads none of it. */
static void who_does_not_read_is_not_buffered_for_without_end(void **state)
{
	struct harness_peer *p = *state, *greedy = harness_connect_tcp(daemon_);
	char *body = calloc(1, 200000), frame[700], header[600];
	int64_t before;
	size_t n;

	for (int i = 0; i < 10; i++) {
		struct mq_command cmd;

		send_request(&cmd, "Greedy", "0", "", (struct mq_slice){ body, 200000 });
		harness_assert_answer(harness_call(p, &cmd), MQ_SUCCESS, NULL);
	}
	free(body);
	snprintf(header, sizeof header,
		 "{\"code\":11,\"opaque\":1,\"flag\":0,\"language\":\"JAVA\",\"version\":513,\"extFields\":{\"consumerGroup\":\"cg\",\"topic\":"
		 "\"Greedy\",\"queueId\":\"0\",\"queueOffset\":\"0\",\"maxMsgNums\":\"32\",\"sysFlag\":\"4\",\"commitOffset\":\"0\","
		 "\"suspendTimeoutMillis\":\"0\",\"subscription\":\"*\",\"subVersion\":\"0\"}}");
	n = put_frame(frame, header, "", 0);
	before = memory();
	/* 200 KB for each of them would be 800 MB. */
	for (int i = 0; i < 4000; i++)
		if (send(greedy->fd, frame, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n)
			break;
	assert_serves_others();
	assert_true(memory() - before < 2 * MEMORY_ALLOWANCE);
	harness_close(greedy);
	assert_serves_others();
}

static void a_thousand_connections_are_served(void **state)
{
	enum { N = 1000 };
	struct harness_peer **peers = calloc(N, sizeof *peers);
	int64_t before = memory();

	send_ok(*state, "Crowded", "0", "", "x");
	for (int i = 0; i < N; i++) {
		struct mq_command cmd;

		peers[i] = harness_connect_tcp(daemon_);
		pull_request(&cmd, "Crowded", "0", "1", "6", "*");
		set_field(&cmd, "suspendTimeoutMillis", "60000");
		harness_send(peers[i], &cmd);
	}
	assert_serves_others();
	assert_true(memory() - before < MEMORY_ALLOWANCE);
	send_ok(*state, "Crowded", "0", "", "x");
	for (int i = 0; i < N; i++) {
		assert_int_equal(harness_answer(peers[i], 1)->code, MQ_SUCCESS);
		harness_close(peers[i]);
	}
	free(peers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_that_contradict_themselves_end_the_connection),
		cmocka_unit_test(a_claim_of_16_MiB_takes_no_memory),
		TEST(frames_may_come_byte_by_byte),
		cmocka_unit_test(random_bytes_end_the_connection_or_wait_for_more),
		TEST(every_code_answers_whatever_its_fields_are),
		TEST(a_body_as_large_as_a_frame_may_be_is_refused_politely),
		TEST(who_does_not_read_is_not_buffered_for_without_end),
		TEST(a_thousand_connections_are_served),
	};

	return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
