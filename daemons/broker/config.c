#include "daemons/broker/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemons/broker/delay.h"
#include "libmq/net/address.h"

enum {
	BROKER_NAME_MAX = 127,  /* bytes: the topic of the same name must be possible */
	MEMORY_MIN = 16 << 20,  /* bytes */
	MESSAGE_SIZE_MIN = 1024,
};

static const char *const flush_disk_types[] = { "ASYNC_FLUSH", "SYNC_FLUSH", NULL };
static const char *const request_modes[] = { "PULL", "POP", NULL };
static const char *const broker_roles[] = { "ASYNC_MASTER", "SYNC_MASTER", "SLAVE", NULL };

#define LINE(t, k, d, h, ...) \
	{ .key = #k, .type = t, .offset = offsetof(struct broker_config, k), .otherwise = d, .help = h, __VA_ARGS__ }
#define TEXT(k, d, h, ...)           LINE(OPTION_TEXT, k, d, h, __VA_ARGS__)
#define BOOL(k, d, h, ...)           LINE(OPTION_BOOL, k, d, h, __VA_ARGS__)
#define INT(k, d, low, high, h, ...) LINE(OPTION_INT, k, d, h, .min = low, .max = high, __VA_ARGS__)
#define SIZE(k, d, u, h, ...)        LINE(OPTION_SIZE, k, d, h, .unit = u, __VA_ARGS__)
#define TIME(k, d, u, h, ...)        LINE(OPTION_DURATION, k, d, h, .unit = u, __VA_ARGS__)
#define RATIO(k, d, low, high, h)    LINE(OPTION_DOUBLE, k, d, h, .min = low, .max = high)
#define CHOICE(k, d, c, h)           LINE(OPTION_CHOICE, k, d, h, .choices = c)
#define IGNORED(k)                   { .key = k, .type = OPTION_IGNORED }
/* Not only Java's concern: what it is about is not served yet. */
#define LATER(k) { .key = k, .type = OPTION_IGNORED, .help = "what it is about is not part of this version." }

/* Every key of Apache's 5.5.0 broker is here: what its getBrokerConfig prints, and what its setters accept beyond that. */
static const struct option_line broker_lines[] = {
	IGNORED("abortFile"), IGNORED("accessMessageInMemoryHotRatio"),
	IGNORED("accessMessageInMemoryMaxRatio"), IGNORED("accountStatsEnable"),
	IGNORED("accountStatsPrintZeroValues"), IGNORED("ackMessageThreadPoolNums"),
	IGNORED("ackThreadPoolQueueCapacity"), IGNORED("aclCacheExpiredSecond"),
	IGNORED("aclCacheMaxNum"), IGNORED("aclCacheRefreshSecond"),
	BOOL(aclEnable, "false", "access control; only false is possible"),
	IGNORED("adminBrokerThreadPoolNums"), IGNORED("adminBrokerThreadPoolQueueCapacity"),
	IGNORED("allAckInSyncStateSet"), IGNORED("allowRecallWhenBrokerNotWriteable"),
	IGNORED("appendAckAsync"), IGNORED("appendCkAsync"), IGNORED("appendTopicForTimerDeleteKey"),
	IGNORED("asyncLearner"), IGNORED("asyncSendEnable"), IGNORED("authConfigPath"),
	BOOL(authenticationEnabled, "false", "authentication; only false is possible"),
	IGNORED("authenticationMetadataProvider"), IGNORED("authenticationProvider"),
	IGNORED("authenticationStrategy"), IGNORED("authenticationWhitelist"),
	BOOL(authorizationEnabled, "false", "authorization; only false is possible"),
	IGNORED("authorizationMetadataProvider"), IGNORED("authorizationProvider"),
	IGNORED("authorizationStrategy"), IGNORED("authorizationWhitelist"),
	BOOL(autoCreateSubscriptionGroup, "true",
	     "whether an unknown consumer group is created at its first use", .is_live = true),
	BOOL(autoCreateTopicEnable, "true", "whether a send to an unknown topic creates it"),
	IGNORED("autoDeleteUnusedStats"), IGNORED("autoMessageVersionOnTopicLen"),
	IGNORED("batchDispatchRequestThreadPoolNums"),
	TEXT(bindAddress, "127.0.0.1",
	     "numeric address that the TCP listeners bind to; open it to the network only behind a firewall"),
	IGNORED("bitMapLengthConsumeQueueExt"),
	IGNORED("bottomMostCompressionTypeForConsumeQueueStore"),
	IGNORED("broadcastOffsetExpireMaxSecond"), IGNORED("broadcastOffsetExpireSecond"),
	TEXT(brokerClusterName, "DefaultCluster", "cluster that this broker belongs to"),
	IGNORED("brokerConfigPath"), IGNORED("brokerElectionPriority"),
	IGNORED("brokerFastFailureEnable"), IGNORED("brokerHeartbeatInterval"),
	INT(brokerId, "0", 0, 1e9, "0: master; larger numbers belong to slaves"),
	TEXT(brokerIP1, "",
	     "numeric address that clients are told and that message ids carry; empty: loopback when bound to it, "
	     "else the first other address of this host"),
	TEXT(brokerIP2, "", "numeric address told to slaves; empty: brokerIP1"),
	TEXT(brokerName, "", "name of this broker in routes; empty: the host's name"),
	IGNORED("brokerNotActiveTimeoutMillis"),
	INT(brokerPermission, "6", 0, 7,
	     "permission of the whole broker: 2 write, 4 read, 6 both", .is_live = true),
	CHOICE(brokerRole, "ASYNC_MASTER", broker_roles, "role in replication"),
	BOOL(brokerTopicEnable, "true", "whether the topic named after the broker may be used"),
	IGNORED("cgColdReadThreshold"),
	TIME(channelExpiredTimeout, "120s", 1,
	     "a client without a heartbeat for so long is disconnected", .is_live = true),
	IGNORED("channelNotActiveInterval"), IGNORED("checkCommitLogOffsetOnRecover"),
	IGNORED("checkCRCOnRecover"), IGNORED("checkSyncStateSetPeriod"),
	IGNORED("cleanFileForciblyEnable"), IGNORED("cleanOfflineBrokerInterval"),
	IGNORED("cleanResourceInterval"), IGNORED("cleanRocksDBDirtyCQIntervalMin"),
	IGNORED("cleanSwapedMapInterval"),
	BOOL(clearRetryTopicWhenDeleteTopic, "true",
	     "whether the retry topics of groups that popped from a topic are deleted with it", .is_live = true),
	IGNORED("clientAsyncSemaphoreValue"), IGNORED("clientCallbackExecutorThreads"),
	IGNORED("clientChannelMaxIdleTimeSeconds"), IGNORED("clientCloseSocketIfTimeout"),
	IGNORED("clientManagerThreadPoolQueueCapacity"), IGNORED("clientManageThreadPoolNums"),
	IGNORED("clientOnewaySemaphoreValue"), IGNORED("clientPooledByteBufAllocatorEnable"),
	IGNORED("clientSocketRcvBufSize"), IGNORED("clientSocketSndBufSize"),
	IGNORED("clientWorkerThreads"), IGNORED("clusterName"),
	BOOL(clusterTopicEnable, "true", "whether the topic named after the cluster may be used"),
	IGNORED("coldCtrStrategyEnable"), IGNORED("coldDataFlowControlEnable"),
	IGNORED("coldDataScanEnable"), IGNORED("combineAssignOffsetCQType"),
	IGNORED("combineCQEnableCheckSelf"), IGNORED("combineCQLoadingCQTypes"),
	IGNORED("combineCQMaxExtraSearchCommitLogFiles"), IGNORED("combineCQPreferCQType"),
	IGNORED("combineCQUseRocksdbForLmq"), IGNORED("commercialBaseCount"),
	IGNORED("commercialBigCount"), IGNORED("commercialEnable"), IGNORED("commercialSizePerMsg"),
	IGNORED("commercialTimerCount"), IGNORED("commercialTransCount"),
	IGNORED("commitCommitLogLeastPages"), IGNORED("commitCommitLogThoroughInterval"),
	IGNORED("commitIntervalCommitLog"), IGNORED("commitLogForceSwapMapInterval"),
	IGNORED("commitLogRecoverMaxNum"), IGNORED("commitLogSwapMapInterval"),
	IGNORED("commitLogSwapMapReserveFileNum"), IGNORED("compactionCqMappedFileSize"),
	IGNORED("compactionMappedFileSize"), IGNORED("compactionScheduleInternal"),
	IGNORED("compactionThreadNum"), IGNORED("compatibleWithOldNameSrv"),
	IGNORED("compressedRegister"), LATER("configBlackList"), IGNORED("configManagerVersion"),
	IGNORED("configName"), IGNORED("connectTimeoutMillis"), IGNORED("consumerFallbehindThreshold"),
	IGNORED("consumerManagerThreadPoolQueueCapacity"), IGNORED("consumerManageThreadPoolNums"),
	IGNORED("consumerOffsetUpdateVersionStep"), LATER("controllerAddr"),
	IGNORED("controllerHeartBeatTimeoutMills"), IGNORED("correctLogicMinOffsetForceInterval"),
	IGNORED("correctLogicMinOffsetSleepInterval"), IGNORED("dataReadAheadEnable"),
	IGNORED("debugLockEnable"), IGNORED("defaultBrokerId"),
	CHOICE(defaultMessageRequestMode, "PULL", request_modes,
	       "how members of a group for which the broker assigns queues read them, unless setConsumeMode said otherwise"),
	INT(defaultPopShareQueueNum, "-1", -1, 1e9,
	    "with POP by default: with so many other members a queue is shared; 0 or less: with all", .is_live = true),
	INT(defaultQueryMaxNum, "32", 1, 10000, "most messages of one query by unique id", .is_live = true),
	INT(defaultTopicQueueNums, "8", 1, 65535,
	     "queues of TBW102, the upper limit of queues of an automatically created topic"),
	IGNORED("delayOffsetUpdateVersionStep"), IGNORED("deleteCommitLogFilesInterval"),
	IGNORED("deleteConsumeQueueFilesInterval"), IGNORED("deleteFileBatchMax"),
	TEXT(deleteWhen, "04", "hours of the day, local time, in which expired messages are deleted: 04 or 04;16"),
	IGNORED("destroyMapedFileIntervalForcibly"), IGNORED("disableCallbackExecutor"),
	IGNORED("disableConsumeIfConsumerReadSlowly"), IGNORED("disableNettyWorkerGroup"),
	IGNORED("disappearTimeAfterStart"), IGNORED("diskFallRecorded"),
	RATIO(diskMaxUsedSpaceRatio, "75", 10, 95,
	     "per cent of the file system above which the oldest messages are deleted whatever the hour"),
	IGNORED("diskSpaceCleanForciblyRatio"),
	RATIO(diskSpaceWarningLevelRatio, "90", 35, 99,
	     "per cent of the file system above which messages are refused"),
	IGNORED("dispatchCqCacheNum"), IGNORED("dispatchCqThreads"),
	IGNORED("dispatchFromSenderThread"), IGNORED("dLegerGroup"), IGNORED("dLegerPeers"),
	IGNORED("dLegerSelfId"), IGNORED("duplicationEnable"), IGNORED("enableAcceleratedRecovery"),
	IGNORED("enableAsyncReput"), IGNORED("enableAutoInSyncReplicas"), IGNORED("enableBatchPush"),
	IGNORED("enableBroadcastOffsetStore"), IGNORED("enableBuildConsumeQueueConcurrently"),
	IGNORED("enableCalcFilterBitMap"), IGNORED("enableCleanExpiredOffset"),
	IGNORED("enableCompaction"), IGNORED("enableConnectionMetrics"),
	IGNORED("enableConsumeQueueExt"), LATER("enableControllerMode"),
	IGNORED("enableCreateSysGroup"), IGNORED("enabledAppendPropCRC"), IGNORED("enableDetailStat"),
	IGNORED("enableDLegerCommitLog"), IGNORED("enableFastChannelEventProcess"),
	IGNORED("enableLagAndDlqMetrics"), IGNORED("enableLiteEventMode"), IGNORED("enableLitePopLog"),
	IGNORED("enableLmq"), IGNORED("enableLmqQuota"), IGNORED("enableLmqStats"),
	IGNORED("enableLogConsumeQueueRepeatedlyBuildWhenRecover"),
	IGNORED("enableMessageStoreMetrics"),
	BOOL(enableMixedMessageType, "false",
	     "whether topics of message type MIXED may be created", .is_live = true),
	IGNORED("enableMultiDispatch"), IGNORED("enableNetWorkFlowControl"),
	IGNORED("enableNotifyAfterPopOrderLockRelease"), IGNORED("enableNotifyBeforePopCalculateLag"),
	IGNORED("enablePopBatchAck"), IGNORED("enablePopBufferMerge"), IGNORED("enablePopLog"),
	BOOL(enablePopMessageThreshold, "false",
	     "whether groups that have popped too much and not acknowledged it get nothing further", .is_live = true),
	IGNORED("enablePopMetrics"),
	BOOL(enablePropertyFilter, "false", "whether consumers may filter by SQL92", .is_live = true),
	IGNORED("enableReconnectForGoAway"), IGNORED("enableRegisterProducer"),
	IGNORED("enableRemoteEscape"), IGNORED("enableRemotingMetrics"),
	IGNORED("enableRequestMetrics"),
	BOOL(enableRetryTopicV2, "false",
	     "whether popped messages come again in %RETRY%group+topic instead of %RETRY%group_topic", .is_live = true),
	IGNORED("enableRocksDBLog"),
	IGNORED("enableRunningFlagsInFlush"), IGNORED("enableScheduleAsyncDeliver"),
	IGNORED("enableScheduleMessageStats"), IGNORED("enableShutdownGracefully"),
	IGNORED("enableSingleTopicRegister"), IGNORED("enableSkipLongAwaitingAck"),
	LATER("enableSlaveActingMaster"), IGNORED("enableSplitMetadata"),
	IGNORED("enableSplitRegistration"), IGNORED("enableStatsMetrics"),
	IGNORED("enableTransactionMetrics"), IGNORED("endTransactionPoolQueueCapacity"),
	IGNORED("endTransactionThreadPoolNums"), IGNORED("estimateAccumulation"),
	IGNORED("expectConsumerNumUseFilter"), IGNORED("fastFailIfNoBufferInStorePool"),
	INT(fastListenPort, "0", -1, 65535,
	     "second TCP port, for the VIP channel of Java clients; 0: listenPort - 2; -1: none", .is_ours = true),
	IGNORED("fetchControllerAddrByDnsLookup"), IGNORED("fetchNamesrvAddrByAddressServer"),
	IGNORED("fetchNameSrvAddrByDnsLookup"), IGNORED("fetchNamesrvAddrInterval"),
	TIME(fileReservedTime, "72h", 3600000, "how long messages are kept; bare numbers are hours"),
	IGNORED("filterDataCleanTimeSpan"), IGNORED("filterServerNums"), IGNORED("filterSupportRetry"),
	IGNORED("flushCommitLogLeastPages"), IGNORED("flushCommitLogThoroughInterval"),
	IGNORED("flushCommitLogTimed"), IGNORED("flushConsumeQueueLeastPages"),
	IGNORED("flushConsumeQueueThoroughInterval"), IGNORED("flushConsumerOffsetHistoryInterval"),
	IGNORED("flushConsumerOffsetInterval"), IGNORED("flushDelayOffsetInterval"),
	CHOICE(flushDiskType, "ASYNC_FLUSH", flush_disk_types,
	     "SYNC_FLUSH: a send is acknowledged when it is on disk"),
	TIME(flushIntervalCommitLog, "500ms", 1, "pause between syncs with flushDiskType=ASYNC_FLUSH"),
	IGNORED("flushIntervalConsumeQueue"), IGNORED("flushLeastPagesWhenWarmMapedFile"),
	IGNORED("forceRegister"), IGNORED("forceVerifyPropCRC"), IGNORED("forwardTimeout"),
	SIZE(frameMaxLength, "16M", 1, "largest frame that a peer may send", .is_ours = true),
	IGNORED("globalColdReadThreshold"), IGNORED("haFlowControlEnable"),
	LATER("haHousekeepingInterval"),
	INT(haListenPort, "0", 0, 65535, "port told to slaves; 0: listenPort + 1"),
	LATER("haMasterAddress"), IGNORED("haMaxGapNotInSync"), IGNORED("haMaxTimeSlaveNotCatchup"),
	LATER("haSendHeartbeatInterval"), LATER("haTransferBatchSize"),
	IGNORED("heartbeatThreadPoolNums"), IGNORED("heartbeatThreadPoolQueueCapacity"),
	IGNORED("highAvailabilityEnable"), IGNORED("highSpeedMode"), IGNORED("inBrokerContainer"),
	IGNORED("indexFileReadEnable"), IGNORED("indexFileWriteEnable"), IGNORED("indexRocksDBEnable"),
	IGNORED("initAuthenticationUser"), IGNORED("initPopOffsetByCheckMsgInMem"),
	IGNORED("innerClientAuthenticationCredentials"), LATER("inSyncReplicas"),
	INT(ioThreads, "0", 0, BROKER_IO_THREADS_MAX,
	     "I/O loops; 0: as many as CPUs, at most 4", .is_ours = true),
	IGNORED("isBrokerContainer"), IGNORED("isInBrokerContainer"), IGNORED("isolateLogEnable"),
	IGNORED("isScanAvailableNameSrv"), IGNORED("iteratorWhenUseRocksdbConsumeQueue"),
	INT(listenPort, "10911", 1, 65535, "TCP port; 0 is not possible, clients are told this number"),
	IGNORED("liteEventCheckInterval"), IGNORED("liteEventFullDispatchDelayTime"),
	IGNORED("liteEventFullDispatchDelayTimeForWildcardGroup"),
	IGNORED("liteLagCountMetricsEnable"), IGNORED("liteLagLatencyCollectEnable"),
	IGNORED("liteLagLatencyMetricsEnable"), IGNORED("liteLagLatencyTopK"),
	BOOL(litePullMessageEnable, "true", "whether lite pull consumers are served", .is_live = true),
	IGNORED("litePullMessageThreadPoolNums"), IGNORED("litePullThreadPoolQueueCapacity"),
	IGNORED("liteSubscriptionCheckInterval"), IGNORED("liteSubscriptionCheckTimeoutMills"),
	IGNORED("liteTtlCheckInterval"), IGNORED("loadBalancePollNameServerInterval"),
	IGNORED("loadBalanceProcessorThreadPoolNums"), IGNORED("loadBalanceThreadPoolQueueCapacity"),
	TEXT(localSocket, "/run/mqd/broker.sock",
	     "path of the Unix socket for local clients, or none", .is_ours = true),
	IGNORED("lockInStrictMode"), IGNORED("logicalDiskSpaceCleanForciblyThreshold"),
	IGNORED("logicQueueForceSwapMapInterval"), IGNORED("logicQueueSwapMapInterval"),
	IGNORED("logicQueueSwapMapReserveFileNum"),
	BOOL(longPollingEnable, "true",
	     "whether pulls wait for new messages as long as the client asks", .is_live = true),
	IGNORED("mapedFileSizeCommitLog"), IGNORED("mapedFileSizeConsumeQueue"),
	IGNORED("mappedFileSizeCommitLog"), IGNORED("mappedFileSizeConsumeQueue"),
	IGNORED("mappedFileSizeConsumeQueueExt"), IGNORED("mappedFileSizeTimerLog"),
	IGNORED("mappedFileSwapEnable"), IGNORED("mapperFileSizeBatchConsumeQueue"),
	IGNORED("maxAsyncPutMessageRequests"), IGNORED("maxBatchDeleteFilesNum"),
	IGNORED("maxChecksumRange"), IGNORED("maxClientEventCount"), IGNORED("maxConsumeQueueScan"),
	IGNORED("maxErrorRateOfBloomFilter"), IGNORED("maxFilterMessageSize"),
	IGNORED("maxHashSlotNum"), IGNORED("maxHaTransferByteInSecond"), IGNORED("maxIndexNum"),
	IGNORED("maxLiteSubscriptionCount"), IGNORED("maxLmqConsumeQueueNum"),
	INT(maxMessageFilterNumForNotification, "64", 0, 1e6,
	    "a notification is answered whatever its filter says while a group has so many messages of a queue before it", .is_live = true),
	SIZE(maxMessageSize, "4M", 1, "largest message body", .is_live = true),
	INT(maxMsgsNumBatch, "64", 1, 10000, "most messages of one query by key", .is_live = true),
	IGNORED("maxOffsetMapSize"),
	INT(maxPopPollingSize, "100000", 0, 1e9, "most pops that wait for a message", .is_live = true),
	IGNORED("maxReconnectIntervalTimeSeconds"), IGNORED("maxRecoveryCommitlogFiles"),
	IGNORED("maxRocksDBIndexQueryDays"), IGNORED("maxSlaveResendLength"),
	IGNORED("maxStatsIdleTimeInMinutes"), IGNORED("maxTopicLength"),
	SIZE(maxTransferBytesOnMessageInDisk, "64K", 1,
	     "bytes after which a pull answered from disk is full", .is_live = true),
	SIZE(maxTransferBytesOnMessageInMemory, "256K", 1,
	     "bytes after which a pull answered from memory is full", .is_live = true),
	INT(maxTransferCountOnMessageInDisk, "8", 1, 10000,
	     "most messages of one pull answered from disk", .is_live = true),
	INT(maxTransferCountOnMessageInMemory, "32", 1, 10000,
	     "most messages of one pull answered from memory", .is_live = true),
	IGNORED("memTableFlushIntervalMs"),
	TEXT(messageDelayLevel, "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h",
	     "delays that DELAY levels 1, 2, ... stand for"),
	IGNORED("messageIndexEnable"), IGNORED("messageIndexSafe"), IGNORED("messageStorePlugIn"),
	IGNORED("metricGrpcExporterIntervalInMills"), IGNORED("metricGrpcExporterTimeOutInMills"),
	IGNORED("metricLoggingExporterIntervalInMills"), IGNORED("metricsExportBatchMaxDataPoints"),
	LATER("metricsExporterType"), IGNORED("metricsGrpcExporterHeader"),
	IGNORED("metricsGrpcExporterTarget"), IGNORED("metricsInDelta"), IGNORED("metricsLabel"),
	IGNORED("metricsOtelCardinalityLimit"), LATER("metricsPromExporterHost"),
	LATER("metricsPromExporterPort"), IGNORED("migrateAuthFromV1Enabled"),
	LATER("minInSyncReplicas"), IGNORED("minLiteTTl"),
	TEXT(msgTraceTopicName, "RMQ_SYS_TRACE_TOPIC", "topic created when traceTopicEnable is true"),
	TEXT(namesrvAddr, "", "NameServers to register with: host:port or unix:/path, separated by semicolons"),
	BOOL(notifyConsumerIdsChangedEnable, "true",
	     "whether members are told when their group changes", .is_live = true),
	LATER("offsetCheckInSlave"), 
	TIME(osPageCacheBusyTimeOutMills, "1s", 1,
	     "messages are refused while a write to the log takes longer", .is_live = true),
	IGNORED("persistConsumerOffsetIncrementally"), IGNORED("popCkMaxBufferSize"),
	IGNORED("popCkOffsetMaxQueueSize"), IGNORED("popCkStayBufferTime"),
	IGNORED("popCkStayBufferTimeOut"), IGNORED("popConsumerFSServiceInit"),
	IGNORED("popConsumerKVServiceEnable"), IGNORED("popConsumerKVServiceInit"),
	IGNORED("popConsumerKVServiceLog"),
	INT(popFromRetryProbability, "20", 0, 100,
	    "per cent of pops that look for messages that come again first", .is_live = true),
	INT(popFromRetryProbabilityForPriority, "0", 0, 100, "the same of topics of message type PRIORITY", .is_live = true),
	INT(popInflightMessageThreshold, "10000", 0, 1e12,
	    "with enablePopMessageThreshold: most messages of one queue that a group has not acknowledged and still gets further ones",
	    .is_live = true),
	IGNORED("popLongPollingForceNotifyInterval"), IGNORED("popPollingMapExpireTimeSeconds"),
	IGNORED("popPollingMapSize"),
	INT(popPollingSize, "1024", 0, 1e9,
	    "most pops of one group and queue, or of one group and all queues of a topic, that wait for a message", .is_live = true),
	BOOL(popResponseReturnActualRetryTopic, "false",
	     "whether what comes again is delivered under the name of its retry topic", .is_live = true),
	IGNORED("popReviveConcurrency"),
	IGNORED("popReviveMaxAttemptTimes"), IGNORED("popReviveMaxReturnSizePerRead"),
	IGNORED("popReviveSkipIfGroupAbsent"), IGNORED("preferredLeaderId"),
	IGNORED("printChannelGroups"), IGNORED("printChannelGroupsMinNum"),
	BOOL(priorityOrderAsc, "true",
	     "whether queues with higher numbers have the higher priority in topics of message type PRIORITY", .is_live = true),
	IGNORED("processReplyMessageThreadPoolNums"),
	IGNORED("pullBatchMaxMessageCount"), IGNORED("pullMessageThreadPoolNums"),
	IGNORED("pullThreadPoolQueueCapacity"), IGNORED("putConsumeQueueDataByFileChannel"),
	IGNORED("putMessageFutureThreadPoolNums"), IGNORED("putMessageTimeout"),
	IGNORED("putMsgIndexHightWater"), IGNORED("putThreadPoolQueueCapacity"),
	IGNORED("queryMessageThreadPoolNums"), IGNORED("queryThreadPoolQueueCapacity"),
	IGNORED("readOnlyCommitLogStorePaths"), IGNORED("readUnCommitted"),
	IGNORED("realTimeNotifyConsumerChange"), IGNORED("realTimePersistRocksDBConfig"),
	BOOL(recallMessageEnable, "false", "whether messages with a delivery time may be recalled"),
	IGNORED("recheckReputOffsetFromCq"),
	IGNORED("recoverConcurrently"), IGNORED("recoverThreadPoolNums"),
	IGNORED("redeleteHangedFileInterval"),
	TEXT(regionId, "DefaultRegion", "region that answers to senders name, for message traces"),
	TIME(registerBrokerTimeoutMills, "24s", 1, "how long a registration waits for its answer"),
	TIME(registerNameServerPeriod, "30s", 1,
	     "pause between registrations with the NameServers, 10 to 60 s", .is_live = true),
	BOOL(rejectPullConsumerEnable, "false", "ignores pull consumers in heartbeats", .is_live = true),
	BOOL(rejectTransactionMessage, "false", "refuses transactional messages", .is_live = true),
	IGNORED("replicasPerDiskPartition"), IGNORED("replyThreadPoolQueueCapacity"),
	BOOL(retrieveMessageFromPopRetryTopicV1, "true",
	     "with enableRetryTopicV2: whether %RETRY%group_topic is still popped from", .is_live = true),
	IGNORED("reviveAckWaitMs"),
	IGNORED("reviveInterval"), IGNORED("reviveMaxSlow"), IGNORED("reviveQueueNum"),
	IGNORED("reviveScanTime"), IGNORED("rocketmqHome"), IGNORED("rocksdbCompressionType"),
	IGNORED("rocksdbCQDoubleWriteEnable"), IGNORED("rocksdbFlushWalFrequency"),
	IGNORED("rocksdbWalFileRollingThreshold"), IGNORED("sampleCountThreshold"),
	IGNORED("sampleSteps"), IGNORED("scanAvailableNameSrv"),
	IGNORED("scheduleAsyncDeliverMaxPendingLimit"),
	IGNORED("scheduleAsyncDeliverMaxResendNum2Blocked"), IGNORED("searchBcqByCacheEnable"),
	IGNORED("sendHeartbeatTimeoutMillis"), IGNORED("sendMessageThreadPoolNums"),
	IGNORED("sendThreadPoolQueueCapacity"), IGNORED("serverAsyncSemaphoreValue"),
	IGNORED("serverCallbackExecutorThreads"),
	TIME(serverChannelMaxIdleTimeSeconds, "120s", 1000,
	     "a connection without traffic for so long is closed; bare numbers are seconds"),
	BOOL(serverLoadBalancerEnable, "true",
	     "whether the broker shares queues between members; false: each member is given all of them", .is_live = true),
	IGNORED("serverNettyWorkerGroupEnable"),
	IGNORED("serverOnewaySemaphoreValue"), IGNORED("serverPooledByteBufAllocatorEnable"),
	IGNORED("serverSelectorThreads"), IGNORED("serverSocketBacklog"),
	IGNORED("serverSocketBufSize"), IGNORED("serverSocketRcvBufSize"),
	IGNORED("serverSocketSndBufSize"), IGNORED("serverWorkerThreads"),
	IGNORED("sharedByteBufferNum"),
	TIME(shortPollingTimeMills, "1s", 1,
	     "longest wait of a pull while longPollingEnable is false", .is_live = true),
	IGNORED("shutdownWaitTimeSeconds"), IGNORED("skipPreOnline"),
	IGNORED("skipWhenCKRePutReachMaxTimes"), LATER("slaveReadEnable"), LATER("slaveTimeout"),
	IGNORED("socksProxyConfig"), IGNORED("spinLockCollisionRetreatOptimalDegree"),
	IGNORED("splitMetadataSize"), IGNORED("splitRegistrationSize"),
	IGNORED("startAcceptSendRequestTimeStamp"),
	IGNORED("statefulAuthenticationCacheExpiredSecond"),
	IGNORED("statefulAuthenticationCacheMaxNum"),
	IGNORED("statefulAuthorizationCacheExpiredSecond"),
	IGNORED("statefulAuthorizationCacheMaxNum"), IGNORED("statRocksDBCQIntervalSec"),
	IGNORED("storeCheckpoint"),
	SIZE(storeMaxBytes, "0", 1,
	     "bytes on disk beyond which the oldest messages are deleted; 0: no limit", .is_ours = true),
	INT(storeMaxFamilies, "256", 1, 100000,
	     "queues with a column family of their own; later queues share families", .is_ours = true),
	SIZE(storeMemoryBytes, "128M", 1,
	     "memory of the store: write buffers and block cache", .is_ours = true),
	SIZE(storeMinFreeBytes, "256M", 1,
	     "free bytes on the file system below which messages are refused", .is_ours = true),
	IGNORED("storePathBrokerIdentity"), IGNORED("storePathCommitLog"),
	IGNORED("storePathConsumeQueue"), IGNORED("storePathDLedgerCommitLog"),
	IGNORED("storePathEpochFile"), IGNORED("storePathIndex"),
	TEXT(storePathRootDir, "/var/lib/mqd/broker", "directory of the message store"),
	INT(storeReaders, "2", 1, 64, "threads that read messages from disk", .is_ours = true),
	BOOL(storeReplyMessageEnable, "true",
	     "whether replies to requests are stored in the reply topic, too", .is_live = true),
	IGNORED("storeType"),
	BOOL(strictSubscription, "false",
	     "refuses a consumer that subscribes to other things than the members of its group", .is_live = true, .is_ours = true),
	IGNORED("subscriptionExpiredTimeout"), IGNORED("syncBrokerMemberGroupPeriod"),
	IGNORED("syncBrokerMetadataPeriod"), IGNORED("syncControllerMetadataPeriod"),
	TIME(syncFlushTimeout, "5s", 1, "longest wait of a send for the disk", .is_live = true),
	IGNORED("syncFromLastFile"),
	IGNORED("syncMasterFlushOffsetWhenStartup"), IGNORED("timerCheckMetricsWhen"),
	IGNORED("timerColdDataCheckIntervalMs"), IGNORED("timerCongestNumEachSlot"),
	IGNORED("timerEnableCheckMetrics"), IGNORED("timerEnableDisruptor"),
	IGNORED("timerEnableRetryUntilSuccess"), IGNORED("timerFlushIntervalMs"),
	IGNORED("timerGetMessageThreadNum"), IGNORED("timerInterceptDelayLevel"),
	TIME(timerMaxDelaySec, "40d", 1000, "longest delay of a message with a delivery time; bare numbers are seconds",
	     .min = 1000, .max = 3.2e12),
	IGNORED("timerMetricSmallThreshold"),
	INT(timerPrecisionMs, "1000", 100, 1000,
	    "milliseconds to which TIMER_OUT_MS is rounded down; delivery is not rounded"),
	IGNORED("timerProgressLogIntervalMs"), IGNORED("timerPutMessageThreadNum"),
	IGNORED("timerRecallToTimelineEnable"), IGNORED("timerRecallToTimeWheelEnable"),
	IGNORED("timerReputServiceCorePoolSize"), IGNORED("timerReputServiceMaxPoolSize"),
	IGNORED("timerReputServiceQueueCapacity"), IGNORED("timerRocksDBEnable"),
	IGNORED("timerRocksDBPrecisionMs"), IGNORED("timerRocksDBRollIntervalHours"),
	IGNORED("timerRocksDBRollMaxTps"), IGNORED("timerRocksDBRollRangeHours"),
	IGNORED("timerRocksDBStopScan"), IGNORED("timerRocksDBTimeExpiredMaxTps"),
	IGNORED("timerRollWindowSlot"), IGNORED("timerSkipUnknownError"), IGNORED("timerStopDequeue"),
	IGNORED("timerStopEnqueue"), IGNORED("timerWarmEnable"), 
	BOOL(timerWheelEnable, "true", "whether messages with a delivery time are taken"),
	IGNORED("timerWheelSnapshotFlush"), IGNORED("timerWheelSnapshotIntervalMs"),
	IGNORED("topicQueueLockNum"), IGNORED("totalReplicas"),
	BOOL(traceOn, "true", "told to senders: whether they should trace", .is_live = true),
	BOOL(traceTopicEnable, "false", "whether the trace topic is created at start"),
	TIME(transactionCheckInterval, "30s", 1, "how often producers are asked about transactions without an end", .is_live = true),
	INT(transactionCheckMax, "15", 1, 1e9,
	    "so often a producer is asked, then the message goes to TRANS_CHECK_MAX_TIME_TOPIC", .is_live = true),
	IGNORED("transactionCheckRocksdbCoreThreads"), IGNORED("transactionCheckRocksdbMaxThreads"),
	IGNORED("transactionCheckRocksdbQueueCapacity"), IGNORED("transactionMetricFlushInterval"),
	IGNORED("transactionOpBatchInterval"), IGNORED("transactionOpMsgMaxSize"),
	TIME(transactionTimeOut, "6s", 1, "how old a transaction must be to be asked about", .is_live = true),
	IGNORED("transferMsgByHeap"),
	IGNORED("transientStorePoolEnable"), IGNORED("transientStorePoolSize"),
	IGNORED("transRocksDBEnable"), IGNORED("transWriteOriginTransHalfEnable"),
	IGNORED("travelCqFileNumWhenGetMessage"), IGNORED("updateNameServerAddrPeriod"),
	IGNORED("useABSLock"), IGNORED("useEpollNativeSelector"),
	BOOL(useMessageFilterForNotification, "true",
	     "whether notifications (NOTIFICATION) heed the tags that they are asked with", .is_live = true),
	IGNORED("usePIDColdCtrStrategy"),
	IGNORED("userCacheExpiredSecond"), IGNORED("userCacheMaxNum"),
	IGNORED("userCacheRefreshSecond"), IGNORED("useReentrantLockWhenPutMessage"),
	IGNORED("useSeparateRetryQueue"), IGNORED("useSeparateStorePathForRocksdbCQ"),
	BOOL(useServerSideResetOffset, "true",
	     "whether the broker resets offsets by itself; false: it tells the members of the group", .is_live = true),
	IGNORED("useSingleRocksDBForAllConfigs"),
	IGNORED("useStaticSubscription"), LATER("useTLS"),
	BOOL(validateSystemTopicWhenUpdateTopic, "true",
	     "protects system topics from being changed and deleted", .is_live = true),
	IGNORED("waitTimeMillsInAckQueue"), IGNORED("waitTimeMillsInAdminBrokerQueue"),
	IGNORED("waitTimeMillsInHeartbeatQueue"), IGNORED("waitTimeMillsInLitePullQueue"),
	IGNORED("waitTimeMillsInPullQueue"), IGNORED("waitTimeMillsInSendQueue"),
	IGNORED("waitTimeMillsInTransactionQueue"), IGNORED("wakeCommitWhenPutMessage"),
	IGNORED("wakeFlushWhenPutMessage"), IGNORED("warmMapedFileEnable"),
	IGNORED("writeBufferHighWaterMark"), IGNORED("writeBufferLowWaterMark"),
	IGNORED("writeWithoutMmap"),
};

/* Letters that are safe wherever the name goes: topic names, order configurations ("broker:4;..."), JSON cut at commas. */
static bool config_is_name(const char *text)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr("%|-_.", text[i]))
			return false;
	return n > 0 && n <= BROKER_NAME_MAX;
}

