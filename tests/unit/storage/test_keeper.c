/* What the keeper does by itself, every second. */
#include <sched.h>

#include "store_test.h"

enum { CHUNKS = 1024, CHUNK_SIZE = 64 << 10, WAIT_S = 30 };

static size_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long total, resident;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &total, &resident), 2);
	fclose(f);
	return (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* Chunks in use between free ones: malloc gives nothing of that back by itself. */
static void memory_of_a_peak_goes_back(void **state)
{
	char *chunks[CHUNKS], *pins[CHUNKS];
	time_t end = time(NULL) + WAIT_S;
	size_t peak;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	skip(); /* they bring a malloc of their own */
#endif
	store_tune_process();
	for (int i = 0; i < CHUNKS; i++) {
		chunks[i] = malloc(CHUNK_SIZE);
		pins[i] = malloc(1 << 10); /* too large for malloc's own lists of small chunks */
		assert_non_null(chunks[i]);
		assert_non_null(pins[i]);
		memset(chunks[i], 1, CHUNK_SIZE);
	}
	for (int i = 0; i < CHUNKS; i++)
		free(chunks[i]);
	peak = resident_bytes();
	while (resident_bytes() > peak - (size_t)CHUNKS * CHUNK_SIZE / 2) {
		assert_true(time(NULL) < end);
		sched_yield();
	}
	for (int i = 0; i < CHUNKS; i++)
		free(pins[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(memory_of_a_peak_goes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
