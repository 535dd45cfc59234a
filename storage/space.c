/* Free space. RocksDB aborts the process on the write after one that met ENOSPC, so appends stop before: below min_free_bytes or
 * above the warning ratio. The keeper asks the file system every second, who appends every ten milliseconds; between that, bytes
 * written since are taken off, so that a burst cannot overrun the guard. Below a quarter of the guard not even offsets are
 * written, and the ballast file is given up, so that flushes which are under way find room. When one found none, RocksDB takes nothing
 * until it has tried again, and says so before it touches its log: it is asked by an empty write each second. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "storage/internal.h"

enum {
	BALLAST_MAX = 64 << 20, /* bytes */
	BURST_CHECK_MS = 10,    /* under load: another program can fill a disk with gigabytes a second */
};

static int space_ask(struct store *s, uint64_t *ret_free, uint64_t *ret_total)
{
	struct statvfs v;

	if (s->cfg.hooks.free_bytes)
		return s->cfg.hooks.free_bytes(s->cfg.hooks.user, ret_free, ret_total);
	if (fstatvfs(s->dir_fd, &v) < 0)
		return -errno;
	*ret_free = (uint64_t)v.f_bavail * v.f_frsize;
	*ret_total = (uint64_t)(v.f_blocks - v.f_bfree + v.f_bavail) * v.f_frsize;
	return 0;
}

static uint64_t ballast_size(const struct store *s)
{
	return s->cfg.min_free_bytes / 4 < BALLAST_MAX ? s->cfg.min_free_bytes / 4 : BALLAST_MAX;
}

void space_check(struct store *s)
{
	uint64_t guard = s->cfg.min_free_bytes, n_free, total;
	double used;

	/* Asked before it is forgotten what was written: counted twice at worst, never missed. */
	uint64_t counted = atomic_load(&s->bytes_since_check);

	if (space_ask(s, &n_free, &total) < 0)
		return; /* the last answer holds; a disk that is gone shows in the next write */
	atomic_fetch_sub(&s->bytes_since_check, counted);
	atomic_store(&s->bytes_free, n_free);
	atomic_store(&s->bytes_total, total);
	atomic_store(&s->is_critical, n_free < guard / 4);
	used = total > 0 ? 1.0 - (double)n_free / (double)total : 0;

	if (n_free < guard)
		store_set_state(s, STORE_NO_SPACE, "%s has %llu MiB free, below the %llu MiB that are kept (storeMinFreeBytes)",
				s->cfg.path, (unsigned long long)(n_free >> 20), (unsigned long long)(guard >> 20));
	else if (used > s->cfg.disk_warning_ratio)
		store_set_state(s, STORE_NO_SPACE,
				"%s has %llu MiB free, the disk is used to %.1f %%, above %.1f %% (diskSpaceWarningLevelRatio)",
				s->cfg.path, (unsigned long long)(n_free >> 20), used * 100, s->cfg.disk_warning_ratio * 100);
	else if (n_free >= guard + guard / 8 && used <= s->cfg.disk_warning_ratio - 0.001 && !atomic_load(&s->is_refused)) {
		store_set_state(s, STORE_WRITABLE, "%s", "");
		/* A write that was refused since has the last word. */
		if (atomic_load(&s->is_refused))
			space_refused(s);
	}
}

void space_check_burst(struct store *s)
{
	uint64_t n_free = atomic_load(&s->bytes_free), since = atomic_load(&s->bytes_since_check);
	double left = (double)n_free - (double)since, total = (double)atomic_load(&s->bytes_total);
	int64_t now_ms = mq_mono_ms(&mq_clock_system);

	if (now_ms - s->burst_checked_ms >= BURST_CHECK_MS) {
		s->burst_checked_ms = now_ms;
		space_check(s);
	} else if (since > 0 && (left < (double)s->cfg.min_free_bytes || total - left > total * s->cfg.disk_warning_ratio)) {
		space_check(s);
	}
}

bool space_is_critical(struct store *s)
{
	return atomic_load(&s->is_critical) || atomic_load(&s->is_refused);
}

void space_refused(struct store *s)
{
	atomic_store(&s->is_refused, true);
	store_set_state(s, STORE_NO_SPACE, "%s: what is in memory found no space on the disk, and is written when there is some", s->cfg.path);
}

/* Nothing is asked of it but whether it would. RocksDB looks at the disk every five seconds. */
void space_try_again(struct store *s)
{
	_cleanup_(rocksdb_textp) char *text = NULL;

	if (!atomic_load(&s->is_refused) || store_state(s) == STORE_FAILED)
		return;
	append_lock(s);
	rocksdb_writebatch_clear(s->batch);
	atomic_store(&s->is_refused, store_write_locked(s, s->batch) == -ENOSPC);
	append_unlock(s);
}

void space_open(struct store *s)
{
	struct stat st;

	s->has_ballast = fstatat(s->dir_fd, "ballast", &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size > 0;
	space_check(s);
	space_keep_ballast(s);
}

void space_keep_ballast(struct store *s)
{
	_cleanup_(closep) int fd = -1;
	uint64_t size = ballast_size(s);
	bool wants = s->db && store_state(s) == STORE_WRITABLE && atomic_load(&s->bytes_free) > s->cfg.min_free_bytes + 2 * size;

	if (size == 0 || (s->has_ballast ? !space_is_critical(s) : !wants))
		return;
	fd = openat(s->dir_fd, "ballast", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (s->has_ballast) {
		s->has_ballast = ftruncate(fd, 0) < 0;
		return;
	}
	/* Not to be had (a file system that cannot, or the space went): tried again later. */
	s->has_ballast = fallocate(fd, 0, 0, (off_t)size) == 0;
	if (!s->has_ballast && ftruncate(fd, 0) < 0)
		return;
}

void space_measure(struct store *s)
{
	int fd = openat(s->dir_fd, "db", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	uint64_t sum = 0;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir))) {
		struct stat st;

		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_size;
	}
	closedir(dir);
	atomic_store(&s->bytes_on_disk, sum);
}
