/* LD_PRELOAD: a disk that stands still for as long as a test wants. While the file $GATE_SYNC exists, fdatasync() of a database
 * log does not come back, and while $GATE_WRITE exists, write() to one. The commit log of Apache's broker is held as well, when
 * that broker writes it by such calls (writeWithoutMmap=true). */
#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool is_log(int fd)
{
	char link[64], path[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	if (n < 4)
		return false;
	path[n] = '\0';
	return strcmp(path + n - 4, ".log") == 0 || strstr(path, "/commitlog/");
}

static void wait_at(const char *name, int fd)
{
	static const struct timespec moment = { .tv_nsec = 1000000 };
	const char *gate = getenv(name);

	if (!gate || access(gate, F_OK) < 0 || !is_log(fd))
		return;
	while (access(gate, F_OK) == 0)
		nanosleep(&moment, NULL);
}

int fdatasync(int fd)
{
	wait_at("GATE_SYNC", fd);
	return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}

ssize_t write(int fd, const void *bytes, size_t n)
{
	wait_at("GATE_WRITE", fd);
	return ((ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write"))(fd, bytes, n);
}
