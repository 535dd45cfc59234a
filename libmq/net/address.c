#include "libmq/net/address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024 }; /* frame.md section 7 */

static const struct mq_slice unix_prefix = { "unix:", 5 };

static int address_parse_port(const char *text, size_t n, uint16_t *ret)
{
	unsigned port = 0;

	if (n == 0 || n > 5)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		port = port * 10 + (unsigned)(text[i] - '0');
	}
	if (port > 65535)
		return -EINVAL;
	*ret = (uint16_t)port;
	return 0;
}

static int address_set_host(struct mq_address *a, const char *p, size_t n, size_t max, struct mq_error *err)
{
	if (n == 0)
		return mq_error_set(err, -EINVAL, "\"%s\" names no host", a->text);
	if (n > max)
		return mq_error_set(err, -EINVAL, "\"%.80s...\" is too long", a->text);
	memcpy(a->host, p, n);
	a->host[n] = '\0';
	return 0;
}

static int address_parse_unix(struct mq_address *a, struct mq_slice text, struct mq_error *err)
{
	size_t max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
	const char *path = text.p + unix_prefix.n;
	size_t n = text.n - unix_prefix.n;

	if (n == 0 || path[0] != '/')
		return mq_error_set(err, -EINVAL, "\"%s\" needs an absolute path: unix:/run/...", a->text);
	a->is_unix = true;
	return address_set_host(a, path, n, max, err);
}

static int address_parse_tcp(struct mq_address *a, struct mq_slice text, struct mq_error *err)
{
	const char *host = text.p, *host_end, *colon;
	int r;

	colon = memrchr(text.p, ':', text.n);
	if (!colon)
		return mq_error_set(err, -EINVAL, "\"%s\" is not host:port, [address]:port or unix:/path", a->text);
	host_end = colon;
	if (text.p[0] == '[') {
		host_end = memchr(text.p, ']', text.n);
		if (!host_end || host_end + 1 != colon)
			return mq_error_set(err, -EINVAL, "\"%s\" is not [address]:port", a->text);
		host++;
	} else if (memchr(text.p, ':', (size_t)(colon - text.p))) {
		return mq_error_set(err, -EINVAL, "\"%s\" needs brackets: [address]:port", a->text);
	}

	r = address_parse_port(colon + 1, (size_t)(text.p + text.n - colon - 1), &a->port);
	if (r < 0)
		return mq_error_set(err, r, "\"%s\" has no port between 0 and 65535", a->text);
	return address_set_host(a, host, (size_t)(host_end - host), sizeof a->host - 1, err);
}

int mq_address_parse(struct mq_address *ret, struct mq_slice text, struct mq_error *err)
{
	struct mq_address a = {};
	int r;

	if (text.n == 0)
		return mq_error_set(err, -EINVAL, "the address is empty");
	if (text.n >= sizeof a.text || memchr(text.p, '\0', text.n))
		return mq_error_set(err, -EINVAL, "\"%.*s...\" is not an address", (int)(text.n > 80 ? 80 : text.n), text.p);
	memcpy(a.text, text.p, text.n);

	if (mq_slice_starts(text, unix_prefix))
		r = address_parse_unix(&a, text, err);
	else
		r = address_parse_tcp(&a, text, err);
	if (r < 0)
		return r;
	*ret = a;
	return 0;
}

static void address_to_unix(const struct mq_address *a, struct sockaddr_un *ret)
{
	memset(ret, 0, sizeof *ret);
	ret->sun_family = AF_UNIX;
	memcpy(ret->sun_path, a->host, strlen(a->host) + 1);
}

