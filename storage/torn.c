/* When the disk takes only a part of a record, the write is refused, nothing more is written, and the log ends in half a record. If there
 * is space again RocksDB begins a new log all the same and moves what it has in memory to tables, one family after the other. Who
 * is killed in the middle of that leaves families with and without their table, and a damaged end of a log that is not the last one:
 * point-in-time recovery must take that for a hole, because what came behind it might be in the next log, and does not open.
 *
 * Nothing came behind it when all newer logs are empty. That is certain when only the oldest log has anything: which of several is the torn
 * one nobody says, and what an older one lost would be a hole. Then what is there before the end is all there was, and the mode that
 * accepts a record that ends too early reads just that; any other damage it refuses, and durable_open() compares as always. */
#include "storage/torn.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TOLERATE_TORN_ENDS = 0 }; /* kTolerateCorruptedTailRecords */

static bool torn_only_oldest_log_is_used(int dir_fd)
{
	int fd = openat(dir_fd, "db", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	uint64_t oldest = UINT64_MAX, used = 0;
	unsigned n_logs = 0, n_used = 0;
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while ((entry = readdir(dir))) {
		char *end;
		uint64_t number = strtoull(entry->d_name, &end, 10);
		struct stat st;

		if (strcmp(end, ".log") != 0)
			continue;
		n_logs++;
		if (number < oldest)
			oldest = number;
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size == 0)
			continue;
		n_used++;
		used = number;
	}
	closedir(dir);
	return n_logs > 1 && n_used == 1 && used == oldest;
}

bool torn_end_accept(int dir_fd, rocksdb_options_t *db, char **text)
{
	if (!*text || !strstr(*text, "SST file is ahead of WALs") || !torn_only_oldest_log_is_used(dir_fd))
		return false;
	rocksdb_free(*text);
	*text = NULL;
	rocksdb_options_set_wal_recovery_mode(db, TOLERATE_TORN_ENDS);
	return true;
}
