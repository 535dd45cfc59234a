#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Starts and stops a NameServer and a broker on loopback for the interoperability tests.
#
#   servers.sh start mqd|apache DIR NAMESRV_PORT BROKER_PORT
#   servers.sh stop DIR
#
# DIR holds everything of the pair: configuration, store, logs, pid files. A start empties the store
# and returns when the NameServer hands out a route to the broker; it fails, with the logs' ends, when that takes
# longer than a minute.
#
# The broker also listens on BROKER_PORT - 2, and Apache's on BROKER_PORT + 1 for replication.
#
# MQD_BUILD             build folder of mqd (default ./build)
# APACHE_LIB            folder with the jars of Apache's servers
# APACHE_BROKER_HEAP    default 1g
# APACHE_NAMESRV_HEAP   default 256m
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)

# Apache's launch scripts open these to the broker; JDK 17 refuses its mapped files without them.
java_open=(
	--add-opens=java.base/java.lang=ALL-UNNAMED
	--add-opens=java.base/java.nio=ALL-UNNAMED
	--add-opens=java.base/sun.nio.ch=ALL-UNNAMED
	--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED
)

die() {
	echo "servers.sh: $*" >&2
	exit 1
}

# A service outlives this script: no inherited pipe may keep the caller's output open.
service() {
	local name=$1
	shift
	(cd "$dir" && exec setsid "$@") </dev/null >"$dir/$name.log" 2>&1 &
	echo $! >"$dir/$name.pid"
}

start_apache() {
	: "${APACHE_LIB:?names the folder of the jars of Apache RocketMQ}"
	export ROCKETMQ_HOME=$dir

	cat >"$dir/namesrv.conf" <<-END
		listenPort=$namesrv_port
		bindAddress=127.0.0.1
		kvConfigPath=$dir/namesrv/kvConfig.json
	END
	# Files of 64 MiB let the store live in a temporary folder; the rest are Apache's defaults.
	cat >"$dir/broker.conf" <<-END
		brokerClusterName=DefaultCluster
		brokerName=broker-a
		brokerId=0
		brokerIP1=127.0.0.1
		bindAddress=127.0.0.1
		listenPort=$broker_port
		haListenPort=$((broker_port + 1))
		namesrvAddr=127.0.0.1:$namesrv_port
		storePathRootDir=$dir/store
		storePathCommitLog=$dir/store/commitlog
		mappedFileSizeCommitLog=67108864
		diskMaxUsedSpaceRatio=95
	END
	service namesrv java -Xmx"${APACHE_NAMESRV_HEAP:-256m}" -XX:+UseSerialGC \
		"${java_open[@]}" -Duser.home="$dir" -cp "$APACHE_LIB/*" \
		org.apache.rocketmq.namesrv.NamesrvStartup -c "$dir/namesrv.conf"
	service broker java -Xmx"${APACHE_BROKER_HEAP:-1g}" -XX:+UseSerialGC \
		"${java_open[@]}" -Duser.home="$dir" -cp "$APACHE_LIB/*" \
		org.apache.rocketmq.broker.BrokerStartup -c "$dir/broker.conf"
}

start_mqd() {
	local build=${MQD_BUILD:-$top/build}
	local program

	for program in namesrv/mq-namesrvd broker/mq-brokerd; do
		[ -x "$build/daemons/$program" ] ||
			die "$build/daemons/$program is missing: build mqd (ninja -C build) or set MQD_BUILD"
	done
	cat >"$dir/namesrv.conf" <<-END
		listenPort=$namesrv_port
		kvConfigPath=$dir/namesrv/kvConfig.json
		localSocket=none
	END
	cat >"$dir/broker.conf" <<-END
		brokerClusterName=DefaultCluster
		brokerName=broker-a
		brokerIP1=127.0.0.1
		listenPort=$broker_port
		namesrvAddr=127.0.0.1:$namesrv_port
		storePathRootDir=$dir/store
		localSocket=none
	END
	service namesrv "$build/daemons/namesrv/mq-namesrvd" -c "$dir/namesrv.conf"
	service broker "$build/daemons/broker/mq-brokerd" -c "$dir/broker.conf"
}

start() {
	local kind=$1
	dir=$2 namesrv_port=$3 broker_port=$4

	stop "$dir"
	mkdir -p "$dir/namesrv"
	dir=$(cd "$dir" && pwd)
	rm -rf "$dir/store" "$dir/namesrv"/*

	case $kind in
	mqd | apache) "start_$kind" ;;
	*) die "$kind: say mqd or apache" ;;
	esac
	if ! "$here/probe.py" wait "127.0.0.1:$namesrv_port" --pid-files "$dir"/{namesrv,broker}.pid; then
		tail -n 20 "$dir"/{namesrv,broker}.log >&2
		stop "$dir"
		die "the servers of $kind did not come up in $dir"
	fi
}

# The broker first, so that it says goodbye to a living NameServer.
stop() {
	local name pid tries

	for name in broker namesrv; do
		[ -e "$1/$name.pid" ] || continue
		pid=$(<"$1/$name.pid")
		kill "$pid" 2>/dev/null || true
		for ((tries = 0; tries < 200; tries++)); do
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.1
		done
		if kill -KILL "$pid" 2>/dev/null; then
			echo "servers.sh: $name ($pid) did not stop within 20 s and was killed" >&2
		fi
		rm -f "$1/$name.pid"
	done
}

case "${1:-} $#" in
"start 5") start "$2" "$3" "$4" "$5" ;;
"stop 2") stop "$2" ;;
*)
	sed -n '4,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
	exit 64
	;;
esac
