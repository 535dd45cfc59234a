/* Configuration of mq-brokerd: the struct behind the option table in config_keys.c. Members are named like their keys.
 *
 * Written before threads start, and by config_reload() afterwards. Live keys are numbers and booleans only: read them
 * with config_get() from any thread; everything else never changes and is read directly. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemons/common/options.h"

enum flush_disk_type { ASYNC_FLUSH, SYNC_FLUSH };
enum broker_role { ASYNC_MASTER, SYNC_MASTER, SLAVE };
enum { BROKER_IO_THREADS_MAX = 16 };

struct broker_config {
	/* Never empty after loading, except namesrvAddr: brokerName, brokerIP1 and brokerIP2 are filled in. */
	char *brokerClusterName, *brokerName, *brokerIP1, *brokerIP2, *namesrvAddr, *storePathRootDir, *localSocket,
		*bindAddress, *regionId, *msgTraceTopicName, *messageDelayLevel;
	int64_t brokerId, listenPort;
	int64_t fastListenPort; /* -1: none; after loading never 0 */
	int64_t haListenPort;   /* after loading never 0 */
	int flushDiskType, brokerRole, defaultMessageRequestMode;
	int64_t flushIntervalCommitLog, syncFlushTimeout, osPageCacheBusyTimeOutMills; /* ms */
	bool autoCreateTopicEnable, autoCreateSubscriptionGroup, clusterTopicEnable, brokerTopicEnable, traceOn,
		traceTopicEnable;
	bool longPollingEnable, enablePropertyFilter, rejectTransactionMessage, rejectPullConsumerEnable;
	bool notifyConsumerIdsChangedEnable, litePullMessageEnable, useServerSideResetOffset, storeReplyMessageEnable, strictSubscription;
	bool timerWheelEnable, recallMessageEnable;
	bool enableRetryTopicV2, retrieveMessageFromPopRetryTopicV1, popResponseReturnActualRetryTopic;
	bool enablePopMessageThreshold, priorityOrderAsc, serverLoadBalancerEnable, clearRetryTopicWhenDeleteTopic;
	bool useMessageFilterForNotification;
	int64_t popFromRetryProbability, popFromRetryProbabilityForPriority; /* per cent */
	int64_t popInflightMessageThreshold, maxMessageFilterNumForNotification;
	int64_t popPollingSize, maxPopPollingSize;
	int64_t timerMaxDelaySec, timerPrecisionMs; /* ms; timerMaxDelaySec: bare numbers are seconds */
	bool validateSystemTopicWhenUpdateTopic, enableMixedMessageType;
	bool aclEnable, authenticationEnabled, authorizationEnabled; /* only false passes the check */
	int64_t defaultTopicQueueNums, defaultPopShareQueueNum, brokerPermission, maxMsgsNumBatch, defaultQueryMaxNum;
	int64_t maxMessageSize; /* bytes of a body */
	int64_t maxTransferBytesOnMessageInMemory, maxTransferCountOnMessageInMemory, maxTransferBytesOnMessageInDisk,
		maxTransferCountOnMessageInDisk;
	int64_t shortPollingTimeMills, registerNameServerPeriod, registerBrokerTimeoutMills,
		channelExpiredTimeout;				 /* ms */
	int64_t transactionCheckInterval, transactionTimeOut; /* ms */
	int64_t transactionCheckMax;
	int64_t fileReservedTime;                                /* ms; bare numbers are hours */
	char *deleteWhen;                                        /* "04" or "04;16"; see config_delete_hours() */
	double diskMaxUsedSpaceRatio, diskSpaceWarningLevelRatio; /* per cent, as in RocketMQ */
	int64_t ioThreads; /* 0: auto */
	int64_t storeMemoryBytes, storeMaxBytes, storeMaxFamilies, storeReaders, storeMinFreeBytes;
	int64_t serverChannelMaxIdleTimeSeconds; /* ms; bare numbers are seconds */
	int64_t frameMaxLength;
};

extern const struct option_table broker_options; /* config_keys.c */
/* option_table.check of it: fills in names, addresses and ports, and refuses what cannot be. */
int config_check(void *config, struct mq_error *err);

/* Value of a live key. Pairs with the stores of config_reload(); relaxed, since no other memory depends on it. */
#define config_get(config, key) __atomic_load_n(&(config)->key, __ATOMIC_RELAXED)

/* Reads deleteWhen: hours from 00 to 23 with semicolons between them. Sets in *ret the bit of each. -EINVAL: something else. */
int config_delete_hours(const char *text, uint32_t *ret);

/* Takes the live keys over from a freshly loaded configuration. Main thread. Returns how many changed. */
unsigned config_reload(struct broker_config *live, const struct broker_config *fresh);
