#!/bin/sh
# install-conf.sh DIRECTORY FILE...: installs configuration files, but never over what an administrator wrote.
set -eu
dir=${DESTDIR:-}$1
shift
mkdir -p "$dir"
for file; do
	[ -e "$dir/${file##*/}" ] || install -m 0644 "$file" "$dir/"
done
