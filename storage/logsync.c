/* rocksdb::WritableFileWriter::SyncWithoutFlush(bool), and ::Sync(bool) of logs: every sync of a log there is. See override.h.
 *
 * The library's own end the process by an assertion when somebody syncs a log that a write or a sync has failed for, which two threads
 * cannot avoid; and when it tries again by itself, for want of space, it forgets what failed and believes the next sync. Here a log
 * is synced whatever happened to it, and that one sync failed is never forgotten. */
#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>

#include "storage/override.h"

/* The beginning of the object: its first member is a std::string. */
struct writer {
	const char *name;
	size_t n_name;
};

static atomic_bool is_broken;

void store_logsync_prepare(void)
{
	atomic_store(&is_broken, false);
}

bool store_logsync_is_broken(void)
{
	return atomic_load(&is_broken);
}

/* A Status is returned through a hidden pointer, which is also the return value (Itanium C++ ABI, x86-64). Its first byte is the code, 0: OK. */
void *_ZN7rocksdb18WritableFileWriter12SyncInternalEb(void *ret_status, struct writer *w, bool use_fsync);

void *_ZN7rocksdb18WritableFileWriter16SyncWithoutFlushEb(void *ret_status, struct writer *w, bool use_fsync);
__attribute__((visibility("default"))) void *
_ZN7rocksdb18WritableFileWriter16SyncWithoutFlushEb(void *ret_status, struct writer *w, bool use_fsync)
{
	_ZN7rocksdb18WritableFileWriter12SyncInternalEb(ret_status, w, use_fsync);
	/* Before the library lets anybody else sync this log. */
	if (*(const unsigned char *)ret_status != 0)
		atomic_store(&is_broken, true);
	return ret_status;
}

/* Of a log: one that another follows, and nothing of it is in the buffer any more. */
void *_ZN7rocksdb18WritableFileWriter4SyncEb(void *ret_status, struct writer *w, bool use_fsync);
__attribute__((visibility("default"))) void *
_ZN7rocksdb18WritableFileWriter4SyncEb(void *ret_status, struct writer *w, bool use_fsync)
{
	void *(*of_library)(void *, struct writer *, bool);

	if (w->n_name > 4 && memcmp(w->name + w->n_name - 4, ".log", 4) == 0)
		return _ZN7rocksdb18WritableFileWriter16SyncWithoutFlushEb(ret_status, w, use_fsync);
	*(void **)&of_library = dlsym(RTLD_NEXT, "_ZN7rocksdb18WritableFileWriter4SyncEb");
	return of_library(ret_status, w, use_fsync);
}
