/* The broker's keys: all of Apache's are known, defaults are Apache's where a client can see them, nonsense is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "daemons/broker/config.h"

static int load(struct broker_config *c, const char *const *sets, unsigned n, struct mq_error *err)
{
	struct option_args args = { .program = "test", .sets = sets, .n_sets = n };

	return options_load(&broker_options, &args, c, err);
}

static void load_ok(struct broker_config *c, const char *const *sets, unsigned n)
{
	struct mq_error err = {};

	if (load(c, sets, n, &err) < 0)
		fail_msg("%s", err.text);
}

static void assert_refused(const char *set, const char *part)
{
	const char *sets[] = { set };
	struct broker_config c;
	struct mq_error err = {};

	assert_int_equal(load(&c, sets, 1, &err), -EINVAL);
	if (!strstr(err.text, part))
		fail_msg("'%s' does not say '%s'", err.text, part);
}

static void keys_are_sorted(void **state)
{
	for (unsigned i = 1; i < broker_options.n_lines; i++)
		if (strcasecmp(broker_options.lines[i - 1].key, broker_options.lines[i].key) >= 0)
			fail_msg("%s stands before %s", broker_options.lines[i - 1].key, broker_options.lines[i].key);
}

/* getBrokerConfig of 5.5.0: every key is known. */
static void every_key_of_apaches_broker_is_known(void **state)
{
	char path[512], line[4096];
	unsigned n = 0;
	FILE *f;

	snprintf(path, sizeof path, "%s/mqadmin-getBrokerConfig.txt", getenv("MQ_GOLDEN"));
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof line, f)) {
		char *equals = strchr(line, '=');

		if (strncmp(line, "  ", 2) != 0 || !equals)
			continue;
		if (!options_find(&broker_options, (struct mq_slice){ line + 2, (size_t)(equals - line - 2) }))
			fail_msg("unknown: %s", line);
		n++;
	}
	fclose(f);
	assert_true(n > 400);
}

static void defaults_are_those_of_5_5_0(void **state)
{
	struct broker_config c;

	load_ok(&c, NULL, 0);
	assert_int_equal(c.listenPort, 10911);
	assert_int_equal(c.fastListenPort, 10909);
	assert_int_equal(c.haListenPort, 10912);
	assert_string_equal(c.brokerClusterName, "DefaultCluster");
	assert_true(c.brokerName[0]);
	assert_int_equal(c.defaultTopicQueueNums, 8);
	assert_int_equal(c.brokerPermission, 6);
	assert_int_equal(c.maxMessageSize, 4 << 20);
	assert_int_equal(c.maxTransferBytesOnMessageInMemory, 262144);
	assert_int_equal(c.fileReservedTime, (int64_t)72 * 3600 * 1000);
	assert_int_equal(c.serverChannelMaxIdleTimeSeconds, 120000);
	assert_int_equal(c.registerNameServerPeriod, 30000);
	assert_true(c.autoCreateTopicEnable && c.autoCreateSubscriptionGroup && c.longPollingEnable && c.traceOn);
	assert_false(c.enablePropertyFilter || c.traceTopicEnable || c.rejectTransactionMessage);
	assert_string_equal(c.bindAddress, "127.0.0.1");
	assert_string_equal(c.brokerIP1, "127.0.0.1");
	assert_string_equal(c.storePathRootDir, "/var/lib/mqd/broker");
	assert_string_equal(c.localSocket, "/run/mqd/broker.sock");
	options_free(&broker_options, &c);
}

static void addresses_and_ports_follow_from_each_other(void **state)
{
	const char *sets[] = { "bindAddress=::1", "listenPort=20911", "brokerIP2=10.0.0.2", "fastListenPort=-1" };
	struct broker_config c;

	load_ok(&c, sets, N_ELEMENTS(sets));
	assert_string_equal(c.brokerIP1, "::1");
	assert_string_equal(c.brokerIP2, "10.0.0.2");
	assert_int_equal(c.haListenPort, 20912);
	assert_int_equal(c.fastListenPort, -1);
	options_free(&broker_options, &c);

	const char *open[] = { "bindAddress=0.0.0.0" };

	load_ok(&c, open, 1);
	assert_true(c.brokerIP1[0]); /* whatever this host has */
	options_free(&broker_options, &c);
}

