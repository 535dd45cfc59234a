#!/bin/sh
# catalog.sh ROOT: each MESSAGE_ID of the program has a paragraph in units/mqd.catalog and the other way round.
# Prints the numbers that are in one place only.
cd "$1" || exit 1
in_code=$(grep -rhoE '^#define [A-Z_]*MSG_[A-Z_]+ "[0-9a-f]{32}"' --include='*.h' libmq storage daemons | grep -oE '[0-9a-f]{32}' | sort)
in_catalog=$(sed -nE 's/^-- ([0-9a-f]{32})$/\1/p' units/mqd.catalog | sort)
[ -n "$in_code" ] || { echo "no MESSAGE_ID found: the pattern is wrong"; exit 1; }
[ "$in_code" = "$in_catalog" ] && exit 0
printf '%s\n' "$in_code" "$in_catalog" | sort | uniq -u
exit 1