static bool config_is_numeric_address(const char *text, bool *ret_loopback)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, text, &v4) == 1) {
		*ret_loopback = ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
		return true;
	}
	if (inet_pton(AF_INET6, text, &v6) == 1) {
		*ret_loopback = IN6_IS_ADDR_LOOPBACK(&v6);
		return true;
	}
	return false;
}

static int config_set_text(char **text, const char *value, struct mq_error *err)
{
	char *copy = strdup(value);

	if (!copy)
		return mq_error_set(err, -ENOMEM, "out of memory");
	free(*text);
	*text = copy;
	return 0;
}

/* The first IPv4 address that is up and no loopback; IPv6 only when there is none. Loopback when the host has nothing else. */
static void config_find_address(char ret[INET6_ADDRSTRLEN])
{
	struct ifaddrs *all = NULL;
	int best = 0;

	snprintf(ret, INET6_ADDRSTRLEN, "127.0.0.1");
	if (getifaddrs(&all) < 0)
		return;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) || (i->ifa_flags & IFF_LOOPBACK))
			continue;
		if (i->ifa_addr->sa_family == AF_INET && best < 2) {
			inet_ntop(AF_INET, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, ret, INET6_ADDRSTRLEN);
			best = 2;
		} else if (i->ifa_addr->sa_family == AF_INET6 && best < 1) {
			const struct in6_addr *a = &((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr;

			if (IN6_IS_ADDR_LINKLOCAL(a))
				continue;
			inet_ntop(AF_INET6, a, ret, INET6_ADDRSTRLEN);
			best = 1;
		}
	}
	freeifaddrs(all);
}

