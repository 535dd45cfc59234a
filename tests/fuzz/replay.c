/* Runs a fuzz target over the corpus directories named on the command line, for compilers without libFuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "libmq/base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Memory of exactly the input's size, so that a sanitizer sees whoever reads behind its end. */
static int replay_file(const char *path)
{
	_cleanup_(freep) uint8_t *data = NULL;
	FILE *file = fopen(path, "rb");
	struct stat st;
	size_t size;

	if (!file || fstat(fileno(file), &st) < 0) {
		perror(path);
		return -1;
	}
	size = (size_t)st.st_size;
	data = malloc(size ? size : 1);
	if (!data || fread(data, 1, size, file) != size) {
		perror(path);
		fclose(file);
		return -1;
	}
	fclose(file);
	printf("%s\n", path); /* the last line names the culprit when the target aborts */
	fflush(stdout);
	LLVMFuzzerTestOneInput(data, size);
	return 0;
}

static int is_input(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

/* The number of inputs, or negative. */
static int replay_directory(const char *directory)
{
	struct dirent **names = NULL;
	int n = scandir(directory, &names, is_input, alphasort), r = 0;
	char path[4096];

	if (n < 0)
		perror(directory);
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof path, "%s/%s", directory, names[i]->d_name);
		if (r == 0)
			r = replay_file(path);
		free(names[i]);
	}
	free(names);
	return r < 0 ? r : n;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (replay_directory(argv[i]) <= 0) {
			fprintf(stderr, "%s: nothing to replay\n", argv[i]);
			return 1;
		}
	return 0;
}
