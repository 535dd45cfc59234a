#!/bin/sh
# features.sh ROOT: what tests/interop/FEATURES.md names as shown by is there: a case with an outcome of Apache's server, a test in C, or
# a script. Prints what is not, and each row that names nothing.
cd "$1" || exit 1
bad=0
rows=$(grep -E '^\|.*\|$' tests/interop/FEATURES.md | grep -vE '^\|(---| feature)' | sed 's/ |$//; s/.*| //')
if echo "$rows" | grep -vE '[`*]'; then
	echo "these rows name no test"
	bad=1
fi
for name in $(echo "$rows" | grep -oE '`[^`]+`|\*[^*]+\*' | tr -d '`*' | sort -u); do
	case $name in
	crash | figures) [ -x "tests/system/$name" ] ;;
	probe) [ -s tests/interop/expected/probe.txt ] ;;
	*_*) grep -rqE "^static void $name\(" tests/unit tests/wire --include='*.c' ;;
	*) grep -qhE "^case $name: " tests/interop/expected/*.txt ;;
	esac || { echo "FEATURES.md names $name, which is not there"; bad=1; }
done
exit $bad