static int config_fill_name(struct broker_config *c, struct mq_error *err)
{
	char host[256] = "";

	if (c->brokerName[0])
		return 0;
	if (gethostname(host, sizeof host - 1) < 0 || !host[0])
		snprintf(host, sizeof host, "DEFAULT_BROKER");
	return config_set_text(&c->brokerName, host, err);
}

static int config_fill_addresses(struct broker_config *c, struct mq_error *err)
{
	char found[INET6_ADDRSTRLEN];
	bool is_loopback;
	int r;

	if (!config_is_numeric_address(c->bindAddress, &is_loopback))
		return mq_error_set(err, -EINVAL, "bindAddress=%s is not a numeric IPv4 or IPv6 address", c->bindAddress);
	if (!c->brokerIP1[0]) {
		if (is_loopback)
			snprintf(found, sizeof found, "%s", c->bindAddress);
		else
			config_find_address(found);
		r = config_set_text(&c->brokerIP1, found, err);
		if (r < 0)
			return r;
	}
	if (!config_is_numeric_address(c->brokerIP1, &is_loopback))
		return mq_error_set(err, -EINVAL, "brokerIP1=%s is not a numeric address: message ids carry it", c->brokerIP1);
	if (!c->brokerIP2[0]) {
		r = config_set_text(&c->brokerIP2, c->brokerIP1, err);
		if (r < 0)
			return r;
	}
	if (!config_is_numeric_address(c->brokerIP2, &is_loopback))
		return mq_error_set(err, -EINVAL, "brokerIP2=%s is not a numeric address", c->brokerIP2);
	return 0;
}

