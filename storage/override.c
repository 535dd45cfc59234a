#include "storage/override.h"

#ifdef STORE_OVERRIDES

void store_override_prepare(void)
{
	store_crc_prepare();
	store_logsync_prepare();
}

bool store_override_has_fast_crc(void)
{
	return store_crc_is_fast();
}

bool store_override_has_cheap_families(void)
{
	return store_noopts_is_called();
}

bool store_override_log_is_broken(void)
{
	return store_logsync_is_broken();
}

#else

void store_override_prepare(void)
{
}

bool store_override_has_fast_crc(void)
{
	return false;
}

bool store_override_has_cheap_families(void)
{
	return false;
}

bool store_override_log_is_broken(void)
{
	return false;
}

#endif
