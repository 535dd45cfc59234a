#!/bin/sh
# includes.sh ROOT: includes point downward. Prints each offending line; fails if there is one.
#
#   daemons/{namesrv,broker,ctl,store} ──> daemons/common ──> libmq/client ──> libmq/net ──> libmq/wire ──> libmq/base
#   daemons/broker ──> storage/store.h ──> libmq/{wire,base}
#
# A program never includes another program; of storage the broker sees store.h only, and mq-store inspect.h.
cd "$1" || exit 1
bad=0
forbid() { # forbid FOLDER PATTERN: no file of FOLDER includes a path that matches PATTERN
	if grep -rnE "^#[ 	]*include [\"<]($2)" --include='*.[ch]' "$1"; then bad=1; fi
}
only() { # only FOLDER PREFIX PATH: of what begins with PREFIX FOLDER includes nothing but PATH
	if grep -rnE "^#[ 	]*include \"$2" --include='*.[ch]' "$1" | grep -vF "\"$3\""; then bad=1; fi
}
forbid libmq/base 'libmq/(wire|net|client)/|storage/|daemons/|event2/|rocksdb/'
forbid libmq/wire 'libmq/(net|client)/|storage/|daemons/|rocksdb/|sys/socket'
forbid libmq/net 'libmq/client/|storage/|daemons/|rocksdb/'
forbid libmq/client 'storage/|daemons/|rocksdb/'
forbid storage 'libmq/(net|client)/|daemons/'
forbid daemons 'rocksdb/'
forbid daemons/common 'storage/|daemons/(namesrv|broker|ctl|store)/'
forbid daemons/namesrv 'storage/|libmq/client/|daemons/(broker|ctl|store)/'
forbid daemons/broker 'libmq/client/|daemons/(namesrv|ctl|store)/'
only daemons/broker storage/ storage/store.h
forbid daemons/ctl 'storage/|daemons/(namesrv|broker|store)/'
forbid daemons/store 'libmq/(net|client)/|daemons/(namesrv|broker|ctl)/'
only daemons/store storage/ storage/inspect.h

# Paths start at the root of the tree, and every folder that is fixed to exist does.
if grep -rnE '^#[ 	]*include "\.\.?/' --include='*.[ch]' daemons libmq storage tests; then bad=1; fi
for folder in daemons libmq storage units man tests packaging; do
	[ -d "$folder" ] || { echo "folder $folder is missing"; bad=1; }
done
exit $bad