static int config_fill_ports(struct broker_config *c, struct mq_error *err)
{
	if (c->haListenPort == 0)
		c->haListenPort = c->listenPort < 65535 ? c->listenPort + 1 : c->listenPort - 1;
	if (c->fastListenPort == 0)
		c->fastListenPort = c->listenPort > 2 ? c->listenPort - 2 : -1;
	if (c->fastListenPort == c->listenPort)
		return mq_error_set(err, -EINVAL, "fastListenPort and listenPort are both %lld: two listeners need two ports",
				    (long long)c->listenPort);
	return 0;
}

static int config_check_namesrvs(const char *text, struct mq_error *err)
{
	while (*text) {
		size_t n = strcspn(text, ";");
		struct mq_address address;
		struct mq_error why = {};

		if (n > 0 && mq_address_parse(&address, (struct mq_slice){ text, n }, &why) < 0)
			return mq_error_set(err, -EINVAL, "namesrvAddr: %s", why.text);
		text += n + (text[n] == ';');
	}
	return 0;
}

static int config_check_identity(const struct broker_config *c, struct mq_error *err)
{
	if (!config_is_name(c->brokerName))
		return mq_error_set(err, -EINVAL, "brokerName=%s must be 1 to %d of the characters a-z A-Z 0-9 %% | - _ .",
				    c->brokerName, BROKER_NAME_MAX);
	if (!config_is_name(c->brokerClusterName))
		return mq_error_set(err, -EINVAL, "brokerClusterName=%s must be 1 to %d of the characters a-z A-Z 0-9 %% | - _ .",
				    c->brokerClusterName, BROKER_NAME_MAX);
	if (c->brokerRole == SLAVE)
		return mq_error_set(err, -EINVAL, "brokerRole=SLAVE: this version does not replicate; run it as ASYNC_MASTER");
	if (c->brokerId != 0)
		return mq_error_set(err, -EINVAL, "brokerId=%lld belongs to a slave; a master has brokerId=0", (long long)c->brokerId);
	if (c->aclEnable || c->authenticationEnabled || c->authorizationEnabled)
		return mq_error_set(err, -EINVAL,
				    "%s=true: this version has no access control and does not pretend to; restrict who can "
				    "reach the sockets and set it to false",
				    c->aclEnable               ? "aclEnable"
				    : c->authenticationEnabled ? "authenticationEnabled"
							       : "authorizationEnabled");
	return 0;
}

