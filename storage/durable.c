/* How far the log was known to be on the disk, in a file of its own: `durable`, two slots of one sector, written in turn.
 *
 * Recovery drops everything after the first damaged byte of the log without saying so. The record is written after each sync that
 * succeeded, so a database that recovers to a smaller sequence has lost something that was acknowledged as durable. The record
 * itself is not synced each time: an older one only makes the check weaker, never wrong. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "storage/durable.h"
#include "storage/internal.h"

enum {
	SLOT_SIZE = 512,    /* bytes: a sector is written whole or not at all */
	RECORD_SIZE = 32,   /* magic (8) format (4) generation (8) sequence (8) crc (4) */
	CRC_OFFSET = 28,
};

#define MAGIC 0x6d71647572616231ull /* "mqdurab1" */

static void durable_encode(char ret[SLOT_SIZE], uint64_t generation, uint64_t sequence)
{
	memset(ret, 0, SLOT_SIZE);
	mq_put64(mq_put64(mq_put32(mq_put64(ret, MAGIC), FORMAT_VERSION), generation), sequence);
	mq_put32(ret + CRC_OFFSET, (uint32_t)crc32(0, (const Bytef *)ret, CRC_OFFSET));
}

static bool durable_slot_is_valid(const char *slot)
{
	return mq_get64(slot) == MAGIC && mq_get32(slot + CRC_OFFSET) == (uint32_t)crc32(0, (const Bytef *)slot, CRC_OFFSET);
}

int durable_read(int dir_fd, struct durable *ret, unsigned *ret_slot, uint64_t *ret_generation)
{
	_cleanup_(closep) int fd = openat(dir_fd, "durable", O_RDONLY | O_CLOEXEC);
	bool is_found = false;

	*ret_slot = 1;
	*ret_generation = 0;
	if (fd < 0)
		return errno == ENOENT ? STORE_NONE : -errno;
	for (unsigned i = 0; i < 2; i++) {
		char slot[SLOT_SIZE] = "";
		ssize_t n = pread(fd, slot, sizeof slot, (off_t)i * SLOT_SIZE);

		if (n < 0)
			return -errno;
		if (n < RECORD_SIZE || !durable_slot_is_valid(slot))
			continue;
		if (is_found && mq_get64(slot + 12) <= *ret_generation)
			continue;
		is_found = true;
		*ret_slot = i;
		*ret_generation = mq_get64(slot + 12);
		ret->format = mq_get32(slot + 8);
		ret->sequence = mq_get64(slot + 20);
	}
	return is_found ? 0 : STORE_NONE;
}

/* RocksDB reads the logs of a process that was killed and never syncs them: it begins a new one, and what is synced there builds on
 * what may still be nowhere but in memory. After a power loss that would be a hole, and what comes behind a hole is dropped. */
int durable_sync_logs(struct store *s, struct mq_error *err)
{
	int dir_fd = openat(s->dir_fd, "db", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *dir = dir_fd < 0 ? NULL : fdopendir(dir_fd);
	struct dirent *entry;

	if (!dir && errno == ENOENT)
		return 0;
	while (r == 0 && dir && (entry = readdir(dir))) {
		_cleanup_(closep) int fd = -1;
		size_t n = strlen(entry->d_name);

		if (n < 4 || strcmp(entry->d_name + n - 4, ".log") != 0)
			continue;
		fd = openat(dir_fd, entry->d_name, O_RDONLY | O_CLOEXEC);
		r = fd < 0 || fdatasync(fd) < 0 ? -errno : 0;
	}
	if (!dir || (r == 0 && fsync(dir_fd) < 0))
		r = -errno;
	if (dir)
		closedir(dir);
	else if (dir_fd >= 0)
		close(dir_fd);
	return r < 0 ? mq_error_set(err, r, "cannot sync the logs in %s/db: %s", s->cfg.path, strerror(-r)) : 0;
}

int durable_open(struct store *s, struct mq_error *err)
{
	uint64_t sequence = rocksdb_get_latest_sequence_number(s->db);
	struct durable durable;
	int r;

	r = durable_read(s->dir_fd, &durable, &s->durable_slot, &s->durable_generation);
	if (r < 0)
		return mq_error_set(err, r, "cannot read %s/durable: %s", s->cfg.path, strerror(-r));
	if (r == 0 && sequence < durable.sequence)
		return mq_error_set(err, -EUCLEAN,
				    "%s: the log ends %llu changes before the point that was on the disk; restore a backup, or run "
				    "mq-store repair --accept-loss %s",
				    s->cfg.path, (unsigned long long)(durable.sequence - sequence), s->cfg.path);

	s->durable_fd = openat(s->dir_fd, "durable", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (s->durable_fd < 0)
		return mq_error_set(err, -errno, "cannot write %s/durable: %s", s->cfg.path, strerror(errno));
	atomic_store(&s->written_sequence, sequence);
	if (r == 0)
		atomic_store(&s->durable_sequence, durable.sequence);
	return 0;
}

void durable_note(struct store *s, uint64_t sequence)
{
	char slot[SLOT_SIZE];

	s->durable_slot ^= 1;
	durable_encode(slot, ++s->durable_generation, sequence);
	/* A failure leaves the older record: the check gets weaker, nothing else. */
	if (pwrite(s->durable_fd, slot, sizeof slot, (off_t)s->durable_slot * SLOT_SIZE) < 0)
		return;
}

void durable_sync(struct store *s)
{
	/* As in durable_note(): what is not there only weakens the check. */
	if (s->durable_fd >= 0 && fdatasync(s->durable_fd) < 0)
		return;
}

int durable_accept_loss(int dir_fd)
{
	_cleanup_(closep) int fd = -1;
	struct durable durable;
	char slots[2][SLOT_SIZE];
	uint64_t generation;
	unsigned slot;
	int r;

	r = durable_read(dir_fd, &durable, &slot, &generation);
	if (r != 0)
		return r < 0 ? r : 0;
	if (durable.format > FORMAT_VERSION)
		return -EPROTO;
	fd = openat(dir_fd, "durable", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	durable_encode(slots[0], generation + 1, 0);
	durable_encode(slots[1], generation + 2, 0);
	if (pwrite(fd, slots, sizeof slots, 0) != sizeof slots || fsync(fd) < 0)
		return errno ? -errno : -EIO;
	return 0;
}
