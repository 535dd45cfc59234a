"""ready.py PIDFILE LOG COMMAND...: starts a Type=notify daemon, waits for READY=1 and prints the milliseconds from exec to ready.

The daemon goes on running; its pid is in PIDFILE. Fails when it ends or says nothing within 60 s."""
import os
import select
import socket
import subprocess
import sys
import tempfile
import time

pidfile, log, command = sys.argv[1], sys.argv[2], sys.argv[3:]
directory = tempfile.mkdtemp()
path = os.path.join(directory, "notify")
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
notify.bind(path)
try:
    with open(log, "ab") as stderr:
        started = time.monotonic()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, start_new_session=True,
                                 env=dict(os.environ, NOTIFY_SOCKET=path))
    with open(pidfile, "w", encoding="ascii") as out:
        out.write(str(child.pid))
    gone = os.pidfd_open(child.pid)
    while True:
        readable = select.select([notify, gone], [], [], max(0, started + 60 - time.monotonic()))[0]
        if notify in readable and b"READY=1" in notify.recv(4096).split(b"\n"):
            print(f"{(time.monotonic() - started) * 1000:.1f}")
            os._exit(0)
        if gone in readable:
            sys.exit(f"{command[0]} ended with {child.wait()} before it was ready, see {log}")
        if not readable:
            child.kill()
            sys.exit(f"{command[0]} was not ready within 60 s, see {log}")
finally:
    os.unlink(path)
    os.rmdir(directory)