static int config_check_paths(const struct broker_config *c, struct mq_error *err)
{
	const size_t path_max = sizeof ((struct sockaddr_un *)0)->sun_path - 1;

	if (c->storePathRootDir[0] != '/')
		return mq_error_set(err, -EINVAL, "storePathRootDir=%s must be an absolute path", c->storePathRootDir);
	if (strcmp(c->localSocket, "none") == 0)
		return 0;
	if (c->localSocket[0] != '/' || strlen(c->localSocket) > path_max)
		return mq_error_set(err, -EINVAL, "localSocket=%s must be none or an absolute path of at most %zu bytes",
				    c->localSocket, path_max);
	return 0;
}

static int config_check_sizes(const struct broker_config *c, struct mq_error *err)
{
	if (c->storeMemoryBytes < MEMORY_MIN)
		return mq_error_set(err, -EINVAL, "storeMemoryBytes=%lld is too little: at least %d bytes (16M)",
				    (long long)c->storeMemoryBytes, MEMORY_MIN);
	if (c->maxMessageSize < MESSAGE_SIZE_MIN)
		return mq_error_set(err, -EINVAL, "maxMessageSize=%lld is too little: at least %d bytes",
				    (long long)c->maxMessageSize, MESSAGE_SIZE_MIN);
	if (c->frameMaxLength < c->maxMessageSize + (128 << 10) || c->frameMaxLength > 1 << 30)
		return mq_error_set(err, -EINVAL,
				    "frameMaxLength=%lld must hold a message of maxMessageSize=%lld with its header (128K more), and "
				    "be at most 1G",
				    (long long)c->frameMaxLength, (long long)c->maxMessageSize);
	if (c->diskSpaceWarningLevelRatio <= c->diskMaxUsedSpaceRatio)
		return mq_error_set(err, -EINVAL,
				    "diskSpaceWarningLevelRatio=%g must be above diskMaxUsedSpaceRatio=%g: old messages are deleted "
				    "before new ones are refused",
				    c->diskSpaceWarningLevelRatio, c->diskMaxUsedSpaceRatio);
	return 0;
}

