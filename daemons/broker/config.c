/* What the keys of config_keys.c must be to go together, and what follows from those that were left out. */
#include "daemons/broker/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemons/broker/delay.h"
#include "libmq/net/address.h"

enum {
	BROKER_NAME_MAX = 127,  /* bytes: the topic of the same name must be possible */
	MEMORY_MIN = 16 << 20,  /* bytes */
	MESSAGE_SIZE_MIN = 1024,
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

int config_check(void *config, struct mq_error *err)
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

unsigned config_reload(struct broker_config *live, const struct broker_config *fresh)
{
	unsigned n_changed = 0;

	for (unsigned i = 0; i < broker_options.n_lines; i++) {
		const struct option_line *line = &broker_options.lines[i];
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
