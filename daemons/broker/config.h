/* Configuration of mq-brokerd: the struct behind the option table in config.c. Names are the keys'. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemons/common/options.h"

enum flush_disk_type { ASYNC_FLUSH, SYNC_FLUSH };
enum broker_role { ASYNC_MASTER, SYNC_MASTER, SLAVE };

struct broker_config {
	char *brokerClusterName, *brokerName, *brokerIP1, *namesrvAddr, *storePathRootDir, *localSocket, *bindAddress, *regionId;
	int64_t brokerId, listenPort, fastListenPort;
	int flushDiskType, brokerRole;
	int64_t flushIntervalCommitLog; /* ms */
	bool autoCreateTopicEnable, autoCreateSubscriptionGroup, clusterTopicEnable, brokerTopicEnable, traceOn, traceTopicEnable;
	bool longPollingEnable, enablePropertyFilter, rejectTransactionMessage, notifyConsumerIdsChangedEnable, litePullMessageEnable;
	int64_t defaultTopicQueueNums, brokerPermission, maxMessageSize, maxMsgsNumBatch, defaultQueryMaxNum;
	int64_t maxTransferBytesOnMessageInMemory, maxTransferCountOnMessageInMemory, maxTransferBytesOnMessageInDisk,
		maxTransferCountOnMessageInDisk;
	int64_t shortPollingTimeMills, registerNameServerPeriod; /* ms */
	int64_t fileReservedTime;                                /* ms; bare numbers are hours */
	char *deleteWhen;
	double diskMaxUsedSpaceRatio, diskSpaceWarningLevelRatio;
	int64_t ioThreads; /* 0: auto */
	int64_t storeMemoryBytes, storeMaxBytes, storeMaxFamilies, storeReaders, storeMinFreeBytes;
	int64_t serverChannelMaxIdleTimeSeconds; /* ms; bare numbers are seconds */
	int64_t frameMaxLength;
};

extern const struct option_table broker_options;
