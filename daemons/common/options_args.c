/* The command line of both daemons. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "daemons/common/options.h"

static void print_help(const struct option_args *args)
{
	printf("Usage: %s [OPTION...]\n"
	       "%s\n\n"
	       "  -c, --config FILE     read this configuration file, then FILE.d/*.conf\n"
	       "%s"
	       "  -o, --set KEY=VALUE   set a key; wins over the file, may be repeated\n"
	       "  -p, --print-config    print the configuration and exit; defaults are comments\n"
	       "  -t, --check-config    check the configuration and exit\n"
	       "      --version         print the version and exit\n"
	       "      --help            print this help and exit\n\n"
	       "See the manual page %s(8).\n",
	       args->program, args->description,
	       args->takes_namesrv ? "  -n, --namesrv ADDR    NameServers to register with: HOST:PORT or unix:PATH, several with ';'\n" : "",
	       args->program);
}

int options_parse_args(struct option_args *ret, int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "config", required_argument, NULL, 'c' },	{ "namesrv", required_argument, NULL, 'n' },
		{ "set", required_argument, NULL, 'o' },	{ "print-config", no_argument, NULL, 'p' },
		{ "check-config", no_argument, NULL, 't' }, { "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },		{},
	};
	/* The -o values are gathered at the front of argv, behind its name: getopt has already walked past that. */
	const char **sets = (const char **)argv + 1;
	int c;

	ret->sets = sets;
	ret->n_sets = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, "+c:n:o:pt", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			ret->config_path = optarg;
			break;
		case 'n':
			ret->namesrv = optarg;
			break;
		case 'o':
			sets[ret->n_sets++] = optarg;
			break;
		case 'p':
			ret->print_config = true;
			break;
		case 't':
			ret->check_config = true;
			break;
		case 'V':
			printf("%s %s\n", ret->program, MQ_PACKAGE_VERSION);
			return 1;
		case 'h':
			print_help(ret);
			return 1;
		default:
			fprintf(stderr, "Try '%s --help'.\n", ret->program);
			return -EINVAL;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "%s: unexpected argument '%s'\nTry '%s --help'.\n", ret->program, argv[optind], ret->program);
		return -EINVAL;
	}
	return 0;
}