static int address_socket(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

static void freeaddrinfo_of(struct addrinfo **list)
{
	if (*list)
		freeaddrinfo(*list);
}

static int address_look_up(const struct mq_address *a, int flags, struct addrinfo **ret, struct mq_error *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV };
	char port[8];
	int r;

	snprintf(port, sizeof port, "%u", a->port);
	r = getaddrinfo(a->host, port, &hints, ret);
	if (r == EAI_SYSTEM)
		return mq_error_set(err, -errno, "cannot look up %s: %s", a->host, strerror(errno));
	if (r != 0)
		return mq_error_set(err, r == EAI_MEMORY ? -ENOMEM : -EHOSTUNREACH, "cannot look up %s: %s", a->host,
				    gai_strerror(r));
	return 0;
}

static int address_try_connect(const struct sockaddr *to, socklen_t n)
{
	int fd, r;

	fd = address_socket(to->sa_family);
	if (fd < 0)
		return fd;
	/* A full backlog of a Unix socket is EAGAIN: nothing is in progress then. */
	if (connect(fd, to, n) < 0 && errno != EINPROGRESS) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

int mq_address_connect(const struct mq_address *a, struct mq_error *err)
{
	_cleanup_(freeaddrinfo_of) struct addrinfo *list = NULL;
	struct sockaddr_un un;
	int r = -EHOSTUNREACH;

	if (a->is_unix) {
		address_to_unix(a, &un);
		r = address_try_connect((struct sockaddr *)&un, sizeof un);
	} else {
		int lookup = address_look_up(a, AI_ADDRCONFIG, &list, err);

		if (lookup < 0)
			return lookup;
		/* On loopback a refusal is known at once, so that localhost finds who listens on one family only. */
		for (struct addrinfo *i = list; i && r < 0; i = i->ai_next)
			r = address_try_connect(i->ai_addr, i->ai_addrlen);
	}
	if (r < 0)
		return mq_error_set(err, r, "cannot connect to %s: %s", a->text, strerror(-r));
	return r;
}

static int listen_on(int fd, const struct sockaddr *at, socklen_t n)
{
	if (bind(fd, at, n) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return 0;
}

/* A socket file whose owner died without removing it. Anything else under that name is left alone. */
static bool unix_is_abandoned(const struct sockaddr_un *un)
{
	struct stat st;
	int fd;

	if (lstat(un->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = address_try_connect((const struct sockaddr *)un, sizeof *un);
	if (fd >= 0)
		close(fd);
	return fd == -ECONNREFUSED;
}

static int listen_unix(int fd, const struct mq_address *a)
{
	struct sockaddr_un un;
	int r;

	address_to_unix(a, &un);
	/* The file gets the socket's mode less the umask; so it is never open to more than is meant, and then made exact. */
	if (fchmod(fd, 0660) < 0)
		return -errno;
	r = listen_on(fd, (struct sockaddr *)&un, sizeof un);
	if (r == -EADDRINUSE && unix_is_abandoned(&un)) {
		if (unlink(un.sun_path) < 0)
			return -errno;
		r = listen_on(fd, (struct sockaddr *)&un, sizeof un);
	}
	if (r < 0)
		return r;
	return chmod(un.sun_path, 0660) < 0 ? -errno : 0;
}

static int listen_tcp(int fd, const struct addrinfo *at)
{
	int one = 1, zero = 0;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0)
		return -errno;
	if (at->ai_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero) < 0)
		return -errno;
	return listen_on(fd, at->ai_addr, at->ai_addrlen);
}

int mq_address_listen(const struct mq_address *a, struct mq_error *err)
{
	_cleanup_(freeaddrinfo_of) struct addrinfo *list = NULL;
	int fd, r;

	if (!a->is_unix) {
		r = address_look_up(a, AI_PASSIVE, &list, err);
		if (r < 0)
			return r;
	}
	fd = address_socket(a->is_unix ? AF_UNIX : list->ai_family);
	if (fd < 0)
		return mq_error_set(err, fd, "cannot make a socket for %s: %s", a->text, strerror(-fd));
	r = a->is_unix ? listen_unix(fd, a) : listen_tcp(fd, list);
	if (r < 0) {
		close(fd);
		return mq_error_set(err, r, "cannot listen on %s: %s", a->text, strerror(-r));
	}
	return fd;
}
