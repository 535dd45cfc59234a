#include "daemons/namesrv/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "libmq/net/address.h"

#define LOCAL_SOCKET_MAX sizeof(((struct sockaddr_un *)NULL)->sun_path) /* bytes, NUL included */

#define AT(member) .offset = offsetof(struct namesrv_config, member)
#define LINE(key_, type_, default_, ...) { .key = #key_, .type = type_, AT(key_), .otherwise = default_, __VA_ARGS__ }
#define TEXT(key_, default_, ...)        LINE(key_, OPTION_TEXT, default_, __VA_ARGS__)
#define BOOL(key_, default_, ...)        LINE(key_, OPTION_BOOL, default_, .is_live = true, __VA_ARGS__)
#define IGNORED(key_)                    { .key = key_, .type = OPTION_IGNORED }

/* Sorted by key. The ignored ones are those of Apache's NamesrvConfig and NettyServerConfig that only a JVM can use. */
static const struct option_line namesrv_lines[] = {
	TEXT(bindAddress, "127.0.0.1", .help = "address to listen on; 0.0.0.0 or [::] opens the NameServer to the network"),
	IGNORED("clientRequestThreadPoolNums"),
	IGNORED("clientRequestThreadPoolQueueCapacity"),
	IGNORED("clusterTest"),
	IGNORED("configBlackList"),
	IGNORED("configStorePath"),
	IGNORED("defaultThreadPoolNums"),
	IGNORED("defaultThreadPoolQueueCapacity"),
	BOOL(deleteTopicWithBrokerRegistration, "false", .help = "whether a topic that a broker's registration lacks is removed from the route"),
	BOOL(enableAllTopicList, "true", .help = "whether anybody may list the topics of all clusters"),
	IGNORED("enableControllerInNamesrv"),
	IGNORED("enableShutdownGracefully"),
	BOOL(enableTopicList, "true", .help = "whether anybody may list the topics of one cluster"),
	LINE(frameMaxLength, OPTION_SIZE, "16M", .min = 65536, .max = 1 << 30, .is_ours = true,
	     .help = "largest frame accepted; a peer that announces more is disconnected"),
	TEXT(kvConfigPath, "/var/lib/mqd/namesrv/kvConfig.json", .help = "file of the key-value table"),
	LINE(listenPort, OPTION_INT, "9876", .min = 0, .max = 65535, .help = "TCP port; 0 lets the system choose one, which STATUS= names"),
	TEXT(localSocket, "/run/mqd/namesrv.sock", .is_ours = true, .help = "path of the Unix socket for local clients, or none"),
	BOOL(needWaitForService, "false", .help = "whether routes are refused for waitSecondsForService after the start"),
	BOOL(notifyMinBrokerIdChanged, "false", .help = "whether brokers are told when the smallest id of their name changes"),
	BOOL(orderMessageEnable, "false", .help = "whether routes carry the order configuration of the topic"),
	IGNORED("productEnvName"),
	BOOL(returnOrderTopicConfigToBroker, "true", .help = "whether registrations are answered with the table of ordered topics"),
	IGNORED("rocketmqHome"),
	LINE(scanNotActiveBrokerInterval, OPTION_DURATION, "5000", .min = 10, .max = 3600000,
	     .help = "pause between two looks for brokers that stopped registering"),
	IGNORED("serverAsyncSemaphoreValue"),
	IGNORED("serverCallbackExecutorThreads"),
	LINE(serverChannelMaxIdleTimeSeconds, OPTION_DURATION, "120", .unit = 1000, .min = 1000, .max = 86400000,
	     .help = "a connection without traffic for so long is closed"),
	IGNORED("serverNettyWorkerGroupEnable"),
	IGNORED("serverOnewaySemaphoreValue"),
	IGNORED("serverPooledByteBufAllocatorEnable"),
	IGNORED("serverSelectorThreads"),
	IGNORED("serverSocketBacklog"),
	IGNORED("serverSocketRcvBufSize"),
	IGNORED("serverSocketSndBufSize"),
	IGNORED("serverWorkerThreads"),
	IGNORED("shutdownWaitTimeSeconds"),
	BOOL(supportActingMaster, "false", .help = "whether a slave is shown as master while there is none"),
	IGNORED("unRegisterBrokerQueueCapacity"),
	IGNORED("useEpollNativeSelector"),
	LINE(waitSecondsForService, OPTION_DURATION, "45", .unit = 1000, .min = 0, .max = 3600000, .is_live = true,
	     .help = "see needWaitForService"),
	IGNORED("writeBufferHighWaterMark"),
	IGNORED("writeBufferLowWaterMark"),
};

char *namesrv_config_address(const struct namesrv_config *c, char *ret, size_t size)
{
	bool is_bare_v6 = c->bindAddress[0] != '[' && strchr(c->bindAddress, ':');

	snprintf(ret, size, is_bare_v6 ? "[%s]:%d" : "%s:%d", c->bindAddress, (int)c->listenPort);
	return ret;
}

static int config_check(void *config, struct mq_error *err)
{
	const struct namesrv_config *c = config;
	struct mq_address address;
	char text[300];

	if (mq_address_parse(&address, mq_slice_of(namesrv_config_address(c, text, sizeof text)), NULL) < 0)
		return mq_error_set(err, -EINVAL, "bindAddress: '%.64s' is not an address", c->bindAddress);
	if (strcmp(c->localSocket, "none") && (c->localSocket[0] != '/' || strlen(c->localSocket) >= LOCAL_SOCKET_MAX))
		return mq_error_set(err, -EINVAL, "localSocket: '%.64s' is neither 'none' nor an absolute path of less than %zu bytes",
				    c->localSocket, LOCAL_SOCKET_MAX);
	if (c->kvConfigPath[0] != '/')
		return mq_error_set(err, -EINVAL, "kvConfigPath: '%.64s' is not an absolute path", c->kvConfigPath);
	return 0;
}

const struct option_table namesrv_options = {
	.lines = namesrv_lines,
	.n_lines = N_ELEMENTS(namesrv_lines),
	.config_size = sizeof(struct namesrv_config),
	.check = config_check,
};
