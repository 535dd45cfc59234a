/* rocksdb::DBImpl::WriteOptionsFile(bool, bool), left out. See override.h.
 *
 * The library serialises, writes, re-reads and verifies the options of all families while it holds the writers, for a file that it
 * never needs: the program supplies the options at every open. */
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "storage/override.h"

enum { STATUS_SIZE = 16 }; /* bytes of rocksdb::Status in 7.8; all zero is OK */

static atomic_bool is_called;

bool store_noopts_is_called(void)
{
	return atomic_load(&is_called);
}

/* A Status is returned through a hidden pointer, which is also the return value (Itanium C++ ABI, x86-64). */
void *_ZN7rocksdb6DBImpl16WriteOptionsFileEbb(void *ret_status, void *db, bool need_mutex_lock, bool need_enter_write_thread);
__attribute__((visibility("default"))) void *
_ZN7rocksdb6DBImpl16WriteOptionsFileEbb(void *ret_status, void *db, bool need_mutex_lock, bool need_enter_write_thread)
{
	atomic_store_explicit(&is_called, true, memory_order_relaxed);
	memset(ret_status, 0, STATUS_SIZE);
	return ret_status;
}
