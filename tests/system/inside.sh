#!/bin/bash
# Runs inside the booted container as root: the whole stack under systemd. TAP.
. /root/tests/tap.sh
prop() { systemctl show -P "$1" "$2"; }
as() {
	local user=$1
	shift
	setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups "$@"
}
sockets="mq-namesrvd.socket mq-namesrvd-local.socket mq-brokerd.socket mq-brokerd-fast.socket mq-brokerd-local.socket"
services="mq-namesrvd.service mq-brokerd.service"
local_namesrv=unix:/run/mqd/namesrv.sock
ledger=/root/tests/ledger

systemd-sysusers && systemd-tmpfiles --create
ok $? "sysusers and tmpfiles applied"
id -u mqd >/dev/null
ok $? "sysusers made the user"
useradd -M -G mqd alice 2>/dev/null
useradd -M mallory 2>/dev/null
systemctl daemon-reload
# shellcheck disable=SC2086
is "$(systemd-analyze verify --man=no $sockets $services mqd.target 2>&1)" "" "systemd-analyze verify has nothing to say"
# shellcheck disable=SC2086
systemctl enable --now --quiet $sockets
ok $? "sockets enabled"
is "$(systemctl is-active mq-namesrvd mq-brokerd | sort -u)" inactive "no daemon runs before the first client"

# The first client activates what it needs: the NameServer by its socket, the broker when it is first spoken to.
mqctl ping -n $local_namesrv >/dev/null 2>&1
wait_for '[ "$(systemctl is-active mq-namesrvd)" = active ]'
ok $? "the first client activates the NameServer"
mqctl ping -b unix:/run/mqd/broker.sock >/dev/null
ok $? "the first client activates the broker"
is "$(prop Type mq-brokerd)/$(prop SubState mq-brokerd)/$(prop SubState mq-namesrvd)" "notify/running/running" "Type=notify: both reached READY=1"
wait_for '[[ $(prop StatusText mq-brokerd) == *"registered with 1 of 1"* ]]'
like "$(prop StatusText mq-brokerd)" "registered with 1 of 1" "the broker's STATUS= says: $(prop StatusText mq-brokerd)"
like "$(prop StatusText mq-namesrvd)" "." "the NameServer's STATUS= says: $(prop StatusText mq-namesrvd)"
is "$(ps -o user=,comm= -p "$(prop MainPID mq-brokerd)" | tr -s " ")" "mqd mq-brokerd" "the broker runs as its own user, under its own name"
is "$(stat -c %U:%a /var/lib/mqd/broker)" "mqd:$(stat -c %a /var/lib/mqd/broker)" "the state directory belongs to it"

wait_for 'mqctl cluster -n $local_namesrv | grep -q 127.0.0.1:10911'
ok $? "the broker registered with the NameServer"
mqctl topic create Booted -n $local_namesrv >/dev/null && mqctl send Booted "hello over unix" -n $local_namesrv >/dev/null
ok $? "send over the Unix sockets"
mqctl send Booted "hello over tcp" -n 127.0.0.1:9876 >/dev/null
ok $? "send over TCP"
is "$(mqctl tail Booted -n 127.0.0.1:9876 --from-beginning -c 2 -o json | grep -c '"hello over')" 2 "both are read back"
as alice mqctl send Booted "hello from alice" -n $local_namesrv >/dev/null
ok $? "a member of group mqd may use the local sockets"
as mallory mqctl ping -n $local_namesrv >/dev/null 2>&1
like "$?" "^[1-9]" "another user is refused at the local socket"

# Journal, reload.
journalctl -q -u mq-brokerd -o json | grep -q MESSAGE_ID
ok $? "journal entries carry MESSAGE_ID"
pid=$(prop MainPID mq-brokerd)
systemctl reload mq-brokerd mq-namesrvd
ok $? "systemctl reload"
wait_for 'journalctl -q -u mq-brokerd -o cat | grep -qi reload'
ok $? "the reload is in the journal"
is "$(prop MainPID mq-brokerd)" "$pid" "the reload kept the process"
echo "nonsenseKey=1" >>/etc/mqd/broker.conf
systemctl reload mq-brokerd
wait_for 'journalctl -q -u mq-brokerd -o cat | grep -q "broker.conf:[0-9]*:.*nonsenseKey"'
ok $? "a reload with a wrong line names file, line and key, and the broker goes on"
is "$(prop MainPID mq-brokerd)" "$pid" "the same process still serves"
sed -i '$d' /etc/mqd/broker.conf

