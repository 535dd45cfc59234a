#include "daemons/common/activation.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

static bool is_stream_listener(int fd)
{
	return sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) > 0 || sd_is_socket(fd, AF_INET, SOCK_STREAM, 1) > 0 ||
	       sd_is_socket(fd, AF_INET6, SOCK_STREAM, 1) > 0;
}

int activation_inherit(struct activation *ret, struct mq_error *err)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names), r = 0;

	*ret = (struct activation){};
	if (n < 0)
		return mq_error_set(err, n, "cannot take over the sockets of the service manager: %s", strerror(-n));
	if (n > ACTIVATION_MAX)
		r = mq_error_set(err, -E2BIG, "the service manager passed %d sockets, at most %d are expected", n, ACTIVATION_MAX);
	for (int i = 0; i < n; i++) {
		const char *name = names && names[i] ? names[i] : "";
		int fd = SD_LISTEN_FDS_START + i;

		if (r == 0 && !is_stream_listener(fd))
			r = mq_error_set(err, -EINVAL, "the inherited descriptor '%s' is not a listening stream socket", name);
		if (r == 0) {
			struct activation_socket *s = &ret->sockets[ret->n_sockets++];

			snprintf(s->name, sizeof s->name, "%s", name);
			s->fd = fd;
		}
		free(names ? names[i] : NULL);
	}
	free(names);
	return r;
}

int activation_take(struct activation *a, const char *name)
{
	for (unsigned i = 0; i < a->n_sockets; i++) {
		int fd = a->sockets[i].fd;

		if (strcmp(a->sockets[i].name, name))
			continue;
		a->sockets[i] = a->sockets[--a->n_sockets];
		return fd;
	}
	return -ENOENT;
}

/* Makes the directory of a socket when only that one is missing, as in /run after a boot. */
static int make_directory(const char *path, struct mq_error *err)
{
	_cleanup_(freep) char *directory = strdup(path);
	char *slash = directory ? strrchr(directory, '/') : NULL;

	if (!directory)
		return -ENOMEM;
	if (!slash || slash == directory)
		return 0;
	*slash = '\0';
	if (mkdir(directory, 0755) < 0 && errno != EEXIST)
		return mq_error_set(err, -errno, "cannot make the directory %s: %s", directory, strerror(errno));
	return 0;
}

/* Whoever starts a daemon by hand needs to know what is in the way and what to change. */
static int add_cure(struct mq_error *err, int r, const struct mq_address *a, const char *name)
{
	const char *port = strstr(name, "fast") ? "fastListenPort" : "listenPort";
	size_t n = err ? strlen(err->text) : 0, size = err ? sizeof err->text - n : 0;
	char *end = err ? err->text + n : NULL;

	if (!err)
		return r;
	if (a->is_unix && r == -EADDRINUSE)
		snprintf(end, size, "; a running daemon serves it: stop that one, or set localSocket to a path of yours, or to none");
	else if (a->is_unix)
		snprintf(end, size, "; set localSocket to a path of yours, or to none");
	else if (r == -EADDRINUSE)
		snprintf(end, size, "; stop the program that has it ('ss -ltnp' names it, mostly a second mqd or RocketMQ), or set %s",
			 port);
	else if (r == -EADDRNOTAVAIL)
		snprintf(end, size, "; set bindAddress to an address of this host, see 'ip address'");
	else if (r == -EACCES)
		snprintf(end, size, "; set %s to 1024 or more, lower ports are for root", port);
	else
		snprintf(end, size, "; the keys are bindAddress and %s", port);
	return r;
}

int activation_take_or_listen(struct activation *a, const char *name, const char *otherwise, struct mq_error *err)
{
	int fd = activation_take(a, name), r;
	struct mq_address address;

	if (fd >= 0)
		return fd;
	if (!strcmp(otherwise, "none"))
		return -ENOENT;
	r = mq_address_parse(&address, mq_slice_of(otherwise), err);
	if (r < 0)
		return r;
	r = address.is_unix ? make_directory(address.host, err) : 0;
	if (r == 0)
		r = mq_address_listen(&address, err);
	return r < 0 ? add_cure(err, r, &address, name) : r;
}

char *activation_describe(int fd, char *ret, size_t size)
{
	struct sockaddr_storage at = {};
	socklen_t n = sizeof at;
	char host[NI_MAXHOST], port[NI_MAXSERV];

	snprintf(ret, size, "?");
	if (getsockname(fd, (struct sockaddr *)&at, &n) < 0)
		return ret;
	if (at.ss_family == AF_UNIX)
		snprintf(ret, size, "unix:%s", ((struct sockaddr_un *)&at)->sun_path);
	else if (getnameinfo((struct sockaddr *)&at, n, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		snprintf(ret, size, at.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	return ret;
}
