#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Starts and stops a NameServer and a broker on loopback for the interoperability tests.
#
#   servers.sh start KIND DIR NAMESRV_PORT BROKER_PORT
#   servers.sh add KIND DIR NAMESRV_PORT BROKER_PORT NAME
#   servers.sh restart DIR
#   servers.sh proxy DIR NAMESRV_PORT GRPC_PORT
#   servers.sh stop DIR
#
# "add" starts a broker of another name beside those that a NameServer has, and does not wait for it. "restart" asks the broker to stop,
# waits for its end and starts it again on its store.
#
# KIND is mqd or apache, or NameServer and broker of different kinds: mqd+apache, apache+mqd.
# DIR holds everything of the pair: configuration, store, logs, pid files, and the commands (broker.command). A start empties the store
# and returns when the NameServer hands out a route to the broker; it fails, with the logs' ends, when that takes
# longer than a minute.
#
# The broker also listens on BROKER_PORT - 2, and Apache's on BROKER_PORT + 1 for replication. `proxy` starts Apache's proxy before servers
# that are there, and returns when it serves; it also listens on GRPC_PORT + 1.
#
# MQD_BUILD             build folder of mqd (default ./build)
# APACHE_LIB            folder with the jars of Apache's servers
# APACHE_BROKER_HEAP    default 1g
# APACHE_NAMESRV_HEAP   default 256m
# APACHE_BROKER_JAVA    options of the broker's JVM in place of a small heap and collector
# BROKER_SETTINGS       further lines for the configuration of the broker, of either kind
# BROKER_GATE           path of tests/wire/gate.c as a library: the broker's disk stands still while DIR/gate.sync (for fdatasync) or
#                       DIR/gate.write (for write) exists
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)

# Apache's launch scripts open these to the broker; JDK 17 refuses its mapped files without them.
java_options=(
	--add-opens=java.base/java.lang=ALL-UNNAMED
	--add-opens=java.base/java.nio=ALL-UNNAMED
	--add-opens=java.base/sun.nio.ch=ALL-UNNAMED
	--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED
)

die() {
	echo "servers.sh: $*" >&2
	exit 1
}

# Sets the words that come before the broker's command.
broker_prefix() {
	prefix=()
	[ -z "${BROKER_GATE:-}" ] || prefix=(env LD_PRELOAD="$BROKER_GATE" GATE_SYNC="$dir/gate.sync" GATE_WRITE="$dir/gate.write")
}

# A service outlives this script: no inherited pipe may keep the caller's output open.
service() {
	local name=$1
	shift
	printf '%q ' "$@" >"$dir/$name.command"
	(cd "$dir" && exec setsid "$@") </dev/null >"$dir/$name.log" 2>&1 &
	echo $! >"$dir/$name.pid"
}

namesrv_apache() {
	cat >"$dir/namesrv.conf" <<-END
		listenPort=$namesrv_port
		bindAddress=127.0.0.1
		kvConfigPath=$dir/namesrv/kvConfig.json
		orderMessageEnable=true
	END
	service namesrv java -Xmx"${APACHE_NAMESRV_HEAP:-256m}" -XX:+UseSerialGC "${java_options[@]}" -Duser.home="$dir" \
		-cp "$APACHE_LIB/*" org.apache.rocketmq.namesrv.NamesrvStartup -c "$dir/namesrv.conf"
}

# Files of 64 MiB let the store live in a temporary folder.
broker_apache() {
	local -a jvm=(-Xmx"${APACHE_BROKER_HEAP:-1g}" -XX:+UseSerialGC)

	[ -z "${APACHE_BROKER_JAVA:-}" ] || read -ra jvm <<<"$APACHE_BROKER_JAVA"
	broker_settings >"$dir/broker.conf"
	cat >>"$dir/broker.conf" <<-END
		brokerId=0
		bindAddress=127.0.0.1
		haListenPort=$((broker_port + 1))
		storePathCommitLog=$dir/store/commitlog
		mappedFileSizeCommitLog=67108864
		diskMaxUsedSpaceRatio=95
	END
	[ -z "${BROKER_SETTINGS:-}" ] || echo "$BROKER_SETTINGS" >>"$dir/broker.conf"
	broker_prefix
	service broker "${prefix[@]}" java "${jvm[@]}" "${java_options[@]}" -Duser.home="$dir" \
		-cp "$APACHE_LIB/*" org.apache.rocketmq.broker.BrokerStartup -c "$dir/broker.conf"
}

namesrv_mqd() {
	local program

	program=$(built namesrv/mq-namesrvd)
	cat >"$dir/namesrv.conf" <<-END
		listenPort=$namesrv_port
		kvConfigPath=$dir/namesrv/kvConfig.json
		orderMessageEnable=true
		localSocket=none
	END
	service namesrv "$program" -c "$dir/namesrv.conf"
}

broker_mqd() {
	local program

	program=$(built broker/mq-brokerd)
	broker_settings >"$dir/broker.conf"
	echo "localSocket=none" >>"$dir/broker.conf"
	[ -z "${BROKER_SETTINGS:-}" ] || echo "$BROKER_SETTINGS" >>"$dir/broker.conf"
	broker_prefix
	service broker "${prefix[@]}" "$program" -c "$dir/broker.conf"
}

