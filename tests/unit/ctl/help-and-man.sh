#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Every option in --help is in the manual page of its verb, and the other way round; letters and long names alike.
#
#   help-and-man.sh MQCTL MAN_FOLDER
set -eu
mqctl=$1
man=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# "-f, --file FILE   read ..." -> "-f --file"; lines that continue a help text do not begin with a dash.
from_help() {
	sed -nE 's/^ +(-[a-zA-Z]), (--[a-z-]+).*/\1 \2/p; s/^ +(--[a-z-]+).*/\1/p'
}

# "*-f, --file* _FILE_" at the start of a line.
from_man() {
	sed -nE 's/^\*(-[a-zA-Z]), (--[a-z-]+)\*.*/\1 \2/p; s/^\*(--[a-z-]+)\*.*/\1/p'
}

same() {
	if ! diff -u "$work/help" "$work/man"; then
		echo "$1: --help (-) and the manual page (+) name different options"
		failed=1
	fi
}

"$mqctl" ping --help | sed -n '/^Common options:/,$p' | from_help | sort >"$work/help"
from_man <"$man/mqctl.scd" | sort >"$work/man"
[ -s "$work/help" ] || { echo "no common options found"; exit 1; }
same mqctl

# A page with several verbs has a section per verb: "# OPTIONS OF CREATE".
page() {
	family=$1
	verb=$2
	heading="# OPTIONS"
	[ "$family" = "$verb" ] || heading="# OPTIONS OF $(echo "${verb#"$family" }" | tr a-z A-Z)"
	# shellcheck disable=SC2086
	"$mqctl" $verb --help | sed '/^Common options:/,$d' | from_help | sort >"$work/help"
	awk -v heading="$heading" '/^# / { inside = $0 == heading } inside' "$man/mqctl-$family.scd" | from_man | sort >"$work/man"
	grep -q "^\*mqctl $verb\*" "$man/mqctl-$family.scd" || { echo "mqctl-$family.scd: no synopsis of $verb"; failed=1; }
	same "mqctl $verb"
}

"$mqctl" --help | sed -nE '/^Verbs:/,/^$/s/^  ([a-z0-9]+( [a-z0-9]+)?)  .*/\1/p' >"$work/verbs"
[ "$(wc -l <"$work/verbs")" -ge 13 ] || { echo "only these verbs found:"; cat "$work/verbs"; exit 1; }
while read -r verb; do
	page "${verb%% *}" "$verb"
done <"$work/verbs"
exit $failed
