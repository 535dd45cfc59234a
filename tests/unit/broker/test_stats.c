#include "tests/unit/broker/broker_test.h"

#include "libmq/wire/body_kv.h"

struct table {
	struct evbuffer *body;
	struct mq_kv_table table;
};

static void table_read(struct fixture *f, struct table *t)
{
	t->body = evbuffer_new();
	assert_int_equal(stats_encode_runtime(f->broker.stats, t->body), 0);
	assert_int_equal(mq_kv_table_decode(&t->table,
					    (struct mq_slice){ (const char *)evbuffer_pullup(t->body, -1),
							       evbuffer_get_length(t->body) },
					    NULL),
			 0);
}

static void table_done(struct table *t)
{
	mq_kv_table_done(&t->table);
	evbuffer_free(t->body);
}

/* In one of a few buffers, so that several may be compared. */
static const char *value(const struct table *t, const char *key)
{
	static char text[4][512];
	static unsigned i;
	struct mq_slice s = mq_kv_table_get(&t->table, key);

	if (!s.p)
		fail_msg("%s is missing", key);
	i = (i + 1) % 4;
	snprintf(text[i], sizeof text[i], "%.*s", MQ_FMT(s));
	return text[i];
}

/* brokerStatus of 5.5.0: every key is there, but for those that need a delayed message. */
static void every_key_of_apaches_table_is_there(void **state)
{
	static const char *const more[] = { "brokerVersion",
					    "getTransferedTps" }; /* of older releases, which the exporter needs */
	struct table t;
	char path[512], *line = NULL, *p;
	size_t room = 0;
	unsigned n = 0;
	FILE *f;

	table_read(*state, &t);
	snprintf(path, sizeof path, "%s/mqadmin-brokerStatus.txt", getenv("MQ_GOLDEN"));
	f = fopen(path, "r");
	assert_non_null(f);
	while (getline(&line, &room, f) > 0 && !(p = strstr(line, "{\"table\":{")))
		;
	assert_non_null(p);
	for (p += strlen("{\"table\":{"); *p == '"'; p += *p == ',') {
		char *end = strchr(p + 1, '"');

		*end = '\0';
		if (strncmp(p + 1, "scheduleMessageOffset_", 22) != 0 && strncmp(p + 1, "commitLogDiskRatio_", 19) != 0)
			assert_true(value(&t, p + 1)[0]);
		p = strchr(end + 3, '"') + 1;
		n++;
	}
	assert_true(n > 50);
	for (unsigned i = 0; i < N_ELEMENTS(more); i++)
		assert_true(value(&t, more[i])[0]);
	free(line);
	fclose(f);
	table_done(&t);
}

static void rates_are_those_of_the_last_ten_seconds_minute_and_ten_minutes(void **state)
{
	struct fixture *f = *state;
	struct table t;

	for (unsigned i = 0; i < 60; i++) {
		stats_put(f->broker.stats, 10, 1000, 100);
		stats_get_missed(f->broker.stats);
		fixture_advance(f, 10000);
		stats_sample(f->broker.stats);
	}
	stats_put(f->broker.stats, 90, 1000, 100);
	fixture_advance(f, 10000);
	table_read(f, &t);
	assert_string_equal(value(&t, "putTps"), "9.0000 2.3333 1.1333");
	assert_string_equal(value(&t, "getMissTps"), "0.0000 0.0833 0.0983");
	assert_string_equal(value(&t, "msgPutTotalTodayNow"), "690");
	assert_string_equal(value(&t, "putMessageTimesTotal"), "690");
	assert_string_equal(value(&t, "putMessageSizeTotal"), "61000");
	table_done(&t);
}

static void latencies_are_those_of_the_last_whole_minute(void **state)
{
	struct fixture *f = *state;
	struct table t;

	for (unsigned i = 0; i < 98; i++)
		stats_put(f->broker.stats, 1, 100, 300);
	stats_put(f->broker.stats, 1, 100, 20000);
	stats_put(f->broker.stats, 1, 100, 20000);
	fixture_advance(f, 60000);
	stats_sample(f->broker.stats);
	stats_put(f->broker.stats, 1, 100, 900000);
	table_read(f, &t);
	assert_int_equal(strncmp(value(&t, "putMessageDistributeTime"), "[<=0ms]:98 [0~10ms]:0 [10~50ms]:2 ", 34), 0);
	assert_true(atof(value(&t, "putLatency99")) >= 20 && atof(value(&t, "putLatency99")) <= 26);
	assert_string_equal(value(&t, "putMessageEntireTimeMax"), "900");
	table_done(&t);
}

static void a_new_day_begins_with_what_was_counted(void **state)
{
	struct fixture *f = *state;
	struct table t;

	stats_put(f->broker.stats, 5, 100, 1);
	stats_get(f->broker.stats, 3, 100);
	fixture_advance(f, 24 * 3600 * 1000);
	stats_sample(f->broker.stats);
	stats_put(f->broker.stats, 2, 100, 1);
	fixture_advance(f, 24 * 3600 * 1000);
	stats_sample(f->broker.stats);
	table_read(f, &t);
	assert_string_equal(value(&t, "msgPutTotalYesterdayMorning"), "5");
	assert_string_equal(value(&t, "msgPutTotalTodayMorning"), "7");
	assert_string_equal(value(&t, "msgGetTotalTodayMorning"), "3");
	table_done(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_key_of_apaches_table_is_there),
		TEST(rates_are_those_of_the_last_ten_seconds_minute_and_ten_minutes),
		TEST(latencies_are_those_of_the_last_whole_minute),
		TEST(a_new_day_begins_with_what_was_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
