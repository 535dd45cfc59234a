#!/bin/sh
# includes.sh ROOT: includes point downward. Prints each offending line; fails if there is one.
#
#   daemons/{namesrv,broker,ctl,store} ──> daemons/common ──> libmq/client ──> libmq/net ──> libmq/wire ──> libmq/base
#   daemons/broker ──> storage/store.h ──> libmq/{wire,base}
#
# A program never includes another program; of storage a daemon sees store.h only (mq-store sees check.h too).
cd "$1" || exit 1
bad=0
forbid() { # forbid FOLDER PATTERN: no file of FOLDER includes a path that matches PATTERN
	if grep -rnE "^#[ 	]*include [\"<]($2)" --include='*.[ch]' "$1"; then bad=1; fi
}
forbid libmq/base 'libmq/(wire|net|client)/|storage/|daemons/|event2/|rocksdb/'
forbid libmq/wire 'libmq/(net|client)/|storage/|daemons/|rocksdb/|sys/socket'
forbid libmq/net 'libmq/client/|storage/|daemons/|rocksdb/'
forbid libmq/client 'storage/|daemons/|rocksdb/'
forbid storage 'libmq/(net|client)/|daemons/'
forbid daemons 'rocksdb/'
forbid daemons/common 'storage/|daemons/(namesrv|broker|ctl|store)/'
forbid daemons/namesrv 'storage/|libmq/client/|daemons/(broker|ctl|store)/'
forbid daemons/broker 'storage/([^s]|s[^t]|st[^o]|sto[^r]|stor[^e]|store[^.])|libmq/client/|daemons/(namesrv|ctl|store)/'
forbid daemons/ctl 'storage/|daemons/(namesrv|broker|store)/'
forbid daemons/store 'storage/(app|fam|ind|int|off|ret|spa)|libmq/(net|client)/|daemons/(namesrv|broker|ctl)/'

# Paths start at the root of the tree, and every folder that is fixed to exist does.
if grep -rnE '^#[ 	]*include "\.\.?/' --include='*.[ch]' daemons libmq storage tests; then bad=1; fi
for folder in daemons libmq storage units man tests packaging; do
	[ -d "$folder" ] || { echo "folder $folder is missing"; bad=1; }
done
exit $bad
