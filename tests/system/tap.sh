# TAP for shell tests; source it. Every script ends with `finish`.
n=0 bad=0
ok() { # ok STATUS NAME [DETAIL]
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2${3:+ ($3)}"
		bad=$((bad + 1))
	fi
}
is() { # is GOT WANTED NAME
	[ "$1" = "$2" ]
	ok $? "$3" "got '$1', want '$2'"
}
like() { # like GOT REGEX NAME
	[[ $1 =~ $2 ]]
	ok $? "$3" "got '$1', want /$2/"
}
skip() { # skip NAME REASON: only for what the machine cannot do
	n=$((n + 1))
	echo "ok $n - $1 # SKIP $2"
}
figure() { echo "# figure: $*"; }
finish() {
	echo "1..$n"
	[ $bad = 0 ]
	exit
}
# Waits until what COMMAND prints has reached NUMBER; fails when it has not grown for 20 s. For work whose speed is the machine's.
wait_to_reach() { # wait_to_reach NUMBER COMMAND...
	local wanted=$1 got before=-1
	shift
	until got=$("$@") && [ "$got" -ge "$wanted" ]; do
		[ "$got" -gt "$before" ] && local end=$((SECONDS + 20)) before=$got
		[ $SECONDS -lt $end ] || return 1
		sleep 0.02
	done
}
# Waits for a condition, polling; fails after SECONDS (default 20).
wait_for() { # wait_for 'CONDITION' [SECONDS]
	local end=$((SECONDS + ${2:-20}))
	until eval "$1"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.02
	done
}