int config_delete_hours(const char *text, uint32_t *ret)
{
	uint32_t hours = 0;

	do {
		char *end = NULL;
		unsigned long hour = isdigit((unsigned char)*text) ? strtoul(text, &end, 10) : 24;

		if (hour > 23 || (*end && *end != ';'))
			return -EINVAL;
		hours |= UINT32_C(1) << hour;
		text = *end ? end + 1 : end;
	} while (*text);
	*ret = hours;
	return 0;
}

static int config_check_times(const struct broker_config *c, struct mq_error *err)
{
	struct delay_levels levels;
	uint32_t hours;
	int r = delay_levels_parse(&levels, c->messageDelayLevel, err);

	if (r < 0)
		return r;

	if (config_delete_hours(c->deleteWhen, &hours) < 0)
		return mq_error_set(err, -EINVAL, "deleteWhen=%s must be hours from 00 to 23, separated by ';'", c->deleteWhen);
	if (c->fileReservedTime < 1000)
		return mq_error_set(err, -EINVAL, "fileReservedTime must be at least a second (bare numbers are hours)");
	if (c->flushIntervalCommitLog < 1)
		return mq_error_set(err, -EINVAL, "flushIntervalCommitLog must be at least 1ms");
	if (c->channelExpiredTimeout < 30000)
		return mq_error_set(err, -EINVAL, "channelExpiredTimeout must be at least 30s: clients send heartbeats that often");
	return 0;
}