# Long polls may be short, since a consumer that closes waits for its own, and a checker of transactions is known soon.
proxy() {
	local deadline=$((SECONDS + 150))

	mkdir -p "$1/proxy"
	dir=$(cd "$1" && pwd)
	cat >"$dir/proxy.json" <<-END
		{"rocketMQClusterName":"DefaultCluster", "proxyMode":"CLUSTER", "namesrvAddr":"127.0.0.1:$2",
		 "grpcServerPort":$3, "remotingListenPort":$(($3 + 1)), "enablePrintJstack":false,
		 "grpcClientConsumerMinLongPollingTimeoutMillis":500,
		 "grpcClientConsumerMaxLongPollingTimeoutMillis":3000, "minInvisibleTimeMillsForRecv":1000,
		 "transactionHeartbeatPeriodSecond":1}
	END
	export ROCKETMQ_HOME=$dir/proxy
	service proxy java -Xmx400m -XX:+UseSerialGC "${java_options[@]}" -Duser.home="$dir/proxy" \
		-cp "$APACHE_LIB/*" org.apache.rocketmq.proxy.ProxyStartup -pc "$dir/proxy.json"
	until grep -qs 'rocketmq-proxy startup successfully' "$dir/proxy.log"; do
		if [ "$SECONDS" -ge "$deadline" ] || ! kill -0 "$(<"$dir/proxy.pid")" 2>/dev/null; then
			tail -n 20 "$dir/proxy.log" >&2
			die "the proxy did not come up in $dir"
		fi
		sleep 0.1
	done
}

broker_settings() {
	cat <<-END
		brokerClusterName=DefaultCluster
		brokerName=$broker_name
		recallMessageEnable=true
		brokerIP1=127.0.0.1
		listenPort=$broker_port
		namesrvAddr=127.0.0.1:$namesrv_port
		storePathRootDir=$dir/store
	END
}

built() {
	local program=${MQD_BUILD:-$top/build}/daemons/$1

	[ -x "$program" ] || die "$program is missing: build mqd (ninja -C build) or set MQD_BUILD"
	echo "$program"
}

check_kind() {
	case ${1%+*}/${1#*+} in
	mqd/mqd) ;;
	apache/* | */apache)
		: "${APACHE_LIB:?names the folder of the jars of Apache RocketMQ}"
		;;
	*) die "$1: say mqd, apache, mqd+apache or apache+mqd" ;;
	esac
}

add() {
	check_kind "$1"
	dir=$2 namesrv_port=$3 broker_port=$4 broker_name=$5
	mkdir -p "$dir"
	dir=$(cd "$dir" && pwd)
	export ROCKETMQ_HOME=$dir
	"broker_${1#*+}"
}

restart() {
	local pid tries=0
	dir=$1

	pid=$(<"$dir/broker.pid")
	kill "$pid"
	while kill -0 "$pid" 2>/dev/null; do
		((++tries < 1800)) || die "the broker (process $pid) did not stop within 90 s"
		sleep 0.05
	done
	export ROCKETMQ_HOME=$dir
	eval "service broker $(<"$dir/broker.command")"
}

start() {
	local namesrv=${1%+*} broker=${1#*+}
	dir=$2 namesrv_port=$3 broker_port=$4 broker_name=broker-a

	check_kind "$1"
	stop "$dir" || true
	mkdir -p "$dir/namesrv"
	dir=$(cd "$dir" && pwd)
	rm -rf "$dir/store" "$dir/namesrv"/*

	export ROCKETMQ_HOME=$dir
	"namesrv_$namesrv"
	"broker_$broker"
	if ! "$here/probe.py" wait "127.0.0.1:$namesrv_port" --pid-files "$dir"/{namesrv,broker}.pid; then
		tail -n 20 "$dir"/{namesrv,broker}.log >&2
		stop "$dir" || true
		die "the servers of $1 did not come up in $dir"
	fi
}

# The broker first, so that it says goodbye to a living NameServer. Apache's servers take up to a minute for that, and nothing of
# them is wanted any more: they are killed. Fails when one of ours did not stop by itself.
stop() {
	local name pid tries status=0

	rm -f "$1"/gate.{sync,write}
	for name in proxy broker namesrv; do
		[ -e "$1/$name.pid" ] || continue
		pid=$(<"$1/$name.pid")
		rm -f "$1/$name.pid"
		if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = java ]; then
			kill -KILL "$pid"
			continue
		fi
		kill "$pid" 2>/dev/null || continue
		for ((tries = 0; tries < 200; tries++)); do
			kill -0 "$pid" 2>/dev/null || continue 2
			sleep 0.05
		done
		echo "servers.sh: the $name (process $pid) did not stop within 10 s and is killed" >&2
		kill -KILL "$pid" 2>/dev/null || true
		status=1
	done
	return "$status"
}

case "${1:-} $#" in
"start 5") start "$2" "$3" "$4" "$5" ;;
"add 6") add "$2" "$3" "$4" "$5" "$6" ;;
"restart 2") restart "$2" ;;
"proxy 4") proxy "$2" "$3" "$4" ;;
"stop 2") stop "$2" ;;
*)
	sed -n '4,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
	exit 64
	;;
esac
