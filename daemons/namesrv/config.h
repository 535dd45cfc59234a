/* Configuration of mq-namesrvd: the struct behind the option table in config.c. Names are the keys'. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemons/common/options.h"

struct namesrv_config {
	char *bindAddress, *localSocket, *kvConfigPath;
	int64_t listenPort, frameMaxLength;
	int64_t scanNotActiveBrokerInterval, serverChannelMaxIdleTimeSeconds, waitSecondsForService; /* ms */
	bool orderMessageEnable, returnOrderTopicConfigToBroker, deleteTopicWithBrokerRegistration, supportActingMaster,
		notifyMinBrokerIdChanged, enableTopicList, enableAllTopicList, needWaitForService;
};

extern const struct option_table namesrv_options;

/* "address:port" of the TCP listener; an IPv6 address may be given with or without brackets. Returns ret. */
char *namesrv_config_address(const struct namesrv_config *c, char *ret, size_t size);