static int config_check(void *config, struct mq_error *err)
{
	struct broker_config *c = config;
	int r;

	r = config_fill_name(c, err);
	if (r == 0)
		r = config_fill_addresses(c, err);
	if (r == 0)
		r = config_fill_ports(c, err);
	if (r == 0)
		r = config_check_identity(c, err);
	if (r == 0)
		r = config_check_namesrvs(c->namesrvAddr, err);
	if (r == 0)
		r = config_check_paths(c, err);
	if (r == 0)
		r = config_check_sizes(c, err);
	return r < 0 ? r : config_check_times(c, err);
}

const struct option_table broker_options = {
	.lines = broker_lines,
	.n_lines = N_ELEMENTS(broker_lines),
	.config_size = sizeof(struct broker_config),
	.check = config_check,
};

unsigned config_reload(struct broker_config *live, const struct broker_config *fresh)
{
	unsigned n_changed = 0;

	for (unsigned i = 0; i < N_ELEMENTS(broker_lines); i++) {
		const struct option_line *line = &broker_lines[i];
		char *to = (char *)live + line->offset;
		const char *from = (const char *)fresh + line->offset;

		if (!line->is_live)
			continue;
		if (line->type == OPTION_BOOL) {
			bool value = *(const bool *)from;

			n_changed += __atomic_exchange_n((bool *)to, value, __ATOMIC_RELAXED) != value;
		} else {
			int64_t value = *(const int64_t *)from;

			n_changed += __atomic_exchange_n((int64_t *)to, value, __ATOMIC_RELAXED) != value;
		}
	}
	return n_changed;
}