# Restarts under load refuse nobody: the socket units hold the listeners.
$ledger produce 127.0.0.1:10911 Restart 4 16 /root/ledger &
producer=$!
acknowledged() { cat /root/ledger 2>/dev/null | wc -l; }
wait_to_reach 200 acknowledged
ok $? "load is running"
systemctl reset-failed mq-brokerd
(for _ in 1 2 3 4 5; do
	systemctl restart mq-brokerd
	wait_to_reach $(($(acknowledged) + 200)) acknowledged
done) &
restarts=$!
total=0 refused=0
while kill -0 $restarts 2>/dev/null; do
	for to in UNIX-CONNECT:/run/mqd/broker.sock TCP:127.0.0.1:10911; do
		message=$(socat -u OPEN:/dev/null "$to" 2>&1)
		total=$((total + 1))
		case $message in *refused* | *"No such file"*) refused=$((refused + 1)) ;; esac
	done
done
wait $restarts
is "$refused" 0 "no connection was refused during five restarts under load"
echo "# $total connections were tried meanwhile"
kill -TERM $producer
wait $producer
$ledger verify 127.0.0.1:10911 Restart 4 /root/ledger
ok $? "every acknowledged message survived the restarts, once and in its place"
is "$(journalctl -q -u mq-brokerd -o cat | grep -c 'State .stop-sigterm. timed out')" 0 "each stop was clean, none timed out"
systemctl reset-failed mq-brokerd

# Watchdog and kill -9.
restarts_before=$(prop NRestarts mq-brokerd)
mkdir -p /run/systemd/system/mq-brokerd.service.d
printf '[Service]\nWatchdogSec=2s\n' >/run/systemd/system/mq-brokerd.service.d/watchdog.conf
systemctl daemon-reload && systemctl restart mq-brokerd
pid=$(prop MainPID mq-brokerd)
wait_for '[ "$(($(cut -d. -f1 /proc/uptime)))" -ge 0 ] && mqctl ping -b 127.0.0.1:10911 >/dev/null'
kill -STOP "$pid"
wait_for '[ "$(prop MainPID mq-brokerd)" != "$pid" ] && [ "$(prop SubState mq-brokerd)" = running ]' 30
ok $? "SIGSTOP brings the watchdog, which brings the broker back"
wait_for "journalctl -q -u mq-brokerd -o cat | grep -q 'Watchdog timeout'"
ok $? "the journal says watchdog timeout"
# So short a time is for this alone: on a busy machine it may bark by itself.
rm /run/systemd/system/mq-brokerd.service.d/watchdog.conf && systemctl daemon-reload
pid=$(prop MainPID mq-brokerd)
kill -KILL "$pid"
wait_for '[ "$(prop MainPID mq-brokerd)" != "$pid" ] && [ "$(prop SubState mq-brokerd)" = running ]'
ok $? "kill -9 brings a restart"
$ledger verify 127.0.0.1:10911 Restart 4 /root/ledger >/dev/null
ok $? "nothing was lost by either"
pid=$(prop MainPID mq-namesrvd)
kill -STOP "$(prop MainPID mq-namesrvd)"
kill -KILL "$(prop MainPID mq-namesrvd)"
wait_for '[ "$(prop MainPID mq-namesrvd)" != "$pid" ] && [ "$(prop SubState mq-namesrvd)" = running ]'
ok $? "the NameServer comes back after kill -9"
wait_for 'mqctl topic describe Booted -n $local_namesrv >/dev/null 2>&1' 60
ok $? "and the broker registers with it again by itself"

systemctl stop --quiet mq-brokerd mq-namesrvd 2>/dev/null
is "$(prop Result mq-brokerd)/$(prop ExecMainStatus mq-brokerd)" "success/0" "the broker stops cleanly"
is "$(prop Result mq-namesrvd)/$(prop ExecMainStatus mq-namesrvd)" "success/0" "the NameServer stops cleanly"
mqctl ping -b 127.0.0.1:10911 >/dev/null
ok $? "the next client activates the broker again"
figure "memory in KiB, idle: $(for s in mq-namesrvd mq-brokerd; do mqctl ping -n $local_namesrv >/dev/null; echo "$s $(awk '/^RssAnon|^VmRSS/ {printf "%s %s ", $1, $2}' "/proc/$(prop MainPID $s)/status")"; done | tr '\n' ' ')"
finish