static void bare_numbers_keep_rocketmqs_units(void **state)
{
	const char *sets[] = { "fileReservedTime=48", "serverChannelMaxIdleTimeSeconds=60",
			       "flushIntervalCommitLog=1000", "maxMessageSize=65536" };
	struct broker_config c;

	load_ok(&c, sets, N_ELEMENTS(sets));
	assert_int_equal(c.fileReservedTime, (int64_t)48 * 3600 * 1000);
	assert_int_equal(c.serverChannelMaxIdleTimeSeconds, 60000);
	assert_int_equal(c.flushIntervalCommitLog, 1000);
	assert_int_equal(c.maxMessageSize, 65536);
	options_free(&broker_options, &c);
}

static void what_cannot_work_is_refused_with_a_sentence(void **state)
{
	assert_refused("brokerRole=SLAVE", "does not replicate");
	assert_refused("brokerId=1", "brokerId=0");
	assert_refused("aclEnable=true", "aclEnable=true: this version has no access control");
	assert_refused("authenticationEnabled=true", "authenticationEnabled=true");
	assert_refused("authorizationEnabled=true", "authorizationEnabled=true");
	assert_refused("bindAddress=localhost", "bindAddress=localhost is not a numeric");
	assert_refused("brokerIP1=broker.example", "message ids carry it");
	assert_refused("brokerName=a;b", "brokerName=a;b must be");
	assert_refused("brokerClusterName=", "brokerClusterName= must be");
	assert_refused("fastListenPort=10911", "both 10911");
	assert_refused("namesrvAddr=nowhere", "namesrvAddr");
	assert_refused("storePathRootDir=store", "absolute path");
	assert_refused("localSocket=here", "absolute path");
	assert_refused("storeMemoryBytes=1M", "at least");
	assert_refused("maxMessageSize=1", "at least");
	assert_refused("maxMessageSize=32M", "frameMaxLength");
	assert_refused("diskSpaceWarningLevelRatio=60", "must be above diskMaxUsedSpaceRatio");
	assert_refused("deleteWhen=24", "from 00 to 23");
	assert_refused("deleteWhen=04;24", "from 00 to 23");
	assert_refused("deleteWhen=04,16", "separated by ';'");
	assert_refused("deleteWhen=;04", "separated by ';'");
	assert_refused("deleteWhen=", "separated by ';'");
	assert_refused("fileReservedTime=999ms", "at least a second");
	assert_refused("listenPort=70000", "listenPort");
}

static void several_nameservers_may_be_named(void **state)
{
	const char *sets[] = { "namesrvAddr=10.0.0.1:9876;[::1]:9876;unix:/run/mqd/namesrv.sock" };
	struct broker_config c;

	load_ok(&c, sets, 1);
	options_free(&broker_options, &c);
}

static void reloading_takes_live_keys_only(void **state)
{
	const char *sets[] = { "maxMessageSize=1M", "longPollingEnable=false", "listenPort=20911", "brokerName=other" };
	struct broker_config live, fresh;

	load_ok(&live, NULL, 0);
	load_ok(&fresh, sets, N_ELEMENTS(sets));
	assert_int_equal(config_reload(&live, &fresh), 2);
	assert_int_equal(config_get(&live, maxMessageSize), 1 << 20);
	assert_false(config_get(&live, longPollingEnable));
	assert_int_equal(live.listenPort, 10911);
	assert_string_not_equal(live.brokerName, "other");
	assert_int_equal(config_reload(&live, &fresh), 0);
	options_free(&broker_options, &live);
	options_free(&broker_options, &fresh);
}

/* config_reload() copies by type: a live key of another type would be read as a number. */
static void live_keys_are_numbers_and_booleans(void **state)
{
	for (unsigned i = 0; i < broker_options.n_lines; i++) {
		const struct option_line *line = &broker_options.lines[i];

		if (line->is_live && line->type != OPTION_BOOL && line->type != OPTION_INT && line->type != OPTION_SIZE &&
		    line->type != OPTION_DURATION)
			fail_msg("%s is live", line->key);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_sorted),
		cmocka_unit_test(every_key_of_apaches_broker_is_known),
		cmocka_unit_test(defaults_are_those_of_5_5_0),
		cmocka_unit_test(addresses_and_ports_follow_from_each_other),
		cmocka_unit_test(bare_numbers_keep_rocketmqs_units),
		cmocka_unit_test(what_cannot_work_is_refused_with_a_sentence),
		cmocka_unit_test(several_nameservers_may_be_named),
		cmocka_unit_test(reloading_takes_live_keys_only),
		cmocka_unit_test(live_keys_are_numbers_and_booleans),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
