/* Who is at the two ends of a socket. */
#include "libmq/net/conn_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static void host_loopback(struct mq_host *host)
{
	*host = (struct mq_host){ .addr = { 127, 0, 0, 1 }, .n_addr = 4 };
}

static void host_from_socket(struct mq_host *host, const struct sockaddr_storage *address)
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;

	memset(host, 0, sizeof *host);
	if (address->ss_family == AF_INET) {
		host->n_addr = 4;
		memcpy(host->addr, &v4->sin_addr, 4);
		host->port = ntohs(v4->sin_port);
		return;
	}
	/* A dual-stack listener shows IPv4 peers as ::ffff:a.b.c.d; clients know themselves by the four bytes. */
	if (memcmp(&v6->sin6_addr, mapped, sizeof mapped) == 0) {
		host->n_addr = 4;
		memcpy(host->addr, v6->sin6_addr.s6_addr + sizeof mapped, 4);
	} else {
		host->n_addr = 16;
		memcpy(host->addr, &v6->sin6_addr, 16);
	}
	host->port = ntohs(v6->sin6_port);
}

static int conn_identify_unix(struct mq_conn *conn)
{
	struct ucred cred;
	socklen_t n = sizeof cred;

	if (getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
		return -errno;
	conn->peer.is_unix = true;
	conn->peer.uid = cred.uid;
	conn->peer.gid = cred.gid;
	conn->peer.pid = cred.pid;
	host_loopback(&conn->peer.host);
	snprintf(conn->peer.text, sizeof conn->peer.text, "unix:uid=%u,pid=%d", cred.uid, cred.pid);
	return 0;
}

/* Who is there. SO_PEERCRED is asked on Unix sockets only: on TCP it answers with numbers that mean nothing. */
int mq_conn_identify(struct mq_conn *conn)
{
	struct sockaddr_storage local = {}, peer = {};
	socklen_t n_local = sizeof local, n_peer = sizeof peer;

	conn->peer.uid = (uid_t)-1;
	conn->peer.gid = (gid_t)-1;
	if (getsockname(conn->fd, (struct sockaddr *)&local, &n_local) < 0)
		return -errno;
	if (local.ss_family == AF_UNIX)
		return conn_identify_unix(conn);
	if (local.ss_family != AF_INET && local.ss_family != AF_INET6)
		return -EAFNOSUPPORT;
	if (getpeername(conn->fd, (struct sockaddr *)&peer, &n_peer) < 0)
		return -errno;
	host_from_socket(&conn->peer.host, &peer);
	mq_host_format(&conn->peer.host, conn->peer.text);
	return 0;
}
